/* Scans, look-up states, labels and the quota ledger. Writers need an open transaction unless they
 * say otherwise. */
#ifndef MS_STORE_LABEL_H
#define MS_STORE_LABEL_H

#include "base/buf.h"
#include "base/span.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_scan {
    int64_t id, sample;
    const char *source; /* virustotal, import */
    const char *asked;  /* the hash */
    const char *format; /* of the body: vt3 (NULL too), vt2, opswat, simple */
    int64_t fetched_ms; /* when the corpus got it, by look-up or import */
    int64_t last_analysis_ms, first_submission_ms; /* 0 unknown */
    struct ms_span body;                           /* plain JSON; stored as zstd */
};
/* Since when what a scan says is known, which orders scans: the date of its analysis, or that of
 * its fetching where it has none or one after that (which would be the newest for ever). */
int64_t ms_scan_known_ms(const struct ms_scan *scan);
enum ms_status ms_scan_insert(struct ms_corpus *corpus, const struct ms_scan *scan, int64_t run,
                              int64_t *id, struct ms_error *err) MS_MUST_USE;
/* The same for a body that was digested and compressed before, in whatever thread: scan->body is
 * not looked at. */
struct ms_scan_packed {
    uint8_t sha256[32];   /* of the plain body */
    struct ms_span frame; /* of zstd, the plain size in its header */
};
enum ms_status ms_scan_insert_packed(struct ms_corpus *corpus, const struct ms_scan *scan,
                                     const struct ms_scan_packed *packed, int64_t run, int64_t *id,
                                     struct ms_error *err) MS_MUST_USE;
/* Whether there is any scan of any sample. */
enum ms_status ms_scan_any(struct ms_corpus *corpus, bool *any, struct ms_error *err) MS_MUST_USE;
/* The first scan with this body, of this sample (0: of any); *id 0 when there is none. */
enum ms_status ms_scan_find_body(struct ms_corpus *corpus, int64_t sample, const uint8_t sha256[32],
                                 int64_t *id, struct ms_error *err) MS_MUST_USE;
/* Which scan of a sample ms_scan_latest gives for as_of_ms 0; *id 0 when it has none. */
enum ms_status ms_scan_newest(struct ms_corpus *corpus, int64_t sample, int64_t *id,
                              struct ms_error *err) MS_MUST_USE;
/* The newest scan of a sample known at or before as_of_ms (0: any); its plain body is appended to
 * `body`, and out->body is that part of it; format is static text; source and asked are NULL.
 * MS_REJECT when there is none, MS_E_STORE when the stored body is damaged. */
enum ms_status ms_scan_latest(struct ms_corpus *corpus, int64_t sample, int64_t as_of_ms,
                              struct ms_scan *out, struct ms_buf *body,
                              struct ms_error *err) MS_MUST_USE;

