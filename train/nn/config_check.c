/* Checks the shape of a net, whoever wrote it; builds nothing. */
#include "train/nn/config.h"

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

static enum ms_status check_tables(const struct ms_net_config *c, struct ms_error *err)
{
    if (c->feature_count > MS_LIMIT_NET_FEATURES)
        return ms_error_set(err, MS_E_INPUT, "%u feature tables: at most %d", c->feature_count,
                            MS_LIMIT_NET_FEATURES);
    for (uint32_t i = 0; i < c->feature_count; i++) {
        const struct ms_net_feature *f = &c->feature[i];
        if (f->size < 1 || f->size > MS_LIMIT_NET_VOCABULARY)
            return ms_error_set(err, MS_E_INPUT, "feature table %u of %u rows: must be 1 to %d", i,
                                f->size, MS_LIMIT_NET_VOCABULARY);
        if (!(f->scale > 0 && f->scale <= 100))
            return ms_error_set(err, MS_E_INPUT,
                                "feature table %u: scale %g: must be over 0 and at most 100", i,
                                f->scale);
    }
    const struct ms_net_wide *w = &c->wide;
    if (w->size == 0)
        return MS_OK;
    if (w->size > MS_LIMIT_NET_VOCABULARY)
        return ms_error_set(err, MS_E_INPUT, "wide branch over %u ids: at most %d", w->size,
                            MS_LIMIT_NET_VOCABULARY);
    if (!is_width(w->units))
        return ms_error_set(err, MS_E_INPUT, "wide branch with %u units: must be 1 to %d", w->units,
                            MS_LIMIT_NET_WIDTH);
    if ((unsigned)w->activation > MS_NET_SOFTSIGN)
        return ms_error_set(err, MS_E_INPUT, "wide branch: unknown activation %d",
                            (int)w->activation);
    if (!is_rate(w->input_dropout) || !is_rate(w->dropout))
        return ms_error_set(err, MS_E_INPUT, "wide branch: dropout must be in [0, 1)");
    return MS_OK;
}

static enum ms_status check_recurrent(const struct ms_net_config *c, struct ms_error *err)
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
        if (l->cell != MS_NET_LSTM && l->cell != MS_NET_GRU)
            return ms_error_set(err, MS_E_INPUT, "recurrent layer %u: unknown cell %d", i,
                                (int)l->cell);
        if (l->activation != MS_NET_TANH && l->activation != MS_NET_SOFTSIGN)
            return ms_error_set(err, MS_E_INPUT,
                                "recurrent layer %u: activation must be tanh or softsign", i);
        if (!is_rate(l->input_dropout) || !is_rate(l->recurrent_dropout))
            return ms_error_set(err, MS_E_INPUT, "recurrent layer %u: dropout must be in [0, 1)",
                                i);
    }
    return MS_OK;
}

static enum ms_status check_denses(const struct ms_net_config *c, struct ms_error *err)
{
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

static enum ms_status check_pooling(const struct ms_net_config *c, struct ms_error *err)
{
    if ((unsigned)c->pooling > MS_NET_POOL_ATTENTION)
        return ms_error_set(err, MS_E_INPUT, "unknown pooling %d", (int)c->pooling);
    if (c->pooling == MS_NET_POOL_ATTENTION && !is_width(c->attention))
        return ms_error_set(err, MS_E_INPUT, "attention of %u units: must be 1 to %d", c->attention,
                            MS_LIMIT_NET_WIDTH);
    if (c->pooling != MS_NET_POOL_ATTENTION && c->attention != 0)
        return ms_error_set(err, MS_E_INPUT, "attention of %u units with another pooling",
                            c->attention);
    if (!is_rate(c->pool_dropout))
        return ms_error_set(err, MS_E_INPUT, "dropout after pooling %g: must be in [0, 1)",
                            c->pool_dropout);
    return MS_OK;
}

static enum ms_status check_head(const struct ms_net_config *c, struct ms_error *err)
{
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

enum ms_status ms_net_config_check(const struct ms_net_config *self, struct ms_error *err)
{
    enum ms_status (*const checks[])(const struct ms_net_config *, struct ms_error *) = {
        check_embedding, check_tables, check_recurrent, check_denses, check_pooling, check_head};
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        enum ms_status status = checks[i](self, err);
        if (status != MS_OK)
            return status;
    }
    if (ms_net_config_parameters(self) > MS_LIMIT_NET_PARAMETERS)
        return ms_error_set(err, MS_E_INPUT, "a net of %zu parameters: at most %d",
                            ms_net_config_parameters(self), MS_LIMIT_NET_PARAMETERS);
    return MS_OK;
}
