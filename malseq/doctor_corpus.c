/* The corpus's own state, for malseq doctor: folder, database, lock, left-overs, disk and mount. */
#define _GNU_SOURCE /* flock */
#include "malseq/doctor.h"

#include "base/clock.h"
#include "base/limits.h"
#include "malseq/disk.h"
#include "store/census.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#define GIGABYTE ((uint64_t)1 << 30)

static bool below(const struct doctor *self, const char *name, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s/%s", self->corpus, name);
    return n > 0 && n < PATH_MAX;
}

static enum ms_status check_modes(struct doctor *self, struct ms_error *err)
{
    struct stat st;
    if (stat(self->corpus, &st) != 0)
        return MS_OK;
    if (st.st_uid != geteuid())
        return malseq_doctor_say(self, "folder", DOCTOR_WARNING, "run malseq as the corpus's owner",
                                 err, "'%s' belongs to user %lu", self->corpus,
                                 (unsigned long)st.st_uid);
    if (st.st_mode & 077)
        return malseq_doctor_say(self, "folder", DOCTOR_WARNING, "chmod 700 it", err,
                                 "'%s' is open to others (mode %04o): private samples are in it",
                                 self->corpus, (unsigned)(st.st_mode & 07777));
    return malseq_doctor_say(self, "folder", DOCTOR_OK, NULL, err, "'%s' is its owner's alone",
                             self->corpus);
}

/* ---- the database ---- */

struct runs {
    int64_t unfinished;
};

static enum ms_status on_count(void *ctx, const char *section, const char *name, int64_t value,
                               struct ms_error *err)
{
    struct runs *self = ctx;
    (void)name;
    (void)err;
    if (strcmp(section, "unfinished runs") == 0)
        self->unfinished += value;
    return MS_OK;
}

/* Who holds the lock, without taking it from anybody: a shared one, given back at once. */
static bool is_held(const struct doctor *self)
{
    char path[PATH_MAX];
    int fd = below(self, "lock", path) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
    if (fd >= 0)
        close(fd);
    return held;
}

static enum ms_status check_leftovers(struct doctor *self, struct ms_corpus *corpus,
                                      struct ms_error *err)
{
    char path[PATH_MAX];
    struct runs runs = {0};
    unsigned files = 0;
    uint64_t bytes = 0;
    struct dirent *entry;
    bool held = is_held(self);
    enum ms_status status = ms_census_run(corpus, ms_clock_wall_ms(), on_count, &runs, err);
    DIR *dir = below(self, "tmp", path) ? opendir(path) : NULL;
    while (dir && (entry = readdir(dir)) != NULL) {
        struct stat st;
        if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0) {
            files++;
            bytes += (uint64_t)st.st_blocks * 512;
        }
    }
    if (dir)
        (void)closedir(dir);
    if (status != MS_OK)
        return status;
    if (held)
        return malseq_doctor_say(self, "runs", DOCTOR_OK, NULL, err,
                                 "a run is at work on the corpus");
    bool much = bytes >= GIGABYTE;
    return malseq_doctor_say(
        self, "runs", much ? DOCTOR_WARNING : DOCTOR_OK,
        much ? "the next run that writes (collect, label or extract) removes them" : NULL, err,
        "none is at work; %" PRId64 " earlier ones never ended; %u files of %" PRIu64
        " bytes left in tmp/",
        runs.unfinished, files, bytes);
}

static enum ms_status check_database(struct doctor *self, bool *there, struct ms_error *err)
{
    struct ms_corpus *corpus = NULL;
    struct ms_error why;
    enum ms_status status = ms_corpus_open(self->corpus, MS_CORPUS_READ, &corpus, &why);
    *there = status != MS_E_INPUT;
    if (status == MS_E_INPUT)
        return malseq_doctor_say(self, "corpus", DOCTOR_WARNING, NULL, err, "%s", why.text);
    self->unreadable = status != MS_OK;
    if (status != MS_OK) {
        bool older = strstr(why.text, "has an older schema") != NULL;
        return malseq_doctor_say(self, "corpus", older ? DOCTOR_WARNING : DOCTOR_FAULT, NULL, err,
                                 "%s", why.text);
    }
    status = malseq_doctor_say(self, "corpus", DOCTOR_OK, NULL, err,
                               "schema version %u, as this malseq's", ms_corpus_schema_version());
    if (status == MS_OK)
        status = check_leftovers(self, corpus, err);
    ms_corpus_close(corpus);
    return status;
}

/* ---- the disk ---- */

