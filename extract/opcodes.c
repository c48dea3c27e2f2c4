/* `extract opcodes [HASH…]`: the samples of the vault, disassembled by the worker, as analyses
 * whose calls are opcodes. The plain bytes are in memory alone. */
#include "base/cli.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "extract/ingest.h"
#include "extract/opcodes/disassembly.h"
#include "extract/opcodes_job.h"
#include "extract/trace_frames.h"
#include "extract/trace_rows.h"
#include "extract/verbs.h"
#include "store/analysis.h"
#include "store/run.h"
#include "store/sample.h"
#include "store/vault.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Code of more entropy (thousandths of a bit a byte) is compressed or encrypted: programs have 5.5
 * to 6.8. Few bytes tell nothing. */
enum { PACKED_MILLI = 7200, PACKED_BYTES = 1024 };

struct opcodes {
    const struct ms_cli *cli;
    struct ms_corpus *corpus;
    struct ms_worker *worker;
    int64_t run;
    char settings[MS_DISASSEMBLY_TEXT_BYTES + 16];
    uint8_t settings_digest[MS_SHA256_BYTES];
    bool head_printed;
    uint64_t total, done, ok, empty, failed;
    /* of the present sample */
    struct ms_trace_received received;
    struct ms_opcodes_found found;
    bool answered;
    const char *state;
    char reason[MS_ERROR_TEXT_BYTES];
};

/* --- one sample --- */

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct opcodes *self = ctx;
    if (type == MS_FRAME_CODE && !self->answered) {
        self->answered = true;
        return ms_opcodes_take(bytes, &self->found, err);
    }
    if (self->answered ||
        (type != MS_FRAME_API && type != MS_FRAME_TRACE && type != MS_FRAME_PROCESS))
        return ms_error_set(err, MS_REJECT, "an unexpected answer");
    return ms_trace_received_frame(&self->received, type, bytes, err);
}

/* Does what was sent agree with itself, and is it opcodes alone? */
static bool is_sound(const struct opcodes *self)
{
    const struct ms_trace_received *received = &self->received;
    const size_t processes = self->found.opcodes ? 1 : 0;
    if (!self->answered || received->process_count != processes ||
        (self->found.state == MS_CODE_OK) != (processes == 1))
        return false;
    for (size_t i = 0; i < received->api_count; i++)
        if (received->apis[i].space != MS_API_OPCODE)
            return false;
    return !processes || received->processes[0].calls == self->found.opcodes;
}

static bool is_packed(const struct ms_opcodes_found *found)
{
    return found->bytes >= PACKED_BYTES && found->entropy_milli >= PACKED_MILLI;
}

static void judge(struct opcodes *self)
{
    static const char *const words[] = {"ok", "no_code", "unsupported"};
    const struct ms_opcodes_found *found = &self->found;
    self->state = words[found->state];
    self->reason[0] = '\0';
    if (found->state != MS_CODE_OK)
        (void)snprintf(self->reason, sizeof self->reason, "%s", found->why);
    else if (is_packed(found) || found->cut)
        (void)snprintf(self->reason, sizeof self->reason, "%s%s%s",
                       is_packed(found) ? "packed" : "", is_packed(found) && found->cut ? ", " : "",
                       found->cut ? "cut: there is more code" : "");
}

static void fail(struct opcodes *self, const char *why)
{
    self->state = "failed";
    self->found = (struct ms_opcodes_found){.state = MS_CODE_NONE};
    self->received.process_count = 0;
    (void)snprintf(self->reason, sizeof self->reason, "%s", why);
}

/* Whatever ends the worker but our own trouble is the sample's fault. */
static enum ms_status disassemble(struct opcodes *self, int fd, struct ms_error *err)
{
    struct ms_worker_result end = {.end = MS_WORKER_DONE};
    struct ms_error why = {.status = MS_OK};
    ms_trace_received_release(&self->received);
    ms_trace_received_init(&self->received);
    ms_trace_received_keep(&self->received, self->corpus);
    self->answered = false;
    self->found = (struct ms_opcodes_found){.state = MS_CODE_NONE};
    enum ms_status status = ms_worker_run(self->worker, MS_OPCODES_JOB, fd, ms_span_of("", 0), NULL,
                                          on_frame, self, &end, &why);
    if (status != MS_OK && status != MS_REJECT) {
        if (err)
            *err = why;
        return status;
    }
    if (status == MS_REJECT)
        fail(self, why.text);
    else if (end.end != MS_WORKER_DONE || end.status != MS_OK)
        fail(self, end.error.text);
    else if (!is_sound(self))
        fail(self, "the disassembling process sent a malformed answer");
    else
        judge(self);
    return MS_OK;
}

/* --- into the corpus --- */

