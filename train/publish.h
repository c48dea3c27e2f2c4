/* Puts a finished run into the corpus: model file, metrics, page, and the rows that describe them.
 * Decides nothing about their content. */
#ifndef MS_TRAIN_PUBLISH_H
#define MS_TRAIN_PUBLISH_H

#include "store/corpus.h"
#include "train/outcome.h"

/* Letters, digits, '.', '_' and '-', at most 100, not beginning with '.' or '-': the name is a
 * folder's. MS_E_USAGE. */
enum ms_status ms_model_name_check(const char *name, struct ms_error *err) MS_MUST_USE;

/* "PRESET-TARGET" (preset may be "PRESET-KIND") with everything else made '-'. */
enum { MS_MODEL_NAME_BYTES = 104 };
void ms_model_name_make(const char *preset, const char *target, bool shuffled,
                        char out[MS_MODEL_NAME_BYTES]);

/* Writes
 * CORPUS/models/NAME/{model.safetensors,split.jsonl,predictions.jsonl,metrics.json,report.html},
 * each at once or not at all, then the dataset, split and model rows in one transaction. Sets
 * outcome->model_digest first. `folder` gets the folder's path (4096 bytes). */
enum ms_status ms_outcome_publish(struct ms_corpus *corpus, struct ms_outcome *outcome, int64_t run,
                                  char *folder, size_t folder_bytes,
                                  struct ms_error *err) MS_MUST_USE;

#endif
