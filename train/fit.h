/* Trains one net on rows of tokens: epochs, shuffling, learning rate, curves. Chooses no data and
 * writes no file. */
#ifndef MS_TRAIN_FIT_H
#define MS_TRAIN_FIT_H

#include "train/checkpoint.h"
#include "train/model.h"
#include "train/nn/net.h"

#include <stdbool.h>
#include <stdint.h>

/* Rows for training or validation; borrowed. labels are the net's: the class for softmax; for one
 * output 1 is the positive class. */
struct ms_fit_rows {
    const struct ms_input_row *const *rows; /* N */
    const int32_t *labels;                  /* N */
    size_t count;
};

struct ms_fit_options {
    struct ms_net_config config;
    struct ms_input_options inputs; /* how the rows were made */
    struct ms_optimizer optimizer;
    double rate;
    bool cosine;          /* one warm-up epoch, then half a cosine to 2 % of rate; else constant */
    double token_dropout; /* share of tokens shown as unknown in training; 0 without such a token */
    uint32_t epochs;
    uint32_t batch;
    bool by_length; /* batches of rows of similar length */
    /* The net's weights are the mean of those after each of the last quarter of the epochs
     * (Izmailov et al. 2018), at least one. */
    bool average;
    uint32_t patience; /* see ms_fit; 0: all epochs, and the last one's weights */
    uint64_t seed;
    unsigned jobs;
    const char *title; /* for the progress line: static text; NULL: none */
    bool talk;         /* a line an epoch on stderr */
    struct ms_checkpoint
        *checkpoint;            /* keeps the state, and has that of a killed run; NULL: none */
    void (*on_step)(void *ctx); /* after each batch; may be NULL */
    void *step_ctx;
};

struct ms_fit_epoch {
    double loss, accuracy; /* training rows, with dropout, while the net changes */
    double test_loss,
        test_accuracy; /* held-out rows without dropout or smoothing; NAN without rows */
    double rate;       /* of the last step */
    double seconds;
};

/* Trains a new net. epochs_out holds options->epochs records; those that were not run are NAN.
 * `test` may have no rows: its figures are only watched, nothing is chosen by them. With patience p
 * the weights are those of the epoch with the lowest loss on `inner` (rows of the training part
 * that take no part in the training itself), and training ends when p epochs have not lowered it;
 * without, `inner` is NULL. The same options (jobs aside) and rows give the same net. MS_E_LIMIT
 * when loss or gradients stop being finite, with the epoch and what to try; MS_E_INPUT without rows
 * of any kind that is needed. *out is the caller's. */
enum ms_status ms_fit(const struct ms_fit_options *options, const struct ms_fit_rows *train,
                      const struct ms_fit_rows *inner, const struct ms_fit_rows *test,
                      struct ms_fit_epoch *epochs_out, struct ms_net **out,
                      struct ms_error *err) MS_MUST_USE;

/* Loss (without smoothing and weights) and share of right decisions on rows, without dropout. */
enum ms_status ms_fit_judge(struct ms_net *net, const struct ms_fit_rows *rows, double *loss,
                            double *accuracy, struct ms_error *err) MS_MUST_USE;

/* The order of the rows in an epoch: filled with 0 .. count-1, shuffled by (seed, epoch);
 * by_length: in batches of similar lengths, the batches shuffled. A function of its own so that it
 * can be tested. */
enum ms_status ms_fit_order(const struct ms_fit_rows *rows, uint32_t batch, bool by_length,
                            uint64_t seed, uint32_t epoch, uint32_t *order,
                            struct ms_error *err) MS_MUST_USE;

#endif
