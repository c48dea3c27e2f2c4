/* The life of a detonation: queue, submit, follow, fetch, store. Every change of state is committed
 * before the next step, so that a run killed anywhere goes on where it was and never sends a sample
 * twice. */
#ifndef MS_EXTRACT_TASK_H
#define MS_EXTRACT_TASK_H

#include "extract/sandbox/sandbox.h"
#include "store/analysis.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads the report in fd (position 0, plain JSON) into the analysis with this id: rows, vault and
 * final state. MS_OK with *state set ("ok", "no_calls", "report_invalid", …; static text) whatever
 * the report was like; anything else stops the run. No transaction is open when it is called. */
typedef enum ms_status (*ms_task_import)(void *ctx, int fd, int64_t analysis, const char **state,
                                         struct ms_error *err);

/* A sample has reached its end. Borrowed for the call. */
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

struct ms_task_options {
    struct ms_sandbox **servers; /* open; borrowed */
    size_t server_count;
    const char *package; /* NULL: by PE kind */
    const char *route;   /* "none" unless the user says otherwise; NULL: the server's default */
    const char *machine; /* may be NULL */
    const char *tags;    /* may be NULL */
    uint32_t timeout_s;  /* of the analysis; 0: the server's default */
    uint64_t in_flight;  /* per server */
    int64_t poll_ms;     /* between two looks at one task */
    int64_t queue_ms;    /* deadlines: pending on the server … */
    int64_t run_ms;      /* … running … */
    int64_t process_ms;  /* … completed, report outstanding */
    int64_t grace_ms;    /* how long a task may stay unknown after it was sent */
    unsigned attempts;   /* analyses of one sample that may fail */
    ms_task_import import;
    ms_task_visit on_end;
    void *ctx; /* of both callbacks */
    int64_t run;
};

struct ms_task_counts {
    uint64_t queued;    /* waiting here when the run began, new ones included */
    uint64_t resumed;   /* in flight from an earlier run */
    uint64_t submitted; /* accepted by a server in this run */
    uint64_t ok;
    uint64_t ended; /* with another state */
};

/* The canonical text of the settings that make two submissions the same, and its SHA-256. */
enum ms_status ms_task_settings(const struct ms_task_options *options, char text[512],
                                uint8_t digest[32], struct ms_error *err) MS_MUST_USE;

/* Queues every sample of the vault that is not private and was not submitted with these settings,
 * and sees all of them to their ends. MS_E_REMOTE when no server can be used any more, or one
 * with tasks in flight cannot: they stay in the corpus and are taken up by the next run. */
enum ms_status ms_tasks_run(struct ms_corpus *corpus, const struct ms_task_options *options,
                            struct ms_task_counts *counts, struct ms_error *err) MS_MUST_USE;

/* What ms_tasks_run would find: samples not yet queued, and rows queued or in flight. Reads only.
 */
enum ms_status ms_tasks_count(struct ms_corpus *corpus, const struct ms_task_options *options,
                              uint64_t *fresh, uint64_t *active, struct ms_error *err) MS_MUST_USE;

#endif
