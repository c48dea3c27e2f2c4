/* Logistic regression over sparse vectors, fitted by liblinear. Used by train/learner.c and its
 * tests. */
#ifndef MS_TRAIN_FIT_LINEAR_H
#define MS_TRAIN_FIT_LINEAR_H

#include "train/model_linear.h"

/* L2-regularised logistic regression with a bias (regularised like a weight), one problem a class
 * against the rest (Fan et al., "LIBLINEAR", JMLR 9, 2008; solver 0, trust region Newton): no
 * random numbers, so the same rows give the same weights. `labels` are below `classes`; `weights`:
 * a factor on C a class, NULL: none; cost: C, over 0. size: number of features. MS_E_INPUT without
 * rows or when all have one class, MS_E_NOMEM. Not for two threads at once. */
enum ms_status ms_fit_linear(const struct ms_net_sparse *rows, const uint32_t *labels, size_t count,
                             uint32_t classes, uint32_t size, double cost, const double *weights,
                             struct ms_linear *out, struct ms_error *err) MS_MUST_USE;

#endif
