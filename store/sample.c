/* Samples and their aliases. Origins and sightings: origin.c and sighting.c; removal: forget.c. */
#include "store/sample.h"

#include "store/internal.h"

#include <limits.h>
#include <string.h>

enum { ALIAS_KEY_BYTES = 1 << 20 };

enum ms_status ms_tombstone_has(struct ms_corpus *corpus, const char *kind, const void *key,
                                size_t n, bool *found, struct ms_error *err)
{
    static const char sql[] = "SELECT 1 FROM tombstone WHERE kind = ?1 AND key = ?2";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, kind);
    ms_db_bind_blob(statement, 2, key, n);
    status = ms_db_step(corpus, statement, found, err);
    ms_db_done(statement);
    return status;
}

enum ms_status ms_alias_key(const char *source, struct ms_span external_id, struct ms_buf *out,
                            struct ms_error *err)
{
    ms_buf_init(out, ALIAS_KEY_BYTES);
    (void)ms_buf_append_text(out, "alias:");
    (void)ms_buf_append_text(out, source);
    (void)ms_buf_append_byte(out, ':');
    (void)ms_buf_append(out, external_id.data, external_id.len);
    if (!out->failed)
        return MS_OK;
    ms_buf_release(out);
    return ms_error_set(err, MS_REJECT, "the external id of a sample is too long");
}

/* The strongest hash given rules; the weaker ones are no ground to refuse a sample, because
 * collisions are made on purpose. */
static enum ms_status refuse_forgotten(struct ms_corpus *corpus, const struct ms_sample *sample,
                                       struct ms_error *err)
{
    const uint8_t *key = sample->has_sha256 ? sample->digests.sha256
                         : sample->has_sha1 ? sample->digests.sha1
                                            : sample->digests.md5;
    size_t n = sample->has_sha256 ? MS_SHA256_BYTES
               : sample->has_sha1 ? MS_SHA1_BYTES
                                  : MS_MD5_BYTES;
    bool found = false;
    enum ms_status status = ms_tombstone_has(corpus, "sample", key, n, &found, err);
    if (status == MS_OK && found)
        return ms_error_set(err, MS_REJECT, "the sample was removed by forget and stays out");
    return status;
}

static void bind_hashes(sqlite3_stmt *statement, const struct ms_sample *sample)
{
    const struct ms_digests *digests = &sample->digests;
    ms_db_bind_blob(statement, 1, sample->has_sha256 ? digests->sha256 : NULL, MS_SHA256_BYTES);
    ms_db_bind_blob(statement, 2, sample->has_sha1 ? digests->sha1 : NULL, MS_SHA1_BYTES);
    ms_db_bind_blob(statement, 3, sample->has_md5 ? digests->md5 : NULL, MS_MD5_BYTES);
}

static enum ms_status find_by(struct ms_corpus *corpus, const char *sql,
                              const struct ms_sample *sample, int64_t *id, struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    bind_hashes(statement, sample);
    status = ms_db_step(corpus, statement, &row, err);
    *id = status == MS_OK && row ? ms_db_int(statement, 0, 0) : 0;
    ms_db_done(statement);
    return status;
}

enum ms_status ms_sample_find_same(struct ms_corpus *corpus, const struct ms_sample *sample,
                                   int64_t *id, struct ms_error *err)
{
    static const char by_sha256[] = "SELECT id FROM sample WHERE sha256 = ?1"
                                    " AND ?2 IS ?2 AND ?3 IS ?3";
    static const char by_sha1[] =
        "SELECT id FROM sample WHERE sha1 = ?2 AND (?1 IS NULL OR sha256 IS NULL)"
        " AND (?3 IS NULL OR md5 IS NULL OR md5 = ?3) ORDER BY id LIMIT 1";
    static const char by_md5[] =
        "SELECT id FROM sample WHERE md5 = ?3 AND (?1 IS NULL OR sha256 IS NULL)"
        " AND (?2 IS NULL OR sha1 IS NULL OR sha1 = ?2) ORDER BY id LIMIT 1";
    enum ms_status status = MS_OK;
    *id = 0;
    if (sample->has_sha256)
        status = find_by(corpus, by_sha256, sample, id, err);
    if (status == MS_OK && *id == 0 && sample->has_sha1)
        status = find_by(corpus, by_sha1, sample, id, err);
    if (status == MS_OK && *id == 0 && sample->has_md5)
        status = find_by(corpus, by_md5, sample, id, err);
    return status;
}

