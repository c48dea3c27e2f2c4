/* Which rows stay when of equal traces only one is wanted. Pure. */
#ifndef MS_TRAIN_DATASET_COPIES_H
#define MS_TRAIN_DATASET_COPIES_H

#include "train/split.h"

#include <stdbool.h>

/* keep[i] (N) for rows->groups, which must be there: of each group the first row that has the
 * group's most frequent class; none where two classes are equally frequent, for then no label can
 * be defended. *copies counts the rows that go because an equal one stays, *undecided those of
 * groups that go altogether. MS_E_NOMEM; MS_E_BUG for a group or class out of range. */
enum ms_status ms_copies_thin(const struct ms_split_rows *rows, bool *keep, uint64_t *copies,
                              uint64_t *undecided, struct ms_error *err) MS_MUST_USE;

#endif
