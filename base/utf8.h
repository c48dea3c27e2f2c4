/* UTF-8 as Unicode 15, table 3-7 has it: decoding one character, and width in characters. */
#ifndef MS_BASE_UTF8_H
#define MS_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length (1 to 4) of the well-formed character at the front of p[0..n), n > 0, and its code point
 * in *code; 0 when there is none (overlong forms, surrogates, stray and missing continuation
 * bytes). */
size_t ms_utf8_decode(const uint8_t *p, size_t n, uint32_t *code);

/* Characters in a text; a byte that is not part of a well-formed character counts as one. Combining
 * and double-width characters are not told apart: the text measured is our own. */
size_t ms_utf8_width(const char *text, size_t n);

#endif
