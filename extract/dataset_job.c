/* Reading Mal-API-2019 in the confined worker: a text of names, and its list of classes. It stores
 * nothing and knows no classes. */
#include "extract/dataset_job.h"

#include "base/limits.h"
#include "base/stream.h"
#include "base/unpack.h"
#include "base/unpack_member.h"
#include "extract/dataset_row.h"
#include "extract/trace_frames.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 256 << 10, FIELD_BYTES = MS_LIMIT_API_NAME_BYTES };

/* A field of a line, cut at FIELD_BYTES. */
struct field {
    size_t len;
    uint8_t bytes[FIELD_BYTES];
};

struct rows {
    struct ms_stream *stream;
    struct ms_unpack_stream *member;
    struct ms_worker_out *out;
    struct ms_trace_sender *sender;
    struct ms_trace_sink sink;
    bool has_calls; /* lines are calls, else classes */
    uint64_t row;   /* lines done */
    uint64_t calls;
    bool line_open; /* something was read of the present line */
    struct field field, label;
};

static enum ms_status read_block(struct rows *self, uint8_t *block, size_t *n, struct ms_error *err)
{
    if (self->member)
        return ms_unpack_stream_read(self->member, MS_LIMIT_PUBLISHED_BYTES, block, BLOCK_BYTES, n,
                                     err);
    return ms_stream_read(self->stream, block, BLOCK_BYTES, n, err);
}

static enum ms_status send_row(struct rows *self, struct ms_error *err)
{
    const struct ms_dataset_row row = {.what = MS_DATASET_ROW,
                                       .line = self->row,
                                       .calls = self->calls,
                                       .label = ms_span_of(self->label.bytes, self->label.len)};
    return ms_dataset_row_send(self->out, &row, err);
}

static enum ms_status begin_row(struct rows *self, struct ms_error *err)
{
    const struct ms_process_info process = {.first_seen_us = MS_TIME_NONE, .tracked = true};
    self->line_open = true;
    return self->has_calls ? self->sink.process(self->sink.ctx, &process, err) : MS_OK;
}

static enum ms_status end_row(struct rows *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    /* An empty line of the text is a sample without calls; elsewhere it is nothing. */
    if (!self->line_open && !self->has_calls)
        return MS_OK;
    if (!self->line_open)
        status = begin_row(self, err);
    if (status == MS_OK && self->row++ > MS_LIMIT_PUBLISHED_ROWS)
        status = ms_error_set(err, MS_E_LIMIT, "the dataset has too many rows");
    if (status == MS_OK && self->has_calls)
        status = self->sink.process_end(self->sink.ctx, err);
    if (status == MS_OK)
        status = send_row(self, err);
    self->line_open = false;
    self->calls = 0;
    self->label.len = 0;
    return status;
}

/* A field that is complete: `bytes` are in the block, or in self->field. */
static enum ms_status take_field(struct rows *self, const uint8_t *bytes, size_t n,
                                 struct ms_error *err)
{
    enum ms_status status = self->line_open ? MS_OK : begin_row(self, err);
    n = n < FIELD_BYTES ? n : FIELD_BYTES;
    if (status != MS_OK)
        return status;
    if (!self->has_calls) {
        memcpy(self->label.bytes, bytes, n);
        self->label.len = n;
        return MS_OK;
    }
    const struct ms_call_info call = {
        .api = ms_span_of(bytes, n), .tid = MS_TID_NONE, .time_us = MS_TIME_NONE};
    self->calls++;
    return self->sink.call(self->sink.ctx, &call, err);
}

static enum ms_status end_field(struct rows *self, struct ms_error *err)
{
    const size_t n = self->field.len;
    self->field.len = 0;
    return n ? take_field(self, self->field.bytes, n, err) : MS_OK;
}

/* The end of the run of bytes that belong to a field. */
static const uint8_t *field_end(const struct rows *self, const uint8_t *p, const uint8_t *end)
{
    if (!self->has_calls)
        while (p < end && *p != '\n' && *p != '\r')
            p++;
    else {
        /* Eight bytes a step while none of them is a blank or less: the highest bit of byte - 33
         * tells for bytes below 128, and one that wrongly tells costs a look byte by byte. */
        const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
        for (uint64_t word; end - p >= 8; p += 8) {
            memcpy(&word, p, sizeof word);
            if ((word - 33 * ones) & ~word & highs)
                break;
        }
        while (p<end && * p> ' ')
            p++;
    }
    return p;
}

static enum ms_status take_block(struct rows *self, const uint8_t *p, const uint8_t *end,
                                 struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (p < end && status == MS_OK) {
        const uint8_t *stop = field_end(self, p, end);
        size_t n = (size_t)(stop - p);
        if (self->field.len || stop == end) { /* it reaches over the edge of a block */
            size_t room = FIELD_BYTES - self->field.len, kept = n < room ? n : room;
            if (kept)
                memcpy(self->field.bytes + self->field.len, p, kept);
            self->field.len += kept;
            if (stop == end)
                break;
            status = end_field(self, err);
        } else if (n) {
            status = take_field(self, p, n, err);
        }
        p = stop;
        /* A blank or an end of line; they separate nothing by themselves. */
        if (status == MS_OK && *p == '\n')
            status = end_row(self, err);
        p++;
    }
    return status;
}

static enum ms_status take_all(struct rows *self, struct ms_error *err)
{
    uint8_t *block = malloc(BLOCK_BYTES);
    if (!block)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a dataset");
    enum ms_status status;
    size_t n = 0;
    do {
        status = read_block(self, block, &n, err);
        if (status == MS_OK)
            status = take_block(self, block, block + n, err);
    } while (status == MS_OK && n);
    free(block);
    /* The last line may lack its line feed. */
    if (status == MS_OK && self->field.len)
        status = end_field(self, err);
    if (status == MS_OK && self->line_open)
        status = end_row(self, err);
    if (status == MS_REJECT)
        ms_error_prepend(err, "row %" PRIu64, self->row + 1);
    return status;
}

enum ms_status ms_dataset_rows_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                   struct ms_error *err)
{
    struct rows *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a dataset");
    self->out = out;
    self->has_calls = true;
    enum ms_status status = ms_trace_sender_new(out, &self->sender, err);
    if (status == MS_OK && ms_span_equal_text(arg, "zip"))
        status = ms_unpack_stream_open(input_fd, "all_analysis_data.txt", &self->member, err);
    else if (status == MS_OK)
        status = ms_stream_open(input_fd, MS_LIMIT_PUBLISHED_BYTES, &self->stream, err);
    if (status == MS_OK) {
        self->sink = ms_trace_sender_sink(self->sender);
        status = take_all(self, err);
    }
    ms_unpack_stream_close(self->member);
    if (self->stream)
        ms_stream_close(self->stream);
    ms_trace_sender_free(self->sender);
    free(self);
    return status;
}

void ms_dataset_prepare(void)
{
    ms_unpack_prepare();
}

enum ms_status ms_dataset_classes_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                      struct ms_error *err)
{
    (void)arg;
    struct rows *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a dataset");
    self->out = out;
    enum ms_status status = ms_stream_open(input_fd, MS_LIMIT_LIST_BYTES, &self->stream, err);
    if (status == MS_OK)
        status = take_all(self, err);
    if (self->stream)
        ms_stream_close(self->stream);
    free(self);
    return status;
}
