/* The worker's side: report bytes to calls. It runs confined and believes nothing it reads. */
#include "detect/reader_archive.h"
#include "detect/reader_frames.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/stream.h"
#include "base/unpack.h"
#include "store/trace/encode.h"
#include "store/trace/names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 256 << 10, BEYOND = MS_LIMIT_APIS_PER_REPORT };

/* The report's processes, each call as the number of its name. */
struct collector {
    struct ms_names *names;
    struct ms_trace_encoder *encoder;
    struct ms_buf blobs;
    struct ms_normal_process *processes; /* trace: an offset into blobs until the end */
    size_t *blob_at;
    size_t count, capacity;
    struct ms_process_info process;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
}

static enum ms_status on_process(void *ctx, const struct ms_process_info *process,
                                 struct ms_error *err)
{
    (void)err;
    struct collector *c = ctx;
    c->process = *process;
    return MS_OK;
}

/* Names are written as the corpus keeps them: escaped and cut; those beyond the limit of a report
 * share one pseudo-call. */
static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    struct collector *c = ctx;
    struct ms_trace_call encoded = {
        .tid = MS_TID_NONE, .time_us = MS_TIME_NONE, .repeated = call->repeated};
    char text[MS_LIMIT_API_NAME_BYTES + 1];
    ms_escape_bytes(call->api.data ? (const void *)call->api.data : "", call->api.len, text,
                    sizeof text);
    struct ms_span name = ms_span_of(text, strlen(text));
    if (!ms_names_find(c->names, name, &encoded.api)) {
        if (ms_names_count(c->names) >= BEYOND)
            name = ms_span_of("__overflow__", 12);
        enum ms_status status = ms_names_intern(c->names, name, &encoded.api, err);
        if (status != MS_OK)
            return status;
    }
    return ms_trace_encoder_add(c->encoder, &encoded, err);
}

static enum ms_status on_process_end(void *ctx, struct ms_error *err)
{
    struct collector *c = ctx;
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 32;
        struct ms_normal_process *p = realloc(c->processes, capacity * sizeof *p);
        if (p)
            c->processes = p;
        size_t *at = realloc(c->blob_at, capacity * sizeof *at);
        if (at)
            c->blob_at = at;
        if (!p || !at)
            return no_memory(err);
        c->capacity = capacity;
    }
    size_t from = c->blobs.len;
    enum ms_status status = ms_trace_encoder_finish(c->encoder, &c->blobs, err);
    if (status != MS_OK)
        return status;
    c->blob_at[c->count] = from;
    c->processes[c->count] = (struct ms_normal_process){
        .first_seen_us = c->process.first_seen_us,
        .ord = (int64_t)c->count,
        .tracked = c->process.tracked,
        .trace = ms_span_of(NULL, c->blobs.len - from),
    };
    c->count++;
    return MS_OK;
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    (void)ctx;
    (void)info;
    (void)err;
    return MS_OK;
}

static enum ms_status read_source(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    return ms_stream_read(ctx, buf, cap, n, err);
}

