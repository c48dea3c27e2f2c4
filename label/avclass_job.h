/* The confined half of `label avclass`: a stream of reports in, a line each lines in; AVClass's
 * lines out. Prints nothing itself. */
#ifndef MS_LABEL_AVCLASS_JOB_H
#define MS_LABEL_AVCLASS_JOB_H

#include "base/worker.h"
#include "label/avclass_data.h"

/* What the lines say: "HASH\tFAMILY" with a PUP mark and VirusTotal's tags on demand, or with
 * `tags` "HASH\tCOUNT\tPATH|n,PATH|n"; with `json` an object that has it all. */
struct ms_avclass_options {
    bool tags, pup, vtt, json;
    enum ms_hash_kind hash; /* which one stands in front */
    bool filtered;          /* count only the labels of … */
    const struct ms_span *engines;
    size_t engine_count;
};

/* What the job sends. */
enum ms_avclass_frame {
    MS_AVCLASS_TEXT,   /* a piece of the output; lines may go on in the next */
    MS_AVCLASS_REJECT, /* line number (varint), then why no output came of that line */
    MS_AVCLASS_COUNTS  /* reports, and those of them that were rejected (varints); the last frame */
};

extern const struct ms_worker_kind ms_avclass_kind;

/* The job's argument: options and rules. */
enum ms_status ms_avclass_job_pack(const struct ms_avclass_options *options,
                                   const struct ms_avclass_rules *rules, struct ms_buf *out,
                                   struct ms_error *err) MS_MUST_USE;

#endif
