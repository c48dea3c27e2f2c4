/* A finished run as JSON. */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "train/metrics_json.h"
#include "train/outcome.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static void set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value);
}

static json_t *digest(const uint8_t *bytes)
{
    char hex[MS_HASH_HEX_MAX];
    ms_hex_encode(bytes, MS_SHA256_BYTES, hex);
    return json_string(hex);
}

static json_t *copies_json(const struct ms_copies *c)
{
    json_t *o = json_object();
    set(o, "distinct", count(c->distinct));
    set(o, "largest", count(c->largest));
    set(o, "contradicting", count(c->contradicting));
    set(o, "unavoidable_errors", count(c->unavoidable));
    set(o, "ceiling", real(c->ceiling));
    return o;
}

static json_t *classes_json(const struct ms_outcome *self)
{
    const struct ms_dataset *d = self->set;
    json_t *list = json_array();
    for (uint32_t c = 0; c < d->classes; c++) {
        uint64_t all = 0, train = 0, test = 0;
        for (size_t i = 0; i < d->count; i++) {
            all += d->labels[i] == c;
            if (d->labels[i] == c && self->experiment) {
                train += self->experiment->partition.part_of[i] == MS_SPLIT_TRAIN;
                test += self->experiment->partition.part_of[i] == MS_SPLIT_TEST;
            }
        }
        json_t *o = json_object();
        set(o, "class", ms_json_text(d->class_names[c]));
        set(o, "samples", count(all));
        if (self->experiment && !self->experiment->partition.folds) {
            set(o, "train", count(train));
            set(o, "test", count(test));
        }
        (void)json_array_append_new(list, o);
    }
    return list;
}

static void dataset_json(const struct ms_outcome *self, json_t *o)
{
    const struct ms_dataset *d = self->set;
    set(o, "samples", count(d->count));
    set(o, "classes", classes_json(self));
    json_t *dropped = json_object();
    set(dropped, "short", count(d->dropped_short));
    set(dropped, "labelled_otherwise", count(d->dropped_other));
    set(dropped, "damaged", count(d->dropped_damaged));
    set(dropped, "copies", count(d->dropped_copies));
    set(dropped, "undecided_copies", count(d->dropped_undecided));
    set(o, "dropped", dropped);
    json_t *lengths = json_array();
    for (int q = 0; q < 5; q++)
        (void)json_array_append_new(lengths, count(d->length_quantiles[q]));
    set(o, "lengths", lengths);
    json_t *copies = json_object();
    set(copies, "raw", copies_json(&d->raw_copies));
    set(copies, "collapsed", copies_json(&d->copies));
    set(copies, "seen_by_net", copies_json(&d->view_copies));
    set(o, "copies", copies);
    json_t *sources = json_array();
    for (uint32_t i = 0; i < ms_names_count(d->sources); i++) {
        struct ms_span source = ms_names_get(d->sources, i);
        (void)json_array_append_new(sources, ms_json_bytes(source.data, source.len));
    }
    set(o, "sources", sources);
    set(o, "source_accuracy", real(d->source_accuracy));
    set(o, "source_suspect", json_boolean(ms_outcome_source_suspect(self)));
    set(o, "sequence", json_string(d->opcodes ? "opcode" : "api"));
    set(o, "static", json_string(ms_static_use_name(d->statics)));
    set(o, "normalisation", json_string(d->normalisation));
    set(o, "dataset", digest(d->digest));
}

static json_t *confusion_json(const struct ms_outcome *self)
{
    const struct ms_confusion *m = &self->experiment->entries[0].metrics.confusion;
    json_t *o = json_object(), *rows = json_array(), *names = json_array();
    for (uint32_t p = 0; p < m->classes; p++) {
        json_t *row = json_array();
        for (uint32_t t = 0; t < m->classes; t++)
            (void)json_array_append_new(row, count(m->counts[(size_t)p * m->classes + t]));
        (void)json_array_append_new(rows, row);
        (void)json_array_append_new(names, ms_json_text(self->set->class_names[p]));
    }
    set(o, "rows", json_string("predicted"));
    set(o, "columns", json_string("true"));
    set(o, "classes", names);
    set(o, "counts", rows);
    return o;
}

