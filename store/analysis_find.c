/* Look-ups of analyses by their sample. Rows themselves: analysis.c. */
#include "store/analysis.h"
#include "store/internal.h"

enum ms_status ms_analysis_find_settings(struct ms_corpus *corpus, int64_t sample,
                                         const uint8_t settings_digest[32], bool *found,
                                         int64_t *id, struct ms_error *err)
{
    static const char sql[] = "SELECT id FROM analysis WHERE sample IS ?1 AND settings_digest = ?2";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_nonzero(statement, 1, sample);
    ms_db_bind_blob(statement, 2, settings_digest, 32);
    status = ms_db_step(corpus, statement, found, err);
    *id = status == MS_OK && *found ? ms_db_int(statement, 0, 0) : 0;
    ms_db_done(statement);
    return status;
}

enum ms_status ms_analysis_find_source(struct ms_corpus *corpus, int64_t sample,
                                       const char *sandbox, bool *found, int64_t *id,
                                       struct ms_error *err)
{
    static const char sql[] =
        "SELECT id FROM analysis WHERE sample = ?1 AND sandbox = ?2 ORDER BY id LIMIT 1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_text(statement, 2, sandbox);
    status = ms_db_step(corpus, statement, found, err);
    *id = status == MS_OK && *found ? ms_db_int(statement, 0, 0) : 0;
    ms_db_done(statement);
    return status;
}

enum ms_status ms_analysis_foreach_sample(struct ms_corpus *corpus, int64_t sample,
                                          ms_analysis_visit visit, void *ctx, struct ms_error *err)
{
    static const char sql[] = "SELECT id FROM analysis WHERE sample = ?1 ORDER BY id";
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    status = ms_ids_collect(corpus, statement, &ids, err);
    for (size_t i = 0; i < ids.count && status == MS_OK; i++)
        status = visit(ctx, ids.items[i], err);
    ms_ids_release(&ids);
    return status;
}
