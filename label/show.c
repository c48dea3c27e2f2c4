/* Printing. Every string from outside is escaped. */
#include "label/show.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static const char *or_dash(const char *text)
{
    return text && text[0] ? text : "-";
}

static json_t *text_or_null(const char *text)
{
    return ms_json_text(text && text[0] ? text : NULL);
}

static json_t *number_or_null(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

static json_t *time_or_null(int64_t ms)
{
    char text[32];
    if (ms <= 0)
        return json_null();
    ms_clock_format(ms, text);
    return ms_json_text(text);
}

static enum ms_status print_line(json_t *object, struct ms_error *err)
{
    return object ? ms_json_line(stdout, object, err)
                  : ms_error_set(err, MS_E_NOMEM, "out of memory");
}

static enum ms_status json_hash(const struct ms_shown *row, struct ms_error *err)
{
    const struct ms_label none = {.margin = -1, .positives = -1, .responding = -1, .groups = -1};
    const struct ms_label *label = row->label ? row->label : &none;
    json_t *votes = label->votes_json ? json_loads(label->votes_json, 0, NULL) : NULL;
    json_t *object = json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "hash",
        ms_json_text(row->hash), "state", ms_json_text(row->state), "reason",
        text_or_null(row->reason), "policy", text_or_null(label->policy), "verdict",
        text_or_null(label->verdict), "class", ms_json_text(label->class_ ? label->class_ : "none"),
        "family", text_or_null(label->family), "positives", number_or_null(label->positives),
        "responding", number_or_null(label->responding), "groups", number_or_null(label->groups),
        "margin", number_or_null(label->margin), "votes", votes ? votes : json_object(),
        "vt_category", text_or_null(label->vt_category), "as_of", time_or_null(label->as_of_ms),
        "due", time_or_null(row->due_ms));
    if (object && row->would_ask)
        (void)json_object_set_new(object, "would_ask", json_true());
    return print_line(object, err);
}

enum ms_status ms_show_hash(const struct ms_shown *row, bool json, struct ms_error *err)
{
    const struct ms_label *label = row->label;
    char reason[300] = "", groups[48] = "-";
    if (json)
        return json_hash(row, err);
    if (row->reason && row->reason[0])
        (void)ms_escape_text(row->reason, reason, sizeof reason);
    if (label && label->groups >= 0)
        (void)snprintf(groups, sizeof groups, "%lld/%lld", (long long)label->groups,
                       (long long)label->responding);
    (void)printf("%-64s %-9s %-10s %-10s %-16s %7s%s%s\n", row->hash,
                 row->would_ask ? "ask" : row->state, or_dash(label ? label->verdict : NULL),
                 or_dash(label ? label->class_ : NULL), or_dash(label ? label->family : NULL),
                 groups, reason[0] ? "  " : "", reason);
    return MS_OK;
}

/* "trojan! downloader* win. vobfus": class words with the class, generic ones dotted, family words
 * bare. */
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

static void print_rows(const struct ms_judged *judged)
{
    struct ms_buf tokens;
    ms_buf_init(&tokens, 4096);
    (void)printf("%-22s %-18s %-11s %-36s %s\n", "ENGINE", "GROUP", "CLASS", "LABEL",
                 "TOKENS (class) *family word");
    for (size_t i = 0; i < judged->report.engine_count; i++) {
        const struct ms_vt_engine *engine = &judged->report.engines[i];
        const struct ms_ballot *ballot = &judged->tally.ballots[i];
        char name[80], group[80], label[120];
        if (!ballot->detects)
            continue;
        format_tokens(&ballot->tokens, &tokens);
        (void)printf("%-22s %-18s %-9s%-2s %-36s %s\n",
                     ms_escape_text(engine->name, name, sizeof name),
                     ms_escape_text(ballot->group, group, sizeof group),
                     ballot->copy_of >= 0 ? "(copy)" : ms_class_name(ballot->tokens.class_),
                     ballot->speaks_for_group ? "<-" : "",
                     ms_escape_text(engine->result ? engine->result : "-", label, sizeof label),
                     ms_buf_text(&tokens));
    }
    ms_buf_release(&tokens);
}

