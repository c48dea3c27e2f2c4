/* The trace codec. Encoding is incremental; decoding trusts nothing. It knows no names and no
 * database. */
#include "store/trace/encode.h"

#include "base/limits.h"
#include "base/zstd.h"

#include <stdlib.h>
#include <string.h>

/* Slots of the id map: a power of two well above the dictionary's limit. */
enum { MAX_APIS = MS_LIMIT_APIS_PER_REPORT + 1, SLOTS = 16384, LEVEL = 6 };

struct ms_trace_encoder {
    uint64_t calls, expanded;
    uint32_t api_count;
    uint32_t apis[MAX_APIS];
    uint16_t slots[SLOTS]; /* local index + 1; 0: free */
    struct ms_buf indexes, repeats, threads, times;
    uint64_t since_repeat; /* entries since the last one with repeated > 0 */
    uint64_t tid, tid_before, tid_run;
    int64_t time_us, time_known; /* of the present run; last known one before it */
    uint64_t time_run;
};

static uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (0 - (difference >> 63));
}

static uint64_t unzigzag(uint64_t code)
{
    return code >> 1 ^ (0 - (code & 1));
}

enum ms_status ms_trace_encoder_new(struct ms_trace_encoder **out, struct ms_error *err)
{
    struct ms_trace_encoder *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    ms_buf_init(&self->indexes, MS_LIMIT_TRACE_PLAIN_BYTES);
    ms_buf_init(&self->repeats, MS_LIMIT_TRACE_PLAIN_BYTES);
    ms_buf_init(&self->threads, MS_LIMIT_TRACE_PLAIN_BYTES);
    ms_buf_init(&self->times, MS_LIMIT_TRACE_PLAIN_BYTES);
    *out = self;
    return MS_OK;
}

void ms_trace_encoder_free(struct ms_trace_encoder *self)
{
    if (!self)
        return;
    ms_buf_release(&self->indexes);
    ms_buf_release(&self->repeats);
    ms_buf_release(&self->threads);
    ms_buf_release(&self->times);
    free(self);
}

void ms_trace_encoder_reset(struct ms_trace_encoder *self)
{
    ms_buf_clear(&self->indexes);
    ms_buf_clear(&self->repeats);
    ms_buf_clear(&self->threads);
    ms_buf_clear(&self->times);
    memset(self->slots, 0, sizeof self->slots);
    self->calls = self->expanded = self->since_repeat = 0;
    self->api_count = 0;
    self->tid = self->tid_before = self->tid_run = 0;
    self->time_us = self->time_known = 0;
    self->time_run = 0;
}

uint64_t ms_trace_encoder_calls(const struct ms_trace_encoder *self)
{
    return self->calls;
}

uint64_t ms_trace_encoder_expanded(const struct ms_trace_encoder *self)
{
    return self->expanded;
}

/* The local index of an id, given to it when new; MAX_APIS when the dictionary is full. */
static uint32_t local_index(struct ms_trace_encoder *self, uint32_t api)
{
    uint32_t slot = api * 2654435761U >> 18; /* 14 bits: SLOTS */
    for (; self->slots[slot]; slot = (slot + 1) % SLOTS) {
        uint32_t local = self->slots[slot] - 1U;
        if (self->apis[local] == api)
            return local;
    }
    if (self->api_count == MAX_APIS)
        return MAX_APIS;
    self->apis[self->api_count++] = api;
    self->slots[slot] = (uint16_t)self->api_count;
    return self->api_count - 1;
}

static void end_tid_run(struct ms_trace_encoder *self)
{
    if (!self->tid_run)
        return;
    ms_buf_append_varint(&self->threads, self->tid_run - 1);
    ms_buf_append_varint(&self->threads, zigzag(self->tid - self->tid_before));
    self->tid_before = self->tid;
    self->tid_run = 0;
}

static void end_time_run(struct ms_trace_encoder *self)
{
    if (!self->time_run)
        return;
    bool known = self->time_us != MS_TIME_NONE;
    ms_buf_append_varint(&self->times, (self->time_run - 1) * 2 + known);
    if (known) {
        ms_buf_append_varint(&self->times,
                             zigzag((uint64_t)self->time_us - (uint64_t)self->time_known));
        self->time_known = self->time_us;
    }
    self->time_run = 0;
}

static bool any_failed(const struct ms_trace_encoder *self)
{
    return self->indexes.failed || self->repeats.failed || self->threads.failed ||
           self->times.failed;
}