/* What collect keeps free unless told otherwise (store/vault_room). */
static uint64_t floor_bytes(uint64_t disk_bytes)
{
    uint64_t share = disk_bytes / MS_LIMIT_DISK_RESERVE_SHARE;
    if (share > MS_LIMIT_DISK_RESERVE_MAX_BYTES)
        share = MS_LIMIT_DISK_RESERVE_MAX_BYTES;
    return share < MS_LIMIT_DISK_RESERVE_BYTES ? MS_LIMIT_DISK_RESERVE_BYTES : share;
}

static enum ms_status check_room(struct doctor *self, const struct statvfs *fs,
                                 struct ms_error *err)
{
    static const char todo[] = "free some space, or see 'malseq retain'";
    uint64_t size = (uint64_t)fs->f_blocks * fs->f_frsize;
    uint64_t left = (uint64_t)fs->f_bavail * fs->f_frsize;
    double share = size ? 100.0 * (double)left / (double)size : 0;
    bool few_files = fs->f_files && (double)fs->f_favail < (double)fs->f_files / 50;
    enum doctor_state state = left < floor_bytes(size)           ? DOCTOR_FAULT
                              : left < 5 * GIGABYTE || few_files ? DOCTOR_WARNING
                                                                 : DOCTOR_OK;
    return malseq_doctor_say(self, "disk", state, state == DOCTOR_OK ? NULL : todo, err,
                             "%.1f GiB free (%.0f %%)%s%s", (double)left / (double)GIGABYTE, share,
                             few_files ? ", hardly a file more can be made" : "",
                             state == DOCTOR_FAULT ? ": collect takes nothing in" : "");
}

/* File systems on which SQLite's write-ahead log, shared memory and locks do not hold. */
static const char *remote_name(const char *path)
{
    struct statfs fs;
    if (statfs(path, &fs) != 0)
        return NULL;
    switch ((unsigned long)fs.f_type & 0xffffffffu) {
    case 0x6969u:
        return "NFS";
    case 0x517bu:
    case 0xff534d42u:
    case 0xfe534d42u:
        return "SMB";
    case 0x01021997u:
        return "9P";
    case 0x01021994u:
    case 0x858458f6u:
        return "memory";
    default:
        return NULL;
    }
}

static enum ms_status check_mount(struct doctor *self, const char *path, const struct statvfs *fs,
                                  struct ms_error *err)
{
    const char *kind = remote_name(path);
    if (kind && strcmp(kind, "memory") == 0)
        return malseq_doctor_say(self, "mount", DOCTOR_WARNING, "keep the corpus on a disk", err,
                                 "the corpus lies in memory and is gone with the machine");
    if (kind)
        return malseq_doctor_say(self, "mount", DOCTOR_FAULT, "keep the corpus on a local disk",
                                 err, "%s: the database's log and locks do not hold there", kind);
    if (fs->f_flag & ST_RDONLY)
        return malseq_doctor_say(self, "mount", DOCTOR_FAULT, "mount it writable", err,
                                 "the corpus lies on a read-only file system");
    bool safe = (fs->f_flag & ST_NOEXEC) && (fs->f_flag & ST_NOSUID);
    return malseq_doctor_say(
        self, "mount", safe ? DOCTOR_OK : DOCTOR_WARNING,
        safe ? NULL
             : "a file system of its own for the corpus, mounted noexec,nosuid,nodev, is a second "
               "wall around stored malware",
        err, "%s, %s, %s", fs->f_flag & ST_NOEXEC ? "noexec" : "programs may run from there",
        fs->f_flag & ST_NOSUID ? "nosuid" : "set-user-ID counts",
        fs->f_flag & (ST_NOATIME | ST_RELATIME) ? "reading writes no times"
                                                : "each reading writes a time (noatime is faster)");
}

/* The folder a corpus that is not there yet would be made in: the nearest above it that is. */
static void find_ground(const char *corpus, char out[PATH_MAX])
{
    struct stat st;
    size_t n = (size_t)snprintf(out, PATH_MAX, "%s", corpus);
    if (n >= PATH_MAX)
        n = PATH_MAX - 1;
    while (n && strcmp(out, "/") != 0 && (stat(out, &st) != 0 || !S_ISDIR(st.st_mode))) {
        while (n > 1 && out[n - 1] == '/')
            n--;
        while (n && out[n - 1] != '/')
            n--;
        out[n] = '\0';
    }
    if (n == 0)
        (void)snprintf(out, PATH_MAX, ".");
}

enum ms_status malseq_doctor_corpus(struct doctor *self, struct ms_error *err)
{
    struct statvfs fs;
    bool there = false;
    char path[PATH_MAX];
    enum ms_status status = check_database(self, &there, err);
    find_ground(self->corpus, path);
    if (status == MS_OK && there)
        status = check_modes(self, err);
    if (status != MS_OK || statvfs(path, &fs) != 0)
        return status;
    status = check_room(self, &fs, err);
    return status == MS_OK ? check_mount(self, path, &fs, err) : status;
}
