/* Take-down: rows, objects and a tombstone that keeps them out. */
#include "store/forget_models.h"
#include "store/internal.h"
#include "store/sample.h"
#include "store/vault_group.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/step.h"

#include <stdlib.h>
#include <string.h>

/* Objects to be removed once the rows are gone for good: a crash between the two leaves orphans,
 * which fsck removes because no row names them. The other order would leave rows that name
 * nothing. */
struct doomed {
    struct ms_vault_object *items;
    size_t count, cap;
    char **keys; /* of the samples, as the files of models have them */
    size_t key_count, key_cap;
};

static enum ms_status doom(struct doomed *self, enum ms_vault_kind kind, struct ms_span sha256,
                           struct ms_error *err)
{
    if (!sha256.data || sha256.len != MS_SHA256_BYTES)
        return MS_OK;
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 16;
        struct ms_vault_object *items = realloc(self->items, cap * sizeof *items);
        if (!items)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->items = items;
        self->cap = cap;
    }
    self->items[self->count].kind = kind;
    memcpy(self->items[self->count].sha256, sha256.data, MS_SHA256_BYTES);
    self->count++;
    return MS_OK;
}

/* Takes over a text from malloc. */
static enum ms_status doom_key(struct doomed *self, char *key, struct ms_error *err)
{
    if (key && self->key_count == self->key_cap) {
        size_t cap = self->key_cap ? self->key_cap * 2 : 16;
        char **keys = (char **)realloc((void *)self->keys, cap * sizeof *keys);
        if (keys) {
            self->keys = keys;
            self->key_cap = cap;
        }
    }
    if (!key || self->key_count == self->key_cap) {
        free(key);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    self->keys[self->key_count++] = key;
    return MS_OK;
}

/* Train names a sample by its SHA-256, else by an alias. */
static enum ms_status doom_keys(struct ms_corpus *corpus, const struct ms_sample *sample,
                                struct doomed *doomed, struct ms_error *err)
{
    static const char sql[] =
        "SELECT CAST(source || ':' AS BLOB) || external_id FROM alias WHERE sample = ?1";
    char text[512];
    if (sample->has_sha256) {
        ms_hex_encode(sample->digests.sha256, MS_SHA256_BYTES, text);
        return doom_key(doomed, strdup(text), err);
    }
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample->id);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_span alias = ms_db_blob(statement, 0);
        (void)ms_escape_bytes(alias.data, alias.len, text, sizeof text);
        status = doom_key(doomed, strdup(text), err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

enum ms_status ms_tombstone_put(struct ms_corpus *corpus, const char *kind, const void *key,
                                size_t n, int64_t run, struct ms_error *err)
{
    static const char sql[] = "INSERT INTO tombstone (kind, key, made_ms, run)"
                              " VALUES (?1, ?2, ?3, ?4) ON CONFLICT (kind, key) DO NOTHING";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, kind);
    ms_db_bind_blob(statement, 2, key, n);
    ms_db_bind_int(statement, 3, ms_clock_wall_ms());
    ms_db_bind_nonzero(statement, 4, run);
    return ms_db_run(corpus, statement, err);
}

/* A statement with one integer parameter and no rows. */
static enum ms_status run_with(struct ms_corpus *corpus, const char *sql, int64_t value,
                               struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, value);
    return ms_db_run(corpus, statement, err);
}

static enum ms_status bury_hashes(struct ms_corpus *corpus, const struct ms_sample *sample,
                                  int64_t run, struct ms_error *err)
{
    const struct {
        bool known;
        const uint8_t *bytes;
        size_t n;
    } hashes[] = {{sample->has_sha256, sample->digests.sha256, MS_SHA256_BYTES},
                  {sample->has_sha1, sample->digests.sha1, MS_SHA1_BYTES},
                  {sample->has_md5, sample->digests.md5, MS_MD5_BYTES}};
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < 3 && status == MS_OK; i++)
        if (hashes[i].known)
            status = ms_tombstone_put(corpus, "sample", hashes[i].bytes, hashes[i].n, run, err);
    return status;
}

/* A dataset's row stays out too; another alias (a file name in a sandbox) is no identity, unless it
 * is all there is. */
static enum ms_status bury_aliases(struct ms_corpus *corpus, const struct ms_sample *sample,
                                   int64_t run, struct ms_error *err)
{
    static const char sql[] = "SELECT source, external_id FROM alias WHERE sample = ?1"
                              " AND (?2 OR source GLOB 'dataset:*')";
    bool hashless = !sample->has_sha256 && !sample->has_sha1 && !sample->has_md5;
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample->id);
    ms_db_bind_int(statement, 2, hashless);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_buf key;
        status = ms_alias_key(ms_db_text(statement, 0), ms_db_blob(statement, 1), &key, err);
        if (status != MS_OK)
            break;
        status = ms_tombstone_put(corpus, "sample", key.data, key.len, run, err);
        ms_buf_release(&key);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

