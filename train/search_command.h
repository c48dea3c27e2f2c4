/* train search: the default ensemble's parts chosen anew by nested selection. Reads the corpus and
 * leaves nothing in it. */
#ifndef MS_TRAIN_SEARCH_COMMAND_H
#define MS_TRAIN_SEARCH_COMMAND_H

#include "base/cli.h"

/* Texts that are NULL and numbers that are 0 were not given. */
struct ms_search_options {
    const char *target, *policy, *split, *split_file, *candidates, *copies;
    uint64_t folds, inner, repeats, seeds, epochs;
};

void ms_search_option_defaults(void *options);
enum ms_status ms_search_command(struct ms_cli *cli, struct ms_error *err) MS_MUST_USE;

#endif
