/* Lines of DRAKVUF to calls, one line at a time. Sorting them by process: interleave.c. */
#include "extract/report/drakvuf.h"

#include "base/limits.h"
#include "extract/report/behavior.h"
#include "extract/report/interleave.h"
#include "extract/report/when.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 256 << 10, SNIFFED_LINES = 4096 };

enum { F_PLUGIN, F_EVENT, F_METHOD, F_PID, F_PPID, F_TID, F_TIME, F_PROCESS, F_MODULE, FIELDS };

static const struct ms_scanner_name names[FIELDS] = {
    MS_SCAN_NAME("Plugin"),    MS_SCAN_NAME("Event"),       MS_SCAN_NAME("Method"),
    MS_SCAN_NAME("PID"),       MS_SCAN_NAME("PPID"),        MS_SCAN_NAME("TID"),
    MS_SCAN_NAME("TimeStamp"), MS_SCAN_NAME("ProcessName"), MS_SCAN_NAME("Module")};

struct ms_drakvuf_reader {
    struct ms_scanner *line_scan;
    struct ms_interleave *calls;
    struct ms_drakvuf_seen *seen;
    bool has_api_calls; /* system calls are passed over from now on */
    uint64_t real_calls;
    uint8_t *line; /* bytes of a line that began in an earlier block */
    size_t line_len;
    bool too_long;       /* … and of which no more are kept */
    uint64_t line_start; /* byte at which the present line begins */
};

static struct ms_span trim(struct ms_span line)
{
    while (line.len && (line.data[line.len - 1] == '\r' || line.data[line.len - 1] == ' ' ||
                        line.data[line.len - 1] == '\t'))
        line.len--;
    while (line.len && (line.data[0] == ' ' || line.data[0] == '\t' || line.data[0] == '\r')) {
        line.data++;
        line.len--;
    }
    return line;
}

static bool is_text(const struct ms_scanner_field *field)
{
    return field->found && field->kind == MS_SCAN_STRING;
}

static bool says(const struct ms_scanner_field *field, const char *text)
{
    return is_text(field) && ms_span_equal_text(field->text.bytes, text);
}

/* A number, or one that was put into a string. */
static uint64_t number_of(const struct ms_scanner_field *field)
{
    uint64_t value = 0;
    if (!field->found || (field->kind != MS_SCAN_NUMBER && field->kind != MS_SCAN_STRING) ||
        !ms_when_u64(field->text.bytes, &value))
        return 0;
    return value;
}

static int64_t time_of(const struct ms_scanner_field *field)
{
    if (!field->found || (field->kind != MS_SCAN_NUMBER && field->kind != MS_SCAN_STRING))
        return MS_TIME_NONE;
    return ms_when_parse(field->text.bytes);
}

/* The fields of a line without white space around it. */
static enum ms_status scan_line(struct ms_scanner *scan, struct ms_span line,
                                struct ms_scanner_field *out, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    ms_scanner_restart(scan, line);
    enum ms_status status = ms_scanner_peek(scan, &kind, err);
    if (status == MS_OK && kind != MS_SCAN_OBJECT)
        return ms_scanner_fault(scan, "no object", err);
    if (status == MS_OK)
        status = ms_scanner_fields(scan, names, FIELDS, out, err);
    if (status == MS_OK && ms_scanner_byte(scan) != line.len)
        return ms_scanner_fault(scan, "something behind the object's end", err);
    return status;
}

static void note_bad(struct ms_drakvuf_reader *self, const char *why)
{
    struct ms_drakvuf_seen *seen = self->seen;
    if (seen->bad_lines++)
        return;
    seen->bad_line = seen->lines;
    seen->bad_byte = self->line_start;
    (void)snprintf(seen->bad_reason, sizeof seen->bad_reason, "%.150s", why);
}

/* The reason without the place in the line, which is not the place in the log. */
static const char *bare(const char *text)
{
    const char *colon = strstr(text, ": ");
    return strncmp(text, "line ", 5) == 0 && colon ? colon + 2 : text;
}

static enum ms_status misplace(struct ms_drakvuf_reader *self, enum ms_status status,
                               struct ms_error *err)
{
    if (status == MS_REJECT) {
        self->seen->fault_line = self->seen->lines;
        self->seen->fault_byte = self->line_start;
        ms_error_prepend(err, "line %" PRIu64 ", byte %" PRIu64, self->seen->lines,
                         self->line_start);
    }
    return status;
}

