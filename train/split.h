/* Divides rows into parts: hold-out or folds, stratified by class, groups kept together. Pure. */
#ifndef MS_TRAIN_SPLIT_H
#define MS_TRAIN_SPLIT_H

#include "base/error.h"
#include "store/trace/groups.h"

#include <stddef.h>
#include <stdint.h>

enum { MS_SPLIT_TRAIN = 0, MS_SPLIT_TEST = 1, MS_SPLIT_PARTS_MAX = 100 };

struct ms_split_rows {
    size_t rows;            /* N */
    uint32_t classes;       /* C */
    const uint32_t *labels; /* N, below C */
    const uint32_t *groups; /* N: rows of a group get one part; NULL: every row on its own */
};

/* Gives every row a part below `parts` (2 .. MS_SPLIT_PARTS_MAX) so that part p holds about
 * shares[p] (over 0, together 1) of every class. Groups are dealt largest first, in random order
 * among equals, each to the part that is then nearest to its shares (sum over classes of squared
 * differences from the wanted count, divided by that count); rows alone therefore differ from the
 * wanted counts by less than one a class. The same seed gives the same parts. MS_E_INPUT without
 * rows or with fewer groups than parts; MS_E_NOMEM. */
enum ms_status ms_split_make(const struct ms_split_rows *rows, const double *shares, uint32_t parts,
                             uint64_t seed, uint32_t *part_of, struct ms_error *err) MS_MUST_USE;

/* ms_split_make with equal shares, and with {1 - test_share, test_share}. */
enum ms_status ms_split_folds(const struct ms_split_rows *rows, uint32_t folds, uint64_t seed,
                              uint32_t *part_of, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_split_holdout(const struct ms_split_rows *rows, double test_share, uint64_t seed,
                                uint32_t *part_of, struct ms_error *err) MS_MUST_USE;

/* What the copies among the rows do (ms_groups_copies); group numbers may be any. */
enum ms_status ms_copies_count(const struct ms_split_rows *rows, struct ms_copies *out,
                               struct ms_error *err) MS_MUST_USE;

#endif
