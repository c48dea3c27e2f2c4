/* One tarball instead of many blobs: decides, fetches, lets the worker read it, and checks what the
 * worker says. */
#define _GNU_SOURCE
#include "collect/tarball.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "collect/job.h"
#include "collect/tarjob.h"
#include "collect/volumes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FEW_BLOBS = 10,             /* not worth a transfer that cannot be resumed */
    REQUEST_BYTES = 4 << 20,    /* a request: a round trip, and one of 5,000 an hour */
    TARBALL_REQUESTS = 2,       /* the API's answer leads to another host */
    FILE_OVERHEAD_BYTES = 2048, /* in a tar: header, extended header, filled blocks */
    WINDOW_BYTES = 128 << 20,   /* of blobs held at a time; one blob may be 100 MB */
    WINDOW_BLOBS = 1 << 16,
    ATTEMPTS = 2
};

enum want_state {
    PENDING, /* may be in the tarball */
    HERE,    /* bytes [offset, offset + size) of the spool */
    MISSING  /* not there, or with other bytes */
};

struct ms_tarball_want {
    uint8_t id[MS_SHA1_BYTES];
    uint64_t size, offset;
    size_t place; /* of its first entry */
    enum want_state state;
};

/* ---- the choice ------------------------------------------------------------------------------ */

static uint64_t plain_bytes(const struct ms_tarball_offer *offer)
{
    return offer->file_bytes + offer->files * FILE_OVERHEAD_BYTES;
}

bool ms_tarball_would_pay(const struct ms_tarball_offer *offer)
{
    uint64_t singly = offer->blobs * REQUEST_BYTES + offer->blob_bytes;
    uint64_t at_once = (uint64_t)TARBALL_REQUESTS * REQUEST_BYTES + offer->file_bytes;
    return offer->blobs > FEW_BLOBS && at_once < singly;
}

bool ms_tarball_pays(const struct ms_tarball_offer *offer)
{
    return offer->file_bytes <= MS_LIMIT_TARBALL_BYTES &&
           plain_bytes(offer) <= MS_LIMIT_TARBALL_PLAIN_BYTES && ms_tarball_would_pay(offer);
}

/* ---- what is wanted -------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const struct ms_tarball_want *x = a, *y = b;
    int order = memcmp(x->id, y->id, MS_SHA1_BYTES);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static struct ms_tarball_want *find(const struct ms_tarball *self, const uint8_t id[MS_SHA1_BYTES])
{
    size_t low = 0, high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(self->wants[middle].id, id, MS_SHA1_BYTES);
        if (order == 0)
            return &self->wants[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Will the crawl ask for this entry? Closed ones count when one of them is what it asks for now:
 * then the passwords have changed. */
static enum ms_status is_wanted(const struct ms_tarball *self, const struct ms_entry *entry,
                                bool closed_too, bool *wanted, struct ms_error *err)
{
    const struct ms_intake *intake = &self->session->intake;
    enum ms_intake_state state;
    uint8_t tried[32];
    *wanted = false;
    if (entry->size > (int64_t)self->crawl->max_blob_bytes)
        return MS_OK;
    ms_intake_lock(intake);
    enum ms_status status =
        ms_intake_look_up(intake, ms_volume_whole(entry)->git_id, &state, tried, err);
    ms_intake_unlock(intake);
    *wanted = state == MS_INTAKE_NEW || state == MS_INTAKE_PASSING ||
              (closed_too && state == MS_INTAKE_CLOSED);
    return status;
}

/* Fills wants with the entry and those behind it, each blob once. */
static enum ms_status gather(struct ms_tarball *self, size_t first, struct ms_error *err)
{
    const struct ms_entries *entries = self->entries;
    bool fresh, wanted;
    size_t count = 0;
    self->wants = malloc((entries->count - first) * sizeof *self->wants);
    if (!self->wants)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = is_wanted(self, &entries->items[first], false, &fresh, err);
    for (size_t i = first; i < entries->count && status == MS_OK; i++) {
        const struct ms_entry *entry = &entries->items[i];
        wanted = i == first;
        if (!wanted)
            status = is_wanted(self, entry, !fresh, &wanted, err);
        if (status != MS_OK || !wanted || entry->size < 0)
            continue;
        struct ms_tarball_want *want = &self->wants[count++];
        *want = (struct ms_tarball_want){.size = (uint64_t)entry->size, .place = i};
        memcpy(want->id, entry->git_id, MS_SHA1_BYTES);
    }
    if (status != MS_OK)
        return status;
    qsort(self->wants, count, sizeof *self->wants, by_id);
    for (size_t i = 0; i < count; i++)
        if (!i || memcmp(self->wants[self->count - 1].id, self->wants[i].id, MS_SHA1_BYTES) != 0)
            self->wants[self->count++] = self->wants[i];
    return MS_OK;
}

