/* Reading a report in the confined worker. It stores nothing and knows no file names. Archives:
 * archive_job.c. */
#include "extract/report_job.h"

#include "base/hash.h"
#include "base/limits.h"
#include "base/stream.h"
#include "extract/report/metadata.h"
#include "extract/report/turns.h"
#include "extract/trace_frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 256 << 10 };

struct source {
    struct ms_stream *stream;    /* NULL: … */
    struct ms_worker_feed *feed; /* … then this, or NULL: … */
    ms_scanner_source pull;      /* … then this */
    void *pull_ctx;
    struct ms_worker_out *out; /* NULL: the plain bytes are not wanted */
    struct ms_hasher *hasher;  /* NULL: nor is their digest */
    bool ended;                /* nothing more can come */
};

static bool has_letter(struct ms_span arg, char letter)
{
    return arg.len && memchr(arg.data, letter, arg.len);
}

static enum ms_status read_source(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct source *self = ctx;
    enum ms_status status = MS_OK;
    if (self->pull)
        status = self->pull(self->pull_ctx, buf, cap, n, err);
    else
        status = self->feed ? ms_worker_feed_read(self->feed, buf, cap, n, err)
                            : ms_stream_read(self->stream, buf, cap, n, err);
    self->ended = status != MS_OK || *n == 0;
    if (status == MS_OK && self->hasher)
        ms_hasher_update(self->hasher, buf, *n);
    if (status == MS_OK && self->out && *n) {
        status = ms_worker_emit(self->out, MS_FRAME_PLAIN, buf, *n);
        if (status != MS_OK)
            return ms_error_set(err, status, "cannot answer");
    }
    return status;
}

/* What lies behind a fault goes to the vault as well: the object's name is the digest of the whole
 * file, so that it is known again. Where neither is wanted the rest is left alone. */
static enum ms_status drain(struct source *self, struct ms_error *err)
{
    if (!self->out && !self->hasher)
        return MS_OK;
    uint8_t *block = malloc(BLOCK_BYTES);
    if (!block)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    enum ms_status status = MS_OK;
    while (status == MS_OK && !self->ended) {
        size_t n;
        status = read_source(self, block, BLOCK_BYTES, &n, err);
    }
    free(block);
    return status == MS_E_IO || status == MS_E_NOMEM ? status : MS_OK;
}

/* What is to be known of a report that was taken. */
static void write_remarks(const struct ms_report_result *result, uint64_t overflow, char *out,
                          size_t n)
{
    (void)snprintf(out, n, "%s", result->remark);
    size_t used = strlen(out);
    if (overflow)
        (void)snprintf(out + used, n - used,
                       "%smore than %d distinct API names: %" PRIu64 " calls are stored as %s",
                       used ? "; " : "", MS_LIMIT_APIS_PER_REPORT, overflow, MS_API_OVERFLOW);
}

static enum ms_status send_digest(struct source *self, struct ms_worker_out *out,
                                  struct ms_error *err)
{
    struct ms_digests digests;
    if (!self->hasher || !self->ended)
        return MS_OK;
    enum ms_status status = ms_hasher_finish(self->hasher, &digests, err);
    if (status == MS_OK)
        status = ms_worker_emit(out, MS_FRAME_DIGEST, digests.sha256, sizeof digests.sha256);
    return status;
}

/* An archive instead of a report: said, and its bytes handed over where they come only once. */
static enum ms_status send_archive(struct source *self, int fd, struct ms_worker_out *out,
                                   struct ms_error *err)
{
    enum ms_status status = ms_worker_emit(out, MS_FRAME_ARCHIVE, NULL, 0);
    self->out = out;
    self->hasher = NULL;
    if (status == MS_OK && lseek(fd, 0, SEEK_CUR) < 0)
        status = drain(self, err);
    return status;
}

static bool is_passed_over(const struct ms_report_result *result, struct ms_span arg)
{
    if (result->foreign == MS_FOREIGN_JSON)
        return has_letter(arg, MS_REPORT_NO_JSON);
    return result->foreign && has_letter(arg, MS_REPORT_NO_TEXT);
}

static enum ms_status read_report(struct source *source, struct ms_span arg,
                                  struct ms_worker_out *out, struct ms_error *err)
{
    struct ms_trace_sender *sender = NULL;
    enum ms_scanner_check check =
        has_letter(arg, MS_REPORT_STRICT) ? MS_SCAN_CHECK_GRAMMAR : MS_SCAN_CHECK_STRUCTURE;
    struct ms_report_result result = {.state = MS_REPORT_INVALID};
    struct ms_error fault = {.status = MS_OK};
    char reason[MS_ERROR_TEXT_BYTES] = "";
    enum ms_status status = ms_trace_sender_new(out, &sender, err);
    if (status != MS_OK)
        return status;
    struct ms_trace_sink sink = ms_trace_sender_sink(sender);
    status = ms_report_read(read_source, source, check, &sink, &result, &fault);
    if (status == MS_REJECT || status == MS_E_LIMIT) {
        (void)snprintf(reason, sizeof reason, "%s", fault.text);
        result.state = MS_REPORT_INVALID;
        status = is_passed_over(&result, arg) ? MS_OK : drain(source, &fault);
    } else if (status == MS_OK) {
        write_remarks(&result, ms_trace_sender_overflow(sender) + result.beyond_calls, reason,
                      sizeof reason);
    }
    if (status == MS_OK)
        status = send_digest(source, out, &fault);
    if (status == MS_OK)
        status = ms_trace_send_result(out, &result, reason, &fault);
    if (status != MS_OK && err)
        *err = fault;
    ms_trace_sender_free(sender);
    return status;
}

