/* A finished run as tables on a terminal: the data, the split, the model by itself. What it is
 * compared with and worth is in outcome_show_worth.c. */
#include "train/outcome_show.h"

#include "base/clock.h"
#include "base/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BAR = 30, MATRIX_CLASSES = 20, COLUMN = 9, CURVE_ROWS = 20 };

const char *ms_show_class(const struct ms_outcome *o, uint32_t class_, char out[MS_SHOW_NAME_BYTES])
{
    return ms_escape_text(o->set->class_names[class_], out, MS_SHOW_NAME_BYTES);
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
    char name[MS_SHOW_NAME_BYTES];
    int width = 9;
    for (uint32_t c = 0; c < o->set->classes; c++) {
        int n = columns(ms_show_class(o, c, name));
        width = n > width ? n : width;
    }
    return width;
}

void ms_show_padded(FILE *out, const char *text, int width, bool right)
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
    char name[MS_SHOW_NAME_BYTES];
    int width = name_width(o);
    for (uint32_t c = 0; c < d->classes; c++) {
        uint64_t n = 0;
        for (size_t i = 0; i < d->count; i++)
            n += d->labels[i] == c;
        double share = (double)n / (double)d->count;
        (void)fputs("  ", out);
        ms_show_padded(out, ms_show_class(o, c, name), width, false);
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
    char name[MS_SHOW_NAME_BYTES];
    (void)fputs("\n  sources:", out);
    for (uint32_t i = 0; i < ms_names_count(d->sources); i++) {
        struct ms_span source = ms_names_get(d->sources, i);
        (void)fprintf(out, "%s %s", i ? "," : "",
                      ms_escape_bytes(source.data, source.len, name, sizeof name));
    }
    (void)fprintf(out, "; knowing only the source gives accuracy %.3f\n", d->source_accuracy);
}

static void show_lengths(const struct ms_dataset *d, FILE *out)
{
    uint64_t counts[MS_LENGTH_BINS];
    uint32_t last;
    ms_length_counts(d, counts, &last);
    for (uint32_t k = 0; k <= last; k++) {
        double share = (double)counts[k] / (double)d->count;
        if (counts[k] == 0)
            continue;
        (void)fprintf(out, "    up to %-9llu %7llu %5.1f %%  ", 1ULL << k,
                      (unsigned long long)counts[k], share * 100);
        for (int i = 0; i < (int)lround(share * BAR); i++)
            (void)fputc('#', out);
        (void)fputc('\n', out);
    }
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
    show_lengths(d, out);
    (void)fprintf(out, "\n  %-22s %7s %8s %14s %9s\n", "copies", "distinct", "largest",
                  "contradicting", "ceiling");
    show_copies("whole traces", &d->raw_copies, out);
    show_copies("with runs collapsed", &d->copies, out);
    show_copies("as the model sees them", &d->view_copies, out);
    show_sources(d, out);
    if (ms_outcome_source_suspect(o))
        (void)fputs(
            "  The source tells much of the class: a net may learn the sandbox instead of the "
            "programs.\n",
            out);
}

void ms_show_figure(FILE *out, double x, int width, int digits)
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
        ms_show_figure(out, windows[w].accuracy, 10, 3);
        ms_show_figure(out, windows[w].f1, 10, 3);
        (void)fputc('\n', out);
    }
    (void)fputs("  area under F1 over the months (AUT)  ", out);
    ms_show_figure(out, aut, 10, 3);
    (void)fputc('\n', out);
    free(windows);
}

