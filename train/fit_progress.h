/* How far the training of a net has come, kept and taken up again. Used by train/fit.c and its
 * tests. */
#ifndef MS_TRAIN_FIT_PROGRESS_H
#define MS_TRAIN_FIT_PROGRESS_H

#include "train/checkpoint.h"
#include "train/fit.h"

/* Everything that changes during a training, but for what the net holds. Nothing random is in it:
 * every draw is numbered by seed, epoch and step. */
struct ms_fit_progress {
    uint64_t epoch; /* epochs that are over */
    uint64_t row;   /* rows of the next one that are done */
    uint64_t step;  /* batches in all */
    uint64_t right; /* of the rows of that epoch, as is loss: their sum */
    double loss;
    double *sum; /* of the weights to be averaged; NULL: no averaging */
    uint64_t summed;
    float *best; /* weights of the lowest inner loss; NULL: no early stopping */
    double best_loss;
    uint64_t best_epoch;
    struct ms_fit_epoch *curve; /* options->epochs */
    /* what follows is for the functions below */
    const struct ms_fit_options *options;
    size_t rows;
    struct ms_net *net;
    uint8_t key[MS_SHA256_BYTES];
    int64_t saved_ms;
};

/* After the other members were set, as for a training that begins: takes up what the checkpoints of
 * the options hold of this training. *finished: the net has its last weights, nothing is left to
 * do. Nothing happens without checkpoints. Errors of ms_checkpoint_load; MS_E_INPUT when the
 * numbers are none of such a training. */
enum ms_status ms_fit_progress_begin(struct ms_fit_progress *self, const struct ms_fit_rows *train,
                                     const struct ms_fit_rows *inner,
                                     const struct ms_fit_rows *test, bool *finished,
                                     struct ms_error *err) MS_MUST_USE;

/* Between two batches, after an epoch (when whether to go on is decided), and when the net has its
 * last weights: writes a checkpoint when one is due. */
void ms_fit_progress_keep(struct ms_fit_progress *self, bool epoch_ended, bool finished);

#endif
