/* The products of packed.h for one instruction set: included once for each, with SUFFIX (appended
 * to names), TARGET (the attribute), VECTOR_BYTES and ROWS (of a tile) defined; no include guard,
 * no use elsewhere. ROWS tiles of two vectors fill the registers: enough sums in flight to hide the
 * latency of the multiply-add. Fewer rows take more panels at a time for the same reason. */
#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(a) JOIN(a, SUFFIX)
#define VEC NAME(vec)
#define LANES (VECTOR_BYTES / sizeof(ms_real))

enum { NAME(WIDTH) = 2 * LANES, NAME(PARTS) = MS_PACKED_PANEL / (2 * LANES) };

/* Aligned like an element: rows of a caller's matrix start anywhere. */
typedef ms_real VEC __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(ms_real)), may_alias));

/* C (R rows, P panels' columns of two vectors) = beta C + A B. Element (r, i) of A is at r row_step
 * + i k_step. */
TARGET INLINE void NAME(tile)(const size_t R, const size_t P, size_t k, const ms_real *a,
                              size_t row_step, size_t k_step, const ms_real *b, size_t panel_step,
                              int beta, ms_real *c, size_t ldc)
{
    VEC sum[ROWS][2];
    UNROLL
    for (size_t r = 0; r < R; r++)
        UNROLL
    for (size_t p = 0; p < P; p++) {
        const ms_real *from = c + r * ldc + p * MS_PACKED_PANEL;
        sum[r * P + p][0] = beta ? *(const VEC *)from : (VEC){0};
        sum[r * P + p][1] = beta ? *(const VEC *)(from + LANES) : (VEC){0};
    }
    for (size_t i = 0; i < k; i++) {
        UNROLL
        for (size_t p = 0; p < P; p++) {
            const ms_real *row = b + p * panel_step + i * MS_PACKED_PANEL;
            const VEC b0 = *(const VEC *)row;
            const VEC b1 = *(const VEC *)(row + LANES);
            UNROLL
            for (size_t r = 0; r < R; r++) {
                const ms_real x = a[r * row_step + i * k_step];
                sum[r * P + p][0] += b0 * x;
                sum[r * P + p][1] += b1 * x;
            }
        }
    }
    UNROLL
    for (size_t r = 0; r < R; r++)
        UNROLL
    for (size_t p = 0; p < P; p++) {
        ms_real *to = c + r * ldc + p * MS_PACKED_PANEL;
        *(VEC *)to = sum[r * P + p][0];
        *(VEC *)(to + LANES) = sum[r * P + p][1];
    }
}

/* R rows and the columns of P whole panels. */
TARGET INLINE void NAME(panels)(const size_t R, const size_t P, size_t k, const ms_real *a,
                                size_t row_step, size_t k_step, const ms_real *b, size_t panel_step,
                                int beta, ms_real *c, size_t ldc)
{
    for (size_t part = 0; part < NAME(PARTS); part++)
        NAME(tile)
        (R, P, k, a, row_step, k_step, b + part * NAME(WIDTH), panel_step, beta,
         c + part * NAME(WIDTH), ldc);
}

/* R rows and the first `columns` of one panel: through a tile of its own, because C ends there. */
TARGET static void NAME(edge)(size_t R, size_t columns, size_t k, const ms_real *a, size_t row_step,
                              size_t k_step, const ms_real *b, int beta, ms_real *c, size_t ldc)
{
    ms_real tile[MS_PACKED_PANEL];
    for (size_t r = 0; r < R; r++) {
        memset(tile, 0, sizeof tile);
        if (beta)
            memcpy(tile, c + r * ldc, columns * sizeof *c);
        NAME(panels)(1, 1, k, a + r * row_step, row_step, k_step, b, 0, 1, tile, MS_PACKED_PANEL);
        memcpy(c + r * ldc, tile, columns * sizeof *c);
    }
}

