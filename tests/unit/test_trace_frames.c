/* The parent's half of the frames: a whole answer, and answers a hostile worker could send. */
#include "base/limits.h"
#include "base/rng.h"
#include "extract/trace_frames.h"
#include "store/trace/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FRAMES_MAX = 16 };

struct frame {
    uint32_t type;
    struct ms_buf bytes;
};

/* An answer as a worker sends it. */
struct answer {
    struct frame frames[FRAMES_MAX];
    size_t count;
};

static struct ms_buf *add(struct answer *self, uint32_t type)
{
    struct frame *frame = &self->frames[self->count++];
    frame->type = type;
    ms_buf_init(&frame->bytes, MS_LIMIT_FRAME_BYTES);
    return &frame->bytes;
}

static void text(struct ms_buf *out, const char *bytes)
{
    ms_buf_append_varint(out, strlen(bytes));
    ms_buf_append_text(out, bytes);
}

static void add_api(struct answer *self, const char *name)
{
    struct ms_buf *out = add(self, MS_FRAME_API);
    ms_buf_append_byte(out, MS_API_CALL);
    text(out, name);
    text(out, "category");
}

static void add_process(struct answer *self, uint64_t pid, const char *name, uint32_t calls)
{
    struct ms_trace_encoder *encoder = NULL;
    struct ms_error err = {.status = MS_OK};
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    for (uint32_t i = 0; i < calls; i++) {
        const struct ms_trace_call call = {.api = i % 2, .time_us = MS_TIME_NONE, .repeated = i};
        assert_int_equal(ms_trace_encoder_add(encoder, &call, &err), MS_OK);
    }
    struct ms_buf head;
    ms_buf_init(&head, MS_LIMIT_FRAME_BYTES);
    assert_int_equal(ms_trace_encoder_finish_head(encoder, &head, &err), MS_OK);
    struct ms_span blocks = ms_trace_encoder_blocks(encoder);
    size_t first = blocks.len ? 1 : 0;
    ms_buf_append(add(self, MS_FRAME_TRACE), blocks.data, first);
    ms_buf_append(add(self, MS_FRAME_TRACE), blocks.data + first, blocks.len - first);
    ms_trace_encoder_free(encoder);
    struct ms_buf *out = add(self, MS_FRAME_PROCESS);
    ms_buf_append_varint(out, pid);
    ms_buf_append_varint(out, 7);
    ms_buf_append_varint(out, 123456);
    ms_buf_append_byte(out, 1);
    text(out, name);
    ms_buf_append(out, head.data, head.len);
    ms_buf_release(&head);
}

static void make(struct answer *self)
{
    self->count = 0;
    add_api(self, "NtClose");
    add_api(self, "NtOpenKey");
    add_process(self, 10, "a.exe", 5);
    add_process(self, 11, "", 0);
    struct ms_buf *out = add(self, MS_FRAME_INFO);
    for (int i = 0; i < 7; i++)
        text(out, i ? "x" : "cuckoo2");
    ms_buf_append_byte(out, 1);
    ms_buf_append_byte(out, 1);
    out = add(self, MS_FRAME_RESULT);
    ms_buf_append_byte(out, MS_REPORT_OK);
    for (uint64_t i = 0; i < 7; i++)
        ms_buf_append_varint(out, 100 + i);
    ms_buf_append_varint(out, MS_FOREIGN_TEXT);
    text(out, "why");
}

static void release(struct answer *self)
{
    for (size_t i = 0; i < self->count; i++)
        ms_buf_release(&self->frames[i].bytes);
}

static enum ms_status receive(const struct answer *answer, struct ms_trace_received *out)
{
    enum ms_status status = MS_OK;
    struct ms_error err = {.status = MS_OK};
    for (size_t i = 0; status == MS_OK && i < answer->count; i++) {
        const struct ms_buf *bytes = &answer->frames[i].bytes;
        uint8_t *exact = malloc(bytes->len + 1);
        assert_non_null(exact);
        if (bytes->len)
            memcpy(exact, bytes->data, bytes->len);
        status = ms_trace_received_frame(out, answer->frames[i].type, ms_span_of(exact, bytes->len),
                                         &err);
        free(exact);
    }
    return status;
}

/* Every span that was accepted can be read. */
static void touch(const struct ms_trace_received *received)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < received->api_count; i++) {
        struct ms_span name = ms_trace_received_span(received, received->apis[i].name);
        assert_true(name.len <= MS_LIMIT_API_NAME_BYTES);
        for (size_t k = 0; k < name.len; k++)
            sum = (uint8_t)(sum + name.data[k]);
    }
    for (size_t i = 0; i < received->process_count; i++) {
        struct ms_span name = ms_trace_received_span(received, received->processes[i].info.name);
        struct ms_trace_head head;
        struct ms_error err = {.status = MS_OK};
        struct ms_buf blob;
        uint64_t n = received->processes[i].block_bytes;
        ms_buf_init(&blob, SIZE_MAX);
        assert_int_equal(ms_trace_received_head(received, i, &blob, &err), MS_OK);
        struct ms_span bytes = ms_span_of(blob.data, blob.len);
        assert_int_equal(ms_trace_head_check(bytes, n, &head, &err), MS_OK);
        assert_int_equal(head.calls, received->processes[i].calls);
        for (uint64_t at = 0; at < n; at++) {
            uint8_t byte;
            assert_int_equal(ms_trace_received_blocks(received, i, at, &byte, 1, &err), MS_OK);
            sum = (uint8_t)(sum + byte);
        }
        ms_buf_release(&blob);
        for (size_t k = 0; k < name.len; k++)
            sum = (uint8_t)(sum + name.data[k]);
    }
}

