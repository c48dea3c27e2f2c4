/* The calls of one report by process, and their normalised view in frames. */
#include "detect/collector.h"

#include "base/limits.h"
#include "base/log.h"
#include "extract/report/packed.h"
#include "store/trace/encode.h"
#include "store/trace/names.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 256 << 10, BEYOND = MS_LIMIT_APIS_PER_REPORT };
enum { RECENT_SLOTS = 512, RECENT_BYTES = 54 }; /* of names; longer ones are looked up each time */
enum { RECENT_SHIFT = 64 - 9, VARINT_BYTES = 5 };

/* A name as reports have it, and its number. */
struct recent {
    uint32_t id;
    uint8_t len; /* 0: free */
    uint8_t raw[RECENT_BYTES];
};

/* What is told of a process. */
struct person {
    uint64_t pid;
    size_t name_at, name_len; /* in people_names */
    uint32_t number;          /* + 1 among those that were sent; 0: not sent */
};

struct ms_collector {
    struct ms_normal_options view;
    bool stored; /* names are escaped and cut already */
    struct ms_names *names;
    struct ms_trace_encoder *encoder;
    struct ms_buf blobs;
    struct ms_normal_process *processes; /* trace: an offset into blobs until the end */
    size_t *blob_at;
    struct person *people;
    struct ms_buf people_names;
    size_t count, capacity;
    struct ms_process_info process; /* the present one; its name is below */
    uint8_t name[MS_LIMIT_PROCESS_NAME_BYTES];
    size_t name_len;
    struct recent recent[RECENT_SLOTS];
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
}

enum ms_status ms_collector_new(const struct ms_normal_options *view, bool stored,
                                struct ms_collector **out, struct ms_error *err)
{
    struct ms_collector *self = calloc(1, sizeof *self);
    if (!self)
        return no_memory(err);
    self->view = *view;
    self->stored = stored;
    ms_buf_init(&self->blobs, SIZE_MAX / 2); /* bounded by the worker's address space, or in a
                                                host by what ms_interleave holds (256 MiB) */
    ms_buf_init(&self->people_names, SIZE_MAX / 2);
    enum ms_status status = ms_names_new(BEYOND + 1, &self->names, err);
    if (status == MS_OK)
        status = ms_trace_encoder_new(&self->encoder, err);
    if (status == MS_OK)
        *out = self;
    else
        ms_collector_free(self);
    return status;
}

void ms_collector_free(struct ms_collector *self)
{
    if (!self)
        return;
    ms_names_free(self->names);
    ms_trace_encoder_free(self->encoder);
    ms_buf_release(&self->blobs);
    ms_buf_release(&self->people_names);
    free(self->processes);
    free(self->blob_at);
    free(self->people);
    free(self);
}

/* ---- taking ---- */

static enum ms_status on_process(void *ctx, const struct ms_process_info *process,
                                 struct ms_error *err)
{
    struct ms_collector *c = ctx;
    (void)err;
    c->process = *process;
    c->name_len = process->name.len < sizeof c->name ? process->name.len : sizeof c->name;
    if (c->name_len)
        memcpy(c->name, process->name.data, c->name_len);
    return MS_OK;
}

/* Where a name would be among the recent ones: by its length and its last bytes, in which names of
 * one family differ. */
static struct recent *recent_of(struct ms_collector *c, struct ms_span raw)
{
    uint64_t tail = 0;
    const size_t n = raw.len < sizeof tail ? raw.len : sizeof tail;
    if (n)
        memcpy(&tail, raw.data + (raw.len - n), n);
    tail = (tail ^ raw.len) * 0x9e3779b97f4a7c15u;
    return &c->recent[tail >> RECENT_SHIFT];
}

