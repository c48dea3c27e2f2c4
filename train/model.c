/* The model file: writing, and reading as if it came from an enemy. */
#include "train/model.h"

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "train/model_config.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are copied as they lie in memory: little-endian only"
#endif

static const char FORMAT[] = "malseq-model-1";

struct ms_model {
    struct ms_net *net;
    struct ms_vocabulary *vocabulary;
    struct ms_model_facts facts;
    json_t *metadata; /* owns the facts' texts */
    json_t *classes;
    const char **class_names;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for a model");
}

/* ---- writing ---- */

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

static json_t *write_metadata(struct ms_net *net, const struct ms_vocabulary *vocabulary,
                              const struct ms_model_facts *f)
{
    char normal[MS_NORMAL_TEXT_BYTES], threshold[40];
    ms_normal_options_text(&f->view, normal);
    (void)snprintf(threshold, sizeof threshold, "%.17g", f->threshold);
    json_t *classes = json_array();
    for (uint32_t i = 0; i < f->classes; i++)
        (void)json_array_append_new(classes, ms_json_text(f->class_names[i]));
    json_t *m = json_object();
    (void)json_object_set_new(m, "format", json_string(FORMAT));
    (void)json_object_set_new(m, "version", json_string(MS_VERSION));
    (void)json_object_set_new(m, "config",
                              dump_to_string(ms_model_config_write(ms_net_config_get(net))));
    (void)json_object_set_new(m, "vocabulary", dump_to_string(vocabulary_list(vocabulary)));
    (void)json_object_set_new(
        m, "text",
        json_string(ms_vocabulary_text_get(vocabulary) == MS_VOCABULARY_KERAS ? "keras" : "name"));
    (void)json_object_set_new(m, "unknown",
                              json_string(ms_vocabulary_unknown(vocabulary) ? "yes" : "no"));
    (void)json_object_set_new(m, "normalisation", json_string(normal));
    (void)json_object_set_new(m, "classes", dump_to_string(classes));
    (void)json_object_set_new(m, "target", ms_json_text(f->target));
    (void)json_object_set_new(m, "threshold", json_string(threshold));
    (void)json_object_set_new(m, "min_calls", number_string(f->min_calls));
    (void)json_object_set_new(m, "dataset", ms_json_text(f->dataset_digest));
    (void)json_object_set_new(m, "split", ms_json_text(f->split_digest));
    (void)json_object_set_new(m, "settings", ms_json_text(f->settings));
    (void)json_object_set_new(m, "seed", number_string(f->seed));
    return m;
}

static bool is_bias(const struct ms_net_tensor *t)
{
    size_t n = strlen(t->name);
    return n >= 5 && strcmp(t->name + n - 5, ".bias") == 0;
}

static json_t *shape_of(const struct ms_net_tensor *t)
{
    return is_bias(t) && t->rows == 1
               ? json_pack("[I]", (json_int_t)t->columns)
               : json_pack("[II]", (json_int_t)t->rows, (json_int_t)t->columns);
}

static json_t *write_header(struct ms_net *net, const struct ms_vocabulary *vocabulary,
                            const struct ms_model_facts *facts)
{
    size_t count;
    const struct ms_net_tensor *tensors = ms_net_tensors(net, &count);
    json_t *header = json_object();
    (void)json_object_set_new(header, "__metadata__", write_metadata(net, vocabulary, facts));
    for (size_t i = 0; i < count; i++) {
        size_t from = tensors[i].offset * sizeof(float);
        size_t to = from + tensors[i].rows * tensors[i].columns * sizeof(float);
        (void)json_object_set_new(header, tensors[i].name,
                                  json_pack("{s:s, s:o, s:[II]}", "dtype", "F32", "shape",
                                            shape_of(&tensors[i]), "data_offsets", (json_int_t)from,
                                            (json_int_t)to));
    }
    return header;
}

