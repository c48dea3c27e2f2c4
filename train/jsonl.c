/* Takes lines off a span and parses each on its own, so that a file costs the memory of a line. */
#include "train/jsonl.h"

#include "base/limits.h"

#include <inttypes.h>
#include <string.h>

void ms_jsonl_init(struct ms_jsonl *self, struct ms_span bytes, const char *what)
{
    *self = (struct ms_jsonl){.rest = bytes, .what = what};
}

enum ms_status ms_jsonl_fault(const struct ms_jsonl *self, const char *why, struct ms_error *err)
{
    return ms_error_set(err, MS_E_INPUT, "%s, line %" PRIu64 ": %s", self->what, self->line, why);
}

enum ms_status ms_jsonl_next(struct ms_jsonl *self, json_t **out, struct ms_error *err)
{
    *out = NULL;
    if (self->rest.len == 0)
        return MS_OK;
    self->line++;
    const uint8_t *end = memchr(self->rest.data, '\n', self->rest.len);
    size_t n = end ? (size_t)(end - self->rest.data) : self->rest.len, taken = n + (end != NULL);
    if (n > MS_LIMIT_JSON_LINE_BYTES)
        return ms_jsonl_fault(self, "too long", err);
    json_error_t why;
    json_t *value = json_loadb((const char *)self->rest.data, n, JSON_REJECT_DUPLICATES, &why);
    self->rest = ms_span_of(self->rest.data + taken, self->rest.len - taken);
    if (json_is_object(value)) {
        *out = value;
        return MS_OK;
    }
    json_decref(value);
    return ms_jsonl_fault(self, "no JSON object", err);
}

enum ms_status ms_jsonl_read(struct ms_jsonl *self, const struct ms_jsonl_form *form, void *ctx,
                             struct ms_error *err)
{
    json_t *object = NULL;
    size_t rows = 0, row = 0;
    enum ms_status status = ms_jsonl_next(self, &object, err);
    if (status == MS_OK)
        status =
            object ? form->head(ctx, self, object, &rows, err) : ms_jsonl_fault(self, "empty", err);
    json_decref(object);
    for (; status == MS_OK; row++) {
        status = ms_jsonl_next(self, &object, err);
        if (status != MS_OK || !object)
            break;
        status = row < rows ? form->row(ctx, self, object, row, err)
                            : ms_jsonl_fault(self, "more rows than the header says", err);
        json_decref(object);
    }
    return status == MS_OK && row < rows
               ? ms_jsonl_fault(self, "fewer rows than the header says", err)
               : status;
}

static enum ms_status member_fault(const struct ms_jsonl *self, const char *name, const char *why,
                                   struct ms_error *err)
{
    return ms_error_set(err, MS_E_INPUT, "%s, line %" PRIu64 ": '%s' is missing or %s", self->what,
                        self->line, name, why);
}

enum ms_status ms_jsonl_number(const struct ms_jsonl *self, const json_t *object, const char *name,
                               uint64_t most, uint64_t *out, struct ms_error *err)
{
    const json_t *value = json_object_get(object, name);
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;
    if (n < 0 || (uint64_t)n > most)
        return member_fault(self, name, "out of range", err);
    *out = (uint64_t)n;
    return MS_OK;
}

enum ms_status ms_jsonl_text(const struct ms_jsonl *self, const json_t *object, const char *name,
                             size_t most, const char **out, struct ms_error *err)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) > most || strlen(text) != json_string_length(value))
        return member_fault(self, name, "no such text", err);
    *out = text;
    return MS_OK;
}

enum ms_status ms_jsonl_array(const struct ms_jsonl *self, const json_t *object, const char *name,
                              size_t n, json_t **out, struct ms_error *err)
{
    json_t *value = json_object_get(object, name);
    if (!json_is_array(value) || json_array_size(value) != n)
        return member_fault(self, name, "of another length", err);
    *out = value;
    return MS_OK;
}
