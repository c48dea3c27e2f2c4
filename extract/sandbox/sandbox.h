/* A sandbox server as the task life cycle sees it: submit, look, survey, find by hash, fetch. One
 * implementation a kind of server; knows nothing of the corpus and repeats no submission. */
#ifndef MS_EXTRACT_SANDBOX_SANDBOX_H
#define MS_EXTRACT_SANDBOX_SANDBOX_H

#include "base/http.h"
#include "base/secret.h"

#include <stdbool.h>
#include <stdint.h>

enum ms_sandbox_kind { MS_SANDBOX_AUTO, MS_SANDBOX_CUCKOO, MS_SANDBOX_CAPE, MS_SANDBOX_DRAKVUF };

/* "auto", "cuckoo", "cape", "drakvuf"; of another word AUTO. */
const char *ms_sandbox_kind_name(enum ms_sandbox_kind kind);
enum ms_sandbox_kind ms_sandbox_kind_of(const char *word);

enum { MS_TASK_ID_BYTES = 64 }; /* a decimal number, or DRAKVUF's UUID */

/* Where a task stands. UNKNOWN: the server does not know the id (yet), or was too busy to say.
 * OTHER: a word of another fork. */
enum ms_task_status {
    MS_TASK_UNKNOWN,
    MS_TASK_PENDING,
    MS_TASK_RUNNING,
    MS_TASK_COMPLETED, /* the machine is done, the report is not: do not fetch */
    MS_TASK_REPORTED,
    MS_TASK_RECOVERED, /* rescheduled under another id */
    MS_TASK_FAILED_ANALYSIS,
    MS_TASK_FAILED_PROCESSING,
    MS_TASK_FAILED_REPORTING, /* CAPE: a report may exist all the same */
    MS_TASK_OTHER
};

struct ms_submission {
    int fd; /* the sample's plain bytes, read from offset 0 */
    uint64_t bytes;
    const char *suffix;  /* "exe": what Windows needs to start it */
    const char *sha256;  /* lower-case hexadecimal */
    const char *package; /* NULL: the server decides */
    const char *route;   /* NULL: the server's default */
    const char *machine; /* NULL: any */
    const char *tags;    /* comma-separated; NULL: none */
    const char *job_key; /* 24 hexadecimal digits; comes back with the task, by which it is found */
    const char *owner;   /* of all tasks of this corpus: Cuckoo lists them by it; NULL: none */
    uint32_t timeout_s;  /* 0: the server's default */
};

enum ms_submit_end {
    MS_SUBMIT_OK,        /* task_id is set */
    MS_SUBMIT_REFUSED,   /* the server will never take this file as it is; reason says why */
    MS_SUBMIT_DUPLICATE, /* it has the file already and gave no id: find it by hash */
    MS_SUBMIT_AMBIGUOUS, /* it may have taken it: find it by hash before anything is sent again */
    MS_SUBMIT_LATER,     /* throttled, nothing was taken; after wait_ms */
    MS_SUBMIT_NOT_SENT   /* no connection stood: the server cannot have taken it */
};

struct ms_submit_result {
    enum ms_submit_end end;
    char task_id[MS_TASK_ID_BYTES];
    bool unanswered; /* AMBIGUOUS because no complete answer came */
    int64_t wait_ms;
    char reason[256]; /* escaped */
};

enum ms_fetch_end {
    MS_FETCH_OK,
    MS_FETCH_NOT_READY, /* look again later */
    MS_FETCH_MISSING,   /* the server has no report for this task */
    MS_FETCH_LATER      /* throttled */
};

/* One look at many tasks. */
struct ms_survey_task {
    char task_id[MS_TASK_ID_BYTES];
    enum ms_task_status status;
};
struct ms_survey {
    struct ms_survey_task *tasks;
    size_t count, cap;
    bool whole; /* every task of the owner that has not ended is in it */
};
void ms_survey_release(struct ms_survey *self);