static void print_summary(const struct ms_policy *policy, const struct ms_judged *judged,
                          const struct ms_scan *scan)
{
    const struct ms_tally *tally = &judged->tally;
    const struct ms_vt_report *report = &judged->report;
    char votes[256], fetched[32], analysed[32] = "unknown", first[32] = "unknown", shown[160];
    ms_tally_votes_json(tally, votes);
    ms_clock_format(scan->fetched_ms, fetched);
    if (report->last_analysis_ms > 0)
        ms_clock_format(report->last_analysis_ms, analysed);
    if (report->first_submission_ms > 0)
        ms_clock_format(report->first_submission_ms, first);
    (void)printf("\nfirst submitted %s, scanned %s (age %lld days), fetched %s\n", first, analysed,
                 (long long)ms_policy_age_days(report), fetched);
    (void)printf("engines: %u of %u that answered detect; groups: %u of %u\n", tally->positives,
                 tally->responding, tally->groups, tally->responding_groups);
    (void)printf("votes:   %s, <- marks the row that speaks for its group\n", votes);
    (void)printf("class:   %s (margin %u)\n", ms_class_name(tally->class_), tally->margin);
    (void)printf("family:  %s (%u groups)\n", or_dash(tally->family), tally->family_votes);
    (void)printf("VirusTotal's own: %s%s\n",
                 ms_escape_text(or_dash(report->suggested), shown, sizeof shown),
                 report->trusted ? " (known good)" : "");
    (void)printf("policy:  %s: %s\n", policy->name, policy->summary);
    (void)printf("verdict: %s\n", ms_verdict_name(judged->verdict));
}

static json_t *json_rows(const struct ms_judged *judged)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < judged->report.engine_count; i++) {
        const struct ms_vt_engine *engine = &judged->report.engines[i];
        const struct ms_ballot *ballot = &judged->tally.ballots[i];
        json_t *tokens = json_array();
        for (size_t t = 0; tokens && t < ballot->tokens.count; t++)
            (void)json_array_append_new(tokens, ms_json_text(ballot->tokens.items[t].text));
        (void)json_array_append_new(
            rows,
            json_pack("{s:o,s:o,s:s,s:o,s:s,s:b,s:b,s:o}", "engine", ms_json_text(engine->name),
                      "group", ms_json_text(ballot->group), "category",
                      ms_vt_category_name(engine->category), "label", ms_json_text(engine->result),
                      "class", ms_class_name(ballot->tokens.class_), "copy", ballot->copy_of >= 0,
                      "speaks", ballot->speaks_for_group, "tokens", tokens));
    }
    return rows;
}

enum ms_status ms_show_explanation(const char *hash, const struct ms_policy *policy,
                                   const struct ms_judged *judged, const struct ms_scan *scan,
                                   bool json, struct ms_error *err)
{
    const struct ms_tally *tally = &judged->tally;
    char votes[256];
    if (!json) {
        print_rows(judged);
        print_summary(policy, judged, scan);
        return MS_OK;
    }
    ms_tally_votes_json(tally, votes);
    return print_line(
        json_pack("{s:o,s:s,s:s,s:s,s:o,s:i,s:i,s:i,s:i,s:o,s:o,s:o,s:o,s:o}", "hash",
                  ms_json_text(hash), "policy", policy->name, "verdict",
                  ms_verdict_name(judged->verdict), "class", ms_class_name(tally->class_), "family",
                  text_or_null(tally->family), "positives", (int)tally->positives, "responding",
                  (int)tally->responding, "groups", (int)tally->groups, "margin",
                  (int)tally->margin, "votes", json_loads(votes, 0, NULL), "age_days",
                  number_or_null(ms_policy_age_days(&judged->report)), "as_of",
                  time_or_null(scan->fetched_ms), "suggested",
                  text_or_null(judged->report.suggested), "engines", json_rows(judged)),
        err);
}
