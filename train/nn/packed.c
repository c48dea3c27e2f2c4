/* Packing, and the packed products for each instruction set; the loops are in packed_tile.h. */
#include "train/nn/packed.h"
#include "train/nn/cpu.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define STRING2(x) #x
#define STRING(x) STRING2(x)
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { AHEAD_EVERY = 32, LINE_BYTES = 64 }; /* terms of a sum between two requests */

/* What the tiles of a product share. */
struct factors {
    size_t n, k, row_step, k_step, panel_step, ldc;
    int beta;
    struct ms_packed_ahead *ahead;
};

INLINE void go_ahead(struct ms_packed_ahead *ahead)
{
    for (size_t i = 0; i < ahead->share && ahead->range < ahead->ranges; i++) {
        __builtin_prefetch(ahead->at[ahead->range], 0, 2);
        ahead->at[ahead->range] += LINE_BYTES;
        if (ahead->lines[ahead->range]-- == 1)
            ahead->range++;
    }
}

#define SUFFIX portable
#define TARGET PORTABLE_TARGET
#define VECTOR_BYTES 16
#define ROWS 4
#include "train/nn/packed_tile.h"

#if defined(__x86_64__)
#define SUFFIX avx2
#define TARGET AVX2_TARGET
#define VECTOR_BYTES 32
#define ROWS 4
#include "train/nn/packed_tile.h"

#define SUFFIX avx512
#define TARGET AVX512_TARGET
#define VECTOR_BYTES 64
#define ROWS 8
#include "train/nn/packed_tile.h"
#endif

static const struct ms_packed_kernels *const sets[MS_CPU_SETS] = {
    [MS_CPU_PORTABLE] = &kernels_portable,
#if defined(__x86_64__)
    [MS_CPU_AVX2] = &kernels_avx2,
    [MS_CPU_AVX512] = &kernels_avx512,
#endif
};

const struct ms_packed_kernels *ms_packed_at(size_t index)
{
    const enum ms_cpu_set set = ms_cpu_set_at(index);
    return set == MS_CPU_SETS ? NULL : sets[set];
}

const struct ms_packed_kernels *ms_packed_get(void)
{
    return ms_packed_at(0);
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

size_t ms_packed_right_size(size_t n, size_t k)
{
    return round_up(n, MS_PACKED_PANEL) * k;
}

size_t ms_packed_left_size(size_t m, size_t k)
{
    return round_up(m, MS_PACKED_STRIP) * k;
}

/* Columns [0, n) of `count` rows, `width` of them together, zeros behind the last. A whole group is
 * copied with its size known to the compiler: it is a load and a store. */
INLINE void pack(const size_t width, size_t n, size_t capacity, size_t at, size_t count,
                 const ms_real *restrict from, size_t stride, ms_real *restrict out)
{
    size_t j = 0;
    for (; j + width <= n; j += width) {
        ms_real *to = out + j * capacity + at * width;
        for (size_t i = 0; i < count; i++)
            memcpy(to + i * width, from + i * stride + j, width * sizeof *to);
    }
    for (size_t i = 0; j < n && i < count; i++) {
        ms_real *to = out + j * capacity + (at + i) * width;
        memcpy(to, from + i * stride + j, (n - j) * sizeof *to);
        memset(to + (n - j), 0, (width - (n - j)) * sizeof *to);
    }
}

void ms_packed_right(size_t n, size_t k, const ms_real *b, size_t ldb, ms_real *out)
{
    pack(MS_PACKED_PANEL, n, k, 0, k, b, ldb, out);
}

void ms_packed_right_rows(size_t n, size_t capacity, size_t at, size_t count, const ms_real *b,
                          size_t ldb, ms_real *out)
{
    pack(MS_PACKED_PANEL, n, capacity, at, count, b, ldb, out);
}

void ms_packed_left_rows(size_t m, size_t capacity, size_t at, size_t count, const ms_real *a,
                         size_t lda, ms_real *out)
{
    pack(MS_PACKED_STRIP, m, capacity, at, count, a, lda, out);
}

void ms_packed_right_transposed(size_t n, size_t k, const ms_real *b, size_t ldb, ms_real *out)
{
    for (size_t j = 0; j < round_up(n, MS_PACKED_PANEL); j++) {
        ms_real *to = out + j / MS_PACKED_PANEL * MS_PACKED_PANEL * k + j % MS_PACKED_PANEL;
        for (size_t i = 0; i < k; i++)
            to[i * MS_PACKED_PANEL] = j < n ? b[j * ldb + i] : 0;
    }
}

void ms_packed_sum_flush(struct ms_packed_sum *self)
{
    if (self->used)
        self->kernels->product_ta(self->m, self->n, self->used, self->capacity, self->left,
                                  self->right, self->c, self->n);
    self->used = 0;
}

void ms_packed_sum_add(struct ms_packed_sum *self, size_t rows, const ms_real *a, size_t lda,
                       const ms_real *b, size_t ldb)
{
    while (rows > 0) {
        const size_t room = self->capacity - self->used;
        const size_t count = rows < room ? rows : room;
        ms_packed_left_rows(self->m, self->capacity, self->used, count, a, lda, self->left);
        ms_packed_right_rows(self->n, self->capacity, self->used, count, b, ldb, self->right);
        self->used += count;
        if (self->used == self->capacity)
            ms_packed_sum_flush(self);
        a += count * lda;
        b += count * ldb;
        rows -= count;
    }
}

void ms_packed_ahead_add(struct ms_packed_ahead *self, const void *at, size_t bytes)
{
    if (bytes == 0 || self->ranges == MS_PACKED_RANGES)
        return;
    self->at[self->ranges] = at;
    self->lines[self->ranges] = (bytes + LINE_BYTES - 1) / LINE_BYTES;
    self->total += self->lines[self->ranges++];
}

void ms_packed_ahead_plan(struct ms_packed_ahead *self, size_t m, size_t n, size_t k)
{
    const size_t tiles =
        (m + MS_PACKED_STRIP - 1) / MS_PACKED_STRIP * ((n + MS_PACKED_PANEL - 1) / MS_PACKED_PANEL);
    const size_t requests = tiles * ((k + AHEAD_EVERY - 1) / AHEAD_EVERY);
    self->share = requests ? (self->total + requests - 1) / requests : 0;
}
