/* Writes nets of every shape, linear parts and trees as ONNX files, and beside each what the net
 * itself says about random rows: onnx_cases FOLDER makes NAME.onnx and NAME.json. A program of
 * tests/cli/test_train_onnx.py.
 */
#include "base/file.h"
#include "base/rng.h"
#include "train/onnx.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCABULARY = 11, ROWS = 9, STEPS = 13, PAD = 12, MEMBERS = 3, WIDE = 20 };

struct rows {
    int32_t tokens[ROWS][STEPS], features[ROWS][STEPS * MS_LIMIT_NET_FEATURES];
    uint32_t lengths[ROWS];
    uint32_t ids[ROWS][WIDE];
    float values[ROWS][WIDE];
    struct ms_net_sparse wide[ROWS];
};

static void stop(const char *what, const struct ms_error *err)
{
    (void)fprintf(stderr, "onnx_cases: %s: %s\n", what, err->text);
    exit(1);
}

/* Lengths 0, 1 and the largest are always there; the others are random. */
static void make_rows(const struct ms_net_config *c, struct ms_rng *rng, struct rows *r)
{
    const uint32_t most = c->mask_padding ? STEPS : PAD;
    memset(r, 0, sizeof *r);
    for (uint32_t b = 0; b < ROWS; b++) {
        r->lengths[b] = b == 0   ? most
                        : b == 3 ? 0
                        : b == 5 ? 1
                                 : (uint32_t)ms_rng_below(rng, most + 1);
        for (uint32_t t = 0; t < r->lengths[b]; t++) {
            r->tokens[b][t] = (int32_t)(1 + ms_rng_below(rng, VOCABULARY - 1));
            for (uint32_t f = 0; f < c->feature_count; f++)
                r->features[b][t * c->feature_count + f] =
                    (int32_t)ms_rng_below(rng, c->feature[f].size + 1) - 1;
        }
        struct ms_net_sparse *w = &r->wide[b];
        *w = (struct ms_net_sparse){r->ids[b], r->values[b], 0};
        for (uint32_t i = 0; b != 3 && i < c->wide.size; i++)
            if (ms_rng_below(rng, 3) == 0) {
                r->ids[b][w->count] = i;
                r->values[b][w->count++] = (float)(.01 + fabs(ms_rng_normal(rng)));
            }
    }
}

/* The grid of an input: rows x steps, `fill` where a row has no step; without masking a row ends at
 * the right edge. */
static json_t *grid(const struct ms_net_config *c, const struct rows *r, const int32_t *ids,
                    size_t row_stride, size_t step_stride, int fill)
{
    const uint32_t steps = c->mask_padding ? STEPS : PAD;
    json_t *all = json_array();
    for (uint32_t b = 0; b < ROWS; b++) {
        json_t *row = json_array();
        uint32_t front = c->mask_padding ? 0 : steps - r->lengths[b];
        for (uint32_t t = 0; t < steps; t++) {
            bool in = t >= front && t - front < r->lengths[b];
            int32_t id = in ? ids[b * row_stride + (t - front) * step_stride] : fill;
            (void)json_array_append_new(row, json_integer(id));
        }
        (void)json_array_append_new(all, row);
    }
    return all;
}

static json_t *wide_grid(const struct ms_net_config *c, const struct rows *r)
{
    json_t *all = json_array();
    for (uint32_t b = 0; b < ROWS; b++) {
        float dense[WIDE] = {0};
        json_t *row = json_array();
        for (uint32_t k = 0; k < r->wide[b].count; k++)
            dense[r->wide[b].ids[k]] = r->wide[b].values[k];
        for (uint32_t i = 0; i < c->wide.size; i++)
            (void)json_array_append_new(row, json_real((double)dense[i]));
        (void)json_array_append_new(all, row);
    }
    return all;
}

static json_t *inputs_json(const struct ms_net_config *c, const struct rows *r)
{
    json_t *inputs = json_object();
    if (c->wide.size)
        (void)json_object_set_new(inputs, "wide", wide_grid(c, r));
    if (!c->vocabulary) /* no net */
        return inputs;
    /* behind a row's end a masked net must read nothing: any token may stand there */
    (void)json_object_set_new(
        inputs, "tokens", grid(c, r, r->tokens[0], STEPS, 1, c->mask_padding ? VOCABULARY - 1 : 0));
    for (uint32_t f = 0; f < c->feature_count; f++) {
        char name[24];
        (void)snprintf(name, sizeof name, "feature%u", f);
        (void)json_object_set_new(inputs, name,
                                  grid(c, r, r->features[0] + f, STEPS * MS_LIMIT_NET_FEATURES,
                                       c->feature_count, c->mask_padding ? 0 : -1));
    }
    json_t *lengths = json_array();
    for (uint32_t b = 0; b < ROWS; b++)
        (void)json_array_append_new(lengths, json_integer(r->lengths[b]));
    if (c->mask_padding)
        (void)json_object_set_new(inputs, "lengths", lengths);
    else
        json_decref(lengths);
    return inputs;
}

