/* The streaming JSON reader: blocks in, checked tokens out. It builds no tree and keeps no value
 * that was not asked for. */
#include "base/scan.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/scan_bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BLOCK_BYTES = 256 << 10, NO_BYTE = -1 };

struct ms_scanner {
    ms_scanner_source source;
    void *source_ctx;
    uint8_t *block;
    size_t block_bytes;
    const uint8_t *pos, *end; /* what is left of the block */
    uint64_t base;            /* offset of the block in the document */
    uint64_t lines;           /* line feeds before the block */
    bool at_end;
    bool value_due; /* a value comes next */
    bool first;     /* nothing of the innermost container was read yet */
    bool keeping;   /* a string or number is being collected from `from` on */
    bool text_cut;
    const uint8_t *from;
    struct ms_buf text;
    size_t depth;
    uint8_t open[MS_LIMIT_JSON_DEPTH]; /* '{' or '[' */
    enum ms_status failed;
    struct ms_error error; /* when failed */
};

uint64_t ms_scanner_line(const struct ms_scanner *self)
{
    return self->lines + ms_scanner_count_lines(self->block, self->pos) + 1;
}

uint64_t ms_scanner_byte(const struct ms_scanner *self)
{
    return self->base + (uint64_t)(self->pos - self->block);
}

enum ms_status ms_scanner_new(ms_scanner_source source, void *source_ctx, size_t block_bytes,
                              struct ms_scanner **out, struct ms_error *err)
{
    struct ms_scanner *self = calloc(1, sizeof *self);
    size_t bytes = block_bytes ? block_bytes : DEFAULT_BLOCK_BYTES;
    uint8_t *block = self ? calloc(1, bytes + MS_SCAN_PAD_BYTES) : NULL;
    if (!block) {
        free(self);
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    }
    self->source = source;
    self->source_ctx = source_ctx;
    self->block = block;
    self->block_bytes = bytes;
    self->pos = self->end = block;
    self->value_due = true;
    ms_buf_init(&self->text, MS_LIMIT_JSON_STRING_BYTES);
    *out = self;
    return MS_OK;
}

void ms_scanner_free(struct ms_scanner *self)
{
    if (!self)
        return;
    ms_buf_release(&self->text);
    free(self->block);
    free(self);
}

/* --- faults --- */

static enum ms_status stick(struct ms_scanner *self, enum ms_status status)
{
    self->failed = status;
    self->error.status = status;
    return status;
}

static enum ms_status fault(struct ms_scanner *self, const char *why)
{
    if (self->failed)
        return self->failed;
    ms_error_set(&self->error, MS_REJECT, "line %" PRIu64 ", byte %" PRIu64 ": %s",
                 ms_scanner_line(self), ms_scanner_byte(self), why);
    return stick(self, MS_REJECT);
}

static enum ms_status misuse(struct ms_scanner *self, const char *why)
{
    if (self->failed)
        return self->failed;
    ms_error_set(&self->error, MS_E_BUG, "report scanner: %s", why);
    return stick(self, MS_E_BUG);
}

static enum ms_status tell(const struct ms_scanner *self, enum ms_status status,
                           struct ms_error *err)
{
    if (status != MS_OK && err)
        *err = self->error;
    return status;
}

enum ms_status ms_scanner_fault(struct ms_scanner *self, const char *why, struct ms_error *err)
{
    return tell(self, fault(self, why), err);
}

/* --- bytes --- */

/* Collects bytes of the text being kept, up to the cap. */
static void keep(struct ms_scanner *self, const void *bytes, size_t n)
{
    size_t room = self->text.max - self->text.len;
    if (n > room) {
        n = room;
        self->text_cut = true;
    }
    if (n && ms_buf_append(&self->text, bytes, n) != MS_OK && !self->failed) {
        ms_error_set(&self->error, MS_E_NOMEM, "no memory to read a report");
        stick(self, MS_E_NOMEM);
    }
}

