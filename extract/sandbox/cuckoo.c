/* Client of Cuckoo 2's REST API (2.0.7): no trailing slashes, JSON only from its own routes, HTML
 * for everything else, one connection at a time. */
#include "extract/sandbox/kind.h"

#include <stdio.h>
#include <string.h>

enum {
    PATH_BYTES = 160,
    FIND_MAX = 32 /* tasks of one file that are looked at, newest first */
};

static enum ms_status submit(struct ms_sandbox *self, const struct ms_submission *submission,
                             struct ms_submit_result *out, struct ms_error *err)
{
    bool reached;
    struct ms_answer answer;
    ms_answer_init(&answer);
    enum ms_status status = ms_sandbox_post_task(self, "/tasks/create/file", submission, false,
                                                 &answer, out, &reached, err);
    if (status != MS_OK || !reached)
        goto out;
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

/* The ids of a file's tasks by falling number, at most FIND_MAX. */
static size_t newest_first(const json_t *tasks, json_int_t out[FIND_MAX])
{
    size_t count = 0, i;
    json_t *id;
    json_array_foreach(tasks, i, id)
    {
        json_int_t value = json_integer_value(id);
        size_t at = count;
        if (!json_is_integer(id) || value <= 0)
            continue;
        while (at > 0 && out[at - 1] < value)
            at--;
        if (at == FIND_MAX)
            continue;
        count += count < FIND_MAX;
        memmove(out + at + 1, out + at, (count - at - 1) * sizeof *out);
        out[at] = value;
    }
    return count;
}

/* Is this task the one that was sent with the key? */
static enum ms_status has_key(struct ms_sandbox *self, const char *task_id, const char *job_key,
                              bool *out, int64_t *wait_ms, struct ms_error *err)
{
    static const char prefix[] = "malseq-";
    struct ms_answer answer;
    ms_answer_init(&answer);
    enum ms_status status = get_task(self, task_id, &answer, err);
    const char *custom = ms_json_string_at(answer.json, "task.custom", "");
    *out = status == MS_OK && strncmp(custom, prefix, sizeof prefix - 1) == 0 &&
           strcmp(custom + sizeof prefix - 1, job_key) == 0;
    if (status == MS_OK && answer.http.status == 429)
        *wait_ms = ms_answer_wait_ms(&answer);
    else if (status == MS_OK && answer.http.status != 404 &&
             !ms_json_at(answer.json, "task.status"))
        status = ms_answer_unexpected(&answer, self, "/tasks/view", err);
    ms_answer_release(&answer);
    return status;
}

/* /files/view/sha256 lists the ids of all tasks of a file (lower-case digits only); each is looked
 * at, newest first. */
static enum ms_status find(struct ms_sandbox *self, const char *sha256, const char *job_key,
                           char *task_id, bool *certain, int64_t *wait_ms, struct ms_error *err)
{
    char path[PATH_BYTES];
    json_int_t ids[FIND_MAX];
    struct ms_answer answer;
    ms_answer_init(&answer);
    (void)snprintf(path, sizeof path, "/files/view/sha256/%s", sha256);
    enum ms_status status = ms_sandbox_get(self, path, &answer, err);
    json_t *tasks = ms_json_at(answer.json, "sample.tasks");
    if (status != MS_OK || (answer.http.status == 404 && answer.json))
        goto out;
    if (answer.http.status == 429) {
        *wait_ms = ms_answer_wait_ms(&answer);
        goto out;
    }
    if (answer.http.status != 200 || !json_is_array(tasks)) {
        status = ms_answer_unexpected(&answer, self, "/files/view", err);
        goto out;
    }
    size_t count = newest_first(tasks, ids);
    *certain = json_array_size(tasks) <= FIND_MAX;
    for (size_t i = 0; i < count && status == MS_OK && *wait_ms == 0 && !*task_id; i++) {
        char id[MS_TASK_ID_BYTES];
        bool ours = false;
        (void)snprintf(id, sizeof id, "%" JSON_INTEGER_FORMAT, ids[i]);
        status = has_key(self, id, job_key, &ours, wait_ms, err);
        if (ours)
            memcpy(task_id, id, sizeof id);
    }
out:
    ms_answer_release(&answer);
    return status;
}

/* The lists of those waiting, running and being processed, in this order: a task that moves on
 * between two requests is in a later list, or has ended. */
static enum ms_status survey(struct ms_sandbox *self, const char *owner, size_t expected,
                             struct ms_survey *out, int64_t *wait_ms, struct ms_error *err)
{
    static const char *const states[] = {"pending", "running", "completed"};
    enum ms_status status = MS_OK;
    out->whole = true;
    for (size_t i = 0; i < 3 && status == MS_OK && *wait_ms == 0; i++) {
        char path[PATH_BYTES];
        struct ms_answer answer;
        ms_answer_init(&answer);
        (void)snprintf(path, sizeof path, "/tasks/list/%zu?status=%s&owner=%s", expected + 1,
                       states[i], owner);
        status = ms_sandbox_get(self, path, &answer, err);
        const json_t *tasks = json_object_get(answer.json, "tasks");
        if (status == MS_OK && answer.http.status == 429)
            *wait_ms = ms_answer_wait_ms(&answer);
        else if (status == MS_OK && (answer.http.status != 200 || !json_is_array(tasks)))
            status = ms_answer_unexpected(&answer, self, "/tasks/list", err);
        else if (status == MS_OK)
            status = ms_survey_add_list(out, tasks, err);
        out->whole &= json_array_size(tasks) <= expected;
        ms_answer_release(&answer);
    }
    return status;
}

static enum ms_status load(struct ms_sandbox *self, struct ms_sandbox_load *out, int64_t *wait_ms,
                           struct ms_error *err)
{
    struct ms_answer answer;
    ms_answer_init(&answer);
    enum ms_status status = ms_sandbox_get(self, "/cuckoo/status", &answer, err);
    if (status == MS_OK && answer.http.status == 429)
        *wait_ms = ms_answer_wait_ms(&answer);
    else if (status == MS_OK && (answer.http.status != 200 || !answer.json))
        status = ms_answer_unexpected(&answer, self, "/cuckoo/status", err);
    else if (status == MS_OK)
        ms_load_from(answer.json, "tasks", out);
    ms_answer_release(&answer);
    return status;
}

const struct ms_sandbox_ops ms_sandbox_cuckoo = {
    .kind = MS_SANDBOX_CUCKOO,
    .auth_header = "Authorization: Bearer ",
    .submit = submit,
    .look = look,
    .find = find,
    .survey = survey,
    .load = load,
    .report_before = "/tasks/report/",
    .report_after = "/json",
};
