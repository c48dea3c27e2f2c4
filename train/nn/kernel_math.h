/* What the files of element-wise loops share: the functions of one number, inlined into each loop.
 * Not for others. */
#ifndef MS_TRAIN_NN_KERNEL_MATH_H
#define MS_TRAIN_NN_KERNEL_MATH_H

#include "train/nn/config.h"
#include "train/nn/real.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#ifdef MS_REAL_DOUBLE

INLINE ms_real real_exp(ms_real x)
{
    return exp(x);
}

INLINE ms_real real_tanh(ms_real x)
{
    return tanh(x);
}

INLINE ms_real real_sqrt(ms_real x)
{
    return sqrt(x);
}

#else

/* e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln 2 / 2, e^r by a polynomial of degree 6 with the
 * coefficients of Cephes (expf.c, S. L. Moshier); relative error 2e-7. x is clamped so that 2^n
 * stays a normal number: no overflow, and no NaN except from a NaN. Adding 1.5 * 2^23 rounds to an
 * integer in the low bits; it must not be optimised away, which rules out -ffast-math for this
 * file. */
INLINE ms_real real_exp(ms_real x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float magic = 12582912.0f;
    float shifted = x * 1.44269504088896341f + magic;
    float n = shifted - magic;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (int32_t)((uint32_t)(bits - 0x4b400000 + 127) << 23);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* x P(x^2) / Q(x^2), the quotient of two polynomials of degree 4 whose largest relative error over
 * |x| <= 7.9 is smallest (fitted by reweighted least squares; 6e-9, and 3e-7 with the rounding of
 * floats). Behind 7.9 tanh is 1 but for 3e-7. One division and no exponential; a NaN stays one. */
INLINE ms_real real_tanh(ms_real x)
{
    x = x < -7.9f ? -7.9f : x;
    x = x > 7.9f ? 7.9f : x;
    const float s = x * x;
    float p = 1.542857434768791e-8f;
    p = p * s + 2.2023678912310518e-5f;
    p = p * s + 3.5790184601268513e-3f;
    p = p * s + 1.34506428810142e-1f;
    p = p * s + 9.999999943642786e-1f;
    float q = 8.599026050276371e-7f;
    q = q * s + 3.4236937140087514e-4f;
    q = q * s + 2.6192338656072105e-2f;
    q = q * s + 4.6783970892156707e-1f;
    q = q * s + 1.0f;
    return x * p / q;
}

INLINE ms_real real_sqrt(ms_real x)
{
    return sqrtf(x);
}

#endif

INLINE ms_real real_abs(ms_real x)
{
    return x < 0 ? -x : x;
}

INLINE ms_real sigmoid(ms_real x)
{
    return 1 / (1 + real_exp(-x));
}

INLINE ms_real activation(ms_real x, enum ms_net_activation act)
{
    switch (act) {
    case MS_NET_RELU:
        return x > 0 ? x : 0;
    case MS_NET_TANH:
        return real_tanh(x);
    case MS_NET_SOFTSIGN:
        return x / (1 + real_abs(x));
    case MS_NET_LINEAR:
        break;
    }
    return x;
}

/* act'(x) from y = act(x): relu [y > 0]; tanh 1 - y^2; softsign 1 / (1 + |x|)^2 = (1 - |y|)^2. */
INLINE ms_real slope(ms_real y, enum ms_net_activation act)
{
    switch (act) {
    case MS_NET_RELU:
        return y > 0 ? 1 : 0;
    case MS_NET_TANH:
        return 1 - y * y;
    case MS_NET_SOFTSIGN: {
        ms_real d = 1 - real_abs(y);
        return d * d;
    }
    case MS_NET_LINEAR:
        break;
    }
    return 1;
}

#endif
