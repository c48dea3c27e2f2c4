/* The parent's half of the frames: takes apart what a worker sent, believing nothing. It stores
 * nothing. */
#include "base/limits.h"
#include "extract/trace_frames.h"
#include "store/trace/encode.h"

#include <stdlib.h>
#include <string.h>

void ms_trace_received_init(struct ms_trace_received *self)
{
    *self = (struct ms_trace_received){0};
    ms_buf_init(&self->bytes, MS_LIMIT_REPORT_NAMES_BYTES);
    ms_spool_init(&self->spool, NULL, MS_SPOOL_MEMORY_BYTES, MS_LIMIT_REPORT_TRACES_BYTES);
    ms_spool_init(&self->turns, NULL, 0, MS_LIMIT_TURNS_BYTES + MS_LIMIT_REPORT_NAMES_BYTES);
}

void ms_trace_received_keep(struct ms_trace_received *self, struct ms_corpus *corpus)
{
    self->spool.corpus = self->turns.corpus = corpus;
}

void ms_trace_received_release(struct ms_trace_received *self)
{
    ms_buf_release(&self->bytes);
    ms_spool_release(&self->spool);
    ms_spool_release(&self->turns);
    free(self->apis);
    free(self->processes);
    ms_trace_received_init(self);
}

static enum ms_status malformed(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "the reading process sent a malformed answer");
}

/* Spans are kept as (offset + 1, length) until they are asked for: `bytes` moves as it grows. */
static struct ms_span keep(struct ms_trace_received *self, struct ms_span bytes)
{
    size_t offset = self->bytes.len;
    (void)ms_buf_append(&self->bytes, bytes.data, bytes.len);
    return (struct ms_span){(const uint8_t *)(uintptr_t)(offset + 1), bytes.len};
}

struct ms_span ms_trace_received_span(const struct ms_trace_received *self, struct ms_span kept)
{
    size_t offset = (uintptr_t)kept.data;
    if (!offset || !kept.len)
        return ms_span_of("", 0);
    return ms_span_of(self->bytes.data + (offset - 1), kept.len);
}

static bool take_span(struct ms_span *rest, uint64_t most, struct ms_span *out)
{
    uint64_t len;
    return ms_span_take_varint(rest, &len) && len <= most && ms_span_take(rest, len, out);
}

static enum ms_status grow(void **items, size_t *cap, size_t count, size_t size,
                           struct ms_error *err)
{
    if (count < *cap)
        return MS_OK;
    size_t more = *cap ? *cap * 2 : 64;
    void *bigger = realloc(*items, more * size);
    if (!bigger)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a report");
    *items = bigger;
    *cap = more;
    return MS_OK;
}

static enum ms_status take_api(struct ms_trace_received *self, struct ms_span rest,
                               struct ms_error *err)
{
    uint8_t space;
    struct ms_span name, category;
    if (!ms_span_take_u8(&rest, &space) || space > MS_API_OPCODE ||
        !take_span(&rest, MS_LIMIT_API_NAME_BYTES, &name) ||
        !take_span(&rest, MS_LIMIT_API_NAME_BYTES, &category) || rest.len ||
        self->api_count > MS_LIMIT_APIS_PER_REPORT)
        return malformed(err);
    enum ms_status status =
        grow((void **)&self->apis, &self->api_cap, self->api_count, sizeof *self->apis, err);
    if (status != MS_OK)
        return status;
    struct ms_received_api *api = &self->apis[self->api_count++];
    api->space = (enum ms_api_space)space;
    api->name = keep(self, name);
    api->category = keep(self, category);
    return MS_OK;
}

static enum ms_status take_process(struct ms_trace_received *self, struct ms_span rest,
                                   struct ms_error *err)
{
    struct ms_received_process process = {0};
    struct ms_trace_head head;
    uint64_t first_seen;
    uint8_t tracked;
    if (!ms_span_take_varint(&rest, &process.info.pid) ||
        !ms_span_take_varint(&rest, &process.info.parent_pid) ||
        !ms_span_take_varint(&rest, &first_seen) || !ms_span_take_u8(&rest, &tracked) ||
        !take_span(&rest, MS_LIMIT_NAME_BYTES, &process.info.name) || tracked > 1 ||
        self->process_count >= MS_LIMIT_PROCESSES)
        return malformed(err);
    process.blocks_at = self->trace_from;
    process.block_bytes = self->spool.len - self->trace_from;
    process.head_bytes = rest.len;
    if (process.block_bytes > MS_LIMIT_TRACE_BYTES ||
        ms_trace_head_check(rest, process.block_bytes, &head, err) != MS_OK)
        return malformed(err);
    enum ms_status status = grow((void **)&self->processes, &self->process_cap, self->process_count,
                                 sizeof *self->processes, err);
    if (status == MS_OK)
        status = ms_spool_append(&self->spool, rest.data, rest.len, err);
    if (status != MS_OK)
        return status;
    process.calls = head.calls;
    process.calls_expanded = head.expanded;
    process.info.first_seen_us = (int64_t)first_seen;
    process.info.tracked = tracked;
    process.info.name = keep(self, process.info.name);
    self->processes[self->process_count++] = process;
    self->trace_from = self->spool.len;
    return MS_OK;
}

