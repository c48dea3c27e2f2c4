/* The queue of hashes to ask and asked. When one is due: label/policy. */
#include "store/label.h"

#include "base/arena.h"
#include "base/hash.h"
#include "store/internal.h"

#include <string.h>

/* One look-up's texts are below 200 bytes: room for 5 million due at once. */
#define LOOKUP_ARENA_BYTES ((size_t)1 << 30)

enum ms_status ms_lookup_enqueue_all(struct ms_corpus *corpus, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO lookup (sample, state) SELECT id, 'pending' FROM sample s WHERE private = 0"
        " AND (sha256 IS NOT NULL OR sha1 IS NOT NULL OR md5 IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM lookup l WHERE l.sample = s.id)";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    return status == MS_OK ? ms_db_run(corpus, statement, err) : status;
}

enum ms_status ms_lookup_put(struct ms_corpus *corpus, const struct ms_lookup *lookup,
                             struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO lookup (sample, state, reason, tries, asked_ms, due_ms, unchanged)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (sample) DO UPDATE SET state = ?2,"
        " reason = ?3, tries = ?4, asked_ms = ?5, due_ms = ?6, unchanged = ?7";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, lookup->sample);
    ms_db_bind_text(statement, 2, lookup->state);
    ms_db_bind_text(statement, 3, lookup->reason);
    ms_db_bind_int(statement, 4, lookup->tries);
    ms_db_bind_nonzero(statement, 5, lookup->asked_ms);
    ms_db_bind_int(statement, 6, lookup->due_ms);
    ms_db_bind_int(statement, 7, lookup->unchanged);
    return ms_db_run(corpus, statement, err);
}

struct due {
    struct ms_lookup lookup;
    char hash[MS_HASH_HEX_MAX];
    struct due *next;
};

static enum ms_status keep_due(sqlite3_stmt *statement, struct ms_arena *arena, struct due **out,
                               struct ms_error *err)
{
    const char *state = ms_db_text(statement, 1);
    const char *reason = ms_db_text(statement, 2);
    struct ms_span hash = ms_db_blob(statement, 6);
    struct due *due = ms_arena_alloc(arena, sizeof *due);
    char *state_copy = state ? ms_arena_copy(arena, state, strlen(state)) : NULL;
    char *reason_copy = reason ? ms_arena_copy(arena, reason, strlen(reason)) : NULL;
    if (!due || !state_copy || (reason && !reason_copy))
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    *due = (struct due){.lookup = {.sample = ms_db_int(statement, 0, 0),
                                   .state = state_copy,
                                   .reason = reason_copy,
                                   .tries = ms_db_int(statement, 3, 0),
                                   .asked_ms = ms_db_int(statement, 4, 0),
                                   .due_ms = ms_db_int(statement, 5, 0),
                                   .unchanged = ms_db_int(statement, 7, 0)}};
    ms_hex_encode(hash.data, hash.len > MS_SHA256_BYTES ? MS_SHA256_BYTES : hash.len, due->hash);
    *out = due;
    return MS_OK;
}

/* Collects the rows of a bound statement, then visits them: visit may write. */
static enum ms_status visit_lookups(struct ms_corpus *corpus, sqlite3_stmt *statement,
                                    ms_lookup_visit visit, void *ctx, struct ms_error *err)
{
    struct ms_arena arena;
    struct due *first = NULL;
    struct due **end = &first;
    bool row = false;
    enum ms_status status;
    ms_arena_init(&arena, LOOKUP_ARENA_BYTES);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        status = keep_due(statement, &arena, end, err);
        if (status != MS_OK)
            break;
        end = &(*end)->next;
    }
    ms_db_done(statement);
    for (struct due *due = first; due && status == MS_OK; due = due->next)
        status = visit(ctx, &due->lookup, due->hash, err);
    ms_arena_release(&arena);
    return status;
}

enum ms_status ms_lookup_foreach(struct ms_corpus *corpus, ms_lookup_visit visit, void *ctx,
                                 struct ms_error *err)
{
    static const char sql[] =
        "SELECT l.sample, l.state, l.reason, l.tries, l.asked_ms, l.due_ms,"
        " coalesce(s.sha256, s.sha1, s.md5), l.unchanged FROM lookup l JOIN sample s ON s.id = "
        "l.sample"
        " WHERE s.private = 0 AND coalesce(s.sha256, s.sha1, s.md5) IS NOT NULL ORDER BY l.sample";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    return status == MS_OK ? visit_lookups(corpus, statement, visit, ctx, err) : status;
}

enum ms_status ms_lookup_foreach_answered(struct ms_corpus *corpus, ms_lookup_visit visit,
                                          void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT s.id, coalesce(l.state, 'labelled'), l.reason, coalesce(l.tries, 0), l.asked_ms,"
        " l.due_ms, coalesce(s.sha256, s.sha1, s.md5) FROM sample s"
        " LEFT JOIN lookup l ON l.sample = s.id WHERE coalesce(s.sha256, s.sha1, s.md5) IS NOT NULL"
        " AND (l.state = 'not_found' OR EXISTS (SELECT 1 FROM scan WHERE scan.sample = s.id))"
        " ORDER BY s.id";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    return status == MS_OK ? visit_lookups(corpus, statement, visit, ctx, err) : status;
}

enum ms_status ms_lookup_get(struct ms_corpus *corpus, int64_t sample, bool *found,
                             struct ms_lookup *out, struct ms_error *err)
{
    static const char sql[] = "SELECT state, tries, asked_ms, due_ms, unchanged, rescan_ms"
                              " FROM lookup WHERE sample = ?1";
    static const char *const states[] = {"pending", "labelled", "not_found", "invalid", "error"};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    status = ms_db_step(corpus, statement, found, err);
    if (status == MS_OK && *found) {
        const char *word = ms_db_text(statement, 0);
        *out = (struct ms_lookup){.sample = sample,
                                  .state = states[0],
                                  .tries = ms_db_int(statement, 1, 0),
                                  .asked_ms = ms_db_int(statement, 2, 0),
                                  .due_ms = ms_db_int(statement, 3, 0),
                                  .unchanged = ms_db_int(statement, 4, 0),
                                  .rescan_ms = ms_db_int(statement, 5, 0)};
        for (size_t i = 0; word && i < sizeof states / sizeof *states; i++)
            out->state = strcmp(word, states[i]) == 0 ? states[i] : out->state;
    }
    ms_db_done(statement);
    return status;
}

enum ms_status ms_lookup_count(struct ms_corpus *corpus, struct ms_lookup_counts *out,
                               struct ms_error *err)
{
    static const char sql[] =
        "SELECT count(*) FILTER (WHERE state = 'pending'),"
        " count(*) FILTER (WHERE state = 'labelled'), count(*) FILTER (WHERE state = 'not_found'),"
        " count(*) FILTER (WHERE state = 'invalid'), count(*) FILTER (WHERE state = 'error')"
        " FROM lookup";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK && row)
        *out = (struct ms_lookup_counts){.pending = (uint64_t)ms_db_int(statement, 0, 0),
                                         .labelled = (uint64_t)ms_db_int(statement, 1, 0),
                                         .not_found = (uint64_t)ms_db_int(statement, 2, 0),
                                         .invalid = (uint64_t)ms_db_int(statement, 3, 0),
                                         .error = (uint64_t)ms_db_int(statement, 4, 0)};
    ms_db_done(statement);
    return status;
}
