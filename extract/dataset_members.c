/* Reports, listings and dumps in the confined worker, one record after another. Labels are read
 * elsewhere; it stores nothing. */
#include "extract/dataset_members.h"

#include "base/limits.h"
#include "base/stream.h"
#include "base/unpack_member.h"
#include "extract/dataset_listing.h"
#include "extract/dataset_row.h"
#include "extract/dataset_table.h"
#include "extract/trace_frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 128 << 10, KEY_BYTES = 256 };

struct members {
    struct ms_worker_out *out;
    struct ms_trace_sender *sender;
    struct ms_trace_sink sink; /* the sender's */
    struct ms_stream *stream;  /* one of the two is read */
    struct ms_unpack_stream *archive;
    bool in_process;   /* what began was not ended yet */
    uint64_t calls;    /* of the record */
    bool has_behavior; /* of a report */
    char target[80];   /* what it says it is about */
    uint8_t block[BLOCK_BYTES];
};

/* --- names --- */

static bool ends_with(struct ms_span text, const char *end)
{
    size_t n = strlen(end);
    if (text.len < n)
        return false;
    return ms_span_equal_text(ms_span_of(text.data + text.len - n, n), end);
}

static bool take_end(struct ms_span *text, const char *end)
{
    bool there = ends_with(*text, end);
    if (there)
        text->len -= strlen(end);
    return there;
}

enum ms_dataset_file ms_dataset_file_of(struct ms_span dataset, const char *path,
                                        struct ms_span *key)
{
    bool big = ms_span_equal_text(dataset, "big-2015");
    const char *slash = strrchr(path, '/'), *back = strrchr(path, '\\');
    const char *name = slash ? slash + 1 : path;
    if (back && back >= name)
        name = back + 1;
    struct ms_span stem = ms_span_of(name, strlen(name));
    if (ends_with(stem, ".zip") || ends_with(stem, ".7z") || ends_with(stem, ".tar"))
        return MS_DATASET_FILE_ARCHIVE;
    if (!take_end(&stem, ".gz"))
        (void)take_end(&stem, ".zst");
    if (ms_span_equal_text(stem, big ? "trainLabels.csv" : "public_labels.csv"))
        return MS_DATASET_FILE_LABELS;
    bool record =
        big ? take_end(&stem, ".asm") || take_end(&stem, ".bytes") : take_end(&stem, ".json");
    /* What a Mac adds to archives, and other hidden files, are no records. */
    if (!record || !stem.len || *stem.data == '.')
        return MS_DATASET_FILE_OTHER;
    if (key)
        *key = stem;
    return MS_DATASET_FILE_RECORD;
}

static bool is_dump(const char *path)
{
    struct ms_span name = ms_span_of(path, strlen(path));
    if (!take_end(&name, ".gz"))
        (void)take_end(&name, ".zst");
    return ends_with(name, ".bytes");
}

/* --- one record --- */

static enum ms_status read_bytes(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct members *self = ctx;
    if (self->archive)
        return ms_unpack_stream_read(self->archive, MS_LIMIT_REPORT_BYTES, buf, cap, n, err);
    return ms_stream_read(self->stream, buf, cap, n, err);
}

static enum ms_status on_process(void *ctx, const struct ms_process_info *process,
                                 struct ms_error *err)
{
    struct members *self = ctx;
    self->in_process = true;
    return self->sink.process(self->sink.ctx, process, err);
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    struct members *self = ctx;
    self->calls++;
    return self->sink.call(self->sink.ctx, call, err);
}

static enum ms_status on_process_end(void *ctx, struct ms_error *err)
{
    struct members *self = ctx;
    self->in_process = false;
    return self->sink.process_end(self->sink.ctx, err);
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    struct members *self = ctx;
    (void)err;
    self->has_behavior = info->has_behavior;
    self->target[0] = '\0';
    if (info->target_sha256.len == 64)
        (void)snprintf(self->target, sizeof self->target, "%.64s",
                       (const char *)info->target_sha256.data);
    return MS_OK;
}

static bool same_hash(struct ms_span key, const char *hash)
{
    for (size_t i = 0; hash[i]; i++)
        if (i >= key.len || (key.data[i] | 0x20) != ((uint8_t)hash[i] | 0x20))
            return false;
    return true;
}

