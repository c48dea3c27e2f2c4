/* Scans, look-up states and labels. What a scan means: label/. The quota ledger: quota.c. */
#include "store/label.h"

#include "base/arena.h"
#include "base/hash.h"
#include "base/zstd.h"
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

/* An answer of VirusTotal has 30 to 300 KB of repeating keys. */
enum { SCAN_ZSTD_LEVEL = 9 };
/* One look-up's texts are below 200 bytes: room for 5 million due at once. */
#define LOOKUP_ARENA_BYTES ((size_t)1 << 30)

enum ms_status ms_scan_insert(struct ms_corpus *corpus, const struct ms_scan *scan, int64_t run,
                              int64_t *id, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO scan (sample, source, asked, fetched_ms, last_analysis_ms,"
        " first_submission_ms, body_sha256, body, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    uint8_t digest[MS_SHA256_BYTES];
    struct ms_buf packed;
    sqlite3_stmt *statement;
    ms_buf_init(&packed, (size_t)1 << 30);
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK && ms_hash_sha256(scan->body.data, scan->body.len, digest) != MS_OK)
        status = ms_error_set(err, MS_E_BUG, "the hash library failed");
    if (status == MS_OK)
        status = ms_zstd_compress(scan->body.data, scan->body.len, SCAN_ZSTD_LEVEL, &packed, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK) {
        ms_db_bind_int(statement, 1, scan->sample);
        ms_db_bind_text(statement, 2, scan->source);
        ms_db_bind_text(statement, 3, scan->asked);
        ms_db_bind_int(statement, 4, scan->fetched_ms);
        ms_db_bind_nonzero(statement, 5, scan->last_analysis_ms);
        ms_db_bind_nonzero(statement, 6, scan->first_submission_ms);
        ms_db_bind_blob(statement, 7, digest, sizeof digest);
        ms_db_bind_blob(statement, 8, packed.data, packed.len);
        ms_db_bind_nonzero(statement, 9, run);
        status = ms_db_run(corpus, statement, err);
    }
    if (status == MS_OK)
        *id = ms_db_last_id(corpus);
    ms_buf_release(&packed);
    return status;
}

static enum ms_status read_scan(sqlite3_stmt *statement, struct ms_scan *out, struct ms_buf *body,
                                struct ms_error *err)
{
    struct ms_span packed = ms_db_blob(statement, 4);
    size_t before = body->len;
    *out = (struct ms_scan){.id = ms_db_int(statement, 0, 0),
                            .fetched_ms = ms_db_int(statement, 1, 0),
                            .last_analysis_ms = ms_db_int(statement, 2, 0),
                            .first_submission_ms = ms_db_int(statement, 3, 0)};
    enum ms_status status = ms_zstd_decompress(packed.data, packed.len, body, err);
    if (status == MS_REJECT) {
        ms_error_prepend(err, "scan %lld of the corpus", (long long)out->id);
        if (err)
            err->status = MS_E_STORE;
        return MS_E_STORE;
    }
    out->body = ms_span_of(body->data + before, body->len - before);
    return status;
}

enum ms_status ms_scan_latest(struct ms_corpus *corpus, int64_t sample, int64_t as_of_ms,
                              struct ms_scan *out, struct ms_buf *body, struct ms_error *err)
{
    static const char sql[] = "SELECT id, fetched_ms, last_analysis_ms, first_submission_ms, body"
                              " FROM scan WHERE sample = ?1 AND (?2 = 0 OR fetched_ms <= ?2)"
                              " ORDER BY fetched_ms DESC, id DESC LIMIT 1";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_int(statement, 2, as_of_ms);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK)
        status = row ? read_scan(statement, out, body, err)
                     : ms_error_set(err, MS_REJECT, "no scan of this sample in the corpus");
    ms_db_done(statement);
    if (status == MS_OK)
        out->sample = sample;
    return status;
}

