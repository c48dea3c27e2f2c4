/* The net in float: reference numbers, the same bits for any number of threads, initial weights,
 * dropout's mean, a task learnt, checkpoints, and what it refuses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tests/unit/nn_runs.h"
#include "tests/unit/nn_vectors.h"
#include "train/nn/kernel.h"

enum { ROWS = 70, STEPS = 12, V = 20 };

struct data {
    int32_t token[ROWS][STEPS];
    const int32_t *rows[ROWS];
    uint32_t lengths[ROWS];
    int32_t labels[ROWS];
    struct ms_net_batch batch;
};

static void make_data(struct data *d, uint64_t seed, uint32_t classes)
{
    struct ms_rng rng;
    ms_rng_init(&rng, seed, 0, 0);
    for (size_t r = 0; r < ROWS; r++) {
        d->rows[r] = d->token[r];
        d->lengths[r] = (uint32_t)ms_rng_below(&rng, STEPS + 1);
        d->labels[r] = (int32_t)ms_rng_below(&rng, classes);
        for (size_t i = 0; i < STEPS; i++)
            d->token[r][i] = (int32_t)ms_rng_below(&rng, V);
    }
    d->batch = (struct ms_net_batch){
        .rows = ROWS, .tokens = d->rows, .lengths = d->lengths, .labels = d->labels};
}

/* Two bidirectional layers with every kind of dropout. */
static const struct ms_net_config busy = {
    .vocabulary = V,
    .embedding = 7,
    .embedding_init = MS_NET_EMBEDDING_NORMAL,
    .embedding_scale = .3,
    .spatial_dropout = .1,
    .recurrent_count = 2,
    .recurrent = {{9, MS_NET_TANH, .1, .1, true, MS_NET_LSTM},
                  {5, MS_NET_SOFTSIGN, .1, .1, true, MS_NET_LSTM}},
    .mask_padding = true,
    .pooling = MS_NET_POOL_MEAN_MAX_LAST,
    .pool_dropout = .2,
    .dense_count = 1,
    .dense = {{8, MS_NET_RELU, .2}},
    .outputs = 4,
    .head = MS_NET_HEAD_SOFTMAX,
    .label_smoothing = .1,
};

static void test_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTOR_CASES; i++)
        vector_check_case(&vector_cases[i], 1e-5);
}

static void test_jobs_change_no_bit(void **state)
{
    (void)state;
    struct data d;
    struct ms_error err;
    make_data(&d, 1, 4);
    struct ms_net *one = new_net(&busy, 1, MS_OPTIMIZER_ADAMW);
    const size_t n = ms_net_param_count(one);
    ms_real outputs[3][ROWS * 4];
    train(one, &d.batch, 5);
    assert_int_equal(ms_net_predict(one, &d.batch, outputs[0], &err), MS_OK);
    for (unsigned jobs = 2; jobs <= 3; jobs++) {
        struct ms_net *many = new_net(&busy, jobs, MS_OPTIMIZER_ADAMW);
        train(many, &d.batch, 5);
        assert_memory_equal(ms_net_params(one), ms_net_params(many), n * sizeof(ms_real));
        assert_int_equal(ms_net_predict(many, &d.batch, outputs[jobs - 1], &err), MS_OK);
        assert_memory_equal(outputs[0], outputs[jobs - 1], sizeof outputs[0]);
        ms_net_free(many);
    }
    train(one, &d.batch, 1);
    struct ms_net *other = new_net(&busy, 1, MS_OPTIMIZER_ADAMW);
    train(other, &d.batch, 5);
    assert_memory_not_equal(ms_net_params(one), ms_net_params(other), n * sizeof(ms_real));
    ms_net_free(other);
    ms_net_free(one);
}

static const ms_real *tensor(struct ms_net *net, const char *name, size_t *rows, size_t *columns)
{
    size_t count;
    const struct ms_net_tensor *t = ms_net_tensors(net, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(t[i].name, name) == 0) {
            *rows = t[i].rows;
            *columns = t[i].columns;
            return ms_net_params(net) + t[i].offset;
        }
    fail_msg("no tensor %s", name);
    return NULL;
}

