/* One repository by git's protocol into the corpus: one request when nothing changed; else the
 * trees, and only the blobs that the corpus does not know, in batches. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "collect/crawl.h"
#include "collect/git.h"
#include "collect/git_batch.h"
#include "collect/gitjob.h"
#include "collect/source.h"
#include "store/sample.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct git_run {
    struct ms_collect *session;
    const struct ms_repo *repo;
    const char *kind, *name; /* of the origin */
    struct ms_git git;
    struct ms_origin origin; /* as it will be written */
    bool claims_changed;
    uint8_t commit[MS_SHA1_BYTES];
    struct ms_entries entries; /* of the tree */
    struct ms_entries past;    /* of earlier commits */
    struct ms_entries all;     /* both: what is gone through */
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

/* What the corpus knows of the origin, and its row. Forgotten: MS_REJECT. */
static enum ms_status open_origin(struct git_run *self, struct ms_error *err)
{
    const struct ms_origin wanted = {.kind = self->kind,
                                     .name = self->name,
                                     .ref = self->repo->ref,
                                     .url = self->git.base,
                                     .claim = claim_of(self),
                                     .private_ = private_of(self)};
    return ms_source_open(self->session, &wanted, &self->origin, &self->claims_changed, err);
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

static enum ms_status add_file(struct git_run *self, bool past, const struct ms_gitjob_file *file,
                               struct ms_span path, struct ms_error *err)
{
    struct ms_entries *lists[] = {past ? &self->past : &self->entries, &self->all};
    for (size_t i = 0; i < 2; i++) {
        enum ms_status status = ms_entries_add(lists[i], path, file->id, -1, err);
        if (status == MS_E_LIMIT || status == MS_E_NOMEM)
            status = ms_error_set(err, MS_REJECT, "the repository has too many files");
        if (status != MS_OK)
            return status;
        struct ms_entry *entry = &lists[i]->items[lists[i]->count - 1];
        entry->past = past;
        memcpy(entry->commit_id, file->commit, MS_SHA1_BYTES);
    }
    return MS_OK;
}

static enum ms_status on_files(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct git_run *self = ctx;
    struct ms_gitjob_file file;
    struct ms_span path;
    bool end = false;
    enum ms_status status = MS_OK;
    if (type != MS_GITJOB_FILES && type != MS_GITJOB_PAST)
        return ms_error_set(err, MS_REJECT, "the worker's answer makes no sense");
    while (status == MS_OK &&
           (status = ms_gitjob_file_take(&bytes, &file, &path, &end, err)) == MS_OK && !end)
        status = add_file(self, type == MS_GITJOB_PAST, &file, path, err);
    return status;
}

/* A path twice in one tree: git makes none, and the corpus holds one blob at a place. */
static void drop_doubles(struct ms_entries *entries)
{
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++)
        if (!kept || !ms_span_equal(entries->items[kept - 1].path, entries->items[i].path))
            entries->items[kept++] = entries->items[i];
    entries->count = kept;
}

/* The files of the commit, and with --history those of all commits before it. */
static enum ms_status get_trees(struct git_run *self, struct ms_error *err)
{
    bool history = self->session->options->history;
    const uint8_t(*ids)[MS_SHA1_BYTES] = (const uint8_t(*)[MS_SHA1_BYTES]) & self->commit;
    struct ms_git_want want = {.ids = ids,
                               .count = 1,
                               .tip_only = !history,
                               .without_blobs = true,
                               .max_bytes = MS_LIMIT_GIT_ANSWER_BYTES};
    struct ms_error why = {MS_OK, 0, ""};
    int fd = -1;
    enum ms_status status = ms_file_memory("trees", &fd, err);
    if (status == MS_OK)
        status = ms_git_fetch(&self->git, &want, fd, err);
    if (status == MS_OK && self->git.answer == MS_GIT_OK) {
        status = ms_git_read_answer(self->session->worker, fd,
                                    history ? MS_GITJOB_HISTORY : MS_GITJOB_TREE, ids, 1, on_files,
                                    self, &why);
        if (status == MS_REJECT) {
            self->git.answer = MS_GIT_ERROR;
            (void)snprintf(self->git.reason, sizeof self->git.reason, "%.255s", why.text);
            status = MS_OK;
        } else if (status != MS_OK && err) {
            *err = why;
        }
    }
    if (fd >= 0)
        (void)close(fd);
    ms_entries_sort(&self->entries);
    drop_doubles(&self->entries);
    ms_entries_sort(&self->all);
    return status;
}

