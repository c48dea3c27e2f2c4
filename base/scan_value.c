/* Whole values for the scanner: strings to their end, numbers, literals; values passed over; small
 * objects and arrays of a document in memory taken in one go. */
#include "base/scan_private.h"

enum ms_status ms_scanner_take_string(struct ms_scanner *self)
{
    for (;;) {
        const uint8_t *p = ms_scanner_past_plain(self->pos, self->end);
        self->pos = p;
        if (p == self->end) {
            if (!ms_scanner_refill(self))
                return ms_scanner_bad(self, "ends within a string");
            continue;
        }
        enum ms_status status = MS_OK;
        if (*p == '"')
            return MS_OK;
        if (*p == '\\')
            status = ms_scanner_take_escapes(self);
        else if (*p < 0x20)
            return ms_scanner_bad(self, "a raw control character in a string");
        else
            status = ms_scanner_take_wide(self);
        if (status != MS_OK)
            return status;
    }
}

void ms_scanner_keep_begin(struct ms_scanner *self)
{
    self->text.len = 0;
    self->text.failed = false;
    self->text_cut = false;
    self->from = ms_scanner_place(self, self->pos);
    self->keeping = true;
}

void ms_scanner_keep_end(struct ms_scanner *self, struct ms_scanner_text *out)
{
    self->keeping = false;
    size_t n = (size_t)(ms_scanner_place(self, self->pos) - self->from);
    if (self->text.len == 0 && !self->text_cut && n <= self->text.max) {
        *out = (struct ms_scanner_text){ms_span_of(self->from, n), false};
        return;
    }
    ms_scanner_keep(self, self->from, n);
    size_t len = self->text.len;
    if (self->text_cut) {
        while (len && (self->text.data[len - 1] & 0xC0) == 0x80)
            len--;
        /* A whole last character stays only if it was not the one being cut: dropping it is
         * simpler, and nobody needs it. */
        if (len && self->text.data[len - 1] >= 0xC0)
            len--;
    }
    *out = (struct ms_scanner_text){ms_span_of(self->text.data, len), self->text_cut};
}

enum ms_status ms_scanner_take_text(struct ms_scanner *self, struct ms_scanner_text *out)
{
    ms_scanner_keep_begin(self);
    enum ms_status status = ms_scanner_take_string(self);
    if (status != MS_OK)
        return status;
    ms_scanner_keep_end(self, out);
    self->pos++;
    return self->failed;
}

static enum ms_status take_digits(struct ms_scanner *self)
{
    int c = ms_scanner_peek_byte(self);
    if (c < '0' || c > '9')
        return ms_scanner_bad(self, "a number without a digit where one must be");
    do {
        self->pos++;
        c = ms_scanner_peek_byte(self);
    } while (c >= '0' && c <= '9');
    return MS_OK;
}

static enum ms_status take_word(struct ms_scanner *self, const char *word)
{
    for (; *word; word++) {
        if (ms_scanner_peek_byte(self) != *word)
            return ms_scanner_bad(self, "neither a value nor true, false or null");
        self->pos++;
    }
    return MS_OK;
}

static enum ms_status take_number(struct ms_scanner *self)
{
    if (ms_scanner_peek_byte(self) == '-') {
        self->pos++;
        if (self->non_finite && ms_scanner_peek_byte(self) == 'I')
            return take_word(self, "Infinity");
    }
    enum ms_status status = MS_OK;
    if (ms_scanner_peek_byte(self) == '0')
        self->pos++;
    else
        status = take_digits(self);
    if (status == MS_OK && ms_scanner_peek_byte(self) == '.') {
        self->pos++;
        status = take_digits(self);
    }
    if (status != MS_OK)
        return status;
    int c = ms_scanner_peek_byte(self);
    if (c == 'e' || c == 'E') {
        self->pos++;
        c = ms_scanner_peek_byte(self);
        if (c == '+' || c == '-')
            self->pos++;
        status = take_digits(self);
    }
    return status != MS_OK ? status : self->failed;
}

