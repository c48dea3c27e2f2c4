/* Stored traces to views, by the way that a report's calls take. Writes nothing. */
#include "detect/corpus.h"

#include "base/arena.h"
#include "base/limits.h"
#include "base/log.h"
#include "detect/collector.h"
#include "store/analysis.h"
#include "store/sample.h"
#include "store/trace/encode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ms_corpus_traces {
    struct ms_corpus *corpus;
    const struct ms_model_facts *facts;
    const struct ms_normal_options *view; /* of the facts */
    bool has_statics;                     /* of the present sample */
    struct ms_statics statics;
    struct ms_arena names;
    struct ms_span *apis; /* by id; data NULL: none */
    size_t api_count;
    struct ms_read_trace trace;
    /* of the present sample */
    const char *hex;
    ms_corpus_trace_visit visit;
    void *ctx;
    uint64_t analyses;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for a trace");
}

static enum ms_status on_api(void *ctx, uint32_t id, enum ms_api_space space, const char *name,
                             struct ms_error *err)
{
    struct ms_corpus_traces *self = ctx;
    (void)space;
    if (id >= self->api_count) {
        size_t count = self->api_count ? self->api_count : 1024;
        while (count <= id)
            count *= 2;
        struct ms_span *apis = realloc(self->apis, count * sizeof *apis);
        if (!apis)
            return no_memory(err);
        memset(apis + self->api_count, 0, (count - self->api_count) * sizeof *apis);
        self->apis = apis;
        self->api_count = count;
    }
    char *copy = ms_arena_copy(&self->names, name, strlen(name));
    if (!copy)
        return no_memory(err);
    self->apis[id] = ms_span_of(copy, strlen(copy));
    return MS_OK;
}

enum ms_status ms_corpus_traces_open(const char *folder, const struct ms_model_facts *facts,
                                     struct ms_corpus_traces **out, struct ms_error *err)
{
    struct ms_corpus_traces *self = calloc(1, sizeof *self);
    if (!self)
        return no_memory(err);
    self->facts = facts;
    self->view = &facts->view;
    ms_arena_init(&self->names, SIZE_MAX / 2);
    ms_read_trace_init(&self->trace);
    enum ms_status status = ms_corpus_open(folder, MS_CORPUS_READ, &self->corpus, err);
    if (status == MS_OK)
        status = ms_api_foreach(self->corpus, on_api, self, err);
    if (status == MS_OK)
        *out = self;
    else
        ms_corpus_traces_close(self);
    return status;
}

void ms_corpus_traces_close(struct ms_corpus_traces *self)
{
    if (!self)
        return;
    ms_corpus_close(self->corpus);
    ms_arena_release(&self->names);
    ms_read_trace_release(&self->trace);
    ms_statics_release(&self->statics);
    free(self->apis);
    free(self);
}

/* ---- one analysis ---- */

struct analysis {
    const struct ms_corpus_traces *owner;
    struct ms_trace_sink sink;
};

static enum ms_status give_calls(const struct analysis *a, struct ms_trace_decoder *decoder,
                                 struct ms_error *err)
{
    struct ms_trace_call block[256];
    size_t n = 1;
    enum ms_status status = MS_OK;
    while (status == MS_OK && n) {
        status = ms_trace_decoder_next(decoder, block, sizeof block / sizeof *block, &n, err);
        for (size_t i = 0; status == MS_OK && i < n; i++) {
            if (block[i].api >= a->owner->api_count || !a->owner->apis[block[i].api].data)
                return ms_error_set(err, MS_REJECT, "a trace names an unknown API");
            const struct ms_call_info call = {.api = a->owner->apis[block[i].api],
                                              .tid = block[i].tid,
                                              .time_us = block[i].time_us,
                                              .repeated = block[i].repeated};
            status = a->sink.call(a->sink.ctx, &call, err);
        }
    }
    return status;
}

static enum ms_status on_process(void *ctx, const struct ms_process_row *row, struct ms_error *err)
{
    const struct analysis *a = ctx;
    struct ms_trace_decoder *decoder = NULL;
    const struct ms_process_info process = {.pid = row->pid,
                                            .parent_pid = row->parent_pid,
                                            .name = row->name,
                                            .first_seen_us = row->first_seen_us,
                                            .tracked = row->tracked};
    enum ms_status status = ms_trace_decoder_open(row->trace, &decoder, err);
    if (status == MS_OK)
        status = a->sink.process(a->sink.ctx, &process, err);
    if (status == MS_OK)
        status = give_calls(a, decoder, err);
    if (status == MS_OK)
        status = a->sink.process_end(a->sink.ctx, err);
    ms_trace_decoder_close(decoder);
    return status;
}

static enum ms_status take_frame(void *ctx, enum ms_reader_frame type, struct ms_span bytes,
                                 struct ms_error *err)
{
    struct ms_corpus_traces *self = ctx;
    return ms_read_trace_take(&self->trace, self->view, (uint32_t)type, bytes, err);
}

