/* Finds and checks a zip file's central directory. No data of a member is looked at. */
#define _GNU_SOURCE
#include "base/zip_directory.h"

#include "base/decrypt.h"
#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR64_BYTES = 20,
    COMMENT_MAX_BYTES = 65535,
    EXTRA_ZIP64 = 0x0001,
    EXTRA_STRONG = 0x0017,
    EXTRA_AES = 0x9901,
    METHOD_AES = 99,
    FLAG_ENCRYPTED = 1,
    FLAG_STRONG = 64,
    FLAG_MASKED = 8192
};

/* Where the central directory lies. */
struct where {
    uint64_t at;
    uint64_t bytes;
    uint64_t count;
    uint64_t shift; /* what local header offsets lack (data in front of the archive) */
};

const char *ms_zip_method_refusal(uint16_t method)
{
    static const uint16_t decoded[] = {MS_ZIP_STORE, MS_ZIP_DEFLATE, 12, 14, 93, 95, 98};
    static const struct {
        uint16_t method;
        const char *why;
    } known[] = {{1, "zip method shrink is not supported"},
                 {6, "zip method implode is not supported"},
                 {9, "zip method deflate64 is not supported"},
                 {10, "zip method DCL implode is not supported"},
                 {94, "zip method MP3 is not supported"},
                 {96, "zip method JPEG is not supported"},
                 {97, "zip method WavPack is not supported"}};
    for (size_t i = 0; i < sizeof decoded / sizeof *decoded; i++)
        if (decoded[i] == method)
            return NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].method == method)
            return known[i].why;
    return "an unknown zip method";
}

/* Unsigned values at places that the caller knows to be there. */
static uint16_t u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
}

static uint64_t u64(const uint8_t *p)
{
    return (uint64_t)u32(p) | (uint64_t)u32(p + 4) << 32;
}

bool ms_zip_extra(struct ms_span extra, uint16_t id, struct ms_span *out)
{
    struct ms_span head;
    while (ms_span_take(&extra, 4, &head)) {
        struct ms_span body;
        if (!ms_span_take(&extra, u16(head.data + 2), &body))
            return false;
        if (u16(head.data) == id) {
            *out = body;
            return true;
        }
    }
    return false;
}

/* ---- the end of the file --------------------------------------------------------------------- */

static enum ms_status end64(int fd, uint64_t end_at, bool needed, struct where *where,
                            uint64_t *behind, struct ms_error *err)
{
    uint8_t locator[LOCATOR64_BYTES], end[END64_BYTES];
    if (end_at < LOCATOR64_BYTES ||
        !ms_decrypt_read(fd, end_at - LOCATOR64_BYTES, locator, sizeof locator) ||
        memcmp(locator, "PK\6\7", 4) != 0)
        return needed ? ms_error_set(err, MS_REJECT, "the ZIP64 directory cannot be found") : MS_OK;
    if (u32(locator + 4) != 0 || u32(locator + 16) > 1)
        return ms_error_set(err, MS_REJECT, "part of a split zip file");
    /* With data in front of the archive the offset is too small by as much: then it is where it
     * ends at the locator. */
    uint64_t at = u64(locator + 8);
    bool good = ms_decrypt_read(fd, at, end, sizeof end) && memcmp(end, "PK\6\6", 4) == 0;
    if (!good && end_at >= LOCATOR64_BYTES + END64_BYTES) {
        at = end_at - LOCATOR64_BYTES - END64_BYTES;
        good = ms_decrypt_read(fd, at, end, sizeof end) && memcmp(end, "PK\6\6", 4) == 0;
    }
    if (!good || at > end_at)
        return ms_error_set(err, MS_REJECT, "the ZIP64 directory cannot be found");
    if (u32(end + 16) != 0 || u32(end + 20) != 0 || u64(end + 24) != u64(end + 32))
        return ms_error_set(err, MS_REJECT, "part of a split zip file");
    *where = (struct where){.at = u64(end + 48), .bytes = u64(end + 40), .count = u64(end + 32)};
    *behind = at;
    return MS_OK;
}

/* The directory ends right before what is at `behind`; that is where it is believed to be when the
 * offset points elsewhere. */
