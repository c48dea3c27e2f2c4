/* Lines of a stream as Python's text files have them: LF, CR LF and CR all end one. Knows nothing
 * of what they say. */
#ifndef MS_LABEL_AVCLASS_LINES_H
#define MS_LABEL_AVCLASS_LINES_H

#include "base/span.h"
#include "base/stream.h"

struct ms_avclass_lines {
    struct ms_stream *stream; /* borrowed */
    uint8_t *bytes;
    size_t cap, start, searched, end; /* searched: no line ends before it */
    uint64_t number;                  /* of the line last given, from 1 */
    bool over;                        /* the stream has ended */
    bool after_cr;                    /* a line feed that comes next belongs to the last line */
    bool too_long;                    /* the line being read is dropped */
};

void ms_avclass_lines_init(struct ms_avclass_lines *self, struct ms_stream *stream);
void ms_avclass_lines_release(struct ms_avclass_lines *self);

/* The next line without its end, borrowed until the next call; *more = false behind the last.
 * MS_REJECT with *more true: the line is longer than MS_LIMIT_SCAN_BYTES and was skipped. Any other
 * status is the stream's. */
enum ms_status ms_avclass_lines_next(struct ms_avclass_lines *self, struct ms_span *line,
                                     bool *more, struct ms_error *err) MS_MUST_USE;

/* Whether the next call will read from the stream, and so may have to wait. */
bool ms_avclass_lines_waits(struct ms_avclass_lines *self);

#endif
