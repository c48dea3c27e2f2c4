/* Adds up blocks of the files of a corpus. Of a large vault only some of its folders. */
#include "malseq/disk.h"

#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

/* Objects to be seen before the rest is estimated: about 20 ms of stat(2). */
enum { ENOUGH_OBJECTS = 4096, SHARDS = 256 };

struct sum {
    uint64_t bytes, files;
};

static enum ms_status add_file(void *ctx, const char *path, const struct stat *st, int errnum,
                               struct ms_error *err)
{
    struct sum *self = ctx;
    (void)path;
    (void)errnum;
    (void)err;
    if (st) {
        self->bytes += (uint64_t)st->st_blocks * 512;
        self->files++;
    }
    return MS_OK;
}

static bool join(char *out, size_t n, const char *folder, const char *name)
{
    int got = snprintf(out, n, "%s/%s", folder, name);
    return got > 0 && (size_t)got < n;
}

static enum ms_status measure_vault(const char *corpus, const char *kind, bool exact,
                                    uint64_t *bytes, bool *estimated, struct ms_error *err)
{
    char folder[PATH_MAX], shard[PATH_MAX], name[8];
    struct sum sum = {0, 0};
    unsigned seen = 0;
    enum ms_status status = MS_OK;
    if (!join(folder, sizeof folder, corpus, kind))
        return ms_error_set(err, MS_E_IO, "the corpus's path is too long");
    for (; seen < SHARDS && status == MS_OK && (exact || sum.files < ENOUGH_OBJECTS); seen++) {
        struct stat st;
        (void)snprintf(name, sizeof name, "%02x", seen);
        if (join(shard, sizeof shard, folder, name) && stat(shard, &st) == 0)
            status = ms_file_walk(shard, add_file, &sum, err);
    }
    *estimated = *estimated || seen < SHARDS;
    *bytes = seen < SHARDS ? (uint64_t)((double)sum.bytes * SHARDS / seen) : sum.bytes;
    return status;
}

/* What lies in the corpus's own folder: files, and folders other than the vault's. */
static enum ms_status measure_entry(const char *corpus, const char *name, struct malseq_disk *out,
                                    struct ms_error *err)
{
    char path[PATH_MAX];
    struct sum sum = {0, 0};
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "samples") == 0 ||
        strcmp(name, "reports") == 0 || !join(path, sizeof path, corpus, name))
        return MS_OK;
    enum ms_status status = ms_file_walk(path, add_file, &sum, err);
    if (strncmp(name, "corpus.db", 9) == 0)
        out->database += sum.bytes;
    else if (strcmp(name, "models") == 0)
        out->models += sum.bytes;
    else
        out->other += sum.bytes;
    return status;
}

enum ms_status malseq_disk_measure(const char *corpus, bool exact, struct malseq_disk *out,
                                   struct ms_error *err)
{
    struct statvfs fs;
    struct dirent *entry;
    char shown[256];
    *out = (struct malseq_disk){.estimated = false};
    DIR *dir = opendir(corpus);
    if (!dir)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot open the folder '%s'",
                                  ms_escape_text(corpus, shown, sizeof shown));
    enum ms_status status = MS_OK;
    while (status == MS_OK && (entry = readdir(dir)) != NULL)
        status = measure_entry(corpus, entry->d_name, out, err);
    (void)closedir(dir);
    if (status == MS_OK)
        status = measure_vault(corpus, "samples", exact, &out->samples, &out->estimated, err);
    if (status == MS_OK)
        status = measure_vault(corpus, "reports", exact, &out->reports, &out->estimated, err);
    if (status == MS_OK && statvfs(corpus, &fs) == 0) {
        out->free = (uint64_t)fs.f_bavail * fs.f_frsize;
        out->size = (uint64_t)fs.f_blocks * fs.f_frsize;
    }
    return status;
}