enum ms_status ms_model_encode(struct ms_net *net, const struct ms_vocabulary *vocabulary,
                               const struct ms_model_facts *facts, struct ms_buf *out,
                               struct ms_error *err)
{
    json_t *header = write_header(net, vocabulary, facts);
    char *text = header ? json_dumps(header, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    size_t members = json_object_size(header), tensors;
    (void)ms_net_tensors(net, &tensors);
    json_decref(header);
    if (!text || members != tensors + 1) {
        free(text);
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
    (void)ms_buf_append(out, ms_net_params(net), ms_net_param_count(net) * sizeof(float));
    return out->failed ? ms_error_set(err, MS_E_LIMIT, "a model of more than %zu bytes", out->max)
                       : MS_OK;
}

/* ---- reading ---- */

/* A string member of the metadata; NULL, and *status set, when it is not there. */
static const char *text_of(const struct ms_model *m, const char *name, enum ms_status *status,
                           struct ms_error *err)
{
    const char *text = json_string_value(json_object_get(m->metadata, name));
    if (!text && *status == MS_OK)
        *status = ms_error_set(err, MS_E_INPUT, "its metadata has no text '%s'", name);
    return text;
}

static json_t *parse_member(const struct ms_model *m, const char *name, enum ms_status *status,
                            struct ms_error *err)
{
    const char *text = text_of(m, name, status, err);
    json_error_t why;
    json_t *json = text ? json_loads(text, JSON_REJECT_DUPLICATES, &why) : NULL;
    if (text && !json && *status == MS_OK)
        *status = ms_error_set(err, MS_E_INPUT, "its metadata '%s' is not JSON", name);
    return json;
}

static enum ms_status read_number(const struct ms_model *m, const char *name, uint64_t *out,
                                  struct ms_error *err)
{
    enum ms_status status = MS_OK;
    const char *text = text_of(m, name, &status, err);
    if (!text)
        return status;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return ms_error_set(err, MS_E_INPUT, "its metadata '%s' is not a number", name);
    return MS_OK;
}

static enum ms_status read_vocabulary(struct ms_model *m, uint32_t limit, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    const char *text = text_of(m, "text", &status, err);
    const char *unknown = text_of(m, "unknown", &status, err);
    if (status != MS_OK)
        return status;
    bool keras = strcmp(text, "keras") == 0, has_unknown = strcmp(unknown, "yes") == 0;
    if ((!keras && strcmp(text, "name") != 0) || (!has_unknown && strcmp(unknown, "no") != 0))
        return ms_error_set(err, MS_E_INPUT, "its vocabulary is of an unknown kind");
    json_t *list = parse_member(m, "vocabulary", &status, err);
    size_t n = json_array_size(list), reserved = has_unknown ? 2 : 1;
    if (status == MS_OK && (!json_is_array(list) || n > limit || n + reserved > limit))
        status = ms_error_set(err, MS_E_INPUT, "its vocabulary is no list of at most %zu names",
                              limit - reserved);
    if (status == MS_OK)
        status = ms_vocabulary_new(keras ? MS_VOCABULARY_KERAS : MS_VOCABULARY_NAME, has_unknown,
                                   &m->vocabulary, err);
    for (size_t i = 0; i < n && status == MS_OK; i++) { /* counted so that the order stays */
        const json_t *name = json_array_get(list, i);
        if (!json_is_string(name))
            status = ms_error_set(err, MS_E_INPUT, "its vocabulary has an entry that is no text");
        else if (ms_vocabulary_count(m->vocabulary,
                                     ms_span_of(json_string_value(name), json_string_length(name)),
                                     n - i, err) != MS_OK)
            status = ms_error_set(err, MS_E_INPUT, "its vocabulary has an entry that is too long");
    }
    json_decref(list);
    if (status == MS_OK)
        status = ms_vocabulary_finish(m->vocabulary, 0, err);
    /* a name twice, or one that Keras's rules split, would have shifted the numbers */
    if (status == MS_OK && ms_vocabulary_size(m->vocabulary) != n + reserved)
        status = ms_error_set(err, MS_E_INPUT, "its vocabulary repeats or splits names");
    return status;
}

static enum ms_status read_classes(struct ms_model *m, const struct ms_net_config *config,
                                   struct ms_error *err)
{
    enum ms_status status = MS_OK;
    m->classes = parse_member(m, "classes", &status, err);
    if (status != MS_OK)
        return status;
    size_t n = json_array_size(m->classes);
    if (!json_is_array(m->classes) || n != ms_net_config_classes(config))
        return ms_error_set(err, MS_E_INPUT, "its classes do not fit the net's outputs");
    m->class_names = calloc(n, sizeof *m->class_names);
    if (!m->class_names)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        m->class_names[i] = json_string_value(json_array_get(m->classes, i));
        if (!m->class_names[i])
            return ms_error_set(err, MS_E_INPUT, "its classes have an entry that is no text");
    }
    m->facts.class_names = m->class_names;
    m->facts.classes = (uint32_t)n;
    return MS_OK;
}

static enum ms_status read_facts(struct ms_model *m, struct ms_error *err)
{
    struct ms_model_facts *f = &m->facts;
    enum ms_status status = MS_OK;
    f->target = text_of(m, "target", &status, err);
    f->dataset_digest = text_of(m, "dataset", &status, err);
    f->split_digest = text_of(m, "split", &status, err);
    f->settings = text_of(m, "settings", &status, err);
    f->version = text_of(m, "version", &status, err);
    const char *normal = text_of(m, "normalisation", &status, err);
    const char *threshold = text_of(m, "threshold", &status, err);
    if (status == MS_OK)
        status = read_number(m, "min_calls", &f->min_calls, err);
    if (status == MS_OK)
        status = read_number(m, "seed", &f->seed, err);
    if (status == MS_OK)
        status = ms_normal_options_parse(normal, &f->view, err);
    if (status != MS_OK)
        return status;
    char *end;
    f->threshold = strtod(threshold, &end);
    if (end == threshold || *end || !isfinite(f->threshold))
        return ms_error_set(err, MS_E_INPUT, "its threshold is not a number");
    if (strcmp(f->target, "malware") != 0 && strcmp(f->target, "class") != 0 &&
        strncmp(f->target, "class=", 6) != 0)
        return ms_error_set(err, MS_E_INPUT, "its target is none that is known");
    return MS_OK;
}

/* One tensor's entry against what the net expects; copies it into the parameters. */
static enum ms_status read_tensor(const json_t *entry, const struct ms_net_tensor *t,
                                  struct ms_span data, float *params, struct ms_error *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape"),
                 *offsets = json_object_get(entry, "data_offsets");
    if (!entry)
        return ms_error_set(err, MS_E_INPUT, "tensor %s is missing", t->name);
    if (!dtype || strcmp(dtype, "F32") != 0)
        return ms_error_set(err, MS_E_INPUT, "tensor %s is not F32", t->name);
    json_t *want = shape_of(t);
    bool fits = want && json_equal(shape, want) != 0;
    json_decref(want);
    if (!fits)
        return ms_error_set(err, MS_E_INPUT, "tensor %s has not the shape that its config says",
                            t->name);
    size_t from = t->offset * sizeof(float), bytes = t->rows * t->columns * sizeof(float);
    if (json_array_size(offsets) != 2 || !json_is_integer(json_array_get(offsets, 0)) ||
        !json_is_integer(json_array_get(offsets, 1)) ||
        json_integer_value(json_array_get(offsets, 0)) != (json_int_t)from ||
        json_integer_value(json_array_get(offsets, 1)) != (json_int_t)(from + bytes) ||
        json_object_size(entry) != 3)
        return ms_error_set(err, MS_E_INPUT,
                            "tensor %s does not lie where it should (overlap, hole or order)",
                            t->name);
    struct ms_span part;
    if (!ms_span_sub(data, from, bytes, &part))
        return ms_error_set(err, MS_E_INPUT, "tensor %s lies beyond the end", t->name);
    memcpy(params + t->offset, part.data, part.len);
    for (size_t i = 0; i < t->rows * t->columns; i++)
        if (!isfinite(params[t->offset + i]))
            return ms_error_set(err, MS_E_INPUT, "tensor %s holds a number that is not finite",
                                t->name);
    return MS_OK;
}

static enum ms_status read_tensors(struct ms_model *m, const json_t *header, struct ms_span data,
                                   struct ms_error *err)
{
    size_t count;
    const struct ms_net_tensor *tensors = ms_net_tensors(m->net, &count);
    if (json_object_size(header) != count + 1)
        return ms_error_set(err, MS_E_INPUT, "it holds %zu tensors where its config says %zu",
                            json_object_size(header) - 1, count);
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < count && status == MS_OK; i++)
        status = read_tensor(json_object_get(header, tensors[i].name), &tensors[i], data,
                             ms_net_params(m->net), err);
    return status;
}

