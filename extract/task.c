/* The task life cycle over one or more sandbox servers: a single loop, one request at a time. */
#define _GNU_SOURCE /* O_TMPFILE */
#include "extract/task.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "extract/task_list.h"
#include "store/sample.h"
#include "store/vault.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    SENDS_MAX = 3,   /* of one sample in one run without the server ever knowing it */
    FETCHES_MAX = 3, /* of a report that is missing or does not parse */
};

/* ---- states ---- */

static int64_t deadline_of(const struct ms_task_options *options, const char *state)
{
    if (strcmp(state, "pending") == 0)
        return options->queue_ms;
    if (strcmp(state, "running") == 0)
        return options->run_ms;
    if (strcmp(state, "completed") == 0)
        return options->process_ms;
    return 0;
}

/* Writes the task's state to its row, in a transaction of its own. */
static enum ms_status save(struct ms_task_loop *loop, struct ms_task *task, const char *state,
                           const char *reason, struct ms_error *err)
{
    struct ms_analysis row;
    int64_t now = ms_clock_wall_ms();
    int64_t deadline = deadline_of(loop->options, state);
    enum ms_status status = ms_corpus_begin(loop->corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_analysis_get(loop->corpus, task->analysis, &row, err);
    if (status != MS_OK) {
        ms_corpus_rollback(loop->corpus);
        return status;
    }
    struct ms_analysis next = row;
    next.state = state;
    next.reason = reason;
    next.server = task->server < loop->options->server_count
                      ? ms_sandbox_url(loop->options->servers[task->server])
                      : NULL;
    next.task_id = *task->task_id ? task->task_id : NULL;
    next.attempts = task->failures;
    next.submitted_ms = task->submitted_ms;
    if (strcmp(state, task->state) != 0 || row.deadline_ms == 0)
        next.deadline_ms = deadline ? now + deadline : 0;
    status = ms_analysis_update(loop->corpus, &next, now, err);
    task->deadline_ms = next.deadline_ms;
    ms_analysis_release(&row);
    if (status == MS_OK)
        status = ms_corpus_commit(loop->corpus, err);
    else
        ms_corpus_rollback(loop->corpus);
    if (status == MS_OK)
        (void)snprintf(task->state, sizeof task->state, "%s", state);
    return status;
}

/* The task has reached an end state that is already in its row. */
static enum ms_status tell_end(struct ms_task_loop *loop, struct ms_task *task, const char *reason,
                               struct ms_error *err)
{
    struct ms_task_end end = {.analysis = task->analysis,
                              .sha256 = task->sha256,
                              .server = "",
                              .task_id = task->task_id,
                              .state = task->state,
                              .reason = reason ? reason : ""};
    if (task->server < loop->options->server_count)
        end.server = ms_sandbox_url(loop->options->servers[task->server]);
    if (strcmp(task->state, "ok") == 0)
        loop->counts->ok++;
    else
        loop->counts->ended++;
    ms_progress_update(loop->counts->ok + loop->counts->ended);
    task->done = true;
    return loop->options->on_end ? loop->options->on_end(loop->options->ctx, &end, err) : MS_OK;
}

static enum ms_status end_task(struct ms_task_loop *loop, struct ms_task *task, const char *state,
                               const char *reason, struct ms_error *err)
{
    enum ms_status status = save(loop, task, state, reason, err);
    return status == MS_OK ? tell_end(loop, task, reason, err) : status;
}

/* One analysis of the sample failed: another one, or the end. The count goes into the job key, so
 * that the old task is not taken for the new one. */
static enum ms_status fail_task(struct ms_task_loop *loop, struct ms_task *task, const char *state,
                                const char *reason, struct ms_error *err)
{
    task->failures++;
    if (task->failures >= (int64_t)loop->options->attempts)
        return end_task(loop, task, state, reason, err);
    task->task_id[0] = '\0';
    task->server = SIZE_MAX;
    return save(loop, task, "queued", reason, err);
}

/* ---- submitting ---- */

static void job_key(const struct ms_task_loop *loop, const struct ms_task *task, char out[64])
{
    uint8_t digest[32];
    char hex[65], text[160];
    int n = snprintf(text, sizeof text, "%s:%s:%" PRId64, task->sha256, loop->settings_hex,
                     task->failures);
    if (ms_hash_sha256(text, (size_t)n, digest) != MS_OK)
        memset(digest, 0, sizeof digest);
    ms_hex_encode(digest, sizeof digest, hex);
    (void)snprintf(out, 64, "malseq-%.24s", hex);
}

/* A name that says nothing of where the sample came from; the suffix is what Windows needs to start
 * it. */
static const char *suffix_of(const char *kind)
{
    if (strcmp(kind, "dll") == 0)
        return "dll";
    return strcmp(kind, "driver") == 0 ? "sys" : "exe";
}

static const char *package_of(const struct ms_task_options *options, const char *kind)
{
    if (options->package)
        return options->package;
    if (strcmp(kind, "dll") == 0)
        return "dll";
    return strcmp(kind, "driver") == 0 || strcmp(kind, "efi") == 0 ? NULL : "exe";
}

static enum ms_status after_submit(struct ms_task_loop *loop, struct ms_task *task,
                                   const struct ms_submit_result *result, struct ms_error *err)
{
    struct ms_task_server *server = &loop->servers[task->server];
    switch (result->end) {
    case MS_SUBMIT_OK:
        memcpy(task->task_id, result->task_id, sizeof task->task_id);
        loop->counts->submitted++;
        enum ms_status status = save(loop, task, "pending", NULL, err);
        ms_step("extract.task.accepted");
        return status;
    case MS_SUBMIT_REFUSED:
        return end_task(loop, task, "refused", result->reason, err);
    case MS_SUBMIT_LATER:
        server->rest_until_ms = ms_clock_mono_ms() + result->wait_ms;
        task->server = SIZE_MAX;
        return save(loop, task, "queued", NULL, err);
    case MS_SUBMIT_DUPLICATE:
    case MS_SUBMIT_AMBIGUOUS:
        break;
    }
    task->refusal_is_final = result->end == MS_SUBMIT_DUPLICATE;
    (void)snprintf(task->reason, sizeof task->reason, "%s", result->reason);
    return save(loop, task, "submitting", result->reason, err);
}

/* The row says `submitting` before the first byte leaves: a run killed from here on asks the server
 * by hash before it sends anything again. */
static enum ms_status submit(struct ms_task_loop *loop, struct ms_task *task, size_t server,
                             struct ms_error *err)
{
    uint8_t sha256[32];
    char kind[16], key[64], name[32];
    int fd = -1;
    uint64_t bytes = 0;
    struct ms_submit_result result;
    enum ms_status status =
        ms_sample_kind(loop->corpus, task->sample, kind, sizeof kind, sha256, err);
    if (status == MS_OK)
        status = ms_vault_read_fd(loop->corpus, MS_VAULT_SAMPLE, sha256, &fd, &bytes, err);
    if (status == MS_REJECT || status == MS_E_STORE) {
        (void)snprintf(task->reason, sizeof task->reason, "%.250s", err->text);
        return end_task(loop, task, "failed", task->reason, err);
    }
    if (status != MS_OK)
        return status;
    task->server = server;
    task->sends++;
    task->submitted_ms = ms_clock_wall_ms();
    status = save(loop, task, "submitting", NULL, err);
    if (status != MS_OK)
        goto out;
    ms_step("extract.task.submitting");
    job_key(loop, task, key);
    (void)snprintf(name, sizeof name, "%.16s.%s", task->sha256, suffix_of(kind));
    struct ms_submission submission = {.fd = fd,
                                       .bytes = bytes,
                                       .file_name = name,
                                       .package = package_of(loop->options, kind),
                                       .route = loop->options->route,
                                       .machine = loop->options->machine,
                                       .tags = loop->options->tags,
                                       .job_key = key,
                                       .timeout_s = loop->options->timeout_s};
    status = ms_sandbox_submit(loop->options->servers[server], &submission, &result, err);
    ms_step("extract.task.sent");
    if (status == MS_OK)
        status = after_submit(loop, task, &result, err);
    task->next_ms = ms_clock_mono_ms() + loop->options->poll_ms;
out:
    close(fd);
    return status;
}

/* Asks the server by hash what became of a submission. */
static enum ms_status reconcile(struct ms_task_loop *loop, struct ms_task *task,
                                struct ms_error *err)
{
    char key[64], id[MS_TASK_ID_BYTES];
    job_key(loop, task, key);
    enum ms_status status =
        ms_sandbox_find(loop->options->servers[task->server], task->sha256, key, id, err);
    if (status != MS_OK)
        return status;
    if (*id && strcmp(id, task->task_id) != 0) {
        memcpy(task->task_id, id, sizeof id);
        loop->counts->submitted++;
        return save(loop, task, "pending", NULL, err);
    }
    if (task->refusal_is_final)
        return end_task(loop, task, "refused", task->reason, err);
    if (ms_clock_wall_ms() - task->submitted_ms < loop->options->grace_ms)
        return MS_OK;
    if (task->sends >= SENDS_MAX)
        return end_task(loop, task, "failed",
                        *task->reason ? task->reason : "no server ever took it", err);
    task->server = SIZE_MAX;
    task->task_id[0] = '\0';
    return save(loop, task, "queued", NULL, err);
}

/* ---- fetching ---- */

static enum ms_status open_spool(struct ms_task_loop *loop, int *fd, struct ms_error *err)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/tmp", ms_corpus_dir(loop->corpus));
    *fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0)
        return ms_file_memory("report", fd, err);
    return MS_OK;
}

