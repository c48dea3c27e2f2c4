/* Builds the messages of an ONNX file in one arena and packs them. Decides nothing about a net. */
#include "train/onnx_graph.h"

#include "train/onnx.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IR_VERSION = 7, OPERATOR_SET = 13, ML_OPERATOR_SET = 2, NAME_BYTES = 64 };
enum {
    ATTRIBUTE_INT = 2,
    ATTRIBUTE_STRING = 3,
    ATTRIBUTE_FLOATS = 6,
    ATTRIBUTE_INTS = 7,
    ATTRIBUTE_STRINGS = 8
};
static const char ml_domain[] = "ai.onnx.ml";
/* Protocol buffers have no message of 2 GiB or more. */
static const size_t FORMAT_MAX_BYTES = INT32_MAX;

/* A growing list of pointers in the arena; what it outgrew stays there until the end. */
struct list {
    void **items;
    size_t count, capacity;
};

struct ms_onnx_graph {
    struct ms_arena memory;
    bool failed;
    bool ml;           /* a node's operator is of ml_domain */
    unsigned numbered; /* values that were named by number */
    struct list nodes, tensors, inputs, outputs;
    MsOnnx__Node *last;
    struct list attributes; /* of the last node */
};

enum ms_status ms_onnx_graph_new(struct ms_onnx_graph **out, struct ms_error *err)
{
    struct ms_onnx_graph *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a graph");
    ms_arena_init(&self->memory, FORMAT_MAX_BYTES);
    *out = self;
    return MS_OK;
}

void ms_onnx_graph_free(struct ms_onnx_graph *self)
{
    if (!self)
        return;
    ms_arena_release(&self->memory);
    free(self);
}

void *ms_onnx_take(struct ms_onnx_graph *self, size_t count, size_t size)
{
    void *memory = ms_arena_alloc_array(&self->memory, count, size);
    self->failed = self->failed || !memory;
    return memory;
}

static char *copy(struct ms_onnx_graph *self, const char *text)
{
    char *made = text ? ms_arena_copy(&self->memory, text, strlen(text)) : NULL;
    self->failed = self->failed || !made;
    return made;
}

static void push(struct ms_onnx_graph *self, struct list *list, void *item)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        void **items = ms_onnx_take(self, capacity, sizeof *items);
        if (!items)
            return;
        if (list->count)
            memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    if (item)
        list->items[list->count++] = item;
    else
        self->failed = true;
}

/* ---- inputs and outputs ---- */

static MsOnnx__Dimension *make_dim(struct ms_onnx_graph *self, const struct ms_onnx_dim *d)
{
    MsOnnx__Dimension *dim = ms_onnx_take(self, 1, sizeof *dim);
    if (!dim)
        return NULL;
    ms_onnx__dimension__init(dim);
    dim->has_dim_value = d->value != 0;
    dim->dim_value = d->value;
    if (d->value == 0)
        dim->dim_param = copy(self, d->name);
    return dim;
}

static MsOnnx__Type *make_type(struct ms_onnx_graph *self, enum ms_onnx_type type,
                               const struct ms_onnx_dim *dims, size_t rank)
{
    MsOnnx__Type *outer = ms_onnx_take(self, 1, sizeof *outer);
    MsOnnx__TensorType *tensor = ms_onnx_take(self, 1, sizeof *tensor);
    MsOnnx__Shape *shape = ms_onnx_take(self, 1, sizeof *shape);
    struct list list = {0};
    for (size_t i = 0; i < rank; i++)
        push(self, &list, make_dim(self, &dims[i]));
    if (!outer || !tensor || !shape)
        return NULL;
    ms_onnx__shape__init(shape);
    shape->n_dim = list.count;
    shape->dim = (MsOnnx__Dimension **)list.items;
    ms_onnx__tensor_type__init(tensor);
    tensor->has_elem_type = 1;
    tensor->elem_type = (int32_t)type;
    tensor->shape = shape;
    ms_onnx__type__init(outer);
    outer->tensor_type = tensor;
    return outer;
}

static MsOnnx__ValueInfo *make_info(struct ms_onnx_graph *self, const char *name,
                                    enum ms_onnx_type type, const struct ms_onnx_dim *dims,
                                    size_t rank, const char *doc)
{
    MsOnnx__ValueInfo *info = ms_onnx_take(self, 1, sizeof *info);
    if (!info)
        return NULL;
    ms_onnx__value_info__init(info);
    info->name = copy(self, name);
    info->type = make_type(self, type, dims, rank);
    info->doc_string = copy(self, doc);
    return info;
}

ms_onnx_value ms_onnx_input(struct ms_onnx_graph *self, const char *name, enum ms_onnx_type type,
                            const struct ms_onnx_dim *dims, size_t rank, const char *doc)
{
    MsOnnx__ValueInfo *info = make_info(self, name, type, dims, rank, doc);
    push(self, &self->inputs, info);
    return info ? info->name : NULL;
}

/* ---- nodes ---- */

