/* UTF-8 decoding; no normalisation, no display width tables. */
#include "base/utf8.h"

size_t ms_utf8_decode(const uint8_t *p, size_t n, uint32_t *code)
{
    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
        return 0;
    uint32_t value = p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3fu);
    }
    if ((len == 3 && value < 0x800) || (len == 4 && (value < 0x10000 || value > 0x10ffff)) ||
        (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code = value;
    return len;
}

size_t ms_utf8_width(const char *text, size_t n)
{
    size_t width = 0;
    for (size_t i = 0; i < n; width++) {
        uint32_t code;
        size_t len = ms_utf8_decode((const uint8_t *)text + i, n - i, &code);
        i += len ? len : 1;
    }
    return width;
}
