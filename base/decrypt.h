/* Opens encrypted containers that libarchive cannot, by rewriting: one password and one part of the
 * container at a time, into an unencrypted container of the same format that libarchive reads. It
 * decodes no member and judges none: checksums are verified by whoever reads what was written.
 * Runs in the worker only, and opens no file.
 *
 * A container falls into units, each a part that is decrypted as a whole (a folder of a 7z file;
 * one member where members are encrypted one by one; everything where nothing smaller can be read
 * alone). Units can be under different passwords, or under none. */
#ifndef MS_BASE_DECRYPT_H
#define MS_BASE_DECRYPT_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_decrypt_answer {
    MS_DECRYPT_DONE = 0,       /* the container's own check says that the password is right, or none
                                  was needed */
    MS_DECRYPT_NOT_ENCRYPTED,  /* nothing here for us: libarchive's business, damage included */
    MS_DECRYPT_WRONG_PASSWORD, /* surely wrong */
    MS_DECRYPT_MAYBE,          /* written, and only a member's checksum can tell */
    MS_DECRYPT_CORRUPT,
    MS_DECRYPT_DAMAGED, /* rewrite: the password's check value is right and the data's is not; a
                           wrong password of many passes the first, so the others are tried too */
    MS_DECRYPT_UNSUPPORTED,
    MS_DECRYPT_LIMIT_WORK,   /* key derivation would cost more than one blob may */
    MS_DECRYPT_LIMIT_MEMORY, /* more bytes than may be held, or a decoder that would take them */
    MS_DECRYPT_INCOMPLETE    /* goes on in another volume */
};

/* ---- keys: the cache and the budget of one blob ---------------------------------------------- */

/* Shared by all containers of one blob, nested ones too. */
struct ms_decrypt_keys;

enum { MS_DECRYPT_ID_BYTES = 32, MS_DECRYPT_KEY_BYTES = 72 };

/* NULL without memory. Free wipes the keys. */
struct ms_decrypt_keys *ms_decrypt_keys_new(void);
void ms_decrypt_keys_free(struct ms_decrypt_keys *self);

/* Key material under an id, which is the SHA-256 of everything the derivation depends on (format,
 * parameters, salt, password). n is at most MS_DECRYPT_KEY_BYTES and the same in both calls. The
 * oldest make room. */
bool ms_decrypt_keys_find(struct ms_decrypt_keys *self, const uint8_t id[MS_DECRYPT_ID_BYTES],
                          uint8_t *key, size_t n);
void ms_decrypt_keys_keep(struct ms_decrypt_keys *self, const uint8_t id[MS_DECRYPT_ID_BYTES],
                          const uint8_t *key, size_t n);

/* Takes the cost of a derivation, in bytes that go through a hash function, out of the blob's
 * budget (MS_LIMIT_DECRYPT_KDF_BYTES) before the work is done; false when it is spent. */
bool ms_decrypt_keys_spend(struct ms_decrypt_keys *self, uint64_t hashed_bytes) MS_MUST_USE;

/* ---- what formats implement ------------------------------------------------------------------ */

/* `why` is set with every answer but DONE, NOT_ENCRYPTED and MAYBE, to text that is static or
 * lives as long as the state. */
