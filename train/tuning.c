/* Calibration, then the threshold on calibrated scores, then the band around it. */
#include "train/tuning.h"

#include "base/log.h"
#include "train/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[] = {"none", "free", "auto", "temperature", "platt", "isotonic"};

enum ms_status ms_tune_parse(const char *text, enum ms_tune *out, struct ms_error *err)
{
    char shown[80];
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (i != MS_TUNE_FREE && strcmp(text, words[i]) == 0) {
            *out = (enum ms_tune)i;
            return MS_OK;
        }
    return ms_error_set(err, MS_E_USAGE,
                        "--calibrate %.40s: auto, none, temperature, platt or isotonic",
                        ms_escape_text(text, shown, sizeof shown));
}

enum ms_status ms_tune_band_parse(const char *text, struct ms_tuning_request *out,
                                  struct ms_error *err)
{
    out->doubt_auto = strcmp(text, "auto") == 0;
    out->unknown_from = out->unknown_to = 0;
    if (out->doubt_auto || strcmp(text, "none") == 0)
        return MS_OK;
    if (ms_doubt_parse(text, &out->unknown_from, &out->unknown_to))
        return MS_OK;
    return ms_error_set(err, MS_E_USAGE,
                        "--unknown-band takes auto, none or two scores, LOW:HIGH, the first below "
                        "the second");
}

void ms_tune_text(const struct ms_tuning_request *self, struct ms_buf *out)
{
    (void)ms_buf_printf(out, " calibrate=%s", words[self->calibrate]);
    if (self->fpr > 0)
        (void)ms_buf_printf(out, " target-fpr=%.9g", self->fpr);
    if (self->doubt_auto)
        (void)ms_buf_printf(out, " unknown-band=auto");
    else if (self->unknown_from < self->unknown_to)
        (void)ms_buf_printf(out, " unknown-band=%.9g:%.9g", self->unknown_from, self->unknown_to);
}

bool ms_tuning_needs_scores(const struct ms_tuning_request *self)
{
    return self->calibrate > MS_TUNE_FREE || self->fpr > 0 || self->doubt_auto;
}

/* A net with the mse head may leave the range by a little; calibration takes it as the edge. */
static void clamp_row(double *scores, uint32_t classes)
{
    for (uint32_t c = 0; c < classes; c++)
        scores[c] = scores[c] > 0 ? fmin(scores[c], 1) : 0;
}

static enum ms_calibration_kind kind_of(enum ms_tune tune, uint32_t classes)
{
    switch (tune) {
    case MS_TUNE_FREE:
    case MS_TUNE_AUTO:
        return classes == 2 ? MS_CALIBRATION_PLATT : MS_CALIBRATION_TEMPERATURE;
    case MS_TUNE_TEMPERATURE:
        return MS_CALIBRATION_TEMPERATURE;
    case MS_TUNE_PLATT:
        return MS_CALIBRATION_PLATT;
    case MS_TUNE_ISOTONIC:
        return MS_CALIBRATION_ISOTONIC;
    case MS_TUNE_NONE:
        break;
    }
    return MS_CALIBRATION_NONE;
}

static enum ms_status calibrate(const struct ms_tuning_request *request, const struct ms_held *held,
                                struct ms_calibration *out, struct ms_error *err)
{
    struct ms_error why = {0};
    size_t all = held->rows * held->classes;
    double *scores = calloc(all + 1, sizeof *scores);
    if (!scores)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the calibration");
    memcpy(scores, held->scores, all * sizeof *scores);
    for (size_t i = 0; i < held->rows; i++)
        clamp_row(scores + i * held->classes, held->classes);
    enum ms_status status = ms_calibration_fit(kind_of(request->calibrate, held->classes), scores,
                                               held->classes, held->truth, held->rows, out, &why);
    free(scores);
    if (status == MS_E_INPUT && request->calibrate <= MS_TUNE_AUTO) {
        ms_log(MS_LOG_WARNING, "the scores are not calibrated: %s", why.text);
        *out = (struct ms_calibration){.kind = MS_CALIBRATION_NONE};
        return MS_OK;
    }
    if (status != MS_OK && err)
        *err = why;
    return status;
}

/* ---- the band -------------------------------------------------------------------------------- */

static int by_rising(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double between(double low, double high)
{
    double half = low + (high - low) / 2;
    return half > low ? half : high;
}

/* Around a threshold, `most` rows to each side; none of several rows with equal scores alone. */
static void band_around(const double *s, size_t n, size_t most, struct ms_tuning *out)
{
    size_t at = 0;
    while (at < n && s[at] < out->threshold)
        at++;
    size_t low = at > most ? at - most : 0, high = n - at > most ? at + most : n;
    while (low > 0 && low < at && s[low] <= s[low - 1])
        low++;
    while (high < n && high > at && s[high] <= s[high - 1])
        high--;
    out->unknown_from = low == at ? out->threshold : low > 0 ? between(s[low - 1], s[low]) : s[0];
    out->unknown_to = high == at ? out->threshold
                      : high < n ? between(s[high - 1], s[high])
                                 : nextafter(s[n - 1], INFINITY);
}

static void band_below(const double *s, size_t n, size_t most, struct ms_tuning *out)
{
    while (most > 0 && most < n && s[most] <= s[most - 1])
        most--;
    out->unknown_from = 0;
    out->unknown_to = most > 0 && most < n ? between(s[most - 1], s[most]) : 0;
}

static enum ms_status find_band(const double *scores, const struct ms_held *held,
                                struct ms_tuning *out, struct ms_error *err)
{
    double *sorted = calloc(held->rows + 1, sizeof *sorted);
    if (!sorted)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the band of doubt");
    for (size_t i = 0; i < held->rows; i++)
        sorted[i] = ms_doubt_measure(scores + i * held->classes, held->classes);
    qsort(sorted, held->rows, sizeof *sorted, by_rising);
    if (held->classes == 2)
        band_around(sorted, held->rows, held->rows / 20, out);
    else
        band_below(sorted, held->rows, held->rows / 10, out);
    free(sorted);
    return MS_OK;
}

enum ms_status ms_tuning_fit(const struct ms_tuning_request *request, const struct ms_held *held,
                             struct ms_tuning *out, struct ms_error *err)
{
    *out = (struct ms_tuning){.threshold = request->threshold,
                              .reached = NAN,
                              .unknown_from = request->unknown_from,
                              .unknown_to = request->unknown_to,
                              .rows = held->rows};
    if (held->rows == 0)
        return MS_OK;
    size_t all = held->rows * held->classes;
    double *scores = calloc(all + 1, sizeof *scores);
    if (!scores)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the calibration");
    memcpy(scores, held->scores, all * sizeof *scores);
    enum ms_status status = request->calibrate == MS_TUNE_NONE
                                ? MS_OK
                                : calibrate(request, held, &out->calibration, err);
    for (size_t i = 0; status == MS_OK && i < held->rows; i++)
        ms_calibration_apply(&out->calibration, scores + i * held->classes, held->classes);
    if (status == MS_OK && request->fpr > 0)
        status = ms_threshold_find(scores, held->truth, held->rows, request->fpr, &out->threshold,
                                   &out->reached, err);
    if (status == MS_OK && request->doubt_auto)
        status = find_band(scores, held, out, err);
    free(scores);
    return status;
}

uint32_t ms_tuning_apply(const struct ms_tuning *self, double *scores, uint32_t classes)
{
    ms_calibration_apply(&self->calibration, scores, classes);
    return ms_model_decide(scores, classes, self->threshold);
}
