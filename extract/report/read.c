/* The top level of a report: which format it is, what it says about itself and its target, and the
 * verdict on its shape. Calls are read in behavior.c, speakeasy.c and drakvuf.c. */
#include "extract/report/read.h"

#include "base/limits.h"
#include "extract/report/behavior.h"
#include "extract/report/drakvuf.h"
#include "extract/report/speakeasy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD_BYTES = 512, HEAD_BYTES = 64 << 10 };

/* A source whose first bytes were looked at already. */
struct head {
    ms_scanner_source source;
    void *source_ctx;
    size_t len, at;
    bool whole; /* nothing follows */
    bool source_failed;
    uint8_t bytes[HEAD_BYTES];
};

struct field {
    size_t len;
    uint8_t bytes[FIELD_BYTES];
};

struct top {
    struct ms_scanner *scan;
    const struct ms_trace_sink *sink;
    struct ms_behavior_seen seen;
    struct ms_speakeasy_seen emulated;
    struct ms_drakvuf_seen log;
    bool is_log;
    bool is_report;    /* one of info, target, behavior was there */
    bool is_emulation; /* likewise of entry_points, emu_version, emulation_total_runtime */
    enum ms_report_foreign foreign;
    bool cape_member;
    bool behavior_read;
    struct field version, package, sha256, sha1, md5, name;
    struct field own_sha256, own_path, emulator; /* of an emulator's report */
    struct head head;
};

/* A fault of the source is none of the text's. */
static enum ms_status ask_source(struct head *self, void *buf, size_t cap, size_t *n,
                                 struct ms_error *err)
{
    enum ms_status status = self->source(self->source_ctx, buf, cap, n, err);
    self->source_failed = status != MS_OK;
    return status;
}

static enum ms_status read_source(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct head *self = ctx;
    size_t left = self->len - self->at;
    if (!left)
        return ask_source(self, buf, cap, n, err);
    *n = left < cap ? left : cap;
    memcpy(buf, self->bytes + self->at, *n);
    self->at += *n;
    return MS_OK;
}

static enum ms_status fill_head(struct head *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (status == MS_OK && !self->whole && self->len < sizeof self->bytes) {
        size_t n = 0;
        status = ask_source(self, self->bytes + self->len, sizeof self->bytes - self->len, &n, err);
        self->len += status == MS_OK ? n : 0;
        self->whole = n == 0;
    }
    return status;
}

