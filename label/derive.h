/* From stored or fresh answers to a label: the confined reader, the tally, the policy, the row.
 * Asks nobody.
 *
 * A label is a function of the stored scans of its sample in the order of their analyses, the
 * policy, the taxonomy, and the day up to which scans count; what was derived before plays no part.
 * The first scan decides. From then on
 *
 *   held                             a newer scan says       the label
 *   immature, uncertain, not_found   anything                follows at once
 *   malicious, benign, grayware      the same                rests on the newer scan
 *   malicious, benign, grayware      another verdict V       stays, and is contested by V, until
 *                                                            `confirm` scans in a row say V
 *
 * where a scan is another analysis: the same one fetched again is none. (Two thirds of the verdicts
 * that flip do so with new signatures, a seventh without any change: Zhu et al., USENIX Security
 * 2020.) Each scan after which another verdict holds is a flip, and is stored as one (a sample's
 * only scan is none). Without a scan, the look-up's answer that there is none makes the label
 * not_found. */
#ifndef MS_LABEL_DERIVE_H
#define MS_LABEL_DERIVE_H

#include "label/avclass.h"
#include "label/policy.h"
#include "store/label.h"

enum { MS_LABEL_POLICY_BYTES = 64 };

/* By which rules labels are derived, and where they go. For one thread. Judging a report needs no
 * corpus, and only the reading of bodies needs the worker: the caller sets both, and run and dry.
 * Everything is borrowed but families. */
struct ms_deriver {
    struct ms_corpus *corpus;
    struct ms_worker *worker; /* with ms_vtjson_kind */
    int64_t run;
    bool dry; /* derive, but write nothing */
    const struct ms_policy *policy;
    const char *corpus_dir, *avclass_dir; /* as given */
    struct ms_avclass *families;          /* NULL: family words are our own, unverified */
    uint8_t taxonomy[32]; /* digest of word tables, groups, and AVClass's files where used */
    char name[MS_LABEL_POLICY_BYTES]; /* labels go under this: the policy's name, with as_of
                                         NAME@YYYY-MM-DD, beside the others */
    int64_t before_ms;                /* only what was known before: INT64_MAX for everything */
};

/* avclass_dir: folder of AVClass's data files, which must be there; NULL: avclass/ in the corpus's
 * folder, if it is there. as_of: "YYYY-MM-DD", the last day that counts, or NULL. MS_E_USAGE for a
 * bad day, MS_E_INPUT for bad files. Close it in any case. */
enum ms_status ms_deriver_open(struct ms_deriver *self, const struct ms_policy *policy,
                               const char *corpus_dir, const char *avclass_dir, const char *as_of,
                               struct ms_error *err) MS_MUST_USE;
/* The same rules for another thread, without corpus and worker. */
enum ms_status ms_deriver_copy(struct ms_deriver *self, const struct ms_deriver *from,
                               struct ms_error *err) MS_MUST_USE;
void ms_deriver_close(struct ms_deriver *self);

/* What the policy says of one answer, whatever others say. */
struct ms_judged {
    struct ms_vt_report report;
    struct ms_tally tally;
    enum ms_verdict verdict;
    const char *class_;   /* static; NULL: none, or one the policy does not want */
    unsigned class_votes; /* of the class */
    unsigned margin;
    char votes[512]; /* JSON object, class to votes */
};

/* Judges a report that was read, and takes it over: on success and failure alike it is no longer
 * the caller's. MS_E_NOMEM only. */
enum ms_status ms_judge_report(const struct ms_deriver *self, struct ms_vt_report *report,
                               struct ms_judged *out, struct ms_error *err) MS_MUST_USE;

/* Reads and judges a body of any format. MS_REJECT when it is no report. */
enum ms_status ms_judge_body(const struct ms_deriver *self, struct ms_span body,
                             struct ms_judged *out, struct ms_error *err) MS_MUST_USE;
void ms_judged_release(struct ms_judged *self);

/* True when the report is about this hash (md5, sha1 or sha256 in lower case). */
bool ms_judged_is_about(const struct ms_judged *self, const char *hash);

enum { MS_DERIVED_SCANS = 8 };

/* What became of one sample's label. */
struct ms_derived {
    int64_t sample;
    bool unlabelled; /* there was known to be no label before: none was looked for */
    bool changed;    /* the label is new or another one than before */
    bool has;        /* false: nothing is known, there is no label */
    enum ms_verdict verdict;
    bool contested;           /* the newest scan says otherwise: */
    enum ms_verdict newest;   /* this */
    unsigned scans, unusable; /* that count; stored bodies that are no report */
    struct ms_derived_scan {  /* the newest of them, oldest first */
        int64_t known_ms;     /* ms_scan_known_ms */
        enum ms_verdict verdict;
    } history[MS_DERIVED_SCANS];
};

/* Derives the label of a sample after a scan of it was stored and judged. When it is the only one,
 * its judgement is the label; else all are read again. Inside a transaction. */
enum ms_status ms_derive_fresh(const struct ms_deriver *self, int64_t sample,
                               const struct ms_judged *judged, const struct ms_scan *scan,
                               struct ms_derived *out, struct ms_error *err) MS_MUST_USE;

/* Whether a scan is the only one of its sample that counts. */
enum ms_status ms_derive_is_alone(const struct ms_deriver *self, int64_t sample, int64_t scan,
                                  bool *alone, struct ms_error *err) MS_MUST_USE;
/* The same as ms_derive_fresh for a scan that is alone: no other is looked for. unlabelled: there
 * is no label of the sample either. */
enum ms_status ms_derive_first(const struct ms_deriver *self, int64_t sample, bool unlabelled,
                               const struct ms_judged *judged, const struct ms_scan *scan,
                               struct ms_derived *out, struct ms_error *err) MS_MUST_USE;

/* Derives the labels of many samples from what is stored, the bodies read by the confined reader in
 * batches, and calls visit for each in the order of adding. Inside a transaction. Samples may be
 * added one by one; flush does what still waits. held: what the label rests on, borrowed, NULL when
 * it is no scan; its scan without the body. A sample with neither scan nor 404 loses the label it
 * had. */
typedef enum ms_status (*ms_derive_visit)(void *ctx, const struct ms_derived *derived,
                                          const struct ms_judged *held, const struct ms_scan *scan,
                                          struct ms_error *err);
struct ms_derive_queue;
enum ms_status ms_derive_queue_new(const struct ms_deriver *deriver, ms_derive_visit visit,
                                   void *ctx, struct ms_derive_queue **out,
                                   struct ms_error *err) MS_MUST_USE;
void ms_derive_queue_free(struct ms_derive_queue *self);
enum ms_status ms_derive_queue_add(struct ms_derive_queue *self, int64_t sample,
                                   struct ms_error *err) MS_MUST_USE;
enum ms_status ms_derive_queue_flush(struct ms_derive_queue *self,
                                     struct ms_error *err) MS_MUST_USE;

/* A hash that is unknown to the service: not_found, unless scans are stored: these still say what
 * they said, and the label stays as it is. Inside a transaction. */
enum ms_status ms_derive_not_found(const struct ms_deriver *self, int64_t sample, int64_t asked_ms,
                                   struct ms_derived *out, struct ms_error *err) MS_MUST_USE;

#endif
