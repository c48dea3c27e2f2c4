/* Deals the parts, repeat by repeat, and looks for copies across them. */
#include "train/partition.h"

#include "base/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t PURPOSE_REPEAT = 0x726570656174;

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the split");
}

void ms_partition_name(const struct ms_partition_request *request,
                       char out[MS_PARTITION_NAME_BYTES])
{
    const char *how = request->how == MS_PARTITION_NAIVE ? "naive-" : "";
    int n;
    if (request->folds)
        n = snprintf(out, MS_PARTITION_NAME_BYTES, "%sfold%u-seed%" PRIu64, how, request->folds,
                     request->seed);
    else
        n = snprintf(out, MS_PARTITION_NAME_BYTES, "%sholdout-%.4g-seed%" PRIu64, how,
                     request->test_share * 100, request->seed);
    if (request->repeats > 1 && n > 0 && n < MS_PARTITION_NAME_BYTES)
        (void)snprintf(out + n, MS_PARTITION_NAME_BYTES - (size_t)n, "-x%u", request->repeats);
}

uint32_t ms_partition_fits(const struct ms_partition *self)
{
    return self->folds ? self->folds : 1;
}

uint32_t ms_partition_held(const struct ms_partition *self, uint32_t k)
{
    return self->folds ? k : (uint32_t)MS_SPLIT_TEST;
}

bool ms_partition_trains(const struct ms_partition *self, uint32_t repeat, uint32_t held,
                         size_t row)
{
    uint32_t part = self->part_of[repeat * self->rows + row];
    return part != MS_PARTITION_OUT && part != held;
}

bool ms_partition_judges(const struct ms_partition *self, uint32_t repeat, uint32_t held,
                         size_t row)
{
    return self->part_of[repeat * self->rows + row] == held;
}

/* Judged rows with a copy (whatever was kept together: an identical sequence) on the other side. */
static enum ms_status count_leaks(struct ms_partition *p, const struct ms_dataset *set,
                                  struct ms_error *err)
{
    uint32_t *first = calloc(set->group_count + 1u, sizeof *first);
    bool *mixed = calloc(set->group_count + 1u, sizeof *mixed);
    for (uint32_t r = 0; first && mixed && r < p->repeats; r++) {
        const uint32_t *part_of = p->part_of + r * p->rows;
        memset(first, 0, set->group_count * sizeof *first);
        memset(mixed, 0, set->group_count * sizeof *mixed);
        for (size_t i = 0; i < p->rows; i++) {
            uint32_t g = set->groups[i];
            if (part_of[i] == MS_PARTITION_OUT)
                continue;
            mixed[g] = mixed[g] || (first[g] != 0 && first[g] != part_of[i] + 1);
            first[g] = part_of[i] + 1;
        }
        for (size_t i = 0; i < p->rows; i++)
            p->leaked += mixed[set->groups[i]] && part_of[i] != MS_PARTITION_OUT &&
                         (p->folds || part_of[i] == MS_SPLIT_TEST);
    }
    enum ms_status status = first && mixed ? MS_OK : no_memory(err);
    free(first);
    free(mixed);
    return status;
}

/* No part may be empty: nothing could be trained, or nothing judged. */
static enum ms_status check_parts(const struct ms_partition *p, uint32_t repeat,
                                  const struct ms_dataset *set, struct ms_error *err)
{
    bool used[MS_SPLIT_PARTS_MAX] = {false};
    const uint32_t *part_of = p->part_of + repeat * p->rows;
    for (size_t i = 0; i < p->rows; i++)
        if (part_of[i] < p->parts)
            used[part_of[i]] = true;
    for (uint32_t k = 0; k < p->parts; k++)
        if (!used[k])
            return ms_error_set(err, MS_E_INPUT,
                                "%zu traces (%u distinct) are too few for this split: one part has "
                                "none; try %s",
                                p->rows, set->group_count,
                                p->folds ? "fewer --folds" : "a larger --test-share, or --folds 2");
    return MS_OK;
}

/* The first repeat is dealt from the seed itself, so that one repeat is what it was without any. */
static uint64_t seed_of(uint64_t seed, uint32_t repeat)
{
    struct ms_rng rng;
    ms_rng_init(&rng, seed, PURPOSE_REPEAT, repeat);
    return repeat ? ms_rng_u64(&rng) >> 12 : seed; /* 52 bits: exact in JSON readers too */
}

static enum ms_status digest(struct ms_partition *p, const struct ms_dataset *set,
                             struct ms_error *err)
{
    struct ms_hasher *hasher;
    enum ms_status status = ms_hasher_new(MS_HASH_SHA256, &hasher, err);
    if (status != MS_OK)
        return status;
    ms_hasher_update(hasher, p->name, strlen(p->name) + 1);
    for (size_t i = 0; i < p->rows; i++) {
        ms_hasher_update(hasher, set->rows[i].key, strlen(set->rows[i].key) + 1);
        for (uint32_t r = 0; r < p->repeats; r++) {
            uint8_t part = (uint8_t)p->part_of[r * p->rows + i];
            ms_hasher_update(hasher, &part, 1);
        }
    }
    struct ms_digests digests;
    status = ms_hasher_finish(hasher, &digests, err);
    if (status == MS_OK)
        memcpy(p->digest, digests.sha256, sizeof p->digest);
    ms_hasher_free(hasher);
    return status;
}

static enum ms_status prepare(struct ms_partition *p, const struct ms_dataset *set,
                              const struct ms_partition_request *request, struct ms_error *err)
{
    *p = (struct ms_partition){.how = request->how,
                               .rows = set->count,
                               .folds = request->folds,
                               .parts = request->folds ? request->folds : 2,
                               .repeats = request->repeats ? request->repeats : 1};
    ms_partition_name(request, p->name);
    if (p->repeats > MS_PARTITION_REPEATS_MAX)
        return ms_error_set(err, MS_E_INPUT, "%u repeats: at most %d", p->repeats,
                            MS_PARTITION_REPEATS_MAX);
    p->part_of = calloc(p->rows * p->repeats + 1, sizeof *p->part_of);
    p->groups = calloc(p->rows + 1, sizeof *p->groups);
    p->seeds = calloc(p->repeats, sizeof *p->seeds);
    if (!p->part_of || !p->groups || !p->seeds)
        return no_memory(err);
    for (uint32_t r = 0; r < p->repeats; r++)
        p->seeds[r] = seed_of(request->seed, r);
    for (size_t i = 0; i < p->rows; i++)
        p->groups[i] = p->how == MS_PARTITION_NAIVE ? (uint32_t)i : set->groups[i];
    return MS_OK;
}

enum ms_status ms_partition_make(const struct ms_dataset *set,
                                 const struct ms_partition_request *request,
                                 struct ms_partition *out, struct ms_error *err)
{
    enum ms_status status = prepare(out, set, request, err);
    const struct ms_split_rows rows = {set->count, set->classes, set->labels, out->groups};
    for (uint32_t r = 0; status == MS_OK && r < out->repeats; r++) {
        uint32_t *part_of = out->part_of + r * out->rows;
        status = request->folds
                     ? ms_split_folds(&rows, request->folds, out->seeds[r], part_of, err)
                     : ms_split_holdout(&rows, request->test_share, out->seeds[r], part_of, err);
        if (status == MS_OK)
            status = check_parts(out, r, set, err);
    }
    if (status == MS_OK)
        status = count_leaks(out, set, err);
    return status == MS_OK ? digest(out, set, err) : status;
}

void ms_partition_release(struct ms_partition *self)
{
    free(self->part_of);
    free(self->groups);
    free(self->seeds);
    *self = (struct ms_partition){0};
}
