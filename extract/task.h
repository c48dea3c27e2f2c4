/* The life of a detonation: queue, submit, follow, fetch, store, at several servers at once. Every
 * change of state is committed before the next step, so that a run killed anywhere goes on where it
 * was and never sends a sample twice. */
#ifndef MS_EXTRACT_TASK_H
#define MS_EXTRACT_TASK_H

#include "extract/sandbox/sandbox.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads the report in fd (position 0, as the server sent it; `kind`: which server, for an empty log
 * of DRAKVUF is a program that called nothing). Called from the threads of several
 * servers at once; nothing of the corpus' database may be touched. What *read points at goes to
 * ms_task_store. */
typedef enum ms_status (*ms_task_read)(void *ctx, enum ms_sandbox_kind kind, int fd, void **read,
                                       struct ms_error *err);
/* Puts what was read into the analysis with this id: rows and final state. Takes `read`. MS_OK with
 * *state set ("ok", "no_calls", "report_invalid", …; static text) whatever the report was like;
 * anything else stops the run. One call at a time; no transaction is open. */
typedef enum ms_status (*ms_task_store)(void *ctx, void *read, int64_t analysis, const char **state,
                                        struct ms_error *err);

typedef void (*ms_task_drop)(void *ctx, void *read); /* instead of storing it */

/* A sample has reached its end. Borrowed for the call; one call at a time. */
struct ms_task_end {
    int64_t analysis;
    const char *sha256; /* hexadecimal */
    const char *server;
    const char *task_id; /* "" when it was never accepted */
    const char *state;
    const char *reason; /* "" when all went well */
};
typedef enum ms_status (*ms_task_visit)(void *ctx, const struct ms_task_end *end,
                                        struct ms_error *err);

struct ms_task_at {
    struct ms_sandbox *sandbox; /* open; borrowed; used by one thread alone while tasks run */
    uint64_t in_flight;         /* tasks it holds at once */
};

struct ms_task_options {
    const struct ms_task_at *servers;
    size_t server_count;
    const char *package; /* NULL: by PE kind */
    const char *route;   /* "none" unless the user says otherwise; NULL: the server's default */
    const char *machine; /* may be NULL */
    const char *tags;    /* may be NULL */
    uint32_t timeout_s;  /* of the analysis; 0: the server's default */
    int64_t
        max_pending;    /* a server where so many tasks of anybody wait gets no more; 0: no limit */
    int64_t poll_ms;    /* between two looks at one task */
    int64_t queue_ms;   /* deadlines: pending on the server … */
    int64_t run_ms;     /* … running … */
    int64_t process_ms; /* … completed, report outstanding; reported, report not to be had */
    int64_t grace_ms;   /* how long a task may stay unknown to the server */
    unsigned attempts;  /* analyses of one sample that may fail */
    ms_task_read read;
    ms_task_store store;
    ms_task_drop drop;
    ms_task_visit on_end;
    void *ctx; /* of the callbacks */
    int64_t run;
};

/* What became of the tasks given to one server, in this run. */
struct ms_task_share {
    uint64_t submitted, ok, ended, requests, faults;
};
struct ms_task_counts {
    uint64_t queued;    /* waiting here when the run began, new ones included */
    uint64_t resumed;   /* in flight from an earlier run */
    uint64_t submitted; /* accepted by a server in this run */
    uint64_t ok;
    uint64_t ended;  /* with another state */
    uint64_t left;   /* not ended: queued or in flight */
    int64_t took_ms; /* by the monotonic clock */
    struct ms_task_share
        *shares; /* one a server, in their order; the caller's array; may be NULL */
};

/* The canonical text of the settings that make two submissions the same, and its SHA-256. */
enum ms_status ms_task_settings(const struct ms_task_options *options, char text[512],
                                uint8_t digest[32], struct ms_error *err) MS_MUST_USE;
/* Is it such a text, and not what other rows have for their settings (NULL: no)? */
bool ms_task_is_settings(const char *text);

/* Queues every sample of the vault that is not private and was not submitted with these settings,
 * and sees all of them to their ends, with a thread a server. MS_OK also when a signal asked for an
 * end (base/stop): see counts->left. MS_E_REMOTE when no server can be used any more, or one with
 * tasks in flight cannot; MS_E_LATER when they ask to wait for long, or take none of the
 * files: the tasks stay in the corpus and are taken up by the next run. */
enum ms_status ms_tasks_run(struct ms_corpus *corpus, const struct ms_task_options *options,
                            struct ms_task_counts *counts, struct ms_error *err) MS_MUST_USE;

/* What ms_tasks_run would find: samples not yet queued, and rows queued or in flight. Reads only.
 */
enum ms_status ms_tasks_count(struct ms_corpus *corpus, const struct ms_task_options *options,
                              uint64_t *fresh, uint64_t *active, struct ms_error *err) MS_MUST_USE;

#endif
