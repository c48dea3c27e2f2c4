/* Blocks of RAR 5 archives as they are read; for base/decrypt_rar5*.c alone.
 *
 * Source: RAR 5.0 archive format (technical note). A block is CRC32, vint size, then vint type,
 * flags, [extra size], [data size], fields, extra records, and its data behind it. */
#ifndef MS_BASE_DECRYPT_RAR5_H
#define MS_BASE_DECRYPT_RAR5_H

#include "base/buf.h"
#include "base/decrypt_rar.h"

enum { MS_RAR5_MAIN = 1, MS_RAR5_FILE_BLOCK = 2, MS_RAR5_CRYPT = 4, MS_RAR5_END = 5 };
enum {
    MS_RAR5_HAS_EXTRA = 1,
    MS_RAR5_HAS_DATA = 2,
    MS_RAR5_SPLIT_BEFORE = 8,
    MS_RAR5_SPLIT_AFTER = 16
};
enum { MS_RAR5_ARCHIVE_VOLUME = 1, MS_RAR5_ARCHIVE_SOLID = 4 };
enum { MS_RAR5_IS_FOLDER = 1, MS_RAR5_HAS_TIME = 2, MS_RAR5_HAS_CRC = 4, MS_RAR5_SIZE_UNKNOWN = 8 };
enum { MS_RAR5_RECORD_CRYPT = 1, MS_RAR5_RECORD_HASH = 2, MS_RAR5_RECORD_LINK = 5 };
enum { MS_RAR5_CRYPT_CHECK = 1, MS_RAR5_CRYPT_TWEAKED = 2 };
enum { MS_RAR5_COMPRESSION_SOLID = 0x40 };
enum { MS_RAR5_HEADER_BYTES_MAX = 2 << 20, MS_RAR5_HEADER_ROOM = 64 };

/* How something is encrypted: the archive's headers, or one member. */
struct ms_rar5_cipher {
    bool tweaked;
    bool has_check;
    uint8_t rounds_log;
    uint8_t salt[MS_RAR5_SALT_BYTES];
    uint8_t iv[16];
    uint8_t check[MS_RAR5_CHECK_BYTES];
};

/* Spans are borrowed from the archive's header buffer until the next block is read. */
struct ms_rar5_block {
    uint64_t kind, flags;
    uint64_t data_at, data_bytes;
    uint64_t next;
    struct ms_span fields, extra;
};

struct ms_rar5_file {
    uint64_t flags, unpacked_bytes, compression;
    struct ms_span sizes; /* the fields between the flags and the checksum */
    struct ms_span rest;  /* and those behind the compression */
    uint32_t crc;
    bool encrypted, link;
    struct ms_rar5_cipher cipher;
};

struct ms_rar5_member {
    uint64_t at;
    size_t unit;
};

struct ms_rar5_unit {
    size_t first, last; /* members; those between need not belong to it */
    bool encrypted;
    enum ms_decrypt_answer answer; /* DONE, or what this unit stands for: no members, and `why` */
    const char *why;
};

/* What a compressed member's CRC32 must come to, in the order of what was written last. */
struct ms_rar5_expected {
    bool tweaked;
    uint32_t crc;
    struct ms_rar5_keys keys;
};

struct ms_rar5 {
    int fd;
    struct ms_decrypt_keys *cache;
    uint64_t bytes;
    uint64_t first_at; /* of the blocks behind the signature and the encryption block */
    bool hidden;
    struct ms_rar5_cipher cipher; /* of the headers, when hidden */
    struct ms_rar5_keys keys;
    bool has_main;
    uint64_t archive_flags;
    struct ms_buf header;
    struct ms_rar5_member *members;
    size_t member_count, member_cap;
    struct ms_rar5_unit *units;
    size_t unit_count, unit_cap;
    struct ms_rar5_expected *expected;
    size_t expected_count, expected_cap;
};

/* Reads the block at an offset into the header buffer, decrypted. False when it is damaged, or the
 * keys are wrong. */
bool ms_rar5_read_block(struct ms_rar5 *self, uint64_t at, struct ms_rar5_block *out) MS_MUST_USE;

/* The fields and records of a file's block. DONE, CORRUPT or UNSUPPORTED. */
enum ms_decrypt_answer ms_rar5_read_file(const struct ms_rar5_block *block,
                                         struct ms_rar5_file *out, const char **why);

/* The encryption block's fields, or a member's encryption record, which has a start value too. As
 * above. */
enum ms_decrypt_answer ms_rar5_read_cipher(struct ms_span from, bool with_iv,
                                           struct ms_rar5_cipher *out, const char **why);

/* Takes the next extra record: all of it, and what is behind its kind. */
bool ms_rar5_next_record(struct ms_span *records, uint64_t *kind, struct ms_span *whole,
                         struct ms_span *body) MS_MUST_USE;

/* Appends a block's header; everything but the value of data_bytes decides its length. False
 * without memory. */
bool ms_rar5_make_header(uint64_t kind, uint64_t data_bytes, bool has_data, struct ms_span fields,
                         struct ms_span extra, struct ms_buf *out) MS_MUST_USE;

extern const char ms_rar5_damaged_header[];

#endif
