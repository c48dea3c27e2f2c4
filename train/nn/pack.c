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

/* Rows of a pass with feature tables: distinct tuples of token and ids, and of the row when its
 * dropout mask applies. The slots of tuples lie in a hash table. */
struct tuples {
    const struct ms_net_config *config;
    bool by_row;
    uint32_t *slot; /* a power of 2; UINT32_MAX: free */
    size_t mask;
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static bool same_tuple(const struct ms_pack *k, const struct tuples *t, uint32_t slot,
                       uint32_t token, const int32_t *ids, size_t b)
{
    const size_t F = t->config->feature_count;
    return k->distinct_token[slot] == token && (!t->by_row || k->distinct_row[slot] == b) &&
           memcmp(k->distinct_feature + slot * F, ids, F * sizeof *ids) == 0;
}

/* A tuple that is not found after some tries gets a slot of its own, which changes no result: so
 * no choice of ids makes this slow. */
static uint32_t find_tuple(struct ms_pack *k, const struct tuples *t, uint32_t token,
                           const int32_t *ids, size_t b)
{
    enum { TRIES = 16 };
    const size_t F = t->config->feature_count;
    uint64_t hash = mix(token + (t->by_row ? (uint64_t)b << 32 : 0));
    for (size_t f = 0; f < F; f++)
        hash = mix(hash + (uint32_t)ids[f]);
    size_t at = (size_t)hash & t->mask;
    for (int i = 0; i < TRIES && t->slot[at] != UINT32_MAX; i++) {
        if (same_tuple(k, t, t->slot[at], token, ids, b))
            return t->slot[at];
        at = (at + 1) & t->mask;
    }
    const uint32_t slot = (uint32_t)k->distinct++;
    if (t->slot[at] == UINT32_MAX)
        t->slot[at] = slot;
    k->distinct_token[slot] = token;
    k->distinct_row[slot] = (uint32_t)b;
    memcpy(k->distinct_feature + slot * F, ids, F * sizeof *ids);
    return slot;
}

static bool fill_tuples(struct ms_pass *p, const uint32_t *rows, bool by_row)
{
    struct ms_pack *k = &p->pack;
    const struct ms_net_config *c = &p->net->config;
    const size_t F = c->feature_count;
    struct tuples tuples = {c, by_row, NULL, 1};
    while (tuples.mask < 2 * k->total)
        tuples.mask *= 2;
    tuples.slot = ms_scratch_take(p->scratch, tuples.mask, sizeof *tuples.slot);
    k->distinct_feature = ms_scratch_take(p->scratch, k->total * F, sizeof *k->distinct_feature);
    if (p->scratch->failed)
        return false;
    memset(tuples.slot, 0xff, tuples.mask * sizeof *tuples.slot);
    tuples.mask--;
    int32_t none[MS_LIMIT_NET_FEATURES];
    memset(none, 0xff, sizeof none); /* -1 */
    for (size_t b = 0; b < k->rows; b++) {
        size_t t = 0;
        const uint32_t n = p->batch->lengths[rows[b]];
        const int32_t *tokens = p->batch->tokens[rows[b]];
        const int32_t *ids = p->batch->features[rows[b]];
        for (; !c->mask_padding && t < c->pad_length - n; t++)
            k->slot[k->offset[t] + b] = find_tuple(k, &tuples, 0, none, b);
        for (uint32_t i = 0; i < n; i++)
            if (!c->mask_padding || tokens[i] != 0)
                k->slot[k->offset[t++] + b] =
                    find_tuple(k, &tuples, (uint32_t)tokens[i], ids + i * F, b);
    }
    return true;
}

static bool fill_tokens(struct ms_pass *p, const uint32_t *rows, bool by_row)
{
    struct ms_pack *k = &p->pack;
    const struct ms_net_config *c = &p->net->config;
    uint32_t *known = ms_scratch_take(p->scratch, c->vocabulary, sizeof *known);
    if (!known)
        return false;
    memset(known, 0, c->vocabulary * sizeof *known);
    for (size_t b = 0; b < k->rows; b++) {
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

bool ms_pack_build(struct ms_pass *p, const uint32_t *rows, size_t count, bool by_row)
{
    struct ms_pack *k = &p->pack;
    const struct ms_net_config *c = &p->net->config;
    if (!lay_out(p, rows, count))
        return false;
    size_t most = k->total;
    if (!by_row && c->feature_count == 0 && most > c->vocabulary)
        most = c->vocabulary;
    k->slot = ms_scratch_take(p->scratch, k->total, sizeof *k->slot);
    k->distinct_token = ms_scratch_take(p->scratch, most, sizeof *k->distinct_token);
    k->distinct_row = ms_scratch_take(p->scratch, most, sizeof *k->distinct_row);
    if (!k->slot || !k->distinct_token || !k->distinct_row)
        return false;
    k->distinct = 0;
    return c->feature_count > 0 ? fill_tuples(p, rows, by_row) : fill_tokens(p, rows, by_row);
}
