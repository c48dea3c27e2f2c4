/* A judgement's figures as JSON, each with its interval. */
#include "train/metrics_json.h"

#include <math.h>

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *figure(double value, struct ms_range range)
{
    return json_pack("{s:o, s:o, s:o}", "value", real(value), "low", real(range.low), "high",
                     real(range.high));
}

static json_t *rates(const struct ms_metrics *m)
{
    json_t *list = json_array();
    for (int k = 0; k < MS_TPR_RATES; k++)
        (void)json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:o, s:I}", "fpr", real(ms_tpr_rates[k]), "value",
                            real(m->tpr[k].value), "low", real(m->tpr[k].range.low), "high",
                            real(m->tpr[k].range.high), "needed", (json_int_t)m->tpr[k].needed));
    return list;
}

static json_t *reliability(const struct ms_metrics *m)
{
    json_t *list = json_array();
    for (int k = 0; m->calibrated && k < MS_RELIABILITY_BINS; k++)
        if (m->reliability[k].rows)
            (void)json_array_append_new(list, json_pack("{s:I, s:o, s:o}", "rows",
                                                        (json_int_t)m->reliability[k].rows,
                                                        "claimed", real(m->reliability[k].claimed),
                                                        "held", real(m->reliability[k].held)));
    return list;
}

json_t *ms_metrics_json(const struct ms_metrics *m)
{
    json_t *o = json_object();
    const struct ms_class_scores none = {.f1 = NAN, .f1_range = {NAN, NAN}};
    const struct ms_class_scores *positive = m->classes == 2 ? &m->by_class[0] : &none;
    const struct {
        const char *name;
        double value;
        struct ms_range range;
    } figures[] = {
        {"accuracy", m->accuracy, {m->accuracy_low, m->accuracy_high}},
        {"balanced_accuracy", m->balanced_accuracy, m->balanced_accuracy_range},
        {"macro_f1", m->macro_f1, m->macro_f1_range},
        {"f1", positive->f1, positive->f1_range},
        {"auc", m->auc, m->auc_range},
        {"average_precision", m->average_precision, m->average_precision_range},
        {"brier", m->brier, m->brier_range},
        {"log_loss", m->log_loss, m->log_loss_range},
        {"ece", m->ece, m->ece_range},
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        (void)json_object_set_new(o, figures[i].name, figure(figures[i].value, figures[i].range));
    (void)json_object_set_new(o, "tpr_at_fpr", rates(m));
    (void)json_object_set_new(o, "reliability", reliability(m));
    return o;
}

void ms_class_ranges_json(const struct ms_class_scores *s, json_t *o)
{
    const struct {
        const char *name;
        struct ms_range range;
    } ranges[] = {
        {"precision_interval", s->precision_range},
        {"recall_interval", s->recall_range},
        {"f1_interval", s->f1_range},
        {"auc_interval", s->auc_range},
        {"average_precision_interval", s->average_precision_range},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        (void)json_object_set_new(
            o, ranges[i].name,
            json_pack("[o, o]", real(ranges[i].range.low), real(ranges[i].range.high)));
}
