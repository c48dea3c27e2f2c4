/* One direction of a GRU layer over packed sequences, forward and backward; gates are in
 * kernel_gru.c. Cho et al. 2014 with the reset gate behind the recurrent product, the cell of
 * PyTorch and of Keras's `reset_after`. */
#include "train/nn/private.h"

#include <string.h>

/* The outputs of the step before, without dropout: what the cell carries on. */
static const ms_real *carried(const struct ms_pass *p, const struct ms_recurrent_layer *l,
                              int direction, size_t before)
{
    return l->output + p->pack.offset[before] * l->width + (size_t)direction * l->hidden;
}

bool ms_gru_forward_side(struct ms_pass *p, uint32_t layer, int direction)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    struct ms_recurrent_side *side = &l->side[direction];
    const size_t H = l->hidden;
    const size_t *at_param = net->recurrent_at[layer][direction];
    const ms_real *U = net->params + at_param[MS_RECURRENT];        /* H x 3H */
    ms_real *inner = ms_scratch_reals(p->scratch, k->rows * 3 * H); /* B x 3H */
    side->candidate = ms_scratch_reals(p->scratch, k->total * H);
    if (p->scratch->failed)
        return false;
    for (size_t s = 0; s < k->steps; s++) {
        size_t before;
        size_t t = ms_recurrent_step(k, direction, s);
        size_t at = k->offset[t];
        size_t with_previous = ms_recurrent_before(k, direction, t, &before);
        ms_recurrent_take_hidden(p, l, direction, t, before, with_previous);
        ms_gemm(with_previous, 3 * H, H, side->hidden_prev + at * H, H, U, 3 * H, 0, inner, 3 * H);
        struct ms_gru_forward a = {
            .rows = k->active[t],
            .with_previous = with_previous,
            .hidden = H,
            .gates = side->gates + at * 3 * H,
            .inner = inner,
            .bias = net->params + at_param[MS_BIAS] + 3 * H,
            .zeros = p->zeros,
            .candidate = side->candidate + at * H,
            .out_prev = with_previous ? carried(p, l, direction, before) : p->zeros,
            .out = l->output + at * l->width + (size_t)direction * H,
            .stride = l->width,
        };
        net->kernels->gru_forward(&a, net->config.recurrent[layer].activation);
    }
    return true;
}

/* dU += h'^T [dz dr dq]; the input's bias gets the sums of dz dr dn, the recurrent one's those of
 * dz dr dq. */
static bool add_gradients(struct ms_pass *p, uint32_t layer, int direction)
{
    const struct ms_net *net = p->net;
    const size_t N = p->pack.total;
    const struct ms_recurrent_side *side = &p->recurrent[layer].side[direction];
    const size_t H = p->recurrent[layer].hidden;
    const size_t *at_param = net->recurrent_at[layer][direction];
    ms_real *dU = p->shard->grads + at_param[MS_RECURRENT];
    ms_real *db = p->shard->grads + at_param[MS_BIAS];
    ms_real *sum = ms_scratch_reals(p->scratch, 3 * H);
    if (!sum)
        return false;
    ms_gemm_ta(H, 2 * H, N, side->hidden_prev, H, side->gates, 3 * H, 1, dU, 3 * H);
    ms_gemm_ta(H, H, N, side->hidden_prev, H, side->candidate, H, 1, dU + 2 * H, 3 * H);
    memset(sum, 0, 3 * H * sizeof *sum);
    net->kernels->column_sum(N, 3 * H, side->gates, sum);
    net->kernels->add(3 * H, sum, db);
    net->kernels->add(2 * H, sum, db + 3 * H);
    net->kernels->column_sum(N, H, side->candidate, db + 5 * H);
    return true;
}

/* From the last computed step to the first; leaves dz dr dn in place of the gates.
 * dh' = dh z + ([dz dr dq] U^T) * mask. */
bool ms_gru_backward_side(struct ms_pass *p, uint32_t layer, int direction, const ms_real *d_output)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    struct ms_recurrent_side *side = &l->side[direction];
    const size_t H = l->hidden;
    const ms_real *U = net->params + net->recurrent_at[layer][direction][MS_RECURRENT];
    ms_real *inner = ms_scratch_reals(p->scratch, k->rows * 3 * H); /* B x 3H */
    ms_real *d_hidden = ms_scratch_reals(p->scratch, k->rows * H);  /* B x H */
    ms_real *through = ms_scratch_reals(p->scratch, k->rows * H);   /* B x H, before the mask */
    if (p->scratch->failed)
        return false;
    memset(d_hidden, 0, k->rows * H * sizeof *d_hidden);
    for (size_t s = k->steps; s-- > 0;) {
        size_t before;
        size_t t = ms_recurrent_step(k, direction, s);
        size_t at = k->offset[t];
        size_t with_previous = ms_recurrent_before(k, direction, t, &before);
        struct ms_gru_backward a = {
            .rows = k->active[t],
            .with_previous = with_previous,
            .hidden = H,
            .gates = side->gates + at * 3 * H,
            .candidate = side->candidate + at * H,
            .inner = inner,
            .zeros = p->zeros,
            .out_prev = with_previous ? carried(p, l, direction, before) : p->zeros,
            .d_out = d_output + at * l->width + (size_t)direction * H,
            .stride = l->width,
            .d_hidden = d_hidden,
        };
        net->kernels->gru_backward(&a, net->config.recurrent[layer].activation);
        ms_gemm_tb(with_previous, H, 3 * H, inner, 3 * H, U, 3 * H, side->mask ? 0 : 1,
                   side->mask ? through : d_hidden, H);
        if (side->mask) {
            net->kernels->multiply(with_previous * H, through, side->mask, through);
            net->kernels->add(with_previous * H, through, d_hidden);
        }
    }
    return add_gradients(p, layer, direction);
}
