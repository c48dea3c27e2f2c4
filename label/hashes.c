/* The list of --hashes in memory. */
#include "label/hashes.h"

#include "label/list.h"
#include "label/lookup.h"
#include "store/sample.h"

#include <stdlib.h>
#include <string.h>

struct reading {
    struct ms_hashes *list;
    struct ms_corpus *corpus;
    int64_t run;
    ms_hashes_reject reject;
    void *ctx;
};

static enum ms_status add_line(struct ms_hashes *self, const struct ms_hashes_line *line,
                               struct ms_error *err)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 256;
        struct ms_hashes_line *longer =
            cap < UINT32_MAX ? realloc(self->lines, cap * sizeof *longer) : NULL;
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->lines = longer;
        self->cap = cap;
    }
    self->lines[self->count++] = *line;
    return MS_OK;
}

static enum ms_status take_line(void *ctx, uint64_t number, const char *hash, const char *text,
                                struct ms_error *err)
{
    struct reading *self = ctx;
    struct ms_sample sample = {.size = -1, .machine = -1};
    struct ms_hashes_line line = {0};
    struct ms_error why = {0};
    bool inserted = false;
    if (!hash)
        return self->reject(self->ctx, number, text, "not an MD5, SHA-1 or SHA-256", err);
    if (ms_is_empty_file(hash))
        return self->reject(self->ctx, number, text, "the empty file is never asked", err);
    size_t n = strlen(hash);
    sample.has_md5 = n == 32 && ms_hex_decode(hash, MS_MD5_BYTES, sample.digests.md5);
    sample.has_sha1 = n == 40 && ms_hex_decode(hash, MS_SHA1_BYTES, sample.digests.sha1);
    sample.has_sha256 = n == 64 && ms_hex_decode(hash, MS_SHA256_BYTES, sample.digests.sha256);
    enum ms_status status =
        ms_sample_upsert(self->corpus, &sample, self->run, &line.sample, &inserted, &why);
    if (status == MS_REJECT)
        return self->reject(self->ctx, number, text, why.text, err);
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    line.hash_bytes = (uint8_t)(n / 2);
    return ms_hex_decode(hash, n / 2, line.hash)
               ? add_line(self->list, &line, err)
               : ms_error_set(err, MS_E_BUG, "a hash that is none");
}

/* qsort has no context; one list is sorted at a time. */
struct key {
    int64_t sample;
    uint32_t index;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->sample != y->sample)
        return x->sample < y->sample ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Chains the lines of each sample and orders the chains. */
static enum ms_status index_samples(struct ms_hashes *self, struct ms_error *err)
{
    struct key *keys = calloc(self->count + 1, sizeof *keys);
    self->by_sample = calloc(self->count + 1, sizeof *self->by_sample);
    if (!keys || !self->by_sample) {
        free(keys);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < self->count; i++)
        keys[i] = (struct key){self->lines[i].sample, (uint32_t)i};
    qsort(keys, self->count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < self->count; i++) {
        if (i > 0 && keys[i - 1].sample == keys[i].sample)
            self->lines[keys[i - 1].index].next = keys[i].index + 1;
        else
            self->by_sample[self->sample_count++] = keys[i].index;
    }
    free(keys);
    return MS_OK;
}

enum ms_status ms_hashes_read(struct ms_hashes *self, struct ms_corpus *corpus, const char *path,
                              int64_t run, ms_hashes_reject reject, void *ctx, struct ms_error *err)
{
    struct reading reading = {self, corpus, run, reject, ctx};
    enum ms_status status = ms_list_read(path, take_line, &reading, err);
    return status == MS_OK ? index_samples(self, err) : status;
}

void ms_hashes_release(struct ms_hashes *self)
{
    free(self->lines);
    free(self->by_sample);
    *self = (struct ms_hashes){0};
}

struct ms_hashes_line *ms_hashes_find(const struct ms_hashes *self, int64_t sample)
{
    size_t low = 0, high = self->sample_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (self->lines[self->by_sample[middle]].sample < sample)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == self->sample_count || self->lines[self->by_sample[low]].sample != sample)
        return NULL;
    return &self->lines[self->by_sample[low]];
}

struct ms_hashes_line *ms_hashes_next(const struct ms_hashes *self,
                                      const struct ms_hashes_line *line)
{
    return line->next ? &self->lines[line->next - 1] : NULL;
}

void ms_hashes_text(const struct ms_hashes_line *line, char out[MS_HASH_HEX_MAX])
{
    ms_hex_encode(line->hash, line->hash_bytes, out);
}
