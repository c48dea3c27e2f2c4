/* A vocabulary of n-grams of calls, learned from training rows, and sparse vectors by it. Reads no
 * trace and trains nothing. */
#ifndef MS_TRAIN_NGRAMS_H
#define MS_TRAIN_NGRAMS_H

#include "base/span.h"
#include "store/trace/grams.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ms_ngram_options {
    uint32_t max_n;    /* 1 to 3 calls; 0: no n-grams at all, the rest is ignored */
    uint32_t min_df;   /* only those of so many training rows, at least 1 */
    uint32_t max_size; /* at most so many, 1 to MS_LIMIT_NGRAMS_KEPT; the most frequent */
    bool idf;          /* a value is ln((1 + N) / (1 + df)) + 1 (as scikit-learn's), else 1 */
    bool l2;           /* a row's values are divided by their Euclidean norm */
};
/* MS_E_INPUT when a number is out of its range. */
enum ms_status ms_ngram_options_check(const struct ms_ngram_options *self,
                                      struct ms_error *err) MS_MUST_USE;

/* What rows refer to: names of calls by symbol (folded), and n-grams of those symbols. Borrowed. */
struct ms_gram_table {
    const struct ms_span *names;
    uint32_t name_count;
    const struct ms_gram *grams; /* each symbol below name_count; for ms_ngrams_build none twice */
    uint32_t gram_count;
};

/* The n-grams of a row as places in the table's list. */
struct ms_gram_row {
    const uint32_t *grams; /* NULL: 0 to n - 1 */
    size_t n;
};

/* N-grams numbered from 0 by falling number of rows, then by rising length, then by the bytes of
 * their names; with a list of its own of the names that occur in them, so that it does not depend
 * on another vocabulary, which may leave rare names out. */
struct ms_ngrams;

/* From the training rows alone, `rows` of them: rows_with[g] of these have the table's n-gram g.
 * The same rows in any order, and with symbols numbered in any way, give the same numbers. There
 * may be none. MS_E_INPUT as ms_ngram_options_check, MS_E_NOMEM. */
enum ms_status ms_ngrams_build(const struct ms_ngram_options *options,
                               const struct ms_gram_table *table, const uint32_t *rows_with,
                               size_t rows, struct ms_ngrams **out,
                               struct ms_error *err) MS_MUST_USE;
void ms_ngrams_free(struct ms_ngrams *self);

uint32_t ms_ngrams_size(const struct ms_ngrams *self);
const struct ms_ngram_options *ms_ngrams_options(const struct ms_ngrams *self);

/* For a file: the names in the order of their first use, the n-grams as places in that list
 * (size x 3, -1 behind the last), and the weight of each (idf, or 1). Borrowed. */
uint32_t ms_ngrams_name_count(const struct ms_ngrams *self);
struct ms_span ms_ngrams_name(const struct ms_ngrams *self, uint32_t place);
const int32_t *ms_ngrams_places(const struct ms_ngrams *self);
const float *ms_ngrams_weights(const struct ms_ngrams *self);

/* And back, from numbers that may be anything; everything is copied. MS_E_INPUT when there are more
 * than the options or the limits allow, a name is too long, comes twice or is used nowhere, a place
 * is outside of the list, an n-gram is empty, has a hole, is longer than max_n or comes twice, or a
 * weight is not a finite number above 0. MS_E_NOMEM. */
struct ms_ngrams_file {
    struct ms_ngram_options options;
    const struct ms_span *names;
    size_t name_count;
    const int32_t *places; /* size x 3 */
    const float *weights;  /* size */
    size_t size;
};
enum ms_status ms_ngrams_load(const struct ms_ngrams_file *file, struct ms_ngrams **out,
                              struct ms_error *err) MS_MUST_USE;

/* ids[i]: the number of table->grams[i], or MS_GRAM_NONE. MS_E_NOMEM. */
enum ms_status ms_ngrams_map(const struct ms_ngrams *self, const struct ms_gram_table *table,
                             uint32_t *ids, struct ms_error *err) MS_MUST_USE;

/* Text of an n-gram for people: its names with " > " between, escaped; cut to size. */
void ms_ngrams_text(const struct ms_ngrams *self, uint32_t ngram, char *out, size_t size);

#endif
