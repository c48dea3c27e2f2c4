/* The report page: what the data is like, how it was split, and where all of it comes from. */
#include "base/chart.h"
#include "base/clock.h"
#include "train/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void put_bar(uint64_t n, uint64_t most, struct ms_buf *out)
{
    (void)ms_buf_printf(out, "<td><span class=\"bar\" style=\"width:%.1f%%\"></span></td></tr>\n",
                        100 * (double)n / (double)(most ? most : 1));
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
    ms_page_put(out, "<section><h2>Classes</h2><div class=\"scroll\"><table class=\"wide bars\">"
                     "<thead><tr><th>class</th><th>traces</th><th>share</th><th></th></tr></thead>"
                     "<tbody>\n");
    for (uint32_t c = 0; c < d->classes; c++) {
        ms_page_put(out, "<tr><td>");
        ms_page_class(o, c, out);
        (void)ms_buf_printf(out, "</td><td>%llu</td><td>%.1f %%</td>",
                            (unsigned long long)counts[c],
                            100 * (double)counts[c] / (double)d->count);
        put_bar(counts[c], most, out);
    }
    ms_page_put(out, "</tbody></table></div></section>\n");
    free(counts);
}

static void put_lengths(const struct ms_outcome *o, struct ms_buf *out)
{
    const uint64_t *q = o->set->length_quantiles;
    uint64_t counts[MS_LENGTH_BINS], most = 0;
    uint32_t last, first = 0;
    ms_length_counts(o->set, counts, &last);
    while (first < last && counts[first] == 0)
        first++;
    for (uint32_t k = first; k <= last; k++)
        most = counts[k] > most ? counts[k] : most;
    ms_page_put(out, "<section><h2>Calls in a trace</h2><div class=\"scroll\"><table class=\"wide "
                     "bars\"><thead><tr><th>up to</th><th>traces</th><th>share</th><th></th></tr>"
                     "</thead><tbody>\n");
    for (uint32_t k = first; k <= last; k++) {
        (void)ms_buf_printf(out, "<tr><td>%llu</td><td>%llu</td><td>%.1f %%</td>", 1ULL << k,
                            (unsigned long long)counts[k],
                            100 * (double)counts[k] / (double)o->set->count);
        put_bar(counts[k], most, out);
    }
    (void)ms_buf_printf(out,
                        "</tbody></table></div><p class=\"note\">Minimum %llu, quartiles %llu, "
                        "%llu and %llu, maximum %llu; of whole traces, before anything is cut."
                        "</p></section>\n",
                        (unsigned long long)q[0], (unsigned long long)q[1],
                        (unsigned long long)q[2], (unsigned long long)q[3],
                        (unsigned long long)q[4]);
}

static void copies_row(const char *what, const struct ms_copies *c, struct ms_buf *out)
{
    (void)ms_buf_printf(
        out, "<tr><td>%s</td><td>%llu</td><td>%llu</td><td>%llu</td><td>%.3f</td></tr>\n", what,
        (unsigned long long)c->distinct, (unsigned long long)c->largest,
        (unsigned long long)c->contradicting, c->ceiling);
}

static void put_audit(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_dataset *d = o->set;
    const struct ms_findings *f = o->findings;
    ms_page_put(out, "<section><h2>Data audit</h2><div class=\"scroll\"><table class=\"wide\">"
                     "<thead><tr><th>copies</th><th>distinct</th><th>largest</th><th>conflicting"
                     "</th><th>ceiling</th></tr></thead><tbody>\n");
    copies_row("whole traces", &d->raw_copies, out);
    copies_row("runs collapsed", &d->copies, out);
    copies_row("as the model sees them", &d->view_copies, out);
    (void)ms_buf_printf(out,
                        "</tbody></table></div><p class=\"note\">Largest: rows of the largest "
                        "group of copies. Conflicting: traces with a copy of another class. "
                        "Ceiling: the best accuracy that any model of that view can have on these "
                        "rows; this one has %.3f.</p>",
                        o->experiment->entries[0].metrics.accuracy);
    if (f->near_known)
        (void)ms_buf_printf(out,
                            "<p class=\"note\">Nearly the same (Jaccard index of calls and pairs "
                            "of calls from %g on): %u groups of %zu traces; %llu of %zu judged "
                            "ones have such a trace among those that trained.</p>",
                            MS_PARTITION_NEAR_THRESHOLD, f->near_groups, d->count,
                            (unsigned long long)f->near_judged, o->experiment->judged_count);
    (void)ms_buf_printf(out,
                        "<p class=\"note\">Left out: %llu labelled otherwise, %llu too short, %llu "
                        "damaged.</p><p class=\"note\">Sources: ",
                        (unsigned long long)d->dropped_other, (unsigned long long)d->dropped_short,
                        (unsigned long long)d->dropped_damaged);
    for (uint32_t i = 0; i < ms_names_count(d->sources); i++) {
        ms_page_put(out, i ? ", " : "");
        ms_html_text((const char *)ms_names_get(d->sources, i).data, out);
    }
    (void)ms_buf_printf(out,
                        "; knowing only the source gives accuracy %.3f, the most frequent class "
                        "%.3f.</p></section>\n",
                        d->source_accuracy, d->majority);
}

void ms_page_data(const struct ms_outcome *o, struct ms_buf *out)
{
    ms_page_put(out, "<div class=\"two\">\n");
    put_classes(o, out);
    put_lengths(o, out);
    ms_page_put(out, "</div>\n");
    put_audit(o, out);
}

