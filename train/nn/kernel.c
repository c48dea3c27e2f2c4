/* The element-wise loops, written once and compiled for each instruction set; no layers, no memory.
 */
#include "train/nn/kernel.h"
#include "train/nn/cpu.h"
#include "train/nn/kernel_math.h"
#include "train/nn/kernel_sets.h"

/* One row: i = sigmoid(zi), f = sigmoid(zf), g = act(zg), o = sigmoid(zo); c = f c' + i g; h = o
 * act(c). */
INLINE void lstm_forward_row(size_t H, ms_real *restrict zi, ms_real *restrict zf,
                             ms_real *restrict zg, ms_real *restrict zo, const ms_real *restrict cp,
                             ms_real *restrict c, ms_real *restrict ca, ms_real *restrict h,
                             enum ms_net_activation act)
{
    for (size_t j = 0; j < H; j++) {
        ms_real i = sigmoid(zi[j]);
        ms_real f = sigmoid(zf[j]);
        ms_real g = activation(zg[j], act);
        ms_real o = sigmoid(zo[j]);
        ms_real cell = f * cp[j] + i * g;
        ms_real cell_act = activation(cell, act);
        zi[j] = i;
        zf[j] = f;
        zg[j] = g;
        zo[j] = o;
        c[j] = cell;
        ca[j] = cell_act;
        h[j] = o * cell_act;
    }
}

INLINE void lstm_forward_body(const struct ms_lstm_forward *a, enum ms_net_activation act)
{
    const size_t H = a->hidden;
    for (size_t r = 0; r < a->rows; r++) {
        ms_real *z = a->gates + r * 4 * H;
        const ms_real *cp = r < a->with_previous ? a->cell_prev + r * H : a->zeros;
        lstm_forward_row(H, z, z + H, z + 2 * H, z + 3 * H, cp, a->cell + r * H,
                         a->cell_act + r * H, a->out + r * a->out_stride, act);
    }
}

/* One row: dh = dh(above) + dh(after); do = dh act(c); dc = dc(after) + dh o act'(c); di = dc g; df
 * = dc c'; dg = dc i; dzi = di i (1 - i), dzf, dzo likewise, dzg = dg act'(g); dc' = dc f. */
INLINE void lstm_backward_row(size_t H, ms_real *restrict zi, ms_real *restrict zf,
                              ms_real *restrict zg, ms_real *restrict zo,
                              const ms_real *restrict cp, const ms_real *restrict ca,
                              const ms_real *restrict above, const ms_real *restrict after,
                              ms_real *restrict dcell, enum ms_net_activation act)
{
    for (size_t j = 0; j < H; j++) {
        ms_real i = zi[j];
        ms_real f = zf[j];
        ms_real g = zg[j];
        ms_real o = zo[j];
        ms_real dh = above[j] + after[j];
        ms_real dc = dcell[j] + dh * o * slope(ca[j], act);
        zi[j] = dc * g * i * (1 - i);
        zf[j] = dc * cp[j] * f * (1 - f);
        zg[j] = dc * i * slope(g, act);
        zo[j] = dh * ca[j] * o * (1 - o);
        dcell[j] = dc * f;
    }
}

INLINE void lstm_backward_body(const struct ms_lstm_backward *a, enum ms_net_activation act)
{
    const size_t H = a->hidden;
    for (size_t r = 0; r < a->rows; r++) {
        ms_real *z = a->gates + r * 4 * H;
        const ms_real *cp = r < a->with_previous ? a->cell_prev + r * H : a->zeros;
        lstm_backward_row(H, z, z + H, z + 2 * H, z + 3 * H, cp, a->cell_act + r * H,
                          a->d_out + r * a->d_out_stride, a->d_hidden + r * H, a->d_cell + r * H,
                          act);
    }
}

INLINE void activate_body(size_t n, ms_real *restrict x, enum ms_net_activation act)
{
    for (size_t i = 0; i < n; i++)
        x[i] = activation(x[i], act);
}

INLINE void activate_backward_body(size_t n, const ms_real *restrict y, ms_real *restrict dy,
                                   enum ms_net_activation act)
{
    for (size_t i = 0; i < n; i++)
        dy[i] *= slope(y[i], act);
}