static enum ms_status send_buf(struct ms_worker_out *out, uint32_t type, struct ms_buf *buf,
                               struct ms_error *err)
{
    if (buf->failed)
        return no_memory(err);
    enum ms_status status = ms_worker_emit(out, type, buf->data, buf->len);
    ms_buf_clear(buf);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

/* The folded names first, then the calls as numbers into them. */
static enum ms_status send_names(const struct collector *c, const struct ms_normal_options *view,
                                 struct ms_worker_out *out, struct ms_error *err)
{
    struct ms_buf frame;
    uint8_t folded[MS_LIMIT_NAME_BYTES];
    enum ms_status status = MS_OK;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    for (uint32_t i = 0; i < ms_names_count(c->names) && status == MS_OK; i++) {
        struct ms_span name = ms_names_get(c->names, i);
        size_t n = ms_fold_name(view, name, folded);
        (void)ms_buf_append_varint(&frame, n);
        (void)ms_buf_append(&frame, folded, n);
        if (frame.len >= PIECE_BYTES)
            status = send_buf(out, MS_READER_NAMES, &frame, err);
    }
    if (status == MS_OK && frame.len > 0)
        status = send_buf(out, MS_READER_NAMES, &frame, err);
    ms_buf_release(&frame);
    return status;
}

static enum ms_status send_calls(const struct ms_sequence *sequence, struct ms_worker_out *out,
                                 struct ms_error *err)
{
    struct ms_buf frame;
    enum ms_status status = MS_OK;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    for (size_t i = 0; i < sequence->n && status == MS_OK; i++) {
        (void)ms_buf_append_varint(&frame, sequence->calls[i]);
        if (frame.len >= PIECE_BYTES)
            status = send_buf(out, MS_READER_CALLS, &frame, err);
    }
    if (status == MS_OK && frame.len > 0)
        status = send_buf(out, MS_READER_CALLS, &frame, err);
    ms_buf_release(&frame);
    return status;
}

static enum ms_status normalise(struct collector *c, const struct ms_normal_options *view,
                                struct ms_sequence *sequence, uint64_t *whole_length,
                                struct ms_error *err)
{
    uint32_t count = ms_names_count(c->names);
    struct ms_span *names = calloc(count + 1u, sizeof *names);
    uint32_t *fold = calloc(count + 1u, sizeof *fold);
    bool *pseudo = calloc(count + 1u, sizeof *pseudo);
    enum ms_status status = names && fold && pseudo ? MS_OK : no_memory(err);
    for (uint32_t i = 0; status == MS_OK && i < count; i++)
        names[i] = ms_names_get(c->names, i);
    if (status == MS_OK)
        status = ms_normal_apis_fill(view, names, count, fold, pseudo, err);
    for (size_t i = 0; i < c->count; i++)
        c->processes[i].trace.data = c->blobs.data + c->blob_at[i];
    const struct ms_normal_apis apis = {count, fold, pseudo};
    struct ms_normal_options whole = *view;
    whole.collapse = 0;
    whole.once = false;
    /* Only counted: a call repeated 4,000,000,000 times must not cost the report its verdict. */
    whole.length = 1;
    if (status == MS_OK)
        status = ms_normalise(c->processes, c->count, &apis, &whole, sequence, err);
    *whole_length = sequence->whole_length;
    if (status == MS_OK)
        status = ms_normalise(c->processes, c->count, &apis, view, sequence, err);
    free(names);
    free(fold);
    free(pseudo);
    return status;
}

static enum ms_status collector_make(struct collector *c, struct ms_error *err)
{
    *c = (struct collector){0};
    ms_buf_init(&c->blobs, SIZE_MAX / 2); /* the worker's address space is the ceiling */
    enum ms_status status = ms_names_new(BEYOND + 1, &c->names, err);
    return status == MS_OK ? ms_trace_encoder_new(&c->encoder, err) : status;
}

static void collector_release(struct collector *c)
{
    ms_names_free(c->names);
    ms_trace_encoder_free(c->encoder);
    ms_buf_release(&c->blobs);
    free(c->processes);
    free(c->blob_at);
}

static enum ms_status read_stream(struct ms_stream *stream, struct collector *c,
                                  struct ms_report_result *result, struct ms_error *err)
{
    const struct ms_trace_sink sink = {c, on_process, on_call, on_process_end, on_info};
    return ms_report_read(read_source, stream, MS_SCAN_CHECK_STRUCTURE, &sink, result, err);
}

/* The report among an archive's members: the first is kept, whole or not. */
struct member {
    struct collector *c;
    struct ms_report_result *result;
    struct ms_error *fault; /* why that one is invalid; status MS_OK: it is not */
    bool found;
};

static enum ms_status keep(struct member *self, struct collector *own,
                           const struct ms_report_result *result, const struct ms_error *fault)
{
    struct collector spare = *self->c;
    *self->c = *own;
    *own = spare;
    *self->result = *result;
    *self->fault = *fault;
    self->found = true;
    return MS_OK;
}

static enum ms_status read_member(void *ctx, int fd, bool *is_report, struct ms_error *err)
{
    struct member *self = ctx;
    struct collector own;
    struct ms_stream *stream = NULL;
    struct ms_report_result result = {.state = MS_REPORT_INVALID};
    struct ms_error fault = {.status = MS_OK};
    enum ms_status status = collector_make(&own, &fault);
    if (status == MS_OK)
        status = ms_stream_open(fd, MS_LIMIT_REPORT_BYTES, &stream, &fault);
    if (status == MS_OK)
        status = read_stream(stream, &own, &result, &fault);
    const bool invalid = status == MS_REJECT || status == MS_E_LIMIT;
    *is_report = status == MS_OK || (invalid && stream && !result.foreign);
    if (*is_report && !self->found)
        status = keep(self, &own, &result, &fault);
    if (stream)
        ms_stream_close(stream);
    collector_release(&own);
    if (status == MS_OK || invalid)
        return MS_OK;
    if (err)
        *err = fault;
    return status;
}

static enum ms_status read_archive(struct ms_stream *stream, int fd, struct collector *c,
                                   struct ms_report_result *result, struct ms_error *err)
{
    struct ms_error fault = {.status = MS_OK};
    struct member member = {c, result, &fault, false};
    unsigned faults;
    enum ms_status status = ms_reader_archive(stream, fd, read_member, &member, &faults, err);
    if (status == MS_REJECT && !member.found && !faults)
        result->foreign = MS_FOREIGN_TEXT;
    if (status == MS_OK && fault.status != MS_OK) {
        status = fault.status;
        if (err)
            *err = fault;
    }
    return status;
}

static enum ms_status read_report(int fd, struct collector *c, struct ms_report_result *result,
                                  struct ms_error *err)
{
    struct ms_stream *stream = NULL;
    *result = (struct ms_report_result){.state = MS_REPORT_INVALID};
    enum ms_status status = ms_stream_open(fd, MS_LIMIT_REPORT_BYTES, &stream, err);
    if (status == MS_OK)
        status = ms_stream_foreign(stream) ? read_archive(stream, fd, c, result, err)
                                           : read_stream(stream, c, result, err);
    if (stream)
        ms_stream_close(stream);
    return status;
}

static enum ms_status send_result(enum ms_report_state state, enum ms_report_foreign foreign,
                                  uint64_t whole_length, const char *reason,
                                  struct ms_worker_out *out, struct ms_error *err)
{
    struct ms_buf frame;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    (void)ms_buf_append_varint(&frame, (uint64_t)state);
    (void)ms_buf_append_varint(&frame, foreign);
    (void)ms_buf_append_varint(&frame, whole_length);
    (void)ms_buf_append_text(&frame, reason);
    enum ms_status status = send_buf(out, MS_READER_RESULT, &frame, err);
    ms_buf_release(&frame);
    return status;
}

static enum ms_status job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                          struct ms_error *err)
{
    char text[MS_NORMAL_TEXT_BYTES] = "";
    struct ms_normal_options view;
    struct collector c;
    struct ms_sequence sequence;
    struct ms_report_result result = {.state = MS_REPORT_INVALID};
    struct ms_error fault = {0};
    uint64_t whole_length = 0;
    if (arg.len < sizeof text)
        memcpy(text, arg.data, arg.len);
    enum ms_status status = ms_normal_options_parse(text, &view, err);
    if (status != MS_OK)
        return status;
    ms_sequence_init(&sequence);
    status = collector_make(&c, &fault);
    if (status == MS_OK)
        status = read_report(input_fd, &c, &result, &fault);
    if (status == MS_OK && result.state == MS_REPORT_OK)
        status = normalise(&c, &view, &sequence, &whole_length, &fault);
    if (status == MS_REJECT || status == MS_E_LIMIT) {
        status = send_result(MS_REPORT_INVALID, result.foreign, 0, fault.text, out, &fault);
    } else if (status == MS_OK) {
        status = send_names(&c, &view, out, &fault);
        if (status == MS_OK)
            status = send_calls(&sequence, out, &fault);
        if (status == MS_OK)
            status = send_result(result.state, MS_FOREIGN_NO, whole_length, "", out, &fault);
    }
    if (status != MS_OK && err)
        *err = fault;
    ms_sequence_release(&sequence);
    collector_release(&c);
    return status;
}

const struct ms_worker_kind ms_detect_kind = {
    .name = "detect.report", .job = job, .prepare = ms_unpack_prepare};
