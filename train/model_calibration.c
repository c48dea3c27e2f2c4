/* Temperature, Platt and isotonic calibration; thresholds by false positives; bands of doubt. */
#include "train/model_calibration.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_LEAST = 10 };
static const double EDGE = 1e-7; /* of probabilities, where their logits are taken */

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the calibration");
}

static double clamp(double p)
{
    return p >= 0 ? (p <= 1 ? p : 1) : 0;
}

static double logit(double p)
{
    p = fmin(fmax(p, EDGE), 1 - EDGE);
    return log(p) - log1p(-p);
}

static double logistic(double z)
{
    return z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z));
}

/* ---- applying -------------------------------------------------------------------------------- */

static double interpolate(const struct ms_calibration *c, double p)
{
    uint32_t i = 0;
    if (p <= c->x[0])
        return c->y[0];
    while (i + 1 < c->points && c->x[i + 1] < p)
        i++;
    if (i + 1 == c->points)
        return c->y[i];
    return c->y[i] + (c->y[i + 1] - c->y[i]) * (p - c->x[i]) / (c->x[i + 1] - c->x[i]);
}

static void warm(double t, const double *from, uint32_t classes, double *to)
{
    double most = -INFINITY, sum = 0;
    for (uint32_t c = 0; c < classes; c++) {
        to[c] = log(fmax(clamp(from[c]), 1e-12)) / t;
        most = fmax(most, to[c]);
    }
    for (uint32_t c = 0; c < classes; c++)
        sum += to[c] = exp(to[c] - most);
    for (uint32_t c = 0; c < classes; c++)
        to[c] /= sum;
}

void ms_calibration_apply(const struct ms_calibration *self, double *scores, uint32_t classes)
{
    if (self->kind == MS_CALIBRATION_NONE)
        return;
    for (uint32_t c = 0; c < classes; c++)
        if (!isfinite(scores[c])) /* must not come out as a probability */
            return;
    if (self->kind == MS_CALIBRATION_TEMPERATURE) {
        warm(self->t, scores, classes, scores);
        return;
    }
    double p = clamp(scores[0]);
    scores[0] = self->kind == MS_CALIBRATION_PLATT ? logistic(self->a * logit(p) + self->b)
                                                   : interpolate(self, p);
    scores[1] = 1 - scores[0];
}

/* ---- fitting --------------------------------------------------------------------------------- */

static double loss_at(double t, const double *scores, uint32_t classes, const uint32_t *truth,
                      size_t rows, double *room)
{
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        warm(t, scores + i * classes, classes, room);
        sum -= log(fmax(room[truth[i]], 1e-300));
    }
    return sum;
}

/* The loss has one valley in 1 / t: golden section over ln t. */
static enum ms_status fit_temperature(const double *scores, uint32_t classes, const uint32_t *truth,
                                      size_t rows, struct ms_calibration *out, struct ms_error *err)
{
    const double golden = .6180339887498949;
    double low = -4, high = 4, *room = calloc(classes, sizeof *room);
    if (!room)
        return no_memory(err);
    double x = high - golden * (high - low), y = low + golden * (high - low);
    double fx = loss_at(exp(x), scores, classes, truth, rows, room);
    double fy = loss_at(exp(y), scores, classes, truth, rows, room);
    while (high - low > 1e-6) {
        if (fx < fy) {
            high = y;
            y = x;
            fy = fx;
            x = high - golden * (high - low);
            fx = loss_at(exp(x), scores, classes, truth, rows, room);
        } else {
            low = x;
            x = y;
            fx = fy;
            y = low + golden * (high - low);
            fy = loss_at(exp(y), scores, classes, truth, rows, room);
        }
    }
    out->t = exp((low + high) / 2);
    free(room);
    return MS_OK;
}

struct platt {
    const double *scores;
    const uint32_t *truth;
    size_t rows;
    double target[2]; /* of class 0 and of class 1 */
};

