/* GRU cells, feature tables, the wide branch and attention in float: the same bits for any number
 * of threads, initial weights, element-wise loops, a task that only they can learn, what is
 * refused, and averages of parameters. Their gradients and reference numbers are in the test64
 * files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tests/unit/nn_runs.h"
#include "train/nn/blas.h"
#include "train/nn/kernel.h"
#include "train/nn/net.h"

enum { ROWS = 70, STEPS = 12, V = 20, F = 2, WIDE = 3000, ENTRIES = 40 };

struct data {
    int32_t token[ROWS][STEPS];
    const int32_t *rows[ROWS];
    uint32_t lengths[ROWS];
    int32_t labels[ROWS];
    int32_t id[ROWS][STEPS * F];
    const int32_t *features[ROWS];
    uint32_t wide_id[ROWS][ENTRIES];
    float wide_value[ROWS][ENTRIES];
    struct ms_net_sparse wide[ROWS];
    struct ms_net_batch batch;
};

static const struct ms_net_config every = {
    .vocabulary = V,
    .embedding = 7,
    .embedding_init = MS_NET_EMBEDDING_NORMAL,
    .embedding_scale = .3,
    .feature_count = F,
    .feature = {{5, .2}, {400, .2}},
    .spatial_dropout = .1,
    .recurrent_count = 2,
    .recurrent = {{9, MS_NET_TANH, .1, .1, true, MS_NET_GRU},
                  {5, MS_NET_SOFTSIGN, .1, .1, true, MS_NET_GRU}},
    .mask_padding = true,
    .pooling = MS_NET_POOL_ATTENTION,
    .attention = 6,
    .pool_dropout = .2,
    .wide = {WIDE, 16, MS_NET_RELU, .3, .2},
    .dense_count = 1,
    .dense = {{8, MS_NET_RELU, .2}},
    .outputs = 4,
    .head = MS_NET_HEAD_SOFTMAX,
    .label_smoothing = .1,
};

static void make_data(struct data *d, uint64_t seed)
{
    struct ms_rng rng;
    ms_rng_init(&rng, seed, 0, 0);
    for (size_t r = 0; r < ROWS; r++) {
        d->rows[r] = d->token[r];
        d->features[r] = d->id[r];
        d->lengths[r] = (uint32_t)ms_rng_below(&rng, STEPS + 1);
        d->labels[r] = (int32_t)ms_rng_below(&rng, 4);
        for (size_t i = 0; i < STEPS; i++) {
            d->token[r][i] = (int32_t)ms_rng_below(&rng, V);
            d->id[r][i * F] = (int32_t)ms_rng_below(&rng, 6) - 1;
            d->id[r][i * F + 1] = (int32_t)ms_rng_below(&rng, 401) - 1;
        }
        uint32_t id = (uint32_t)ms_rng_below(&rng, 50);
        d->wide[r] = (struct ms_net_sparse){d->wide_id[r], d->wide_value[r],
                                            (uint32_t)ms_rng_below(&rng, ENTRIES + 1)};
        for (size_t i = 0; i < ENTRIES; i++) {
            d->wide_id[r][i] = id;
            d->wide_value[r][i] = (float)ms_rng_normal(&rng);
            id += 1 + (uint32_t)ms_rng_below(&rng, 70);
        }
    }
    d->batch = (struct ms_net_batch){.rows = ROWS,
                                     .tokens = d->rows,
                                     .lengths = d->lengths,
                                     .labels = d->labels,
                                     .features = d->features,
                                     .wide = d->wide};
}

static void test_jobs_change_no_bit(void **state)
{
    (void)state;
    static struct data d, e;
    struct ms_error err;
    make_data(&d, 1);
    make_data(&e, 2);
    struct ms_net *one = new_net(&every, 1, MS_OPTIMIZER_ADAMW);
    const size_t n = ms_net_param_count(one);
    ms_real outputs[3][ROWS * 4];
    train(one, &d.batch, 3);
    train(one, &e.batch, 3);
    assert_int_equal(ms_net_predict(one, &d.batch, outputs[0], &err), MS_OK);
    for (unsigned jobs = 2; jobs <= 3; jobs++) {
        struct ms_net *many = new_net(&every, jobs, MS_OPTIMIZER_ADAMW);
        train(many, &d.batch, 3);
        train(many, &e.batch, 3);
        assert_memory_equal(ms_net_params(one), ms_net_params(many), n * sizeof(ms_real));
        assert_int_equal(ms_net_predict(many, &d.batch, outputs[jobs - 1], &err), MS_OK);
        assert_memory_equal(outputs[0], outputs[jobs - 1], sizeof outputs[0]);
        ms_net_free(many);
    }
    ms_net_free(one);
}

static const struct ms_net_tensor *tensor(const struct ms_net *net, const char *name)
{
    size_t count;
    const struct ms_net_tensor *t = ms_net_tensors(net, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(t[i].name, name) == 0)
            return &t[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Rows that the last batch did not touch have no gradient, whatever the batch before left there. */
