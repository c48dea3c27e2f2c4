/* OpenBLAS on one thread as a net's BLAS; no other call of it is made for nets. */
#include "train/nn/blas.h"

#include <cblas.h>

#ifdef MS_REAL_DOUBLE
#define GEMM cblas_dgemm
#else
#define GEMM cblas_sgemm
#endif

/* Sizes fit an int: widths are under 5 * MS_LIMIT_NET_WIDTH, rows under MS_PASS_STEPS +
 * MS_LIMIT_NET_STEPS. */
static void gemm(bool ta, bool tb, size_t m, size_t n, size_t k, const ms_real *a, size_t lda,
                 const ms_real *b, size_t ldb, ms_real beta, ms_real *c, size_t ldc)
{
    GEMM(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (blasint)m,
         (blasint)n, (blasint)k, 1, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

static const char *core(void)
{
    return openblas_get_corename();
}

void ms_openblas_use(void)
{
    static const struct ms_blas self = {gemm, core};
    openblas_set_num_threads(1);
    ms_blas_use(&self);
}
