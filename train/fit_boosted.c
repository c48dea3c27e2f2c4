/* The only file that sees libxgboost. What it grows is taken over as plain numbers, so that no
 * model file is ever given to it to read. */
#include "train/fit_boosted.h"

#include "base/log.h"

#include <math.h>
#include <stdlib.h>

void ms_boost_defaults(struct ms_boost_options *out)
{
    *out =
        (struct ms_boost_options){.rounds = 200, .depth = 6, .rate = .1, .rows = .8, .columns = .5};
}

#ifndef MS_XGBOOST

bool ms_boost_is_built(void)
{
    return false;
}

enum ms_status ms_fit_boosted(const struct ms_net_sparse *rows, const uint32_t *labels,
                              size_t count, uint32_t classes, uint32_t size, const double *weights,
                              const struct ms_boost_options *options, struct ms_trees *out,
                              struct ms_error *err)
{
    (void)rows, (void)labels, (void)count, (void)classes, (void)size, (void)weights, (void)options;
    *out = (struct ms_trees){0};
    return ms_error_set(err, MS_E_INPUT,
                        "this malseq was built without libxgboost and grows no trees (it can use "
                        "them): install libxgboost-dev and build again");
}

#else

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <xgboost/c_api.h>

bool ms_boost_is_built(void)
{
    return true;
}

static enum ms_status failed(struct ms_error *err)
{
    char text[300];
    return ms_error_set(err, MS_E_BUG, "libxgboost: %s",
                        ms_escape_text(XGBGetLastError(), text, sizeof text));
}

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for boosted trees");
}

/* ---- rows to the library ---- */

static enum ms_status fill_matrix(DMatrixHandle matrix, const uint32_t *labels, size_t count,
                                  const double *weights, struct ms_error *err)
{
    float *label = calloc(count, sizeof *label), *weight = calloc(count, sizeof *weight);
    enum ms_status status = label && weight ? MS_OK : no_memory(err);
    if (status == MS_OK) {
        for (size_t i = 0; i < count; i++) {
            label[i] = (float)labels[i];
            weight[i] = weights ? (float)weights[labels[i]] : 1;
        }
        if (XGDMatrixSetFloatInfo(matrix, "label", label, count) != 0 ||
            (weights && XGDMatrixSetFloatInfo(matrix, "weight", weight, count) != 0))
            status = failed(err);
    }
    free(label);
    free(weight);
    return status;
}

static enum ms_status make_matrix(const struct ms_net_sparse *rows, size_t count, uint32_t size,
                                  DMatrixHandle *out, struct ms_error *err)
{
    size_t total = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        total += rows[i].count;
    size_t *start = calloc(count + 1, sizeof *start);
    unsigned *ids = calloc(total + 1, sizeof *ids);
    float *values = calloc(total + 1, sizeof *values);
    enum ms_status status = start && ids && values ? MS_OK : no_memory(err);
    for (size_t i = 0; status == MS_OK && i < count; i++) {
        for (uint32_t k = 0; k < rows[i].count; k++, at++) {
            ids[at] = rows[i].ids[k];
            values[at] = rows[i].values[k];
        }
        start[i + 1] = at;
    }
    if (status == MS_OK &&
        XGDMatrixCreateFromCSREx(start, ids, values, count + 1, total, size, out) != 0)
        status = failed(err);
    free(start);
    free(ids);
    free(values);
    return status;
}

/* ---- trees from the library ---- */

static const json_t *member(const json_t *object, const char *name)
{
    return json_object_get(object, name);
}

/* The library's numbers of one tree, and where they go. */
struct taking {
    const json_t *left, *right, *feature, *condition, *absent;
    size_t nodes;
    struct ms_trees *out;
    int32_t from, next; /* in `out` */
};

static bool take_node(struct taking *t, json_int_t node, unsigned depth)
{
    if (node < 0 || (size_t)node >= t->nodes || depth > 64 ||
        t->next >= (int32_t)t->out->node_count)
        return false;
    size_t n = (size_t)node;
    int32_t at = t->next++;
    json_int_t left = json_integer_value(json_array_get(t->left, n));
    t->out->value[at] = (float)json_number_value(json_array_get(t->condition, n));
    t->out->feature[at] = -1;
    if (left == -1)
        return true;
    const json_t *absent = json_array_get(t->absent, n);
    t->out->feature[at] = (int32_t)json_integer_value(json_array_get(t->feature, n));
    t->out->absent[at] = json_is_true(absent) || json_integer_value(absent) == 1;
    if (!take_node(t, left, depth + 1))
        return false;
    t->out->right[at] = t->next - t->from;
    return take_node(t, json_integer_value(json_array_get(t->right, n)), depth + 1);
}

