/* Processes and calls of a report, streamed. It neither drops nor merges anything: that is
 * store/trace/normalise. */
#include "extract/report/behavior.h"

#include "base/limits.h"
#include "extract/report/alike.h"
#include "extract/report/when.h"

#include <stdlib.h>
#include <string.h>

struct short_text {
    size_t len;
    uint8_t bytes[MS_LIMIT_API_NAME_BYTES];
};

struct long_text {
    size_t len;
    uint8_t bytes[MS_LIMIT_NAME_BYTES];
};

struct reader {
    struct ms_scanner *scan;
    const struct ms_trace_sink *sink;
    struct ms_behavior_seen *seen;
    struct ms_alike *alike;
    struct short_text api, category;
    struct short_text last_time; /* text of the time read last … */
    int64_t last_time_us;        /* … and what it says */
    /* The present process, as far as it is known. */
    struct ms_process_info process;
    struct long_text name;
    bool announced; /* its `process` event is out … */
    bool changed;   /* … and no longer right */
    bool has_calls;
    uint64_t process_calls, process_real_calls;
};

bool ms_behavior_is_pseudo(struct ms_span api)
{
    return api.len == 0 || (api.len >= 2 && api.data[0] == '_' && api.data[1] == '_');
}

static size_t copy_cut(uint8_t *to, size_t cap, struct ms_span from)
{
    size_t n = from.len < cap ? from.len : cap;
    if (n)
        memcpy(to, from.data, n);
    return n;
}

/* The value due as text when it is a string (or a number, where `numbers`); else it is skipped and
 * *got is false. */
static enum ms_status take(struct reader *self, bool numbers, struct ms_span *out, bool *got,
                           struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    *got = status == MS_OK && (kind == MS_SCAN_STRING || (numbers && kind == MS_SCAN_NUMBER));
    if (status != MS_OK)
        return status;
    if (!*got)
        return ms_scanner_skip(self->scan, err);
    struct ms_scanner_text text;
    status = ms_scanner_text(self->scan, &text, err);
    if (status == MS_OK)
        *out = text.bytes;
    return status;
}

static enum ms_status take_u64(struct reader *self, uint64_t *out, struct ms_error *err)
{
    struct ms_span text;
    bool got;
    enum ms_status status = take(self, true, &text, &got, err);
    if (status == MS_OK && (!got || !ms_when_u64(text, out)))
        *out = 0;
    return status;
}

static enum ms_status take_time(struct reader *self, int64_t *out, struct ms_error *err)
{
    struct ms_span text;
    bool got;
    enum ms_status status = take(self, true, &text, &got, err);
    *out = MS_TIME_NONE;
    if (status != MS_OK || !got)
        return status;
    /* The guest's clock is coarse: 19 of 20 neighbours have the same time. */
    struct short_text *last = &self->last_time;
    if (text.len > sizeof last->bytes) {
        *out = ms_when_parse(text);
        return MS_OK;
    }
    if (text.len != last->len || (text.len && memcmp(text.data, last->bytes, text.len) != 0)) {
        self->last_time_us = ms_when_parse(text);
        last->len = copy_cut(last->bytes, sizeof last->bytes, text);
    }
    *out = self->last_time_us;
    return MS_OK;
}

static enum ms_status take_short(struct reader *self, struct short_text *out, struct ms_error *err)
{
    struct ms_span text;
    bool got;
    enum ms_status status = take(self, false, &text, &got, err);
    if (status == MS_OK)
        out->len = got ? copy_cut(out->bytes, sizeof out->bytes, text) : 0;
    return status;
}

/* `arguments` is skipped, but its type tells the formats apart. */
static enum ms_status skip_arguments(struct reader *self, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind == MS_SCAN_OBJECT)
        self->seen->dict_form = true;
    else if (kind == MS_SCAN_ARRAY)
        self->seen->list_form = true;
    return ms_scanner_skip(self->scan, err);
}

enum field {
    F_OTHER,
    F_API,
    F_CATEGORY,
    F_TIME,
    F_TIMESTAMP,
    F_TID,
    F_THREAD_ID,
    F_REPEATED,
    F_ARGUMENTS,
    F_CALLER,
    F_PID,
    F_PROCESS_ID,
    F_PPID,
    F_PARENT_ID,
    F_NAME,
    F_FIRST_SEEN,
    F_TRACK,
    F_CALLS
};

struct field_name {
    const char *name;
    size_t len;
    enum field field;
};

#define NAMED(text, field)           \
    {                                \
        text, sizeof text - 1, field \
    }

static const struct field_name call_fields[] = {
    NAMED("api", F_API),           NAMED("category", F_CATEGORY),
    NAMED("time", F_TIME),         NAMED("timestamp", F_TIMESTAMP),
    NAMED("tid", F_TID),           NAMED("thread_id", F_THREAD_ID),
    NAMED("repeated", F_REPEATED), NAMED("arguments", F_ARGUMENTS),
    NAMED("caller", F_CALLER),     NAMED("parentcaller", F_CALLER)};

