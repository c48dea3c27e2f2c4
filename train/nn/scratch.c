/* Memory of one thread of the net: taken piece by piece, given back as a whole, kept for the next
 * pass (page faults are dear). Unlike base/arena it is not zeroed and has no maximum: what a pass
 * takes is bounded by its config. */
#include "train/nn/private.h"

#include <stdlib.h>

enum { BLOCK_BYTES = 1 << 20, ALIGN_BYTES = 64 };

struct ms_scratch_block {
    struct ms_scratch_block *next;
    size_t bytes;
    unsigned char *data;
};

static bool add_block(struct ms_scratch *self, size_t bytes)
{
    struct ms_scratch_block *block = malloc(sizeof *block);
    void *data = NULL;
    if (!block || posix_memalign(&data, ALIGN_BYTES, bytes) != 0) {
        free(block);
        self->failed = true;
        return false;
    }
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
