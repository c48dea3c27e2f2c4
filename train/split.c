/* Deals groups to parts; counts copies and contradictions. */
#include "train/split.h"

#include "base/rng.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t PURPOSE_SPLIT = 0x73706c6974;

/* Rows sorted by group: members of group g are member[first[g]] .. member[first[g+1]-1]. */
struct members {
    uint32_t groups;
    size_t *first;
    uint32_t *member;
};

static void members_release(struct members *self)
{
    free(self->first);
    free(self->member);
}

static enum ms_status members_make(const struct ms_split_rows *r, struct members *out,
                                   struct ms_error *err)
{
    *out = (struct members){0};
    if (r->rows == 0 || r->rows >= UINT32_MAX)
        return ms_error_set(err, MS_E_INPUT, "cannot divide %zu rows", r->rows);
    for (size_t i = 0; i < r->rows; i++) {
        uint32_t g = r->groups ? r->groups[i] : (uint32_t)i;
        if (g >= r->rows || r->labels[i] >= r->classes)
            return ms_error_set(err, MS_E_BUG, "row %zu: group or class out of range", i);
        if (g >= out->groups)
            out->groups = g + 1;
    }
    out->first = calloc((size_t)out->groups + 2, sizeof *out->first);
    out->member = calloc(r->rows, sizeof *out->member);
    if (!out->first || !out->member) {
        members_release(out);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu rows", r->rows);
    }
    for (size_t i = 0; i < r->rows; i++) /* counts two places on, so that filling leaves starts */
        out->first[(r->groups ? r->groups[i] : (uint32_t)i) + 2]++;
    for (uint32_t g = 1; g < out->groups; g++)
        out->first[g + 1] += out->first[g];
    for (size_t i = 0; i < r->rows; i++)
        out->member[out->first[(r->groups ? r->groups[i] : (uint32_t)i) + 1]++] = (uint32_t)i;
    return MS_OK;
}

struct dealt {
    size_t size;
    uint32_t group, order;
};

