/* From a trace's calls to what a model is shown. */
#include "train/model_inputs.h"

#include "base/limits.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for a model's input");
}

/* ---- options ---- */

enum ms_status ms_input_options_check(const struct ms_input_options *self, struct ms_error *err)
{
    if (self->bigram_buckets > MS_INPUT_HASH_MOST || self->trigram_buckets > MS_INPUT_HASH_MOST)
        return ms_error_set(err, MS_E_INPUT, "a table of %u n-grams: at most %d",
                            self->bigram_buckets > MS_INPUT_HASH_MOST ? self->bigram_buckets
                                                                      : self->trigram_buckets,
                            MS_INPUT_HASH_MOST);
    if (self->wide && self->ngrams.max_n == 0)
        return ms_error_set(err, MS_E_INPUT, "a wide branch without n-grams");
    return ms_ngram_options_check(&self->ngrams, err);
}

static const char *yes(bool value)
{
    return value ? "yes" : "no";
}

void ms_input_options_text(const struct ms_input_options *self, char out[MS_INPUT_TEXT_BYTES])
{
    const struct ms_ngram_options *n = &self->ngrams;
    int at = snprintf(out, MS_INPUT_TEXT_BYTES,
                      "inputs-1 run-length=%s run-count=%s bigrams=%" PRIu32 " trigrams=%" PRIu32
                      " wide=%s ngrams=%" PRIu32,
                      yes(self->run_length), yes(self->run_count), self->bigram_buckets,
                      self->trigram_buckets, yes(self->wide), n->max_n);
    if (n->max_n > 0 && at > 0)
        (void)snprintf(out + at, MS_INPUT_TEXT_BYTES - (size_t)at,
                       " min-df=%" PRIu32 " size=%" PRIu32 " idf=%s l2=%s", n->min_df, n->max_size,
                       yes(n->idf), yes(n->l2));
}

/* "NAME=" and what follows up to a blank or the end, from *text on; *text moves behind it. */
static bool take_value(const char **text, const char *name, char out[16])
{
    size_t n = strlen(name);
    if (strncmp(*text, name, n) != 0)
        return false;
    const char *from = *text + n, *end = strchr(from, ' ');
    size_t length = end ? (size_t)(end - from) : strlen(from);
    if (length == 0 || length >= 16)
        return false;
    memcpy(out, from, length);
    out[length] = '\0';
    *text = end ? end + 1 : from + length;
    return true;
}

static bool take_number(const char **text, const char *name, uint32_t *out)
{
    char value[16];
    if (!take_value(text, name, value) || strspn(value, "0123456789") != strlen(value))
        return false;
    unsigned long long number = strtoull(value, NULL, 10);
    *out = (uint32_t)number;
    return number <= UINT32_MAX;
}

static bool take_bool(const char **text, const char *name, bool *out)
{
    char value[16];
    if (!take_value(text, name, value))
        return false;
    *out = strcmp(value, "yes") == 0;
    return *out || strcmp(value, "no") == 0;
}

enum ms_status ms_input_options_parse(const char *text, struct ms_input_options *out,
                                      struct ms_error *err)
{
    static const char version[] = "inputs-1 ";
    struct ms_input_options o = {0};
    const char *at = text;
    bool good = strncmp(at, version, sizeof version - 1) == 0;
    at += good ? sizeof version - 1 : 0;
    good = good && take_bool(&at, "run-length=", &o.run_length) &&
           take_bool(&at, "run-count=", &o.run_count) &&
           take_number(&at, "bigrams=", &o.bigram_buckets) &&
           take_number(&at, "trigrams=", &o.trigram_buckets) && take_bool(&at, "wide=", &o.wide) &&
           take_number(&at, "ngrams=", &o.ngrams.max_n);
    if (good && o.ngrams.max_n > 0)
        good = take_number(&at, "min-df=", &o.ngrams.min_df) &&
               take_number(&at, "size=", &o.ngrams.max_size) &&
               take_bool(&at, "idf=", &o.ngrams.idf) && take_bool(&at, "l2=", &o.ngrams.l2);
    char again[MS_INPUT_TEXT_BYTES];
    ms_input_options_text(&o, again);
    if (!good || strcmp(text, again) != 0)
        return ms_error_set(err, MS_E_INPUT, "its inputs are none that this version knows");
    enum ms_status status = ms_input_options_check(&o, err);
    if (status == MS_OK)
        *out = o;
    return status;
}

