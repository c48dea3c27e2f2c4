/* The state of a training as blocks of numbers, and the digest of everything that decides it. */
#include "train/fit_progress.h"

#include "train/model_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct ms_fit_epoch) == 6 * sizeof(double), "an epoch is kept as 6 numbers");
_Static_assert(sizeof(ms_real) == sizeof(float), "a state is kept in single precision");

/* ---- the key ---- */

static void add_number(struct ms_hasher *h, double value)
{
    ms_hasher_update(h, &value, sizeof value);
}

static void add_count(struct ms_hasher *h, uint64_t value)
{
    ms_hasher_update(h, &value, sizeof value);
}

static enum ms_status add_options(struct ms_hasher *h, const struct ms_fit_options *o,
                                  struct ms_error *err)
{
    char inputs[MS_INPUT_TEXT_BYTES];
    json_t *config = ms_model_config_write(&o->config);
    char *text = config ? json_dumps(config, JSON_COMPACT) : NULL;
    json_decref(config);
    if (!text)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the key of a checkpoint");
    ms_hasher_update(h, text, strlen(text) + 1);
    free(text);
    ms_input_options_text(&o->inputs, inputs);
    ms_hasher_update(h, inputs, strlen(inputs) + 1);
    const struct ms_optimizer *p = &o->optimizer;
    const double numbers[] = {p->beta1,     p->beta2, p->epsilon,      p->weight_decay,
                              p->clip_norm, o->rate,  o->token_dropout};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        add_number(h, numbers[i]);
    const uint64_t counts[] = {p->kind,      o->cosine,  o->epochs,   o->batch,
                               o->by_length, o->average, o->patience, o->seed};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        add_count(h, counts[i]);
    return MS_OK;
}

static void add_rows(struct ms_hasher *h, const struct ms_fit_rows *rows, uint32_t tables)
{
    add_count(h, rows->count);
    for (size_t i = 0; i < rows->count; i++) {
        const struct ms_input_row *r = rows->rows[i];
        add_count(h, (uint32_t)rows->labels[i]);
        add_count(h, r->n);
        add_count(h, r->count);
        ms_hasher_update(h, r->tokens, r->n * sizeof *r->tokens);
        ms_hasher_update(h, r->features, r->n * tables * sizeof *r->features);
        ms_hasher_update(h, r->ids, r->count * sizeof *r->ids);
        ms_hasher_update(h, r->values, r->count * sizeof *r->values);
    }
}

static enum ms_status make_key(struct ms_fit_progress *self, const struct ms_fit_rows *train,
                               const struct ms_fit_rows *inner, const struct ms_fit_rows *test,
                               struct ms_error *err)
{
    uint32_t sizes[MS_LIMIT_NET_FEATURES];
    uint32_t tables = ms_input_options_tables(&self->options->inputs, sizes);
    struct ms_hasher *h;
    struct ms_digests digests;
    enum ms_status status = ms_hasher_new(MS_HASH_SHA256, &h, err);
    if (status != MS_OK)
        return status;
    status = add_options(h, self->options, err);
    add_rows(h, train, tables);
    if (inner)
        add_rows(h, inner, tables);
    add_rows(h, test, tables); /* their figures are in the curve */
    if (status == MS_OK)
        status = ms_hasher_finish(h, &digests, err);
    if (status == MS_OK)
        memcpy(self->key, digests.sha256, sizeof self->key);
    ms_hasher_free(h);
    return status;
}

/* ---- the blocks ---- */

enum { PLACE_NUMBERS = 6, FIGURES = 2, BLOCKS = 8 };

struct state {
    uint64_t place[PLACE_NUMBERS];
    double figures[FIGURES];
    struct ms_checkpoint_block blocks[BLOCKS];
};

