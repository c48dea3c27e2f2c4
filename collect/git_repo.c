/* One repository by git's protocol into the corpus: one request when nothing changed; else the
 * trees, and only the blobs that the corpus does not know, in batches. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "collect/crawl.h"
#include "collect/git.h"
#include "collect/git_batch.h"
#include "collect/git_history.h"
#include "collect/source.h"
#include "store/sample.h"

#include <stdio.h>
#include <string.h>

static const char lfs_path[] = ".git/info/lfs";

struct git_run {
    struct ms_collect *session;
    const struct ms_repo *repo;
    const char *kind, *name; /* of the origin */
    struct ms_git git;
    struct ms_origin origin;         /* as it will be written */
    const char *api;                 /* of GitHub: its base URL */
    char listed[MS_LIMIT_URL_BYTES]; /* where the list says that it is */
    bool claims_changed, forgotten;
    uint8_t commit[MS_SHA1_BYTES];
    struct ms_entries entries; /* of the tree */
    struct ms_git_history history;
    struct ms_entries all; /* the tree's and those of earlier commits: what is gone through */
};

/* ---- the origin ------------------------------------------------------------------------------ */

static const char *claim_of(const struct git_run *self)
{
    return self->repo->claim ? self->repo->claim : self->session->options->claim;
}

static bool private_of(const struct git_run *self)
{
    return self->repo->private_ || self->session->options->private_;
}

/* The URL of a repository on GitHub, from that of its API: api.github.com serves github.com, and a
 * server of one's own has the API under /api/v3. */
static void github_base(const char *api, const char *name, char out[MS_LIMIT_URL_BYTES])
{
    static const char public_api[] = "https://api.github.com";
    static const char own[] = "/api/v3";
    size_t n = strlen(api);
    while (n && api[n - 1] == '/')
        n--;
    if (n == sizeof public_api - 1 && strncmp(api, public_api, n) == 0) {
        (void)snprintf(out, MS_LIMIT_URL_BYTES, "https://github.com/%s.git", name);
        return;
    }
    if (n > sizeof own && strncmp(api + n - (sizeof own - 1), own, sizeof own - 1) == 0)
        n -= sizeof own - 1;
    (void)snprintf(out, MS_LIMIT_URL_BYTES, "%.*s/%s.git", (int)n, api, name);
}

/* The row, with what the list says today; url NULL: as it was. */
static struct ms_origin row_of(const struct git_run *self, const char *url)
{
    return (struct ms_origin){.kind = self->kind,
                              .name = self->name,
                              .ref = self->repo->ref,
                              .url = url,
                              .claim = claim_of(self),
                              .private_ = private_of(self)};
}

/* Where it was when it had last moved. */
static void recall_place(struct git_run *self)
{
    const char *url = self->origin.url;
    struct ms_repo place;
    bool empty = true;
    if (!url || ms_repo_parse(ms_span_of(url, strlen(url)), &place, &empty, NULL) != MS_OK || empty)
        return;
    if (place.name[0] && self->repo->name[0])
        github_base(self->api, place.name, self->git.base);
    else if (place.url[0] && self->repo->url[0])
        (void)snprintf(self->git.base, sizeof self->git.base, "%s", place.url);
}

/* What the corpus knows of the origin, and its row. Forgotten: MS_REJECT. */
static enum ms_status open_origin(struct git_run *self, struct ms_error *err)
{
    const struct ms_origin row = row_of(self, NULL);
    if (self->repo->url[0])
        (void)snprintf(self->listed, sizeof self->listed, "%s", self->repo->url);
    else
        github_base(self->api, self->repo->name, self->listed);
    memcpy(self->git.base, self->listed, sizeof self->git.base);
    enum ms_status status =
        ms_source_open(self->session, &row, &self->origin, &self->claims_changed, err);
    if (status == MS_OK)
        recall_place(self);
    return status;
}

