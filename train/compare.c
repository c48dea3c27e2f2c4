/* Paired figures as functions of the weights of the groups; McNemar; the corrected t-test. */
#include "train/compare.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 1000 };
enum { ACCURACY, MACRO_F1, AUC, F1, AVERAGE_PRECISION, FIGURES };
static const uint64_t PURPOSE_COMPARE = 0x636f6d70617265;

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the comparison");
}

/* ---- tests of significance ------------------------------------------------------------------- */

void ms_mcnemar(uint64_t only_a, uint64_t only_b, struct ms_mcnemar *out)
{
    *out = (struct ms_mcnemar){.only_a = only_a, .only_b = only_b, .exact = 1, .corrected = 1};
    const double n = (double)only_a + (double)only_b;
    const uint64_t less = only_a < only_b ? only_a : only_b;
    if (n == 0)
        return;
    double sum = 0;
    for (uint64_t i = 0; i <= less; i++) {
        const double k = (double)i;
        sum += exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2));
    }
    out->exact = fmin(1, 2 * sum);
    double off = fmax(0, fabs((double)only_a - (double)only_b) - 1);
    out->statistic = off * off / n;
    out->corrected = erfc(sqrt(out->statistic / 2)); /* chi-square with one degree of freedom */
}

/* The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's
 * method. */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m <= 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        if (fabs(d * c - 1) < 1e-14)
            break;
    }
    return f;
}

