/* Element-wise loops of the wide branch, of attention and of averages: scaled sums of rows,
 * compiled for each instruction set; no layers, no memory. */
#include "train/nn/cpu.h"
#include "train/nn/kernel_math.h"
#include "train/nn/kernel_sets.h"

INLINE void scale_add_body(size_t n, ms_real a, const ms_real *restrict x, ms_real *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

/* The table is larger than the cache and its rows come in no order that the processor could guess.
 */
INLINE void gather_add_body(size_t count, const uint32_t *ids, const ms_real *a, size_t n,
                            const ms_real *table, ms_real *y)
{
    enum { AHEAD = 8, LINE = 64 / sizeof(ms_real) };
    for (size_t k = 0; k < count; k++) {
        if (k + AHEAD < count)
            for (size_t i = 0; i < n; i += LINE)
                __builtin_prefetch(table + ids[k + AHEAD] * n + i);
        scale_add_body(n, a[k], table + ids[k] * n, y);
    }
}

/* Sixteen partial sums in an order that is written down: it is part of the result. */
INLINE ms_real dot_body(size_t n, const ms_real *x, const ms_real *y)
{
    enum { LANES = 16 };
    ms_real s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            s[k] += x[i + k] * y[i + k];
    for (size_t k = 0; i < n; i++, k++)
        s[k] += x[i] * y[i];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++)
            s[k] += s[k + half];
    return s[0];
}

INLINE void approach_body(size_t n, ms_real a, const ms_real *restrict x, ms_real *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * (x[i] - y[i]);
}

#define DEFINE_KERNELS(suffix, target)                                                      \
    target void ms_scale_add_##suffix(size_t n, ms_real a, const ms_real *x, ms_real *y)    \
    {                                                                                       \
        scale_add_body(n, a, x, y);                                                         \
    }                                                                                       \
    target void ms_gather_add_##suffix(size_t count, const uint32_t *ids, const ms_real *a, \
                                       size_t n, const ms_real *table, ms_real *y)          \
    {                                                                                       \
        gather_add_body(count, ids, a, n, table, y);                                        \
    }                                                                                       \
    target ms_real ms_dot_##suffix(size_t n, const ms_real *x, const ms_real *y)            \
    {                                                                                       \
        return dot_body(n, x, y);                                                           \
    }                                                                                       \
    target void ms_approach_##suffix(size_t n, ms_real a, const ms_real *x, ms_real *y)     \
    {                                                                                       \
        approach_body(n, a, x, y);                                                          \
    }

DEFINE_KERNELS(portable, PORTABLE_TARGET)

#if defined(__x86_64__)
DEFINE_KERNELS(avx2, AVX2_TARGET)
DEFINE_KERNELS(avx512, AVX512_TARGET)
#endif
