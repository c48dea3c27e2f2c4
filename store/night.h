/* What the summary of a night asks of a corpus: what became of the runs since, and of what they
 * could not take. Reads alone. */
#ifndef MS_STORE_NIGHT_H
#define MS_STORE_NIGHT_H

#include "base/buf.h"
#include "store/corpus.h"

#include <stdint.h>

/* The id of the newest row of `run`, 0 when there is none. */
enum ms_status ms_night_newest_run(struct ms_corpus *corpus, int64_t *out,
                                   struct ms_error *err) MS_MUST_USE;

/* The counts (JSON object as text; "" when it left none) that the first run of `tool` after run
 * `after` recorded, copied into out (n bytes; cut short it is "" too). */
enum ms_status ms_night_run_counts(struct ms_corpus *corpus, const char *tool, int64_t after,
                                   char *out, size_t n, struct ms_error *err) MS_MUST_USE;

/* The figures of the model of that name (train.schema.json), appended; nothing when there is no
 * such model. MS_E_LIMIT when they are more than out takes. */
enum ms_status ms_night_model(struct ms_corpus *corpus, const char *name, struct ms_buf *out,
                              struct ms_error *err) MS_MUST_USE;

/* Appends a text that is another one when what datasets are made of may be: counts and newest ids
 * of samples, labels, scans, analyses and processes, what is private, what was forgotten. It does
 * not tell a trace from another with as many calls that took its place (extract import
 * --from-vault), nor see static features. A few searches, however large the corpus is. */
enum ms_status ms_night_state(struct ms_corpus *corpus, struct ms_buf *out,
                              struct ms_error *err) MS_MUST_USE;

/* One kind of failure: what ("file", "look-up", "analysis", "origin"), its state, the reason as
 * recorded (not escaped, may be ""), and how many; all borrowed. */
typedef enum ms_status (*ms_night_visit)(void *ctx, const char *what, const char *state,
                                         const char *reason, int64_t count, struct ms_error *err);
/* The commonest failures of runs after run `after`, or since since_ms where a row names no run; at
 * most `most` of each what. Origins: all that cannot be collected from now. */
enum ms_status ms_night_failures(struct ms_corpus *corpus, int64_t after, int64_t since_ms,
                                 int64_t most, ms_night_visit visit, void *ctx,
                                 struct ms_error *err) MS_MUST_USE;

/* Waits, at most wait_ms and no longer than until no signal asks for an end, for another run to
 * let go of the corpus in DIR; MS_E_LATER with who holds it. MS_OK where there is no corpus. */
enum ms_status ms_corpus_await(const char *dir, int64_t wait_ms, struct ms_error *err) MS_MUST_USE;

#endif
