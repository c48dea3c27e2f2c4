/* Fuzz target: calls of processes that take turns, put aside and merged. Any bytes may be the file
 * that is read back; with 'r' in front the bytes are calls, and what comes back from a file must be
 * what comes without one, call by call. */
#include "base/buf.h"
#include "base/file.h"
#include "base/limits.h"
#include "extract/report/interleave.h"
#include "extract/report/turns.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* REPEATS: so that few bytes make several runs. */
enum { HELD_BYTES = 32 << 10, REPEATS = 64, CALL_BYTES = 16 };

struct seen {
    struct ms_buf file;
    uint64_t processes, calls, sum;
    bool open;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void add(struct seen *self, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++)
        self->sum = (self->sum ^ p[i]) * 0x100000001b3U;
}

static enum ms_status on_process(void *ctx, const struct ms_process_info *p, struct ms_error *err)
{
    struct seen *self = ctx;
    (void)err;
    check(!self->open && p->name.len <= MS_LIMIT_NAME_BYTES);
    self->open = true;
    self->processes++;
    add(self, p->name.data, p->name.len);
    add(self, &p->pid, sizeof p->pid);
    add(self, &p->parent_pid, sizeof p->parent_pid);
    add(self, &p->first_seen_us, sizeof p->first_seen_us);
    return MS_OK;
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *c, struct ms_error *err)
{
    struct seen *self = ctx;
    (void)err;
    check(self->open && c->api.len <= MS_LIMIT_API_NAME_BYTES &&
          c->category.len <= MS_LIMIT_API_NAME_BYTES && c->repeated == 0);
    self->calls++;
    add(self, c->api.data, c->api.len);
    add(self, c->category.data, c->category.len);
    add(self, &c->tid, sizeof c->tid);
    add(self, &c->time_us, sizeof c->time_us);
    return MS_OK;
}

static enum ms_status on_end(void *ctx, struct ms_error *err)
{
    struct seen *self = ctx;
    (void)err;
    check(self->open);
    self->open = false;
    return MS_OK;
}

static enum ms_status on_turns(void *ctx, struct ms_span piece, struct ms_error *err)
{
    struct seen *self = ctx;
    (void)err;
    if (!piece.len)
        ms_buf_clear(&self->file);
    return ms_buf_append(&self->file, piece.data, piece.len);
}

static struct ms_trace_sink sink_of(struct seen *seen)
{
    *seen = (struct seen){.sum = 1};
    ms_buf_init(&seen->file, SIZE_MAX);
    return (struct ms_trace_sink){seen, on_process, on_call, on_end, NULL, on_turns};
}

static enum ms_status read_back(struct ms_span file, struct seen *seen)
{
    const struct ms_trace_sink sink = sink_of(seen);
    int fd = -1;
    check(ms_file_memory("turns", &fd, NULL) == MS_OK);
    check(ms_file_write_all(fd, file.data, file.len, NULL) == MS_OK);
    enum ms_status status = ms_turns_read(fd, &sink, NULL);
    check(status == MS_OK || status == MS_REJECT);
    (void)close(fd);
    return status;
}

/* Each CALL_BYTES are a call: process, name, thread, time. The first decides on an end before it.
 */
static void collect(struct ms_span data, size_t held_bytes, struct seen *out)
{
    struct ms_interleave *self = NULL;
    const struct ms_trace_sink sink = sink_of(out);
    check(ms_interleave_new(&self, NULL) == MS_OK);
    if (held_bytes)
        ms_interleave_put_aside(self, &sink, held_bytes);
    for (size_t i = 0; i < REPEATS; i++)
        for (size_t at = 0; at + CALL_BYTES <= data.len; at += CALL_BYTES) {
            const uint8_t *p = data.data + at;
            uint64_t word;
            memcpy(&word, p + 8, sizeof word);
            if (p[0] == 255 && i == p[1] % REPEATS)
                check(ms_interleave_clear(self, NULL) == MS_OK);
            const struct ms_process_info process = {
                .pid = p[1], .parent_pid = p[2] & 3, .name = ms_span_of(p + 3, p[2] >> 6)};
            const struct ms_call_info call = {.api = ms_span_of(p + 3, p[3] % 4 + 1),
                                              .category = ms_span_of(p, p[4] & 1),
                                              .tid = p[5] & 1 ? word + i : p[6],
                                              .time_us = p[7] & 1   ? MS_TIME_NONE
                                                         : p[7] & 2 ? (int64_t)(word * i)
                                                                    : (int64_t)i};
            check(ms_interleave_add(self, &process, &call, NULL) == MS_OK);
        }
    check(ms_interleave_emit(self, MS_API_CALL, &sink, NULL) == MS_OK);
    ms_interleave_free(self);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen held, aside, back;
    if (!size || data[0] != 'r') {
        (void)read_back(ms_span_of(data, size), &back);
        return 0;
    }
    struct ms_span calls = ms_span_of(data + 1, size - 1);
    collect(calls, 0, &held);
    collect(calls, HELD_BYTES, &aside);
    if (aside.file.len) {
        check(!aside.processes);
        check(read_back(ms_span_of(aside.file.data, aside.file.len), &back) == MS_OK);
        check(back.processes == held.processes && back.calls == held.calls && back.sum == held.sum);
    } else {
        check(aside.calls == held.calls && aside.sum == held.sum);
    }
    ms_buf_release(&aside.file);
    return 0;
}
