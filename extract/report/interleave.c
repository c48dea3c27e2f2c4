/* A packed list of calls a process, which is put aside where it grows long. Nothing is parsed here;
 * what was put aside is read by turns.c. */
#include "extract/report/interleave.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"
#include "extract/report/packed.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_MIN_BYTES = 128,
    CHUNK_MAX_BYTES = 16384,
    PIECE_BYTES = 65536,    /* what goes into the file at a time */
    ARENA_SLACK_BYTES = 64, /* what alignment may take of an arena for one piece */
    API_SLOTS = 16384,
    PROCESS_SLOTS = 2 * MS_LIMIT_PROCESSES
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
    struct ms_packed before; /* the last call */
    struct chunk *first, *last;
};

struct api {
    struct ms_span name, category;
    uint32_t hash;
};

struct ms_interleave {
    struct ms_arena names;
    struct ms_arena chunks;
    struct process *processes;
    size_t process_count, process_cap;
    size_t recent; /* the process of the last call: calls come in runs */
    uint64_t calls, beyond_calls;
    uint64_t seed;
    struct api *apis;
    uint32_t api_count;
    bool beyond;                      /* the last API is MS_API_BEYOND */
    uint16_t *api_slots;              /* number + 1; 0 free */
    uint32_t *process_slots;          /* the same */
    const struct ms_trace_sink *sink; /* NULL: all calls are held */
    struct ms_buf piece;
    uint64_t aside_bytes; /* all pieces given so far */
    uint32_t run_count;
    uint32_t runs[MS_LIMIT_TURNS_RUNS]; /* their lengths */
};

enum ms_status ms_interleave_new(struct ms_interleave **out, struct ms_error *err)
{
    struct ms_interleave *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    self->seed = (uint64_t)(uintptr_t)self; /* what a report's author does not know */
    ms_arena_init(&self->names, MS_LIMIT_REPORT_NAMES_BYTES);
    ms_arena_init(&self->chunks, MS_LIMIT_INTERLEAVED_BYTES);
    ms_buf_init(&self->piece, PIECE_BYTES + MS_PACKED_MAX_BYTES);
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
    ms_arena_release(&self->names);
    ms_arena_release(&self->chunks);
    ms_buf_release(&self->piece);
    free(self->processes);
    free(self->apis);
    free(self->api_slots);
    free(self->process_slots);
    free(self);
}

void ms_interleave_put_aside(struct ms_interleave *self, const struct ms_trace_sink *sink,
                             size_t held_bytes)
{
    if (!sink->turns)
        return;
    self->sink = sink;
    self->chunks.max_bytes = held_bytes;
}

enum ms_status ms_interleave_clear(struct ms_interleave *self, struct ms_error *err)
{
    bool aside = self->aside_bytes;
    ms_arena_reset(&self->names);
    ms_arena_reset(&self->chunks);
    memset(self->api_slots, 0, API_SLOTS * sizeof *self->api_slots);
    memset(self->process_slots, 0, PROCESS_SLOTS * sizeof *self->process_slots);
    self->process_count = 0;
    self->recent = 0;
    self->calls = self->beyond_calls = 0;
    self->api_count = 0;
    self->beyond = false;
    self->aside_bytes = 0;
    self->run_count = 0;
    return aside ? self->sink->turns(self->sink->ctx, ms_span_of(NULL, 0), err) : MS_OK;
}

uint64_t ms_interleave_calls(const struct ms_interleave *self)
{
    return self->calls;
}

uint64_t ms_interleave_processes(const struct ms_interleave *self)
{
    return self->process_count;
}

uint64_t ms_interleave_beyond(const struct ms_interleave *self)
{
    return self->aside_bytes ? self->beyond_calls : 0;
}

static enum ms_status full(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "too many calls of processes that take turns");
}

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
}

/* `bytes` are not to be had: an arena has an end before memory has. */
static bool beyond(const struct ms_arena *arena, size_t bytes)
{
    return bytes + ARENA_SLACK_BYTES > arena->max_bytes - arena->used_bytes;
}

