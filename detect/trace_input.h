/* A trace that was read, as what a model's input is made of. Makes no input. */
#ifndef MS_DETECT_TRACE_INPUT_H
#define MS_DETECT_TRACE_INPUT_H

#include "detect/reader.h"
#include "train/model_inputs.h"

/* Borrowed from the trace. */
struct ms_gram_table ms_read_trace_table(const struct ms_read_trace *self);
struct ms_input_trace ms_read_trace_input(const struct ms_read_trace *self);

#endif
