/* The worker's side: report bytes to calls. It runs confined and believes nothing it reads. */
#include "detect/collector.h"
#include "detect/reader_archive.h"
#include "detect/reader_frames.h"

#include "base/limits.h"
#include "base/stream.h"
#include "base/unpack.h"

#include <string.h>

static enum ms_status emit(void *ctx, enum ms_reader_frame type, struct ms_span bytes,
                           struct ms_error *err)
{
    enum ms_status status = ms_worker_emit(ctx, (uint32_t)type, bytes.data, bytes.len);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

static enum ms_status read_source(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    return ms_stream_read(ctx, buf, cap, n, err);
}

static enum ms_status read_stream(struct ms_stream *stream, struct ms_collector *c,
                                  struct ms_report_result *result, struct ms_error *err)
{
    const struct ms_trace_sink sink = ms_collector_sink(c);
    return ms_report_read(read_source, stream, MS_SCAN_CHECK_STRUCTURE, &sink, result, err);
}

/* A report that was read, or why it is none. */
struct outcome {
    struct ms_collector *collector;
    struct ms_report_result result;
    struct ms_error fault; /* status MS_OK: none */
};

/* A fault of the report becomes its result; any other status is the job's. */
static enum ms_status send(struct outcome *o, struct ms_worker_out *out, struct ms_error *err)
{
    if (o->fault.status == MS_OK && o->result.state == MS_REPORT_OK) {
        enum ms_status status = ms_collector_send(o->collector, emit, out, &o->fault);
        if (status == MS_OK)
            return MS_OK;
        o->fault.status = status;
    }
    if (o->fault.status == MS_REJECT || o->fault.status == MS_E_LIMIT)
        return ms_frames_send_result(MS_REPORT_INVALID, o->result.foreign, 0, o->fault.text, emit,
                                     out, err);
    if (o->fault.status == MS_OK)
        return ms_frames_send_result(o->result.state, MS_FOREIGN_NO, 0, "", emit, out, err);
    if (err)
        *err = o->fault;
    return o->fault.status;
}

/* The reports among an archive's members. The first one waits: alone it needs no name. */
struct members {
    const struct ms_normal_options *view;
    struct ms_worker_out *out;
    struct outcome first;
    uint8_t name[MS_LIMIT_NAME_BYTES]; /* of the first */
    size_t name_len;
    unsigned reports;
};

static enum ms_status send_member(struct members *self, struct outcome *outcome,
                                  struct ms_span name, struct ms_error *err)
{
    static const uint8_t nameless[] = "?";
    struct ms_span shown = name.len ? name : ms_span_of(nameless, 1);
    if (shown.len > MS_LIMIT_NAME_BYTES)
        shown.len = MS_LIMIT_NAME_BYTES;
    enum ms_status status = emit(self->out, MS_READER_MEMBER, shown, err);
    return status == MS_OK ? send(outcome, self->out, err) : status;
}

static enum ms_status send_first(struct members *self, struct ms_error *err)
{
    enum ms_status status =
        self->first.collector
            ? send_member(self, &self->first, ms_span_of(self->name, self->name_len), err)
            : MS_OK;
    ms_collector_free(self->first.collector);
    self->first.collector = NULL;
    return status;
}

/* Takes the outcome's collector over when it is to wait. */
static enum ms_status take_report(struct members *self, struct outcome *outcome,
                                  struct ms_span chain, struct ms_error *err)
{
    if (self->reports++ == 0) {
        self->first = *outcome;
        outcome->collector = NULL;
        self->name_len = chain.len < sizeof self->name ? chain.len : sizeof self->name;
        if (self->name_len)
            memcpy(self->name, chain.data, self->name_len);
        return MS_OK;
    }
    if (self->reports > MS_LIMIT_ARCHIVE_REPORTS)
        return ms_error_set(err, MS_REJECT, "more than %d reports in an archive",
                            MS_LIMIT_ARCHIVE_REPORTS);
    enum ms_status status = send_first(self, err);
    return status == MS_OK ? send_member(self, outcome, chain, err) : status;
}

static enum ms_status read_member(void *ctx, int fd, struct ms_span chain, bool *is_report,
                                  struct ms_error *err)
{
    struct members *self = ctx;
    struct ms_stream *stream = NULL;
    struct outcome own = {.result = {.state = MS_REPORT_INVALID}};
    enum ms_status status = ms_collector_new(self->view, false, &own.collector, &own.fault);
    if (status == MS_OK)
        status = ms_stream_open(fd, MS_LIMIT_REPORT_BYTES, &stream, &own.fault);
    if (status == MS_OK)
        status = read_stream(stream, own.collector, &own.result, &own.fault);
    own.fault.status = status;
    const bool invalid = status == MS_REJECT || status == MS_E_LIMIT;
    *is_report = status == MS_OK || (invalid && stream && !own.result.foreign);
    if (*is_report)
        status = take_report(self, &own, chain, err);
    else if (invalid)
        status = MS_OK;
    else if (err)
        *err = own.fault;
    if (stream)
        ms_stream_close(stream);
    ms_collector_free(own.collector);
    return status;
}

static enum ms_status read_archive(struct ms_stream *stream, int fd,
                                   const struct ms_normal_options *view, struct ms_worker_out *out,
                                   struct ms_error *err)
{
    struct members self = {.view = view, .out = out};
    struct ms_archive_seen seen = {0, 0};
    struct ms_error fault = {.status = MS_OK};
    enum ms_status status = ms_reader_archive(stream, fd, read_member, &self, &seen, &fault);
    if (status == MS_OK && self.reports == 1)
        status = send(&self.first, out, &fault);
    else if (status == MS_REJECT || status == MS_E_LIMIT) {
        enum ms_report_foreign foreign =
            !seen.reports && !seen.faults ? MS_FOREIGN_TEXT : MS_FOREIGN_NO;
        struct ms_error why = fault;
        status = send_first(&self, &fault);
        if (status == MS_OK)
            status =
                ms_frames_send_result(MS_REPORT_INVALID, foreign, 0, why.text, emit, out, &fault);
    }
    ms_collector_free(self.first.collector);
    if (status != MS_OK && err)
        *err = fault;
    return status;
}

static enum ms_status read_report(struct ms_stream *stream, const struct ms_normal_options *view,
                                  struct ms_worker_out *out, struct ms_error *err)
{
    struct outcome own = {.result = {.state = MS_REPORT_INVALID}};
    enum ms_status status = ms_collector_new(view, false, &own.collector, &own.fault);
    if (status == MS_OK)
        status = read_stream(stream, own.collector, &own.result, &own.fault);
    own.fault.status = status;
    status = send(&own, out, err);
    ms_collector_free(own.collector);
    return status;
}

static enum ms_status read_any(int input_fd, struct ms_span arg, bool archives,
                               struct ms_worker_out *out, struct ms_error *err)
{
    char text[MS_NORMAL_TEXT_BYTES] = "";
    struct ms_normal_options view;
    struct ms_stream *stream = NULL;
    struct ms_error fault = {0};
    if (arg.len < sizeof text)
        memcpy(text, arg.data, arg.len);
    enum ms_status status = ms_normal_options_parse(text, &view, err);
    if (status != MS_OK)
        return status;
    status = ms_stream_open(input_fd, MS_LIMIT_REPORT_BYTES, &stream, &fault);
    if (status == MS_REJECT || status == MS_E_LIMIT)
        return ms_frames_send_result(MS_REPORT_INVALID, MS_FOREIGN_NO, 0, fault.text, emit, out,
                                     err);
    if (status == MS_OK && !ms_stream_foreign(stream))
        status = read_report(stream, &view, out, &fault);
    else if (status == MS_OK && archives)
        status = read_archive(stream, input_fd, &view, out, &fault);
    else if (status == MS_OK)
        status = ms_error_set(&fault, MS_E_LATER, "it may be an archive");
    if (stream)
        ms_stream_close(stream);
    if (status != MS_OK && err)
        *err = fault;
    return status;
}

static enum ms_status job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                          struct ms_error *err)
{
    return read_any(input_fd, arg, true, out, err);
}

static enum ms_status plain_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                struct ms_error *err)
{
    return read_any(input_fd, arg, false, out, err);
}

const struct ms_worker_kind ms_detect_kind = {
    .name = "detect.report", .job = job, .prepare = ms_unpack_prepare};
const struct ms_worker_kind ms_detect_plain_kind = {.name = "detect.plain", .job = plain_job};
