/* The counts behind malseq status: one static statement a section, columns name and count. None
 * reads a table that grows with the samples: those are counted by triggers. */
#include "store/census.h"

#include "base/clock.h"
#include "store/internal.h"
#include "store/label.h"

#include <stdio.h>
#include <string.h>

#define DAY_MS ((int64_t)86400000)

static const struct {
    const char *section;
    const char *sql;
} sections[] = {
    {"samples", "SELECT 'all', samples FROM total UNION ALL"
                " SELECT 'vaulted', vaulted FROM total UNION ALL"
                " SELECT 'private', private FROM total"},
    {"coverage",
     "SELECT 'stored', vaulted FROM total UNION ALL"
     " SELECT * FROM (SELECT 'labelled ' || name, sum(n) FROM tally WHERE what = 'label'"
     "  GROUP BY name HAVING sum(n) > 0 ORDER BY name) UNION ALL"
     " SELECT 'detonated', detonated FROM total UNION ALL SELECT 'traced', traced FROM total"
     " UNION ALL SELECT 'never submitted', unsubmitted FROM total"},
    {"origins", "SELECT state, count(*) FROM origin GROUP BY state ORDER BY state"},
    {"sightings", "SELECT 'present', sightings - sightings_gone FROM total UNION ALL"
                  " SELECT 'gone', sightings_gone FROM total"},
    {"blobs", "SELECT name, n FROM tally WHERE what = 'blob' AND n > 0 ORDER BY name"},
    {"lookups", "SELECT name, n FROM tally WHERE what = 'lookup' AND n > 0 ORDER BY name"},
    {"labels", "SELECT name || ' ' || detail, sum(n) FROM tally WHERE what = 'label'"
               " GROUP BY name, detail HAVING sum(n) > 0 ORDER BY name, detail"},
    {"classes", "SELECT name || ' ' || class, sum(n) FROM tally WHERE what = 'label'"
                " AND class <> '' GROUP BY name, class HAVING sum(n) > 0 ORDER BY name, class"},
    {"analyses", "SELECT detail, sum(n) FROM tally WHERE what = 'analysis'"
                 " GROUP BY detail HAVING sum(n) > 0 ORDER BY detail"},
    {"sandboxes", "SELECT name, sum(n) FROM tally WHERE what = 'analysis'"
                  " GROUP BY name HAVING sum(n) > 0 ORDER BY name"},
    {"traces", "SELECT 'processes', processes FROM total UNION ALL"
               " SELECT 'calls', calls FROM total UNION ALL"
               " SELECT 'calls expanded', calls_expanded FROM total UNION ALL"
               " SELECT 'api names', count(*) FROM api"},
    {"models",
     "SELECT 'all', count(*) FROM model UNION ALL SELECT 'datasets', count(*) FROM dataset"},
    {"runs", "SELECT tool, count(*) FROM run GROUP BY tool ORDER BY tool"},
    {"unfinished runs",
     "SELECT tool, count(*) FROM run WHERE ended_ms IS NULL GROUP BY tool ORDER BY tool"},
    /* Of the plain bytes; what they take on the disk is for the caller to look at. */
    {"plain bytes", "SELECT 'samples', vaulted_bytes FROM total UNION ALL"
                    " SELECT 'reports', report_bytes FROM total"},
};

static enum ms_status visit_section(struct ms_corpus *corpus, size_t at, ms_census_visit visit,
                                    void *ctx, struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sections[at].sql, &statement, err);
    if (status != MS_OK)
        return status;
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        const char *name = ms_db_text(statement, 0);
        status =
            visit(ctx, sections[at].section, name ? name : "", ms_db_int(statement, 1, 0), err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

/* ---- quota ---- */

/* As label counts before it asks (label/quota). */
static enum ms_status count_used(struct ms_corpus *corpus, const char *key_print, int64_t start_ms,
                                 const struct ms_quota_window *told, int64_t *used,
                                 struct ms_error *err)
{
    uint64_t ledger = 0, since = 0;
    enum ms_status status = ms_request_count(corpus, key_print, start_ms, INT64_MAX, &ledger, err);
    *used = (int64_t)ledger;
    if (status != MS_OK || told->read_ms < start_ms)
        return status;
    status = ms_request_count(corpus, key_print, told->read_ms, INT64_MAX, &since, err);
    if (*used < told->used + (int64_t)since)
        *used = told->used + (int64_t)since;
    return status;
}

static enum ms_status visit_key(struct ms_corpus *corpus, const char *key_print, int64_t now_ms,
                                ms_quota_visit visit, void *ctx, struct ms_error *err)
{
    const struct {
        const char *name;
        int64_t start_ms, end_ms;
    } windows[] = {{"day", ms_clock_day_start(now_ms), ms_clock_day_start(now_ms) + DAY_MS},
                   {"month", ms_clock_month_start(now_ms), ms_clock_next_month(now_ms)}};
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < 2 && status == MS_OK; i++) {
        struct ms_quota_window told = {.allowed = -1};
        bool found = false;
        struct ms_quota_state state = {.key_print = key_print,
                                       .window = windows[i].name,
                                       .left = -1,
                                       .resets_ms = windows[i].end_ms};
        status = ms_quota_get(corpus, key_print, windows[i].name, &found, &told, err);
        if (status == MS_OK)
            status = count_used(corpus, key_print, windows[i].start_ms, &told, &state.used, err);
        state.allowed = told.allowed;
        state.read_ms = told.read_ms;
        if (state.allowed >= 0)
            state.left = state.allowed > state.used ? state.allowed - state.used : 0;
        if (status == MS_OK)
            status = visit(ctx, &state, err);
    }
    return status;
}

