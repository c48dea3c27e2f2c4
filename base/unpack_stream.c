/* Compressed streams in the walk: gzip and zstd by base/stream, others by libarchive, each as a
 * container of one. Archives are base/unpack.c's business. */
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

enum { READ_BYTES = 128 << 10 };

/* The plain bytes of a gzip or zstd stream, to their checksum. */
static enum ms_status peel_stream(struct ms_walk *walk, int fd, struct ms_walk_memory *out,
                                  enum ms_unpack_fault *fault, char text[MS_ERROR_TEXT_BYTES],
                                  struct ms_error *err)
{
    struct ms_stream *stream;
    uint8_t *block = malloc(READ_BYTES);
    if (!block)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = lseek(fd, 0, SEEK_SET) == 0
                                ? ms_stream_open(fd, UINT64_MAX, &stream, err)
                                : ms_error_set_errno(err, MS_E_IO, errno, "cannot seek");
    size_t n = 1;
    struct ms_error why = {MS_OK, 0, ""};
    while (status == MS_OK && n && *fault == MS_UNPACK_OK) {
        if (ms_stream_read(stream, block, READ_BYTES, &n, &why) != MS_OK) {
            *fault = why.status == MS_E_NOMEM ? MS_UNPACK_LIMIT_MEMORY : MS_UNPACK_CORRUPT;
            (void)snprintf(text, MS_ERROR_TEXT_BYTES, "%s", why.text);
            break;
        }
        const char *limit = "";
        if (!ms_walk_put(walk, out, block, n, out->bytes, UINT64_MAX, fault, &limit))
            (void)snprintf(text, MS_ERROR_TEXT_BYTES, "%s", limit);
    }
    if (*fault == MS_UNPACK_OK && !ms_walk_memory_finish(out))
        *fault = MS_UNPACK_LIMIT_MEMORY;
    if (status == MS_OK)
        ms_stream_close(stream);
    free(block);
    return status;
}

static void peel_filter(struct ms_walk *walk, int fd, struct ms_walk_memory *out,
                        enum ms_unpack_fault *fault, char text[MS_ERROR_TEXT_BYTES])
{
    const char *why = "cannot be opened again";
    struct archive_entry *entry;
    struct archive *a = ms_unpack_open_filter(fd);
    *fault = MS_UNPACK_CORRUPT;
    if (a && archive_read_next_header(a, &entry) < ARCHIVE_WARN)
        *fault = ms_unpack_fault_of(a, &why);
    else if (a)
        ms_walk_extract(walk, a, UINT64_MAX, out, fault, &why);
    if (*fault != MS_UNPACK_OK)
        (void)snprintf(text, MS_ERROR_TEXT_BYTES, "%s", why);
    (void)archive_read_free(a);
}

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

enum ms_status ms_walk_stream(struct ms_walk *walk, int fd, enum ms_unpack_shape shape,
                              unsigned depth, struct ms_error *err)
{
    struct ms_walk_memory inner;
    enum ms_unpack_fault fault = MS_UNPACK_OK;
    char text[MS_ERROR_TEXT_BYTES] = "";
    enum ms_status status = ms_walk_memory_open(&inner, err);
    if (status != MS_OK)
        return status;
    inner.may_drop = true;
    if (++walk->entries > walk->limits.entries)
        fault = MS_UNPACK_LIMIT_ENTRIES;
    else if (shape == MS_SHAPE_GZIP_ZSTD)
        status = peel_stream(walk, fd, &inner, &fault, text, err);
    else
        peel_filter(walk, fd, &inner, &fault, text);
    if (status == MS_OK && fault != MS_UNPACK_OK) {
        walk->stopped |= fault == MS_UNPACK_LIMIT_TOTAL || fault == MS_UNPACK_LIMIT_ENTRIES;
        status = ms_walk_fault(walk, fault, text, err);
    } else if (status == MS_OK) {
        enum ms_unpack_shape within = ms_unpack_shape_of(inner.fd);
        status = within == MS_SHAPE_PLAIN ? deliver_inner(walk, &inner, depth, err)
                                          : ms_walk_open(walk, inner.fd, within, depth + 1, err);
    }
    ms_walk_memory_close(walk, &inner);
    return status;
}