static int largest_first(const void *a, const void *b)
{
    const struct dealt *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* What putting a group with `add` rows of each class into a part adds to the cost. */
static double cost_of(const double *have, const double *want, const double *add, uint32_t classes)
{
    double cost = 0;
    for (uint32_t c = 0; c < classes; c++)
        if (add[c] > 0)
            cost += add[c] * (2 * (have[c] - want[c]) + add[c]) / want[c];
    return cost;
}

struct deal {
    const struct ms_split_rows *rows;
    struct members members;
    struct dealt *order;
    uint32_t *shuffled;
    double *have, *want; /* parts x C */
    double *add;         /* C */
};

static void deal_release(struct deal *d)
{
    members_release(&d->members);
    free(d->order);
    free(d->shuffled);
    free(d->have);
    free(d->want);
    free(d->add);
}

static enum ms_status deal_make(struct deal *d, const double *shares, uint32_t parts, uint64_t seed,
                                struct ms_error *err)
{
    enum ms_status status = members_make(d->rows, &d->members, err);
    if (status != MS_OK)
        return status;
    uint32_t groups = d->members.groups, classes = d->rows->classes;
    d->order = calloc(groups, sizeof *d->order);
    d->shuffled = calloc(groups, sizeof *d->shuffled);
    d->have = calloc((size_t)parts * classes, sizeof *d->have);
    d->want = calloc((size_t)parts * classes, sizeof *d->want);
    d->add = calloc(classes, sizeof *d->add);
    if (!d->order || !d->shuffled || !d->have || !d->want || !d->add)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %u groups", groups);
    for (size_t i = 0; i < d->rows->rows; i++)
        for (uint32_t p = 0; p < parts; p++)
            d->want[(size_t)p * classes + d->rows->labels[i]] += shares[p];
    for (uint32_t g = 0; g < groups; g++)
        d->shuffled[g] = g;
    struct ms_rng rng;
    ms_rng_init(&rng, seed, PURPOSE_SPLIT, parts);
    ms_rng_shuffle(&rng, d->shuffled, groups);
    uint32_t used = 0;
    for (uint32_t i = 0; i < groups; i++) {
        uint32_t g = d->shuffled[i];
        size_t size = d->members.first[g + 1] - d->members.first[g];
        d->order[i] = (struct dealt){size, g, i};
        used += size > 0;
    }
    qsort(d->order, groups, sizeof *d->order, largest_first);
    if (used < parts)
        return ms_error_set(err, MS_E_INPUT,
                            "%u distinct sequences cannot be divided into %u parts", used, parts);
    return MS_OK;
}

enum ms_status ms_split_make(const struct ms_split_rows *rows, const double *shares, uint32_t parts,
                             uint64_t seed, uint32_t *part_of, struct ms_error *err)
{
    if (parts < 2 || parts > MS_SPLIT_PARTS_MAX)
        return ms_error_set(err, MS_E_INPUT, "cannot divide into %u parts: 2 to %d", parts,
                            MS_SPLIT_PARTS_MAX);
    struct deal d = {.rows = rows};
    enum ms_status status = deal_make(&d, shares, parts, seed, err);
    uint32_t classes = rows->classes;
    for (uint32_t i = 0; status == MS_OK && i < d.members.groups; i++) {
        size_t from = d.members.first[d.order[i].group], n = d.order[i].size;
        memset(d.add, 0, classes * sizeof *d.add);
        for (size_t k = 0; k < n; k++)
            d.add[rows->labels[d.members.member[from + k]]]++;
        uint32_t best = 0;
        double best_cost = 0;
        for (uint32_t p = 0; p < parts; p++) {
            size_t at = (size_t)p * classes;
            double cost = cost_of(d.have + at, d.want + at, d.add, classes);
            if (p == 0 || cost < best_cost) {
                best = p;
                best_cost = cost;
            }
        }
        for (uint32_t c = 0; c < classes; c++)
            d.have[(size_t)best * classes + c] += d.add[c];
        for (size_t k = 0; k < n; k++)
            part_of[d.members.member[from + k]] = best;
    }
    deal_release(&d);
    return status;
}

enum ms_status ms_split_folds(const struct ms_split_rows *rows, uint32_t folds, uint64_t seed,
                              uint32_t *part_of, struct ms_error *err)
{
    double shares[MS_SPLIT_PARTS_MAX];
    for (uint32_t p = 0; p < folds && p < MS_SPLIT_PARTS_MAX; p++)
        shares[p] = 1.0 / folds;
    return ms_split_make(rows, shares, folds, seed, part_of, err);
}

enum ms_status ms_split_holdout(const struct ms_split_rows *rows, double test_share, uint64_t seed,
                                uint32_t *part_of, struct ms_error *err)
{
    if (!(test_share > 0 && test_share < 1))
        return ms_error_set(err, MS_E_INPUT, "a test share of %g: must be over 0 and under 1",
                            test_share);
    const double shares[2] = {1 - test_share, test_share};
    return ms_split_make(rows, shares, 2, seed, part_of, err);
}

enum ms_status ms_copies_count(const struct ms_split_rows *rows, struct ms_copies *out,
                               struct ms_error *err)
{
    uint32_t *alone = NULL, groups = 0;
    *out = (struct ms_copies){.rows = rows->rows, .ceiling = 1};
    if (!rows->groups) {
        alone = calloc(rows->rows + 1, sizeof *alone);
        if (!alone)
            return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu rows", rows->rows);
    }
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < rows->rows && status == MS_OK; i++) {
        uint32_t g = rows->groups ? rows->groups[i] : (uint32_t)i;
        if (g >= rows->rows || rows->labels[i] >= rows->classes)
            status = ms_error_set(err, MS_E_BUG, "row %zu: group or class out of range", i);
        if (alone)
            alone[i] = g;
        groups = g >= groups ? g + 1 : groups;
    }
    if (status == MS_OK)
        status = ms_groups_copies(rows->labels, rows->classes, alone ? alone : rows->groups, groups,
                                  rows->rows, out, err);
    free(alone);
    return status;
}
