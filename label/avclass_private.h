/* What the parts of the AVClass engine share: words, their table and the counters. Private to
 * label/avclass*.c. */
#ifndef MS_LABEL_AVCLASS_PRIVATE_H
#define MS_LABEL_AVCLASS_PRIVATE_H

#include "base/arena.h"
#include "label/avclass.h"

#include <string.h>

/* Bytes that may be read behind a word, so that it can be taken eight at a time. */
enum { MS_AVCLASS_PAD = 16 };
/* A token that is in no rule is a tag from this length on. */
enum { MS_AVCLASS_MIN_TOKEN = 4 };

/* A word as it is looked up: its first sixteen bytes, zeros behind a shorter one, and a keyed hash
 * of all, so that a report cannot choose words that fall together. Byte order matters to nobody:
 * nothing of it is stored. */
struct ms_avclass_key {
    uint64_t low, high, hash;
};

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

/* A place in the table of words; what a token needs of its word lies in the place itself. index is
 * one more than the word's; 0: empty. */
struct ms_avclass_slot {
    uint64_t low, high;
    uint32_t len, index, first, count;
};

/* labels: how many have it in this sample. at: the serial number of the last that did. */
struct ms_avclass_counter {
    uint64_t at;
    size_t labels;
};

/* A word of this sample that no data file names. */
struct ms_avclass_stranger {
    uint64_t low, high;
    const char *name;
    uint32_t len;
    struct ms_avclass_counter counter;
};

/* A token found and not yet looked up. */
struct ms_avclass_token {
    struct ms_avclass_key key;
    uint64_t serial; /* of its label */
    const char *name;
    uint32_t len;
};
enum { MS_AVCLASS_TOKENS = 64 };

struct ms_avclass_seen {
    const uint8_t *at;
    size_t len;
    uint64_t hash;
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
    uint64_t hashes[3];            /* the first eight bytes of each, zeros behind a shorter one */
    uint64_t serial, sample_start; /* labels seen ever; that number when the sample began */
    struct ms_avclass_counter *counters; /* one a word */
    uint32_t *touched;                   /* words counted; one place a word */
    size_t touched_count;
    struct ms_avclass_token tokens[MS_AVCLASS_TOKENS];
    size_t token_count;
    struct ms_avclass_stranger *strangers;
    size_t stranger_count, stranger_cap;
    uint32_t *stranger_slots; /* one more than the stranger's index; 0: empty */
    size_t stranger_slot_count, stranger_slot_cap;
    struct ms_avclass_seen *seen;
    size_t seen_count, seen_cap;
    uint32_t *seen_slots;
    size_t seen_slot_count, seen_slot_cap;
    char *lower; /* the labels in lower case; tokens point into it */
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

/* Fewer than eight bytes, zeros behind them. */
static inline uint64_t ms_avclass_load_short(const void *p, size_t n)
{
    uint64_t value = 0;
    memcpy(&value, p, n);
    return value;
}

/* The first n (1 to 8) of eight bytes, zeros for the others. */
static inline uint64_t ms_avclass_front(uint64_t bytes, size_t n)
{
    unsigned drop = (unsigned)(8 - n) * 8;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return bytes >> drop << drop;
#else
    return bytes << drop >> drop;
#endif
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

/* The key of a word with MS_AVCLASS_PAD readable bytes behind it. */
static inline struct ms_avclass_key ms_avclass_key_of(uint64_t seed, const char *word, size_t len)
{
    struct ms_avclass_key key = {0, 0, seed};
    if (len > 0)
        key.low = ms_avclass_front(ms_avclass_load(word), len < 8 ? len : 8);
    if (len > 8)
        key.high = ms_avclass_front(ms_avclass_load(word + 8), len < 16 ? len - 8 : 8);
    key.hash = ms_avclass_mix(ms_avclass_mix(seed, key.low), key.high);
    for (size_t at = 16; at < len; at += 8)
        key.hash = ms_avclass_mix(
            key.hash, ms_avclass_front(ms_avclass_load(word + at), len - at < 8 ? len - at : 8));
    key.hash = ms_avclass_end(key.hash, len);
    return key;
}

/* The place of the word, or the empty one where it would be. */
static inline size_t ms_avclass_find(const struct ms_avclass *self, const char *name, size_t len,
                                     const struct ms_avclass_key *key)
{
    size_t mask = self->slot_count - 1, i = (size_t)key->hash & mask;
    for (; self->slots[i].index; i = (i + 1) & mask) {
        const struct ms_avclass_slot *slot = &self->slots[i];
        if (slot->low == key->low && slot->high == key->high && slot->len == len &&
            (len <= 16 || memcmp(self->words[slot->index - 1].name, name, len) == 0))
            break;
    }
    return i;
}

/* Room for `need` elements in *p, doubled as it grows; false without memory. */
bool ms_avclass_reserve(void **p, size_t *cap, size_t need, size_t size) MS_MUST_USE;

/* The label without what is not printable ASCII, and without white space at its ends; it may lie in
 * *room then, which has label.len bytes left and is moved on. */
struct ms_span ms_avclass_clean(struct ms_span label, uint8_t **room);

/* Takes the tokens of a label (not empty) of an engine; *lower, where label.len bytes are free, is
 * moved on. False without memory. */
bool ms_avclass_take_label(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                           struct ms_span engine, struct ms_span label, char **lower) MS_MUST_USE;

/* Counts what the tokens taken so far give; due after the last label. False without memory. */
bool ms_avclass_count(struct ms_avclass *self) MS_MUST_USE;

/* Fills words, slots and ids; memory is ready, the rest zero but for seed and fold. */
enum ms_status ms_avclass_compile(struct ms_avclass *self, const struct ms_avclass_rules *rules,
                                  struct ms_error *err) MS_MUST_USE;

#endif
