/* One sandbox report to the calls a model wants, read and normalised in the confined worker. Knows
 * no model. */
#ifndef MS_DETECT_READER_H
#define MS_DETECT_READER_H

#include "base/worker.h"
#include "extract/report/read.h"
#include "store/trace/normalise.h"

#include <stdint.h>

/* The job for ms_worker_start. Its argument is the normalisation's canonical text; its input may be
 * plain, gzip or zstd, or an archive with one report in it. */
extern const struct ms_worker_kind ms_detect_kind;

/* What came of a report. */
struct ms_read_trace {
    enum ms_report_state state;
    enum ms_report_foreign foreign;   /* of MS_REPORT_INVALID: nothing of a report was in it */
    char reason[MS_ERROR_TEXT_BYTES]; /* why, when state is not MS_REPORT_OK; else may be a remark
                                         or empty */
    struct ms_span *calls;            /* n folded names */
    size_t n;
    uint64_t whole_length; /* calls of the trace before collapsing and cutting */
    /* private */
    struct ms_buf names;
    size_t *name_end;
    size_t name_count, name_cap, call_cap;
    uint32_t *indexes;
    bool complete;
};
void ms_read_trace_init(struct ms_read_trace *self);
void ms_read_trace_release(struct ms_read_trace *self);

/* Reads the report in fd. MS_OK whatever the report was like: a report that is none, or on which
 * the worker died, has state MS_REPORT_INVALID and a reason. Other statuses concern the worker
 * itself (MS_E_IO, MS_E_NOMEM). `out` is initialised; what it held before is replaced. Thread-safe
 * for different `out`. */
enum ms_status ms_read_trace_get(struct ms_worker *worker, int fd,
                                 const struct ms_normal_options *view, struct ms_read_trace *out,
                                 struct ms_error *err) MS_MUST_USE;

#endif
