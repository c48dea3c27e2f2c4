/* Batches of blobs: asks for them, lets the worker read the pack, and checks what it says. */
#define _GNU_SOURCE
#include "collect/git_batch.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/step.h"
#include "collect/job.h"
#include "collect/volumes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FIRST_BLOBS = 32,        /* of the first request */
    GROWTH = 4,              /* while batches stay small */
    TARGET_BYTES = 64 << 20, /* of a batch */
    LOOK_AHEAD = 20000,      /* entries */
    ATTEMPTS = 2             /* for one blob alone */
};

void ms_git_batch_init(struct ms_git_batch *self, struct ms_collect *session, struct ms_git *git,
                       const struct ms_crawl *crawl, const struct ms_entries *entries)
{
    memset(self, 0, sizeof *self);
    self->session = session;
    self->git = git;
    self->crawl = crawl;
    self->entries = entries;
    ms_blob_spool_init(&self->spool);
    self->most = FIRST_BLOBS;
}

void ms_git_batch_release(struct ms_git_batch *self)
{
    ms_blob_spool_release(&self->spool);
    self->count = 0;
    if (self->aside)
        ms_git_batch_release(self->aside);
    free(self->aside);
    self->aside = NULL;
}

enum ms_status ms_git_read_answer(struct ms_worker *worker, int fd, enum ms_gitjob_mode mode,
                                  const uint8_t (*ids)[MS_SHA1_BYTES], size_t count,
                                  ms_worker_frame on_frame, void *ctx, struct ms_error *err)
{
    const struct ms_worker_limits limits = {.cpu_s = MS_LIMIT_GIT_CPU_S,
                                            .wall_ms = MS_LIMIT_GIT_WALL_MS};
    struct ms_worker_result result;
    struct ms_buf arg;
    ms_buf_init(&arg, MS_LIMIT_FRAME_BYTES);
    enum ms_status status = ms_gitjob_argument(mode, ids, count, &arg, err);
    if (status == MS_OK)
        status = ms_worker_run(worker, ms_job_kinds[MS_JOB_GIT].name, fd,
                               ms_span_of(arg.data, arg.len), &limits, on_frame, ctx, &result, err);
    ms_buf_release(&arg);
    if (status == MS_OK && (result.end != MS_WORKER_DONE || result.status != MS_OK))
        return ms_error_set(err, MS_REJECT, "%.500s", result.error.text);
    return status;
}

/* ---- what the worker sends ------------------------------------------------------------------- */

static struct ms_git_blob *find(struct ms_git_batch *self, const uint8_t id[MS_SHA1_BYTES])
{
    for (size_t i = 0; i < self->count; i++)
        if (memcmp(self->blobs[i].id, id, MS_SHA1_BYTES) == 0)
            return &self->blobs[i];
    return NULL;
}

/* A place in the table, for bytes that are still to come. */
static void put(struct ms_git_batch *self, const uint8_t id[MS_SHA1_BYTES])
{
    struct ms_git_blob *blob = &self->blobs[self->count++];
    *blob = (struct ms_git_blob){.here = false};
    memcpy(blob->id, id, MS_SHA1_BYTES);
}

static enum ms_status nonsense(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "the worker's answer makes no sense");
}

static enum ms_status begin_blob(struct ms_git_batch *self, struct ms_span bytes,
                                 struct ms_error *err)
{
    struct ms_gitjob_blob head;
    if (self->current || bytes.len != sizeof head)
        return nonsense(err);
    memcpy(&head, bytes.data, sizeof head);
    struct ms_git_blob *blob = find(self, head.id);
    if (!blob || blob->here || (!head.too_big && head.size > MS_LIMIT_GIT_BLOB_BYTES))
        return nonsense(err);
    blob->size = head.size;
    blob->too_big = head.too_big != 0;
    if (blob->too_big)
        return MS_OK;
    self->current = blob;
    return ms_blob_spool_begin(&self->spool, blob->id, blob->size, &blob->offset, err);
}