enum ms_status ms_scanner_kind_at(struct ms_scanner *self, int c, enum ms_scanner_kind *out)
{
    switch (c) {
    case '{':
        *out = MS_SCAN_OBJECT;
        break;
    case '[':
        *out = MS_SCAN_ARRAY;
        break;
    case '"':
        *out = MS_SCAN_STRING;
        break;
    case 't':
        *out = MS_SCAN_TRUE;
        break;
    case 'f':
        *out = MS_SCAN_FALSE;
        break;
    case 'n':
        *out = MS_SCAN_NULL;
        break;
    default:
        if (c != '-' && (c < '0' || c > '9') && !ms_scanner_is_non_finite(self, c))
            return ms_scanner_bad(self, "not a JSON value");
        *out = MS_SCAN_NUMBER;
    }
    return MS_OK;
}

enum ms_status ms_scanner_take_scalar(struct ms_scanner *self, int c)
{
    switch (c) {
    case '"': {
        self->pos++;
        enum ms_status status = ms_scanner_take_string(self);
        if (status == MS_OK)
            self->pos++;
        return status;
    }
    case 't':
        return take_word(self, "true");
    case 'f':
        return take_word(self, "false");
    case 'n':
        return take_word(self, "null");
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return take_number(self);
        if (ms_scanner_is_non_finite(self, c))
            return take_word(self, c == 'N' ? "NaN" : "Infinity");
        return ms_scanner_bad(self, "not a JSON value");
    }
}

enum ms_status ms_scanner_skip_value(struct ms_scanner *self)
{
    struct ms_scanner_view view;
    size_t floor = self->depth, depth = floor;
    bool object = false, first = false, more = true;
    enum ms_status status = MS_OK;
    if (self->loose) {
        int c = ms_scanner_peek_token(self);
        if (c == '{' || c == '[')
            return ms_scanner_skip_structure(self);
    }
    ms_scanner_get(self, &view);
    for (;;) {
        if (more) {
            int c = ms_scanner_view_token(self, &view);
            if (c == '{' || c == '[') {
                if (depth == MS_LIMIT_JSON_DEPTH)
                    return ms_scanner_view_bad(self, &view, "nested too deeply");
                self->open[depth++] = (uint8_t)c;
                view.p++;
                object = c == '{';
                first = true;
            } else if (c == NO_BYTE) {
                return ms_scanner_view_bad(self, &view, "ends before a value");
            } else {
                status = ms_scanner_view_scalar(self, &view, c);
                first = false;
            }
        } else {
            depth--;
            first = false;
            object = depth > floor && self->open[depth - 1] == '{';
        }
        if (status != MS_OK || depth == floor)
            break;
        status = ms_scanner_view_item(self, &view, object, first, &more);
        if (status == MS_OK && more && object) {
            status = ms_scanner_view_string(self, &view);
            if (status == MS_OK)
                status = ms_scanner_view_colon(self, &view);
        }
        if (status != MS_OK)
            break;
    }
    if (status == MS_OK)
        ms_scanner_put(self, &view);
    self->first = false;
    return status != MS_OK ? status : self->failed;
}

/* ---- containers taken whole ---- */

/* Copies a text that the next one would overwrite; its address is settled at the end, for the copy
 * may move. */
static enum ms_status hold(struct ms_scanner *self, struct ms_scanner_field *field)
{
    field->text.bytes.data = NULL;
    field->held_at = self->held.len;
    if (ms_buf_append(&self->held, self->text.data, field->text.bytes.len) == MS_OK)
        return MS_OK;
    return ms_scanner_bad(self, "texts with escapes that are too long together");
}

