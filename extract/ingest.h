/* One report into the corpus: read by the worker, kept in the vault, its analysis and processes in
 * one transaction. Used by `extract import` and for reports fetched from a sandbox. */
#ifndef MS_EXTRACT_INGEST_H
#define MS_EXTRACT_INGEST_H

#include "base/worker.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

/* The jobs of extract's worker, for ms_worker_start. */
extern const struct ms_worker_kind ms_extract_kinds[];
extern const size_t ms_extract_kind_count;

/* For ms_corpus_limit_cache: memory must not depend on how large a report is. */
enum { MS_INGEST_CACHE_BYTES = 2 << 20 };

struct ms_ingest {
    struct ms_corpus *corpus; /* NULL: read and judge only, store nothing */
    struct ms_worker *worker;
    int64_t run;
    uint64_t min_calls; /* fewer real calls: too_few_calls; 0 off */
    bool strict;        /* check the grammar of what is not read too */
};

struct ms_ingest_outcome {
    const char *state; /* of the analysis; static text */
    char reason[MS_ERROR_TEXT_BYTES];
    char sandbox[16];
    char sample[65]; /* hexadecimal sha256, sha1 or md5 as the report says; "" unknown */
    uint64_t processes, calls, calls_expanded;
    uint64_t bytes;   /* plain */
    int64_t analysis; /* 0 when nothing was stored */
    bool known;       /* a report with the same bytes was there already: nothing was changed */
};

/* Reads the report in fd (plain, gzip or zstd) and stores it. `analysis`: the row of a submission
 * that this is the report of, which is then filled in; 0 for a new row. A report whose target is
 * not the submission's sample is "report_invalid".
 *
 * MS_OK whatever the report was like: see out->state ("ok", "no_calls", "no_behavior",
 * "report_invalid", "too_few_calls"; "refused" when its sample was removed for good: then nothing
 * is kept). MS_E_IO when fd cannot be read; other statuses stop the run. No transaction may be
 * open. */
enum ms_status ms_ingest_report(const struct ms_ingest *self, int fd, int64_t analysis,
                                struct ms_ingest_outcome *out, struct ms_error *err) MS_MUST_USE;

/* The same in two steps. Reading may be done in any thread, several at a time; it leaves the bytes
 * in the vault. Storing belongs to the thread that has the corpus. */
struct ms_intake;
enum ms_status ms_intake_read(const struct ms_ingest *ingest, int fd, struct ms_intake **out,
                              struct ms_error *err) MS_MUST_USE;
enum ms_status ms_intake_store(struct ms_intake *self, int64_t analysis,
                               struct ms_ingest_outcome *out, struct ms_error *err) MS_MUST_USE;
void ms_intake_free(struct ms_intake *self);

#endif
