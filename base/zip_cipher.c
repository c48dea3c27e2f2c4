/* The traditional zip cipher, and WinZip's AES over libcrypto. Only decryption. */
#include "base/zip_cipher.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>
#include <zlib.h>

enum { ROUNDS = 1000, BLOCK = 16, BLOCKS = 256, CHECK_BYTES = 2, SHA1_BYTES = 20, SHA1_BLOCK = 64 };

/* ---- the traditional cipher ------------------------------------------------------------------ */

static void feed(uint32_t keys[3], const z_crc_t *table, uint8_t plain)
{
    keys[0] = (uint32_t)table[(keys[0] ^ plain) & 0xff] ^ keys[0] >> 8;
    keys[1] = (keys[1] + (keys[0] & 0xff)) * 134775813U + 1;
    keys[2] = (uint32_t)table[(keys[2] ^ keys[1] >> 24) & 0xff] ^ keys[2] >> 8;
}

/* Each byte waits for the one before it, so this loop takes as long as that chain, from the product
 * of two halves to the table's next word: the keys are held in registers (`to` might alias them in
 * memory), what does not depend on the byte is computed beside it, and the tables hold what the
 * chain would have to mask. `one` and `other` are the two factors, of which the low 16 bits count:
 * key2 with its bit 1 set, and the same with its bit 0 turned. */
static void apply_crypto(uint32_t keys[3], const uint8_t *from, uint8_t *to, size_t n)
{
    const z_crc_t *table = get_crc_table();
    uint32_t low[256], halves[256];
    for (size_t i = 0; i < 256; i++) {
        low[i] = (uint32_t)table[i] & 0xff;
        halves[i] = (uint32_t)table[i] & 0xfffd;
    }
    uint32_t key0 = keys[0], key1 = keys[1], key2 = keys[2];
    uint32_t one = key2 | 2, other = one ^ 1;
    for (size_t i = 0; i < n; i++) {
        uint32_t cipher = from[i], rest0 = key0 >> 8, rest2 = key2 >> 8, low2 = key2 & 0xff;
        uint32_t beside = (cipher ^ key0) & 0xff, product = key1 * 134775813U + 1;
        uint32_t mask = one * other >> 8 & 0xff;
        key0 = (uint32_t)table[mask ^ beside] ^ rest0;
        key1 = product + (low[mask ^ beside] ^ (rest0 & 0xff)) * 134775813U;
        uint32_t index = key1 >> 24 ^ low2;
        key2 = (uint32_t)table[index] ^ rest2;
        one = halves[index] ^ (rest2 | 2);
        other = halves[index] ^ ((rest2 | 2) ^ 1);
        to[i] = (uint8_t)(mask ^ cipher);
    }
    keys[0] = key0;
    keys[1] = key1;
    keys[2] = key2;
}

bool ms_zip_cipher_init_crypto(struct ms_zip_cipher_state *self, struct ms_span password,
                               const uint8_t head[MS_ZIP_CRYPTO_HEAD_BYTES], uint8_t check)
{
    uint8_t plain[MS_ZIP_CRYPTO_HEAD_BYTES];
    *self = (struct ms_zip_cipher_state){.keys = {0x12345678, 0x23456789, 0x34567890}};
    for (size_t i = 0; i < password.len; i++)
        feed(self->keys, get_crc_table(), password.data[i]);
    memcpy(plain, head, sizeof plain);
    for (size_t i = 0; i < sizeof plain; i++) { /* few: not worth the tables */
        uint32_t word = (self->keys[2] | 2) & 0xffff;
        plain[i] ^= (uint8_t)(word * (word ^ 1) >> 8);
        feed(self->keys, get_crc_table(), plain[i]);
    }
    return plain[MS_ZIP_CRYPTO_HEAD_BYTES - 1] == check;
}

void ms_zip_cipher_crypto(struct ms_zip_cipher_state *self, const uint8_t *from, uint8_t *to,
                          size_t n)
{
    apply_crypto(self->keys, from, to, n);
}

/* ---- AES ------------------------------------------------------------------------------------- */

size_t ms_zip_aes_head_bytes(size_t key_bytes)
{
    return key_bytes / 2 + CHECK_BYTES;
}

uint64_t ms_zip_aes_cost_bytes(size_t key_bytes)
{
    uint64_t blocks = (2 * key_bytes + CHECK_BYTES + SHA1_BYTES - 1) / SHA1_BYTES;
    return blocks * ROUNDS * 2 * SHA1_BLOCK;
}

static EVP_MAC_CTX *new_mac(const uint8_t *key, size_t key_bytes)
{
    char digest[] = "SHA1";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *kind = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = kind ? EVP_MAC_CTX_new(kind) : NULL;
    EVP_MAC_free(kind);
    if (ctx && EVP_MAC_init(ctx, key, key_bytes, params) == 1)
        return ctx;
    EVP_MAC_CTX_free(ctx);
    return NULL;
}

