/* One direction of an LSTM layer over packed sequences, forward and backward; gates are in
 * kernel.c. Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000), no peepholes; the
 * same cell as Keras and PyTorch. */
#include "train/nn/private.h"

#include <string.h>

/* What step t will write is asked for while the step before is multiplied: a line has to be there
 * before a part of it is written. */
static void plan_forward(const struct ms_pack *k, const struct ms_recurrent_side *side, size_t H,
                         size_t t, struct ms_packed_ahead *ahead)
{
    const size_t rows = k->active[t], at = k->offset[t];
    ms_packed_ahead_add(ahead, side->gates + at * 4 * H, rows * 4 * H * sizeof *side->gates);
    ms_packed_ahead_add(ahead, side->cell + at * H, rows * H * sizeof *side->cell);
    ms_packed_ahead_add(ahead, side->cell_act + at * H, rows * H * sizeof *side->cell_act);
}

/* What the forward pass of one direction works with. */
struct forward {
    ms_real *U;            /* H x 4H, packed */
    ms_real *step;         /* B x 4H  gates of a step that nobody asks for again; or NULL */
    const ms_real **start; /* B */
};

/* Only a backward pass asks for the steps again: without one (`keep`) two of them are enough. */
static bool start_forward(struct ms_pass *p, uint32_t layer, int direction, bool keep,
                          struct forward *out)
{
    const struct ms_pack *k = &p->pack;
    const size_t H = p->recurrent[layer].hidden;
    struct ms_recurrent_side *side = &p->recurrent[layer].side[direction];
    const size_t U_at = p->net->recurrent_at[layer][direction][MS_RECURRENT];
    out->U = ms_scratch_reals(p->scratch, ms_packed_right_size(4 * H, H));
    side->cell = ms_scratch_reals(p->scratch, (keep ? k->total : 2 * k->rows) * H);
    side->cell_act = ms_scratch_reals(p->scratch, (keep ? k->total : k->rows) * H);
    out->step = NULL;
    if (!keep && side->projected)
        out->step = ms_scratch_reals(p->scratch, k->rows * 4 * H);
    out->start = ms_scratch_take(p->scratch, k->rows, sizeof *out->start);
    if (p->scratch->failed)
        return false;
    ms_packed_right(4 * H, H, p->net->params + U_at, 4 * H, out->U);
    return true;
}

