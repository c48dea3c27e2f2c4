/* Zip members under the traditional cipher or WinZip's AES: those with methods that libarchive
 * decodes but cannot decrypt, and small ones that it would decrypt slowly. Decodes nothing: each
 * encrypted member is a unit of its own and becomes a zip file of one plain member; those that are
 * not encrypted are one unit together. Members that no password would open are two units, which are
 * told and not written: one for what is not supported, one for what is damaged.
 *
 * Sources: PKWARE APPNOTE.TXT 6.3.10, sections 4 and 6.1; WinZip, "AES Encryption Information:
 * Encryption Specification AE-1 and AE-2". */
#define _GNU_SOURCE
#include "base/buf.h"
#include "base/decrypt.h"
#include "base/limits.h"
#include "base/zip_cipher.h"
#include "base/zip_directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE_BYTES = 64 << 10,
    FASTER_BYTES = 32 << 20,
    EXTRA_UNICODE_PATH = 0x7075,
    FLAGS_KEPT = 0x0806
};

/* Members that have one reason in common; `why` is the first one's. */
struct refused {
    size_t count;
    const char *why;
    char text[160];
};

enum unit_kind { UNIT_MEMBER, UNIT_PLAIN, UNIT_UNSUPPORTED, UNIT_DAMAGED };

struct unit {
    enum unit_kind kind;
    const struct ms_zip_entry *entry; /* of UNIT_MEMBER */
};

struct zip {
    int fd;
    struct ms_decrypt_keys *keys;
    struct ms_zip_directory directory;
    struct unit *units;
    size_t unit_count;
    struct refused unsupported, damaged;
    uint8_t piece[PIECE_BYTES];
};

/* ---- looking --------------------------------------------------------------------------------- */

static bool is_folder(const struct ms_zip_entry *entry)
{
    return entry->name.len && entry->name.data[entry->name.len - 1] == '/' && !entry->size_bytes;
}

/* What libarchive 3.6 cannot do itself: it decrypts stored and deflated members alone, and where
 * the checksum follows the data it takes what the local header has in its place for one. */
static bool is_ours(const struct ms_zip_entry *entry)
{
    bool late = entry->cipher == MS_ZIP_CRYPTO && (entry->flags & MS_ZIP_FLAG_DESCRIPTOR);
    return entry->cipher == MS_ZIP_STRONG || late ||
           (entry->cipher != MS_ZIP_PLAIN && entry->method != MS_ZIP_STORE &&
            entry->method != MS_ZIP_DEFLATE);
}

static bool has_ours(const struct ms_zip_directory *directory)
{
    for (size_t i = 0; i < directory->count; i++)
        if (is_ours(&directory->entries[i]))
            return true;
    return false;
}

/* The traditional cipher is several times faster here than in libarchive, and its check byte is
 * compared before anything is opened. That is worth rewriting small members which libarchive could
 * decrypt as well, where everything about them is in order; large ones would be held twice. */
static bool is_faster(const struct ms_zip_directory *directory)
{
    uint64_t bytes = 0;
    bool encrypted = false;
    for (size_t i = 0; i < directory->count; i++) {
        const struct ms_zip_entry *entry = &directory->entries[i];
        bool crypto = entry->cipher == MS_ZIP_CRYPTO;
        if (entry->packed_bytes > FASTER_BYTES - bytes ||
            (entry->cipher != MS_ZIP_PLAIN && (!crypto || entry->why)))
            return false;
        bytes += entry->packed_bytes;
        encrypted |= crypto;
    }
    return encrypted;
}

static bool disagrees(const struct ms_zip_directory *directory)
{
    bool found = directory->overlap;
    for (size_t i = 0; i < directory->count; i++)
        found |= directory->entries[i].disagrees;
    return found;
}

static void zip_close(void *state)
{
    struct zip *self = state;
    if (!self)
        return;
    ms_zip_directory_release(&self->directory);
    free(self->units);
    free(self);
}

static void refuse(struct refused *refused, const char *why)
{
    if (!refused->count++)
        refused->why = why;
}

static void add_unit(struct zip *self, enum unit_kind kind, const struct ms_zip_entry *entry)
{
    self->units[self->unit_count++] = (struct unit){kind, entry};
}

