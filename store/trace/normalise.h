/* From what a sandbox recorded to the sequence a model sees: one pure function of (trace, options)
 * that train, detect, export and audit share. It chooses no vocabulary. */
#ifndef MS_STORE_TRACE_NORMALISE_H
#define MS_STORE_TRACE_NORMALISE_H

#include "base/buf.h"
#include "base/span.h"
#include "store/trace/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Raised whenever the same trace and options give another sequence. */
enum { MS_NORMAL_VERSION = 1 };

enum ms_normal_cut { MS_CUT_HEAD, MS_CUT_TAIL, MS_CUT_MIDDLE };

/* The steps, in this order:
 * 1. processes by (first seen, position in the report), those without a time last; untracked ones
 *    are dropped; inside a process the report's order stays (times are too coarse to merge by).
 * 2. entries without a name or with one that begins with "__" are dropped and counted (with
 *    keep_pseudo only those without a name: published models were trained on the rest too).
 * 3. names are folded (ms_fold_name).
 * 4. `repeated`: an entry stands for 1 + repeated calls when `expand`, else for one.
 * 5. runs of equal calls within a process keep their first `collapse` calls (0: all).
 * 6. `once`: of each distinct call only its first occurrence in the whole trace stays.
 * 7. at most `length` calls are kept (0: all): the first, the last, or half of each (the first half
 *    being the longer one when length is odd). */
struct ms_normal_options {
    bool fold_case;
    bool fold_suffix;
    bool keep_pseudo;
    bool expand;
    uint32_t collapse;
    bool once;
    enum ms_normal_cut cut;
    uint32_t length;
};

/* The options with the version as one canonical line ("normalise-1 fold=none repeated=expand
 * collapse=1 once=no cut=head:400"; keep_pseudo puts " pseudo=keep" behind the fold), which goes
 * into a dataset's digest and a model file; and back (MS_E_INPUT when it is not such a line, or of
 * another version). */
enum { MS_NORMAL_TEXT_BYTES = 128 };
void ms_normal_options_text(const struct ms_normal_options *options,
                            char out[MS_NORMAL_TEXT_BYTES]);
enum ms_status ms_normal_options_parse(const char *text, struct ms_normal_options *out,
                                       struct ms_error *err) MS_MUST_USE;

/* The name a call goes by: lower case when fold_case; without a final ExA, ExW, _A, _W, Ex, A or W
 * when fold_suffix and the character before is a lower-case letter or a digit (so "WSASend" and
 * "NtQueryInformationFile" stay). Only the name decides, no vocabulary: the same call must fold
 * alike in training and in a single report. `out` holds at least name.len bytes; returns the
 * length. */
size_t ms_fold_name(const struct ms_normal_options *options, struct ms_span name, uint8_t *out);

/* What the normaliser must know of the API ids in the traces: each id below `count` has a
 * representative in `fold` (NULL: each its own) and is dropped when `pseudo` (may be NULL) says so.
 * Ids outside are MS_REJECT. */
struct ms_normal_apis {
    size_t count;
    const uint32_t *fold;
    const bool *pseudo;
};

/* Fills both tables from names: fold[i] is the lowest id whose folded name equals that of i.
 * A name with NULL data is an id that is not in use. MS_E_NOMEM. */
enum ms_status ms_normal_apis_fill(const struct ms_normal_options *options,
                                   const struct ms_span *names, size_t count, uint32_t *fold,
                                   bool *pseudo, struct ms_error *err) MS_MUST_USE;

/* A process as stored. `trace` is a blob of store/trace/encode.h. */
struct ms_normal_process {
    int64_t first_seen_us;
    int64_t ord; /* position in the report */
    bool tracked;
    struct ms_span trace;
};

/* The result: n calls, and for each the length of the run it is part of (before step 5, capped at
 * UINT32_MAX) and the number of runs its call has in the whole trace. */
struct ms_sequence {
    uint32_t *calls;
    uint32_t *run_lengths;
    uint32_t *run_counts;
    size_t n;
    uint64_t whole_length;   /* calls before step 7 */
    uint64_t pseudo_dropped; /* entries of tracked processes */
    uint32_t untracked_dropped;
    bool cut;
    /* private */
    size_t cap;
};

void ms_sequence_init(struct ms_sequence *self);
void ms_sequence_release(struct ms_sequence *self);

/* Normalises one trace into `out` (initialised; its memory is reused). `processes` may come in any
 * order and is sorted in place. MS_REJECT when a blob is damaged, an id has no entry in `apis`, or
 * more than MS_LIMIT_SEQUENCE calls would result; MS_E_NOMEM. */
enum ms_status ms_normalise(struct ms_normal_process *processes, size_t count,
                            const struct ms_normal_apis *apis,
                            const struct ms_normal_options *options, struct ms_sequence *out,
                            struct ms_error *err) MS_MUST_USE;

#endif
