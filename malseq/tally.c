/* Counts by name. */
#include "malseq/tally.h"

#include "base/json.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for counts");
}

enum ms_status malseq_tally_init(struct malseq_tally *self, struct ms_error *err)
{
    *self = (struct malseq_tally){0};
    return ms_names_new(MS_LIMIT_VOCABULARY, &self->names, err);
}

void malseq_tally_release(struct malseq_tally *self)
{
    ms_names_free(self->names);
    free(self->counts);
    free(self->sorted);
    free(self->rank);
    *self = (struct malseq_tally){0};
}

enum ms_status malseq_tally_add(struct malseq_tally *self, const void *name, size_t n,
                                uint64_t times, uint32_t *number, struct ms_error *err)
{
    uint32_t id = 0;
    enum ms_status status = ms_names_intern(self->names, ms_span_of(name, n), &id, err);
    if (status != MS_OK)
        return status;
    if (id >= self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 64;
        uint64_t *counts = realloc(self->counts, capacity * sizeof *counts);
        if (!counts)
            return no_memory(err);
        memset(counts + self->capacity, 0, (capacity - self->capacity) * sizeof *counts);
        self->counts = counts;
        self->capacity = capacity;
    }
    self->counts[id] += times;
    if (number)
        *number = id;
    return MS_OK;
}

struct entry {
    struct ms_span name;
    uint64_t count;
    uint32_t id;
};

static int by_name(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    size_t n = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order = n ? memcmp(a->name.data, b->name.data, n) : 0;
    return order ? order : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

static int by_falling_count(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    return a->count != b->count ? (a->count > b->count ? -1 : 1) : by_name(x, y);
}

enum ms_status malseq_tally_sort(struct malseq_tally *self, bool by_count, struct ms_error *err)
{
    uint32_t n = ms_names_count(self->names);
    struct entry *entries = calloc(n + 1u, sizeof *entries);
    self->sorted = calloc(n + 1u, sizeof *self->sorted);
    self->rank = calloc(n + 1u, sizeof *self->rank);
    if (!entries || !self->sorted || !self->rank) {
        free(entries);
        return no_memory(err);
    }
    for (uint32_t i = 0; i < n; i++)
        entries[i] = (struct entry){ms_names_get(self->names, i), self->counts[i], i};
    if (n > 1)
        qsort(entries, n, sizeof *entries, by_count ? by_falling_count : by_name);
    for (uint32_t i = 0; i < n; i++) {
        self->sorted[i] = entries[i].id;
        self->rank[entries[i].id] = i;
    }
    free(entries);
    return MS_OK;
}

uint32_t malseq_tally_count(const struct malseq_tally *self)
{
    return ms_names_count(self->names);
}

struct ms_span malseq_tally_at(const struct malseq_tally *self, uint32_t place, uint64_t *count)
{
    uint32_t id = self->sorted[place];
    if (count)
        *count = self->counts[id];
    return ms_names_get(self->names, id);
}

json_t *malseq_tally_json(const struct malseq_tally *self)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < malseq_tally_count(self); i++) {
        uint64_t count;
        struct ms_span name = malseq_tally_at(self, i, &count);
        json_t *key = ms_json_bytes(name.data, name.len);
        if (key)
            (void)json_object_set_new(object, json_string_value(key),
                                      json_integer((json_int_t)count));
        json_decref(key);
    }
    return object;
}
