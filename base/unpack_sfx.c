/* Self-extracting programs: the archive behind a program's last section. Where that is the caller
 * says; nothing of the program itself is read. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/unpack_walk.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { ZIP_END_BYTES = 22, ZIP_TAIL_BYTES = ZIP_END_BYTES + 65535 };

/* The bytes behind a program, and the first MS_LIMIT_SFX_SEARCH_BYTES of them. */
struct overlay {
    int fd;
    uint64_t at, end; /* in the program */
    struct ms_span head;
};

static bool begins(struct ms_span bytes, const char *magic, size_t n)
{
    return bytes.len >= n && memcmp(bytes.data, magic, n) == 0;
}

/* The start header's checksum is right, and the archive ends before the overlay does. */
static bool is_7z(struct ms_span at, uint64_t left)
{
    uint32_t crc;
    uint64_t offset, bytes, end;
    return begins(at, "7z\xbc\xaf\x27\x1c", 6) && at.len >= 32 && ms_span_u32le(at, 8, &crc) &&
           crc == (uint32_t)crc32(0, at.data + 12, 20) && ms_span_u64le(at, 12, &offset) &&
           ms_span_u64le(at, 20, &bytes) && ms_add_u64(offset, bytes, &end) &&
           ms_add_u64(end, 32, &end) && end <= left;
}

/* The first header's checksum is right. */
static bool is_rar5(struct ms_span at)
{
    uint32_t crc;
    uint64_t n;
    struct ms_span rest, body;
    if (!begins(at, "Rar!\x1a\7\1\0", 8) || !ms_span_sub(at, 8, at.len - 8, &rest) ||
        !ms_span_take_u32le(&rest, &crc))
        return false;
    body = rest;
    return ms_span_take_varint(&rest, &n) && n && n < 4096 && n <= rest.len &&
           crc == (uint32_t)crc32(0, body.data, (uInt)(body.len - rest.len + n));
}

static bool is_rar4(struct ms_span at)
{
    uint16_t crc, size;
    return begins(at, "Rar!\x1a\7\0", 7) && ms_span_u16le(at, 7, &crc) &&
           ms_span_u16le(at, 12, &size) && size >= 13 && size <= 1024 && size <= at.len - 7 &&
           at.data[9] == 0x73 && crc == (uint16_t)crc32(0, at.data + 9, size - 2u);
}

static bool is_cab(struct ms_span at, uint64_t left)
{
    uint32_t bytes;
    return begins(at, "MSCF\0\0\0\0", 8) && at.len >= 36 && ms_span_u32le(at, 8, &bytes) &&
           bytes >= 36 && bytes <= left && at.data[25] == 1 && at.data[24] <= 3;
}

/* A zip file is found from its end. Its directory's place counts from the archive's start, or from
 * the program's when a zip tool has adjusted it: *from is 0 then, and *seen where the overlay
 * begins. */
static bool find_zip(const struct overlay *self, uint64_t *from, uint64_t *seen)
{
    uint64_t left = self->end - self->at;
    size_t n = left < ZIP_TAIL_BYTES ? (size_t)left : ZIP_TAIL_BYTES;
    uint8_t *tail = n < ZIP_END_BYTES ? NULL : malloc(n);
    bool found = false;
    if (!tail || !ms_decrypt_read(self->fd, self->end - n, tail, n)) {
        free(tail);
        return false;
    }
    for (size_t i = n - ZIP_END_BYTES + 1; i-- > 0 && !found;) {
        uint32_t bytes = 0, offset = 0;
        struct ms_span span = ms_span_of(tail + i, n - i), start;
        uint64_t end_at = self->end - n + i;
        if (!begins(span, "PK\5\6", 4) || !ms_span_u32le(span, 12, &bytes) ||
            !ms_span_u32le(span, 16, &offset) || (uint64_t)bytes + offset > end_at)
            continue;
        *from = end_at - bytes - offset;
        *seen = *from ? *from : self->at;
        found = *from == 0
                    ? offset >= self->at
                    : *from >= self->at && ms_span_sub(self->head, *from - self->at, 4, &start) &&
                          begins(start, "PK\3\4", 4);
    }
    free(tail);
    return found;
}

/* Where an archive begins; false when there is none. */
static bool find(const struct overlay *self, uint64_t *from)
{
    uint64_t zip_from, zip_seen;
    bool zip = find_zip(self, &zip_from, &zip_seen);
    for (size_t i = 0; i < self->head.len && !(zip && self->at + i >= zip_seen); i++) {
        struct ms_span at = ms_span_of(self->head.data + i, self->head.len - i);
        uint8_t first = at.data[0];
        if (first != '7' && first != 'R' && first != 'M')
            continue;
        *from = self->at + i;
        if (is_7z(at, self->end - *from) || is_rar5(at) || is_rar4(at) ||
            is_cab(at, self->end - *from))
            return true;
    }
    *from = zip ? zip_from : 0;
    return zip;
}

/* The archive alone, in a memory file that is held and not among the bytes the blob gives. */
static enum ms_status cut_out(struct ms_walk *walk, const struct overlay *self, uint64_t from,
                              struct ms_walk_memory *out, bool *good, struct ms_error *err)
{
    const char *why;
    uint64_t n = self->end - from;
    *good = false;
    if (n > MS_LIMIT_UNPACK_HELD_BYTES - walk->held_bytes)
        return ms_walk_fault(walk, MS_UNPACK_LIMIT_MEMORY,
                             ms_walk_limit_text(MS_UNPACK_LIMIT_MEMORY), err);
    enum ms_status status = ms_walk_memory_open(out, err);
    if (status != MS_OK)
        return status;
    out->bytes = n;
    walk->held_bytes += n;
    *good = ms_decrypt_copy(self->fd, from, n, out->fd, 0, &why) == MS_DECRYPT_DONE;
    return *good ? MS_OK
                 : ms_walk_fault(walk, MS_UNPACK_LIMIT_MEMORY, "cannot grow a memory file", err);
}

enum ms_status ms_walk_program(struct ms_walk *walk, int fd, uint64_t size, unsigned depth,
                               struct ms_error *err)
{
    struct overlay overlay = {.fd = fd};
    struct ms_walk_memory archive = {.fd = -1};
    enum ms_status status = MS_OK;
    uint64_t from;
    bool good = true;
    if (!walk->overlay || walk->stopped || !walk->overlay(fd, size, &overlay.at, &overlay.end) ||
        overlay.end > size || overlay.at >= overlay.end)
        return MS_OK;
    uint64_t left = overlay.end - overlay.at;
    size_t n = left < MS_LIMIT_SFX_SEARCH_BYTES ? (size_t)left : MS_LIMIT_SFX_SEARCH_BYTES;
    uint8_t *head = malloc(n);
    if (!head)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    overlay.head = ms_span_of(head, n);
    if (!ms_decrypt_read(fd, overlay.at, head, n) || !find(&overlay, &from))
        goto out;
    if (from || overlay.end != size)
        status = cut_out(walk, &overlay, from, &archive, &good, err);
    int at = archive.fd >= 0 ? archive.fd : fd;
    if (status == MS_OK && good)
        status = ms_walk_open(walk, at, MS_SHAPE_ARCHIVE, depth, err);
    ms_walk_memory_close(walk, &archive);
out:
    free(head);
    return status;
}
