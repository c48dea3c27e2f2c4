/* A trained model as one safetensors file, and what it says about a sequence of calls. Needs no
 * corpus and trains nothing. */
#ifndef MS_TRAIN_MODEL_H
#define MS_TRAIN_MODEL_H

#include "base/buf.h"
#include "base/span.h"
#include "store/trace/normalise.h"
#include "store/trace/vocabulary.h"
#include "train/model_calibration.h"
#include "train/model_inputs.h"
#include "train/model_linear.h"
#include "train/model_statics.h"
#include "train/model_trees.h"
#include "train/nn/net.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What a model is, as --kind says it. pooled and majority are baselines: a net without recurrence,
 * and the shares of the classes whatever the trace. */
enum ms_model_kind {
    MS_MODEL_LSTM,
    MS_MODEL_GRU,
    MS_MODEL_LINEAR,
    MS_MODEL_BOOSTED,
    MS_MODEL_ENSEMBLE,
    MS_MODEL_POOLED,
    MS_MODEL_MAJORITY,
    MS_MODEL_KINDS
};
/* "lstm", "gru", "linear", "boosted", "ensemble", "pooled", "majority"; static. And back:
 * MS_E_INPUT when it is none. */
const char *ms_model_kind_name(enum ms_model_kind kind);
enum ms_status ms_model_kind_parse(const char *text, enum ms_model_kind *out,
                                   struct ms_error *err) MS_MUST_USE;

/* One of the things that a model asks; what is not of its kind is zero. A model takes the mean of
 * its members' probabilities, each counted as often as its weight says. */
enum ms_member_kind { MS_MEMBER_NET, MS_MEMBER_LINEAR, MS_MEMBER_TREES, MS_MEMBER_SHARES };
struct ms_member {
    enum ms_member_kind kind;
    uint32_t weight; /* at most MS_LIMIT_MODEL_MEMBERS; 0 counts as 1 */
    bool presence;   /* linear, trees: every value of a row counts as 1 */
    struct ms_net *net;
    struct ms_linear linear;
    struct ms_trees trees;
    double *shares; /* C: what it says of every row */
};
void ms_member_release(struct ms_member *self);

/* What a model is made of: owned by it, and freed with free. */
struct ms_model_parts {
    enum ms_model_kind kind;
    uint32_t classes;               /* C */
    struct ms_input_options inputs; /* how rows are made, the same for all members */
    enum ms_normal_cut cut;
    struct ms_vocabulary *vocabulary;
    struct ms_ngrams *ngrams; /* NULL when inputs.ngrams.max_n is 0 */
    struct ms_member *members;
    uint32_t member_count; /* 1 .. MS_LIMIT_MODEL_MEMBERS */
};

void ms_model_parts_release(struct ms_model_parts *self);

struct ms_model;

/* Takes the parts over, also when it fails, and leaves them empty. MS_E_INPUT when a member does
 * not fit the classes or the inputs, MS_E_NOMEM. */
enum ms_status ms_model_new(struct ms_model_parts *parts, struct ms_model **out,
                            struct ms_error *err) MS_MUST_USE;
void ms_model_free(struct ms_model *self);

/* Borrowed. */
const struct ms_model_parts *ms_model_parts_get(const struct ms_model *self);
const struct ms_vocabulary *ms_model_vocabulary(const struct ms_model *self);

/* How rows for this model are made; borrows from it. */
void ms_model_recipe(const struct ms_model *self, struct ms_input_recipe *out);

/* Trained numbers: weights of nets and linear models, nodes of trees. */
uint64_t ms_model_parameters(const struct ms_model *self);

/* C scores a row, in the order of the classes: probabilities, or for a net with the mse head an
 * unbounded number p and 1 - p. The last bits of a row may depend on the rows beside it (see
 * ms_net_predict). MS_E_NOMEM; MS_E_INPUT for rows that were made for another model. Not for two
 * threads at once. */
enum ms_status ms_model_scores(struct ms_model *self, const struct ms_input_row *rows, size_t count,
                               double *scores, struct ms_error *err) MS_MUST_USE;
/* The same of a model with facts, calibrated as these say: what its threshold and its band of doubt
 * are compared with, wherever it judges. */
enum ms_status ms_model_calibrated(struct ms_model *self, const struct ms_input_row *rows,
                                   size_t count, double *scores, struct ms_error *err) MS_MUST_USE;
/* As ms_model_scores, of one member alone. */
enum ms_status ms_member_scores(struct ms_member *self, uint32_t classes,
                                const struct ms_input_row *rows, size_t count, double *scores,
                                struct ms_error *err) MS_MUST_USE;

/* The class of a row of scores: of two the first when its score reaches the threshold; else the
 * largest, of equals the first. */
