/* Packed products against the definition, for every instruction set of this processor and shapes
 * around the panels' borders. */
#include "train/nn/packed.h"

#include "base/rng.h"
#include "train/nn/blas.h"
#include "train/nn/private.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_M = 19, MOST_N = 70, MOST_K = 40, SPARE = 3 };

static struct ms_rng rng;

static void draw(size_t n, ms_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (ms_real)(ms_rng_unit(&rng) * 2 - 1);
}

/* want = sum over k of A(r, i) B(i, j) */
static void check(size_t m, size_t n, size_t k, const ms_real *a, const ms_real *b,
                  const ms_real *start, const ms_real *c)
{
    for (size_t r = 0; r < m; r++)
        for (size_t j = 0; j < n; j++) {
            double want = start ? (double)start[r * n + j] : 0;
            for (size_t i = 0; i < k; i++)
                want += (double)a[r * k + i] * (double)b[i * n + j];
            assert_true(fabs(want - (double)c[r * n + j]) < 1e-5);
        }
    assert_true(c[m * n] == 7); /* nothing behind the end is written */
}

/* From rows elsewhere, in any order, with something to ask for meanwhile. */
static void check_start(const struct ms_packed_kernels *kernels, size_t m, size_t n, size_t k,
                        const ms_real *a, const ms_real *b, const ms_real *start, ms_real *right,
                        ms_real *c)
{
    static ms_real turned[MOST_M * MOST_N];
    const ms_real *rows[MOST_M];
    struct ms_packed_ahead ahead = {0};
    for (size_t r = 0; r < m; r++) {
        rows[r] = turned + (m - 1 - r) * n;
        memcpy(turned + (m - 1 - r) * n, start + r * n, n * sizeof *turned);
    }
    memset(c, 0, m * n * sizeof *c);
    ms_packed_right(n, k, b, n, right);
    ms_packed_ahead_add(&ahead, a, m * k * sizeof *a);
    ms_packed_ahead_add(&ahead, b, k * n * sizeof *b);
    ms_packed_ahead_plan(&ahead, m, n, k);
    const struct ms_product x = {.m = m,
                                 .n = n,
                                 .k = k,
                                 .a = a,
                                 .lda = k,
                                 .b = right,
                                 .start = rows,
                                 .c = c,
                                 .ldc = n,
                                 .ahead = &ahead};
    kernels->product(&x);
    check(m, n, k, a, b, start, c);
}

static void check_shape(const struct ms_packed_kernels *kernels, size_t m, size_t n, size_t k)
{
    static ms_real a[MOST_M * MOST_K], at[MOST_M * MOST_K], b[MOST_K * MOST_N], bt[MOST_K * MOST_N];
    static ms_real start[MOST_M * MOST_N], c[MOST_M * MOST_N + 1];
    ms_real *right = malloc(ms_packed_right_size(n, k + SPARE) * sizeof *right);
    ms_real *left = malloc(ms_packed_left_size(m, k + SPARE) * sizeof *left);
    assert_non_null(right);
    assert_non_null(left);
    draw(m * k, a);
    draw(k * n, b);
    draw(m * n, start);
    for (size_t i = 0; i < k; i++) {
        for (size_t r = 0; r < m; r++)
            at[i * m + r] = a[r * k + i];
        for (size_t j = 0; j < n; j++)
            bt[j * k + i] = b[i * n + j];
    }
    for (int beta = 0; beta < 2; beta++) {
        c[m * n] = 7;
        memcpy(c, start, m * n * sizeof *c);
        if (beta)
            ms_packed_right(n, k, b, n, right);
        else
            ms_packed_right_transposed(n, k, bt, k, right);
        const struct ms_product x = {
            .m = m, .n = n, .k = k, .a = a, .lda = k, .b = right, .beta = beta, .c = c, .ldc = n};
        kernels->product(&x);
        check(m, n, k, a, b, beta ? start : NULL, c);
    }
    check_start(kernels, m, n, k, a, b, start, right, c);
    memcpy(c, start, m * n * sizeof *c);
    struct ms_packed_sum sum = {kernels, m, n, SPARE, 0, left, right, c};
    ms_packed_sum_add(&sum, k / 2, at, m, b, n);
    ms_packed_sum_add(&sum, k - k / 2, at + k / 2 * m, m, b + k / 2 * n, n);
    ms_packed_sum_flush(&sum);
    check(m, n, k, a, b, start, c);
    free(left);
    free(right);
}

