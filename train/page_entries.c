/* The report page: the model beside its baselines, and repeat by repeat. */
#include "base/chart.h"
#include "train/page.h"

#include <math.h>

static void put_entry(const struct ms_entry *e, bool first, struct ms_buf *out)
{
    const struct ms_metrics *m = &e->metrics;
    const struct ms_range accuracy = {m->accuracy_low, m->accuracy_high};
    ms_page_put(out, first ? "<tr class=\"first\"><td>" : "<tr><td>");
    ms_html_text(e->name, out);
    ms_page_put(out, first ? "<small>the model</small></td>" : "</td>");
    ms_page_ranged(out, m->accuracy, accuracy);
    ms_page_ranged(out, m->macro_f1, m->macro_f1_range);
    if (m->classes == 2)
        ms_page_ranged(out, m->by_class[0].f1, m->by_class[0].f1_range);
    ms_page_ranged(out, m->auc, m->auc_range);
    ms_page_ranged(out, m->average_precision, m->average_precision_range);
    (void)ms_buf_printf(out, "<td>%.1f</td></tr>\n", e->seconds);
}

/* Heading of the F1 of the positive class, where there is one. */
static void put_positive(const struct ms_outcome *o, struct ms_buf *out)
{
    if (o->set->classes != 2)
        return;
    ms_page_put(out, "<th>F1 of ");
    ms_html_text(o->set->class_names[0], out);
    ms_page_put(out, "</th>");
}

static void put_differences(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    ms_page_put(out,
                "<h3>How far the model is above each</h3><div class=\"scroll\"><table "
                "class=\"wide\"><thead><tr><th>baseline</th><th>accuracy</th><th>macro-F1</th>");
    put_positive(o, out);
    ms_page_put(out, "<th>AUC</th><th>average precision</th><th>corrected t-test, p</th></tr>"
                     "</thead><tbody>\n");
    for (uint32_t i = 1; i < e->entry_count; i++) {
        const struct ms_comparison *c = &e->entries[i].comparison;
        ms_page_put(out, "<tr><td>");
        ms_html_text(e->entries[i].name, out);
        ms_page_put(out, "</td>");
        ms_page_difference(out, &c->accuracy);
        ms_page_difference(out, &c->macro_f1);
        if (o->set->classes == 2)
            ms_page_difference(out, &c->f1);
        ms_page_difference(out, &c->auc);
        ms_page_difference(out, &c->average_precision);
        ms_page_put(out, "<td>");
        if (isnan(c->p))
            ms_page_put(out, "&ndash;");
        else
            (void)ms_buf_printf(out, "%.2g<small>%u fits</small>", c->p, c->fits);
        ms_page_put(out, "</td></tr>\n");
    }
    ms_page_put(out, "</tbody></table></div><p class=\"note\">Paired: both were judged on the same "
                     "traces, which are drawn anew together. An interval that is all above 0 says "
                     "that the model is better, one all below 0 that it is worse; with 0 in it "
                     "these traces cannot tell. The t-test looks at the fits of all folds and "
                     "repeats (Nadeau and Bengio 2003).</p>");
}

void ms_page_entries(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    ms_page_put(out, "<section><h2>Models compared</h2><div class=\"scroll\"><table class=\"wide\">"
                     "<thead><tr><th>kind</th><th>accuracy</th><th>macro-F1</th>");
    put_positive(o, out);
    ms_page_put(out,
                "<th>AUC</th><th>average precision</th><th>seconds</th></tr></thead><tbody>\n");
    for (uint32_t i = 0; i < e->entry_count; i++)
        put_entry(&e->entries[i], i == 0, out);
    (void)ms_buf_printf(out,
                        "</tbody></table></div><p class=\"note\">All were trained and judged on "
                        "identical parts. Under each figure its 95 %% interval, by a bootstrap "
                        "over groups of copies (of the accuracy: %s).%s</p>",
                        e->entries[0].metrics.interval,
                        e->entries[e->entry_count - 1].kind == MS_MODEL_POOLED
                            ? " pooled is the same net without recurrence."
                            : "");
    if (e->entry_count > 1)
        put_differences(o, out);
    ms_page_put(out, "</section>\n");
}

static void put_repeat(const struct ms_outcome *o, uint32_t r, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    const struct ms_findings *f = o->findings;
    (void)ms_buf_printf(out, "<tr><td>%u</td><td>%llu</td>", r + 1,
                        (unsigned long long)e->partition.seeds[r]);
    for (int k = 0; k < 3; k++)
        for (uint32_t i = 0; i < e->entry_count; i++) {
            const struct ms_repeat_figures *x = &f->figures[(size_t)i * f->repeats + r];
            ms_page_put(out, "<td>");
            ms_page_real(out, k == 0 ? x->accuracy : k == 1 ? x->macro_f1 : x->auc);
            ms_page_put(out, "</td>");
        }
    ms_page_put(out, "</tr>\n");
}

static void put_means(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    for (int row = 0; row < 2; row++) {
        ms_page_put(out, row == 0 ? "<tr class=\"first\"><td colspan=\"2\">mean</td>"
                                  : "<tr><td colspan=\"2\">standard deviation</td>");
        for (int k = 0; k < 3; k++)
            for (uint32_t i = 0; i < e->entry_count; i++) {
                double mean, deviation;
                ms_findings_mean(o->findings, i, k, &mean, &deviation);
                ms_page_put(out, "<td>");
                ms_page_real(out, row == 0 ? mean : deviation);
                ms_page_put(out, "</td>");
            }
        ms_page_put(out, "</tr>\n");
    }
}

void ms_page_repeats(const struct ms_outcome *o, struct ms_buf *out)
{
    static const char *const names[3] = {"accuracy", "macro-F1", "AUC"};
    const struct ms_experiment *e = o->experiment;
    if (o->findings->repeats < 2)
        return;
    ms_page_put(out, "<section><h2>Repeat by repeat</h2><div class=\"scroll\"><table class=\"wide "
                     "repeats\"><thead><tr><th></th><th></th>");
    for (int k = 0; k < 3; k++)
        (void)ms_buf_printf(out, "<th class=\"axis-name\" colspan=\"%u\">%s</th>", e->entry_count,
                            names[k]);
    ms_page_put(out, "</tr><tr><th>repeat</th><th>seed</th>");
    for (int k = 0; k < 3; k++)
        for (uint32_t i = 0; i < e->entry_count; i++) {
            ms_page_put(out, "<th>");
            ms_html_text(e->entries[i].name, out);
            ms_page_put(out, "</th>");
        }
    ms_page_put(out, "</tr></thead><tbody>\n");
    for (uint32_t r = 0; r < o->findings->repeats; r++)
        put_repeat(o, r, out);
    put_means(o, out);
    ms_page_put(out, "</tbody></table></div><p class=\"note\">Every repeat deals the traces anew. "
                     "The deviation says how much chance there is in dealing and in training; the "
                     "intervals above say how much there is in the traces.</p></section>\n");
}
