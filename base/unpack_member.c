/* A member of an archive, streamed. No passwords, no nesting: that is the walk's business. */
#include "base/unpack_member.h"

#include "base/log.h"
#include "base/unpack_private.h"

#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

struct ms_unpack_stream {
    struct archive *archive;
    uint64_t produced_bytes;
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
    if (self->archive)
        (void)archive_read_free(self->archive);
    free(self);
}

enum ms_status ms_unpack_stream_read(struct ms_unpack_stream *self, uint64_t max_bytes, void *buf,
                                     size_t cap, size_t *n, struct ms_error *err)
{
    la_ssize_t got;
    *n = 0;
    do
        got = archive_read_data(self->archive, buf, cap);
    while (got == ARCHIVE_RETRY);
    if (got < 0)
        return reject(self->archive, err);
    self->produced_bytes += (uint64_t)got;
    if (self->produced_bytes > max_bytes)
        return ms_error_set(err, MS_E_LIMIT, "more than %llu bytes unpacked",
                            (unsigned long long)max_bytes);
    *n = (size_t)got;
    return MS_OK;
}