static enum ms_status read_calls(struct ms_corpus_traces *self, int64_t id, struct ms_error *err)
{
    struct ms_collector *collector = NULL;
    struct analysis a = {.owner = self};
    enum ms_status status = ms_collector_new(self->view, true, &collector, err);
    if (status == MS_OK) {
        a.sink = ms_collector_sink(collector);
        status = ms_process_foreach(self->corpus, id, on_process, &a, err);
    }
    if (status == MS_OK)
        status = ms_collector_send(collector, take_frame, self, err);
    ms_collector_free(collector);
    return status;
}

/* What an analysis without calls is for a verdict. */
static enum ms_status say_state(struct ms_corpus_traces *self, const struct ms_analysis *row,
                                struct ms_error *err)
{
    char reason[256];
    enum ms_report_state state = MS_REPORT_NO_BEHAVIOR;
    if (strcmp(row->state, ms_report_state_name(MS_REPORT_NO_CALLS)) == 0)
        state = MS_REPORT_NO_CALLS;
    else if (strcmp(row->state, ms_report_state_name(MS_REPORT_INVALID)) == 0)
        state = MS_REPORT_INVALID;
    (void)snprintf(reason, sizeof reason, "the analysis is %s%s%.120s", row->state,
                   row->reason ? ": " : "", row->reason ? row->reason : "");
    return ms_frames_send_result(state, MS_FOREIGN_NO, 0, reason, take_frame, self, err);
}

static enum ms_status on_analysis(void *ctx, int64_t id, struct ms_error *err)
{
    struct ms_corpus_traces *self = ctx;
    struct ms_error fault = {.status = MS_OK};
    struct ms_analysis row;
    char name[96];
    enum ms_status status = ms_analysis_get(self->corpus, id, &row, err);
    if (status != MS_OK)
        return status;
    if (row.opcodes != self->facts->opcodes) {
        ms_analysis_release(&row);
        return MS_OK;
    }
    self->analyses++;
    ms_read_trace_reset(&self->trace);
    status =
        strcmp(row.state, "ok") == 0 ? read_calls(self, id, &fault) : say_state(self, &row, &fault);
    ms_analysis_release(&row);
    if (status == MS_REJECT || status == MS_E_LIMIT) {
        ms_read_trace_reset(&self->trace);
        status = ms_frames_send_result(MS_REPORT_INVALID, MS_FOREIGN_NO, 0, fault.text, take_frame,
                                       self, &fault);
    }
    self->trace.opcodes = self->facts->opcodes;
    if (status == MS_OK && self->has_statics && self->trace.state == MS_REPORT_OK)
        status = ms_read_trace_add_statics(&self->trace, self->statics.names, self->statics.count,
                                           self->facts->statics == MS_STATIC_ALONE, &fault);
    if (status != MS_OK) {
        if (err)
            *err = fault;
        return status;
    }
    (void)snprintf(name, sizeof name, "%.64s#%" PRId64, self->hex, id);
    return self->visit(self->ctx, name, &self->trace, err);
}

/* A sample without any is no fault: the verdict says what it lacks. */
static enum ms_status read_statics(struct ms_corpus_traces *self, int64_t sample,
                                   struct ms_error *err)
{
    struct ms_error why = {.status = MS_OK};
    struct ms_buf features;
    ms_buf_init(&features, MS_LIMIT_FRAME_BYTES);
    enum ms_status status = ms_sample_features_get(self->corpus, sample, &features, err);
    if (status == MS_OK) {
        status = ms_statics_read(ms_buf_text(&features), &self->statics, &why);
        self->has_statics = status == MS_OK;
        if (status != MS_OK && status != MS_REJECT && err)
            *err = why;
    }
    ms_buf_release(&features);
    return status == MS_REJECT ? MS_OK : status;
}

enum ms_status ms_corpus_traces_read(struct ms_corpus_traces *self, const char *hex,
                                     ms_corpus_trace_visit visit, void *ctx, struct ms_error *err)
{
    int64_t sample;
    self->hex = hex;
    self->visit = visit;
    self->ctx = ctx;
    self->analyses = 0;
    self->has_statics = false;
    enum ms_status status = ms_sample_find(self->corpus, hex, &sample, err);
    if (status == MS_OK && self->facts->statics)
        status = read_statics(self, sample, err);
    if (status == MS_OK)
        status = ms_analysis_foreach_sample(self->corpus, sample, on_analysis, self, err);
    if (status == MS_OK && !self->analyses)
        return ms_error_set(err, MS_REJECT, "no analysis of it%s is in '%s'",
                            self->facts->opcodes ? " with opcodes" : "",
                            ms_corpus_dir(self->corpus));
    return status;
}
