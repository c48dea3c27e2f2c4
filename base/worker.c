/* The parent's half of the worker: starts the nursery, sends jobs, reads frames, judges ends. Looks
 * into no frame. */
#define _GNU_SOURCE
#include "base/worker.h"

#include "base/limits.h"
#include "base/worker_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* FEEDER_WAIT_MS: a feeder whose reader is gone meets a closed pipe with its next block. */
enum { HELLO_WAIT_MS = 30000, FEEDER_WAIT_MS = 2000, PIPE_BYTES = 1 << 20 };

struct ms_worker {
    struct ms_worker_options options;
    pid_t nursery;
    int control_fd;
    bool confined;
};

/* The machine's clock, not base/clock: a test that fakes the time of day must not switch the
 * time-outs off. */
static int64_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static enum ms_status read_hello(struct ms_worker *self, struct ms_error *err)
{
    struct pollfd polled = {self->control_fd, POLLIN, 0};
    struct ms_worker_hello hello;
    int ready;
    do
        ready = poll(&polled, 1, HELLO_WAIT_MS);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0 || recv(self->control_fd, &hello, sizeof hello, 0) != (ssize_t)sizeof hello)
        return ms_error_set(err, MS_E_IO, "the worker process did not start");
    hello.text[sizeof hello.text - 1] = '\0';
    self->confined = hello.confined != 0;
    if (self->confined || self->options.no_confine)
        return MS_OK;
    return ms_error_set(err, MS_E_IO,
                        "cannot confine the process that reads untrusted files: %s; "
                        "--no-confine goes on without",
                        hello.text);
}

enum ms_status ms_worker_start(const struct ms_worker_options *options, struct ms_worker **out,
                               struct ms_error *err)
{
    struct ms_worker *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->options = *options;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        free(self);
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot start the worker process");
    }
    self->nursery = fork();
    if (self->nursery == 0) {
        (void)close(pair[0]);
        ms_nursery_main(pair[1], &self->options);
    }
    int fork_errno = errno;
    (void)close(pair[1]);
    self->control_fd = pair[0];
    enum ms_status status =
        self->nursery > 0
            ? read_hello(self, err)
            : ms_error_set_errno(err, MS_E_IO, fork_errno, "cannot start the worker process");
    if (status != MS_OK) {
        if (self->nursery > 0)
            (void)kill(self->nursery, SIGKILL); /* it may hang: then it reads no closed socket */
        ms_worker_stop(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_worker_stop(struct ms_worker *self)
{
    if (!self)
        return;
    close_fd(&self->control_fd);
    int status;
    while (self->nursery > 0 && waitpid(self->nursery, &status, 0) < 0 && errno == EINTR)
        ;
    free(self);
}

void ms_worker_kill(struct ms_worker *self)
{
    (void)kill(self->nursery, SIGKILL);
}

bool ms_worker_confined(const struct ms_worker *self)
{
    return self->confined;
}

/* ---- one job -------------------------------------------------------------------------------- */

struct job {
    struct ms_worker_limits limits;
    ms_worker_frame on_frame;
    void *ctx;
    struct ms_worker_result *result;
    int frames_fd;
    int status_fd;
    int ring_fd; /* the child's descriptor of the blocks of a pair; -1: none */
    int pipe_bytes;
    int feeder_fd; /* the feeder's status socket; -1: there is none, or it is over */
    int64_t deadline_ms;
    /* The frame being read. */
    struct ms_worker_frame_head head;
    size_t head_have;
    uint8_t *body;
    size_t body_cap;
    size_t body_have;
    uint64_t output_bytes;
    bool answered; /* END came */
    bool over;     /* result->end is decided: give the job up */
};

static enum ms_status end_with(struct job *job, enum ms_worker_end end, const char *text)
{
    job->over = true;
    job->result->end = end;
    job->result->status = MS_REJECT;
    (void)ms_error_set(&job->result->error, MS_REJECT, "worker: %s", text);
    return MS_OK;
}

/* END: a status and a text, both of hostile making. */
static enum ms_status take_answer(struct job *job)
{
    uint32_t code = 0;
    if (job->head.len < sizeof code || job->head.len > sizeof code + MS_ERROR_TEXT_BYTES - 1)
        return end_with(job, MS_WORKER_OUTPUT, "malformed answer");
    memcpy(&code, job->body, sizeof code);
    if (code > MS_E_BUG)
        return end_with(job, MS_WORKER_OUTPUT, "malformed answer");
    struct ms_error *error = &job->result->error;
    size_t n = job->head.len - sizeof code;
    job->answered = true;
    job->result->status = (enum ms_status)code;
    *error = (struct ms_error){(enum ms_status)code, 0, ""};
    memcpy(error->text, job->body + sizeof code, n);
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)error->text[i] < 0x20 || error->text[i] == 0x7f)
            error->text[i] = '?';
    return MS_OK;
}

