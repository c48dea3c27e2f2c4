/* A list of URLs into the corpus: one conditional request each. Opens nothing itself. */
#define _GNU_SOURCE
#include "collect/urls.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/http.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "collect/crawl.h"
#include "collect/list.h"
#include "collect/patience.h"
#include "collect/source.h"
#include "store/sample.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { VALIDATOR_BYTES = 256, BACKOFF_MS = 500, LIMIT_WAIT_MS = 60000 };

struct urls {
    struct ms_collect *session;
    struct ms_http *http;
    const char *path;
    struct ms_patience patience;
};

/* One line. */
struct url_run {
    struct urls *urls;
    const struct ms_list_url *line;
    struct ms_origin origin;
    const char *claim;
    bool private_;
    bool changed; /* claim or private */
    int fd;       /* the file; -1: none was fetched */
    uint64_t size;
    char validator[VALIDATOR_BYTES];
    const char *state; /* of the answer; NULL: the file is here, or as it was */
    bool unchanged;
    bool failed; /* no proper answer */
    char reason[256];
};

/* ---- the request ----------------------------------------------------------------------------- */

/* What to ask with the next time; what is too long or not said is nothing. */
static void keep_validator(struct url_run *self, const struct ms_http_response *response)
{
    char value[VALIDATOR_BYTES];
    self->validator[0] = '\0';
    bool tagged = ms_http_header(response, "etag", value, sizeof value) && strchr(value, '"');
    bool dated = !tagged && ms_http_header(response, "last-modified", value, sizeof value) &&
                 !strchr(value, '"');
    if ((tagged || dated) && strlen(value) < sizeof value - 1)
        memcpy(self->validator, value, sizeof self->validator);
}

/* With more servers to be left alone than can be told apart, one of them is asked again. */
static void be_patient(struct url_run *self, const struct ms_http_response *response)
{
    int64_t wait = response->retry_after_ms >= 0 ? response->retry_after_ms : LIMIT_WAIT_MS;
    struct ms_error limited;
    self->state = "limited";
    (void)ms_error_set(&limited, MS_E_LATER, "HTTP %d", response->status);
    limited.resume_at_ms = ms_clock_wall_ms() + wait;
    if (ms_patience_add(&self->urls->patience, self->line->url.origin, &limited) != MS_OK)
        self->state = "error";
}

static void judge(struct url_run *self, const struct ms_http_response *response, bool conditional)
{
    int code = response->status;
    (void)snprintf(self->reason, sizeof self->reason, "HTTP %d", code);
    self->unchanged = code == 304 && conditional;
    if (code == 200)
        keep_validator(self, response);
    else if (code == 404 || code == 410)
        self->state = "gone";
    else if (code == 451)
        self->state = "legal";
    else if (code == 429 || (code == 503 && response->retry_after_ms >= 0))
        be_patient(self, response);
    else if (code == 401 || code == 403)
        self->state = "blocked";
    else if (!self->unchanged)
        self->state = "error";
    self->failed = self->state && strcmp(self->state, "error") == 0;
}

