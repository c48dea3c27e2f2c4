/* Every figure as a function of the weights of the rows: once with all ones, and once for each
 * resample of the groups. Field and Welsh 2007 call it the cluster bootstrap; the intervals are its
 * percentiles. */
#include "train/intervals.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 1000, ROUNDS_FEW = 100 };
/* Numbers looked at in a round from which on there are fewer rounds, and numbers kept in memory
 * from which on rankings have no intervals. */
#define MANY_NUMBERS ((size_t)20 << 20)
#define TOO_MANY_NUMBERS ((size_t)256 << 20)

static const uint64_t PURPOSE_BOOTSTRAP = 0x696e74657276;

/* Places of the figures in a round's result; those of class c begin at BY_CLASS + c * CLASS_WIDTH.
 */
enum { BALANCED, MACRO_F1, AUC, AP, BRIER, LOG_LOSS, ECE, TPR, BY_CLASS = TPR + MS_TPR_RATES };
enum { PRECISION, RECALL, F1, CLASS_AUC, CLASS_AP, CLASS_WIDTH };

struct bootstrap {
    const struct ms_judged *j;
    struct ms_metrics *m;
    size_t width;             /* figures of a round */
    uint32_t groups;          /* those that have rows */
    uint32_t *group_of;       /* N, below groups */
    uint32_t *weight;         /* groups */
    uint64_t *confusion;      /* C x C */
    uint32_t *order;          /* C x N: rows by falling score of the class; NULL: no scores */
    bool *last;               /* C x N: the last of those with this score */
    uint8_t *bin;             /* N: of the reliability table; NULL: no probabilities */
    double *squared, *logged; /* N: what the row adds to the Brier score and the log loss */
    double *confidence;       /* N: what was claimed */
    bool *kept;               /* N: whether it held */
    double *rounds;           /* width x rounds */
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the intervals");
}

/* ---- rankings -------------------------------------------------------------------------------- */

struct scored {
    double score;
    uint32_t row;
};

static int by_falling_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static enum ms_status sort_scores(struct bootstrap *b, struct ms_error *err)
{
    const struct ms_judged *j = b->j;
    size_t n = j->rows;
    if (!j->scores || n * j->classes > TOO_MANY_NUMBERS)
        return MS_OK;
    struct scored *sorted = calloc(n, sizeof *sorted);
    b->order = calloc(n * j->classes, sizeof *b->order);
    b->last = calloc(n * j->classes, sizeof *b->last);
    if (!sorted || !b->order || !b->last) {
        free(sorted);
        return no_memory(err);
    }
    for (size_t c = 0; c < j->classes; c++) {
        for (size_t i = 0; i < n; i++)
            sorted[i] = (struct scored){j->scores[i * j->classes + c], (uint32_t)i};
        qsort(sorted, n, sizeof *sorted, by_falling_score);
        for (size_t i = 0; i < n; i++) {
            b->order[c * n + i] = sorted[i].row;
            b->last[c * n + i] = i + 1 == n || sorted[i + 1].score != sorted[i].score;
        }
    }
    free(sorted);
    return MS_OK;
}

/* One class against the rest, as ms_auc; of class 0 also the true positive rates. */
static void rank(const struct bootstrap *b, uint32_t class_, double *auc, double *ap, double *tpr)
{
    size_t n = b->j->rows;
    const uint32_t *order = b->order + class_ * n;
    const bool *last = b->last + class_ * n;
    double tp = 0, fp = 0, p = 0, q = 0, pairs = 0, precision_sum = 0, negatives = 0;
    double best[MS_TPR_RATES] = {0};
    for (size_t i = 0; tpr && i < n; i++)
        negatives += b->j->truth[i] != class_ ? b->weight[b->group_of[i]] : 0;
    for (size_t i = 0; i < n; i++) {
        double w = b->weight[b->group_of[order[i]]];
        if (b->j->truth[order[i]] == class_)
            p += w;
        else
            q += w;
        if (!last[i])
            continue;
        pairs += q * (tp + p / 2);
        tp += p;
        fp += q;
        precision_sum += tp + fp > 0 ? p * tp / (tp + fp) : 0;
        p = q = 0;
        for (int k = 0; tpr && k < MS_TPR_RATES; k++)
            if (fp <= ms_tpr_rates[k] * negatives)
                best[k] = tp;
    }
    *auc = tp > 0 && fp > 0 ? pairs / (tp * fp) : NAN;
    *ap = tp > 0 ? precision_sum / tp : NAN;
    for (int k = 0; tpr && k < MS_TPR_RATES; k++)
        tpr[k] = tp > 0 && fp > 0 ? best[k] / tp : NAN;
}

