/* Checks what a caller hands to the net: every token, id, value and label, before anything is
 * computed from it. */
#include "train/nn/private.h"

#include <math.h>

static enum ms_status check_tokens(const struct ms_net_config *c, const struct ms_net_batch *batch,
                                   size_t r, struct ms_error *err)
{
    const uint32_t longest = c->mask_padding ? MS_LIMIT_NET_STEPS : c->pad_length;
    const uint32_t n = batch->lengths[r];
    if (n > longest)
        return ms_error_set(err, MS_E_INPUT, "sequence %zu has %u tokens: at most %u", r, n,
                            longest);
    for (uint32_t i = 0; i < n; i++) {
        int32_t token = batch->tokens[r][i];
        if (token < 0 || (uint32_t)token >= c->vocabulary)
            return ms_error_set(err, MS_E_INPUT,
                                "sequence %zu: token %d at %u is outside the vocabulary of %u", r,
                                token, i, c->vocabulary);
    }
    return MS_OK;
}

static enum ms_status check_features(const struct ms_net_config *c,
                                     const struct ms_net_batch *batch, size_t r,
                                     struct ms_error *err)
{
    const uint32_t F = c->feature_count;
    for (uint32_t i = 0; i < batch->lengths[r]; i++)
        for (uint32_t f = 0; f < F; f++) {
            int32_t id = batch->features[r][(size_t)i * F + f];
            if (id < -1 || id >= (int32_t)c->feature[f].size)
                return ms_error_set(err, MS_E_INPUT,
                                    "sequence %zu: id %d at %u is outside feature table %u of %u",
                                    r, id, i, f, c->feature[f].size);
        }
    return MS_OK;
}

static enum ms_status check_wide(const struct ms_net_config *c, const struct ms_net_batch *batch,
                                 size_t r, struct ms_error *err)
{
    const struct ms_net_sparse *s = &batch->wide[r];
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->ids[i] >= c->wide.size)
            return ms_error_set(err, MS_E_INPUT,
                                "sequence %zu: sparse id %u is outside the wide branch's %u", r,
                                s->ids[i], c->wide.size);
        if (i > 0 && s->ids[i] <= s->ids[i - 1])
            return ms_error_set(err, MS_E_INPUT, "sequence %zu: sparse ids do not rise at %u", r,
                                i);
        if (!isfinite(s->values[i]))
            return ms_error_set(err, MS_E_INPUT,
                                "sequence %zu: the value of sparse id %u is not finite", r,
                                s->ids[i]);
    }
    return MS_OK;
}

static enum ms_status check_row(const struct ms_net_config *c, const struct ms_net_batch *batch,
                                size_t r, struct ms_error *err)
{
    enum ms_status status = check_tokens(c, batch, r, err);
    if (status == MS_OK && c->feature_count > 0)
        status = check_features(c, batch, r, err);
    if (status == MS_OK && c->wide.size > 0)
        status = check_wide(c, batch, r, err);
    return status;
}

enum ms_status ms_batch_check(const struct ms_net *self, const struct ms_net_batch *batch,
                              bool labelled, struct ms_error *err)
{
    const struct ms_net_config *c = &self->config;
    if (batch->rows < 1 || batch->rows > MS_LIMIT_NET_ROWS)
        return ms_error_set(err, MS_E_INPUT, "a batch of %zu sequences: must be 1 to %d",
                            batch->rows, MS_LIMIT_NET_ROWS);
    if (labelled && !batch->labels)
        return ms_error_set(err, MS_E_INPUT, "a batch without labels cannot be trained on");
    if (c->feature_count > 0 && !batch->features)
        return ms_error_set(err, MS_E_INPUT, "a batch without the ids of the feature tables");
    if (c->wide.size > 0 && !batch->wide)
        return ms_error_set(err, MS_E_INPUT, "a batch without the wide branch's sparse vectors");
    for (size_t r = 0; r < batch->rows; r++) {
        enum ms_status status = check_row(c, batch, r, err);
        if (status != MS_OK)
            return status;
        if (labelled &&
            (batch->labels[r] < 0 || (uint32_t)batch->labels[r] >= ms_net_config_classes(c)))
            return ms_error_set(err, MS_E_INPUT, "sequence %zu: label %d of %u classes", r,
                                batch->labels[r], ms_net_config_classes(c));
    }
    return MS_OK;
}
