/* Sightings of samples, and what became of the blobs they came out of. */
#include "store/internal.h"
#include "store/sample.h"

#include <stdio.h>

/* Columns that may be empty but never NULL. */
static void bind_bytes(sqlite3_stmt *statement, int index, struct ms_span bytes)
{
    ms_db_bind_blob(statement, index, bytes.data ? (const void *)bytes.data : "", bytes.len);
}

enum ms_status ms_sighting_put(struct ms_corpus *corpus, const struct ms_sighting *sighting,
                               int64_t now_ms, int64_t run, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO sighting (sample, origin, git_blob, path, chain, commit_id, password, claim,"
        " private, seen_ms, run, side_file)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, coalesce(?8, 'unknown'), ?9, ?10, ?11, ?12)"
        " ON CONFLICT (sample, origin, path, chain) DO UPDATE SET git_blob = ?3, commit_id = ?6,"
        " password = ?7, claim = coalesce(?8, claim), private = ?9, seen_ms = ?10, gone_ms = NULL,"
        " side_file = ?12";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sighting->sample);
    ms_db_bind_int(statement, 2, sighting->origin);
    ms_db_bind_blob(statement, 3, sighting->git_blob, sizeof sighting->git_blob);
    bind_bytes(statement, 4, sighting->path);
    bind_bytes(statement, 5, sighting->chain);
    ms_db_bind_span(statement, 6, sighting->commit_id);
    ms_db_bind_span(statement, 7, sighting->password);
    ms_db_bind_text(statement, 8, sighting->claim);
    ms_db_bind_int(statement, 9, sighting->private_);
    ms_db_bind_int(statement, 10, now_ms);
    ms_db_bind_nonzero(statement, 11, run);
    ms_db_bind_text(statement, 12, sighting->side_file);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_blob_find(struct ms_corpus *corpus, const uint8_t git_id[20], bool *found,
                            struct ms_blob *out, struct ms_error *err)
{
    static const char sql[] = "SELECT size, outcome, unpacker_version, password_set, samples,"
                              " last_ms, sfx, limits FROM blob WHERE git_id = ?1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, git_id, 20);
    status = ms_db_step(corpus, statement, found, err);
    if (status == MS_OK && *found) {
        const char *outcome = ms_db_text(statement, 1);
        struct ms_span set = ms_db_blob(statement, 3);
        *out = (struct ms_blob){.size = (uint64_t)ms_db_int(statement, 0, 0),
                                .unpacker_version = (unsigned)ms_db_int(statement, 2, 0),
                                .samples = (uint64_t)ms_db_int(statement, 4, 0),
                                .last_ms = ms_db_int(statement, 5, 0),
                                .sfx = ms_db_int(statement, 6, 0) != 0};
        for (size_t i = 0; i < sizeof out->git_id; i++)
            out->git_id[i] = git_id[i];
        (void)snprintf(out->outcome, sizeof out->outcome, "%s", outcome ? outcome : "");
        const char *limits = ms_db_text(statement, 7);
        (void)snprintf(out->limits, sizeof out->limits, "%s", limits ? limits : "");
        for (size_t i = 0; i < sizeof out->password_set && i < set.len; i++)
            out->password_set[i] = set.data[i];
    }
    ms_db_done(statement);
    return status;
}

/* A blob opened again starts with a clean list of faults. */
static enum ms_status clear_faults(struct ms_corpus *corpus, const uint8_t git_id[20],
                                   struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status =
        ms_db_prepare(corpus, "DELETE FROM blob_fault WHERE git_id = ?1", &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, git_id, 20);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_blob_put(struct ms_corpus *corpus, const struct ms_blob *blob, int64_t now_ms,
                           int64_t run, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO blob (git_id, size, outcome, reason, unpacker_version, password_set, samples,"
        " first_ms, last_ms, run, sfx, limits)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11)"
        " ON CONFLICT (git_id) DO UPDATE SET size = ?2, outcome = ?3, reason = ?4,"
        " unpacker_version = ?5, password_set = ?6, samples = ?7, last_ms = ?8, run = ?9,"
        " sfx = ?10, limits = ?11";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = clear_faults(corpus, blob->git_id, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, blob->git_id, sizeof blob->git_id);
    ms_db_bind_int(statement, 2, (int64_t)blob->size);
    ms_db_bind_text(statement, 3, blob->outcome);
    ms_db_bind_text(statement, 4, blob->reason);
    ms_db_bind_int(statement, 5, blob->unpacker_version);
    ms_db_bind_blob(statement, 6, blob->password_set, sizeof blob->password_set);
    ms_db_bind_int(statement, 7, (int64_t)blob->samples);
    ms_db_bind_int(statement, 8, now_ms);
    ms_db_bind_nonzero(statement, 9, run);
    ms_db_bind_int(statement, 10, blob->sfx);
    ms_db_bind_text(statement, 11, blob->limits[0] ? blob->limits : NULL);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_volume_put(struct ms_corpus *corpus, const uint8_t set_id[20], size_t number,
                             const uint8_t git_id[20], struct ms_error *err)
{
    static const char sql[] = "INSERT INTO volume (set_id, number, git_id) VALUES (?1, ?2, ?3)"
                              " ON CONFLICT (set_id, number) DO UPDATE SET git_id = ?3";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, set_id, 20);
    ms_db_bind_int(statement, 2, (int64_t)number);
    ms_db_bind_blob(statement, 3, git_id, 20);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_blob_fault_put(struct ms_corpus *corpus, const uint8_t git_id[20],
                                 struct ms_span chain, const char *fault, const char *detail,
                                 struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO blob_fault (git_id, chain, fault, detail) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT (git_id, chain, fault) DO UPDATE SET detail = ?4";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, git_id, 20);
    bind_bytes(statement, 2, chain);
    ms_db_bind_text(statement, 3, fault);
    ms_db_bind_text(statement, 4, detail);
    return ms_db_run(corpus, statement, err);
}

/* What comes from a private place is private from then on, wherever else it was seen before. */
static enum ms_status make_private(struct ms_corpus *corpus, const uint8_t git_id[20],
                                   struct ms_error *err)
{
    static const char sql[] = "UPDATE sample SET private = 1 WHERE private = 0 AND id IN"
                              " (SELECT sample FROM sighting WHERE git_blob = ?1)";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, git_id, 20);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_blob_sight_again(struct ms_corpus *corpus, const uint8_t git_id[20],
                                   int64_t origin, struct ms_span path, struct ms_span commit_id,
                                   const char *claim, bool private_, int64_t now_ms, int64_t run,
                                   struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO sighting (sample, origin, git_blob, path, chain, commit_id, password, claim,"
        " private, seen_ms, run)"
        " SELECT sample, ?2, ?1, ?3, chain, ?4, max(password), coalesce(?5, 'unknown'), ?6, ?7, ?8"
        " FROM sighting WHERE git_blob = ?1 GROUP BY sample, chain"
        " ON CONFLICT (sample, origin, path, chain) DO UPDATE SET side_file = CASE WHEN git_blob = "
        "?1"
        " THEN side_file END, git_blob = ?1, commit_id = ?4,"
        " claim = coalesce(?5, claim), private = ?6, seen_ms = ?7, gone_ms = NULL";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK && private_)
        status = make_private(corpus, git_id, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, git_id, 20);
    ms_db_bind_int(statement, 2, origin);
    bind_bytes(statement, 3, path);
    ms_db_bind_span(statement, 4, commit_id);
    ms_db_bind_text(statement, 5, claim);
    ms_db_bind_int(statement, 6, private_);
    ms_db_bind_int(statement, 7, now_ms);
    ms_db_bind_nonzero(statement, 8, run);
    return ms_db_run(corpus, statement, err);
}