static void show_split(const struct ms_outcome *o, FILE *out)
{
    const struct ms_experiment *e = o->experiment;
    (void)fprintf(out, "\nSplit %s: ", e->partition.name);
    if (e->partition.folds)
        (void)fprintf(out, "%u folds, each judged by a model that was trained on the others",
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
    if (e->epochs == 0)
        return;
    uint32_t every = (e->epochs + CURVE_ROWS - 1) / CURVE_ROWS;
    (void)fprintf(out, "\n%7s %10s %10s %10s %10s\n", "epoch", "loss", "accuracy", "test loss",
                  "test acc.");
    for (uint32_t i = 0; i < e->epochs; i++) {
        if ((i + 1) % every != 0 && i + 1 != e->epochs && i != 0)
            continue;
        const struct ms_fit_epoch *p = &e->curve[i];
        (void)fprintf(out, "%7u", i + 1);
        ms_show_figure(out, p->loss, 11, 4);
        ms_show_figure(out, p->accuracy, 11, 3);
        ms_show_figure(out, p->test_loss, 11, 4);
        ms_show_figure(out, p->test_accuracy, 11, 3);
        (void)fputc('\n', out);
    }
}

/* The first code points of a name that fit a column. */
static void heading(FILE *out, const char *name)
{
    char cut[MS_SHOW_NAME_BYTES];
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
    char name[MS_SHOW_NAME_BYTES];
    int width = name_width(o);
    (void)fputs("\nConfusion matrix (rows: predicted, columns: true)\n", out);
    if (m->classes > MATRIX_CLASSES) {
        (void)fprintf(out, "  %u classes: see the report\n", m->classes);
        return;
    }
    (void)fprintf(out, "  %*s", width, "");
    for (uint32_t t = 0; t < m->classes; t++)
        heading(out, ms_show_class(o, t, name));
    (void)fputc('\n', out);
    for (uint32_t p = 0; p < m->classes; p++) {
        (void)fputs("  ", out);
        ms_show_padded(out, ms_show_class(o, p, name), width, false);
        for (uint32_t t = 0; t < m->classes; t++)
            (void)fprintf(out, "%*llu", COLUMN,
                          (unsigned long long)m->counts[(size_t)p * m->classes + t]);
        (void)fputc('\n', out);
    }
}

static void show_ranged(FILE *out, const char *name, double value, struct ms_range range)
{
    (void)fprintf(out, "  %-18s", name);
    ms_show_figure(out, value, 7, 3);
    if (!isnan(range.low))
        (void)fprintf(out, "   [%.3f, %.3f]", range.low, range.high);
    (void)fputc('\n', out);
}

static void show_rates(const struct ms_outcome *o, FILE *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    char name[MS_SHOW_NAME_BYTES];
    int width = name_width(o);
    (void)fprintf(out, "\n  %*s %9s %9s %9s  %-14s %9s %9s %6s %9s\n", width, "", "precision",
                  "recall", "F1", "95 %", "AUC", "avg.prec.", "true", "predicted");
    for (uint32_t c = 0; c < m->classes; c++) {
        const struct ms_class_scores *s = &m->by_class[c];
        (void)fputs("  ", out);
        ms_show_padded(out, ms_show_class(o, c, name), width, false);
        ms_show_figure(out, s->precision, 10, 3);
        ms_show_figure(out, s->recall, 10, 3);
        ms_show_figure(out, s->f1, 10, 3);
        ms_show_interval(out, s->f1_range);
        ms_show_figure(out, s->auc, 10, 3);
        ms_show_figure(out, s->average_precision, 10, 3);
        (void)fprintf(out, " %6llu %9llu\n", (unsigned long long)s->support,
                      (unsigned long long)s->predicted);
    }
}

/* The figures of the model as a whole. */
static void show_summary(const struct ms_outcome *o, FILE *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    char name[MS_SHOW_NAME_BYTES];
    (void)fprintf(out, "\n  accuracy            %.3f   [%.3f, %.3f] 95 %%, %s\n", m->accuracy,
                  m->accuracy_low, m->accuracy_high, m->interval);
    (void)fprintf(out, "  majority class      %.3f   always '%s'\n", m->majority,
                  ms_show_class(o, m->majority_class, name));
    show_ranged(out, "balanced accuracy", m->balanced_accuracy, m->balanced_accuracy_range);
    show_ranged(out, "macro-F1", m->macro_f1, m->macro_f1_range);
    show_ranged(out, "AUC", m->auc, m->auc_range);
    show_ranged(out, "average precision", m->average_precision, m->average_precision_range);
    (void)fprintf(out, "  best any could do   %.3f   copies with contradicting labels\n",
                  o->set->view_copies.ceiling);
}

void ms_outcome_show(const struct ms_outcome *self, FILE *out)
{
    show_dataset(self, out);
    if (!self->experiment)
        return;
    show_split(self, out);
    ms_show_audit(self, out);
    show_summary(self, out);
    ms_show_entries(self, out);
    ms_show_positive(self, out);
    ms_show_repeats(self, out);
    show_curve(self, out);
    show_confusion(self, out);
    show_rates(self, out);
    ms_show_ranking(self, out);
    ms_show_calibration(self, out);
    ms_show_thresholds(self, out);
    ms_outcome_tuning_show(self, out);
    ms_show_errors(self, out);
    ms_show_sentences(self, out);
}
