/* A list of repositories into the corpus: one conditional request each, then only what is new. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/file.h"
#include "base/http_url.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "collect/git.h"
#include "collect/github.h"
#include "collect/patience.h"
#include "collect/releases.h"
#include "collect/source.h"
#include "collect/tarball.h"
#include "store/sample.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* GitHub serves blobs up to 100 MB. */
enum { BLOB_BYTES_MAX = 100 << 20, READ_BYTES = 128 << 10, FETCHES = 2, BACKOFF_MS = 500 };

struct repo_run {
    struct ms_collect *session;
    struct ms_github *github;
    const struct ms_repo *repo;
    char name[MS_REPO_NAME_BYTES]; /* as the host knows it now; the origin keeps the list's */
    struct ms_origin origin;       /* as it will be written */
    bool claims_changed, forgotten;
    bool identified; /* the host was asked for the repository's id and name */
    char commit_hex[MS_HASH_HEX_MAX];
    enum ms_github_answer answer;
    char reason[256];
};

/* ---- blobs ----------------------------------------------------------------------------------- */

static bool is_git_id(int fd, uint64_t size, const uint8_t want[MS_SHA1_BYTES])
{
    struct ms_hasher *hasher;
    struct ms_digests digests;
    static uint8_t block[READ_BYTES];
    char head[32];
    uint64_t done = 0;
    if (ms_hasher_new(MS_HASH_SHA1, &hasher, NULL) != MS_OK)
        return false;
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    ms_hasher_update(hasher, head, (size_t)n + 1);
    ssize_t got;
    while ((got = pread(fd, block, sizeof block, (off_t)done)) > 0) {
        ms_hasher_update(hasher, block, (size_t)got);
        done += (uint64_t)got;
    }
    bool good = ms_hasher_finish(hasher, &digests, NULL) == MS_OK && done == size &&
                memcmp(digests.sha1, want, MS_SHA1_BYTES) == 0;
    ms_hasher_free(hasher);
    return good;
}

/* One download. MS_REJECT when it failed or brought other bytes. */
static enum ms_status download(struct repo_run *self, const struct ms_entry *entry, int *fd,
                               uint64_t *size, const char **outcome, struct ms_error *err)
{
    char hex[MS_HASH_HEX_MAX];
    char path[512];
    char reason[256];
    enum ms_github_answer answer = MS_GITHUB_ERROR;
    struct ms_http_response response;
    *outcome = "error";
    enum ms_status status = ms_file_memory("blob", fd, err);
    if (status != MS_OK)
        return status;
    ms_http_response_init(&response);
    ms_hex_encode(entry->git_id, MS_SHA1_BYTES, hex);
    (void)snprintf(path, sizeof path, "/repos/%s/git/blobs/%s", self->name, hex);
    struct ms_github_request request = {.path = path,
                                        .accept = "application/vnd.github.raw+json",
                                        .sink_fd = *fd,
                                        .max_bytes = BLOB_BYTES_MAX};
    status = ms_github_get(self->github, &request, &response, &answer, reason, err);
    *size = response.body_bytes;
    ms_http_response_release(&response);
    if (status == MS_OK && answer == MS_GITHUB_LIMITED)
        return MS_E_LATER;
    if (status == MS_OK && answer != MS_GITHUB_OK) {
        *outcome = answer == MS_GITHUB_GONE ? "gone" : "error";
        return ms_error_set(err, MS_REJECT, "%s", reason);
    }
    if (status == MS_OK && !is_git_id(*fd, *size, entry->git_id)) {
        *outcome = "mismatch";
        return ms_error_set(err, MS_REJECT, "the bytes received are not those of this git id");
    }
    return status;
}

static enum ms_status fetch_blob(void *ctx, const struct ms_entry *entry, int *fd, uint64_t *size,
                                 const char **outcome, struct ms_error *err)
{
    enum ms_status status = MS_REJECT;
    for (unsigned attempt = 0; attempt < FETCHES; attempt++) {
        status = download(ctx, entry, fd, size, outcome, err);
        if (status == MS_OK)
            break;
        if (*fd >= 0)
            (void)close(*fd);
        *fd = -1;
        if (status != MS_REJECT || strcmp(*outcome, "mismatch") != 0)
            break;
    }
    return status;
}

/* ---- the repository -------------------------------------------------------------------------- */

static const char *claim_of(const struct repo_run *self)
{
    return self->repo->claim ? self->repo->claim : self->session->options->claim;
}

