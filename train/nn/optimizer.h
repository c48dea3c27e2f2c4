/* Optimisers as plain data, and the learning-rate schedule; the update itself is applied by the
 * net. */
#ifndef MS_TRAIN_NN_OPTIMIZER_H
#define MS_TRAIN_NN_OPTIMIZER_H

#include "base/error.h"

#include <stdint.h>

/* g: the gradient after clipping, t: 1, 2, ... the number of the step, w: a parameter.
 * RMSprop, as in Keras 2 (keras/optimizers.py: epsilon outside the root; Keras 3 has it inside):
 *   v = rho v + (1 - rho) g^2;  w -= lr g / (sqrt(v) + eps)
 * Adam (Kingma and Ba 2015; epsilon as in PyTorch):
 *   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
 *   w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 * AdamW (Loshchilov and Hutter 2019): w -= lr decay w before Adam's step; biases do not decay. */
enum ms_optimizer_kind { MS_OPTIMIZER_RMSPROP = 0, MS_OPTIMIZER_ADAM = 1, MS_OPTIMIZER_ADAMW = 2 };

struct ms_optimizer {
    enum ms_optimizer_kind kind;
    double beta1;        /* Adam; in [0, 1) */
    double beta2;        /* Adam's second beta, RMSprop's rho; in [0, 1) */
    double epsilon;      /* over 0 */
    double weight_decay; /* AdamW alone; at least 0 */
    double clip_norm;    /* gradients are scaled down to this global norm; 0: no clipping */
};

/* rho .9, eps 1e-7 for RMSprop; b1 .9, b2 .999, eps 1e-8 for Adam and AdamW, decay .01 for AdamW;
 * no clipping. */
void ms_optimizer_defaults(enum ms_optimizer_kind kind, struct ms_optimizer *out);

/* MS_E_INPUT with the reason when a value is out of its range. */
enum ms_status ms_optimizer_check(const struct ms_optimizer *self,
                                  struct ms_error *err) MS_MUST_USE;

/* The learning rate of step `step` (from 0) of `total`: rises linearly to `peak` over the first
 * `warm_up` steps (the first step already has peak / warm_up), then falls along half a cosine to
 * peak * floor (0 to 1) at the last step. */
double ms_schedule_cosine(double peak, double floor, uint64_t step, uint64_t warm_up,
                          uint64_t total);

#endif
