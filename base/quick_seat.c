/* The program's side of base/quick: the root, which waits for orders to make seats; the seat, a
 * fork of it that forks one child a job; the child. Parses nothing from outside but in the job. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/processor.h"
#include "base/quick_private.h"
#include "base/settle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FDS_MAX = 2, HEAP_READY_BYTES = 256 << 10 };

/* ---- the answer ------------------------------------------------------------------------------ */

static void *add(struct ms_quick_answer *self, uint32_t type, size_t n)
{
    struct ms_worker_frame_head head = {type, (uint32_t)n};
    size_t room = self->cap - self->used;
    if (room < sizeof head || n > room - sizeof head)
        return NULL;
    memcpy(self->at + self->used, &head, sizeof head);
    uint8_t *body = self->at + self->used + sizeof head;
    self->used += sizeof head + n;
    return body;
}

void *ms_quick_frame(struct ms_quick_answer *self, uint32_t type, size_t n)
{
    return type <= MS_WORKER_FRAME_TYPE_MAX ? add(self, type, n) : NULL;
}

bool ms_quick_gap(struct ms_quick_answer *self, size_t n)
{
    return add(self, MS_QUICK_FRAME_GAP, n) != NULL;
}

bool ms_quick_fill(struct ms_quick_answer *self, size_t mark, const struct ms_quick_part *parts,
                   size_t count)
{
    struct ms_worker_frame_head head;
    uint8_t *gap = self->at + mark;
    size_t n = 0;
    memcpy(&head, gap, sizeof head);
    for (size_t i = 0; i < count; i++)
        n += sizeof head + parts[i].bytes.len;
    if (n > head.len)
        return false;
    head.len -= (uint32_t)n;
    memcpy(gap, &head, sizeof head);
    gap += sizeof head + head.len;
    for (size_t i = 0; i < count; i++) {
        head = (struct ms_worker_frame_head){parts[i].type, (uint32_t)parts[i].bytes.len};
        memcpy(gap, &head, sizeof head);
        if (parts[i].bytes.len)
            memcpy(gap + sizeof head, parts[i].bytes.data, parts[i].bytes.len);
        gap += sizeof head + parts[i].bytes.len;
    }
    return true;
}

void ms_quick_ready(const struct ms_quick_answer *self, size_t n)
{
#ifdef MADV_POPULATE_WRITE
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = self->cap - self->used;
    uintptr_t from = (uintptr_t)(self->at + self->used) / page * page;
    uintptr_t end = (uintptr_t)(self->at + self->used) + (n < room ? n : room);
    (void)madvise((void *)from, end - from, MADV_POPULATE_WRITE);
#else
    (void)self, (void)n;
#endif
}

size_t ms_quick_mark(const struct ms_quick_answer *self)
{
    return self->used;
}

void ms_quick_back(struct ms_quick_answer *self, size_t mark)
{
    self->used = mark;
}

void *ms_quick_scratch(struct ms_quick_answer *self, size_t n)
{
    /* Close behind the answer, where memory is there already. */
    size_t from = (self->used + 63) & ~(size_t)63;
    return from <= self->cap && n <= self->cap - from ? self->at + from : NULL;
}

/* ---- the child ------------------------------------------------------------------------------- */

struct seat {
    const struct ms_quick_options *options;
    const struct ms_quick_filter *filter;
    uint8_t *memory; /* MS_LIMIT_QUICK_BYTES, shared with the parent */
    struct ms_quick_request request;
    uint8_t argument[MS_LIMIT_QUICK_ARGUMENT_BYTES];
};

static _Noreturn void child_main(const struct seat *self, int fd)
{
    struct ms_quick_answer answer = {.at = self->memory + sizeof(struct ms_quick_head),
                                     .cap = MS_LIMIT_QUICK_BYTES - sizeof(struct ms_quick_head)};
    /* A seat that died just now cannot be told from one that lives; then the CPU limit ends this.
     */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || close(MS_QUICK_FD_CONTROL) != 0 ||
        ms_quick_confine_child(self->filter) != 0)
        _exit(2);
    struct ms_span argument = ms_span_of(self->argument, (size_t)self->request.argument_bytes);
    if (!self->options->job(fd, argument, &answer))
        _exit(1);
    const struct ms_quick_head head = {answer.used};
    memcpy(self->memory, &head, sizeof head);
    _exit(0);
}

