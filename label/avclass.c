/* Labels of one sample to ranked tags: copies dropped, suffixes cut, tokens looked up, tags
 * counted. The rules are compiled in avclass_rules.c. Reads no report. */
#include "label/avclass.h"

#include "base/limits.h"
#include "label/avclass_private.h"

#include <stdlib.h>
#include <sys/auxv.h>

/* LOWER_PAD: short labels are written in whole blocks. */
enum { MIN_LABELS = 2, SMALL_SORT = 32, LOWER_PAD = 64 + MS_AVCLASS_PAD };

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

bool ms_avclass_reserve(void **p, size_t *cap, size_t need, size_t size)
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

static uint64_t front_of(struct ms_span hash)
{
    return hash.len >= 8 ? ms_avclass_load(hash.data)
           : hash.len    ? ms_avclass_load_short(hash.data, hash.len)
                         : 0;
}

/* Room for all that a sample can need, so that nothing moves while it is judged: a token that is
 * kept has MS_AVCLASS_MIN_TOKEN bytes and a separator. */
static bool begin_sample(struct ms_avclass *self, const struct ms_avclass_sample *sample)
{
    size_t bytes = 0, seen_slots = 64, stranger_slots = 64;
    for (size_t i = 0; i < sample->count; i++)
        bytes += sample->labels[i].label.len + 1;
    while (seen_slots < 2 * sample->count)
        seen_slots *= 2;
    while (stranger_slots < 2 * (bytes / (MS_AVCLASS_MIN_TOKEN + 1) + 1))
        stranger_slots *= 2;
    if (!ms_avclass_reserve((void **)&self->lower, &self->lower_cap, bytes + LOWER_PAD, 1) ||
        !ms_avclass_reserve((void **)&self->seen, &self->seen_cap, sample->count,
                            sizeof *self->seen) ||
        !ms_avclass_reserve((void **)&self->seen_slots, &self->seen_slot_cap, seen_slots,
                            sizeof *self->seen_slots) ||
        !ms_avclass_reserve((void **)&self->stranger_slots, &self->stranger_slot_cap,
                            stranger_slots, sizeof *self->stranger_slots) ||
        (sample->clean &&
         !ms_avclass_reserve((void **)&self->cleaned, &self->cleaned_cap, bytes, 1)))
        return false;
    memset(self->seen_slots, 0, seen_slots * sizeof *self->seen_slots);
    memset(self->stranger_slots, 0, stranger_slots * sizeof *self->stranger_slots);
    self->hashes[0] = front_of(sample->md5);
    self->hashes[1] = front_of(sample->sha1);
    self->hashes[2] = front_of(sample->sha256);
    self->seen_slot_count = seen_slots;
    self->stranger_slot_count = stranger_slots;
    self->seen_count = self->stranger_count = self->touched_count = self->token_count = 0;
    self->sample_start = self->serial;
    return true;
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
    if (!ms_avclass_reserve((void **)&self->tags, &self->tag_cap, count + 1, sizeof *self->tags) ||
        !ms_avclass_reserve((void **)&self->paths, &self->path_cap, bytes + 1, 1))
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
        const char *name = (const char *)tag->name.data; /* the word's own, padded */
        struct ms_avclass_key key = ms_avclass_key_of(self->seed, name, tag->name.len);
        const struct ms_avclass_slot *slot =
            &self->slots[ms_avclass_find(self, name, tag->name.len, &key)];
        const struct ms_avclass_word *word = &self->words[slot->index - 1];
        if (word->class_)
            return word->grayware && 2 * tag->count >= verdict->tags[0].count;
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
        if (sample->clean)
            label = ms_avclass_clean(label, &cleaned);
        if (label.len == 0 || (!in && self->only_count))
            continue;
        if (!ms_avclass_take_label(self, sample, sample->labels[i].engine, label, &lower))
            return ms_error_set(err, MS_E_NOMEM, "out of memory for a sample's labels");
    }
    if (!ms_avclass_count(self) || !gather(self, out))
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a sample's tags");
    for (size_t i = 0; i < out->tag_count && !out->family; i++)
        out->family = out->tags[i].family ? &out->tags[i] : NULL;
    out->verified = out->family && out->family->known;
    out->pup = is_pup(self, out);
    return MS_OK;
}
