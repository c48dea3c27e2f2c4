/* The parent's side: frames to calls. The worker may be in an attacker's hands by then. */
#include "detect/reader_frames.h"

#include "base/limits.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = MS_LIMIT_APIS_PER_REPORT + 1 };
/* Frames of one report: names of 257 bytes at most, and the calls that the longest view lets
 * through. */
#define OUTPUT_MAX_BYTES ((uint64_t)1 << 30)

void ms_read_trace_init(struct ms_read_trace *self)
{
    *self = (struct ms_read_trace){0};
    ms_buf_init(&self->names, (size_t)NAMES_MAX * (MS_LIMIT_API_NAME_BYTES + 8));
}

void ms_read_trace_release(struct ms_read_trace *self)
{
    ms_buf_release(&self->names);
    free(self->calls);
    free(self->name_end);
    free(self->indexes);
    *self = (struct ms_read_trace){0};
}

static enum ms_status malformed(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "the worker's answer is malformed");
}

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for a trace");
}

static enum ms_status take_names(struct ms_read_trace *t, struct ms_span bytes,
                                 struct ms_error *err)
{
    while (bytes.len > 0) {
        uint64_t n;
        struct ms_span name;
        if (!ms_span_take_varint(&bytes, &n) || !ms_span_take(&bytes, n, &name) ||
            t->name_count == NAMES_MAX)
            return malformed(err);
        if (t->name_count == t->name_cap) {
            size_t cap = t->name_cap ? t->name_cap * 2 : 512;
            size_t *ends = realloc(t->name_end, cap * sizeof *ends);
            if (!ends)
                return no_memory(err);
            t->name_end = ends;
            t->name_cap = cap;
        }
        if (ms_buf_append(&t->names, name.data, name.len) != MS_OK)
            return malformed(err);
        t->name_end[t->name_count++] = t->names.len;
    }
    return MS_OK;
}

static enum ms_status take_calls(struct ms_read_trace *t, struct ms_span bytes,
                                 struct ms_error *err)
{
    while (bytes.len > 0) {
        uint64_t index;
        if (!ms_span_take_varint(&bytes, &index) || index >= t->name_count)
            return malformed(err);
        if (t->n == t->call_cap) {
            size_t cap = t->call_cap ? t->call_cap * 2 : 512;
            uint32_t *indexes = realloc(t->indexes, cap * sizeof *indexes);
            if (!indexes)
                return no_memory(err);
            t->indexes = indexes;
            t->call_cap = cap;
        }
        t->indexes[t->n++] = (uint32_t)index;
    }
    return MS_OK;
}

static enum ms_status take_result(struct ms_read_trace *t, struct ms_span bytes,
                                  struct ms_error *err)
{
    uint64_t state, foreign;
    if (t->complete || !ms_span_take_varint(&bytes, &state) || state > MS_REPORT_INVALID ||
        !ms_span_take_varint(&bytes, &foreign) || foreign > MS_FOREIGN_JSON ||
        !ms_span_take_varint(&bytes, &t->whole_length))
        return malformed(err);
    t->state = (enum ms_report_state)state;
    t->foreign = (enum ms_report_foreign)foreign;
    ms_escape_bytes(bytes.len ? (const void *)bytes.data : "", bytes.len, t->reason,
                    sizeof t->reason);
    t->complete = true;
    return MS_OK;
}

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct ms_read_trace *t = ctx;
    switch (type) {
    case MS_READER_NAMES:
        return take_names(t, bytes, err);
    case MS_READER_CALLS:
        return take_calls(t, bytes, err);
    case MS_READER_RESULT:
        return take_result(t, bytes, err);
    default:
        return malformed(err);
    }
}

static void reset(struct ms_read_trace *t)
{
    ms_buf_clear(&t->names);
    t->state = MS_REPORT_INVALID;
    t->foreign = MS_FOREIGN_NO;
    t->reason[0] = '\0';
    t->n = t->name_count = 0;
    t->whole_length = 0;
    t->complete = false;
}

static enum ms_status resolve(struct ms_read_trace *t, struct ms_error *err)
{
    struct ms_span *calls = realloc(t->calls, (t->n ? t->n : 1) * sizeof *calls);
    if (!calls)
        return no_memory(err);
    t->calls = calls;
    for (size_t i = 0; i < t->n; i++) {
        size_t from = t->indexes[i] ? t->name_end[t->indexes[i] - 1] : 0;
        t->calls[i] = ms_span_of(t->names.data + from, t->name_end[t->indexes[i]] - from);
    }
    return MS_OK;
}

enum ms_status ms_read_trace_get(struct ms_worker *worker, int fd,
                                 const struct ms_normal_options *view, struct ms_read_trace *out,
                                 struct ms_error *err)
{
    char text[MS_NORMAL_TEXT_BYTES];
    const struct ms_worker_limits limits = {.output_bytes = OUTPUT_MAX_BYTES};
    struct ms_worker_result result;
    struct ms_error fault = {0};
    ms_normal_options_text(view, text);
    reset(out);
    enum ms_status status =
        ms_worker_run(worker, ms_detect_kind.name, fd, ms_span_of(text, strlen(text)), &limits,
                      on_frame, out, &result, &fault);
    bool rejected = status == MS_REJECT;
    if (status == MS_OK && result.end == MS_WORKER_DONE && result.status == MS_E_IO)
        return ms_error_set(err, MS_E_IO, "%s", result.error.text);
    if (status == MS_OK && (result.end != MS_WORKER_DONE || result.status != MS_OK)) {
        rejected = true;
        fault = result.error;
    } else if (status == MS_OK && !out->complete) {
        rejected = true;
        (void)malformed(&fault);
    }
    if (rejected) {
        reset(out);
        (void)ms_escape_text(fault.text, out->reason, sizeof out->reason);
        return MS_OK;
    }
    if (status != MS_OK) {
        if (err)
            *err = fault;
        return status;
    }
    return resolve(out, err);
}
