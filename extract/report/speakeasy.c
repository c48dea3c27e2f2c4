/* Entry points and their calls out of an emulator's report. The document around them: read.c. */
#include "extract/report/speakeasy.h"

#include "base/limits.h"
#include "extract/report/behavior.h"
#include "extract/report/when.h"

#include <stdlib.h>
#include <string.h>

struct short_text {
    size_t len;
    uint8_t bytes[MS_LIMIT_API_NAME_BYTES];
};

struct reader {
    struct ms_scanner *scan;
    const struct ms_trace_sink *sink;
    struct ms_speakeasy_seen *seen;
    struct short_text name; /* the present entry point's */
    struct ms_process_info process;
    uint64_t process_calls;
    bool known;     /* a member of an entry point's was there */
    bool members;   /* any member was there */
    bool has_calls; /* its list of calls was read */
    bool is_open;   /* its `process` event is out … */
    bool changed;   /* … and no longer right */
};

/* What one element of `apis` or `events` says. */
struct event {
    struct short_text api;
    bool has_kind, is_api; /* `event` was there, and says "api" */
    bool has_pid;
    uint64_t pid, tid;
};

static enum ms_status take_text(struct reader *self, struct short_text *out, bool *got,
                                struct ms_error *err)
{
    enum ms_scanner_kind kind;
    struct ms_scanner_text text;
    enum ms_status status = ms_scanner_take(self->scan, &kind, &text, err);
    *got = status == MS_OK && kind == MS_SCAN_STRING;
    if (!*got)
        return status;
    out->len = text.bytes.len < sizeof out->bytes ? text.bytes.len : sizeof out->bytes;
    if (out->len)
        memcpy(out->bytes, text.bytes.data, out->len);
    return MS_OK;
}

static enum ms_status take_number(struct reader *self, uint64_t *out, bool *got,
                                  struct ms_error *err)
{
    enum ms_scanner_kind kind;
    struct ms_scanner_text text;
    enum ms_status status = ms_scanner_take(self->scan, &kind, &text, err);
    *got = status == MS_OK && (kind == MS_SCAN_NUMBER || kind == MS_SCAN_STRING) &&
           ms_when_u64(text.bytes, out);
    return status;
}

static enum ms_status announce(struct reader *self, struct ms_error *err)
{
    self->is_open = true;
    self->changed = false;
    self->process.name = ms_span_of(self->name.bytes, self->name.len);
    return self->sink->process(self->sink->ctx, &self->process, err);
}

/* `pos` of an event: who ran it. */
static enum ms_status read_position(struct reader *self, struct event *event, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status == MS_OK && kind != MS_SCAN_OBJECT)
        return ms_scanner_skip(self->scan, err);
    if (status == MS_OK)
        status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more, got;
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        if (ms_span_equal_text(key.bytes, "pid"))
            status = take_number(self, &event->pid, &event->has_pid, err);
        else if (ms_span_equal_text(key.bytes, "tid"))
            status = take_number(self, &event->tid, &got, err);
    }
    return status;
}

static enum ms_status event_field(struct reader *self, struct ms_span key, struct event *event,
                                  struct ms_error *err)
{
    struct short_text text = {0};
    bool got;
    if (ms_span_equal_text(key, "api_name")) {
        event->api.len = 0;
        return take_text(self, &event->api, &got, err);
    }
    if (ms_span_equal_text(key, "event")) {
        enum ms_status status = take_text(self, &text, &event->has_kind, err);
        event->is_api = ms_span_equal_text(ms_span_of(text.bytes, text.len), "api");
        return status;
    }
    if (ms_span_equal_text(key, "pos"))
        return read_position(self, event, err);
    if (ms_span_equal_text(key, "tid"))
        return take_number(self, &event->tid, &got, err);
    if (ms_span_equal_text(key, "pid"))
        return take_number(self, &event->pid, &event->has_pid, err);
    return ms_scanner_skip(self->scan, err);
}

static struct ms_span module_of(struct ms_span api)
{
    for (size_t i = api.len; i > 0; i--)
        if (api.data[i - 1] == '.')
            return ms_span_of(api.data, i - 1);
    return ms_span_of(api.data, 0);
}

