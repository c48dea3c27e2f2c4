/* Every gradient of the net against central differences in double: all layers, heads and options,
 * random parameters, ragged sequences, dropout with fixed masks. */
#include "base/rng.h"
#include "train/nn/net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* error = |analytic - numeric| / max(|analytic|, |numeric|, FLOOR); it must stay under BOUND for
 * every element. */
#define FLOOR 1e-4
#define BOUND 1e-7

enum { V = 7, LONGEST = 6, ROWS_MAX = 19, WIDE_MAX = 12 };

struct example {
    const char *name;
    size_t rows;
    bool dropout;
    struct ms_net_config config;
};

#define TANH MS_NET_TANH
#define SOFTSIGN MS_NET_SOFTSIGN
#define BASE                                                                                     \
    .vocabulary = V, .embedding = 3, .embedding_scale = .05, .mask_padding = true, .outputs = 3, \
    .head = MS_NET_HEAD_SOFTMAX

static const struct example examples[] = {
    {"tanh, masked",
     6,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{3, TANH, 0, 0, false, MS_NET_LSTM}}}},
    {"softsign, masked",
     6,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{3, SOFTSIGN, 0, 0, false, MS_NET_LSTM}}}},
    {"tanh, not masked",
     5,
     false,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .pad_length = LONGEST,
      .outputs = 3,
      .head = MS_NET_HEAD_SOFTMAX,
      .recurrent_count = 1,
      .recurrent = {{3, TANH, 0, 0, false, MS_NET_LSTM}}}},
    {"the article in small",
     5,
     true,
     {.vocabulary = V,
      .embedding = 4,
      .embedding_scale = .05,
      .spatial_dropout = .1,
      .pad_length = LONGEST,
      .recurrent_count = 3,
      .recurrent = {{3, SOFTSIGN, .1, .1, false, MS_NET_LSTM},
                    {3, SOFTSIGN, .1, 0, false, MS_NET_LSTM},
                    {3, SOFTSIGN, .1, 0, false, MS_NET_LSTM}},
      .dense_count = 3,
      .dense = {{4, SOFTSIGN, .1}, {5, SOFTSIGN, .1}, {4, SOFTSIGN, .1}},
      .outputs = 1,
      .head = MS_NET_HEAD_MSE}},
    {"both directions, last",
     6,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{3, TANH, 0, 0, true, MS_NET_LSTM}}}},
    {"both directions, two layers, all pooled",
     6,
     false,
     {BASE, .recurrent_count = 2,
      .recurrent = {{2, TANH, 0, 0, true, MS_NET_LSTM}, {3, SOFTSIGN, 0, 0, true, MS_NET_LSTM}},
      .pooling = MS_NET_POOL_MEAN_MAX_LAST}},
    {"mean",
     6,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{3, TANH, 0, 0, false, MS_NET_LSTM}},
      .pooling = MS_NET_POOL_MEAN}},
    {"largest",
     6,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{3, TANH, 0, 0, true, MS_NET_LSTM}},
      .pooling = MS_NET_POOL_MAX}},
    {"spatial dropout",
     6,
     true,
     {BASE, .spatial_dropout = .4, .recurrent_count = 1,
      .recurrent = {{3, TANH, 0, 0, false, MS_NET_LSTM}}}},
    {"input dropout",
     6,
     true,
     {BASE, .recurrent_count = 2,
      .recurrent = {{3, TANH, .4, 0, true, MS_NET_LSTM}, {3, TANH, .4, 0, true, MS_NET_LSTM}}}},
    {"recurrent dropout",
     6,
     true,
     {BASE, .recurrent_count = 2,
      .recurrent = {{3, TANH, 0, .4, true, MS_NET_LSTM},
                    {3, SOFTSIGN, 0, .4, false, MS_NET_LSTM}}}},
    {"every dropout",
     19,
     true,
     {BASE, .spatial_dropout = .2, .recurrent_count = 2,
      .recurrent = {{3, TANH, .2, .2, true, MS_NET_LSTM}, {2, SOFTSIGN, .2, .2, true, MS_NET_LSTM}},
      .pooling = MS_NET_POOL_MEAN_MAX_LAST, .pool_dropout = .3, .dense_count = 1,
      .dense = {{4, MS_NET_TANH, .3}}}},
    {"dense: linear, relu, tanh, softsign",
     6,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{2, TANH, 0, 0, false, MS_NET_LSTM}},
      .dense_count = 4,
      .dense =
          {{5, MS_NET_LINEAR, 0}, {6, MS_NET_RELU, 0}, {4, MS_NET_TANH, 0}, {4, SOFTSIGN, 0}}}},
    {"without recurrence",
     6,
     true,
     {BASE, .spatial_dropout = .2, .pooling = MS_NET_POOL_MEAN_MAX_LAST, .dense_count = 1,
      .dense = {{4, MS_NET_TANH, .2}}}},
    {"without recurrence, not masked",
     4,
     false,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .pad_length = LONGEST + 2,
      .pooling = MS_NET_POOL_MEAN,
      .outputs = 1,
      .head = MS_NET_HEAD_SIGMOID}},
    {"mse, class weights",
     6,
     false,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .mask_padding = true,
      .recurrent_count = 1,
      .recurrent = {{3, TANH, 0, 0, false, MS_NET_LSTM}},
      .outputs = 1,
      .head = MS_NET_HEAD_MSE,
      .class_weight = {.5, 3}}},
    {"sigmoid, smoothing, class weights",
     6,
     false,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .mask_padding = true,
      .recurrent_count = 1,
      .recurrent = {{3, TANH, 0, 0, false, MS_NET_LSTM}},
      .outputs = 1,
      .head = MS_NET_HEAD_SIGMOID,
      .label_smoothing = .1,
      .class_weight = {2, .7}}},
    {"softmax, smoothing, class weights, several shards",
     19,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{3, TANH, 0, 0, true, MS_NET_LSTM}},
      .label_smoothing = .1, .class_weight = {1, 2, .4}}},
    {"features",
     6,
     false,
     {BASE, .feature_count = 2, .feature = {{3, .1}, {4, .1}}, .recurrent_count = 1,
      .recurrent = {{3, TANH, 0, 0, false, MS_NET_LSTM}}}},
    {"features, not masked, dropout",
     5,
     true,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .feature_count = 1,
      .feature = {{5, .1}},
      .spatial_dropout = .2,
      .pad_length = LONGEST + 1,
      .recurrent_count = 1,
      .recurrent = {{3, TANH, .2, 0, true, MS_NET_LSTM}},
      .outputs = 1,
      .head = MS_NET_HEAD_MSE}},
    {"features without recurrence, several shards",
     19,
     true,
     {BASE, .feature_count = 3, .feature = {{3, .1}, {1, .1}, {6, .1}}, .spatial_dropout = .3,
      .pooling = MS_NET_POOL_MEAN}},
    {"wide",
     6,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{3, TANH, 0, 0, false, MS_NET_LSTM}},
      .wide = {9, 4, TANH, 0, 0}}},
    {"wide: linear, into dense",
     6,
     false,
     {BASE, .pooling = MS_NET_POOL_MEAN, .wide = {12, 3, MS_NET_LINEAR, 0, 0}, .dense_count = 1,
      .dense = {{4, TANH, 0}}}},
    {"wide: relu, every dropout, several shards",
     19,
     true,
     {BASE, .pooling = MS_NET_POOL_MEAN_MAX_LAST, .pool_dropout = .2,
      .wide = {12, 5, MS_NET_RELU, .3, .3}, .dense_count = 1, .dense = {{4, SOFTSIGN, .2}}}},
    {"wide: softsign, sigmoid head, smoothing",
     6,
     true,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .mask_padding = true,
      .pooling = MS_NET_POOL_MEAN,
      .wide = {7, 3, SOFTSIGN, .3, .1},
      .outputs = 1,
      .head = MS_NET_HEAD_SIGMOID,
      .label_smoothing = .1,
      .class_weight = {2, .7}}},
    {"gru: tanh",
     6,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{3, TANH, 0, 0, false, MS_NET_GRU}}}},
    {"gru: softsign, not masked",
     5,
     false,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .pad_length = LONGEST + 1,
      .recurrent_count = 1,
      .recurrent = {{4, SOFTSIGN, 0, 0, false, MS_NET_GRU}},
      .outputs = 1,
      .head = MS_NET_HEAD_MSE,
      .class_weight = {.5, 3}}},
    {"gru: both directions, two layers, all pooled",
     6,
     false,
     {BASE, .recurrent_count = 2,
      .recurrent = {{2, TANH, 0, 0, true, MS_NET_GRU}, {3, SOFTSIGN, 0, 0, true, MS_NET_GRU}},
      .pooling = MS_NET_POOL_MEAN_MAX_LAST}},
    {"gru: recurrent dropout",
     6,
     true,
     {BASE, .recurrent_count = 2,
      .recurrent = {{3, TANH, 0, .4, true, MS_NET_GRU}, {3, SOFTSIGN, 0, .4, false, MS_NET_GRU}}}},
    {"gru and lstm, every dropout, several shards",
     19,
     true,
     {BASE, .spatial_dropout = .2, .recurrent_count = 3,
      .recurrent = {{3, TANH, .2, .2, true, MS_NET_GRU},
                    {2, SOFTSIGN, .2, .2, true, MS_NET_LSTM},
                    {3, TANH, .2, .2, false, MS_NET_GRU}},
      .pooling = MS_NET_POOL_MEAN, .pool_dropout = .3}},
    {"attention",
     6,
     false,
     {BASE, .recurrent_count = 1, .recurrent = {{3, TANH, 0, 0, true, MS_NET_LSTM}},
      .pooling = MS_NET_POOL_ATTENTION, .attention = 4}},
    {"attention without recurrence, not masked",
     5,
     true,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .spatial_dropout = .2,
      .pad_length = LONGEST + 1,
      .pooling = MS_NET_POOL_ATTENTION,
      .attention = 2,
      .pool_dropout = .2,
      .outputs = 1,
      .head = MS_NET_HEAD_SIGMOID,
      .label_smoothing = .1}},
    {"everything, softmax",
     19,
     true,
     {BASE, .feature_count = 2, .feature = {{3, .1}, {4, .1}}, .spatial_dropout = .2,
      .recurrent_count = 2,
      .recurrent = {{3, TANH, .2, .2, true, MS_NET_GRU}, {2, SOFTSIGN, .2, .2, true, MS_NET_GRU}},
      .pooling = MS_NET_POOL_ATTENTION, .attention = 3, .pool_dropout = .2,
      .wide = {12, 3, TANH, .3, .2}, .dense_count = 1, .dense = {{4, SOFTSIGN, .2}},
      .label_smoothing = .1, .class_weight = {1, 2, .4}}},
    {"everything, sigmoid",
     19,
     true,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .feature_count = 1,
      .feature = {{5, .1}},
      .spatial_dropout = .1,
      .recurrent_count = 1,
      .recurrent = {{4, TANH, .1, .1, true, MS_NET_GRU}},
      .mask_padding = true,
      .pooling = MS_NET_POOL_ATTENTION,
      .attention = 3,
      .pool_dropout = .2,
      .wide = {12, 4, MS_NET_RELU, .2, .2},
      .outputs = 1,
      .head = MS_NET_HEAD_SIGMOID,
      .label_smoothing = .2,
      .class_weight = {2, .7}}},
    {"everything, mse, not masked",
     11,
     true,
     {.vocabulary = V,
      .embedding = 3,
      .embedding_scale = .05,
      .feature_count = 2,
      .feature = {{3, .1}, {2, .1}},
      .spatial_dropout = .1,
      .recurrent_count = 1,
      .recurrent = {{3, SOFTSIGN, .1, .1, true, MS_NET_GRU}},
      .pad_length = LONGEST,
      .pooling = MS_NET_POOL_ATTENTION,
      .attention = 3,
      .wide = {9, 3, SOFTSIGN, .2, .2},
      .outputs = 1,
      .head = MS_NET_HEAD_MSE,
      .class_weight = {.5, 3}}},
};

