/* The element-wise loops of the net, vectorised, one set for each instruction set; no layers, no
 * memory. */
#ifndef MS_TRAIN_NN_KERNEL_H
#define MS_TRAIN_NN_KERNEL_H

#include "train/nn/config.h"
#include "train/nn/real.h"

#include <stddef.h>

/* One step of one direction of an LSTM over R rows. Rows p.. have no predecessor: their previous
 * cell is zero. */
struct ms_lstm_forward {
    size_t rows;          /* R */
    size_t with_previous; /* p <= R */
    size_t hidden;        /* H */
    ms_real *gates;       /* R x 4H  in: z = x W + h' U + b; out: i f g o after their activations */
    const ms_real *cell_prev; /* p x H */
    const ms_real *zeros;     /* H, zeros */
    ms_real *cell;            /* R x H   c = f c' + i g */
    ms_real *cell_act;        /* R x H   act(c) */
    ms_real *out;             /* R rows of H, out_stride apart   h = o act(c) */
    size_t out_stride;
};

/* The step backwards. In: gates after activation. Out: dz in their place. */
struct ms_lstm_backward {
    size_t rows, with_previous, hidden;
    ms_real *gates;           /* R x 4H */
    const ms_real *cell_prev; /* p x H */
    const ms_real *zeros;     /* H */
    const ms_real *cell_act;  /* R x H */
    const ms_real *d_out;     /* R rows of H, d_out_stride apart: dL/dh from above */
    size_t d_out_stride;      /* 0: one row for all */
    const ms_real *d_hidden;  /* R x H: dL/dh from the step after */
    ms_real *d_cell;          /* R x H: dL/dc, in: from the step after, out: for the step before */
};

/* One step of one direction of a GRU over R rows. Rows p.. have no predecessor. */
struct ms_gru_forward {
    size_t rows;             /* R */
    size_t with_previous;    /* p <= R */
    size_t hidden;           /* H */
    ms_real *gates;          /* R x 3H  in: x W + b; out: z r n after their activations */
    const ms_real *inner;    /* p x 3H  (h' * mask) U */
    const ms_real *bias;     /* 3H, the recurrent one */
    const ms_real *zeros;    /* 3H */
    ms_real *candidate;      /* R x H  out: q, the candidate's column of inner + bias */
    const ms_real *out_prev; /* p rows of H: h' */
    ms_real *out;            /* R rows of H: h = (1 - z) n + z h' */
    size_t stride;           /* of out_prev, out */
};

/* The step backwards. In: gates after activation and q. */
struct ms_gru_backward {
    size_t rows, with_previous, hidden;
    ms_real *gates;           /* R x 3H  out: dz dr dn before their activations */
    const ms_real *candidate; /* R x H   q */
    ms_real *inner;           /* R x 3H  out: dz dr dq */
    const ms_real *zeros;
    const ms_real *out_prev; /* p rows of H: h' */
    const ms_real *d_out;    /* R rows of H, d_out_stride apart: dL/dh from above */
    size_t stride;           /* of out_prev */
    size_t d_out_stride;     /* 0: one row for all */
    ms_real *d_hidden;       /* R x H  in: dL/dh from the step after; out: dL/dh' without inner's */
};

/* One optimiser step over n elements; see optimizer.h for the formulas. */
struct ms_update {
    size_t n;
    ms_real *param;
    const ms_real *grad;
    ms_real *moment1;   /* Adam's mean; unused by RMSprop */
    ms_real *moment2;   /* mean of squares */
    ms_real grad_scale; /* 1, or what clipping makes of it */
    ms_real rate;       /* lr, for Adam with the correction of moment 1 */
    ms_real beta1, beta2, epsilon;
    ms_real correction2; /* 1 / (1 - beta2^t) */
    ms_real decay; /* lr times weight decay, decoupled; l2: added to the gradient is not offered */
};

struct ms_kernels {
    const char *name; /* "avx512", "avx2" or "portable" */
    void (*lstm_forward)(const struct ms_lstm_forward *a, enum ms_net_activation act);
    void (*lstm_backward)(const struct ms_lstm_backward *a, enum ms_net_activation act);
    void (*activate)(size_t n, ms_real *x, enum ms_net_activation act);
    /* dx = dy act'(x), from y = act(x); in place in dy */
    void (*activate_backward)(size_t n, const ms_real *y, ms_real *dy, enum ms_net_activation act);
    void (*add)(size_t n, const ms_real *x, ms_real *y);                        /* y += x */
    void (*multiply)(size_t n, const ms_real *x, const ms_real *m, ms_real *y); /* y = x m */
    void (*column_sum)(size_t rows, size_t n, const ms_real *x, ms_real *y); /* y += sum of rows */
    double (*square_sum)(size_t n, const ms_real *x);
    void (*rmsprop)(const struct ms_update *u);
    void (*adam)(const struct ms_update *u);
    /* y += a x */
    void (*scale_add)(size_t n, ms_real a, const ms_real *x, ms_real *y);
    /* y += sum over k of a[k] times row ids[k] (n wide) of the table */
    void (*gather_add)(size_t count, const uint32_t *ids, const ms_real *a, size_t n,
                       const ms_real *table, ms_real *y);
    ms_real (*dot)(size_t n, const ms_real *x, const ms_real *y);
    void (*approach)(size_t n, ms_real a, const ms_real *x, ms_real *y); /* y += a (x - y) */
    void (*gru_forward)(const struct ms_gru_forward *a, enum ms_net_activation act);
    void (*gru_backward)(const struct ms_gru_backward *a, enum ms_net_activation act);
};

/* The best set for this processor; the same on every call. */
const struct ms_kernels *ms_kernels_get(void);

/* Set number `index` of those this processor can run, best first; NULL behind the last. For tests.
 */
const struct ms_kernels *ms_kernels_at(size_t index);

/* The kind of processor that the matrix products are made for; their last bits depend on it. */
const char *ms_blas_core(void);

#endif
