/* Files without a name for what is too large to hold, and the size of SQLite's cache. */
#define _GNU_SOURCE /* O_TMPFILE */
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum ms_status ms_corpus_temporary(struct ms_corpus *self, int *fd, struct ms_error *err)
{
    static atomic_ulong counter;
    *fd = openat(self->tmp_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd >= 0)
        return MS_OK;
    /* Not every file system has files without a name. The lock on the corpus is ours: a name that
     * exists is a dead run's. */
    char name[64];
    (void)snprintf(name, sizeof name, "spool-%ld-%lu", (long)getpid(),
                   atomic_fetch_add(&counter, 1));
    (void)unlinkat(self->tmp_fd, name, 0);
    *fd = openat(self->tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno,
                                  "cannot make a file in the corpus's folder tmp/");
    (void)unlinkat(self->tmp_fd, name, 0);
    return MS_OK;
}

enum ms_status ms_corpus_limit_cache(struct ms_corpus *self, uint32_t bytes, struct ms_error *err)
{
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA cache_size = -%u", bytes >> 10);
    return ms_db_exec(self, sql, err);
}