static double beta_share(double a, double b, double x)
{
    if (x <= 0 || x >= 1)
        return x >= 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                     : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double ms_student_p(double t, double degrees)
{
    if (isnan(t) || !(degrees > 0))
        return NAN;
    return isinf(t) ? 0 : beta_share(degrees / 2, .5, degrees / (degrees + t * t));
}

static enum ms_status test_fits(const struct ms_pair *pair, struct ms_comparison *out,
                                struct ms_error *err)
{
    uint32_t folds = pair->folds ? pair->folds : 1;
    size_t fits = (size_t)pair->repeats * folds;
    double *difference = calloc(fits, sizeof *difference), *rows = calloc(fits, sizeof *rows);
    if (!difference || !rows) {
        free(difference);
        free(rows);
        return no_memory(err);
    }
    for (size_t i = 0; i < pair->rows; i++) {
        size_t fit = (size_t)pair->repeat[i] * folds + pair->fold[i];
        difference[fit] +=
            (pair->predicted[0][i] == pair->truth[i]) - (pair->predicted[1][i] == pair->truth[i]);
        rows[fit]++;
    }
    double mean = 0, square = 0, used = 0;
    for (size_t k = 0; k < fits; k++)
        if (rows[k] > 0) {
            mean += difference[k] / rows[k];
            used++;
        }
    mean /= used;
    for (size_t k = 0; k < fits; k++)
        if (rows[k] > 0) {
            double off = difference[k] / rows[k] - mean;
            square += off * off;
        }
    out->fits = (uint32_t)used;
    out->t = out->p = NAN;
    if (used > 1) {
        double variance = square / (used - 1);
        double spread = sqrt((1 / used + pair->test_over_train) * variance);
        out->t = spread > 0 ? mean / spread : mean == 0 ? 0 : copysign(INFINITY, mean);
        out->p = ms_student_p(out->t, used - 1);
    }
    free(difference);
    free(rows);
    return MS_OK;
}

/* ---- figures --------------------------------------------------------------------------------- */

struct scored {
    double score;
    uint32_t row;
};

struct paired {
    const struct ms_pair *p;
    uint32_t groups;
    uint32_t *group_of;  /* P */
    uint32_t *weight;    /* groups */
    uint32_t *by_repeat; /* P: rows, repeat by repeat */
    size_t *first;       /* repeats + 1: places in by_repeat */
    uint32_t *order[2];  /* C x P each: by_repeat, each repeat by falling score of the class */
    bool *last[2];       /* the last with this score in its repeat */
    uint64_t *counts;    /* 3 x C */
};

static int by_falling_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static enum ms_status sort_side(struct paired *s, int side, struct scored *sorted,
                                struct ms_error *err)
{
    const struct ms_pair *p = s->p;
    s->order[side] = calloc(p->rows * p->classes, sizeof *s->order[side]);
    s->last[side] = calloc(p->rows * p->classes, sizeof *s->last[side]);
    if (!s->order[side] || !s->last[side])
        return no_memory(err);
    for (size_t c = 0; c < p->classes; c++)
        for (uint32_t r = 0; r < p->repeats; r++) {
            size_t from = s->first[r], n = s->first[r + 1] - from;
            for (size_t i = 0; i < n; i++) {
                uint32_t row = s->by_repeat[from + i];
                sorted[i] = (struct scored){p->scores[side][row * p->classes + c], row};
            }
            if (n > 1)
                qsort(sorted, n, sizeof *sorted, by_falling_score);
            for (size_t i = 0; i < n; i++) {
                s->order[side][c * p->rows + from + i] = sorted[i].row;
                s->last[side][c * p->rows + from + i] =
                    i + 1 == n || sorted[i + 1].score != sorted[i].score;
            }
        }
    return MS_OK;
}

static enum ms_status number_groups(struct paired *s, struct ms_error *err)
{
    const struct ms_pair *p = s->p;
    uint32_t most = 0;
    for (size_t i = 0; i < p->rows; i++)
        most = p->groups[i] > most ? p->groups[i] : most;
    uint32_t *number = calloc((size_t)most + 1, sizeof *number);
    s->group_of = calloc(p->rows, sizeof *s->group_of);
    if (!number || !s->group_of) {
        free(number);
        return no_memory(err);
    }
    for (size_t i = 0; i < p->rows; i++) {
        uint32_t *known = &number[p->groups[i]];
        if (*known == 0)
            *known = ++s->groups;
        s->group_of[i] = *known - 1;
    }
    free(number);
    s->weight = calloc(s->groups, sizeof *s->weight);
    return s->weight ? MS_OK : no_memory(err);
}

static enum ms_status prepare(struct paired *s, struct ms_error *err)
{
    const struct ms_pair *p = s->p;
    enum ms_status status = number_groups(s, err);
    s->by_repeat = calloc(p->rows, sizeof *s->by_repeat);
    s->first = calloc((size_t)p->repeats + 2, sizeof *s->first);
    s->counts = calloc((size_t)p->classes * 3, sizeof *s->counts);
    struct scored *sorted = calloc(p->rows, sizeof *sorted);
    if (status == MS_OK && (!s->by_repeat || !s->first || !s->counts || !sorted))
        status = no_memory(err);
    for (size_t i = 0; status == MS_OK && i < p->rows; i++)
        s->first[p->repeat[i] + 2]++;
    for (uint32_t r = 1; status == MS_OK && r <= p->repeats; r++)
        s->first[r + 1] += s->first[r];
    for (size_t i = 0; status == MS_OK && i < p->rows; i++)
        s->by_repeat[s->first[p->repeat[i] + 1]++] = (uint32_t)i;
    for (int side = 0; side < 2 && status == MS_OK && p->scores[0] && p->scores[1]; side++)
        status = sort_side(s, side, sorted, err);
    free(sorted);
    return status;
}

static void release(struct paired *s)
{
    free(s->group_of);
    free(s->weight);
    free(s->by_repeat);
    free(s->first);
    free(s->counts);
    for (int side = 0; side < 2; side++) {
        free(s->order[side]);
        free(s->last[side]);
    }
}

/* Area and average precision of one class against the rest, by its falling scores in a repeat; NAN
 * as ms_auc. */
static void rank_class(const struct paired *s, int side, uint32_t repeat, uint32_t c, double *area,
                       double *precision)
{
    const struct ms_pair *p = s->p;
    double tp = 0, fp = 0, more = 0, less = 0, pairs = 0, sum = 0;
    for (size_t i = s->first[repeat]; i < s->first[repeat + 1]; i++) {
        uint32_t row = s->order[side][c * p->rows + i];
        double w = s->weight[s->group_of[row]];
        more += p->truth[row] == c ? w : 0;
        less += p->truth[row] == c ? 0 : w;
        if (!s->last[side][c * p->rows + i])
            continue;
        pairs += less * (tp + more / 2);
        tp += more;
        fp += less;
        sum += more > 0 ? more * tp / (tp + fp) : 0;
        more = less = 0;
    }
    *area = tp > 0 && fp > 0 ? pairs / (tp * fp) : NAN;
    *precision = tp > 0 ? sum / tp : NAN;
}

/* Means over the classes that have them; of two classes those of class 0. */
static void rank(const struct paired *s, int side, uint32_t repeat, double out[FIGURES])
{
    double sum[2] = {0}, used[2] = {0};
    out[AUC] = out[AVERAGE_PRECISION] = NAN;
    if (!s->order[side])
        return;
    for (uint32_t c = 0; c < (s->p->classes == 2 ? 1 : s->p->classes); c++) {
        double x[2];
        rank_class(s, side, repeat, c, &x[0], &x[1]);
        for (int k = 0; k < 2; k++)
            if (!isnan(x[k])) {
                sum[k] += x[k];
                used[k]++;
            }
    }
    out[AUC] = used[0] > 0 ? sum[0] / used[0] : NAN;
    out[AVERAGE_PRECISION] = used[1] > 0 ? sum[1] / used[1] : NAN;
}

static void counts_of(const struct paired *s, int side, uint32_t repeat, double out[FIGURES])
{
    const struct ms_pair *p = s->p;
    uint64_t *hit = s->counts, *given = hit + p->classes, *real = given + p->classes, right = 0,
             rows = 0;
    memset(hit, 0, (size_t)p->classes * 3 * sizeof *hit);
    for (size_t i = s->first[repeat]; i < s->first[repeat + 1]; i++) {
        uint32_t row = s->by_repeat[i], truth = p->truth[row], said = p->predicted[side][row];
        uint64_t w = s->weight[s->group_of[row]];
        hit[truth] += said == truth ? w : 0;
        given[said] += w;
        real[truth] += w;
        right += said == truth ? w : 0;
        rows += w;
    }
    double sum = 0, used = 0;
    out[F1] = NAN;
    for (uint32_t c = 0; c < p->classes; c++)
        if (given[c] + real[c] > 0) {
            double f1 = 2 * (double)hit[c] / (double)(given[c] + real[c]);
            if (p->classes == 2 && c == 0)
                out[F1] = f1;
            sum += f1;
            used++;
        }
    out[ACCURACY] = rows ? (double)right / (double)rows : NAN;
    out[MACRO_F1] = used > 0 ? sum / used : NAN;
}

/* Means over the repeats that have rows. */
static void measure(const struct paired *s, double out[2][FIGURES], struct ms_pair_repeat *keep)
{
    for (int side = 0; side < 2; side++) {
        double sum[FIGURES] = {0}, used[FIGURES] = {0};
        for (uint32_t r = 0; r < s->p->repeats; r++) {
            double x[FIGURES];
            counts_of(s, side, r, x);
            rank(s, side, r, x);
            for (int k = 0; k < FIGURES; k++)
                if (!isnan(x[k])) {
                    sum[k] += x[k];
                    used[k]++;
                }
            if (keep) {
                keep[r].accuracy[side] = x[ACCURACY];
                keep[r].macro_f1[side] = x[MACRO_F1];
                keep[r].auc[side] = x[AUC];
            }
        }
        for (int k = 0; k < FIGURES; k++)
            out[side][k] = used[k] > 0 ? sum[k] / used[k] : NAN;
    }
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void range_of(double *values, struct ms_difference *out)
{
    size_t used = 0;
    out->low = out->high = NAN;
    for (size_t i = 0; i < ROUNDS; i++)
        if (!isnan(values[i]))
            values[used++] = values[i];
    if (used < ROUNDS / 2)
        return;
    qsort(values, used, sizeof *values, by_value);
    double low = values[used / 40], high = values[used - 1 - used / 40];
    if (low < high) {
        out->low = low;
        out->high = high;
    }
}

static enum ms_status run_rounds(struct paired *s, struct ms_comparison *out, struct ms_error *err)
{
    struct ms_difference *const figures[FIGURES] = {&out->accuracy, &out->macro_f1, &out->auc,
                                                    &out->f1, &out->average_precision};
    double(*rounds)[ROUNDS] = calloc(FIGURES, sizeof *rounds), value[2][FIGURES];
    if (!rounds)
        return no_memory(err);
    for (uint32_t g = 0; g < s->groups; g++)
        s->weight[g] = 1;
    measure(s, value, out->by_repeat);
    for (int k = 0; k < FIGURES; k++)
        *figures[k] = (struct ms_difference){
            .a = value[0][k], .b = value[1][k], .difference = value[0][k] - value[1][k]};
    struct ms_rng rng;
    ms_rng_init(&rng, s->p->seed, PURPOSE_COMPARE, 0);
    for (size_t round = 0; round < ROUNDS; round++) {
        memset(s->weight, 0, s->groups * sizeof *s->weight);
        for (uint32_t g = 0; g < s->groups; g++)
            s->weight[ms_rng_below(&rng, s->groups)]++;
        measure(s, value, NULL);
        for (int k = 0; k < FIGURES; k++)
            rounds[k][round] = value[0][k] - value[1][k];
    }
    for (int k = 0; k < FIGURES; k++)
        range_of(rounds[k], figures[k]);
    free(rounds);
    return MS_OK;
}

static void test_repeats(const struct ms_pair *p, struct ms_comparison *out)
{
    for (size_t i = 0; i < p->rows; i++) {
        struct ms_pair_repeat *r = &out->by_repeat[p->repeat[i]];
        bool a = p->predicted[0][i] == p->truth[i], b = p->predicted[1][i] == p->truth[i];
        r->rows++;
        r->mcnemar.only_a += a && !b;
        r->mcnemar.only_b += b && !a;
    }
    for (uint32_t r = 0; r < p->repeats; r++)
        ms_mcnemar(out->by_repeat[r].mcnemar.only_a, out->by_repeat[r].mcnemar.only_b,
                   &out->by_repeat[r].mcnemar);
}

static enum ms_status check(const struct ms_pair *p, struct ms_error *err)
{
    if (p->rows == 0 || p->rows >= UINT32_MAX || p->classes == 0 || p->repeats == 0)
        return ms_error_set(err, MS_E_INPUT, "nothing to compare: no rows");
    for (size_t i = 0; i < p->rows; i++)
        if (p->truth[i] >= p->classes || p->predicted[0][i] >= p->classes ||
            p->predicted[1][i] >= p->classes || p->repeat[i] >= p->repeats ||
            p->fold[i] >= (p->folds ? p->folds : 1))
            return ms_error_set(err, MS_E_INPUT, "row %zu: class, repeat or fold out of range", i);
    return MS_OK;
}

enum ms_status ms_compare(const struct ms_pair *pair, struct ms_comparison *out,
                          struct ms_error *err)
{
    struct paired s = {.p = pair};
    *out = (struct ms_comparison){.repeats = pair->repeats};
    enum ms_status status = check(pair, err);
    if (status != MS_OK)
        return status;
    out->by_repeat = calloc(pair->repeats, sizeof *out->by_repeat);
    status = out->by_repeat ? prepare(&s, err) : no_memory(err);
    if (status == MS_OK)
        status = run_rounds(&s, out, err);
    if (status == MS_OK) {
        test_repeats(pair, out);
        status = test_fits(pair, out, err);
    }
    release(&s);
    return status;
}

void ms_comparison_release(struct ms_comparison *self)
{
    free(self->by_repeat);
    *self = (struct ms_comparison){0};
}
