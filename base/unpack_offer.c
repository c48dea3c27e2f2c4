/* Members that are read as they come: the caller pulls, the walk counts and reads to the end. What
 * a member is, and whether it was right, is the walk's business. */
#define _GNU_SOURCE
#include "base/unpack_walk.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_BYTES = 64 << 10 };

struct ms_unpack_reading {
    struct ms_walk *walk;
    const struct ms_walk_source *source;
    uint64_t max_bytes;
    struct ms_walk_memory *memory;
    uint64_t at, held;   /* what was given; the first bytes are in the memory file */
    uint64_t hole;       /* zeros that come next */
    struct ms_span rest; /* … and what follows them */
    bool ended;
    enum ms_unpack_fault fault;
    const char *text;
};

/* Gets more bytes, unless they have ended. */
static void refill(struct ms_unpack_reading *self)
{
    uint64_t at, before = self->memory->bytes;
    if (self->ended)
        return;
    self->ended =
        !self->source->next(self->source->ctx, &self->rest, &at, &self->fault, &self->text) ||
        !ms_walk_put(self->walk, self->memory, self->rest.data, self->rest.len, at, self->max_bytes,
                     &self->fault, &self->text);
    if (self->ended)
        self->rest = ms_span_of(NULL, 0);
    else
        self->hole = at - before;
}

static enum ms_status read_held(struct ms_unpack_reading *self, uint8_t *buf, size_t cap, size_t *n,
                                struct ms_error *err)
{
    uint64_t left = self->held - self->at;
    size_t want = left < cap ? (size_t)left : cap;
    ssize_t got;
    do
        got = pread(self->memory->fd, buf, want, (off_t)self->at);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return ms_error_set_errno(err, MS_E_IO, got ? errno : EIO, "memory file");
    *n = (size_t)got;
    return MS_OK;
}

static size_t take(struct ms_unpack_reading *self, uint8_t *buf, size_t cap)
{
    if (self->hole) {
        size_t n = self->hole < cap ? (size_t)self->hole : cap;
        memset(buf, 0, n);
        self->hole -= n;
        return n;
    }
    size_t n = self->rest.len < cap ? self->rest.len : cap;
    if (!n)
        return 0;
    memcpy(buf, self->rest.data, n);
    self->rest.data += n;
    self->rest.len -= n;
    return n;
}

enum ms_status ms_unpack_read(struct ms_unpack_reading *self, void *buf, size_t cap, size_t *n,
                              struct ms_error *err)
{
    uint8_t *to = buf;
    enum ms_status status = MS_OK;
    *n = 0;
    while (status == MS_OK && *n < cap) {
        size_t more = 0;
        if (self->at < self->held)
            status = read_held(self, to + *n, cap - *n, &more, err);
        else if (self->hole || self->rest.len)
            more = take(self, to + *n, cap - *n);
        else if (!self->ended)
            refill(self);
        else
            break;
        self->at += more;
        *n += more;
    }
    /* What came before a fault is given out first. */
    if (status == MS_OK && !*n && cap && self->fault != MS_UNPACK_OK)
        return ms_error_set(err, MS_REJECT, "%s", self->text);
    return status;
}

enum ms_status ms_walk_offer(struct ms_walk *walk, const struct ms_walk_source *source,
                             uint64_t max_bytes, unsigned depth, struct ms_walk_memory *out,
                             enum ms_unpack_fault *fault, const char **text, struct ms_error *err)
{
    const struct ms_unpack_streaming *streaming = walk->limits.streaming;
    struct ms_unpack_reading reading = {.walk = walk,
                                        .source = source,
                                        .max_bytes = max_bytes,
                                        .memory = out,
                                        .held = out->bytes,
                                        .text = ""};
    const struct ms_unpack_member member = {.chain = ms_walk_chain(walk),
                                            .fd = out->fd,
                                            .size = out->bytes,
                                            .password_index = -1,
                                            .depth = depth};
    bool taken = false;
    uint64_t bytes = out->bytes;
    if (out->holes && ftruncate(out->fd, (off_t)bytes) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "memory file");
    if (!ms_walk_memory_drop(walk, out))
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    out->offered = false;
    enum ms_status status = streaming->begin(streaming->ctx, &member, &reading, &taken, err);
    if (status != MS_OK)
        return status;
    if (!taken) {
        /* Held on: nothing was read. */
        out->dropped = false;
        walk->held_bytes += bytes;
        return MS_OK;
    }
    out->streamed = true;
    while (!reading.ended)
        refill(&reading);
    *fault = reading.fault;
    *text = reading.text;
    return ftruncate(out->fd, 0) == 0 ? MS_OK
                                      : ms_error_set_errno(err, MS_E_IO, errno, "memory file");
}
