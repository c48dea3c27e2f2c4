/* Runs jobs on untrusted bytes in confined child processes (no network, no file system, no exec)
 * that answer in frames over a pipe. A job's crash, limit or time-out costs that job alone.
 *
 * What a job may do: compute, read its input and memory files, write to its pipe. The system calls
 * allowed are one table in base/confine.c; opening a file fails with EPERM; exec, sockets, ptrace,
 * new processes and threads kill the job. A job that was taken over by its input can therefore
 * still send any frame it likes: what a worker says is a claim, and the parent checks it. */
#ifndef MS_BASE_WORKER_H
#define MS_BASE_WORKER_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The child's end of the pipe. */
struct ms_worker_out;

/* Sends one frame (type 0 to 65535, at most MS_LIMIT_FRAME_BYTES). Blocks while the pipe is full.
 */
enum ms_status ms_worker_emit(struct ms_worker_out *out, uint32_t type, const void *bytes,
                              size_t n) MS_MUST_USE;

/* A job: reads input_fd (-1 when there is none; position as the parent left it) and its argument
 * bytes, emits frames, returns. It runs in the confined child. Its status and error text travel to
 * the parent. It must not open anything. */
typedef enum ms_status (*ms_worker_job)(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                        struct ms_error *err);

/* The jobs a process can run; the table must be static and known before ms_worker_start forks. */
struct ms_worker_kind {
    const char *name;
    ms_worker_job job;
    void (*prepare)(void); /* may be NULL; run once, before the first job of the kind is confined:
                              loads what libraries would load lazily */
};

struct ms_worker_limits {
    uint64_t
        address_bytes; /* 0: MS_LIMIT_WORKER_ADDRESS_BYTES (not applied under AddressSanitizer) */
    uint32_t cpu_s;    /* 0: MS_LIMIT_WORKER_CPU_S */
    uint32_t wall_ms;  /* 0: MS_LIMIT_WORKER_WALL_MS */
    uint64_t output_bytes; /* sum of all frames; 0: MS_LIMIT_UNPACK_TOTAL_BYTES + 64 MiB */
};

enum ms_worker_end {
    MS_WORKER_DONE,    /* the job returned; see status and error */
    MS_WORKER_CRASHED, /* killed by a signal of its own making (signal says which; a forbidden
                          system call is SIGSYS), or gone without an answer (signal 0) */
    MS_WORKER_CPU,     /* CPU limit */
    MS_WORKER_TIMEOUT, /* wall time */
    MS_WORKER_OUTPUT   /* sent more than output_bytes (error.status is MS_E_LIMIT), or a malformed
                          frame */
};

struct ms_worker_result {
    enum ms_worker_end end;
    enum ms_status status; /* the job's own, when DONE; MS_REJECT otherwise. It costs that input
                              alone: the hostile side may have chosen it */
    int signal;            /* when CRASHED */
    struct ms_error error; /* the job's text, or a sentence on the end: "worker: killed by signal 11
                              (SIGSEGV)" */
};

struct ms_worker;

struct ms_worker_options {
    const struct ms_worker_kind *kinds;
    size_t kind_count;
    bool no_confine; /* --no-confine: run without seccomp where it cannot be set up; rlimits stay */
};

/* Forks the small nursery process that forks a confined child a job. Call it from the main thread
 * and early: before threads, secrets and large memory, since the children inherit what is there
 * (argv and the environment are wiped in the nursery; a struct ms_secret reads as zeros there, so
 * call ms_secret_read, which also wipes the literal it was given, before this). Fails with MS_E_IO
 * when confinement cannot be set up (and no_confine is false): the nursery probes it at start. The
 * nursery and its children die with this process. */
enum ms_status ms_worker_start(const struct ms_worker_options *options, struct ms_worker **out,
                               struct ms_error *err) MS_MUST_USE;
