/* The net in double against numbers made with PyTorch: outputs, loss, every gradient, and
 * parameters after ten steps of each optimiser, element by element. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/nn_vectors.h"
#include "train/nn/blas.h"

#define BOUND 1e-9

/* Element by element, absolute where the reference is below 1. */
static void assert_close(const char *name, const char *what, const ms_real *ours, size_t count)
{
    size_t n;
    double worst = 0;
    double *theirs = vector_get(name, what, &n);
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs(ours[i] - theirs[i]) / fmax(1, fabs(theirs[i])));
    printf("%-8s %-8s %4zu elements, largest difference %.1e\n", name, what, n, worst);
    free(theirs);
    assert_true(worst < BOUND);
}

static void test_outputs_and_gradients(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTOR_CASES; i++) {
        const struct vector_case *c = &vector_cases[i];
        struct vector_batch b;
        struct ms_error err;
        struct ms_net_result result;
        ms_real outputs[VECTOR_ROWS_MAX * 4];
        vector_batch_get(c, &b);
        struct ms_net *net = vector_net(c, 1);
        assert_int_equal(ms_net_predict(net, &b.batch, outputs, &err), MS_OK);
        assert_close(c->name, "outputs", outputs, b.batch.rows * c->config.outputs);
        assert_int_equal(ms_net_loss_grad(net, &b.batch, true, 0, &result, &err), MS_OK);
        assert_close(c->name, "loss", &result.loss, 1);
        assert_close(c->name, "grads", ms_net_grads(net), ms_net_param_count(net));
        ms_net_free(net);
    }
}

static void test_optimizer_steps(void **state)
{
    (void)state;
    static const char *const kinds[3] = {"rmsprop", "adam", "adamw"};
    for (size_t i = 0; i < VECTOR_CASES; i++)
        for (int k = 0; k < 3; k++) {
            const struct vector_case *c = &vector_cases[i];
            const struct ms_optimizer o = vector_optimizer(kinds[k]);
            struct vector_batch b;
            struct ms_error err;
            struct ms_net_result result;
            vector_batch_get(c, &b);
            struct ms_net *net = vector_net(c, 1);
            assert_int_equal(ms_net_set_optimizer(net, &o, &err), MS_OK);
            for (int s = 0; s < VECTOR_RATES; s++)
                assert_int_equal(ms_net_train_batch(net, &b.batch, vector_rates[s], &result, &err),
                                 MS_OK);
            assert_close(c->name, kinds[k], ms_net_params(net), ms_net_param_count(net));
            ms_net_free(net);
        }
}

/* Whole vectors as the float test compares them: the shared check must hold here too, far tighter.
 */
static void test_normwise(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTOR_CASES; i++)
        vector_check_case(&vector_cases[i], BOUND);
}

/* Products by OpenBLAS: test64_nn_gradient has the net's own. */
int main(void)
{
    ms_openblas_use();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs_and_gradients),
        cmocka_unit_test(test_optimizer_steps),
        cmocka_unit_test(test_normwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
