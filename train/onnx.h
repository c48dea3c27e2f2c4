/* Trained models as an ONNX file that other runtimes compute: nets, linear models, boosted
 * trees, and ensembles of them. Reads no file and trains nothing. */
#ifndef MS_TRAIN_ONNX_H
#define MS_TRAIN_ONNX_H

#include "base/buf.h"
#include "train/model.h"

#include <jansson.h>

/* What is exported. The nets of an ensemble have one vocabulary; those that have feature tables
 * have the same; and what reads the sparse vector reads one of the same size. */
struct ms_onnx_request {
    const struct ms_member *members; /* borrowed */
    size_t count;                    /* at least 1; of more the scores are the weighted mean */
    uint32_t classes;
    const json_t *metadata; /* texts, which become the file's metadata; borrowed */
};

/* What the file reads. */
struct ms_onnx_inputs {
    bool steps;               /* tokens and what goes with them: there is a net */
    struct ms_net_config net; /* with steps: a net's shape that has all inputs of the nets; what is
                                 behind the pooling means nothing */
    uint32_t wide;            /* numbers in the sparse vector; 0: it is not read */
};
/* MS_E_INPUT when the members cannot read the same, or one is none of net, linear and trees. */
enum ms_status ms_onnx_inputs(const struct ms_onnx_request *request, struct ms_onnx_inputs *out,
                              struct ms_error *err) MS_MUST_USE;

/* The file (https://onnx.ai/onnx/repo-docs/IR.html), operator set 13, trees as
 * ai.onnx.ml 2. B rows, T steps, S numbers of the sparse vector, C classes:
 *
 *     tokens    int64 [B, T]  of nets: token numbers; what is behind a row's length is not read.
 *                             Without masking T is pad_length, and rows are padded in front with 0
 *     lengths   int64 [B]     steps of each row, 0 .. T; only with masking
 *     featureN  int64 [B, T]  for each feature table an id a step, or -1 for none
 *     wide      float [B, S]  the sparse vector written out, 0 for n-grams a row has not; only with
 *                             a wide branch, a linear part or trees
 *     scores    float [B, C]  as ms_model_scores gives them, before calibration: of one output p
 *                             and 1 - p
 *
 * A step within a row's length whose token is 0 is computed here, where the net leaves it out: no
 * vocabulary gives that number. Dropout is not exported. MS_E_INPUT as ms_onnx_inputs; MS_E_NOMEM;
 * MS_E_LIMIT as ms_onnx_graph_encode. */
enum ms_status ms_onnx_encode(const struct ms_onnx_request *request, struct ms_buf *out,
                              struct ms_error *err) MS_MUST_USE;

#endif
