/* The streaming JSON reader: blocks in, checked tokens out. It builds no tree and keeps no value
 * that was not asked for. */
#include "base/scan_private.h"

static enum ms_status tell(const struct ms_scanner *self, enum ms_status status,
                           struct ms_error *err)
{
    if (status != MS_OK && err)
        *err = self->error;
    return status;
}

enum ms_status ms_scanner_fault(struct ms_scanner *self, const char *why, struct ms_error *err)
{
    return tell(self, ms_scanner_bad(self, why), err);
}

/* --- structure --- */

/* The byte that a value begins with. */
static enum ms_status value_begin(struct ms_scanner *self, int *out)
{
    if (self->failed)
        return self->failed;
    if (!self->value_due)
        return ms_scanner_misused(self, "no value is due here");
    *out = ms_scanner_peek_token(self);
    if (*out == NO_BYTE)
        return ms_scanner_bad(
            self, self->base == 0 && self->end == self->block ? "empty" : "ends before a value");
    return MS_OK;
}

static enum ms_status push(struct ms_scanner *self, int bracket)
{
    if (self->depth == MS_LIMIT_JSON_DEPTH)
        return ms_scanner_bad(self, "nested too deeply");
    self->open[self->depth++] = (uint8_t)bracket;
    self->pos++;
    return MS_OK;
}

static enum ms_status expect_colon(struct ms_scanner *self)
{
    int c = ms_scanner_peek_token(self);
    if (c != ':')
        return ms_scanner_bad(self,
                              c == NO_BYTE ? "ends within an object" : "no colon behind a key");
    self->pos++;
    return MS_OK;
}

/* --- the public face --- */

static enum ms_status skip_mark(struct ms_scanner *self)
{
    if (ms_scanner_byte(self) || ms_scanner_peek_byte(self) != 0xEF)
        return MS_OK;
    static const uint8_t mark[3] = {0xEF, 0xBB, 0xBF};
    for (size_t i = 0; i < sizeof mark; i++) {
        if (ms_scanner_peek_byte(self) != mark[i])
            return ms_scanner_bad(self, "not a JSON value");
        self->pos++;
    }
    return MS_OK;
}

static enum ms_status due_byte(struct ms_scanner *self, int *out)
{
    if (!self->failed && self->depth == 0 && skip_mark(self) != MS_OK)
        return self->failed;
    return value_begin(self, out);
}

enum ms_status ms_scanner_peek(struct ms_scanner *self, enum ms_scanner_kind *out,
                               struct ms_error *err)
{
    int c = 0;
    enum ms_status status = due_byte(self, &c);
    if (status == MS_OK)
        status = ms_scanner_kind_at(self, c, out);
    return tell(self, status, err);
}

enum ms_status ms_scanner_enter(struct ms_scanner *self, struct ms_error *err)
{
    int c = 0;
    enum ms_status status = due_byte(self, &c);
    if (status == MS_OK && c != '{' && c != '[')
        status = ms_scanner_misused(self, "entered what is no container");
    if (status == MS_OK)
        status = push(self, c);
    if (status == MS_OK) {
        self->first = true;
        self->value_due = false;
    }
    return tell(self, status, err);
}

/* Leaves what was due in the container that is meant, and goes on behind it. */
static enum ms_status ready(struct ms_scanner *self, int bracket)
{
    if (self->failed)
        return self->failed;
    if (self->depth && self->value_due && self->open[self->depth - 1] == bracket) {
        self->value_due = false;
        enum ms_status status = ms_scanner_skip_value(self);
        if (status != MS_OK)
            return status;
    }
    if (self->depth == 0 || self->open[self->depth - 1] != bracket)
        return ms_scanner_misused(self, "asked for the wrong container's next item");
    return MS_OK;
}

/* The next item of the innermost container, or the way out of it. */
MS_SCAN_INLINE enum ms_status next_item(struct ms_scanner *self, struct ms_scanner_view *view,
                                        bool object, bool *more)
{
    enum ms_status status = ms_scanner_view_item(self, view, object, self->first, more);
    self->first = false;
    if (status == MS_OK && !*more) {
        self->depth--;
        ms_scanner_put(self, view);
    }
    return status;
}

enum ms_status ms_scanner_member(struct ms_scanner *self, bool *more, struct ms_scanner_text *key,
                                 struct ms_error *err)
{
    struct ms_scanner_view view;
    enum ms_status status = ready(self, '{');
    if (status != MS_OK)
        return tell(self, status, err);
    ms_scanner_get(self, &view);
    status = next_item(self, &view, true, more);
    if (status != MS_OK || !*more)
        return tell(self, status, err);
    status = ms_scanner_view_text(self, &view, key);
    if (status == MS_OK && view.p < view.end && *view.p == ':') {
        view.p++;
        ms_scanner_put(self, &view);
    } else if (status == MS_OK) {
        ms_scanner_put(self, &view);
        /* The colon may lie in the next block: the key must survive the refill. */
        if (self->source && key->bytes.data != self->text.data) {
            self->text.len = 0;
            self->text.failed = false;
            ms_scanner_keep(self, key->bytes.data, key->bytes.len);
            key->bytes = ms_span_of(self->text.data, key->bytes.len);
        }
        status = expect_colon(self);
    }
    self->value_due = true;
    return tell(self, status, err);
}