static enum ms_status take_frame(struct job *job, struct ms_error *err)
{
    job->head_have = 0;
    job->body_have = 0;
    if (job->head.type == MS_WORKER_FRAME_END)
        return take_answer(job);
    if (!job->on_frame)
        return MS_OK;
    int64_t before = now_ms();
    enum ms_status status =
        job->on_frame(job->ctx, job->head.type, ms_span_of(job->body, job->head.len), err);
    job->deadline_ms += now_ms() - before;
    return status;
}

static enum ms_status take_head(struct job *job, struct ms_error *err)
{
    if (job->head.type > MS_WORKER_FRAME_END || job->head.len > MS_LIMIT_FRAME_BYTES)
        return end_with(job, MS_WORKER_OUTPUT, "malformed frame");
    if (job->answered)
        return end_with(job, MS_WORKER_OUTPUT, "frames behind the answer");
    job->output_bytes += job->head.len;
    if (job->output_bytes > job->limits.output_bytes) {
        (void)end_with(job, MS_WORKER_OUTPUT, "sent more than its limit");
        job->result->error.status = MS_E_LIMIT;
        return MS_OK;
    }
    if (job->head.len > job->body_cap) {
        uint8_t *grown = realloc(job->body, job->head.len);
        if (!grown)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        job->body = grown;
        job->body_cap = job->head.len;
    }
    return job->head.len ? MS_OK : take_frame(job, err);
}

/* Reads what is there. Closes frames_fd at the end of the stream. */
static enum ms_status pump(struct job *job, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (status == MS_OK && !job->over) {
        bool in_head = job->head_have < sizeof job->head;
        void *to = in_head ? (uint8_t *)&job->head + job->head_have : job->body + job->body_have;
        size_t want = in_head ? sizeof job->head - job->head_have : job->head.len - job->body_have;
        ssize_t got = read(job->frames_fd, to, want);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return MS_OK;
        if (got < 0)
            return ms_error_set_errno(err, MS_E_IO, errno, "cannot read from the worker");
        if (got == 0) {
            close_fd(&job->frames_fd);
            return MS_OK;
        }
        if (in_head) {
            job->head_have += (size_t)got;
            if (job->head_have == sizeof job->head)
                status = take_head(job, err);
        } else {
            job->body_have += (size_t)got;
            if (job->body_have == job->head.len)
                status = take_frame(job, err);
        }
    }
    return status;
}

/* `who`: "", or "feeder: ". */
static void judge_signal(struct job *job, const char *who, int signal_number, uint64_t cpu_ms)
{
    char text[128];
    /* SIGKILL close to the CPU limit is the hard limit: SIGXCPU was blocked or ignored. */
    bool cpu = signal_number == SIGXCPU ||
               (signal_number == SIGKILL && cpu_ms + 100 >= (uint64_t)job->limits.cpu_s * 1000);
    if (cpu) {
        (void)snprintf(text, sizeof text, "%smore than %u s of CPU time", who, job->limits.cpu_s);
        (void)end_with(job, MS_WORKER_CPU, text);
        return;
    }
    const char *name = sigabbrev_np(signal_number);
    (void)snprintf(text, sizeof text, "%s%s by signal %d (SIG%s)", who,
                   signal_number == SIGSYS ? "killed for a forbidden system call" : "killed",
                   signal_number, name ? name : "?");
    (void)end_with(job, MS_WORKER_CRASHED, text);
    job->result->signal = signal_number;
}

