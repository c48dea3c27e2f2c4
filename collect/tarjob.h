/* The worker's job of repository archives: a tar.gz goes in, the files wanted come out, told by
 * their git ids and not by their names. Runs confined; what it says is a claim that the parent
 * checks. */
#ifndef MS_COLLECT_TARJOB_H
#define MS_COLLECT_TARJOB_H

#include "base/hash.h"
#include "base/worker.h"

/* One file that is wanted. The job's argument is an array of these, sorted by ms_tarjob_compare and
 * without doubles. Integers as in memory: both ends are one program. */
struct ms_tarjob_want {
    uint64_t size; /* at most MS_LIMIT_GIT_BLOB_BYTES */
    uint8_t id[MS_SHA1_BYTES];
    uint32_t unused; /* 0: no byte of the argument is left to chance */
};

/* Frames: a file is FILE, DATA…, END, each file at most once, in the archive's order. */
enum ms_tarjob_frame {
    MS_TARJOB_FILE = 1, /* uint32_t: index into the argument */
    MS_TARJOB_DATA = 2,
    MS_TARJOB_END = 3
};

/* By size, then by id; for qsort and bsearch. */
int ms_tarjob_compare(const void *a, const void *b);

/* The worker's job (base/worker.h): MS_JOB_TARBALL of collect/job.h. Ends once every file wanted
 * was sent. MS_REJECT when the archive is damaged or cut short, or is larger than
 * MS_LIMIT_TARBALL_PLAIN_BYTES; what was sent before stands. */
enum ms_status ms_tarjob_work(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                              struct ms_error *err) MS_MUST_USE;

/* The job itself, for tests and fuzzing: reads the archive from fd's position on. */
typedef enum ms_status (*ms_tarjob_emit)(void *ctx, uint32_t type, const void *bytes, size_t n,
                                         struct ms_error *err);
enum ms_status ms_tarjob_run(int fd, struct ms_span arg, ms_tarjob_emit emit, void *ctx,
                             struct ms_error *err) MS_MUST_USE;

#endif
