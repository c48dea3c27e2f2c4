/* The table of names: an open-addressed index over copies kept in an arena. */
#include "store/trace/names.h"

#include "base/arena.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

struct ms_names {
    struct ms_arena bytes;
    struct ms_span *items;
    uint32_t count, capacity, max;
    uint32_t *slots; /* number + 1; 0 is free */
    uint32_t mask;
};

enum { FIRST_SLOTS = 256 };

enum ms_status ms_names_new(uint32_t max_names, struct ms_names **out, struct ms_error *err)
{
    struct ms_names *self = calloc(1, sizeof *self);
    uint32_t *slots = calloc(FIRST_SLOTS, sizeof *slots);
    if (!self || !slots) {
        free(self);
        free(slots);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for names");
    }
    ms_arena_init(&self->bytes, SIZE_MAX / 2);
    self->max = max_names;
    self->slots = slots;
    self->mask = FIRST_SLOTS - 1;
    *out = self;
    return MS_OK;
}

void ms_names_free(struct ms_names *self)
{
    if (!self)
        return;
    ms_arena_release(&self->bytes);
    free(self->items);
    free(self->slots);
    free(self);
}

/* FNV-1a with a final mix; the tables are bounded, so that chosen collisions cost at most their
 * square. */
static uint32_t hash_of(struct ms_span name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.len; i++)
        h = (h ^ name.data[i]) * 0x100000001b3u;
    h ^= h >> 32;
    return (uint32_t)(h * 0x9e3779b1u >> 3);
}

/* The slot where the name is, or the free one where it would go. */
static uint32_t slot_of(const struct ms_names *self, struct ms_span name)
{
    uint32_t at = hash_of(name) & self->mask;
    while (self->slots[at] != 0 && !ms_span_equal(self->items[self->slots[at] - 1], name))
        at = (at + 1) & self->mask;
    return at;
}

static bool grow(struct ms_names *self)
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

static bool room(struct ms_names *self)
{
    if (self->count < self->capacity)
        return true;
    uint32_t capacity = self->capacity ? self->capacity * 2 : FIRST_SLOTS / 2;
    struct ms_span *items = realloc(self->items, (size_t)capacity * sizeof *items);
    if (!items)
        return false;
    self->items = items;
    self->capacity = capacity;
    return true;
}

enum ms_status ms_names_intern(struct ms_names *self, struct ms_span name, uint32_t *id,
                               struct ms_error *err)
{
    uint32_t at = slot_of(self, name);
    if (self->slots[at] != 0) {
        *id = self->slots[at] - 1;
        return MS_OK;
    }
    if (name.len > MS_LIMIT_NAME_BYTES)
        return ms_error_set(err, MS_E_LIMIT, "a name of %zu bytes: at most %d are kept", name.len,
                            MS_LIMIT_NAME_BYTES);
    if (self->count >= self->max)
        return ms_error_set(err, MS_E_LIMIT, "more than %u distinct names", self->max);
    char *copy = ms_arena_copy(&self->bytes, name.data, name.len);
    if (!copy || !room(self) || (self->count * 2 >= self->mask && !grow(self)))
        return ms_error_set(err, MS_E_NOMEM, "out of memory for names");
    self->items[self->count] = ms_span_of(copy, name.len);
    at = slot_of(self, name);
    *id = self->count++;
    self->slots[at] = *id + 1;
    return MS_OK;
}

bool ms_names_find(const struct ms_names *self, struct ms_span name, uint32_t *id)
{
    uint32_t at = slot_of(self, name);
    if (self->slots[at] == 0)
        return false;
    *id = self->slots[at] - 1;
    return true;
}

uint32_t ms_names_count(const struct ms_names *self)
{
    return self->count;
}

struct ms_span ms_names_get(const struct ms_names *self, uint32_t id)
{
    return self->items[id];
}
