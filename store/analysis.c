/* Analyses, their processes and API names. Traces are opaque bytes here: store/trace/encode makes
 * them. */
#include "store/analysis.h"

#include "base/limits.h"
#include "base/log.h"
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

/* A BLOB of SQLite ends at 10^9 bytes; below that, a trace that large is no trace. */
#define TRACE_MAX_BYTES ((size_t)1000 * 1000 * 1000)

enum ms_status ms_api_intern(struct ms_corpus *corpus, enum ms_api_space space, struct ms_span name,
                             struct ms_span category, uint32_t *id, struct ms_error *err)
{
    static const char find[] = "SELECT id FROM api WHERE space = ?1 AND name = ?2";
    static const char insert[] = "INSERT INTO api (space, name, category) VALUES (?1, ?2, ?3)";
    char text[MS_LIMIT_API_NAME_BYTES + 1];
    char kind[MS_LIMIT_API_NAME_BYTES + 1];
    sqlite3_stmt *statement;
    bool row = false;
    int64_t found = 0;
    ms_escape_bytes(name.data ? (const void *)name.data : "", name.len, text, sizeof text);
    enum ms_status status = ms_db_prepare(corpus, find, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, space);
    ms_db_bind_text(statement, 2, text);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK && row)
        found = ms_db_int(statement, 0, 0);
    ms_db_done(statement);
    if (status == MS_OK && !row)
        status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK && !row)
        status = ms_db_prepare(corpus, insert, &statement, err);
    if (status == MS_OK && !row) {
        ms_escape_bytes(category.data ? (const void *)category.data : "", category.len, kind,
                        sizeof kind);
        ms_db_bind_int(statement, 1, space);
        ms_db_bind_text(statement, 2, text);
        ms_db_bind_text(statement, 3, kind[0] ? kind : NULL);
        status = ms_db_run(corpus, statement, err);
        found = ms_db_last_id(corpus);
    }
    if (status == MS_OK && (found < 0 || found > UINT32_MAX))
        return ms_error_set(err, MS_E_LIMIT, "the corpus has too many API names");
    if (status == MS_OK)
        *id = (uint32_t)found;
    return status;
}

