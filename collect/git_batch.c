/* Batches of blobs: asks for them, lets the worker read the pack, and checks what it says. */
#define _GNU_SOURCE
#include "collect/git_batch.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/step.h"
#include "collect/job.h"
#include "collect/volumes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FIRST_BLOBS = 32,        /* of the first request */
    GROWTH = 4,              /* while batches stay small */
    TARGET_BYTES = 64 << 20, /* of a batch */
    LOOK_AHEAD = 20000,      /* entries */
    ATTEMPTS = 2,            /* for one blob alone */
    COPY_BYTES = 128 << 10
};

void ms_git_batch_init(struct ms_git_batch *self, struct ms_collect *session, struct ms_git *git,
                       const struct ms_crawl *crawl, const struct ms_entries *entries)
{
    memset(self, 0, sizeof *self);
    self->session = session;
    self->git = git;
    self->crawl = crawl;
    self->entries = entries;
    self->spool = -1;
    self->most = FIRST_BLOBS;
}

void ms_git_batch_release(struct ms_git_batch *self)
{
    if (self->spool >= 0)
        (void)close(self->spool);
    self->spool = -1;
    ms_hasher_free(self->hasher);
    self->hasher = NULL;
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
    char text[48];
    if (self->current || bytes.len != sizeof head)
        return nonsense(err);
    memcpy(&head, bytes.data, sizeof head);
    struct ms_git_blob *blob = find(self, head.id);
    if (!blob || blob->here || (!head.too_big && head.size > MS_LIMIT_GIT_BLOB_BYTES))
        return nonsense(err);
    blob->size = head.size;
    blob->offset = self->spooled;
    blob->too_big = head.too_big != 0;
    if (blob->too_big)
        return MS_OK;
    int n = snprintf(text, sizeof text, "blob %llu", (unsigned long long)head.size);
    ms_hasher_update(self->hasher, text, (size_t)n + 1);
    self->current = blob;
    self->got_bytes = 0;
    return MS_OK;
}

static enum ms_status add_bytes(struct ms_git_batch *self, struct ms_span bytes,
                                struct ms_error *err)
{
    if (!self->current || bytes.len > self->current->size - self->got_bytes)
        return nonsense(err);
    ms_hasher_update(self->hasher, bytes.data, bytes.len);
    self->got_bytes += bytes.len;
    self->spooled += bytes.len;
    return ms_file_write_all(self->spool, bytes.data, bytes.len, err);
}

/* The id is what the bytes say, not the worker. */
static enum ms_status end_blob(struct ms_git_batch *self, struct ms_error *err)
{
    struct ms_digests digests;
    struct ms_git_blob *blob = self->current;
    if (!blob || self->got_bytes != blob->size)
        return nonsense(err);
    self->current = NULL;
    enum ms_status status = ms_hasher_finish(self->hasher, &digests, err);
    if (status == MS_OK && memcmp(digests.sha1, blob->id, MS_SHA1_BYTES) != 0)
        return nonsense(err);
    blob->here = status == MS_OK;
    return status;
}

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    switch (type) {
    case MS_GITJOB_BLOB:
        return begin_blob(ctx, bytes, err);
    case MS_GITJOB_DATA:
        return add_bytes(ctx, bytes, err);
    case MS_GITJOB_END:
        return end_blob(ctx, err);
    default:
        return nonsense(err);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static enum ms_status renew(struct ms_git_batch *self, struct ms_error *err)
{
    if (self->spool >= 0)
        (void)close(self->spool);
    ms_hasher_free(self->hasher);
    self->spool = -1;
    self->hasher = NULL;
    self->current = NULL;
    self->spooled = 0;
    for (size_t i = 0; i < self->count; i++) {
        self->blobs[i].here = self->blobs[i].too_big = false;
        self->blobs[i].size = 0;
    }
    enum ms_status status = ms_file_memory("batch", &self->spool, err);
    return status == MS_OK ? ms_hasher_new(MS_HASH_SHA1, &self->hasher, err) : status;
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
    if (status == MS_OK && self->spooled < TARGET_BYTES / GROWTH && self->count == self->most)
        self->most =
            self->most * GROWTH < MS_GIT_BATCH_BLOBS ? self->most * GROWTH : MS_GIT_BATCH_BLOBS;
    else if (status == MS_OK && self->spooled > TARGET_BYTES && self->most > 1)
        self->most /= 2;
    return status;
}

/* ---- the crawl's side ------------------------------------------------------------------------ */

static enum ms_status copy_out(const struct ms_git_batch *self, const struct ms_git_blob *blob,
                               int *fd, struct ms_error *err)
{
    uint8_t block[COPY_BYTES];
    enum ms_status status = ms_file_memory("blob", fd, err);
    for (uint64_t done = 0; done < blob->size && status == MS_OK;) {
        uint64_t left = blob->size - done;
        ssize_t n = pread(self->spool, block, left < sizeof block ? (size_t)left : sizeof block,
                          (off_t)(blob->offset + done));
        if (n <= 0)
            return ms_error_set(err, MS_E_IO, "cannot read a memory file");
        status = ms_file_write_all(*fd, block, (size_t)n, err);
        done += (uint64_t)n;
    }
    return status;
}

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
    return copy_out(self, blob, fd, err);
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
