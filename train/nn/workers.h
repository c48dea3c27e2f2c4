/* Pinned threads that run numbered tasks; knows nothing of nets. */
#ifndef MS_TRAIN_NN_WORKERS_H
#define MS_TRAIN_NN_WORKERS_H

#include "base/error.h"

#include <stddef.h>

struct ms_workers;

/* Called once for each task, from any worker, in any order; `worker` < jobs is the caller's own
 * number. */
typedef void ms_worker_task(void *ctx, size_t task, unsigned worker);

/* jobs threads, each pinned to one processor of those this process may use; with jobs 1 none: tasks
 * run in the caller. */
enum ms_status ms_workers_new(unsigned jobs, struct ms_workers **out,
                              struct ms_error *err) MS_MUST_USE;
void ms_workers_free(struct ms_workers *self);

/* Runs tasks 0 .. count-1 and returns when all are done. Denormal numbers are flushed to zero
 * meanwhile, whichever thread computes. One caller at a time. */
void ms_workers_run(struct ms_workers *self, size_t count, ms_worker_task *task, void *ctx);

#endif
