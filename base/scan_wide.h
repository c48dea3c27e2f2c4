/* The kernels' bodies, for whichever vectors the including file has: it defines ms_masks
 * (classify), ms_same (compare 64 bytes), ms_stops, ms_digits and ms_bad_utf8. It keeps no state
 * but its arguments. */
#ifndef MS_BASE_SCAN_WIDE_H
#define MS_BASE_SCAN_WIDE_H

#if defined(__AVX2__) && defined(__PCLMUL__)
#include "base/limits.h"
#include "base/scan_kernel.h"

#include <immintrin.h>
#include <string.h>

/* A bit for each of 64 bytes, the first lowest. */
struct ms_masks {
    uint64_t quote, slash, open, close;
    uint64_t control; /* below 0x20 */
    uint64_t high;    /* above 0x7F */
};

static inline struct ms_masks ms_classify(const uint8_t *p);
/* Which of the 64 bytes at both places are equal. */
static inline uint64_t ms_same(const uint8_t *p, const uint8_t *q);
/* What a plain string may not have: quote, backslash, control characters, bytes above 0x7F. */
static inline uint64_t ms_stops(const uint8_t *p);
static inline uint64_t ms_digits(const uint8_t *p);
/* Whether 64 bytes are not UTF-8, those before them being known (NULL: nothing before them). */
static inline bool ms_bad_utf8(const uint8_t *p, bool has_before);

/* The bytes that a backslash makes part of an escape. Backslashes come in runs: each odd one of a
 * run escapes what follows it. The run's first decides by its place which bits are odd; adding a
 * bit at a run's start carries to the place behind its end, even or odd as its start. */
static inline uint64_t escaped_bytes(uint64_t slash, uint64_t *carry)
{
    const uint64_t even = 0x5555555555555555U;
    uint64_t before = *carry;
    slash &= ~before; /* an escaped backslash escapes nothing */
    uint64_t follows = slash << 1 | before;
    uint64_t odd_starts = slash & ~even & ~follows;
    uint64_t sum;
    *carry = __builtin_add_overflow(odd_starts, slash, &sum);
    uint64_t flip = sum << 1;
    return (even ^ flip) & follows;
}

/* Bit i: the parity of the bits up to i. */
static inline uint64_t parity_up_to(uint64_t bits)
{
    __m128i all = _mm_set1_epi8((char)0xFF);
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)bits), all, 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

/* Behind a block that ends within a character: back to its first byte. */
static inline const uint8_t *character_start(const uint8_t *p)
{
    do
        p--;
    while ((*p & 0xC0) == 0x80);
    return p;
}

static inline bool ends_within_character(const uint8_t *block)
{
    return block[63] >= 0xC0 || block[62] >= 0xE0 || block[61] >= 0xF0;
}

/* The brackets of a block one by one; the place behind the last one wanted, or at one that does not
 * fit, or NULL when the container goes on. */
static inline const uint8_t *ms_brackets(const uint8_t *p, uint64_t brackets, uint64_t opening,
                                         struct ms_scanner_skip *state)
{
    size_t depth = state->depth;
    for (; brackets; brackets &= brackets - 1) {
        unsigned at = (unsigned)__builtin_ctzll(brackets);
        if (opening >> at & 1) {
            if (depth == MS_LIMIT_JSON_DEPTH)
                goto stop;
            state->open[depth++] = p[at];
            continue;
        }
        /* '{' ^ '}' and '[' ^ ']' are both 6. */
        if ((state->open[depth - 1] ^ p[at]) != 6)
            goto stop;
        if (--depth != state->floor)
            continue;
        state->depth = depth;
        state->in_string = state->escaped = 0;
        return p + at + 1;
    stop:
        state->depth = depth;
        state->in_string = state->escaped = 0;
        return p + at;
    }
    state->depth = depth;
    return NULL;
}

static inline const uint8_t *ms_skip(const uint8_t *p, const uint8_t *end,
                                     struct ms_scanner_skip *state)
{
    const uint8_t *begun = p;
    uint64_t in_string = state->in_string, escaped = state->escaped;
    bool within = false; /* a character goes on in this block */
    for (; end - p >= 64; p += 64) {
        struct ms_masks m = ms_classify(p);
        uint64_t escape = escaped;
        uint64_t quotes = m.quote & ~escaped_bytes(m.slash, &escape);
        uint64_t inside = parity_up_to(quotes) ^ in_string;
        if ((m.control & inside) | (m.slash & ~inside))
            break;
        if (m.high || within) {
            if ((m.high & ~inside) || ms_bad_utf8(p, p != begun))
                break;
            within = ends_within_character(p);
        }
        uint64_t brackets = (m.open | m.close) & ~inside;
        if (brackets) {
            const uint8_t *stop = ms_brackets(p, brackets, m.open, state);
            if (stop)
                return stop;
        }
        in_string = (uint64_t)((int64_t)inside >> 63);
        escaped = escape;
    }
    state->in_string = in_string;
    state->escaped = escaped;
    return within ? character_start(p) : p;
}

/* ---- objects of a known form ---- */

static inline uint8_t find_node(struct ms_scanner_form *form, uint8_t from, const uint8_t *p,
                                const uint8_t *end)
{
    const struct ms_scanner_node *node = &form->nodes[from];
    for (int i = 0; i < 2; i++) {
        const struct ms_scanner_node *next = &form->nodes[node->next[i]];
        if (next->len && (~ms_same(p, next->bytes) & next->mask) == 0)
            return node->next[i];
    }
    return ms_scanner_form_learn(form, from, p, end);
}

