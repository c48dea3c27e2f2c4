/* The calls of a list that look like those before them, a call at a step: what behavior.c reads
 * member by member, read by the scanner's ms_scanner_next_alike. */
#ifndef MS_EXTRACT_REPORT_ALIKE_H
#define MS_EXTRACT_REPORT_ALIKE_H

#include "base/scan.h"
#include "extract/report/behavior.h"
#include "store/trace/trace.h"

struct ms_alike;
enum ms_status ms_alike_new(struct ms_alike **out, struct ms_error *err) MS_MUST_USE;
void ms_alike_free(struct ms_alike *self);

/* Within a list of calls: true when the next one was taken. It and `seen` (its evidence for the
 * format, no counts) are then what member by member would have given; its texts are borrowed until
 * the next call on the scanner. False: nothing was consumed. */
bool ms_alike_next(struct ms_alike *self, struct ms_scanner *scan, struct ms_call_info *out,
                   struct ms_behavior_seen *seen) MS_MUST_USE;

#endif
