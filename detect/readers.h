/* Reads several reports at once and hands them over in the order given. Judges nothing. */
#ifndef MS_DETECT_READERS_H
#define MS_DETECT_READERS_H

#include "detect/reader.h"

#include <stddef.h>

struct ms_trace_readers;

/* One report, borrowed until the next call of next. */
struct ms_trace_reading {
    const char *path;
    int open_errno;        /* the file could not be opened: why; else 0 */
    enum ms_status status; /* of ms_read_traces; with open_errno 0 */
    struct ms_error error;
    bool last;                         /* of this path */
    const struct ms_read_trace *trace; /* with status MS_OK */
};

/* Reads paths[0 .. count-1] ("-" is standard input) with `jobs` threads, a few files ahead of next.
 * Everything is borrowed until the readers are freed. MS_E_NOMEM. */
enum ms_status ms_trace_readers_new(struct ms_worker *worker, const struct ms_normal_options *view,
                                    const char *const *paths, size_t count, unsigned jobs,
                                    struct ms_trace_readers **out,
                                    struct ms_error *err) MS_MUST_USE;
/* Waits for the readings that are under way. */
void ms_trace_readers_free(struct ms_trace_readers *self);

/* The next report in the order of the paths, those of an archive in its own order; NULL at the end.
 */
const struct ms_trace_reading *ms_trace_readers_next(struct ms_trace_readers *self);

#endif
