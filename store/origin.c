/* Origins, the passwords that worked there, and their last tree. */
#include "store/internal.h"
#include "store/sample.h"

#include <string.h>

enum ms_status ms_origin_keys(const struct ms_origin *origin, struct ms_buf out[MS_ORIGIN_KEYS],
                              size_t *count, struct ms_error *err)
{
    static const char github[] = "https://github.com/";
    bool on_github = strcmp(origin->kind, "github") == 0;
    const char *other = on_github || strcmp(origin->kind, "list") == 0 ? origin->url : NULL;
    bool failed = false;
    for (size_t i = 0; i < MS_ORIGIN_KEYS; i++)
        ms_buf_init(&out[i], (size_t)1 << 20);
    *count = 0;
    (void)ms_buf_printf(&out[(*count)++], "%s:%s", origin->kind, origin->name);
    if (other && on_github)
        other = strncmp(other, github, sizeof github - 1) == 0 ? other + sizeof github - 1 : NULL;
    if (other && strcmp(other, origin->name) != 0)
        (void)ms_buf_printf(&out[(*count)++], "%s:%s", origin->kind, other);
    if (origin->remote_id)
        (void)ms_buf_printf(&out[(*count)++], "%s#%lld", origin->kind,
                            (long long)origin->remote_id);
    for (size_t i = 0; i < *count; i++)
        failed |= out[i].failed;
    return failed ? ms_error_set(err, MS_REJECT, "the name of an origin is too long") : MS_OK;
}

enum ms_status ms_origin_is_forgotten(struct ms_corpus *corpus, const struct ms_origin *origin,
                                      bool *found, struct ms_error *err)
{
    struct ms_buf keys[MS_ORIGIN_KEYS];
    size_t count;
    *found = false;
    enum ms_status status = ms_origin_keys(origin, keys, &count, err);
    for (size_t i = 0; i < count && status == MS_OK && !*found; i++)
        status = ms_tombstone_has(corpus, "origin", keys[i].data, keys[i].len, found, err);
    for (size_t i = 0; i < MS_ORIGIN_KEYS; i++)
        ms_buf_release(&keys[i]);
    return status;
}

static enum ms_status refuse_forgotten(struct ms_corpus *corpus, const struct ms_origin *origin,
                                       struct ms_error *err)
{
    bool found = false;
    enum ms_status status = ms_origin_is_forgotten(corpus, origin, &found, err);
    if (status == MS_OK && found)
        return ms_error_set(err, MS_REJECT, "the origin was removed by forget and stays out");
    return status;
}

/* A place that has become private was so for what is gone from it, too. */
static enum ms_status hide_sightings(struct ms_corpus *corpus, int64_t origin, struct ms_error *err)
{
    static const char *const sql[] = {
        "UPDATE sample SET private = 1 WHERE private = 0 AND id IN"
        " (SELECT sample FROM sighting WHERE origin = ?1 AND private = 0)",
        "UPDATE sighting SET private = 1 WHERE origin = ?1 AND private = 0"};
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < 2 && status == MS_OK; i++) {
        sqlite3_stmt *statement;
        status = ms_db_prepare(corpus, sql[i], &statement, err);
        if (status != MS_OK)
            break;
        ms_db_bind_int(statement, 1, origin);
        status = ms_db_run(corpus, statement, err);
    }
    return status;
}

enum ms_status ms_origin_open(struct ms_corpus *corpus, const struct ms_origin *origin, int64_t *id,
                              struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO origin (kind, name, ref, url, licence, claim, private)"
        " VALUES (?1, ?2, ?3, ?4, ?5, coalesce(?6, 'unknown'), ?7)"
        " ON CONFLICT (kind, name, ref) DO UPDATE SET url = coalesce(?4, url),"
        " licence = coalesce(?5, licence), claim = coalesce(?6, claim), private = ?7 RETURNING id";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = refuse_forgotten(corpus, origin, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, origin->kind);
    ms_db_bind_text(statement, 2, origin->name);
    ms_db_bind_text(statement, 3, origin->ref ? origin->ref : "");
    ms_db_bind_text(statement, 4, origin->url);
    ms_db_bind_text(statement, 5, origin->licence);
    ms_db_bind_text(statement, 6, origin->claim);
    ms_db_bind_int(statement, 7, origin->private_);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK && row)
        *id = ms_db_int(statement, 0, 0);
    ms_db_done(statement);
    return status == MS_OK && origin->private_ ? hide_sightings(corpus, *id, err) : status;
}