static enum ms_status take_call(struct ms_drakvuf_reader *self,
                                const struct ms_scanner_field *fields, struct ms_error *err)
{
    const struct ms_process_info process = {
        .pid = number_of(&fields[F_PID]),
        .parent_pid = number_of(&fields[F_PPID]),
        .name = is_text(&fields[F_PROCESS]) ? fields[F_PROCESS].text.bytes : ms_span_of(NULL, 0),
        .tracked = true};
    const struct ms_call_info call = {
        .api = fields[F_METHOD].text.bytes,
        .category = is_text(&fields[F_MODULE]) ? fields[F_MODULE].text.bytes : ms_span_of(NULL, 0),
        .tid = number_of(&fields[F_TID]),
        .time_us = time_of(&fields[F_TIME])};
    enum ms_status status = ms_interleave_add(self->calls, &process, &call, err);
    if (status == MS_OK && !ms_behavior_is_pseudo(call.api))
        self->real_calls++;
    return misplace(self, status, err);
}

/* apimon also tells of the libraries it found and hooked; those lines have no method. Lines of old
 * versions have no "Event" at all. */
static enum ms_status take_api_line(struct ms_drakvuf_reader *self,
                                    const struct ms_scanner_field *fields, struct ms_error *err)
{
    if (fields[F_EVENT].found ? !says(&fields[F_EVENT], "api_called") : !fields[F_METHOD].found)
        return MS_OK;
    if (!is_text(&fields[F_METHOD])) {
        note_bad(self, "a call without a method");
        return MS_OK;
    }
    if (!self->has_api_calls) {
        self->has_api_calls = true;
        self->seen->system_calls = ms_interleave_calls(self->calls);
        self->real_calls = 0;
        enum ms_status status = ms_interleave_clear(self->calls, err);
        if (status != MS_OK)
            return status;
    }
    return take_call(self, fields, err);
}

/* "Event" in these lines is an argument of the call. */
static enum ms_status take_system_line(struct ms_drakvuf_reader *self,
                                       const struct ms_scanner_field *fields, struct ms_error *err)
{
    if (!is_text(&fields[F_METHOD])) {
        note_bad(self, "a system call without a method");
        return MS_OK;
    }
    if (self->has_api_calls) {
        self->seen->system_calls++;
        return MS_OK;
    }
    return take_call(self, fields, err);
}

static enum ms_status take_line(struct ms_drakvuf_reader *self, struct ms_span line,
                                struct ms_error *err)
{
    struct ms_scanner_field fields[FIELDS];
    struct ms_error fault = {.status = MS_OK};
    self->seen->lines++;
    line = trim(line);
    if (!line.len)
        return MS_OK;
    enum ms_status status = scan_line(self->line_scan, line, fields, &fault);
    if (status == MS_OK) {
        if (says(&fields[F_PLUGIN], "apimon"))
            status = take_api_line(self, fields, &fault);
        else if (says(&fields[F_PLUGIN], "syscall"))
            status = take_system_line(self, fields, &fault);
    } else if (status == MS_REJECT) {
        note_bad(self, bare(fault.text));
        status = MS_OK;
    }
    if (status != MS_OK && err)
        *err = fault;
    return status;
}

/* Bytes of a line that ends in a later block, or at the end of the log. */
static void hold(struct ms_drakvuf_reader *self, struct ms_span bytes)
{
    if (self->too_long || bytes.len > MS_LIMIT_LOG_LINE_BYTES - self->line_len) {
        self->too_long = true;
        return;
    }
    if (bytes.len)
        memcpy(self->line + self->line_len, bytes.data, bytes.len);
    self->line_len += bytes.len;
}

static enum ms_status end_held(struct ms_drakvuf_reader *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (self->too_long) {
        self->seen->lines++;
        note_bad(self, "a line that is too long");
    } else {
        status = take_line(self, ms_span_of(self->line, self->line_len), err);
    }
    self->line_len = 0;
    self->too_long = false;
    return status;
}

static void tell_counts(struct ms_drakvuf_reader *self)
{
    self->seen->process_count = ms_interleave_processes(self->calls);
    self->seen->calls = ms_interleave_calls(self->calls);
    self->seen->real_calls = self->real_calls;
}

enum ms_status ms_drakvuf_reader_feed(struct ms_drakvuf_reader *self, struct ms_span block,
                                      struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (status == MS_OK && block.len) {
        const uint8_t *end = memchr(block.data, '\n', block.len);
        size_t n = end ? (size_t)(end - block.data) : block.len;
        struct ms_span piece = ms_span_of(block.data, n);
        if (!end || self->line_len || self->too_long)
            hold(self, piece);
        if (end && (self->line_len || self->too_long))
            status = end_held(self, err);
        else if (end)
            status = take_line(self, piece, err);
        n += end ? 1 : 0;
        self->seen->bytes += n;
        if (end)
            self->line_start = self->seen->bytes;
        block.data += n;
        block.len -= n;
    }
    tell_counts(self);
    return status;
}

