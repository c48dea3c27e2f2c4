/* From a stored or fresh answer to a label: the confined reader, the tally, the policy, the row.
 * Asks nobody. */
#ifndef MS_LABEL_DERIVE_H
#define MS_LABEL_DERIVE_H

#include "label/policy.h"
#include "store/label.h"

/* An answer taken apart. */
struct ms_judged {
    struct ms_vt_report report;
    struct ms_tally tally;
    enum ms_verdict verdict;
};

/* Judges a report that was read, and takes it over: on success and failure alike it is no longer
 * the caller's. MS_E_NOMEM only. */
enum ms_status ms_judge_report(const struct ms_policy *policy, struct ms_vt_report *report,
                               struct ms_judged *out, struct ms_error *err) MS_MUST_USE;

/* Reads and judges a body. MS_REJECT when it is no file object. */
enum ms_status ms_judge_body(struct ms_worker *worker, const struct ms_policy *policy,
                             struct ms_span body, struct ms_judged *out,
                             struct ms_error *err) MS_MUST_USE;
void ms_judged_release(struct ms_judged *self);

/* True when the report is about this hash (md5, sha1 or sha256 in lower case). */
bool ms_judged_is_about(const struct ms_judged *self, const char *hash);

/* Writes the label (inside an open transaction). A class is given to malicious samples only; the
 * votes are kept for all. as_of_ms: when the answer was fetched. */
enum ms_status ms_judged_put(const struct ms_judged *self, struct ms_corpus *corpus,
                             const struct ms_policy *policy, int64_t sample, int64_t scan,
                             int64_t as_of_ms, int64_t run, bool *changed,
                             struct ms_error *err) MS_MUST_USE;
enum ms_status ms_not_found_put(struct ms_corpus *corpus, const struct ms_policy *policy,
                                int64_t sample, int64_t as_of_ms, int64_t run, bool *changed,
                                struct ms_error *err) MS_MUST_USE;

#endif
