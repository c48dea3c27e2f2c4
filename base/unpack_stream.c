/* Compressed streams in the walk: gzip and zstd by base/stream, others by libarchive, each as a
 * container of one. Large tar, cpio and ar archives in them are not held. Archives are
 * base/unpack.c's business. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/stream.h"
#include "base/unpack_walk.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 128 << 10, RETRIES = 16 };

/* ---- plain bytes ----------------------------------------------------------------------------- */

/* One of the two is set. */
struct plain {
    struct ms_stream *stream;
    struct archive *filter;
    uint8_t *block; /* READ_BYTES of them */
    char text[MS_ERROR_TEXT_BYTES];
};

static void plain_close(struct plain *self)
{
    ms_stream_close(self->stream);
    if (self->filter)
        (void)archive_read_free(self->filter);
    free(self->block);
    *self = (struct plain){.stream = NULL};
}

static enum ms_unpack_fault plain_fault(struct plain *self, enum ms_unpack_fault fault,
                                        const char *why)
{
    (void)snprintf(self->text, sizeof self->text, "%s", why);
    return fault;
}

/* From the beginning of fd. To be closed in any case. */
static enum ms_status plain_open(struct plain *self, int fd, enum ms_unpack_shape shape,
                                 enum ms_unpack_fault *fault, struct ms_error *err)
{
    const char *why = "cannot be opened again";
    struct archive_entry *entry;
    *self = (struct plain){.block = malloc(READ_BYTES)};
    *fault = MS_UNPACK_OK;
    if (!self->block)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (lseek(fd, 0, SEEK_SET) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot seek");
    if (shape == MS_SHAPE_GZIP_ZSTD)
        return ms_stream_open(fd, UINT64_MAX, &self->stream, err);
    self->filter = ms_unpack_open_filter(fd);
    if (!self->filter)
        *fault = plain_fault(self, MS_UNPACK_CORRUPT, why);
    else if (archive_read_next_header(self->filter, &entry) < ARCHIVE_WARN)
        *fault = plain_fault(self, ms_unpack_fault_of(self->filter, &why), why);
    return MS_OK;
}

/* The next bytes into self->block; *n = 0 at the end, behind the last checksum. */
static enum ms_unpack_fault plain_read(struct plain *self, size_t *n)
{
    struct ms_error why = {MS_OK, 0, ""};
    *n = 0;
    if (self->stream) {
        if (ms_stream_read(self->stream, self->block, READ_BYTES, n, &why) == MS_OK)
            return MS_UNPACK_OK;
        return plain_fault(
            self, why.status == MS_E_NOMEM ? MS_UNPACK_LIMIT_MEMORY : MS_UNPACK_CORRUPT, why.text);
    }
    la_ssize_t got = ARCHIVE_RETRY;
    for (unsigned tries = 0; got == ARCHIVE_RETRY && tries < RETRIES; tries++)
        got = archive_read_data(self->filter, self->block, READ_BYTES);
    if (got < 0) {
        const char *text;
        enum ms_unpack_fault fault = ms_unpack_fault_of(self->filter, &text);
        return plain_fault(self, fault, text);
    }
    *n = (size_t)got;
    return MS_UNPACK_OK;
}

static la_ssize_t plain_source(struct archive *archive, void *ctx, const void **bytes)
{
    struct plain *self = ctx;
    size_t n;
    *bytes = self->block;
    if (plain_read(self, &n) == MS_UNPACK_OK)
        return (la_ssize_t)n;
    archive_set_error(archive, EIO, "%s", self->text);
    return ARCHIVE_FATAL;
}

/* ---- the first reading ----------------------------------------------------------------------- */

static enum ms_unpack_fault count_verified(struct ms_walk *walk, uint64_t n)
{
    if (n > walk->limits.total_bytes - walk->verified_bytes)
        return MS_UNPACK_LIMIT_TOTAL;
    walk->verified_bytes += n;
    return MS_UNPACK_OK;
}

/* What has been held so far is let go: it will be read again. */
static enum ms_unpack_fault let_go(struct ms_walk *walk, struct ms_walk_memory *out)
{
    uint64_t n = out->bytes;
    if (ftruncate(out->fd, 0) != 0)
        return MS_UNPACK_LIMIT_MEMORY;
    walk->produced_bytes -= n;
    walk->held_bytes -= n;
    out->bytes = 0;
    out->holes = false;
    return count_verified(walk, n);
}

/* ---- what is inside ---------------------------------------------------------------------------
 */

/* The name of what a compressed file holds: its own without the suffix. */
static void inner_name(const struct ms_walk *walk, char out[MS_LIMIT_NAME_BYTES + 1])
{
    static const char *const suffixes[] = {".gz",  ".bz2", ".xz", ".zst", ".lzma",
                                           ".lz4", ".lz",  ".z",  ".gzip"};
    struct ms_span chain = ms_walk_chain(walk);
    const uint8_t *bang = chain.len ? memrchr(chain.data, '!', chain.len) : NULL;
    size_t from = bang ? (size_t)(bang - chain.data) + 1 : 0;
    const uint8_t *slash = memrchr(chain.data + from, '/', chain.len - from);
    if (slash)
        from = (size_t)(slash - chain.data) + 1;
    size_t n = chain.len - from;
    (void)snprintf(out, MS_LIMIT_NAME_BYTES + 1, "data");
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t cut = strlen(suffixes[i]);
        if (n <= cut || n - cut > MS_LIMIT_NAME_BYTES ||
            strncasecmp((const char *)chain.data + chain.len - cut, suffixes[i], cut) != 0)
            continue;
        memcpy(out, chain.data + from, n - cut);
        out[n - cut] = '\0';
        return;
    }
}

