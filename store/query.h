/* Read-only SQL for people (malseq query), counts for malseq status, and the check of a whole
 * corpus (malseq fsck). */
#ifndef MS_STORE_QUERY_H
#define MS_STORE_QUERY_H

#include "base/span.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

enum ms_value_kind { MS_VALUE_NULL, MS_VALUE_INT, MS_VALUE_REAL, MS_VALUE_TEXT, MS_VALUE_BLOB };
struct ms_value {
    enum ms_value_kind kind;
    int64_t integer;
    double real;
    struct ms_span bytes; /* TEXT and BLOB; borrowed for the call */
};
/* `head` is called once with the column names, then `row` for each row. */
struct ms_query_sink {
    void *ctx;
    enum ms_status (*head)(void *ctx, const char *const *names, int count, struct ms_error *err);
    enum ms_status (*row)(void *ctx, const struct ms_value *values, int count,
                          struct ms_error *err);
};
/* Runs one SELECT (or VALUES, EXPLAIN, WITH … SELECT) on a corpus opened for reading, under an
 * authoriser that allows nothing but reading; the virtual table calls(sample, process, seq, api,
 * tid, time, repeated) is there. MS_E_USAGE with SQLite's words for bad SQL. timeout_ms 0: none. */
enum ms_status ms_query_run(struct ms_corpus *corpus, const char *sql, int64_t timeout_ms,
                            const struct ms_query_sink *sink, struct ms_error *err) MS_MUST_USE;

/* One finding of fsck: object or row, what is wrong, whether it was repaired. */
typedef enum ms_status (*ms_fsck_visit)(void *ctx, const char *where, const char *what,
                                        bool repaired, struct ms_error *err);
struct ms_fsck_counts {
    uint64_t samples, reports, traces, findings, repaired;
};
/* Checks the database (integrity_check, foreign_key_check, counts), every vault object's digest
 * against its name, every row that names an object, every trace (decodes; its APIs have names), and
 * orphan objects, and left-over temporaries. With repair (corpus opened for writing; one
 * transaction): samples that verify and have a row are marked as stored, those that were forgotten
 * are removed, as are reports without a row and damaged objects; samples whose object is gone lose
 * `vaulted`, and where they were seen is to be read again by the next collect. Samples without a
 * row, strange files, missing reports and damaged rows are only reported. */
enum ms_status ms_fsck_run(struct ms_corpus *corpus, bool repair, ms_fsck_visit visit, void *ctx,
                           struct ms_fsck_counts *counts, struct ms_error *err) MS_MUST_USE;

/* Calls visit for each sample object without a row, forgotten ones too; `name` is its path below
 * samples/. Nothing is verified. Visit may write and remove the object. */
typedef enum ms_status (*ms_orphan_visit)(void *ctx, const uint8_t sha256[32], const char *name,
                                          struct ms_error *err);
enum ms_status ms_fsck_foreach_orphan(struct ms_corpus *corpus, ms_orphan_visit visit, void *ctx,
                                      struct ms_error *err) MS_MUST_USE;
/* Is anything in the corpus private? What comes from nobody knows where may be, then. */
enum ms_status ms_corpus_has_private(struct ms_corpus *corpus, bool *has,
                                     struct ms_error *err) MS_MUST_USE;

#endif
