/* A ring of readings: threads fill it, one consumer empties it in order. */
#include "detect/readers.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JOBS_MAX = 64 };

struct slot {
    struct ms_trace_reading reading;
    bool ready;
};

struct ms_trace_readers {
    struct ms_worker *worker;
    const struct ms_normal_options *view;
    const char *const *paths;
    size_t count;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    size_t taken;    /* paths that a thread has taken */
    size_t returned; /* paths that next has returned */
    bool stop;
    struct slot *ring; /* path i is in slot i % slots */
    size_t slots;
    pthread_t threads[JOBS_MAX];
    size_t thread_count;
};

static void read_one(struct ms_trace_readers *self, struct ms_trace_reading *reading,
                     const char *path)
{
    bool standard = strcmp(path, "-") == 0;
    reading->path = path;
    reading->open_errno = 0;
    reading->error.text[0] = '\0';
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        reading->open_errno = errno;
        return;
    }
    reading->status =
        ms_read_trace_get(self->worker, fd, self->view, &reading->trace, &reading->error);
    if (!standard)
        (void)close(fd);
}

/* The slot that next has returned last is still borrowed: a thread may not be a whole ring ahead of
 * it. */
static void *reader(void *ctx)
{
    struct ms_trace_readers *self = ctx;
    (void)pthread_mutex_lock(&self->lock);
    for (;;) {
        while (!self->stop && self->taken < self->count &&
               self->taken + 1 >= self->returned + self->slots)
            (void)pthread_cond_wait(&self->changed, &self->lock);
        if (self->stop || self->taken >= self->count)
            break;
        size_t index = self->taken++;
        struct slot *slot = &self->ring[index % self->slots];
        slot->ready = false;
        (void)pthread_mutex_unlock(&self->lock);
        read_one(self, &slot->reading, self->paths[index]);
        (void)pthread_mutex_lock(&self->lock);
        slot->ready = true;
        (void)pthread_cond_broadcast(&self->changed);
    }
    (void)pthread_mutex_unlock(&self->lock);
    return NULL;
}

enum ms_status ms_trace_readers_new(struct ms_worker *worker, const struct ms_normal_options *view,
                                    const char *const *paths, size_t count, unsigned jobs,
                                    struct ms_trace_readers **out, struct ms_error *err)
{
    struct ms_trace_readers *self = calloc(1, sizeof *self);
    size_t threads = jobs > JOBS_MAX ? JOBS_MAX : jobs < count ? jobs : count;
    struct slot *ring = calloc(threads * 2 + 2, sizeof *ring);
    if (!self || !ring) {
        free(self);
        free(ring);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the readers");
    }
    *self = (struct ms_trace_readers){.worker = worker,
                                      .view = view,
                                      .paths = paths,
                                      .count = count,
                                      .ring = ring,
                                      .slots = threads * 2 + 2};
    for (size_t i = 0; i < self->slots; i++)
        ms_read_trace_init(&ring[i].reading.trace);
    (void)pthread_mutex_init(&self->lock, NULL);
    (void)pthread_cond_init(&self->changed, NULL);
    while (threads > 1 && self->thread_count < threads &&
           pthread_create(&self->threads[self->thread_count], NULL, reader, self) == 0)
        self->thread_count++;
    *out = self;
    return MS_OK;
}

void ms_trace_readers_free(struct ms_trace_readers *self)
{
    if (!self)
        return;
    (void)pthread_mutex_lock(&self->lock);
    self->stop = true;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->lock);
    for (size_t i = 0; i < self->thread_count; i++)
        (void)pthread_join(self->threads[i], NULL);
    for (size_t i = 0; i < self->slots; i++)
        ms_read_trace_release(&self->ring[i].reading.trace);
    (void)pthread_cond_destroy(&self->changed);
    (void)pthread_mutex_destroy(&self->lock);
    free(self->ring);
    free(self);
}

const struct ms_trace_reading *ms_trace_readers_next(struct ms_trace_readers *self)
{
    if (self->returned == self->count)
        return NULL;
    struct slot *slot = &self->ring[self->returned % self->slots];
    if (self->thread_count == 0) {
        read_one(self, &slot->reading, self->paths[self->returned++]);
        return &slot->reading;
    }
    (void)pthread_mutex_lock(&self->lock);
    while (self->taken <= self->returned || !slot->ready)
        (void)pthread_cond_wait(&self->changed, &self->lock);
    self->returned++;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->lock);
    return &slot->reading;
}
