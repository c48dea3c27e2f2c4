/* What is new in a repository's history. One request, answered by nothing but new commits and
 * their trees. */
#define _GNU_SOURCE
#include "collect/git_history.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/unpack.h"
#include "collect/git_batch.h"
#include "store/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files of an answer ---------------------------------------------------------------------- */

struct files {
    struct ms_entries *out;
    uint32_t type; /* of frames */
};

static enum ms_status add_file(const struct files *self, const struct ms_gitjob_file *file,
                               struct ms_span path, struct ms_error *err)
{
    enum ms_status status = ms_entries_add(self->out, path, file->id, -1, err);
    if (status == MS_E_LIMIT || status == MS_E_NOMEM)
        return ms_error_set(err, MS_REJECT, "the repository has too many files");
    if (status == MS_OK) {
        struct ms_entry *entry = &self->out->items[self->out->count - 1];
        entry->past = self->type == MS_GITJOB_PAST;
        memcpy(entry->commit_id, file->commit, MS_SHA1_BYTES);
    }
    return status;
}

static enum ms_status on_files(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    const struct files *self = ctx;
    struct ms_gitjob_file file;
    struct ms_span path;
    bool end = false;
    enum ms_status status = MS_OK;
    if (type != self->type)
        return ms_error_set(err, MS_REJECT, "the worker's answer makes no sense");
    while (status == MS_OK &&
           (status = ms_gitjob_file_take(&bytes, &file, &path, &end, err)) == MS_OK && !end)
        status = add_file(self, &file, path, err);
    return status;
}

enum ms_status ms_git_get_files(struct ms_collect *session, struct ms_git *git,
                                const struct ms_git_want *want, enum ms_gitjob_mode mode,
                                struct ms_entries *out, struct ms_error *err)
{
    struct files files = {out, mode == MS_GITJOB_TREE ? MS_GITJOB_FILES : MS_GITJOB_PAST};
    struct ms_error why = {MS_OK, 0, ""};
    int fd = -1;
    enum ms_status status = ms_file_memory("trees", &fd, err);
    if (status == MS_OK)
        status = ms_git_fetch(git, want, fd, err);
    if (status == MS_OK && git->answer == MS_GIT_OK) {
        status = ms_git_read_answer(session->worker, fd, mode, want->ids, want->count, on_files,
                                    &files, &why);
        if (status == MS_REJECT) {
            git->answer = MS_GIT_ERROR;
            (void)snprintf(git->reason, sizeof git->reason, "%.255s", why.text);
            status = MS_OK;
        } else if (status != MS_OK && err) {
            *err = why;
        }
    }
    if (fd >= 0)
        (void)close(fd);
    return status;
}

/* ---- what the corpus knows ------------------------------------------------------------------- */

void ms_git_history_init(struct ms_git_history *self, struct ms_collect *session)
{
    *self = (struct ms_git_history){.session = session};
    ms_entries_init(&self->past);
}

void ms_git_history_release(struct ms_git_history *self)
{
    ms_git_tips_release(&self->known);
    ms_git_tips_release(&self->tips);
    ms_entries_release(&self->past);
}

static enum ms_status add_known(void *ctx, struct ms_span id, struct ms_error *err)
{
    return id.len == MS_SHA1_BYTES ? ms_git_tips_add(ctx, id.data, err) : MS_OK;
}

static enum ms_status add_past(void *ctx, struct ms_span path, const uint8_t git_id[20],
                               const uint8_t commit_id[20], struct ms_error *err)
{
    struct ms_entries *past = ctx;
    enum ms_status status = ms_entries_add(past, path, git_id, -1, err);
    if (status == MS_OK) {
        past->items[past->count - 1].past = true;
        memcpy(past->items[past->count - 1].commit_id, commit_id, MS_SHA1_BYTES);
    }
    return status;
}

static enum ms_status load(struct ms_git_history *self, struct ms_error *err)
{
    struct ms_corpus *corpus = self->session->corpus;
    if (!corpus || !self->origin)
        return MS_OK;
    enum ms_status status =
        ms_history_foreach_tip(corpus, self->origin, add_known, &self->known, err);
    ms_git_tips_sort(&self->known);
    return status == MS_OK ? ms_history_foreach_past(corpus, self->origin, MS_UNPACKER_VERSION,
                                                     add_past, &self->past, err)
                           : status;
}

/* ---- what is asked for ----------------------------------------------------------------------- */

/* The tips that are not known, HEAD's first: what it leads to is told under its commits. */
static enum ms_status make_wants(const struct ms_git_history *self,
                                 const uint8_t head[MS_SHA1_BYTES], struct ms_git_tips *out,
                                 struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (!ms_git_tips_has(&self->known, head))
        status = ms_git_tips_add(out, head, err);
    for (size_t i = 0; i < self->tips.count && status == MS_OK; i++)
        if (!ms_git_tips_has(&self->known, self->tips.ids[i]) &&
            memcmp(self->tips.ids[i], head, MS_SHA1_BYTES) != 0)
            status = ms_git_tips_add(out, self->tips.ids[i], err);
    return status;
}

