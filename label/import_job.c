/* Reading reports in the confined worker, and the form of what it tells. It names no files. */
#include "label/import_job.h"

#include "base/limits.h"
#include "base/scan_bytes.h"
#include "base/stream.h"
#include "label/record.h"
#include "label/vtjson.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BODY_RUN_BYTES = 1 << 20, FRAME_BYTES = 4 << 20 };

uint64_t ms_import_sum(struct ms_span bytes)
{
    /* Four lanes, so that one multiplication need not wait for the last. */
    static const uint64_t odd = 0x9E3779B97F4A7C15U;
    uint64_t a = bytes.len, b = 1, c = 2, d = 3, sum = 0, words[4];
    size_t at = 0;
    for (; bytes.len - at >= sizeof words; at += sizeof words) {
        memcpy(words, bytes.data + at, sizeof words);
        a = (a ^ words[0]) * odd;
        b = (b ^ words[1]) * odd;
        c = (c ^ words[2]) * odd;
        d = (d ^ words[3]) * odd;
        a ^= a >> 32;
        b ^= b >> 32;
        c ^= c >> 32;
        d ^= d >> 32;
    }
    memset(words, 0, sizeof words);
    if (bytes.len > at)
        memcpy(words, bytes.data + at, bytes.len - at);
    const uint64_t lanes[4] = {a, b, c, d};
    for (int i = 0; i < 4; i++) {
        sum = (sum ^ lanes[i] ^ words[i]) * odd;
        sum ^= sum >> 29;
    }
    return sum;
}

/* ---- the form of questions and answers ---- */

enum { ASK_MUTE = 1, ASK_BODIES = 2, ASK_IN_ARRAY = 4, ASK_LENGTHS = 8, ASK_FLAGS = 15 };

