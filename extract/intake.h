/* A report on its way into the corpus: what was read of it, before its rows are written. For
 * extract's own files; others see extract/ingest.h. */
#ifndef MS_EXTRACT_INTAKE_H
#define MS_EXTRACT_INTAKE_H

#include "base/hash.h"
#include "extract/ingest.h"
#include "extract/trace_frames.h"
#include "store/sample.h"
#include "store/vault.h"

struct ms_intake {
    const struct ms_ingest *ingest;
    struct ms_ingest_outcome out;
    struct ms_vault_write *vault; /* NULL when nothing is stored */
    struct ms_trace_received received;
    int64_t origin;    /* 0 none */
    bool found, named; /* see ms_intake_input */
    bool again;        /* likewise */
    bool missing;      /* there is no report */
    bool told_only;    /* nothing of it is stored */
    bool is_archive;
    int archive_fd; /* its bytes, when they come only once; else -1 */
    bool in_vault;
    bool given_up;        /* this report was, by malseq retain: its new object goes again */
    bool has_digest;      /* the worker told report_sha256 */
    bool has_file_sha256; /* the row is known by this: the file as it lies there, when its plain
                             bytes never came whole, or the report, when it is not kept */
    uint8_t file_sha256[MS_SHA256_BYTES];
    uint8_t report_sha256[MS_SHA256_BYTES];
    uint64_t report_bytes;
    struct ms_sample sample;                  /* what the report says of its target */
    char target_name[MS_REPORT_TARGET_BYTES]; /* NUL-terminated; "" unknown */
};

/* Does a name end like one of a report: .json, .jsonl, and those with .gz or .zst behind? */
bool ms_report_is_named(struct ms_span name);

/* A new one, with its object of the vault begun where it will be wanted. */
enum ms_status ms_intake_new(const struct ms_ingest *ingest, struct ms_intake **out,
                             struct ms_error *err) MS_MUST_USE;
/* The letters of the worker's argument for it (extract/report_job.h); */
enum { MS_INTAKE_LETTERS = 8 };
struct ms_span ms_intake_argument(const struct ms_intake *self, char to[MS_INTAKE_LETTERS]);
/* Takes a frame of the worker; MS_REJECT when it is malformed. */
enum ms_status ms_intake_frame(struct ms_intake *self, uint32_t type, struct ms_span bytes,
                               struct ms_error *err) MS_MUST_USE;
/* The worker is done with it: judges, and ends the object of the vault. `why`: what became of the
 * worker, if it did not come to a result. */
enum ms_status ms_intake_end(struct ms_intake *self, const char *why,
                             struct ms_error *err) MS_MUST_USE;

#endif
