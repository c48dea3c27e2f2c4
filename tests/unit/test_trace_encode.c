/* The trace codec: round trips of generated traces, ids replaced, and hostile blobs. */
#include "base/limits.h"
#include "base/rng.h"
#include "base/zstd.h"
#include "store/trace/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Calls of many shapes: steady and interleaved threads, standing and jumping clocks, extremes. */
static void generate(struct ms_rng *rng, struct ms_trace_call *calls, size_t n)
{
    uint64_t apis = 1 + ms_rng_below(rng, ms_rng_below(rng, 2) ? 5 : 3000);
    uint64_t shape = ms_rng_below(rng, 4);
    int64_t now = (int64_t)ms_rng_below(rng, 2000000000) * 1000000;
    for (size_t i = 0; i < n; i++) {
        struct ms_trace_call *call = &calls[i];
        call->api = (uint32_t)(ms_rng_below(rng, apis) * (shape == 3 ? 1431655 : 1));
        call->tid = shape ? 100 + ms_rng_below(rng, shape * 2) * 4 : MS_TID_NONE;
        if (shape == 3 && ms_rng_below(rng, 50) == 0)
            call->tid = ms_rng_u64(rng);
        if (ms_rng_below(rng, 20) == 0)
            now += (int64_t)ms_rng_below(rng, 31250) - 15625 / 2;
        call->time_us = shape == 1 ? MS_TIME_NONE : now;
        if (shape == 3 && ms_rng_below(rng, 30) == 0)
            call->time_us = (int64_t)ms_rng_u64(rng);
        if (shape == 3 && ms_rng_below(rng, 30) == 0)
            call->time_us = ms_rng_below(rng, 2) ? MS_TIME_NONE : INT64_MAX;
        call->repeated = shape > 1 && ms_rng_below(rng, 10) == 0 ? ms_rng_below(rng, 300) : 0;
        if (shape == 3 && ms_rng_below(rng, 200) == 0)
            call->repeated = MS_LIMIT_REPEATED;
    }
}

static void encode(struct ms_trace_encoder *encoder, const struct ms_trace_call *calls, size_t n,
                   struct ms_buf *out)
{
    struct ms_error err = {0};
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ms_trace_encoder_add(encoder, &calls[i], &err), MS_OK);
    assert_int_equal(ms_trace_encoder_calls(encoder), n);
    assert_int_equal(ms_trace_encoder_finish(encoder, out, &err), MS_OK);
    assert_int_equal(ms_trace_encoder_calls(encoder), 0);
}

/* Reads a blob to its end in blocks; its calls (up to cap) and their number come back. */
static enum ms_status decode(struct ms_span blob, size_t block, struct ms_trace_call *calls,
                             size_t cap, size_t *total)
{
    struct ms_trace_decoder *decoder = NULL;
    struct ms_error err = {0};
    enum ms_status status = ms_trace_decoder_open(blob, &decoder, &err);
    struct ms_trace_call some[64];
    size_t n = 1;
    *total = 0;
    while (status == MS_OK && n) {
        status = ms_trace_decoder_next(decoder, some, block, &n, &err);
        for (size_t i = 0; status == MS_OK && i < n; i++, (*total)++)
            if (*total < cap)
                calls[*total] = some[i];
    }
    ms_trace_decoder_close(decoder);
    return status;
}

enum { MOST = 5000 };

static void test_round_trips(void **state)
{
    (void)state;
    struct ms_trace_call *calls = calloc(MOST, sizeof *calls), *back = calloc(MOST, sizeof *back);
    struct ms_trace_encoder *encoder = NULL;
    struct ms_error err = {0};
    struct ms_rng rng;
    assert_true(calls && back);
    ms_rng_init(&rng, 3, 1, 4);
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    for (int round = 0; round < 400; round++) {
        size_t n = ms_rng_below(&rng, round % 3 ? 40 : MOST);
        generate(&rng, calls, n);
        struct ms_buf blob;
        ms_buf_init(&blob, MS_LIMIT_TRACE_BYTES);
        encode(encoder, calls, n, &blob);
        uint64_t expanded = 0;
        for (size_t i = 0; i < n; i++)
            expanded += 1 + calls[i].repeated;
        struct ms_trace_head head;
        struct ms_span span = ms_span_of(blob.data, blob.len);
        assert_int_equal(ms_trace_head_read(span, &head, &err), MS_OK);
        assert_int_equal(head.calls, n);
        assert_int_equal(head.expanded, expanded);
        size_t total = 0;
        assert_int_equal(decode(span, 1 + ms_rng_below(&rng, 64), back, MOST, &total), MS_OK);
        assert_int_equal(total, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(back[i].api, calls[i].api);
            assert_int_equal(back[i].tid, calls[i].tid);
            assert_int_equal(back[i].time_us, calls[i].time_us);
            assert_int_equal(back[i].repeated, calls[i].repeated);
        }
        ms_buf_release(&blob);
    }
    ms_trace_encoder_free(encoder);
    free(calls);
    free(back);
}

