/* SHA-256, SHA-1, MD5 and git blob ids over streams (OpenSSL), and hexadecimal text. */
#ifndef MS_BASE_HASH_H
#define MS_BASE_HASH_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_hash_kind { MS_HASH_MD5 = 1, MS_HASH_SHA1 = 2, MS_HASH_SHA256 = 4 };
enum { MS_MD5_BYTES = 16, MS_SHA1_BYTES = 20, MS_SHA256_BYTES = 32, MS_HASH_HEX_MAX = 65 };

/* The digests of one stream of bytes; only those asked for are set. */
struct ms_digests {
    uint8_t md5[MS_MD5_BYTES];
    uint8_t sha1[MS_SHA1_BYTES];
    uint8_t sha256[MS_SHA256_BYTES];
};

struct ms_hasher;

/* kinds: the sum of ms_hash_kind wanted. OpenSSL is initialised here: make one hasher before
 * confinement is set up. */
enum ms_status ms_hasher_new(unsigned kinds, struct ms_hasher **out,
                             struct ms_error *err) MS_MUST_USE;
void ms_hasher_free(struct ms_hasher *self);
void ms_hasher_update(struct ms_hasher *self, const void *bytes, size_t n);
/* Ends the stream, writes the digests and readies the hasher for the next stream. */
enum ms_status ms_hasher_finish(struct ms_hasher *self, struct ms_digests *out,
                                struct ms_error *err) MS_MUST_USE;

/* One-shot forms. A git blob id is SHA-1 over "blob LENGTH\0" and the bytes (git hash-object). */
enum ms_status ms_hash_sha256(const void *bytes, size_t n,
                              uint8_t out[MS_SHA256_BYTES]) MS_MUST_USE;
enum ms_status ms_hash_git_blob(const void *bytes, size_t n,
                                uint8_t out[MS_SHA1_BYTES]) MS_MUST_USE;

/* Lower-case hexadecimal; out holds 2*n+1 bytes. */
void ms_hex_encode(const uint8_t *bytes, size_t n, char *out);
/* Exactly n bytes from 2*n digits of either case, nothing behind them; false otherwise. */
bool ms_hex_decode(const char *text, size_t n, uint8_t *out) MS_MUST_USE;

#endif
