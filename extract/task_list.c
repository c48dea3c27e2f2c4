/* Tasks and servers of one run: loading, choosing, waiting. No requests. */
#include "extract/task_list.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/step.h"
#include "store/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FAULTS_MAX = 5, /* in a row, before a server is set aside for the run */
    BACKOFF_MS = 500,
    BACKOFF_MAX_MS = 60000
};

/* The states of a task at a server, in the order of its life. */
static const char *const active_states[] = {"submitting", "pending", "running", "completed",
                                            "reported"};
enum { ACTIVE_COUNT = sizeof active_states / sizeof *active_states };

bool ms_task_is_active(const struct ms_task *task)
{
    if (task->done)
        return false;
    for (size_t i = 0; i < ACTIVE_COUNT; i++)
        if (strcmp(task->state, active_states[i]) == 0)
            return true;
    return false;
}

static size_t server_index(const struct ms_task_loop *self, const char *url)
{
    for (size_t i = 0; url && i < self->options->server_count; i++)
        if (strcmp(url, ms_sandbox_url(self->options->servers[i])) == 0)
            return i;
    return SIZE_MAX;
}

static enum ms_status add_task(struct ms_task_loop *self, const struct ms_analysis *row,
                               struct ms_error *err)
{
    struct ms_sample sample;
    enum ms_status status = ms_sample_get(self->corpus, row->sample, &sample, err);
    if (status != MS_OK)
        return status;
    if (self->task_count == self->task_cap) {
        size_t cap = self->task_cap ? self->task_cap * 2 : 256;
        struct ms_task *tasks = realloc(self->tasks, cap * sizeof *tasks);
        if (!tasks)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->tasks = tasks;
        self->task_cap = cap;
    }
    struct ms_task *task = &self->tasks[self->task_count++];
    *task = (struct ms_task){.analysis = row->id,
                             .sample = row->sample,
                             .server = server_index(self, row->server),
                             .failures = row->attempts,
                             .submitted_ms = row->submitted_ms,
                             .deadline_ms = row->deadline_ms};
    ms_hex_encode(sample.digests.sha256, MS_SHA256_BYTES, task->sha256);
    (void)snprintf(task->state, sizeof task->state, "%s", row->state);
    (void)snprintf(task->task_id, sizeof task->task_id, "%s", row->task_id ? row->task_id : "");
    return MS_OK;
}

static enum ms_status load_one(void *ctx, int64_t id, struct ms_error *err)
{
    struct ms_task_loop *self = ctx;
    struct ms_analysis row;
    enum ms_status status = ms_analysis_get(self->corpus, id, &row, err);
    if (status != MS_OK)
        return status;
    bool ours = row.has_settings_digest && row.sample != 0 &&
                memcmp(row.settings_digest, self->settings_digest, 32) == 0;
    bool queued = strcmp(row.state, "queued") == 0;
    if (ours && !queued && server_index(self, row.server) == SIZE_MAX)
        ms_log(MS_LOG_WARNING,
               "task %s is in flight at %s, which this run was not given: left alone",
               row.task_id ? row.task_id : "?", row.server ? row.server : "?");
    else if (ours)
        status = add_task(self, &row, err);
    if (status == MS_OK && ours)
        *(queued ? &self->counts->queued : &self->counts->resumed) += 1;
    ms_analysis_release(&row);
    return status;
}

static enum ms_status queue_one(void *ctx, int64_t sample, struct ms_error *err)
{
    struct ms_task_loop *self = ctx;
    int64_t id;
    struct ms_analysis row = {.sample = sample,
                              .sandbox = ms_sandbox_kind_name(MS_SANDBOX_AUTO),
                              .settings = self->settings,
                              .has_settings_digest = true,
                              .state = "queued"};
    memcpy(row.settings_digest, self->settings_digest, 32);
    return ms_analysis_insert(self->corpus, &row, ms_clock_wall_ms(), self->options->run, &id, err);
}