static enum ms_status split_file(struct ms_span bytes, json_t **header, struct ms_span *data,
                                 struct ms_error *err)
{
    uint64_t length;
    struct ms_span text;
    if (!ms_span_take_u64le(&bytes, &length))
        return ms_error_set(err, MS_E_INPUT, "it is shorter than a header");
    if (length > MS_LIMIT_MODEL_HEADER_BYTES)
        return ms_error_set(err, MS_E_INPUT, "a header of %" PRIu64 " bytes: at most %zu", length,
                            MS_LIMIT_MODEL_HEADER_BYTES);
    if (!ms_span_take(&bytes, length, &text))
        return ms_error_set(err, MS_E_INPUT, "its header is cut short");
    json_error_t why;
    if (text.len == 0 || text.data[0] != '{')
        return ms_error_set(err, MS_E_INPUT, "its header does not begin with {");
    *header = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    if (!*header) {
        char shown[JSON_ERROR_TEXT_LENGTH * 2];
        return ms_error_set(err, MS_E_INPUT, "its header is not JSON: %s",
                            ms_escape_text(why.text, shown, sizeof shown));
    }
    *data = bytes;
    return MS_OK;
}

static enum ms_status check_format(struct ms_model *m, const json_t *header, struct ms_error *err)
{
    m->metadata = json_incref(json_object_get(header, "__metadata__"));
    enum ms_status status = MS_OK;
    const char *key;
    json_t *value;
    json_object_foreach(m->metadata, key, value) if (!json_is_string(value)) return ms_error_set(
        err, MS_E_INPUT, "its metadata holds something that is no text");
    const char *format = text_of(m, "format", &status, err);
    if (status != MS_OK)
        return ms_error_set(err, MS_E_INPUT,
                            "it is no model of malseq (no format in its metadata)");
    if (strcmp(format, FORMAT) != 0)
        return ms_error_set(err, MS_E_INPUT, "its format is not %s", FORMAT);
    return MS_OK;
}