static enum ms_status no_room(const struct ms_interleave *self, struct ms_error *err)
{
    if (!beyond(&self->names, 2 * MS_LIMIT_NAME_BYTES))
        return no_memory(err);
    return ms_error_set(err, MS_REJECT, "the names of one report are too large");
}

static bool copy(struct ms_interleave *self, struct ms_span from, size_t cap, struct ms_span *out)
{
    size_t n = from.len < cap ? from.len : cap;
    char *bytes = n ? ms_arena_copy(&self->names, from.data, n) : NULL;
    *out = ms_span_of(bytes, n);
    return !n || bytes;
}

/* Two products, the second of what the first has spread: after one, which bits two texts differ in
 * may not depend on the seed (the topmost of a word stays one bit), and the next word undoes it. */
static uint64_t mix_word(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93U;
    return hash ^ hash >> 29;
}

/* Seeded, so that who does not know the seed makes no long chain of the table; it is not
 * cryptographic, and what collides all the same costs probes. */
static uint32_t mix(uint64_t hash, struct ms_span bytes)
{
    for (size_t at = 0; at < bytes.len; at += 8) {
        size_t n = bytes.len - at < 8 ? bytes.len - at : 8;
        uint64_t word = 0;
        memcpy(&word, bytes.data + at, n);
        hash = mix_word(hash, word);
    }
    return (uint32_t)(mix_word(hash, bytes.len) >> 32);
}

/* The number of the call's API. */
static enum ms_status find_api(struct ms_interleave *self, const struct ms_call_info *call,
                               uint32_t *out, struct ms_error *err)
{
    struct ms_span name = call->api;
    if (name.len > MS_LIMIT_API_NAME_BYTES)
        name.len = MS_LIMIT_API_NAME_BYTES;
    uint32_t hash = mix(self->seed, name), slot = hash % API_SLOTS;
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
        self->beyond_calls++;
        self->beyond = true;
        self->apis[*out].name = ms_span_of(MS_API_BEYOND, strlen(MS_API_BEYOND));
        self->apis[*out].category = ms_span_of(NULL, 0);
        return MS_OK;
    }
    struct api *api = &self->apis[self->api_count];
    if (!copy(self, name, MS_LIMIT_API_NAME_BYTES, &api->name) ||
        !copy(self, call->category, MS_LIMIT_API_NAME_BYTES, &api->category))
        return no_room(self, err);
    api->hash = hash;
    self->api_slots[slot] = (uint16_t)(++self->api_count);
    return MS_OK;
}

static bool is_process(const struct process *process, const struct ms_process_info *info)
{
    return process->info.pid == info->pid && process->info.parent_pid == info->parent_pid &&
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
    *process = (struct process){.info = *info, .hash = hash, .before = MS_PACKED_FIRST};
    process->info.first_seen_us = time_us;
    if (!copy(self, info->name, MS_LIMIT_NAME_BYTES, &process->info.name))
        return no_room(self, err);
    self->process_count++;
    return MS_OK;
}