/* Single blocks: OpenSSL's own counter mode counts in the other byte order. */
static EVP_CIPHER_CTX *new_aes(const uint8_t *key, size_t key_bytes)
{
    const EVP_CIPHER *kind = key_bytes == 16   ? EVP_aes_128_ecb()
                             : key_bytes == 24 ? EVP_aes_192_ecb()
                                               : EVP_aes_256_ecb();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx && EVP_EncryptInit_ex(ctx, kind, NULL, key, NULL) == 1 &&
        EVP_CIPHER_CTX_set_padding(ctx, 0) == 1)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

bool ms_zip_cipher_init_aes(struct ms_zip_cipher_state *self, struct ms_span password,
                            size_t key_bytes, const uint8_t *head, bool *fits)
{
    uint8_t keys[2 * 32 + CHECK_BYTES];
    size_t salt_bytes = key_bytes / 2;
    bool good = password.len <= INT32_MAX &&
                PKCS5_PBKDF2_HMAC_SHA1((const char *)password.data, (int)password.len, head,
                                       (int)salt_bytes, ROUNDS, (int)(2 * key_bytes + CHECK_BYTES),
                                       keys) == 1;
    *fits = good && CRYPTO_memcmp(keys + 2 * key_bytes, head + salt_bytes, CHECK_BYTES) == 0;
    *self = (struct ms_zip_cipher_state){.counter = 1};
    if (good) {
        self->aes = new_aes(keys, key_bytes);
        self->mac = new_mac(keys + key_bytes, key_bytes);
        good = self->aes && self->mac;
    }
    OPENSSL_cleanse(keys, sizeof keys);
    if (!good)
        ms_zip_cipher_release(self);
    return good;
}

/* Key stream for whole blocks. */
static bool next_blocks(struct ms_zip_cipher_state *self, uint8_t *stream, size_t blocks)
{
    int n = 0;
    memset(stream, 0, blocks * BLOCK);
    for (size_t i = 0; i < blocks; i++, self->counter++)
        for (unsigned k = 0; k < 8; k++)
            stream[i * BLOCK + k] = (uint8_t)(self->counter >> (8 * k));
    return EVP_EncryptUpdate(self->aes, stream, &n, stream, (int)(blocks * BLOCK)) == 1 &&
           n == (int)(blocks * BLOCK);
}

static bool apply_aes(struct ms_zip_cipher_state *self, uint8_t *bytes, size_t n)
{
    uint8_t stream[BLOCKS * BLOCK];
    while (n) {
        size_t part = n < sizeof stream ? n : sizeof stream;
        if (!next_blocks(self, stream, (part + BLOCK - 1) / BLOCK))
            return false;
        for (size_t i = 0; i < part; i++)
            bytes[i] ^= stream[i];
        bytes += part;
        n -= part;
    }
    return true;
}

bool ms_zip_cipher_apply(struct ms_zip_cipher_state *self, uint8_t *bytes, size_t n)
{
    if (!self->aes) {
        apply_crypto(self->keys, bytes, bytes, n);
        return true;
    }
    return EVP_MAC_update(self->mac, bytes, n) == 1 && apply_aes(self, bytes, n);
}

bool ms_zip_cipher_authentic(struct ms_zip_cipher_state *self,
                             const uint8_t tail[MS_ZIP_AES_TAIL_BYTES])
{
    uint8_t code[EVP_MAX_MD_SIZE];
    size_t n = 0;
    return self->mac && EVP_MAC_final(self->mac, code, &n, sizeof code) == 1 && n == SHA1_BYTES &&
           CRYPTO_memcmp(code, tail, MS_ZIP_AES_TAIL_BYTES) == 0;
}

void ms_zip_cipher_release(struct ms_zip_cipher_state *self)
{
    EVP_CIPHER_CTX_free(self->aes);
    EVP_MAC_CTX_free(self->mac);
    OPENSSL_cleanse(self, sizeof *self);
}

bool ms_zip_cipher_prepare(void)
{
    static const uint8_t head[MS_ZIP_AES_HEAD_MAX_BYTES];
    static const size_t sizes[] = {16, 24, 32};
    uint8_t tail[MS_ZIP_AES_TAIL_BYTES] = {0}, byte = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ms_zip_cipher_state state;
        bool fits;
        if (!ms_zip_cipher_init_aes(&state, ms_span_of("x", 1), sizes[i], head, &fits))
            return false;
        bool good = ms_zip_cipher_apply(&state, &byte, 1) && !ms_zip_cipher_authentic(&state, tail);
        ms_zip_cipher_release(&state);
        if (!good)
            return false;
    }
    return true;
}
