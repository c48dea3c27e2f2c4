/* A finished run as one HTML page. Everything that is not ours goes through ms_html_text. */
#include "base/clock.h"
#include "train/chart.h"
#include "train/outcome.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a longer ROC curve every n-th point is drawn; a matrix of more classes gets the whole width;
 * one of still more is left to metrics.json. */
enum { ROC_POINTS = 400, MATRIX_CLASSES = 60, NARROW_MATRIX = 4 };

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"referrer\" content=\"no-referrer\">\n<style>\n"
    ":root{--ink:#1c2430;--soft:#5b6675;--line:#d9dee6;--paper:#fff;--back:#f4f6f9;--a:#2f6fb7;"
    "--b:#d9622b;--cell:47,111,183;--good:#1f7a4d}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b6;--line:#354052;"
    "--paper:#1b222d;--back:#12171f;--a:#6aa9ec;--b:#f08a55;--cell:106,169,236;--good:#63c795}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);"
    "font:15px/1.5 system-ui,sans-serif}\n"
    "main{max-width:1120px;margin:0 auto;padding:24px 20px 48px}h1{font-size:1.5rem;margin:0;"
    "overflow-wrap:anywhere}h2{font-size:1.05rem;margin:0 0 10px}.sub{color:var(--soft);margin:2px "
    "0 "
    "18px;overflow-wrap:anywhere}\n"
    "section{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:16px "
    "18px;margin:0 0 16px;min-width:0}.two{display:grid;grid-template-columns:repeat(auto-fit,"
    "minmax(min(100%,430px),1fr));gap:16px}.two>section{margin:0}.two{margin-bottom:16px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:"
    "0 "
    "0 16px}.card{background:var(--paper);border:1px solid "
    "var(--line);border-radius:8px;padding:10px "
    "14px}.card b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}.card "
    "span{color:var(--soft);font-size:.85rem}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:4px "
    "10px;text-align:right;white-space:nowrap}th{font-weight:600;white-space:normal}"
    "th:first-child,td:first-child{text-align:left}thead th{border-bottom:1px solid var(--line)}\n"
    ".wide{width:100%}.two .wide th,.two .wide td{padding:4px 7px}.two .wide "
    "td:first-child{white-space:normal}.wide tbody "
    "tr:nth-child(even){background:var(--back)}"
    ".matrix td{border:1px solid var(--line);text-align:center;min-width:58px}.matrix "
    "th:first-child,.matrix thead tr:last-child "
    "th:first-child{position:sticky;left:0;background:var(--paper);z-index:1}.matrix "
    "td.hit{outline:2px solid var(--a);outline-offset:-2px}.matrix small{display:block;"
    "opacity:.75}.matrix th{font-weight:500}.matrix thead th{text-align:center;border:0}"
    ".axis-name{color:var(--soft);font-weight:400!important;font-size:.85rem}\n"
    ".bar{display:inline-block;height:12px;border-radius:2px;background:var(--a);"
    "vertical-align:middle}.bars td:last-child{width:55%;text-align:left}\n"
    ".facts td{text-align:left;white-space:normal;overflow-wrap:anywhere;vertical-align:top}"
    ".facts td:first-child{color:var(--soft);white-space:nowrap}code{font:.85em "
    "ui-monospace,monospace}p.note{color:var(--soft);margin:8px 0 0;font-size:.9rem}"
    ".warn{border-left:4px solid var(--b)}\n"
    "svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font:11px "
    "system-ui,sans-serif}svg text.label{fill:var(--ink);font-size:12px}.grid{stroke:var(--line)}"
    ".axis{stroke:var(--soft)}.level{stroke:var(--soft);stroke-dasharray:5 4}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.line.a{stroke:var(--a)}"
    ".line.b{stroke:var(--b)}\n"
    "@media (max-width:560px){main{padding:14px 10px 32px}section{padding:12px}th,td{padding:3px "
    "6px}}\n"
    "</style>\n";

static void put(struct ms_buf *out, const char *text)
{
    (void)ms_buf_append_text(out, text);
}

