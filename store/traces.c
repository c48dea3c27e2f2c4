/* Which traces there are; their calls are read in trace_reader.c. */
#include "store/traces.h"

#include "base/arena.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "store/analysis.h"
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

static void read_row(sqlite3_stmt *statement, struct ms_trace_row *out, char *key, size_t n)
{
    struct ms_span sha256 = ms_db_blob(statement, 7), alias = ms_db_blob(statement, 8);
    if (sha256.data && sha256.len == MS_SHA256_BYTES)
        ms_hex_encode(sha256.data, sha256.len, key);
    else
        (void)ms_escape_bytes(alias.data, alias.len, key, n);
    *out = (struct ms_trace_row){.analysis = ms_db_int(statement, 0, 0),
                                 .sample = ms_db_int(statement, 1, 0),
                                 .key = key,
                                 .verdict = ms_db_text(statement, 2),
                                 .class_ = ms_db_text(statement, 3),
                                 .family = ms_db_text(statement, 4),
                                 .policy = ms_db_text(statement, 5),
                                 .as_of_ms = ms_db_int(statement, 6, 0),
                                 .first_submission_ms = ms_db_int(statement, 9, 0),
                                 .sandbox = ms_db_text(statement, 10),
                                 .origin_kind = ms_db_text(statement, 11),
                                 .origin = ms_db_text(statement, 12),
                                 .licence = ms_db_text(statement, 13),
                                 .policy_digest = ms_db_blob(statement, 14)};
}

enum ms_status ms_traces_foreach(struct ms_corpus *corpus, const char *policy, bool unlabelled,
                                 ms_trace_visit visit, void *ctx, struct ms_error *err)
{
    /* The places are asked for privacy too, as in store/export.c: this must never go wrong. */
    static const char sql[] =
        "SELECT a.id, s.id, l.verdict, l.class, l.family, l.policy, l.as_of_ms, s.sha256,"
        " CASE WHEN s.sha256 IS NULL THEN (SELECT CAST(source || ':' AS BLOB) || external_id"
        "  FROM alias WHERE sample = s.id ORDER BY source, external_id LIMIT 1) END AS other,"
        " (SELECT first_submission_ms FROM scan WHERE sample = s.id"
        "  ORDER BY coalesce(last_analysis_ms, fetched_ms) DESC, body_sha256 LIMIT 1),"
        " a.sandbox, o.kind, o.name, o.licence, l.policy_digest FROM sample s"
        " JOIN analysis a ON a.id = (SELECT max(id) FROM analysis WHERE sample = s.id"
        "  AND state = 'ok' AND sandbox <> '" MS_SOURCE_OPCODES "')"
        " LEFT JOIN origin o ON o.id = a.origin"
        " LEFT JOIN label l ON l.id = (SELECT id FROM label WHERE sample = s.id AND current = 1"
        "  AND CASE WHEN ?1 IS NULL THEN policy = 'ember2024' OR policy GLOB 'dataset:*'"
        "  ELSE policy = ?1 END ORDER BY policy = 'ember2024', policy LIMIT 1)"
        " WHERE s.private = 0 AND coalesce(o.private, 0) = 0 AND (l.id IS NOT NULL OR ?2)"
        " AND NOT EXISTS (SELECT 1 FROM sighting g JOIN origin p ON p.id = g.origin"
        "  WHERE g.sample = s.id AND (g.private = 1 OR p.private = 1))"
        " ORDER BY s.sha256 IS NULL, s.sha256, other, s.id";
    sqlite3_stmt *statement = NULL;
    bool row = false;
    enum ms_status status = ms_db_exec(corpus, "BEGIN", err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK) {
        ms_db_bind_text(statement, 1, policy);
        ms_db_bind_int(statement, 2, unlabelled);
        while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
            struct ms_trace_row found;
            char key[512];
            read_row(statement, &found, key, sizeof key);
            status = visit(ctx, &found, err);
            if (status != MS_OK)
                break;
        }
        ms_db_done(statement);
    }
    ms_corpus_rollback(corpus);
    return status;
}

/* The part behind the last slash, backslash or member mark. */
static struct ms_span last_part(struct ms_span path)
{
    size_t from = path.len;
    while (from > 0 && path.data[from - 1] != '/' && path.data[from - 1] != '\\' &&
           path.data[from - 1] != '!')
        from--;
    return ms_span_of(path.data + from, path.len - from);
}

static int by_bytes(const void *x, const void *y)
{
    const struct ms_span *a = x, *b = y;
    size_t n = a->len < b->len ? a->len : b->len;
    int order = n ? memcmp(a->data, b->data, n) : 0;
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

enum ms_status ms_trace_names(struct ms_corpus *corpus, int64_t sample, ms_trace_name_visit visit,
                              void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT external_id FROM alias WHERE sample = ?1"
        " UNION SELECT CASE WHEN length(chain) > 0 THEN chain ELSE path END FROM sighting"
        " WHERE sample = ?1";
    struct ms_arena arena;
    struct ms_names *names = NULL;
    struct ms_span *sorted = NULL;
    sqlite3_stmt *statement = NULL;
    bool row = false;
    uint32_t id;
    ms_arena_init(&arena, SIZE_MAX / 2);
    enum ms_status status = ms_names_new(UINT32_MAX, &names, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK) {
        ms_db_bind_int(statement, 1, sample);
        while (status == MS_OK && (status = ms_db_step(corpus, statement, &row, err)) == MS_OK &&
               row) {
            struct ms_span name = last_part(ms_db_blob(statement, 0));
            if (name.len > 0 && name.len <= MS_LIMIT_NAME_BYTES)
                status = ms_names_intern(names, name, &id, err);
        }
        ms_db_done(statement);
    }
    uint32_t n = status == MS_OK ? ms_names_count(names) : 0;
    sorted = n ? ms_arena_alloc_array(&arena, n, sizeof *sorted) : NULL;
    if (n && !sorted)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for names");
    for (uint32_t i = 0; sorted && i < n; i++)
        sorted[i] = ms_names_get(names, i);
    if (sorted)
        qsort(sorted, n, sizeof *sorted, by_bytes);
    for (uint32_t i = 0; sorted && i < n && status == MS_OK; i++)
        status = visit(ctx, sorted[i], err);
    ms_arena_release(&arena);
    ms_names_free(names);
    return status;
}