static enum ms_status end_blob(struct ms_git_batch *self, struct ms_error *err)
{
    struct ms_git_blob *blob = self->current;
    enum ms_status status = ms_blob_spool_end(&self->spool, err);
    self->current = NULL;
    if (status == MS_OK)
        blob->here = true;
    return status;
}

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    switch (type) {
    case MS_GITJOB_BLOB:
        return begin_blob(ctx, bytes, err);
    case MS_GITJOB_DATA:
        return ms_blob_spool_add(&((struct ms_git_batch *)ctx)->spool, bytes, err);
    case MS_GITJOB_END:
        return end_blob(ctx, err);
    default:
        return nonsense(err);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static enum ms_status renew(struct ms_git_batch *self, struct ms_error *err)
{
    self->current = NULL;
    for (size_t i = 0; i < self->count; i++) {
        self->blobs[i].here = self->blobs[i].too_big = false;
        self->blobs[i].size = 0;
    }
    return ms_blob_spool_renew(&self->spool, "batch", err);
}

/* One request for all blobs of the table. MS_REJECT when the pack is not right or too large. */
static enum ms_status ask(struct ms_git_batch *self, struct ms_error *err)
{
    uint8_t ids[MS_GIT_BATCH_BLOBS][MS_SHA1_BYTES];
    int fd = -1;
    for (size_t i = 0; i < self->count; i++)
        memcpy(ids[i], self->blobs[i].id, MS_SHA1_BYTES);
    const uint8_t(*wanted)[MS_SHA1_BYTES] = (const uint8_t(*)[MS_SHA1_BYTES])ids;
    const struct ms_git_want want = {
        .ids = wanted, .count = self->count, .max_bytes = MS_LIMIT_GIT_ANSWER_BYTES};
    enum ms_status status = renew(self, err);
    if (status == MS_OK)
        status = ms_file_memory("pack", &fd, err);
    if (status == MS_OK)
        status = ms_git_fetch(self->git, &want, fd, err);
    if (status == MS_OK && self->git->answer == MS_GIT_TOO_LARGE) {
        self->git->answer = MS_GIT_OK;
        status = ms_error_set(err, MS_E_LIMIT, "%s", self->git->reason);
    } else if (status == MS_OK && self->git->answer != MS_GIT_OK) {
        status = self->git->answer == MS_GIT_LIMITED
                     ? MS_E_LATER
                     : ms_error_set(err, MS_E_LATER, "%s", self->git->reason);
    } else if (status == MS_OK) {
        status = ms_git_read_answer(self->session->worker, fd, MS_GITJOB_BLOBS, wanted, self->count,
                                    on_frame, self, err);
    }
    if (fd >= 0)
        (void)close(fd);
    ms_step("collect.git.batch");
    return status;
}

/* Would the crawl ask for this entry too? Closed ones count when one of them is what it asks for:
 * then the passwords have changed. */
static enum ms_status is_wanted(struct ms_git_batch *self, const struct ms_entry *entry,
                                bool closed_too, bool *wanted, struct ms_error *err)
{
    const struct ms_intake *intake = &self->session->intake;
    enum ms_intake_state state;
    uint8_t tried[32];
    ms_intake_lock(intake);
    enum ms_status status =
        ms_intake_look_up(intake, ms_volume_whole(entry)->git_id, &state, tried, err);
    ms_intake_unlock(intake);
    *wanted = state == MS_INTAKE_NEW || state == MS_INTAKE_PASSING ||
              (closed_too && state == MS_INTAKE_CLOSED);
    return status;
}

/* Fills the table: the entry itself, then those behind it. */
static enum ms_status gather(struct ms_git_batch *self, const struct ms_entry *entry,
                             struct ms_error *err)
{
    const struct ms_entries *entries = self->entries;
    bool fresh, wanted;
    size_t at = (size_t)(entry - entries->items);
    enum ms_status status = is_wanted(self, entry, false, &fresh, err);
    self->count = 0;
    for (size_t i = at;
         i < entries->count && i < at + LOOK_AHEAD && self->count < self->most && status == MS_OK;
         i++) {
        const struct ms_entry *next = &entries->items[i];
        if (find(self, next->git_id))
            continue;
        wanted = i == at;
        if (!wanted)
            status = is_wanted(self, next, !fresh, &wanted, err);
        if (status == MS_OK && wanted)
            put(self, next->git_id);
    }
    return status;
}

/* Asks, and for fewer at a time while that fails: one bad blob costs itself alone. */
static enum ms_status ask_or_halve(struct ms_git_batch *self, struct ms_error *err)
{
    enum ms_status status = MS_REJECT;
    unsigned alone = 0;
    while (alone < ATTEMPTS) {
        alone += self->count == 1;
        status = ask(self, err);
        if (status != MS_REJECT && status != MS_E_LIMIT)
            break;
        if (status == MS_E_LIMIT && self->count == 1)
            break;
        self->count = self->count > 1 ? self->count / 2 : 1;
        self->most = self->count;
    }
    if (status == MS_OK && self->spool.bytes < TARGET_BYTES / GROWTH && self->count == self->most)
        self->most =
            self->most * GROWTH < MS_GIT_BATCH_BLOBS ? self->most * GROWTH : MS_GIT_BATCH_BLOBS;
    else if (status == MS_OK && self->spool.bytes > TARGET_BYTES && self->most > 1)
        self->most /= 2;
    return status;
}

/* ---- the crawl's side ------------------------------------------------------------------------ */

static enum ms_status too_big(const char **outcome, struct ms_error *err)
{
    *outcome = "too_big";
    return ms_error_set(err, MS_REJECT, "larger than a file may be");
}

static enum ms_status fetch_from(struct ms_git_batch *self, const struct ms_entry *entry, int *fd,
                                 uint64_t *size, const char **outcome, bool alone,
                                 struct ms_error *err)
{
    struct ms_git_blob *blob = find(self, entry->git_id);
    enum ms_status status = MS_OK;
    /* What did not come with the others is asked for by itself. */
    if (!blob && !alone) {
        status = gather(self, entry, err);
    } else if (!blob || (!blob->here && !blob->too_big)) {
        self->count = 0;
        put(self, entry->git_id);
    }
    blob = find(self, entry->git_id);
    if (status == MS_OK && !blob->here && !blob->too_big)
        status = ask_or_halve(self, err);
    if (status == MS_E_LIMIT)
        return too_big(outcome, err);
    if (status != MS_OK)
        return status;
    blob = find(self, entry->git_id);
    *size = blob->size;
    if (blob->too_big)
        return too_big(outcome, err);
    if (!blob->here) {
        *outcome = "gone";
        return ms_error_set(err, MS_REJECT, "the server does not send this blob");
    }
    return ms_blob_spool_copy(&self->spool, blob->offset, blob->size, fd, err);
}

enum ms_status ms_git_batch_fetch(void *ctx, const struct ms_entry *entry, int *fd, uint64_t *size,
                                  const char **outcome, struct ms_error *err)
{
    struct ms_git_batch *self = ctx;
    *outcome = "error";
    if (!self->crawl->aside || find(self, entry->git_id))
        return fetch_from(self, entry, fd, size, outcome, false, err);
    if (!self->aside) {
        self->aside = malloc(sizeof *self->aside);
        if (!self->aside)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        ms_git_batch_init(self->aside, self->session, self->git, self->crawl, self->entries);
    }
    return fetch_from(self->aside, entry, fd, size, outcome, true, err);
}
