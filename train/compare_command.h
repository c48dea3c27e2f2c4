/* The verb `train compare`: two models of a corpus that were judged on the same split. */
#ifndef MS_TRAIN_COMPARE_COMMAND_H
#define MS_TRAIN_COMPARE_COMMAND_H

#include "base/cli.h"

/* Operands: two models, each NAME, or NAME:ENTRY for a baseline that was judged beside it
 * ("first:linear"). Reads models/NAME/predictions.jsonl. MS_E_INPUT when there is none, or when the
 * two were not judged on the same split, rows and classes. */
enum ms_status ms_compare_run(struct ms_cli *cli, struct ms_error *err) MS_MUST_USE;

#endif
