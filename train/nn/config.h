/* The shape of a net as plain data: layers, regularisation, head. Checks it; builds nothing. */
#ifndef MS_TRAIN_NN_CONFIG_H
#define MS_TRAIN_NN_CONFIG_H

#include "base/error.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* linear x; relu max(x, 0); tanh; softsign x / (1 + |x|). An LSTM takes tanh or softsign. */
enum ms_net_activation { MS_NET_LINEAR = 0, MS_NET_RELU = 1, MS_NET_TANH = 2, MS_NET_SOFTSIGN = 3 };

enum ms_net_embedding_init {
    MS_NET_EMBEDDING_UNIFORM = 0, /* uniform in (-scale, scale); Keras: .05 */
    MS_NET_EMBEDDING_NORMAL = 1   /* normal with standard deviation scale */
};

/* How the steps of the last recurrent layer (or of the embedding, without one) become one vector.
 * `last` is the state after the last step, for the backward direction of a bidirectional layer
 * after the first. */
enum ms_net_pooling {
    MS_NET_POOL_LAST = 0,
    MS_NET_POOL_MEAN = 1,
    MS_NET_POOL_MAX = 2,
    MS_NET_POOL_MEAN_MAX_LAST = 3 /* concatenated in this order */
};

enum ms_net_head {
    MS_NET_HEAD_MSE =
        0, /* one unbounded output, mean squared error against 0 or 1, decision at .5 */
    MS_NET_HEAD_SOFTMAX = 1, /* cross entropy over `outputs` classes */
    MS_NET_HEAD_SIGMOID = 2  /* one output, binary cross entropy, decision at .5 */
};

/* Gates are sigmoid, in the order input, forget, candidate, output (Keras and PyTorch). Both
 * dropouts are one mask a sequence, constant over its steps and shared by the four gates (Gal and
 * Ghahramani 2016; Keras `implementation=2`). The two directions share the input mask. */
struct ms_net_lstm {
    uint32_t hidden;                   /* H, units a direction */
    enum ms_net_activation activation; /* of the candidate and of the cell output */
    double input_dropout;              /* rates are in [0, 1) */
    double recurrent_dropout;
    bool bidirectional; /* outputs of the two directions are concatenated: width 2 H */
};

struct ms_net_dense {
    uint32_t units;
    enum ms_net_activation activation;
    double dropout; /* after the activation */
};

struct ms_net_config {
    uint32_t vocabulary; /* V, token ids are 0 .. V-1; 0 is padding */
    uint32_t embedding;  /* E */
    enum ms_net_embedding_init embedding_init;
    double embedding_scale;
    double spatial_dropout; /* whole embedding channels of a sequence (Keras SpatialDropout1D) */
    uint32_t lstm_count;    /* 0: the embedding is pooled without recurrence */
    struct ms_net_lstm lstm[MS_LIMIT_NET_LSTMS];
    /* true: tokens 0 are skipped, sequences keep their own lengths, no padded step is computed; an
     * empty sequence pools to zeros. false: each sequence is padded in front with token 0 to
     * pad_length, and padding is computed like any other token (Keras without masking). */
    bool mask_padding;
    uint32_t pad_length; /* steps of every sequence when mask_padding is false */
    enum ms_net_pooling pooling;
    double pool_dropout;
    uint32_t dense_count;
    struct ms_net_dense dense[MS_LIMIT_NET_DENSES];
    uint32_t outputs; /* C: classes of the softmax head, 1 for the others */
    enum ms_net_head head;
    double label_smoothing; /* e: targets become (1-e) t + e/C (softmax) or (1-e) t + e/2 (sigmoid);
                               not for mse */
    /* A row's loss is multiplied by its class's weight; the sum is divided by the number of rows
     * (Keras). All zero: no weighting. Entries 0 and 1 are the two classes of the heads with one
     * output. */
    double class_weight[MS_LIMIT_NET_CLASSES];
};

/* The net of the article (Catak et al. 2020) as its notebook builds it: Embedding(800, 300),
 * SpatialDropout .1, three LSTM(32, softsign), dense 128-256-128 softsign, one linear output with
 * mse, 100 steps without masking. 369,537 parameters. */
void ms_net_config_article(struct ms_net_config *out);

/* MS_E_INPUT with the reason when a net cannot be built from it: a zero or too large dimension, a
 * rate outside [0, 1), an unknown enumerator, a head that does not fit the outputs, more parameters
 * than MS_LIMIT_NET_PARAMETERS. */
enum ms_status ms_net_config_check(const struct ms_net_config *self,
                                   struct ms_error *err) MS_MUST_USE;

/* Number of labels a training row may carry: outputs for softmax, 2 otherwise. */
uint32_t ms_net_config_classes(const struct ms_net_config *self);

/* Width of what a recurrent layer reads (its input) and of its output; layer lstm_count is what the
 * pooling reads. */
size_t ms_net_config_lstm_input(const struct ms_net_config *self, uint32_t layer);

/* Width of the pooled vector. */
size_t ms_net_config_pooled(const struct ms_net_config *self);

/* Elements of the parameter block; only for a config that passed the check. */
size_t ms_net_config_parameters(const struct ms_net_config *self);

#endif
