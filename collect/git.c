/* The client's side of git's smart HTTP protocol. Decides what an answer means for a repository;
 * packs are read elsewhere, in the worker. */
#include "collect/git.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum {
    REQUEST_BYTES = 4 << 20,
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
                                   .ask_gzip = true, /* lists of refs halve, packs do not */
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
                                   .follow_redirects = true,
                                   .ask_gzip = true};
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

/* What is asked for by ls-refs, and what it says. */
struct refs {
    const char *ref;
    bool branches; /* all of them, for a HEAD that leads nowhere */
    struct ms_git_tips *tips;
    bool found;
    uint8_t id[MS_SHA1_BYTES];
    bool understood; /* false: redirects, and 200 with nonsense, want a closer look */
};

static void add_prefixes(struct ms_buf *body, const struct refs *refs)
{
    if (refs->tips || refs->branches)
        ms_pkt_add(body, "ref-prefix refs/heads/");
    if (refs->tips)
        ms_pkt_add(body, "ref-prefix refs/tags/");
    if (refs->tips || !refs->ref[0])
        ms_pkt_add(body, "ref-prefix HEAD");
    if (!refs->ref[0])
        return;
    ms_pkt_add(body, "ref-prefix refs/heads/%s", refs->ref);
    ms_pkt_add(body, "ref-prefix refs/tags/%s", refs->ref);
    ms_pkt_add(body, "ref-prefix %s", refs->ref);
}

static void read_refs(struct ms_git *self, struct ms_span body, struct refs *refs)
{
    struct ms_error why = {MS_OK, 0, ""};
    enum ms_status status = ms_git_refs_read(body, refs->ref, &refs->found, refs->id, &why);
    if (status == MS_OK && refs->tips) {
        ms_git_tips_release(refs->tips);
        status = ms_git_tips_read(body, refs->tips, &why);
    }
    refs->understood = status == MS_OK;
    if (status != MS_OK)
        fail(self, MS_GIT_ERROR, why.text);
}

static enum ms_status ls_refs(struct ms_git *self, struct refs *refs, struct ms_error *err)
{
    struct ms_http_response response;
    struct ms_buf body;
    begin(&body, "ls-refs");
    ms_pkt_add(&body, "peel");
    ms_pkt_add(&body, "symrefs");
    add_prefixes(&body, refs);
    ms_pkt_add_flush(&body);
    ms_http_response_init(&response);
    enum ms_status status = post(self, &body, 0, 0, &response, err);
    refs->understood = false;
    if (status == MS_OK && self->answer == MS_GIT_OK)
        read_refs(self, ms_span_of(response.body.data, response.body.len), refs);
    else /* a status that says something itself is taken at its word */
        refs->understood =
            response.status != 200 && (response.status < 300 || response.status > 399);
    ms_http_response_release(&response);
    ms_buf_release(&body);
    return status;
}

/* Asks; and where the answer makes no sense, finds out why, and at a new place asks again. */
static enum ms_status ask_refs(struct ms_git *self, struct refs *refs, struct ms_error *err)
{
    char reason[sizeof self->reason];
    enum ms_status status = ls_refs(self, refs, err);
    if (status != MS_OK || refs->understood)
        return status;
    (void)snprintf(reason, sizeof reason, "%s", self->reason);
    status = ask_features(self, err);
    if (status != MS_OK || self->answer != MS_GIT_OK)
        return status;
    if (self->moved)
        return ls_refs(self, refs, err);
    fail(self, MS_GIT_ERROR, reason); /* it speaks version 2, and yet */
    return MS_OK;
}

static bool is_commit_id(const char *ref, uint8_t id[MS_SHA1_BYTES])
{
    return strlen(ref) == 2 * MS_SHA1_BYTES && ms_hex_decode(ref, MS_SHA1_BYTES, id);
}

enum ms_status ms_git_head(struct ms_git *self, const char *ref, uint8_t commit[MS_SHA1_BYTES],
                           struct ms_git_tips *tips, struct ms_error *err)
{
    struct refs refs = {.ref = ref, .tips = tips};
    bool by_id = is_commit_id(ref, commit);
    if (by_id)
        refs.ref = ""; /* is it still there? */
    enum ms_status status = ask_refs(self, &refs, err);
    if (status != MS_OK || self->answer != MS_GIT_OK || by_id)
        return status;
    if (!refs.found && !ref[0] && !tips) {
        refs.branches = true;
        status = ls_refs(self, &refs, err);
        if (status != MS_OK || self->answer != MS_GIT_OK)
            return status;
    }
    if (refs.found)
        memcpy(commit, refs.id, MS_SHA1_BYTES);
    else if (ref[0])
        fail(self, MS_GIT_ERROR, "no such branch or tag");
    else
        fail(self, MS_GIT_EMPTY, "no commit yet");
    return MS_OK;
}

static void add_ids(struct ms_buf *body, const char *word, const uint8_t (*ids)[MS_SHA1_BYTES],
                    size_t count)
{
    char hex[MS_HASH_HEX_MAX];
    for (size_t i = 0; i < count; i++) {
        ms_hex_encode(ids[i], MS_SHA1_BYTES, hex);
        ms_pkt_add(body, "%s %s", word, hex);
    }
}

enum ms_status ms_git_fetch(struct ms_git *self, const struct ms_git_want *want, int sink_fd,
                            struct ms_error *err)
{
    struct ms_http_response response;
    struct ms_buf body;
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
    add_ids(&body, "want", want->ids, want->count);
    add_ids(&body, "have", want->have, want->have_count);
    ms_pkt_add(&body, "done");
    ms_pkt_add_flush(&body);
    ms_http_response_init(&response);
    enum ms_status status = post(self, &body, sink_fd, want->max_bytes, &response, err);
    ms_http_response_release(&response);
    ms_buf_release(&body);
    return status;
}
