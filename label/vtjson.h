/* An antivirus report as numbers and engine results, in the form the class layer works on. The JSON
 * is read in the confined worker; the parent sees frames only. Judges nothing. */
#ifndef MS_LABEL_VTJSON_H
#define MS_LABEL_VTJSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"
#include "base/worker.h"
#include "label/record.h"

#include <stdbool.h>
#include <stdint.h>

const char *ms_vt_category_name(enum ms_vt_category category);

struct ms_vt_engine {
    const char *name;
    const char *result; /* the label; NULL when none */
    enum ms_vt_category category;
};

/* Every field is optional in practice. Texts live in the report's arena, are cut at their limits
 * and may hold any bytes but NUL. */
struct ms_vt_report {
    struct ms_arena arena;
    enum ms_record_format format;       /* never UNKNOWN */
    int64_t response_code;              /* v2's; MS_RECORD_NO_RESPONSE when the report has none */
    bool has_results;                   /* the object or list of engines is there, empty or not */
    char sha256[65], sha1[41], md5[33]; /* lower case; "" when absent or malformed */
    int64_t size;                       /* -1 unknown */
    int64_t first_submission_ms;        /* UTC; 0 unknown */
    int64_t last_analysis_ms;           /* UTC; 0 unknown: never analysed */
    struct ms_vt_engine *engines;       /* in document order */
    size_t engine_count;
    const char *category;  /* popular_threat_category with the highest count; NULL when none */
    const char *suggested; /* suggested_threat_label; NULL when none */
    bool trusted;          /* trusted_verdict says goodware, or the file is in NSRL */
};

/* A record as one frame, for a worker to send, and back. Decoding takes bytes from anywhere and
 * checks all of them. Texts are cut at their limits and at a NUL. MS_REJECT: more than
 * MS_LIMIT_ENGINES engines; no frame of ours. *out is the caller's to release after MS_OK alone. */
enum ms_status ms_vt_report_encode(const struct ms_record *record, struct ms_buf *out,
                                   struct ms_error *err) MS_MUST_USE;
enum ms_status ms_vt_report_decode(struct ms_span frame, struct ms_vt_report *out,
                                   struct ms_error *err) MS_MUST_USE;
void ms_vt_report_release(struct ms_vt_report *self);

/* The job for struct ms_worker_kind: reads the reports behind the descriptor, of whatever format,
 * and emits a frame for each. */
extern const struct ms_worker_kind ms_vtjson_kind;

/* Runs the job on a body. MS_REJECT when it is no report (no JSON, nothing of a known format, a
 * crash of the worker included): the reason is in err. */
enum ms_status ms_vtjson_read(struct ms_worker *worker, struct ms_span body,
                              struct ms_vt_report *out, struct ms_error *err) MS_MUST_USE;

/* One of several bodies read by one job. */
struct ms_vt_reading {
    enum ms_status status; /* MS_OK: report is set and the caller's to release; else MS_REJECT */
    struct ms_vt_report report;
    char why[160]; /* of MS_REJECT */
};

/* The same for many bodies: a job is started anew only behind a body that killed it, which costs
 * that body alone. Starting a confined process takes longer than reading a report. */
enum ms_status ms_vtjson_read_many(struct ms_worker *worker, const struct ms_span *bodies,
                                   size_t count, struct ms_vt_reading *out,
                                   struct ms_error *err) MS_MUST_USE;

/* What the job does and what is made of its frame, in this process: for tests and fuzzing. */
enum ms_status ms_vtjson_parse(struct ms_span body, struct ms_vt_report *out,
                               struct ms_error *err) MS_MUST_USE;

#endif