/* The net's blocks are only written to where a state is read. */
static void make_state(const struct ms_fit_progress *p, float *params, float *moment1,
                       float *moment2, struct state *out)
{
    const size_t n = ms_net_param_count(p->net);
    const uint64_t place[PLACE_NUMBERS] = {p->epoch, p->row,    p->step,
                                           p->right, p->summed, p->best_epoch};
    memcpy(out->place, place, sizeof place);
    out->figures[0] = p->loss;
    out->figures[1] = p->best_loss;
    const struct ms_checkpoint_block blocks[BLOCKS] = {
        {"place", MS_CHECKPOINT_U64, out->place, PLACE_NUMBERS, true},
        {"figures", MS_CHECKPOINT_F64, out->figures, FIGURES, true},
        {"curve", MS_CHECKPOINT_F64, p->curve, (size_t)p->options->epochs * 6, true},
        {"average", MS_CHECKPOINT_F64, p->sum, p->sum ? n : 0, false},
        {"params", MS_CHECKPOINT_F32, params, n, true},
        {"moment1", MS_CHECKPOINT_F32, moment1, moment1 ? n : 0, false},
        {"moment2", MS_CHECKPOINT_F32, moment2, moment2 ? n : 0, false},
        {"best", MS_CHECKPOINT_F32, p->best, p->best ? n : 0, false},
    };
    memcpy(out->blocks, blocks, sizeof blocks);
}

static enum ms_status take_state(struct ms_fit_progress *p, const struct state *s, float *params,
                                 float *moment1, float *moment2, bool finished,
                                 struct ms_error *err)
{
    const struct ms_fit_options *o = p->options;
    const uint64_t per_epoch = (p->rows + o->batch - 1) / o->batch;
    const uint64_t *at = s->place;
    bool good = at[0] <= o->epochs && at[1] < p->rows && at[1] % o->batch == 0 &&
                (at[0] < o->epochs || at[1] == 0) &&
                at[2] == at[0] * per_epoch + at[1] / o->batch && at[3] <= at[1] && at[4] <= at[0] &&
                at[5] <= at[0] && isfinite(s->figures[0]);
    if (!good)
        return ms_error_set(err, MS_E_INPUT, "the checkpoint's numbers are none of this training");
    p->epoch = at[0];
    p->row = at[1];
    p->step = at[2];
    p->right = at[3];
    p->summed = at[4];
    p->best_epoch = at[5];
    p->loss = s->figures[0];
    p->best_loss = s->figures[1];
    const struct ms_net_state state = {ms_net_param_count(p->net), params,
                                       finished ? NULL : moment1, finished ? NULL : moment2,
                                       p->step};
    return ms_net_state_set(p->net, &state, err);
}

enum ms_status ms_fit_progress_begin(struct ms_fit_progress *self, const struct ms_fit_rows *train,
                                     const struct ms_fit_rows *inner,
                                     const struct ms_fit_rows *test, bool *finished,
                                     struct ms_error *err)
{
    struct ms_checkpoint *keeper = self->options->checkpoint;
    *finished = false;
    if (!keeper)
        return MS_OK;
    enum ms_status status = make_key(self, train, inner, test, err);
    if (status != MS_OK)
        return status;
    (void)ms_checkpoint_due(keeper, 0, false, false, &self->saved_ms); /* the time starts */
    const size_t n = ms_net_param_count(self->net);
    struct ms_net_state now;
    struct state s;
    ms_net_state_get(self->net, &now);
    float *params = calloc(n, sizeof *params);
    float *moment1 = now.moment1 ? calloc(n, sizeof *moment1) : NULL;
    float *moment2 = now.moment2 ? calloc(n, sizeof *moment2) : NULL;
    enum ms_checkpoint_found found = MS_CHECKPOINT_NONE;
    if (!params || (now.moment1 && !moment1) || (now.moment2 && !moment2))
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for a checkpoint");
    if (status == MS_OK) {
        make_state(self, params, moment1, moment2, &s);
        status = ms_checkpoint_load(keeper, self->key, s.blocks, BLOCKS, &found, err);
    }
    *finished = found == MS_CHECKPOINT_FINISHED;
    if (status == MS_OK && found != MS_CHECKPOINT_NONE)
        status = take_state(self, &s, params, moment1, moment2, *finished, err);
    free(params);
    free(moment1);
    free(moment2);
    return status;
}

static float *borrowed(const ms_real *block)
{
    return (float *)(uintptr_t)block;
}

void ms_fit_progress_keep(struct ms_fit_progress *self, bool epoch_ended, bool finished)
{
    struct ms_checkpoint *keeper = self->options->checkpoint;
    if (!keeper || !ms_checkpoint_due(keeper, self->step, epoch_ended, finished, &self->saved_ms))
        return;
    struct ms_net_state now;
    struct state s;
    ms_net_state_get(self->net, &now);
    make_state(self, borrowed(now.params), borrowed(now.moment1), borrowed(now.moment2), &s);
    ms_checkpoint_save(keeper, self->key, s.blocks, BLOCKS, finished);
}
