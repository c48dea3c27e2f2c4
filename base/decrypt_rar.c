/* Keys and ciphers of encrypted RAR archives. It reads no archive: base/decrypt_rar4.c and
 * base/decrypt_rar5.c do. */
#include "base/decrypt_rar.h"

#include "base/limits.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

enum {
    SHA256_BYTES = 32,
    SHA_BLOCK_BYTES = 64,
    RAR5_MORE_ROUNDS = 16,
    /* What a round costs in bytes hashed: two blocks of SHA-256, and as much again for the copying
     * of two contexts. */
    RAR5_ROUND_COST_BYTES = 256,
    RAR4_ROUNDS = 1 << 18,
    RAR4_IV_STEP = RAR4_ROUNDS / 16,
    RAR4_UNITS_MAX = 28,
    RAR4_BATCH = 64
};

static const char no_crypto[] = "no memory for key derivation";
static const char no_budget[] = "key derivation would take too long";

/* The id of a derivation; false when libcrypto fails. */
static bool key_id(const char *kind, struct ms_span salt, unsigned rounds_log,
                   struct ms_span password, uint8_t id[MS_DECRYPT_ID_BYTES])
{
    const uint8_t sizes[2] = {(uint8_t)salt.len, (uint8_t)rounds_log};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(ctx, kind, strlen(kind) + 1) == 1 &&
                EVP_DigestUpdate(ctx, sizes, sizeof sizes) == 1 &&
                EVP_DigestUpdate(ctx, salt.data, salt.len) == 1 &&
                EVP_DigestUpdate(ctx, password.data, password.len) == 1 &&
                EVP_DigestFinal_ex(ctx, id, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

/* ---- RAR 5 ----------------------------------------------------------------------------------- */

/* HMAC-SHA256 with the key already taken in (RFC 2104): begun hashes of both pads. */
struct hmac {
    EVP_MD_CTX *inner, *outer, *work;
};

static void hmac_release(struct hmac *self)
{
    EVP_MD_CTX_free(self->inner);
    EVP_MD_CTX_free(self->outer);
    EVP_MD_CTX_free(self->work);
}

static bool hmac_init(struct hmac *self, struct ms_span key)
{
    uint8_t block[SHA_BLOCK_BYTES] = {0};
    self->inner = EVP_MD_CTX_new();
    self->outer = EVP_MD_CTX_new();
    self->work = EVP_MD_CTX_new();
    bool good = self->inner && self->outer && self->work;
    if (key.len > sizeof block)
        good = good && EVP_Digest(key.data, key.len, block, NULL, EVP_sha256(), NULL) == 1;
    else if (key.len)
        memcpy(block, key.data, key.len);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    good = good && EVP_DigestInit_ex(self->inner, EVP_sha256(), NULL) == 1 &&
           EVP_DigestUpdate(self->inner, block, sizeof block) == 1;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    good = good && EVP_DigestInit_ex(self->outer, EVP_sha256(), NULL) == 1 &&
           EVP_DigestUpdate(self->outer, block, sizeof block) == 1;
    OPENSSL_cleanse(block, sizeof block);
    return good;
}

/* digest may be the text itself. */
static bool hmac_of(struct hmac *self, const uint8_t *bytes, size_t n, uint8_t digest[SHA256_BYTES])
{
    return EVP_MD_CTX_copy_ex(self->work, self->inner) == 1 &&
           EVP_DigestUpdate(self->work, bytes, n) == 1 &&
           EVP_DigestFinal_ex(self->work, digest, NULL) == 1 &&
           EVP_MD_CTX_copy_ex(self->work, self->outer) == 1 &&
           EVP_DigestUpdate(self->work, digest, SHA256_BYTES) == 1 &&
           EVP_DigestFinal_ex(self->work, digest, NULL) == 1;
}

/* PBKDF2 (RFC 8018, 5.2), one block, whose running sum is taken at three places: deriving it three
 * times over would cost three times as much. */
static bool derive5(struct ms_span password, const uint8_t salt[MS_RAR5_SALT_BYTES],
                    uint32_t rounds, struct ms_rar5_keys *out)
{
    uint8_t first[MS_RAR5_SALT_BYTES + 4] = {0};
    uint8_t text[SHA256_BYTES], sum[SHA256_BYTES];
    struct hmac hmac;
    memcpy(first, salt, MS_RAR5_SALT_BYTES);
    first[sizeof first - 1] = 1;
    bool good = hmac_init(&hmac, password) && hmac_of(&hmac, first, sizeof first, text);
    if (good)
        memcpy(sum, text, sizeof sum);
    for (uint32_t round = 1; good; round++) {
        if (round == rounds)
            memcpy(out->key, sum, sizeof sum);
        else if (round == rounds + RAR5_MORE_ROUNDS)
            memcpy(out->mac, sum, sizeof sum);
        else if (round == rounds + 2 * RAR5_MORE_ROUNDS)
            break;
        good = hmac_of(&hmac, text, sizeof text, text);
        for (size_t i = 0; i < sizeof sum; i++)
            sum[i] ^= text[i];
    }
    for (size_t i = 0; good && i < MS_RAR5_CHECK_BYTES; i++)
        out->check[i] = (uint8_t)(sum[i] ^ sum[i + 8] ^ sum[i + 16] ^ sum[i + 24]);
    OPENSSL_cleanse(text, sizeof text);
    OPENSSL_cleanse(sum, sizeof sum);
    hmac_release(&hmac);
    return good;
}

enum ms_decrypt_answer ms_rar5_derive(struct ms_decrypt_keys *cache, struct ms_span password,
                                      const uint8_t salt[MS_RAR5_SALT_BYTES], unsigned rounds_log,
                                      struct ms_rar5_keys *out, const char **why)
{
    uint8_t id[MS_DECRYPT_ID_BYTES];
    _Static_assert(sizeof *out <= MS_DECRYPT_KEY_BYTES, "the cache holds a RAR 5 key");
    if (!key_id("rar5", ms_span_of(salt, MS_RAR5_SALT_BYTES), rounds_log, password, id)) {
        *why = no_crypto;
        return MS_DECRYPT_LIMIT_MEMORY;
    }
    if (ms_decrypt_keys_find(cache, id, (uint8_t *)out, sizeof *out))
        return MS_DECRYPT_DONE;
    if (rounds_log > MS_LIMIT_DECRYPT_KDF_POWER ||
        !ms_decrypt_keys_spend(cache, ((uint64_t)1 << rounds_log) * RAR5_ROUND_COST_BYTES)) {
        *why = no_budget;
        return MS_DECRYPT_LIMIT_WORK;
    }
    if (!derive5(password, salt, (uint32_t)1 << rounds_log, out)) {
        *why = no_crypto;
        return MS_DECRYPT_LIMIT_MEMORY;
    }
    ms_decrypt_keys_keep(cache, id, (const uint8_t *)out, sizeof *out);
    return MS_DECRYPT_DONE;
}

bool ms_rar5_tweak(const struct ms_rar5_keys *keys, uint32_t crc, uint32_t *out)
{
    const uint8_t text[4] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16),
                             (uint8_t)(crc >> 24)};
    uint8_t digest[SHA256_BYTES];
    struct hmac hmac;
    bool good = hmac_init(&hmac, ms_span_of(keys->mac, sizeof keys->mac)) &&
                hmac_of(&hmac, text, sizeof text, digest);
    hmac_release(&hmac);
    *out = 0;
    for (size_t i = 0; good && i < sizeof digest; i++)
        *out ^= (uint32_t)digest[i] << (8 * (i % 4));
    return good;
}