enum ms_status ms_api_foreach(struct ms_corpus *corpus, ms_api_visit visit, void *ctx,
                              struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status =
        ms_db_prepare(corpus, "SELECT id, space, name FROM api ORDER BY id", &statement, err);
    if (status != MS_OK)
        return status;
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        const char *name = ms_db_text(statement, 2);
        status = visit(ctx, (uint32_t)ms_db_int(statement, 0, 0),
                       (enum ms_api_space)ms_db_int(statement, 1, 0), name ? name : "", err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

/* Parameters 1 to 23; the rest is the statement's own. */
static void bind_analysis(sqlite3_stmt *statement, const struct ms_analysis *analysis,
                          int64_t now_ms)
{
    ms_db_bind_nonzero(statement, 1, analysis->sample);
    ms_db_bind_nonzero(statement, 2, analysis->origin);
    ms_db_bind_text(statement, 3, analysis->sandbox);
    ms_db_bind_text(statement, 4, analysis->sandbox_version);
    ms_db_bind_text(statement, 5, analysis->server);
    ms_db_bind_text(statement, 6, analysis->task_id);
    ms_db_bind_text(statement, 7, analysis->settings);
    ms_db_bind_blob(statement, 8, analysis->has_settings_digest ? analysis->settings_digest : NULL,
                    sizeof analysis->settings_digest);
    ms_db_bind_text(statement, 9, analysis->state);
    ms_db_bind_text(statement, 10, analysis->reason);
    ms_db_bind_int(statement, 11, analysis->attempts);
    ms_db_bind_nonzero(statement, 12, analysis->submitted_ms);
    ms_db_bind_nonzero(statement, 13, analysis->deadline_ms);
    ms_db_bind_int(statement, 14, now_ms);
    ms_db_bind_text(statement, 15, analysis->package);
    ms_db_bind_blob(statement, 16, analysis->has_report ? analysis->report_sha256 : NULL,
                    sizeof analysis->report_sha256);
    if (analysis->has_report)
        ms_db_bind_int(statement, 17, analysis->report_bytes);
    else
        ms_db_bind_null(statement, 17);
    ms_db_bind_int(statement, 18, analysis->processes);
    ms_db_bind_int(statement, 19, analysis->calls);
    ms_db_bind_int(statement, 20, analysis->calls_expanded);
    ms_db_bind_nonzero(statement, 21, analysis->reader);
    ms_db_bind_int(statement, 22, analysis->strict);
    ms_db_bind_int(statement, 23, analysis->opcodes);
}

enum ms_status ms_analysis_insert(struct ms_corpus *corpus, const struct ms_analysis *analysis,
                                  int64_t now_ms, int64_t run, int64_t *id, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO analysis (sample, origin, sandbox, sandbox_version, server, task_id, settings,"
        " settings_digest, state, reason, attempts, submitted_ms, deadline_ms, updated_ms, package,"
        " report_sha256, report_bytes, processes, calls, calls_expanded, reader, strict, opcodes,"
        " run) VALUES (?1,"
        " ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,"
        " ?21, ?22, ?23, ?24)";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    bind_analysis(statement, analysis, now_ms);
    ms_db_bind_nonzero(statement, 24, run);
    status = ms_db_run(corpus, statement, err);
    if (status == MS_OK)
        *id = ms_db_last_id(corpus);
    return status;
}

enum ms_status ms_analysis_update(struct ms_corpus *corpus, const struct ms_analysis *analysis,
                                  int64_t now_ms, struct ms_error *err)
{
    static const char sql[] =
        "UPDATE analysis SET sample = ?1, origin = ?2, sandbox = ?3, sandbox_version = ?4,"
        " server = ?5, task_id = ?6, settings = ?7, settings_digest = ?8, state = ?9, reason = ?10,"
        " attempts = ?11, submitted_ms = ?12, deadline_ms = ?13, updated_ms = ?14, package = ?15,"
        /* That the one before was given up says nothing of another one. */
        " report_gone_ms = CASE WHEN report_sha256 IS ?16 THEN report_gone_ms END,"
        " report_sha256 = ?16, report_bytes = ?17, processes = ?18, calls = ?19,"
        " calls_expanded = ?20, reader = ?21, strict = ?22, opcodes = ?23 WHERE id = ?24";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    bind_analysis(statement, analysis, now_ms);
    ms_db_bind_int(statement, 24, analysis->id);
    return ms_db_run(corpus, statement, err);
}

static enum ms_status copy_analysis(sqlite3_stmt *statement, struct ms_analysis *out,
                                    struct ms_error *err)
{
    const char **texts[] = {&out->sandbox,  &out->sandbox_version, &out->server, &out->task_id,
                            &out->settings, &out->state,           &out->reason, &out->package};
    enum ms_status status = MS_OK;
    for (int i = 0; i < 8 && status == MS_OK; i++)
        status = ms_db_copy_text(statement, i, texts[i], err);
    struct ms_span settings = ms_db_blob(statement, 8);
    struct ms_span report = ms_db_blob(statement, 9);
    out->has_settings_digest = settings.data && settings.len == sizeof out->settings_digest;
    if (out->has_settings_digest)
        memcpy(out->settings_digest, settings.data, settings.len);
    out->has_report = report.data && report.len == sizeof out->report_sha256;
    if (out->has_report)
        memcpy(out->report_sha256, report.data, report.len);
    out->sample = ms_db_int(statement, 10, 0);
    out->origin = ms_db_int(statement, 11, 0);
    out->attempts = ms_db_int(statement, 12, 0);
    out->submitted_ms = ms_db_int(statement, 13, 0);
    out->deadline_ms = ms_db_int(statement, 14, 0);
    out->report_bytes = ms_db_int(statement, 15, 0);
    out->processes = ms_db_int(statement, 16, 0);
    out->calls = ms_db_int(statement, 17, 0);
    out->calls_expanded = ms_db_int(statement, 18, 0);
    out->reader = ms_db_int(statement, 19, 0);
    out->strict = ms_db_int(statement, 20, 0) != 0;
    out->opcodes = ms_db_int(statement, 21, 0) != 0;
    out->report_gone = ms_db_int(statement, 22, 0) != 0;
    return status;
}

enum ms_status ms_analysis_get(struct ms_corpus *corpus, int64_t id, struct ms_analysis *out,
                               struct ms_error *err)
{
    static const char sql[] =
        "SELECT sandbox, sandbox_version, server, task_id, settings, state, reason, package,"
        " settings_digest, report_sha256, sample, origin, attempts, submitted_ms, deadline_ms,"
        " report_bytes, processes, calls, calls_expanded, reader, strict, opcodes,"
        " report_gone_ms IS NOT NULL FROM analysis WHERE id = ?1";
    sqlite3_stmt *statement;
    bool row = false;
    struct ms_analysis analysis = {.id = id};
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, id);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK)
        status = row ? copy_analysis(statement, &analysis, err)
                     : ms_error_set(err, MS_REJECT, "no analysis with this id in the corpus");
    ms_db_done(statement);
    if (status == MS_OK)
        *out = analysis;
    else
        ms_analysis_release(&analysis);
    return status;
}

void ms_analysis_release(struct ms_analysis *self)
{
    const char *texts[] = {self->sandbox,  self->sandbox_version, self->server, self->task_id,
                           self->settings, self->state,           self->reason, self->package};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ms_text_free(texts[i]);
    *self = (struct ms_analysis){0};
}

enum ms_status ms_analysis_find_report(struct ms_corpus *corpus, const uint8_t report_sha256[32],
                                       bool *found, int64_t *id, struct ms_error *err)
{
    static const char sql[] = "SELECT id FROM analysis WHERE report_sha256 = ?1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, report_sha256, 32);
    status = ms_db_step(corpus, statement, found, err);
    if (status == MS_OK && *found)
        *id = ms_db_int(statement, 0, 0);
    ms_db_done(statement);
    return status;
}

enum ms_status ms_analysis_foreach(struct ms_corpus *corpus, const char *state, const char *server,
                                   ms_analysis_visit visit, void *ctx, struct ms_error *err)
{
    static const char sql[] = "SELECT id FROM analysis WHERE state = ?1"
                              " AND (?2 IS NULL OR server = ?2) ORDER BY id";
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    /* Who only reads sees one state all the time, and the file is locked once. */
    const bool own = corpus->mode == MS_CORPUS_READ && sqlite3_get_autocommit(corpus->db);
    enum ms_status status = own ? ms_db_exec(corpus, "BEGIN", err) : MS_OK;
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK) {
        ms_db_bind_text(statement, 1, state);
        ms_db_bind_text(statement, 2, server);
        status = ms_ids_collect(corpus, statement, &ids, err);
    }
    for (size_t i = 0; i < ids.count && status == MS_OK; i++)
        status = visit(ctx, ids.items[i], err);
    ms_ids_release(&ids);
    if (own)
        ms_corpus_rollback(corpus);
    return status;
}