INLINE void add_body(size_t n, const ms_real *restrict x, ms_real *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

INLINE void multiply_body(size_t n, const ms_real *x, const ms_real *m, ms_real *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * m[i];
}

INLINE void column_sum_body(size_t rows, size_t n, const ms_real *x, ms_real *restrict y)
{
    for (size_t r = 0; r < rows; r++) {
        const ms_real *restrict row = x + r * n;
        for (size_t i = 0; i < n; i++)
            y[i] += row[i];
    }
}

/* Eight partial sums: the order of additions is part of the result, so it is written down, not left
 * to the compiler. */
INLINE double square_sum_body(size_t n, const ms_real *x)
{
    double s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++)
            s[k] += (double)x[i + k] * (double)x[i + k];
    for (; i < n; i++)
        s[0] += (double)x[i] * (double)x[i];
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

INLINE void rmsprop_body(const struct ms_update *u)
{
    ms_real *restrict p = u->param;
    const ms_real *restrict grad = u->grad;
    ms_real *restrict v = u->moment2;
    const ms_real rho = u->beta2, rest = 1 - rho, eps = u->epsilon, lr = u->rate;
    const ms_real scale = u->grad_scale, keep = 1 - u->decay;
    for (size_t i = 0; i < u->n; i++) {
        ms_real g = grad[i] * scale;
        ms_real mean = rho * v[i] + rest * g * g;
        v[i] = mean;
        p[i] = p[i] * keep - lr * g / (real_sqrt(mean) + eps);
    }
}

INLINE void adam_body(const struct ms_update *u)
{
    ms_real *restrict p = u->param;
    const ms_real *restrict grad = u->grad;
    ms_real *restrict m = u->moment1;
    ms_real *restrict v = u->moment2;
    const ms_real b1 = u->beta1, b2 = u->beta2, eps = u->epsilon, lr = u->rate;
    const ms_real scale = u->grad_scale, keep = 1 - u->decay, c2 = u->correction2;
    for (size_t i = 0; i < u->n; i++) {
        ms_real g = grad[i] * scale;
        ms_real mean = b1 * m[i] + (1 - b1) * g;
        ms_real square = b2 * v[i] + (1 - b2) * g * g;
        m[i] = mean;
        v[i] = square;
        p[i] = p[i] * keep - lr * mean / (real_sqrt(square * c2) + eps);
    }
}

/* The activation is a constant inside each case, so that the loops have no branch in them. */
#define BY_ACTIVATION(call)    \
    switch (act) {             \
    case MS_NET_LINEAR:        \
        break;                 \
    case MS_NET_RELU:          \
        call(MS_NET_RELU);     \
        break;                 \
    case MS_NET_TANH:          \
        call(MS_NET_TANH);     \
        break;                 \
    case MS_NET_SOFTSIGN:      \
        call(MS_NET_SOFTSIGN); \
        break;                 \
    }

#define CALL_ACTIVATE(k) activate_body(n, x, k)
#define CALL_ACTIVATE_BACKWARD(k) activate_backward_body(n, y, dy, k)

#define DEFINE_KERNELS(suffix, target)                                                             \
    target static void lstm_forward_##suffix(const struct ms_lstm_forward *a,                      \
                                             enum ms_net_activation act)                           \
    {                                                                                              \
        if (act == MS_NET_SOFTSIGN)                                                                \
            lstm_forward_body(a, MS_NET_SOFTSIGN);                                                 \
        else                                                                                       \
            lstm_forward_body(a, MS_NET_TANH);                                                     \
    }                                                                                              \
    target static void lstm_backward_##suffix(const struct ms_lstm_backward *a,                    \
                                              enum ms_net_activation act)                          \
    {                                                                                              \
        if (act == MS_NET_SOFTSIGN)                                                                \
            lstm_backward_body(a, MS_NET_SOFTSIGN);                                                \
        else                                                                                       \
            lstm_backward_body(a, MS_NET_TANH);                                                    \
    }                                                                                              \
    target static void activate_##suffix(size_t n, ms_real *x,                                     \
                                         enum ms_net_activation act){BY_ACTIVATION(                \
        CALL_ACTIVATE)} target static void activate_backward_##suffix(size_t n, const ms_real *y,  \
                                                                      ms_real *dy,                 \
                                                                      enum ms_net_activation act){ \
        BY_ACTIVATION(CALL_ACTIVATE_BACKWARD)} target static void add_##suffix(size_t n,           \
                                                                               const ms_real *x,   \
                                                                               ms_real *y)         \
    {                                                                                              \
        add_body(n, x, y);                                                                         \
    }                                                                                              \
    target static void multiply_##suffix(size_t n, const ms_real *x, const ms_real *m, ms_real *y) \
    {                                                                                              \
        multiply_body(n, x, m, y);                                                                 \
    }                                                                                              \
    target static void column_sum_##suffix(size_t rows, size_t n, const ms_real *x, ms_real *y)    \
    {                                                                                              \
        column_sum_body(rows, n, x, y);                                                            \
    }                                                                                              \
    target static double square_sum_##suffix(size_t n, const ms_real *x)                           \
    {                                                                                              \
        return square_sum_body(n, x);                                                              \
    }                                                                                              \
    target static void rmsprop_##suffix(const struct ms_update *u)                                 \
    {                                                                                              \
        rmsprop_body(u);                                                                           \
    }                                                                                              \
    target static void adam_##suffix(const struct ms_update *u)                                    \
    {                                                                                              \
        adam_body(u);                                                                              \
    }                                                                                              \
    static const struct ms_kernels kernels_##suffix = {                                            \
        #suffix,                                                                                   \
        lstm_forward_##suffix,                                                                     \
        lstm_backward_##suffix,                                                                    \
        activate_##suffix,                                                                         \
        activate_backward_##suffix,                                                                \
        add_##suffix,                                                                              \
        multiply_##suffix,                                                                         \
        column_sum_##suffix,                                                                       \
        square_sum_##suffix,                                                                       \
        rmsprop_##suffix,                                                                          \
        adam_##suffix,                                                                             \
        ms_scale_add_##suffix,                                                                     \
        ms_gather_add_##suffix,                                                                    \
        ms_dot_##suffix,                                                                           \
        ms_approach_##suffix,                                                                      \
        ms_gru_forward_##suffix,                                                                   \
        ms_gru_backward_##suffix,                                                                  \
    };

DEFINE_KERNELS(portable, PORTABLE_TARGET)

#if defined(__x86_64__)
DEFINE_KERNELS(avx2, AVX2_TARGET)
DEFINE_KERNELS(avx512, AVX512_TARGET)
#endif

static const struct ms_kernels *const sets[MS_CPU_SETS] = {
    [MS_CPU_PORTABLE] = &kernels_portable,
#if defined(__x86_64__)
    [MS_CPU_AVX2] = &kernels_avx2,
    [MS_CPU_AVX512] = &kernels_avx512,
#endif
};

const struct ms_kernels *ms_kernels_at(size_t index)
{
    const enum ms_cpu_set set = ms_cpu_set_at(index);
    return set == MS_CPU_SETS ? NULL : sets[set];
}

const struct ms_kernels *ms_kernels_get(void)
{
    return ms_kernels_at(0);
}
