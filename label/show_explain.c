/* The explanation of one label. Every string from outside is escaped. */
#include "label/show.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static const char *or_dash(const char *text)
{
    return text && text[0] ? text : "-";
}

static const char *day(int64_t ms, char out[32])
{
    if (ms <= 0)
        return "unknown";
    ms_clock_format(ms, out);
    out[10] = '\0';
    return out;
}

/* ---- for people ---- */

/* "trojan(Trojan) vobfus* win": class words with their class, words that may be a family marked. */
static void format_tokens(const struct ms_tokens *tokens, struct ms_buf *out)
{
    ms_buf_clear(out);
    for (size_t i = 0; i < tokens->count; i++) {
        const struct ms_token *token = &tokens->items[i];
        if (i > 0)
            (void)ms_buf_append_byte(out, ' ');
        (void)ms_buf_append_text(out, token->text);
        if (token->class_ != MS_CLASS_NONE)
            (void)ms_buf_printf(out, "(%s)", ms_class_name(token->class_));
        else if (token->family)
            (void)ms_buf_append_byte(out, '*');
    }
}

/* Why a row that detects has no say in class and family, or what it says. */
static void format_say(const struct ms_judged *judged, const struct ms_ballot *ballot, char out[96])
{
    char name[80];
    if (!ballot->counts)
        (void)snprintf(out, 96, "(not counted)");
    else if (ballot->copy_of >= 0)
        (void)snprintf(
            out, 96, "= %s",
            ms_escape_text(judged->report.engines[ballot->copy_of].name, name, sizeof name));
    else
        (void)snprintf(out, 96, "%s%s", ms_class_name(ballot->tokens.class_),
                       ballot->speaks_for_group ? " <-" : "");
}

static bool detects(const struct ms_vt_engine *engine)
{
    return engine->category == MS_VT_MALICIOUS || engine->category == MS_VT_SUSPICIOUS;
}

static void print_rows(const struct ms_judged *judged)
{
    struct ms_buf tokens;
    ms_buf_init(&tokens, 4096);
    (void)printf("%-20s %-16s %-22s %-38s %s\n", "ENGINE", "GROUP", "CLASS", "LABEL",
                 "TOKENS (class) *family word");
    for (size_t i = 0; i < judged->report.engine_count; i++) {
        const struct ms_vt_engine *engine = &judged->report.engines[i];
        const struct ms_ballot *ballot = &judged->tally.ballots[i];
        char name[80], group[80], label[120], say[96];
        if (!detects(engine))
            continue;
        format_tokens(&ballot->tokens, &tokens);
        format_say(judged, ballot, say);
        (void)printf("%-20s %-16s %-22s %-38s %s\n",
                     ms_escape_text(engine->name, name, sizeof name),
                     ms_escape_text(ballot->group, group, sizeof group), say,
                     ms_escape_text(engine->result ? engine->result : "-", label, sizeof label),
                     ballot->counts ? ms_buf_text(&tokens) : "");
    }
    (void)printf(
        "<- speaks for its group; = the same label as an earlier engine: no vote; groups as "
        "of the scan\n\n");
    ms_buf_release(&tokens);
}

static void print_rule(const struct ms_policy *policy)
{
    static const char *const units[] = {"engine groups", "engines",
                                        "percent of the engines that answered"};
    (void)printf("policy:  %s: %s\n", policy->name, policy->summary);
    if (policy->rule == MS_RULE_MALAPI2019) {
        (void)printf("rule:    malapi2019: malicious by one label; each label's class is the first "
                     "word of a list in it, the plurality wins\n");
        return;
    }
    (void)printf("rule:    malicious from %u, benign up to %u %s; %u must answer; scanned %u days "
                 "after first submission; %u scans in a row change a verdict\n",
                 policy->min_malicious, policy->max_benign, units[policy->unit],
                 policy->min_responding, policy->min_age_days, policy->confirm);
}

static void print_dates(const struct ms_explained *e)
{
    const struct ms_derived *derived = e->derived;
    char a[32], b[32], c[32];
    (void)printf(
        "dates:   first submitted %s, scanned %s (age %lld days), in the corpus since %s\n",
        day(e->judged->report.first_submission_ms, a), day(e->judged->report.last_analysis_ms, b),
        (long long)ms_policy_age_days(&e->judged->report), day(e->scan->fetched_ms, c));
    (void)printf("scans:   %u", derived->scans);
    for (unsigned i = 0; i < derived->scans && i < MS_DERIVED_SCANS; i++)
        (void)printf("%s%s %s",
                     i                                   ? ", "
                     : derived->scans > MS_DERIVED_SCANS ? ", last: "
                                                         : ": ",
                     day(derived->history[i].known_ms, a),
                     ms_verdict_name(derived->history[i].verdict));
    (void)printf("%s\n", derived->unusable ? "; some stored answers are no reports" : "");
}

