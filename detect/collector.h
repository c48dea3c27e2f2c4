/* From the events of a report's reader to the frames that detect reads: keeps the calls, makes the
 * model's view of them. Opens nothing and judges nothing. */
#ifndef MS_DETECT_COLLECTOR_H
#define MS_DETECT_COLLECTOR_H

#include "base/span.h"
#include "detect/reader_frames.h"
#include "store/trace/trace.h"

#include <stdint.h>

struct ms_collector;

/* For one report and one view of it; stored: names of calls come out of a corpus. MS_E_NOMEM. */
enum ms_status ms_collector_new(const struct ms_normal_options *view, bool stored,
                                struct ms_collector **out, struct ms_error *err) MS_MUST_USE;
void ms_collector_free(struct ms_collector *self);

/* What the reader is to be given; borrows the collector. Names are kept as the corpus keeps them:
 * escaped and cut; those beyond MS_LIMIT_APIS_PER_REPORT share one pseudo-call. */
struct ms_trace_sink ms_collector_sink(struct ms_collector *self);

/* Where frames go. */
typedef enum ms_status (*ms_frame_emit)(void *ctx, enum ms_reader_frame type, struct ms_span bytes,
                                        struct ms_error *err);

/* Normalises what was collected and says it in frames, RESULT with MS_REPORT_OK last. MS_REJECT,
 * before any frame, when it cannot be normalised; MS_E_NOMEM and what emit says. */
enum ms_status ms_collector_send(struct ms_collector *self, ms_frame_emit emit, void *ctx,
                                 struct ms_error *err) MS_MUST_USE;

/* RESULT alone: a report without calls, or none. */
enum ms_status ms_frames_send_result(enum ms_report_state state, enum ms_report_foreign foreign,
                                     uint64_t whole_length, const char *reason, ms_frame_emit emit,
                                     void *ctx, struct ms_error *err) MS_MUST_USE;

#endif
