/* Judging answers and writing labels. */
#include "label/derive.h"

#include "base/clock.h"

#include <string.h>

enum ms_status ms_judge_report(const struct ms_policy *policy, struct ms_vt_report *report,
                               struct ms_judged *out, struct ms_error *err)
{
    out->report = *report;
    enum ms_status status = ms_tally_count(&out->tally, &out->report, NULL, err);
    if (status != MS_OK) {
        ms_judged_release(out);
        return status;
    }
    out->verdict = ms_policy_judge(policy, &out->report, &out->tally);
    return MS_OK;
}

enum ms_status ms_judge_body(struct ms_worker *worker, const struct ms_policy *policy,
                             struct ms_span body, struct ms_judged *out, struct ms_error *err)
{
    struct ms_vt_report report;
    enum ms_status status = ms_vtjson_read(worker, body, &report, err);
    return status == MS_OK ? ms_judge_report(policy, &report, out, err) : status;
}

void ms_judged_release(struct ms_judged *self)
{
    ms_tally_release(&self->tally);
    ms_vt_report_release(&self->report);
}

bool ms_judged_is_about(const struct ms_judged *self, const char *hash)
{
    return strcmp(hash, self->report.sha256) == 0 || strcmp(hash, self->report.sha1) == 0 ||
           strcmp(hash, self->report.md5) == 0;
}

enum ms_status ms_judged_put(const struct ms_judged *self, struct ms_corpus *corpus,
                             const struct ms_policy *policy, int64_t sample, int64_t scan,
                             int64_t as_of_ms, int64_t run, bool *changed, struct ms_error *err)
{
    const struct ms_tally *tally = &self->tally;
    bool malicious = self->verdict == MS_VERDICT_MALICIOUS;
    char votes[256];
    ms_tally_votes_json(tally, votes);
    const struct ms_label label = {
        .sample = sample,
        .policy = policy->name,
        .verdict = ms_verdict_name(self->verdict),
        .class_ = malicious && tally->class_ != MS_CLASS_NONE ? ms_class_name(tally->class_) : NULL,
        .family = malicious && tally->family[0] ? tally->family : NULL,
        .votes_json = votes,
        .vt_category = self->report.category,
        .margin = (int64_t)tally->margin,
        .positives = (int64_t)tally->positives,
        .responding = (int64_t)tally->responding,
        .groups = (int64_t)tally->groups,
        .as_of_ms = as_of_ms,
        .scan = scan};
    return ms_label_put(corpus, &label, ms_clock_wall_ms(), run, changed, err);
}

enum ms_status ms_not_found_put(struct ms_corpus *corpus, const struct ms_policy *policy,
                                int64_t sample, int64_t as_of_ms, int64_t run, bool *changed,
                                struct ms_error *err)
{
    const struct ms_label label = {.sample = sample,
                                   .policy = policy->name,
                                   .verdict = ms_verdict_name(MS_VERDICT_NOT_FOUND),
                                   .margin = -1,
                                   .positives = -1,
                                   .responding = -1,
                                   .groups = -1,
                                   .as_of_ms = as_of_ms};
    return ms_label_put(corpus, &label, ms_clock_wall_ms(), run, changed, err);
}
