/* One antivirus report of any of the formats people keep, as engine rows: VirusTotal v3 (with or
 * without the "data" envelope: feed lines have none), v2, OPSWAT MetaDefender, AVClass's simplified
 * form. Reads bytes in memory and judges nothing. The formats and the order in which they are tried
 * are AVClass 2.8.10's. */
#ifndef MS_LABEL_RECORD_H
#define MS_LABEL_RECORD_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_record_format {
    MS_RECORD_UNKNOWN,
    MS_RECORD_VT3,
    MS_RECORD_VT2,
    MS_RECORD_OPSWAT,
    MS_RECORD_SIMPLE
};

/* Decoded text: any bytes, NUL too. at NULL: absent, or no string. */
struct ms_record_text {
    const char *at;
    size_t len;
};

enum ms_vt_category {
    MS_VT_UNDETECTED,
    MS_VT_HARMLESS,
    MS_VT_SUSPICIOUS,
    MS_VT_MALICIOUS,
    MS_VT_TIMEOUT, /* timeout, confirmed-timeout */
    MS_VT_FAILURE,
    MS_VT_UNSUPPORTED,
    MS_VT_OTHER /* a word we do not know: no answer either way */
};

/* label: what the engine calls it; absent for most that detect nothing. Formats without categories
 * are given one: malicious where the format says detected (v2: "detected", OPSWAT:
 * scan_result_i = 1, simplified: every row), else undetected. */
struct ms_record_engine {
    struct ms_record_text name, label;
    enum ms_vt_category category;
};

/* Everything is optional in practice. Dates are UTC ms, 0 unknown. */
struct ms_record {
    enum ms_record_format format;
    struct ms_record_text sha256, sha1, md5; /* as written */
    int64_t size;                            /* -1 unknown */
    int64_t first_submission_ms, last_analysis_ms;
    struct ms_record_engine *engines; /* in document order */
    size_t engine_count;
    struct ms_record_text *tags; /* VirusTotal's own, v3 */
    size_t tag_count;
    struct ms_record_text category;  /* v3: popular_threat_category with the highest count */
    struct ms_record_text suggested; /* v3: suggested_threat_label */
    bool trusted;                    /* v3: trusted_verdict says goodware, or the file is in NSRL */
};

#endif
