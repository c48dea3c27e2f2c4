/* Which look-ups are due, by class. Shares of the quota and the order between classes: label/plan;
 * when something falls due: label/plan too. */
#include "store/label.h"

#include "base/hash.h"
#include "store/internal.h"

#include <string.h>

#define HALF_YEAR_MS "15552000000" /* 180 days */
#define HASH "coalesce(s.sha256, s.sha1, s.md5)"
#define COLUMNS "l.sample, l.state, l.tries, l.asked_ms, l.due_ms, l.unchanged, " HASH

/* The classes of enum ms_due_class, for a row `l` of lookup with its current label `b`. */
#define CLASS                                                                               \
    "CASE WHEN l.state = 'not_found' THEN 6"                                                \
    " WHEN l.state = 'pending' AND l.asked_ms IS NULL THEN 0"                               \
    " WHEN l.state <> 'labelled' OR l.rescan_ms > coalesce(l.asked_ms, 0) THEN 1"           \
    " WHEN b.verdict IN ('immature', 'uncertain') OR b.contested IS NOT NULL THEN 2"        \
    " WHEN b.verdict = 'benign' AND b.positives = 0 AND EXISTS (SELECT 1 FROM scan c"       \
    " WHERE c.sample = l.sample AND c.first_submission_ms + " HALF_YEAR_MS " >= l.due_ms)"  \
    " THEN 3 WHEN b.verdict = 'malicious' AND (b.class IS NULL OR b.family IS NULL) THEN 4" \
    " ELSE 5 END"
#define LABEL " LEFT JOIN label b ON b.sample = l.sample AND b.policy = ?1 AND b.current = 1"
#define ASKABLE " AND s.private = 0 AND " HASH " IS NOT NULL"

/* ?1 policy, ?2 now, ?3 to ?5 the place behind which to go on (class, due time, sample), ?6 how
 * many. Never asked and not found are read along the index; of the rest, which are few a night,
 * all that are due are classified. */
#define ROWS(STATE, NUMBER, MORE, PLACE)                                                     \
    "SELECT " COLUMNS ", " NUMBER " AS class FROM lookup l JOIN sample s ON s.id = l.sample" \
    " WHERE l.state = '" STATE "' AND " PLACE " AND l.due_ms <= ?2" MORE ASKABLE
/* In two parts, each a range of the index (state, due_ms, sample), merged: a comparison of pairs
 * would read everything due at the same time from its start for each chunk. */
#define ALONG_INDEX(STATE, NUMBER, MORE)                                                 \
    ROWS(STATE, NUMBER, MORE, "l.due_ms = ?4 AND l.sample > ?5 AND ?1 = ?1 AND ?3 = ?3") \
    " UNION ALL " ROWS(STATE, NUMBER, MORE, "l.due_ms > ?4") " ORDER BY 5, 1 LIMIT ?6"
static const char *const pulls[MS_DUE_SHARES] = {
    ALONG_INDEX("pending", "0", " AND l.asked_ms IS NULL"),
    "SELECT * FROM (SELECT " COLUMNS ", " CLASS " AS class FROM lookup l JOIN sample s"
    " ON s.id = l.sample" LABEL " WHERE l.state IN ('labelled', 'error', 'pending')"
    " AND l.due_ms <= ?2 AND (l.state <> 'pending' OR l.asked_ms IS NOT NULL)" ASKABLE
    ") WHERE (class, due_ms, sample) > (?3, ?4, ?5) ORDER BY class, due_ms, sample LIMIT ?6",
    ALONG_INDEX("not_found", "6", ""),
};

enum ms_due_share ms_due_share_of(enum ms_due_class class_)
{
    return class_ == MS_DUE_NEW       ? MS_SHARE_NEW
           : class_ == MS_DUE_UNKNOWN ? MS_SHARE_UNKNOWN
                                      : MS_SHARE_AGAIN;
}

static const char *state_word(const char *word)
{
    static const char *const states[] = {"pending", "labelled", "not_found", "invalid", "error"};
    for (size_t i = 0; word && i < sizeof states / sizeof *states; i++)
        if (strcmp(word, states[i]) == 0)
            return states[i];
    return states[0];
}

static void read_due(sqlite3_stmt *statement, struct ms_due *out)
{
    struct ms_span hash = ms_db_blob(statement, 6);
    int64_t number = ms_db_int(statement, 7, MS_DUE_STABLE);
    *out = (struct ms_due){.class_ = (enum ms_due_class)number,
                           .lookup = {.sample = ms_db_int(statement, 0, 0),
                                      .state = state_word(ms_db_text(statement, 1)),
                                      .tries = ms_db_int(statement, 2, 0),
                                      .asked_ms = ms_db_int(statement, 3, 0),
                                      .due_ms = ms_db_int(statement, 4, 0),
                                      .unchanged = ms_db_int(statement, 5, 0)}};
    ms_hex_encode(hash.data, hash.len > MS_SHA256_BYTES ? MS_SHA256_BYTES : hash.len, out->hash);
}

enum ms_status ms_due_pull(struct ms_corpus *corpus, enum ms_due_share share, const char *policy,
                           int64_t now_ms, const struct ms_due *after, struct ms_due *out,
                           size_t room, size_t *count, struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    *count = 0;
    enum ms_status status = ms_db_prepare(corpus, pulls[share], &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, policy);
    ms_db_bind_int(statement, 2, now_ms);
    ms_db_bind_int(statement, 3, after ? (int64_t)after->class_ : -1);
    ms_db_bind_int(statement, 4, after ? after->lookup.due_ms : INT64_MIN);
    ms_db_bind_int(statement, 5, after ? after->lookup.sample : 0);
    ms_db_bind_int(statement, 6, (int64_t)room);
    while (*count < room && (status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row)
        read_due(statement, &out[(*count)++]);
    ms_db_done(statement);
    return status;
}

enum ms_status ms_due_count(struct ms_corpus *corpus, const char *policy, int64_t now_ms,
                            uint64_t counts[MS_DUE_CLASSES], struct ms_error *err)
{
    static const char sql[] =
        "SELECT class, count(*) FROM (SELECT " CLASS " AS class FROM lookup l JOIN sample s"
        " ON s.id = l.sample" LABEL " WHERE l.state <> 'invalid' AND l.due_ms <= ?2" ASKABLE
        ") GROUP BY class UNION ALL SELECT 0, count(*) FROM sample s WHERE NOT EXISTS"
        " (SELECT 1 FROM lookup l WHERE l.sample = s.id)" ASKABLE;
    sqlite3_stmt *statement;
    bool row = false;
    memset(counts, 0, MS_DUE_CLASSES * sizeof *counts);
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, policy);
    ms_db_bind_int(statement, 2, now_ms);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        int64_t number = ms_db_int(statement, 0, -1);
        if (number >= 0 && number < MS_DUE_CLASSES)
            counts[number] += (uint64_t)ms_db_int(statement, 1, 0);
    }
    ms_db_done(statement);
    return status;
}
