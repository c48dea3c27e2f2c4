/* For fuzz_decrypt: encrypted archives made of plain ones under the password that the target tries,
 * with the checksums that stand before everything else set right. What the fuzzer changes is read
 * by the product as it is, instead of being lost in a cipher. Writes no archive of its own. */
#ifndef MS_TESTS_FUZZ_SEALED_H
#define MS_TESTS_FUZZ_SEALED_H

#include "../unit/zip_writer.h"
#include "base/decrypt_rar.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SEALED_PASSWORD "infected"
enum { SEALED_MAX_BYTES = 4 << 20, SEALED_RAR5_LOG = 0, SEALED_7Z_START_BYTES = 32 };

/* tests/gen/rar.py has the same. */
static const uint8_t sealed_salt5[MS_RAR5_SALT_BYTES] = "0123456789:;<=>?";
static const uint8_t sealed_salt4[MS_RAR4_SALT_BYTES] = "PQRSTUVW";

struct sealed_keys {
    struct ms_rar5_keys rar5;
    struct ms_rar4_keys rar4;
};

static struct ms_span sealed_password(void)
{
    return ms_span_of(SEALED_PASSWORD, strlen(SEALED_PASSWORD));
}

/* Derived once: RAR 4 takes a quarter of a million rounds. */
static const struct sealed_keys *sealed_keys(void)
{
    static struct sealed_keys keys;
    static bool made;
    const char *why;
    if (made)
        return &keys;
    struct ms_decrypt_keys *cache = ms_decrypt_keys_new();
    if (!cache ||
        ms_rar5_derive(cache, sealed_password(), sealed_salt5, SEALED_RAR5_LOG, &keys.rar5, &why) !=
            MS_DECRYPT_DONE ||
        ms_rar4_derive(cache, sealed_password(), ms_span_of(sealed_salt4, sizeof sealed_salt4),
                       &keys.rar4, &why) != MS_DECRYPT_DONE)
        abort();
    ms_decrypt_keys_free(cache);
    made = true;
    return &keys;
}

/* Gives a fresh cache the RAR 4 key, under the name that base/decrypt_rar.c has for it. */
static inline void sealed_prime(struct ms_decrypt_keys *cache)
{
    uint8_t text[5 + 2 + MS_RAR4_SALT_BYTES + 8], id[MS_DECRYPT_ID_BYTES];
    struct ms_rar4_keys rar4 = sealed_keys()->rar4;
    memcpy(text, "rar4\0\x08\0", 7);
    memcpy(text + 7, sealed_salt4, sizeof sealed_salt4);
    memcpy(text + 7 + sizeof sealed_salt4, SEALED_PASSWORD, 8);
    if (EVP_Digest(text, sizeof text, id, NULL, EVP_sha256(), NULL) != 1)
        abort();
    ms_decrypt_keys_keep(cache, id, (const uint8_t *)&rar4, sizeof rar4);
}