/* Known commits, the likeliest to be near what is new first: those that a branch has moved on
 * from. One that was pushed away by force is no longer there, and passed over by the server. */
static enum ms_status make_haves(const struct ms_git_history *self, struct ms_git_tips *out,
                                 struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < self->known.count && out->count < MS_LIMIT_GIT_HAVES; i++)
            if (ms_git_tips_has(&self->tips, self->known.ids[i]) == (pass == 1) && status == MS_OK)
                status = ms_git_tips_add(out, self->known.ids[i], err);
    return status;
}

static enum ms_status ask(struct ms_git_history *self, struct ms_git *git,
                          const uint8_t head[MS_SHA1_BYTES], struct ms_error *err)
{
    struct ms_git_tips wants = {.count = 0}, haves = {.count = 0};
    enum ms_status status = make_wants(self, head, &wants, err);
    if (status == MS_OK)
        status = make_haves(self, &haves, err);
    self->news = wants.count != 0;
    if (status == MS_OK && self->news) {
        const struct ms_git_want want = {.ids = (const uint8_t(*)[MS_SHA1_BYTES])wants.ids,
                                         .count = wants.count,
                                         .have = (const uint8_t(*)[MS_SHA1_BYTES])haves.ids,
                                         .have_count = haves.count,
                                         .without_blobs = true,
                                         .max_bytes = MS_LIMIT_GIT_ANSWER_BYTES};
        status = ms_git_get_files(self->session, git, &want, MS_GITJOB_HISTORY, &self->past, err);
    }
    ms_git_tips_release(&wants);
    ms_git_tips_release(&haves);
    return status;
}

/* ---- past files ------------------------------------------------------------------------------ */

static int by_git_id(const void *a, const void *b)
{
    const struct ms_entry *left = a, *right = b;
    int order = memcmp(left->git_id, right->git_id, MS_SHA1_BYTES);
    return order ? order : memcmp(left->commit_id, right->commit_id, MS_SHA1_BYTES);
}

/* Keeps each blob once, and none that lies in the tree. */
static enum ms_status drop_present(struct ms_entries *past, const struct ms_entries *present,
                                   struct ms_error *err)
{
    struct ms_git_tips here = {.count = 0};
    enum ms_status status = MS_OK;
    size_t kept = 0;
    for (size_t i = 0; past->count && i < present->count && status == MS_OK; i++)
        status = ms_git_tips_add(&here, present->items[i].git_id, err);
    ms_git_tips_sort(&here);
    if (past->count)
        qsort(past->items, past->count, sizeof *past->items, by_git_id);
    for (size_t i = 0; i < past->count; i++) {
        const struct ms_entry *entry = &past->items[i];
        bool again =
            kept && memcmp(past->items[kept - 1].git_id, entry->git_id, MS_SHA1_BYTES) == 0;
        if (!again && !ms_git_tips_has(&here, entry->git_id))
            past->items[kept++] = *entry;
    }
    past->count = kept;
    ms_git_tips_release(&here);
    return status;
}

enum ms_status ms_git_history_get(struct ms_git_history *self, struct ms_git *git, int64_t origin,
                                  const uint8_t head[MS_SHA1_BYTES],
                                  const struct ms_entries *present, struct ms_error *err)
{
    self->origin = origin;
    enum ms_status status = ms_git_tips_add(&self->tips, head, err);
    ms_git_tips_sort(&self->tips);
    if (status == MS_OK)
        status = load(self, err);
    if (status == MS_OK)
        status = ask(self, git, head, err);
    if (self->tips.cut)
        ms_log(MS_LOG_WARNING, "more than %zu branches and tags: the others' history is left",
               MS_LIMIT_GIT_REFS);
    if (status == MS_OK && git->answer != MS_GIT_OK && git->answer != MS_GIT_LIMITED) {
        self->failed = true;
        (void)snprintf(self->reason, sizeof self->reason, "the history: %.200s", git->reason);
        git->answer = MS_GIT_OK;
    }
    return status == MS_OK ? drop_present(&self->past, present, err) : status;
}

enum ms_status ms_git_history_save(void *ctx, struct ms_error *err)
{
    const struct ms_git_history *self = ctx;
    struct ms_corpus *corpus = self->session->corpus;
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->past.count && status == MS_OK; i++) {
        const struct ms_entry *entry = &self->past.items[i];
        status = ms_history_put_past(corpus, self->origin, entry->git_id, entry->path,
                                     entry->commit_id, err);
    }
    if (status == MS_OK)
        status = ms_history_settle_past(corpus, self->origin, err);
    return status == MS_OK && !self->failed
               ? ms_history_put_tips(corpus, self->origin,
                                     (const uint8_t(*)[MS_SHA1_BYTES])self->tips.ids,
                                     self->tips.count, err)
               : status;
}