static enum ms_status read_report(struct members *self, struct ms_dataset_row *row,
                                  struct ms_error *err)
{
    const struct ms_trace_sink sink = {self, on_process, on_call, on_process_end, on_info, NULL};
    struct ms_report_result result;
    row->what = MS_DATASET_REPORT;
    self->has_behavior = false;
    self->target[0] = '\0';
    enum ms_status status =
        ms_report_read(read_bytes, self, MS_SCAN_CHECK_STRUCTURE, &sink, &result, err);
    row->state = result.state;
    row->line = result.line;
    /* The reduced reports have a summary of the behaviour and no processes: that is how they are
     * published, and no report that lacks something. */
    if (status == MS_OK && result.state == MS_REPORT_NO_BEHAVIOR && self->has_behavior)
        row->state = MS_REPORT_NO_CALLS;
    if (status == MS_OK && !same_hash(row->key, self->target))
        return ms_error_set(err, MS_REJECT, "the report is about another file");
    return status;
}

static enum ms_status on_instruction(void *ctx, struct ms_span mnemonic, struct ms_error *err)
{
    const struct ms_call_info call = {
        .api = mnemonic, .space = MS_API_OPCODE, .tid = MS_TID_NONE, .time_us = MS_TIME_NONE};
    return on_call(ctx, &call, err);
}

static enum ms_status read_listing(struct members *self, struct ms_dataset_row *row,
                                   struct ms_error *err)
{
    const struct ms_process_info process = {.first_seen_us = MS_TIME_NONE, .tracked = true};
    struct ms_listing listing = {.ctx = self, .instruction = on_instruction};
    size_t n = 1;
    row->what = MS_DATASET_LISTING;
    enum ms_status status = on_process(self, &process, err);
    while (status == MS_OK && n) {
        status = read_bytes(self, self->block, sizeof self->block, &n, err);
        if (status == MS_OK)
            status = ms_listing_take(&listing, self->block, n, err);
    }
    if (status == MS_OK)
        status = ms_listing_end(&listing, err);
    row->state = self->calls ? MS_REPORT_OK : MS_REPORT_NO_CALLS;
    row->line = status == MS_OK ? 0 : listing.lines + 1;
    return status == MS_OK ? on_process_end(self, err) : status;
}

static enum ms_status read_dump(struct members *self, struct ms_dataset_row *row,
                                struct ms_error *err)
{
    struct ms_dump dump = {.lines = 0};
    enum ms_status status = MS_OK;
    size_t n = 1;
    row->what = MS_DATASET_SIZE;
    while (status == MS_OK && n) {
        status = read_bytes(self, self->block, sizeof self->block, &n, err);
        if (status == MS_OK)
            status = ms_dump_take(&dump, self->block, n, err);
    }
    if (status == MS_OK)
        status = ms_dump_end(&dump, err);
    row->bytes = dump.bytes;
    row->line = status == MS_OK ? 0 : dump.lines + 1;
    return status;
}

/* Reads the record that is open. What is wrong with it goes into its row. */
static enum ms_status read_record(struct members *self, struct ms_span dataset, const char *path,
                                  struct ms_error *err)
{
    struct ms_dataset_row row = {.what = MS_DATASET_ROW};
    struct ms_error fault = {.status = MS_OK};
    enum ms_status status;
    (void)ms_dataset_file_of(dataset, path, &row.key);
    if (row.key.len > KEY_BYTES)
        row.key.len = KEY_BYTES;
    self->calls = 0;
    if (!ms_span_equal_text(dataset, "big-2015"))
        status = read_report(self, &row, &fault);
    else if (is_dump(path))
        status = read_dump(self, &row, &fault);
    else
        status = read_listing(self, &row, &fault);
    if (status == MS_REJECT || status == MS_E_LIMIT) {
        row.reason = ms_span_of(fault.text, strlen(fault.text));
        /* What is left in the encoder must not stand in front of the next record's calls; the
         * parent drops it. */
        status = self->in_process ? on_process_end(self, &fault) : MS_OK;
    }
    row.calls = self->calls;
    if (status == MS_OK)
        return ms_dataset_row_send(self->out, &row, err);
    if (err)
        *err = fault;
    return status;
}

/* --- jobs --- */

