/* The index of a dataset's n-grams: an open-addressed table over a list. */
#include "train/dataset_grams.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1 << 14 };

struct ms_gram_index {
    struct ms_gram *items;
    uint32_t count, capacity;
    uint32_t *slots; /* number + 1; 0: free */
    uint32_t mask;
    uint64_t seed; /* not known to who wrote a trace: no chosen collisions */
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the n-grams of the traces");
}

enum ms_status ms_gram_index_new(struct ms_gram_index **out, struct ms_error *err)
{
    struct ms_gram_index *self = calloc(1, sizeof *self);
    uint32_t *slots = calloc(FIRST_SLOTS, sizeof *slots);
    if (!self || !slots) {
        free(self);
        free(slots);
        return no_memory(err);
    }
    self->slots = slots;
    self->mask = FIRST_SLOTS - 1;
    self->seed = (uint64_t)(uintptr_t)self * 0x94d049bb133111ebu;
    *out = self;
    return MS_OK;
}

void ms_gram_index_free(struct ms_gram_index *self)
{
    if (!self)
        return;
    free(self->items);
    free(self->slots);
    free(self);
}

static uint32_t hash(const struct ms_gram_index *self, struct ms_gram gram)
{
    uint64_t h = self->seed;
    for (int i = 0; i < MS_GRAM_MOST; i++) {
        h = (h ^ gram.symbol[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return (uint32_t)(h ^ h >> 32);
}

/* The slot where the n-gram is, or the free one where it would go. */
static uint32_t slot_of(const struct ms_gram_index *self, struct ms_gram gram)
{
    uint32_t at = hash(self, gram) & self->mask;
    while (self->slots[at] != 0 &&
           memcmp(&self->items[self->slots[at] - 1], &gram, sizeof gram) != 0)
        at = (at + 1) & self->mask;
    return at;
}

static bool grow(struct ms_gram_index *self)
{
    uint32_t size = (self->mask + 1) * 2;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (!slots)
        return false;
    free(self->slots);
    self->slots = slots;
    self->mask = size - 1;
    for (uint32_t i = 0; i < self->count; i++)
        self->slots[slot_of(self, self->items[i])] = i + 1;
    return true;
}

static enum ms_status append(struct ms_gram_index *self, struct ms_gram gram, struct ms_error *err)
{
    if (self->count >= MS_LIMIT_DATASET_GRAMS)
        return ms_error_set(err, MS_E_LIMIT, "more than %d distinct n-grams in the traces",
                            MS_LIMIT_DATASET_GRAMS);
    if (self->count == self->capacity) {
        uint32_t capacity = self->capacity ? self->capacity * 2 : FIRST_SLOTS / 2;
        struct ms_gram *items = realloc(self->items, (size_t)capacity * sizeof *items);
        if (!items)
            return no_memory(err);
        self->items = items;
        self->capacity = capacity;
    }
    if (self->count * 2 >= self->mask && !grow(self))
        return no_memory(err);
    self->items[self->count++] = gram;
    self->slots[slot_of(self, gram)] = self->count;
    return MS_OK;
}

/* The table of a large corpus is in no cache: the slots of those to come are asked for ahead, and
 * then the n-grams that they name. */
static void fetch(const struct ms_gram_index *self, const struct ms_gram_set *set, size_t i,
                  size_t n)
{
    enum { SLOT_AHEAD = 16, ITEM_AHEAD = 8 };
    if (i + SLOT_AHEAD < n)
        __builtin_prefetch(
            &self->slots[hash(self, ms_gram_set_get(set, i + SLOT_AHEAD)) & self->mask]);
    if (i + ITEM_AHEAD < n) {
        uint32_t found = self->slots[hash(self, ms_gram_set_get(set, i + ITEM_AHEAD)) & self->mask];
        if (found)
            __builtin_prefetch(&self->items[found - 1]);
    }
}

enum ms_status ms_gram_index_add(struct ms_gram_index *self, const struct ms_gram_set *set,
                                 uint32_t *ids, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    size_t n = ms_gram_set_count(set);
    for (size_t i = 0; i < n && status == MS_OK; i++) {
        fetch(self, set, i, n);
        struct ms_gram gram = ms_gram_set_get(set, i);
        uint32_t found = self->slots[slot_of(self, gram)];
        if (!found) {
            status = append(self, gram, err);
            found = self->count;
        }
        ids[i] = found - 1;
    }
    return status;
}

void ms_gram_index_close(struct ms_gram_index *self)
{
    free(self->slots);
    self->slots = NULL;
}

uint32_t ms_gram_index_count(const struct ms_gram_index *self)
{
    return self->count;
}

struct ms_gram ms_gram_index_get(const struct ms_gram_index *self, uint32_t id)
{
    return self->items[id];
}
