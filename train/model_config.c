/* Reads and writes a net's shape. Loss shaping that only matters in training (smoothing, class
 * weights) is written too, so that a file says how it was made. */
#include "train/model_config.h"

#include <math.h>
#include <string.h>

static const char *const activations[] = {"linear", "relu", "tanh", "softsign"};
static const char *const poolings[] = {"last", "mean", "max", "mean+max+last", "attention"};
static const char *const cells[] = {"lstm", "gru"};
static const char *const heads[] = {"mse", "softmax", "sigmoid"};
static const char *const inits[] = {"uniform", "normal"};

static json_t *write_recurrent(const struct ms_net_config *c)
{
    json_t *out = json_array();
    for (uint32_t i = 0; i < c->recurrent_count; i++) {
        const struct ms_net_recurrent *l = &c->recurrent[i];
        (void)json_array_append_new(
            out, json_pack("{s:s, s:I, s:s, s:f, s:f, s:b}", "cell", cells[l->cell], "hidden",
                           (json_int_t)l->hidden, "activation", activations[l->activation],
                           "input_dropout", l->input_dropout, "recurrent_dropout",
                           l->recurrent_dropout, "bidirectional", (int)l->bidirectional));
    }
    return out;
}

static json_t *write_features(const struct ms_net_config *c)
{
    json_t *out = json_array();
    for (uint32_t i = 0; i < c->feature_count; i++)
        (void)json_array_append_new(out,
                                    json_pack("{s:I, s:f}", "size", (json_int_t)c->feature[i].size,
                                              "scale", c->feature[i].scale));
    return out;
}

static json_t *write_wide(const struct ms_net_wide *w)
{
    return json_pack("{s:I, s:I, s:s, s:f, s:f}", "size", (json_int_t)w->size, "units",
                     (json_int_t)w->units, "activation", activations[w->activation],
                     "input_dropout", w->input_dropout, "dropout", w->dropout);
}

json_t *ms_model_config_write(const struct ms_net_config *c)
{
    json_t *dense = json_array(), *weights = json_array();
    for (uint32_t i = 0; i < c->dense_count; i++)
        (void)json_array_append_new(dense, json_pack("{s:I, s:s, s:f}", "units",
                                                     (json_int_t)c->dense[i].units, "activation",
                                                     activations[c->dense[i].activation], "dropout",
                                                     c->dense[i].dropout));
    for (uint32_t i = 0; i < ms_net_config_classes(c) && i < MS_LIMIT_NET_CLASSES; i++)
        (void)json_array_append_new(weights, json_real(c->class_weight[i]));
    return json_pack(
        "{s:I, s:I, s:s, s:f, s:o, s:f, s:o, s:b, s:I, s:s, s:I, s:f, s:o, s:o, s:I, s:s, s:f, "
        "s:o}",
        "vocabulary", (json_int_t)c->vocabulary, "embedding", (json_int_t)c->embedding,
        "embedding_init", inits[c->embedding_init], "embedding_scale", c->embedding_scale,
        "features", write_features(c), "spatial_dropout", c->spatial_dropout, "recurrent",
        write_recurrent(c), "mask_padding", (int)c->mask_padding, "pad_length",
        (json_int_t)c->pad_length, "pooling", poolings[c->pooling], "attention",
        (json_int_t)c->attention, "pool_dropout", c->pool_dropout, "wide", write_wide(&c->wide),
        "dense", dense, "outputs", (json_int_t)c->outputs, "head", heads[c->head],
        "label_smoothing", c->label_smoothing, "class_weight", weights);
}

/* Reading: the first thing wrong sticks, and every member read is counted, so that unknown ones
 * show. */
struct reader {
    const json_t *object;
    const char *where;
    size_t read;
    enum ms_status status;
    struct ms_error *err;
};

static const json_t *member(struct reader *r, const char *name, const char *what, bool good_type)
{
    const json_t *value = json_object_get(r->object, name);
    r->read++;
    if (r->status == MS_OK && (!value || !good_type))
        r->status = ms_error_set(r->err, MS_E_INPUT, "net config: %s.%s is %s", r->where, name,
                                 value ? what : "missing");
    return r->status == MS_OK ? value : NULL;
}

static uint32_t read_u32(struct reader *r, const char *name)
{
    const json_t *value = json_object_get(r->object, name);
    json_int_t n = json_integer_value(value);
    value = member(r, name, "not a whole number from 0 to 2^32 - 1",
                   json_is_integer(value) && n >= 0 && n <= (json_int_t)UINT32_MAX);
    return value ? (uint32_t)n : 0;
}

static double read_real(struct reader *r, const char *name)
{
    const json_t *value =
        member(r, name, "not a number", json_is_number(json_object_get(r->object, name)));
    return value ? json_number_value(value) : 0;
}

static bool read_bool(struct reader *r, const char *name)
{
    const json_t *value = json_object_get(r->object, name);
    value = member(r, name, "not true or false", json_is_boolean(value));
    return json_is_true(value); /* a macro that looks at its argument twice */
}

