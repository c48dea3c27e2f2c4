/* Metrics against values computed by hand. */
#include "train/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void close_to(double got, double want)
{
    if (!(fabs(got - want) < 1e-12))
        fail_msg("got %.15f, want %.15f", got, want);
}

/* The article's own matrix: TP 103, FP 2, FN 36, TN 926. */
static void article_matrix(void **state)
{
    (void)state;
    enum { N = 103 + 2 + 36 + 926 };
    static uint32_t truth[N], predicted[N];
    const struct {
        uint32_t predicted, truth, times;
    } cells[4] = {{0, 0, 103}, {0, 1, 2}, {1, 0, 36}, {1, 1, 926}};
    size_t n = 0;
    for (int i = 0; i < 4; i++)
        for (uint32_t k = 0; k < cells[i].times; k++, n++) {
            truth[n] = cells[i].truth;
            predicted[n] = cells[i].predicted;
        }
    struct ms_metrics m;
    const struct ms_judged judged = {2, N, truth, predicted, NULL, NULL, 1};
    assert_int_equal(ms_metrics_make(&judged, &m, NULL), MS_OK);
    const uint64_t want[4] = {103, 2, 36, 926}; /* predictions are rows */
    assert_memory_equal(m.confusion.counts, want, sizeof want);
    close_to(m.accuracy, 1029.0 / 1067);
    close_to(m.majority, 928.0 / 1067);
    assert_int_equal(m.majority_class, 1);
    close_to(m.by_class[0].precision, 103.0 / 105);
    close_to(m.by_class[0].recall, 103.0 / 139);
    close_to(m.by_class[0].f1, 206.0 / 244);
    close_to(m.by_class[1].recall, 926.0 / 928);
    close_to(m.balanced_accuracy, (103.0 / 139 + 926.0 / 928) / 2);
    close_to(m.macro_f1, (206.0 / 244 + 1852.0 / 1890) / 2);
    assert_true(isnan(m.auc));
    assert_string_equal(m.interval, "wilson");
    ms_metrics_release(&m);
}

static void precision_recall_by_hand(void **state)
{
    (void)state;
    const double scores[5] = {.9, .8, .8, .4, .1};
    const bool positive[5] = {true, true, false, false, true};
    struct ms_roc_point *p;
    size_t n;
    assert_int_equal(ms_precision_recall(scores, 1, positive, 5, &p, &n, NULL), MS_OK);
    const double want[5][2] = {{0, 1}, {1. / 3, 1}, {2. / 3, 2. / 3}, {2. / 3, .5}, {1, .6}};
    assert_int_equal(n, 5); /* equal scores are one point */
    for (size_t i = 0; i < n; i++) {
        close_to(p[i].x, want[i][0]);
        close_to(p[i].y, want[i][1]);
    }
    free(p);
    const bool none[5] = {false};
    assert_int_equal(ms_precision_recall(scores, 1, none, 5, &p, &n, NULL), MS_OK);
    assert_int_equal(n, 0);
    free(p);
}

static void wilson_interval(void **state)
{
    (void)state;
    double low, high;
    ms_wilson(1, 10, &low, &high); /* the textbook's .0179 to .4042 */
    assert_true(fabs(low - .017876) < 1e-5 && fabs(high - .404150) < 1e-5);
    ms_wilson(0, 10, &low, &high); /* z^2 / (n + z^2) */
    close_to(low, 0);
    assert_true(fabs(high - 3.841459 / 13.841459) < 1e-6);
    ms_wilson(0, 0, &low, &high);
    close_to(low, 0);
    close_to(high, 1);
}

/* Scores .9+ .8- .7+ .7- .6+ .1-: pairs in order 3 + (1 tie with .8- behind: .7+ beats .7- half and
 * .1- whole) 1.5 + (.6+ beats .1-) 1 of 9. */
static void auc_with_ties(void **state)
{
    (void)state;
    const double scores[6] = {.9, .8, .7, .7, .6, .1};
    const bool positive[6] = {true, false, true, false, true, false};
    double auc, ap;
    assert_int_equal(ms_auc(scores, 1, positive, 6, &auc, &ap, NULL), MS_OK);
    close_to(auc, 5.5 / 9);
    /* precision at .9: 1/1, at .7: 2/4, at .6: 3/5 */
    close_to(ap, (1 + .5 + .6) / 3);
    const bool all[6] = {true, true, true, true, true, true};
    assert_int_equal(ms_auc(scores, 1, all, 6, &auc, &ap, NULL), MS_OK);
    assert_true(isnan(auc));
    close_to(ap, 1);

    struct ms_roc_point *p;
    size_t n;
    assert_int_equal(ms_roc(scores, 1, positive, 6, &p, &n, NULL), MS_OK);
    const double want[6][2] = {{0, 0},       {0, 1.0 / 3}, {1.0 / 3, 1.0 / 3}, {2.0 / 3, 2.0 / 3},
                               {2.0 / 3, 1}, {1, 1}};
    assert_int_equal(n, 6);
    double area = 0;
    for (size_t i = 0; i < n; i++) {
        close_to(p[i].x, want[i][0]);
        close_to(p[i].y, want[i][1]);
        if (i > 0)
            area += (p[i].x - p[i - 1].x) * (p[i].y + p[i - 1].y) / 2;
    }
    close_to(area, 5.5 / 9);
    free(p);
}