/* The number of a name: escaped, cut, and one of at most BEYOND and the pseudo-call. */
static enum ms_status number_name(struct ms_collector *c, struct ms_span name, uint32_t *id,
                                  struct ms_error *err)
{
    char text[MS_LIMIT_API_NAME_BYTES + 1];
    if (!c->stored) {
        ms_escape_bytes(name.data ? (const void *)name.data : "", name.len, text, sizeof text);
        name = ms_span_of(text, strlen(text));
    }
    if (ms_names_find(c->names, name, id))
        return MS_OK;
    if (ms_names_count(c->names) >= BEYOND)
        name = ms_span_of("__overflow__", 12);
    return ms_names_intern(c->names, name, id, err);
}

/* Reports have few names and many calls. A name's number never changes. */
static enum ms_status find_name(struct ms_collector *c, struct ms_span raw, uint32_t *id,
                                struct ms_error *err)
{
    struct recent *slot = recent_of(c, raw);
    if (slot->len && slot->len == raw.len && memcmp(slot->raw, raw.data, raw.len) == 0) {
        *id = slot->id;
        return MS_OK;
    }
    enum ms_status status = number_name(c, raw, id, err);
    if (status == MS_OK && raw.len && raw.len <= RECENT_BYTES) {
        slot->id = *id;
        slot->len = (uint8_t)raw.len;
        memcpy(slot->raw, raw.data, raw.len);
    }
    return status;
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    struct ms_collector *c = ctx;
    /* Times cost time to keep, and only this order looks at them. */
    struct ms_trace_call encoded = {.tid = MS_TID_NONE,
                                    .time_us = c->view.order == MS_ORDER_TIME ? call->time_us
                                                                              : MS_TIME_NONE,
                                    .repeated = call->repeated};
    enum ms_status status = find_name(c, call->api, &encoded.api, err);
    if (status != MS_OK)
        return status;
    return ms_trace_encoder_add(c->encoder, &encoded, err);
}

static enum ms_status grow(struct ms_collector *c, struct ms_error *err)
{
    size_t capacity = c->capacity ? c->capacity * 2 : 32;
    struct ms_normal_process *p = realloc(c->processes, capacity * sizeof *p);
    if (p)
        c->processes = p;
    size_t *at = realloc(c->blob_at, capacity * sizeof *at);
    if (at)
        c->blob_at = at;
    struct person *people = realloc(c->people, capacity * sizeof *people);
    if (people)
        c->people = people;
    if (!p || !at || !people)
        return no_memory(err);
    c->capacity = capacity;
    return MS_OK;
}

static enum ms_status on_process_end(void *ctx, struct ms_error *err)
{
    struct ms_collector *c = ctx;
    size_t from = c->blobs.len;
    enum ms_status status = c->count == c->capacity ? grow(c, err) : MS_OK;
    if (status == MS_OK)
        status = ms_trace_encoder_finish(c->encoder, &c->blobs, err);
    if (status != MS_OK)
        return status;
    c->people[c->count] = (struct person){c->process.pid, c->people_names.len, c->name_len, 0};
    if (c->name_len && ms_buf_append(&c->people_names, c->name, c->name_len) != MS_OK)
        return no_memory(err);
    c->blob_at[c->count] = from;
    c->processes[c->count] = (struct ms_normal_process){
        .first_seen_us = c->process.first_seen_us,
        .ord = (int64_t)c->count,
        .tracked = c->process.tracked,
        .trace = ms_span_of(NULL, c->blobs.len - from),
    };
    c->count++;
    return MS_OK;
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    (void)ctx;
    (void)info;
    (void)err;
    return MS_OK;
}

struct ms_trace_sink ms_collector_sink(struct ms_collector *self)
{
    return (struct ms_trace_sink){self, on_process, on_call, on_process_end, on_info, NULL};
}

/* ---- sending ---- */

/* A frame that is being filled. */
struct writer {
    ms_frame_emit emit;
    void *ctx;
    struct ms_buf frame;
};

static enum ms_status flush(struct writer *w, enum ms_reader_frame type, struct ms_error *err)
{
    if (w->frame.failed)
        return no_memory(err);
    enum ms_status status =
        w->frame.len ? w->emit(w->ctx, type, ms_span_of(w->frame.data, w->frame.len), err) : MS_OK;
    ms_buf_clear(&w->frame);
    return status;
}

