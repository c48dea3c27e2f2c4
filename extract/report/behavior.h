/* The `behavior` member of Cuckoo 2, CAPE, Cuckoo 1 and their relatives as trace events. Each field
 * is told by its own name and JSON type, call by call: `info.version` decides nothing here. */
#ifndef MS_EXTRACT_REPORT_BEHAVIOR_H
#define MS_EXTRACT_REPORT_BEHAVIOR_H

#include "base/scan.h"
#include "store/trace/trace.h"

#include <stdbool.h>
#include <stdint.h>

/* What was seen on the way: evidence for the format, and counts. */
struct ms_behavior_seen {
    bool behavior;      /* the member was there and no null */
    bool processes;     /* behavior.processes likewise */
    bool dict_form;     /* `pid`, `time`, `tid`, arguments as an object, apistats: Cuckoo 2 */
    bool list_form;     /* `process_id`, `timestamp`, `thread_id`, arguments as a list */
    bool caller_fields; /* `caller`, `parentcaller`, `encryptedbuffers`: cuckoo-modified and CAPE */
    uint64_t process_count;
    uint64_t calls;          /* entries of all `calls` lists, pseudo-calls included */
    uint64_t calls_expanded; /* sum of 1 + repeated over them */
    uint64_t real_calls;     /* entries of tracked processes with a name that does not begin "__" */
};

/* Reads the value of the member `behavior`, which is due in `scan`, and emits its processes and
 * calls to `sink` (its `info` is not called). Rules:
 * - `behavior`, `processes` and `calls` may be null, which is as if absent, and so is a `behavior`
 *   that is an empty list; any other type than the documented one, and an entry of `processes` or
 *   `calls` that is no object, is a fault (MS_REJECT with line and byte): such a report has no
 *   trustworthy count.
 * - a field of a call or process that has another type than expected counts as absent.
 * - of duplicate fields the last rules; a second `processes`, or a second `calls` in a process, is
 *   a fault, for the first one's events are out.
 * - names longer than MS_LIMIT_API_NAME_BYTES (categories likewise) are cut there, `repeated` at
 *   MS_LIMIT_REPEATED; more than MS_LIMIT_PROCESSES or MS_LIMIT_CALLS is a fault.
 * `seen` is added to. */
enum ms_status ms_behavior_read(struct ms_scanner *scan, const struct ms_trace_sink *sink,
                                struct ms_behavior_seen *seen, struct ms_error *err) MS_MUST_USE;

/* True for "" and for names that begin with "__": entries that no program called. */
bool ms_behavior_is_pseudo(struct ms_span api);

#endif
