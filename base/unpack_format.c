/* Which formats are opened and how libarchive's messages are read. Walks nothing. */
#define _GNU_SOURCE
#include "base/decrypt.h"
#include "base/hash.h"
#include "base/unpack_private.h"

#include <archive_entry.h>
#include <errno.h>
#include <iconv.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 64 << 10, HEAD_BYTES = 32 };

/* One by one: support_filter_all would bring lrzip and grzip, which run programs, and
 * support_format_all mtree, which reads local files. */
static bool enable_formats(struct archive *a)
{
    int rc = ARCHIVE_OK;
    int (*const enable[])(struct archive *) = {
        archive_read_support_format_zip,     archive_read_support_format_7zip,
        archive_read_support_format_rar,     archive_read_support_format_rar5,
        archive_read_support_format_tar,     archive_read_support_format_cab,
        archive_read_support_format_iso9660, archive_read_support_format_cpio,
        archive_read_support_format_ar,      archive_read_support_format_lha};
    for (size_t i = 0; i < sizeof enable / sizeof *enable && rc >= ARCHIVE_WARN; i++)
        rc = enable[i](a);
    return rc >= ARCHIVE_WARN;
}

/* Not gzip and zstd: libarchive does not verify a gzip member's CRC; base/stream does. */
static bool enable_filters(struct archive *a)
{
    int rc = ARCHIVE_OK;
    int (*const enable[])(struct archive *) = {
        archive_read_support_filter_bzip2, archive_read_support_filter_compress,
        archive_read_support_filter_xz,    archive_read_support_filter_lzma,
        archive_read_support_filter_lzip,  archive_read_support_filter_lz4};
    for (size_t i = 0; i < sizeof enable / sizeof *enable && rc >= ARCHIVE_WARN; i++)
        rc = enable[i](a);
    return rc >= ARCHIVE_WARN;
}

static bool open_at_start(struct archive *a, int fd)
{
    return lseek(fd, 0, SEEK_SET) == 0 && archive_read_open_fd(a, fd, BLOCK_BYTES) >= ARCHIVE_WARN;
}

struct archive *ms_unpack_open_archive(int fd, const char *password, const char **why)
{
    struct archive *a = archive_read_new();
    *why = "out of memory";
    if (!a)
        return NULL;
    if (enable_formats(a) &&
        (!password || archive_read_add_passphrase(a, password) == ARCHIVE_OK) &&
        open_at_start(a, fd))
        return a;
    *why = "no archive format";
    (void)archive_read_free(a);
    return NULL;
}

struct archive *ms_unpack_open_sequential(const struct ms_unpack_source *source, const char **why)
{
    struct archive *a = archive_read_new();
    *why = "out of memory";
    if (!a)
        return NULL;
    if (archive_read_support_format_tar(a) >= ARCHIVE_WARN &&
        archive_read_support_format_cpio(a) >= ARCHIVE_WARN &&
        archive_read_support_format_ar(a) >= ARCHIVE_WARN &&
        archive_read_open2(a, source->ctx, NULL, source->read, NULL, NULL) >= ARCHIVE_WARN)
        return a;
    *why = "no archive format";
    (void)archive_read_free(a);
    return NULL;
}

bool ms_unpack_is_sequential(int fd)
{
    const char *why;
    struct archive_entry *entry;
    struct archive *a = ms_unpack_open_archive(fd, NULL, &why);
    if (!a)
        return false;
    int rc = archive_read_next_header(a, &entry);
    int format = archive_format(a), base = format & ARCHIVE_FORMAT_BASE_MASK;
    /* Against binary cpio, whose magic is of two bytes, a zip file's end would win. */
    bool good = (rc == ARCHIVE_OK || rc == ARCHIVE_WARN) &&
                (base == ARCHIVE_FORMAT_TAR || base == ARCHIVE_FORMAT_AR ||
                 (base == ARCHIVE_FORMAT_CPIO && format != ARCHIVE_FORMAT_CPIO_BIN_LE &&
                  format != ARCHIVE_FORMAT_CPIO_BIN_BE));
    (void)archive_read_free(a);
    return good;
}

struct archive *ms_unpack_open_rewritten(int fd, const char *format, bool proven, const char **why)
{
    static const struct {
        const char *name;
        int (*enable)(struct archive *);
    } formats[] = {{"zip", archive_read_support_format_zip_seekable},
                   {"7z", archive_read_support_format_7zip},
                   {"RAR 5", archive_read_support_format_rar5},
                   {"RAR 4", archive_read_support_format_rar}};
    struct archive *a = archive_read_new();
    bool good = a != NULL;
    *why = "no archive format";
    for (size_t i = 0; i < sizeof formats / sizeof *formats && good; i++)
        if (strcmp(formats[i].name, format) == 0)
            good = formats[i].enable(a) >= ARCHIVE_WARN;
    if (good && proven)
        good = archive_read_set_options(a, "zip:ignorecrc32") == ARCHIVE_OK;
    if (good && open_at_start(a, fd))
        return a;
    (void)archive_read_free(a);
    return NULL;
}

