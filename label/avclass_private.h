/* What the two halves of the AVClass engine share: words, their table and the counters. Private to
 * label/avclass*.c. */
#ifndef MS_LABEL_AVCLASS_PRIVATE_H
#define MS_LABEL_AVCLASS_PRIVATE_H

#include "base/arena.h"
#include "label/avclass.h"

#include <string.h>

/* Bytes that may be read behind a word, so that it can be hashed and compared eight at a time. */
enum { MS_AVCLASS_PAD = 8 };

/* A word that some data file names: a token of labels, a tag, or both. */
struct ms_avclass_word {
    const char *name; /* lower case, MS_AVCLASS_PAD bytes behind it */
    uint32_t len;
    uint32_t first, count; /* as a token: the tags it gives, expanded, in ms_avclass.ids */
    struct ms_span path;
    bool known;    /* in the taxonomy, with: */
    bool generic;  /* category GEN */
    bool family;   /* FAM or UNK; also every word that is not known */
    bool class_;   /* CLASS */
    bool grayware; /* "grayware" occurs in the path */
};

/* labels: how many have it in this sample. at: the serial number of the last that did. */
struct ms_avclass_counter {
    uint64_t at;
    size_t labels;
};

/* A word of this sample that no data file names. */
struct ms_avclass_stranger {
    const char *name;
    uint32_t len;
    struct ms_avclass_counter counter;
};

struct ms_avclass_seen {
    const uint8_t *at;
    size_t len;
    uint64_t hash;
};

/* index is one more than the word's; 0: empty. check: the upper half of the hash. */
struct ms_avclass_slot {
    uint32_t index, check;
};

struct ms_avclass {
    uint64_t seed;
    struct ms_avclass_word *words;
    size_t word_count, word_cap;
    struct ms_avclass_slot *slots; /* of words; a power of two, at most half full */
    size_t slot_count;
    uint32_t *ids;
    struct ms_arena memory; /* names and paths */
    uint8_t fold[256];      /* 0: splits tokens; else the byte in lower case */
    bool filtered;
    struct ms_span *only; /* sorted */
    size_t only_count;
    /* Of the sample being judged. */
    uint64_t serial, sample_start;       /* labels seen ever; that number when the sample began */
    struct ms_avclass_counter *counters; /* one a word */
    uint32_t *touched;                   /* words counted; one place a word */
    size_t touched_count;
    struct ms_avclass_stranger *strangers;
    size_t stranger_count, stranger_cap;
    struct ms_avclass_slot *stranger_slots;
    size_t stranger_slot_count, stranger_slot_cap;
    struct ms_avclass_seen *seen;
    size_t seen_count, seen_cap;
    uint32_t *seen_slots;
    size_t seen_slot_count, seen_slot_cap;
    char *lower; /* the labels' words in lower case */
    size_t lower_cap;
    uint8_t *cleaned;
    size_t cleaned_cap;
    struct ms_avclass_tag *tags;
    size_t tag_cap;
    char *paths;
    size_t path_cap;
};

static inline uint64_t ms_avclass_load(const void *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline uint64_t ms_avclass_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9FB21C651E98DF25);
    return hash ^ hash >> 29;
}

static inline uint64_t ms_avclass_end(uint64_t hash, size_t len)
{
    hash = (hash ^ len) * UINT64_C(0xD6E8FEB86659FD93);
    return hash ^ hash >> 32;
}

/* Hash of a word with MS_AVCLASS_PAD readable bytes behind it. Keyed, so that a report
 * cannot choose words that fall together. Byte order matters to nobody: it is never stored. */
static inline uint64_t ms_avclass_hash(uint64_t seed, const char *word, size_t len)
{
    uint64_t hash = seed;
    size_t at = 0;
    for (; at + 8 < len; at += 8)
        hash = ms_avclass_mix(hash, ms_avclass_load(word + at));
    unsigned rest = (unsigned)(len - at) * 8;
    if (rest == 0)
        return ms_avclass_end(hash, 0);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return ms_avclass_end(ms_avclass_mix(hash, ms_avclass_load(word + at) >> (64 - rest)), len);
#else
    return ms_avclass_end(ms_avclass_mix(hash, ms_avclass_load(word + at) << (64 - rest)), len);
#endif
}

/* The word's number, or SIZE_MAX. */
static inline size_t ms_avclass_find(const struct ms_avclass *self, const char *name, size_t len,
                                     uint64_t hash)
{
    size_t mask = self->slot_count - 1;
    for (size_t i = (size_t)hash & mask; self->slots[i].index; i = (i + 1) & mask) {
        if (self->slots[i].check != (uint32_t)(hash >> 32))
            continue;
        const struct ms_avclass_word *word = &self->words[self->slots[i].index - 1];
        if (word->len == len && memcmp(word->name, name, len) == 0)
            return self->slots[i].index - 1;
    }
    return SIZE_MAX;
}

/* Fills words, slots and ids; memory is ready, the rest zero but for seed and fold. */
enum ms_status ms_avclass_compile(struct ms_avclass *self, const struct ms_avclass_rules *rules,
                                  struct ms_error *err) MS_MUST_USE;

#endif
