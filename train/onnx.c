/* From a net's layers to the operators of ONNX. The format itself is in onnx_graph.c. Values are
 * laid out as the recurrent operators want them: steps first, T x B x width. */
#include "train/onnx.h"

#include "train/onnx_graph.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define NODE(g, op, ...)                                      \
    ms_onnx_node(g, op, (const ms_onnx_value[]){__VA_ARGS__}, \
                 COUNT(((const ms_onnx_value[]){__VA_ARGS__})))
#define INT64S(g, ...) \
    ms_onnx_int64s(g, (const int64_t[]){__VA_ARGS__}, COUNT(((const int64_t[]){__VA_ARGS__})))

enum { LSTM_GATES = 4, GRU_GATES = 3, NAME_BYTES = 80 };

/* What every net of the file reads, made once. */
struct inputs {
    struct ms_onnx_graph *g;
    ms_onnx_value tokens, wide;
    ms_onnx_value features[MS_LIMIT_NET_FEATURES];
    ms_onnx_value lengths;     /* int64 B */
    ms_onnx_value clamped;     /* int32 B, at least 1; "" without masking */
    ms_onnx_value alive;       /* bool T x B x 1: the step is within its row */
    ms_onnx_value last, first; /* float T x B x 1: 1 at a row's last and first step, else 0 */
    ms_onnx_value some;        /* float B x 1: 1 for a row that is not empty, else 0 */
};

struct maker {
    const struct inputs *in;
    struct ms_onnx_graph *g;
    struct ms_net *net;
    const struct ms_net_config *config;
    char prefix[16]; /* of the names of its constants */
    enum ms_status status;
    struct ms_error *err;
};

/* ---- constants from the parameter block ---- */

static const struct ms_net_tensor *find(struct maker *m, const char *name)
{
    size_t count;
    const struct ms_net_tensor *tensors = ms_net_tensors(m->net, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(tensors[i].name, name) == 0)
            return &tensors[i];
    if (m->status == MS_OK)
        m->status = ms_error_set(m->err, MS_E_BUG, "the net has no tensor %s", name);
    return NULL;
}

static const float *numbers(struct maker *m, const char *name)
{
    const struct ms_net_tensor *t = find(m, name);
    return t ? ms_net_params(m->net) + t->offset : NULL;
}

/* A tensor as it is: a kernel rows x columns, a bias as its columns alone. */
static ms_onnx_value constant(struct maker *m, const char *name, size_t rank)
{
    const struct ms_net_tensor *t = find(m, name);
    if (!t)
        return NULL;
    char full[NAME_BYTES];
    const int64_t dims[2] = {(int64_t)t->rows, (int64_t)t->columns};
    (void)snprintf(full, sizeof full, "%s%s", m->prefix, name);
    return ms_onnx_floats(m->g, full, rank == 1 ? dims + 1 : dims, rank,
                          ms_net_params(m->net) + t->offset);
}

/* A feature's table with a row of zeros behind it: Gather counts index -1 from the end, so that
 * "none" is that row. The input has the plain name. */
static ms_onnx_value table_with_none(struct maker *m, const char *name)
{
    const struct ms_net_tensor *t = find(m, name);
    if (!t)
        return NULL;
    float *table = ms_onnx_take(m->g, (t->rows + 1) * t->columns, sizeof *table);
    if (!table)
        return NULL;
    memcpy(table, ms_net_params(m->net) + t->offset, t->rows * t->columns * sizeof *table);
    char full[NAME_BYTES];
    const int64_t dims[2] = {(int64_t)t->rows + 1, (int64_t)t->columns};
    (void)snprintf(full, sizeof full, "%s%s.table", m->prefix, name);
    return ms_onnx_floats(m->g, full, dims, 2, table);
}

/* ---- layers ---- */

static const char *activation_name(enum ms_net_activation activation)
{
    static const char *const names[] = {NULL, "Relu", "Tanh", "Softsign"};
    return names[activation];
}

static ms_onnx_value activate(struct maker *m, ms_onnx_value x, enum ms_net_activation activation)
{
    const char *op = activation_name(activation);
    return op ? NODE(m->g, op, x) : x;
}

/* B x in to B x out. */
static ms_onnx_value dense(struct maker *m, ms_onnx_value x, const char *prefix,
                           enum ms_net_activation activation)
{
    char kernel[40], bias[40];
    (void)snprintf(kernel, sizeof kernel, "%s.kernel", prefix);
    (void)snprintf(bias, sizeof bias, "%s.bias", prefix);
    ms_onnx_value w = constant(m, kernel, 2), b = constant(m, bias, 1);
    return activate(m, NODE(m->g, "Gemm", x, w, b), activation);
}

