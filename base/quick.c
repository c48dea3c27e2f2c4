/* The parent's side of base/quick: seats, which hold a job each, and the reading of answers. */
#define _GNU_SOURCE
#include "base/quick.h"

#include "base/limits.h"
#include "base/processor.h"
#include "base/quick_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELLO_WAIT_MS = 30000, JOB_WAIT_MS = 30000, SEATS_MAX = 64 };

struct seat {
    int control_fd;
    int memory_fd;
    uint8_t *memory;
    int processor; /* see ms_processor_only, of whoever it was made for */
    struct seat *next;
};

struct ms_quick {
    pid_t root;
    int control_fd;
    pthread_mutex_t mutex; /* guards what follows, and the control socket */
    bool asked;            /* for the hello */
    bool good;
    struct seat *idle;
    size_t seat_count;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

enum ms_status ms_quick_start(const struct ms_quick_options *options, struct ms_quick **out,
                              struct ms_error *err)
{
    struct ms_quick *self = calloc(1, sizeof *self);
    int pair[2];
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        free(self);
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot start the reading process");
    }
    pid_t me = getpid();
    self->root = fork();
    if (self->root == 0)
        ms_quick_root(pair[1], options, me);
    int fork_errno = errno;
    (void)close(pair[1]);
    self->control_fd = pair[0];
    (void)pthread_mutex_init(&self->mutex, NULL);
    if (self->root < 0) {
        ms_quick_stop(self);
        return ms_error_set_errno(err, MS_E_IO, fork_errno, "cannot start the reading process");
    }
    *out = self;
    return MS_OK;
}

/* ---- seats ----------------------------------------------------------------------------------- */

static void seat_free(struct seat *self)
{
    if (!self)
        return;
    close_fd(
        &self->control_fd); /* the process behind it ends, or its child's CPU limit ends both */
    close_fd(&self->memory_fd);
    if (self->memory)
        (void)munmap(self->memory, MS_LIMIT_QUICK_BYTES);
    free(self);
}

void ms_quick_stop(struct ms_quick *self)
{
    if (!self)
        return;
    while (self->idle) {
        struct seat *seat = self->idle;
        self->idle = seat->next;
        seat_free(seat);
    }
    close_fd(&self->control_fd);
    int status;
    while (self->root > 0 && waitpid(self->root, &status, 0) < 0 && errno == EINTR)
        ;
    (void)pthread_mutex_destroy(&self->mutex);
    free(self);
}

