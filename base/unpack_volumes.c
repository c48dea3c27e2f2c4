/* Pieces of one file and split zip files, joined. RAR volumes are base/unpack_rar_volumes'
 * business; members are nobody's here. */
#define _GNU_SOURCE
#include "base/unpack_volumes.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

enum {
    END_BYTES = 22,
    END_SEARCH_BYTES = END_BYTES + 65535,
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    ENTRY_BYTES = 46,
    DISK16 = 0xffff,
    EXTRA_64 = 1
};
#define FIELD32 UINT32_MAX

static const char missing_part[] = "a part of the set is missing";

/* ---- zip: the end of central directory ---------------------------------------------------------
 */

struct zip_end {
    uint64_t at;    /* of the record, in the file */
    uint64_t bytes; /* with the comment */
    uint64_t disk, directory_disk, entries, directory_bytes, directory_at;
};

struct joiner {
    struct ms_walk *walk;
    int fd;
    const uint64_t *part_bytes;
    size_t part_count;
    uint64_t total_bytes;
};

static void take_end(struct ms_span tail, size_t at, struct zip_end *out)
{
    uint16_t disk = 0, directory_disk = 0, entries = 0, comment = 0;
    uint32_t bytes = 0, offset = 0;
    bool good = ms_span_u16le(tail, at + 4, &disk) &&
                ms_span_u16le(tail, at + 6, &directory_disk) &&
                ms_span_u16le(tail, at + 10, &entries) && ms_span_u32le(tail, at + 12, &bytes) &&
                ms_span_u32le(tail, at + 16, &offset) && ms_span_u16le(tail, at + 20, &comment);
    *out = (struct zip_end){.bytes = good ? (uint64_t)END_BYTES + comment : 0,
                            .disk = disk,
                            .directory_disk = directory_disk,
                            .entries = entries,
                            .directory_bytes = bytes,
                            .directory_at = offset};
}

/* Finds the record at the end of the first `bytes` bytes; its comment reaches to their end. */
static bool find_end(const struct joiner *self, uint64_t bytes, struct zip_end *out)
{
    size_t n = bytes < END_SEARCH_BYTES ? (size_t)bytes : END_SEARCH_BYTES;
    uint8_t *tail = n < END_BYTES ? NULL : malloc(n);
    bool found = false;
    if (!tail || !ms_decrypt_read(self->fd, bytes - n, tail, n)) {
        free(tail);
        return false;
    }
    struct ms_span span = ms_span_of(tail, n);
    for (size_t at = n - END_BYTES + 1; at-- > 0 && !found;) {
        if (memcmp(tail + at, "PK\5\6", 4) != 0)
            continue;
        take_end(span, at, out);
        out->at = bytes - n + at;
        found = out->bytes == n - at;
    }
    free(tail);
    return found;
}

/* Where a byte of a disk lies in the joined file. The last disk is the last part, whatever lies
 * between. */
static bool place(const struct joiner *self, const struct zip_end *end, uint64_t disk,
                  uint64_t offset, uint64_t *out)
{
    uint64_t start = 0;
    if (disk > end->disk || end->disk >= self->part_count)
        return false;
    size_t part = disk == end->disk ? self->part_count - 1 : (size_t)disk;
    for (size_t i = 0; i < part; i++)
        start += self->part_bytes[i];
    return ms_add_u64(start, offset, out) && *out <= self->total_bytes;
}

