/* Groups of objects and how they, or their removal, are synced: one by one where they are few, else
 * by one sync of the file system for all. Writing and naming an object is vault.c's. */
#define _GNU_SOURCE /* syncfs */
#include "store/vault_group.h"

#include "base/limits.h"
#include "base/step.h"
#include "store/vault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Up to so many are synced one by one: a sync of the file system also waits for what others wrote
 * to it. */
enum { FEW = 3 };

struct ms_vault_group {
    struct ms_corpus *corpus;
    enum ms_vault_kind kind;
    struct ms_vault_write **held; /* ended, booked, neither synced nor named */
    size_t held_count, held_cap;
    unsigned waiting_max;
    uint16_t shards[FEW]; /* folders with names that may not be on the disk yet */
    size_t shard_count;
    bool
        loose; /* there are more of them, or their parents are not on the disk: counted in corpus */
    bool singly;     /* syncing the file system does not tell of errors here, or cannot be done */
    ZSTD_CCtx *zstd; /* idle; may be NULL */
};

/* Before Linux 5.8 syncfs says nothing of bytes that could not be written. */
static bool syncfs_tells(void)
{
    struct utsname host;
    unsigned major = 0, minor = 0;
    /* NOLINTNEXTLINE(cert-err34-c): the kernel writes it */
    if (uname(&host) != 0 || sscanf(host.release, "%u.%u", &major, &minor) != 2)
        return false;
    return major > 5 || (major == 5 && minor >= 8);
}

/* A quarter of the descriptors that the process may have, at most. */
static unsigned waiting_max(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur / 4 >= MS_LIMIT_VAULT_WAITING)
        return MS_LIMIT_VAULT_WAITING;
    return (unsigned)(files.rlim_cur / 4);
}

enum ms_status ms_vault_group_new(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                  struct ms_vault_group **out, struct ms_error *err)
{
    struct ms_vault_group *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->corpus = corpus;
    self->kind = kind;
    self->waiting_max = waiting_max();
    self->singly = !syncfs_tells();
    *out = self;
    return MS_OK;
}

static void let_go(struct ms_vault_group *self, struct ms_vault_write *object)
{
    ms_vault_abort(object);
    atomic_fetch_sub(&self->corpus->waiting_objects, 1);
}

static void drop_held(struct ms_vault_group *self)
{
    for (size_t i = 0; i < self->held_count; i++)
        let_go(self, self->held[i]);
    self->held_count = 0;
}

void ms_vault_group_rest(struct ms_vault_group *self)
{
    ZSTD_freeCCtx(self->zstd);
    self->zstd = NULL;
}

/* Names that are not on the disk stay counted: whoever relies on their folders syncs them. */
void ms_vault_group_free(struct ms_vault_group *self)
{
    if (!self)
        return;
    drop_held(self);
    ms_vault_group_rest(self);
    free(self->held);
    free(self);
}

enum ms_status ms_vault_group_begin(struct ms_vault_group *self, struct ms_vault_write **out,
                                    struct ms_error *err)
{
    ZSTD_CCtx *zstd = self->zstd;
    self->zstd = NULL;
    return ms_vault_begin_with(self->corpus, self->kind, zstd, out, err);
}

/* Must precede the first name that is not synced by itself: other groups go by it. */
static void loosen(struct ms_vault_group *self)
{
    if (!self->loose)
        atomic_fetch_add(&self->corpus->loose_groups, 1);
    self->loose = true;
}

static void fasten(struct ms_vault_group *self)
{
    if (self->loose)
        atomic_fetch_sub(&self->corpus->loose_groups, 1);
    self->loose = false;
    self->shard_count = 0;
}

static void touch(struct ms_vault_group *self, uint16_t shard)
{
    for (size_t i = 0; i < self->shard_count; i++)
        if (self->shards[i] == shard)
            return;
    if (self->shard_count == FEW)
        loosen(self);
    else
        self->shards[self->shard_count++] = shard;
}

static uint16_t shard_of(const uint8_t sha256[32])
{
    return (uint16_t)(sha256[0] << 8 | sha256[1]);
}

/* The kernel tells one caller of each error, but it concerns all: remembered, and asked for one at
 * a time. Returns an errno or 0. */
static int sync_whole(struct ms_corpus *corpus, enum ms_vault_kind kind)
{
    (void)pthread_mutex_lock(&corpus->sync_lock);
    int errnum = corpus->sync_errnum;
    if (!errnum && syncfs(ms_vault_folder(corpus, kind)) != 0)
        errnum = errno;
    if (errnum != ENOSYS && errnum != EPERM)
        corpus->sync_errnum = errnum;
    (void)pthread_mutex_unlock(&corpus->sync_lock);
    return errnum;
}

static int sync_file_system(struct ms_vault_group *self)
{
    int errnum = sync_whole(self->corpus, self->kind);
    if (!errnum)
        fasten(self);
    return errnum;
}

