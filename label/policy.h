/* Policies: from a tally and two dates to a verdict. Pure; a policy is data with a name that is
 * stored on every label made under it. */
#ifndef MS_LABEL_POLICY_H
#define MS_LABEL_POLICY_H

#include "label/vote.h"

enum ms_verdict {
    MS_VERDICT_MALICIOUS,
    MS_VERDICT_BENIGN,
    MS_VERDICT_UNCERTAIN,
    MS_VERDICT_IMMATURE,
    MS_VERDICT_NOT_FOUND
};
/* "malicious" … "not_found", the words of the label table. */
const char *ms_verdict_name(enum ms_verdict verdict);

/* What is counted against the thresholds. */
enum ms_policy_unit { MS_UNIT_GROUPS, MS_UNIT_ENGINES, MS_UNIT_PERCENT };

struct ms_policy {
    const char *name;
    const char *summary;
    enum ms_policy_unit unit;
    unsigned min_malicious;  /* at least this many: malicious */
    unsigned max_benign;     /* at most this many: benign */
    unsigned min_responding; /* engines that must have answered before silence counts as benign */
    unsigned min_age_days;   /* between first submission and the scan; 0: no matter */
};

/* ember2024 (Joyce et al. 2025: groups, 0 / 1-4 / 5, scans 90 days after first submission),
 * sophos-1-5 (ALOHA and MEADE: engines, at most 1 / 2-4 / 5), ember2017 (engines, 0 / more than
 * 40), ratio30 (Saxe and Berlin 2015: 0 / 30 percent). */
extern const struct ms_policy ms_policies[];
extern const size_t ms_policy_count;

/* NULL when there is no such policy. */
const struct ms_policy *ms_policy_find(const char *name);

/* Days between first submission and the scan the report holds; -1 when either date is unknown. A
 * scan "before" the first submission counts as age 0. */
int64_t ms_policy_age_days(const struct ms_vt_report *report);

/* The verdict. A report that was never analysed is uncertain. One whose age is unknown is not held
 * to be immature: only dates can show that it is. */
enum ms_verdict ms_policy_judge(const struct ms_policy *self, const struct ms_vt_report *report,
                                const struct ms_tally *tally);

/* When the sample is worth asking about again, UTC ms: an immature one when it comes of age, an
 * uncertain one after 30 days, doubling with each try to 365; a benign one 30, 90 and 180 days
 * after first submission, then as the rest, yearly. tries: answers so far, this one included,
 * from 1. Never earlier than a day after now_ms. */
int64_t ms_policy_due_ms(const struct ms_policy *self, enum ms_verdict verdict,
                         const struct ms_vt_report *report, int64_t tries, int64_t now_ms);

/* When to ask again for a hash that is unknown there: 7, 14, 28, then every 90 days. */
int64_t ms_policy_not_found_due_ms(int64_t tries, int64_t now_ms);

#endif
