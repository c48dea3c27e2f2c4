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
    const size_t H = l->hidden, G = 3 * H;
    const size_t *at_param = net->recurrent_at[layer][direction];
    const struct ms_packed_kernels *packed = ms_packed_get();
    ms_real *U = ms_scratch_reals(p->scratch, ms_packed_right_size(G, H)); /* H x 3H, packed */
    ms_real *inner = ms_scratch_reals(p->scratch, k->rows * G);            /* B x 3H */
    side->candidate = ms_scratch_reals(p->scratch, k->total * H);
    if (p->scratch->failed)
        return false;
    ms_packed_right(G, H, net->params + at_param[MS_RECURRENT], G, U);
    for (size_t s = 0; s < k->steps; s++) {
        size_t before, stride;
        size_t t = ms_recurrent_step(k, direction, s);
        size_t at = k->offset[t];
        size_t with_previous = ms_recurrent_before(k, direction, t, &before);
        const ms_real *hidden = ms_recurrent_hidden(p, l, direction, t, before, &stride);
        if (side->mask)
            ms_recurrent_take_hidden(p, l, direction, t, before, with_previous);
        ms_real *gates = side->gates + at * G;
        for (size_t r = 0; side->projected && r < k->active[t]; r++)
            memcpy(gates + r * G, side->projected + k->slot[at + r] * G, G * sizeof *gates);
        const struct ms_product product = {.m = with_previous,
                                           .n = G,
                                           .k = H,
                                           .a = hidden,
                                           .lda = stride,
                                           .b = U,
                                           .c = inner,
                                           .ldc = G};
        packed->product(&product);
        struct ms_gru_forward a = {
            .rows = k->active[t],
            .with_previous = with_previous,
            .hidden = H,
            .gates = gates,
            .inner = inner,
            .bias = net->params + at_param[MS_BIAS] + G,
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

/* What the backward pass of one direction works with. */
struct backward {
    ms_real *U;        /* 3H x H, packed */
    ms_real *inner;    /* B x 3H  dz dr dq of the step */
    ms_real *d_hidden; /* B x H */
    ms_real *through;  /* B x H  dL/dh' through U alone */
    struct ms_packed_sum dU;
};

static bool start_backward(struct ms_pass *p, uint32_t layer, int direction, struct backward *out)
{
    const struct ms_pack *k = &p->pack;
    const size_t H = p->recurrent[layer].hidden, G = 3 * H;
    const size_t U_at = p->net->recurrent_at[layer][direction][MS_RECURRENT];
    out->U = ms_scratch_reals(p->scratch, ms_packed_right_size(H, G));
    out->inner = ms_scratch_reals(p->scratch, k->rows * G);
    out->d_hidden = ms_scratch_reals(p->scratch, k->rows * H);
    out->through = ms_scratch_reals(p->scratch, k->rows * H);
    struct ms_packed_sum *dU = &out->dU;
    *dU = (struct ms_packed_sum){
        .kernels = ms_packed_get(), .m = H, .n = G, .capacity = MS_RECURRENT_SUM_ROWS};
    dU->left = ms_scratch_reals(p->scratch, ms_packed_left_size(H, dU->capacity));
    dU->right = ms_scratch_reals(p->scratch, ms_packed_right_size(G, dU->capacity));
    dU->c = p->shard->grads + U_at;
    if (p->scratch->failed)
        return false;
    ms_packed_right_transposed(H, G, p->net->params + U_at, G, out->U);
    return true;
}

/* dU += h'^T [dz dr dq]; the recurrent bias gets the sums of dz dr dq, the input's those of dz dr
 * dn: in the first layer they are summed by distinct row here, and its bias is done behind all
 * steps. */
static void add_gradients(struct ms_pass *p, uint32_t layer, int direction, size_t t,
                          struct backward *w)
{
    const struct ms_kernels *kernels = p->net->kernels;
    const struct ms_pack *k = &p->pack;
    const struct ms_recurrent_layer *l = &p->recurrent[layer];
    const struct ms_recurrent_side *side = &l->side[direction];
    const size_t G = 3 * l->hidden, at = k->offset[t], rows = k->active[t];
    const ms_real *gates = side->gates + at * G;
    ms_real *db = p->shard->grads + p->net->recurrent_at[layer][direction][MS_BIAS];
    size_t before, stride;
    size_t with_previous = ms_recurrent_before(k, direction, t, &before);
    const ms_real *hidden = ms_recurrent_hidden(p, l, direction, t, before, &stride);
    ms_packed_sum_add(&w->dU, with_previous, hidden, stride, w->inner, G);
    if (!side->projected)
        kernels->column_sum(rows, G, gates, db);
    kernels->column_sum(rows, G, w->inner, db + G);
    for (size_t r = 0; side->projected && r < rows; r++)
        kernels->add(G, gates + r * G, side->d_projected + k->slot[at + r] * G);
}

/* dh' = dh z + ([dz dr dq] U^T) * mask. */
static void hidden_backward(const struct ms_pass *p, const struct ms_recurrent_side *side, size_t H,
                            size_t with_previous, struct backward *w)
{
    const struct ms_product product = {.m = with_previous,
                                       .n = H,
                                       .k = 3 * H,
                                       .a = w->inner,
                                       .lda = 3 * H,
                                       .b = w->U,
                                       .beta = side->mask ? 0 : 1,
                                       .c = side->mask ? w->through : w->d_hidden,
                                       .ldc = H};
    ms_packed_get()->product(&product);
    if (side->mask) {
        p->net->kernels->multiply(with_previous * H, w->through, side->mask, w->through);
        p->net->kernels->add(with_previous * H, w->through, w->d_hidden);
    }
}

/* From the last computed step to the first; leaves dz dr dn in place of the gates. */
bool ms_gru_backward_side(struct ms_pass *p, uint32_t layer, int direction, const ms_real *d_output)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    struct ms_recurrent_side *side = &l->side[direction];
    const size_t H = l->hidden;
    struct backward w;
    if (!start_backward(p, layer, direction, &w))
        return false;
    ms_recurrent_start_back(p, l, direction, d_output, w.d_hidden);
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
            .inner = w.inner,
            .zeros = p->zeros,
            .out_prev = with_previous ? carried(p, l, direction, before) : p->zeros,
            .d_out = d_output ? d_output + at * l->width + (size_t)direction * H : p->zeros,
            .d_out_stride = d_output ? l->width : 0,
            .stride = l->width,
            .d_hidden = w.d_hidden,
        };
        net->kernels->gru_backward(&a, net->config.recurrent[layer].activation);
        add_gradients(p, layer, direction, t, &w);
        hidden_backward(p, side, H, with_previous, &w);
    }
    ms_packed_sum_flush(&w.dU);
    return true;
}
