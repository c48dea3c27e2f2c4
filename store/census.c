/* The counts behind malseq status: one static statement a section, columns name and count. */
#include "store/census.h"

#include "base/clock.h"
#include "store/db.h"

static const struct {
    const char *section;
    const char *sql;
    bool bind_day; /* ?1 is the start of the day */
} sections[] = {
    {"samples",
     "SELECT 'all', count(*) FROM sample UNION ALL"
     " SELECT 'vaulted', count(*) FROM sample WHERE vaulted = 1 UNION ALL"
     " SELECT 'private', count(*) FROM sample WHERE private = 1",
     false},
    {"origins", "SELECT state, count(*) FROM origin GROUP BY state ORDER BY state", false},
    {"sightings",
     "SELECT 'present', count(*) FROM sighting WHERE gone_ms IS NULL UNION ALL"
     " SELECT 'gone', count(*) FROM sighting WHERE gone_ms IS NOT NULL",
     false},
    {"blobs", "SELECT outcome, count(*) FROM blob GROUP BY outcome ORDER BY outcome", false},
    {"lookups", "SELECT state, count(*) FROM lookup GROUP BY state ORDER BY state", false},
    {"labels",
     "SELECT policy || ' ' || verdict, count(*) FROM label WHERE current = 1"
     " GROUP BY policy, verdict ORDER BY policy, verdict",
     false},
    {"classes",
     "SELECT policy || ' ' || class, count(*) FROM label WHERE current = 1 AND class IS NOT NULL"
     " GROUP BY policy, class ORDER BY policy, class",
     false},
    {"analyses", "SELECT state, count(*) FROM analysis GROUP BY state ORDER BY state", false},
    {"sandboxes", "SELECT sandbox, count(*) FROM analysis GROUP BY sandbox ORDER BY sandbox",
     false},
    {"traces",
     "SELECT 'processes', coalesce(sum(processes), 0) FROM analysis UNION ALL"
     " SELECT 'calls', coalesce(sum(calls), 0) FROM analysis UNION ALL"
     " SELECT 'calls expanded', coalesce(sum(calls_expanded), 0) FROM analysis UNION ALL"
     " SELECT 'api names', count(*) FROM api",
     false},
    {"models",
     "SELECT 'all', count(*) FROM model UNION ALL SELECT 'datasets', count(*) FROM dataset", false},
    {"runs", "SELECT tool, count(*) FROM run GROUP BY tool ORDER BY tool", false},
    {"unfinished runs",
     "SELECT tool, count(*) FROM run WHERE ended_ms IS NULL GROUP BY tool ORDER BY tool", false},
    {"requests today",
     "SELECT key_print, count(*) FROM request WHERE counted = 1 AND sent_ms >= ?1"
     " GROUP BY key_print ORDER BY key_print",
     true},
    {"requests allowed a day",
     "SELECT key_print, allowed FROM quota WHERE window = 'day' ORDER BY key_print", false},
};

static enum ms_status visit_section(struct ms_corpus *corpus, size_t at, int64_t day_ms,
                                    ms_census_visit visit, void *ctx, struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sections[at].sql, &statement, err);
    if (status != MS_OK)
        return status;
    if (sections[at].bind_day)
        ms_db_bind_int(statement, 1, day_ms);
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

enum ms_status ms_census_run(struct ms_corpus *corpus, int64_t now_ms, ms_census_visit visit,
                             void *ctx, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    int64_t day_ms = ms_clock_day_start(now_ms);
    for (size_t i = 0; i < sizeof sections / sizeof *sections && status == MS_OK; i++)
        status = visit_section(corpus, i, day_ms, visit, ctx, err);
    return status;
}
