/* A finished run on a terminal: what the model is worth beside baselines, at which threshold, how
 * far its probabilities hold, and where it errs. */
#include "train/outcome_show.h"

#include <math.h>
#include <stdlib.h>

void ms_show_interval(FILE *out, struct ms_range range)
{
    if (isnan(range.low))
        (void)fprintf(out, "%16s", "");
    else
        (void)fprintf(out, "  [%.3f, %.3f]", range.low, range.high);
}

static void show_difference(FILE *out, const struct ms_difference *d)
{
    if (isnan(d->difference))
        (void)fprintf(out, "  %-24s", "-");
    else if (isnan(d->low))
        (void)fprintf(out, "  %+.3f %17s", d->difference, "");
    else
        (void)fprintf(out, "  %+.3f [%+.3f, %+.3f]", d->difference, d->low, d->high);
}

void ms_show_entries(const struct ms_outcome *o, FILE *out)
{
    const struct ms_experiment *e = o->experiment;
    if (e->entry_count < 2)
        return;
    (void)fprintf(out, "\n  %-10s %9s %-16s %8s %-16s %6s %-16s %5s %8s\n", "compared", "accuracy",
                  " 95 %", "macro-F1", "", "AUC", "", "AP", "seconds");
    for (uint32_t i = 0; i < e->entry_count; i++) {
        const struct ms_metrics *m = &e->entries[i].metrics;
        const struct ms_range accuracy = {m->accuracy_low, m->accuracy_high};
        (void)fprintf(out, "  %-10s", i ? e->entries[i].name : "the model");
        ms_show_figure(out, m->accuracy, 10, 3);
        ms_show_interval(out, accuracy);
        ms_show_figure(out, m->macro_f1, 10, 3);
        ms_show_interval(out, m->macro_f1_range);
        ms_show_figure(out, m->auc, 8, 3);
        ms_show_interval(out, m->auc_range);
        ms_show_figure(out, m->average_precision, 7, 3);
        ms_show_figure(out, e->entries[i].seconds, 9, 1);
        (void)fputc('\n', out);
    }
    (void)fprintf(out, "\n  %-10s  %-24s  %-24s  %-24s  %s\n", "above it",
                  "accuracy (paired, 95 %)", "macro-F1", "AUC", "t-test p");
    for (uint32_t i = 1; i < e->entry_count; i++) {
        const struct ms_comparison *c = &e->entries[i].comparison;
        (void)fprintf(out, "  %-10s", e->entries[i].name);
        show_difference(out, &c->accuracy);
        show_difference(out, &c->macro_f1);
        show_difference(out, &c->auc);
        (void)(isnan(c->p) ? fputs("  -\n", out) : fprintf(out, "  %.2g\n", c->p));
    }
}

void ms_show_positive(const struct ms_outcome *o, FILE *out)
{
    const struct ms_experiment *e = o->experiment;
    char name[MS_SHOW_NAME_BYTES];
    if (o->set->classes != 2 || e->entry_count < 2)
        return;
    (void)fprintf(out, "\n  of '%s'    F1 %-17s     AP %-14s  model above it: %-19s %s\n",
                  ms_show_class(o, 0, name), "", "", "F1", "AP");
    for (uint32_t i = 0; i < e->entry_count; i++) {
        const struct ms_class_scores *s = &e->entries[i].metrics.by_class[0];
        const struct ms_comparison *c = &e->entries[i].comparison;
        (void)fprintf(out, "  %-10s", i ? e->entries[i].name : "the model");
        ms_show_figure(out, s->f1, 8, 3);
        ms_show_interval(out, s->f1_range);
        ms_show_figure(out, s->average_precision, 9, 3);
        ms_show_interval(out, s->average_precision_range);
        if (i) {
            (void)fputs("  ", out);
            show_difference(out, &c->f1);
            show_difference(out, &c->average_precision);
        }
        (void)fputc('\n', out);
    }
}

