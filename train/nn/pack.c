/* Packs the sequences of a pass by time and finds its distinct embedding rows; no arithmetic on
 * weights. */
#include "train/nn/private.h"

#include <string.h>

/* Steps of a row as the net computes them: without masking all are pad_length, with masking zeros
 * do not count. */
uint32_t ms_pack_length(const struct ms_net_config *config, const struct ms_net_batch *batch,
                        size_t row)
{
    if (!config->mask_padding)
        return config->pad_length;
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->lengths[row]; i++)
        n += batch->tokens[row][i] != 0;
    return n;
}

/* Lengths, blocks and offsets; rows come longest first. */
static bool lay_out(struct ms_pass *p, const uint32_t *rows, size_t count)
{
    struct ms_pack *k = &p->pack;
    k->rows = count;
    k->row = rows;
    k->length = ms_scratch_take(p->scratch, count, sizeof *k->length);
    if (!k->length)
        return false;
    for (size_t b = 0; b < count; b++)
        k->length[b] = ms_pack_length(&p->net->config, p->batch, rows[b]);
    k->steps = k->length[0];
    k->active = ms_scratch_take(p->scratch, k->steps, sizeof *k->active);
    k->offset = ms_scratch_take(p->scratch, k->steps + 1, sizeof *k->offset);
    if (!k->active || !k->offset)
        return false;
    size_t alive = count;
    k->total = 0;
    for (size_t t = 0; t < k->steps; t++) {
        while (alive > 0 && k->length[alive - 1] <= t)
            alive--;
        k->active[t] = (uint32_t)alive;
        k->offset[t] = k->total;
        k->total += alive;
    }
    k->offset[k->steps] = k->total;
    return true;
}

/* `known` maps a token to a slot. An entry counts only if the slot it names is one of those from
 * `first` on and shows that token, so it needs no clearing between rows. */
static uint32_t find_slot(struct ms_pack *k, uint32_t *known, size_t first, uint32_t token,
                          size_t b)
{
    uint32_t slot = known[token];
    if (slot >= first && slot < k->distinct && k->distinct_token[slot] == token)
        return slot;
    slot = (uint32_t)k->distinct++;
    known[token] = slot;
    k->distinct_token[slot] = token;
    k->distinct_row[slot] = (uint32_t)b;
    return slot;
}

bool ms_pack_build(struct ms_pass *p, const uint32_t *rows, size_t count, bool by_row)
{
    struct ms_pack *k = &p->pack;
    const struct ms_net_config *c = &p->net->config;
    if (!lay_out(p, rows, count))
        return false;
    size_t most = k->total;
    if (!by_row && most > c->vocabulary)
        most = c->vocabulary;
    k->slot = ms_scratch_take(p->scratch, k->total, sizeof *k->slot);
    k->distinct_token = ms_scratch_take(p->scratch, most, sizeof *k->distinct_token);
    k->distinct_row = ms_scratch_take(p->scratch, most, sizeof *k->distinct_row);
    uint32_t *known = ms_scratch_take(p->scratch, c->vocabulary, sizeof *known);
    if (!k->slot || !k->distinct_token || !k->distinct_row || !known)
        return false;
    memset(known, 0, c->vocabulary * sizeof *known);
    k->distinct = 0;
    for (size_t b = 0; b < count; b++) {
        size_t first = by_row ? k->distinct : 0;
        size_t t = 0;
        uint32_t n = p->batch->lengths[rows[b]];
        const int32_t *tokens = p->batch->tokens[rows[b]];
        if (!c->mask_padding)
            for (; t < c->pad_length - n; t++)
                k->slot[k->offset[t] + b] = find_slot(k, known, first, 0, b);
        for (uint32_t i = 0; i < n; i++) {
            if (c->mask_padding && tokens[i] == 0)
                continue;
            k->slot[k->offset[t++] + b] = find_slot(k, known, first, (uint32_t)tokens[i], b);
        }
    }
    return true;
}
