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
    MS_NET_POOL_MEAN_MAX_LAST = 3, /* concatenated in this order */
    /* sum of the steps weighted by a softmax over them of v . tanh(h_t W + b) (Bahdanau et al.
     * 2015; Yang et al. 2016), W being width x attention */
    MS_NET_POOL_ATTENTION = 4
};

enum ms_net_cell { MS_NET_LSTM = 0, MS_NET_GRU = 1 };

enum ms_net_head {
    MS_NET_HEAD_MSE =
        0, /* one unbounded output, mean squared error against 0 or 1, decision at .5 */
    MS_NET_HEAD_SOFTMAX = 1, /* cross entropy over `outputs` classes */
    MS_NET_HEAD_SIGMOID = 2  /* one output, binary cross entropy, decision at .5 */
};

/* Gates are sigmoid. An LSTM has input, forget, candidate, output in this order (Keras and
 * PyTorch). A GRU has update, reset, candidate in this order; the reset gate is applied after the
 * recurrent product and the candidate has a recurrent bias of its own (PyTorch; Keras
 * `reset_after`): bias 2 x 3H, the first row the input's. Both dropouts are one mask a sequence,
 * constant over its steps and shared by the gates (Gal and Ghahramani 2016; Keras
 * `implementation=2`). The two directions share the input mask. */
struct ms_net_recurrent {
    uint32_t hidden;                   /* H, units a direction */
    enum ms_net_activation activation; /* of the candidate and of the cell output */
    double input_dropout;              /* rates are in [0, 1) */
    double recurrent_dropout;
    bool bidirectional; /* outputs of the two directions are concatenated: width 2 H */
    enum ms_net_cell cell;
};

/* One more table of embeddings beside the calls': each step has an id below size for it, or -1 for
 * none, and its row is added to the embedding of the step's call. So a step can carry its run
 * length, its count, or the hash of the n-gram that ends there. */
struct ms_net_feature {
    uint32_t size; /* rows of E */
    double scale;  /* drawn from a normal with this standard deviation */
};

/* A branch beside the recurrent one: a sparse vector a sequence through one linear layer, joined to
 * the pooled vector behind it. Its kernel does not decay. */
struct ms_net_wide {
    uint32_t size; /* ids are below it; 0: no branch */
    uint32_t units;
    enum ms_net_activation activation;
    double input_dropout; /* of single ids of a sequence, the others scaled up */
    double dropout;       /* after the activation */
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
    uint32_t feature_count;
    struct ms_net_feature feature[MS_LIMIT_NET_FEATURES];
    double spatial_dropout;   /* whole embedding channels of a sequence (Keras SpatialDropout1D) */
    uint32_t recurrent_count; /* 0: the embedding is pooled without recurrence */
    struct ms_net_recurrent recurrent[MS_LIMIT_NET_RECURRENT];
    /* true: tokens 0 are skipped, sequences keep their own lengths, no padded step is computed; an
     * empty sequence pools to zeros. false: each sequence is padded in front with token 0 to
     * pad_length, and padding is computed like any other token (Keras without masking). */
    bool mask_padding;
    uint32_t pad_length; /* steps of every sequence when mask_padding is false */
    enum ms_net_pooling pooling;
    uint32_t attention; /* units of MS_NET_POOL_ATTENTION; 0 for the others */
    double pool_dropout;
    struct ms_net_wide wide;
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

/* Width of what a recurrent layer reads (its input) and of its output; layer recurrent_count is
 * what the pooling reads. */
size_t ms_net_config_recurrent_input(const struct ms_net_config *self, uint32_t layer);

/* Gates of a cell: 4 for an LSTM, 3 for a GRU. */
size_t ms_net_config_gates(const struct ms_net_recurrent *layer);

/* Width of the pooled vector, and of it with the wide branch joined to it. */
size_t ms_net_config_pooled(const struct ms_net_config *self);
size_t ms_net_config_joined(const struct ms_net_config *self);

/* Elements of the parameter block; only for a config that passed the check. */
size_t ms_net_config_parameters(const struct ms_net_config *self);

#endif