static double platt_loss(const struct platt *p, double a, double b)
{
    double sum = 0;
    for (size_t i = 0; i < p->rows; i++) {
        double z = a * logit(p->scores[2 * i]) + b, t = p->target[p->truth[i] != 0];
        sum += z >= 0 ? (1 - t) * z + log1p(exp(-z)) : -t * z + log1p(exp(z));
    }
    return sum;
}

static void fit_platt(struct platt *p, struct ms_calibration *out)
{
    double n[2] = {0, 0};
    for (size_t i = 0; i < p->rows; i++)
        n[p->truth[i] != 0]++;
    p->target[0] = (n[0] + 1) / (n[0] + 2);
    p->target[1] = 1 / (n[1] + 2);
    double a = 1, b = 0, loss = platt_loss(p, a, b);
    for (int round = 0; round < 100; round++) {
        double ga = 0, gb = 0, h_aa = 1e-9, h_ab = 0, h_bb = 1e-9;
        for (size_t i = 0; i < p->rows; i++) {
            double x = logit(p->scores[2 * i]), q = logistic(a * x + b);
            double off = q - p->target[p->truth[i] != 0], w = q * (1 - q);
            ga += off * x;
            gb += off;
            h_aa += w * x * x;
            h_ab += w * x;
            h_bb += w;
        }
        double det = h_aa * h_bb - h_ab * h_ab;
        double da = -(h_bb * ga - h_ab * gb) / det, db = -(h_aa * gb - h_ab * ga) / det, step = 1;
        double next = platt_loss(p, a + da, b + db);
        while (!(next <= loss) && step > 1e-10) {
            step /= 2;
            next = platt_loss(p, a + step * da, b + step * db);
        }
        if (!(next <= loss))
            break;
        a += step * da;
        b += step * db;
        bool done = loss - next < 1e-12 * (1 + fabs(loss));
        loss = next;
        if (done)
            break;
    }
    out->a = fmin(fmax(a, 1e-6), 1e6); /* a model that is wrong way round stays so */
    out->b = fmin(fmax(b, -1e6), 1e6);
}

struct block {
    double x, y, w; /* sums over the rows */
};

static int by_score(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    return (x->x > y->x) - (x->x < y->x);
}

static void keep_points(const struct block *blocks, size_t n, struct ms_calibration *out)
{
    size_t most = MS_CALIBRATION_POINTS_MAX, kept = n < most ? n : most;
    for (size_t k = 0; k < kept; k++) {
        const struct block *b = &blocks[kept > 1 ? k * (n - 1) / (kept - 1) : 0];
        double x = b->x / b->w, y = b->y / b->w;
        if (out->points && x <= out->x[out->points - 1])
            continue;
        out->x[out->points] = x;
        out->y[out->points++] = y;
    }
}

static enum ms_status fit_isotonic(const double *scores, const uint32_t *truth, size_t rows,
                                   struct ms_calibration *out, struct ms_error *err)
{
    struct block *blocks = calloc(rows, sizeof *blocks);
    size_t n = 0;
    if (!blocks)
        return no_memory(err);
    for (size_t i = 0; i < rows; i++)
        blocks[i] = (struct block){scores[2 * i], truth[i] == 0, 1};
    qsort(blocks, rows, sizeof *blocks, by_score);
    for (size_t i = 0; i < rows; i++) {
        struct block next = blocks[i];
        /* equal scores are one block; then what falls is pooled */
        while (n > 0 && (blocks[n - 1].y / blocks[n - 1].w >= next.y / next.w ||
                         blocks[n - 1].x / blocks[n - 1].w >= next.x / next.w)) {
            n--;
            next.x += blocks[n].x;
            next.y += blocks[n].y;
            next.w += blocks[n].w;
        }
        blocks[n++] = next;
    }
    keep_points(blocks, n, out);
    free(blocks);
    return MS_OK;
}

