/* One task at its server: submit, ask by hash, look, fetch. Which task is due: extract/task_server.
 */
#define _GNU_SOURCE /* O_TMPFILE */
#include "extract/task.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/step.h"
#include "extract/task_server.h"
#include "store/task.h"
#include "store/vault.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SENDS_MAX = 3,   /* of one sample in one run without the server ever knowing it */
    FETCHES_MAX = 3, /* of a report that is missing or does not parse */
};

/* ---- submitting ---- */

/* What Windows needs to start it. */
static const char *suffix_of(const char *kind)
{
    if (strcmp(kind, "dll") == 0 || strcmp(kind, "resource") == 0)
        return "dll";
    return strcmp(kind, "driver") == 0 ? "sys" : "exe";
}

static const char *package_of(const struct ms_task_options *options, const char *kind)
{
    if (options->package)
        return options->package;
    if (strcmp(kind, "dll") == 0 || strcmp(kind, "resource") == 0)
        return "dll";
    return strcmp(kind, "driver") == 0 || strcmp(kind, "efi") == 0 ? NULL : "exe";
}

/* Back to the head of the queue: nothing of it is at the server. */
static enum ms_status take_back(struct ms_task_loop *loop, struct ms_task *task,
                                struct ms_error *err)
{
    task->sends--;
    task->submitted_ms = 0;
    return ms_task_requeue(loop, task, true, NULL, err);
}

static enum ms_status after_submit(struct ms_task_loop *loop, struct ms_task_server *server,
                                   struct ms_task *task, const struct ms_submit_result *result,
                                   struct ms_error *err)
{
    enum ms_status status;
    task->next_ms = ms_task_server_next_ms(server);
    switch (result->end) {
    case MS_SUBMIT_OK:
        memcpy(task->task_id, result->task_id, sizeof task->task_id);
        loop->counts->submitted++;
        server->share.submitted++;
        server->pending++;
        ms_task_server_took(server);
        status = ms_task_enter(loop, task, MS_PHASE_PENDING, NULL, NULL, err);
        ms_step("extract.task.accepted");
        return status;
    case MS_SUBMIT_REFUSED:
        return ms_task_finish(loop, task, "refused", result->reason, false, err);
    case MS_SUBMIT_LATER:
        ms_task_server_rest(server, result->wait_ms);
        return take_back(loop, task, err);
    case MS_SUBMIT_NOT_SENT:
        status = take_back(loop, task, err);
        return status == MS_OK ? ms_error_set(err, MS_E_REMOTE, "%s could not be reached",
                                              ms_sandbox_url(server->sandbox))
                               : status;
    case MS_SUBMIT_DUPLICATE:
    case MS_SUBMIT_AMBIGUOUS:
        break;
    }
    task->refusal_is_final = result->end == MS_SUBMIT_DUPLICATE;
    task->next_ms = ms_clock_mono_ms() + loop->options->poll_ms;
    (void)snprintf(task->reason, sizeof task->reason, "%s", result->reason);
    if (result->end == MS_SUBMIT_AMBIGUOUS)
        ms_task_server_refused(server, task);
    status = ms_task_enter(loop, task, MS_PHASE_SUBMITTING, NULL, result->reason, err);
    if (status == MS_OK && result->unanswered)
        status = ms_error_set(err, MS_E_REMOTE, "%s did not answer a submission",
                              ms_sandbox_url(server->sandbox));
    return status;
}

/* The sample's bytes, and what may be said of them. A status of REJECT or STORE ends this task. */
static enum ms_status open_sample(struct ms_task_loop *loop, struct ms_task *task,
                                  struct ms_task_sample *sample, int *fd, uint64_t *bytes,
                                  struct ms_error *err)
{
    enum ms_status status = ms_task_sample_get(loop->corpus, task->sample, sample, err);
    if (status != MS_OK)
        return status;
    if (sample->private_)
        return ms_error_set(err, MS_REJECT, "it is private and is not sent anywhere");
    pthread_mutex_unlock(&loop->lock);
    status = ms_vault_read_fd(loop->corpus, MS_VAULT_SAMPLE, sample->sha256, fd, bytes, err);
    pthread_mutex_lock(&loop->lock);
    return status;
}

