/* What all sandbox clients share: opening and probing, requests, answers, state words. */
#include "extract/sandbox/sandbox.h"

#include "base/clock.h"
#include "base/log.h"
#include "extract/sandbox/kind.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS = 2, REQUEST_MS = 120000, UPLOAD_BYTES_MS = 50, DOWNLOAD_MS = 3600000 };

static const char *const kind_names[] = {"auto", "cuckoo", "cape", "drakvuf"};

const char *ms_sandbox_kind_name(enum ms_sandbox_kind kind)
{
    return (unsigned)kind < sizeof kind_names / sizeof *kind_names ? kind_names[kind] : "auto";
}

enum ms_sandbox_kind ms_sandbox_kind_of(const char *word)
{
    for (unsigned i = 0; i < sizeof kind_names / sizeof *kind_names; i++)
        if (strcmp(word, kind_names[i]) == 0)
            return (enum ms_sandbox_kind)i;
    return MS_SANDBOX_AUTO;
}

void ms_answer_init(struct ms_answer *self)
{
    self->json = NULL;
    ms_http_response_init(&self->http);
}

void ms_answer_release(struct ms_answer *self)
{
    json_decref(self->json);
    self->json = NULL;
    ms_http_response_release(&self->http);
}

int64_t ms_answer_wait_ms(const struct ms_answer *self)
{
    return self->http.retry_after_ms >= 0 ? self->http.retry_after_ms : 60000;
}

void ms_reason_set(char out[256], const char *prefix, const char *words)
{
    char escaped[200];
    (void)snprintf(out, 256, "%s%s", prefix, ms_escape_text(words, escaped, sizeof escaped));
}