static void test_gradient_rows(void **state)
{
    (void)state;
    static struct data d, e;
    struct ms_net_result result;
    struct ms_error err;
    make_data(&d, 1);
    make_data(&e, 2);
    struct ms_net *used = new_net(&every, 2, MS_OPTIMIZER_ADAM);
    struct ms_net *fresh = new_net(&every, 1, MS_OPTIMIZER_ADAM);
    const struct ms_net_tensor *t = tensor(used, "wide.kernel");
    assert_int_equal(ms_net_loss_grad(used, &d.batch, true, 0, &result, &err), MS_OK);
    e.batch.rows = 9;
    assert_int_equal(ms_net_loss_grad(used, &e.batch, true, 0, &result, &err), MS_OK);
    assert_int_equal(ms_net_loss_grad(fresh, &e.batch, true, 0, &result, &err), MS_OK);
    assert_memory_equal(ms_net_grads(used), ms_net_grads(fresh),
                        ms_net_param_count(used) * sizeof(ms_real));
    size_t alive = 0;
    for (size_t r = 0; r < t->rows; r++) {
        bool any = false;
        for (size_t j = 0; j < t->columns; j++)
            any = any || ms_net_grads(used)[t->offset + r * t->columns + j] != 0;
        alive += any;
    }
    assert_in_range(alive, 20, 9 * ENTRIES);
    double square = 0;
    for (size_t i = 0; i < ms_net_param_count(used); i++)
        square += (double)ms_net_grads(used)[i] * (double)ms_net_grads(used)[i];
    assert_true(fabs(sqrt(square) / result.grad_norm - 1) < 1e-6);
    ms_net_free(used);
    ms_net_free(fresh);
}

static void assert_uniform(const ms_real *w, size_t n, double limit)
{
    double most = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)w[i]));
        square += (double)w[i] * (double)w[i];
    }
    assert_true(most <= limit && most > .9 * limit);
    assert_true(fabs(square / (double)n / (limit * limit / 3) - 1) < .15);
}

