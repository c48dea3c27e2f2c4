/* What was read of a report into rows. Reading it: intake.c. */
#include "extract/intake.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "extract/dataset_job.h"
#include "extract/dataset_members.h"
#include "extract/dataset_table.h"
#include "extract/opcodes_job.h"
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
    {"report", ms_report_job, ms_report_prepare},
    {"plain", ms_plain_job, NULL},
    {"archive", ms_archive_job, ms_archive_prepare},
    {"turns", ms_turns_job, NULL},
    {"metadata", ms_metadata_job, NULL},
    {"rows", ms_dataset_rows_job, ms_dataset_prepare},
    {"classes", ms_dataset_classes_job, NULL},
    {"table", ms_dataset_table_job, NULL},
    {"labels", ms_dataset_labels_job, NULL},
    {"member", ms_dataset_member_job, NULL},
    {"members", ms_dataset_members_job, NULL},
    {"archive-labels", ms_dataset_archive_labels_job, NULL},
    {MS_OPCODES_JOB, ms_opcodes_job, ms_opcodes_prepare}};
const size_t ms_extract_kind_count = sizeof ms_extract_kinds / sizeof *ms_extract_kinds;

static void set_reason(struct ms_intake *self, const char *text)
{
    (void)snprintf(self->out.reason, sizeof self->out.reason, "%s", text);
}

static struct ms_span text_of(const struct ms_intake *self, struct ms_span kept)
{
    return ms_trace_received_span(&self->received, kept);
}

/* Is it known what the report, or the lack of one, is about? */
static bool has_target(const struct ms_intake *self)
{
    return self->received.has_info || self->missing;
}

/* The sample a report belongs to: by its target's hash; a report without one stands for a sample of
 * its own, known by the report's digest. 0 where there is neither. */