static enum ms_status fetch_and_import(struct ms_task_loop *loop, struct ms_task *task, int fd,
                                       enum ms_fetch_end *end, const char **state,
                                       struct ms_error *err)
{
    int64_t wait_ms = 0;
    *state = NULL;
    enum ms_status status = ms_sandbox_fetch(loop->options->servers[task->server], task->task_id,
                                             fd, MS_LIMIT_REPORT_BYTES, end, &wait_ms, err);
    if (status == MS_E_LIMIT) {
        *end = MS_FETCH_OK;
        *state = "report_invalid";
        return end_task(loop, task, *state, "larger than the limit on reports", err);
    }
    if (status != MS_OK)
        return status;
    if (*end == MS_FETCH_LATER)
        loop->servers[task->server].rest_until_ms = ms_clock_mono_ms() + wait_ms;
    if (*end != MS_FETCH_OK)
        return MS_OK;
    ms_step("extract.task.fetched");
    if (lseek(fd, 0, SEEK_SET) < 0)
        return ms_error_set(err, MS_E_IO, "cannot rewind the fetched report");
    return loop->options->import(loop->options->ctx, fd, task->analysis, state, err);
}

/* A report may be fetched while the server still writes it: what is missing or does not parse is
 * asked for again a few times before it counts. */
