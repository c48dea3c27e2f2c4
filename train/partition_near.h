/* Groups of rows that are nearly the same. */
#ifndef MS_TRAIN_PARTITION_NEAR_H
#define MS_TRAIN_PARTITION_NEAR_H

#include "train/partition.h"

/* Joins in p->groups, which are those of identical sequences, the rows whose sets of calls and of
 * pairs of calls (the 1- and 2-grams of the whole trace) have a Jaccard index of
 * MS_PARTITION_NEAR_THRESHOLD or more, and whoever is near to any of them (store/trace/near.h). The
 * dataset must have its n-grams (want_grams): MS_E_BUG without. MS_E_NOMEM. */
enum ms_status ms_partition_join_near(struct ms_partition *p, const struct ms_dataset *set,
                                      struct ms_error *err) MS_MUST_USE;

/* The same groups for any partition of the dataset, which stays as it is: groups[row] gets a number
 * from 0, *count how many there are. Errors as above. */
enum ms_status ms_partition_near_groups(const struct ms_partition *p, const struct ms_dataset *set,
                                        uint32_t *groups, uint32_t *count,
                                        struct ms_error *err) MS_MUST_USE;

#endif