/* Replaces the used-up block by the next; false at the end or when the source failed. */
static bool refill(struct ms_scanner *self)
{
    if (self->at_end || self->failed)
        return false;
    if (self->keeping)
        keep(self, self->from, (size_t)(self->end - self->from));
    self->lines += ms_scanner_count_lines(self->block, self->end);
    self->base += (uint64_t)(self->end - self->block);
    self->pos = self->end = self->from = self->block;
    size_t n = 0;
    enum ms_status status =
        self->source(self->source_ctx, self->block, self->block_bytes, &n, &self->error);
    if (status != MS_OK) {
        stick(self, status);
        return false;
    }
    self->at_end = n == 0;
    self->end = self->block + n;
    memset(self->block + n, 0, MS_SCAN_PAD_BYTES);
    return n != 0;
}

/* The byte at the cursor, or NO_BYTE. */
static inline int peek_byte(struct ms_scanner *self)
{
    if (self->pos == self->end && !refill(self))
        return NO_BYTE;
    return *self->pos;
}

/* Skips white space and gives the byte behind it, not consumed. */
static inline int peek_token(struct ms_scanner *self)
{
    for (;;) {
        if (self->pos<self->end && * self->pos> ' ')
            return *self->pos;
        const uint8_t *p = ms_scanner_past_space(self->pos, self->end);
        self->pos = p;
        if (p < self->end)
            return *p;
        if (!refill(self))
            return NO_BYTE;
    }
}

/* --- strings --- */

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits behind `\u`. */
static enum ms_status take_hex4(struct ms_scanner *self, uint32_t *out)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int c = peek_byte(self);
        int digit = hex_value(c);
        if (digit < 0)
            return fault(self, c == NO_BYTE ? "ends within a string"
                                            : "a \\u escape without four hexadecimal digits");
        unit = unit << 4 | (uint32_t)digit;
        self->pos++;
    }
    *out = unit;
    return MS_OK;
}

