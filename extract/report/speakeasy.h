/* Reports of the Speakeasy emulator as trace events: each entry point is a process. */
#ifndef MS_EXTRACT_REPORT_SPEAKEASY_H
#define MS_EXTRACT_REPORT_SPEAKEASY_H

#include "base/scan.h"
#include "store/trace/trace.h"

#include <stdbool.h>
#include <stdint.h>

/* What was seen on the way. */
struct ms_speakeasy_seen {
    bool entry_points; /* the list was there and no null */
    bool other;        /* an element had members, and none of an entry point's */
    uint64_t process_count;
    uint64_t calls;
    uint64_t real_calls; /* with a name that does not begin "__" */
};

/* Reads a list of entry points, which is due in `scan`: the value of `entry_points`, or the whole
 * document where only the list was kept. Emits one process an entry point (its name is `ep_type`;
 * pid and tid where the events have them), and one call for each element of `apis` (version 1) or
 * each event of kind "api" (version 2), under the name as it stands there (`KERNEL32.CreateFileA`;
 * the module is the category). No times: the emulator has no clock. Rules as in behavior.h: null is
 * absent; another type of a list, or an element that is no object, is a fault; a field of another
 * type is absent; a second list of calls of an entry point is a fault. `seen` is added to.
 *
 * Sources: mandiant/speakeasy, doc/reporting.md (version 1) and speakeasy/report.py (version 2). */
enum ms_status ms_speakeasy_read(struct ms_scanner *scan, const struct ms_trace_sink *sink,
                                 struct ms_speakeasy_seen *seen, struct ms_error *err) MS_MUST_USE;

#endif
