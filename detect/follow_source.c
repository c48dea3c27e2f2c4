/* A thread that reads a growing file and writes commands into the worker's pipe. */
#define _GNU_SOURCE
#include "detect/follow_source.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/stop.h"
#include "detect/follow_job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often a file is looked at, and a pause is asked about at most and at least. */
enum { POLL_MS = 100, ASK_MS = 300, ASK_MOST_MS = 60000 };

struct ms_follow_source {
    const char *path;
    int64_t until_ms;
    bool ask, regular;
    int fd, read_end, write_end;
    pthread_t thread;
    bool started;
    /* the thread's */
    uint64_t offset;
    bool fresh; /* bytes came since the last question */
    int64_t last_bytes_ms;
    enum ms_status status;
    struct ms_error error;
    pthread_mutex_t lock; /* guards what follows */
    bool stop;
    int64_t asked_ms, cost_ms; /* asked_ms 0: nothing is open */
};

static bool is_stopped(struct ms_follow_source *self)
{
    (void)pthread_mutex_lock(&self->lock);
    bool stop = self->stop;
    (void)pthread_mutex_unlock(&self->lock);
    return stop || ms_stop_signal() != 0;
}

/* The worker may be gone: its side says why, and the following is over. */
static bool send_command(struct ms_follow_source *self, enum ms_follow_command command,
                         const void *bytes, size_t n)
{
    const uint8_t head[5] = {(uint8_t)command, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16),
                             (uint8_t)(n >> 24)};
    return ms_file_write_all(self->write_end, head, sizeof head, NULL) == MS_OK &&
           (n == 0 || ms_file_write_all(self->write_end, bytes, n, NULL) == MS_OK);
}

static enum ms_status open_log(const char *path, int *fd, struct ms_error *err)
{
    char name[1024];
    *fd = strcmp(path, "-") == 0 ? STDIN_FILENO
                                 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd >= 0)
        return MS_OK;
    return ms_error_set_errno(err, errno == ENOENT ? MS_E_INPUT : MS_E_IO, errno,
                              "cannot read '%s'", ms_escape_text(path, name, sizeof name));
}

static void close_log(struct ms_follow_source *self)
{
    if (self->fd > STDIN_FILENO)
        (void)close(self->fd);
    self->fd = -1;
}

/* Is what stands under the name another file by now, or is the file shorter than what was read? */
static const char *what_became(const struct ms_follow_source *self, bool *reopen)
{
    struct stat held, named;
    *reopen = false;
    if (fstat(self->fd, &held) != 0)
        return NULL;
    if ((uint64_t)held.st_size < self->offset)
        return "was cut";
    *reopen = stat(self->path, &named) == 0 && S_ISREG(named.st_mode) &&
              (named.st_ino != held.st_ino || named.st_dev != held.st_dev);
    return *reopen ? "was replaced" : NULL;
}

/* At the end of a regular file. False: the following is over. */
static bool look_again(struct ms_follow_source *self)
{
    char name[1024];
    bool reopen;
    const char *what = what_became(self, &reopen);
    if (!what)
        return true;
    ms_log(MS_LOG_WARNING, "'%s' %s: what follows is another log",
           ms_escape_text(self->path, name, sizeof name), what);
    if (!send_command(self, MS_FOLLOW_END, NULL, 0))
        return false;
    self->offset = 0;
    self->fresh = false;
    if (!reopen)
        return lseek(self->fd, 0, SEEK_SET) == 0;
    close_log(self);
    self->status = open_log(self->path, &self->fd, &self->error);
    return self->status == MS_OK;
}

/* Up to n bytes; 0: none now. *over: there will be none. */
static size_t read_some(struct ms_follow_source *self, uint8_t *block, size_t n, bool *over)
{
    if (!self->regular) {
        struct pollfd polled = {self->fd, POLLIN, 0};
        if (poll(&polled, 1, POLL_MS) <= 0)
            return 0;
    }
    ssize_t got = read(self->fd, block, n);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got < 0)
        self->status = ms_error_set_errno(&self->error, MS_E_IO, errno, "cannot read the log");
    *over = got < 0 || (got == 0 && !self->regular);
    return got > 0 ? (size_t)got : 0;
}

static bool may_ask(struct ms_follow_source *self, int64_t now)
{
    (void)pthread_mutex_lock(&self->lock);
    int64_t wait = self->cost_ms * 10;
    wait = wait < ASK_MS ? ASK_MS : wait > ASK_MOST_MS ? ASK_MOST_MS : wait;
    bool may = now - self->last_bytes_ms >= POLL_MS && now - self->asked_ms >= wait;
    if (may)
        self->asked_ms = now;
    (void)pthread_mutex_unlock(&self->lock);
    return may;
}