/* T x B x E */
static ms_onnx_value embed(struct maker *m)
{
    ms_onnx_value x = NODE(m->g, "Gather", constant(m, "embedding", 2), m->in->tokens);
    for (uint32_t i = 0; i < m->config->feature_count; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "feature%u", i);
        x = NODE(m->g, "Add", x,
                 NODE(m->g, "Gather", table_with_none(m, name), m->in->features[i]));
    }
    x = NODE(m->g, "Transpose", x);
    ms_onnx_attribute_ints(m->g, "perm", (const int64_t[]){1, 0, 2}, 3);
    return x;
}

/* The gates of ONNX: input, output, forget, candidate for the LSTM; ours have forget and candidate
 * before output. The GRU's order is the same in both: update, reset, candidate. */
static size_t our_gate(enum ms_net_cell cell, size_t gate)
{
    static const size_t lstm[LSTM_GATES] = {0, 3, 1, 2};
    return cell == MS_NET_LSTM ? lstm[gate] : gate;
}

/* rows x (gates x H) of ours, transposed to (gates x H) x rows of ONNX's. */
static void transpose_gates(enum ms_net_cell cell, const float *ours, size_t rows, size_t hidden,
                            float *out)
{
    const size_t gates = cell == MS_NET_LSTM ? LSTM_GATES : GRU_GATES;
    for (size_t k = 0; k < gates; k++)
        for (size_t j = 0; j < hidden; j++)
            for (size_t r = 0; r < rows; r++)
                out[(k * hidden + j) * rows + r] =
                    ours[(r * gates + our_gate(cell, k)) * hidden + j];
}

enum { KERNEL, RECURRENT, BIAS, WEIGHTS };
static const char *const weight_names[WEIGHTS] = {"kernel", "recurrent", "bias"};

/* The three constants of a layer, both directions in each: D x GH x I, D x GH x H, D x 2GH. Of the
 * two biases an LSTM of ours has the first alone. */
static void recurrent_weights(struct maker *m, uint32_t layer, ms_onnx_value out[WEIGHTS])
{
    const struct ms_net_recurrent *c = &m->config->recurrent[layer];
    const size_t G = c->cell == MS_NET_LSTM ? LSTM_GATES : GRU_GATES, H = c->hidden;
    const size_t in = ms_net_config_recurrent_input(m->config, layer);
    const size_t directions = c->bidirectional ? 2 : 1;
    const size_t size[WEIGHTS] = {G * H * in, G * H * H, 2 * G * H};
    const char *cell = c->cell == MS_NET_LSTM ? "lstm" : "gru";
    for (int w = 0; w < WEIGHTS; w++) {
        float *all = ms_onnx_take(m->g, directions * size[w], sizeof *all);
        for (size_t d = 0; all && d < directions; d++) {
            char name[40];
            const char *side = directions == 1 ? "" : d == 0 ? ".forward" : ".backward";
            (void)snprintf(name, sizeof name, "%s%u%s.%s", cell, layer, side, weight_names[w]);
            const float *ours = numbers(m, name);
            float *to = all + d * size[w];
            const size_t rows = w == KERNEL ? in : H;
            if (ours && w != BIAS)
                transpose_gates(c->cell, ours, rows, H, to);
            for (size_t b = 0; ours && w == BIAS && b < (c->cell == MS_NET_GRU ? 2 : 1); b++)
                transpose_gates(c->cell, ours + b * G * H, 1, H, to + b * G * H);
        }
        char full[NAME_BYTES];
        const int64_t dims[3] = {(int64_t)directions, (int64_t)(w == BIAS ? 2 * G * H : G * H),
                                 (int64_t)(w == KERNEL ? in : H)};
        (void)snprintf(full, sizeof full, "%s%s%u.%s", m->prefix, cell, layer, weight_names[w]);
        out[w] = ms_onnx_floats(m->g, full, dims, w == BIAS ? 2 : 3, all);
    }
}

