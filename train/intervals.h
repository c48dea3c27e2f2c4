/* How sure each figure of a judgement is: a cluster bootstrap over all of them at once. Used by
 * train/metrics.c alone. */
#ifndef MS_TRAIN_INTERVALS_H
#define MS_TRAIN_INTERVALS_H

#include "train/metrics.h"

/* Fills the ranges of `m`, and of the figures that rest on probabilities (Brier score, log loss,
 * ECE, reliability bins) and of the true positive rates the values too. Everything else of `m` is
 * in place. MS_E_NOMEM. */
enum ms_status ms_intervals_make(const struct ms_judged *judged, struct ms_metrics *m,
                                 struct ms_error *err) MS_MUST_USE;

#endif