static void assert_uniform(const ms_real *w, size_t n, double limit)
{
    double most = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)w[i]));
        square += (double)w[i] * (double)w[i];
    }
    assert_true(most <= limit && most > .95 * limit);
    double variance = square / (double)n;
    assert_true(variance > .9 * limit * limit / 3 && variance < 1.1 * limit * limit / 3);
}

static void test_initial_weights(void **state)
{
    (void)state;
    struct ms_net_config c;
    size_t rows, columns;
    ms_net_config_article(&c);
    struct ms_net *net = new_net(&c, 1, MS_OPTIMIZER_RMSPROP);
    assert_int_equal(ms_net_param_count(net), 369537);
    const ms_real *w = tensor(net, "embedding", &rows, &columns);
    assert_int_equal(rows, 800);
    assert_int_equal(columns, 300);
    assert_uniform(w, rows * columns, .05);
    w = tensor(net, "lstm0.kernel", &rows, &columns);
    assert_int_equal(rows, 300);
    assert_int_equal(columns, 128);
    assert_uniform(w, rows * columns, sqrt(6.0 / 428));
    w = tensor(net, "dense1.kernel", &rows, &columns);
    assert_uniform(w, rows * columns, sqrt(6.0 / (128 + 256)));
    w = tensor(net, "lstm2.recurrent", &rows, &columns);
    assert_int_equal(rows, 32);
    for (size_t a = 0; a < rows; a++)
        for (size_t b = 0; b <= a; b++) {
            double dot = 0;
            for (size_t j = 0; j < columns; j++)
                dot += (double)w[a * columns + j] * (double)w[b * columns + j];
            assert_true(fabs(dot - (a == b)) < 1e-5);
        }
    w = tensor(net, "lstm1.bias", &rows, &columns);
    assert_int_equal(columns, 128);
    for (size_t j = 0; j < columns; j++)
        assert_true(w[j] == (j / 32 == 1 ? 1.0f : 0.0f));
    w = tensor(net, "output.bias", &rows, &columns);
    assert_true(columns == 1 && w[0] == 0);
    ms_net_free(net);
}

/* Over many masks the output of a linear net has the mean it has without dropout: masks are scaled
 * by 1 / (1 - rate). The gradient of the output's bias is 2 (y - 0) on one row. */
static void test_dropout_keeps_the_mean(void **state)
{
    (void)state;
    static const struct ms_net_config c = {.vocabulary = V,
                                           .embedding = 16,
                                           .embedding_scale = 1,
                                           .spatial_dropout = .2,
                                           .mask_padding = true,
                                           .pooling = MS_NET_POOL_MEAN,
                                           .pool_dropout = .3,
                                           .outputs = 1,
                                           .head = MS_NET_HEAD_MSE};
    const int32_t tokens[2] = {3, 7};
    const int32_t *rows[1] = {tokens};
    const uint32_t length = 2;
    const int32_t label = 0;
    const struct ms_net_batch batch = {
        .rows = 1, .tokens = rows, .lengths = &length, .labels = &label};
    struct ms_net *net = new_net(&c, 1, MS_OPTIMIZER_RMSPROP);
    struct ms_net_result result;
    struct ms_error err;
    const size_t last = ms_net_param_count(net) - 1;
    double sum = 0, square = 0;
    enum { TRIALS = 4000 };
    for (uint64_t i = 0; i < TRIALS; i++) {
        assert_int_equal(ms_net_loss_grad(net, &batch, true, i, &result, &err), MS_OK);
        double y = (double)ms_net_grads(net)[last] / 2;
        sum += y;
        square += y * y;
    }
    assert_int_equal(ms_net_loss_grad(net, &batch, false, 0, &result, &err), MS_OK);
    double expected = (double)ms_net_grads(net)[last] / 2;
    double mean = sum / TRIALS;
    double error = sqrt((square / TRIALS - mean * mean) / TRIALS);
    assert_true(error > 0);
    assert_true(fabs(mean - expected) < 4 * error);
    ms_net_free(net);
}

