/* Pinned threads that run numbered tasks; knows nothing of nets. */
#define _GNU_SOURCE
#include "train/nn/workers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

struct worker {
    struct ms_workers *team;
    pthread_t thread;
    unsigned number;
};

struct ms_workers {
    unsigned jobs;
    unsigned started;
    pthread_mutex_t lock;
    pthread_cond_t work; /* a new round, or the end */
    pthread_cond_t idle; /* the last worker of a round is done */
    unsigned long round;
    unsigned busy;
    bool end;
    ms_worker_task *task;
    void *ctx;
    size_t count;
    atomic_size_t next;
    struct worker worker[];
};

/* Flush-to-zero and denormals-are-zero: gradients that fade through many steps would otherwise cost
 * a microcode trap an operation. */
static unsigned denormals_off(void)
{
#if defined(__x86_64__)
    unsigned old = _mm_getcsr();
    _mm_setcsr(old | 0x8040u);
    return old;
#else
    return 0;
#endif
}

static void denormals_restore(unsigned old)
{
#if defined(__x86_64__)
    _mm_setcsr(old);
#else
    (void)old;
#endif
}

static void run_tasks(struct ms_workers *self, unsigned number)
{
    unsigned old = denormals_off();
    for (;;) {
        size_t i = atomic_fetch_add(&self->next, 1);
        if (i >= self->count)
            break;
        self->task(self->ctx, i, number);
    }
    denormals_restore(old);
}

static void *worker_main(void *arg)
{
    struct worker *me = arg;
    struct ms_workers *team = me->team;
    unsigned long seen = 0;
    pthread_mutex_lock(&team->lock);
    for (;;) {
        while (!team->end && team->round == seen)
            pthread_cond_wait(&team->work, &team->lock);
        if (team->end)
            break;
        seen = team->round;
        pthread_mutex_unlock(&team->lock);
        run_tasks(team, me->number);
        pthread_mutex_lock(&team->lock);
        if (--team->busy == 0)
            pthread_cond_signal(&team->idle);
    }
    pthread_mutex_unlock(&team->lock);
    return NULL;
}

/* Unpinned threads can sit on one processor for seconds. With fewer threads than processors the
 * first one is where the caller runs, so that two trainers on one machine do not pin themselves to
 * the same ones. Failure only costs time. */
static void pin(struct ms_workers *self)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    size_t cpus[CPU_SETSIZE];
    unsigned count = 0;
    int here = sched_getcpu();
    unsigned first = 0;
    for (size_t c = 0; c < CPU_SETSIZE; c++) {
        if (!CPU_ISSET(c, &allowed))
            continue;
        if (here >= 0 && c == (size_t)here)
            first = count;
        cpus[count++] = c;
    }
    if (count == 0)
        return;
    for (unsigned w = 0; w < self->started; w++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpus[(first + w) % count], &one);
        (void)pthread_setaffinity_np(self->worker[w].thread, sizeof one, &one);
    }
}

/* Signals stay with the threads of the program: an interrupt must wake its main loop, not a worker.
 */
static int start(struct ms_workers *self)
{
    sigset_t all, old;
    int failed = 0;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &old);
    while (self->started < self->jobs && !failed) {
        struct worker *w = &self->worker[self->started];
        w->team = self;
        w->number = self->started;
        failed = pthread_create(&w->thread, NULL, worker_main, w);
        self->started += !failed;
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
}

enum ms_status ms_workers_new(unsigned jobs, struct ms_workers **out, struct ms_error *err)
{
    struct ms_workers *self = calloc(1, sizeof *self + jobs * sizeof self->worker[0]);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for %u threads", jobs);
    self->jobs = jobs;
    atomic_init(&self->next, 0);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->work, NULL);
    pthread_cond_init(&self->idle, NULL);
    int failed = jobs > 1 ? start(self) : 0;
    if (failed) {
        ms_workers_free(self);
        return ms_error_set_errno(err, MS_E_IO, failed, "cannot start a thread");
    }
    pin(self);
    *out = self;
    return MS_OK;
}

void ms_workers_free(struct ms_workers *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->end = true;
    pthread_cond_broadcast(&self->work);
    pthread_mutex_unlock(&self->lock);
    for (unsigned w = 0; w < self->started; w++)
        pthread_join(self->worker[w].thread, NULL);
    pthread_cond_destroy(&self->idle);
    pthread_cond_destroy(&self->work);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

void ms_workers_run(struct ms_workers *self, size_t count, ms_worker_task *task, void *ctx)
{
    self->task = task;
    self->ctx = ctx;
    self->count = count;
    atomic_store(&self->next, 0);
    if (self->started == 0 || count == 1) {
        run_tasks(self, 0);
        return;
    }
    pthread_mutex_lock(&self->lock);
    self->busy = self->started;
    self->round++;
    pthread_cond_broadcast(&self->work);
    while (self->busy > 0)
        pthread_cond_wait(&self->idle, &self->lock);
    pthread_mutex_unlock(&self->lock);
}
