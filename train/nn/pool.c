/* From the steps of each sequence to one vector: last state, mean, largest, or all three (attention
 * is in attention.c); forward and backward. */
#include "train/nn/private.h"

#include <string.h>

struct shape {
    size_t width;   /* W */
    size_t pooled;  /* P */
    size_t forward; /* columns [0, forward) end at the last step, the rest (backward direction) at
                       the first */
    int mean_at, max_at, last_at; /* column of each part in the pooled vector, or -1 */
};

static struct shape shape_of(const struct ms_net_config *c)
{
    const size_t W = ms_net_config_recurrent_input(c, c->recurrent_count);
    const bool both = c->recurrent_count > 0 && c->recurrent[c->recurrent_count - 1].bidirectional;
    const int w = (int)W;
    struct shape s = {W, ms_net_config_pooled(c), both ? W / 2 : W, -1, -1, -1};
    switch (c->pooling) {
    case MS_NET_POOL_LAST:
        s.last_at = 0;
        break;
    case MS_NET_POOL_MEAN:
        s.mean_at = 0;
        break;
    case MS_NET_POOL_MAX:
        s.max_at = 0;
        break;
    case MS_NET_POOL_ATTENTION: /* attention.c */
        break;
    case MS_NET_POOL_MEAN_MAX_LAST:
        s.mean_at = 0;
        s.max_at = w;
        s.last_at = 2 * w;
        break;
    }
    return s;
}

static void mean_row(const struct ms_pass *p, const struct shape *s, size_t b, ms_real *out)
{
    const struct ms_pack *k = &p->pack;
    for (size_t t = 0; t < k->length[b]; t++)
        p->net->kernels->add(s->width, p->features + (k->offset[t] + b) * s->width, out);
    for (size_t j = 0; j < s->width; j++)
        out[j] /= (ms_real)k->length[b];
}

static void max_row(const struct ms_pass *p, const struct shape *s, size_t b, ms_real *out)
{
    const struct ms_pack *k = &p->pack;
    uint32_t *at = p->max_at + b * s->width;
    for (size_t t = 0; t < k->length[b]; t++) {
        size_t row = k->offset[t] + b;
        const ms_real *x = p->features + row * s->width;
        for (size_t j = 0; j < s->width; j++)
            if (t == 0 || x[j] > out[j]) {
                out[j] = x[j];
                at[j] = (uint32_t)row;
            }
    }
}

/* An empty sequence pools to zeros. */
bool ms_pool_forward(struct ms_pass *p)
{
    const struct ms_pack *k = &p->pack;
    const struct shape s = shape_of(&p->net->config);
    p->pooled = ms_scratch_reals(p->scratch, k->rows * s.pooled);
    p->max_at = ms_scratch_take(p->scratch, k->rows * s.width, sizeof *p->max_at);
    p->pool_mask = ms_mask_new(p, MS_SITE_POOL, p->net->config.pool_dropout, s.pooled);
    if (p->scratch->failed)
        return false;
    memset(p->pooled, 0, k->rows * s.pooled * sizeof *p->pooled);
    if (p->net->config.pooling == MS_NET_POOL_ATTENTION && !ms_attention_forward(p))
        return false;
    for (size_t b = 0; b < k->rows; b++) {
        ms_real *out = p->pooled + b * s.pooled;
        if (k->length[b] == 0)
            continue;
        if (s.mean_at >= 0)
            mean_row(p, &s, b, out + s.mean_at);
        if (s.max_at >= 0)
            max_row(p, &s, b, out + s.max_at);
        if (s.last_at >= 0) {
            const ms_real *end = p->features + (k->offset[k->length[b] - 1] + b) * s.width;
            const ms_real *start = p->features + b * s.width;
            memcpy(out + s.last_at, end, s.forward * sizeof *out);
            memcpy(out + (size_t)s.last_at + s.forward, start + s.forward,
                   (s.width - s.forward) * sizeof *out);
        }
    }
    if (p->pool_mask)
        p->net->kernels->multiply(k->rows * s.pooled, p->pooled, p->pool_mask, p->pooled);
    return true;
}

/* mean: dF[t] = dP / L for every step; max: dF[argmax] += dP; last: dF[end] += dP. */
bool ms_pool_backward(struct ms_pass *p, ms_real *d_pooled, ms_real *d_features)
{
    const struct ms_pack *k = &p->pack;
    const struct shape s = shape_of(&p->net->config);
    if (p->pool_mask)
        p->net->kernels->multiply(k->rows * s.pooled, d_pooled, p->pool_mask, d_pooled);
    p->d_last = d_pooled;
    if (!d_features)
        return true;
    memset(d_features, 0, k->total * s.width * sizeof *d_features);
    if (p->net->config.pooling == MS_NET_POOL_ATTENTION)
        return ms_attention_backward(p, d_pooled, d_features);
    for (size_t b = 0; b < k->rows; b++) {
        ms_real *d = d_pooled + b * s.pooled;
        if (k->length[b] == 0)
            continue;
        if (s.mean_at >= 0) {
            for (size_t j = 0; j < s.width; j++)
                d[(size_t)s.mean_at + j] /= (ms_real)k->length[b];
            for (size_t t = 0; t < k->length[b]; t++)
                p->net->kernels->add(s.width, d + s.mean_at,
                                     d_features + (k->offset[t] + b) * s.width);
        }
        for (size_t j = 0; s.max_at >= 0 && j < s.width; j++)
            d_features[p->max_at[b * s.width + j] * s.width + j] += d[(size_t)s.max_at + j];
        if (s.last_at >= 0) {
            const ms_real *dl = d + s.last_at;
            size_t end = k->offset[k->length[b] - 1] + b;
            p->net->kernels->add(s.forward, dl, d_features + end * s.width);
            p->net->kernels->add(s.width - s.forward, dl + s.forward,
                                 d_features + b * s.width + s.forward);
        }
    }
    return true;
}
