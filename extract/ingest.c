/* From a report's bytes to rows. The bytes are read by the worker; what it says is checked again
 * here. */
#include "extract/ingest.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "extract/dataset_job.h"
#include "extract/dataset_members.h"
#include "extract/dataset_table.h"
#include "extract/report_job.h"
#include "extract/trace_frames.h"
#include "extract/trace_rows.h"
#include "store/analysis.h"
#include "store/sample.h"
#include "store/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct ms_worker_kind ms_extract_kinds[] = {
    {"report", ms_report_job, NULL},
    {"rows", ms_dataset_rows_job, ms_dataset_prepare},
    {"classes", ms_dataset_classes_job, NULL},
    {"table", ms_dataset_table_job, NULL},
    {"labels", ms_dataset_labels_job, NULL},
    {"member", ms_dataset_member_job, NULL},
    {"members", ms_dataset_members_job, NULL},
    {"archive-labels", ms_dataset_archive_labels_job, NULL}};
const size_t ms_extract_kind_count = sizeof ms_extract_kinds / sizeof *ms_extract_kinds;

struct ms_intake {
    const struct ms_ingest *ingest;
    struct ms_ingest_outcome out;
    struct ms_vault_write *vault; /* NULL when nothing is stored */
    struct ms_trace_received received;
    bool in_vault;
    bool has_file_sha256; /* of the file as it lies there, when its plain bytes never came whole */
    uint8_t file_sha256[MS_SHA256_BYTES];
    uint8_t report_sha256[MS_SHA256_BYTES];
    uint64_t report_bytes;
    struct ms_sample sample; /* what the report says of its target */
};

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct ms_intake *self = ctx;
    if (type != MS_FRAME_PLAIN)
        return ms_trace_received_frame(&self->received, type, bytes, err);
    return self->vault ? ms_vault_append(self->vault, bytes.data, bytes.len, err) : MS_OK;
}

static void set_reason(struct ms_intake *self, const char *text)
{
    (void)snprintf(self->out.reason, sizeof self->out.reason, "%s", text);
}

/* Runs the worker. Whatever ends it but our own trouble is the report's fault. */
static enum ms_status run_worker(struct ms_intake *self, int fd, struct ms_error *err)
{
    struct ms_worker_limits limits = {.cpu_s = MS_LIMIT_REPORT_CPU_S,
                                      .wall_ms = MS_LIMIT_REPORT_WALL_MS,
                                      .output_bytes = 2 * MS_LIMIT_REPORT_BYTES};
    struct ms_worker_result result = {.end = MS_WORKER_DONE};
    struct ms_error why = {.status = MS_OK};
    char flags[3] = "";
    (void)snprintf(flags, sizeof flags, "%s%s", self->vault ? "v" : "",
                   self->ingest->strict ? "s" : "");
    enum ms_status status =
        ms_worker_run(self->ingest->worker, "report", fd, ms_span_of(flags, strlen(flags)), &limits,
                      on_frame, self, &result, &why);
    self->out.state = ms_report_state_name(MS_REPORT_INVALID);
    if (status == MS_REJECT) { /* a malformed answer, or a limit of ours */
        self->received.has_result = false;
        set_reason(self, why.text);
        return MS_OK;
    }
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    if (result.end == MS_WORKER_DONE && result.status == MS_E_IO)
        return ms_error_set(err, MS_E_IO, "%s", result.error.text);
    if (result.end != MS_WORKER_DONE || result.status != MS_OK || !self->received.has_result) {
        self->received.has_result = false;
        set_reason(self, result.error.text[0] ? result.error.text : "the reading process failed");
    }
    return MS_OK;
}

