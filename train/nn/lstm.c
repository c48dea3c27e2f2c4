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
    const struct ms_packed_kernels *packed = ms_packed_get();
    ms_real *U = ms_scratch_reals(p->scratch, ms_packed_right_size(4 * H, H)); /* H x 4H, packed */
    /* Only a backward pass asks for the steps again: a prediction keeps two of them. */
    const bool keep = p->shard;
    side->cell = ms_scratch_reals(p->scratch, (keep ? k->total : 2 * k->rows) * H);
    side->cell_act = ms_scratch_reals(p->scratch, (keep ? k->total : k->rows) * H);
    ms_real *step = keep || !side->projected ? NULL : ms_scratch_reals(p->scratch, k->rows * 4 * H);
    const ms_real **start = ms_scratch_take(p->scratch, k->rows, sizeof *start); /* B */
    if (p->scratch->failed)
        return false;
    ms_packed_right(4 * H, H, net->params + net->recurrent_at[layer][direction][MS_RECURRENT],
                    4 * H, U);
    for (size_t s = 0; s < k->steps; s++) {
        size_t before;
        size_t t = ms_recurrent_step(k, direction, s);
        size_t at = k->offset[t];
        size_t with_previous = ms_recurrent_before(k, direction, t, &before);
        size_t stride;
        const ms_real *hidden = ms_recurrent_hidden(p, l, direction, t, before, &stride);
        if (side->mask)
            ms_recurrent_take_hidden(p, l, direction, t, before, with_previous);
        ms_real *gates = step ? step : side->gates + at * 4 * H;
        const size_t here = keep ? at : s % 2 * k->rows;
        const size_t there = !with_previous ? 0 : keep ? k->offset[before] : (s + 1) % 2 * k->rows;
        for (size_t r = 0; side->projected && r < k->active[t]; r++)
            start[r] = side->projected + k->slot[at + r] * 4 * H;
        const struct ms_product z = {.m = with_previous,
                                     .n = 4 * H,
                                     .k = H,
                                     .a = hidden,
                                     .lda = stride,
                                     .b = U,
                                     .start = side->projected ? start : NULL,
                                     .beta = 1,
                                     .c = gates,
                                     .ldc = 4 * H};
        packed->product(&z);
        for (size_t r = with_previous; side->projected && r < k->active[t]; r++)
            memcpy(gates + r * 4 * H, start[r], 4 * H * sizeof *gates);
        struct ms_lstm_forward a = {
            .rows = k->active[t],
            .with_previous = with_previous,
            .hidden = H,
            .gates = gates,
            .cell_prev = with_previous ? side->cell + there * H : p->zeros,
            .zeros = p->zeros,
            .cell = side->cell + here * H,
            .cell_act = side->cell_act + (keep ? at * H : 0),
            .out = l->output + at * l->width + (size_t)direction * H,
            .out_stride = l->width,
        };
        net->kernels->lstm_forward(&a, net->config.recurrent[layer].activation);
    }
    return true;
}

/* What step t reads left the cache in the forward pass: it is asked for while the step before is
 * multiplied. */
static void plan_ahead(const struct ms_pack *k, const struct ms_recurrent_layer *l, int direction,
                       size_t t, const ms_real *d_output, struct ms_packed_ahead *ahead)
{
    const struct ms_recurrent_side *side = &l->side[direction];
    const size_t rows = k->active[t], at = k->offset[t], H = l->hidden;
    ms_packed_ahead_add(ahead, side->gates + at * 4 * H, rows * 4 * H * sizeof *side->gates);
    ms_packed_ahead_add(ahead, side->cell + at * H, rows * H * sizeof *side->cell);
    ms_packed_ahead_add(ahead, side->cell_act + at * H, rows * H * sizeof *side->cell_act);
    ms_packed_ahead_add(ahead, d_output + at * l->width, rows * l->width * sizeof *d_output);
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
    const struct ms_packed_kernels *packed = ms_packed_get();
    ms_real *U = ms_scratch_reals(p->scratch, ms_packed_right_size(H, 4 * H)); /* 4H x H, packed */
    struct ms_packed_sum dU = {
        .kernels = packed, .m = H, .n = 4 * H, .capacity = MS_RECURRENT_SUM_ROWS};
    dU.left = ms_scratch_reals(p->scratch, ms_packed_left_size(dU.m, dU.capacity));
    dU.right = ms_scratch_reals(p->scratch, ms_packed_right_size(dU.n, dU.capacity));
    ms_real *d_hidden = ms_scratch_reals(p->scratch, k->rows * H); /* B x H */
    ms_real *d_cell = ms_scratch_reals(p->scratch, k->rows * H);   /* B x H */
    ms_real *sum = side->d_projected;                              /* NULL behind the first layer */
    if (p->scratch->failed)
        return false;
    dU.c = p->shard->grads + at_param[MS_RECURRENT];
    ms_packed_right_transposed(H, 4 * H, net->params + at_param[MS_RECURRENT], 4 * H, U);
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
        size_t stride;
        const ms_real *hidden = ms_recurrent_hidden(p, l, direction, t, before, &stride);
        ms_packed_sum_add(&dU, with_previous, hidden, stride, a.gates, 4 * H);
        net->kernels->column_sum(a.rows, 4 * H, a.gates, p->shard->grads + at_param[MS_BIAS]);
        for (size_t r = 0; sum && r < a.rows; r++)
            net->kernels->add(4 * H, a.gates + r * 4 * H, sum + k->slot[at + r] * 4 * H);
        struct ms_packed_ahead ahead = {0};
        if (s > 0)
            plan_ahead(k, l, direction, ms_recurrent_step(k, direction, s - 1), d_output, &ahead);
        ms_packed_ahead_plan(&ahead, with_previous, H, 4 * H);
        const struct ms_product back = {.m = with_previous,
                                        .n = H,
                                        .k = 4 * H,
                                        .a = a.gates,
                                        .lda = 4 * H,
                                        .b = U,
                                        .c = d_hidden,
                                        .ldc = H,
                                        .ahead = &ahead};
        packed->product(&back);
        if (side->mask)
            net->kernels->multiply(with_previous * H, d_hidden, side->mask, d_hidden);
    }
    ms_packed_sum_flush(&dU);
    return true;
}
