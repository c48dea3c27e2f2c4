/* The summary of a night as one HTML page; its curves are in nightly_curves.c. Shows records;
 * everything in them goes through ms_html_text. */
#include "malseq/nightly.h"

#include "base/chart.h"
#include "base/json.h"
#include "base/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_text(struct ms_buf *out, const json_t *object, const char *path)
{
    ms_html_text(ms_json_string_at(object, path, ""), out);
}

/* 12 345 678 with thin spaces. */
static void put_count(struct ms_buf *out, json_int_t value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
    for (int i = 0; i < n; i++) {
        if (i && digits[i - 1] != '-' && (n - i) % 3 == 0)
            ms_page_put(out, "&#8239;");
        (void)ms_buf_append_byte(out, (uint8_t)digits[i]);
    }
}

static void put_bytes(struct ms_buf *out, json_int_t value)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double x = (double)value;
    size_t u = 0;
    for (; x >= 1000 && u + 1 < sizeof units / sizeof *units; u++)
        x /= 1000;
    (void)ms_buf_printf(out, u ? "%.1f&nbsp;%s" : "%.0f&nbsp;%s", x, units[u]);
}

/* ---- the head ---- */

static void put_card(struct ms_buf *out, const char *name, json_int_t value, bool sign,
                     const char *note, json_int_t all)
{
    ms_page_put(out, "<div class=\"card\"><span>");
    ms_page_put(out, name);
    ms_page_put(out, "</span><b>");
    ms_page_put(out, sign && value > 0 ? "+" : "");
    put_count(out, value);
    ms_page_put(out, "</b><span>");
    ms_page_put(out, note);
    put_count(out, all);
    ms_page_put(out, "</span></div>\n");
}

static void put_cards(const json_t *record, struct ms_buf *out)
{
    json_int_t free_bytes = ms_json_int_at(record, "disk.free_bytes", 0);
    ms_page_put(out, "<div class=\"cards\">\n");
    put_card(out, "New samples", malseq_night_count(record, "new", "samples", "all"), true, "of ",
             malseq_night_count(record, "census", "samples", "all"));
    put_card(out, "New labels", malseq_night_sum(record, "new", "labels"), true, "of ",
             malseq_night_sum(record, "census", "labels"));
    put_card(out, "New traces", malseq_night_count(record, "new", "analyses", "ok"), true, "of ",
             malseq_night_count(record, "census", "analyses", "ok"));
    json_t *quota;
    size_t i;
    json_array_foreach(json_object_get(record, "quota"), i, quota) if (i == 0)
        put_card(out, "Look-ups today", ms_json_int_at(quota, "used_today", 0), false,
                 "allowed a day: ", ms_json_int_at(quota, "allowed_a_day", 0));
    ms_page_put(out, "<div class=\"card\"><span>Disk</span><b>");
    put_bytes(out, free_bytes);
    ms_page_put(out, "</b><span>free of ");
    put_bytes(out, ms_json_int_at(record, "disk.total_bytes", 0));
    ms_page_put(out, "</span></div>\n</div>\n");
}

