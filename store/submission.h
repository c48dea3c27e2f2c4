/* What may be asked of a scanning service beyond a look-up: samples that want a new analysis, files
 * it has never seen, and what became of requests for either that a crash cut short. Sends nothing;
 * writers need an open transaction. */
#ifndef MS_STORE_SUBMISSION_H
#define MS_STORE_SUBMISSION_H

#include "base/hash.h"
#include "store/label.h"
#include "store/sample.h"

/* The words of the ledger for these requests; the subject is the hash. */
#define MS_ENDPOINT_ANALYSE "analyse"
#define MS_ENDPOINT_UPLOAD_URL "upload_url"
#define MS_ENDPOINT_UPLOAD "upload"

struct ms_rescan_terms {
    const char *policy;
    int64_t submitted_before_ms; /* immature ones first submitted at or before this are of age */
    int64_t analysed_before_ms;  /* uncertain ones last analysed at or before this are due */
    int64_t rescanned_before_ms; /* none for which a new analysis was asked for after this */
};
/* Calls visit for each sample whose current label under the policy is immature (in the order of
 * their last analysis), then for those that are uncertain or contested, as the terms say; only
 * those whose look-up found them, and none that is private. Collected before the first visit. */
enum ms_status ms_rescan_foreach(struct ms_corpus *corpus, const struct ms_rescan_terms *terms,
                                 ms_sample_visit visit, void *ctx,
                                 struct ms_error *err) MS_MUST_USE;

/* A sample in the vault that the service did not know when it was last asked. */
struct ms_upload {
    int64_t sample;
    uint8_t sha256[MS_SHA256_BYTES];
    int64_t size;    /* -1 unknown */
    bool private_;   /* the sample, one of its sightings, or the origin of one */
    bool benign;     /* one of its sightings, or the origin of one, claims it is benign */
    bool sighted;    /* there is a sighting at all */
    bool truncated;  /* its bytes are cut short */
    int64_t sent_ms; /* the last upload the service took or refused for good; 0: none */
    int sent_status; /* … its HTTP status: 200, 409, 400, 413 */
};
/* In order of the samples; collected before the first visit. */
typedef enum ms_status (*ms_upload_visit)(void *ctx, const struct ms_upload *upload,
                                          struct ms_error *err);
enum ms_status ms_upload_foreach(struct ms_corpus *corpus, ms_upload_visit visit, void *ctx,
                                 struct ms_error *err) MS_MUST_USE;

/* Queues a look-up at due_ms because of a new analysis asked for at now_ms. state and reason as in
 * struct ms_lookup; state NULL leaves both alone (a sample without a row becomes pending). */
enum ms_status ms_lookup_expect(struct ms_corpus *corpus, int64_t sample, const char *state,
                                const char *reason, int64_t now_ms, int64_t due_ms,
                                struct ms_error *err) MS_MUST_USE;
/* Changes only the reason of a row that is there. */
enum ms_status ms_lookup_explain(struct ms_corpus *corpus, int64_t sample, const char *reason,
                                 struct ms_error *err) MS_MUST_USE;

/* Requests whose outcome was never written down, a crash having come between: an upload that may
 * have arrived makes its sample pending and due at once, so that it is looked up before it could be
 * uploaded again; a new analysis that may have begun counts as asked for, its look-up due wait_ms
 * after. `since_ms`: older requests are left alone. *count: rows changed. */
enum ms_status ms_submission_recover(struct ms_corpus *corpus, int64_t since_ms, int64_t wait_ms,
                                     uint64_t *count, struct ms_error *err) MS_MUST_USE;

#endif
