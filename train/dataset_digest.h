/* The digest that names a dataset. Used by train/dataset.c alone. */
#ifndef MS_TRAIN_DATASET_DIGEST_H
#define MS_TRAIN_DATASET_DIGEST_H

#include "train/dataset.h"

/* Fills self->digest; everything else is in place. MS_E_NOMEM. */
enum ms_status ms_dataset_digest(struct ms_dataset *self, const struct ms_dataset_request *request,
                                 struct ms_error *err) MS_MUST_USE;

#endif
