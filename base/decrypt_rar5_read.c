/* Reading the blocks of RAR 5 archives, encrypted ones too. It writes nothing, and decides nothing
 * about members. */
#include "base/decrypt_rar5.h"
#include "base/hash.h"

#include <string.h>
#include <zlib.h>

const char ms_rar5_damaged_header[] = "damaged RAR 5 header";

/* ---- reading blocks -------------------------------------------------------------------------- */

/* The size that stands behind the CRC: of the header, and of both of them together with it. */
static bool header_size(struct ms_span head, uint64_t *total_bytes, size_t *body_at)
{
    struct ms_span rest = head, crc;
    uint64_t size, total;
    if (!ms_span_take(&rest, 4, &crc) || !ms_span_take_varint(&rest, &size) || !size)
        return false;
    *body_at = head.len - rest.len;
    if (*body_at > 4 + 3 || size > MS_RAR5_HEADER_BYTES_MAX || !ms_add_u64(size, *body_at, &total))
        return false;
    *total_bytes = total;
    return true;
}

/* Brings a header into the buffer, decrypted; *body is type and all behind it, *end where its data
 * begins. False when it is damaged, or the password is wrong. */
static bool read_header(struct ms_rar5 *self, uint64_t at, struct ms_span *body, uint64_t *end)
{
    uint8_t head[16] = {0}, iv[16];
    uint64_t total, stored;
    size_t body_at, known = self->hidden ? sizeof head : 7;
    uint32_t crc;
    if (at > self->bytes || (self->hidden && !ms_decrypt_read(self->fd, at, iv, sizeof iv)))
        return false;
    uint64_t from = at + (self->hidden ? sizeof iv : 0);
    if (!ms_decrypt_read(self->fd, from, head, known) ||
        (self->hidden && !ms_rar_decrypt(self->keys.key, 32, iv, head, sizeof head)) ||
        !header_size(ms_span_of(head, known), &total, &body_at))
        return false;
    stored = self->hidden ? (total + 15) / 16 * 16 : total;
    ms_buf_clear(&self->header);
    if (stored > self->bytes || ms_buf_reserve(&self->header, (size_t)stored) != MS_OK ||
        !ms_decrypt_read(self->fd, from, self->header.data, (size_t)stored) ||
        (self->hidden &&
         !ms_rar_decrypt(self->keys.key, 32, iv, self->header.data, (size_t)stored)))
        return false;
    struct ms_span whole = ms_span_of(self->header.data, (size_t)total);
    *end = from + stored;
    return ms_span_u32le(whole, 0, &crc) &&
           crc == (uint32_t)crc32(0, whole.data + 4, (uInt)(whole.len - 4)) &&
           ms_span_sub(whole, body_at, total - body_at, body);
}

bool ms_rar5_read_block(struct ms_rar5 *self, uint64_t at, struct ms_rar5_block *out)
{
    struct ms_span body;
    uint64_t extra = 0;
    out->data_bytes = 0;
    if (!read_header(self, at, &body, &out->data_at) || !ms_span_take_varint(&body, &out->kind) ||
        !ms_span_take_varint(&body, &out->flags) ||
        ((out->flags & MS_RAR5_HAS_EXTRA) && !ms_span_take_varint(&body, &extra)) ||
        ((out->flags & MS_RAR5_HAS_DATA) && !ms_span_take_varint(&body, &out->data_bytes)) ||
        extra > body.len)
        return false;
    return ms_span_sub(body, 0, body.len - extra, &out->fields) &&
           ms_span_sub(body, body.len - extra, extra, &out->extra) &&
           ms_add_u64(out->data_at, out->data_bytes, &out->next) && out->next <= INT64_MAX;
}