/* The child is gone and its pipe is empty. */
static enum ms_status judge(struct job *job, const struct ms_worker_exit *gone,
                            struct ms_error *err)
{
    if (gone->error)
        return ms_error_set_errno(err, MS_E_IO, gone->error, "cannot start a worker");
    int status = gone->wait_status;
    if (WIFSIGNALED(status)) {
        judge_signal(job, "", WTERMSIG(status), gone->cpu_ms);
    } else if (!job->answered) {
        char text[64];
        (void)snprintf(text, sizeof text, "ended with code %d without an answer",
                       WEXITSTATUS(status));
        (void)end_with(job, MS_WORKER_CRASHED, text);
    } else if (job->head_have) {
        (void)end_with(job, MS_WORKER_OUTPUT, "frames behind the answer");
    }
    return MS_OK;
}

/* The feeder is gone. How it went the reader knows from the feed, but not of a death. */
static enum ms_status take_feeder(struct job *job, struct ms_error *err)
{
    struct ms_worker_exit gone;
    if (recv(job->feeder_fd, &gone, sizeof gone, 0) != (ssize_t)sizeof gone)
        return ms_error_set(err, MS_E_IO, "the worker process is gone");
    close_fd(&job->feeder_fd);
    if (gone.error)
        return ms_error_set_errno(err, MS_E_IO, gone.error, "cannot start a worker");
    if (WIFSIGNALED(gone.wait_status))
        judge_signal(job, "feeder: ", WTERMSIG(gone.wait_status), gone.cpu_ms);
    return MS_OK;
}

/* The reader is done. One that does not end now is killed by the closing of its socket. */
static enum ms_status end_feeder(struct job *job, struct ms_error *err)
{
    struct pollfd polled = {job->feeder_fd, POLLIN, 0};
    int64_t until = now_ms() + FEEDER_WAIT_MS;
    int ready = 0;
    if (job->feeder_fd < 0 || job->result->end != MS_WORKER_DONE)
        return MS_OK;
    do {
        int64_t left = until - now_ms();
        ready = poll(&polled, 1, left > 0 ? (int)left : 0);
    } while (ready < 0 && errno == EINTR);
    return ready > 0 ? take_feeder(job, err) : MS_OK;
}

static enum ms_status follow(struct job *job, struct ms_error *err)
{
    struct ms_worker_exit gone = {0, 0, 0};
    bool exited = false;
    while (!exited || job->frames_fd >= 0) {
        int64_t left = job->deadline_ms - now_ms();
        if (left <= 0) {
            char text[64];
            (void)snprintf(text, sizeof text, "no end after %.1f s", job->limits.wall_ms / 1e3);
            return end_with(job, MS_WORKER_TIMEOUT, text);
        }
        struct pollfd polled[3] = {{job->frames_fd, POLLIN, 0},
                                   {exited ? -1 : job->status_fd, POLLIN, 0},
                                   {job->feeder_fd, POLLIN, 0}};
        if (poll(polled, 3, (int)left) < 0 && errno != EINTR)
            return ms_error_set_errno(err, MS_E_IO, errno, "cannot wait for the worker");
        if (polled[0].revents) {
            enum ms_status status = pump(job, err);
            if (status != MS_OK || job->over)
                return status;
        }
        if (polled[1].revents) {
            if (recv(job->status_fd, &gone, sizeof gone, 0) != (ssize_t)sizeof gone)
                return ms_error_set(err, MS_E_IO, "the worker process is gone");
            exited = true;
        }
        if (polled[2].revents) {
            enum ms_status status = take_feeder(job, err);
            if (status != MS_OK || job->over)
                return status;
        }
    }
    enum ms_status status = judge(job, &gone, err);
    return status == MS_OK ? end_feeder(job, err) : status;
}

/* A descriptor the child cannot write through; *out is a new one. A memory file of ours that a
 * worker could change would no longer be what was hashed. */
static enum ms_status read_only(int fd, int *out, struct ms_error *err)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &st) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "worker input");
    if (!S_ISREG(st.st_mode) || (flags & O_ACCMODE) == O_RDONLY) {
        *out = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    } else {
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        *out = open(path, O_RDONLY | O_CLOEXEC);
        off_t at = lseek(fd, 0, SEEK_CUR);
        if (*out >= 0 && at > 0 && lseek(*out, at, SEEK_SET) != at)
            close_fd(out);
    }
    if (*out < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot hand the input to the worker");
    return MS_OK;
}

