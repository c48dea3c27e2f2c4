/* The vocabulary of n-grams: which are kept, their numbers, and finding them again. */
#include "train/ngrams.h"

#include "base/limits.h"
#include "base/log.h"
#include "store/trace/names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ms_ngrams {
    struct ms_ngram_options options;
    struct ms_names *names;
    int32_t *places; /* size x MS_GRAM_MOST */
    float *weights;  /* size */
    uint32_t size;
    uint32_t *slots; /* number + 1; 0: free */
    uint32_t mask;
    uint64_t seed;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for n-grams");
}

enum ms_status ms_ngram_options_check(const struct ms_ngram_options *self, struct ms_error *err)
{
    if (self->max_n == 0)
        return MS_OK;
    if (self->max_n > MS_GRAM_MOST)
        return ms_error_set(err, MS_E_INPUT, "n-grams of %u calls: at most %d", self->max_n,
                            MS_GRAM_MOST);
    if (self->min_df == 0)
        return ms_error_set(err, MS_E_INPUT, "n-grams of at least 0 rows: at least 1");
    if (self->max_size == 0 || self->max_size > MS_LIMIT_NGRAMS_KEPT)
        return ms_error_set(err, MS_E_INPUT, "%u n-grams: 1 to %d", self->max_size,
                            MS_LIMIT_NGRAMS_KEPT);
    return MS_OK;
}

void ms_ngrams_free(struct ms_ngrams *self)
{
    if (!self)
        return;
    ms_names_free(self->names);
    free(self->places);
    free(self->weights);
    free(self->slots);
    free(self);
}

/* Room for `size` n-grams. The table is seeded with what a file's author does not know, so that no
 * file can be one chain of collisions. */
static enum ms_status make(const struct ms_ngram_options *options, uint32_t size,
                           struct ms_ngrams **out, struct ms_error *err)
{
    struct ms_ngrams *self = calloc(1, sizeof *self);
    if (!self)
        return no_memory(err);
    uint32_t slots = 16;
    while (slots < size * 2)
        slots *= 2;
    self->options = *options;
    self->seed = (uint64_t)(uintptr_t)self * 0x94d049bb133111ebu;
    self->mask = slots - 1;
    self->slots = calloc(slots, sizeof *self->slots);
    self->places = calloc((size_t)size + 1, MS_GRAM_MOST * sizeof *self->places);
    self->weights = calloc((size_t)size + 1, sizeof *self->weights);
    if (!self->slots || !self->places || !self->weights ||
        ms_names_new(MS_LIMIT_VOCABULARY, &self->names, NULL) != MS_OK) {
        ms_ngrams_free(self);
        return no_memory(err);
    }
    *out = self;
    return MS_OK;
}

