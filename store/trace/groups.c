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

/* Halves the path on the way. */
uint32_t ms_union_find(uint32_t *parent, uint32_t row)
{
    while (parent[row] != row) {
        parent[row] = parent[parent[row]];
        row = parent[row];
    }
    return row;
}

void ms_union_join(uint32_t *parent, uint32_t x, uint32_t y)
{
    x = ms_union_find(parent, x);
    y = ms_union_find(parent, y);
    if (x < y)
        parent[y] = x;
    else
        parent[x] = y;
}

uint32_t ms_union_number(uint32_t *parent, size_t rows, uint32_t *groups)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rows; i++) { /* who stands for a set is its first: numbered already */
        uint32_t root = ms_union_find(parent, i);
        groups[i] = root == i ? count++ : groups[root];
    }
    return count;
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
                ms_union_join(parent, entries[i - 1].row, entries[i].row);
    }
    *count = ms_union_number(parent, rows, groups);
out:
    free(entries);
    free(parent);
    return status;
}

/* first[g] .. first[g + 1] are the places of group g's rows in member. */
static void sort_members(const uint32_t *groups, uint32_t count, size_t rows, size_t *first,
                         uint32_t *member)
{
    for (size_t i = 0; i < rows; i++)
        first[groups[i] + 1]++;
    for (uint32_t g = 0; g < count; g++)
        first[g + 1] += first[g];
    for (size_t i = rows; i-- > 0;) /* from behind: first[g + 1] falls to the group's start */
        member[--first[groups[i] + 1]] = (uint32_t)i;
    for (uint32_t g = 0; g < count; g++)
        first[g] = first[g + 1];
    first[count] = rows;
}

enum ms_status ms_groups_copies(const uint32_t *labels, uint32_t classes, const uint32_t *groups,
                                uint32_t count, size_t rows, struct ms_copies *out,
                                struct ms_error *err)
{
    size_t *first = calloc((size_t)count + 2, sizeof *first);
    uint32_t *member = calloc(rows + 1, sizeof *member);
    uint64_t *counts = calloc((size_t)classes + 1, sizeof *counts);
    enum ms_status status = MS_OK;
    *out = (struct ms_copies){.rows = rows, .ceiling = 1};
    if (!first || !member || !counts) {
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for groups of %zu rows", rows);
        goto out;
    }
    sort_members(groups, count, rows, first, member);
    for (uint32_t g = 0; g < count; g++) {
        uint64_t size = first[g + 1] - first[g], most = 0;
        for (size_t k = first[g]; k < first[g + 1]; k++) {
            uint64_t n = ++counts[labels[member[k]]];
            most = n > most ? n : most;
        }
        for (size_t k = first[g]; k < first[g + 1]; k++)
            counts[labels[member[k]]] = 0;
        out->distinct += size > 0;
        out->largest = size > out->largest ? size : out->largest;
        out->mixed += most < size;
        out->contradicting += most < size ? size : 0;
        out->unavoidable += size - most;
    }
    if (rows)
        out->ceiling = 1 - (double)out->unavoidable / (double)rows;
out:
    free(first);
    free(member);
    free(counts);
    return status;
}
