/* Scores of a linear classifier. */
#include "train/model_linear.h"

#include <math.h>
#include <stdlib.h>

enum ms_status ms_linear_make(uint32_t size, uint32_t outputs, struct ms_linear *out,
                              struct ms_error *err)
{
    *out = (struct ms_linear){0};
    if (size == 0 || size > MS_LIMIT_NET_VOCABULARY || outputs == 0 ||
        outputs > MS_LIMIT_NET_CLASSES || (uint64_t)size * outputs > MS_LIMIT_NET_PARAMETERS)
        return ms_error_set(err, MS_E_INPUT,
                            "a linear model of %u features and %u outputs is empty or too large",
                            size, outputs);
    *out = (struct ms_linear){.size = size, .outputs = outputs};
    out->kernel = calloc((size_t)size * outputs, sizeof *out->kernel);
    out->bias = calloc(outputs, sizeof *out->bias);
    if (out->kernel && out->bias)
        return MS_OK;
    ms_linear_release(out);
    return ms_error_set(err, MS_E_NOMEM, "out of memory for a linear model");
}

void ms_linear_release(struct ms_linear *self)
{
    free(self->kernel);
    free(self->bias);
    *self = (struct ms_linear){0};
}

static double sigmoid(double z)
{
    return 1 / (1 + exp(-z));
}

/* O = 1: p and 1 - p. When every class is all but impossible the largest z has all. */
static void to_probabilities(double *z, uint32_t outputs)
{
    if (outputs == 1) {
        double rest = sigmoid(-z[0]); /* not 1 - p: that would round small ones away */
        z[0] = sigmoid(z[0]);
        z[1] = rest;
        return;
    }
    uint32_t best = 0;
    double sum = 0;
    for (uint32_t c = 1; c < outputs; c++)
        best = z[c] > z[best] ? c : best;
    for (uint32_t c = 0; c < outputs; c++) {
        z[c] = sigmoid(z[c]);
        sum += z[c];
    }
    for (uint32_t c = 0; c < outputs; c++)
        z[c] = sum > 0 ? z[c] / sum : c == best;
}

void ms_linear_scores(const struct ms_linear *self, const struct ms_net_sparse *rows, size_t count,
                      double *scores)
{
    size_t outputs = self->outputs, classes = outputs == 1 ? 2 : outputs;
    for (size_t i = 0; i < count; i++) {
        double *z = scores + i * classes;
        for (size_t o = 0; o < outputs; o++)
            z[o] = self->bias[o];
        for (uint32_t k = 0; k < rows[i].count; k++) {
            if (rows[i].ids[k] >= self->size)
                continue;
            const float *w = self->kernel + (size_t)rows[i].ids[k] * outputs;
            for (size_t o = 0; o < outputs; o++)
                z[o] += (double)rows[i].values[k] * (double)w[o];
        }
        to_probabilities(z, self->outputs);
    }
}