static enum ms_status begin(struct ms_worker_out *out, struct members **self, struct ms_error *err)
{
    *self = calloc(1, sizeof **self);
    if (!*self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a dataset");
    (*self)->out = out;
    enum ms_status status = ms_trace_sender_new(out, &(*self)->sender, err);
    if (status == MS_OK)
        (*self)->sink = ms_trace_sender_sink((*self)->sender);
    return status;
}

static void finish(struct members *self)
{
    if (!self)
        return;
    ms_unpack_stream_close(self->archive);
    if (self->stream)
        ms_stream_close(self->stream);
    ms_trace_sender_free(self->sender);
    free(self);
}

/* DATASET/REST; the rest with a NUL. */
static struct ms_span split_argument(struct ms_span arg, char *rest, size_t n)
{
    const uint8_t *slash = arg.len ? memchr(arg.data, '/', arg.len) : NULL;
    rest[0] = '\0';
    if (!slash)
        return arg;
    size_t front = (size_t)(slash - arg.data), len = arg.len - front - 1;
    if (len >= n)
        len = n - 1;
    memcpy(rest, slash + 1, len);
    rest[len] = '\0';
    return ms_span_of(arg.data, front);
}

enum ms_status ms_dataset_member_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                     struct ms_error *err)
{
    struct members *self = NULL;
    char name[MS_LIMIT_NAME_BYTES];
    struct ms_span dataset = split_argument(arg, name, sizeof name);
    enum ms_status status = begin(out, &self, err);
    if (status == MS_OK)
        status = ms_stream_open(input_fd, MS_LIMIT_REPORT_BYTES, &self->stream, err);
    if (status == MS_OK)
        status = read_record(self, dataset, name, err);
    finish(self);
    return status;
}

/* What went wrong inside an archive that was entered costs what follows in that one alone; *worst
 * remembers it. */
static enum ms_status walk(struct members *self, struct ms_span dataset, uint64_t skip,
                           struct ms_error *worst, struct ms_error *err)
{
    uint64_t faults = 0;
    for (;;) {
        const char *name;
        bool more;
        struct ms_error fault = {.status = MS_OK};
        enum ms_status status = ms_unpack_stream_next(self->archive, &name, &more, &fault);
        if (status == MS_REJECT && faults++ < 1) {
            *worst = fault;
            continue;
        }
        if (status != MS_OK || !more) {
            if (status != MS_OK && err)
                *err = fault;
            return status;
        }
        enum ms_dataset_file kind = ms_dataset_file_of(dataset, name, NULL);
        if (kind == MS_DATASET_FILE_ARCHIVE)
            status = ms_unpack_stream_enter(self->archive, &fault);
        else if (kind == MS_DATASET_FILE_RECORD && skip)
            skip--;
        else if (kind == MS_DATASET_FILE_RECORD)
            status = read_record(self, dataset, name, &fault);
        if (status == MS_REJECT)
            *worst = fault;
        else if (status != MS_OK) {
            if (err)
                *err = fault;
            return status;
        }
    }
}

enum ms_status ms_dataset_members_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                      struct ms_error *err)
{
    struct members *self = NULL;
    struct ms_error worst = {.status = MS_OK};
    char skip[24];
    struct ms_span dataset = split_argument(arg, skip, sizeof skip);
    enum ms_status status = begin(out, &self, err);
    if (status == MS_OK)
        status = ms_unpack_stream_begin(input_fd, &self->archive, err);
    if (status == MS_OK)
        status = walk(self, dataset, strtoull(skip, NULL, 10), &worst, err);
    finish(self);
    if (status == MS_OK && worst.status != MS_OK)
        status = ms_error_set(err, MS_REJECT, "%s", worst.text);
    return status;
}

static enum ms_status read_member(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    return ms_unpack_stream_read(ctx, MS_LIMIT_LIST_BYTES, buf, cap, n, err);
}

enum ms_status ms_dataset_archive_labels_job(int input_fd, struct ms_span arg,
                                             struct ms_worker_out *out, struct ms_error *err)
{
    struct ms_unpack_stream *archive = NULL;
    enum ms_status status = ms_unpack_stream_begin(input_fd, &archive, err);
    bool more = status == MS_OK, found = false;
    while (status == MS_OK && more && !found) {
        const char *name;
        status = ms_unpack_stream_next(archive, &name, &more, err);
        if (status != MS_OK || !more)
            break;
        found = ms_dataset_file_of(arg, name, NULL) == MS_DATASET_FILE_LABELS;
        if (found)
            status = ms_dataset_labels_read(read_member, archive, arg, out, err);
    }
    ms_unpack_stream_close(archive);
    return status;
}
