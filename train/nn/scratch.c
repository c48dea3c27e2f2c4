/* Memory of one thread of the net: taken piece by piece, given back as a whole, kept for the next
 * pass (page faults are dear). Unlike base/arena it is not zeroed and has no maximum: what a pass
 * takes is bounded by its config. */
#define _GNU_SOURCE
#include "train/nn/private.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { BLOCK_BYTES = 1 << 20, ALIGN_BYTES = 64, HUGE_BYTES = 1 << 21 };

struct ms_scratch_block {
    struct ms_scratch_block *next;
    size_t bytes;
    unsigned char *data;
};

/* A pass goes through tens of megabytes from one end to the other and back: with small pages half
 * of its misses are also misses of the page table, and prefetching ends with each page. Only whole
 * pages: the end of the block stays as it is. Without them it is slower, no more. */
static void ask_huge(void *data, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    (void)madvise(data, bytes / HUGE_BYTES * HUGE_BYTES, MADV_HUGEPAGE);
#else
    (void)data;
    (void)bytes;
#endif
}

static bool add_block(struct ms_scratch *self, size_t bytes)
{
    struct ms_scratch_block *block = malloc(sizeof *block);
    void *data = NULL;
    const bool huge = bytes >= HUGE_BYTES;
    if (!block || posix_memalign(&data, huge ? HUGE_BYTES : ALIGN_BYTES, bytes) != 0) {
        free(block);
        self->failed = true;
        return false;
    }
    if (huge)
        ask_huge(data, bytes);
    *block = (struct ms_scratch_block){self->head, bytes, data};
    self->head = block;
    self->used_bytes = 0;
    return true;
}

void ms_scratch_release(struct ms_scratch *self)
{
    while (self->head) {
        struct ms_scratch_block *next = self->head->next;
        free(self->head->data);
        free(self->head);
        self->head = next;
    }
}

/* After a pass that needed several blocks the next one finds a single block that holds all. */
void ms_scratch_reset(struct ms_scratch *self)
{
    size_t total = self->total_bytes;
    self->failed = false;
    self->used_bytes = 0;
    self->total_bytes = 0;
    if (self->head && self->head->next) {
        ms_scratch_release(self);
        (void)add_block(self, total);
        self->failed = false;
    }
}

void *ms_scratch_take(struct ms_scratch *self, size_t count, size_t size)
{
    size_t bytes;
    if (self->failed)
        return NULL;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        self->failed = true;
        return NULL;
    }
    bytes = bytes ? (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES : ALIGN_BYTES;
    if (!self->head || self->head->bytes - self->used_bytes < bytes)
        if (!add_block(self, bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES))
            return NULL;
    void *out = self->head->data + self->used_bytes;
    self->used_bytes += bytes;
    self->total_bytes += bytes;
    return out;
}

ms_real *ms_scratch_reals(struct ms_scratch *self, size_t count)
{
    return ms_scratch_take(self, count, sizeof(ms_real));
}
