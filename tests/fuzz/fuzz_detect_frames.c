/* Fuzz target: what a reading worker that was taken over may answer. Whatever is let through must
 * be whole: every call, process and n-gram lies inside what was sent. */
#include "detect/reader_frames.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static uint8_t sum(struct ms_span bytes)
{
    uint8_t total = 0;
    for (size_t i = 0; i < bytes.len; i++)
        total = (uint8_t)(total + bytes.data[i]);
    return total;
}

static void look(const struct ms_read_trace *t, const struct ms_normal_options *view)
{
    volatile uint8_t total = sum(t->member);
    check(!view->length || t->n <= view->length);
    check(t->process_count <= MS_LIMIT_PROCESSES);
    for (size_t i = 0; i < t->n; i++) {
        check(t->symbols[i] < t->symbol_count && t->origins[i].process < t->process_count);
        check(t->origins[i].entry < MS_LIMIT_CALLS);
        total = (uint8_t)(total + sum(t->calls[i]) + t->run_lengths[i] + t->run_counts[i]);
    }
    for (size_t i = 0; i < t->process_count; i++)
        total = (uint8_t)(total + sum(t->processes[i].name));
    for (size_t i = 0; i < t->symbol_count; i++)
        total = (uint8_t)(total + sum(t->names[i]));
    for (size_t i = 0; i < t->gram_count; i++) {
        uint32_t n = ms_gram_length(t->grams[i]);
        check(n > 0);
        for (uint32_t k = 0; k < n; k++)
            check(t->grams[i].symbol[k] < t->symbol_count);
    }
}

/* Frames: type, length (one byte each), bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ms_span left = ms_span_of(data, size), bytes;
    struct ms_read_trace trace;
    struct ms_error err = {.status = MS_OK};
    uint8_t length, type, n;
    if (!ms_span_take_u8(&left, &length))
        return 0;
    const struct ms_normal_options view = {.length = length};
    ms_read_trace_init(&trace);
    while (ms_span_take_u8(&left, &type) && ms_span_take_u8(&left, &n) &&
           ms_span_take(&left, n, &bytes)) {
        enum ms_status status = ms_read_trace_take(&trace, &view, type, bytes, &err);
        check(status == MS_OK || (status == MS_REJECT && err.text[0]));
        check(status == MS_OK || !trace.complete || type != MS_READER_RESULT);
        if (trace.complete)
            look(&trace, &view);
        if (trace.complete || status != MS_OK)
            ms_read_trace_reset(&trace);
    }
    ms_read_trace_release(&trace);
    return 0;
}
