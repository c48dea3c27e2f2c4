/* Reading a report in the confined worker. It stores nothing and knows no file names. */
#include "extract/report_job.h"

#include "base/limits.h"
#include "base/stream.h"
#include "extract/trace_frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAIN_BYTES = 256 << 10 };

struct source {
    struct ms_stream *stream;
    struct ms_worker_out *out; /* NULL: the plain bytes are not wanted */
    bool ended;                /* nothing more can come */
};

static enum ms_status read_source(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct source *self = ctx;
    enum ms_status status = ms_stream_read(self->stream, buf, cap, n, err);
    self->ended = status != MS_OK || *n == 0;
    if (status == MS_OK && self->out && *n) {
        status = ms_worker_emit(self->out, MS_FRAME_PLAIN, buf, *n);
        if (status != MS_OK)
            return ms_error_set(err, status, "cannot answer");
    }
    return status;
}

/* What lies behind a fault goes to the vault as well: the object's name is the digest of the whole
 * file, so that it is known again. */
static enum ms_status drain(struct source *self, struct ms_error *err)
{
    uint8_t *block = malloc(DRAIN_BYTES);
    if (!block)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    enum ms_status status = MS_OK;
    while (status == MS_OK && !self->ended) {
        size_t n;
        status = read_source(self, block, DRAIN_BYTES, &n, err);
    }
    free(block);
    return status == MS_E_IO || status == MS_E_NOMEM ? status : MS_OK;
}

/* What is to be known of a report that was taken. */
static void write_remarks(const struct ms_report_result *result, uint64_t overflow, char *out,
                          size_t n)
{
    (void)snprintf(out, n, "%s", result->remark);
    size_t used = strlen(out);
    if (overflow)
        (void)snprintf(out + used, n - used,
                       "%smore than %d distinct API names: %" PRIu64 " calls are stored as %s",
                       used ? "; " : "", MS_LIMIT_APIS_PER_REPORT, overflow, MS_API_OVERFLOW);
}

static bool has_flag(struct ms_span arg, char flag)
{
    return arg.len && memchr(arg.data, flag, arg.len);
}

enum ms_status ms_report_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                             struct ms_error *err)
{
    struct source source = {.out = has_flag(arg, 'v') ? out : NULL};
    enum ms_scanner_check check =
        has_flag(arg, 's') ? MS_SCAN_CHECK_GRAMMAR : MS_SCAN_CHECK_STRUCTURE;
    struct ms_trace_sender *sender = NULL;
    struct ms_report_result result = {.state = MS_REPORT_INVALID};
    struct ms_error fault = {.status = MS_OK};
    char reason[MS_ERROR_TEXT_BYTES] = "";
    enum ms_status status = ms_trace_sender_new(out, &sender, err);
    if (status != MS_OK)
        return status;
    status = ms_stream_open(input_fd, MS_LIMIT_REPORT_BYTES, &source.stream, &fault);
    if (status == MS_OK) {
        struct ms_trace_sink sink = ms_trace_sender_sink(sender);
        status = ms_report_read(read_source, &source, check, &sink, &result, &fault);
    }
    if (status == MS_REJECT || status == MS_E_LIMIT) {
        (void)snprintf(reason, sizeof reason, "%s", fault.text);
        result.state = MS_REPORT_INVALID;
        status = source.stream ? drain(&source, &fault) : MS_OK;
    } else if (status == MS_OK) {
        write_remarks(&result, ms_trace_sender_overflow(sender), reason, sizeof reason);
    }
    if (status == MS_OK)
        status = ms_trace_send_result(out, &result, reason, &fault);
    if (status != MS_OK && err)
        *err = fault;
    if (source.stream)
        ms_stream_close(source.stream);
    ms_trace_sender_free(sender);
    return status;
}