static enum ms_status flush_full(struct writer *w, enum ms_reader_frame type, struct ms_error *err)
{
    return w->frame.len >= PIECE_BYTES || w->frame.failed ? flush(w, type, err) : MS_OK;
}

/* The folded names first, then the calls as numbers into them. */
static enum ms_status send_names(const struct ms_collector *c, struct writer *w,
                                 struct ms_error *err)
{
    uint8_t folded[MS_LIMIT_NAME_BYTES];
    enum ms_status status = MS_OK;
    for (uint32_t i = 0; i < ms_names_count(c->names) && status == MS_OK; i++) {
        size_t n = ms_fold_name(&c->view, ms_names_get(c->names, i), folded);
        (void)ms_buf_append_varint(&w->frame, n);
        (void)ms_buf_append(&w->frame, folded, n);
        status = flush_full(w, MS_READER_NAMES, err);
    }
    return status == MS_OK ? flush(w, MS_READER_NAMES, err) : status;
}

static enum ms_status send_numbers(const uint32_t *numbers, size_t n, enum ms_reader_frame type,
                                   struct writer *w, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < n && status == MS_OK; i++) {
        (void)ms_buf_append_varint(&w->frame, numbers[i]);
        status = flush_full(w, type, err);
    }
    return status == MS_OK ? flush(w, type, err) : status;
}

/* Not with ms_buf_append_varint: a trace has tens of thousands of n-grams. */
static enum ms_status send_grams(const struct ms_gram_set *grams, struct writer *w,
                                 struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < ms_gram_set_count(grams) && status == MS_OK; i++) {
        struct ms_gram gram = ms_gram_set_get(grams, i);
        uint32_t n = ms_gram_length(gram);
        uint8_t bytes[(1 + MS_GRAM_MOST) * VARINT_BYTES];
        size_t used = ms_packed_put_varint(bytes, n);
        for (uint32_t k = 0; k < n; k++)
            used += ms_packed_put_varint(bytes + used, gram.symbol[k]);
        (void)ms_buf_append(&w->frame, bytes, used);
        status = flush_full(w, MS_READER_GRAMS, err);
    }
    if (status == MS_OK && ms_gram_set_cut(grams))
        (void)ms_buf_append_varint(&w->frame, 0);
    return status == MS_OK ? flush(w, MS_READER_GRAMS, err) : status;
}

/* Processes that have a call in the view, numbered as they come. */
static enum ms_status send_processes(struct ms_collector *c, const struct ms_sequence *sequence,
                                     struct writer *w, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    uint32_t sent = 0;
    for (size_t i = 0; i < c->count; i++)
        c->people[i].number = 0;
    for (size_t i = 0; i < sequence->n && status == MS_OK; i++) {
        struct person *person = &c->people[sequence->processes[i]];
        if (person->number)
            continue;
        person->number = ++sent;
        (void)ms_buf_append_varint(&w->frame, person->pid);
        (void)ms_buf_append_varint(&w->frame, person->name_len);
        if (person->name_len)
            (void)ms_buf_append(&w->frame, c->people_names.data + person->name_at,
                                person->name_len);
        status = flush_full(w, MS_READER_PROCESSES, err);
    }
    return status == MS_OK ? flush(w, MS_READER_PROCESSES, err) : status;
}

static enum ms_status send_origins(const struct ms_collector *c, const struct ms_sequence *sequence,
                                   struct writer *w, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < sequence->n && status == MS_OK; i++) {
        (void)ms_buf_append_varint(&w->frame, c->people[sequence->processes[i]].number - 1);
        (void)ms_buf_append_varint(&w->frame, sequence->entries[i]);
        status = flush_full(w, MS_READER_ORIGINS, err);
    }
    return status == MS_OK ? flush(w, MS_READER_ORIGINS, err) : status;
}

