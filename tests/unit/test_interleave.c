/* Calls of processes that take turns: what is put aside comes back as what is held would, and no
 * damage to it is taken for calls. */
#include "base/buf.h"
#include "base/file.h"
#include "base/limits.h"
#include "extract/report/interleave.h"
#include "extract/report/turns.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HELD_BYTES = 32 << 10 };

struct got {
    struct ms_buf events, file;
    unsigned voided;
};

static enum ms_status on_process(void *ctx, const struct ms_process_info *p, struct ms_error *err)
{
    struct got *self = ctx;
    (void)err;
    return ms_buf_printf(&self->events, "process %" PRIu64 " %" PRIu64 " '%.*s' %" PRId64 " %d\n",
                         p->pid, p->parent_pid, (int)p->name.len, (const char *)p->name.data,
                         p->first_seen_us, p->tracked);
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *c, struct ms_error *err)
{
    struct got *self = ctx;
    (void)err;
    return ms_buf_printf(&self->events, "%d %.*s %.*s %" PRIu64 " %" PRId64 " %" PRIu64 "\n",
                         (int)c->space, (int)c->api.len, (const char *)c->api.data,
                         (int)c->category.len, (const char *)c->category.data, c->tid, c->time_us,
                         c->repeated);
}

static enum ms_status on_end(void *ctx, struct ms_error *err)
{
    struct got *self = ctx;
    (void)err;
    return ms_buf_append_text(&self->events, "end\n");
}

static enum ms_status on_turns(void *ctx, struct ms_span piece, struct ms_error *err)
{
    struct got *self = ctx;
    (void)err;
    if (piece.len)
        return ms_buf_append(&self->file, piece.data, piece.len);
    self->voided++;
    ms_buf_clear(&self->file);
    return MS_OK;
}

static const struct ms_trace_sink sink_of = {NULL, on_process, on_call, on_end, NULL, on_turns};

/* Calls in which everything that is packed changes: threads and times stay, move and are extreme;
 * processes come and go; more names than a report may have. */
static void add_calls(struct ms_interleave *self, uint32_t seed, unsigned count)
{
    uint32_t r = seed;
    for (unsigned i = 0; i < count; i++) {
        char name[16], api[16];
        r = r * 1664525 + 1013904223;
        unsigned number = (r >> 8) % (i / 16 + 1) % 300;
        int n = snprintf(name, sizeof name, "p%u.exe", number), m;
        r = r * 1664525 + 1013904223;
        m = snprintf(api, sizeof api, "A%u", (r >> 8) % (i % 2 ? 50 : 30000));
        const struct ms_process_info process = {.pid = number ? number : UINT64_MAX,
                                                .parent_pid = number / 2,
                                                .name = ms_span_of(name, (size_t)n),
                                                .tracked = true};
        const int64_t times[] = {MS_TIME_NONE, 5, (int64_t)i * 1000, INT64_MAX, INT64_MIN + 1};
        const struct ms_call_info call = {.api = ms_span_of(api, (size_t)m),
                                          .category = ms_span_of("kernel32", i % 9),
                                          .tid = i % 5 ? r >> 30 : (uint64_t)r << 32 | i,
                                          .time_us = times[(r >> 20) % 5]};
        assert_int_equal(ms_interleave_add(self, &process, &call, NULL), MS_OK);
    }
}

/* A log's calls, put aside beyond held_bytes (0: never), into *out. */
static uint64_t collect(size_t held_bytes, unsigned count, struct got *out)
{
    struct ms_interleave *self = NULL;
    struct ms_trace_sink sink = sink_of;
    sink.ctx = out;
    ms_buf_init(&out->events, SIZE_MAX);
    ms_buf_init(&out->file, SIZE_MAX);
    out->voided = 0;
    assert_int_equal(ms_interleave_new(&self, NULL), MS_OK);
    if (held_bytes)
        ms_interleave_put_aside(self, &sink, held_bytes);
    /* What is cleared leaves nothing behind. */
    add_calls(self, 7, count / 2);
    assert_int_equal(ms_interleave_clear(self, NULL), MS_OK);
    add_calls(self, 1, count);
    assert_int_equal(ms_interleave_emit(self, MS_API_SYSCALL, &sink, NULL), MS_OK);
    uint64_t beyond = ms_interleave_beyond(self);
    ms_interleave_free(self);
    return beyond;
}

static enum ms_status read_back(struct ms_span file, struct ms_buf *events)
{
    struct got got;
    struct ms_trace_sink sink = sink_of;
    int fd = -1;
    sink.ctx = &got;
    ms_buf_init(&got.events, SIZE_MAX);
    assert_int_equal(ms_file_memory("turns", &fd, NULL), MS_OK);
    assert_int_equal(ms_file_write_all(fd, file.data, file.len, NULL), MS_OK);
    enum ms_status status = ms_turns_read(fd, &sink, NULL);
    assert_int_equal(close(fd), 0);
    *events = got.events;
    return status;
}

static void release(struct got *got)
{
    ms_buf_release(&got->events);
    ms_buf_release(&got->file);
}

static void test_aside_and_back(void **state)
{
    (void)state;
    struct got held, aside;
    struct ms_buf events;
    assert_int_equal(collect(0, 20000, &held), 0);
    assert_int_equal(held.file.len, 0);
    assert_true(collect(HELD_BYTES, 20000, &aside) > 1000); /* each counted once */
    assert_non_null(strstr(ms_buf_text(&held.events), MS_API_BEYOND));
    assert_int_equal(aside.events.len, 0);
    assert_int_equal(aside.voided, 1);
    assert_true(aside.file.len > 2 * HELD_BYTES);
    assert_int_equal(read_back(ms_span_of(aside.file.data, aside.file.len), &events), MS_OK);
    assert_string_equal(ms_buf_text(&events), ms_buf_text(&held.events));
    ms_buf_release(&events);
    release(&held);
    release(&aside);
}

/* Every cut is seen. A changed byte is, or gives other calls; whatever it gives, it ends. */
static void test_damage(void **state)
{
    (void)state;
    struct got aside;
    struct ms_buf events;
    (void)collect(HELD_BYTES, 3000, &aside);
    const size_t len = aside.file.len;
    unsigned refused = 0, tried = 0;
    for (size_t at = len % 997; at < len; at += at + 100 < len ? 997 : 1) {
        assert_int_equal(read_back(ms_span_of(aside.file.data, at), &events), MS_REJECT);
        ms_buf_release(&events);
        aside.file.data[at] ^= (uint8_t)(1U << at % 8);
        enum ms_status status = read_back(ms_span_of(aside.file.data, len), &events);
        assert_true(status == MS_OK || status == MS_REJECT);
        refused += status == MS_REJECT;
        tried++;
        ms_buf_release(&events);
        aside.file.data[at] ^= (uint8_t)(1U << at % 8);
    }
    assert_true(refused > tried / 20);
    release(&aside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_aside_and_back),
                                       cmocka_unit_test(test_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
