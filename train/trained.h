/* Which rows a model was trained on: nobody may judge it on those. Pure. */
#ifndef MS_TRAIN_TRAINED_H
#define MS_TRAIN_TRAINED_H

#include "train/dataset.h"
#include "train/manifest.h"

enum ms_trained {
    MS_TRAINED_NOT,
    MS_TRAINED_KEY,     /* the same sample */
    MS_TRAINED_SEQUENCE /* another sample with the same calls, runs collapsed */
};

/* Says of each row of the dataset (of any corpus) whether the model whose split this is was trained
 * on it: of a hold-out on the training part of its first repeat, of folds on all rows that take
 * part. out: set->count. MS_E_NOMEM. */
enum ms_status ms_trained_find(const struct ms_manifest *split, const struct ms_dataset *set,
                               enum ms_trained *out, struct ms_error *err) MS_MUST_USE;

#endif