static void bind_rest(sqlite3_stmt *statement, const struct ms_sample *sample)
{
    ms_db_bind_known(statement, 4, sample->size);
    ms_db_bind_int(statement, 5, sample->vaulted);
    ms_db_bind_int(statement, 6, sample->private_);
    ms_db_bind_text(statement, 7, sample->kind);
    ms_db_bind_known(statement, 8, sample->machine);
    ms_db_bind_text(statement, 9, sample->flags);
    ms_db_bind_text(statement, 10, sample->features);
    ms_db_bind_blob(statement, 11, sample->has_git_blob ? sample->git_blob : NULL,
                    sizeof sample->git_blob);
}

static enum ms_status write_sample(struct ms_corpus *corpus, const struct ms_sample *sample,
                                   int64_t run, int64_t id, struct ms_error *err)
{
    static const char insert[] = "INSERT INTO sample (sha256, sha1, md5, size, vaulted, private,"
                                 " kind, machine, flags, features, git_blob, run)"
                                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    static const char update[] =
        "UPDATE sample SET sha256 = coalesce(sha256, ?1), sha1 = coalesce(sha1, ?2),"
        " md5 = coalesce(md5, ?3), size = coalesce(size, ?4), vaulted = max(vaulted, CASE"
        " WHEN bytes_gone_ms IS NULL THEN ?5 ELSE 0 END),"
        " private = max(private, ?6), kind = coalesce(kind, ?7), machine = coalesce(machine, ?8),"
        " flags = coalesce(flags, ?9), features = coalesce(?10, features),"
        " git_blob = coalesce(git_blob, ?11) WHERE id = ?12";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, id ? update : insert, &statement, err);
    if (status != MS_OK)
        return status;
    bind_hashes(statement, sample);
    bind_rest(statement, sample);
    if (id)
        ms_db_bind_int(statement, 12, id);
    else
        ms_db_bind_nonzero(statement, 12, run);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_sample_upsert(struct ms_corpus *corpus, const struct ms_sample *sample,
                                int64_t run, int64_t *id, bool *inserted, struct ms_error *err)
{
    int64_t found = 0;
    if (!sample->has_sha256 && !sample->has_sha1 && !sample->has_md5)
        return ms_error_set(err, MS_REJECT, "a sample without any hash");
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = refuse_forgotten(corpus, sample, err);
    if (status == MS_OK)
        status = ms_sample_find_same(corpus, sample, &found, err);
    if (status == MS_OK)
        status = write_sample(corpus, sample, run, found, err);
    if (status != MS_OK)
        return status;
    *id = found ? found : ms_db_last_id(corpus);
    *inserted = found == 0;
    return MS_OK;
}

enum ms_status ms_sample_is_forgotten(struct ms_corpus *corpus, const uint8_t sha256[32],
                                      bool *forgotten, struct ms_error *err)
{
    return ms_tombstone_has(corpus, "sample", sha256, MS_SHA256_BYTES, forgotten, err);
}

enum ms_status ms_sample_is_over(struct ms_corpus *corpus, const uint8_t sha256[32], bool *over,
                                 struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(
        corpus, "SELECT 1 FROM sample WHERE sha256 = ?1 AND bytes_gone_ms IS NOT NULL", &statement,
        err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, sha256, MS_SHA256_BYTES);
    status = ms_db_step(corpus, statement, over, err);
    ms_db_done(statement);
    return status;
}

enum ms_status ms_sample_find(struct ms_corpus *corpus, const char *hex, int64_t *id,
                              struct ms_error *err)
{
    struct ms_sample sample = {0};
    size_t n = strlen(hex);
    int64_t found = 0;
    sample.has_sha256 = n == 64 && ms_hex_decode(hex, MS_SHA256_BYTES, sample.digests.sha256);
    sample.has_sha1 = n == 40 && ms_hex_decode(hex, MS_SHA1_BYTES, sample.digests.sha1);
    sample.has_md5 = n == 32 && ms_hex_decode(hex, MS_MD5_BYTES, sample.digests.md5);
    if (!sample.has_sha256 && !sample.has_sha1 && !sample.has_md5)
        return ms_error_set(err, MS_REJECT, "not an MD5, SHA-1 or SHA-256 in hexadecimal");
    enum ms_status status = ms_sample_find_same(corpus, &sample, &found, err);
    if (status != MS_OK)
        return status;
    if (found == 0)
        return ms_error_set(err, MS_REJECT, "no sample with this hash in the corpus");
    *id = found;
    return MS_OK;
}