/* Asks for the file, unless it is as it was when `validator` was given. */
static enum ms_status ask(struct url_run *self, const char *validator, struct ms_error *err)
{
    char condition[VALIDATOR_BYTES + 32];
    const char *headers[1] = {condition};
    struct ms_error why = {MS_OK, 0, ""};
    struct ms_http_response response;
    if (self->fd >= 0)
        (void)close(self->fd);
    enum ms_status status = ms_file_memory("url", &self->fd, err);
    if (status != MS_OK)
        return status;
    if (validator)
        (void)snprintf(condition, sizeof condition, "%s: %s",
                       strchr(validator, '"') ? "If-None-Match" : "If-Modified-Since", validator);
    struct ms_http_request request = {.method = "GET",
                                      .url = self->line->url.text,
                                      .peer = MS_HTTP_PEER_PUBLIC,
                                      .headers = headers,
                                      .header_count = validator ? 1 : 0,
                                      .idempotent = true,
                                      .follow_redirects = true,
                                      .max_body_bytes = MS_LIMIT_LFS_BYTES,
                                      .sink_fd = self->fd};
    ms_http_response_init(&response);
    self->state = NULL;
    self->failed = false;
    status = ms_http_perform(self->urls->http, &request, &response, &why);
    self->size = response.body_bytes;
    if (status == MS_OK) {
        judge(self, &response, validator != NULL);
    } else if (status == MS_E_REMOTE || status == MS_E_LIMIT || status == MS_REJECT) {
        /* A URL that leads where it may not is no fault of a service. */
        self->state = "error";
        self->failed = status == MS_E_REMOTE;
        (void)snprintf(self->reason, sizeof self->reason, "%.255s", why.text);
        status = MS_OK;
    } else if (err) {
        *err = why;
    }
    ms_http_response_release(&response);
    ms_step("collect.urls.asked");
    return status;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* The last name in the URL's path. */
static struct ms_span name_of(const struct ms_url *url)
{
    const char *path = url->text + strcspn(url->text, ":") + 3;
    path += strcspn(path, "/");
    size_t n = strcspn(path, "?");
    const char *name = memrchr(path, '/', n);
    name = name ? name + 1 : path;
    n -= (size_t)(name - path);
    return n ? ms_span_of(name, n) : ms_span_of("download", 8);
}

static enum ms_status git_id_of(int fd, uint64_t size, uint8_t out[MS_SHA1_BYTES],
                                struct ms_error *err)
{
    struct ms_hasher *hasher;
    struct ms_digests digests;
    uint8_t block[64 << 10];
    char head[32];
    uint64_t done = 0;
    ssize_t n;
    enum ms_status status = ms_hasher_new(MS_HASH_SHA1, &hasher, err);
    if (status != MS_OK)
        return status;
    int head_bytes = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    ms_hasher_update(hasher, head, (size_t)head_bytes + 1);
    while ((n = pread(fd, block, sizeof block, (off_t)done)) > 0) {
        ms_hasher_update(hasher, block, (size_t)n);
        done += (uint64_t)n;
    }
    status = ms_hasher_finish(hasher, &digests, err);
    if (status == MS_OK && (n < 0 || done != size))
        status = ms_error_set(err, MS_E_IO, "cannot read back what was received");
    if (status == MS_OK)
        memcpy(out, digests.sha1, MS_SHA1_BYTES);
    ms_hasher_free(hasher);
    return status;
}

/* The file is here; or, when only a new password is tried on it, it is fetched after all. */
static enum ms_status give_file(void *ctx, const struct ms_entry *entry, int *fd, uint64_t *size,
                                const char **outcome, struct ms_error *err)
{
    struct url_run *self = ctx;
    uint8_t git_id[MS_SHA1_BYTES];
    *outcome = "error";
    if (self->unchanged) {
        enum ms_status status = ask(self, NULL, err);
        if (status != MS_OK)
            return status;
        if (self->state)
            return ms_error_set(err, MS_REJECT, "%s", self->reason);
        status = git_id_of(self->fd, self->size, git_id, err);
        if (status != MS_OK)
            return status;
        *outcome = "mismatch";
        if (memcmp(git_id, entry->git_id, sizeof git_id) != 0)
            return ms_error_set(err, MS_REJECT, "the server gives another file than it says");
        self->unchanged = false;
    }
    *fd = fcntl(self->fd, F_DUPFD_CLOEXEC, 3);
    *size = self->size;
    return *fd >= 0 ? MS_OK : ms_error_set(err, MS_E_IO, "out of descriptors");
}

static enum ms_status take_in(struct url_run *self, struct ms_entries *entries,
                              struct ms_error *err)
{
    struct ms_collect *session = self->urls->session;
    bool unchanged = self->unchanged;
    uint64_t opened = session->counts.opened;
    struct ms_crawl crawl = {.origin = self->origin.id,
                             .name = self->line->url.text,
                             .claim = self->claim,
                             .private_ = self->private_,
                             .max_blob_bytes = MS_LIMIT_LFS_BYTES,
                             .fetch = give_file,
                             .fetch_ctx = self};
    enum ms_status status = ms_crawl_files(session, &crawl, entries, err);
    struct ms_origin row = self->origin;
    row.state = crawl.incomplete ? "partial" : "ok";
    row.reason = NULL;
    row.checked_ms = ms_clock_wall_ms();
    if (!unchanged)
        row.validator = !crawl.incomplete && self->validator[0] ? self->validator : NULL;
    if (status == MS_OK && unchanged && !self->changed && session->counts.opened == opened)
        return ms_source_save(session, &row, row.state, NULL, err);
    return status == MS_OK ? ms_crawl_finish(session, &crawl, entries, &row, err) : status;
}

static enum ms_status fetch(struct url_run *self, struct ms_entries *entries, struct ms_error *err)
{
    uint8_t git_id[MS_SHA1_BYTES];
    enum ms_status status = ask(self, self->origin.validator, err);
    if (status != MS_OK || self->state)
        return status;
    if (self->unchanged)
        return ms_crawl_last_tree(self->urls->session, self->origin.id, entries, err);
    status = git_id_of(self->fd, self->size, git_id, err);
    return status == MS_OK ? ms_entries_add(entries, name_of(&self->line->url), git_id,
                                            (int64_t)self->size, err)
                           : status;
}

/* The file was not to be had. */
static enum ms_status give_up(struct url_run *self, struct ms_error *err)
{
    struct ms_collect *session = self->urls->session;
    enum ms_status status = ms_source_save(session, &self->origin, self->state, self->reason, err);
    if (status != MS_OK || strcmp(self->state, "limited") == 0)
        return status;
    session->counts.origins_failed++;
    session->remote_failed |= self->failed;
    return ms_collect_tell_failure(session, self->line->url.text, ms_span_of(NULL, 0), NULL,
                                   self->state, self->reason, err);
}

static enum ms_status run(struct url_run *self, struct ms_error *err)
{
    struct ms_collect *session = self->urls->session;
    struct ms_collect_counts before = session->counts;
    const char *name = self->line->url.text;
    struct ms_entries entries;
    if (!ms_source_is_due(session, &self->origin, name)) {
        ms_collect_tell_origin(session, name, self->origin.state, &before);
        return MS_OK;
    }
    ms_entries_init(&entries);
    enum ms_status status = fetch(self, &entries, err);
    const char *told = self->state ? self->state : self->unchanged ? "same" : "ok";
    if (status == MS_OK)
        status = self->state ? give_up(self, err) : take_in(self, &entries, err);
    if (status == MS_OK)
        ms_collect_tell_origin(session, name, told, &before);
    ms_entries_release(&entries);
    return status;
}

/* ---- the list -------------------------------------------------------------------------------- */

static enum ms_status collect_url(struct urls *urls, const struct ms_list_url *line,
                                  struct ms_error *err)
{
    struct ms_collect *session = urls->session;
    struct url_run self = {.urls = urls,
                           .line = line,
                           .fd = -1,
                           .claim = line->claim ? line->claim : session->options->claim,
                           .private_ = line->private_ || session->options->private_};
    const struct ms_origin row = {.kind = "list",
                                  .name = line->url.text,
                                  .ref = "",
                                  .claim = self.claim,
                                  .private_ = self.private_};
    session->counts.origins++;
    enum ms_status status = ms_source_open(session, &row, &self.origin, &self.changed, err);
    if (status == MS_OK)
        status = run(&self, err);
    else if (status == MS_REJECT)
        status = ms_source_tell_forgotten(session, line->url.text, err);
    if (self.fd >= 0)
        (void)close(self.fd);
    ms_origin_release(&self.origin);
    return status;
}

static enum ms_status collect_line(void *ctx, struct ms_span text, uint64_t number,
                                   struct ms_error *err)
{
    struct urls *self = ctx;
    struct ms_list_url line;
    struct ms_error why = {MS_OK, 0, ""};
    char shown[256];
    bool empty;
    if (ms_list_url_parse(text, &line, &empty, &why) != MS_OK) {
        ms_log(MS_LOG_WARNING, "%s:%llu: %s", ms_escape_text(self->path, shown, sizeof shown),
               (unsigned long long)number, why.text);
        self->session->counts.bad_lines++;
        return MS_OK;
    }
    if (empty || ms_patience_waits(&self->patience, line.url.origin))
        return MS_OK;
    return collect_url(self, &line, err);
}

enum ms_status ms_urls_collect(struct ms_collect *session, const char *list_path,
                               struct ms_error *err)
{
    const struct ms_http_options options = {.user_agent = "malseq/" MS_VERSION,
                                            .max_attempts = 4,
                                            .backoff_base_ms = BACKOFF_MS,
                                            .total_timeout_ms = 600000,
                                            .seed = session->cli->common.seed};
    struct urls self = {.session = session, .path = list_path};
    enum ms_status status = ms_http_new(&options, &self.http, err);
    if (status == MS_OK)
        status = ms_http_trust(self.http, session->options->github_url, false, err);
    if (status == MS_OK)
        status = ms_source_foreach_line(list_path, collect_line, &self, err);
    ms_http_free(self.http);
    return status == MS_OK ? ms_patience_end(&self.patience, "a server of the URL list", err)
                           : status;
}
