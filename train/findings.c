/* Computes what findings.h describes. */
#include "train/findings.h"

#include "train/partition_near.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows up to which near copies are looked for: MinHash of a few hundred thousand rows takes as long
 * as a baseline. */
enum { NEAR_ROWS = 100000 };
const double ms_operating_rates[MS_OPERATING_POINTS] = {.05, .01, .001};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the report's findings");
}

/* ---- repeats --------------------------------------------------------------------------------- */

struct slice {
    uint32_t *truth, *predicted;
    bool *positive;
    double *scores;
    size_t rows;
    uint64_t *counts; /* 3 x C: right, predicted, true */
};

static double macro_f1_of(const struct slice *s, uint32_t classes, double *accuracy)
{
    uint64_t *hit = s->counts, *given = hit + classes, *real = given + classes, right = 0;
    memset(hit, 0, (size_t)classes * 3 * sizeof *hit);
    for (size_t i = 0; i < s->rows; i++) {
        bool good = s->truth[i] == s->predicted[i];
        hit[s->truth[i]] += good;
        right += good;
        given[s->predicted[i]]++;
        real[s->truth[i]]++;
    }
    double sum = 0, used = 0;
    for (uint32_t c = 0; c < classes; c++)
        if (given[c] + real[c]) {
            sum += 2 * (double)hit[c] / (double)(given[c] + real[c]);
            used++;
        }
    *accuracy = s->rows ? (double)right / (double)s->rows : NAN;
    return used > 0 ? sum / used : NAN;
}

static enum ms_status auc_of(const struct slice *s, uint32_t classes, double *out,
                             struct ms_error *err)
{
    double sum = 0, used = 0;
    for (uint32_t c = 0; c < (classes == 2 ? 1 : classes); c++) {
        double auc, average;
        for (size_t i = 0; i < s->rows; i++)
            s->positive[i] = s->truth[i] == c;
        enum ms_status status =
            ms_auc(s->scores + c, classes, s->positive, s->rows, &auc, &average, err);
        if (status != MS_OK)
            return status;
        sum += isnan(auc) ? 0 : auc;
        used += !isnan(auc);
    }
    *out = used > 0 ? sum / used : NAN;
    return MS_OK;
}

static enum ms_status measure_repeat(const struct ms_experiment *e, uint32_t entry, uint32_t repeat,
                                     uint32_t classes, struct slice *s,
                                     struct ms_repeat_figures *out, struct ms_error *err)
{
    const struct ms_entry *from = &e->entries[entry];
    s->rows = 0;
    for (size_t i = 0; i < e->judged_count; i++) {
        if (e->repeat_of[i] != repeat)
            continue;
        s->truth[s->rows] = e->truth[i];
        s->predicted[s->rows] = from->predicted[i];
        memcpy(s->scores + s->rows++ * classes, from->scores + i * classes,
               classes * sizeof *s->scores);
    }
    out->macro_f1 = macro_f1_of(s, classes, &out->accuracy);
    return auc_of(s, classes, &out->auc, err);
}

static enum ms_status make_repeats(const struct ms_experiment *e, uint32_t classes,
                                   struct ms_findings *out, struct ms_error *err)
{
    size_t n = e->judged_count + 1;
    struct slice s = {.truth = calloc(n, sizeof *s.truth),
                      .predicted = calloc(n, sizeof *s.predicted),
                      .positive = calloc(n, sizeof *s.positive),
                      .scores = calloc(n * classes, sizeof *s.scores),
                      .counts = calloc((size_t)classes * 3, sizeof *s.counts)};
    out->repeats = e->partition.repeats;
    out->figures = calloc((size_t)e->entry_count * out->repeats + 1, sizeof *out->figures);
    bool good = s.truth && s.predicted && s.positive && s.scores && s.counts && out->figures;
    enum ms_status status = good ? MS_OK : no_memory(err);
    for (uint32_t k = 0; k < e->entry_count && status == MS_OK; k++)
        for (uint32_t r = 0; r < out->repeats && status == MS_OK; r++)
            status = measure_repeat(e, k, r, classes, &s,
                                    &out->figures[(size_t)k * out->repeats + r], err);
    free(s.truth);
    free(s.predicted);
    free(s.positive);
    free(s.scores);
    free(s.counts);
    return status;
}