/* The trace: row->trace, or `zeros` bytes that are filled in later. */
static enum ms_status insert_row(struct ms_corpus *corpus, const struct ms_process_row *process,
                                 uint64_t zeros, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO process (analysis, ord, pid, parent_pid, name, first_seen_us, tracked, calls,"
        " calls_expanded, trace) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK && (zeros ? zeros : process->trace.len) >= TRACE_MAX_BYTES)
        status = ms_error_set(err, MS_REJECT, "the trace of a process is too large to be kept");
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, process->analysis);
    ms_db_bind_int(statement, 2, process->ord);
    ms_db_bind_int(statement, 3, (int64_t)process->pid);
    ms_db_bind_int(statement, 4, (int64_t)process->parent_pid);
    ms_db_bind_span(statement, 5, process->name);
    if (process->first_seen_us == MS_TIME_NONE)
        ms_db_bind_null(statement, 6);
    else
        ms_db_bind_int(statement, 6, process->first_seen_us);
    ms_db_bind_int(statement, 7, process->tracked);
    ms_db_bind_int(statement, 8, (int64_t)process->calls);
    ms_db_bind_int(statement, 9, (int64_t)process->calls_expanded);
    if (zeros)
        (void)sqlite3_bind_zeroblob64(statement, 10, zeros);
    else
        ms_db_bind_blob(statement, 10, process->trace.data ? (const void *)process->trace.data : "",
                        process->trace.len);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_process_insert(struct ms_corpus *corpus, const struct ms_process_row *process,
                                 struct ms_error *err)
{
    return insert_row(corpus, process, 0, err);
}

enum ms_status ms_process_insert_large(struct ms_corpus *corpus, const struct ms_process_row *row,
                                       uint64_t trace_bytes, ms_process_read read, void *ctx,
                                       struct ms_error *err)
{
    enum { PIECE_BYTES = 64 << 10 };
    sqlite3_blob *blob = NULL;
    enum ms_status status = insert_row(corpus, row, trace_bytes, err);
    uint8_t *piece = status == MS_OK ? malloc(PIECE_BYTES) : NULL;
    if (status == MS_OK && !piece)
        status = ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    if (status == MS_OK) {
        int code = sqlite3_blob_open(corpus->db, "main", "process", "trace",
                                     sqlite3_last_insert_rowid(corpus->db), 1, &blob);
        status = code == SQLITE_OK ? MS_OK : ms_db_error(corpus, code, err);
    }
    for (uint64_t at = 0; status == MS_OK && at < trace_bytes;) {
        const uint64_t left = trace_bytes - at;
        const size_t n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        status = read(ctx, at, piece, n, err);
        int code = status == MS_OK ? sqlite3_blob_write(blob, piece, (int)n, (int)at) : SQLITE_OK;
        if (code != SQLITE_OK)
            status = ms_db_error(corpus, code, err);
        at += n;
    }
    (void)sqlite3_blob_close(blob);
    free(piece);
    return status;
}

enum ms_status ms_process_foreach(struct ms_corpus *corpus, int64_t analysis,
                                  ms_process_visit visit, void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT ord, pid, parent_pid, name, first_seen_us, tracked, calls,"
        " calls_expanded, trace FROM process WHERE analysis = ?1 ORDER BY ord";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, analysis);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_process_row process = {
            .analysis = analysis,
            .ord = ms_db_int(statement, 0, 0),
            .pid = (uint64_t)ms_db_int(statement, 1, 0),
            .parent_pid = (uint64_t)ms_db_int(statement, 2, 0),
            .name = ms_db_blob(statement, 3),
            .first_seen_us = ms_db_int(statement, 4, MS_TIME_NONE),
            .tracked = ms_db_int(statement, 5, 1) != 0,
            .calls = (uint64_t)ms_db_int(statement, 6, 0),
            .calls_expanded = (uint64_t)ms_db_int(statement, 7, 0),
            .trace = ms_db_blob(statement, 8),
        };
        status = visit(ctx, &process, err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

enum ms_status ms_process_remove(struct ms_corpus *corpus, int64_t analysis, struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, "DELETE FROM process WHERE analysis = ?1", &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, analysis);
    return ms_db_run(corpus, statement, err);
}
