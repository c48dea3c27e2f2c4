/* Requests to VirusTotal and the reading of its small answers (errors, quotas). */
#define _GNU_SOURCE /* explicit_bzero */
#include "label/virustotal.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ms_vt_transport replaced; /* perform NULL: base/http */

struct ms_vt {
    struct ms_http *http;
    struct ms_vt_transport transport;
    struct ms_secret *secret;
    char *base; /* without the slash at the end */
    char *user; /* the account's id; NULL: unknown */
    struct ms_http_response response;
};

void ms_vt_transport_set(const struct ms_vt_transport *transport)
{
    replaced = transport ? *transport : (struct ms_vt_transport){0};
}

static enum ms_status perform_http(void *ctx, const struct ms_http_request *request,
                                   struct ms_http_response *response, struct ms_error *err)
{
    return ms_http_perform(ctx, request, response, err);
}

enum ms_status ms_vt_new(const char *url, struct ms_secret *secret, const char *user,
                         struct ms_vt **out, struct ms_error *err)
{
    /* App Engine compresses for programs only when their name says "gzip". A connection of its own
     * for each request: four a minute gain nothing from keeping one, and libcurl would silently
     * send a request twice on a dead one, which the ledger could not know. */
    const struct ms_http_options options = {
        .user_agent = "malseq/" MS_VERSION "; gzip", .max_attempts = 1, .fresh_connections = true};
    struct ms_vt *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    ms_http_response_init(&self->response);
    self->secret = secret;
    self->base = strdup(url);
    self->user = user ? strdup(user) : NULL;
    enum ms_status status = MS_OK;
    if (!self->base || (user && !self->user))
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status == MS_OK)
        status = ms_http_new(&options, &self->http, err);
    if (status == MS_OK)
        status = ms_http_trust(self->http, url, false, err);
    if (status == MS_OK)
        status = ms_secret_bind(secret, url, err);
    if (status != MS_OK) {
        ms_vt_free(self);
        return status;
    }
    self->transport =
        replaced.perform ? replaced : (struct ms_vt_transport){self->http, perform_http};
    size_t n = strlen(self->base);
    while (n > 0 && self->base[n - 1] == '/')
        self->base[--n] = '\0';
    *out = self;
    return MS_OK;
}

void ms_vt_free(struct ms_vt *self)
{
    if (!self)
        return;
    ms_http_free(self->http);
    ms_http_response_release(&self->response);
    free(self->base);
    free(self->user);
    free(self);
}

const char *ms_vt_base(const struct ms_vt *self)
{
    return self->base;
}

/* path: as in struct ms_vt_call. */
static enum ms_status perform(struct ms_vt *self, const struct ms_vt_call *call,
                              struct ms_error *err)
{
    static const char *const headers[] = {"Accept: application/json", "x-tool: malseq"};
    char url[MS_LIMIT_URL_BYTES];
    bool post = strcmp(call->method, "POST") == 0;
    const struct ms_http_request request = {.method = call->method,
                                            .url = url,
                                            .peer = MS_HTTP_PEER_PUBLIC,
                                            .headers = headers,
                                            .header_count = 2,
                                            .secret = self->secret,
                                            .secret_header = "x-apikey: ",
                                            .parts = call->parts,
                                            .part_count = call->part_count,
                                            /* Length 0 has to be said: front ends answer 411. */
                                            .body = post && call->part_count == 0 ? "" : NULL,
                                            .idempotent = strcmp(call->method, "GET") == 0,
                                            .ask_gzip = true,
                                            .max_body_bytes = call->max_bytes ? call->max_bytes
                                                                              : MS_VT_SMALL_BYTES,
                                            .total_timeout_ms = call->timeout_ms,
                                            .stall_timeout_ms = call->stall_ms};
    int n = call->url ? snprintf(url, sizeof url, "%s", call->url)
                      : snprintf(url, sizeof url, "%s%s", self->base, call->path);
    if (n < 0 || (size_t)n >= sizeof url)
        return ms_error_set(err, MS_E_USAGE, "the service's URL is too long");
    return self->transport.perform(self->transport.ctx, &request, &self->response, err);
}

/* The service's own error code and message; false when the body is no error object. */
static bool read_error(const struct ms_vt *self, struct ms_vt_answer *out)
{
    json_t *root = NULL;
    const struct ms_buf *body = &self->response.body;
    if (body->len == 0 || body->len > MS_VT_SMALL_BYTES ||
        ms_json_parse(body->data, body->len, &root, NULL) != MS_OK)
        return false;
    const char *code = ms_json_string_at(root, "error.code", "");
    const char *message = ms_json_string_at(root, "error.message", "");
    bool known =
        code[0] && strlen(code) < sizeof out->code &&
        strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == strlen(code);
    if (known) {
        char shown[160];
        (void)snprintf(out->code, sizeof out->code, "%s", code);
        (void)snprintf(out->why, sizeof out->why, "%d %s: %s", out->status, code,
                       ms_escape_text(message, shown, sizeof shown));
    }
    json_decref(root);
    return known;
}

/* Codes say more than statuses; a status without its code is a page of something in between, save
 * for those that mean the same from anybody (401, 429). */