bool ms_input_options_runs(const struct ms_input_options *self)
{
    return self->run_length || self->run_count;
}

bool ms_input_options_grams(const struct ms_input_options *self)
{
    return self->ngrams.max_n > 0;
}

uint32_t ms_input_options_tables(const struct ms_input_options *self,
                                 uint32_t sizes[MS_LIMIT_NET_FEATURES])
{
    uint32_t n = 0;
    if (self->run_length)
        sizes[n++] = MS_INPUT_LOG_BUCKETS;
    if (self->run_count)
        sizes[n++] = MS_INPUT_LOG_BUCKETS;
    if (self->bigram_buckets)
        sizes[n++] = self->bigram_buckets;
    if (self->trigram_buckets)
        sizes[n++] = self->trigram_buckets;
    return n;
}

size_t ms_input_steps(const struct ms_net_config *config)
{
    return config->mask_padding ? MS_LIMIT_NET_STEPS : config->pad_length;
}

/* ---- features ---- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t ms_input_hash(const int32_t *tokens, uint32_t n, uint32_t buckets)
{
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++)
        h = mix(h + 1 + (uint32_t)tokens[i]);
    return (uint32_t)(h % buckets);
}

static int32_t log_bucket(uint32_t x)
{
    int32_t bucket = 0;
    for (; x > 1 && bucket < MS_INPUT_LOG_BUCKETS - 1; x >>= 1)
        bucket++;
    return bucket;
}

static int32_t hash_at(const int32_t *tokens, size_t at, uint32_t n, uint32_t buckets)
{
    return at + 1 < n ? -1 : (int32_t)ms_input_hash(tokens + (at + 1 - n), n, buckets);
}

void ms_input_rehash(const struct ms_input_options *self, const int32_t *tokens, size_t n,
                     int32_t *features)
{
    uint32_t sizes[MS_LIMIT_NET_FEATURES];
    size_t tables = ms_input_options_tables(self, sizes);
    size_t first = (size_t)self->run_length + self->run_count;
    for (size_t i = 0; i < n; i++) {
        int32_t *f = features + i * tables + first;
        if (self->bigram_buckets)
            *f++ = hash_at(tokens, i, 2, self->bigram_buckets);
        if (self->trigram_buckets)
            *f = hash_at(tokens, i, 3, self->trigram_buckets);
    }
}

/* ---- rows ---- */

struct ms_input_maker {
    struct ms_input_recipe recipe;
    const struct ms_gram_table *table;
    uint32_t tables;      /* F */
    uint32_t *token_from; /* by symbol, and one more: where its tokens begin */
    int32_t *token_ids;
    size_t token_count, token_capacity;
    uint32_t *ngram_of; /* by place in the table's list: its number, or MS_GRAM_NONE */
    uint64_t *present;  /* one bit for each number; all 0 between rows */
    size_t words;
};

void ms_input_maker_free(struct ms_input_maker *self)
{
    if (!self)
        return;
    free(self->token_from);
    free(self->token_ids);
    free(self->ngram_of);
    free(self->present);
    free(self);
}

