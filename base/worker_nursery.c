/* The nursery: a small process that forks one confined child a job and tells the parent how each
 * ended. It parses nothing from outside; the child's half is here too. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/settle.h"
#include "base/worker_private.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Blocks below HEAP_BLOCK_BYTES come from the heap, which grows by HEAP_READY_BYTES. */
enum { REQUEST_FDS = 5, HEAP_BLOCK_BYTES = 4 << 20, HEAP_READY_BYTES = 512 << 10 };

struct running {
    pid_t pid; /* 0: free slot */
    int status_fd;
};

struct nursery {
    const struct ms_worker_options *options;
    struct ms_confine *filter; /* NULL: unconfined by --no-confine */
    int control_fd;
    int signal_fd;
    bool *prepared; /* by kind */
    struct running jobs[MS_LIMIT_WORKER_JOBS];
};

/* ---- the child ------------------------------------------------------------------------------ */

enum ms_status ms_worker_emit(struct ms_worker_out *out, uint32_t type, const void *bytes, size_t n)
{
    if (n > MS_LIMIT_FRAME_BYTES || type > MS_WORKER_FRAME_BLOCK)
        return MS_E_BUG;
    struct ms_worker_frame_head head = {type, (uint32_t)n};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)bytes, n}};
    size_t first = 0;
    while (first < 2) {
        ssize_t sent = writev(out->fd, parts + first, (int)(2 - first));
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return MS_E_IO;
        size_t left = (size_t)sent;
        while (first < 2 && left >= parts[first].iov_len) {
            left -= parts[first].iov_len;
            first++;
        }
        if (first < 2) {
            parts[first].iov_base = (uint8_t *)parts[first].iov_base + left;
            parts[first].iov_len -= left;
        }
    }
    return MS_OK;
}

static _Noreturn void child_end(struct ms_worker_out *out, enum ms_status status,
                                const struct ms_error *err)
{
    uint8_t end[sizeof(uint32_t) + MS_ERROR_TEXT_BYTES];
    uint32_t code = (uint32_t)status;
    size_t n = status == MS_OK ? 0 : strnlen(err->text, MS_ERROR_TEXT_BYTES - 1);
    memcpy(end, &code, sizeof code);
    memcpy(end + sizeof code, err->text, n);
    enum ms_status sent = ms_worker_emit(out, MS_WORKER_FRAME_END, end, sizeof code + n);
    _exit(sent == MS_OK ? 0 : 1);
}

static struct ms_span map_argument(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size <= 0)
        return ms_span_of(NULL, 0);
    void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    return at == MAP_FAILED ? ms_span_of(NULL, 0) : ms_span_of(at, (size_t)st.st_size);
}

/* The descriptor says whether it may be written to: a pair's reader may not, nor by mprotect(2). */
static bool map_ring(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    int rights = PROT_READ | ((flags & O_ACCMODE) == O_RDONLY ? 0 : PROT_WRITE);
    uint8_t *at = mmap(NULL, MS_WORKER_RING_BYTES, rights, MAP_SHARED, fd, 0);
    if (flags < 0 || at == MAP_FAILED)
        return false;
    ms_worker_ring_use(at);
    return true;
}

/* Leaves exactly descriptors 0 to 4: the null device thrice, input (or null), frame pipe. */
static int arrange_fds(int frames, int input)
{
    int high_frames = fcntl(frames, F_DUPFD, MS_WORKER_FD_COUNT);
    int high_input = fcntl(input < 0 ? 0 : input, F_DUPFD, MS_WORKER_FD_COUNT);
    if (high_frames < 0 || high_input < 0)
        return errno;
    if (dup2(high_input, MS_WORKER_FD_INPUT) < 0 || dup2(high_frames, MS_WORKER_FD_OUT) < 0)
        return errno;
    if (syscall(SYS_close_range, (unsigned)MS_WORKER_FD_COUNT, ~0U, 0U) == 0)
        return 0;
    if (errno != ENOSYS)
        return errno;
    for (int fd = MS_WORKER_FD_COUNT; fd < 65536; fd++)
        (void)close(fd);
    return 0;
}

static _Noreturn void child_main(const struct nursery *self,
                                 const struct ms_worker_request *request, const int *fds,
                                 pid_t nursery_pid)
{
    struct ms_error err = {MS_OK, 0, ""};
    struct ms_span arg = map_argument(fds[2]);
    int input = request->has_input ? fds[3] : -1;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != nursery_pid)
        _exit(1);
    if (request->has_ring && !map_ring(fds[3 + (request->has_input ? 1 : 0)]))
        _exit(1);
    int rc = arrange_fds(fds[0], input);
    struct ms_worker_out out = {MS_WORKER_FD_OUT};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    if (!rc)
        rc = ms_confine_apply(self->filter, request->address_bytes, request->cpu_s);
    if (rc) {
        (void)ms_error_set_errno(&err, MS_E_IO, rc, "cannot confine the worker");
        child_end(&out, MS_E_IO, &err);
    }
    ms_worker_job job = self->options->kinds[request->kind].job;
    enum ms_status status = job(request->has_input ? MS_WORKER_FD_INPUT : -1, arg, &out, &err);
    child_end(&out, status, &err);
}

