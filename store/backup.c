/* The database's side of a backup: SQLite's own page copy within a read transaction, and what the
 * rows of that copy name. Files of the vault are the caller's. */
#include "store/backup.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "base/stop.h"
#include "store/internal.h"
#include "store/vault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Pages between two looks at whether to stop: 16 MiB. */
enum { STEP_PAGES = 4096 };

/* The transaction whose first read makes the view. */
static enum ms_status begin_view(struct ms_corpus *corpus, struct ms_error *err)
{
    int64_t count;
    enum ms_status status = ms_db_exec(corpus, "BEGIN", err);
    return status == MS_OK ? ms_db_scalar(corpus, "SELECT count(*) FROM sqlite_schema", &count, err)
                           : status;
}

static enum ms_status fail(sqlite3 *copy, const char *path, struct ms_error *err)
{
    char shown[256], words[256];
    ms_escape_text(copy ? sqlite3_errmsg(copy) : "out of memory", words, sizeof words);
    return ms_error_set(err, MS_E_STORE, "cannot write '%s': %s",
                        ms_escape_text(path, shown, sizeof shown), words);
}

static enum ms_status copy_pages(struct ms_corpus *corpus, sqlite3 *copy, const char *path,
                                 struct ms_error *err)
{
    sqlite3_backup *backup = sqlite3_backup_init(copy, "main", corpus->db, "main");
    if (!backup)
        return fail(copy, path, err);
    int code = SQLITE_OK;
    while (code == SQLITE_OK && ms_stop_signal() == 0) {
        code = sqlite3_backup_step(backup, STEP_PAGES);
        ms_progress_update(
            (uint64_t)(sqlite3_backup_pagecount(backup) - sqlite3_backup_remaining(backup)));
        ms_step("store.backup.pages");
    }
    int end = sqlite3_backup_finish(backup);
    if (code == SQLITE_DONE && end == SQLITE_OK)
        return MS_OK;
    if (code == SQLITE_OK)
        return ms_error_set(err, MS_E_LATER, "stopped before the backup was complete");
    return fail(copy, path, err);
}

/* SQLite copies pages as they are: a damaged database would be copied faithfully, over a good
 * backup. A new connection, for the first one does not know what journal the copy's header asks
 * for. */
static enum ms_status check_copy(const char *path, struct ms_error *err)
{
    sqlite3 *copy = NULL;
    sqlite3_stmt *statement = NULL;
    char words[256] = "no answer";
    enum ms_status status = MS_OK;
    if (sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_exec(copy, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(copy, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK)
        status = fail(copy, path, err);
    else if (sqlite3_step(statement) == SQLITE_ROW)
        ms_escape_text((const char *)sqlite3_column_text(statement, 0), words, sizeof words);
    sqlite3_finalize(statement);
    (void)sqlite3_close(copy);
    if (status == MS_OK && strcmp(words, "ok") != 0)
        return ms_error_set(err, MS_E_STORE,
                            "the corpus's database is damaged (%s): an earlier backup is left as "
                            "it is; see 'malseq fsck'",
                            words);
    return status;
}

static enum ms_status sync_file(const char *path, struct ms_error *err)
{
    char shown[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int errnum = fd >= 0 && fsync(fd) == 0 ? 0 : errno;
    if (fd >= 0)
        close(fd);
    return errnum ? ms_error_set_errno(err, MS_E_IO, errnum, "cannot sync '%s'",
                                       ms_escape_text(path, shown, sizeof shown))
                  : MS_OK;
}

static enum ms_status write_copy(struct ms_corpus *corpus, const char *path, struct ms_error *err)
{
    sqlite3 *copy = NULL;
    char shown[256];
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot make '%s'",
                                  ms_escape_text(path, shown, sizeof shown));
    close(fd);
    enum ms_status status = MS_OK;
    if (sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_exec(copy, "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF", NULL, NULL,
                     NULL) != SQLITE_OK)
        status = fail(copy, path, err); /* it is synced once, at the end */
    if (status == MS_OK)
        status = copy_pages(corpus, copy, path, err);
    ms_corpus_rollback(corpus); /* the view has served: checking and syncing take as long again */
    ms_step("store.backup.copied");
    if (sqlite3_close(copy) != SQLITE_OK && status == MS_OK)
        status = ms_error_set(err, MS_E_BUG, "the copy cannot be closed");
    if (status == MS_OK)
        status = check_copy(path, err);
    return status == MS_OK ? sync_file(path, err) : status;
}

/* A path that SQLite cannot take for a URI ("file:…"), which Debian's build looks for. */
static enum ms_status plain_path(const char *path, char out[PATH_MAX], struct ms_error *err)
{
    int n = snprintf(out, PATH_MAX, "%s%s", path[0] == '/' ? "" : "./", path);
    return n > 0 && n < PATH_MAX ? MS_OK : ms_error_set(err, MS_E_USAGE, "the path is too long");
}

enum ms_status ms_backup_copy(struct ms_corpus *corpus, const char *path, struct ms_error *err)
{
    char plain[PATH_MAX];
    enum ms_status status = plain_path(path, plain, err);
    if (status == MS_OK)
        status = begin_view(corpus, err);
    if (status == MS_OK)
        status = write_copy(corpus, plain, err);
    ms_corpus_rollback(corpus);
    return status;
}

enum ms_status ms_backup_open(const char *path, struct ms_corpus **out, struct ms_error *err)
{
    char plain[PATH_MAX], folder[PATH_MAX];
    enum ms_status status = plain_path(path, plain, err);
    if (status != MS_OK)
        return status;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(plain, '/') - plain), plain);
    struct ms_corpus *self = ms_corpus_new(folder, MS_CORPUS_READ);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    int code =
        sqlite3_open_v2(plain, &self->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_EXRESCODE, NULL);
    status = code == SQLITE_OK
                 ? ms_db_exec(self, "PRAGMA trusted_schema = OFF; PRAGMA query_only = ON", err)
                 : ms_db_error(self, code, err);
    if (status == MS_OK)
        status = begin_view(self, err);
    if (status == MS_OK)
        *out = self;
    else
        ms_corpus_close(self);
    return status;
}

