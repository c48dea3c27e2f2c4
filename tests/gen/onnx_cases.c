/* Writes nets of every shape as ONNX files, and beside each what the net itself says about random
 * rows: onnx_cases FOLDER makes NAME.onnx and NAME.json. A program of tests/cli/test_train_onnx.py.
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
                r->values[b][w->count++] = (float)ms_rng_normal(rng);
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
    if (c->wide.size)
        (void)json_object_set_new(inputs, "wide", wide_grid(c, r));
    return inputs;
}

/* Adds a net's scores, as ms_model_scores gives them. */
static void add_scores(struct ms_net *net, const struct rows *r, double *scores)
{
    const struct ms_net_config *c = ms_net_config_get(net);
    const uint32_t classes = ms_net_config_classes(c);
    const int32_t *tokens[ROWS], *features[ROWS];
    for (uint32_t b = 0; b < ROWS; b++) {
        tokens[b] = r->tokens[b];
        features[b] = r->features[b];
    }
    const struct ms_net_batch batch = {.rows = ROWS,
                                       .tokens = tokens,
                                       .lengths = r->lengths,
                                       .features = c->feature_count ? features : NULL,
                                       .wide = c->wide.size ? r->wide : NULL};
    ms_real raw[ROWS * MS_LIMIT_NET_DENSES];
    struct ms_error err;
    if (ms_net_predict(net, &batch, raw, &err) != MS_OK)
        stop("predict", &err);
    for (uint32_t b = 0; b < ROWS; b++)
        for (uint32_t k = 0; k < classes; k++) {
            double p = (double)raw[b * c->outputs + (c->outputs == 1 ? 0 : k)];
            scores[b * classes + k] += c->outputs == 1 && k == 1 ? 1 - p : p;
        }
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
static struct ms_net *make_net(const struct ms_net_config *config, uint64_t seed)
{
    struct ms_net *net;
    struct ms_error err;
    struct ms_rng rng;
    if (ms_net_new(config, seed, 1, &net, &err) != MS_OK)
        stop("net", &err);
    ms_rng_init(&rng, seed, 1, 1);
    for (size_t i = 0; i < ms_net_param_count(net); i++)
        ms_net_params(net)[i] = (ms_real)(.4 * ms_rng_normal(&rng));
    return net;
}

/* `more`: a second net's shape for an ensemble of MEMBERS, NULL for one net alone. */
static void write_case(const char *folder, const char *name, const struct ms_net_config *config,
                       const struct ms_net_config *more)
{
    const size_t count = more ? MEMBERS : 1;
    const uint32_t classes = ms_net_config_classes(config);
    struct ms_net *nets[MEMBERS];
    struct ms_rng rng;
    struct ms_error err;
    struct ms_buf bytes;
    static struct rows rows;
    double scores[ROWS * MS_LIMIT_NET_DENSES] = {0};
    ms_rng_init(&rng, 3, 2, strlen(name));
    make_rows(config, &rng, &rows);
    for (size_t i = 0; i < count; i++) {
        nets[i] = make_net(i % 2 ? more : config, i + 1);
        add_scores(nets[i], &rows, scores);
    }
    json_t *metadata = json_pack("{s:s, s:s}", "case", name, "text", "\xc3\xa9 \"quoted\"");
    const struct ms_onnx_request request = {nets, count, metadata};
    ms_buf_init(&bytes, 1 << 24);
    if (ms_onnx_encode(&request, &bytes, &err) != MS_OK)
        stop(name, &err);
    write_file(folder, name, ".onnx", bytes.data, bytes.len);
    json_t *expected = json_array();
    for (uint32_t b = 0; b < ROWS; b++) {
        json_t *row = json_array();
        for (uint32_t k = 0; k < classes; k++)
            (void)json_array_append_new(row, json_real(scores[b * classes + k] / (double)count));
        (void)json_array_append_new(expected, row);
    }
    json_t *all = json_pack("{s:o, s:o}", "inputs", inputs_json(config, &rows), "scores", expected);
    char *text = json_dumps(all, JSON_COMPACT);
    write_file(folder, name, ".json", text, strlen(text));
    free(text);
    json_decref(all);
    json_decref(metadata);
    ms_buf_release(&bytes);
    for (size_t i = 0; i < count; i++)
        ms_net_free(nets[i]);
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
    write_article(argv[1]);
    return 0;
}
