/* The only file that sees liblinear. */
#include "train/fit_linear.h"

#include <cblas.h>
#include <limits.h>
#include <linear.h>
#include <math.h>
#include <stdlib.h>

static void be_silent(const char *text)
{
    (void)text;
}

struct work {
    struct feature_node *nodes; /* of all rows, each ended by index -1 */
    struct feature_node **row;
    double *y;
};

static void work_release(struct work *w)
{
    free(w->nodes);
    free((void *)w->row);
    free(w->y);
}

/* Indexes begin at 1; the one behind the last feature is the bias. */
static enum ms_status work_make(const struct ms_net_sparse *rows, size_t count, uint32_t size,
                                struct work *w, struct ms_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += (size_t)rows[i].count + 2;
    *w = (struct work){calloc(total, sizeof *w->nodes), (void *)calloc(count, sizeof *w->row),
                       calloc(count, sizeof *w->y)};
    if (!w->nodes || !w->row || !w->y)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu rows", count);
    struct feature_node *at = w->nodes;
    for (size_t i = 0; i < count; i++) {
        w->row[i] = at;
        for (uint32_t k = 0; k < rows[i].count; k++)
            *at++ = (struct feature_node){(int)rows[i].ids[k] + 1, (double)rows[i].values[k]};
        *at++ = (struct feature_node){(int)size + 1, 1};
        *at++ = (struct feature_node){-1, 0};
    }
    return MS_OK;
}

/* Class `c` (label 1) against the rest (label -1) into column `o`. */
static enum ms_status fit_one(const struct work *w, const uint32_t *labels, size_t count,
                              uint32_t c, uint32_t o, double cost, const double *weights,
                              struct ms_linear *out, struct ms_error *err)
{
    size_t positives = 0;
    double rest = 0;
    for (size_t i = 0; i < count; i++) {
        w->y[i] = labels[i] == c ? 1 : -1;
        positives += labels[i] == c;
        rest += weights && labels[i] != c ? weights[labels[i]] : 0;
    }
    if (positives == 0 || positives == count) { /* nothing to tell apart: the share, as far as */
        out->bias[o] = positives ? 10 : -10;    /* a sigmoid can say it */
        return MS_OK;
    }
    int weight_label[2] = {1, -1};
    double weight[2] = {weights ? weights[c] : 1, weights ? rest / (double)(count - positives) : 1};
    const struct problem problem = {
        .l = (int)count, .n = (int)out->size + 1, .y = w->y, .x = w->row, .bias = 1};
    const struct parameter parameter = {.solver_type = L2R_LR,
                                        .eps = .001,
                                        .C = cost,
                                        .nr_weight = 2,
                                        .weight_label = weight_label,
                                        .weight = weight};
    const char *why = check_parameter(&problem, &parameter);
    if (why)
        return ms_error_set(err, MS_E_INPUT, "logistic regression: %s", why);
    struct model *model = train(&problem, &parameter);
    if (!model)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for logistic regression");
    double sign = model->label[0] == 1 ? 1 : -1;
    bool finite = true;
    for (uint32_t f = 0; f < out->size; f++) {
        float value = (float)(sign * model->w[f]);
        finite = finite && isfinite(value);
        out->kernel[(size_t)f * out->outputs + o] = value;
    }
    out->bias[o] = (float)(sign * model->w[out->size]);
    finite = finite && isfinite(out->bias[o]);
    free_and_destroy_model(&model);
    return finite ? MS_OK
                  : ms_error_set(err, MS_E_LIMIT, "logistic regression diverged: lower the cost");
}

enum ms_status ms_fit_linear(const struct ms_net_sparse *rows, const uint32_t *labels, size_t count,
                             uint32_t classes, uint32_t size, double cost, const double *weights,
                             struct ms_linear *out, struct ms_error *err)
{
    *out = (struct ms_linear){0};
    bool several = false;
    for (size_t i = 1; i < count; i++)
        several = several || labels[i] != labels[0];
    if (!several || count > INT_MAX)
        return ms_error_set(err, MS_E_INPUT,
                            "logistic regression needs rows of at least two classes");
    struct work work = {0};
    enum ms_status status = ms_linear_make(size, classes == 2 ? 1 : classes, out, err);
    if (status == MS_OK)
        status = work_make(rows, count, size, &work, err);
    set_print_string_function(be_silent);
    openblas_set_num_threads(1); /* sums of several threads end in other bits */
    for (uint32_t o = 0; status == MS_OK && o < out->outputs; o++)
        status = fit_one(&work, labels, count, o, o, cost, weights, out, err);
    work_release(&work);
    if (status != MS_OK)
        ms_linear_release(out);
    return status;
}
