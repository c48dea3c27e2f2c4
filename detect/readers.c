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
    struct ms_trace_readers *readers;
    struct ms_trace_reading reading;
    struct ms_read_trace trace;
    bool ready; /* the consumer may have it, or has it */
};

struct ms_trace_readers {
    struct ms_worker *worker;
    const struct ms_normal_options *view;
    const char *const *paths;
    size_t count;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    size_t taken;   /* paths that a thread has taken */
    size_t current; /* the path whose reports next returns */
    bool borrowed;  /* the consumer has one of them */
    bool stop;
    struct slot *ring; /* path i is in slot i % slots */
    size_t slots;
    pthread_t threads[JOBS_MAX];
    size_t thread_count;
};

static void publish(struct slot *slot)
{
    struct ms_trace_readers *self = slot->readers;
    (void)pthread_mutex_lock(&self->lock);
    slot->ready = true;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->lock);
}

/* A report of a file that has more of them waits until the consumer gave it back: an archive takes
 * the memory of one report. */
static enum ms_status on_trace(void *ctx, const struct ms_read_trace *trace, bool last,
                               struct ms_error *err)
{
    struct slot *slot = ctx;
    struct ms_trace_readers *self = slot->readers;
    bool stop;
    (void)trace;
    slot->reading.last = last;
    if (last)
        return MS_OK;
    publish(slot);
    (void)pthread_mutex_lock(&self->lock);
    while (slot->ready && !self->stop)
        (void)pthread_cond_wait(&self->changed, &self->lock);
    stop = self->stop;
    (void)pthread_mutex_unlock(&self->lock);
    return stop ? ms_error_set(err, MS_E_LATER, "the reading was ended") : MS_OK;
}

static void read_one(struct ms_trace_readers *self, struct slot *slot, const char *path)
{
    struct ms_trace_reading *reading = &slot->reading;
    bool standard = strcmp(path, "-") == 0;
    reading->path = path;
    reading->open_errno = 0;
    reading->status = MS_OK;
    reading->error.text[0] = '\0';
    reading->last = true;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        reading->open_errno = errno;
        return;
    }
    reading->status =
        ms_read_traces(self->worker, fd, self->view, &slot->trace, on_trace, slot, &reading->error);
    reading->last = true;
    if (!standard)
        (void)close(fd);
}

/* The slot of the current path may be borrowed: a thread may not be a whole ring ahead of it. */
static void *reader(void *ctx)
{
    struct ms_trace_readers *self = ctx;
    (void)pthread_mutex_lock(&self->lock);
    for (;;) {
        while (!self->stop && self->taken < self->count &&
               self->taken >= self->current + self->slots)
            (void)pthread_cond_wait(&self->changed, &self->lock);
        if (self->stop || self->taken >= self->count)
            break;
        size_t index = self->taken++;
        struct slot *slot = &self->ring[index % self->slots];
        (void)pthread_mutex_unlock(&self->lock);
        read_one(self, slot, self->paths[index]);
        publish(slot);
        (void)pthread_mutex_lock(&self->lock);
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
    if (threads == 0)
        threads = 1;
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
    for (size_t i = 0; i < self->slots; i++) {
        ms_read_trace_init(&ring[i].trace);
        ring[i].readers = self;
        ring[i].reading.trace = &ring[i].trace;
    }
    (void)pthread_mutex_init(&self->lock, NULL);
    (void)pthread_cond_init(&self->changed, NULL);
    while (self->thread_count < threads &&
           pthread_create(&self->threads[self->thread_count], NULL, reader, self) == 0)
        self->thread_count++;
    if (count && !self->thread_count) {
        ms_trace_readers_free(self);
        return ms_error_set(err, MS_E_NOMEM, "no thread could be started to read reports");
    }
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
        ms_read_trace_release(&self->ring[i].trace);
    (void)pthread_cond_destroy(&self->changed);
    (void)pthread_mutex_destroy(&self->lock);
    free(self->ring);
    free(self);
}

const struct ms_trace_reading *ms_trace_readers_next(struct ms_trace_readers *self)
{
    const struct ms_trace_reading *reading = NULL;
    (void)pthread_mutex_lock(&self->lock);
    struct slot *slot = &self->ring[self->current % self->slots];
    if (self->borrowed) {
        slot->ready = false;
        self->current += slot->reading.last;
        slot = &self->ring[self->current % self->slots];
        (void)pthread_cond_broadcast(&self->changed);
    }
    self->borrowed = self->current < self->count;
    while (self->borrowed && !(self->taken > self->current && slot->ready))
        (void)pthread_cond_wait(&self->changed, &self->lock);
    if (self->borrowed)
        reading = &slot->reading;
    (void)pthread_mutex_unlock(&self->lock);
    return reading;
}
