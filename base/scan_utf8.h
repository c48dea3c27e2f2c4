/* UTF-8 by table look-up, 32 bytes at once (Keiser, Lemire: Validating UTF-8 in less than one
 * instruction per byte, 2021). For the kernels that have AVX2; it does not say where a fault is. */
#ifndef MS_BASE_SCAN_UTF8_H
#define MS_BASE_SCAN_UTF8_H

#if defined(__AVX2__)
#include <immintrin.h>

/* What can be wrong with two bytes in a row. A pair has a fault when the high and the low half of
 * its first byte and the high half of its second all allow it. */
enum {
    MS_UTF8_SHORT = 1 << 0,       /* a lead, then no continuation */
    MS_UTF8_LONG = 1 << 1,        /* ASCII, then a continuation */
    MS_UTF8_OVER_3 = 1 << 2,      /* E0, then below A0 */
    MS_UTF8_TOO_LARGE = 1 << 3,   /* F4, then above 8F; F5 and more */
    MS_UTF8_SURROGATE = 1 << 4,   /* ED, then above 9F */
    MS_UTF8_OVER_2 = 1 << 5,      /* C0, C1 */
    MS_UTF8_TOO_LARGE_2 = 1 << 6, /* F5 and more, then below 90; with it: */
    MS_UTF8_OVER_4 = 1 << 6,      /* F0, then below 90 */
    MS_UTF8_TWO = 1 << 7          /* two continuations: right only behind a lead of three or four */
};

static inline __m256i ms_utf8_table(__m256i at, __m128i table)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), at);
}

/* The 32 bytes that begin n before `now`, the others ending `before`. */
#define MS_UTF8_EARLIER(before, now, n) \
    _mm256_alignr_epi8(now, _mm256_permute2x128_si256(before, now, 0x21), 16 - (n))

/* Not zero where `now`, behind `before`, is no UTF-8. A character that `now` ends within is not
 * looked at: what follows it is. */
static inline __m256i ms_utf8_faults(__m256i before, __m256i now)
{
    enum { SHORT = MS_UTF8_SHORT, LONG = MS_UTF8_LONG, OVER_3 = MS_UTF8_OVER_3 };
    enum { LARGE = MS_UTF8_TOO_LARGE, SURROGATE = MS_UTF8_SURROGATE, OVER_2 = MS_UTF8_OVER_2 };
    enum { LARGE_2 = MS_UTF8_TOO_LARGE_2, OVER_4 = MS_UTF8_OVER_4, TWO = MS_UTF8_TWO };
    enum { ANY = SHORT | LONG | TWO };
    const __m128i first_high = _mm_setr_epi8(
        LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, (char)TWO, (char)TWO, (char)TWO, (char)TWO,
        SHORT | OVER_2, SHORT, SHORT | OVER_3 | SURROGATE, SHORT | LARGE | LARGE_2 | OVER_4);
    const __m128i first_low = _mm_setr_epi8(
        (char)(ANY | OVER_3 | OVER_2 | OVER_4), (char)(ANY | OVER_2), (char)ANY, (char)ANY,
        (char)(ANY | LARGE), (char)(ANY | LARGE | LARGE_2), (char)(ANY | LARGE | LARGE_2),
        (char)(ANY | LARGE | LARGE_2), (char)(ANY | LARGE | LARGE_2), (char)(ANY | LARGE | LARGE_2),
        (char)(ANY | LARGE | LARGE_2), (char)(ANY | LARGE | LARGE_2), (char)(ANY | LARGE | LARGE_2),
        (char)(ANY | LARGE | LARGE_2 | SURROGATE), (char)(ANY | LARGE | LARGE_2),
        (char)(ANY | LARGE | LARGE_2));
    const __m128i second_high =
        _mm_setr_epi8(SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT,
                      (char)(LONG | OVER_2 | TWO | OVER_3 | LARGE_2 | OVER_4),
                      (char)(LONG | OVER_2 | TWO | OVER_3 | LARGE),
                      (char)(LONG | OVER_2 | TWO | SURROGATE | LARGE),
                      (char)(LONG | OVER_2 | TWO | SURROGATE | LARGE), SHORT, SHORT, SHORT, SHORT);
    const __m256i nibble = _mm256_set1_epi8(0x0F);
    __m256i first = MS_UTF8_EARLIER(before, now, 1);
    __m256i faults = _mm256_and_si256(
        _mm256_and_si256(
            ms_utf8_table(_mm256_and_si256(_mm256_srli_epi16(first, 4), nibble), first_high),
            ms_utf8_table(_mm256_and_si256(first, nibble), first_low)),
        ms_utf8_table(_mm256_and_si256(_mm256_srli_epi16(now, 4), nibble), second_high));
    /* The third byte of three and of four, and the fourth, must be what TWO says, and only they. */
    __m256i third = _mm256_subs_epu8(MS_UTF8_EARLIER(before, now, 2), _mm256_set1_epi8(0x60));
    __m256i fourth = _mm256_subs_epu8(MS_UTF8_EARLIER(before, now, 3), _mm256_set1_epi8(0x70));
    __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(due, faults);
}

#endif
#endif