bool ms_task_id_from(const json_t *value, char out[MS_TASK_ID_BYTES])
{
    if (!json_is_integer(value) || json_integer_value(value) <= 0)
        return false;
    (void)snprintf(out, MS_TASK_ID_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return true;
}

enum ms_task_status ms_task_status_parse(const char *word)
{
    static const struct {
        const char *word;
        enum ms_task_status status;
    } table[] = {
        {"pending", MS_TASK_PENDING},
        {"distributed", MS_TASK_PENDING},
        {"running", MS_TASK_RUNNING},
        {"completed", MS_TASK_COMPLETED},
        {"reported", MS_TASK_REPORTED},
        {"recovered", MS_TASK_RECOVERED},
        {"failed_analysis", MS_TASK_FAILED_ANALYSIS},
        {"banned", MS_TASK_FAILED_ANALYSIS},
        {"failed_processing", MS_TASK_FAILED_PROCESSING},
        {"failed_reporting", MS_TASK_FAILED_REPORTING},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(word, table[i].word) == 0)
            return table[i].status;
    return MS_TASK_OTHER;
}

/* ---- requests ---- */

/* Fills `request` and the URL it points at. */
static enum ms_status prepare(const struct ms_sandbox *self, const char *method, const char *path,
                              char url[2048], struct ms_http_request *request, struct ms_error *err)
{
    static const char *const headers[] = {"Accept: application/json"};
    int n = snprintf(url, 2048, "%s%s", self->url, path);
    if (n < 0 || n >= 2048)
        return ms_error_set(err, MS_E_USAGE, "the sandbox's URL is too long");
    *request = (struct ms_http_request){.method = method,
                                        .url = url,
                                        .peer = MS_HTTP_PEER_NAMED,
                                        .headers = headers,
                                        .header_count = 1,
                                        .secret = self->token,
                                        .secret_header = self->ops->auth_header,
                                        .sink_fd = -1};
    return MS_OK;
}

/* A body that claims to be JSON and is not is treated like an HTML page: the status decides. */
static enum ms_status read_answer(struct ms_sandbox *self, struct ms_answer *answer,
                                  struct ms_error *err)
{
    if (answer->http.status == 401) {
        self->token_refused = true;
        return ms_error_set(err, MS_E_REMOTE,
                            "%s refuses the token (401); set it with --token or in CUCKOO_TOKEN",
                            self->url);
    }
    if (strcmp(answer->http.content_type, "application/json") == 0 && answer->http.body.len > 0 &&
        ms_json_parse(answer->http.body.data, answer->http.body.len, &answer->json, NULL) != MS_OK)
        answer->json = NULL;
    return MS_OK;
}

enum ms_status ms_sandbox_get(struct ms_sandbox *self, const char *path, struct ms_answer *out,
                              struct ms_error *err)
{
    char url[2048];
    struct ms_http_request request;
    enum ms_status status = prepare(self, "GET", path, url, &request, err);
    if (status != MS_OK)
        return status;
    request.idempotent = true;
    status = ms_http_perform(self->http, &request, &out->http, err);
    self->answered |= status == MS_OK;
    /* An answer beyond every measure says as little as none. */
    if (status == MS_E_LIMIT || status == MS_REJECT)
        status =
            ms_error_set(err, MS_E_REMOTE, "%s sends an answer that cannot be taken", self->url);
    return status == MS_OK ? read_answer(self, out, err) : status;
}

void ms_part_add(struct ms_http_part *parts, size_t *count, const char *name, const char *value)
{
    if (value && *value)
        parts[(*count)++] = (struct ms_http_part){.name = name, .value = value, .fd = -1};
}

enum ms_status ms_sandbox_post(struct ms_sandbox *self, const char *path,
                               const struct ms_http_part *parts, size_t part_count,
                               struct ms_answer *answer, struct ms_submit_result *out,
                               bool *reached, struct ms_error *err)
{
    char url[2048];
    struct ms_http_request request;
    *reached = false;
    enum ms_status status = prepare(self, "POST", path, url, &request, err);
    if (status != MS_OK)
        return status;
    request.parts = parts;
    request.part_count = part_count;
    request.max_attempts = 1;
    /* The time of any other request, and that of the file at 50 kB/s. */
    uint64_t upload_ms = self->request_ms;
    for (size_t i = 0; i < part_count; i++)
        upload_ms += parts[i].fd_bytes / UPLOAD_BYTES_MS;
    request.total_timeout_ms = upload_ms < DOWNLOAD_MS ? (uint32_t)upload_ms : DOWNLOAD_MS;
    request.stall_timeout_ms = self->stall_ms;
    status = ms_http_perform(self->http, &request, &answer->http, err);
    if (status == MS_OK) {
        *reached = true;
        return read_answer(self, answer, err);
    }
    out->unanswered = true;
    if (status == MS_E_REMOTE && answer->http.nothing_sent)
        out->end = MS_SUBMIT_NOT_SENT;
    ms_reason_set(out->reason, "",
                  out->end == MS_SUBMIT_NOT_SENT ? "the server could not be reached"
                                                 : "no answer to the submission");
    return status == MS_E_REMOTE || status == MS_E_LIMIT || status == MS_REJECT ? MS_OK : status;
}

enum ms_status ms_sandbox_post_task(struct ms_sandbox *self, const char *path,
                                    const struct ms_submission *submission, bool route_field,
                                    struct ms_answer *answer, struct ms_submit_result *out,
                                    bool *reached, struct ms_error *err)
{
    char timeout[16] = "", options[128] = "", name[32], custom[64];
    struct ms_http_part parts[9];
    size_t count = 0;
    if (submission->timeout_s)
        (void)snprintf(timeout, sizeof timeout, "%" PRIu32, submission->timeout_s);
    if (submission->route && !route_field)
        (void)snprintf(options, sizeof options, "route=%s", submission->route);
    (void)snprintf(custom, sizeof custom, "malseq-%s", submission->job_key);
    (void)snprintf(name, sizeof name, "%.16s.%s", submission->sha256, submission->suffix);
    ms_part_add(parts, &count, "package", submission->package);
    ms_part_add(parts, &count, "timeout", timeout);
    ms_part_add(parts, &count, "machine", submission->machine);
    ms_part_add(parts, &count, "tags", submission->tags);
    ms_part_add(parts, &count, "custom", custom);
    ms_part_add(parts, &count, "options", options);
    ms_part_add(parts, &count, route_field ? "route" : "owner",
                route_field ? submission->route : submission->owner);
    parts[count++] = (struct ms_http_part){
        .name = "file", .fd = submission->fd, .fd_bytes = submission->bytes, .filename = name};
    return ms_sandbox_post(self, path, parts, count, answer, out, reached, err);
}

enum ms_status ms_answer_unexpected(const struct ms_answer *self, const struct ms_sandbox *from,
                                    const char *route, struct ms_error *err)
{
    return ms_error_set(err, MS_E_REMOTE, "%s answers %d%s to %s", from->url, self->http.status,
                        self->json ? "" : " without JSON", route);
}

/* GET url/path into fd; out->json stays NULL for a 2xx. */
static enum ms_status download(struct ms_sandbox *self, const char *path, int fd,
                               uint64_t max_bytes, struct ms_answer *out, struct ms_error *err)
{
    char url[2048];
    struct ms_http_request request;
    enum ms_status status = prepare(self, "GET", path, url, &request, err);
    if (status != MS_OK)
        return status;
    request.idempotent = true;
    request.ask_gzip = true;
    request.sink_fd = fd;
    request.max_body_bytes = max_bytes;
    request.total_timeout_ms = DOWNLOAD_MS; /* gigabytes; a stall ends it much earlier */
    request.stall_timeout_ms = self->stall_ms;
    status = ms_http_perform(self->http, &request, &out->http, err);
    if (status != MS_OK || (out->http.status >= 200 && out->http.status < 300))
        return status;
    return read_answer(self, out, err);
}

/* ---- opening ---- */

/* A server that is there but has no time, or is ill, is not one of another kind. */
static enum ms_status not_now(const struct ms_sandbox *self, const struct ms_answer *answer,
                              struct ms_error *err)
{
    if (answer->http.status == 429) {
        (void)ms_error_set(err, MS_E_LATER, "%s is throttling us (429)", self->url);
        if (err)
            err->resume_at_ms = ms_clock_wall_ms() + ms_answer_wait_ms(answer);
        return MS_E_LATER;
    }
    return answer->http.status >= 500
               ? ms_error_set(err, MS_E_REMOTE, "%s answers %d; run extract again later", self->url,
                              answer->http.status)
               : MS_OK;
}

static enum ms_status probe_cuckoo(struct ms_sandbox *self, bool *is_it, struct ms_error *err)
{
    struct ms_answer answer;
    ms_answer_init(&answer);
    self->ops = &ms_sandbox_cuckoo;
    enum ms_status status = ms_sandbox_get(self, "/cuckoo/status", &answer, err);
    const char *version = ms_json_string_at(answer.json, "version", NULL);
    *is_it = status == MS_OK && version != NULL;
    if (*is_it)
        (void)ms_escape_text(version, self->version, sizeof self->version);
    if (status == MS_OK && answer.http.status == 429)
        status = not_now(self, &answer, err);
    ms_answer_release(&answer);
    return status;
}

/* CAPE's status route is off by default and then answers an error object: any JSON with an `error`
 * member is CAPE's hand. */
static enum ms_status probe_cape(struct ms_sandbox *self, bool *is_it, struct ms_error *err)
{
    struct ms_answer answer;
    ms_answer_init(&answer);
    self->ops = &ms_sandbox_cape;
    enum ms_status status = ms_sandbox_get(self, "/cuckoo/status/", &answer, err);
    *is_it = status == MS_OK && json_object_get(answer.json, "error") != NULL;
    if (*is_it)
        (void)ms_escape_text(ms_json_string_at(answer.json, "data.version", ""), self->version,
                             sizeof self->version);
    if (status == MS_OK && !*is_it)
        status = not_now(self, &answer, err);
    ms_answer_release(&answer);
    return status;
}

/* Its list is an array of analyses; a path it does not know is a page for people. */
static enum ms_status probe_drakvuf(struct ms_sandbox *self, bool *is_it, struct ms_error *err)
{
    struct ms_answer answer;
    ms_answer_init(&answer);
    self->ops = &ms_sandbox_drakvuf;
    enum ms_status status = ms_sandbox_get(self, "/list", &answer, err);
    *is_it = status == MS_OK && answer.http.status == 200 && json_is_array(answer.json);
    if (status == MS_OK && !*is_it)
        status = not_now(self, &answer, err);
    ms_answer_release(&answer);
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

typedef enum ms_status (*probe_one)(struct ms_sandbox *, bool *, struct ms_error *);

static enum ms_status probe(struct ms_sandbox *self, enum ms_sandbox_kind wanted,
                            struct ms_error *err)
{
    static const struct {
        enum ms_sandbox_kind kind;
        const char *base; /* what its paths begin with; "" also stands for what the user typed */
        probe_one ask;
    } kinds[] = {{MS_SANDBOX_CUCKOO, "", probe_cuckoo},
                 {MS_SANDBOX_CAPE, "/apiv2", probe_cape},
                 {MS_SANDBOX_DRAKVUF, "/api", probe_drakvuf}};
    size_t n = strlen(self->url);
    struct ms_error not_now_fault = {.status = MS_OK};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        bool is_it = false, has_base = *kinds[i].base && ends_with(self->url, kinds[i].base);
        /* A base that was typed says what it is. */
        if (wanted != MS_SANDBOX_AUTO && wanted != kinds[i].kind)
            continue;
        if (wanted == MS_SANDBOX_AUTO && !has_base &&
            (ends_with(self->url, "/apiv2") || ends_with(self->url, "/api")))
            continue;
        if (!has_base && n + strlen(kinds[i].base) >= sizeof self->url)
            return ms_error_set(err, MS_E_USAGE, "the sandbox's URL is too long");
        if (!has_base)
            memcpy(self->url + n, kinds[i].base, strlen(kinds[i].base) + 1);
        struct ms_error fault = {.status = MS_OK};
        enum ms_status status = kinds[i].ask(self, &is_it, &fault);
        if (status == MS_OK && is_it)
            return MS_OK;
        /* What answers 401, throttles or does not answer will not do otherwise on another path. A
         * server may well fail on a path that is not its own. */
        if (status != MS_OK && (status != MS_E_REMOTE || self->token_refused || !self->answered)) {
            if (err)
                *err = fault;
            return status;
        }
        if (status != MS_OK)
            not_now_fault = fault;
        self->url[n] = '\0';
    }
    if (not_now_fault.status != MS_OK) {
        if (err)
            *err = not_now_fault;
        return not_now_fault.status;
    }
    return ms_error_set(
        err, MS_E_REMOTE, "%s does not answer like %s; check the URL and --sandbox", self->url,
        wanted == MS_SANDBOX_AUTO ? "Cuckoo, CAPE or DRAKVUF" : ms_sandbox_kind_name(wanted));
}

static bool is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost", 9) == 0 ||
           strncmp(host, "[::1]", 5) == 0;
}