static void put_real(struct ms_buf *out, double x)
{
    if (isnan(x))
        put(out, "&ndash;");
    else
        (void)ms_buf_printf(out, "%.3f", x);
}

static void put_count(struct ms_buf *out, uint64_t n)
{
    (void)ms_buf_printf(out, "%llu", (unsigned long long)n);
}

static const char *class_name(const struct ms_outcome *o, uint32_t c)
{
    return o->set->class_names[c];
}

static void card(struct ms_buf *out, const char *name, double value, const char *note)
{
    put(out, "<div class=\"card\"><span>");
    put(out, name);
    put(out, "</span><b>");
    put_real(out, value);
    put(out, "</b><span>");
    ms_html_text(note, out);
    put(out, "</span></div>\n");
}

static void put_cards(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    char note[256];
    put(out, "<div class=\"cards\">\n");
    (void)snprintf(note, sizeof note, "%.3f to %.3f (95 %%, %s)", m->accuracy_low, m->accuracy_high,
                   m->interval);
    card(out, "Accuracy", m->accuracy, note);
    (void)snprintf(note, sizeof note, "always \"%.100s\"", class_name(o, m->majority_class));
    card(out, "Majority class", m->majority, note);
    card(out, "Balanced accuracy", m->balanced_accuracy, "mean recall");
    card(out, "Macro-F1", m->macro_f1, "mean over classes");
    card(out, "AUC", m->auc, o->set->binary ? "of the positive class" : "one against the rest");
    card(out, "Average precision", m->average_precision,
         o->set->binary ? "of the positive class" : "one against the rest");
    put(out, "</div>\n");
}

static void put_classes(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_dataset *d = o->set;
    uint64_t most = 1;
    uint64_t *counts = calloc(d->classes, sizeof *counts);
    if (!counts) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < d->count; i++) {
        uint64_t n = ++counts[d->labels[i]];
        most = n > most ? n : most;
    }
    put(out, "<section><h2>Classes</h2><div class=\"scroll\"><table class=\"wide bars\"><thead><tr>"
             "<th>class</th><th>traces</th><th>share</th><th></th></tr></thead><tbody>\n");
    for (uint32_t c = 0; c < d->classes; c++) {
        put(out, "<tr><td>");
        ms_html_text(class_name(o, c), out);
        (void)ms_buf_printf(out,
                            "</td><td>%llu</td><td>%.1f %%</td><td><span class=\"bar\" "
                            "style=\"width:%.1f%%\"></span></td></tr>\n",
                            (unsigned long long)counts[c],
                            100 * (double)counts[c] / (double)d->count,
                            100 * (double)counts[c] / (double)most);
    }
    put(out, "</tbody></table></div></section>\n");
    free(counts);
}

static void put_curves(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    size_t n = e->epochs;
    double *v = calloc(n * 5, sizeof *v), high = 0;
    if (!v) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        v[i] = (double)(i + 1);
        v[n + i] = e->curve[i].loss;
        v[2 * n + i] = e->curve[i].test_loss;
        v[3 * n + i] = e->curve[i].accuracy;
        v[4 * n + i] = e->curve[i].test_accuracy;
        high = fmax(high, fmax(v[n + i], isnan(v[2 * n + i]) ? 0 : v[2 * n + i]));
    }
    const struct ms_chart_series loss[2] = {{"training", "a", v, v + n, n},
                                            {"test", "b", v, v + 2 * n, n}};
    const struct ms_chart_series accuracy[2] = {{"training", "a", v, v + 3 * n, n},
                                                {"test", "b", v, v + 4 * n, n}};
    struct ms_chart chart = {.title = "loss by epoch",
                             .x_label = "epoch",
                             .y_label = "loss",
                             .x_min = 1,
                             .x_max = (double)n,
                             .y_max = high > 0 ? high * 1.05 : 1,
                             .x_whole = true,
                             .level = NAN,
                             .series = loss,
                             .series_count = 2};
    put(out, "<section><h2>Training curves</h2><div class=\"two\"><div>\n");
    ms_chart_draw(&chart, out);
    put(out, "</div><div>\n");
    chart.title = "accuracy by epoch";
    chart.y_label = "accuracy";
    chart.y_max = 1;
    chart.series = accuracy;
    chart.level = e->entries[0].metrics.majority;
    chart.level_name = "majority class";
    ms_chart_draw(&chart, out);
    put(out, "</div></div><p class=\"note\">Training figures include dropout and label smoothing; "
             "test figures do not. ");
    put(out, o->experiment->partition.folds ? "Means over the folds. " : "");
    put(out, "Nothing was chosen by the test figures: the last epoch's weights are the "
             "model.</p></section>\n");
    free(v);
}

