/* What the decryption of all formats shares: keys, budget, AES, bytes between memory files. It
 * knows no format but the list of them. */
#define _GNU_SOURCE
#include "base/decrypt.h"

#include "base/limits.h"
#include "base/utf8.h"
#include "base/zip_cipher.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { PIECE_BYTES = 256 << 10, SUM_BYTES = 16 << 10, KEYS = 128 };

static const struct ms_decrypt_format *const formats[] = {&ms_decrypt_7z, &ms_decrypt_rar5,
                                                          &ms_decrypt_rar4, &ms_decrypt_zip};

struct kept {
    uint8_t id[MS_DECRYPT_ID_BYTES];
    uint8_t key[MS_DECRYPT_KEY_BYTES];
};

struct ms_decrypt_keys {
    struct kept kept[KEYS];
    size_t count, next;
    uint64_t hashed_bytes;
};

struct ms_decrypt_keys *ms_decrypt_keys_new(void)
{
    return calloc(1, sizeof(struct ms_decrypt_keys));
}

void ms_decrypt_keys_free(struct ms_decrypt_keys *self)
{
    if (self)
        OPENSSL_cleanse(self, sizeof *self);
    free(self);
}

bool ms_decrypt_keys_find(struct ms_decrypt_keys *self, const uint8_t id[MS_DECRYPT_ID_BYTES],
                          uint8_t *key, size_t n)
{
    for (size_t i = 0; i < self->count && n <= MS_DECRYPT_KEY_BYTES; i++)
        if (memcmp(self->kept[i].id, id, MS_DECRYPT_ID_BYTES) == 0) {
            memcpy(key, self->kept[i].key, n);
            return true;
        }
    return false;
}

void ms_decrypt_keys_keep(struct ms_decrypt_keys *self, const uint8_t id[MS_DECRYPT_ID_BYTES],
                          const uint8_t *key, size_t n)
{
    if (n > MS_DECRYPT_KEY_BYTES)
        return;
    struct kept *to = &self->kept[self->next];
    memcpy(to->id, id, MS_DECRYPT_ID_BYTES);
    memcpy(to->key, key, n);
    self->next = (self->next + 1) % KEYS;
    if (self->count < KEYS)
        self->count++;
}

bool ms_decrypt_keys_spend(struct ms_decrypt_keys *self, uint64_t hashed_bytes)
{
    if (hashed_bytes > MS_LIMIT_DECRYPT_KDF_BYTES - self->hashed_bytes)
        return false;
    self->hashed_bytes += hashed_bytes;
    return true;
}

enum ms_decrypt_answer ms_decrypt_open(int fd, struct ms_decrypt_keys *keys, struct ms_decrypt *out,
                                       const char **why)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct ms_decrypt opened = {.format = formats[i]};
        *why = "";
        enum ms_decrypt_answer answer =
            formats[i]->open(fd, keys, &opened.state, &opened.locked, why);
        if (answer == MS_DECRYPT_NOT_ENCRYPTED)
            continue;
        if (answer == MS_DECRYPT_DONE)
            *out = opened;
        return answer;
    }
    return MS_DECRYPT_NOT_ENCRYPTED;
}

void ms_decrypt_close(struct ms_decrypt *self)
{
    self->format->close(self->state);
}

bool ms_decrypt_prepare(void)
{
    static const uint8_t zeros[32];
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n;
    const EVP_CIPHER *const ciphers[] = {EVP_aes_128_cbc(), EVP_aes_192_cbc(), EVP_aes_256_cbc()};
    bool good = EVP_Digest(zeros, sizeof zeros, digest, &n, EVP_sha256(), NULL) == 1 &&
                EVP_Digest(zeros, sizeof zeros, digest, &n, EVP_sha1(), NULL) == 1;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++)
        good &= ctx && EVP_DecryptInit_ex(ctx, ciphers[i], NULL, zeros, zeros) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ms_zip_cipher_prepare() && good;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Moves n bytes, through the cipher where there is one, and writes the first `keep`. */
