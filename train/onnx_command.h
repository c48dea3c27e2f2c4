/* The verb `train onnx`: a model file to an ONNX file. */
#ifndef MS_TRAIN_ONNX_COMMAND_H
#define MS_TRAIN_ONNX_COMMAND_H

#include "base/cli.h"

struct ms_onnx_options {
    const char *output;
};

/* Operand: the model, a file or the folder that holds it. MS_E_USAGE without --output; MS_E_INPUT
 * when it is no model, or of a kind that has no ONNX form; MS_E_IO. Nothing is to be seen under
 * --output until the file is whole. */
enum ms_status ms_onnx_run(struct ms_cli *cli, struct ms_error *err) MS_MUST_USE;

#endif