/* Which of two tokens comes first: nothing but order tells, and only a recurrent net can learn it.
 */
static size_t learn_order(const struct ms_net_config *c)
{
    struct data d;
    struct ms_error err;
    struct ms_net_result result;
    struct ms_rng rng;
    struct ms_net *net = new_net(c, 1, MS_OPTIMIZER_ADAM);
    ms_rng_init(&rng, 9, 0, 0);
    for (int step = 0; step <= 250; step++) {
        for (size_t r = 0; r < ROWS; r++) {
            d.rows[r] = d.token[r];
            d.lengths[r] = 4 + (uint32_t)ms_rng_below(&rng, STEPS - 3);
            d.labels[r] = (int32_t)ms_rng_below(&rng, 2);
            for (uint32_t i = 0; i < d.lengths[r]; i++)
                d.token[r][i] = 3 + (int32_t)ms_rng_below(&rng, V - 3);
            uint32_t first = (uint32_t)ms_rng_below(&rng, d.lengths[r] - 1);
            uint32_t second = first + 1 + (uint32_t)ms_rng_below(&rng, d.lengths[r] - 1 - first);
            d.token[r][first] = 1 + d.labels[r];
            d.token[r][second] = 2 - d.labels[r];
        }
        d.batch = (struct ms_net_batch){
            .rows = ROWS, .tokens = d.rows, .lengths = d.lengths, .labels = d.labels};
        if (step < 250)
            assert_int_equal(ms_net_train_batch(net, &d.batch, .01, &result, &err), MS_OK);
        else
            assert_int_equal(ms_net_loss_grad(net, &d.batch, false, 0, &result, &err), MS_OK);
    }
    ms_net_free(net);
    return result.correct;
}

static void test_order_is_learnt(void **state)
{
    (void)state;
    struct ms_net_config c = {.vocabulary = V,
                              .embedding = 8,
                              .embedding_scale = .05,
                              .mask_padding = true,
                              .recurrent_count = 1,
                              .recurrent = {{16, MS_NET_TANH, 0, 0, false, MS_NET_LSTM}},
                              .outputs = 1,
                              .head = MS_NET_HEAD_SIGMOID};
    assert_true(learn_order(&c) >= ROWS * 95 / 100);
    c.recurrent_count = 0;
    c.pooling = MS_NET_POOL_MEAN;
    assert_in_range(learn_order(&c), ROWS * 25 / 100, ROWS * 75 / 100);
}

static void test_checkpoint_continues(void **state)
{
    (void)state;
    struct data d;
    struct ms_error err;
    struct ms_net_state s;
    make_data(&d, 2, 4);
    struct ms_net *a = new_net(&busy, 1, MS_OPTIMIZER_ADAM);
    struct ms_net *b = new_net(&busy, 2, MS_OPTIMIZER_ADAM);
    train(a, &d.batch, 3);
    ms_net_state_get(a, &s);
    assert_int_equal(s.step, 3);
    assert_int_equal(ms_net_state_set(b, &s, &err), MS_OK);
    train(a, &d.batch, 2);
    train(b, &d.batch, 2);
    assert_memory_equal(ms_net_params(a), ms_net_params(b),
                        ms_net_param_count(a) * sizeof(ms_real));
    struct ms_net *c = NULL;
    struct ms_optimizer rmsprop;
    ms_optimizer_defaults(MS_OPTIMIZER_RMSPROP, &rmsprop);
    assert_int_equal(ms_net_new_blank(&busy, 5, 1, &c, &err), MS_OK);
    assert_int_equal(ms_net_set_optimizer(c, &rmsprop, &err), MS_OK);
    for (size_t i = 0; i < ms_net_param_count(c); i++)
        assert_true(ms_net_params(c)[i] == 0);
    struct ms_net *placed = NULL;
    struct ms_net_result result;
    assert_int_equal(ms_net_new_placed(&busy, ms_net_params(c), 1, &placed, &err), MS_OK);
    assert_int_equal(ms_net_set_optimizer(placed, &rmsprop, &err), MS_E_INPUT);
    assert_int_equal(ms_net_loss_grad(placed, &d.batch, false, 0, &result, &err), MS_E_INPUT);
    ms_net_free(placed);
    assert_int_equal(ms_net_state_set(c, &s, &err), MS_E_INPUT);
    s.moment1 = NULL;
    assert_int_equal(ms_net_state_set(c, &s, &err), MS_OK);
    s.count--;
    assert_int_equal(ms_net_state_set(c, &s, &err), MS_E_INPUT);
    ms_net_params(a)[7] = (ms_real)NAN;
    ms_net_state_get(a, &s);
    assert_int_equal(ms_net_state_set(b, &s, &err), MS_E_INPUT);
    ms_net_free(a);
    ms_net_free(b);
    ms_net_free(c);
}

