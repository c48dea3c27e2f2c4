/* A bump allocator with a ceiling: one arena a record, released or reset as a whole. Not
 * thread-safe. */
#ifndef MS_BASE_ARENA_H
#define MS_BASE_ARENA_H

#include "base/error.h"

#include <stddef.h>

struct ms_arena_block;

struct ms_arena {
    struct ms_arena_block *head;
    size_t used_bytes; /* handed out since init or reset */
    size_t max_bytes;
};

/* Prepares an empty arena that will hand out at most max_bytes; allocates nothing yet. */
void ms_arena_init(struct ms_arena *self, size_t max_bytes);
void ms_arena_release(struct ms_arena *self);

/* Forgets everything handed out; keeps the first block for reuse. */
void ms_arena_reset(struct ms_arena *self);

/* Zeroed memory aligned for any type, valid until reset or release. NULL when max_bytes or the
 * system's memory is spent. A request of 0 bytes gives a valid, unique pointer. */
void *ms_arena_alloc(struct ms_arena *self, size_t bytes) MS_MUST_USE;

/* count elements of size bytes, overflow checked. */
void *ms_arena_alloc_array(struct ms_arena *self, size_t count, size_t size) MS_MUST_USE;

/* A NUL-terminated copy of n bytes. */
char *ms_arena_copy(struct ms_arena *self, const void *bytes, size_t n) MS_MUST_USE;

#endif