enum ms_status ms_trace_received_head(const struct ms_trace_received *self, size_t index,
                                      struct ms_buf *out, struct ms_error *err)
{
    const struct ms_received_process *process = &self->processes[index];
    enum ms_status status = ms_buf_reserve(out, process->head_bytes + 1);
    if (status != MS_OK)
        return ms_error_set(err, status, "no memory for a trace");
    status = ms_spool_read(&self->spool, process->blocks_at + process->block_bytes,
                           out->data + out->len, process->head_bytes, err);
    if (status == MS_OK)
        out->len += process->head_bytes;
    return status;
}

enum ms_status ms_trace_received_blocks(const struct ms_trace_received *self, size_t index,
                                        uint64_t at, void *out, size_t n, struct ms_error *err)
{
    return ms_spool_read(&self->spool, self->processes[index].blocks_at + at, out, n, err);
}

static enum ms_status take_info(struct ms_trace_received *self, struct ms_span rest,
                                struct ms_error *err)
{
    struct ms_span *texts[] = {&self->info.sandbox,     &self->info.version,
                               &self->info.package,     &self->info.target_sha256,
                               &self->info.target_sha1, &self->info.target_md5,
                               &self->info.target_name};
    uint8_t behavior, processes;
    if (self->has_info)
        return malformed(err);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ms_span text;
        if (!take_span(&rest, MS_LIMIT_NAME_BYTES, &text))
            return malformed(err);
        *texts[i] = keep(self, text);
    }
    if (!ms_span_take_u8(&rest, &behavior) || !ms_span_take_u8(&rest, &processes) || rest.len)
        return malformed(err);
    self->info.has_behavior = behavior != 0;
    self->info.has_processes = processes != 0;
    self->has_info = true;
    return MS_OK;
}

static enum ms_status take_result(struct ms_trace_received *self, struct ms_span rest,
                                  struct ms_error *err)
{
    struct ms_report_result *result = &self->result;
    uint64_t foreign = 0;
    uint64_t *numbers[] = {
        &result->line,           &result->byte,       &result->processes, &result->calls,
        &result->calls_expanded, &result->real_calls, &result->bytes,     &foreign};
    uint8_t state;
    struct ms_span reason;
    if (self->has_result || !ms_span_take_u8(&rest, &state) || state > MS_REPORT_INVALID)
        return malformed(err);
    result->state = (enum ms_report_state)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!ms_span_take_varint(&rest, numbers[i]))
            return malformed(err);
    if (foreign > MS_FOREIGN_JSON)
        return malformed(err);
    result->foreign = (enum ms_report_foreign)foreign;
    if (!take_span(&rest, sizeof self->reason - 1, &reason) || rest.len)
        return malformed(err);
    if (reason.len)
        memcpy(self->reason, reason.data, reason.len);
    self->reason[reason.len] = '\0';
    self->has_result = true;
    return MS_OK;
}

static enum ms_status take_turns(struct ms_trace_received *self, struct ms_span piece,
                                 struct ms_error *err)
{
    if (piece.len)
        return ms_spool_append(&self->turns, piece.data, piece.len, err);
    ms_spool_clear(&self->turns);
    return MS_OK;
}

void ms_trace_received_next(struct ms_trace_received *self)
{
    /* Names keep their ids only in the caller's own table: the bytes may go. */
    ms_buf_clear(&self->bytes);
    self->process_count = 0;
    self->trace_from = 0;
    ms_spool_clear(&self->spool);
    ms_spool_clear(&self->turns);
}

enum ms_status ms_trace_received_frame(struct ms_trace_received *self, uint32_t type,
                                       struct ms_span bytes, struct ms_error *err)
{
    enum ms_status status;
    switch (type) {
    case MS_FRAME_API:
        status = take_api(self, bytes, err);
        break;
    case MS_FRAME_TRACE:
        status = ms_spool_append(&self->spool, bytes.data, bytes.len, err);
        break;
    case MS_FRAME_TURNS:
        status = take_turns(self, bytes, err);
        break;
    case MS_FRAME_PROCESS:
        status = take_process(self, bytes, err);
        break;
    case MS_FRAME_INFO:
        status = take_info(self, bytes, err);
        break;
    case MS_FRAME_RESULT:
        status = take_result(self, bytes, err);
        break;
    default:
        return malformed(err);
    }
    if (status == MS_OK && self->bytes.failed)
        return ms_error_set(err, MS_REJECT, "the names of one report are too large");
    return status;
}