static int read_word(struct reader *r, const char *name, const char *const *words, int count)
{
    const json_t *value = json_object_get(r->object, name);
    const char *text = json_string_value(value);
    int found = -1;
    for (int i = 0; text && i < count; i++)
        if (strcmp(text, words[i]) == 0)
            found = i;
    return member(r, name, "not a word that is known", found >= 0) ? found : 0;
}

static const json_t *read_array(struct reader *r, const char *name, size_t max)
{
    const json_t *value = json_object_get(r->object, name);
    return member(r, name, "not a list, or too long",
                  json_is_array(value) && json_array_size(value) <= max);
}

static void finish(struct reader *r)
{
    if (r->status == MS_OK && json_object_size(r->object) != r->read)
        r->status = ms_error_set(r->err, MS_E_INPUT, "net config: %s has members that are unknown",
                                 r->where);
}

static void start(struct reader *r, const json_t *object, const char *where)
{
    r->object = object;
    r->where = where;
    r->read = 0;
    if (r->status == MS_OK && !json_is_object(object))
        r->status = ms_error_set(r->err, MS_E_INPUT, "net config: %s is not an object", where);
}

/* What is inside the lists and objects of the net, each checked on its own. */
static void read_parts(struct reader *r, const json_t *features, const json_t *recurrent,
                       const json_t *wide, const json_t *dense, struct ms_net_config *c)
{
    c->feature_count = (uint32_t)json_array_size(features);
    for (uint32_t i = 0; i < c->feature_count; i++) {
        start(r, json_array_get(features, i), "features");
        c->feature[i].size = read_u32(r, "size");
        c->feature[i].scale = read_real(r, "scale");
        finish(r);
    }
    c->recurrent_count = (uint32_t)json_array_size(recurrent);
    for (uint32_t i = 0; i < c->recurrent_count; i++) {
        struct ms_net_recurrent *l = &c->recurrent[i];
        start(r, json_array_get(recurrent, i), "recurrent");
        l->cell = (enum ms_net_cell)read_word(r, "cell", cells, 2);
        l->hidden = read_u32(r, "hidden");
        l->activation = (enum ms_net_activation)read_word(r, "activation", activations, 4);
        l->input_dropout = read_real(r, "input_dropout");
        l->recurrent_dropout = read_real(r, "recurrent_dropout");
        l->bidirectional = read_bool(r, "bidirectional");
        finish(r);
    }
    start(r, wide, "wide");
    c->wide.size = read_u32(r, "size");
    c->wide.units = read_u32(r, "units");
    c->wide.activation = (enum ms_net_activation)read_word(r, "activation", activations, 4);
    c->wide.input_dropout = read_real(r, "input_dropout");
    c->wide.dropout = read_real(r, "dropout");
    finish(r);
    c->dense_count = (uint32_t)json_array_size(dense);
    for (uint32_t i = 0; i < c->dense_count; i++) {
        start(r, json_array_get(dense, i), "dense");
        c->dense[i].units = read_u32(r, "units");
        c->dense[i].activation = (enum ms_net_activation)read_word(r, "activation", activations, 4);
        c->dense[i].dropout = read_real(r, "dropout");
        finish(r);
    }
}

enum ms_status ms_model_config_read(const json_t *json, struct ms_net_config *out,
                                    struct ms_error *err)
{
    struct reader r = {.err = err};
    struct ms_net_config *c = out;
    memset(c, 0, sizeof *c);
    start(&r, json, "net");
    c->vocabulary = read_u32(&r, "vocabulary");
    c->embedding = read_u32(&r, "embedding");
    c->embedding_init = (enum ms_net_embedding_init)read_word(&r, "embedding_init", inits, 2);
    c->embedding_scale = read_real(&r, "embedding_scale");
    const json_t *features = read_array(&r, "features", MS_LIMIT_NET_FEATURES);
    c->spatial_dropout = read_real(&r, "spatial_dropout");
    const json_t *recurrent = read_array(&r, "recurrent", MS_LIMIT_NET_RECURRENT);
    c->mask_padding = read_bool(&r, "mask_padding");
    c->pad_length = read_u32(&r, "pad_length");
    c->pooling = (enum ms_net_pooling)read_word(&r, "pooling", poolings, 5);
    c->attention = read_u32(&r, "attention");
    c->pool_dropout = read_real(&r, "pool_dropout");
    const json_t *wide = json_object_get(r.object, "wide");
    wide = member(&r, "wide", "not an object", json_is_object(wide));
    const json_t *dense = read_array(&r, "dense", MS_LIMIT_NET_DENSES);
    c->outputs = read_u32(&r, "outputs");
    c->head = (enum ms_net_head)read_word(&r, "head", heads, 3);
    c->label_smoothing = read_real(&r, "label_smoothing");
    const json_t *weights = read_array(&r, "class_weight", MS_LIMIT_NET_CLASSES);
    finish(&r);
    for (size_t i = 0; r.status == MS_OK && i < json_array_size(weights); i++)
        c->class_weight[i] = json_is_number(json_array_get(weights, i))
                                 ? json_number_value(json_array_get(weights, i))
                                 : NAN;
    if (r.status == MS_OK)
        read_parts(&r, features, recurrent, wide, dense, c);
    return r.status == MS_OK ? ms_net_config_check(c, err) : r.status;
}
