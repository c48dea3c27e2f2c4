/* The n-grams of all traces of a dataset, each once. Used by train/dataset.c and
 * train/dataset_read.c alone. */
#ifndef MS_TRAIN_DATASET_GRAMS_H
#define MS_TRAIN_DATASET_GRAMS_H

#include "store/trace/grams.h"

/* N-grams with dense numbers in the order they came. Not for two threads at once. */
struct ms_gram_index;
enum ms_status ms_gram_index_new(struct ms_gram_index **out, struct ms_error *err) MS_MUST_USE;
void ms_gram_index_free(struct ms_gram_index *self);

/* The numbers of a set, new ones given to those that are new; ids holds as many as the set. At most
 * MS_LIMIT_DATASET_GRAMS in all (MS_E_LIMIT); MS_E_NOMEM. */
enum ms_status ms_gram_index_add(struct ms_gram_index *self, const struct ms_gram_set *set,
                                 uint32_t *ids, struct ms_error *err) MS_MUST_USE;

/* No more n-grams will come: frees what finds them. Only the next two may follow, and free. */
void ms_gram_index_close(struct ms_gram_index *self);

uint32_t ms_gram_index_count(const struct ms_gram_index *self);
struct ms_gram ms_gram_index_get(const struct ms_gram_index *self, uint32_t id);

#endif
