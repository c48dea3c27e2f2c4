/* The trace codec: round trips of generated traces, ids replaced, and hostile blobs. */
#include "base/limits.h"
#include "base/rng.h"
#include "store/trace/block.h"

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

/* Flipped, cut and grown blobs: refused or read, never more calls than the head says. */
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

/* Makes the check sums of what is left of a blob's blocks right, so that damage meets what reads
 * the streams. */
static void mend(struct ms_buf *blob)
{
    struct ms_span rest = ms_span_of(blob->data, blob->len), index;
    struct ms_trace_head head;
    struct ms_error err = {0};
    uint8_t version;
    uint32_t api;
    uint64_t bytes;
    size_t calls;
    if (ms_head_take(&rest, &version, &head, &err) != MS_OK || version < 2)
        return;
    for (uint32_t i = 0; i < head.apis; i++)
        if (!ms_head_take_api(&rest, &api))
            return;
    if (ms_head_take_index(&rest, &head, &index, &bytes, &err) != MS_OK)
        return;
    while (index.len && ms_index_take(&index, &calls, &bytes) && bytes > MS_BLOCK_SUM_BYTES &&
           bytes <= rest.len) {
        uint8_t *at = blob->data + (blob->len - rest.len);
        uint32_t sum = ms_block_sum(at + MS_BLOCK_SUM_BYTES, bytes - MS_BLOCK_SUM_BYTES);
        for (size_t i = 0; i < MS_BLOCK_SUM_BYTES; i++)
            at[i] = (uint8_t)(sum >> (8 * i));
        rest.data += bytes;
        rest.len -= bytes;
    }
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
    struct ms_trace_encoder *encoder = NULL;
    struct ms_error err = {0};
    struct ms_trace_call *calls = calloc(MOST, sizeof *calls);
    size_t accepted = 0, rounds = 0;
    assert_non_null(calls);
    ms_rng_init(&rng, 9, 9, 9);
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    for (; rounds < 6000; rounds++) {
        /* Short streams are stored plain or as runs, where damage meets our own code; some are long
         * enough for zstd's. */
        struct ms_buf blob;
        ms_buf_init(&blob, SIZE_MAX);
        size_t n = 1 + ms_rng_below(&rng, rounds % 50 ? 60 : MOST);
        generate(&rng, calls, n);
        encode(encoder, calls, n, &blob);
        damage(&rng, &blob);
        if (rounds % 4)
            mend(&blob);
        probe(blob.data, blob.len, &accepted);
        for (size_t cut = 0; rounds < 20 && cut < blob.len && n < 60; cut++)
            probe(blob.data, cut, &(size_t){0});
        ms_buf_release(&blob);
    }
    /* A changed id, time or thread is still a trace; other damage must show. */
    assert_true(accepted < rounds * 2 / 3);
    ms_trace_encoder_free(encoder);
    free(calls);
}