static void test_initial_weights(void **state)
{
    (void)state;
    struct ms_net *net = new_net(&every, 1, MS_OPTIMIZER_ADAM);
    const ms_real *params = ms_net_params(net);
    const struct ms_net_tensor *t = tensor(net, "feature1");
    assert_true(t->rows == 400 && t->columns == 7 && t->decays);
    double square = 0, most = 0;
    for (size_t i = 0; i < t->rows * t->columns; i++) {
        square += pow((double)params[t->offset + i], 2);
        most = fmax(most, fabs((double)params[t->offset + i]));
    }
    assert_true(fabs(sqrt(square / (double)(t->rows * t->columns)) - .2) < .02 && most > .4);
    t = tensor(net, "wide.kernel");
    assert_true(t->rows == WIDE && t->columns == 16 && !t->decays);
    assert_uniform(params + t->offset, t->rows * t->columns, sqrt(6.0 / (WIDE + 16)));
    t = tensor(net, "attention.kernel");
    assert_true(t->rows == 10 && t->columns == 6 && t->decays);
    assert_uniform(params + t->offset, t->rows * t->columns, sqrt(6.0 / 16));
    t = tensor(net, "attention.vector");
    assert_true(t->rows == 6 && t->columns == 1);
    t = tensor(net, "gru0.backward.kernel");
    assert_true(t->rows == 7 && t->columns == 27);
    assert_uniform(params + t->offset, t->rows * t->columns, sqrt(6.0 / 34));
    t = tensor(net, "gru0.backward.recurrent");
    assert_true(t->rows == 9 && t->columns == 27);
    for (size_t a = 0; a < t->rows; a++)
        for (size_t b = 0; b <= a; b++) {
            double dot = 0;
            for (size_t j = 0; j < t->columns; j++)
                dot += (double)params[t->offset + a * t->columns + j] *
                       (double)params[t->offset + b * t->columns + j];
            assert_true(fabs(dot - (a == b)) < 1e-5);
        }
    static const char *const zeros[] = {"gru1.forward.bias", "attention.bias", "wide.bias"};
    for (size_t k = 0; k < 3; k++) {
        t = tensor(net, zeros[k]);
        assert_true(t->rows == (k == 0 ? 2 : 1) && !t->decays);
        for (size_t i = 0; i < t->rows * t->columns; i++)
            assert_true(params[t->offset + i] == 0);
    }
    size_t count;
    const struct ms_net_tensor *all = ms_net_tensors(net, &count);
    assert_int_equal(all[count - 1].offset + all[count - 1].columns, ms_net_param_count(net));
    assert_int_equal(ms_net_config_parameters(&every), ms_net_param_count(net));
    ms_net_free(net);
}

/* What decides the label is a feature id at one step, or one sparse id: tokens say nothing. */
static size_t learn(const struct ms_net_config *c, bool by_feature)
{
    static struct data d;
    struct ms_error err;
    struct ms_net_result result;
    struct ms_net *net = new_net(c, 1, MS_OPTIMIZER_ADAM);
    for (uint64_t step = 0; step <= 150; step++) {
        make_data(&d, 100 + step);
        for (size_t r = 0; r < ROWS; r++) {
            d.labels[r] %= 2;
            d.lengths[r] = STEPS;
            d.wide[r].count = 5;
            for (size_t i = 0; i < STEPS; i++)
                d.id[r][i * F] = i == (r * 7 + step) % STEPS && by_feature ? d.labels[r] : -1;
            for (size_t i = 0; i < 5; i++)
                d.wide_value[r][i] = 1;
            if (!by_feature)
                d.wide_id[r][0] = d.labels[r] ? 50 : 49;
            for (uint32_t i = by_feature ? 0 : 1; i < 5; i++)
                d.wide_id[r][i] = 60 + 10 * i + (uint32_t)((r + step) % 9);
        }
        if (step < 150)
            assert_int_equal(ms_net_train_batch(net, &d.batch, .01, &result, &err), MS_OK);
        else
            assert_int_equal(ms_net_loss_grad(net, &d.batch, false, 0, &result, &err), MS_OK);
    }
    ms_net_free(net);
    return result.correct;
}

