/* The report page: learning curves, ROC, precision-recall, calibration and thresholds. */
#include "base/chart.h"
#include "train/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const styles[MS_ENTRIES_MAX] = {"a", "b", "c", "d", "e"};

/* The epochs as columns: number, loss, test loss, accuracy, test accuracy. */
static double *columns_of(const struct ms_experiment *e, double *highest)
{
    size_t n = e->epochs;
    double *v = calloc(n * 5, sizeof *v);
    *highest = 0;
    for (size_t i = 0; v && i < n; i++) {
        v[i] = (double)(i + 1);
        v[n + i] = e->curve[i].loss;
        v[2 * n + i] = e->curve[i].test_loss;
        v[3 * n + i] = e->curve[i].accuracy;
        v[4 * n + i] = e->curve[i].test_accuracy;
        *highest = fmax(*highest, fmax(v[n + i], isnan(v[2 * n + i]) ? 0 : v[2 * n + i]));
    }
    return v;
}

void ms_page_learning(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    size_t n = e->epochs;
    double highest;
    if (n == 0)
        return;
    double *v = columns_of(e, &highest);
    if (!v) {
        out->failed = true;
        return;
    }
    const struct ms_chart_series loss[2] = {{"training", "a", v, v + n, n, false},
                                            {"test", "b", v, v + 2 * n, n, false}};
    const struct ms_chart_series accuracy[2] = {{"training", "a", v, v + 3 * n, n, false},
                                                {"test", "b", v, v + 4 * n, n, false}};
    struct ms_chart chart = {.title = "loss by epoch",
                             .x_label = "epoch",
                             .y_label = "loss",
                             .x_min = 1,
                             .x_max = (double)n,
                             .y_max = highest > 0 ? highest * 1.05 : 1,
                             .x_whole = true,
                             .level = NAN,
                             .series = loss,
                             .series_count = 2};
    ms_page_put(out, "<section><h2>Training curves</h2>\n");
    ms_chart_legend(loss, 2, out);
    ms_page_put(out, "<div class=\"two\"><div>\n");
    ms_chart_draw(&chart, out);
    ms_page_put(out, "</div><div>\n");
    chart.title = chart.y_label = "accuracy";
    chart.y_max = 1;
    chart.series = accuracy;
    chart.level = e->entries[0].metrics.majority;
    chart.level_name = "majority class";
    ms_chart_draw(&chart, out);
    ms_page_put(out, "</div></div><p class=\"note\">Training figures include dropout and label "
                     "smoothing; test figures do not. Means over all fits. Nothing was chosen by "
                     "the test figures.</p></section>\n");
    free(v);
}

/* One chart of one class: the first `entries` of the run. */
static void draw_curve(const struct ms_outcome *o, uint32_t class_, enum ms_curve_kind kind,
                       uint32_t entries, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    struct ms_curve *curves = calloc(entries, sizeof *curves);
    struct ms_chart_series series[MS_ENTRIES_MAX];
    struct ms_error ignored;
    for (uint32_t i = 0; curves && i < entries; i++) {
        if (ms_findings_curve(e, i, class_, kind, &curves[i], &ignored) != MS_OK)
            out->failed = true;
        series[i] = (struct ms_chart_series){e->entries[i].name, styles[i],       curves[i].x,
                                             curves[i].y,        curves[i].count, false};
    }
    out->failed = out->failed || !curves;
    const struct ms_class_scores *s = &e->entries[0].metrics.by_class[class_];
    bool roc = kind == MS_CURVE_ROC;
    double rows = (double)e->entries[0].metrics.rows;
    const struct ms_chart chart = {.title = roc ? "receiver operating characteristic"
                                                : "precision and recall",
                                   .x_label = roc ? "false positive rate" : "recall",
                                   .y_label = roc ? "true positive rate" : "precision",
                                   .x_max = 1,
                                   .y_max = 1,
                                   .level = roc ? NAN : (double)s->support / rows,
                                   .diagonal = roc,
                                   .series = series,
                                   .series_count = entries};
    if (curves && curves[0].count)
        ms_chart_draw(&chart, out);
    else
        ms_page_put(out, "<p>Rows of one side alone: no curve.</p>");
    free(curves);
}

static void put_legend(const struct ms_experiment *e, struct ms_buf *out)
{
    struct ms_chart_series series[MS_ENTRIES_MAX] = {{0}};
    for (uint32_t i = 0; i < e->entry_count; i++) {
        series[i].name = e->entries[i].name;
        series[i].style = styles[i];
    }
    ms_chart_legend(series, e->entry_count, out);
}