static void put_matrix(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    uint32_t n = m->classes;
    put(out, "<section><h2>Confusion matrix</h2>");
    if (n > MATRIX_CLASSES) {
        put(out, "<p>More classes than a page holds: see metrics.json.</p></section>\n");
        return;
    }
    (void)ms_buf_printf(out,
                        "<div class=\"scroll\"><table class=\"matrix\"><thead><tr><th></th><th "
                        "class=\"axis-name\" colspan=\"%u\">true class</th></tr><tr><th "
                        "class=\"axis-name\">predicted</th>",
                        n);
    for (uint32_t c = 0; c < n; c++) {
        put(out, "<th>");
        ms_html_text(class_name(o, c), out);
        put(out, "</th>");
    }
    put(out, "</tr></thead><tbody>\n");
    for (uint32_t p = 0; p < n; p++) {
        put(out, "<tr><th>");
        ms_html_text(class_name(o, p), out);
        put(out, "</th>");
        for (uint32_t t = 0; t < n; t++) {
            uint64_t count = m->confusion.counts[(size_t)p * n + t];
            double share =
                m->by_class[t].support ? (double)count / (double)m->by_class[t].support : 0;
            (void)ms_buf_printf(out,
                                "<td%s style=\"background:rgba(var(--cell),%.3f)\">%llu<small>%.1f "
                                "%%</small></td>",
                                p == t ? " class=\"hit\"" : "", share * .6,
                                (unsigned long long)count, share * 100);
        }
        put(out, "</tr>\n");
    }
    put(out,
        "</tbody></table></div><p class=\"note\">Rows are what the model said, columns what is "
        "true; percentages are of the column: how the traces of a class were judged.");
    if (o->set->binary)
        put(out, " Top left TP, top right FP, bottom left FN, bottom right TN.");
    put(out, "</p></section>\n");
}

static void put_rates(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    put(out,
        "<section><h2>Rates by class</h2><div class=\"scroll\"><table class=\"wide\"><thead><tr>"
        "<th>class</th><th>precision</th><th>recall</th><th>F1</th><th>AUC</th><th>avg. "
        "precision</th><th>true</th><th>predicted</th></tr></thead><tbody>\n");
    for (uint32_t c = 0; c < m->classes; c++) {
        const struct ms_class_scores *s = &m->by_class[c];
        const double rates[5] = {s->precision, s->recall, s->f1, s->auc, s->average_precision};
        put(out, "<tr><td>");
        ms_html_text(class_name(o, c), out);
        for (int i = 0; i < 5; i++) {
            put(out, "</td><td>");
            put_real(out, rates[i]);
        }
        put(out, "</td><td>");
        put_count(out, s->support);
        put(out, "</td><td>");
        put_count(out, s->predicted);
        put(out, "</td></tr>\n");
    }
    put(out, "</tbody></table></div></section>\n");
}

/* Keeps at most ROC_POINTS points of the curve, the ends among them. */
static size_t thin(const struct ms_roc_point *points, size_t count, double *x, double *y)
{
    size_t every = count / ROC_POINTS + 1, n = 0;
    for (size_t i = 0; i < count; i++)
        if (i % every == 0 || i + 1 == count) {
            x[n] = points[i].x;
            y[n++] = points[i].y;
        }
    return n;
}

