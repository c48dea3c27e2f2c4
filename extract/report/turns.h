/* Calls of processes that took turns and were too many to hold, back from a file by process.
 * Writing them: interleave.c. */
#ifndef MS_EXTRACT_REPORT_TURNS_H
#define MS_EXTRACT_REPORT_TURNS_H

#include "store/trace/trace.h"

/* What the `turns` of a sink got, one piece behind the other, is in fd, a regular file; it is
 * hostile. Gives the sink the processes by their first call, each with its calls in the order they
 * came; in constant memory, whatever the file's size. MS_REJECT when the file is damaged (calls may
 * be out by then), MS_E_IO, MS_E_NOMEM, and the sink's own.
 *
 * The file, all numbers varints but the last: runs, then a table, then where the table begins as
 * eight bytes, least significant first. A run, which is what was held at a time, has for each
 * process with calls in it, rising, its number + 1, the length of its calls and the calls
 * (packed.h); then 0. The table: the namespace; the runs: how many, and the length of each; the
 * APIs: how many, name and category of each with the length before; the processes: how many, pid,
 * parent, first seen, and name of each. */
enum ms_status ms_turns_read(int fd, const struct ms_trace_sink *sink,
                             struct ms_error *err) MS_MUST_USE;

#endif