/* T x B x I to T x B x W. */
static ms_onnx_value recurrent(struct maker *m, uint32_t layer, ms_onnx_value x)
{
    const struct ms_net_recurrent *c = &m->config->recurrent[layer];
    const bool lstm = c->cell == MS_NET_LSTM;
    ms_onnx_value w[WEIGHTS];
    recurrent_weights(m, layer, w);
    const char *functions[6];
    size_t n = 0;
    for (int d = 0; d < (c->bidirectional ? 2 : 1); d++) {
        functions[n++] = "Sigmoid";
        functions[n++] = activation_name(c->activation);
        if (lstm)
            functions[n++] = activation_name(c->activation);
    }
    x = NODE(m->g, lstm ? "LSTM" : "GRU", x, w[KERNEL], w[RECURRENT], w[BIAS], m->in->clamped);
    ms_onnx_attribute_int(m->g, "hidden_size", c->hidden);
    ms_onnx_attribute_text(m->g, "direction", c->bidirectional ? "bidirectional" : "forward");
    ms_onnx_attribute_texts(m->g, "activations", functions, n);
    if (!lstm)
        ms_onnx_attribute_int(m->g, "linear_before_reset", 1);
    x = NODE(m->g, "Transpose", x); /* T x D x B x H */
    ms_onnx_attribute_ints(m->g, "perm", (const int64_t[]){0, 2, 1, 3}, 4);
    const size_t width = ms_net_config_recurrent_input(m->config, layer + 1);
    return NODE(m->g, "Reshape", x, INT64S(m->g, 0, 0, (int64_t)width));
}

/* ---- pooling: T x B x W to B x P ---- */

static ms_onnx_value sum_steps(struct ms_onnx_graph *g, ms_onnx_value x)
{
    x = NODE(g, "ReduceSum", x, INT64S(g, 0));
    ms_onnx_attribute_int(g, "keepdims", 0);
    return x;
}

static ms_onnx_value to_float(struct ms_onnx_graph *g, ms_onnx_value x)
{
    x = NODE(g, "Cast", x);
    ms_onnx_attribute_int(g, "to", MS_ONNX_FLOAT);
    return x;
}

static ms_onnx_value concat(struct ms_onnx_graph *g, const ms_onnx_value *parts, size_t count)
{
    ms_onnx_value x = ms_onnx_node(g, "Concat", parts, count);
    ms_onnx_attribute_int(g, "axis", 1);
    return x;
}

/* A product with 0 and 1 would carry on what a runtime leaves behind a row's end; a choice does
 * not. */
static ms_onnx_value clean(struct maker *m, ms_onnx_value x)
{
    return NODE(m->g, "Where", m->in->alive, x, ms_onnx_scalar(m->g, 0));
}

static ms_onnx_value pool_last(struct maker *m, ms_onnx_value cleaned, size_t width)
{
    const uint32_t n = m->config->recurrent_count;
    ms_onnx_value last = sum_steps(m->g, NODE(m->g, "Mul", cleaned, m->in->last));
    if (n == 0 || !m->config->recurrent[n - 1].bidirectional)
        return last;
    ms_onnx_value first = sum_steps(m->g, NODE(m->g, "Mul", cleaned, m->in->first));
    ms_onnx_value axis = INT64S(m->g, 1), half = INT64S(m->g, (int64_t)width / 2);
    const ms_onnx_value parts[2] = {
        NODE(m->g, "Slice", last, INT64S(m->g, 0), half, axis),
        NODE(m->g, "Slice", first, half, INT64S(m->g, (int64_t)width), axis)};
    return concat(m->g, parts, 2);
}

static ms_onnx_value pool_mean(struct maker *m, ms_onnx_value cleaned)
{
    ms_onnx_value n = NODE(m->g, "Max", to_float(m->g, m->in->lengths), ms_onnx_scalar(m->g, 1));
    return NODE(m->g, "Div", sum_steps(m->g, cleaned),
                NODE(m->g, "Reshape", n, INT64S(m->g, -1, 1)));
}

static ms_onnx_value pool_max(struct maker *m, ms_onnx_value x)
{
    x = NODE(m->g, "Where", m->in->alive, x, ms_onnx_scalar(m->g, -FLT_MAX));
    x = NODE(m->g, "ReduceMax", x);
    ms_onnx_attribute_ints(m->g, "axes", (const int64_t[]){0}, 1);
    ms_onnx_attribute_int(m->g, "keepdims", 0);
    return NODE(m->g, "Mul", x, m->in->some); /* an empty row pools to zeros */
}

/* weights = softmax over the steps of tanh(h W + b) v */
static ms_onnx_value pool_attention(struct maker *m, ms_onnx_value x, ms_onnx_value cleaned)
{
    ms_onnx_value h = NODE(m->g, "MatMul", x, constant(m, "attention.kernel", 2));
    h = NODE(m->g, "Tanh", NODE(m->g, "Add", h, constant(m, "attention.bias", 1)));
    const struct ms_net_tensor *v = find(m, "attention.vector");
    const int64_t dims[2] = {v ? (int64_t)(v->rows * v->columns) : 0, 1};
    char full[NAME_BYTES];
    (void)snprintf(full, sizeof full, "%sattention.vector", m->prefix);
    h = NODE(m->g, "MatMul", h,
             ms_onnx_floats(m->g, full, dims, 2, numbers(m, "attention.vector")));
    h = NODE(m->g, "Where", m->in->alive, h, ms_onnx_scalar(m->g, -FLT_MAX)); /* T x B x 1 */
    h = NODE(m->g, "Softmax", h);
    ms_onnx_attribute_int(m->g, "axis", 0);
    return sum_steps(m->g, NODE(m->g, "Mul", cleaned, h));
}

