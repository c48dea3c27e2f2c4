/* The option table of train search. */
#ifndef MS_TRAIN_SEARCH_OPTIONS_H
#define MS_TRAIN_SEARCH_OPTIONS_H

#include "base/cli.h"

enum { MS_SEARCH_OPTIONS = 11 };
extern const struct ms_option ms_search_option_table[MS_SEARCH_OPTIONS];

#endif
