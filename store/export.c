/* The statements behind malseq export. What is private is left out here, so that no form of output
 * can forget to. */
#include "store/export.h"

#include "store/internal.h"

#include <string.h>

#define COLUMNS                                                                             \
    "SELECT s.id, s.sha256, s.sha1, s.md5, s.size, s.machine, s.kind, s.flags, s.features," \
    " s.vaulted, r.started_ms, l.verdict, l.class, l.family FROM sample s"                  \
    " LEFT JOIN run r ON r.id = s.run"                                                      \
    " LEFT JOIN label l ON l.sample = s.id AND l.policy = ?1 AND l.current = 1"
/* `sample.private` says it already; the places are asked too, for this must never go wrong. */
#define OPEN_TO_ALL                                                                   \
    " s.private = 0 AND NOT EXISTS (SELECT 1 FROM sighting g JOIN origin o ON o.id =" \
    " g.origin WHERE g.sample = s.id AND (g.private = 1 OR o.private = 1))"

static bool take_digest(sqlite3_stmt *statement, int column, uint8_t *out, size_t n)
{
    struct ms_span bytes = ms_db_blob(statement, column);
    if (!bytes.data || bytes.len != n)
        return false;
    memcpy(out, bytes.data, n);
    return true;
}

static void read_sample(sqlite3_stmt *statement, struct ms_export_sample *out)
{
    *out = (struct ms_export_sample){.id = ms_db_int(statement, 0, 0),
                                     .size = ms_db_int(statement, 4, -1),
                                     .machine = ms_db_int(statement, 5, -1),
                                     .kind = ms_db_text(statement, 6),
                                     .flags = ms_db_text(statement, 7),
                                     .features = ms_db_blob(statement, 8),
                                     .vaulted = ms_db_int(statement, 9, 0) != 0,
                                     .first_ms = ms_db_int(statement, 10, 0),
                                     .verdict = ms_db_text(statement, 11),
                                     .class_ = ms_db_text(statement, 12),
                                     .family = ms_db_text(statement, 13)};
    out->has_sha256 = take_digest(statement, 1, out->digests.sha256, MS_SHA256_BYTES);
    out->has_sha1 = take_digest(statement, 2, out->digests.sha1, MS_SHA1_BYTES);
    out->has_md5 = take_digest(statement, 3, out->digests.md5, MS_MD5_BYTES);
}

static enum ms_status visit_samples(struct ms_corpus *corpus, const char *sql, const char *policy,
                                    ms_export_sample_visit visit, void *ctx, struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, policy);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_export_sample sample;
        read_sample(statement, &sample);
        status = visit(ctx, &sample, err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

enum ms_status ms_export_samples(struct ms_corpus *corpus, const char *policy,
                                 ms_export_sample_visit visit, void *ctx, struct ms_error *err)
{
    /* The first walks the index of sha256; the second sorts the few that have none. */
    static const char *const parts[] = {
        COLUMNS " WHERE s.sha256 IS NOT NULL AND" OPEN_TO_ALL " ORDER BY s.sha256",
        COLUMNS " WHERE s.sha256 IS NULL AND (s.sha1 IS NOT NULL OR s.md5 IS NOT NULL)"
                " AND" OPEN_TO_ALL " ORDER BY s.sha1, s.md5"};
    enum ms_status status = ms_db_exec(corpus, "BEGIN", err);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == MS_OK; i++)
        status = visit_samples(corpus, parts[i], policy, visit, ctx, err);
    ms_corpus_rollback(corpus);
    return status;
}

enum ms_status ms_export_sightings(struct ms_corpus *corpus, int64_t sample,
                                   ms_export_sighting_visit visit, void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT o.kind, o.name, o.ref, g.path, g.chain, g.commit_id, g.password, g.claim,"
        " g.gone_ms IS NOT NULL, g.seen_ms, g.side_file FROM sighting g"
        " JOIN origin o ON o.id = g.origin"
        " WHERE g.sample = ?1 ORDER BY o.kind, o.name, o.ref, g.path, g.chain";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_export_sighting sighting = {.kind = ms_db_text(statement, 0),
                                              .origin = ms_db_text(statement, 1),
                                              .ref = ms_db_text(statement, 2),
                                              .path = ms_db_blob(statement, 3),
                                              .chain = ms_db_blob(statement, 4),
                                              .commit_id = ms_db_blob(statement, 5),
                                              .password = ms_db_blob(statement, 6),
                                              .claim = ms_db_text(statement, 7),
                                              .gone = ms_db_int(statement, 8, 0) != 0,
                                              .seen_ms = ms_db_int(statement, 9, 0),
                                              .side_file = ms_db_text(statement, 10)};
        status = visit(ctx, &sighting, err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

enum ms_status ms_export_has_policy(struct ms_corpus *corpus, const char *policy, bool *has,
                                    struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(
        corpus, "SELECT 1 FROM label WHERE policy = ?1 AND current = 1 LIMIT 1", &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, policy);
    status = ms_db_step(corpus, statement, has, err);
    ms_db_done(statement);
    return status;
}