static enum ms_status fetch(struct ms_task_loop *loop, struct ms_task *task, bool failed,
                            struct ms_error *err)
{
    int fd = -1;
    enum ms_fetch_end end = MS_FETCH_MISSING;
    const char *state = NULL;
    enum ms_status status = open_spool(loop, &fd, err);
    if (status != MS_OK)
        return status;
    status = fetch_and_import(loop, task, fd, &end, &state, err);
    close(fd);
    if (status != MS_OK || task->done || end == MS_FETCH_NOT_READY || end == MS_FETCH_LATER)
        return status;
    bool bad = end == MS_FETCH_MISSING || strcmp(state, "report_invalid") == 0;
    if (bad && failed)
        return fail_task(loop, task, "failed", "the server's processing failed", err);
    if (bad && ++task->fetches < FETCHES_MAX)
        return save(loop, task, "reported", NULL, err);
    if (end == MS_FETCH_MISSING)
        return end_task(loop, task, "report_missing", "reported, but there is no report", err);
    (void)snprintf(task->state, sizeof task->state, "%s", state);
    return tell_end(loop, task, NULL, err);
}

/* ---- following ---- */

static enum ms_status check_deadline(struct ms_task_loop *loop, struct ms_task *task,
                                     struct ms_error *err)
{
    char reason[96];
    if (task->deadline_ms == 0 || ms_clock_wall_ms() < task->deadline_ms)
        return MS_OK;
    (void)snprintf(reason, sizeof reason, "stayed %s for longer than %" PRId64 " s", task->state,
                   deadline_of(loop->options, task->state) / 1000);
    return fail_task(loop, task, "lost", reason, err);
}

static enum ms_status move_to(struct ms_task_loop *loop, struct ms_task *task, const char *state,
                              struct ms_error *err)
{
    if (strcmp(task->state, state) != 0)
        return save(loop, task, state, NULL, err);
    return check_deadline(loop, task, err);
}

