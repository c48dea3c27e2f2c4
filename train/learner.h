/* Everything that can be trained, by one interface: rows of a dataset in, a model and what it says
 * of other rows out. Chooses no rows and judges nothing. */
#ifndef MS_TRAIN_LEARNER_H
#define MS_TRAIN_LEARNER_H

#include "train/dataset.h"
#include "train/fit.h"
#include "train/model.h"
#include "train/plan.h"

/* Rows of a dataset by number; borrowed. */
struct ms_learner_rows {
    const struct ms_dataset *set;
    const uint32_t *train, *test;
    size_t train_count, test_count; /* test may be none */
};

/* Trains a model of a kind as the plan says:
 *   lstm, gru  one net
 *
 *   ensemble   the parts of the plan: plan->seeds nets of each shape, and a linear or boosted model
 *              that counts as much as the nets of a shape; their probabilities are averaged
 *
 *   pooled     what the plan's kind would be, without recurrent layers
 *
 *   linear     logistic regression on the presence of n-grams of 1 to 3 calls
 *
 *   boosted    gradient boosted trees on the presence of n-grams of 1 and 2 calls
 *
 *   majority   the shares of the classes
 *
 * Vocabulary, n-grams and weights come from the training
 * rows alone. curve (plan->fit.epochs records, may be NULL) gets a net's epochs, the mean over the
 * nets of an ensemble; kinds without epochs leave it alone. scores: of the test rows, C each;
 * figures of test rows are only watched. The same plan, rows and seed give the same model, whatever
 * plan->fit.jobs is. MS_E_INPUT for a kind that this build cannot train; else errors as of ms_fit,
 * ms_fit_linear and ms_fit_boosted. *out is the caller's. */
enum ms_status ms_learner_fit(const struct ms_plan *plan, enum ms_model_kind kind,
                              const struct ms_learner_rows *rows, uint64_t seed,
                              struct ms_fit_epoch *curve, struct ms_model **out, double *scores,
                              struct ms_error *err) MS_MUST_USE;

/* Trains the parts of the plan's ensemble on the training rows as ms_learner_fit would, and gives
 * what each says of the test rows, the mean over its seeds: C scores a row, all rows of the first
 * part, then those of the next, in the order of enum ms_part. */
enum ms_status ms_learner_fit_parts(const struct ms_plan *plan, const struct ms_learner_rows *rows,
                                    uint64_t seed, double *scores,
                                    struct ms_error *err) MS_MUST_USE;

/* MS_E_INPUT with the reason where this build cannot train the kind. */
enum ms_status ms_learner_check(enum ms_model_kind kind, struct ms_error *err) MS_MUST_USE;

/* Whether a model of the kind has epochs: is a net or made of nets. */
bool ms_learner_has_epochs(enum ms_model_kind kind);

/* How rows are made for a kind. */
void ms_learner_inputs(const struct ms_plan *plan, enum ms_model_kind kind,
                       struct ms_input_options *out);

#endif