enum ms_status ms_scanner_element(struct ms_scanner *self, bool *more, struct ms_error *err)
{
    struct ms_scanner_view view;
    enum ms_status status = ready(self, '[');
    if (status == MS_OK) {
        ms_scanner_get(self, &view);
        status = next_item(self, &view, false, more);
    }
    if (status == MS_OK)
        ms_scanner_put(self, &view);
    self->value_due = status == MS_OK && *more;
    return tell(self, status, err);
}

/* Takes a string, number or literal that begins with c as text. */
static enum ms_status take_as_text(struct ms_scanner *self, int c, struct ms_scanner_text *out)
{
    self->value_due = false;
    if (c == '"') {
        struct ms_scanner_view view;
        ms_scanner_get(self, &view);
        view.p++;
        enum ms_status status = ms_scanner_view_text(self, &view, out);
        if (status == MS_OK)
            ms_scanner_put(self, &view);
        return status;
    }
    ms_scanner_keep_begin(self);
    enum ms_status status = ms_scanner_take_scalar(self, c);
    if (status == MS_OK)
        ms_scanner_keep_end(self, out);
    self->keeping = false;
    return status;
}

enum ms_status ms_scanner_text(struct ms_scanner *self, struct ms_scanner_text *out,
                               struct ms_error *err)
{
    int c = 0;
    enum ms_status status = due_byte(self, &c);
    if (status == MS_OK && (c == '{' || c == '['))
        status = ms_scanner_misused(self, "a container has no text");
    if (status == MS_OK)
        status = take_as_text(self, c, out);
    return tell(self, status, err);
}

enum ms_status ms_scanner_take(struct ms_scanner *self, enum ms_scanner_kind *kind,
                               struct ms_scanner_text *out, struct ms_error *err)
{
    int c = 0;
    enum ms_status status = due_byte(self, &c);
    if (status == MS_OK)
        status = ms_scanner_kind_at(self, c, kind);
    if (status == MS_OK && (c == '{' || c == '[')) {
        *out = (struct ms_scanner_text){0};
        self->value_due = false;
        status = ms_scanner_skip_value(self);
    } else if (status == MS_OK) {
        status = take_as_text(self, c, out);
    }
    return tell(self, status, err);
}

enum ms_status ms_scanner_skip(struct ms_scanner *self, struct ms_error *err)
{
    int c = 0;
    enum ms_status status = due_byte(self, &c);
    if (status == MS_OK) {
        self->value_due = false;
        status = ms_scanner_skip_value(self);
    }
    return tell(self, status, err);
}

/* Opens the container that is due for being taken whole. */
static enum ms_status open_whole(struct ms_scanner *self, int bracket)
{
    int c = 0;
    enum ms_status status = due_byte(self, &c);
    if (status == MS_OK && (self->source || c != bracket))
        status = ms_scanner_misused(self, "took whole what is no such container in memory");
    if (status == MS_OK)
        status = push(self, c);
    self->value_due = false;
    self->held.len = 0;
    self->held.failed = false;
    return status;
}

enum ms_status ms_scanner_fields(struct ms_scanner *self, const struct ms_scanner_name *names,
                                 size_t count, struct ms_scanner_field *out, struct ms_error *err)
{
    enum ms_status status = open_whole(self, '{');
    if (status == MS_OK)
        status = ms_scanner_take_fields(self, names, count, out);
    return tell(self, status, err);
}

enum ms_status ms_scanner_items(struct ms_scanner *self, size_t max, struct ms_scanner_field *out,
                                size_t *count, struct ms_error *err)
{
    enum ms_status status = open_whole(self, '[');
    if (status == MS_OK)
        status = ms_scanner_take_items(self, max, out, count);
    return tell(self, status, err);
}

enum ms_status ms_scanner_finish(struct ms_scanner *self, struct ms_error *err)
{
    enum ms_status status = self->failed;
    if (status == MS_OK && self->depth)
        status = ms_scanner_misused(self, "finished inside a container");
    if (status == MS_OK && self->value_due)
        status = ms_scanner_skip(self, err);
    if (status == MS_OK && ms_scanner_peek_token(self) != NO_BYTE)
        status = ms_scanner_bad(self, "something behind the document's end");
    return tell(self, status != MS_OK ? status : self->failed, err);
}
