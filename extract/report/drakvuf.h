/* DRAKVUF's logs as trace events: JSON lines, one event each, all processes mixed. */
#ifndef MS_EXTRACT_REPORT_DRAKVUF_H
#define MS_EXTRACT_REPORT_DRAKVUF_H

#include "base/scan.h"
#include "store/trace/trace.h"

#include <stdbool.h>
#include <stdint.h>

/* True when `head`, the beginning of a text, is that of a log: one of its lines is a JSON object
 * with a member "Plugin". `whole`: nothing follows it. */
bool ms_drakvuf_is_log(struct ms_span head, bool whole);

/* What was seen on the way. */
struct ms_drakvuf_seen {
    uint64_t lines;              /* all, those that are no calls and empty ones included */
    uint64_t bad_lines;          /* no JSON object, too long, or a call without its name */
    uint64_t bad_line, bad_byte; /* the first of them: line from 1, where it begins */
    char bad_reason[160];
    bool is_cut;                     /* the last line is one of them, and has no end */
    uint64_t fault_line, fault_byte; /* of MS_REJECT: the line, and where it begins */
    uint64_t process_count, calls, real_calls;
    uint64_t system_calls; /* passed over, because the log has API calls */
    uint64_t beyond_calls; /* see ms_interleave_beyond */
    uint64_t bytes;
};

/* Reads a log to its end: apimon.log, syscall.log, or drakmon.log with the events of all plugins.
 * Calls are the lines of plugin "apimon" whose event is "api_called"; a log without any gives its
 * system calls (plugin "syscall", namespace MS_API_SYSCALL, the module as category) in their place:
 * the two are never mixed, for most system calls are made by the API call before them. Processes
 * come by their first call; or, from a large log, all of them by the `turns` of a sink that has it.
 * A bad line costs that line alone. MS_REJECT beyond the limits of interleave.h ("line L, byte B:
 * why"); other statuses are the source's or the sink's.
 *
 * Sources: tklengyel/drakvuf, src/plugins/apimon and syscalls; CERT-Polska/drakvuf-sandbox,
 * postprocessing (which splits drakmon.log by plugin). */
enum ms_status ms_drakvuf_read(ms_scanner_source source, void *source_ctx,
                               const struct ms_trace_sink *sink, struct ms_drakvuf_seen *seen,
                               struct ms_error *err) MS_MUST_USE;

/* The same piece by piece, for a log that is still being written. `seen` is the caller's and lives
 * as long as the reader; it is up to date after each feed. MS_E_NOMEM. */
struct ms_drakvuf_reader;
enum ms_status ms_drakvuf_reader_new(struct ms_drakvuf_seen *seen, struct ms_drakvuf_reader **out,
                                     struct ms_error *err) MS_MUST_USE;
void ms_drakvuf_reader_free(struct ms_drakvuf_reader *self);
/* The next bytes, which may end anywhere; a line counts when its end has come. MS_REJECT as above:
 * then no more is taken. */
enum ms_status ms_drakvuf_reader_feed(struct ms_drakvuf_reader *self, struct ms_span block,
                                      struct ms_error *err) MS_MUST_USE;
/* The log is at its end: its last line counts though it has none. */
enum ms_status ms_drakvuf_reader_end(struct ms_drakvuf_reader *self,
                                     struct ms_error *err) MS_MUST_USE;
/* Gives the sink what came so far, as often as wanted; time and memory of all calls each time. */
enum ms_status ms_drakvuf_reader_emit(struct ms_drakvuf_reader *self,
                                      const struct ms_trace_sink *sink,
                                      struct ms_error *err) MS_MUST_USE;

#endif
