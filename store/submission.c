/* Rows behind new analyses and uploads. Which of them are sent: label/rescan and label/upload. */
#include "store/submission.h"

#include "base/limits.h"
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

enum ms_status ms_rescan_foreach(struct ms_corpus *corpus, const struct ms_rescan_terms *terms,
                                 ms_sample_visit visit, void *ctx, struct ms_error *err)
{
    /* A contested label rests on one scan that contradicts it: only another one can settle it. */
    static const char sql[] =
        "SELECT b.sample FROM label b JOIN lookup l ON l.sample = b.sample"
        " JOIN sample s ON s.id = b.sample JOIN (SELECT sample, max(last_analysis_ms) AS analysed,"
        " max(first_submission_ms) AS submitted FROM scan GROUP BY sample) c ON c.sample = b.sample"
        " WHERE b.policy = ?1 AND b.current = 1 AND s.private = 0 AND l.state = 'labelled'"
        " AND coalesce(s.sha256, s.sha1, s.md5) IS NOT NULL"
        " AND (l.rescan_ms IS NULL OR l.rescan_ms <= ?4)"
        " AND ((b.verdict = 'immature' AND c.submitted > 0 AND c.submitted <= ?2)"
        " OR ((b.verdict = 'uncertain' OR b.contested IS NOT NULL)"
        " AND coalesce(c.analysed, 0) <= ?3))"
        " ORDER BY b.verdict <> 'immature', c.analysed, b.sample";
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, terms->policy);
    ms_db_bind_int(statement, 2, terms->submitted_before_ms);
    ms_db_bind_int(statement, 3, terms->analysed_before_ms);
    ms_db_bind_int(statement, 4, terms->rescanned_before_ms);
    status = ms_ids_collect(corpus, statement, &ids, err);
    for (size_t i = 0; i < ids.count && status == MS_OK; i++)
        status = visit(ctx, ids.items[i], err);
    ms_ids_release(&ids);
    return status;
}

/* One sample's facts; false when it is no candidate any more. */
static enum ms_status read_upload(struct ms_corpus *corpus, int64_t sample, bool *found,
                                  struct ms_upload *out, struct ms_error *err)
{
    static const char sql[] =
        "SELECT s.sha256, s.size, s.private OR coalesce(max(g.private OR o.private), 0),"
        " coalesce(max(g.claim = 'benign' OR o.claim = 'benign'), 0), count(g.id),"
        " ' ' || coalesce(s.flags, '') || ' ' LIKE '% truncated %'"
        " FROM sample s LEFT JOIN sighting g ON g.sample = s.id LEFT JOIN origin o"
        " ON o.id = g.origin WHERE s.id = ?1 GROUP BY s.id";
    static const char sent[] =
        "SELECT sent_ms, status FROM request WHERE endpoint = '" MS_ENDPOINT_UPLOAD "'"
        " AND subject = ?1 AND status IN (200, 400, 409, 413) ORDER BY id DESC LIMIT 1";
    char hex[MS_HASH_HEX_MAX];
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    status = ms_db_step(corpus, statement, found, err);
    if (status == MS_OK && *found) {
        struct ms_span sha256 = ms_db_blob(statement, 0);
        *out = (struct ms_upload){.sample = sample,
                                  .size = ms_db_int(statement, 1, -1),
                                  .private_ = ms_db_int(statement, 2, 1) != 0,
                                  .benign = ms_db_int(statement, 3, 1) != 0,
                                  .sighted = ms_db_int(statement, 4, 0) > 0,
                                  .truncated = ms_db_int(statement, 5, 1) != 0};
        *found = sha256.len == sizeof out->sha256;
        if (*found)
            memcpy(out->sha256, sha256.data, sizeof out->sha256);
    }
    ms_db_done(statement);
    if (status != MS_OK || !*found)
        return status;
    bool row = false;
    ms_hex_encode(out->sha256, sizeof out->sha256, hex);
    status = ms_db_prepare(corpus, sent, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, hex);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK && row) {
        out->sent_ms = ms_db_int(statement, 0, 0);
        out->sent_status = (int)ms_db_int(statement, 1, 0);
    }
    ms_db_done(statement);
    return status;
}

enum ms_status ms_upload_foreach(struct ms_corpus *corpus, ms_upload_visit visit, void *ctx,
                                 struct ms_error *err)
{
    static const char sql[] =
        "SELECT s.id FROM sample s JOIN lookup l ON l.sample = s.id WHERE l.state = 'not_found'"
        " AND s.vaulted = 1 AND s.sha256 IS NOT NULL ORDER BY s.id";
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK)
        status = ms_ids_collect(corpus, statement, &ids, err);
    for (size_t i = 0; i < ids.count && status == MS_OK; i++) {
        struct ms_upload upload;
        bool found = false;
        status = read_upload(corpus, ids.items[i], &found, &upload, err);
        if (status == MS_OK && found)
            status = visit(ctx, &upload, err);
    }
    ms_ids_release(&ids);
    return status;
}