static void fill_row(const struct opcodes *self, struct ms_analysis *row, char *reason, size_t n)
{
    const bool ok = strcmp(self->state, "ok") == 0, failed = strcmp(self->state, "failed") == 0;
    (void)snprintf(reason, n, "%s%s%s", ok ? "" : self->state, ok || !self->reason[0] ? "" : ": ",
                   self->reason);
    row->sandbox = MS_SOURCE_OPCODES;
    row->settings = self->settings;
    row->has_settings_digest = true;
    memcpy(row->settings_digest, self->settings_digest, sizeof row->settings_digest);
    row->state = ok ? "ok" : failed ? "failed" : "no_calls";
    row->reason = reason[0] ? reason : NULL;
    row->opcodes = true;
    row->processes = ok ? 1 : 0;
    row->calls = row->calls_expanded = ok ? (int64_t)self->found.opcodes : 0;
}

static enum ms_status put_process(struct opcodes *self, int64_t analysis, struct ms_error *err)
{
    struct ms_trace_rows rows;
    enum ms_status status = ms_trace_rows_init(&rows, self->corpus, &self->received, err);
    if (status == MS_OK)
        status = ms_trace_rows_insert(&rows, &self->received, 0, analysis, 0, err);
    ms_trace_rows_release(&rows);
    return status;
}

/* A sample has one such analysis: what other settings made is replaced. */
static enum ms_status put_rows(struct opcodes *self, int64_t sample, int64_t *id,
                               struct ms_error *err)
{
    char reason[MS_ERROR_TEXT_BYTES + 16];
    struct ms_analysis row = {.sample = sample};
    bool found = false;
    enum ms_status status =
        ms_analysis_find_source(self->corpus, sample, MS_SOURCE_OPCODES, &found, &row.id, err);
    fill_row(self, &row, reason, sizeof reason);
    if (status == MS_OK && found)
        status = ms_process_remove(self->corpus, row.id, err);
    if (status == MS_OK && found)
        status = ms_analysis_update(self->corpus, &row, ms_clock_wall_ms(), err);
    else if (status == MS_OK)
        status =
            ms_analysis_insert(self->corpus, &row, ms_clock_wall_ms(), self->run, &row.id, err);
    ms_step("extract.opcodes.analysis");
    if (status == MS_OK && row.processes)
        status = put_process(self, row.id, err);
    *id = row.id;
    return status;
}

