/* For fuzz targets: a report read the plain way, as a tree of the whole document, by the rules of
 * extract/report/behavior.h, speakeasy.h and drakvuf.h. What the streaming readers make of the same
 * bytes is compared with it. It knows no archives and no second member of a name: such documents,
 * and those that jansson reads in another way (docs/json.md), are not compared. */
#ifndef MS_TESTS_FUZZ_PLAIN_READER_H
#define MS_TESTS_FUZZ_PLAIN_READER_H

#include "base/limits.h"
#include "extract/report/drakvuf.h"
#include "extract/report/read.h"
#include "extract/report/when.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLAIN_CALLS = 4096, /* more are counted, and not kept */
    PLAIN_PROCESSES = 512,
    PLAIN_APIS = 2048,
    PLAIN_FIELDS = 7,
    PLAIN_FIELD_BYTES = 512,
    PLAIN_DOCUMENT_BYTES = 60000
};

struct plain_time {
    int64_t us;
    bool about;   /* a binary fraction, of which the text is no longer known */
    bool unknown; /* not compared */
};

struct plain_call {
    uint64_t api, category; /* digests of the texts */
    uint64_t tid, repeated;
    enum ms_api_space space;
    struct plain_time time;
};

struct plain_process {
    uint64_t pid, parent, name;
    struct plain_time first_seen;
    bool tracked;
    size_t first_call, calls;
};

struct plain_field {
    bool unknown;
    size_t len;
    char bytes[PLAIN_FIELD_BYTES];
};

/* What a reader gave out, or should. */
struct plain {
    uint64_t process_count, call_count, expanded, real_calls, bad_lines, system_calls;
    struct plain_process processes[PLAIN_PROCESSES];
    struct plain_call calls[PLAIN_CALLS];
    struct plain_field fields[PLAIN_FIELDS]; /* as `sink->info` has them, the sandbox first */
    enum ms_report_state state;
    bool is_report, is_emulation, behavior, processes_read, entry_points;
    bool dict_form, list_form, caller_fields, cape_member, other_entries;
};

static inline void plain_require(bool holds)
{
    if (!holds)
        abort();
}

/* Whether a number of the document has an exponent: long ones are no times. */
static bool plain_exponents;

static inline uint64_t plain_digest(const void *bytes, size_t len, size_t cap)
{
    uint64_t sum = 1469598103934665603U;
    for (size_t i = 0; i < len && i < cap; i++)
        sum = (sum ^ ((const uint8_t *)bytes)[i]) * 1099511628211U;
    return sum;
}

/* ---- values ---- */

static inline bool plain_says(const json_t *value, const char *text)
{
    size_t len = json_string_length(value);
    return json_is_string(value) && len == strlen(text) &&
           memcmp(json_string_value(value), text, len) == 0;
}

static inline uint64_t plain_text(const json_t *value, size_t cap)
{
    return plain_digest(json_string_value(value), json_string_length(value), cap);
}