/* R < ROWS or R = ROWS rows over all columns. */
TARGET INLINE void NAME(sweep)(const size_t R, const size_t P, size_t n, size_t k, const ms_real *a,
                               size_t lda, const ms_real *b, int beta, ms_real *c, size_t ldc)
{
    const size_t step = k * MS_PACKED_PANEL;
    size_t j = 0;
    for (; j + P * MS_PACKED_PANEL <= n; j += P * MS_PACKED_PANEL)
        NAME(panels)(R, P, k, a, lda, 1, b + j * k, step, beta, c + j, ldc);
    for (; P > 1 && j + MS_PACKED_PANEL <= n; j += MS_PACKED_PANEL)
        NAME(panels)(R, 1, k, a, lda, 1, b + j * k, step, beta, c + j, ldc);
    if (j < n)
        NAME(edge)(R, n - j, k, a, lda, 1, b + j * k, beta, c + j, ldc);
}

TARGET static void NAME(product)(size_t m, size_t n, size_t k, const ms_real *a, size_t lda,
                                 const ms_real *b, int beta, ms_real *c, size_t ldc)
{
    const size_t whole = m - m % ROWS;
    for (size_t j = 0; whole && j < n; j += MS_PACKED_PANEL)
        for (size_t r = 0; r < whole; r += ROWS) {
            const ms_real *ar = a + r * lda;
            ms_real *cr = c + r * ldc + j;
            if (j + MS_PACKED_PANEL <= n)
                NAME(panels)(ROWS, 1, k, ar, lda, 1, b + j * k, 0, beta, cr, ldc);
            else
                NAME(edge)(ROWS, n - j, k, ar, lda, 1, b + j * k, beta, cr, ldc);
        }
    a += whole * lda;
    c += whole * ldc;
    switch (m - whole) {
    case 1:
        NAME(sweep)(1, ROWS, n, k, a, lda, b, beta, c, ldc);
        break;
    case 2:
        NAME(sweep)(2, ROWS / 2, n, k, a, lda, b, beta, c, ldc);
        break;
    case 3:
        NAME(sweep)(3, ROWS / 3, n, k, a, lda, b, beta, c, ldc);
        break;
#if ROWS > 4
    case 4:
        NAME(sweep)(4, 2, n, k, a, lda, b, beta, c, ldc);
        break;
    case 5:
        NAME(sweep)(5, 1, n, k, a, lda, b, beta, c, ldc);
        break;
    case 6:
        NAME(sweep)(6, 1, n, k, a, lda, b, beta, c, ldc);
        break;
    case 7:
        NAME(sweep)(7, 1, n, k, a, lda, b, beta, c, ldc);
        break;
#endif
    default:
        break;
    }
}

TARGET static void NAME(product_ta)(size_t m, size_t n, size_t used, size_t capacity,
                                    const ms_real *a, const ms_real *b, ms_real *c, size_t ldc)
{
    for (size_t j = 0; j < n; j += MS_PACKED_PANEL)
        for (size_t i = 0; i < m; i += ROWS) {
            /* ROWS divides the strip, or is it */
            const ms_real *strip =
                a + i / MS_PACKED_STRIP * MS_PACKED_STRIP * capacity + i % MS_PACKED_STRIP;
            const ms_real *panel = b + j * capacity;
            ms_real *to = c + i * ldc + j;
            if (i + ROWS <= m && j + MS_PACKED_PANEL <= n)
                NAME(panels)(ROWS, 1, used, strip, 1, MS_PACKED_STRIP, panel, 0, 1, to, ldc);
            else
                NAME(edge)
                (m - i < ROWS ? m - i : ROWS, n - j < MS_PACKED_PANEL ? n - j : MS_PACKED_PANEL,
                 used, strip, 1, MS_PACKED_STRIP, panel, 1, to, ldc);
        }
}

static const struct ms_packed_kernels NAME(kernels) = {STRING(SUFFIX), NAME(product),
                                                       NAME(product_ta)};

#undef JOIN2
#undef JOIN
#undef NAME
#undef VEC
#undef LANES
#undef SUFFIX
#undef TARGET
#undef VECTOR_BYTES
#undef ROWS
