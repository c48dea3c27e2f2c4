/* Rows of submissions. Which state follows which, and who is asked: extract/task. */
#include "store/task.h"

#include "store/internal.h"

#include <string.h>

/* A sample nobody may send: itself, a sighting of it or the origin of one is private. */
#define IS_PRIVATE                                                                        \
    "(s.private = 1 OR EXISTS (SELECT 1 FROM sighting g JOIN origin o ON o.id = g.origin" \
    " WHERE g.sample = s.id AND (g.private = 1 OR o.private = 1)))"
#define IS_NEW                                                                        \
    " FROM sample s WHERE s.vaulted = 1 AND s.sha256 IS NOT NULL AND NOT " IS_PRIVATE \
    " AND NOT EXISTS (SELECT 1 FROM analysis a WHERE a.sample = s.id AND a.settings_digest = ?1)"

enum ms_status ms_task_queue_new(struct ms_corpus *corpus, const char *settings,
                                 const uint8_t settings_digest[32], int64_t now_ms, int64_t run,
                                 uint64_t *count, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO analysis (sample, sandbox, settings, settings_digest, state, updated_ms, run)"
        " SELECT s.id, 'auto', ?2, ?1, 'queued', ?3, ?4" IS_NEW " ORDER BY s.id";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, settings_digest, 32);
    ms_db_bind_text(statement, 2, settings);
    ms_db_bind_int(statement, 3, now_ms);
    ms_db_bind_nonzero(statement, 4, run);
    status = ms_db_run(corpus, statement, err);
    if (status == MS_OK)
        *count = (uint64_t)ms_db_changes(corpus);
    return status;
}

enum ms_status ms_task_count_new(struct ms_corpus *corpus, const uint8_t settings_digest[32],
                                 uint64_t *count, struct ms_error *err)
{
    bool row = false;
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, "SELECT count(*)" IS_NEW, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, settings_digest, 32);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK)
        *count = row ? (uint64_t)ms_db_int(statement, 0, 0) : 0;
    ms_db_done(statement);
    return status;
}

enum ms_status ms_task_foreach(struct ms_corpus *corpus, const uint8_t settings_digest[32],
                               ms_task_row_visit visit, void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT a.id, a.sample, s.sha256, a.state, a.reason, a.sandbox, a.sandbox_version,"
        " a.server, a.task_id, a.package, a.attempts, a.submitted_ms, a.deadline_ms,"
        " a.deadline_mono_ms, a.boot, a.updated_ms FROM analysis a JOIN sample s ON s.id = a.sample"
        " WHERE a.settings_digest = ?1 AND a.state IN ('queued', 'submitting', 'pending',"
        " 'running', 'completed', 'reported') ORDER BY a.state = 'queued', a.id";
    sqlite3_stmt *statement;
    bool found = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, settings_digest, 32);
    while ((status = ms_db_step(corpus, statement, &found, err)) == MS_OK && found) {
        struct ms_span sha256 = ms_db_blob(statement, 2);
        struct ms_task_row row = {.id = ms_db_int(statement, 0, 0),
                                  .sample = ms_db_int(statement, 1, 0),
                                  .state = ms_db_text(statement, 3),
                                  .reason = ms_db_text(statement, 4),
                                  .sandbox = ms_db_text(statement, 5),
                                  .sandbox_version = ms_db_text(statement, 6),
                                  .server = ms_db_text(statement, 7),
                                  .task_id = ms_db_text(statement, 8),
                                  .package = ms_db_text(statement, 9),
                                  .attempts = ms_db_int(statement, 10, 0),
                                  .submitted_ms = ms_db_int(statement, 11, 0),
                                  .deadline_ms = ms_db_int(statement, 12, 0),
                                  .deadline_mono_ms = ms_db_int(statement, 13, 0),
                                  .boot = ms_db_text(statement, 14),
                                  .updated_ms = ms_db_int(statement, 15, 0)};
        if (sha256.len != sizeof row.sha256)
            continue;
        memcpy(row.sha256, sha256.data, sizeof row.sha256);
        status = visit(ctx, &row, err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

enum ms_status ms_task_save(struct ms_corpus *corpus, const struct ms_task_row *row, int64_t now_ms,
                            struct ms_error *err)
{
    static const char sql[] =
        "UPDATE analysis SET state = ?2, reason = ?3, server = ?4, task_id = ?5, attempts = ?6,"
        " submitted_ms = ?7, deadline_ms = ?8, deadline_mono_ms = ?9, boot = ?10, updated_ms = ?11,"
        " package = coalesce(?12, package), sandbox = coalesce(?13, sandbox),"
        " sandbox_version = coalesce(?14, sandbox_version) WHERE id = ?1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, row->id);
    ms_db_bind_text(statement, 2, row->state);
    ms_db_bind_text(statement, 3, row->reason);
    ms_db_bind_text(statement, 4, row->server);
    ms_db_bind_text(statement, 5, row->task_id);
    ms_db_bind_int(statement, 6, row->attempts);
    ms_db_bind_nonzero(statement, 7, row->submitted_ms);
    ms_db_bind_nonzero(statement, 8, row->deadline_ms);
    if (row->deadline_ms && row->boot)
        ms_db_bind_int(statement, 9, row->deadline_mono_ms);
    else
        ms_db_bind_null(statement, 9);
    ms_db_bind_text(statement, 10, row->deadline_ms ? row->boot : NULL);
    ms_db_bind_int(statement, 11, now_ms);
    ms_db_bind_text(statement, 12, row->package);
    ms_db_bind_text(statement, 13, row->sandbox);
    ms_db_bind_text(statement, 14, row->sandbox_version);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_task_sample_get(struct ms_corpus *corpus, int64_t sample,
                                  struct ms_task_sample *out, struct ms_error *err)
{
    static const char sql[] =
        "SELECT s.sha256, s.kind, s.vaulted, " IS_PRIVATE " FROM sample s WHERE s.id = ?1";
    sqlite3_stmt *statement;
    bool found = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    status = ms_db_step(corpus, statement, &found, err);
    if (status == MS_OK && found) {
        struct ms_span sha256 = ms_db_blob(statement, 0);
        const char *kind = ms_db_text(statement, 1);
        *out = (struct ms_task_sample){.vaulted = ms_db_int(statement, 2, 0) != 0,
                                       .private_ = ms_db_int(statement, 3, 1) != 0};
        if (kind)
            memcpy(out->kind, kind, strnlen(kind, sizeof out->kind - 1));
        if (sha256.len == sizeof out->sha256)
            memcpy(out->sha256, sha256.data, sizeof out->sha256);
    }
    ms_db_done(statement);
    if (status == MS_OK && !found)
        status = ms_error_set(err, MS_REJECT, "the corpus has no such sample any more");
    return status;
}