static bool private_of(const struct repo_run *self)
{
    return self->repo->private_ || self->session->options->private_;
}

/* The row, with what the list says today; url NULL: as it was. */
static struct ms_origin row_of(const struct repo_run *self, const char *url)
{
    return (struct ms_origin){.kind = "github",
                              .name = self->repo->name,
                              .ref = self->repo->ref,
                              .url = url,
                              .claim = claim_of(self),
                              .private_ = private_of(self)};
}

/* The name that the repository had when it was last seen to have moved. */
static void recall_name(struct repo_run *self)
{
    const char *url = self->origin.url;
    struct ms_repo moved;
    bool empty = true;
    if (url && ms_repo_parse(ms_span_of(url, strlen(url)), &moved, &empty, NULL) == MS_OK && !empty)
        memcpy(self->name, moved.name, sizeof self->name);
}

/* What the corpus knows of the origin, and its row. Forgotten: MS_REJECT. */
static enum ms_status open_origin(struct repo_run *self, struct ms_error *err)
{
    const struct ms_origin row = row_of(self, NULL);
    enum ms_status status =
        ms_source_open(self->session, &row, &self->origin, &self->claims_changed, err);
    if (status == MS_OK)
        recall_name(self);
    return status;
}

static enum ms_status get(struct repo_run *self, const char *path, const char *accept,
                          const char *etag, struct ms_http_response *response, struct ms_error *err)
{
    struct ms_github_request request = {.path = path, .accept = accept, .etag = etag};
    return ms_github_get(self->github, &request, response, &self->answer, self->reason, err);
}

/* The commit to collect. UNCHANGED also when a server ignores the condition. *moved: the answer
 * came from another name. */
static enum ms_status get_head(struct repo_run *self, bool *moved, struct ms_error *err)
{
    struct ms_http_response response;
    struct ms_buf path;
    char etag[MS_HASH_HEX_MAX] = "";
    uint8_t id[MS_SHA1_BYTES];
    if (self->origin.has_commit && self->origin.commit_bytes == MS_SHA1_BYTES)
        ms_hex_encode(self->origin.commit_id, MS_SHA1_BYTES, etag);
    ms_buf_init(&path, (size_t)64 << 10);
    ms_http_response_init(&response);
    (void)ms_buf_printf(&path, "/repos/%s/commits/", self->name);
    (void)ms_http_encode(&path, self->repo->ref[0] ? self->repo->ref : "HEAD", false);
    enum ms_status status = path.failed
                                ? ms_error_set(err, MS_E_NOMEM, "out of memory")
                                : get(self, ms_buf_text(&path), "application/vnd.github.sha",
                                      etag[0] ? etag : NULL, &response, err);
    if (status == MS_OK && self->answer == MS_GITHUB_OK) {
        const char *text = ms_buf_text(&response.body);
        if (response.body.len != 2 * MS_SHA1_BYTES || !ms_hex_decode(text, MS_SHA1_BYTES, id)) {
            self->answer = MS_GITHUB_ERROR;
            (void)snprintf(self->reason, sizeof self->reason, "the answer is no commit id");
        } else {
            ms_hex_encode(id, MS_SHA1_BYTES, self->commit_hex);
            if (etag[0] && strcmp(etag, self->commit_hex) == 0)
                self->answer = MS_GITHUB_UNCHANGED;
        }
    }
    *moved = status == MS_OK && response.redirected && self->answer <= MS_GITHUB_UNCHANGED;
    ms_http_response_release(&response);
    ms_buf_release(&path);
    return status;
}

/* Takes over the name that the host gives the repository, which the next run then asks for. */
static enum ms_status learn_name(struct repo_run *self, const json_t *root, struct ms_error *err)
{
    const char *said = ms_json_string_at(root, "full_name", "");
    struct ms_repo now;
    bool empty;
    char url[MS_REPO_NAME_BYTES + 32];
    if (strpbrk(said, " \t\r\n#@:") ||
        ms_repo_parse(ms_span_of(said, strlen(said)), &now, &empty, NULL) != MS_OK || empty ||
        strcmp(now.name, self->name) == 0)
        return MS_OK; /* an answer without a proper name moves nothing */
    memcpy(self->name, now.name, sizeof self->name);
    ms_log(MS_LOG_INFO, "%s has moved to %s and is followed there", self->repo->name, self->name);
    (void)snprintf(url, sizeof url, "https://github.com/%s", self->name);
    const struct ms_origin row = row_of(self, url);
    struct ms_origin written;
    bool changed;
    enum ms_status status = ms_source_check_forgotten(self->session, &row, &self->forgotten, err);
    if (status != MS_OK || self->forgotten)
        return status;
    status = ms_source_open(self->session, &row, &written, &changed, err);
    ms_origin_release(&written);
    return status;
}

