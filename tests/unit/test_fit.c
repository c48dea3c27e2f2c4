/* The training loop: orders of rows, learning, sameness for every number of jobs, and what is
 * refused. */
#include "train/fit.h"

#include "train/fit_members.h"
#include "train/plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 100, LONGEST = 12 };
static int32_t ids[ROWS][LONGEST], labels[ROWS];
static struct ms_input_row made[ROWS];
static const struct ms_input_row *rows_of[ROWS];

/* Rows of 1 to 12 tokens; those that hold token 3 are positive. */
static struct ms_fit_rows make_rows(void)
{
    for (size_t i = 0; i < ROWS; i++) {
        made[i] = (struct ms_input_row){.tokens = ids[i], .n = 1 + i * 7 % LONGEST};
        rows_of[i] = &made[i];
        labels[i] = i % 2;
        for (size_t k = 0; k < made[i].n; k++)
            ids[i][k] = (int32_t)(4 + (i * 5 + k) % 4);
        if (labels[i])
            ids[i][i % made[i].n] = 3;
    }
    return (struct ms_fit_rows){rows_of, labels, ROWS};
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
        spread += made[order[b]].n - made[order[b + 7]].n;
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
    plan.inputs = (struct ms_input_options){0};
    const struct ms_plan_shape shape = {.vocabulary = 8};
    assert_int_equal(ms_plan_config(&plan, 2, true, &shape, &plan.fit.config, NULL), MS_OK);
    return plan.fit;
}

static void learns_alike_with_any_jobs(void **state)
{
    (void)state;
    struct ms_fit_rows rows = make_rows(), none = {rows_of, labels, 0};
    struct ms_fit_options one = options_for(1), two = options_for(2);
    struct ms_fit_epoch a[12], b[12];
    struct ms_net *x, *y;
    double loss, accuracy;
    assert_int_equal(ms_fit(&one, &rows, NULL, &rows, a, &x, NULL), MS_OK);
    assert_int_equal(ms_fit(&two, &rows, NULL, &none, b, &y, NULL), MS_OK);
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
    assert_int_equal(ms_fit(&options, &rows, NULL, &rows, curve, &net, &err), MS_E_LIMIT);
    assert_non_null(strstr(err.text, "epoch 1"));
    assert_non_null(strstr(err.text, "diverged"));
    rows.count = 0;
    assert_int_equal(ms_fit(&options, &rows, NULL, &rows, curve, &net, &err), MS_E_INPUT);
}

/* Early stopping keeps the weights of the epoch whose inner loss was lowest; averaging is the mean
 * of the last quarter's. */
static void stops_early_and_averages(void **state)
{
    (void)state;
    struct ms_fit_rows rows = make_rows();
    struct ms_fit_rows train = {rows.rows, rows.labels, 70};
    struct ms_fit_rows inner = {rows.rows + 70, rows.labels + 70, 30};
    struct ms_fit_options options = options_for(1);
    struct ms_fit_epoch curve[40];
    struct ms_net *net;
    double loss, accuracy;
    options.rate = .5; /* wild: the loss goes up again */
    options.cosine = false;
    options.epochs = 40;
    options.patience = 2;
    assert_int_equal(ms_fit(&options, &train, &inner, &inner, curve, &net, NULL), MS_OK);
    uint32_t ran = 0, best = 0;
    while (ran < 40 && !isnan(curve[ran].loss))
        ran++;
    for (uint32_t e = 0; e < ran; e++)
        best = curve[e].test_loss < curve[best].test_loss ? e : best;
    assert_true(ran < 40);
    assert_int_equal(ran, best + 3);
    assert_int_equal(ms_fit_judge(net, &inner, &loss, &accuracy, NULL), MS_OK);
    assert_true(loss == curve[best].test_loss);
    ms_net_free(net);
    struct ms_error err;
    assert_int_equal(ms_fit(&options, &train, NULL, &inner, curve, &net, &err), MS_E_INPUT);

    options = options_for(1);
    options.cosine = false;
    options.epochs = 7; /* a quarter is one epoch */
    struct ms_net *last, *mean;
    assert_int_equal(ms_fit(&options, &train, NULL, &inner, curve, &last, NULL), MS_OK);
    options.average = true;
    assert_int_equal(ms_fit(&options, &train, NULL, &inner, curve, &mean, NULL), MS_OK);
    assert_memory_equal(ms_net_params(last), ms_net_params(mean),
                        ms_net_param_count(last) * sizeof(float));
    ms_net_free(last);
    ms_net_free(mean);
    options.epochs = 8; /* two */
    assert_int_equal(ms_fit(&options, &train, NULL, &inner, curve, &mean, NULL), MS_OK);
    options.average = false;
    struct ms_net *seven, *eight;
    assert_int_equal(ms_fit(&options, &train, NULL, &inner, curve, &eight, NULL), MS_OK);
    options.epochs = 7;
    assert_int_equal(ms_fit(&options, &train, NULL, &inner, curve, &seven, NULL), MS_OK);
    for (size_t i = 0; i < ms_net_param_count(mean); i += 11)
        assert_true(fabs((double)ms_net_params(mean)[i] -
                         ((double)ms_net_params(seven)[i] + (double)ms_net_params(eight)[i]) / 2) <
                    1e-6);
    ms_net_free(mean);
    ms_net_free(seven);
    ms_net_free(eight);
}

/* Nets side by side are the nets one by one, whatever the jobs; their curve is the mean. */
static void members_do_not_depend_on_jobs(void **state)
{
    (void)state;
    struct ms_fit_rows rows = make_rows();
    struct ms_fit_data data = {.train = rows, .test = rows};
    struct ms_fit_options options[3];
    for (int i = 0; i < 3; i++) {
        options[i] = options_for(1);
        options[i].epochs = 3;
        options[i].seed = (uint64_t)i;
    }
    struct ms_net *a[3], *b[3], *alone;
    struct ms_fit_epoch one[3], two[3], curves[9];
    assert_int_equal(ms_fit_members(options, 3, 1, &data, NULL, one, a, NULL), MS_OK);
    assert_int_equal(ms_fit_members(options, 3, 3, &data, NULL, two, b, NULL), MS_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ms_fit(&options[i], &rows, NULL, &rows, curves + 3 * i, &alone, NULL),
                         MS_OK);
        size_t bytes = ms_net_param_count(alone) * sizeof(float);
        assert_memory_equal(ms_net_params(a[i]), ms_net_params(alone), bytes);
        assert_memory_equal(ms_net_params(b[i]), ms_net_params(alone), bytes);
        ms_net_free(alone);
        ms_net_free(a[i]);
        ms_net_free(b[i]);
    }
    double mean = (curves[2].test_loss + curves[5].test_loss + curves[8].test_loss) / 3;
    assert_true(fabs(one[2].test_loss - mean) < 1e-12 && one[2].test_loss == two[2].test_loss);
    options[1].rate = NAN; /* one that fails takes all of them with it */
    struct ms_error err;
    assert_int_equal(ms_fit_members(options, 3, 2, &data, NULL, one, a, &err), MS_E_INPUT);
    assert_null(a[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_a_permutation),
        cmocka_unit_test(learns_alike_with_any_jobs),
        cmocka_unit_test(stops_early_and_averages),
        cmocka_unit_test(members_do_not_depend_on_jobs),
        cmocka_unit_test(a_loss_that_explodes_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