/* Digits alone, in a string or as they are. */
static inline bool plain_number(const json_t *value, uint64_t *out)
{
    uint64_t number = 0;
    const char *text = json_string_value(value);
    if (json_is_integer(value)) {
        *out = (uint64_t)json_integer_value(value);
        return json_integer_value(value) >= 0;
    }
    if (!text || !json_string_length(value))
        return false;
    for (size_t i = 0; i < json_string_length(value); i++) {
        if (text[i] < '0' || text[i] > '9' ||
            number > (UINT64_MAX - (uint64_t)(text[i] - '0')) / 10)
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    *out = number;
    return true;
}

static inline uint64_t plain_number_or_none(const json_t *value)
{
    uint64_t number;
    return plain_number(value, &number) ? number : 0;
}

/* Up to twelve digits, and a fraction: what nearly all reports have. */
static inline bool plain_seconds(const char *text, size_t len, int64_t *us)
{
    size_t i = 0;
    double whole = 0, unit = 100000, fraction = 0;
    for (; i < len && text[i] >= '0' && text[i] <= '9'; i++)
        whole = whole * 10 + (text[i] - '0');
    if (!i || i > 12)
        return false;
    if (i < len && text[i++] != '.')
        return false;
    for (; i < len && text[i] >= '0' && text[i] <= '9'; i++, unit = floor(unit / 10))
        fraction += unit * (text[i] - '0');
    *us = (int64_t)whole * 1000000 + (int64_t)fraction;
    return i == len;
}

static inline struct plain_time plain_time(const json_t *value)
{
    struct plain_time time = {.us = MS_TIME_NONE};
    const char *text = json_string_value(value);
    if (text && !plain_seconds(text, json_string_length(value), &time.us))
        time.us = ms_when_parse(ms_span_of(text, json_string_length(value)));
    if (json_is_integer(value)) {
        json_int_t n = json_integer_value(value);
        time.unknown = n >= 10000000000000 || n <= -9000000000000; /* may be a calendar's digits */
        time.us = time.unknown ? 0 : n * 1000000;
    }
    if (json_is_real(value)) {
        double seconds = json_real_value(value);
        time.about = true;
        time.unknown = fabs(seconds) > 1e12 || (seconds != 0 && fabs(seconds) < 1e-6);
        time.us = time.unknown ? 0 : (int64_t)(seconds * 1e6);
    }
    return time;
}

static inline bool plain_same_time(struct plain_time got, struct plain_time due)
{
    if (due.unknown || (due.about && plain_exponents && got.us == MS_TIME_NONE))
        return true;
    int64_t slack = due.about ? 2 + (int64_t)fabs((double)due.us * 1e-15) : 0;
    return due.us == MS_TIME_NONE || got.us == MS_TIME_NONE ? got.us == due.us
                                                            : llabs(got.us - due.us) <= slack;
}

/* ---- processes and calls ---- */

static inline struct plain_process *plain_process(struct plain *self)
{
    static struct plain_process beyond;
    size_t i = self->process_count++;
    struct plain_process *process = i < PLAIN_PROCESSES ? &self->processes[i] : &beyond;
    *process = (struct plain_process){.first_call = self->call_count,
                                      .name = plain_digest("", 0, 0),
                                      .first_seen = {.us = MS_TIME_NONE},
                                      .tracked = true};
    return process;
}

static inline void plain_add(struct plain *self, struct plain_process *process,
                             const struct plain_call *call)
{
    if (self->call_count < PLAIN_CALLS)
        self->calls[self->call_count] = *call;
    self->call_count++;
    self->expanded += 1 + call->repeated;
    process->calls++;
}

static inline bool plain_is_pseudo(const json_t *api)
{
    const char *text = json_string_value(api);
    return !text || !json_string_length(api) || strncmp(text, "__", 2) == 0;
}

/* ---- Cuckoo and its relatives ---- */

static inline void plain_take_call(struct plain *self, struct plain_process *process,
                                   json_t *object)
{
    const char *key;
    json_t *value;
    struct plain_call call = {.time = {.us = MS_TIME_NONE}};
    call.api = plain_text(json_object_get(object, "api"), MS_LIMIT_API_NAME_BYTES);
    call.category = plain_text(json_object_get(object, "category"), MS_LIMIT_API_NAME_BYTES);
    json_object_foreach(object, key, value)
    {
        bool one = strcmp(key, "time") == 0 || strcmp(key, "tid") == 0;
        bool other = strcmp(key, "timestamp") == 0 || strcmp(key, "thread_id") == 0;
        bool arguments = strcmp(key, "arguments") == 0;
        self->dict_form |= one || (arguments && json_is_object(value));
        self->list_form |= other || (arguments && json_is_array(value));
        self->caller_fields |= strcmp(key, "caller") == 0 || strcmp(key, "parentcaller") == 0;
        if (strncmp(key, "time", 4) == 0 && (one || other))
            call.time = plain_time(value);
        else if (one || other)
            call.tid = plain_number_or_none(value);
        if (strcmp(key, "repeated") == 0)
            call.repeated = plain_number_or_none(value);
    }
    if (call.repeated > MS_LIMIT_REPEATED)
        call.repeated = MS_LIMIT_REPEATED;
    plain_add(self, process, &call);
}

static inline bool plain_take_calls(struct plain *self, struct plain_process *process,
                                    const json_t *calls, uint64_t *real)
{
    size_t i;
    json_t *call;
    if (!json_is_array(calls))
        return json_is_null(calls);
    json_array_foreach(calls, i, call)
    {
        if (!json_is_object(call))
            return false;
        plain_take_call(self, process, call);
        *real += !plain_is_pseudo(json_object_get(call, "api"));
    }
    return true;
}

static inline bool plain_take_process(struct plain *self, json_t *object)
{
    const char *key;
    json_t *value;
    uint64_t real = 0;
    if (!json_is_object(object))
        return false;
    struct plain_process *process = plain_process(self);
    json_object_foreach(object, key, value)
    {
        bool one = strcmp(key, "pid") == 0, other = strcmp(key, "process_id") == 0;
        self->dict_form |= one;
        self->list_form |= other;
        if (one || other)
            process->pid = plain_number_or_none(value);
        else if (strcmp(key, "ppid") == 0 || strcmp(key, "parent_id") == 0)
            process->parent = plain_number_or_none(value);
        else if (strcmp(key, "process_name") == 0)
            process->name = plain_text(value, MS_LIMIT_NAME_BYTES);
        else if (strcmp(key, "first_seen") == 0)
            process->first_seen = plain_time(value);
        else if (strcmp(key, "track") == 0)
            process->tracked = !json_is_false(value);
        else if (strcmp(key, "calls") == 0 && !plain_take_calls(self, process, value, &real))
            return false;
    }
    self->real_calls += process->tracked ? real : 0;
    return true;
}

static inline bool plain_take_behavior(struct plain *self, const json_t *behavior)
{
    size_t i;
    json_t *process;
    const json_t *list = json_object_get(behavior, "processes");
    if (!json_is_object(behavior))
        return json_is_null(behavior) || (json_is_array(behavior) && !json_array_size(behavior));
    self->behavior = true;
    self->dict_form |=
        json_object_get(behavior, "apistats") || json_object_get(behavior, "generic");
    if (json_object_get(behavior, "encryptedbuffers"))
        self->list_form = self->caller_fields = true;
    if (!list || json_is_null(list))
        return true;
    self->processes_read = true;
    json_array_foreach(list, i, process)
    {
        if (!plain_take_process(self, process))
            return false;
    }
    return json_is_array(list);
}

/* ---- the emulator ---- */

static inline void plain_take_position(const json_t *value, const char *key,
                                       struct plain_call *call, uint64_t *pid, bool *has_pid)
{
    uint64_t number;
    bool got = plain_number(value, &number);
    if (strcmp(key, "pid") == 0) {
        *has_pid = got;
        *pid = got ? number : *pid;
    } else if (strcmp(key, "tid") == 0 && got) {
        call->tid = number;
    }
}

static inline bool plain_take_event(struct plain *self, struct plain_process *process,
                                    json_t *event, bool mixed)
{
    const char *key, *inner_key;
    json_t *value, *inner;
    uint64_t pid = 0;
    bool has_pid = false;
    struct plain_call call = {.time = {.us = MS_TIME_NONE}};
    if (!json_is_object(event))
        return false;
    const json_t *api = json_object_get(event, "api_name"), *kind = json_object_get(event, "event");
    size_t len = json_string_length(api), dot = 0;
    const char *name = json_string_value(api);
    len = len < MS_LIMIT_API_NAME_BYTES ? len : MS_LIMIT_API_NAME_BYTES;
    for (size_t i = 0; i < len; i++)
        dot = name[i] == '.' ? i : dot;
    call.api = plain_digest(name, len, len);
    call.category = plain_digest(name, dot, dot);
    json_object_foreach(event, key, value)
    {
        plain_take_position(value, key, &call, &pid, &has_pid);
        if (strcmp(key, "pos") == 0)
            json_object_foreach(value, inner_key, inner)
                plain_take_position(inner, inner_key, &call, &pid, &has_pid);
    }
    bool is_api = plain_says(kind, "api");
    if (mixed ? !is_api : json_is_string(kind) && !is_api)
        return true;
    if (has_pid && !process->pid)
        process->pid = pid;
    self->real_calls += !plain_is_pseudo(api);
    plain_add(self, process, &call);
    return true;
}

static inline bool plain_take_entry(struct plain *self, json_t *entry)
{
    static const char *const own[] = {"apis",    "events",  "ep_type",     "start_addr",
                                      "ep_args", "apihash", "instr_count", "ret_val"};
    const char *key;
    json_t *value, *event;
    size_t k;
    bool known = false, has_calls = false;
    if (!json_is_object(entry))
        return false;
    struct plain_process *process = plain_process(self);
    process->name = plain_text(json_object_get(entry, "ep_type"), MS_LIMIT_API_NAME_BYTES);
    json_object_foreach(entry, key, value)
    {
        for (size_t i = 0; i < sizeof own / sizeof *own; i++)
            known |= strcmp(key, own[i]) == 0;
        bool mixed = strcmp(key, "events") == 0;
        if ((!mixed && strcmp(key, "apis") != 0) || json_is_null(value))
            continue;
        if (!json_is_array(value) || has_calls)
            return false;
        has_calls = true;
        json_array_foreach(value, k, event)
        {
            if (!plain_take_event(self, process, event, mixed))
                return false;
        }
    }
    self->other_entries |= !known && json_object_size(entry);
    return true;
}

static inline bool plain_take_entries(struct plain *self, const json_t *list)
{
    size_t i;
    json_t *entry;
    if (json_is_null(list))
        return true;
    self->entry_points = true;
    json_array_foreach(list, i, entry)
    {
        if (!plain_take_entry(self, entry))
            return false;
    }
    return json_is_array(list);
}

/* ---- what a report says of itself ---- */

static inline void plain_field(struct plain_field *out, const json_t *value)
{
    if (json_is_number(value))
        out->unknown = true; /* its text is no longer known */
    if (!json_is_string(value))
        return;
    size_t len = json_string_length(value);
    out->len = len < sizeof out->bytes ? len : sizeof out->bytes;
    memcpy(out->bytes, json_string_value(value), out->len);
}

static inline void plain_field_of_text(struct plain_field *out, const char *text)
{
    out->len = strlen(text);
    memcpy(out->bytes, text, out->len);
}

static inline bool plain_begins(const struct plain_field *field, const char *text)
{
    return field->len >= strlen(text) && memcmp(field->bytes, text, strlen(text)) == 0;
}

static inline void plain_take_info(struct plain *self, const json_t *root)
{
    static const char *const hashes[] = {"sha256", "sha1", "md5", "name"};
    const json_t *info = json_object_get(root, "info");
    const json_t *file = json_object_get(json_object_get(root, "target"), "file");
    plain_field(&self->fields[1], json_object_get(info, "version"));
    plain_field(&self->fields[6], json_object_get(info, "package"));
    for (size_t i = 0; i < 4; i++)
        plain_field(&self->fields[2 + i], json_object_get(file, hashes[i]));
}

static inline void plain_take_emulator(struct plain *self, json_t *root)
{
    const char *key;
    json_t *value;
    struct plain_field version = {0}, path = {0}, *name = &self->fields[5];
    json_object_foreach(root, key, value)
    {
        if (!json_is_string(value))
            continue;
        if (strcmp(key, "emu_version") == 0 || (strcmp(key, "report_version") == 0 && !version.len))
            plain_field(&version, value);
        else if (strcmp(key, "path") == 0 || strcmp(key, "filepath") == 0)
            plain_field(&path, value);
    }
    size_t from = path.len;
    while (from && path.bytes[from - 1] != '/' && path.bytes[from - 1] != '\\')
        from--;
    self->fields[1] = version;
    plain_field(&self->fields[2], json_object_get(root, "sha256"));
    name->len = path.len - from;
    memcpy(name->bytes, path.bytes + from, name->len);
}

static inline const char *plain_sandbox(const struct plain *self)
{
    const struct plain_field *version = &self->fields[1];
    bool cape = self->cape_member, one = plain_begins(version, "0.") || plain_begins(version, "1.");
    if (self->is_emulation && !self->is_report)
        return "speakeasy";
    for (size_t i = 0; i + 4 <= version->len; i++)
        cape |= memcmp(version->bytes + i, "CAPE", 4) == 0;
    if (self->dict_form && !self->list_form)
        return "cuckoo2";
    if (cape || one)
        return cape ? "cape" : "cuckoo1";
    if (self->list_form)
        return self->caller_fields ? "cape" : "cuckoo1";
    return plain_begins(version, "2.") ? "cuckoo2" : "unknown";
}

/* False: no report, or a damaged one. */
static inline bool plain_take_object(struct plain *self, json_t *root)
{
    const json_t *behavior = json_object_get(root, "behavior");
    const json_t *entries = json_object_get(root, "entry_points");
    self->is_report = behavior || json_object_get(root, "info") || json_object_get(root, "target");
    self->is_emulation = entries || json_object_get(root, "emu_version") ||
                         json_object_get(root, "emulation_total_runtime");
    self->cape_member = json_object_get(root, "CAPE") != NULL;
    if ((behavior && !plain_take_behavior(self, behavior)) ||
        (entries && !plain_take_entries(self, entries)))
        return false;
    return (self->is_report || self->is_emulation) && !(behavior && self->entry_points);
}

static inline bool plain_read_document(struct plain *self, json_t *root)
{
    bool sound;
    if (json_is_array(root)) {
        self->is_emulation = true;
        sound = plain_take_entries(self, root) &&
                !(!self->call_count && (self->other_entries || !self->process_count));
    } else {
        sound = json_is_object(root) && plain_take_object(self, root);
    }
    if (self->is_emulation && !self->is_report)
        plain_take_emulator(self, root);
    else
        plain_take_info(self, root);
    plain_field_of_text(&self->fields[0], plain_sandbox(self));
    self->fields[0].unknown = self->fields[1].unknown;
    self->state = !self->processes_read && !self->entry_points ? MS_REPORT_NO_BEHAVIOR
                  : self->real_calls                           ? MS_REPORT_OK
                                                               : MS_REPORT_NO_CALLS;
    return sound;
}

/* ---- DRAKVUF's lines ---- */

/* The calls of all processes as they come; sorted when all are there. */
struct plain_log {
    struct plain_process processes[PLAIN_PROCESSES];
    struct plain_call calls[PLAIN_CALLS];
    size_t owner[PLAIN_CALLS];
    struct {
        uint64_t name, category;
    } apis[PLAIN_APIS];
    size_t process_count, call_count, api_count;
    uint64_t real_calls, bad_lines, system_calls;
    bool has_api_calls, full;
};

static inline uint64_t plain_category(struct plain_log *log, uint64_t name, uint64_t category)
{
    size_t i = 0;
    while (i < log->api_count && log->apis[i].name != name)
        i++;
    if (i == PLAIN_APIS) {
        log->full = true;
        return category;
    }
    if (i == log->api_count) {
        log->apis[i].name = name;
        log->apis[i].category = category;
        log->api_count++;
    }
    return log->apis[i].category;
}

static inline void plain_log_call(struct plain_log *log, const json_t *line, bool system)
{
    struct plain_process process = {.tracked = true};
    const json_t *method = json_object_get(line, "Method");
    process.pid = plain_number_or_none(json_object_get(line, "PID"));
    process.parent = plain_number_or_none(json_object_get(line, "PPID"));
    process.name = plain_text(json_object_get(line, "ProcessName"), MS_LIMIT_NAME_BYTES);
    process.first_seen = plain_time(json_object_get(line, "TimeStamp"));
    struct plain_call call = {.time = process.first_seen,
                              .space = system ? MS_API_SYSCALL : MS_API_CALL};
    call.tid = plain_number_or_none(json_object_get(line, "TID"));
    call.api = plain_text(method, MS_LIMIT_API_NAME_BYTES);
    uint64_t category = plain_text(json_object_get(line, "Module"), MS_LIMIT_API_NAME_BYTES);
    call.category = plain_category(log, call.api, category);
    size_t i = 0;
    while (i < log->process_count &&
           !(log->processes[i].pid == process.pid && log->processes[i].parent == process.parent &&
             log->processes[i].name == process.name))
        i++;
    log->full |= i == PLAIN_PROCESSES || log->call_count == PLAIN_CALLS;
    if (log->full)
        return;
    if (i == log->process_count)
        log->processes[log->process_count++] = process;
    log->owner[log->call_count] = i;
    log->calls[log->call_count++] = call;
    log->real_calls += !plain_is_pseudo(method);
}

static inline void plain_log_event(struct plain_log *log, const json_t *line)
{
    const json_t *plugin = json_object_get(line, "Plugin"), *event = json_object_get(line, "Event");
    const json_t *method = json_object_get(line, "Method");
    bool system = plain_says(plugin, "syscall");
    if (!system && !plain_says(plugin, "apimon"))
        return;
    if (!system && (event ? !plain_says(event, "api_called") : !method))
        return;
    if (!json_is_string(method)) {
        log->bad_lines++;
        return;
    }
    if (!system && !log->has_api_calls) {
        log->has_api_calls = true;
        log->system_calls = log->call_count;
        log->process_count = log->call_count = log->api_count = 0;
        log->real_calls = 0;
    }
    if (system && log->has_api_calls)
        log->system_calls++;
    else
        plain_log_call(log, line, system);
}

/* False: jansson may see this line in another way. */
static inline bool plain_log_line(struct plain_log *log, const char *line, size_t len)
{
    json_error_t error;
    while (len && strchr(" \t\r", line[len - 1]))
        len--;
    while (len && strchr(" \t\r", line[0]))
        line++, len--;
    if (!len)
        return true;
    if (len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
        return false;
    json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root) {
        enum json_error_code code = json_error_code(&error);
        log->bad_lines++;
        return !strstr(error.text, "invalid Unicode") &&
               (code == json_error_invalid_syntax || code == json_error_premature_end_of_input ||
                code == json_error_end_of_input_expected || code == json_error_invalid_utf8);
    }
    if (json_is_object(root))
        plain_log_event(log, root);
    else
        log->bad_lines++;
    json_decref(root);
    return true;
}

static inline bool plain_read_log(struct plain *self, const char *text, size_t len)
{
    static struct plain_log log;
    size_t n;
    log.process_count = log.call_count = log.api_count = 0;
    log.real_calls = log.bad_lines = log.system_calls = 0;
    log.has_api_calls = log.full = false;
    for (; len; text += n, len -= n) {
        const char *end = memchr(text, '\n', len);
        n = end ? (size_t)(end - text) + 1 : len;
        if (!plain_log_line(&log, text, n - (end != NULL)) || log.full)
            return false;
    }
    for (size_t i = 0; i < log.process_count; i++) {
        struct plain_process *process = plain_process(self);
        *process = log.processes[i];
        process->first_call = self->call_count;
        for (size_t k = 0; k < log.call_count; k++)
            if (log.owner[k] == i)
                plain_add(self, process, &log.calls[k]);
    }
    self->real_calls = log.real_calls;
    self->bad_lines = log.bad_lines;
    self->system_calls = log.system_calls;
    self->state = log.real_calls ? MS_REPORT_OK : MS_REPORT_NO_CALLS;
    plain_field_of_text(&self->fields[0], "drakvuf");
    return true;
}

/* ---- all of it ---- */

/* False: jansson is known to see it in another way, or it is too much for it. */
static inline bool plain_can(const uint8_t *data, size_t size)
{
    size_t depth = 0, deepest = 0;
    bool inside = false;
    plain_exponents = false;
    for (size_t i = 0; i < size; i++) {
        plain_exponents |= i && isdigit(data[i - 1]) && tolower(data[i]) == 'e';
        if (data[i] == '"')
            inside = !inside;
        else if (inside && data[i] == '\\')
            i++;
        else if (!inside && (data[i] == '[' || data[i] == '{'))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!inside && depth && (data[i] == ']' || data[i] == '}'))
            depth--;
    }
    return size <= PLAIN_DOCUMENT_BYTES && !memchr(data, 0, size) && deepest < MS_LIMIT_JSON_DEPTH;
}

