/* Shows MinHash the rows' short n-grams, and joins what it finds with what is identical. */
#include "train/partition_near.h"

#include "base/log.h"
#include "store/trace/near.h"

#include <inttypes.h>
#include <stdlib.h>

/* Of the hash functions: groups do not depend on --seed, so that repeats keep the same ones. */
enum { NEAR_SEED = 1 };

/* Two rows' sets at a time: those of all would take more memory than the dataset. */
struct sets {
    const struct ms_dataset *set;
    struct ms_row_numbers row;
    struct ms_gram *grams; /* room for those of any row */
    uint64_t *item[2];
    enum ms_status status; /* the first failure; what follows is of no use */
    struct ms_error error;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the near groups");
}

static const uint64_t *get(void *ctx, size_t row, int side, size_t *n)
{
    struct sets *sets = ctx;
    *n = 0;
    if (sets->status == MS_OK)
        sets->status = ms_row_unpack(&sets->set->rows[row].pack, &sets->row, &sets->error);
    if (sets->status != MS_OK)
        return sets->item[side];
    for (size_t k = 0; k < sets->row.gram_n; k++)
        sets->grams[k] = sets->set->grams[sets->row.grams[k]];
    *n = ms_near_items(sets->grams, sets->row.gram_n, sets->item[side]);
    return sets->item[side];
}

static enum ms_status sets_make(struct sets *sets, const struct ms_dataset *set,
                                struct ms_error *err)
{
    size_t most = 1;
    for (size_t i = 0; i < set->count; i++)
        most = set->rows[i].pack.gram_n > most ? set->rows[i].pack.gram_n : most;
    *sets = (struct sets){
        .set = set,
        .grams = calloc(most, sizeof *sets->grams),
        .item = {calloc(most, sizeof *sets->item[0]), calloc(most, sizeof *sets->item[1])}};
    return sets->grams && sets->item[0] && sets->item[1] ? MS_OK : no_memory(err);
}

static void sets_release(struct sets *sets)
{
    ms_row_numbers_release(&sets->row);
    free(sets->grams);
    free(sets->item[0]);
    free(sets->item[1]);
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
    if (status == MS_OK && sets.status != MS_OK) {
        status = sets.status;
        if (err)
            *err = sets.error;
    }
    if (status == MS_OK && report.not_looked)
        ms_log(MS_LOG_WARNING,
               "near groups: %" PRIu64 " pairs were too many to look at and may be torn apart",
               report.not_looked);
    if (status == MS_OK)
        status = join(p, near, err);
    free(near);
    sets_release(&sets);
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
