/* What tuning did to the judged rows, as JSON and on a terminal: of a run, and of a model that is
 * evaluated. */
#ifndef MS_TRAIN_TUNING_SHOW_H
#define MS_TRAIN_TUNING_SHOW_H

#include "train/metrics.h"
#include "train/tuning.h"

#include <jansson.h>
#include <stdio.h>

/* Borrowed. */
struct ms_tuned {
    const struct ms_tuning *tuning;
    const struct ms_metrics *raw; /* of the scores before calibration; rows 0: there are none */
    const struct ms_metrics *metrics;
    const struct ms_doubt *doubt; /* of the judged rows */
    double target_fpr;            /* that the threshold was found for; 0: none, or not known */
};

/* New reference; NULL without memory. */
json_t *ms_tuned_json(const struct ms_tuned *self) MS_MUST_USE;
/* Nothing when nothing is tuned. */
void ms_tuned_show(const struct ms_tuned *self, FILE *out);

#endif
