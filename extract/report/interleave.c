/* A packed list of calls a process. A call is a few varints: the number of its API, then thread and
 * time where they differ from the call before. Nothing is parsed here. */
#include "extract/report/interleave.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_MIN_BYTES = 128,
    CHUNK_MAX_BYTES = 16384,
    CALL_MAX_BYTES = 32, /* three varints of at most ten bytes */
    API_SLOTS = 16384,
    PROCESS_SLOTS = 2 * MS_LIMIT_PROCESSES,
    HAS_TID = 1,
    HAS_TIME = 2,
    FLAG_BITS = 2
};

struct chunk {
    struct chunk *next;
    uint32_t len, cap;
    uint8_t bytes[];
};

struct process {
    struct ms_process_info info;
    uint32_t hash;
    uint64_t calls;
    uint64_t tid; /* of the last call */
    int64_t time_us;
    struct chunk *first, *last;
};

struct api {
    struct ms_span name, category;
    uint32_t hash;
};

struct ms_interleave {
    struct ms_arena arena; /* names and chunks */
    struct process *processes;
    size_t process_count, process_cap;
    size_t recent; /* the process of the last call: calls come in runs */
    uint64_t calls;
    struct api *apis;
    uint32_t api_count;
    bool beyond;             /* the last API is MS_API_BEYOND */
    uint16_t *api_slots;     /* number + 1; 0 free */
    uint32_t *process_slots; /* the same */
};

enum ms_status ms_interleave_new(struct ms_interleave **out, struct ms_error *err)
{
    struct ms_interleave *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    ms_arena_init(&self->arena, MS_LIMIT_INTERLEAVED_BYTES);
    self->apis = calloc(MS_LIMIT_APIS_PER_REPORT + 1, sizeof *self->apis);
    self->api_slots = calloc(API_SLOTS, sizeof *self->api_slots);
    self->process_slots = calloc(PROCESS_SLOTS, sizeof *self->process_slots);
    if (!self->apis || !self->api_slots || !self->process_slots) {
        ms_interleave_free(self);
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    }
    *out = self;
    return MS_OK;
}

void ms_interleave_free(struct ms_interleave *self)
{
    if (!self)
        return;
    ms_arena_release(&self->arena);
    free(self->processes);
    free(self->apis);
    free(self->api_slots);
    free(self->process_slots);
    free(self);
}

void ms_interleave_clear(struct ms_interleave *self)
{
    ms_arena_reset(&self->arena);
    memset(self->api_slots, 0, API_SLOTS * sizeof *self->api_slots);
    memset(self->process_slots, 0, PROCESS_SLOTS * sizeof *self->process_slots);
    self->process_count = 0;
    self->recent = 0;
    self->calls = 0;
    self->api_count = 0;
    self->beyond = false;
}

uint64_t ms_interleave_calls(const struct ms_interleave *self)
{
    return self->calls;
}

uint64_t ms_interleave_processes(const struct ms_interleave *self)
{
    return self->process_count;
}

static enum ms_status full(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "too many calls of processes that take turns");
}

static bool copy(struct ms_interleave *self, struct ms_span from, size_t cap, struct ms_span *out)
{
    size_t n = from.len < cap ? from.len : cap;
    char *bytes = n ? ms_arena_copy(&self->arena, from.data, n) : NULL;
    *out = ms_span_of(bytes, n);
    return !n || bytes;
}

/* Collisions made on purpose cost probes, and the worker's CPU limit ends them. */
static uint32_t mix(uint64_t hash, struct ms_span bytes)
{
    const uint64_t odd = 0x9e3779b97f4a7c15U;
    for (size_t at = 0; at < bytes.len; at += 8) {
        size_t n = bytes.len - at < 8 ? bytes.len - at : 8;
        uint64_t word = 0;
        memcpy(&word, bytes.data + at, n);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 29;
    }
    hash *= odd;
    return (uint32_t)(hash >> 32);
}

