/* Reading a report by the worker, believing nothing it says, and judging it. Rows: ingest.c. */
#include "extract/intake.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/step.h"
#include "base/stream.h"
#include "extract/report_job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void set_reason(struct ms_intake *self, const char *text)
{
    (void)snprintf(self->out.reason, sizeof self->out.reason, "%s", text);
}

enum ms_status ms_intake_new(const struct ms_ingest *ingest, struct ms_intake **out,
                             struct ms_error *err)
{
    struct ms_intake *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a report");
    self->ingest = ingest;
    self->archive_fd = -1;
    self->sample = (struct ms_sample){.size = -1, .machine = -1};
    self->out.state = ms_report_state_name(MS_REPORT_INVALID);
    (void)snprintf(self->out.sandbox, sizeof self->out.sandbox, "unknown");
    ms_trace_received_init(&self->received);
    ms_trace_received_keep(&self->received, ingest->corpus);
    enum ms_status status = MS_OK;
    if (ingest->corpus && !ingest->discard_reports)
        status = ms_vault_begin(ingest->corpus, MS_VAULT_REPORT, &self->vault, err);
    if (status == MS_OK)
        *out = self;
    else
        ms_intake_free(self);
    return status;
}

void ms_intake_free(struct ms_intake *self)
{
    if (!self)
        return;
    if (self->vault)
        ms_vault_abort(self->vault);
    if (self->archive_fd >= 0)
        (void)close(self->archive_fd);
    ms_trace_received_release(&self->received);
    free(self);
}

struct ms_span ms_intake_argument(const struct ms_intake *self, char to[MS_INTAKE_LETTERS])
{
    size_t n = 0;
    if (self->vault)
        to[n++] = MS_REPORT_PLAIN;
    else if (self->again || (self->ingest->corpus && self->ingest->discard_reports))
        to[n++] = MS_REPORT_DIGEST;
    if (self->ingest->strict)
        to[n++] = MS_REPORT_STRICT;
    if (self->found)
        to[n++] = MS_REPORT_NO_JSON;
    if (self->found && !self->named)
        to[n++] = MS_REPORT_NO_TEXT;
    return ms_span_of(to, n);
}

static void drop_vault(struct ms_intake *self)
{
    if (self->vault)
        ms_vault_abort(self->vault);
    self->vault = NULL;
}

static bool cut_suffix(struct ms_span *name, const char *suffix)
{
    size_t n = strlen(suffix);
    if (name->len < n || memcmp(name->data + name->len - n, suffix, n) != 0)
        return false;
    name->len -= n;
    return true;
}

bool ms_report_is_named(struct ms_span name)
{
    if (!cut_suffix(&name, ".gz"))
        (void)cut_suffix(&name, ".zst");
    return cut_suffix(&name, ".json") || cut_suffix(&name, ".jsonl");
}

/* A report's bytes, or those of an archive that come only once: those wait in memory. */
static enum ms_status take_plain(struct ms_intake *self, struct ms_span bytes, struct ms_error *err)
{
    if (!self->is_archive)
        return self->vault ? ms_vault_append(self->vault, bytes.data, bytes.len, err) : MS_OK;
    self->out.bytes += bytes.len;
    if (self->out.bytes > MS_LIMIT_BLOB_BYTES)
        return ms_error_set(err, MS_REJECT, "an archive that is too large to be read from a pipe");
    enum ms_status status = MS_OK;
    if (self->archive_fd < 0)
        status = ms_file_memory("archive", &self->archive_fd, err);
    if (status == MS_OK)
        status = ms_file_write_all(self->archive_fd, bytes.data, bytes.len, err);
    return status;
}

enum ms_status ms_intake_frame(struct ms_intake *self, uint32_t type, struct ms_span bytes,
                               struct ms_error *err)
{
    switch (type) {
    case MS_FRAME_PLAIN:
        return take_plain(self, bytes, err);
    case MS_FRAME_ARCHIVE:
        self->is_archive = true;
        set_reason(self, "an archive, not a report");
        drop_vault(self);
        return MS_OK;
    case MS_FRAME_DIGEST:
        if (bytes.len != sizeof self->report_sha256)
            return ms_error_set(err, MS_REJECT, "the reading process sent a malformed answer");
        memcpy(self->report_sha256, bytes.data, bytes.len);
        self->has_digest = true;
        return MS_OK;
    default:
        return ms_trace_received_frame(&self->received, type, bytes, err);
    }
}

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    return ms_intake_frame(ctx, type, bytes, err);
}

/* A large compressed file, whose decompression is worth a process of its own. Only its first bytes
 * are looked at here. */
