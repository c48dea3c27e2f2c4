/* What recurrent layers of any cell share: steps in packed order, the projection of the input,
 * hidden states of the step before. The cells are in lstm.c and gru.c. */
#include "train/nn/private.h"

#include <string.h>

size_t ms_recurrent_step(const struct ms_pack *k, int direction, size_t s)
{
    return direction == 0 ? s : k->steps - 1 - s;
}

size_t ms_recurrent_before(const struct ms_pack *k, int direction, size_t t, size_t *before)
{
    if (direction == 0) {
        *before = t - 1;
        return t == 0 ? 0 : k->active[t];
    }
    *before = t + 1;
    return t + 1 < k->steps ? k->active[t + 1] : 0;
}

/* Z = X W + b for all steps at once (N x G). In the first layer once a distinct row (U x G), then
 * gathered by the cell step by step. b is the first row of the bias. */
static bool project(struct ms_pass *p, uint32_t layer, int direction)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    const size_t G = l->gates * l->hidden;
    const size_t rows = layer == 0 ? k->distinct : k->total;
    const ms_real *W = net->params + net->recurrent_at[layer][direction][MS_KERNEL]; /* I x G */
    const ms_real *b = net->params + net->recurrent_at[layer][direction][MS_BIAS];   /* G */
    ms_real *gates = l->side[direction].gates;
    if (layer == 0 && net->shared.on) {
        l->side[direction].projected = net->shared.projected[direction];
        return true;
    }
    ms_real *z = layer == 0 ? ms_scratch_reals(p->scratch, rows * G) : gates;
    if (!z)
        return false;
    for (size_t r = 0; r < rows; r++)
        memcpy(z + r * G, b, G * sizeof *b);
    ms_gemm(rows, G, l->in, l->input, l->in, W, G, 1, z, G);
    l->side[direction].projected = layer == 0 ? z : NULL;
    return true;
}

void ms_recurrent_take_hidden(struct ms_pass *p, struct ms_recurrent_layer *l, int direction,
                              size_t t, size_t before, size_t with_previous)
{
    const struct ms_pack *k = &p->pack;
    const size_t H = l->hidden;
    struct ms_recurrent_side *side = &l->side[direction];
    ms_real *prev = side->hidden_prev + k->offset[t] * H; /* active[t] x H */
    for (size_t r = 0; r < with_previous; r++)
        memcpy(prev + r * H, l->output + (k->offset[before] + r) * l->width + (size_t)direction * H,
               H * sizeof *prev);
    if (side->mask)
        p->net->kernels->multiply(with_previous * H, prev, side->mask, prev);
    memset(prev + with_previous * H, 0, (k->active[t] - with_previous) * H * sizeof *prev);
}

const ms_real *ms_recurrent_hidden(const struct ms_pass *p, const struct ms_recurrent_layer *l,
                                   int direction, size_t t, size_t before, size_t *stride)
{
    const struct ms_pack *k = &p->pack;
    const struct ms_recurrent_side *side = &l->side[direction];
    *stride = side->mask ? l->hidden : l->width;
    if (side->mask)
        return side->hidden_prev + k->offset[t] * l->hidden;
    if (before >= k->steps)
        return p->zeros;
    return l->output + k->offset[before] * l->width + (size_t)direction * l->hidden;
}

/* A sequence's last computed step is the first that its backward pass comes to. */
void ms_recurrent_start_back(const struct ms_pass *p, const struct ms_recurrent_layer *l,
                             int direction, const ms_real *d_output, ms_real *d_hidden)
{
    const size_t H = l->hidden, B = p->pack.rows;
    if (d_output)
        memset(d_hidden, 0, B * H * sizeof *d_hidden);
    for (size_t r = 0; !d_output && r < B; r++)
        memcpy(d_hidden + r * H, p->d_last + r * l->width + (size_t)direction * H,
               H * sizeof *d_hidden);
}

bool ms_recurrent_forward(struct ms_pass *p, uint32_t layer)
{
    const struct ms_net_recurrent *c = &p->net->config.recurrent[layer];
    const size_t N = p->pack.total;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    const size_t H = c->hidden;
    const int directions = c->bidirectional ? 2 : 1;
    l->in = ms_net_config_recurrent_input(&p->net->config, layer);
    l->hidden = H;
    l->gates = ms_net_config_gates(c);
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
        struct ms_recurrent_side *side = &l->side[d];
        side->gates = ms_scratch_reals(p->scratch, N * l->gates * H);
        side->hidden_prev = ms_scratch_reals(p->scratch, N * H);
        side->mask =
            ms_mask_new(p, MS_SITE_RECURRENT + 2 * layer + (unsigned)d, c->recurrent_dropout, H);
        if (p->scratch->failed || !project(p, layer, d))
            return false;
        if (!(c->cell == MS_NET_GRU ? ms_gru_forward_side : ms_lstm_forward_side)(p, layer, d))
            return false;
    }
    return true;
}

/* dW += X^T dz; dX (+)= dz W^T. In the first layer dz comes summed by distinct row (U x G), and db
 * += sum dz. */
static void project_backward(struct ms_pass *p, uint32_t layer, int direction, ms_real *d_input)
{
    const struct ms_net *net = p->net;
    const struct ms_pack *k = &p->pack;
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    const size_t G = l->gates * l->hidden;
    const size_t *at_param = net->recurrent_at[layer][direction];
    const ms_real *W = net->params + at_param[MS_KERNEL]; /* I x G */
    const ms_real *dz = l->side[direction].gates;         /* N x G */
    size_t rows = k->total;
    if (layer == 0) {
        rows = k->distinct;
        dz = l->side[direction].d_projected; /* U x G */
        net->kernels->column_sum(rows, G, dz, p->shard->grads + at_param[MS_BIAS]);
    }
    ms_gemm_ta(l->in, G, rows, l->input, l->in, dz, G, 1, p->shard->grads + at_param[MS_KERNEL], G);
    ms_gemm_tb(rows, l->in, G, dz, G, W, G, direction == 0 ? 0 : 1, d_input, l->in);
}

/* Where a direction of the first layer sums the gradients of its projections. */
static bool take_gradient(struct ms_pass *p, struct ms_recurrent_side *side, int direction,
                          size_t G)
{
    if (p->net->shared.on) {
        side->d_projected = p->shard->d_projected[direction];
        return true;
    }
    side->d_projected = ms_scratch_reals(p->scratch, p->pack.distinct * G);
    if (side->d_projected)
        memset(side->d_projected, 0, p->pack.distinct * G * sizeof *side->d_projected);
    return side->d_projected;
}

bool ms_recurrent_backward(struct ms_pass *p, uint32_t layer, const ms_real *d_output,
                           ms_real *d_input)
{
    struct ms_recurrent_layer *l = &p->recurrent[layer];
    const struct ms_net_recurrent *c = &p->net->config.recurrent[layer];
    for (int d = 0; d < (c->bidirectional ? 2 : 1); d++) {
        if (layer == 0 && !take_gradient(p, &l->side[d], d, l->gates * l->hidden))
            return false;
        if (!(c->cell == MS_NET_GRU ? ms_gru_backward_side : ms_lstm_backward_side)(p, layer, d,
                                                                                    d_output))
            return false;
        if (layer > 0 || !p->net->shared.on)
            project_backward(p, layer, d, d_input);
    }
    if (l->mask)
        ms_mask_apply_packed(p, l->mask, l->in, d_input, d_input);
    return true;
}
