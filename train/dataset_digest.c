/* Hashes what a dataset says, independent of row ids and of the order of the rows. */
#include "train/dataset_digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each text with its NUL, so that texts cannot run into each other. */
static void add_text(struct ms_hasher *hasher, const char *text)
{
    ms_hasher_update(hasher, text, strlen(text) + 1);
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, MS_SHA256_BYTES);
}

/* Numbers of 32 or 64 bits, lowest byte first. */
static void add_number(struct ms_hasher *hasher, uint64_t value, size_t bytes)
{
    uint8_t out[8];
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
    ms_hasher_update(hasher, out, bytes);
}

/* 64 bits for each n-gram, by its names alone: the first of the SHA-256 of what it is made of. NULL
 * and *status set when that fails; freed by the caller. */
static uint64_t *gram_digests(struct ms_hasher *hasher, const struct ms_dataset *set,
                              enum ms_status *status, struct ms_error *err)
{
    uint64_t *digests = calloc((size_t)set->gram_count + 1, sizeof *digests);
    if (!digests)
        *status = ms_error_set(err, MS_E_NOMEM, "out of memory for the dataset's digest");
    for (uint32_t g = 0; *status == MS_OK && g < set->gram_count; g++) {
        struct ms_digests d;
        for (uint32_t i = 0; i < ms_gram_length(set->grams[g]); i++) {
            struct ms_span name = set->names[set->grams[g].symbol[i]];
            ms_hasher_update(hasher, name.data, name.len);
            ms_hasher_update(hasher, "\n", 1);
        }
        *status = ms_hasher_finish(hasher, &d, err);
        if (*status == MS_OK)
            memcpy(&digests[g], d.sha256, sizeof digests[g]);
    }
    return digests;
}

static enum ms_status row_digest(struct ms_hasher *hasher, const struct ms_dataset *set,
                                 const struct ms_row *of, const uint64_t *grams,
                                 struct ms_row_numbers *row, uint8_t out[MS_SHA256_BYTES],
                                 struct ms_error *err)
{
    struct ms_digests digests;
    enum ms_status status = ms_row_unpack(&of->pack, row, err);
    if (status != MS_OK)
        return status;
    add_text(hasher, of->key);
    add_text(hasher, set->class_names[of->label]);
    for (size_t i = 0; i < row->n; i++) {
        struct ms_span name = ms_names_get(set->symbols, row->calls[i]);
        ms_hasher_update(hasher, name.data, name.len);
        ms_hasher_update(hasher, "\n", 1);
    }
    for (size_t i = 0; row->run_lengths && i < row->n; i++) {
        add_number(hasher, row->run_lengths[i], 4);
        add_number(hasher, row->run_counts[i], 4);
    }
    for (size_t i = 0; i < row->gram_n + row->static_n; i++)
        ms_hasher_update(hasher, &grams[row->grams[i]], sizeof *grams);
    status = ms_hasher_finish(hasher, &digests, err);
    if (status == MS_OK)
        memcpy(out, digests.sha256, MS_SHA256_BYTES);
    return status;
}

enum ms_status ms_dataset_digest(struct ms_dataset *self, const struct ms_dataset_request *request,
                                 struct ms_error *err)
{
    uint8_t(*rows)[MS_SHA256_BYTES] = calloc(self->count, sizeof *rows);
    if (!rows)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the dataset's digest");
    struct ms_hasher *hasher = NULL;
    enum ms_status status = ms_hasher_new(MS_HASH_SHA256, &hasher, err);
    uint64_t *grams = status == MS_OK ? gram_digests(hasher, self, &status, err) : NULL;
    struct ms_row_numbers row = {0};
    for (size_t i = 0; i < self->count && status == MS_OK; i++)
        status = row_digest(hasher, self, &self->rows[i], grams, &row, rows[i], err);
    ms_row_numbers_release(&row);
    if (status == MS_OK) {
        qsort(rows, self->count, sizeof *rows, by_bytes);
        struct ms_digests digests;
        add_text(hasher, self->normalisation);
        char least[32];
        (void)snprintf(least, sizeof least, "min-calls=%" PRIu64, request->min_calls);
        add_text(hasher, least);
        add_text(hasher, self->policies);
        add_text(hasher, request->target_text);
        if (request->want_runs)
            add_text(hasher, "runs");
        if (request->want_grams) {
            (void)snprintf(least, sizeof least, "grams-%d", MS_GRAM_VERSION);
            add_text(hasher, least);
        }
        if (request->opcodes)
            add_text(hasher, "opcodes");
        if (request->statics)
            add_text(hasher, ms_static_use_name(request->statics));
        ms_hasher_update(hasher, rows, self->count * sizeof *rows);
        status = ms_hasher_finish(hasher, &digests, err);
        if (status == MS_OK)
            memcpy(self->digest, digests.sha256, MS_SHA256_BYTES);
    }
    ms_hasher_free(hasher);
    free(grams);
    free(rows);
    return status;
}
