/* Sandbox reports to the calls a model wants, read and normalised in the confined worker. Knows no
 * model. */
#ifndef MS_DETECT_READER_H
#define MS_DETECT_READER_H

#include "base/worker.h"
#include "extract/report/read.h"
#include "store/trace/grams.h"

#include <stdint.h>

/* The jobs for ms_worker_start: both, in any order. Their argument is the normalisation's canonical
 * text; the input may be plain, gzip or zstd, or an archive with reports in it. The second is for
 * what can be read from its start again: it needs none of the libraries that archives need, and
 * answers MS_E_LATER, without a frame, where they are needed. */
extern const struct ms_worker_kind ms_detect_kind, ms_detect_plain_kind;

/* Where a call of the view comes from. */
struct ms_call_origin {
    uint32_t process; /* in `processes` */
    uint32_t entry;   /* number in that process's list of calls, from 0, of the entry that its run
                         of equal calls begins with */
};

struct ms_read_process {
    uint64_t pid;
    struct ms_span name; /* any bytes; at most MS_LIMIT_PROCESS_NAME_BYTES */
};

/* Private: a number for each call. */
struct ms_run_numbers {
    uint32_t *list;
    size_t n, cap;
};

/* What came of a report. */
struct ms_read_trace {
    struct ms_span member; /* of an archive of several reports: which; else empty. Any bytes */
    enum ms_report_state state;
    enum ms_report_foreign foreign;   /* of MS_REPORT_INVALID: nothing of a report was in it */
    char reason[MS_ERROR_TEXT_BYTES]; /* why, when state is not MS_REPORT_OK; else may be a remark
                                         or empty */
    struct ms_span *calls;            /* n folded names */
    const uint32_t *symbols;          /* n: equal for equal names, below symbol_count */
    const uint32_t *run_lengths;      /* n, as in struct ms_sequence */
    const uint32_t *run_counts;       /* n */
    const struct ms_call_origin *origins; /* n */
    size_t n;
    const struct ms_read_process *processes; /* those that have a call in the view */
    size_t process_count;
    const struct ms_span *names; /* folded, by symbol; not all of them occur in the view */
    size_t symbol_count;
    const struct ms_gram *grams; /* of the whole trace, in symbols. From an honest worker each comes
                                    once; at most MS_LIMIT_TRACE_GRAMS */
    size_t gram_count;
    bool grams_cut;        /* it has more */
    uint64_t whole_length; /* calls of the trace before collapsing and cutting */
    /* Of the corpus alone (detect/corpus.h): calls are opcodes; the sample's static features are
     * among names and grams. */
    bool opcodes, statics;
    /* private */
    struct ms_buf name_bytes, process_names, member_bytes;
    size_t *name_end;
    size_t name_count, name_cap, call_cap, origin_count, origin_cap, process_cap, gram_cap;
    struct ms_span *name_list;
    struct ms_gram *gram_list;
    uint32_t *indexes;
    struct ms_run_numbers lengths, counts;
    struct ms_call_origin *origin_list;
    struct ms_read_process *process_list;
    bool complete;
};
void ms_read_trace_init(struct ms_read_trace *self);
void ms_read_trace_release(struct ms_read_trace *self);
/* Adds n names (borrowed until the next trace) as n-grams of one symbol to a trace that was read in
 * whole, in place of its n-grams when `alone`, and sets `statics`. MS_E_NOMEM. */
enum ms_status ms_read_trace_add_statics(struct ms_read_trace *self, const struct ms_span *names,
                                         size_t n, bool alone, struct ms_error *err) MS_MUST_USE;

/* Gets each report; last: there is none behind it. The trace may be used until the visit returns;
 * after the last one it stays as it is. A status other than MS_OK ends the reading. */
typedef enum ms_status (*ms_read_trace_visit)(void *ctx, const struct ms_read_trace *trace,
                                              bool last, struct ms_error *err);

/* Reads the report in fd, or those of an archive one after another, each into `trace` (initialised;
 * what it held before is replaced). There is always at least one visit: a report that is none, or
 * on which the worker died, has state MS_REPORT_INVALID and a reason; so has an archive (`member`
 * empty) in which there is no report, or of which something could not be opened. Statuses are those
 * of visit, and concern the worker itself otherwise (MS_E_IO, MS_E_NOMEM). Thread-safe for
 * different `trace`. */
enum ms_status ms_read_traces(struct ms_worker *worker, int fd,
                              const struct ms_normal_options *view, struct ms_read_trace *trace,
                              ms_read_trace_visit visit, void *ctx,
                              struct ms_error *err) MS_MUST_USE;

#endif