static double number_of(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* The model of that name in the newest earlier night that has one. */
static const json_t *model_before(const json_t *history, const char *name)
{
    for (size_t n = json_array_size(history); n > 0; n--) {
        json_t *m;
        size_t i;
        json_array_foreach(json_object_get(json_array_get(history, n - 1), "models"), i,
                           m) if (strcmp(ms_json_string_at(m, "model", ""), name) == 0) return m;
    }
    return NULL;
}

/* What a model's figures give to think about. */
static void put_doubts(const json_t *record, const json_t *history, struct ms_buf *out)
{
    json_t *model;
    size_t i;
    json_array_foreach(json_object_get(record, "models"), i, model)
    {
        const json_t *before = model_before(history, ms_json_string_at(model, "model", ""));
        double accuracy = number_of(model, "accuracy"), was = number_of(before, "accuracy");
        bool fell = number_of(model, "accuracy_high") < number_of(before, "accuracy_low");
        bool beaten = number_of(model, "accuracy_low") > number_of(model, "majority_accuracy");
        if (!fell && (beaten || isnan(accuracy)))
            continue;
        ms_page_put(out, "<li class=\"bad\">");
        put_text(out, model, "model");
        if (fell)
            (void)ms_buf_printf(out,
                                ": the accuracy fell from %.3f to %.3f, by more than chance "
                                "explains: look at what came in</li>\n",
                                was, accuracy);
        else
            (void)ms_buf_printf(out,
                                ": an accuracy of %.3f does not surely beat the majority class, "
                                "%.3f</li>\n",
                                accuracy, number_of(model, "majority_accuracy"));
    }
}

static void put_verdict(const json_t *record, const json_t *history, struct ms_buf *out)
{
    json_int_t code = ms_json_int_at(record, "exit", 0);
    ms_page_put(out, code ? "<section class=\"warn\"><h2>" : "<section><h2>");
    (void)ms_buf_printf(out, "%s (exit code %lld)</h2><ul>\n",
                        code == 0    ? "The night is done"
                        : code == 75 ? "Something is left for later"
                                     : "Something failed",
                        (long long)code);
    if (code) {
        ms_page_put(out, "<li class=\"bad\">");
        put_text(out, record, "why");
        ms_page_put(out, "</li>\n");
    }
    json_t *step, *off;
    size_t i;
    json_array_foreach(json_object_get(record, "steps"), i, step)
    {
        const char *why = ms_json_string_at(step, "why", NULL);
        if (!why)
            continue;
        ms_page_put(out, "<li>");
        put_text(out, step, "step");
        ms_page_put(out, " (");
        put_text(out, step, "state");
        ms_page_put(out, "): ");
        ms_html_text(why, out);
        const char *until = ms_json_string_at(step, "resume_at", NULL);
        ms_page_put(out, until ? "; try again at " : "");
        ms_html_text(until ? until : "", out);
        ms_page_put(out, "</li>\n");
    }
    json_array_foreach(json_object_get(record, "off"), i, off)
    {
        ms_page_put(out, i ? ", " : "<li>off: ");
        ms_html_text(json_string_value(off), out);
    }
    ms_page_put(out, i ? "</li>\n" : "");
    put_doubts(record, history, out);
    ms_page_put(out, "</ul></section>\n");
}

/* ---- tables ---- */

static void put_steps(const json_t *record, struct ms_buf *out)
{
    json_t *step, *count;
    const char *name;
    size_t i;
    ms_page_put(out, "<section><h2>What was run</h2><div class=\"scroll\"><table class=\"wide "
                     "errors\"><thead><tr><th>step</th><th>end</th><th>exit code</th><th>seconds"
                     "</th><th>of</th><th>warnings</th><th>counted</th></tr></thead><tbody>\n");
    json_array_foreach(json_object_get(record, "steps"), i, step)
    {
        const char *before = "";
        ms_page_put(out, "<tr><td>");
        put_text(out, step, "step");
        ms_page_put(out, "</td><td>");
        put_text(out, step, "state");
        ms_page_put(out, "</td><td>");
        if (json_is_integer(json_object_get(step, "exit")))
            put_count(out, ms_json_int_at(step, "exit", 0));
        (void)ms_buf_printf(out, "</td><td>%.1f</td><td>%.0f</td><td>%lld</td><td>",
                            json_number_value(json_object_get(step, "seconds")),
                            json_number_value(json_object_get(step, "allowed_seconds")),
                            (long long)ms_json_int_at(step, "warnings", 0));
        json_object_foreach(json_object_get(step, "counts"), name,
                            count) if (json_is_integer(count) && json_integer_value(count))
        {
            ms_page_put(out, before);
            ms_html_text(name, out);
            ms_page_put(out, "&nbsp;");
            put_count(out, json_integer_value(count));
            before = ", ";
        }
        ms_page_put(out, "</td></tr>\n");
    }
    ms_page_put(out, "</tbody></table></div></section>\n");
}

static void put_census(const json_t *record, struct ms_buf *out)
{
    static const struct {
        const char *section, *name;
    } rows[] = {{"samples", "samples"},   {"blobs", "files opened"}, {"origins", "origins"},
                {"lookups", "look-ups"},  {"labels", "labels"},      {"classes", "classes"},
                {"analyses", "analyses"}, {"traces", "traces"}};
    ms_page_put(out, "<section><h2>What came in</h2><div class=\"scroll\"><table "
                     "class=\"wide\"><thead><tr><th></th><th>now</th><th>change</th></tr></thead>"
                     "<tbody>\n");
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        json_t *part = json_object_get(json_object_get(record, "census"), rows[r].section), *count;
        const char *name;
        json_object_foreach(part, name, count)
        {
            json_int_t change = malseq_night_count(record, "new", rows[r].section, name);
            (void)ms_buf_printf(out, "<tr><td>%s: ", rows[r].name);
            ms_html_text(name, out);
            ms_page_put(out, "</td><td>");
            put_count(out, json_integer_value(count));
            ms_page_put(out, "</td><td>");
            if (change) {
                ms_page_put(out, change > 0 ? "+" : "");
                put_count(out, change);
            }
            ms_page_put(out, "</td></tr>\n");
        }
    }
    ms_page_put(out, "</tbody></table></div></section>\n");
}