static enum ms_status put(struct opcodes *self, int64_t sample, int64_t *id, struct ms_error *err)
{
    enum ms_status status = ms_corpus_begin(self->corpus, err);
    if (status != MS_OK)
        return status;
    status = put_rows(self, sample, id, err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(self->corpus);
    ms_step("extract.opcodes.sample");
    return status;
}

/* --- telling --- */

static enum ms_status tell(struct opcodes *self, const char *hex, int64_t analysis,
                           struct ms_error *err)
{
    const struct ms_opcodes_found *found = &self->found;
    if (!self->cli->common.json) {
        if (!self->head_printed)
            printf("%-11s %-64s %9s %9s %9s\n", "state", "sample", "opcodes", "bytes", "unread");
        self->head_printed = true;
        printf("%-11s %-64s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 "%s%s\n", self->state, hex,
               found->opcodes, found->bytes, found->unread, self->reason[0] ? "  " : "",
               self->reason);
        return MS_OK;
    }
    json_t *line = json_object();
    json_object_set_new(line, "sample", ms_json_text(hex));
    json_object_set_new(line, "state", ms_json_text(self->state));
    json_object_set_new(line, "reason", ms_json_text(self->reason[0] ? self->reason : NULL));
    json_object_set_new(line, "opcodes", json_integer((json_int_t)found->opcodes));
    json_object_set_new(line, "followed", json_integer((json_int_t)found->followed));
    json_object_set_new(line, "code_bytes", json_integer((json_int_t)found->bytes));
    json_object_set_new(line, "unread_bytes", json_integer((json_int_t)found->unread));
    json_object_set_new(line, "entropy", json_real((double)found->entropy_milli / 1000));
    json_object_set_new(line, "packed", json_boolean(is_packed(found)));
    json_object_set_new(line, "analysis", json_integer((json_int_t)analysis));
    return ms_json_line(stdout, line, err);
}

static enum ms_status do_sample(void *ctx, int64_t id, struct ms_error *err)
{
    struct opcodes *self = ctx;
    struct ms_error why = {.status = MS_OK};
    struct ms_sample sample;
    char hex[MS_HASH_HEX_MAX];
    int64_t analysis = 0;
    uint64_t bytes;
    int fd = -1;
    enum ms_status status = ms_sample_get(self->corpus, id, &sample, err);
    if (status != MS_OK)
        return status;
    ms_hex_encode(sample.digests.sha256, MS_SHA256_BYTES, hex);
    ms_progress_update(self->done++);
    if (ms_vault_read_fd(self->corpus, MS_VAULT_SAMPLE, sample.digests.sha256, &fd, &bytes, &why) !=
        MS_OK) { /* absent or damaged: fsck's business, and tried again when it was mended */
        self->failed++;
        ms_log(MS_LOG_WARNING, "%s: %s", hex, why.text);
        return why.status == MS_E_NOMEM ? MS_E_NOMEM : MS_OK;
    }
    status = disassemble(self, fd, err);
    (void)close(fd);
    if (status == MS_OK)
        status = put(self, id, &analysis, err);
    if (status != MS_OK)
        return status;
    self->ok += strcmp(self->state, "ok") == 0;
    self->failed += strcmp(self->state, "failed") == 0;
    self->empty += self->found.state != MS_CODE_OK && strcmp(self->state, "failed") != 0;
    return tell(self, hex, analysis, err);
}

/* --- all of them --- */

/* Named samples are done whatever was there: that is what naming them is for. */
static enum ms_status do_named(struct opcodes *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    self->total = self->cli->operand_count;
    ms_progress_begin("disassembling", self->total, "samples");
    for (size_t i = 0; status == MS_OK && i < self->cli->operand_count; i++) {
        struct ms_sample sample;
        char name[96];
        int64_t id;
        const char *hex = self->cli->operands[i];
        status = ms_sample_find(self->corpus, hex, &id, err);
        if (status == MS_OK)
            status = ms_sample_get(self->corpus, id, &sample, err);
        if (status == MS_REJECT || (status == MS_OK && !(sample.vaulted && sample.has_sha256)))
            return ms_error_set(err, MS_E_INPUT, "no sample '%s' in the vault",
                                ms_escape_text(hex, name, sizeof name));
        if (status == MS_OK)
            status = do_sample(self, id, err);
    }
    return status;
}

static enum ms_status count_sample(void *ctx, int64_t id, struct ms_error *err)
{
    (void)ctx;
    (void)id;
    (void)err;
    return MS_OK;
}

static enum ms_status do_all(struct opcodes *self, struct ms_error *err)
{
    ms_progress_begin("disassembling", 0, "samples");
    if (self->cli->operand_count)
        return do_named(self, err);
    return ms_sample_foreach_unsettled(self->corpus, MS_SOURCE_OPCODES, self->settings_digest,
                                       do_sample, self, &self->total, err);
}

static enum ms_status show_waiting(struct opcodes *self, struct ms_error *err)
{
    enum ms_status status =
        ms_sample_foreach_unsettled(self->corpus, MS_SOURCE_OPCODES, self->settings_digest,
                                    count_sample, self, &self->total, err);
    if (status != MS_OK)
        return status;
    if (self->cli->common.json) {
        json_t *line = json_object();
        json_object_set_new(line, "would_disassemble", json_integer((json_int_t)self->total));
        return ms_json_line(stdout, line, err);
    }
    printf("%" PRIu64 " samples would be disassembled with %s\n", self->total, self->settings);
    return MS_OK;
}

static enum ms_status work(struct opcodes *self, struct ms_error *err)
{
    char counts[128];
    struct ms_error ignored = {.status = MS_OK};
    enum ms_status status = ms_run_begin(self->corpus, "extract", self->cli->argc, self->cli->argv,
                                         self->cli->common.seed, &self->run, err);
    if (status != MS_OK)
        return status;
    status = do_all(self, err);
    ms_progress_end();
    if (status == MS_OK) {
        ms_log(MS_LOG_INFO,
               "%" PRIu64 " samples: %" PRIu64 " with opcodes, %" PRIu64 " without, %" PRIu64
               " failed",
               self->done, self->ok, self->empty, self->failed);
        status = self->failed ? MS_REJECT : MS_OK;
    }
    (void)snprintf(counts, sizeof counts,
                   "{\"samples\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"empty\":%" PRIu64
                   ",\"failed\":%" PRIu64 "}",
                   self->done, self->ok, self->empty, self->failed);
    const bool sound = status == MS_OK || status == MS_REJECT;
    enum ms_status ended = ms_run_end(self->corpus, self->run, ms_status_exit_code(status), counts,
                                      NULL, sound ? err : &ignored);
    return sound && ended != MS_OK ? ended : status;
}

static enum ms_status run_opcodes(struct ms_cli *cli, struct ms_error *err)
{
    struct opcodes self = {.cli = cli};
    const struct ms_worker_options worker = {.kinds = ms_extract_kinds,
                                             .kind_count = ms_extract_kind_count,
                                             .no_confine = cli->common.no_confine};
    const enum ms_corpus_mode how = cli->common.dry_run ? MS_CORPUS_READ : MS_CORPUS_WRITE;
    ms_disassembly_text(self.settings);
    if (ms_hash_sha256(self.settings, strlen(self.settings), self.settings_digest) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    ms_trace_received_init(&self.received);
    enum ms_status status = ms_worker_start(&worker, &self.worker, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, how, &self.corpus, err);
    if (status == MS_OK)
        status = ms_corpus_limit_cache(self.corpus, MS_INGEST_CACHE_BYTES, err);
    if (status == MS_OK)
        status = cli->common.dry_run ? show_waiting(&self, err) : work(&self, err);
    ms_trace_received_release(&self.received);
    ms_corpus_close(self.corpus);
    ms_worker_stop(self.worker);
    return status;
}

const struct ms_verb ms_extract_opcodes_verb = {
    .name = "opcodes",
    .synopsis = "[HASH…]",
    .summary = "disassemble samples of the vault (x86, x86-64) in the confined process: those that "
               "this disassembler has not seen yet, or those named",
    .min_operands = 0,
    .max_operands = SIZE_MAX,
    .run = run_opcodes,
};
