/* Traces as LibSVM lines: a label, then index:count of the n-grams of calls in rising order. The
 * indexes are those of a vocabulary, written beside, or hashed. */
#include "malseq/traces.h"

#include "base/limits.h"
#include "malseq/spool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096, GRAM_MOST = 3, TOKEN_BITS = 20 };

/* A set of numbers, none of them 0, and how often each was added; open addressing. */
struct counts {
    uint64_t *keys;
    uint32_t *counts;
    size_t n, mask;
};

/* Calls of the trace so far: the last tokens, and the states of the hash over their names. */
struct window {
    uint32_t tokens[GRAM_MOST];
    size_t n;
};

struct writer {
    struct traces *traces;
    uint32_t ngrams;
    uint64_t hash_mask; /* 0: a vocabulary */
    struct counts row, all;
    uint64_t *grams; /* the vocabulary, in order */
    size_t gram_n;
    struct ms_file_stream ids;
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    return x ^ x >> 29;
}

static bool counts_grow(struct counts *self)
{
    struct counts bigger = {.mask = self->mask ? self->mask * 2 + 1 : 1023};
    bigger.keys = calloc(bigger.mask + 1, sizeof *bigger.keys);
    bigger.counts = calloc(bigger.mask + 1, sizeof *bigger.counts);
    if (!bigger.keys || !bigger.counts) {
        free(bigger.keys);
        free(bigger.counts);
        return false;
    }
    for (size_t i = 0; self->mask && i <= self->mask; i++) {
        size_t at = mix(self->keys[i]) & bigger.mask;
        if (!self->keys[i])
            continue;
        while (bigger.keys[at])
            at = (at + 1) & bigger.mask;
        bigger.keys[at] = self->keys[i];
        bigger.counts[at] = self->counts[i];
    }
    bigger.n = self->n;
    free(self->keys);
    free(self->counts);
    *self = bigger;
    return true;
}

static bool counts_add(struct counts *self, uint64_t key)
{
    if (self->n * 2 >= self->mask && !counts_grow(self))
        return false;
    size_t at = mix(key) & self->mask;
    while (self->keys[at] && self->keys[at] != key)
        at = (at + 1) & self->mask;
    self->n += self->keys[at] == 0;
    self->keys[at] = key;
    if (self->counts[at] < UINT32_MAX)
        self->counts[at]++;
    return true;
}

static void counts_release(struct counts *self)
{
    free(self->keys);
    free(self->counts);
    *self = (struct counts){0};
}

/* An n-gram of the vocabulary as a number that sorts by n, then by its tokens. */
static uint64_t gram_of(const uint32_t *tokens, size_t n)
{
    uint64_t gram = n;
    for (size_t i = 0; i < GRAM_MOST; i++)
        gram = gram << TOKEN_BITS | (i < n ? tokens[i] : 0);
    return gram;
}

static struct ms_span token_name(const struct writer *self, uint32_t token)
{
    return malseq_tally_at(&self->traces->vocabulary, token - 1, NULL);
}

/* FNV-1a, 64 bits, over the names with a newline between; its halves folded together and cut. */
static uint64_t hashed(const struct writer *self, const uint32_t *tokens, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) {
        struct ms_span name = token_name(self, tokens[i]);
        if (i)
            h = (h ^ '\n') * 0x100000001b3u;
        for (size_t k = 0; k < name.len; k++)
            h = (h ^ name.data[k]) * 0x100000001b3u;
    }
    return ((h ^ h >> 32) & self->hash_mask) + 1;
}

/* The n-grams that end with this call. */
static bool add_call(struct writer *self, struct counts *counts, struct window *window,
                     uint32_t token)
{
    if (window->n == self->ngrams) {
        memmove(window->tokens, window->tokens + 1, (window->n - 1) * sizeof *window->tokens);
        window->n--;
    }
    window->tokens[window->n++] = token;
    bool good = true;
    for (size_t n = 1; n <= window->n && good; n++) {
        const uint32_t *tokens = window->tokens + window->n - n;
        good = counts_add(counts, self->hash_mask ? hashed(self, tokens, n) : gram_of(tokens, n));
    }
    return good;
}

