/* The vault's reading half: stream, verify, list, remove. Whatever lies in the folder, a reader
 * ends with a status. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/limits.h"
#include "store/vault_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

struct reader {
    struct ms_corpus *corpus;
    enum ms_vault_kind kind;
    const uint8_t *sha256;
    int fd;
    ZSTD_DCtx *zstd;
    struct ms_hasher *hasher;
    uint8_t *in, *out;
    size_t in_bytes, out_bytes;
    uint64_t expected; /* plain bytes by the header; UINT64_MAX unknown */
    uint64_t frame_bytes, plain_bytes;
};

static enum ms_status damaged(struct reader *self, const char *what, struct ms_error *err)
{
    return ms_vault_error(self->corpus, self->kind, self->sha256, MS_E_STORE, 0, what, err);
}

/* What the operating system says, which need not be so tomorrow: rights, a network's disk. */
static enum ms_status unreadable(struct reader *self, const char *what, struct ms_error *err)
{
    return ms_vault_error(self->corpus, self->kind, self->sha256, MS_E_IO, errno, what, err);
}

static enum ms_status open_object(struct reader *self, struct ms_error *err)
{
    char name[MS_VAULT_NAME_BYTES];
    struct stat st;
    int folder = ms_vault_folder(self->corpus, self->kind);
    ms_vault_name(self->kind, self->sha256, name, NULL);
    self->fd =
        folder < 0 ? -1 : openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (self->fd < 0 && (folder < 0 || errno == ENOENT))
        return ms_vault_error(self->corpus, self->kind, self->sha256, MS_REJECT, 0,
                              "there is no such object in the vault", err);
    if (self->fd < 0 || fstat(self->fd, &st) != 0)
        return unreadable(self, "cannot open", err);
    if (!S_ISREG(st.st_mode))
        return damaged(self, "is not a file", err);
    return MS_OK;
}

enum ms_status ms_vault_open_report(struct ms_corpus *corpus, const uint8_t sha256[32], int *fd,
                                    struct ms_error *err)
{
    struct reader self = {.corpus = corpus, .kind = MS_VAULT_REPORT, .sha256 = sha256, .fd = -1};
    enum ms_status status = open_object(&self, err);
    if (status == MS_OK)
        *fd = self.fd;
    else if (self.fd >= 0)
        (void)close(self.fd);
    return status;
}

static enum ms_status fill(struct reader *self, size_t *n, struct ms_error *err)
{
    ssize_t got;
    do
        got = read(self->fd, self->in, self->in_bytes);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return unreadable(self, "cannot read", err);
    *n = (size_t)got;
    return MS_OK;
}

static enum ms_status read_head(struct reader *self, struct ms_error *err)
{
    uint8_t head[MS_VAULT_HEAD_BYTES];
    self->expected = UINT64_MAX;
    if (self->kind != MS_VAULT_SAMPLE)
        return MS_OK;
    ssize_t got = pread(self->fd, head, sizeof head, 0);
    uint64_t size = 0;
    uint32_t flags = 0;
    if (got < 0 || lseek(self->fd, MS_VAULT_HEAD_BYTES, SEEK_SET) < 0)
        return unreadable(self, "cannot read", err);
    if (got != (ssize_t)sizeof head || memcmp(head, MS_VAULT_MAGIC, 4) != 0)
        return damaged(self, "is damaged: no MSQ1 header", err);
    struct ms_span span = ms_span_of(head, sizeof head);
    if (!ms_span_u32le(span, 4, &flags) || !ms_span_u64le(span, 8, &size) || flags != 0)
        return damaged(self, "has flags that this version does not know", err);
    self->expected = size;
    return MS_OK;
}

/* Hands on what one input buffer unpacks to. *ended once the frame is complete. */
static enum ms_status unpack(struct reader *self, size_t n, bool *ended, ms_vault_sink write,
                             void *ctx, struct ms_error *err)
{
    ZSTD_inBuffer in = {self->in, n, 0};
    size_t left = 1;
    bool full = true;
    while ((in.pos < in.size || full) && !*ended) {
        ZSTD_outBuffer out = {self->out, self->out_bytes, 0};
        left = ZSTD_decompressStream(self->zstd, &out, &in);
        if (ZSTD_isError(left))
            return damaged(self, "is damaged: its compressed data does not unpack", err);
        full = out.pos == out.size;
        *ended = left == 0;
        self->plain_bytes += out.pos;
        if (self->plain_bytes > self->expected || self->plain_bytes > MS_LIMIT_REPORT_BYTES)
            return damaged(self, "is damaged: longer than it says", err);
        ms_hasher_update(self->hasher, self->out, out.pos);
        enum ms_status status = out.pos && write ? write(ctx, self->out, out.pos, err) : MS_OK;
        if (status != MS_OK)
            return status;
    }
    return in.pos < in.size ? damaged(self, "is damaged: bytes behind its end", err) : MS_OK;
}