static int by_place(const void *a, const void *b, void *ctx)
{
    const struct ms_tarball_want *wants = ctx;
    size_t x = wants[*(const size_t *)a].place, y = wants[*(const size_t *)b].place;
    return (x > y) - (x < y);
}

static enum ms_status sort_turns(struct ms_tarball *self, struct ms_error *err)
{
    self->turn = calloc(self->count, sizeof *self->turn);
    self->window = calloc(self->count, sizeof *self->window);
    if (!self->turn || !self->window)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < self->count; i++)
        self->turn[i] = i;
    qsort_r(self->turn, self->count, sizeof *self->turn, by_place, self->wants);
    return MS_OK;
}

/* ---- the tarball ----------------------------------------------------------------------------- */

static void drop_tarball(struct ms_tarball *self)
{
    if (self->fd >= 0)
        (void)close(self->fd);
    self->fd = -1;
}

/* What the answer leaves to be read: what came of a transfer that was cut short is as good as all
 * of it, file by file. */
static enum ms_status judge(struct ms_tarball *self, const struct ms_http_response *response,
                            enum ms_status status, enum ms_github_answer answer, const char *reason,
                            struct ms_error *err)
{
    if (status == MS_E_REMOTE && !ms_github_answered(self->github, response)) {
        /* The token was not sent there, so nobody refused it. */
        answer = MS_GITHUB_ERROR;
        reason = "its host refuses";
    } else if (status != MS_OK) {
        return status;
    }
    if (answer == MS_GITHUB_LIMITED && ms_github_answered(self->github, response))
        return MS_E_LATER;
    if (answer == MS_GITHUB_LIMITED && err)
        self->github->tarballs_at_ms = err->resume_at_ms;
    if (answer == MS_GITHUB_OK)
        return MS_OK;
    bool some = response->status == 200 && response->body_bytes > 0;
    ms_log(MS_LOG_INFO, "%s: the tarball %s (%s); %s", self->repository,
           some ? "came incomplete" : "is not to be had", reason,
           some ? "what it lacks is fetched file by file" : "files are fetched one by one");
    if (!some)
        drop_tarball(self);
    return MS_OK;
}

static enum ms_status download(struct ms_tarball *self, struct ms_error *err)
{
    char path[512];
    char reason[256] = "";
    enum ms_github_answer answer = MS_GITHUB_ERROR;
    struct ms_http_response response;
    enum ms_status status = ms_file_memory("tarball", &self->fd, err);
    if (status != MS_OK)
        return status;
    (void)snprintf(path, sizeof path, "/repos/%s/tarball/%s", self->repository, self->commit);
    const struct ms_github_request request = {.path = path,
                                              .sink_fd = self->fd,
                                              .max_bytes = MS_LIMIT_TARBALL_BYTES,
                                              .max_attempts = ATTEMPTS};
    ms_http_response_init(&response);
    status = ms_github_get(self->github, &request, &response, &answer, reason, err);
    status = judge(self, &response, status, answer, reason, err);
    ms_http_response_release(&response);
    ms_step("collect.tarball.fetched");
    return status;
}

