/* Temporary files without a name. */
#define _GNU_SOURCE
#include "malseq/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum ms_status fail(const char *what, struct ms_error *err)
{
    int errnum = errno ? errno : EIO;
    return ms_error_set_errno(err, MS_E_IO, errnum, "cannot %s a temporary file", what);
}

/* Where a file system knows no O_TMPFILE, a name that is gone at once. */
static int open_named(const char *folder)
{
    char *name = NULL;
    if (asprintf(&name, "%s/.malseq-spool-XXXXXX", folder) < 0)
        return -1;
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(name);
    free(name);
    return fd;
}

enum ms_status malseq_spool_open(const char *beside, FILE **out, struct ms_error *err)
{
    const char *slash = strrchr(beside, '/');
    char *folder =
        slash ? strndup(beside, slash == beside ? 1 : (size_t)(slash - beside)) : strdup(".");
    if (!folder)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        fd = open_named(folder);
    free(folder);
    *out = fd < 0 ? NULL : fdopen(fd, "w+");
    if (*out)
        return MS_OK;
    enum ms_status status = fail("make", err);
    if (fd >= 0)
        (void)close(fd);
    return status;
}

enum ms_status malseq_spool_put(FILE *spool, const void *bytes, size_t n, struct ms_error *err)
{
    errno = 0;
    return fwrite(bytes, 1, n, spool) == n ? MS_OK : fail("write", err);
}

enum ms_status malseq_spool_rewind(FILE *spool, struct ms_error *err)
{
    errno = 0;
    return fflush(spool) == 0 && fseeko(spool, 0, SEEK_SET) == 0 ? MS_OK : fail("rewind", err);
}

enum ms_status malseq_spool_get(FILE *spool, void *bytes, size_t n, struct ms_error *err)
{
    errno = 0;
    return fread(bytes, 1, n, spool) == n ? MS_OK : fail("read", err);
}
