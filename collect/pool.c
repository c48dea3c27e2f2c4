/* A ring of tasks and the threads that work on them. */
#include "collect/pool.h"

#include "base/processor.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 64, PLACES_A_THREAD = 2, TASK_ARENA_BYTES = 64 << 20 };

struct ms_pool {
    const struct ms_intake *intake;
    struct ms_pool_task *tasks; /* a ring */
    size_t places;
    size_t open_places;                 /* of these, for tasks that were not taken */
    uint64_t first, taken, begun, last; /* dropped, taken, begun by a thread, submitted so far */
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;  /* 0: no threads */
    unsigned seated;        /* threads that have their processor */
    int first_processor;    /* see ms_processor_keep */
    unsigned threads_asked; /* made with the first task: a tree in which nothing is new has none */
    pthread_mutex_t mutex;  /* guards begun, last, seated, done and over */
    pthread_cond_t changed;
    bool over;
};

static void open_task(const struct ms_pool *self, struct ms_pool_task *task)
{
    task->status = ms_intake_open(self->intake, &task->blob, &task->result, &task->err);
}

static void *work(void *ctx)
{
    struct ms_pool *self = ctx;
    (void)pthread_mutex_lock(&self->mutex);
    /* Each with what it starts has a processor of its own: nobody in such a chain works while
     * another of it does. */
    (void)ms_processor_keep(self->first_processor, self->seated++);
    for (;;) {
        while (!self->over && self->begun == self->last)
            (void)pthread_cond_wait(&self->changed, &self->mutex);
        if (self->over) /* what nobody began is dropped */
            break;
        struct ms_pool_task *task = &self->tasks[self->begun++ % self->places];
        (void)pthread_mutex_unlock(&self->mutex);
        open_task(self, task);
        (void)pthread_mutex_lock(&self->mutex);
        task->done = true;
        (void)pthread_cond_broadcast(&self->changed);
    }
    (void)pthread_mutex_unlock(&self->mutex);
    return NULL;
}

enum ms_status ms_pool_new(const struct ms_intake *intake, unsigned threads, struct ms_pool **out,
                           struct ms_error *err)
{
    struct ms_pool *self = calloc(1, sizeof *self);
    unsigned wanted = threads < 2 ? 0 : threads < THREADS_MAX ? threads : THREADS_MAX;
    if (self) {
        self->intake = intake;
        self->open_places = wanted ? (size_t)wanted * PLACES_A_THREAD : 1;
        self->places = self->open_places + MS_POOL_TAKEN;
        self->tasks = calloc(self->places, sizeof *self->tasks);
    }
    if (!self || !self->tasks) {
        free(self);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    (void)pthread_mutex_init(&self->mutex, NULL);
    (void)pthread_cond_init(&self->changed, NULL);
    self->threads_asked = wanted;
    *out = self;
    return MS_OK;
}

/* Fewer threads than asked for, or none, only take longer. */
static void start_threads(struct ms_pool *self)
{
    if (!self->threads_asked)
        return;
    self->first_processor = ms_processor_now();
    while (self->thread_count < self->threads_asked &&
           pthread_create(&self->threads[self->thread_count], NULL, work, self) == 0)
        self->thread_count++;
    self->threads_asked = 0;
}

void ms_pool_free(struct ms_pool *self)
{
    if (!self)
        return;
    (void)pthread_mutex_lock(&self->mutex);
    self->over = true;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->mutex);
    for (unsigned i = 0; i < self->thread_count; i++)
        (void)pthread_join(self->threads[i], NULL);
    while (self->first < self->last)
        ms_pool_drop(self);
    (void)pthread_cond_destroy(&self->changed);
    (void)pthread_mutex_destroy(&self->mutex);
    free(self->tasks);
    free(self);
}

struct ms_pool_task *ms_pool_place(struct ms_pool *self)
{
    if (self->last - self->taken == self->open_places || self->last - self->first == self->places)
        return NULL;
    struct ms_pool_task *task = &self->tasks[self->last % self->places];
    memset(task, 0, sizeof *task);
    task->blob.fd = -1;
    ms_arena_init(&task->arena, TASK_ARENA_BYTES);
    return task;
}

void ms_pool_submit(struct ms_pool *self)
{
    struct ms_pool_task *task = &self->tasks[self->last % self->places];
    start_threads(self);
    if (!self->thread_count) {
        open_task(self, task);
        task->done = true;
        self->last++;
        return;
    }
    (void)pthread_mutex_lock(&self->mutex);
    self->last++;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->mutex);
}

struct ms_pool_task *ms_pool_oldest(struct ms_pool *self)
{
    if (self->taken == self->last)
        return NULL;
    struct ms_pool_task *task = &self->tasks[self->taken % self->places];
    (void)pthread_mutex_lock(&self->mutex);
    while (!task->done)
        (void)pthread_cond_wait(&self->changed, &self->mutex);
    (void)pthread_mutex_unlock(&self->mutex);
    return task;
}

static void close_blob(struct ms_pool_task *task)
{
    if (task->blob.fd >= 0)
        (void)close(task->blob.fd);
    task->blob.fd = -1;
}

void ms_pool_take(struct ms_pool *self)
{
    close_blob(&self->tasks[self->taken % self->places]);
    self->taken++;
}

size_t ms_pool_taken(const struct ms_pool *self)
{
    return (size_t)(self->taken - self->first);
}

struct ms_pool_task *ms_pool_get_taken(const struct ms_pool *self, size_t i)
{
    return &self->tasks[(self->first + i) % self->places];
}

void ms_pool_drop(struct ms_pool *self)
{
    struct ms_pool_task *task = &self->tasks[self->first % self->places];
    ms_intake_result_release(&task->result);
    ms_arena_release(&task->arena);
    close_blob(task);
    self->first++;
    if (self->taken < self->first)
        self->taken = self->first;
}

bool ms_pool_has(const struct ms_pool *self, const uint8_t git_id[MS_SHA1_BYTES])
{
    for (uint64_t i = self->first; i < self->last; i++)
        if (memcmp(self->tasks[i % self->places].blob.git_id, git_id, MS_SHA1_BYTES) == 0)
            return true;
    return false;
}