/* ---- the seat -------------------------------------------------------------------------------- */

/* Receives one datagram: up to two parts, and descriptors, which become -1 where there are none.
 * Its length, or <= 0 at the end. */
static ssize_t receive(int socket_fd, struct iovec *parts, size_t part_count, int fds[FDS_MAX])
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = part_count,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t got;
    fds[0] = fds[1] = -1;
    do
        got = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    struct cmsghdr *head = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(head), head->cmsg_len - CMSG_LEN(0));
    return got;
}

/* fork(2) without what the C library does around it: locks that nobody holds in a process of one
 * thread, and a dozen pages that are written and so copied. */
static pid_t fork_bare(void)
{
#if MS_WORKER_SANITIZED
    return fork();
#else
    return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
#endif
}

static _Noreturn void seat_main(struct seat *self)
{
    for (;;) {
        int fds[FDS_MAX];
        struct iovec parts[2] = {{&self->request, sizeof self->request},
                                 {self->argument, sizeof self->argument}};
        ssize_t got = receive(MS_QUICK_FD_CONTROL, parts, 2, fds);
        if (got < (ssize_t)sizeof self->request || fds[0] < 0 ||
            (size_t)got - sizeof self->request != self->request.argument_bytes)
            _exit(0);
        pid_t pid = fork_bare();
        if (pid == 0)
            child_main(self, fds[0]);
        struct ms_quick_exit gone = {pid < 0 ? errno : 0, 0};
        (void)close(fds[0]);
        /* Nothing else is to be done meanwhile: a child can wait for nothing, so it ends. */
        while (pid > 0 && wait4(pid, &gone.wait_status, 0, NULL) < 0)
            if (errno != EINTR)
                _exit(1);
        if (send(MS_QUICK_FD_CONTROL, &gone, sizeof gone, MSG_NOSIGNAL) != (ssize_t)sizeof gone)
            _exit(0);
    }
}

/* ---- the root -------------------------------------------------------------------------------- */

struct root {
    struct seat seat; /* every fork's own */
    pid_t pid;
};

static _Noreturn void seat_begin(struct root *self, int64_t processor, const int fds[FDS_MAX])
{
    struct seat *seat = &self->seat;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != self->pid)
        _exit(1);
    (void)prctl(PR_SET_NAME, "ms-seat", 0, 0, 0);
    (void)signal(SIGCHLD, SIG_DFL);
    if (processor >= 0)
        (void)ms_processor_keep_to(processor < INT_MAX ? (int)processor : INT_MAX);
    void *memory = mmap(NULL, MS_LIMIT_QUICK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
    if (memory == MAP_FAILED || dup2(fds[0], MS_QUICK_FD_CONTROL) < 0 ||
        syscall(SYS_close_range, MS_QUICK_FD_CONTROL + 1U, ~0U, 0U) != 0)
        _exit(1);
    seat->memory = memory;
    if (ms_quick_confine_seat(seat->filter) != 0)
        _exit(1);
    seat_main(seat);
}

/* A child that does what must not work. */
static bool confines(const struct ms_quick_filter *filter)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        if (ms_quick_confine_seat(filter) != 0 || ms_quick_confine_child(filter) != 0)
            _exit(1);
        (void)recvmsg(MS_QUICK_FD_CONTROL, NULL, MSG_DONTWAIT);
        _exit(2);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGSYS;
}

/* Little of the heap is copied into a child when little was ever used. */
static void settle_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MS_LIMIT_QUICK_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, MS_LIMIT_QUICK_BYTES);
    (void)mallopt(M_TOP_PAD, HEAP_READY_BYTES);
    /* The end of the heap, grown once here and not by each child. */
    free(malloc(HEAP_READY_BYTES));
}