/* Adds a member's scores as often as its weight says. */
static void add_scores(struct ms_member *member, uint32_t features, uint32_t classes,
                       const struct rows *r, double *scores)
{
    struct ms_input_row rows[ROWS] = {{0}};
    double own[ROWS * MS_LIMIT_NET_DENSES];
    struct ms_error err;
    for (uint32_t b = 0; b < ROWS; b++) {
        rows[b].tokens = (int32_t *)(uintptr_t)r->tokens[b];
        rows[b].features = features ? (int32_t *)(uintptr_t)r->features[b] : NULL;
        rows[b].n = r->lengths[b];
        rows[b].ids = (uint32_t *)(uintptr_t)r->wide[b].ids;
        rows[b].values = (float *)(uintptr_t)r->wide[b].values;
        rows[b].count = r->wide[b].count;
    }
    if (ms_member_scores(member, classes, rows, ROWS, own, &err) != MS_OK)
        stop("scores", &err);
    for (uint32_t i = 0; i < ROWS * classes; i++)
        scores[i] += (member->weight ? member->weight : 1) * own[i];
}

static void write_file(const char *folder, const char *name, const char *suffix, const void *bytes,
                       size_t n)
{
    char path[4096];
    struct ms_error err;
    (void)snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    if (ms_file_write_atomic(path, bytes, n, 0600, &err) != MS_OK)
        stop(path, &err);
}

/* A net with random parameters large enough that every gate and activation bends. */
static struct ms_member make_net(const struct ms_net_config *config, uint64_t seed)
{
    struct ms_member m = {.kind = MS_MEMBER_NET};
    struct ms_error err;
    struct ms_rng rng;
    if (ms_net_new(config, seed, 1, &m.net, &err) != MS_OK)
        stop("net", &err);
    ms_rng_init(&rng, seed, 1, 1);
    for (size_t i = 0; i < ms_net_param_count(m.net); i++)
        ms_net_params(m.net)[i] = (ms_real)(.4 * ms_rng_normal(&rng));
    return m;
}

/* scale: how large its numbers are. */
static struct ms_member make_linear(uint32_t classes, bool presence, double scale)
{
    struct ms_member m = {.kind = MS_MEMBER_LINEAR, .presence = presence, .weight = 2};
    struct ms_error err;
    struct ms_rng rng;
    if (ms_linear_make(WIDE, classes == 2 ? 1 : classes, &m.linear, &err) != MS_OK)
        stop("linear", &err);
    ms_rng_init(&rng, 9, 1, 1);
    for (uint32_t i = 0; i < WIDE * m.linear.outputs; i++)
        m.linear.kernel[i] = (float)(scale * ms_rng_normal(&rng));
    for (uint32_t i = 0; i < m.linear.outputs; i++)
        m.linear.bias[i] = (float)(scale * (ms_rng_normal(&rng) - 1));
    return m;
}

/* Two trees an output, on features that rows have and have not. */
static struct ms_member make_trees(uint32_t classes, bool presence)
{
    static const int32_t feature[5] = {3, 7, -1, -1, -1}, right[5] = {4, 3, 0, 0, 0};
    const uint32_t outputs = classes == 2 ? 1 : classes, trees = 2 * outputs;
    struct ms_member m = {.kind = MS_MEMBER_TREES, .presence = presence};
    struct ms_error err;
    struct ms_rng rng;
    if (ms_trees_make(WIDE, outputs, trees, 5 * trees, &m.trees, &err) != MS_OK)
        stop("trees", &err);
    ms_rng_init(&rng, 11, 1, 1);
    for (uint32_t t = 0; t < trees; t++) {
        m.trees.start[t + 1] = (int32_t)(5 * (t + 1));
        m.trees.output[t] = (int32_t)(t % outputs);
        for (uint32_t i = 0; i < 5; i++) {
            const bool leaf = feature[i] < 0;
            m.trees.feature[5 * t + i] = leaf ? -1 : (int32_t)((uint32_t)feature[i] + t) % WIDE;
            m.trees.right[5 * t + i] = right[i];
            m.trees.absent[5 * t + i] = !leaf && (t + i) % 2;
            m.trees.value[5 * t + i] = (float)(leaf ? ms_rng_normal(&rng) : presence ? .5 : .7);
        }
    }
    if (ms_trees_check(&m.trees, &err) != MS_OK)
        stop("trees", &err);
    return m;
}

