/* Small files: read with a cap, write atomically; folder walks in sorted order. No parsing. */
#ifndef MS_BASE_FILE_H
#define MS_BASE_FILE_H

#include "base/buf.h"

#include <stdio.h>
#include <sys/stat.h>

/* Appends the whole file to `out` (its max is the cap). MS_E_IO when it cannot be read, MS_E_LIMIT
 * when too large. */
enum ms_status ms_file_read(const char *path, struct ms_buf *out, struct ms_error *err) MS_MUST_USE;

/* Writes a temporary beside `path`, fsyncs it, renames it over `path`, fsyncs the folder. mode as
 * for open(2). */
enum ms_status ms_file_write_atomic(const char *path, const void *bytes, size_t n, unsigned mode,
                                    struct ms_error *err) MS_MUST_USE;

/* The same for a file that is written piece by piece through `file`: nothing is to be seen under
 * `path` until commit, which ends it, as abort does (also after a failed commit it is over). What
 * is there already must be a regular file: MS_E_USAGE, for renaming over a pipe would not write to
 * it. */
struct ms_file_stream {
    FILE *file;
    char *path, *temporary;
};
enum ms_status ms_file_stream_open(const char *path, unsigned mode, struct ms_file_stream *out,
                                   struct ms_error *err) MS_MUST_USE;
enum ms_status ms_file_stream_commit(struct ms_file_stream *self, struct ms_error *err) MS_MUST_USE;
void ms_file_stream_abort(struct ms_file_stream *self);

/* mkdir -p with mode 0700 for what it makes; an existing folder is fine. */
enum ms_status ms_file_make_dirs(const char *path, struct ms_error *err) MS_MUST_USE;

/* A new anonymous file in memory (memfd), close-on-exec; the caller closes it. */
enum ms_status ms_file_memory(const char *name, int *fd, struct ms_error *err) MS_MUST_USE;

/* Writes all n bytes to fd, going on after short writes and EINTR. */
enum ms_status ms_file_write_all(int fd, const void *bytes, size_t n,
                                 struct ms_error *err) MS_MUST_USE;

/* Calls `visit` for each regular file below `path` (or for path itself when it is a file), in byte
 * order of the names, symbolic links not followed, other file types skipped. A folder that cannot
 * be read is reported through `visit` with st NULL and errnum. A status other than MS_OK from visit
 * ends the walk and is returned. Depth is capped at 64 (deeper: visit with ELOOP). */
typedef enum ms_status (*ms_file_visit)(void *ctx, const char *path, const struct stat *st,
                                        int errnum, struct ms_error *err);
enum ms_status ms_file_walk(const char *path, ms_file_visit visit, void *ctx,
                            struct ms_error *err) MS_MUST_USE;

#endif
