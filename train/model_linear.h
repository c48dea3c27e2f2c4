/* A linear classifier over sparse vectors: scores and nothing else; it is fitted in
 * train/fit_linear.c. */
#ifndef MS_TRAIN_MODEL_LINEAR_H
#define MS_TRAIN_MODEL_LINEAR_H

#include "train/nn/net.h"

/* Legend: D features, C classes, O outputs: 1 for two classes, C otherwise. */
struct ms_linear {
    uint32_t size;    /* D, at most MS_LIMIT_NET_VOCABULARY */
    uint32_t outputs; /* O */
    float *kernel;    /* D x O */
    float *bias;      /* O */
};

/* All zero. MS_E_INPUT when a size is 0 or too large; MS_E_NOMEM. */
enum ms_status ms_linear_make(uint32_t size, uint32_t outputs, struct ms_linear *out,
                              struct ms_error *err) MS_MUST_USE;
void ms_linear_release(struct ms_linear *self);

/* C probabilities a row. With s(z) = 1 / (1 + exp(-z)) and z_o = bias_o + sum of value x kernel:
 * of two classes the first has s(z_0), the second the rest; of more, each has s(z_c) divided by the
 * sum of them (one against the rest, as liblinear and scikit-learn do it). Ids beyond D are passed
 * over: they are of another vocabulary. */
void ms_linear_scores(const struct ms_linear *self, const struct ms_net_sparse *rows, size_t count,
                      double *scores);

#endif