/* The host's own id of the repository: the same name with another id belongs to somebody else. */
static enum ms_status check_identity(struct repo_run *self, bool *replaced, struct ms_error *err)
{
    struct ms_http_response response;
    char path[256];
    json_t *root = NULL;
    *replaced = false;
    self->identified = true;
    ms_http_response_init(&response);
    (void)snprintf(path, sizeof path, "/repos/%s", self->name);
    enum ms_status status = get(self, path, NULL, NULL, &response, err);
    if (status == MS_OK && self->answer == MS_GITHUB_OK) {
        struct ms_error why;
        int64_t id = 0;
        if (ms_json_parse(response.body.data, response.body.len, &root, &why) == MS_OK)
            id = ms_json_int_at(root, "id", 0);
        if (id <= 0) {
            self->answer = MS_GITHUB_ERROR;
            (void)snprintf(self->reason, sizeof self->reason, "the answer names no repository");
        } else if (self->origin.remote_id && self->origin.remote_id != id) {
            *replaced = true;
            (void)snprintf(self->reason, sizeof self->reason,
                           "the name belongs to another repository now (id %lld, was %lld)",
                           (long long)id, (long long)self->origin.remote_id);
        } else {
            const struct ms_origin same = {
                .kind = "github", .name = self->repo->name, .remote_id = id};
            self->origin.remote_id = id;
            status = ms_source_check_forgotten(self->session, &same, &self->forgotten, err);
            if (status == MS_OK && !self->forgotten)
                status = learn_name(self, root, err);
        }
        json_decref(root);
    }
    ms_http_response_release(&response);
    return status;
}

static enum ms_status save_state(struct repo_run *self, const char *state, const char *reason,
                                 struct ms_error *err)
{
    return ms_source_save(self->session, &self->origin, state, reason, err);
}

/* An answer that ends this repository's turn. */
static enum ms_status give_up(struct repo_run *self, const char *state, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    enum ms_status status = save_state(self, state, self->reason, err);
    if (status != MS_OK || strcmp(state, "empty") == 0)
        return status;
    session->counts.origins_failed++;
    if (self->answer == MS_GITHUB_ERROR)
        session->remote_failed = true;
    return ms_collect_tell_failure(session, self->repo->name, ms_span_of(NULL, 0), NULL, state,
                                   self->reason, err);
}

const char *ms_github_state(enum ms_github_answer answer)
{
    static const char *const words[] = {"ok",      "ok",      "empty", "gone", "legal",
                                        "blocked", "limited", "error", "error"};
    return words[answer];
}

/* Opens what is new and writes the tree. */
static enum ms_status collect_files(struct repo_run *self, const struct ms_entries *entries,
                                    bool unchanged, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    uint64_t opened = session->counts.opened;
    struct ms_tarball tarball;
    struct ms_crawl crawl = {.origin = self->origin.id,
                             .name = self->repo->name,
                             .claim = claim_of(self),
                             .private_ = private_of(self),
                             .max_blob_bytes = BLOB_BYTES_MAX,
                             .fetch = ms_tarball_fetch,
                             .fetch_ctx = &tarball};
    char lfs_url[MS_URL_ORIGIN_BYTES + MS_REPO_NAME_BYTES + 32];
    (void)snprintf(lfs_url, sizeof lfs_url, "%s/%s.git/info/lfs", self->github->web, self->name);
    const struct ms_lfs lfs = {self->github->http, lfs_url, self->github->web};
    crawl.lfs = &lfs;
    crawl.commit_id = ms_span_of(self->origin.commit_id, MS_SHA1_BYTES);
    char commit_hex[MS_HASH_HEX_MAX];
    ms_hex_encode(self->origin.commit_id, MS_SHA1_BYTES, commit_hex);
    ms_tarball_init(&tarball, session, self->github, &crawl, entries);
    tarball.repository = self->name;
    tarball.commit = commit_hex;
    tarball.single = fetch_blob;
    tarball.single_ctx = self;
    enum ms_status status = ms_crawl_files(session, &crawl, entries, err);
    ms_tarball_release(&tarball);
    if (status == MS_E_LATER) {
        /* The commit is not written: the next run takes the tree up again. */
        struct ms_error limited = *err;
        self->origin.has_commit = unchanged;
        status = save_state(self, "limited", limited.text, err);
        *err = limited;
        return status == MS_OK ? MS_E_LATER : status;
    }
    const char *state = crawl.incomplete ? "partial" : "ok";
    if (status == MS_OK && unchanged && !self->claims_changed && session->counts.opened == opened)
        return !self->identified && self->origin.state && strcmp(self->origin.state, state) == 0
                   ? ms_source_save_same(session, &self->origin, err)
                   : save_state(self, state, NULL, err);
    struct ms_origin row = self->origin;
    row.state = state;
    row.reason = NULL;
    row.checked_ms = ms_clock_wall_ms();
    return status == MS_OK ? ms_crawl_finish(session, &crawl, entries, &row, err) : status;
}