static void test_bad_configs(void **state)
{
    (void)state;
    struct ms_net_config c = busy;
    c.vocabulary = 0;
    refuse_config(&c, "vocabulary of 0");
    c = busy;
    c.vocabulary = MS_LIMIT_NET_VOCABULARY;
    c.embedding = MS_LIMIT_NET_WIDTH;
    refuse_config(&c, "parameters");
    c = busy;
    c.embedding = 0;
    refuse_config(&c, "embedding of width 0");
    c = busy;
    c.embedding_scale = (double)NAN;
    refuse_config(&c, "embedding scale");
    c = busy;
    c.recurrent_count = MS_LIMIT_NET_RECURRENT + 1;
    refuse_config(&c, "recurrent layers");
    c = busy;
    c.recurrent[1].hidden = 0;
    refuse_config(&c, "recurrent layer 1 with 0 units");
    c = busy;
    c.recurrent[0].hidden = UINT32_MAX;
    refuse_config(&c, "recurrent layer 0");
    c = busy;
    c.recurrent[0].activation = MS_NET_RELU;
    refuse_config(&c, "tanh or softsign");
    c = busy;
    c.recurrent[0].recurrent_dropout = 1;
    refuse_config(&c, "dropout");
    c = busy;
    c.spatial_dropout = -.1;
    refuse_config(&c, "spatial dropout");
    c = busy;
    c.mask_padding = false;
    refuse_config(&c, "padded length 0");
    c = busy;
    c.dense[0].units = 0;
    refuse_config(&c, "dense layer 0");
    c = busy;
    c.pooling = (enum ms_net_pooling)9;
    refuse_config(&c, "pooling");
    c = busy;
    c.head = MS_NET_HEAD_MSE;
    refuse_config(&c, "one output");
    c = busy;
    c.outputs = 1;
    refuse_config(&c, "softmax over 1");
    c = busy;
    c.class_weight[2] = 2;
    refuse_config(&c, "class 0 has no weight");
    struct ms_net *net = NULL;
    struct ms_error err;
    assert_int_equal(ms_net_new(&busy, 1, 0, &net, &err), MS_E_INPUT);
    assert_int_equal(ms_net_new(&busy, 1, MS_LIMIT_NET_JOBS + 1, &net, &err), MS_E_INPUT);
}

static void refuse_batch(struct ms_net *net, const struct ms_net_batch *batch, const char *reason)
{
    struct ms_error err = {0};
    struct ms_net_result result;
    assert_int_equal(ms_net_train_batch(net, batch, .01, &result, &err), MS_E_INPUT);
    if (!strstr(err.text, reason))
        fail_msg("'%s' does not say '%s'", err.text, reason);
}