static void put_pair(const struct ms_outcome *o, uint32_t class_, struct ms_buf *out)
{
    const struct ms_experiment *e = o->experiment;
    const struct ms_class_scores *s = &e->entries[0].metrics.by_class[class_];
    const struct {
        const char *name;
        double value;
        struct ms_range range;
        enum ms_curve_kind kind;
    } charts[2] = {{"ROC", s->auc, s->auc_range, MS_CURVE_ROC},
                   {"Precision-recall", s->average_precision, s->average_precision_range,
                    MS_CURVE_PRECISION_RECALL}};
    for (int k = 0; k < 2; k++) {
        ms_page_put(out, "<div><h3>");
        ms_page_class(o, class_, out);
        (void)ms_buf_printf(out, ": %s, area ", charts[k].name);
        ms_page_real(out, charts[k].value);
        if (!isnan(charts[k].range.low))
            (void)ms_buf_printf(out, " [%.3f, %.3f]", charts[k].range.low, charts[k].range.high);
        ms_page_put(out, "</h3>\n");
        draw_curve(o, class_, charts[k].kind, e->entry_count, out);
        ms_page_put(out, "</div>\n");
    }
}

void ms_page_ranking(const struct ms_outcome *o, struct ms_buf *out)
{
    uint32_t classes = o->set->classes == 2 ? 1 : o->set->classes;
    uint32_t shown = classes < MS_PAGE_CURVE_CLASSES ? classes : MS_PAGE_CURVE_CLASSES;
    ms_page_put(out, "<section><h2>ROC and precision-recall curves</h2>\n");
    put_legend(o->experiment, out);
    ms_page_put(out, shown > 1 ? "<div class=\"small\">\n" : "<div class=\"two\">\n");
    for (uint32_t c = 0; c < shown; c++)
        put_pair(o, c, out);
    ms_page_put(out, "</div><p class=\"note\">Areas are the model's. ");
    if (shown > 1)
        ms_page_put(out, "Each class against all others. ");
    if (shown < classes)
        ms_page_put(out, "Of the other classes metrics.json has them. ");
    ms_page_put(out, "Dashed: what chance gives. Scores of all folds and repeats are ranked "
                     "together.</p></section>\n");
}

/* ---- calibration ----------------------------------------------------------------------------- */

struct bins {
    double claimed[MS_RELIABILITY_BINS], held[MS_RELIABILITY_BINS];
    size_t count;
};

static struct bins bins_of(const struct ms_metrics *m)
{
    struct bins b = {.count = 0};
    for (int k = 0; k < MS_RELIABILITY_BINS; k++)
        if (m->reliability[k].rows) {
            b.claimed[b.count] = m->reliability[k].claimed;
            b.held[b.count++] = m->reliability[k].held;
        }
    return b;
}

static void put_row(const char *name, double x, struct ms_range range, bool both, double y,
                    struct ms_range after, struct ms_buf *out)
{
    (void)ms_buf_printf(out, "<tr><td>%s</td>", name);
    ms_page_ranged(out, x, range);
    if (both)
        ms_page_ranged(out, y, after);
    ms_page_put(out, "</tr>\n");
}

static void put_calibration_table(const struct ms_metrics *first, const struct ms_metrics *m,
                                  bool both, struct ms_buf *out)
{
    ms_page_put(out, "<table class=\"wide\"><thead><tr><th></th><th>as scored</th>");
    ms_page_put(out, both ? "<th>calibrated</th>" : "");
    ms_page_put(out, "</tr></thead><tbody>\n");
    put_row("calibration error (ECE)", first->ece, first->ece_range, both, m->ece, m->ece_range,
            out);
    put_row("Brier score", first->brier, first->brier_range, both, m->brier, m->brier_range, out);
    put_row("log loss", first->log_loss, first->log_loss_range, both, m->log_loss,
            m->log_loss_range, out);
    ms_page_put(out, "</tbody></table><p class=\"note\">Lower is better. Points on the dashed line "
                     "are probabilities that hold; below it the model is too sure. ");
    ms_page_put(out, both ? "Calibrated by rows that the judged ones were not among; the model "
                            "file does the same."
                          : "Nothing was calibrated.");
    ms_page_put(out, "</p>");
}

void ms_page_calibration(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    bool both = o->experiment->raw.rows > 0;
    const struct ms_metrics *first = both ? &o->experiment->raw : m;
    ms_page_put(out, "<section><h2>Calibration</h2>\n");
    if (!m->calibrated || !first->calibrated) {
        ms_page_put(out, "<p>The scores of this model are no probabilities.</p></section>\n");
        return;
    }
    const struct bins before = bins_of(first), after = bins_of(m);
    const struct ms_chart_series series[2] = {
        {"as scored", "a", before.claimed, before.held, before.count, true},
        {"calibrated", "b", after.claimed, after.held, after.count, true}};
    const struct ms_chart chart = {.title = "reliability diagram",
                                   .x_label = "probability claimed",
                                   .y_label = "share that held",
                                   .x_max = 1,
                                   .y_max = 1,
                                   .level = NAN,
                                   .diagonal = true,
                                   .series = series,
                                   .series_count = both ? 2 : 1};
    ms_page_put(out, "<div class=\"two\"><div>\n");
    ms_chart_legend(series, chart.series_count, out);
    ms_chart_draw(&chart, out);
    ms_page_put(out, "</div><div>");
    put_calibration_table(first, m, both, out);
    ms_page_put(out, "</div></div></section>\n");
}