static enum ms_status argument_file(struct ms_span arg, int *fd, struct ms_error *err)
{
    *fd = memfd_create("worker-argument", MFD_CLOEXEC);
    if (*fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot make a memory file");
    for (size_t done = 0; done < arg.len;) {
        ssize_t n = write(*fd, arg.data + done, arg.len - done);
        if (n < 0 && errno != EINTR)
            return ms_error_set_errno(err, MS_E_IO, errno, "cannot fill a memory file");
        done += n > 0 ? (size_t)n : 0;
    }
    return MS_OK;
}

static enum ms_status send_request(const struct ms_worker *self,
                                   const struct ms_worker_request *request, const int *fds,
                                   size_t fd_count, struct ms_error *err)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(5 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {(void *)(uintptr_t)request, sizeof *request};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(fd_count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, fd_count * sizeof(int));
    ssize_t sent;
    do
        sent = sendmsg(self->control_fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "the worker process is gone");
    return MS_OK;
}

/* Makes the pipe, the status socket and the argument file and sends them off. */
static enum ms_status dispatch(const struct ms_worker *self, struct job *job, uint32_t kind,
                               int input_fd, struct ms_span arg, struct ms_error *err)
{
    int frames[2] = {-1, -1};
    int sockets[2] = {-1, -1};
    int arg_fd = -1;
    int in_fd = -1;
    enum ms_status status = MS_E_IO;
    if (pipe2(frames, O_CLOEXEC) != 0 || fcntl(frames[0], F_SETFL, O_NONBLOCK) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        (void)ms_error_set_errno(err, MS_E_IO, errno, "cannot reach the worker process");
        goto out;
    }
    /* A large one is faster, but refused where pipes are rationed; a small one is a promise. */
    int pipe_bytes = fcntl(frames[0], F_SETPIPE_SZ, job->pipe_bytes);
    if (job->pipe_bytes < PIPE_BYTES && pipe_bytes != job->pipe_bytes) {
        (void)ms_error_set(err, MS_E_IO, "cannot make a pipe of %d bytes", job->pipe_bytes);
        goto out;
    }
    status = argument_file(arg, &arg_fd, err);
    if (status == MS_OK && input_fd >= 0)
        status = read_only(input_fd, &in_fd, err);
    if (status == MS_OK) {
        struct ms_worker_request request = {kind, job->limits.cpu_s, job->limits.address_bytes,
                                            input_fd >= 0, job->ring_fd >= 0};
        int fds[5] = {frames[1], sockets[1], arg_fd, in_fd};
        size_t count = input_fd >= 0 ? 4 : 3;
        if (job->ring_fd >= 0)
            fds[count++] = job->ring_fd;
        status = send_request(self, &request, fds, count, err);
    }
    if (status == MS_OK) {
        job->frames_fd = frames[0];
        job->status_fd = sockets[0];
        frames[0] = sockets[0] = -1;
    }
out:
    close_fd(&frames[0]);
    close_fd(&frames[1]);
    close_fd(&sockets[0]);
    close_fd(&sockets[1]);
    close_fd(&arg_fd);
    close_fd(&in_fd);
    return status;
}

static struct ms_worker_limits with_defaults(const struct ms_worker_limits *limits)
{
    struct ms_worker_limits out = {0, 0, 0, 0};
    if (limits)
        out = *limits;
    if (!out.address_bytes)
        out.address_bytes = MS_LIMIT_WORKER_ADDRESS_BYTES;
    if (!out.cpu_s)
        out.cpu_s = MS_LIMIT_WORKER_CPU_S;
    if (!out.wall_ms)
        out.wall_ms = MS_LIMIT_WORKER_WALL_MS;
    if (!out.output_bytes)
        out.output_bytes = MS_LIMIT_UNPACK_TOTAL_BYTES + ((uint64_t)64 << 20);
    return out;
}

/* The number of a job, or kind_count. */
static uint32_t kind_index(const struct ms_worker *self, const char *kind)
{
    uint32_t index = 0;
    while (index < self->options.kind_count && strcmp(self->options.kinds[index].name, kind) != 0)
        index++;
    return index;
}

/* Shared memory for the blocks, and the reader's descriptor of it. Without it, -1 twice, they go
 * through the pipe. */
static void make_ring(int *ring_fd, int *readers_fd)
{
    *ring_fd = *readers_fd = -1;
    if (sysconf(_SC_PAGESIZE) != MS_WORKER_RING_PAGE_BYTES)
        return;
    *ring_fd = memfd_create("worker-blocks", MFD_CLOEXEC);
    if (*ring_fd < 0 || ftruncate(*ring_fd, MS_WORKER_RING_BYTES) != 0 ||
        read_only(*ring_fd, readers_fd, NULL) != MS_OK)
        close_fd(ring_fd);
}

/* Starts the feeder; *pipe_fd is then what it sends. A pipe holds at most what it is told to when
 * it is made, so that nothing is sent before. */
static enum ms_status dispatch_feeder(const struct ms_worker *self, struct job *job, uint32_t kind,
                                      int input_fd, int *pipe_fd, struct ms_error *err)
{
    struct job feeder = {
        .limits = job->limits, .frames_fd = -1, .status_fd = -1, .pipe_bytes = PIPE_BYTES};
    make_ring(&feeder.ring_fd, &job->ring_fd);
    if (feeder.ring_fd >= 0)
        feeder.pipe_bytes = MS_WORKER_RING_PAGES * MS_WORKER_RING_PAGE_BYTES;
    enum ms_status status = dispatch(self, &feeder, kind, input_fd, ms_span_of(NULL, 0), err);
    close_fd(&feeder.ring_fd);
    job->feeder_fd = feeder.status_fd;
    *pipe_fd = feeder.frames_fd;
    if (status == MS_OK && fcntl(*pipe_fd, F_SETFL, 0) != 0) /* the reader waits in read(2) */
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot reach the worker process");
    return status;
}

/* Without a feeder, NULL, the job has input_fd itself. */
static enum ms_status run(struct ms_worker *self, const char *kind, const char *feeder,
                          int input_fd, struct ms_span arg, struct job *job, struct ms_error *err)
{
    uint32_t index = kind_index(self, kind);
    uint32_t feeder_index = feeder ? kind_index(self, feeder) : 0;
    int pipe_fd = -1;
    enum ms_status status = MS_OK;
    if (index == self->options.kind_count || feeder_index == self->options.kind_count)
        return ms_error_set(err, MS_E_BUG, "unknown worker job '%s'",
                            index == self->options.kind_count ? kind : feeder);
    *job->result = (struct ms_worker_result){MS_WORKER_DONE, MS_OK, 0, {MS_OK, 0, ""}};
    if (feeder)
        status = dispatch_feeder(self, job, feeder_index, input_fd, &pipe_fd, err);
    if (status == MS_OK)
        status = dispatch(self, job, index, feeder ? pipe_fd : input_fd, arg, err);
    /* Only the reader holds it now: when that is gone the feeder cannot write any more. */
    close_fd(&pipe_fd);
    close_fd(&job->ring_fd);
    job->deadline_ms = now_ms() + job->limits.wall_ms;
    if (status == MS_OK)
        status = follow(job, err);
    /* Closing the status sockets makes the nursery kill a child that is still there. */
    close_fd(&job->status_fd);
    close_fd(&job->feeder_fd);
    close_fd(&job->frames_fd);
    free(job->body);
    return status;
}

enum ms_status ms_worker_run(struct ms_worker *self, const char *kind, int input_fd,
                             struct ms_span arg, const struct ms_worker_limits *limits,
                             ms_worker_frame on_frame, void *ctx, struct ms_worker_result *result,
                             struct ms_error *err)
{
    return ms_worker_run_fed(self, kind, NULL, input_fd, arg, limits, on_frame, ctx, result, err);
}

enum ms_status ms_worker_run_fed(struct ms_worker *self, const char *kind, const char *feeder,
                                 int input_fd, struct ms_span arg,
                                 const struct ms_worker_limits *limits, ms_worker_frame on_frame,
                                 void *ctx, struct ms_worker_result *result, struct ms_error *err)
{
    struct job job = {.limits = with_defaults(limits),
                      .on_frame = on_frame,
                      .ctx = ctx,
                      .result = result,
                      .frames_fd = -1,
                      .status_fd = -1,
                      .ring_fd = -1,
                      .pipe_bytes = PIPE_BYTES,
                      .feeder_fd = -1};
    return run(self, kind, feeder, input_fd, arg, &job, err);
}
