/* Client of CAPE's REST API (apiv2): trailing slashes, most failures as {"error": true} with status
 * 200, lists of task ids, throttling by 429. */
#include "extract/sandbox/kind.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 128 };

/* `error` is true on failure; false or an empty list otherwise. */
static bool is_failure(const json_t *answer)
{
    return json_is_true(json_object_get(answer, "error"));
}

/* The words of a failure: the first message in errors[], which is the precise one, else
 * error_value. */
static const char *failure_words(const json_t *answer)
{
    json_t *first = json_array_get(json_object_get(answer, "errors"), 0);
    const char *key;
    json_t *value;
    json_object_foreach(first, key, value)
    {
        if (json_is_string(value))
            return json_string_value(value);
    }
    return ms_json_string_at(answer, "error_value", "no reason given");
}

static void read_failure(const struct ms_answer *answer, struct ms_submit_result *out)
{
    const char *words = failure_words(answer->json);
    if (strstr(words, "Duplicated file"))
        out->end = MS_SUBMIT_DUPLICATE;
    else if (strstr(words, "to database"))
        out->end = MS_SUBMIT_AMBIGUOUS; /* the task may have been added all the same */
    else
        out->end = MS_SUBMIT_REFUSED;
    ms_reason_set(out->reason, "", words);
}

static enum ms_status submit(struct ms_sandbox *self, const struct ms_submission *submission,
                             struct ms_submit_result *out, struct ms_error *err)
{
    bool reached;
    struct ms_answer answer;
    ms_answer_init(&answer);
    enum ms_status status = ms_sandbox_post_task(self, "/tasks/create/file/", submission, true,
                                                 &answer, out, &reached, err);
    if (status != MS_OK || !reached)
        goto out;
    json_t *ids = ms_json_at(answer.json, "data.task_ids");
    if (answer.http.status == 429) {
        out->end = MS_SUBMIT_LATER;
        out->wait_ms = ms_answer_wait_ms(&answer);
    } else if (answer.http.status == 413) {
        out->end = MS_SUBMIT_REFUSED;
        ms_reason_set(out->reason, "413 ", "larger than the server takes");
    } else if (answer.http.status != 200 || !json_is_object(answer.json)) {
        (void)snprintf(out->reason, sizeof out->reason, "the server answered %d",
                       answer.http.status);
    } else if (is_failure(answer.json)) {
        read_failure(&answer, out);
    } else if (ms_task_id_from(json_array_get(ids, 0), out->task_id)) {
        out->end = MS_SUBMIT_OK;
    } else {
        ms_reason_set(out->reason, "", "the server gave no task id");
    }
out:
    ms_answer_release(&answer);
    return status;
}

static enum ms_status look(struct ms_sandbox *self, const char *task_id, enum ms_task_status *out,
                           int64_t *wait_ms, struct ms_error *err)
{
    char path[PATH_BYTES];
    struct ms_answer answer;
    ms_answer_init(&answer);
    (void)snprintf(path, sizeof path, "/tasks/status/%s/", task_id);
    enum ms_status status = ms_sandbox_get(self, path, &answer, err);
    const char *word = ms_json_string_at(answer.json, "data", NULL);
    if (status != MS_OK)
        goto out;
    if (answer.http.status == 429)
        *wait_ms = ms_answer_wait_ms(&answer);
    else if (answer.json && (is_failure(answer.json) || answer.http.status == 404))
        *out = MS_TASK_UNKNOWN;
    else if (answer.http.status == 200 && word)
        *out =
            strcmp(word, "Task does not exist") == 0 ? MS_TASK_UNKNOWN : ms_task_status_parse(word);
    else
        status = ms_answer_unexpected(&answer, self, "/tasks/status", err);
out:
    ms_answer_release(&answer);
    return status;
}

