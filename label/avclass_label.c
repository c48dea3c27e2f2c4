/* What one label says of a sample: decoration, copies and suffixes dropped, tokens looked up, their
 * tags counted. Ranks nothing. */
#define _GNU_SOURCE /* memrchr */
#include "label/avclass_private.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static bool is_plain(struct ms_span text)
{
    uint8_t odd = 0;
    for (size_t i = 0; i < text.len; i++)
        odd |= (uint8_t)(text.data[i] - 0x20) > 0x5e;
    return !odd && (text.len == 0 || (text.data[0] != ' ' && text.data[text.len - 1] != ' '));
}

/* The part of Python's string.printable that is white space. */
static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct ms_span ms_avclass_clean(struct ms_span label, uint8_t **room)
{
    uint8_t *to = *room;
    size_t n = 0, start = 0;
    if (is_plain(label))
        return label;
    for (size_t i = 0; i < label.len; i++)
        if ((label.data[i] >= 0x20 && label.data[i] <= 0x7e) || is_blank(label.data[i]))
            to[n++] = label.data[i];
    while (n > 0 && is_blank(to[n - 1]))
        n--;
    while (start < n && is_blank(to[start]))
        start++;
    *room += n;
    return ms_span_of(to + start, n - start);
}

/* Other engines' labels that a licensee decorates: Emsisoft puts " (B)" behind BitDefender's,
 * F-Secure "Malware." in front of Avira's. */
static struct ms_span undecorate(struct ms_span label)
{
    if (label.len >= 4 && memcmp(label.data + label.len - 4, " (B)", 4) == 0)
        label.len -= 4;
    if (label.len >= 8 && memcmp(label.data, "Malware.", 8) == 0)
        label = ms_span_of(label.data + 8, label.len - 8);
    return label;
}

/* Whether this sample had a label of the same bytes before; remembers it. */
static bool seen_before(struct ms_avclass *self, struct ms_span label)
{
    uint64_t hash = self->seed;
    size_t at = 0;
    for (; label.len - at >= 8; at += 8)
        hash = ms_avclass_mix(hash, ms_avclass_load(label.data + at));
    if (label.len >= 8)
        hash = ms_avclass_mix(hash, ms_avclass_load(label.data + label.len - 8));
    else
        hash = ms_avclass_mix(hash, ms_avclass_load_short(label.data, label.len));
    hash = ms_avclass_end(hash, label.len);
    size_t mask = self->seen_slot_count - 1, i = (size_t)hash & mask;
    for (; self->seen_slots[i]; i = (i + 1) & mask) {
        const struct ms_avclass_seen *seen = &self->seen[self->seen_slots[i] - 1];
        if (seen->hash == hash && seen->len == label.len &&
            memcmp(seen->at, label.data, label.len) == 0)
            return true;
    }
    self->seen[self->seen_count] = (struct ms_avclass_seen){label.data, label.len, hash};
    self->seen_slots[i] = (uint32_t)++self->seen_count;
    return false;
}

static size_t last_of(struct ms_span label, int c)
{
    const uint8_t *found = label.len ? memrchr(label.data, c, label.len) : NULL;
    return found ? (size_t)(found - label.data) : label.len;
}

/* AVG's variants are upper-case letters and digits. Python's `$` also matches before one line feed
 * at the end. */
static bool is_variant(struct ms_span part)
{
    if (part.len && part.data[part.len - 1] == '\n')
        part.len--;
    for (size_t i = 0; i < part.len; i++)
        if (!((part.data[i] >= 'A' && part.data[i] <= 'Z') ||
              (part.data[i] >= '0' && part.data[i] <= '9')))
            return false;
    return part.len > 0;
}

enum suffix { SUFFIX_NONE, SUFFIX_DOT, SUFFIX_VARIANT, SUFFIX_BANG };

static bool is_one_of(struct ms_span engine, const char *const *names)
{
    for (; *names; names++)
        if ((uint8_t) * *names == engine.data[0] && memcmp(engine.data, *names, engine.len) == 0)
            return true;
    return false;
}

