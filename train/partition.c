/* Deals the parts, repeat by repeat, and looks for copies across them. */
#include "train/partition.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rng.h"
#include "train/partition_near.h"
#include "train/partition_time.h"

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
    static const char *const front[] = {"", "naive-", "near-", "time-"};
    struct ms_buf name;
    char day[32];
    ms_buf_init(&name, MS_PARTITION_NAME_BYTES);
    (void)ms_buf_append_text(&name, front[request->how]);
    ms_clock_format(request->split_date_ms, day);
    if (request->folds)
        (void)ms_buf_printf(&name, "fold%u", request->folds);
    else if (request->how == MS_PARTITION_TIME && request->split_date_ms)
        (void)ms_buf_printf(&name, "%.10s", day);
    else
        (void)ms_buf_printf(&name, "holdout-%.4g", request->test_share * 100);
    if (request->test_ratio > 0)
        (void)ms_buf_printf(&name, "-ratio%.4g", request->test_ratio * 100);
    (void)ms_buf_printf(&name, "-seed%" PRIu64, request->seed);
    if (request->repeats > 1)
        (void)ms_buf_printf(&name, "-x%u", request->repeats);
    (void)snprintf(out, MS_PARTITION_NAME_BYTES, "%s", ms_buf_text(&name));
    ms_buf_release(&name);
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

static enum ms_status make_arrays(struct ms_partition *p, uint64_t seed, struct ms_error *err)
{
    p->part_of = calloc(p->rows * p->repeats + 1, sizeof *p->part_of);
    p->groups = calloc(p->rows + 1, sizeof *p->groups);
    p->seeds = calloc(p->repeats, sizeof *p->seeds);
    if (!p->part_of || !p->groups || !p->seeds)
        return no_memory(err);
    for (uint32_t r = 0; r < p->repeats; r++)
        p->seeds[r] = seed_of(seed, r);
    return MS_OK;
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
    enum ms_status status = make_arrays(p, request->seed, err);
    for (size_t i = 0; status == MS_OK && i < p->rows; i++)
        p->groups[i] = p->how == MS_PARTITION_NAIVE ? (uint32_t)i : set->groups[i];
    return status == MS_OK && p->how == MS_PARTITION_NEAR ? ms_partition_join_near(p, set, err)
                                                          : status;
}

static enum ms_status deal(struct ms_partition *p, const struct ms_dataset *set,
                           const struct ms_partition_request *request, struct ms_error *err)
{
    const struct ms_split_rows rows = {set->count, set->classes, set->labels, p->groups};
    enum ms_status status = MS_OK;
    if (p->how == MS_PARTITION_TIME)
        return ms_partition_by_time(p, set, request, err);
    for (uint32_t r = 0; status == MS_OK && r < p->repeats; r++) {
        uint32_t *part_of = p->part_of + r * p->rows;
        status = request->folds
                     ? ms_split_folds(&rows, request->folds, p->seeds[r], part_of, err)
                     : ms_split_holdout(&rows, request->test_share, p->seeds[r], part_of, err);
    }
    return status;
}

/* Writes the manifest of a finished partition. */
static enum ms_status describe(struct ms_partition *p, const struct ms_dataset *set,
                               struct ms_error *err)
{
    char dataset[MS_HASH_HEX_MAX];
    struct ms_buf bytes;
    ms_hex_encode(set->digest, sizeof set->digest, dataset);
    const char **keys = calloc(p->rows + 1, sizeof *keys);
    uint64_t(*sequences)[2] = calloc(p->rows + 1, sizeof *sequences);
    const struct ms_manifest manifest = {.name = p->name,
                                         .dataset = dataset,
                                         .how = p->how,
                                         .folds = p->folds,
                                         .repeats = p->repeats,
                                         .seed = p->seeds[0],
                                         .split_date_ms = p->split_date_ms,
                                         .undated = p->undated,
                                         .moved = p->moved,
                                         .one_sided = p->one_sided,
                                         .thinned = p->thinned,
                                         .window_count = p->window_count,
                                         .windows_ms = p->windows_ms,
                                         .rows = p->rows,
                                         .keys = keys,
                                         .sequences = sequences,
                                         .groups = p->groups,
                                         .part_of = p->part_of,
                                         .window_of = p->window_of};
    ms_buf_init(&bytes, MS_LIMIT_SPLIT_BYTES);
    enum ms_status status = keys && sequences ? MS_OK : no_memory(err);
    for (size_t i = 0; status == MS_OK && i < p->rows; i++) {
        keys[i] = set->rows[i].key;
        memcpy(sequences[i], set->rows[i].sequence, sizeof *sequences);
    }
    if (status == MS_OK)
        status = ms_manifest_encode(&manifest, &bytes, p->digest, err);
    if (status == MS_OK)
        p->manifest = ms_buf_take(&bytes, &p->manifest_bytes);
    ms_buf_release(&bytes);
    free(keys);
    free(sequences);
    return status;
}

enum ms_status ms_partition_make(const struct ms_dataset *set,
                                 const struct ms_partition_request *request,
                                 struct ms_partition *out, struct ms_error *err)
{
    enum ms_status status = prepare(out, set, request, err);
    if (status == MS_OK)
        status = deal(out, set, request, err);
    for (uint32_t r = 0; status == MS_OK && r < out->repeats; r++)
        status = check_parts(out, r, set, err);
    if (status == MS_OK)
        status = count_leaks(out, set, err);
    return status == MS_OK ? describe(out, set, err) : status;
}

/* ---- from a file ----------------------------------------------------------------------------- */

