/* The volumes of a RAR 5 set into one archive. Reading blocks is base/decrypt_rar5_read's business.
 *
 * A member that goes on in the next volume has a header in each, with the checksum of its packed
 * piece; that in the last volume has the member's own. Encryption and compression go on over the
 * pieces as if they were one. */
#include "base/decrypt_rar5.h"
#include "base/limits.h"
#include "base/rar_volumes.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { MAIN_HAS_NUMBER = 2, END_MORE = 1 };

static const uint8_t signature[8] = {'R', 'a', 'r', '!', 0x1a, 7, 1, 0};
static const char no_memory[] = "no memory for a RAR 5 header";

/* The first header of a member that goes on. */
struct begun {
    bool open;
    uint64_t flags, compression;
    struct ms_buf sizes, rest, extra;
};

struct join5 {
    const struct ms_rar_volumes *volumes;
    struct ms_rar5 rar; /* the volume being read */
    struct ms_rar_target to;
    struct ms_rar_pieces pieces;
    struct begun begun;
    struct ms_rar_joined *out;
    bool ends_set; /* the last volume read says so */
};

static void drop_begun(struct join5 *self)
{
    self->begun.open = false;
    self->pieces.count = 0;
    self->pieces.bytes = 0;
}

/* The extra records of the member's first header, with the digest of its last one. */
static bool merge_extra(const struct begun *begun, struct ms_span last, struct ms_buf *out)
{
    struct ms_span records = ms_span_of(begun->extra.data, begun->extra.len), whole, body;
    uint64_t kind;
    while (records.len && ms_rar5_next_record(&records, &kind, &whole, &body))
        if (kind != MS_RAR5_RECORD_HASH)
            (void)ms_buf_append(out, whole.data, whole.len);
    while (last.len && ms_rar5_next_record(&last, &kind, &whole, &body))
        if (kind == MS_RAR5_RECORD_HASH)
            (void)ms_buf_append(out, whole.data, whole.len);
    return !out->failed;
}

/* A whole member: the header that was begun with the checksums of `last`, and all pieces. */
static enum ms_decrypt_answer write_member(struct join5 *self, const struct ms_rar5_block *block,
                                           const struct ms_rar5_file *last, const char **why)
{
    struct begun *begun = &self->begun;
    struct ms_buf fields, extra, header;
    uint64_t crc_flag = last->flags & MS_RAR5_HAS_CRC;
    enum ms_decrypt_answer answer = MS_DECRYPT_LIMIT_MEMORY;
    *why = no_memory;
    ms_buf_init(&fields, MS_RAR5_HEADER_BYTES_MAX);
    ms_buf_init(&extra, MS_RAR5_HEADER_BYTES_MAX);
    ms_buf_init(&header, MS_RAR5_HEADER_BYTES_MAX + MS_RAR5_HEADER_ROOM);
    (void)ms_buf_append_varint(&fields, (begun->flags & ~(uint64_t)MS_RAR5_HAS_CRC) | crc_flag);
    (void)ms_buf_append(&fields, begun->sizes.data, begun->sizes.len);
    for (unsigned i = 0; crc_flag && i < 4; i++)
        (void)ms_buf_append_byte(&fields, (uint8_t)(last->crc >> (8 * i)));
    (void)ms_buf_append_varint(&fields, begun->compression);
    (void)ms_buf_append(&fields, begun->rest.data, begun->rest.len);
    if (!fields.failed && merge_extra(begun, block->extra, &extra) &&
        ms_rar5_make_header(MS_RAR5_FILE_BLOCK, self->pieces.bytes, true,
                            ms_span_of(fields.data, fields.len), ms_span_of(extra.data, extra.len),
                            &header) &&
        ms_rar_put(&self->to, header.data, header.len))
        answer = ms_rar_put_pieces(&self->to, self->volumes->fd, &self->pieces, why);
    self->out->members += answer == MS_DECRYPT_DONE;
    ms_buf_release(&fields);
    ms_buf_release(&extra);
    ms_buf_release(&header);
    drop_begun(self);
    return answer;
}

static bool begin_member(struct begun *begun, const struct ms_rar5_block *block,
                         const struct ms_rar5_file *file)
{
    begun->open = true;
    begun->flags = file->flags;
    begun->compression = file->compression;
    ms_buf_clear(&begun->sizes);
    ms_buf_clear(&begun->rest);
    ms_buf_clear(&begun->extra);
    (void)ms_buf_append(&begun->sizes, file->sizes.data, file->sizes.len);
    (void)ms_buf_append(&begun->rest, file->rest.data, file->rest.len);
    (void)ms_buf_append(&begun->extra, block->extra.data, block->extra.len);
    return !begun->sizes.failed && !begun->rest.failed && !begun->extra.failed;
}

