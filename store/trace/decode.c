/* The decoding half of the trace codec: a block at a time, trusting nothing. What a block holds:
 * block_read.c. */
#include "store/trace/block.h"

#include <stdlib.h>
#include <string.h>

struct ms_trace_decoder {
    struct ms_trace_head head;
    uint32_t apis[MS_TRACE_APIS];
    struct ms_trace_old *old;   /* of a blob of version 1 */
    struct ms_span index, rest; /* what is left of each */
    uint64_t done, expanded;    /* entries behind us; those of them that were counted */
    uint32_t places_used;
    bool whole; /* every block so far was read, with all that is counted at the end */
    struct ms_trace_columns columns; /* for next */
    size_t at;
    struct ms_block_reader reader;
};

enum { ALL = MS_COLUMN_API | MS_COLUMN_TID | MS_COLUMN_TIME | MS_COLUMN_REPEATED };

enum ms_status ms_trace_decoder_new(struct ms_trace_decoder **out, struct ms_error *err)
{
    struct ms_trace_decoder *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    ms_buf_init(&self->reader.list, MS_LIMIT_TRACE_BYTES);
    enum ms_status status = ms_zstd_unpacker_new(&self->reader.unpacker, err);
    if (status != MS_OK) {
        ms_trace_decoder_close(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_trace_decoder_close(struct ms_trace_decoder *self)
{
    if (!self)
        return;
    ms_trace_old_close(self->old);
    ms_zstd_unpacker_free(self->reader.unpacker);
    ms_buf_release(&self->reader.list);
    free(self);
}

static enum ms_status load(struct ms_trace_decoder *self, struct ms_span rest, struct ms_error *err)
{
    uint8_t version;
    uint64_t bytes = 0;
    enum ms_status status = ms_head_take(&rest, &version, &self->head, err);
    if (status != MS_OK)
        return status;
    for (uint32_t i = 0; i < self->head.apis; i++)
        if (!ms_head_take_api(&rest, &self->apis[i]))
            return ms_trace_damaged(err, "its dictionary is cut short");
    if (version == 1)
        return ms_trace_old_open(rest, &self->head, self->apis, &self->old, err);
    self->reader.zstd = version == 2;
    status = ms_head_take_index(&rest, &self->head, &self->index, &bytes, err);
    self->rest = rest;
    if (status == MS_OK && bytes != rest.len)
        return ms_trace_damaged(err, "its blocks have another length");
    return status;
}

enum ms_status ms_trace_decoder_load(struct ms_trace_decoder *self, struct ms_span blob,
                                     struct ms_error *err)
{
    ms_trace_old_close(self->old);
    self->old = NULL;
    self->index = self->rest = ms_span_of("", 0);
    self->done = self->expanded = self->places_used = 0;
    self->columns = (struct ms_trace_columns){0};
    self->at = 0;
    self->whole = true;
    enum ms_status status = load(self, blob, err);
    if (status != MS_OK)
        self->head = (struct ms_trace_head){0, 0, 0};
    return status;
}

enum ms_status ms_trace_decoder_open(struct ms_span blob, struct ms_trace_decoder **out,
                                     struct ms_error *err)
{
    struct ms_trace_decoder *self = NULL;
    enum ms_status status = ms_trace_decoder_new(&self, err);
    if (status == MS_OK)
        status = ms_trace_decoder_load(self, blob, err);
    if (status != MS_OK) {
        ms_trace_decoder_close(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_trace_decoder_head(const struct ms_trace_decoder *self, struct ms_trace_head *out)
{
    *out = self->head;
}

const uint32_t *ms_trace_decoder_apis(const struct ms_trace_decoder *self)
{
    return self->apis;
}

/* At the end: what the head promised. */
static enum ms_status check_end(const struct ms_trace_decoder *self, struct ms_error *err)
{
    if (self->whole &&
        (self->expanded != self->head.expanded || self->places_used != self->head.apis))
        return ms_trace_damaged(err, "its counts do not agree");
    return MS_OK;
}

enum ms_status ms_trace_decoder_block(struct ms_trace_decoder *self, unsigned columns,
                                      struct ms_trace_columns *out, struct ms_error *err)
{
    size_t n;
    uint64_t bytes;
    struct ms_span block;
    *out = (struct ms_trace_columns){.first = self->done};
    if (self->old)
        return ms_trace_old_block(self->old, &self->reader, out, err);
    if (self->done == self->head.calls)
        return check_end(self, err);
    /* Both were looked at when the blob was loaded. */
    if (!ms_index_take(&self->index, &n, &bytes) || !ms_span_take(&self->rest, bytes, &block))
        return ms_trace_damaged(err, "its blocks are cut short");
    enum ms_status status =
        ms_block_read(&self->reader, block, n, self->apis, self->head.apis, columns, out, err);
    if (status != MS_OK)
        return status;
    self->done += n;
    self->expanded += n + self->reader.repeated_sum;
    if (self->reader.places_used > self->places_used)
        self->places_used = self->reader.places_used;
    self->whole =
        self->whole && columns & (MS_COLUMN_API | MS_COLUMN_PLACE) && columns & MS_COLUMN_REPEATED;
    return MS_OK;
}

void ms_trace_decoder_seek(struct ms_trace_decoder *self, uint64_t seq)
{
    size_t n;
    uint64_t bytes;
    struct ms_span block;
    while (!self->old && self->done < self->head.calls) {
        struct ms_span index = self->index;
        if (!ms_index_take(&index, &n, &bytes) || seq < self->done + n ||
            !ms_span_take(&self->rest, bytes, &block))
            return;
        self->index = index;
        self->done += n;
        self->whole = false;
    }
}

enum ms_status ms_trace_decoder_next(struct ms_trace_decoder *self, struct ms_trace_call *calls,
                                     size_t cap, size_t *n, struct ms_error *err)
{
    struct ms_trace_columns *from = &self->columns;
    *n = 0;
    if (self->at == from->n) {
        self->at = 0;
        enum ms_status status = ms_trace_decoder_block(self, ALL, from, err);
        if (status != MS_OK) {
            from->n = 0;
            return status;
        }
    }
    const size_t left = from->n - self->at, count = left < cap ? left : cap;
    for (size_t i = 0; i < count; i++) {
        const size_t at = self->at + i;
        calls[i] =
            (struct ms_trace_call){.api = from->api[at],
                                   .tid = from->tid ? from->tid[at] : MS_TID_NONE,
                                   .time_us = from->time_us ? from->time_us[at] : MS_TIME_NONE,
                                   .repeated = from->repeated ? from->repeated[at] : 0};
    }
    self->at += count;
    *n = count;
    return MS_OK;
}