static enum ms_status emit(struct reader *self, const struct event *event, struct ms_error *err)
{
    struct ms_span api = ms_span_of(event->api.bytes, event->api.len);
    const struct ms_call_info call = {.api = api,
                                      .category = module_of(api),
                                      .space = MS_API_CALL,
                                      .tid = event->tid,
                                      .time_us = MS_TIME_NONE};
    if (self->process_calls++ >= MS_LIMIT_CALLS)
        return ms_scanner_fault(self->scan, "too many calls in an entry point", err);
    self->seen->calls++;
    if (!ms_behavior_is_pseudo(api))
        self->seen->real_calls++;
    if (event->has_pid && !self->process.pid) {
        self->process.pid = event->pid;
        self->changed = true;
    }
    return self->sink->call(self->sink->ctx, &call, err);
}

/* One element of `apis`, or of `events`, where only those of kind "api" are calls. */
static enum ms_status read_event(struct reader *self, bool mixed, struct ms_error *err)
{
    struct event event = {.tid = MS_TID_NONE};
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status == MS_OK && kind != MS_SCAN_OBJECT)
        status =
            ms_scanner_fault(self->scan, "an entry of an entry point's calls is no object", err);
    if (status == MS_OK)
        status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        status = event_field(self, key.bytes, &event, err);
    }
    bool wanted = mixed ? event.has_kind && event.is_api : !event.has_kind || event.is_api;
    return status == MS_OK && wanted ? emit(self, &event, err) : status;
}

/* Opens the array that is due. *present is false for null. */
static enum ms_status enter_list(struct reader *self, const char *why, bool *present,
                                 struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    *present = status == MS_OK && kind == MS_SCAN_ARRAY;
    if (status != MS_OK)
        return status;
    if (kind == MS_SCAN_NULL)
        return ms_scanner_skip(self->scan, err);
    return *present ? ms_scanner_enter(self->scan, err) : ms_scanner_fault(self->scan, why, err);
}

static enum ms_status read_calls(struct reader *self, bool mixed, struct ms_error *err)
{
    bool more;
    enum ms_status status =
        enter_list(self, "the calls of an entry point are no array", &more, err);
    if (status != MS_OK || !more)
        return status;
    if (self->has_calls)
        return ms_scanner_fault(self->scan, "an entry point has two lists of calls", err);
    self->has_calls = true;
    status = announce(self, err);
    while (status == MS_OK) {
        status = ms_scanner_element(self->scan, &more, err);
        if (status != MS_OK || !more)
            break;
        status = read_event(self, mixed, err);
    }
    return status;
}

static enum ms_status entry_field(struct reader *self, struct ms_span key, struct ms_error *err)
{
    static const char *const others[] = {"start_addr", "ep_args", "apihash", "ret_val",
                                         "instr_count"};
    bool got;
    self->members = true;
    if (ms_span_equal_text(key, "apis") || ms_span_equal_text(key, "events")) {
        self->known = true;
        return read_calls(self, key.len == strlen("events"), err);
    }
    if (ms_span_equal_text(key, "ep_type")) {
        self->known = self->changed = true;
        self->name.len = 0;
        return take_text(self, &self->name, &got, err);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        self->known = self->known || ms_span_equal_text(key, others[i]);
    return ms_scanner_skip(self->scan, err);
}

static enum ms_status read_entry(struct reader *self, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind != MS_SCAN_OBJECT)
        return ms_scanner_fault(self->scan, "an entry point is no object", err);
    if (self->seen->process_count++ >= MS_LIMIT_PROCESSES)
        return ms_scanner_fault(self->scan, "too many entry points", err);
    self->process = (struct ms_process_info){.first_seen_us = MS_TIME_NONE, .tracked = true};
    self->name.len = 0;
    self->process_calls = 0;
    self->known = self->members = self->has_calls = self->is_open = self->changed = false;
    status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        status = entry_field(self, key.bytes, err);
    }
    self->seen->other = self->seen->other || (self->members && !self->known);
    if (status == MS_OK && (!self->is_open || self->changed))
        status = announce(self, err);
    return status == MS_OK ? self->sink->process_end(self->sink->ctx, err) : status;
}

enum ms_status ms_speakeasy_read(struct ms_scanner *scan, const struct ms_trace_sink *sink,
                                 struct ms_speakeasy_seen *seen, struct ms_error *err)
{
    bool more;
    struct reader *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    self->scan = scan;
    self->sink = sink;
    self->seen = seen;
    enum ms_status status = enter_list(self, "entry_points is no array", &more, err);
    if (status == MS_OK && more)
        seen->entry_points = true;
    while (status == MS_OK && more) {
        status = ms_scanner_element(scan, &more, err);
        if (status != MS_OK || !more)
            break;
        status = read_entry(self, err);
    }
    free(self);
    return status;
}
