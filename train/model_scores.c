/* What the members of a model say of rows, and their mean. */
#include "train/model_private.h"

#include <stdlib.h>
#include <string.h>

/* Rows are predicted in slices: memory for the activations of one slice at a time. */
enum { SLICE_ROWS = 512 };

static enum ms_status no_memory(size_t count, struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the scores of %zu rows", count);
}

static enum ms_status net_slice(struct ms_net *net, uint32_t classes,
                                const struct ms_input_row *rows, size_t count, double *scores,
                                struct ms_error *err)
{
    const int32_t *tokens[SLICE_ROWS], *features[SLICE_ROWS];
    uint32_t lengths[SLICE_ROWS];
    struct ms_net_sparse wide[SLICE_ROWS];
    const struct ms_net_config *config = ms_net_config_get(net);
    size_t outputs = config->outputs;
    for (size_t i = 0; i < count; i++) {
        tokens[i] = rows[i].tokens;
        features[i] = rows[i].features;
        lengths[i] = (uint32_t)rows[i].n;
        wide[i] = (struct ms_net_sparse){rows[i].ids, rows[i].values, rows[i].count};
    }
    ms_real *raw = calloc(count * outputs, sizeof *raw);
    if (!raw)
        return no_memory(count, err);
    const struct ms_net_batch batch = {.rows = count,
                                       .tokens = tokens,
                                       .lengths = lengths,
                                       .features = config->feature_count ? features : NULL,
                                       .wide = config->wide.size ? wide : NULL};
    enum ms_status status = ms_net_predict(net, &batch, raw, err);
    for (size_t i = 0; status == MS_OK && i < count; i++)
        for (size_t c = 0; c < classes; c++)
            scores[i * classes + c] = outputs == 1 ? (c == 0 ? (double)raw[i] : 1 - (double)raw[i])
                                                   : (double)raw[i * outputs + c];
    free(raw);
    return status;
}

/* As many ones as the longest row has values; NULL without memory. */
static float *make_ones(const struct ms_input_row *rows, size_t count)
{
    uint32_t most = 1;
    for (size_t i = 0; i < count; i++)
        most = rows[i].count > most ? rows[i].count : most;
    float *ones = malloc(most * sizeof *ones);
    for (uint32_t k = 0; ones && k < most; k++)
        ones[k] = 1;
    return ones;
}

static enum ms_status slice(struct ms_member *m, uint32_t classes, const struct ms_input_row *rows,
                            size_t count, double *scores, struct ms_error *err)
{
    if (m->kind == MS_MEMBER_NET)
        return net_slice(m->net, classes, rows, count, scores, err);
    struct ms_net_sparse sparse[SLICE_ROWS];
    float *ones = NULL;
    if (m->presence && !(ones = make_ones(rows, count)))
        return no_memory(count, err);
    for (size_t i = 0; i < count; i++)
        sparse[i] =
            (struct ms_net_sparse){rows[i].ids, ones ? ones : rows[i].values, rows[i].count};
    enum ms_status status = MS_OK;
    if (m->kind == MS_MEMBER_TREES)
        status = ms_trees_scores(&m->trees, sparse, count, scores, err);
    if (m->kind == MS_MEMBER_LINEAR)
        ms_linear_scores(&m->linear, sparse, count, scores);
    for (size_t i = 0; m->kind == MS_MEMBER_SHARES && i < count; i++)
        memcpy(scores + i * classes, m->shares, classes * sizeof *scores);
    free(ones);
    return status;
}

enum ms_status ms_member_scores(struct ms_member *self, uint32_t classes,
                                const struct ms_input_row *rows, size_t count, double *scores,
                                struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t at = 0; at < count && status == MS_OK; at += SLICE_ROWS) {
        size_t n = count - at < SLICE_ROWS ? count - at : SLICE_ROWS;
        status = slice(self, classes, rows + at, n, scores + at * classes, err);
    }
    return status;
}

static uint32_t weight_of(const struct ms_member *m)
{
    return m->weight ? m->weight : 1;
}

enum ms_status ms_model_scores(struct ms_model *self, const struct ms_input_row *rows, size_t count,
                               double *scores, struct ms_error *err)
{
    const struct ms_model_parts *p = &self->parts;
    size_t all = count * p->classes;
    enum ms_status status = ms_member_scores(&p->members[0], p->classes, rows, count, scores, err);
    if (status != MS_OK || p->member_count == 1 || count == 0)
        return status;
    double *one = calloc(all, sizeof *one);
    if (!one)
        return no_memory(count, err);
    uint32_t weights = weight_of(&p->members[0]);
    for (size_t i = 0; i < all; i++)
        scores[i] *= weights;
    for (uint32_t m = 1; m < p->member_count && status == MS_OK; m++) {
        uint32_t weight = weight_of(&p->members[m]);
        weights += weight;
        status = ms_member_scores(&p->members[m], p->classes, rows, count, one, err);
        for (size_t i = 0; status == MS_OK && i < all; i++)
            scores[i] += weight * one[i];
    }
    for (size_t i = 0; i < all; i++)
        scores[i] /= weights;
    free(one);
    return status;
}

enum ms_status ms_model_calibrated(struct ms_model *self, const struct ms_input_row *rows,
                                   size_t count, double *scores, struct ms_error *err)
{
    enum ms_status status = ms_model_scores(self, rows, count, scores, err);
    for (size_t i = 0; status == MS_OK && i < count; i++)
        ms_calibration_apply(&self->facts.calibration, scores + i * self->parts.classes,
                             self->parts.classes);
    return status;
}

uint32_t ms_model_decide(const double *scores, uint32_t classes, double threshold)
{
    if (classes == 2)
        return scores[0] >= threshold ? 0 : 1;
    uint32_t best = 0;
    for (uint32_t c = 1; c < classes; c++)
        if (scores[c] > scores[best])
            best = c;
    return best;
}
