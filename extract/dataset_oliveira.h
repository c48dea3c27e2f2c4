/* The numbers of Oliveira's "API Call Sequences" as names. */
#ifndef MS_EXTRACT_DATASET_OLIVEIRA_H
#define MS_EXTRACT_DATASET_OLIVEIRA_H

enum { MS_OLIVEIRA_NAMES = 307, MS_OLIVEIRA_CALLS = 100 };

extern const char *const ms_oliveira_names[MS_OLIVEIRA_NAMES];

#endif
