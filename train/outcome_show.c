/* A finished run as tables on a terminal. */
#include "base/clock.h"
#include "base/log.h"
#include "train/outcome.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 64, BAR = 30, MATRIX_CLASSES = 20, COLUMN = 9, CURVE_ROWS = 20 };

static const char *name_of(const struct ms_outcome *o, uint32_t class_, char out[NAME_BYTES])
{
    return ms_escape_text(o->set->class_names[class_], out, NAME_BYTES);
}

/* Columns that a text takes, where every code point takes one. */
static int columns(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static int name_width(const struct ms_outcome *o)
{
    char name[NAME_BYTES];
    int width = 9;
    for (uint32_t c = 0; c < o->set->classes; c++) {
        int n = columns(name_of(o, c, name));
        width = n > width ? n : width;
    }
    return width;
}

static void pad(FILE *out, const char *text, int width, bool right)
{
    int fill = width - columns(text);
    if (right && fill > 0)
        (void)fprintf(out, "%*s", fill, "");
    (void)fputs(text, out);
    if (!right && fill > 0)
        (void)fprintf(out, "%*s", fill, "");
}

static void show_classes(const struct ms_outcome *o, FILE *out)
{
    const struct ms_dataset *d = o->set;
    char name[NAME_BYTES];
    int width = name_width(o);
    for (uint32_t c = 0; c < d->classes; c++) {
        uint64_t n = 0;
        for (size_t i = 0; i < d->count; i++)
            n += d->labels[i] == c;
        double share = (double)n / (double)d->count;
        (void)fputs("  ", out);
        pad(out, name_of(o, c, name), width, false);
        (void)fprintf(out, " %7llu %5.1f %%  ", (unsigned long long)n, share * 100);
        for (int i = 0; i < (int)lround(share * BAR); i++)
            (void)fputc('#', out);
        (void)fputc('\n', out);
    }
}

static void show_copies(const char *what, const struct ms_copies *c, FILE *out)
{
    (void)fprintf(out, "  %-22s %7llu %8llu %14llu %9.3f\n", what, (unsigned long long)c->distinct,
                  (unsigned long long)c->largest, (unsigned long long)c->contradicting, c->ceiling);
}

static void show_sources(const struct ms_dataset *d, FILE *out)
{
    char name[NAME_BYTES];
    (void)fputs("\n  sources:", out);
    for (uint32_t i = 0; i < ms_names_count(d->sources); i++) {
        struct ms_span source = ms_names_get(d->sources, i);
        (void)fprintf(out, "%s %s", i ? "," : "",
                      ms_escape_bytes(source.data, source.len, name, sizeof name));
    }
    (void)fprintf(out, "; knowing only the source gives accuracy %.3f\n", d->source_accuracy);
}

static void show_dataset(const struct ms_outcome *o, FILE *out)
{
    const struct ms_dataset *d = o->set;
    char target[128];
    (void)fprintf(out, "Dataset: %zu traces, target %s, labels by %s%s\n", d->count,
                  ms_escape_text(o->target, target, sizeof target), d->policies,
                  o->shuffled_labels ? ", LABELS SHUFFLED: chance is what should come out" : "");
    if (d->opcodes || d->statics)
        (void)fprintf(out, "  sequences of %s; static features: %s\n",
                      d->opcodes ? "opcodes" : "calls", ms_static_use_name(d->statics));
    show_classes(o, out);
    (void)fprintf(out, "  left out: %llu labelled otherwise, %llu too short, %llu damaged",
                  (unsigned long long)d->dropped_other, (unsigned long long)d->dropped_short,
                  (unsigned long long)d->dropped_damaged);
    if (d->dropped_copies || d->dropped_undecided)
        (void)fprintf(out, ", %llu copies, %llu copies of unclear class",
                      (unsigned long long)d->dropped_copies,
                      (unsigned long long)d->dropped_undecided);
    (void)fprintf(out, "\n");
    const uint64_t *q = d->length_quantiles;
    (void)fprintf(out,
                  "  calls in a trace: %llu / %llu / %llu / %llu / %llu (min, quartiles, max)\n",
                  (unsigned long long)q[0], (unsigned long long)q[1], (unsigned long long)q[2],
                  (unsigned long long)q[3], (unsigned long long)q[4]);
    (void)fprintf(out, "\n  %-22s %7s %8s %14s %9s\n", "copies", "distinct", "largest",
                  "contradicting", "ceiling");
    show_copies("whole traces", &d->raw_copies, out);
    show_copies("with runs collapsed", &d->copies, out);
    show_copies("as the net sees them", &d->view_copies, out);
    show_sources(d, out);
    if (ms_outcome_source_suspect(o))
        (void)fputs(
            "  The source tells much of the class: a net may learn the sandbox instead of the "
            "programs.\n",
            out);
}

static void show_figure(FILE *out, double x, int width, int digits)
{
    if (isnan(x))
        (void)fprintf(out, "%*s", width, "-");
    else
        (void)fprintf(out, "%*.*f", width, digits, x);
}

static void show_windows(const struct ms_outcome *o, FILE *out)
{
    const struct ms_partition *p = &o->experiment->partition;
    char day[32];
    double aut = NAN;
    struct ms_window *windows = ms_outcome_windows(o, &aut);
    ms_clock_format(p->split_date_ms, day);
    (void)fprintf(out,
                  "  judged is what was first seen from %.10s on; left out: %llu without a date, "
                  "%llu in months\n  with one class alone, %llu for --test-ratio; %llu later "
                  "copies of earlier traces train\n\n",
                  day, (unsigned long long)p->undated, (unsigned long long)p->one_sided,
                  (unsigned long long)p->thinned, (unsigned long long)p->moved);
    (void)fprintf(out, "  %-8s %8s %9s %9s %9s\n", "month", "rows", "positive", "accuracy", "F1");
    for (uint32_t w = 0; windows && w < p->window_count; w++) {
        ms_clock_format(p->windows_ms[w], day);
        (void)fprintf(out, "  %-8.7s %8llu %9llu", day, (unsigned long long)windows[w].rows,
                      (unsigned long long)windows[w].positive);
        show_figure(out, windows[w].accuracy, 10, 3);
        show_figure(out, windows[w].f1, 10, 3);
        (void)fputc('\n', out);
    }
    (void)fputs("  area under F1 over the months (AUT)  ", out);
    show_figure(out, aut, 10, 3);
    (void)fputc('\n', out);
    free(windows);
}

static void show_split(const struct ms_outcome *o, FILE *out)
{
    const struct ms_experiment *e = o->experiment;
    (void)fprintf(out, "\nSplit %s: ", e->partition.name);
    if (e->partition.folds)
        (void)fprintf(out, "%u folds, each judged by a net that was trained on the others",
                      e->partition.folds);
    else
        (void)fprintf(out, "%llu rows to train, %zu to test", (unsigned long long)e->train_rows,
                      e->judged_count);
    if (e->partition.leaked)
        (void)fprintf(out, "; %u judged rows have a copy among the training rows",
                      e->partition.leaked);
    else
        (void)fputs("; no copy straddles it", out);
    (void)fputc('\n', out);
    if (e->partition.how == MS_PARTITION_TIME)
        show_windows(o, out);
}

static void show_curve(const struct ms_outcome *o, FILE *out)
{
    const struct ms_experiment *e = o->experiment;
    uint32_t every = (e->epochs + CURVE_ROWS - 1) / CURVE_ROWS;
    (void)fprintf(out, "\n%7s %10s %10s %10s %10s\n", "epoch", "loss", "accuracy", "test loss",
                  "test acc.");
    for (uint32_t i = 0; i < e->epochs; i++) {
        if ((i + 1) % every != 0 && i + 1 != e->epochs && i != 0)
            continue;
        const struct ms_fit_epoch *p = &e->curve[i];
        (void)fprintf(out, "%7u", i + 1);
        show_figure(out, p->loss, 11, 4);
        show_figure(out, p->accuracy, 11, 3);
        show_figure(out, p->test_loss, 11, 4);
        show_figure(out, p->test_accuracy, 11, 3);
        (void)fputc('\n', out);
    }
}

/* The first code points of a name that fit a column. */
static void heading(FILE *out, const char *name)
{
    char cut[NAME_BYTES];
    size_t n = 0;
    int shown = 0;
    for (; name[n] && n + 1 < sizeof cut; n++) {
        shown += ((unsigned char)name[n] & 0xc0) != 0x80;
        if (shown >= COLUMN)
            break;
        cut[n] = name[n];
    }
    cut[n] = '\0';
    (void)fprintf(out, "%*s%s", COLUMN - columns(cut), "", cut);
}

static void show_confusion(const struct ms_outcome *o, FILE *out)
{
    const struct ms_confusion *m = &o->experiment->entries[0].metrics.confusion;
    char name[NAME_BYTES];
    int width = name_width(o);
    (void)fputs("\nConfusion matrix (rows: predicted, columns: true)\n", out);
    if (m->classes > MATRIX_CLASSES) {
        (void)fprintf(out, "  %u classes: see the report\n", m->classes);
        return;
    }
    (void)fprintf(out, "  %*s", width, "");
    for (uint32_t t = 0; t < m->classes; t++)
        heading(out, name_of(o, t, name));
    (void)fputc('\n', out);
    for (uint32_t p = 0; p < m->classes; p++) {
        (void)fputs("  ", out);
        pad(out, name_of(o, p, name), width, false);
        for (uint32_t t = 0; t < m->classes; t++)
            (void)fprintf(out, "%*llu", COLUMN,
                          (unsigned long long)m->counts[(size_t)p * m->classes + t]);
        (void)fputc('\n', out);
    }
}

static void show_ranged(FILE *out, const char *name, double value, struct ms_range range)
{
    (void)fprintf(out, "  %-18s", name);
    show_figure(out, value, 7, 3);
    if (!isnan(range.low))
        (void)fprintf(out, "   [%.3f, %.3f]", range.low, range.high);
    (void)fputc('\n', out);
}

/* What a detector is worth where false alarms are rare. */
static void show_detection(FILE *out, const struct ms_metrics *m)
{
    for (int k = 0; m->classes == 2 && k < MS_TPR_RATES; k++) {
        char name[32];
        (void)snprintf(name, sizeof name, "TPR at %g %% FPR", ms_tpr_rates[k] * 100);
        show_ranged(out, name, m->tpr[k].value, m->tpr[k].range);
        if (isnan(m->tpr[k].value))
            (void)fprintf(out, "  %18s       (needs %llu negatives, there are %llu)\n", "",
                          (unsigned long long)m->tpr[k].needed,
                          (unsigned long long)m->by_class[1].support);
    }
}

static void show_calibration(FILE *out, const struct ms_metrics *m)
{
    if (!m->calibrated)
        return;
    show_ranged(out, "Brier score", m->brier, m->brier_range);
    show_ranged(out, "log loss", m->log_loss, m->log_loss_range);
    show_ranged(out, "calibration error", m->ece, m->ece_range);
}

/* Simpler models on the same rows, and how far the model is above them. */
static void show_baselines(const struct ms_experiment *e, FILE *out)
{
    if (e->entry_count < 2)
        return;
    (void)fprintf(out, "\n  %-10s %9s %9s %9s %9s  %s\n", "baseline", "accuracy", "macro-F1", "AUC",
                  "seconds", "the model's accuracy above it (95 %)");
    for (uint32_t i = 0; i < e->entry_count; i++) {
        const struct ms_entry *b = &e->entries[i];
        (void)fprintf(out, "  %-10s", i ? b->name : "the model");
        show_figure(out, b->metrics.accuracy, 10, 3);
        show_figure(out, b->metrics.macro_f1, 10, 3);
        show_figure(out, b->metrics.auc, 10, 3);
        show_figure(out, b->seconds, 10, 1);
        if (i > 0)
            (void)fprintf(out, "  %+.3f", b->margin.difference);
        if (i > 0 && !isnan(b->margin.low))
            (void)fprintf(out, " [%+.3f, %+.3f]", b->margin.low, b->margin.high);
        (void)fputc('\n', out);
    }
}

static void show_rates(const struct ms_outcome *o, FILE *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    char name[NAME_BYTES], verdict[512];
    int width = name_width(o);
    (void)fprintf(out, "\n  %*s %9s %9s %9s %9s %9s\n", width, "", "precision", "recall", "F1",
                  "AUC", "rows");
    for (uint32_t c = 0; c < m->classes; c++) {
        const struct ms_class_scores *s = &m->by_class[c];
        (void)fputs("  ", out);
        pad(out, name_of(o, c, name), width, false);
        show_figure(out, s->precision, 10, 3);
        show_figure(out, s->recall, 10, 3);
        show_figure(out, s->f1, 10, 3);
        show_figure(out, s->auc, 10, 3);
        (void)fprintf(out, " %9llu\n", (unsigned long long)s->support);
    }
    (void)fprintf(out, "\n  accuracy            %.3f   [%.3f, %.3f] 95 %%, %s\n", m->accuracy,
                  m->accuracy_low, m->accuracy_high, m->interval);
    (void)fprintf(out, "  majority class      %.3f   always '%s'\n", m->majority,
                  name_of(o, m->majority_class, name));
    show_ranged(out, "balanced accuracy", m->balanced_accuracy, m->balanced_accuracy_range);
    show_ranged(out, "macro-F1", m->macro_f1, m->macro_f1_range);
    show_ranged(out, "AUC", m->auc, m->auc_range);
    show_ranged(out, "average precision", m->average_precision, m->average_precision_range);
    show_detection(out, m);
    show_calibration(out, m);
    ms_outcome_tuning_show(o, out);
    (void)fprintf(out, "  best any could do   %.3f   copies with contradicting labels\n",
                  o->set->view_copies.ceiling);
    show_baselines(o->experiment, out);
    ms_outcome_verdict(o, verdict);
    (void)fprintf(out, "\n%s.\n", verdict);
}

void ms_outcome_show(const struct ms_outcome *self, FILE *out)
{
    show_dataset(self, out);
    if (!self->experiment)
        return;
    show_split(self, out);
    show_curve(self, out);
    show_confusion(self, out);
    show_rates(self, out);
}