/* Nothing came just now. False: the following is over. */
static bool pause_a_while(struct ms_follow_source *self)
{
    int64_t now = ms_clock_mono_ms();
    if (self->until_ms && now - self->last_bytes_ms >= self->until_ms)
        return false;
    if (self->ask && self->fresh && may_ask(self, now)) {
        self->fresh = false;
        if (!send_command(self, MS_FOLLOW_ASK, NULL, 0))
            return false;
    }
    if (!self->regular)
        return true;
    if (!look_again(self))
        return false;
    ms_clock_sleep_ms(POLL_MS);
    return true;
}

static void *feed(void *ctx)
{
    struct ms_follow_source *self = ctx;
    uint8_t *block = malloc(MS_FOLLOW_BLOCK_BYTES);
    bool over = !block;
    if (!block)
        self->status = ms_error_set(&self->error, MS_E_NOMEM, "out of memory to follow a log");
    self->last_bytes_ms = ms_clock_mono_ms();
    while (!over && !is_stopped(self)) {
        size_t n = read_some(self, block, MS_FOLLOW_BLOCK_BYTES, &over);
        if (!n) {
            over = over || !pause_a_while(self);
            continue;
        }
        self->offset += n;
        self->fresh = true;
        self->last_bytes_ms = ms_clock_mono_ms();
        over = !send_command(self, MS_FOLLOW_BYTES, block, n);
    }
    (void)send_command(self, MS_FOLLOW_END, NULL, 0);
    (void)close(self->write_end);
    self->write_end = -1;
    free(block);
    return NULL;
}

enum ms_status ms_follow_source_open(const char *path, int64_t until_ms, bool ask,
                                     struct ms_follow_source **out, struct ms_error *err)
{
    int ends[2] = {-1, -1};
    struct stat st;
    struct ms_follow_source *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory to follow a log");
    *self = (struct ms_follow_source){
        .path = path, .until_ms = until_ms, .ask = ask, .fd = -1, .read_end = -1, .write_end = -1};
    (void)pthread_mutex_init(&self->lock, NULL);
    enum ms_status status = open_log(path, &self->fd, err);
    if (status == MS_OK && fstat(self->fd, &st) == 0 && S_ISDIR(st.st_mode))
        status = ms_error_set(err, MS_E_USAGE, "--follow takes one log, not a folder");
    else if (status == MS_OK)
        self->regular = strcmp(path, "-") != 0 && S_ISREG(st.st_mode);
    if (status == MS_OK && pipe2(ends, O_CLOEXEC) != 0)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot make a pipe");
    self->read_end = ends[0];
    self->write_end = ends[1];
    if (status == MS_OK) {
        *out = self;
        return MS_OK;
    }
    close_log(self);
    (void)pthread_mutex_destroy(&self->lock);
    free(self);
    return status;
}

int ms_follow_source_fd(const struct ms_follow_source *self)
{
    return self->read_end;
}

enum ms_status ms_follow_source_start(struct ms_follow_source *self, struct ms_error *err)
{
    self->started = pthread_create(&self->thread, NULL, feed, self) == 0;
    return self->started
               ? MS_OK
               : ms_error_set(err, MS_E_NOMEM, "no thread to follow a log could be started");
}

void ms_follow_source_answered(struct ms_follow_source *self)
{
    (void)pthread_mutex_lock(&self->lock);
    self->cost_ms = self->asked_ms ? ms_clock_mono_ms() - self->asked_ms : 0;
    (void)pthread_mutex_unlock(&self->lock);
}

enum ms_status ms_follow_source_close(struct ms_follow_source *self, struct ms_error *err)
{
    if (!self)
        return MS_OK;
    (void)pthread_mutex_lock(&self->lock);
    self->stop = true;
    (void)pthread_mutex_unlock(&self->lock);
    if (self->read_end >= 0)
        (void)close(self->read_end); /* which ends a write that waits */
    if (self->started)
        (void)pthread_join(self->thread, NULL);
    if (self->write_end >= 0)
        (void)close(self->write_end);
    close_log(self);
    (void)pthread_mutex_destroy(&self->lock);
    enum ms_status status = self->status;
    if (status != MS_OK && err)
        *err = self->error;
    free(self);
    return status;
}