static enum ms_status find(struct ms_sandbox *self, const char *sha256, const char *job_key,
                           char *task_id, bool *certain, int64_t *wait_ms, struct ms_error *err)
{
    static const char prefix[] = "malseq-";
    char path[PATH_BYTES];
    struct ms_answer answer;
    json_int_t newest = 0;
    size_t i;
    json_t *task;
    ms_answer_init(&answer);
    *certain = true;
    (void)snprintf(path, sizeof path, "/tasks/search/sha256/%s/", sha256);
    enum ms_status status = ms_sandbox_get(self, path, &answer, err);
    if (status != MS_OK)
        goto out;
    if (answer.http.status == 429) {
        *wait_ms = ms_answer_wait_ms(&answer);
        goto out;
    }
    if (answer.http.status != 200 || is_failure(answer.json) ||
        !json_is_array(json_object_get(answer.json, "data"))) {
        status = ms_answer_unexpected(&answer, self, "/tasks/search", err);
        goto out;
    }
    json_array_foreach(json_object_get(answer.json, "data"), i, task)
    {
        const json_t *id = json_object_get(task, "id");
        char text[MS_TASK_ID_BYTES];
        const char *custom = ms_json_string_at(task, "custom", "");
        if (strncmp(custom, prefix, sizeof prefix - 1) != 0 ||
            strcmp(custom + sizeof prefix - 1, job_key) != 0 || !ms_task_id_from(id, text) ||
            json_integer_value(id) <= newest)
            continue;
        newest = json_integer_value(id);
        memcpy(task_id, text, sizeof text);
    }
out:
    ms_answer_release(&answer);
    return status;
}

/* The page of the newest tasks, whoever sent them: 50 is the most it gives. */
static enum ms_status survey(struct ms_sandbox *self, const char *owner, size_t expected,
                             struct ms_survey *out, int64_t *wait_ms, struct ms_error *err)
{
    struct ms_answer answer;
    ms_answer_init(&answer);
    (void)owner;
    (void)expected;
    enum ms_status status = ms_sandbox_get(self, "/tasks/list/50/0/", &answer, err);
    const json_t *tasks = json_object_get(answer.json, "data");
    if (status == MS_OK && answer.http.status == 429)
        *wait_ms = ms_answer_wait_ms(&answer);
    else if (status == MS_OK && (answer.http.status != 200 || !json_is_array(tasks)))
        status = ms_answer_unexpected(&answer, self, "/tasks/list", err);
    else if (status == MS_OK)
        status = ms_survey_add_list(out, tasks, err);
    ms_answer_release(&answer);
    return status;
}

/* Switched off as CAPE comes, and then an error object with status 200. */
static enum ms_status load(struct ms_sandbox *self, struct ms_sandbox_load *out, int64_t *wait_ms,
                           struct ms_error *err)
{
    struct ms_answer answer;
    ms_answer_init(&answer);
    enum ms_status status = ms_sandbox_get(self, "/cuckoo/status/", &answer, err);
    if (status == MS_OK && answer.http.status == 429)
        *wait_ms = ms_answer_wait_ms(&answer);
    else if (status == MS_OK && !answer.json)
        status = ms_answer_unexpected(&answer, self, "/cuckoo/status", err);
    else if (status == MS_OK && !is_failure(answer.json))
        ms_load_from(answer.json, "data.tasks", out);
    ms_answer_release(&answer);
    return status;
}

/* A failure comes with status 200 and a small JSON object where the report should be. Without this
 * look it would be taken for a report without behaviour. */
static enum ms_fetch_end judge_report(struct ms_answer *answer, int fd)
{
    char text[1024];
    if (answer->http.body_bytes == 0 || answer->http.body_bytes >= sizeof text)
        return MS_FETCH_OK;
    ssize_t n = pread(fd, text, sizeof text, 0);
    if (n <= 0 || ms_json_parse(text, (size_t)n, &answer->json, NULL) != MS_OK ||
        !is_failure(answer->json))
        return MS_FETCH_OK;
    return strstr(failure_words(answer->json), "still being analyzed") ? MS_FETCH_NOT_READY
                                                                       : MS_FETCH_MISSING;
}

const struct ms_sandbox_ops ms_sandbox_cape = {
    .kind = MS_SANDBOX_CAPE,
    .auth_header = "Authorization: Token ",
    .submit = submit,
    .look = look,
    .find = find,
    .survey = survey,
    .load = load,
    .report_before = "/tasks/get/report/",
    .report_after = "/json/",
    .judge_report = judge_report,
};