/* The number of the call's API. */
static enum ms_status find_api(struct ms_interleave *self, const struct ms_call_info *call,
                               uint32_t *out, struct ms_error *err)
{
    struct ms_span name = call->api;
    if (name.len > MS_LIMIT_API_NAME_BYTES)
        name.len = MS_LIMIT_API_NAME_BYTES;
    uint32_t hash = mix(name.len + 1, name), slot = hash % API_SLOTS;
    for (; self->api_slots[slot]; slot = (slot + 1) % API_SLOTS) {
        const struct api *api = &self->apis[self->api_slots[slot] - 1];
        if (api->hash == hash && ms_span_equal(api->name, name)) {
            *out = self->api_slots[slot] - 1U;
            return MS_OK;
        }
    }
    *out = self->api_count;
    if (self->api_count == MS_LIMIT_APIS_PER_REPORT || self->beyond) {
        *out = MS_LIMIT_APIS_PER_REPORT;
        self->beyond = true;
        self->apis[*out].name = ms_span_of(MS_API_BEYOND, strlen(MS_API_BEYOND));
        self->apis[*out].category = ms_span_of(NULL, 0);
        return MS_OK;
    }
    struct api *api = &self->apis[self->api_count];
    if (!copy(self, name, MS_LIMIT_API_NAME_BYTES, &api->name) ||
        !copy(self, call->category, MS_LIMIT_API_NAME_BYTES, &api->category))
        return full(err);
    api->hash = hash;
    self->api_slots[slot] = (uint16_t)(++self->api_count);
    return MS_OK;
}

static bool is_process(const struct process *process, uint32_t hash,
                       const struct ms_process_info *info)
{
    return process->hash == hash && process->info.pid == info->pid &&
           process->info.parent_pid == info->parent_pid &&
           ms_span_equal(process->info.name, info->name);
}

static enum ms_status add_process(struct ms_interleave *self, const struct ms_process_info *info,
                                  uint32_t hash, int64_t time_us, struct ms_error *err)
{
    if (self->process_count >= MS_LIMIT_PROCESSES)
        return ms_error_set(err, MS_REJECT, "too many processes");
    if (self->process_count == self->process_cap) {
        size_t cap = self->process_cap ? self->process_cap * 2 : 32;
        struct process *more = realloc(self->processes, cap * sizeof *more);
        if (!more)
            return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
        self->processes = more;
        self->process_cap = cap;
    }
    struct process *process = &self->processes[self->process_count];
    *process = (struct process){.info = *info, .hash = hash, .tid = MS_TID_NONE};
    process->info.first_seen_us = time_us;
    if (!copy(self, info->name, MS_LIMIT_NAME_BYTES, &process->info.name))
        return full(err);
    self->process_count++;
    return MS_OK;
}

static enum ms_status find_process(struct ms_interleave *self, const struct ms_process_info *given,
                                   int64_t time_us, struct process **out, struct ms_error *err)
{
    struct ms_process_info info = *given;
    if (info.name.len > MS_LIMIT_NAME_BYTES)
        info.name.len = MS_LIMIT_NAME_BYTES;
    uint32_t hash = mix(info.pid * 31 + info.parent_pid, info.name);
    if (self->recent < self->process_count &&
        is_process(&self->processes[self->recent], hash, &info)) {
        *out = &self->processes[self->recent];
        return MS_OK;
    }
    uint32_t slot = hash % PROCESS_SLOTS;
    for (; self->process_slots[slot]; slot = (slot + 1) % PROCESS_SLOTS)
        if (is_process(&self->processes[self->process_slots[slot] - 1], hash, &info))
            break;
    if (!self->process_slots[slot]) {
        enum ms_status status = add_process(self, &info, hash, time_us, err);
        if (status != MS_OK)
            return status;
        self->process_slots[slot] = (uint32_t)self->process_count;
    }
    self->recent = self->process_slots[slot] - 1;
    *out = &self->processes[self->recent];
    return MS_OK;
}

