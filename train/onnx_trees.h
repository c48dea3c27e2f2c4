/* Boosted trees as an operator of ONNX. Knows no net. */
#ifndef MS_TRAIN_ONNX_TREES_H
#define MS_TRAIN_ONNX_TREES_H

#include "train/model_trees.h"
#include "train/onnx_graph.h"

/* x: float B x D, NaN for a feature that a row has not. Gives float B x O, the sum of the leaves
 * for each output: a TreeEnsembleRegressor of ai.onnx.ml
 * (https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html). */
ms_onnx_value ms_onnx_trees(struct ms_onnx_graph *g, const struct ms_trees *trees, ms_onnx_value x);

#endif