static enum ms_decrypt_answer take_file(struct join5 *self, const struct ms_rar5_block *block,
                                        const char **why)
{
    struct begun *begun = &self->begun;
    struct ms_rar5_file file;
    bool before = block->flags & MS_RAR5_SPLIT_BEFORE, after = block->flags & MS_RAR5_SPLIT_AFTER;
    enum ms_decrypt_answer answer = ms_rar5_read_file(block, &file, why);
    if (answer != MS_DECRYPT_DONE)
        return answer;
    /* Another member than the one that was to go on here: a volume of another set. */
    if (begun->open &&
        (!before || !ms_span_equal(file.rest, ms_span_of(begun->rest.data, begun->rest.len)))) {
        self->out->incomplete = true;
        drop_begun(self);
    }
    if (before && !begun->open) {
        self->out->incomplete = true;
        return MS_DECRYPT_DONE;
    }
    *why = no_memory;
    if (!before && !begin_member(begun, block, &file))
        return MS_DECRYPT_LIMIT_MEMORY;
    *why = ms_rar5_damaged_header;
    if (!ms_rar_add_piece(&self->pieces, self->volumes->part_count, block->data_at,
                          block->data_bytes))
        return MS_DECRYPT_CORRUPT;
    return after ? MS_DECRYPT_DONE : write_member(self, block, &file, why);
}

/* The volume's own header. *next: it is the one that belongs here. */
static enum ms_decrypt_answer take_main(struct join5 *self, size_t part,
                                        struct ms_rar5_block *block, bool *next, const char **why)
{
    uint64_t flags, number = 0;
    struct ms_buf bytes;
    *why = ms_rar5_damaged_header;
    if (block->kind != MS_RAR5_MAIN || !ms_span_take_varint(&block->fields, &flags) ||
        ((flags & MAIN_HAS_NUMBER) && !ms_span_take_varint(&block->fields, &number)))
        return MS_DECRYPT_CORRUPT;
    *next = (flags & MS_RAR5_ARCHIVE_VOLUME) && number == part;
    if (part)
        return MS_DECRYPT_DONE;
    if (!(flags & MS_RAR5_ARCHIVE_VOLUME))
        return MS_DECRYPT_NOT_ENCRYPTED;
    uint8_t kept = flags & MS_RAR5_ARCHIVE_SOLID;
    ms_buf_init(&bytes, MS_RAR5_HEADER_ROOM);
    (void)ms_buf_append(&bytes, signature, sizeof signature);
    bool good = ms_rar5_make_header(MS_RAR5_MAIN, 0, false, ms_span_of(&kept, 1), ms_span_of("", 0),
                                    &bytes) &&
                ms_rar_put(&self->to, bytes.data, bytes.len);
    ms_buf_release(&bytes);
    *why = "cannot grow a memory file";
    return good ? MS_DECRYPT_DONE : MS_DECRYPT_LIMIT_MEMORY;
}

/* The volume's encryption block: its keys. */
static enum ms_decrypt_answer unlock(struct join5 *self, const struct ms_rar5_block *block,
                                     const char **why)
{
    struct ms_rar5 *rar = &self->rar;
    enum ms_decrypt_answer answer = ms_rar5_read_cipher(block->fields, false, &rar->cipher, why);
    if (answer == MS_DECRYPT_DONE && rar->cipher.rounds_log > MS_LIMIT_DECRYPT_KDF_POWER) {
        *why = "key derivation would take too long";
        answer = MS_DECRYPT_LIMIT_WORK;
    }
    if (answer == MS_DECRYPT_DONE)
        answer = ms_rar5_derive(self->volumes->cache, self->volumes->password, rar->cipher.salt,
                                rar->cipher.rounds_log, &rar->keys, why);
    if (answer != MS_DECRYPT_DONE)
        return answer;
    *why = "wrong password";
    rar->hidden = true;
    return rar->cipher.has_check &&
                   memcmp(rar->cipher.check, rar->keys.check, sizeof rar->cipher.check) != 0
               ? MS_DECRYPT_WRONG_PASSWORD
               : MS_DECRYPT_DONE;
}

/* Everything behind the volume's own header. */
static enum ms_decrypt_answer take_blocks(struct join5 *self, uint64_t at, const char **why)
{
    struct ms_rar5 *rar = &self->rar;
    struct ms_rar5_block block;
    enum ms_decrypt_answer answer = MS_DECRYPT_DONE;
    self->ends_set = true;
    for (size_t blocks = 0; at < rar->bytes && answer == MS_DECRYPT_DONE; blocks++) {
        uint64_t flags;
        *why = ms_rar5_damaged_header;
        if (blocks > 2 * MS_LIMIT_UNPACK_ENTRIES || !ms_rar5_read_block(rar, at, &block))
            return MS_DECRYPT_CORRUPT;
        if (block.kind == MS_RAR5_END) {
            self->ends_set = !ms_span_take_varint(&block.fields, &flags) || !(flags & END_MORE);
            return MS_DECRYPT_DONE;
        }
        if (block.next > rar->bytes)
            return MS_DECRYPT_CORRUPT;
        if (block.kind == MS_RAR5_FILE_BLOCK)
            answer = take_file(self, &block, why);
        at = block.next;
    }
    return answer;
}

