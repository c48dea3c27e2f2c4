/* What the presentations of a finished run share: months of a split by time, and what must be said
 * in words. */
#include "train/outcome.h"

#include "base/log.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

/* Thresholds that were moved for --target-fpr, the baselines' as the model's, make accuracies hang
 * on how near each came to that rate: then ranking is what tells. */
static bool by_auc(const struct ms_outcome *self, const struct ms_comparison *c)
{
    return self->set->binary && self->plan->tuning.fpr > 0 && !isnan(c->auc.difference);
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
    if (!best || n < 0 || n >= 512 || by_auc(self, &best->comparison))
        return;
    const struct ms_difference *d = &best->comparison.accuracy;
    const char *against = d->low > 0    ? "better than"
                          : d->high < 0 ? "WORSE than"
                                        : "not distinguishable (95 %) from";
    (void)snprintf(out + n, 512 - (size_t)n, "; %s the best baseline, %s, which scores %.3f",
                   against, best->name, best->metrics.accuracy);
}

struct sentences {
    struct ms_sentence *list;
    size_t count;
};

static void say(struct sentences *s, bool warning, const char *format, ...) MS_PRINTF(3, 4);
static void say(struct sentences *s, bool warning, const char *format, ...)
{
    if (s->count == MS_SENTENCES_MAX)
        return;
    struct ms_sentence *one = &s->list[s->count++];
    va_list args;
    va_start(args, format);
    one->warning = warning;
    (void)vsnprintf(one->text, sizeof one->text, format, args);
    va_end(args);
}

/* What the model is made of, for the default of a build is not that of every other. */
static void say_parts(const struct ms_outcome *self, struct sentences *s)
{
    const struct ms_plan *plan = self->plan;
    char parts[MS_PARTS_TEXT_BYTES], whole[MS_PARTS_TEXT_BYTES];
    if (plan->kind != MS_MODEL_ENSEMBLE)
        return;
    ms_parts_text(ms_plan_parts(plan), parts);
    ms_parts_text(ms_plan_default_parts(true), whole);
    if (plan->stands_in)
        say(s, true,
            "The model is the mean of %s, which STANDS IN for the default, %s: this malseq was "
            "built without libxgboost and grows no trees. Figures of the default are not this "
            "model's.",
            parts, whole);
    else
        say(s, false, "The model is the mean of %s.", parts);
}

static void say_losses(const struct ms_outcome *self, struct sentences *s)
{
    const struct ms_experiment *e = self->experiment;
    for (uint32_t i = 1; i < e->entry_count; i++) {
        const struct ms_entry *b = &e->entries[i];
        bool auc = by_auc(self, &b->comparison);
        const struct ms_difference *d = auc ? &b->comparison.auc : &b->comparison.accuracy;
        if (b->kind != MS_MODEL_POOLED && d->high < 0)
            say(s, true,
                "The model LOSES to the baseline %s: its %s is lower by %.3f [%.3f, %.3f].",
                b->name, auc ? "AUC" : "accuracy", -d->difference, -d->high, -d->low);
    }
}

/* Each part is judged at a threshold that other fits' scores gave, as the model file's is. */
static void say_target(const struct ms_outcome *self, struct sentences *s)
{
    const struct ms_class_scores *negative = &self->experiment->entries[0].metrics.by_class[1];
    double target = self->plan->tuning.fpr, reached = 1 - negative->recall,
           low = 1 - negative->recall_range.high, high = 1 - negative->recall_range.low;
    if (self->set->binary && target > 0 && low > target)
        say(s, true,
            "The target of at most %g %% false positives was MISSED: %.1f %% [%.1f, %.1f] of the "
            "judged negatives were taken for positive. Fits differ in the level of their scores; "
            "expect the same of the model.",
            target * 100, reached * 100, low * 100, high * 100);
}

static void say_recurrence(const struct ms_outcome *self, struct sentences *s)
{
    const struct ms_experiment *e = self->experiment;
    const struct ms_entry *b = NULL;
    for (uint32_t i = 1; i < e->entry_count; i++)
        b = e->entries[i].kind == MS_MODEL_POOLED ? &e->entries[i] : b;
    if (!b)
        return;
    bool auc = by_auc(self, &b->comparison);
    const struct ms_difference *d = auc ? &b->comparison.auc : &b->comparison.accuracy;
    const char *figure = auc ? "AUC" : "accuracy";
    if (isnan(d->low))
        say(s, d->difference <= 0,
            "Recurrence: the same net without it has an %s of %.3f, a difference of %+.3f that "
            "these rows give no interval for.",
            figure, d->b, d->difference);
    else
        say(s, d->low <= 0,
            "Recurrence %s: the same net without it has an %s of %.3f, a difference of %+.3f "
            "[%+.3f, %+.3f].",
            d->low > 0    ? "added something"
            : d->high < 0 ? "did harm"
                          : "added nothing that these rows can tell",
            figure, d->b, d->difference, d->low, d->high);
}

static void say_data(const struct ms_outcome *self, struct sentences *s)
{
    const struct ms_experiment *e = self->experiment;
    const struct ms_findings *f = self->findings;
    unsigned long long judged = e->judged_count;
    if (e->partition.leaked)
        say(s, true,
            "%u of %llu judged traces have a copy among the training rows: the figures flatter.",
            e->partition.leaked, judged);
    else
        say(s, false, "No trace was judged by a model that saw a copy of it.");
    if (f->near_known && f->near_judged)
        say(s, f->near_judged * 4 > e->judged_count,
            "%llu of %llu judged traces are nearly the same as one that trained: --split near "
            "tells what is left without them.",
            (unsigned long long)f->near_judged, judged);
    if (ms_outcome_source_suspect(self))
        say(s, true,
            "Knowing only which sandbox or dataset a trace comes from gives an accuracy of %.3f: "
            "the model may have learnt the source.",
            self->set->source_accuracy);
    if (self->set->view_copies.contradicting)
        say(s, false,
            "%llu traces look to the model like one of another class: no model of this view can "
            "reach more than %.3f on these rows.",
            (unsigned long long)self->set->view_copies.contradicting,
            self->set->view_copies.ceiling);
}

size_t ms_outcome_sentences(const struct ms_outcome *self, struct ms_sentence out[MS_SENTENCES_MAX])
{
    const struct ms_metrics *m = &self->experiment->entries[0].metrics;
    struct sentences s = {.list = out};
    char verdict[512];
    if (self->shuffled_labels)
        say(&s, true, "The labels were shuffled: chance is what should come out here.");
    ms_outcome_verdict(self, verdict);
    say(&s, m->accuracy_low <= m->majority, "The %.500s.", verdict);
    say_target(self, &s);
    say_losses(self, &s);
    say_recurrence(self, &s);
    say_parts(self, &s);
    say_data(self, &s);
    return s.count;
}

void ms_outcome_threshold_note(const struct ms_outcome *self, char out[MS_SENTENCE_BYTES])
{
    const struct ms_tuning *t = &self->experiment->tuning;
    double fpr = self->plan->tuning.fpr;
    if (!self->set->binary)
        (void)snprintf(out, MS_SENTENCE_BYTES,
                       "The class with the largest score is the answer: there is no threshold");
    else if (fpr > 0)
        (void)snprintf(out, MS_SENTENCE_BYTES,
                       "It was found on %llu rows that the model did not see, for at most %g %% "
                       "false positives; judged rows had no part in what was applied to them",
                       (unsigned long long)t->rows, fpr * 100);
    else
        (void)snprintf(out, MS_SENTENCE_BYTES,
                       "It was fixed before training, not found by any rows");
}