/* The null device thrice and the control socket; no other descriptor. */
static int arrange_fds(int control_fd)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int moved = null_fd < 0 ? -1 : fcntl(control_fd, F_DUPFD, MS_QUICK_FD_INPUT);
    if (moved < 0)
        return -1;
    for (int fd = 0; fd < (MS_WORKER_SANITIZED ? 2 : 3); fd++)
        if (dup2(null_fd, fd) < 0)
            return -1;
    if (dup2(moved, MS_QUICK_FD_CONTROL) < 0 ||
        syscall(SYS_close_range, MS_QUICK_FD_CONTROL + 1U, ~0U, 0U) != 0)
        return -1;
    return 0;
}

static _Noreturn void root_main(const struct ms_quick_options *options)
{
    static struct root self;
    self.pid = getpid();
    self.seat.options = options;
    for (int number = 1; number < NSIG && !MS_WORKER_SANITIZED; number++)
        (void)signal(number, SIG_DFL);
    /* Ctrl-C reaches the whole process group; the parent ends its jobs in its own order. */
    static const int ignored[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)prctl(PR_SET_NAME, "ms-reader", 0, 0, 0);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        _exit(1);
    self.seat.filter = ms_quick_filter_new();
    struct ms_quick_hello hello = {ms_quick_build(),
                                   self.seat.filter && confines(self.seat.filter)};
    if (options->prepare)
        options->prepare();
    settle_memory();
    ms_settle_libc();
    if (send(MS_QUICK_FD_CONTROL, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello ||
        !hello.confined)
        _exit(0);
    for (;;) {
        struct ms_quick_seat_request request = {0};
        struct iovec part = {&request, sizeof request};
        int fds[FDS_MAX];
        if (receive(MS_QUICK_FD_CONTROL, &part, 1, fds) != (ssize_t)sizeof request)
            break;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ; /* seats that were given up */
        if (request.magic == MS_QUICK_SEAT && fds[0] >= 0 && fds[1] >= 0 && fork() == 0)
            seat_begin(&self, request.processor, fds);
        for (size_t i = 0; i < FDS_MAX; i++)
            if (fds[i] >= 0)
                (void)close(fds[i]);
    }
    /* The seats' sockets are closed as well. */
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    _exit(0);
}

/* ---- the program ----------------------------------------------------------------------------- */

/* FNV-1a. */
uint64_t ms_quick_build(void)
{
    static const char text[] = MS_VERSION " " MS_VERSION_DATE;
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof text; i++)
        sum = (sum ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    return sum;
}

/* Beside the running program: neither the environment nor the working folder have a say. */
static bool program_path(const char *name, char path[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash + 1 - path) + strlen(name) + 1 > PATH_MAX)
        return false;
    memcpy(slash + 1, name, strlen(name) + 1);
    return true;
}

_Noreturn void ms_quick_root(int control_fd, const struct ms_quick_options *options, pid_t parent)
{
    static char path[PATH_MAX];
    /* Ends with the parent also when that ended just now. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        _exit(1);
    bool found = !options->program || program_path(options->program, path);
    if (!found || arrange_fds(control_fd) != 0)
        _exit(1);
    if (!options->program)
        root_main(options);
    char *const arguments[] = {(char *)(uintptr_t)options->program, NULL};
    /* What is bound at its first use would be so by every child for itself. */
    static char bind_now[] = "LD_BIND_NOW=1";
    char *const environment[] = {bind_now, NULL};
    (void)execve(path, arguments, environment);
    _exit(1);
}

int ms_quick_program(ms_quick_job job, void (*prepare)(void))
{
    static struct ms_quick_options options;
    int type = 0;
    socklen_t n = sizeof type;
    options.job = job;
    options.prepare = prepare;
    if (getsockopt(MS_QUICK_FD_CONTROL, SOL_SOCKET, SO_TYPE, &type, &n) != 0 ||
        type != SOCK_SEQPACKET) {
        (void)fprintf(stderr, "this program is started by others and is of no use alone\n");
        return 2;
    }
    root_main(&options);
}