/* The larger numbers of a zip64 file, where there are any. False when they make no sense. */
static bool take_end64(const struct joiner *self, struct zip_end *end)
{
    uint8_t locator[LOCATOR_BYTES], record[END64_BYTES];
    uint32_t disk, number;
    uint64_t at, offset;
    if (end->at < sizeof locator ||
        !ms_decrypt_read(self->fd, end->at - sizeof locator, locator, sizeof locator) ||
        memcmp(locator, "PK\6\7", 4) != 0)
        return true;
    struct ms_span span = ms_span_of(locator, sizeof locator);
    if (!ms_span_u32le(span, 4, &disk) || !ms_span_u64le(span, 8, &offset))
        return false;
    if (end->disk == DISK16 && ms_span_u32le(span, 16, &number) && number)
        end->disk = number - 1;
    if (end->disk >= self->part_count)
        return true; /* incomplete, which the caller sees */
    span = ms_span_of(record, sizeof record);
    if (!place(self, end, disk, offset, &at) ||
        !ms_decrypt_read(self->fd, at, record, sizeof record) || memcmp(record, "PK\6\6", 4) != 0 ||
        !ms_span_u32le(span, 20, &disk) || !ms_span_u64le(span, 32, &end->entries) ||
        !ms_span_u64le(span, 40, &end->directory_bytes) ||
        !ms_span_u64le(span, 48, &end->directory_at))
        return false;
    end->directory_disk = disk;
    return true;
}

/* ---- zip: a directory of one file --------------------------------------------------------------
 */

static void set16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void set32(uint8_t *at, uint64_t value)
{
    set16(at, (unsigned)(value & 0xffff));
    set16(at + 2, (unsigned)(value >> 16 & 0xffff));
}

/* An entry's disk and offset, from the zip64 field where the fixed ones say so. */
static bool take_place(struct ms_span entry, size_t extra_at, size_t extra_bytes, uint64_t *disk,
                       uint64_t *offset)
{
    uint32_t packed, plain, low;
    uint16_t number;
    struct ms_span extra, body;
    if (!ms_span_u16le(entry, 34, &number) || !ms_span_u32le(entry, 42, &low) ||
        !ms_span_u32le(entry, 20, &packed) || !ms_span_u32le(entry, 24, &plain) ||
        !ms_span_sub(entry, extra_at, extra_bytes, &extra))
        return false;
    *disk = number;
    *offset = low;
    if (low != FIELD32 && number != DISK16)
        return true;
    uint16_t id = 0, n = 0;
    uint64_t at = 0;
    while (ms_span_u16le(extra, at, &id) && ms_span_u16le(extra, at + 2, &n) && id != EXTRA_64)
        at += 4u + n;
    if (id != EXTRA_64 || !ms_span_sub(extra, at + 4, n, &body))
        return false;
    at = (plain == FIELD32 ? 8u : 0u) + (packed == FIELD32 ? 8u : 0u);
    if (low == FIELD32) {
        if (!ms_span_u64le(body, at, offset))
            return false;
        at += 8;
    }
    uint32_t wide;
    if (number == DISK16) {
        if (!ms_span_u32le(body, at, &wide))
            return false;
        *disk = wide;
    }
    return true;
}

/* Turns disk numbers and offsets into places in the joined file. False when they make no sense. */
static bool mend_directory(const struct joiner *self, const struct zip_end *end, uint8_t *bytes,
                           size_t n)
{
    size_t at = 0;
    for (uint64_t i = 0; i < end->entries; i++) {
        struct ms_span entry;
        uint16_t name, extra, comment;
        uint64_t disk, offset, to;
        if (!ms_span_sub(ms_span_of(bytes, n), at, n - at, &entry) || entry.len < ENTRY_BYTES ||
            memcmp(entry.data, "PK\1\2", 4) != 0 || !ms_span_u16le(entry, 28, &name) ||
            !ms_span_u16le(entry, 30, &extra) || !ms_span_u16le(entry, 32, &comment) ||
            !take_place(entry, (size_t)ENTRY_BYTES + name, extra, &disk, &offset) ||
            !place(self, end, disk, offset, &to) || to >= FIELD32)
            return false;
        set16(bytes + at + 34, 0);
        set32(bytes + at + 42, to);
        at += (size_t)ENTRY_BYTES + name + extra + comment;
        if (at > n)
            return false;
    }
    return true;
}

static enum ms_status tell(struct ms_walk *walk, enum ms_unpack_fault fault, const char *text,
                           enum ms_join *how, struct ms_error *err)
{
    *how = MS_JOIN_NONE;
    return ms_walk_fault(walk, fault, text, err);
}

