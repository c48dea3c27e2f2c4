/* Tasks of one run: loading, queueing, their rows and deadlines. No requests. */
#include "extract/task_list.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "store/analysis.h"
#include "store/task.h"
#include "store/vault.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The life of a task: the word in its row, and how long it may stay. What is done there and at the
 * end of its time:
 *   submitting  asked for by hash; then queued again, and failed after a few times
 *   pending     looked at; then lost
 *   running     looked at; then lost
 *   completed   looked at; then lost
 *   reported    the report is fetched; then report_missing
 * lost and failed count as an attempt: another analysis of the sample follows while there are
 * attempts left. */
static const struct {
    const char *name;
    size_t limit; /* offset of a duration in the options; 0: none */
} phases[] = {
    [MS_PHASE_QUEUED] = {"queued", 0},
    [MS_PHASE_SUBMITTING] = {"submitting", offsetof(struct ms_task_options, grace_ms)},
    [MS_PHASE_PENDING] = {"pending", offsetof(struct ms_task_options, queue_ms)},
    [MS_PHASE_RUNNING] = {"running", offsetof(struct ms_task_options, run_ms)},
    [MS_PHASE_COMPLETED] = {"completed", offsetof(struct ms_task_options, process_ms)},
    [MS_PHASE_REPORTED] = {"reported", offsetof(struct ms_task_options, process_ms)},
    [MS_PHASE_ENDED] = {"ended", 0},
};

const char *ms_task_phase_name(enum ms_task_phase phase)
{
    return phases[phase].name;
}

int64_t ms_task_phase_limit_ms(const struct ms_task_options *options, enum ms_task_phase phase)
{
    int64_t limit = 0;
    if (phases[phase].limit)
        memcpy(&limit, (const char *)options + phases[phase].limit, sizeof limit);
    return limit;
}

static enum ms_task_phase phase_of(const char *state)
{
    for (int i = 0; i < MS_PHASE_ENDED; i++)
        if (strcmp(state, phases[i].name) == 0)
            return (enum ms_task_phase)i;
    return MS_PHASE_ENDED;
}

/* ---- loading ---- */

static size_t server_index(const struct ms_task_loop *self, const char *url)
{
    for (size_t i = 0; url && i < self->options->server_count; i++)
        if (strcmp(url, ms_sandbox_url(self->options->servers[i].sandbox)) == 0)
            return i;
    return SIZE_MAX;
}

/* What is left of a task's time, on the monotonic clock of this run. Within one boot of the machine
 * that clock goes on from run to run, whatever happens to the wall clock. Else the wall clock is
 * all there is: set back, it may not lengthen the time, and a task that may or may not be at its
 * server gets its time anew. */
static int64_t late_after_restart(const struct ms_task_loop *self, const struct ms_task_row *row,
                                  enum ms_task_phase phase)
{
    int64_t limit = ms_task_phase_limit_ms(self->options, phase);
    int64_t now = ms_clock_mono_ms(), wall = ms_clock_wall_ms();
    if (limit == 0)
        return 0;
    if (row->deadline_ms == 0)
        return now + limit;
    if (*self->boot && row->boot && strcmp(row->boot, self->boot) == 0)
        return row->deadline_mono_ms < now + limit ? row->deadline_mono_ms : now + limit;
    if (phase == MS_PHASE_SUBMITTING)
        return now + limit;
    int64_t left = row->deadline_ms - (wall < row->updated_ms ? row->updated_ms : wall);
    return now + (left < 0 ? 0 : left < limit ? left : limit);
}