static enum ms_status read_net(struct ms_model *m, struct ms_span data, unsigned jobs,
                               struct ms_error *err)
{
    struct ms_net_config config;
    enum ms_status status = MS_OK;
    json_t *json = parse_member(m, "config", &status, err);
    if (status == MS_OK)
        status = ms_model_config_read(json, &config, err);
    json_decref(json);
    /* before anything of that size is allocated */
    if (status == MS_OK && ms_net_config_parameters(&config) * sizeof(float) != data.len)
        status =
            ms_error_set(err, MS_E_INPUT, "%zu bytes of tensors where its config says %zu numbers",
                         data.len, ms_net_config_parameters(&config));
    if (status == MS_OK)
        status = read_classes(m, &config, err);
    if (status == MS_OK)
        status = read_vocabulary(m, config.vocabulary, err);
    return status == MS_OK ? ms_net_new_blank(&config, 1, jobs, &m->net, err) : status;
}

enum ms_status ms_model_decode(struct ms_span bytes, unsigned jobs, struct ms_model **out,
                               struct ms_error *err)
{
    struct ms_model *m = calloc(1, sizeof *m);
    if (!m)
        return no_memory(err);
    json_t *header = NULL;
    struct ms_span data;
    enum ms_status status = split_file(bytes, &header, &data, err);
    if (status == MS_OK)
        status = check_format(m, header, err);
    if (status == MS_OK)
        status = read_facts(m, err);
    if (status == MS_OK)
        status = read_net(m, data, jobs, err);
    if (status == MS_OK)
        status = read_tensors(m, header, data, err);
    json_decref(header);
    if (status == MS_OK)
        *out = m;
    else
        ms_model_free(m);
    return status;
}

enum ms_status ms_model_open(const char *path, unsigned jobs, struct ms_model **out,
                             struct ms_error *err)
{
    char shown[256];
    struct stat st;
    struct ms_buf file, bytes;
    ms_buf_init(&file, 65536);
    ms_buf_init(&bytes, MS_LIMIT_MODEL_BYTES);
    (void)ms_buf_append_text(&file, path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        (void)ms_buf_append_text(&file, "/model.safetensors");
    enum ms_status status = ms_file_read(ms_buf_text(&file), &bytes, err);
    if (status == MS_OK) {
        status = ms_model_decode(ms_span_of(bytes.data, bytes.len), jobs, out, err);
        if (status != MS_OK)
            ms_error_prepend(err, "model '%s'", ms_escape_text(path, shown, sizeof shown));
    } else {
        ms_error_prepend(err, "model");
        status = MS_E_INPUT;
    }
    if (status != MS_OK && err)
        err->status = status;
    ms_buf_release(&file);
    ms_buf_release(&bytes);
    return status;
}

void ms_model_free(struct ms_model *self)
{
    if (!self)
        return;
    ms_net_free(self->net);
    ms_vocabulary_free(self->vocabulary);
    json_decref(self->metadata);
    json_decref(self->classes);
    free(self->class_names);
    free(self);
}

const struct ms_model_facts *ms_model_facts_get(const struct ms_model *self)
{
    return &self->facts;
}

const struct ms_vocabulary *ms_model_vocabulary(const struct ms_model *self)
{
    return self->vocabulary;
}

struct ms_net *ms_model_net(struct ms_model *self)
{
    return self->net;
}

const json_t *ms_model_metadata(const struct ms_model *self)
{
    return self->metadata;
}
