/* What a report shows beside the figures of each model: repeats, curves, thresholds,
 * errors, near copies. Computes; presents nothing. */
#ifndef MS_TRAIN_FINDINGS_H
#define MS_TRAIN_FINDINGS_H

#include "train/experiment.h"
#include "train/model_calibration.h"

/* Of one repeat alone; AUC NAN where it does not exist. */
struct ms_repeat_figures {
    double accuracy, macro_f1, auc;
};

/* Of two classes: the threshold that keeps the false positives under a rate on the judged rows, and
 * what it finds. */
enum { MS_OPERATING_POINTS = 3 };
extern const double ms_operating_rates[MS_OPERATING_POINTS]; /* .05, .01, .001 */
struct ms_operating_point {
    double fpr;                        /* wanted */
    double threshold, reached, recall; /* NAN: no row of class 1, or too few for such a rate */
};

/* Rows that get no verdict when a band of scores is called unknown, as ms_doubt_count has it. */
enum { MS_DOUBT_BANDS = 3 };
struct ms_doubt_band {
    double low, high;
    struct ms_doubt doubt;
};

/* A row of the dataset that was judged wrongly, with its most confident wrong judgement. */
enum { MS_FINDING_ERRORS = 20 };
struct ms_wrong_row {
    uint32_t row; /* of the dataset */
    uint32_t truth, predicted;
    double score;           /* of the class that was predicted */
    uint32_t wrong, judged; /* how often, over the repeats */
};

struct ms_findings {
    uint32_t repeats;                  /* R */
    struct ms_repeat_figures *figures; /* E x R */
    struct ms_operating_point points[MS_OPERATING_POINTS];
    struct ms_doubt_band doubts[MS_DOUBT_BANDS]; /* rows 0 in all: the scores are none */
    struct ms_wrong_row errors[MS_FINDING_ERRORS];
    uint32_t error_count;
    uint64_t wrong_rows; /* rows of the dataset that were ever judged wrongly */
    /* Rows that are nearly the same (train/partition_near.h), whatever the split kept together;
     * near_known false: the dataset has no n-grams, or too many rows to look. */
    bool near_known;
    uint32_t near_groups;
    uint64_t near_judged; /* judged rows with such a row among those that trained */
};

/* Release with ms_findings_release, also after a failure. MS_E_NOMEM. */
enum ms_status ms_findings_make(const struct ms_dataset *set, const struct ms_experiment *e,
                                struct ms_findings *out, struct ms_error *err) MS_MUST_USE;
void ms_findings_release(struct ms_findings *self);

/* Mean and standard deviation over the repeats of one of an entry's figures; deviation NAN of fewer
 * than two. figure: 0 accuracy, 1 macro-F1, 2 AUC. */
void ms_findings_mean(const struct ms_findings *self, uint32_t entry, int figure, double *mean,
                      double *deviation);

/* A curve of one class against the rest, thinned to MS_CURVE_POINTS, the ends among them. */
enum { MS_CURVE_POINTS = 240 };
struct ms_curve {
    size_t count; /* 0: the class has no rows, or all of them */
    double x[MS_CURVE_POINTS], y[MS_CURVE_POINTS];
};
enum ms_curve_kind { MS_CURVE_ROC, MS_CURVE_PRECISION_RECALL };
/* MS_E_NOMEM. */
enum ms_status ms_findings_curve(const struct ms_experiment *e, uint32_t entry, uint32_t class_,
                                 enum ms_curve_kind kind, struct ms_curve *out,
                                 struct ms_error *err) MS_MUST_USE;

/* How many traces have 2^(k-1) < calls <= 2^k - that is k = ceil(log2(calls)) - and *last the
 * highest k that has any. */
enum { MS_LENGTH_BINS = 64 };
void ms_length_counts(const struct ms_dataset *set, uint64_t out[MS_LENGTH_BINS], uint32_t *last);

#endif
