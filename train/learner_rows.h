/* Rows of a dataset as a model is shown them, by what the training rows alone tell. Used by
 * train/learner.c and its tests. */
#ifndef MS_TRAIN_LEARNER_ROWS_H
#define MS_TRAIN_LEARNER_ROWS_H

#include "train/learner.h"

struct ms_made_rows {
    struct ms_vocabulary *vocabulary;
    struct ms_ngrams *ngrams;  /* NULL when the options want none */
    struct ms_input_row *rows; /* train_count, then test_count */
    size_t count;
};

/* The vocabulary of the training rows, by the plan. *out is the caller's. */
enum ms_status ms_learner_vocabulary(const struct ms_plan *plan, const struct ms_learner_rows *rows,
                                     struct ms_vocabulary **out, struct ms_error *err) MS_MUST_USE;

/* Vocabulary, n-grams and rows. steps: as in struct ms_input_recipe. Release with
 * ms_made_rows_release, also after a failure. */
enum ms_status ms_made_rows_make(const struct ms_plan *plan, const struct ms_input_options *inputs,
                                 size_t steps, const struct ms_learner_rows *rows,
                                 struct ms_made_rows *out, struct ms_error *err) MS_MUST_USE;
void ms_made_rows_release(struct ms_made_rows *self);

#endif