static void three_classes(void **state)
{
    (void)state;
    /*            predicted 0: truth 0 0 1; 1: truth 1; 2: none; class 2 has one row, given 0 */
    const uint32_t truth[5] = {0, 0, 1, 1, 2}, predicted[5] = {0, 0, 0, 1, 0};
    const double scores[15] = {.8, .1, .1, .6, .2, .2, .5, .4, .1, .1, .8, .1, .5, .2, .3};
    struct ms_metrics m;
    const struct ms_judged judged = {3, 5, truth, predicted, scores, NULL, 1};
    assert_int_equal(ms_metrics_make(&judged, &m, NULL), MS_OK);
    const uint64_t want[9] = {2, 1, 1, 0, 1, 0, 0, 0, 0};
    assert_memory_equal(m.confusion.counts, want, sizeof want);
    close_to(m.accuracy, .6);
    close_to(m.by_class[0].precision, .5);
    close_to(m.by_class[0].f1, 4.0 / 6);
    close_to(m.by_class[1].recall, .5);
    close_to(m.by_class[2].precision, 0); /* never predicted */
    close_to(m.balanced_accuracy, (1 + .5 + 0) / 3);
    close_to(m.macro_f1, (4.0 / 6 + 2.0 / 3 + 0) / 3);
    close_to(m.majority, .4);
    assert_int_equal(m.majority_class, 0); /* of equals the first */
    close_to(m.by_class[0].auc, 1);
    close_to(m.by_class[1].auc, 1);
    close_to(m.by_class[2].auc, 1);
    close_to(m.auc, 1);
    ms_metrics_release(&m);
}

static void bootstrap_respects_groups(void **state)
{
    (void)state;
    enum { N = 200 };
    static uint32_t truth[N], predicted[N], alone[N], four[N];
    for (uint32_t i = 0; i < N; i++) {
        predicted[i] = i < 100; /* half right, in blocks */
        truth[i] = 0;
        alone[i] = i;
        four[i] = i / 50;
    }
    struct ms_metrics narrow, wide, again;
    struct ms_judged judged = {2, N, truth, predicted, NULL, alone, 1};
    assert_int_equal(ms_metrics_make(&judged, &narrow, NULL), MS_OK);
    judged.groups = four;
    assert_int_equal(ms_metrics_make(&judged, &wide, NULL), MS_OK);
    assert_int_equal(ms_metrics_make(&judged, &again, NULL), MS_OK);
    assert_string_equal(narrow.interval, "wilson");
    assert_string_equal(wide.interval, "cluster bootstrap");
    assert_true(narrow.accuracy_high - narrow.accuracy_low < .15);
    close_to(wide.accuracy_low, 0); /* 4 groups, 2 of them right: all wrong in 1 of 16 */
    close_to(wide.accuracy_high, 1);
    close_to(again.accuracy_low, wide.accuracy_low);
    ms_metrics_release(&narrow);
    ms_metrics_release(&wide);
    ms_metrics_release(&again);
}

static void refuses_nonsense(void **state)
{
    (void)state;
    const uint32_t truth[1] = {0}, predicted[1] = {2};
    const double nan_score[2] = {NAN, 1};
    struct ms_metrics m;
    struct ms_error err;
    struct ms_judged judged = {2, 1, truth, predicted, NULL, NULL, 1};
    assert_int_equal(ms_metrics_make(&judged, &m, &err), MS_E_INPUT);
    ms_metrics_release(&m);
    judged.predicted = truth;
    judged.scores = nan_score;
    assert_int_equal(ms_metrics_make(&judged, &m, &err), MS_E_INPUT);
    ms_metrics_release(&m);
    judged.rows = 0;
    assert_int_equal(ms_metrics_make(&judged, &m, &err), MS_E_INPUT);
    ms_metrics_release(&m);
}

/* Four rows, probabilities of class 0. */
static void probabilities(void **state)
{
    (void)state;
    const double p[4] = {.9, .6, .3, .2};
    const uint32_t truth[4] = {0, 1, 0, 1}, predicted[4] = {0, 0, 1, 1};
    double scores[8];
    for (size_t i = 0; i < 4; i++) {
        scores[2 * i] = p[i];
        scores[2 * i + 1] = 1 - p[i];
    }
    struct ms_metrics m;
    struct ms_judged judged = {2, 4, truth, predicted, scores, NULL, 1};
    assert_int_equal(ms_metrics_make(&judged, &m, NULL), MS_OK);
    assert_true(m.calibrated);
    close_to(m.brier, (.01 + .36 + .49 + .04) / 4);
    close_to(m.log_loss, -(log(.9) + log(.4) + log(.3) + log(.8)) / 4);
    close_to(m.ece, (.1 + .6 + .7 + .2) / 4); /* a bin each */
    close_to(m.reliability[0].claimed, .2);
    close_to(m.reliability[0].held, 0);
    assert_true(isnan(m.tpr[0].value)); /* two negatives */
    assert_int_equal(m.tpr[0].needed, 300);
    assert_int_equal(m.tpr[1].needed, 3000);
    assert_true(m.brier_range.low <= m.brier && m.brier <= m.brier_range.high);
    ms_metrics_release(&m);
    scores[0] = 1.5; /* the mse head's numbers are no probabilities */
    assert_int_equal(ms_metrics_make(&judged, &m, NULL), MS_OK);
    assert_true(!m.calibrated && isnan(m.brier) && isnan(m.ece) && isnan(m.ece_range.low));
    assert_true(!isnan(m.auc));
    ms_metrics_release(&m);
}