static void keep_code_point(struct ms_scanner *self, uint32_t c)
{
    uint8_t out[4];
    size_t n = 0;
    if (c < 0x80) {
        out[n++] = (uint8_t)c;
    } else if (c < 0x800) {
        out[n++] = (uint8_t)(0xC0 | c >> 6);
        out[n++] = (uint8_t)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        out[n++] = (uint8_t)(0xE0 | c >> 12);
        out[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        out[n++] = (uint8_t)(0x80 | (c & 0x3F));
    } else {
        out[n++] = (uint8_t)(0xF0 | c >> 18);
        out[n++] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
        out[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        out[n++] = (uint8_t)(0x80 | (c & 0x3F));
    }
    keep(self, out, n);
}

/* A `\uXXXX` behind its `u`, `*high` holding a high surrogate that waits for its partner (0: none).
 * The waiting one is settled first when this is not its partner. */
static enum ms_status take_unit(struct ms_scanner *self, bool kept, uint32_t *high)
{
    uint32_t unit = 0;
    enum ms_status status = take_hex4(self, &unit);
    if (status != MS_OK || !kept)
        return status;
    bool low = unit >= 0xDC00 && unit < 0xE000;
    if (*high && low) {
        keep_code_point(self, 0x10000 + ((*high - 0xD800) << 10) + (unit - 0xDC00));
        *high = 0;
        return MS_OK;
    }
    if (*high)
        keep_code_point(self, 0xFFFD);
    *high = unit >= 0xD800 && unit < 0xDC00 ? unit : 0;
    if (!*high)
        keep_code_point(self, low ? 0xFFFD : unit);
    return MS_OK;
}

static const char *const escape_from = "\"\\/bfnrt", *const escape_to = "\"\\/\b\f\n\r\t";

/* One or more escapes in a row, the cursor on the first backslash. */
static enum ms_status take_escapes(struct ms_scanner *self)
{
    bool kept = self->keeping;
    if (kept)
        keep(self, self->from, (size_t)(self->pos - self->from));
    self->keeping = false;
    uint32_t high = 0;
    int c = '\\';
    while (c == '\\') {
        self->pos++;
        c = peek_byte(self);
        const char *at = c > 0 ? strchr(escape_from, c) : NULL;
        if (c == NO_BYTE)
            return fault(self, "ends within a string");
        if (c != 'u' && !at)
            return fault(self, "an unknown escape in a string");
        self->pos++;
        if (c == 'u') {
            enum ms_status status = take_unit(self, kept, &high);
            if (status != MS_OK)
                return status;
        } else if (kept) {
            if (high)
                keep_code_point(self, 0xFFFD);
            high = 0;
            keep(self, &escape_to[at - escape_from], 1);
        }
        c = peek_byte(self);
    }
    if (kept && high)
        keep_code_point(self, 0xFFFD);
    self->keeping = kept;
    self->from = self->pos;
    return self->failed;
}

/* One character above U+007F, the cursor on its first byte (RFC 3629: shortest form, no
 * surrogates, at most U+10FFFF). */
static enum ms_status take_wide(struct ms_scanner *self)
{
    uint8_t lead = *self->pos;
    int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4)
        return fault(self, "a string is not UTF-8");
    /* The second byte's range says all that is special. */
    int low = 0x80, high = 0xBF;
    if (lead == 0xE0)
        low = 0xA0;
    else if (lead == 0xED)
        high = 0x9F;
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F;
    self->pos++;
    for (; more; more--) {
        int c = peek_byte(self);
        if (c < low || c > high)
            return fault(self, c == NO_BYTE ? "ends within a string" : "a string is not UTF-8");
        self->pos++;
        low = 0x80;
        high = 0xBF;
    }
    return MS_OK;
}

/* The rest of a string behind its opening quote; collects it when self->keeping. */
static enum ms_status take_string(struct ms_scanner *self)
{
    for (;;) {
        const uint8_t *p = ms_scanner_past_plain(self->pos, self->end);
        self->pos = p;
        if (p == self->end) {
            if (!refill(self))
                return fault(self, "ends within a string");
            continue;
        }
        enum ms_status status = MS_OK;
        if (*p == '"')
            return MS_OK;
        if (*p == '\\')
            status = take_escapes(self);
        else if (*p < 0x20)
            return fault(self, "a raw control character in a string");
        else
            status = take_wide(self);
        if (status != MS_OK)
            return status;
    }
}

/* Begins to collect at the cursor. */
static void keep_begin(struct ms_scanner *self)
{
    ms_buf_clear(&self->text);
    self->text_cut = false;
    self->from = self->pos;
    self->keeping = true;
}

/* Ends collecting at the cursor: a view into the block when all lies there. */
static void keep_end(struct ms_scanner *self, struct ms_scanner_text *out)
{
    self->keeping = false;
    size_t n = (size_t)(self->pos - self->from);
    if (self->text.len == 0 && !self->text_cut && n <= self->text.max) {
        *out = (struct ms_scanner_text){ms_span_of(self->from, n), false};
        return;
    }
    keep(self, self->from, n);
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
    int c = peek_byte(self);
    if (c < '0' || c > '9')
        return fault(self, "a number without a digit where one must be");
    do {
        self->pos++;
        c = peek_byte(self);
    } while (c >= '0' && c <= '9');
    return MS_OK;
}

static enum ms_status take_number(struct ms_scanner *self)
{
    if (peek_byte(self) == '-')
        self->pos++;
    enum ms_status status = MS_OK;
    if (peek_byte(self) == '0')
        self->pos++;
    else
        status = take_digits(self);
    if (status == MS_OK && peek_byte(self) == '.') {
        self->pos++;
        status = take_digits(self);
    }
    if (status != MS_OK)
        return status;
    int c = peek_byte(self);
    if (c == 'e' || c == 'E') {
        self->pos++;
        c = peek_byte(self);
        if (c == '+' || c == '-')
            self->pos++;
        status = take_digits(self);
    }
    return status != MS_OK ? status : self->failed;
}

static enum ms_status take_word(struct ms_scanner *self, const char *word)
{
    for (; *word; word++) {
        if (peek_byte(self) != *word)
            return fault(self, "neither a value nor true, false or null");
        self->pos++;
    }
    return MS_OK;
}

/* --- structure --- */

/* The byte that a value begins with. */
static enum ms_status value_begin(struct ms_scanner *self, int *out)
{
    if (self->failed)
        return self->failed;
    if (!self->value_due)
        return misuse(self, "no value is due here");
    *out = peek_token(self);
    if (*out == NO_BYTE)
        return fault(self,
                     self->base == 0 && self->end == self->block ? "empty" : "ends before a value");
    return MS_OK;
}

static enum ms_status push(struct ms_scanner *self, int bracket)
{
    if (self->depth == MS_LIMIT_JSON_DEPTH)
        return fault(self, "nested too deeply");
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
        return fault(self, "not a JSON value");
    }
}