/* Each count and form that the layout has, changed one by one in a block that is known. */
static void test_known_damage(void **state)
{
    (void)state;
    /* Version 3, 3 calls, 3 in all, 2 APIs (5, 6), 1 block of 3 calls, 27 bytes: sum, flags
     * (threads listed, times of one byte, no repeats), places plain 0 1 0, 2 threads (4, 8) plain 0
     * 1 1, unit 1000, bias 0, first 2, codes plain 0 1 255, one exception of one byte. */
    static const uint8_t good[] = {3, 3, 3, 2,  5, 6, 1, 3,    27, 0, 0, 0,  0, 0x0a, 12,  0, 1, 0,
                                   2, 8, 8, 12, 0, 1, 1, 0xe8, 7,  0, 4, 12, 0, 1,    255, 1, 4, 2};
    struct ms_trace_call back[3];
    size_t total, accepted = 0;
    const size_t n = sizeof good;
    struct ms_buf blob;
    ms_buf_init(&blob, SIZE_MAX);
    ms_buf_append(&blob, good, n);
    assert_int_equal(decode(ms_span_of(good, n), 3, back, 3, &total), MS_REJECT); /* no sum */
    mend(&blob);
    assert_int_equal(decode(ms_span_of(blob.data, n), 3, back, 3, &total), MS_OK);
    assert_int_equal(total, 3);
    assert_int_equal(back[1].api, 6);
    assert_int_equal(back[2].tid, 8);
    assert_int_equal(back[1].time_us, 1002);
    assert_int_equal(back[2].time_us, 2002);
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {
        {0, 4},                 /* version */
        {1, 2},                 /* fewer calls than the block has */
        {2, 4},                 /* more in all */
        {3, 3},                 /* an API that no call has takes a byte of the block list */
        {6, 2},                 /* two blocks */
        {7, 2},                 /* a block of two */
        {8, 26},                /* a longer block */
        {13, 0x4a}, {13, 0x0e}, /* unknown flags, unknown kind of threads */
        {13, 0x2a},             /* repeats that are not there */
        {14, 8},                /* two places */
        {14, 13},   {14, 15},   /* no frame, no LZ4 block */
        {16, 2},                /* a place behind the dictionary */
        {18, 0},                /* no thread */
        {18, 3},                /* three threads */
        {23, 2},                /* a thread behind the list */
        {30, 255},              /* more exceptions than there are */
        {32, 1},                /* an exception too many */
        {33, 0},                /* an exception too few */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(blob.data, good, n);
        blob.data[wrong[i].at] = wrong[i].value;
        mend(&blob);
        size_t before = accepted;
        probe(blob.data, n, &accepted);
        if (accepted != before)
            fail_msg("byte %zu = %u was taken", wrong[i].at, wrong[i].value);
    }
    ms_buf_release(&blob);
}

/* More than two blocks, in pieces and whole, by columns and from any place. */
static void test_blocks(void **state)
{
    (void)state;
    enum { CALLS = 2 * MS_TRACE_BLOCK + 777 };
    struct ms_trace_call *calls = calloc(CALLS, sizeof *calls);
    struct ms_trace_encoder *encoder = NULL;
    struct ms_trace_decoder *decoder = NULL;
    struct ms_trace_columns got;
    struct ms_trace_head head;
    struct ms_error err = {0};
    struct ms_buf whole, pieces, front;
    struct ms_rng rng;
    assert_non_null(calls);
    ms_rng_init(&rng, 8, 8, 8);
    ms_buf_init(&whole, SIZE_MAX);
    ms_buf_init(&pieces, SIZE_MAX);
    ms_buf_init(&front, SIZE_MAX);
    for (size_t at = 0; at < CALLS; at += 1000)
        generate(&rng, calls + at, CALLS - at < 1000 ? CALLS - at : 1000);
    for (size_t i = 0; i < CALLS; i++)
        calls[i].api %= 3000;
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    encode(encoder, calls, CALLS, &whole);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(ms_trace_encoder_add(encoder, &calls[i], &err), MS_OK);
        struct ms_span blocks = ms_trace_encoder_blocks(encoder);
        assert_int_equal(blocks.len > 0, (i + 1) % MS_TRACE_BLOCK == 0);
        ms_buf_append(&pieces, blocks.data, blocks.len);
        ms_trace_encoder_take_blocks(encoder);
    }
    assert_int_equal(ms_trace_encoder_finish_head(encoder, &front, &err), MS_OK);
    struct ms_span last = ms_trace_encoder_blocks(encoder);
    ms_buf_append(&pieces, last.data, last.len);
    ms_trace_encoder_take_blocks(encoder);
    struct ms_span alone = ms_span_of(front.data, front.len);
    assert_int_equal(ms_trace_head_check(alone, pieces.len, &head, &err), MS_OK);
    assert_int_equal(head.calls, CALLS);
    assert_int_equal(ms_trace_head_check(alone, pieces.len - 1, &head, &err), MS_REJECT);
    alone.len--;
    assert_int_equal(ms_trace_head_check(alone, pieces.len, &head, &err), MS_REJECT);
    ms_buf_append(&front, pieces.data, pieces.len);
    assert_int_equal(front.len, whole.len);
    assert_memory_equal(front.data, whole.data, whole.len);

    assert_int_equal(ms_trace_decoder_new(&decoder, &err), MS_OK);
    for (int round = 0; round < 40; round++) {
        struct ms_span blob = ms_span_of(whole.data, whole.len);
        unsigned columns = (unsigned)ms_rng_below(&rng, 32);
        uint64_t seq = ms_rng_below(&rng, CALLS + 2);
        assert_int_equal(ms_trace_decoder_load(decoder, blob, &err), MS_OK);
        ms_trace_decoder_seek(decoder, seq);
        uint64_t at = seq < CALLS ? seq / MS_TRACE_BLOCK * MS_TRACE_BLOCK : CALLS;
        do {
            assert_int_equal(ms_trace_decoder_block(decoder, columns, &got, &err), MS_OK);
            assert_int_equal(got.first, at);
            assert_int_equal(got.api != NULL, got.n && columns & MS_COLUMN_API);
            for (size_t i = 0; i < got.n; i++, at++) {
                assert_true(!got.api || got.api[i] == calls[at].api);
                assert_true(!got.place ||
                            ms_trace_decoder_apis(decoder)[got.place[i]] == calls[at].api);
                assert_true(!got.tid || got.tid[i] == calls[at].tid);
                assert_true(!got.time_us || got.time_us[i] == calls[at].time_us);
                assert_true(!got.repeated || got.repeated[i] == calls[at].repeated);
            }
        } while (got.n);
        assert_int_equal(at, CALLS);
    }
    ms_trace_decoder_close(decoder);
    ms_trace_encoder_free(encoder);
    ms_buf_release(&whole);
    ms_buf_release(&pieces);
    ms_buf_release(&front);
    free(calls);
}

