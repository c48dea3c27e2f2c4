/* A file written piece by piece that appears whole or not at all. */
#define _GNU_SOURCE
#include "base/file.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void forget(struct ms_file_stream *self)
{
    free(self->path);
    free(self->temporary);
    *self = (struct ms_file_stream){NULL, NULL, NULL};
}

static enum ms_status fail(const char *path, const char *what, struct ms_error *err)
{
    char shown[256];
    int errnum = errno;
    return ms_error_set_errno(err, MS_E_IO, errnum, "cannot write '%s': %s",
                              ms_escape_text(path, shown, sizeof shown), what);
}

enum ms_status ms_file_stream_open(const char *path, unsigned mode, struct ms_file_stream *out,
                                   struct ms_error *err)
{
    struct ms_file_stream self = {NULL, strdup(path), NULL};
    struct stat st;
    enum ms_status status = MS_OK;
    char shown[256];
    *out = (struct ms_file_stream){NULL, NULL, NULL};
    if (!self.path || asprintf(&self.temporary, "%s.tmp.%ld", path, (long)getpid()) < 0) {
        self.temporary = NULL;
        forget(&self);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        status = ms_error_set(err, MS_E_USAGE, "'%s' is there and is not a file",
                              ms_escape_text(path, shown, sizeof shown));
    } else {
        int fd = open(self.temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                      (mode_t)mode);
        self.file = fd < 0 ? NULL : fdopen(fd, "w");
        if (!self.file)
            status = fail(path, "cannot create a file beside it", err);
        if (fd >= 0 && !self.file) {
            (void)close(fd);
            (void)unlink(self.temporary);
        }
    }
    if (status == MS_OK)
        *out = self;
    else
        forget(&self);
    return status;
}

/* The folder's own entry must be on disk too, or a crash takes the new name away again. */
static bool sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool good = fd >= 0 && fsync(fd) == 0;
    int errnum = errno;
    if (fd >= 0)
        (void)close(fd);
    free(folder);
    errno = errnum;
    return good;
}

enum ms_status ms_file_stream_commit(struct ms_file_stream *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    errno = 0;
    if (ferror(self->file) || fflush(self->file) != 0 || fsync(fileno(self->file)) != 0)
        status = fail(self->path, "its bytes did not reach the disk", err);
    if (fclose(self->file) != 0 && status == MS_OK)
        status = fail(self->path, "cannot close", err);
    if (status == MS_OK && rename(self->temporary, self->path) != 0)
        status = fail(self->path, "cannot rename", err);
    if (status != MS_OK)
        (void)unlink(self->temporary);
    else if (!sync_folder(self->path))
        status = fail(self->path, "cannot sync the folder", err);
    forget(self);
    return status;
}

void ms_file_stream_abort(struct ms_file_stream *self)
{
    if (!self->file)
        return;
    (void)fclose(self->file);
    (void)unlink(self->temporary);
    forget(self);
}