static enum ms_status settle(int fd, struct where *where, uint64_t behind, struct ms_error *err)
{
    uint8_t magic[4];
    uint64_t end;
    if (!where->count && !where->bytes)
        return MS_OK;
    if (where->bytes > behind || !ms_add_u64(where->at, where->bytes, &end))
        return ms_error_set(err, MS_REJECT, "the directory does not fit into the file");
    bool good = end <= behind && ms_decrypt_read(fd, where->at, magic, 4) &&
                memcmp(magic, "PK\1\2", 4) == 0;
    if (!good) {
        uint64_t at = behind - where->bytes;
        if (at < where->at || !ms_decrypt_read(fd, at, magic, 4) || memcmp(magic, "PK\1\2", 4) != 0)
            return ms_error_set(err, MS_REJECT, "the directory is not where the end says");
        where->shift = at - where->at;
        where->at = at;
    }
    return MS_OK;
}

/* One candidate for the end record, of which END_BYTES are at `end`. */
static enum ms_status try_end(int fd, const uint8_t *end, uint64_t end_at, struct where *where,
                              struct ms_error *err)
{
    uint64_t behind = end_at;
    bool needed =
        u16(end + 10) == UINT16_MAX || u32(end + 12) == UINT32_MAX || u32(end + 16) == UINT32_MAX;
    *where = (struct where){.at = u32(end + 16), .bytes = u32(end + 12), .count = u16(end + 10)};
    enum ms_status status = end64(fd, end_at, needed, where, &behind, err);
    if (status != MS_OK)
        return status;
    if (behind == end_at &&
        (u16(end + 4) != 0 || u16(end + 6) != 0 || u16(end + 8) != where->count))
        return ms_error_set(err, MS_REJECT, "part of a split zip file");
    return settle(fd, where, behind, err);
}

/* The last end record in the n last bytes that holds together: a comment may contain anything, the
 * four bytes of the signature too. */
static enum ms_status scan_end(int fd, uint64_t size, size_t n, struct where *where,
                               struct ms_error *err)
{
    struct ms_error why = {MS_REJECT, 0, "no central directory: cut short"};
    uint8_t *tail = malloc(n + 1);
    bool found = false;
    if (!tail)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (!ms_decrypt_read(fd, size - n, tail, n))
        n = 0;
    for (size_t at = n < END_BYTES ? 0 : n - END_BYTES + 1; at-- > 0 && !found;)
        found = memcmp(tail + at, "PK\5\6", 4) == 0 && u16(tail + at + 20) <= n - at - END_BYTES &&
                try_end(fd, tail + at, size - n + at, where, &why) == MS_OK;
    free(tail);
    return found ? MS_OK : ms_error_set(err, why.status, "%s", why.text);
}

static enum ms_status find_end(int fd, struct where *where, struct ms_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot read the zip file");
    uint64_t size = (uint64_t)st.st_size;
    /* Most files have no comment. */
    if (size >= END_BYTES && scan_end(fd, size, END_BYTES, where, NULL) == MS_OK)
        return MS_OK;
    size_t most = (size_t)END_BYTES + COMMENT_MAX_BYTES;
    return scan_end(fd, size, size < most ? (size_t)size : most, where, err);
}

bool ms_zip_has_two_ends(int fd)
{
    struct stat st;
    unsigned claims = 0;
    if (fstat(fd, &st) != 0 || st.st_size < 2 * END_BYTES)
        return false;
    uint64_t size = (uint64_t)st.st_size;
    size_t most = (size_t)END_BYTES + COMMENT_MAX_BYTES;
    size_t n = size < most ? (size_t)size : most;
    uint8_t *tail = malloc(n);
    if (tail && ms_decrypt_read(fd, size - n, tail, n))
        for (size_t at = 0; at <= n - END_BYTES; at++)
            claims +=
                memcmp(tail + at, "PK\5\6", 4) == 0 && u16(tail + at + 20) == n - at - END_BYTES;
    free(tail);
    return claims > 1;
}

/* ---- one member ------------------------------------------------------------------------------ */