static void put_roc(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    bool *positive = calloc(e->judged_count, sizeof *positive);
    struct ms_roc_point *points = NULL;
    size_t count = 0;
    struct ms_error ignored;
    for (size_t i = 0; positive && i < e->judged_count; i++)
        positive[i] = e->truth[i] == 0;
    if (!positive || ms_roc(e->entries[0].scores, 2, positive, e->judged_count, &points, &count,
                            &ignored) != MS_OK) {
        free(positive);
        out->failed = true;
        return;
    }
    double *v = calloc(count * 2 + 2, sizeof *v);
    if (v) {
        size_t n = thin(points, count, v, v + count);
        const struct ms_chart_series series = {"ROC", "a", v, v + count, n};
        const struct ms_chart chart = {.title = "receiver operating characteristic",
                                       .x_label = "false positive rate",
                                       .y_label = "true positive rate",
                                       .x_max = 1,
                                       .y_max = 1,
                                       .level = NAN,
                                       .diagonal = true,
                                       .series = &series,
                                       .series_count = 1};
        put(out, "<section><h2>ROC curve: ");
        ms_html_text(class_name(o, 0), out);
        put(out, "</h2>\n");
        ms_chart_draw(&chart, out);
        put(out, "<p class=\"note\">Threshold ");
        (void)ms_buf_printf(out, "%g.</p></section>\n", o->experiment->tuning.threshold);
    }
    out->failed = out->failed || !v;
    free(v);
    free(points);
    free(positive);
}

static void copies_row(const char *what, const struct ms_copies *c, struct ms_buf *out)
{
    (void)ms_buf_printf(
        out, "<tr><td>%s</td><td>%llu</td><td>%llu</td><td>%llu</td><td>%.3f</td></tr>\n", what,
        (unsigned long long)c->distinct, (unsigned long long)c->largest,
        (unsigned long long)c->contradicting, c->ceiling);
}

static void put_data(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_dataset *d = o->set;
    const uint64_t *q = d->length_quantiles;
    put(out, "<section><h2>Data</h2><div class=\"scroll\"><table class=\"wide\"><thead><tr><th>"
             "copies</th><th>distinct</th><th>largest</th><th>conflicting</th><th>ceiling"
             "</th></tr></thead><tbody>\n");
    copies_row("whole traces", &d->raw_copies, out);
    copies_row("runs collapsed", &d->copies, out);
    copies_row("as the net sees them", &d->view_copies, out);
    put(out,
        "</tbody></table></div><p class=\"note\">Largest: rows of the largest group of copies. "
        "Conflicting: traces with a copy of another "
        "class. Ceiling: the best accuracy that any model of that view can have on these rows.");
    (void)ms_buf_printf(
        out,
        "</p><p class=\"note\">Calls in a trace: %llu / %llu / %llu / %llu / %llu (minimum, "
        "quartiles, "
        "maximum). Left out: %llu labelled otherwise, %llu too short, %llu damaged.</p>",
        (unsigned long long)q[0], (unsigned long long)q[1], (unsigned long long)q[2],
        (unsigned long long)q[3], (unsigned long long)q[4], (unsigned long long)d->dropped_other,
        (unsigned long long)d->dropped_short, (unsigned long long)d->dropped_damaged);
    put(out, "<p class=\"note\">Sources: ");
    for (uint32_t i = 0; i < ms_names_count(d->sources); i++) {
        put(out, i ? ", " : "");
        ms_html_text((const char *)ms_names_get(d->sources, i).data, out);
    }
    (void)ms_buf_printf(out, "; knowing only the source gives accuracy %.3f.</p></section>\n",
                        d->source_accuracy);
}

static void fact(const char *name, const char *value, bool code, struct ms_buf *out)
{
    put(out, "<tr><td>");
    put(out, name);
    put(out, code ? "</td><td><code>" : "</td><td>");
    ms_html_text(value, out);
    put(out, code ? "</code></td></tr>\n" : "</td></tr>\n");
}

