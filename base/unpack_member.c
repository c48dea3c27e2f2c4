/* Members of an archive, streamed. No passwords, and nesting of one level alone: more is the walk's
 * business. */
#include "base/unpack_member.h"

#include "base/log.h"
#include "base/unpack_private.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 64 << 10 };

struct ms_unpack_stream {
    struct archive *archive;
    struct archive *inner; /* within the archive's present member; NULL: none */
    uint64_t produced_bytes;
    uint8_t piece[PIECE_BYTES]; /* of the outer member, on its way into inner */
};

static enum ms_status reject(struct archive *archive, struct ms_error *err)
{
    char text[256];
    const char *why = archive_error_string(archive);
    return ms_error_set(err, MS_REJECT, "damaged archive: %s",
                        ms_escape_text(why ? why : "no reason given", text, sizeof text));
}

static enum ms_status find(struct archive *archive, const char *name, struct ms_error *err)
{
    struct archive_entry *entry;
    for (;;) {
        int rc = archive_read_next_header(archive, &entry);
        if (rc == ARCHIVE_EOF)
            return ms_error_set(err, MS_REJECT, "the archive has no member '%s'", name);
        if (rc < ARCHIVE_WARN)
            return reject(archive, err);
        const char *path = archive_entry_pathname(entry);
        if (path && strcmp(path, name) == 0)
            return MS_OK;
    }
}

enum ms_status ms_unpack_stream_open(int fd, const char *name, struct ms_unpack_stream **out,
                                     struct ms_error *err)
{
    const char *why = NULL;
    struct ms_unpack_stream *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for an archive");
    self->archive = ms_unpack_open_archive(fd, NULL, &why);
    enum ms_status status = self->archive ? find(self->archive, name, err)
                                          : ms_error_set(err, MS_REJECT, "not an archive: %s",
                                                         why ? why : "no format we read");
    if (status != MS_OK) {
        ms_unpack_stream_close(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_unpack_stream_close(struct ms_unpack_stream *self)
{
    if (!self)
        return;
    if (self->inner)
        (void)archive_read_free(self->inner);
    if (self->archive)
        (void)archive_read_free(self->archive);
    free(self);
}

enum ms_status ms_unpack_stream_begin(int fd, struct ms_unpack_stream **out, struct ms_error *err)
{
    const char *why = NULL;
    struct ms_unpack_stream *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for an archive");
    self->archive = ms_unpack_open_archive(fd, NULL, &why);
    if (!self->archive) {
        free(self);
        return ms_error_set(err, MS_REJECT, "not an archive: %s", why ? why : "no format we read");
    }
    *out = self;
    return MS_OK;
}

enum ms_status ms_unpack_stream_next(struct ms_unpack_stream *self, const char **name, bool *more,
                                     struct ms_error *err)
{
    self->produced_bytes = 0;
    *more = false;
    for (;;) {
        struct archive *archive = self->inner ? self->inner : self->archive;
        struct archive_entry *entry;
        int rc = archive_read_next_header(archive, &entry);
        if (rc == ARCHIVE_RETRY ||
            (rc >= ARCHIVE_WARN && rc != ARCHIVE_EOF && !ms_unpack_is_file(entry)))
            continue;
        if (rc >= ARCHIVE_WARN && rc != ARCHIVE_EOF) {
            const char *path = archive_entry_pathname(entry);
            *name = path ? path : "";
            *more = true;
            return MS_OK;
        }
        enum ms_status status = rc == ARCHIVE_EOF ? MS_OK : reject(archive, err);
        bool was_inner = self->inner;
        if (was_inner) {
            (void)archive_read_free(self->inner);
            self->inner = NULL;
        }
        if (status != MS_OK || !was_inner)
            return status;
    }
}

static la_ssize_t read_outer(struct archive *inner, void *ctx, const void **bytes)
{
    struct ms_unpack_stream *self = ctx;
    la_ssize_t got;
    do
        got = archive_read_data(self->archive, self->piece, sizeof self->piece);
    while (got == ARCHIVE_RETRY);
    *bytes = self->piece;
    if (got >= 0)
        return got;
    const char *why = archive_error_string(self->archive);
    archive_set_error(inner, EIO, "%s", why ? why : "damaged");
    return ARCHIVE_FATAL;
}

enum ms_status ms_unpack_stream_enter(struct ms_unpack_stream *self, struct ms_error *err)
{
    if (self->inner)
        return ms_error_set(err, MS_REJECT, "an archive in an archive in an archive");
    struct archive *inner = archive_read_new();
    if (!inner)
        return ms_error_set(err, MS_E_NOMEM, "no memory for an archive");
    if (archive_read_support_format_zip_streamable(inner) < ARCHIVE_WARN ||
        archive_read_support_format_tar(inner) < ARCHIVE_WARN ||
        archive_read_open2(inner, self, NULL, read_outer, NULL, NULL) < ARCHIVE_WARN) {
        enum ms_status status = reject(inner, err);
        (void)archive_read_free(inner);
        return status;
    }
    self->inner = inner;
    return MS_OK;
}

enum ms_status ms_unpack_stream_read(struct ms_unpack_stream *self, uint64_t max_bytes, void *buf,
                                     size_t cap, size_t *n, struct ms_error *err)
{
    la_ssize_t got;
    *n = 0;
    struct archive *archive = self->inner ? self->inner : self->archive;
    do
        got = archive_read_data(archive, buf, cap);
    while (got == ARCHIVE_RETRY);
    if (got < 0)
        return reject(archive, err);
    self->produced_bytes += (uint64_t)got;
    if (self->produced_bytes > max_bytes)
        return ms_error_set(err, MS_E_LIMIT, "more than %llu bytes unpacked",
                            (unsigned long long)max_bytes);
    *n = (size_t)got;
    return MS_OK;
}
