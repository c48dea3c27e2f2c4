/* Gradient boosted trees over sparse vectors, grown by libxgboost where it was there at build time.
 * Used by train/learner.c and its tests. */
#ifndef MS_TRAIN_FIT_BOOSTED_H
#define MS_TRAIN_FIT_BOOSTED_H

#include "train/model_trees.h"

struct ms_boost_options {
    uint32_t rounds, depth;
    double rate;    /* of learning, over 0 and at most 1 */
    double rows;    /* share of the rows that a tree is grown on */
    double columns; /* share of the features that it may ask for */
    uint64_t seed;
};
/* 200 rounds, depth 6, rate .1, rows .8, columns .5 */
void ms_boost_defaults(struct ms_boost_options *out);

/* Whether this build can grow trees; ms_fit_boosted is refused with MS_E_INPUT where not. */
bool ms_boost_is_built(void);

/* `labels` below `classes`; `weights`: a factor a class on its rows, NULL: none. One
 * thread grows the trees: at the sizes of a corpus the library's own spend more time waiting for
 * each other than they save. The same rows and options give the same trees with one version of
 * libxgboost. MS_E_INPUT without rows,
 * MS_E_NOMEM, MS_E_BUG with the library's own words. */
enum ms_status ms_fit_boosted(const struct ms_net_sparse *rows, const uint32_t *labels,
                              size_t count, uint32_t classes, uint32_t size, const double *weights,
                              const struct ms_boost_options *options, struct ms_trees *out,
                              struct ms_error *err) MS_MUST_USE;

#endif