static json_t *by_class_json(const struct ms_outcome *self)
{
    json_t *list = json_array();
    for (uint32_t c = 0; c < self->set->classes; c++) {
        const struct ms_class_scores *s = &self->experiment->entries[0].metrics.by_class[c];
        json_t *o = json_object();
        set(o, "class", ms_json_text(self->set->class_names[c]));
        set(o, "support", count(s->support));
        set(o, "predicted", count(s->predicted));
        set(o, "precision", real(s->precision));
        set(o, "recall", real(s->recall));
        set(o, "f1", real(s->f1));
        set(o, "auc", real(s->auc));
        set(o, "average_precision", real(s->average_precision));
        ms_class_ranges_json(s, o);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *curve_json(const struct ms_experiment *e)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < e->epochs; i++) {
        json_t *o = json_object();
        set(o, "epoch", count(i + 1));
        set(o, "loss", real(e->curve[i].loss));
        set(o, "accuracy", real(e->curve[i].accuracy));
        set(o, "test_loss", real(e->curve[i].test_loss));
        set(o, "test_accuracy", real(e->curve[i].test_accuracy));
        set(o, "rate", real(e->curve[i].rate));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *time_json(const struct ms_outcome *self)
{
    const struct ms_experiment *e = self->experiment;
    const struct ms_partition *p = &e->partition;
    char day[32];
    double aut = NAN;
    json_t *o = json_object(), *list = json_array();
    struct ms_window *windows = ms_outcome_windows(self, &aut);
    for (uint32_t w = 0; windows && w < p->window_count; w++) {
        json_t *one = json_object();
        ms_clock_format(p->windows_ms[w], day);
        set(one, "month", json_stringn(day, 7));
        set(one, "rows", count(windows[w].rows));
        set(one, "positive", count(windows[w].positive));
        set(one, "accuracy", real(windows[w].accuracy));
        set(one, "f1", real(windows[w].f1));
        (void)json_array_append_new(list, one);
    }
    free(windows);
    ms_clock_format(p->split_date_ms, day);
    set(o, "date", json_stringn(day, 10));
    set(o, "undated", count(p->undated));
    set(o, "moved", count(p->moved));
    set(o, "one_sided", count(p->one_sided));
    set(o, "thinned", count(p->thinned));
    set(o, "windows", list);
    set(o, "aut", real(aut));
    return o;
}

static json_t *split_json(const struct ms_outcome *self)
{
    const struct ms_experiment *e = self->experiment;
    json_t *o = json_object();
    set(o, "name", json_string(e->partition.name));
    set(o, "digest", digest(e->partition.digest));
    set(o, "how", json_string(ms_partition_how_name(e->partition.how)));
    set(o, "grouped", json_boolean(e->partition.how != MS_PARTITION_NAIVE));
    set(o, "copies_in_training", count(e->partition.leaked));
    if (e->partition.how == MS_PARTITION_TIME)
        set(o, "time", time_json(self));
    if (e->fold_accuracy) {
        json_t *folds = json_array();
        for (uint32_t k = 0; k < e->partition.folds; k++)
            (void)json_array_append_new(folds, real(e->fold_accuracy[k]));
        set(o, "fold_accuracy", folds);
    }
    return o;
}

static json_t *baselines_json(const struct ms_experiment *e)
{
    json_t *list = json_array();
    for (uint32_t i = 1; i < e->entry_count; i++) {
        const struct ms_entry *b = &e->entries[i];
        json_t *o = json_object();
        set(o, "kind", json_string(b->name));
        set(o, "accuracy", real(b->metrics.accuracy));
        set(o, "macro_f1", real(b->metrics.macro_f1));
        set(o, "auc", real(b->metrics.auc));
        set(o, "margin", real(b->margin.difference));
        set(o, "margin_low", real(b->margin.low));
        set(o, "margin_high", real(b->margin.high));
        set(o, "seconds", real(b->seconds));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static void experiment_json(const struct ms_outcome *self, json_t *o)
{
    const struct ms_experiment *e = self->experiment;
    const struct ms_metrics *m = &e->entries[0].metrics;
    char verdict[512];
    ms_outcome_verdict(self, verdict);
    set(o, "split", split_json(self));
    set(o, "trained_on", count(e->train_rows));
    set(o, "judged", count(m->rows));
    set(o, "accuracy", real(m->accuracy));
    json_t *interval = json_object();
    set(interval, "low", real(m->accuracy_low));
    set(interval, "high", real(m->accuracy_high));
    set(interval, "level", real(.95));
    set(interval, "method", json_string(m->interval));
    set(o, "accuracy_interval", interval);
    set(o, "majority_accuracy", real(m->majority));
    set(o, "majority_class", ms_json_text(self->set->class_names[m->majority_class]));
    set(o, "verdict", ms_json_text(verdict));
    set(o, "balanced_accuracy", real(m->balanced_accuracy));
    set(o, "macro_f1", real(m->macro_f1));
    set(o, "auc", real(m->auc));
    set(o, "average_precision", real(m->average_precision));
    set(o, "threshold", self->set->binary ? real(e->tuning.threshold) : json_null());
    set(o, "tuning", ms_outcome_tuning_json(self));
    set(o, "figures", ms_metrics_json(m));
    set(o, "confusion", confusion_json(self));
    set(o, "by_class", by_class_json(self));
    set(o, "baselines", baselines_json(e));
    set(o, "curve", curve_json(e));
    set(o, "parameters", count(ms_model_parameters(e->model)));
    set(o, "vocabulary", count(ms_vocabulary_size(ms_model_vocabulary(e->model))));
    set(o, "model_digest", digest(self->model_digest));
    set(o, "seconds", real(e->seconds));
}

json_t *ms_outcome_json(const struct ms_outcome *self)
{
    char when[32];
    ms_clock_format(self->made_ms, when);
    json_t *o = json_object();
    set(o, "model", ms_json_text(self->name));
    set(o, "preset", json_string(self->plan->preset));
    set(o, "kind", json_string(ms_model_kind_name(self->plan->kind)));
    set(o, "target", ms_json_text(self->target));
    set(o, "policy", ms_json_text(self->set->policies));
    set(o, "shuffled_labels", json_boolean(self->shuffled_labels));
    dataset_json(self, o);
    if (self->experiment)
        experiment_json(self, o);
    set(o, "settings", ms_json_text(self->settings));
    set(o, "seed", count(self->plan->fit.seed));
    set(o, "jobs", count(self->jobs));
    set(o, "version", json_string(MS_VERSION));
    set(o, "command", ms_json_text(self->command));
    set(o, "made", json_string(when));
    return o;
}

struct ms_window *ms_outcome_windows(const struct ms_outcome *self, double *aut)
{
    const struct ms_experiment *e = self->experiment;
    const struct ms_partition *p = &e->partition;
    const struct ms_judged judged = {.classes = self->set->classes,
                                     .rows = e->judged_count,
                                     .truth = e->truth,
                                     .predicted = e->entries[0].predicted};
    struct ms_window *windows = calloc((size_t)p->window_count + 1, sizeof *windows);
    uint32_t *window_of = calloc(e->judged_count + 1, sizeof *window_of);
    for (size_t i = 0; windows && window_of && i < e->judged_count; i++)
        window_of[i] = p->window_of[e->judged[i]];
    if (!windows || !window_of ||
        ms_windows_make(&judged, window_of, p->window_count, windows, aut, NULL) != MS_OK) {
        free(windows);
        windows = NULL;
    }
    free(window_of);
    return windows;
}

bool ms_outcome_source_suspect(const struct ms_outcome *self)
{
    return self->set->source_accuracy > self->set->majority + .05;
}

/* The best of the baselines that learn something; NULL: none was tried. */
static const struct ms_entry *best_baseline(const struct ms_experiment *e)
{
    const struct ms_entry *best = NULL;
    for (uint32_t i = 1; i < e->entry_count; i++)
        if (e->entries[i].kind != MS_MODEL_MAJORITY &&
            (!best || e->entries[i].metrics.accuracy > best->metrics.accuracy))
            best = &e->entries[i];
    return best;
}

void ms_outcome_verdict(const struct ms_outcome *self, char out[512])
{
    const struct ms_metrics *m = &self->experiment->entries[0].metrics;
    const struct ms_entry *best = best_baseline(self->experiment);
    char name[128];
    (void)ms_escape_text(self->set->class_names[m->majority_class], name, sizeof name);
    const char *how = m->accuracy_low > m->majority    ? "better than"
                      : m->accuracy_high < m->majority ? "worse than"
                                                       : "not distinguishable (95 %) from";
    int n = snprintf(
        out, 512, "accuracy %.3f is %s always saying '%s', which scores %.3f on the same %llu rows",
        m->accuracy, how, name, m->majority, (unsigned long long)m->rows);
    if (!best || n < 0 || n >= 512)
        return;
    const struct ms_difference *d = &best->margin;
    const char *against = d->low > 0    ? "better than"
                          : d->high < 0 ? "WORSE than"
                                        : "not distinguishable (95 %) from";
    (void)snprintf(out + n, 512 - (size_t)n, "; %s the best baseline, %s, which scores %.3f",
                   against, best->name, best->metrics.accuracy);
}
