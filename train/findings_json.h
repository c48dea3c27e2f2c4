/* A report's findings as JSON, for train/outcome_json.c alone. Each is a new reference. */
#ifndef MS_TRAIN_FINDINGS_JSON_H
#define MS_TRAIN_FINDINGS_JSON_H

#include "train/outcome.h"

#include <jansson.h>

/* Adds "differences" and "t_test" to a baseline's object. */
void ms_comparison_figures_json(const struct ms_comparison *c, json_t *o);

json_t *ms_repeats_json(const struct ms_outcome *o) MS_MUST_USE;
json_t *ms_ranking_json(const struct ms_outcome *o) MS_MUST_USE;
json_t *ms_thresholds_json(const struct ms_outcome *o) MS_MUST_USE;
json_t *ms_doubt_json(const struct ms_outcome *o) MS_MUST_USE;
json_t *ms_errors_json(const struct ms_outcome *o) MS_MUST_USE;
json_t *ms_near_json(const struct ms_outcome *o) MS_MUST_USE;

#endif
