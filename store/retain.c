/* Retention rules as statements, and the removal by pieces: rows first, then objects. */
#include "store/retain.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/step.h"
#include "base/stop.h"
#include "store/internal.h"
#include "store/vault_group.h"

#include <string.h>

/* Objects between two commits. */
enum { PIECE = 256 };

#define DAY_MS ((int64_t)86400000)
/* A clock that steps by more than GAP_MS is taken for a wrong one, until runs of SETTLED_MS ago say
 * the same: a night's own runs went by the same clock, and so did those of the nights before. */
#define GAP_MS (90 * DAY_MS)
#define SETTLED_MS (7 * DAY_MS)

/* A program's time runs from the first run that met its bytes, which a sighting says: its row may
 * be years older, made of a list of hashes or a data set. The first by number and not by time: one
 * night with a clock behind, before the network set it, would make whatever it meets again decades
 * old. The row's own run stands for it where the places were forgotten; where no time is known,
 * nothing is given up. */
#define STORED                                                                                  \
    "SELECT s.id, s.sha256, coalesce(s.size, -1) FROM sample s LEFT JOIN run r ON r.id = s.run" \
    " WHERE s.vaulted = 1 AND s.sha256 IS NOT NULL AND s.id > ?2"                               \
    " AND coalesce((SELECT q.started_ms FROM sighting g JOIN run q ON q.id = g.run"             \
    "  WHERE g.sample = s.id ORDER BY q.id LIMIT 1), r.started_ms) < ?1"                        \
    " AND NOT EXISTS (SELECT 1 FROM analysis a"                                                 \
    "  WHERE a.sample = s.id AND a.state IN ('queued', 'submitting', 'pending', 'running',"     \
    "  'completed', 'reported'))"
#define LABEL(WORDS) \
    "EXISTS (SELECT 1 FROM label l WHERE l.sample = s.id AND l.current = 1 AND l.verdict " WORDS ")"
/* Nobody may be asked about what is private, and an answer may still come for what waits or failed:
 * that these have no label says nothing. */
#define ASKED                                                                         \
    " AND s.private = 0 AND NOT EXISTS (SELECT 1 FROM lookup u WHERE u.sample = s.id" \
    " AND u.state IN ('pending', 'error'))"

/* Row, digest, bytes of what a rule takes: ?1 is the time before which, ?2 the row behind which. */
static const char *const select_sql[] = {
    [MS_RETAIN_REPORTS] = "SELECT id, report_sha256, coalesce(report_bytes, -1) FROM analysis"
                          " WHERE state = 'ok' AND id > ?2 AND report_sha256 IS NOT NULL"
                          " AND report_gone_ms IS NULL AND updated_ms < ?1 ORDER BY id LIMIT ?3",
    [MS_RETAIN_BENIGN] = STORED " AND " LABEL("= 'benign'") " AND NOT " LABEL(
        "IN ('malicious', 'grayware', 'uncertain')") " ORDER BY s.id LIMIT ?3",
    [MS_RETAIN_UNLABELLED] = STORED ASKED
    " AND NOT " LABEL("NOT IN ('not_found', 'immature')") " ORDER BY s.id LIMIT ?3"};
static const char *const update_sql[] = {
    [MS_RETAIN_REPORTS] = "UPDATE analysis SET report_gone_ms = ?2 WHERE id = ?1",
    [MS_RETAIN_BENIGN] = "UPDATE sample SET vaulted = 0, bytes_gone_ms = ?2 WHERE id = ?1",
    [MS_RETAIN_UNLABELLED] = "UPDATE sample SET vaulted = 0, bytes_gone_ms = ?2 WHERE id = ?1"};

struct piece {
    size_t count;
    struct item {
        int64_t id, bytes;
    } items[PIECE];
    struct ms_vault_object objects[PIECE]; /* of the items */
};

static enum ms_vault_kind kind_of(enum ms_retain_rule rule)
{
    return rule == MS_RETAIN_REPORTS ? MS_VAULT_REPORT : MS_VAULT_SAMPLE;
}