enum ms_status ms_census_quota(struct ms_corpus *corpus, int64_t now_ms, ms_quota_visit visit,
                               void *ctx, struct ms_error *err)
{
    /* The next key behind one: the ledger is not read, but searched once a key. */
    static const char sql[] =
        "SELECT min(key_print) FROM (SELECT min(key_print) AS key_print FROM request"
        " WHERE counted = 1 AND key_print > ?1 UNION ALL"
        " SELECT min(key_print) FROM quota WHERE key_print > ?1)";
    char key[64] = "";
    enum ms_status status = MS_OK;
    while (status == MS_OK) {
        sqlite3_stmt *statement;
        bool row = false;
        status = ms_db_prepare(corpus, sql, &statement, err);
        if (status != MS_OK)
            break;
        ms_db_bind_text(statement, 1, key);
        status = ms_db_step(corpus, statement, &row, err);
        const char *next = status == MS_OK && row ? ms_db_text(statement, 0) : NULL;
        bool more = next && strlen(next) < sizeof key;
        if (more)
            (void)snprintf(key, sizeof key, "%s", next);
        ms_db_done(statement);
        if (!more)
            break;
        status = visit_key(corpus, key, now_ms, visit, ctx, err);
    }
    return status;
}

/* The day's windows as two sections of counts. */
struct requests {
    ms_census_visit visit;
    void *ctx;
    bool allowed;
};

static enum ms_status on_day(void *ctx, const struct ms_quota_state *state, struct ms_error *err)
{
    const struct requests *self = ctx;
    int64_t value = self->allowed ? state->allowed : state->used;
    if (strcmp(state->window, "day") != 0 || value < (self->allowed ? 0 : 1))
        return MS_OK;
    return self->visit(self->ctx, self->allowed ? "requests allowed a day" : "requests today",
                       state->key_print, value, err);
}

enum ms_status ms_census_run(struct ms_corpus *corpus, int64_t now_ms, ms_census_visit visit,
                             void *ctx, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < sizeof sections / sizeof *sections && status == MS_OK; i++)
        status = visit_section(corpus, i, visit, ctx, err);
    for (int allowed = 0; allowed < 2 && status == MS_OK; allowed++) {
        struct requests requests = {visit, ctx, allowed != 0};
        status = ms_census_quota(corpus, now_ms, on_day, &requests, err);
    }
    return status;
}

/* ---- what waits ---- */

/* Since when, and how many where that is known; no row or NULL: nothing. ?1 is now. Each is a few
 * searches of an index, or reads a small table. */
static const struct {
    const char *what, *sql;
} kinds[] = {
    {"first look-ups",
     "SELECT coalesce(l.asked_ms, r.started_ms, 0), (SELECT n FROM tally WHERE what = 'lookup'"
     " AND name = 'pending') FROM (SELECT sample, asked_ms FROM lookup WHERE state = 'pending'"
     " ORDER BY due_ms LIMIT 1) l JOIN sample s ON s.id = l.sample LEFT JOIN run r ON r.id = "
     "s.run"},
    {"look-ups that are due again",
     "SELECT min(due_ms), NULL FROM (SELECT min(due_ms) AS due_ms FROM lookup"
     "  WHERE state = 'labelled' UNION ALL"
     " SELECT min(due_ms) FROM lookup WHERE state = 'not_found' UNION ALL"
     " SELECT min(due_ms) FROM lookup WHERE state = 'error') WHERE due_ms <= ?1"},
    {"tasks at sandboxes",
     "SELECT coalesce(submitted_ms, updated_ms), (SELECT sum(n) FROM tally WHERE what = 'analysis'"
     "  AND detail IN ('queued', 'submitting', 'pending', 'running', 'completed', 'reported'))"
     " FROM analysis WHERE id = (SELECT min(id) FROM (SELECT min(id) AS id FROM analysis"
     "  WHERE state = 'queued' UNION ALL SELECT min(id) FROM analysis WHERE state = 'submitting'"
     "  UNION ALL SELECT min(id) FROM analysis WHERE state = 'pending' UNION ALL"
     " SELECT min(id) FROM analysis WHERE state = 'running' UNION ALL"
     " SELECT min(id) FROM analysis WHERE state = 'completed' UNION ALL"
     " SELECT min(id) FROM analysis WHERE state = 'reported'))"},
    {"origin longest not looked at",
     "SELECT min(coalesce(checked_ms, 0)), NULL FROM origin"
     " WHERE state NOT IN ('gone', 'legal', 'blocked', 'replaced') AND kind IN ('github', 'list')"},
    {"runs without an end",
     "SELECT min(started_ms), count(*) FROM run WHERE ended_ms IS NULL HAVING count(*) > 0"},
};

enum ms_status ms_census_waiting(struct ms_corpus *corpus, int64_t now_ms, ms_waiting_visit visit,
                                 void *ctx, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && status == MS_OK; i++) {
        sqlite3_stmt *statement;
        bool row = false;
        status = ms_db_prepare(corpus, kinds[i].sql, &statement, err);
        if (status != MS_OK)
            break;
        if (sqlite3_bind_parameter_count(statement) > 0)
            ms_db_bind_int(statement, 1, now_ms);
        status = ms_db_step(corpus, statement, &row, err);
        struct ms_waiting waiting = {.what = kinds[i].what, .since_ms = -1};
        if (status == MS_OK && row) {
            waiting.since_ms = ms_db_int(statement, 0, -1);
            waiting.count = ms_db_int(statement, 1, -1);
        }
        ms_db_done(statement);
        if (status == MS_OK && waiting.since_ms >= 0)
            status = visit(ctx, &waiting, err);
    }
    return status;
}
