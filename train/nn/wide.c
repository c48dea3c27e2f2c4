/* The wide branch: a sparse vector a sequence through one linear layer with activation and dropout;
 * and the joint of its output with the pooled vector. Forward and backward; work and gradient rows
 * are those of the ids that occur. */
#include "train/nn/private.h"

#include <string.h>

/* The ids that dropout leaves, with their values scaled up. */
static bool take_rows(struct ms_pass *p)
{
    const struct ms_net_wide *c = &p->net->config.wide;
    const struct ms_pack *k = &p->pack;
    struct ms_wide_pass *w = &p->wide;
    const double rate = p->dropout ? c->input_dropout : 0;
    size_t total = 0;
    size_t most = 0;
    for (size_t b = 0; b < k->rows; b++) {
        const size_t n = p->batch->wide[k->row[b]].count;
        total += n;
        most = n > most ? n : most;
    }
    w->start = ms_scratch_take(p->scratch, k->rows + 1, sizeof *w->start);
    w->ids = ms_scratch_take(p->scratch, total, sizeof *w->ids);
    w->values = ms_scratch_reals(p->scratch, total);
    ms_real *mask = ms_scratch_reals(p->scratch, rate > 0 ? most : 0);
    if (p->scratch->failed)
        return false;
    size_t n = 0;
    for (size_t b = 0; b < k->rows; b++) {
        const struct ms_net_sparse *s = &p->batch->wide[k->row[b]];
        w->start[b] = n;
        if (rate > 0)
            ms_mask_fill(p, MS_SITE_WIDE_INPUT, rate, b, s->count, mask);
        for (uint32_t i = 0; i < s->count; i++) {
            if (rate > 0 && mask[i] == 0)
                continue;
            w->ids[n] = s->ids[i];
            w->values[n++] = (ms_real)s->values[i] * (rate > 0 ? mask[i] : 1);
        }
    }
    w->start[k->rows] = n;
    return true;
}

/* y = act(x W + b) * mask */
static bool wide_forward(struct ms_pass *p)
{
    const struct ms_net *net = p->net;
    const struct ms_net_wide *c = &net->config.wide;
    struct ms_wide_pass *w = &p->wide;
    const size_t B = p->pack.rows;
    const size_t O = c->units;
    const ms_real *W = net->params + net->wide_at[MS_KERNEL]; /* size x O */
    const ms_real *b = net->params + net->wide_at[1];         /* O */
    w->active = ms_scratch_reals(p->scratch, B * O);
    w->mask = ms_mask_new(p, MS_SITE_WIDE, c->dropout, O);
    w->output = w->mask ? ms_scratch_reals(p->scratch, B * O) : w->active;
    if (p->scratch->failed || !take_rows(p))
        return false;
    for (size_t r = 0; r < B; r++) {
        const size_t at = w->start[r];
        memcpy(w->active + r * O, b, O * sizeof *b);
        net->kernels->gather_add(w->start[r + 1] - at, w->ids + at, w->values + at, O, W,
                                 w->active + r * O);
    }
    net->kernels->activate(B * O, w->active, c->activation);
    if (w->mask)
        net->kernels->multiply(B * O, w->active, w->mask, w->output);
    return true;
}

bool ms_join_forward(struct ms_pass *p)
{
    const struct ms_net_config *c = &p->net->config;
    p->joined = p->pooled;
    if (c->wide.size == 0)
        return true;
    const size_t P = ms_net_config_pooled(c);
    const size_t O = c->wide.units;
    p->joined = ms_scratch_reals(p->scratch, p->pack.rows * (P + O));
    if (!p->joined || !wide_forward(p))
        return false;
    for (size_t b = 0; b < p->pack.rows; b++) {
        memcpy(p->joined + b * (P + O), p->pooled + b * P, P * sizeof *p->joined);
        memcpy(p->joined + b * (P + O) + P, p->wide.output + b * O, O * sizeof *p->joined);
    }
    return true;
}

/* dz = dy * mask * act'(z); row id of dW += value dz; db += sum dz. d is spoilt. */
static void wide_backward(struct ms_pass *p, ms_real *d)
{
    const struct ms_net *net = p->net;
    const struct ms_wide_pass *w = &p->wide;
    const size_t B = p->pack.rows;
    const size_t O = net->config.wide.units;
    if (w->mask)
        net->kernels->multiply(B * O, d, w->mask, d);
    net->kernels->activate_backward(B * O, w->active, d, net->config.wide.activation);
    net->kernels->column_sum(B, O, d, p->shard->grads + net->wide_at[1]);
    for (size_t b = 0; b < B; b++)
        for (size_t i = w->start[b]; i < w->start[b + 1]; i++)
            net->kernels->scale_add(O, w->values[i], d + b * O,
                                    ms_table_grad(net, p->shard, net->table_count - 1, w->ids[i]));
}

bool ms_join_backward(struct ms_pass *p, const ms_real *d_joined, ms_real *d_pooled)
{
    const struct ms_net_config *c = &p->net->config;
    const size_t P = ms_net_config_pooled(c);
    const size_t O = c->wide.units;
    ms_real *d_wide = ms_scratch_reals(p->scratch, p->pack.rows * O);
    if (!d_wide)
        return false;
    for (size_t b = 0; b < p->pack.rows; b++) {
        memcpy(d_pooled + b * P, d_joined + b * (P + O), P * sizeof *d_pooled);
        memcpy(d_wide + b * O, d_joined + b * (P + O) + P, O * sizeof *d_wide);
    }
    wide_backward(p, d_wide);
    return true;
}
