/* The worker's job of git: an answer to fetch goes in, files of trees or the bytes of blobs come
 * out. Runs confined; what it says is a claim that the parent checks. */
#ifndef MS_COLLECT_GITJOB_H
#define MS_COLLECT_GITJOB_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/worker.h"

#include <stdbool.h>

enum ms_gitjob_mode {
    MS_GITJOB_TREE,    /* FILES of one commit */
    MS_GITJOB_HISTORY, /* PAST of every blob of the commits and of all before them, as far as the
                          pack has them: what the server was told to be known is not in it */
    MS_GITJOB_BLOBS    /* the blobs among the ids given */
};

/* Frames. Integers as in memory: both ends are one program. */
enum ms_gitjob_frame {
    MS_GITJOB_FILES = 1, /* struct ms_gitjob_file and its path, many in a frame */
    MS_GITJOB_PAST = 2,  /* the same: each blob once, under a commit that held it */
    MS_GITJOB_BLOB = 3,  /* struct ms_gitjob_blob, then DATA…, END; with too_big alone */
    MS_GITJOB_DATA = 4,
    MS_GITJOB_END = 5
};

struct ms_gitjob_file {
    uint8_t id[MS_SHA1_BYTES];
    uint8_t commit[MS_SHA1_BYTES]; /* where it was seen */
    uint32_t path_bytes;
};

struct ms_gitjob_blob {
    uint8_t id[MS_SHA1_BYTES];
    uint32_t too_big;
    uint64_t size;
};

/* The worker's job and what it loads before confinement (base/worker.h): MS_JOB_GIT of
 * collect/job.h. */
enum ms_status ms_gitjob_work(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                              struct ms_error *err) MS_MUST_USE;
void ms_gitjob_prepare(void);

/* The job's argument: ids are the commit, the commits (the first comes first), or the blobs wanted,
 * in any order. */
enum ms_status ms_gitjob_argument(enum ms_gitjob_mode mode, const uint8_t (*ids)[MS_SHA1_BYTES],
                                  size_t count, struct ms_buf *out,
                                  struct ms_error *err) MS_MUST_USE;

/* The next file of a FILES or PAST frame; *end true when there is none. MS_REJECT when the frame
 * makes no sense. path is borrowed: not empty, no NUL. */
enum ms_status ms_gitjob_file_take(struct ms_span *frame, struct ms_gitjob_file *out,
                                   struct ms_span *path, bool *end,
                                   struct ms_error *err) MS_MUST_USE;

/* The job itself, for tests and fuzzing: `answer` as the server sent it. */
typedef enum ms_status (*ms_gitjob_emit)(void *ctx, uint32_t type, const void *bytes, size_t n,
                                         struct ms_error *err);
enum ms_status ms_gitjob_run(struct ms_span answer, struct ms_span arg, ms_gitjob_emit emit,
                             void *ctx, struct ms_error *err) MS_MUST_USE;

#endif
