/* Two rows that turn out to be one file become one row. Who finds that out: label/lookup and
 * importers. */
#include "store/sample.h"

#include "store/internal.h"

#include <string.h>

/* The same report kept for both rows. */
#define SAME_SCAN                                                                         \
    " EXISTS (SELECT 1 FROM scan k WHERE k.sample = ?2 AND k.body_sha256 = d.body_sha256" \
    " AND k.source = d.source)"

/* How much a look-up's state says: an answer more than a miss, a miss more than a fault. */
#define RANK(TABLE)                                                                            \
    "(CASE " TABLE ".state WHEN 'labelled' THEN 0 WHEN 'not_found' THEN 1 WHEN 'error' THEN 2" \
    " WHEN 'pending' THEN 3 ELSE 4 END)"

/* ?1 goes, ?2 stays. In this order: what would break a unique index is settled before rows move,
 * and the row itself goes last, when nothing refers to it any more. */
static const char *const moves[] = {
    "UPDATE sample SET sha1 = coalesce(sample.sha1, f.sha1), md5 = coalesce(sample.md5, f.md5),"
    " git_blob = coalesce(sample.git_blob, f.git_blob), size = coalesce(sample.size, f.size),"
    " vaulted = max(sample.vaulted, f.vaulted), private = max(sample.private, f.private),"
    " kind = coalesce(sample.kind, f.kind), machine = coalesce(sample.machine, f.machine),"
    " flags = coalesce(sample.flags, f.flags), features = coalesce(sample.features, f.features)"
    " FROM sample f WHERE f.id = ?1 AND sample.id = ?2",

    "UPDATE alias SET sample = ?2 WHERE sample = ?1",

    "UPDATE sighting SET private = max(sighting.private, f.private),"
    " seen_ms = min(sighting.seen_ms, f.seen_ms),"
    " gone_ms = CASE WHEN sighting.gone_ms IS NULL OR f.gone_ms IS NULL THEN NULL"
    " ELSE max(sighting.gone_ms, f.gone_ms) END,"
    " commit_id = coalesce(sighting.commit_id, f.commit_id),"
    " password = coalesce(sighting.password, f.password),"
    " side_file = coalesce(sighting.side_file, f.side_file),"
    " claim = CASE WHEN 'malware' IN (sighting.claim, f.claim) THEN 'malware'"
    " WHEN 'benign' IN (sighting.claim, f.claim) THEN 'benign' ELSE 'unknown' END"
    " FROM sighting f WHERE f.sample = ?1 AND sighting.sample = ?2 AND f.origin = sighting.origin"
    " AND f.path = sighting.path AND f.chain = sighting.chain",
    "DELETE FROM sighting AS d WHERE d.sample = ?1 AND EXISTS (SELECT 1 FROM sighting k WHERE"
    " k.sample = ?2 AND k.origin = d.origin AND k.path = d.path AND k.chain = d.chain)",
    "UPDATE sighting SET sample = ?2 WHERE sample = ?1",

    /* Submitted twice in the same way: both detonations are kept, one stands for the submission. */
    "UPDATE analysis SET settings_digest = NULL WHERE sample = ?1 AND settings_digest IN"
    " (SELECT settings_digest FROM analysis WHERE sample = ?2 AND settings_digest IS NOT NULL)",
    "UPDATE analysis SET sample = ?2 WHERE sample = ?1",

    "UPDATE label SET scan = (SELECT min(k.id) FROM scan d JOIN scan k ON k.sample = ?2"
    " AND k.body_sha256 = d.body_sha256 AND k.source = d.source WHERE d.id = label.scan)"
    " WHERE sample = ?1 AND scan IN (SELECT d.id FROM scan d WHERE d.sample = ?1 AND" SAME_SCAN ")",
    /* What the scans of both tell together is derived again; until then one sample's flips stand.
     */
    "UPDATE label_flip SET scan = (SELECT min(k.id) FROM scan d JOIN scan k ON k.sample = ?2"
    " AND k.body_sha256 = d.body_sha256 AND k.source = d.source WHERE d.id = label_flip.scan)"
    " WHERE sample = ?1 AND scan IN (SELECT d.id FROM scan d WHERE d.sample = ?1 AND" SAME_SCAN ")",
    "DELETE FROM label_flip AS f WHERE f.sample = ?1 AND EXISTS (SELECT 1 FROM label_flip k"
    " WHERE k.sample = ?2 AND k.policy = f.policy)",
    "UPDATE label_flip SET sample = ?2 WHERE sample = ?1",
    "DELETE FROM scan AS d WHERE d.sample = ?1 AND" SAME_SCAN,
    "UPDATE scan SET sample = ?2 WHERE sample = ?1",

    "UPDATE lookup SET state = f.state, reason = f.reason, tries = f.tries, asked_ms = f.asked_ms,"
    " due_ms = f.due_ms, unchanged = f.unchanged FROM lookup f"
    " WHERE f.sample = ?1 AND lookup.sample = ?2 AND " RANK("f") " < " RANK("lookup"),
    "UPDATE lookup SET rescan_ms = max(coalesce(lookup.rescan_ms, f.rescan_ms), f.rescan_ms)"
    " FROM lookup f WHERE f.sample = ?1 AND lookup.sample = ?2 AND f.rescan_ms IS NOT NULL",
    "DELETE FROM lookup WHERE sample = ?1 AND EXISTS (SELECT 1 FROM lookup WHERE sample = ?2)",
    "UPDATE lookup SET sample = ?2 WHERE sample = ?1",

    /* One current label a policy: a verdict before "not found", then the younger knowledge. */
    "UPDATE label SET current = 0 WHERE current = 1 AND sample IN (?1, ?2) AND id <>"
    " (SELECT k.id FROM label k WHERE k.current = 1 AND k.sample IN (?1, ?2)"
    " AND k.policy = label.policy"
    " ORDER BY k.verdict = 'not_found', k.as_of_ms DESC, k.sample = ?1, k.id LIMIT 1)",
    "UPDATE label SET sample = ?2 WHERE sample = ?1",

    "DELETE FROM sample WHERE id = ?1 AND ?2 = ?2",
};

