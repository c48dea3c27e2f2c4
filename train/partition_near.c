/* Lays the rows' short n-grams out for MinHash, and joins what it finds with what is identical. */
#include "train/partition_near.h"

#include "base/log.h"
#include "store/trace/near.h"

#include <inttypes.h>
#include <stdlib.h>

/* Of the hash functions: groups do not depend on --seed, so that repeats keep the same ones. */
enum { NEAR_SEED = 1 };

/* The sets, one behind the other: row i's is item[first[i]] .. item[first[i + 1] - 1]. */
struct sets {
    size_t *first;
    uint64_t *item;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the near groups");
}

static const uint64_t *get(void *ctx, size_t row, int side, size_t *n)
{
    const struct sets *sets = ctx;
    (void)side; /* nothing is read anew: both sides stay valid */
    *n = sets->first[row + 1] - sets->first[row];
    return sets->item + sets->first[row];
}

static enum ms_status sets_make(struct sets *sets, const struct ms_dataset *set,
                                struct ms_error *err)
{
    size_t all = 0, most = 0;
    for (size_t i = 0; i < set->count; i++) {
        all += set->rows[i].gram_n;
        most = set->rows[i].gram_n > most ? set->rows[i].gram_n : most;
    }
    struct ms_gram *grams = calloc(most + 1, sizeof *grams);
    sets->first = calloc(set->count + 1, sizeof *sets->first);
    sets->item = calloc(all + 1, sizeof *sets->item);
    if (!grams || !sets->first || !sets->item) {
        free(grams);
        return no_memory(err);
    }
    for (size_t i = 0; i < set->count; i++) {
        const struct ms_row *row = &set->rows[i];
        for (size_t k = 0; k < row->gram_n; k++)
            grams[k] = set->grams[row->grams[k]];
        sets->first[i + 1] =
            sets->first[i] + ms_near_items(grams, row->gram_n, sets->item + sets->first[i]);
    }
    free(grams);
    return MS_OK;
}

/* Rows that share a group in either are one. */
static enum ms_status join(struct ms_partition *p, const uint32_t *near, struct ms_error *err)
{
    uint32_t *parent = calloc(p->rows + 1, sizeof *parent);
    uint32_t *first[2] = {calloc(p->rows + 1, sizeof *first[0]),
                          calloc(p->rows + 1, sizeof *first[1])};
    enum ms_status status = parent && first[0] && first[1] ? MS_OK : no_memory(err);
    for (uint32_t i = 0; status == MS_OK && i < p->rows; i++)
        parent[i] = i;
    for (uint32_t i = 0; status == MS_OK && i < p->rows; i++) {
        const uint32_t of[2] = {p->groups[i], near[i]};
        for (int k = 0; k < 2; k++) {
            uint32_t *known = &first[k][of[k]]; /* + 1 */
            if (*known)
                ms_union_join(parent, *known - 1, i);
            else
                *known = i + 1;
        }
    }
    if (status == MS_OK)
        p->near_groups = ms_union_number(parent, p->rows, p->groups);
    free(parent);
    free(first[0]);
    free(first[1]);
    return status;
}

enum ms_status ms_partition_join_near(struct ms_partition *p, const struct ms_dataset *set,
                                      struct ms_error *err)
{
    struct sets sets = {0};
    struct ms_near_report report;
    uint32_t count = 0;
    if (!set->grams)
        return ms_error_set(err, MS_E_BUG, "near groups of a dataset without n-grams");
    uint32_t *near = calloc(p->rows + 1, sizeof *near);
    enum ms_status status = near ? sets_make(&sets, set, err) : no_memory(err);
    if (status == MS_OK)
        status = ms_near_groups(get, &sets, p->rows, MS_PARTITION_NEAR_THRESHOLD, NEAR_SEED, near,
                                &count, &report, err);
    if (status == MS_OK && report.not_looked)
        ms_log(MS_LOG_WARNING,
               "near groups: %" PRIu64 " pairs were too many to look at and may be torn apart",
               report.not_looked);
    if (status == MS_OK)
        status = join(p, near, err);
    free(near);
    free(sets.first);
    free(sets.item);
    return status;
}

enum ms_status ms_partition_near_groups(const struct ms_partition *p, const struct ms_dataset *set,
                                        uint32_t *groups, uint32_t *count, struct ms_error *err)
{
    struct ms_partition other = {.rows = p->rows, .groups = groups};
    for (size_t i = 0; i < p->rows; i++)
        groups[i] = set->groups[i];
    enum ms_status status = ms_partition_join_near(&other, set, err);
    *count = other.near_groups;
    return status;
}