static void put_provenance(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    char hex[MS_HASH_HEX_MAX], text[256];
    put(out, "<section><h2>Provenance</h2><table class=\"facts\"><tbody>\n");
    fact("command", o->command, true, out);
    fact("settings", o->settings, true, out);
    fact("sequences of", o->set->opcodes ? "opcodes" : "calls", false, out);
    fact("static features", ms_static_use_name(o->set->statics), false, out);
    fact("normalisation", o->set->normalisation, true, out);
    fact("labels", o->set->policies, false, out);
    ms_hex_encode(o->set->digest, MS_SHA256_BYTES, hex);
    fact("dataset", hex, true, out);
    ms_hex_encode(e->partition.digest, MS_SHA256_BYTES, hex);
    (void)snprintf(text, sizeof text, "%s %s", e->partition.name, hex);
    fact("split", text, true, out);
    ms_hex_encode(o->model_digest, MS_SHA256_BYTES, hex);
    fact("model", hex, true, out);
    (void)snprintf(text, sizeof text,
                   "%zu parameters, %u tokens, trained on %llu traces in %.1f s with %u jobs",
                   ms_model_parameters(e->model), ms_vocabulary_size(ms_model_vocabulary(e->model)),
                   (unsigned long long)e->train_rows, e->seconds, o->jobs);
    fact("net", text, false, out);
    ms_clock_format(o->made_ms, text);
    fact("made", text, false, out);
    fact("malseq", MS_VERSION, false, out);
    put(out, "</tbody></table></section>\n");
}

static void put_verdict(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    bool source = ms_outcome_source_suspect(o);
    bool bad = e->entries[0].metrics.accuracy_low <= e->entries[0].metrics.majority ||
               o->shuffled_labels || e->partition.leaked || source;
    char verdict[512];
    ms_outcome_verdict(o, verdict);
    put(out, bad ? "<section class=\"warn\">" : "<section>");
    put(out, "<h2>What this says</h2>The ");
    ms_html_text(verdict, out);
    put(out, ".");
    if (o->shuffled_labels)
        put(out, " <b>The labels were shuffled</b>: chance is what should come out here.");
    if (e->partition.leaked)
        (void)ms_buf_printf(out,
                            " <b>%u judged traces have a copy among the training rows</b>: the "
                            "figures flatter.",
                            e->partition.leaked);
    else
        put(out, " No trace was judged by a net that saw a copy of it.");
    if (source)
        (void)ms_buf_printf(out,
                            " <b>Knowing only which sandbox or dataset a trace comes from gives an "
                            "accuracy of %.3f</b>: the net may have learnt the source.",
                            o->set->source_accuracy);
    put(out, "</section>\n");
}

enum ms_status ms_outcome_page(const struct ms_outcome *self, struct ms_buf *out,
                               struct ms_error *err)
{
    put(out, head);
    put(out, "<title>");
    ms_html_text(self->name, out);
    put(out, " - malseq training report</title></head><body><main>\n<h1>");
    ms_html_text(self->name, out);
    put(out, "</h1><p class=\"sub\">preset ");
    ms_html_text(self->plan->preset, out);
    put(out, " &middot; target ");
    ms_html_text(self->target, out);
    (void)ms_buf_printf(out, " &middot; %zu traces, %llu judged</p>\n", self->set->count,
                        (unsigned long long)self->experiment->entries[0].metrics.rows);
    put_cards(self, out);
    put_verdict(self, out);
    bool narrow = self->set->classes <= NARROW_MATRIX;
    put(out, narrow ? "<div class=\"two\">\n" : "");
    put_matrix(self, out);
    if (narrow) {
        put_classes(self, out);
        put(out, "</div>\n");
    }
    put_rates(self, out);
    put_curves(self, out);
    put(out, "<div class=\"two\">\n");
    if (self->set->binary)
        put_roc(self, out);
    if (!narrow)
        put_classes(self, out);
    put_data(self, out);
    put(out, "</div>\n");
    put_provenance(self, out);
    put(out, "</main></body></html>\n");
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "the report does not fit into memory")
                       : MS_OK;
}