void ms_object_path(enum ms_vault_kind kind, const uint8_t sha256[32],
                    char out[MS_OBJECT_PATH_BYTES])
{
    char name[MS_VAULT_NAME_BYTES];
    ms_vault_name(kind, sha256, name, NULL);
    (void)snprintf(out, MS_OBJECT_PATH_BYTES, "%s/%s",
                   kind == MS_VAULT_SAMPLE ? "samples" : "reports", name);
}

enum ms_status ms_backup_foreach(struct ms_corpus *corpus, ms_backup_visit visit, void *ctx,
                                 struct ms_error *err)
{
    static const char *const sql[] = {
        [MS_VAULT_SAMPLE] = "SELECT sha256 FROM sample WHERE vaulted = 1 AND sha256 IS NOT NULL"
                            " ORDER BY sha256",
        [MS_VAULT_REPORT] = "SELECT report_sha256 FROM analysis WHERE report_sha256 IS NOT NULL"
                            " AND report_gone_ms IS NULL"
                            " ORDER BY report_sha256"};
    enum ms_status status = MS_OK;
    for (int kind = MS_VAULT_SAMPLE; kind <= MS_VAULT_REPORT && status == MS_OK; kind++) {
        sqlite3_stmt *statement;
        bool row = false;
        status = ms_db_prepare(corpus, sql[kind], &statement, err);
        if (status != MS_OK)
            break;
        while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
            struct ms_span digest = ms_db_blob(statement, 0);
            if (digest.len == MS_SHA256_BYTES)
                status = visit(ctx, (enum ms_vault_kind)kind, digest.data, err);
            if (status != MS_OK)
                break;
        }
        ms_db_done(statement);
    }
    return status;
}

enum ms_status ms_backup_count(struct ms_corpus *corpus, uint64_t *samples, uint64_t *reports,
                               struct ms_error *err)
{
    sqlite3_stmt *statement;
    int64_t counts[2] = {0, 0};
    enum ms_status status =
        ms_db_prepare(corpus, "SELECT vaulted, reports FROM total", &statement, err);
    if (status == MS_OK)
        status = ms_db_take_ints(corpus, statement, counts, 2, err);
    *samples = (uint64_t)counts[0];
    *reports = (uint64_t)counts[1];
    return status;
}

enum ms_status ms_backup_keeps(struct ms_corpus *corpus, enum ms_vault_kind kind,
                               const uint8_t sha256[32], bool *kept, struct ms_error *err)
{
    /* Not `vaulted`: a repair takes that from what was lost or damaged, of which the backup may
     * have the last good copy. */
    static const char *const sql[] = {
        [MS_VAULT_SAMPLE] = "SELECT 1 FROM sample WHERE sha256 = ?1 AND bytes_gone_ms IS NULL",
        [MS_VAULT_REPORT] = "SELECT 1 FROM analysis WHERE report_sha256 = ?1"
                            " AND report_gone_ms IS NULL"};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql[kind], &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, sha256, MS_SHA256_BYTES);
    status = ms_db_step(corpus, statement, kept, err);
    ms_db_done(statement);
    return status;
}
