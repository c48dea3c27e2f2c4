/* Fuzz target: encoded traces. Any bytes may be decoded; what was decoded whole must encode and
 * decode to the same calls. */
#include "store/trace/encode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A frame of a few bytes may stand for millions of calls; so many are looked at. */
enum { CALLS_MAX = 1 << 16, BLOB_MAX_BYTES = 64 << 20 };

/* Decodes up to CALLS_MAX calls; *whole when the end was reached. */
static size_t decode(struct ms_span blob, struct ms_trace_call *calls, bool *whole)
{
    struct ms_trace_decoder *decoder;
    struct ms_error err;
    size_t total = 0, n = 0;
    *whole = false;
    if (ms_trace_decoder_open(blob, &decoder, &err) != MS_OK)
        return 0;
    while (total < CALLS_MAX) {
        if (ms_trace_decoder_next(decoder, calls + total, CALLS_MAX - total, &n, &err) != MS_OK)
            break;
        total += n;
        if (n == 0) {
            *whole = true;
            break;
        }
    }
    struct ms_trace_head head;
    ms_trace_decoder_head(decoder, &head);
    if (*whole && head.calls != total)
        abort();
    ms_trace_decoder_close(decoder);
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ms_trace_encoder *encoder;
    struct ms_error err;
    struct ms_buf blob;
    bool whole, again_whole;
    struct ms_trace_call *calls = calloc((size_t)2 * CALLS_MAX, sizeof *calls);
    if (!calls)
        return 0;
    struct ms_trace_call *again = calls + CALLS_MAX;
    size_t n = decode(ms_span_of(data, size), calls, &whole);
    ms_buf_init(&blob, BLOB_MAX_BYTES);
    if (whole && ms_trace_encoder_new(&encoder, &err) == MS_OK) {
        for (size_t i = 0; i < n; i++)
            if (ms_trace_encoder_add(encoder, &calls[i], &err) != MS_OK)
                abort();
        if (ms_trace_encoder_finish(encoder, &blob, &err) != MS_OK)
            abort();
        size_t count = decode(ms_span_of(blob.data, blob.len), again, &again_whole);
        if (!again_whole || count != n)
            abort();
        for (size_t i = 0; i < n; i++)
            if (again[i].api != calls[i].api || again[i].tid != calls[i].tid ||
                again[i].time_us != calls[i].time_us || again[i].repeated != calls[i].repeated)
                abort();
        ms_trace_encoder_free(encoder);
    }
    ms_buf_release(&blob);
    free(calls);
    return 0;
}
