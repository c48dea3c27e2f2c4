/* Runs of packed calls, each sorted by process, merged: one process at a time, through a small
 * window on every run. It writes nothing. */
#define _DEFAULT_SOURCE /* pread */
#include "extract/report/turns.h"

#include "base/arena.h"
#include "base/limits.h"
#include "extract/report/packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TABLE_BYTES = 16384, /* holds a name and what stands before it */
    WINDOWS_BYTES = 1 << 20,
    WINDOW_MIN_BYTES = 256,
    WINDOW_MAX_BYTES = 65536
};

/* A part of the file, of which `have` bytes from `pos` on are here. */
struct window {
    uint64_t at, end; /* what is still to be read */
    uint8_t *bytes;
    size_t cap, pos, have;
};

struct run {
    struct window window;
    uint64_t process; /* whose calls are next, + 1; 0: none */
    uint64_t left;    /* bytes of them */
};

struct turns {
    int fd;
    struct ms_arena arena; /* the names of APIs */
    struct ms_span *apis;  /* name, category */
    uint64_t api_count, run_count;
    enum ms_api_space space;
    struct window table;
    struct run *runs;
    uint8_t *windows;
};

static enum ms_status damaged(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "the calls that were put aside are damaged");
}

/* Reads what there is until `want` bytes are here, or all of the part that are left. */
static enum ms_status look(const struct turns *self, struct window *window, size_t want,
                           struct ms_error *err)
{
    if (window->have >= want || window->at == window->end)
        return MS_OK;
    memmove(window->bytes, window->bytes + window->pos, window->have);
    window->pos = 0;
    while (window->have < want && window->at < window->end) {
        size_t room = window->cap - window->have;
        size_t n = window->end - window->at < room ? (size_t)(window->end - window->at) : room;
        ssize_t got = pread(self->fd, window->bytes + window->have, n, (off_t)window->at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ms_error_set_errno(err, MS_E_IO, got ? errno : EIO,
                                      "cannot read the calls that were put aside");
        window->have += (size_t)got;
        window->at += (uint64_t)got;
    }
    return MS_OK;
}

static void pass(struct window *window, size_t n)
{
    window->pos += n;
    window->have -= n;
}

static enum ms_status take_number(const struct turns *self, struct window *window, uint64_t most,
                                  uint64_t *out, struct ms_error *err)
{
    enum ms_status status = look(self, window, 10, err);
    if (status != MS_OK)
        return status;
    size_t n = ms_packed_get_varint(window->bytes + window->pos, window->have, out);
    pass(window, n);
    return n && *out <= most ? MS_OK : damaged(err);
}

/* Borrowed until more of the table is read. */
static enum ms_status take_text(struct turns *self, size_t most, struct ms_span *out,
                                struct ms_error *err)
{
    uint64_t len;
    struct window *table = &self->table;
    enum ms_status status = take_number(self, table, most, &len, err);
    if (status == MS_OK)
        status = look(self, table, (size_t)len, err);
    if (status != MS_OK)
        return status;
    if (table->have < len)
        return damaged(err);
    *out = ms_span_of(table->bytes + table->pos, (size_t)len);
    pass(table, (size_t)len);
    return MS_OK;
}

/* The runs lie before the table without a gap. */
static enum ms_status take_runs(struct turns *self, uint64_t table_at, struct ms_error *err)
{
    uint64_t at = 0;
    enum ms_status status =
        take_number(self, &self->table, MS_LIMIT_TURNS_RUNS, &self->run_count, err);
    if (status != MS_OK)
        return status;
    size_t count = (size_t)self->run_count;
    size_t cap = WINDOWS_BYTES / (count + 1);
    cap = cap < WINDOW_MIN_BYTES ? WINDOW_MIN_BYTES : cap;
    cap = cap > WINDOW_MAX_BYTES ? WINDOW_MAX_BYTES : cap;
    self->runs = calloc(count + 1, sizeof *self->runs);
    self->windows = malloc((count + 1) * cap);
    if (!self->runs || !self->windows)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    for (size_t i = 0; status == MS_OK && i < count; i++) {
        uint64_t len;
        status = take_number(self, &self->table, table_at - at, &len, err);
        self->runs[i].window = (struct window){
            .at = at, .end = at + len, .bytes = self->windows + i * cap, .cap = cap};
        at += len;
    }
    return status == MS_OK && at != table_at ? damaged(err) : status;
}

static enum ms_status take_apis(struct turns *self, struct ms_error *err)
{
    enum ms_status status =
        take_number(self, &self->table, MS_LIMIT_APIS_PER_REPORT + 1, &self->api_count, err);
    if (status != MS_OK)
        return status;
    self->apis = calloc((size_t)self->api_count + 1, 2 * sizeof *self->apis);
    if (!self->apis)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    for (size_t i = 0; status == MS_OK && i < 2 * self->api_count; i++) {
        struct ms_span text;
        status = take_text(self, MS_LIMIT_API_NAME_BYTES, &text, err);
        if (status != MS_OK || !text.len)
            continue;
        const char *copy = ms_arena_copy(&self->arena, text.data, text.len);
        if (!copy)
            return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
        self->apis[i] = ms_span_of(copy, text.len);
    }
    return status;
}

/* Where the next calls of a run are whose; rising, so that none is passed over. */
static enum ms_status next_part(const struct turns *self, struct run *run, struct ms_error *err)
{
    uint64_t before = run->process;
    enum ms_status status = take_number(self, &run->window, MS_LIMIT_PROCESSES, &run->process, err);
    if (status == MS_OK && run->process)
        status = take_number(self, &run->window, run->window.end, &run->left, err);
    if (status != MS_OK)
        return status;
    uint64_t rest = run->window.have + (run->window.end - run->window.at);
    bool sound = run->process ? run->process > before && run->left <= rest : !rest;
    return sound ? MS_OK : damaged(err);
}

static enum ms_status give_calls(struct turns *self, struct run *run, struct ms_packed *last,
                                 const struct ms_trace_sink *sink, struct ms_error *err)
{
    struct window *window = &run->window;
    struct ms_call_info call = {.space = self->space};
    enum ms_status status = MS_OK;
    while (status == MS_OK && run->left) {
        uint64_t api;
        size_t most = run->left < MS_PACKED_MAX_BYTES ? (size_t)run->left : MS_PACKED_MAX_BYTES;
        status = look(self, window, most, err);
        if (status != MS_OK)
            return status;
        if (most > window->have)
            return damaged(err);
        size_t n = ms_packed_get(window->bytes + window->pos, most, last, &api, &call);
        if (!n || api >= self->api_count)
            return damaged(err);
        pass(window, n);
        run->left -= n;
        call.api = self->apis[2 * api];
        call.category = self->apis[2 * api + 1];
        status = sink->call(sink->ctx, &call, err);
    }
    return status == MS_OK ? next_part(self, run, err) : status;
}

static enum ms_status give_process(struct turns *self, uint64_t number,
                                   const struct ms_trace_sink *sink, struct ms_error *err)
{
    struct ms_process_info info = {.tracked = true};
    struct ms_packed last = MS_PACKED_FIRST;
    uint64_t first_seen = 0;
    enum ms_status status = take_number(self, &self->table, UINT64_MAX, &info.pid, err);
    if (status == MS_OK)
        status = take_number(self, &self->table, UINT64_MAX, &info.parent_pid, err);
    if (status == MS_OK)
        status = take_number(self, &self->table, UINT64_MAX, &first_seen, err);
    if (status == MS_OK)
        status = take_text(self, MS_LIMIT_NAME_BYTES, &info.name, err);
    info.first_seen_us = (int64_t)first_seen;
    if (status == MS_OK)
        status = sink->process(sink->ctx, &info, err);
    for (size_t i = 0; status == MS_OK && i < self->run_count; i++)
        if (self->runs[i].process == number + 1)
            status = give_calls(self, &self->runs[i], &last, sink, err);
    return status == MS_OK ? sink->process_end(sink->ctx, err) : status;
}

static enum ms_status open_table(struct turns *self, uint64_t *table_at, struct ms_error *err)
{
    struct stat st;
    uint8_t place[8];
    if (fstat(self->fd, &st) != 0 || st.st_size < (off_t)sizeof place)
        return damaged(err);
    uint64_t end = (uint64_t)st.st_size - sizeof place;
    if (pread(self->fd, place, sizeof place, (off_t)end) != (ssize_t)sizeof place ||
        !ms_span_u64le(ms_span_of(place, sizeof place), 0, table_at) || *table_at > end)
        return damaged(err);
    self->table = (struct window){
        .at = *table_at, .end = end, .bytes = malloc(TABLE_BYTES), .cap = TABLE_BYTES};
    return self->table.bytes ? MS_OK : ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
}

static enum ms_status read_all(struct turns *self, const struct ms_trace_sink *sink,
                               struct ms_error *err)
{
    uint64_t table_at = 0, space = 0, processes = 0;
    enum ms_status status = open_table(self, &table_at, err);
    if (status == MS_OK)
        status = take_number(self, &self->table, MS_API_OPCODE, &space, err);
    self->space = (enum ms_api_space)space;
    if (status == MS_OK)
        status = take_runs(self, table_at, err);
    if (status == MS_OK)
        status = take_apis(self, err);
    if (status == MS_OK)
        status = take_number(self, &self->table, MS_LIMIT_PROCESSES, &processes, err);
    for (size_t i = 0; status == MS_OK && i < self->run_count; i++)
        status = next_part(self, &self->runs[i], err);
    for (uint64_t i = 0; status == MS_OK && i < processes; i++)
        status = give_process(self, i, sink, err);
    for (size_t i = 0; status == MS_OK && i < self->run_count; i++)
        if (self->runs[i].process)
            status = damaged(err);
    return status;
}

enum ms_status ms_turns_read(int fd, const struct ms_trace_sink *sink, struct ms_error *err)
{
    struct turns self = {.fd = fd};
    ms_arena_init(&self.arena,
                  (size_t)2 * (MS_LIMIT_APIS_PER_REPORT + 1) * (MS_LIMIT_API_NAME_BYTES + 32));
    enum ms_status status = read_all(&self, sink, err);
    free(self.table.bytes);
    free(self.windows);
    free(self.runs);
    free(self.apis);
    ms_arena_release(&self.arena);
    return status;
}