/* The URL under which the row keeps the present place: of GitHub's that with the new name. */
static bool place_url(const struct git_run *self, char out[MS_LIMIT_URL_BYTES])
{
    char web[MS_LIMIT_URL_BYTES];
    struct ms_repo place;
    bool empty = true;
    size_t n = strlen(self->git.base);
    if (self->repo->url[0]) {
        (void)snprintf(out, MS_LIMIT_URL_BYTES, "%s", self->git.base);
        return n < MS_REPO_URL_BYTES;
    }
    github_base(self->api, "", web);
    size_t prefix = strlen(web) - strlen(".git");
    if (n > prefix && strcmp(self->git.base + n - strlen(".git"), ".git") == 0)
        n -= strlen(".git");
    if (n <= prefix || strncmp(self->git.base, web, prefix) != 0 ||
        ms_repo_parse(ms_span_of(self->git.base + prefix, n - prefix), &place, &empty, NULL) !=
            MS_OK ||
        empty || !place.name[0] || place.ref[0])
        return false;
    (void)snprintf(out, MS_LIMIT_URL_BYTES, "https://github.com/%s", place.name);
    return true;
}

/* Takes over the place that a redirect led to, which the next run asks at once; and the listed one
 * again where that is right after all. */
static enum ms_status learn_place(struct git_run *self, struct ms_error *err)
{
    char url[MS_LIMIT_URL_BYTES];
    struct ms_origin written;
    bool changed;
    if (!place_url(self, url) || strcmp(url, self->origin.url ? self->origin.url : "") == 0 ||
        (!self->origin.url && strcmp(self->git.base, self->listed) == 0))
        return MS_OK;
    if (self->git.moved)
        ms_log(MS_LOG_INFO, "%s has moved to %s and is followed there", self->name, url);
    const struct ms_origin row = row_of(self, url);
    enum ms_status status = ms_source_check_forgotten(self->session, &row, &self->forgotten, err);
    if (status != MS_OK || self->forgotten)
        return status;
    status = ms_source_open(self->session, &row, &written, &changed, err);
    ms_origin_release(&written);
    return status;
}

static const char *state_word(enum ms_git_answer answer)
{
    static const char *const words[] = {"ok",      "empty",   "gone",  "legal",
                                        "blocked", "limited", "error", "error"};
    return words[answer];
}

/* An answer that ends this repository's turn. What was collected before stays. */
static enum ms_status give_up(struct git_run *self, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    const char *state = state_word(self->git.answer);
    struct ms_error limited = {MS_OK, 0, ""};
    if (self->git.answer == MS_GIT_LIMITED && err)
        limited = *err;
    enum ms_status status =
        ms_source_save(self->session, &self->origin, state, self->git.reason, err);
    if (status != MS_OK || self->git.answer == MS_GIT_EMPTY)
        return status;
    if (self->git.answer == MS_GIT_LIMITED) {
        if (err)
            *err = limited;
        return MS_E_LATER;
    }
    session->counts.origins_failed++;
    if (strcmp(state, "error") == 0)
        session->remote_failed = true;
    return ms_collect_tell_failure(session, self->name, ms_span_of(NULL, 0), NULL, state,
                                   self->git.reason, err);
}

/* ---- trees ----------------------------------------------------------------------------------- */

/* A path twice in one tree: git makes none, and the corpus holds one blob at a place. */
static void drop_doubles(struct ms_entries *entries)
{
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++)
        if (!kept || !ms_span_equal(entries->items[kept - 1].path, entries->items[i].path))
            entries->items[kept++] = entries->items[i];
    entries->count = kept;
}

static enum ms_status get_tree(struct git_run *self, struct ms_error *err)
{
    const struct ms_git_want want = {.ids = (const uint8_t(*)[MS_SHA1_BYTES]) & self->commit,
                                     .count = 1,
                                     .tip_only = true,
                                     .without_blobs = true,
                                     .max_bytes = MS_LIMIT_GIT_ANSWER_BYTES};
    enum ms_status status =
        ms_git_get_files(self->session, &self->git, &want, MS_GITJOB_TREE, &self->entries, err);
    ms_entries_sort(&self->entries);
    drop_doubles(&self->entries);
    return status;
}

