/* Whether the counts that triggers keep up are right, and their mending. Nothing else writes to
 * them but the triggers of schemas/014 to 016. */
#include "store/tally.h"

#include "store/internal.h"

#define COUNTED                                                                                  \
    "SELECT 'blob' AS what, outcome AS name, '' AS detail, '' AS class, count(*) AS n FROM blob" \
    " GROUP BY outcome UNION ALL"                                                                \
    " SELECT 'lookup', state, '', '', count(*) FROM lookup GROUP BY state UNION ALL"             \
    " SELECT 'label', policy, verdict, coalesce(class, ''), count(*) FROM label"                 \
    "  WHERE current = 1 GROUP BY policy, verdict, coalesce(class, '') UNION ALL"                \
    " SELECT 'analysis', sandbox, state, '', count(*) FROM analysis GROUP BY sandbox, state"

#define SUMMED                                                                              \
    "SELECT 1 AS id, s.n, s.vaulted, s.private, s.bytes, g.n, g.gone, a.reports, a.bytes,"  \
    " a.processes, a.calls, a.expanded, (SELECT count(DISTINCT sample) FROM analysis_ran)," \
    " (SELECT count(DISTINCT sample) FROM analysis_ran WHERE traced),"                      \
    " (SELECT count(*) FROM sample u WHERE u.vaulted = 1 AND u.private = 0 AND NOT EXISTS"  \
    "  (SELECT 1 FROM analysis_sent t WHERE t.sample = u.id))"                              \
    " FROM (SELECT count(*) AS n, coalesce(sum(vaulted), 0) AS vaulted,"                    \
    "  coalesce(sum(private), 0) AS private,"                                               \
    "  coalesce(sum(vaulted * coalesce(size, 0)), 0) AS bytes FROM sample) s,"              \
    " (SELECT count(*) AS n, count(gone_ms) AS gone FROM sighting) g,"                      \
    " (SELECT count(CASE WHEN report_gone_ms IS NULL THEN report_sha256 END) AS reports,"   \
    "  coalesce(sum(CASE WHEN report_sha256 IS NOT NULL AND report_gone_ms IS NULL THEN "   \
    "report_bytes END), 0) AS bytes,"                                                       \
    "  coalesce(sum(processes), 0) AS processes, coalesce(sum(calls), 0) AS calls,"         \
    "  coalesce(sum(calls_expanded), 0) AS expanded FROM analysis) a"

enum ms_status ms_tally_check(struct ms_corpus *corpus, bool *right, struct ms_error *err)
{
    static const char wrong[] =
        "SELECT (SELECT count(*) FROM (SELECT * FROM (" COUNTED ") EXCEPT SELECT * FROM tally))"
        " + (SELECT count(*) FROM (SELECT * FROM tally WHERE n <> 0 EXCEPT SELECT * FROM (" COUNTED
        "))) + (SELECT count(*) FROM (SELECT * FROM (" SUMMED ") EXCEPT SELECT * FROM total))";
    int64_t count = 0;
    enum ms_status status = ms_db_scalar(corpus, wrong, &count, err);
    *right = count == 0;
    return status;
}

enum ms_status ms_tally_mend(struct ms_corpus *corpus, struct ms_error *err)
{
    enum ms_status status = ms_db_need_transaction(corpus, err);
    return status == MS_OK ? ms_db_exec(corpus,
                                        "DELETE FROM tally; INSERT INTO tally " COUNTED
                                        "; DELETE FROM total; INSERT INTO total " SUMMED,
                                        err)
                           : status;
}
