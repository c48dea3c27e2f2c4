/* GitHub's REST API: requests, what their answers mean, trees. Stores nothing. */
#include "collect/github.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_BYTES = 512,
    URL_BYTES = 2048,
    TREE_DEPTH_MAX = 64,
    SECONDARY_WAIT_MS = 60000, /* GitHub: wait at least a minute when no time is given */
    RESET_MAX_S = 86400
};

/* "message" of an error answer, and its block's reason where it has one. */
static void read_problem(const struct ms_http_response *response, char *message, size_t bytes,
                         bool *block)
{
    json_t *root = NULL;
    *block = false;
    (void)snprintf(message, bytes, "HTTP %d", response->status);
    if (ms_json_parse(response->body.data, response->body.len, &root, NULL) != MS_OK)
        return;
    char shown[160];
    const char *text = ms_json_string_at(root, "message", "");
    const char *why = ms_json_string_at(root, "block.reason", "");
    *block = json_is_object(ms_json_at(root, "block"));
    (void)ms_escape_text(text, shown, sizeof shown);
    if (*text)
        (void)snprintf(message, bytes, "HTTP %d: %s", response->status, shown);
    if (*why) {
        size_t used = strlen(message);
        (void)snprintf(message + used, bytes - used, " (%s)",
                       ms_escape_text(why, shown, sizeof shown));
    }
    json_decref(root);
}

static bool nothing_remains(const struct ms_http_response *response)
{
    char value[64];
    return ms_http_header(response, "x-ratelimit-remaining", value, sizeof value) &&
           strcmp(value, "0") == 0;
}

/* When the quota is filled again; 0 when the answer leaves some, or does not say. A reset more than
 * a day ahead is none of GitHub's. */
static int64_t reset_time(const struct ms_http_response *response, int64_t now)
{
    char value[64];
    if (!nothing_remains(response) ||
        !ms_http_header(response, "x-ratelimit-reset", value, sizeof value))
        return 0;
    int64_t reset = (int64_t)strtoll(value, NULL, 10);
    if (reset <= now / 1000 || reset > now / 1000 + RESET_MAX_S)
        return 0;
    return reset * 1000;
}

/* When the limit ends: Retry-After, else the reset time when nothing is left, else a minute. */
static int64_t resume_time(const struct ms_http_response *response)
{
    int64_t now = ms_clock_wall_ms();
    if (response->retry_after_ms >= 0)
        return now + response->retry_after_ms;
    int64_t reset = reset_time(response, now);
    return reset ? reset : now + SECONDARY_WAIT_MS;
}

static bool is_limit(const struct ms_http_response *response, const char *message)
{
    return response->status == 429 || response->retry_after_ms >= 0 || nothing_remains(response) ||
           strstr(message, "rate limit") != NULL;
}

static void limited(struct ms_error *err, const char *reason, int64_t resume_at_ms)
{
    (void)ms_error_set(err, MS_E_LATER,
                       "GitHub's rate limit is reached (%s); what was collected is kept", reason);
    if (err)
        err->resume_at_ms = resume_at_ms;
}

static enum ms_status classify(const struct ms_http_response *response, bool conditional,
                               enum ms_github_answer *answer, char reason[256],
                               struct ms_error *err)
{
    bool block;
    if (response->status == 200 || response->status == 304) {
        *answer = response->status == 200 ? MS_GITHUB_OK
                  : conditional           ? MS_GITHUB_UNCHANGED
                                          : MS_GITHUB_ERROR;
        if (*answer == MS_GITHUB_ERROR)
            (void)snprintf(reason, 256, "304 to an unconditional request");
        return MS_OK;
    }
    read_problem(response, reason, 256, &block);
    switch (response->status) {
    case 401:
        return ms_error_set(err, MS_E_REMOTE, "GitHub refuses the token (%s)", reason);
    case 404:
        *answer = MS_GITHUB_GONE;
        return MS_OK;
    case 409:
        *answer = MS_GITHUB_EMPTY;
        return MS_OK;
    case 422:
        *answer = MS_GITHUB_NO_REF;
        return MS_OK;
    case 451:
        *answer = MS_GITHUB_LEGAL;
        return MS_OK;
    case 403:
    case 429:
        *answer = block || !is_limit(response, reason) ? MS_GITHUB_BLOCKED : MS_GITHUB_LIMITED;
        break;
    default:
        *answer = MS_GITHUB_ERROR;
        return MS_OK;
    }
    if (*answer == MS_GITHUB_LIMITED)
        limited(err, reason, resume_time(response));
    return MS_OK;
}