static const char *agreement(const struct ms_judged *judged, char out[64])
{
    enum ms_class theirs = ms_class_of_vt_category(judged->report.category);
    enum ms_class ours = judged->class_ ? ms_class_by_name(judged->class_) : MS_CLASS_NONE;
    if (theirs == MS_CLASS_NONE)
        (void)snprintf(out, 64, "none of our classes");
    else
        (void)snprintf(out, 64, "%s: %s", ms_class_name(theirs),
                       ours == MS_CLASS_NONE ? "we have none"
                       : ours == theirs      ? "agrees"
                                             : "disagrees");
    return out;
}

static void print_classes(const struct ms_explained *e)
{
    const struct ms_judged *judged = e->judged;
    const struct ms_tally *tally = &judged->tally;
    const struct ms_vt_report *report = &judged->report;
    char shown[160], category[160], same[64];
    bool unwanted = e->deriver->policy->rule == MS_RULE_THRESHOLD && !judged->class_ &&
                    tally->class_ != MS_CLASS_NONE;
    (void)printf("count:   %u of %u engines that answered detect; groups: %u of %u\n",
                 tally->positives, tally->responding, tally->groups, tally->responding_groups);
    (void)printf("class:   %s (%u votes, margin %u)%s%s of %s\n",
                 judged->class_ ? judged->class_ : "none", judged->class_votes, judged->margin,
                 unwanted ? "; the policy does not want " : "",
                 unwanted ? ms_class_name(tally->class_) : "", judged->votes);
    if (report->category)
        (void)printf("         VirusTotal: %s (%s), %s\n",
                     ms_escape_text(report->category, category, sizeof category),
                     ms_escape_text(or_dash(report->suggested), shown, sizeof shown),
                     agreement(judged, same));
    else
        (void)printf("         VirusTotal gives no category\n");
    (void)printf("family:  %s (%u votes)%s\n",
                 ms_escape_text(or_dash(tally->family), shown, sizeof shown), tally->family_votes,
                 !tally->family[0]             ? ""
                 : tally->family_verified == 1 ? ", known to AVClass"
                 : tally->family_verified == 0
                     ? ", unverified: not in AVClass's taxonomy"
                     : ", unverified: AVClass's data files are not there");
}

static void print_verdict(const struct ms_explained *e)
{
    const struct ms_derived *derived = e->derived;
    const char *remark = "";
    if (e->judged && derived->verdict == MS_VERDICT_BENIGN)
        remark = ms_policy_is_strong_benign(&e->judged->report, &e->judged->tally)
                     ? " (strong: no detection, and known good)"
                     : " (weak: few detections alone)";
    (void)printf("verdict: %s%s", ms_verdict_name(derived->verdict), remark);
    if (derived->contested)
        (void)printf(", contested: the newest scan says %s, and %u in a row must",
                     ms_verdict_name(derived->newest), e->deriver->policy->confirm);
    if (strcmp(e->deriver->name, e->deriver->policy->name) != 0)
        (void)printf(" (%s: only what was known then)", e->deriver->name);
    (void)printf("\n");
}

/* ---- JSON ---- */

static json_t *json_rows(const struct ms_judged *judged)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows && judged && i < judged->report.engine_count; i++) {
        const struct ms_vt_engine *engine = &judged->report.engines[i];
        const struct ms_ballot *ballot = &judged->tally.ballots[i];
        json_t *tokens = json_array();
        const char *copied =
            ballot->copy_of >= 0 ? judged->report.engines[ballot->copy_of].name : NULL;
        for (size_t t = 0; tokens && t < ballot->tokens.count; t++)
            (void)json_array_append_new(tokens, ms_json_text(ballot->tokens.items[t].text));
        (void)json_array_append_new(
            rows,
            json_pack("{s:o,s:o,s:b,s:s,s:o,s:s,s:o,s:b,s:o}", "engine", ms_json_text(engine->name),
                      "group", ms_json_text(ballot->group), "counts", ballot->counts, "category",
                      ms_vt_category_name(engine->category), "label", ms_json_text(engine->result),
                      "class", ms_class_name(ballot->tokens.class_), "copy_of",
                      ms_json_text(copied), "speaks", ballot->speaks_for_group, "tokens", tokens));
    }
    return rows;
}

