/* What the two ends of base/quick say to each other; no one else includes it. */
#ifndef MS_BASE_QUICK_PRIVATE_H
#define MS_BASE_QUICK_PRIVATE_H

#include "base/quick.h"
#include "base/worker_private.h"

#include <sys/types.h>

enum { MS_QUICK_FD_CONTROL = 3, MS_QUICK_FD_INPUT = 4 };

/* Program to parent, once: can it confine its children? */
struct ms_quick_hello {
    uint64_t build; /* ms_quick_build: both ends must be of one build */
    uint64_t confined;
};

/* Parent to program, with two descriptors: the control socket of a new seat and its memory. A seat
 * is a process that forks one child at a time. */
struct ms_quick_seat_request {
    uint64_t magic;
    int64_t processor; /* the only one it and its children run on; -1: any */
};
#define MS_QUICK_SEAT UINT64_C(0x74616573)

/* Parent to seat: this many bytes of argument lie behind it, and the input comes along. */
struct ms_quick_request {
    uint64_t argument_bytes;
};

/* Seat to parent: the child is gone. */
struct ms_quick_exit {
    int32_t error; /* errno of a failed fork, 0 otherwise */
    int32_t wait_status;
};

/* At the beginning of the shared memory. The child writes it, so the parent believes nothing. */
struct ms_quick_head {
    uint64_t used; /* bytes of frames behind this; each is struct ms_worker_frame_head and bytes */
};

struct ms_quick_answer {
    uint8_t *at; /* behind the head */
    size_t cap;
    size_t used;
};

/* A frame that is none: what is left of a gap. */
enum { MS_QUICK_FRAME_GAP = MS_WORKER_FRAME_TYPE_MAX + 1 };

uint64_t ms_quick_build(void);
/* In a forked process: becomes the program, or, without one, serves by itself. */
_Noreturn void ms_quick_root(int control_fd, const struct ms_quick_options *options, pid_t parent);

/* The two filters: one for a seat and what it forks, and what a child adds to it. */
struct ms_quick_filter;
struct ms_quick_filter *ms_quick_filter_new(void);
/* For a seat: limits and the first filter; 0 or an errno. */
int ms_quick_confine_seat(const struct ms_quick_filter *self);
/* For a child, on top of that: after it nothing is left but reading, memory and the end. */
int ms_quick_confine_child(const struct ms_quick_filter *self);

#endif
