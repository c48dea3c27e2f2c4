/* The top level of a report: what it says about itself and its target, and the verdict on its
 * shape. The behaviour itself is read in behavior.c. */
#include "extract/report/read.h"

#include "base/limits.h"
#include "extract/report/behavior.h"

#include <stdlib.h>
#include <string.h>

enum { FIELD_BYTES = 512 };

struct field {
    size_t len;
    uint8_t bytes[FIELD_BYTES];
};

struct top {
    struct ms_scanner *scan;
    const struct ms_trace_sink *sink;
    struct ms_behavior_seen seen;
    bool is_report; /* one of info, target, behavior was there */
    bool cape_member;
    bool behavior_read;
    struct field version, package, sha256, sha1, md5, name;
};

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

static enum ms_status read_member(struct top *self, struct ms_span key, struct ms_error *err)
{
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

static enum ms_status read_top(struct top *self, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind != MS_SCAN_OBJECT)
        return ms_scanner_fault(self->scan, "JSON, but no sandbox report: not an object", err);
    status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        status = read_member(self, key.bytes, err);
    }
    if (status == MS_OK)
        status = ms_scanner_finish(self->scan, err);
    if (status == MS_OK && !self->is_report)
        status = ms_scanner_fault(
            self->scan, "JSON, but no sandbox report: none of info, target, behavior", err);
    return status;
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

static enum ms_status tell_info(struct top *self, struct ms_error *err)
{
    const char *sandbox = sandbox_name(self);
    const struct ms_report_info info = {
        .sandbox = ms_span_of(sandbox, strlen(sandbox)),
        .version = view(&self->version),
        .package = view(&self->package),
        .target_sha256 = view(&self->sha256),
        .target_sha1 = view(&self->sha1),
        .target_md5 = view(&self->md5),
        .target_name = view(&self->name),
        .has_behavior = self->seen.behavior,
        .has_processes = self->seen.processes,
    };
    return self->sink->info(self->sink->ctx, &info, err);
}

enum ms_status ms_report_read(ms_scanner_source source, void *source_ctx,
                              const struct ms_trace_sink *sink, struct ms_report_result *result,
                              struct ms_error *err)
{
    *result = (struct ms_report_result){.state = MS_REPORT_INVALID};
    struct top *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    self->sink = sink;
    enum ms_status status = ms_scanner_new(source, source_ctx, 0, &self->scan, err);
    if (status != MS_OK)
        goto out;
    status = read_top(self, err);
    result->processes = self->seen.process_count;
    result->calls = self->seen.calls;
    result->calls_expanded = self->seen.calls_expanded;
    result->real_calls = self->seen.real_calls;
    result->bytes = ms_scanner_byte(self->scan);
    if (status != MS_OK) {
        result->line = ms_scanner_line(self->scan);
        result->byte = ms_scanner_byte(self->scan);
        goto out;
    }
    result->state = !self->seen.processes    ? MS_REPORT_NO_BEHAVIOR
                    : !self->seen.real_calls ? MS_REPORT_NO_CALLS
                                             : MS_REPORT_OK;
    status = tell_info(self, err);
out:
    ms_scanner_free(self->scan);
    free(self);
    return status;
}
