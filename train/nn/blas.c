/* Matrix products by OpenBLAS on one thread; no other BLAS call is made anywhere. */
#include "train/nn/private.h"

#include <cblas.h>
#include <pthread.h>

#ifdef MS_REAL_DOUBLE
#define GEMM cblas_dgemm
#else
#define GEMM cblas_sgemm
#endif

static void set_single_thread(void)
{
    openblas_set_num_threads(1);
}

void ms_gemm_single_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_single_thread);
}

const char *ms_blas_core(void)
{
    return openblas_get_corename();
}

/* Sizes fit an int: widths are under 5 * MS_LIMIT_NET_WIDTH, rows under MS_PASS_STEPS +
 * MS_LIMIT_NET_STEPS. */
static void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t m, size_t n, size_t k,
                 const ms_real *a, size_t lda, const ms_real *b, size_t ldb, ms_real beta,
                 ms_real *c, size_t ldc)
{
    if (m == 0 || n == 0)
        return;
    GEMM(CblasRowMajor, ta, tb, (blasint)m, (blasint)n, (blasint)k, 1, a, (blasint)lda, b,
         (blasint)ldb, beta, c, (blasint)ldc);
}

void ms_gemm(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
             size_t ldb, ms_real beta, ms_real *c, size_t ldc)
{
    gemm(CblasNoTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

void ms_gemm_ta(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
                size_t ldb, ms_real beta, ms_real *c, size_t ldc)
{
    gemm(CblasTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

void ms_gemm_tb(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
                size_t ldb, ms_real beta, ms_real *c, size_t ldc)
{
    gemm(CblasNoTrans, CblasTrans, m, n, k, a, lda, b, ldb, beta, c, ldc);
}
