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

/* --- strings --- */

/* The rest of a string behind its opening quote; collects it when self->keeping. */
static enum ms_status take_string(struct ms_scanner *self)
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

/* Begins to collect at the cursor. */
static void keep_begin(struct ms_scanner *self)
{
    ms_buf_clear(&self->text);
    self->text_cut = false;
    self->from = ms_scanner_place(self, self->pos);
    self->keeping = true;
}

/* Ends collecting at the cursor: a view into the block or document when all lies there. */
static void keep_end(struct ms_scanner *self, struct ms_scanner_text *out)
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

/* A string with its quotes, collected into *out, the cursor on the opening quote. */
static enum ms_status take_text(struct ms_scanner *self, struct ms_scanner_text *out)
{
    self->pos++;
    keep_begin(self);
    enum ms_status status = take_string(self);
    if (status != MS_OK)
        return status;
    keep_end(self, out);
    self->pos++;
    return self->failed;
}

/* --- numbers and literals --- */

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

/* What Python's json module reads and writes for numbers that are none; JSON knows them not. */
static bool is_non_finite(const struct ms_scanner *self, int c)
{
    return self->non_finite && (c == 'N' || c == 'I');
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

/* Takes a value that is not a container. */
static enum ms_status take_scalar(struct ms_scanner *self, int c)
{
    switch (c) {
    case '"': {
        self->pos++;
        enum ms_status status = take_string(self);
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
        if (is_non_finite(self, c))
            return take_word(self, c == 'N' ? "NaN" : "Infinity");
        return ms_scanner_bad(self, "not a JSON value");
    }
}

/* In an object, before a key: the cursor onto its quote. */
static enum ms_status expect_key(struct ms_scanner *self)
{
    int c = ms_scanner_peek_token(self);
    if (c == '"')
        return MS_OK;
    return ms_scanner_bad(self,
                          c == NO_BYTE ? "ends within an object" : "no key where one must be");
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

/* Behind a value, or at the start of a container (self->first): goes to the next item, or leaves
 * the container and says so. */
static enum ms_status next_item(struct ms_scanner *self, bool *more)
{
    bool object = self->open[self->depth - 1] == '{';
    int c = ms_scanner_peek_token(self);
    if (c == (object ? '}' : ']')) {
        self->pos++;
        self->depth--;
        self->first = false;
        *more = false;
        return MS_OK;
    }
    if (c == NO_BYTE)
        return ms_scanner_bad(self, object ? "ends within an object" : "ends within an array");
    if (!self->first) {
        if (c != ',')
            return ms_scanner_bad(self, object ? "neither a comma nor the end of an object"
                                               : "neither a comma nor the end of an array");
        self->pos++;
    }
    self->first = false;
    *more = true;
    return object ? expect_key(self) : MS_OK;
}

/* Takes the whole value at the cursor without recursion. */
static enum ms_status skip_value(struct ms_scanner *self)
{
    size_t floor = self->depth;
    enum ms_status status = MS_OK;
    bool due = true;
    while (due || self->depth > floor) {
        if (due) {
            int c = ms_scanner_peek_token(self);
            if (c == '{' || c == '[') {
                status = push(self, c);
                self->first = true;
            } else {
                status = c == NO_BYTE ? ms_scanner_bad(self, "ends before a value")
                                      : take_scalar(self, c);
                self->first = false;
            }
            if (status != MS_OK)
                return status;
            if (self->depth == floor)
                break;
        }
        status = next_item(self, &due);
        if (status == MS_OK && due && self->open[self->depth - 1] == '{') {
            self->pos++;
            status = take_string(self);
            if (status == MS_OK) {
                self->pos++;
                status = expect_colon(self);
            }
        }
        if (status != MS_OK)
            return status;
    }
    self->first = false;
    return self->failed;
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

/* The kind of the value that begins with a byte. */
static enum ms_status kind_of(struct ms_scanner *self, int c, enum ms_scanner_kind *out)
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
        if (c != '-' && (c < '0' || c > '9') && !is_non_finite(self, c))
            return ms_scanner_bad(self, "not a JSON value");
        *out = MS_SCAN_NUMBER;
    }
    return MS_OK;
}

enum ms_status ms_scanner_peek(struct ms_scanner *self, enum ms_scanner_kind *out,
                               struct ms_error *err)
{
    int c = 0;
    enum ms_status status = due_byte(self, &c);
    if (status == MS_OK)
        status = kind_of(self, c, out);
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

static enum ms_status advance(struct ms_scanner *self, int bracket, bool *more)
{
    if (self->failed)
        return self->failed;
    if (self->depth && self->value_due && self->open[self->depth - 1] == bracket) {
        self->value_due = false;
        enum ms_status status = skip_value(self);
        if (status != MS_OK)
            return status;
    }
    if (self->depth == 0 || self->open[self->depth - 1] != bracket)
        return ms_scanner_misused(self, "asked for the wrong container's next item");
    return next_item(self, more);
}

enum ms_status ms_scanner_member(struct ms_scanner *self, bool *more, struct ms_scanner_text *key,
                                 struct ms_error *err)
{
    enum ms_status status = advance(self, '{', more);
    if (status != MS_OK || !*more)
        return tell(self, status, err);
    status = take_text(self, key);
    /* The colon may lie in the next block: the key must survive the refill. */
    if (status == MS_OK && (self->pos == self->end || *self->pos != ':') && self->source &&
        key->bytes.data != self->text.data) {
        ms_scanner_keep(self, key->bytes.data, key->bytes.len);
        key->bytes = ms_span_of(self->text.data, key->bytes.len);
    }
    if (status == MS_OK)
        status = expect_colon(self);
    self->value_due = true;
    return tell(self, status, err);
}

enum ms_status ms_scanner_element(struct ms_scanner *self, bool *more, struct ms_error *err)
{
    enum ms_status status = advance(self, '[', more);
    self->value_due = status == MS_OK && *more;
    return tell(self, status, err);
}

/* Takes a string, number or literal that begins with c as text. */
static enum ms_status take_as_text(struct ms_scanner *self, int c, struct ms_scanner_text *out)
{
    self->value_due = false;
    if (c == '"')
        return take_text(self, out);
    keep_begin(self);
    enum ms_status status = take_scalar(self, c);
    if (status == MS_OK)
        keep_end(self, out);
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
        status = kind_of(self, c, kind);
    if (status == MS_OK && (c == '{' || c == '[')) {
        *out = (struct ms_scanner_text){0};
        self->value_due = false;
        status = skip_value(self);
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
        status = skip_value(self);
    }
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
