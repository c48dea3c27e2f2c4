/* What the runs of label share: label/run.c asks the service, label/review.c works on stored
 * answers. Nobody outside label includes it. */
#ifndef MS_LABEL_SESSION_PRIVATE_H
#define MS_LABEL_SESSION_PRIVATE_H

#include "label/hashes.h"
#include "label/lookup.h"
#include "label/session.h"
#include "label/show.h"

/* One run. */
struct ms_session {
    struct ms_cli *cli;
    const struct ms_label_options *options;
    const struct ms_policy *policy;
    struct ms_deriver deriver;
    struct ms_corpus *corpus;
    struct ms_worker *worker;
    struct ms_secret *secret;
    struct ms_vt *vt;
    struct ms_asker asker;
    int64_t run;
    struct ms_hashes hashes; /* of --hashes; empty without the option */
    int key_fd;              /* the key's lock, when key_locked */
    bool key_locked;
    uint64_t asked, rejected, changed;
    uint64_t verdicts[MS_VERDICT_COUNT];
};

/* The policy of --policy and the rules of --avclass-data and --as-of; the corpus is open, the
 * reader started. ms_session_open_service does it for runs that have a policy. */
enum ms_status ms_session_open_deriver(struct ms_session *self, struct ms_error *err) MS_MUST_USE;
/* Today's (or, when that has passed, tomorrow's) HH:MM in UTC, ms; 0 for NULL. MS_E_USAGE. */
enum ms_status ms_session_parse_until(const char *text, int64_t *out,
                                      struct ms_error *err) MS_MUST_USE;
/* Reads --vt-key and wipes it: before anything is forked. MS_E_USAGE without one. */
enum ms_status ms_session_read_key(struct ms_session *self, struct ms_error *err) MS_MUST_USE;
/* The service and the key's ledger; the corpus is open. Sends nothing. */
enum ms_status ms_session_open_service(struct ms_session *self, struct ms_error *err) MS_MUST_USE;
/* Takes the key's lock for the rest of the session: before the first request that costs quota.
 * MS_E_LATER when another run spends the key. After ms_session_open_service. */
enum ms_status ms_session_lock_key(struct ms_session *self, struct ms_error *err) MS_MUST_USE;
/* True when --hashes names the sample, and for all samples without --hashes. */
bool ms_session_is_wanted(const struct ms_session *self, int64_t sample);
/* Starts the confined reader; after the key is read, before connections exist. */
enum ms_status ms_session_start_worker(struct ms_session *self, struct ms_error *err) MS_MUST_USE;
/* Prints a sample's state with its current label, and counts the verdict. */
enum ms_status ms_session_show(struct ms_session *self, int64_t sample, const char *hash,
                               const struct ms_asked *asked, struct ms_error *err) MS_MUST_USE;
/* Says how often our class is VirusTotal's, over all labels of the policy. */
void ms_session_say_agreement(const struct ms_session *self);
/* Ends the run's row. MS_OK becomes MS_REJECT when records were rejected. */
enum ms_status ms_session_end(struct ms_session *self, enum ms_status status,
                              struct ms_error *err) MS_MUST_USE;
/* Closes what is open; a session that was only zeroed too. */
void ms_session_close(struct ms_session *self);

#endif