static enum ms_status send_sample(struct ms_task_loop *loop, struct ms_task_server *server,
                                  struct ms_task *task, const struct ms_task_sample *sample, int fd,
                                  uint64_t bytes, struct ms_error *err)
{
    char key[32], owner[32];
    struct ms_submit_result result;
    const struct ms_task_options *options = loop->options;
    ms_task_key(loop, task, key);
    (void)snprintf(owner, sizeof owner, "malseq-%.16s", loop->settings_hex);
    struct ms_submission submission = {.fd = fd,
                                       .bytes = bytes,
                                       .suffix = suffix_of(sample->kind),
                                       .sha256 = task->sha256,
                                       .package = package_of(options, sample->kind),
                                       .route = options->route,
                                       .machine = options->machine,
                                       .tags = options->tags,
                                       .job_key = key,
                                       .owner = owner,
                                       .timeout_s = options->timeout_s};
    task->sends++;
    task->submitted_ms = ms_clock_wall_ms();
    /* The row says `submitting` before the first byte leaves: a run killed from here on asks the
     * server by hash before it sends anything again. */
    enum ms_status status =
        ms_task_enter(loop, task, MS_PHASE_SUBMITTING, submission.package, NULL, err);
    if (status != MS_OK)
        return status;
    ms_step("extract.task.submitting");
    pthread_mutex_unlock(&loop->lock);
    status = ms_sandbox_submit(server->sandbox, &submission, &result, err);
    ms_step("extract.task.sent");
    pthread_mutex_lock(&loop->lock);
    server->share.requests++;
    /* A token is looked at before the file is taken. */
    if (status == MS_E_REMOTE && ms_sandbox_token_refused(server->sandbox)) {
        struct ms_error store = {.status = MS_OK};
        enum ms_status back = take_back(loop, task, &store);
        if (back != MS_OK && err)
            *err = store;
        return back == MS_OK ? status : back;
    }
    return status == MS_OK ? after_submit(loop, server, task, &result, err) : status;
}

enum ms_status ms_task_submit(struct ms_task_loop *loop, struct ms_task_server *server,
                              struct ms_task *task, struct ms_error *err)
{
    int fd = -1;
    uint64_t bytes = 0;
    struct ms_task_sample sample;
    struct ms_error why = {.status = MS_OK};
    enum ms_status status = open_sample(loop, task, &sample, &fd, &bytes, &why);
    if (status == MS_REJECT || status == MS_E_STORE)
        return ms_task_finish(loop, task, "failed", why.text, false, err);
    if (status == MS_OK)
        status = send_sample(loop, server, task, &sample, fd, bytes, &why);
    if (fd >= 0)
        close(fd);
    if (status != MS_OK && err)
        *err = why;
    return status;
}

/* ---- asking by hash ---- */

/* The server does not know a task by its id, though it gave it out: it is not visible yet, or was
 * removed. */
static enum ms_status note_unknown(struct ms_task_loop *loop, struct ms_task *task,
                                   struct ms_error *err)
{
    int64_t now = ms_clock_mono_ms();
    if (task->unknown_ms == 0)
        task->unknown_ms = now;
    if (now - task->unknown_ms < loop->options->grace_ms)
        return MS_OK;
    return ms_task_fail(loop, task, "lost", "the server does not know the task any more", err);
}

static enum ms_status not_found(struct ms_task_loop *loop, struct ms_task *task, bool certain,
                                struct ms_error *err)
{
    if (task->phase != MS_PHASE_SUBMITTING)
        return note_unknown(loop, task, err);
    if (task->refusal_is_final)
        return ms_task_finish(loop, task, "refused", task->reason, false, err);
    if (ms_clock_mono_ms() < task->late_ms)
        return MS_OK;
    if (!certain)
        return ms_task_finish(loop, task, "failed",
                              "the server cannot say any more whether it took it", false, err);
    /* Of a server that takes nothing at all the sample knows nothing. */
    if (task->sends >= SENDS_MAX && ms_task_server_takes(&loop->servers[task->server]))
        return ms_task_finish(loop, task, "failed",
                              *task->reason ? task->reason : "no server ever took it", false, err);
    return ms_task_requeue(loop, task, false, *task->reason ? task->reason : NULL, err);
}

/* Asks the server by hash what became of a submission. */
static enum ms_status reconcile(struct ms_task_loop *loop, struct ms_task_server *server,
                                struct ms_task *task, struct ms_error *err)
{
    char key[32], id[MS_TASK_ID_BYTES];
    bool certain;
    int64_t wait_ms;
    ms_task_key(loop, task, key);
    ms_step("extract.task.asking");
    pthread_mutex_unlock(&loop->lock);
    enum ms_status status =
        ms_sandbox_find(server->sandbox, task->sha256, key, id, &certain, &wait_ms, err);
    pthread_mutex_lock(&loop->lock);
    server->share.requests++;
    if (status != MS_OK)
        return status;
    if (wait_ms > 0) {
        ms_task_server_rest(server, wait_ms);
        return MS_OK;
    }
    if (*id && strcmp(id, task->task_id) == 0) {
        task->unknown_ms = 0; /* it is there, whatever the look at it said */
        return MS_OK;
    }
    if (!*id)
        return not_found(loop, task, certain, err);
    if (task->phase == MS_PHASE_SUBMITTING) {
        loop->counts->submitted++;
        server->share.submitted++;
        ms_task_server_took(server);
    }
    memcpy(task->task_id, id, sizeof id);
    task->unknown_ms = 0;
    status = ms_task_enter(loop, task, MS_PHASE_PENDING, NULL, NULL, err);
    ms_step("extract.task.found");
    return status;
}