static bool wants_feeder(int fd)
{
    struct stat st;
    uint8_t head[4];
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           st.st_size - at >= MS_LIMIT_REPORT_ALONE_BYTES &&
           pread(fd, head, sizeof head, at) == (ssize_t)sizeof head &&
           ms_stream_is_packed(head, sizeof head);
}

/* Runs a job, with its input by way of `feeder` where that is not NULL. Whatever ends it but our
 * own trouble is the report's fault: then *why says so. */
static enum ms_status run_job(const struct ms_intake *self, const char *kind, const char *feeder,
                              int fd, struct ms_span arg, ms_worker_frame on_job_frame, void *ctx,
                              struct ms_error *why, struct ms_error *err)
{
    struct ms_worker_limits limits = {.cpu_s = MS_LIMIT_REPORT_CPU_S,
                                      .wall_ms = MS_LIMIT_REPORT_WALL_MS,
                                      .output_bytes = 2 * MS_LIMIT_REPORT_BYTES};
    struct ms_worker_result result = {.end = MS_WORKER_DONE};
    enum ms_status status = ms_worker_run_fed(self->ingest->worker, kind, feeder, fd, arg, &limits,
                                              on_job_frame, ctx, &result, why);
    if (status == MS_REJECT) /* a malformed answer, or a limit of ours */
        return MS_OK;
    if (status != MS_OK) {
        if (err)
            *err = *why;
        return status;
    }
    if (result.end == MS_WORKER_DONE && result.status == MS_E_IO)
        return ms_error_set(err, MS_E_IO, "%s", result.error.text);
    if (result.end != MS_WORKER_DONE || result.status != MS_OK)
        *why = result.error;
    return MS_OK;
}

static enum ms_status run_worker(struct ms_intake *self, const char *kind, const char *feeder,
                                 int fd, struct ms_error *why, struct ms_error *err)
{
    char letters[MS_INTAKE_LETTERS + 1];
    struct ms_span arg = ms_intake_argument(self, letters);
    if (feeder)
        letters[arg.len++] = MS_REPORT_FED;
    return run_job(self, kind, feeder, fd, arg, on_frame, self, why, err);
}

/* A file that has no report's digest is known again by its own. Nothing is parsed here. */
static enum ms_status hash_file(struct ms_intake *self, int fd, struct ms_error *err)
{
    enum { BLOCK_BYTES = 256 << 10 };
    struct ms_digests digests;
    struct ms_hasher *hasher = NULL;
    ssize_t n = 1;
    if (lseek(fd, 0, SEEK_SET) != 0)
        return MS_OK;
    uint8_t *block = malloc(BLOCK_BYTES);
    if (!block)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a report");
    enum ms_status status = ms_hasher_new(MS_HASH_SHA256, &hasher, err);
    while (status == MS_OK && n > 0) {
        n = read(fd, block, BLOCK_BYTES);
        if (n > 0)
            ms_hasher_update(hasher, block, (size_t)n);
    }
    if (status == MS_OK)
        status = ms_hasher_finish(hasher, &digests, err);
    if (status == MS_OK && n == 0) {
        memcpy(self->file_sha256, digests.sha256, sizeof self->file_sha256);
        self->has_file_sha256 = true;
    }
    ms_hasher_free(hasher);
    free(block);
    return status;
}

/* Hexadecimal digits of n bytes and nothing else. */
static bool read_hash(const struct ms_intake *self, struct ms_span kept, size_t n, uint8_t *out)
{
    char hex[MS_HASH_HEX_MAX];
    struct ms_span text = ms_trace_received_span(&self->received, kept);
    if (text.len != 2 * n || text.len >= sizeof hex)
        return false;
    memcpy(hex, text.data, text.len);
    hex[text.len] = '\0';
    return ms_hex_decode(hex, n, out);
}

/* What an INFO frame says of the target goes before what was said earlier. */
static void read_target(struct ms_intake *self)
{
    const struct ms_report_info *info = &self->received.info;
    struct ms_sample *sample = &self->sample, said = {.size = -1, .machine = -1};
    said.has_sha256 = read_hash(self, info->target_sha256, MS_SHA256_BYTES, said.digests.sha256);
    said.has_sha1 = read_hash(self, info->target_sha1, MS_SHA1_BYTES, said.digests.sha1);
    said.has_md5 = read_hash(self, info->target_md5, MS_MD5_BYTES, said.digests.md5);
    if (said.has_sha256 || said.has_sha1 || said.has_md5)
        *sample = said;
    if (sample->has_sha256)
        ms_hex_encode(sample->digests.sha256, MS_SHA256_BYTES, self->out.sample);
    else if (sample->has_sha1)
        ms_hex_encode(sample->digests.sha1, MS_SHA1_BYTES, self->out.sample);
    else if (sample->has_md5)
        ms_hex_encode(sample->digests.md5, MS_MD5_BYTES, self->out.sample);
    struct ms_span name = ms_trace_received_span(&self->received, info->target_name);
    if (name.len && !memchr(name.data, 0, name.len))
        (void)snprintf(self->target_name, sizeof self->target_name, "%.*s", (int)name.len,
                       (const char *)name.data);
    struct ms_span sandbox = ms_trace_received_span(&self->received, info->sandbox);
    (void)snprintf(self->out.sandbox, sizeof self->out.sandbox, "%.*s", (int)sandbox.len,
                   (const char *)sandbox.data);
}

