/* Labels of one sample to ranked tags: copies dropped, suffixes cut, tokens looked up, tags
 * counted. The rules are compiled in avclass_rules.c. Reads no report. */
#define _GNU_SOURCE /* getauxval, memrchr */
#include "label/avclass.h"

#include "base/limits.h"
#include "label/avclass_private.h"

#include <stdlib.h>
#include <sys/auxv.h>

enum { MIN_TOKEN = 4, MIN_LABELS = 2, SMALL_SORT = 32 };

/* ---- making ------------------------------------------------------------------------------ */

/* Differs from process to process; judgements do not depend on it. */
static uint64_t draw_seed(const struct ms_avclass *self)
{
    uint64_t seed = (uint64_t)(uintptr_t)self;
    const void *random = (const void *)getauxval(AT_RANDOM);
    if (random)
        seed ^= ms_avclass_load(random);
    return ms_avclass_mix(UINT64_C(0x243F6A8885A308D3), seed);
}

static void fill_fold(uint8_t fold[256])
{
    for (int c = '0'; c <= '9'; c++)
        fold[c] = (uint8_t)c;
    for (int c = 'a'; c <= 'z'; c++)
        fold[c] = fold[c - 32] = (uint8_t)c;
}

enum ms_status ms_avclass_new(const struct ms_avclass_rules *rules, struct ms_avclass **out,
                              struct ms_error *err)
{
    if (rules->taxonomy.len > MS_LIMIT_AVCLASS_BYTES ||
        rules->tagging.len > MS_LIMIT_AVCLASS_BYTES ||
        rules->expansion.len > MS_LIMIT_AVCLASS_BYTES)
        return ms_error_set(err, MS_E_LIMIT, "a data file of AVClass is larger than %zu bytes",
                            MS_LIMIT_AVCLASS_BYTES);
    struct ms_avclass *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    ms_arena_init(&self->memory, 64 * MS_LIMIT_AVCLASS_BYTES);
    self->seed = draw_seed(self);
    fill_fold(self->fold);
    enum ms_status status = ms_avclass_compile(self, rules, err);
    if (status == MS_OK) {
        self->counters = calloc(self->word_count + 1, sizeof *self->counters);
        self->touched = calloc(self->word_count + 1, sizeof *self->touched);
        if (!self->counters || !self->touched)
            status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    if (status != MS_OK) {
        ms_avclass_free(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_avclass_free(struct ms_avclass *self)
{
    if (!self)
        return;
    ms_arena_release(&self->memory);
    free(self->words);
    free(self->slots);
    free(self->ids);
    free(self->only);
    free(self->counters);
    free(self->touched);
    free(self->strangers);
    free(self->stranger_slots);
    free(self->seen);
    free(self->seen_slots);
    free(self->lower);
    free(self->cleaned);
    free(self->tags);
    free(self->paths);
    free(self);
}

static int order_spans(const void *a, const void *b)
{
    const struct ms_span *one = a, *other = b;
    size_t n = one->len < other->len ? one->len : other->len;
    int order = n ? memcmp(one->data, other->data, n) : 0;
    return order ? order : (one->len > other->len) - (one->len < other->len);
}

enum ms_status ms_avclass_only(struct ms_avclass *self, const struct ms_span *engines, size_t count,
                               struct ms_error *err)
{
    struct ms_span *only = calloc(count + 1, sizeof *only);
    if (!only)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        char *copy = ms_arena_copy(&self->memory, engines[i].data, engines[i].len);
        if (!copy) {
            free(only);
            return ms_error_set(err, MS_E_NOMEM, "out of memory for the engines' names");
        }
        only[i] = ms_span_of(copy, engines[i].len);
    }
    qsort(only, count, sizeof *only, order_spans);
    free(self->only);
    self->only = only;
    self->only_count = count;
    self->filtered = true;
    return MS_OK;
}

static bool listed(const struct ms_avclass *self, const struct ms_span *engine)
{
    return bsearch(engine, self->only, self->only_count, sizeof *engine, order_spans) != NULL;
}

/* ---- memory of one sample ---------------------------------------------------------------- */

static bool reserve(void **p, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return true;
    size_t wanted = *cap ? *cap : 256;
    while (wanted < need)
        wanted *= 2;
    void *grown = realloc(*p, wanted * size);
    if (!grown)
        return false;
    *p = grown;
    *cap = wanted;
    return true;
}

/* Room for all that a sample can need, so that nothing moves while it is judged: a token that is
 * kept has MIN_TOKEN bytes and a separator. */
static bool begin_sample(struct ms_avclass *self, const struct ms_avclass_sample *sample)
{
    size_t bytes = 0, seen_slots = 64, stranger_slots = 64;
    for (size_t i = 0; i < sample->count; i++)
        bytes += sample->labels[i].label.len + 1;
    while (seen_slots < 2 * sample->count)
        seen_slots *= 2;
    while (stranger_slots < 2 * (bytes / (MIN_TOKEN + 1) + 1))
        stranger_slots *= 2;
    if (!reserve((void **)&self->lower, &self->lower_cap, bytes + MS_AVCLASS_PAD, 1) ||
        !reserve((void **)&self->seen, &self->seen_cap, sample->count, sizeof *self->seen) ||
        !reserve((void **)&self->seen_slots, &self->seen_slot_cap, seen_slots,
                 sizeof *self->seen_slots) ||
        !reserve((void **)&self->stranger_slots, &self->stranger_slot_cap, stranger_slots,
                 sizeof *self->stranger_slots) ||
        (sample->clean && !reserve((void **)&self->cleaned, &self->cleaned_cap, bytes, 1)))
        return false;
    memset(self->seen_slots, 0, seen_slots * sizeof *self->seen_slots);
    memset(self->stranger_slots, 0, stranger_slots * sizeof *self->stranger_slots);
    self->seen_slot_count = seen_slots;
    self->stranger_slot_count = stranger_slots;
    self->seen_count = self->stranger_count = self->touched_count = 0;
    self->sample_start = self->serial;
    return true;
}

/* ---- one label --------------------------------------------------------------------------- */

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

static struct ms_span clean_into(uint8_t *to, struct ms_span text)
{
    size_t n = 0, start = 0;
    for (size_t i = 0; i < text.len; i++)
        if ((text.data[i] >= 0x20 && text.data[i] <= 0x7e) || is_blank(text.data[i]))
            to[n++] = text.data[i];
    while (n > 0 && is_blank(to[n - 1]))
        n--;
    while (start < n && is_blank(to[start]))
        start++;
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

static uint64_t load_short(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value |= (uint64_t)p[i] << 8 * i;
    return value;
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
        hash = ms_avclass_mix(hash, load_short(label.data, label.len));
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

static enum suffix suffix_of(struct ms_span engine)
{
    static const struct {
        const char *name;
        enum suffix suffix;
    } table[] = {
        {"Norman", SUFFIX_DOT},     {"Avast", SUFFIX_DOT},
        {"Avira", SUFFIX_DOT},      {"Kaspersky", SUFFIX_DOT},
        {"ESET-NOD32", SUFFIX_DOT}, {"Fortinet", SUFFIX_DOT},
        {"Jiangmin", SUFFIX_DOT},   {"Comodo", SUFFIX_DOT},
        {"GData", SUFFIX_DOT},      {"Sophos", SUFFIX_DOT},
        {"TrendMicro", SUFFIX_DOT}, {"TrendMicro-HouseCall", SUFFIX_DOT},
        {"Microsoft", SUFFIX_DOT},  {"NANO-Antivirus", SUFFIX_DOT},
        {"AVG", SUFFIX_VARIANT},    {"Agnitum", SUFFIX_BANG},
    };
    if (engine.len < 3)
        return SUFFIX_NONE;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if ((uint8_t)table[i].name[0] == engine.data[0] &&
            (uint8_t)table[i].name[1] == engine.data[1] &&
            ms_span_equal_text(engine, table[i].name))
            return table[i].suffix;
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
static bool count_once(struct ms_avclass *self, struct ms_avclass_counter *counter)
{
    bool first = counter->at <= self->sample_start;
    if (counter->at == self->serial)
        return false;
    counter->labels = first ? 1 : counter->labels + 1;
    counter->at = self->serial;
    return first;
}

static void count_word(struct ms_avclass *self, size_t at)
{
    const struct ms_avclass_word *word = &self->words[at];
    const uint32_t *ids = self->ids + word->first;
    for (uint32_t i = 0; i < word->count; i++)
        if (count_once(self, &self->counters[ids[i]]))
            self->touched[self->touched_count++] = ids[i];
}

static bool count_stranger(struct ms_avclass *self, const char *name, size_t len, uint64_t hash)
{
    size_t mask = self->stranger_slot_count - 1, i = (size_t)hash & mask;
    uint32_t check = (uint32_t)(hash >> 32);
    for (; self->stranger_slots[i].index; i = (i + 1) & mask) {
        if (self->stranger_slots[i].check != check)
            continue;
        struct ms_avclass_stranger *known = &self->strangers[self->stranger_slots[i].index - 1];
        if (known->len == len && memcmp(known->name, name, len) == 0) {
            (void)count_once(self, &known->counter);
            return true;
        }
    }
    if (!reserve((void **)&self->strangers, &self->stranger_cap, self->stranger_count + 1,
                 sizeof *self->strangers))
        return false;
    self->strangers[self->stranger_count] =
        (struct ms_avclass_stranger){name, (uint32_t)len, {self->serial, 1}};
    self->stranger_slots[i] = (struct ms_avclass_slot){(uint32_t)++self->stranger_count, check};
    return true;
}

static bool is_prefix(struct ms_span hash, const char *token, size_t len)
{
    return hash.len >= len && hash.data[0] == (uint8_t)token[0] &&
           memcmp(hash.data, token, len) == 0;
}

static bool take_token(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                       const char *token, size_t len)
{
    while (len > 0 && token[len - 1] <= '9')
        len--;
    if (len == 0 || is_prefix(sample->md5, token, len) || is_prefix(sample->sha1, token, len) ||
        is_prefix(sample->sha256, token, len))
        return true;
    uint64_t hash = ms_avclass_hash(self->seed, token, len);
    size_t at = ms_avclass_find(self, token, len, hash);
    if (at != SIZE_MAX)
        count_word(self, at);
    else if (len >= MIN_TOKEN)
        return count_stranger(self, token, len, hash);
    return true;
}

/* Splits at everything but ASCII letters and digits. The tokens stay in self->lower while the
 * sample is judged. */
static bool take_tokens(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                        struct ms_span label, char **lower)
{
    char *token = *lower, *end = token;
    for (size_t i = 0; i < label.len; i++) {
        uint8_t c = self->fold[label.data[i]];
        if (c) {
            *end++ = (char)c;
            continue;
        }
        if (end != token && !take_token(self, sample, token, (size_t)(end - token)))
            return false;
        token = end;
    }
    *lower = end;
    return end == token || take_token(self, sample, token, (size_t)(end - token));
}

/* ---- ranking ----------------------------------------------------------------------------- */

/* Falling by count, then by name. */
static int order_tags(const void *a, const void *b)
{
    const struct ms_avclass_tag *one = a, *other = b;
    if (one->count != other->count)
        return one->count < other->count ? 1 : -1;
    return order_spans(&other->name, &one->name);
}

static void sort_tags(struct ms_avclass_tag *tags, size_t count)
{
    if (count > SMALL_SORT) {
        qsort(tags, count, sizeof *tags, order_tags);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct ms_avclass_tag tag = tags[i];
        size_t at = i;
        for (; at > 0 && order_tags(&tags[at - 1], &tag) > 0; at--)
            tags[at] = tags[at - 1];
        tags[at] = tag;
    }
}

static bool gather(struct ms_avclass *self, struct ms_avclass_verdict *out)
{
    size_t count = 0, bytes = 0, used = 0;
    for (size_t i = 0; i < self->touched_count; i++)
        if (self->counters[self->touched[i]].labels >= MIN_LABELS) {
            const struct ms_avclass_word *word = &self->words[self->touched[i]];
            count++;
            bytes += word->known ? 0 : word->len + 4;
        }
    for (size_t i = 0; i < self->stranger_count; i++)
        if (self->strangers[i].counter.labels >= MIN_LABELS) {
            count++;
            bytes += self->strangers[i].len + 4;
        }
    if (!reserve((void **)&self->tags, &self->tag_cap, count, sizeof *self->tags) ||
        !reserve((void **)&self->paths, &self->path_cap, bytes, 1))
        return false;
    struct ms_avclass_tag *tag = self->tags;
    for (size_t i = 0; i < self->touched_count; i++) {
        const struct ms_avclass_word *word = &self->words[self->touched[i]];
        size_t labels = self->counters[self->touched[i]].labels;
        if (labels >= MIN_LABELS)
            *tag++ = (struct ms_avclass_tag){.name = ms_span_of(word->name, word->len),
                                             .path = word->path,
                                             .count = labels,
                                             .family = word->family,
                                             .known = word->known};
    }
    for (size_t i = 0; i < self->stranger_count; i++) {
        const struct ms_avclass_stranger *stranger = &self->strangers[i];
        if (stranger->counter.labels >= MIN_LABELS)
            *tag++ = (struct ms_avclass_tag){.name = ms_span_of(stranger->name, stranger->len),
                                             .count = stranger->counter.labels,
                                             .family = true};
    }
    for (tag = self->tags; tag < self->tags + count; tag++) {
        if (tag->known)
            continue;
        memcpy(self->paths + used, "UNK:", 4);
        memcpy(self->paths + used + 4, tag->name.data, tag->name.len);
        tag->path = ms_span_of(self->paths + used, tag->name.len + 4);
        used += tag->name.len + 4;
    }
    sort_tags(self->tags, count);
    out->tags = self->tags;
    out->tag_count = count;
    return true;
}

/* The first tag of category CLASS decides. */
static bool is_pup(const struct ms_avclass *self, const struct ms_avclass_verdict *verdict)
{
    for (size_t i = 0; i < verdict->tag_count; i++) {
        const struct ms_avclass_tag *tag = &verdict->tags[i];
        if (!tag->known)
            continue;
        const char *name = (const char *)tag->name.data;
        size_t at = ms_avclass_find(self, name, tag->name.len,
                                    ms_avclass_hash(self->seed, name, tag->name.len));
        if (at != SIZE_MAX && self->words[at].class_)
            return self->words[at].grayware && 2 * tag->count >= verdict->tags[0].count;
    }
    return false;
}

enum ms_status ms_avclass_judge(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                                struct ms_avclass_verdict *out, struct ms_error *err)
{
    *out = (struct ms_avclass_verdict){0};
    if (sample->count >= UINT32_MAX || !begin_sample(self, sample))
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a sample's labels");
    char *lower = self->lower;
    uint8_t *cleaned = self->cleaned;
    for (size_t i = 0; i < sample->count; i++) {
        struct ms_span label = sample->labels[i].label;
        bool in = !self->filtered || listed(self, &sample->labels[i].engine);
        out->vt_count += in;
        if (sample->clean && !is_plain(label)) {
            label = clean_into(cleaned, label);
            cleaned += sample->labels[i].label.len;
        }
        if (label.len == 0 || (!in && self->only_count))
            continue;
        label = undecorate(label);
        if (label.len == 0 || seen_before(self, label))
            continue;
        self->serial++;
        label = cut_suffix(sample->labels[i].engine, label);
        if (!take_tokens(self, sample, label, &lower))
            return ms_error_set(err, MS_E_NOMEM, "out of memory for a sample's labels");
    }
    if (!gather(self, out))
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a sample's tags");
    for (size_t i = 0; i < out->tag_count && !out->family; i++)
        out->family = out->tags[i].family ? &out->tags[i] : NULL;
    out->verified = out->family && out->family->known;
    out->pup = is_pup(self, out);
    return MS_OK;
}
