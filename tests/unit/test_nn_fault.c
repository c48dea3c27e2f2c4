/* Every allocation of the net fails once, from its making to a prediction: each failure is
 * reported, nothing is lost or leaked into the parameters, and the net works again afterwards. The
 * allocator is replaced, so not under ASan. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/failing_allocator.h"
#include "train/nn/net.h"

/* How dense the failing allocations lie: k, k + 1 + k / DENSE, …; where each takes a second, fewer
 * of the late ones, and every one where it does not. More than RETRIES of them are mended. */
#ifdef MS_SLOW
enum { DENSE = 6, RETRIES = 5 };
#else
enum { DENSE = 1000, RETRIES = 10 };
#endif

/* Long sequences of wide layers, so that a pass needs more than one block of scratch. */
static const struct ms_net_config config = {
    .vocabulary = 30,
    .embedding = 24,
    .embedding_scale = .1,
    .feature_count = 2,
    .feature = {{9, .1}, {40, .1}},
    .spatial_dropout = .1,
    .recurrent_count = 2,
    .recurrent = {{48, MS_NET_TANH, .1, .1, true, MS_NET_LSTM},
                  {32, MS_NET_SOFTSIGN, .1, .1, false, MS_NET_GRU}},
    .mask_padding = true,
    .pooling = MS_NET_POOL_ATTENTION,
    .attention = 16,
    .pool_dropout = .1,
    .wide = {500, 8, MS_NET_TANH, .1, .1},
    .dense_count = 1,
    .dense = {{16, MS_NET_TANH, .1}},
    .outputs = 3,
    .head = MS_NET_HEAD_SOFTMAX,
};

enum { ROWS = 24, STEPS = 80 };

struct run {
    int32_t token[ROWS][STEPS];
    const int32_t *rows[ROWS];
    uint32_t lengths[ROWS];
    int32_t labels[ROWS];
    int32_t id[ROWS][STEPS * 2];
    const int32_t *features[ROWS];
    uint32_t wide_id[ROWS][20];
    float wide_value[ROWS][20];
    struct ms_net_sparse wide[ROWS];
    struct ms_net_batch batch;
    ms_real outputs[ROWS * 3];
};

static void fill(struct run *r)
{
    for (int i = 0; i < ROWS; i++) {
        r->rows[i] = r->token[i];
        r->lengths[i] = STEPS - (uint32_t)i;
        r->labels[i] = i % 3;
        r->features[i] = r->id[i];
        r->wide[i] = (struct ms_net_sparse){r->wide_id[i], r->wide_value[i], 20};
        for (int t = 0; t < STEPS; t++) {
            r->token[i][t] = (i * 7 + t * 3) % 30;
            r->id[i][t * 2] = t % 9;
            r->id[i][t * 2 + 1] = (i + t) % 41 - 1;
        }
        for (int k = 0; k < 20; k++) {
            r->wide_id[i][k] = (uint32_t)(k * 20 + i % 20);
            r->wide_value[i][k] = 1;
        }
    }
    r->batch = (struct ms_net_batch){.rows = ROWS,
                                     .tokens = r->rows,
                                     .lengths = r->lengths,
                                     .labels = r->labels,
                                     .features = r->features,
                                     .wide = r->wide};
}

/* Makes, trains two steps, makes an average, predicts; a step that failed for want of memory is
 * tried again once, without failures. */
static enum ms_status whole_life(struct run *r, unsigned jobs, struct ms_error *err)
{
    struct ms_net *net = NULL;
    struct ms_optimizer o;
    struct ms_net_result result;
    struct ms_net_average *average = NULL;
    enum ms_status first = MS_OK;
    ms_optimizer_defaults(MS_OPTIMIZER_ADAMW, &o);
    enum ms_status status = ms_net_new(&config, 1, jobs, &net, err);
    if (status != MS_OK)
        return status;
    for (int step = 0; step < 5; step++) {
        for (int attempt = 0; attempt < 2; attempt++) {
            if (step == 0)
                status = ms_net_set_optimizer(net, &o, err);
            else if (step < 3)
                status = ms_net_train_batch(net, &r->batch, .01, &result, err);
            else if (step == 3)
                status = ms_net_average_new(net, .9, &average, err);
            else
                status = ms_net_predict(net, &r->batch, r->outputs, err);
            if (status == MS_OK)
                break;
            assert_int_equal(attempt, 0);
            first = status;
        }
    }
    ms_net_average_free(average);
    ms_net_free(net);
    return first;
}

static void test_every_allocation(void **state)
{
    (void)state;
    if (!REPLACED) {
        printf("skipped: the allocator cannot be replaced in this build\n");
        return;
    }
    static struct run good, bad;
    fill(&good);
    fill(&bad);
    for (unsigned jobs = 1; jobs <= 2; jobs++) {
        struct ms_error err;
        assert_int_equal(whole_life(&good, jobs, &err), MS_OK);
        int hits = 0;
        for (long k = 0;; k += 1 + k / DENSE) {
            atomic_store(&failed, 0);
            atomic_store(&countdown, k);
            memset(bad.outputs, 0, sizeof bad.outputs);
            enum ms_status status = whole_life(&bad, jobs, &err);
            atomic_store(&countdown, -1);
            if (atomic_load(&failed) == 0)
                break;
            hits++;
            assert_true(status == MS_E_NOMEM || status == MS_E_IO || status == MS_OK);
            if (status == MS_OK) /* an allocation of libc or BLAS with a second way */
                assert_memory_equal(good.outputs, bad.outputs, sizeof good.outputs);
            assert_true(k < 1000);
        }
        printf("jobs %u: %d allocations failed in turn\n", jobs, hits);
        assert_true(hits > 15);
    }
}

/* What a failure inside a step leaves behind must not show in the numbers. */
static void test_retry_gives_the_same_numbers(void **state)
{
    (void)state;
    if (!REPLACED) {
        printf("skipped: the allocator cannot be replaced in this build\n");
        return;
    }
    static struct run good, bad;
    struct ms_error err;
    int retried = 0;
    fill(&good);
    fill(&bad);
    assert_int_equal(whole_life(&good, 1, &err), MS_OK);
    for (long k = 0; k < 1000; k += 1 + k / DENSE) {
        atomic_store(&failed, 0);
        atomic_store(&countdown, k);
        memset(bad.outputs, 0, sizeof bad.outputs);
        enum ms_status status = whole_life(&bad, 1, &err);
        atomic_store(&countdown, -1);
        if (atomic_load(&failed) == 0)
            break;
        if (status == MS_OK || bad.outputs[0] == 0)
            continue;
        assert_memory_equal(good.outputs, bad.outputs, sizeof good.outputs);
        retried++;
    }
    assert_true(retried > RETRIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation),
        cmocka_unit_test(test_retry_gives_the_same_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
