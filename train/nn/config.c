/* Checks the shape of a net and counts its parameters; holds the article's preset. */
#include "train/nn/config.h"

#include <string.h>

void ms_net_config_article(struct ms_net_config *out)
{
    memset(out, 0, sizeof *out);
    out->vocabulary = 800;
    out->embedding = 300;
    out->embedding_init = MS_NET_EMBEDDING_UNIFORM;
    out->embedding_scale = .05;
    out->spatial_dropout = .1;
    out->recurrent_count = 3;
    for (uint32_t i = 0; i < out->recurrent_count; i++)
        out->recurrent[i] =
            (struct ms_net_recurrent){32, MS_NET_SOFTSIGN, .1, i == 0 ? .1 : 0, false, MS_NET_LSTM};
    out->mask_padding = false;
    out->pad_length = 100;
    out->pooling = MS_NET_POOL_LAST;
    out->dense_count = 3;
    const uint32_t units[3] = {128, 256, 128};
    for (uint32_t i = 0; i < out->dense_count; i++)
        out->dense[i] = (struct ms_net_dense){units[i], MS_NET_SOFTSIGN, .1};
    out->outputs = 1;
    out->head = MS_NET_HEAD_MSE;
}

static bool is_rate(double x)
{
    return x >= 0 && x < 1; /* false for NaN */
}

static bool is_width(uint32_t x)
{
    return x >= 1 && x <= MS_LIMIT_NET_WIDTH;
}

static enum ms_status check_embedding(const struct ms_net_config *c, struct ms_error *err)
{
    if (c->vocabulary < 2 || c->vocabulary > MS_LIMIT_NET_VOCABULARY)
        return ms_error_set(err, MS_E_INPUT, "vocabulary of %u tokens: must be 2 to %d",
                            c->vocabulary, MS_LIMIT_NET_VOCABULARY);
    if (!is_width(c->embedding))
        return ms_error_set(err, MS_E_INPUT, "embedding of width %u: must be 1 to %d", c->embedding,
                            MS_LIMIT_NET_WIDTH);
    if (c->embedding_init != MS_NET_EMBEDDING_UNIFORM &&
        c->embedding_init != MS_NET_EMBEDDING_NORMAL)
        return ms_error_set(err, MS_E_INPUT, "unknown embedding initialiser %d",
                            (int)c->embedding_init);
    if (!(c->embedding_scale > 0 && c->embedding_scale <= 100))
        return ms_error_set(err, MS_E_INPUT, "embedding scale %g: must be over 0 and at most 100",
                            c->embedding_scale);
    if (!is_rate(c->spatial_dropout))
        return ms_error_set(err, MS_E_INPUT, "spatial dropout %g: must be in [0, 1)",
                            c->spatial_dropout);
    if (!c->mask_padding && (c->pad_length < 1 || c->pad_length > MS_LIMIT_NET_STEPS))
        return ms_error_set(err, MS_E_INPUT, "padded length %u: must be 1 to %d", c->pad_length,
                            MS_LIMIT_NET_STEPS);
    return MS_OK;
}

static enum ms_status check_layers(const struct ms_net_config *c, struct ms_error *err)
{
    if (c->recurrent_count > MS_LIMIT_NET_RECURRENT)
        return ms_error_set(err, MS_E_INPUT, "%u recurrent layers: at most %d", c->recurrent_count,
                            MS_LIMIT_NET_RECURRENT);
    for (uint32_t i = 0; i < c->recurrent_count; i++) {
        const struct ms_net_recurrent *l = &c->recurrent[i];
        if (!is_width(l->hidden))
            return ms_error_set(err, MS_E_INPUT,
                                "recurrent layer %u with %u units: must be 1 to %d", i, l->hidden,
                                MS_LIMIT_NET_WIDTH);
        if (l->activation != MS_NET_TANH && l->activation != MS_NET_SOFTSIGN)
            return ms_error_set(err, MS_E_INPUT,
                                "recurrent layer %u: activation must be tanh or softsign", i);
        if (!is_rate(l->input_dropout) || !is_rate(l->recurrent_dropout))
            return ms_error_set(err, MS_E_INPUT, "recurrent layer %u: dropout must be in [0, 1)",
                                i);
    }
    if (c->dense_count > MS_LIMIT_NET_DENSES)
        return ms_error_set(err, MS_E_INPUT, "%u dense layers: at most %d", c->dense_count,
                            MS_LIMIT_NET_DENSES);
    for (uint32_t i = 0; i < c->dense_count; i++) {
        const struct ms_net_dense *d = &c->dense[i];
        if (!is_width(d->units))
            return ms_error_set(err, MS_E_INPUT, "dense layer %u with %u units: must be 1 to %d", i,
                                d->units, MS_LIMIT_NET_WIDTH);
        if ((unsigned)d->activation > MS_NET_SOFTSIGN)
            return ms_error_set(err, MS_E_INPUT, "dense layer %u: unknown activation %d", i,
                                (int)d->activation);
        if (!is_rate(d->dropout))
            return ms_error_set(err, MS_E_INPUT, "dense layer %u: dropout must be in [0, 1)", i);
    }
    return MS_OK;
}

