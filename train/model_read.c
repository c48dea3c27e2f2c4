/* Reads a model's bytes as if they came from an enemy. Opens no file: that is model_file.c. */
#include "train/model_private.h"

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

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are used as they lie in the file: little-endian only"
#endif

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for a model");
}

/* Why there is no JSON; jansson says nothing where it had no memory. */
static enum ms_status no_json(const char *what, const json_error_t *why, struct ms_error *err)
{
    char shown[JSON_ERROR_TEXT_LENGTH * 2];
    if (!why->text[0] || json_error_code(why) == json_error_out_of_memory)
        return no_memory(err);
    return ms_error_set(err, MS_E_INPUT, "its %s is not JSON: %s", what,
                        ms_escape_text(why->text, shown, sizeof shown));
}

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
    char what[48];
    json_t *json = text ? json_loads(text, JSON_REJECT_DUPLICATES, &why) : NULL;
    (void)snprintf(what, sizeof what, "metadata '%.24s'", name);
    if (text && !json && *status == MS_OK)
        *status = no_json(what, &why, err);
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
                                   &m->parts.vocabulary, err);
    for (size_t i = 0; i < n && status == MS_OK; i++) { /* counted so that the order stays */
        const json_t *name = json_array_get(list, i);
        if (!json_is_string(name))
            status = ms_error_set(err, MS_E_INPUT, "its vocabulary has an entry that is no text");
        else
            status = ms_vocabulary_count(
                m->parts.vocabulary, ms_span_of(json_string_value(name), json_string_length(name)),
                n - i, err);
        if (status == MS_E_LIMIT)
            status = ms_error_set(err, MS_E_INPUT, "its vocabulary has an entry that is too long");
    }
    json_decref(list);
    if (status == MS_OK)
        status = ms_vocabulary_finish(m->parts.vocabulary, 0, err);
    /* a name twice, or one that Keras's rules split, would have shifted the numbers */
    if (status == MS_OK && ms_vocabulary_size(m->parts.vocabulary) != n + reserved)
        status = ms_error_set(err, MS_E_INPUT, "its vocabulary repeats or splits names");
    return status;
}

static enum ms_status read_classes(struct ms_model *m, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    m->classes = parse_member(m, "classes", &status, err);
    if (status != MS_OK)
        return status;
    size_t n = json_array_size(m->classes);
    if (!json_is_array(m->classes) || n < 2 || n > MS_LIMIT_NET_CLASSES)
        return ms_error_set(err, MS_E_INPUT, "its classes are not 2 to %d", MS_LIMIT_NET_CLASSES);
    m->class_names = calloc(n, sizeof *m->class_names);
    if (!m->class_names)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        m->class_names[i] = json_string_value(json_array_get(m->classes, i));
        if (!m->class_names[i])
            return ms_error_set(err, MS_E_INPUT, "its classes have an entry that is no text");
    }
    m->facts.class_names = m->class_names;
    m->facts.classes = m->parts.classes = (uint32_t)n;
    return MS_OK;
}

/* Models from before these were had neither. */
static enum ms_status read_tuning(struct ms_model *m, struct ms_error *err)
{
    const char *calibration = json_string_value(json_object_get(m->metadata, "calibration"));
    const char *band = json_string_value(json_object_get(m->metadata, "unknown_band"));
    struct ms_model_facts *f = &m->facts;
    if (band && strcmp(band, "none") != 0 &&
        !ms_doubt_parse(band, &f->unknown_from, &f->unknown_to))
        return ms_error_set(err, MS_E_INPUT, "its band of doubt is none that can be");
    return calibration ? ms_calibration_parse(calibration, &f->calibration, err) : MS_OK;
}

