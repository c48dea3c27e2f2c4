/* Calls of many processes as they come, mixed, sorted by process: kept packed until all are there,
 * then given out process by process; too many to hold are put aside. Knows no format. */
#ifndef MS_EXTRACT_REPORT_INTERLEAVE_H
#define MS_EXTRACT_REPORT_INTERLEAVE_H

#include "store/trace/trace.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_interleave;

enum ms_status ms_interleave_new(struct ms_interleave **out, struct ms_error *err) MS_MUST_USE;
void ms_interleave_free(struct ms_interleave *self);

/* Takes a call of the process `info`; both are copied. A process is known by pid, parent and name
 * together, for numbers are given again; its first_seen_us is that of its first call. A call takes
 * some five bytes here. Names are cut at MS_LIMIT_NAME_BYTES, those of APIs at
 * MS_LIMIT_API_NAME_BYTES; distinct ones beyond MS_LIMIT_APIS_PER_REPORT share the name of
 * MS_API_BEYOND. MS_REJECT, without a place, beyond MS_LIMIT_PROCESSES, MS_LIMIT_CALLS (of a
 * process), MS_LIMIT_REPORT_NAMES_BYTES, and MS_LIMIT_INTERLEAVED_BYTES or, where calls are put
 * aside, MS_LIMIT_TURNS_BYTES. */
enum ms_status ms_interleave_add(struct ms_interleave *self, const struct ms_process_info *info,
                                 const struct ms_call_info *call, struct ms_error *err) MS_MUST_USE;
#define MS_API_BEYOND "__overflow__"

uint64_t ms_interleave_calls(const struct ms_interleave *self);
uint64_t ms_interleave_processes(const struct ms_interleave *self);

/* Before the first call: holds no more than held_bytes (at least 32 KiB) of calls, and gives the
 * others to the `turns` of `sink` (borrowed), if that has one, in the form that turns.h reads. */
void ms_interleave_put_aside(struct ms_interleave *self, const struct ms_trace_sink *sink,
                             size_t held_bytes);
/* Of calls that were put aside: how many have the name MS_API_BEYOND. Others the sink counts. */
uint64_t ms_interleave_beyond(const struct ms_interleave *self);

/* Forgets all of it, and has what was put aside forgotten. */
enum ms_status ms_interleave_clear(struct ms_interleave *self, struct ms_error *err) MS_MUST_USE;

/* The processes by their first call, each with its calls in the order they came. All calls get
 * `space`. When some were put aside, all are: then the sink gets no process, and this is the end.
 */
enum ms_status ms_interleave_emit(struct ms_interleave *self, enum ms_api_space space,
                                  const struct ms_trace_sink *sink,
                                  struct ms_error *err) MS_MUST_USE;

#endif
