/* The scanner's inner loops over bytes: end of white space, end of a plain run in a string, line
 * feeds. Nothing here knows JSON's grammar; a wider implementation replaces these three alone. */
#ifndef MS_BASE_SCAN_BYTES_H
#define MS_BASE_SCAN_BYTES_H

#include <stddef.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Every block is followed by this many readable bytes, so that a vector load may begin at its last
 * byte; what lies there never counts. */
enum { MS_SCAN_PAD_BYTES = 64 };

static inline int ms_scanner_is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The first byte at or after p that is not JSON white space, or end. */
static inline const uint8_t *ms_scanner_past_space(const uint8_t *p, const uint8_t *end)
{
#if defined(__SSE2__)
    const __m128i blank = _mm_set1_epi8(' '), line = _mm_set1_epi8('\n');
    const __m128i back = _mm_set1_epi8('\r'), tab = _mm_set1_epi8('\t');
    for (; p < end; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i space = _mm_or_si128(_mm_cmpeq_epi8(v, blank), _mm_cmpeq_epi8(v, line));
        space = _mm_or_si128(space, _mm_or_si128(_mm_cmpeq_epi8(v, back), _mm_cmpeq_epi8(v, tab)));
        unsigned other = (unsigned)_mm_movemask_epi8(space) ^ 0xFFFFU;
        if (other) {
            p += __builtin_ctz(other);
            return p < end ? p : end;
        }
    }
    return end;
#else
    while (p < end && ms_scanner_is_space(*p))
        p++;
    return p;
#endif
}

/* The first byte at or after p that needs a look inside a string: a quote, a backslash, a control
 * character or a byte above 0x7F; or end. */
static inline const uint8_t *ms_scanner_past_plain(const uint8_t *p, const uint8_t *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i low = _mm_set1_epi8(0x20);
    for (; p < end; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* Signed: bytes above 0x7F are below 0x20 too. */
        __m128i stop = _mm_or_si128(_mm_cmplt_epi8(v, low), _mm_or_si128(_mm_cmpeq_epi8(v, quote),
                                                                         _mm_cmpeq_epi8(v, slash)));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask) {
            p += __builtin_ctz(mask);
            return p < end ? p : end;
        }
    }
    return end;
#else
    while (p < end && *p != '"' && *p != '\\' && *p >= 0x20 && *p < 0x80)
        p++;
    return p;
#endif
}

/* Line feeds in [p, end). */
static inline uint64_t ms_scanner_count_lines(const uint8_t *p, const uint8_t *end)
{
    uint64_t n = 0;
#if defined(__SSE2__)
    /* Sixteen counters of a byte each, added up before one can pass 255: without SSE4.2 there is no
     * instruction that counts bits, and counting them in the masks cost a tenth of the reading. */
    const __m128i line = _mm_set1_epi8('\n'), zero = _mm_setzero_si128();
    while (end - p >= 16) {
        size_t blocks = (size_t)(end - p) / 16;
        __m128i sum = zero;
        for (blocks = blocks < 255 ? blocks : 255; blocks; blocks--, p += 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
            sum = _mm_sub_epi8(sum, _mm_cmpeq_epi8(v, line));
        }
        sum = _mm_sad_epu8(sum, zero);
        n += (unsigned)_mm_cvtsi128_si32(sum) + (unsigned)_mm_cvtsi128_si32(_mm_srli_si128(sum, 8));
    }
#endif
    for (; p < end; p++)
        n += *p == '\n';
    return n;
}

#endif