enum ms_status ms_sandbox_open(const struct ms_sandbox_options *options, struct ms_sandbox **out,
                               struct ms_error *err)
{
    struct ms_sandbox *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    struct ms_http_options http = {
        .user_agent = "malseq/" MS_VERSION,
        .max_attempts = options->max_attempts ? options->max_attempts : ATTEMPTS,
        .total_timeout_ms = options->request_ms ? options->request_ms : (uint32_t)REQUEST_MS,
        .fresh_connections = true, /* Cuckoo serves one connection at a time, idle ones too */
        .seed = options->seed};
    enum ms_status status;
    size_t n = strlen(options->url);
    while (n > 0 && options->url[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof self->url) {
        status = ms_error_set(err, MS_E_USAGE,
                              "--cuckoo wants the server's URL, such as http://127.0.0.1:8090");
        goto out;
    }
    memcpy(self->url, options->url, n);
    self->request_ms = options->request_ms ? options->request_ms : REQUEST_MS;
    /* A stall is measured in whole seconds. */
    self->stall_ms = options->request_ms && options->request_ms < 1000 ? 1000 : options->request_ms;
    self->token = options->token;
    status = ms_http_new(&http, &self->http, err);
    if (status == MS_OK)
        status = ms_http_trust(self->http, self->url, true, err);
    if (status == MS_OK && self->token)
        status = ms_secret_bind(self->token, self->url, err);
    if (status == MS_OK && self->token && strncmp(self->url, "http://", 7) == 0 &&
        !is_loopback(self->url))
        ms_log(MS_LOG_WARNING,
               "the token travels in clear to %s; use https where the server offers it", self->url);
    if (status == MS_OK)
        status = probe(self, options->kind, err);
out:
    if (status != MS_OK) {
        ms_sandbox_close(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_sandbox_close(struct ms_sandbox *self)
{
    if (!self)
        return;
    ms_http_free(self->http);
    free(self);
}

enum ms_sandbox_kind ms_sandbox_kind_get(const struct ms_sandbox *self)
{
    return self->ops->kind;
}

const char *ms_sandbox_url(const struct ms_sandbox *self)
{
    return self->url;
}

const char *ms_sandbox_version(const struct ms_sandbox *self)
{
    return self->version;
}

bool ms_sandbox_token_refused(const struct ms_sandbox *self)
{
    return self->token_refused;
}

enum ms_status ms_sandbox_submit(struct ms_sandbox *self, const struct ms_submission *submission,
                                 struct ms_submit_result *out, struct ms_error *err)
{
    *out = (struct ms_submit_result){.end = MS_SUBMIT_AMBIGUOUS};
    return self->ops->submit(self, submission, out, err);
}

enum ms_status ms_sandbox_look(struct ms_sandbox *self, const char *task_id,
                               enum ms_task_status *out, int64_t *wait_ms, struct ms_error *err)
{
    *out = MS_TASK_UNKNOWN;
    *wait_ms = 0;
    return self->ops->look(self, task_id, out, wait_ms, err);
}

enum ms_status ms_sandbox_find(struct ms_sandbox *self, const char *sha256, const char *job_key,
                               char task_id[MS_TASK_ID_BYTES], bool *certain, int64_t *wait_ms,
                               struct ms_error *err)
{
    task_id[0] = '\0';
    *certain = true;
    *wait_ms = 0;
    return self->ops->find(self, sha256, job_key, task_id, certain, wait_ms, err);
}

enum ms_status ms_sandbox_survey(struct ms_sandbox *self, const char *owner, size_t expected,
                                 struct ms_survey *out, int64_t *wait_ms, struct ms_error *err)
{
    out->count = 0;
    out->whole = false;
    *wait_ms = 0;
    return self->ops->survey(self, owner, expected, out, wait_ms, err);
}

enum ms_status ms_sandbox_load(struct ms_sandbox *self, struct ms_sandbox_load *out,
                               int64_t *wait_ms, struct ms_error *err)
{
    *out = (struct ms_sandbox_load){.known = false};
    *wait_ms = 0;
    return self->ops->load ? self->ops->load(self, out, wait_ms, err) : MS_OK;
}

/* ---- surveys ---- */

void ms_survey_release(struct ms_survey *self)
{
    free(self->tasks);
    *self = (struct ms_survey){0};
}

enum ms_status ms_survey_add(struct ms_survey *self, const char *task_id,
                             enum ms_task_status status, struct ms_error *err)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        struct ms_survey_task *longer = realloc(self->tasks, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->tasks = longer;
        self->cap = cap;
    }
    struct ms_survey_task *task = &self->tasks[self->count++];
    task->status = status;
    (void)snprintf(task->task_id, sizeof task->task_id, "%s", task_id);
    return MS_OK;
}

enum ms_status ms_survey_add_list(struct ms_survey *self, const json_t *list, struct ms_error *err)
{
    size_t i;
    json_t *task;
    enum ms_status status = MS_OK;
    json_array_foreach(list, i, task)
    {
        char id[MS_TASK_ID_BYTES];
        const char *word = ms_json_string_at(task, "status", NULL);
        if (status == MS_OK && word && ms_task_id_from(json_object_get(task, "id"), id))
            status = ms_survey_add(self, id, ms_task_status_parse(word), err);
    }
    return status;
}

void ms_load_from(const json_t *answer, const char *path, struct ms_sandbox_load *out)
{
    const json_t *tasks = ms_json_at(answer, path);
    out->known = json_is_integer(json_object_get(tasks, "pending"));
    out->pending = ms_json_int_at(tasks, "pending", 0);
    out->running = ms_json_int_at(tasks, "running", 0);
}

/* ---- reports ---- */

static void report_path(const struct ms_sandbox *self, const char *task_id, char out[128])
{
    (void)snprintf(out, 128, "%s%s%s", self->ops->report_before, task_id, self->ops->report_after);
}

enum ms_status ms_sandbox_fetch(struct ms_sandbox *self, const char *task_id, int fd,
                                uint64_t max_bytes, enum ms_fetch_end *out, int64_t *wait_ms,
                                struct ms_error *err)
{
    char path[128];
    struct ms_answer answer;
    ms_answer_init(&answer);
    *out = MS_FETCH_MISSING;
    *wait_ms = 0;
    report_path(self, task_id, path);
    enum ms_status status = download(self, path, fd, max_bytes, &answer, err);
    if (status == MS_OK && answer.http.status == 429) {
        *out = MS_FETCH_LATER;
        *wait_ms = ms_answer_wait_ms(&answer);
    } else if (status == MS_OK && answer.http.status == 200) {
        *out = self->ops->judge_report ? self->ops->judge_report(&answer, fd) : MS_FETCH_OK;
    } else if (status == MS_OK && answer.http.status != 404) {
        status = ms_answer_unexpected(&answer, self, path, err);
    }
    ms_answer_release(&answer);
    return status;
}