void ms_findings_mean(const struct ms_findings *self, uint32_t entry, int figure, double *mean,
                      double *deviation)
{
    double sum = 0, squares = 0, used = 0;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t r = 0; r < self->repeats; r++) {
            const struct ms_repeat_figures *f = &self->figures[(size_t)entry * self->repeats + r];
            double x = figure == 0 ? f->accuracy : figure == 1 ? f->macro_f1 : f->auc;
            if (isnan(x))
                continue;
            sum += pass == 0 ? x : 0;
            used += pass == 0;
            squares += pass == 1 ? (x - sum / used) * (x - sum / used) : 0;
        }
    *mean = used > 0 ? sum / used : NAN;
    *deviation = used > 1 ? sqrt(squares / (used - 1)) : NAN;
}

/* ---- probabilities --------------------------------------------------------------------------- */

static enum ms_status make_points(const struct ms_experiment *e, uint32_t classes,
                                  struct ms_findings *out, struct ms_error *err)
{
    const struct ms_entry *model = &e->entries[0];
    enum ms_status status = MS_OK;
    for (int k = 0; k < MS_OPERATING_POINTS; k++)
        out->points[k] = (struct ms_operating_point){ms_operating_rates[k], NAN, NAN, NAN};
    if (classes != 2)
        return MS_OK;
    size_t n = e->judged_count;
    for (int k = 0; k < MS_OPERATING_POINTS && status == MS_OK; k++) {
        struct ms_operating_point *p = &out->points[k];
        double found = 0;
        /* fewer negatives cannot tell such a rate from none */
        if ((double)model->metrics.by_class[1].support * p->fpr < 1)
            continue;
        status =
            ms_threshold_find(model->scores, e->truth, n, p->fpr, &p->threshold, &p->reached, err);
        for (size_t i = 0; i < n; i++)
            found += e->truth[i] == 0 && model->scores[i * 2] >= p->threshold;
        p->recall = found / (double)model->metrics.by_class[0].support;
    }
    return status;
}

