/* What the two halves of the worker say to each other; no one else includes it. */
#ifndef MS_BASE_WORKER_PRIVATE_H
#define MS_BASE_WORKER_PRIVATE_H

#include "base/worker.h"

/* Sanitizer runtimes need a few more system calls, reserve terabytes of address space and write
 * their report to stderr; so does valgrind, for which a build of its own is made (MS_VALGRIND):
 * what users run has no such switch. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(MS_VALGRIND)
#define MS_WORKER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MS_WORKER_SANITIZED 1
#endif
#endif
#ifndef MS_WORKER_SANITIZED
#define MS_WORKER_SANITIZED 0
#endif

/* What a forbidden call costs. Valgrind does not know seccomp(2), by which libseccomp asks whether
 * the whole process can be killed; a child has one thread. */
#ifdef MS_VALGRIND
#define MS_WORKER_KILL SCMP_ACT_KILL_THREAD
#else
#define MS_WORKER_KILL SCMP_ACT_KILL_PROCESS
#endif

/* Descriptors of a confined child; 0 to 2 are /dev/null. */
enum { MS_WORKER_FD_INPUT = 3, MS_WORKER_FD_OUT = 4, MS_WORKER_FD_COUNT = 5 };

/* Parent to nursery, one datagram with the descriptors: frames (write end), status, argument, and
 * the input when has_input, the memory of a pair's blocks when has_ring. */
struct ms_worker_request {
    uint32_t kind;
    uint32_t cpu_s;
    uint64_t address_bytes;
    uint32_t has_input;
    uint32_t has_ring;
};

/* Nursery to parent, once, when it is ready. */
struct ms_worker_hello {
    int32_t confined;
    char text[256]; /* why not */
};

/* Nursery to parent over the job's status socket, when the child is gone. */
struct ms_worker_exit {
    int32_t error; /* errno of a failed fork, 0 otherwise */
    int32_t wait_status;
    uint64_t cpu_ms;
};

/* Child to parent over the frame pipe; the last frame is END: a status as uint32_t, then text. */
struct ms_worker_frame_head {
    uint32_t type;
    uint32_t len;
};
enum { MS_WORKER_FRAME_TYPE_MAX = 65535, MS_WORKER_FRAME_END = 65536 };

struct ms_worker_out {
    int fd;
};

/* Between a feeder and its reader blocks lie in shared memory, which the reader cannot write to,
 * and the pipe has a frame of one page for each. It holds so many: the feeder then waits in
 * write(2). The reader takes all that are there at once, so that it wakes the feeder once for so
 * many blocks and not for each, which costs more than the block where a processor has gone idle.
 * While it copies the first of these, that many more may be sent, and the feeder fills one: no
 * block is filled anew before it was read. */
enum {
    MS_WORKER_RING_PAGE_BYTES = 4096,
    MS_WORKER_RING_PAGES = MS_WORKER_FEED_HELD_BYTES / MS_WORKER_RING_PAGE_BYTES,
    MS_WORKER_RING_BLOCKS = 2 * MS_WORKER_RING_PAGES + 2,
    MS_WORKER_RING_BYTES = MS_WORKER_RING_BLOCKS * MS_WORKER_FEED_BYTES,
    MS_WORKER_FRAME_BLOCK = 65537 /* the size of the next block as uint32_t, and zeros */
};
/* Those in the pipe, those that the reader holds with a part of one more, and the one being filled.
 */
_Static_assert(MS_WORKER_RING_BLOCKS >= 2 * MS_WORKER_RING_PAGES + 2,
               "blocks would be overwritten");

/* A child's mapping of these blocks; before its job begins. */
void ms_worker_ring_use(uint8_t *at);

/* Runs until the control socket closes, then ends the process. */
_Noreturn void ms_nursery_main(int control_fd, const struct ms_worker_options *options);

/* The system call filter, built once in the nursery. NULL and text when it cannot be built. */
struct ms_confine;
struct ms_confine *ms_confine_new(char *text, size_t text_bytes);
/* Puts this process behind rlimits and, when filter is not NULL, the system call filter. Returns 0
 * or an errno. There is no way back. */
int ms_confine_apply(struct ms_confine *filter, uint64_t address_bytes, uint32_t cpu_s);

#endif
