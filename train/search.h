/* Which parts an ensemble is best made of, and what choosing them like that is worth: nested
 * selection. The parts are chosen inside the rows that train, and judged on rows that had no say.
 * Prints and stores nothing. */
#ifndef MS_TRAIN_SEARCH_H
#define MS_TRAIN_SEARCH_H

#include "train/compare.h"
#include "train/dataset.h"
#include "train/metrics.h"
#include "train/partition.h"
#include "train/plan.h"

enum { MS_SEARCH_CANDIDATES_MAX = 32 };

struct ms_search_request {
    uint32_t candidates[MS_SEARCH_CANDIDATES_MAX]; /* sets of enum ms_part */
    uint32_t count;
    uint32_t inner; /* folds inside the training rows, from 2 on */
};

/* The fixed list: each part alone but for the GRU without a wide branch, and the combinations of
 * the recurrent or the pooled nets with each other, with the linear model and, where this build can
 * train them, with boosted trees. Sets request->candidates and count. */
void ms_search_defaults(struct ms_search_request *request);

/* How the candidates did on rows that were held out in turn inside the training rows: the mean over
 * the dealings. */
struct ms_search_choice {
    uint32_t chosen; /* the largest accuracy; of equals the least log loss, then the first */
    double accuracy[MS_SEARCH_CANDIDATES_MAX];
    double log_loss[MS_SEARCH_CANDIDATES_MAX]; /* -ln p of the true class, at most 30 ln 10 a row */
};

/* Sets `chosen` by the figures of the first `count` candidates. */
void ms_search_pick(struct ms_search_choice *self, uint32_t count);

/* Deals `count` rows of the set into request->inner folds (rows of one group together, stratified
 * by class), trains every part of any candidate on the rows of the other folds, and judges each
 * candidate, the mean of its parts, on the fold. groups: of all rows of the set. Nothing of other
 * rows is looked at. plan->fit.jobs nets are trained side by side, which changes no number;
 * plan->fit.on_step is called after each batch. MS_E_INPUT as ms_split_make (too few groups) and
 * ms_learner_fit_parts. */
enum ms_status ms_search_choose(const struct ms_plan *plan, const struct ms_search_request *request,
                                const struct ms_dataset *set, const uint32_t *rows, size_t count,
                                const uint32_t *groups, uint64_t seed, struct ms_search_choice *out,
                                struct ms_error *err) MS_MUST_USE;

/* One outer fold. */
struct ms_search_fold {
    uint32_t repeat, fold;
    size_t train_rows, rows; /* rows: judged */
    struct ms_search_choice choice;
    double accuracy[2]; /* of the chosen on the judged rows, and of the reference */
};

/* Legend as in struct ms_experiment: P judged rows, C classes. */
struct ms_search {
    struct ms_partition partition;
    struct ms_search_fold *folds; /* fold_count, repeat by repeat */
    uint32_t fold_count;
    struct ms_search_choice all; /* chosen in all rows that take part, the mean over a dealing a
                                    repeat: what a model for use should be made of */
    size_t judged_count;         /* P */
    uint32_t *truth, *groups, *repeat_of, *fold_of; /* P */
    /* 0: whatever was chosen, trained on all rows of the outer fold's training part; 1: the
     * reference, logistic regression (MS_MODEL_LINEAR) on the same */
    uint32_t *predicted[2];
    double *scores[2]; /* P x C */
    struct ms_metrics metrics[2];
    struct ms_comparison difference; /* of 0 to 1 */
    double seconds;
};

/* The whole of it, over the plan's split, which must have a fold or more to judge. Progress: a line
 * on a terminal, and a line of log an outer fold. Errors: those of ms_partition_make and _read,
 * ms_search_choose, ms_learner_fit. Release with ms_search_release, also after a failure. */
enum ms_status ms_search_run(const struct ms_plan *plan, const struct ms_search_request *request,
                             const struct ms_dataset *set, struct ms_search *out,
                             struct ms_error *err) MS_MUST_USE;
void ms_search_release(struct ms_search *self);

/* Fits of a net in a search of R repeats of K folds (0: hold-out): every inner one, and the largest
 * candidate's for each outer fold. */
uint64_t ms_search_fits(const struct ms_plan *plan, const struct ms_search_request *request,
                        uint32_t repeats, uint32_t folds);

#endif