static enum ms_status find_process(struct ms_interleave *self, const struct ms_process_info *given,
                                   int64_t time_us, struct process **out, struct ms_error *err)
{
    struct ms_process_info info = *given;
    if (info.name.len > MS_LIMIT_NAME_BYTES)
        info.name.len = MS_LIMIT_NAME_BYTES;
    if (self->recent < self->process_count && is_process(&self->processes[self->recent], &info)) {
        *out = &self->processes[self->recent];
        return MS_OK;
    }
    uint32_t hash = mix(mix_word(mix_word(self->seed, info.pid), info.parent_pid), info.name);
    uint32_t slot = hash % PROCESS_SLOTS;
    for (; self->process_slots[slot]; slot = (slot + 1) % PROCESS_SLOTS) {
        const struct process *process = &self->processes[self->process_slots[slot] - 1];
        if (process->hash == hash && is_process(process, &info))
            break;
    }
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

/* ---- what is put aside ----------------------------------------------------------------------- */

static enum ms_status give_piece(struct ms_interleave *self, struct ms_error *err)
{
    if (self->piece.failed)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    enum ms_status status = MS_OK;
    if (self->piece.len)
        status =
            self->sink->turns(self->sink->ctx, ms_span_of(self->piece.data, self->piece.len), err);
    self->aside_bytes += self->piece.len;
    ms_buf_clear(&self->piece);
    return status;
}

static enum ms_status put_bytes(struct ms_interleave *self, struct ms_span bytes,
                                struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (self->piece.len + bytes.len > PIECE_BYTES)
        status = give_piece(self, err);
    (void)ms_buf_append(&self->piece, bytes.data, bytes.len);
    return status;
}

static enum ms_status put_number(struct ms_interleave *self, uint64_t value, struct ms_error *err)
{
    uint8_t bytes[MS_PACKED_MAX_BYTES];
    return put_bytes(self, ms_span_of(bytes, ms_packed_put_varint(bytes, value)), err);
}

static enum ms_status put_calls(struct ms_interleave *self, size_t number, struct ms_error *err)
{
    struct process *process = &self->processes[number];
    uint64_t len = 0;
    for (const struct chunk *chunk = process->first; chunk; chunk = chunk->next)
        len += chunk->len;
    enum ms_status status = put_number(self, number + 1, err);
    if (status == MS_OK)
        status = put_number(self, len, err);
    for (const struct chunk *chunk = process->first; status == MS_OK && chunk; chunk = chunk->next)
        status = put_bytes(self, ms_span_of(chunk->bytes, chunk->len), err);
    process->first = process->last = NULL;
    return status;
}

/* All calls that are held, as a run. */
static enum ms_status put_run(struct ms_interleave *self, struct ms_error *err)
{
    const uint64_t from = self->aside_bytes;
    enum ms_status status = MS_OK;
    if (self->run_count == MS_LIMIT_TURNS_RUNS ||
        from > MS_LIMIT_TURNS_BYTES - 2 * self->chunks.max_bytes)
        return full(err);
    for (size_t i = 0; status == MS_OK && i < self->process_count; i++)
        if (self->processes[i].first)
            status = put_calls(self, i, err);
    if (status == MS_OK)
        status = put_number(self, 0, err);
    if (status == MS_OK)
        status = give_piece(self, err);
    self->runs[self->run_count++] = (uint32_t)(self->aside_bytes - from);
    ms_arena_reset(&self->chunks);
    return status;
}

static enum ms_status put_text(struct ms_interleave *self, struct ms_span text,
                               struct ms_error *err)
{
    enum ms_status status = put_number(self, text.len, err);
    return status == MS_OK && text.len ? put_bytes(self, text, err) : status;
}

static enum ms_status put_process(struct ms_interleave *self, const struct ms_process_info *info,
                                  struct ms_error *err)
{
    const uint64_t numbers[] = {info->pid, info->parent_pid, (uint64_t)info->first_seen_us};
    enum ms_status status = MS_OK;
    for (size_t i = 0; status == MS_OK && i < sizeof numbers / sizeof *numbers; i++)
        status = put_number(self, numbers[i], err);
    return status == MS_OK ? put_text(self, info->name, err) : status;
}

static enum ms_status put_table(struct ms_interleave *self, enum ms_api_space space,
                                struct ms_error *err)
{
    const uint64_t table_at = self->aside_bytes;
    const uint32_t api_count = self->api_count + self->beyond;
    uint8_t place[sizeof table_at];
    enum ms_status status = put_number(self, space, err);
    if (status == MS_OK)
        status = put_number(self, self->run_count, err);
    for (uint32_t i = 0; status == MS_OK && i < self->run_count; i++)
        status = put_number(self, self->runs[i], err);
    if (status == MS_OK)
        status = put_number(self, api_count, err);
    for (uint32_t i = 0; status == MS_OK && i < api_count; i++) {
        status = put_text(self, self->apis[i].name, err);
        if (status == MS_OK)
            status = put_text(self, self->apis[i].category, err);
    }
    if (status == MS_OK)
        status = put_number(self, self->process_count, err);
    for (size_t i = 0; status == MS_OK && i < self->process_count; i++)
        status = put_process(self, &self->processes[i].info, err);
    for (unsigned i = 0; i < sizeof place; i++)
        place[i] = (uint8_t)(table_at >> (8 * i));
    if (status == MS_OK)
        status = put_bytes(self, ms_span_of(place, sizeof place), err);
    return status == MS_OK ? give_piece(self, err) : status;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static struct chunk *new_chunk(struct ms_interleave *self, struct process *process)
{
    struct chunk *last = process->last;
    uint32_t cap = last ? last->cap * 2 : CHUNK_MIN_BYTES;
    if (cap > CHUNK_MAX_BYTES)
        cap = CHUNK_MAX_BYTES;
    struct chunk *chunk = ms_arena_alloc(&self->chunks, sizeof *chunk + cap);
    if (!chunk)
        return NULL;
    chunk->cap = cap;
    *(last ? &last->next : &process->first) = chunk;
    process->last = chunk;
    return chunk;
}

static enum ms_status find_room(struct ms_interleave *self, struct process *process,
                                struct chunk **out, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    *out = process->last;
    if (*out && (*out)->cap - (*out)->len >= MS_PACKED_MAX_BYTES)
        return MS_OK;
    *out = new_chunk(self, process);
    if (!*out && self->sink && self->chunks.used_bytes) {
        status = put_run(self, err);
        if (status == MS_OK)
            *out = new_chunk(self, process);
    }
    if (status != MS_OK || *out)
        return status;
    return beyond(&self->chunks, sizeof **out + CHUNK_MAX_BYTES) ? full(err) : no_memory(err);
}

enum ms_status ms_interleave_add(struct ms_interleave *self, const struct ms_process_info *info,
                                 const struct ms_call_info *call, struct ms_error *err)
{
    struct process *process;
    struct chunk *chunk;
    uint32_t api;
    enum ms_status status = find_process(self, info, call->time_us, &process, err);
    if (status == MS_OK)
        status = find_api(self, call, &api, err);
    if (status == MS_OK && process->calls >= MS_LIMIT_CALLS)
        status = ms_error_set(err, MS_REJECT, "too many calls in a process");
    if (status == MS_OK)
        status = find_room(self, process, &chunk, err);
    if (status != MS_OK)
        return status;
    chunk->len += (uint32_t)ms_packed_put(chunk->bytes + chunk->len, &process->before, api,
                                          call->tid, call->time_us);
    process->calls++;
    self->calls++;
    return MS_OK;
}

static enum ms_status emit_process(const struct ms_interleave *self, const struct process *process,
                                   enum ms_api_space space, const struct ms_trace_sink *sink,
                                   struct ms_error *err)
{
    struct ms_call_info call = {.space = space};
    struct ms_packed last = MS_PACKED_FIRST;
    enum ms_status status = sink->process(sink->ctx, &process->info, err);
    for (const struct chunk *chunk = process->first; chunk; chunk = chunk->next)
        for (uint32_t at = 0; status == MS_OK && at < chunk->len;) {
            uint64_t api;
            at += (uint32_t)ms_packed_get(chunk->bytes + at, chunk->len - at, &last, &api, &call);
            call.api = self->apis[api].name;
            call.category = self->apis[api].category;
            status = sink->call(sink->ctx, &call, err);
        }
    return status == MS_OK ? sink->process_end(sink->ctx, err) : status;
}

enum ms_status ms_interleave_emit(struct ms_interleave *self, enum ms_api_space space,
                                  const struct ms_trace_sink *sink, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (self->aside_bytes) {
        status = self->chunks.used_bytes ? put_run(self, err) : MS_OK;
        return status == MS_OK ? put_table(self, space, err) : status;
    }
    for (size_t i = 0; status == MS_OK && i < self->process_count; i++)
        status = emit_process(self, &self->processes[i], space, sink, err);
    return status;
}