static const struct field_name process_fields[] = {
    NAMED("pid", F_PID),     NAMED("process_id", F_PROCESS_ID), NAMED("ppid", F_PPID),
    NAMED("track", F_TRACK), NAMED("parent_id", F_PARENT_ID),   NAMED("process_name", F_NAME),
    NAMED("calls", F_CALLS), NAMED("first_seen", F_FIRST_SEEN)};

static enum field find_field(const struct field_name *fields, size_t n, struct ms_span key)
{
    for (size_t i = 0; i < n; i++)
        if (fields[i].len == key.len && memcmp(fields[i].name, key.data, key.len) == 0)
            return fields[i].field;
    return F_OTHER;
}

static enum ms_status call_field(struct reader *self, enum field field, struct ms_call_info *call,
                                 struct ms_error *err)
{
    switch (field) {
    case F_API:
        return take_short(self, &self->api, err);
    case F_CATEGORY:
        return take_short(self, &self->category, err);
    case F_TIME:
    case F_TIMESTAMP:
        if (field == F_TIME)
            self->seen->dict_form = true;
        else
            self->seen->list_form = true;
        return take_time(self, &call->time_us, err);
    case F_TID:
    case F_THREAD_ID:
        if (field == F_TID)
            self->seen->dict_form = true;
        else
            self->seen->list_form = true;
        return take_u64(self, &call->tid, err);
    case F_REPEATED: {
        enum ms_status status = take_u64(self, &call->repeated, err);
        if (call->repeated > MS_LIMIT_REPEATED)
            call->repeated = MS_LIMIT_REPEATED;
        return status;
    }
    case F_ARGUMENTS:
        return skip_arguments(self, err);
    case F_CALLER:
        self->seen->caller_fields = true;
        return ms_scanner_skip(self->scan, err);
    default:
        return ms_scanner_skip(self->scan, err);
    }
}

/* Counts a call and hands it on; the scanner stands behind it. */
static enum ms_status emit_call(struct reader *self, const struct ms_call_info *call,
                                struct ms_error *err)
{
    if (self->process_calls++ >= MS_LIMIT_CALLS)
        return ms_scanner_fault(self->scan, "too many calls in a process", err);
    self->seen->calls++;
    if (!ms_add_u64(self->seen->calls_expanded, 1 + call->repeated, &self->seen->calls_expanded))
        return ms_scanner_fault(self->scan, "the repeated counts overflow", err);
    if (!ms_behavior_is_pseudo(call->api))
        self->process_real_calls++;
    return self->sink->call(self->sink->ctx, call, err);
}

/* One entry of `calls`, due in the scanner. */
static enum ms_status read_call(struct reader *self, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind != MS_SCAN_OBJECT)
        return ms_scanner_fault(self->scan, "an entry of a process's calls is no object", err);
    struct ms_call_info call = {.space = MS_API_CALL, .tid = MS_TID_NONE, .time_us = MS_TIME_NONE};
    self->api.len = self->category.len = 0;
    status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        enum field field =
            find_field(call_fields, sizeof call_fields / sizeof *call_fields, key.bytes);
        status = call_field(self, field, &call, err);
    }
    if (status != MS_OK)
        return status;
    call.api = ms_span_of(self->api.bytes, self->api.len);
    call.category = ms_span_of(self->category.bytes, self->category.len);
    return emit_call(self, &call, err);
}

static enum ms_status announce(struct reader *self, struct ms_error *err)
{
    self->announced = true;
    self->changed = false;
    self->process.name = ms_span_of(self->name.bytes, self->name.len);
    return self->sink->process(self->sink->ctx, &self->process, err);
}

/* Opens the array that is due. *present is false for null; other types are the fault `why`. */
static enum ms_status enter_array(struct reader *self, const char *why, bool *present,
                                  struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    *present = status == MS_OK && kind == MS_SCAN_ARRAY;
    if (status != MS_OK)
        return status;
    if (kind == MS_SCAN_NULL)
        return ms_scanner_skip(self->scan, err);
    if (kind != MS_SCAN_ARRAY)
        return ms_scanner_fault(self->scan, why, err);
    return ms_scanner_enter(self->scan, err);
}

static enum ms_status read_calls(struct reader *self, struct ms_error *err)
{
    bool more;
    if (self->has_calls)
        return ms_scanner_fault(self->scan, "a process has two lists of calls", err);
    enum ms_status status = enter_array(self, "the calls of a process are no array", &more, err);
    if (status != MS_OK || !more)
        return status;
    self->has_calls = true;
    status = announce(self, err);
    while (status == MS_OK) {
        struct ms_call_info call;
        if (ms_alike_next(self->alike, self->scan, &call, self->seen)) {
            status = emit_call(self, &call, err);
            continue;
        }
        status = ms_scanner_element(self->scan, &more, err);
        if (status != MS_OK || !more)
            break;
        status = read_call(self, err);
    }
    return status;
}

