/* The client's side of git's smart HTTP protocol. Decides what an answer means for a repository;
 * packs are read elsewhere, in the worker. */
#include "collect/git.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum {
    REQUEST_BYTES = 1 << 20,
    HEADER_BYTES = 256,
    LIMIT_WAIT_MS = 60000, /* where the server names no time */
    TIMEOUT_MS = 1800000
};

static const char refs_path[] = "/info/refs?service=git-upload-pack";

static void fail(struct ms_git *self, enum ms_git_answer answer, const char *reason)
{
    self->answer = answer;
    (void)snprintf(self->reason, sizeof self->reason, "%.255s", reason);
}

static void limited(struct ms_git *self, const struct ms_http_response *response,
                    struct ms_error *err)
{
    fail(self, MS_GIT_LIMITED, "the server's rate limit is reached");
    (void)ms_error_set(err, MS_E_LATER,
                       "the git server's rate limit is reached; what was collected is kept");
    if (err)
        err->resume_at_ms =
            ms_clock_wall_ms() +
            (response->retry_after_ms >= 0 ? response->retry_after_ms : LIMIT_WAIT_MS);
}

/* What an HTTP status means, and whether the body is what was asked for. */
static void classify(struct ms_git *self, const struct ms_http_response *response,
                     const char *content_type, struct ms_error *err)
{
    char text[128];
    switch (response->status) {
    case 200:
        self->answer = MS_GIT_OK;
        if (strcmp(response->content_type, content_type) != 0)
            fail(self, MS_GIT_ERROR, "there is no git repository behind this URL");
        return;
    case 401:
        fail(self, MS_GIT_GONE, "HTTP 401: the server asks for a login (private, or not there)");
        return;
    case 404:
    case 410:
        (void)snprintf(text, sizeof text, "HTTP %d: no such repository", response->status);
        fail(self, MS_GIT_GONE, text);
        return;
    case 451:
        fail(self, MS_GIT_LEGAL, "HTTP 451: withheld for legal reasons");
        return;
    case 403:
    case 429:
        if (response->status == 429 || response->retry_after_ms >= 0)
            limited(self, response, err);
        else
            fail(self, MS_GIT_BLOCKED, "HTTP 403: the server forbids it");
        return;
    default:
        (void)snprintf(text, sizeof text, "HTTP %d", response->status);
        fail(self, MS_GIT_ERROR, text);
    }
}

/* Sorts faults of the wire from reasons to stop. */
static enum ms_status settle(struct ms_git *self, enum ms_status status, const struct ms_error *why,
                             struct ms_error *err)
{
    if (status == MS_E_LIMIT) {
        fail(self, MS_GIT_TOO_LARGE, why->text);
    } else if (status == MS_E_REMOTE || status == MS_REJECT) {
        fail(self, MS_GIT_ERROR, why->text);
    } else {
        if (err)
            *err = *why;
        return status;
    }
    return MS_OK;
}

static enum ms_status post(struct ms_git *self, const struct ms_buf *body, int sink_fd,
                           uint64_t max_bytes, struct ms_http_response *response,
                           struct ms_error *err)
{
    static const char *const headers[] = {"Git-Protocol: version=2",
                                          "Content-Type: application/x-git-upload-pack-request",
                                          "Accept: application/x-git-upload-pack-result"};
    struct ms_error why = {MS_OK, 0, ""};
    char url[MS_LIMIT_URL_BYTES + sizeof refs_path];
    (void)snprintf(url, sizeof url, "%s/git-upload-pack", self->base);
    struct ms_http_request http = {.method = "POST",
                                   .url = url,
                                   .peer = MS_HTTP_PEER_PUBLIC,
                                   .headers = headers,
                                   .header_count = sizeof headers / sizeof *headers,
                                   .body = body->data,
                                   .body_bytes = body->len,
                                   .idempotent = true,
                                   .max_body_bytes = max_bytes,
                                   .sink_fd = sink_fd,
                                   .total_timeout_ms = TIMEOUT_MS};
    if (body->failed)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = ms_http_perform(self->http, &http, response, &why);
    if (status != MS_OK)
        return settle(self, status, &why, err);
    classify(self, response, "application/x-git-upload-pack-result", err);
    return MS_OK;
}

/* ---- what the server can do ------------------------------------------------------------------ */

/* The base that the last URL of a chain of redirects shows. */
static void follow_move(struct ms_git *self, const struct ms_http_response *response)
{
    size_t n = strlen(response->final_url);
    size_t tail = sizeof refs_path - 1;
    if (!response->redirected)
        return;
    if (n <= tail || strcmp(response->final_url + n - tail, refs_path) != 0) {
        fail(self, MS_GIT_ERROR, "the server redirects to something else");
        return;
    }
    (void)snprintf(self->base, sizeof self->base, "%.*s", (int)(n - tail), response->final_url);
    self->moved = true;
}

