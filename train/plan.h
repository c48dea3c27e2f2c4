/* Everything that decides what a training run does: the presets and what the command line changes
 * in them. Plain data; runs nothing. */
#ifndef MS_TRAIN_PLAN_H
#define MS_TRAIN_PLAN_H

#include "base/buf.h"
#include "store/trace/normalise.h"
#include "store/trace/vocabulary.h"
#include "train/fit.h"
#include "train/partition.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_plan {
    const char *preset;
    struct ms_normal_options view;
    uint64_t min_calls;
    enum ms_vocabulary_text text;
    bool unknown;
    uint32_t vocabulary_limit;         /* numbers are below it; 0: none */
    uint32_t vocabulary_rows;          /* calls of fewer training rows are unknown */
    bool count_whole;                  /* frequencies of whole traces, not of what the net sees */
    struct ms_fit_options fit;         /* config.vocabulary 0: as large as the vocabulary */
    bool one_output_mse;               /* the article's head for two classes; else sigmoid */
    struct ms_partition_request split; /* its seed is fit.seed */
    const char *split_file; /* the manifest of the split; NULL: `split` says how to deal one */
    double threshold;
};

/* article: the net of Catak et al. (PeerJ CS 2020) as its notebook builds it: Keras's
 * Tokenizer(800), the last 100 calls padded in front and not masked, three LSTM(32), RMSprop .001,
 * mse, batch 1000, 10 epochs, hold-out 15 %. More than two classes get a softmax head. default:
 * runs collapsed, each distinct call once in order of first occurrence, at most 400; embedding 48,
 * one bidirectional LSTM(64), mean+max+last pooling, AdamW .003 with decay .01, clip 1, smoothing
 * .1, batch 32, one warm-up epoch and a cosine over 20, hold-out 20 %. */
void ms_plan_article(struct ms_plan *out);
void ms_plan_default(struct ms_plan *out);

/* Completes the net for a number of classes and a vocabulary size. MS_E_INPUT as
 * ms_net_config_check. */
enum ms_status ms_plan_config(const struct ms_plan *self, uint32_t classes, bool binary,
                              uint32_t vocabulary, struct ms_net_config *out,
                              struct ms_error *err) MS_MUST_USE;

/* One line with everything that decides the numbers (not jobs, names, folders). */
enum ms_status ms_plan_text(const struct ms_plan *self, const char *target, bool shuffled_labels,
                            struct ms_buf *out) MS_MUST_USE;

#endif
