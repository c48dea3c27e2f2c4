/* A net's life: the tables of its tensors, its blocks, state in and out. Training and prediction
 * are in batch.c. */
#include "train/nn/private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t add_tensor(struct ms_net *self, size_t rows, size_t columns, enum ms_init init,
                         const char *prefix, const char *suffix)
{
    struct ms_net_tensor *t = &self->tensor[self->tensor_count];
    (void)snprintf(t->name, sizeof t->name, "%s%s", prefix, suffix);
    t->rows = rows;
    t->columns = columns;
    t->offset = self->param_count;
    t->decays = init != MS_INIT_ZERO;
    self->init[self->tensor_count++] = init;
    self->param_count += rows * columns;
    return t->offset;
}

static size_t add_table(struct ms_net *self, size_t rows, size_t columns, enum ms_init init,
                        double scale, const char *name)
{
    struct ms_table *t = &self->table[self->table_count++];
    *t = (struct ms_table){self->param_count, rows, columns, self->table_rows};
    self->table_rows += rows;
    self->init_scale[self->tensor_count] = scale;
    return add_tensor(self, rows, columns, init, name, "");
}

static void lay_out_tables(struct ms_net *self)
{
    const struct ms_net_config *c = &self->config;
    char name[24];
    add_table(self, c->vocabulary, c->embedding,
              c->embedding_init == MS_NET_EMBEDDING_NORMAL ? MS_INIT_NORMAL : MS_INIT_UNIFORM,
              c->embedding_scale, "embedding");
    for (uint32_t i = 0; i < c->feature_count; i++) {
        (void)snprintf(name, sizeof name, "feature%u", i);
        add_table(self, c->feature[i].size, c->embedding, MS_INIT_NORMAL, c->feature[i].scale,
                  name);
    }
    if (c->wide.size > 0) {
        self->wide_at[MS_KERNEL] =
            add_table(self, c->wide.size, c->wide.units, MS_INIT_GLOROT, 0, "wide.kernel");
        self->tensor[self->tensor_count - 1].decays = false;
    }
    self->tables_end = self->param_count;
}

static void lay_out_recurrent(struct ms_net *self, uint32_t i)
{
    const struct ms_net_recurrent *l = &self->config.recurrent[i];
    const size_t H = l->hidden;
    const size_t G = ms_net_config_gates(l) * H;
    const size_t in = ms_net_config_recurrent_input(&self->config, i);
    const bool gru = l->cell == MS_NET_GRU;
    char prefix[24];
    for (int d = 0; d < (l->bidirectional ? 2 : 1); d++) {
        const char *side = !l->bidirectional ? "" : d == 0 ? ".forward" : ".backward";
        size_t *at = self->recurrent_at[i][d];
        (void)snprintf(prefix, sizeof prefix, "%s%u%s", gru ? "gru" : "lstm", i, side);
        at[MS_KERNEL] = add_tensor(self, in, G, MS_INIT_GLOROT, prefix, ".kernel");
        at[MS_RECURRENT] = add_tensor(self, H, G, MS_INIT_GLOROT, prefix, ".recurrent");
        at[MS_BIAS] = add_tensor(self, gru ? 2 : 1, G, MS_INIT_ZERO, prefix, ".bias");
    }
}

static void lay_out_tensors(struct ms_net *self)
{
    const struct ms_net_config *c = &self->config;
    char prefix[24];
    lay_out_tables(self);
    for (uint32_t i = 0; i < c->recurrent_count; i++)
        lay_out_recurrent(self, i);
    if (c->pooling == MS_NET_POOL_ATTENTION) {
        const size_t W = ms_net_config_pooled(c);
        const size_t A = c->attention;
        self->attention_at[MS_KERNEL] =
            add_tensor(self, W, A, MS_INIT_GLOROT, "attention", ".kernel");
        self->attention_at[1] = add_tensor(self, 1, A, MS_INIT_ZERO, "attention", ".bias");
        self->attention_at[MS_ATTENTION_VECTOR] =
            add_tensor(self, A, 1, MS_INIT_GLOROT, "attention", ".vector");
    }
    if (c->wide.size > 0)
        self->wide_at[1] = add_tensor(self, 1, c->wide.units, MS_INIT_ZERO, "wide.bias", "");
    size_t in = ms_net_config_joined(c);
    for (uint32_t i = 0; i <= c->dense_count; i++) {
        const bool last = i == c->dense_count;
        const size_t out = last ? c->outputs : c->dense[i].units;
        (void)snprintf(prefix, sizeof prefix, last ? "output" : "dense%u", i);
        self->dense_at[i][0] = add_tensor(self, in, out, MS_INIT_GLOROT, prefix, ".kernel");
        self->dense_at[i][1] = add_tensor(self, 1, out, MS_INIT_ZERO, prefix, ".bias");
        in = out;
    }
}