/* The value at the view's cursor as a field. */
MS_SCAN_INLINE enum ms_status take_field(struct ms_scanner *self, struct ms_scanner_view *v,
                                         struct ms_scanner_field *field)
{
    int c = ms_scanner_view_token(self, v);
    *field = (struct ms_scanner_field){.found = true};
    if (c == '"') {
        field->kind = MS_SCAN_STRING;
        v->p++;
        enum ms_status status = ms_scanner_view_text(self, v, &field->text);
        return status == MS_OK && field->text.bytes.data == self->text.data && self->text.data
                   ? hold(self, field)
                   : status;
    }
    if (c == NO_BYTE)
        return ms_scanner_view_bad(self, v, "ends before a value");
    ms_scanner_put(self, v);
    enum ms_status status = ms_scanner_kind_at(self, c, &field->kind);
    if (status != MS_OK)
        return status;
    const uint8_t *from = ms_scanner_place(self, v->p);
    if (c == '{' || c == '[') {
        status = ms_scanner_skip_value(self);
        ms_scanner_get(self, v);
    } else {
        status = ms_scanner_view_scalar(self, v, c);
    }
    if (status == MS_OK)
        field->text.bytes = ms_span_of(from, (size_t)(ms_scanner_place(self, v->p) - from));
    return status;
}

/* Over the value at the view's cursor. */
MS_SCAN_INLINE enum ms_status pass(struct ms_scanner *self, struct ms_scanner_view *v)
{
    int c = ms_scanner_view_token(self, v);
    if (c != '{' && c != '[' && c != NO_BYTE)
        return ms_scanner_view_scalar(self, v, c);
    ms_scanner_put(self, v);
    enum ms_status status = ms_scanner_skip_value(self);
    ms_scanner_get(self, v);
    return status;
}

/* Behind the closing bracket: leaves the container and settles where held texts lie. */
static enum ms_status close_whole(struct ms_scanner *self, const struct ms_scanner_view *view,
                                  struct ms_scanner_field *fields, size_t count)
{
    ms_scanner_put(self, view);
    self->depth--;
    self->first = false;
    for (size_t i = 0; self->held.len > 0 && i < count; i++)
        if (fields[i].found && !fields[i].text.bytes.data)
            fields[i].text.bytes.data = self->held.data + fields[i].held_at;
    return self->failed;
}

static size_t find_name(const struct ms_scanner_name *names, size_t count, struct ms_span key)
{
    size_t i = 0;
    while (i < count && !(key.len == names[i].len && key.data[0] == (uint8_t)names[i].at[0] &&
                          memcmp(key.data, names[i].at, key.len) == 0))
        i++;
    return i;
}

enum ms_status ms_scanner_take_fields(struct ms_scanner *self, const struct ms_scanner_name *names,
                                      size_t count, struct ms_scanner_field *out)
{
    struct ms_scanner_view view;
    struct ms_scanner_text key;
    for (size_t i = 0; i < count; i++)
        out[i] = (struct ms_scanner_field){0};
    ms_scanner_get(self, &view);
    for (bool first = true, more = true;; first = false) {
        enum ms_status status = ms_scanner_view_item(self, &view, true, first, &more);
        if (status == MS_OK && !more)
            return close_whole(self, &view, out, count);
        if (status == MS_OK)
            status = ms_scanner_view_text(self, &view, &key);
        if (status != MS_OK)
            return status;
        size_t i = find_name(names, count, key.bytes);
        status = ms_scanner_view_colon(self, &view);
        if (status == MS_OK)
            status = i < count ? take_field(self, &view, &out[i]) : pass(self, &view);
        if (status != MS_OK)
            return status;
    }
}

enum ms_status ms_scanner_take_items(struct ms_scanner *self, size_t max,
                                     struct ms_scanner_field *out, size_t *count)
{
    struct ms_scanner_view view;
    *count = 0;
    ms_scanner_get(self, &view);
    for (bool first = true, more = true;; first = false) {
        enum ms_status status = ms_scanner_view_item(self, &view, false, first, &more);
        if (status == MS_OK && !more)
            return close_whole(self, &view, out, *count < max ? *count : max);
        if (status == MS_OK)
            status = *count < max ? take_field(self, &view, &out[*count]) : pass(self, &view);
        if (status != MS_OK)
            return status;
        ++*count;
    }
}