static enum ms_status fail(struct ms_vault_group *self, int errnum, const char *what,
                           struct ms_error *err)
{
    drop_held(self);
    return ms_vault_error(self->corpus, self->kind, NULL, MS_E_IO, errnum, what, err);
}

static enum ms_status sync_bytes(struct ms_vault_group *self, bool *few, struct ms_error *err)
{
    int errnum = 0;
    *few = self->singly || self->held_count <= FEW;
    if (!*few) {
        errnum = sync_file_system(self);
        /* A sandbox may forbid it. */
        self->singly = *few = errnum == ENOSYS || errnum == EPERM;
        errnum = self->singly ? 0 : errnum;
    }
    for (size_t i = 0; i < self->held_count && *few && !errnum; i++)
        errnum = fsync(self->held[i]->fd) == 0 ? 0 : errno;
    return errnum ? fail(self, errnum, "cannot sync objects", err) : MS_OK;
}

static enum ms_status name_object(struct ms_vault_group *self, struct ms_vault_write *object,
                                  bool few, struct ms_error *err)
{
    int shard;
    bool existed;
    enum ms_status status = ms_vault_give_name(
        object, few ? MS_VAULT_SYNC_NOW : MS_VAULT_SYNC_LATER, &shard, &existed, err);
    if (status != MS_OK)
        return status;
    int errnum = self->singly && fsync(shard) != 0 ? errno : 0;
    (void)close(shard);
    if (errnum)
        return ms_vault_error(self->corpus, self->kind, object->sha256, MS_E_IO, errnum,
                              "cannot sync the folder of", err);
    if (few && !self->singly)
        touch(self, shard_of(object->sha256));
    return MS_OK;
}

/* Bytes to the disk, then names for all that wait. */
static enum ms_status settle(struct ms_vault_group *self, struct ms_error *err)
{
    bool few;
    if (!self->held_count)
        return MS_OK;
    enum ms_status status = sync_bytes(self, &few, err);
    if (status != MS_OK)
        return status;
    ms_step("store.vault.written");
    if (!few)
        loosen(self);
    for (size_t i = 0; i < self->held_count && status == MS_OK; i++)
        status = name_object(self, self->held[i], few, err);
    drop_held(self);
    return status;
}

