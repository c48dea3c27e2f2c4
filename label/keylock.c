/* The lock file of a key. */
#define _GNU_SOURCE /* flock, realpath */
#include "label/keylock.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Opens the folder without following a link at its end; refuses one that is another's or open to
 * others: whoever may write there may take the lock away. */
static enum ms_status open_folder(const char *path, int *fd, struct ms_error *err)
{
    char shown[256];
    struct stat st;
    (void)ms_escape_text(path, shown, sizeof shown);
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &st) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot open the folder '%s'", shown);
    if (st.st_uid == geteuid() && (st.st_mode & 022) == 0)
        return MS_OK;
    close(*fd);
    *fd = -1;
    return ms_error_set(err, MS_E_IO,
                        "the folder '%s' belongs to another user or is open to others; make it "
                        "yours alone (chmod 700), or set XDG_STATE_HOME",
                        shown);
}

static enum ms_status try_folder(const char *path, int *fd, struct ms_error *err)
{
    enum ms_status status = ms_file_make_dirs(path, err);
    return status == MS_OK ? open_folder(path, fd, err) : status;
}

static enum ms_status find_folder(int *fd, struct ms_error *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char path[PATH_MAX];
    int n = 0;
    struct ms_error why;
    if (state && state[0] == '/')
        n = snprintf(path, sizeof path, "%s/malseq", state);
    else if (home && home[0] == '/')
        n = snprintf(path, sizeof path, "%s/.local/state/malseq", home);
    if (n > 0 && (size_t)n < sizeof path && try_folder(path, fd, &why) == MS_OK)
        return MS_OK;
    if (state && state[0] == '/') { /* asked for by name: nothing else will do */
        if (err)
            *err = why;
        return MS_E_IO;
    }
    /* A home that is not there or cannot be written to: a service's account. */
    (void)snprintf(path, sizeof path, "/tmp/malseq-%ld", (long)geteuid());
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot make the folder '%s'", path);
    return open_folder(path, fd, err);
}

/* Who holds it: "PROCESS CORPUS", as the holder wrote it. */
static enum ms_status held(int fd, const char *key_print, struct ms_error *err)
{
    char holder[512] = "", shown[600];
    ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
    holder[n > 0 ? n : 0] = '\0';
    size_t digits = strspn(holder, "0123456789");
    const char *corpus = holder[digits] == ' ' ? holder + digits + 1 : "";
    (void)ms_escape_text(corpus, shown, sizeof shown);
    return ms_error_set(err, MS_E_LATER,
                        "another run spends the key %s%s%.*s%s%s%s%s; try again when it is done",
                        key_print, digits ? " (process " : "", (int)digits, holder,
                        *corpus ? ", corpus '" : "", shown, *corpus ? "'" : "", digits ? ")" : "");
}

enum ms_status ms_keylock_take(const char *key_print, const char *corpus, int *fd,
                               struct ms_error *err)
{
    char name[32], holder[PATH_MAX + 32];
    int folder = -1;
    *fd = -1;
    enum ms_status status = find_folder(&folder, err);
    if (status != MS_OK)
        return status;
    (void)snprintf(name, sizeof name, "key-%.8s.lock", key_print);
    int lock = openat(folder, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int errnum = errno;
    close(folder);
    if (lock < 0)
        return ms_error_set_errno(err, MS_E_IO, errnum, "cannot open the lock file of the key");
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK
                     ? held(lock, key_print, err)
                     : ms_error_set_errno(err, MS_E_IO, errno, "cannot lock the key's lock file");
        close(lock);
        return status;
    }
    char *real = realpath(corpus, NULL);
    int n = snprintf(holder, sizeof holder, "%ld %s", (long)getpid(), real ? real : corpus);
    free(real);
    /* Only for the message of the next run: a full disk must not keep this one from going on. */
    if (n > 0 && ftruncate(lock, 0) == 0)
        (void)!pwrite(lock, holder, (size_t)n < sizeof holder ? (size_t)n : sizeof holder - 1, 0);
    *fd = lock;
    return MS_OK;
}
