/* Matrix products: by a BLAS that a program has brought along, else by the kernels of packed.h. No
 * library is called here. */
#include "train/nn/blas.h"

#include "train/nn/private.h"

#include <string.h>

/* Of a factor that is packed or turned on the stack. */
enum { PART_TERMS = 256, PART_ROWS = 32 };

static const struct ms_blas *blas; /* set before any thread starts */

void ms_blas_use(const struct ms_blas *self)
{
    blas = self;
}

const char *ms_blas_core(void)
{
    return blas ? blas->core() : "own products";
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* C = A B + beta C, A m x k. B is k x n, or stored n x k. A panel of columns after the other, a
 * part of the terms after the other: each element's terms are added in the order of k. */
static void product(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
                    size_t ldb, bool b_stored_across, ms_real beta, ms_real *c, size_t ldc)
{
    const struct ms_packed_kernels *kernels = ms_packed_get();
    ms_real panel[MS_PACKED_PANEL * PART_TERMS];
    for (size_t j = 0; j < n; j += MS_PACKED_PANEL) {
        const size_t columns = least(n - j, MS_PACKED_PANEL);
        size_t from = 0;
        do { /* once without terms too: C = beta C */
            const size_t terms = least(k - from, PART_TERMS);
            if (b_stored_across)
                ms_packed_right_transposed(columns, terms, b + j * ldb + from, ldb, panel);
            else
                ms_packed_right(columns, terms, b + from * ldb + j, ldb, panel);
            const struct ms_product part = {.m = m,
                                            .n = columns,
                                            .k = terms,
                                            .a = a + from,
                                            .lda = lda,
                                            .b = panel,
                                            .beta = from > 0 || beta != 0,
                                            .c = c + j,
                                            .ldc = ldc};
            kernels->product(&part);
            from += terms;
        } while (from < k);
    }
}

void ms_gemm(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
             size_t ldb, ms_real beta, ms_real *c, size_t ldc)
{
    if (m == 0 || n == 0)
        return;
    if (blas)
        blas->gemm(false, false, m, n, k, a, lda, b, ldb, beta, c, ldc);
    else
        product(m, n, k, a, lda, b, ldb, false, beta, c, ldc);
}

void ms_gemm_tb(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
                size_t ldb, ms_real beta, ms_real *c, size_t ldc)
{
    if (m == 0 || n == 0)
        return;
    if (blas)
        blas->gemm(false, true, m, n, k, a, lda, b, ldb, beta, c, ldc);
    else
        product(m, n, k, a, lda, b, ldb, true, beta, c, ldc);
}

/* A part of A is turned at a time. */
void ms_gemm_ta(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
                size_t ldb, ms_real beta, ms_real *c, size_t ldc)
{
    ms_real part[PART_ROWS * PART_TERMS];
    if (m == 0 || n == 0)
        return;
    if (blas) {
        blas->gemm(true, false, m, n, k, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    for (size_t i = 0; i < m; i += PART_ROWS) {
        const size_t rows = least(m - i, PART_ROWS);
        size_t from = 0;
        do {
            const size_t terms = least(k - from, PART_TERMS);
            for (size_t t = 0; t < terms; t++)
                for (size_t r = 0; r < rows; r++)
                    part[r * PART_TERMS + t] = a[(from + t) * lda + i + r];
            product(rows, n, terms, part, PART_TERMS, b + from * ldb, ldb, false,
                    from > 0 ? 1 : beta, c + i * ldc, ldc);
            from += terms;
        } while (from < k);
    }
}