static void test_inputs_are_learnt(void **state)
{
    (void)state;
    struct ms_net_config c = {.vocabulary = V,
                              .embedding = 8,
                              .embedding_scale = .05,
                              .feature_count = F,
                              .feature = {{5, .05}, {400, .05}},
                              .mask_padding = true,
                              .recurrent_count = 1,
                              .recurrent = {{8, MS_NET_TANH, 0, 0, false, MS_NET_GRU}},
                              .pooling = MS_NET_POOL_ATTENTION,
                              .attention = 4,
                              .wide = {WIDE, 4, MS_NET_TANH, 0, 0},
                              .outputs = 1,
                              .head = MS_NET_HEAD_SIGMOID};
    assert_true(learn(&c, true) >= ROWS * 95 / 100);
    assert_true(learn(&c, false) >= ROWS * 95 / 100);
    c.feature_count = 0;
    assert_in_range(learn(&c, true), ROWS * 25 / 100, ROWS * 75 / 100);
    c.wide.size = 0;
    assert_in_range(learn(&c, false), ROWS * 25 / 100, ROWS * 75 / 100);
}

/* Rows one by one, so that no other row can change the last bits. */
static void predict_rows(struct ms_net *net, const struct data *d, size_t rows, ms_real *outputs)
{
    struct ms_error err;
    for (size_t r = 0; r < rows; r++) {
        struct ms_net_batch one = d->batch;
        one.rows = 1;
        one.tokens += r;
        one.lengths += r;
        one.features += r;
        one.wide += r;
        if (ms_net_predict(net, &one, outputs + r * 4, &err) != MS_OK)
            fail_msg("%s", err.text);
    }
}

/* Padding in front is token 0 without ids; with masking a token 0 is no step, whatever its ids. */
static void test_padding_has_no_features(void **state)
{
    (void)state;
    enum { N = 8, SHORT = 7 };
    static struct data d;
    struct ms_net_config c = every;
    ms_real implied[N * 4], written[N * 4];
    make_data(&d, 6);
    for (int masked = 0; masked < 2; masked++) {
        c.mask_padding = masked;
        c.pad_length = masked ? 0 : STEPS;
        struct ms_net *net = new_net(&c, 1, MS_OPTIMIZER_ADAM);
        for (size_t r = 0; r < N; r++) {
            d.lengths[r] = SHORT;
            for (size_t i = 0; i < SHORT; i++)
                d.token[r][i] = 1 + d.token[r][i] % (V - 1);
        }
        predict_rows(net, &d, N, implied);
        for (size_t r = 0; r < N; r++) {
            d.lengths[r] = STEPS;
            memmove(d.token[r] + STEPS - SHORT, d.token[r], SHORT * sizeof d.token[r][0]);
            memset(d.token[r], 0, (STEPS - SHORT) * sizeof d.token[r][0]);
            memmove(d.id[r] + (STEPS - SHORT) * F, d.id[r], SHORT * F * sizeof d.id[r][0]);
            for (size_t i = 0; i < (STEPS - SHORT) * F; i++)
                d.id[r][i] = masked ? 3 : -1;
        }
        predict_rows(net, &d, N, written);
        assert_memory_equal(implied, written, sizeof implied);
        for (size_t r = 0; r < N; r++)
            for (size_t i = 0; i < STEPS * F; i++)
                d.id[r][i] = -1;
        predict_rows(net, &d, N, written);
        assert_memory_not_equal(implied, written, sizeof implied);
        ms_net_free(net);
        make_data(&d, 6);
    }
}

static void test_bad_configs(void **state)
{
    (void)state;
    struct ms_net_config c = every;
    c.feature_count = MS_LIMIT_NET_FEATURES + 1;
    refuse_config(&c, "9 feature tables");
    c = every;
    c.feature[1].size = 0;
    refuse_config(&c, "feature table 1 of 0 rows");
    c = every;
    c.feature[0].size = MS_LIMIT_NET_VOCABULARY + 1;
    refuse_config(&c, "feature table 0 of");
    c = every;
    c.feature[0].scale = (double)NAN;
    refuse_config(&c, "scale");
    c = every;
    c.recurrent[1].cell = (enum ms_net_cell)2;
    refuse_config(&c, "unknown cell 2");
    c = every;
    c.attention = 0;
    refuse_config(&c, "attention of 0 units");
    c = every;
    c.pooling = MS_NET_POOL_MEAN;
    refuse_config(&c, "another pooling");
    c = every;
    c.wide.size = MS_LIMIT_NET_VOCABULARY + 1;
    refuse_config(&c, "wide branch over");
    c = every;
    c.wide.units = 0;
    refuse_config(&c, "wide branch with 0 units");
    c = every;
    c.wide.activation = (enum ms_net_activation)7;
    refuse_config(&c, "unknown activation 7");
    c = every;
    c.wide.input_dropout = 1;
    refuse_config(&c, "wide branch: dropout");
    c = every;
    c.wide.size = MS_LIMIT_NET_VOCABULARY;
    c.wide.units = 1024;
    refuse_config(&c, "parameters");
}

