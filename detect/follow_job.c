/* A growing log to views of it, in the confined worker. Each answer costs the time of all calls
 * read so far; when one is due is decided so that all answers together stay linear. */
#include "detect/follow_job.h"

#include "base/limits.h"
#include "detect/collector.h"
#include "extract/report/drakvuf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct follower {
    struct ms_worker_out *out;
    struct ms_normal_options view;
    uint64_t every;
    struct ms_drakvuf_reader *reader;
    struct ms_drakvuf_seen seen;
    uint64_t answered;     /* calls at the last answer */
    struct ms_error fault; /* of the log: no more of it is read */
    uint8_t block[MS_FOLLOW_BLOCK_BYTES];
};

static enum ms_status emit(void *ctx, enum ms_reader_frame type, struct ms_span bytes,
                           struct ms_error *err)
{
    enum ms_status status = ms_worker_emit(ctx, (uint32_t)type, bytes.data, bytes.len);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

static enum ms_status begin(struct follower *self, struct ms_error *err)
{
    ms_drakvuf_reader_free(self->reader);
    self->reader = NULL;
    self->seen = (struct ms_drakvuf_seen){0};
    self->fault = (struct ms_error){.status = MS_OK};
    self->answered = 0;
    return ms_drakvuf_reader_new(&self->seen, &self->reader, err);
}

/* A log's fault is told with its end; any other status is the job's. */
static enum ms_status note(struct follower *self, enum ms_status status,
                           const struct ms_error *fault, struct ms_error *err)
{
    if (status == MS_REJECT || status == MS_E_LIMIT) {
        self->fault = *fault;
        return MS_OK;
    }
    if (status != MS_OK && err)
        *err = *fault;
    return status;
}

static enum ms_status answer_calls(struct follower *self, struct ms_error *err)
{
    struct ms_collector *collector = NULL;
    struct ms_error fault = {.status = MS_OK};
    enum ms_status status = ms_collector_new(&self->view, false, &collector, &fault);
    if (status == MS_OK) {
        const struct ms_trace_sink sink = ms_collector_sink(collector);
        status = ms_drakvuf_reader_emit(self->reader, &sink, &fault);
    }
    if (status == MS_OK)
        status = ms_collector_send(collector, emit, self->out, &fault);
    ms_collector_free(collector);
    return note(self, status, &fault, err);
}

static enum ms_status answer(struct follower *self, struct ms_error *err)
{
    const bool none = self->seen.bad_lines && self->seen.bad_lines == self->seen.lines;
    enum ms_status status = MS_OK;
    self->answered = self->seen.calls;
    if (self->fault.status == MS_OK && self->seen.real_calls)
        status = answer_calls(self, err);
    else if (self->fault.status == MS_OK)
        return ms_frames_send_result(none ? MS_REPORT_INVALID : MS_REPORT_NO_CALLS, MS_FOREIGN_NO,
                                     0, self->seen.bad_reason, emit, self->out, err);
    if (status == MS_OK && self->fault.status != MS_OK)
        status = ms_frames_send_result(MS_REPORT_INVALID, MS_FOREIGN_NO, 0, self->fault.text, emit,
                                       self->out, err);
    return status;
}

/* Were there enough calls since the last answer? When API calls begin to come the system calls are
 * forgotten, and there are fewer. */
static bool is_due(const struct follower *self)
{
    const uint64_t calls = self->seen.calls, before = self->answered;
    const uint64_t share = self->every ? before / 64 : before / 16;
    const uint64_t least = self->every ? self->every : MS_LIMIT_FOLLOW_CALLS;
    return calls < before || calls - before >= (share > least ? share : least);
}

static enum ms_status take_bytes(struct follower *self, struct ms_span bytes, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (bytes.len && status == MS_OK && self->fault.status == MS_OK) {
        struct ms_error fault = {.status = MS_OK};
        const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
        size_t n = end ? (size_t)(end - bytes.data) + 1 : bytes.len;
        status = ms_drakvuf_reader_feed(self->reader, ms_span_of(bytes.data, n), &fault);
        status = note(self, status, &fault, err);
        bytes.data += n;
        bytes.len -= n;
        if (status == MS_OK && self->fault.status == MS_OK && is_due(self))
            status = answer(self, err);
    }
    return status;
}

static enum ms_status finish(struct follower *self, struct ms_error *err)
{
    struct ms_error fault = {.status = MS_OK};
    enum ms_status status = MS_OK;
    if (self->fault.status == MS_OK)
        status = note(self, ms_drakvuf_reader_end(self->reader, &fault), &fault, err);
    if (status == MS_OK)
        status = emit(self->out, MS_READER_FINAL, ms_span_of(NULL, 0), err);
    if (status == MS_OK)
        status = answer(self, err);
    return status == MS_OK ? begin(self, err) : status;
}

/* *n < wanted only at the end of the input. */
static enum ms_status read_whole(int fd, uint8_t *to, size_t wanted, size_t *n,
                                 struct ms_error *err)
{
    for (*n = 0; *n < wanted;) {
        ssize_t got = read(fd, to + *n, wanted - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ms_error_set_errno(err, MS_E_IO, errno, "cannot read what is followed");
        if (got == 0)
            break;
        *n += (size_t)got;
    }
    return MS_OK;
}

static enum ms_status take_command(struct follower *self, int fd, bool *over, struct ms_error *err)
{
    uint8_t head[5];
    uint32_t length = 0;
    size_t n = 0;
    enum ms_status status = read_whole(fd, head, sizeof head, &n, err);
    *over = n < sizeof head;
    if (status != MS_OK || *over)
        return status;
    if (!ms_span_u32le(ms_span_of(head, sizeof head), 1, &length) || length > sizeof self->block)
        return ms_error_set(err, MS_E_BUG, "a command of %u bytes", length);
    status = read_whole(fd, self->block, length, &n, err);
    *over = n < length;
    if (status != MS_OK || *over)
        return status;
    switch (head[0]) {
    case MS_FOLLOW_BYTES:
        return take_bytes(self, ms_span_of(self->block, length), err);
    case MS_FOLLOW_ASK:
        return self->seen.calls == self->answered ? MS_OK : answer(self, err);
    case MS_FOLLOW_END:
        return finish(self, err);
    default:
        return ms_error_set(err, MS_E_BUG, "an unknown command");
    }
}

static enum ms_status parse(struct follower *self, struct ms_span arg, struct ms_error *err)
{
    char text[MS_NORMAL_TEXT_BYTES + 24] = "";
    if (arg.len < sizeof text)
        memcpy(text, arg.data, arg.len);
    char *line_end = strchr(text, '\n');
    if (!line_end)
        return ms_error_set(err, MS_E_BUG, "a job without its argument");
    *line_end = '\0';
    self->every = strtoull(line_end + 1, NULL, 10);
    return ms_normal_options_parse(text, &self->view, err);
}

static enum ms_status job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                          struct ms_error *err)
{
    struct follower *self = calloc(1, sizeof *self);
    bool over = false;
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to follow a log");
    self->out = out;
    enum ms_status status = parse(self, arg, err);
    if (status == MS_OK)
        status = begin(self, err);
    while (status == MS_OK && !over)
        status = take_command(self, input_fd, &over, err);
    ms_drakvuf_reader_free(self->reader);
    free(self);
    return status;
}

const struct ms_worker_kind ms_detect_follow_kind = {.name = "detect.follow", .job = job};
