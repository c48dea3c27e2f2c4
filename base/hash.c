/* Digests through OpenSSL's EVP interface. */
#include "base/hash.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ms_hasher {
    EVP_MD_CTX *md5;
    EVP_MD_CTX *sha1;
    EVP_MD_CTX *sha256;
};

static bool start(EVP_MD_CTX *ctx, const EVP_MD *md)
{
    return !ctx || EVP_DigestInit_ex(ctx, md, NULL) == 1;
}

static bool start_all(struct ms_hasher *self)
{
    return start(self->md5, EVP_md5()) && start(self->sha1, EVP_sha1()) &&
           start(self->sha256, EVP_sha256());
}

enum ms_status ms_hasher_new(unsigned kinds, struct ms_hasher **out, struct ms_error *err)
{
    struct ms_hasher *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (kinds & MS_HASH_MD5)
        self->md5 = EVP_MD_CTX_new();
    if (kinds & MS_HASH_SHA1)
        self->sha1 = EVP_MD_CTX_new();
    if (kinds & MS_HASH_SHA256)
        self->sha256 = EVP_MD_CTX_new();
    bool complete = (!(kinds & MS_HASH_MD5) || self->md5) &&
                    (!(kinds & MS_HASH_SHA1) || self->sha1) &&
                    (!(kinds & MS_HASH_SHA256) || self->sha256);
    if (!complete || !start_all(self)) {
        ms_hasher_free(self);
        return ms_error_set(err, MS_E_NOMEM, "cannot set up the hash functions");
    }
    *out = self;
    return MS_OK;
}

void ms_hasher_free(struct ms_hasher *self)
{
    if (!self)
        return;
    EVP_MD_CTX_free(self->md5);
    EVP_MD_CTX_free(self->sha1);
    EVP_MD_CTX_free(self->sha256);
    free(self);
}

void ms_hasher_update(struct ms_hasher *self, const void *bytes, size_t n)
{
    EVP_MD_CTX *all[] = {self->md5, self->sha1, self->sha256};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i])
            (void)EVP_DigestUpdate(all[i], bytes, n);
}

enum ms_status ms_hasher_finish(struct ms_hasher *self, struct ms_digests *out,
                                struct ms_error *err)
{
    bool good = (!self->md5 || EVP_DigestFinal_ex(self->md5, out->md5, NULL) == 1) &&
                (!self->sha1 || EVP_DigestFinal_ex(self->sha1, out->sha1, NULL) == 1) &&
                (!self->sha256 || EVP_DigestFinal_ex(self->sha256, out->sha256, NULL) == 1);
    if (!good || !start_all(self))
        return ms_error_set(err, MS_E_BUG, "the hash library failed");
    return MS_OK;
}

enum ms_status ms_hash_sha256(const void *bytes, size_t n, uint8_t out[MS_SHA256_BYTES])
{
    return EVP_Digest(bytes, n, out, NULL, EVP_sha256(), NULL) == 1 ? MS_OK : MS_E_BUG;
}

enum ms_status ms_hash_git_blob(const void *bytes, size_t n, uint8_t out[MS_SHA1_BYTES])
{
    struct ms_hasher *hasher;
    struct ms_digests digests;
    enum ms_status status = ms_hasher_new(MS_HASH_SHA1, &hasher, NULL);
    if (status != MS_OK)
        return status;
    char head[32];
    int head_len = snprintf(head, sizeof head, "blob %zu", n);
    ms_hasher_update(hasher, head, (size_t)head_len + 1);
    ms_hasher_update(hasher, bytes, n);
    status = ms_hasher_finish(hasher, &digests, NULL);
    if (status == MS_OK)
        memcpy(out, digests.sha1, MS_SHA1_BYTES);
    ms_hasher_free(hasher);
    return status;
}

void ms_hex_encode(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool ms_hex_decode(const char *text, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        int high = digit_value(text[2 * i]);
        int low = high < 0 ? -1 : digit_value(text[2 * i + 1]);
        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return text[2 * n] == '\0';
}