/* What version 1's encoder made of the calls below; corpora hold such blobs. */
static const uint8_t old_blob[] = {
    0x01, 0xac, 0x02, 0xb3, 0x33, 0x07, 0xe8, 0x07, 0xe9, 0x07, 0xec, 0x07, 0xea, 0x07, 0xb8, 0x08,
    0x88, 0x09, 0x90, 0x08, 0xa6, 0x05, 0x28, 0xb5, 0x2f, 0xfd, 0x60, 0xa6, 0x01, 0xd5, 0x03, 0x00,
    0x04, 0x06, 0xac, 0x02, 0x26, 0x43, 0x00, 0x01, 0x02, 0x03, 0x03, 0x02, 0x01, 0x04, 0x05, 0x06,
    0x00, 0x06, 0x05, 0x04, 0x17, 0x45, 0x16, 0x8a, 0x01, 0x16, 0xcf, 0x01, 0x16, 0x94, 0x02, 0x16,
    0xd9, 0x02, 0x16, 0x9e, 0x03, 0x16, 0xe3, 0x03, 0x16, 0xa8, 0x04, 0x16, 0xed, 0x04, 0x16, 0xb2,
    0x05, 0x16, 0xf7, 0x05, 0x16, 0xbc, 0x06, 0x16, 0x81, 0x07, 0x13, 0x00, 0x06, 0xb0, 0x06, 0x08,
    0x0f, 0x08, 0x02, 0x0f, 0x09, 0x80, 0x80, 0xce, 0xf2, 0xbe, 0x8f, 0xaa, 0x05, 0x03, 0x92, 0xf4,
    0x01, 0x00, 0x03, 0x00, 0x09, 0x92, 0xf4, 0x01, 0x01, 0xeb, 0xe5, 0xc2, 0x09, 0x07, 0xfe, 0xd9,
    0xc4, 0x09, 0x08, 0x00, 0x03, 0x13, 0xf8, 0x2f, 0xa0, 0xc8, 0xa9, 0x12, 0xd8, 0xe1, 0xad, 0x94,
    0x03, 0xc6, 0xad, 0x45, 0xc1, 0xb4, 0x7d, 0xa2, 0x8a, 0x17,
};

