/* Run provenance: every stage that writes leaves a row with its command line, inputs, counts and
 * end. */
#ifndef MS_STORE_RUN_H
#define MS_STORE_RUN_H

#include "store/corpus.h"

#include <stdint.h>

/* Inserts the row (own transaction) and gives its id. argv must be wiped of secrets already; values
 * behind options whose name ends in "token" or "key" are replaced by "***" here as well. */
enum ms_status ms_run_begin(struct ms_corpus *corpus, const char *tool, int argc, char **argv,
                            uint64_t seed, int64_t *run, struct ms_error *err) MS_MUST_USE;
/* counts_json: an object like {"samples":3}; may be NULL. input_digest may be NULL. */
enum ms_status ms_run_end(struct ms_corpus *corpus, int64_t run, int exit_code,
                          const char *counts_json, const uint8_t *input_digest,
                          struct ms_error *err) MS_MUST_USE;

#endif