/* A check value with a wrong checksum of its own says nothing, and is left out. */
static bool read_check(struct ms_span *from, struct ms_rar5_cipher *out)
{
    struct ms_span value, sum;
    uint8_t digest[MS_SHA256_BYTES];
    if (!ms_span_take(from, MS_RAR5_CHECK_BYTES, &value) || !ms_span_take(from, 4, &sum))
        return false;
    memcpy(out->check, value.data, value.len);
    out->has_check = ms_hash_sha256(out->check, sizeof out->check, digest) == MS_OK &&
                     memcmp(digest, sum.data, sum.len) == 0;
    return true;
}

enum ms_decrypt_answer ms_rar5_read_cipher(struct ms_span from, bool with_iv,
                                           struct ms_rar5_cipher *out, const char **why)
{
    uint64_t version, flags;
    struct ms_span salt, iv;
    memset(out, 0, sizeof *out);
    *why = ms_rar5_damaged_header;
    if (!ms_span_take_varint(&from, &version) || !ms_span_take_varint(&from, &flags))
        return MS_DECRYPT_CORRUPT;
    if (version != 0) {
        *why = "RAR 5 encryption of an unknown version";
        return MS_DECRYPT_UNSUPPORTED;
    }
    if (!ms_span_take_u8(&from, &out->rounds_log) ||
        !ms_span_take(&from, MS_RAR5_SALT_BYTES, &salt))
        return MS_DECRYPT_CORRUPT;
    memcpy(out->salt, salt.data, salt.len);
    if (with_iv) {
        if (!ms_span_take(&from, sizeof out->iv, &iv))
            return MS_DECRYPT_CORRUPT;
        memcpy(out->iv, iv.data, iv.len);
    }
    out->tweaked = with_iv && (flags & MS_RAR5_CRYPT_TWEAKED);
    return !(flags & MS_RAR5_CRYPT_CHECK) || read_check(&from, out) ? MS_DECRYPT_DONE
                                                                    : MS_DECRYPT_CORRUPT;
}

bool ms_rar5_next_record(struct ms_span *records, uint64_t *kind, struct ms_span *whole,
                         struct ms_span *body)
{
    struct ms_span from = *records;
    uint64_t n;
    if (!ms_span_take_varint(records, &n) || !ms_span_take(records, n, body) ||
        !ms_span_take_varint(body, kind))
        return false;
    return ms_span_sub(from, 0, from.len - records->len, whole);
}

enum ms_decrypt_answer ms_rar5_read_file(const struct ms_rar5_block *block,
                                         struct ms_rar5_file *out, const char **why)
{
    struct ms_span at = block->fields, skipped, records = block->extra, whole, body;
    uint64_t kind, ignored;
    memset(out, 0, sizeof *out);
    *why = ms_rar5_damaged_header;
    if (!ms_span_take_varint(&at, &out->flags))
        return MS_DECRYPT_CORRUPT;
    struct ms_span start = at;
    if (!ms_span_take_varint(&at, &out->unpacked_bytes) || !ms_span_take_varint(&at, &ignored) ||
        ((out->flags & MS_RAR5_HAS_TIME) && !ms_span_take(&at, 4, &skipped)) ||
        !ms_span_sub(start, 0, start.len - at.len, &out->sizes) ||
        ((out->flags & MS_RAR5_HAS_CRC) && !ms_span_take_u32le(&at, &out->crc)))
        return MS_DECRYPT_CORRUPT;
    if (!ms_span_take_varint(&at, &out->compression))
        return MS_DECRYPT_CORRUPT;
    out->rest = at;
    while (records.len) {
        if (!ms_rar5_next_record(&records, &kind, &whole, &body))
            return MS_DECRYPT_CORRUPT;
        out->link |= kind == MS_RAR5_RECORD_LINK;
        if (kind != MS_RAR5_RECORD_CRYPT || out->encrypted)
            continue;
        out->encrypted = true;
        enum ms_decrypt_answer answer = ms_rar5_read_cipher(body, true, &out->cipher, why);
        if (answer != MS_DECRYPT_DONE)
            return answer;
    }
    return MS_DECRYPT_DONE;
}
