/* What a model says of one trace, as a verdict. Reads no report, prints nothing. */
#ifndef MS_DETECT_VERDICT_H
#define MS_DETECT_VERDICT_H

#include "base/span.h"
#include "train/model.h"

#include <stdint.h>

enum ms_verdict_kind {
    MS_VERDICT_UNKNOWN,   /* no verdict; see reason */
    MS_VERDICT_MALICIOUS, /* target malware: malware; class=NAME: of that class */
    MS_VERDICT_BENIGN,    /* target malware only */
    MS_VERDICT_OTHER,     /* class=NAME: not of that class, which does not make it benign */
    MS_VERDICT_CLASSIFIED /* target class: which of the classes of malware, given that it is malware
                           */
};
/* "unknown", "malicious", "benign", "other", "classified"; static. */
const char *ms_verdict_name(enum ms_verdict_kind kind);

struct ms_verdict {
    enum ms_verdict_kind kind;
    double score; /* calibrated, of the positive class (mse heads: an unbounded number), else of
                     `class_`; NAN without */
    double sure;  /* what a band of doubt is compared with (ms_doubt_measure); NAN without */
    const char *class_; /* the class decided for; the model's, borrowed; NULL: none */
    uint64_t calls;     /* of the whole trace */
    size_t tokens;      /* that the model was shown */
    char reason[160];   /* for unknown */
};

/* min_calls and threshold: those of the model unless the user said otherwise. trace: by the names
 * and n-grams of table. MS_E_NOMEM and what ms_model_calibrated says; row is scratch, and
 * afterwards holds what the model was shown. Not for two threads on one model. */
enum ms_status ms_verdict_make(struct ms_model *model, const struct ms_gram_table *table,
                               const struct ms_input_trace *trace, uint64_t whole_length,
                               uint64_t min_calls, double threshold, struct ms_input_row *row,
                               struct ms_verdict *out, struct ms_error *err) MS_MUST_USE;

#endif