struct peeled {
    struct plain *plain;
    struct ms_walk_memory *out;
};

static bool next_plain(void *ctx, struct ms_span *bytes, uint64_t *at, enum ms_unpack_fault *fault,
                       const char **text)
{
    const struct peeled *self = ctx;
    size_t n;
    *fault = plain_read(self->plain, &n);
    *text = self->plain->text;
    *at = self->out->bytes;
    *bytes = ms_span_of(self->plain->block, n);
    return *fault == MS_UNPACK_OK && n;
}

/* The beginning of what is inside came, and it may be read as it comes. */
static enum ms_status offer_inner(struct ms_walk *walk, struct plain *plain,
                                  struct ms_walk_memory *out, unsigned depth,
                                  enum ms_unpack_fault *fault, struct ms_error *err)
{
    struct peeled peeled = {plain, out};
    const struct ms_walk_source source = {&peeled, next_plain};
    char name[MS_LIMIT_NAME_BYTES + 1];
    const char *text = "";
    size_t mark = walk->chain.len;
    inner_name(walk, name);
    enum ms_status status = ms_walk_push(walk, name, err);
    if (status == MS_OK)
        status = ms_walk_offer(walk, &source, walk->limits.entry_bytes, depth + 1, out, fault,
                               &text, err);
    if (*fault != MS_UNPACK_OK && text != plain->text)
        (void)plain_fault(plain, *fault, text);
    walk->chain.len = mark;
    return status;
}

/* Reads to the end, which proves the checksums. *again: the plain form is a sequential archive too
 * large to be held, to be read once more; otherwise it is in *out. */
static enum ms_status peel(struct ms_walk *walk, struct plain *plain, struct ms_walk_memory *out,
                           unsigned depth, bool *again, enum ms_unpack_fault *fault,
                           struct ms_error *err)
{
    enum ms_status status = MS_OK;
    bool asked = false;
    size_t n = 1;
    *again = false;
    *fault = MS_UNPACK_OK;
    while (status == MS_OK && n && !out->streamed) {
        const char *limit = "";
        *fault = plain_read(plain, &n);
        if (*fault != MS_UNPACK_OK)
            return MS_OK;
        if (*again)
            *fault = count_verified(walk, n);
        else
            (void)ms_walk_put(walk, out, plain->block, n, out->bytes, UINT64_MAX, fault, &limit);
        if (*fault == MS_UNPACK_OK && out->offered) {
            status = offer_inner(walk, plain, out, depth, fault, err);
            if (*fault != MS_UNPACK_OK)
                return status;
        }
        if (*fault == MS_UNPACK_OK && !asked && out->bytes > walk->limits.stream_bytes) {
            asked = true;
            *again = !out->dropped && ms_unpack_is_sequential(out->fd);
            if (*again)
                *fault = let_go(walk, out);
        }
        if (*fault != MS_UNPACK_OK) {
            (void)plain_fault(plain, *fault, limit[0] ? limit : ms_walk_limit_text(*fault));
            return status;
        }
    }
    if (status == MS_OK && !ms_walk_memory_finish(out))
        *fault = plain_fault(plain, MS_UNPACK_LIMIT_MEMORY, "cannot grow a memory file");
    return status;
}

