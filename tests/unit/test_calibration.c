/* Calibration: what is planted is found, texts come back, what is not finite stays so. */
#include "train/model_calibration.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { N = 6000 };
static double scores[N * 3], other[N * 3];
static uint32_t truth[N];
static struct ms_error err;

/* Rows whose true class is drawn from logistic(z), shown as logistic((z - shift) * scale). */
static void plant(double scale, double shift)
{
    struct ms_rng rng;
    ms_rng_init(&rng, 5, 6, 7);
    for (uint32_t i = 0; i < N; i++) {
        double z = 2 * ms_rng_normal(&rng), p = 1 / (1 + exp(-z));
        truth[i] = ms_rng_unit(&rng) < p ? 0 : 1;
        scores[2 * i] = 1 / (1 + exp(-(z - shift) * scale));
        scores[2 * i + 1] = 1 - scores[2 * i];
    }
}

static double log_loss(const double *p)
{
    double sum = 0;
    for (uint32_t i = 0; i < N; i++)
        sum -= log(fmax(p[2 * i + truth[i]], 1e-12));
    return sum / N;
}

static void calibrated(const struct ms_calibration *c)
{
    memcpy(other, scores, sizeof other);
    for (uint32_t i = 0; i < N; i++)
        ms_calibration_apply(c, other + 2 * i, 2);
}

static void finds_what_was_planted(void **state)
{
    (void)state;
    struct ms_calibration c;
    plant(3, 0);
    double before = log_loss(scores);
    assert_int_equal(ms_calibration_fit(MS_CALIBRATION_TEMPERATURE, scores, 2, truth, N, &c, &err),
                     MS_OK);
    assert_true(fabs(c.t - 3) < .2);
    calibrated(&c);
    assert_true(log_loss(other) < before - .05);

    plant(2, .7); /* z = x / 2 + .7 */
    assert_int_equal(ms_calibration_fit(MS_CALIBRATION_PLATT, scores, 2, truth, N, &c, &err),
                     MS_OK);
    assert_true(fabs(c.a - .5) < .04 && fabs(c.b - .7) < .1);
    calibrated(&c);
    double platt = log_loss(other);
    assert_true(platt < log_loss(scores) - .02);

    assert_int_equal(ms_calibration_fit(MS_CALIBRATION_ISOTONIC, scores, 2, truth, N, &c, &err),
                     MS_OK);
    for (uint32_t i = 1; i < c.points; i++)
        assert_true(c.x[i] > c.x[i - 1] && c.y[i] >= c.y[i - 1]);
    calibrated(&c);
    assert_true(fabs(log_loss(other) - platt) < .02);
}

