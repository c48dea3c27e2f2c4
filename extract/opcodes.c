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
#include "extract/opcodes_read.h"
#include "extract/trace_rows.h"
#include "extract/verbs.h"
#include "store/analysis.h"
#include "store/run.h"
#include "store/sample.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Samples in hand at once, a processor: what they make waits in memory, or on the disk where it is
 * large, until those before are stored. */
enum { BATCH = 4, JOBS_MOST = 64 };

struct opcodes {
    const struct ms_cli *cli;
    struct ms_corpus *corpus;
    struct ms_worker *worker;
    int64_t run;
    char settings[MS_DISASSEMBLY_TEXT_BYTES + 16];
    uint8_t settings_digest[MS_SHA256_BYTES];
    bool head_printed;
    uint64_t total, done, ok, empty, failed;
    /* the present batch; in order */
    struct item *items;
    size_t count, capacity;
    pthread_mutex_t lock; /* guards the next two */
    size_t next;
    struct ms_error trouble;
};

struct item {
    int64_t sample;
    uint8_t sha256[MS_SHA256_BYTES];
    struct ms_opcodes_read read;
};

/* --- into the corpus --- */

static bool is_state(const struct ms_opcodes_read *read, const char *state)
{
    return strcmp(read->state, state) == 0;
}

static void fill_row(const struct opcodes *self, const struct ms_opcodes_read *read,
                     struct ms_analysis *row, char *reason, size_t n)
{
    const bool ok = is_state(read, "ok"), failed = is_state(read, "failed");
    (void)snprintf(reason, n, "%s%s%s", ok ? "" : read->state, ok || !read->reason[0] ? "" : ": ",
                   read->reason);
    row->sandbox = MS_SOURCE_OPCODES;
    row->settings = self->settings;
    row->has_settings_digest = true;
    memcpy(row->settings_digest, self->settings_digest, sizeof row->settings_digest);
    row->state = ok ? "ok" : failed ? "failed" : "no_calls";
    row->reason = reason[0] ? reason : NULL;
    row->opcodes = true;
    row->processes = ok ? 1 : 0;
    row->calls = row->calls_expanded = ok ? (int64_t)read->found.opcodes : 0;
}

static enum ms_status put_process(struct opcodes *self, const struct ms_opcodes_read *read,
                                  int64_t analysis, struct ms_error *err)
{
    struct ms_trace_rows rows;
    enum ms_status status = ms_trace_rows_init(&rows, self->corpus, &read->received, err);
    if (status == MS_OK)
        status = ms_trace_rows_insert(&rows, &read->received, 0, analysis, 0, err);
    ms_trace_rows_release(&rows);
    return status;
}

/* A sample has one such analysis: what other settings made is replaced. */
static enum ms_status put_rows(struct opcodes *self, const struct item *item, int64_t *id,
                               struct ms_error *err)
{
    char reason[MS_ERROR_TEXT_BYTES + 16];
    struct ms_analysis row = {.sample = item->sample};
    bool found = false;
    enum ms_status status = ms_analysis_find_source(self->corpus, item->sample, MS_SOURCE_OPCODES,
                                                    &found, &row.id, err);
    fill_row(self, &item->read, &row, reason, sizeof reason);
    if (status == MS_OK && found)
        status = ms_process_remove(self->corpus, row.id, err);
    if (status == MS_OK && found)
        status = ms_analysis_update(self->corpus, &row, ms_clock_wall_ms(), err);
    else if (status == MS_OK)
        status =
            ms_analysis_insert(self->corpus, &row, ms_clock_wall_ms(), self->run, &row.id, err);
    ms_step("extract.opcodes.analysis");
    if (status == MS_OK && row.processes)
        status = put_process(self, &item->read, row.id, err);
    *id = row.id;
    return status;
}

