/* The BLAS that a program may bring along for a net's large products. Without one, nets compute
 * with kernels of their own: what only predicts starts sooner without a BLAS than it computes
 * faster with one. Sums are rounded otherwise then, so one program keeps to one of the two. */
#ifndef MS_TRAIN_NN_BLAS_H
#define MS_TRAIN_NN_BLAS_H

#include "train/nn/real.h"

#include <stdbool.h>
#include <stddef.h>

struct ms_blas {
    /* C = A B + beta C, row-major, on the calling thread alone. A is m x k and B is k x n, or with
     * ta (tb) stored the other way round; m and n are over 0, beta is 0 or 1. */
    void (*gemm)(bool ta, bool tb, size_t m, size_t n, size_t k, const ms_real *a, size_t lda,
                 const ms_real *b, size_t ldb, ms_real beta, ms_real *c, size_t ldc);
    const char *(*core)(void); /* which kernels it has chosen; static */
};

/* For the whole process, before the first net: static, or NULL for none. */
void ms_blas_use(const struct ms_blas *self);

/* That BLAS is OpenBLAS: in a library of its own, ms_openblas. */
void ms_openblas_use(void);

#endif
