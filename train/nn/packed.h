/* Small matrix products by kernels of our own, for a factor that is used many times: it is packed
 * once, the products read it straight through. A recurrent step multiplies 8 to 16 rows with the
 * same matrix again and again; a general BLAS packs, or reads across the lines, every time. No
 * threads, no memory.
 *
 * The terms of an element are added in the order of k, whatever the number of rows and the
 * processor's vectors: a row's result does not depend on the rows beside it. */
#ifndef MS_TRAIN_NN_PACKED_H
#define MS_TRAIN_NN_PACKED_H

#include "train/nn/real.h"

#include <stddef.h>

enum {
    MS_PACKED_PANEL = 32, /* columns of a packed right factor that lie together */
    MS_PACKED_STRIP = 8   /* columns of a packed left factor that lie together */
};

/* Memory that will be read soon, for a product to ask for while it computes: a long pass over
 * memory that left the cache otherwise waits for each line. */
enum { MS_PACKED_RANGES = 5 };
struct ms_packed_ahead {
    const char *at[MS_PACKED_RANGES];
    size_t lines[MS_PACKED_RANGES];
    size_t range, ranges, total;
    size_t share; /* lines a request */
};
/* On a zeroed struct, up to MS_PACKED_RANGES times; then, once, for a product of these sizes. */
void ms_packed_ahead_add(struct ms_packed_ahead *self, const void *at, size_t bytes);
void ms_packed_ahead_plan(struct ms_packed_ahead *self, size_t m, size_t n, size_t k);

/* C = S + A B. A m x k, C m x n, both row-major. */
struct ms_product {
    size_t m, n, k;
    const ms_real *a;
    size_t lda;
    const ms_real *b;            /* by ms_packed_right */
    const ms_real *const *start; /* the m rows of S, n elements each; NULL: S is beta C */
    int beta;                    /* 0 or 1 */
    ms_real *c;
    size_t ldc;
    struct ms_packed_ahead *ahead; /* NULL: nothing */
};

struct ms_packed_kernels {
    const char *name; /* "avx512", "avx2" or "portable" */
    void (*product)(const struct ms_product *x);
    /* C += A^T B over `used` of the `capacity` rows of A (k x m, by ms_packed_left) and B (k x n,
     * by ms_packed_right_rows). */
    void (*product_ta)(size_t m, size_t n, size_t used, size_t capacity, const ms_real *a,
                       const ms_real *b, ms_real *c, size_t ldc);
};

/* The best set for this processor. */
const struct ms_packed_kernels *ms_packed_get(void);

/* Set number `index` of those this processor can run, best first; NULL behind the last. For tests.
 */
const struct ms_packed_kernels *ms_packed_at(size_t index);

/* Elements of a packed right factor of k rows and n columns, and of a left one of k rows and m. */
size_t ms_packed_right_size(size_t n, size_t k);
size_t ms_packed_left_size(size_t m, size_t k);

/* B (k x n, row-major) by panels of columns, the last one filled up with zeros: [n/32][k][32]. */
void ms_packed_right(size_t n, size_t k, const ms_real *b, size_t ldb, ms_real *out);
/* The same from B transposed (n x k, row-major). */
void ms_packed_right_transposed(size_t n, size_t k, const ms_real *b, size_t ldb, ms_real *out);
/* Rows [at, at + count) of a factor that fills up; capacity: its k. */
void ms_packed_right_rows(size_t n, size_t capacity, size_t at, size_t count, const ms_real *b,
                          size_t ldb, ms_real *out);
/* Rows [at, at + count) of a left factor: [m/8][capacity][8]. */
void ms_packed_left_rows(size_t m, size_t capacity, size_t at, size_t count, const ms_real *a,
                         size_t lda, ms_real *out);

/* The running sum C += A^T B over rows that come a few at a time: they are packed into a chunk that
 * stays in the cache, and multiplied when it is full. */
struct ms_packed_sum {
    const struct ms_packed_kernels *kernels;
    size_t m, n, capacity, used;
    ms_real *left, *right; /* ms_packed_left_size(m, capacity), ms_packed_right_size(n, capacity) */
    ms_real *c;            /* m x n, rows n apart */
};
void ms_packed_sum_add(struct ms_packed_sum *self, size_t rows, const ms_real *a, size_t lda,
                       const ms_real *b, size_t ldb);
/* Adds what is left in the chunk. */
void ms_packed_sum_flush(struct ms_packed_sum *self);

#endif
