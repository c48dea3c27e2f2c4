/* The embedding of a pass as a table of its distinct rows. A vocabulary of hundreds is far smaller
 * than rows times steps, so everything linear behind the embedding (dropout masks that are constant
 * over a sequence, the first input projection) is computed once a distinct row and gathered. */
#include "train/nn/private.h"

#include <string.h>

/* X[u] = (table[token of u] + sum over f of feature f's row of u) * mask[row of u] */
bool ms_embed_forward(struct ms_pass *p)
{
    const struct ms_net *net = p->net;
    const size_t E = net->config.embedding;
    const size_t F = net->config.feature_count;
    const struct ms_pack *k = &p->pack;
    p->distinct = ms_scratch_reals(p->scratch, k->distinct * E);
    if (!p->distinct)
        return false;
    for (size_t u = 0; u < k->distinct; u++) {
        ms_real *x = p->distinct + u * E;
        memcpy(x, net->params + net->table[0].offset + k->distinct_token[u] * E, E * sizeof *x);
        for (size_t f = 0; f < F; f++) {
            const int32_t id = k->distinct_feature[u * F + f];
            if (id >= 0)
                net->kernels->add(E, net->params + net->table[1 + f].offset + (size_t)id * E, x);
        }
        if (p->mask)
            net->kernels->multiply(E, x, p->mask + k->distinct_row[u] * E, x);
    }
    return true;
}

/* dX[u] * mask[row of u] is added to the gradient of every row that X[u] is the sum of; d_distinct
 * U x E. */
bool ms_embed_backward(struct ms_pass *p, const ms_real *d_distinct)
{
    const struct ms_net *net = p->net;
    const size_t E = net->config.embedding;
    const size_t F = net->config.feature_count;
    const struct ms_pack *k = &p->pack;
    ms_real *masked = ms_scratch_reals(p->scratch, E);
    if (!masked)
        return false;
    for (size_t u = 0; u < k->distinct; u++) {
        const ms_real *dx = d_distinct + u * E;
        if (p->mask) {
            net->kernels->multiply(E, dx, p->mask + k->distinct_row[u] * E, masked);
            dx = masked;
        }
        net->kernels->add(E, dx, ms_table_grad(net, p->shard, 0, k->distinct_token[u]));
        for (size_t f = 0; f < F; f++) {
            const int32_t id = k->distinct_feature[u * F + f];
            if (id >= 0)
                net->kernels->add(E, dx, ms_table_grad(net, p->shard, 1 + f, (size_t)id));
        }
    }
    return true;
}