/* What is to be gone through. The last tree again when the commit is the same: passwords may have
 * been learned since. */
static enum ms_status get_files(struct git_run *self, bool *unchanged, struct ms_error *err)
{
    bool history = self->session->options->history;
    *unchanged = false;
    enum ms_status status = ms_git_head(&self->git, self->repo->ref, self->commit, err);
    if (status != MS_OK || self->git.answer != MS_GIT_OK)
        return status;
    if (self->git.moved)
        ms_log(MS_LOG_INFO, "%s has moved; the list may name its new place", self->name);
    *unchanged = self->origin.has_commit && self->origin.commit_bytes == MS_SHA1_BYTES &&
                 memcmp(self->origin.commit_id, self->commit, MS_SHA1_BYTES) == 0 &&
                 (!history || self->origin.history);
    if (!*unchanged)
        return get_trees(self, err);
    status = ms_crawl_last_tree(self->session, self->origin.id, &self->entries, err);
    return status == MS_OK ? ms_crawl_last_tree(self->session, self->origin.id, &self->all, err)
                           : status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

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
                             .past = &self->past};
    ms_git_batch_init(&batch, session, &self->git, &crawl, &self->all);
    enum ms_status status = ms_crawl_files(session, &crawl, &self->all, err);
    ms_git_batch_release(&batch);
    if (status == MS_E_LATER && self->git.answer != MS_GIT_OK)
        return MS_OK; /* the commit is not written: the next run goes on */
    const char *state = crawl.incomplete ? "partial" : "ok";
    if (status == MS_OK && unchanged && !self->claims_changed && session->counts.opened == opened)
        return ms_source_save(session, &self->origin, state, NULL, err);
    struct ms_origin row = self->origin;
    row.has_commit = true;
    row.commit_bytes = MS_SHA1_BYTES;
    memcpy(row.commit_id, self->commit, MS_SHA1_BYTES);
    row.history = unchanged ? row.history : session->options->history;
    row.state = state;
    row.reason = NULL;
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

enum ms_status ms_git_collect(struct ms_collect *session, struct ms_http *http, const char *base,
                              const struct ms_repo *repo, struct ms_error *err)
{
    bool elsewhere = repo->url[0] != '\0';
    struct git_run self = {.session = session,
                           .repo = repo,
                           .kind = elsewhere ? "list" : "github",
                           .name = elsewhere ? repo->url : repo->name,
                           .git = {.http = http}};
    if (elsewhere)
        (void)snprintf(self.git.base, sizeof self.git.base, "%s", repo->url);
    else
        github_base(base, repo->name, self.git.base);
    ms_entries_init(&self.entries);
    ms_entries_init(&self.past);
    ms_entries_init(&self.all);
    session->counts.origins++;
    enum ms_status status = open_origin(&self, err);
    if (status == MS_OK) {
        status = run_repo(&self, err);
    } else if (status == MS_REJECT) {
        session->counts.origins_failed++;
        status = ms_collect_tell_failure(session, self.name, ms_span_of(NULL, 0), NULL, "forgotten",
                                         err->text, err);
    }
    ms_entries_release(&self.all);
    ms_entries_release(&self.past);
    ms_entries_release(&self.entries);
    ms_origin_release(&self.origin);
    return status;
}
