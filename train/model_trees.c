/* Checks boosted trees and adds up their leaves. */
#include "train/model_trees.h"

#include <math.h>
#include <stdlib.h>

enum ms_status ms_trees_make(uint32_t size, uint32_t outputs, uint32_t trees, uint32_t nodes,
                             struct ms_trees *out, struct ms_error *err)
{
    *out = (struct ms_trees){0};
    if (size == 0 || size > MS_LIMIT_NET_VOCABULARY || outputs == 0 ||
        outputs > MS_LIMIT_NET_CLASSES || trees == 0 || nodes < trees ||
        nodes > MS_LIMIT_MODEL_TREE_NODES)
        return ms_error_set(err, MS_E_INPUT,
                            "%u trees of %u nodes over %u features are none, or too many", trees,
                            nodes, size);
    *out = (struct ms_trees){
        .size = size, .outputs = outputs, .tree_count = trees, .node_count = nodes};
    out->start = calloc((size_t)trees + 1, sizeof *out->start);
    out->output = calloc(trees, sizeof *out->output);
    out->feature = calloc(nodes, sizeof *out->feature);
    out->right = calloc(nodes, sizeof *out->right);
    out->absent = calloc(nodes, sizeof *out->absent);
    out->value = calloc(nodes, sizeof *out->value);
    if (out->start && out->output && out->feature && out->right && out->absent && out->value)
        return MS_OK;
    ms_trees_release(out);
    return ms_error_set(err, MS_E_NOMEM, "out of memory for %u nodes of trees", nodes);
}

void ms_trees_release(struct ms_trees *self)
{
    free(self->start);
    free(self->output);
    free(self->feature);
    free(self->right);
    free(self->absent);
    free(self->value);
    *self = (struct ms_trees){0};
}

/* Whether node i of a tree with nodes [from, to) points forward and inside. */
static bool node_is_good(const struct ms_trees *t, int32_t from, int32_t to, int32_t i)
{
    if (!isfinite(t->value[i]))
        return false;
    if (t->feature[i] == -1)
        return t->right[i] == 0 && t->absent[i] == 0;
    int32_t here = i - from;
    return t->feature[i] >= 0 && (uint32_t)t->feature[i] < t->size && t->right[i] > here + 1 &&
           t->right[i] < to - from && (t->absent[i] == 0 || t->absent[i] == 1);
}

enum ms_status ms_trees_check(const struct ms_trees *self, struct ms_error *err)
{
    if (self->start[0] != 0 || self->start[self->tree_count] != (int32_t)self->node_count)
        return ms_error_set(err, MS_E_INPUT, "its trees do not take up all nodes");
    for (uint32_t t = 0; t < self->tree_count; t++) {
        int32_t from = self->start[t], to = self->start[t + 1];
        if (from < 0 || to <= from || to > (int32_t)self->node_count || self->output[t] < 0 ||
            (uint32_t)self->output[t] >= self->outputs)
            return ms_error_set(err, MS_E_INPUT, "tree %u has no nodes or no class", t);
        for (int32_t i = from; i < to; i++)
            if (!node_is_good(self, from, to, i))
                return ms_error_set(err, MS_E_INPUT, "tree %u: node %d is not valid", t, i - from);
    }
    return MS_OK;
}

static float leaf(const struct ms_trees *t, uint32_t tree, const float *dense)
{
    int32_t from = t->start[tree], i = from;
    while (t->feature[i] >= 0) {
        float x = dense[t->feature[i]];
        bool left = isnan(x) ? t->absent[i] == 1 : x < t->value[i];
        i = left ? i + 1 : from + t->right[i];
    }
    return t->value[i];
}

static void to_probabilities(double *z, uint32_t outputs)
{
    if (outputs == 1) {
        double margin = z[0];
        z[0] = 1 / (1 + exp(-margin));
        z[1] = 1 / (1 + exp(margin));
        return;
    }
    double most = z[0], sum = 0;
    for (uint32_t c = 1; c < outputs; c++)
        most = fmax(most, z[c]);
    for (uint32_t c = 0; c < outputs; c++)
        sum += z[c] = exp(z[c] - most);
    for (uint32_t c = 0; c < outputs; c++)
        z[c] /= sum;
}

enum ms_status ms_trees_scores(const struct ms_trees *self, const struct ms_net_sparse *rows,
                               size_t count, double *scores, struct ms_error *err)
{
    size_t classes = self->outputs == 1 ? 2 : self->outputs;
    float *dense = malloc(self->size * sizeof *dense);
    if (!dense)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %u features", self->size);
    for (uint32_t f = 0; f < self->size; f++)
        dense[f] = NAN;
    for (size_t i = 0; i < count; i++) {
        const struct ms_net_sparse *row = &rows[i];
        double *z = scores + i * classes;
        for (uint32_t k = 0; k < row->count; k++)
            if (row->ids[k] < self->size)
                dense[row->ids[k]] = row->values[k];
        for (size_t c = 0; c < classes; c++)
            z[c] = 0;
        for (uint32_t t = 0; t < self->tree_count; t++)
            z[self->output[t]] += (double)leaf(self, t, dense);
        to_probabilities(z, self->outputs);
        for (uint32_t k = 0; k < row->count; k++)
            if (row->ids[k] < self->size)
                dense[row->ids[k]] = NAN;
    }
    free(dense);
    return MS_OK;
}