/* Counts what the crawl will want from `entry` on; fetches the tarball where it pays. */
static enum ms_status decide(struct ms_tarball *self, const struct ms_entry *entry,
                             struct ms_error *err)
{
    const struct ms_entries *entries = self->entries;
    size_t first = (size_t)(entry - entries->items);
    struct ms_tarball_offer offer = {.files = entries->count};
    self->decided = true;
    if (entries->count - first <= FEW_BLOBS || self->github->tarballs_at_ms > ms_clock_wall_ms())
        return MS_OK;
    enum ms_status status = gather(self, first, err);
    if (status != MS_OK)
        return status;
    for (size_t i = 0; i < entries->count; i++)
        offer.file_bytes += entries->items[i].size > 0 ? (uint64_t)entries->items[i].size : 0;
    offer.blobs = self->count;
    for (size_t i = 0; i < self->count; i++)
        offer.blob_bytes += self->wants[i].size;
    if (ms_tarball_pays(&offer)) {
        status = sort_turns(self, err);
        if (status == MS_OK)
            status = download(self, err);
    } else if (ms_tarball_would_pay(&offer)) {
        ms_log(MS_LOG_INFO,
               "%s: %llu files of %llu MiB are fetched one by one: its tarball would "
               "be larger than one may be",
               self->repository, (unsigned long long)offer.blobs,
               (unsigned long long)(offer.blob_bytes >> 20));
    }
    if (status == MS_OK && self->fd < 0)
        self->count = 0;
    return status;
}

/* ---- what the worker sends ------------------------------------------------------------------- */

static enum ms_status nonsense(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "the worker's answer makes no sense");
}

static enum ms_status begin_blob(struct ms_tarball *self, struct ms_span bytes,
                                 struct ms_error *err)
{
    uint32_t index;
    if (self->current || bytes.len != sizeof index)
        return nonsense(err);
    memcpy(&index, bytes.data, sizeof index);
    if (index >= self->window_count)
        return nonsense(err);
    struct ms_tarball_want *want = &self->wants[self->window[index]];
    if (want->state == HERE)
        return nonsense(err);
    self->current = want;
    return ms_blob_spool_begin(&self->spool, want->id, want->size, &want->offset, err);
}

static enum ms_status end_blob(struct ms_tarball *self, struct ms_error *err)
{
    struct ms_tarball_want *want = self->current;
    enum ms_status status = ms_blob_spool_end(&self->spool, err);
    self->current = NULL;
    if (want)
        want->state = status == MS_OK ? HERE : MISSING;
    return status;
}

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    switch (type) {
    case MS_TARJOB_FILE:
        return begin_blob(ctx, bytes, err);
    case MS_TARJOB_DATA:
        return ms_blob_spool_add(&((struct ms_tarball *)ctx)->spool, bytes, err);
    case MS_TARJOB_END:
        return end_blob(ctx, err);
    default:
        return nonsense(err);
    }
}

/* ---- windows --------------------------------------------------------------------------------- */

/* An empty spool; what was in the last one may be looked for again. */
static enum ms_status renew(struct ms_tarball *self, struct ms_error *err)
{
    for (size_t i = 0; i < self->window_count; i++)
        if (self->wants[self->window[i]].state == HERE)
            self->wants[self->window[i]].state = PENDING;
    self->current = NULL;
    self->window_count = 0;
    return ms_blob_spool_renew(&self->spool, "files", err);
}

static int by_size(const void *a, const void *b, void *ctx)
{
    const struct ms_tarball_want *wants = ctx;
    const struct ms_tarball_want *x = &wants[*(const size_t *)a], *y = &wants[*(const size_t *)b];
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return memcmp(x->id, y->id, MS_SHA1_BYTES);
}

/* The job's argument: the wanted ones from `want` on, in the crawl's order, as many as may be held.
 */
static enum ms_status make_window(struct ms_tarball *self, const struct ms_tarball_want *want,
                                  struct ms_buf *arg, struct ms_error *err)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < self->count && self->window_count < WINDOW_BLOBS; i++) {
        const struct ms_tarball_want *next = &self->wants[self->turn[i]];
        if (next->place < want->place || next->state != PENDING)
            continue;
        if (self->window_count && bytes + next->size > WINDOW_BYTES)
            break;
        bytes += next->size;
        self->window[self->window_count++] = self->turn[i];
    }
    qsort_r(self->window, self->window_count, sizeof *self->window, by_size, self->wants);
    for (size_t i = 0; i < self->window_count; i++) {
        const struct ms_tarball_want *next = &self->wants[self->window[i]];
        struct ms_tarjob_want item = {.size = next->size};
        memcpy(item.id, next->id, MS_SHA1_BYTES);
        (void)ms_buf_append(arg, &item, sizeof item);
    }
    return arg->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

