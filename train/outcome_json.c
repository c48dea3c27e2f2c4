/* A finished run as JSON. */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "train/findings_json.h"
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

static json_t *length_counts_json(const struct ms_dataset *d)
{
    uint64_t counts[MS_LENGTH_BINS];
    uint32_t last;
    json_t *list = json_array();
    ms_length_counts(d, counts, &last);
    for (uint32_t k = 0; k <= last; k++)
        if (counts[k])
            (void)json_array_append_new(list, json_pack("{s:I, s:I}", "up_to", (json_int_t)1 << k,
                                                        "traces", (json_int_t)counts[k]));
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
    set(o, "length_counts", length_counts_json(d));
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
    json_t *shares = json_array();
    const struct ms_class_scores *by_class = self->experiment->entries[0].metrics.by_class;
    for (uint32_t p = 0; p < m->classes; p++) {
        json_t *row = json_array(), *share = json_array();
        for (uint32_t t = 0; t < m->classes; t++) {
            uint64_t n = m->counts[(size_t)p * m->classes + t];
            (void)json_array_append_new(row, count(n));
            (void)json_array_append_new(share, by_class[t].support
                                                   ? real((double)n / (double)by_class[t].support)
                                                   : json_null());
        }
        (void)json_array_append_new(rows, row);
        (void)json_array_append_new(shares, share);
        (void)json_array_append_new(names, ms_json_text(self->set->class_names[p]));
    }
    set(o, "rows", json_string("predicted"));
    set(o, "columns", json_string("true"));
    set(o, "classes", names);
    set(o, "counts", rows);
    set(o, "rates", shares);
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
        set(o, "margin", real(b->comparison.accuracy.difference));
        set(o, "margin_low", real(b->comparison.accuracy.low));
        set(o, "margin_high", real(b->comparison.accuracy.high));
        set(o, "seconds", real(b->seconds));
        set(o, "figures", ms_metrics_json(&b->metrics));
        ms_comparison_figures_json(&b->comparison, o);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *sentences_json(const struct ms_outcome *self)
{
    struct ms_sentence list[MS_SENTENCES_MAX];
    size_t n = ms_outcome_sentences(self, list);
    json_t *o = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(o, json_pack("{s:b, s:o}", "warning", list[i].warning, "text",
                                                 ms_json_text(list[i].text)));
    return o;
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
    set(o, "findings", sentences_json(self));
    set(o, "figures", ms_metrics_json(m));
    set(o, "baselines", baselines_json(e));
    set(o, "repeats", ms_repeats_json(self));
    set(o, "curve", curve_json(e));
    set(o, "confusion", confusion_json(self));
    set(o, "by_class", by_class_json(self));
    set(o, "ranking", ms_ranking_json(self));
    set(o, "uncalibrated", e->raw.rows ? ms_metrics_json(&e->raw) : json_null());
    set(o, "thresholds", ms_thresholds_json(self));
    set(o, "doubt", ms_doubt_json(self));
    set(o, "errors", ms_errors_json(self));
    set(o, "near", ms_near_json(self));
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