static enum ms_decrypt_answer move(int from_fd, uint64_t from, uint64_t n, EVP_CIPHER_CTX *cipher,
                                   int to_fd, uint64_t to, uint64_t keep, const char **why)
{
    enum ms_decrypt_answer answer = MS_DECRYPT_LIMIT_MEMORY;
    uint8_t *piece = malloc(PIECE_BYTES);
    *why = "no memory for decryption";
    while (piece && n && keep) {
        size_t part = n < PIECE_BYTES ? (size_t)n : PIECE_BYTES;
        int out_n = (int)part;
        if (!ms_decrypt_read(from_fd, from, piece, part)) {
            answer = MS_DECRYPT_CORRUPT;
            *why = "cut short";
            goto out;
        }
        if (cipher &&
            (EVP_DecryptUpdate(cipher, piece, &out_n, piece, (int)part) != 1 || out_n != (int)part))
            goto out;
        size_t wanted = part < keep ? part : (size_t)keep;
        if (!ms_decrypt_write(to_fd, to, piece, wanted)) {
            *why = "cannot grow a memory file";
            goto out;
        }
        from += part;
        n -= part;
        to += wanted;
        keep -= wanted;
    }
    if (piece)
        answer = MS_DECRYPT_DONE;
out:
    free(piece);
    return answer;
}

enum ms_decrypt_answer ms_decrypt_copy(int from_fd, uint64_t from, uint64_t n, int to_fd,
                                       uint64_t to, const char **why)
{
    return move(from_fd, from, n, NULL, to_fd, to, n, why);
}

enum ms_decrypt_answer ms_decrypt_cbc(int from_fd, uint64_t from, uint64_t n, const uint8_t *key,
                                      size_t key_bytes, const uint8_t iv[16], int to_fd,
                                      uint64_t to, uint64_t keep, const char **why)
{
    const EVP_CIPHER *kind = key_bytes == 16   ? EVP_aes_128_cbc()
                             : key_bytes == 24 ? EVP_aes_192_cbc()
                                               : EVP_aes_256_cbc();
    *why = "encrypted data is not in whole blocks";
    if (n % 16 || keep > n)
        return MS_DECRYPT_CORRUPT;
    enum ms_decrypt_answer answer = MS_DECRYPT_LIMIT_MEMORY;
    *why = "no memory for decryption";
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx && EVP_DecryptInit_ex(ctx, kind, NULL, key, iv) == 1 &&
        EVP_CIPHER_CTX_set_padding(ctx, 0) == 1)
        answer = move(from_fd, from, n, ctx, to_fd, to, keep, why);
    EVP_CIPHER_CTX_free(ctx);
    return answer;
}

bool ms_decrypt_crc32(int fd, uint64_t at, uint64_t n, uint32_t *out)
{
    uint8_t piece[SUM_BYTES];
    uLong crc = crc32(0, NULL, 0);
    while (n) {
        size_t part = n < sizeof piece ? (size_t)n : sizeof piece;
        if (!ms_decrypt_read(fd, at, piece, part))
            return false;
        crc = crc32(crc, piece, (uInt)part);
        at += part;
        n -= part;
    }
    *out = (uint32_t)crc;
    return true;
}

/* ---- passwords ------------------------------------------------------------------------------- */

static bool put_utf16(uint8_t *out, size_t cap, size_t *n, uint32_t unit)
{
    if (cap - *n < 2)
        return false;
    out[(*n)++] = (uint8_t)(unit & 0xff);
    out[(*n)++] = (uint8_t)(unit >> 8);
    return true;
}

size_t ms_decrypt_utf16(struct ms_span password, uint8_t *out, size_t cap)
{
    size_t n = 0;
    for (size_t at = 0; at < password.len;) {
        uint32_t code;
        size_t used = ms_utf8_decode(password.data + at, password.len - at, &code);
        bool fits;
        if (!used) {
            code = password.data[at];
            used = 1;
        }
        if (code < 0x10000)
            fits = put_utf16(out, cap, &n, code);
        else
            fits = put_utf16(out, cap, &n, 0xd800 + ((code - 0x10000) >> 10)) &&
                   put_utf16(out, cap, &n, 0xdc00 + ((code - 0x10000) & 0x3ff));
        if (!fits)
            return 0;
        at += used;
    }
    return n;
}
