/* Union of rows by equal sequence digests. */
#include "store/trace/groups.h"

#include <stdbool.h>
#include <stdlib.h>

void ms_sequence_hash_init(struct ms_sequence_hash *self)
{
    *self = (struct ms_sequence_hash){0x243f6a8885a308d3u, 0x13198a2e03707344u, 0};
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void ms_sequence_hash_add(struct ms_sequence_hash *self, uint32_t symbol)
{
    self->a = mix(self->a + symbol + 0x9e3779b97f4a7c15u);
    self->b = (self->b ^ mix(symbol + 0xa4093822299f31d0u)) * 0x9fb21c651e98df25u;
    self->b ^= self->b >> 29;
    self->count++;
}

struct entry {
    struct ms_sequence_hash key;
    uint32_t row;
};

static int by_key(const void *x, const void *y)
{
    const struct entry *p = x, *q = y;
    if (p->key.a != q->key.a)
        return p->key.a < q->key.a ? -1 : 1;
    if (p->key.b != q->key.b)
        return p->key.b < q->key.b ? -1 : 1;
    if (p->key.count != q->key.count)
        return p->key.count < q->key.count ? -1 : 1;
    return p->row < q->row ? -1 : p->row > q->row;
}

static bool same_key(const struct entry *p, const struct entry *q)
{
    return p->key.a == q->key.a && p->key.b == q->key.b && p->key.count == q->key.count;
}

/* The smallest row of the set, halving the path on the way. */
static uint32_t find(uint32_t *parent, uint32_t row)
{
    while (parent[row] != row) {
        parent[row] = parent[parent[row]];
        row = parent[row];
    }
    return row;
}

static void unite(uint32_t *parent, uint32_t x, uint32_t y)
{
    x = find(parent, x);
    y = find(parent, y);
    if (x < y)
        parent[y] = x;
    else
        parent[x] = y;
}

enum ms_status ms_groups_make(const struct ms_sequence_hash *keys, size_t rows, size_t kinds,
                              uint32_t *groups, uint32_t *count, struct ms_error *err)
{
    if (rows > UINT32_MAX)
        return ms_error_set(err, MS_E_LIMIT, "%zu rows: too many to group", rows);
    struct entry *entries = calloc(rows ? rows : 1, sizeof *entries);
    uint32_t *parent = calloc(rows ? rows : 1, sizeof *parent);
    enum ms_status status = MS_OK;
    if (!entries || !parent) {
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for groups of %zu rows", rows);
        goto out;
    }
    for (uint32_t i = 0; i < rows; i++)
        parent[i] = i;
    for (size_t kind = 0; kind < kinds; kind++) {
        for (uint32_t i = 0; i < rows; i++)
            entries[i] = (struct entry){keys[(size_t)i * kinds + kind], i};
        qsort(entries, rows, sizeof *entries, by_key);
        for (size_t i = 1; i < rows; i++)
            if (same_key(&entries[i - 1], &entries[i]))
                unite(parent, entries[i - 1].row, entries[i].row);
    }
    *count = 0;
    for (uint32_t i = 0; i < rows;
         i++) /* the root of a set is its smallest row: already numbered */
        groups[i] = find(parent, i) == i ? (*count)++ : groups[find(parent, i)];
out:
    free(entries);
    free(parent);
    return status;
}