enum ms_status ms_lookup_expect(struct ms_corpus *corpus, int64_t sample, const char *state,
                                const char *reason, int64_t now_ms, int64_t due_ms,
                                struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO lookup (sample, state, reason, due_ms, rescan_ms)"
        " VALUES (?1, coalesce(?2, 'pending'), ?3, ?5, ?4) ON CONFLICT (sample) DO UPDATE SET"
        " state = coalesce(?2, state), reason = CASE WHEN ?2 IS NULL THEN reason ELSE ?3 END,"
        " tries = CASE WHEN coalesce(?2, state) = state THEN tries ELSE 0 END,"
        " due_ms = ?5, rescan_ms = ?4";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_text(statement, 2, state);
    ms_db_bind_text(statement, 3, state ? reason : NULL);
    ms_db_bind_int(statement, 4, now_ms);
    ms_db_bind_int(statement, 5, due_ms);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_lookup_explain(struct ms_corpus *corpus, int64_t sample, const char *reason,
                                 struct ms_error *err)
{
    static const char sql[] = "UPDATE lookup SET reason = ?2 WHERE sample = ?1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_text(statement, 2, reason);
    return ms_db_run(corpus, statement, err);
}

/* A request whose outcome is open. */
struct open_request {
    char subject[MS_HASH_HEX_MAX];
    int64_t sent_ms;
};

struct open_requests {
    struct open_request *items;
    size_t count, cap;
};

static enum ms_status push_open(struct open_requests *self, const char *subject, int64_t sent_ms,
                                struct ms_error *err)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        struct open_request *longer = realloc(self->items, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->items = longer;
        self->cap = cap;
    }
    struct open_request *item = &self->items[self->count++];
    *item = (struct open_request){.sent_ms = sent_ms};
    memcpy(item->subject, subject, strnlen(subject, sizeof item->subject - 1));
    return MS_OK;
}

/* The newest request of each subject that a statement gives, run on by `mend` for its sample. */
static enum ms_status
mend_all(struct ms_corpus *corpus, const char *sql, int64_t since_ms, int64_t wait_ms,
         enum ms_status (*mend)(struct ms_corpus *, int64_t, int64_t, int64_t, struct ms_error *),
         uint64_t *count, struct ms_error *err)
{
    struct open_requests open = {NULL, 0, 0};
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, since_ms);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        const char *subject = ms_db_text(statement, 0);
        status = push_open(&open, subject ? subject : "", ms_db_int(statement, 1, 0), err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    for (size_t i = 0; i < open.count && status == MS_OK; i++) {
        int64_t sample = 0;
        status = ms_sample_find(corpus, open.items[i].subject, &sample, err);
        if (status == MS_OK) {
            status = mend(corpus, sample, open.items[i].sent_ms, wait_ms, err);
            if (status == MS_OK)
                *count += ms_db_changes(corpus) > 0;
        } else if (status == MS_REJECT) { /* forgotten since */
            status = MS_OK;
        }
    }
    free(open.items);
    return status;
}

static enum ms_status mend_upload(struct ms_corpus *corpus, int64_t sample, int64_t sent_ms,
                                  int64_t wait_ms, struct ms_error *err)
{
    static const char sql[] =
        "UPDATE lookup SET state = 'pending', reason = 'an upload of it was cut short', tries = 0,"
        " due_ms = 0, rescan_ms = ?2 WHERE sample = ?1 AND state = 'not_found'";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    (void)wait_ms;
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_int(statement, 2, sent_ms);
    return ms_db_run(corpus, statement, err);
}

static enum ms_status mend_rescan(struct ms_corpus *corpus, int64_t sample, int64_t sent_ms,
                                  int64_t wait_ms, struct ms_error *err)
{
    static const char sql[] =
        "UPDATE lookup SET rescan_ms = ?2, due_ms = min(due_ms, ?2 + ?3) WHERE sample = ?1"
        " AND state = 'labelled' AND coalesce(rescan_ms, 0) < ?2";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_int(statement, 2, sent_ms);
    ms_db_bind_int(statement, 3, wait_ms);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_submission_recover(struct ms_corpus *corpus, int64_t since_ms, int64_t wait_ms,
                                     uint64_t *count, struct ms_error *err)
{
    /* By the order of the rows, not by time: the clock may have been set back between. An answer of
     * the look-up that came after an upload makes an end of the doubt. */
    static const char uploads[] =
        "WITH u AS (SELECT subject, max(id) AS id, max(sent_ms) AS sent_ms FROM request"
        " WHERE endpoint = '" MS_ENDPOINT_UPLOAD "' AND sent_ms >= ?1"
        " AND coalesce(status, 0) NOT IN (400, 401, 403, 404, 413, 429) GROUP BY subject),"
        " f AS (SELECT subject, max(id) AS id FROM request WHERE endpoint = 'files'"
        " AND status IN (200, 404) AND subject IN (SELECT subject FROM u) GROUP BY subject)"
        " SELECT u.subject, u.sent_ms FROM u LEFT JOIN f ON f.subject = u.subject"
        " WHERE f.id IS NULL OR f.id < u.id";
    static const char rescans[] =
        "SELECT subject, max(sent_ms) FROM request WHERE endpoint = '" MS_ENDPOINT_ANALYSE "'"
        " AND sent_ms >= ?1 AND (status IS NULL OR status IN (200, 409)) GROUP BY subject";
    *count = 0;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = mend_all(corpus, uploads, since_ms, wait_ms, mend_upload, count, err);
    if (status == MS_OK)
        status = mend_all(corpus, rescans, since_ms, wait_ms, mend_rescan, count, err);
    return status;
}
