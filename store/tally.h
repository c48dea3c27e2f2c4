/* The counts behind malseq status, which triggers keep up (schemas/014): for fsck alone. */
#ifndef MS_STORE_TALLY_H
#define MS_STORE_TALLY_H

#include "store/corpus.h"

#include <stdbool.h>

/* *right: the counts are those of the tables, which are all read for it. */
enum ms_status ms_tally_check(struct ms_corpus *corpus, bool *right,
                              struct ms_error *err) MS_MUST_USE;
/* Counts anew, in the caller's transaction. */
enum ms_status ms_tally_mend(struct ms_corpus *corpus, struct ms_error *err) MS_MUST_USE;

#endif