/* ---- the nursery ---------------------------------------------------------------------------- */

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
}

static void report(int status_fd, int error, int wait_status, uint64_t cpu_ms)
{
    struct ms_worker_exit message = {error, wait_status, cpu_ms};
    ssize_t sent = send(status_fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* the parent gave this job up: nobody to tell */
    (void)close(status_fd);
}

/* A child is born often and lives shortly: each page of heap that it inherits costs it a copy, each
 * block that it maps for itself a call and a fault a page. */
static void settle_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, 2 * HEAP_BLOCK_BYTES);
    (void)mallopt(M_TOP_PAD, HEAP_READY_BYTES);
    (void)malloc_trim(0);
}

/* Not at the start: libraries are dear to set up, and most runs have no use for most kinds. Kinds
 * may share what they need. */
static void prepare(struct nursery *self, uint32_t kind)
{
    const struct ms_worker_kind *kinds = self->options->kinds;
    bool done = !kinds[kind].prepare;
    for (size_t i = 0; i < self->options->kind_count && !done; i++)
        done = self->prepared[i] && kinds[i].prepare == kinds[kind].prepare;
    if (done)
        return;
    kinds[kind].prepare();
    self->prepared[kind] = true;
    settle_memory();
}

static void launch(struct nursery *self, const struct ms_worker_request *request, int *fds)
{
    struct running *slot = NULL;
    for (size_t i = 0; i < MS_LIMIT_WORKER_JOBS && !slot; i++)
        if (!self->jobs[i].pid)
            slot = &self->jobs[i];
    if (slot && request->kind < self->options->kind_count)
        prepare(self, request->kind);
    pid_t me = getpid();
    pid_t pid = slot && request->kind < self->options->kind_count ? fork() : -1;
    int error = pid >= 0 ? 0 : slot ? errno : EAGAIN;
    if (pid == 0)
        child_main(self, request, fds, me);
    (void)close(fds[0]);
    close_all(fds + 2, REQUEST_FDS - 2);
    if (error) {
        report(fds[1], error, 0, 0);
        return;
    }
    slot->pid = pid;
    slot->status_fd = fds[1];
}

/* False when the parent is gone. */
static bool serve_request(struct nursery *self)
{
    struct ms_worker_request request;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(REQUEST_FDS * sizeof(int))];
    } control;
    struct iovec part = {&request, sizeof request};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(self->control_fd, &message, MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    if (got == 0)
        return false;
    int fds[REQUEST_FDS] = {-1, -1, -1, -1, -1};
    size_t count = 0;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
        count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(head), count * sizeof(int));
    }
    if (got != (ssize_t)sizeof request ||
        count != 3U + (request.has_input ? 1 : 0) + (request.has_ring ? 1 : 0)) {
        close_all(fds, REQUEST_FDS);
        return true;
    }
    launch(self, &request, fds);
    return true;
}

static void reap(struct nursery *self)
{
    struct signalfd_siginfo info;
    while (read(self->signal_fd, &info, sizeof info) > 0)
        ;
    int status;
    struct rusage usage;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        uint64_t cpu_ms = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                          (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
        for (size_t i = 0; i < MS_LIMIT_WORKER_JOBS; i++)
            if (self->jobs[i].pid == pid) {
                report(self->jobs[i].status_fd, 0, status, cpu_ms);
                self->jobs[i].pid = 0;
            }
    }
}

static void kill_all(struct nursery *self)
{
    for (size_t i = 0; i < MS_LIMIT_WORKER_JOBS; i++)
        if (self->jobs[i].pid)
            (void)kill(self->jobs[i].pid, SIGKILL);
}

static _Noreturn void serve(struct nursery *self)
{
    struct pollfd polled[2 + MS_LIMIT_WORKER_JOBS];
    size_t slots[2 + MS_LIMIT_WORKER_JOBS];
    for (;;) {
        size_t n = 2;
        polled[0] = (struct pollfd){self->control_fd, POLLIN, 0};
        polled[1] = (struct pollfd){self->signal_fd, POLLIN, 0};
        for (size_t i = 0; i < MS_LIMIT_WORKER_JOBS; i++)
            if (self->jobs[i].pid) {
                slots[n] = i;
                polled[n++] = (struct pollfd){self->jobs[i].status_fd, 0, 0};
            }
        if (poll(polled, (nfds_t)n, -1) < 0 && errno != EINTR)
            break;
        /* The parent hung up on a job: it does not want the rest. The child is reaped later. */
        for (size_t i = 2; i < n; i++)
            if (polled[i].revents & (POLLHUP | POLLERR) && self->jobs[slots[i]].pid > 0) {
                (void)kill(self->jobs[slots[i]].pid, SIGKILL);
                (void)poll(&polled[1], 1, 1000);
                reap(self);
            }
        if (polled[1].revents)
            reap(self);
        if (polled[0].revents && !serve_request(self))
            break;
    }
    kill_all(self);
    _exit(0);
}

