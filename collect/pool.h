/* Several blobs open at a time: tasks go in and come out in one order, threads open them in
 * between. The thread that owns the pool does everything else: it takes the tasks that are done,
 * and drops those it took, several at once where it wants. */
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

enum { MS_POOL_TAKEN = 32 }; /* tasks that may be taken and not dropped */

/* A cleared task to fill, or NULL when all places are taken: take the oldest first, or drop those
 * that were taken. */
struct ms_pool_task *ms_pool_place(struct ms_pool *self);
/* Hands over the task that ms_pool_place gave. */
void ms_pool_submit(struct ms_pool *self);
/* The oldest task that was not taken, once it is done; NULL when there is none. Borrowed until it
 * is dropped. */
struct ms_pool_task *ms_pool_oldest(struct ms_pool *self);
/* Takes it, and closes its descriptor: there is place for another, as long as fewer than
 * MS_POOL_TAKEN are taken. */
void ms_pool_take(struct ms_pool *self);
size_t ms_pool_taken(const struct ms_pool *self);
/* The i-th of those taken, the oldest first. */
struct ms_pool_task *ms_pool_get_taken(const struct ms_pool *self, size_t i);
/* Releases the oldest task, taken or not: its result, passwords and descriptor. */
void ms_pool_drop(struct ms_pool *self);
/* Is a blob of this id on its way, or taken? */
bool ms_pool_has(const struct ms_pool *self, const uint8_t git_id[MS_SHA1_BYTES]);

#endif