static void put_varint(struct chunk *chunk, uint64_t value)
{
    while (value >= 0x80) {
        chunk->bytes[chunk->len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    chunk->bytes[chunk->len++] = (uint8_t)value;
}

static struct chunk *room(struct ms_interleave *self, struct process *process)
{
    struct chunk *last = process->last;
    if (last && last->cap - last->len >= CALL_MAX_BYTES)
        return last;
    uint32_t cap = last ? last->cap * 2 : CHUNK_MIN_BYTES;
    if (cap > CHUNK_MAX_BYTES)
        cap = CHUNK_MAX_BYTES;
    struct chunk *chunk = ms_arena_alloc(&self->arena, sizeof *chunk + cap);
    if (!chunk)
        return NULL;
    chunk->cap = cap;
    *(last ? &last->next : &process->first) = chunk;
    process->last = chunk;
    return chunk;
}

enum ms_status ms_interleave_add(struct ms_interleave *self, const struct ms_process_info *info,
                                 const struct ms_call_info *call, struct ms_error *err)
{
    struct process *process;
    uint32_t api;
    enum ms_status status = find_process(self, info, call->time_us, &process, err);
    if (status == MS_OK)
        status = find_api(self, call, &api, err);
    if (status != MS_OK)
        return status;
    if (process->calls >= MS_LIMIT_CALLS)
        return ms_error_set(err, MS_REJECT, "too many calls in a process");
    struct chunk *chunk = room(self, process);
    if (!chunk)
        return full(err);
    bool new_tid = call->tid != process->tid, has_time = call->time_us != MS_TIME_NONE;
    put_varint(chunk,
               (uint64_t)api << FLAG_BITS | (new_tid ? HAS_TID : 0) | (has_time ? HAS_TIME : 0));
    if (new_tid)
        put_varint(chunk, process->tid = call->tid);
    if (has_time) {
        uint64_t delta = (uint64_t)call->time_us - (uint64_t)process->time_us;
        put_varint(chunk, delta << 1 ^ (uint64_t) - (int64_t)(delta >> 63));
        process->time_us = call->time_us;
    }
    process->calls++;
    self->calls++;
    return MS_OK;
}

static uint64_t get_varint(const struct chunk *chunk, uint32_t *at)
{
    uint64_t value = 0;
    for (unsigned shift = 0; *at < chunk->len && shift < 64; shift += 7) {
        uint8_t byte = chunk->bytes[(*at)++];
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            break;
    }
    return value;
}

static enum ms_status emit_process(const struct ms_interleave *self, const struct process *process,
                                   enum ms_api_space space, const struct ms_trace_sink *sink,
                                   struct ms_error *err)
{
    struct ms_call_info call = {.space = space, .tid = MS_TID_NONE};
    uint64_t time_us = 0;
    enum ms_status status = sink->process(sink->ctx, &process->info, err);
    for (const struct chunk *chunk = process->first; chunk; chunk = chunk->next)
        for (uint32_t at = 0; status == MS_OK && at < chunk->len;) {
            uint64_t head = get_varint(chunk, &at);
            call.api = self->apis[head >> FLAG_BITS].name;
            call.category = self->apis[head >> FLAG_BITS].category;
            if (head & HAS_TID)
                call.tid = get_varint(chunk, &at);
            call.time_us = MS_TIME_NONE;
            if (head & HAS_TIME) {
                uint64_t delta = get_varint(chunk, &at);
                time_us += delta >> 1 ^ (uint64_t) - (int64_t)(delta & 1);
                call.time_us = (int64_t)time_us;
            }
            status = sink->call(sink->ctx, &call, err);
        }
    return status == MS_OK ? sink->process_end(sink->ctx, err) : status;
}

enum ms_status ms_interleave_emit(const struct ms_interleave *self, enum ms_api_space space,
                                  const struct ms_trace_sink *sink, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; status == MS_OK && i < self->process_count; i++)
        status = emit_process(self, &self->processes[i], space, sink, err);
    return status;
}