/* Both sides are in the order of their keys. */
static enum ms_status compare_keys(const struct ms_manifest *m, const struct ms_dataset *set,
                                   struct ms_error *err)
{
    size_t more = 0, missing = 0, i = 0, k = 0, rows = m->rows - m->forgotten;
    const char *example = NULL;
    while (i < rows || k < set->count) {
        int order = i == rows ? 1 : k == set->count ? -1 : strcmp(m->keys[i], set->rows[k].key);
        if (order != 0 && !example)
            example = order < 0 ? m->keys[i] : set->rows[k].key;
        more += order < 0;
        missing += order > 0;
        i += order <= 0;
        k += order >= 0;
    }
    char shown[128];
    return more + missing == 0
               ? MS_OK
               : ms_error_set(err, MS_E_INPUT,
                              "the split file is of other traces: %zu of its are not in this "
                              "dataset, and %zu of the dataset's not in it (the first: %s); a "
                              "split holds for the same target, policy and --min-calls",
                              more, missing, ms_escape_text(example, shown, sizeof shown));
}

/* Numbers of groups below the number of rows, also where those of some groups were forgotten. */
static enum ms_status take_groups(struct ms_partition *p, const struct ms_manifest *m,
                                  struct ms_error *err)
{
    uint32_t *number = calloc(m->rows, sizeof *number), known = 0;
    if (!number)
        return no_memory(err);
    for (size_t i = 0; i < p->rows; i++) {
        uint32_t *at = &number[m->groups[i]];
        *at = *at || !m->forgotten ? *at : ++known;
        p->groups[i] = m->forgotten ? *at - 1 : m->groups[i];
    }
    free(number);
    return MS_OK;
}

/* Its rows but for those that were forgotten, which are the last. */
static enum ms_status take_manifest(struct ms_partition *p, const struct ms_manifest *m,
                                    uint64_t seed, struct ms_error *err)
{
    *p = (struct ms_partition){.how = m->how,
                               .rows = m->rows - m->forgotten,
                               .folds = m->folds,
                               .parts = m->folds ? m->folds : 2,
                               .repeats = m->repeats,
                               .split_date_ms = m->split_date_ms,
                               .undated = m->undated,
                               .moved = m->moved,
                               .one_sided = m->one_sided,
                               .thinned = m->thinned,
                               .window_count = m->window_count};
    (void)snprintf(p->name, sizeof p->name, "%.88s%s", m->name, m->forgotten ? "-rest" : "");
    enum ms_status status = make_arrays(p, seed, err);
    if (status != MS_OK)
        return status;
    for (uint32_t r = 0; r < p->repeats; r++)
        memcpy(p->part_of + r * p->rows, m->part_of + r * m->rows, p->rows * sizeof *p->part_of);
    status = take_groups(p, m, err);
    if (status != MS_OK || !m->window_count)
        return status;
    p->windows_ms = calloc(m->window_count, sizeof *p->windows_ms);
    p->window_of = calloc(p->rows + 1, sizeof *p->window_of);
    if (!p->windows_ms || !p->window_of)
        return no_memory(err);
    memcpy(p->windows_ms, m->windows_ms, m->window_count * sizeof *p->windows_ms);
    memcpy(p->window_of, m->window_of, p->rows * sizeof *p->window_of);
    return MS_OK;
}

enum ms_status ms_partition_adopt(const struct ms_dataset *set, struct ms_buf *bytes, uint64_t seed,
                                  struct ms_partition *out, struct ms_error *err)
{
    struct ms_manifest manifest;
    *out = (struct ms_partition){0};
    enum ms_status status = ms_manifest_decode(ms_span_of(bytes->data, bytes->len), &manifest, err);
    if (status == MS_OK)
        status = compare_keys(&manifest, set, err);
    if (status == MS_OK)
        status = take_manifest(out, &manifest, seed, err);
    const size_t forgotten = manifest.forgotten;
    ms_manifest_release(&manifest);
    for (uint32_t r = 0; status == MS_OK && r < out->repeats; r++)
        status = check_parts(out, r, set, err);
    if (status == MS_OK)
        status = count_leaks(out, set, err);
    if (status == MS_OK && out->leaked && out->how != MS_PARTITION_NAIVE)
        status = ms_error_set(err, MS_E_INPUT,
                              "the split file tears copies apart: %u judged rows have the same "
                              "sequence as one that trains",
                              out->leaked);
    if (status == MS_OK && forgotten) {
        ms_log(MS_LOG_WARNING,
               "%zu traces of the split file were forgotten: what is left is another split, and "
               "models judged on the whole cannot be compared with this one",
               forgotten);
        return describe(out, set, err);
    }
    if (status == MS_OK && ms_hash_sha256(bytes->data, bytes->len, out->digest) != MS_OK)
        status = no_memory(err);
    if (status == MS_OK)
        out->manifest = ms_buf_take(bytes, &out->manifest_bytes);
    return status;
}

enum ms_status ms_partition_read(const struct ms_dataset *set, const char *path, uint64_t seed,
                                 struct ms_partition *out, struct ms_error *err)
{
    struct ms_buf bytes;
    *out = (struct ms_partition){0};
    ms_buf_init(&bytes, MS_LIMIT_SPLIT_BYTES);
    enum ms_status status = ms_file_read(path, &bytes, err);
    if (status == MS_E_IO)
        status = MS_E_INPUT;
    if (status == MS_OK)
        status = ms_partition_adopt(set, &bytes, seed, out, err);
    ms_buf_release(&bytes);
    return status;
}

void ms_partition_release(struct ms_partition *self)
{
    free(self->part_of);
    free(self->groups);
    free(self->seeds);
    free(self->windows_ms);
    free(self->window_of);
    free(self->manifest);
    *self = (struct ms_partition){0};
}
