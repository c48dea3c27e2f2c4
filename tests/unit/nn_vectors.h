/* Reads tests/ref/nn_vectors.bin and holds the shapes of its cases (made by
 * tests/ref/make_nn_vectors.py). For test64_nn_reference.c in double and test_nn.c in float;
 * include after cmocka.h. */
#ifndef MS_TESTS_UNIT_NN_VECTORS_H
#define MS_TESTS_UNIT_NN_VECTORS_H

#include "base/span.h"
#include "train/nn/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VECTOR_FILE_MAX = 1 << 19,
    VECTOR_ROWS_MAX = 8,
    VECTOR_STEPS_MAX = 16,
    VECTOR_CASES = 9,
    VECTOR_RATES = 10,
    VECTOR_WIDE_MAX = 16
};

struct vector_case {
    const char *name;
    struct ms_net_config config;
};

static const struct vector_case vector_cases[VECTOR_CASES] = {
    {"article",
     {.vocabulary = 12,
      .embedding = 6,
      .embedding_scale = .05,
      .pad_length = 7,
      .recurrent_count = 3,
      .recurrent = {{4, MS_NET_SOFTSIGN, 0, 0, false, MS_NET_LSTM},
                    {4, MS_NET_SOFTSIGN, 0, 0, false, MS_NET_LSTM},
                    {4, MS_NET_SOFTSIGN, 0, 0, false, MS_NET_LSTM}},
      .dense_count = 3,
      .dense = {{5, MS_NET_SOFTSIGN, 0}, {6, MS_NET_SOFTSIGN, 0}, {5, MS_NET_SOFTSIGN, 0}},
      .outputs = 1,
      .head = MS_NET_HEAD_MSE}},
    {"bilstm",
     {.vocabulary = 9,
      .embedding = 5,
      .embedding_scale = .05,
      .mask_padding = true,
      .recurrent_count = 1,
      .recurrent = {{4, MS_NET_TANH, 0, 0, true, MS_NET_LSTM}},
      .pooling = MS_NET_POOL_MEAN_MAX_LAST,
      .dense_count = 1,
      .dense = {{6, MS_NET_RELU, 0}},
      .outputs = 3,
      .head = MS_NET_HEAD_SOFTMAX,
      .label_smoothing = .1,
      .class_weight = {1, 2, .5}}},
    {"stack",
     {.vocabulary = 8,
      .embedding = 4,
      .embedding_scale = .05,
      .mask_padding = true,
      .recurrent_count = 2,
      .recurrent = {{3, MS_NET_TANH, 0, 0, false, MS_NET_LSTM},
                    {2, MS_NET_TANH, 0, 0, true, MS_NET_LSTM}},
      .pooling = MS_NET_POOL_MAX,
      .dense_count = 1,
      .dense = {{3, MS_NET_TANH, 0}},
      .outputs = 1,
      .head = MS_NET_HEAD_SIGMOID,
      .label_smoothing = .2}},
    {"plain",
     {.vocabulary = 10,
      .embedding = 4,
      .embedding_scale = .05,
      .mask_padding = true,
      .pooling = MS_NET_POOL_MEAN,
      .dense_count = 1,
      .dense = {{5, MS_NET_TANH, 0}},
      .outputs = 4,
      .head = MS_NET_HEAD_SOFTMAX}},
    {"gru",
     {.vocabulary = 9,
      .embedding = 4,
      .embedding_scale = .05,
      .mask_padding = true,
      .recurrent_count = 2,
      .recurrent = {{3, MS_NET_TANH, 0, 0, false, MS_NET_GRU},
                    {3, MS_NET_TANH, 0, 0, true, MS_NET_GRU}},
      .pooling = MS_NET_POOL_MEAN,
      .outputs = 3,
      .head = MS_NET_HEAD_SOFTMAX}},
    {"softgru",
     {.vocabulary = 8,
      .embedding = 4,
      .embedding_scale = .05,
      .pad_length = 6,
      .recurrent_count = 1,
      .recurrent = {{4, MS_NET_SOFTSIGN, 0, 0, false, MS_NET_GRU}},
      .outputs = 1,
      .head = MS_NET_HEAD_MSE}},
    {"features",
     {.vocabulary = 7,
      .embedding = 4,
      .embedding_scale = .05,
      .feature_count = 2,
      .feature = {{3, .1}, {5, .1}},
      .mask_padding = true,
      .recurrent_count = 1,
      .recurrent = {{3, MS_NET_TANH, 0, 0, true, MS_NET_LSTM}},
      .pooling = MS_NET_POOL_ATTENTION,
      .attention = 4,
      .outputs = 1,
      .head = MS_NET_HEAD_SIGMOID}},
    {"wide",
     {.vocabulary = 8,
      .embedding = 3,
      .embedding_scale = .05,
      .mask_padding = true,
      .pooling = MS_NET_POOL_MAX,
      .wide = {14, 4, MS_NET_RELU, 0, 0},
      .dense_count = 1,
      .dense = {{5, MS_NET_TANH, 0}},
      .outputs = 3,
      .head = MS_NET_HEAD_SOFTMAX}},
    {"every",
     {.vocabulary = 9,
      .embedding = 4,
      .embedding_scale = .05,
      .feature_count = 1,
      .feature = {{4, .1}},
      .mask_padding = true,
      .recurrent_count = 1,
      .recurrent = {{3, MS_NET_TANH, 0, 0, true, MS_NET_GRU}},
      .pooling = MS_NET_POOL_ATTENTION,
      .attention = 3,
      .wide = {10, 3, MS_NET_TANH, 0, 0},
      .dense_count = 1,
      .dense = {{4, MS_NET_TANH, 0}},
      .outputs = 3,
      .head = MS_NET_HEAD_SOFTMAX,
      .label_smoothing = .1,
      .class_weight = {1, 2, .5}}},
};