static void refuse_batch(struct ms_net *net, const struct ms_net_batch *batch, const char *reason)
{
    struct ms_error err = {0};
    struct ms_net_result result;
    ms_real outputs[ROWS * 4];
    assert_int_equal(ms_net_train_batch(net, batch, .01, &result, &err), MS_E_INPUT);
    if (!strstr(err.text, reason))
        fail_msg("'%s' does not say '%s'", err.text, reason);
    assert_int_equal(ms_net_predict(net, batch, outputs, &err), MS_E_INPUT);
    assert_int_equal(ms_net_loss_grad(net, batch, false, 0, &result, &err), MS_E_INPUT);
}

static void test_bad_batches(void **state)
{
    (void)state;
    static struct data d;
    struct ms_net *net = new_net(&every, 2, MS_OPTIMIZER_ADAM);
    make_data(&d, 3);
    d.lengths[60] = STEPS;
    d.id[60][3 * F + 1] = 400;
    refuse_batch(net, &d.batch, "sequence 60: id 400 at 3 is outside feature table 1 of 400");
    d.id[60][3 * F + 1] = -2;
    refuse_batch(net, &d.batch, "id -2 at 3");
    d.id[60][3 * F + 1] = INT32_MAX;
    refuse_batch(net, &d.batch, "id 2147483647");
    d.id[60][3 * F + 1] = -1;
    d.wide[8].count = 3;
    d.wide_id[8][2] = WIDE;
    refuse_batch(net, &d.batch, "sequence 8: sparse id 3000 is outside the wide branch's 3000");
    d.wide_id[8][2] = d.wide_id[8][1];
    refuse_batch(net, &d.batch, "sequence 8: sparse ids do not rise at 2");
    d.wide_id[8][2] = d.wide_id[8][1] + 1;
    d.wide_value[8][1] = (float)NAN;
    refuse_batch(net, &d.batch, "is not finite");
    d.wide_value[8][1] = (float)-INFINITY;
    refuse_batch(net, &d.batch, "is not finite");
    d.wide_value[8][1] = 1;
    d.batch.features = NULL;
    refuse_batch(net, &d.batch, "feature tables");
    d.batch.features = d.features;
    d.batch.wide = NULL;
    refuse_batch(net, &d.batch, "sparse vectors");
    d.batch.wide = d.wide;
    train(net, &d.batch, 1);
    ms_net_free(net);
}

