/* What the implementations of a sandbox client share; private to this folder. */
#ifndef MS_EXTRACT_SANDBOX_KIND_H
#define MS_EXTRACT_SANDBOX_KIND_H

#include "base/json.h"
#include "extract/sandbox/sandbox.h"

struct ms_sandbox {
    const struct ms_sandbox_ops *ops;
    struct ms_http *http;
    struct ms_secret *token; /* borrowed */
    char url[1024];
    char version[64];
    uint32_t request_ms;
    uint32_t stall_ms; /* 0: as base/http has it */
    bool token_refused;
    bool answered; /* ever, to a GET */
};

struct ms_answer;

struct ms_sandbox_ops {
    enum ms_sandbox_kind kind;
    const char *auth_header; /* what stands before the token */
    enum ms_status (*submit)(struct ms_sandbox *, const struct ms_submission *,
                             struct ms_submit_result *, struct ms_error *);
    enum ms_status (*look)(struct ms_sandbox *, const char *, enum ms_task_status *, int64_t *,
                           struct ms_error *);
    enum ms_status (*find)(struct ms_sandbox *, const char *, const char *, char *, bool *,
                           int64_t *, struct ms_error *);
    enum ms_status (*survey)(struct ms_sandbox *, const char *, size_t, struct ms_survey *,
                             int64_t *, struct ms_error *);
    /* NULL: it does not say. */
    enum ms_status (*load)(struct ms_sandbox *, struct ms_sandbox_load *, int64_t *,
                           struct ms_error *);
    const char *report_before, *report_after; /* the report's path, around the task id */
    /* What a 200 in place of a report means; NULL: always the report. */
    enum ms_fetch_end (*judge_report)(struct ms_answer *, int fd);
};

extern const struct ms_sandbox_ops ms_sandbox_cuckoo;
extern const struct ms_sandbox_ops ms_sandbox_cape;
extern const struct ms_sandbox_ops ms_sandbox_drakvuf;

/* An answer: its status and, when the body is JSON, the document (else NULL). */
struct ms_answer {
    struct ms_http_response http;
    json_t *json;
};
void ms_answer_init(struct ms_answer *self);
void ms_answer_release(struct ms_answer *self);
/* How long a 429 asks to wait: Retry-After, else a minute. */
int64_t ms_answer_wait_ms(const struct ms_answer *self);

/* GET url/path, retried on faults; the body is parsed when the server says it is JSON. A refused
 * token (401) is MS_E_REMOTE. */
enum ms_status ms_sandbox_get(struct ms_sandbox *self, const char *path, struct ms_answer *out,
                              struct ms_error *err) MS_MUST_USE;
/* One POST of the form to url/path, never retried, no redirect followed. The end in *out is
 * AMBIGUOUS and *reached false when no complete answer came, NOT_SENT when no connection stood. */
enum ms_status ms_sandbox_post(struct ms_sandbox *self, const char *path,
                               const struct ms_http_part *parts, size_t part_count,
                               struct ms_answer *answer, struct ms_submit_result *out,
                               bool *reached, struct ms_error *err) MS_MUST_USE;
/* The fields that Cuckoo and its forks share, and the file. route_field: CAPE has a field for the
 * network route, Cuckoo takes it among the options. */
enum ms_status ms_sandbox_post_task(struct ms_sandbox *self, const char *path,
                                    const struct ms_submission *submission, bool route_field,
                                    struct ms_answer *answer, struct ms_submit_result *out,
                                    bool *reached, struct ms_error *err) MS_MUST_USE;
/* A part of the form, left out when value is NULL or empty. */
void ms_part_add(struct ms_http_part *parts, size_t *count, const char *name, const char *value);

/* The error for an answer that is none of the documented ones. */
enum ms_status ms_answer_unexpected(const struct ms_answer *self, const struct ms_sandbox *from,
                                    const char *route, struct ms_error *err);

/* The state word of a task as Cuckoo and its forks write it. */
enum ms_task_status ms_task_status_parse(const char *word);
enum ms_status ms_survey_add(struct ms_survey *self, const char *task_id,
                             enum ms_task_status status, struct ms_error *err) MS_MUST_USE;
/* Adds the tasks of a list whose objects have `id` and `status`; an entry that has not is skipped.
 */
enum ms_status ms_survey_add_list(struct ms_survey *self, const json_t *list,
                                  struct ms_error *err) MS_MUST_USE;
/* `tasks` {pending, running} at this path of an answer. */
void ms_load_from(const json_t *answer, const char *path, struct ms_sandbox_load *out);

/* Copies a positive integer id to text; false otherwise (null, 0, negative, string). */
bool ms_task_id_from(const json_t *value, char out[MS_TASK_ID_BYTES]) MS_MUST_USE;
/* Escapes a server's words into a reason. */
void ms_reason_set(char out[256], const char *prefix, const char *words);

#endif