/* A file whose reader died is known again by its own digest. Nothing is parsed here. */
static enum ms_status hash_file(struct ms_intake *self, int fd, struct ms_error *err)
{
    enum { BLOCK_BYTES = 256 << 10 };
    struct ms_digests digests;
    struct ms_hasher *hasher = NULL;
    ssize_t n = 1;
    if (self->received.has_result || lseek(fd, 0, SEEK_SET) != 0)
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

static struct ms_span text_of(const struct ms_intake *self, struct ms_span kept)
{
    return ms_trace_received_span(&self->received, kept);
}

/* Hexadecimal digits of n bytes and nothing else. */
static bool read_hash(const struct ms_intake *self, struct ms_span kept, size_t n, uint8_t *out)
{
    char hex[MS_HASH_HEX_MAX];
    struct ms_span text = text_of(self, kept);
    if (text.len != 2 * n || text.len >= sizeof hex)
        return false;
    memcpy(hex, text.data, text.len);
    hex[text.len] = '\0';
    return ms_hex_decode(hex, n, out);
}

static void read_target(struct ms_intake *self)
{
    const struct ms_report_info *info = &self->received.info;
    struct ms_sample *sample = &self->sample;
    *sample = (struct ms_sample){.size = -1, .machine = -1};
    sample->has_sha256 =
        read_hash(self, info->target_sha256, MS_SHA256_BYTES, sample->digests.sha256);
    sample->has_sha1 = read_hash(self, info->target_sha1, MS_SHA1_BYTES, sample->digests.sha1);
    sample->has_md5 = read_hash(self, info->target_md5, MS_MD5_BYTES, sample->digests.md5);
    if (sample->has_sha256)
        ms_hex_encode(sample->digests.sha256, MS_SHA256_BYTES, self->out.sample);
    else if (sample->has_sha1)
        ms_hex_encode(sample->digests.sha1, MS_SHA1_BYTES, self->out.sample);
    else if (sample->has_md5)
        ms_hex_encode(sample->digests.md5, MS_MD5_BYTES, self->out.sample);
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
    return calls != result->calls || expanded != result->calls_expanded ||
           received->process_count != result->processes || !received->has_info;
}

static void judge(struct ms_intake *self)
{
    struct ms_trace_received *received = &self->received;
    struct ms_ingest_outcome *out = &self->out;
    struct ms_report_result *result = &received->result;
    if (!received->has_result)
        return;
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
    if (!whole)
        return;
    out->processes = result->processes;
    out->calls = result->calls;
    out->calls_expanded = result->calls_expanded;
    if (result->state == MS_REPORT_OK && result->real_calls < self->ingest->min_calls) {
        out->state = "too_few_calls";
        (void)snprintf(out->reason, sizeof out->reason, "%llu calls, wanted are %llu",
                       (unsigned long long)result->real_calls,
                       (unsigned long long)self->ingest->min_calls);
    }
    struct ms_span sandbox = text_of(self, received->info.sandbox);
    (void)snprintf(out->sandbox, sizeof out->sandbox, "%.*s", (int)sandbox.len,
                   (const char *)sandbox.data);
    read_target(self);
}

/* The sample a report belongs to: by its target's hash; a report without one stands for a sample of
 * its own, known by the report's digest. */
static enum ms_status find_sample(struct ms_intake *self, int64_t *sample, struct ms_error *err)
{
    struct ms_corpus *corpus = self->ingest->corpus;
    bool inserted;
    enum ms_status status;
    if (self->out.sample[0]) {
        status = ms_sample_upsert(corpus, &self->sample, self->ingest->run, sample, &inserted, err);
    } else {
        char hex[MS_HASH_HEX_MAX];
        ms_hex_encode(self->report_sha256, MS_SHA256_BYTES, hex);
        status = ms_sample_by_alias(corpus, "report", ms_span_of(hex, strlen(hex)),
                                    self->ingest->run, sample, &inserted, err);
    }
    struct ms_span name = text_of(self, self->received.info.target_name);
    if (status == MS_OK && name.len)
        status = ms_sample_add_alias(corpus, *sample, "file-name", name, err);
    return status;
}

static enum ms_status insert_processes(struct ms_intake *self, int64_t analysis,
                                       struct ms_error *err)
{
    struct ms_trace_rows rows;
    enum ms_status status = ms_trace_rows_init(&rows, self->ingest->corpus, &self->received, err);
    for (size_t i = 0; status == MS_OK && i < self->received.process_count; i++) {
        status = ms_trace_rows_insert(&rows, &self->received, i, analysis, (int64_t)i, err);
        if (status == MS_OK)
            ms_step("extract.import.process");
    }
    ms_trace_rows_release(&rows);
    return status;
}

/* A text of the report as a C string with everything unprintable escaped. */
static const char *printable(const struct ms_intake *self, struct ms_span kept, char *out, size_t n)
{
    struct ms_span text = text_of(self, kept);
    return ms_escape_bytes(text.data, text.len, out, n);
}

static enum ms_status write_analysis(struct ms_intake *self, struct ms_analysis *row, bool fresh,
                                     struct ms_error *err)
{
    char version[128], package[128];
    struct ms_corpus *corpus = self->ingest->corpus;
    const struct ms_ingest_outcome *out = &self->out;
    const struct ms_report_info *info = &self->received.info;
    if (self->received.has_info) {
        row->sandbox = out->sandbox;
        row->sandbox_version = printable(self, info->version, version, sizeof version);
        row->package = printable(self, info->package, package, sizeof package);
    }
    row->state = out->state;
    row->reason = out->reason[0] ? out->reason : NULL;
    row->has_report = self->in_vault;
    if (fresh && self->has_file_sha256) {
        row->has_settings_digest = true;
        memcpy(row->settings_digest, self->file_sha256, sizeof row->settings_digest);
    }
    memcpy(row->report_sha256, self->report_sha256, sizeof row->report_sha256);
    row->report_bytes = (int64_t)self->report_bytes;
    row->processes = (int64_t)out->processes;
    row->calls = (int64_t)out->calls;
    row->calls_expanded = (int64_t)out->calls_expanded;
    if (!fresh)
        return ms_analysis_update(corpus, row, ms_clock_wall_ms(), err);
    return ms_analysis_insert(corpus, row, ms_clock_wall_ms(), self->ingest->run, &row->id, err);
}

static enum ms_status store_new(struct ms_intake *self, int64_t existing, struct ms_error *err)
{
    struct ms_analysis row = {.id = existing, .sandbox = "unknown"};
    bool whole = self->received.has_info;
    enum ms_status status = whole ? find_sample(self, &row.sample, err) : MS_OK;
    if (status == MS_OK)
        status = write_analysis(self, &row, !existing, err);
    if (status == MS_OK)
        ms_step("extract.import.analysis");
    if (status == MS_OK && whole)
        status = insert_processes(self, row.id, err);
    self->out.analysis = row.id;
    return status;
}

/* Bytes that are there already. They may be there as those of a damaged file, for a gzip file with
 * a wrong checksum or garbage behind it gives the plain bytes of the good one: then the good one is
 * stored in its place, and the other way round the damaged file is still called damaged. */
static enum ms_status store_again(struct ms_intake *self, int64_t analysis, struct ms_error *err)
{
    const char *invalid = ms_report_state_name(MS_REPORT_INVALID);
    struct ms_ingest_outcome *out = &self->out;
    struct ms_analysis row;
    enum ms_status status = ms_analysis_get(self->ingest->corpus, analysis, &row, err);
    if (status != MS_OK)
        return status;
    bool was_invalid = strcmp(row.state, invalid) == 0,
         is_invalid = strcmp(out->state, invalid) == 0;
    bool replace = was_invalid && !is_invalid && !row.server;
    if (!replace && (was_invalid || !is_invalid)) {
        out->state = ms_state_text(row.state);
        set_reason(self, row.reason ? row.reason : "");
    }
    ms_analysis_release(&row);
    if (replace)
        return store_new(self, analysis, err);
    out->known = true;
    out->analysis = analysis;
    return MS_OK;
}

/* Fills in the row of a submission. */
static enum ms_status store_submission(struct ms_intake *self, int64_t analysis, bool already_there,
                                       struct ms_error *err)
{
    struct ms_corpus *corpus = self->ingest->corpus;
    struct ms_analysis row;
    struct ms_sample sample;
    enum ms_status status = ms_analysis_get(corpus, analysis, &row, err);
    if (status != MS_OK)
        return status;
    status = ms_sample_get(corpus, row.sample, &sample, err);
    if (status == MS_OK && self->sample.has_sha256 && sample.has_sha256 &&
        memcmp(self->sample.digests.sha256, sample.digests.sha256, MS_SHA256_BYTES) != 0) {
        self->out.state = ms_report_state_name(MS_REPORT_INVALID);
        set_reason(self, "the report is about another file");
        self->received.process_count = 0;
        self->out.processes = self->out.calls = self->out.calls_expanded = 0;
    }
    if (already_there) {
        self->in_vault = false;
        set_reason(self, "the server sent a report that is there already");
    }
    /* The row's own texts stay its own: write_analysis only lends others for the update. */
    struct ms_analysis changed = row;
    if (status == MS_OK)
        status = ms_process_remove(corpus, analysis, err);
    if (status == MS_OK)
        status = write_analysis(self, &changed, false, err);
    if (status == MS_OK)
        ms_step("extract.import.analysis");
    if (status == MS_OK && self->received.has_info)
        status = insert_processes(self, analysis, err);
    self->out.analysis = analysis;
    ms_analysis_release(&row);
    return status;
}

/* Everything that needs the database, in one transaction. */
static enum ms_status store_rows(struct ms_intake *self, int64_t analysis, struct ms_error *err)
{
    struct ms_corpus *corpus = self->ingest->corpus;
    bool found = false;
    int64_t other = 0;
    enum ms_status status = ms_corpus_begin(corpus, err);
    if (status != MS_OK)
        return status;
    ms_step("extract.import.begun");
    if (self->in_vault)
        status = ms_analysis_find_report(corpus, self->report_sha256, &found, &other, err);
    else if (status == MS_OK && self->has_file_sha256 && !analysis)
        status = ms_analysis_find_settings(corpus, 0, self->file_sha256, &found, &other, err);
    if (status == MS_OK && found && !analysis)
        status = store_again(self, other, err);
    else if (status == MS_OK && analysis)
        status = store_submission(self, analysis, found && other != analysis, err);
    else if (status == MS_OK)
        status = store_new(self, 0, err);
    if (status == MS_OK) {
        ms_step("extract.import.rows");
        status = ms_corpus_commit(corpus, err);
    }
    if (status != MS_OK)
        ms_corpus_rollback(corpus);
    else
        ms_step("extract.import.committed");
    return status;
}

/* The bytes to the vault, when all of them came. */
static enum ms_status store_bytes(struct ms_intake *self, struct ms_error *err)
{
    bool existed;
    struct ms_vault_write *vault = self->vault;
    self->vault = NULL;
    if (!self->received.has_result) {
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

/* The sample was removed for good: its report goes too. */
static enum ms_status refuse(struct ms_intake *self, const struct ms_error *why,
                             struct ms_error *err)
{
    self->out.state = "refused";
    self->out.analysis = 0;
    set_reason(self, why->text);
    if (!self->in_vault)
        return MS_OK;
    return ms_vault_remove(self->ingest->corpus, MS_VAULT_REPORT, self->report_sha256, err);
}

enum ms_status ms_intake_read(const struct ms_ingest *ingest, int fd, struct ms_intake **out,
                              struct ms_error *err)
{
    struct ms_intake *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a report");
    self->ingest = ingest;
    self->out.state = ms_report_state_name(MS_REPORT_INVALID);
    (void)snprintf(self->out.sandbox, sizeof self->out.sandbox, "unknown");
    ms_trace_received_init(&self->received);
    ms_trace_received_keep(&self->received, ingest->corpus);
    enum ms_status status = MS_OK;
    if (ingest->corpus)
        status = ms_vault_begin(ingest->corpus, MS_VAULT_REPORT, &self->vault, err);
    if (status == MS_OK) {
        ms_step("extract.import.opened");
        status = run_worker(self, fd, err);
    }
    if (status == MS_OK)
        judge(self);
    if (status == MS_OK && ingest->corpus)
        status = hash_file(self, fd, err);
    if (status == MS_OK) {
        ms_step("extract.import.parsed");
        if (self->vault)
            status = store_bytes(self, err);
    }
    if (status == MS_OK)
        *out = self;
    else
        ms_intake_free(self);
    return status;
}

enum ms_status ms_intake_store(struct ms_intake *self, int64_t analysis,
                               struct ms_ingest_outcome *out, struct ms_error *err)
{
    struct ms_error why = {.status = MS_OK};
    enum ms_status status = MS_OK;
    if (self->ingest->corpus)
        status = store_rows(self, analysis, &why);
    if (status == MS_REJECT)
        status = refuse(self, &why, &why);
    if (status != MS_OK && err)
        *err = why;
    *out = self->out;
    return status;
}

void ms_intake_free(struct ms_intake *self)
{
    if (!self)
        return;
    if (self->vault)
        ms_vault_abort(self->vault);
    ms_trace_received_release(&self->received);
    free(self);
}

enum ms_status ms_ingest_report(const struct ms_ingest *self, int fd, int64_t analysis,
                                struct ms_ingest_outcome *out, struct ms_error *err)
{
    struct ms_intake *intake = NULL;
    enum ms_status status = ms_intake_read(self, fd, &intake, err);
    if (status == MS_OK)
        status = ms_intake_store(intake, analysis, out, err);
    ms_intake_free(intake);
    return status;
}
