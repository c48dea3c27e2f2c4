/* Client of Cuckoo 2's REST API (2.0.7): no trailing slashes, JSON only from its own routes, HTML
 * for everything else, one connection at a time. */
#include "extract/sandbox/kind.h"

#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 128 };

static enum ms_status submit(struct ms_sandbox *self, const struct ms_submission *submission,
                             struct ms_submit_result *out, struct ms_error *err)
{
    bool reached;
    struct ms_answer answer;
    ms_answer_init(&answer);
    enum ms_status status =
        ms_sandbox_post(self, "/tasks/create/file", submission, false, &answer, &reached, err);
    if (status != MS_OK || !reached) {
        ms_reason_set(out->reason, "", "no answer to the submission");
        goto out;
    }
    const char *message = ms_json_string_at(answer.json, "message", "");
    switch (answer.http.status) {
    case 200:
        /* A null id: the task could not be added, or the server says so although it was. */
        if (ms_task_id_from(json_object_get(answer.json, "task_id"), out->task_id))
            out->end = MS_SUBMIT_OK;
        else
            ms_reason_set(out->reason, "", "the server gave no task id");
        break;
    case 400:
        out->end =
            strstr(message, "already been submitted") ? MS_SUBMIT_DUPLICATE : MS_SUBMIT_REFUSED;
        ms_reason_set(out->reason, "400 ", message);
        break;
    case 413:
        out->end = MS_SUBMIT_REFUSED;
        ms_reason_set(out->reason, "413 ", "larger than the server takes");
        break;
    case 429:
        out->end = MS_SUBMIT_LATER;
        out->wait_ms = ms_answer_wait_ms(&answer);
        break;
    default:
        (void)snprintf(out->reason, sizeof out->reason, "the server answered %d",
                       answer.http.status);
        break;
    }
out:
    ms_answer_release(&answer);
    return status;
}

static enum ms_status get_task(struct ms_sandbox *self, const char *task_id,
                               struct ms_answer *answer, struct ms_error *err)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "/tasks/view/%s", task_id);
    return ms_sandbox_get(self, path, answer, err);
}

static enum ms_status look(struct ms_sandbox *self, const char *task_id, enum ms_task_status *out,
                           int64_t *wait_ms, struct ms_error *err)
{
    struct ms_answer answer;
    ms_answer_init(&answer);
    enum ms_status status = get_task(self, task_id, &answer, err);
    const char *word = ms_json_string_at(answer.json, "task.status", NULL);
    if (status != MS_OK)
        goto out;
    if (answer.http.status == 200 && word)
        *out = ms_task_status_parse(word);
    else if (answer.http.status == 404 && answer.json)
        *out = MS_TASK_UNKNOWN;
    else if (answer.http.status == 429)
        *wait_ms = ms_answer_wait_ms(&answer);
    else
        status = ms_answer_unexpected(&answer, self, "/tasks/view", err);
out:
    ms_answer_release(&answer);
    return status;
}

/* /files/view/sha256 lists the ids of all tasks of a file (lower-case digits only); each is looked
 * at, newest first. */
static enum ms_status find(struct ms_sandbox *self, const char *sha256, const char *job_key,
                           char *task_id, struct ms_error *err)
{
    char path[PATH_BYTES];
    struct ms_answer answer;
    ms_answer_init(&answer);
    (void)snprintf(path, sizeof path, "/files/view/sha256/%s", sha256);
    enum ms_status status = ms_sandbox_get(self, path, &answer, err);
    json_t *tasks = ms_json_at(answer.json, "sample.tasks");
    if (status != MS_OK || answer.http.status == 404)
        goto out;
    if (answer.http.status != 200 || !json_is_array(tasks)) {
        status = ms_answer_unexpected(&answer, self, "/files/view", err);
        goto out;
    }
    for (size_t i = json_array_size(tasks); i-- > 0 && status == MS_OK && !*task_id;) {
        char id[MS_TASK_ID_BYTES];
        if (!ms_task_id_from(json_array_get(tasks, i), id))
            continue;
        struct ms_answer task;
        ms_answer_init(&task);
        status = get_task(self, id, &task, err);
        if (status == MS_OK &&
            strcmp(ms_json_string_at(task.json, "task.custom", ""), job_key) == 0)
            memcpy(task_id, id, sizeof id);
        ms_answer_release(&task);
    }
out:
    ms_answer_release(&answer);
    return status;
}

const struct ms_sandbox_ops ms_sandbox_cuckoo = {
    .kind = MS_SANDBOX_CUCKOO,
    .auth_header = "Authorization: Bearer ",
    .submit = submit,
    .look = look,
    .find = find,
    .report_before = "/tasks/report/",
    .report_after = "/json",
};
