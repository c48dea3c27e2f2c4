/* Logistic regression and boosted trees on sparse rows of which the right answer is known. */
#include "train/fit_boosted.h"
#include "train/fit_linear.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 240, FEATURES = 12, MOST = 8 };
static uint32_t ids[ROWS][FEATURES], labels[ROWS];
static float values[ROWS][FEATURES];
static struct ms_net_sparse rows[ROWS];

/* Feature c is there exactly in rows of class c; the others say nothing. */
static void make_rows(uint32_t classes)
{
    struct ms_rng rng;
    ms_rng_init(&rng, 3, 4, 5);
    for (uint32_t i = 0; i < ROWS; i++) {
        labels[i] = i % classes;
        uint32_t n = 0;
        for (uint32_t f = 0; f < FEATURES; f++)
            if (f < classes ? f == labels[i] : ms_rng_unit(&rng) < .4) {
                values[i][n] = 1;
                ids[i][n++] = f;
            }
        rows[i] = (struct ms_net_sparse){ids[i], values[i], n};
    }
}

/* All rows right, and probabilities that are some. */
static void check_scores(const double *scores, uint32_t classes)
{
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0;
        for (uint32_t c = 0; c < classes; c++) {
            sum += scores[i * classes + c];
            assert_true(scores[i * classes + c] >= 0);
            if (c != labels[i])
                assert_true(scores[i * classes + labels[i]] > scores[i * classes + c]);
        }
        assert_true(fabs(sum - 1) < 1e-9);
    }
}

static void linear_tells_what_is_separable(void **state)
{
    (void)state;
    static double scores[ROWS * MOST];
    for (uint32_t classes = 2; classes <= 5; classes += 3) {
        struct ms_linear linear, again;
        make_rows(classes);
        assert_int_equal(
            ms_fit_linear(rows, labels, ROWS, classes, FEATURES, 1, NULL, &linear, NULL), MS_OK);
        assert_int_equal(linear.outputs, classes == 2 ? 1 : classes);
        ms_linear_scores(&linear, rows, ROWS, scores);
        check_scores(scores, classes);
        assert_int_equal(
            ms_fit_linear(rows, labels, ROWS, classes, FEATURES, 1, NULL, &again, NULL), MS_OK);
        assert_memory_equal(linear.kernel, again.kernel, sizeof(float) * FEATURES * linear.outputs);
        ms_linear_release(&again);
        /* a smaller cost pulls the weights towards zero */
        assert_int_equal(
            ms_fit_linear(rows, labels, ROWS, classes, FEATURES, .01, NULL, &again, NULL), MS_OK);
        assert_true(fabsf(again.kernel[0]) < fabsf(linear.kernel[0]) / 2);
        ms_linear_release(&again);
        ms_linear_release(&linear);
    }
}

/* The optimum of f(w, b) = (w^2 + b^2)/2 + C sum ln(1 + exp(-y z)) for one feature: its gradient
 * must vanish there. */
static void linear_is_at_its_optimum(void **state)
{
    (void)state;
    static const uint32_t one = 0;
    static const float value = 1;
    struct ms_net_sparse some[8];
    uint32_t truth[8];
    for (uint32_t i = 0; i < 8; i++) {
        some[i] = (struct ms_net_sparse){&one, &value, i % 2};
        truth[i] = i < 6 ? (i % 2 ? 0 : 1) : (i % 2 ? 1 : 0);
    }
    struct ms_linear linear;
    double scores[16];
    assert_int_equal(ms_fit_linear(some, truth, 8, 2, 1, 3, NULL, &linear, NULL), MS_OK);
    ms_linear_scores(&linear, some, 8, scores);
    double dw = linear.kernel[0], db = linear.bias[0];
    for (size_t i = 0; i < 8; i++) {
        double error = scores[2 * i] - (truth[i] == 0);
        dw += 3 * error * some[i].count;
        db += 3 * error;
    }
    assert_true(fabs(dw) < .02 && fabs(db) < .02);
    ms_linear_release(&linear);
    /* a class that counts more is said more often */
    const double heavy[2] = {50, 1};
    struct ms_linear weighted;
    double other[16];
    assert_int_equal(ms_fit_linear(some, truth, 8, 2, 1, 3, heavy, &weighted, NULL), MS_OK);
    ms_linear_scores(&weighted, some, 8, other);
    for (size_t i = 0; i < 8; i++)
        assert_true(other[2 * i] > scores[2 * i]);
    ms_linear_release(&weighted);
}

static void linear_refuses(void **state)
{
    (void)state;
    struct ms_linear linear;
    struct ms_error err;
    make_rows(2);
    uint32_t same[ROWS] = {0};
    assert_int_equal(ms_fit_linear(rows, same, ROWS, 2, FEATURES, 1, NULL, &linear, &err),
                     MS_E_INPUT);
    assert_non_null(strstr(err.text, "two classes"));
    assert_int_equal(ms_fit_linear(rows, labels, ROWS, 2, FEATURES, -1, NULL, &linear, &err),
                     MS_E_INPUT);
    assert_int_equal(ms_fit_linear(rows, labels, ROWS, 2, 0, 1, NULL, &linear, &err), MS_E_INPUT);
    assert_int_equal(ms_linear_make(MS_LIMIT_NET_VOCABULARY, MS_LIMIT_NET_CLASSES, &linear, &err),
                     MS_E_INPUT);
}