static enum ms_status move_rows(struct ms_corpus *corpus, int64_t from, int64_t into,
                                struct ms_error *err)
{
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        sqlite3_stmt *statement;
        enum ms_status status = ms_db_prepare(corpus, moves[i], &statement, err);
        if (status != MS_OK)
            return status;
        ms_db_bind_int(statement, 1, from);
        ms_db_bind_int(statement, 2, into);
        status = ms_db_run(corpus, statement, err);
        if (status != MS_OK)
            return status;
    }
    return MS_OK;
}

static bool differ(bool a_known, const uint8_t *a, bool b_known, const uint8_t *b, size_t n)
{
    return a_known && b_known && memcmp(a, b, n) != 0;
}

enum ms_status ms_sample_merge(struct ms_corpus *corpus, int64_t from, int64_t into,
                               struct ms_error *err)
{
    struct ms_sample a, b;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK && from == into)
        status = ms_error_set(err, MS_E_BUG, "a sample is to be merged with itself");
    if (status == MS_OK)
        status = ms_sample_get(corpus, from, &a, err);
    if (status == MS_OK)
        status = ms_sample_get(corpus, into, &b, err);
    if (status != MS_OK)
        return status;
    const struct ms_digests *x = &a.digests, *y = &b.digests;
    if (a.has_sha256 || differ(a.has_sha1, x->sha1, b.has_sha1, y->sha1, MS_SHA1_BYTES) ||
        differ(a.has_md5, x->md5, b.has_md5, y->md5, MS_MD5_BYTES))
        return ms_error_set(err, MS_REJECT, "the two samples are not the same file");
    return move_rows(corpus, from, into, err);
}

enum ms_status ms_sample_unite(struct ms_corpus *corpus, int64_t into, uint64_t *merged,
                               struct ms_error *err)
{
    /* A weak hash that a third file, known by its SHA-256, has as well says nothing: collisions are
     * made on purpose. The pluses keep the index of sha256 out of it: half a corpus may have none.
     */
    static const char sql[] =
        "SELECT w.id FROM sample s JOIN sample w ON w.md5 = s.md5 AND +w.sha256 IS NULL"
        " AND w.id <> s.id AND (w.sha1 IS NULL OR s.sha1 IS NULL OR w.sha1 = s.sha1)"
        " WHERE s.id = ?1 AND NOT EXISTS (SELECT 1 FROM sample o WHERE o.md5 = w.md5"
        " AND o.sha256 IS NOT NULL AND o.id <> s.id)"
        " UNION SELECT w.id FROM sample s JOIN sample w ON w.sha1 = s.sha1 AND +w.sha256 IS NULL"
        " AND w.id <> s.id AND (w.md5 IS NULL OR s.md5 IS NULL OR w.md5 = s.md5)"
        " WHERE s.id = ?1 AND NOT EXISTS (SELECT 1 FROM sample o WHERE o.sha1 = w.sha1"
        " AND o.sha256 IS NOT NULL AND o.id <> s.id)"
        " ORDER BY 1";
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    *merged = 0;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, into);
    status = ms_ids_collect(corpus, statement, &ids, err);
    for (size_t i = 0; i < ids.count && status == MS_OK; i++) {
        struct ms_error why = {0};
        status = ms_sample_merge(corpus, ids.items[i], into, &why);
        if (status == MS_OK)
            (*merged)++;
        else if (status == MS_REJECT) /* two weak rows that contradict each other */
            status = MS_OK;
        else if (err)
            *err = why;
    }
    ms_ids_release(&ids);
    return status;
}