/* Behind a plain string's closing quote; NULL: not one, or not whole in the block. */
static inline const uint8_t *past_string(const uint8_t *p, const uint8_t *end)
{
    for (p++; p < end; p += 64) {
        uint64_t stops = ms_stops(p);
        if (!stops)
            continue;
        p += __builtin_ctzll(stops);
        return *p == '"' ? p + 1 : NULL;
    }
    return NULL;
}

/* Behind a number without an exponent; NULL: not one. What follows it is looked at as the next
 * node. */
static inline const uint8_t *past_number(const uint8_t *p)
{
    /* The last one does not count: a run has an end also where there is nothing but digits. */
    uint64_t digits = ms_digits(p) & UINT64_MAX >> 1;
    unsigned at = *p == '-';
    unsigned run = (unsigned)__builtin_ctzll(~(digits >> at));
    if (run == 0 || run > 40 || (run > 1 && p[at] == '0'))
        return NULL;
    at += run;
    if (p[at] == '.') {
        at++;
        run = (unsigned)__builtin_ctzll(~(digits >> at));
        if (run == 0 || run > 20)
            return NULL;
        at += run;
    }
    return (p[at] | 0x20) == 'e' ? NULL : p + at;
}

static inline const uint8_t *past_container(const uint8_t *p, const uint8_t *end,
                                            const struct ms_scanner_take *take)
{
    if ((p[0] ^ p[1]) == 6)
        return p + 2;
    if (take->depth == MS_LIMIT_JSON_DEPTH)
        return NULL;
    struct ms_scanner_skip state = {0, 0, take->depth + 1, take->depth, take->open};
    take->open[take->depth] = *p;
    p = ms_skip(p + 1, end, &state);
    return state.depth == state.floor ? p : NULL;
}

static inline const uint8_t *past_word(const uint8_t *p, const char *word, size_t len)
{
    return memcmp(p, word, len) == 0 ? p + len : NULL;
}

/* Over the value at p; its kind too. */
static inline const uint8_t *past_value(const uint8_t *p, const uint8_t *end,
                                        const struct ms_scanner_take *take,
                                        enum ms_scanner_kind *kind)
{
    switch (*p) {
    case '"':
        *kind = MS_SCAN_STRING;
        return past_string(p, end);
    case '{':
        *kind = MS_SCAN_OBJECT;
        return past_container(p, end, take);
    case '[':
        *kind = MS_SCAN_ARRAY;
        return past_container(p, end, take);
    case 't':
        *kind = MS_SCAN_TRUE;
        return past_word(p, "true", 4);
    case 'f':
        *kind = MS_SCAN_FALSE;
        return past_word(p, "false", 5);
    case 'n':
        *kind = MS_SCAN_NULL;
        return past_word(p, "null", 4);
    default:
        *kind = MS_SCAN_NUMBER;
        return past_number(p);
    }
}

/* From behind the value of the node *at over the members that nobody wants, one by one, to the next
 * value that is wanted or the object's end. NULL as ms_take. */
static inline const uint8_t *past_members(const uint8_t *p, const uint8_t *end,
                                          const struct ms_scanner_take *take, uint8_t *at)
{
    struct ms_scanner_form *form = take->form;
    const uint8_t *from = p;
    const uint8_t begun = *at;
    bool some = false, flat = true;
    for (;;) {
        *at = find_node(form, *at, p, end);
        if (!*at)
            return NULL;
        p += form->nodes[*at].len;
        if (form->nodes[*at].name != MS_SCAN_FORM_OTHER)
            break;
        enum ms_scanner_kind kind;
        const uint8_t *value = p;
        p = past_value(p, end, take, &kind);
        if (!p)
            return NULL;
        flat = flat && ((kind != MS_SCAN_OBJECT && kind != MS_SCAN_ARRAY) || p - value == 2);
        some = true;
    }
    if (some && flat)
        ms_scanner_stretch_learn(form, begun, from, p, *at);
    return p;
}

/* The same by one comparison, where what stands there is what is known; NULL: it is not. */
static inline const uint8_t *past_stretch(const uint8_t *p, struct ms_scanner_form *form,
                                          uint8_t *at)
{
    struct ms_scanner_stretch *stretch = &form->stretches[*at];
    if (!stretch->len)
        return NULL;
    if (~ms_same(p, stretch->bytes) & stretch->mask) {
        if (stretch->score)
            stretch->score--;
        return NULL;
    }
    if (stretch->score < UINT8_MAX)
        stretch->score++;
    stretch->replaced = 0;
    *at = stretch->target;
    return p + stretch->len;
}

static inline const uint8_t *ms_take(const uint8_t *p, const uint8_t *end,
                                     struct ms_scanner_take *take)
{
    struct ms_scanner_form *form = take->form;
    uint32_t found = 0;
    for (uint8_t at = 0;;) {
        const uint8_t *value = past_stretch(p, form, &at);
        if (!value)
            value = past_members(p, end, take, &at);
        if (!value)
            return NULL;
        const uint8_t name = form->nodes[at].name;
        if (name == MS_SCAN_FORM_END) {
            take->found = found;
            return value;
        }
        enum ms_scanner_kind kind;
        p = past_value(value, end, take, &kind);
        if (!p)
            return NULL;
        struct ms_scanner_field *field = &take->fields[name];
        bool quoted = kind == MS_SCAN_STRING;
        field->kind = kind;
        field->text.bytes = ms_span_of(value + quoted, (size_t)(p - value) - 2 * quoted);
        if ((found >> name & 1) || field->text.bytes.len > MS_LIMIT_JSON_STRING_BYTES)
            return NULL;
        found |= UINT32_C(1) << name;
    }
}

#endif
#endif