static enum ms_vt_outcome outcome_of(int status, const char *code)
{
    static const struct {
        int status;
        const char *code;
        enum ms_vt_outcome outcome;
    } table[] = {
        {400, "NotAvailableYet", MS_VT_NOT_YET},       {400, "BadRequestError", MS_VT_BAD_HASH},
        {400, "InvalidArgumentError", MS_VT_BAD_HASH}, {403, "ForbiddenError", MS_VT_FORBIDDEN},
        {404, "NotFoundError", MS_VT_NOT_FOUND},
    };
    if (status == 401)
        return MS_VT_BAD_KEY;
    if (status == 429)
        return MS_VT_REFUSED;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (status == table[i].status && strcmp(code, table[i].code) == 0)
            return table[i].outcome;
    return MS_VT_TRANSIENT;
}

enum ms_status ms_vt_send(struct ms_vt *self, const struct ms_vt_call *call,
                          struct ms_vt_answer *out, struct ms_error *err)
{
    struct ms_error fault = {0};
    *out = (struct ms_vt_answer){.outcome = MS_VT_TRANSIENT, .retry_after_ms = -1};
    enum ms_status status = perform(self, call, &fault);
    if ((status == MS_E_REMOTE && self->response.may_pass) || status == MS_E_LIMIT) {
        (void)snprintf(out->why, sizeof out->why, "%.250s", fault.text);
        out->unsent = self->response.nothing_sent;
        out->begun = self->response.status / 100 == 2;
        return MS_OK;
    }
    if (status != MS_OK) {
        if (err)
            *err = fault;
        return status;
    }
    const struct ms_http_response *response = &self->response;
    out->status = response->status;
    out->retry_after_ms = response->retry_after_ms;
    (void)snprintf(out->why, sizeof out->why, "answered %d%s%s", response->status,
                   response->content_type[0] ? " with " : "", response->content_type);
    if (response->status == 200 && response->body.len > 0) {
        out->outcome = MS_VT_FOUND;
        out->body = ms_span_of(response->body.data, response->body.len);
        return MS_OK;
    }
    (void)read_error(self, out);
    out->outcome = outcome_of(out->status, out->code);
    return MS_OK;
}

enum ms_status ms_vt_file(struct ms_vt *self, const char *hash, struct ms_vt_answer *out,
                          struct ms_error *err)
{
    char path[160];
    const struct ms_vt_call call = {
        .method = "GET", .path = path, .max_bytes = MS_LIMIT_SCAN_BYTES};
    (void)snprintf(path, sizeof path, "/files/%s", hash);
    return ms_vt_send(self, &call, out, err);
}

/* One window: {"user": {allowed, used}, "group": {…}}; the one with less left. */
static void read_window(const json_t *root, const char *name, int64_t *allowed, int64_t *used)
{
    static const char *const sides[] = {"user", "group"};
    for (size_t i = 0; i < 2; i++) {
        char path[80];
        (void)snprintf(path, sizeof path, "data.api_requests_%s.%s.allowed", name, sides[i]);
        int64_t may = ms_json_int_at(root, path, -1);
        (void)snprintf(path, sizeof path, "data.api_requests_%s.%s.used", name, sides[i]);
        int64_t did = ms_json_int_at(root, path, 0);
        const int64_t sane = (int64_t)1 << 50;
        if (may < 0 || may > sane || did < 0 || did > sane)
            continue;
        if (*allowed < 0 || may - did < *allowed - *used) {
            *allowed = may;
            *used = did;
        }
    }
}

enum ms_status ms_vt_quotas(struct ms_vt *self, struct ms_quota_told *told, bool *forbidden,
                            struct ms_error *err)
{
    char path[1024];
    struct ms_error fault = {0};
    struct ms_buf id;
    json_t *root = NULL;
    *told = (struct ms_quota_told){-1, -1, -1, -1, -1, -1};
    *forbidden = false;
    if (!self->user)
        return MS_OK;
    const struct ms_vt_call call = {.method = "GET", .path = path};
    ms_buf_init(&id, sizeof path);
    enum ms_status status = ms_http_encode(&id, self->user, false);
    int n = snprintf(path, sizeof path, "/users/%s/overall_quotas", ms_buf_text(&id));
    if (status == MS_OK && n > 0 && (size_t)n < sizeof path)
        status = perform(self, &call, &fault);
    else
        status = ms_error_set(&fault, MS_E_USAGE, "the account's id is too long for a URL");
    ms_buf_release(&id);
    if (status == MS_OK && self->response.status == 401)
        return ms_error_set(err, MS_E_REMOTE,
                            "the service refuses the key (401); check VT_API_KEY or --vt-key");
    *forbidden = status == MS_OK && self->response.status == 403;
    if ((status == MS_E_REMOTE && self->response.may_pass) || status == MS_E_LIMIT ||
        (status == MS_OK && self->response.status != 200))
        return MS_OK;
    if (status != MS_OK) {
        if (err)
            *err = fault;
        return status;
    }
    if (ms_json_parse(self->response.body.data, self->response.body.len, &root, NULL) != MS_OK)
        return MS_OK;
    read_window(root, "hourly", &told->hour_allowed, &told->hour_used);
    read_window(root, "daily", &told->day_allowed, &told->day_used);
    read_window(root, "monthly", &told->month_allowed, &told->month_used);
    json_decref(root);
    return MS_OK;
}
