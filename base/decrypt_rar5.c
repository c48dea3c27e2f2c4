/* Encrypted RAR 5 archives, rewritten as plain ones. It decodes nothing: compressed data is only
 * walked block by block, to cut the padding that encryption left behind it. */
#define _GNU_SOURCE
#include "base/decrypt_rar5.h"
#include "base/buf.h"
#include "base/limits.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { PADDED_VINT_BYTES = 6, BLOCK_LAST = 0x40 };

static const uint8_t signature[8] = {'R', 'a', 'r', '!', 0x1a, 7, 1, 0};
static const char wrong_password[] = "wrong password";
static const char wrong_checksum[] = "RAR 5 member with a wrong checksum";

static unsigned method_of(const struct ms_rar5_file *file)
{
    return (unsigned)(file->compression >> 7) & 7;
}

/* ---- what is in the archive ------------------------------------------------------------------ */

static bool grow(void **array, size_t count, size_t *cap, size_t each)
{
    if (count < *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 16;
    void *grown = realloc(*array, more * each);
    if (!grown)
        return false;
    *array = grown;
    *cap = more;
    return true;
}

static struct ms_rar5_unit *add_unit(struct ms_rar5 *self, enum ms_decrypt_answer answer,
                                     const char *why)
{
    void *units = self->units;
    if (!grow(&units, self->unit_count, &self->unit_cap, sizeof *self->units))
        return NULL;
    self->units = units;
    struct ms_rar5_unit *unit = &self->units[self->unit_count++];
    *unit = (struct ms_rar5_unit){
        .first = self->member_count, .last = self->member_count, .answer = answer, .why = why};
    return unit;
}

/* A member into a unit, or into a new one when unit is SIZE_MAX; *unit is where it went. */
static bool add_member(struct ms_rar5 *self, uint64_t at, bool encrypted, size_t *unit)
{
    void *members = self->members;
    if (!grow(&members, self->member_count, &self->member_cap, sizeof *self->members))
        return false;
    self->members = members;
    if (*unit == SIZE_MAX) {
        *unit = self->unit_count;
        if (!add_unit(self, MS_DECRYPT_DONE, ""))
            return false;
    }
    self->units[*unit].last = self->member_count;
    self->units[*unit].encrypted |= encrypted;
    self->members[self->member_count++] = (struct ms_rar5_member){.at = at, .unit = *unit};
    return true;
}

/* Where the listing is: the unit of all plain members, and that of the solid run. SIZE_MAX: none.
 */
struct listing {
    size_t plain, run;
    size_t split, orphans, wrong;
    const char *unsupported;
};

/* libarchive 3.6.2 verifies no stored member's checksum. That of an encrypted one has to wait until
 * it is written. */
static bool has_wrong_crc(const struct ms_rar5 *self, const struct ms_rar5_block *block,
                          const struct ms_rar5_file *file)
{
    uint32_t crc;
    return !file->encrypted && method_of(file) == 0 && (file->flags & MS_RAR5_HAS_CRC) &&
           ms_decrypt_crc32(self->fd, block->data_at, block->data_bytes, &crc) && crc != file->crc;
}

/* Puts a file's block into a unit. False without memory. */
static bool list_file(struct ms_rar5 *self, uint64_t at, const struct ms_rar5_block *block,
                      struct listing *listing, enum ms_decrypt_answer *answer, const char **why)
{
    struct ms_rar5_file file;
    size_t unit = SIZE_MAX;
    *answer = ms_rar5_read_file(block, &file, why);
    if (*answer == MS_DECRYPT_UNSUPPORTED) {
        listing->unsupported = *why;
        *answer = MS_DECRYPT_DONE;
        listing->run = SIZE_MAX;
        return true;
    }
    /* What is empty opens under every password, and holds nothing. */
    if (*answer != MS_DECRYPT_DONE || (file.flags & MS_RAR5_IS_FOLDER) || file.link ||
        !block->data_bytes)
        return true;
    bool solid = (self->archive_flags & MS_RAR5_ARCHIVE_SOLID) && method_of(&file) != 0;
    bool split = block->flags & (MS_RAR5_SPLIT_BEFORE | MS_RAR5_SPLIT_AFTER);
    if (split) {
        listing->split++;
        if (solid)
            listing->run = SIZE_MAX;
        return true;
    }
    if (has_wrong_crc(self, block, &file)) {
        listing->wrong++;
        return true;
    }
    if (!solid) {
        size_t *to = file.encrypted ? &unit : &listing->plain;
        return add_member(self, at, file.encrypted, to);
    }
    if (!(file.compression & MS_RAR5_COMPRESSION_SOLID))
        listing->run = SIZE_MAX;
    else if (listing->run == SIZE_MAX) {
        listing->orphans++;
        return true;
    }
    return add_member(self, at, file.encrypted, &listing->run);
}

/* A unit for each thing that no password will bring. */
static bool list_rest(struct ms_rar5 *self, const struct listing *listing,
                      enum ms_decrypt_answer answer, const char *why)
{
    bool good = true;
    if (listing->split)
        good = good && add_unit(self, MS_DECRYPT_INCOMPLETE, "one volume of several");
    if (listing->orphans)
        good = good && add_unit(self, MS_DECRYPT_UNSUPPORTED,
                                "solid RAR 5: what is needed first is not here");
    if (listing->wrong)
        good = good && add_unit(self, MS_DECRYPT_CORRUPT, wrong_checksum);
    if (listing->unsupported)
        good = good && add_unit(self, MS_DECRYPT_UNSUPPORTED, listing->unsupported);
    if (answer != MS_DECRYPT_DONE)
        good = good && add_unit(self, answer, why);
    return good;
}

/* Lists every block up to the end, or to the first damaged one, which becomes a unit. */
static bool list_blocks(struct ms_rar5 *self)
{
    struct listing listing = {.plain = SIZE_MAX, .run = SIZE_MAX};
    struct ms_rar5_block block;
    enum ms_decrypt_answer answer = MS_DECRYPT_DONE;
    const char *why = "";
    uint64_t at = self->first_at;
    for (size_t blocks = 0; at < self->bytes && answer == MS_DECRYPT_DONE; blocks++) {
        if (blocks > 2 * MS_LIMIT_UNPACK_ENTRIES_MOST) {
            answer = MS_DECRYPT_LIMIT_MEMORY;
            why = "more RAR 5 blocks than one blob may have";
        } else if (!ms_rar5_read_block(self, at, &block)) {
            answer = MS_DECRYPT_CORRUPT;
            why = ms_rar5_damaged_header;
        } else if (block.kind == MS_RAR5_END) {
            break;
        } else if (block.kind == MS_RAR5_MAIN) {
            /* Only the first counts: members are listed by its flags. */
            uint64_t flags;
            why = ms_rar5_damaged_header;
            if (!ms_span_take_varint(&block.fields, &flags))
                answer = MS_DECRYPT_CORRUPT;
            else if (!self->has_main)
                self->archive_flags = flags;
            self->has_main = true;
        } else if (block.kind == MS_RAR5_FILE_BLOCK) {
            if (!list_file(self, at, &block, &listing, &answer, &why))
                return false;
        }
        at = block.next;
    }
    return list_rest(self, &listing, answer, why);
}

/* ---- the format's functions ------------------------------------------------------------------ */

static void close_rar5(void *state)
{
    struct ms_rar5 *self = state;
    ms_buf_release(&self->header);
    free(self->members);
    free(self->units);
    if (self->expected)
        OPENSSL_cleanse(self->expected, self->expected_cap * sizeof *self->expected);
    free(self->expected);
    OPENSSL_cleanse(self, sizeof *self);
    free(self);
}

/* Is there anything that libarchive cannot do as well? */
static bool is_ours(const struct ms_rar5 *self)
{
    if (self->archive_flags & MS_RAR5_ARCHIVE_VOLUME)
        return true;
    for (size_t i = 0; i < self->unit_count; i++)
        if (self->units[i].encrypted || self->units[i].answer == MS_DECRYPT_UNSUPPORTED ||
            self->units[i].why == wrong_checksum)
            return true;
    return false;
}

static enum ms_decrypt_answer look(struct ms_rar5 *self, const char **why)
{
    struct ms_rar5_block block;
    if (!ms_rar5_read_block(self, sizeof signature, &block))
        return MS_DECRYPT_NOT_ENCRYPTED;
    self->first_at = sizeof signature;
    if (block.kind == MS_RAR5_CRYPT) {
        enum ms_decrypt_answer answer =
            ms_rar5_read_cipher(block.fields, false, &self->cipher, why);
        self->first_at = block.next;
        self->hidden = true;
        if (answer == MS_DECRYPT_DONE && self->cipher.rounds_log > MS_LIMIT_DECRYPT_KDF_POWER) {
            *why = "key derivation would take too long";
            return MS_DECRYPT_LIMIT_WORK;
        }
        return answer;
    }
    if (!list_blocks(self)) {
        *why = "no memory for the list of members";
        return MS_DECRYPT_LIMIT_MEMORY;
    }
    return is_ours(self) ? MS_DECRYPT_DONE : MS_DECRYPT_NOT_ENCRYPTED;
}

static enum ms_decrypt_answer open_rar5(int fd, struct ms_decrypt_keys *keys, void **state,
                                        bool *locked, const char **why)
{
    uint8_t head[sizeof signature];
    struct stat st;
    if (!ms_decrypt_read(fd, 0, head, sizeof head) || memcmp(head, signature, sizeof head) != 0 ||
        fstat(fd, &st) != 0)
        return MS_DECRYPT_NOT_ENCRYPTED;
    struct ms_rar5 *self = calloc(1, sizeof *self);
    *why = "no memory for the list of members";
    if (!self)
        return MS_DECRYPT_LIMIT_MEMORY;
    self->fd = fd;
    self->cache = keys;
    self->bytes = (uint64_t)st.st_size;
    ms_buf_init(&self->header, MS_RAR5_HEADER_BYTES_MAX + MS_RAR5_HEADER_ROOM);
    enum ms_decrypt_answer answer = look(self, why);
    *locked = self->hidden;
    if (answer == MS_DECRYPT_DONE)
        *state = self;
    else
        close_rar5(self);
    return answer;
}

static enum ms_decrypt_answer unlock_rar5(void *state, struct ms_span password, const char **why)
{
    struct ms_rar5 *self = state;
    const struct ms_rar5_cipher *cipher = &self->cipher;
    struct ms_rar5_block block;
    if (!self->hidden || self->unit_count)
        return MS_DECRYPT_DONE;
    enum ms_decrypt_answer answer =
        ms_rar5_derive(self->cache, password, cipher->salt, cipher->rounds_log, &self->keys, why);
    if (answer != MS_DECRYPT_DONE)
        return answer;
    *why = wrong_password;
    if (cipher->has_check && memcmp(cipher->check, self->keys.check, sizeof cipher->check) != 0)
        return MS_DECRYPT_WRONG_PASSWORD;
    if (!ms_rar5_read_block(self, self->first_at, &block)) {
        *why = cipher->has_check ? ms_rar5_damaged_header : *why;
        return cipher->has_check ? MS_DECRYPT_CORRUPT : MS_DECRYPT_WRONG_PASSWORD;
    }
    *why = "no memory for the list of members";
    return list_blocks(self) ? MS_DECRYPT_DONE : MS_DECRYPT_LIMIT_MEMORY;
}

static size_t unit_count(const void *state)
{
    return ((const struct ms_rar5 *)state)->unit_count;
}

static bool unit_needs_password(const void *state, size_t unit)
{
    return ((const struct ms_rar5 *)state)->units[unit].encrypted;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct target {
    int fd;
    uint64_t at, max_bytes;
    bool maybe; /* a member was written that had no check value */
};

bool ms_rar5_make_header(uint64_t kind, uint64_t data_bytes, bool has_data, struct ms_span fields,
                         struct ms_span extra, struct ms_buf *out)
{
    struct ms_buf body;
    ms_buf_init(&body, MS_RAR5_HEADER_BYTES_MAX + MS_RAR5_HEADER_ROOM);
    (void)ms_buf_append_varint(&body, kind);
    (void)ms_buf_append_varint(&body, (extra.len ? MS_RAR5_HAS_EXTRA : 0u) |
                                          (has_data ? MS_RAR5_HAS_DATA : 0u));
    if (extra.len)
        (void)ms_buf_append_varint(&body, extra.len);
    for (unsigned i = 0; has_data && i < PADDED_VINT_BYTES; i++)
        (void)ms_buf_append_byte(&body, (uint8_t)((data_bytes >> (7 * i) & 0x7f) |
                                                  (i + 1 < PADDED_VINT_BYTES ? 0x80 : 0)));
    (void)ms_buf_append(&body, fields.data, fields.len);
    (void)ms_buf_append(&body, extra.data, extra.len);
    size_t start = out->len;
    static const uint8_t room[4] = {0};
    (void)ms_buf_append(out, room, sizeof room);
    (void)ms_buf_append_varint(out, body.len);
    (void)ms_buf_append(out, body.data, body.len);
    bool good = !body.failed && !out->failed;
    if (good) {
        uint32_t crc = (uint32_t)crc32(0, out->data + start + 4, (uInt)(out->len - start - 4));
        for (unsigned i = 0; i < 4; i++)
            out->data[start + i] = (uint8_t)(crc >> (8 * i));
    }
    ms_buf_release(&body);
    return good;
}

static bool put(struct target *to, uint64_t at, const struct ms_buf *bytes)
{
    return at <= to->max_bytes && bytes->len <= to->max_bytes - at &&
           ms_decrypt_write(to->fd, at, bytes->data, bytes->len);
}

/* The member's header as it will be, with the true checksum or none. */
static bool plain_header(const struct ms_rar5_block *block, const struct ms_rar5_file *file,
                         const uint32_t *crc, uint64_t data_bytes, struct ms_buf *out)
{
    struct ms_buf fields, extra;
    struct ms_span records = block->extra, whole, body;
    uint64_t kind;
    ms_buf_init(&fields, MS_RAR5_HEADER_BYTES_MAX);
    ms_buf_init(&extra, MS_RAR5_HEADER_BYTES_MAX);
    (void)ms_buf_append_varint(&fields, (file->flags & ~(uint64_t)MS_RAR5_HAS_CRC) |
                                            (crc ? MS_RAR5_HAS_CRC : 0u));
    (void)ms_buf_append(&fields, file->sizes.data, file->sizes.len);
    for (unsigned i = 0; crc && i < 4; i++)
        (void)ms_buf_append_byte(&fields, (uint8_t)(*crc >> (8 * i)));
    /* A stored member needs none before it, whatever its flag says, and may come first here. */
    (void)ms_buf_append_varint(&fields, method_of(file) ? file->compression
                                                        : file->compression &
                                                              ~(uint64_t)MS_RAR5_COMPRESSION_SOLID);
    (void)ms_buf_append(&fields, file->rest.data, file->rest.len);
    while (records.len && ms_rar5_next_record(&records, &kind, &whole, &body))
        if (kind != MS_RAR5_RECORD_CRYPT && !(kind == MS_RAR5_RECORD_HASH && file->cipher.tweaked))
            (void)ms_buf_append(&extra, whole.data, whole.len);
    bool good = !fields.failed && !extra.failed &&
                ms_rar5_make_header(MS_RAR5_FILE_BLOCK, data_bytes, true,
                                    ms_span_of(fields.data, fields.len),
                                    ms_span_of(extra.data, extra.len), out);
    ms_buf_release(&fields);
    ms_buf_release(&extra);
    return good;
}

/* Where the last block of compressed data ends; false when the blocks make no sense. A block is a
 * byte of flags, a check byte, its size in 1 to 3 bytes, and so many bytes. */
static bool walk_blocks(int fd, uint64_t at, uint64_t n, uint64_t *used)
{
    for (uint64_t position = 0; n - position >= 3;) {
        uint8_t head[5] = {0};
        uint64_t left = n - position;
        if (!ms_decrypt_read(fd, at + position, head, left < 5 ? (size_t)left : 5))
            return false;
        unsigned width = (head[0] >> 3 & 3u) + 1;
        uint8_t check = (uint8_t)(0x5a ^ head[0] ^ head[2]);
        uint64_t size = head[2];
        for (unsigned i = 1; i < width && i < 3; i++) {
            check = (uint8_t)(check ^ head[2 + i]);
            size |= (uint64_t)head[2 + i] << (8 * i);
        }
        if (width > 3 || check != head[1] || 2 + width + size > left)
            return false;
        position += 2 + width + size;
        *used = position;
        if (head[0] & BLOCK_LAST)
            return true;
    }
    return false;
}

/* Decrypts a member's data to the place behind its header; *bytes is what is left without the
 * padding. */
static enum ms_decrypt_answer write_data(struct ms_rar5 *self, const struct ms_rar5_block *block,
                                         const struct ms_rar5_file *file,
                                         const struct ms_rar5_keys *keys, struct target *to,
                                         uint64_t at, uint64_t *bytes, const char **why)
{
    uint64_t packed = block->data_bytes;
    *why = "more bytes than may be held at a time";
    if (at > to->max_bytes || packed > to->max_bytes - at)
        return MS_DECRYPT_LIMIT_MEMORY;
    *bytes = packed;
    if (!file->encrypted)
        return ms_decrypt_copy(self->fd, block->data_at, packed, to->fd, at, why);
    bool stored = method_of(file) == 0;
    *why = "stored RAR 5 member of the wrong size";
    if (stored && ((file->flags & MS_RAR5_SIZE_UNKNOWN) || file->unpacked_bytes > packed ||
                   packed - file->unpacked_bytes >= 16))
        return MS_DECRYPT_CORRUPT;
    if (stored)
        *bytes = file->unpacked_bytes;
    enum ms_decrypt_answer answer =
        ms_decrypt_cbc(self->fd, block->data_at, packed, keys->key, sizeof keys->key,
                       file->cipher.iv, to->fd, at, *bytes, why);
    if (answer != MS_DECRYPT_DONE || stored)
        return answer;
    *why = file->cipher.has_check ? "damaged compressed data" : wrong_password;
    if (!walk_blocks(to->fd, at, packed, bytes))
        return file->cipher.has_check ? MS_DECRYPT_CORRUPT : MS_DECRYPT_WRONG_PASSWORD;
    return MS_DECRYPT_DONE;
}

/* A stored member's checksum is verified here, since libarchive does not, and the true one stands
 * in the header that is written. A tweaked one of a compressed member says nothing to libarchive:
 * the header goes without, and verify_rar5 is asked when the bytes are known. */
static enum ms_decrypt_answer true_crc(struct ms_rar5 *self, const struct ms_rar5_file *file,
                                       const struct ms_rar5_keys *keys, const struct target *to,
                                       uint64_t at, uint64_t bytes, uint32_t *crc, const char **why)
{
    struct ms_rar5_expected *expected = &self->expected[self->expected_count - 1];
    uint32_t said;
    *crc = file->crc;
    if (!file->encrypted || !(file->flags & MS_RAR5_HAS_CRC))
        return MS_DECRYPT_DONE;
    if (method_of(file) != 0) {
        expected->tweaked = file->cipher.tweaked;
        expected->crc = file->crc;
        expected->keys = *keys;
        return MS_DECRYPT_DONE;
    }
    *why = "cannot compute a checksum";
    if (!ms_decrypt_crc32(to->fd, at, bytes, crc))
        return MS_DECRYPT_LIMIT_MEMORY;
    said = *crc;
    if (file->cipher.tweaked && !ms_rar5_tweak(keys, *crc, &said))
        return MS_DECRYPT_LIMIT_MEMORY;
    *why = file->cipher.has_check ? wrong_checksum : wrong_password;
    if (said != file->crc)
        return file->cipher.has_check ? MS_DECRYPT_CORRUPT : MS_DECRYPT_WRONG_PASSWORD;
    return MS_DECRYPT_DONE;
}

/* Would anything tell a wrong password from a right one? */
static bool can_judge(const struct ms_rar5_file *file)
{
    return file->cipher.has_check || (file->flags & MS_RAR5_HAS_CRC);
}

static enum ms_decrypt_answer unlock_file(struct ms_rar5 *self, const struct ms_rar5_file *file,
                                          struct ms_span password, struct ms_rar5_keys *keys,
                                          const char **why)
{
    const struct ms_rar5_cipher *cipher = &file->cipher;
    enum ms_decrypt_answer answer =
        ms_rar5_derive(self->cache, password, cipher->salt, cipher->rounds_log, keys, why);
    if (answer != MS_DECRYPT_DONE || !cipher->has_check ||
        memcmp(cipher->check, keys->check, sizeof cipher->check) == 0)
        return answer;
    *why = wrong_password;
    return MS_DECRYPT_WRONG_PASSWORD;
}

/* Header and data of a member that was unlocked. The header's length is known before its values
 * are: whether there is a checksum does not depend on them. */
static enum ms_decrypt_answer write_plain(struct ms_rar5 *self, const struct ms_rar5_block *block,
                                          const struct ms_rar5_file *file,
                                          const struct ms_rar5_keys *keys, struct target *to,
                                          const char **why)
{
    struct ms_buf header;
    uint64_t bytes, at;
    uint32_t crc = 0;
    bool drop = file->encrypted && file->cipher.tweaked && method_of(file) != 0;
    const uint32_t *known = (file->flags & MS_RAR5_HAS_CRC) && !drop ? &crc : NULL;
    enum ms_decrypt_answer answer = MS_DECRYPT_LIMIT_MEMORY;
    *why = "no memory for a header";
    ms_buf_init(&header, MS_RAR5_HEADER_BYTES_MAX + MS_RAR5_HEADER_ROOM);
    if (!plain_header(block, file, known, 0, &header))
        goto out;
    at = to->at + header.len;
    answer = write_data(self, block, file, keys, to, at, &bytes, why);
    if (answer == MS_DECRYPT_DONE)
        answer = true_crc(self, file, keys, to, at, bytes, &crc, why);
    if (answer != MS_DECRYPT_DONE)
        goto out;
    ms_buf_clear(&header);
    *why = "cannot grow a memory file";
    answer = MS_DECRYPT_LIMIT_MEMORY;
    if (!plain_header(block, file, known, bytes, &header) || !put(to, to->at, &header))
        goto out;
    to->at = at + bytes;
    answer = MS_DECRYPT_DONE;
out:
    ms_buf_release(&header);
    return answer;
}

static enum ms_decrypt_answer write_member(struct ms_rar5 *self, uint64_t from,
                                           struct ms_span password, struct target *to,
                                           const char **why)
{
    struct ms_rar5_block block;
    struct ms_rar5_file file;
    struct ms_rar5_keys keys;
    void *expected = self->expected;
    *why = ms_rar5_damaged_header;
    if (!ms_rar5_read_block(self, from, &block))
        return MS_DECRYPT_CORRUPT;
    enum ms_decrypt_answer answer = ms_rar5_read_file(&block, &file, why);
    if (answer == MS_DECRYPT_DONE && file.encrypted && !can_judge(&file)) {
        *why = "RAR 5 member with neither a password check nor a checksum";
        answer = MS_DECRYPT_UNSUPPORTED;
    }
    if (answer == MS_DECRYPT_DONE && file.encrypted)
        answer = unlock_file(self, &file, password, &keys, why);
    if (answer != MS_DECRYPT_DONE)
        return answer;
    *why = "no memory for the list of members";
    if (!grow(&expected, self->expected_count, &self->expected_cap, sizeof *self->expected))
        return MS_DECRYPT_LIMIT_MEMORY;
    self->expected = expected;
    self->expected[self->expected_count++] = (struct ms_rar5_expected){.tweaked = false};
    to->maybe |= file.encrypted && !file.cipher.has_check && method_of(&file) != 0;
    answer = write_plain(self, &block, &file, &keys, to, why);
    OPENSSL_cleanse(&keys, sizeof keys);
    return answer;
}

static bool write_frame(struct target *to, const uint8_t *flags, bool end)
{
    struct ms_buf bytes;
    ms_buf_init(&bytes, MS_RAR5_HEADER_ROOM);
    if (!end)
        (void)ms_buf_append(&bytes, signature, sizeof signature);
    bool good = ms_rar5_make_header(end ? MS_RAR5_END : MS_RAR5_MAIN, 0, false,
                                    ms_span_of(flags, 1), ms_span_of("", 0), &bytes) &&
                put(to, to->at, &bytes);
    to->at += good ? bytes.len : 0;
    ms_buf_release(&bytes);
    return good;
}

static enum ms_decrypt_answer rewrite_rar5(void *state, size_t index, struct ms_span password,
                                           int out_fd, uint64_t max_bytes, uint64_t *bytes,
                                           const char **why)
{
    struct ms_rar5 *self = state;
    const struct ms_rar5_unit *unit = &self->units[index];
    const uint8_t flags = (uint8_t)(self->archive_flags & MS_RAR5_ARCHIVE_SOLID);
    const uint8_t none = 0;
    struct target to = {.fd = out_fd, .max_bytes = max_bytes};
    *bytes = 0;
    self->expected_count = 0;
    *why = unit->why;
    if (unit->answer != MS_DECRYPT_DONE)
        return unit->answer;
    *why = "cannot grow a memory file";
    if (!write_frame(&to, &flags, false))
        return MS_DECRYPT_LIMIT_MEMORY;
    enum ms_decrypt_answer answer = MS_DECRYPT_DONE;
    for (size_t i = unit->first; i <= unit->last && answer == MS_DECRYPT_DONE; i++)
        if (self->members[i].unit == index)
            answer = write_member(self, self->members[i].at, password, &to, why);
    /* The padding of the last member may reach beyond the end. */
    if (answer == MS_DECRYPT_DONE &&
        (!write_frame(&to, &none, true) || ftruncate(out_fd, (off_t)to.at) != 0)) {
        *why = "cannot grow a memory file";
        answer = MS_DECRYPT_LIMIT_MEMORY;
    }
    *bytes = to.at;
    if (answer != MS_DECRYPT_DONE)
        return answer;
    return to.maybe ? MS_DECRYPT_MAYBE : MS_DECRYPT_DONE;
}

static bool verify_rar5(const void *state, size_t member, uint32_t crc)
{
    const struct ms_rar5 *self = state;
    uint32_t said;
    if (member >= self->expected_count || !self->expected[member].tweaked)
        return true;
    return ms_rar5_tweak(&self->expected[member].keys, crc, &said) &&
           said == self->expected[member].crc;
}

const struct ms_decrypt_format ms_decrypt_rar5 = {
    .name = "RAR 5",
    .method_is_data = true,
    .open = open_rar5,
    .unlock = unlock_rar5,
    .unit_count = unit_count,
    .unit_needs_password = unit_needs_password,
    .rewrite = rewrite_rar5,
    .verify = verify_rar5,
    .close = close_rar5,
};
