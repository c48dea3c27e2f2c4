/* The element-wise part of a GRU's step, forward and backward, compiled for each instruction set;
 * no layers, no memory. */
#include "train/nn/cpu.h"
#include "train/nn/kernel_math.h"
#include "train/nn/kernel_sets.h"

/* One row: z = sigmoid(gz + iz + bz), r likewise; q = iq + bq; n = act(gn + r q);
 * h = n + z (h' - n), which is (1 - z) n + z h'. */
INLINE void forward_row(size_t H, ms_real *restrict gz, ms_real *restrict gr, ms_real *restrict gn,
                        const ms_real *restrict inner, const ms_real *restrict bias,
                        ms_real *restrict candidate, const ms_real *restrict before,
                        ms_real *restrict h, enum ms_net_activation act)
{
    for (size_t j = 0; j < H; j++) {
        ms_real z = sigmoid(gz[j] + inner[j] + bias[j]);
        ms_real r = sigmoid(gr[j] + inner[H + j] + bias[H + j]);
        ms_real q = inner[2 * H + j] + bias[2 * H + j];
        ms_real n = activation(gn[j] + r * q, act);
        gz[j] = z;
        gr[j] = r;
        gn[j] = n;
        candidate[j] = q;
        h[j] = n + z * (before[j] - n);
    }
}

INLINE void forward_body(const struct ms_gru_forward *a, enum ms_net_activation act)
{
    const size_t H = a->hidden;
    for (size_t r = 0; r < a->rows; r++) {
        const bool first = r >= a->with_previous;
        ms_real *g = a->gates + r * 3 * H;
        forward_row(H, g, g + H, g + 2 * H, first ? a->zeros : a->inner + r * 3 * H, a->bias,
                    a->candidate + r * H, first ? a->zeros : a->out_prev + r * a->stride,
                    a->out + r * a->stride, act);
    }
}

/* One row: dh = dh(above) + dh(after); dn = dh (1 - z) act'(n); dz = dh (h' - n) z (1 - z);
 * dr = dn q r (1 - r); dq = dn r; dh' through the carry alone = dh z. */
INLINE void backward_row(size_t H, ms_real *restrict gz, ms_real *restrict gr, ms_real *restrict gn,
                         const ms_real *restrict candidate, ms_real *restrict inner,
                         const ms_real *restrict before, const ms_real *restrict above,
                         ms_real *restrict d_hidden, enum ms_net_activation act)
{
    for (size_t j = 0; j < H; j++) {
        ms_real z = gz[j];
        ms_real r = gr[j];
        ms_real n = gn[j];
        ms_real dh = above[j] + d_hidden[j];
        ms_real dn = dh * (1 - z) * slope(n, act);
        ms_real dz = dh * (before[j] - n) * z * (1 - z);
        ms_real dr = dn * candidate[j] * r * (1 - r);
        ms_real dq = dn * r;
        gz[j] = dz;
        gr[j] = dr;
        gn[j] = dn;
        inner[j] = dz;
        inner[H + j] = dr;
        inner[2 * H + j] = dq;
        d_hidden[j] = dh * z;
    }
}

INLINE void backward_body(const struct ms_gru_backward *a, enum ms_net_activation act)
{
    const size_t H = a->hidden;
    for (size_t r = 0; r < a->rows; r++) {
        ms_real *g = a->gates + r * 3 * H;
        backward_row(H, g, g + H, g + 2 * H, a->candidate + r * H, a->inner + r * 3 * H,
                     r < a->with_previous ? a->out_prev + r * a->stride : a->zeros,
                     a->d_out + r * a->d_out_stride, a->d_hidden + r * H, act);
    }
}

/* The activation is a constant in each call, so that the loops have no branch in them. */
#define DEFINE_KERNELS(suffix, target)                                    \
    target void ms_gru_forward_##suffix(const struct ms_gru_forward *a,   \
                                        enum ms_net_activation act)       \
    {                                                                     \
        if (act == MS_NET_SOFTSIGN)                                       \
            forward_body(a, MS_NET_SOFTSIGN);                             \
        else                                                              \
            forward_body(a, MS_NET_TANH);                                 \
    }                                                                     \
    target void ms_gru_backward_##suffix(const struct ms_gru_backward *a, \
                                         enum ms_net_activation act)      \
    {                                                                     \
        if (act == MS_NET_SOFTSIGN)                                       \
            backward_body(a, MS_NET_SOFTSIGN);                            \
        else                                                              \
            backward_body(a, MS_NET_TANH);                                \
    }

DEFINE_KERNELS(portable, PORTABLE_TARGET)

#if defined(__x86_64__)
DEFINE_KERNELS(avx2, AVX2_TARGET)
DEFINE_KERNELS(avx512, AVX512_TARGET)
#endif
