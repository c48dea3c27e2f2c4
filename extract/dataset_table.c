/* Tables with a row of calls a sample, in the confined worker: MalBehavD-V1 and Oliveira's. It
 * judges the form of rows; what keys and labels mean is the parent's business. */
#include "extract/dataset_table.h"

#include "base/stream.h"
#include "extract/dataset_csv.h"
#include "extract/dataset_oliveira.h"
#include "extract/dataset_row.h"
#include "extract/trace_frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 256 << 10, KEY_COLUMN = 0 };

struct text {
    size_t len;
    uint8_t bytes[MS_LIMIT_API_NAME_BYTES];
};

struct table {
    struct ms_worker_out *out;
    struct ms_trace_sender *sender;
    struct ms_trace_sink sink;
    bool numbers;      /* Oliveira's: calls are numbers, the label stands last */
    bool past_head;    /* the first line is done */
    bool process_open; /* of the present row */
    uint64_t rows;
    uint64_t calls;
    struct text key, label;
    char reason[160];
};

static void set_text(struct text *out, struct ms_span bytes)
{
    out->len = bytes.len;
    if (bytes.len)
        memcpy(out->bytes, bytes.data, bytes.len);
}

static struct ms_span view(const struct text *text)
{
    return ms_span_of(text->bytes, text->len);
}

/* The name of a column in the published first line; NULL: any. */
static const char *head_name(const struct table *self, uint64_t column, char *room, size_t n)
{
    if (!self->numbers)
        return column == KEY_COLUMN ? "sha256" : column == 1 ? "labels" : NULL;
    if (column == KEY_COLUMN)
        return "hash";
    if (column > MS_OLIVEIRA_CALLS)
        return column == MS_OLIVEIRA_CALLS + 1 ? "malware" : NULL;
    (void)snprintf(room, n, "t_%" PRIu64, column - 1);
    return room;
}

static enum ms_status not_the_table(const struct table *self, struct ms_error *err)
{
    if (!self->numbers)
        return ms_error_set(err, MS_E_INPUT,
                            "the first line does not begin with 'sha256,labels': not MalBehavD-V1");
    return ms_error_set(
        err, MS_E_INPUT,
        "the first line is not 'hash,t_0,...,t_99,malware': not Oliveira's table of API calls");
}

