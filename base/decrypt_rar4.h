/* Blocks of RAR 3 and RAR 4 archives as they are read; for base/decrypt_rar4*.c and
 * base/rar_volumes4.c alone. */
#ifndef MS_BASE_DECRYPT_RAR4_H
#define MS_BASE_DECRYPT_RAR4_H

#include "base/buf.h"
#include "base/decrypt_rar.h"
#include "base/limits.h"

enum {
    MS_RAR4_MAIN = 0x73,
    MS_RAR4_FILE_BLOCK = 0x74,
    MS_RAR4_OLD_FIRST = 0x75,
    MS_RAR4_OLD_LAST = 0x79,
    MS_RAR4_SERVICE = 0x7a
};
enum { MS_RAR4_END = 0x7b };
enum { MS_RAR4_MAIN_VOLUME = 1, MS_RAR4_MAIN_SOLID = 8, MS_RAR4_MAIN_HIDDEN = 0x80 };
enum {
    MS_RAR4_FILE_SPLIT_BEFORE = 1,
    MS_RAR4_FILE_SPLIT_AFTER = 2,
    MS_RAR4_FILE_ENCRYPTED = 4,
    MS_RAR4_FILE_SOLID = 0x10,
    MS_RAR4_FILE_FOLDER = 0xe0,
    MS_RAR4_FILE_LARGE = 0x100,
    MS_RAR4_FILE_SALT = 0x400,
    MS_RAR4_HAS_DATA = 0x8000
};
enum {
    MS_RAR4_HEAD_BYTES = 7,
    MS_RAR4_NAME_AT = 32,
    MS_RAR4_LARGE_BYTES = 8,
    MS_RAR4_MAIN_BODY_BYTES = 6,
    MS_RAR4_STORED = 0x30
};

/* `whole` is borrowed from the archive's header buffer until the next block is read. */
struct ms_rar4_block {
    uint8_t kind;
    uint16_t flags;
    struct ms_span whole;
    uint64_t data_at, data_bytes, next;
};

struct ms_rar4_file {
    uint64_t unpacked_bytes;
    uint32_t crc;
    uint8_t version, method;
    size_t name_end; /* in the header */
    struct ms_span salt;
};

/* An archive, or a volume, whose blocks are read. */
struct ms_rar4_reader {
    int fd;
    struct ms_decrypt_keys *cache;
    uint8_t
        password[MS_LIMIT_SECRET_BYTES]; /* of the headers, each of which may have its own salt */
    size_t password_bytes;
    struct ms_buf header;
};

/* The block at an offset into the header buffer, decrypted when `hidden`. DONE; CORRUPT when it is
 * damaged or the password is wrong; what ms_rar4_derive says. */
enum ms_decrypt_answer ms_rar4_read_block(struct ms_rar4_reader *self, uint64_t at, bool hidden,
                                          struct ms_rar4_block *out, const char **why) MS_MUST_USE;

/* The fields of a file's block. False when they do not fit into it. */
bool ms_rar4_read_file(const struct ms_rar4_block *block, struct ms_rar4_file *out) MS_MUST_USE;

extern const char ms_rar4_damaged_header[];

#endif