static int sync_shard(const struct ms_corpus *corpus, enum ms_vault_kind kind, uint16_t shard)
{
    char name[6];
    (void)snprintf(name, sizeof name, "%02x/%02x", (unsigned)shard >> 8, (unsigned)shard & 255);
    int fd = openat(ms_vault_folder(corpus, kind), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int errnum = fd >= 0 && fsync(fd) == 0 ? 0 : errno;
    if (fd >= 0)
        (void)close(fd);
    return errnum;
}

enum ms_status ms_vault_group_sync(struct ms_vault_group *self, struct ms_error *err)
{
    int errnum = 0;
    enum ms_status status = settle(self, err);
    if (status != MS_OK || (!self->loose && !self->shard_count))
        return status;
    /* A folder that another group made may not be on the disk either. */
    if (self->loose || atomic_load(&self->corpus->loose_groups))
        errnum = sync_file_system(self);
    for (size_t i = 0; i < self->shard_count && !errnum; i++)
        errnum = sync_shard(self->corpus, self->kind, self->shards[i]);
    if (errnum)
        return fail(self, errnum, "cannot sync the folders of objects", err);
    fasten(self);
    ms_step("store.vault.synced");
    return MS_OK;
}

static bool is_held(const struct ms_vault_group *self, const uint8_t sha256[32])
{
    for (size_t i = 0; i < self->held_count; i++)
        if (memcmp(self->held[i]->sha256, sha256, MS_SHA256_BYTES) == 0)
            return true;
    return false;
}

/* Is it there, as long as ours? One of another length is looked at when ours gets its name. */
static bool is_stored(const struct ms_vault_write *object)
{
    char name[MS_VAULT_NAME_BYTES];
    struct stat st;
    ms_vault_name(object->kind, object->sha256, name, NULL);
    return fstatat(ms_vault_folder(object->corpus, object->kind), name, &st, AT_SYMLINK_NOFOLLOW) ==
               0 &&
           S_ISREG(st.st_mode) && (uint64_t)st.st_size == ms_vault_object_bytes(object);
}

static enum ms_status make_room(struct ms_vault_group *self, size_t more, struct ms_error *err)
{
    if (self->held_count + more <= self->held_cap)
        return MS_OK;
    size_t cap = self->held_cap ? self->held_cap * 2 : 4;
    while (cap < self->held_count + more)
        cap *= 2;
    struct ms_vault_write **grown = realloc(self->held, cap * sizeof(struct ms_vault_write *));
    if (!grown)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->held = grown;
    self->held_cap = cap;
    return MS_OK;
}

/* The context goes back to the group; the rest is not needed any more. */
static void slim(struct ms_vault_group *self, struct ms_vault_write *object)
{
    if (!self->zstd &&
        !ZSTD_isError(ZSTD_CCtx_reset(object->zstd, ZSTD_reset_session_and_parameters)))
        self->zstd = object->zstd;
    else
        ZSTD_freeCCtx(object->zstd);
    object->zstd = NULL;
    ms_hasher_free(object->hasher);
    object->hasher = NULL;
    free(object->out);
    object->out = NULL;
}

enum ms_status ms_vault_group_add(struct ms_vault_group *self, struct ms_vault_write *object,
                                  uint8_t sha256[32], uint64_t *size, struct ms_error *err)
{
    bool there = false;
    enum ms_status status = ms_vault_end(object, err);
    if (status == MS_OK) {
        memcpy(sha256, object->sha256, MS_SHA256_BYTES);
        *size = object->plain_bytes;
        slim(self, object);
        there = is_held(self, sha256);
        if (!there && is_stored(object)) {
            there = true;
            touch(self, shard_of(sha256)); /* its name may be another group's, and young */
        }
    }
    if (status == MS_OK && !there)
        status = make_room(self, 1, err);
    if (status == MS_OK && !there)
        status = ms_vault_book(object, err);
    if (status != MS_OK || there) {
        ms_vault_abort(object);
        return status;
    }
    self->held[self->held_count++] = object;
    return atomic_fetch_add(&self->corpus->waiting_objects, 1) + 1 >= self->waiting_max
               ? settle(self, err)
               : MS_OK;
}

enum ms_status ms_vault_group_join(struct ms_vault_group *self, struct ms_vault_group *from,
                                   struct ms_error *err)
{
    enum ms_status status = make_room(self, from->held_count, err);
    if (status != MS_OK)
        return status;
    for (size_t i = 0; i < from->held_count; i++)
        self->held[self->held_count++] = from->held[i];
    from->held_count = 0;
    for (size_t i = 0; i < from->shard_count; i++)
        touch(self, from->shards[i]);
    if (from->loose)
        loosen(self);
    fasten(from);
    self->singly = self->singly || from->singly;
    return MS_OK;
}

/* ---- removal ---- */

enum { SHARDS = 1 << 16 };

/* Unlinks those of a kind; sets the bits of the folders that lost one. */
static enum ms_status unlink_all(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                 const struct ms_vault_object *objects, size_t count,
                                 uint8_t touched[SHARDS / 8], size_t *folders, struct ms_error *err)
{
    for (size_t i = 0; i < count; i++) {
        char name[MS_VAULT_NAME_BYTES];
        uint16_t shard = shard_of(objects[i].sha256);
        if (objects[i].kind != kind)
            continue;
        ms_vault_name(kind, objects[i].sha256, name, NULL);
        if (unlinkat(ms_vault_folder(corpus, kind), name, 0) == 0) {
            *folders += !(touched[shard / 8] >> shard % 8 & 1);
            touched[shard / 8] |= (uint8_t)(1 << shard % 8);
        } else if (errno != ENOENT)
            return ms_vault_error(corpus, kind, objects[i].sha256, MS_E_IO, errno, "cannot remove",
                                  err);
        ms_step("store.vault.removed");
    }
    return MS_OK;
}

static enum ms_status sync_removal(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                   const uint8_t touched[SHARDS / 8], size_t folders,
                                   struct ms_error *err)
{
    bool whole = folders > FEW && syncfs_tells();
    int errnum = whole ? sync_whole(corpus, kind) : 0;
    if (whole && (errnum == ENOSYS || errnum == EPERM)) {
        whole = false;
        errnum = 0;
    }
    for (unsigned shard = 0; shard < SHARDS && folders && !whole && !errnum; shard++)
        if (touched[shard / 8] >> shard % 8 & 1)
            errnum = sync_shard(corpus, kind, (uint16_t)shard);
    return errnum ? ms_vault_error(corpus, kind, NULL, MS_E_IO, errnum,
                                   "cannot sync the folders of removed objects", err)
                  : MS_OK;
}

enum ms_status ms_vault_remove_all(struct ms_corpus *corpus, const struct ms_vault_object *objects,
                                   size_t count, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (corpus->mode == MS_CORPUS_READ)
        return ms_error_set(err, MS_E_BUG, "a removal from a corpus opened for reading");
    for (int kind = MS_VAULT_SAMPLE; kind <= MS_VAULT_REPORT && status == MS_OK; kind++) {
        uint8_t touched[SHARDS / 8] = {0};
        size_t folders = 0;
        status =
            unlink_all(corpus, (enum ms_vault_kind)kind, objects, count, touched, &folders, err);
        if (status == MS_OK)
            status = sync_removal(corpus, (enum ms_vault_kind)kind, touched, folders, err);
    }
    return status;
}