/* ---- split ----------------------------------------------------------------------------------- */

static void put_windows(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_partition *p = &o->experiment->partition;
    char day[32];
    double aut = NAN;
    struct ms_window *windows = ms_outcome_windows(o, &aut);
    if (!windows) {
        out->failed = true;
        return;
    }
    ms_clock_format(p->split_date_ms, day);
    (void)ms_buf_printf(out,
                        "<p>Judged is what was first seen from %.10s on; left out: %llu traces "
                        "without a date, %llu in months with one class alone, %llu for "
                        "--test-ratio. %llu later copies of earlier traces train.</p><div "
                        "class=\"scroll\"><table class=\"wide\"><thead><tr><th>month</th>"
                        "<th>traces</th><th>positive</th><th>accuracy</th><th>F1</th></tr></thead>"
                        "<tbody>\n",
                        day, (unsigned long long)p->undated, (unsigned long long)p->one_sided,
                        (unsigned long long)p->thinned, (unsigned long long)p->moved);
    for (uint32_t w = 0; w < p->window_count; w++) {
        ms_clock_format(p->windows_ms[w], day);
        (void)ms_buf_printf(out, "<tr><td>%.7s</td><td>%llu</td><td>%llu</td><td>", day,
                            (unsigned long long)windows[w].rows,
                            (unsigned long long)windows[w].positive);
        ms_page_real(out, windows[w].accuracy);
        ms_page_put(out, "</td><td>");
        ms_page_real(out, windows[w].f1);
        ms_page_put(out, "</td></tr>\n");
    }
    ms_page_put(out,
                "</tbody></table></div><p class=\"note\">Area under F1 over the months (AUT): ");
    ms_page_real(out, aut);
    ms_page_put(out, ".</p>\n");
    free(windows);
}

void ms_page_split(const struct ms_outcome *o, struct ms_buf *out)
{
    static const char *const kept[] = {
        [MS_PARTITION_GROUPED] = "Traces that are the same stay on one side.",
        [MS_PARTITION_NAIVE] = "Copies are dealt out one by one: the figures flatter.",
        [MS_PARTITION_NEAR] = "Traces that are the same or nearly so stay on one side.",
        [MS_PARTITION_TIME] = "What trains was seen before what is judged."};
    const struct ms_experiment *e = o->experiment;
    const struct ms_partition *p = &e->partition;
    ms_page_put(out, "<section><h2>Split</h2><p>");
    ms_page_put(out, kept[p->how]);
    if (p->folds)
        (void)ms_buf_printf(out, " %u folds, each judged by a model of the others", p->folds);
    else
        (void)ms_buf_printf(out, " %llu traces train, the others are judged",
                            (unsigned long long)e->train_rows);
    if (p->repeats > 1)
        (void)ms_buf_printf(out, ", %u times", p->repeats);
    (void)ms_buf_printf(out, ". %zu judgements; %u of them on traces with a copy in training.",
                        e->judged_count, p->leaked);
    if (p->how == MS_PARTITION_NEAR)
        (void)ms_buf_printf(out, " %u groups of near copies.", p->near_groups);
    ms_page_put(out, "</p>\n");
    if (p->how == MS_PARTITION_TIME)
        put_windows(o, out);
    ms_page_put(out, "</section>\n");
}

/* ---- provenance ------------------------------------------------------------------------------ */

static void fact(const char *name, const char *value, bool code, struct ms_buf *out)
{
    ms_page_put(out, "<tr><td>");
    ms_page_put(out, name);
    ms_page_put(out, code ? "</td><td><code>" : "</td><td>");
    ms_html_text(value, out);
    ms_page_put(out, code ? "</code></td></tr>\n" : "</td></tr>\n");
}

void ms_page_provenance(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    char hex[MS_HASH_HEX_MAX], text[256];
    ms_page_put(out, "<section><h2>Provenance</h2><table class=\"facts\"><tbody>\n");
    fact("command", o->command, true, out);
    fact("settings", o->settings, true, out);
    fact("sequences of", o->set->opcodes ? "opcodes" : "calls", false, out);
    fact("static features", ms_static_use_name(o->set->statics), false, out);
    fact("normalisation", o->set->normalisation, true, out);
    fact("labels", o->set->policies, false, out);
    ms_hex_encode(o->set->digest, MS_SHA256_BYTES, hex);
    fact("dataset", hex, true, out);
    ms_hex_encode(e->partition.digest, MS_SHA256_BYTES, hex);
    fact("split", e->partition.name, true, out);
    fact("split digest", hex, true, out);
    ms_hex_encode(o->model_digest, MS_SHA256_BYTES, hex);
    fact("model digest", hex, true, out);
    (void)snprintf(text, sizeof text, "%llu parameters, %u tokens, trained on %llu traces",
                   (unsigned long long)ms_model_parameters(e->model),
                   ms_vocabulary_size(ms_model_vocabulary(e->model)),
                   (unsigned long long)e->train_rows);
    fact("model", text, false, out);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)o->plan->fit.seed);
    fact("seed", text, false, out);
    (void)snprintf(text, sizeof text, "%.1f s with %u jobs, baselines and all", e->seconds,
                   o->jobs);
    fact("time taken", text, false, out);
    ms_clock_format(o->made_ms, text);
    fact("made", text, false, out);
    fact("malseq", MS_VERSION, false, out);
    ms_page_put(out, "</tbody></table></section>\n");
}
