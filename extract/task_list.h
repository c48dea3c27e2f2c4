/* The tasks and servers of one run in memory, and their rows; private to the life cycle. The lock
 * is held by whoever is in any function here; requests and the reading of reports run without it.
 */
#ifndef MS_EXTRACT_TASK_LIST_H
#define MS_EXTRACT_TASK_LIST_H

#include "extract/task.h"

#include <pthread.h>

/* Where a task stands; see the table in extract/task_list.c. */
enum ms_task_phase {
    MS_PHASE_QUEUED,     /* here */
    MS_PHASE_SUBMITTING, /* it may or may not be at the server: only the server can say */
    MS_PHASE_PENDING,
    MS_PHASE_RUNNING,
    MS_PHASE_COMPLETED,
    MS_PHASE_REPORTED,
    MS_PHASE_ENDED
};

struct ms_task {
    int64_t analysis, sample;
    enum ms_task_phase phase;
    char sha256[65];
    char task_id[MS_TASK_ID_BYTES];
    char reason[256];
    size_t server;         /* SIZE_MAX: none */
    int64_t failures;      /* analyses that failed; the row's `attempts` */
    int64_t submitted_ms;  /* wall */
    int64_t late_ms;       /* monotonic: the end of its time in this phase; 0 none */
    int64_t next_ms;       /* monotonic: not looked at before */
    int64_t unknown_ms;    /* monotonic: since then the server does not know it; 0: it does */
    unsigned sends;        /* in this run */
    int64_t refused_at;    /* counts->submitted when first no server took it; -1: never yet */
    unsigned fetches;      /* of its report */
    bool refusal_is_final; /* the server said it has the file */
    bool has_bad_report;   /* one came, and could not be read */
    size_t shunned; /* the server where it failed last, which others go before; SIZE_MAX none */
};

struct ms_task_server {
    struct ms_task_loop *loop;
    size_t index;
    struct ms_sandbox *sandbox;
    pthread_t thread;
    bool started;
    size_t *active; /* indexes of its tasks in flight */
    size_t active_count, cursor;
    uint64_t in_flight;
    int64_t rest_until_ms; /* monotonic */
    int64_t load_next_ms, survey_next_ms;
    int64_t pending; /* tasks of anybody that wait there */
    unsigned faults; /* in a row */
    unsigned survey_faults;
    unsigned refusals;       /* files in a row of which it gave no task id */
    int64_t submit_after_ms; /* monotonic: the next file */
    char refusal[256];       /* the last, escaped */
    bool ill;                /* too many faults in a row: asked again now and then */
    bool no_load;            /* it does not say how busy it is */
    bool surveys_whole;      /* its surveys show all that has not ended */
    struct ms_survey survey;
    struct ms_error fault; /* the last */
    struct ms_task_share share;
};

struct ms_task_loop {
    pthread_mutex_t lock;
    struct ms_corpus *corpus;
    const struct ms_task_options *options;
    struct ms_task_counts *counts;
    struct ms_task *tasks;
    size_t task_count, task_cap, undone;
    size_t *queue; /* a ring of task_count */
    size_t queue_head, queue_count;
    struct ms_task_server *servers;
    char settings[512];
    uint8_t settings_digest[32];
    char settings_hex[65];
    char boot[40];        /* "" unknown */
    uint8_t (*loose)[32]; /* reports that may have been replaced */
    size_t loose_count, loose_cap;
    bool stop;             /* to the threads */
    enum ms_status status; /* of the thread that stopped the run */
    struct ms_error error;
};

/* Queues what is new and loads what is queued or in flight at the servers of this run. */
enum ms_status ms_task_loop_init(struct ms_task_loop *self, struct ms_corpus *corpus,
                                 const struct ms_task_options *options,
                                 struct ms_task_counts *counts, struct ms_error *err) MS_MUST_USE;
void ms_task_loop_release(struct ms_task_loop *self);

/* Can it do anything soon, or was it set aside (ill, or asks to wait for long)? */
bool ms_task_server_is_well(const struct ms_task_server *server);
/* Is it well, and does it take files? One that takes none of several in a row, whatever else it
 * answers, is given one now and then while the run goes on. */
bool ms_task_server_takes(const struct ms_task_server *server);

const char *ms_task_phase_name(enum ms_task_phase phase);
int64_t ms_task_phase_limit_ms(const struct ms_task_options *options, enum ms_task_phase phase);

/* Takes the next queued task to a server; NULL when there is none for it: one that failed there
 * waits for another server that takes files. */
struct ms_task *ms_task_take(struct ms_task_loop *self, struct ms_task_server *server);
/* Takes a task away from its server. */
void ms_task_leave(struct ms_task_loop *self, struct ms_task *task);

/* Writes the task's phase to its row, in a transaction of its own unless one is open. package and
 * reason may be NULL. */
enum ms_status ms_task_enter(struct ms_task_loop *self, struct ms_task *task,
                             enum ms_task_phase phase, const char *package, const char *reason,
                             struct ms_error *err) MS_MUST_USE;
/* Back into the queue: at its end, or (nothing was sent) at its head. */
enum ms_status ms_task_requeue(struct ms_task_loop *self, struct ms_task *task, bool at_head,
                               const char *reason, struct ms_error *err) MS_MUST_USE;
/* The task ends in a state; or its row says so already, when `written`. */
enum ms_status ms_task_finish(struct ms_task_loop *self, struct ms_task *task, const char *state,
                              const char *reason, bool written, struct ms_error *err) MS_MUST_USE;
/* One analysis of the sample failed: another one, or the end. */
enum ms_status ms_task_fail(struct ms_task_loop *self, struct ms_task *task, const char *state,
                            const char *reason, struct ms_error *err) MS_MUST_USE;
/* The key by which the server's task is found: of sample, settings and the number of the attempt,
 * so that an old task is not taken for the new one. */
void ms_task_key(const struct ms_task_loop *self, const struct ms_task *task, char out[32]);
/* Remembers the report that a task's row has, before another one takes its place. */
enum ms_status ms_task_note_report(struct ms_task_loop *self, const struct ms_task *task,
                                   struct ms_error *err) MS_MUST_USE;
/* Removes the reports that were replaced and that nothing refers to. With no thread running. */
enum ms_status ms_task_loop_tidy(struct ms_task_loop *self, struct ms_error *err) MS_MUST_USE;

#endif