static enum ms_status load_one(void *ctx, const struct ms_task_row *row, struct ms_error *err)
{
    struct ms_task_loop *self = ctx;
    enum ms_task_phase phase = phase_of(row->state);
    size_t server = phase == MS_PHASE_QUEUED ? SIZE_MAX : server_index(self, row->server);
    if (phase != MS_PHASE_QUEUED && server == SIZE_MAX) {
        ms_log(MS_LOG_WARNING,
               "task %s is in flight at %s, which this run was not given: left alone",
               row->task_id ? row->task_id : "?", row->server ? row->server : "?");
        self->counts->resumed++;
        return MS_OK;
    }
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
                             .phase = phase,
                             .server = server,
                             .shunned = SIZE_MAX,
                             .refused_at = row->submitted_ms ? 0 : -1,
                             .failures = row->attempts,
                             .submitted_ms = row->submitted_ms,
                             .late_ms = late_after_restart(self, row, phase)};
    ms_hex_encode(row->sha256, MS_SHA256_BYTES, task->sha256);
    (void)snprintf(task->task_id, sizeof task->task_id, "%s", row->task_id ? row->task_id : "");
    *(phase == MS_PHASE_QUEUED ? &self->counts->queued : &self->counts->resumed) += 1;
    return MS_OK;
}

