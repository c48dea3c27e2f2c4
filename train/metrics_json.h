/* A judgement's figures as JSON: what metrics.json and --json of train, compare and evaluate have
 * in common. */
#ifndef MS_TRAIN_METRICS_JSON_H
#define MS_TRAIN_METRICS_JSON_H

#include "train/metrics.h"

#include <jansson.h>

/* {"accuracy":{"value","low","high"}, balanced_accuracy, macro_f1, auc, average_precision, brier,
 * log_loss and ece likewise, "tpr_at_fpr":[{"fpr","value","low","high","needed"}],
 * "reliability":[{"rows","claimed","held"}]}; null where there is no number. New reference. */
json_t *ms_metrics_json(const struct ms_metrics *m) MS_MUST_USE;

/* Adds "precision_interval":[low, high] and so on to a class's object. */
void ms_class_ranges_json(const struct ms_class_scores *s, json_t *o);

#endif
