/* train/tuning: calibration, threshold and band from held-out rows, and what they do to a row. */
#include "train/tuning.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { N = 2000 };
static double scores[N * 3];
static uint32_t truth[N];
static struct ms_error err;

/* Of two classes: true by logistic(z), shown twice as sure. */
static struct ms_held plant(void)
{
    struct ms_rng rng;
    ms_rng_init(&rng, 5, 6, 7);
    for (uint32_t i = 0; i < N; i++) {
        double z = 2 * ms_rng_normal(&rng);
        truth[i] = ms_rng_unit(&rng) < 1 / (1 + exp(-z)) ? 0 : 1;
        scores[2 * i] = 1 / (1 + exp(-2 * z));
        scores[2 * i + 1] = 1 - scores[2 * i];
    }
    return (struct ms_held){2, N, scores, truth};
}

static struct ms_tuning tuned(const struct ms_tuning_request *request, const struct ms_held *held)
{
    struct ms_tuning t;
    if (ms_tuning_fit(request, held, &t, &err) != MS_OK)
        fail_msg("%s", err.text);
    return t;
}

static void nothing_asked_changes_nothing(void **state)
{
    (void)state;
    const struct ms_held held = plant();
    const struct ms_tuning_request request = {.threshold = .5};
    const struct ms_tuning t = tuned(&request, &held);
    double row[2] = {.49, .51};
    assert_true(!ms_tuning_needs_scores(&request));
    assert_int_equal(t.calibration.kind, MS_CALIBRATION_NONE);
    assert_true(t.threshold == .5 && t.unknown_from == t.unknown_to && isnan(t.reached));
    assert_int_equal(ms_tuning_apply(&t, row, 2), 1);
    assert_true(row[0] == .49);
}

static void threshold_and_band_are_of_calibrated_scores(void **state)
{
    (void)state;
    const struct ms_held held = plant();
    const struct ms_tuning_request request = {
        .calibrate = MS_TUNE_AUTO, .threshold = .5, .fpr = .05, .doubt_auto = true};
    const struct ms_tuning t = tuned(&request, &held);
    assert_true(ms_tuning_needs_scores(&request));
    assert_int_equal(t.calibration.kind, MS_CALIBRATION_PLATT);
    assert_true(fabs(t.calibration.a - .5) < .06 && t.rows == N);
    size_t negatives = 0, wrong = 0, unknown = 0, below = 0;
    for (size_t i = 0; i < N; i++) {
        double row[2] = {scores[2 * i], scores[2 * i + 1]};
        uint32_t says = ms_tuning_apply(&t, row, 2);
        negatives += truth[i] == 1;
        wrong += truth[i] == 1 && says == 0;
        unknown += row[0] >= t.unknown_from && row[0] < t.unknown_to;
        below += row[0] >= t.unknown_from && row[0] < t.threshold;
    }
    assert_true(fabs(t.reached - (double)wrong / (double)negatives) < 1e-12);
    assert_true(t.reached <= .05 && t.reached > .045);
    assert_int_equal(unknown, N / 10);
    assert_int_equal(below, N / 20);
}

/* Of equal scores all are in doubt or none. */
static void ties_stay_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++) {
        scores[2 * i] = i < 60 ? 0 : i < 62 ? .4 : i < 63 ? .6 : 1;
        scores[2 * i + 1] = 1 - scores[2 * i];
        truth[i] = i < 62;
    }
    const struct ms_held held = {2, 100, scores, truth};
    const struct ms_tuning_request request = {.threshold = .5, .doubt_auto = true};
    const struct ms_tuning t = tuned(&request, &held);
    assert_true(t.unknown_from > 0 && t.unknown_from <= .4);
    assert_true(t.unknown_to > .6 && t.unknown_to <= 1);
}

static void several_classes(void **state)
{
    (void)state;
    for (size_t i = 0; i < N; i++) {
        double most = .4 + .5 * (double)i / N;
        truth[i] = (uint32_t)i % 3;
        for (uint32_t c = 0; c < 3; c++)
            scores[3 * i + c] = c == i % 3 ? most : (1 - most) / 2;
        if (i % 7 == 0)
            truth[i] = (truth[i] + 1) % 3;
    }
    const struct ms_held held = {3, N, scores, truth};
    struct ms_tuning_request request = {
        .calibrate = MS_TUNE_FREE, .threshold = .5, .doubt_auto = true};
    const struct ms_tuning t = tuned(&request, &held);
    size_t unknown = 0;
    assert_int_equal(t.calibration.kind, MS_CALIBRATION_TEMPERATURE);
    for (size_t i = 0; i < N; i++) {
        double row[3] = {scores[3 * i], scores[3 * i + 1], scores[3 * i + 2]};
        assert_int_equal(ms_tuning_apply(&t, row, 3), i % 3);
        double most = ms_doubt_measure(row, 3);
        unknown += most >= t.unknown_from && most < t.unknown_to;
    }
    assert_int_equal(unknown, N / 10);
    struct ms_tuning refused;
    request.calibrate = MS_TUNE_PLATT;
    assert_int_equal(ms_tuning_fit(&request, &held, &refused, &err), MS_E_INPUT);
}

/* What was asked for by name fails; what was to be had anyway is left out. */
static void too_few_rows(void **state)
{
    (void)state;
    struct ms_held held = plant();
    held.rows = 9;
    struct ms_tuning_request request = {.calibrate = MS_TUNE_FREE, .threshold = .5};
    assert_int_equal(tuned(&request, &held).calibration.kind, MS_CALIBRATION_NONE);
    struct ms_tuning t;
    request.calibrate = MS_TUNE_ISOTONIC;
    assert_int_equal(ms_tuning_fit(&request, &held, &t, &err), MS_E_INPUT);
    held.rows = 0;
    assert_int_equal(ms_tuning_fit(&request, &held, &t, &err), MS_OK);
}

static void words(void **state)
{
    (void)state;
    enum ms_tune tune;
    struct ms_tuning_request band = {0};
    assert_int_equal(ms_tune_parse("isotonic", &tune, &err), MS_OK);
    assert_int_equal(tune, MS_TUNE_ISOTONIC);
    assert_int_equal(ms_tune_parse("free", &tune, &err), MS_E_USAGE);
    assert_int_equal(ms_tune_band_parse("auto", &band, &err), MS_OK);
    assert_true(band.doubt_auto);
    assert_int_equal(ms_tune_band_parse("0.4:0.6", &band, &err), MS_OK);
    assert_true(!band.doubt_auto && band.unknown_from == .4 && band.unknown_to == .6);
    assert_int_equal(ms_tune_band_parse("0.6:0.4", &band, &err), MS_E_USAGE);
    assert_int_equal(ms_tune_band_parse("none", &band, &err), MS_OK);
    assert_true(band.unknown_from == band.unknown_to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_asked_changes_nothing),
        cmocka_unit_test(threshold_and_band_are_of_calibrated_scores),
        cmocka_unit_test(ties_stay_together),
        cmocka_unit_test(several_classes),
        cmocka_unit_test(too_few_rows),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