/* Digits alone, within the list of names. */
static bool read_number(struct ms_span field, unsigned *out)
{
    unsigned value = 0;
    if (!field.len || field.len > 6)
        return false;
    for (size_t i = 0; i < field.len; i++) {
        if (field.data[i] < '0' || field.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(field.data[i] - '0');
    }
    *out = value;
    return value < MS_OLIVEIRA_NAMES;
}

static enum ms_status add_call(struct table *self, struct ms_span name, struct ms_error *err)
{
    const struct ms_call_info call = {.api = name, .tid = MS_TID_NONE, .time_us = MS_TIME_NONE};
    self->calls++;
    return self->sink.call(self->sink.ctx, &call, err);
}

static enum ms_status take_call(struct table *self, uint64_t column, struct ms_span field,
                                struct ms_error *err)
{
    unsigned number = 0;
    if (!self->numbers)
        return field.len ? add_call(self, field, err) : MS_OK;
    if (read_number(field, &number))
        return add_call(
            self, ms_span_of(ms_oliveira_names[number], strlen(ms_oliveira_names[number])), err);
    if (!self->reason[0])
        (void)snprintf(self->reason, sizeof self->reason,
                       "t_%" PRIu64 " is none of the numbers 0 to %d", column - 1,
                       MS_OLIVEIRA_NAMES - 1);
    return MS_OK;
}

static enum ms_status on_field(void *ctx, uint64_t column, struct ms_span field, bool cut,
                               struct ms_error *err)
{
    struct table *self = ctx;
    enum ms_status status = MS_OK;
    (void)cut; /* a name is cut, a key or label that long is none */
    if (!self->past_head) {
        char room[24];
        const char *name = head_name(self, column, room, sizeof room);
        bool surplus = self->numbers && column > MS_OLIVEIRA_CALLS + 1;
        return surplus || (name && !ms_span_equal_text(field, name)) ? not_the_table(self, err)
                                                                     : MS_OK;
    }
    if (!self->process_open) {
        const struct ms_process_info process = {.first_seen_us = MS_TIME_NONE, .tracked = true};
        self->process_open = true;
        status = self->sink.process(self->sink.ctx, &process, err);
    }
    if (status != MS_OK)
        return status;
    if (column == KEY_COLUMN)
        set_text(&self->key, field);
    else if (column == (self->numbers ? MS_OLIVEIRA_CALLS + 1U : 1U))
        set_text(&self->label, field);
    else if (!self->numbers || column <= MS_OLIVEIRA_CALLS)
        return take_call(self, column, field, err);
    return MS_OK;
}

static enum ms_status send_row(struct table *self, uint64_t line, struct ms_error *err)
{
    const struct ms_dataset_row row = {.what = MS_DATASET_ROW,
                                       .line = line,
                                       .calls = self->calls,
                                       .key = view(&self->key),
                                       .label = view(&self->label),
                                       .reason = ms_span_of(self->reason, strlen(self->reason))};
    enum ms_status status = self->sink.process_end(self->sink.ctx, err);
    if (status == MS_OK)
        status = ms_dataset_row_send(self->out, &row, err);
    self->process_open = false;
    self->calls = 0;
    self->key.len = self->label.len = 0;
    self->reason[0] = '\0';
    return status;
}

static enum ms_status on_row(void *ctx, uint64_t line, uint64_t columns, bool damaged,
                             struct ms_error *err)
{
    struct table *self = ctx;
    uint64_t wanted = self->numbers ? MS_OLIVEIRA_CALLS + 2U : 2U;
    if (!self->past_head) {
        self->past_head = true;
        return columns < wanted ? not_the_table(self, err) : MS_OK;
    }
    if (++self->rows > MS_LIMIT_PUBLISHED_ROWS)
        return ms_error_set(err, MS_E_LIMIT, "the dataset has too many rows");
    if (self->numbers ? columns != wanted : columns < wanted)
        (void)snprintf(self->reason, sizeof self->reason, "%" PRIu64 " columns instead of %" PRIu64,
                       columns, wanted);
    if (damaged)
        (void)snprintf(self->reason, sizeof self->reason, "its quotation marks do not match");
    return send_row(self, line, err);
}

static enum ms_status read_all(ms_dataset_source source, void *ctx, struct ms_csv *csv,
                               struct ms_error *err)
{
    uint8_t *block = malloc(BLOCK_BYTES);
    if (!block)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a dataset");
    enum ms_status status;
    size_t n = 0;
    do {
        status = source(ctx, block, BLOCK_BYTES, &n, err);
        if (status == MS_OK)
            status = ms_csv_take(csv, block, n, err);
    } while (status == MS_OK && n);
    free(block);
    return status == MS_OK ? ms_csv_end(csv, err) : status;
}

static enum ms_status read_stream(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    return ms_stream_read(ctx, buf, cap, n, err);
}

static enum ms_status read_table(struct table *self, int input_fd, struct ms_error *err)
{
    struct ms_stream *stream = NULL;
    struct ms_csv csv = {.events = {self, on_field, on_row}};
    enum ms_status status = ms_stream_open(input_fd, MS_LIMIT_PUBLISHED_BYTES, &stream, err);
    if (status != MS_OK)
        return status;
    status = read_all(read_stream, stream, &csv, err);
    if (status == MS_OK && !self->past_head)
        status = not_the_table(self, err);
    ms_stream_close(stream);
    return status;
}

enum ms_status ms_dataset_table_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                    struct ms_error *err)
{
    struct table *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a dataset");
    self->out = out;
    self->numbers = ms_span_equal_text(arg, "oliveira");
    enum ms_status status = ms_trace_sender_new(out, &self->sender, err);
    if (status == MS_OK) {
        self->sink = ms_trace_sender_sink(self->sender);
        status = read_table(self, input_fd, err);
    }
    ms_trace_sender_free(self->sender);
    free(self);
    return status;
}

/* --- lists of labels --- */

enum { WANTED_MAX = 4, NOT_THERE = UINT16_MAX };

struct list {
    struct ms_worker_out *out;
    const char *names[WANTED_MAX]; /* in the order of struct ms_dataset_row */
    size_t count;
    uint16_t columns[WANTED_MAX]; /* where they stand */
    uint64_t width;
    bool past_head;
    uint64_t rows;
    bool long_field;
    struct text fields[WANTED_MAX];
};