void ms_show_repeats(const struct ms_outcome *o, FILE *out)
{
    static const char *const figures[3] = {"accuracy", "macro-F1", "AUC"};
    const struct ms_experiment *e = o->experiment;
    const struct ms_findings *f = o->findings;
    for (int k = 0; f->repeats > 1 && k < 3; k++) {
        (void)fprintf(out, "\n  %-8s by repeat %20s", figures[k], "seed");
        for (uint32_t i = 0; i < e->entry_count; i++)
            (void)fprintf(out, " %9s", e->entries[i].name);
        (void)fputc('\n', out);
        for (uint32_t r = 0; r < f->repeats; r++) {
            (void)fprintf(out, "  %18u %20llu", r + 1, (unsigned long long)e->partition.seeds[r]);
            for (uint32_t i = 0; i < e->entry_count; i++) {
                const struct ms_repeat_figures *x = &f->figures[(size_t)i * f->repeats + r];
                ms_show_figure(out, k == 0 ? x->accuracy : k == 1 ? x->macro_f1 : x->auc, 10, 3);
            }
            (void)fputc('\n', out);
        }
        for (int row = 0; row < 2; row++) {
            (void)fprintf(out, "  %39s", row == 0 ? "mean" : "standard deviation");
            for (uint32_t i = 0; i < e->entry_count; i++) {
                double x[2];
                ms_findings_mean(f, i, k, &x[0], &x[1]);
                ms_show_figure(out, x[row], 10, 3);
            }
            (void)fputc('\n', out);
        }
    }
}

/* The highest precision at a recall of at least so much. */
static double precision_at(const struct ms_curve *c, double recall)
{
    double best = NAN;
    for (size_t i = 0; i < c->count; i++)
        if (c->x[i] >= recall)
            best = fmax(isnan(best) ? 0 : best, c->y[i]);
    return best;
}

static double found_at(const struct ms_curve *c, double fpr)
{
    double best = NAN;
    for (size_t i = 0; i < c->count; i++)
        if (c->x[i] <= fpr)
            best = fmax(isnan(best) ? 0 : best, c->y[i]);
    return best;
}

void ms_show_ranking(const struct ms_outcome *o, FILE *out)
{
    uint32_t classes = o->set->classes == 2 ? 1 : o->set->classes;
    struct ms_curve *c = calloc(1, sizeof *c);
    struct ms_error ignored;
    char name[MS_SHOW_NAME_BYTES];
    (void)fprintf(out, "\n  %-24s %26s   %26s\n  %-24s %8s %8s %8s   %8s %8s %8s\n", "",
                  "found at false positives", "precision at recall", "", "5 %", "10 %", "20 %",
                  "50 %", "80 %", "95 %");
    for (uint32_t k = 0; c && k < classes; k++) {
        (void)fputs("  ", out);
        ms_show_padded(out, ms_show_class(o, k, name), 24, false);
        if (ms_findings_curve(o->experiment, 0, k, MS_CURVE_ROC, c, &ignored) != MS_OK)
            break;
        ms_show_figure(out, found_at(c, .05), 9, 3);
        ms_show_figure(out, found_at(c, .1), 9, 3);
        ms_show_figure(out, found_at(c, .2), 9, 3);
        if (ms_findings_curve(o->experiment, 0, k, MS_CURVE_PRECISION_RECALL, c, &ignored) != MS_OK)
            break;
        ms_show_figure(out, precision_at(c, .5), 11, 3);
        ms_show_figure(out, precision_at(c, .8), 9, 3);
        ms_show_figure(out, precision_at(c, .95), 9, 3);
        (void)fputc('\n', out);
    }
    free(c);
}

static void show_row(FILE *out, const char *name, double x, struct ms_range range, double y,
                     struct ms_range after)
{
    (void)fprintf(out, "  %-18s", name);
    ms_show_figure(out, x, 8, 3);
    ms_show_interval(out, range);
    ms_show_figure(out, y, 8, 3);
    ms_show_interval(out, after);
    (void)fputc('\n', out);
}

void ms_show_calibration(const struct ms_outcome *o, FILE *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    const struct ms_metrics *raw = &o->experiment->raw;
    const struct ms_range none = {NAN, NAN};
    struct ms_metrics c = {.ece = NAN, .brier = NAN, .log_loss = NAN};
    c.ece_range = c.brier_range = c.log_loss_range = none;
    if (!m->calibrated)
        return;
    bool both = raw->rows > 0;
    if (both)
        c = *m;
    else
        raw = m;
    (void)fprintf(out, "\n  %-18s %8s%16s%s\n", "calibration", "as scored", "",
                  both ? "calibrated" : "");
    show_row(out, "ECE", raw->ece, raw->ece_range, c.ece, c.ece_range);
    show_row(out, "Brier score", raw->brier, raw->brier_range, c.brier, c.brier_range);
    show_row(out, "log loss", raw->log_loss, raw->log_loss_range, c.log_loss, c.log_loss_range);
    (void)fprintf(out, "\n  %10s %10s %10s\n", "claimed", "held", "rows");
    for (int k = 0; k < MS_RELIABILITY_BINS; k++)
        if (m->reliability[k].rows) {
            ms_show_figure(out, m->reliability[k].claimed, 12, 3);
            ms_show_figure(out, m->reliability[k].held, 11, 3);
            (void)fprintf(out, " %10llu\n", (unsigned long long)m->reliability[k].rows);
        }
}