static void test_bad_batches(void **state)
{
    (void)state;
    struct data d;
    struct ms_error err;
    ms_real outputs[ROWS * 4];
    struct ms_net *net = new_net(&busy, 2, MS_OPTIMIZER_ADAM);
    const size_t bytes = ms_net_param_count(net) * sizeof(ms_real);
    ms_real *before = malloc(bytes);
    assert_non_null(before);
    memcpy(before, ms_net_params(net), bytes);
    make_data(&d, 3, 4);
    d.lengths[50] = STEPS;
    d.token[50][3] = V;
    refuse_batch(net, &d.batch, "sequence 50: token 20 at 3");
    assert_int_equal(ms_net_predict(net, &d.batch, outputs, &err), MS_E_INPUT);
    d.token[50][3] = -1;
    refuse_batch(net, &d.batch, "token -1");
    d.token[50][3] = 1;
    d.labels[9] = 4;
    refuse_batch(net, &d.batch, "sequence 9: label 4 of 4");
    d.labels[9] = -1;
    refuse_batch(net, &d.batch, "label -1");
    d.labels[9] = 0;
    d.lengths[9] = MS_LIMIT_NET_STEPS + 1;
    refuse_batch(net, &d.batch, "sequence 9 has 65537 tokens");
    d.lengths[9] = 1;
    d.batch.rows = 0;
    refuse_batch(net, &d.batch, "batch of 0");
    d.batch.rows = ROWS;
    d.batch.labels = NULL;
    refuse_batch(net, &d.batch, "without labels");
    assert_int_equal(ms_net_predict(net, &d.batch, outputs, &err), MS_OK);
    assert_memory_equal(before, ms_net_params(net), bytes);
    free(before);
    ms_net_free(net);
}

/* A net that has left the numbers must not write them into its parameters. */
static void test_divergence_is_refused(void **state)
{
    (void)state;
    struct data d;
    struct ms_error err;
    struct ms_net_result result;
    struct ms_net *net = new_net(&busy, 1, MS_OPTIMIZER_ADAM);
    size_t n = ms_net_param_count(net);
    make_data(&d, 4, 4);
    for (size_t i = 0; i < n; i++)
        ms_net_params(net)[i] *= 1e30f;
    ms_real first = ms_net_params(net)[0];
    assert_int_equal(ms_net_train_batch(net, &d.batch, .01, &result, &err), MS_E_LIMIT);
    assert_true(ms_net_params(net)[0] == first);
    ms_net_free(net);
}

/* A batch of many passes shares one table of projections: its gradients are the mean of those of
 * four smaller ones, which do not, and so are its outputs. */
static void check_shared(enum ms_net_cell cell, bool both)
{
    enum { COUNT = 64, PART = 16, LONG = 9 };
    static int32_t tokens[COUNT][LONG];
    static ms_real outputs[2][COUNT * 3];
    const int32_t *rows[COUNT];
    uint32_t lengths[COUNT];
    int32_t labels[COUNT];
    struct ms_rng rng;
    struct ms_error err;
    struct ms_net_result result;
    struct ms_net *net;
    struct ms_net_config c = {.vocabulary = 11,
                              .embedding = 5,
                              .embedding_scale = .5,
                              .recurrent_count = 2,
                              .mask_padding = true,
                              .outputs = 3,
                              .head = MS_NET_HEAD_SOFTMAX};
    c.recurrent[0] = (struct ms_net_recurrent){7, MS_NET_TANH, 0, 0, both, cell};
    c.recurrent[1] = (struct ms_net_recurrent){3, MS_NET_TANH, 0, 0, false, cell};
    ms_rng_init(&rng, 8, 8, 8);
    for (size_t r = 0; r < COUNT; r++) {
        rows[r] = tokens[r];
        lengths[r] = (uint32_t)ms_rng_below(&rng, LONG + 1);
        labels[r] = (int32_t)ms_rng_below(&rng, 3);
        for (size_t i = 0; i < LONG; i++)
            tokens[r][i] = (int32_t)ms_rng_below(&rng, 10); /* token 10 is never touched */
    }
    assert_int_equal(ms_net_new(&c, 3, 2, &net, &err), MS_OK);
    const size_t n = ms_net_param_count(net);
    double *mean = test_calloc(n, sizeof *mean);
    double loss = 0;
    struct ms_net_batch b = {.rows = PART, .tokens = rows, .lengths = lengths, .labels = labels};
    for (size_t from = 0; from < COUNT; from += PART) {
        b.tokens = rows + from;
        b.lengths = lengths + from;
        b.labels = labels + from;
        assert_int_equal(ms_net_loss_grad(net, &b, true, 0, &result, &err), MS_OK);
        assert_int_equal(ms_net_predict(net, &b, outputs[0] + from * 3, &err), MS_OK);
        loss += result.loss * PART / COUNT;
        for (size_t i = 0; i < n; i++)
            mean[i] += (double)ms_net_grads(net)[i] * PART / COUNT;
    }
    b = (struct ms_net_batch){.rows = COUNT, .tokens = rows, .lengths = lengths, .labels = labels};
    assert_int_equal(ms_net_loss_grad(net, &b, true, 0, &result, &err), MS_OK);
    assert_int_equal(ms_net_predict(net, &b, outputs[1], &err), MS_OK);
    assert_true(fabs(loss - result.loss) < 1e-6);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(mean[i] - (double)ms_net_grads(net)[i]) < 1e-6);
    for (size_t i = 0; i < COUNT * 3; i++)
        assert_true(fabs((double)(outputs[0][i] - outputs[1][i])) < 1e-6);
    test_free(mean);
    ms_net_free(net);
}

