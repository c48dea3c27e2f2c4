/* Widths and parameters of a net from its shape, and the article's preset; checks are in
 * config_check.c. */
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

size_t ms_net_config_joined(const struct ms_net_config *self)
{
    return ms_net_config_pooled(self) + (self->wide.size > 0 ? self->wide.units : 0);
}

/* No overflow: every factor is at most 3 * 2 * MS_LIMIT_NET_WIDTH or MS_LIMIT_NET_VOCABULARY, and
 * there are few terms. */
size_t ms_net_config_parameters(const struct ms_net_config *self)
{
    size_t n = (size_t)self->vocabulary * self->embedding;
    for (uint32_t i = 0; i < self->feature_count; i++)
        n += (size_t)self->feature[i].size * self->embedding;
    if (self->wide.size > 0)
        n += ((size_t)self->wide.size + 1) * self->wide.units;
    for (uint32_t i = 0; i < self->recurrent_count; i++) {
        const struct ms_net_recurrent *l = &self->recurrent[i];
        size_t in = ms_net_config_recurrent_input(self, i);
        const size_t biases = l->cell == MS_NET_GRU ? 2 : 1;
        n += (l->bidirectional ? 2u : 1u) * ms_net_config_gates(l) * l->hidden *
             (in + l->hidden + biases);
    }
    if (self->pooling == MS_NET_POOL_ATTENTION)
        n += (ms_net_config_recurrent_input(self, self->recurrent_count) + 2) * self->attention;
    size_t in = ms_net_config_joined(self);
    for (uint32_t i = 0; i < self->dense_count; i++) {
        n += (in + 1) * self->dense[i].units;
        in = self->dense[i].units;
    }
    return n + (in + 1) * self->outputs;
}
