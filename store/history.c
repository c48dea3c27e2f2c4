/* Tips and past files of repositories. Decides nothing about when they are written. */
#include "store/history.h"

#include "store/internal.h"

enum { ID_BYTES = 20 };

enum ms_status ms_history_foreach_tip(struct ms_corpus *corpus, int64_t origin, ms_span_visit visit,
                                      void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT commit_id FROM origin_tip WHERE origin = ?1 ORDER BY commit_id";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        status = visit(ctx, ms_db_blob(statement, 0), err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

static enum ms_status run_for(struct ms_corpus *corpus, const char *sql, int64_t origin,
                              struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_history_put_tips(struct ms_corpus *corpus, int64_t origin,
                                   const uint8_t (*ids)[20], size_t count, struct ms_error *err)
{
    static const char sql[] = "INSERT INTO origin_tip (origin, commit_id) VALUES (?1, ?2)"
                              " ON CONFLICT (origin, commit_id) DO NOTHING";
    enum ms_status status =
        run_for(corpus, "DELETE FROM origin_tip WHERE origin = ?1", origin, err);
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        sqlite3_stmt *statement;
        status = ms_db_prepare(corpus, sql, &statement, err);
        if (status != MS_OK)
            break;
        ms_db_bind_int(statement, 1, origin);
        ms_db_bind_blob(statement, 2, ids[i], ID_BYTES);
        status = ms_db_run(corpus, statement, err);
    }
    return status;
}

enum ms_status ms_history_put_past(struct ms_corpus *corpus, int64_t origin,
                                   const uint8_t git_id[20], struct ms_span path,
                                   const uint8_t commit_id[20], struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO past_entry (origin, git_id, path, commit_id) SELECT ?1, ?2, ?3, ?4"
        " WHERE NOT EXISTS (SELECT 1 FROM blob WHERE git_id = ?2 AND outcome IN ('ok', 'too_big'))"
        " ON CONFLICT (origin, git_id) DO UPDATE SET path = ?3, commit_id = ?4";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    ms_db_bind_blob(statement, 2, git_id, ID_BYTES);
    ms_db_bind_blob(statement, 3, path.data ? (const void *)path.data : "", path.len);
    ms_db_bind_blob(statement, 4, commit_id, ID_BYTES);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_history_settle_past(struct ms_corpus *corpus, int64_t origin,
                                      struct ms_error *err)
{
    return run_for(corpus,
                   "DELETE FROM past_entry WHERE origin = ?1 AND EXISTS (SELECT 1 FROM blob b"
                   " WHERE b.git_id = past_entry.git_id AND b.outcome IN ('ok', 'too_big'))",
                   origin, err);
}

enum ms_status ms_history_foreach_past(struct ms_corpus *corpus, int64_t origin,
                                       unsigned unpacker_version, ms_past_visit visit, void *ctx,
                                       struct ms_error *err)
{
    static const char sql[] =
        "SELECT p.path, p.git_id, p.commit_id FROM past_entry p LEFT JOIN blob b"
        " ON b.git_id = p.git_id WHERE p.origin = ?1 AND (b.git_id IS NULL OR NOT"
        " (b.outcome IN ('ok', 'too_big') OR (b.outcome = 'no_pe' AND b.unpacker_version = ?2)))"
        " ORDER BY p.git_id";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    ms_db_bind_int(statement, 2, unpacker_version);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_span git_id = ms_db_blob(statement, 1), commit = ms_db_blob(statement, 2);
        if (git_id.len == ID_BYTES && commit.len == ID_BYTES)
            status = visit(ctx, ms_db_blob(statement, 0), git_id.data, commit.data, err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}
