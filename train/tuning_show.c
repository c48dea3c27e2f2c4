/* Lines and members; computes only rates from what was counted. */
#include "train/tuning_show.h"

#include "train/outcome.h"

#include <math.h>

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *ranged(double value, struct ms_range range)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "value", real(value));
    (void)json_object_set_new(o, "low", real(range.low));
    (void)json_object_set_new(o, "high", real(range.high));
    return o;
}

/* Of the negatives, the share that is taken for positive. */
static struct ms_range fpr_range(const struct ms_metrics *m)
{
    const struct ms_range specific = m->by_class[1].recall_range;
    return (struct ms_range){1 - specific.high, 1 - specific.low};
}

static double fpr_of(const struct ms_metrics *m)
{
    return m->by_class[1].support ? 1 - m->by_class[1].recall : NAN;
}

static bool has_band(const struct ms_tuning *t)
{
    return t->unknown_from < t->unknown_to;
}

json_t *ms_tuned_json(const struct ms_tuned *self)
{
    const struct ms_tuning *t = self->tuning;
    const struct ms_metrics *m = self->metrics;
    char text[MS_CALIBRATION_TEXT_BYTES];
    ms_calibration_text(&t->calibration, text);
    json_t *o = json_object(), *before = json_null(), *rates = json_null(), *band = json_null();
    if (self->raw->rows) {
        before = json_object();
        (void)json_object_set_new(before, "brier",
                                  ranged(self->raw->brier, self->raw->brier_range));
        (void)json_object_set_new(before, "log_loss",
                                  ranged(self->raw->log_loss, self->raw->log_loss_range));
        (void)json_object_set_new(before, "ece", ranged(self->raw->ece, self->raw->ece_range));
    }
    if (m->classes == 2) {
        rates = json_object();
        (void)json_object_set_new(rates, "target_fpr",
                                  self->target_fpr > 0 ? real(self->target_fpr) : json_null());
        (void)json_object_set_new(rates, "fpr_when_found", real(t->reached));
        (void)json_object_set_new(rates, "fpr", ranged(fpr_of(m), fpr_range(m)));
        (void)json_object_set_new(rates, "tpr",
                                  ranged(m->by_class[0].recall, m->by_class[0].recall_range));
    }
    if (has_band(t)) {
        band = json_object();
        (void)json_object_set_new(band, "from", real(t->unknown_from));
        (void)json_object_set_new(band, "to", real(t->unknown_to));
        (void)json_object_set_new(band, "unknown", json_integer((json_int_t)self->doubt->unknown));
        (void)json_object_set_new(band, "coverage", real(self->doubt->coverage));
        (void)json_object_set_new(band, "accuracy", real(self->doubt->accuracy));
    }
    (void)json_object_set_new(o, "calibration", json_string(text));
    (void)json_object_set_new(o, "rows", json_integer((json_int_t)t->rows));
    (void)json_object_set_new(o, "before", before);
    (void)json_object_set_new(o, "at_threshold", rates);
    (void)json_object_set_new(o, "unknown_band", band);
    return o;
}

static void show(FILE *out, const char *name, double value, struct ms_range range)
{
    (void)fprintf(out, "  %-18s %7.3f", name, value);
    if (!isnan(range.low))
        (void)fprintf(out, "   [%.3f, %.3f]", range.low, range.high);
    (void)fputc('\n', out);
}

void ms_tuned_show(const struct ms_tuned *self, FILE *out)
{
    static const char *const kinds[] = {"", "temperature", "Platt", "isotonic"};
    const struct ms_tuning *t = self->tuning;
    const struct ms_metrics *m = self->metrics;
    if (t->calibration.kind != MS_CALIBRATION_NONE && self->raw->calibrated)
        (void)fprintf(out,
                      "  before calibration (%s): Brier %.3f, log loss %.3f, calibration error "
                      "%.3f\n",
                      kinds[t->calibration.kind], self->raw->brier, self->raw->log_loss,
                      self->raw->ece);
    else if (t->calibration.kind != MS_CALIBRATION_NONE)
        (void)fprintf(out, "  calibrated (%s); the scores before were no probabilities\n",
                      kinds[t->calibration.kind]);
    if (self->target_fpr > 0)
        (void)fprintf(out,
                      "  threshold %.6g, for at most %g %% false positives; %g %% where found\n",
                      t->threshold, self->target_fpr * 100, t->reached * 100);
    if (self->target_fpr > 0 && m->classes == 2) {
        show(out, "FPR reached", fpr_of(m), fpr_range(m));
        show(out, "TPR reached", m->by_class[0].recall, m->by_class[0].recall_range);
    }
    if (has_band(t))
        (void)fprintf(out,
                      "  scores from %.4f to %.4f are no verdict: %llu of %llu rows unknown, "
                      "coverage %.3f, accuracy of the others %.3f\n",
                      t->unknown_from, t->unknown_to, (unsigned long long)self->doubt->unknown,
                      (unsigned long long)self->doubt->rows, self->doubt->coverage,
                      self->doubt->accuracy);
}

static struct ms_tuned tuned_of(const struct ms_outcome *o)
{
    const struct ms_experiment *e = o->experiment;
    return (struct ms_tuned){&e->tuning, &e->raw, &e->entries[0].metrics, &e->doubt,
                             o->plan->tuning.fpr};
}

json_t *ms_outcome_tuning_json(const struct ms_outcome *self)
{
    const struct ms_tuned tuned = tuned_of(self);
    return ms_tuned_json(&tuned);
}

void ms_outcome_tuning_show(const struct ms_outcome *self, FILE *out)
{
    const struct ms_tuned tuned = tuned_of(self);
    ms_tuned_show(&tuned, out);
}