static enum ms_status get_files(struct repo_run *self, struct ms_entries *entries, bool *unchanged,
                                const char **stop, struct ms_error *err)
{
    bool replaced = false;
    bool moved = false;
    *stop = NULL;
    enum ms_status status = get_head(self, &moved, err);
    *unchanged = status == MS_OK && self->answer == MS_GITHUB_UNCHANGED;
    if (status == MS_OK && (moved || self->answer == MS_GITHUB_OK))
        status = check_identity(self, &replaced, err);
    if (status != MS_OK || self->forgotten)
        return status;
    if (status == MS_OK && *unchanged && self->answer <= MS_GITHUB_UNCHANGED && !replaced)
        return ms_crawl_last_tree(self->session, self->origin.id, entries, err);
    if (status == MS_OK && self->answer == MS_GITHUB_OK && !replaced)
        status = ms_github_tree(self->github, self->name, self->commit_hex, entries, &self->answer,
                                self->reason, err);
    if (status == MS_OK && self->answer != MS_GITHUB_OK)
        *stop = ms_github_state(self->answer);
    else if (replaced)
        *stop = "replaced";
    return status;
}

static enum ms_status collect_releases(struct repo_run *self, struct ms_error *err)
{
    const struct ms_releases_repo repo = {self->repo->name, self->name, claim_of(self),
                                          private_of(self)};
    return ms_releases_collect(self->session, self->github, &repo, err);
}

static enum ms_status run_repo(struct repo_run *self, struct ms_entries *entries,
                               struct ms_error *err)
{
    struct ms_collect_counts before = self->session->counts;
    bool unchanged = false;
    const char *stop;
    if (!ms_source_is_due(self->session, &self->origin, self->repo->name)) {
        ms_collect_tell_origin(self->session, self->repo->name, self->origin.state, &before);
        return MS_OK;
    }
    enum ms_status status = get_files(self, entries, &unchanged, &stop, err);
    ms_step("collect.github.listed");
    if (status == MS_OK && self->forgotten)
        return ms_source_tell_forgotten(self->session, self->repo->name, err);
    if (status != MS_OK)
        return status;
    if (self->answer == MS_GITHUB_LIMITED) {
        struct ms_error limited = *err;
        status = save_state(self, "limited", self->reason, err);
        *err = limited;
        return status == MS_OK ? MS_E_LATER : status;
    }
    if (stop)
        status = give_up(self, stop, err);
    else {
        if (!unchanged) {
            self->origin.has_commit = true;
            self->origin.commit_bytes = MS_SHA1_BYTES;
            if (!ms_hex_decode(self->commit_hex, MS_SHA1_BYTES, self->origin.commit_id))
                return ms_error_set(err, MS_E_BUG, "commit id");
        }
        status = collect_files(self, entries, unchanged, err);
        if (status == MS_OK && self->session->options->releases)
            status = collect_releases(self, err);
    }
    if (status == MS_OK)
        ms_collect_tell_origin(self->session, self->repo->name,
                               stop        ? stop
                               : unchanged ? "same"
                                           : "ok",
                               &before);
    return status;
}

static enum ms_status collect_repo(struct ms_collect *session, struct ms_github *github,
                                   const struct ms_repo *repo, struct ms_error *err)
{
    struct repo_run self = {.session = session, .github = github, .repo = repo};
    memcpy(self.name, repo->name, sizeof self.name);
    struct ms_entries entries;
    session->counts.origins++;
    enum ms_status status = open_origin(&self, err);
    if (status == MS_REJECT) {
        ms_origin_release(&self.origin);
        return ms_source_tell_forgotten(session, repo->name, err);
    }
    ms_entries_init(&entries);
    if (status == MS_OK)
        status = run_repo(&self, &entries, err);
    ms_entries_release(&entries);
    ms_origin_release(&self.origin);
    return status;
}