static enum ms_status doom_reports(struct ms_corpus *corpus, const char *sql, int64_t value,
                                   struct doomed *doomed, struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, value);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        status = doom(doomed, MS_VAULT_REPORT, ms_db_blob(statement, 0), err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

/* The ledger keeps its rows, for the quota; what was asked is forgotten. */
static enum ms_status clear_ledger(struct ms_corpus *corpus, const struct ms_sample *sample,
                                   struct ms_error *err)
{
    static const char sql[] = "UPDATE request SET subject = NULL WHERE subject IN"
                              " (SELECT asked FROM scan WHERE sample = ?1 UNION ALL"
                              " SELECT lower(hex(sha256)) FROM sample WHERE id = ?1 UNION ALL"
                              " SELECT lower(hex(sha1)) FROM sample WHERE id = ?1 UNION ALL"
                              " SELECT lower(hex(md5)) FROM sample WHERE id = ?1)";
    return run_with(corpus, sql, sample->id, err);
}

/* The rows of one sample, inside a transaction. bury: leave tombstones. */
static enum ms_status remove_sample(struct ms_corpus *corpus, int64_t id, bool bury, int64_t run,
                                    struct doomed *doomed, struct ms_error *err)
{
    static const char reports[] = "SELECT report_sha256 FROM analysis WHERE sample = ?1";
    /* In this order: labels and flips refer to scans, a split to its analysis. */
    static const char *const deletions[] = {
        "DELETE FROM split WHERE analysis IN (SELECT id FROM analysis WHERE sample = ?1)",
        "DELETE FROM label_flip WHERE sample = ?1",
        "DELETE FROM label WHERE sample = ?1",
        "DELETE FROM scan WHERE sample = ?1",
        "DELETE FROM analysis WHERE sample = ?1",
        "DELETE FROM sample WHERE id = ?1"};
    struct ms_sample sample;
    enum ms_status status = ms_sample_get(corpus, id, &sample, err);
    if (status != MS_OK)
        return status;
    if (bury) {
        status = bury_hashes(corpus, &sample, run, err);
        if (status == MS_OK)
            status = bury_aliases(corpus, &sample, run, err);
    }
    if (status == MS_OK && sample.has_sha256)
        status =
            doom(doomed, MS_VAULT_SAMPLE, ms_span_of(sample.digests.sha256, MS_SHA256_BYTES), err);
    if (status == MS_OK)
        status = doom_reports(corpus, reports, id, doomed, err);
    if (status == MS_OK)
        status = doom_keys(corpus, &sample, doomed, err);
    if (status == MS_OK)
        status = clear_ledger(corpus, &sample, err);
    for (size_t i = 0; i < sizeof deletions / sizeof *deletions && status == MS_OK; i++)
        status = run_with(corpus, deletions[i], id, err);
    return status;
}

/* Ends a take-down: takes the names out of the models' files (while the rows are there, so that a
 * killed take-down can be asked for again), commits, removes the objects, and empties the
 * write-ahead log, in which the deleted pages still stand. */
static enum ms_status finish(struct ms_corpus *corpus, enum ms_status status, struct doomed *doomed,
                             struct ms_error *err)
{
    if (status == MS_OK)
        status = ms_models_forget(corpus, NULL, (const char *const *)doomed->keys,
                                  doomed->key_count, err);
    ms_step("store.forget.models");
    if (status == MS_OK)
        status = ms_corpus_commit(corpus, err);
    else
        ms_corpus_rollback(corpus);
    ms_step("store.forget.committed");
    if (status == MS_OK)
        status = ms_vault_remove_all(corpus, doomed->items, doomed->count, err);
    if (status == MS_OK)
        (void)sqlite3_wal_checkpoint_v2(corpus->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    for (size_t i = 0; i < doomed->key_count; i++)
        free(doomed->keys[i]);
    free((void *)doomed->keys);
    free(doomed->items);
    return status;
}

static enum ms_status start(struct ms_corpus *corpus, struct ms_error *err)
{
    enum ms_status status = ms_db_exec(corpus, "PRAGMA secure_delete = ON", err);
    return status == MS_OK ? ms_corpus_begin(corpus, err) : status;
}

enum ms_status ms_forget_sample(struct ms_corpus *corpus, int64_t sample, int64_t run,
                                struct ms_error *err)
{
    struct doomed doomed = {0};
    enum ms_status status = start(corpus, err);
    if (status != MS_OK)
        return status;
    status = remove_sample(corpus, sample, true, run, &doomed, err);
    return finish(corpus, status, &doomed, err);
}

static enum ms_status bury_origin(struct ms_corpus *corpus, int64_t id, int64_t run,
                                  struct ms_error *err)
{
    struct ms_origin origin;
    struct ms_buf keys[MS_ORIGIN_KEYS];
    size_t count;
    enum ms_status status = ms_origin_get(corpus, id, &origin, err);
    if (status != MS_OK)
        return status;
    status = ms_origin_keys(&origin, keys, &count, err);
    for (size_t i = 0; i < count && status == MS_OK; i++)
        status = ms_tombstone_put(corpus, "origin", keys[i].data, keys[i].len, run, err);
    for (size_t i = 0; i < MS_ORIGIN_KEYS; i++)
        ms_buf_release(&keys[i]);
    ms_origin_release(&origin);
    return status;
}

/* What is known of blobs that lie nowhere else goes with the origin: found again at another place,
 * they are to be opened again. */
static const char forget_blobs[] =
    "DELETE FROM blob WHERE git_id IN (SELECT git_blob FROM sighting WHERE origin = ?1"
    " UNION SELECT git_id FROM tree_entry WHERE origin = ?1"
    " UNION SELECT set_id FROM tree_entry WHERE origin = ?1 AND set_id IS NOT NULL"
    " UNION SELECT git_id FROM past_entry WHERE origin = ?1)"
    " AND git_id NOT IN (SELECT git_id FROM tree_entry WHERE origin <> ?1"
    " UNION SELECT set_id FROM tree_entry WHERE origin <> ?1 AND set_id IS NOT NULL"
    " UNION SELECT git_id FROM past_entry WHERE origin <> ?1)"
    " AND NOT EXISTS (SELECT 1 FROM sighting WHERE git_blob = blob.git_id AND origin <> ?1)";

/* The rows of one origin: its analyses, its sightings, and the samples that nothing else knows. The
 * samples get no tombstones: elsewhere they may be wanted. */
static enum ms_status remove_origin(struct ms_corpus *corpus, int64_t origin, int64_t run,
                                    uint64_t *samples, struct doomed *doomed, struct ms_error *err)
{
    static const char only_here[] =
        "SELECT id FROM sample s WHERE id IN (SELECT sample FROM sighting WHERE origin = ?1"
        " UNION SELECT sample FROM analysis WHERE origin = ?1)"
        " AND NOT EXISTS (SELECT 1 FROM sighting WHERE sample = s.id AND origin <> ?1)"
        " AND NOT EXISTS (SELECT 1 FROM analysis WHERE sample = s.id AND origin <> ?1)";
    static const char reports[] = "SELECT report_sha256 FROM analysis WHERE origin = ?1";
    static const char *const deletions[] = {
        "DELETE FROM split WHERE analysis IN (SELECT id FROM analysis WHERE origin = ?1)",
        "DELETE FROM analysis WHERE origin = ?1", "DELETE FROM sighting WHERE origin = ?1",
        "DELETE FROM origin WHERE id = ?1"};
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    enum ms_status status = run_with(corpus, forget_blobs, origin, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, only_here, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    status = ms_ids_collect(corpus, statement, &ids, err);
    for (size_t i = 0; i < ids.count && status == MS_OK; i++)
        status = remove_sample(corpus, ids.items[i], false, run, doomed, err);
    if (status == MS_OK)
        *samples += ids.count;
    ms_ids_release(&ids);
    if (status == MS_OK)
        status = doom_reports(corpus, reports, origin, doomed, err);
    if (status == MS_OK)
        status = bury_origin(corpus, origin, run, err);
    for (size_t i = 0; i < sizeof deletions / sizeof *deletions && status == MS_OK; i++)
        status = run_with(corpus, deletions[i], origin, err);
    return status;
}

enum ms_status ms_forget_origin(struct ms_corpus *corpus, const char *name, int64_t run,
                                uint64_t *samples, struct ms_error *err)
{
    /* By name or the name it moved to; what the host says is the same; and all refs of those. */
    static const char sql[] =
        "WITH named AS (SELECT kind, name, remote_id FROM origin WHERE name = ?1 OR url = ?1"
        " OR (kind = 'github' AND url = 'https://github.com/' || ?1)),"
        " same AS (SELECT kind, name FROM named UNION SELECT o.kind, o.name FROM origin o"
        " JOIN named n ON n.kind = 'github' AND o.kind = n.kind AND o.remote_id = n.remote_id)"
        " SELECT id FROM origin WHERE (kind, name) IN (SELECT kind, name FROM same) ORDER BY id";
    struct doomed doomed = {0};
    struct ms_ids origins = {NULL, 0, 0};
    sqlite3_stmt *statement;
    uint64_t removed = 0;
    enum ms_status status = start(corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK) {
        ms_db_bind_text(statement, 1, name);
        status = ms_ids_collect(corpus, statement, &origins, err);
    }
    if (status == MS_OK && origins.count == 0) {
        char shown[256];
        ms_escape_text(name, shown, sizeof shown);
        status = ms_error_set(err, MS_REJECT, "no origin '%s' in the corpus", shown);
    }
    for (size_t i = 0; i < origins.count && status == MS_OK; i++)
        status = remove_origin(corpus, origins.items[i], run, &removed, &doomed, err);
    ms_ids_release(&origins);
    status = finish(corpus, status, &doomed, err);
    if (status == MS_OK)
        *samples = removed;
    return status;
}
