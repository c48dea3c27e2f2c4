/* A trained model as one safetensors file, and what it says about a sequence of calls. Needs no
 * corpus and trains nothing. */
#ifndef MS_TRAIN_MODEL_H
#define MS_TRAIN_MODEL_H

#include "base/buf.h"
#include "base/span.h"
#include "store/trace/normalise.h"
#include "store/trace/vocabulary.h"
#include "train/nn/net.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What a model file says beside its numbers. Texts are borrowed by ms_model_encode, owned by the
 * model after ms_model_decode. */
struct ms_model_facts {
    const char *target;             /* malware, class or class=NAME */
    const char *const *class_names; /* C; of two the positive one first */
    uint32_t classes;               /* 2, or the softmax head's outputs */
    struct ms_normal_options view;  /* how calls are normalised before they are numbered */
    uint64_t min_calls;             /* shorter traces get no verdict */
    double threshold;               /* a score at or above it is positive; of two classes only */
    const char *dataset_digest;     /* hexadecimal */
    const char *split_digest;
    const char *settings; /* everything that decided the numbers, one line */
    uint64_t seed;
    const char *version; /* of malseq; ignored by encode */
};

/* The file: 8 bytes little-endian header length, a JSON header, the tensors (safetensors 0.4:
 * https://github.com/huggingface/safetensors#format). Tensors are F32 under the names and in the
 * order of ms_net_tensors, kernels as [rows, columns], biases as [columns], without holes.
 * __metadata__ holds strings: format "malseq-model-1", version, config (JSON), vocabulary (JSON
 * array by token number, reserved ones left out), text, unknown, normalisation, classes (JSON
 * array), target, threshold, min_calls, dataset, split, settings, seed. The same net and facts give
 * the same bytes. MS_E_NOMEM, MS_E_LIMIT. */
enum ms_status ms_model_encode(struct ms_net *net, const struct ms_vocabulary *vocabulary,
                               const struct ms_model_facts *facts, struct ms_buf *out,
                               struct ms_error *err) MS_MUST_USE;

struct ms_model;

/* Reads such a file from any bytes: MS_E_INPUT with the reason when anything is missing, out of
 * bounds, contradictory or not finite. jobs as for ms_net_new. */
enum ms_status ms_model_decode(struct ms_span bytes, unsigned jobs, struct ms_model **out,
                               struct ms_error *err) MS_MUST_USE;
/* The same from a path: the file, or a folder that holds model.safetensors. MS_E_INPUT also when
 * there is none. */
enum ms_status ms_model_open(const char *path, unsigned jobs, struct ms_model **out,
                             struct ms_error *err) MS_MUST_USE;
void ms_model_free(struct ms_model *self);

const struct ms_model_facts *ms_model_facts_get(const struct ms_model *self);
const struct ms_vocabulary *ms_model_vocabulary(const struct ms_model *self);
struct ms_net *ms_model_net(struct ms_model *self);
/* The file's __metadata__: an object of texts. Borrowed. */
const json_t *ms_model_metadata(const struct ms_model *self);

/* Token numbers of a sequence; reused from one sequence to the next. Zeroed before first use, freed
 * by ms_tokens_release. */
struct ms_tokens {
    int32_t *ids;
    size_t n, capacity;
};
void ms_tokens_release(struct ms_tokens *self);

/* Numbers folded call names for a net of this config; what the net cannot take goes from the side
 * that the normalisation cuts. MS_E_NOMEM. */
enum ms_status ms_tokens_make(const struct ms_vocabulary *vocabulary,
                              const struct ms_net_config *config,
                              const struct ms_normal_options *view, const struct ms_span *calls,
                              size_t n, struct ms_tokens *out, struct ms_error *err) MS_MUST_USE;

/* Scores of sequences: C a row, in the order of the classes. Two classes: the net's output p for
 * the first (a probability, or the unbounded number of the mse head) and 1 - p. */
enum ms_status ms_model_scores(struct ms_net *net, uint32_t classes, const struct ms_tokens *rows,
                               size_t count, double *scores, struct ms_error *err) MS_MUST_USE;

/* The class of a row of scores: of two the first when its score reaches the threshold; else the
 * largest, of equals the first. */
uint32_t ms_model_decide(const double *scores, uint32_t classes, double threshold);

#endif
