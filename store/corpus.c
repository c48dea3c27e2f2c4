/* Opens, locks and closes a corpus folder, and runs its transactions. No rows: those are the other
 * files' business. */
#define _GNU_SOURCE /* flock */
#include "store/corpus.h"

#include "base/file.h"
#include "base/log.h"
#include "base/step.h"
#include "store/internal.h"
#include "store/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_TIMEOUT_MS = 10000 };

const char *ms_corpus_dir(const struct ms_corpus *self)
{
    return self->dir;
}

unsigned ms_corpus_schema_version(void)
{
    return ms_migration_count;
}

const char *ms_corpus_engine(void)
{
    return sqlite3_libversion();
}

static enum ms_status fail_errno(const struct ms_corpus *self, const char *what, int errnum,
                                 struct ms_error *err)
{
    char dir[256];
    ms_escape_text(self->dir, dir, sizeof dir);
    return ms_error_set_errno(err, MS_E_IO, errnum, "cannot %s in corpus '%s'", what, dir);
}

static enum ms_status open_dir(struct ms_corpus *self, struct ms_error *err)
{
    if (self->mode == MS_CORPUS_CREATE) {
        enum ms_status status = ms_file_make_dirs(self->dir, err);
        if (status != MS_OK)
            return status;
    }
    self->dir_fd = open(self->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    bool there = self->dir_fd >= 0 && (fstatat(self->dir_fd, "corpus.db", &st, 0) == 0);
    if (there || (self->dir_fd >= 0 && self->mode == MS_CORPUS_CREATE))
        return MS_OK;
    int errnum = errno;
    char dir[256];
    ms_escape_text(self->dir, dir, sizeof dir);
    if (errnum != ENOENT)
        return ms_error_set_errno(err, MS_E_IO, errnum, "cannot open corpus '%s'", dir);
    return ms_error_set(err, MS_E_INPUT,
                        "there is no corpus in '%s': name another with --corpus, or make one with "
                        "collect, label --hashes, label import or extract import",
                        dir);
}

static enum ms_status open_folder(struct ms_corpus *self, const char *name, int *fd,
                                  struct ms_error *err)
{
    if (self->mode != MS_CORPUS_READ && mkdirat(self->dir_fd, name, 0700) != 0 && errno != EEXIST)
        return fail_errno(self, "make a folder", errno, err);
    *fd = openat(self->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 && (self->mode != MS_CORPUS_READ || errno != ENOENT))
        return fail_errno(self, "open a folder", errno, err);
    return MS_OK;
}

/* The lock file says who holds it, for the message of the second run; the lock itself is the
 * kernel's, so that a killed run leaves none behind. */
static enum ms_status take_lock(struct ms_corpus *self, struct ms_error *err)
{
    char holder[32] = "";
    self->lock_fd = openat(self->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (self->lock_fd < 0)
        return fail_errno(self, "open the file 'lock'", errno, err);
    if (flock(self->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        char dir[256];
        if (errno != EWOULDBLOCK)
            return fail_errno(self, "lock the file 'lock'", errno, err);
        ssize_t n = pread(self->lock_fd, holder, sizeof holder - 1, 0);
        holder[n > 0 ? strspn(holder, "0123456789") : 0] = '\0';
        ms_escape_text(self->dir, dir, sizeof dir);
        return ms_error_set(err, MS_E_LATER,
                            "corpus '%s' is in use by another run%s%s%s; try again when it is done",
                            dir, *holder ? " (process " : "", holder, *holder ? ")" : "");
    }
    int n = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
    /* Only for that message: a full disk must not keep a reader of the quota from running. */
    if (ftruncate(self->lock_fd, 0) == 0 && pwrite(self->lock_fd, holder, (size_t)n, 0) < 0)
        return MS_OK;
    return MS_OK;
}

/* A path that SQLite cannot take for a URI ("file:…"), which Debian's build looks for. */
static char *database_path(const struct ms_corpus *self)
{
    size_t n = strlen(self->dir) + sizeof "./" + sizeof "/corpus.db";
    char *path = malloc(n);
    if (path)
        (void)snprintf(path, n, "%s%s/corpus.db", self->dir[0] == '/' ? "" : "./", self->dir);
    return path;
}

/* file:PATH?immutable=1, percent-encoded: a corpus on a medium that cannot be written to, whose
 * shared-memory file SQLite cannot make. Only right when no write-ahead log waits beside it. */
static char *immutable_uri(const char *path)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
    size_t room = strlen(path) * 3 + sizeof "file:?immutable=1";
    char *uri = malloc(room);
    if (!uri)
        return NULL;
    size_t n = (size_t)snprintf(uri, room, "file:");
    for (const char *p = path; *p; p++) {
        if (strchr(safe, *p))
            uri[n++] = *p;
        else
            n += (size_t)snprintf(uri + n, room - n, "%%%02X", (unsigned)(unsigned char)*p);
    }
    (void)snprintf(uri + n, room - n, "?immutable=1");
    return uri;
}

static int open_once(struct ms_corpus *self, const char *name, int flags)
{
    (void)sqlite3_close(self->db);
    self->db = NULL;
    int code = sqlite3_open_v2(name, &self->db, flags | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK)
        return code;
    (void)sqlite3_busy_timeout(self->db, BUSY_TIMEOUT_MS);
    return sqlite3_exec(self->db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
}

static enum ms_status open_database(struct ms_corpus *self, struct ms_error *err)
{
    struct stat st;
    bool reading = self->mode == MS_CORPUS_READ;
    if (self->mode == MS_CORPUS_CREATE) {
        /* Made by us and not by SQLite for its mode, which the log and index files take over. */
        int fd = openat(self->dir_fd, "corpus.db", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return fail_errno(self, "make the file 'corpus.db'", errno, err);
        close(fd);
    }
    char *path = self->in_memory ? strdup(":memory:") : database_path(self);
    if (!path)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    int code = open_once(self, path, reading ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    bool no_log = fstatat(self->dir_fd, "corpus.db-wal", &st, 0) != 0 || st.st_size == 0;
    if (reading && no_log &&
        ((code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY)) {
        char *uri = immutable_uri(path);
        code = uri ? open_once(self, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI) : SQLITE_NOMEM;
        free(uri);
    }
    free(path);
    return code == SQLITE_OK ? MS_OK : ms_db_error(self, code, err);
}

static enum ms_status set_up_database(struct ms_corpus *self, struct ms_error *err)
{
    sqlite3 *db = self->db;
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    enum ms_status status = ms_db_exec(self,
                                       "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; "
                                       "PRAGMA cache_size = -32768",
                                       err);
    if (status == MS_OK && self->mode == MS_CORPUS_READ)
        status = ms_db_exec(self, "PRAGMA query_only = ON", err);
    if (status == MS_OK)
        status = ms_migrate_run(self, ms_migrations, ms_migration_count, err);
    if (status != MS_OK || self->mode == MS_CORPUS_READ)
        return status;
    /* After the look at whose database this is: a foreign one is not even switched to WAL. */
    return ms_db_exec(self,
                      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                      "PRAGMA journal_size_limit = 67108864; PRAGMA foreign_keys = ON",
                      err);
}

/* The folder, its lock, and the folders in it. */
static enum ms_status open_folders(struct ms_corpus *self, struct ms_error *err)
{
    int models_fd = -1;
    enum ms_status status = MS_OK;
    if (self->mode != MS_CORPUS_READ)
        status = take_lock(self, err);
    if (status == MS_OK)
        status = open_folder(self, "samples", &self->samples_fd, err);
    if (status == MS_OK)
        status = open_folder(self, "reports", &self->reports_fd, err);
    if (status == MS_OK)
        status = open_folder(self, "models", &models_fd, err);
    if (status == MS_OK)
        status = open_folder(self, "tmp", &self->tmp_fd, err);
    if (models_fd >= 0)
        close(models_fd);
    return status;
}

struct ms_corpus *ms_corpus_new(const char *dir, enum ms_corpus_mode mode)
{
    struct ms_corpus *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->mode = mode;
    (void)pthread_mutex_init(&self->sync_lock, NULL);
    self->dir_fd = self->lock_fd = self->samples_fd = self->reports_fd = self->tmp_fd = -1;
    self->dir = strdup(dir);
    if (self->dir)
        return self;
    ms_corpus_close(self);
    return NULL;
}

enum ms_status ms_corpus_open(const char *dir, enum ms_corpus_mode mode, struct ms_corpus **out,
                              struct ms_error *err)
{
    struct ms_corpus *self = ms_corpus_new(dir, mode);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    struct ms_error why = {0};
    enum ms_status status = open_dir(self, &why);
    self->in_memory = status == MS_E_INPUT && mode == MS_CORPUS_TRY;
    if (self->in_memory)
        status = MS_OK;
    else if (status == MS_OK)
        status = open_folders(self, &why);
    if (status != MS_OK && err)
        *err = why;
    if (status == MS_OK)
        status = open_database(self, err);
    if (status == MS_OK)
        status = set_up_database(self, err);
    if (status != MS_OK) {
        ms_corpus_close(self);
        return status;
    }
    if (mode != MS_CORPUS_READ && !self->in_memory)
        ms_vault_clean(self);
    *out = self;
    return MS_OK;
}

enum ms_status ms_corpus_expect_bulk(struct ms_corpus *self, struct ms_error *err)
{
    return ms_db_exec(self, "PRAGMA wal_autocheckpoint = 16384; PRAGMA cache_size = -65536", err);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void ms_corpus_close(struct ms_corpus *self)
{
    if (!self)
        return;
    ms_corpus_rollback(self);
    ms_db_release(self);
    (void)sqlite3_close(self->db);
    close_fd(self->samples_fd);
    close_fd(self->reports_fd);
    close_fd(self->tmp_fd);
    close_fd(self->dir_fd);
    close_fd(self->lock_fd); /* last: it gives the lock back */
    (void)pthread_mutex_destroy(&self->sync_lock);
    free(self->dir);
    free(self);
}

bool ms_corpus_in_transaction(const struct ms_corpus *self)
{
    return self->db && !sqlite3_get_autocommit(self->db);
}

enum ms_status ms_corpus_begin(struct ms_corpus *self, struct ms_error *err)
{
    if (self->mode == MS_CORPUS_READ)
        return ms_error_set(err, MS_E_BUG, "a transaction on a corpus opened for reading");
    if (ms_corpus_in_transaction(self))
        return ms_error_set(err, MS_E_BUG, "a transaction inside a transaction");
    return ms_db_exec(self, "BEGIN IMMEDIATE", err);
}

enum ms_status ms_corpus_commit(struct ms_corpus *self, struct ms_error *err)
{
    if (!ms_corpus_in_transaction(self))
        return ms_error_set(err, MS_E_STORE,
                            "the transaction was given up after an earlier error: nothing is kept");
    ms_step("store.corpus.commit");
    enum ms_status status = ms_db_exec(self, "COMMIT", err);
    if (status != MS_OK) {
        ms_corpus_rollback(self);
        return status;
    }
    ms_step("store.corpus.committed");
    return MS_OK;
}

void ms_corpus_rollback(struct ms_corpus *self)
{
    if (ms_corpus_in_transaction(self))
        (void)sqlite3_exec(self->db, "ROLLBACK", NULL, NULL, NULL);
}
