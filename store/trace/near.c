/* MinHash signatures, banding, and exact comparison of what falls together. */
#include "store/trace/near.h"

#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t PURPOSE_NEAR = 0x6e656172;

static int items_by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

size_t ms_near_items(const struct ms_gram *grams, size_t n, uint64_t *items)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t length = ms_gram_length(grams[i]);
        if (length == 1 || length == 2) /* MS_GRAM_NONE behind a single call makes it 0 */
            items[kept++] = (uint64_t)(grams[i].symbol[0] + 1) << 32 | (grams[i].symbol[1] + 1);
    }
    if (kept > 1)
        qsort(items, kept, sizeof *items, items_by_number);
    return kept;
}

double ms_jaccard(const uint64_t *x, size_t x_n, const uint64_t *y, size_t y_n)
{
    size_t both = 0;
    for (size_t i = 0, k = 0; i < x_n && k < y_n;) {
        both += x[i] == y[k];
        bool first = x[i] <= y[k], second = y[k] <= x[i];
        i += first;
        k += second;
    }
    size_t all = x_n + y_n - both;
    return all ? (double)both / (double)all : 1;
}

/* The functions: h(x) = mix(x * a + b), 32 bits each, of the element's own mixed 64. */
struct hashes {
    uint32_t a[MS_NEAR_HASHES], b[MS_NEAR_HASHES];
    uint32_t n; /* bands * band_hashes */
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* All MS_NEAR_HASHES are reckoned, whether the bands take them or not: over a fixed number of lanes
 * the compiler works on several at once. */
static void sign(const struct hashes *hashes, const uint64_t *set, size_t n, uint32_t *out)
{
    const uint32_t *restrict a = hashes->a, *restrict b = hashes->b;
    uint32_t least[MS_NEAR_HASHES];
    for (size_t i = 0; i < MS_NEAR_HASHES; i++)
        least[i] = UINT32_MAX;
    for (size_t k = 0; k < n; k++) {
        uint32_t x = (uint32_t)(mix(set[k]) >> 16);
        for (size_t i = 0; i < MS_NEAR_HASHES; i++) {
            uint32_t h = x * a[i] + b[i];
            h = (h ^ h >> 15) * 0x2c1b3c6du;
            h ^= h >> 13;
            least[i] = h < least[i] ? h : least[i];
        }
    }
    memcpy(out, least, hashes->n * sizeof *out);
}

/* As many hashes a band as the threshold allows: more of them, fewer pairs to look at. */
static void plan(double threshold, struct ms_near_report *report)
{
    for (uint32_t size = 16; size > 0; size--) {
        report->band_hashes = size;
        report->bands = MS_NEAR_HASHES / size;
        report->missed = pow(1 - pow(threshold, size), report->bands);
        if (report->missed <= .001)
            return;
    }
}

static void draw(struct hashes *hashes, const struct ms_near_report *report, uint64_t seed)
{
    struct ms_rng rng;
    ms_rng_init(&rng, seed, PURPOSE_NEAR, 0);
    hashes->n = report->bands * report->band_hashes;
    for (uint32_t i = 0; i < MS_NEAR_HASHES; i++) {
        hashes->a[i] = (uint32_t)ms_rng_u64(&rng) | 1;
        hashes->b[i] = (uint32_t)ms_rng_u64(&rng);
    }
}

struct entry {
    uint64_t key;
    uint32_t row;
};

static int by_key(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

struct near {
    ms_near_get get;
    void *ctx;
    double threshold;
    struct hashes hashes;
    uint32_t *signatures; /* rows x hashes.n */
    uint32_t *parent;
    bool *first; /* of its set: the others are looked at no more */
    struct entry *entries;
    size_t rows;
    struct ms_near_report *report;
};

static double similarity(struct near *self, uint32_t x, uint32_t y)
{
    size_t x_n, y_n;
    const uint64_t *a = self->get(self->ctx, x, 0, &x_n), *b = self->get(self->ctx, y, 1, &y_n);
    size_t less = x_n < y_n ? x_n : y_n, more = x_n < y_n ? y_n : x_n;
    if (more && (double)less / (double)more < self->threshold)
        return 0; /* the sizes alone say no */
    return ms_jaccard(a, x_n, b, y_n);
}

/* Signs every row and joins those with the very same set, by digest: copies are most of what falls
 * into one bucket. */
static void sign_rows(struct near *self)
{
    size_t width = self->hashes.n;
    for (size_t row = 0; row < self->rows; row++) {
        size_t n;
        const uint64_t *set = self->get(self->ctx, row, 0, &n);
        sign(&self->hashes, set, n, self->signatures + row * width);
        uint64_t key = mix(n + 1);
        for (size_t i = 0; i < n; i++)
            key = mix(key ^ set[i]) + 0x9e3779b97f4a7c15u;
        self->entries[row] = (struct entry){key, (uint32_t)row};
        self->parent[row] = (uint32_t)row;
        self->first[row] = true;
    }
    if (self->rows > 1)
        qsort(self->entries, self->rows, sizeof *self->entries, by_key);
    for (size_t i = 0; i < self->rows; i++) {
        uint32_t row = self->entries[i].row;
        if (i == 0 || self->entries[i].key != self->entries[i - 1].key) {
            self->report->distinct++;
            continue;
        }
        if (similarity(self, self->entries[i - 1].row, row) < 1) {
            self->report->distinct++;
            continue;
        }
        ms_union_join(self->parent, self->entries[i - 1].row, row);
        self->first[row] = false;
    }
}

/* Each row of a bucket beside those in front of it, unless they are together already. */
static void look_at(struct near *self, const struct entry *bucket, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        size_t tries = i < MS_NEAR_TRIES ? i : MS_NEAR_TRIES;
        self->report->not_looked += i - tries;
        for (size_t k = i; k-- > i - tries;) {
            if (ms_union_find(self->parent, bucket[i].row) ==
                ms_union_find(self->parent, bucket[k].row))
                continue;
            self->report->compared++;
            if (similarity(self, bucket[i].row, bucket[k].row) >= self->threshold) {
                self->report->near++;
                ms_union_join(self->parent, bucket[i].row, bucket[k].row);
            }
        }
    }
}

static void look_at_band(struct near *self, uint32_t band)
{
    size_t width = self->hashes.n, size = self->report->band_hashes, used = 0;
    for (size_t row = 0; row < self->rows; row++) {
        if (!self->first[row])
            continue;
        const uint32_t *part = self->signatures + row * width + band * size;
        uint64_t key = band + 1;
        for (size_t i = 0; i < size; i++)
            key = mix(key ^ part[i]) + 0x9e3779b97f4a7c15u;
        self->entries[used++] = (struct entry){key, (uint32_t)row};
    }
    if (used > 1)
        qsort(self->entries, used, sizeof *self->entries, by_key);
    for (size_t from = 0, to; from < used; from = to) {
        for (to = from + 1; to < used && self->entries[to].key == self->entries[from].key;)
            to++;
        look_at(self, self->entries + from, to - from);
    }
}

enum ms_status ms_near_groups(ms_near_get get, void *ctx, size_t rows, double threshold,
                              uint64_t seed, uint32_t *groups, uint32_t *count,
                              struct ms_near_report *report, struct ms_error *err)
{
    struct near self = {
        .get = get, .ctx = ctx, .threshold = threshold, .rows = rows, .report = report};
    if (rows > UINT32_MAX)
        return ms_error_set(err, MS_E_LIMIT, "%zu rows: too many to group", rows);
    *report = (struct ms_near_report){0};
    plan(threshold, report);
    draw(&self.hashes, report, seed);
    size_t n = rows ? rows : 1;
    self.signatures = calloc(n * self.hashes.n, sizeof *self.signatures);
    self.parent = calloc(n, sizeof *self.parent);
    self.first = calloc(n, sizeof *self.first);
    self.entries = calloc(n, sizeof *self.entries);
    enum ms_status status = MS_OK;
    if (!self.signatures || !self.parent || !self.first || !self.entries) {
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for groups of %zu rows", rows);
    } else {
        sign_rows(&self);
        for (uint32_t band = 0; band < report->bands; band++)
            look_at_band(&self, band);
        *count = ms_union_number(self.parent, rows, groups);
    }
    free(self.signatures);
    free(self.parent);
    free(self.first);
    free(self.entries);
    return status;
}
