/* The calls of several processes in the order of their times. Used by store/trace/normalise.c
 * alone.
 */
#ifndef MS_STORE_TRACE_NORMALISE_MERGE_H
#define MS_STORE_TRACE_NORMALISE_MERGE_H

#include "store/trace/encode.h"
#include "store/trace/normalise.h"

/* `entry`: the call's number in its process. */
typedef enum ms_status (*ms_merge_visit)(void *ctx, int64_t ord, uint64_t entry,
                                         const struct ms_trace_call *call, struct ms_error *err);

/* A stable merge of `processes`, which stand in their order: see step 1 of the normalisation. Each
 * has a decoder and one block of calls in memory. MS_REJECT when a blob is damaged; MS_E_NOMEM. */
enum ms_status ms_normal_merge(const struct ms_normal_process *processes, size_t count,
                               ms_merge_visit visit, void *ctx, struct ms_error *err) MS_MUST_USE;

#endif
