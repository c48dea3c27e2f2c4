/* Gradients of the tables (embedding, features, wide kernel), of which a batch touches few rows:
 * only those are zeroed and summed. */
#include "train/nn/private.h"

#include <string.h>

ms_real *ms_table_grad(const struct ms_net *net, struct ms_shard *shard, size_t table, size_t row)
{
    const struct ms_table *t = &net->table[table];
    ms_real *d = shard->grads + t->offset + row * t->columns;
    uint8_t *touched = shard->touched + t->first + row;
    if (!*touched) {
        *touched = 1;
        memset(d, 0, t->columns * sizeof *d);
    }
    return d;
}

void ms_table_mark(struct ms_net *net, size_t shards)
{
    uint8_t *now = net->touched;
    net->touched = net->touched_before;
    net->touched_before = now;
    now = net->touched;
    memcpy(now, net->shard[0].touched, net->table_rows);
    for (size_t s = 1; s < shards; s++)
        for (size_t r = 0; r < net->table_rows; r++)
            now[r] |= net->shard[s].touched[r];
}

/* Elements [from, to) of one row. */
static void sum_row(struct ms_net *net, size_t shards, size_t row, size_t from, size_t to)
{
    if (!net->touched[row] && !net->touched_before[row])
        return;
    memset(net->grads + from, 0, (to - from) * sizeof *net->grads);
    if (!net->touched[row])
        return;
    for (size_t s = 0; s < shards; s++)
        if (net->shard[s].touched[row])
            net->kernels->add(to - from, net->shard[s].grads + from, net->grads + from);
}

bool ms_table_sum(struct ms_net *net, size_t shards, size_t from, size_t to)
{
    bool any = false;
    for (size_t i = 0; i < net->table_count && from < to; i++) {
        const struct ms_table *t = &net->table[i];
        const size_t table_end = t->offset + t->rows * t->columns;
        while (from < to && from < table_end) {
            const size_t row = (from - t->offset) / t->columns;
            size_t end = t->offset + (row + 1) * t->columns;
            end = end < to ? end : to;
            sum_row(net, shards, t->first + row, from, end);
            any = any || net->touched[t->first + row];
            from = end;
        }
    }
    return any;
}
