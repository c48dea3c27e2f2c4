/* One antivirus report of any of the formats people keep, as engine rows: VirusTotal v3 (with or
 * without the "data" envelope: feed lines have none), v2, OPSWAT MetaDefender, AVClass's simplified
 * form. Reads bytes in memory and judges nothing. The formats and the order in which they are tried
 * are AVClass 2.8.10's; what a document means is what Python's json module makes of it: of members
 * with one name the last counts, at the place of the first; NaN and the infinities are numbers. */
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

/* What stood where a value was looked for. */
enum ms_record_kind {
    MS_RECORD_ABSENT,
    MS_RECORD_OBJECT,
    MS_RECORD_ARRAY,
    MS_RECORD_STRING,
    MS_RECORD_NUMBER,
    MS_RECORD_TRUE,
    MS_RECORD_FALSE,
    MS_RECORD_NULL
};

/* Decoded text: any bytes, NUL too; UTF-8, a lone surrogate being U+FFFD. at NULL: absent, or no
 * string (kind says which). Longer ones are cut at MS_LIMIT_JSON_STRING_BYTES. */
struct ms_record_text {
    const char *at;
    size_t len;
    enum ms_record_kind kind;
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

/* label: what the engine calls it; absent for most that detect nothing. category: v3's own, or
 * malicious where a row without one has a label; v2: malicious where "detected" holds, else
 * undetected; OPSWAT: by scan_result_i (0 undetected; 1, 4, 6 malicious; 2 suspicious; 3, 11
 * failure; others, where no engine looked, unsupported); simplified: malicious with a label, else
 * other. */
struct ms_record_engine {
    struct ms_record_text name, label; /* name: the key, or a pair's first */
    enum ms_vt_category category;
    /* AVClass takes the row: v3 a result that is not null, whatever the category; v2 "detected" is
     * anything that Python holds for true; OPSWAT a threat_found that is not null and scan_result_i
     * 1; simplified every row. */
    bool counts;
    /* The row is no object (simplified: no pair), or lacks a member that AVClass reads of every row
     * (v3 result; v2 detected, and result where that holds; OPSWAT threat_found, and scan_result_i
     * where that is not null). AVClass breaks off here. */
    bool malformed;
};

/* response_code of a report that has none. */
#define MS_RECORD_NO_RESPONSE INT64_MIN

/* Everything is optional in practice. Dates are UTC ms, 0 unknown. */
struct ms_record {
    enum ms_record_format format;
    /* The first member of those without which AVClass passes over a report of this format that is
     * not there (present but null is there); static text, NULL when all are: the hashes, and what
     * `engines` is read from. */
    const char *missing;
    struct ms_record_text sha256, sha1, md5; /* as written */
    struct ms_record_text id, type; /* v3: the object's own; "file" for files; v2: id is what was
                                       asked for ("resource") */
    int64_t size;                   /* -1 unknown */
    int64_t first_submission_ms, last_analysis_ms;
    int64_t response_code; /* v2: 1 found, 0 not found, -2 still queued; neither of these two is
                              benign */
    enum ms_record_kind
        engines_kind; /* of the member they are read from; absent and empty differ */
    struct ms_record_engine *engines; /* in document order */
    size_t engine_count;
    enum ms_record_kind tags_kind;
    struct ms_record_text *tags; /* VirusTotal's own, v3 and v2 */
    size_t tag_count;
    struct ms_record_text category;  /* v3: popular_threat_category with the highest count */
    struct ms_record_text suggested; /* v3: suggested_threat_label */
    bool trusted;                    /* v3: trusted_verdict says goodware, or the file is in NSRL */
};

/* Memory for reading records, used again and again; one a thread. */
struct ms_record_reader;
enum ms_status ms_record_reader_new(struct ms_record_reader **out,
                                    struct ms_error *err) MS_MUST_USE;
void ms_record_reader_free(struct ms_record_reader *self);

/* Reads one report: all of the document, and white space around it. format UNKNOWN: that of the
 * first of v3, v2, OPSWAT, simplified whose needed members are all there, else of the first that it
 * has the beginnings of ("attributes"; "scans" or "response_code"; "scan_results"; "av_labels");
 * otherwise only this one is looked for. *out and its texts are borrowed from the reader and the
 * document until the next call or the end of either. MS_REJECT: "line L, byte B: why" when it is no
 * sound JSON (see ms_record_sound), "no report of a known format: …" when it has none of the
 * beginnings. A document larger than MS_LIMIT_SCAN_BYTES and more engines than
 * MS_LIMIT_RECORD_ENGINES are MS_REJECT too. */
enum ms_status ms_record_read(struct ms_record_reader *self, struct ms_span document,
                              enum ms_record_format format, struct ms_record *out,
                              struct ms_error *err) MS_MUST_USE;

/* After MS_REJECT of the last call: whether the document was sound JSON all the same. */
bool ms_record_sound(const struct ms_record_reader *self);

/* One report of several. element: its bytes in the document. status MS_OK with the record, borrowed
 * until the function returns; or MS_REJECT with the reason, `record` NULL. Any status but MS_OK
 * ends the reading and is what ms_record_each returns. */
typedef enum ms_status (*ms_record_visit)(void *ctx, struct ms_span element, enum ms_status status,
                                          const struct ms_record *record,
                                          const struct ms_error *why, struct ms_error *err);

/* Reads a document that is one report, an array of reports (v2's answer to several resources), or a
 * v3 list ("data" is an array). MS_REJECT when the document is no sound JSON: what stands in front
 * of the fault was visited all the same. An empty array is MS_OK without a visit. */
enum ms_status ms_record_each(struct ms_record_reader *self, struct ms_span document,
                              enum ms_record_format format, ms_record_visit visit, void *ctx,
                              struct ms_error *err) MS_MUST_USE;

/* "vt3", "vt2", "opswat", "simple", "unknown"; static text. */
const char *ms_record_format_name(enum ms_record_format format);

#endif