bool ms_unpack_keeps_pieces(struct archive *archive)
{
    return (archive_format(archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_RAR_V5;
}

struct archive *ms_unpack_open_behind(int fd, uint32_t headers)
{
    const char *why;
    struct archive_entry *entry;
    struct archive *a = ms_unpack_open_rewritten(fd, "RAR 5", false, &why);
    for (uint32_t i = 0; a && i < headers; i++) {
        int rc = archive_read_next_header(a, &entry);
        if (rc == ARCHIVE_OK || rc == ARCHIVE_WARN || rc == ARCHIVE_RETRY)
            continue;
        (void)archive_read_free(a);
        a = NULL;
    }
    return a;
}

struct archive *ms_unpack_open_filter(int fd)
{
    struct archive *a = archive_read_new();
    if (a && enable_filters(a) && archive_read_support_format_raw(a) >= ARCHIVE_WARN &&
        open_at_start(a, fd) && archive_filter_count(a) > 1)
        return a;
    (void)archive_read_free(a);
    return NULL;
}

/* Begins like a format whose magic is long enough to be believed even when the first header is
 * damaged, and that no compressed stream begins with. Others (old tar, binary cpio, lha) must show
 * one good header first. */
static bool strong_magic(const uint8_t *head, size_t n)
{
    static const struct {
        const char *bytes;
        size_t n;
    } magics[] = {{"PK\3\4", 4},     {"PK\5\6", 4},      {"PK\7\10", 4}, {"7z\xbc\xaf\x27\x1c", 6},
                  {"Rar!\x1a\7", 6}, {"MSCF\0\0\0\0", 8}};
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (n >= magics[i].n && memcmp(head, magics[i].bytes, magics[i].n) == 0)
            return true;
    return false;
}

static bool is_archive(int fd)
{
    const char *why;
    struct archive *a = ms_unpack_open_archive(fd, NULL, &why);
    if (!a)
        return false;
    struct archive_entry *entry;
    int rc = archive_read_next_header(a, &entry);
    bool good = rc == ARCHIVE_OK || rc == ARCHIVE_WARN ||
                (rc == ARCHIVE_EOF && archive_format(a) == ARCHIVE_FORMAT_ZIP);
    if ((archive_format(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_EMPTY)
        good = false;
    (void)archive_read_free(a);
    return good;
}

enum ms_unpack_shape ms_unpack_shape_of(int fd)
{
    uint8_t head[HEAD_BYTES];
    ssize_t got = pread(fd, head, sizeof head, 0);
    size_t n = got > 0 ? (size_t)got : 0;
    if (n < 2 || memcmp(head, "MZ", 2) == 0)
        return MS_SHAPE_PLAIN;
    if (head[0] == 0x1f && head[1] == 0x8b)
        return MS_SHAPE_GZIP_ZSTD;
    if (n >= 4 && memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0)
        return MS_SHAPE_GZIP_ZSTD;
    if (strong_magic(head, n))
        return MS_SHAPE_ARCHIVE;
    struct archive *a = ms_unpack_open_filter(fd);
    if (a) {
        (void)archive_read_free(a);
        return MS_SHAPE_FILTER;
    }
    return is_archive(fd) ? MS_SHAPE_ARCHIVE : MS_SHAPE_PLAIN;
}

bool ms_unpack_is_file(struct archive_entry *entry)
{
    unsigned type = archive_entry_filetype(entry);
    /* No type at all: ar writes bare permissions for everything (binutils in its deterministic
     * mode). */
    return (type == AE_IFREG || type == 0) && !archive_entry_hardlink(entry) &&
           !archive_entry_symlink(entry);
}

bool ms_unpack_is_password_error(struct archive *archive)
{
    const char *text = archive_error_string(archive);
    return text && strcasestr(text, "passphrase");
}

bool ms_unpack_is_cut(const char *text)
{
    return strcasestr(text, "truncated") || strstr(text, "failed (-5)"); /* zlib's Z_BUF_ERROR */
}

enum ms_unpack_fault ms_unpack_fault_of(struct archive *archive, const char **text)
{
    static const struct {
        const char *part;
        enum ms_unpack_fault fault;
    } readings[] = {
        {"passphrase", MS_UNPACK_NEED_PASSWORD},   {"ncrypt", MS_UNPACK_UNSUPPORTED},
        {"nsupported", MS_UNPACK_UNSUPPORTED},     {"not supported", MS_UNPACK_UNSUPPORTED},
        {"codec ID", MS_UNPACK_UNSUPPORTED},       {"unavailable", MS_UNPACK_UNSUPPORTED},
        {"dictionary", MS_UNPACK_UNSUPPORTED},     {"allocate", MS_UNPACK_LIMIT_MEMORY},
        {"out of memory", MS_UNPACK_LIMIT_MEMORY}, {"Multivolume", MS_UNPACK_UNSUPPORTED},
        {"multi-volume", MS_UNPACK_UNSUPPORTED},
    };
    const char *said = archive_error_string(archive);
    *text = said ? said : "unknown error";
    if (archive_errno(archive) == ENOMEM)
        return MS_UNPACK_LIMIT_MEMORY;
    for (size_t i = 0; i < sizeof readings / sizeof *readings; i++)
        if (strcasestr(*text, readings[i].part))
            return readings[i].fault;
    return MS_UNPACK_CORRUPT;
}

bool ms_unpack_cannot_decrypt(struct archive *archive, const char **why)
{
    /* "ZIP 2.0 (deflation)": the method is only to be had from the name. An AES member says "aes"
     * and shows its method when it is read. */
    if ((archive_format(archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_ZIP) {
        const char *name = archive_format_name(archive);
        *why = "encrypted zip member with a method other than store and deflate";
        return name && !strstr(name, "(uncompressed)") && !strstr(name, "(deflation)") &&
               !strcasestr(name, "aes");
    }
    *why = (archive_format(archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_7ZIP
               ? "7z encryption (AES) is not supported"
               : "this archive's encryption is not supported";
    return true;
}

static enum ms_status pass_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                  struct ms_error *err)
{
    (void)ctx;
    (void)member;
    (void)descend;
    (void)err;
    return MS_OK;
}

static enum ms_status pass_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                                 struct ms_span detail, struct ms_error *err)
{
    (void)ctx;
    (void)chain;
    (void)fault;
    (void)detail;
    (void)err;
    return MS_OK;
}

/* One encrypted member, opened before any child is forked: what is bound and set up at its first
 * use would otherwise be by every child for itself. */
static void open_once(void)
{
    static const uint8_t zip[] = {
        0x50, 0x4b, 0x03, 0x04, 0x14, 0x00, 0x01, 0x00, 0x08, 0x00, 0x00, 0x60, 0x21, 0x58, 0xa8,
        0x95, 0x0a, 0xbb, 0x14, 0x00, 0x00, 0x00, 0x52, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
        0x78, 0x7c, 0xda, 0xea, 0xe0, 0xbf, 0x16, 0xed, 0xb0, 0xd4, 0x0b, 0x68, 0x9e, 0x44, 0x0a,
        0x46, 0xa6, 0x18, 0xc7, 0xf0, 0xdc, 0x50, 0x4b, 0x01, 0x02, 0x14, 0x00, 0x14, 0x00, 0x01,
        0x00, 0x08, 0x00, 0x00, 0x60, 0x21, 0x58, 0xa8, 0x95, 0x0a, 0xbb, 0x14, 0x00, 0x00, 0x00,
        0x52, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x78, 0x50, 0x4b, 0x05, 0x06, 0x00, 0x00, 0x00,
        0x00, 0x01, 0x00, 0x01, 0x00, 0x2f, 0x00, 0x00, 0x00, 0x33, 0x00, 0x00, 0x00, 0x00, 0x00,
    };
    static const struct ms_unpack_events events = {NULL, pass_member, pass_fault};
    struct ms_span password = ms_span_of("x", 1);
    int fd = memfd_create("first", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, zip, sizeof zip) == (ssize_t)sizeof zip)
        (void)!ms_unpack_walk(fd, &password, 1, NULL, &events, NULL);
    if (fd >= 0)
        (void)close(fd);
}

void ms_unpack_prepare(void)
{
    /* Without it keys cannot be derived, and every attempt says so. */
    (void)ms_decrypt_prepare();
    /* The hash library sets itself up with the first hasher. */
    struct ms_hasher *hasher;
    if (ms_hasher_new(MS_HASH_SHA256, &hasher, NULL) == MS_OK)
        ms_hasher_free(hasher);
    /* In the C locale libarchive gives no name at all for members named in UTF-8. */
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    /* mktime, of which a zip member's time takes one, looks at /etc/localtime each time unless TZ
     * is set; nobody reads members' times. */
    (void)setenv("TZ", "UTC0", 1);
    tzset();
    /* glibc loads a module a character set, from disk. Kept open for the life of the process. */
    static void *volatile kept[8]; /* volatile, or they are a leak that nothing points to */
    static const char *const sets[] = {"CP437", "CP932", "UTF-16LE", "UTF-16BE", "CP850", "CP1252"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (!kept[i])
            kept[i] = iconv_open("UTF-8", sets[i]);
    open_once();
}
