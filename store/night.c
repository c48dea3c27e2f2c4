/* Reads what a night's summary says of runs and failures, and waits for the corpus to be free. */
#define _GNU_SOURCE /* flock */
#include "store/night.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "store/db.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { POLL_MS = 100 };

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

enum ms_status ms_night_newest_run(struct ms_corpus *corpus, int64_t *out, struct ms_error *err)
{
    return ms_db_scalar(corpus, "SELECT coalesce(max(id), 0) FROM run", out, err);
}

enum ms_status ms_night_run_counts(struct ms_corpus *corpus, const char *tool, int64_t after,
                                   char *out, size_t n, struct ms_error *err)
{
    static const char sql[] = "SELECT counts FROM run WHERE id > ?1 AND tool = ?2 ORDER BY id"
                              " LIMIT 1";
    sqlite3_stmt *statement;
    bool row = false;
    *out = '\0';
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, after);
    ms_db_bind_text(statement, 2, tool);
    status = ms_db_step(corpus, statement, &row, err);
    const char *text = status == MS_OK && row ? ms_db_text(statement, 0) : NULL;
    if (text && strlen(text) < n)
        memcpy(out, text, strlen(text) + 1);
    ms_db_done(statement);
    return status;
}

enum ms_status ms_night_model(struct ms_corpus *corpus, const char *name, struct ms_buf *out,
                              struct ms_error *err)
{
    static const char sql[] = "SELECT metrics FROM model WHERE name = ?1";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, name);
    status = ms_db_step(corpus, statement, &row, err);
    const char *text = status == MS_OK && row ? ms_db_text(statement, 0) : NULL;
    if (text && ms_buf_append_text(out, text) != MS_OK)
        status = ms_error_set(err, MS_E_LIMIT, "the model's figures do not fit into memory");
    ms_db_done(statement);
    return status;
}

enum ms_status ms_night_state(struct ms_corpus *corpus, struct ms_buf *out, struct ms_error *err)
{
    static const char sql[] =
        "SELECT * FROM (SELECT what || ' ' || name || ' ' || detail || ' ' || class, n FROM tally"
        "  WHERE what IN ('label', 'analysis') AND n > 0 ORDER BY what, name, detail, class)"
        " UNION ALL SELECT 'samples', samples FROM total UNION ALL SELECT 'private', private FROM "
        "total UNION ALL SELECT 'processes', processes FROM total UNION ALL SELECT 'calls', "
        "calls_expanded FROM total UNION ALL SELECT 'sample', max(id) FROM sample"
        " UNION ALL SELECT 'label', max(id) FROM label UNION ALL SELECT 'scan', max(id) FROM scan"
        " UNION ALL SELECT 'analysis', max(id) FROM analysis"
        " UNION ALL SELECT 'process', max(id) FROM process"
        " UNION ALL SELECT 'tombstones', count(*) FROM tombstone";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row)
        (void)ms_buf_printf(out, "%s %lld\n", or_empty(ms_db_text(statement, 0)),
                            (long long)ms_db_int(statement, 1, 0));
    ms_db_done(statement);
    return status == MS_OK && out->failed
               ? ms_error_set(err, MS_E_LIMIT, "the state of the corpus does not fit into memory")
               : status;
}

/* ?1 the last run before the night, ?2 its beginning, ?3 how many rows. */
static const char *const failures[] = {
    "SELECT 'file', outcome, coalesce(reason, ''), count(*) n FROM blob WHERE run > ?1 AND outcome"
    " NOT IN ('ok', 'no_pe', 'lfs_pointer', 'apart') AND ?2 = ?2 GROUP BY 2, 3"
    " ORDER BY n DESC, 2, 3 LIMIT ?3",
    "SELECT 'look-up', state, coalesce(reason, ''), count(*) n FROM lookup WHERE asked_ms >= ?2"
    " AND state IN ('error', 'invalid') AND ?1 = ?1 GROUP BY 2, 3 ORDER BY n DESC, 2, 3 LIMIT ?3",
    "SELECT 'analysis', state, coalesce(reason, ''), count(*) n FROM analysis WHERE (run > ?1 OR"
    " updated_ms >= ?2) AND state IN ('too_few_calls', 'no_calls', 'no_behavior',"
    " 'report_invalid', 'report_missing', 'failed', 'lost', 'refused') GROUP BY 2, 3"
    " ORDER BY n DESC, 2, 3 LIMIT ?3",
    "SELECT 'origin', state, coalesce(reason, ''), count(*) n FROM origin WHERE state <> 'ok' AND"
    " state <> 'new' AND ?1 = ?1 AND ?2 = ?2 GROUP BY 2, 3 ORDER BY n DESC, 2, 3 LIMIT ?3",
};

static enum ms_status visit_failures(struct ms_corpus *corpus, const char *sql, int64_t after,
                                     int64_t since_ms, int64_t most, ms_night_visit visit,
                                     void *ctx, struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, after);
    ms_db_bind_int(statement, 2, since_ms);
    ms_db_bind_int(statement, 3, most);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        status = visit(ctx, or_empty(ms_db_text(statement, 0)), or_empty(ms_db_text(statement, 1)),
                       or_empty(ms_db_text(statement, 2)), ms_db_int(statement, 3, 0), err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

enum ms_status ms_night_failures(struct ms_corpus *corpus, int64_t after, int64_t since_ms,
                                 int64_t most, ms_night_visit visit, void *ctx,
                                 struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < sizeof failures / sizeof *failures && status == MS_OK; i++)
        status = visit_failures(corpus, failures[i], after, since_ms, most, visit, ctx, err);
    return status;
}

enum ms_status ms_corpus_await(const char *dir, int64_t wait_ms, struct ms_error *err)
{
    char path[4352], holder[32] = "", shown[256];
    int n = snprintf(path, sizeof path, "%s/lock", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return ms_error_set(err, MS_E_IO, "the corpus' path is too long");
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? MS_OK
                               : ms_error_set_errno(err, MS_E_IO, errno, "cannot open '%s'",
                                                    ms_escape_text(path, shown, sizeof shown));
    int64_t until = ms_clock_mono_ms() + wait_ms;
    bool got;
    while (!(got = flock(fd, LOCK_EX | LOCK_NB) == 0) && errno == EWOULDBLOCK &&
           ms_clock_mono_ms() < until && !ms_stop_signal())
        ms_clock_sleep_ms(POLL_MS);
    ssize_t read = got ? 0 : pread(fd, holder, sizeof holder - 1, 0);
    (void)close(fd);
    if (got)
        return MS_OK;
    holder[read > 0 ? strspn(holder, "0123456789") : 0] = '\0';
    return ms_error_set(err, MS_E_LATER, "the corpus is in use by another run%s%s%s",
                        *holder ? " (process " : "", holder, *holder ? ")" : "");
}