/* Everything before the directory as it is, the mended directory, and an end that knows one disk.
 * *fault says what could not be done. */
static void write_zip(const struct joiner *self, const struct zip_end *end, uint64_t directory_at,
                      struct ms_walk_memory *out, enum ms_unpack_fault *fault, const char **text)
{
    size_t n = (size_t)end->directory_bytes;
    uint8_t last[END_BYTES] = {'P', 'K', 5, 6};
    uint8_t *directory = malloc(n ? n : 1);
    const char *why;
    *fault = MS_UNPACK_LIMIT_MEMORY;
    *text = "no memory for a zip directory";
    if (!directory)
        return;
    *fault = MS_UNPACK_CORRUPT;
    *text = "the disk numbers of the split zip file make no sense";
    if (!ms_decrypt_read(self->fd, directory_at, directory, n) ||
        !mend_directory(self, end, directory, n))
        goto out;
    set16(last + 8, (unsigned)end->entries);
    set16(last + 10, (unsigned)end->entries);
    set32(last + 12, n);
    set32(last + 16, directory_at);
    *fault = MS_UNPACK_LIMIT_MEMORY;
    *text = "cannot grow a memory file";
    if (ms_decrypt_copy(self->fd, 0, directory_at, out->fd, 0, &why) == MS_DECRYPT_DONE &&
        ms_walk_write(out, directory, n, directory_at) &&
        ms_walk_write(out, last, sizeof last, directory_at + n))
        *fault = MS_UNPACK_OK;
out:
    free(directory);
}

static enum ms_status join_zip(struct joiner *self, const struct zip_end *end,
                               struct ms_walk_memory *out, enum ms_join *how, struct ms_error *err)
{
    struct ms_walk *walk = self->walk;
    enum ms_unpack_fault fault;
    const char *text;
    uint64_t at, stop;
    if (!place(self, end, end->directory_disk, end->directory_at, &at) ||
        !ms_add_u64(at, end->directory_bytes, &stop) || stop > end->at ||
        end->directory_bytes > MS_LIMIT_ZIP_DIRECTORY_BYTES || end->entries >= DISK16 ||
        end->entries > MS_LIMIT_UNPACK_ENTRIES || stop + END_BYTES >= FIELD32)
        return tell(walk, MS_UNPACK_CORRUPT, "the directory of the split zip file makes no sense",
                    how, err);
    enum ms_status status = ms_walk_memory_open(out, err);
    if (status != MS_OK)
        return status;
    /* Held, and not among the bytes the blob gives. */
    if (stop + END_BYTES > MS_LIMIT_UNPACK_HELD_BYTES - walk->held_bytes)
        return tell(walk, MS_UNPACK_LIMIT_MEMORY, ms_walk_limit_text(MS_UNPACK_LIMIT_MEMORY), how,
                    err);
    out->bytes = stop + END_BYTES;
    walk->held_bytes += out->bytes;
    write_zip(self, end, at, out, &fault, &text);
    *how = MS_JOIN_DONE;
    return fault == MS_UNPACK_OK ? MS_OK : tell(walk, fault, text, how, err);
}

/* ---- which it is ------------------------------------------------------------------------------
 */

/* Does the second part begin like an archive of its own, with the first one's magic? */
static bool begin_alike(const struct joiner *self, const uint8_t head[8])
{
    uint8_t second[8];
    size_t n = head[0] == 0x1f ? 3 : 4;
    return self->part_count > 1 &&
           ms_decrypt_read(self->fd, self->part_bytes[0], second, sizeof second) &&
           memcmp(head, second, n) == 0;
}

/* 7z says in its first 32 bytes how long it is. */
static enum ms_status look_at_7z(struct joiner *self, enum ms_join *how, struct ms_error *err)
{
    uint8_t head[32];
    uint64_t offset, bytes, end;
    struct ms_span span = ms_span_of(head, sizeof head);
    *how = MS_JOIN_AS_IS;
    if (!ms_decrypt_read(self->fd, 0, head, sizeof head) || !ms_span_u64le(span, 12, &offset) ||
        !ms_span_u64le(span, 20, &bytes) || !ms_add_u64(offset, bytes, &end) ||
        !ms_add_u64(end, sizeof head, &end))
        return MS_OK;
    if (self->part_count > 1 && end <= self->part_bytes[0])
        return tell(self->walk, MS_UNPACK_APART, "", how, err);
    if (end > self->total_bytes)
        return tell(self->walk, MS_UNPACK_INCOMPLETE, missing_part, how, err);
    return MS_OK;
}