/* The reader's own counts beside those of what it encoded. A reader that was taken over may send
 * anything that has the form of frames; what contradicts itself costs this report alone. */
static bool contradicts_itself(const struct ms_trace_received *received)
{
    const struct ms_report_result *result = &received->result;
    uint64_t calls = 0, expanded = 0;
    for (size_t i = 0; i < received->process_count; i++) {
        calls += received->processes[i].calls;
        expanded += received->processes[i].calls_expanded;
    }
    /* What is neither kept nor read back cannot be counted. */
    if (received->turns.len && !received->turns.corpus)
        return !received->has_info;
    return calls != result->calls || expanded != result->calls_expanded ||
           received->process_count != result->processes || !received->has_info;
}

static void judge_invalid(struct ms_intake *self)
{
    const struct ms_report_result *result = &self->received.result;
    self->out.line = result->line;
    self->out.byte = result->byte;
    self->out.passed_over =
        self->found && result->foreign && (result->foreign == MS_FOREIGN_JSON || !self->named);
}

static void judge(struct ms_intake *self)
{
    struct ms_trace_received *received = &self->received;
    struct ms_ingest_outcome *out = &self->out;
    struct ms_report_result *result = &received->result;
    bool whole = result->state != MS_REPORT_INVALID;
    if (whole && contradicts_itself(received)) {
        received->has_result = received->has_info = false;
        received->process_count = 0;
        set_reason(self, "the reading process contradicts itself");
        return;
    }
    out->bytes = result->bytes;
    out->state = ms_report_state_name(result->state);
    set_reason(self, received->reason);
    if (!whole) {
        judge_invalid(self);
        return;
    }
    out->processes = result->processes;
    out->calls = result->calls;
    out->calls_expanded = result->calls_expanded;
    if (result->state == MS_REPORT_OK && result->real_calls < self->ingest->min_calls) {
        out->state = "too_few_calls";
        (void)snprintf(out->reason, sizeof out->reason, "%" PRIu64 " calls, wanted are %" PRIu64,
                       result->real_calls, self->ingest->min_calls);
    }
    read_target(self);
}

/* The bytes to the vault, when all of them came. */
static enum ms_status store_bytes(struct ms_intake *self, struct ms_error *err)
{
    bool existed;
    struct ms_vault_write *vault = self->vault;
    self->vault = NULL;
    if (!self->received.has_result || self->out.passed_over) {
        ms_vault_abort(vault);
        return MS_OK;
    }
    enum ms_status status =
        ms_vault_commit(vault, self->report_sha256, &self->report_bytes, &existed, err);
    self->in_vault = status == MS_OK;
    if (status == MS_OK)
        ms_step("extract.import.vaulted");
    return status;
}

static enum ms_status on_turns_frame(void *ctx, uint32_t type, struct ms_span bytes,
                                     struct ms_error *err)
{
    if (type != MS_FRAME_API && type != MS_FRAME_TRACE && type != MS_FRAME_PROCESS)
        return ms_error_set(err, MS_REJECT, "the reading process sent a malformed answer");
    return ms_trace_received_frame(ctx, type, bytes, err);
}

/* The calls that the reading put aside, by process: another worker's work, with the file of them as
 * its input. */
static enum ms_status read_turns(struct ms_intake *self, struct ms_error *why, struct ms_error *err)
{
    int fd = -1;
    const struct ms_trace_received *received = &self->received;
    if (!received->turns.len || !received->turns.corpus ||
        received->result.state == MS_REPORT_INVALID)
        return MS_OK;
    enum ms_status status = ms_spool_file(&received->turns, &fd, err);
    if (status != MS_OK)
        return status;
    return run_job(self, "turns", NULL, fd, ms_span_of(NULL, 0), on_turns_frame, &self->received,
                   why, err);
}