static void rank_all(const struct bootstrap *b, double *out)
{
    uint32_t classes = b->j->classes, n_auc = 0, n_ap = 0;
    double sum_auc = 0, sum_ap = 0;
    for (uint32_t c = 0; c < classes; c++) {
        double *of = out + BY_CLASS + (size_t)c * CLASS_WIDTH;
        of[CLASS_AUC] = of[CLASS_AP] = NAN;
        if (!b->order)
            continue;
        rank(b, c, &of[CLASS_AUC], &of[CLASS_AP], classes == 2 && c == 0 ? out + TPR : NULL);
        if (!isnan(of[CLASS_AUC])) {
            sum_auc += of[CLASS_AUC];
            n_auc++;
        }
        if (!isnan(of[CLASS_AP])) {
            sum_ap += of[CLASS_AP];
            n_ap++;
        }
    }
    out[AUC] = classes == 2 ? out[BY_CLASS + CLASS_AUC] : n_auc ? sum_auc / n_auc : NAN;
    out[AP] = classes == 2 ? out[BY_CLASS + CLASS_AP] : n_ap ? sum_ap / n_ap : NAN;
    for (int k = 0; (classes != 2 || !b->order) && k < MS_TPR_RATES; k++)
        out[TPR + k] = NAN;
}

/* ---- counts ---------------------------------------------------------------------------------- */

static void count_all(const struct bootstrap *b, double *out)
{
    const struct ms_judged *j = b->j;
    size_t classes = j->classes, with_rows = 0, with_any = 0;
    memset(b->confusion, 0, classes * classes * sizeof *b->confusion);
    for (size_t i = 0; i < j->rows; i++)
        b->confusion[j->predicted[i] * classes + j->truth[i]] += b->weight[b->group_of[i]];
    out[BALANCED] = out[MACRO_F1] = 0;
    for (size_t c = 0; c < classes; c++) {
        double *of = out + BY_CLASS + c * CLASS_WIDTH;
        uint64_t given = 0, real = 0, hit = b->confusion[c * classes + c];
        for (size_t o = 0; o < classes; o++) {
            given += b->confusion[c * classes + o];
            real += b->confusion[o * classes + c];
        }
        of[PRECISION] = given ? (double)hit / (double)given : 0;
        of[RECALL] = real ? (double)hit / (double)real : 0;
        of[F1] = given + real ? 2 * (double)hit / (double)(given + real) : 0;
        out[BALANCED] += of[RECALL];
        out[MACRO_F1] += of[F1];
        with_rows += real > 0;
        with_any += given + real > 0;
    }
    out[BALANCED] /= (double)with_rows;
    out[MACRO_F1] /= (double)with_any;
}

/* ---- probabilities --------------------------------------------------------------------------- */

/* Scores are probabilities when they are from 0 to 1 and those of a row make 1. */
static bool probabilities(const struct ms_judged *j)
{
    for (size_t i = 0; j->scores && i < j->rows; i++) {
        double sum = 0;
        for (size_t c = 0; c < j->classes; c++) {
            double p = j->scores[i * j->classes + c];
            if (!(p >= 0 && p <= 1))
                return false;
            sum += p;
        }
        if (fabs(sum - 1) > 1e-3)
            return false;
    }
    return j->scores != NULL;
}

/* Equal shares of the rows by confidence; rows of one confidence stay together. */
static enum ms_status fill_bins(struct bootstrap *b, struct ms_error *err)
{
    size_t n = b->j->rows;
    struct scored *sorted = calloc(n, sizeof *sorted);
    if (!sorted)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct scored){b->confidence[i], (uint32_t)i};
    qsort(sorted, n, sizeof *sorted, by_falling_score);
    for (size_t i = 0; i < n; i++) {
        size_t at = n - 1 - i; /* from the lowest on */
        bool tied = i > 0 && sorted[at].score == sorted[at + 1].score;
        unsigned bin = tied ? b->bin[sorted[at + 1].row] : (unsigned)(i * MS_RELIABILITY_BINS / n);
        b->bin[sorted[at].row] = (uint8_t)bin;
    }
    free(sorted);
    return MS_OK;
}