static enum ms_status queue_new(struct ms_task_loop *self, struct ms_error *err)
{
    uint64_t count;
    enum ms_status status = ms_corpus_begin(self->corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_task_queue_new(self->corpus, self->settings, self->settings_digest,
                               ms_clock_wall_ms(), self->options->run, &count, err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    else
        ms_corpus_rollback(self->corpus);
    if (status == MS_OK)
        ms_step("extract.task.queued");
    return status;
}

/* Room for each task in the queue, and at each server. What an earlier run sent in vain comes after
 * what is new: files that break a server do not keep the others from it. */
static enum ms_status place_all(struct ms_task_loop *self, struct ms_error *err)
{
    size_t room = self->task_count + 1;
    self->queue = calloc(room, sizeof *self->queue);
    if (!self->queue)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < self->options->server_count; i++) {
        self->servers[i].active = calloc(room, sizeof *self->servers[i].active);
        if (!self->servers[i].active)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < self->task_count; i++) {
        struct ms_task *task = &self->tasks[i];
        if (task->server != SIZE_MAX) {
            struct ms_task_server *server = &self->servers[task->server];
            server->active[server->active_count++] = i;
        } else if (task->submitted_ms == 0) {
            self->queue[self->queue_count++] = i;
        }
    }
    for (size_t i = 0; i < self->task_count; i++)
        if (self->tasks[i].server == SIZE_MAX && self->tasks[i].submitted_ms != 0)
            self->queue[self->queue_count++] = i;
    self->undone = self->task_count;
    return MS_OK;
}

static void read_boot(char out[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, 39) : -1;
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

enum ms_status ms_task_loop_init(struct ms_task_loop *self, struct ms_corpus *corpus,
                                 const struct ms_task_options *options,
                                 struct ms_task_counts *counts, struct ms_error *err)
{
    *self = (struct ms_task_loop){
        .corpus = corpus, .options = options, .counts = counts, .lock = PTHREAD_MUTEX_INITIALIZER};
    self->servers = calloc(options->server_count, sizeof *self->servers);
    if (!self->servers)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < options->server_count; i++) {
        self->servers[i].loop = self;
        self->servers[i].index = i;
        self->servers[i].sandbox = options->servers[i].sandbox;
        self->servers[i].in_flight = options->servers[i].in_flight;
    }
    enum ms_status status = ms_task_settings(options, self->settings, self->settings_digest, err);
    if (status != MS_OK)
        return status;
    ms_hex_encode(self->settings_digest, 32, self->settings_hex);
    read_boot(self->boot);
    status = queue_new(self, err);
    if (status == MS_OK)
        status = ms_task_foreach(corpus, self->settings_digest, load_one, self, err);
    return status == MS_OK ? place_all(self, err) : status;
}

void ms_task_loop_release(struct ms_task_loop *self)
{
    for (size_t i = 0; self->servers && i < self->options->server_count; i++) {
        free(self->servers[i].active);
        ms_survey_release(&self->servers[i].survey);
    }
    free(self->tasks);
    free(self->queue);
    free(self->servers);
    free(self->loose);
    self->tasks = NULL;
    self->queue = NULL;
    self->servers = NULL;
    self->loose = NULL;
}

static enum ms_status count_one(void *ctx, const struct ms_task_row *row, struct ms_error *err)
{
    (void)row;
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
        status = ms_task_count_new(corpus, digest, fresh, err);
    return status == MS_OK ? ms_task_foreach(corpus, digest, count_one, active, err) : status;
}

/* ---- the queue ---- */

static bool has_other(const struct ms_task_loop *self, size_t server)
{
    for (size_t i = 0; i < self->options->server_count; i++)
        if (i != server && ms_task_server_takes(&self->servers[i]))
            return true;
    return false;
}

struct ms_task *ms_task_take(struct ms_task_loop *self, struct ms_task_server *server)
{
    size_t room = self->task_count + 1, at = 0;
    while (at < self->queue_count &&
           self->tasks[self->queue[(self->queue_head + at) % room]].shunned == server->index)
        at++;
    if (at == self->queue_count && (at == 0 || has_other(self, server->index)))
        return NULL;
    at = at == self->queue_count ? 0 : at;
    /* What was passed over moves up by one. */
    size_t index = self->queue[(self->queue_head + at) % room];
    for (; at > 0; at--)
        self->queue[(self->queue_head + at) % room] =
            self->queue[(self->queue_head + at - 1) % room];
    self->queue_head = (self->queue_head + 1) % room;
    self->queue_count--;
    server->active[server->active_count++] = index;
    self->tasks[index].server = server->index;
    return &self->tasks[index];
}

void ms_task_leave(struct ms_task_loop *self, struct ms_task *task)
{
    size_t index = (size_t)(task - self->tasks);
    struct ms_task_server *server = &self->servers[task->server];
    for (size_t i = 0; i < server->active_count; i++) {
        if (server->active[i] != index)
            continue;
        server->active[i] = server->active[--server->active_count];
        break;
    }
    task->server = SIZE_MAX;
}

/* ---- rows ---- */

static enum ms_status write_row(struct ms_task_loop *self, const struct ms_task *task,
                                const char *state, const char *package, const char *reason,
                                struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms();
    struct ms_sandbox *sandbox =
        task->server == SIZE_MAX ? NULL : self->servers[task->server].sandbox;
    const char *version = sandbox ? ms_sandbox_version(sandbox) : "";
    struct ms_task_row row = {
        .id = task->analysis,
        .state = state,
        .reason = reason,
        .sandbox = sandbox ? ms_sandbox_kind_name(ms_sandbox_kind_get(sandbox)) : NULL,
        .sandbox_version = *version ? version : NULL,
        .server = sandbox ? ms_sandbox_url(sandbox) : NULL,
        .task_id = *task->task_id ? task->task_id : NULL,
        .package = package,
        .attempts = task->failures,
        .submitted_ms = task->submitted_ms,
        .deadline_ms = task->late_ms ? now + task->late_ms - ms_clock_mono_ms() : 0,
        .deadline_mono_ms = task->late_ms,
        .boot = *self->boot ? self->boot : NULL};
    bool open = ms_corpus_in_transaction(self->corpus);
    enum ms_status status = open ? MS_OK : ms_corpus_begin(self->corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_task_save(self->corpus, &row, now, err);
    if (open)
        return status;
    if (status == MS_OK)
        return ms_corpus_commit(self->corpus, err);
    ms_corpus_rollback(self->corpus);
    return status;
}

enum ms_status ms_task_enter(struct ms_task_loop *self, struct ms_task *task,
                             enum ms_task_phase phase, const char *package, const char *reason,
                             struct ms_error *err)
{
    int64_t limit = ms_task_phase_limit_ms(self->options, phase);
    if (task->phase != phase)
        task->late_ms = limit ? ms_clock_mono_ms() + limit : 0;
    enum ms_status status = write_row(self, task, phases[phase].name, package, reason, err);
    if (status == MS_OK)
        task->phase = phase;
    return status;
}

enum ms_status ms_task_requeue(struct ms_task_loop *self, struct ms_task *task, bool at_head,
                               const char *reason, struct ms_error *err)
{
    size_t index = (size_t)(task - self->tasks), room = self->task_count + 1;
    if (!at_head)
        task->shunned = task->server;
    ms_task_leave(self, task);
    task->task_id[0] = '\0';
    task->unknown_ms = 0;
    task->fetches = 0;
    if (at_head) {
        self->queue_head = (self->queue_head + room - 1) % room;
        self->queue[self->queue_head] = index;
    } else {
        self->queue[(self->queue_head + self->queue_count) % room] = index;
    }
    self->queue_count++;
    return ms_task_enter(self, task, MS_PHASE_QUEUED, NULL, reason, err);
}

enum ms_status ms_task_finish(struct ms_task_loop *self, struct ms_task *task, const char *state,
                              const char *reason, bool written, struct ms_error *err)
{
    struct ms_task_server *server = &self->servers[task->server];
    struct ms_task_end end = {.analysis = task->analysis,
                              .sha256 = task->sha256,
                              .server = ms_sandbox_url(server->sandbox),
                              .task_id = task->task_id,
                              .state = state,
                              .reason = reason ? reason : ""};
    bool ok = strcmp(state, "ok") == 0;
    task->late_ms = 0;
    enum ms_status status = written ? MS_OK : write_row(self, task, state, NULL, reason, err);
    if (status != MS_OK)
        return status;
    task->phase = MS_PHASE_ENDED;
    ms_task_leave(self, task);
    self->undone--;
    *(ok ? &self->counts->ok : &self->counts->ended) += 1;
    *(ok ? &server->share.ok : &server->share.ended) += 1;
    ms_progress_update(self->counts->ok + self->counts->ended);
    ms_step("extract.task.ended");
    return self->options->on_end ? self->options->on_end(self->options->ctx, &end, err) : MS_OK;
}

enum ms_status ms_task_fail(struct ms_task_loop *self, struct ms_task *task, const char *state,
                            const char *reason, struct ms_error *err)
{
    task->failures++;
    if (task->failures >= (int64_t)self->options->attempts)
        return ms_task_finish(self, task, state, reason, false, err);
    return ms_task_requeue(self, task, false, reason, err);
}

void ms_task_key(const struct ms_task_loop *self, const struct ms_task *task, char out[32])
{
    uint8_t digest[32];
    char hex[65], text[160];
    int n = snprintf(text, sizeof text, "%s:%s:%" PRId64, task->sha256, self->settings_hex,
                     task->failures);
    if (ms_hash_sha256(text, (size_t)n, digest) != MS_OK)
        memset(digest, 0, sizeof digest);
    ms_hex_encode(digest, sizeof digest, hex);
    (void)snprintf(out, 32, "%.24s", hex);
}

/* ---- reports that were replaced ---- */

enum ms_status ms_task_note_report(struct ms_task_loop *self, const struct ms_task *task,
                                   struct ms_error *err)
{
    struct ms_analysis row;
    enum ms_status status = ms_analysis_get(self->corpus, task->analysis, &row, err);
    if (status != MS_OK)
        return status;
    if (row.has_report && self->loose_count == self->loose_cap) {
        size_t cap = self->loose_cap ? self->loose_cap * 2 : 64;
        uint8_t(*longer)[32] = realloc(self->loose, cap * sizeof *longer);
        if (!longer) {
            ms_analysis_release(&row);
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        }
        self->loose = longer;
        self->loose_cap = cap;
    }
    if (row.has_report)
        memcpy(self->loose[self->loose_count++], row.report_sha256, 32);
    ms_analysis_release(&row);
    return MS_OK;
}

enum ms_status ms_task_loop_tidy(struct ms_task_loop *self, struct ms_error *err)
{
    for (size_t i = 0; i < self->loose_count; i++) {
        bool found = false;
        int64_t id;
        enum ms_status status =
            ms_analysis_find_report(self->corpus, self->loose[i], &found, &id, err);
        if (status == MS_OK && !found)
            status = ms_vault_remove(self->corpus, MS_VAULT_REPORT, self->loose[i], err);
        if (status != MS_OK)
            return status;
    }
    return MS_OK;
}
