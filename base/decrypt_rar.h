/* Keys of encrypted RAR archives; for base/decrypt_rar*.c and their test. It reads no archive.
 *
 * Units (base/decrypt.h): each encrypted member is one, and so is a solid run of a RAR 5 archive;
 * the plain members together are one. A volume of several is taken too, encrypted or not, and so is
 * an archive in which a stored member's checksum is wrong, which libarchive 3.6.2 does not notice;
 * what cannot be had (members that begin or end in another volume, a damaged rest) is a unit that
 * only says so.
 *
 * Sources: RAR 5.0 archive format (technical note); for RAR 3 and 4 what is known of their key
 * derivation, checked against published pairs of password and archive. */
#ifndef MS_BASE_DECRYPT_RAR_H
#define MS_BASE_DECRYPT_RAR_H

#include "base/decrypt.h"

enum { MS_RAR4_SALT_BYTES = 8, MS_RAR5_SALT_BYTES = 16, MS_RAR5_CHECK_BYTES = 8 };

struct ms_rar5_keys {
    uint8_t key[32]; /* AES-256 */
    uint8_t mac[32]; /* what checksums are tweaked with */
    uint8_t check[MS_RAR5_CHECK_BYTES];
};

struct ms_rar4_keys {
    uint8_t key[16]; /* AES-128 */
    uint8_t iv[16];
};

/* PBKDF2-HMAC-SHA256 with 2^rounds_log rounds, 16 more, and 16 more again; rounds_log is
 * at most MS_LIMIT_DECRYPT_KDF_POWER. Looks into the cache first and pays from the blob's budget.
 * DONE, LIMIT_WORK, or LIMIT_MEMORY when libcrypto fails. */
enum ms_decrypt_answer ms_rar5_derive(struct ms_decrypt_keys *cache, struct ms_span password,
                                      const uint8_t salt[MS_RAR5_SALT_BYTES], unsigned rounds_log,
                                      struct ms_rar5_keys *out, const char **why);

/* 2^18 rounds of SHA-1 over password, salt (8 bytes or none) and a counter. As above; passwords of
 * more than 28 UTF-16 units, for which RAR's own SHA-1 differs from everyone's, are answered with
 * WRONG_PASSWORD. */
enum ms_decrypt_answer ms_rar4_derive(struct ms_decrypt_keys *cache, struct ms_span password,
                                      struct ms_span salt, struct ms_rar4_keys *out,
                                      const char **why);

/* The CRC32 as an archive with tweaked checksums has it. False when libcrypto fails. */
bool ms_rar5_tweak(const struct ms_rar5_keys *keys, uint32_t crc, uint32_t *out) MS_MUST_USE;

/* AES-CBC in place, without padding; n is a multiple of 16. key_bytes: 16 or 32. */
bool ms_rar_decrypt(const uint8_t *key, size_t key_bytes, const uint8_t iv[16], uint8_t *bytes,
                    size_t n) MS_MUST_USE;

#endif