enum ms_status ms_trace_encoder_add(struct ms_trace_encoder *self, const struct ms_trace_call *call,
                                    struct ms_error *err)
{
    if (self->calls >= MS_LIMIT_CALLS)
        return ms_error_set(err, MS_REJECT, "too many calls in a process");
    if (call->repeated > MS_LIMIT_REPEATED)
        return ms_error_set(err, MS_E_BUG, "a call's repeated count was not capped");
    uint32_t index = local_index(self, call->api);
    if (index == MAX_APIS)
        return ms_error_set(err, MS_REJECT, "too many distinct APIs in a process");
    ms_buf_append_varint(&self->indexes, index);
    if (call->repeated) {
        ms_buf_append_varint(&self->repeats, self->since_repeat);
        ms_buf_append_varint(&self->repeats, call->repeated);
        self->since_repeat = 0;
    } else {
        self->since_repeat++;
    }
    if (self->tid_run && self->tid != call->tid)
        end_tid_run(self);
    self->tid = call->tid;
    self->tid_run++;
    if (self->time_run && self->time_us != call->time_us)
        end_time_run(self);
    self->time_us = call->time_us;
    self->time_run++;
    self->calls++;
    self->expanded += 1 + call->repeated;
    return any_failed(self) ? ms_error_set(err, MS_E_NOMEM, "no memory for a trace") : MS_OK;
}

static enum ms_status append_body(struct ms_trace_encoder *self, struct ms_buf *out,
                                  struct ms_error *err)
{
    struct ms_buf body;
    ms_buf_init(&body, MS_LIMIT_TRACE_PLAIN_BYTES);
    ms_buf_append_varint(&body, self->indexes.len);
    ms_buf_append_varint(&body, self->repeats.len);
    ms_buf_append_varint(&body, self->threads.len);
    ms_buf_append(&body, self->indexes.data, self->indexes.len);
    ms_buf_append(&body, self->repeats.data, self->repeats.len);
    ms_buf_append(&body, self->threads.data, self->threads.len);
    ms_buf_append(&body, self->times.data, self->times.len);
    ms_buf_append_varint(out, body.len);
    enum ms_status status = MS_OK;
    if (body.failed)
        status = ms_error_set(err, MS_REJECT, "a trace's body is too large");
    else
        status = ms_zstd_compress(body.data, body.len, LEVEL, out, err);
    ms_buf_release(&body);
    return status == MS_E_LIMIT ? ms_error_set(err, MS_REJECT, "a trace is too large") : status;
}

enum ms_status ms_trace_encoder_finish(struct ms_trace_encoder *self, struct ms_buf *out,
                                       struct ms_error *err)
{
    end_tid_run(self);
    end_time_run(self);
    if (any_failed(self))
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    ms_buf_append_byte(out, MS_TRACE_VERSION);
    ms_buf_append_varint(out, self->calls);
    ms_buf_append_varint(out, self->expanded);
    ms_buf_append_varint(out, self->api_count);
    for (uint32_t i = 0; i < self->api_count; i++)
        ms_buf_append_varint(out, self->apis[i]);
    enum ms_status status = self->calls ? append_body(self, out, err) : MS_OK;
    if (status == MS_OK && out->failed)
        status = ms_error_set(err, MS_REJECT, "a trace is too large");
    ms_trace_encoder_reset(self);
    return status;
}

/* --- decoding --- */

static enum ms_status damaged(struct ms_error *err, const char *what)
{
    return ms_error_set(err, MS_REJECT, "damaged trace: %s", what);
}

/* The head up to the dictionary, moved behind it. */
static enum ms_status take_head(struct ms_span *rest, struct ms_trace_head *out,
                                struct ms_error *err)
{
    uint8_t version;
    uint64_t apis;
    if (!ms_span_take_u8(rest, &version) || !ms_span_take_varint(rest, &out->calls) ||
        !ms_span_take_varint(rest, &out->expanded) || !ms_span_take_varint(rest, &apis))
        return damaged(err, "its head is cut short");
    if (version != MS_TRACE_VERSION)
        return damaged(err, "it has an unknown version");
    if (out->calls > MS_LIMIT_CALLS || apis > MAX_APIS || apis > out->calls ||
        out->expanded < out->calls || (out->calls && !apis) || (!out->calls && out->expanded))
        return damaged(err, "its counts are out of range");
    out->apis = (uint32_t)apis;
    return MS_OK;
}

static bool take_id(struct ms_span *rest, uint32_t *out)
{
    uint64_t id;
    if (!ms_span_take_varint(rest, &id) || id > UINT32_MAX)
        return false;
    *out = (uint32_t)id;
    return true;
}

enum ms_status ms_trace_head_read(struct ms_span blob, struct ms_trace_head *out,
                                  struct ms_error *err)
{
    return take_head(&blob, out, err);
}

enum ms_status ms_trace_mentions(struct ms_span blob, const uint32_t *ids, size_t count,
                                 bool *found, struct ms_error *err)
{
    struct ms_trace_head head;
    enum ms_status status = take_head(&blob, &head, err);
    *found = false;
    for (uint32_t i = 0; i < head.apis && status == MS_OK && !*found; i++) {
        uint32_t id;
        if (!take_id(&blob, &id))
            return damaged(err, "its dictionary is cut short");
        for (size_t k = 0; k < count; k++)
            *found = *found || ids[k] == id;
    }
    return status;
}

