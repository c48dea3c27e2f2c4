/* Writes the model file. */
#include "train/model_private.h"

#include "base/json.h"
#include "base/limits.h"
#include "train/model_config.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are copied as they lie in memory: little-endian only"
#endif

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for a model");
}

static json_t *dump_to_string(json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(value);
    json_t *string = text ? json_string(text) : NULL;
    free(text);
    return string;
}

static json_t *number_string(uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    return json_string(text);
}

static json_t *vocabulary_list(const struct ms_vocabulary *vocabulary)
{
    json_t *list = json_array();
    for (uint32_t t = ms_vocabulary_unknown(vocabulary) ? 2 : 1; t < ms_vocabulary_size(vocabulary);
         t++) {
        struct ms_span text = ms_vocabulary_text_of(vocabulary, t);
        (void)json_array_append_new(list, ms_json_bytes(text.data, text.len));
    }
    return list;
}

static json_t *ngram_call_list(const struct ms_ngrams *ngrams)
{
    json_t *list = json_array();
    for (uint32_t i = 0; ngrams && i < ms_ngrams_name_count(ngrams); i++) {
        struct ms_span text = ms_ngrams_name(ngrams, i);
        (void)json_array_append_new(list, ms_json_bytes(text.data, text.len));
    }
    return list;
}

/* NULL for a member that has no file. */
static json_t *kind_json(const struct ms_member *m)
{
    switch (m->kind) {
    case MS_MEMBER_NET:
        return json_pack("{s:s, s:o}", "member", "net", "config",
                         ms_model_config_write(ms_net_config_get(m->net)));
    case MS_MEMBER_LINEAR:
        return json_pack("{s:s}", "member", "linear");
    case MS_MEMBER_TREES:
        return json_pack("{s:s, s:I, s:I}", "member", "trees", "trees",
                         (json_int_t)m->trees.tree_count, "nodes", (json_int_t)m->trees.node_count);
    case MS_MEMBER_SHARES:
        return NULL;
    }
    return NULL;
}

static json_t *member_json(const struct ms_member *m)
{
    json_t *o = kind_json(m);
    if (o && m->presence)
        (void)json_object_set_new(o, "presence", json_true());
    if (o && m->weight > 1)
        (void)json_object_set_new(o, "weight", json_integer((json_int_t)m->weight));
    return o;
}

static json_t *member_list(const struct ms_model_parts *parts)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < parts->member_count; i++)
        (void)json_array_append_new(list, member_json(&parts->members[i]));
    if (json_array_size(list) == parts->member_count)
        return list;
    json_decref(list);
    return NULL;
}

static void set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value);
}

/* Any member that could not be made is missing; the caller counts. */
enum { METADATA = 23 };
static json_t *write_metadata(const struct ms_model_parts *parts, const struct ms_model_facts *f)
{
    char normal[MS_NORMAL_TEXT_BYTES], inputs[MS_INPUT_TEXT_BYTES], threshold[40], band[80];
    char calibration[MS_CALIBRATION_TEXT_BYTES];
    const struct ms_vocabulary *v = parts->vocabulary;
    ms_normal_options_text(&f->view, normal);
    ms_input_options_text(&parts->inputs, inputs);
    (void)snprintf(threshold, sizeof threshold, "%.17g", f->threshold);
    (void)snprintf(band, sizeof band, "%.17g:%.17g", f->unknown_from, f->unknown_to);
    ms_calibration_text(&f->calibration, calibration);
    json_t *classes = json_array();
    for (uint32_t i = 0; i < f->classes; i++)
        (void)json_array_append_new(classes, ms_json_text(f->class_names[i]));
    json_t *m = json_object();
    set(m, "format", json_string(MS_MODEL_FORMAT));
    set(m, "version", json_string(MS_VERSION));
    set(m, "kind", json_string(ms_model_kind_name(parts->kind)));
    set(m, "members", dump_to_string(member_list(parts)));
    set(m, "inputs", json_string(inputs));
    set(m, "vocabulary", dump_to_string(vocabulary_list(v)));
    set(m, "text",
        json_string(ms_vocabulary_text_get(v) == MS_VOCABULARY_KERAS ? "keras" : "name"));
    set(m, "unknown", json_string(ms_vocabulary_unknown(v) ? "yes" : "no"));
    set(m, "ngrams", number_string(parts->ngrams ? ms_ngrams_size(parts->ngrams) : 0));
    set(m, "ngram_calls", dump_to_string(ngram_call_list(parts->ngrams)));
    set(m, "sequence", json_string(f->opcodes ? "opcode" : "api"));
    set(m, "static", json_string(ms_static_use_name(f->statics)));
    set(m, "normalisation", json_string(normal));
    set(m, "classes", dump_to_string(classes));
    set(m, "target", ms_json_text(f->target));
    set(m, "threshold", json_string(threshold));
    set(m, "calibration", json_string(calibration));
    set(m, "unknown_band", json_string(f->unknown_from < f->unknown_to ? band : "none"));
    set(m, "min_calls", number_string(f->min_calls));
    set(m, "dataset", ms_json_text(f->dataset_digest));
    set(m, "split", ms_json_text(f->split_digest));
    set(m, "settings", ms_json_text(f->settings));
    set(m, "seed", number_string(f->seed));
    return m;
}

