/* Labelled analyses for training, and the records of what was made from them. */
#include "store/dataset.h"

#include "base/arena.h"
#include "base/hash.h"
#include "store/internal.h"

#include <string.h>

/* A row's texts take about 200 bytes: room for 20 million. */
#define LABELLED_ARENA_BYTES ((size_t)4 << 30)

struct labelled {
    struct ms_labelled row;
    struct labelled *next;
};

/* Copies a text column into the arena; false without memory. */
static bool keep_text(sqlite3_stmt *statement, int column, struct ms_arena *arena, const char **out)
{
    const char *text = ms_db_text(statement, column);
    *out = text ? ms_arena_copy(arena, text, strlen(text)) : NULL;
    return !text || *out;
}

static bool keep_bytes(sqlite3_stmt *statement, int column, struct ms_arena *arena,
                       struct ms_span *out)
{
    struct ms_span bytes = ms_db_blob(statement, column);
    *out = bytes;
    if (!bytes.data)
        return true;
    out->data = (const uint8_t *)ms_arena_copy(arena, bytes.data, bytes.len);
    return out->data != NULL;
}

static enum ms_status keep_row(sqlite3_stmt *statement, struct ms_arena *arena,
                               struct labelled **out, struct ms_error *err)
{
    struct labelled *kept = ms_arena_alloc(arena, sizeof *kept);
    if (!kept)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    *kept = (struct labelled){.row = {.analysis = ms_db_int(statement, 0, 0),
                                      .sample = ms_db_int(statement, 1, 0),
                                      .first_seen_ms = ms_db_int(statement, 7, 0)}};
    if (!keep_text(statement, 2, arena, &kept->row.verdict) ||
        !keep_text(statement, 3, arena, &kept->row.class_) ||
        !keep_text(statement, 4, arena, &kept->row.sandbox) ||
        !keep_text(statement, 8, arena, &kept->row.policy) ||
        !keep_bytes(statement, 5, arena, &kept->row.sha256) ||
        !keep_bytes(statement, 6, arena, &kept->row.alias))
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    *out = kept;
    return MS_OK;
}

enum ms_status ms_labelled_foreach(struct ms_corpus *corpus, const struct ms_labelled_query *query,
                                   ms_labelled_visit visit, void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT a.id, s.id, l.verdict, l.class, a.sandbox, s.sha256,"
        " CASE WHEN s.sha256 IS NULL THEN (SELECT CAST(source || ':' AS BLOB) || external_id"
        "  FROM alias WHERE sample = s.id ORDER BY source, external_id LIMIT 1) END,"
        " coalesce((SELECT first_submission_ms FROM scan WHERE sample = s.id"
        "  ORDER BY coalesce(last_analysis_ms, fetched_ms) DESC, body_sha256 LIMIT 1),"
        "  (SELECT as_of_ms FROM label WHERE sample = s.id AND current = 1"
        "   AND policy = 'dataset:avast-ctu')), l.policy"
        " FROM sample s"
        " JOIN label l ON l.id = (SELECT id FROM label WHERE sample = s.id AND current = 1"
        "  AND CASE WHEN ?1 IS NULL THEN policy = 'ember2024' OR policy GLOB 'dataset:*'"
        "  ELSE policy = ?1 END ORDER BY policy = 'ember2024', policy LIMIT 1)"
        " JOIN analysis a ON a.id = (SELECT max(id) FROM analysis WHERE sample = s.id"
        "  AND state = 'ok' AND opcodes = ?2)"
        " WHERE s.private = 0 AND (?3 = 0 OR s.features GLOB '{\"version\":?,\"machine\":*')"
        " ORDER BY s.id";
    struct ms_arena arena;
    struct labelled *first = NULL;
    struct labelled **end = &first;
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_arena_init(&arena, LABELLED_ARENA_BYTES);
    ms_db_bind_text(statement, 1, query->policy);
    ms_db_bind_int(statement, 2, query->opcodes);
    ms_db_bind_int(statement, 3, query->features);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        status = keep_row(statement, &arena, end, err);
        if (status != MS_OK)
            break;
        end = &(*end)->next;
    }
    ms_db_done(statement);
    for (struct labelled *kept = first; kept && status == MS_OK; kept = kept->next)
        status = visit(ctx, &kept->row, err);
    ms_arena_release(&arena);
    return status;
}

enum ms_status ms_dataset_put(struct ms_corpus *corpus, const struct ms_dataset_row *row,
                              int64_t now_ms, int64_t run, int64_t *id, struct ms_error *err)
{
    /* The update changes nothing: it is there so that RETURNING gives the row that was found. */
    static const char sql[] =
        "INSERT INTO dataset (digest, target, policy, normalisation, samples, vocabulary, made_ms,"
        " run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        " ON CONFLICT (digest) DO UPDATE SET digest = digest RETURNING id";
    sqlite3_stmt *statement;
    bool found = false;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, row->digest, sizeof row->digest);
    ms_db_bind_text(statement, 2, row->target);
    ms_db_bind_text(statement, 3, row->policy);
    ms_db_bind_text(statement, 4, row->normalisation);
    ms_db_bind_int(statement, 5, row->samples);
    ms_db_bind_int(statement, 6, row->vocabulary);
    ms_db_bind_int(statement, 7, now_ms);
    ms_db_bind_nonzero(statement, 8, run);
    status = ms_db_step(corpus, statement, &found, err);
    if (status == MS_OK && found)
        *id = ms_db_int(statement, 0, 0);
    ms_db_done(statement);
    return status;
}

enum ms_status ms_split_put(struct ms_corpus *corpus, int64_t dataset, const char *name,
                            const uint8_t digest[32], int64_t analysis, int part, int64_t group,
                            struct ms_error *err)
{
    static const char sql[] = "INSERT INTO split (dataset, name, analysis, part, grp, digest)"
                              " SELECT ?1, ?2, id, ?4, ?5, ?6 FROM analysis WHERE id = ?3"
                              " ON CONFLICT (dataset, name, analysis)"
                              " DO UPDATE SET part = ?4, grp = ?5, digest = ?6";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, dataset);
    ms_db_bind_text(statement, 2, name);
    ms_db_bind_int(statement, 3, analysis);
    ms_db_bind_int(statement, 4, part);
    ms_db_bind_int(statement, 5, group);
    ms_db_bind_blob(statement, 6, digest, MS_SHA256_BYTES);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_model_put(struct ms_corpus *corpus, const char *name, int64_t dataset,
                            const char *split, const uint8_t digest[32], const char *path,
                            const char *metrics_json, int64_t now_ms, int64_t run,
                            struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO model (name, dataset, split, digest, path, metrics, made_ms, run)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name) DO UPDATE SET dataset = ?2,"
        " split = ?3, digest = ?4, path = ?5, metrics = ?6, made_ms = ?7, run = ?8";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, name);
    ms_db_bind_nonzero(statement, 2, dataset);
    ms_db_bind_text(statement, 3, split);
    ms_db_bind_blob(statement, 4, digest, MS_SHA256_BYTES);
    ms_db_bind_text(statement, 5, path);
    ms_db_bind_text(statement, 6, metrics_json);
    ms_db_bind_int(statement, 7, now_ms);
    ms_db_bind_nonzero(statement, 8, run);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_dataset_prune(struct ms_corpus *corpus, struct ms_error *err)
{
    static const char sql[] = "DELETE FROM dataset WHERE NOT EXISTS (SELECT 1 FROM model WHERE"
                              " model.dataset = dataset.id)";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    return status == MS_OK ? ms_db_run(corpus, statement, err) : status;
}
