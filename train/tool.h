/* train as a tool: its verbs and their options. */
#ifndef MS_TRAIN_TOOL_H
#define MS_TRAIN_TOOL_H

#include "base/cli.h"

extern const struct ms_tool ms_train_tool;

#endif