static enum ms_status read_piece(struct ms_corpus *corpus, enum ms_retain_rule rule,
                                 int64_t before_ms, int64_t after, struct piece *out,
                                 struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    out->count = 0;
    enum ms_status status = ms_db_prepare(corpus, select_sql[rule], &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, before_ms);
    ms_db_bind_int(statement, 2, after);
    ms_db_bind_int(statement, 3, PIECE);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        struct item *item = &out->items[out->count];
        struct ms_vault_object *object = &out->objects[out->count++];
        struct ms_span digest = ms_db_blob(statement, 1);
        item->id = ms_db_int(statement, 0, 0);
        item->bytes = ms_db_int(statement, 2, -1);
        *object = (struct ms_vault_object){.kind = kind_of(rule)};
        if (digest.len == sizeof object->sha256)
            memcpy(object->sha256, digest.data, digest.len);
    }
    ms_db_done(statement);
    return status;
}

static enum ms_status mark_piece(struct ms_corpus *corpus, enum ms_retain_rule rule,
                                 const struct piece *piece, int64_t now_ms, struct ms_error *err)
{
    enum ms_status status = ms_corpus_begin(corpus, err);
    for (size_t i = 0; i < piece->count && status == MS_OK; i++) {
        sqlite3_stmt *statement;
        status = ms_db_prepare_write(corpus, update_sql[rule], &statement, err);
        if (status != MS_OK)
            break;
        ms_db_bind_int(statement, 1, piece->items[i].id);
        ms_db_bind_int(statement, 2, now_ms);
        status = ms_db_run(corpus, statement, err);
    }
    ms_step("store.retain.marked");
    if (status == MS_OK)
        return ms_corpus_commit(corpus, err);
    ms_corpus_rollback(corpus);
    return status;
}

/* All pieces; with `now_ms` they are given up, with 0 only visited. */
static enum ms_status walk(struct ms_corpus *corpus, enum ms_retain_rule rule, int64_t before_ms,
                           int64_t now_ms, ms_retain_visit visit, void *ctx, struct ms_error *err)
{
    static struct piece piece;
    int64_t after = 0;
    enum ms_status status = MS_OK;
    do {
        if (ms_stop_signal() != 0)
            return ms_error_set(err, MS_E_LATER, "stopped; the next run goes on from here");
        status = read_piece(corpus, rule, before_ms, after, &piece, err);
        if (status == MS_OK && now_ms && piece.count)
            status = mark_piece(corpus, rule, &piece, now_ms, err);
        if (status == MS_OK && now_ms)
            status = ms_vault_remove_all(corpus, piece.objects, piece.count, err);
        for (size_t i = 0; i < piece.count && status == MS_OK; i++) {
            const struct item *item = &piece.items[i];
            after = item->id;
            status = visit(ctx, kind_of(rule), piece.objects[i].sha256, item->bytes, err);
        }
    } while (status == MS_OK && piece.count == PIECE);
    return status;
}

enum ms_status ms_retain_check_clock(struct ms_corpus *corpus, int64_t now_ms, struct ms_error *err)
{
    /* By id and not by time: what was written last, whatever the clock said before. */
    static const char sql[] = "SELECT started_ms FROM run WHERE started_ms NOT BETWEEN ?1 AND ?2"
                              " ORDER BY id DESC LIMIT 1";
    char then[32];
    sqlite3_stmt *statement;
    bool row = false;
    int64_t last_ms = now_ms;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, now_ms - SETTLED_MS);
    ms_db_bind_int(statement, 2, now_ms + DAY_MS);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK && row)
        last_ms = ms_db_int(statement, 0, now_ms);
    ms_db_done(statement);
    if (status != MS_OK || (last_ms <= now_ms && now_ms - last_ms <= GAP_MS))
        return status;
    ms_clock_format(last_ms, then);
    return ms_error_set(err, MS_E_INPUT,
                        "the clock and the corpus's runs do not agree (one began %s), and what is "
                        "given up is gone for good: nothing is given up; see 'malseq doctor'. "
                        "Where the clock is right, runs of any tool settle it in %lld days",
                        then, (long long)(SETTLED_MS / DAY_MS));
}

enum ms_status ms_retain_foreach(struct ms_corpus *corpus, enum ms_retain_rule rule,
                                 int64_t before_ms, ms_retain_visit visit, void *ctx,
                                 struct ms_error *err)
{
    return walk(corpus, rule, before_ms, 0, visit, ctx, err);
}

enum ms_status ms_retain_run(struct ms_corpus *corpus, enum ms_retain_rule rule, int64_t before_ms,
                             int64_t now_ms, ms_retain_visit visit, void *ctx, struct ms_error *err)
{
    return walk(corpus, rule, before_ms, now_ms, visit, ctx, err);
}
