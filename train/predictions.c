/* Writes and reads the file of predictions, a line at a time. */
#include "train/predictions.h"

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "train/jsonl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char format[] = "malseq-predictions-1";

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the predictions");
}

static void set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value);
}

static json_t *names_json(const char *const *names, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        (void)json_array_append_new(list, ms_json_text(names[i]));
    return list;
}

static enum ms_status put(json_t *object, struct ms_buf *out, struct ms_error *err)
{
    enum ms_status status = ms_json_append(out, object, err);
    if (status == MS_OK && ms_buf_append_byte(out, '\n') != MS_OK)
        status = no_memory(err);
    return status;
}

static enum ms_status put_head(const struct ms_predictions *p, struct ms_buf *out,
                               struct ms_error *err)
{
    char split[MS_HASH_HEX_MAX];
    ms_hex_encode(p->split, sizeof p->split, split);
    json_t *o = json_object();
    set(o, "format", json_string(format));
    set(o, "split", json_string(split));
    set(o, "model", ms_json_text(p->model));
    set(o, "binary", json_boolean(p->binary));
    set(o, "threshold", json_real(p->threshold));
    set(o, "classes", names_json(p->class_names, p->classes));
    set(o, "entries", names_json(p->entry_names, p->entries));
    set(o, "repeats", json_integer(p->repeats));
    set(o, "folds", json_integer(p->folds));
    set(o, "rows", json_integer((json_int_t)p->count));
    return put(o, out, err);
}

static enum ms_status put_row(const struct ms_predictions *p, size_t row, struct ms_buf *out,
                              struct ms_error *err)
{
    json_t *o = json_object(), *predicted = json_array(), *scores = json_array();
    for (size_t e = 0; e < p->entries; e++) {
        json_t *one = json_array();
        for (uint32_t c = 0; c < p->classes; c++)
            (void)json_array_append_new(
                one, json_real(p->scores[(e * p->count + row) * p->classes + c]));
        (void)json_array_append_new(scores, one);
        (void)json_array_append_new(predicted, json_integer(p->predicted[e * p->count + row]));
    }
    set(o, "key", ms_json_text(p->keys[row]));
    set(o, "group", json_integer(p->groups[row]));
    set(o, "repeat", json_integer(p->repeat[row]));
    set(o, "fold", json_integer(p->fold[row]));
    set(o, "truth", json_integer(p->truth[row]));
    set(o, "predicted", predicted);
    set(o, "scores", scores);
    return put(o, out, err);
}

enum ms_status ms_predictions_encode(const struct ms_predictions *self, struct ms_buf *out,
                                     struct ms_error *err)
{
    enum ms_status status = put_head(self, out, err);
    for (size_t i = 0; i < self->count && status == MS_OK; i++)
        status = put_row(self, i, out, err);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

enum { NAME_BYTES = 4096, ENTRIES_MAX = 64 };

static enum ms_status take_names(struct ms_predictions *p, const struct ms_jsonl *in,
                                 const json_t *head, const char *name, size_t most,
                                 const char ***out, uint32_t *count, struct ms_error *err)
{
    const json_t *list = json_object_get(head, name);
    size_t n = json_array_size(list);
    if (n == 0 || n > most)
        return ms_error_set(err, MS_E_INPUT, "%s: '%s' is missing, empty or too long", in->what,
                            name);
    *out = ms_arena_alloc_array(&p->arena, n, sizeof **out);
    if (!*out)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item) || json_string_length(item) > NAME_BYTES)
            return ms_jsonl_fault(in, "a name is no text", err);
        (*out)[i] = ms_arena_copy(&p->arena, json_string_value(item), json_string_length(item));
        if (!(*out)[i])
            return no_memory(err);
    }
    *count = (uint32_t)n;
    return MS_OK;
}

static enum ms_status take_head(struct ms_predictions *p, const struct ms_jsonl *in,
                                const json_t *head, struct ms_error *err)
{
    const char *text = NULL, *split = NULL;
    uint64_t repeats = 0, folds = 0, rows = 0;
    enum ms_status status = ms_jsonl_text(in, head, "format", 64, &text, err);
    if (status == MS_OK && strcmp(text, format) != 0)
        status = ms_jsonl_fault(in, "of another format", err);
    if (status == MS_OK)
        status = ms_jsonl_text(in, head, "split", 64, &split, err);
    if (status == MS_OK && !ms_hex_decode(split, sizeof p->split, p->split))
        status = ms_jsonl_fault(in, "'split' is no digest", err);
    if (status == MS_OK)
        status = ms_jsonl_text(in, head, "model", NAME_BYTES, &text, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "repeats", 1000, &repeats, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "folds", 1000, &folds, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "rows", MS_LIMIT_DATASET_ROWS, &rows, err);
    if (status == MS_OK && repeats == 0)
        status = ms_jsonl_fault(in, "'repeats' is 0", err);
    if (status != MS_OK)
        return status;
    p->model = ms_arena_copy(&p->arena, text, strlen(text));
    if (!p->model)
        return no_memory(err);
    p->repeats = (uint32_t)repeats;
    p->folds = (uint32_t)folds;
    p->count = (size_t)rows;
    p->binary = json_is_true(json_object_get(head, "binary"));
    p->threshold = json_number_value(json_object_get(head, "threshold"));
    if (!isfinite(p->threshold))
        return ms_jsonl_fault(in, "'threshold' is out of range", err);
    status =
        take_names(p, in, head, "classes", MS_LIMIT_NET_CLASSES, &p->class_names, &p->classes, err);
    if (status == MS_OK)
        status = take_names(p, in, head, "entries", ENTRIES_MAX, &p->entry_names, &p->entries, err);
    if (status == MS_OK && p->binary && p->classes != 2)
        status = ms_jsonl_fault(in, "'binary' with other than two classes", err);
    return status;
}

