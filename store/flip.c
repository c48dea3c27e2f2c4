/* Flips: where the verdict on a sample turned, as its scans tell it. What turns a verdict:
 * label/derive. */
#include "store/label.h"

#include "store/internal.h"

static enum ms_status clear(struct ms_corpus *corpus, int64_t sample, const char *policy,
                            struct ms_error *err)
{
    static const char sql[] = "DELETE FROM label_flip WHERE sample = ?1 AND policy = ?2";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_text(statement, 2, policy);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_flips_put(struct ms_corpus *corpus, int64_t sample, const char *policy,
                            const struct ms_flip *flips, size_t count, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO label_flip (sample, policy, seq, before, after, class, as_of_ms, scan)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = clear(corpus, sample, policy, err);
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        sqlite3_stmt *statement;
        status = ms_db_prepare(corpus, sql, &statement, err);
        if (status != MS_OK)
            break;
        ms_db_bind_int(statement, 1, sample);
        ms_db_bind_text(statement, 2, policy);
        ms_db_bind_int(statement, 3, (int64_t)i + 1);
        ms_db_bind_text(statement, 4, flips[i].before);
        ms_db_bind_text(statement, 5, flips[i].after);
        ms_db_bind_text(statement, 6, flips[i].class_);
        ms_db_bind_int(statement, 7, flips[i].as_of_ms);
        ms_db_bind_int(statement, 8, flips[i].scan);
        status = ms_db_run(corpus, statement, err);
    }
    return status;
}