enum ms_status ms_import_ask_put(const struct ms_import_ask *ask, struct ms_buf *out,
                                 struct ms_error *err)
{
    unsigned flags = (ask->mute ? ASK_MUTE : 0u) | (ask->bodies ? ASK_BODIES : 0u) |
                     (ask->state.in_array ? ASK_IN_ARRAY : 0u) | (ask->lengths ? ASK_LENGTHS : 0u);
    (void)ms_buf_append_byte(out, (uint8_t)flags);
    (void)ms_buf_append_varint(out, ask->state.byte);
    (void)ms_buf_append_varint(out, ask->state.line);
    (void)ms_buf_append_varint(out, ask->skip);
    (void)ms_buf_append_varint(out, ask->slice_bytes);
    (void)ms_buf_append_varint(out, ask->first_part);
    (void)ms_buf_append_varint(out, ask->part_count);
    for (size_t i = 0; i < ask->part_count; i++)
        (void)ms_buf_append_varint(out, ask->lengths ? ask->lengths[i] : UINT64_MAX);
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

/* The counterpart; lengths stay in `rest`, to be taken one by one. */
static bool take_ask(struct ms_span *rest, struct ms_import_ask *out)
{
    uint8_t flags;
    uint64_t first, count;
    *out = (struct ms_import_ask){.lengths = NULL};
    if (!ms_span_take_u8(rest, &flags) || flags > ASK_FLAGS ||
        !ms_span_take_varint(rest, &out->state.byte) ||
        !ms_span_take_varint(rest, &out->state.line) || !ms_span_take_varint(rest, &out->skip) ||
        !ms_span_take_varint(rest, &out->slice_bytes) || !ms_span_take_varint(rest, &first) ||
        !ms_span_take_varint(rest, &count) || first >= count)
        return false;
    out->mute = (flags & ASK_MUTE) != 0;
    out->bodies = (flags & ASK_BODIES) != 0;
    out->state.in_array = (flags & ASK_IN_ARRAY) != 0;
    out->first_part = (size_t)first;
    out->part_count = (size_t)count;
    return true;
}

static void put_frame(const struct ms_import_frame *frame, struct ms_buf *out)
{
    ms_buf_clear(out);
    (void)ms_buf_append_varint(out, frame->part);
    (void)ms_buf_append_varint(out, frame->piece);
    (void)ms_buf_append_varint(out, frame->byte);
    (void)ms_buf_append_varint(out, frame->line);
    if (frame->word == MS_IMPORT_RECORD) {
        (void)ms_buf_append_varint(out, frame->body_bytes);
        (void)ms_buf_append(out, &frame->body_sum, sizeof frame->body_sum);
        (void)ms_buf_append_byte(out, frame->sent);
    }
    if (frame->word == MS_IMPORT_PART)
        (void)ms_buf_append_byte(out, (uint8_t)(frame->more + 2 * (unsigned)frame->state.in_array));
}

bool ms_import_frame_take(uint32_t type, struct ms_span bytes, struct ms_import_frame *out)
{
    uint8_t flags = 0;
    *out = (struct ms_import_frame){.word = (enum ms_import_word)type};
    if (type < MS_IMPORT_BODY || type > MS_IMPORT_PART)
        return false;
    if (type == MS_IMPORT_BODY) {
        out->text = bytes;
        return true;
    }
    if (!ms_span_take_varint(&bytes, &out->part) || !ms_span_take_varint(&bytes, &out->piece) ||
        !ms_span_take_varint(&bytes, &out->byte) || !ms_span_take_varint(&bytes, &out->line))
        return false;
    if (type == MS_IMPORT_RECORD) {
        if (!ms_span_take_varint(&bytes, &out->body_bytes) ||
            !ms_span_take_u64le(&bytes, &out->body_sum) || !ms_span_take_u8(&bytes, &flags) ||
            flags > 1 || out->body_bytes == 0 || out->body_bytes > MS_LIMIT_SCAN_BYTES)
            return false;
        out->sent = flags == 1;
    }
    if (type == MS_IMPORT_PART) {
        if (!ms_span_take_u8(&bytes, &flags) || flags > 3)
            return false;
        out->more = (flags & 1) != 0;
        out->state = (struct ms_split_state){out->byte, out->line, (flags & 2) != 0};
    }
    out->text = bytes;
    return true;
}

/* ---- the job ---- */

struct job {
    int fd;
    struct ms_worker_out *out;
    struct ms_import_ask ask;
    struct ms_record_reader *reader;
    struct ms_buf frame;
    uint64_t part, piece;
    struct ms_piece now;
    bool bodies; /* of the present part */
    struct ms_stream *stream;
};

static enum ms_status emit(struct job *self, enum ms_import_word word, struct ms_error *err)
{
    if (self->frame.failed)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = ms_worker_emit(self->out, word, self->frame.data, self->frame.len);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot send a frame");
}

static enum ms_status emit_reject(struct job *self, uint64_t byte, uint64_t line, const char *why,
                                  struct ms_error *err)
{
    const struct ms_import_frame frame = {.word = MS_IMPORT_REJECT,
                                          .part = self->part,
                                          .piece = self->piece,
                                          .byte = byte,
                                          .line = line};
    put_frame(&frame, &self->frame);
    (void)ms_buf_append_text(&self->frame, why);
    return emit(self, frame.word, err);
}

static enum ms_status emit_body(struct job *self, struct ms_span body, struct ms_error *err)
{
    while (body.len > 0) {
        size_t n = body.len < BODY_RUN_BYTES ? body.len : BODY_RUN_BYTES;
        enum ms_status status = ms_worker_emit(self->out, MS_IMPORT_BODY, body.data, n);
        if (status != MS_OK)
            return ms_error_set(err, status, "cannot send a frame");
        body = ms_span_of(body.data + n, body.len - n);
    }
    return MS_OK;
}

/* One report of the present piece: most often all of it. */
static enum ms_status take_record(void *ctx, struct ms_span element, enum ms_status read,
                                  const struct ms_record *record, const struct ms_error *why,
                                  struct ms_error *err)
{
    struct job *self = ctx;
    const uint8_t *from = self->now.bytes.data;
    struct ms_error fault = {.status = MS_OK};
    struct ms_import_frame frame = {.word = MS_IMPORT_RECORD,
                                    .part = self->part,
                                    .piece = self->piece,
                                    .byte = self->now.byte + (uint64_t)(element.data - from),
                                    .line =
                                        self->now.line + ms_scanner_count_lines(from, element.data),
                                    .body_bytes = element.len,
                                    .sent = self->bodies};
    if (read != MS_OK)
        return emit_reject(self, frame.byte, frame.line, why ? why->text : "not a report", err);
    frame.body_sum = ms_import_sum(element);
    put_frame(&frame, &self->frame);
    enum ms_status status = ms_vt_report_encode(record, &self->frame, &fault);
    if (status == MS_REJECT)
        return emit_reject(self, frame.byte, frame.line, fault.text, err);
    if (status == MS_OK && self->bodies)
        status = emit_body(self, element, err);
    return status == MS_OK ? emit(self, frame.word, err) : status;
}

static enum ms_status read_piece(struct job *self, struct ms_splitter *splitter,
                                 struct ms_error *err)
{
    struct ms_error why = {.status = MS_OK};
    struct ms_record record;
    enum ms_status status = MS_REJECT;
    for (;;) {
        if (self->now.fault)
            return emit_reject(self, self->now.byte, self->now.line, self->now.fault, err);
        status = ms_record_read(self->reader, self->now.bytes, MS_RECORD_UNKNOWN, &record, &why);
        if (status != MS_REJECT || self->now.sure || ms_record_sound(self->reader))
            break;
        status = ms_splitter_refine(splitter, &self->now, err);
        if (status != MS_OK)
            return status;
    }
    if (status == MS_OK)
        return take_record(self, self->now.bytes, MS_OK, &record, NULL, err);
    if (status != MS_REJECT) {
        if (err)
            *err = why;
        return status;
    }
    if (!ms_record_sound(self->reader))
        return emit_reject(self, self->now.byte, self->now.line, why.text, err);
    /* A list of reports, or one report of none of the formats. */
    return ms_record_each(self->reader, self->now.bytes, MS_RECORD_UNKNOWN, take_record, self, err);
}

/* What is known already is cut by brackets, as it was then wherever lines misled. */
static enum ms_status pass_over(struct job *self, struct ms_splitter *splitter,
                                struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (!self->now.fault && !self->now.sure)
        status = ms_splitter_refine(splitter, &self->now, err);
    if (status != MS_OK || self->piece < self->ask.skip)
        return status;
    const struct ms_import_frame frame = {.word = MS_IMPORT_MUTED,
                                          .part = self->part,
                                          .piece = self->piece,
                                          .byte = self->now.byte,
                                          .line = self->now.line};
    put_frame(&frame, &self->frame);
    return emit(self, frame.word, err);
}

static enum ms_status read_pieces(struct job *self, struct ms_splitter *splitter,
                                  struct ms_split_state from, bool *more, struct ms_error *err)
{
    uint64_t known = self->ask.skip + (self->ask.mute ? 1 : 0);
    bool sliced = self->ask.slice_bytes && ms_stream_kind_get(self->stream) == MS_STREAM_PLAIN;
    for (self->piece = 0;; self->piece++) {
        enum ms_status status = ms_splitter_next(splitter, more, &self->now, err);
        if (status != MS_OK || !*more)
            return status;
        status =
            self->piece < known ? pass_over(self, splitter, err) : read_piece(self, splitter, err);
        if (status != MS_OK)
            return status;
        if (sliced && self->now.byte - from.byte >= self->ask.slice_bytes)
            return MS_OK;
    }
}

static enum ms_status read_source(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct job *self = ctx;
    return ms_stream_read(self->stream, buf, cap, n, err);
}

/* One part, and the frame that ends it. What is wrong with its compression costs its rest. */
static enum ms_status read_part(struct job *self, uint64_t length, struct ms_split_state from,
                                struct ms_error *err)
{
    struct ms_splitter *splitter = NULL;
    struct ms_error why = {.status = MS_OK};
    struct ms_import_frame frame = {.word = MS_IMPORT_PART, .part = self->part, .state = from};
    enum ms_status status =
        ms_stream_open_part(self->fd, length, MS_LIMIT_IMPORT_BYTES, &self->stream, err);
    if (status != MS_OK)
        return status;
    const char *foreign = from.byte == 0 ? ms_stream_foreign(self->stream) : NULL;
    self->bodies = self->ask.bodies || ms_stream_kind_get(self->stream) != MS_STREAM_PLAIN;
    status = ms_splitter_new(read_source, self, 0, &from, &splitter, err);
    if (status == MS_OK) {
        status = foreign ? ms_error_set(&why, MS_REJECT, "%s", foreign)
                         : read_pieces(self, splitter, from, &frame.more, &why);
        frame.state = ms_splitter_state(splitter);
        frame.more = frame.more && status == MS_OK;
        if (status != MS_OK && status != MS_REJECT && status != MS_E_LIMIT && err)
            *err = why;
        if (status == MS_REJECT || status == MS_E_LIMIT)
            status = MS_OK;
    }
    frame.byte = frame.state.byte;
    frame.line = frame.state.line;
    frame.piece = self->piece;
    if (status == MS_OK) {
        put_frame(&frame, &self->frame);
        (void)ms_buf_append_text(&self->frame, why.text);
        status = emit(self, frame.word, err);
    }
    ms_splitter_free(splitter);
    ms_stream_close(self->stream);
    self->stream = NULL;
    return status;
}

/* The parts lie one behind the other; one whose reading ended early has left some of it. */
static enum ms_status read_parts(struct job *self, struct ms_span lengths, struct ms_error *err)
{
    static const struct ms_split_state start = {.line = 1};
    enum ms_status status = MS_OK;
    uint64_t length = 0;
    off_t at = lseek(self->fd, 0, SEEK_CUR);
    for (self->part = 0; status == MS_OK && self->part < self->ask.part_count; self->part++) {
        bool first = self->part == self->ask.first_part;
        if (!ms_span_take_varint(&lengths, &length))
            return ms_error_set(err, MS_E_BUG, "the question to the reader of reports is cut");
        if (self->part < self->ask.first_part)
            continue;
        status = read_part(self, length, first ? self->ask.state : start, err);
        self->ask.skip = 0;
        self->ask.mute = false;
        if (length == UINT64_MAX)
            return status;
        at += (off_t)length;
        if (status == MS_OK && lseek(self->fd, at, SEEK_SET) != at)
            return ms_error_set(err, MS_E_IO, "cannot go to the next file");
    }
    return status;
}

static enum ms_status read_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    struct job self = {.fd = input_fd, .out = out};
    ms_buf_init(&self.frame, FRAME_BYTES);
    enum ms_status status = ms_record_reader_new(&self.reader, err);
    if (status == MS_OK && !take_ask(&arg, &self.ask))
        status = ms_error_set(err, MS_E_BUG, "the question to the reader of reports is malformed");
    if (status == MS_OK)
        status = read_parts(&self, arg, err);
    ms_record_reader_free(self.reader);
    ms_buf_release(&self.frame);
    return status;
}

const struct ms_worker_kind ms_import_kind = {"label-import", read_job, NULL};
