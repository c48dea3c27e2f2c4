/* Writes zip files with any method, cipher and header field, right or wrong ones: what no tool
 * would. The ciphers are written anew here, so that a mistake of the product's is not repeated. */
#ifndef MS_TESTS_ZIP_WRITER_H
#define MS_TESTS_ZIP_WRITER_H

#include "base/buf.h"

#include <archive.h>
#include <archive_entry.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { ZW_PLAIN, ZW_CRYPTO, ZW_AES128, ZW_AES192, ZW_AES256 };

struct zw_member {
    const char *name;
    const void *data;
    size_t n;
    uint16_t method;
    int cipher;
    const char *password;
    const char *verifier_of; /* AES: the check value is that of this password instead */
    uint16_t ae;             /* 1 or 2 */
    uint16_t flags;          /* added to what must be there; 8: sizes behind the data */
    uint64_t size_claim;     /* 0: the truth */
    bool zip64;
    bool central_differs; /* the directory names another method */
    bool is_packed;       /* data is compressed already, or never to be */
    const void *extra;    /* of extra_bytes: more extra fields, in both headers */
    size_t extra_bytes;
};

static void zw_put(struct ms_buf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        (void)ms_buf_append_byte(out, (uint8_t)(value >> (8 * i)));
}

/* The bare bit-by-bit form. */
static uint32_t zw_crc(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int i = 0; i < 8; i++)
        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
    return crc;
}

static void zw_feed(uint32_t keys[3], uint8_t byte)
{
    keys[0] = zw_crc(keys[0], byte);
    keys[1] = (keys[1] + (keys[0] & 255)) * 134775813U + 1;
    keys[2] = zw_crc(keys[2], (uint8_t)(keys[1] >> 24));
}

static void zw_crypto(const char *password, uint8_t *bytes, size_t n)
{
    uint32_t keys[3] = {0x12345678, 0x23456789, 0x34567890};
    for (; *password; password++)
        zw_feed(keys, (uint8_t)*password);
    for (size_t i = 0; i < n; i++) {
        uint32_t word = (keys[2] | 2) & 0xffff;
        uint8_t plain = bytes[i];
        bytes[i] ^= (uint8_t)(word * (word ^ 1) >> 8);
        zw_feed(keys, plain);
    }
}

static void zw_derive(const char *password, const uint8_t *salt, size_t key_bytes, uint8_t out[66])
{
    (void)PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)key_bytes / 2, 1000,
                            EVP_sha1(), (int)key_bytes * 2 + 2, out);
}

static void zw_aes(const struct zw_member *member, struct ms_buf *data)
{
    size_t key_bytes = (size_t)(16 + 8 * (member->cipher - ZW_AES128));
    const EVP_CIPHER *kind = key_bytes == 16   ? EVP_aes_128_ecb()
                             : key_bytes == 24 ? EVP_aes_192_ecb()
                                               : EVP_aes_256_ecb();
    uint8_t salt[16], keys[66], other[66], code[EVP_MAX_MD_SIZE];
    for (size_t i = 0; i < sizeof salt; i++)
        salt[i] = (uint8_t)(i * 37 + data->len);
    zw_derive(member->password, salt, key_bytes, keys);
    memcpy(other, keys, sizeof other);
    if (member->verifier_of)
        zw_derive(member->verifier_of, salt, key_bytes, other);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    (void)EVP_EncryptInit_ex(ctx, kind, NULL, keys, NULL);
    for (size_t at = 0; at < data->len; at += 16) {
        uint8_t block[32] = {0};
        int n;
        for (unsigned k = 0; k < 8; k++)
            block[k] = (uint8_t)((at / 16 + 1) >> (8 * k));
        (void)EVP_EncryptUpdate(ctx, block, &n, block, 16);
        for (size_t i = 0; i < 16 && at + i < data->len; i++)
            data->data[at + i] ^= block[i];
    }
    EVP_CIPHER_CTX_free(ctx);
    unsigned n = 0;
    (void)HMAC(EVP_sha1(), keys + key_bytes, (int)key_bytes, data->data, data->len, code, &n);
    struct ms_buf whole;
    ms_buf_init(&whole, (size_t)1 << 24);
    (void)ms_buf_append(&whole, salt, key_bytes / 2);
    (void)ms_buf_append(&whole, other + key_bytes * 2, 2);
    (void)ms_buf_append(&whole, data->data, data->len);
    (void)ms_buf_append(&whole, code, 10);
    ms_buf_release(data);
    *data = whole;
}

/* libarchive's single-file compressions are the very streams that zip files hold; lzma's header
 * is another. */
static void zw_compress(const struct zw_member *member, struct ms_buf *out)
{
    static uint8_t space[4 << 20];
    size_t used = 0;
    int filter = member->method == 12   ? ARCHIVE_FILTER_BZIP2
                 : member->method == 14 ? ARCHIVE_FILTER_LZMA
                 : member->method == 93 ? ARCHIVE_FILTER_ZSTD
                                        : ARCHIVE_FILTER_XZ;
    if (member->is_packed) {
        (void)ms_buf_append(out, member->data, member->n);
        return;
    }
    if (member->method == 8) {
        z_stream z = {0};
        z.next_in = (Bytef *)(uintptr_t)member->data;
        z.avail_in = (uInt)member->n;
        z.next_out = space;
        z.avail_out = sizeof space;
        (void)deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
        (void)deflate(&z, Z_FINISH);
        (void)ms_buf_append(out, space, z.total_out);
        (void)deflateEnd(&z);
        return;
    }
    if (member->method != 12 && member->method != 14 && member->method != 93 &&
        member->method != 95) {
        (void)ms_buf_append(out, member->data, member->n);
        return;
    }
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    (void)archive_write_set_format_raw(a);
    (void)archive_write_add_filter(a, filter);
    (void)archive_write_set_bytes_in_last_block(a, 1);
    (void)archive_write_open_memory(a, space, sizeof space, &used);
    archive_entry_set_pathname(entry, "x");
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_size(entry, (la_int64_t)member->n);
    (void)archive_write_header(a, entry);
    (void)archive_write_data(a, member->data, member->n);
    (void)archive_write_close(a);
    (void)archive_write_free(a);
    archive_entry_free(entry);
    if (member->method == 14) {
        (void)ms_buf_append(out, "\x09\x14\x05\x00", 4);
        (void)ms_buf_append(out, space, 5);
        (void)ms_buf_append(out, space + 13, used - 13);
    } else {
        (void)ms_buf_append(out, space, used);
    }
}