static bool send_with(int socket_fd, struct iovec *parts, size_t part_count, const int *fds,
                      size_t fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = part_count,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(fd_count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, fd_count * sizeof(int));
    ssize_t sent;
    do
        sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

static bool receive(int socket_fd, void *out, size_t n, int wait_ms)
{
    struct pollfd polled = {socket_fd, POLLIN, 0};
    int ready;
    do
        ready = poll(&polled, 1, wait_ms);
    while (ready < 0 && errno == EINTR);
    return ready > 0 && recv(socket_fd, out, n, 0) == (ssize_t)n;
}

static struct seat *seat_new(const struct ms_quick *self, int processor)
{
    struct seat *seat = calloc(1, sizeof *seat);
    int pair[2] = {-1, -1};
    if (!seat)
        return NULL;
    seat->control_fd = -1;
    seat->processor = processor;
    seat->memory_fd = memfd_create("answers", MFD_CLOEXEC);
    void *memory = MAP_FAILED;
    if (seat->memory_fd >= 0 && ftruncate(seat->memory_fd, (off_t)MS_LIMIT_QUICK_BYTES) == 0)
        memory = mmap(NULL, MS_LIMIT_QUICK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                      seat->memory_fd, 0);
    seat->memory = memory == MAP_FAILED ? NULL : memory;
    struct ms_quick_seat_request request = {MS_QUICK_SEAT, processor};
    struct iovec part = {&request, sizeof request};
    bool good = seat->memory && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0;
    seat->control_fd = pair[0];
    const int fds[2] = {pair[1], seat->memory_fd};
    good = good && send_with(self->control_fd, &part, 1, fds, 2);
    close_fd(&pair[1]);
    if (good)
        return seat;
    seat_free(seat);
    return NULL;
}

/* One whose process is where the calling thread is: then each finds in the caches what the other
 * left, and the scheduler does not look for another processor each time one wakes the other. */
static struct seat *take_idle(struct ms_quick *self, int processor)
{
    struct seat **at = &self->idle;
    while (*at && (*at)->processor != processor)
        at = &(*at)->next;
    if (!*at && self->seat_count == SEATS_MAX)
        at = &self->idle;
    struct seat *seat = *at;
    if (seat)
        *at = seat->next;
    return seat;
}

static struct seat *take(struct ms_quick *self)
{
    int processor = ms_processor_only();
    struct ms_quick_hello hello;
    (void)pthread_mutex_lock(&self->mutex);
    if (!self->asked) {
        self->asked = true;
        self->good = receive(self->control_fd, &hello, sizeof hello, HELLO_WAIT_MS) &&
                     hello.build == ms_quick_build() && hello.confined;
    }
    struct seat *seat = take_idle(self, processor);
    if (!seat && self->good && self->seat_count < SEATS_MAX) {
        seat = seat_new(self, processor);
        self->good = seat != NULL;
        self->seat_count += seat != NULL;
    }
    (void)pthread_mutex_unlock(&self->mutex);
    return seat;
}

/* No archive's bytes stay for the next one to find, and no memory but what is always used. */
static void give_back(struct ms_quick *self, struct seat *seat, bool sound)
{
    memset(seat->memory, 0, MS_LIMIT_QUICK_KEPT_BYTES);
    if (!sound || fallocate(seat->memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            (off_t)MS_LIMIT_QUICK_KEPT_BYTES,
                            (off_t)(MS_LIMIT_QUICK_BYTES - MS_LIMIT_QUICK_KEPT_BYTES)) != 0) {
        seat_free(seat);
        seat = NULL;
    }
    (void)pthread_mutex_lock(&self->mutex);
    if (seat) {
        seat->next = self->idle;
        self->idle = seat;
    } else {
        self->seat_count--;
    }
    (void)pthread_mutex_unlock(&self->mutex);
}

/* ---- one job --------------------------------------------------------------------------------- */

/* Nobody else writes there now. False when the frames do not fit together. */
static bool frames_fit(struct ms_span frames)
{
    struct ms_span head, body;
    while (frames.len) {
        struct ms_worker_frame_head frame;
        if (!ms_span_take(&frames, sizeof frame, &head))
            return false;
        memcpy(&frame, head.data, sizeof frame);
        if (frame.type > MS_QUICK_FRAME_GAP || !ms_span_take(&frames, frame.len, &body))
            return false;
    }
    return true;
}

static enum ms_status hand_out(struct ms_span frames, ms_quick_on_frame on_frame, void *ctx,
                               struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (status == MS_OK && frames.len) {
        struct ms_worker_frame_head frame;
        struct ms_span head, body;
        if (!ms_span_take(&frames, sizeof frame, &head))
            break;
        memcpy(&frame, head.data, sizeof frame);
        if (!ms_span_take(&frames, frame.len, &body))
            break;
        if (frame.type != MS_QUICK_FRAME_GAP)
            status = on_frame(ctx, frame.type, body, err);
    }
    return status;
}

/* False when the seat is of no more use. *frames is empty without an answer. */
static bool ask(const struct seat *seat, int fd, struct ms_span arg, struct ms_span *frames)
{
    struct ms_quick_request request = {arg.len};
    struct iovec parts[2] = {{&request, sizeof request}, {(void *)(uintptr_t)arg.data, arg.len}};
    struct ms_quick_exit gone;
    struct ms_quick_head head;
    *frames = ms_span_of(NULL, 0);
    if (!send_with(seat->control_fd, parts, arg.len ? 2 : 1, &fd, 1) ||
        !receive(seat->control_fd, &gone, sizeof gone, JOB_WAIT_MS))
        return false;
    memcpy(&head, seat->memory, sizeof head);
    if (gone.error || !WIFEXITED(gone.wait_status) || WEXITSTATUS(gone.wait_status) != 0 ||
        head.used > MS_LIMIT_QUICK_BYTES - sizeof head)
        return true;
    struct ms_span all = ms_span_of(seat->memory + sizeof head, (size_t)head.used);
    if (frames_fit(all))
        *frames = all;
    return true;
}

enum ms_status ms_quick_run(struct ms_quick *self, int fd, struct ms_span arg,
                            ms_quick_on_frame on_frame, void *ctx, bool *answered,
                            struct ms_error *err)
{
    *answered = false;
    if (arg.len > MS_LIMIT_QUICK_ARGUMENT_BYTES)
        return MS_OK;
    struct seat *seat = take(self);
    enum ms_status status = MS_OK;
    if (seat) {
        struct ms_span frames;
        bool sound = ask(seat, fd, arg, &frames);
        *answered = frames.len != 0;
        if (*answered)
            status = hand_out(frames, on_frame, ctx, err);
        give_back(self, seat, sound);
    }
    return status;
}
