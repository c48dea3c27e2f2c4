/* A plan carried out on a dataset: split, fits, judgement, final model, and simpler models on the
 * same parts. Prints and stores nothing. */
#ifndef MS_TRAIN_EXPERIMENT_H
#define MS_TRAIN_EXPERIMENT_H

#include "train/compare.h"
#include "train/dataset.h"
#include "train/learner.h"
#include "train/metrics.h"
#include "train/partition.h"
#include "train/plan.h"

/* What one kind of model said of the judged rows. */
struct ms_entry {
    const char *name; /* of its kind; static */
    enum ms_model_kind kind;
    uint32_t *predicted; /* P */
    double *scores;      /* P x C; of the model calibrated, where it is */
    struct ms_metrics metrics;
    double seconds; /* of its fits and scores */
    /* Of a baseline: the model (A) against it (B), on the same rows; its AUC NAN where there are
     * too many rows and classes to resample. */
    struct ms_comparison comparison;
};

enum { MS_ENTRIES_MAX = 5 };

/* Legend: P judged rows: each row of the dataset once a repeat in which it is judged, repeat by
 * repeat and fold by fold; of a model that did not see it, nor a copy of it where the split keeps
 * copies together. */
struct ms_experiment {
    struct ms_partition partition;
    size_t judged_count; /* P */
    uint32_t *judged;    /* P: numbers of the rows in the dataset */
    uint32_t *truth, *judged_groups;
    uint32_t *repeat_of, *fold_of; /* P; fold 0 of a hold-out */
    /* 0: the model; then those of majority, linear, boosted (where it can be trained) and pooled
     * (where the model is recurrent) that the model itself is not. A baseline that cannot be
     * trained on these rows is left out, with a warning. */
    struct ms_entry entries[MS_ENTRIES_MAX];
    uint32_t entry_count;
    /* What was found about the model after its training: its own tuning, then what it does to the
     * judged rows, none of which took part in finding what was applied to it. */
    struct ms_tuning tuning;
    struct ms_metrics raw; /* of the scores before calibration; rows 0: not calibrated */
    struct ms_doubt doubt;
    bool *in_doubt;             /* P: by the band of doubt */
    double *fold_accuracy;      /* R x K of the model; NULL for a hold-out */
    uint32_t epochs;            /* 0: the model has none */
    struct ms_fit_epoch *curve; /* the mean over the model's fits */
    struct ms_model *model; /* hold-out: the one that was judged (in the first repeat); folds: one
                               trained on all rows */
    uint64_t train_rows;    /* rows `model` was trained on */
    double seconds;         /* of everything */
    struct ms_checkpoint *checkpoint; /* of the plan's keep; the caller ends it when all is well */
};

/* Release with ms_experiment_release, also after a failure. Errors: those of ms_partition_make,
 * ms_learner_fit. */
enum ms_status ms_experiment_run(const struct ms_plan *plan, const struct ms_dataset *set,
                                 struct ms_experiment *out, struct ms_error *err) MS_MUST_USE;
void ms_experiment_release(struct ms_experiment *self);

#endif