/* The attributes gathered so far become the last node's. */
static void finish_node(struct ms_onnx_graph *self)
{
    if (self->last) {
        self->last->n_attribute = self->attributes.count;
        self->last->attribute = (MsOnnx__Attribute **)self->attributes.items;
    }
    self->attributes = (struct list){0};
    self->last = NULL;
}

static ms_onnx_value add_node(struct ms_onnx_graph *self, const char *op,
                              const ms_onnx_value *inputs, size_t count, const char *output)
{
    finish_node(self);
    MsOnnx__Node *node = ms_onnx_take(self, 1, sizeof *node);
    char **in = ms_onnx_take(self, count, sizeof *in);
    char **out = ms_onnx_take(self, 1, sizeof *out);
    if (!node || !in || !out)
        return NULL;
    for (size_t i = 0; i < count; i++)
        in[i] = copy(self, inputs[i]);
    out[0] = copy(self, output);
    ms_onnx__node__init(node);
    node->n_input = count;
    node->input = in;
    node->n_output = 1;
    node->output = out;
    node->name = out[0];
    node->op_type = copy(self, op);
    push(self, &self->nodes, node);
    self->last = node;
    return out[0];
}

ms_onnx_value ms_onnx_node(struct ms_onnx_graph *self, const char *op, const ms_onnx_value *inputs,
                           size_t count)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof name, "%s_%u", op, self->numbered++);
    return add_node(self, op, inputs, count, name);
}

void ms_onnx_output(struct ms_onnx_graph *self, const char *name, ms_onnx_value value,
                    enum ms_onnx_type type, const struct ms_onnx_dim *dims, size_t rank,
                    const char *doc)
{
    (void)add_node(self, "Identity", &value, 1, name);
    push(self, &self->outputs, make_info(self, name, type, dims, rank, doc));
}

void ms_onnx_ml(struct ms_onnx_graph *self)
{
    self->ml = true;
    if (self->last)
        self->last->domain = copy(self, ml_domain);
}

static MsOnnx__Attribute *add_attribute(struct ms_onnx_graph *self, const char *name, int type)
{
    MsOnnx__Attribute *a = ms_onnx_take(self, 1, sizeof *a);
    if (a) {
        ms_onnx__attribute__init(a);
        a->name = copy(self, name);
        a->has_type = 1;
        a->type = type;
    }
    push(self, &self->attributes, a);
    return a;
}

void ms_onnx_attribute_int(struct ms_onnx_graph *self, const char *name, int64_t value)
{
    MsOnnx__Attribute *a = add_attribute(self, name, ATTRIBUTE_INT);
    if (!a)
        return;
    a->has_i = 1;
    a->i = value;
}

void ms_onnx_attribute_ints(struct ms_onnx_graph *self, const char *name, const int64_t *values,
                            size_t count)
{
    MsOnnx__Attribute *a = add_attribute(self, name, ATTRIBUTE_INTS);
    int64_t *ints = ms_onnx_take(self, count, sizeof *ints);
    if (!a || !ints)
        return;
    memcpy(ints, values, count * sizeof *ints);
    a->n_ints = count;
    a->ints = ints;
}

void ms_onnx_attribute_floats(struct ms_onnx_graph *self, const char *name, const float *values,
                              size_t count)
{
    MsOnnx__Attribute *a = add_attribute(self, name, ATTRIBUTE_FLOATS);
    float *floats = ms_onnx_take(self, count, sizeof *floats);
    if (!a || !floats)
        return;
    memcpy(floats, values, count * sizeof *floats);
    a->n_floats = count;
    a->floats = floats;
}

static ProtobufCBinaryData bytes_of(struct ms_onnx_graph *self, const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)copy(self, text)};
}

void ms_onnx_attribute_text(struct ms_onnx_graph *self, const char *name, const char *text)
{
    MsOnnx__Attribute *a = add_attribute(self, name, ATTRIBUTE_STRING);
    if (!a)
        return;
    a->has_s = 1;
    a->s = bytes_of(self, text);
}

void ms_onnx_attribute_texts(struct ms_onnx_graph *self, const char *name, const char *const *texts,
                             size_t count)
{
    MsOnnx__Attribute *a = add_attribute(self, name, ATTRIBUTE_STRINGS);
    ProtobufCBinaryData *strings = ms_onnx_take(self, count, sizeof *strings);
    if (!a || !strings)
        return;
    for (size_t i = 0; i < count; i++)
        strings[i] = bytes_of(self, texts[i]);
    a->n_strings = count;
    a->strings = strings;
}

/* ---- constants ---- */

static ms_onnx_value add_tensor(struct ms_onnx_graph *self, const char *name,
                                enum ms_onnx_type type, const int64_t *dims, size_t rank,
                                const void *data, size_t bytes)
{
    MsOnnx__Tensor *tensor = ms_onnx_take(self, 1, sizeof *tensor);
    int64_t *shape = ms_onnx_take(self, rank, sizeof *shape);
    if (!tensor || !shape || !data) {
        self->failed = true;
        return NULL;
    }
    for (size_t i = 0; i < rank; i++)
        shape[i] = dims[i];
    ms_onnx__tensor__init(tensor);
    tensor->n_dims = rank;
    tensor->dims = shape;
    tensor->has_data_type = 1;
    tensor->data_type = (int32_t)type;
    tensor->name = copy(self, name);
    tensor->has_raw_data = 1;
    tensor->raw_data.len = bytes;
    tensor->raw_data.data = (uint8_t *)(uintptr_t)data; /* packing only reads it */
    push(self, &self->tensors, tensor);
    return tensor->name;
}

