/* Small files, atomic writes, sorted folder walks. */
#define _GNU_SOURCE /* memfd_create */
#include "base/file.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK_BYTES = 64 * 1024, WALK_DEPTH = 64 };

/* A path as it may be shown. */
struct shown {
    char text[256];
};

static const char *show(const char *path, struct shown *out)
{
    return ms_escape_text(path, out->text, sizeof out->text);
}

static ssize_t read_some(int fd, void *bytes, size_t n)
{
    ssize_t got;
    do
        got = read(fd, bytes, n);
    while (got < 0 && errno == EINTR);
    return got;
}

enum ms_status ms_file_read(const char *path, struct ms_buf *out, struct ms_error *err)
{
    struct shown name;
    enum ms_status status = MS_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot open '%s'", show(path, &name));
    for (;;) {
        uint8_t extra;
        size_t room = out->max - out->len;
        size_t want = room == 0 ? 1 : room < CHUNK_BYTES ? room : CHUNK_BYTES;
        if (room && (status = ms_buf_reserve(out, want)) != MS_OK) {
            status = ms_error_set(err, status, "'%s': out of memory", show(path, &name));
            break;
        }
        ssize_t got = read_some(fd, room ? out->data + out->len : &extra, want);
        if (got < 0)
            status = ms_error_set_errno(err, MS_E_IO, errno, "cannot read '%s'", show(path, &name));
        else if (got > 0 && room == 0)
            status = ms_error_set(err, MS_E_LIMIT, "'%s' is larger than the %zu bytes allowed",
                                  show(path, &name), out->max);
        if (status != MS_OK || got == 0)
            break;
        out->len += (size_t)got;
        out->data[out->len] = 0;
    }
    close(fd);
    return status;
}

enum ms_status ms_file_write_all(int fd, const void *bytes, size_t n, struct ms_error *err)
{
    const uint8_t *p = bytes;
    while (n) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return ms_error_set_errno(err, MS_E_IO, errno, "cannot write");
        p += put;
        n -= (size_t)put;
    }
    return MS_OK;
}

/* The folder a path lies in, as an open descriptor; -1 with errno. */
static int open_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t n = slash == path ? 1 : (size_t)(slash - path);
    char *folder = strndup(path, n);
    if (!folder)
        return -1;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    return fd;
}

static enum ms_status write_synced(const char *path, const void *bytes, size_t n, unsigned mode,
                                   struct ms_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)mode);
    if (fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot create");
    enum ms_status status = ms_file_write_all(fd, bytes, n, err);
    if (status == MS_OK && fsync(fd) != 0)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot sync");
    if (close(fd) != 0 && status == MS_OK)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot close");
    return status;
}

enum ms_status ms_file_write_atomic(const char *path, const void *bytes, size_t n, unsigned mode,
                                    struct ms_error *err)
{
    static unsigned counter;
    struct shown name;
    struct ms_buf temporary;
    ms_buf_init(&temporary, CHUNK_BYTES);
    enum ms_status status = ms_buf_printf(&temporary, "%s.tmp.%ld.%u", path, (long)getpid(),
                                          __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED));
    if (status != MS_OK) {
        (void)ms_error_set(err, status, "the path is too long");
        goto out;
    }
    const char *from = ms_buf_text(&temporary);
    status = write_synced(from, bytes, n, mode, err);
    if (status == MS_OK && rename(from, path) != 0)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot rename");
    if (status != MS_OK) {
        (void)unlink(from);
        goto out;
    }
    int folder = open_parent(path);
    if (folder < 0 || fsync(folder) != 0)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot sync the folder");
    if (folder >= 0)
        close(folder);
out:
    if (status != MS_OK)
        ms_error_prepend(err, "cannot write '%s'", show(path, &name));
    ms_buf_release(&temporary);
    return status;
}

enum ms_status ms_file_make_dirs(const char *path, struct ms_error *err)
{
    struct shown name;
    struct stat st;
    enum ms_status status = MS_OK;
    int cause; /* stat has reasons of its own */
    char *copy = strdup(path);
    if (!copy)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (char *p = copy + 1; *copy && status == MS_OK; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char was = *p;
        *p = '\0';
        /* A folder of the way that exists but may not be written to is no reason to fail. */
        cause = mkdir(copy, 0700) != 0 ? errno : 0;
        if (cause && cause != EEXIST && stat(copy, &st) != 0)
            status = ms_error_set_errno(err, MS_E_IO, cause, "cannot make folder '%s'",
                                        show(copy, &name));
        *p = was;
        if (was == '\0')
            break;
    }
    if (status == MS_OK && stat(path, &st) != 0)
        status =
            ms_error_set_errno(err, MS_E_IO, errno, "cannot make folder '%s'", show(path, &name));
    else if (status == MS_OK && !S_ISDIR(st.st_mode))
        status = ms_error_set(err, MS_E_IO, "'%s' is not a folder", show(path, &name));
    free(copy);
    return status;
}

