/* collect's job of base/quick: programs, and zip files of programs about which everything is plain.
 * What the answer holds are the frames of collect/job.h, as the job "intake" would send them. */
#ifndef MS_COLLECT_QUICK_JOB_H
#define MS_COLLECT_QUICK_JOB_H

#include "base/quick.h"
#include "base/unpack.h"

/* The program beside collect that has the job. */
#define MS_QUICK_PROGRAM "malseq-reader"

/* Could the job have an answer for a file of that size that begins with these bytes? */
bool ms_quick_job_may(const uint8_t head[4], uint64_t size);

/* The argument is that of "intake" (ms_job_argument). No answer: for every file that "intake" could
 * find more or something else in, and for each that has a fault. */
bool ms_quick_job_work(int fd, struct ms_span arg, struct ms_quick_answer *answer);
void ms_quick_job_prepare(void);
/* For a process that runs more than one: takes back what the last left to the end of its own. */
void ms_quick_job_forget(void);

#endif
