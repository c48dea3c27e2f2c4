/* One pass of some rows through all layers, forward and, for training, backward into a shard's
 * sums. */
#include "train/nn/private.h"

#include <string.h>

/* Spatial dropout and the first layer's input dropout both are one mask a sequence over the
 * embedding's channels: their product is one mask. */
static void embedding_mask(struct ms_pass *p)
{
    const struct ms_net_config *c = &p->net->config;
    const size_t E = c->embedding;
    p->mask = ms_mask_new(p, MS_SITE_SPATIAL, c->spatial_dropout, E);
    if (c->recurrent_count == 0)
        return;
    ms_real *input = ms_mask_new(p, MS_SITE_INPUT, c->recurrent[0].input_dropout, E);
    if (p->mask && input)
        p->net->kernels->multiply(p->pack.rows * E, p->mask, input, p->mask);
    else if (input)
        p->mask = input;
}

static bool has_embedding_mask(const struct ms_pass *p)
{
    const struct ms_net_config *c = &p->net->config;
    return p->dropout && (c->spatial_dropout > 0 ||
                          (c->recurrent_count > 0 && c->recurrent[0].input_dropout > 0));
}

static bool forward(struct ms_pass *p, const uint32_t *rows, size_t count)
{
    const struct ms_net_config *c = &p->net->config;
    const size_t E = c->embedding;
    size_t widest = 1;
    for (uint32_t i = 0; i < c->recurrent_count; i++)
        widest = c->recurrent[i].hidden > widest ? c->recurrent[i].hidden : widest;
    p->zeros = ms_scratch_reals(p->scratch, 3 * widest);
    if (!p->zeros || !ms_pack_build(p, rows, count, has_embedding_mask(p)))
        return false;
    memset(p->zeros, 0, 3 * widest * sizeof *p->zeros);
    embedding_mask(p);
    if (p->net->shared.on)
        ms_shared_pack(p);
    else if (p->scratch->failed || !ms_embed_forward(p))
        return false;
    for (uint32_t i = 0; i < c->recurrent_count; i++)
        if (!ms_recurrent_forward(p, i))
            return false;
    if (c->recurrent_count > 0) {
        p->features = p->recurrent[c->recurrent_count - 1].output;
    } else {
        ms_real *features = ms_scratch_reals(p->scratch, p->pack.total * E); /* N x E */
        if (!features)
            return false;
        for (size_t r = 0; r < p->pack.total; r++)
            memcpy(features + r * E, p->distinct + p->pack.slot[r] * E, E * sizeof *features);
        p->features = features;
    }
    return ms_pool_forward(p) && ms_join_forward(p) && ms_dense_forward(p);
}

static bool backward(struct ms_pass *p)
{
    const struct ms_net_config *c = &p->net->config;
    const struct ms_pack *k = &p->pack;
    const size_t E = c->embedding;
    const size_t W = ms_net_config_recurrent_input(c, c->recurrent_count);
    ms_real *d_logits = ms_scratch_reals(p->scratch, k->rows * c->outputs);
    ms_real *d_pooled = ms_scratch_reals(p->scratch, k->rows * ms_net_config_pooled(c));
    /* Last states alone have few gradients: no tensor of zeros is filled for all the others. */
    const bool last = c->pooling == MS_NET_POOL_LAST && c->recurrent_count > 0;
    ms_real *d_above = last ? NULL : ms_scratch_reals(p->scratch, k->total * W); /* N x W */
    ms_real *d_distinct = ms_scratch_reals(p->scratch, k->distinct * E);         /* U x E */
    if (p->scratch->failed)
        return false;
    ms_head_loss(p, d_logits);
    ms_real *d_joined = d_pooled;
    if (c->wide.size > 0) {
        d_joined = ms_scratch_reals(p->scratch, k->rows * ms_net_config_joined(c));
        if (!d_joined)
            return false;
    }
    if (!ms_dense_backward(p, d_logits, d_joined))
        return false;
    if (c->wide.size > 0 && !ms_join_backward(p, d_joined, d_pooled))
        return false;
    if (!ms_pool_backward(p, d_pooled, d_above))
        return false;
    for (uint32_t i = c->recurrent_count; i-- > 0;) {
        ms_real *d_below =
            i == 0 ? d_distinct : ms_scratch_reals(p->scratch, k->total * p->recurrent[i].in);
        if (!d_below || !ms_recurrent_backward(p, i, d_above, d_below))
            return false;
        d_above = d_below;
    }
    if (c->recurrent_count == 0) {
        memset(d_distinct, 0, k->distinct * E * sizeof *d_distinct);
        for (size_t r = 0; r < k->total; r++)
            p->net->kernels->add(E, d_above + r * E, d_distinct + k->slot[r] * E);
    }
    return p->net->shared.on || ms_embed_backward(p, d_distinct);
}

enum ms_status ms_pass_run(struct ms_pass *p, const uint32_t *rows, size_t count, ms_real *outputs)
{
    ms_scratch_reset(p->scratch);
    if (!forward(p, rows, count))
        return MS_E_NOMEM;
    if (outputs)
        ms_head_outputs(p, outputs);
    if (p->shard && !backward(p))
        return MS_E_NOMEM;
    return MS_OK;
}