/* The first byte that is neither white space nor a byte order mark; 0 when there is none. */
static uint8_t first_byte(const struct head *self)
{
    size_t i = self->len >= 3 && memcmp(self->bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (i < self->len && memchr(" \t\r\n", self->bytes[i], 4))
        i++;
    return i < self->len ? self->bytes[i] : 0;
}

const char *ms_report_state_name(enum ms_report_state state)
{
    switch (state) {
    case MS_REPORT_OK:
        return "ok";
    case MS_REPORT_NO_CALLS:
        return "no_calls";
    case MS_REPORT_NO_BEHAVIOR:
        return "no_behavior";
    case MS_REPORT_INVALID:
        break;
    }
    return "report_invalid";
}

/* Where the members of an object go: texts are copied, one of them may be an object with members of
 * its own. */
struct wanted {
    const char *key;
    struct field *text;
    const struct wanted *inside;
    size_t inside_count;
};

static enum ms_status read_text(struct ms_scanner *scan, struct field *out, struct ms_error *err)
{
    struct ms_scanner_text text;
    enum ms_status status = ms_scanner_text(scan, &text, err);
    if (status != MS_OK)
        return status;
    out->len = text.bytes.len < sizeof out->bytes ? text.bytes.len : sizeof out->bytes;
    if (out->len)
        memcpy(out->bytes, text.bytes.data, out->len);
    return MS_OK;
}

/* The value due: picks the wanted texts out of it when it is an object, skips it otherwise. The
 * nesting is that of the static tables below. */
static enum ms_status pick(struct ms_scanner *scan, const struct wanted *wanted, size_t n,
                           struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind != MS_SCAN_OBJECT)
        return ms_scanner_skip(scan, err);
    status = ms_scanner_enter(scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        status = ms_scanner_member(scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        const struct wanted *hit = NULL;
        for (size_t i = 0; i < n && !hit; i++)
            if (ms_span_equal_text(key.bytes, wanted[i].key))
                hit = &wanted[i];
        if (!hit)
            continue;
        if (hit->inside)
            status = pick(scan, hit->inside, hit->inside_count, err);
        else if ((status = ms_scanner_peek(scan, &kind, err)) == MS_OK &&
                 (kind == MS_SCAN_STRING || kind == MS_SCAN_NUMBER))
            status = read_text(scan, hit->text, err);
    }
    return status;
}

static enum ms_status read_own_text(struct top *self, struct field *out, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    return kind == MS_SCAN_STRING ? read_text(self->scan, out, err)
                                  : ms_scanner_skip(self->scan, err);
}

/* Members of an emulator's report; *taken is false for all others. */
static enum ms_status read_emulated(struct top *self, struct ms_span key, bool *taken,
                                    struct ms_error *err)
{
    *taken = true;
    if (ms_span_equal_text(key, "entry_points")) {
        self->is_emulation = true;
        if (self->emulated.entry_points)
            return ms_scanner_fault(self->scan, "entry_points occurs twice", err);
        return ms_speakeasy_read(self->scan, self->sink, &self->emulated, err);
    }
    if (ms_span_equal_text(key, "emu_version")) {
        self->is_emulation = true;
        return read_own_text(self, &self->emulator, err);
    }
    if (ms_span_equal_text(key, "report_version") && !self->emulator.len)
        return read_own_text(self, &self->emulator, err);
    if (ms_span_equal_text(key, "sha256"))
        return read_own_text(self, &self->own_sha256, err);
    if (ms_span_equal_text(key, "path") || ms_span_equal_text(key, "filepath"))
        return read_own_text(self, &self->own_path, err);
    self->is_emulation = self->is_emulation || ms_span_equal_text(key, "emulation_total_runtime");
    *taken = false;
    return MS_OK;
}

static enum ms_status read_member(struct top *self, struct ms_span key, struct ms_error *err)
{
    bool taken;
    enum ms_status status = read_emulated(self, key, &taken, err);
    if (status != MS_OK || taken)
        return status;
    if (ms_span_equal_text(key, "behavior")) {
        self->is_report = true;
        if (self->behavior_read)
            return ms_scanner_fault(self->scan, "behavior occurs twice", err);
        self->behavior_read = true;
        return ms_behavior_read(self->scan, self->sink, &self->seen, err);
    }
    if (ms_span_equal_text(key, "info")) {
        self->is_report = true;
        const struct wanted info[] = {{"version", &self->version, NULL, 0},
                                      {"package", &self->package, NULL, 0}};
        return pick(self->scan, info, sizeof info / sizeof *info, err);
    }
    if (ms_span_equal_text(key, "target")) {
        self->is_report = true;
        const struct wanted file[] = {{"sha256", &self->sha256, NULL, 0},
                                      {"sha1", &self->sha1, NULL, 0},
                                      {"md5", &self->md5, NULL, 0},
                                      {"name", &self->name, NULL, 0}};
        const struct wanted target[] = {{"file", NULL, file, sizeof file / sizeof *file}};
        return pick(self->scan, target, 1, err);
    }
    if (ms_span_equal_text(key, "CAPE"))
        self->cape_member = true;
    return ms_scanner_skip(self->scan, err);
}

/* Where the document is JSON, but no report. */
static enum ms_status stranger(struct top *self, const char *why, struct ms_error *err)
{
    self->foreign = MS_FOREIGN_JSON;
    return ms_scanner_fault(self->scan, why, err);
}

static enum ms_status read_members(struct top *self, struct ms_error *err)
{
    enum ms_status status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK)
            return status;
        if (!more)
            break;
        status = read_member(self, key.bytes, err);
    }
    if (status != MS_OK)
        return status;
    if (!self->is_report && !self->is_emulation) {
        self->foreign = MS_FOREIGN_JSON; /* also where more documents follow */
        status = ms_scanner_finish(self->scan, err);
        return status != MS_OK ? status
                               : stranger(self,
                                          "JSON, but no sandbox report: none of info, target, "
                                          "behavior, entry_points",
                                          err);
    }
    if (self->behavior_read && self->emulated.entry_points)
        return ms_scanner_fault(self->scan, "both behavior and entry_points", err);
    return ms_scanner_finish(self->scan, err);
}