enum ms_status ms_sample_get(struct ms_corpus *corpus, int64_t id, struct ms_sample *out,
                             struct ms_error *err)
{
    static const char sql[] = "SELECT sha256, sha1, md5, size, vaulted, private, machine,"
                              " git_blob FROM sample WHERE id = ?1";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, id);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK && row) {
        struct ms_span sha256 = ms_db_blob(statement, 0);
        struct ms_span sha1 = ms_db_blob(statement, 1);
        struct ms_span md5 = ms_db_blob(statement, 2);
        *out = (struct ms_sample){.id = id,
                                  .has_sha256 = sha256.data && sha256.len == MS_SHA256_BYTES,
                                  .has_sha1 = sha1.data && sha1.len == MS_SHA1_BYTES,
                                  .has_md5 = md5.data && md5.len == MS_MD5_BYTES,
                                  .size = ms_db_int(statement, 3, -1),
                                  .vaulted = ms_db_int(statement, 4, 0) != 0,
                                  .private_ = ms_db_int(statement, 5, 0) != 0,
                                  .machine = ms_db_int(statement, 6, -1)};
        struct ms_span git_blob = ms_db_blob(statement, 7);
        out->has_git_blob = git_blob.data && git_blob.len == sizeof out->git_blob;
        if (out->has_git_blob)
            memcpy(out->git_blob, git_blob.data, sizeof out->git_blob);
        if (out->has_sha256)
            memcpy(out->digests.sha256, sha256.data, MS_SHA256_BYTES);
        if (out->has_sha1)
            memcpy(out->digests.sha1, sha1.data, MS_SHA1_BYTES);
        if (out->has_md5)
            memcpy(out->digests.md5, md5.data, MS_MD5_BYTES);
    } else if (status == MS_OK) {
        status = ms_error_set(err, MS_REJECT, "no sample with this id in the corpus");
    }
    ms_db_done(statement);
    return status;
}

static enum ms_status find_alias(struct ms_corpus *corpus, const char *source,
                                 struct ms_span external_id, int64_t *id, struct ms_error *err)
{
    static const char sql[] = "SELECT sample FROM alias WHERE source = ?1 AND external_id = ?2";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, source);
    ms_db_bind_blob(statement, 2, external_id.data ? (const void *)external_id.data : "",
                    external_id.len);
    status = ms_db_step(corpus, statement, &row, err);
    *id = status == MS_OK && row ? ms_db_int(statement, 0, 0) : 0;
    ms_db_done(statement);
    return status;
}

enum ms_status ms_sample_add_alias(struct ms_corpus *corpus, int64_t sample, const char *source,
                                   struct ms_span external_id, struct ms_error *err)
{
    static const char sql[] = "INSERT INTO alias (source, external_id, sample) VALUES (?1, ?2, ?3)"
                              " ON CONFLICT (source, external_id) DO NOTHING";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, source);
    ms_db_bind_blob(statement, 2, external_id.data ? (const void *)external_id.data : "",
                    external_id.len);
    ms_db_bind_int(statement, 3, sample);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_sample_by_alias(struct ms_corpus *corpus, const char *source,
                                  struct ms_span external_id, int64_t run, int64_t *id,
                                  bool *inserted, struct ms_error *err)
{
    static const char sql[] = "INSERT INTO sample (run) VALUES (?1)";
    struct ms_buf key;
    sqlite3_stmt *statement;
    bool forgotten = false;
    int64_t found = 0;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_alias_key(source, external_id, &key, err);
    if (status != MS_OK)
        return status;
    status = ms_tombstone_has(corpus, "sample", key.data, key.len, &forgotten, err);
    ms_buf_release(&key);
    if (status == MS_OK && forgotten)
        return ms_error_set(err, MS_REJECT, "the sample was removed by forget and stays out");
    if (status == MS_OK)
        status = find_alias(corpus, source, external_id, &found, err);
    if (status != MS_OK)
        return status;
    if (found) {
        *id = found;
        *inserted = false;
        return MS_OK;
    }
    status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_nonzero(statement, 1, run);
    status = ms_db_run(corpus, statement, err);
    if (status != MS_OK)
        return status;
    found = ms_db_last_id(corpus);
    status = ms_sample_add_alias(corpus, found, source, external_id, err);
    if (status != MS_OK)
        return status;
    *id = found;
    *inserted = true;
    return MS_OK;
}

enum ms_status ms_sample_foreach_unsubmitted(struct ms_corpus *corpus,
                                             const uint8_t settings_digest[32],
                                             ms_sample_visit visit, void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT s.id FROM sample s WHERE s.vaulted = 1 AND s.private = 0 AND NOT EXISTS"
        " (SELECT 1 FROM analysis a WHERE a.sample = s.id AND a.settings_digest = ?1)"
        " ORDER BY s.id";
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, settings_digest, 32);
    status = ms_ids_collect(corpus, statement, &ids, err);
    for (size_t i = 0; i < ids.count && status == MS_OK; i++)
        status = visit(ctx, ids.items[i], err);
    ms_ids_release(&ids);
    return status;
}