/* ---- RAR 4 ----------------------------------------------------------------------------------- */

/* The unit that is hashed in each round: password, salt, and three bytes of counter. */
struct unit4 {
    uint8_t bytes[RAR4_BATCH * (2 * RAR4_UNITS_MAX + MS_RAR4_SALT_BYTES + 3)];
    size_t n; /* of one unit */
};

static void number(struct unit4 *unit, uint32_t from, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t *counter = unit->bytes + (i + 1) * unit->n - 3;
        counter[0] = (uint8_t)(from + i);
        counter[1] = (uint8_t)((from + i) >> 8);
        counter[2] = (uint8_t)((from + i) >> 16);
    }
}

/* The byte of the start value that is taken after round 0, 16384, …: the digest's last. */
static bool start_byte(const EVP_MD_CTX *state, EVP_MD_CTX *work, uint8_t *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (EVP_MD_CTX_copy_ex(work, state) != 1 || EVP_DigestFinal_ex(work, digest, NULL) != 1)
        return false;
    *out = digest[19];
    return true;
}

static bool derive4(struct unit4 *unit, struct ms_rar4_keys *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *state = EVP_MD_CTX_new(), *work = EVP_MD_CTX_new();
    bool good = state && work && EVP_DigestInit_ex(state, EVP_sha1(), NULL) == 1;
    for (uint32_t i = 0; good && i < RAR4_ROUNDS;) {
        bool mark = i % RAR4_IV_STEP == 0;
        unsigned count = mark ? 1 : RAR4_BATCH - i % RAR4_BATCH;
        number(unit, i, count);
        good = EVP_DigestUpdate(state, unit->bytes, count * unit->n) == 1 &&
               (!mark || start_byte(state, work, &out->iv[i / RAR4_IV_STEP]));
        i += count;
    }
    good = good && EVP_DigestFinal_ex(state, digest, NULL) == 1;
    for (size_t i = 0; good && i < sizeof out->key; i++)
        out->key[i] = digest[i / 4 * 4 + 3 - i % 4];
    OPENSSL_cleanse(digest, sizeof digest);
    EVP_MD_CTX_free(state);
    EVP_MD_CTX_free(work);
    return good;
}

