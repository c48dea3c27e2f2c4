/* Splitting a stream into lines, one buffer at a time. */
#include "label/avclass_lines.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 1 << 20 };

void ms_avclass_lines_init(struct ms_avclass_lines *self, struct ms_stream *stream)
{
    *self = (struct ms_avclass_lines){.stream = stream};
}

void ms_avclass_lines_release(struct ms_avclass_lines *self)
{
    free(self->bytes);
    self->bytes = NULL;
}

/* Where the first line ends, SIZE_MAX when that is not in the buffer. */
static size_t find_end(struct ms_avclass_lines *self)
{
    if (self->searched == self->end)
        return SIZE_MAX;
    const uint8_t *from = self->bytes + self->searched;
    const uint8_t *feed = memchr(from, '\n', self->end - self->searched);
    size_t n = feed ? (size_t)(feed - from) : self->end - self->searched;
    const uint8_t *back = n ? memchr(from, '\r', n) : NULL;
    if (back)
        return (size_t)(back - self->bytes);
    if (feed)
        return (size_t)(feed - self->bytes);
    self->searched = self->end;
    return SIZE_MAX;
}

static void pass_feed(struct ms_avclass_lines *self)
{
    if (!self->after_cr || self->start == self->end)
        return;
    if (self->bytes[self->start] == '\n') {
        self->start++;
        self->searched = self->searched < self->start ? self->start : self->searched;
    }
    self->after_cr = false;
}

static enum ms_status fill(struct ms_avclass_lines *self, struct ms_error *err)
{
    size_t n = 0, held = self->end - self->start;
    if (held > MS_LIMIT_SCAN_BYTES) {
        self->too_long = true;
        self->start = self->searched = self->end;
        held = 0;
    }
    if (held && self->start)
        memmove(self->bytes, self->bytes + self->start, held);
    self->searched -= self->start;
    self->start = 0;
    self->end = held;
    if (held == self->cap) {
        size_t cap = self->cap ? 2 * self->cap : FIRST_BYTES;
        uint8_t *grown = realloc(self->bytes, cap);
        if (!grown)
            return ms_error_set(err, MS_E_NOMEM, "out of memory for a line");
        self->bytes = grown;
        self->cap = cap;
    }
    enum ms_status status =
        ms_stream_read(self->stream, self->bytes + self->end, self->cap - self->end, &n, err);
    self->end += n;
    self->over = status == MS_OK && n == 0;
    return status;
}

bool ms_avclass_lines_waits(struct ms_avclass_lines *self)
{
    pass_feed(self);
    return !self->over && find_end(self) == SIZE_MAX;
}

enum ms_status ms_avclass_lines_next(struct ms_avclass_lines *self, struct ms_span *line,
                                     bool *more, struct ms_error *err)
{
    size_t end;
    *more = false;
    for (;;) {
        pass_feed(self);
        end = find_end(self);
        if (end != SIZE_MAX || self->over)
            break;
        enum ms_status status = fill(self, err);
        if (status != MS_OK)
            return status;
    }
    if (end == SIZE_MAX && self->start == self->end && !self->too_long)
        return MS_OK;
    size_t stop = end == SIZE_MAX ? self->end : end;
    *line = ms_span_of(self->bytes + self->start, stop - self->start);
    self->after_cr = end != SIZE_MAX && self->bytes[end] == '\r';
    self->start = self->searched = end == SIZE_MAX ? self->end : end + 1;
    self->number++;
    *more = true;
    bool too_long = self->too_long || line->len > MS_LIMIT_SCAN_BYTES;
    self->too_long = false;
    if (too_long)
        return ms_error_set(err, MS_REJECT, "the line is longer than %zu bytes",
                            MS_LIMIT_SCAN_BYTES);
    return MS_OK;
}