static json_t *json_time(int64_t ms)
{
    char text[32];
    if (ms <= 0)
        return json_null();
    ms_clock_format(ms, text);
    return json_string(text);
}

static json_t *json_scans(const struct ms_derived *derived)
{
    json_t *list = json_array();
    for (unsigned i = 0; list && i < derived->scans && i < MS_DERIVED_SCANS; i++)
        (void)json_array_append_new(
            list, json_pack("{s:o,s:s}", "known", json_time(derived->history[i].known_ms),
                            "verdict", ms_verdict_name(derived->history[i].verdict)));
    return list;
}

static json_t *json_digest(const uint8_t digest[32])
{
    char text[MS_HASH_HEX_MAX];
    ms_hex_encode(digest, 32, text);
    return json_string(text);
}

/* What the label rests on; nothing of it after a 404. */
static void add_judged(json_t *object, const struct ms_explained *e)
{
    const struct ms_judged *judged = e->judged;
    const struct ms_tally *tally = &judged->tally;
    const struct ms_vt_report *report = &judged->report;
    enum ms_class theirs = ms_class_of_vt_category(report->category);
    enum ms_class ours = judged->class_ ? ms_class_by_name(judged->class_) : MS_CLASS_NONE;
    int64_t age = ms_policy_age_days(report);
    json_t *more = json_pack(
        "{s:s,s:i,s:i,s:o,s:o,s:i,s:o,s:i,s:i,s:i,s:i,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o}", "class",
        judged->class_ ? judged->class_ : "none", "class_votes", (int)judged->class_votes, "margin",
        (int)judged->margin, "votes", json_loads(judged->votes, 0, NULL), "family",
        ms_json_text(tally->family[0] ? tally->family : NULL), "family_votes",
        (int)tally->family_votes, "family_verified",
        tally->family_verified < 0 ? json_null() : json_boolean(tally->family_verified),
        "positives", (int)tally->positives, "responding", (int)tally->responding, "groups",
        (int)tally->groups, "responding_groups", (int)tally->responding_groups, "first_submission",
        json_time(report->first_submission_ms), "age_days",
        age < 0 ? json_null() : json_integer(age), "vt_category", ms_json_text(report->category),
        "vt_class", theirs == MS_CLASS_NONE ? json_null() : json_string(ms_class_name(theirs)),
        "agrees",
        theirs == MS_CLASS_NONE || ours == MS_CLASS_NONE ? json_null()
                                                         : json_boolean(ours == theirs),
        "suggested", ms_json_text(report->suggested), "known_good", report->trusted, "as_of",
        json_time(ms_scan_known_ms(e->scan)));
    if (more)
        (void)json_object_update(object, more);
    json_decref(more);
}

static enum ms_status print_json(const struct ms_explained *e, struct ms_error *err)
{
    const struct ms_derived *derived = e->derived;
    const struct ms_policy *policy = e->deriver->policy;
    json_t *object =
        json_pack("{s:o,s:s,s:o,s:o,s:o,s:s,s:o,s:i,s:o}", "hash", ms_json_text(e->hash), "policy",
                  e->deriver->name, "rule", json_loads(policy->text, 0, NULL), "policy_digest",
                  json_digest(policy->digest), "taxonomy", json_digest(e->deriver->taxonomy),
                  "verdict", ms_verdict_name(derived->verdict), "contested",
                  derived->contested ? json_string(ms_verdict_name(derived->newest)) : json_null(),
                  "scan_count", (int)derived->scans, "scans", json_scans(derived));
    if (!object)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (e->judged)
        add_judged(object, e);
    (void)json_object_set_new(object, "engines", json_rows(e->judged));
    return ms_json_line(stdout, object, err);
}

enum ms_status ms_show_explanation(const struct ms_explained *explained, bool json,
                                   struct ms_error *err)
{
    if (json)
        return print_json(explained, err);
    if (explained->judged) {
        print_rows(explained->judged);
        print_dates(explained);
    }
    print_rule(explained->deriver->policy);
    if (explained->judged)
        print_classes(explained);
    print_verdict(explained);
    return MS_OK;
}