static enum ms_status deliver_inner(struct ms_walk *walk, struct ms_walk_memory *inner,
                                    unsigned depth, struct ms_error *err)
{
    char name[MS_LIMIT_NAME_BYTES + 1];
    size_t mark = walk->chain.len;
    enum ms_unpack_fault fault =
        inner->bytes > walk->limits.entry_bytes ? MS_UNPACK_LIMIT_ENTRY : MS_UNPACK_OK;
    const char *text = ms_walk_limit_text(fault);
    if (inner->oversize) {
        fault = MS_UNPACK_OK;
        ms_walk_oversize_tell(inner, &fault, &text);
    }
    inner_name(walk, name);
    enum ms_status status = ms_walk_push(walk, name, err);
    if (status == MS_OK && fault != MS_UNPACK_OK)
        status = ms_walk_fault(walk, fault, text, err);
    else if (status == MS_OK)
        status = ms_walk_deliver(walk, inner, depth + 1, -1, err);
    walk->chain.len = mark;
    return status;
}

/* The second reading, whose plain bytes are those of the first. */
static enum ms_status read_again(struct ms_walk *walk, int fd, enum ms_unpack_shape shape,
                                 unsigned depth, struct ms_error *err)
{
    struct plain plain;
    enum ms_unpack_fault fault;
    const struct ms_unpack_source source = {plain_source, &plain};
    enum ms_status status = plain_open(&plain, fd, shape, &fault, err);
    if (status == MS_OK && fault != MS_UNPACK_OK)
        status = ms_walk_fault(walk, fault, plain.text, err);
    else if (status == MS_OK)
        status = ms_walk_sequential(walk, &source, depth + 1, err);
    plain_close(&plain);
    return status;
}

enum ms_status ms_walk_stream(struct ms_walk *walk, int fd, enum ms_unpack_shape shape,
                              unsigned depth, struct ms_error *err)
{
    struct ms_walk_memory inner;
    struct plain plain;
    enum ms_unpack_fault fault;
    bool again = false;
    enum ms_status status = ms_walk_memory_open(&inner, err);
    if (status != MS_OK)
        return status;
    inner.may_drop = inner.may_stream = true;
    status = plain_open(&plain, fd, shape, &fault, err);
    if (status == MS_OK && ++walk->entries > walk->limits.entries)
        fault = plain_fault(&plain, MS_UNPACK_LIMIT_ENTRIES, "");
    else if (status == MS_OK && fault == MS_UNPACK_OK)
        status = peel(walk, &plain, &inner, depth, &again, &fault, err);
    if (status == MS_OK && fault != MS_UNPACK_OK) {
        walk->stopped |= fault == MS_UNPACK_LIMIT_TOTAL || fault == MS_UNPACK_LIMIT_ENTRIES;
        status = ms_walk_fault(walk, fault, plain.text, err);
    }
    plain_close(&plain);
    if (status == MS_OK && fault == MS_UNPACK_OK && again) {
        status = read_again(walk, fd, shape, depth, err);
    } else if (status == MS_OK && fault == MS_UNPACK_OK) {
        enum ms_unpack_shape within = ms_unpack_shape_of(inner.fd);
        status = within == MS_SHAPE_PLAIN ? deliver_inner(walk, &inner, depth, err)
                                          : ms_walk_open(walk, inner.fd, within, depth + 1, err);
    }
    ms_walk_memory_close(walk, &inner);
    return status;
}