static enum ms_status look_at_zip(struct joiner *self, bool marked, struct ms_walk_memory *out,
                                  enum ms_join *how, struct ms_error *err)
{
    struct zip_end end;
    bool several = self->part_count > 1;
    *how = MS_JOIN_AS_IS;
    if (!find_end(self, self->total_bytes, &end)) {
        /* Without its directory; members that are whole can be read all the same. */
        return marked ? ms_walk_fault(self->walk, MS_UNPACK_INCOMPLETE, missing_part, err) : MS_OK;
    }
    if (!take_end64(self, &end))
        return tell(self->walk, MS_UNPACK_CORRUPT, "the end of the split zip file makes no sense",
                    how, err);
    if (end.disk >= self->part_count)
        return tell(self->walk, MS_UNPACK_INCOMPLETE, missing_part, how, err);
    if (end.disk)
        return join_zip(self, &end, out, how, err);
    /* One disk: pieces of one file, unless a part is a whole file by itself. */
    struct zip_end first;
    uint64_t last_at = self->total_bytes - self->part_bytes[self->part_count - 1];
    bool whole = several && find_end(self, self->part_bytes[0], &first) && !first.disk &&
                 first.directory_at + first.directory_bytes <= first.at;
    uint64_t span = end.directory_at + end.directory_bytes + end.bytes;
    if (several && (whole || span <= self->total_bytes - last_at))
        return tell(self->walk, MS_UNPACK_APART, "", how, err);
    return MS_OK;
}

enum ms_status ms_walk_join(struct ms_walk *walk, const struct ms_unpack_input *input,
                            struct ms_walk_memory *out, enum ms_join *how, struct ms_error *err)
{
    struct joiner self = {.walk = walk,
                          .fd = input->fd,
                          .part_bytes = input->part_bytes,
                          .part_count = input->part_count};
    uint8_t head[8] = {0};
    *how = MS_JOIN_AS_IS;
    *out = (struct ms_walk_memory){.fd = -1};
    for (size_t i = 0; i < self.part_count; i++)
        if (!ms_add_u64(self.total_bytes, self.part_bytes[i], &self.total_bytes))
            return ms_error_set(err, MS_E_BUG, "the sizes of the parts overflow");
    if (!self.part_count || !ms_decrypt_read(self.fd, 0, head, sizeof head))
        return MS_OK;
    bool zip = memcmp(head, "PK", 2) == 0;
    bool known = zip || memcmp(head, "7z\xbc\xaf", 4) == 0 || memcmp(head, "Rar!", 4) == 0 ||
                 memcmp(head, "\x1f\x8b\x08", 3) == 0 || memcmp(head, "BZh", 3) == 0 ||
                 memcmp(head,
                        "\xfd"
                        "7zX",
                        4) == 0;
    bool alike = known && begin_alike(&self, head);
    bool mine = false;
    if (alike && memcmp(head, "Rar!", 4) == 0) {
        enum ms_status status = ms_walk_join_rar(walk, input, out, &mine, how, err);
        if (status != MS_OK || mine)
            return status;
    }
    if (alike)
        return tell(walk, MS_UNPACK_APART, "", how, err);
    if (memcmp(head, "7z\xbc\xaf", 4) == 0)
        return look_at_7z(&self, how, err);
    if (self.part_count == 1 && memcmp(head, "PK\3\4", 4) == 0)
        return MS_OK;
    if (zip || self.part_count == 1)
        return look_at_zip(&self, zip && (self.part_count > 1 || memcmp(head, "PK\7\10", 4) == 0),
                           out, how, err);
    return MS_OK;
}
