/* Paired comparisons against values reckoned by other means: by hand, from tables of Student's t,
 * and by adding up binomial coefficients. */
#include "train/compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct ms_error err;

static void near_to(double got, double want, double slack)
{
    if (!(fabs(got - want) <= slack))
        fail_msg("got %.15g, want %.15g", got, want);
}

static void mcnemar(void **state)
{
    (void)state;
    struct ms_mcnemar m;
    ms_mcnemar(9, 1, &m); /* 2 * (1 + 10) / 1024; (8 - 1)^2 / 10 */
    near_to(m.exact, 22.0 / 1024, 1e-12);
    near_to(m.statistic, 4.9, 1e-12);
    near_to(m.corrected, .026856695507523, 1e-12);
    ms_mcnemar(1, 9, &m);
    near_to(m.exact, 22.0 / 1024, 1e-12);
    ms_mcnemar(27, 13, &m); /* by Python's math.comb and math.erfc */
    near_to(m.exact, .03847730828420026, 1e-12);
    near_to(m.corrected, .03983261924474148, 1e-12);
    ms_mcnemar(5, 5, &m);
    near_to(m.exact, 1, 1e-12);
    near_to(m.corrected, 1, 1e-12);
    ms_mcnemar(0, 0, &m);
    near_to(m.exact, 1, 0);
    near_to(m.corrected, 1, 0);
    ms_mcnemar(4000, 6000, &m); /* no overflow */
    assert_true(m.exact > 0 && m.exact < 1e-80);
}

/* The 5 % and 1 % columns of any table of Student's t. */
static void student(void **state)
{
    (void)state;
    near_to(ms_student_p(12.706204736, 1), .05, 1e-9);
    near_to(ms_student_p(2.570581836, 5), .05, 1e-9);
    near_to(ms_student_p(-2.262157163, 9), .05, 1e-9);
    near_to(ms_student_p(3.249835542, 9), .01, 1e-9);
    near_to(ms_student_p(1.959963985, 1e8), .05, 1e-7);
    near_to(ms_student_p(0, 4), 1, 1e-12);
    near_to(ms_student_p(INFINITY, 4), 0, 0);
    assert_true(isnan(ms_student_p(NAN, 4)));
}

enum { ROWS = 40 };
static uint32_t truth[ROWS], groups[ROWS], repeat[ROWS], fold[ROWS], a[ROWS], b[ROWS];
static double score_a[2 * ROWS], score_b[2 * ROWS];

/* Four folds of ten rows; A has them all right, B one, two, none and one wrong. */
static struct ms_pair four_folds(void)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        truth[i] = i % 2;
        groups[i] = i;
        repeat[i] = 0;
        fold[i] = i / 10;
        a[i] = b[i] = truth[i];
    }
    const uint32_t wrong[4] = {3, 14, 15, 37};
    for (int i = 0; i < 4; i++)
        b[wrong[i]] = 1 - b[wrong[i]];
    for (uint32_t i = 0; i < ROWS; i++) {
        score_a[2 * i] = a[i] == 0 ? .9 : .1;
        score_b[2 * i] = b[i] == 0 ? .9 : .1;
        score_a[2 * i + 1] = 1 - score_a[2 * i];
        score_b[2 * i + 1] = 1 - score_b[2 * i];
    }
    return (struct ms_pair){.classes = 2,
                            .rows = ROWS,
                            .truth = truth,
                            .groups = groups,
                            .repeat = repeat,
                            .fold = fold,
                            .repeats = 1,
                            .folds = 4,
                            .test_over_train = 1.0 / 3,
                            .predicted = {a, b},
                            .scores = {score_a, score_b},
                            .seed = 1};
}

