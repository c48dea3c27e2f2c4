/* Files of a backup: copied beside their names, then renamed; or linked. What a tree replaces waits
 * beside its name until it is told that its time has come. */
#define _GNU_SOURCE /* copy_file_range */
#include "malseq/backup_files.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Behind the name of a file of a tree that is to replace another. */
#define NEXT ".next"

enum { BLOCK_BYTES = 256 << 10 };

static enum ms_status fail(const char *what, const char *path, struct ms_error *err)
{
    char shown[256];
    return ms_error_set_errno(err, MS_E_IO, errno, "cannot %s '%s'", what,
                              ms_escape_text(path, shown, sizeof shown));
}

static enum ms_status join(char out[PATH_MAX], const char *folder, const char *name,
                           const char *suffix, struct ms_error *err)
{
    int n = snprintf(out, PATH_MAX, "%s/%s%s", folder, name, suffix);
    return n > 0 && n < PATH_MAX ? MS_OK
                                 : ms_error_set(err, MS_E_IO, "a path of the backup is too long");
}

/* The folders of a path that ends with a file's name. */
static enum ms_status make_folders(const char *path, struct ms_error *err)
{
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    return slash ? ms_file_make_dirs(folder, err) : MS_OK;
}

/* So many bytes, from the beginning: what a log gains meanwhile is for the next backup. */
static enum ms_status copy_bytes(int in, int out, const char *to, uint64_t left, uint64_t *bytes,
                                 struct ms_error *err)
{
    static uint8_t block[BLOCK_BYTES];
    while (left > 0) {
        size_t most = left < 1 << 30 ? (size_t)left : 1 << 30;
        ssize_t n = copy_file_range(in, NULL, out, NULL, most, 0);
        if (n == 0 || (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
                                 errno == EOPNOTSUPP)))
            break; /* not between these: from where both stand now */
        if (n < 0 && errno != EINTR)
            return fail("copy to", to, err); /* either file may be the one */
        *bytes += n > 0 ? (uint64_t)n : 0;
        left -= n > 0 ? (uint64_t)n : 0;
    }
    while (left > 0) {
        ssize_t n = read(in, block, left < sizeof block ? (size_t)left : sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail("read what becomes", to, err);
        if (n == 0)
            return ms_error_set(err, MS_E_IO, "a file of the corpus changed while it was copied");
        enum ms_status status = ms_file_write_all(out, block, (size_t)n, err);
        if (status != MS_OK)
            return status;
        *bytes += (uint64_t)n;
        left -= (uint64_t)n;
    }
    return MS_OK;
}

static enum ms_status copy(struct malseq_backup_copy *self, int in, const struct stat *st,
                           const char *to, const char *temporary, struct ms_error *err)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    enum ms_status status = MS_OK;
    /* What a run that died left there may be a second name of the corpus's own file. */
    if (unlink(temporary) != 0 && errno != ENOENT)
        return fail("remove", temporary, err);
    int out = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return fail("make", temporary, err);
    status = copy_bytes(in, out, temporary, (uint64_t)st->st_size, &self->bytes, err);
    if (status == MS_OK && (fchmod(out, st->st_mode & 0700) != 0 || futimens(out, times) != 0))
        status = fail("finish", temporary, err);
    if (close(out) != 0 && status == MS_OK)
        status = fail("write", temporary, err);
    if (status == MS_OK && rename(temporary, to) != 0)
        status = fail("rename", temporary, err);
    if (status != MS_OK)
        (void)unlink(temporary);
    return status;
}

static bool same_bytes(int a, int b)
{
    static uint8_t left[BLOCK_BYTES], right[BLOCK_BYTES];
    off_t at = 0;
    for (;;) {
        ssize_t n = pread(a, left, sizeof left, at), m = pread(b, right, sizeof right, at);
        if (n != m || n < 0 || memcmp(left, right, (size_t)n) != 0)
            return false;
        if (n == 0)
            return true;
        at += n;
    }
}

