/* Features for samples of the corpus that have none yet, from the vault. */
#ifndef MS_COLLECT_REFRESH_H
#define MS_COLLECT_REFRESH_H

#include "collect/session.h"

/* Reads, in the worker, every vaulted sample whose features are missing, and stores them 256 to a
 * transaction. A sample that cannot be read costs itself alone: what became of it is in its column
 * ({"version", "error"}), except where the vault has not got it. Corpus open for writing, no
 * transaction open. */
enum ms_status ms_collect_refresh(struct ms_collect *collect, struct ms_error *err) MS_MUST_USE;

#endif
