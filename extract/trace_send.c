/* The worker's half of the frames: numbers API names, encodes traces, sends. It stores nothing. */
#include "extract/trace_frames.h"

#include "base/limits.h"
#include "store/trace/encode.h"

#include <stdlib.h>
#include <string.h>

enum {
    SLOTS = 16384,
    PIECE_BYTES = 1 << 20,
    SEND_BYTES = 32 << 10,
    MAX_APIS = MS_LIMIT_APIS_PER_REPORT
};
_Static_assert(SLOTS == 1 << 14 && MAX_APIS < SLOTS, "slot_of gives 14 bits; one slot stays free");

/* A name's length and kind, and its first eight bytes, its last and those in the middle: all of one
 * of up to 24. Of a shorter one than eight: its bytes, and zeros. */
struct name_key {
    uint64_t what, first, middle, last;
};
enum { KEY_HOLDS = 24 };

struct ms_trace_sender {
    struct ms_worker_out *out;
    struct ms_trace_encoder *encoder;
    struct ms_buf frame, head, name;
    struct ms_process_info process; /* name: in `name` */
    uint64_t overflow;
    uint32_t api_count;
    uint16_t slots[SLOTS]; /* number + 1; 0 free */
    /* What was sent, by number; the keys, which nearly always tell, lie close together. */
    struct name_key keys[MAX_APIS];
    uint8_t names[MAX_APIS][MS_LIMIT_API_NAME_BYTES];
};

enum ms_status ms_trace_sender_new(struct ms_worker_out *out, struct ms_trace_sender **sender,
                                   struct ms_error *err)
{
    struct ms_trace_sender *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a trace");
    self->out = out;
    ms_buf_init(&self->frame, MS_LIMIT_FRAME_BYTES);
    ms_buf_init(&self->head, MS_LIMIT_FRAME_BYTES);
    ms_buf_init(&self->name, MS_LIMIT_NAME_BYTES);
    enum ms_status status = ms_trace_encoder_new(&self->encoder, err);
    if (status != MS_OK) {
        ms_trace_sender_free(self);
        return status;
    }
    *sender = self;
    return MS_OK;
}

void ms_trace_sender_free(struct ms_trace_sender *self)
{
    if (!self)
        return;
    ms_trace_encoder_free(self->encoder);
    ms_buf_release(&self->frame);
    ms_buf_release(&self->head);
    ms_buf_release(&self->name);
    free(self);
}

uint64_t ms_trace_sender_overflow(const struct ms_trace_sender *self)
{
    return self->overflow;
}