enum ms_status ms_drakvuf_reader_end(struct ms_drakvuf_reader *self, struct ms_error *err)
{
    const uint64_t bad_lines = self->seen->bad_lines;
    enum ms_status status = self->line_len || self->too_long ? end_held(self, err) : MS_OK;
    self->seen->is_cut = self->seen->bad_lines > bad_lines;
    tell_counts(self);
    return status;
}

enum ms_status ms_drakvuf_reader_new(struct ms_drakvuf_seen *seen, struct ms_drakvuf_reader **out,
                                     struct ms_error *err)
{
    struct ms_drakvuf_reader *self = calloc(1, sizeof *self);
    if (self) {
        self->seen = seen;
        self->line = malloc(MS_LIMIT_LOG_LINE_BYTES);
    }
    enum ms_status status = self && self->line
                                ? ms_scanner_new_memory(&self->line_scan, err)
                                : ms_error_set(err, MS_E_NOMEM, "no memory to read a log");
    if (status == MS_OK)
        status = ms_interleave_new(&self->calls, err);
    if (status == MS_OK)
        *out = self;
    else
        ms_drakvuf_reader_free(self);
    return status;
}

void ms_drakvuf_reader_free(struct ms_drakvuf_reader *self)
{
    if (!self)
        return;
    ms_interleave_free(self->calls);
    ms_scanner_free(self->line_scan);
    free(self->line);
    free(self);
}

enum ms_status ms_drakvuf_reader_emit(struct ms_drakvuf_reader *self,
                                      const struct ms_trace_sink *sink, struct ms_error *err)
{
    return ms_interleave_emit(self->calls, self->has_api_calls ? MS_API_CALL : MS_API_SYSCALL, sink,
                              err);
}

static enum ms_status take_all(struct ms_drakvuf_reader *self, ms_scanner_source source,
                               void *source_ctx, struct ms_error *err)
{
    size_t n = 1;
    uint8_t *block = malloc(BLOCK_BYTES);
    if (!block)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a log");
    enum ms_status status = MS_OK;
    while (status == MS_OK && n) {
        status = source(source_ctx, block, BLOCK_BYTES, &n, err);
        if (status == MS_OK)
            status = ms_drakvuf_reader_feed(self, ms_span_of(block, n), err);
    }
    free(block);
    return status == MS_OK ? ms_drakvuf_reader_end(self, err) : status;
}

enum ms_status ms_drakvuf_read(ms_scanner_source source, void *source_ctx,
                               const struct ms_trace_sink *sink, struct ms_drakvuf_seen *seen,
                               struct ms_error *err)
{
    struct ms_drakvuf_reader *self = NULL;
    enum ms_status status = ms_drakvuf_reader_new(seen, &self, err);
    if (status == MS_OK) {
        ms_interleave_put_aside(self->calls, sink, MS_LIMIT_INTERLEAVED_HELD_BYTES);
        status = take_all(self, source, source_ctx, err);
    }
    if (status != MS_OK)
        seen->process_count = seen->calls = seen->real_calls = 0; /* nothing was given out */
    if (status == MS_OK)
        status = ms_drakvuf_reader_emit(self, sink, err);
    if (status == MS_OK)
        seen->beyond_calls = ms_interleave_beyond(self->calls);
    ms_drakvuf_reader_free(self);
    return status;
}

/* A line that does not end within `head` is known by its first member. */
static bool begins_with_plugin(struct ms_span line)
{
    static const char key[] = "\"Plugin\"";
    if (!line.len || line.data[0] != '{')
        return false;
    line = trim(ms_span_of(line.data + 1, line.len - 1));
    return line.len >= sizeof key - 1 && memcmp(line.data, key, sizeof key - 1) == 0;
}

static bool is_event(struct ms_scanner *scan, struct ms_span line)
{
    struct ms_scanner_field fields[FIELDS];
    return line.len && line.data[0] == '{' && scan_line(scan, line, fields, NULL) == MS_OK &&
           is_text(&fields[F_PLUGIN]);
}

bool ms_drakvuf_is_log(struct ms_span head, bool whole)
{
    struct ms_scanner *scan = NULL;
    bool found = false;
    if (ms_scanner_new_memory(&scan, NULL) != MS_OK)
        return false;
    for (unsigned i = 0; !found && head.len && i < SNIFFED_LINES; i++) {
        const uint8_t *end = memchr(head.data, '\n', head.len);
        size_t n = end ? (size_t)(end - head.data) : head.len;
        struct ms_span line = trim(ms_span_of(head.data, n));
        /* A document over several lines begins with its bracket alone. */
        if (i == 0 && line.len == 1 && (line.data[0] == '{' || line.data[0] == '['))
            break;
        found = end || whole ? is_event(scan, line) : begins_with_plugin(line);
        n += end ? 1 : 0;
        head.data += n;
        head.len -= n;
    }
    ms_scanner_free(scan);
    return found;
}
