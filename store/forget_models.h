/* Take-down in the files of models: split.jsonl and predictions.jsonl name the samples that a model
 * was made of, report.html and metrics.json some that it was wrong about. The numbers that were
 * learnt stay. */
#ifndef MS_STORE_FORGET_MODELS_H
#define MS_STORE_FORGET_MODELS_H

#include "store/corpus.h"

#include <stdbool.h>
#include <stddef.h>

/* What stands in a file in place of a key: "forgotten:" and 32 hexadecimal digits of a SHA-256 over
 * the key. Who has the sample can tell that it was meant, and the same sample is the same in every
 * file; nobody else learns anything. */
#define MS_FORGOTTEN_PREFIX "forgotten:"
enum { MS_FORGOTTEN_KEY_BYTES = 48 };
enum ms_status ms_forgotten_key(const char *key, char out[MS_FORGOTTEN_KEY_BYTES],
                                struct ms_error *err) MS_MUST_USE;

/* Puts that in place of the keys (as train writes them: SHA-256 in hexadecimal, else the escaped
 * alias) in every split.jsonl, predictions.jsonl, report.html and metrics.json below `folder`;
 * NULL: in all of the corpus's models. A split keeps its other rows in order, has the forgotten
 * ones behind them, and says in its header ("redacted": {"from": HEX, "rows": N}) which digest it
 * had at first. Files are replaced at once or not at all; those without such a key are left alone,
 * and doing it again changes nothing. MS_E_IO, MS_E_NOMEM, MS_E_LIMIT. */
enum ms_status ms_models_forget(struct ms_corpus *corpus, const char *folder,
                                const char *const *keys, size_t count,
                                struct ms_error *err) MS_MUST_USE;

/* Whether an analysis is (still) there. */
enum ms_status ms_analysis_is_there(struct ms_corpus *corpus, int64_t id, bool *out,
                                    struct ms_error *err) MS_MUST_USE;

#endif
