/* Counts of what a corpus holds, for malseq status. */
#ifndef MS_STORE_CENSUS_H
#define MS_STORE_CENSUS_H

#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

/* One count: section and name are words of ours or values of the corpus (a policy, a sandbox: not
 * escaped), borrowed for the call. Counts of a section come together, by name. */
typedef enum ms_status (*ms_census_visit)(void *ctx, const char *section, const char *name,
                                          int64_t value, struct ms_error *err);

/* Visits every count: samples, how many of them are stored, labelled under each policy, detonated
 * and traced, and stored but never submitted to a sandbox; origins by state, blobs by outcome,
 * look-ups by state, current labels by policy and verdict, classes of them, analyses by state,
 * processes and calls, models, runs by tool and those never ended, and of each VirusTotal key (its
 * print) the requests used since UTC midnight before now_ms and those allowed a day, where known.
 * Reads what triggers keep up (schemas/014 to 016) and small tables alone: the size of the corpus
 * does not matter. */
enum ms_status ms_census_run(struct ms_corpus *corpus, int64_t now_ms, ms_census_visit visit,
                             void *ctx, struct ms_error *err) MS_MUST_USE;

/* A window of a VirusTotal key's quota, by the ledger and by what the service last said; the larger
 * count rules. */
struct ms_quota_state {
    const char *key_print; /* borrowed for the call */
    const char *window;    /* "day" or "month", in UTC */
    int64_t allowed;       /* -1: the service never said */
    int64_t used;
    int64_t left;      /* -1 where allowed is */
    int64_t resets_ms; /* when the window ends */
    int64_t read_ms;   /* when the service said it; 0 never */
};
typedef enum ms_status (*ms_quota_visit)(void *ctx, const struct ms_quota_state *state,
                                         struct ms_error *err);
/* Day and month of each key that ever asked, by key. */
enum ms_status ms_census_quota(struct ms_corpus *corpus, int64_t now_ms, ms_quota_visit visit,
                               void *ctx, struct ms_error *err) MS_MUST_USE;

/* A kind of work that waits, and since when its oldest piece does. */
struct ms_waiting {
    const char *what; /* static text */
    int64_t count;    /* -1: not counted */
    int64_t since_ms;
};
typedef enum ms_status (*ms_waiting_visit)(void *ctx, const struct ms_waiting *waiting,
                                           struct ms_error *err);
/* Kinds of which nothing waits are left out. */
enum ms_status ms_census_waiting(struct ms_corpus *corpus, int64_t now_ms, ms_waiting_visit visit,
                                 void *ctx, struct ms_error *err) MS_MUST_USE;

#endif