static void test_same_bytes(void **state)
{
    (void)state;
    struct ms_trace_call calls[300];
    struct ms_rng rng;
    struct ms_error err = {0};
    struct ms_trace_encoder *encoder = NULL;
    struct ms_buf one, two;
    ms_rng_init(&rng, 5, 5, 5);
    generate(&rng, calls, 300);
    ms_buf_init(&one, SIZE_MAX);
    ms_buf_init(&two, SIZE_MAX);
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    encode(encoder, calls, 300, &one);
    struct ms_trace_call other = {.api = 77, .tid = 3, .time_us = 5, .repeated = 9};
    assert_int_equal(ms_trace_encoder_add(encoder, &other, &err), MS_OK);
    ms_trace_encoder_reset(encoder);
    encode(encoder, calls, 300, &two);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.data, two.data, one.len);
    ms_buf_release(&one);
    ms_buf_release(&two);
    ms_trace_encoder_free(encoder);
}

static void test_remap(void **state)
{
    (void)state;
    struct ms_trace_call calls[] = {{.api = 2}, {.api = 0}, {.api = 2}, {.api = 1}}, back[4];
    const uint32_t ids[] = {4000000000U, 7, 900};
    struct ms_error err = {0};
    struct ms_trace_encoder *encoder = NULL;
    struct ms_buf blob, mapped;
    ms_buf_init(&blob, SIZE_MAX);
    ms_buf_init(&mapped, SIZE_MAX);
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    encode(encoder, calls, 4, &blob);
    struct ms_span span = ms_span_of(blob.data, blob.len);
    assert_int_equal(ms_trace_remap(span, ids, 3, &mapped, &err), MS_OK);
    size_t total;
    assert_int_equal(decode(ms_span_of(mapped.data, mapped.len), 3, back, 4, &total), MS_OK);
    assert_int_equal(total, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(back[i].api, ids[calls[i].api]);
    ms_buf_clear(&mapped);
    assert_int_equal(ms_trace_remap(span, ids, 2, &mapped, &err), MS_REJECT);
    ms_buf_release(&blob);
    ms_buf_release(&mapped);
    ms_trace_encoder_free(encoder);
}

static void test_too_many_apis(void **state)
{
    (void)state;
    struct ms_error err = {0};
    struct ms_trace_encoder *encoder = NULL;
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    for (uint32_t i = 0; i <= MS_LIMIT_APIS_PER_REPORT; i++) {
        struct ms_trace_call call = {.api = i * 16384};
        assert_int_equal(ms_trace_encoder_add(encoder, &call, &err), MS_OK);
    }
    struct ms_trace_call one_more = {.api = 1};
    assert_int_equal(ms_trace_encoder_add(encoder, &one_more, &err), MS_REJECT);
    struct ms_buf small;
    ms_buf_init(&small, 100);
    assert_int_equal(ms_trace_encoder_finish(encoder, &small, &err), MS_REJECT);
    ms_buf_release(&small);
    ms_trace_encoder_free(encoder);
}

/* Flipped, cut and grown blobs: refused or read, never more calls than the head says. Bodies are
 * damaged before they are compressed too, or the frame's own form would shield the streams. */
static void probe(const uint8_t *bytes, size_t n, size_t *accepted)
{
    uint8_t *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    if (n)
        memcpy(exact, bytes, n);
    struct ms_span span = ms_span_of(exact, n);
    struct ms_trace_head head = {0};
    struct ms_error err = {0};
    enum ms_status head_status = ms_trace_head_read(span, &head, &err);
    size_t total = 0;
    struct ms_trace_call none;
    if (decode(span, 64, &none, 0, &total) == MS_OK) {
        assert_int_equal(head_status, MS_OK);
        assert_int_equal(total, head.calls);
        (*accepted)++;
    }
    free(exact);
}

/* The blob's head, and its body unpacked. */
static void take_apart(const struct ms_buf *blob, struct ms_buf *head, struct ms_buf *body)
{
    struct ms_span rest = ms_span_of(blob->data, blob->len);
    struct ms_error err = {0};
    uint8_t version;
    uint64_t value, apis = 0;
    assert_true(ms_span_take_u8(&rest, &version));
    for (int i = 0; i < 3; i++) {
        assert_true(ms_span_take_varint(&rest, &value));
        apis = value;
    }
    for (uint64_t i = 0; i < apis; i++)
        assert_true(ms_span_take_varint(&rest, &value));
    ms_buf_append(head, blob->data, blob->len - rest.len);
    assert_true(ms_span_take_varint(&rest, &value));
    assert_int_equal(ms_zstd_decompress(rest.data, rest.len, body, &err), MS_OK);
    assert_int_equal(body->len, value);
}

static void damage(struct ms_rng *rng, struct ms_buf *bytes)
{
    for (uint64_t n = 1 + ms_rng_below(rng, 2); n && bytes->len; n--) {
        size_t at = ms_rng_below(rng, bytes->len);
        if (ms_rng_below(rng, 3)) {
            bytes->data[at] ^= (uint8_t)(1U << ms_rng_below(rng, 8));
        } else if (ms_rng_below(rng, 2)) {
            memmove(bytes->data + at, bytes->data + at + 1, bytes->len - at - 1);
            bytes->len--;
        } else {
            ms_buf_append_byte(bytes, (uint8_t)ms_rng_below(rng, 256));
        }
    }
}

static void test_hostile(void **state)
{
    (void)state;
    struct ms_rng rng;
    struct ms_error err = {0};
    struct ms_trace_encoder *encoder = NULL;
    struct ms_trace_call calls[60];
    size_t accepted = 0, rounds = 0;
    ms_rng_init(&rng, 9, 9, 9);
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    for (; rounds < 6000; rounds++) {
        struct ms_buf blob, head, body;
        ms_buf_init(&blob, SIZE_MAX);
        ms_buf_init(&head, SIZE_MAX);
        ms_buf_init(&body, SIZE_MAX);
        size_t n = 1 + ms_rng_below(&rng, 60);
        generate(&rng, calls, n);
        encode(encoder, calls, n, &blob);
        if (rounds % 2) {
            take_apart(&blob, &head, &body);
            damage(&rng, &body);
            ms_buf_append_varint(&head, body.len);
            assert_int_equal(ms_zstd_compress(body.data, body.len, 3, &head, &err), MS_OK);
            probe(head.data, head.len, &accepted);
        } else {
            damage(&rng, &blob);
            probe(blob.data, blob.len, &accepted);
            for (size_t cut = 0; rounds < 20 && cut < blob.len; cut++)
                probe(blob.data, cut, &(size_t){0});
        }
        ms_buf_release(&blob);
        ms_buf_release(&head);
        ms_buf_release(&body);
    }
    /* A changed id or time is still a trace; most damage must show. */
    assert_true(accepted < rounds * 2 / 3);
    ms_trace_encoder_free(encoder);
}

static void test_every_cut(void **state)
{
    (void)state;
    struct ms_trace_call calls[40];
    struct ms_rng rng;
    struct ms_error err = {0};
    struct ms_trace_encoder *encoder = NULL;
    struct ms_buf blob;
    ms_rng_init(&rng, 1, 2, 3);
    generate(&rng, calls, 40);
    ms_buf_init(&blob, SIZE_MAX);
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    encode(encoder, calls, 40, &blob);
    size_t accepted = 0;
    for (size_t cut = 0; cut < blob.len; cut++)
        probe(blob.data, cut, &accepted);
    assert_int_equal(accepted, 0);
    ms_buf_append_byte(&blob, 0);
    probe(blob.data, blob.len, &accepted);
    assert_int_equal(accepted, 0);
    ms_buf_release(&blob);
    ms_trace_encoder_free(encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_remap),       cmocka_unit_test(test_too_many_apis),
        cmocka_unit_test(test_hostile),     cmocka_unit_test(test_every_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