static void sealed_put_u32(uint8_t *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

/* AES-CBC in place; what is left behind the last whole block stays. */
static void sealed_encrypt(const uint8_t *key, size_t key_bytes, const uint8_t iv[16],
                           uint8_t *bytes, size_t n)
{
    int done = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    n -= n % 16;
    if (!ctx ||
        EVP_EncryptInit_ex(ctx, key_bytes == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc(), NULL, key,
                           iv) != 1 ||
        EVP_CIPHER_CTX_set_padding(ctx, 0) != 1 ||
        (n && EVP_EncryptUpdate(ctx, bytes, &done, bytes, (int)n) != 1))
        abort();
    EVP_CIPHER_CTX_free(ctx);
}

/* Appends a copy, padded to whole blocks and encrypted. */
static void sealed_append(struct ms_buf *out, const uint8_t *key, size_t key_bytes,
                          const uint8_t iv[16], struct ms_span plain)
{
    static const uint8_t zeros[16] = {0};
    size_t at = out->len;
    (void)ms_buf_append(out, plain.data, plain.len);
    (void)ms_buf_append(out, zeros, (16 - plain.len % 16) % 16);
    if (!out->failed)
        sealed_encrypt(key, key_bytes, iv, out->data + at, out->len - at);
}

/* ---- 7z -------------------------------------------------------------------------------------- */

static void sealed_7z_number(struct ms_buf *out, uint64_t value)
{
    (void)ms_buf_append_byte(out, 0xff);
    for (unsigned i = 0; i < 8; i++)
        (void)ms_buf_append_byte(out, (uint8_t)(value >> (8 * i)));
}

static void sealed_7z_ids(struct ms_buf *out, const char *ids, size_t n)
{
    (void)ms_buf_append(out, ids, n);
}

/* The header, taken to reach to the file's end, goes under AES whose key is the bare password. */
static inline void seal_7z(struct ms_span in, struct ms_buf *out)
{
    static const uint8_t key[32] = {'i', 0, 'n', 0, 'f', 0, 'e', 0, 'c', 0, 't', 0, 'e', 0, 'd', 0};
    static const uint8_t iv[16] = {0};
    struct ms_buf cover;
    uint64_t at;
    uint8_t word[4];
    (void)ms_buf_append(out, in.data, in.len);
    if (!ms_span_u64le(in, 12, &at) || in.len <= SEALED_7Z_START_BYTES ||
        at >= in.len - SEALED_7Z_START_BYTES)
        return;
    struct ms_span header =
        ms_span_of(in.data + SEALED_7Z_START_BYTES + at, in.len - SEALED_7Z_START_BYTES - at);
    out->len -= header.len;
    sealed_append(out, key, sizeof key, iv, header);
    uint64_t packed = out->len - SEALED_7Z_START_BYTES - at, cover_at = at + packed;
    ms_buf_init(&cover, 1 << 10);
    sealed_7z_ids(&cover, "\x17\x06", 2);
    sealed_7z_number(&cover, at);
    sealed_7z_ids(&cover, "\x01\x09", 2);
    sealed_7z_number(&cover, packed);
    sealed_7z_ids(&cover, "\0\x07\x0b\x01\0\x01\x24\x06\xf1\x07\x01\x01\x3f\x0c", 14);
    sealed_7z_number(&cover, header.len);
    sealed_7z_ids(&cover, "\x0a\x01", 2);
    sealed_put_u32(word, (uint32_t)crc32_z(0, header.data, header.len));
    (void)ms_buf_append(&cover, word, sizeof word);
    sealed_7z_ids(&cover, "\0\0", 2);
    if (out->failed || cover.failed)
        abort();
    for (unsigned i = 0; i < 8; i++) {
        out->data[12 + i] = (uint8_t)(cover_at >> (8 * i));
        out->data[20 + i] = (uint8_t)((uint64_t)cover.len >> (8 * i));
    }
    sealed_put_u32(out->data + 28, (uint32_t)crc32_z(0, cover.data, cover.len));
    sealed_put_u32(out->data + 8, (uint32_t)crc32_z(0, out->data + 12, 20));
    (void)ms_buf_append(out, cover.data, cover.len);
    ms_buf_release(&cover);
}

/* ---- RAR 5 ----------------------------------------------------------------------------------- */

static bool sealed_take_record(struct ms_span *extra, uint64_t *kind, struct ms_span *body)
{
    uint64_t n;
    return ms_span_take_varint(extra, &n) && ms_span_take(extra, n, body) &&
           ms_span_take_varint(body, kind);
}

/* The start value in the record of encryption, where salt and rounds are those of the key. */
static bool sealed_rar5_iv(struct ms_span extra, struct ms_span *iv)
{
    struct ms_span body, salt;
    uint64_t kind, version, flags;
    uint8_t rounds;
    while (sealed_take_record(&extra, &kind, &body))
        if (kind == 1)
            return ms_span_take_varint(&body, &version) && ms_span_take_varint(&body, &flags) &&
                   ms_span_take_u8(&body, &rounds) && rounds == SEALED_RAR5_LOG &&
                   ms_span_take(&body, sizeof sealed_salt5, &salt) &&
                   memcmp(salt.data, sealed_salt5, salt.len) == 0 && ms_span_take(&body, 16, iv);
    return false;
}

/* The block that says how headers are encrypted. */
static void sealed_rar5_cover(struct ms_buf *out)
{
    const struct ms_rar5_keys *keys = &sealed_keys()->rar5;
    uint8_t block[4 + 1 + 5 + 16 + 8 + 4] = {0, 0, 0, 0, 33, 4, 0, 0, 1, SEALED_RAR5_LOG};
    uint8_t digest[32];
    memcpy(block + 10, sealed_salt5, sizeof sealed_salt5);
    memcpy(block + 26, keys->check, 8);
    if (EVP_Digest(keys->check, 8, digest, NULL, EVP_sha256(), NULL) != 1)
        abort();
    memcpy(block + 34, digest, 4);
    sealed_put_u32(block, (uint32_t)crc32_z(0, block + 4, sizeof block - 4));
    (void)ms_buf_append(out, block, sizeof block);
}

/* Blocks in the clear, whose data goes under the cipher they name and, with `hidden`, whose headers
 * do too. What cannot be read as a block is copied. */
static inline void seal_rar5(struct ms_span in, bool hidden, struct ms_buf *out)
{
    static const uint8_t iv[16] = "start value of h";
    const struct ms_rar5_keys *keys = &sealed_keys()->rar5;
    struct ms_span rest = in, part, body, start;
    uint64_t size, kind, flags, extra, data;
    if (!ms_span_take(&rest, 8, &part))
        return;
    (void)ms_buf_append(out, part.data, part.len);
    if (hidden)
        sealed_rar5_cover(out);
    while (rest.len) {
        part = rest;
        if (!ms_span_take(&part, 4, &start) || !ms_span_take_varint(&part, &size) ||
            !ms_span_take(&part, size, &body))
            break;
        struct ms_span header = ms_span_of(rest.data, rest.len - part.len), fields = body;
        extra = data = 0;
        if (!ms_span_take_varint(&fields, &kind) || !ms_span_take_varint(&fields, &flags) ||
            ((flags & 1) && !ms_span_take_varint(&fields, &extra)) ||
            ((flags & 2) && !ms_span_take_varint(&fields, &data)))
            break;
        struct ms_buf mended;
        ms_buf_init(&mended, SEALED_MAX_BYTES);
        (void)ms_buf_append(&mended, header.data, header.len);
        if (mended.failed)
            abort();
        sealed_put_u32(mended.data, (uint32_t)crc32_z(0, mended.data + 4, mended.len - 4));
        if (hidden) {
            (void)ms_buf_append(out, iv, sizeof iv);
            sealed_append(out, keys->key, 32, iv, ms_span_of(mended.data, mended.len));
        } else {
            (void)ms_buf_append(out, mended.data, mended.len);
        }
        ms_buf_release(&mended);
        struct ms_span start_value;
        size_t n = data < part.len ? (size_t)data : part.len, at = out->len;
        (void)ms_buf_append(out, part.data, n);
        if (extra <= body.len && !out->failed &&
            sealed_rar5_iv(ms_span_of(body.data + body.len - extra, (size_t)extra), &start_value))
            sealed_encrypt(keys->key, 32, start_value.data, out->data + at, n);
        rest = ms_span_of(part.data + n, part.len - n);
    }
    (void)ms_buf_append(out, rest.data, rest.len);
}

/* ---- RAR 3 and 4 ----------------------------------------------------------------------------- */

static inline void seal_rar4(struct ms_span in, bool hidden, struct ms_buf *out)
{
    const struct ms_rar4_keys *keys = &sealed_keys()->rar4;
    struct ms_span rest = in, part;
    bool first = true;
    if (!ms_span_take(&rest, 7, &part))
        return;
    (void)ms_buf_append(out, part.data, part.len);
    for (; rest.len >= 7; first = false) {
        uint8_t header[UINT16_MAX];
        size_t size = (size_t)(rest.data[5] | rest.data[6] << 8);
        uint32_t data = 0;
        if (size < 7 || size > rest.len)
            break;
        memcpy(header, rest.data, size);
        if (first && hidden)
            header[3] |= 0x80;
        uint32_t crc = (uint32_t)crc32_z(0, header + 2, size - 2);
        header[0] = (uint8_t)crc;
        header[1] = (uint8_t)(crc >> 8);
        if (hidden && !first) {
            (void)ms_buf_append(out, sealed_salt4, sizeof sealed_salt4);
            sealed_append(out, keys->key, 16, keys->iv, ms_span_of(header, size));
        } else {
            (void)ms_buf_append(out, header, size);
        }
        bool file = header[2] == 0x74 || header[2] == 0x7a;
        if ((file || (header[4] & 0x80)) && !ms_span_u32le(ms_span_of(header, size), 7, &data))
            break;
        size_t left = rest.len - size, n = data < left ? data : left, at = out->len;
        (void)ms_buf_append(out, rest.data + size, n);
        if (file && (header[3] & 4) && !out->failed)
            sealed_encrypt(keys->key, 16, keys->iv, out->data + at, n);
        rest = ms_span_of(rest.data + size + n, left - n);
    }
    (void)ms_buf_append(out, rest.data, rest.len);
}

/* ---- zip ------------------------------------------------------------------------------------- */

/* Members out of records: what is asked of the writer (cipher in the low three bits; 0x08 ZIP64,
 * 0x10 the directory differs, 0x20 another password, 0x40 AE-2, 0x80 compressed by the writer), a
 * byte for the method, the flags' low byte, the name's length, the extra field's, the data's (two
 * bytes), and all three. Behind eight members the rest is a comment. */
static void seal_zip(struct ms_span in, struct ms_buf *out)
{
    static const uint16_t methods[8] = {0, 8, 9, 12, 14, 93, 95, 98};
    enum { MEMBERS = 8, NAME_MAX_BYTES = 32 };
    struct zw_member members[MEMBERS];
    static char names[MEMBERS][NAME_MAX_BYTES];
    struct ms_span head, name, extra, data;
    size_t count = 0;
    memset(members, 0, sizeof members);
    for (; count < MEMBERS && ms_span_take(&in, 7, &head); count++) {
        const uint8_t *p = head.data;
        size_t data_bytes = (size_t)p[5] | (size_t)p[6] << 8;
        if (!ms_span_take(&in, p[3] % NAME_MAX_BYTES, &name) || !ms_span_take(&in, p[4], &extra) ||
            !ms_span_take(&in, data_bytes < in.len ? data_bytes : in.len, &data))
            break;
        memset(names[count], 0, sizeof names[count]);
        for (size_t i = 0; i < name.len; i++)
            names[count][i] = name.data[i] ? (char)name.data[i] : '/';
        members[count] = (struct zw_member){.name = names[count],
                                            .data = data.data,
                                            .n = data.len,
                                            .method = p[1] < 64 ? methods[p[1] % 8] : p[1],
                                            .cipher = (p[0] & 7) % 5,
                                            .password = p[0] & 0x20 ? "wrong" : SEALED_PASSWORD,
                                            .ae = p[0] & 0x40 ? 2 : 1,
                                            .flags = p[2],
                                            .zip64 = p[0] & 8,
                                            .central_differs = p[0] & 0x10,
                                            .is_packed = !(p[0] & 0x80) || p[1] % 8 > 3,
                                            .extra = extra.data,
                                            .extra_bytes = extra.len};
    }
    struct ms_buf made;
    zw_write(&made, "", members, count, (const char *)in.data, in.len & 0xffff);
    (void)ms_buf_append(out, made.data, made.len);
    ms_buf_release(&made);
}

#endif
