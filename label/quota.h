/* The quota of a VirusTotal key: a ledger in the corpus, reserved before each request and settled
 * after, and the advice when the next one may go. Sends nothing and never sleeps. */
#ifndef MS_LABEL_QUOTA_H
#define MS_LABEL_QUOTA_H

#include "base/rng.h"
#include "store/label.h"

#include <stdbool.h>
#include <stdint.h>

enum { MS_QUOTA_RECENT = 64, MS_QUOTA_UNSENT = -1 };

/* What the service says of an account; -1 where it says nothing. */
struct ms_quota_told {
    int64_t hour_allowed, hour_used;
    int64_t day_allowed, day_used;
    int64_t month_allowed, month_used;
};

struct ms_quota_options {
    uint64_t budget;  /* requests this run may send; UINT64_MAX: no bound */
    int64_t until_ms; /* UTC; no request after it; 0: no bound */
    uint64_t seed;    /* of the jitter */
};

enum ms_quota_word {
    MS_QUOTA_GO,
    MS_QUOTA_WAIT, /* for wait_ms, then ask again; resume_at_ms: until when in all, 0 not said */
    MS_QUOTA_READ, /* read the service's count (ms_quota_tell, or ms_quota_tried), then ask again */
    MS_QUOTA_DONE, /* the run's own budget or end time is reached */
    MS_QUOTA_SPENT, /* the account's quota is spent until resume_at_ms */
    MS_QUOTA_BARRED /* the account may send nothing at all: a limit of 0 */
};

struct ms_quota_advice {
    enum ms_quota_word word;
    int64_t wait_ms;
    int64_t resume_at_ms;
    const char *why; /* static text: "the daily quota is spent" */
};

/* Windows: the minute slides (60 s), day and month are UTC's. All limits are the account's. Where
 * the service names some of them, one it does not name is no limit; until it has named any, those
 * of a public key hold: 4 a minute, 500 a day, 15500 a month. It names an hourly limit and none per
 * minute: a sixtieth of it, at least 1, is taken.
 *
 * The service's count is read again when it is an hour old, when a UTC day or a step of the clock
 * lies between, and before a window is held to be spent because of it. In the first quarter of an
 * hour of a day a count that says "spent" may still be yesterday's, the clocks differing: it is
 * waited out, not believed. */
struct ms_quota {
    struct ms_corpus *corpus;
    char key_print[9];
    bool read_only; /* the corpus is open for reading: what the service says is not stored */
    struct ms_quota_options options;
    int64_t minute, hour, day, month; /* allowed; -1: no limit */
    int64_t hour_used, day_used, month_used;
    int64_t read_ms;                 /* when the service last answered; 0: never */
    int64_t tried_ms, tried_mono_ms; /* when it was last asked in this run */
    bool tried;
    unsigned halved;                     /* how often the rate was halved after refusals */
    unsigned clean;                      /* answers since the last refusal, while it is halved */
    unsigned refused;                    /* 429s in a row */
    int64_t settled_ms[MS_QUOTA_RECENT]; /* monotonic times of this run's last answers, a ring */
    uint64_t settled_count;
    struct ms_quota_count { /* the ledger's count since a moment, kept up with what is booked */
        int64_t start_ms;
        int64_t count;
        bool valid;
    } counts[4]; /* month, day, the service's reading, and one before */
    unsigned next_count;
    int64_t minute_free_ms; /* monotonic: when a wait for the minute is over */
    struct ms_rng rng;
};

/* Starts with what the corpus remembers of the key's limits. key_print: ms_secret_fingerprint. */
enum ms_status ms_quota_open(struct ms_quota *self, struct ms_corpus *corpus, const char *key_print,
                             const struct ms_quota_options *options,
                             struct ms_error *err) MS_MUST_USE;

/* Takes over and stores what the service says now; asked at the start, after each 429 and when
 * ms_quota_advise says so, because other programs may spend the same key. */
enum ms_status ms_quota_tell(struct ms_quota *self, const struct ms_quota_told *told,
                             struct ms_error *err) MS_MUST_USE;

/* The service was asked for its count and did not say: it is not asked again at once. */
void ms_quota_tried(struct ms_quota *self);

/* Why the run's own bounds (budget, end time) allow no request after wait_ms; NULL when they do. */
const char *ms_quota_bound(const struct ms_quota *self, int64_t wait_ms);

/* May a request go now? Used is what the ledger or the service counts, whichever is more. Steps of
 * the wall clock do not stall it: spacing within a run is by the monotonic clock.
 * With an end time, a day or month that is over before it is waited for (WAIT), not reported. */
enum ms_status ms_quota_advise(struct ms_quota *self, struct ms_quota_advice *out,
                               struct ms_error *err) MS_MUST_USE;

/* Books a request; committed when this returns. A crash later can only over-count. */
enum ms_status ms_quota_reserve(struct ms_quota *self, const char *endpoint, const char *subject,
                                int64_t *id, struct ms_error *err) MS_MUST_USE;
/* status 0: no answer came; MS_QUOTA_UNSENT: nothing went out, and nothing is charged. code may be
 * NULL. A request that was refused (401, 429) is not charged, neither to the account nor to the
 * run's budget; everything else is, 403, 404 and no answer included. */
enum ms_status ms_quota_settle(struct ms_quota *self, int64_t id, int status, const char *code,
                               struct ms_error *err) MS_MUST_USE;

/* What to do after a 429, ms_quota_tell done: a window that is spent, a wait for the minute, or,
 * when there is quota left and still a refusal, half the rate (until eight answers came without
 * one) and a growing wait (a minute at least, full jitter, 15 s doubling to 10 min); the eighth
 * refusal in a row ends the run, the third where the service never tells its count. retry_after_ms:
 * -1 when the answer gave none. */
enum ms_status ms_quota_refused(struct ms_quota *self, int64_t retry_after_ms,
                                struct ms_quota_advice *out, struct ms_error *err) MS_MUST_USE;

/* Requests used of the last minute and hour, as the service counts the hour where it was read
 * within it. */
enum ms_status ms_quota_used_lately(struct ms_quota *self, int64_t *minute, int64_t *hour,
                                    struct ms_error *err) MS_MUST_USE;
/* Requests used of the UTC day and month so far. */
enum ms_status ms_quota_used(struct ms_quota *self, int64_t *day, int64_t *month,
                             struct ms_error *err) MS_MUST_USE;

#endif