static void test_shared(void **state)
{
    (void)state;
    check_shared(MS_NET_LSTM, true);
    check_shared(MS_NET_LSTM, false);
    check_shared(MS_NET_GRU, true);
}

/* One step of an LSTM forward and backward on odd sizes, against the formulas in double. */
static void check_lstm_kernels(const struct ms_kernels *k, enum ms_net_activation act)
{
    enum { R = 3, P = 2, H = 19 };
    ms_real gates[R * 4 * H], kept[R * 4 * H], before[P * H], zeros[H] = {0};
    ms_real cell[R * H], cell_act[R * H], out[R * H], above[R * H], after[R * H], d_cell[R * H];
    struct ms_rng rng;
    ms_rng_init(&rng, 1, 2, 3);
    for (size_t i = 0; i < R * 4 * H; i++)
        gates[i] = kept[i] = (ms_real)(3 * ms_rng_normal(&rng));
    for (size_t i = 0; i < P * H; i++)
        before[i] = (ms_real)ms_rng_normal(&rng);
    for (size_t i = 0; i < R * H; i++) {
        above[i] = (ms_real)ms_rng_normal(&rng);
        after[i] = (ms_real)ms_rng_normal(&rng);
        d_cell[i] = .5f;
    }
    struct ms_lstm_forward f = {R, P, H, gates, before, zeros, cell, cell_act, out, H};
    k->lstm_forward(&f, act);
    struct ms_lstm_backward b = {R, P, H, gates, before, zeros, cell_act, above, H, after, d_cell};
    k->lstm_backward(&b, act);
    for (size_t r = 0; r < R; r++)
        for (size_t j = 0; j < H; j++) {
            const ms_real *z = kept + r * 4 * H + j;
            const ms_real *dz = gates + r * 4 * H + j;
            const size_t at = r * H + j;
            double i = 1 / (1 + exp(-(double)z[0]));
            double fg = 1 / (1 + exp(-(double)z[H]));
            double zg = (double)z[2 * H];
            double o = 1 / (1 + exp(-(double)z[3 * H]));
            double g = act == MS_NET_TANH ? tanh(zg) : zg / (1 + fabs(zg));
            double old = r < P ? (double)before[at] : 0;
            double c = fg * old + i * g;
            double ca = act == MS_NET_TANH ? tanh(c) : c / (1 + fabs(c));
            double slope = act == MS_NET_TANH ? 1 - ca * ca : pow(1 + fabs(c), -2);
            double slope_g = act == MS_NET_TANH ? 1 - g * g : pow(1 + fabs(zg), -2);
            double dh = (double)above[at] + (double)after[at];
            double dc = .5 + dh * o * slope;
            assert_true(fabs((double)cell[at] - c) < 2e-6);
            assert_true(fabs((double)out[at] - o * ca) < 2e-6);
            assert_true(fabs((double)dz[0] - dc * g * i * (1 - i)) < 5e-6);
            assert_true(fabs((double)dz[H] - dc * old * fg * (1 - fg)) < 5e-6);
            assert_true(fabs((double)dz[2 * H] - dc * i * slope_g) < 5e-6);
            assert_true(fabs((double)dz[3 * H] - dh * ca * o * (1 - o)) < 5e-6);
            assert_true(fabs((double)d_cell[at] - dc * fg) < 5e-6);
        }
}

