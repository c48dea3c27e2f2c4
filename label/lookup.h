/* One hash at a time: quota, request, answer, label, each committed before the next. */
#ifndef MS_LABEL_LOOKUP_H
#define MS_LABEL_LOOKUP_H

#include "label/derive.h"
#include "label/quota.h"
#include "label/virustotal.h"

/* What all look-ups of a run share; filled by label/session. */
struct ms_asker {
    struct ms_corpus *corpus;
    struct ms_worker *worker;
    const struct ms_policy *policy;
    struct ms_deriver *deriver; /* its run is set to this one's */
    struct ms_vt *vt;
    struct ms_quota quota;
    struct ms_rng rng; /* of the waits between tries */
    int64_t run;
    unsigned failures;      /* hashes in a row that got no usable answer */
    uint64_t requests;      /* sent */
    uint64_t merged;        /* samples that turned out to be one with another */
    int64_t waiting_for_ms; /* the window that is being waited for; 0: none yet */
    bool named;             /* the account is: its silence about the quota is worth a word */
    bool untold;            /* the service forbids to ask for the account's quota */
    const char *done;       /* set when the run's own bound is reached: why; nothing was asked */
};

/* One request, whatever it is: how it is booked, sent and looked at. */
struct ms_call {
    const char *endpoint, *subject; /* as the ledger shall name it; subject may be NULL */
    const char *step_reserved, *step_answered; /* for base/step */
    unsigned tries; /* sendings until a transient fault is final; 0: as ms_asker_ask says */
    enum ms_status (*send)(void *ctx, struct ms_vt_answer *answer, struct ms_error *err);
    /* Takes a FOUND answer; may turn it into a TRANSIENT one. NULL: any will do. */
    enum ms_status (*take)(void *ctx, struct ms_vt_answer *answer, struct ms_error *err);
    void *ctx;
};

/* The state of one hash after it was dealt with. */
struct ms_asked {
    const char *state; /* as in the lookup table */
    char reason[256];  /* "" when there is none */
    int64_t due_ms;
    int64_t sample; /* the one the answer is kept for: another than asked when the two were one file
                     */
    bool changed;   /* the label is new or another one than before */
    bool again;     /* shown before, or not asked in this run: not to be counted */
};

/* True for the digests of no bytes at all: a well-known object there, never anybody's sample. */
bool ms_is_empty_file(const char *hash);

/* Asks about one hash and stores what comes: the answer, the hashes it gives the sample, and, where
 * another row turns out to be the same file, one sample of the two: found, not found, invalid, or,
 * after five tries (three when no answer came), an error that falls due again in an hour, doubling
 * to a day. What was charged and is no use (200 with a body that is no report of this file, or a
 * part of one; 4xx that are none of the table of error codes) is tried twice, or once where the
 * service itself declined, and falls due in a day, doubling to sixteen.
 * MS_E_LATER when the quota is spent (resume_at_ms says until when), MS_E_REMOTE when the
 * key is refused or the service fails for three hashes in a row, MS_E_STORE. Where base/stop
 * watches, a signal is MS_E_LATER before the next request. Steps:
 * label.lookup.reserved, .answered, .judged, .stored. */
enum ms_status ms_asker_ask(struct ms_asker *self, const struct ms_lookup *lookup, const char *hash,
                            struct ms_asked *out, struct ms_error *err) MS_MUST_USE;

/* The way of every request that costs quota: waits for a slot, reserves, sends, settles; after a
 * 429 finds out which window it was and waits or ends; after a transient fault backs off and sends
 * again, call->tries times at most, and only while the run's own bounds allow it. MS_OK with any
 * outcome but REFUSED; TRANSIENT: given up. When self->done is set nothing was sent and *answer is
 * not set. MS_E_LATER as for ms_asker_ask. */
enum ms_status ms_asker_call(struct ms_asker *self, const struct ms_call *call,
                             struct ms_vt_answer *answer, struct ms_error *err) MS_MUST_USE;
/* Stores what an answer means that is neither a report nor worth another try: not_found, invalid or
 * pending; MS_E_REMOTE for a key that is refused. */
enum ms_status ms_asker_end(struct ms_asker *self, const struct ms_lookup *before,
                            const struct ms_vt_answer *answer, struct ms_asked *out,
                            struct ms_error *err) MS_MUST_USE;
/* Counts a subject that was given up: MS_E_REMOTE when it is the third in a row, else MS_OK. */
enum ms_status ms_asker_failed(struct ms_asker *self, const struct ms_vt_answer *answer,
                               struct ms_error *err) MS_MUST_USE;
/* MS_E_REMOTE with the text for a key that is wrong, or that may not do `what` ("look files up").
 */
enum ms_status ms_asker_barred(const struct ms_vt_answer *answer, const char *what,
                               struct ms_error *err) MS_MUST_USE;

/* Reads the account's quota from the service, if it will say, and tells the ledger. */
enum ms_status ms_asker_read_quota(struct ms_asker *self, struct ms_error *err) MS_MUST_USE;

#endif