/* All n-grams of the next spooled trace. */
static enum ms_status add_trace(struct writer *self, struct counts *counts, uint64_t calls,
                                struct ms_error *err)
{
    uint32_t symbols[BLOCK];
    struct window window = {.n = 0};
    enum ms_status status = MS_OK;
    while (calls && status == MS_OK) {
        size_t n = calls < BLOCK ? (size_t)calls : BLOCK;
        status = malseq_spool_get(self->traces->calls, symbols, n * sizeof *symbols, err);
        for (size_t i = 0; i < n && status == MS_OK; i++)
            if (!add_call(self, counts, &window, self->traces->token_of[symbols[i]]) ||
                counts->n > MS_LIMIT_NGRAMS)
                status = ms_error_set(err, MS_E_LIMIT,
                                      "more than %d distinct n-grams: --hash-bits takes any number",
                                      MS_LIMIT_NGRAMS);
        calls -= n;
    }
    return status;
}

/* The class of a trace as LibSVM wants it; false where it has none. */
static bool label_of(const struct traces *self, const struct traces_meta *meta, uint32_t *label)
{
    struct ms_span verdict = {NULL, 0};
    if (meta->verdict >= 0)
        verdict = ms_names_get(self->verdicts.names, (uint32_t)meta->verdict);
    bool malicious = ms_span_equal_text(verdict, "malicious");
    if (strcmp(self->options->target, "class") == 0) {
        *label = meta->class_ >= 0 ? self->classes.rank[meta->class_] : 0;
        return malicious && meta->class_ >= 0;
    }
    *label = malicious;
    return malicious || ms_span_equal_text(verdict, "benign");
}