struct data {
    int32_t token[ROWS_MAX][LONGEST];
    const int32_t *rows[ROWS_MAX];
    uint32_t lengths[ROWS_MAX];
    int32_t labels[ROWS_MAX];
    int32_t id[ROWS_MAX][LONGEST * MS_LIMIT_NET_FEATURES];
    const int32_t *features[ROWS_MAX];
    uint32_t wide_id[ROWS_MAX][WIDE_MAX];
    float wide_value[ROWS_MAX][WIDE_MAX];
    struct ms_net_sparse wide[ROWS_MAX];
    struct ms_net_batch batch;
};

/* Some steps without an id; sparse vectors from empty to full. */
static void make_inputs(struct data *d, const struct example *e, struct ms_rng *rng)
{
    const uint32_t F = e->config.feature_count;
    for (size_t r = 0; r < e->rows; r++) {
        d->features[r] = d->id[r];
        for (uint32_t i = 0; i < LONGEST * F; i++)
            d->id[r][i] = (int32_t)ms_rng_below(rng, e->config.feature[i % F].size + 1) - 1;
        d->wide[r] = (struct ms_net_sparse){d->wide_id[r], d->wide_value[r], 0};
        for (uint32_t id = 0; id < e->config.wide.size; id++)
            if (ms_rng_below(rng, e->rows) > r) {
                d->wide_id[r][d->wide[r].count] = id;
                d->wide_value[r][d->wide[r].count++] = (float)ms_rng_normal(rng);
            }
    }
    d->batch.features = F > 0 ? d->features : NULL;
    d->batch.wide = e->config.wide.size > 0 ? d->wide : NULL;
}

