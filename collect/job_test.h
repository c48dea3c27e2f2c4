/* Misbehaviour on request, so that tests can show what becomes of a worker that spins, hangs,
 * crashes or lies. For collect/job.c alone. */
#ifndef MS_COLLECT_JOB_TEST_H
#define MS_COLLECT_JOB_TEST_H

#include "base/unpack.h"
#include "base/worker.h"

/* Is MALSEQ_TEST_WORKER set? Without it no content makes a worker misbehave. Asked by the parent:
 * the worker has no environment. */
bool ms_job_test_wanted(void);

/* A member that begins with "malseq-test-worker: " and a word of ours: spin, hang, segv, abort,
 * nonsense, flood. Does what it says, and returns only when it says nothing. */
void ms_job_test(const struct ms_unpack_member *member, struct ms_worker_out *out);

#endif
