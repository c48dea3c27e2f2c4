/* What is rare in the scanner's strings: escapes, and characters above U+007F. */
#include "base/scan_private.h"

#include <string.h>

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
        int c = ms_scanner_peek_byte(self);
        int digit = hex_value(c);
        if (digit < 0)
            return ms_scanner_bad(self, c == NO_BYTE
                                            ? "ends within a string"
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
    ms_scanner_keep(self, out, n);
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

enum ms_status ms_scanner_take_escapes(struct ms_scanner *self)
{
    bool kept = self->keeping;
    if (kept)
        ms_scanner_keep(self, self->from, (size_t)(ms_scanner_place(self, self->pos) - self->from));
    self->keeping = false;
    uint32_t high = 0;
    int c = '\\';
    while (c == '\\') {
        self->pos++;
        c = ms_scanner_peek_byte(self);
        const char *at = c > 0 ? strchr(escape_from, c) : NULL;
        if (c == NO_BYTE)
            return ms_scanner_bad(self, "ends within a string");
        if (c != 'u' && !at)
            return ms_scanner_bad(self, "an unknown escape in a string");
        self->pos++;
        if (c == 'u') {
            enum ms_status status = take_unit(self, kept, &high);
            if (status != MS_OK)
                return status;
        } else if (kept) {
            if (high)
                keep_code_point(self, 0xFFFD);
            high = 0;
            ms_scanner_keep(self, &escape_to[at - escape_from], 1);
        }
        c = ms_scanner_peek_byte(self);
    }
    if (kept && high)
        keep_code_point(self, 0xFFFD);
    self->keeping = kept;
    self->from = ms_scanner_place(self, self->pos);
    return self->failed;
}

enum ms_status ms_scanner_take_wide(struct ms_scanner *self)
{
    uint8_t lead = *self->pos;
    int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4)
        return ms_scanner_bad(self, "a string is not UTF-8");
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
        int c = ms_scanner_peek_byte(self);
        if (c < low || c > high)
            return ms_scanner_bad(self,
                                  c == NO_BYTE ? "ends within a string" : "a string is not UTF-8");
        self->pos++;
        low = 0x80;
        high = 0xBF;
    }
    return MS_OK;
}
