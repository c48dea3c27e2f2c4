/* Tables and JSON of a search. */
#include "train/search_print.h"

#include "base/json.h"
#include "base/log.h"
#include "train/compare_json.h"
#include "train/metrics_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static uint32_t times_chosen(const struct ms_search *s, uint32_t candidate)
{
    uint32_t n = 0;
    for (uint32_t f = 0; f < s->fold_count; f++)
        n += s->folds[f].choice.chosen == candidate;
    return n;
}

/* The mean over the outer folds of what a candidate had inside. */
static double inner_mean(const struct ms_search *s, uint32_t candidate, bool loss)
{
    double sum = 0;
    for (uint32_t f = 0; f < s->fold_count; f++)
        sum +=
            loss ? s->folds[f].choice.log_loss[candidate] : s->folds[f].choice.accuracy[candidate];
    return s->fold_count ? sum / s->fold_count : NAN;
}

static void set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value);
}

static json_t *name_json(const struct ms_search_report *r, uint32_t candidate)
{
    char name[MS_PARTS_TEXT_BYTES];
    ms_parts_text(r->request->candidates[candidate], name);
    return json_string(name);
}

static json_t *candidates_json(const struct ms_search_report *r)
{
    json_t *list = json_array();
    for (uint32_t c = 0; c < r->request->count; c++)
        (void)json_array_append_new(
            list,
            json_pack("{s:o, s:I, s:f, s:f, s:f, s:f}", "parts", name_json(r, c), "chosen",
                      (json_int_t)times_chosen(r->search, c), "inner_accuracy",
                      inner_mean(r->search, c, false), "inner_log_loss",
                      inner_mean(r->search, c, true), "all_accuracy", r->search->all.accuracy[c],
                      "all_log_loss", r->search->all.log_loss[c]));
    return list;
}

static json_t *folds_json(const struct ms_search_report *r)
{
    json_t *list = json_array();
    for (uint32_t f = 0; f < r->search->fold_count; f++) {
        const struct ms_search_fold *fold = &r->search->folds[f];
        (void)json_array_append_new(
            list, json_pack("{s:I, s:I, s:I, s:I, s:o, s:f, s:f, s:f}", "repeat",
                            (json_int_t)fold->repeat, "fold", (json_int_t)fold->fold, "train_rows",
                            (json_int_t)fold->train_rows, "rows", (json_int_t)fold->rows, "chosen",
                            name_json(r, fold->choice.chosen), "inner_accuracy",
                            fold->choice.accuracy[fold->choice.chosen], "accuracy",
                            fold->accuracy[0], "linear_accuracy", fold->accuracy[1]));
    }
    return list;
}

json_t *ms_search_json(const struct ms_search_report *r)
{
    const struct ms_search *s = r->search;
    char dataset[MS_HASH_HEX_MAX], split[MS_HASH_HEX_MAX];
    ms_hex_encode(r->set->digest, MS_SHA256_BYTES, dataset);
    ms_hex_encode(s->partition.digest, MS_SHA256_BYTES, split);
    json_t *o = json_object(), *difference = json_object();
    set(o, "target", ms_json_text(r->target));
    set(o, "rows", json_integer((json_int_t)r->set->count));
    set(o, "classes", json_integer((json_int_t)r->set->classes));
    set(o, "dataset", json_string(dataset));
    set(o, "split", json_string(s->partition.name));
    set(o, "split_digest", json_string(split));
    set(o, "repeats", json_integer((json_int_t)s->partition.repeats));
    set(o, "folds", json_integer((json_int_t)s->partition.folds));
    set(o, "inner", json_integer((json_int_t)r->request->inner));
    set(o, "seeds", json_integer((json_int_t)r->plan->seeds));
    set(o, "seed", json_integer((json_int_t)r->plan->fit.seed));
    set(o, "settings", ms_json_text(r->settings));
    set(o, "chosen", name_json(r, s->all.chosen));
    set(o, "candidates", candidates_json(r));
    set(o, "outer", folds_json(r));
    set(o, "nested", ms_metrics_json(&s->metrics[0]));
    set(o, "linear", ms_metrics_json(&s->metrics[1]));
    set(difference, "accuracy", ms_difference_json(&s->difference.accuracy));
    set(difference, "macro_f1", ms_difference_json(&s->difference.macro_f1));
    set(difference, "auc", ms_difference_json(&s->difference.auc));
    set(difference, "t_test", ms_t_test_json(&s->difference));
    set(o, "difference", difference);
    set(o, "majority", json_real(s->metrics[0].majority));
    set(o, "seconds", json_real(s->seconds));
    return o;
}

static void show_candidates(const struct ms_search_report *r)
{
    const struct ms_search *s = r->search;
    (void)printf("  %-48s %7s %9s %9s %9s %9s\n", "candidate", "chosen", "inside", "log loss",
                 "all rows", "log loss");
    for (uint32_t c = 0; c < r->request->count; c++) {
        char name[MS_PARTS_TEXT_BYTES];
        ms_parts_text(r->request->candidates[c], name);
        (void)printf("  %-48s %7u %9.3f %9.3f %9.3f %9.3f%s\n", name, times_chosen(s, c),
                     inner_mean(s, c, false), inner_mean(s, c, true), s->all.accuracy[c],
                     s->all.log_loss[c], c == s->all.chosen ? "  *" : "");
    }
}

static void show_figure(const char *name, double value, double low, double high)
{
    if (isnan(value))
        return;
    (void)printf("  %-12s %7.3f", name, value);
    if (!isnan(low))
        (void)printf("   [%.3f, %.3f]", low, high);
    (void)putchar('\n');
}

static void show_metrics(const char *title, const struct ms_metrics *m)
{
    (void)printf("\n%s\n", title);
    show_figure("accuracy", m->accuracy, m->accuracy_low, m->accuracy_high);
    show_figure("macro-F1", m->macro_f1, m->macro_f1_range.low, m->macro_f1_range.high);
    show_figure("AUC", m->auc, m->auc_range.low, m->auc_range.high);
}

static void show_difference(const char *name, const struct ms_difference *d)
{
    if (isnan(d->difference))
        return;
    (void)printf("  %-12s %+7.3f", name, d->difference);
    if (!isnan(d->low))
        (void)printf("   [%+.3f, %+.3f]", d->low, d->high);
    (void)putchar('\n');
}

void ms_search_show(const struct ms_search_report *r)
{
    const struct ms_search *s = r->search;
    const struct ms_comparison *d = &s->difference;
    char name[MS_PARTS_TEXT_BYTES];
    (void)printf("%zu traces, %u classes; split %s; %u inner folds, %u nets a shape, seed %" PRIu64
                 "\n\n",
                 r->set->count, r->set->classes, s->partition.name, r->request->inner,
                 r->plan->seeds, r->plan->fit.seed);
    show_candidates(r);
    show_metrics("whatever was chosen inside, judged outside", &s->metrics[0]);
    (void)printf("  %-12s %7.3f\n", "majority", s->metrics[0].majority);
    show_metrics("linear, the reference, on the same rows", &s->metrics[1]);
    (void)printf("\nthe difference, with 95 %% (paired cluster bootstrap)\n");
    show_difference("accuracy", &d->accuracy);
    show_difference("macro-F1", &d->macro_f1);
    show_difference("AUC", &d->auc);
    if (!isnan(d->p))
        (void)printf("  corrected resampled t-test over %u fits: t %.3f, p %.3g\n", d->fits, d->t,
                     d->p);
    ms_parts_text(r->request->candidates[s->all.chosen], name);
    (void)printf("\nchosen in all rows: %s, in %.0f s\n", name, s->seconds);
}
