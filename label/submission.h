/* What rescan and upload share: the row they print, and the mending of what a crash left open.
 * Sends nothing. */
#ifndef MS_LABEL_SUBMISSION_H
#define MS_LABEL_SUBMISSION_H

#include "store/submission.h"

/* An analysis takes minutes and each question whether it is done costs a request: the look-up waits
 * this long, and nothing polls. */
#define MS_SUBMISSION_WAIT_MS ((int64_t)600000)
/* No second new analysis or upload of one sample within this time. */
#define MS_SUBMISSION_AGAIN_MS ((int64_t)30 * 86400000)

struct ms_submission_row {
    const char *action; /* "rescan", "upload" */
    const char
        *outcome; /* asked uploaded not_found refused failed skipped would_ask would_upload */
    const char *hash;
    const char *reason; /* may be NULL or "" */
    int64_t bytes;      /* of an upload; -1: not said */
    int64_t due_ms;     /* when it will be looked up; 0: none */
};
enum ms_status ms_submission_show(const struct ms_submission_row *row, bool json,
                                  struct ms_error *err) MS_MUST_USE;

/* The strongest hash of a sample in hexadecimal; false when it has none. */
bool ms_submission_hash(const struct ms_sample *sample, char out[MS_HASH_HEX_MAX]);

/* ms_submission_recover with the times of this tool; says in the log what it found. Inside a
 * transaction. */
enum ms_status ms_submission_mend(struct ms_corpus *corpus, struct ms_error *err) MS_MUST_USE;

#endif