/* ---- fetching ---- */

static enum ms_status open_spool(struct ms_task_loop *loop, int *fd, struct ms_error *err)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/tmp", ms_corpus_dir(loop->corpus));
    *fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return *fd < 0 ? ms_file_memory("report", fd, err) : MS_OK;
}

/* Downloads and reads it; *read NULL when there is nothing to store. Without the lock. */
static enum ms_status fetch_and_read(struct ms_task_loop *loop, struct ms_task_server *server,
                                     const struct ms_task *task, int fd, enum ms_fetch_end *end,
                                     int64_t *wait_ms, void **read, struct ms_error *err)
{
    *read = NULL;
    enum ms_status status = ms_sandbox_fetch(server->sandbox, task->task_id, fd,
                                             MS_LIMIT_REPORT_BYTES, end, wait_ms, err);
    if (status != MS_OK || *end != MS_FETCH_OK)
        return status;
    ms_step("extract.task.fetched");
    if (lseek(fd, 0, SEEK_SET) < 0)
        return ms_error_set(err, MS_E_IO, "cannot rewind the fetched report");
    return loop->options->read(loop->options->ctx, ms_sandbox_kind_get(server->sandbox), fd, read,
                               err);
}

/* Nothing at all came: as a log that is a run without calls, if it stays so. */
static bool is_empty(int fd)
{
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0;
}

/* A report may be fetched while the server still writes it: what is missing, empty or does not
 * parse is asked for again a few times before it counts. */
static enum ms_status after_fetch(struct ms_task_loop *loop, struct ms_task *task,
                                  enum ms_fetch_end end, const char *state, bool empty, bool failed,
                                  struct ms_error *err)
{
    bool bad = end == MS_FETCH_MISSING || empty || strcmp(state, "report_invalid") == 0;
    bool again = bad && !failed && task->fetches + 1 < FETCHES_MAX;
    task->fetches += bad;
    task->has_bad_report |= bad && state && !empty;
    if (bad && failed)
        return ms_task_fail(loop, task, "failed", "the server's processing failed", err);
    if (again) {
        task->next_ms = ms_clock_mono_ms() + loop->options->poll_ms;
        return ms_task_enter(loop, task, MS_PHASE_REPORTED, NULL, NULL, err);
    }
    if (end == MS_FETCH_MISSING)
        return ms_task_finish(loop, task, "report_missing", "reported, but there is no report",
                              false, err);
    return ms_task_finish(loop, task, state, NULL, true, err);
}

static enum ms_status fetch(struct ms_task_loop *loop, struct ms_task_server *server,
                            struct ms_task *task, bool failed, struct ms_error *err)
{
    int fd = -1;
    int64_t wait_ms = 0;
    void *read = NULL;
    enum ms_fetch_end end = MS_FETCH_MISSING;
    const char *state = NULL;
    pthread_mutex_unlock(&loop->lock);
    enum ms_status status = open_spool(loop, &fd, err);
    if (status == MS_OK)
        status = fetch_and_read(loop, server, task, fd, &end, &wait_ms, &read, err);
    bool empty = is_empty(fd);
    if (fd >= 0)
        close(fd);
    pthread_mutex_lock(&loop->lock);
    server->share.requests++;
    if (status == MS_E_LIMIT)
        return ms_task_finish(loop, task, "report_invalid", "larger than the limit on reports",
                              false, err);
    if (status != MS_OK)
        return status;
    if (end == MS_FETCH_LATER) { /* says nothing of the report, however late it is */
        ms_task_server_rest(server, wait_ms);
        return MS_OK;
    }
    if (end == MS_FETCH_NOT_READY) {
        /* One that came before, and could not be read, then counts. */
        if (task->late_ms && ms_clock_mono_ms() >= task->late_ms)
            return ms_task_finish(loop, task,
                                  task->has_bad_report ? "report_invalid" : "report_missing",
                                  "reported, but the report was never to be had", false, err);
        return MS_OK;
    }
    if (read)
        status = ms_task_note_report(loop, task, err);
    if (read && status != MS_OK) {
        loop->options->drop(loop->options->ctx, read);
        return status;
    }
    if (read)
        status = loop->options->store(loop->options->ctx, read, task->analysis, &state, err);
    return status == MS_OK ? after_fetch(loop, task, end, state, empty, failed, err) : status;
}