static enum ms_status put(struct opcodes *self, const struct item *item, int64_t *id,
                          struct ms_error *err)
{
    enum ms_status status = ms_corpus_begin(self->corpus, err);
    if (status != MS_OK)
        return status;
    status = put_rows(self, item, id, err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(self->corpus);
    ms_step("extract.opcodes.sample");
    return status;
}

/* --- telling --- */

static enum ms_status tell(struct opcodes *self, const struct ms_opcodes_read *read,
                           int64_t analysis, struct ms_error *err)
{
    const struct ms_opcodes_found *found = &read->found;
    if (!self->cli->common.json) {
        if (!self->head_printed)
            printf("%-11s %-64s %9s %9s %9s\n", "state", "sample", "opcodes", "bytes", "unread");
        self->head_printed = true;
        printf("%-11s %-64s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 "%s%s\n", read->state, read->hex,
               found->opcodes, found->bytes, found->unread, read->reason[0] ? "  " : "",
               read->reason);
        return MS_OK;
    }
    json_t *line = json_object();
    json_object_set_new(line, "sample", ms_json_text(read->hex));
    json_object_set_new(line, "state", ms_json_text(read->state));
    json_object_set_new(line, "reason", ms_json_text(read->reason[0] ? read->reason : NULL));
    json_object_set_new(line, "opcodes", json_integer((json_int_t)found->opcodes));
    json_object_set_new(line, "followed", json_integer((json_int_t)found->followed));
    json_object_set_new(line, "code_bytes", json_integer((json_int_t)found->bytes));
    json_object_set_new(line, "unread_bytes", json_integer((json_int_t)found->unread));
    json_object_set_new(line, "entropy", json_real((double)found->entropy_milli / 1000));
    json_object_set_new(line, "packed", json_boolean(ms_opcodes_packed(found)));
    json_object_set_new(line, "analysis", json_integer((json_int_t)analysis));
    return ms_json_line(stdout, line, err);
}

/* --- a batch --- */

static struct item *next_item(struct opcodes *self)
{
    struct item *item = NULL;
    (void)pthread_mutex_lock(&self->lock);
    if (self->next < self->count && self->trouble.status == MS_OK)
        item = &self->items[self->next++];
    (void)pthread_mutex_unlock(&self->lock);
    return item;
}

static void *read_items(void *ctx)
{
    struct opcodes *self = ctx;
    struct item *item;
    while ((item = next_item(self))) {
        struct ms_error why = {.status = MS_OK};
        if (ms_opcodes_read(&item->read, self->corpus, self->worker, item->sha256, &why) == MS_OK)
            continue;
        (void)pthread_mutex_lock(&self->lock);
        if (self->trouble.status == MS_OK)
            self->trouble = why;
        (void)pthread_mutex_unlock(&self->lock);
    }
    return NULL;
}

/* With as many threads as come about; this one reads, too. */
static enum ms_status read_batch(struct opcodes *self, struct ms_error *err)
{
    pthread_t threads[JOBS_MOST];
    size_t count = 0, wanted = (size_t)self->cli->common.jobs;
    wanted = wanted < self->count ? wanted : self->count;
    self->next = 0;
    self->trouble = (struct ms_error){.status = MS_OK};
    while (count + 1 < wanted && count < JOBS_MOST &&
           pthread_create(&threads[count], NULL, read_items, self) == 0)
        count++;
    (void)read_items(self);
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
    if (self->trouble.status != MS_OK && err)
        *err = self->trouble;
    return self->trouble.status;
}

static enum ms_status store_item(struct opcodes *self, const struct item *item,
                                 struct ms_error *err)
{
    const struct ms_opcodes_read *read = &item->read;
    int64_t analysis = 0;
    ms_progress_update(++self->done);
    if (is_state(read, "damaged")) { /* fsck's business; tried again when it was mended */
        self->failed++;
        ms_log(MS_LOG_WARNING, "%s: %s", read->hex, read->reason);
        return MS_OK;
    }
    enum ms_status status = put(self, item, &analysis, err);
    if (status != MS_OK)
        return status;
    self->ok += is_state(read, "ok");
    self->failed += is_state(read, "failed");
    self->empty += is_state(read, "no_code") || is_state(read, "unsupported");
    return tell(self, read, analysis, err);
}

static enum ms_status do_batch(struct opcodes *self, struct ms_error *err)
{
    enum ms_status status = self->count ? read_batch(self, err) : MS_OK;
    for (size_t i = 0; i < self->count && status == MS_OK; i++)
        status = store_item(self, &self->items[i], err);
    self->count = 0;
    return status;
}

static enum ms_status add_sample(void *ctx, int64_t id, struct ms_error *err)
{
    struct opcodes *self = ctx;
    struct item *item = &self->items[self->count];
    struct ms_sample sample;
    enum ms_status status = ms_sample_get(self->corpus, id, &sample, err);
    if (status != MS_OK)
        return status;
    item->sample = id;
    memcpy(item->sha256, sample.digests.sha256, sizeof item->sha256);
    return ++self->count == self->capacity ? do_batch(self, err) : MS_OK;
}

static enum ms_status make_items(struct opcodes *self, struct ms_error *err)
{
    const size_t n = (size_t)self->cli->common.jobs * BATCH;
    self->items = calloc(n, sizeof *self->items);
    if (!self->items)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a batch of samples");
    self->capacity = n;
    for (size_t i = 0; i < n; i++)
        ms_opcodes_read_init(&self->items[i].read);
    return MS_OK;
}

static void free_items(struct opcodes *self)
{
    for (size_t i = 0; i < self->capacity; i++)
        ms_opcodes_read_release(&self->items[i].read);
    free(self->items);
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
            status = add_sample(self, id, err);
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
    enum ms_status status = make_items(self, err);
    if (status == MS_OK && self->cli->operand_count)
        status = do_named(self, err);
    else if (status == MS_OK)
        status = ms_sample_foreach_unsettled(self->corpus, MS_SOURCE_OPCODES, self->settings_digest,
                                             add_sample, self, &self->total, err);
    return status == MS_OK ? do_batch(self, err) : status;
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
    struct opcodes self = {.cli = cli, .lock = PTHREAD_MUTEX_INITIALIZER};
    const struct ms_worker_options worker = {.kinds = ms_extract_kinds,
                                             .kind_count = ms_extract_kind_count,
                                             .no_confine = cli->common.no_confine};
    const enum ms_corpus_mode how = cli->common.dry_run ? MS_CORPUS_READ : MS_CORPUS_WRITE;
    ms_disassembly_text(self.settings);
    if (ms_hash_sha256(self.settings, strlen(self.settings), self.settings_digest) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = ms_worker_start(&worker, &self.worker, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, how, &self.corpus, err);
    if (status == MS_OK)
        status = ms_corpus_limit_cache(self.corpus, MS_INGEST_CACHE_BYTES, err);
    if (status == MS_OK)
        status = cli->common.dry_run ? show_waiting(&self, err) : work(&self, err);
    free_items(&self);
    (void)pthread_mutex_destroy(&self.lock);
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
