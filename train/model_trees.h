/* Boosted trees over sparse vectors: scores and nothing else; they are grown in
 * train/fit_boosted.c. Needs no library: a model file holds the trees as plain numbers. */
#ifndef MS_TRAIN_MODEL_TREES_H
#define MS_TRAIN_MODEL_TREES_H

#include "train/nn/net.h"

/* Legend: N nodes of all trees together, T trees. The nodes of a tree lie in preorder: the left
 * child of node i is i + 1, and every child lies behind its parent, so that a walk ends. */
struct ms_trees {
    uint32_t size;    /* features: ids are below it, at most MS_LIMIT_NET_VOCABULARY */
    uint32_t outputs; /* 1 for two classes, C otherwise */
    uint32_t tree_count, node_count;
    int32_t *start;   /* T + 1: first node of each tree, and N */
    int32_t *output;  /* T: to whose sum a tree adds */
    int32_t *feature; /* N: -1 for a leaf */
    int32_t *right;   /* N: the right child, counted from the tree's start; 0 for a leaf */
    int32_t *absent;  /* N: 1 when a vector without the feature goes left */
    float *value;     /* N: a leaf adds it; otherwise vectors with less of the feature go left */
};

/* All zero, which is not yet valid. MS_E_INPUT when a size is 0 or beyond
 * MS_LIMIT_MODEL_TREE_NODES; MS_E_NOMEM. */
enum ms_status ms_trees_make(uint32_t size, uint32_t outputs, uint32_t trees, uint32_t nodes,
                             struct ms_trees *out, struct ms_error *err) MS_MUST_USE;
/* MS_E_INPUT with the reason when anything points where it may not, or is not finite. */
enum ms_status ms_trees_check(const struct ms_trees *self, struct ms_error *err) MS_MUST_USE;
void ms_trees_release(struct ms_trees *self);

/* C probabilities a row: the sigmoid of the sum of the leaves for the first of two classes, a
 * softmax over the sums of the classes otherwise (Chen and Guestrin, "XGBoost", 2016; objectives
 * binary:logistic and multi:softprob with base score .5). MS_E_NOMEM. */
enum ms_status ms_trees_scores(const struct ms_trees *self, const struct ms_net_sparse *rows,
                               size_t count, double *scores, struct ms_error *err) MS_MUST_USE;

#endif