static enum ms_status read_name(struct reader *self, struct ms_error *err)
{
    struct ms_span text;
    bool got;
    enum ms_status status = take(self, false, &text, &got, err);
    if (status == MS_OK)
        self->name.len = got ? copy_cut(self->name.bytes, sizeof self->name.bytes, text) : 0;
    return status;
}

static enum ms_status read_track(struct reader *self, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    self->process.tracked = kind != MS_SCAN_FALSE;
    return ms_scanner_skip(self->scan, err);
}

static enum ms_status process_field(struct reader *self, enum field field, struct ms_error *err)
{
    if (field == F_OTHER)
        return ms_scanner_skip(self->scan, err);
    if (field == F_CALLS)
        return read_calls(self, err);
    self->changed = true;
    switch (field) {
    case F_PID:
        self->seen->dict_form = true;
        return take_u64(self, &self->process.pid, err);
    case F_PROCESS_ID:
        self->seen->list_form = true;
        return take_u64(self, &self->process.pid, err);
    case F_PPID:
    case F_PARENT_ID:
        return take_u64(self, &self->process.parent_pid, err);
    case F_NAME:
        return read_name(self, err);
    case F_FIRST_SEEN:
        return take_time(self, &self->process.first_seen_us, err);
    default:
        return read_track(self, err);
    }
}

static enum ms_status read_process(struct reader *self, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind != MS_SCAN_OBJECT)
        return ms_scanner_fault(self->scan, "an entry of behavior.processes is no object", err);
    if (self->seen->process_count++ >= MS_LIMIT_PROCESSES)
        return ms_scanner_fault(self->scan, "too many processes", err);
    self->process = (struct ms_process_info){.first_seen_us = MS_TIME_NONE, .tracked = true};
    self->name.len = 0;
    self->announced = self->changed = self->has_calls = false;
    self->process_calls = self->process_real_calls = 0;
    status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        enum field field =
            find_field(process_fields, sizeof process_fields / sizeof *process_fields, key.bytes);
        status = process_field(self, field, err);
    }
    if (status == MS_OK && (!self->announced || self->changed))
        status = announce(self, err);
    if (status != MS_OK)
        return status;
    if (self->process.tracked)
        self->seen->real_calls += self->process_real_calls;
    return self->sink->process_end(self->sink->ctx, err);
}

static enum ms_status read_processes(struct reader *self, struct ms_error *err)
{
    bool more;
    if (self->seen->processes)
        return ms_scanner_fault(self->scan, "two lists of processes", err);
    enum ms_status status = enter_array(self, "behavior.processes is no array", &more, err);
    if (status != MS_OK || !more)
        return status;
    self->seen->processes = true;
    while (status == MS_OK) {
        status = ms_scanner_element(self->scan, &more, err);
        if (status != MS_OK || !more)
            break;
        status = read_process(self, err);
    }
    return status;
}

static enum ms_status read_members(struct reader *self, struct ms_error *err)
{
    enum ms_status status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        if (ms_span_equal_text(key.bytes, "processes")) {
            status = read_processes(self, err);
            continue;
        }
        if (ms_span_equal_text(key.bytes, "apistats") || ms_span_equal_text(key.bytes, "generic"))
            self->seen->dict_form = true;
        if (ms_span_equal_text(key.bytes, "encryptedbuffers"))
            self->seen->list_form = self->seen->caller_fields = true;
        status = ms_scanner_skip(self->scan, err);
    }
    return status;
}

/* A `behavior` of "[]", as writers give that have one kind of table for lists and objects. */
static enum ms_status pass_empty(struct ms_scanner *scan, struct ms_error *err)
{
    bool more = false;
    enum ms_status status = ms_scanner_enter(scan, err);
    if (status == MS_OK)
        status = ms_scanner_element(scan, &more, err);
    return status == MS_OK && more ? ms_scanner_fault(scan, "behavior is no object", err) : status;
}

enum ms_status ms_behavior_read(struct ms_scanner *scan, const struct ms_trace_sink *sink,
                                struct ms_behavior_seen *seen, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind == MS_SCAN_NULL)
        return ms_scanner_skip(scan, err);
    if (kind == MS_SCAN_ARRAY)
        return pass_empty(scan, err);
    if (kind != MS_SCAN_OBJECT)
        return ms_scanner_fault(scan, "behavior is no object", err);
    seen->behavior = true;
    struct reader *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    self->scan = scan;
    self->sink = sink;
    self->seen = seen;
    self->last_time_us = MS_TIME_NONE; /* of the empty text */
    status = ms_alike_new(&self->alike, err);
    if (status == MS_OK)
        status = read_members(self, err);
    ms_alike_free(self->alike);
    free(self);
    return status;
}