/* The header as text from malloc; NULL without memory. */
static char *write_header(const struct ms_model_parts *parts, const struct ms_model_facts *facts,
                          const struct ms_model_tensors *tensors)
{
    json_t *header = json_object(), *metadata = write_metadata(parts, facts);
    bool whole = json_object_size(metadata) == METADATA;
    size_t from = 0;
    set(header, "__metadata__", metadata);
    for (size_t i = 0; i < tensors->count; i++) {
        const struct ms_model_tensor *t = &tensors->list[i];
        size_t to = from + ms_model_tensor_bytes(t);
        set(header, t->name,
            json_pack("{s:s, s:o, s:[II]}", "dtype", t->whole ? "I32" : "F32", "shape",
                      ms_model_tensor_shape(t), "data_offsets", (json_int_t)from, (json_int_t)to));
        from = to;
    }
    whole = whole && json_object_size(header) == tensors->count + 1;
    char *text = whole ? json_dumps(header, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(header);
    return text;
}

enum ms_status ms_model_encode(struct ms_model *self, const struct ms_model_facts *facts,
                               struct ms_buf *out, struct ms_error *err)
{
    const struct ms_model_parts *parts = &self->parts;
    for (uint32_t i = 0; i < parts->member_count; i++)
        if (parts->members[i].kind == MS_MEMBER_SHARES)
            return ms_error_set(err, MS_E_INPUT, "a %s model has no file",
                                ms_model_kind_name(parts->kind));
    struct ms_model_tensors tensors = {0};
    ms_model_tensors_members(&tensors, parts);
    if (parts->ngrams) /* only read from here on */
        ms_model_tensors_ngrams(&tensors, ms_ngrams_size(parts->ngrams),
                                (int32_t *)(uintptr_t)ms_ngrams_places(parts->ngrams),
                                (float *)(uintptr_t)ms_ngrams_weights(parts->ngrams));
    char *text = tensors.failed ? NULL : write_header(parts, facts, &tensors);
    if (!text) {
        ms_model_tensors_release(&tensors);
        return no_memory(err);
    }
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    uint8_t size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    (void)ms_buf_append(out, size, sizeof size);
    (void)ms_buf_append(out, text, length);
    free(text);
    for (; length < padded; length++)
        (void)ms_buf_append_byte(out, ' ');
    for (size_t i = 0; i < tensors.count; i++)
        (void)ms_buf_append(out, tensors.list[i].data, ms_model_tensor_bytes(&tensors.list[i]));
    ms_model_tensors_release(&tensors);
    return out->failed ? ms_error_set(err, MS_E_LIMIT, "a model of more than %zu bytes", out->max)
                       : MS_OK;
}