bool ms_github_answered(const struct ms_github *self, const struct ms_http_response *response)
{
    size_t n = strlen(self->base);
    /* What follows the base is a path: https://api.github.com.example is another host. */
    return strncmp(response->final_url, self->base, n) == 0 && response->final_url[n] == '/';
}

enum ms_status ms_github_get(struct ms_github *self, const struct ms_github_request *request,
                             struct ms_http_response *response, enum ms_github_answer *answer,
                             char reason[256], struct ms_error *err)
{
    char url[URL_BYTES];
    char accept[128];
    char etag[MS_GITHUB_ETAG_BYTES + 32];
    const char *headers[3] = {accept, "X-GitHub-Api-Version: 2022-11-28", etag};
    struct ms_error why = {MS_OK, 0, ""};
    reason[0] = '\0';
    /* GitHub: no request after the last one that the quota allows; clients that go on are banned.
     */
    if (self->resume_at_ms > ms_clock_wall_ms()) {
        *answer = MS_GITHUB_LIMITED;
        (void)snprintf(reason, 256, "no request is left until the quota is filled again");
        limited(err, reason, self->resume_at_ms);
        return MS_OK;
    }
    (void)snprintf(url, sizeof url, "%s%s", self->base, request->path);
    (void)snprintf(accept, sizeof accept, "Accept: %s",
                   request->accept ? request->accept : "application/vnd.github+json");
    if (request->etag)
        (void)snprintf(etag, sizeof etag,
                       strchr(request->etag, '"') ? "If-None-Match: %s" : "If-None-Match: \"%s\"",
                       request->etag);
    struct ms_http_request http = {.method = "GET",
                                   .url = url,
                                   .peer = MS_HTTP_PEER_PUBLIC,
                                   .headers = headers,
                                   .header_count = request->etag ? 3 : 2,
                                   .secret = self->token,
                                   .secret_header = "Authorization: Bearer ",
                                   .idempotent = true,
                                   .follow_redirects = true,
                                   .ask_gzip = request->sink_fd == 0,
                                   .max_body_bytes = request->max_bytes,
                                   .sink_fd = request->sink_fd,
                                   .max_attempts = request->max_attempts};
    enum ms_status status = ms_http_perform(self->http, &http, response, &why);
    if (status == MS_OK) {
        if (ms_github_answered(self, response))
            self->resume_at_ms = reset_time(response, ms_clock_wall_ms());
        return classify(response, request->etag != NULL, answer, reason, err);
    }
    if (status != MS_E_REMOTE && status != MS_E_LIMIT && status != MS_REJECT) {
        if (err)
            *err = why;
        return status;
    }
    *answer = MS_GITHUB_ERROR;
    (void)snprintf(reason, 256, "%.255s", why.text);
    return MS_OK;
}

/* ---- trees ----------------------------------------------------------------------------------- */

struct tree_walk {
    struct ms_github *github;
    const char *repository;
    struct ms_entries *out;
    enum ms_github_answer answer;
    char *reason;
};

static enum ms_status get_tree(struct tree_walk *self, const char *sha, bool recursive,
                               json_t **out, struct ms_error *err)
{
    char path[PATH_BYTES];
    struct ms_http_response response;
    ms_http_response_init(&response);
    (void)snprintf(path, sizeof path, "/repos/%s/git/trees/%s%s", self->repository, sha,
                   recursive ? "?recursive=1" : "");
    struct ms_github_request request = {.path = path};
    *out = NULL;
    enum ms_status status =
        ms_github_get(self->github, &request, &response, &self->answer, self->reason, err);
    if (status == MS_OK && self->answer == MS_GITHUB_OK) {
        struct ms_error why = {MS_OK, 0, ""};
        if (ms_json_parse(response.body.data, response.body.len, out, &why) != MS_OK ||
            !json_is_array(json_object_get(*out, "tree"))) {
            self->answer = MS_GITHUB_ERROR;
            (void)snprintf(self->reason, 256, "the tree is no tree: %.200s", why.text);
            json_decref(*out);
            *out = NULL;
        }
    }
    ms_http_response_release(&response);
    return status;
}