static void put_failures(const json_t *record, struct ms_buf *out)
{
    json_t *list = json_object_get(record, "failures"), *failure;
    size_t i;
    ms_page_put(out, "<section><h2>What failed, and why</h2>");
    if (json_array_size(list) == 0) {
        ms_page_put(out, "<p>Nothing.</p></section>\n");
        return;
    }
    ms_page_put(out, "<div class=\"scroll\"><table class=\"wide errors\"><thead><tr><th>what</th>"
                     "<th>state</th><th>how many</th><th>why</th></tr></thead><tbody>\n");
    json_array_foreach(list, i, failure)
    {
        ms_page_put(out, "<tr><td>");
        put_text(out, failure, "what");
        ms_page_put(out, "</td><td>");
        put_text(out, failure, "state");
        ms_page_put(out, "</td><td>");
        put_count(out, ms_json_int_at(failure, "count", 0));
        ms_page_put(out, "</td><td style=\"white-space:normal\">");
        put_text(out, failure, "reason");
        ms_page_put(out, "</td></tr>\n");
    }
    ms_page_put(out, "</tbody></table></div><p class=\"note\">Each of these costs itself alone. "
                     "Origins are all that cannot be collected from now; the rest is of this "
                     "night.</p></section>\n");
}

static void put_models(const json_t *record, struct ms_buf *out)
{
    static const char *const figures[] = {"accuracy", "majority_accuracy", "balanced_accuracy",
                                          "macro_f1", "auc"};
    json_t *model;
    size_t i;
    if (json_array_size(json_object_get(record, "models")) == 0)
        return;
    ms_page_put(out, "<section><h2>Models</h2><div class=\"scroll\"><table class=\"wide\"><thead>"
                     "<tr><th>model</th><th>traces</th><th>accuracy</th><th>majority class</th>"
                     "<th>balanced accuracy</th><th>macro-F1</th><th>AUC</th><th></th></tr></thead>"
                     "<tbody>\n");
    json_array_foreach(json_object_get(record, "models"), i, model)
    {
        ms_page_put(out, "<tr><td>");
        put_text(out, model, "model");
        ms_page_put(out, "</td><td>");
        put_count(out, ms_json_int_at(model, "samples", 0));
        ms_page_put(out, "</td>");
        for (size_t f = 0; f < sizeof figures / sizeof *figures; f++) {
            json_t *value = json_object_get(model, figures[f]);
            ms_page_put(out, "<td>");
            ms_page_real(out, json_is_number(value) ? json_number_value(value) : NAN);
            if (f == 0 && json_is_number(json_object_get(model, "accuracy_low")))
                (void)ms_buf_printf(out, "<small>%.3f&hairsp;&ndash;&hairsp;%.3f</small>",
                                    json_number_value(json_object_get(model, "accuracy_low")),
                                    json_number_value(json_object_get(model, "accuracy_high")));
            ms_page_put(out, "</td>");
        }
        ms_page_put(out, json_is_true(json_object_get(model, "trained"))
                             ? "<td>trained tonight</td></tr>\n"
                             : "<td>as before</td></tr>\n");
    }
    ms_page_put(out,
                "</tbody></table></div><p class=\"note\">An accuracy that does not beat the "
                "majority class says nothing. Each model's own page is models/NAME/report.html "
                "in the corpus.</p></section>\n");
}

