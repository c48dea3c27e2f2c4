/* Fuzz target: sandbox reports, from plain bytes to calls. Checks that the counts agree with the
 * events. */
#include "extract/report/read.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t left;
};

/* Small odd pieces: tokens must survive any boundary. */
static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct input *self = ctx;
    size_t some = self->left < 7 ? self->left : 7;
    (void)err;
    *n = some < cap ? some : cap;
    memcpy(buf, self->data, *n);
    self->data += *n;
    self->left -= *n;
    return MS_OK;
}

struct seen {
    uint64_t calls, expanded;
    bool inside;
};

static enum ms_status on_process(void *ctx, const struct ms_process_info *process,
                                 struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)process;
    (void)err;
    seen->inside = true;
    return MS_OK;
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    if (!seen->inside)
        abort();
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < call->api.len; i++)
        sum = (uint8_t)(sum + call->api.data[i]);
    seen->calls++;
    seen->expanded += 1 + call->repeated;
    return MS_OK;
}

static enum ms_status on_process_end(void *ctx, struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    seen->inside = false;
    return MS_OK;
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    (void)ctx;
    (void)info;
    (void)err;
    return MS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct seen seen = {0};
    const struct ms_trace_sink sink = {&seen, on_process, on_call, on_process_end, on_info, NULL};
    struct ms_report_result result;
    struct ms_error err;
    enum ms_status status =
        ms_report_read(give, &input, MS_SCAN_CHECK_STRUCTURE, &sink, &result, &err);
    if (status == MS_OK && (seen.calls != result.calls || seen.expanded != result.calls_expanded))
        abort();
    if (status == MS_OK && result.state == MS_REPORT_INVALID)
        abort();
    return 0;
}
