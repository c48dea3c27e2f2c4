/* Attention pooling (Bahdanau et al. 2015; Yang et al. 2016): the sum of the steps weighted by a
 * softmax over them of v . tanh(h_t W + b). Forward and backward. */
#include "train/nn/private.h"

#include <math.h>
#include <string.h>

/* Weights of the steps of sequence b in place of their scores; the exponentials in double. */
static void softmax_steps(const struct ms_pack *k, size_t b, ms_real *weight)
{
    double top = -INFINITY;
    double sum = 0;
    for (size_t t = 0; t < k->length[b]; t++)
        top = fmax(top, (double)weight[k->offset[t] + b]);
    for (size_t t = 0; t < k->length[b]; t++)
        sum += exp((double)weight[k->offset[t] + b] - top);
    for (size_t t = 0; t < k->length[b]; t++) {
        ms_real *w = &weight[k->offset[t] + b];
        *w = (ms_real)(exp((double)*w - top) / sum);
    }
}

bool ms_attention_forward(struct ms_pass *p)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    const size_t N = k->total;
    const size_t A = net->config.attention;
    const size_t W = ms_net_config_pooled(&net->config);
    const ms_real *kernel = net->params + net->attention_at[MS_KERNEL];      /* W x A */
    const ms_real *bias = net->params + net->attention_at[1];                /* A */
    const ms_real *v = net->params + net->attention_at[MS_ATTENTION_VECTOR]; /* A */
    p->attention = ms_scratch_reals(p->scratch, N * A);
    p->attention_weight = ms_scratch_reals(p->scratch, N);
    if (p->scratch->failed)
        return false;
    for (size_t r = 0; r < N; r++)
        memcpy(p->attention + r * A, bias, A * sizeof *bias);
    ms_gemm(N, A, W, p->features, W, kernel, A, 1, p->attention, A);
    net->kernels->activate(N * A, p->attention, MS_NET_TANH);
    for (size_t r = 0; r < N; r++)
        p->attention_weight[r] = net->kernels->dot(A, p->attention + r * A, v);
    for (size_t b = 0; b < k->rows; b++) {
        softmax_steps(k, b, p->attention_weight);
        for (size_t t = 0; t < k->length[b]; t++) {
            const size_t r = k->offset[t] + b;
            net->kernels->scale_add(W, p->attention_weight[r], p->features + r * W,
                                    p->pooled + b * W);
        }
    }
    return true;
}

/* With weights a_t: dF_t = a_t dP, da_t = dP . F_t, ds_t = a_t (da_t - sum of a da); then v, W and
 * b and the steps through them: dv += ds_t S_t, dS_t = ds_t v (1 - S_t^2). */
bool ms_attention_backward(struct ms_pass *p, const ms_real *d_pooled, ms_real *d_features)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    const size_t N = k->total;
    const size_t A = net->config.attention;
    const size_t W = ms_net_config_pooled(&net->config);
    const ms_real *v = net->params + net->attention_at[MS_ATTENTION_VECTOR];
    ms_real *grads = p->shard->grads;
    ms_real *d_score = ms_scratch_reals(p->scratch, N);
    ms_real *d_inner = ms_scratch_reals(p->scratch, N * A); /* N x A */
    if (p->scratch->failed)
        return false;
    memset(d_inner, 0, N * A * sizeof *d_inner);
    for (size_t b = 0; b < k->rows; b++) {
        double mean = 0;
        for (size_t t = 0; t < k->length[b]; t++) {
            const size_t r = k->offset[t] + b;
            const ms_real a = p->attention_weight[r];
            d_score[r] = net->kernels->dot(W, d_pooled + b * W, p->features + r * W);
            mean += (double)a * (double)d_score[r];
            net->kernels->scale_add(W, a, d_pooled + b * W, d_features + r * W);
        }
        for (size_t t = 0; t < k->length[b]; t++) {
            const size_t r = k->offset[t] + b;
            d_score[r] = (ms_real)((double)p->attention_weight[r] * ((double)d_score[r] - mean));
            net->kernels->scale_add(A, d_score[r], p->attention + r * A,
                                    grads + net->attention_at[MS_ATTENTION_VECTOR]);
            net->kernels->scale_add(A, d_score[r], v, d_inner + r * A);
        }
    }
    net->kernels->activate_backward(N * A, p->attention, d_inner, MS_NET_TANH);
    ms_gemm_ta(W, A, N, p->features, W, d_inner, A, 1, grads + net->attention_at[MS_KERNEL], A);
    net->kernels->column_sum(N, A, d_inner, grads + net->attention_at[1]);
    ms_gemm_tb(N, W, A, d_inner, A, net->params + net->attention_at[MS_KERNEL], A, 1, d_features,
               W);
    return true;
}