/* Lengths from 0 to LONGEST, the first longest; zeros (padding) occur inside. */
static void make_data(struct data *d, const struct example *e, struct ms_rng *rng)
{
    for (size_t r = 0; r < e->rows; r++) {
        d->rows[r] = d->token[r];
        d->lengths[r] = r == 0 ? LONGEST : (uint32_t)ms_rng_below(rng, LONGEST + 1);
        for (uint32_t i = 0; i < LONGEST; i++)
            d->token[r][i] = (int32_t)ms_rng_below(rng, V);
        d->labels[r] = (int32_t)(r % ms_net_config_classes(&e->config));
    }
    d->lengths[e->rows - 1] = 0;
    d->batch = (struct ms_net_batch){
        .rows = e->rows, .tokens = d->rows, .lengths = d->lengths, .labels = d->labels};
    make_inputs(d, e, rng);
}

static double loss_at(struct ms_net *net, const struct example *e, const struct data *d)
{
    struct ms_net_result result;
    struct ms_error err;
    assert_int_equal(ms_net_loss_grad(net, &d->batch, e->dropout, 5, &result, &err), MS_OK);
    return result.loss;
}

/* Fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h */
static double slope_at(struct ms_net *net, const struct example *e, const struct data *d, size_t i,
                       double h)
{
    ms_real *w = ms_net_params(net) + i;
    const double old = *w;
    double f[4];
    const double at[4] = {h, -h, 2 * h, -2 * h};
    for (int k = 0; k < 4; k++) {
        *w = old + at[k];
        f[k] = loss_at(net, e, d);
    }
    *w = old;
    return (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h);
}

