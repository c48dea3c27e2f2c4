/* Counts of what a corpus holds, for malseq status. */
#ifndef MS_STORE_CENSUS_H
#define MS_STORE_CENSUS_H

#include "store/corpus.h"

#include <stdint.h>

/* One count: section and name are words of ours or values of the corpus (a policy, a sandbox: not
 * escaped), borrowed for the call. Counts of a section come together, by name. */
typedef enum ms_status (*ms_census_visit)(void *ctx, const char *section, const char *name,
                                          int64_t value, struct ms_error *err);

/* Visits every count: samples, origins by state, blobs by outcome, look-ups by state, current
 * labels by policy and verdict, classes of them, analyses by state, processes and calls, models,
 * runs by tool and those never ended, and for each key (its print) the requests that counted since
 * UTC midnight before now_ms, with what the service allows where that is known. */
enum ms_status ms_census_run(struct ms_corpus *corpus, int64_t now_ms, ms_census_visit visit,
                             void *ctx, struct ms_error *err) MS_MUST_USE;

#endif