/* In an object, before a key: the cursor onto its quote. */
static enum ms_status expect_key(struct ms_scanner *self)
{
    int c = peek_token(self);
    if (c == '"')
        return MS_OK;
    return fault(self, c == NO_BYTE ? "ends within an object" : "no key where one must be");
}

static enum ms_status expect_colon(struct ms_scanner *self)
{
    int c = peek_token(self);
    if (c != ':')
        return fault(self, c == NO_BYTE ? "ends within an object" : "no colon behind a key");
    self->pos++;
    return MS_OK;
}

/* Behind a value, or at the start of a container (self->first): goes to the next item, or leaves
 * the container and says so. */
static enum ms_status next_item(struct ms_scanner *self, bool *more)
{
    bool object = self->open[self->depth - 1] == '{';
    int c = peek_token(self);
    if (c == (object ? '}' : ']')) {
        self->pos++;
        self->depth--;
        self->first = false;
        *more = false;
        return MS_OK;
    }
    if (c == NO_BYTE)
        return fault(self, object ? "ends within an object" : "ends within an array");
    if (!self->first) {
        if (c != ',')
            return fault(self, object ? "neither a comma nor the end of an object"
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
            int c = peek_token(self);
            if (c == '{' || c == '[') {
                status = push(self, c);
                self->first = true;
            } else {
                status = c == NO_BYTE ? fault(self, "ends before a value") : take_scalar(self, c);
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
    if (self->base || self->pos != self->block || peek_byte(self) != 0xEF)
        return MS_OK;
    static const uint8_t mark[3] = {0xEF, 0xBB, 0xBF};
    for (size_t i = 0; i < sizeof mark; i++) {
        if (peek_byte(self) != mark[i])
            return fault(self, "not a JSON value");
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
    if (status != MS_OK)
        return tell(self, status, err);
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
        if (c != '-' && (c < '0' || c > '9'))
            status = fault(self, "not a JSON value");
        *out = MS_SCAN_NUMBER;
    }
    return tell(self, status, err);
}

enum ms_status ms_scanner_enter(struct ms_scanner *self, struct ms_error *err)
{
    int c = 0;
    enum ms_status status = due_byte(self, &c);
    if (status == MS_OK && c != '{' && c != '[')
        status = misuse(self, "entered what is no container");
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
        return misuse(self, "asked for the wrong container's next item");
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
    if (status == MS_OK && (self->pos == self->end || *self->pos != ':') &&
        key->bytes.data != self->text.data) {
        keep(self, key->bytes.data, key->bytes.len);
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

enum ms_status ms_scanner_text(struct ms_scanner *self, struct ms_scanner_text *out,
                               struct ms_error *err)
{
    int c = 0;
    enum ms_status status = due_byte(self, &c);
    if (status != MS_OK)
        return tell(self, status, err);
    if (c == '{' || c == '[')
        return tell(self, misuse(self, "a container has no text"), err);
    self->value_due = false;
    if (c == '"')
        return tell(self, take_text(self, out), err);
    keep_begin(self);
    status = take_scalar(self, c);
    if (status == MS_OK)
        keep_end(self, out);
    self->keeping = false;
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
        status = misuse(self, "finished inside a container");
    if (status == MS_OK && self->value_due)
        status = ms_scanner_skip(self, err);
    if (status == MS_OK && peek_token(self) != NO_BYTE)
        status = fault(self, "something behind the document's end");
    return tell(self, status != MS_OK ? status : self->failed, err);
}