static ms_onnx_value pool(struct maker *m, ms_onnx_value x)
{
    const size_t width = ms_net_config_recurrent_input(m->config, m->config->recurrent_count);
    ms_onnx_value cleaned = clean(m, x);
    switch (m->config->pooling) {
    case MS_NET_POOL_LAST:
        return pool_last(m, cleaned, width);
    case MS_NET_POOL_MEAN:
        return pool_mean(m, cleaned);
    case MS_NET_POOL_MAX:
        return pool_max(m, x);
    case MS_NET_POOL_ATTENTION:
        return pool_attention(m, x, cleaned);
    case MS_NET_POOL_MEAN_MAX_LAST:
        break;
    }
    const ms_onnx_value parts[3] = {pool_mean(m, cleaned), pool_max(m, x),
                                    pool_last(m, cleaned, width)};
    return concat(m->g, parts, 3);
}

/* ---- the whole ---- */

static ms_onnx_value head(struct maker *m, ms_onnx_value x)
{
    if (m->config->head == MS_NET_HEAD_SOFTMAX) {
        x = NODE(m->g, "Softmax", x);
        ms_onnx_attribute_int(m->g, "axis", 1);
        return x;
    }
    if (m->config->head == MS_NET_HEAD_SIGMOID)
        x = NODE(m->g, "Sigmoid", x);
    const ms_onnx_value both[2] = {x, NODE(m->g, "Sub", ms_onnx_scalar(m->g, 1), x)};
    return concat(m->g, both, 2);
}

/* B x C */
static ms_onnx_value net_scores(struct maker *m)
{
    const struct ms_net_config *c = m->config;
    ms_onnx_value x = embed(m);
    for (uint32_t i = 0; i < c->recurrent_count; i++)
        x = recurrent(m, i, x);
    x = pool(m, x);
    if (c->wide.size > 0) {
        const ms_onnx_value parts[2] = {x, dense(m, m->in->wide, "wide", c->wide.activation)};
        x = concat(m->g, parts, 2);
    }
    for (uint32_t i = 0; i < c->dense_count; i++) {
        char prefix[16];
        (void)snprintf(prefix, sizeof prefix, "dense%u", i);
        x = dense(m, x, prefix, c->dense[i].activation);
    }
    return head(m, dense(m, x, "output", MS_NET_LINEAR));
}

/* The values that say which steps count. */
static void make_masks(struct inputs *in, const struct ms_net_config *c)
{
    struct ms_onnx_graph *g = in->g;
    const int64_t zero = 0, one = 1;
    ms_onnx_value shape = NODE(g, "Shape", in->tokens);
    if (!c->mask_padding) /* every row has all steps */
        in->lengths = NODE(g, "Expand", INT64S(g, (int64_t)c->pad_length),
                           NODE(g, "Gather", shape, INT64S(g, 0)));
    in->clamped = "";
    if (c->mask_padding) { /* a runtime may refuse a length of 0 */
        in->clamped = NODE(g, "Cast", NODE(g, "Max", in->lengths, INT64S(g, 1)));
        ms_onnx_attribute_int(g, "to", MS_ONNX_INT32);
    }
    ms_onnx_value steps = NODE(g, "Gather", shape, ms_onnx_int64s(g, &one, 0));
    ms_onnx_value t =
        NODE(g, "Range", ms_onnx_int64s(g, &zero, 0), steps, ms_onnx_int64s(g, &one, 0));
    t = NODE(g, "Reshape", t, INT64S(g, -1, 1, 1));
    ms_onnx_value n = NODE(g, "Reshape", in->lengths, INT64S(g, 1, -1, 1));
    in->alive = NODE(g, "Less", t, n);
    in->last = to_float(g, NODE(g, "Equal", t, NODE(g, "Sub", n, INT64S(g, 1))));
    in->first = to_float(g, NODE(g, "And", in->alive, NODE(g, "Equal", t, INT64S(g, 0))));
    n = NODE(g, "Reshape", in->lengths, INT64S(g, -1, 1));
    in->some = to_float(g, NODE(g, "Greater", n, INT64S(g, 0)));
}