/* The ZIP64 field holds those of the three that did not fit into 32 bits, in this order. */
static bool widen(struct ms_span extra, uint64_t *size, uint64_t *packed, uint64_t *local_at)
{
    uint64_t *const wide[] = {size, packed, local_at};
    struct ms_span field = ms_span_of("", 0);
    bool there = ms_zip_extra(extra, EXTRA_ZIP64, &field);
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (wide[i] && *wide[i] == UINT32_MAX && (!there || !ms_span_take_u64le(&field, wide[i])))
            return false;
    return true;
}

/* The cipher and, for AES, what its extra field says. */
static void read_cipher(struct ms_zip_entry *entry)
{
    struct ms_span field;
    entry->has_crc = true;
    if (!(entry->flags & FLAG_ENCRYPTED)) {
        entry->cipher = MS_ZIP_PLAIN;
        if (entry->method == METHOD_AES)
            entry->why = "AES without the flag for encryption";
        return;
    }
    if ((entry->flags & (FLAG_STRONG | FLAG_MASKED)) ||
        ms_zip_extra(entry->extra, EXTRA_STRONG, &field)) {
        entry->cipher = MS_ZIP_STRONG;
        entry->why = "PKWARE's strong encryption is not supported";
        return;
    }
    entry->cipher = MS_ZIP_CRYPTO;
    if (entry->method != METHOD_AES)
        return;
    entry->cipher = MS_ZIP_AES;
    if (!ms_zip_extra(entry->extra, EXTRA_AES, &field) || field.len < 7 ||
        memcmp(field.data + 2, "AE", 2) != 0 || field.data[4] < 1 || field.data[4] > 3 ||
        u16(field.data) < 1 || u16(field.data) > 2) {
        entry->why = "a form of AES that is not known";
        return;
    }
    entry->has_crc = u16(field.data) == 1;
    entry->key_bytes = (uint8_t)(8 + 8 * field.data[4]);
    entry->method = u16(field.data + 5);
    if (!entry->has_crc)
        entry->crc = 0;
}

/* Takes one record off the directory. */
static bool take_central(struct ms_span *rest, uint64_t shift, struct ms_zip_entry *out)
{
    struct ms_span head, comment;
    if (!ms_span_take(rest, CENTRAL_BYTES, &head) || memcmp(head.data, "PK\1\2", 4) != 0)
        return false;
    const uint8_t *p = head.data;
    *out = (struct ms_zip_entry){.made_by = u16(p + 4),
                                 .flags = u16(p + 8),
                                 .method = u16(p + 10),
                                 .time = u16(p + 12),
                                 .date = u16(p + 14),
                                 .crc = u32(p + 16),
                                 .packed_bytes = u32(p + 20),
                                 .size_bytes = u32(p + 24),
                                 .attributes = u32(p + 38),
                                 .local_at = u32(p + 42)};
    if (!ms_span_take(rest, u16(p + 28), &out->name) ||
        !ms_span_take(rest, u16(p + 30), &out->extra) ||
        !ms_span_take(rest, u16(p + 32), &comment) ||
        !widen(out->extra, &out->size_bytes, &out->packed_bytes, &out->local_at) ||
        !ms_add_u64(out->local_at, shift, &out->local_at))
        return false;
    read_cipher(out);
    return true;
}

static bool agree(uint64_t local, uint64_t central, bool late)
{
    return local == central || (late && !local);
}

/* Does the local header say what the directory says? With a data descriptor, sizes and checksum may
 * be left out there. */
static void compare_local(struct ms_zip_entry *entry, const uint8_t *p, struct ms_span extra)
{
    struct ms_zip_entry local = {.flags = u16(p + 6),
                                 .method = u16(p + 8),
                                 .crc = u32(p + 14),
                                 .packed_bytes = u32(p + 18),
                                 .size_bytes = u32(p + 22),
                                 .extra = extra};
    bool late = (local.flags & MS_ZIP_FLAG_DESCRIPTOR) != 0;
    read_cipher(&local);
    /* Info-ZIP writes the time there, which the cipher's check byte is taken from. */
    bool says_time = late && local.cipher == MS_ZIP_CRYPTO;
    if (!widen(extra, &local.size_bytes, &local.packed_bytes, NULL) ||
        !agree(local.size_bytes, entry->size_bytes, late) ||
        !agree(local.packed_bytes, entry->packed_bytes, late) ||
        (!says_time && !agree(local.crc, entry->crc, late)) || local.cipher != entry->cipher ||
        local.method != entry->method || local.key_bytes != entry->key_bytes ||
        local.has_crc != entry->has_crc) {
        entry->disagrees = true;
        entry->why = "its header and the directory disagree";
    }
    /* The writer of a descriptor did not know the checksum when it wrote the cipher's header. */
    entry->check = late ? p[11] : (uint8_t)(entry->crc >> 24);
}