enum ms_status ms_file_memory(const char *name, int *fd, struct ms_error *err)
{
    int got = memfd_create(name, MFD_CLOEXEC);
    if (got < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot make a file in memory");
    *fd = got;
    return MS_OK;
}

struct walk {
    ms_file_visit visit;
    void *ctx;
    struct ms_buf path;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* The names in a folder in byte order; *errnum is set, and what was read kept, when it cannot be
 * read to its end. */
static enum ms_status list_names(DIR *dir, char ***out, size_t *out_count, int *errnum)
{
    char **names = NULL;
    size_t count = 0, room = 0;
    struct dirent *entry;
    while ((void)(errno = 0), (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (count == room) {
            size_t more = room ? room * 2 : 64;
            char **grown =
                more <= SIZE_MAX / sizeof *names ? realloc(names, more * sizeof *names) : NULL;
            if (!grown)
                goto nomem;
            names = grown;
            room = more;
        }
        names[count] = strdup(entry->d_name);
        if (!names[count])
            goto nomem;
        count++;
    }
    *errnum = errno;
    if (count)
        qsort(names, count, sizeof *names, by_name);
    *out = names;
    *out_count = count;
    return MS_OK;
nomem:
    free_names(names, count);
    return MS_E_NOMEM;
}

static enum ms_status walk_entry(struct walk *self, unsigned depth, bool follow,
                                 struct ms_error *err);

static enum ms_status walk_folder(struct walk *self, unsigned depth, struct ms_error *err)
{
    char **names = NULL;
    size_t count = 0;
    int errnum = 0;
    size_t base = self->path.len;
    enum ms_status status = MS_OK;
    if (depth > WALK_DEPTH)
        return self->visit(self->ctx, ms_buf_text(&self->path), NULL, ELOOP, err);
    int fd = open(ms_buf_text(&self->path),
                  O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth ? O_NOFOLLOW : 0));
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        errnum = errno;
        if (fd >= 0)
            close(fd);
        return self->visit(self->ctx, ms_buf_text(&self->path), NULL, errnum, err);
    }
    status = list_names(dir, &names, &count, &errnum);
    closedir(dir);
    if (status != MS_OK)
        return ms_error_set(err, status, "out of memory");
    if (errnum)
        status = self->visit(self->ctx, ms_buf_text(&self->path), NULL, errnum, err);
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        if (base && self->path.data[base - 1] != '/')
            (void)ms_buf_append_byte(&self->path, '/');
        status = ms_buf_append_text(&self->path, names[i]);
        status = status == MS_OK ? walk_entry(self, depth + 1, false, err)
                                 : ms_error_set(err, status, "a path is too long");
        self->path.len = base;
        self->path.data[base] = 0;
    }
    free_names(names, count);
    return status;
}

static enum ms_status walk_entry(struct walk *self, unsigned depth, bool follow,
                                 struct ms_error *err)
{
    struct stat st;
    const char *path = ms_buf_text(&self->path);
    if ((follow ? stat(path, &st) : lstat(path, &st)) != 0)
        return self->visit(self->ctx, path, NULL, errno, err);
    if (S_ISDIR(st.st_mode))
        return walk_folder(self, depth, err);
    if (S_ISREG(st.st_mode))
        return self->visit(self->ctx, path, &st, 0, err);
    return MS_OK;
}

enum ms_status ms_file_walk(const char *path, ms_file_visit visit, void *ctx, struct ms_error *err)
{
    struct walk walk = {.visit = visit, .ctx = ctx};
    ms_buf_init(&walk.path, (size_t)1 << 20);
    enum ms_status status = ms_buf_append_text(&walk.path, path);
    /* The path the user typed may be a link; what lies below it may not. */
    status = status == MS_OK ? walk_entry(&walk, 0, true, err)
                             : ms_error_set(err, status, "the path is too long");
    ms_buf_release(&walk.path);
    return status;
}