void ms_worker_stop(struct ms_worker *self);
/* Kills the jobs that run, and the process that would start more: the calls that wait for them
 * return MS_E_IO. Thread-safe: for the way out while other threads wait. ms_worker_stop is still to
 * follow. */
void ms_worker_kill(struct ms_worker *self);

/* False when --no-confine was needed: the tool says so once. */
bool ms_worker_confined(const struct ms_worker *self);

/* The parent's view of a frame; bytes are borrowed. A status other than MS_OK stops the job (it is
 * killed) and is returned. */
typedef enum ms_status (*ms_worker_frame)(void *ctx, uint32_t type, struct ms_span bytes,
                                          struct ms_error *err);

/* Runs job `kind` and calls on_frame for each frame in order. MS_OK whenever the job ended somehow:
 * see result. Thread-safe: each thread's jobs run beside those of others. limits NULL: defaults.
 * A regular input file that is open for writing is handed over read-only. The wall time does not
 * count while on_frame works. MS_E_IO when the nursery is gone, MS_E_BUG for an unknown kind. */
enum ms_status ms_worker_run(struct ms_worker *self, const char *kind, int input_fd,
                             struct ms_span arg, const struct ms_worker_limits *limits,
                             ms_worker_frame on_frame, void *ctx, struct ms_worker_result *result,
                             struct ms_error *err) MS_MUST_USE;

/* The same with two confined children, so that two processors work on one input: job `feeder` gets
 * input_fd and an empty argument, and the pipe for its frames is the input of job `kind`, which
 * reads it by ms_worker_feed_read. Blocks by ms_worker_feed_send lie in memory that both share.
 * `limits` hold for each; the wall time for both together. The feeder's status and text are how
 * that input ends. A feeder that cannot go on writing because its reader is done is no fault; a
 * feeder that dies by a signal is the end of both, and the result says so ("worker: feeder: …").
 * Neither outlives the call. feeder NULL: ms_worker_run. */
enum ms_status ms_worker_run_fed(struct ms_worker *self, const char *kind, const char *feeder,
                                 int input_fd, struct ms_span arg,
                                 const struct ms_worker_limits *limits, ms_worker_frame on_frame,
                                 void *ctx, struct ms_worker_result *result,
                                 struct ms_error *err) MS_MUST_USE;

/* The feeder's side: where the next MS_WORKER_FEED_BYTES at most are to be put, and sending n of
 * them. By ms_worker_emit they would be copied twice more. */
enum { MS_WORKER_FEED_BYTES = 64 << 10 };
uint8_t *ms_worker_feed_room(void);
enum ms_status ms_worker_feed_send(struct ms_worker_out *out, size_t n) MS_MUST_USE;

/* An input that a feeder sends; the reading job's storage. */
enum { MS_WORKER_FEED_HELD_BYTES = 32 << 10 };
struct ms_worker_feed {
    int fd;
    const uint8_t *block; /* of the ring: what is left of it; NULL: in the pipe */
    uint32_t left;        /* of the present frame */
    bool ended;           /* the feeder said that this was all */
    uint64_t bytes, max_bytes;
    struct ms_error end; /* what it failed with; MS_OK: nothing yet */
    size_t held_at, held_len;
    uint8_t held[MS_WORKER_FEED_HELD_BYTES]; /* of the pipe, read ahead */
};

/* At most max_bytes are delivered; a feeder that says more is MS_E_LIMIT. Borrows fd. */
void ms_worker_feed_init(struct ms_worker_feed *self, int fd, uint64_t max_bytes);
/* Fills buf, unless the input ends before; *n = 0 at the end. MS_REJECT, MS_E_LIMIT, MS_E_NOMEM or
 * MS_E_IO with the feeder's text when that failed, MS_REJECT when it is gone or sends what is no
 * frame; and so for ever after. */
enum ms_status ms_worker_feed_read(struct ms_worker_feed *self, void *buf, size_t cap, size_t *n,
                                   struct ms_error *err) MS_MUST_USE;

#endif