/* The tokens of all names. Keras's rules make of a name half as many as it has bytes at most. */
static enum ms_status look_names_up(struct ms_input_maker *self, struct ms_error *err)
{
    const struct ms_gram_table *t = self->table;
    const struct ms_vocabulary *v = self->recipe.vocabulary;
    self->token_from = calloc((size_t)t->name_count + 1, sizeof *self->token_from);
    if (!self->token_from)
        return no_memory(err);
    for (uint32_t i = 0; i < t->name_count; i++) {
        size_t left = self->token_capacity - self->token_count;
        size_t many =
            left ? ms_vocabulary_tokens(v, t->names[i], self->token_ids + self->token_count, left)
                 : 1;
        if (many > left) {
            size_t capacity = (self->token_capacity + many + t->name_count) * 3 / 2;
            int32_t *ids = realloc(self->token_ids, capacity * sizeof *ids);
            if (!ids || capacity > UINT32_MAX) {
                self->token_ids = ids ? ids : self->token_ids;
                return no_memory(err);
            }
            self->token_ids = ids;
            self->token_capacity = capacity;
            i--; /* once more, with room */
            continue;
        }
        self->token_count += many;
        self->token_from[i + 1] = (uint32_t)self->token_count;
    }
    return MS_OK;
}

static enum ms_status look_grams_up(struct ms_input_maker *self, struct ms_error *err)
{
    self->words = (ms_ngrams_size(self->recipe.ngrams) + 63) / 64;
    self->present = calloc(self->words + 1, sizeof *self->present);
    self->ngram_of = calloc((size_t)self->table->gram_count + 1, sizeof *self->ngram_of);
    if (!self->present || !self->ngram_of)
        return no_memory(err);
    return ms_ngrams_map(self->recipe.ngrams, self->table, self->ngram_of, err);
}

enum ms_status ms_input_maker_new(const struct ms_input_recipe *recipe,
                                  const struct ms_gram_table *table, struct ms_input_maker **out,
                                  struct ms_error *err)
{
    struct ms_input_maker *self = calloc(1, sizeof *self);
    if (!self)
        return no_memory(err);
    uint32_t sizes[MS_LIMIT_NET_FEATURES];
    self->recipe = *recipe;
    self->table = table;
    self->tables = recipe->vocabulary ? ms_input_options_tables(&recipe->options, sizes) : 0;
    enum ms_status status = recipe->vocabulary ? look_names_up(self, err) : MS_OK;
    if (status == MS_OK && recipe->ngrams)
        status = look_grams_up(self, err);
    if (status == MS_OK)
        *out = self;
    else
        ms_input_maker_free(self);
    return status;
}

void ms_input_row_release(struct ms_input_row *self)
{
    free(self->tokens);
    free(self->features);
    free(self->ids);
    free(self->values);
    *self = (struct ms_input_row){0};
}

static bool room_for_tokens(struct ms_input_row *row, size_t n, size_t features)
{
    if (n > row->token_capacity) {
        int32_t *tokens = realloc(row->tokens, n * sizeof *tokens);
        if (!tokens)
            return false;
        row->tokens = tokens;
        row->token_capacity = n;
    }
    if (features > row->feature_capacity) {
        int32_t *ids = realloc(row->features, features * sizeof *ids);
        if (!ids)
            return false;
        row->features = ids;
        row->feature_capacity = features;
    }
    return true;
}

/* One step: its token and the features of its call. */
static void put_step(const struct ms_input_maker *self, const struct ms_input_trace *trace,
                     size_t call, int32_t token, struct ms_input_row *out)
{
    const struct ms_input_options *o = &self->recipe.options;
    out->tokens[out->n++] = token;
    out->known += !(ms_vocabulary_unknown(self->recipe.vocabulary) && token == MS_TOKEN_UNKNOWN);
    if (self->tables == 0) /* then there is no place for features either */
        return;
    int32_t *f = out->features + (out->n - 1) * self->tables;
    if (o->run_length)
        *f++ = trace->run_lengths ? log_bucket(trace->run_lengths[call]) : -1;
    if (o->run_count)
        *f = trace->run_counts ? log_bucket(trace->run_counts[call]) : -1;
}