static enum ms_status check(enum ms_calibration_kind kind, const double *scores, uint32_t classes,
                            const uint32_t *truth, size_t rows, struct ms_error *err)
{
    bool mixed = false;
    if (rows < ROWS_LEAST)
        return ms_error_set(err, MS_E_INPUT, "%zu rows are too few to calibrate on", rows);
    if (classes != 2 && kind != MS_CALIBRATION_TEMPERATURE)
        return ms_error_set(err, MS_E_INPUT, "of %u classes only the temperature can be fitted",
                            classes);
    for (size_t i = 0; i < rows; i++) {
        if (truth[i] >= classes)
            return ms_error_set(err, MS_E_INPUT, "row %zu: class out of range", i);
        mixed = mixed || truth[i] != truth[0];
        for (uint32_t c = 0; c < classes; c++)
            if (!(scores[i * classes + c] >= 0 && scores[i * classes + c] <= 1))
                return ms_error_set(err, MS_E_INPUT, "row %zu: its scores are no probabilities", i);
    }
    return mixed ? MS_OK
                 : ms_error_set(err, MS_E_INPUT, "rows of one class alone calibrate nothing");
}

enum ms_status ms_calibration_fit(enum ms_calibration_kind kind, const double *scores,
                                  uint32_t classes, const uint32_t *truth, size_t rows,
                                  struct ms_calibration *out, struct ms_error *err)
{
    *out = (struct ms_calibration){.kind = kind};
    if (kind == MS_CALIBRATION_NONE)
        return MS_OK;
    enum ms_status status = check(kind, scores, classes, truth, rows, err);
    if (status != MS_OK)
        return status;
    if (kind == MS_CALIBRATION_TEMPERATURE)
        return fit_temperature(scores, classes, truth, rows, out, err);
    if (kind == MS_CALIBRATION_ISOTONIC)
        return fit_isotonic(scores, truth, rows, out, err);
    struct platt platt = {.scores = scores, .truth = truth, .rows = rows};
    fit_platt(&platt, out);
    return MS_OK;
}

/* ---- as text --------------------------------------------------------------------------------- */

void ms_calibration_text(const struct ms_calibration *self, char out[MS_CALIBRATION_TEXT_BYTES])
{
    int n = 0;
    switch (self->kind) {
    case MS_CALIBRATION_NONE:
        (void)snprintf(out, MS_CALIBRATION_TEXT_BYTES, "none");
        return;
    case MS_CALIBRATION_TEMPERATURE:
        (void)snprintf(out, MS_CALIBRATION_TEXT_BYTES, "temperature %.17g", self->t);
        return;
    case MS_CALIBRATION_PLATT:
        (void)snprintf(out, MS_CALIBRATION_TEXT_BYTES, "platt %.17g %.17g", self->a, self->b);
        return;
    case MS_CALIBRATION_ISOTONIC:
        n = snprintf(out, MS_CALIBRATION_TEXT_BYTES, "isotonic");
        for (uint32_t i = 0; i < self->points && n > 0 && n < MS_CALIBRATION_TEXT_BYTES; i++)
            n += snprintf(out + n, (size_t)(MS_CALIBRATION_TEXT_BYTES - n), " %.17g:%.17g",
                          self->x[i], self->y[i]);
        return;
    }
}

/* A number as printed above: no blanks, no hexadecimal, no "inf" or "nan". */
static bool take_number(const char **text, double *out)
{
    char *end;
    if (!strchr("-.0123456789", **text) || **text == '\0' || (*text)[strspn(*text, "-0")] == 'x')
        return false;
    *out = strtod(*text, &end);
    bool good = end != *text && isfinite(*out);
    *text = end;
    return good;
}

static bool take_points(const char *text, struct ms_calibration *out)
{
    for (; *text == ' ' && out->points < MS_CALIBRATION_POINTS_MAX; out->points++) {
        double *x = &out->x[out->points], *y = &out->y[out->points];
        text++;
        if (!take_number(&text, x) || *text++ != ':' || !take_number(&text, y))
            return false;
        if (!(*x >= 0 && *x <= 1 && *y >= 0 && *y <= 1) ||
            (out->points && (*x <= x[-1] || *y < y[-1])))
            return false;
    }
    return *text == '\0' && out->points > 0;
}

