/* From the scores of a model to probabilities that hold: fitted on rows the model did not see,
 * stored with the model, applied to each row. Reads no file. */
#ifndef MS_TRAIN_MODEL_CALIBRATION_H
#define MS_TRAIN_MODEL_CALIBRATION_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_calibration_kind {
    MS_CALIBRATION_NONE,
    MS_CALIBRATION_TEMPERATURE, /* p_c to the power 1 / t, then made 1 together (Guo et al. 2017) */
    MS_CALIBRATION_PLATT,       /* two classes: logistic(a logit(p) + b) (Platt 1999) */
    MS_CALIBRATION_ISOTONIC     /* two classes: linear between points that never fall */
};

enum { MS_CALIBRATION_POINTS_MAX = 64, MS_CALIBRATION_TEXT_BYTES = 4096 };
struct ms_calibration {
    enum ms_calibration_kind kind;
    double t;    /* temperature, over 0 */
    double a, b; /* of Platt; a over 0: the order of the rows stays */
    uint32_t points;
    double x[MS_CALIBRATION_POINTS_MAX], y[MS_CALIBRATION_POINTS_MAX]; /* x rises, y never falls */
};

/* Changes the C scores of a row into calibrated ones; of two classes p is that of class 0. Scores
 * outside of 0 to 1 are taken as the nearest of them; a row with one that is no finite number is
 * left as it is. */
void ms_calibration_apply(const struct ms_calibration *self, double *scores, uint32_t classes);

/* Fits on rows x C scores (probabilities) and their true classes. Temperature by the least log
 * loss, between e^-4 and e^4; Platt by Newton's method with his smoothed targets (Lin, Lin and Weng
 * 2007); isotonic by pooling adjacent violators, thinned to MS_CALIBRATION_POINTS_MAX points.
 * MS_E_INPUT for fewer than 10 rows, a class out of range, scores that are no probabilities, rows
 * of one class alone, or Platt and isotonic with other than two classes; MS_E_NOMEM. */
enum ms_status ms_calibration_fit(enum ms_calibration_kind kind, const double *scores,
                                  uint32_t classes, const uint32_t *truth, size_t rows,
                                  struct ms_calibration *out, struct ms_error *err) MS_MUST_USE;

/* "none", "temperature 1.37", "platt 1.2 -0.3", "isotonic 0:0.01 0.4:0.2 1:0.98"; with 17 digits,
 * so that it comes back as it was. And back from any text: MS_E_INPUT when it is not such a line or
 * a number is out of its range. */
void ms_calibration_text(const struct ms_calibration *self, char out[MS_CALIBRATION_TEXT_BYTES]);
enum ms_status ms_calibration_parse(const char *text, struct ms_calibration *out,
                                    struct ms_error *err) MS_MUST_USE;

/* The lowest threshold on the scores of class 0 at which at most `fpr` of the rows of class 1 reach
 * it, and the share that does; halfway to the next lower score, so that it does not hang on the
 * last bit. MS_E_INPUT without rows of class 1; MS_E_NOMEM. */
enum ms_status ms_threshold_find(const double *scores, const uint32_t *truth, size_t rows,
                                 double fpr, double *threshold, double *reached,
                                 struct ms_error *err) MS_MUST_USE;

/* What a band of doubt costs and brings: rows whose score of class 0 lies in [low, high) (of more
 * than two classes: whose largest score lies there) get no verdict. low = high: none. */
struct ms_doubt {
    uint64_t rows, unknown;
    double coverage; /* share of the rows that get a verdict */
    double accuracy; /* among them; NAN of none */
};
/* What of a row is compared with the band: the score of class 0, of several classes the largest. */
double ms_doubt_measure(const double *scores, uint32_t classes);
/* "LOW:HIGH", two finite numbers, the first below the second; false when it is none. */
bool ms_doubt_parse(const char *text, double *low, double *high);
/* Fills coverage and accuracy from rows, unknown and how many of the others are right. */
void ms_doubt_rates(struct ms_doubt *self, uint64_t right);
void ms_doubt_count(const double *scores, uint32_t classes, const uint32_t *truth,
                    const uint32_t *predicted, size_t rows, double low, double high,
                    struct ms_doubt *out);

#endif