/* 300 negatives at (i + .5) / 300, and positives: at 1 % there may be 3 false ones, those above
 * .99; of four positives one is higher than the fourth negative from above, at .98833, and two are
 * just below it. */
static void rate_at_few_false(void **state)
{
    (void)state;
    enum { N = 304 };
    static uint32_t truth[N], predicted[N];
    static double scores[2 * N];
    const double positives[4] = {.9999, .9889, .9881, .5};
    for (uint32_t i = 0; i < N; i++) {
        truth[i] = i < 300;
        predicted[i] = truth[i];
        scores[2 * i] = i < 300 ? (i + .5) / 300 : positives[i - 300];
        scores[2 * i + 1] = 1 - scores[2 * i];
    }
    struct ms_metrics m;
    const struct ms_judged judged = {2, N, truth, predicted, scores, NULL, 1};
    assert_int_equal(ms_metrics_make(&judged, &m, NULL), MS_OK);
    close_to(m.tpr[0].value, .5);
    assert_true(isnan(m.tpr[1].value) && isnan(m.tpr[1].range.low));
    assert_true(m.tpr[0].range.low <= .5 && m.tpr[0].range.high >= .5);
    /* all right: the bootstrap says nothing, Wilson does of 4 of 4 */
    close_to(m.by_class[0].recall_range.high, 1);
    assert_true(fabs(m.by_class[0].recall_range.low - 4 / (4 + 3.841459)) < 1e-6);
    assert_true(isnan(m.macro_f1_range.low));
    ms_metrics_release(&m);
}

/* The interval of a mean of independent rows is near the normal one; of rows in fours it is about
 * twice as wide. */
static void ranges_have_the_right_width(void **state)
{
    (void)state;
    enum { N = 800 };
    static uint32_t truth[N], predicted[N], fours[N];
    static double scores[2 * N];
    for (uint32_t i = 0; i < N; i++) {
        uint32_t block = i / 4;
        truth[i] = block % 2;
        predicted[i] = block % 5 == 0 ? 1 - truth[i] : truth[i];
        fours[i] = block;
        scores[2 * i] = predicted[i] == 0 ? .8 : .2;
        scores[2 * i + 1] = 1 - scores[2 * i];
    }
    struct ms_metrics alone, grouped, again;
    struct ms_judged judged = {2, N, truth, predicted, scores, NULL, 3};
    assert_int_equal(ms_metrics_make(&judged, &alone, NULL), MS_OK);
    judged.groups = fours;
    assert_int_equal(ms_metrics_make(&judged, &grouped, NULL), MS_OK);
    assert_int_equal(ms_metrics_make(&judged, &again, NULL), MS_OK);
    const double half = 1.96 * sqrt(.2 * .8 / N);
    double have = alone.balanced_accuracy_range.high - alone.balanced_accuracy_range.low;
    double wide = grouped.balanced_accuracy_range.high - grouped.balanced_accuracy_range.low;
    if (!(fabs(have / (2 * half) - 1) < .12 && fabs(wide / (4 * half) - 1) < .12))
        fail_msg("widths %g and %g, expected near %g and %g", have, wide, 2 * half, 4 * half);
    close_to(grouped.auc_range.low, again.auc_range.low);
    close_to(grouped.auc, .8);
    assert_true(grouped.auc_range.low < .8 && grouped.auc_range.high > .8);
    assert_true(grouped.macro_f1_range.low < grouped.macro_f1 &&
                grouped.macro_f1 < grouped.macro_f1_range.high);
    close_to(grouped.brier, .2 * .64 + .8 * .04);
    close_to(grouped.ece, 0); /* .8 claimed, .8 held */
    ms_metrics_release(&alone);
    ms_metrics_release(&grouped);
    ms_metrics_release(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(article_matrix),
        cmocka_unit_test(precision_recall_by_hand),
        cmocka_unit_test(wilson_interval),
        cmocka_unit_test(auc_with_ties),
        cmocka_unit_test(three_classes),
        cmocka_unit_test(refuses_nonsense),
        cmocka_unit_test(bootstrap_respects_groups),
        cmocka_unit_test(probabilities),
        cmocka_unit_test(rate_at_few_false),
        cmocka_unit_test(ranges_have_the_right_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