enum ms_status ms_origin_find(struct ms_corpus *corpus, const char *kind, const char *name,
                              const char *ref, bool *found, int64_t *id, struct ms_error *err)
{
    static const char sql[] = "SELECT id FROM origin WHERE kind = ?1 AND name = ?2 AND ref = ?3";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, kind);
    ms_db_bind_text(statement, 2, name);
    ms_db_bind_text(statement, 3, ref ? ref : "");
    status = ms_db_step(corpus, statement, found, err);
    if (status == MS_OK && *found)
        *id = ms_db_int(statement, 0, 0);
    ms_db_done(statement);
    return status;
}

static enum ms_status copy_origin(sqlite3_stmt *statement, struct ms_origin *out,
                                  struct ms_error *err)
{
    const struct {
        int column;
        const char **field;
    } texts[] = {{0, &out->kind},  {1, &out->name},    {2, &out->ref},
                 {3, &out->url},   {6, &out->licence}, {7, &out->claim},
                 {9, &out->state}, {10, &out->reason}, {12, &out->validator}};
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && status == MS_OK; i++)
        status = ms_db_copy_text(statement, texts[i].column, texts[i].field, err);
    struct ms_span commit = ms_db_blob(statement, 5);
    if (commit.data && commit.len <= sizeof out->commit_id) {
        out->has_commit = true;
        out->commit_bytes = (unsigned)commit.len;
        memcpy(out->commit_id, commit.data, commit.len);
    }
    out->remote_id = ms_db_int(statement, 4, 0);
    out->private_ = ms_db_int(statement, 8, 0) != 0;
    out->checked_ms = ms_db_int(statement, 11, 0);
    out->history = ms_db_int(statement, 13, 0) != 0;
    return status;
}

enum ms_status ms_origin_get(struct ms_corpus *corpus, int64_t id, struct ms_origin *out,
                             struct ms_error *err)
{
    static const char sql[] =
        "SELECT kind, name, ref, url, remote_id, commit_id, licence, claim,"
        " private, state, reason, checked_ms, validator, history FROM origin WHERE id = ?1";
    sqlite3_stmt *statement;
    bool row = false;
    struct ms_origin origin = {.id = id};
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, id);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK)
        status = row ? copy_origin(statement, &origin, err)
                     : ms_error_set(err, MS_REJECT, "no origin with this id in the corpus");
    ms_db_done(statement);
    if (status == MS_OK)
        *out = origin;
    else
        ms_origin_release(&origin);
    return status;
}

void ms_origin_release(struct ms_origin *self)
{
    const char *texts[] = {self->kind,  self->name,  self->ref,    self->url,      self->licence,
                           self->claim, self->state, self->reason, self->validator};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ms_text_free(texts[i]);
    *self = (struct ms_origin){0};
}

