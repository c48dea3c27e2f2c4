/* The policies and what follows from them. */
#include "label/policy.h"

#include <string.h>

#define DAY_MS ((int64_t)86400000)

const struct ms_policy ms_policies[] = {
    {"ember2024", "5 engine groups malicious, 0 benign, scanned 90 days after first submission",
     MS_UNIT_GROUPS, 5, 0, 10, 90},
    {"sophos-1-5", "5 engines malicious, at most 1 benign", MS_UNIT_ENGINES, 5, 1, 10, 0},
    {"ember2017", "more than 40 engines malicious, 0 benign", MS_UNIT_ENGINES, 41, 0, 10, 0},
    {"ratio30", "30 percent of the engines malicious, 0 benign", MS_UNIT_PERCENT, 30, 0, 10, 0},
};
const size_t ms_policy_count = sizeof ms_policies / sizeof *ms_policies;

const char *ms_verdict_name(enum ms_verdict verdict)
{
    static const char *const names[] = {"malicious", "benign", "uncertain", "immature",
                                        "not_found"};
    return (unsigned)verdict < sizeof names / sizeof *names ? names[verdict] : "uncertain";
}

const struct ms_policy *ms_policy_find(const char *name)
{
    for (size_t i = 0; i < ms_policy_count; i++)
        if (strcmp(ms_policies[i].name, name) == 0)
            return &ms_policies[i];
    return NULL;
}

int64_t ms_policy_age_days(const struct ms_vt_report *report)
{
    if (report->first_submission_ms <= 0 || report->last_analysis_ms <= 0)
        return -1;
    int64_t age = report->last_analysis_ms - report->first_submission_ms;
    return age < 0 ? 0 : age / DAY_MS;
}

enum ms_verdict ms_policy_judge(const struct ms_policy *self, const struct ms_vt_report *report,
                                const struct ms_tally *tally)
{
    int64_t age = ms_policy_age_days(report);
    if (tally->responding == 0)
        return MS_VERDICT_UNCERTAIN;
    if (self->min_age_days > 0 && age >= 0 && age < (int64_t)self->min_age_days)
        return MS_VERDICT_IMMATURE;
    unsigned count = self->unit == MS_UNIT_GROUPS ? tally->groups : tally->positives;
    bool malicious =
        self->unit == MS_UNIT_PERCENT
            ? (uint64_t)tally->positives * 100 >= (uint64_t)self->min_malicious * tally->responding
            : count >= self->min_malicious;
    if (malicious)
        return MS_VERDICT_MALICIOUS;
    if (count <= self->max_benign && tally->responding >= self->min_responding)
        return MS_VERDICT_BENIGN;
    return MS_VERDICT_UNCERTAIN;
}

static int64_t doubled_days(int64_t first, int64_t most, int64_t tries)
{
    int64_t days = first;
    for (int64_t i = 1; i < tries && days < most; i++)
        days *= 2;
    return days < most ? days : most;
}

int64_t ms_policy_due_ms(const struct ms_policy *self, enum ms_verdict verdict,
                         const struct ms_vt_report *report, int64_t tries, int64_t now_ms)
{
    static const int64_t ages[] = {30, 90, 180};
    int64_t due = now_ms + 365 * DAY_MS, first = report->first_submission_ms;
    if (verdict == MS_VERDICT_IMMATURE) {
        due = first + (int64_t)self->min_age_days * DAY_MS;
        /* Of age by now, but nobody had it scanned again: look in from time to time. */
        if (due <= now_ms)
            due = now_ms + doubled_days(30, 365, tries) * DAY_MS;
    } else if (verdict == MS_VERDICT_UNCERTAIN) {
        due = now_ms + doubled_days(30, 365, tries) * DAY_MS;
    } else if (verdict == MS_VERDICT_BENIGN && first > 0) {
        for (size_t i = sizeof ages / sizeof *ages; i-- > 0;)
            if (first + ages[i] * DAY_MS > now_ms)
                due = first + ages[i] * DAY_MS;
    }
    return due < now_ms + DAY_MS ? now_ms + DAY_MS : due;
}

int64_t ms_policy_not_found_due_ms(int64_t tries, int64_t now_ms)
{
    int64_t days = tries <= 1 ? 7 : tries == 2 ? 14 : tries == 3 ? 28 : 90;
    return now_ms + days * DAY_MS;
}