static enum ms_status find_sample(struct ms_intake *self, int64_t *sample, struct ms_error *err)
{
    struct ms_corpus *corpus = self->ingest->corpus;
    bool inserted;
    enum ms_status status;
    *sample = 0;
    if (!has_target(self) || (self->missing && !self->out.sample[0]))
        return MS_OK;
    if (self->out.sample[0]) {
        status = ms_sample_upsert(corpus, &self->sample, self->ingest->run, sample, &inserted, err);
    } else {
        char hex[MS_HASH_HEX_MAX];
        ms_hex_encode(self->report_sha256, MS_SHA256_BYTES, hex);
        status = ms_sample_by_alias(corpus, "report", ms_span_of(hex, strlen(hex)),
                                    self->ingest->run, sample, &inserted, err);
    }
    const char *name = self->target_name;
    if (status == MS_OK && name[0])
        status =
            ms_sample_add_alias(corpus, *sample, "file-name", ms_span_of(name, strlen(name)), err);
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
    if (has_target(self))
        row->sandbox = out->sandbox;
    if (self->received.has_info) {
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
    row->reader = MS_REPORT_READER;
    row->strict = self->ingest->strict;
    if (!fresh)
        return ms_analysis_update(corpus, row, ms_clock_wall_ms(), err);
    return ms_analysis_insert(corpus, row, ms_clock_wall_ms(), self->ingest->run, &row->id, err);
}

static enum ms_status store_new(struct ms_intake *self, int64_t existing, struct ms_error *err)
{
    struct ms_analysis row = {.id = existing, .sandbox = "unknown", .origin = self->origin};
    bool whole = self->received.has_info;
    enum ms_status status = find_sample(self, &row.sample, err);
    if (status == MS_OK)
        status = write_analysis(self, &row, !existing, err);
    if (status == MS_OK)
        ms_step("extract.import.analysis");
    if (status == MS_OK && whole)
        status = insert_processes(self, row.id, err);
    self->out.analysis = row.id;
    return status;
}

static enum ms_status store_into(struct ms_intake *self, int64_t analysis, bool already_there,
                                 struct ms_error *err);

/* Did an older reader make the row, or one that looked less closely? A damaged container says
 * nothing new of the report in it: then there is no line. */
static bool says_more(const struct ms_intake *self, const struct ms_analysis *row, bool is_invalid)
{
    return (row->reader < MS_REPORT_READER || (self->ingest->strict && !row->strict)) &&
           (!is_invalid || self->out.line);
}

/* Bytes that are there already. They may be there as those of a damaged file, for a gzip file with
 * a wrong checksum or garbage behind it gives the plain bytes of the good one: then the good one is
 * stored in its place, and the other way round the damaged file is still called damaged. What an
 * older or less strict reader made of them is made anew. */
static enum ms_status store_again(struct ms_intake *self, int64_t analysis, struct ms_error *err)
{
    const char *invalid = ms_report_state_name(MS_REPORT_INVALID);
    struct ms_ingest_outcome *out = &self->out;
    struct ms_analysis row;
    enum ms_status status = ms_analysis_get(self->ingest->corpus, analysis, &row, err);
    if (status != MS_OK)
        return status;
    self->given_up = row.report_gone;
    bool was_invalid = strcmp(row.state, invalid) == 0,
         is_invalid = strcmp(out->state, invalid) == 0;
    bool replace = was_invalid && !is_invalid && !row.server;
    bool anew = !replace && says_more(self, &row, is_invalid);
    if (!replace && !anew && (was_invalid || !is_invalid)) {
        out->state = ms_state_text(row.state);
        set_reason(self, row.reason ? row.reason : "");
    }
    if (anew && row.has_report && !self->in_vault) { /* kept it stays */
        self->in_vault = true;
        self->report_bytes = (uint64_t)row.report_bytes;
        memcpy(self->report_sha256, row.report_sha256, sizeof self->report_sha256);
    }
    ms_analysis_release(&row);
    if (replace)
        return store_new(self, analysis, err);
    if (anew)
        return store_into(self, analysis, false, err);
    out->known = true;
    out->analysis = analysis;
    return MS_OK;
}

/* Fills in a row that is there: of a submission, or of a report that is read again. */
static enum ms_status store_into(struct ms_intake *self, int64_t analysis, bool already_there,
                                 struct ms_error *err)
{
    struct ms_corpus *corpus = self->ingest->corpus;
    struct ms_analysis row;
    struct ms_sample sample = {.has_sha256 = false};
    enum ms_status status = ms_analysis_get(corpus, analysis, &row, err);
    if (status != MS_OK)
        return status;
    if (row.sample)
        status = ms_sample_get(corpus, row.sample, &sample, err);
    else
        status = find_sample(self, &row.sample, err);
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

/* The row that this report has already: by its digest; or, when the report itself was not kept, by
 * its sample and that digest in place of the settings'. *kept: as it is now. */
static enum ms_status find_row(struct ms_intake *self, bool *found, bool *kept, int64_t *id,
                               struct ms_error *err)
{
    struct ms_corpus *corpus = self->ingest->corpus;
    int64_t sample;
    const uint8_t *digest = self->in_vault ? self->report_sha256 : self->file_sha256;
    enum ms_status status = MS_OK;
    *found = false;
    *kept = true;
    if (self->in_vault || self->has_digest)
        status = ms_analysis_find_report(corpus, self->report_sha256, found, id, err);
    if (status != MS_OK || *found || (!self->in_vault && !self->has_file_sha256))
        return status;
    status = find_sample(self, &sample, err);
    if (status == MS_OK)
        status = ms_analysis_find_settings(corpus, sample, digest, found, id, err);
    *kept = !self->in_vault;
    return status;
}

static enum ms_status store_report(struct ms_intake *self, struct ms_error *err)
{
    bool found, kept;
    int64_t other = 0;
    enum ms_status status = find_row(self, &found, &kept, &other, err);
    if (status != MS_OK)
        return status;
    if (!found)
        return store_new(self, 0, err);
    if (!self->again && kept)
        return store_again(self, other, err);
    status = store_into(self, other, false, err);
    self->out.known = self->again;
    return status;
}

/* What retain gave up is not kept again, whichever way it comes. */
static enum ms_status note_given_up(struct ms_intake *self, int64_t analysis, struct ms_error *err)
{
    struct ms_analysis row;
    enum ms_status status = ms_analysis_get(self->ingest->corpus, analysis, &row, err);
    if (status != MS_OK)
        return status;
    self->given_up = row.report_gone;
    ms_analysis_release(&row);
    return MS_OK;
}

static enum ms_status store_for_submission(struct ms_intake *self, int64_t analysis,
                                           struct ms_error *err)
{
    bool found = false;
    int64_t other = 0;
    enum ms_status status = MS_OK;
    if (self->in_vault)
        status =
            ms_analysis_find_report(self->ingest->corpus, self->report_sha256, &found, &other, err);
    if (status == MS_OK && found)
        status = note_given_up(self, other, err);
    return status == MS_OK ? store_into(self, analysis, found && other != analysis, err) : status;
}

/* Everything that needs the database, in one transaction. */
static enum ms_status store_rows(struct ms_intake *self, int64_t analysis, struct ms_error *err)
{
    struct ms_corpus *corpus = self->ingest->corpus;
    enum ms_status status = ms_corpus_begin(corpus, err);
    if (status != MS_OK)
        return status;
    ms_step("extract.import.begun");
    status = analysis ? store_for_submission(self, analysis, err) : store_report(self, err);
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

enum ms_status ms_intake_store(struct ms_intake *self, int64_t analysis,
                               struct ms_ingest_outcome *out, struct ms_error *err)
{
    struct ms_error why = {.status = MS_OK};
    enum ms_status status = MS_OK;
    if (self->ingest->corpus && !self->told_only)
        status = store_rows(self, analysis, &why);
    if (status == MS_REJECT)
        status = refuse(self, &why, &why);
    if (status == MS_OK && self->given_up)
        status = ms_vault_remove(self->ingest->corpus, MS_VAULT_REPORT, self->report_sha256, &why);
    if (status != MS_OK && err)
        *err = why;
    *out = self->out;
    return status;
}

enum ms_status ms_ingest_report(const struct ms_ingest *self, int fd, int64_t analysis,
                                struct ms_ingest_outcome *out, struct ms_error *err)
{
    struct ms_intake *intake = NULL;
    const struct ms_intake_input input = {.fd = fd, .metadata_fd = -1};
    enum ms_status status = ms_intake_read(self, &input, &intake, err);
    if (status == MS_OK)
        status = ms_intake_store(intake, analysis, out, err);
    ms_intake_free(intake);
    return status;
}