static void show_points(const struct ms_outcome *o, FILE *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    for (int k = 0; k < MS_TPR_RATES; k++) {
        (void)fprintf(out, "  TPR at %g %% FPR", ms_tpr_rates[k] * 100);
        ms_show_figure(out, m->tpr[k].value, 8, 3);
        if (isnan(m->tpr[k].value))
            (void)fprintf(out, "  (needs %llu negatives, there are %llu)\n",
                          (unsigned long long)m->tpr[k].needed,
                          (unsigned long long)m->by_class[1].support);
        else {
            ms_show_interval(out, m->tpr[k].range);
            (void)fputc('\n', out);
        }
    }
    (void)fprintf(out, "\n  %-20s %9s %9s %9s\n", "false positives under", "threshold", "reached",
                  "found");
    for (int k = 0; k < MS_OPERATING_POINTS; k++) {
        const struct ms_operating_point *p = &o->findings->points[k];
        (void)fprintf(out, "  %19g %%", p->fpr * 100);
        ms_show_figure(out, p->threshold, 10, 3);
        ms_show_figure(out, p->reached, 10, 3);
        ms_show_figure(out, p->recall, 10, 3);
        (void)fputc('\n', out);
    }
}

void ms_show_thresholds(const struct ms_outcome *o, FILE *out)
{
    char note[MS_SENTENCE_BYTES];
    ms_outcome_threshold_note(o, note);
    if (o->set->binary)
        (void)fprintf(out, "\n  threshold %.3g. %s.\n", o->experiment->tuning.threshold, note);
    else
        (void)fprintf(out, "\n  %s.\n", note);
    if (o->set->classes == 2)
        show_points(o, out);
    if (o->findings->doubts[0].doubt.rows == 0)
        return;
    (void)fprintf(out, "\n  %-24s %9s %9s   %s\n", "unknown for scores", "unknown", "share",
                  "accuracy of the rest");
    for (int k = 0; k < MS_DOUBT_BANDS; k++) {
        const struct ms_doubt_band *b = &o->findings->doubts[k];
        char band[64];
        if (o->set->classes == 2)
            (void)snprintf(band, sizeof band, "from %g to %g", b->low, b->high);
        else
            (void)snprintf(band, sizeof band, "all under %g", b->high);
        (void)fprintf(out, "  %-24s %9llu %7.1f %%", band, (unsigned long long)b->doubt.unknown,
                      100 * (1 - b->doubt.coverage));
        ms_show_figure(out, b->doubt.accuracy, 12, 3);
        (void)fputc('\n', out);
    }
}

void ms_show_errors(const struct ms_outcome *o, FILE *out)
{
    const struct ms_findings *f = o->findings;
    char name[MS_SHOW_NAME_BYTES];
    (void)fprintf(out,
                  "\nErrors worth a look: %llu of %zu traces were judged wrongly at least once\n",
                  (unsigned long long)f->wrong_rows, o->set->count);
    for (uint32_t i = 0; i < f->error_count; i++) {
        const struct ms_wrong_row *w = &f->errors[i];
        (void)fprintf(out, "  %.3f  is ", w->score);
        ms_show_padded(out, ms_show_class(o, w->truth, name), 14, false);
        (void)fputs("  said ", out);
        ms_show_padded(out, ms_show_class(o, w->predicted, name), 14, false);
        (void)fprintf(out, "  %u of %u  %s\n", w->wrong, w->judged, o->set->rows[w->row].key);
    }
}

void ms_show_audit(const struct ms_outcome *o, FILE *out)
{
    const struct ms_findings *f = o->findings;
    if (f->near_known)
        (void)fprintf(out,
                      "  nearly the same (Jaccard from %g on): %u groups; %llu of %zu judged have "
                      "such a trace in training\n",
                      MS_PARTITION_NEAR_THRESHOLD, f->near_groups,
                      (unsigned long long)f->near_judged, o->experiment->judged_count);
}

void ms_show_sentences(const struct ms_outcome *o, FILE *out)
{
    struct ms_sentence list[MS_SENTENCES_MAX];
    size_t n = ms_outcome_sentences(o, list);
    (void)fputs("\nWhat this says\n", out);
    for (size_t i = 0; i < n; i++)
        (void)fprintf(out, "%s %s\n", list[i].warning ? "  !" : "  -", list[i].text);
}