/* A list of entry points and nothing around it, as some store it. */
static enum ms_status read_list(struct top *self, struct ms_error *err)
{
    self->is_emulation = true;
    enum ms_status status = ms_speakeasy_read(self->scan, self->sink, &self->emulated, err);
    bool strange = !self->emulated.calls && (self->emulated.other || !self->emulated.process_count);
    self->foreign = strange ? MS_FOREIGN_JSON : MS_FOREIGN_NO;
    if (status == MS_OK)
        status = ms_scanner_finish(self->scan, err);
    if (status == MS_OK && strange)
        status =
            stranger(self, "JSON, but no sandbox report: a list, and not of entry points", err);
    return status;
}

static enum ms_status read_document(struct top *self, enum ms_scanner_check check,
                                    struct ms_error *err)
{
    enum ms_scanner_kind kind;
    uint8_t first = first_byte(&self->head);
    if (!self->head.len)
        self->foreign = MS_FOREIGN_EMPTY;
    else if (first && first != '{' && first != '[')
        self->foreign = MS_FOREIGN_TEXT;
    enum ms_status status = ms_scanner_new(read_source, &self->head, 0, &self->scan, err);
    if (status != MS_OK)
        return status;
    ms_scanner_check_skipped(self->scan, check);
    status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind == MS_SCAN_OBJECT)
        return read_members(self, err);
    if (kind == MS_SCAN_ARRAY)
        return read_list(self, err);
    return stranger(self, "JSON, but no sandbox report: not an object", err);
}

static bool contains(const struct field *field, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i + n <= field->len; i++)
        if (memcmp(field->bytes + i, text, n) == 0)
            return true;
    return false;
}

static bool begins(const struct field *field, const char *text)
{
    size_t n = strlen(text);
    return field->len >= n && memcmp(field->bytes, text, n) == 0;
}

/* The format by the shape of the fields; where shapes are shared (CAPE, cuckoo-modified, Cuckoo 1)
 * or nothing was logged, by what the report says of itself. */
static const char *sandbox_name(const struct top *self)
{
    const struct ms_behavior_seen *seen = &self->seen;
    if (self->is_log)
        return "drakvuf";
    if (self->is_emulation && !self->is_report)
        return "speakeasy";
    bool says_cape = self->cape_member || contains(&self->version, "CAPE");
    bool says_one = begins(&self->version, "0.") || begins(&self->version, "1.");
    if (seen->dict_form && !seen->list_form)
        return "cuckoo2";
    if (says_cape)
        return "cape";
    if (says_one)
        return "cuckoo1";
    if (seen->list_form)
        return seen->caller_fields ? "cape" : "cuckoo1";
    return begins(&self->version, "2.") ? "cuckoo2" : "unknown";
}

static struct ms_span view(const struct field *field)
{
    return ms_span_of(field->bytes, field->len);
}

/* What follows the last separator, of either system. */
static struct field base_name(const struct field *path)
{
    struct field name = {0};
    size_t from = path->len;
    while (from && path->bytes[from - 1] != '/' && path->bytes[from - 1] != '\\')
        from--;
    name.len = path->len - from;
    memcpy(name.bytes, path->bytes + from, name.len);
    return name;
}

