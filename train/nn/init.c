/* Initial weights as Keras draws them; each tensor has a random stream of its own. */
#include "train/nn/private.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

#define PURPOSE_WEIGHTS ((uint64_t)0x77656967 << 32)

static void uniform(struct ms_rng *rng, ms_real *w, size_t n, double limit)
{
    for (size_t i = 0; i < n; i++)
        w[i] = (ms_real)(limit * (2 * ms_rng_unit(rng) - 1));
}

/* Orthonormal rows, H x n: normal random rows, each made orthogonal to those above (modified
 * Gram-Schmidt, twice: once loses orthogonality in floating point) and normalised. In double. */
static void orthogonal(struct ms_rng *rng, size_t H, size_t n, double *q, ms_real *out)
{
    for (size_t r = 0; r < H; r++) {
        double *row = q + r * n;
        for (size_t j = 0; j < n; j++)
            row[j] = ms_rng_normal(rng);
        for (size_t k = 0; k < 2 * r; k++) {
            const double *other = q + (k % r) * n;
            double dot = 0;
            for (size_t j = 0; j < n; j++)
                dot += row[j] * other[j];
            for (size_t j = 0; j < n; j++)
                row[j] -= dot * other[j];
        }
        double square = 0;
        for (size_t j = 0; j < n; j++)
            square += row[j] * row[j];
        for (size_t j = 0; j < n; j++) {
            row[j] /= sqrt(square);
            out[r * n + j] = (ms_real)row[j];
        }
    }
}

static enum ms_status init_recurrent(struct ms_net *self, uint32_t layer, int direction,
                                     struct ms_error *err)
{
    const size_t H = self->config.recurrent[layer].hidden;
    const size_t G = ms_net_config_gates(&self->config.recurrent[layer]) * H;
    const size_t *at = self->recurrent_at[layer][direction];
    double *q = malloc(H * G * sizeof *q);
    if (!q)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a recurrent kernel of %zu units", H);
    struct ms_rng rng;
    ms_rng_init(&rng, self->seed, PURPOSE_WEIGHTS, at[MS_RECURRENT]);
    orthogonal(&rng, H, G, q, self->params + at[MS_RECURRENT]);
    free(q);
    for (size_t j = 0; self->config.recurrent[layer].cell == MS_NET_LSTM && j < H; j++)
        self->params[at[MS_BIAS] + H + j] = 1;
    return MS_OK;
}

enum ms_status ms_net_init_params(struct ms_net *self, struct ms_error *err)
{
    const struct ms_net_config *c = &self->config;
    for (size_t i = 0; i < self->tensor_count; i++) {
        const struct ms_net_tensor *t = &self->tensor[i];
        ms_real *w = self->params + t->offset;
        const size_t n = t->rows * t->columns;
        struct ms_rng rng;
        ms_rng_init(&rng, self->seed, PURPOSE_WEIGHTS, t->offset);
        if (self->init[i] == MS_INIT_GLOROT)
            uniform(&rng, w, n, sqrt(6.0 / (double)(t->rows + t->columns)));
        else if (self->init[i] == MS_INIT_UNIFORM)
            uniform(&rng, w, n, self->init_scale[i]);
        for (size_t k = 0; self->init[i] == MS_INIT_NORMAL && k < n; k++)
            w[k] = (ms_real)(self->init_scale[i] * ms_rng_normal(&rng));
    }
    for (uint32_t l = 0; l < c->recurrent_count; l++)
        for (int d = 0; d < (c->recurrent[l].bidirectional ? 2 : 1); d++) {
            enum ms_status status = init_recurrent(self, l, d, err);
            if (status != MS_OK)
                return status;
        }
    return MS_OK;
}
