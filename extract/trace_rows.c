/* Rows out of received processes. */
#include "extract/trace_rows.h"

#include "base/limits.h"
#include "store/analysis.h"
#include "store/trace/encode.h"

#include <stdlib.h>
#include <string.h>

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
    enum ms_status status = MS_OK;
    while (status == MS_OK && self->count < received->api_count)
        status = ms_trace_rows_add_api(self, received, err);
    return status;
}

void ms_trace_rows_release(struct ms_trace_rows *self)
{
    free(self->ids);
    ms_buf_release(&self->blob);
    *self = (struct ms_trace_rows){0};
}

enum ms_status ms_trace_rows_blob(struct ms_trace_rows *self,
                                  const struct ms_trace_received *received, size_t index,
                                  struct ms_span *out, struct ms_error *err)
{
    struct ms_span trace = ms_trace_received_span(received, received->processes[index].trace);
    ms_buf_clear(&self->blob);
    enum ms_status status = ms_trace_remap(trace, self->ids, self->count, &self->blob, err);
    *out = ms_span_of(self->blob.data, self->blob.len);
    return status;
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
    enum ms_status status = ms_trace_rows_blob(self, received, index, &row.trace, err);
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
