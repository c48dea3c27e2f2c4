/* A sandbox report from bytes to trace events: finds the format, reads it, says what became of it.
 * Used in the import's worker and by detect. */
#ifndef MS_EXTRACT_REPORT_READ_H
#define MS_EXTRACT_REPORT_READ_H

#include "base/scan.h"
#include "store/trace/trace.h"

#include <stdint.h>

/* Raised with every change that makes other events, counts or outcomes of the same bytes: what an
 * older reader made is read again by `extract import --from-vault`. */
#define MS_REPORT_READER 1

/* What a report is worth. Kept apart, for what to do next differs: fetch again, submit again, look
 * at the sandbox. */
enum ms_report_state {
    MS_REPORT_OK,
    MS_REPORT_NO_CALLS,    /* processes, but no call by a tracked one (only pseudo-calls, `track:
                              false`, empty lists) */
    MS_REPORT_NO_BEHAVIOR, /* no `behavior`, or nothing about processes in it; no entry points */
    MS_REPORT_INVALID      /* not JSON, cut short, or no report */
};

/* "ok", "no_calls", "no_behavior", "report_invalid". */
const char *ms_report_state_name(enum ms_report_state state);

enum { MS_REPORT_REMARK_BYTES = 320 };

/* What was read, when there was nothing of a report in it. */
enum ms_report_foreign {
    MS_FOREIGN_NO,
    MS_FOREIGN_EMPTY, /* no byte at all */
    MS_FOREIGN_TEXT,  /* neither JSON nor a log */
    MS_FOREIGN_JSON   /* whole JSON, of something else */
};

struct ms_report_result {
    enum ms_report_state state;
    uint64_t line, byte; /* INVALID: where (line from 1, byte from 0 of the plain text); line 0: the
                            fault is the source's */
    uint64_t processes;
    uint64_t calls;                      /* entries, pseudo-calls included */
    uint64_t calls_expanded;             /* sum of 1 + repeated */
    uint64_t real_calls;                 /* entries of tracked processes that are no pseudo-calls */
    uint64_t beyond_calls;               /* see ms_interleave_beyond */
    uint64_t bytes;                      /* plain bytes read */
    enum ms_report_foreign foreign;      /* of INVALID */
    char remark[MS_REPORT_REMARK_BYTES]; /* what was passed over in a log; else "" */
};

/* Reads one report to its end: the JSON document of Cuckoo 2, CAPE, cuckoo-modified or Cuckoo 1
 * (behavior.h) or of Speakeasy (speakeasy.h), or a log of DRAKVUF (drakvuf.h), told apart by their
 * shape. The whole document is checked, also behind the behaviour: the grammar of what is read, of
 * a document's rest what `check` says (base/scan.h), and each line of a log. MS_OK with
 * result->state, `sink->info` having been called last; MS_REJECT with state INVALID and the reason
 * in err when it is no whole report (events may be out by then; the caller drops them); another
 * status when the source or the sink said so. `result` is always filled. */
enum ms_status ms_report_read(ms_scanner_source source, void *source_ctx,
                              enum ms_scanner_check check, const struct ms_trace_sink *sink,
                              struct ms_report_result *result, struct ms_error *err) MS_MUST_USE;

#endif