static enum ms_status check_head(const struct ms_net_config *c, struct ms_error *err)
{
    if ((unsigned)c->pooling > MS_NET_POOL_MEAN_MAX_LAST)
        return ms_error_set(err, MS_E_INPUT, "unknown pooling %d", (int)c->pooling);
    if (!is_rate(c->pool_dropout))
        return ms_error_set(err, MS_E_INPUT, "dropout after pooling %g: must be in [0, 1)",
                            c->pool_dropout);
    if ((unsigned)c->head > MS_NET_HEAD_SIGMOID)
        return ms_error_set(err, MS_E_INPUT, "unknown head %d", (int)c->head);
    if (c->head == MS_NET_HEAD_SOFTMAX) {
        if (c->outputs < 2 || c->outputs > MS_LIMIT_NET_CLASSES)
            return ms_error_set(err, MS_E_INPUT, "softmax over %u classes: must be 2 to %d",
                                c->outputs, MS_LIMIT_NET_CLASSES);
    } else if (c->outputs != 1) {
        return ms_error_set(err, MS_E_INPUT, "this head has one output, not %u", c->outputs);
    }
    if (!is_rate(c->label_smoothing))
        return ms_error_set(err, MS_E_INPUT, "label smoothing %g: must be in [0, 1)",
                            c->label_smoothing);
    if (c->head == MS_NET_HEAD_MSE && c->label_smoothing > 0)
        return ms_error_set(err, MS_E_INPUT, "label smoothing does not apply to the mse head");
    bool any = false;
    for (int i = 0; i < MS_LIMIT_NET_CLASSES; i++) {
        double w = c->class_weight[i];
        if (!(w >= 0 && w <= 1e6))
            return ms_error_set(err, MS_E_INPUT, "class weight %g: must be 0 to 1e6", w);
        any = any || w > 0;
    }
    for (uint32_t i = 0; any && i < ms_net_config_classes(c); i++)
        if (!(c->class_weight[i] > 0))
            return ms_error_set(err, MS_E_INPUT, "class %u has no weight while others have one", i);
    return MS_OK;
}

uint32_t ms_net_config_classes(const struct ms_net_config *self)
{
    return self->head == MS_NET_HEAD_SOFTMAX ? self->outputs : 2;
}

size_t ms_net_config_recurrent_input(const struct ms_net_config *self, uint32_t layer)
{
    if (layer == 0)
        return self->embedding;
    const struct ms_net_recurrent *below = &self->recurrent[layer - 1];
    return (size_t)below->hidden * (below->bidirectional ? 2 : 1);
}

size_t ms_net_config_gates(const struct ms_net_recurrent *layer)
{
    return layer->cell == MS_NET_GRU ? 3 : 4;
}

size_t ms_net_config_pooled(const struct ms_net_config *self)
{
    size_t width = ms_net_config_recurrent_input(self, self->recurrent_count);
    return self->pooling == MS_NET_POOL_MEAN_MAX_LAST ? 3 * width : width;
}

/* No overflow: every factor is at most 3 * 2 * MS_LIMIT_NET_WIDTH or MS_LIMIT_NET_VOCABULARY, and
 * there are few terms. */
size_t ms_net_config_parameters(const struct ms_net_config *self)
{
    size_t n = (size_t)self->vocabulary * self->embedding;
    for (uint32_t i = 0; i < self->recurrent_count; i++) {
        const struct ms_net_recurrent *l = &self->recurrent[i];
        size_t in = ms_net_config_recurrent_input(self, i);
        n += (l->bidirectional ? 2u : 1u) * 4 * (size_t)l->hidden * (in + l->hidden + 1);
    }
    size_t in = ms_net_config_pooled(self);
    for (uint32_t i = 0; i < self->dense_count; i++) {
        n += (in + 1) * self->dense[i].units;
        in = self->dense[i].units;
    }
    return n + (in + 1) * self->outputs;
}

/* Shapes that the layers of this state of the tree do not compute. */
static enum ms_status check_known(const struct ms_net_config *c, struct ms_error *err)
{
    bool gru = false;
    for (uint32_t i = 0; i < c->recurrent_count && i < MS_LIMIT_NET_RECURRENT; i++)
        gru = gru || c->recurrent[i].cell != MS_NET_LSTM;
    if (gru || c->feature_count || c->wide.size || c->attention)
        return ms_error_set(err, MS_E_INPUT, "this net has layers that are not supported");
    return MS_OK;
}

enum ms_status ms_net_config_check(const struct ms_net_config *self, struct ms_error *err)
{
    enum ms_status status = check_known(self, err);
    if (status == MS_OK)
        status = check_embedding(self, err);
    if (status == MS_OK)
        status = check_layers(self, err);
    if (status == MS_OK)
        status = check_head(self, err);
    if (status == MS_OK && ms_net_config_parameters(self) > MS_LIMIT_NET_PARAMETERS)
        status = ms_error_set(err, MS_E_INPUT, "a net of %zu parameters: at most %d",
                              ms_net_config_parameters(self), MS_LIMIT_NET_PARAMETERS);
    return status;
}
