/* Folders: the walk, git ids of files, and their bytes on demand. */
#define _GNU_SOURCE
#include "collect/folder.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "collect/crawl.h"
#include "store/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 256 << 10, PATH_BYTES = 8192 };

struct folder {
    struct ms_collect *session;
    const char *root; /* absolute: the origin's name */
    bool single;      /* the operand is a file */
    char *corpus;     /* absolute; files in it are passed over */
    struct ms_entries entries;
    struct ms_hasher *hasher;
    uint8_t *block;
};

static struct ms_span relative(const struct folder *self, const char *path)
{
    size_t n = strlen(self->root);
    if (self->single || strncmp(path, self->root, n) != 0) {
        const char *slash = strrchr(path, '/');
        path = slash ? slash + 1 : path;
    } else {
        path += n;
        while (*path == '/')
            path++;
    }
    return ms_span_of(path, strlen(path));
}

static int open_file(const char *path, struct stat *st)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -1;
    if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
        (void)close(fd);
        errno = ELOOP;
        return -1;
    }
    return fd;
}

/* The id git gives the file; false with errno when it cannot be read to its end. */
static bool git_id_of(struct folder *self, int fd, uint64_t size, uint8_t out[MS_SHA1_BYTES])
{
    char head[32];
    struct ms_digests digests;
    uint64_t done = 0;
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    bool good = true;
    ms_hasher_update(self->hasher, head, (size_t)n + 1);
    while (done < size && good) {
        ssize_t got = pread(fd, self->block, READ_BYTES, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO; /* it shrank */
        good = got > 0;
        if (good)
            ms_hasher_update(self->hasher, self->block, (size_t)got);
        done += got > 0 ? (uint64_t)got : 0;
    }
    int why = errno;
    if (ms_hasher_finish(self->hasher, &digests, NULL) != MS_OK)
        return false;
    memcpy(out, digests.sha1, MS_SHA1_BYTES);
    errno = why;
    return good && done == size;
}

static enum ms_status on_file(void *ctx, const char *path, const struct stat *st, int errnum,
                              struct ms_error *err)
{
    struct folder *self = ctx;
    uint8_t git_id[MS_SHA1_BYTES];
    struct stat now;
    size_t n = self->corpus ? strlen(self->corpus) : 0;
    if (n && strncmp(path, self->corpus, n) == 0 && path[n] == '/')
        return MS_OK;
    int fd = st ? open_file(path, &now) : -1;
    int why = st ? errno : errnum;
    bool good = false;
    if (fd >= 0) {
        good = git_id_of(self, fd, (uint64_t)now.st_size, git_id);
        why = errno;
        (void)close(fd);
    }
    if (good)
        return ms_entries_add(&self->entries, relative(self, path), git_id, now.st_size, err);
    char reason[128];
    (void)snprintf(reason, sizeof reason, "cannot be read: %s", strerror(why));
    self->session->counts.failed++;
    struct ms_span shown = relative(self, path);
    if (!shown.len)
        shown = ms_span_of(".", 1);
    return ms_collect_tell_failure(self->session, self->root, shown, NULL, "error", reason, err);
}

static enum ms_status fetch_file(void *ctx, const struct ms_entry *entry, int *fd, uint64_t *size,
                                 const char **outcome, struct ms_error *err)
{
    struct folder *self = ctx;
    char path[PATH_BYTES];
    struct stat st;
    uint8_t git_id[MS_SHA1_BYTES];
    *outcome = "error";
    int n = self->single ? snprintf(path, sizeof path, "%s", self->root)
                         : snprintf(path, sizeof path, "%s/%.*s", self->root, (int)entry->path.len,
                                    (const char *)entry->path.data);
    if (n < 0 || (size_t)n >= sizeof path)
        return ms_error_set(err, MS_REJECT, "the path is too long");
    *fd = open_file(path, &st);
    if (*fd < 0)
        return ms_error_set_errno(err, MS_REJECT, errno, "cannot be opened");
    *size = (uint64_t)st.st_size;
    *outcome = "mismatch";
    if (!git_id_of(self, *fd, *size, git_id) || memcmp(git_id, entry->git_id, sizeof git_id) != 0)
        return ms_error_set(err, MS_REJECT, "the file changes while it is read");
    return MS_OK;
}

static enum ms_status open_origin(struct folder *self, struct ms_crawl *crawl,
                                  struct ms_origin *origin, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    *origin = (struct ms_origin){.kind = "folder",
                                 .name = self->root,
                                 .ref = "",
                                 .claim = session->options->claim,
                                 .private_ = session->options->private_};
    *crawl = (struct ms_crawl){.name = self->root,
                               .claim = session->options->claim,
                               .private_ = session->options->private_,
                               .max_blob_bytes =
                                   ms_collect_limits_settle(&session->intake.limits).file_bytes,
                               .local = true,
                               .fetch = fetch_file,
                               .fetch_ctx = self};
    if (session->intake.dry)
        return MS_OK;
    enum ms_status status = ms_corpus_begin(session->corpus, err);
    if (status == MS_OK)
        status = ms_origin_open(session->corpus, origin, &origin->id, err);
    if (status == MS_OK)
        status = ms_corpus_commit(session->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(session->corpus);
    crawl->origin = origin->id;
    return status;
}

static enum ms_status collect(struct folder *self, const char *path, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    struct ms_collect_counts before = session->counts;
    struct ms_crawl crawl;
    struct ms_origin origin;
    session->counts.origins++;
    enum ms_status status = open_origin(self, &crawl, &origin, err);
    if (status == MS_REJECT) {
        session->counts.origins_failed++;
        return ms_collect_tell_failure(session, self->root, ms_span_of(NULL, 0), NULL, "forgotten",
                                       err->text, err);
    }
    if (status == MS_OK)
        status = ms_file_walk(path, on_file, self, err);
    if (status != MS_OK)
        return status;
    ms_entries_sort(&self->entries);
    status = ms_crawl_files(session, &crawl, &self->entries, err);
    origin.state = crawl.incomplete ? "partial" : "ok";
    origin.checked_ms = ms_clock_wall_ms();
    if (status == MS_OK)
        status = ms_crawl_finish(session, &crawl, &self->entries, &origin, err);
    if (status == MS_OK)
        ms_collect_tell_origin(session, self->root, origin.state, &before);
    return status;
}

enum ms_status ms_folder_collect(struct ms_collect *session, const char *path, struct ms_error *err)
{
    char shown[512];
    struct stat st;
    char *root = realpath(path, NULL);
    if (!root || stat(root, &st) != 0) {
        int why = errno;
        free(root);
        return ms_error_set_errno(err, MS_E_INPUT, why, "cannot open '%s'",
                                  ms_escape_text(path, shown, sizeof shown));
    }
    struct folder self = {.session = session,
                          .root = root,
                          .single = !S_ISDIR(st.st_mode),
                          .corpus = realpath(session->cli->common.corpus, NULL),
                          .block = malloc(READ_BYTES)};
    ms_entries_init(&self.entries);
    enum ms_status status = self.block ? ms_hasher_new(MS_HASH_SHA1, &self.hasher, err)
                                       : ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status == MS_OK)
        status = collect(&self, root, err);
    ms_hasher_free(self.hasher);
    ms_entries_release(&self.entries);
    free(self.block);
    free(self.corpus);
    free(root);
    return status;
}
