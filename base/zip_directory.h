/* The central directory of a zip file, checked against the local headers. Nothing is decoded or
 * decrypted here. Runs in the worker only. */
#ifndef MS_BASE_ZIP_DIRECTORY_H
#define MS_BASE_ZIP_DIRECTORY_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_zip_cipher {
    MS_ZIP_PLAIN,
    MS_ZIP_CRYPTO, /* the traditional cipher, APPNOTE.TXT 6.1 */
    MS_ZIP_AES,    /* WinZip's AE-1 and AE-2 */
    MS_ZIP_STRONG  /* PKWARE's own, APPNOTE.TXT 7: not supported */
};

enum { MS_ZIP_STORE = 0, MS_ZIP_DEFLATE = 8 };

/* In ms_zip_entry.flags: checksum and sizes follow the data. */
enum { MS_ZIP_FLAG_DESCRIPTOR = 8 };

/* One member. Offsets count from the first byte of the file. */
struct ms_zip_entry {
    struct ms_span name;  /* as the central directory has it */
    struct ms_span extra; /* the central directory's extra fields */
    uint64_t local_at;
    uint64_t data_at;
    uint64_t packed_bytes; /* with what the cipher puts around the data */
    uint64_t size_bytes;   /* as announced */
    uint32_t crc;          /* 0 and meaningless when !has_crc */
    uint32_t attributes;
    uint16_t made_by;
    uint16_t flags;
    uint16_t method; /* the real one, not 99 */
    uint16_t time;
    uint16_t date;
    enum ms_zip_cipher cipher;
    uint8_t check;     /* the traditional cipher's check byte */
    uint8_t key_bytes; /* AES: 16, 24 or 32 */
    bool has_crc;      /* false for AE-2, whose proof is its authentication code */
    bool disagrees;    /* the local header says another thing than the directory */
    const char *why;   /* static text: why this member cannot be decrypted; NULL when it can */
};

/* Entries in the order of their data. */
struct ms_zip_directory {
    uint8_t *bytes; /* the central directory; names point into it */
    uint64_t at;    /* where it begins */
    struct ms_zip_entry *entries;
    size_t count;
    bool overlap; /* members share bytes, or reach into the directory: none but a bomb's do */
};

/* Reads the directory of the zip file in fd (seekable; its position is not used). MS_REJECT, with
 * the reason, when there is none (not a zip file, cut short), when it is not one of a single file
 * (split archives), and when it does not hold together. MS_E_LIMIT for more than
 * MS_LIMIT_UNPACK_ENTRIES_MOST members or a directory beyond MS_LIMIT_ZIP_DIRECTORY_BYTES.
 *
 * Format: PKWARE APPNOTE.TXT 6.3.10; WinZip, "AES Encryption Information: Encryption Specification
 * AE-1 and AE-2". */
enum ms_status ms_zip_directory_read(int fd, struct ms_zip_directory *out,
                                     struct ms_error *err) MS_MUST_USE;
/* Reads the local headers: data_at, check and overlap are set, and a member whose header says
 * another thing than the directory about method, encryption, sizes or checksum is marked. Its name
 * may differ (tools write it in different character sets), and is then the directory's. MS_REJECT
 * when a header is not where it should be. */
enum ms_status ms_zip_directory_check(int fd, struct ms_zip_directory *self,
                                      struct ms_error *err) MS_MUST_USE;
void ms_zip_directory_release(struct ms_zip_directory *self);

/* Do two end records of the zip file in fd both claim that their comment ends with the file? Then
 * it lists what its reader chooses. */
bool ms_zip_has_two_ends(int fd);

/* Why libarchive does not decode a method (static text), or NULL when it does. */
const char *ms_zip_method_refusal(uint16_t method);

/* Finds an extra field by its id; false when it is not there, or the fields do not hold together
 * before it. */
bool ms_zip_extra(struct ms_span extra, uint16_t id, struct ms_span *out) MS_MUST_USE;

#endif
