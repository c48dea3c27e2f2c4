/* What is decided about a model after its training, from its scores of rows that it did not see:
 * how scores become probabilities, from where on they are positive, and which are no verdict.
 * Trains nothing. */
#ifndef MS_TRAIN_TUNING_H
#define MS_TRAIN_TUNING_H

#include "base/buf.h"
#include "train/model_calibration.h"

#include <stdbool.h>

enum ms_tune {
    MS_TUNE_NONE,
    MS_TUNE_FREE, /* AUTO where the scores are there anyway, else NONE */
    MS_TUNE_AUTO, /* Platt of two classes, else the temperature; NONE, with a warning, where the
                     rows do not allow it */
    MS_TUNE_TEMPERATURE,
    MS_TUNE_PLATT,
    MS_TUNE_ISOTONIC
};

struct ms_tuning_request {
    enum ms_tune calibrate;
    double threshold; /* of two classes; where no fpr is asked for */
    double fpr;       /* over 0, under 1: false positives that are allowed; 0: not asked for */
    bool doubt_auto;  /* the band is found … */
    double unknown_from, unknown_to; /* … else this; equal: none */
};

struct ms_tuning {
    struct ms_calibration calibration;
    double threshold;                /* of calibrated scores */
    double reached;                  /* false positives there, on the rows of `rows`; NAN: no fpr */
    double unknown_from, unknown_to; /* scores (of several classes the largest) from … to before …
                                        are no verdict; equal: none */
    uint64_t rows;                   /* that this was found on */
};

/* Scores of a model for rows that it did not see; borrowed. */
struct ms_held {
    uint32_t classes;
    size_t rows;
    const double *scores; /* rows x C, as the model gives them */
    const uint32_t *truth;
};

/* "auto", "none", "temperature", "platt", "isotonic"; MS_E_USAGE. */
enum ms_status ms_tune_parse(const char *text, enum ms_tune *out, struct ms_error *err) MS_MUST_USE;
/* "auto", "none" or "LOW:HIGH" with LOW below HIGH, into the request's band; MS_E_USAGE. */
enum ms_status ms_tune_band_parse(const char *text, struct ms_tuning_request *out,
                                  struct ms_error *err) MS_MUST_USE;
/* " calibrate=… target-fpr=… unknown-band=…" appended, what decides numbers alone. */
void ms_tune_text(const struct ms_tuning_request *self, struct ms_buf *out);

/* Whether held-out scores are needed; FREE needs none. */
bool ms_tuning_needs_scores(const struct ms_tuning_request *self);

/* Finds it all on held-out rows. An automatic band has the twentieth of the rows whose scores lie
 * just below the threshold and the twentieth just above; of several classes the tenth with the
 * lowest scores of their class; never only some of equal scores. Without rows only what needs none
 * is decided. MS_E_INPUT as ms_calibration_fit and ms_threshold_find, MS_E_NOMEM. */
enum ms_status ms_tuning_fit(const struct ms_tuning_request *request, const struct ms_held *held,
                             struct ms_tuning *out, struct ms_error *err) MS_MUST_USE;

/* Calibrates the C scores of a row in place; the class decided for. */
uint32_t ms_tuning_apply(const struct ms_tuning *self, double *scores, uint32_t classes);

#endif