static void check_extremes(const struct ms_kernels *k)
{
    const ms_real extreme[6] = {-1e38f, -100, -87.5f, 88.5f, 100, (ms_real)INFINITY};
    ms_real gates[4 * 6], zeros[6] = {0}, cell[6], act[6], out[6];
    for (int i = 0; i < 24; i++)
        gates[i] = extreme[i % 6];
    struct ms_lstm_forward a = {1, 0, 6, gates, zeros, zeros, cell, act, out, 6};
    k->lstm_forward(&a, MS_NET_TANH);
    for (int i = 0; i < 24; i++)
        assert_true(gates[i] >= -1 && gates[i] <= 1);
    for (int i = 0; i < 6; i++)
        assert_true(fabs((double)out[i] - (i < 3 ? 0 : tanh(1))) < 1e-6);
}

/* Every set this processor can run, not only the one in use. */
static void test_kernels(void **state)
{
    (void)state;
    enum { N = 4001 };
    static ms_real x[N], y[N];
    size_t sets = 0;
    for (const struct ms_kernels *k; (k = ms_kernels_at(sets)) != NULL; sets++) {
        for (int i = 0; i < N; i++)
            x[i] = y[i] = (ms_real)(i - N / 2) * .005f;
        k->activate(N, y, MS_NET_TANH);
        for (int i = 0; i < N; i++)
            assert_true(fabs((double)y[i] - tanh((double)x[i])) <= 3e-7 * fabs((double)x[i]) &&
                        fabsf(y[i]) <= 1);
        check_extremes(k);
        check_lstm_kernels(k, MS_NET_TANH);
        check_lstm_kernels(k, MS_NET_SOFTSIGN);
        assert_true(k->square_sum(N, x) > 0 &&
                    fabs(k->square_sum(N, x) / ms_kernels_get()->square_sum(N, x) - 1) < 1e-12);
        printf("kernels: %s\n", k->name);
    }
    assert_true(sets >= 1 && strcmp(ms_kernels_at(sets - 1)->name, "portable") == 0);
}

static void test_schedule(void **state)
{
    (void)state;
    assert_true(fabs(ms_schedule_cosine(3, .02, 0, 10, 110) - .3) < 1e-12);
    assert_true(fabs(ms_schedule_cosine(3, .02, 9, 10, 110) - 3) < 1e-12);
    assert_true(fabs(ms_schedule_cosine(3, .02, 10, 10, 110) - 3) < 1e-12);
    assert_true(fabs(ms_schedule_cosine(3, 0, 60, 10, 111) - 1.5) < 1e-12);
    assert_true(fabs(ms_schedule_cosine(3, .02, 109, 10, 110) - .06) < 1e-12);
    assert_true(fabs(ms_schedule_cosine(3, .02, 500, 10, 110) - .06) < 1e-12);
    assert_true(fabs(ms_schedule_cosine(3, .02, 0, 0, 1) - 3) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_jobs_change_no_bit),
        cmocka_unit_test(test_initial_weights),
        cmocka_unit_test(test_dropout_keeps_the_mean),
        cmocka_unit_test(test_order_is_learnt),
        cmocka_unit_test(test_checkpoint_continues),
        cmocka_unit_test(test_bad_configs),
        cmocka_unit_test(test_bad_batches),
        cmocka_unit_test(test_divergence_is_refused),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