static void put_fact(struct ms_buf *out, const char *name, json_int_t value, const char *more)
{
    ms_page_put(out, "<tr><td>");
    ms_page_put(out, name);
    ms_page_put(out, "</td><td>");
    put_count(out, value);
    ms_page_put(out, more);
    ms_page_put(out, "</td></tr>\n");
}

static void put_audit(const json_t *record, struct ms_buf *out)
{
    json_t *audit = json_object_get(record, "audit");
    char more[160];
    if (!json_is_object(audit))
        return;
    double source = json_number_value(ms_json_at(audit, "sources.label_by_source.accuracy"));
    double majority = json_number_value(ms_json_at(audit, "sources.label_by_source.majority"));
    ms_page_put(out, "<section><h2>What the labelled traces can show</h2><table class=\"facts\">"
                     "<tbody>\n");
    put_fact(out, "labelled traces", ms_json_int_at(audit, "traces", 0), "");
    put_fact(out, "distinct, runs collapsed", ms_json_int_at(audit, "copies.collapsed.distinct", 0),
             "");
    (void)snprintf(more, sizeof more, " (no rule is right on more than %.3f)",
                   json_number_value(ms_json_at(audit, "copies.collapsed.ceiling")));
    put_fact(out, "in copies that contradict each other",
             ms_json_int_at(audit, "copies.collapsed.contradicting", 0), more);
    put_fact(out, "distinct, near copies counted once", ms_json_int_at(audit, "near.distinct", 0),
             "");
    (void)snprintf(more, sizeof more,
                   "<tr><td>labels told by the source alone</td><td>%.3f, always the commonest "
                   "%.3f</td></tr>\n",
                   source, majority);
    ms_page_put(out, more);
    ms_page_put(out, "</tbody></table><p class=\"note\">malseq audit says more.</p></section>\n");
}

static void put_provenance(const json_t *record, struct ms_buf *out)
{
    json_t *step;
    size_t i;
    ms_page_put(out, "<section><h2>Command lines</h2><table class=\"facts\"><tbody>\n");
    json_array_foreach(json_object_get(record, "steps"), i, step)
    {
        ms_page_put(out, "<tr><td>");
        put_text(out, step, "step");
        ms_page_put(out, "</td><td><code>");
        put_text(out, step, "command");
        ms_page_put(out, "</code></td></tr>\n");
    }
    ms_page_put(out, "<tr><td>configuration</td><td><code>");
    put_text(out, record, "config");
    ms_page_put(out, "</code></td></tr><tr><td>malseq</td><td>");
    put_text(out, record, "version");
    ms_page_put(out, "</td></tr></tbody></table></section>\n");
}

enum ms_status malseq_night_page(const json_t *record, const json_t *history, struct ms_buf *out,
                                 struct ms_error *err)
{
    char title[64];
    (void)snprintf(title, sizeof title, "Night %lld",
                   (long long)ms_json_int_at(record, "night", 0));
    ms_page_head(out);
    ms_page_put(out, "<title>");
    ms_html_text(title, out);
    ms_page_put(out, " - malseq nightly</title></head><body><main>\n<h1>");
    ms_html_text(title, out);
    ms_page_put(out, "</h1><p class=\"sub\">");
    put_text(out, record, "corpus");
    ms_page_put(out, " &middot; ");
    put_text(out, record, "started");
    ms_page_put(out, " to ");
    put_text(out, record, "ended");
    ms_page_put(out, "</p>\n");
    put_cards(record, out);
    put_verdict(record, history, out);
    put_steps(record, out);
    put_failures(record, out);
    put_models(record, out);
    malseq_night_curves(record, history, out);
    put_audit(record, out);
    put_census(record, out);
    put_provenance(record, out);
    ms_page_put(out, "</main></body></html>\n");
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "the page does not fit into memory") : MS_OK;
}
