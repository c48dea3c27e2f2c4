/* Policies: from a tally and two dates to a verdict. A policy is data, a JSON text that comes with
 * the program or from a file; its canonical form and that form's digest are kept with the labels
 * made under it. Judging is pure. */
#ifndef MS_LABEL_POLICY_H
#define MS_LABEL_POLICY_H

#include "label/vote.h"

enum ms_verdict {
    MS_VERDICT_MALICIOUS,
    MS_VERDICT_BENIGN,
    MS_VERDICT_GRAYWARE, /* malicious by the count, but what the engines name is grayware */
    MS_VERDICT_UNCERTAIN,
    MS_VERDICT_IMMATURE,
    MS_VERDICT_NOT_FOUND,
    MS_VERDICT_COUNT
};
/* "malicious" … "not_found", the words of the label table. */
const char *ms_verdict_name(enum ms_verdict verdict);
/* The verdict of that name; MS_VERDICT_COUNT when it is none. */
enum ms_verdict ms_verdict_by_name(const char *name);
/* malicious, benign and grayware are decided: they give way only to policy->confirm scans in a row
 * that say the same. uncertain, immature and not_found are provisional and give way at once. */
bool ms_verdict_is_decided(enum ms_verdict verdict);

/* How a verdict and a class come about: by counting against thresholds, and the class layer of
 * label/vote; or as the authors of Mal-API-2019 did it (label/malapi2019). */
enum ms_policy_rule { MS_RULE_THRESHOLD, MS_RULE_MALAPI2019 };

/* What is counted against the thresholds. */
enum ms_policy_unit { MS_UNIT_GROUPS, MS_UNIT_ENGINES, MS_UNIT_PERCENT };

struct ms_policy {
    const char *name;
    const char *summary;
    enum ms_policy_rule rule;
    enum ms_policy_unit unit;
    unsigned min_malicious;  /* at least this many (percent: of those that answered): malicious */
    unsigned max_benign;     /* at most this many: benign */
    unsigned min_responding; /* engines that must have answered before silence counts as benign, and
                                before a percentage counts at all */
    unsigned min_age_days;   /* between first submission and the scan; 0: no matter */
    unsigned confirm;        /* scans in a row that must agree before a decided verdict changes */
    unsigned grayware;       /* bits 1 << enum ms_class: classes that make grayware */
    unsigned classes;        /* classes a label may get; what others win is none */
    struct ms_electorate who;
    const char *text; /* the canonical form */
    uint8_t digest[32];
    struct ms_groups *groups; /* the policy's own, or NULL */
    struct ms_arena arena;    /* of a policy from a file */
    bool builtin;
};

/* The policies that come with the program, parsed like a user's file: ember2024, the default (Joyce
 * et al. 2025: groups, 0 / 1-4 / 5, scans 90 days after first submission), sophos-1-5 (ALOHA and
 * MEADE: engines, at most 1 / 2-4 / 5), ember2017 (engines, 0 / more than 40), ratio30 (Saxe and
 * Berlin 2015: 0 / 30 percent), malapi2019. NULL from `count` on; each lives as long as the
 * process. Thread-safe. */
const struct ms_policy *ms_policy_builtin(size_t i);
/* NULL when none of them has that name. */
const struct ms_policy *ms_policy_find(const char *name);

/* Reads a policy: a JSON object with the members of schemas/policy.schema.json. MS_E_INPUT with the
 * reason for what is no JSON, for members that are unknown, of the wrong type or out of range, and
 * for the name of a built-in policy with another content. */
enum ms_status ms_policy_parse(struct ms_span text, struct ms_policy **out,
                               struct ms_error *err) MS_MUST_USE;

/* What --policy names: a file when it holds a '/' or ends in ".json", else a built-in policy.
 * MS_E_USAGE when there is none of that name, MS_E_INPUT for a bad file, MS_E_IO when it cannot be
 * read. Free it with ms_policy_free. */
enum ms_status ms_policy_open(const char *spec, const struct ms_policy **out,
                              struct ms_error *err) MS_MUST_USE;
/* Built-in ones and NULL stay. */
void ms_policy_free(const struct ms_policy *policy);

/* Days between first submission and the scan the report holds; -1 when either date is unknown. A
 * scan "before" the first submission counts as age 0. */
int64_t ms_policy_age_days(const struct ms_vt_report *report);

/* The verdict. A report that was never analysed is uncertain, as is a v2 one that is still queued;
 * a v2 one that says so is not found. One whose age is unknown is not held
 * to be immature: only dates can show that it is. What is malicious by its count is grayware when
 * the winning class is one of the policy's grayware classes, and those have half of all class votes
 * at least: AVClass's rule for potentially unwanted programs, on groups. Under malapi2019 the first
 * label makes it malicious, and there is no benign: its authors had malware only, and a sample
 * without labels is uncertain. */
enum ms_verdict ms_policy_judge(const struct ms_policy *self, const struct ms_vt_report *report,
                                const struct ms_tally *tally);
/* True when silence is more than silence: no detection, and the file is known good. */
bool ms_policy_is_strong_benign(const struct ms_vt_report *report, const struct ms_tally *tally);

#endif