static enum ms_status ask_features(struct ms_git *self, struct ms_error *err)
{
    static const char *const headers[] = {"Git-Protocol: version=2"};
    struct ms_error why = {MS_OK, 0, ""};
    struct ms_http_response response;
    char url[MS_LIMIT_URL_BYTES + sizeof refs_path];
    (void)snprintf(url, sizeof url, "%s%s", self->base, refs_path);
    struct ms_http_request http = {.method = "GET",
                                   .url = url,
                                   .peer = MS_HTTP_PEER_PUBLIC,
                                   .headers = headers,
                                   .header_count = 1,
                                   .idempotent = true,
                                   .follow_redirects = true};
    ms_http_response_init(&response);
    enum ms_status status = ms_http_perform(self->http, &http, &response, &why);
    if (status != MS_OK) {
        status = settle(self, status, &why, err);
    } else {
        classify(self, &response, "application/x-git-upload-pack-advertisement", err);
        if (self->answer == MS_GIT_OK)
            follow_move(self, &response);
        if (self->answer == MS_GIT_OK &&
            ms_git_features_read(ms_span_of(response.body.data, response.body.len), &self->features,
                                 &why) != MS_OK)
            fail(self, MS_GIT_ERROR, why.text);
        self->asked = self->answer == MS_GIT_OK;
    }
    ms_http_response_release(&response);
    return status;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void begin(struct ms_buf *out, const char *command)
{
    ms_buf_init(out, REQUEST_BYTES);
    ms_pkt_add(out, "command=%s", command);
    ms_pkt_add(out, "agent=malseq/" MS_VERSION);
    ms_pkt_add(out, "object-format=sha1");
    ms_pkt_add_delim(out);
}

static enum ms_status ls_refs(struct ms_git *self, const char *ref, bool *found,
                              uint8_t id[MS_SHA1_BYTES], bool *understood, struct ms_error *err)
{
    struct ms_error why = {MS_OK, 0, ""};
    struct ms_http_response response;
    struct ms_buf body;
    begin(&body, "ls-refs");
    ms_pkt_add(&body, "peel");
    ms_pkt_add(&body, "symrefs");
    if (!ref[0]) {
        ms_pkt_add(&body, "ref-prefix HEAD");
    } else {
        ms_pkt_add(&body, "ref-prefix refs/heads/%s", ref);
        ms_pkt_add(&body, "ref-prefix refs/tags/%s", ref);
        ms_pkt_add(&body, "ref-prefix %s", ref);
    }
    ms_pkt_add_flush(&body);
    ms_http_response_init(&response);
    enum ms_status status = post(self, &body, 0, 0, &response, err);
    *understood = self->answer == MS_GIT_OK;
    if (status == MS_OK && *understood &&
        ms_git_refs_read(ms_span_of(response.body.data, response.body.len), ref, found, id, &why) !=
            MS_OK) {
        fail(self, MS_GIT_ERROR, why.text);
        *understood = false;
    }
    /* A status that says something itself is taken at its word; redirects, and 200 with nonsense,
     * want a closer look. */
    if (!*understood && response.status != 200 && (response.status < 300 || response.status > 399))
        *understood = true;
    ms_http_response_release(&response);
    ms_buf_release(&body);
    return status;
}

static bool is_commit_id(const char *ref, uint8_t id[MS_SHA1_BYTES])
{
    return strlen(ref) == 2 * MS_SHA1_BYTES && ms_hex_decode(ref, MS_SHA1_BYTES, id);
}

enum ms_status ms_git_head(struct ms_git *self, const char *ref, uint8_t commit[MS_SHA1_BYTES],
                           struct ms_error *err)
{
    bool found = false, understood = false;
    uint8_t named[MS_SHA1_BYTES];
    bool by_id = is_commit_id(ref, named);
    const char *asked = by_id ? "" : ref; /* is it still there? */
    enum ms_status status = ls_refs(self, asked, &found, commit, &understood, err);
    if (status == MS_OK && !understood) {
        char reason[sizeof self->reason];
        (void)snprintf(reason, sizeof reason, "%s", self->reason);
        status = ask_features(self, err);
        if (status == MS_OK && self->answer == MS_GIT_OK && self->moved)
            status = ls_refs(self, asked, &found, commit, &understood, err);
        else if (status == MS_OK && self->answer == MS_GIT_OK)
            fail(self, MS_GIT_ERROR, reason); /* it speaks version 2, and yet */
    }
    if (status != MS_OK || self->answer != MS_GIT_OK)
        return status;
    if (by_id)
        memcpy(commit, named, sizeof named);
    else if (!found && !ref[0])
        fail(self, MS_GIT_EMPTY, "no commit yet");
    else if (!found)
        fail(self, MS_GIT_ERROR, "no such branch or tag");
    return MS_OK;
}

enum ms_status ms_git_fetch(struct ms_git *self, const struct ms_git_want *want, int sink_fd,
                            struct ms_error *err)
{
    struct ms_http_response response;
    struct ms_buf body;
    char hex[MS_HASH_HEX_MAX];
    if (!self->asked) {
        enum ms_status status = ask_features(self, err);
        if (status != MS_OK || self->answer != MS_GIT_OK)
            return status;
    }
    begin(&body, "fetch");
    ms_pkt_add(&body, "ofs-delta");
    ms_pkt_add(&body, "no-progress");
    if (want->tip_only && self->features.shallow)
        ms_pkt_add(&body, "deepen 1");
    if (want->without_blobs && self->features.filter)
        ms_pkt_add(&body, "filter blob:none");
    for (size_t i = 0; i < want->count; i++) {
        ms_hex_encode(want->ids[i], MS_SHA1_BYTES, hex);
        ms_pkt_add(&body, "want %s", hex);
    }
    ms_pkt_add(&body, "done");
    ms_pkt_add_flush(&body);
    ms_http_response_init(&response);
    enum ms_status status = post(self, &body, sink_fd, want->max_bytes, &response, err);
    ms_http_response_release(&response);
    ms_buf_release(&body);
    return status;
}