static enum ms_status join(struct git_run *self, struct ms_error *err)
{
    const struct ms_entries *lists[] = {&self->entries, &self->history.past};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            const struct ms_entry *entry = &lists[l]->items[i];
            enum ms_status status =
                ms_entries_add(&self->all, entry->path, entry->git_id, entry->size, err);
            if (status != MS_OK)
                return status;
            struct ms_entry *copy = &self->all.items[self->all.count - 1];
            copy->past = entry->past;
            memcpy(copy->commit_id, entry->commit_id, MS_SHA1_BYTES);
        }
    ms_entries_sort(&self->all);
    return MS_OK;
}

/* Where it moved to it may be gone again, and where it was it may be back: a redirect need not
 * last.
 */
static enum ms_status get_head(struct git_run *self, struct ms_error *err)
{
    struct ms_git_tips *tips = self->session->options->history ? &self->history.tips : NULL;
    enum ms_status status = ms_git_head(&self->git, self->repo->ref, self->commit, tips, err);
    if (status != MS_OK || self->git.answer == MS_GIT_OK || self->git.answer == MS_GIT_EMPTY ||
        self->git.answer == MS_GIT_LIMITED || strcmp(self->git.base, self->listed) == 0)
        return status;
    memcpy(self->git.base, self->listed, sizeof self->git.base);
    self->git.moved = self->git.asked = false;
    return ms_git_head(&self->git, self->repo->ref, self->commit, tips, err);
}

/* What is to be gone through. The last tree again when the commit is the same: passwords may have
 * been learned since. */