/* With blocks of its own unless params is given. */
static enum ms_status new_net(const struct ms_net_config *config, uint64_t seed, unsigned jobs,
                              ms_real *params, struct ms_net **out, struct ms_error *err)
{
    enum ms_status status = ms_net_config_check(config, err);
    if (status != MS_OK)
        return status;
    if (jobs < 1 || jobs > MS_LIMIT_NET_JOBS)
        return ms_error_set(err, MS_E_INPUT, "%u threads: must be 1 to %d", jobs,
                            MS_LIMIT_NET_JOBS);
    struct ms_net *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a net");
    self->config = *config;
    self->seed = seed;
    self->jobs = jobs;
    self->kernels = ms_kernels_get();
    lay_out_tensors(self);
    self->placed = params != NULL;
    self->params = params ? params : calloc(self->param_count, sizeof *self->params);
    self->grads = params ? NULL : calloc(self->param_count, sizeof *self->grads);
    self->scratch = calloc(jobs, sizeof *self->scratch);
    if (!self->params || (!params && !self->grads) || !self->scratch)
        status = ms_error_set(err, MS_E_NOMEM, "no memory for a net of %zu parameters",
                              self->param_count);
    else
        status = ms_workers_new(jobs, &self->workers, err);
    if (status != MS_OK) {
        ms_net_free(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

enum ms_status ms_net_new_blank(const struct ms_net_config *config, uint64_t seed, unsigned jobs,
                                struct ms_net **out, struct ms_error *err)
{
    return new_net(config, seed, jobs, NULL, out, err);
}

enum ms_status ms_net_new_placed(const struct ms_net_config *config, ms_real *params, unsigned jobs,
                                 struct ms_net **out, struct ms_error *err)
{
    return new_net(config, 1, jobs, params, out, err);
}

enum ms_status ms_net_new(const struct ms_net_config *config, uint64_t seed, unsigned jobs,
                          struct ms_net **out, struct ms_error *err)
{
    struct ms_net *self = NULL;
    enum ms_status status = ms_net_new_blank(config, seed, jobs, &self, err);
    if (status == MS_OK)
        status = ms_net_init_params(self, err);
    if (status != MS_OK) {
        ms_net_free(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_net_free(struct ms_net *self)
{
    if (!self)
        return;
    ms_workers_free(self->workers);
    for (unsigned w = 0; self->scratch && w < self->jobs; w++)
        ms_scratch_release(&self->scratch[w]);
    for (size_t s = 0; s < MS_NET_SHARDS; s++) {
        free(self->shard[s].grads);
        free(self->shard[s].touched);
    }
    ms_shared_free(self);
    free(self->chunk_square);
    free(self->touched);
    free(self->touched_before);
    free(self->sorted);
    free(self->order);
    free(self->scratch);
    free(self->moment1);
    free(self->moment2);
    free(self->grads);
    if (!self->placed)
        free(self->params);
    free(self);
}

const struct ms_net_config *ms_net_config_get(const struct ms_net *self)
{
    return &self->config;
}

const struct ms_net_tensor *ms_net_tensors(const struct ms_net *self, size_t *count)
{
    *count = self->tensor_count;
    return self->tensor;
}

ms_real *ms_net_params(struct ms_net *self)
{
    return self->params;
}

const ms_real *ms_net_grads(const struct ms_net *self)
{
    return self->grads;
}

size_t ms_net_param_count(const struct ms_net *self)
{
    return self->param_count;
}

enum ms_status ms_net_set_optimizer(struct ms_net *self, const struct ms_optimizer *optimizer,
                                    struct ms_error *err)
{
    enum ms_status status = ms_optimizer_check(optimizer, err);
    if (status == MS_OK && self->placed)
        status = ms_error_set(err, MS_E_INPUT, "a net over borrowed numbers is not trained");
    if (status != MS_OK)
        return status;
    const size_t n = self->param_count;
    ms_real *moment1 = NULL;
    ms_real *moment2 = calloc(n, sizeof *moment2);
    if (optimizer->kind != MS_OPTIMIZER_RMSPROP)
        moment1 = calloc(n, sizeof *moment1);
    if (!moment2 || (optimizer->kind != MS_OPTIMIZER_RMSPROP && !moment1)) {
        free(moment1);
        free(moment2);
        return ms_error_set(err, MS_E_NOMEM, "no memory for the moments of %zu parameters", n);
    }
    free(self->moment1);
    free(self->moment2);
    self->moment1 = moment1;
    self->moment2 = moment2;
    self->optimizer = *optimizer;
    self->has_optimizer = true;
    self->step = 0;
    return MS_OK;
}

void ms_net_state_get(const struct ms_net *self, struct ms_net_state *out)
{
    *out = (struct ms_net_state){self->param_count, self->params, self->moment1, self->moment2,
                                 self->step};
}

static bool all_finite(const ms_real *x, size_t n)
{
    for (size_t i = 0; x && i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

enum ms_status ms_net_state_set(struct ms_net *self, const struct ms_net_state *state,
                                struct ms_error *err)
{
    const size_t n = self->param_count;
    if (state->count != n)
        return ms_error_set(err, MS_E_INPUT, "a state of %zu parameters for a net of %zu",
                            state->count, n);
    if ((state->moment1 && !self->moment1) || (state->moment2 && !self->moment2))
        return ms_error_set(err, MS_E_INPUT, "the state has a moment that the optimiser has not");
    if (!all_finite(state->params, n) || !all_finite(state->moment1, n) ||
        !all_finite(state->moment2, n))
        return ms_error_set(err, MS_E_INPUT, "the state has numbers that are not finite");
    if (state->params)
        memcpy(self->params, state->params, n * sizeof *self->params);
    if (state->moment1)
        memcpy(self->moment1, state->moment1, n * sizeof *self->moment1);
    if (state->moment2)
        memcpy(self->moment2, state->moment2, n * sizeof *self->moment2);
    self->step = state->step;
    return MS_OK;
}