static bool same_word(struct ms_span field, const char *word)
{
    size_t n = strlen(word);
    bool same = field.len == n;
    for (size_t i = 0; same && i < n; i++) {
        uint8_t a = field.data[i], b = (uint8_t)word[i];
        same = a == b || ((a ^ b) == 0x20 && (a | 0x20) >= 'a' && (a | 0x20) <= 'z');
    }
    return same;
}

static enum ms_status on_label_field(void *ctx, uint64_t column, struct ms_span field, bool cut,
                                     struct ms_error *err)
{
    struct list *self = ctx;
    (void)err;
    for (size_t i = 0; i < self->count; i++) {
        if (!self->past_head && column < NOT_THERE && self->columns[i] == NOT_THERE &&
            same_word(field, self->names[i])) {
            self->columns[i] = (uint16_t)column;
        } else if (self->past_head && column == self->columns[i]) {
            self->long_field |= cut;
            set_text(&self->fields[i], field);
        }
    }
    return MS_OK;
}

static enum ms_status on_label_row(void *ctx, uint64_t line, uint64_t columns, bool damaged,
                                   struct ms_error *err)
{
    struct list *self = ctx;
    char reason[120] = "";
    if (!self->past_head) {
        self->past_head = true;
        self->width = columns;
        for (size_t i = 0; i < self->count; i++)
            if (self->columns[i] == NOT_THERE)
                return ms_error_set(err, MS_E_INPUT,
                                    "the first line of the labels names no column '%s'",
                                    self->names[i]);
        return MS_OK;
    }
    if (++self->rows > MS_LIMIT_PUBLISHED_ROWS)
        return ms_error_set(err, MS_E_LIMIT, "the dataset has too many labels");
    if (columns != self->width)
        (void)snprintf(reason, sizeof reason, "%" PRIu64 " columns instead of %" PRIu64, columns,
                       self->width);
    else if (damaged)
        (void)snprintf(reason, sizeof reason, "its quotation marks do not match");
    else if (self->long_field)
        (void)snprintf(reason, sizeof reason, "a field of it is too long");
    const struct ms_dataset_row row = {.what = MS_DATASET_ROW,
                                       .line = line,
                                       .key = view(&self->fields[0]),
                                       .label = view(&self->fields[1]),
                                       .second = view(&self->fields[2]),
                                       .date = view(&self->fields[3]),
                                       .reason = ms_span_of(reason, strlen(reason))};
    enum ms_status status = ms_dataset_row_send(self->out, &row, err);
    for (size_t i = 0; i < self->count; i++)
        self->fields[i].len = 0;
    self->long_field = false;
    return status;
}

enum ms_status ms_dataset_labels_read(ms_dataset_source source, void *ctx, struct ms_span dataset,
                                      struct ms_worker_out *out, struct ms_error *err)
{
    static const char *const avast[WANTED_MAX] = {"sha256", "classification_family",
                                                  "classification_type", "date"};
    static const char *const big[WANTED_MAX] = {"Id", "Class"};
    bool is_avast = ms_span_equal_text(dataset, "avast-ctu");
    struct list *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read labels");
    self->out = out;
    self->count = is_avast ? 4 : 2;
    for (size_t i = 0; i < WANTED_MAX; i++) {
        self->names[i] = is_avast ? avast[i] : big[i];
        self->columns[i] = NOT_THERE;
    }
    struct ms_csv csv = {.events = {self, on_label_field, on_label_row}};
    enum ms_status status = read_all(source, ctx, &csv, err);
    if (status == MS_OK && !self->past_head)
        status = ms_error_set(err, MS_E_INPUT, "the list of labels is empty");
    free(self);
    return status;
}

enum ms_status ms_dataset_labels_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                     struct ms_error *err)
{
    struct ms_stream *stream = NULL;
    enum ms_status status = ms_stream_open(input_fd, MS_LIMIT_LIST_BYTES, &stream, err);
    if (status == MS_OK)
        status = ms_dataset_labels_read(read_stream, stream, arg, out, err);
    if (stream)
        ms_stream_close(stream);
    return status;
}
