/* Computes what metrics.h describes. */
#include "train/metrics.h"

#include "base/rng.h"
#include "train/intervals.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BOOTSTRAP_ROUNDS = 2000 };
const double ms_tpr_rates[MS_TPR_RATES] = {.01, .001};
static const double Z95 = 1.959963984540054;
static const uint64_t PURPOSE_BOOTSTRAP = 0x626f6f74;

void ms_wilson(uint64_t k, uint64_t n, double *low, double *high)
{
    *low = 0;
    *high = 1;
    if (n == 0)
        return;
    double p = (double)k / (double)n, z2 = Z95 * Z95, d = (double)n;
    double middle = (p + z2 / (2 * d)) / (1 + z2 / d);
    double half = Z95 / (1 + z2 / d) * sqrt(p * (1 - p) / d + z2 / (4 * d * d));
    *low = k == 0 ? 0 : middle - half;
    *high = k == n ? 1 : middle + half;
}

struct scored {
    double score;
    bool positive;
};

static int by_falling_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

static enum ms_status sort_scores(const double *scores, size_t stride, const bool *positive,
                                  size_t rows, struct scored **out, struct ms_error *err)
{
    struct scored *sorted = calloc(rows ? rows : 1, sizeof *sorted);
    if (!sorted)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu scores", rows);
    for (size_t i = 0; i < rows; i++)
        sorted[i] = (struct scored){scores[i * stride], positive[i]};
    qsort(sorted, rows, sizeof *sorted, by_falling_score);
    *out = sorted;
    return MS_OK;
}

enum ms_status ms_auc(const double *scores, size_t stride, const bool *positive, size_t rows,
                      double *auc, double *average_precision, struct ms_error *err)
{
    struct scored *sorted;
    enum ms_status status = sort_scores(scores, stride, positive, rows, &sorted, err);
    if (status != MS_OK)
        return status;
    double tp = 0, fp = 0, pairs = 0, precision_sum = 0;
    for (size_t i = 0; i < rows;) { /* one block of equal scores at a time */
        double p = 0, n = 0;
        double score = sorted[i].score;
        for (; i < rows && sorted[i].score == score; i++)
            sorted[i].positive ? p++ : n++;
        pairs += n * (tp + p / 2); /* positives in front of these negatives */
        tp += p;
        fp += n;
        precision_sum += p * tp / (tp + fp);
    }
    *auc = tp > 0 && fp > 0 ? pairs / (tp * fp) : NAN;
    *average_precision = tp > 0 ? precision_sum / tp : NAN;
    free(sorted);
    return MS_OK;
}

/* Drops the middle one of the last three points when they lie on a line. */
static size_t straighten(struct ms_roc_point *p, size_t n)
{
    if (n < 3)
        return n;
    double cross = (p[n - 2].x - p[n - 3].x) * (p[n - 1].y - p[n - 3].y) -
                   (p[n - 2].y - p[n - 3].y) * (p[n - 1].x - p[n - 3].x);
    if (fabs(cross) > 1e-15)
        return n;
    p[n - 2] = p[n - 1];
    return n - 1;
}

enum ms_status ms_roc(const double *scores, size_t stride, const bool *positive, size_t rows,
                      struct ms_roc_point **points, size_t *count, struct ms_error *err)
{
    struct scored *sorted;
    enum ms_status status = sort_scores(scores, stride, positive, rows, &sorted, err);
    if (status != MS_OK)
        return status;
    struct ms_roc_point *p = calloc(rows + 2, sizeof *p);
    if (!p) {
        free(sorted);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a curve of %zu rows", rows);
    }
    double all_positive = 0, tp = 0, fp = 0;
    for (size_t i = 0; i < rows; i++)
        all_positive += sorted[i].positive;
    double all_negative = (double)rows - all_positive;
    size_t n = 1;
    p[0] = (struct ms_roc_point){0, 0, INFINITY};
    for (size_t i = 0; i < rows;) {
        double score = sorted[i].score;
        for (; i < rows && sorted[i].score == score; i++)
            sorted[i].positive ? tp++ : fp++;
        p[n++] = (struct ms_roc_point){all_negative > 0 ? fp / all_negative : 0,
                                       all_positive > 0 ? tp / all_positive : 0, score};
        n = straighten(p, n);
    }
    free(sorted);
    *points = p;
    *count = n;
    return MS_OK;
}

