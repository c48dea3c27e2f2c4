/* LSTM layers over packed sequences, one or two directions, forward and backward; gates are in
 * kernel.c. Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000), no peepholes; the
 * same cell as Keras and PyTorch. */
#include "train/nn/private.h"

#include <string.h>

/* The step that a direction computes as number s of T, and whether there is one before it. */
static size_t step_at(const struct ms_pack *k, int direction, size_t s)
{
    return direction == 0 ? s : k->steps - 1 - s;
}

/* The step before t in the direction, and how many of t's rows were alive then: forward all of
 * them, backward only those whose sequence goes on after t. */
static size_t rows_before(const struct ms_pack *k, int direction, size_t t, size_t *before)
{
    if (direction == 0) {
        *before = t - 1;
        return t == 0 ? 0 : k->active[t];
    }
    *before = t + 1;
    return t + 1 < k->steps ? k->active[t + 1] : 0;
}

/* Z = X W + b for all steps at once (N x 4H). In the first layer once a distinct row (U x 4H), then
 * gathered. */
static bool project(struct ms_pass *p, uint32_t layer, int direction)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    const size_t G = 4 * l->hidden;
    const size_t rows = layer == 0 ? k->distinct : k->total;
    const ms_real *W = net->params + net->recurrent_at[layer][direction][MS_KERNEL]; /* I x 4H */
    const ms_real *b = net->params + net->recurrent_at[layer][direction][MS_BIAS];   /* 4H */
    ms_real *gates = l->side[direction].gates;
    ms_real *z = layer == 0 ? ms_scratch_reals(p->scratch, rows * G) : gates;
    if (!z)
        return false;
    for (size_t r = 0; r < rows; r++)
        memcpy(z + r * G, b, G * sizeof *b);
    ms_gemm(rows, G, l->in, l->input, l->in, W, G, 1, z, G);
    for (size_t r = 0; layer == 0 && r < k->total; r++)
        memcpy(gates + r * G, z + k->slot[r] * G, G * sizeof *z);
    return true;
}

/* h' of step t: the outputs of the step before times the recurrent mask; zeros for rows that start
 * here. */
static void take_hidden(struct ms_pass *p, struct ms_recurrent_layer *l, int direction, size_t t,
                        size_t before, size_t with_previous)
{
    const struct ms_pack *k = &p->pack;
    const size_t H = l->hidden;
    struct ms_lstm_side *side = &l->side[direction];
    ms_real *prev = side->hidden_prev + k->offset[t] * H; /* active[t] x H */
    for (size_t r = 0; r < with_previous; r++)
        memcpy(prev + r * H, l->output + (k->offset[before] + r) * l->width + (size_t)direction * H,
               H * sizeof *prev);
    if (side->mask)
        p->net->kernels->multiply(with_previous * H, prev, side->mask, prev);
    memset(prev + with_previous * H, 0, (k->active[t] - with_previous) * H * sizeof *prev);
}

static void side_forward(struct ms_pass *p, uint32_t layer, int direction)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    struct ms_lstm_side *side = &l->side[direction];
    const size_t H = l->hidden;
    const ms_real *U = net->params + net->recurrent_at[layer][direction][MS_RECURRENT]; /* H x 4H */
    for (size_t s = 0; s < k->steps; s++) {
        size_t before;
        size_t t = step_at(k, direction, s);
        size_t at = k->offset[t];
        size_t with_previous = rows_before(k, direction, t, &before);
        take_hidden(p, l, direction, t, before, with_previous);
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
}

bool ms_lstm_forward_pass(struct ms_pass *p, uint32_t layer)
{
    const struct ms_net_recurrent *c = &p->net->config.recurrent[layer];
    const size_t N = p->pack.total;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    const size_t H = c->hidden;
    const int directions = c->bidirectional ? 2 : 1;
    l->in = ms_net_config_recurrent_input(&p->net->config, layer);
    l->hidden = H;
    l->width = H * (size_t)directions;
    if (layer == 0) {
        l->input = p->distinct;
    } else {
        l->input = p->recurrent[layer - 1].output;
        l->mask = ms_mask_new(p, MS_SITE_INPUT + layer, c->input_dropout, l->in);
        if (l->mask) {
            ms_real *masked = ms_scratch_reals(p->scratch, N * l->in);
            if (!masked)
                return false;
            ms_mask_apply_packed(p, l->mask, l->in, l->input, masked);
            l->input = masked;
        }
    }
    l->output = ms_scratch_reals(p->scratch, N * l->width);
    for (int d = 0; d < directions; d++) {
        struct ms_lstm_side *side = &l->side[d];
        side->gates = ms_scratch_reals(p->scratch, N * 4 * H);
        side->cell = ms_scratch_reals(p->scratch, N * H);
        side->cell_act = ms_scratch_reals(p->scratch, N * H);
        side->hidden_prev = ms_scratch_reals(p->scratch, N * H);
        side->mask =
            ms_mask_new(p, MS_SITE_RECURRENT + 2 * layer + (unsigned)d, c->recurrent_dropout, H);
        if (p->scratch->failed || !project(p, layer, d))
            return false;
        side_forward(p, layer, d);
    }
    return true;
}

/* From the last computed step to the first; leaves dz in place of the gates.
 * dh' = (dz U^T) * mask; dU += h'^T dz; db += sum dz. */
static bool side_backward(struct ms_pass *p, uint32_t layer, int direction, const ms_real *d_output)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    struct ms_lstm_side *side = &l->side[direction];
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
        size_t t = step_at(k, direction, s);
        size_t at = k->offset[t];
        size_t with_previous = rows_before(k, direction, t, &before);
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

/* dW += X^T dz; dX (+)= dz W^T. In the first layer dz is first summed by distinct row (U x 4H). */
static bool project_backward(struct ms_pass *p, uint32_t layer, int direction, ms_real *d_input)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    const size_t G = 4 * l->hidden;
    const size_t *at_param = net->recurrent_at[layer][direction];
    const ms_real *W = net->params + at_param[MS_KERNEL]; /* I x 4H */
    const ms_real *dz = l->side[direction].gates;         /* N x 4H */
    size_t rows = k->total;
    if (layer == 0) {
        rows = k->distinct;
        ms_real *sum = ms_scratch_reals(p->scratch, rows * G); /* U x 4H */
        if (!sum)
            return false;
        memset(sum, 0, rows * G * sizeof *sum);
        for (size_t r = 0; r < k->total; r++)
            net->kernels->add(G, dz + r * G, sum + k->slot[r] * G);
        dz = sum;
    }
    ms_gemm_ta(l->in, G, rows, l->input, l->in, dz, G, 1, p->shard->grads + at_param[MS_KERNEL], G);
    ms_gemm_tb(rows, l->in, G, dz, G, W, G, direction == 0 ? 0 : 1, d_input, l->in);
    return true;
}

bool ms_lstm_backward_pass(struct ms_pass *p, uint32_t layer, const ms_real *d_output,
                           ms_real *d_input)
{
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    const int directions = p->net->config.recurrent[layer].bidirectional ? 2 : 1;
    for (int d = 0; d < directions; d++)
        if (!side_backward(p, layer, d, d_output) || !project_backward(p, layer, d, d_input))
            return false;
    if (l->mask)
        ms_mask_apply_packed(p, l->mask, l->in, d_input, d_input);
    return true;
}