static enum ms_status queue_new(struct ms_task_loop *self, struct ms_error *err)
{
    enum ms_status status = ms_corpus_begin(self->corpus, err);
    if (status != MS_OK)
        return status;
    status =
        ms_sample_foreach_unsubmitted(self->corpus, self->settings_digest, queue_one, self, err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    else
        ms_corpus_rollback(self->corpus);
    if (status == MS_OK)
        ms_step("extract.task.queued");
    return status;
}

enum ms_status ms_task_loop_init(struct ms_task_loop *self, struct ms_corpus *corpus,
                                 const struct ms_task_options *options,
                                 struct ms_task_counts *counts, struct ms_error *err)
{
    *self = (struct ms_task_loop){.corpus = corpus, .options = options, .counts = counts};
    self->servers = calloc(options->server_count, sizeof *self->servers);
    if (!self->servers)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = ms_task_settings(options, self->settings, self->settings_digest, err);
    if (status != MS_OK)
        return status;
    ms_hex_encode(self->settings_digest, 32, self->settings_hex);
    status = queue_new(self, err);
    for (size_t i = 0; i < ACTIVE_COUNT && status == MS_OK; i++)
        status = ms_analysis_foreach(corpus, active_states[i], NULL, load_one, self, err);
    if (status == MS_OK)
        status = ms_analysis_foreach(corpus, "queued", NULL, load_one, self, err);
    return status;
}

static enum ms_status count_one(void *ctx, int64_t id, struct ms_error *err)
{
    (void)id;
    (void)err;
    *(uint64_t *)ctx += 1;
    return MS_OK;
}

enum ms_status ms_tasks_count(struct ms_corpus *corpus, const struct ms_task_options *options,
                              uint64_t *fresh, uint64_t *active, struct ms_error *err)
{
    char text[512];
    uint8_t digest[32];
    *fresh = *active = 0;
    enum ms_status status = ms_task_settings(options, text, digest, err);
    if (status == MS_OK)
        status = ms_sample_foreach_unsubmitted(corpus, digest, count_one, fresh, err);
    for (size_t i = 0; i < ACTIVE_COUNT && status == MS_OK; i++)
        status = ms_analysis_foreach(corpus, active_states[i], NULL, count_one, active, err);
    if (status == MS_OK)
        status = ms_analysis_foreach(corpus, "queued", NULL, count_one, active, err);
    return status;
}

void ms_task_loop_release(struct ms_task_loop *self)
{
    free(self->tasks);
    free(self->servers);
    *self = (struct ms_task_loop){0};
}

bool ms_task_loop_can_use(const struct ms_task_loop *self, size_t server)
{
    return server < self->options->server_count && !self->servers[server].given_up &&
           self->servers[server].rest_until_ms <= ms_clock_mono_ms();
}

static uint64_t in_flight(const struct ms_task_loop *self, size_t server)
{
    uint64_t n = 0;
    for (size_t i = 0; i < self->task_count; i++)
        n += ms_task_is_active(&self->tasks[i]) && self->tasks[i].server == server;
    return n;
}

size_t ms_task_loop_free_server(const struct ms_task_loop *self)
{
    size_t best = SIZE_MAX;
    uint64_t fewest = self->options->in_flight;
    for (size_t i = 0; i < self->options->server_count; i++) {
        uint64_t n = ms_task_loop_can_use(self, i) ? in_flight(self, i) : UINT64_MAX;
        if (n < fewest) {
            fewest = n;
            best = i;
        }
    }
    return best;
}

int64_t ms_task_loop_wait_ms(const struct ms_task_loop *self)
{
    int64_t now = ms_clock_mono_ms();
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < self->task_count; i++) {
        const struct ms_task *task = &self->tasks[i];
        bool active = ms_task_is_active(task);
        if (task->done || (active && self->servers[task->server].given_up))
            continue;
        /* Queued ones wait for room, that is for one in flight to end, or for a server to have
         * rested. */
        int64_t at = active ? task->next_ms : now + self->options->poll_ms;
        if (active && self->servers[task->server].rest_until_ms > at)
            at = self->servers[task->server].rest_until_ms;
        if (at < due)
            due = at;
    }
    if (due == INT64_MAX)
        return -1;
    return due > now ? due - now : 0;
}

static bool any_left(const struct ms_task_loop *self)
{
    for (size_t i = 0; i < self->options->server_count; i++)
        if (!self->servers[i].given_up)
            return true;
    return false;
}

enum ms_status ms_task_loop_note(struct ms_task_loop *self, size_t server, enum ms_status status,
                                 const struct ms_error *fault, struct ms_error *err)
{
    if (server >= self->options->server_count || (status != MS_OK && status != MS_E_REMOTE)) {
        if (status != MS_OK && err)
            *err = *fault;
        return status;
    }
    struct ms_task_server *at = &self->servers[server];
    if (status == MS_OK) {
        at->faults = 0;
        return MS_OK;
    }
    at->faults++;
    int64_t rest_ms = (int64_t)BACKOFF_MS << (at->faults < 8 ? at->faults : 8);
    at->rest_until_ms = ms_clock_mono_ms() + (rest_ms < BACKOFF_MAX_MS ? rest_ms : BACKOFF_MAX_MS);
    at->given_up =
        at->faults >= FAULTS_MAX || ms_sandbox_token_refused(self->options->servers[server]);
    ms_log(MS_LOG_WARNING, "%s%s", fault->text, at->given_up ? "; set aside for this run" : "");
    if (any_left(self))
        return MS_OK;
    return ms_error_set(err, MS_E_REMOTE, "no sandbox is left: %s", fault->text);
}
