/* The tasks and servers of one run in memory; private to the life cycle. */
#ifndef MS_EXTRACT_TASK_LIST_H
#define MS_EXTRACT_TASK_LIST_H

#include "extract/task.h"

struct ms_task {
    int64_t analysis, sample;
    char sha256[65];
    char state[16];
    char task_id[MS_TASK_ID_BYTES];
    char reason[256];
    size_t server;         /* SIZE_MAX: none */
    int64_t failures;      /* analyses that failed; the row's `attempts` */
    int64_t submitted_ms;  /* wall */
    int64_t deadline_ms;   /* wall; 0 none */
    int64_t next_ms;       /* monotonic: not looked at before */
    unsigned sends;        /* in this run */
    unsigned fetches;      /* of its report */
    bool refusal_is_final; /* the server said it has the file */
    bool done;
};

struct ms_task_server {
    int64_t rest_until_ms; /* monotonic */
    unsigned faults;       /* in a row */
    bool given_up;
};

struct ms_task_loop {
    struct ms_corpus *corpus;
    const struct ms_task_options *options;
    struct ms_task_counts *counts;
    struct ms_task *tasks;
    size_t task_count, task_cap;
    struct ms_task_server *servers;
    char settings[512];
    uint8_t settings_digest[32];
    char settings_hex[65];
    struct ms_error last_fault; /* of the server given up last */
};

/* Queues what is new and loads what is queued or in flight at the servers of this run. */
enum ms_status ms_task_loop_init(struct ms_task_loop *self, struct ms_corpus *corpus,
                                 const struct ms_task_options *options,
                                 struct ms_task_counts *counts, struct ms_error *err) MS_MUST_USE;
void ms_task_loop_release(struct ms_task_loop *self);

/* In flight: submitted or being submitted. */
bool ms_task_is_active(const struct ms_task *task);
bool ms_task_loop_can_use(const struct ms_task_loop *self, size_t server);
/* The usable server with the fewest tasks in flight that has room; SIZE_MAX when there is none. */
size_t ms_task_loop_free_server(const struct ms_task_loop *self);
/* How long to sleep until something is due; -1 when all is done. */
int64_t ms_task_loop_wait_ms(const struct ms_task_loop *self);

/* Counts a fault of a server: it rests longer each time and is given up after a few in a row.
 * Statuses other than MS_E_REMOTE pass through. MS_E_REMOTE once no server is left. */
enum ms_status ms_task_loop_note(struct ms_task_loop *self, size_t server, enum ms_status status,
                                 const struct ms_error *fault, struct ms_error *err) MS_MUST_USE;

#endif
