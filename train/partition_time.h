/* Splits by time. Used by train/partition.c alone. */
#ifndef MS_TRAIN_PARTITION_TIME_H
#define MS_TRAIN_PARTITION_TIME_H

#include "train/partition.h"

/* Fills part_of, windows and counts of a partition whose arrays are there and whose groups are
 * those of identical sequences. MS_E_INPUT with what to do; MS_E_NOMEM. */
enum ms_status ms_partition_by_time(struct ms_partition *p, const struct ms_dataset *set,
                                    const struct ms_partition_request *request,
                                    struct ms_error *err) MS_MUST_USE;

#endif