static const double vector_rates[VECTOR_RATES] = {.01, .02,  .005, .01,  .01,
                                                  .01, .005, .005, .002, .002};

/* The optimiser of a record, as the generator sets it. */
static struct ms_optimizer vector_optimizer(const char *what)
{
    struct ms_optimizer o;
    if (strcmp(what, "rmsprop") == 0) {
        ms_optimizer_defaults(MS_OPTIMIZER_RMSPROP, &o);
    } else if (strcmp(what, "adam") == 0) {
        ms_optimizer_defaults(MS_OPTIMIZER_ADAM, &o);
    } else {
        o = (struct ms_optimizer){MS_OPTIMIZER_ADAMW, .8, .99, 1e-6, .05, .05};
    }
    return o;
}

static uint8_t vector_bytes[VECTOR_FILE_MAX];

/* Tests run in the source folder. */
static struct ms_span vector_file(void)
{
    FILE *f = fopen("tests/ref/nn_vectors.bin", "rb");
    assert_non_null(f);
    size_t n = fread(vector_bytes, 1, sizeof vector_bytes, f);
    fclose(f);
    assert_in_range(n, 7, sizeof vector_bytes - 1);
    return ms_span_of(vector_bytes, n);
}

/* The values of CASE/WHAT; free them. Fails the test when there is no such record. */
static double *vector_get(const char *name, const char *what, size_t *count)
{
    struct ms_span file = vector_file();
    struct ms_span part;
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "%s/%s", name, what);
    assert_true(ms_span_take(&file, 6, &part) && ms_span_equal_text(part, "MSNV1\n"));
    while (file.len > 0) {
        uint8_t low = 0, high = 0;
        uint32_t n;
        struct ms_span label;
        assert_true(ms_span_take_u8(&file, &low) && ms_span_take_u8(&file, &high));
        assert_true(ms_span_take(&file, (uint64_t)(low | high << 8), &label));
        assert_true(ms_span_take_u32le(&file, &n));
        assert_true(ms_span_take(&file, (uint64_t)n * 8, &part));
        if (!ms_span_equal_text(label, wanted))
            continue;
        double *out = malloc(n * sizeof *out);
        assert_non_null(out);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t bits;
            assert_true(ms_span_take_u64le(&part, &bits));
            memcpy(&out[i], &bits, sizeof bits);
        }
        *count = n;
        return out;
    }
    fail_msg("no record %s", wanted);
    return NULL;
}

struct vector_batch {
    int32_t token[VECTOR_ROWS_MAX][VECTOR_STEPS_MAX];
    const int32_t *rows[VECTOR_ROWS_MAX];
    uint32_t lengths[VECTOR_ROWS_MAX];
    int32_t labels[VECTOR_ROWS_MAX];
    int32_t id[VECTOR_ROWS_MAX][VECTOR_STEPS_MAX * MS_LIMIT_NET_FEATURES];
    const int32_t *features[VECTOR_ROWS_MAX];
    uint32_t wide_id[VECTOR_ROWS_MAX][VECTOR_WIDE_MAX];
    float wide_value[VECTOR_ROWS_MAX][VECTOR_WIDE_MAX];
    struct ms_net_sparse wide[VECTOR_ROWS_MAX];
    struct ms_net_batch batch;
};

/* Ids of the feature tables step by step, and the dense vectors of the wide branch as sparse ones.
 */
static void vector_inputs_get(const struct vector_case *c, struct vector_batch *out)
{
    size_t id_count, wide_count, used = 0;
    const uint32_t F = c->config.feature_count;
    const uint32_t size = c->config.wide.size;
    double *ids = vector_get(c->name, "features", &id_count);
    double *wide = vector_get(c->name, "wide", &wide_count);
    assert_int_equal(wide_count, out->batch.rows * size);
    assert_in_range(size, 0, VECTOR_WIDE_MAX);
    for (size_t r = 0; r < out->batch.rows; r++) {
        out->features[r] = out->id[r];
        for (uint32_t i = 0; i < out->lengths[r] * F; i++) {
            assert_true(used < id_count);
            out->id[r][i] = (int32_t)ids[used++];
        }
        out->wide[r] = (struct ms_net_sparse){out->wide_id[r], out->wide_value[r], 0};
        for (uint32_t i = 0; i < size; i++)
            if (wide[r * size + i] != 0) {
                out->wide_id[r][out->wide[r].count] = i;
                out->wide_value[r][out->wide[r].count++] = (float)wide[r * size + i];
            }
    }
    assert_int_equal(used, id_count);
    out->batch.features = F > 0 ? out->features : NULL;
    out->batch.wide = size > 0 ? out->wide : NULL;
    free(ids);
    free(wide);
}