enum ms_status ms_lookup_enqueue_all(struct ms_corpus *corpus, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO lookup (sample, state) SELECT id, 'pending' FROM sample s WHERE private = 0"
        " AND (sha256 IS NOT NULL OR sha1 IS NOT NULL OR md5 IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM lookup l WHERE l.sample = s.id)";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    return status == MS_OK ? ms_db_run(corpus, statement, err) : status;
}

enum ms_status ms_lookup_put(struct ms_corpus *corpus, const struct ms_lookup *lookup,
                             struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO lookup (sample, state, reason, tries, asked_ms, due_ms)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (sample) DO UPDATE SET state = ?2,"
        " reason = ?3, tries = ?4, asked_ms = ?5, due_ms = ?6";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, lookup->sample);
    ms_db_bind_text(statement, 2, lookup->state);
    ms_db_bind_text(statement, 3, lookup->reason);
    ms_db_bind_int(statement, 4, lookup->tries);
    ms_db_bind_nonzero(statement, 5, lookup->asked_ms);
    ms_db_bind_int(statement, 6, lookup->due_ms);
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
                                   .due_ms = ms_db_int(statement, 5, 0)}};
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

enum ms_status ms_lookup_foreach_due(struct ms_corpus *corpus, int64_t now_ms, uint64_t limit,
                                     ms_lookup_visit visit, void *ctx, struct ms_error *err)
{
    static const char sql[] =
        "SELECT l.sample, l.state, l.reason, l.tries, l.asked_ms, l.due_ms,"
        " coalesce(s.sha256, s.sha1, s.md5) FROM lookup l JOIN sample s ON s.id = l.sample"
        " WHERE l.due_ms <= ?1 AND l.state <> 'invalid' AND s.private = 0"
        " AND coalesce(s.sha256, s.sha1, s.md5) IS NOT NULL"
        " ORDER BY l.asked_ms IS NOT NULL, l.due_ms, l.sample LIMIT ?2";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, now_ms);
    ms_db_bind_int(statement, 2, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    return visit_lookups(corpus, statement, visit, ctx, err);
}

enum ms_status ms_lookup_foreach(struct ms_corpus *corpus, ms_lookup_visit visit, void *ctx,
                                 struct ms_error *err)
{
    static const char sql[] =
        "SELECT l.sample, l.state, l.reason, l.tries, l.asked_ms, l.due_ms,"
        " coalesce(s.sha256, s.sha1, s.md5) FROM lookup l JOIN sample s ON s.id = l.sample"
        " WHERE s.private = 0 AND coalesce(s.sha256, s.sha1, s.md5) IS NOT NULL ORDER BY l.sample";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    return status == MS_OK ? visit_lookups(corpus, statement, visit, ctx, err) : status;
}

enum ms_status ms_lookup_get(struct ms_corpus *corpus, int64_t sample, bool *found,
                             struct ms_lookup *out, struct ms_error *err)
{
    static const char sql[] = "SELECT state, tries, asked_ms, due_ms FROM lookup WHERE sample = ?1";
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
                                  .due_ms = ms_db_int(statement, 3, 0)};
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

/* Binds 1 to 14, the fields two labels are compared by. */
static void bind_label(sqlite3_stmt *statement, const struct ms_label *label)
{
    ms_db_bind_int(statement, 1, label->sample);
    ms_db_bind_text(statement, 2, label->policy);
    ms_db_bind_text(statement, 3, label->verdict);
    ms_db_bind_text(statement, 4, label->class_);
    ms_db_bind_text(statement, 5, label->family);
    ms_db_bind_text(statement, 6, label->votes_json);
    ms_db_bind_known(statement, 7, label->margin);
    ms_db_bind_known(statement, 8, label->positives);
    ms_db_bind_known(statement, 9, label->responding);
    ms_db_bind_known(statement, 10, label->groups);
    ms_db_bind_text(statement, 11, label->vt_category);
    ms_db_bind_int(statement, 12, label->as_of_ms);
    ms_db_bind_nonzero(statement, 13, label->scan);
}