struct ms_lookup {
    int64_t sample;
    const char *state;  /* pending labelled not_found invalid error */
    const char *reason; /* may be NULL */
    int64_t tries, asked_ms, due_ms;
    int64_t unchanged; /* answers in a row that brought nothing new */
    int64_t rescan_ms; /* when a new analysis was last asked for, 0 never; only ms_lookup_get sets
                          it, only store/submission writes it */
};
/* Makes a pending row for every sample that has a hash, is not private and has none. */
enum ms_status ms_lookup_enqueue_all(struct ms_corpus *corpus, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_lookup_put(struct ms_corpus *corpus, const struct ms_lookup *lookup,
                             struct ms_error *err) MS_MUST_USE;
/* hash: the sha256, else sha1, else md5 in hexadecimal. */
typedef enum ms_status (*ms_lookup_visit)(void *ctx, const struct ms_lookup *lookup,
                                          const char *hash, struct ms_error *err);
/* Every look-up in order of its sample, whatever its state, private ones left out. Collected before
 * the first visit. */
enum ms_status ms_lookup_foreach(struct ms_corpus *corpus, ms_lookup_visit visit, void *ctx,
                                 struct ms_error *err) MS_MUST_USE;
/* The look-up of one sample; state is static text, reason NULL. *found false when it has none. */
enum ms_status ms_lookup_get(struct ms_corpus *corpus, int64_t sample, bool *found,
                             struct ms_lookup *out, struct ms_error *err) MS_MUST_USE;

/* What is due, by why it is asked, most pressing first within a share of the quota. */
enum ms_due_class {
    MS_DUE_NEW,       /* never asked */
    MS_DUE_RETRY,     /* no usable answer so far, or a new analysis was asked for */
    MS_DUE_UNSETTLED, /* immature, uncertain, or a verdict about to change */
    MS_DUE_MISSED,    /* no engine detects it, and it is younger than 180 days */
    MS_DUE_NAMELESS,  /* malicious without class or family */
    MS_DUE_STABLE,
    MS_DUE_UNKNOWN, /* not found last time */
    MS_DUE_CLASSES
};
enum ms_due_share { MS_SHARE_NEW, MS_SHARE_AGAIN, MS_SHARE_UNKNOWN, MS_DUE_SHARES };

struct ms_due {
    enum ms_due_class class_;
    struct ms_lookup lookup; /* state is static text, reason NULL */
    char hash[65];           /* sha256, else sha1, else md5 in hexadecimal */
};

/* Up to `room` look-ups of a share that are due at now_ms under a policy's labels, in order of
 * class, due time and sample, behind *after (NULL: from the start). Private samples are left out.
 * *count below room: that was all. */
enum ms_status ms_due_pull(struct ms_corpus *corpus, enum ms_due_share share, const char *policy,
                           int64_t now_ms, const struct ms_due *after, struct ms_due *out,
                           size_t room, size_t *count, struct ms_error *err) MS_MUST_USE;
/* How many are due of each class; samples not yet queued count as never asked. */
enum ms_status ms_due_count(struct ms_corpus *corpus, const char *policy, int64_t now_ms,
                            uint64_t counts[MS_DUE_CLASSES], struct ms_error *err) MS_MUST_USE;
/* The share a class belongs to. */
enum ms_due_share ms_due_share_of(enum ms_due_class class_);

/* Counts by state. */
struct ms_lookup_counts {
    uint64_t pending, labelled, not_found, invalid, error;
};
enum ms_status ms_lookup_count(struct ms_corpus *corpus, struct ms_lookup_counts *out,
                               struct ms_error *err) MS_MUST_USE;

/* The scans of a sample known before before_ms (INT64_MAX: all), in the order of ms_scan_known_ms,
 * then imports before look-ups, then by their bodies' digests: an order of what they say, not of
 * how they came. Of several of one analysis the last in this order alone. source and asked are
 * NULL, format is static text. Without bodies, body is empty; with them it is borrowed until visit
 * returns. visit may write other tables. */
typedef enum ms_status (*ms_scan_visit)(void *ctx, const struct ms_scan *scan,
                                        struct ms_error *err);
enum ms_status ms_scan_foreach(struct ms_corpus *corpus, int64_t sample, int64_t before_ms,
                               bool bodies, ms_scan_visit visit, void *ctx,
                               struct ms_error *err) MS_MUST_USE;
/* The samples that can have a label by their answers: those with a scan, and those whose look-up
 * found nothing; in order of their ids, with the look-up's state (labelled where there is none) and
 * the hash as for ms_lookup_foreach. Collected before the first visit. */
enum ms_status ms_lookup_foreach_answered(struct ms_corpus *corpus, ms_lookup_visit visit,
                                          void *ctx, struct ms_error *err) MS_MUST_USE;

struct ms_label {
    int64_t id, sample;
    const char *policy, *verdict;
    const char *class_, *family, *votes_json, *vt_category; /* may be NULL */
    int64_t margin, positives, responding, groups;          /* -1 unknown */
    int64_t as_of_ms, scan;                                 /* 0 none */
    bool has_policy_digest, has_taxonomy;
    uint8_t policy_digest[32], taxonomy[32];
    const char *vt_class;                  /* may be NULL */
    int64_t family_votes, family_verified; /* -1 unknown */
    const char *contested;                 /* what the newest scan says; NULL: the same */
};
/* Keeps a policy's text under its digest (SHA-256 of the text) once. */
enum ms_status ms_policy_put(struct ms_corpus *corpus, const uint8_t digest[32], const char *name,
                             const char *text, int64_t now_ms, struct ms_error *err) MS_MUST_USE;
/* Sets a sample without a label under a policy that had one; *changed says so. */
enum ms_status ms_label_clear(struct ms_corpus *corpus, int64_t sample, const char *policy,
                              bool *changed, struct ms_error *err) MS_MUST_USE;
/* Of the current labels under a policy: how many have a class and a class of VirusTotal's, and how
 * many of these are the same. */
enum ms_status ms_label_agreement(struct ms_corpus *corpus, const char *policy, uint64_t *both,
                                  uint64_t *agree, struct ms_error *err) MS_MUST_USE;
/* Puts the label of a sample that has none yet under the policy, and looks for none: MS_E_STORE
 * when there is one after all. */
enum ms_status ms_label_put_first(struct ms_corpus *corpus, const struct ms_label *label,
                                  int64_t now_ms, int64_t run, struct ms_error *err) MS_MUST_USE;
/* Puts a label; a current one equal in every field (as_of_ms and scan included, id aside) is left
 * alone
 * (*changed false), a different one is superseded. */
enum ms_status ms_label_put(struct ms_corpus *corpus, const struct ms_label *label, int64_t now_ms,
                            int64_t run, bool *changed, struct ms_error *err) MS_MUST_USE;
/* The current label of a sample; texts are copies until ms_label_release. MS_REJECT when there is
 * none. */
enum ms_status ms_label_get(struct ms_corpus *corpus, int64_t sample, const char *policy,
                            struct ms_label *out, struct ms_error *err) MS_MUST_USE;
void ms_label_release(struct ms_label *self);

/* One turn of the verdict on a sample: a scan after which another one holds than before. */
struct ms_flip {
    const char *before, *after; /* verdicts */
    const char *class_;         /* after it; may be NULL */
    int64_t as_of_ms, scan;     /* when that scan was made, as label's */
};
/* Sets the flips of a sample under a policy, in order of time, in place of those there were. */
enum ms_status ms_flips_put(struct ms_corpus *corpus, int64_t sample, const char *policy,
                            const struct ms_flip *flips, size_t count,
                            struct ms_error *err) MS_MUST_USE;

/* The ledger. reserve and settle each commit on their own: call them outside a transaction. */
enum ms_status ms_request_reserve(struct ms_corpus *corpus, const char *key_print,
                                  const char *endpoint, const char *subject, int64_t now_ms,
                                  bool counted, int64_t *id, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_request_settle(struct ms_corpus *corpus, int64_t id, int64_t now_ms, int status,
                                 const char *error_code, bool counted,
                                 struct ms_error *err) MS_MUST_USE;
/* Counted requests of a key sent in [from_ms, to_ms). One sent shortly before from_ms and answered
 * after it, or never, counts too: the service may have booked it on either side. */
enum ms_status ms_request_count(struct ms_corpus *corpus, const char *key_print, int64_t from_ms,
                                int64_t to_ms, uint64_t *count, struct ms_error *err) MS_MUST_USE;
/* All requests of all keys ever booked here: where the plan of the next run goes on. */
enum ms_status ms_request_total(struct ms_corpus *corpus, uint64_t *count,
                                struct ms_error *err) MS_MUST_USE;
/* When the n-th newest (from 1) counted request was answered, or sent when no answer came; 0 when
 * there are fewer. */
enum ms_status ms_request_nth_newest(struct ms_corpus *corpus, const char *key_print, uint64_t n,
                                     int64_t *sent_ms, struct ms_error *err) MS_MUST_USE;

struct ms_quota_window {
    const char *window; /* minute hour day month */
    int64_t allowed, used, read_ms;
};
enum ms_status ms_quota_put(struct ms_corpus *corpus, const char *key_print,
                            const struct ms_quota_window *window, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_quota_get(struct ms_corpus *corpus, const char *key_print, const char *window,
                            bool *found, struct ms_quota_window *out,
                            struct ms_error *err) MS_MUST_USE;

#endif
