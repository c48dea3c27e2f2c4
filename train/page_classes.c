/* The report page: confusion matrix, rates by class, and the traces that were judged worst. */
#include "base/chart.h"
#include "train/page.h"

static void put_matrix_head(const struct ms_outcome *o, struct ms_buf *out)
{
    (void)ms_buf_printf(out,
                        "<div class=\"scroll\"><table class=\"matrix\"><thead><tr><th></th><th "
                        "class=\"axis-name\" colspan=\"%u\">true class</th></tr><tr><th "
                        "class=\"axis-name\">predicted</th>",
                        o->set->classes);
    for (uint32_t c = 0; c < o->set->classes; c++) {
        ms_page_put(out, "<th>");
        ms_page_class(o, c, out);
        ms_page_put(out, "</th>");
    }
    ms_page_put(out, "</tr></thead><tbody>\n");
}

void ms_page_matrix(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    uint32_t n = m->classes;
    ms_page_put(out, "<section><h2>Confusion matrix</h2>");
    if (n > MS_PAGE_MATRIX_CLASSES) {
        ms_page_put(out, "<p>More classes than a page holds: see metrics.json.</p></section>\n");
        return;
    }
    put_matrix_head(o, out);
    for (uint32_t p = 0; p < n; p++) {
        ms_page_put(out, "<tr><th>");
        ms_page_class(o, p, out);
        ms_page_put(out, "</th>");
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
        ms_page_put(out, "</tr>\n");
    }
    ms_page_put(out,
                "</tbody></table></div><p class=\"note\">Rows are what the model said, columns "
                "what is true; percentages are of the column: how the traces of a class were "
                "judged.");
    if (o->set->binary)
        ms_page_put(out, " Top left TP, top right FP, bottom left FN, bottom right TN.");
    ms_page_put(out, "</p></section>\n");
}

void ms_page_rates(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    ms_page_put(out,
                "<section><h2>Rates by class</h2><div class=\"scroll\"><table class=\"wide\">"
                "<thead><tr><th>class</th><th>precision</th><th>recall</th><th>F1</th><th>AUC</th>"
                "<th>average precision</th><th>true</th><th>predicted</th></tr></thead><tbody>\n");
    for (uint32_t c = 0; c < m->classes; c++) {
        const struct ms_class_scores *s = &m->by_class[c];
        ms_page_put(out, "<tr><td>");
        ms_page_class(o, c, out);
        ms_page_put(out, "</td>");
        ms_page_ranged(out, s->precision, s->precision_range);
        ms_page_ranged(out, s->recall, s->recall_range);
        ms_page_ranged(out, s->f1, s->f1_range);
        ms_page_ranged(out, s->auc, s->auc_range);
        ms_page_ranged(out, s->average_precision, s->average_precision_range);
        (void)ms_buf_printf(out, "<td>%llu</td><td>%llu</td></tr>\n",
                            (unsigned long long)s->support, (unsigned long long)s->predicted);
    }
    ms_page_put(out, "</tbody></table></div></section>\n");
}

void ms_page_errors(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_findings *f = o->findings;
    (void)ms_buf_printf(out,
                        "<section><h2>Errors worth a look</h2><p class=\"note\">%llu of %zu traces "
                        "were judged wrongly at least once",
                        (unsigned long long)f->wrong_rows, o->set->count);
    if (f->error_count == 0) {
        ms_page_put(out, ".</p></section>\n");
        return;
    }
    (void)ms_buf_printf(out,
                        "; here the %u of which the model was surest. A wrong label shows up here "
                        "first.</p><div class=\"scroll\"><table class=\"wide errors\"><thead><tr>"
                        "<th>true</th><th>predicted</th><th>score</th><th>wrong</th><th>trace"
                        "</th></tr></thead><tbody>\n",
                        f->error_count);
    for (uint32_t i = 0; i < f->error_count; i++) {
        const struct ms_wrong_row *w = &f->errors[i];
        ms_page_put(out, "<tr><td>");
        ms_page_class(o, w->truth, out);
        ms_page_put(out, "</td><td>");
        ms_page_class(o, w->predicted, out);
        (void)ms_buf_printf(out, "</td><td>%.3f</td><td>%u of %u</td><td><code>", w->score,
                            w->wrong, w->judged);
        ms_html_text(o->set->rows[w->row].key, out);
        ms_page_put(out, "</code></td></tr>\n");
    }
    ms_page_put(out, "</tbody></table></div></section>\n");
}