static void vector_batch_get(const struct vector_case *c, struct vector_batch *out)
{
    const char *name = c->name;
    size_t rows, token_count, label_count, used = 0;
    double *lengths = vector_get(name, "lengths", &rows);
    double *tokens = vector_get(name, "tokens", &token_count);
    double *labels = vector_get(name, "labels", &label_count);
    assert_in_range(rows, 1, VECTOR_ROWS_MAX);
    assert_int_equal(rows, label_count);
    for (size_t r = 0; r < rows; r++) {
        out->rows[r] = out->token[r];
        out->lengths[r] = (uint32_t)lengths[r];
        out->labels[r] = (int32_t)labels[r];
        assert_in_range(out->lengths[r], 1, VECTOR_STEPS_MAX);
        for (uint32_t i = 0; i < out->lengths[r]; i++)
            out->token[r][i] = (int32_t)tokens[used++];
    }
    assert_int_equal(used, token_count);
    out->batch = (struct ms_net_batch){
        .rows = rows, .tokens = out->rows, .lengths = out->lengths, .labels = out->labels};
    vector_inputs_get(c, out);
    free(lengths);
    free(tokens);
    free(labels);
}

/* A net of the case with the reference parameters. */
static struct ms_net *vector_net(const struct vector_case *c, unsigned jobs)
{
    struct ms_net *net = NULL;
    struct ms_error err;
    size_t n;
    if (ms_net_new(&c->config, 1, jobs, &net, &err) != MS_OK)
        fail_msg("%s: %s", c->name, err.text);
    double *params = vector_get(c->name, "params", &n);
    assert_int_equal(n, ms_net_param_count(net));
    for (size_t i = 0; i < n; i++)
        ms_net_params(net)[i] = (ms_real)params[i];
    free(params);
    return net;
}

/* |ours - theirs| over |theirs|, Euclidean norms. */
static double vector_distance(const ms_real *ours, const double *theirs, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)ours[i] - theirs[i];
        difference += d * d;
        norm += theirs[i] * theirs[i];
    }
    assert_true(norm > 0);
    return difference / norm; /* squared: the callers compare with a squared bound */
}

/* Normwise distances of outputs, gradients and parameters after the steps of each optimiser,
 * squared bound. */
static void vector_check_case(const struct vector_case *c, double bound)
{
    static const char *const kinds[3] = {"rmsprop", "adam", "adamw"};
    struct vector_batch b;
    struct ms_error err;
    struct ms_net_result result;
    size_t n;
    vector_batch_get(c, &b);
    struct ms_net *net = vector_net(c, 1);
    assert_int_equal(ms_net_loss_grad(net, &b.batch, true, 0, &result, &err), MS_OK);
    double *grads = vector_get(c->name, "grads", &n);
    assert_int_equal(n, ms_net_param_count(net));
    assert_true(vector_distance(ms_net_grads(net), grads, n) < bound * bound);
    double *loss = vector_get(c->name, "loss", &n);
    assert_true(result.loss - loss[0] < bound && loss[0] - result.loss < bound);
    double *outputs = vector_get(c->name, "outputs", &n);
    assert_int_equal(n, b.batch.rows * c->config.outputs);
    ms_real ours[VECTOR_ROWS_MAX * 8];
    assert_in_range(n, 1, VECTOR_ROWS_MAX * 8);
    assert_int_equal(ms_net_predict(net, &b.batch, ours, &err), MS_OK);
    assert_true(vector_distance(ours, outputs, n) < bound * bound);
    free(grads);
    free(loss);
    free(outputs);
    ms_net_free(net);
    for (int k = 0; k < 3; k++) {
        struct ms_optimizer o = vector_optimizer(kinds[k]);
        net = vector_net(c, 1);
        assert_int_equal(ms_net_set_optimizer(net, &o, &err), MS_OK);
        for (int s = 0; s < VECTOR_RATES; s++)
            assert_int_equal(ms_net_train_batch(net, &b.batch, vector_rates[s], &result, &err),
                             MS_OK);
        double *after = vector_get(c->name, kinds[k], &n);
        double distance = vector_distance(ms_net_params(net), after, n);
        if (!(distance < bound * bound))
            fail_msg("%s after %s: squared distance %g", c->name, kinds[k], distance);
        free(after);
        ms_net_free(net);
    }
}

#endif
