/* The scanner's kernel for AVX-512 (BW): as scan_avx2.c, with a bitmap an instruction. */
#include "base/scan_kernel.h"

#if defined(__AVX512BW__) && defined(__PCLMUL__)
#include "base/scan_utf8.h"
#include "base/scan_wide.h"

static inline __m512i load64(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

static inline uint64_t equal_to(__m512i v, char c)
{
    return _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(c));
}

static inline struct ms_masks ms_classify(const uint8_t *p)
{
    __m512i v = load64(p);
    /* One bit parts [ from { and ] from }. */
    __m512i folded = _mm512_or_si512(v, _mm512_set1_epi8(0x20));
    return (struct ms_masks){.quote = equal_to(v, '"'),
                             .slash = equal_to(v, '\\'),
                             .open = equal_to(folded, '{'),
                             .close = equal_to(folded, '}'),
                             .control = _mm512_cmplt_epu8_mask(v, _mm512_set1_epi8(0x20)),
                             .high = _mm512_movepi8_mask(v)};
}

static inline uint64_t ms_same(const uint8_t *p, const uint8_t *q)
{
    return _mm512_cmpeq_epi8_mask(load64(p), load64(q));
}

static inline uint64_t ms_stops(const uint8_t *p)
{
    __m512i v = load64(p);
    /* Signed: bytes above 0x7F are below 0x20 too. */
    return equal_to(v, '"') | equal_to(v, '\\') | _mm512_cmplt_epi8_mask(v, _mm512_set1_epi8(0x20));
}

static inline uint64_t ms_digits(const uint8_t *p)
{
    __m512i v = _mm512_sub_epi8(load64(p), _mm512_set1_epi8('0'));
    return _mm512_cmplt_epu8_mask(v, _mm512_set1_epi8(10));
}

static inline bool ms_bad_utf8(const uint8_t *p, bool has_before)
{
    const __m256i *at = (const __m256i *)(const void *)p;
    __m256i before = has_before ? _mm256_loadu_si256(at - 1) : _mm256_setzero_si256();
    __m256i low = _mm256_loadu_si256(at), high = _mm256_loadu_si256(at + 1);
    __m256i bad = _mm256_or_si256(ms_utf8_faults(before, low), ms_utf8_faults(low, high));
    return !_mm256_testz_si256(bad, bad);
}

static const uint8_t *skip(const uint8_t *p, const uint8_t *end, struct ms_scanner_skip *state)
{
    return ms_skip(p, end, state);
}

static const uint8_t *take(const uint8_t *p, const uint8_t *end, struct ms_scanner_take *what)
{
    return ms_take(p, end, what);
}

const struct ms_scanner_kernel ms_scanner_avx512 = {"avx512", skip, take};
#else
const struct ms_scanner_kernel ms_scanner_avx512 = {"avx512", NULL, NULL};
#endif
