/* The embedding of a pass as a table of its distinct rows. A vocabulary of hundreds is far smaller
 * than rows times steps, so everything linear behind the embedding (dropout masks that are constant
 * over a sequence, the first input projection) is computed once a distinct row and gathered. */
#include "train/nn/private.h"

#include <string.h>

/* X[u] = table[token of u] * mask[row of u] */
bool ms_embed_forward(struct ms_pass *p)
{
    const struct ms_net *net = p->net;
    const struct ms_net_config *c = &net->config;
    const size_t E = c->embedding;
    const struct ms_pack *k = &p->pack;
    const ms_real *table = net->params + net->tensor[0].offset; /* V x E */
    p->distinct = ms_scratch_reals(p->scratch, k->distinct * E);
    if (!p->distinct)
        return false;
    for (size_t u = 0; u < k->distinct; u++) {
        const ms_real *row = table + k->distinct_token[u] * E;
        if (p->mask)
            net->kernels->multiply(E, row, p->mask + k->distinct_row[u] * E, p->distinct + u * E);
        else
            memcpy(p->distinct + u * E, row, E * sizeof *row);
    }
    return true;
}

/* dtable[token of u] += dX[u] * mask[row of u]; d_distinct U x E. A row of the shard's gradient is
 * set the first time. */
void ms_embed_backward(struct ms_pass *p, const ms_real *d_distinct)
{
    const struct ms_net *net = p->net;
    const size_t E = net->config.embedding;
    const struct ms_pack *k = &p->pack;
    for (size_t u = 0; u < k->distinct; u++) {
        size_t token = k->distinct_token[u];
        const ms_real *dx = d_distinct + u * E;
        const ms_real *mask = p->mask ? p->mask + k->distinct_row[u] * E : NULL;
        ms_real *d = p->shard->grads + net->tensor[0].offset + token * E;
        if (!p->shard->touched[token]) {
            p->shard->touched[token] = 1;
            memset(d, 0, E * sizeof *d);
        }
        if (mask)
            for (size_t j = 0; j < E; j++)
                d[j] += dx[j] * mask[j];
        else
            net->kernels->add(E, dx, d);
    }
}