/* One step of a GRU forward and backward on odd sizes, against the formulas in double. */
static void check_gru_kernels(const struct ms_kernels *k, enum ms_net_activation act)
{
    enum { R = 3, P = 2, H = 19 };
    ms_real gates[R * 3 * H], kept[R * 3 * H], inner[R * 3 * H], product[R * 3 * H], bias[3 * H];
    ms_real before[P * H], zeros[3 * H] = {0}, q[R * H], out[R * H], above[R * H];
    ms_real after[R * H], d_hidden[R * H];
    struct ms_rng rng;
    ms_rng_init(&rng, 1, 2, 3);
    for (size_t i = 0; i < R * 3 * H; i++) {
        gates[i] = kept[i] = (ms_real)(2 * ms_rng_normal(&rng));
        inner[i] = product[i] = i < P * 3 * H ? (ms_real)ms_rng_normal(&rng) : (ms_real)NAN;
        bias[i % (3 * H)] = (ms_real)ms_rng_normal(&rng);
    }
    for (size_t i = 0; i < R * H; i++) {
        above[i] = (ms_real)ms_rng_normal(&rng);
        after[i] = d_hidden[i] = (ms_real)ms_rng_normal(&rng);
        before[i % (P * H)] = (ms_real)ms_rng_normal(&rng);
    }
    struct ms_gru_forward f = {R, P, H, gates, inner, bias, zeros, q, before, out, H};
    k->gru_forward(&f, act);
    struct ms_gru_backward b = {R, P, H, gates, q, inner, zeros, before, above, H, H, d_hidden};
    k->gru_backward(&b, act);
    for (size_t r = 0; r < R; r++)
        for (size_t j = 0; j < H; j++) {
            const size_t at = r * H + j, g = r * 3 * H + j;
            double in[3], dz, dr, dn;
            for (size_t i = 0; i < 3; i++)
                in[i] = (r < P ? (double)product[g + i * H] : 0) + (double)bias[i * H + j];
            double z = 1 / (1 + exp(-((double)kept[g] + in[0])));
            double s = 1 / (1 + exp(-((double)kept[g + H] + in[1])));
            double x = (double)kept[g + 2 * H] + s * in[2];
            double n = act == MS_NET_TANH ? tanh(x) : x / (1 + fabs(x));
            double slope = act == MS_NET_TANH ? 1 - n * n : pow(1 + fabs(x), -2);
            double old = r < P ? (double)before[at] : 0;
            double dh = (double)above[at] + (double)after[at];
            dn = dh * (1 - z) * slope;
            dz = dh * (old - n) * z * (1 - z);
            dr = dn * in[2] * s * (1 - s);
            assert_true(fabs((double)out[at] - ((1 - z) * n + z * old)) < 2e-6);
            assert_true(fabs((double)gates[g] - dz) < 1e-5 && inner[g] == gates[g]);
            assert_true(fabs((double)gates[g + H] - dr) < 1e-5 && inner[g + H] == gates[g + H]);
            assert_true(fabs((double)gates[g + 2 * H] - dn) < 1e-5);
            assert_true(fabs((double)inner[g + 2 * H] - dn * s) < 1e-5);
            assert_true(fabs((double)d_hidden[at] - dh * z) < 1e-5);
        }
}

/* Every set this processor can run. */
static void test_kernels(void **state)
{
    (void)state;
    enum { N = 37, TABLE = 50, COUNT = 23 };
    static ms_real table[TABLE * N];
    ms_real x[N], y[N], sum[N], a[COUNT];
    uint32_t ids[COUNT];
    for (size_t set = 0; ms_kernels_at(set); set++) {
        const struct ms_kernels *k = ms_kernels_at(set);
        check_gru_kernels(k, MS_NET_TANH);
        check_gru_kernels(k, MS_NET_SOFTSIGN);
        for (size_t i = 0; i < TABLE * N; i++)
            table[i] = (ms_real)(i * 37 % 101) - 50;
        double dot = 0;
        for (size_t i = 0; i < N; i++) {
            x[i] = (ms_real)i - 7;
            y[i] = sum[i] = (ms_real)(i * i);
            dot += (double)x[i] * (double)y[i];
        }
        assert_true((double)k->dot(N, x, y) == dot); /* whole numbers: exact in any order */
        for (size_t i = 0; i < COUNT; i++) {
            ids[i] = (uint32_t)(i * 2);
            a[i] = (ms_real)i - 3;
        }
        k->gather_add(COUNT, ids, a, N, table, sum);
        for (size_t i = 0; i < COUNT; i++)
            k->scale_add(N, a[i], table + ids[i] * N, y);
        for (size_t i = 0; i < N; i++) {
            double want = (double)(i * i);
            for (size_t c = 0; c < COUNT; c++)
                want += (double)a[c] * (double)table[ids[c] * N + i];
            assert_true((double)sum[i] == want && (double)y[i] == want);
        }
    }
}

