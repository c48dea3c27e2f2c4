/* The log that is followed, as it grows: its bytes to the worker, what becomes of the file, and
 * when the following ends. Parses nothing. */
#ifndef MS_DETECT_FOLLOW_SOURCE_H
#define MS_DETECT_FOLLOW_SOURCE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_follow_source;

/* Opens `path` (borrowed; "-" is standard input) and the pipe. A regular file is read as it grows;
 * one that became shorter, or whose name another file has by now, is a new log: the old one is
 * ended before. Anything else is read to its end. until_ms: the following ends when nothing came
 * for so long (0: never); so do SIGINT, SIGTERM and SIGHUP (base/stop.h). ask: also when the log
 * pauses the worker is to answer. MS_E_INPUT when there is no such file, MS_E_IO. */
enum ms_status ms_follow_source_open(const char *path, int64_t until_ms, bool ask,
                                     struct ms_follow_source **out,
                                     struct ms_error *err) MS_MUST_USE;
/* What the worker reads: borrowed, for ms_worker_run. */
int ms_follow_source_fd(const struct ms_follow_source *self);
/* Starts the thread that writes to the pipe. MS_E_NOMEM. */
enum ms_status ms_follow_source_start(struct ms_follow_source *self,
                                      struct ms_error *err) MS_MUST_USE;
/* An answer came: pauses are asked about no more often than a tenth of the time allows. */
void ms_follow_source_answered(struct ms_follow_source *self);
/* Stops the thread, which may be in the middle of its work, and closes everything. MS_E_IO when the
 * log could not be read to its end. */
enum ms_status ms_follow_source_close(struct ms_follow_source *self,
                                      struct ms_error *err) MS_MUST_USE;

#endif