/* By the length of the engine's name. */
static enum suffix suffix_of(struct ms_span engine)
{
    static const char *const dotted[][4] = {
        [5] = {"Avast", "Avira", "GData"},   [6] = {"Norman", "Comodo", "Sophos"},
        [8] = {"Fortinet", "Jiangmin"},      [9] = {"Kaspersky", "Microsoft"},
        [10] = {"ESET-NOD32", "TrendMicro"}, [14] = {"NANO-Antivirus"},
        [20] = {"TrendMicro-HouseCall"},
    };
    if (engine.len == 3 && memcmp(engine.data, "AVG", 3) == 0)
        return SUFFIX_VARIANT;
    if (engine.len == 7 && memcmp(engine.data, "Agnitum", 7) == 0)
        return SUFFIX_BANG;
    if (engine.len < sizeof dotted / sizeof *dotted && is_one_of(engine, dotted[engine.len]))
        return SUFFIX_DOT;
    return SUFFIX_NONE;
}

/* Without the variant that the engine puts behind the last '.' or '!'. */
static struct ms_span cut_suffix(struct ms_span engine, struct ms_span label)
{
    enum suffix suffix = suffix_of(engine);
    if (suffix == SUFFIX_NONE)
        return label;
    size_t at = last_of(label, suffix == SUFFIX_BANG ? '!' : '.');
    if (at == label.len)
        return label;
    if (suffix != SUFFIX_VARIANT || is_variant(ms_span_of(label.data + at + 1, label.len - at - 1)))
        label.len = at;
    return label;
}

/* ---- tokens and counts ------------------------------------------------------------------- */

/* One vote a label: the serial number tells whether this one has given its own. */
static bool count_once(const struct ms_avclass *self, struct ms_avclass_counter *counter,
                       uint64_t serial)
{
    bool first = counter->at <= self->sample_start;
    if (counter->at == serial)
        return false;
    counter->labels = first ? 1 : counter->labels + 1;
    counter->at = serial;
    return first;
}

static void count_word(struct ms_avclass *self, const struct ms_avclass_slot *slot, uint64_t serial)
{
    const uint32_t *ids = self->ids + slot->first;
    for (uint32_t i = 0; i < slot->count; i++)
        if (count_once(self, &self->counters[ids[i]], serial))
            self->touched[self->touched_count++] = ids[i];
}

static bool count_stranger(struct ms_avclass *self, const struct ms_avclass_token *token)
{
    const struct ms_avclass_key *key = &token->key;
    size_t mask = self->stranger_slot_count - 1, i = (size_t)key->hash & mask;
    for (; self->stranger_slots[i]; i = (i + 1) & mask) {
        struct ms_avclass_stranger *known = &self->strangers[self->stranger_slots[i] - 1];
        if (known->low == key->low && known->high == key->high && known->len == token->len &&
            (token->len <= 16 || memcmp(known->name, token->name, token->len) == 0)) {
            (void)count_once(self, &known->counter, token->serial);
            return true;
        }
    }
    if (!ms_avclass_reserve((void **)&self->strangers, &self->stranger_cap,
                            self->stranger_count + 1, sizeof *self->strangers))
        return false;
    self->strangers[self->stranger_count] = (struct ms_avclass_stranger){
        key->low, key->high, token->name, token->len, {token->serial, 1}};
    self->stranger_slots[i] = (uint32_t)++self->stranger_count;
    return true;
}

bool ms_avclass_count(struct ms_avclass *self)
{
    size_t count = self->token_count;
    self->token_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ms_avclass_token *token = &self->tokens[i];
        const struct ms_avclass_slot *slot =
            &self->slots[ms_avclass_find(self, token->name, token->len, &token->key)];
        if (slot->index)
            count_word(self, slot, token->serial);
        else if (token->len >= MS_AVCLASS_MIN_TOKEN && !count_stranger(self, token))
            return false;
    }
    return true;
}

/* A token without its last digits, of which something is left. It waits for others, because its
 * place in the table is often not in the cache: asked for now, it is when its turn comes. The first
 * eight bytes tell most tokens from prefixes of the hashes. */