/* What the backup has under a name. */
enum present {
    NONE,  /* nothing that would be lost */
    SAME,  /* what it is to have */
    OTHER, /* something else */
};

static enum present look(const struct malseq_backup_copy *self, int in, const struct stat *st,
                         const char *to, bool fixed)
{
    struct stat there;
    if (lstat(to, &there) != 0 || !S_ISREG(there.st_mode))
        return NONE;
    if (there.st_dev == st->st_dev && there.st_ino == st->st_ino)
        return !fixed || self->link ? SAME : NONE;
    if (there.st_size != st->st_size)
        return OTHER;
    if (!fixed && (there.st_mtim.tv_sec != st->st_mtim.tv_sec ||
                   there.st_mtim.tv_nsec != st->st_mtim.tv_nsec))
        return OTHER;
    if (!self->distrust)
        return SAME;
    int fd = open(to, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool same = fd >= 0 && same_bytes(in, fd);
    if (fd >= 0)
        close(fd);
    return same ? SAME : OTHER;
}

/* Of a file that may change: what an earlier run left waiting goes, and `to` becomes the name to
 * wait under where there is another that it replaces. */
static enum ms_status make_way(char to[PATH_MAX], bool done, struct ms_error *err)
{
    struct stat there;
    size_t n = strlen(to);
    bool other = lstat(to, &there) == 0;
    if (n + sizeof NEXT > PATH_MAX)
        return ms_error_set(err, MS_E_IO, "a path of the backup is too long");
    memcpy(to + n, NEXT, sizeof NEXT);
    if (unlink(to) != 0 && errno != ENOENT && errno != ENOTDIR)
        return fail("remove", to, err);
    if (done || !other)
        to[n] = '\0';
    return MS_OK;
}

/* Makes the file under its name: linked, or copied where it is not to be or cannot. */
static enum ms_status make(struct malseq_backup_copy *self, int in, const struct stat *st,
                           const char *from, const char *to, const char *temporary, bool fixed,
                           struct ms_error *err)
{
    enum ms_status status = make_folders(to, err);
    if (status != MS_OK)
        return status;
    bool linked = self->link && fixed && (unlink(temporary) == 0 || errno == ENOENT) &&
                  link(from, temporary) == 0 && rename(temporary, to) == 0;
    if (!linked)
        status = copy(self, in, st, to, temporary, err);
    self->files += status == MS_OK;
    self->linked += linked;
    return status;
}

/* After a failure: is it the file's own fault? Where the corpus's own reading finds it sound, or it
 * is not fixed, it is not: the backup's disk is full, say. */
static enum ms_status blame(struct malseq_backup_copy *self, bool fixed,
                            enum malseq_backup_source *source, const struct ms_error *why,
                            struct ms_error *err)
{
    if (fixed && self->verify(self->ctx, source, NULL) == MS_OK && *source != MALSEQ_BACKUP_THERE) {
        ms_log(MS_LOG_INFO, "%s", why->text);
        return MS_OK;
    }
    if (err)
        *err = *why;
    return why->status;
}

enum ms_status malseq_backup_file(struct malseq_backup_copy *self, const char *name, bool fixed,
                                  enum malseq_backup_source *source, struct ms_error *err)
{
    struct ms_error why = {.status = MS_OK};
    char from[PATH_MAX], to[PATH_MAX], temporary[PATH_MAX];
    struct stat st;
    enum ms_status status = join(from, self->from, name, "", err);
    if (status == MS_OK)
        status = join(to, self->to, name, "", err);
    if (status == MS_OK)
        status = join(temporary, self->to, name, ".tmp", err);
    if (status != MS_OK)
        return status;
    int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    *source = in >= 0 ? MALSEQ_BACKUP_THERE : MALSEQ_BACKUP_ABSENT;
    if (in < 0 && (errno == ENOENT || errno == ENOTDIR))
        return MS_OK;
    if (in < 0) {
        bool spent = errno == EMFILE || errno == ENFILE || errno == ENOMEM; /* no file's fault */
        (void)fail("open", from, &why);
        return blame(self, fixed && !spent, source, &why, err);
    }
    if (fstat(in, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(in);
        return ms_error_set(err, MS_E_IO, "what stands for a file of the corpus is none");
    }
    enum present present = look(self, in, &st, to, fixed);
    /* One of both is damaged, and the backup's may be the last good one. */
    if (fixed && present == OTHER)
        status = self->verify(self->ctx, source, err);
    else if (!fixed)
        status = make_way(to, present == SAME, err);
    if (status == MS_OK && present != SAME && *source == MALSEQ_BACKUP_THERE &&
        (status = make(self, in, &st, from, to, temporary, fixed, &why)) != MS_OK)
        status = blame(self, fixed && status == MS_E_IO, source, &why, err);
    close(in);
    return status;
}

/* ---- trees ---- */

struct walk {
    struct malseq_backup_copy *copy;
    size_t root; /* bytes of the folder's path in front of a name */
};

static enum ms_status on_file(void *ctx, const char *path, const struct stat *st, int errnum,
                              struct ms_error *err)
{
    struct walk *self = ctx;
    enum malseq_backup_source source;
    if (!st && (errnum == ENOENT || errnum == ENOTDIR))
        return MS_OK; /* it went since its folder was listed */
    if (!st) {
        errno = errnum;
        return fail("read the folder", path, err);
    }
    return malseq_backup_file(self->copy, path + self->root + 1, false, &source, err);
}

/* The file of the corpus that this path of the backup is a copy of, or waits to be. */
static enum ms_status source_of(const struct walk *self, const char *path, bool next, bool *there,
                                struct ms_error *err)
{
    char from[PATH_MAX];
    struct stat st;
    enum ms_status status = join(from, self->copy->from, path + self->root + 1, "", err);
    if (status != MS_OK)
        return status;
    if (next)
        from[strlen(from) - (sizeof NEXT - 1)] = '\0';
    *there = lstat(from, &st) == 0 || errno != ENOENT;
    return MS_OK;
}

/* A file of the backup's tree: takes the place it waited for, or goes where the corpus has it no
 * more. */
static enum ms_status settle(void *ctx, const char *path, const struct stat *st, int errnum,
                             struct ms_error *err)
{
    const struct walk *self = ctx;
    const char *base = strrchr(path, '/');
    char name[PATH_MAX];
    size_t n = strlen(path), suffix = sizeof NEXT - 1;
    bool there = true, awaited = false;
    (void)errnum;
    if (!st)
        return MS_OK;
    enum ms_status status = source_of(self, path, false, &there, err);
    if (status != MS_OK || there)
        return status;
    if (base && strlen(base + 1) > suffix && strcmp(path + n - suffix, NEXT) == 0)
        status = source_of(self, path, true, &awaited, err);
    if (status == MS_OK && awaited) {
        (void)snprintf(name, sizeof name, "%.*s", (int)(n - suffix), path);
        return rename(path, name) == 0 ? MS_OK : fail("rename", path, err);
    }
    if (status == MS_OK && unlink(path) != 0)
        status = fail("remove", path, err);
    return status;
}

enum ms_status malseq_backup_tree(struct malseq_backup_copy *self, const char *name,
                                  struct ms_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    struct walk walk = {self, strlen(self->from)};
    enum ms_status status = join(path, self->from, name, "", err);
    if (status == MS_OK && lstat(path, &st) == 0)
        status = ms_file_walk(path, on_file, &walk, err);
    return status;
}

enum ms_status malseq_backup_tree_settle(struct malseq_backup_copy *self, const char *name,
                                         struct ms_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    struct walk walk = {self, strlen(self->to)};
    enum ms_status status = join(path, self->to, name, "", err);
    if (status == MS_OK && lstat(path, &st) == 0)
        status = ms_file_walk(path, settle, &walk, err);
    return status;
}