static enum ms_status normalise(struct ms_collector *c, struct ms_sequence *sequence,
                                struct ms_gram_set *grams, uint64_t *whole_length,
                                struct ms_error *err)
{
    const struct ms_normal_options *view = &c->view;
    uint32_t count = ms_names_count(c->names);
    struct ms_span *names = calloc(count + 1u, sizeof *names);
    uint32_t *fold = calloc(count + 1u, sizeof *fold);
    bool *pseudo = calloc(count + 1u, sizeof *pseudo);
    enum ms_status status = names && fold && pseudo ? MS_OK : no_memory(err);
    for (uint32_t i = 0; status == MS_OK && i < count; i++)
        names[i] = ms_names_get(c->names, i);
    if (status == MS_OK)
        status = ms_normal_apis_fill(view, names, count, fold, pseudo, err);
    for (size_t i = 0; i < c->count; i++) /* by ord, for normalising sorts them */
        if (c->processes[i].trace.len)
            c->processes[i].trace.data = c->blobs.data + c->blob_at[c->processes[i].ord];
    const struct ms_normal_apis apis = {count, fold, pseudo};
    struct ms_normal_options whole = *view;
    whole.collapse = 0;
    whole.once = false;
    whole.loops = 0;
    /* Only counted: a call repeated 4,000,000,000 times must not cost the report its verdict. */
    whole.length = 1;
    if (status == MS_OK)
        status = ms_normalise(c->processes, c->count, &apis, &whole, sequence, err);
    *whole_length = sequence->whole_length;
    if (status == MS_OK)
        status = ms_normalise(c->processes, c->count, &apis, view, sequence, err);
    if (status == MS_OK)
        status = ms_grams_read(c->processes, c->count, &apis, grams, err);
    free(names);
    free(fold);
    free(pseudo);
    return status;
}

enum ms_status ms_frames_send_result(enum ms_report_state state, enum ms_report_foreign foreign,
                                     uint64_t whole_length, const char *reason, ms_frame_emit emit,
                                     void *ctx, struct ms_error *err)
{
    struct writer w = {.emit = emit, .ctx = ctx};
    ms_buf_init(&w.frame, MS_LIMIT_FRAME_BYTES);
    (void)ms_buf_append_varint(&w.frame, (uint64_t)state);
    (void)ms_buf_append_varint(&w.frame, foreign);
    (void)ms_buf_append_varint(&w.frame, whole_length);
    (void)ms_buf_append_text(&w.frame, reason);
    enum ms_status status = flush(&w, MS_READER_RESULT, err);
    ms_buf_release(&w.frame);
    return status;
}

enum ms_status ms_collector_send(struct ms_collector *self, ms_frame_emit emit, void *ctx,
                                 struct ms_error *err)
{
    struct writer w = {.emit = emit, .ctx = ctx};
    struct ms_sequence sequence;
    uint64_t whole_length = 0;
    ms_buf_init(&w.frame, MS_LIMIT_FRAME_BYTES);
    ms_sequence_init(&sequence);
    sequence.keep_origins = true;
    struct ms_gram_set *grams = NULL;
    enum ms_status status = ms_gram_set_new(&grams, err);
    if (status == MS_OK)
        status = normalise(self, &sequence, grams, &whole_length, err);
    if (status == MS_OK)
        status = send_names(self, &w, err);
    if (status == MS_OK)
        status = send_numbers(sequence.calls, sequence.n, MS_READER_CALLS, &w, err);
    if (status == MS_OK)
        status = send_numbers(sequence.run_lengths, sequence.n, MS_READER_LENGTHS, &w, err);
    if (status == MS_OK)
        status = send_numbers(sequence.run_counts, sequence.n, MS_READER_COUNTS, &w, err);
    if (status == MS_OK)
        status = send_processes(self, &sequence, &w, err);
    if (status == MS_OK)
        status = send_origins(self, &sequence, &w, err);
    if (status == MS_OK)
        status = send_grams(grams, &w, err);
    if (status == MS_OK)
        status =
            ms_frames_send_result(MS_REPORT_OK, MS_FOREIGN_NO, whole_length, "", emit, ctx, err);
    ms_gram_set_free(grams);
    ms_sequence_release(&sequence);
    ms_buf_release(&w.frame);
    return status;
}
