/* Fuzz target: encoded traces. Any bytes may be decoded, whole, by columns and from any place; what
 * was decoded whole must encode and decode to the same calls. */
#include "store/trace/block.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A frame of a few bytes may stand for millions of calls; so many are looked at. */
enum { CALLS_MAX = 1 << 16, BLOB_MAX_BYTES = 64 << 20 };

/* Makes the check sums of the blocks right, or few changed bytes would get past them. */
static void mend(uint8_t *bytes, size_t n)
{
    struct ms_span rest = ms_span_of(bytes, n), index;
    struct ms_trace_head head;
    struct ms_error err;
    uint8_t version;
    uint32_t api;
    uint64_t length;
    size_t calls;
    if (ms_head_take(&rest, &version, &head, &err) != MS_OK || version < 2)
        return;
    for (uint32_t i = 0; i < head.apis; i++)
        if (!ms_head_take_api(&rest, &api))
            return;
    if (ms_head_take_index(&rest, &head, &index, &length, &err) != MS_OK)
        return;
    while (index.len && ms_index_take(&index, &calls, &length) && length > MS_BLOCK_SUM_BYTES &&
           length <= rest.len) {
        uint8_t *at = bytes + (n - rest.len);
        uint32_t sum = ms_block_sum(at + MS_BLOCK_SUM_BYTES, length - MS_BLOCK_SUM_BYTES);
        for (size_t i = 0; i < MS_BLOCK_SUM_BYTES; i++)
            at[i] = (uint8_t)(sum >> (8 * i));
        rest.data += length;
        rest.len -= length;
    }
}

/* One for all inputs, as readers of a corpus keep it: what an input leaves in it must not show. */
static struct ms_trace_decoder *shared_decoder(void)
{
    static struct ms_trace_decoder *decoder;
    struct ms_error err;
    if (!decoder && ms_trace_decoder_new(&decoder, &err) != MS_OK)
        return NULL;
    return decoder;
}

/* Every set of columns from a place that the input chooses: each must say of a call what `calls`
 * says. */
static void by_columns(struct ms_span blob, const struct ms_trace_call *calls, size_t n)
{
    struct ms_trace_decoder *decoder = shared_decoder();
    struct ms_trace_columns got;
    struct ms_error err;
    unsigned columns = blob.len ? blob.data[blob.len - 1] & 31u : 0;
    uint64_t seq = n ? blob.data[blob.len / 2] * n / 256 : 0;
    if (!decoder || ms_trace_decoder_load(decoder, blob, &err) != MS_OK)
        return;
    ms_trace_decoder_seek(decoder, seq);
    for (bool begun = false; ms_trace_decoder_block(decoder, columns, &got, &err) == MS_OK && got.n;
         begun = true) {
        if (!begun && got.first > seq)
            abort();
        for (size_t i = 0; i < got.n && got.first + i < n; i++) {
            const struct ms_trace_call *call = &calls[got.first + i];
            if ((got.api && got.api[i] != call->api) || (got.tid && got.tid[i] != call->tid) ||
                (got.place && ms_trace_decoder_apis(decoder)[got.place[i]] != call->api) ||
                (got.time_us && got.time_us[i] != call->time_us) ||
                (got.repeated && got.repeated[i] != call->repeated))
                abort();
        }
    }
}

/* Decodes up to CALLS_MAX calls; *whole when the end was reached. */
static size_t decode(struct ms_span blob, struct ms_trace_call *calls, bool *whole)
{
    struct ms_trace_decoder *decoder = shared_decoder();
    struct ms_error err;
    size_t total = 0, n = 0;
    *whole = false;
    if (!decoder || ms_trace_decoder_load(decoder, blob, &err) != MS_OK)
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
    return total;
}

/* What was decoded, encoded and decoded again. */
static void round_trip(const struct ms_trace_call *calls, struct ms_trace_call *again, size_t n)
{
    /* Kept between inputs: making them takes longer than most inputs do. */
    static struct ms_trace_encoder *encoder;
    static struct ms_buf blob;
    struct ms_error err;
    bool whole;
    if (!encoder) {
        ms_buf_init(&blob, BLOB_MAX_BYTES);
        if (ms_trace_encoder_new(&encoder, &err) != MS_OK)
            return;
    }
    ms_buf_clear(&blob);
    for (size_t i = 0; i < n; i++)
        if (ms_trace_encoder_add(encoder, &calls[i], &err) != MS_OK)
            abort();
    if (ms_trace_encoder_finish(encoder, &blob, &err) != MS_OK)
        abort();
    if (decode(ms_span_of(blob.data, blob.len), again, &whole) != n || !whole)
        abort();
    for (size_t i = 0; i < n; i++)
        if (again[i].api != calls[i].api || again[i].tid != calls[i].tid ||
            again[i].time_us != calls[i].time_us || again[i].repeated != calls[i].repeated)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ms_trace_call calls[CALLS_MAX], again[CALLS_MAX];
    bool whole;
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes)
        return 0;
    /* Half of the inputs as they are, by their first byte's highest bit. */
    if (size) {
        memcpy(bytes, data, size);
        bytes[0] &= 0x7f;
        if (!(data[0] & 0x80))
            mend(bytes, size);
    }
    size_t n = decode(ms_span_of(bytes, size), calls, &whole);
    if (whole) {
        by_columns(ms_span_of(bytes, size), calls, n);
        round_trip(calls, again, n);
    }
    free(bytes);
    return 0;
}