static enum ms_status is_current(struct ms_corpus *corpus, const struct ms_label *label, bool *same,
                                 struct ms_error *err)
{
    static const char sql[] =
        "SELECT 1 FROM label WHERE sample = ?1 AND policy = ?2 AND current = 1 AND verdict IS ?3"
        " AND class IS ?4 AND family IS ?5 AND votes IS ?6 AND margin IS ?7 AND positives IS ?8"
        " AND responding IS ?9 AND groups IS ?10 AND vt_category IS ?11 AND as_of_ms IS ?12"
        " AND scan IS ?13";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    bind_label(statement, label);
    status = ms_db_step(corpus, statement, same, err);
    ms_db_done(statement);
    return status;
}

static enum ms_status supersede(struct ms_corpus *corpus, const struct ms_label *label,
                                struct ms_error *err)
{
    static const char sql[] = "UPDATE label SET current = 0 WHERE sample = ?1 AND policy = ?2"
                              " AND current = 1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, label->sample);
    ms_db_bind_text(statement, 2, label->policy);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_label_put(struct ms_corpus *corpus, const struct ms_label *label, int64_t now_ms,
                            int64_t run, bool *changed, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO label (sample, policy, verdict, class, family, votes, margin, positives,"
        " responding, groups, vt_category, as_of_ms, scan, made_ms, run)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    sqlite3_stmt *statement;
    bool same = false;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = is_current(corpus, label, &same, err);
    if (status == MS_OK && !same)
        status = supersede(corpus, label, err);
    if (status == MS_OK && !same)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK && !same) {
        bind_label(statement, label);
        ms_db_bind_int(statement, 14, now_ms);
        ms_db_bind_nonzero(statement, 15, run);
        status = ms_db_run(corpus, statement, err);
    }
    if (status == MS_OK)
        *changed = !same;
    return status;
}

static enum ms_status copy_label(sqlite3_stmt *statement, struct ms_label *out,
                                 struct ms_error *err)
{
    const char **texts[] = {&out->policy, &out->verdict,    &out->class_,
                            &out->family, &out->votes_json, &out->vt_category};
    enum ms_status status = MS_OK;
    for (int i = 0; i < 6 && status == MS_OK; i++)
        status = ms_db_copy_text(statement, 1 + i, texts[i], err);
    out->id = ms_db_int(statement, 0, 0);
    out->margin = ms_db_int(statement, 7, -1);
    out->positives = ms_db_int(statement, 8, -1);
    out->responding = ms_db_int(statement, 9, -1);
    out->groups = ms_db_int(statement, 10, -1);
    out->as_of_ms = ms_db_int(statement, 11, 0);
    out->scan = ms_db_int(statement, 12, 0);
    return status;
}

enum ms_status ms_label_get(struct ms_corpus *corpus, int64_t sample, const char *policy,
                            struct ms_label *out, struct ms_error *err)
{
    static const char sql[] =
        "SELECT id, policy, verdict, class, family, votes, vt_category, margin, positives,"
        " responding, groups, as_of_ms, scan FROM label"
        " WHERE sample = ?1 AND policy = ?2 AND current = 1";
    sqlite3_stmt *statement;
    bool row = false;
    struct ms_label label = {.sample = sample};
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_text(statement, 2, policy);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK)
        status = row ? copy_label(statement, &label, err)
                     : ms_error_set(err, MS_REJECT, "the sample has no label under this policy");
    ms_db_done(statement);
    if (status == MS_OK)
        *out = label;
    else
        ms_label_release(&label);
    return status;
}

void ms_label_release(struct ms_label *self)
{
    const char *texts[] = {self->policy, self->verdict,    self->class_,
                           self->family, self->votes_json, self->vt_category};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ms_text_free(texts[i]);
    *self = (struct ms_label){0};
}
