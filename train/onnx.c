/* From the layers of nets, and from linear parts and trees, to the operators of ONNX. The format
 * itself is in onnx_graph.c. Values are laid out as the recurrent operators want them: steps first,
 * T x B x width. */
#include "train/onnx.h"

#include "train/onnx_graph.h"
#include "train/onnx_trees.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define NODE(g, op, ...)                                      \
    ms_onnx_node(g, op, (const ms_onnx_value[]){__VA_ARGS__}, \
                 COUNT(((const ms_onnx_value[]){__VA_ARGS__})))
#define INT64S(g, ...) \
    ms_onnx_int64s(g, (const int64_t[]){__VA_ARGS__}, COUNT(((const int64_t[]){__VA_ARGS__})))

enum { LSTM_GATES = 4, GRU_GATES = 3, NAME_BYTES = 80 };

/* What the members of the file read, made once. */
struct inputs {
    struct ms_onnx_graph *g;
    ms_onnx_value tokens, wide;
    ms_onnx_value presence; /* 1 for each n-gram that a row has; NULL until somebody wants it */
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

static ms_onnx_value softmax(struct ms_onnx_graph *g, ms_onnx_value x)
{
    x = NODE(g, "Softmax", x);
    ms_onnx_attribute_int(g, "axis", 1);
    return x;
}

/* p and 1 - p */
static ms_onnx_value both_classes(struct ms_onnx_graph *g, ms_onnx_value p)
{
    const ms_onnx_value both[2] = {p, NODE(g, "Sub", ms_onnx_scalar(g, 1), p)};
    return concat(g, both, 2);
}

static ms_onnx_value head(struct maker *m, ms_onnx_value x)
{
    if (m->config->head == MS_NET_HEAD_SOFTMAX)
        return softmax(m->g, x);
    if (m->config->head == MS_NET_HEAD_SIGMOID)
        x = NODE(m->g, "Sigmoid", x);
    return both_classes(m->g, x);
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

/* B x C: sigmoids, of more than two classes divided by their sum (model_linear.h). That is the
 * softmax of their logarithms, ln s(z) = -ln(1 + e^-z), and holds where all of them are nearly 0.
 */
static ms_onnx_value linear_scores(struct inputs *in, const struct ms_member *member,
                                   const char *prefix)
{
    const struct ms_linear *l = &member->linear;
    const int64_t dims[2] = {(int64_t)l->size, (int64_t)l->outputs};
    char name[NAME_BYTES];
    if (member->presence && !in->presence) /* weights of n-grams are over 0 */
        in->presence = NODE(in->g, "Sign", in->wide);
    (void)snprintf(name, sizeof name, "%slinear.kernel", prefix);
    ms_onnx_value w = ms_onnx_floats(in->g, name, dims, 2, l->kernel);
    (void)snprintf(name, sizeof name, "%slinear.bias", prefix);
    ms_onnx_value b = ms_onnx_floats(in->g, name, dims + 1, 1, l->bias);
    ms_onnx_value z = NODE(in->g, "Gemm", member->presence ? in->presence : in->wide, w, b);
    if (l->outputs == 1)
        return both_classes(in->g, NODE(in->g, "Sigmoid", z));
    return softmax(in->g, NODE(in->g, "Neg", NODE(in->g, "Softplus", NODE(in->g, "Neg", z))));
}

/* B x C: a sigmoid or a softmax over the sums of the leaves (model_trees.h). */
static ms_onnx_value trees_scores(struct inputs *in, const struct ms_member *member)
{
    ms_onnx_value none = NODE(in->g, "Equal", in->wide, ms_onnx_scalar(in->g, 0));
    ms_onnx_value x = member->presence ? ms_onnx_scalar(in->g, 1) : in->wide;
    x = NODE(in->g, "Where", none, ms_onnx_scalar(in->g, NAN), x);
    ms_onnx_value z = ms_onnx_trees(in->g, &member->trees, x);
    if (member->trees.outputs == 1)
        return both_classes(in->g, NODE(in->g, "Sigmoid", z));
    return softmax(in->g, z);
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

static void make_steps(struct inputs *in, const struct ms_net_config *c)
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
}

static void make_inputs(struct inputs *in, const struct ms_onnx_inputs *all)
{
    const struct ms_onnx_dim wide[2] = {{"batch", 0}, {"features", all->wide}};
    if (all->steps)
        make_steps(in, &all->net);
    if (all->wide > 0)
        in->wide = ms_onnx_input(in->g, "wide", MS_ONNX_FLOAT, wide, 2,
                                 "the weights of the n-grams that a row has, 0 for the others");
    if (all->steps)
        make_masks(in, &all->net);
}

/* Feature tables are read by the nets that have them. */
static bool add_net(struct ms_onnx_inputs *all, const struct ms_net_config *one)
{
    struct ms_net_config *net = &all->net;
    if (!all->steps)
        *net = *one;
    all->steps = true;
    bool same = net->vocabulary == one->vocabulary && net->mask_padding == one->mask_padding &&
                (net->mask_padding || net->pad_length == one->pad_length) &&
                (net->feature_count == 0 || one->feature_count == 0 ||
                 net->feature_count == one->feature_count);
    for (uint32_t i = 0; same && i < net->feature_count && i < one->feature_count; i++)
        same = net->feature[i].size == one->feature[i].size;
    for (uint32_t i = net->feature_count; i < one->feature_count; i++)
        net->feature[i] = one->feature[i];
    if (net->feature_count == 0)
        net->feature_count = one->feature_count;
    return same;
}

/* Its inputs, and whether they and its classes are those of the members before it. */
static bool add_member(struct ms_onnx_inputs *all, const struct ms_member *member, uint32_t classes)
{
    const struct ms_net_config *net =
        member->kind == MS_MEMBER_NET ? ms_net_config_get(member->net) : NULL;
    const bool trees = member->kind == MS_MEMBER_TREES;
    const uint32_t wide = net ? net->wide.size : trees ? member->trees.size : member->linear.size;
    const uint32_t outputs = trees ? member->trees.outputs : member->linear.outputs;
    bool same = all->wide == 0 || wide == 0 || all->wide == wide;
    all->wide = wide ? wide : all->wide;
    if (net)
        return add_net(all, net) && same && ms_net_config_classes(net) == classes;
    return same && (outputs == 1 ? 2 : outputs) == classes;
}

enum ms_status ms_onnx_inputs(const struct ms_onnx_request *request, struct ms_onnx_inputs *out,
                              struct ms_error *err)
{
    *out = (struct ms_onnx_inputs){0};
    for (size_t i = 0; i < request->count; i++) {
        const struct ms_member *member = &request->members[i];
        if (member->kind == MS_MEMBER_SHARES)
            return ms_error_set(err, MS_E_INPUT, "shares of classes have no ONNX form");
        if (!add_member(out, member, request->classes))
            return ms_error_set(err, MS_E_INPUT,
                                "parts 1 and %zu of the ensemble do not read the same inputs",
                                i + 1);
    }
    return MS_OK;
}

static ms_onnx_value member_scores(struct inputs *in, const struct ms_member *member,
                                   const char *prefix, enum ms_status *status, struct ms_error *err)
{
    if (member->kind == MS_MEMBER_LINEAR)
        return linear_scores(in, member, prefix);
    if (member->kind == MS_MEMBER_TREES)
        return trees_scores(in, member);
    struct maker m = {.in = in,
                      .g = in->g,
                      .net = member->net,
                      .config = ms_net_config_get(member->net),
                      .err = err};
    (void)snprintf(m.prefix, sizeof m.prefix, "%s", prefix);
    ms_onnx_value scores = net_scores(&m);
    *status = m.status;
    return scores;
}

/* The mean of the members' scores, each counted as often as its weight says. */
static enum ms_status make_scores(const struct ms_onnx_request *request, struct inputs *in,
                                  ms_onnx_value *out, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    ms_onnx_value sum = NULL;
    uint32_t weights = 0;
    for (size_t i = 0; i < request->count && status == MS_OK; i++) {
        char prefix[16] = "";
        if (request->count > 1)
            (void)snprintf(prefix, sizeof prefix, "member%u.", (unsigned)i % 100000);
        const struct ms_member *member = &request->members[i];
        const uint32_t weight = member->weight ? member->weight : 1;
        ms_onnx_value scores = member_scores(in, member, prefix, &status, err);
        if (weight > 1 && request->count > 1)
            scores = NODE(in->g, "Mul", scores, ms_onnx_scalar(in->g, (float)weight));
        sum = i == 0 ? scores : NODE(in->g, "Add", sum, scores);
        weights += weight;
    }
    *out =
        request->count > 1 ? NODE(in->g, "Div", sum, ms_onnx_scalar(in->g, (float)weights)) : sum;
    return status;
}

enum ms_status ms_onnx_encode(const struct ms_onnx_request *request, struct ms_buf *out,
                              struct ms_error *err)
{
    struct ms_onnx_inputs all;
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
    const struct ms_onnx_dim dims[2] = {{"batch", 0}, {"classes", request->classes}};
    ms_onnx_output(in.g, "scores", scores, MS_ONNX_FLOAT, dims, 2,
                   "a score for each class, in the order of the metadata's classes");
    if (status == MS_OK)
        status = ms_onnx_graph_encode(in.g, "malseq", request->metadata, out, err);
    ms_onnx_graph_free(in.g);
    return status;
}
