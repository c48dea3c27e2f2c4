/* What a classifier got right and wrong: confusion matrix, rates with intervals, ranking measures.
 * No printing. */
#ifndef MS_TRAIN_METRICS_H
#define MS_TRAIN_METRICS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Legend: N rows, C classes. Classes are in report order: the positive one of two comes first. */
struct ms_confusion {
    uint32_t classes;
    uint64_t *counts; /* C x C: row = predicted, column = true */
};

/* An interval of 95 %; NAN where none can be given. */
struct ms_range {
    double low, high;
};

struct ms_class_scores {
    uint64_t support;             /* rows whose true class it is */
    uint64_t predicted;           /* rows that were given it */
    double precision, recall, f1; /* 0 where the denominator is 0 (scikit-learn's rule) */
    double auc;               /* one against the rest, by its score; NAN when one side is empty */
    double average_precision; /* NAN when the class has no row */
    struct ms_range precision_range, recall_range, f1_range, auc_range, average_precision_range;
};

/* The share of class 0 that is found where at most `fpr` of class 1 is taken for it. */
enum { MS_TPR_RATES = 2 };
extern const double ms_tpr_rates[MS_TPR_RATES]; /* .01 and .001 */
struct ms_tpr {
    double fpr, value; /* value NAN with fewer negatives than needed, or other than two classes */
    struct ms_range range;
    /* Negatives from which on no false positive at all would say, at 95 %, that the rate is below
     * fpr: 3 / fpr (the rule of three). */
    uint64_t needed;
};

/* Rows of about equal number by rising confidence: what was claimed, and how often it held. */
enum { MS_RELIABILITY_BINS = 15 };
struct ms_reliability {
    uint64_t rows;
    double claimed, held; /* means; NAN without rows */
};

struct ms_metrics {
    uint32_t classes;
    uint64_t rows;
    struct ms_confusion confusion;
    struct ms_class_scores *by_class;             /* C */
    double accuracy, accuracy_low, accuracy_high; /* the interval has 95 % */
    const char *interval;                         /* "wilson" or "cluster bootstrap"; static */
    double majority; /* accuracy of always saying the most frequent TRUE class of these rows */
    uint32_t majority_class;
    double balanced_accuracy; /* mean recall over classes that have rows */
    double macro_f1;          /* mean F1 over classes that have rows or were predicted */
    double auc; /* C = 2: of class 0; else mean one-against-rest over classes where it exists */
    double average_precision; /* the same */
    struct ms_range balanced_accuracy_range, macro_f1_range, auc_range, average_precision_range;
    struct ms_tpr tpr[MS_TPR_RATES];
    /* The rest rests on probabilities, NAN where the scores are none (from 0 to 1, and 1 together).
     * Confidence is the probability of class 0 (C = 2) or of the likeliest class. */
    bool calibrated; /* they are */
    double brier;    /* mean of (p - truth)^2 of class 0 (C = 2), else summed over the classes */
    double log_loss; /* mean of -ln p of the true class */
    double ece;      /* mean distance of claimed and held, by bin */
    struct ms_range brier_range, log_loss_range, ece_range;
    struct ms_reliability reliability[MS_RELIABILITY_BINS];
};

/* What there is to judge. Arrays are borrowed. */
struct ms_judged {
    uint32_t classes;
    size_t rows;
    const uint32_t *truth, *predicted; /* N, below C */
    const double
        *scores; /* N x C: larger means more likely that class; NULL: no ranking measures */
    const uint32_t *groups; /* N: rows of one group are resampled together; NULL: every row alone */
    uint64_t seed;          /* of the bootstrap */
};

/* Ranges are the middle 95 % of a cluster bootstrap over the groups of 1000 rounds (100 from some
 * million rows times classes on), the same for the same seed. Where every round says the same (all
 * rows right) they are Wilson's for precision and recall and NAN for the rest.
 * MS_E_INPUT without rows, with a class out of range or a score that is not a number; MS_E_NOMEM.
 * Release with ms_metrics_release, also after a failure. */
enum ms_status ms_metrics_make(const struct ms_judged *judged, struct ms_metrics *out,
                               struct ms_error *err) MS_MUST_USE;
void ms_metrics_release(struct ms_metrics *self);

/* Wilson score interval (Wilson 1927) of k successes in n trials at 95 %. n = 0 gives 0 and 1. */
void ms_wilson(uint64_t k, uint64_t n, double *low, double *high);

/* Area under the ROC curve: the share of (positive, negative) pairs that the score puts in the
 * right order, ties counting one half (Mann-Whitney). NAN when there is no pair. stride: elements
 * between scores. MS_E_NOMEM. */
enum ms_status ms_auc(const double *scores, size_t stride, const bool *positive, size_t rows,
                      double *auc, double *average_precision, struct ms_error *err) MS_MUST_USE;

/* The ROC curve from (0,0) to (1,1), a point for each distinct score, collinear ones left out. x is
 * the false, y the true positive rate. points: freed by the caller. */
struct ms_roc_point {
    double x, y, threshold;
};
enum ms_status ms_roc(const double *scores, size_t stride, const bool *positive, size_t rows,
                      struct ms_roc_point **points, size_t *count,
                      struct ms_error *err) MS_MUST_USE;

/* The precision-recall curve, a point for each distinct score from the highest on: x is recall, y
 * precision. It begins at recall 0 with the first point's precision. No points without positives.
 * Otherwise as ms_roc. */
enum ms_status ms_precision_recall(const double *scores, size_t stride, const bool *positive,
                                   size_t rows, struct ms_roc_point **points, size_t *count,
                                   struct ms_error *err) MS_MUST_USE;

#endif
