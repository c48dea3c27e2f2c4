/* A net: embedding, recurrent layers, pooling, wide branch, dense layers, head; training by batches
 * and prediction. No files, no epochs, no data handling. */
#ifndef MS_TRAIN_NN_NET_H
#define MS_TRAIN_NN_NET_H

#include "train/nn/config.h"
#include "train/nn/optimizer.h"
#include "train/nn/real.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ms_net;

/* A sparse vector: ids below the wide branch's size in rising order, each once. */
struct ms_net_sparse {
    const uint32_t *ids;
    const float *values;
    uint32_t count;
};

/* Sequences borrowed for the length of a call. Tokens outside 0 .. V-1, labels outside the classes,
 * sequences longer than MS_LIMIT_NET_STEPS (or, without masking, than pad_length) and more than
 * MS_LIMIT_NET_ROWS rows are refused with MS_E_INPUT before anything else happens; the message
 * names the row. */
struct ms_net_batch {
    size_t rows;                  /* B, at least 1 */
    const int32_t *const *tokens; /* B pointers to lengths[i] ids; ignored for an empty sequence */
    const uint32_t *lengths;      /* B; 0 is allowed */
    const int32_t *labels;        /* B: class, or 0 and 1; NULL for prediction */
    /* B pointers to lengths[i] x F ids of the feature tables, step by step; an id is -1 (none) or
     * below its table's size. NULL without feature tables. Padding in front has none. */
    const int32_t *const *features;
    const struct ms_net_sparse *wide; /* B; NULL without a wide branch */
};

struct ms_net_result {
    double loss;      /* mean over the rows, class weights and smoothing included */
    size_t correct;   /* rows whose decision is the label (dropout as in the pass) */
    double grad_norm; /* global norm before clipping */
};

/* A named part of the parameter block, row-major rows x columns (a bias has one row). Kernels are
 * input x output; the columns of recurrent tensors are the gates in the order of config.h, each H
 * wide; a GRU's bias has two rows. Names, in this order: embedding, featureN, wide.kernel,
 * {lstm|gru}N[.forward|.backward].{kernel,recurrent,bias}, attention.{kernel,bias,vector},
 * wide.bias, denseN.{kernel,bias}, output.{kernel,bias}. */
struct ms_net_tensor {
    char name[40];
    size_t rows, columns;
    size_t offset; /* elements from the start of the block */
    bool decays;   /* weight decay applies: everything but biases and wide.kernel */
};

/* Everything a checkpoint needs besides config, optimiser and seed. moment1 is NULL for RMSprop;
 * both are NULL before an optimiser is set. */
struct ms_net_state {
    size_t count; /* elements of each block */
    const ms_real *params;
    const ms_real *moment1;
    const ms_real *moment2;
    uint64_t step; /* optimiser steps done; also numbers the dropout masks */
};

/* A net with Keras's initial weights: glorot uniform kernels, orthogonal recurrent kernels (the
 * four gates as one H x 4H matrix with orthonormal rows), zero biases with 1 for the forget gate.
 * `seed` fixes weights and dropout; results do not depend on jobs, bit for bit, on one kind of
 * processor. jobs (1 .. MS_LIMIT_NET_JOBS) is the number of threads; above 1 they are created here,
 * pinned to processors this process may use, and live as long as the net; 1 computes in the calling
 * thread. The config is copied. Errors: MS_E_INPUT (bad config or jobs), MS_E_NOMEM, MS_E_IO (no
 * thread). */
enum ms_status ms_net_new(const struct ms_net_config *config, uint64_t seed, unsigned jobs,
                          struct ms_net **out, struct ms_error *err) MS_MUST_USE;
/* The same with all parameters zero, for a model file to fill in: drawing orthogonal kernels costs
 * time that grows with the cube of the units. */
enum ms_status ms_net_new_blank(const struct ms_net_config *config, uint64_t seed, unsigned jobs,
                                struct ms_net **out, struct ms_error *err) MS_MUST_USE;
/* A net over numbers that are the caller's: ms_net_config_parameters of them, which outlive the net
 * and may lie anywhere that is aligned for one. It predicts; it cannot be trained or exchange its
 * parameters. */
