/* The vault's writing half: compress, neuter, sync, link. Touches no database. */
#define _GNU_SOURCE /* O_TMPFILE */
#include "store/vault.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "store/vault_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* zstd -3: half a gigabyte a second, 16 times smaller reports. */
enum { ZSTD_LEVEL = 3 };

void ms_vault_name(enum ms_vault_kind kind, const uint8_t sha256[32], char out[MS_VAULT_NAME_BYTES],
                   char shard[6])
{
    char hex[MS_HASH_HEX_MAX];
    ms_hex_encode(sha256, MS_SHA256_BYTES, hex);
    (void)snprintf(out, MS_VAULT_NAME_BYTES, "%.2s/%.2s/%s%s", hex, hex + 2, hex,
                   kind == MS_VAULT_REPORT ? ".zst" : "");
    if (shard)
        (void)snprintf(shard, 6, "%.2s/%.2s", hex, hex + 2);
}

/* splitmix64 over the index of the 8-byte word (Steele, Lea and Flood, 2014): any place of the
 * stream can be reached at once, and no period shorter than the object shows. */
static uint64_t keystream_word(uint64_t index)
{
    uint64_t z = 0x4d616c5365715a31u + (index + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void ms_vault_xor(uint8_t *bytes, size_t n, uint64_t offset)
{
    for (size_t i = 0; i < n;) {
        uint64_t at = offset + i;
        uint64_t word = keystream_word(at / 8);
        for (unsigned k = (unsigned)(at % 8); k < 8 && i < n; k++, i++)
            bytes[i] ^= (uint8_t)(word >> (8 * k));
    }
}

int ms_vault_folder(const struct ms_corpus *corpus, enum ms_vault_kind kind)
{
    return kind == MS_VAULT_SAMPLE ? corpus->samples_fd : corpus->reports_fd;
}

enum ms_status ms_vault_error(const struct ms_corpus *corpus, enum ms_vault_kind kind,
                              const uint8_t sha256[32], enum ms_status status, int errnum,
                              const char *what, struct ms_error *err)
{
    char dir[256];
    char name[MS_VAULT_NAME_BYTES] = "";
    ms_escape_text(corpus->dir, dir, sizeof dir);
    if (sha256)
        ms_vault_name(kind, sha256, name, NULL);
    const char *folder = kind == MS_VAULT_SAMPLE ? "samples" : "reports";
    if (errnum)
        return ms_error_set_errno(err, status, errnum, "'%s/%s/%s': %s", dir, folder, name, what);
    return ms_error_set(err, status, "'%s/%s/%s': %s", dir, folder, name, what);
}

enum ms_status ms_vault_fail(struct ms_vault_write *self, int errnum, const char *what,
                             struct ms_error *err)
{
    self->failed = true;
    return ms_vault_error(self->corpus, self->kind, NULL, MS_E_IO, errnum, what, err);
}

static void name_temporary(struct ms_vault_write *self)
{
    static atomic_ulong counter;
    (void)snprintf(self->temporary, sizeof self->temporary, "vault-%ld-%lu", (long)getpid(),
                   atomic_fetch_add(&counter, 1));
}

static enum ms_status open_named(struct ms_vault_write *self, struct ms_error *err)
{
    for (int tries = 0; tries < 1000; tries++) {
        name_temporary(self);
        self->fd = openat(self->corpus->tmp_fd, self->temporary,
                          O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (self->fd >= 0)
            return MS_OK;
        if (errno != EEXIST)
            break;
    }
    self->temporary[0] = '\0';
    return ms_vault_fail(self, errno, "cannot make a temporary file in tmp/", err);
}

/* An unnamed file where the file system has them, for then a crash leaves nothing at all. Giving it
 * a name later goes through /proc. */
static enum ms_status open_temporary(struct ms_vault_write *self, struct ms_error *err)
{
    int folder = ms_vault_folder(self->corpus, self->kind);
    if (!getenv("MALSEQ_TEST_NAMED_TEMPORARY") && access("/proc/self/fd", X_OK) == 0) {
        self->fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0400);
        if (self->fd >= 0)
            return MS_OK;
        if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
            return ms_vault_fail(self, errno, "cannot make a temporary file", err);
    }
    return open_named(self, err);
}

enum ms_status ms_vault_begin_with(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                   ZSTD_CCtx *zstd, struct ms_vault_write **out,
                                   struct ms_error *err)
{
    struct ms_vault_write *self = NULL;
    enum ms_status status = MS_OK;
    if (corpus->mode == MS_CORPUS_READ)
        status = ms_error_set(err, MS_E_BUG, "an object for a corpus opened for reading");
    if (status == MS_OK)
        status = ms_vault_room(corpus, err);
    if (status == MS_OK && !(self = calloc(1, sizeof *self)))
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status != MS_OK) {
        ZSTD_freeCCtx(zstd);
        return status;
    }
    self->corpus = corpus;
    self->kind = kind;
    self->fd = -1;
    self->out_bytes = ZSTD_CStreamOutSize();
    self->out = malloc(self->out_bytes);
    self->zstd = zstd ? zstd : ZSTD_createCCtx();
    if (!self->out || !self->zstd ||
        ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)))
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status == MS_OK)
        status = ms_hasher_new(MS_HASH_SHA256, &self->hasher, err);
    if (status == MS_OK)
        status = open_temporary(self, err);
    if (status == MS_OK && kind == MS_VAULT_SAMPLE) {
        const uint8_t head[MS_VAULT_HEAD_BYTES] = {0};
        status = ms_file_write_all(self->fd, head, sizeof head, err);
    }
    if (status != MS_OK) {
        ms_vault_abort(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

enum ms_status ms_vault_begin(struct ms_corpus *corpus, enum ms_vault_kind kind,
                              struct ms_vault_write **out, struct ms_error *err)
{
    return ms_vault_begin_with(corpus, kind, NULL, out, err);
}

static enum ms_status compress(struct ms_vault_write *self, ZSTD_inBuffer *in,
                               ZSTD_EndDirective end, struct ms_error *err)
{
    size_t left;
    do {
        ZSTD_outBuffer out = {self->out, self->out_bytes, 0};
        left = ZSTD_compressStream2(self->zstd, &out, in, end);
        if (ZSTD_isError(left)) {
            self->failed = true;
            return ms_error_set(err, MS_E_NOMEM, "cannot compress: %s", ZSTD_getErrorName(left));
        }
        if (self->kind == MS_VAULT_SAMPLE)
            ms_vault_xor(self->out, out.pos, self->frame_bytes);
        enum ms_status status =
            ms_vault_room_grow(self->corpus, self->frame_bytes, self->frame_bytes + out.pos, err);
        if (status != MS_OK) {
            self->failed = true;
            return status;
        }
        self->frame_bytes += out.pos;
        status = ms_file_write_all(self->fd, self->out, out.pos, err);
        if (status != MS_OK) {
            self->failed = true;
            ms_error_prepend(err, "cannot write an object of the vault");
            return status;
        }
    } while (end == ZSTD_e_end ? left != 0 : in->pos < in->size);
    return MS_OK;
}

enum ms_status ms_vault_append(struct ms_vault_write *self, const void *bytes, size_t n,
                               struct ms_error *err)
{
    ZSTD_inBuffer in = {bytes, n, 0};
    if (n == 0)
        return MS_OK;
    ms_hasher_update(self->hasher, bytes, n);
    self->plain_bytes += n;
    return compress(self, &in, ZSTD_e_continue, err);
}

static enum ms_status write_head(struct ms_vault_write *self, struct ms_error *err)
{
    uint8_t head[MS_VAULT_HEAD_BYTES] = MS_VAULT_MAGIC;
    for (unsigned i = 0; i < 8; i++)
        head[8 + i] = (uint8_t)(self->plain_bytes >> (8 * i));
    if (pwrite(self->fd, head, sizeof head, 0) != (ssize_t)sizeof head)
        return ms_vault_fail(self, errno, "cannot write the header of an object", err);
    return MS_OK;
}

/* Opens samples/ab/cd, making what is missing; the parents of new folders are synced too (or
 * later), for an object is only as durable as every name on the way to it. */
static enum ms_status open_shard(struct ms_vault_write *self, enum ms_vault_sync sync,
                                 const char *shard, int *fd, struct ms_error *err)
{
    int folder = ms_vault_folder(self->corpus, self->kind);
    char first[3] = {shard[0], shard[1], '\0'};
    bool made_first = mkdirat(folder, first, 0700) == 0;
    if (!made_first && errno != EEXIST)
        return ms_vault_fail(self, errno, "cannot make a folder", err);
    int parent = openat(folder, first, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (parent < 0)
        return ms_vault_fail(self, errno, "cannot open a folder", err);
    bool made_second = mkdirat(parent, shard + 3, 0700) == 0;
    int errnum = made_second || errno == EEXIST ? 0 : errno;
    *fd = errnum ? -1 : openat(parent, shard + 3, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (errnum == 0 && *fd < 0)
        errnum = errno;
    if (errnum == 0 && sync == MS_VAULT_SYNC_NOW &&
        ((made_second && fsync(parent) != 0) || (made_first && fsync(folder) != 0))) {
        errnum = errno;
        close(*fd);
        *fd = -1;
    }
    close(parent);
    return errnum ? ms_vault_fail(self, errnum, "cannot make a folder", err) : MS_OK;
}

/* Gives the file its name. A name that is there already holds the same bytes. Where the file
 * system knows no hard links (exFAT), renaming over it does no harm either, for that reason. */
static int link_temporary(struct ms_vault_write *self, int shard, const char *name, bool *existed)
{
    char path[64];
    int tmp = self->corpus->tmp_fd;
    int code;
    *existed = false;
    if (self->temporary[0]) {
        code = linkat(tmp, self->temporary, shard, name, 0);
    } else {
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", self->fd);
        code = linkat(AT_FDCWD, path, shard, name, AT_SYMLINK_FOLLOW);
    }
    if (code == 0)
        return 0;
    if (errno == EEXIST) {
        *existed = true;
        return 0;
    }
    if ((errno == EPERM || errno == EOPNOTSUPP) && self->temporary[0]) {
        *existed = faccessat(shard, name, F_OK, 0) == 0;
        if (*existed || renameat(tmp, self->temporary, shard, name) == 0)
            return 0;
    }
    return errno;
}

/* An object that was there already has our length, or it comes from another zstd, or a crash of the
 * file system cut it. The last is found by reading it, and our bytes take its place. Returns an
 * errno or 0. */
static int mend(struct ms_vault_write *self, int shard, const char *name, const uint8_t sha256[32],
                bool *existed)
{
    char path[64];
    struct stat ours, theirs;
    int tmp = self->corpus->tmp_fd;
    if (fstat(self->fd, &ours) != 0 || fstatat(shard, name, &theirs, AT_SYMLINK_NOFOLLOW) != 0)
        return errno;
    if (ours.st_size == theirs.st_size)
        return 0;
    enum ms_status read = ms_vault_read(self->corpus, self->kind, sha256, NULL, NULL, NULL);
    if (read != MS_E_STORE && read != MS_E_IO)
        return 0;
    if (!self->temporary[0]) {
        name_temporary(self);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", self->fd);
        if (linkat(AT_FDCWD, path, tmp, self->temporary, AT_SYMLINK_FOLLOW) != 0)
            return errno;
    }
    if (renameat(tmp, self->temporary, shard, name) != 0)
        return errno;
    *existed = false;
    return 0;
}

uint64_t ms_vault_object_bytes(const struct ms_vault_write *self)
{
    return self->frame_bytes + (self->kind == MS_VAULT_SAMPLE ? MS_VAULT_HEAD_BYTES : 0);
}

enum ms_status ms_vault_book(struct ms_vault_write *self, struct ms_error *err)
{
    uint64_t bytes = ms_vault_object_bytes(self);
    enum ms_status status = ms_vault_room_take(self->corpus, bytes, err);
    if (status == MS_OK)
        self->room_bytes = bytes;
    return status;
}

enum ms_status ms_vault_give_name(struct ms_vault_write *self, enum ms_vault_sync sync, int *shard,
                                  bool *existed, struct ms_error *err)
{
    char name[MS_VAULT_NAME_BYTES];
    char shard_name[6];
    *shard = -1;
    ms_vault_name(self->kind, self->sha256, name, shard_name);
    enum ms_status status = open_shard(self, sync, shard_name, shard, err);
    if (status != MS_OK)
        return status;
    const char *base = name + sizeof "ab/cd/" - 1;
    int errnum = link_temporary(self, *shard, base, existed);
    if (errnum == 0 && *existed)
        errnum = mend(self, *shard, base, self->sha256, existed);
    if (errnum) {
        close(*shard);
        *shard = -1;
        return ms_vault_fail(self, errnum, "cannot name an object", err);
    }
    if (!*existed)
        self->room_bytes = 0;
    ms_step("store.vault.linked");
    return MS_OK;
}

/* An object by itself: its bytes, its name, its folder, each synced before the next. */
static enum ms_status link_object(struct ms_vault_write *self, bool *existed, struct ms_error *err)
{
    int shard;
    if (fsync(self->fd) != 0)
        return ms_vault_fail(self, errno, "cannot sync an object", err);
    ms_step("store.vault.written");
    enum ms_status status = ms_vault_book(self, err);
    if (status == MS_OK)
        status = ms_vault_give_name(self, MS_VAULT_SYNC_NOW, &shard, existed, err);
    if (status != MS_OK)
        return status;
    /* Also when it existed: another thread may have linked it and not synced yet. */
    int errnum = fsync(shard) == 0 ? 0 : errno;
    close(shard);
    if (errnum)
        return ms_vault_fail(self, errnum, "cannot sync the folder of an object", err);
    ms_step("store.vault.synced");
    return MS_OK;
}

enum ms_status ms_vault_end(struct ms_vault_write *self, struct ms_error *err)
{
    ZSTD_inBuffer nothing = {NULL, 0, 0};
    struct ms_digests digests;
    enum ms_status status = MS_OK;
    if (self->failed)
        status = ms_error_set(err, MS_E_IO, "an object of the vault was not written whole");
    if (status == MS_OK)
        status = compress(self, &nothing, ZSTD_e_end, err);
    if (status == MS_OK && self->kind == MS_VAULT_SAMPLE)
        status = write_head(self, err);
    if (status == MS_OK)
        status = ms_hasher_finish(self->hasher, &digests, err);
    if (status == MS_OK && fchmod(self->fd, 0400) != 0)
        status = ms_vault_fail(self, errno, "cannot protect an object", err);
    if (status == MS_OK)
        memcpy(self->sha256, digests.sha256, sizeof self->sha256);
    return status;
}

enum ms_status ms_vault_commit(struct ms_vault_write *self, uint8_t sha256[32], uint64_t *size,
                               bool *existed, struct ms_error *err)
{
    enum ms_status status = ms_vault_end(self, err);
    if (status == MS_OK)
        status = link_object(self, existed, err);
    if (status == MS_OK) {
        memcpy(sha256, self->sha256, MS_SHA256_BYTES);
        *size = self->plain_bytes;
    }
    ms_vault_abort(self);
    return status;
}

void ms_vault_abort(struct ms_vault_write *self)
{
    if (!self)
        return;
    if (self->fd >= 0)
        close(self->fd);
    if (self->temporary[0])
        (void)unlinkat(self->corpus->tmp_fd, self->temporary, 0);
    if (self->room_bytes)
        ms_vault_room_give(self->corpus, self->room_bytes);
    ZSTD_freeCCtx(self->zstd);
    ms_hasher_free(self->hasher);
    free(self->out);
    free(self);
}

void ms_vault_clean(struct ms_corpus *corpus)
{
    int fd = openat(corpus->tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    struct dirent *entry;
    struct stat st;
    while ((entry = readdir(dir)) != NULL)
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            (void)unlinkat(fd, entry->d_name, 0);
    closedir(dir);
}
