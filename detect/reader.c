/* The parent's side of the reading: a job a file, its answers one report at a time. What the frames
 * say is checked in reader_frames.c. */
#include "detect/reader.h"

#include "base/limits.h"
#include "base/log.h"
#include "detect/reader_frames.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Frames of one file's reports: names of 257 bytes at most, and the calls that the longest view
 * lets through. */
#define OUTPUT_MAX_BYTES ((uint64_t)1 << 30)

struct reading {
    struct ms_read_trace *trace;
    const struct ms_normal_options *view;
    ms_read_trace_visit visit;
    void *ctx;
    uint64_t reports;
    bool any; /* frame has come */
    enum ms_status visit_status;
};

/* A report is handed over when it is known whether another follows: with the first frame behind it,
 * or at the end. */
static enum ms_status hand_over(struct reading *self, bool last, struct ms_error *err)
{
    self->visit_status = self->visit(self->ctx, self->trace, last, err);
    return self->visit_status;
}

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct reading *self = ctx;
    self->any = true;
    if (self->trace->complete) {
        if (!self->trace->member.len) /* no archive */
            return ms_error_set(err, MS_REJECT, "the worker's answer is malformed");
        if (++self->reports > MS_LIMIT_ARCHIVE_REPORTS)
            return ms_error_set(err, MS_REJECT, "more than %d reports", MS_LIMIT_ARCHIVE_REPORTS);
        enum ms_status status = hand_over(self, false, err);
        if (status != MS_OK)
            return status;
        ms_read_trace_reset(self->trace);
    }
    return ms_read_trace_take(self->trace, self->view, type, bytes, err);
}

/* How the job ended, as the reason of a report; MS_OK: as it should. */
static enum ms_status fault_of(const struct reading *self, enum ms_status status,
                               const struct ms_worker_result *result, struct ms_error *fault)
{
    if (status != MS_OK)
        return status; /* what a frame was refused for is in fault */
    if (result->end != MS_WORKER_DONE || result->status != MS_OK) {
        *fault = result->error;
        return result->end == MS_WORKER_DONE && result->status == MS_E_IO ? MS_E_IO : MS_REJECT;
    }
    return self->trace->complete
               ? MS_OK
               : ms_error_set(fault, MS_REJECT, "the worker's answer is malformed");
}

/* A file is tried by the job that is cheap to start. That one may answer what it likes: it is asked
 * once. */
static enum ms_status run_jobs(struct ms_worker *worker, int fd, struct reading *self,
                               struct ms_worker_result *result, struct ms_error *fault)
{
    char text[MS_NORMAL_TEXT_BYTES];
    const struct ms_worker_limits limits = {.cpu_s = MS_LIMIT_REPORT_CPU_S,
                                            .wall_ms = MS_LIMIT_REPORT_WALL_MS,
                                            .output_bytes = OUTPUT_MAX_BYTES};
    ms_normal_options_text(self->view, text);
    const struct ms_span arg = ms_span_of(text, strlen(text));
    const off_t begin = lseek(fd, 0, SEEK_CUR);
    if (begin >= 0) {
        enum ms_status status = ms_worker_run(worker, ms_detect_plain_kind.name, fd, arg, &limits,
                                              on_frame, self, result, fault);
        if (status != MS_OK || self->any || result->end != MS_WORKER_DONE ||
            result->status != MS_E_LATER || lseek(fd, begin, SEEK_SET) != begin)
            return status;
    }
    return ms_worker_run(worker, ms_detect_kind.name, fd, arg, &limits, on_frame, self, result,
                         fault);
}

enum ms_status ms_read_traces(struct ms_worker *worker, int fd,
                              const struct ms_normal_options *view, struct ms_read_trace *trace,
                              ms_read_trace_visit visit, void *ctx, struct ms_error *err)
{
    struct reading self = {.trace = trace, .view = view, .visit = visit, .ctx = ctx};
    struct ms_worker_result result;
    struct ms_error fault = {0};
    ms_read_trace_reset(trace);
    enum ms_status status = run_jobs(worker, fd, &self, &result, &fault);
    if (self.visit_status == MS_OK) {
        status = fault_of(&self, status, &result, &fault);
        /* What was whole before the fault keeps its line. */
        if (status == MS_REJECT && trace->complete && trace->member.len &&
            hand_over(&self, false, &fault) != MS_OK)
            status = self.visit_status;
    }
    if (status == MS_REJECT && self.visit_status == MS_OK) {
        ms_read_trace_reset(trace);
        (void)ms_escape_text(fault.text, trace->reason, sizeof trace->reason);
        status = MS_OK;
    }
    if (status != MS_OK) {
        if (err)
            *err = fault;
        return status;
    }
    return visit(ctx, trace, true, err);
}
