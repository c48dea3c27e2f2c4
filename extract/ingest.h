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
    uint64_t min_calls;   /* fewer real calls: too_few_calls; 0 off */
    bool discard_reports; /* the reports themselves are not kept in the vault */
    bool strict;          /* check the grammar of what is not read too */
};

enum { MS_REPORT_TARGET_BYTES = 520 };

struct ms_ingest_outcome {
    const char *state; /* of the analysis; static text */
    char reason[MS_ERROR_TEXT_BYTES];
    char sandbox[16];
    char sample[65]; /* hexadecimal sha256, sha1 or md5 as the report says; "" unknown */
    uint64_t processes, calls, calls_expanded;
    uint64_t bytes;      /* plain */
    uint64_t line, byte; /* of a report_invalid: where the fault is; line 0: not in the text */
    bool passed_over;    /* it was found, and is no report: it is not to be stored */
    int64_t analysis;    /* 0 when nothing was stored */
    bool known;          /* a report with the same bytes was there already: nothing was changed */
};

/* Reads the report in fd (plain, gzip or zstd) and stores it. `analysis`: the row of a submission
 * that this is the report of, which is then filled in; 0 for a new row. A report whose target is
 * not the submission's sample is "report_invalid", as is an archive.
 *
 * MS_OK whatever the report was like: see out->state ("ok", "no_calls", "no_behavior",
 * "report_invalid", "too_few_calls"; "refused" when its sample was removed for good: then nothing
 * is kept). MS_E_IO when fd cannot be read; other statuses stop the run. No transaction may be
 * open. */
enum ms_status ms_ingest_report(const struct ms_ingest *self, int fd, int64_t analysis,
                                struct ms_ingest_outcome *out, struct ms_error *err) MS_MUST_USE;

/* What is read, in one of these ways. */
struct ms_intake_input {
    int fd;          /* the report; -1: there is none, which is "report_missing" */
    const char *log; /* the sandbox whose log it is known to be: an empty one is "no_calls"; NULL */
    int metadata_fd; /* what lies beside it and says whose it is (extract/report/metadata.h); -1 */
    /* It was found in a folder, not named by the user: JSON that is no report is passed over … */
    bool found;
    bool named;           /* … as is what is no JSON, unless it has a report's name */
    const uint8_t *again; /* the digest of a report of the vault, whose object fd is: its rows are
                             made anew */
};

/* The same in steps. Reading may be done in any thread, several at a time; it leaves the bytes in
 * the vault. Storing belongs to the thread that has the corpus. MS_E_STORE when a report of the
 * vault is damaged. */
struct ms_intake;
enum ms_status ms_intake_read(const struct ms_ingest *ingest, const struct ms_intake_input *input,
                              struct ms_intake **out, struct ms_error *err) MS_MUST_USE;
/* What was read, before it is stored. */
const struct ms_ingest_outcome *ms_intake_outcome(const struct ms_intake *self);
/* The origin of its row, when that is new. */
void ms_intake_set_origin(struct ms_intake *self, int64_t origin);
enum ms_status ms_intake_store(struct ms_intake *self, int64_t analysis,
                               struct ms_ingest_outcome *out, struct ms_error *err) MS_MUST_USE;
void ms_intake_free(struct ms_intake *self);

/* True when the input is an archive: then *fd holds it (borrowed, seekable; -1: the input itself
 * does, from its beginning), and ms_archive_read opens it. */
bool ms_intake_is_archive(const struct ms_intake *self, int *fd);
/* Each report of the archive in fd, in its order: `chain` is its path inside; `intake` is to be
 * stored or left, and is freed behind the visit. What cannot be opened comes as a report_invalid
 * with the reason, about which there is nothing to store. The visits come while the worker waits.
 */
typedef enum ms_status (*ms_archive_visit)(void *ctx, struct ms_span chain,
                                           struct ms_intake *intake, struct ms_error *err);
enum ms_status ms_archive_read(const struct ms_ingest *ingest, int fd, ms_archive_visit visit,
                               void *ctx, struct ms_error *err) MS_MUST_USE;

#endif