/* The shortest line that can stand for a row takes this many bytes: what a header promises beyond
 * the file's size is refused before there is memory for it. */
enum { ROW_LEAST_BYTES = 80 };

static enum ms_status make_room(struct ms_predictions *p, const struct ms_jsonl *in,
                                struct ms_error *err)
{
    size_t n = p->count;
    if (n > in->rest.len / ROW_LEAST_BYTES)
        return ms_jsonl_fault(in, "more rows are promised than the file holds", err);
    if (n == 0)
        return ms_jsonl_fault(in, "no rows", err);
    if (n * p->entries * p->classes > in->rest.len)
        return ms_jsonl_fault(in, "more scores are promised than the file holds", err);
    p->keys = calloc(n, sizeof *p->keys);
    p->groups = calloc(n, sizeof *p->groups);
    p->repeat = calloc(n, sizeof *p->repeat);
    p->fold = calloc(n, sizeof *p->fold);
    p->truth = calloc(n, sizeof *p->truth);
    p->predicted = calloc(n * p->entries, sizeof *p->predicted);
    p->scores = calloc(n * p->entries * p->classes, sizeof *p->scores);
    return p->keys && p->groups && p->repeat && p->fold && p->truth && p->predicted && p->scores
               ? MS_OK
               : no_memory(err);
}

static enum ms_status take_scores(struct ms_predictions *p, const struct ms_jsonl *in,
                                  const json_t *predicted, const json_t *scores, size_t row,
                                  struct ms_error *err)
{
    for (size_t e = 0; e < p->entries; e++) {
        const json_t *class_ = json_array_get(predicted, e), *one = json_array_get(scores, e);
        json_int_t c = json_is_integer(class_) ? json_integer_value(class_) : -1;
        if (c < 0 || c >= (json_int_t)p->classes)
            return ms_jsonl_fault(in, "a predicted class is out of range", err);
        if (!json_is_array(one) || json_array_size(one) != p->classes)
            return ms_jsonl_fault(in, "not a score for each class", err);
        p->predicted[e * p->count + row] = (uint32_t)c;
        for (uint32_t k = 0; k < p->classes; k++) {
            const json_t *x = json_array_get(one, k);
            double value = json_is_number(x) ? json_number_value(x) : NAN;
            if (!isfinite(value))
                return ms_jsonl_fault(in, "a score is no number", err);
            p->scores[(e * p->count + row) * p->classes + k] = value;
        }
    }
    return MS_OK;
}

static enum ms_status read_head(void *ctx, const struct ms_jsonl *in, const json_t *object,
                                size_t *rows, struct ms_error *err)
{
    struct ms_predictions *p = ctx;
    enum ms_status status = take_head(p, in, object, err);
    *rows = p->count;
    return status == MS_OK ? make_room(p, in, err) : status;
}

static enum ms_status read_row(void *ctx, const struct ms_jsonl *in, const json_t *object,
                               size_t row, struct ms_error *err)
{
    struct ms_predictions *p = ctx;
    const char *key = NULL;
    uint64_t group = 0, repeat = 0, fold = 0, truth = 0;
    json_t *predicted = NULL, *scores = NULL;
    enum ms_status status = ms_jsonl_text(in, object, "key", NAME_BYTES, &key, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, object, "group", MS_LIMIT_DATASET_ROWS, &group, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, object, "repeat", p->repeats - 1, &repeat, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, object, "fold", p->folds ? p->folds - 1 : 0, &fold, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, object, "truth", p->classes - 1, &truth, err);
    if (status == MS_OK)
        status = ms_jsonl_array(in, object, "predicted", p->entries, &predicted, err);
    if (status == MS_OK)
        status = ms_jsonl_array(in, object, "scores", p->entries, &scores, err);
    if (status != MS_OK)
        return status;
    p->keys[row] = ms_arena_copy(&p->arena, key, strlen(key));
    p->groups[row] = (uint32_t)group;
    p->repeat[row] = (uint32_t)repeat;
    p->fold[row] = (uint32_t)fold;
    p->truth[row] = (uint32_t)truth;
    return p->keys[row] ? take_scores(p, in, predicted, scores, row, err) : no_memory(err);
}

enum ms_status ms_predictions_decode(struct ms_span bytes, struct ms_predictions *out,
                                     struct ms_error *err)
{
    *out = (struct ms_predictions){0};
    ms_arena_init(&out->arena, SIZE_MAX / 2);
    struct ms_jsonl in;
    ms_jsonl_init(&in, bytes, "file of predictions");
    const struct ms_jsonl_form form = {read_head, read_row};
    return ms_jsonl_read(&in, &form, out, err);
}

enum ms_status ms_predictions_open(const char *path, struct ms_predictions *out,
                                   struct ms_error *err)
{
    struct ms_buf bytes;
    *out = (struct ms_predictions){0};
    ms_buf_init(&bytes, MS_LIMIT_PREDICTIONS_BYTES);
    enum ms_status status = ms_file_read(path, &bytes, err);
    if (status == MS_E_IO)
        status = MS_E_INPUT;
    if (status == MS_OK)
        status = ms_predictions_decode(ms_span_of(bytes.data, bytes.len), out, err);
    ms_buf_release(&bytes);
    return status;
}

void ms_predictions_release(struct ms_predictions *self)
{
    free(self->keys);
    free(self->groups);
    free(self->repeat);
    free(self->fold);
    free(self->truth);
    free(self->predicted);
    free(self->scores);
    ms_arena_release(&self->arena);
    *self = (struct ms_predictions){0};
}