static void test_whole(void **state)
{
    (void)state;
    struct answer answer;
    struct ms_trace_received got;
    make(&answer);
    ms_trace_received_init(&got);
    assert_int_equal(receive(&answer, &got), MS_OK);
    assert_int_equal(got.api_count, 2);
    assert_true(ms_span_equal_text(ms_trace_received_span(&got, got.apis[1].name), "NtOpenKey"));
    assert_int_equal(got.process_count, 2);
    assert_int_equal(got.processes[0].calls, 5);
    assert_int_equal(got.processes[0].calls_expanded, 15);
    assert_int_equal(got.processes[0].info.pid, 10);
    assert_int_equal(got.processes[0].info.first_seen_us, 123456);
    assert_true(
        ms_span_equal_text(ms_trace_received_span(&got, got.processes[0].info.name), "a.exe"));
    assert_int_equal(got.processes[1].calls, 0);
    assert_true(got.has_info && got.has_result);
    assert_true(ms_span_equal_text(ms_trace_received_span(&got, got.info.sandbox), "cuckoo2"));
    assert_int_equal(got.result.line, 100);
    assert_int_equal(got.result.bytes, 106);
    assert_string_equal(got.reason, "why");
    touch(&got);
    /* A second INFO or RESULT is none. */
    struct answer again = {.count = 0};
    make(&again);
    again.frames[0].type = again.frames[again.count - 1].type;
    ms_buf_clear(&again.frames[0].bytes);
    ms_buf_append(&again.frames[0].bytes, again.frames[again.count - 1].bytes.data,
                  again.frames[again.count - 1].bytes.len);
    assert_int_equal(receive(&again, &got), MS_REJECT);
    release(&again);
    ms_trace_received_release(&got);
    release(&answer);
}

static void test_every_cut(void **state)
{
    (void)state;
    struct answer answer;
    make(&answer);
    for (size_t i = 0; i < answer.count; i++) {
        struct ms_buf *bytes = &answer.frames[i].bytes;
        size_t whole = bytes->len;
        if (answer.frames[i].type == MS_FRAME_TRACE)
            continue; /* pieces of any length are fine; the blob's head is looked at in PROCESS */
        for (bytes->len = 0; bytes->len < whole; bytes->len++) {
            struct ms_trace_received got;
            ms_trace_received_init(&got);
            assert_int_equal(receive(&answer, &got), MS_REJECT);
            ms_trace_received_release(&got);
        }
    }
    release(&answer);
}

static void test_limits(void **state)
{
    (void)state;
    struct ms_trace_received got;
    struct ms_error err = {.status = MS_OK};
    uint8_t api[] = {0, 1, 'a', 0}, unknown[] = {0};
    ms_trace_received_init(&got);
    for (int i = 0; i <= MS_LIMIT_APIS_PER_REPORT; i++)
        assert_int_equal(
            ms_trace_received_frame(&got, MS_FRAME_API, ms_span_of(api, sizeof api), &err), MS_OK);
    assert_int_equal(ms_trace_received_frame(&got, MS_FRAME_API, ms_span_of(api, sizeof api), &err),
                     MS_REJECT);
    assert_int_equal(ms_trace_received_frame(&got, MS_FRAME_ROW, ms_span_of(unknown, 1), &err),
                     MS_REJECT);
    assert_int_equal(ms_trace_received_frame(&got, 0, ms_span_of(unknown, 0), &err), MS_REJECT);
    ms_trace_received_release(&got);
}

static void test_hostile(void **state)
{
    (void)state;
    struct ms_rng rng;
    size_t refused = 0;
    ms_rng_init(&rng, 6, 6, 6);
    for (int round = 0; round < 20000; round++) {
        struct answer answer;
        struct ms_trace_received got;
        make(&answer);
        for (uint64_t n = 1 + ms_rng_below(&rng, 3); n; n--) {
            struct frame *frame = &answer.frames[ms_rng_below(&rng, answer.count)];
            uint64_t how = ms_rng_below(&rng, 4);
            if (how == 0)
                frame->type = (uint32_t)ms_rng_below(&rng, 9);
            else if (how == 1)
                ms_buf_append_byte(&frame->bytes, (uint8_t)ms_rng_below(&rng, 256));
            else if (frame->bytes.len)
                frame->bytes.data[ms_rng_below(&rng, frame->bytes.len)] =
                    (uint8_t)ms_rng_below(&rng, 256);
        }
        ms_trace_received_init(&got);
        refused += receive(&answer, &got) != MS_OK;
        touch(&got);
        ms_trace_received_release(&got);
        release(&answer);
    }
    assert_true(refused > 8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_hostile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
