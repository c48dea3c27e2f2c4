/* The static features of a dataset's samples as n-grams of its rows. Used by train/dataset.c
 * alone. */
#ifndef MS_TRAIN_DATASET_STATICS_H
#define MS_TRAIN_DATASET_STATICS_H

#include "store/trace/groups.h"
#include "train/dataset.h"

/* Adds each row's marks (train/model_statics.h) behind its n-grams, as n-grams of one symbol, and
 * to the digest of its view in `keys` (N x MS_ROW_KEYS), or in its place where the dataset's
 * `statics` are alone: then they are all that is looked at. Every row's sample has features
 * (ms_labelled_foreach). To be called when the rows are complete, and before the names are listed.
 */
enum ms_status ms_dataset_add_statics(struct ms_corpus *corpus, struct ms_dataset *set,
                                      struct ms_sequence_hash *keys,
                                      struct ms_error *err) MS_MUST_USE;

#endif
