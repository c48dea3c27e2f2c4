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

static json_t *verified_or_null(int64_t value)
{
    return value >= 0 ? json_boolean(value) : json_null();
}

static enum ms_status json_hash(const struct ms_shown *row, struct ms_error *err)
{
    const struct ms_label none = {.margin = -1,
                                  .positives = -1,
                                  .responding = -1,
                                  .groups = -1,
                                  .family_votes = -1,
                                  .family_verified = -1};
    const struct ms_label *label = row->label ? row->label : &none;
    json_t *votes = label->votes_json ? json_loads(label->votes_json, 0, NULL) : NULL;
    int64_t class_votes = label->class_ ? ms_json_int_at(votes, label->class_, -1) : -1;
    json_t *object = json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "hash",
        ms_json_text(row->hash), "state", ms_json_text(row->state), "reason",
        text_or_null(row->reason), "policy", text_or_null(label->policy), "verdict",
        text_or_null(label->verdict), "contested", text_or_null(label->contested), "class",
        ms_json_text(label->class_ ? label->class_ : "none"), "class_votes",
        number_or_null(class_votes), "family", text_or_null(label->family), "family_votes",
        number_or_null(label->family_votes), "family_verified",
        verified_or_null(label->family_verified), "positives", number_or_null(label->positives),
        "responding", number_or_null(label->responding), "groups", number_or_null(label->groups),
        "margin", number_or_null(label->margin), "votes", votes ? votes : json_object(),
        "vt_category", text_or_null(label->vt_category), "vt_class", text_or_null(label->vt_class),
        "as_of", time_or_null(label->as_of_ms), "due", time_or_null(row->due_ms));
    if (object && row->would_ask)
        (void)json_object_set_new(object, "would_ask", json_true());
    return print_line(object, err);
}

enum ms_status ms_show_hash(const struct ms_shown *row, bool json, struct ms_error *err)
{
    const struct ms_label *label = row->label;
    char reason[300] = "", groups[48] = "-", votes[24] = "-";
    if (json)
        return json_hash(row, err);
    if (row->reason && row->reason[0])
        (void)ms_escape_text(row->reason, reason, sizeof reason);
    if (label && label->groups >= 0)
        (void)snprintf(groups, sizeof groups, "%lld/%lld", (long long)label->groups,
                       (long long)label->responding);
    if (label && label->class_) {
        json_t *all = label->votes_json ? json_loads(label->votes_json, 0, NULL) : NULL;
        (void)snprintf(votes, sizeof votes, "%lld",
                       (long long)ms_json_int_at(all, label->class_, 0));
        json_decref(all);
    }
    (void)printf("%-64s %-9s %-10s %-10s %5s %-16s %7s%s%s%s%s\n", row->hash,
                 row->would_ask ? "ask" : row->state, or_dash(label ? label->verdict : NULL),
                 or_dash(label ? label->class_ : NULL), votes,
                 or_dash(label ? label->family : NULL), groups,
                 label && label->contested ? "  contested: " : "",
                 label && label->contested ? label->contested : "", reason[0] ? "  " : "", reason);
    return MS_OK;
}