/* ---- thresholds ------------------------------------------------------------------------------ */

static void put_points(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    ms_page_put(out, "<div class=\"scroll\"><table class=\"wide\"><thead><tr><th>false positives "
                     "kept under</th><th>threshold</th><th>reached</th><th>found (recall)</th></tr>"
                     "</thead><tbody>\n");
    for (int k = 0; k < MS_OPERATING_POINTS; k++) {
        const struct ms_operating_point *p = &o->findings->points[k];
        (void)ms_buf_printf(out, "<tr><td>%g %%</td><td>", p->fpr * 100);
        ms_page_real(out, p->threshold);
        ms_page_put(out, "</td><td>");
        ms_page_real(out, p->reached);
        ms_page_put(out, "</td><td>");
        ms_page_real(out, p->recall);
        ms_page_put(out, "</td></tr>\n");
    }
    ms_page_put(
        out,
        "</tbody></table></div><p class=\"note\">These were chosen by the judged rows themselves, "
        "which flatters a little.</p>");
    for (int k = 0; k < MS_TPR_RATES; k++) {
        (void)ms_buf_printf(out, "<p class=\"note\">True positive rate at %g %% false positives: ",
                            ms_tpr_rates[k] * 100);
        ms_page_real(out, m->tpr[k].value);
        if (!isnan(m->tpr[k].range.low))
            (void)ms_buf_printf(out, " [%.3f, %.3f]", m->tpr[k].range.low, m->tpr[k].range.high);
        if (isnan(m->tpr[k].value))
            (void)ms_buf_printf(out,
                                ", for it takes %llu rows of the other class, and there are "
                                "%llu",
                                (unsigned long long)m->tpr[k].needed,
                                (unsigned long long)m->by_class[1].support);
        ms_page_put(out, ".</p>\n");
    }
}

static void put_doubts(const struct ms_outcome *o, struct ms_buf *out)
{
    ms_page_put(out, "<h3>What saying unknown would bring</h3><div class=\"scroll\"><table "
                     "class=\"wide\"><thead><tr><th>no verdict for scores</th><th>unknown</th>"
                     "<th>share</th><th>accuracy of the rest</th></tr></thead><tbody>\n");
    for (int k = 0; k < MS_DOUBT_BANDS; k++) {
        const struct ms_doubt_band *b = &o->findings->doubts[k];
        if (o->set->classes == 2)
            (void)ms_buf_printf(out, "<tr><td>from %g to %g</td>", b->low, b->high);
        else
            (void)ms_buf_printf(out, "<tr><td>all under %g</td>", b->high);
        (void)ms_buf_printf(out, "<td>%llu</td><td>%.1f %%</td><td>",
                            (unsigned long long)b->doubt.unknown, 100 * (1 - b->doubt.coverage));
        ms_page_real(out, b->doubt.accuracy);
        ms_page_put(out, "</td></tr>\n");
    }
    ms_page_put(out, "</tbody></table></div>\n");
}

/* The band that the model file has. */
static void put_band(const struct ms_experiment *e, struct ms_buf *out)
{
    const struct ms_tuning *t = &e->tuning;
    if (t->unknown_from < t->unknown_to)
        (void)ms_buf_printf(out,
                            "<p>Scores from %.3g to before %.3g are answered unknown: %llu of "
                            "%llu judgements (%.1f %%).</p>\n",
                            t->unknown_from, t->unknown_to, (unsigned long long)e->doubt.unknown,
                            (unsigned long long)e->doubt.rows, 100 * (1 - e->doubt.coverage));
    else
        ms_page_put(out, "<p>Every trace that is long enough gets a verdict: no scores are "
                         "answered unknown.</p>\n");
}

void ms_page_thresholds(const struct ms_outcome *o, struct ms_buf *out)
{
    char note[MS_SENTENCE_BYTES];
    ms_outcome_threshold_note(o, note);
    ms_page_put(out, "<section><h2>Thresholds and doubt</h2>\n<p>");
    if (o->set->binary) {
        ms_page_put(out, "The model says ");
        ms_page_class(o, 0, out);
        (void)ms_buf_printf(out, " from a score of %.3g on. ", o->experiment->tuning.threshold);
    }
    ms_page_put(out, note);
    ms_page_put(out, ".</p>\n");
    if (o->set->classes == 2)
        put_points(o, out);
    put_band(o->experiment, out);
    if (o->findings->doubts[0].doubt.rows)
        put_doubts(o, out);
    (void)ms_buf_printf(out,
                        "<p class=\"note\">%llu of %llu traces got no verdict at all: fewer calls "
                        "than the model wants.</p></section>\n",
                        (unsigned long long)o->set->dropped_short,
                        (unsigned long long)(o->set->dropped_short + o->set->count));
}
