/* What a model is shown of a trace: tokens, features of each step, and a sparse vector of n-grams.
 * One function makes it for training and for detection. Reads no trace and knows no net's numbers.
 */
#ifndef MS_TRAIN_MODEL_INPUTS_H
#define MS_TRAIN_MODEL_INPUTS_H

#include "store/trace/normalise.h"
#include "store/trace/vocabulary.h"
#include "train/ngrams.h"
#include "train/nn/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of the tables of run lengths and run counts: a number x has row min(floor(log2 x), 15). */
enum { MS_INPUT_LOG_BUCKETS = 16, MS_INPUT_HASH_MOST = MS_LIMIT_NET_VOCABULARY };

struct ms_input_options {
    /* Feature tables beside the calls', in this order; those that are not there leave no gap. */
    bool run_length; /* of the run that a step's call is part of */
    bool run_count;  /* runs that the step's call has in the whole trace */
    /* Rows of the tables of hashed n-grams of tokens that end at a step, at most
     * MS_INPUT_HASH_MOST; 0: no table. See ms_input_hash. Steps before the second (third) have none
     * (-1). */
    uint32_t bigram_buckets, trigram_buckets;
    bool wide;                      /* a net gets the sparse vector in a branch of its own */
    struct ms_ngram_options ngrams; /* max_n 0: no sparse vector */
};

/* MS_E_INPUT when a number is out of its range, or wide without n-grams. */
enum ms_status ms_input_options_check(const struct ms_input_options *self,
                                      struct ms_error *err) MS_MUST_USE;

/* One canonical line for settings and the model file ("inputs-1 run-length=yes run-count=yes
 * bigrams=4096 trigrams=0 wide=no ngrams=3 min-df=2 size=50000 idf=yes l2=yes", or "ngrams=0" at
 * the end), and back: MS_E_INPUT when it is not exactly such a line, or the options do not pass the
 * check. */
enum { MS_INPUT_TEXT_BYTES = 192 };
void ms_input_options_text(const struct ms_input_options *self, char out[MS_INPUT_TEXT_BYTES]);
enum ms_status ms_input_options_parse(const char *text, struct ms_input_options *out,
                                      struct ms_error *err) MS_MUST_USE;

/* What has to be known of a trace: run lengths and counts of the view's calls; n-grams. */
bool ms_input_options_runs(const struct ms_input_options *self);
bool ms_input_options_grams(const struct ms_input_options *self);

/* The rows of each feature table, as a net's config wants them; returns their number F. */
uint32_t ms_input_options_tables(const struct ms_input_options *self,
                                 uint32_t sizes[MS_LIMIT_NET_FEATURES]);

/* The row of n tokens in a table of `buckets` rows: h = n, then for each token h = mix(h + 1 +
 * token) modulo 2^64, mix being the finaliser of splitmix64; the row is h modulo buckets. Model
 * files depend on it. */
uint32_t ms_input_hash(const int32_t *tokens, uint32_t n, uint32_t buckets);

/* The features of n tokens that are hashes of them, anew into features (n x F), the others left as
 * they are: for tokens that were changed after the row was made. */
void ms_input_rehash(const struct ms_input_options *self, const int32_t *tokens, size_t n,
                     int32_t *features);

/* What is made into a row; borrowed. */
struct ms_input_trace {
    const uint32_t *calls; /* n symbols: the view */
    size_t n;
    const uint32_t *run_lengths, *run_counts; /* n each; may be NULL when no table wants them */
    struct ms_gram_row grams; /* of the whole trace; ignored where no sparse vector is made */
};

/* The result. Zeroed before first use; its memory is reused from row to row. */
struct ms_input_row {
    int32_t *tokens; /* n */
    size_t n;
    int32_t *features; /* n x F, step by step: ids of the tables, -1 for none */
    uint32_t *ids;     /* count, rising: numbers of n-grams */
    float *values;     /* count */
    uint32_t count;
    size_t known; /* tokens of names that the vocabulary has */
    /* private */
    size_t token_capacity, feature_capacity, sparse_capacity;
};
void ms_input_row_release(struct ms_input_row *self);

/* How rows are made. Borrowed as long as the maker lives, but for the options. */
struct ms_input_recipe {
    const struct ms_vocabulary *vocabulary; /* NULL: no tokens */
    const struct ms_ngrams *ngrams;         /* NULL: no sparse vector */
    struct ms_input_options options;
    enum ms_normal_cut cut; /* of the view: from this side goes what is too long for a net */
    size_t steps;           /* at most so many tokens; see ms_input_steps */
};
/* MS_LIMIT_NET_STEPS, or without masking the net's pad_length. */
size_t ms_input_steps(const struct ms_net_config *config);

/* Looks every name and n-gram of a table up once, for all rows that refer to it. `table` is
 * borrowed. Not for two threads at once. MS_E_NOMEM. */
struct ms_input_maker;
enum ms_status ms_input_maker_new(const struct ms_input_recipe *recipe,
                                  const struct ms_gram_table *table, struct ms_input_maker **out,
                                  struct ms_error *err) MS_MUST_USE;
void ms_input_maker_free(struct ms_input_maker *self);

/* A call has as many steps as its name has tokens, each with the features of the call; hashes are
 * of the tokens that are left. A call whose symbol, or an n-gram whose place, the table has not is
 * MS_E_BUG. MS_E_NOMEM. */
enum ms_status ms_input_row_make(struct ms_input_maker *self, const struct ms_input_trace *trace,
                                 struct ms_input_row *out, struct ms_error *err) MS_MUST_USE;

#endif