bool ms_lstm_forward_side(struct ms_pass *p, uint32_t layer, int direction)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    struct ms_recurrent_side *side = &l->side[direction];
    const size_t H = l->hidden;
    const struct ms_packed_kernels *packed = ms_packed_get();
    const bool keep = p->shard;
    struct forward w;
    if (!start_forward(p, layer, direction, keep, &w))
        return false;
    for (size_t s = 0; s < k->steps; s++) {
        size_t before;
        size_t t = ms_recurrent_step(k, direction, s);
        size_t at = k->offset[t];
        size_t with_previous = ms_recurrent_before(k, direction, t, &before);
        size_t stride;
        const ms_real *hidden = ms_recurrent_hidden(p, l, direction, t, before, &stride);
        if (side->mask)
            ms_recurrent_take_hidden(p, l, direction, t, before, with_previous);
        ms_real *gates = w.step ? w.step : side->gates + at * 4 * H;
        const size_t here = keep ? at : s % 2 * k->rows;
        const size_t there = !with_previous ? 0 : keep ? k->offset[before] : (s + 1) % 2 * k->rows;
        for (size_t r = 0; side->projected && r < k->active[t]; r++)
            w.start[r] = side->projected + k->slot[at + r] * 4 * H;
        struct ms_packed_ahead ahead = {0};
        if (keep && s + 1 < k->steps)
            plan_forward(k, side, H, ms_recurrent_step(k, direction, s + 1), &ahead);
        ms_packed_ahead_plan(&ahead, with_previous, 4 * H, H);
        const struct ms_product z = {.m = with_previous,
                                     .n = 4 * H,
                                     .k = H,
                                     .a = hidden,
                                     .lda = stride,
                                     .b = w.U,
                                     .start = side->projected ? w.start : NULL,
                                     .beta = 1,
                                     .c = gates,
                                     .ldc = 4 * H,
                                     .ahead = &ahead};
        packed->product(&z);
        for (size_t r = with_previous; side->projected && r < k->active[t]; r++)
            memcpy(gates + r * 4 * H, w.start[r], 4 * H * sizeof *gates);
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
static void plan_backward(const struct ms_pass *p, const struct ms_recurrent_layer *l,
                          int direction, size_t t, const ms_real *d_output,
                          struct ms_packed_ahead *ahead)
{
    const struct ms_pack *k = &p->pack;
    const struct ms_recurrent_side *side = &l->side[direction];
    const size_t rows = k->active[t], at = k->offset[t], H = l->hidden;
    size_t before, stride;
    const size_t with_previous = ms_recurrent_before(k, direction, t, &before);
    ms_packed_ahead_add(ahead, side->gates + at * 4 * H, rows * 4 * H * sizeof *side->gates);
    ms_packed_ahead_add(ahead, side->cell_act + at * H, rows * H * sizeof *side->cell_act);
    if (d_output)
        ms_packed_ahead_add(ahead, d_output + at * l->width, rows * l->width * sizeof *d_output);
    if (!with_previous)
        return;
    const ms_real *hidden = ms_recurrent_hidden(p, l, direction, t, before, &stride);
    ms_packed_ahead_add(ahead, side->cell + k->offset[before] * H,
                        with_previous * H * sizeof *side->cell);
    ms_packed_ahead_add(ahead, hidden, with_previous * stride * sizeof *hidden);
}

/* What the backward pass of one direction works with. */
struct backward {
    ms_real *U;        /* 4H x H, packed */
    ms_real *d_hidden; /* B x H */
    ms_real *d_cell;   /* B x H */
    struct ms_packed_sum dU;
};

static bool start_backward(struct ms_pass *p, uint32_t layer, int direction,
                           const ms_real *d_output, struct backward *out)
{
    const size_t H = p->recurrent[layer].hidden, B = p->pack.rows;
    const size_t U_at = p->net->recurrent_at[layer][direction][MS_RECURRENT];
    struct ms_packed_sum *dU = &out->dU;
    out->U = ms_scratch_reals(p->scratch, ms_packed_right_size(H, 4 * H));
    out->d_hidden = ms_scratch_reals(p->scratch, B * H);
    out->d_cell = ms_scratch_reals(p->scratch, B * H);
    *dU = (struct ms_packed_sum){
        .kernels = ms_packed_get(), .m = H, .n = 4 * H, .capacity = MS_RECURRENT_SUM_ROWS};
    dU->left = ms_scratch_reals(p->scratch, ms_packed_left_size(dU->m, dU->capacity));
    dU->right = ms_scratch_reals(p->scratch, ms_packed_right_size(dU->n, dU->capacity));
    dU->c = p->shard->grads + U_at;
    if (p->scratch->failed)
        return false;
    ms_packed_right_transposed(H, 4 * H, p->net->params + U_at, 4 * H, out->U);
    ms_recurrent_start_back(p, &p->recurrent[layer], direction, d_output, out->d_hidden);
    memset(out->d_cell, 0, B * H * sizeof *out->d_cell);
    return true;
}

/* From the last computed step to the first; leaves dz in place of the gates.
 * dh' = (dz U^T) * mask; dU += h'^T dz; db += sum dz, in the first layer behind all steps. */
bool ms_lstm_backward_side(struct ms_pass *p, uint32_t layer, int direction,
                           const ms_real *d_output)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    struct ms_recurrent_side *side = &l->side[direction];
    const size_t H = l->hidden;
    const size_t *at_param = net->recurrent_at[layer][direction];
    ms_real *sum = side->d_projected; /* NULL behind the first layer */
    struct backward w;
    if (!start_backward(p, layer, direction, d_output, &w))
        return false;
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
            .d_out = d_output ? d_output + at * l->width + (size_t)direction * H : p->zeros,
            .d_out_stride = d_output ? l->width : 0,
            .d_hidden = w.d_hidden,
            .d_cell = w.d_cell,
        };
        net->kernels->lstm_backward(&a, net->config.recurrent[layer].activation);
        size_t stride;
        const ms_real *hidden = ms_recurrent_hidden(p, l, direction, t, before, &stride);
        ms_packed_sum_add(&w.dU, with_previous, hidden, stride, a.gates, 4 * H);
        if (!sum)
            net->kernels->column_sum(a.rows, 4 * H, a.gates, p->shard->grads + at_param[MS_BIAS]);
        for (size_t r = 0; sum && r < a.rows; r++)
            net->kernels->add(4 * H, a.gates + r * 4 * H, sum + k->slot[at + r] * 4 * H);
        struct ms_packed_ahead ahead = {0};
        if (s > 0)
            plan_backward(p, l, direction, ms_recurrent_step(k, direction, s - 1), d_output,
                          &ahead);
        ms_packed_ahead_plan(&ahead, with_previous, H, 4 * H);
        const struct ms_product back = {.m = with_previous,
                                        .n = H,
                                        .k = 4 * H,
                                        .a = a.gates,
                                        .lda = 4 * H,
                                        .b = w.U,
                                        .c = w.d_hidden,
                                        .ldc = H,
                                        .ahead = &ahead};
        w.dU.kernels->product(&back);
        if (side->mask)
            net->kernels->multiply(with_previous * H, w.d_hidden, side->mask, w.d_hidden);
    }
    ms_packed_sum_flush(&w.dU);
    return true;
}
