/* Threads that each train one net at a time. */
#include "train/fit_members.h"

#include "base/progress.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { JOBS_MAX = 64 };

struct crew {
    const struct ms_fit_options *options;
    const struct ms_fit_data *data;
    struct ms_fit_epoch *curves; /* count x epochs of the first */
    struct ms_net **nets;
    const struct ms_fit_beside *beside;
    uint32_t count, all, epochs; /* all: nets and what is beside them */
    pthread_mutex_t lock;        /* guards what follows, and the progress line */
    uint32_t next;
    uint64_t steps;
    enum ms_status status; /* the first failure */
    struct ms_error error;
};

static void on_step(void *ctx)
{
    struct crew *c = ctx;
    (void)pthread_mutex_lock(&c->lock);
    c->steps++;
    if (c->options->on_step)
        c->options->on_step(c->options->step_ctx);
    else
        ms_progress_update(c->steps);
    (void)pthread_mutex_unlock(&c->lock);
}

static bool take(struct crew *c, uint32_t *index)
{
    (void)pthread_mutex_lock(&c->lock);
    bool taken = c->status == MS_OK && c->next < c->all;
    if (taken)
        *index = c->next++;
    (void)pthread_mutex_unlock(&c->lock);
    return taken;
}

static enum ms_status train_one(struct crew *c, uint32_t i, struct ms_error *fault)
{
    struct ms_fit_options o = c->options[i];
    o.jobs = 1;
    o.title = NULL;
    o.talk = false;
    o.on_step = on_step;
    o.step_ctx = c;
    return ms_fit(&o, &c->data->train, &c->data->inner, &c->data->test,
                  c->curves + (size_t)i * c->epochs, &c->nets[i], fault);
}

static void *work(void *ctx)
{
    struct crew *c = ctx;
    uint32_t i;
    while (take(c, &i)) {
        struct ms_error fault = {0};
        uint32_t tasks = c->all - c->count;
        enum ms_status status =
            i < tasks ? c->beside->run(c->beside->ctx, i, &fault) : train_one(c, i - tasks, &fault);
        (void)pthread_mutex_lock(&c->lock);
        if (status != MS_OK && c->status == MS_OK) {
            c->status = status;
            c->error = fault;
        }
        (void)pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

static void run(struct crew *c, unsigned jobs)
{
    pthread_t threads[JOBS_MAX];
    unsigned started = 0, wanted = jobs > c->all ? c->all : jobs;
    const struct ms_fit_options *o = c->options;
    uint64_t batches = (c->data->train.count + o->batch - 1) / (o->batch ? o->batch : 1);
    (void)pthread_mutex_init(&c->lock, NULL);
    if (!o->on_step)
        ms_progress_begin(o->title ? o->title : "training", batches * o->epochs * c->count,
                          "batches");
    while (started + 1 < wanted && started < JOBS_MAX &&
           pthread_create(&threads[started], NULL, work, c) == 0)
        started++;
    (void)work(c);
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    if (!o->on_step)
        ms_progress_end();
    (void)pthread_mutex_destroy(&c->lock);
}

static void add(double x, double *sum, uint32_t *count)
{
    *sum += isnan(x) ? 0 : x;
    *count += isnan(x) ? 0 : 1;
}

static double mean(double sum, uint32_t count)
{
    return count ? sum / count : NAN;
}

void ms_fit_mean_curve(const struct ms_fit_epoch *curves, uint32_t count, uint32_t epochs,
                       struct ms_fit_epoch *out)
{
    for (uint32_t e = 0; e < epochs; e++) {
        struct ms_fit_epoch sum = {0};
        uint32_t n[5] = {0};
        for (uint32_t i = 0; i < count; i++) {
            const struct ms_fit_epoch *one = &curves[(size_t)i * epochs + e];
            add(one->loss, &sum.loss, &n[0]);
            add(one->accuracy, &sum.accuracy, &n[1]);
            add(one->test_loss, &sum.test_loss, &n[2]);
            add(one->test_accuracy, &sum.test_accuracy, &n[3]);
            add(one->rate, &sum.rate, &n[4]);
            sum.seconds += one->seconds;
        }
        out[e] = (struct ms_fit_epoch){mean(sum.loss, n[0]),
                                       mean(sum.accuracy, n[1]),
                                       mean(sum.test_loss, n[2]),
                                       mean(sum.test_accuracy, n[3]),
                                       count == 1 ? curves[e].rate : mean(sum.rate, n[4]),
                                       sum.seconds};
    }
}

enum ms_status ms_fit_members(const struct ms_fit_options *options, uint32_t count, unsigned jobs,
                              const struct ms_fit_data *data, const struct ms_fit_beside *beside,
                              struct ms_fit_epoch *curve, struct ms_net **nets,
                              struct ms_error *err)
{
    struct crew c = {.options = options,
                     .data = data,
                     .nets = nets,
                     .beside = beside,
                     .count = count,
                     .all = count + (beside ? beside->count : 0),
                     .epochs = options->epochs};
    for (uint32_t i = 0; i < count; i++)
        nets[i] = NULL;
    c.curves = calloc((size_t)count * c.epochs + 1, sizeof *c.curves);
    if (!c.curves)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %u curves", count);
    if (c.all == 1) {
        struct ms_fit_options one = *options;
        one.jobs = jobs;
        c.status = ms_fit(&one, &data->train, &data->inner, &data->test, c.curves, nets, &c.error);
    } else
        run(&c, jobs);
    if (c.status == MS_OK && curve)
        ms_fit_mean_curve(c.curves, count, c.epochs, curve);
    free(c.curves);
    for (uint32_t i = 0; c.status != MS_OK && i < count; i++) {
        ms_net_free(nets[i]);
        nets[i] = NULL;
    }
    if (c.status != MS_OK && err)
        *err = c.error;
    return c.status;
}