/* Takes the members over. inputs: what they read together; vocabulary 0 when there is no net. */
static void write_members(const char *folder, const char *name, const struct ms_net_config *inputs,
                          uint32_t classes, struct ms_member *members, size_t count)
{
    struct ms_rng rng;
    struct ms_error err;
    struct ms_buf bytes;
    static struct rows rows;
    double scores[ROWS * MS_LIMIT_NET_DENSES] = {0}, weights = 0;
    ms_rng_init(&rng, 3, 2, strlen(name));
    make_rows(inputs, &rng, &rows);
    for (size_t i = 0; i < count; i++) {
        add_scores(&members[i], inputs->feature_count, classes, &rows, scores);
        weights += members[i].weight ? members[i].weight : 1;
    }
    json_t *metadata = json_pack("{s:s, s:s}", "case", name, "text", "\xc3\xa9 \"quoted\"");
    const struct ms_onnx_request request = {members, count, classes, metadata};
    ms_buf_init(&bytes, 1 << 24);
    if (ms_onnx_encode(&request, &bytes, &err) != MS_OK)
        stop(name, &err);
    write_file(folder, name, ".onnx", bytes.data, bytes.len);
    json_t *expected = json_array();
    for (uint32_t b = 0; b < ROWS; b++) {
        json_t *row = json_array();
        for (uint32_t k = 0; k < classes; k++)
            (void)json_array_append_new(row, json_real(scores[b * classes + k] / weights));
        (void)json_array_append_new(expected, row);
    }
    json_t *all = json_pack("{s:o, s:o}", "inputs", inputs_json(inputs, &rows), "scores", expected);
    char *text = json_dumps(all, JSON_COMPACT);
    write_file(folder, name, ".json", text, strlen(text));
    free(text);
    json_decref(all);
    json_decref(metadata);
    ms_buf_release(&bytes);
    for (size_t i = 0; i < count; i++)
        ms_member_release(&members[i]);
}

/* `more`: a second net's shape for an ensemble of MEMBERS, NULL for one net alone. */
static void write_case(const char *folder, const char *name, const struct ms_net_config *config,
                       const struct ms_net_config *more)
{
    const size_t count = more ? MEMBERS : 1;
    struct ms_member members[MEMBERS];
    for (size_t i = 0; i < count; i++)
        members[i] = make_net(i % 2 ? more : config, i + 1);
    write_members(folder, name, config, ms_net_config_classes(config), members, count);
}

static struct ms_net_config base_config(void)
{
    return (struct ms_net_config){.vocabulary = VOCABULARY,
                                  .embedding = 6,
                                  .embedding_init = MS_NET_EMBEDDING_NORMAL,
                                  .embedding_scale = 1,
                                  .spatial_dropout = .2,
                                  .recurrent_count = 1,
                                  .recurrent = {{.hidden = 5, .activation = MS_NET_TANH}},
                                  .mask_padding = true,
                                  .pooling = MS_NET_POOL_MEAN_MAX_LAST,
                                  .outputs = 4,
                                  .head = MS_NET_HEAD_SOFTMAX};
}

static const char *const pooling_names[] = {"last", "mean", "max", "all", "attention"};

/* Each pooling, on one and on both directions of a layer and on the embedding alone. */
static void write_poolings(const char *folder)
{
    for (int p = MS_NET_POOL_LAST; p <= MS_NET_POOL_ATTENTION; p++)
        for (int shape = 0; shape < 3; shape++) {
            static const char *const shapes[] = {"embedding", "forward", "both"};
            char name[48];
            struct ms_net_config c = base_config();
            c.pooling = (enum ms_net_pooling)p;
            c.recurrent_count = shape == 0 ? 0 : 1;
            c.recurrent[0].bidirectional = shape == 2;
            c.attention = p == MS_NET_POOL_ATTENTION ? 3 : 0;
            (void)snprintf(name, sizeof name, "pool_%s_%s", pooling_names[p], shapes[shape]);
            write_case(folder, name, &c, NULL);
        }
}