static enum ms_status add_file(struct tree_walk *self, struct ms_span prefix, const json_t *item,
                               struct ms_error *err)
{
    const json_t *name = json_object_get(item, "path");
    const char *mode = ms_json_string_at(item, "mode", "");
    uint8_t git_id[MS_SHA1_BYTES];
    struct ms_buf path;
    if (!json_is_string(name) || strcmp(mode, "120000") == 0 ||
        !ms_hex_decode(ms_json_string_at(item, "sha", ""), MS_SHA1_BYTES, git_id))
        return MS_OK;
    int64_t size = ms_json_int_at(item, "size", -1);
    ms_buf_init(&path, (size_t)1 << 20);
    if (prefix.len) {
        (void)ms_buf_append(&path, prefix.data, prefix.len);
        (void)ms_buf_append_byte(&path, '/');
    }
    (void)ms_buf_append(&path, json_string_value(name), json_string_length(name));
    enum ms_status status = path.failed ? MS_OK /* a path of a megabyte: no repository's */
                                        : ms_entries_add(self->out, ms_span_of(path.data, path.len),
                                                         git_id, size < 0 ? -1 : size, err);
    ms_buf_release(&path);
    return status;
}

static enum ms_status walk_tree(struct tree_walk *self, const char *sha, struct ms_span prefix,
                                unsigned depth, struct ms_error *err);

static enum ms_status walk_folder(struct tree_walk *self, struct ms_span prefix, const json_t *item,
                                  unsigned depth, struct ms_error *err)
{
    const json_t *name = json_object_get(item, "path");
    const char *sha = ms_json_string_at(item, "sha", "");
    uint8_t git_id[MS_SHA1_BYTES];
    struct ms_buf path;
    if (!json_is_string(name) || !ms_hex_decode(sha, MS_SHA1_BYTES, git_id))
        return MS_OK;
    ms_buf_init(&path, (size_t)1 << 20);
    if (prefix.len) {
        (void)ms_buf_append(&path, prefix.data, prefix.len);
        (void)ms_buf_append_byte(&path, '/');
    }
    (void)ms_buf_append(&path, json_string_value(name), json_string_length(name));
    enum ms_status status =
        path.failed ? MS_OK : walk_tree(self, sha, ms_span_of(path.data, path.len), depth + 1, err);
    ms_buf_release(&path);
    return status;
}

/* Takes the recursive listing; where that is cut short, the plain one and each folder by itself. */
static enum ms_status walk_tree(struct tree_walk *self, const char *sha, struct ms_span prefix,
                                unsigned depth, struct ms_error *err)
{
    json_t *root;
    if (depth > TREE_DEPTH_MAX) {
        self->answer = MS_GITHUB_ERROR;
        (void)snprintf(self->reason, 256, "folders nested too deep");
        return MS_OK;
    }
    enum ms_status status = get_tree(self, sha, true, &root, err);
    bool cut = root && json_is_true(json_object_get(root, "truncated"));
    if (status == MS_OK && cut) {
        json_decref(root);
        status = get_tree(self, sha, false, &root, err);
    }
    size_t index;
    json_t *item;
    if (status == MS_OK && root)
        json_array_foreach(json_object_get(root, "tree"), index, item)
        {
            const char *type = ms_json_string_at(item, "type", "");
            if (strcmp(type, "blob") == 0)
                status = add_file(self, prefix, item, err);
            else if (cut && strcmp(type, "tree") == 0)
                status = walk_folder(self, prefix, item, depth, err);
            if (status != MS_OK || self->answer != MS_GITHUB_OK)
                break;
        }
    json_decref(root);
    return status;
}

enum ms_status ms_github_tree(struct ms_github *self, const char *repository, const char *sha,
                              struct ms_entries *out, enum ms_github_answer *answer,
                              char reason[256], struct ms_error *err)
{
    struct tree_walk walk = {
        .github = self, .repository = repository, .out = out, .reason = reason};
    enum ms_status status = walk_tree(&walk, sha, ms_span_of(NULL, 0), 0, err);
    *answer = walk.answer;
    ms_entries_sort(out);
    return status;
}
