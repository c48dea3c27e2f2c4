/* A plan carried out on a dataset: split, vocabulary, fit, judgement, final model. Prints and
 * stores nothing. */
#ifndef MS_TRAIN_EXPERIMENT_H
#define MS_TRAIN_EXPERIMENT_H

#include "train/dataset.h"
#include "train/fit.h"
#include "train/metrics.h"
#include "train/partition.h"
#include "train/plan.h"

struct ms_experiment {
    struct ms_partition partition;
    size_t judged_count; /* rows judged by a net that did not see them */
    uint32_t *judged;    /* numbers of these rows in the dataset */
    uint32_t *truth, *predicted, *judged_groups;
    double *scores; /* judged_count x C */
    struct ms_metrics metrics;
    double *fold_accuracy; /* folds; NULL for a hold-out */
    uint32_t epochs;
    struct ms_fit_epoch *curve; /* of the hold-out's net, or the mean over the folds */
    struct ms_net *net; /* hold-out: the net that was judged; folds: one trained on all rows */
    struct ms_vocabulary *vocabulary; /* of `net` */
    uint64_t train_rows;              /* rows `net` was trained on */
    double seconds;                   /* of all fits */
};

/* Release with ms_experiment_release, also after a failure. Errors: those of ms_partition_make,
 * ms_fit.
 */
enum ms_status ms_experiment_run(const struct ms_plan *plan, const struct ms_dataset *set,
                                 struct ms_experiment *out, struct ms_error *err) MS_MUST_USE;
void ms_experiment_release(struct ms_experiment *self);

#endif
