/* The list of an origin's files, in memory. */
#include "base/limits.h"
#include "collect/crawl.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES_ARENA_BYTES = 512 << 20 };

void ms_entries_init(struct ms_entries *self)
{
    *self = (struct ms_entries){.items = NULL};
    ms_arena_init(&self->arena, ENTRIES_ARENA_BYTES);
}

void ms_entries_release(struct ms_entries *self)
{
    free(self->items);
    ms_arena_release(&self->arena);
    *self = (struct ms_entries){.items = NULL};
}

enum ms_status ms_entries_add(struct ms_entries *self, struct ms_span path,
                              const uint8_t git_id[MS_SHA1_BYTES], int64_t size,
                              struct ms_error *err)
{
    if (self->count == MS_LIMIT_TREE_ENTRIES)
        return ms_error_set(err, MS_E_LIMIT, "more than %llu files",
                            (unsigned long long)MS_LIMIT_TREE_ENTRIES);
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 256;
        struct ms_entry *grown = realloc(self->items, cap * sizeof *grown);
        if (!grown)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->items = grown;
        self->cap = cap;
    }
    char *copy = ms_arena_copy(&self->arena, path.data, path.len);
    if (!copy)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    struct ms_entry *entry = &self->items[self->count++];
    *entry = (struct ms_entry){.path = ms_span_of(copy, path.len), .size = size};
    memcpy(entry->git_id, git_id, sizeof entry->git_id);
    return MS_OK;
}

static int by_path(const void *a, const void *b)
{
    const struct ms_entry *left = a;
    const struct ms_entry *right = b;
    size_t n = left->path.len < right->path.len ? left->path.len : right->path.len;
    int order = n ? memcmp(left->path.data, right->path.data, n) : 0;
    return order ? order : (left->path.len > right->path.len) - (left->path.len < right->path.len);
}

void ms_entries_sort(struct ms_entries *self)
{
    if (self->count)
        qsort(self->items, self->count, sizeof *self->items, by_path);
}
