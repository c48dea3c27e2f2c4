/* Dense layers with activation and dropout, and the output layer; forward and backward. */
#include "train/nn/private.h"

#include <string.h>

/* y = act(x W + b) * mask */
static bool layer_forward(struct ms_pass *p, uint32_t layer, double dropout)
{
    const struct ms_net *net = p->net;
    struct ms_dense_layer *l = &p->dense[layer];
    const size_t B = p->pack.rows;
    const ms_real *W = net->params + net->dense_at[layer][MS_KERNEL]; /* in x units */
    const ms_real *b = net->params + net->dense_at[layer][1];         /* units */
    l->active = ms_scratch_reals(p->scratch, B * l->units);
    l->mask = ms_mask_new(p, MS_SITE_DENSE + layer, dropout, l->units);
    l->output = l->mask ? ms_scratch_reals(p->scratch, B * l->units) : l->active;
    if (p->scratch->failed)
        return false;
    for (size_t r = 0; r < B; r++)
        memcpy(l->active + r * l->units, b, l->units * sizeof *b);
    ms_gemm(B, l->units, l->in, l->input, l->in, W, l->units, 1, l->active, l->units);
    net->kernels->activate(B * l->units, l->active, l->activation);
    if (l->mask)
        net->kernels->multiply(B * l->units, l->active, l->mask, l->output);
    return true;
}

bool ms_dense_forward(struct ms_pass *p)
{
    const struct ms_net_config *c = &p->net->config;
    const ms_real *x = p->joined;
    size_t in = ms_net_config_joined(c);
    for (uint32_t i = 0; i <= c->dense_count; i++) {
        bool last = i == c->dense_count;
        struct ms_dense_layer *l = &p->dense[i];
        l->in = in;
        l->input = x;
        l->units = last ? c->outputs : c->dense[i].units;
        l->activation = last ? MS_NET_LINEAR : c->dense[i].activation;
        if (!layer_forward(p, i, last ? 0 : c->dense[i].dropout))
            return false;
        x = l->output;
        in = l->units;
    }
    return true;
}

/* dz = dy * mask * act'(z); dW += x^T dz; db += sum dz; dx = dz W^T. d_output is spoilt. */
static void layer_backward(struct ms_pass *p, uint32_t layer, ms_real *d_output, ms_real *d_input)
{
    const struct ms_net *net = p->net;
    struct ms_dense_layer *l = &p->dense[layer];
    const size_t B = p->pack.rows;
    const size_t O = l->units;
    ms_real *grads = p->shard->grads;
    if (l->mask)
        net->kernels->multiply(B * O, d_output, l->mask, d_output);
    net->kernels->activate_backward(B * O, l->active, d_output, l->activation);
    ms_gemm_ta(l->in, O, B, l->input, l->in, d_output, O, 1,
               grads + net->dense_at[layer][MS_KERNEL], O);
    net->kernels->column_sum(B, O, d_output, grads + net->dense_at[layer][1]);
    ms_gemm_tb(B, l->in, O, d_output, O, net->params + net->dense_at[layer][MS_KERNEL], O, 0,
               d_input, l->in);
}

bool ms_dense_backward(struct ms_pass *p, ms_real *d_logits, ms_real *d_joined)
{
    ms_real *d = d_logits;
    for (uint32_t i = p->net->config.dense_count + 1; i-- > 0;) {
        ms_real *below =
            i == 0 ? d_joined : ms_scratch_reals(p->scratch, p->pack.rows * p->dense[i].in);
        if (!below)
            return false;
        layer_backward(p, i, d, below);
        d = below;
    }
    return true;
}