static double error_of(double a, double b)
{
    double scale = fmax(fmax(fabs(a), fabs(b)), FLOOR);
    return fabs(a - b) / scale;
}

/* relu, softsign and the largest of several have kinks: where a difference steps over one it is
 * wrong, not the gradient. A much smaller step then misses the kink; a wrong gradient fails with
 * both. */
static double check_element(struct ms_net *net, const struct example *e, const struct data *d,
                            size_t i, double analytic)
{
    double error = error_of(analytic, slope_at(net, e, d, i, 1e-4));
    if (error > BOUND) {
        double again = error_of(analytic, slope_at(net, e, d, i, 3e-6));
        error = again < error ? again : error;
    }
    return error;
}

static double check_example(const struct example *e, size_t *checked)
{
    struct data d;
    struct ms_error err;
    struct ms_net *net = NULL;
    struct ms_rng rng;
    ms_rng_init(&rng, 11, e->rows, 0);
    make_data(&d, e, &rng);
    if (ms_net_new(&e->config, 3, 1, &net, &err) != MS_OK)
        fail_msg("%s: %s", e->name, err.text);
    const size_t n = ms_net_param_count(net);
    double *grads = malloc(n * sizeof *grads);
    assert_non_null(grads);
    for (size_t i = 0; i < n; i++)
        ms_net_params(net)[i] = .6 * ms_rng_normal(&rng);
    (void)loss_at(net, e, &d);
    size_t alive = 0;
    for (size_t i = 0; i < n; i++) {
        grads[i] = ms_net_grads(net)[i];
        alive += fabs(grads[i]) > FLOOR;
    }
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double error = check_element(net, e, &d, i, grads[i]);
        worst = error > worst ? error : worst;
    }
    printf("%-52s %5zu elements, %5zu over the floor, largest error %.1e\n", e->name, n, alive,
           worst);
    assert_true(alive > n / 3);
    assert_true(worst < BOUND);
    *checked += n;
    free(grads);
    ms_net_free(net);
    return worst;
}

static void test_every_gradient(void **state)
{
    (void)state;
    double worst = 0;
    size_t checked = 0;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++)
        worst = fmax(worst, check_example(&examples[i], &checked));
    printf("%zu elements, largest error %.1e\n", checked, worst);
}

/* The check itself must be able to fail: a gradient of another dropout mask is not this loss's
 * gradient. */
static void test_check_can_fail(void **state)
{
    (void)state;
    const struct example *e = &examples[8];
    struct data d;
    struct ms_error err;
    struct ms_net *net = NULL;
    struct ms_net_result result;
    struct ms_rng rng;
    ms_rng_init(&rng, 11, e->rows, 0);
    make_data(&d, e, &rng);
    assert_int_equal(ms_net_new(&e->config, 3, 1, &net, &err), MS_OK);
    assert_int_equal(ms_net_loss_grad(net, &d.batch, true, 6, &result, &err), MS_OK);
    double worst = 0;
    const size_t n = ms_net_param_count(net);
    double *grads = malloc(n * sizeof *grads);
    assert_non_null(grads);
    for (size_t i = 0; i < n; i++)
        grads[i] = ms_net_grads(net)[i];
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, check_element(net, e, &d, i, grads[i]));
    assert_true(worst > 1e-2);
    free(grads);
    ms_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_gradient),
        cmocka_unit_test(test_check_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
