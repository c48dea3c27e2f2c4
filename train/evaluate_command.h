/* The verb `train evaluate`: an existing model judged on labelled traces that it was not trained
 * on. */
#ifndef MS_TRAIN_EVALUATE_COMMAND_H
#define MS_TRAIN_EVALUATE_COMMAND_H

#include "base/cli.h"

struct ms_evaluate_options {
    const char *policy;
};

/* Operand: a model's folder (model.safetensors with its split.jsonl). Every labelled trace of the
 * corpus is judged that neither trained it nor has the sequence of one that did; there is no way to
 * have the others judged. MS_E_INPUT when the folder has no split, or no trace is left. */
enum ms_status ms_evaluate_run(struct ms_cli *cli, struct ms_error *err) MS_MUST_USE;

#endif
