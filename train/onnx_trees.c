/* The nodes of all trees in the columns that ONNX wants; computes nothing. */
#include "train/onnx_trees.h"

/* A row of each a node, named by its tree and its number in there. */
struct columns {
    int64_t *tree, *node, *feature, *yes, *no, *absent;
    float *value;
    const char **mode;
    int64_t *leaf_tree, *leaf_node, *leaf_output;
    float *leaf_value;
    size_t nodes, leaves;
};

static bool make(struct ms_onnx_graph *g, size_t n, struct columns *out)
{
    int64_t **const numbers[] = {&out->tree,      &out->node,      &out->feature,
                                 &out->yes,       &out->no,        &out->absent,
                                 &out->leaf_tree, &out->leaf_node, &out->leaf_output};
    bool good = true;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        good = (*numbers[i] = ms_onnx_take(g, n, sizeof **numbers[i])) && good;
    out->value = ms_onnx_take(g, n, sizeof *out->value);
    out->leaf_value = ms_onnx_take(g, n, sizeof *out->leaf_value);
    out->mode = ms_onnx_take(g, n, sizeof *out->mode);
    return good && out->value && out->leaf_value && out->mode;
}

/* Node i of a tree that begins at `from`. The left child, to which goes what is less, is the next;
 * memory comes zeroed. */
static void add(struct columns *to, const struct ms_trees *trees, uint32_t tree, int32_t i,
                int32_t from)
{
    const size_t at = to->nodes++;
    to->tree[at] = tree;
    to->node[at] = i - from;
    to->mode[at] = "LEAF";
    if (trees->feature[i] < 0) {
        to->leaf_tree[to->leaves] = tree;
        to->leaf_node[to->leaves] = i - from;
        to->leaf_output[to->leaves] = trees->output[tree];
        to->leaf_value[to->leaves++] = trees->value[i];
        return;
    }
    to->mode[at] = "BRANCH_LT";
    to->feature[at] = trees->feature[i];
    to->value[at] = trees->value[i];
    to->yes[at] = i - from + 1;
    to->no[at] = trees->right[i];
    to->absent[at] = trees->absent[i];
}

static void tell(struct ms_onnx_graph *g, const struct columns *c)
{
    ms_onnx_attribute_ints(g, "nodes_treeids", c->tree, c->nodes);
    ms_onnx_attribute_ints(g, "nodes_nodeids", c->node, c->nodes);
    ms_onnx_attribute_ints(g, "nodes_featureids", c->feature, c->nodes);
    ms_onnx_attribute_floats(g, "nodes_values", c->value, c->nodes);
    ms_onnx_attribute_texts(g, "nodes_modes", c->mode, c->nodes);
    ms_onnx_attribute_ints(g, "nodes_truenodeids", c->yes, c->nodes);
    ms_onnx_attribute_ints(g, "nodes_falsenodeids", c->no, c->nodes);
    ms_onnx_attribute_ints(g, "nodes_missing_value_tracks_true", c->absent, c->nodes);
    ms_onnx_attribute_ints(g, "target_treeids", c->leaf_tree, c->leaves);
    ms_onnx_attribute_ints(g, "target_nodeids", c->leaf_node, c->leaves);
    ms_onnx_attribute_ints(g, "target_ids", c->leaf_output, c->leaves);
    ms_onnx_attribute_floats(g, "target_weights", c->leaf_value, c->leaves);
}

ms_onnx_value ms_onnx_trees(struct ms_onnx_graph *g, const struct ms_trees *trees, ms_onnx_value x)
{
    struct columns columns = {0};
    if (!make(g, trees->node_count, &columns))
        return NULL;
    for (uint32_t t = 0; t < trees->tree_count; t++)
        for (int32_t i = trees->start[t]; i < trees->start[t + 1]; i++)
            add(&columns, trees, t, i, trees->start[t]);
    ms_onnx_value z = ms_onnx_node(g, "TreeEnsembleRegressor", &x, 1);
    ms_onnx_ml(g);
    ms_onnx_attribute_int(g, "n_targets", trees->outputs);
    ms_onnx_attribute_text(g, "aggregate_function", "SUM");
    ms_onnx_attribute_text(g, "post_transform", "NONE");
    tell(g, &columns);
    return z;
}
