/* The bump allocator: a list of blocks, newest first. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 * 1024 };

struct ms_arena_block {
    struct ms_arena_block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) unsigned char data[];
};

void ms_arena_init(struct ms_arena *self, size_t max_bytes)
{
    *self = (struct ms_arena){.max_bytes = max_bytes};
}

static void free_chain(struct ms_arena_block *block)
{
    while (block) {
        struct ms_arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void ms_arena_release(struct ms_arena *self)
{
    free_chain(self->head);
    self->head = NULL;
    self->used_bytes = 0;
}

void ms_arena_reset(struct ms_arena *self)
{
    if (self->head) {
        free_chain(self->head->next);
        self->head->next = NULL;
        self->head->used = 0;
    }
    self->used_bytes = 0;
}

void *ms_arena_alloc(struct ms_arena *self, size_t bytes)
{
    size_t align = alignof(max_align_t);
    if (bytes == 0)
        bytes = 1;
    if (bytes > SIZE_MAX - align)
        return NULL;
    size_t rounded = (bytes + align - 1) / align * align;
    if (rounded > self->max_bytes - self->used_bytes)
        return NULL;
    struct ms_arena_block *block = self->head;
    if (!block || block->size - block->used < rounded) {
        size_t size = rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES;
        if (size > SIZE_MAX - sizeof *block)
            return NULL;
        block = malloc(sizeof *block + size);
        if (!block)
            return NULL;
        block->next = self->head;
        block->used = 0;
        block->size = size;
        self->head = block;
    }
    void *p = block->data + block->used;
    block->used += rounded;
    self->used_bytes += rounded;
    memset(p, 0, rounded);
    return p;
}

void *ms_arena_alloc_array(struct ms_arena *self, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    return ms_arena_alloc(self, count * size);
}

char *ms_arena_copy(struct ms_arena *self, const void *bytes, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *p = ms_arena_alloc(self, n + 1);
    if (p && n)
        memcpy(p, bytes, n);
    return p;
}
