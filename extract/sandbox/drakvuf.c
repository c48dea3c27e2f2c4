/* Client of DRAKVUF Sandbox's REST API: UUIDs for task ids, no search by hash (its list of the
 * latest analyses with their file's name and digest stands in), the log of API calls in place of a
 * report. */
#include "extract/sandbox/kind.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PATH_BYTES = 128,
    LIST_MAX = 100 /* analyses that its list shows, newest first */
};

/* Hexadecimal digits and dashes: what goes into a path. */
static bool uuid_from(const json_t *value, char out[MS_TASK_ID_BYTES])
{
    const char *text = json_string_value(value);
    size_t n = text ? strlen(text) : 0;
    if (n == 0 || n >= MS_TASK_ID_BYTES || strspn(text, "0123456789abcdefABCDEF-") != n)
        return false;
    memcpy(out, text, n + 1);
    return true;
}

/* A name that says nothing but what the analysis is found by. */
static void file_name(const char *job_key, const char *suffix, char out[48])
{
    (void)snprintf(out, 48, "%.24s.%.8s", job_key, suffix);
}

static enum ms_status submit(struct ms_sandbox *self, const struct ms_submission *submission,
                             struct ms_submit_result *out, struct ms_error *err)
{
    bool reached;
    char timeout[16] = "", name[48];
    struct ms_http_part parts[3];
    size_t count = 0;
    struct ms_answer answer;
    ms_answer_init(&answer);
    file_name(submission->job_key, submission->suffix, name);
    if (submission->timeout_s)
        (void)snprintf(timeout, sizeof timeout, "%" PRIu32, submission->timeout_s);
    ms_part_add(parts, &count, "timeout", timeout);
    ms_part_add(parts, &count, "file_name", name);
    parts[count++] = (struct ms_http_part){
        .name = "file", .fd = submission->fd, .fd_bytes = submission->bytes, .filename = name};
    enum ms_status status =
        ms_sandbox_post(self, "/upload", parts, count, &answer, out, &reached, err);
    if (status != MS_OK || !reached)
        goto out;
    if (answer.http.status == 429) {
        out->end = MS_SUBMIT_LATER;
        out->wait_ms = ms_answer_wait_ms(&answer);
    } else if (answer.http.status == 413) {
        out->end = MS_SUBMIT_REFUSED;
        ms_reason_set(out->reason, "413 ", "larger than the server takes");
    } else if (answer.http.status == 400 || answer.http.status == 422) {
        out->end = MS_SUBMIT_REFUSED;
        ms_reason_set(out->reason, "",
                      ms_json_string_at(answer.json, "error", "the server refuses the form"));
    } else if (answer.http.status == 200 &&
               uuid_from(json_object_get(answer.json, "task_uid"), out->task_id)) {
        out->end = MS_SUBMIT_OK;
    } else {
        (void)snprintf(out->reason, sizeof out->reason, "the server answered %d%s",
                       answer.http.status, answer.http.status == 200 ? " without a task id" : "");
    }
out:
    ms_answer_release(&answer);
    return status;
}

/* Words of today's servers, and "pending" and "done" of those before 0.19. */
static enum ms_task_status status_of(const char *word)
{
    static const struct {
        const char *word;
        enum ms_task_status status;
    } table[] = {
        {"queued", MS_TASK_PENDING},          {"pending", MS_TASK_PENDING},
        {"deferred", MS_TASK_PENDING},        {"scheduled", MS_TASK_PENDING},
        {"started", MS_TASK_RUNNING},         {"finished", MS_TASK_REPORTED},
        {"done", MS_TASK_REPORTED},           {"failed", MS_TASK_FAILED_ANALYSIS},
        {"stopped", MS_TASK_FAILED_ANALYSIS}, {"canceled", MS_TASK_FAILED_ANALYSIS},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(word, table[i].word) == 0)
            return table[i].status;
    return MS_TASK_OTHER;
}

static enum ms_status look(struct ms_sandbox *self, const char *task_id, enum ms_task_status *out,
                           int64_t *wait_ms, struct ms_error *err)
{
    char path[PATH_BYTES];
    struct ms_answer answer;
    ms_answer_init(&answer);
    (void)snprintf(path, sizeof path, "/status/%s", task_id);
    enum ms_status status = ms_sandbox_get(self, path, &answer, err);
    const char *word = ms_json_string_at(answer.json, "status", NULL);
    if (status != MS_OK)
        goto out;
    if (answer.http.status == 200 && word)
        *out = status_of(word);
    else if (answer.http.status == 404 && answer.json)
        *out = MS_TASK_UNKNOWN;
    else if (answer.http.status == 429)
        *wait_ms = ms_answer_wait_ms(&answer);
    else
        status = ms_answer_unexpected(&answer, self, "/status", err);
out:
    ms_answer_release(&answer);
    return status;
}

/* The list of the latest analyses; *list borrowed from the answer, NULL when throttled. */
static enum ms_status get_list(struct ms_sandbox *self, struct ms_answer *answer,
                               const json_t **list, int64_t *wait_ms, struct ms_error *err)
{
    *list = NULL;
    enum ms_status status = ms_sandbox_get(self, "/list", answer, err);
    if (status != MS_OK)
        return status;
    if (answer->http.status == 429) {
        *wait_ms = ms_answer_wait_ms(answer);
        return MS_OK;
    }
    if (answer->http.status != 200 || !json_is_array(answer->json))
        return ms_answer_unexpected(answer, self, "/list", err);
    *list = answer->json;
    return MS_OK;
}

static enum ms_status find(struct ms_sandbox *self, const char *sha256, const char *job_key,
                           char *task_id, bool *certain, int64_t *wait_ms, struct ms_error *err)
{
    const json_t *list;
    size_t i;
    json_t *task;
    struct ms_answer answer;
    ms_answer_init(&answer);
    enum ms_status status = get_list(self, &answer, &list, wait_ms, err);
    json_array_foreach(list, i, task)
    {
        const char *digest = ms_json_string_at(task, "file.sha256", "");
        const char *name = ms_json_string_at(task, "file.name", "");
        if (!*task_id && strcmp(digest, sha256) == 0 &&
            strncmp(name, job_key, strlen(job_key)) == 0 &&
            !uuid_from(json_object_get(task, "id"), task_id))
            task_id[0] = '\0';
    }
    *certain = json_array_size(list) < LIST_MAX;
    ms_answer_release(&answer);
    return status;
}

static enum ms_status survey(struct ms_sandbox *self, const char *owner, size_t expected,
                             struct ms_survey *out, int64_t *wait_ms, struct ms_error *err)
{
    const json_t *list;
    size_t i;
    json_t *task;
    struct ms_answer answer;
    ms_answer_init(&answer);
    (void)owner;
    (void)expected;
    enum ms_status status = get_list(self, &answer, &list, wait_ms, err);
    json_array_foreach(list, i, task)
    {
        char id[MS_TASK_ID_BYTES];
        const char *word = ms_json_string_at(task, "status", NULL);
        if (status == MS_OK && word && uuid_from(json_object_get(task, "id"), id))
            status = ms_survey_add(out, id, status_of(word), err);
    }
    ms_answer_release(&answer);
    return status;
}

const struct ms_sandbox_ops ms_sandbox_drakvuf = {
    .kind = MS_SANDBOX_DRAKVUF,
    .auth_header = "Authorization: Bearer ", /* of a proxy in front: it has none of its own */
    .submit = submit,
    .look = look,
    .find = find,
    .survey = survey,
    .report_before = "/logs/",
    .report_after = "/apimon",
};
