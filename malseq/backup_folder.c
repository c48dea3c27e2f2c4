/* Looks at the folder a backup is to go to: no corpus in use, no part of the one that is backed up,
 * nobody else's. Makes and writes nothing. */
#define _GNU_SOURCE /* realpath */
#include "malseq/backup_folder.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool find(const char *folder, const char *name, struct stat *st)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && n < PATH_MAX && lstat(path, st) == 0;
}

static bool is_empty(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    bool empty = dir != NULL;
    while (dir && empty && (entry = readdir(dir)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (dir)
        (void)closedir(dir);
    return empty;
}

/* The real path of what there is of a path: the last of its folders that is there. */
static bool resolve(const char *path, char out[PATH_MAX])
{
    char left[PATH_MAX];
    int n = snprintf(left, sizeof left, "%s%s", path[0] == '/' ? "" : "./", path);
    bool fits = n > 0 && n < PATH_MAX;
    while (fits && !realpath(left, out)) {
        char *slash = strrchr(left, '/');
        if ((errno != ENOENT && errno != ENOTDIR) || !slash)
            return false;
        slash[slash == left] = '\0'; /* the root keeps its one */
    }
    return fits;
}

enum ms_status malseq_backup_apart(const char *corpus, const char *to, struct ms_error *err)
{
    char shown[256], here[PATH_MAX], there[PATH_MAX];
    struct stat ours, theirs;
    ms_escape_text(to, shown, sizeof shown);
    if (!realpath(corpus, here) || !resolve(to, there))
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot find where '%s' lies", shown);
    size_t n = strcmp(here, "/") == 0 ? 0 : strlen(here);
    if (stat(here, &ours) == 0 && stat(to, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
        ours.st_ino == theirs.st_ino)
        return ms_error_set(err, MS_E_USAGE, "'%s' is the corpus itself", shown);
    if (strncmp(here, there, n) == 0 && (there[n] == '/' || there[n] == '\0'))
        return ms_error_set(err, MS_E_USAGE, "'%s' lies in the corpus: name a folder outside of it",
                            shown);
    return MS_OK;
}

/* Whoever writes into a backup would lose that by the next one, and its log would be applied to
 * another database. A run that writes leaves the file `lock`, which no backup makes; the log goes
 * when the last one closes the database. */
static bool was_used(const char *folder)
{
    struct stat st;
    return find(folder, "lock", &st) || (find(folder, "corpus.db-wal", &st) && st.st_size > 0);
}

enum ms_status malseq_backup_check(const char *corpus, const char *to, bool *earlier,
                                   struct ms_error *err)
{
    char shown[256];
    struct stat st;
    enum ms_status status = malseq_backup_apart(corpus, to, err);
    *earlier = false;
    if (status != MS_OK)
        return status;
    ms_escape_text(to, shown, sizeof shown);
    if (stat(to, &st) != 0)
        return errno == ENOENT ? MS_OK
                               : ms_error_set_errno(err, MS_E_IO, errno, "cannot open '%s'", shown);
    *earlier = find(to, MALSEQ_BACKUP_RECORD, &st) || find(to, MALSEQ_BACKUP_LOCK, &st);
    if (!*earlier && !is_empty(to))
        return ms_error_set(err, MS_E_USAGE,
                            "'%s' is not empty and holds no backup: name a new folder", shown);
    if (was_used(to))
        return ms_error_set(err, MS_E_USAGE,
                            "'%s' was used as a corpus since it was made: back up to another "
                            "folder",
                            shown);
    return MS_OK;
}