static bool take_token(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                       const char *name, size_t len)
{
    const struct ms_avclass_key key = ms_avclass_key_of(self->seed, name, len);
    const struct ms_span hashes[3] = {sample->md5, sample->sha1, sample->sha256};
    size_t front = len < 8 ? len : 8;
    for (size_t i = 0; i < 3; i++)
        if (ms_avclass_front(self->hashes[i], front) == key.low && hashes[i].len >= len &&
            memcmp(hashes[i].data, name, len) == 0)
            return true;
    __builtin_prefetch(&self->slots[(size_t)key.hash & (self->slot_count - 1)]);
    self->tokens[self->token_count++] =
        (struct ms_avclass_token){key, self->serial, name, (uint32_t)len};
    return self->token_count < MS_AVCLASS_TOKENS || ms_avclass_count(self);
}

/* Byte by byte, for labels of any length. */
static bool split_bytes(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                        const char *label, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        size_t start = i, end = i; /* end: behind the last letter */
        for (; i < len && label[i]; i++)
            end = label[i] > '9' ? i + 1 : end;
        if (end > start && !take_token(self, sample, label + start, end - start))
            return false;
    }
    return true;
}

#if defined(__SSE2__)
enum { BLOCK_BYTES = 64 };

/* Sixteen bytes in lower case at `to`; which are letters and which digits, a bit each. */
static inline void fold_block(char *to, const uint8_t *from, unsigned *letters, unsigned *digits)
{
    const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)from);
    const __m128i low = _mm_or_si128(v, _mm_set1_epi8(0x20));
    const __m128i letter = _mm_and_si128(_mm_cmpgt_epi8(low, _mm_set1_epi8('a' - 1)),
                                         _mm_cmplt_epi8(low, _mm_set1_epi8('z' + 1)));
    const __m128i digit = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8('0' - 1)),
                                        _mm_cmplt_epi8(v, _mm_set1_epi8('9' + 1)));
    *letters = (unsigned)_mm_movemask_epi8(letter);
    *digits = (unsigned)_mm_movemask_epi8(digit);
    _mm_storeu_si128((__m128i *)(void *)to,
                     _mm_or_si128(v, _mm_and_si128(letter, _mm_set1_epi8(0x20))));
}

/* Labels of 64 bytes at most, by two masks: runs of letters and digits are tokens, and end behind
 * their last letter. `to` has room for 64 bytes. */
static bool split_masks(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                        struct ms_span label, char *to)
{
    uint8_t block[BLOCK_BYTES];
    uint64_t letters = 0, digits = 0;
    memcpy(block, label.data, label.len);
    for (size_t i = 0; i < label.len; i += 16) {
        unsigned letter, digit;
        fold_block(to + i, block + i, &letter, &digit);
        letters |= (uint64_t)letter << i;
        digits |= (uint64_t)digit << i;
    }
    uint64_t valid = label.len == 64 ? ~UINT64_C(0) : (UINT64_C(1) << label.len) - 1;
    letters &= valid;
    digits &= valid;
    for (uint64_t words = letters | digits; words;) {
        unsigned start = (unsigned)__builtin_ctzll(words);
        /* Adding the lowest bit carries through the run and stops behind it; 0: it ends at 64. */
        uint64_t after = words + (UINT64_C(1) << start);
        uint64_t run = words & ~after;
        uint64_t in_run = letters & run;
        if (in_run) {
            unsigned end = 64 - (unsigned)__builtin_clzll(in_run);
            if (!take_token(self, sample, to + start, end - start))
                return false;
        }
        words &= ~run;
    }
    return true;
}
#endif

/* Splits at everything but ASCII letters and digits, and drops digits from the ends of tokens. The
 * tokens stay in self->lower while the sample is judged. */
static bool take_tokens(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                        struct ms_span label, char **lower)
{
    char *to = *lower;
    *lower += label.len;
#if defined(__SSE2__)
    if (label.len <= BLOCK_BYTES)
        return split_masks(self, sample, label, to);
#endif
    for (size_t i = 0; i < label.len; i++)
        to[i] = (char)self->fold[label.data[i]];
    return split_bytes(self, sample, to, label.len);
}

bool ms_avclass_take_label(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                           struct ms_span engine, struct ms_span label, char **lower)
{
    label = undecorate(label);
    if (label.len == 0 || seen_before(self, label))
        return true;
    self->serial++;
    return take_tokens(self, sample, cut_suffix(engine, label), lower);
}