static enum ms_status tell_info(struct top *self, struct ms_error *err)
{
    const char *sandbox = sandbox_name(self);
    if (self->is_emulation && !self->is_report) {
        self->version = self->emulator;
        self->sha256 = self->own_sha256;
        self->name = base_name(&self->own_path);
    }
    const struct ms_report_info info = {
        .sandbox = ms_span_of(sandbox, strlen(sandbox)),
        .version = view(&self->version),
        .package = view(&self->package),
        .target_sha256 = view(&self->sha256),
        .target_sha1 = view(&self->sha1),
        .target_md5 = view(&self->md5),
        .target_name = view(&self->name),
        .has_behavior = self->seen.behavior || self->emulated.entry_points || self->is_log,
        .has_processes = self->seen.processes || self->emulated.entry_points || self->is_log,
    };
    return self->sink->info(self->sink->ctx, &info, err);
}

/* What a log's reader passed over, in words. */
static void remark(const struct ms_drakvuf_seen *log, char *out, size_t n)
{
    int used = 0;
    if (log->bad_lines)
        used =
            snprintf(out, n,
                     "%" PRIu64 " of %" PRIu64 " lines were passed over; the first is line %" PRIu64
                     ", byte %" PRIu64 ": %s",
                     log->bad_lines, log->lines, log->bad_line, log->bad_byte, log->bad_reason);
    if (log->is_cut && used >= 0 && (size_t)used < n)
        used += snprintf(out + used, n - (size_t)used, "; the log is cut off in its last line");
    if (log->system_calls && used >= 0 && (size_t)used < n)
        (void)snprintf(out + used, n - (size_t)used,
                       "%s%" PRIu64 " system calls beside the API calls are not stored",
                       used ? "; " : "", log->system_calls);
}

static enum ms_report_state log_result(const struct top *self, struct ms_report_result *result)
{
    const struct ms_drakvuf_seen *log = &self->log;
    result->processes = log->process_count;
    result->calls = result->calls_expanded = log->calls;
    result->real_calls = log->real_calls;
    result->beyond_calls = log->beyond_calls;
    result->bytes = log->bytes;
    result->line = log->fault_line;
    result->byte = log->fault_byte;
    remark(log, result->remark, sizeof result->remark);
    return log->real_calls ? MS_REPORT_OK : MS_REPORT_NO_CALLS;
}

static enum ms_report_state document_result(const struct top *self, struct ms_report_result *result)
{
    const struct ms_behavior_seen *seen = &self->seen;
    const struct ms_speakeasy_seen *emulated = &self->emulated;
    result->processes = seen->process_count + emulated->process_count;
    result->calls = seen->calls + emulated->calls;
    result->calls_expanded = seen->calls_expanded + emulated->calls;
    result->real_calls = seen->real_calls + emulated->real_calls;
    result->bytes = self->scan ? ms_scanner_byte(self->scan) : 0;
    result->line = self->scan ? ms_scanner_line(self->scan) : 0;
    result->byte = result->bytes;
    if (!seen->processes && !emulated->entry_points)
        return MS_REPORT_NO_BEHAVIOR;
    return result->real_calls ? MS_REPORT_OK : MS_REPORT_NO_CALLS;
}

enum ms_status ms_report_read(ms_scanner_source source, void *source_ctx,
                              enum ms_scanner_check check, const struct ms_trace_sink *sink,
                              struct ms_report_result *result, struct ms_error *err)
{
    enum ms_report_state state;
    *result = (struct ms_report_result){.state = MS_REPORT_INVALID};
    struct top *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    self->sink = sink;
    self->head.source = source;
    self->head.source_ctx = source_ctx;
    enum ms_status status = fill_head(&self->head, err);
    self->is_log =
        status == MS_OK &&
        ms_drakvuf_is_log(ms_span_of(self->head.bytes, self->head.len), self->head.whole);
    if (self->is_log) {
        status = ms_drakvuf_read(read_source, &self->head, sink, &self->log, err);
        state = log_result(self, result);
    } else {
        if (status == MS_OK)
            status = read_document(self, check, err);
        state = document_result(self, result);
    }
    if (status == MS_OK) {
        result->line = result->byte = 0;
        result->state = state;
        status = tell_info(self, err);
    } else {
        result->foreign = self->foreign;
        if (self->head.source_failed)
            result->line = result->byte = 0;
    }
    ms_scanner_free(self->scan);
    free(self);
    return status;
}