static enum ms_status prepare_probabilities(struct bootstrap *b, struct ms_error *err)
{
    const struct ms_judged *j = b->j;
    if (!probabilities(j))
        return MS_OK;
    b->bin = calloc(j->rows, sizeof *b->bin);
    b->squared = calloc(j->rows, sizeof *b->squared);
    b->logged = calloc(j->rows, sizeof *b->logged);
    b->confidence = calloc(j->rows, sizeof *b->confidence);
    b->kept = calloc(j->rows, sizeof *b->kept);
    if (!b->bin || !b->squared || !b->logged || !b->confidence || !b->kept)
        return no_memory(err);
    for (size_t i = 0; i < j->rows; i++) {
        const double *p = j->scores + i * j->classes;
        uint32_t top = 0;
        for (uint32_t c = 0; c < j->classes; c++) {
            double miss = p[c] - (j->truth[i] == c);
            if (j->classes != 2 || c == 0)
                b->squared[i] += miss * miss;
            top = p[c] > p[top] ? c : top;
        }
        b->logged[i] = -log(fmax(p[j->truth[i]], 1e-15));
        b->confidence[i] = j->classes == 2 ? p[0] : p[top];
        b->kept[i] = j->classes == 2 ? j->truth[i] == 0 : j->truth[i] == top;
    }
    return fill_bins(b, err);
}

static void weigh_bins(const struct bootstrap *b, struct ms_reliability *bins)
{
    double rows[MS_RELIABILITY_BINS] = {0};
    for (int k = 0; k < MS_RELIABILITY_BINS; k++)
        bins[k] = (struct ms_reliability){0};
    for (size_t i = 0; i < b->j->rows; i++) {
        double w = b->weight[b->group_of[i]];
        rows[b->bin[i]] += w;
        bins[b->bin[i]].claimed += w * b->confidence[i];
        bins[b->bin[i]].held += b->kept[i] ? w : 0;
    }
    for (int k = 0; k < MS_RELIABILITY_BINS; k++) {
        bins[k].rows = (uint64_t)rows[k];
        bins[k].claimed = rows[k] > 0 ? bins[k].claimed / rows[k] : NAN;
        bins[k].held = rows[k] > 0 ? bins[k].held / rows[k] : NAN;
    }
}

static void calibrate_all(const struct bootstrap *b, double *out)
{
    struct ms_reliability bins[MS_RELIABILITY_BINS];
    double squared = 0, logged = 0, rows = 0, error = 0;
    out[BRIER] = out[LOG_LOSS] = out[ECE] = NAN;
    if (!b->bin)
        return;
    for (size_t i = 0; i < b->j->rows; i++) {
        double w = b->weight[b->group_of[i]];
        squared += w * b->squared[i];
        logged += w * b->logged[i];
        rows += w;
    }
    weigh_bins(b, bins);
    for (int k = 0; k < MS_RELIABILITY_BINS; k++)
        if (bins[k].rows)
            error += (double)bins[k].rows * fabs(bins[k].claimed - bins[k].held);
    out[BRIER] = squared / rows;
    out[LOG_LOSS] = logged / rows;
    out[ECE] = error / rows;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void measure(const struct bootstrap *b, double *out)
{
    count_all(b, out);
    rank_all(b, out);
    calibrate_all(b, out);
}

static enum ms_status number_groups(struct bootstrap *b, struct ms_error *err)
{
    const struct ms_judged *j = b->j;
    size_t last = j->rows;
    for (size_t i = 0; j->groups && i < j->rows; i++)
        last = j->groups[i] > last ? j->groups[i] : last;
    uint32_t *number = calloc(last + 1, sizeof *number);
    b->group_of = calloc(j->rows, sizeof *b->group_of);
    if (!number || !b->group_of) {
        free(number);
        return no_memory(err);
    }
    for (size_t i = 0; i < j->rows; i++) {
        uint32_t *known = &number[j->groups ? j->groups[i] : (uint32_t)i];
        if (*known == 0)
            *known = ++b->groups;
        b->group_of[i] = *known - 1;
    }
    free(number);
    b->weight = calloc(b->groups, sizeof *b->weight);
    return b->weight ? MS_OK : no_memory(err);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The middle 95 % of a figure's rounds, those without it left out. Where all are the same a
 * bootstrap knows nothing. */
static struct ms_range range_of(double *values, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i]))
            values[used++] = values[i];
    if (used < n / 2 || used == 0)
        return (struct ms_range){NAN, NAN};
    qsort(values, used, sizeof *values, by_value);
    struct ms_range range = {values[used / 40], values[used - 1 - used / 40]};
    return range.low < range.high ? range : (struct ms_range){NAN, NAN};
}

static struct ms_range or_wilson(struct ms_range range, double share, uint64_t rows)
{
    if (isnan(range.low) && rows)
        ms_wilson((uint64_t)llround(share * (double)rows), rows, &range.low, &range.high);
    return range;
}

