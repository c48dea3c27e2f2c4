/* The scanner's kernel for AVX2 with carry-less multiplication: what 64 bytes are, as bitmaps. The
 * walk over them is scan_wide.h. Built with those instructions; called where the processor has them
 * (see scan_kernel.c). */
#include "base/scan_kernel.h"

#if defined(__AVX2__) && defined(__PCLMUL__)
#include "base/scan_utf8.h"
#include "base/scan_wide.h"

static inline __m256i load32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* The sign bits of two halves as one mask. */
static inline uint64_t signs(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high)
                                                     << 32;
}

static inline uint64_t equal_to(__m256i low, __m256i high, char c)
{
    __m256i all = _mm256_set1_epi8(c);
    return signs(_mm256_cmpeq_epi8(low, all), _mm256_cmpeq_epi8(high, all));
}

/* Unsigned c <= limit. */
static inline uint64_t up_to(__m256i low, __m256i high, char limit)
{
    __m256i all = _mm256_set1_epi8(limit);
    return signs(_mm256_cmpeq_epi8(_mm256_min_epu8(low, all), low),
                 _mm256_cmpeq_epi8(_mm256_min_epu8(high, all), high));
}

static inline struct ms_masks ms_classify(const uint8_t *p)
{
    __m256i low = load32(p), high = load32(p + 32);
    /* One bit parts [ from { and ] from }. */
    __m256i bit = _mm256_set1_epi8(0x20);
    __m256i folded_low = _mm256_or_si256(low, bit), folded_high = _mm256_or_si256(high, bit);
    return (struct ms_masks){.quote = equal_to(low, high, '"'),
                             .slash = equal_to(low, high, '\\'),
                             .open = equal_to(folded_low, folded_high, '{'),
                             .close = equal_to(folded_low, folded_high, '}'),
                             .control = up_to(low, high, 0x1F),
                             .high = signs(low, high)};
}

static inline uint64_t ms_same(const uint8_t *p, const uint8_t *q)
{
    return signs(_mm256_cmpeq_epi8(load32(p), load32(q)),
                 _mm256_cmpeq_epi8(load32(p + 32), load32(q + 32)));
}

static inline uint64_t ms_stops(const uint8_t *p)
{
    __m256i low = load32(p), high = load32(p + 32);
    return equal_to(low, high, '"') | equal_to(low, high, '\\') | up_to(low, high, 0x1F) |
           signs(low, high);
}

static inline uint64_t ms_digits(const uint8_t *p)
{
    __m256i zero = _mm256_set1_epi8('0');
    return up_to(_mm256_sub_epi8(load32(p), zero), _mm256_sub_epi8(load32(p + 32), zero), 9);
}

static inline bool ms_bad_utf8(const uint8_t *p, bool has_before)
{
    __m256i before = has_before ? load32(p - 32) : _mm256_setzero_si256();
    __m256i low = load32(p), high = load32(p + 32);
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

const struct ms_scanner_kernel ms_scanner_avx2 = {"avx2", skip, take};
#else
const struct ms_scanner_kernel ms_scanner_avx2 = {"avx2", NULL, NULL};
#endif