/* What is not encrypted comes first: it needs no password, and may be all there is. */
static bool list_units(struct zip *self)
{
    const struct ms_zip_directory *directory = &self->directory;
    bool plain = false;
    self->units = calloc(directory->count + 3, sizeof *self->units);
    if (!self->units)
        return false;
    for (size_t i = 0; i < directory->count; i++)
        plain |= directory->entries[i].cipher == MS_ZIP_PLAIN;
    if (plain)
        add_unit(self, UNIT_PLAIN, NULL);
    for (size_t i = 0; i < directory->count; i++) {
        const struct ms_zip_entry *entry = &directory->entries[i];
        const char *refusal = ms_zip_method_refusal(entry->method);
        if (entry->cipher == MS_ZIP_PLAIN || is_folder(entry))
            continue;
        if (entry->disagrees)
            refuse(&self->damaged, entry->why);
        else if (entry->why || refusal)
            refuse(&self->unsupported, entry->why ? entry->why : refusal);
        else
            add_unit(self, UNIT_MEMBER, entry);
    }
    if (self->unsupported.count)
        add_unit(self, UNIT_UNSUPPORTED, NULL);
    if (self->damaged.count)
        add_unit(self, UNIT_DAMAGED, NULL);
    return true;
}

/* A file that begins otherwise and ends like a zip file is left to libarchive, which weighs other
 * formats too. */
static bool begins_like_zip(int fd)
{
    uint8_t head[4];
    return ms_decrypt_read(fd, 0, head, sizeof head) &&
           (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "PK00", 4) == 0 ||
            memcmp(head, "PK\7\10", 4) == 0);
}

/* Most zip files that come here are libarchive's: they cost a look at the directory. */
static enum ms_decrypt_answer zip_open(int fd, struct ms_decrypt_keys *keys, void **state,
                                       bool *locked, const char **why)
{
    struct ms_zip_directory directory;
    if (!begins_like_zip(fd))
        return MS_DECRYPT_NOT_ENCRYPTED;
    *why = "no memory for decryption";
    enum ms_status status = ms_zip_directory_read(fd, &directory, NULL);
    if (status == MS_E_NOMEM)
        return MS_DECRYPT_LIMIT_MEMORY;
    /* Without its directory a zip file is read member by member, which libarchive does. */
    if (status != MS_OK)
        return MS_DECRYPT_NOT_ENCRYPTED;
    enum ms_decrypt_answer answer = MS_DECRYPT_NOT_ENCRYPTED;
    struct zip *self = NULL;
    bool ours = has_ours(&directory);
    if (!ours && !is_faster(&directory))
        goto failed;
    status = ms_zip_directory_check(fd, &directory, NULL);
    answer = status == MS_REJECT ? MS_DECRYPT_NOT_ENCRYPTED : MS_DECRYPT_LIMIT_MEMORY;
    if (status != MS_OK)
        goto failed;
    answer = MS_DECRYPT_NOT_ENCRYPTED;
    if (!ours && disagrees(&directory))
        goto failed;
    answer = MS_DECRYPT_CORRUPT;
    *why = "members overlap, as a bomb's do";
    if (directory.overlap)
        goto failed;
    answer = MS_DECRYPT_LIMIT_MEMORY;
    *why = "no memory for decryption";
    self = calloc(1, sizeof *self);
    if (!self)
        goto failed;
    self->fd = fd;
    self->keys = keys;
    self->directory = directory;
    if (!list_units(self)) {
        zip_close(self);
        return answer;
    }
    *locked = false;
    *state = self;
    return MS_DECRYPT_DONE;
failed:
    ms_zip_directory_release(&directory);
    return answer;
}

/* Names and sizes are in the clear: there is nothing to unlock. */
static enum ms_decrypt_answer zip_unlock(void *state, struct ms_span password, const char **why)
{
    (void)state;
    (void)password;
    (void)why;
    return MS_DECRYPT_DONE;
}

static size_t zip_unit_count(const void *state)
{
    const struct zip *self = state;
    return self->unit_count;
}