static enum ms_status run_job(struct ms_tarball *self, struct ms_span arg,
                              struct ms_worker_result *result, struct ms_error *err)
{
    struct ms_error why = {MS_OK, 0, ""};
    if (lseek(self->fd, 0, SEEK_SET) != 0)
        return ms_error_set(err, MS_E_IO, "cannot read a memory file");
    enum ms_status status = ms_worker_run(self->session->worker, ms_job_kinds[MS_JOB_TARBALL].name,
                                          self->fd, arg, NULL, on_frame, self, result, &why);
    if (status == MS_REJECT) { /* frames that made no sense */
        *result = (struct ms_worker_result){.end = MS_WORKER_OUTPUT, .error = why};
        return MS_OK;
    }
    if (status != MS_OK && err)
        *err = why;
    return status;
}

/* Lets the worker look for a window's blobs. Whatever it does, those that came are verified, and
 * the others are fetched one by one. */
static enum ms_status read_window(struct ms_tarball *self, const struct ms_tarball_want *want,
                                  struct ms_error *err)
{
    struct ms_worker_result result;
    struct ms_buf arg;
    size_t here = 0;
    ms_buf_init(&arg, (size_t)WINDOW_BLOBS * sizeof(struct ms_tarjob_want));
    enum ms_status status = renew(self, err);
    if (status == MS_OK)
        status = make_window(self, want, &arg, err);
    if (status == MS_OK)
        status = run_job(self, ms_span_of(arg.data, arg.len), &result, err);
    ms_buf_release(&arg);
    if (status != MS_OK)
        return status;
    for (size_t i = 0; i < self->window_count; i++) {
        struct ms_tarball_want *next = &self->wants[self->window[i]];
        here += next->state == HERE;
        if (next->state == PENDING)
            next->state = MISSING;
    }
    if (result.end != MS_WORKER_DONE || result.status != MS_OK)
        ms_log(MS_LOG_INFO, "%s: of its tarball %zu of %zu files can be used: %s", self->repository,
               here, self->window_count, result.error.text);
    /* A worker that was lost over it, or a window without any file, is enough of it. */
    if (result.end != MS_WORKER_DONE || !here)
        drop_tarball(self);
    bool more = false;
    for (size_t i = 0; i < self->count && !more; i++)
        more = self->wants[i].state == PENDING;
    if (!more)
        drop_tarball(self);
    ms_step("collect.tarball.read");
    return MS_OK;
}

/* ---- the crawl's side ------------------------------------------------------------------------ */

void ms_tarball_init(struct ms_tarball *self, struct ms_collect *session, struct ms_github *github,
                     const struct ms_crawl *crawl, const struct ms_entries *entries)
{
    memset(self, 0, sizeof *self);
    self->session = session;
    self->github = github;
    self->crawl = crawl;
    self->entries = entries;
    self->fd = -1;
    ms_blob_spool_init(&self->spool);
}

void ms_tarball_release(struct ms_tarball *self)
{
    drop_tarball(self);
    ms_blob_spool_release(&self->spool);
    free(self->wants);
    free(self->turn);
    free(self->window);
    self->wants = NULL;
    self->turn = self->window = NULL;
    self->count = self->window_count = 0;
}

enum ms_status ms_tarball_fetch(void *ctx, const struct ms_entry *entry, int *fd, uint64_t *size,
                                const char **outcome, struct ms_error *err)
{
    struct ms_tarball *self = ctx;
    enum ms_status status = MS_OK;
    *outcome = "error";
    /* A password file asked for out of its turn says nothing about how much is wanted. */
    if (!self->decided && !self->crawl->aside)
        status = decide(self, entry, err);
    struct ms_tarball_want *want = status == MS_OK ? find(self, entry->git_id) : NULL;
    if (want && want->state == PENDING && self->fd >= 0 && !self->crawl->aside)
        status = read_window(self, want, err);
    if (status != MS_OK)
        return status;
    if (!want || want->state != HERE)
        return self->single(self->single_ctx, entry, fd, size, outcome, err);
    *size = want->size;
    return ms_blob_spool_copy(&self->spool, want->offset, want->size, fd, err);
}