static enum ms_status get_files(struct git_run *self, bool *unchanged, struct ms_error *err)
{
    bool history = self->session->options->history;
    *unchanged = false;
    enum ms_status status = get_head(self, err);
    if (status == MS_OK && self->git.answer == MS_GIT_OK)
        status = learn_place(self, err);
    if (status != MS_OK || self->git.answer != MS_GIT_OK || self->forgotten)
        return status;
    *unchanged = self->origin.has_commit && self->origin.commit_bytes == MS_SHA1_BYTES &&
                 memcmp(self->origin.commit_id, self->commit, MS_SHA1_BYTES) == 0;
    status = *unchanged ? ms_crawl_last_tree(self->session, self->origin.id, &self->entries, err)
                        : get_tree(self, err);
    if (status == MS_OK && self->git.answer == MS_GIT_OK && history)
        status = ms_git_history_get(&self->history, &self->git, self->origin.id, self->commit,
                                    &self->entries, err);
    *unchanged &= !self->history.news;
    return status == MS_OK && self->git.answer == MS_GIT_OK ? join(self, err) : status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The tree is there, what came before it is not. */
static enum ms_status tell_failed(struct git_run *self, struct ms_error *err)
{
    self->session->counts.origins_failed++;
    self->session->remote_failed = true;
    return ms_collect_tell_failure(self->session, self->name, ms_span_of(NULL, 0), NULL, "error",
                                   self->history.reason, err);
}

/* Where a repository's LFS server is, unless its owner configured another (git-lfs,
 * docs/api/server-discovery.md). */
static enum ms_status make_lfs_url(const struct git_run *self, struct ms_url *server,
                                   char out[MS_LIMIT_URL_BYTES + sizeof lfs_path],
                                   struct ms_error *err)
{
    const char *base = self->git.base;
    size_t n = strlen(base);
    bool suffixed = n > 4 && strcmp(base + n - 4, ".git") == 0;
    (void)snprintf(out, MS_LIMIT_URL_BYTES + sizeof lfs_path, "%s%s", base,
                   lfs_path + (suffixed ? 4 : 0));
    return ms_url_parse(base, server, err);
}

/* Opens what is new and writes the tree. */
static enum ms_status collect_files(struct git_run *self, bool unchanged, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    uint64_t opened = session->counts.opened;
    struct ms_git_batch batch;
    struct ms_crawl crawl = {.origin = self->origin.id,
                             .name = self->name,
                             .claim = claim_of(self),
                             .private_ = private_of(self),
                             .commit_id = ms_span_of(self->commit, MS_SHA1_BYTES),
                             .max_blob_bytes = MS_LIMIT_GIT_BLOB_BYTES,
                             .fetch = ms_git_batch_fetch,
                             .fetch_ctx = &batch,
                             .past = &self->history.past,
                             .also = session->options->history ? ms_git_history_save : NULL,
                             .also_ctx = &self->history};
    struct ms_url server;
    char lfs_url[MS_LIMIT_URL_BYTES + sizeof lfs_path];
    enum ms_status status = make_lfs_url(self, &server, lfs_url, err);
    if (status != MS_OK)
        return status;
    const struct ms_lfs lfs = {self->git.http, lfs_url, server.origin};
    crawl.lfs = &lfs;
    ms_git_batch_init(&batch, session, &self->git, &crawl, &self->all);
    status = ms_crawl_files(session, &crawl, &self->all, err);
    ms_git_batch_release(&batch);
    if (status == MS_E_LATER && self->git.answer == MS_GIT_OK && err->resume_at_ms) {
        self->git.answer = MS_GIT_LIMITED; /* of LFS */
        (void)snprintf(self->git.reason, sizeof self->git.reason, "%.255s", err->text);
    }
    if (status == MS_E_LATER && self->git.answer != MS_GIT_OK)
        return MS_OK; /* the commit is not written: the next run goes on */
    bool failed = self->history.failed;
    const char *state = crawl.incomplete || failed ? "partial" : "ok";
    if (status == MS_OK && failed)
        status = tell_failed(self, err);
    if (status == MS_OK && unchanged && !self->claims_changed && session->counts.opened == opened)
        return ms_source_save(session, &self->origin, state, NULL, err);
    struct ms_origin row = self->origin;
    row.has_commit = true;
    row.commit_bytes = MS_SHA1_BYTES;
    memcpy(row.commit_id, self->commit, MS_SHA1_BYTES);
    row.history = session->options->history ? !failed : unchanged && row.history;
    row.state = state;
    row.reason = failed ? self->history.reason : NULL;
    row.checked_ms = ms_clock_wall_ms();
    return status == MS_OK ? ms_crawl_finish(session, &crawl, &self->entries, &row, err) : status;
}

static enum ms_status run_repo(struct git_run *self, struct ms_error *err)
{
    struct ms_collect_counts before = self->session->counts;
    bool unchanged = false;
    if (!ms_source_is_due(self->session, &self->origin, self->name)) {
        ms_collect_tell_origin(self->session, self->name, self->origin.state, &before);
        return MS_OK;
    }
    enum ms_status status = get_files(self, &unchanged, err);
    ms_step("collect.git.listed");
    if (status == MS_OK && self->forgotten)
        return ms_source_tell_forgotten(self->session, self->name, err);
    if (status == MS_OK && self->git.answer == MS_GIT_OK)
        status = collect_files(self, unchanged, err);
    if (status == MS_OK && self->git.answer != MS_GIT_OK)
        status = give_up(self, err);
    if (status == MS_OK)
        ms_collect_tell_origin(
            self->session, self->name,
            unchanged && self->git.answer == MS_GIT_OK ? "same" : state_word(self->git.answer),
            &before);
    return status;
}

enum ms_status ms_git_collect(struct ms_collect *session, struct ms_http *http, const char *base,
                              const struct ms_repo *repo, struct ms_error *err)
{
    bool elsewhere = repo->url[0] != '\0';
    struct git_run self = {.session = session,
                           .repo = repo,
                           .kind = elsewhere ? "list" : "github",
                           .name = elsewhere ? repo->url : repo->name,
                           .api = base,
                           .git = {.http = http}};
    ms_entries_init(&self.entries);
    ms_git_history_init(&self.history, session);
    ms_entries_init(&self.all);
    session->counts.origins++;
    enum ms_status status = open_origin(&self, err);
    if (status == MS_OK) {
        status = run_repo(&self, err);
    } else if (status == MS_REJECT) {
        status = ms_source_tell_forgotten(session, self.name, err);
    }
    ms_entries_release(&self.all);
    ms_git_history_release(&self.history);
    ms_entries_release(&self.entries);
    ms_origin_release(&self.origin);
    return status;
}