static enum ms_status follow(struct ms_task_loop *loop, struct ms_task *task, struct ms_error *err)
{
    enum ms_task_status seen;
    int64_t wait_ms;
    enum ms_status status =
        ms_sandbox_look(loop->options->servers[task->server], task->task_id, &seen, &wait_ms, err);
    if (status != MS_OK)
        return status;
    if (wait_ms > 0) {
        loop->servers[task->server].rest_until_ms = ms_clock_mono_ms() + wait_ms;
        return MS_OK;
    }
    switch (seen) {
    case MS_TASK_PENDING:
        return move_to(loop, task, "pending", err);
    case MS_TASK_RUNNING:
        return move_to(loop, task, "running", err);
    case MS_TASK_COMPLETED:
        return move_to(loop, task, "completed", err);
    case MS_TASK_OTHER:
        return check_deadline(loop, task, err);
    case MS_TASK_REPORTED:
    case MS_TASK_FAILED_REPORTING:
        return fetch(loop, task, false, err);
    case MS_TASK_FAILED_PROCESSING:
        return fetch(loop, task, true, err);
    case MS_TASK_FAILED_ANALYSIS:
        return fail_task(loop, task, "failed", "the server's analysis failed", err);
    case MS_TASK_RECOVERED:
    case MS_TASK_UNKNOWN:
        break;
    }
    /* Rescheduled by somebody, or not visible yet: the hash tells. */
    return reconcile(loop, task, err);
}

/* ---- the loop ---- */

static enum ms_status step_task(struct ms_task_loop *loop, struct ms_task *task,
                                struct ms_error *err)
{
    size_t server = task->server;
    struct ms_error fault = {0};
    task->next_ms = ms_clock_mono_ms() + loop->options->poll_ms;
    enum ms_status status = strcmp(task->state, "submitting") == 0 ? reconcile(loop, task, &fault)
                                                                   : follow(loop, task, &fault);
    return ms_task_loop_note(loop, server, status, &fault, err);
}

static enum ms_status submit_next(struct ms_task_loop *loop, struct ms_error *err)
{
    for (size_t i = 0; i < loop->task_count; i++) {
        struct ms_task *task = &loop->tasks[i];
        if (task->done || strcmp(task->state, "queued") != 0)
            continue;
        size_t server = ms_task_loop_free_server(loop);
        if (server == SIZE_MAX)
            return MS_OK;
        struct ms_error fault = {0};
        enum ms_status status = submit(loop, task, server, &fault);
        status = ms_task_loop_note(loop, server, status, &fault, err);
        if (status != MS_OK)
            return status;
    }
    return MS_OK;
}

/* Nothing is due any more: all is done, or what is left is at servers that were given up. */
static enum ms_status tell_left(const struct ms_task_loop *loop, struct ms_error *err)
{
    size_t left = 0;
    for (size_t i = 0; i < loop->task_count; i++)
        left += !loop->tasks[i].done;
    if (left == 0)
        return MS_OK;
    return ms_error_set(err, MS_E_REMOTE,
                        "%zu task%s in flight at servers that were set aside; the next run takes "
                        "%s up",
                        left, left == 1 ? " stays" : "s stay", left == 1 ? "it" : "them");
}

static enum ms_status run_loop(struct ms_task_loop *loop, struct ms_error *err)
{
    for (;;) {
        enum ms_status status = submit_next(loop, err);
        for (size_t i = 0; i < loop->task_count && status == MS_OK; i++) {
            struct ms_task *task = &loop->tasks[i];
            if (ms_task_is_active(task) && task->next_ms <= ms_clock_mono_ms() &&
                ms_task_loop_can_use(loop, task->server))
                status = step_task(loop, task, err);
        }
        if (status != MS_OK)
            return status;
        int64_t wait_ms = ms_task_loop_wait_ms(loop);
        if (wait_ms < 0)
            return tell_left(loop, err);
        ms_clock_sleep_ms(wait_ms);
    }
}

enum ms_status ms_task_settings(const struct ms_task_options *options, char text[512],
                                uint8_t digest[32], struct ms_error *err)
{
    int n = snprintf(text, 512, "package=%s route=%s machine=%s tags=%s timeout=%" PRIu32,
                     options->package ? options->package : "auto",
                     options->route ? options->route : "default",
                     options->machine ? options->machine : "any",
                     options->tags ? options->tags : "", options->timeout_s);
    if (n < 0 || n >= 512)
        return ms_error_set(err, MS_E_USAGE, "the submission options are too long");
    if (ms_hash_sha256(text, (size_t)n, digest) != MS_OK)
        return ms_error_set(err, MS_E_BUG, "the hash library failed");
    return MS_OK;
}

enum ms_status ms_tasks_run(struct ms_corpus *corpus, const struct ms_task_options *options,
                            struct ms_task_counts *counts, struct ms_error *err)
{
    struct ms_task_loop loop;
    *counts = (struct ms_task_counts){0};
    enum ms_status status = ms_task_loop_init(&loop, corpus, options, counts, err);
    if (status == MS_OK) {
        ms_progress_begin("detonating", counts->queued + counts->resumed, "samples");
        status = run_loop(&loop, err);
        ms_progress_end();
    }
    ms_task_loop_release(&loop);
    return status;
}
