/* Figures of a comparison as JSON, for every output that has some. */
#ifndef MS_TRAIN_COMPARE_JSON_H
#define MS_TRAIN_COMPARE_JSON_H

#include "train/compare.h"

#include <jansson.h>

/* {"a", "b", "difference", "low", "high"}; null where there is no number. New reference. */
json_t *ms_difference_json(const struct ms_difference *d) MS_MUST_USE;
/* {"fits", "t", "p"} */
json_t *ms_t_test_json(const struct ms_comparison *c) MS_MUST_USE;

#endif