enum ms_status ms_precision_recall(const double *scores, size_t stride, const bool *positive,
                                   size_t rows, struct ms_roc_point **points, size_t *count,
                                   struct ms_error *err)
{
    struct scored *sorted;
    enum ms_status status = sort_scores(scores, stride, positive, rows, &sorted, err);
    if (status != MS_OK)
        return status;
    struct ms_roc_point *p = calloc(rows + 2, sizeof *p);
    if (!p) {
        free(sorted);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a curve of %zu rows", rows);
    }
    double all = 0, tp = 0, taken = 0;
    size_t n = 1; /* the first is filled in at the end */
    for (size_t i = 0; i < rows; i++)
        all += sorted[i].positive;
    for (size_t i = 0; all > 0 && i < rows;) {
        double score = sorted[i].score;
        for (; i < rows && sorted[i].score == score; i++) {
            tp += sorted[i].positive;
            taken++;
        }
        p[n++] = (struct ms_roc_point){tp / all, tp / taken, score};
    }
    p[0] = (struct ms_roc_point){0, p[1].y, INFINITY};
    free(sorted);
    *points = p;
    *count = n > 1 ? n : 0;
    return MS_OK;
}

static enum ms_status check(const struct ms_judged *j, struct ms_error *err)
{
    if (j->rows == 0 || j->classes == 0)
        return ms_error_set(err, MS_E_INPUT, "nothing to judge: no rows");
    for (size_t i = 0; i < j->rows; i++)
        if (j->truth[i] >= j->classes || j->predicted[i] >= j->classes)
            return ms_error_set(err, MS_E_INPUT, "row %zu: class out of range", i);
    for (size_t i = 0; j->scores && i < j->rows * j->classes; i++)
        if (isnan(j->scores[i]))
            return ms_error_set(err, MS_E_INPUT, "row %zu: score is not a number", i / j->classes);
    return MS_OK;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Percentile interval of the accuracy over resampled groups (Field and Welsh 2007, "cluster
 * bootstrap"). */
static enum ms_status bootstrap(const struct ms_judged *j, uint32_t groups, struct ms_metrics *m,
                                struct ms_error *err)
{
    uint64_t *right = calloc(groups, sizeof *right), *size = calloc(groups, sizeof *size);
    double *rounds = calloc(BOOTSTRAP_ROUNDS, sizeof *rounds);
    enum ms_status status = MS_OK;
    if (!right || !size || !rounds) {
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for the bootstrap");
        goto out;
    }
    for (size_t i = 0; i < j->rows; i++) {
        size[j->groups[i]]++;
        right[j->groups[i]] += j->truth[i] == j->predicted[i];
    }
    uint32_t used = 0; /* groups of other parts of the dataset have no rows here */
    for (uint32_t g = 0; g < groups; g++)
        if (size[g] > 0) {
            size[used] = size[g];
            right[used++] = right[g];
        }
    struct ms_rng rng;
    ms_rng_init(&rng, j->seed, PURPOSE_BOOTSTRAP, 0);
    for (int r = 0; r < BOOTSTRAP_ROUNDS; r++) {
        uint64_t k = 0, n = 0;
        for (uint32_t g = 0; g < used; g++) {
            uint64_t pick = ms_rng_below(&rng, used);
            k += right[pick];
            n += size[pick];
        }
        rounds[r] = (double)k / (double)n;
    }
    qsort(rounds, BOOTSTRAP_ROUNDS, sizeof *rounds, by_value);
    m->accuracy_low = rounds[BOOTSTRAP_ROUNDS / 40];
    m->accuracy_high = rounds[BOOTSTRAP_ROUNDS - 1 - BOOTSTRAP_ROUNDS / 40];
    m->interval = "cluster bootstrap";
out:
    free(right);
    free(size);
    free(rounds);
    return status;
}

/* Wilson where rows stand alone (or where all or none are right, of which a bootstrap knows
 * nothing), else the cluster bootstrap. */
static enum ms_status interval(const struct ms_judged *j, uint64_t right, struct ms_metrics *m,
                               struct ms_error *err)
{
    ms_wilson(right, m->rows, &m->accuracy_low, &m->accuracy_high);
    m->interval = "wilson";
    if (!j->groups || right == 0 || right == m->rows)
        return MS_OK;
    uint32_t last = 0;
    for (size_t i = 0; i < j->rows; i++)
        if (j->groups[i] > last)
            last = j->groups[i];
    uint8_t *seen = calloc((size_t)last + 1, 1);
    if (!seen)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the bootstrap");
    bool shared = false;
    for (size_t i = 0; i < j->rows; i++) {
        shared = shared || seen[j->groups[i]];
        seen[j->groups[i]] = 1;
    }
    free(seen);
    return shared ? bootstrap(j, last + 1, m, err) : MS_OK;
}

static double ratio(uint64_t a, uint64_t b)
{
    return b == 0 ? 0 : (double)a / (double)b;
}

static void class_scores(struct ms_metrics *m)
{
    uint32_t c_count = m->classes, with_rows = 0, with_any = 0;
    const uint64_t *counts = m->confusion.counts;
    m->balanced_accuracy = m->macro_f1 = 0;
    for (uint32_t c = 0; c < c_count; c++) {
        struct ms_class_scores *s = &m->by_class[c];
        for (uint32_t o = 0; o < c_count; o++) {
            s->predicted += counts[(size_t)c * c_count + o];
            s->support += counts[(size_t)o * c_count + c];
        }
        uint64_t hit = counts[(size_t)c * c_count + c];
        s->precision = ratio(hit, s->predicted);
        s->recall = ratio(hit, s->support);
        s->f1 = ratio(2 * hit, s->predicted + s->support);
        s->auc = s->average_precision = NAN;
        if (s->support > 0) {
            m->balanced_accuracy += s->recall;
            with_rows++;
        }
        if (s->support + s->predicted > 0) {
            m->macro_f1 += s->f1;
            with_any++;
        }
        if (s->support > m->by_class[m->majority_class].support)
            m->majority_class = c;
    }
    m->balanced_accuracy /= with_rows;
    m->macro_f1 /= with_any;
    m->majority = ratio(m->by_class[m->majority_class].support, m->rows);
}

static enum ms_status ranking(const struct ms_judged *j, struct ms_metrics *m, struct ms_error *err)
{
    m->auc = m->average_precision = NAN;
    if (!j->scores)
        return MS_OK;
    bool *positive = calloc(j->rows, sizeof *positive);
    if (!positive)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu rows", j->rows);
    double sum_auc = 0, sum_ap = 0;
    uint32_t n_auc = 0, n_ap = 0;
    enum ms_status status = MS_OK;
    for (uint32_t c = 0; c < j->classes && status == MS_OK; c++) {
        struct ms_class_scores *s = &m->by_class[c];
        for (size_t i = 0; i < j->rows; i++)
            positive[i] = j->truth[i] == c;
        status = ms_auc(j->scores + c, j->classes, positive, j->rows, &s->auc,
                        &s->average_precision, err);
        if (status == MS_OK && !isnan(s->auc)) {
            sum_auc += s->auc;
            n_auc++;
        }
        if (status == MS_OK && !isnan(s->average_precision)) {
            sum_ap += s->average_precision;
            n_ap++;
        }
    }
    free(positive);
    if (j->classes == 2) {
        m->auc = m->by_class[0].auc;
        m->average_precision = m->by_class[0].average_precision;
    } else {
        m->auc = n_auc ? sum_auc / n_auc : NAN;
        m->average_precision = n_ap ? sum_ap / n_ap : NAN;
    }
    return status;
}

enum ms_status ms_metrics_make(const struct ms_judged *judged, struct ms_metrics *out,
                               struct ms_error *err)
{
    *out = (struct ms_metrics){.classes = judged->classes, .rows = judged->rows};
    enum ms_status status = check(judged, err);
    if (status != MS_OK)
        return status;
    size_t c_count = judged->classes;
    out->confusion.classes = judged->classes;
    out->confusion.counts = calloc(c_count * c_count, sizeof *out->confusion.counts);
    out->by_class = calloc(c_count, sizeof *out->by_class);
    if (!out->confusion.counts || !out->by_class)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu classes", c_count);
    uint64_t right = 0;
    for (size_t i = 0; i < judged->rows; i++) {
        out->confusion.counts[judged->predicted[i] * c_count + judged->truth[i]]++;
        right += judged->predicted[i] == judged->truth[i];
    }
    out->accuracy = ratio(right, out->rows);
    class_scores(out);
    status = interval(judged, right, out, err);
    if (status == MS_OK)
        status = ranking(judged, out, err);
    return status == MS_OK ? ms_intervals_make(judged, out, err) : status;
}

void ms_metrics_release(struct ms_metrics *self)
{
    free(self->confusion.counts);
    free(self->by_class);
    *self = (struct ms_metrics){0};
}