static enum ms_status emit(struct ms_trace_sender *self, uint32_t type, struct ms_error *err)
{
    enum ms_status status =
        self->frame.failed ? MS_E_NOMEM
                           : ms_worker_emit(self->out, type, self->frame.data, self->frame.len);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

static void append_span(struct ms_buf *out, struct ms_span bytes)
{
    ms_buf_append_varint(out, bytes.len);
    ms_buf_append(out, bytes.data, bytes.len);
}

static enum ms_status send_api(struct ms_trace_sender *self, const struct ms_call_info *call,
                               struct ms_span name, struct ms_error *err)
{
    ms_buf_clear(&self->frame);
    ms_buf_append_byte(&self->frame, (uint8_t)call->space);
    append_span(&self->frame, name);
    append_span(&self->frame, call->category);
    return emit(self, MS_FRAME_API, err);
}

static struct name_key key_of(const struct ms_call_info *call)
{
    const size_t len = call->api.len;
    const uint8_t *at = call->api.data;
    struct name_key key = {.what = (uint64_t)len << 8 | (uint64_t)call->space};
    if (len >= 8) {
        memcpy(&key.first, at, 8);
        memcpy(&key.middle, at + (len - 8) / 2, 8);
        memcpy(&key.last, at + len - 8, 8);
    } else if (len) {
        memcpy(&key.first, at, len);
    }
    return key;
}

/* A name is looked up for every call, and which one comes next cannot be guessed: one way for all
 * of the usual lengths, without a branch. Collisions made on purpose cost probes in a table of
 * 4,096 names: with all of them some microseconds a call, up to the worker's CPU limit (ten minutes
 * for a report, a day for an archive). */
static uint32_t slot_of(const struct name_key *key, const struct ms_call_info *call)
{
    const uint64_t odd = 0x9e3779b97f4a7c15U;
    uint64_t hash = (key->first ^ key->what) * odd;
    hash = (hash ^ hash >> 29 ^ key->last) * odd;
    hash = (hash ^ hash >> 29 ^ key->middle) * odd;
    for (size_t at = 8; at + 8 < call->api.len && call->api.len > KEY_HOLDS; at += 8) {
        uint64_t word;
        memcpy(&word, call->api.data + at, 8);
        hash = (hash ^ hash >> 29 ^ word) * odd;
    }
    return (uint32_t)(hash >> 50); /* 14 bits: SLOTS */
}

static bool is_name(const struct ms_trace_sender *self, uint32_t number, const struct name_key *key,
                    const struct ms_call_info *call)
{
    const struct name_key *sent = &self->keys[number];
    const uint64_t differ = (sent->what ^ key->what) | (sent->first ^ key->first) |
                            (sent->middle ^ key->middle) | (sent->last ^ key->last);
    return differ == 0 && (call->api.len <= KEY_HOLDS ||
                           memcmp(self->names[number], call->api.data, call->api.len) == 0);
}

/* A number for a name that has none yet: sends it. */
static enum ms_status new_number(struct ms_trace_sender *self, const struct name_key *key,
                                 uint32_t slot, const struct ms_call_info *call, uint32_t *out,
                                 struct ms_error *err)
{
    if (call->api.len > MS_LIMIT_API_NAME_BYTES)
        return ms_error_set(err, MS_E_BUG, "an API name was not cut");
    if (self->api_count == MAX_APIS) {
        self->overflow++;
        *out = MAX_APIS;
        if (self->overflow > 1)
            return MS_OK;
        return send_api(self, call, ms_span_of(MS_API_OVERFLOW, strlen(MS_API_OVERFLOW)), err);
    }
    self->keys[self->api_count] = *key;
    if (call->api.len)
        memcpy(self->names[self->api_count], call->api.data, call->api.len);
    *out = self->api_count++;
    self->slots[slot] = (uint16_t)self->api_count;
    return send_api(self, call, call->api, err);
}

/* The number of the call's API, which is sent when new. */
static enum ms_status number_of(struct ms_trace_sender *self, const struct ms_call_info *call,
                                uint32_t *out, struct ms_error *err)
{
    const struct name_key key = key_of(call);
    uint32_t slot = slot_of(&key, call);
    for (; self->slots[slot]; slot = (slot + 1) % SLOTS)
        if (is_name(self, self->slots[slot] - 1U, &key, call)) {
            *out = self->slots[slot] - 1U;
            return MS_OK;
        }
    return new_number(self, &key, slot, call, out, err);
}

static enum ms_status on_process(void *ctx, const struct ms_process_info *process,
                                 struct ms_error *err)
{
    struct ms_trace_sender *self = ctx;
    self->process = *process;
    ms_buf_clear(&self->name);
    if (ms_buf_append(&self->name, process->name.data, process->name.len) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a process's name");
    return MS_OK;
}

/* The blocks made so far, so that none waits for the end of its process. */
static enum ms_status send_blocks(struct ms_trace_sender *self, struct ms_error *err)
{
    const struct ms_span blocks = ms_trace_encoder_blocks(self->encoder);
    enum ms_status status = MS_OK;
    for (size_t at = 0; status == MS_OK && at < blocks.len; at += PIECE_BYTES) {
        size_t n = blocks.len - at < PIECE_BYTES ? blocks.len - at : PIECE_BYTES;
        status = ms_worker_emit(self->out, MS_FRAME_TRACE, blocks.data + at, n);
    }
    ms_trace_encoder_take_blocks(self->encoder);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    struct ms_trace_sender *self = ctx;
    struct ms_trace_call encoded = {
        .tid = call->tid, .time_us = call->time_us, .repeated = call->repeated};
    enum ms_status status = number_of(self, call, &encoded.api, err);
    if (status == MS_OK)
        status = ms_trace_encoder_add(self->encoder, &encoded, err);
    if (status == MS_OK && ms_trace_encoder_blocks(self->encoder).len >= SEND_BYTES)
        status = send_blocks(self, err);
    return status;
}

static enum ms_status on_process_end(void *ctx, struct ms_error *err)
{
    struct ms_trace_sender *self = ctx;
    ms_buf_clear(&self->head);
    enum ms_status status = ms_trace_encoder_finish_head(self->encoder, &self->head, err);
    if (status == MS_OK)
        status = send_blocks(self, err);
    if (status != MS_OK)
        return status;
    ms_buf_clear(&self->frame);
    ms_buf_append_varint(&self->frame, self->process.pid);
    ms_buf_append_varint(&self->frame, self->process.parent_pid);
    ms_buf_append_varint(&self->frame, (uint64_t)self->process.first_seen_us);
    ms_buf_append_byte(&self->frame, self->process.tracked);
    append_span(&self->frame, ms_span_of(self->name.data, self->name.len));
    ms_buf_append(&self->frame, self->head.data, self->head.len);
    return emit(self, MS_FRAME_PROCESS, err);
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    struct ms_trace_sender *self = ctx;
    const struct ms_span texts[] = {info->sandbox,       info->version,     info->package,
                                    info->target_sha256, info->target_sha1, info->target_md5,
                                    info->target_name};
    ms_buf_clear(&self->frame);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        append_span(&self->frame, texts[i]);
    ms_buf_append_byte(&self->frame, info->has_behavior);
    ms_buf_append_byte(&self->frame, info->has_processes);
    return emit(self, MS_FRAME_INFO, err);
}

static enum ms_status on_turns(void *ctx, struct ms_span piece, struct ms_error *err)
{
    struct ms_trace_sender *self = ctx;
    enum ms_status status = ms_worker_emit(self->out, MS_FRAME_TURNS, piece.data, piece.len);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

struct ms_trace_sink ms_trace_sender_sink(struct ms_trace_sender *self)
{
    return (struct ms_trace_sink){self, on_process, on_call, on_process_end, on_info, on_turns};
}

enum ms_status ms_trace_send_result(struct ms_worker_out *out,
                                    const struct ms_report_result *result, const char *reason,
                                    struct ms_error *err)
{
    struct ms_buf frame;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    ms_buf_append_byte(&frame, (uint8_t)result->state);
    const uint64_t numbers[] = {result->line,  result->byte,           result->processes,
                                result->calls, result->calls_expanded, result->real_calls,
                                result->bytes, result->foreign};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        ms_buf_append_varint(&frame, numbers[i]);
    append_span(&frame, ms_span_of(reason, strlen(reason)));
    enum ms_status status =
        frame.failed ? MS_E_NOMEM : ms_worker_emit(out, MS_FRAME_RESULT, frame.data, frame.len);
    ms_buf_release(&frame);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}
