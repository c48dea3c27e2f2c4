/* A running average of a net's parameters over its training; decides nothing about when. Polyak and
 * Juditsky 1992 for the mean, Tarvainen and Valpola 2017 for the exponential one. */
#include "train/nn/private.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 14 /* elements of one task */ };

struct ms_net_average {
    double decay;
    uint64_t states; /* seen so far */
    bool exchanged;
    size_t count;
    ms_real *block; /* the average, or the net's own parameters while exchanged */
};

enum ms_status ms_net_average_new(const struct ms_net *net, double decay,
                                  struct ms_net_average **out, struct ms_error *err)
{
    if (!(decay >= 0 && decay <= 1))
        return ms_error_set(err, MS_E_INPUT, "averaging with decay %g: must be 0 to 1", decay);
    struct ms_net_average *self = calloc(1, sizeof *self);
    ms_real *block = calloc(net->param_count, sizeof *block);
    if (!self || !block) {
        free(self);
        free(block);
        return ms_error_set(err, MS_E_NOMEM, "no memory for the average of %zu parameters",
                            net->param_count);
    }
    *self = (struct ms_net_average){.decay = decay, .count = net->param_count, .block = block};
    *out = self;
    return MS_OK;
}

void ms_net_average_free(struct ms_net_average *self)
{
    if (!self)
        return;
    free(self->block);
    free(self);
}

uint64_t ms_net_average_states(const struct ms_net_average *self)
{
    return self->states;
}

struct job {
    struct ms_net_average *average;
    const struct ms_net *net;
    ms_real weight;
};

static void add_task(void *ctx, size_t task, unsigned worker)
{
    const struct job *job = ctx;
    const size_t from = task * CHUNK, left = job->average->count - from;
    (void)worker;
    job->net->kernels->approach(left < CHUNK ? left : CHUNK, job->weight, job->net->params + from,
                                job->average->block + from);
}

enum ms_status ms_net_average_add(struct ms_net_average *self, struct ms_net *net,
                                  struct ms_error *err)
{
    if (self->count != net->param_count)
        return ms_error_set(err, MS_E_INPUT, "an average of %zu parameters for a net of %zu",
                            self->count, net->param_count);
    if (self->exchanged)
        return ms_error_set(err, MS_E_INPUT, "the net holds its average: exchange it back first");
    self->states++;
    const double mean = 1 / (double)self->states;
    struct job job = {self, net, (ms_real)(1 - self->decay > mean ? 1 - self->decay : mean)};
    ms_workers_run(net->workers, (self->count + CHUNK - 1) / CHUNK, add_task, &job);
    return MS_OK;
}

enum ms_status ms_net_average_exchange(struct ms_net_average *self, struct ms_net *net,
                                       struct ms_error *err)
{
    if (self->count != net->param_count)
        return ms_error_set(err, MS_E_INPUT, "an average of %zu parameters for a net of %zu",
                            self->count, net->param_count);
    if (self->states == 0)
        return ms_error_set(err, MS_E_INPUT, "nothing has been averaged yet");
    if (net->placed)
        return ms_error_set(err, MS_E_INPUT, "a net over borrowed numbers exchanges none");
    ms_real *held = net->params;
    net->params = self->block;
    self->block = held;
    self->exchanged = !self->exchanged;
    return MS_OK;
}