static enum ms_status make_tokens(const struct ms_input_maker *self,
                                  const struct ms_input_trace *trace, struct ms_input_row *out,
                                  struct ms_error *err)
{
    size_t total = 0, steps = self->recipe.steps;
    for (size_t i = 0; i < trace->n; i++) {
        uint32_t symbol = trace->calls[i];
        if (symbol >= self->table->name_count)
            return ms_error_set(err, MS_E_BUG, "a call without a name");
        total += self->token_from[symbol + 1] - self->token_from[symbol];
    }
    size_t n = total < steps ? total : steps;
    size_t skip = self->recipe.cut == MS_CUT_TAIL ? total - n : 0;
    if (!room_for_tokens(out, n, n * self->tables))
        return no_memory(err);
    for (size_t i = 0; i < trace->n && out->n < n; i++) {
        uint32_t at = self->token_from[trace->calls[i]],
                 end = self->token_from[trace->calls[i] + 1];
        for (; at < end && out->n < n; at++) {
            if (skip > 0)
                skip--;
            else
                put_step(self, trace, i, self->token_ids[at], out);
        }
    }
    if (self->tables > 0)
        ms_input_rehash(&self->recipe.options, out->tokens, out->n, out->features);
    return MS_OK;
}

static bool room_for_sparse(struct ms_input_row *row, size_t n)
{
    if (n <= row->sparse_capacity)
        return true;
    uint32_t *ids = realloc(row->ids, n * sizeof *ids);
    if (ids)
        row->ids = ids;
    float *values = realloc(row->values, n * sizeof *values);
    if (values)
        row->values = values;
    if (!ids || !values)
        return false;
    row->sparse_capacity = n;
    return true;
}

/* The numbers that are marked, in order; clears the marks. */
static void gather(struct ms_input_maker *self, struct ms_input_row *out)
{
    const float *weights = ms_ngrams_weights(self->recipe.ngrams);
    double square = 0;
    for (size_t w = 0; w < self->words; w++) {
        for (uint64_t bits = self->present[w]; bits; bits &= bits - 1) {
            uint32_t id = (uint32_t)(w * 64) + (uint32_t)__builtin_ctzll(bits);
            out->ids[out->count] = id;
            out->values[out->count++] = weights[id];
            square += (double)weights[id] * (double)weights[id];
        }
        self->present[w] = 0;
    }
    if (!ms_ngrams_options(self->recipe.ngrams)->l2)
        return;
    for (uint32_t i = 0; i < out->count; i++)
        out->values[i] = (float)((double)out->values[i] / sqrt(square));
}

static enum ms_status make_sparse(struct ms_input_maker *self, const struct ms_input_trace *trace,
                                  struct ms_input_row *out, struct ms_error *err)
{
    size_t marked = 0;
    const uint32_t *grams = trace->grams.grams;
    for (size_t i = 0; i < trace->grams.n; i++)
        if ((grams ? grams[i] : i) >= self->table->gram_count)
            return ms_error_set(err, MS_E_BUG, "an n-gram that its table has not");
    for (size_t i = 0; i < trace->grams.n; i++) {
        uint32_t id = self->ngram_of[grams ? grams[i] : i];
        if (id == MS_GRAM_NONE)
            continue;
        self->present[id / 64] |= (uint64_t)1 << id % 64;
        marked++;
    }
    if (!room_for_sparse(out, marked)) {
        memset(self->present, 0, self->words * sizeof *self->present);
        return no_memory(err);
    }
    gather(self, out);
    return MS_OK;
}

enum ms_status ms_input_row_make(struct ms_input_maker *self, const struct ms_input_trace *trace,
                                 struct ms_input_row *out, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    out->n = out->known = 0;
    out->count = 0;
    if (self->recipe.vocabulary)
        status = make_tokens(self, trace, out, err);
    if (status == MS_OK && self->recipe.ngrams)
        status = make_sparse(self, trace, out, err);
    return status;
}