ms_onnx_value ms_onnx_floats(struct ms_onnx_graph *self, const char *name, const int64_t *dims,
                             size_t rank, const float *data)
{
    size_t bytes = sizeof *data;
    for (size_t i = 0; i < rank; i++)
        bytes *= (size_t)dims[i]; /* of a net's shape, so far below overflow */
    return add_tensor(self, name, MS_ONNX_FLOAT, dims, rank, data, bytes);
}

ms_onnx_value ms_onnx_int64s(struct ms_onnx_graph *self, const int64_t *data, size_t count)
{
    char name[NAME_BYTES];
    size_t n = count ? count : 1;
    const int64_t dims[1] = {(int64_t)count};
    int64_t *kept = ms_onnx_take(self, n, sizeof *kept);
    if (!kept)
        return NULL;
    memcpy(kept, data, n * sizeof *kept);
    (void)snprintf(name, sizeof name, "number_%u", self->numbered++);
    return add_tensor(self, name, MS_ONNX_INT64, dims, count ? 1 : 0, kept, n * sizeof *kept);
}

ms_onnx_value ms_onnx_scalar(struct ms_onnx_graph *self, float value)
{
    char name[NAME_BYTES];
    float *kept = ms_onnx_take(self, 1, sizeof *kept);
    if (!kept)
        return NULL;
    *kept = value;
    (void)snprintf(name, sizeof name, "number_%u", self->numbered++);
    return add_tensor(self, name, MS_ONNX_FLOAT, NULL, 0, kept, sizeof *kept);
}

/* ---- the file ---- */

static void add_metadata(struct ms_onnx_graph *self, const json_t *metadata, MsOnnx__Model *model)
{
    struct list list = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        MsOnnx__Entry *entry = ms_onnx_take(self, 1, sizeof *entry);
        if (entry) {
            ms_onnx__entry__init(entry);
            entry->key = copy(self, key);
            entry->value = copy(self, json_string_value(value));
        }
        push(self, &list, entry);
    }
    model->n_metadata_props = list.count;
    model->metadata_props = (MsOnnx__Entry **)list.items;
}

static enum ms_status pack(const MsOnnx__Model *model, struct ms_buf *out, struct ms_error *err)
{
    size_t size = ms_onnx__model__get_packed_size(model);
    if (size > FORMAT_MAX_BYTES)
        return ms_error_set(err, MS_E_LIMIT, "%zu bytes: an ONNX file has less than 2 GiB", size);
    enum ms_status status = ms_buf_reserve(out, size);
    if (status != MS_OK)
        return ms_error_set(err, status, "cannot hold an ONNX file of %zu bytes", size);
    out->len += ms_onnx__model__pack(model, out->data + out->len);
    return MS_OK;
}

enum ms_status ms_onnx_graph_encode(struct ms_onnx_graph *self, const char *name,
                                    const json_t *metadata, struct ms_buf *out,
                                    struct ms_error *err)
{
    finish_node(self);
    MsOnnx__Graph graph = MS_ONNX__GRAPH__INIT;
    MsOnnx__Model model = MS_ONNX__MODEL__INIT;
    MsOnnx__OperatorSet set = MS_ONNX__OPERATOR_SET__INIT, ml = MS_ONNX__OPERATOR_SET__INIT;
    MsOnnx__OperatorSet *sets[2] = {&set, &ml};
    graph.name = copy(self, name);
    graph.n_node = self->nodes.count;
    graph.node = (MsOnnx__Node **)self->nodes.items;
    graph.n_initializer = self->tensors.count;
    graph.initializer = (MsOnnx__Tensor **)self->tensors.items;
    graph.n_input = self->inputs.count;
    graph.input = (MsOnnx__ValueInfo **)self->inputs.items;
    graph.n_output = self->outputs.count;
    graph.output = (MsOnnx__ValueInfo **)self->outputs.items;
    set.has_version = 1;
    set.version = OPERATOR_SET;
    set.domain = copy(self, "");
    model.has_ir_version = 1;
    model.ir_version = IR_VERSION;
    model.producer_name = copy(self, "malseq");
    model.producer_version = copy(self, MS_VERSION);
    model.graph = &graph;
    ml.has_version = 1;
    ml.version = ML_OPERATOR_SET;
    ml.domain = copy(self, ml_domain);
    model.n_opset_import = self->ml ? 2 : 1;
    model.opset_import = sets;
    add_metadata(self, metadata, &model);
    return self->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory for an ONNX graph")
                        : pack(&model, out, err);
}