static int by_number(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

/* The keys of a set, sorted; from malloc. */
static uint64_t *sorted_keys(const struct counts *counts)
{
    uint64_t *keys = calloc(counts->n + 1, sizeof *keys);
    size_t used = 0;
    for (size_t i = 0; keys && counts->mask && i <= counts->mask; i++)
        if (counts->keys[i])
            keys[used++] = counts->keys[i];
    if (keys && used > 1)
        qsort(keys, used, sizeof *keys, by_number);
    return keys;
}

static uint32_t count_of(const struct counts *counts, uint64_t key)
{
    size_t at = mix(key) & counts->mask;
    while (counts->keys[at] != key)
        at = (at + 1) & counts->mask;
    return counts->counts[at];
}

/* 1 for the first n-gram of the vocabulary. */
static uint64_t index_of(const struct writer *self, uint64_t key)
{
    if (self->hash_mask)
        return key;
    const uint64_t *found =
        bsearch(&key, self->grams, self->gram_n, sizeof *self->grams, by_number);
    return found ? (uint64_t)(found - self->grams) + 1 : 0;
}

static enum ms_status put_row(struct writer *self, uint32_t label, struct ms_error *err)
{
    struct ms_buf *line = &self->traces->line;
    uint64_t *keys = sorted_keys(&self->row);
    if (!keys)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for n-grams");
    enum ms_status status = MS_OK;
    (void)ms_buf_printf(line, "%" PRIu32, label);
    for (size_t i = 0; i < self->row.n && status == MS_OK; i++) {
        (void)ms_buf_printf(line, " %" PRIu64 ":%" PRIu32, index_of(self, keys[i]),
                            count_of(&self->row, keys[i]));
        if (line->len > (1 << 16))
            status = malseq_traces_put_line(self->traces, err);
    }
    (void)ms_buf_append_byte(line, '\n');
    free(keys);
    return status == MS_OK ? malseq_traces_put_line(self->traces, err) : status;
}

static enum ms_status rewind_all(struct traces *traces, struct ms_error *err)
{
    enum ms_status status = malseq_spool_rewind(traces->meta, err);
    if (status == MS_OK)
        status = malseq_spool_rewind(traces->keys, err);
    return status == MS_OK ? malseq_spool_rewind(traces->calls, err) : status;
}

/* One pass over the spooled traces: collects the vocabulary, or writes the lines. */
static enum ms_status pass(struct writer *self, bool write, struct ms_error *err)
{
    struct traces *traces = self->traces;
    enum ms_status status = rewind_all(traces, err);
    for (uint64_t i = 0; i < traces->rows && status == MS_OK; i++) {
        struct traces_meta meta;
        char key[513];
        uint32_t label = 0;
        status = malseq_spool_get(traces->meta, &meta, sizeof meta, err);
        if (status == MS_OK && meta.key_bytes >= sizeof key)
            status = ms_error_set(err, MS_E_BUG, "a key of %" PRIu32 " bytes", meta.key_bytes);
        if (status == MS_OK)
            status = malseq_spool_get(traces->keys, key, meta.key_bytes, err);
        if (status != MS_OK)
            break;
        bool wanted = label_of(traces, &meta, &label);
        traces->off_target += write && !wanted;
        counts_release(&self->row);
        status = add_trace(self, write || !wanted ? &self->row : &self->all, meta.calls, err);
        if (status != MS_OK || !write || !wanted)
            continue;
        key[meta.key_bytes] = '\n';
        status = put_row(self, label, err);
        if (status == MS_OK)
            status = malseq_spool_put(self->ids.file, key, meta.key_bytes + 1, err);
    }
    return status;
}

/* FILE.features: line k has the names of feature k, a blank between. */
static enum ms_status put_features(struct writer *self, struct ms_error *err)
{
    struct ms_file_stream file = {NULL, NULL, NULL};
    struct ms_buf line;
    ms_buf_init(&line, 1 << 20);
    enum ms_status status = malseq_traces_beside(self->traces, ".features", &file, err);
    for (size_t i = 0; i < self->gram_n && status == MS_OK; i++) {
        ms_buf_clear(&line);
        for (int k = GRAM_MOST - 1; k >= 0; k--) {
            uint32_t token =
                (uint32_t)(self->grams[i] >> k * TOKEN_BITS) & ((1u << TOKEN_BITS) - 1);
            if (!token)
                continue;
            struct ms_span name = token_name(self, token);
            if (line.len)
                (void)ms_buf_append_byte(&line, ' ');
            (void)ms_buf_append(&line, name.data, name.len);
        }
        (void)ms_buf_append_byte(&line, '\n');
        status = malseq_spool_put(file.file, line.data, line.len, err);
    }
    if (status == MS_OK)
        status = ms_file_stream_commit(&file, err);
    ms_file_stream_abort(&file);
    ms_buf_release(&line);
    return status;
}

static enum ms_status make_vocabulary(struct writer *self, struct ms_error *err)
{
    enum ms_status status = pass(self, false, err);
    if (status != MS_OK)
        return status;
    self->gram_n = self->all.n;
    self->grams = sorted_keys(&self->all);
    counts_release(&self->all);
    if (!self->grams)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for n-grams");
    return put_features(self, err);
}

static enum ms_status libsvm_end(struct traces *traces, struct ms_error *err)
{
    struct writer self = {.traces = traces, .ngrams = (uint32_t)traces->options->ngrams};
    uint64_t bits = traces->options->hash_bits;
    self.hash_mask = bits ? (UINT64_C(1) << bits) - 1 : 0;
    enum ms_status status = self.hash_mask ? MS_OK : make_vocabulary(&self, err);
    if (status == MS_OK)
        status = malseq_traces_beside(traces, ".ids", &self.ids, err);
    if (status == MS_OK)
        status = pass(&self, true, err);
    if (status == MS_OK)
        status = ms_file_stream_commit(&self.ids, err);
    ms_file_stream_abort(&self.ids);
    traces->features = self.hash_mask ? self.hash_mask + 1 : self.gram_n;
    counts_release(&self.row);
    counts_release(&self.all);
    free(self.grams);
    return status;
}

const struct traces_format malseq_traces_libsvm = {.name = "libsvm",
                                                   .needs_file = true,
                                                   .spools = true,
                                                   .row = malseq_traces_spool,
                                                   .end = libsvm_end};
