/* A net's shape as JSON text, and back. Used by train/model.c and its tests alone. */
#ifndef MS_TRAIN_MODEL_CONFIG_H
#define MS_TRAIN_MODEL_CONFIG_H

#include "train/nn/config.h"

#include <jansson.h>

/* New reference; NULL without memory. */
json_t *ms_model_config_write(const struct ms_net_config *config) MS_MUST_USE;
/* MS_E_INPUT when a member is missing, of another type, unknown, or out of range
 * (ms_net_config_check included). */
enum ms_status ms_model_config_read(const json_t *json, struct ms_net_config *out,
                                    struct ms_error *err) MS_MUST_USE;

#endif