/* ---- the list -------------------------------------------------------------------------------- */

struct list_run {
    struct ms_collect *session;
    struct ms_github *github;
    const char *path;
    char api[MS_URL_ORIGIN_BYTES];
    struct ms_patience patience;
};

/* One repository, unless its server is to be left alone: then it is as if it were not listed. */
static enum ms_status collect_listed(struct list_run *self, const struct ms_repo *repo,
                                     struct ms_error *err)
{
    const struct ms_collect_options *options = self->session->options;
    /* Releases are known to the API alone. */
    bool git = repo->url[0] || options->history || (!self->session->token && !options->releases);
    const char *server = git ? self->github->web : self->api;
    struct ms_error why = {MS_OK, 0, ""};
    struct ms_url url;
    if (repo->url[0]) {
        enum ms_status status = ms_url_parse(repo->url, &url, err);
        if (status != MS_OK)
            return status;
        server = url.origin;
    }
    if (ms_patience_waits(&self->patience, server))
        return MS_OK;
    enum ms_status status =
        git ? ms_git_collect(self->session, self->github->http, self->github->base, repo, &why)
            : collect_repo(self->session, self->github, repo, &why);
    if (status == MS_E_LATER)
        status = ms_patience_add(&self->patience, server, &why);
    if (status != MS_OK)
        *err = why;
    return status;
}

static enum ms_status collect_line(void *ctx, struct ms_span line, uint64_t number,
                                   struct ms_error *err)
{
    struct list_run *self = ctx;
    struct ms_repo repo;
    bool empty;
    struct ms_error why = {MS_OK, 0, ""};
    char shown[256];
    if (ms_repo_parse(line, &repo, &empty, &why) != MS_OK) {
        ms_log(MS_LOG_WARNING, "%s:%llu: %s", ms_escape_text(self->path, shown, sizeof shown),
               (unsigned long long)number, why.text);
        self->session->counts.bad_lines++;
        return MS_OK;
    }
    return empty ? MS_OK : collect_listed(self, &repo, err);
}

enum ms_status ms_github_collect(struct ms_collect *session, const char *list_path,
                                 struct ms_error *err)
{
    const struct ms_http_options options = {.user_agent = "malseq/" MS_VERSION,
                                            .max_attempts = 4,
                                            .backoff_base_ms = BACKOFF_MS,
                                            .total_timeout_ms = 600000,
                                            .seed = session->cli->common.seed};
    struct ms_github github = {.token = session->token};
    struct list_run run = {.session = session, .github = &github, .path = list_path};
    char base[MS_LIMIT_URL_BYTES];
    struct ms_url web, api;
    (void)snprintf(base, sizeof base, "%s", session->options->github_url);
    size_t n = strlen(base);
    while (n && base[n - 1] == '/')
        base[--n] = '\0';
    github.base = base;
    enum ms_status status = ms_http_new(&options, &github.http, err);
    if (status == MS_OK)
        status = ms_http_trust(github.http, base, false, err);
    for (size_t i = 0; i < session->options->git_hosts.count && status == MS_OK; i++)
        status = ms_http_trust(github.http, session->options->git_hosts.items[i], false, err);
    if (status == MS_OK && !session->token && !session->options->releases)
        ms_log(MS_LOG_INFO, "no GitHub token: repositories are read by git's own protocol; the API "
                            "and its anonymous quota are not used");
    if (status == MS_OK)
        status = ms_url_parse(base, &api, err);
    if (status == MS_OK)
        memcpy(run.api, api.origin, sizeof run.api);
    /* github.com has an API host of its own; other servers have all under one roof. */
    if (status == MS_OK)
        status =
            ms_url_parse(strcmp(base, MS_GITHUB_URL) == 0 ? "https://github.com" : base, &web, err);
    if (status == MS_OK)
        status = ms_http_trust(github.http, web.origin, false, err);
    github.web = web.origin;
    if (status == MS_OK)
        status = ms_source_foreach_line(list_path, collect_line, &run, err);
    ms_http_free(github.http);
    return status == MS_OK ? ms_patience_end(&run.patience, "a server of the repository list", err)
                           : status;
}