static void differences(void **state)
{
    (void)state;
    struct ms_pair pair = four_folds();
    struct ms_comparison c, turned, again;
    assert_int_equal(ms_compare(&pair, &c, &err), MS_OK);
    near_to(c.accuracy.a, 1, 0);
    near_to(c.accuracy.b, .9, 1e-12);
    near_to(c.accuracy.difference, .1, 1e-12);
    near_to(c.auc.a, 1, 0);
    near_to(c.auc.b, .9, 1e-12); /* 19 and 17 of 20 right: (.95 + .85) / 2 */
    near_to(c.macro_f1.b, (38.0 / 42 + 34.0 / 38) / 2, 1e-12);
    near_to(c.f1.a, 1, 0);
    near_to(c.f1.b, 38.0 / 42, 1e-12); /* 19 of 20 found, among 22 */
    near_to(c.average_precision.a, 1, 0);
    near_to(c.average_precision.b, (19 * 19.0 / 22 + 20.0 / 40) / 20, 1e-12);
    assert_true(c.f1.low < .1 && c.f1.low > 0 && c.average_precision.high > .1);
    /* the normal interval of a share of .1 in 40: .1 +- .093 */
    near_to(c.accuracy.low, .1 - .093, .03);
    near_to(c.accuracy.high, .1 + .093, .03);
    assert_int_equal(c.fits, 4);
    near_to(c.t, .1 / sqrt((1.0 / 4 + 1.0 / 3) * (.02 / 3)), 1e-12);
    near_to(c.p, .2071428439915084, 1e-9); /* by Simpson's rule over the density */
    assert_int_equal(c.by_repeat[0].mcnemar.only_a, 4);
    assert_int_equal(c.by_repeat[0].mcnemar.only_b, 0);
    near_to(c.by_repeat[0].mcnemar.exact, 2.0 / 16, 1e-12);

    pair.predicted[0] = b;
    pair.predicted[1] = a;
    pair.scores[0] = score_b;
    pair.scores[1] = score_a;
    assert_int_equal(ms_compare(&pair, &turned, &err), MS_OK);
    near_to(turned.accuracy.difference, -.1, 1e-12);
    near_to(turned.accuracy.low, -c.accuracy.high, 1e-12); /* the same rounds */
    near_to(turned.t, -c.t, 1e-12);
    assert_int_equal(ms_compare(&pair, &again, &err), MS_OK);
    near_to(again.accuracy.low, turned.accuracy.low, 0);
    ms_comparison_release(&c);
    ms_comparison_release(&turned);
    ms_comparison_release(&again);
}

/* Forty rows that are twenty sequences twice each: the interval must not take them for forty. */
static void copies_widen(void **state)
{
    (void)state;
    struct ms_pair pair = four_folds();
    struct ms_comparison alone, paired;
    for (uint32_t i = 0; i < ROWS; i++)
        b[i] = i / 4 % 5 == 0 ? 1 - truth[i] : truth[i];
    assert_int_equal(ms_compare(&pair, &alone, &err), MS_OK);
    for (uint32_t i = 0; i < ROWS; i++)
        groups[i] = i / 4;
    assert_int_equal(ms_compare(&pair, &paired, &err), MS_OK);
    double narrow = alone.accuracy.high - alone.accuracy.low;
    double wide = paired.accuracy.high - paired.accuracy.low;
    if (!(wide > 1.5 * narrow))
        fail_msg("%g is not wider than %g", wide, narrow);
    ms_comparison_release(&alone);
    ms_comparison_release(&paired);
}

/* Two repeats are averaged, not pooled: of 30 and of 10 rows. */
static void repeats_are_averaged(void **state)
{
    (void)state;
    struct ms_pair pair = four_folds();
    struct ms_comparison c;
    for (uint32_t i = 0; i < ROWS; i++) {
        repeat[i] = i >= 30;
        fold[i] = 0;
        b[i] = i < 30 ? truth[i] : 1 - truth[i];
    }
    pair.repeats = 2;
    pair.folds = 0;
    assert_int_equal(ms_compare(&pair, &c, &err), MS_OK);
    near_to(c.accuracy.b, .5, 1e-12);
    near_to(c.by_repeat[1].accuracy[1], 0, 0);
    assert_int_equal(c.by_repeat[0].rows, 30);
    assert_int_equal(c.fits, 2);
    ms_comparison_release(&c);
    a[3] = 9;
    assert_int_equal(ms_compare(&pair, &c, &err), MS_E_INPUT);
    ms_comparison_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mcnemar),
        cmocka_unit_test(student),
        cmocka_unit_test(differences),
        cmocka_unit_test(copies_widen),
        cmocka_unit_test(repeats_are_averaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