static void test_old_version(void **state)
{
    (void)state;
    struct ms_trace_call back[300];
    size_t total, accepted = 0;
    struct ms_span blob = ms_span_of(old_blob, sizeof old_blob);
    assert_int_equal(decode(blob, 64, back, 300, &total), MS_OK);
    assert_int_equal(total, 300);
    for (unsigned i = 0; i < 300; i++) {
        int64_t time_us = INT64_C(1500000000000000) + (int64_t)(i / 5) * 15625;
        assert_int_equal(back[i].api, 1000 + i * i % 7 * (i < 200 ? 1 : 40));
        assert_int_equal(back[i].tid, i < 20 ? 0 : 400 + 4 * (i / 9 % 3));
        assert_int_equal(back[i].time_us,
                         i % 50 == 7 ? MS_TIME_NONE : time_us - (i == 100 ? 9999999 : 0));
        assert_int_equal(back[i].repeated, i % 23 ? 0 : i * 3);
    }
    for (size_t cut = 0; cut < sizeof old_blob; cut++)
        probe(old_blob, cut, &accepted);
    assert_int_equal(accepted, 0);
    struct ms_rng rng;
    ms_rng_init(&rng, 2, 2, 2);
    for (int round = 0; round < 2000; round++) {
        struct ms_buf bytes;
        ms_buf_init(&bytes, SIZE_MAX);
        ms_buf_append(&bytes, old_blob, sizeof old_blob);
        damage(&rng, &bytes);
        probe(bytes.data, bytes.len, &accepted);
        ms_buf_release(&bytes);
    }
    assert_true(accepted < 1000);
}

/* Zstd frames, which version 2 had where there is LZ4 now. */
static void test_zstd_version(void **state)
{
    (void)state;
    enum { CALLS = 3000 };
    static uint8_t places[CALLS];
    static struct ms_trace_call back[CALLS];
    struct ms_error err = {0};
    struct ms_buf blob, block, frame;
    size_t total, accepted = 0;
    ms_buf_init(&blob, SIZE_MAX);
    ms_buf_init(&block, SIZE_MAX);
    ms_buf_init(&frame, SIZE_MAX);
    for (size_t i = 0; i < CALLS; i++)
        places[i] = (uint8_t)(i < 3 ? i : i * i % 3);
    assert_int_equal(ms_zstd_compress(places, CALLS, 3, &frame, &err), MS_OK);
    static const uint8_t no_sum_no_flags[MS_BLOCK_SUM_BYTES + 1] = {0};
    ms_buf_append(&block, no_sum_no_flags, sizeof no_sum_no_flags);
    ms_buf_append_varint(&block, frame.len * 4 + MS_PACKED_ZSTD);
    ms_buf_append(&block, frame.data, frame.len);
    static const uint8_t apis[] = {3, 90, 91, 92, 1};
    ms_buf_append_byte(&blob, 2);
    ms_buf_append_varint(&blob, CALLS);
    ms_buf_append_varint(&blob, CALLS);
    ms_buf_append(&blob, apis, sizeof apis);
    ms_buf_append_varint(&blob, CALLS);
    ms_buf_append_varint(&blob, block.len);
    ms_buf_append(&blob, block.data, block.len);
    mend(&blob);
    assert_int_equal(decode(ms_span_of(blob.data, blob.len), 64, back, CALLS, &total), MS_OK);
    assert_int_equal(total, CALLS);
    for (size_t i = 0; i < CALLS; i++)
        assert_int_equal(back[i].api, 90 + places[i]);
    blob.data[0] = 3; /* where form 1 is another */
    probe(blob.data, blob.len, &accepted);
    blob.data[0] = 2;
    blob.data[blob.len - frame.len] ^= 1; /* of the frame's magic */
    mend(&blob);
    probe(blob.data, blob.len, &accepted);
    assert_int_equal(accepted, 0);
    ms_buf_release(&blob);
    ms_buf_release(&block);
    ms_buf_release(&frame);
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
        cmocka_unit_test(test_round_trips),  cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_remap),        cmocka_unit_test(test_too_many_apis),
        cmocka_unit_test(test_hostile),      cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_blocks),       cmocka_unit_test(test_old_version),
        cmocka_unit_test(test_zstd_version), cmocka_unit_test(test_known_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
