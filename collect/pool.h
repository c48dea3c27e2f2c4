/* Several blobs open at a time: tasks go in and come out in one order, threads open them in
 * between. The thread that owns the pool does everything else. */
#ifndef MS_COLLECT_POOL_H
#define MS_COLLECT_POOL_H

#include "collect/intake.h"
#include "collect/password.h"

struct ms_pool;

/* One blob on its way. The owner fills blob, passwords and tag; blob.passwords must point to
 * passwords, whose own memory is arena's. */
struct ms_pool_task {
    struct ms_intake_blob blob;
    struct ms_passwords passwords;
    struct ms_arena arena;
    const void *tag;
    struct ms_intake_result result;
    enum ms_status status; /* of ms_intake_open */
    struct ms_error err;
    bool done;
};

/* threads 1: tasks are opened in submit, without threads. The intake must outlive the pool. */
enum ms_status ms_pool_new(const struct ms_intake *intake, unsigned threads, struct ms_pool **out,
                           struct ms_error *err) MS_MUST_USE;
/* Waits for the tasks that threads are at, and drops all. */
void ms_pool_free(struct ms_pool *self);

/* A cleared task to fill, or NULL when all places are taken: get and drop the oldest first. */
struct ms_pool_task *ms_pool_place(struct ms_pool *self);
/* Hands over the task that ms_pool_place gave. */
void ms_pool_submit(struct ms_pool *self);
/* The oldest task, once it is done; NULL when there is none. Borrowed until ms_pool_drop. */
struct ms_pool_task *ms_pool_oldest(struct ms_pool *self);
/* Releases the oldest task: its result, passwords and descriptor. */
void ms_pool_drop(struct ms_pool *self);
/* Is a blob of this id on its way? */
bool ms_pool_has(const struct ms_pool *self, const uint8_t git_id[MS_SHA1_BYTES]);

#endif
