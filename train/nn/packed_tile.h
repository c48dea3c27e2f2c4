/* The products of packed.h for one instruction set: included once for each, with SUFFIX (appended
 * to names), TARGET (the attribute), VECTOR_BYTES and ROWS (of a tile) defined; no include guard,
 * no use elsewhere. ROWS tiles of two vectors fill the registers: enough sums in flight to hide the
 * latency of the multiply-add. Fewer rows take more panels at a time for the same reason. */
#ifdef SUFFIX /* by itself it is nothing */

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(a) JOIN(a, SUFFIX)
#define VEC NAME(vec)
#define LANES (VECTOR_BYTES / sizeof(ms_real))

enum { NAME(WIDTH) = 2 * LANES, NAME(PARTS) = MS_PACKED_PANEL / (2 * LANES) };

/* Aligned like an element: rows of a caller's matrix start anywhere. */
typedef ms_real VEC __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(ms_real)), may_alias));

/* C (R rows, P panels' columns of two vectors, `column` the first) = S + A B, S being the rows that
 * `start` points to, C, or 0. Element (r, i) of A is at r row_step + i k_step. */
TARGET INLINE void NAME(tile)(const size_t R, const size_t P, const struct factors *f,
                              const ms_real *a, const ms_real *b, const ms_real *const *start,
                              size_t column, ms_real *c)
{
    VEC sum[ROWS][2];
    UNROLL
    for (size_t r = 0; r < R; r++)
        UNROLL
    for (size_t p = 0; p < P; p++) {
        const ms_real *from = (start ? start[r] : c + r * f->ldc) + column;
        from += p * MS_PACKED_PANEL;
        sum[r * P + p][0] = f->beta ? *(const VEC *)from : (VEC){0};
        sum[r * P + p][1] = f->beta ? *(const VEC *)(from + LANES) : (VEC){0};
    }
    for (size_t begin = 0; begin < f->k; begin += AHEAD_EVERY) {
        const size_t end = f->k - begin < AHEAD_EVERY ? f->k : begin + AHEAD_EVERY;
        if (f->ahead)
            go_ahead(f->ahead);
        for (size_t i = begin; i < end; i++) {
            UNROLL
            for (size_t p = 0; p < P; p++) {
                const ms_real *row = b + p * f->panel_step + i * MS_PACKED_PANEL;
                const VEC b0 = *(const VEC *)row;
                const VEC b1 = *(const VEC *)(row + LANES);
                UNROLL
                for (size_t r = 0; r < R; r++) {
                    const ms_real x = a[r * f->row_step + i * f->k_step];
                    sum[r * P + p][0] += b0 * x;
                    sum[r * P + p][1] += b1 * x;
                }
            }
        }
    }
    UNROLL
    for (size_t r = 0; r < R; r++)
        UNROLL
    for (size_t p = 0; p < P; p++) {
        ms_real *to = c + r * f->ldc + column + p * MS_PACKED_PANEL;
        *(VEC *)to = sum[r * P + p][0];
        *(VEC *)(to + LANES) = sum[r * P + p][1];
    }
}

/* R rows and the columns of P whole panels. */
TARGET INLINE void NAME(panels)(const size_t R, const size_t P, const struct factors *f,
                                const ms_real *a, const ms_real *b, const ms_real *const *start,
                                size_t column, ms_real *c)
{
    for (size_t part = 0; part < NAME(PARTS); part++)
        NAME(tile)(R, P, f, a, b + part * NAME(WIDTH), start, column + part * NAME(WIDTH), c);
}

/* R rows and what is left of the columns: through a tile of its own, because C ends there. */
TARGET static void NAME(edge)(size_t R, const struct factors *f, const ms_real *a, const ms_real *b,
                              const ms_real *const *start, size_t column, ms_real *c)
{
    const size_t columns = f->n - column < MS_PACKED_PANEL ? f->n - column : MS_PACKED_PANEL;
    ms_real tile[MS_PACKED_PANEL];
    struct factors one = *f;
    one.beta = 1;
    one.panel_step = 0;
    for (size_t r = 0; r < R; r++) {
        memset(tile, 0, sizeof tile);
        if (f->beta)
            memcpy(tile, (start ? start[r] : c + r * f->ldc) + column, columns * sizeof *c);
        NAME(panels)(1, 1, &one, a + r * f->row_step, b, NULL, 0, tile);
        memcpy(c + r * f->ldc + column, tile, columns * sizeof *c);
    }
}