enum ms_status ms_net_new_placed(const struct ms_net_config *config, ms_real *params, unsigned jobs,
                                 struct ms_net **out, struct ms_error *err) MS_MUST_USE;
void ms_net_free(struct ms_net *self);

const struct ms_net_config *ms_net_config_get(const struct ms_net *self);
const struct ms_net_tensor *ms_net_tensors(const struct ms_net *self, size_t *count);

/* The blocks, borrowed until the net is freed or its parameters are exchanged with an average;
 * `params` may be written between calls (tests, model file). Gradients are those of the last
 * ms_net_loss_grad or ms_net_train_batch (before clipping).
 */
ms_real *ms_net_params(struct ms_net *self);
const ms_real *ms_net_grads(const struct ms_net *self);
size_t ms_net_param_count(const struct ms_net *self);

/* Chooses the optimiser, zeroes its moments and the step counter. */
enum ms_status ms_net_set_optimizer(struct ms_net *self, const struct ms_optimizer *optimizer,
                                    struct ms_error *err) MS_MUST_USE;

/* One step: forward with dropout, loss, backward, update with learning rate `rate` (the caller's
 * schedule). When loss or gradient is not finite no parameter changes and MS_E_LIMIT says so. Other
 * errors: MS_E_INPUT (batch, or no optimiser), MS_E_NOMEM; they too leave the parameters alone. */
enum ms_status ms_net_train_batch(struct ms_net *self, const struct ms_net_batch *batch,
                                  double rate, struct ms_net_result *out,
                                  struct ms_error *err) MS_MUST_USE;

/* Loss and gradients without a step; `dropout` on or off, its masks those of step `mask_step`. */
enum ms_status ms_net_loss_grad(struct ms_net *self, const struct ms_net_batch *batch, bool dropout,
                                uint64_t mask_step, struct ms_net_result *out,
                                struct ms_error *err) MS_MUST_USE;

/* B x C outputs without dropout: probabilities for softmax and sigmoid, the raw number for mse. The
 * last bits of a row may depend on the rows beside it (matrix products round by shape), never on
 * jobs. A net is not for use by two threads at once. */
enum ms_status ms_net_predict(struct ms_net *self, const struct ms_net_batch *batch,
                              ms_real *outputs, struct ms_error *err) MS_MUST_USE;

/* Borrows the state for a checkpoint until the next call that changes the net; and copies one back
 * (blocks that are NULL are left as they are). MS_E_INPUT when the count is not this net's, a
 * moment is given that its optimiser has not, or a number is not finite. */
void ms_net_state_get(const struct ms_net *self, struct ms_net_state *out);
enum ms_status ms_net_state_set(struct ms_net *self, const struct ms_net_state *state,
                                struct ms_error *err) MS_MUST_USE;

/* A running average of the parameters, in a block of its own of the same size. Each state added has
 * weight max(1 - decay, 1 / number of states so far): the plain mean of all states at decay 1 (tail
 * averaging, when adding starts late), below it the mean of the first 1 / (1 - decay) and then an
 * exponential average, without a start that weighs too much. The average belongs to the caller and
 * may outlive the net. */
struct ms_net_average;

/* decay 0 to 1. Errors: MS_E_INPUT, MS_E_NOMEM. */
enum ms_status ms_net_average_new(const struct ms_net *net, double decay,
                                  struct ms_net_average **out, struct ms_error *err) MS_MUST_USE;
void ms_net_average_free(struct ms_net_average *self);
uint64_t ms_net_average_states(const struct ms_net_average *self);

/* Adds the net's parameters as they are now, by the net's threads: once a step or once an epoch.
 * MS_E_INPUT for a net of another size, or while the two are exchanged. */
enum ms_status ms_net_average_add(struct ms_net_average *self, struct ms_net *net,
                                  struct ms_error *err) MS_MUST_USE;

/* Exchanges the net's parameters with the average, in no time: to judge the average, and then,
 * exchanged once more, to train on; or, with the average freed afterwards, to keep it. Pointers
 * from ms_net_params are void then; training, a checkpoint and moments mean the net's own
 * parameters, so none of them while exchanged. MS_E_INPUT for another size, or when nothing was
 * added yet. */
enum ms_status ms_net_average_exchange(struct ms_net_average *self, struct ms_net *net,
                                       struct ms_error *err) MS_MUST_USE;

#endif
