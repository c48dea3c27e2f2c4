/* Reading the blocks of RAR 3 and RAR 4 archives, encrypted ones too. It writes nothing, and
 * decides nothing about members. */
#include "base/decrypt_rar4.h"

#include <openssl/crypto.h>
#include <string.h>
#include <zlib.h>

const char ms_rar4_damaged_header[] = "damaged RAR 4 header";

/* ---- reading blocks -------------------------------------------------------------------------- */

static uint16_t u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint64_t u32(const uint8_t *at)
{
    return (uint64_t)u16(at) | (uint64_t)u16(at + 2) << 16;
}

static bool header_keys(struct ms_rar4_reader *self, uint64_t at, struct ms_rar4_keys *keys,
                        enum ms_decrypt_answer *answer, const char **why)
{
    uint8_t salt[MS_RAR4_SALT_BYTES];
    *answer = MS_DECRYPT_CORRUPT;
    *why = ms_rar4_damaged_header;
    if (!ms_decrypt_read(self->fd, at, salt, sizeof salt))
        return false;
    *answer = ms_rar4_derive(self->cache, ms_span_of(self->password, self->password_bytes),
                             ms_span_of(salt, sizeof salt), keys, why);
    return *answer == MS_DECRYPT_DONE;
}

/* Brings a header into the buffer, decrypted. */
static enum ms_decrypt_answer read_header(struct ms_rar4_reader *self, uint64_t at, bool hidden,
                                          struct ms_rar4_block *out, const char **why)
{
    uint8_t head[16] = {0};
    struct ms_rar4_keys keys = {{0}, {0}};
    enum ms_decrypt_answer answer = MS_DECRYPT_CORRUPT;
    if (hidden && !header_keys(self, at, &keys, &answer, why))
        return answer;
    answer = MS_DECRYPT_CORRUPT;
    *why = ms_rar4_damaged_header;
    uint64_t from = at + (hidden ? MS_RAR4_SALT_BYTES : 0);
    if (!ms_decrypt_read(self->fd, from, head, hidden ? sizeof head : MS_RAR4_HEAD_BYTES) ||
        (hidden && !ms_rar_decrypt(keys.key, sizeof keys.key, keys.iv, head, sizeof head)))
        goto out;
    size_t size = u16(head + 5), stored = hidden ? (size + 15) / 16 * 16 : size;
    ms_buf_clear(&self->header);
    if (size < MS_RAR4_HEAD_BYTES || ms_buf_reserve(&self->header, stored) != MS_OK ||
        !ms_decrypt_read(self->fd, from, self->header.data, stored) ||
        (hidden && !ms_rar_decrypt(keys.key, sizeof keys.key, keys.iv, self->header.data, stored)))
        goto out;
    out->whole = ms_span_of(self->header.data, size);
    out->kind = self->header.data[2];
    out->flags = u16(self->header.data + 3);
    out->data_at = from + stored;
    uint16_t crc = (uint16_t)crc32(0, self->header.data + 2, (uInt)(size - 2));
    /* RAR 2's blocks, never hidden, have a CRC over some of their header only. */
    if (crc == u16(head) ||
        (!hidden && out->kind >= MS_RAR4_OLD_FIRST && out->kind <= MS_RAR4_OLD_LAST))
        answer = MS_DECRYPT_DONE;
out:
    OPENSSL_cleanse(&keys, sizeof keys);
    return answer;
}

enum ms_decrypt_answer ms_rar4_read_block(struct ms_rar4_reader *self, uint64_t at, bool hidden,
                                          struct ms_rar4_block *out, const char **why)
{
    enum ms_decrypt_answer answer = read_header(self, at, hidden, out, why);
    if (answer != MS_DECRYPT_DONE)
        return answer;
    bool file = out->kind == MS_RAR4_FILE_BLOCK || out->kind == MS_RAR4_SERVICE;
    const uint8_t *bytes = out->whole.data;
    out->data_bytes = 0;
    *why = ms_rar4_damaged_header;
    if ((out->flags & MS_RAR4_HAS_DATA) || file) {
        if (out->whole.len < MS_RAR4_HEAD_BYTES + 4)
            return MS_DECRYPT_CORRUPT;
        out->data_bytes = u32(bytes + MS_RAR4_HEAD_BYTES);
    }
    if (file && (out->flags & MS_RAR4_FILE_LARGE)) {
        if (out->whole.len < MS_RAR4_NAME_AT + MS_RAR4_LARGE_BYTES)
            return MS_DECRYPT_CORRUPT;
        out->data_bytes |= u32(bytes + MS_RAR4_NAME_AT) << 32;
    }
    return ms_add_u64(out->data_at, out->data_bytes, &out->next) && out->next <= INT64_MAX
               ? MS_DECRYPT_DONE
               : MS_DECRYPT_CORRUPT;
}

bool ms_rar4_read_file(const struct ms_rar4_block *block, struct ms_rar4_file *out)
{
    const uint8_t *bytes = block->whole.data;
    size_t name_at =
        MS_RAR4_NAME_AT + (block->flags & MS_RAR4_FILE_LARGE ? MS_RAR4_LARGE_BYTES : 0);
    if (block->whole.len < name_at)
        return false;
    out->unpacked_bytes = u32(bytes + 11);
    if (block->flags & MS_RAR4_FILE_LARGE)
        out->unpacked_bytes |= u32(bytes + MS_RAR4_NAME_AT + 4) << 32;
    out->crc = (uint32_t)u32(bytes + 16);
    out->version = bytes[24];
    out->method = bytes[25];
    out->name_end = name_at + u16(bytes + 26);
    out->salt = ms_span_of(bytes, 0);
    return out->name_end <= block->whole.len &&
           (!(block->flags & MS_RAR4_FILE_SALT) ||
            ms_span_sub(block->whole, out->name_end, MS_RAR4_SALT_BYTES, &out->salt));
}