enum ms_decrypt_answer ms_rar4_derive(struct ms_decrypt_keys *cache, struct ms_span password,
                                      struct ms_span salt, struct ms_rar4_keys *out,
                                      const char **why)
{
    uint8_t id[MS_DECRYPT_ID_BYTES];
    struct unit4 unit;
    size_t n = ms_decrypt_utf16(password, unit.bytes, 2 * (size_t)RAR4_UNITS_MAX);
    enum ms_decrypt_answer answer = MS_DECRYPT_LIMIT_MEMORY;
    *why = no_crypto;
    if (!n || salt.len > MS_RAR4_SALT_BYTES)
        return MS_DECRYPT_WRONG_PASSWORD;
    if (!key_id("rar4", salt, 0, password, id))
        goto out;
    if (ms_decrypt_keys_find(cache, id, (uint8_t *)out, sizeof *out)) {
        answer = MS_DECRYPT_DONE;
        goto out;
    }
    if (salt.len)
        memcpy(unit.bytes + n, salt.data, salt.len);
    unit.n = n + salt.len + 3;
    for (size_t i = 1; i < RAR4_BATCH; i++)
        memcpy(unit.bytes + i * unit.n, unit.bytes, unit.n - 3);
    if (!ms_decrypt_keys_spend(cache, (uint64_t)RAR4_ROUNDS * unit.n)) {
        *why = no_budget;
        answer = MS_DECRYPT_LIMIT_WORK;
    } else if (derive4(&unit, out)) {
        ms_decrypt_keys_keep(cache, id, (const uint8_t *)out, sizeof *out);
        answer = MS_DECRYPT_DONE;
    }
out:
    OPENSSL_cleanse(&unit, sizeof unit);
    return answer;
}

/* ---- cipher ---------------------------------------------------------------------------------- */

bool ms_rar_decrypt(const uint8_t *key, size_t key_bytes, const uint8_t iv[16], uint8_t *bytes,
                    size_t n)
{
    int done = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool good = ctx && n % 16 == 0 && n <= INT32_MAX &&
                EVP_DecryptInit_ex(ctx, key_bytes == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc(),
                                   NULL, key, iv) == 1 &&
                EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
                EVP_DecryptUpdate(ctx, bytes, &done, bytes, (int)n) == 1 && (size_t)done == n;
    EVP_CIPHER_CTX_free(ctx);
    return good;
}
