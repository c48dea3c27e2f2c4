/* The rows of submissions as the life cycle of tasks needs them: queueing, loading, writing a
 * state. What the states mean is extract/task's. Writers need an open transaction. */
#ifndef MS_STORE_TASK_H
#define MS_STORE_TASK_H

#include "base/hash.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

/* A submission: the columns of `analysis` that change while it lives. Texts may be NULL unless
 * said; borrowed. */
struct ms_task_row {
    int64_t id, sample;
    uint8_t sha256[MS_SHA256_BYTES];
    const char *state; /* never NULL */
    const char *reason;
    const char *sandbox; /* kind of the server; NULL when saved: left as it is */
    const char *sandbox_version;
    const char *server;
    const char *task_id;
    const char *package;
    int64_t attempts;
    int64_t submitted_ms;     /* wall clock; 0 none */
    int64_t deadline_ms;      /* wall clock; 0 none */
    int64_t deadline_mono_ms; /* the same by the monotonic clock of … */
    const char *boot;         /* … this boot of the machine; NULL: not known */
    int64_t updated_ms;       /* wall clock, when the row was written */
};

/* Queues every sample of the vault that has no submission under these settings and is not private:
 * not itself, not one of its sightings, not the origin of one. */
enum ms_status ms_task_queue_new(struct ms_corpus *corpus, const char *settings,
                                 const uint8_t settings_digest[32], int64_t now_ms, int64_t run,
                                 uint64_t *count, struct ms_error *err) MS_MUST_USE;
/* How many that would be. */
enum ms_status ms_task_count_new(struct ms_corpus *corpus, const uint8_t settings_digest[32],
                                 uint64_t *count, struct ms_error *err) MS_MUST_USE;

/* The submissions under these settings that have not ended, those at a server first, then by id.
 * The visit must not write to the corpus. */
typedef enum ms_status (*ms_task_row_visit)(void *ctx, const struct ms_task_row *row,
                                            struct ms_error *err);
enum ms_status ms_task_foreach(struct ms_corpus *corpus, const uint8_t settings_digest[32],
                               ms_task_row_visit visit, void *ctx,
                               struct ms_error *err) MS_MUST_USE;

/* Writes the columns above, but sample, sha256 and the package and sandbox where NULL. */
enum ms_status ms_task_save(struct ms_corpus *corpus, const struct ms_task_row *row, int64_t now_ms,
                            struct ms_error *err) MS_MUST_USE;

/* What is to be known of a sample right before it is sent. */
struct ms_task_sample {
    char kind[16]; /* PE kind, "" unknown */
    uint8_t sha256[MS_SHA256_BYTES];
    bool vaulted;
    bool private_; /* as in ms_task_queue_new; it may have become so after it was queued */
};
/* MS_REJECT when the corpus has it no more. */
enum ms_status ms_task_sample_get(struct ms_corpus *corpus, int64_t sample,
                                  struct ms_task_sample *out, struct ms_error *err) MS_MUST_USE;

#endif
