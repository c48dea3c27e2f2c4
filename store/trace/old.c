/* Reads blobs of version 1, which older corpora hold: one frame, streams of LEB128. Nothing writes
 * them any more. */
#include "store/trace/block.h"

#include <stdlib.h>
#include <string.h>

struct ms_trace_old {
    struct ms_trace_head head;
    const uint32_t *apis; /* the decoder's */
    struct ms_buf body;
    struct ms_span indexes, repeats, threads, times; /* what is left of each */
    uint64_t done, expanded;
    uint32_t apis_seen;
    bool repeat_due; /* the next repeat's gap was read … */
    uint64_t repeat_gap;
    uint64_t tid, tid_run; /* value and what is left of the present run */
    int64_t time_us, time_known;
    uint64_t time_run;
};

/* Splits the body into its streams. */
static bool split_body(struct ms_trace_old *self)
{
    struct ms_span rest = ms_span_of(self->body.data, self->body.len);
    uint64_t indexes, repeats, threads;
    if (!ms_span_take_varint(&rest, &indexes) || !ms_span_take_varint(&rest, &repeats) ||
        !ms_span_take_varint(&rest, &threads) || !ms_span_take(&rest, indexes, &self->indexes) ||
        !ms_span_take(&rest, repeats, &self->repeats) ||
        !ms_span_take(&rest, threads, &self->threads))
        return false;
    self->times = rest;
    return indexes >= self->head.calls;
}

static enum ms_status open_body(struct ms_trace_old *self, struct ms_span rest,
                                struct ms_error *err)
{
    if (!self->head.calls)
        return rest.len ? ms_trace_damaged(err, "something lies behind it") : MS_OK;
    uint64_t plain;
    if (!ms_span_take_varint(&rest, &plain) || plain > MS_LIMIT_TRACE_PLAIN_BYTES ||
        plain < self->head.calls)
        return ms_trace_damaged(err, "its body's length is out of range");
    ms_buf_init(&self->body, (size_t)plain);
    enum ms_status status = ms_zstd_decompress(rest.data, rest.len, &self->body, err);
    if (status == MS_E_NOMEM)
        return status;
    if (status != MS_OK || self->body.len != plain || !split_body(self))
        return ms_trace_damaged(err, "its body does not unpack");
    return MS_OK;
}

enum ms_status ms_trace_old_open(struct ms_span rest, const struct ms_trace_head *head,
                                 const uint32_t *apis, struct ms_trace_old **out,
                                 struct ms_error *err)
{
    struct ms_trace_old *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    self->head = *head;
    self->apis = apis;
    enum ms_status status = open_body(self, rest, err);
    if (status != MS_OK) {
        ms_trace_old_close(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_trace_old_close(struct ms_trace_old *self)
{
    if (!self)
        return;
    ms_buf_release(&self->body);
    free(self);
}

static bool take_index(struct ms_trace_old *self, struct ms_trace_call *call, uint16_t *place)
{
    uint64_t index;
    if (!ms_span_take_varint(&self->indexes, &index) || index >= self->head.apis ||
        index > self->apis_seen)
        return false;
    if (index == self->apis_seen)
        self->apis_seen++;
    call->api = self->apis[index];
    *place = (uint16_t)index;
    return true;
}

static bool take_repeated(struct ms_trace_old *self, struct ms_trace_call *call)
{
    call->repeated = 0;
    if (!self->repeat_due) {
        if (!self->repeats.len)
            return true;
        if (!ms_span_take_varint(&self->repeats, &self->repeat_gap))
            return false;
        self->repeat_due = true;
    }
    if (self->repeat_gap) {
        self->repeat_gap--;
        return true;
    }
    self->repeat_due = false;
    return ms_span_take_varint(&self->repeats, &call->repeated) && call->repeated > 0 &&
           call->repeated <= MS_LIMIT_REPEATED;
}

static bool take_tid(struct ms_trace_old *self, struct ms_trace_call *call)
{
    if (!self->tid_run) {
        uint64_t run, code;
        if (!ms_span_take_varint(&self->threads, &run) ||
            !ms_span_take_varint(&self->threads, &code) || run >= self->head.calls - self->done ||
            (self->done && !code))
            return false;
        self->tid += ms_unzigzag(code);
        self->tid_run = run + 1;
    }
    self->tid_run--;
    call->tid = self->tid;
    return true;
}

static bool take_time(struct ms_trace_old *self, struct ms_trace_call *call)
{
    if (!self->time_run) {
        uint64_t run, code;
        bool was_known = self->done && self->time_us != MS_TIME_NONE;
        if (!ms_span_take_varint(&self->times, &run) || run >> 1 >= self->head.calls - self->done)
            return false;
        self->time_run = (run >> 1) + 1;
        if (run & 1) {
            if (!ms_span_take_varint(&self->times, &code) || (was_known && !code))
                return false;
            self->time_known = (int64_t)((uint64_t)self->time_known + ms_unzigzag(code));
            self->time_us = self->time_known;
            if (self->time_us == MS_TIME_NONE)
                return false;
        } else {
            if (self->done && !was_known)
                return false;
            self->time_us = MS_TIME_NONE;
        }
    }
    self->time_run--;
    call->time_us = self->time_us;
    return true;
}

enum ms_status ms_trace_old_block(struct ms_trace_old *self, struct ms_block_reader *reader,
                                  struct ms_trace_columns *out, struct ms_error *err)
{
    size_t n = 0;
    out->first = self->done;
    for (; n < MS_TRACE_BLOCK && self->done < self->head.calls; n++) {
        struct ms_trace_call call;
        if (!take_index(self, &call, &reader->place[n]) || !take_repeated(self, &call) ||
            !take_tid(self, &call) || !take_time(self, &call))
            return ms_trace_damaged(err, "its streams do not agree");
        self->done++;
        self->expanded += 1 + call.repeated;
        reader->api[n] = call.api;
        reader->tid[n] = call.tid;
        reader->time_us[n] = call.time_us;
        reader->repeated[n] = call.repeated;
    }
    out->n = n;
    out->api = reader->api;
    out->place = reader->place;
    out->tid = reader->tid;
    out->time_us = reader->time_us;
    out->repeated = reader->repeated;
    if (n)
        return MS_OK;
    if (self->indexes.len || self->repeats.len || self->repeat_due || self->threads.len ||
        self->times.len || self->apis_seen != self->head.apis ||
        self->expanded != self->head.expanded)
        return ms_trace_damaged(err, "its counts do not agree");
    return MS_OK;
}