static void keep_ranges(struct bootstrap *b, size_t rounds)
{
    struct ms_metrics *m = b->m;
    struct ms_range *const whole[TPR] = {&m->balanced_accuracy_range,
                                         &m->macro_f1_range,
                                         &m->auc_range,
                                         &m->average_precision_range,
                                         &m->brier_range,
                                         &m->log_loss_range,
                                         &m->ece_range};
    for (size_t k = 0; k < TPR; k++)
        *whole[k] = range_of(b->rounds + k * rounds, rounds);
    for (size_t k = 0; k < MS_TPR_RATES; k++)
        m->tpr[k].range = range_of(b->rounds + (TPR + k) * rounds, rounds);
    for (size_t c = 0; c < m->classes; c++) {
        struct ms_class_scores *s = &m->by_class[c];
        double *of = b->rounds + (BY_CLASS + c * CLASS_WIDTH) * rounds;
        s->precision_range =
            or_wilson(range_of(of + PRECISION * rounds, rounds), s->precision, s->predicted);
        s->recall_range = or_wilson(range_of(of + RECALL * rounds, rounds), s->recall, s->support);
        s->f1_range = range_of(of + F1 * rounds, rounds);
        s->auc_range = range_of(of + CLASS_AUC * rounds, rounds);
        s->average_precision_range = range_of(of + CLASS_AP * rounds, rounds);
    }
}

static void keep_values(const struct bootstrap *b, const double *figures)
{
    struct ms_metrics *m = b->m;
    uint64_t negatives = m->classes == 2 ? m->by_class[1].support : 0;
    m->brier = figures[BRIER];
    m->log_loss = figures[LOG_LOSS];
    m->ece = figures[ECE];
    m->calibrated = b->bin != NULL;
    if (b->bin)
        weigh_bins(b, m->reliability);
    for (int k = 0; k < MS_TPR_RATES; k++) {
        m->tpr[k].fpr = ms_tpr_rates[k];
        m->tpr[k].needed = (uint64_t)ceil(3 / ms_tpr_rates[k]);
        m->tpr[k].value = negatives >= m->tpr[k].needed ? figures[TPR + k] : NAN;
    }
}

static enum ms_status run_rounds(struct bootstrap *b, struct ms_error *err)
{
    size_t numbers = b->j->rows * ((size_t)b->j->classes + 1);
    size_t rounds = numbers > MANY_NUMBERS ? ROUNDS_FEW : ROUNDS;
    double *figures = calloc(b->width, sizeof *figures);
    b->rounds = calloc(b->width * rounds, sizeof *b->rounds);
    if (!figures || !b->rounds) {
        free(figures);
        return no_memory(err);
    }
    for (uint32_t g = 0; g < b->groups; g++)
        b->weight[g] = 1;
    measure(b, figures);
    keep_values(b, figures);
    struct ms_rng rng;
    ms_rng_init(&rng, b->j->seed, PURPOSE_BOOTSTRAP, 0);
    for (size_t r = 0; r < rounds; r++) {
        memset(b->weight, 0, b->groups * sizeof *b->weight);
        for (uint32_t g = 0; g < b->groups; g++)
            b->weight[ms_rng_below(&rng, b->groups)]++;
        measure(b, figures);
        for (size_t k = 0; k < b->width; k++)
            b->rounds[k * rounds + r] = figures[k];
    }
    keep_ranges(b, rounds);
    for (int k = 0; k < MS_TPR_RATES; k++)
        if (isnan(b->m->tpr[k].value))
            b->m->tpr[k].range = (struct ms_range){NAN, NAN};
    free(figures);
    return MS_OK;
}

enum ms_status ms_intervals_make(const struct ms_judged *judged, struct ms_metrics *m,
                                 struct ms_error *err)
{
    size_t classes = judged->classes;
    struct bootstrap b = {.j = judged, .m = m, .width = BY_CLASS + classes * CLASS_WIDTH};
    b.confusion = calloc(classes * classes, sizeof *b.confusion);
    enum ms_status status = b.confusion ? number_groups(&b, err) : no_memory(err);
    if (status == MS_OK)
        status = sort_scores(&b, err);
    if (status == MS_OK)
        status = prepare_probabilities(&b, err);
    if (status == MS_OK)
        status = run_rounds(&b, err);
    free(b.confusion);
    free(b.group_of);
    free(b.weight);
    free(b.order);
    free(b.last);
    free(b.bin);
    free(b.squared);
    free(b.logged);
    free(b.confidence);
    free(b.kept);
    free(b.rounds);
    return status;
}