/* The slot of an n-gram, or the free one where it would go. */
static uint32_t slot_of(const struct ms_ngrams *self, const int32_t *places)
{
    uint64_t h = self->seed;
    for (int i = 0; i < MS_GRAM_MOST; i++) {
        h = (h ^ (uint32_t)places[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    uint32_t at = (uint32_t)(h ^ h >> 32) & self->mask;
    while (self->slots[at] != 0 &&
           memcmp(self->places + (size_t)(self->slots[at] - 1) * MS_GRAM_MOST, places,
                  MS_GRAM_MOST * sizeof *places) != 0)
        at = (at + 1) & self->mask;
    return at;
}

/* Appends an n-gram; false when it is there already. */
static bool append(struct ms_ngrams *self, const int32_t *places, float weight)
{
    uint32_t at = slot_of(self, places);
    if (self->slots[at] != 0)
        return false;
    memcpy(self->places + (size_t)self->size * MS_GRAM_MOST, places, MS_GRAM_MOST * sizeof *places);
    self->weights[self->size++] = weight;
    self->slots[at] = self->size;
    return true;
}

/* ---- building ---- */

/* An n-gram that may be kept. */
struct candidate {
    uint32_t df, length, gram;
    uint32_t rank[MS_GRAM_MOST]; /* of its names in the order of their bytes */
};

static int by_rank(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->df != y->df)
        return x->df > y->df ? -1 : 1;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    for (uint32_t i = 0; i < x->length; i++)
        if (x->rank[i] != y->rank[i])
            return x->rank[i] < y->rank[i] ? -1 : 1;
    return 0;
}

struct ranked {
    struct ms_span name;
    uint32_t symbol;
};

static int by_name(const void *a, const void *b)
{
    const struct ms_span x = ((const struct ranked *)a)->name, y = ((const struct ranked *)b)->name;
    size_t n = x.len < y.len ? x.len : y.len;
    int order = n ? memcmp(x.data, y.data, n) : 0;
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

/* ranks[symbol]: the place of its name among all of them, sorted. */
static uint32_t *rank_names(const struct ms_gram_table *table)
{
    struct ranked *sorted = calloc((size_t)table->name_count + 1, sizeof *sorted);
    uint32_t *ranks = calloc((size_t)table->name_count + 1, sizeof *ranks);
    if (!sorted || !ranks) {
        free(sorted);
        free(ranks);
        return NULL;
    }
    for (uint32_t i = 0; i < table->name_count; i++)
        sorted[i] = (struct ranked){table->names[i], i};
    qsort(sorted, table->name_count, sizeof *sorted, by_name);
    for (uint32_t i = 0; i < table->name_count; i++)
        ranks[sorted[i].symbol] = i;
    free(sorted);
    return ranks;
}

/* The n-grams of enough rows, in the order of their numbers. *out is the caller's. */
static enum ms_status choose(const struct ms_ngram_options *options,
                             const struct ms_gram_table *table, const uint32_t *df,
                             struct candidate **out, size_t *count, struct ms_error *err)
{
    size_t most = 0, n = 0;
    for (uint32_t g = 0; g < table->gram_count; g++)
        most += df[g] >= options->min_df;
    struct candidate *all = calloc(most + 1, sizeof *all);
    uint32_t *ranks = rank_names(table);
    if (!all || !ranks) {
        free(all);
        free(ranks);
        return no_memory(err);
    }
    for (uint32_t g = 0; g < table->gram_count; g++) {
        struct candidate c = {df[g], ms_gram_length(table->grams[g]), g, {0}};
        if (c.df < options->min_df || c.length == 0 || c.length > options->max_n)
            continue;
        for (uint32_t i = 0; i < c.length; i++)
            c.rank[i] = ranks[table->grams[g].symbol[i]];
        all[n++] = c;
    }
    free(ranks);
    qsort(all, n, sizeof *all, by_rank);
    *out = all;
    *count = n < options->max_size ? n : options->max_size;
    return MS_OK;
}

static enum ms_status keep(struct ms_ngrams *self, const struct ms_gram_table *table,
                           const struct candidate *c, size_t rows, struct ms_error *err)
{
    int32_t places[MS_GRAM_MOST] = {-1, -1, -1};
    for (uint32_t i = 0; i < c->length; i++) {
        uint32_t place;
        enum ms_status status = ms_names_intern(
            self->names, table->names[table->grams[c->gram].symbol[i]], &place, err);
        if (status != MS_OK)
            return status;
        places[i] = (int32_t)place;
    }
    double weight = self->options.idf ? log((1.0 + (double)rows) / (1.0 + c->df)) + 1 : 1;
    return append(self, places, (float)weight)
               ? MS_OK
               : ms_error_set(err, MS_E_BUG, "a table of n-grams has one twice");
}

enum ms_status ms_ngrams_build(const struct ms_ngram_options *options,
                               const struct ms_gram_table *table, const uint32_t *rows_with,
                               size_t rows, struct ms_ngrams **out, struct ms_error *err)
{
    struct candidate *chosen = NULL;
    struct ms_ngrams *self = NULL;
    size_t n = 0;
    enum ms_status status = ms_ngram_options_check(options, err);
    if (status == MS_OK && options->max_n > 0)
        status = choose(options, table, rows_with, &chosen, &n, err);
    if (status == MS_OK)
        status = make(options, (uint32_t)n, &self, err);
    for (size_t i = 0; i < n && status == MS_OK; i++)
        status = keep(self, table, &chosen[i], rows, err);
    free(chosen);
    if (status == MS_OK)
        *out = self;
    else
        ms_ngrams_free(self);
    return status;
}

/* ---- a file's numbers ---- */

static enum ms_status load_names(struct ms_ngrams *self, const struct ms_ngrams_file *file,
                                 struct ms_error *err)
{
    for (size_t i = 0; i < file->name_count; i++) {
        uint32_t place;
        enum ms_status status = ms_names_intern(self->names, file->names[i], &place, err);
        if (status == MS_E_NOMEM)
            return status;
        if (status != MS_OK || place != i)
            return ms_error_set(err, MS_E_INPUT,
                                "its n-grams' names have one twice, or one that is too long");
    }
    return MS_OK;
}

/* One to max_n places inside of the list, then -1. */
static bool good_places(const int32_t *places, uint32_t max_n, size_t names)
{
    uint32_t n = 0;
    while (n < MS_GRAM_MOST && places[n] >= 0 && (size_t)places[n] < names)
        n++;
    for (uint32_t i = n; i < MS_GRAM_MOST; i++)
        if (places[i] != -1)
            return false;
    return n > 0 && n <= max_n;
}

static enum ms_status load_grams(struct ms_ngrams *self, const struct ms_ngrams_file *file,
                                 bool *used, struct ms_error *err)
{
    for (size_t i = 0; i < file->size; i++) {
        const int32_t *places = file->places + i * MS_GRAM_MOST;
        if (!good_places(places, file->options.max_n, file->name_count))
            return ms_error_set(err, MS_E_INPUT, "its n-gram %zu is none of 1 to %u of its names",
                                i, file->options.max_n);
        if (!isfinite(file->weights[i]) || file->weights[i] <= 0)
            return ms_error_set(err, MS_E_INPUT,
                                "the weight of its n-gram %zu is no finite number above 0", i);
        if (!append(self, places, file->weights[i]))
            return ms_error_set(err, MS_E_INPUT, "its n-gram %zu comes twice", i);
        for (int k = 0; k < MS_GRAM_MOST && places[k] >= 0; k++)
            used[places[k]] = true;
    }
    for (size_t i = 0; i < file->name_count; i++)
        if (!used[i])
            return ms_error_set(err, MS_E_INPUT, "its n-grams' name %zu is in none of them", i);
    return MS_OK;
}

enum ms_status ms_ngrams_load(const struct ms_ngrams_file *file, struct ms_ngrams **out,
                              struct ms_error *err)
{
    enum ms_status status = ms_ngram_options_check(&file->options, err);
    if (status != MS_OK)
        return status;
    size_t most = file->options.max_n ? file->options.max_size : 0;
    if (file->size > most || file->name_count > file->size * MS_GRAM_MOST ||
        file->name_count > MS_LIMIT_VOCABULARY)
        return ms_error_set(err, MS_E_INPUT, "it has %zu n-grams of %zu names: at most %zu",
                            file->size, file->name_count, most);
    struct ms_ngrams *self = NULL;
    bool *used = calloc(file->name_count + 1, sizeof *used);
    status = used ? make(&file->options, (uint32_t)file->size, &self, err) : no_memory(err);
    if (status == MS_OK)
        status = load_names(self, file, err);
    if (status == MS_OK)
        status = load_grams(self, file, used, err);
    free(used);
    if (status == MS_OK)
        *out = self;
    else
        ms_ngrams_free(self);
    return status;
}

/* ---- use ---- */

uint32_t ms_ngrams_size(const struct ms_ngrams *self)
{
    return self->size;
}

const struct ms_ngram_options *ms_ngrams_options(const struct ms_ngrams *self)
{
    return &self->options;
}

uint32_t ms_ngrams_name_count(const struct ms_ngrams *self)
{
    return ms_names_count(self->names);
}

struct ms_span ms_ngrams_name(const struct ms_ngrams *self, uint32_t place)
{
    return ms_names_get(self->names, place);
}

const int32_t *ms_ngrams_places(const struct ms_ngrams *self)
{
    return self->places;
}

const float *ms_ngrams_weights(const struct ms_ngrams *self)
{
    return self->weights;
}

/* By the places of the table's names; -1 for those that no n-gram has. */
static uint32_t find(const struct ms_ngrams *self, const int32_t *place_of, struct ms_gram gram)
{
    int32_t places[MS_GRAM_MOST] = {-1, -1, -1};
    for (int i = 0; i < MS_GRAM_MOST && gram.symbol[i] != MS_GRAM_NONE; i++) {
        places[i] = place_of[gram.symbol[i]];
        if (places[i] < 0)
            return MS_GRAM_NONE;
    }
    uint32_t found = self->slots[slot_of(self, places)];
    return found ? found - 1 : MS_GRAM_NONE;
}

enum ms_status ms_ngrams_map(const struct ms_ngrams *self, const struct ms_gram_table *table,
                             uint32_t *ids, struct ms_error *err)
{
    int32_t *place_of = calloc((size_t)table->name_count + 1, sizeof *place_of);
    if (!place_of)
        return no_memory(err);
    for (uint32_t i = 0; i < table->name_count; i++) {
        uint32_t place;
        place_of[i] = ms_names_find(self->names, table->names[i], &place) ? (int32_t)place : -1;
    }
    for (uint32_t i = 0; i < table->gram_count; i++)
        ids[i] = find(self, place_of, table->grams[i]);
    free(place_of);
    return MS_OK;
}

void ms_ngrams_text(const struct ms_ngrams *self, uint32_t ngram, char *out, size_t size)
{
    const int32_t *places = self->places + (size_t)ngram * MS_GRAM_MOST;
    size_t at = 0;
    for (int i = 0; i < MS_GRAM_MOST && places[i] >= 0 && at < size; i++) {
        struct ms_span name = ms_names_get(self->names, (uint32_t)places[i]);
        char text[MS_ERROR_TEXT_BYTES];
        ms_escape_bytes(name.data, name.len, text, sizeof text);
        int n = snprintf(out + at, size - at, "%s%s", i ? " > " : "", text);
        at += n > 0 ? (size_t)n : 0;
    }
}
