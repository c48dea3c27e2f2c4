/* How much the vault may take: a quota on what it holds, and space that stays free on the disk. The
 * sum is made once, when the quota is set, and kept up by each object that gets its name. */
#include "store/vault_private.h"

#include "base/limits.h"
#include "base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Bytes of an object written between two looks at the disk. */
#define LOOK_EVERY_BYTES ((uint64_t)1 << 20)

struct sum {
    int folder;
    uint64_t bytes;
};

static enum ms_status add_object(void *ctx, const uint8_t sha256[32], bool good_name,
                                 const char *name, struct ms_error *err)
{
    struct sum *sum = ctx;
    struct stat st;
    (void)sha256;
    (void)good_name;
    (void)err;
    if (fstatat(sum->folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
        sum->bytes += (uint64_t)st.st_size;
    return MS_OK;
}

enum ms_status ms_vault_limit(struct ms_corpus *corpus, uint64_t max_store_bytes,
                              uint64_t keep_free_bytes, struct ms_error *err)
{
    uint64_t used = 0;
    enum ms_status status = MS_OK;
    for (int kind = MS_VAULT_SAMPLE;
         kind <= MS_VAULT_REPORT && status == MS_OK && max_store_bytes != UINT64_MAX; kind++) {
        struct sum sum = {ms_vault_folder(corpus, (enum ms_vault_kind)kind), 0};
        status = ms_vault_foreach(corpus, (enum ms_vault_kind)kind, add_object, &sum, err);
        used += sum.bytes;
    }
    corpus->room.has_quota = max_store_bytes != UINT64_MAX;
    corpus->room.max_bytes = max_store_bytes;
    corpus->room.has_floor = keep_free_bytes != UINT64_MAX;
    corpus->room.keep_free_bytes = keep_free_bytes;
    atomic_store(&corpus->room.used_bytes, used);
    return status;
}

bool ms_vault_is_full(const struct ms_corpus *corpus)
{
    return atomic_load(&corpus->room.full);
}

static void size_text(uint64_t bytes, char out[32])
{
    static const char units[] = "KMGTPE";
    size_t unit = 0;
    if (bytes < 1024) {
        (void)snprintf(out, 32, "%" PRIu64 " bytes", bytes);
        return;
    }
    while (bytes >> 10 >= 1024 && units[unit + 1]) {
        bytes >>= 10;
        unit++;
    }
    (void)snprintf(out, 32, "%.1f %ciB", (double)bytes / 1024, units[unit]);
}

static enum ms_status full(struct ms_corpus *corpus, bool quota, uint64_t have, uint64_t allowed,
                           struct ms_error *err)
{
    char dir[256], has[32], may[32];
    atomic_store(&corpus->room.full, true);
    size_text(have, has);
    size_text(allowed, may);
    ms_escape_text(corpus->dir, dir, sizeof dir);
    if (quota)
        return ms_error_set(
            err, MS_E_STORE,
            "the samples and reports of corpus '%s' take %s, and the next one would not fit into "
            "the %s of --max-store: what was taken in so far is kept; allow more, then run the "
            "command again",
            dir, has, may);
    return ms_error_set(
        err, MS_E_STORE,
        "the disk of corpus '%s' has %s free, and %s are to stay free: what was taken in so far "
        "is kept; free some space (or let collect --keep-free less), then run the command again",
        dir, has, may);
}

/* Corpora of small disks are not held up for a gigabyte; those of large ones lose nothing by it. */
static uint64_t default_floor(uint64_t disk_bytes)
{
    uint64_t share = disk_bytes / MS_LIMIT_DISK_RESERVE_SHARE;
    if (share > MS_LIMIT_DISK_RESERVE_MAX_BYTES)
        share = MS_LIMIT_DISK_RESERVE_MAX_BYTES;
    return share < MS_LIMIT_DISK_RESERVE_BYTES ? MS_LIMIT_DISK_RESERVE_BYTES : share;
}

static enum ms_status check_disk(struct ms_corpus *corpus, struct ms_error *err)
{
    struct statvfs st;
    uint64_t free_bytes, disk_bytes;
    int folder = ms_vault_folder(corpus, MS_VAULT_SAMPLE);
    if (fstatvfs(folder, &st) != 0 || st.f_blocks == 0 ||
        !ms_mul_u64(st.f_bavail, st.f_frsize, &free_bytes) ||
        !ms_mul_u64(st.f_blocks, st.f_frsize, &disk_bytes))
        return MS_OK;
    uint64_t least =
        corpus->room.has_floor ? corpus->room.keep_free_bytes : default_floor(disk_bytes);
    if (free_bytes >= least)
        return MS_OK;
    return full(corpus, false, free_bytes, least, err);
}

static enum ms_status check_quota(struct ms_corpus *corpus, uint64_t more_bytes,
                                  struct ms_error *err)
{
    uint64_t used = atomic_load(&corpus->room.used_bytes);
    if (!corpus->room.has_quota ||
        (used <= corpus->room.max_bytes && more_bytes <= corpus->room.max_bytes - used))
        return MS_OK;
    return full(corpus, true, used, corpus->room.max_bytes, err);
}

enum ms_status ms_vault_room(struct ms_corpus *corpus, struct ms_error *err)
{
    enum ms_status status = check_quota(corpus, 1, err);
    return status == MS_OK ? check_disk(corpus, err) : status;
}

enum ms_status ms_vault_room_grow(struct ms_corpus *corpus, uint64_t before_bytes,
                                  uint64_t after_bytes, struct ms_error *err)
{
    if (before_bytes / LOOK_EVERY_BYTES == after_bytes / LOOK_EVERY_BYTES)
        return MS_OK;
    enum ms_status status = check_quota(corpus, after_bytes, err);
    return status == MS_OK ? check_disk(corpus, err) : status;
}

enum ms_status ms_vault_room_take(struct ms_corpus *corpus, uint64_t bytes, struct ms_error *err)
{
    if (!corpus->room.has_quota)
        return MS_OK;
    uint64_t before = atomic_fetch_add(&corpus->room.used_bytes, bytes);
    if (before <= corpus->room.max_bytes && bytes <= corpus->room.max_bytes - before)
        return MS_OK;
    ms_vault_room_give(corpus, bytes);
    return full(corpus, true, before, corpus->room.max_bytes, err);
}

void ms_vault_room_give(struct ms_corpus *corpus, uint64_t bytes)
{
    if (corpus->room.has_quota)
        atomic_fetch_sub(&corpus->room.used_bytes, bytes);
}