static bool zip_unit_needs_password(const void *state, size_t unit)
{
    const struct zip *self = state;
    return self->units[unit].kind == UNIT_MEMBER;
}

static bool zip_unit_is_proven(const void *state, size_t unit)
{
    const struct zip *self = state;
    return self->units[unit].kind == UNIT_MEMBER && !self->units[unit].entry->has_crc;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct writer {
    int fd;
    uint64_t at;
    uint64_t max_bytes;
    struct ms_buf headers; /* the directory to come */
    size_t count;
};

static void put16(struct ms_buf *out, uint64_t value)
{
    (void)ms_buf_append_byte(out, (uint8_t)(value & 0xff));
    (void)ms_buf_append_byte(out, (uint8_t)(value >> 8 & 0xff));
}

static void put32(struct ms_buf *out, uint64_t value)
{
    put16(out, value & 0xffff);
    put16(out, value >> 16 & 0xffff);
}

/* Of the extra fields the two that libarchive needs: a size beyond 32 bits (members larger than
 * may be must still be told as such), and the name in UTF-8. */
static void put_extra(struct ms_buf *out, const struct ms_zip_entry *entry, uint64_t packed)
{
    struct ms_span field;
    if (entry->size_bytes >= UINT32_MAX) {
        put16(out, 1);
        put16(out, 16);
        put32(out, entry->size_bytes);
        put32(out, entry->size_bytes >> 32);
        put32(out, packed);
        put32(out, packed >> 32);
    }
    if (ms_zip_extra(entry->extra, EXTRA_UNICODE_PATH, &field)) {
        put16(out, EXTRA_UNICODE_PATH);
        put16(out, field.len);
        (void)ms_buf_append(out, field.data, field.len);
    }
}

/* What both headers have in common: version to length of the extra fields. */
static void put_common(struct ms_buf *out, const struct ms_zip_entry *entry, uint64_t packed,
                       size_t extra_bytes)
{
    bool wide = entry->size_bytes >= UINT32_MAX;
    put16(out, 63);
    put16(out, entry->flags & FLAGS_KEPT);
    put16(out, entry->method);
    put16(out, entry->time);
    put16(out, entry->date);
    put32(out, entry->crc);
    put32(out, wide ? UINT32_MAX : packed);
    put32(out, wide ? UINT32_MAX : entry->size_bytes);
    put16(out, entry->name.len);
    put16(out, extra_bytes);
}

/* Writes the local header of a member with `packed` bytes of data, which go to writer->at. */
static enum ms_decrypt_answer put_member(struct writer *writer, const struct ms_zip_entry *entry,
                                         uint64_t packed, const char **why)
{
    struct ms_buf local, extra;
    uint64_t local_at = writer->at, end;
    enum ms_decrypt_answer answer = MS_DECRYPT_LIMIT_MEMORY;
    ms_buf_init(&local, 256 << 10);
    ms_buf_init(&extra, 128 << 10);
    put_extra(&extra, entry, packed);
    (void)ms_buf_append(&local, "PK\3\4", 4);
    put_common(&local, entry, packed, extra.len);
    (void)ms_buf_append(&local, entry->name.data, entry->name.len);
    (void)ms_buf_append(&local, extra.data, extra.len);
    struct ms_buf *central = &writer->headers;
    (void)ms_buf_append(central, "PK\1\2", 4);
    put16(central, entry->made_by);
    put_common(central, entry, packed, extra.len);
    put16(central, 0); /* comment, disk, internal attributes */
    put32(central, 0);
    put32(central, entry->attributes);
    put32(central, local_at);
    (void)ms_buf_append(central, entry->name.data, entry->name.len);
    (void)ms_buf_append(central, extra.data, extra.len);
    *why = "more bytes than may be held at a time";
    if (!local.failed && !extra.failed && !central->failed &&
        ms_add_u64(local_at, local.len, &end) && ms_add_u64(end, packed, &end) &&
        end <= writer->max_bytes && ms_decrypt_write(writer->fd, local_at, local.data, local.len)) {
        writer->at += local.len;
        writer->count++;
        answer = MS_DECRYPT_DONE;
    }
    ms_buf_release(&local);
    ms_buf_release(&extra);
    return answer;
}

/* The directory and the end record. */
static enum ms_decrypt_answer put_end(struct writer *writer, const char **why)
{
    struct ms_buf *out = &writer->headers;
    size_t directory_bytes = out->len;
    uint64_t directory_at = writer->at, end;
    (void)ms_buf_append(out, "PK\5\6", 4);
    put32(out, 0);
    put16(out, writer->count);
    put16(out, writer->count);
    put32(out, directory_bytes);
    put32(out, directory_at);
    put16(out, 0);
    *why = "more bytes than may be held at a time";
    if (out->failed || !ms_add_u64(directory_at, out->len, &end) || end > writer->max_bytes ||
        !ms_decrypt_write(writer->fd, directory_at, out->data, out->len))
        return MS_DECRYPT_LIMIT_MEMORY;
    writer->at = end;
    return MS_DECRYPT_DONE;
}

/* ---- rewriting ------------------------------------------------------------------------------- */

static enum ms_decrypt_answer rewrite_plain(struct zip *self, struct writer *writer,
                                            const char **why)
{
    enum ms_decrypt_answer answer = MS_DECRYPT_DONE;
    for (size_t i = 0; i < self->directory.count && answer == MS_DECRYPT_DONE; i++) {
        const struct ms_zip_entry *entry = &self->directory.entries[i];
        if (entry->cipher != MS_ZIP_PLAIN)
            continue;
        answer = put_member(writer, entry, entry->packed_bytes, why);
        if (answer == MS_DECRYPT_DONE)
            answer = ms_decrypt_copy(self->fd, entry->data_at, entry->packed_bytes, writer->fd,
                                     writer->at, why);
        if (answer == MS_DECRYPT_DONE)
            writer->at += entry->packed_bytes;
    }
    return answer;
}

/* The bytes of one member through its cipher. */
static enum ms_decrypt_answer decrypt_data(struct zip *self, struct ms_zip_cipher_state *cipher,
                                           uint64_t from, uint64_t n, struct writer *writer,
                                           const char **why)
{
    while (n) {
        size_t part = n < PIECE_BYTES ? (size_t)n : PIECE_BYTES;
        if (!ms_decrypt_read(self->fd, from, self->piece, part)) {
            *why = "cut short";
            return MS_DECRYPT_CORRUPT;
        }
        if (!ms_zip_cipher_apply(cipher, self->piece, part) ||
            !ms_decrypt_write(writer->fd, writer->at, self->piece, part)) {
            *why = "cannot grow a memory file";
            return MS_DECRYPT_LIMIT_MEMORY;
        }
        from += part;
        writer->at += part;
        n -= part;
    }
    return MS_DECRYPT_DONE;
}

static enum ms_decrypt_answer rewrite_crypto(struct zip *self, const struct ms_zip_entry *entry,
                                             struct ms_span password, struct writer *writer,
                                             const char **why)
{
    uint8_t head[MS_ZIP_CRYPTO_HEAD_BYTES];
    struct ms_zip_cipher_state cipher;
    *why = "cut short";
    if (entry->packed_bytes < sizeof head ||
        !ms_decrypt_read(self->fd, entry->data_at, head, sizeof head))
        return MS_DECRYPT_CORRUPT;
    *why = "the check byte is another";
    if (!ms_zip_cipher_init_crypto(&cipher, password, head, entry->check))
        return MS_DECRYPT_WRONG_PASSWORD;
    uint64_t n = entry->packed_bytes - sizeof head;
    enum ms_decrypt_answer answer = put_member(writer, entry, n, why);
    if (answer == MS_DECRYPT_DONE)
        answer = decrypt_data(self, &cipher, entry->data_at + sizeof head, n, writer, why);
    ms_zip_cipher_release(&cipher);
    return answer == MS_DECRYPT_DONE ? MS_DECRYPT_MAYBE : answer;
}

static enum ms_decrypt_answer rewrite_aes(struct zip *self, const struct ms_zip_entry *entry,
                                          struct ms_span password, struct writer *writer,
                                          const char **why)
{
    uint8_t head[MS_ZIP_AES_HEAD_MAX_BYTES], tail[MS_ZIP_AES_TAIL_BYTES];
    struct ms_zip_cipher_state cipher;
    size_t head_bytes = ms_zip_aes_head_bytes(entry->key_bytes);
    *why = "cut short";
    if (entry->packed_bytes < head_bytes + sizeof tail ||
        !ms_decrypt_read(self->fd, entry->data_at, head, head_bytes) ||
        !ms_decrypt_read(self->fd, entry->data_at + entry->packed_bytes - sizeof tail, tail,
                         sizeof tail))
        return MS_DECRYPT_CORRUPT;
    *why = "key derivation would cost more than one blob may";
    if (!ms_decrypt_keys_spend(self->keys, ms_zip_aes_cost_bytes(entry->key_bytes)))
        return MS_DECRYPT_LIMIT_WORK;
    bool fits;
    *why = "no memory for decryption";
    if (!ms_zip_cipher_init_aes(&cipher, password, entry->key_bytes, head, &fits))
        return MS_DECRYPT_LIMIT_MEMORY;
    uint64_t n = entry->packed_bytes - head_bytes - sizeof tail;
    enum ms_decrypt_answer answer = MS_DECRYPT_WRONG_PASSWORD;
    *why = "the password check value is another";
    if (fits)
        answer = put_member(writer, entry, n, why);
    if (answer == MS_DECRYPT_DONE)
        answer = decrypt_data(self, &cipher, entry->data_at + head_bytes, n, writer, why);
    if (answer == MS_DECRYPT_DONE && !ms_zip_cipher_authentic(&cipher, tail)) {
        answer = MS_DECRYPT_DAMAGED;
        *why = "the authentication code is wrong";
    }
    ms_zip_cipher_release(&cipher);
    return answer;
}

static enum ms_decrypt_answer tell(struct refused *refused, enum ms_decrypt_answer answer,
                                   const char **why)
{
    (void)snprintf(refused->text, sizeof refused->text, "%zu encrypted members: %s", refused->count,
                   refused->why);
    *why = refused->text;
    return answer;
}

static enum ms_decrypt_answer rewrite_unit(struct zip *self, const struct unit *unit,
                                           struct ms_span password, struct writer *writer,
                                           const char **why)
{
    switch (unit->kind) {
    case UNIT_PLAIN:
        return rewrite_plain(self, writer, why);
    case UNIT_UNSUPPORTED:
        return tell(&self->unsupported, MS_DECRYPT_UNSUPPORTED, why);
    case UNIT_DAMAGED:
        return tell(&self->damaged, MS_DECRYPT_CORRUPT, why);
    default:
        return unit->entry->cipher == MS_ZIP_AES
                   ? rewrite_aes(self, unit->entry, password, writer, why)
                   : rewrite_crypto(self, unit->entry, password, writer, why);
    }
}

static enum ms_decrypt_answer zip_rewrite(void *state, size_t unit, struct ms_span password,
                                          int out_fd, uint64_t max_bytes, uint64_t *bytes,
                                          const char **why)
{
    struct zip *self = state;
    struct writer writer = {.fd = out_fd,
                            .max_bytes = max_bytes < UINT32_MAX ? max_bytes : UINT32_MAX - 1};
    ms_buf_init(&writer.headers, 2 * MS_LIMIT_ZIP_DIRECTORY_BYTES);
    enum ms_decrypt_answer answer = rewrite_unit(self, &self->units[unit], password, &writer, why);
    if (answer == MS_DECRYPT_DONE || answer == MS_DECRYPT_MAYBE) {
        enum ms_decrypt_answer ended = put_end(&writer, why);
        answer = ended == MS_DECRYPT_DONE ? answer : ended;
    }
    *bytes = writer.at;
    ms_buf_release(&writer.headers);
    return answer;
}

const struct ms_decrypt_format ms_decrypt_zip = {.name = "zip",
                                                 .method_is_data = true,
                                                 .open = zip_open,
                                                 .unlock = zip_unlock,
                                                 .unit_count = zip_unit_count,
                                                 .unit_needs_password = zip_unit_needs_password,
                                                 .unit_is_proven = zip_unit_is_proven,
                                                 .rewrite = zip_rewrite,
                                                 .close = zip_close};
