/* Instructions out of IDA's listings, and the number of bytes in a dump. */
#include "extract/dataset_listing.h"

#include <string.h>

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static bool is_big_digit(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'F');
}

static bool is_small(uint8_t byte)
{
    return byte >= 'a' && byte <= 'z';
}

static void skip_blanks(struct ms_span *rest)
{
    while (rest->len && is_blank(*rest->data))
        *rest = ms_span_of(rest->data + 1, rest->len - 1);
}

/* The next run of bytes that are no blanks. */
static struct ms_span take_word(struct ms_span *rest)
{
    skip_blanks(rest);
    struct ms_span word = ms_span_of(rest->data, 0);
    while (word.len < rest->len && !is_blank(rest->data[word.len]))
        word.len++;
    *rest = ms_span_of(rest->data + word.len, rest->len - word.len);
    return word;
}

/* `SEGMENT:ADDRESS`; an address has 8 digits, or 16. */
static bool is_place(struct ms_span word)
{
    size_t digits = 0;
    while (digits < word.len && is_big_digit(word.data[word.len - 1 - digits]))
        digits++;
    if (digits < 8 || digits > 16 || digits == word.len)
        return false;
    size_t name = word.len - digits - 1;
    return word.data[name] == ':' && name > 0 && name <= MS_LISTING_SEGMENT;
}

/* `5F`, `??`, and with a plus behind it when more follow than fit. */
static bool is_byte(struct ms_span word)
{
    if (word.len == 3 && word.data[2] == '+')
        word.len = 2;
    if (word.len != 2)
        return false;
    return (word.data[0] == '?' && word.data[1] == '?') ||
           (is_big_digit(word.data[0]) && is_big_digit(word.data[1]));
}

static bool is_one_of(struct ms_span word, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ms_span_equal_text(word, list[i]))
            return true;
    return false;
}

static bool is_data(struct ms_span word)
{
    static const char *const words[] = {"db", "dw", "dd", "dq", "dt", "do", "dp", "df"};
    return is_one_of(word, words, sizeof words / sizeof *words);
}

static bool is_directive(struct ms_span word)
{
    static const char *const words[] = {"align",   "extrn",   "public", "assume", "end",
                                        "unicode", "include", "org",    "text",   "offset",
                                        "dup",     "model",   "byte",   "word",   "dword"};
    return is_data(word) || is_one_of(word, words, sizeof words / sizeof *words);
}

/* What stands behind a name that is being defined. */
static bool defines(struct ms_span word)
{
    static const char *const words[] = {"=",   "proc",  "endp",  "segment", "ends",
                                        "equ", "struc", "label", "macro",   "union"};
    return is_data(word) || is_one_of(word, words, sizeof words / sizeof *words) ||
           (word.len && *word.data == '<');
}

/* A comment may stand right behind the word. */
static bool is_mnemonic(struct ms_span *word)
{
    const uint8_t *comment = word->len ? memchr(word->data, ';', word->len) : NULL;
    if (comment)
        word->len = (size_t)(comment - word->data);
    if (!word->len || word->len > MS_MNEMONIC_BYTES || !is_small(*word->data))
        return false;
    for (size_t i = 1; i < word->len; i++)
        if (!is_small(word->data[i]) && !(word->data[i] >= '0' && word->data[i] <= '9'))
            return false;
    return !is_directive(*word);
}

static enum ms_status end_line(struct ms_listing *self, struct ms_error *err)
{
    struct ms_span rest = ms_span_of(self->line, self->len);
    self->lines++;
    self->len = 0;
    if (rest.len && rest.data[rest.len - 1] == '\r')
        rest.len--;
    if (!is_place(take_word(&rest)))
        return MS_OK;
    self->listed++;
    size_t bytes = 0;
    struct ms_span word = take_word(&rest);
    for (; is_byte(word); bytes++)
        word = take_word(&rest);
    if (!bytes || !is_mnemonic(&word) || defines(take_word(&rest)))
        return MS_OK;
    self->instructions++;
    return self->instruction(self->ctx, word, err);
}

enum ms_status ms_listing_take(struct ms_listing *self, const uint8_t *bytes, size_t n,
                               struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (n && status == MS_OK) {
        const uint8_t *end = memchr(bytes, '\n', n);
        size_t piece = end ? (size_t)(end - bytes) : n, room = sizeof self->line - self->len;
        if (piece && room)
            memcpy(self->line + self->len, bytes, piece < room ? piece : room);
        self->len += piece < room ? piece : room;
        if (end)
            status = end_line(self, err);
        piece += end != NULL;
        bytes += piece;
        n -= piece;
    }
    return status;
}

enum ms_status ms_listing_end(struct ms_listing *self, struct ms_error *err)
{
    enum ms_status status = self->len ? end_line(self, err) : MS_OK;
    if (status == MS_OK && !self->listed)
        return ms_error_set(err, MS_REJECT, "no line of it is one of a listing");
    return status;
}

/* --- dumps --- */

static enum ms_status end_word(struct ms_dump *self, struct ms_error *err)
{
    bool address = !self->in_byte;
    bool good = address ? self->digits >= 8 && self->digits <= 16 && !self->unknown
                        : self->digits == 2 || self->digits == 0;
    self->bytes += !address && self->digits == 2;
    self->in_byte = true;
    self->digits = 0;
    self->unknown = false;
    return good ? MS_OK : ms_error_set(err, MS_REJECT, "it is not an address and bytes");
}

static enum ms_status end_dump_line(struct ms_dump *self, struct ms_error *err)
{
    enum ms_status status = self->open ? end_word(self, err) : MS_OK;
    if (status == MS_OK) {
        self->lines++;
        self->open = self->in_byte = false;
    }
    return status;
}

enum ms_status ms_dump_take(struct ms_dump *self, const uint8_t *bytes, size_t n,
                            struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < n && status == MS_OK; i++) {
        uint8_t byte = bytes[i];
        bool mark = byte == '?';
        if (byte == '\n') {
            status = end_dump_line(self, err);
        } else if (byte == '\r') {
            continue;
        } else if (is_blank(byte)) {
            self->open = true;
            status = end_word(self, err);
        } else if ((mark || is_big_digit(byte) || (byte >= 'a' && byte <= 'f')) &&
                   self->digits < 16 && (!self->digits || mark == self->unknown)) {
            self->open = true;
            self->unknown = mark;
            self->digits++;
        } else {
            status = ms_error_set(err, MS_REJECT, "it is not an address and bytes");
        }
    }
    return status;
}

enum ms_status ms_dump_end(struct ms_dump *self, struct ms_error *err)
{
    return end_dump_line(self, err);
}