/* Pooling by hand: 1 0 | 0 | 1 0 1 → .5 pooled with the 0 behind it … */
static void pools_violators(void **state)
{
    (void)state;
    const double x[10] = {.1, .2, .3, .4, .5, .6, .7, .8, .9, 1};
    const uint32_t positive[10] = {0, 0, 1, 0, 0, 1, 1, 0, 1, 1};
    double p[20];
    uint32_t t[10];
    for (size_t i = 0; i < 10; i++) {
        p[2 * i] = x[i];
        p[2 * i + 1] = 1 - x[i];
        t[i] = !positive[i];
    }
    struct ms_calibration c;
    assert_int_equal(ms_calibration_fit(MS_CALIBRATION_ISOTONIC, p, 2, t, 10, &c, &err), MS_OK);
    /* blocks: {.1 .2} 0; {.3 .4 .5} 1/3; {.6 .7 .8} 2/3; {.9 1} 1 */
    const double want_x[4] = {.15, .4, .7, .95}, want_y[4] = {0, 1.0 / 3, 2.0 / 3, 1};
    assert_int_equal(c.points, 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(fabs(c.x[i] - want_x[i]) < 1e-12 && fabs(c.y[i] - want_y[i]) < 1e-12);
    double row[2] = {.55, .45};
    ms_calibration_apply(&c, row, 2);
    assert_true(fabs(row[0] - .5) < 1e-12 && fabs(row[1] - .5) < 1e-12);
}

static void texts_come_back(void **state)
{
    (void)state;
    struct ms_calibration c, back;
    char text[MS_CALIBRATION_TEXT_BYTES], again[MS_CALIBRATION_TEXT_BYTES];
    plant(2, .7);
    for (int kind = MS_CALIBRATION_NONE; kind <= MS_CALIBRATION_ISOTONIC; kind++) {
        assert_int_equal(
            ms_calibration_fit((enum ms_calibration_kind)kind, scores, 2, truth, N, &c, &err),
            MS_OK);
        ms_calibration_text(&c, text);
        assert_int_equal(ms_calibration_parse(text, &back, &err), MS_OK);
        ms_calibration_text(&back, again);
        assert_string_equal(text, again);
        assert_memory_equal(&c, &back, sizeof c);
    }
    const char *const bad[] = {"",
                               "temperature",
                               "temperature 0",
                               "temperature -1",
                               "platt 1",
                               "temperature nan",
                               "platt 1 2 3",
                               "platt -1 0",
                               "isotonic ",
                               "isotonic 0.5:2",
                               "isotonic .5",
                               "temperature 1 ",
                               "platt 1 inf",
                               "isotonic 0.5:0.5 0.4:0.6",
                               "isotonic 0:0.5 1:0.4"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ms_calibration_parse(bad[i], &back, &err) != MS_E_INPUT)
            fail_msg("'%s' was taken", bad[i]);
}

static void three_classes_and_refusals(void **state)
{
    (void)state;
    struct ms_calibration c;
    struct ms_rng rng;
    ms_rng_init(&rng, 1, 2, 3);
    for (uint32_t i = 0; i < N; i++) { /* right in six of ten, and sure of nine */
        uint32_t says = i % 3;
        truth[i] = ms_rng_unit(&rng) < .6 ? says : (says + 1 + i / 3 % 2) % 3;
        for (uint32_t k = 0; k < 3; k++)
            scores[3 * i + k] = k == says ? .9 : .05;
    }
    assert_int_equal(ms_calibration_fit(MS_CALIBRATION_TEMPERATURE, scores, 3, truth, N, &c, &err),
                     MS_OK);
    double row[3] = {.9, .05, .05};
    ms_calibration_apply(&c, row, 3);
    assert_true(fabs(row[0] - .6) < .03 && fabs(row[0] + row[1] + row[2] - 1) < 1e-12);
    assert_int_equal(ms_calibration_fit(MS_CALIBRATION_PLATT, scores, 3, truth, N, &c, &err),
                     MS_E_INPUT);
    assert_int_equal(ms_calibration_fit(MS_CALIBRATION_TEMPERATURE, scores, 3, truth, 9, &c, &err),
                     MS_E_INPUT);
    scores[4] = 1.5;
    assert_int_equal(ms_calibration_fit(MS_CALIBRATION_TEMPERATURE, scores, 3, truth, N, &c, &err),
                     MS_E_INPUT);
    memset(truth, 0, sizeof truth);
    plant(1, 0);
    memset(truth, 0, sizeof truth);
    assert_int_equal(ms_calibration_fit(MS_CALIBRATION_PLATT, scores, 2, truth, N, &c, &err),
                     MS_E_INPUT);
}

static void thresholds(void **state)
{
    (void)state;
    double s[24], threshold, reached;
    uint32_t t[12];
    for (size_t i = 0; i < 10; i++) { /* negatives at .0 to .9 */
        s[2 * i] = (double)i / 10;
        t[i] = 1;
    }
    s[20] = .85;
    s[22] = .3;
    t[10] = t[11] = 0;
    assert_int_equal(ms_threshold_find(s, t, 12, .1, &threshold, &reached, &err), MS_OK);
    assert_true(threshold > .8 && threshold <= .85 && fabs(reached - .1) < 1e-12);
    assert_int_equal(ms_threshold_find(s, t, 12, .05, &threshold, &reached, &err), MS_OK);
    assert_true(threshold > .9 && reached == 0);
    s[2 * 8] = .9; /* two negatives at .9: one of ten cannot be had */
    assert_int_equal(ms_threshold_find(s, t, 12, .1, &threshold, &reached, &err), MS_OK);
    assert_true(threshold > .9 && reached == 0);
    memset(t, 0, sizeof t);
    assert_int_equal(ms_threshold_find(s, t, 12, .1, &threshold, &reached, &err), MS_E_INPUT);
}

static void what_is_no_number_stays_none(void **state)
{
    (void)state;
    const struct ms_calibration platt = {.kind = MS_CALIBRATION_PLATT, .a = 1, .b = 0};
    double row[2] = {NAN, .3}, far[2] = {1.5, -.5};
    ms_calibration_apply(&platt, row, 2);
    assert_true(isnan(row[0]) && row[1] == .3);
    ms_calibration_apply(&platt, far, 2);
    assert_true(far[0] > .999 && far[0] <= 1 && fabs(far[0] + far[1] - 1) < 1e-12);
}

static void bands_as_text(void **state)
{
    (void)state;
    double low, high;
    assert_true(ms_doubt_parse("0.25:.5", &low, &high) && low == .25 && high == .5);
    assert_true(ms_doubt_parse("-1:2", &low, &high) && low == -1 && high == 2);
    const char *const bad[] = {"",      "1",     "1:",    ":1",    "a:b",  "0.5:0.4",
                               ".5:.5", "0:nan", "0:inf", "0:1:2", "0:1 ", "0x1:2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ms_doubt_parse(bad[i], &low, &high))
            fail_msg("'%s' was taken", bad[i]);
}

static void doubt(void **state)
{
    (void)state;
    const double s[8] = {.9, .1, .6, .4, .45, .55, .1, .9};
    const uint32_t t[4] = {0, 1, 0, 1}, said[4] = {0, 0, 1, 1};
    struct ms_doubt d;
    ms_doubt_count(s, 2, t, said, 4, .4, .7, &d);
    assert_int_equal(d.unknown, 2);
    assert_true(d.coverage == .5 && d.accuracy == 1);
    ms_doubt_count(s, 2, t, said, 4, 0, 0, &d);
    assert_true(d.unknown == 0 && d.accuracy == .5);
    ms_doubt_count(s, 2, t, said, 4, 0, 2, &d);
    assert_true(d.unknown == 4 && isnan(d.accuracy));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_planted),
        cmocka_unit_test(pools_violators),
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(three_classes_and_refusals),
        cmocka_unit_test(thresholds),
        cmocka_unit_test(what_is_no_number_stays_none),
        cmocka_unit_test(bands_as_text),
        cmocka_unit_test(doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
