/* Runs short jobs on untrusted bytes in confined child processes, one a job, whose whole answer
 * lies in memory shared with the parent and is read when the child is dead. It is base/worker's
 * fast lane and no replacement: a job that is refused, killed, too slow, or whose answer does not
 * fit, is simply not answered, and whoever asked gives the input to base/worker, which has the
 * states and the reasons.
 *
 * What is cheap here: the children are forked from a small program of their own that maps few
 * libraries; the system call filter is there before the fork, and a child adds a few instructions
 * that take from it what forking needs; and nothing goes through a pipe. What a child may do is
 * less than what base/worker's may: no writing, no memory files (base/quick_confine.c). */
#ifndef MS_BASE_QUICK_H
#define MS_BASE_QUICK_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The answer being written, in the child. */
struct ms_quick_answer;

/* Room for one frame of n bytes behind those before it; NULL when it does not fit. */
void *ms_quick_frame(struct ms_quick_answer *self, uint32_t type, size_t n) MS_MUST_USE;
/* The next n bytes of the answer, and of what is worked in beside it, will be written: one call for
 * their pages instead of a fault each. */
void ms_quick_ready(const struct ms_quick_answer *self, size_t n);
/* Where the answer ends now; and back to there: what was written since is taken back. */
size_t ms_quick_mark(const struct ms_quick_answer *self);
void ms_quick_back(struct ms_quick_answer *self, size_t mark);
/* Keeps n bytes free at the mark, which is the end of the answer, for frames that can only be
 * written when what follows is there. False when they do not fit. */
bool ms_quick_gap(struct ms_quick_answer *self, size_t n) MS_MUST_USE;
/* The frames of the gap at that mark, all at once. False when they do not fit. */
struct ms_quick_part {
    uint32_t type;
    struct ms_span bytes;
};
bool ms_quick_fill(struct ms_quick_answer *self, size_t mark, const struct ms_quick_part *parts,
                   size_t count) MS_MUST_USE;
/* n bytes to work in, which are not part of the answer and go with the next call of this; NULL when
 * they do not fit beside it. */
void *ms_quick_scratch(struct ms_quick_answer *self, size_t n) MS_MUST_USE;

/* A job: reads fd and its argument, writes its answer. False: it has none. It must not open
 * anything. */
typedef bool (*ms_quick_job)(int fd, struct ms_span arg, struct ms_quick_answer *answer);

struct ms_quick_options {
    const char *program; /* the file, beside the running program, that has the job and ends in
                            ms_quick_program. NULL: the job below, in forks of this process */
    ms_quick_job job;
    void (*prepare)(void); /* may be NULL: loads what libraries would load lazily */
};

struct ms_quick;

/* Starts the process the children are forked from. Call it from the main thread and early, as
 * ms_worker_start. MS_E_IO when it cannot be started; whether it can confine its children shows
 * with the first job. */
enum ms_status ms_quick_start(const struct ms_quick_options *options, struct ms_quick **out,
                              struct ms_error *err) MS_MUST_USE;
void ms_quick_stop(struct ms_quick *self);

/* A frame of the answer: bytes are borrowed, of hostile making, and change no more. A status other
 * than MS_OK ends the reading and is returned. */
typedef enum ms_status (*ms_quick_on_frame)(void *ctx, uint32_t type, struct ms_span bytes,
                                            struct ms_error *err);

/* Runs the job on a file with an argument of at most MS_LIMIT_QUICK_ARGUMENT_BYTES. The child
 * cannot write through fd, even where it is open for that. *answered: the job ended well, and
 * on_frame has seen each frame; otherwise on_frame was not called. Thread-safe: threads do not wait
 * for each other. Fails with what on_frame returns alone. */
enum ms_status ms_quick_run(struct ms_quick *self, int fd, struct ms_span arg,
                            ms_quick_on_frame on_frame, void *ctx, bool *answered,
                            struct ms_error *err) MS_MUST_USE;

/* The whole of such a program's main: serves the process that started it, or returns the exit code
 * of one that nobody is behind. */
int ms_quick_program(ms_quick_job job, void (*prepare)(void));

#endif
