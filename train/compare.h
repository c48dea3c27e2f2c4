/* Two models judged on the same rows: is one better, and how sure is that. Pure. */
#ifndef MS_TRAIN_COMPARE_H
#define MS_TRAIN_COMPARE_H

#include "train/metrics.h"

#include <stddef.h>
#include <stdint.h>

/* Legend: P judged rows (a row of the dataset once a repeat), C classes. Arrays are borrowed. */
struct ms_pair {
    uint32_t classes;
    size_t rows;                   /* P */
    const uint32_t *truth;         /* P */
    const uint32_t *groups;        /* P: rows of one are resampled together */
    const uint32_t *repeat, *fold; /* P */
    uint32_t repeats, folds;       /* folds 0: hold-out */
    double test_over_train;       /* rows judged over rows trained on, of one fit; for the t-test */
    const uint32_t *predicted[2]; /* P each: of A and of B */
    const double *scores[2];      /* P x C each; NULL: no AUC */
    uint64_t seed;                /* of the bootstrap */
};

/* A figure of both, the mean over the repeats. low and high: the middle 95 % of a - b where groups
 * are drawn anew, for both models and all repeats alike (paired cluster bootstrap, 1000 rounds);
 * NAN where every round says the same. */
struct ms_difference {
    double a, b, difference, low, high;
};

/* McNemar's test on one repeat: rows that one alone has right. exact: binomial, two-sided;
 * corrected: chi-square with Edwards's continuity correction. Of none both are 1. */
struct ms_mcnemar {
    uint64_t only_a, only_b;
    double exact, statistic, corrected;
};
void ms_mcnemar(uint64_t only_a, uint64_t only_b, struct ms_mcnemar *out);

struct ms_pair_repeat {
    uint64_t rows;
    double accuracy[2], macro_f1[2], auc[2];
    struct ms_mcnemar mcnemar;
};

struct ms_comparison {
    struct ms_difference accuracy, macro_f1, auc; /* auc NAN without scores */
    struct ms_difference f1;                      /* of class 0; NAN for other than two classes */
    struct ms_difference average_precision;       /* as struct ms_metrics's; NAN without scores */
    uint32_t repeats;
    struct ms_pair_repeat *by_repeat;
    /* The corrected resampled t-test (Nadeau and Bengio 2003) on the differences of accuracy of
     * the J fits of all repeats: mean / sqrt((1 / J + test / train) * variance), J - 1 degrees of
     * freedom. For folds or several repeats; else fits is below 2 and the rest NAN. */
    uint32_t fits;
    double t, p;
};

/* MS_E_INPUT without rows or with a class, repeat or fold out of range; MS_E_NOMEM. Release with
 * ms_comparison_release, also after a failure. */
enum ms_status ms_compare(const struct ms_pair *pair, struct ms_comparison *out,
                          struct ms_error *err) MS_MUST_USE;
void ms_comparison_release(struct ms_comparison *self);

/* Two-sided p of Student's t, by the incomplete beta function. NAN for a t that is none. */
double ms_student_p(double t, double degrees);

#endif