static enum ms_status stream(struct reader *self, ms_vault_sink write, void *ctx,
                             struct ms_error *err)
{
    struct ms_digests digests;
    bool ended = false;
    size_t n = 1;
    enum ms_status status = MS_OK;
    while (status == MS_OK) {
        status = fill(self, &n, err);
        if (status != MS_OK || n == 0)
            break;
        if (ended)
            return damaged(self, "is damaged: bytes behind its end", err);
        if (self->kind == MS_VAULT_SAMPLE)
            ms_vault_xor(self->in, n, self->frame_bytes);
        self->frame_bytes += n;
        status = unpack(self, n, &ended, write, ctx, err);
    }
    if (status != MS_OK)
        return status;
    if (!ended)
        return damaged(self, "is damaged: cut short", err);
    if (self->expected != UINT64_MAX && self->plain_bytes != self->expected)
        return damaged(self, "is damaged: shorter than it says", err);
    status = ms_hasher_finish(self->hasher, &digests, err);
    if (status == MS_OK && memcmp(digests.sha256, self->sha256, MS_SHA256_BYTES) != 0)
        return damaged(self, "is damaged: its content has another SHA-256", err);
    return status;
}

enum ms_status ms_vault_read(struct ms_corpus *corpus, enum ms_vault_kind kind,
                             const uint8_t sha256[32], ms_vault_sink write, void *ctx,
                             struct ms_error *err)
{
    struct reader self = {.corpus = corpus,
                          .kind = kind,
                          .sha256 = sha256,
                          .fd = -1,
                          .in_bytes = ZSTD_DStreamInSize(),
                          .out_bytes = ZSTD_DStreamOutSize()};
    enum ms_status status = open_object(&self, err);
    if (status == MS_OK)
        status = read_head(&self, err);
    if (status == MS_OK)
        status = ms_hasher_new(MS_HASH_SHA256, &self.hasher, err);
    if (status == MS_OK) {
        self.in = malloc(self.in_bytes);
        self.out = malloc(self.out_bytes);
        self.zstd = ZSTD_createDCtx();
        if (!self.in || !self.out || !self.zstd)
            status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    if (status == MS_OK)
        status = stream(&self, write, ctx, err);
    ZSTD_freeDCtx(self.zstd);
    ms_hasher_free(self.hasher);
    free(self.in);
    free(self.out);
    if (self.fd >= 0)
        close(self.fd);
    return status;
}

struct memory_sink {
    int fd;
    uint64_t size;
    bool failed;
};

static enum ms_status write_memory(void *ctx, const void *bytes, size_t n, struct ms_error *err)
{
    struct memory_sink *sink = ctx;
    enum ms_status status = ms_file_write_all(sink->fd, bytes, n, err);
    sink->size += n;
    sink->failed = status != MS_OK;
    return status;
}

enum ms_status ms_vault_read_fd(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                const uint8_t sha256[32], int *fd, uint64_t *size,
                                struct ms_error *err)
{
    struct memory_sink sink = {.fd = -1};
    enum ms_status status = ms_file_memory("malseq-object", &sink.fd, err);
    if (status != MS_OK)
        return status;
    status = ms_vault_read(corpus, kind, sha256, write_memory, &sink, err);
    if (status == MS_E_IO && !sink.failed) { /* the object's fault, not that of the memory */
        status = MS_E_STORE;
        if (err)
            err->status = status;
    }
    if (status == MS_OK && lseek(sink.fd, 0, SEEK_SET) != 0)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot rewind a memory file");
    if (status != MS_OK) {
        close(sink.fd);
        return status;
    }
    *fd = sink.fd;
    *size = sink.size;
    return MS_OK;
}

bool ms_vault_has(struct ms_corpus *corpus, enum ms_vault_kind kind, const uint8_t sha256[32])
{
    char name[MS_VAULT_NAME_BYTES];
    struct stat st;
    int folder = ms_vault_folder(corpus, kind);
    ms_vault_name(kind, sha256, name, NULL);
    if (folder < 0)
        return false;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno != ENOENT && errno != ENOTDIR;
    return S_ISREG(st.st_mode);
}

enum ms_status ms_vault_remove(struct ms_corpus *corpus, enum ms_vault_kind kind,
                               const uint8_t sha256[32], struct ms_error *err)
{
    char name[MS_VAULT_NAME_BYTES];
    char shard[6];
    int folder = ms_vault_folder(corpus, kind);
    ms_vault_name(kind, sha256, name, shard);
    if (corpus->mode == MS_CORPUS_READ)
        return ms_error_set(err, MS_E_BUG, "a removal from a corpus opened for reading");
    if (unlinkat(folder, name, 0) != 0) {
        if (errno == ENOENT)
            return MS_OK;
        return ms_vault_error(corpus, kind, sha256, MS_E_IO, errno, "cannot remove", err);
    }
    int fd = openat(folder, shard, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int errnum = fd >= 0 && fsync(fd) == 0 ? 0 : errno;
    if (fd >= 0)
        close(fd);
    if (errnum)
        return ms_vault_error(corpus, kind, sha256, MS_E_IO, errnum, "cannot sync the folder of",
                              err);
    return MS_OK;
}

/* The names in a folder in byte order, without "." and "..". */
struct names {
    char **items;
    size_t count, cap;
};

static void names_release(struct names *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->items[i]);
    free(self->items);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool names_push(struct names *self, const char *name)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        char **items = realloc(self->items, cap * sizeof *items);
        if (!items)
            return false;
        self->items = items;
        self->cap = cap;
    }
    self->items[self->count] = strdup(name);
    return self->items[self->count] != NULL && ++self->count > 0;
}