static void test_shapes(void **state)
{
    static const size_t columns[] = {1, 8, 31, 32, 33, 64, MOST_N};
    static const size_t depths[] = {1, 7, MOST_K};
    (void)state;
    ms_rng_init(&rng, 1, 2, 3);
    for (size_t set = 0; ms_packed_at(set); set++)
        for (size_t m = 1; m <= MOST_M; m++)
            for (size_t j = 0; j < sizeof columns / sizeof columns[0]; j++)
                for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++)
                    check_shape(ms_packed_at(set), m, columns[j], depths[i]);
}

/* A row's result does not depend on how many rows are beside it. */
static void test_rows_alone(void **state)
{
    static ms_real a[MOST_M * MOST_K], b[MOST_K * MOST_N], together[MOST_M * MOST_N], alone[MOST_N];
    ms_real *right = malloc(ms_packed_right_size(MOST_N, MOST_K) * sizeof *right);
    (void)state;
    assert_non_null(right);
    ms_rng_init(&rng, 4, 5, 6);
    draw(MOST_M * MOST_K, a);
    draw(MOST_K * MOST_N, b);
    ms_packed_right(MOST_N, MOST_K, b, MOST_N, right);
    const struct ms_packed_kernels *kernels = ms_packed_get();
    struct ms_product x = {.m = MOST_M,
                           .n = MOST_N,
                           .k = MOST_K,
                           .a = a,
                           .lda = MOST_K,
                           .b = right,
                           .c = together,
                           .ldc = MOST_N};
    kernels->product(&x);
    x.m = 1;
    x.c = alone;
    for (size_t r = 0; r < MOST_M; r++) {
        x.a = a + r * MOST_K;
        kernels->product(&x);
        assert_memory_equal(alone, together + r * MOST_N, sizeof alone);
    }
    free(right);
}

/* A net's own products against OpenBLAS's, over the borders of their parts. */
static void test_against_blas(void **state)
{
    enum { M = 37, N = 71, K = 300 };
    static ms_real a[M * K], b[K * N], own[M * N], blas[M * N];
    static const size_t sizes[][3] = {{M, N, K}, {1, 8, K}, {M, 32, 256}, {33, 5, 257}, {3, N, 0}};
    (void)state;
    ms_rng_init(&rng, 7, 8, 9);
    draw(M * K, a);
    draw(K * N, b);
    for (size_t i = 0; i < 6 * sizeof sizes / sizeof *sizes; i++) {
        const size_t m = sizes[i / 6][0], n = sizes[i / 6][1], k = sizes[i / 6][2], form = i % 3;
        const ms_real beta = (ms_real)(i / 3 % 2);
        for (size_t side = 0; side < 2; side++) {
            ms_real *c = side ? blas : own;
            for (size_t x = 0; x < M * N; x++)
                c[x] = (ms_real)(x % 5);
            if (side)
                ms_openblas_use();
            if (form == 0)
                ms_gemm(m, n, k, a, K, b, N, beta, c, N);
            else if (form == 1)
                ms_gemm_ta(m, n, k, a, M, b, N, beta, c, N);
            else
                ms_gemm_tb(m, n, k, a, K, b, K, beta, c, N);
            ms_blas_use(NULL);
        }
        for (size_t x = 0; x < M * N; x++)
            assert_true(fabs((double)own[x] - (double)blas[x]) < 1e-3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes),
                                       cmocka_unit_test(test_against_blas),
                                       cmocka_unit_test(test_rows_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