/* ---- following ---- */

/* It is where it was; or it is there too long. */
static enum ms_status stay(struct ms_task_loop *loop, struct ms_task *task, struct ms_error *err)
{
    char reason[96];
    if (task->late_ms == 0 || ms_clock_mono_ms() < task->late_ms)
        return MS_OK;
    (void)snprintf(reason, sizeof reason, "stayed %s for longer than %" PRId64 " s",
                   ms_task_phase_name(task->phase),
                   ms_task_phase_limit_ms(loop->options, task->phase) / 1000);
    return ms_task_fail(loop, task, "lost", reason, err);
}

static enum ms_status move_to(struct ms_task_loop *loop, struct ms_task *task,
                              enum ms_task_phase phase, struct ms_error *err)
{
    if (task->phase == phase)
        return stay(loop, task, err);
    enum ms_status status = ms_task_enter(loop, task, phase, NULL, NULL, err);
    ms_step("extract.task.moved");
    return status;
}

enum ms_status ms_task_seen(struct ms_task_loop *loop, struct ms_task_server *server,
                            struct ms_task *task, enum ms_task_status seen, struct ms_error *err)
{
    task->next_ms = ms_task_server_next_ms(server);
    if (seen != MS_TASK_UNKNOWN && seen != MS_TASK_RECOVERED)
        task->unknown_ms = 0;
    switch (seen) {
    case MS_TASK_PENDING:
        return move_to(loop, task, MS_PHASE_PENDING, err);
    case MS_TASK_RUNNING:
        return move_to(loop, task, MS_PHASE_RUNNING, err);
    case MS_TASK_COMPLETED:
        return move_to(loop, task, MS_PHASE_COMPLETED, err);
    case MS_TASK_OTHER: /* a word of another fork */
        return stay(loop, task, err);
    case MS_TASK_REPORTED:
    case MS_TASK_FAILED_REPORTING: /* a report may be there all the same */
        task->next_ms = ms_clock_mono_ms();
        return move_to(loop, task, MS_PHASE_REPORTED, err);
    case MS_TASK_FAILED_ANALYSIS:
        return ms_task_fail(loop, task, "failed", "the server's analysis failed", err);
    case MS_TASK_FAILED_PROCESSING:
    case MS_TASK_RECOVERED:
    case MS_TASK_UNKNOWN:
        break;
    }
    task->next_ms = ms_clock_mono_ms(); /* these want a request of their own */
    return MS_OK;
}

static enum ms_status follow(struct ms_task_loop *loop, struct ms_task_server *server,
                             struct ms_task *task, struct ms_error *err)
{
    enum ms_task_status seen;
    int64_t wait_ms;
    pthread_mutex_unlock(&loop->lock);
    enum ms_status status = ms_sandbox_look(server->sandbox, task->task_id, &seen, &wait_ms, err);
    pthread_mutex_lock(&loop->lock);
    server->share.requests++;
    if (status != MS_OK)
        return status;
    if (wait_ms > 0) {
        ms_task_server_rest(server, wait_ms);
        return MS_OK;
    }
    if (seen == MS_TASK_FAILED_PROCESSING)
        return fetch(loop, server, task, true, err);
    if (seen != MS_TASK_UNKNOWN && seen != MS_TASK_RECOVERED)
        return ms_task_seen(loop, server, task, seen, err);
    /* Rescheduled by somebody, or not visible yet: the hash tells. */
    return reconcile(loop, server, task, err);
}

enum ms_status ms_task_step(struct ms_task_loop *loop, struct ms_task_server *server,
                            struct ms_task *task, struct ms_error *err)
{
    task->next_ms = ms_task_server_next_ms(server);
    switch (task->phase) {
    case MS_PHASE_SUBMITTING:
        task->next_ms = ms_clock_mono_ms() + loop->options->poll_ms;
        return reconcile(loop, server, task, err);
    case MS_PHASE_REPORTED:
        task->next_ms = ms_clock_mono_ms() + loop->options->poll_ms;
        return fetch(loop, server, task, false, err);
    case MS_PHASE_PENDING:
    case MS_PHASE_RUNNING:
    case MS_PHASE_COMPLETED:
        return follow(loop, server, task, err);
    case MS_PHASE_QUEUED:
    case MS_PHASE_ENDED:
        break;
    }
    return ms_error_set(err, MS_E_BUG, "a task in flight that is not");
}

bool ms_task_is_settings(const char *text)
{
    return text && strncmp(text, "package=", strlen("package=")) == 0;
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