uint32_t ms_model_decide(const double *scores, uint32_t classes, double threshold);

/* What a model file says beside its numbers. Texts are borrowed by ms_model_encode, owned by the
 * model after ms_model_decode. */
struct ms_model_facts {
    const char *target;                /* malware, class or class=NAME */
    const char *const *class_names;    /* C; of two the positive one first */
    uint32_t classes;                  /* 2, or the softmax head's outputs */
    struct ms_normal_options view;     /* how calls are normalised before they are numbered */
    bool opcodes;                      /* its calls are opcodes */
    enum ms_static_use statics;        /* what it takes of a sample's static features */
    uint64_t min_calls;                /* shorter traces get no verdict */
    double threshold;                  /* a score at or above it is positive; of two classes only */
    struct ms_calibration calibration; /* of scores, before they are compared with anything */
    /* Scores of the positive class (of several the largest) from … to before … are no verdict;
     * equal: none. */
    double unknown_from, unknown_to;
    const char *dataset_digest; /* hexadecimal */
    const char *split_digest;
    const char *settings; /* everything that decided the numbers, one line */
    uint64_t seed;
    const char *version; /* of malseq; ignored by encode */
};

/* The file: 8 bytes little-endian header length, a JSON header, the tensors (safetensors 0.4:
 * https://github.com/huggingface/safetensors#format) in the order in which they are named here,
 * without holes. Of each member, with "memberN." in front when there are several: of a net those of
 * ms_net_tensors, F32, kernels as [rows, columns], biases as [columns]; of a linear model
 * linear.kernel F32 [D, O] and linear.bias F32 [O]; of trees trees.start I32 [T + 1], trees.output
 * I32 [T], trees.feature, trees.right, trees.absent I32 [N], trees.value F32 [N]. Then, with
 * n-grams, ngrams.calls I32 [n, 3] (places in the metadata's list, -1 behind the last) and
 * ngrams.weight F32 [n]. __metadata__ holds strings: format "malseq-model-2", version, kind,
 * members (JSON array: of a net {"member":"net", "config":...}; of the others also "presence":true
 * and "weight":N where they have them), inputs, vocabulary (JSON array by token number, reserved
 * ones left out), text, unknown, ngrams (how many) and ngram_calls (JSON array),
 * sequence (api, opcode) and static (no, joined, alone; where they are missing api and no),
 * normalisation,
 * classes (JSON array), target, threshold, calibration (as ms_calibration_text; without it none),
 * unknown_band ("none" or "LOW:HIGH"; without it none), min_calls, dataset, split, settings, seed.
 * The same model and facts give the same bytes. MS_E_INPUT for a kind that has no file (majority),
 * MS_E_NOMEM, MS_E_LIMIT. */
enum ms_status ms_model_encode(struct ms_model *self, const struct ms_model_facts *facts,
                               struct ms_buf *out, struct ms_error *err) MS_MUST_USE;

/* Reads such a file from any bytes: MS_E_INPUT with the reason when anything is missing, out of
 * bounds, contradictory or not finite. No library but the JSON reader sees what is in it. jobs as
 * for ms_net_new. */
enum ms_status ms_model_decode(struct ms_span bytes, unsigned jobs, struct ms_model **out,
                               struct ms_error *err) MS_MUST_USE;
/* The same from a path: the file, or a folder that holds model.safetensors. MS_E_INPUT also when
 * there is none, or it is no regular file (a pipe, a device). */
enum ms_status ms_model_open(const char *path, unsigned jobs, struct ms_model **out,
                             struct ms_error *err) MS_MUST_USE;

/* The same in two steps, for a caller who has use for the facts while the numbers are being read.
 * *out is the caller's to finish or to close; its facts, borrowed from it, are what the model's
 * will be. What is opened is what is read, whatever becomes of the path meanwhile; nothing of the
 * file is looked at again once it has been read. MS_E_INPUT, MS_E_NOMEM. */
struct ms_model_file;
enum ms_status ms_model_file_open(const char *path, struct ms_model_file **out,
                                  struct ms_error *err) MS_MUST_USE;
const struct ms_model_facts *ms_model_file_facts(const struct ms_model_file *self);
/* Closes it, also when it fails; the facts live on in the model. */
enum ms_status ms_model_file_finish(struct ms_model_file *self, unsigned jobs,
                                    struct ms_model **out, struct ms_error *err) MS_MUST_USE;
void ms_model_file_close(struct ms_model_file *self);

/* Of a model that was read from a file. */
const struct ms_model_facts *ms_model_facts_get(const struct ms_model *self);
/* Its __metadata__: an object of texts. Borrowed. */
const json_t *ms_model_metadata(const struct ms_model *self);

#endif