static void make_doubts(const struct ms_experiment *e, uint32_t classes, struct ms_findings *out)
{
    static const double two[MS_DOUBT_BANDS][2] = {{.4, .6}, {.25, .75}, {.1, .9}};
    static const double many[MS_DOUBT_BANDS] = {.5, .7, .9};
    const struct ms_entry *model = &e->entries[0];
    for (int k = 0; model->metrics.calibrated && k < MS_DOUBT_BANDS; k++) {
        struct ms_doubt_band *b = &out->doubts[k];
        b->low = classes == 2 ? two[k][0] : 0;
        b->high = classes == 2 ? two[k][1] : many[k];
        ms_doubt_count(model->scores, classes, e->truth, model->predicted, e->judged_count, b->low,
                       b->high, &b->doubt);
    }
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* By falling score, then by row. */
static int by_confidence(const void *a, const void *b)
{
    const struct ms_wrong_row *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static enum ms_status make_errors(const struct ms_dataset *set, const struct ms_experiment *e,
                                  struct ms_findings *out, struct ms_error *err)
{
    const struct ms_entry *model = &e->entries[0];
    struct ms_wrong_row *rows = calloc(set->count + 1, sizeof *rows);
    size_t wrong = 0;
    if (!rows)
        return no_memory(err);
    for (size_t i = 0; i < e->judged_count; i++) {
        struct ms_wrong_row *w = &rows[e->judged[i]];
        uint32_t said = model->predicted[i];
        double score = model->scores[i * set->classes + said];
        w->judged++;
        if (said == e->truth[i])
            continue;
        if (w->wrong++ == 0 || score > w->score) {
            w->row = e->judged[i];
            w->truth = e->truth[i];
            w->predicted = said;
            w->score = score;
        }
    }
    for (size_t i = 0; i < set->count; i++)
        if (rows[i].wrong)
            rows[wrong++] = rows[i];
    if (wrong > 1)
        qsort(rows, wrong, sizeof *rows, by_confidence);
    out->wrong_rows = wrong;
    out->error_count = wrong < MS_FINDING_ERRORS ? (uint32_t)wrong : MS_FINDING_ERRORS;
    memcpy(out->errors, rows, out->error_count * sizeof *rows);
    free(rows);
    return MS_OK;
}

/* ---- near copies ----------------------------------------------------------------------------- */

static enum ms_status make_near(const struct ms_dataset *set, const struct ms_experiment *e,
                                struct ms_findings *out, struct ms_error *err)
{
    const struct ms_partition *p = &e->partition;
    if (!set->grams || set->count > NEAR_ROWS)
        return MS_OK;
    uint32_t *groups = calloc(set->count + 1, sizeof *groups);
    uint8_t *trains = calloc(set->count + 1, 1);
    enum ms_status status = groups && trains ? MS_OK : no_memory(err);
    if (status == MS_OK)
        status = ms_partition_near_groups(p, set, groups, &out->near_groups, err);
    for (uint32_t r = 0; r < p->repeats && status == MS_OK; r++)
        for (uint32_t k = 0; k < ms_partition_fits(p); k++) {
            uint32_t held = ms_partition_held(p, k);
            memset(trains, 0, set->count);
            for (size_t i = 0; i < set->count; i++)
                trains[groups[i]] |= ms_partition_trains(p, r, held, i);
            for (size_t i = 0; i < set->count; i++)
                out->near_judged += ms_partition_judges(p, r, held, i) && trains[groups[i]];
        }
    out->near_known = status == MS_OK;
    free(groups);
    free(trains);
    return status;
}

/* ---- all ------------------------------------------------------------------------------------- */

enum ms_status ms_findings_make(const struct ms_dataset *set, const struct ms_experiment *e,
                                struct ms_findings *out, struct ms_error *err)
{
    *out = (struct ms_findings){0};
    enum ms_status status = make_repeats(e, set->classes, out, err);
    if (status == MS_OK)
        status = make_points(e, set->classes, out, err);
    if (status == MS_OK)
        status = make_errors(set, e, out, err);
    if (status == MS_OK)
        status = make_near(set, e, out, err);
    make_doubts(e, set->classes, out);
    return status;
}

void ms_findings_release(struct ms_findings *self)
{
    free(self->figures);
    *self = (struct ms_findings){0};
}

enum ms_status ms_findings_curve(const struct ms_experiment *e, uint32_t entry, uint32_t class_,
                                 enum ms_curve_kind kind, struct ms_curve *out,
                                 struct ms_error *err)
{
    const struct ms_entry *from = &e->entries[entry];
    uint32_t classes = from->metrics.classes;
    size_t n = e->judged_count, count = 0, positives = 0;
    struct ms_roc_point *points = NULL;
    bool *positive = calloc(n + 1, sizeof *positive);
    out->count = 0;
    if (!positive)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        positives += positive[i] = e->truth[i] == class_;
    enum ms_status status = MS_OK;
    if (positives > 0 && positives < n)
        status = kind == MS_CURVE_ROC
                     ? ms_roc(from->scores + class_, classes, positive, n, &points, &count, err)
                     : ms_precision_recall(from->scores + class_, classes, positive, n, &points,
                                           &count, err);
    size_t kept = count < MS_CURVE_POINTS ? count : MS_CURVE_POINTS;
    for (size_t k = 0; k < kept; k++) { /* evenly, the ends among them */
        size_t i = kept > 1 ? k * (count - 1) / (kept - 1) : 0;
        out->x[k] = points[i].x;
        out->y[k] = points[i].y;
    }
    out->count = kept;
    free(points);
    free(positive);
    return status;
}

void ms_length_counts(const struct ms_dataset *set, uint64_t out[MS_LENGTH_BINS], uint32_t *last)
{
    memset(out, 0, MS_LENGTH_BINS * sizeof *out);
    *last = 0;
    for (size_t i = 0; i < set->count; i++) {
        uint32_t bin = 0;
        while (bin < MS_LENGTH_BINS - 1 && set->rows[i].whole_length > UINT64_C(1) << bin)
            bin++;
        out[bin]++;
        *last = bin > *last ? bin : *last;
    }
}