/* Files of before have neither. */
static enum ms_status read_sources(struct ms_model *m, struct ms_error *err)
{
    const char *sequence = json_string_value(json_object_get(m->metadata, "sequence"));
    const char *statics = json_string_value(json_object_get(m->metadata, "static"));
    m->facts.opcodes = sequence && strcmp(sequence, "opcode") == 0;
    if (sequence && !m->facts.opcodes && strcmp(sequence, "api") != 0)
        return ms_error_set(err, MS_E_INPUT, "its kind of sequence is none that is known");
    return statics ? ms_static_use_parse(statics, &m->facts.statics, err) : MS_OK;
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
    if (status == MS_OK)
        status = read_sources(m, err);
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

enum ms_status ms_model_header_check(uint64_t length, uint64_t left, struct ms_error *err)
{
    if (length > MS_LIMIT_MODEL_HEADER_BYTES)
        return ms_error_set(err, MS_E_INPUT, "a header of %" PRIu64 " bytes: at most %zu", length,
                            MS_LIMIT_MODEL_HEADER_BYTES);
    return length <= left ? MS_OK : ms_error_set(err, MS_E_INPUT, "its header is cut short");
}

static enum ms_status parse_header(struct ms_span text, json_t **out, struct ms_error *err)
{
    json_error_t why;
    if (text.len == 0 || text.data[0] != '{')
        return ms_error_set(err, MS_E_INPUT, "its header does not begin with {");
    *out = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    return *out ? MS_OK : no_json("header", &why, err);
}

/* ---- members ---- */

/* What the metadata says of a member, before anything of its size is allocated. */
struct plan {
    enum ms_member_kind kind;
    struct ms_net_config config;
    uint32_t trees, nodes, weight;
    bool presence;
};

static bool take_count(const json_t *object, const char *name, uint64_t most, uint32_t *out)
{
    const json_t *value = json_object_get(object, name);
    json_int_t n = json_integer_value(value);
    *out = (uint32_t)n;
    return json_is_integer(value) && n >= 1 && (uint64_t)n <= most;
}

/* Takes what a member that is no net may have beside its shape; whether it is as it should be. */
static bool take_extras(const json_t *json, size_t *size, struct plan *out)
{
    const json_t *presence = json_object_get(json, "presence");
    bool weighted = json_object_get(json, "weight") != NULL;
    out->presence = presence != NULL;
    *size -= (size_t)out->presence + (size_t)weighted;
    return (!presence || json_is_true(presence)) &&
           (!weighted || take_count(json, "weight", MS_LIMIT_MODEL_MEMBERS, &out->weight));
}

static enum ms_status plan_member(const json_t *json, struct plan *out, struct ms_error *err)
{
    const char *what = json_string_value(json_object_get(json, "member"));
    size_t size = json_object_size(json);
    if (what && strcmp(what, "net") == 0 && size == 2) {
        out->kind = MS_MEMBER_NET;
        return ms_model_config_read(json_object_get(json, "config"), &out->config, err);
    }
    if (!take_extras(json, &size, out))
        what = NULL;
    if (what && strcmp(what, "linear") == 0 && size == 1) {
        out->kind = MS_MEMBER_LINEAR;
        return MS_OK;
    }
    out->kind = MS_MEMBER_TREES;
    if (what && strcmp(what, "trees") == 0 && size == 3 &&
        take_count(json, "nodes", MS_LIMIT_MODEL_TREE_NODES, &out->nodes) &&
        take_count(json, "trees", out->nodes, &out->trees))
        return MS_OK;
    return ms_error_set(err, MS_E_INPUT, "it has a member of an unknown kind or shape");
}

/* Bytes of its tensors; every term is below 2^33. */
static uint64_t plan_bytes(const struct plan *p, uint64_t classes, uint64_t ngrams)
{
    uint64_t outputs = classes == 2 ? 1 : classes;
    switch (p->kind) {
    case MS_MEMBER_NET:
        return 4 * (uint64_t)ms_net_config_parameters(&p->config);
    case MS_MEMBER_LINEAR:
        return 4 * (ngrams + 1) * outputs;
    case MS_MEMBER_TREES:
        return 4 * (2 * (uint64_t)p->trees + 1 + 4 * (uint64_t)p->nodes);
    case MS_MEMBER_SHARES:
        break;
    }
    return 0;
}

/* A net lies in the file as it lies in memory, and stays where it is; the others get memory of
 * their own. */
static enum ms_status make_member(const struct plan *p, uint32_t classes, uint64_t ngrams,
                                  void *numbers, unsigned jobs, struct ms_member *out,
                                  struct ms_error *err)
{
    uint32_t outputs = classes == 2 ? 1 : classes;
    out->kind = p->kind;
    out->weight = p->weight;
    out->presence = p->presence;
    if (p->kind == MS_MEMBER_NET)
        return ms_net_new_placed(&p->config, numbers, jobs, &out->net, err);
    if (p->kind == MS_MEMBER_LINEAR)
        return ms_linear_make((uint32_t)ngrams, outputs, &out->linear, err);
    return ms_trees_make((uint32_t)ngrams, outputs, p->trees, p->nodes, &out->trees, err);
}

/* The members, without numbers but for the nets, when together with the n-grams they take up
 * exactly the file's tensors. */
static enum ms_status read_members(struct ms_model *m, uint64_t ngrams, unsigned jobs,
                                   struct ms_error *err)
{
    enum ms_status status = MS_OK;
    json_t *list = parse_member(m, "members", &status, err);
    size_t n = json_array_size(list);
    if (status == MS_OK && (n < 1 || n > MS_LIMIT_MODEL_MEMBERS))
        status =
            ms_error_set(err, MS_E_INPUT, "its members are not 1 to %d", MS_LIMIT_MODEL_MEMBERS);
    struct plan *plans = status == MS_OK ? calloc(n, sizeof *plans) : NULL;
    if (status == MS_OK && !plans)
        status = no_memory(err);
    uint64_t bytes = ngrams * 4 * (MS_GRAM_MOST + 1);
    for (size_t i = 0; status == MS_OK && i < n; i++) {
        status = plan_member(json_array_get(list, i), &plans[i], err);
        bytes += status == MS_OK ? plan_bytes(&plans[i], m->parts.classes, ngrams) : 0;
    }
    if (status == MS_OK && bytes != m->data.len)
        status =
            ms_error_set(err, MS_E_INPUT, "%zu bytes of tensors where its members say %" PRIu64,
                         m->data.len, bytes);
    if (status == MS_OK) {
        m->parts.members = calloc(n, sizeof *m->parts.members);
        m->parts.member_count = m->parts.members ? (uint32_t)n : 0;
        status = m->parts.members ? MS_OK : no_memory(err);
    }
    for (size_t i = 0, from = 0; status == MS_OK && i < n; i++) {
        status = make_member(&plans[i], m->parts.classes, ngrams, m->data.at + from, jobs,
                             &m->parts.members[i], err);
        from += (size_t)plan_bytes(&plans[i], m->parts.classes, ngrams);
    }
    free(plans);
    json_decref(list);
    return status;
}

/* ---- tensors ---- */

/* One tensor's entry against what is expected at `from`; copies its numbers, unless that is where
 * they are used. */
static enum ms_status read_tensor(const json_t *entry, const struct ms_model_tensor *t, size_t from,
                                  const struct ms_model_data *data, struct ms_error *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const char *wanted = t->whole ? "I32" : "F32";
    const json_t *shape = json_object_get(entry, "shape"),
                 *offsets = json_object_get(entry, "data_offsets");
    if (!entry)
        return ms_error_set(err, MS_E_INPUT, "tensor %s is missing", t->name);
    if (!dtype || strcmp(dtype, wanted) != 0)
        return ms_error_set(err, MS_E_INPUT, "tensor %s is not %s", t->name, wanted);
    json_t *want = ms_model_tensor_shape(t);
    bool fits = want && json_equal(shape, want) != 0;
    json_decref(want);
    if (!fits)
        return ms_error_set(err, MS_E_INPUT, "tensor %s has not the shape that its config says",
                            t->name);
    size_t bytes = ms_model_tensor_bytes(t);
    if (json_array_size(offsets) != 2 || !json_is_integer(json_array_get(offsets, 0)) ||
        !json_is_integer(json_array_get(offsets, 1)) ||
        json_integer_value(json_array_get(offsets, 0)) != (json_int_t)from ||
        json_integer_value(json_array_get(offsets, 1)) != (json_int_t)(from + bytes) ||
        json_object_size(entry) != 3)
        return ms_error_set(err, MS_E_INPUT,
                            "tensor %s does not lie where it should (overlap, hole or order)",
                            t->name);
    if (from > data->len || bytes > data->len - from)
        return ms_error_set(err, MS_E_INPUT, "tensor %s lies beyond the end", t->name);
    if (t->data != data->at + from)
        memcpy(t->data, data->at + from, bytes);
    if (!t->whole && !ms_model_data_finite(data, from, bytes))
        return ms_error_set(err, MS_E_INPUT, "tensor %s holds a number that is not finite",
                            t->name);
    return MS_OK;
}

static enum ms_status read_tensors(const struct ms_model_tensors *tensors, const json_t *header,
                                   const struct ms_model_data *data, struct ms_error *err)
{
    if (json_object_size(header) != tensors->count + 1)
        return ms_error_set(err, MS_E_INPUT, "it holds %zu tensors where its members say %zu",
                            json_object_size(header) - 1, tensors->count);
    enum ms_status status = MS_OK;
    size_t from = 0;
    for (size_t i = 0; i < tensors->count && status == MS_OK; i++) {
        const struct ms_model_tensor *t = &tensors->list[i];
        status = read_tensor(json_object_get(header, t->name), t, from, data, err);
        from += ms_model_tensor_bytes(t);
    }
    return status;
}

/* ---- n-grams ---- */

static enum ms_status load_ngrams(struct ms_model *m, size_t size, const int32_t *places,
                                  const float *weights, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    json_t *list = parse_member(m, "ngram_calls", &status, err);
    size_t n = json_array_size(list);
    if (status == MS_OK && (!json_is_array(list) || n > MS_LIMIT_VOCABULARY ||
                            (m->parts.inputs.ngrams.max_n == 0 && (n > 0 || size > 0))))
        status = ms_error_set(err, MS_E_INPUT, "its n-grams have no list of calls");
    struct ms_span *names = status == MS_OK ? calloc(n + 1, sizeof *names) : NULL;
    if (status == MS_OK && !names)
        status = no_memory(err);
    for (size_t i = 0; status == MS_OK && i < n; i++) {
        const json_t *name = json_array_get(list, i);
        if (!json_is_string(name))
            status = ms_error_set(err, MS_E_INPUT, "its n-grams have a call that is no text");
        else
            names[i] = ms_span_of(json_string_value(name), json_string_length(name));
    }
    const struct ms_ngrams_file file = {.options = m->parts.inputs.ngrams,
                                        .names = names,
                                        .name_count = n,
                                        .places = places,
                                        .weights = weights,
                                        .size = size};
    if (status == MS_OK && m->parts.inputs.ngrams.max_n > 0)
        status = ms_ngrams_load(&file, &m->parts.ngrams, err);
    free(names);
    json_decref(list);
    return status;
}

/* Members, n-grams and all their numbers. */
static enum ms_status read_parts(struct ms_model *m, const json_t *header, unsigned jobs,
                                 struct ms_error *err)
{
    uint64_t ngrams;
    struct ms_model_tensors tensors = {0};
    int32_t *places = NULL; /* where they are in the file's data, behind the members */
    float *weights = NULL;
    enum ms_status status = read_number(m, "ngrams", &ngrams, err);
    if (status == MS_OK && ngrams > MS_LIMIT_NET_VOCABULARY)
        status =
            ms_error_set(err, MS_E_INPUT, "it has more than %d n-grams", MS_LIMIT_NET_VOCABULARY);
    if (status == MS_OK)
        status = read_members(m, ngrams, jobs, err);
    if (status == MS_OK) {
        uint8_t *end = m->data.at + m->data.len; /* read_members has seen that all has its room */
        weights = (float *)(void *)(end - ngrams * sizeof *weights);
        places = (int32_t *)(void *)((uint8_t *)weights - ngrams * MS_GRAM_MOST * sizeof *places);
        ms_model_tensors_members(&tensors, &m->parts);
        ms_model_tensors_ngrams(&tensors, ngrams, places, weights);
        status = tensors.failed ? no_memory(err) : read_tensors(&tensors, header, &m->data, err);
    }
    if (status == MS_OK)
        status = load_ngrams(m, (size_t)ngrams, places, weights, err);
    if (status == MS_OK)
        status = ms_model_parts_check(&m->parts, err);
    for (uint32_t i = 0; status == MS_OK && i < m->parts.member_count; i++)
        if (m->parts.members[i].kind == MS_MEMBER_TREES)
            status = ms_trees_check(&m->parts.members[i].trees, err);
    ms_model_tensors_release(&tensors);
    return status;
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
    if (strcmp(format, MS_MODEL_FORMAT) != 0)
        return ms_error_set(err, MS_E_INPUT, "its format is not %s: train it anew",
                            MS_MODEL_FORMAT);
    return MS_OK;
}

static enum ms_status read_kind(struct ms_model *m, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    const char *kind = text_of(m, "kind", &status, err);
    const char *inputs = text_of(m, "inputs", &status, err);
    if (status == MS_OK)
        status = ms_model_kind_parse(kind, &m->parts.kind, err);
    if (status == MS_OK)
        status = ms_input_options_parse(inputs, &m->parts.inputs, err);
    m->parts.cut = m->facts.view.cut;
    return status;
}

enum ms_status ms_model_read_header(struct ms_model *m, struct ms_span text, json_t **header,
                                    struct ms_error *err)
{
    enum ms_status status = parse_header(text, header, err);
    if (status == MS_OK)
        status = check_format(m, *header, err);
    if (status == MS_OK)
        status = read_facts(m, err);
    if (status == MS_OK)
        status = read_kind(m, err);
    if (status == MS_OK)
        status = read_classes(m, err);
    if (status == MS_OK)
        status = read_tuning(m, err);
    if (status == MS_OK && m->facts.classes != 2 &&
        m->facts.calibration.kind > MS_CALIBRATION_TEMPERATURE)
        status = ms_error_set(err, MS_E_INPUT, "its calibration is one of two classes");
    return status;
}

enum ms_status ms_model_read_numbers(struct ms_model *m, const json_t *header, unsigned jobs,
                                     struct ms_error *err)
{
    enum ms_status status = read_vocabulary(m, MS_LIMIT_NET_VOCABULARY, err);
    return status == MS_OK ? read_parts(m, header, jobs, err) : status;
}