enum ms_status ms_trace_remap(struct ms_span blob, const uint32_t *ids, size_t count,
                              struct ms_buf *out, struct ms_error *err)
{
    struct ms_trace_head head;
    struct ms_span rest = blob;
    enum ms_status status = take_head(&rest, &head, err);
    if (status != MS_OK)
        return status;
    ms_buf_append_byte(out, MS_TRACE_VERSION);
    ms_buf_append_varint(out, head.calls);
    ms_buf_append_varint(out, head.expanded);
    ms_buf_append_varint(out, head.apis);
    for (uint32_t i = 0; i < head.apis; i++) {
        uint32_t id;
        if (!take_id(&rest, &id) || id >= count)
            return damaged(err, "its dictionary names an unknown API");
        ms_buf_append_varint(out, ids[id]);
    }
    ms_buf_append(out, rest.data, rest.len);
    return out->failed ? ms_error_set(err, MS_REJECT, "a trace is too large") : MS_OK;
}

struct ms_trace_decoder {
    struct ms_trace_head head;
    uint32_t *apis;
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
static bool split_body(struct ms_trace_decoder *self)
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

static enum ms_status open_body(struct ms_trace_decoder *self, struct ms_span rest,
                                struct ms_error *err)
{
    self->apis = calloc(self->head.apis ? self->head.apis : 1, sizeof *self->apis);
    if (!self->apis)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    for (uint32_t i = 0; i < self->head.apis; i++)
        if (!take_id(&rest, &self->apis[i]))
            return damaged(err, "its dictionary is cut short");
    if (!self->head.calls)
        return rest.len ? damaged(err, "something lies behind it") : MS_OK;
    uint64_t plain;
    if (!ms_span_take_varint(&rest, &plain) || plain > MS_LIMIT_TRACE_PLAIN_BYTES ||
        plain < self->head.calls)
        return damaged(err, "its body's length is out of range");
    ms_buf_init(&self->body, (size_t)plain);
    enum ms_status status = ms_zstd_decompress(rest.data, rest.len, &self->body, err);
    if (status == MS_E_NOMEM)
        return status;
    if (status != MS_OK || self->body.len != plain || !split_body(self))
        return damaged(err, "its body does not unpack");
    return MS_OK;
}

enum ms_status ms_trace_decoder_open(struct ms_span blob, struct ms_trace_decoder **out,
                                     struct ms_error *err)
{
    struct ms_trace_decoder *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    enum ms_status status = take_head(&blob, &self->head, err);
    if (status == MS_OK)
        status = open_body(self, blob, err);
    if (status != MS_OK) {
        ms_trace_decoder_close(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_trace_decoder_close(struct ms_trace_decoder *self)
{
    if (!self)
        return;
    ms_buf_release(&self->body);
    free(self->apis);
    free(self);
}

void ms_trace_decoder_head(const struct ms_trace_decoder *self, struct ms_trace_head *out)
{
    *out = self->head;
}

const uint32_t *ms_trace_decoder_apis(const struct ms_trace_decoder *self)
{
    return self->apis;
}

static bool take_index(struct ms_trace_decoder *self, struct ms_trace_call *call)
{
    uint64_t index;
    if (!ms_span_take_varint(&self->indexes, &index) || index >= self->head.apis ||
        index > self->apis_seen)
        return false;
    if (index == self->apis_seen)
        self->apis_seen++;
    call->api = self->apis[index];
    return true;
}

static bool take_repeated(struct ms_trace_decoder *self, struct ms_trace_call *call)
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

static bool take_tid(struct ms_trace_decoder *self, struct ms_trace_call *call)
{
    if (!self->tid_run) {
        uint64_t run, code;
        if (!ms_span_take_varint(&self->threads, &run) ||
            !ms_span_take_varint(&self->threads, &code) || run >= self->head.calls - self->done ||
            (self->done && !code))
            return false;
        self->tid += unzigzag(code);
        self->tid_run = run + 1;
    }
    self->tid_run--;
    call->tid = self->tid;
    return true;
}

static bool take_time(struct ms_trace_decoder *self, struct ms_trace_call *call)
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
            self->time_known = (int64_t)((uint64_t)self->time_known + unzigzag(code));
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

enum ms_status ms_trace_decoder_next(struct ms_trace_decoder *self, struct ms_trace_call *calls,
                                     size_t cap, size_t *n, struct ms_error *err)
{
    size_t got = 0;
    for (; got < cap && self->done < self->head.calls; got++) {
        struct ms_trace_call *call = &calls[got];
        if (!take_index(self, call) || !take_repeated(self, call) || !take_tid(self, call) ||
            !take_time(self, call))
            return damaged(err, "its streams do not agree");
        self->done++;
        self->expanded += 1 + call->repeated;
    }
    *n = got;
    if (got || self->done < self->head.calls)
        return MS_OK;
    if (self->indexes.len || self->repeats.len || self->repeat_due || self->threads.len ||
        self->times.len || self->apis_seen != self->head.apis ||
        self->expanded != self->head.expanded)
        return damaged(err, "its counts do not agree");
    return MS_OK;
}