/* R rows over all columns, P panels at a time. */
TARGET INLINE void NAME(sweep)(const size_t R, const size_t P, const struct factors *f,
                               const ms_real *a, const ms_real *b, const ms_real *const *start,
                               ms_real *c)
{
    size_t j = 0;
    for (; j + P * MS_PACKED_PANEL <= f->n; j += P * MS_PACKED_PANEL)
        NAME(panels)(R, P, f, a, b + j * f->k, start, j, c);
    for (; P > 1 && j + MS_PACKED_PANEL <= f->n; j += MS_PACKED_PANEL)
        NAME(panels)(R, 1, f, a, b + j * f->k, start, j, c);
    if (j < f->n)
        NAME(edge)(R, f, a, b + j * f->k, start, j, c);
}

TARGET static void NAME(product)(const struct ms_product *x)
{
    const struct factors f = {
        x->n, x->k, x->lda, 1, x->k * MS_PACKED_PANEL, x->ldc, x->beta || x->start, x->ahead};
    const size_t whole = x->m - x->m % ROWS;
    for (size_t j = 0; whole && j < x->n; j += MS_PACKED_PANEL)
        for (size_t r = 0; r < whole; r += ROWS) {
            const ms_real *const *start = x->start ? x->start + r : NULL;
            if (j + MS_PACKED_PANEL <= x->n)
                NAME(panels)
            (ROWS, 1, &f, x->a + r * x->lda, x->b + j * x->k, start, j, x->c + r * x->ldc);
            else NAME(edge)(ROWS, &f, x->a + r * x->lda, x->b + j * x->k, start, j,
                            x->c + r * x->ldc);
        }
    const ms_real *a = x->a + whole * x->lda;
    const ms_real *const *start = x->start ? x->start + whole : NULL;
    ms_real *c = x->c + whole * x->ldc;
    switch (x->m - whole) {
    case 1:
        NAME(sweep)(1, ROWS, &f, a, x->b, start, c);
        break;
    case 2:
        NAME(sweep)(2, ROWS / 2, &f, a, x->b, start, c);
        break;
    case 3:
        NAME(sweep)(3, ROWS / 3, &f, a, x->b, start, c);
        break;
#if ROWS > 4
    case 4:
        NAME(sweep)(4, 2, &f, a, x->b, start, c);
        break;
    case 5:
        NAME(sweep)(5, 1, &f, a, x->b, start, c);
        break;
    case 6:
        NAME(sweep)(6, 1, &f, a, x->b, start, c);
        break;
    case 7:
        NAME(sweep)(7, 1, &f, a, x->b, start, c);
        break;
#endif
    default:
        break;
    }
}

TARGET static void NAME(product_ta)(size_t m, size_t n, size_t used, size_t capacity,
                                    const ms_real *a, const ms_real *b, ms_real *c, size_t ldc)
{
    const struct factors f = {n, used, 1, MS_PACKED_STRIP, 0, ldc, 1, NULL};
    for (size_t j = 0; j < n; j += MS_PACKED_PANEL)
        for (size_t i = 0; i < m; i += ROWS) {
            /* ROWS divides the strip, or is it */
            const ms_real *strip =
                a + i / MS_PACKED_STRIP * MS_PACKED_STRIP * capacity + i % MS_PACKED_STRIP;
            if (i + ROWS <= m && j + MS_PACKED_PANEL <= n)
                NAME(panels)(ROWS, 1, &f, strip, b + j * capacity, NULL, j, c + i * ldc);
            else
                NAME(edge)
            (m - i < ROWS ? m - i : ROWS, &f, strip, b + j * capacity, NULL, j, c + i * ldc);
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

#endif