struct ms_decrypt_format {
    const char *name;
    /* Methods stand in the encrypted data, so that what libarchive calls unsupported may be the
     * work of a wrong password. */
    bool method_is_data;
    /* Looks at the container in fd (seekable, borrowed until close, as are the keys). DONE: it is
     * encrypted, *state is to be closed, and *locked says that nothing can be read before unlock
     * said DONE or MAYBE. Every other answer leaves nothing to close. */
    enum ms_decrypt_answer (*open)(int fd, struct ms_decrypt_keys *keys, void **state, bool *locked,
                                   const char **why);
    /* Tries one password on the headers. */
    enum ms_decrypt_answer (*unlock)(void *state, struct ms_span password, const char **why);
    /* Known once open, or unlocked. */
    size_t (*unit_count)(const void *state);
    bool (*unit_needs_password)(const void *state, size_t unit);
    /* True when rewrite's DONE proves the unit's bytes and its members have no checksum: none is to
     * be looked for in what was written. May be NULL. */
    bool (*unit_is_proven)(const void *state, size_t unit);
    /* Writes an unencrypted container with the members of one unit to out_fd, an empty memory file,
     * at most max_bytes; *bytes is what it takes there, set with every answer. The password is
     * ignored by a unit that needs none. */
    enum ms_decrypt_answer (*rewrite)(void *state, size_t unit, struct ms_span password, int out_fd,
                                      uint64_t max_bytes, uint64_t *bytes, const char **why);
    /* Is this the CRC-32 of the given member of the unit that was rewritten last? Asked for members
     * whose checksum could not be put into what was written in a form that libarchive verifies.
     * NULL: there are none. */
    bool (*verify)(const void *state, size_t member, uint32_t crc);
    void (*close)(void *state);
};

/* ---- what the walk uses ---------------------------------------------------------------------- */

struct ms_decrypt {
    const struct ms_decrypt_format *format;
    void *state;
    bool locked;
};

/* Asks every format in turn. DONE: *out is to be closed. */
enum ms_decrypt_answer ms_decrypt_open(int fd, struct ms_decrypt_keys *keys, struct ms_decrypt *out,
                                       const char **why);
void ms_decrypt_close(struct ms_decrypt *self);

/* Starts libcrypto and fetches the algorithms, which it loads lazily; call it before confinement.
 * False when one cannot be had. */
bool ms_decrypt_prepare(void);

/* ---- what formats share ---------------------------------------------------------------------- */

/* n bytes at an offset of a file; false when they are not all there. */
bool ms_decrypt_read(int fd, uint64_t at, void *out, size_t n) MS_MUST_USE;
bool ms_decrypt_write(int fd, uint64_t at, const void *bytes, size_t n) MS_MUST_USE;
/* Copies n bytes between files. DONE, CORRUPT when the source ends too early, LIMIT_MEMORY when the
 * target cannot grow. */
enum ms_decrypt_answer ms_decrypt_copy(int from_fd, uint64_t from, uint64_t n, int to_fd,
                                       uint64_t to, const char **why);
/* The CRC-32 of n bytes of a file; false when they are not all there. */
bool ms_decrypt_crc32(int fd, uint64_t at, uint64_t n, uint32_t *out) MS_MUST_USE;
/* AES-CBC without padding. key_bytes: 16, 24 or 32. n is a multiple of 16 and keep at most n: only
 * the first `keep` plain bytes are written. Answers as ms_decrypt_copy. */
enum ms_decrypt_answer ms_decrypt_cbc(int from_fd, uint64_t from, uint64_t n, const uint8_t *key,
                                      size_t key_bytes, const uint8_t iv[16], int to_fd,
                                      uint64_t to, uint64_t keep, const char **why);
/* A password as UTF-16LE, at most cap bytes; the length in bytes, 0 when it does not fit. Bytes
 * that are not UTF-8 are taken one by one as Latin-1. */
size_t ms_decrypt_utf16(struct ms_span password, uint8_t *out, size_t cap);

/* 7z: AES-256 over data, headers or both. Source: 7zFormat.txt and Methods.txt of the LZMA SDK. */
extern const struct ms_decrypt_format ms_decrypt_7z;
/* RAR 5: AES-256 over data, headers or both. Source: RAR 5.0 archive format (technical note). */
extern const struct ms_decrypt_format ms_decrypt_rar5;
/* RAR 3 and RAR 4: AES-128. What RAR 2 and before did is UNSUPPORTED. */
extern const struct ms_decrypt_format ms_decrypt_rar4;
/* zip: the traditional cipher and WinZip's AES, for archives with a member whose method libarchive
 * decodes but does not decrypt; and small archives under the traditional cipher, for which this is
 * the faster way. Sources: PKWARE APPNOTE.TXT, WinZip's AE-1 and AE-2. */
extern const struct ms_decrypt_format ms_decrypt_zip;

#endif
