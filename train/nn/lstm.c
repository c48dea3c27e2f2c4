/* One direction of an LSTM layer over packed sequences, forward and backward; gates are in
 * kernel.c. Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000), no peepholes; the
 * same cell as Keras and PyTorch. */
#include "train/nn/private.h"

#include <string.h>

bool ms_lstm_forward_side(struct ms_pass *p, uint32_t layer, int direction)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    struct ms_recurrent_side *side = &l->side[direction];
    const size_t H = l->hidden;
    const ms_real *U = net->params + net->recurrent_at[layer][direction][MS_RECURRENT]; /* H x 4H */
    side->cell = ms_scratch_reals(p->scratch, k->total * H);
    side->cell_act = ms_scratch_reals(p->scratch, k->total * H);
    if (p->scratch->failed)
        return false;
    for (size_t s = 0; s < k->steps; s++) {
        size_t before;
        size_t t = ms_recurrent_step(k, direction, s);
        size_t at = k->offset[t];
        size_t with_previous = ms_recurrent_before(k, direction, t, &before);
        ms_recurrent_take_hidden(p, l, direction, t, before, with_previous);
        ms_real *gates = side->gates + at * 4 * H;
        ms_gemm(with_previous, 4 * H, H, side->hidden_prev + at * H, H, U, 4 * H, 1, gates, 4 * H);
        struct ms_lstm_forward a = {
            .rows = k->active[t],
            .with_previous = with_previous,
            .hidden = H,
            .gates = gates,
            .cell_prev = with_previous ? side->cell + k->offset[before] * H : p->zeros,
            .zeros = p->zeros,
            .cell = side->cell + at * H,
            .cell_act = side->cell_act + at * H,
            .out = l->output + at * l->width + (size_t)direction * H,
            .out_stride = l->width,
        };
        net->kernels->lstm_forward(&a, net->config.recurrent[layer].activation);
    }
    return true;
}

/* From the last computed step to the first; leaves dz in place of the gates.
 * dh' = (dz U^T) * mask; dU += h'^T dz; db += sum dz. */
bool ms_lstm_backward_side(struct ms_pass *p, uint32_t layer, int direction,
                           const ms_real *d_output)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    struct ms_recurrent_side *side = &l->side[direction];
    const size_t H = l->hidden;
    const size_t *at_param = net->recurrent_at[layer][direction];
    const ms_real *U = net->params + at_param[MS_RECURRENT];       /* H x 4H */
    ms_real *d_hidden = ms_scratch_reals(p->scratch, k->rows * H); /* B x H */
    ms_real *d_cell = ms_scratch_reals(p->scratch, k->rows * H);   /* B x H */
    if (!d_hidden || !d_cell)
        return false;
    memset(d_hidden, 0, k->rows * H * sizeof *d_hidden);
    memset(d_cell, 0, k->rows * H * sizeof *d_cell);
    for (size_t s = k->steps; s-- > 0;) {
        size_t before;
        size_t t = ms_recurrent_step(k, direction, s);
        size_t at = k->offset[t];
        size_t with_previous = ms_recurrent_before(k, direction, t, &before);
        struct ms_lstm_backward a = {
            .rows = k->active[t],
            .with_previous = with_previous,
            .hidden = H,
            .gates = side->gates + at * 4 * H,
            .cell_prev = with_previous ? side->cell + k->offset[before] * H : p->zeros,
            .zeros = p->zeros,
            .cell_act = side->cell_act + at * H,
            .d_out = d_output + at * l->width + (size_t)direction * H,
            .d_out_stride = l->width,
            .d_hidden = d_hidden,
            .d_cell = d_cell,
        };
        net->kernels->lstm_backward(&a, net->config.recurrent[layer].activation);
        ms_gemm_tb(with_previous, H, 4 * H, a.gates, 4 * H, U, 4 * H, 0, d_hidden, H);
        if (side->mask)
            net->kernels->multiply(with_previous * H, d_hidden, side->mask, d_hidden);
    }
    ms_real *grads = p->shard->grads;
    ms_gemm_ta(H, 4 * H, k->total, side->hidden_prev, H, side->gates, 4 * H, 1,
               grads + at_param[MS_RECURRENT], 4 * H);
    net->kernels->column_sum(k->total, 4 * H, side->gates, grads + at_param[MS_BIAS]);
    return true;
}