/* Overwrites the command line and the environment as the kernel laid them out: a key may have come
 * in either. */
static void wipe_argv_and_environment(void)
{
    char text[2048];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        (void)close(fd);
    for (char **at = environ; at && *at; at++)
        explicit_bzero(*at, strlen(*at));
    environ = NULL;
    if (got <= 0)
        return;
    text[got] = '\0';
    /* proc(5): arg_start, arg_end, env_start, env_end are fields 48 to 51; the name, field 2, is
     * in parentheses and may hold blanks. */
    unsigned long long bounds[4] = {0, 0, 0, 0};
    char *at = strrchr(text, ')');
    for (int field = 3; at && field <= 51; field++) {
        at = strchr(at + 1, ' ');
        if (at && field >= 48)
            bounds[field - 48] = strtoull(at + 1, NULL, 10);
    }
#ifdef MS_VALGRIND
    memset(bounds, 0, sizeof bounds); /* these are valgrind's own, and it still reads them */
#endif
    for (int i = 0; i < 4; i += 2)
        if (bounds[i] && bounds[i + 1] > bounds[i])
            explicit_bzero((void *)(uintptr_t)bounds[i], (size_t)(bounds[i + 1] - bounds[i]));
}

static int use_null_device(int control_fd)
{
    int null_fd = open("/dev/null", O_RDWR);
    if (null_fd < 0)
        return -1;
    for (int fd = 0; fd < (MS_WORKER_SANITIZED ? 2 : 3); fd++)
        if (dup2(null_fd, fd) < 0)
            return -1;
    int moved = dup2(control_fd, 3);
    if (moved >= 0)
        (void)syscall(SYS_close_range, 4U, ~0U, 0U);
    return moved;
}

/* A child that does what must not work. Exit codes: 9 an open succeeded, 10 a socket could be
 * made, 11 set-up failed. Killed by SIGSYS: confined. */
static bool probe(struct ms_confine *filter, char *text, size_t text_bytes)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (ms_confine_apply(filter, MS_LIMIT_WORKER_ADDRESS_BYTES, 5) != 0)
            _exit(11);
        if (open("/", O_RDONLY | O_CLOEXEC) >= 0)
            _exit(9);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        _exit(fd >= 0 ? 10 : 12);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        (void)snprintf(text, text_bytes, "cannot start a process: %s", strerror(errno));
        return false;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        return true;
    (void)snprintf(text, text_bytes, "the system call filter has no effect here (probe ended %d)",
                   WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    return false;
}

static void settle_signals(void)
{
    /* Handlers of the parent mean nothing here and would blur how a child died; a sanitizer's own
     * stay, they write its report. */
    for (int number = 1; number < NSIG && !MS_WORKER_SANITIZED; number++)
        (void)signal(number, SIG_DFL);
    /* Ctrl-C reaches the whole process group; the parent ends its jobs in its own order. */
    static const int signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        (void)signal(signals[i], SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL);
}

_Noreturn void ms_nursery_main(int control_fd, const struct ms_worker_options *options)
{
    static struct nursery self;
    self.options = options;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        _exit(1);
    settle_signals();
    self.control_fd = use_null_device(control_fd);
    if (self.control_fd < 0)
        _exit(1);
    (void)prctl(PR_SET_NAME, "ms-nursery", 0, 0, 0);
    wipe_argv_and_environment();
    /* Else the C library looks for /etc/localtime whenever an archive tells a local time. */
    (void)setenv("TZ", "UTC0", 1);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        _exit(1);
    struct ms_worker_hello hello = {0, ""};
    self.filter = ms_confine_new(hello.text, sizeof hello.text);
    hello.confined = self.filter && probe(self.filter, hello.text, sizeof hello.text);
    if (!hello.confined)
        self.filter = NULL;
    self.prepared = calloc(options->kind_count + 1, sizeof *self.prepared);
    if (!self.prepared)
        _exit(1);
    settle_memory();
    ms_settle_libc();
    sigset_t child;
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &child, NULL);
    self.signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (self.signal_fd < 0 ||
        send(self.control_fd, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello)
        _exit(1);
    serve(&self);
}