/* How much a server has to do, tasks of others included. */
struct ms_sandbox_load {
    bool known; /* CAPE has the route switched off as it comes; DRAKVUF has none */
    int64_t pending;
    int64_t running;
};

struct ms_sandbox;

struct ms_sandbox_options {
    const char *url; /* as the user typed it */
    enum ms_sandbox_kind kind;
    struct ms_secret *token; /* may be NULL; borrowed; gets bound to url */
    uint64_t seed;           /* of the retry jitter */
    unsigned max_attempts;   /* of one idempotent request; 0: 2, since the life cycle tries again by
                                itself */
    uint32_t request_ms;     /* a server that accepts and does not answer is given up after this; 0:
                                two minutes */
};

/* Opens a handle and asks the server who it is (Cuckoo: /cuckoo/status; CAPE: /cuckoo/status/,
 * which may be switched off and then says so; DRAKVUF: /api/list). MS_E_REMOTE when nobody answers,
 * when the token is refused, or when it is none of them; MS_E_LATER when it throttles us. A token
 * over plain http to another host than loopback earns a warning. */
enum ms_status ms_sandbox_open(const struct ms_sandbox_options *options, struct ms_sandbox **out,
                               struct ms_error *err) MS_MUST_USE;
void ms_sandbox_close(struct ms_sandbox *self);
enum ms_sandbox_kind ms_sandbox_kind_get(const struct ms_sandbox *self);
const char *ms_sandbox_url(const struct ms_sandbox *self);     /* without trailing slash */
const char *ms_sandbox_version(const struct ms_sandbox *self); /* "2.0.7", or "" */
/* The server answered 401: asking again is no use. */
bool ms_sandbox_token_refused(const struct ms_sandbox *self);

/* All below: MS_OK with the answer in the out arguments; MS_E_REMOTE when the server cannot be used
 * now (down after all attempts, token refused, undocumented answer). wait_ms > 0: throttled, ask
 * again after that time. */

/* Sends the file once. */
enum ms_status ms_sandbox_submit(struct ms_sandbox *self, const struct ms_submission *submission,
                                 struct ms_submit_result *out, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_sandbox_look(struct ms_sandbox *self, const char *task_id,
                               enum ms_task_status *out, int64_t *wait_ms,
                               struct ms_error *err) MS_MUST_USE;
/* The newest task for this file that was sent with job_key; task_id "" when there is none. *certain
 * false: the server shows its latest tasks alone, and the one asked for may be older. wait_ms > 0:
 * throttled, nothing is known. sha256: lower-case hexadecimal. */
enum ms_status ms_sandbox_find(struct ms_sandbox *self, const char *sha256, const char *job_key,
                               char task_id[MS_TASK_ID_BYTES], bool *certain, int64_t *wait_ms,
                               struct ms_error *err) MS_MUST_USE;
/* Where many tasks stand, in a few requests however many there are: Cuckoo's lists of those
 * pending, running and completed of an owner (whole, unless more than `expected` are there), the 50
 * of CAPE's and the 100 of DRAKVUF's that it shows. The survey is emptied first. */
enum ms_status ms_sandbox_survey(struct ms_sandbox *self, const char *owner, size_t expected,
                                 struct ms_survey *out, int64_t *wait_ms,
                                 struct ms_error *err) MS_MUST_USE;
enum ms_status ms_sandbox_load(struct ms_sandbox *self, struct ms_sandbox_load *out,
                               int64_t *wait_ms, struct ms_error *err) MS_MUST_USE;
/* Writes the report (JSON; DRAKVUF: the lines of its apimon log) to fd; at most max_bytes
 * (MS_E_LIMIT beyond). */
enum ms_status ms_sandbox_fetch(struct ms_sandbox *self, const char *task_id, int fd,
                                uint64_t max_bytes, enum ms_fetch_end *out, int64_t *wait_ms,
                                struct ms_error *err) MS_MUST_USE;

#endif
