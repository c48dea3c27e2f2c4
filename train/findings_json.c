/* The parts of metrics.json that findings.h has the numbers of. */
#include "train/findings_json.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *difference(const struct ms_difference *d)
{
    return json_pack("{s:o, s:o, s:o}", "value", real(d->difference), "low", real(d->low), "high",
                     real(d->high));
}

void ms_comparison_figures_json(const struct ms_comparison *c, json_t *o)
{
    (void)json_object_set_new(
        o, "differences",
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "accuracy", difference(&c->accuracy), "macro_f1",
                  difference(&c->macro_f1), "f1", difference(&c->f1), "auc", difference(&c->auc),
                  "average_precision", difference(&c->average_precision)));
    (void)json_object_set_new(o, "t_test",
                              json_pack("{s:I, s:o, s:o}", "fits", (json_int_t)c->fits, "t",
                                        real(c->t), "p", real(c->p)));
}

json_t *ms_repeats_json(const struct ms_outcome *o)
{
    const struct ms_experiment *e = o->experiment;
    const struct ms_findings *f = o->findings;
    json_t *list = json_array();
    for (uint32_t r = 0; r < f->repeats; r++) {
        char seed[32];
        json_t *entries = json_array();
        for (uint32_t i = 0; i < e->entry_count; i++) {
            const struct ms_repeat_figures *x = &f->figures[(size_t)i * f->repeats + r];
            (void)json_array_append_new(entries, json_pack("{s:s, s:o, s:o, s:o}", "kind",
                                                           e->entries[i].name, "accuracy",
                                                           real(x->accuracy), "macro_f1",
                                                           real(x->macro_f1), "auc", real(x->auc)));
        }
        (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)e->partition.seeds[r]);
        (void)json_array_append_new(list, json_pack("{s:I, s:s, s:o}", "repeat", (json_int_t)r + 1,
                                                    "seed", seed, "entries", entries));
    }
    return list;
}

static json_t *curve(const struct ms_outcome *o, uint32_t class_, enum ms_curve_kind kind,
                     struct ms_curve *c)
{
    json_t *list = json_array();
    struct ms_error ignored;
    if (ms_findings_curve(o->experiment, 0, class_, kind, c, &ignored) != MS_OK) {
        json_decref(list);
        return NULL;
    }
    for (size_t i = 0; i < c->count; i++)
        (void)json_array_append_new(list, json_pack("[o, o]", real(c->x[i]), real(c->y[i])));
    return list;
}

json_t *ms_ranking_json(const struct ms_outcome *o)
{
    uint32_t classes = o->set->classes == 2 ? 1 : o->set->classes;
    struct ms_curve *c = calloc(1, sizeof *c);
    json_t *list = json_array();
    for (uint32_t k = 0; c && k < classes; k++)
        (void)json_array_append_new(
            list, json_pack("{s:o, s:o, s:o}", "class", ms_json_text(o->set->class_names[k]), "roc",
                            curve(o, k, MS_CURVE_ROC, c), "precision_recall",
                            curve(o, k, MS_CURVE_PRECISION_RECALL, c)));
    free(c);
    return list;
}

json_t *ms_thresholds_json(const struct ms_outcome *o)
{
    json_t *list = json_array();
    for (int k = 0; o->set->classes == 2 && k < MS_OPERATING_POINTS; k++) {
        const struct ms_operating_point *p = &o->findings->points[k];
        (void)json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o}", "fpr", real(p->fpr),
                                                    "threshold", real(p->threshold), "reached",
                                                    real(p->reached), "recall", real(p->recall)));
    }
    return list;
}

json_t *ms_doubt_json(const struct ms_outcome *o)
{
    json_t *list = json_array();
    for (int k = 0; k < MS_DOUBT_BANDS; k++) {
        const struct ms_doubt_band *b = &o->findings->doubts[k];
        if (b->doubt.rows)
            (void)json_array_append_new(
                list, json_pack("{s:o, s:o, s:I, s:o, s:o}", "low", real(b->low), "high",
                                real(b->high), "unknown", (json_int_t)b->doubt.unknown, "coverage",
                                real(b->doubt.coverage), "accuracy", real(b->doubt.accuracy)));
    }
    return list;
}

json_t *ms_errors_json(const struct ms_outcome *o)
{
    const struct ms_findings *f = o->findings;
    json_t *list = json_array();
    for (uint32_t i = 0; i < f->error_count; i++) {
        const struct ms_wrong_row *w = &f->errors[i];
        (void)json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:o, s:o, s:I, s:I}", "key",
                      ms_json_text(o->set->rows[w->row].key), "true",
                      ms_json_text(o->set->class_names[w->truth]), "predicted",
                      ms_json_text(o->set->class_names[w->predicted]), "score", real(w->score),
                      "wrong", (json_int_t)w->wrong, "judged", (json_int_t)w->judged));
    }
    return list;
}

json_t *ms_near_json(const struct ms_outcome *o)
{
    const struct ms_findings *f = o->findings;
    if (!f->near_known)
        return json_null();
    return json_pack("{s:o, s:I, s:I}", "threshold", real(MS_PARTITION_NEAR_THRESHOLD), "groups",
                     (json_int_t)f->near_groups, "judged_with_near_in_training",
                     (json_int_t)f->near_judged);
}
