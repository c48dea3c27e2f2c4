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
/* The same for what base/decrypt wrote: only the format of that name is looked for. proven: a zip
 * file whose members are proven already, and have no checksum. */
struct archive *ms_unpack_open_rewritten(int fd, const char *format, bool proven, const char **why);
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
