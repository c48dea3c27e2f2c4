/* What follows from a policy. Where policies come from: label/policy_text.c. */
#include "label/policy.h"

#include <string.h>

#define DAY_MS ((int64_t)86400000)

static const char *const verdict_names[MS_VERDICT_COUNT] = {"malicious", "benign",   "grayware",
                                                            "uncertain", "immature", "not_found"};

const char *ms_verdict_name(enum ms_verdict verdict)
{
    return verdict_names[(unsigned)verdict < MS_VERDICT_COUNT ? verdict : MS_VERDICT_UNCERTAIN];
}

enum ms_verdict ms_verdict_by_name(const char *name)
{
    unsigned i = 0;
    while (i < MS_VERDICT_COUNT && strcmp(name, verdict_names[i]) != 0)
        i++;
    return (enum ms_verdict)i;
}

bool ms_verdict_is_decided(enum ms_verdict verdict)
{
    return verdict == MS_VERDICT_MALICIOUS || verdict == MS_VERDICT_BENIGN ||
           verdict == MS_VERDICT_GRAYWARE;
}

int64_t ms_policy_age_days(const struct ms_vt_report *report)
{
    if (report->first_submission_ms <= 0 || report->last_analysis_ms <= 0)
        return -1;
    int64_t age = report->last_analysis_ms - report->first_submission_ms;
    return age < 0 ? 0 : age / DAY_MS;
}

static bool is_grayware(const struct ms_policy *self, const struct ms_tally *tally)
{
    unsigned gray = 0, all = 0;
    for (unsigned i = 0; i < MS_CLASS_COUNT; i++) {
        all += tally->votes[i];
        gray += self->grayware & 1u << i ? tally->votes[i] : 0;
    }
    return tally->class_ != MS_CLASS_NONE && (self->grayware & 1u << tally->class_) != 0 &&
           2 * gray >= all;
}

/* value >= bound, both in the policy's unit. */
static bool reaches(const struct ms_policy *self, const struct ms_tally *tally, unsigned bound)
{
    if (self->unit == MS_UNIT_PERCENT)
        return (uint64_t)tally->positives * 100 >= (uint64_t)bound * tally->responding;
    return (self->unit == MS_UNIT_GROUPS ? tally->groups : tally->positives) >= bound;
}

static bool is_benign(const struct ms_policy *self, const struct ms_tally *tally)
{
    if (tally->responding < self->min_responding)
        return false;
    if (self->unit == MS_UNIT_PERCENT)
        return (uint64_t)tally->positives * 100 <= (uint64_t)self->max_benign * tally->responding;
    return !reaches(self, tally, self->max_benign + 1);
}

/* v2 hands out what it has while a scan is under way. */
static bool is_queued(const struct ms_vt_report *report)
{
    return report->format == MS_RECORD_VT2 && report->response_code != 1 &&
           report->response_code != MS_RECORD_NO_RESPONSE;
}

static bool has_label(const struct ms_vt_report *report)
{
    for (size_t i = 0; i < report->engine_count; i++)
        if (report->engines[i].result && (report->engines[i].category == MS_VT_MALICIOUS ||
                                          report->engines[i].category == MS_VT_SUSPICIOUS))
            return true;
    return false;
}

enum ms_verdict ms_policy_judge(const struct ms_policy *self, const struct ms_vt_report *report,
                                const struct ms_tally *tally)
{
    int64_t age = ms_policy_age_days(report);
    if (report->format == MS_RECORD_VT2 && report->response_code == 0)
        return MS_VERDICT_NOT_FOUND;
    if (self->rule == MS_RULE_MALAPI2019)
        return has_label(report) ? MS_VERDICT_MALICIOUS : MS_VERDICT_UNCERTAIN;
    if (tally->responding == 0 || is_queued(report))
        return MS_VERDICT_UNCERTAIN;
    if (self->min_age_days > 0 && age >= 0 && age < (int64_t)self->min_age_days)
        return MS_VERDICT_IMMATURE;
    bool enough = self->unit != MS_UNIT_PERCENT || tally->responding >= self->min_responding;
    if (enough && reaches(self, tally, self->min_malicious))
        return is_grayware(self, tally) ? MS_VERDICT_GRAYWARE : MS_VERDICT_MALICIOUS;
    return is_benign(self, tally) ? MS_VERDICT_BENIGN : MS_VERDICT_UNCERTAIN;
}

bool ms_policy_is_strong_benign(const struct ms_vt_report *report, const struct ms_tally *tally)
{
    return report->trusted && tally->positives == 0 && tally->responding > 0;
}