enum ms_status ms_origin_update(struct ms_corpus *corpus, const struct ms_origin *origin,
                                struct ms_error *err)
{
    static const char sql[] =
        "UPDATE origin SET remote_id = ?2, commit_id = ?3, state = coalesce(?4, state),"
        " reason = ?5, checked_ms = ?6, validator = ?7, history = ?8 WHERE id = ?1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK && origin->has_commit && origin->commit_bytes > sizeof origin->commit_id)
        status = ms_error_set(err, MS_E_BUG, "a commit id of %u bytes", origin->commit_bytes);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin->id);
    ms_db_bind_nonzero(statement, 2, origin->remote_id);
    ms_db_bind_blob(statement, 3, origin->has_commit ? origin->commit_id : NULL,
                    origin->commit_bytes);
    ms_db_bind_text(statement, 4, origin->state);
    ms_db_bind_text(statement, 5, origin->reason);
    ms_db_bind_nonzero(statement, 6, origin->checked_ms);
    ms_db_bind_text(statement, 7, origin->validator);
    ms_db_bind_int(statement, 8, origin->history);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_origin_checked(struct ms_corpus *corpus, int64_t id, int64_t now_ms,
                                 struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, "UPDATE origin SET checked_ms = ?2 WHERE id = ?1",
                               &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, id);
    ms_db_bind_int(statement, 2, now_ms);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_origin_password_used(struct ms_corpus *corpus, int64_t origin,
                                       struct ms_span password, struct ms_error *err)
{
    static const char sql[] = "INSERT INTO origin_password (origin, password) VALUES (?1, ?2)"
                              " ON CONFLICT (origin, password) DO UPDATE SET uses = uses + 1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    ms_db_bind_blob(statement, 2, password.data ? (const void *)password.data : "", password.len);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_origin_foreach_password(struct ms_corpus *corpus, int64_t origin,
                                          ms_span_visit visit, void *ctx, struct ms_error *err)
{
    static const char sql[] = "SELECT password FROM origin_password WHERE origin = ?1"
                              " ORDER BY uses DESC, password";
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

enum ms_status ms_tree_replace_begin(struct ms_corpus *corpus, int64_t origin, struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, "DELETE FROM tree_entry WHERE origin = ?1", &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_tree_put(struct ms_corpus *corpus, int64_t origin, struct ms_span path,
                           const uint8_t git_id[20], int64_t size, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO tree_entry (origin, path, git_id, size) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT (origin, path) DO UPDATE SET git_id = ?3, size = ?4";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    ms_db_bind_blob(statement, 2, path.data ? (const void *)path.data : "", path.len);
    ms_db_bind_blob(statement, 3, git_id, 20);
    ms_db_bind_known(statement, 4, size);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_tree_put_set(struct ms_corpus *corpus, int64_t origin, struct ms_span path,
                               const uint8_t set_id[20], struct ms_error *err)
{
    static const char sql[] = "UPDATE tree_entry SET set_id = ?3 WHERE origin = ?1 AND path = ?2";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    ms_db_bind_blob(statement, 2, path.data ? (const void *)path.data : "", path.len);
    ms_db_bind_blob(statement, 3, set_id, 20);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_tree_replace_end(struct ms_corpus *corpus, int64_t origin, int64_t now_ms,
                                   struct ms_error *err)
{
    static const char gone[] =
        "UPDATE sighting SET gone_ms = ?2 WHERE origin = ?1 AND gone_ms IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM tree_entry t WHERE t.origin = ?1 AND t.path = sighting.path"
        " AND sighting.git_blob IN (t.git_id, t.set_id))";
    static const char back[] =
        "UPDATE sighting SET gone_ms = NULL WHERE origin = ?1 AND gone_ms IS NOT NULL AND ?2 IS ?2"
        " AND EXISTS (SELECT 1 FROM tree_entry t WHERE t.origin = ?1 AND t.path = sighting.path"
        " AND sighting.git_blob IN (t.git_id, t.set_id))";
    const char *const both[] = {gone, back};
    enum ms_status status = ms_db_need_transaction(corpus, err);
    for (size_t i = 0; i < 2 && status == MS_OK; i++) {
        sqlite3_stmt *statement;
        status = ms_db_prepare(corpus, both[i], &statement, err);
        if (status != MS_OK)
            break;
        ms_db_bind_int(statement, 1, origin);
        ms_db_bind_int(statement, 2, now_ms);
        status = ms_db_run(corpus, statement, err);
    }
    return status;
}

enum ms_status ms_tree_foreach(struct ms_corpus *corpus, int64_t origin, ms_tree_visit visit,
                               void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT path, git_id, size FROM tree_entry WHERE origin = ?1 ORDER BY path";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, origin);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_span git_id = ms_db_blob(statement, 1);
        if (git_id.len == 20)
            status =
                visit(ctx, ms_db_blob(statement, 0), git_id.data, ms_db_int(statement, 2, -1), err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}