static void write_heads(const char *folder)
{
    struct ms_net_config c = base_config();
    c.recurrent_count = 3;
    for (uint32_t i = 0; i < 3; i++)
        c.recurrent[i] = (struct ms_net_recurrent){
            .hidden = 4 + i, .activation = MS_NET_SOFTSIGN, .bidirectional = i != 2};
    c.dense_count = 4;
    for (uint32_t i = 0; i < 4; i++)
        c.dense[i] = (struct ms_net_dense){.units = 7 - i, .activation = (enum ms_net_activation)i};
    write_case(folder, "deep", &c, NULL);
    for (uint32_t i = 0; i < 3; i++)
        c.recurrent[i].cell = MS_NET_GRU;
    write_case(folder, "deep_gru", &c, NULL);
    c.recurrent[0].cell = MS_NET_LSTM;
    c.recurrent[0].activation = MS_NET_TANH;
    c.mask_padding = false;
    c.pad_length = PAD;
    write_case(folder, "unmasked_mixed", &c, NULL);
    c = base_config();
    c.outputs = 1;
    c.head = MS_NET_HEAD_SIGMOID;
    write_case(folder, "sigmoid", &c, NULL);
    struct ms_net_config other = c;
    other.embedding = 3;
    other.recurrent[0].cell = MS_NET_GRU;
    other.recurrent[0].hidden = 4;
    write_case(folder, "ensemble", &c, &other);
}

/* Feature tables, the wide branch, and an ensemble of nets that have both. */
static void write_branches(const char *folder)
{
    struct ms_net_config c = base_config();
    c.feature_count = 2;
    c.feature[0] = (struct ms_net_feature){.size = 5, .scale = 1};
    c.feature[1] = (struct ms_net_feature){.size = 7, .scale = 1};
    write_case(folder, "features", &c, NULL);
    c.mask_padding = false;
    c.pad_length = PAD;
    write_case(folder, "features_unmasked", &c, NULL);
    c.mask_padding = true;
    c.pad_length = 0;
    c.wide = (struct ms_net_wide){.size = WIDE, .units = 3, .activation = MS_NET_RELU};
    write_case(folder, "wide", &c, NULL);
    struct ms_net_config other = c;
    other.recurrent_count = 0;
    write_case(folder, "ensemble_wide", &c, &other);
    other.wide = (struct ms_net_wide){0};
    write_case(folder, "ensemble_half_wide", &c, &other);
}

/* Linear parts and trees: alone, with values so large that every class is all but impossible, and
 * beside nets with and without a wide branch, as the default preset has them. */
static void write_sparse(const char *folder)
{
    struct ms_net_config c = base_config();
    const struct ms_net_config none = {.mask_padding = true, .wide = {.size = WIDE}};
    struct ms_member members[3];
    members[0] = make_linear(4, false, .5);
    write_members(folder, "linear", &none, 4, members, 1);
    members[0] = make_linear(4, true, 30);
    write_members(folder, "linear_far", &none, 4, members, 1);
    members[0] = make_linear(2, true, .5);
    write_members(folder, "linear_two", &none, 2, members, 1);
    members[0] = make_trees(4, false);
    write_members(folder, "trees", &none, 4, members, 1);
    members[0] = make_trees(2, true);
    write_members(folder, "trees_two", &none, 2, members, 1);
    c.feature_count = 1;
    c.feature[0] = (struct ms_net_feature){.size = 5, .scale = 1};
    struct ms_net_config hybrid = c;
    hybrid.wide = (struct ms_net_wide){.size = WIDE, .units = 3, .activation = MS_NET_RELU};
    members[0] = make_linear(4, true, .5);
    members[1] = make_net(&c, 1);
    members[2] = make_net(&hybrid, 2);
    write_members(folder, "ensemble_linear", &hybrid, 4, members, 3);
    c.outputs = 1;
    c.head = MS_NET_HEAD_SIGMOID;
    const struct ms_net_config net = c;
    c.wide.size = WIDE;
    members[0] = make_net(&net, 1);
    members[1] = make_linear(2, false, .5);
    write_members(folder, "ensemble_linear_two", &c, 2, members, 2);
    members[0] = make_net(&net, 1);
    members[1] = make_trees(2, true);
    members[2] = make_linear(2, true, .5);
    write_members(folder, "ensemble_trees", &c, 2, members, 3);
}

/* The article's net as it is but for its widths: padding is computed. */
static void write_article(const char *folder)
{
    struct ms_net_config c;
    ms_net_config_article(&c);
    c.vocabulary = VOCABULARY;
    c.embedding = 9;
    c.pad_length = PAD;
    write_case(folder, "article", &c, NULL);
    c.pooling = MS_NET_POOL_MEAN_MAX_LAST;
    c.recurrent[2].bidirectional = true;
    write_case(folder, "unmasked_both", &c, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    write_poolings(argv[1]);
    write_heads(argv[1]);
    write_branches(argv[1]);
    write_sparse(argv[1]);
    write_article(argv[1]);
    return 0;
}
