/* What is derived from a sample's bytes: which samples still lack it, and writing static features.
 * What is in them is collect's business. */
#include "store/sample.h"

#include "store/internal.h"

#include <string.h>

enum ms_status ms_sample_features_put(struct ms_corpus *corpus, int64_t id, const char *features,
                                      struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status =
            ms_db_prepare(corpus, "UPDATE sample SET features = ?2 WHERE id = ?1", &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, id);
    ms_db_bind_text(statement, 2, features);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_sample_features_get(struct ms_corpus *corpus, int64_t id, struct ms_buf *out,
                                      struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status =
        ms_db_prepare(corpus, "SELECT features FROM sample WHERE id = ?1", &statement, err);
    ms_buf_clear(out);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, id);
    status = ms_db_step(corpus, statement, &row, err);
    const char *text = status == MS_OK && row ? ms_db_text(statement, 0) : NULL;
    if (text && ms_buf_append_text(out, text) != MS_OK)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for static features");
    ms_db_done(statement);
    return status;
}

enum ms_status ms_sample_foreach_featureless(struct ms_corpus *corpus, ms_sample_visit visit,
                                             void *ctx, uint64_t *count, struct ms_error *err)
{
    /* The words of the partial index's condition, so that it is used. */
    static const char sql[] = "SELECT id FROM sample WHERE vaulted = 1 AND features IS NULL"
                              " AND sha256 IS NOT NULL ORDER BY id";
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    status = ms_ids_collect(corpus, statement, &ids, err);
    *count = ids.count;
    for (size_t i = 0; i < ids.count && status == MS_OK; i++)
        status = visit(ctx, ids.items[i], err);
    ms_ids_release(&ids);
    return status;
}

enum ms_status ms_sample_foreach_unsettled(struct ms_corpus *corpus, const char *source,
                                           const uint8_t settings_digest[32], ms_sample_visit visit,
                                           void *ctx, uint64_t *count, struct ms_error *err)
{
    static const char sql[] =
        "SELECT s.id FROM sample s WHERE s.vaulted = 1 AND s.sha256 IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM analysis a WHERE a.sample = s.id AND a.sandbox = ?1"
        "  AND a.settings_digest = ?2) ORDER BY s.id";
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, source);
    ms_db_bind_blob(statement, 2, settings_digest, 32);
    status = ms_ids_collect(corpus, statement, &ids, err);
    *count = ids.count;
    for (size_t i = 0; i < ids.count && status == MS_OK; i++)
        status = visit(ctx, ids.items[i], err);
    ms_ids_release(&ids);
    return status;
}

enum ms_status ms_sample_size_put(struct ms_corpus *corpus, int64_t id, int64_t size,
                                  struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, "UPDATE sample SET size = ?2 WHERE id = ?1 AND vaulted = 0",
                               &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, id);
    ms_db_bind_int(statement, 2, size);
    return ms_db_run(corpus, statement, err);
}