static void zw_common(struct ms_buf *out, const struct zw_member *member, bool central,
                      uint32_t crc, uint64_t packed, size_t extra_bytes)
{
    bool aes = member->cipher >= ZW_AES128;
    bool blank = !central && (member->flags & 8);
    uint16_t flags =
        (uint16_t)(member->flags | (member->cipher != ZW_PLAIN) | (member->method == 14 ? 2 : 0));
    uint16_t method = aes ? 99 : member->method;
    uint64_t size = member->size_claim ? member->size_claim : member->n;
    if (central && member->central_differs)
        method = (uint16_t)(method == 12 ? 95 : 12);
    zw_put(out, 51, 2);
    zw_put(out, flags, 2);
    zw_put(out, method, 2);
    zw_put(out, 0x6b21, 2);
    zw_put(out, 0x5821, 2);
    zw_put(out, blank || (aes && member->ae == 2) ? 0 : crc, 4);
    zw_put(out, blank ? 0 : member->zip64 ? UINT32_MAX : packed, 4);
    zw_put(out, blank ? 0 : member->zip64 ? UINT32_MAX : size, 4);
    zw_put(out, strlen(member->name), 2);
    zw_put(out, extra_bytes, 2);
}

static void zw_extra(struct ms_buf *out, const struct zw_member *member, uint64_t packed)
{
    if (member->zip64) {
        zw_put(out, 1, 2);
        zw_put(out, 16, 2);
        zw_put(out, member->size_claim ? member->size_claim : member->n, 8);
        zw_put(out, packed, 8);
    }
    if (member->cipher >= ZW_AES128) {
        zw_put(out, 0x9901, 2);
        zw_put(out, 7, 2);
        zw_put(out, member->ae, 2);
        (void)ms_buf_append(out, "AE", 2);
        zw_put(out, (uint64_t)(member->cipher - ZW_AES128 + 1), 1);
        zw_put(out, member->method, 2);
    }
    (void)ms_buf_append(out, member->extra, member->extra_bytes);
}

static void zw_add(struct ms_buf *out, struct ms_buf *directory, const struct zw_member *member)
{
    uint32_t crc = (uint32_t)crc32(0, member->data, (uInt)member->n);
    struct ms_buf data, extra;
    ms_buf_init(&data, (size_t)1 << 24);
    ms_buf_init(&extra, 1000);
    if (member->cipher == ZW_CRYPTO) {
        (void)ms_buf_append(&data, "0123456789\0", 11);
        zw_put(&data, member->flags & 8 ? 0x6b : crc >> 24, 1);
    }
    zw_compress(member, &data);
    if (member->cipher == ZW_CRYPTO)
        zw_crypto(member->password, data.data, data.len);
    else if (member->cipher >= ZW_AES128)
        zw_aes(member, &data);
    zw_extra(&extra, member, data.len);
    uint64_t local_at = out->len;
    (void)ms_buf_append(out, "PK\3\4", 4);
    zw_common(out, member, false, crc, data.len, extra.len);
    (void)ms_buf_append_text(out, member->name);
    (void)ms_buf_append(out, extra.data, extra.len);
    (void)ms_buf_append(out, data.data, data.len);
    if (member->flags & 8) {
        (void)ms_buf_append(out, "PK\7\10", 4);
        zw_put(out, crc, 4);
        zw_put(out, data.len, 4);
        zw_put(out, member->n, 4);
    }
    (void)ms_buf_append(directory, "PK\1\2", 4);
    zw_put(directory, 0x033f, 2);
    zw_common(directory, member, true, crc, data.len, extra.len);
    zw_put(directory, 0, 6);
    zw_put(directory, (uint64_t)0100644 << 16, 4);
    zw_put(directory, local_at, 4);
    (void)ms_buf_append_text(directory, member->name);
    (void)ms_buf_append(directory, extra.data, extra.len);
    ms_buf_release(&data);
    ms_buf_release(&extra);
}

/* A whole file: head (a split marker, say), members, comment. Release *out. */
static void zw_write(struct ms_buf *out, const char *head, const struct zw_member *members,
                     size_t count, const char *comment, size_t comment_bytes)
{
    struct ms_buf directory;
    ms_buf_init(out, (size_t)1 << 24);
    ms_buf_init(&directory, (size_t)1 << 24);
    (void)ms_buf_append_text(out, head);
    for (size_t i = 0; i < count; i++)
        zw_add(out, &directory, &members[i]);
    uint64_t at = out->len;
    (void)ms_buf_append(out, directory.data, directory.len);
    (void)ms_buf_append(out, "PK\5\6\0\0\0\0", 8);
    zw_put(out, count, 2);
    zw_put(out, count, 2);
    zw_put(out, directory.len, 4);
    zw_put(out, at, 4);
    zw_put(out, comment_bytes, 2);
    (void)ms_buf_append(out, comment, comment_bytes);
    ms_buf_release(&directory);
}

#endif