/* Reads the bytes into `self`; false when there is nothing to compare with. *verdict: whether they
 * are a report. */
static inline bool plain_read(struct plain *self, const uint8_t *data, size_t size, bool *verdict)
{
    self->process_count = self->call_count = self->expanded = self->real_calls = 0;
    self->bad_lines = self->system_calls = 0;
    memset(self->fields, 0, sizeof self->fields);
    self->is_report = self->is_emulation = self->behavior = self->processes_read = false;
    self->entry_points = self->dict_form = self->list_form = self->caller_fields = false;
    self->cape_member = self->other_entries = false;
    *verdict = true;
    if (!size || !plain_can(data, size))
        return false;
    if (ms_drakvuf_is_log(ms_span_of(data, size), true))
        return plain_read_log(self, (const char *)data, size);
    json_t *root = json_loadb((const char *)data, size,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    if (!root)
        return false;
    *verdict = plain_read_document(self, root);
    json_decref(root);
    return true;
}

/* Whether `got`, filled from a reader's events, is what the plain reading gave. */
static inline void plain_compare(const struct plain *got, const struct plain *due)
{
    plain_require(got->process_count == due->process_count && got->call_count == due->call_count);
    for (size_t i = 0; i < due->process_count && i < PLAIN_PROCESSES; i++) {
        const struct plain_process *a = &got->processes[i], *b = &due->processes[i];
        plain_require(a->pid == b->pid && a->parent == b->parent && a->name == b->name);
        plain_require(a->tracked == b->tracked && a->calls == b->calls);
        plain_require(a->first_call == b->first_call);
        plain_require(plain_same_time(a->first_seen, b->first_seen));
    }
    for (size_t i = 0; i < due->call_count && i < PLAIN_CALLS; i++) {
        const struct plain_call *a = &got->calls[i], *b = &due->calls[i];
        plain_require(a->api == b->api && a->category == b->category && a->space == b->space);
        plain_require(a->tid == b->tid && a->repeated == b->repeated);
        plain_require(plain_same_time(a->time, b->time));
    }
    for (size_t i = 0; i < PLAIN_FIELDS; i++) {
        const struct plain_field *a = &got->fields[i], *b = &due->fields[i];
        plain_require(b->unknown || (a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0));
    }
}

#endif