static bool take_trees(const json_t *model, struct ms_trees *out)
{
    const json_t *trees = member(model, "trees"), *info = member(model, "tree_info");
    int32_t next = 0;
    for (uint32_t i = 0; i < out->tree_count; i++) {
        const json_t *tree = json_array_get(trees, i);
        struct taking t = {.left = member(tree, "left_children"),
                           .right = member(tree, "right_children"),
                           .feature = member(tree, "split_indices"),
                           .condition = member(tree, "split_conditions"),
                           .absent = member(tree, "default_left"),
                           .nodes = json_array_size(member(tree, "left_children")),
                           .out = out,
                           .from = next,
                           .next = next};
        if (!take_node(&t, 0, 0))
            return false;
        out->start[i] = next;
        out->output[i] = (int32_t)json_integer_value(json_array_get(info, i));
        next = t.next;
    }
    out->start[out->tree_count] = next;
    out->node_count = (uint32_t)next; /* nodes cut off again are not taken over */
    return true;
}

static enum ms_status take_model(BoosterHandle booster, uint32_t classes, uint32_t size,
                                 struct ms_trees *out, struct ms_error *err)
{
    bst_ulong length;
    const char *text;
    json_error_t why;
    if (XGBoosterSaveModelToBuffer(booster, "{\"format\":\"json\"}", &length, &text) != 0)
        return failed(err);
    json_t *json = json_loadb(text, length, 0, &why);
    const json_t *model = member(member(member(json, "learner"), "gradient_booster"), "model");
    const json_t *trees = member(model, "trees");
    size_t nodes = 0, i;
    const json_t *tree;
    json_array_foreach(trees, i, tree) nodes += json_array_size(member(tree, "left_children"));
    enum ms_status status;
    if (!model || json_array_size(trees) > UINT32_MAX || nodes > UINT32_MAX)
        status = ms_error_set(err, MS_E_BUG, "libxgboost's model is not as expected");
    else
        status = ms_trees_make(size, classes == 2 ? 1 : classes, (uint32_t)json_array_size(trees),
                               (uint32_t)nodes, out, err);
    if (status == MS_OK && !take_trees(model, out))
        status = ms_error_set(err, MS_E_BUG, "libxgboost's trees are not as expected");
    if (status == MS_OK)
        status = ms_trees_check(out, err);
    json_decref(json);
    return status;
}

/* ---- growing ---- */

static bool set_number(BoosterHandle booster, const char *name, double value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%.10g", value); /* a seed of 31 bits, whole */
    return XGBoosterSetParam(booster, name, text) == 0;
}

static enum ms_status grow(DMatrixHandle matrix, uint32_t classes, const struct ms_boost_options *o,
                           BoosterHandle *booster, struct ms_error *err)
{
    if (XGBoosterCreate(&matrix, 1, booster) != 0)
        return failed(err);
    BoosterHandle b = *booster;
    bool good = XGBoosterSetParam(b, "objective",
                                  classes == 2 ? "binary:logistic" : "multi:softprob") == 0 &&
                (classes == 2 || set_number(b, "num_class", classes)) &&
                XGBoosterSetParam(b, "tree_method", "hist") == 0 && set_number(b, "verbosity", 0) &&
                set_number(b, "base_score", .5) && set_number(b, "max_depth", o->depth) &&
                set_number(b, "learning_rate", o->rate) && set_number(b, "subsample", o->rows) &&
                set_number(b, "colsample_bytree", o->columns) && set_number(b, "nthread", 1) &&
                set_number(b, "max_bin", 2) &&
                set_number(b, "seed", (double)(o->seed & 0x7fffffff));
    for (uint32_t r = 0; good && r < o->rounds; r++)
        good = XGBoosterUpdateOneIter(b, (int)r, matrix) == 0;
    return good ? MS_OK : failed(err);
}

enum ms_status ms_fit_boosted(const struct ms_net_sparse *rows, const uint32_t *labels,
                              size_t count, uint32_t classes, uint32_t size, const double *weights,
                              const struct ms_boost_options *options, struct ms_trees *out,
                              struct ms_error *err)
{
    *out = (struct ms_trees){0};
    if (count == 0 || size == 0)
        return ms_error_set(err, MS_E_INPUT, "boosted trees need rows with features");
    uint32_t *turned = calloc(count, sizeof *turned); /* of two classes the first is label 1 */
    double both[2] = {weights ? weights[1] : 1, weights ? weights[0] : 1};
    DMatrixHandle matrix = NULL;
    BoosterHandle booster = NULL;
    enum ms_status status = turned ? MS_OK : no_memory(err);
    for (size_t i = 0; turned && i < count; i++)
        turned[i] = classes == 2 ? 1 - labels[i] : labels[i];
    if (status == MS_OK)
        status = make_matrix(rows, count, size, &matrix, err);
    if (status == MS_OK)
        status = fill_matrix(matrix, turned, count,
                             weights ? (classes == 2 ? both : weights) : NULL, err);
    if (status == MS_OK)
        status = grow(matrix, classes, options, &booster, err);
    if (status == MS_OK)
        status = take_model(booster, classes, size, out, err);
    if (booster)
        (void)XGBoosterFree(booster);
    if (matrix)
        (void)XGDMatrixFree(matrix);
    free(turned);
    if (status != MS_OK)
        ms_trees_release(out);
    return status;
}

#endif
