/* The encoding half of the trace codec: collects calls, a block at a time, in constant memory. It
 * knows no names and no database. */
#include "store/trace/block.h"

#include <stdlib.h>
#include <string.h>

/* Slots of the id map: a power of two well above the dictionary's limit. */
enum { SLOTS = 16384 };

/* A head has no more bytes than so many, and so many an API, beside its index. */
enum { HEAD_BYTES = 64, HEAD_API_BYTES = 5 };

struct ms_trace_encoder {
    uint64_t calls, expanded;
    uint32_t api_count;
    uint32_t apis[MS_TRACE_APIS];
    uint16_t slots[SLOTS]; /* place + 1; 0: free */
    uint64_t block_count;
    struct ms_buf index;         /* entries and lengths of the blocks made */
    struct ms_buf blocks;        /* those made and not taken */
    struct ms_block_calls block; /* being filled */
    struct ms_block_writer writer;
};

enum ms_status ms_trace_encoder_new(struct ms_trace_encoder **out, struct ms_error *err)
{
    struct ms_trace_encoder *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    ms_buf_init(&self->index, MS_LIMIT_TRACE_BYTES);
    ms_buf_init(&self->blocks, MS_LIMIT_TRACE_BYTES);
    ms_buf_init(&self->writer.packed, MS_LIMIT_TRACE_BYTES);
    ms_buf_init(&self->writer.list, MS_LIMIT_TRACE_BYTES);
    *out = self;
    return MS_OK;
}

void ms_trace_encoder_free(struct ms_trace_encoder *self)
{
    if (!self)
        return;
    ms_buf_release(&self->index);
    ms_buf_release(&self->blocks);
    ms_buf_release(&self->writer.packed);
    ms_buf_release(&self->writer.list);
    free(self);
}

static void begin_block(struct ms_trace_encoder *self)
{
    self->block.n = 0;
    self->block.any_tid = self->block.any_time = self->block.any_repeated = false;
}

/* The next trace; blocks that were not taken stay. */
static void begin_trace(struct ms_trace_encoder *self)
{
    begin_block(self);
    ms_buf_clear(&self->index);
    memset(self->slots, 0, sizeof self->slots);
    self->calls = self->expanded = self->block_count = 0;
    self->api_count = 0;
}

void ms_trace_encoder_reset(struct ms_trace_encoder *self)
{
    begin_trace(self);
    ms_buf_clear(&self->blocks);
}

uint64_t ms_trace_encoder_calls(const struct ms_trace_encoder *self)
{
    return self->calls;
}

uint64_t ms_trace_encoder_expanded(const struct ms_trace_encoder *self)
{
    return self->expanded;
}

struct ms_span ms_trace_encoder_blocks(const struct ms_trace_encoder *self)
{
    return ms_span_of(self->blocks.data, self->blocks.len);
}

void ms_trace_encoder_take_blocks(struct ms_trace_encoder *self)
{
    ms_buf_clear(&self->blocks);
}

/* The place of an id, given to it when new; MS_TRACE_APIS when the dictionary is full. Ids are
 * numbered from zero, by the report or by the corpus: those of one trace have neighbouring slots,
 * which stay in the processor's nearest memory, and higher ones are strewn by their upper bits. */
static uint32_t place_of(struct ms_trace_encoder *self, uint32_t api)
{
    uint32_t slot = (api + api / SLOTS * 5641) % SLOTS;
    for (; self->slots[slot]; slot = (slot + 1) % SLOTS) {
        uint32_t place = self->slots[slot] - 1U;
        if (self->apis[place] == api)
            return place;
    }
    if (self->api_count == MS_TRACE_APIS)
        return MS_TRACE_APIS;
    self->apis[self->api_count++] = api;
    self->slots[slot] = (uint16_t)self->api_count;
    return self->api_count - 1;
}

static enum ms_status end_block(struct ms_trace_encoder *self, struct ms_error *err)
{
    if (!self->block.n)
        return MS_OK;
    const size_t before = self->blocks.len;
    enum ms_status status = ms_block_write(&self->writer, &self->block, &self->blocks, err);
    if (status != MS_OK)
        return status;
    ms_buf_append_varint(&self->index, self->block.n);
    ms_buf_append_varint(&self->index, self->blocks.len - before);
    self->block_count++;
    begin_block(self);
    return self->index.failed ? ms_error_set(err, MS_E_NOMEM, "no memory for a trace") : MS_OK;
}

enum ms_status ms_trace_encoder_add(struct ms_trace_encoder *self, const struct ms_trace_call *call,
                                    struct ms_error *err)
{
    struct ms_block_calls *block = &self->block;
    if (self->calls >= MS_LIMIT_CALLS)
        return ms_error_set(err, MS_REJECT, "too many calls in a process");
    if (call->repeated > MS_LIMIT_REPEATED)
        return ms_error_set(err, MS_E_BUG, "a call's repeated count was not capped");
    uint32_t place = place_of(self, call->api);
    if (place == MS_TRACE_APIS)
        return ms_error_set(err, MS_REJECT, "too many distinct APIs in a process");
    block->places[block->n] = (uint16_t)place;
    block->tids[block->n] = call->tid;
    block->times_us[block->n] = call->time_us;
    block->repeated[block->n] = call->repeated;
    block->any_tid = block->any_tid || call->tid != MS_TID_NONE;
    block->any_time = block->any_time || call->time_us != MS_TIME_NONE;
    block->any_repeated = block->any_repeated || call->repeated;
    block->n++;
    self->calls++;
    self->expanded += 1 + call->repeated;
    return block->n == MS_TRACE_BLOCK ? end_block(self, err) : MS_OK;
}

/* Of a buffer that takes no more. */
static enum ms_status full(enum ms_status status, struct ms_error *err)
{
    if (status == MS_E_NOMEM)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    return status == MS_OK ? MS_OK : ms_error_set(err, MS_REJECT, "a trace is too large");
}

enum ms_status ms_trace_encoder_finish_head(struct ms_trace_encoder *self, struct ms_buf *head,
                                            struct ms_error *err)
{
    enum ms_status status = end_block(self, err);
    if (status == MS_OK)
        status = full(ms_buf_reserve(head, HEAD_BYTES + HEAD_API_BYTES * (size_t)self->api_count +
                                               self->index.len),
                      err);
    if (status == MS_OK) {
        ms_buf_append_byte(head, MS_TRACE_VERSION);
        ms_buf_append_varint(head, self->calls);
        ms_buf_append_varint(head, self->expanded);
        ms_buf_append_varint(head, self->api_count);
        for (uint32_t i = 0; i < self->api_count; i++)
            ms_buf_append_varint(head, self->apis[i]);
        if (self->calls)
            ms_buf_append_varint(head, self->block_count);
        ms_buf_append(head, self->index.data, self->index.len);
    }
    begin_trace(self);
    return status;
}

enum ms_status ms_trace_encoder_finish(struct ms_trace_encoder *self, struct ms_buf *out,
                                       struct ms_error *err)
{
    enum ms_status status = ms_trace_encoder_finish_head(self, out, err);
    if (status == MS_OK)
        status = full(ms_buf_append(out, self->blocks.data, self->blocks.len), err);
    ms_trace_encoder_reset(self);
    return status;
}
