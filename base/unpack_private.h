/* What the walk needs of libarchive and of formats; for base/unpack*.c alone. */
#ifndef MS_BASE_UNPACK_PRIVATE_H
#define MS_BASE_UNPACK_PRIVATE_H

#include "base/unpack.h"

#include <archive.h>
#include <stddef.h>

enum ms_unpack_shape {
    MS_SHAPE_PLAIN,     /* nothing we open */
    MS_SHAPE_GZIP_ZSTD, /* a compressed stream base/stream reads, checksum and all */
    MS_SHAPE_FILTER,    /* a compressed stream libarchive reads */
    MS_SHAPE_ARCHIVE
};

/* Looks at the content; leaves the position of fd anywhere. */
enum ms_unpack_shape ms_unpack_shape_of(int fd);

/* An archive ready for its first header, or NULL with *why. password may be NULL. */
struct archive *ms_unpack_open_archive(int fd, const char *password, const char **why);
/* Bytes of an archive that is not in a file: libarchive's reader, 0 at the end, or ARCHIVE_FATAL
 * with the archive's error set. */
struct ms_unpack_source {
    la_ssize_t (*read)(struct archive *archive, void *ctx, const void **bytes);
    void *ctx;
};
/* The same for an archive that is read once from its beginning to its end. */
struct archive *ms_unpack_open_sequential(const struct ms_unpack_source *source, const char **why);
/* Does fd begin with an archive that ms_unpack_open_sequential reads as well as
 * ms_unpack_open_archive does? */
bool ms_unpack_is_sequential(int fd);
/* The same for what base/decrypt wrote: only the format of that name is looked for. proven: a zip
 * file whose members are proven already, and have no checksum. */
struct archive *ms_unpack_open_rewritten(int fd, const char *format, bool proven, const char **why);
/* Has this handle to be given up when a member was not read to its end? libarchive 3.6.2 keeps up
 * to two pieces of a RAR 5 member for the next calls. What is left of them is handed out as the
 * next member's, after that member's larger dictionary took the place of the one they lie in. */
bool ms_unpack_keeps_pieces(struct archive *archive);
/* Instead of such a handle: a RAR 5 archive behind its first headers, whose members were passed
 * over. NULL when that fails. */
struct archive *ms_unpack_open_behind(int fd, uint32_t headers);
/* The same for a compressed stream: one "raw" member. */
struct archive *ms_unpack_open_filter(int fd);

/* What libarchive's message means; it has no codes for most of this. */
enum ms_unpack_fault ms_unpack_fault_of(struct archive *archive, const char **text);
bool ms_unpack_is_password_error(struct archive *archive);
/* A regular file: no folder, link or device. */
bool ms_unpack_is_file(struct archive_entry *entry);
/* Does the message say that the data ends too early? */
bool ms_unpack_is_cut(const char *text);

/* True when the current member, which is encrypted, is beyond libarchive 3.6.2; *why says how. */
bool ms_unpack_cannot_decrypt(struct archive *archive, const char **why);

#endif