/* The mean of all states, and the exponential average, against sums in double; judged and given
 * back. */
static void check_average(double decay)
{
    enum { STATES = 7 };
    static struct data d;
    struct ms_error err;
    struct ms_net_average *average = NULL;
    struct ms_net *net = new_net(&every, 2, MS_OPTIMIZER_ADAM);
    const size_t n = ms_net_param_count(net);
    double *want = calloc(n, sizeof *want);
    ms_real *own = malloc(n * sizeof *own);
    assert_true(want && own);
    make_data(&d, 5);
    assert_int_equal(ms_net_average_new(net, decay, &average, &err), MS_OK);
    assert_int_equal(ms_net_average_exchange(average, net, &err), MS_E_INPUT);
    for (int s = 1; s <= STATES; s++) {
        train(net, &d.batch, 1);
        assert_int_equal(ms_net_average_add(average, net, &err), MS_OK);
        const double weight = fmax(1 - decay, 1.0 / s);
        for (size_t i = 0; i < n; i++)
            want[i] += weight * ((double)ms_net_params(net)[i] - want[i]);
    }
    assert_true(ms_net_average_states(average) == STATES);
    memcpy(own, ms_net_params(net), n * sizeof *own);
    assert_int_equal(ms_net_average_exchange(average, net, &err), MS_OK);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs((double)ms_net_params(net)[i] - want[i]) < 1e-6);
    if (decay > 0) /* at 0 the average is the last state */
        assert_memory_not_equal(own, ms_net_params(net), n * sizeof *own);
    assert_int_equal(ms_net_average_add(average, net, &err), MS_E_INPUT);
    assert_int_equal(ms_net_average_exchange(average, net, &err), MS_OK);
    assert_memory_equal(own, ms_net_params(net), n * sizeof *own);
    assert_int_equal(ms_net_average_exchange(average, net, &err), MS_OK);
    ms_net_average_free(average); /* the net keeps the average */
    for (size_t i = 0; i < n; i++)
        assert_true(fabs((double)ms_net_params(net)[i] - want[i]) < 1e-6);
    ms_net_free(net);
    free(want);
    free(own);
}

static void test_averages(void **state)
{
    (void)state;
    struct ms_error err;
    struct ms_net_average *average = NULL;
    struct ms_net_config small = every;
    check_average(1);
    check_average(.6);
    check_average(0);
    struct ms_net *net = new_net(&every, 1, MS_OPTIMIZER_ADAM);
    small.attention = 2;
    struct ms_net *other = new_net(&small, 1, MS_OPTIMIZER_ADAM);
    assert_int_equal(ms_net_average_new(net, (double)NAN, &average, &err), MS_E_INPUT);
    assert_int_equal(ms_net_average_new(net, 1.1, &average, &err), MS_E_INPUT);
    assert_int_equal(ms_net_average_new(net, .9, &average, &err), MS_OK);
    assert_int_equal(ms_net_average_add(average, other, &err), MS_E_INPUT);
    assert_int_equal(ms_net_average_add(average, net, &err), MS_OK);
    assert_int_equal(ms_net_average_exchange(average, other, &err), MS_E_INPUT);
    ms_net_free(net);
    ms_net_free(other);
    ms_net_average_free(average);
}

/* Products by OpenBLAS, as train has them: test_nn has the net's own. */
int main(void)
{
    ms_openblas_use();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_change_no_bit), cmocka_unit_test(test_gradient_rows),
        cmocka_unit_test(test_initial_weights),    cmocka_unit_test(test_inputs_are_learnt),
        cmocka_unit_test(test_bad_configs),        cmocka_unit_test(test_padding_has_no_features),
        cmocka_unit_test(test_bad_batches),        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_averages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