/* Two trees by hand: what absent and present features lead to, and the sums as probabilities. */
static void trees_are_walked(void **state)
{
    (void)state;
    struct ms_trees t;
    assert_int_equal(ms_trees_make(4, 1, 2, 4, &t, NULL), MS_OK);
    const int32_t start[3] = {0, 3, 4}, feature[4] = {2, -1, -1, -1}, right[4] = {2, 0, 0, 0};
    const float value[4] = {.5f, -1, 2, .25f};
    memcpy(t.start, start, sizeof start);
    memcpy(t.feature, feature, sizeof feature);
    memcpy(t.right, right, sizeof right);
    memcpy(t.value, value, sizeof value);
    t.absent[0] = 1;
    assert_int_equal(ms_trees_check(&t, NULL), MS_OK);
    static const uint32_t there[2] = {2, 4000000000u};
    static const float with[2] = {1, 1};
    const struct ms_net_sparse two[3] = {{NULL, NULL, 0}, {there, with, 2}, {NULL, NULL, 0}};
    double scores[6];
    assert_int_equal(ms_trees_scores(&t, two, 3, scores, NULL), MS_OK);
    assert_true(fabs(scores[0] - 1 / (1 + exp(.75))) < 1e-12);
    assert_true(fabs(scores[2] - 1 / (1 + exp(-2.25))) < 1e-12);
    assert_true(scores[4] == scores[0]); /* nothing of one row is left for the next */
    struct ms_error err;
    t.right[0] = 1;
    assert_int_equal(ms_trees_check(&t, &err), MS_E_INPUT);
    t.right[0] = 3;
    assert_int_equal(ms_trees_check(&t, &err), MS_E_INPUT);
    t.right[0] = 2;
    t.feature[0] = 4;
    assert_int_equal(ms_trees_check(&t, &err), MS_E_INPUT);
    t.feature[0] = 2;
    t.value[3] = NAN;
    assert_int_equal(ms_trees_check(&t, &err), MS_E_INPUT);
    t.value[3] = 0;
    t.start[1] = 4;
    assert_int_equal(ms_trees_check(&t, &err), MS_E_INPUT);
    t.start[1] = 3;
    t.output[1] = 1;
    assert_int_equal(ms_trees_check(&t, &err), MS_E_INPUT);
    ms_trees_release(&t);
    assert_int_equal(ms_trees_make(4, 1, 3, 2, &t, &err), MS_E_INPUT);
    assert_int_equal(ms_trees_make(4, 1, 3, UINT32_MAX, &t, &err), MS_E_INPUT);
}

static void same_trees(const struct ms_trees *a, const struct ms_trees *b)
{
    assert_int_equal(a->node_count, b->node_count);
    assert_memory_equal(a->feature, b->feature, a->node_count * sizeof *a->feature);
    assert_memory_equal(a->right, b->right, a->node_count * sizeof *a->right);
    assert_memory_equal(a->value, b->value, a->node_count * sizeof *a->value);
}

static void boosted_learns_alike_again(void **state)
{
    (void)state;
    static double scores[ROWS * MOST];
    struct ms_boost_options options;
    ms_boost_defaults(&options);
    options.rounds = 20;
    options.seed = 7;
    if (!ms_boost_is_built()) {
        struct ms_trees none;
        assert_int_equal(
            ms_fit_boosted(rows, labels, ROWS, 2, FEATURES, NULL, &options, &none, NULL),
            MS_E_INPUT);
        return;
    }
    for (uint32_t classes = 2; classes <= 5; classes += 3) {
        struct ms_trees one, two, other;
        struct ms_error err;
        make_rows(classes);
        options.seed = 7;
        if (ms_fit_boosted(rows, labels, ROWS, classes, FEATURES, NULL, &options, &one, &err) !=
            MS_OK)
            fail_msg("%s", err.text);
        assert_int_equal(
            ms_fit_boosted(rows, labels, ROWS, classes, FEATURES, NULL, &options, &two, &err),
            MS_OK);
        options.seed = 0x7ffffff1;
        assert_int_equal(
            ms_fit_boosted(rows, labels, ROWS, classes, FEATURES, NULL, &options, &other, &err),
            MS_OK);
        assert_int_equal(one.tree_count, classes == 2 ? 20 : 100);
        same_trees(&one, &two);
        assert_true(other.node_count != one.node_count ||
                    memcmp(other.value, one.value, one.node_count * sizeof *one.value) != 0);
        assert_int_equal(ms_trees_scores(&one, rows, ROWS, scores, NULL), MS_OK);
        check_scores(scores, classes);
        ms_trees_release(&one);
        ms_trees_release(&two);
        ms_trees_release(&other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_tells_what_is_separable),
        cmocka_unit_test(linear_is_at_its_optimum),
        cmocka_unit_test(linear_refuses),
        cmocka_unit_test(trees_are_walked),
        cmocka_unit_test(boosted_learns_alike_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
