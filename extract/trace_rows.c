/* Rows out of received processes. */
#include "extract/trace_rows.h"

#include "base/limits.h"
#include "store/analysis.h"
#include "store/trace/encode.h"

#include <stdlib.h>
#include <string.h>

/* Blobs with more bytes of blocks are stored piece by piece. */
enum { LARGE_BYTES = 256 << 10 };

enum ms_status ms_trace_rows_add_api(struct ms_trace_rows *self,
                                     const struct ms_trace_received *received, struct ms_error *err)
{
    if (self->count >= received->api_count)
        return ms_error_set(err, MS_E_BUG, "no API name is waiting");
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        uint32_t *ids = realloc(self->ids, cap * sizeof *ids);
        if (!ids)
            return ms_error_set(err, MS_E_NOMEM, "no memory for API names");
        self->ids = ids;
        self->cap = cap;
    }
    const struct ms_received_api *api = &received->apis[self->count];
    enum ms_status status = ms_api_intern(
        self->corpus, api->space, ms_trace_received_span(received, api->name),
        ms_trace_received_span(received, api->category), &self->ids[self->count], err);
    if (status == MS_OK)
        self->count++;
    return status;
}

enum ms_status ms_trace_rows_init(struct ms_trace_rows *self, struct ms_corpus *corpus,
                                  const struct ms_trace_received *received, struct ms_error *err)
{
    *self = (struct ms_trace_rows){.corpus = corpus};
    ms_buf_init(&self->blob, MS_LIMIT_TRACE_BYTES);
    ms_buf_init(&self->head, MS_LIMIT_FRAME_BYTES);
    enum ms_status status = MS_OK;
    while (status == MS_OK && self->count < received->api_count)
        status = ms_trace_rows_add_api(self, received, err);
    return status;
}

void ms_trace_rows_release(struct ms_trace_rows *self)
{
    free(self->ids);
    ms_buf_release(&self->blob);
    ms_buf_release(&self->head);
    *self = (struct ms_trace_rows){0};
}

/* The head with the corpus's ids, in self->blob. */
static enum ms_status make_head(struct ms_trace_rows *self,
                                const struct ms_trace_received *received, size_t index,
                                struct ms_error *err)
{
    ms_buf_clear(&self->blob);
    ms_buf_clear(&self->head);
    enum ms_status status = ms_trace_received_head(received, index, &self->head, err);
    return status == MS_OK ? ms_trace_remap(ms_span_of(self->head.data, self->head.len), self->ids,
                                            self->count, &self->blob, err)
                           : status;
}

/* The blocks behind the head. */
static enum ms_status add_blocks(struct ms_trace_rows *self,
                                 const struct ms_trace_received *received, size_t index,
                                 struct ms_error *err)
{
    const size_t n = (size_t)received->processes[index].block_bytes;
    if (ms_buf_reserve(&self->blob, n + 1) != MS_OK)
        return ms_error_set(err, MS_REJECT, "a trace is too large");
    enum ms_status status =
        ms_trace_received_blocks(received, index, 0, self->blob.data + self->blob.len, n, err);
    if (status == MS_OK)
        self->blob.len += n;
    return status;
}

enum ms_status ms_trace_rows_blob(struct ms_trace_rows *self,
                                  const struct ms_trace_received *received, size_t index,
                                  struct ms_span *out, struct ms_error *err)
{
    enum ms_status status = make_head(self, received, index, err);
    if (status == MS_OK)
        status = add_blocks(self, received, index, err);
    *out = ms_span_of(self->blob.data, self->blob.len);
    return status;
}

/* A blob that is never held: the head, then the blocks out of the spool. */
struct pieces {
    struct ms_span head;
    const struct ms_trace_received *received;
    size_t index;
};

static enum ms_status read_piece(void *ctx, uint64_t at, void *out, size_t n, struct ms_error *err)
{
    const struct pieces *self = ctx;
    uint8_t *to = out;
    if (at < self->head.len) {
        size_t left = self->head.len - (size_t)at, first = n < left ? n : left;
        memcpy(to, self->head.data + at, first);
        to += first;
        at += first;
        n -= first;
    }
    return n ? ms_trace_received_blocks(self->received, self->index, at - self->head.len, to, n,
                                        err)
             : MS_OK;
}

enum ms_status ms_trace_rows_insert(struct ms_trace_rows *self,
                                    const struct ms_trace_received *received, size_t index,
                                    int64_t analysis, int64_t ord, struct ms_error *err)
{
    const struct ms_received_process *process = &received->processes[index];
    struct ms_process_row row = {
        .analysis = analysis,
        .ord = ord,
        .pid = process->info.pid,
        .parent_pid = process->info.parent_pid,
        .name = ms_trace_received_span(received, process->info.name),
        .first_seen_us = process->info.first_seen_us,
        .tracked = process->info.tracked,
        .calls = process->calls,
        .calls_expanded = process->calls_expanded,
    };
    enum ms_status status = make_head(self, received, index, err);
    if (status == MS_OK && process->block_bytes > LARGE_BYTES) {
        struct pieces pieces = {ms_span_of(self->blob.data, self->blob.len), received, index};
        return ms_process_insert_large(self->corpus, &row, self->blob.len + process->block_bytes,
                                       read_piece, &pieces, err);
    }
    if (status == MS_OK)
        status = add_blocks(self, received, index, err);
    row.trace = ms_span_of(self->blob.data, self->blob.len);
    return status == MS_OK ? ms_process_insert(self->corpus, &row, err) : status;
}

const char *ms_state_text(const char *state)
{
    static const char *const states[] = {
        "queued", "submitting",    "pending",  "running",     "completed",      "reported",
        "ok",     "too_few_calls", "no_calls", "no_behavior", "report_invalid", "report_missing",
        "failed", "lost",          "refused"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (strcmp(state, states[i]) == 0)
            return states[i];
    return "error";
}
