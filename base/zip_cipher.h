/* The two ciphers of zip files. They see bytes, not headers. */
#ifndef MS_BASE_ZIP_CIPHER_H
#define MS_BASE_ZIP_CIPHER_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MS_ZIP_CRYPTO_HEAD_BYTES = 12, /* random bytes, the last of which is the check */
    MS_ZIP_AES_HEAD_MAX_BYTES = 18,
    MS_ZIP_AES_TAIL_BYTES = 10 /* of the HMAC-SHA1 over the encrypted bytes */
};

/* The caller's storage; private. */
struct ms_zip_cipher_state {
    uint32_t keys[3]; /* the traditional cipher's */
    void *aes;        /* EVP_CIPHER_CTX, NULL for the traditional cipher */
    void *mac;        /* EVP_MAC_CTX */
    uint64_t counter; /* of the next block, from 1 */
};

/* Readies the traditional cipher (APPNOTE.TXT 6.1) with the member's header. False, with nothing to
 * release, when the header's check byte is not `check`: the password is wrong. One wrong password
 * in 256 passes. */
bool ms_zip_cipher_init_crypto(struct ms_zip_cipher_state *self, struct ms_span password,
                               const uint8_t head[MS_ZIP_CRYPTO_HEAD_BYTES],
                               uint8_t check) MS_MUST_USE;

/* The same for the traditional cipher alone, from one place to another. */
void ms_zip_cipher_crypto(struct ms_zip_cipher_state *self, const uint8_t *from, uint8_t *to,
                          size_t n);

/* Salt and password check value, which precede the encrypted bytes: half the key's length, and 2.
 * key_bytes: 16, 24 or 32. */
size_t ms_zip_aes_head_bytes(size_t key_bytes);
/* What deriving the keys of one member costs: bytes that go through SHA-1. */
uint64_t ms_zip_aes_cost_bytes(size_t key_bytes);
/* Readies AES (PBKDF2 with 1000 rounds of HMAC-SHA1; counter mode, little-endian, from 1). False,
 * with nothing to release, without memory. *fits: the password check value of two bytes is right.
 */
bool ms_zip_cipher_init_aes(struct ms_zip_cipher_state *self, struct ms_span password,
                            size_t key_bytes, const uint8_t *head, bool *fits) MS_MUST_USE;

/* Decrypts the next n bytes in place; n is a multiple of 16 in all calls but the last. False when
 * libcrypto fails. */
bool ms_zip_cipher_apply(struct ms_zip_cipher_state *self, uint8_t *bytes, size_t n) MS_MUST_USE;
/* AES: after the last byte, is the authentication code right? */
bool ms_zip_cipher_authentic(struct ms_zip_cipher_state *self,
                             const uint8_t tail[MS_ZIP_AES_TAIL_BYTES]) MS_MUST_USE;
/* Wipes the keys. */
void ms_zip_cipher_release(struct ms_zip_cipher_state *self);

/* Has libcrypto load what the above needs; call it before confinement. */
bool ms_zip_cipher_prepare(void) MS_MUST_USE;

#endif