static enum ms_status names_read(int folder, const char *path, struct names *out,
                                 struct ms_error *err)
{
    int fd = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        int errnum = errno;
        if (fd >= 0)
            close(fd);
        return ms_error_set_errno(err, MS_E_STORE, errnum, "cannot list a folder of the vault");
    }
    bool complete = true;
    struct dirent *entry;
    while (complete && (errno = 0, entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            complete = names_push(out, entry->d_name);
    int errnum = errno;
    closedir(dir);
    if (!complete)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (errnum)
        return ms_error_set_errno(err, MS_E_STORE, errnum, "cannot list a folder of the vault");
    if (out->count)
        qsort(out->items, out->count, sizeof *out->items, compare_names);
    return MS_OK;
}

struct walk {
    enum ms_vault_kind kind;
    int folder;
    ms_vault_visit visit;
    void *ctx;
};

static enum ms_status stray(const struct walk *walk, const char *path, struct ms_error *err)
{
    static const uint8_t none[MS_SHA256_BYTES] = {0};
    return walk->visit(walk->ctx, none, false, path, err);
}

/* A file belongs when its name is exactly what its digest asks for, in the right shard. */
static enum ms_status visit_file(const struct walk *walk, const char *path, const char *name,
                                 struct ms_error *err)
{
    uint8_t sha256[MS_SHA256_BYTES];
    char hex[MS_HASH_HEX_MAX] = "";
    char right[MS_VAULT_NAME_BYTES] = "";
    struct stat st;
    memcpy(hex, name, strnlen(name, MS_HASH_HEX_MAX - 1));
    if (ms_hex_decode(hex, MS_SHA256_BYTES, sha256))
        ms_vault_name(walk->kind, sha256, right, NULL);
    bool good = strcmp(right, path) == 0 &&
                fstatat(walk->folder, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
    return good ? walk->visit(walk->ctx, sha256, true, path, err) : stray(walk, path, err);
}

static bool is_shard_name(const char *name)
{
    return strlen(name) == 2 && strspn(name, "0123456789abcdef") == 2;
}

/* depth 0: the folder itself, 1: "ab", 2: "ab/cd", whose entries are objects. */
static enum ms_status walk_level(const struct walk *walk, const char *path, int depth,
                                 struct ms_error *err)
{
    struct names names = {NULL, 0, 0};
    enum ms_status status = names_read(walk->folder, path, &names, err);
    for (size_t i = 0; i < names.count && status == MS_OK; i++) {
        char below[600];
        struct stat st;
        (void)snprintf(below, sizeof below, "%s%s%s", depth ? path : "", depth ? "/" : "",
                       names.items[i]);
        bool folder =
            fstatat(walk->folder, below, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
        if (depth == 2)
            status = visit_file(walk, below, names.items[i], err);
        else if (folder && is_shard_name(names.items[i]))
            status = walk_level(walk, below, depth + 1, err);
        else
            status = stray(walk, below, err);
    }
    names_release(&names);
    return status;
}

enum ms_status ms_vault_foreach(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                ms_vault_visit visit, void *ctx, struct ms_error *err)
{
    struct walk walk = {kind, ms_vault_folder(corpus, kind), visit, ctx};
    return walk.folder < 0 ? MS_OK : walk_level(&walk, ".", 0, err);
}
