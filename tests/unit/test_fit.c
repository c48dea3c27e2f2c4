/* The training loop: orders of rows, learning, sameness for every number of jobs, and what is
 * refused. */
#include "train/fit.h"

#include "train/plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 100, LONGEST = 12 };
static int32_t ids[ROWS][LONGEST], labels[ROWS];
static struct ms_tokens tokens[ROWS];

/* Rows of 1 to 12 tokens; those that hold token 3 are positive. */
static struct ms_fit_rows make_rows(void)
{
    for (size_t i = 0; i < ROWS; i++) {
        tokens[i] = (struct ms_tokens){ids[i], 1 + i * 7 % LONGEST, LONGEST};
        labels[i] = i % 2;
        for (size_t k = 0; k < tokens[i].n; k++)
            ids[i][k] = (int32_t)(4 + (i * 5 + k) % 4);
        if (labels[i])
            ids[i][i % tokens[i].n] = 3;
    }
    return (struct ms_fit_rows){tokens, labels, ROWS};
}

static void order_is_a_permutation(void **state)
{
    (void)state;
    struct ms_fit_rows rows = make_rows();
    uint32_t order[ROWS], again[ROWS], other[ROWS];
    for (int by_length = 0; by_length < 2; by_length++) {
        bool seen[ROWS] = {false};
        assert_int_equal(ms_fit_order(&rows, 8, by_length, 1, 0, order, NULL), MS_OK);
        assert_int_equal(ms_fit_order(&rows, 8, by_length, 1, 0, again, NULL), MS_OK);
        assert_int_equal(ms_fit_order(&rows, 8, by_length, 1, 1, other, NULL), MS_OK);
        assert_memory_equal(order, again, sizeof order);
        assert_memory_not_equal(order, other, sizeof order);
        for (size_t i = 0; i < ROWS; i++) {
            assert_false(seen[order[i]]);
            seen[order[i]] = true;
        }
    }
    /* 100 rows are less than a pool: each batch holds neighbours of the sorted lengths */
    size_t spread = 0;
    for (size_t b = 0; b + 8 <= ROWS; b += 8)
        spread += tokens[order[b]].n - tokens[order[b + 7]].n;
    assert_true(spread <= LONGEST);
}

static struct ms_fit_options options_for(unsigned jobs)
{
    struct ms_plan plan;
    ms_plan_default(&plan);
    plan.fit.config.embedding = 8;
    plan.fit.config.recurrent[0].hidden = 8;
    plan.fit.epochs = 12;
    plan.fit.batch = 8;
    plan.fit.rate = .02;
    plan.fit.seed = 5;
    plan.fit.jobs = jobs;
    plan.fit.title = "test";
    assert_int_equal(ms_plan_config(&plan, 2, true, 8, &plan.fit.config, NULL), MS_OK);
    return plan.fit;
}

static void learns_alike_with_any_jobs(void **state)
{
    (void)state;
    struct ms_fit_rows rows = make_rows(), none = {tokens, labels, 0};
    struct ms_fit_options one = options_for(1), two = options_for(2);
    struct ms_fit_epoch a[12], b[12];
    struct ms_net *x, *y;
    double loss, accuracy;
    assert_int_equal(ms_fit(&one, &rows, &rows, a, &x, NULL), MS_OK);
    assert_int_equal(ms_fit(&two, &rows, &none, b, &y, NULL), MS_OK);
    assert_memory_equal(ms_net_params(x), ms_net_params(y), ms_net_param_count(x) * sizeof(float));
    assert_true(a[0].loss == b[0].loss);
    assert_true(isnan(b[0].test_loss) && !isnan(a[0].test_loss));
    assert_true(a[11].test_accuracy > .95);
    assert_int_equal(ms_fit_judge(x, &rows, &loss, &accuracy, NULL), MS_OK);
    assert_true(loss == a[11].test_loss && accuracy == a[11].test_accuracy);
    /* warm-up reaches the full rate at the end of the first epoch, the cosine ends at 2 % */
    assert_true(fabs(a[0].rate - .02) < 1e-12);
    assert_true(a[11].rate < .02 * .03);
    ms_net_free(x);
    ms_net_free(y);
}

static void a_loss_that_explodes_is_told(void **state)
{
    (void)state;
    struct ms_fit_rows rows = make_rows();
    struct ms_fit_options options = options_for(1);
    struct ms_fit_epoch curve[12];
    struct ms_net *net = NULL;
    struct ms_error err = {0};
    options.config.head = MS_NET_HEAD_MSE; /* unbounded: the error grows with the weights */
    options.config.label_smoothing = 0;
    options.optimizer.clip_norm = 0;
    options.optimizer.weight_decay = 1; /* each step multiplies the weights by -10^6 */
    options.rate = 1e6;
    options.cosine = false;
    assert_int_equal(ms_fit(&options, &rows, &rows, curve, &net, &err), MS_E_LIMIT);
    assert_non_null(strstr(err.text, "epoch 1"));
    assert_non_null(strstr(err.text, "diverged"));
    rows.count = 0;
    assert_int_equal(ms_fit(&options, &rows, &rows, curve, &net, &err), MS_E_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_a_permutation),
        cmocka_unit_test(learns_alike_with_any_jobs),
        cmocka_unit_test(a_loss_that_explodes_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