/* Reads the local header: where the data begins, and whether both headers agree. */
static bool read_local(int fd, struct ms_zip_entry *entry, uint8_t *space)
{
    uint8_t head[LOCAL_BYTES];
    if (!ms_decrypt_read(fd, entry->local_at, head, sizeof head) || memcmp(head, "PK\3\4", 4) != 0)
        return false;
    size_t name_bytes = u16(head + 26), extra_bytes = u16(head + 28);
    uint64_t extra_at = entry->local_at + LOCAL_BYTES + name_bytes;
    if (!ms_decrypt_read(fd, extra_at, space, extra_bytes))
        return false;
    entry->data_at = extra_at + extra_bytes;
    compare_local(entry, head, ms_span_of(space, extra_bytes));
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct ms_zip_entry *left = a;
    const struct ms_zip_entry *right = b;
    return (left->local_at > right->local_at) - (left->local_at < right->local_at);
}

enum ms_status ms_zip_directory_read(int fd, struct ms_zip_directory *out, struct ms_error *err)
{
    struct where where;
    struct ms_zip_directory self = {0};
    enum ms_status status = find_end(fd, &where, err);
    if (status != MS_OK)
        return status;
    if (where.count > MS_LIMIT_UNPACK_ENTRIES_MOST || where.bytes > MS_LIMIT_ZIP_DIRECTORY_BYTES)
        return ms_error_set(err, MS_E_LIMIT, "a directory of %llu members in %llu bytes",
                            (unsigned long long)where.count, (unsigned long long)where.bytes);
    self.at = where.at;
    self.bytes = malloc((size_t)where.bytes + 1);
    self.entries = calloc((size_t)where.count + 1, sizeof *self.entries);
    if (!self.bytes || !self.entries)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    else if (!ms_decrypt_read(fd, where.at, self.bytes, (size_t)where.bytes))
        status = ms_error_set(err, MS_REJECT, "the directory is cut short");
    struct ms_span rest = ms_span_of(self.bytes, (size_t)where.bytes);
    for (; status == MS_OK && self.count < where.count; self.count++)
        if (!take_central(&rest, where.shift, &self.entries[self.count]))
            status = ms_error_set(err, MS_REJECT, "the directory is damaged at member %zu",
                                  self.count + 1);
    if (status != MS_OK) {
        ms_zip_directory_release(&self);
        return status;
    }
    qsort(self.entries, self.count, sizeof *self.entries, by_place);
    *out = self;
    return MS_OK;
}

enum ms_status ms_zip_directory_check(int fd, struct ms_zip_directory *self, struct ms_error *err)
{
    uint8_t *space = malloc(UINT16_MAX);
    if (!space)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->count && status == MS_OK; i++)
        if (!read_local(fd, &self->entries[i], space))
            status =
                ms_error_set(err, MS_REJECT, "no header where that of member %zu should be", i + 1);
    free(space);
    for (size_t i = 0; i < self->count && status == MS_OK; i++) {
        const struct ms_zip_entry *entry = &self->entries[i];
        uint64_t next = i + 1 < self->count ? self->entries[i + 1].local_at : self->at;
        uint64_t end;
        self->overlap |= !ms_add_u64(entry->data_at, entry->packed_bytes, &end) || end > next;
    }
    return status;
}

void ms_zip_directory_release(struct ms_zip_directory *self)
{
    free(self->bytes);
    free(self->entries);
    *self = (struct ms_zip_directory){0};
}