static void make_inputs(struct inputs *in, const struct ms_net_config *c)
{
    const struct ms_onnx_dim steps[2] = {{"batch", 0},
                                         {"steps", c->mask_padding ? 0 : c->pad_length}};
    in->tokens = ms_onnx_input(in->g, "tokens", MS_ONNX_INT64, steps, 2,
                               c->mask_padding ? "token numbers, each row from its start"
                                               : "token numbers, padded in front with 0");
    if (c->mask_padding)
        in->lengths = ms_onnx_input(in->g, "lengths", MS_ONNX_INT64, steps, 1,
                                    "steps of each row, 0 to steps");
    for (uint32_t i = 0; i < c->feature_count; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "feature%u", i);
        in->features[i] = ms_onnx_input(in->g, name, MS_ONNX_INT64, steps, 2,
                                        "an id of this feature for each step, -1 for none");
    }
    const struct ms_onnx_dim wide[2] = {{"batch", 0}, {"features", c->wide.size}};
    if (c->wide.size > 0)
        in->wide = ms_onnx_input(in->g, "wide", MS_ONNX_FLOAT, wide, 2,
                                 "the weights of the n-grams that a row has, 0 for the others");
    make_masks(in, c);
}

/* Feature tables and the wide branch are read by the nets that have them. */
static bool add_inputs(struct ms_net_config *all, const struct ms_net_config *one)
{
    bool same = all->vocabulary == one->vocabulary && all->mask_padding == one->mask_padding &&
                (all->mask_padding || all->pad_length == one->pad_length) &&
                ms_net_config_classes(all) == ms_net_config_classes(one) &&
                (all->wide.size == 0 || one->wide.size == 0 || all->wide.size == one->wide.size) &&
                (all->feature_count == 0 || one->feature_count == 0 ||
                 all->feature_count == one->feature_count);
    for (uint32_t i = 0; same && i < all->feature_count && i < one->feature_count; i++)
        same = all->feature[i].size == one->feature[i].size;
    if (all->wide.size == 0)
        all->wide = one->wide;
    for (uint32_t i = all->feature_count; i < one->feature_count; i++)
        all->feature[i] = one->feature[i];
    if (all->feature_count == 0)
        all->feature_count = one->feature_count;
    return same;
}

enum ms_status ms_onnx_inputs(const struct ms_onnx_request *request, struct ms_net_config *out,
                              struct ms_error *err)
{
    *out = *ms_net_config_get(request->nets[0]);
    for (size_t i = 1; i < request->count; i++)
        if (!add_inputs(out, ms_net_config_get(request->nets[i])))
            return ms_error_set(err, MS_E_INPUT,
                                "nets 1 and %zu of the ensemble do not read the same inputs",
                                i + 1);
    return MS_OK;
}

/* The mean of the nets' scores. */
static enum ms_status make_scores(const struct ms_onnx_request *request, const struct inputs *in,
                                  ms_onnx_value *out, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    ms_onnx_value sum = NULL;
    for (size_t i = 0; i < request->count && status == MS_OK; i++) {
        struct maker m = {.in = in,
                          .g = in->g,
                          .net = request->nets[i],
                          .config = ms_net_config_get(request->nets[i]),
                          .err = err};
        if (request->count > 1)
            (void)snprintf(m.prefix, sizeof m.prefix, "member%u.", (unsigned)i % 100000);
        ms_onnx_value scores = net_scores(&m);
        sum = i == 0 ? scores : NODE(in->g, "Add", sum, scores);
        status = m.status;
    }
    *out = request->count > 1
               ? NODE(in->g, "Div", sum, ms_onnx_scalar(in->g, (float)request->count))
               : sum;
    return status;
}

enum ms_status ms_onnx_encode(const struct ms_onnx_request *request, struct ms_buf *out,
                              struct ms_error *err)
{
    struct ms_net_config all;
    enum ms_status status = ms_onnx_inputs(request, &all, err);
    if (status != MS_OK)
        return status;
    struct inputs in = {0};
    status = ms_onnx_graph_new(&in.g, err);
    if (status != MS_OK)
        return status;
    make_inputs(&in, &all);
    ms_onnx_value scores;
    status = make_scores(request, &in, &scores, err);
    const struct ms_onnx_dim dims[2] = {{"batch", 0}, {"classes", ms_net_config_classes(&all)}};
    ms_onnx_output(in.g, "scores", scores, MS_ONNX_FLOAT, dims, 2,
                   "a score for each class, in the order of the metadata's classes");
    if (status == MS_OK)
        status = ms_onnx_graph_encode(in.g, "malseq", request->metadata, out, err);
    ms_onnx_graph_free(in.g);
    return status;
}