enum ms_status ms_calibration_parse(const char *text, struct ms_calibration *out,
                                    struct ms_error *err)
{
    bool good = false;
    *out = (struct ms_calibration){0};
    if (strcmp(text, "none") == 0)
        return MS_OK;
    if (strncmp(text, "temperature ", 12) == 0) {
        text += 12;
        out->kind = MS_CALIBRATION_TEMPERATURE;
        good = take_number(&text, &out->t) && *text == '\0' && out->t > 1e-6 && out->t < 1e6;
    } else if (strncmp(text, "platt ", 6) == 0) {
        text += 6;
        out->kind = MS_CALIBRATION_PLATT;
        good = take_number(&text, &out->a) && *text++ == ' ' && take_number(&text, &out->b) &&
               *text == '\0' && out->a > 0 && out->a <= 1e6 && fabs(out->b) <= 1e6;
    } else if (strncmp(text, "isotonic ", 9) == 0) {
        out->kind = MS_CALIBRATION_ISOTONIC;
        good = take_points(text + 8, out);
    }
    return good ? MS_OK : ms_error_set(err, MS_E_INPUT, "the calibration is none that is known");
}

/* ---- thresholds and doubt -------------------------------------------------------------------- */

static int by_falling(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

enum ms_status ms_threshold_find(const double *scores, const uint32_t *truth, size_t rows,
                                 double fpr, double *threshold, double *reached,
                                 struct ms_error *err)
{
    double *negative = calloc(rows + 1, sizeof *negative);
    size_t n = 0;
    if (!negative)
        return no_memory(err);
    for (size_t i = 0; i < rows; i++)
        if (truth[i] != 0)
            negative[n++] = scores[2 * i];
    if (n == 0) {
        free(negative);
        return ms_error_set(err, MS_E_INPUT,
                            "no row of the negative class: no threshold for "
                            "false positives");
    }
    qsort(negative, n, sizeof *negative, by_falling);
    /* the highest negative that may not reach it; equal ones above it may not either */
    size_t may = (size_t)floor(fpr * (double)n + 1e-9); /* .29 of 100 are 29, not 28.999… */
    double first_out = may < n ? negative[may] : -INFINITY;
    double next = INFINITY; /* the lowest score above it */
    for (size_t i = 0; i < rows; i++)
        if (scores[2 * i] > first_out && scores[2 * i] < next)
            next = scores[2 * i];
    *threshold = may >= n      ? negative[n - 1]
                 : isinf(next) ? nextafter(first_out, INFINITY)
                               : first_out + (next - first_out) / 2;
    if (*threshold <= first_out)
        *threshold = next;
    size_t over = 0;
    for (size_t i = 0; i < n; i++)
        over += negative[i] >= *threshold;
    *reached = (double)over / (double)n;
    free(negative);
    return MS_OK;
}

double ms_doubt_measure(const double *scores, uint32_t classes)
{
    double most = scores[0];
    for (uint32_t c = 1; classes != 2 && c < classes; c++)
        most = fmax(most, scores[c]);
    return most;
}

bool ms_doubt_parse(const char *text, double *low, double *high)
{
    if (!take_number(&text, low) || *text++ != ':')
        return false;
    return take_number(&text, high) && *text == '\0' && *low < *high;
}

void ms_doubt_rates(struct ms_doubt *self, uint64_t right)
{
    uint64_t judged = self->rows - self->unknown;
    self->coverage = self->rows ? (double)judged / (double)self->rows : NAN;
    self->accuracy = judged ? (double)right / (double)judged : NAN;
}

void ms_doubt_count(const double *scores, uint32_t classes, const uint32_t *truth,
                    const uint32_t *predicted, size_t rows, double low, double high,
                    struct ms_doubt *out)
{
    uint64_t right = 0;
    *out = (struct ms_doubt){.rows = rows};
    for (size_t i = 0; i < rows; i++) {
        double p = ms_doubt_measure(scores + i * classes, classes);
        bool doubt = p >= low && p < high;
        out->unknown += doubt;
        right += !doubt && truth[i] == predicted[i];
    }
    ms_doubt_rates(out, right);
}