/* One volume. *next false: it is not the one that belongs here, and nothing was taken from it. */
static enum ms_decrypt_answer take_volume(struct join5 *self, size_t part, uint64_t start,
                                          uint64_t end, bool *next, const char **why)
{
    struct ms_rar5 *rar = &self->rar;
    struct ms_rar5_block block;
    uint8_t head[sizeof signature];
    uint64_t at = start + sizeof signature;
    rar->hidden = false;
    rar->bytes = end;
    *next = false;
    *why = ms_rar5_damaged_header;
    if (end - start < sizeof head || !ms_decrypt_read(rar->fd, start, head, sizeof head) ||
        memcmp(head, signature, sizeof head) != 0)
        return part ? MS_DECRYPT_DONE : MS_DECRYPT_NOT_ENCRYPTED;
    if (!ms_rar5_read_block(rar, at, &block))
        return part ? MS_DECRYPT_CORRUPT : MS_DECRYPT_NOT_ENCRYPTED;
    if (block.kind == MS_RAR5_CRYPT) {
        at = block.next;
        enum ms_decrypt_answer answer = unlock(self, &block, why);
        if (answer != MS_DECRYPT_DONE)
            return answer;
        if (!ms_rar5_read_block(rar, at, &block)) {
            *why = rar->cipher.has_check ? ms_rar5_damaged_header : "wrong password";
            return rar->cipher.has_check ? MS_DECRYPT_CORRUPT : MS_DECRYPT_WRONG_PASSWORD;
        }
    }
    at = block.next;
    enum ms_decrypt_answer answer = take_main(self, part, &block, next, why);
    return answer == MS_DECRYPT_DONE && *next ? take_blocks(self, at, why) : answer;
}

static enum ms_decrypt_answer take_volumes(struct join5 *self, const char **why)
{
    const uint8_t none = 0;
    struct ms_buf end;
    uint64_t start = 0;
    bool next = true;
    for (size_t i = 0; i < self->volumes->part_count && next; i++) {
        uint64_t stop = start + self->volumes->part_bytes[i];
        enum ms_decrypt_answer answer = take_volume(self, i, start, stop, &next, why);
        /* The first volume may be a later one of the set. */
        if (answer != MS_DECRYPT_DONE)
            return answer;
        start = stop;
    }
    self->out->incomplete |= !next || self->begun.open || !self->ends_set;
    ms_buf_init(&end, MS_RAR5_HEADER_ROOM);
    bool good =
        ms_rar5_make_header(MS_RAR5_END, 0, false, ms_span_of(&none, 1), ms_span_of("", 0), &end) &&
        ms_rar_put(&self->to, end.data, end.len);
    ms_buf_release(&end);
    *why = "cannot grow a memory file";
    return good ? MS_DECRYPT_DONE : MS_DECRYPT_LIMIT_MEMORY;
}

enum ms_decrypt_answer ms_rar5_join(const struct ms_rar_volumes *volumes, int out_fd,
                                    uint64_t max_bytes, struct ms_rar_joined *out, const char **why)
{
    struct join5 self = {.volumes = volumes,
                         .rar = {.fd = volumes->fd, .cache = volumes->cache},
                         .to = {.fd = out_fd, .max_bytes = max_bytes},
                         .out = out};
    enum ms_decrypt_answer answer = MS_DECRYPT_LIMIT_MEMORY;
    *out = (struct ms_rar_joined){0};
    *why = no_memory;
    ms_buf_init(&self.rar.header, MS_RAR5_HEADER_BYTES_MAX + MS_RAR5_HEADER_ROOM);
    ms_buf_init(&self.begun.sizes, MS_RAR5_HEADER_BYTES_MAX);
    ms_buf_init(&self.begun.rest, MS_RAR5_HEADER_BYTES_MAX);
    ms_buf_init(&self.begun.extra, MS_RAR5_HEADER_BYTES_MAX);
    self.pieces.items = calloc(volumes->part_count, sizeof *self.pieces.items);
    if (self.pieces.items)
        answer = take_volumes(&self, why);
    out->bytes = self.to.at;
    free(self.pieces.items);
    ms_buf_release(&self.rar.header);
    ms_buf_release(&self.begun.sizes);
    ms_buf_release(&self.begun.rest);
    ms_buf_release(&self.begun.extra);
    OPENSSL_cleanse(&self.rar, sizeof self.rar);
    return answer;
}