/* Not even the beginning could be decompressed. */
static enum ms_status send_unreadable(struct ms_worker_out *out, const struct ms_error *fault,
                                      struct ms_error *err)
{
    const struct ms_report_result result = {.state = MS_REPORT_INVALID};
    return ms_trace_send_result(out, &result, fault->text, err);
}

enum ms_status ms_report_send(int fd, struct ms_span arg, bool archives, struct ms_worker_out *out,
                              struct ms_error *err)
{
    struct source source = {.out = has_letter(arg, MS_REPORT_PLAIN) ? out : NULL};
    struct ms_error fault = {.status = MS_OK};
    enum ms_status status = MS_OK;
    if (has_letter(arg, MS_REPORT_DIGEST))
        status = ms_hasher_new(MS_HASH_SHA256, &source.hasher, err);
    if (status != MS_OK)
        return status;
    struct ms_hasher *hasher = source.hasher;
    struct ms_worker_feed feed;
    if (has_letter(arg, MS_REPORT_FED)) {
        ms_worker_feed_init(&feed, fd, MS_LIMIT_REPORT_BYTES);
        source.feed = &feed;
    } else {
        status = ms_stream_open(fd, MS_LIMIT_REPORT_BYTES, &source.stream, &fault);
    }
    if (status == MS_REJECT || status == MS_E_LIMIT)
        status = send_unreadable(out, &fault, &fault);
    else if (status == MS_OK && archives && source.stream && ms_stream_foreign(source.stream))
        status = send_archive(&source, fd, out, &fault);
    else if (status == MS_OK)
        status = read_report(&source, arg, out, &fault);
    if (status != MS_OK && err)
        *err = fault;
    if (source.stream)
        ms_stream_close(source.stream);
    ms_hasher_free(hasher);
    return status;
}

enum ms_status ms_report_send_pulled(ms_scanner_source pull, void *ctx, struct ms_span arg,
                                     struct ms_worker_out *out, struct ms_error *err)
{
    struct source source = {
        .pull = pull, .pull_ctx = ctx, .out = has_letter(arg, MS_REPORT_PLAIN) ? out : NULL};
    enum ms_status status = MS_OK;
    if (has_letter(arg, MS_REPORT_DIGEST))
        status = ms_hasher_new(MS_HASH_SHA256, &source.hasher, err);
    if (status == MS_OK)
        status = read_report(&source, arg, out, err);
    ms_hasher_free(source.hasher);
    return status;
}

enum ms_status ms_report_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                             struct ms_error *err)
{
    return ms_report_send(input_fd, arg, true, out, err);
}

enum ms_status ms_plain_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                            struct ms_error *err)
{
    struct ms_stream *stream = NULL;
    (void)arg;
    enum ms_status status = ms_stream_open(input_fd, MS_LIMIT_REPORT_BYTES, &stream, err);
    for (size_t n = 1; status == MS_OK && n;) {
        status = ms_stream_read(stream, ms_worker_feed_room(), MS_WORKER_FEED_BYTES, &n, err);
        if (status == MS_OK && n && ms_worker_feed_send(out, n) != MS_OK)
            status = ms_error_set(err, MS_E_IO, "nobody reads on");
    }
    if (stream)
        ms_stream_close(stream);
    return status;
}

enum ms_status ms_turns_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                            struct ms_error *err)
{
    struct ms_trace_sender *sender = NULL;
    (void)arg;
    enum ms_status status = ms_trace_sender_new(out, &sender, err);
    if (status != MS_OK)
        return status;
    const struct ms_trace_sink sink = ms_trace_sender_sink(sender);
    status = ms_turns_read(input_fd, &sink, err);
    ms_trace_sender_free(sender);
    return status;
}

enum ms_status ms_metadata_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    struct source source = {.out = NULL};
    struct ms_trace_sender *sender = NULL;
    (void)arg;
    enum ms_status status = ms_trace_sender_new(out, &sender, err);
    if (status == MS_OK)
        status = ms_stream_open(input_fd, MS_LIMIT_METADATA_BYTES, &source.stream, err);
    if (status == MS_OK) {
        struct ms_trace_sink sink = ms_trace_sender_sink(sender);
        status = ms_metadata_read(read_source, &source, &sink, err);
    }
    if (source.stream)
        ms_stream_close(source.stream);
    ms_trace_sender_free(sender);
    return status;
}

/* OpenSSL loads what it needs with the first hasher. */
void ms_report_prepare(void)
{
    struct ms_hasher *hasher = NULL;
    if (ms_hasher_new(MS_HASH_SHA256, &hasher, NULL) == MS_OK)
        ms_hasher_free(hasher);
}
