/* Thins equal rows to one of each; reads and releases nothing. */
#include "train/dataset_copies.h"

#include <stdlib.h>
#include <string.h>

struct place {
    uint32_t group, row;
};

static int by_group(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The most frequent class of n rows; UINT32_MAX when two are. counts has a zero for every class,
 * and again afterwards. */
static uint32_t most_frequent(const struct place *members, size_t n, const uint32_t *labels,
                              uint32_t *counts)
{
    uint32_t best = UINT32_MAX, most = 0;
    for (size_t i = 0; i < n; i++)
        counts[labels[members[i].row]]++;
    for (size_t i = 0; i < n; i++) {
        uint32_t label = labels[members[i].row], count = counts[label];
        counts[label] = 0; /* each class is looked at once */
        if (count > most) {
            best = label;
            most = count;
        } else if (count == most && count > 0) {
            best = UINT32_MAX;
        }
    }
    return best;
}

enum ms_status ms_copies_thin(const struct ms_split_rows *rows, bool *keep, uint64_t *copies,
                              uint64_t *undecided, struct ms_error *err)
{
    const size_t n = rows->rows;
    for (size_t i = 0; i < n; i++)
        if (rows->groups[i] >= n || rows->labels[i] >= rows->classes)
            return ms_error_set(err, MS_E_BUG, "row %zu: group or class out of range", i);
    struct place *places = calloc(n + 1, sizeof *places);
    uint32_t *counts = calloc((size_t)rows->classes + 1, sizeof *counts);
    if (!places || !counts) {
        free(places);
        free(counts);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu rows", n);
    }
    for (size_t i = 0; i < n; i++)
        places[i] = (struct place){rows->groups[i], (uint32_t)i};
    qsort(places, n, sizeof *places, by_group);
    memset(keep, 0, n * sizeof *keep);
    *copies = *undecided = 0;
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && places[to].group == places[from].group;)
            to++;
        uint32_t label = most_frequent(places + from, to - from, rows->labels, counts);
        size_t at = from;
        while (at < to && rows->labels[places[at].row] != label)
            at++;
        if (at < to)
            keep[places[at].row] = true;
        *(at < to ? copies : undecided) += to - from - (at < to);
    }
    free(places);
    free(counts);
    return MS_OK;
}
