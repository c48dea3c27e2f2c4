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
enum ms_normal_order { MS_ORDER_PROCESS, MS_ORDER_TIME };

/* The longest loop that can be asked for, and how many runs back one is sought at least. */
enum { MS_NORMAL_LOOP_MOST = 32, MS_NORMAL_LOOP_REACH = 1024 };

/* The steps, in this order:
 * 1. untracked processes are dropped and counted. MS_ORDER_PROCESS: the others one after another by
 *    (first seen, position in the report), those without a time last. MS_ORDER_TIME: merged by
 * time; a call's time is the latest of its own and of those before it in its process (none yet:
 * before all others), equal times go by the order of the processes. In both the report's order of
 * calls inside a process stays, for its clock is too coarse (15.6 ms) to put them in another. A
 *    stretch is a process, or, merged by time, the calls of one until another's turn.
 * 2. entries without a name or with one that begins with "__" are dropped and counted (with
 *    keep_pseudo only those without a name: published models were trained on the rest too).
 * 3. names are folded (ms_fold_name).
 * 4. `repeated`: an entry stands for 1 + repeated calls when `expand`, else for one.
 * 5. runs of equal calls within a stretch keep their first `collapse` calls (0: all).
 * 6. loops within a stretch, when `loops` is 2 or more: the runs are taken one by one; whenever the
 *    last p of those kept equal the p before them (in call and length after step 5), for the
 *    smallest such p of 2 … loops, the last p are dropped. So abcabcabcd becomes abcd, and
 *    abcdcdabcd becomes abcd: what is left repeats no block of 2 … loops runs. Runs of which
 *    MS_NORMAL_LOOP_REACH later ones are kept may be out of reach. Step 6 applied to its own
 *    result changes nothing.
 * 7. `once`: of each distinct call only its first occurrence in the whole trace stays.
 * 8. at most `length` calls are kept (0: all): the first, the last, or half of each (the first half
 *    being the longer one when length is odd). */
struct ms_normal_options {
    enum ms_normal_order order;
    bool fold_case;
    bool fold_suffix;
    bool fold_native;
    bool keep_pseudo;
    bool expand;
    uint32_t collapse;
    uint32_t loops; /* at most MS_NORMAL_LOOP_MOST; 0 and 1: none */
    bool once;
    enum ms_normal_cut cut;
    uint32_t length;
};

/* The options with the version as one canonical line ("normalise-1 fold=none repeated=expand
 * collapse=1 once=no cut=head:400"), which goes into a dataset's digest and a model file; and back
 * (MS_E_INPUT when it is not such a line, or of another version). What came later is named only
 * where it is used: " pseudo=keep" and " order=time" behind the fold, " loops=K" behind collapse.
 */
enum { MS_NORMAL_TEXT_BYTES = 192 };
void ms_normal_options_text(const struct ms_normal_options *options,
                            char out[MS_NORMAL_TEXT_BYTES]);
enum ms_status ms_normal_options_parse(const char *text, struct ms_normal_options *out,
                                       struct ms_error *err) MS_MUST_USE;

/* The words of `fold` as in that line: "none", or of case, suffix and native those that apply, in
 * this order, with "+" between. MS_E_USAGE when it is anything else. */
enum ms_status ms_normal_fold_parse(const char *text, struct ms_normal_options *out,
                                    struct ms_error *err) MS_MUST_USE;

/* The name a call goes by: lower case when fold_case; without a final ExA, ExW, _A, _W, Ex, A or W
 * when fold_suffix and the character before is a lower-case letter or a digit (so "WSASend" and
 * "NtQueryInformationFile" stay); with Nt for a leading Zw (nt for zw) when fold_native and a
 * letter follows. Only the name decides, no vocabulary: the same call must fold alike in training
 * and in a single report. `out` holds at least name.len bytes; returns the length. Folding twice
 * changes nothing more but for the suffix: of "fooAW" one is taken at a time. */
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

/* The tracked ones to the front in the order of step 1 (MS_ORDER_PROCESS), the others behind them;
 * returns how many are tracked. */
size_t ms_normal_sort(struct ms_normal_process *processes, size_t count);

/* The result: n calls, and for each the length of the run it is part of (before step 5, capped at
 * UINT32_MAX) and the number of runs its call has in the whole trace (before step 6). */
struct ms_sequence {
    uint32_t *calls;
    uint32_t *run_lengths;
    uint32_t *run_counts;
    /* Only with `keep_origins`, which the caller sets after init: where the run that a call is part
     * of begins: the `ord` of its process, and the entry's number in that process (from 0, every
     * entry counted). */
    uint32_t *processes;
    uint32_t *entries;
    bool keep_origins;
    size_t n;
    uint64_t whole_length;   /* calls before step 8 */
    uint64_t pseudo_dropped; /* entries of tracked processes */
    uint64_t looped_dropped; /* calls that step 6 dropped */
    uint32_t untracked_dropped;
    bool cut;
    /* private */
    size_t cap;
    struct ms_trace_decoder *decoder; /* kept from trace to trace: setting one up costs 25 us */
};

void ms_sequence_init(struct ms_sequence *self);
void ms_sequence_release(struct ms_sequence *self);

/* Normalises one trace into `out` (initialised; its memory is reused). `processes` may come in any
 * order and is sorted in place. Time is linear in the number of entries (times the logarithm of the
 * number of processes when merged by time); memory is that of the calls kept, of one block a
 * process merged, and of a fixed number of runs. MS_REJECT when a blob is damaged, an id has no
 * entry in `apis`, or more than MS_LIMIT_SEQUENCE calls would result; MS_E_NOMEM. */
enum ms_status ms_normalise(struct ms_normal_process *processes, size_t count,
                            const struct ms_normal_apis *apis,
                            const struct ms_normal_options *options, struct ms_sequence *out,
                            struct ms_error *err) MS_MUST_USE;

#endif
