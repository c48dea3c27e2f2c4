/* Everything that decides what a training run does: the presets and what the command line changes
 * in them. Plain data; runs nothing. */
#ifndef MS_TRAIN_PLAN_H
#define MS_TRAIN_PLAN_H

#include "base/buf.h"
#include "store/trace/normalise.h"
#include "store/trace/vocabulary.h"
#include "train/checkpoint.h"
#include "train/fit.h"
#include "train/fit_boosted.h"
#include "train/partition.h"
#include "train/parts.h"
#include "train/tuning.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_plan {
    const char *preset;
    enum ms_model_kind kind;
    struct ms_normal_options view;
    bool opcodes;               /* sequences of opcodes, not of calls */
    enum ms_static_use statics; /* what is taken of static features */
    uint64_t min_calls;
    bool one_copy; /* of equal traces one stays */
    enum ms_vocabulary_text text;
    bool unknown;
    uint32_t vocabulary_limit;      /* numbers are below it; 0: none */
    uint32_t vocabulary_rows;       /* calls of fewer training rows are unknown */
    bool count_whole;               /* frequencies of whole traces, not of what the net sees */
    struct ms_input_options inputs; /* of nets; wide: some have the branch (learner.h) */
    struct ms_fit_options fit;      /* config.vocabulary 0: as large as the vocabulary */
    double feature_scale;           /* of every feature table */
    uint32_t parts;                 /* of an ensemble: a set of enum ms_part; see ms_plan_parts */
    bool stands_in; /* the parts are the default of a build that cannot grow trees */
    uint32_t seeds; /* of an ensemble: nets of each shape */
    struct ms_ngram_options linear_ngrams, boost_ngrams;
    double cost; /* C of logistic regression */
    struct ms_boost_options boost;
    bool balanced;       /* classes weigh alike in the loss, however many rows they have */
    bool baselines;      /* train and judge simpler models on the same parts */
    bool one_output_mse; /* the article's head for two classes; else sigmoid */
    struct ms_partition_request split; /* its seed is fit.seed */
    const char *split_file; /* the manifest of the split; NULL: `split` says how to deal one */
    struct ms_tuning_request tuning; /* what is done to the scores after training */
    /* Where the state of the nets' training is kept, and whether a killed run goes on there; NULL:
     * nowhere. Its digests are filled in by the experiment. */
    const struct ms_checkpoint_run *keep;
};

/* article: the net of Catak et al. (PeerJ CS 2020) as its notebook builds it: Keras's
 * Tokenizer(800), the last 100 calls padded in front and not masked, three LSTM(32), RMSprop .001,
 * mse, batch 1000, 10 epochs, hold-out 15 %. More than two classes get a softmax head. default: the
 * ensemble of train/default_ensemble.h; runs collapsed, each distinct call once in order of
 * first occurrence, at most 400; a step is the sum of embeddings (48) of its call, of the
 * logarithms of its run length and of how many runs the call has, and of the hashed 2- and 3-grams
 * that end there; one bidirectional LSTM(64), mean+max+last pooling; hybrid shapes join 64
 * units over the presence of n-grams of 1 to 3 calls, weighted by TF-IDF; AdamW .003 with decay
 * .01, clip 1, smoothing .1, batch 32, one warm-up epoch and a cosine over 20; 5 grouped
 * folds (a hold-out, where one is asked for, is 20 %). The threshold of both is .5; default is
 * calibrated where that costs no further training, article is not. */
void ms_plan_article(struct ms_plan *out);
void ms_plan_default(struct ms_plan *out);
/* The parts of the default ensemble in a build that can grow trees, or cannot. */
uint32_t ms_plan_default_parts(bool boosts);

/* The parts of the plan's ensemble: without a wide branch in the inputs those that have it are left
 * out. */
uint32_t ms_plan_parts(const struct ms_plan *self);
/* Makes the plan one of an ensemble of these parts, with the inputs that they need; what the wide
 * branch and its n-grams are is the same in all plans. */
void ms_plan_take_parts(struct ms_plan *self, uint32_t parts);
/* Gives the plan's single net the wide branch, or takes it. */
void ms_plan_take_wide(struct ms_plan *self, bool wide);

/* What a net of the plan must fit. */
struct ms_plan_shape {
    uint32_t vocabulary;
    uint32_t ngrams; /* of the wide branch; 0: the net has none */
    bool gru;        /* GRU cells in place of LSTM */
    bool pooled;     /* no recurrent layers; pooling that looks at one step becomes the mean */
};

/* Completes the net for a number of classes and a shape. MS_E_INPUT as ms_net_config_check. */
enum ms_status ms_plan_config(const struct ms_plan *self, uint32_t classes, bool binary,
                              const struct ms_plan_shape *shape, struct ms_net_config *out,
                              struct ms_error *err) MS_MUST_USE;

/* One line with everything that decides the numbers (not jobs, names, folders). */
enum ms_status ms_plan_text(const struct ms_plan *self, const char *target, bool shuffled_labels,
                            struct ms_buf *out) MS_MUST_USE;

#endif
