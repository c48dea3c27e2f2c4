/* Wanted files larger than a member may be: from there on not held, but read to their end, so that
 * their size and digest can be told. What is wanted, and which limit, is the walk's business. */
#define _GNU_SOURCE
#include "base/hash.h"
#include "base/unpack_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { PIECE_BYTES = 16 << 10 };

struct ms_walk_oversize {
    struct ms_hasher *hasher;
    uint32_t crc;
    char text[160];
};

static struct ms_walk_oversize *make(void)
{
    struct ms_walk_oversize *self = calloc(1, sizeof *self);
    if (self && ms_hasher_new(MS_HASH_SHA256, &self->hasher, NULL) != MS_OK) {
        free(self);
        self = NULL;
    }
    return self;
}

void ms_walk_oversize_free(struct ms_walk_oversize *self)
{
    if (!self)
        return;
    ms_hasher_free(self->hasher);
    free(self);
}

static void add(struct ms_walk_oversize *self, const void *bytes, size_t n)
{
    if (!n)
        return;
    ms_hasher_update(self->hasher, bytes, n);
    self->crc = (uint32_t)crc32_z(self->crc, bytes, n);
}

static void add_zeros(struct ms_walk_oversize *self, uint64_t n)
{
    static const uint8_t zeros[PIECE_BYTES];
    while (n) {
        size_t part = n < sizeof zeros ? (size_t)n : sizeof zeros;
        add(self, zeros, part);
        n -= part;
    }
}

/* The first `size` bytes of fd; where it ends before, a hole. */
static void add_file(struct ms_walk_oversize *self, int fd, uint64_t size)
{
    uint8_t piece[PIECE_BYTES];
    uint64_t at = 0;
    while (at < size) {
        size_t part = size - at < sizeof piece ? (size_t)(size - at) : sizeof piece;
        ssize_t got = pread(fd, piece, part, (off_t)at);
        if (got <= 0)
            break;
        add(self, piece, (size_t)got);
        at += (uint64_t)got;
    }
    add_zeros(self, size - at);
}

static const char *finish(struct ms_walk_oversize *self, uint64_t size)
{
    struct ms_digests digests;
    char hex[MS_HASH_HEX_MAX];
    if (ms_hasher_finish(self->hasher, &digests, NULL) != MS_OK)
        return ms_walk_limit_text(MS_UNPACK_LIMIT_ENTRY);
    ms_hex_encode(digests.sha256, MS_SHA256_BYTES, hex);
    (void)snprintf(self->text, sizeof self->text, "%s: %llu bytes, sha256 %s",
                   ms_walk_limit_text(MS_UNPACK_LIMIT_ENTRY), (unsigned long long)size, hex);
    return self->text;
}

/* Is what begins like this what the caller looks for? */
static bool is_wanted(const struct ms_walk *walk, const uint8_t *head, size_t n)
{
    const char *wanted = walk->limits.wanted;
    return wanted && n >= strlen(wanted) && memcmp(head, wanted, strlen(wanted)) == 0;
}

void ms_walk_oversize_begin(struct ms_walk *walk, struct ms_walk_memory *memory, const void *bytes,
                            size_t n, uint64_t at)
{
    uint8_t head[16];
    ssize_t got = -1;
    if (memory->dropped)
        return;
    if (memory->bytes)
        got = pread(memory->fd, head, sizeof head, 0);
    bool wanted = memory->bytes ? got > 0 && is_wanted(walk, head, (size_t)got)
                                : at == 0 && is_wanted(walk, bytes, n);
    if (!wanted)
        return;
    memory->oversize = make();
    if (!memory->oversize)
        return;
    add_file(memory->oversize, memory->fd, memory->bytes);
    (void)!ftruncate(memory->fd, 0);
    memory->decided = memory->dropped = true;
    walk->held_bytes -= memory->bytes;
}

void ms_walk_oversize_add(struct ms_walk_oversize *self, uint64_t hole_bytes, const void *bytes,
                          size_t n)
{
    add_zeros(self, hole_bytes);
    add(self, bytes, n);
}

uint32_t ms_walk_oversize_crc32(const struct ms_walk_oversize *self)
{
    return self->crc;
}

void ms_walk_oversize_tell(struct ms_walk_memory *memory, enum ms_unpack_fault *fault,
                           const char **text)
{
    if (*fault != MS_UNPACK_OK || !memory->oversize)
        return;
    *fault = MS_UNPACK_LIMIT_ENTRY;
    *text = finish(memory->oversize, memory->bytes);
}

enum ms_status ms_walk_oversize_blob(struct ms_walk *walk, int fd, uint64_t size, bool *told,
                                     struct ms_error *err)
{
    uint8_t head[16];
    *told = false;
    if (size <= walk->limits.entry_bytes)
        return MS_OK;
    ssize_t got = pread(fd, head, sizeof head, 0);
    if (got <= 0 || !is_wanted(walk, head, (size_t)got))
        return MS_OK;
    struct ms_walk_oversize *self = make();
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    add_file(self, fd, size);
    *told = true;
    enum ms_status status = ms_walk_fault(walk, MS_UNPACK_LIMIT_ENTRY, finish(self, size), err);
    ms_walk_oversize_free(self);
    return status;
}
