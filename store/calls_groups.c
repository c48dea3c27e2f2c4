/* A hash of API ids with their counts, and its order. Knows no cursor. */
#include "store/calls_groups.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

#ifdef MS_CALLS_EXTENSION
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#endif

void ms_call_groups_release(struct ms_call_groups *self)
{
    sqlite3_free(self->items);
    *self = (struct ms_call_groups){0};
}

static struct ms_call_group *slot_of(struct ms_call_group *items, size_t cap, uint32_t api)
{
    size_t slot = (api * 2654435761U) & (cap - 1);
    while (items[slot].calls && items[slot].api != api)
        slot = (slot + 1) & (cap - 1);
    return &items[slot];
}

/* A power of two that is at most half full with `more` ids more. */
static bool make_room(struct ms_call_groups *self, size_t more)
{
    size_t cap = self->cap ? self->cap : 512;
    while (cap < 2 * (self->count + more))
        cap *= 2;
    if (cap == self->cap)
        return true;
    struct ms_call_group *items = sqlite3_malloc64(cap * sizeof *items);
    if (!items)
        return false;
    memset(items, 0, cap * sizeof *items);
    for (size_t i = 0; i < self->cap; i++)
        if (self->items[i].calls)
            *slot_of(items, cap, self->items[i].api) = self->items[i];
    sqlite3_free(self->items);
    self->items = items;
    self->cap = cap;
    return true;
}

/* The counts of one trace into those of all. */
static void merge(struct ms_call_groups *self, const uint32_t *apis, const uint64_t *calls,
                  uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!calls[i])
            continue;
        struct ms_call_group *slot = slot_of(self->items, self->cap, apis[i]);
        self->count += !slot->calls;
        slot->api = apis[i];
        slot->calls += calls[i];
    }
}

enum ms_status ms_call_groups_add(struct ms_call_groups *self, struct ms_trace_decoder *decoder,
                                  struct ms_error *err)
{
    struct ms_trace_head head;
    struct ms_trace_columns got;
    ms_trace_decoder_head(decoder, &head);
    /* Four counters an API side by side: one would wait for itself in a run. */
    uint64_t *calls = calloc((size_t)4 * (head.apis + 1U), sizeof *calls);
    enum ms_status status = calls && make_room(self, head.apis)
                                ? MS_OK
                                : ms_error_set(err, MS_E_NOMEM, "no memory for counts");
    while (status == MS_OK) {
        status = ms_trace_decoder_block(decoder, MS_COLUMN_PLACE, &got, err);
        if (status != MS_OK || !got.n)
            break;
        for (size_t i = 0; i < got.n; i++)
            calls[(size_t)4 * got.place[i] + (i & 3)]++;
    }
    for (size_t i = 0; status == MS_OK && i < head.apis; i++)
        calls[i] = calls[4 * i] + calls[4 * i + 1] + calls[4 * i + 2] + calls[4 * i + 3];
    if (status == MS_OK)
        merge(self, ms_trace_decoder_apis(decoder), calls, head.apis);
    free(calls);
    return status;
}

/* A group with the name it is sorted by. */
struct named {
    struct ms_call_group group;
    const char *name;
};

static int compare(const void *left, const void *right)
{
    const struct named *a = left, *b = right;
    if (!a->name != !b->name)
        return a->name ? 1 : -1;
    int order = a->name ? strcmp(a->name, b->name) : 0;
    if (order)
        return order;
    return (a->group.api > b->group.api) - (a->group.api < b->group.api);
}

int ms_call_groups_sort(struct ms_call_groups *self, struct ms_call_names *names, bool by_name)
{
    size_t n = 0;
    struct named *named = sqlite3_malloc64((self->count + 1) * sizeof *named);
    if (!named)
        return SQLITE_NOMEM;
    int code = SQLITE_OK;
    for (size_t i = 0; i < self->cap && code == SQLITE_OK; i++) {
        const struct ms_call_name *name = NULL;
        bool lasts = true;
        if (!self->items[i].calls)
            continue;
        if (by_name)
            code = ms_call_names_get(names, self->items[i].api, &name, &lasts);
        /* A name beyond the cache would not stay: such ids only come out of damage. */
        named[n++] = (struct named){self->items[i], name && lasts ? name->name : NULL};
    }
    if (code == SQLITE_OK) {
        /* The cache may have moved while it grew, its texts have not. */
        qsort(named, n, sizeof *named, compare);
        for (size_t i = 0; i < n; i++)
            self->items[i] = named[i].group;
    }
    sqlite3_free(named);
    return code;
}
