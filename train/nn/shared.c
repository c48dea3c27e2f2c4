/* The first layer's projections of the whole vocabulary, made once a batch for all its passes, and
 * the way back. What each pass would otherwise do for nearly all tokens is done once. Only where a
 * token's row is the same in every sequence: no feature tables, no dropout on the embedding. */
#include "train/nn/private.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 64,        /* of the vocabulary, of one task */
    MOST_ROWS = 4096, /* of the vocabulary: bounds the memory of the tables of all shards */
    LEAST_PASSES = 3
};

static size_t directions_of(const struct ms_net *net)
{
    return net->config.recurrent[0].bidirectional ? 2 : 1;
}

static size_t gates_of(const struct ms_net *net)
{
    return ms_net_config_gates(&net->config.recurrent[0]) * net->config.recurrent[0].hidden;
}

static size_t chunks_of(const struct ms_net *net)
{
    return (net->config.vocabulary + ROWS - 1) / ROWS;
}

static size_t chunk_rows(const struct ms_net *net, size_t chunk)
{
    const size_t left = net->config.vocabulary - chunk * ROWS;
    return left < ROWS ? left : ROWS;
}

/* Z = E W + b of some rows (R x G) of one direction. */
static void project_task(void *ctx, size_t task, unsigned worker)
{
    struct ms_net *net = ctx;
    const size_t chunk = task / directions_of(net), d = task % directions_of(net);
    const size_t G = gates_of(net), E = net->config.embedding, rows = chunk_rows(net, chunk);
    const ms_real *b = net->params + net->recurrent_at[0][d][MS_BIAS];
    ms_real *z = net->shared.projected[d] + chunk * ROWS * G;
    (void)worker;
    for (size_t r = 0; r < rows; r++)
        memcpy(z + r * G, b, G * sizeof *b);
    ms_gemm(rows, G, E, net->params + net->table[0].offset + chunk * ROWS * E, E,
            net->params + net->recurrent_at[0][d][MS_KERNEL], G, 1, z, G);
}

static bool allocate(ms_real **tables, size_t directions, size_t count)
{
    for (size_t d = 0; d < directions; d++) {
        if (!tables[d])
            tables[d] = malloc(count * sizeof **tables);
        if (!tables[d])
            return false;
    }
    return true;
}

/* Without memory for it the passes go on by themselves. */
void ms_shared_begin(struct ms_net *net, size_t steps, size_t passes, size_t shards, bool dropout)
{
    const struct ms_net_config *c = &net->config;
    const size_t count = c->vocabulary * gates_of(net), D = directions_of(net);
    net->shared.on = false;
    if (c->recurrent_count == 0 || c->feature_count > 0 || c->vocabulary > MOST_ROWS ||
        passes < LEAST_PASSES || steps < 2 * (size_t)c->vocabulary ||
        (dropout && (c->spatial_dropout > 0 || c->recurrent[0].input_dropout > 0)))
        return;
    bool enough = allocate(net->shared.projected, D, count);
    for (size_t s = 0; s < shards && enough; s++)
        enough = allocate(net->shard[s].d_projected, D, count);
    if (!enough)
        return;
    net->shared.on = true;
    ms_workers_run(net->workers, chunks_of(net) * D, project_task, net);
}

void ms_shared_clear(struct ms_net *net, struct ms_shard *shard)
{
    for (size_t d = 0; net->shared.on && d < directions_of(net); d++)
        memset(shard->d_projected[d], 0,
               net->config.vocabulary * gates_of(net) * sizeof **shard->d_projected);
}

/* The slots of a pass become its tokens, and their rows count as touched. */
void ms_shared_pack(struct ms_pass *p)
{
    struct ms_pack *k = &p->pack;
    for (size_t i = 0; i < k->total; i++)
        k->slot[i] = k->distinct_token[k->slot[i]];
    for (size_t u = 0; p->shard && u < k->distinct; u++)
        (void)ms_table_grad(p->net, p->shard, 0, k->distinct_token[u]);
}

/* dZ of one direction over all shards, in the first; dW += E^T dZ; db += sum dZ. */
static void sum_task(void *ctx, size_t task, unsigned worker)
{
    struct ms_net *net = ctx;
    const size_t G = gates_of(net), E = net->config.embedding, V = net->config.vocabulary;
    ms_real *dz = net->shard[0].d_projected[task];
    (void)worker;
    for (size_t s = 1; s < net->shared.shards; s++)
        net->kernels->add(V * G, net->shard[s].d_projected[task], dz);
    ms_gemm_ta(E, G, V, net->params + net->table[0].offset, E, dz, G, 1,
               net->shard[0].grads + net->recurrent_at[0][task][MS_KERNEL], G);
    net->kernels->column_sum(V, G, dz, net->shard[0].grads + net->recurrent_at[0][task][MS_BIAS]);
}

/* dE = dZ W^T of some rows, summed over the directions, for the tokens that any shard touched. */
static void back_task(void *ctx, size_t task, unsigned worker)
{
    struct ms_net *net = ctx;
    const size_t G = gates_of(net), E = net->config.embedding, rows = chunk_rows(net, task);
    struct ms_scratch *scratch = &net->scratch[worker];
    ms_scratch_reset(scratch);
    ms_real *d = ms_scratch_reals(scratch, rows * E);
    if (!d) {
        net->shard[0].status = MS_E_NOMEM;
        return;
    }
    for (size_t i = 0; i < directions_of(net); i++)
        ms_gemm_tb(rows, E, G, net->shard[0].d_projected[i] + task * ROWS * G, G,
                   net->params + net->recurrent_at[0][i][MS_KERNEL], G, i > 0, d, E);
    for (size_t r = 0; r < rows; r++) {
        const size_t token = task * ROWS + r;
        bool touched = false;
        for (size_t s = 0; s < net->shared.shards; s++)
            touched = touched || net->shard[s].touched[net->table[0].first + token];
        if (touched)
            net->kernels->add(E, d + r * E, ms_table_grad(net, &net->shard[0], 0, token));
    }
}

void ms_shared_finish(struct ms_net *net, size_t shards)
{
    if (!net->shared.on)
        return;
    net->shared.shards = shards;
    ms_workers_run(net->workers, directions_of(net), sum_task, net);
    ms_workers_run(net->workers, chunks_of(net), back_task, net);
}

void ms_shared_free(struct ms_net *net)
{
    for (size_t d = 0; d < 2; d++) {
        free(net->shared.projected[d]);
        for (size_t s = 0; s < MS_NET_SHARDS; s++)
            free(net->shard[s].d_projected[d]);
    }
}
