/* Labels: what a policy says of a sample. Scans: scan.c; look-ups: lookup.c; the quota ledger:
 * quota.c. */
#include "store/label.h"

#include "store/internal.h"

#include <string.h>

/* Binds 1 to 19, the fields two labels are compared by. */
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
    ms_db_bind_blob(statement, 14, label->has_policy_digest ? label->policy_digest : NULL, 32);
    ms_db_bind_blob(statement, 15, label->has_taxonomy ? label->taxonomy : NULL, 32);
    ms_db_bind_text(statement, 16, label->vt_class);
    ms_db_bind_known(statement, 17, label->family ? label->family_votes : -1);
    ms_db_bind_known(statement, 18, label->family ? label->family_verified : -1);
    ms_db_bind_text(statement, 19, label->contested);
}

static enum ms_status is_current(struct ms_corpus *corpus, const struct ms_label *label, bool *same,
                                 struct ms_error *err)
{
    static const char sql[] =
        "SELECT 1 FROM label WHERE sample = ?1 AND policy = ?2 AND current = 1 AND verdict IS ?3"
        " AND class IS ?4 AND family IS ?5 AND votes IS ?6 AND margin IS ?7 AND positives IS ?8"
        " AND responding IS ?9 AND groups IS ?10 AND vt_category IS ?11 AND as_of_ms IS ?12"
        " AND scan IS ?13 AND policy_digest IS ?14 AND taxonomy IS ?15 AND vt_class IS ?16"
        " AND family_votes IS ?17 AND family_verified IS ?18 AND contested IS ?19";
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

enum ms_status ms_label_put_first(struct ms_corpus *corpus, const struct ms_label *label,
                                  int64_t now_ms, int64_t run, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO label (sample, policy, verdict, class, family, votes, margin, positives,"
        " responding, groups, vt_category, as_of_ms, scan, policy_digest, taxonomy, vt_class,"
        " family_votes, family_verified, contested, made_ms, run)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
        " ?19, ?20, ?21)";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    bind_label(statement, label);
    ms_db_bind_int(statement, 20, now_ms);
    ms_db_bind_nonzero(statement, 21, run);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_label_put(struct ms_corpus *corpus, const struct ms_label *label, int64_t now_ms,
                            int64_t run, bool *changed, struct ms_error *err)
{
    bool same = false;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = is_current(corpus, label, &same, err);
    if (status == MS_OK && !same)
        status = supersede(corpus, label, err);
    if (status == MS_OK && !same)
        status = ms_label_put_first(corpus, label, now_ms, run, err);
    if (status == MS_OK)
        *changed = !same;
    return status;
}

static bool copy_digest(struct ms_span blob, uint8_t out[32])
{
    if (blob.len == 32)
        memcpy(out, blob.data, 32);
    return blob.len == 32;
}

static enum ms_status copy_label(sqlite3_stmt *statement, struct ms_label *out,
                                 struct ms_error *err)
{
    const char **texts[] = {&out->policy,     &out->verdict,     &out->class_,   &out->family,
                            &out->votes_json, &out->vt_category, &out->vt_class, &out->contested};
    enum ms_status status = MS_OK;
    for (int i = 0; i < 8 && status == MS_OK; i++)
        status = ms_db_copy_text(statement, 1 + i, texts[i], err);
    out->id = ms_db_int(statement, 0, 0);
    out->margin = ms_db_int(statement, 9, -1);
    out->positives = ms_db_int(statement, 10, -1);
    out->responding = ms_db_int(statement, 11, -1);
    out->groups = ms_db_int(statement, 12, -1);
    out->as_of_ms = ms_db_int(statement, 13, 0);
    out->scan = ms_db_int(statement, 14, 0);
    out->family_votes = ms_db_int(statement, 15, -1);
    out->family_verified = ms_db_int(statement, 16, -1);
    out->has_policy_digest = copy_digest(ms_db_blob(statement, 17), out->policy_digest);
    out->has_taxonomy = copy_digest(ms_db_blob(statement, 18), out->taxonomy);
    return status;
}

enum ms_status ms_label_get(struct ms_corpus *corpus, int64_t sample, const char *policy,
                            struct ms_label *out, struct ms_error *err)
{
    static const char sql[] =
        "SELECT id, policy, verdict, class, family, votes, vt_category, vt_class, contested, "
        "margin,"
        " positives, responding, groups, as_of_ms, scan, family_votes, family_verified,"
        " policy_digest, taxonomy FROM label"
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
    const char *texts[] = {self->policy,     self->verdict,     self->class_,   self->family,
                           self->votes_json, self->vt_category, self->vt_class, self->contested};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ms_text_free(texts[i]);
    *self = (struct ms_label){0};
}

enum ms_status ms_label_clear(struct ms_corpus *corpus, int64_t sample, const char *policy,
                              bool *changed, struct ms_error *err)
{
    static const char sql[] = "SELECT 1 FROM label WHERE sample = ?1 AND policy = ?2"
                              " AND current = 1";
    const struct ms_label label = {.sample = sample, .policy = policy};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_text(statement, 2, policy);
    status = ms_db_step(corpus, statement, changed, err);
    ms_db_done(statement);
    return status == MS_OK && *changed ? supersede(corpus, &label, err) : status;
}

enum ms_status ms_policy_put(struct ms_corpus *corpus, const uint8_t digest[32], const char *name,
                             const char *text, int64_t now_ms, struct ms_error *err)
{
    static const char sql[] = "INSERT INTO policy (digest, name, text, first_ms)"
                              " VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, digest, 32);
    ms_db_bind_text(statement, 2, name);
    ms_db_bind_text(statement, 3, text);
    ms_db_bind_int(statement, 4, now_ms);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_label_agreement(struct ms_corpus *corpus, const char *policy, uint64_t *both,
                                  uint64_t *agree, struct ms_error *err)
{
    static const char sql[] = "SELECT count(agrees), coalesce(sum(agrees), 0) FROM label_agreement"
                              " WHERE policy = ?1";
    sqlite3_stmt *statement;
    int64_t counts[2] = {0, 0};
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, policy);
    status = ms_db_take_ints(corpus, statement, counts, 2, err);
    *both = (uint64_t)counts[0];
    *agree = (uint64_t)counts[1];
    return status;
}