enum ms_status ms_intake_end(struct ms_intake *self, const char *why, struct ms_error *err)
{
    struct ms_error turns = {.status = MS_OK};
    if (self->received.has_result && !why[0]) {
        enum ms_status status = read_turns(self, &turns, err);
        if (status != MS_OK)
            return status;
        why = turns.text;
    }
    if (self->received.has_result && !why[0]) {
        judge(self);
    } else {
        self->received.has_result = self->received.has_info = false;
        self->received.process_count = 0;
        set_reason(self, why[0] ? why : "the reading process failed");
    }
    ms_step("extract.import.parsed");
    if (self->vault)
        return store_bytes(self, err);
    if (self->has_digest && self->received.has_result && !self->again) {
        memcpy(self->file_sha256, self->report_sha256, sizeof self->file_sha256);
        self->has_file_sha256 = true;
        self->report_bytes = self->received.result.bytes;
    }
    return MS_OK;
}

/* Whose the report is, from beside it. What cannot be read there says nothing. */
static enum ms_status read_metadata(struct ms_intake *self, int fd, struct ms_error *err)
{
    struct ms_error why = {.status = MS_OK};
    enum ms_status status = run_worker(self, "metadata", NULL, fd, &why, err);
    if (status == MS_OK && self->received.has_info)
        read_target(self);
    ms_trace_received_release(&self->received);
    ms_trace_received_keep(&self->received, self->ingest->corpus);
    return status;
}

static enum ms_status read_missing(struct ms_intake *self, int metadata_fd, struct ms_error *err)
{
    self->missing = true;
    self->out.state = "report_missing";
    set_reason(self, "the analysis has no report");
    drop_vault(self);
    return self->ingest->corpus ? hash_file(self, metadata_fd, err) : MS_OK;
}

/* A log without a line is what a sandbox leaves of a program that called nothing. */
static bool is_empty_log(const struct ms_intake_input *input)
{
    struct stat st;
    return (input->metadata_fd >= 0 || input->log) && fstat(input->fd, &st) == 0 &&
           S_ISREG(st.st_mode) && st.st_size == 0;
}

static enum ms_status read_report(struct ms_intake *self, const struct ms_intake_input *input,
                                  struct ms_error *err)
{
    struct ms_error why = {.status = MS_OK};
    ms_step("extract.import.opened");
    const char *feeder = wants_feeder(input->fd) ? "plain" : NULL;
    enum ms_status status = run_worker(self, "report", feeder, input->fd, &why, err);
    if (status != MS_OK || self->is_archive)
        return status;
    status = ms_intake_end(self, why.text, err);
    if (status == MS_OK && self->ingest->corpus && !self->received.has_result && !self->again)
        status = hash_file(self, input->fd, err);
    return status;
}

/* A report of the vault: what was read must be what its name says. */
static enum ms_status check_again(struct ms_intake *self, const uint8_t *digest,
                                  struct ms_error *err)
{
    if (!self->received.has_result)
        return MS_OK;
    if (!self->has_digest || memcmp(self->report_sha256, digest, MS_SHA256_BYTES) != 0)
        return ms_error_set(err, MS_E_STORE, "the report is damaged in the vault; see malseq fsck");
    return MS_OK;
}

enum ms_status ms_intake_read(const struct ms_ingest *ingest, const struct ms_intake_input *input,
                              struct ms_intake **out, struct ms_error *err)
{
    struct ms_intake *self = NULL;
    enum ms_status status = ms_intake_new(ingest, &self, err);
    if (status != MS_OK)
        return status;
    self->found = input->found;
    self->named = input->named;
    if (input->again) {
        drop_vault(self);
        self->again = true;
    }
    if (input->metadata_fd >= 0)
        status = read_metadata(self, input->metadata_fd, err);
    if (status == MS_OK && (input->fd < 0 || is_empty_log(input))) {
        status = read_missing(self, input->metadata_fd, err);
        if (input->fd >= 0) {
            self->out.state = ms_report_state_name(MS_REPORT_NO_CALLS);
            set_reason(self, "the log is empty");
            if (input->log)
                (void)snprintf(self->out.sandbox, sizeof self->out.sandbox, "%s", input->log);
        }
    } else if (status == MS_OK) {
        status = read_report(self, input, err);
    }
    if (status == MS_OK && input->again) {
        status = check_again(self, input->again, err);
        self->in_vault = true;
        self->report_bytes = self->received.result.bytes;
        memcpy(self->report_sha256, input->again, sizeof self->report_sha256);
    }
    if (status == MS_OK)
        *out = self;
    else
        ms_intake_free(self);
    return status;
}

const struct ms_ingest_outcome *ms_intake_outcome(const struct ms_intake *self)
{
    return &self->out;
}

void ms_intake_set_origin(struct ms_intake *self, int64_t origin)
{
    self->origin = origin;
}

bool ms_intake_is_archive(const struct ms_intake *self, int *fd)
{
    *fd = self->archive_fd;
    return self->is_archive;
}
