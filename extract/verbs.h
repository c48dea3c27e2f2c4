/* The verbs of extract, each defined in the file of its name unless said. */
#ifndef MS_EXTRACT_VERBS_H
#define MS_EXTRACT_VERBS_H

#include "base/cli.h"

extern const struct ms_verb ms_extract_detonate_verb;
extern const struct ms_verb ms_extract_retry_verb;
extern const struct ms_verb ms_extract_import_verb;
extern const struct ms_verb ms_extract_dataset_verb;
extern const struct ms_verb ms_extract_opcodes_verb;
extern const struct ms_verb ms_extract_show_verb;

#endif
