/* `label import PATH…`: reports that people have already, into the corpus. Asks nobody. */
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "label/import_feed.h"
#include "label/import_job.h"
#include "label/import_lines.h"
#include "label/import_put.h"
#include "label/session.h"
#include "label/session_private.h"
#include "store/run.h"

#include <errno.h>
#include <inttypes.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of one transaction: the disk is waited for once for all of them, and a page of the indexes
 * of hashes, which every record changes somewhere, is written once. A second's work is what a crash
 * may cost. Transactions grow, each to twice the one before, so that the first is soon safe. */
enum { STEP_ROWS_FIRST = 256, STEP_ROWS_MOST = 4096, STEP_BYTES = 32 << 20, STEP_MS = 1000 };
/* Lines of --json that wait for the step's end, those of rejects among them. */
enum { LINES_MOST = 8192 };
/* Rejects of one file that are said one by one; --json tells all. */
enum { WARNINGS_MOST = 20 };

struct paths {
    char **items;
    size_t count, cap;
    uint64_t bytes, passed_over;
    enum ms_status trouble; /* worst trouble with one; MS_OK none */
    uint64_t unread;
};

struct import {
    const struct ms_cli *cli;
    const struct ms_policy *policy;
    struct ms_deriver deriver;
    struct ms_worker *worker;
    struct ms_import_put put; /* its corpus is NULL in a dry run */
    struct ms_hasher *input;
    struct paths paths;
    uint64_t records, files, body_bytes, stored_bytes;
    uint64_t results[MS_IMPORT_RESULTS];
    uint64_t verdicts[MS_VERDICT_COUNT];
    const char *warned_of;
    uint64_t warnings;
    size_t step_rows, step_bytes, step_rows_most;
    int64_t step_ms;
    struct ms_import_lines lines;
    bool lost; /* the open step was rolled back */
};

/* Reports come and go by the thousand; memory that is given back to the system with each costs a
 * twentieth of the time. */
static void keep_memory(void)
{
#if defined(__GLIBC__)
    (void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

/* ---- what is to be read ---- */

static bool ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), k = strlen(suffix);
    return n >= k && strcmp(text + n - k, suffix) == 0;
}

/* Inside folders only what is named like reports is taken: there lie samples beside them. */
static bool is_named_so(const char *path)
{
    static const char *const suffixes[] = {".json", ".jsonl", ".ndjson", ".gz", ".zst"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (ends_with(path, suffixes[i]))
            return true;
    return false;
}

static enum ms_status add_path(struct paths *self, const char *path, uint64_t bytes,
                               struct ms_error *err)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        char **items = realloc(self->items, cap * sizeof *items);
        if (!items)
            return ms_error_set(err, MS_E_NOMEM, "no memory for the list of files");
        self->items = items;
        self->cap = cap;
    }
    char *copy = strdup(path);
    if (!copy)
        return ms_error_set(err, MS_E_NOMEM, "no memory for the list of files");
    self->items[self->count++] = copy;
    self->bytes += bytes;
    return MS_OK;
}

/* Trouble with a path itself: said, kept for the exit code, and the rest goes on. */
static void note_path(struct paths *self, enum ms_status status, const char *path, const char *why)
{
    char name[512];
    ms_log(MS_LOG_ERROR, "cannot read '%s': %s", ms_escape_text(path, name, sizeof name), why);
    self->unread++;
    if (self->trouble != MS_E_IO)
        self->trouble = status;
}

static enum ms_status visit(void *ctx, const char *path, const struct stat *st, int errnum,
                            struct ms_error *err)
{
    struct paths *self = ctx;
    if (!st) {
        note_path(self, MS_E_IO, path, strerror(errnum));
        return MS_OK;
    }
    if (!is_named_so(path)) {
        self->passed_over++;
        return MS_OK;
    }
    return add_path(self, path, (uint64_t)st->st_size, err);
}

static enum ms_status list_paths(struct import *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; status == MS_OK && i < self->cli->operand_count; i++) {
        const char *path = self->cli->operands[i];
        struct stat st = {.st_size = 0};
        bool there = strcmp(path, "-") != 0 && stat(path, &st) == 0;
        if (there && S_ISDIR(st.st_mode))
            status = ms_file_walk(path, visit, &self->paths, err);
        else
            status = add_path(&self->paths, path,
                              there && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0, err);
    }
    if (self->paths.passed_over)
        ms_log(MS_LOG_INFO,
               "%" PRIu64 " files are not named like reports (.json, .jsonl, .ndjson, .gz, .zst) "
               "and are passed over; name them to read them",
               self->paths.passed_over);
    return status;
}

/* ---- what is told ---- */

static json_t *text_or_null(const char *text)
{
    return ms_json_text(text && text[0] ? text : NULL);
}

static enum ms_status print_json(struct import *self, const struct ms_import_item *item,
                                 enum ms_import_result result, struct ms_error *err)
{
    const struct ms_judged *judged = item->has_judged ? &item->judged : NULL;
    bool read = item->has_judged || item->has_report;
    bool bad = judged &&
               (judged->verdict == MS_VERDICT_MALICIOUS || judged->verdict == MS_VERDICT_GRAYWARE);
    json_t *line = json_object();
    json_object_set_new(line, "file", ms_json_bytes(item->path, strlen(item->path)));
    json_object_set_new(line, "line", json_integer((json_int_t)item->line));
    json_object_set_new(line, "byte", json_integer((json_int_t)item->byte));
    json_object_set_new(line, "status", ms_json_text(ms_import_result_name(result)));
    json_object_set_new(line, "reason", text_or_null(item->why));
    json_object_set_new(line, "hash",
                        read ? text_or_null(ms_import_hash(ms_import_item_report(item)))
                             : json_null());
    json_object_set_new(line, "format",
                        read ? ms_json_text(ms_record_format_name(item->format)) : json_null());
    json_object_set_new(line, "policy", judged ? ms_json_text(self->policy->name) : json_null());
    json_object_set_new(line, "verdict",
                        judged ? ms_json_text(ms_verdict_name(judged->verdict)) : json_null());
    json_object_set_new(line, "class",
                        ms_json_text(bad && judged->class_ ? judged->class_ : "none"));
    json_object_set_new(line, "family", bad ? text_or_null(judged->tally.family) : json_null());
    enum ms_status status =
        ms_import_lines_add(&self->lines, line, result != MS_IMPORT_REJECTED, err);
    bool step_open = self->put.corpus && ms_corpus_in_transaction(self->put.corpus);
    return status == MS_OK && !step_open ? ms_import_lines_flush(&self->lines, false, err) : status;
}

static void warn(struct import *self, const struct ms_import_item *item)
{
    char name[512];
    if (self->warned_of != item->path) {
        self->warned_of = item->path;
        self->warnings = 0;
    }
    if (++self->warnings > WARNINGS_MOST + 1)
        return;
    ms_escape_text(item->path, name, sizeof name);
    if (self->warnings == WARNINGS_MOST + 1)
        ms_log(MS_LOG_WARNING, "'%s': more records are rejected; --json names all", name);
    else
        ms_log(MS_LOG_WARNING, "'%s' line %" PRIu64 " (byte %" PRIu64 "): %s", name, item->line,
               item->byte, item->why);
}

static enum ms_status tell(struct import *self, const struct ms_import_item *item,
                           enum ms_import_result result, struct ms_error *err)
{
    self->results[result]++;
    if (item->has_judged && result != MS_IMPORT_REJECTED && result != MS_IMPORT_FORGOTTEN)
        self->verdicts[item->judged.verdict]++;
    if (result == MS_IMPORT_REJECTED)
        warn(self, item);
    return self->cli->common.json ? print_json(self, item, result, err) : MS_OK;
}

static void print_summary(const struct import *self)
{
    (void)printf("%-12s %10s\n", "records", "");
    for (int i = 0; i < MS_IMPORT_RESULTS; i++)
        if (self->results[i] || i == MS_IMPORTED)
            (void)printf("  %-10s %10" PRIu64 "\n", ms_import_result_name((enum ms_import_result)i),
                         self->results[i]);
    (void)printf("%-12s %10s\n", "verdicts", "");
    for (unsigned i = 0; i < MS_VERDICT_COUNT; i++)
        if (self->verdicts[i])
            (void)printf("  %-10s %10" PRIu64 "\n", ms_verdict_name((enum ms_verdict)i),
                         self->verdicts[i]);
}

/* ---- storing ---- */

static enum ms_status end_step(struct import *self, struct ms_error *err)
{
    if (!self->put.corpus || !ms_corpus_in_transaction(self->put.corpus))
        return MS_OK;
    enum ms_status status = ms_import_put_settle(&self->put, err);
    ms_step("label.import.rows");
    if (status == MS_OK)
        status = ms_corpus_commit(self->put.corpus, err);
    if (status != MS_OK)
        return status;
    self->step_rows = self->step_bytes = 0;
    if (self->step_rows_most < STEP_ROWS_MOST)
        self->step_rows_most *= 2;
    ms_step("label.import.committed");
    return ms_import_lines_flush(&self->lines, false, err);
}

static enum ms_status begin_step(struct import *self, struct ms_error *err)
{
    if (ms_corpus_in_transaction(self->put.corpus))
        return MS_OK;
    self->step_ms = ms_clock_mono_ms();
    enum ms_status status = ms_corpus_begin(self->put.corpus, err);
    if (status == MS_OK)
        ms_step("label.import.begun");
    return status;
}

static enum ms_status put_record(struct import *self, struct ms_import_item *item,
                                 enum ms_import_result *result, struct ms_error *err)
{
    int64_t sample = 0;
    if (!self->put.corpus) {
        *result = item->known ? MS_IMPORT_KNOWN : !item->absent ? MS_IMPORTED : MS_IMPORT_ABSENT;
        return MS_OK;
    }
    enum ms_status status = begin_step(self, err);
    if (status == MS_OK)
        status = ms_import_put_record(&self->put, item, result, &sample, err);
    if (status != MS_OK) {
        /* Half a record must not be committed with what came before it. */
        ms_corpus_rollback(self->put.corpus);
        self->lost = true;
        return status;
    }
    ms_step("label.import.record");
    self->step_rows++;
    self->step_bytes += item->packed.len;
    self->stored_bytes += item->packed.len;
    bool full = self->step_rows >= self->step_rows_most || self->step_bytes >= STEP_BYTES ||
                self->lines.count >= LINES_MOST || ms_clock_mono_ms() - self->step_ms >= STEP_MS;
    status = full ? end_step(self, err) : MS_OK;
    if (status != MS_OK) {
        ms_corpus_rollback(self->put.corpus);
        self->lost = true;
        self->step_rows--; /* this one will not be told of */
    }
    return status;
}

static enum ms_status take_record(struct import *self, struct ms_import_item *item,
                                  struct ms_error *err)
{
    enum ms_import_result result = MS_IMPORT_REJECTED;
    self->records++;
    if (item->status != MS_OK)
        return tell(self, item, result, err);
    self->body_bytes += item->body_bytes;
    ms_hasher_update(self->input, item->sha256, sizeof item->sha256);
    enum ms_status status = put_record(self, item, &result, err);
    return status == MS_OK ? tell(self, item, result, err) : status;
}

static enum ms_status take_item(struct import *self, struct ms_import_item *item,
                                struct ms_error *err)
{
    switch (item->kind) {
    case MS_ITEM_RECORD:
        return take_record(self, item, err);
    case MS_ITEM_REJECT:
        self->records++;
        return tell(self, item, MS_IMPORT_REJECTED, err);
    case MS_ITEM_FILE:
        self->files++;
        return item->why[0] ? tell(self, item, MS_IMPORT_REJECTED, err) : MS_OK;
    case MS_ITEM_PATH:
        note_path(&self->paths, item->errnum == ENOENT ? MS_E_INPUT : MS_E_IO, item->path,
                  item->why);
    }
    return MS_OK;
}

static enum ms_status read_all(struct import *self, struct ms_error *err)
{
    const struct ms_common *common = &self->cli->common;
    struct stat st;
    char database[4096];
    (void)snprintf(database, sizeof database, "%s/corpus.db", common->corpus);
    bool there = self->put.corpus || stat(database, &st) == 0;
    const struct ms_import_options options = {.worker = self->worker,
                                              .rules = &self->deriver,
                                              .corpus = there ? common->corpus : NULL,
                                              .jobs = (size_t)common->jobs};
    struct ms_import_feed *feed = NULL;
    struct ms_import_item *item = NULL;
    enum ms_status status = ms_import_feed_start(&options, (const char *const *)self->paths.items,
                                                 self->paths.count, &feed, err);
    self->put.feed = feed;
    ms_progress_begin("importing reports", self->paths.bytes, "bytes");
    while (status == MS_OK) {
        status = ms_import_feed_next(feed, &item, err);
        if (status != MS_OK || !item)
            break;
        status = take_item(self, item, err);
        if (item->kind != MS_ITEM_RECORD || self->records % 64 == 0) {
            ms_progress_update(ms_import_feed_bytes(feed));
            ms_progress_note("%" PRIu64 " records", self->records);
        }
    }
    ms_progress_end();
    ms_import_feed_stop(feed);
    /* Whatever ended it: what is still there is whole, and is kept. */
    struct ms_error why = {.status = MS_OK};
    enum ms_status kept = end_step(self, &why), told;
    struct ms_error untold = {.status = MS_OK};
    told = ms_import_lines_flush(&self->lines, self->lost || kept != MS_OK, &untold);
    if (kept == MS_OK && told != MS_OK) {
        kept = told;
        why = untold;
    }
    if (status == MS_OK && kept != MS_OK) {
        status = kept;
        *err = why;
    }
    return status;
}

/* What the run comes to, when nothing stopped it. */
static enum ms_status judge_run(const struct import *self, struct ms_error *err)
{
    uint64_t rejected = self->results[MS_IMPORT_REJECTED], good = 0;
    for (int i = 0; i < MS_IMPORT_RESULTS; i++)
        good += i == MS_IMPORT_REJECTED ? 0 : self->results[i];
    if (good == 0)
        return ms_error_set(err, MS_E_INPUT, "no report could be read%s",
                            rejected || self->paths.unread ? "; see above" : ": there is none");
    if (self->paths.trouble != MS_OK)
        return ms_error_set(err, self->paths.trouble, "not every path could be read; see above");
    return rejected ? MS_REJECT : MS_OK;
}

static void say_end(const struct import *self, int64_t began_ms)
{
    if (self->step_rows) /* counted as imported, and then the store failed */
        ms_log(MS_LOG_WARNING,
               "the last %zu of these records are not kept; the same command takes them in again",
               self->step_rows);
    double seconds = (double)(ms_clock_mono_ms() - began_ms) / 1000.0;
    ms_log(MS_LOG_INFO,
           "%" PRIu64 " records of %" PRIu64 " files: %" PRIu64 " imported, %" PRIu64
           " older than what is known, %" PRIu64 " known, %" PRIu64 " not found or queued, %" PRIu64
           " removed for good, %" PRIu64 " rejected; %.1f MB in %.1f s (%.0f MB/s)",
           self->records, self->files, self->results[MS_IMPORTED], self->results[MS_IMPORT_OLDER],
           self->results[MS_IMPORT_KNOWN], self->results[MS_IMPORT_ABSENT],
           self->results[MS_IMPORT_FORGOTTEN], self->results[MS_IMPORT_REJECTED],
           (double)self->body_bytes / 1e6, seconds,
           seconds > 0 ? (double)self->body_bytes / 1e6 / seconds : 0);
}

static enum ms_status end_run(struct import *self, enum ms_status status, struct ms_error *err)
{
    char counts[400];
    struct ms_digests digests;
    struct ms_error why = {.status = MS_OK};
    if (!self->put.run)
        return status;
    (void)snprintf(counts, sizeof counts,
                   "{\"files\":%" PRIu64 ",\"records\":%" PRIu64 ",\"imported\":%" PRIu64
                   ",\"older\":%" PRIu64 ",\"known\":%" PRIu64 ",\"absent\":%" PRIu64
                   ",\"forgotten\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"bytes\":%" PRIu64
                   ",\"stored_bytes\":%" PRIu64 "}",
                   self->files, self->records, self->results[MS_IMPORTED],
                   self->results[MS_IMPORT_OLDER], self->results[MS_IMPORT_KNOWN],
                   self->results[MS_IMPORT_ABSENT], self->results[MS_IMPORT_FORGOTTEN],
                   self->results[MS_IMPORT_REJECTED], self->body_bytes, self->stored_bytes);
    bool digested = ms_hasher_finish(self->input, &digests, &why) == MS_OK;
    enum ms_status ended = ms_run_end(self->put.corpus, self->put.run, ms_status_exit_code(status),
                                      counts, digested ? digests.sha256 : NULL, &why);
    if (ended == MS_OK || (status != MS_OK && status != MS_REJECT))
        return status;
    *err = why;
    return ended;
}

static enum ms_status open_corpus(struct import *self, struct ms_error *err)
{
    const struct ms_common *common = &self->cli->common;
    if (common->dry_run)
        return MS_OK;
    enum ms_status status =
        ms_corpus_open(common->corpus, MS_CORPUS_CREATE, &self->put.corpus, err);
    if (status == MS_OK)
        status = ms_run_begin(self->put.corpus, "label", self->cli->argc, self->cli->argv,
                              common->seed, &self->put.run, err);
    if (status == MS_OK)
        status = ms_corpus_expect_bulk(self->put.corpus, err);
    if (status == MS_OK)
        ms_step("label.import.started");
    return status;
}

enum ms_status ms_label_import(struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_label_options *options = cli->options;
    struct import self = {.cli = cli, .step_rows_most = STEP_ROWS_FIRST};
    struct ms_error why = {.status = MS_OK};
    const struct ms_worker_kind kinds[] = {ms_import_kind, ms_vtjson_kind};
    const struct ms_worker_options worker = {kinds, 2, cli->common.no_confine};
    int64_t began_ms = ms_clock_mono_ms();
    enum ms_status status = ms_policy_open(options->policy, &self.policy, &why);
    self.put.deriver = &self.deriver;
    if (status == MS_OK)
        status = ms_worker_start(&worker, &self.worker, &why);
    if (status == MS_OK)
        status = ms_hasher_new(MS_HASH_SHA256, &self.input, &why);
    if (status == MS_OK)
        status = list_paths(&self, &why);
    if (status == MS_OK)
        status = ms_deriver_open(&self.deriver, self.policy, cli->common.corpus,
                                 options->avclass_data, NULL, &why);
    if (status == MS_OK)
        status = open_corpus(&self, &why);
    self.deriver.corpus = self.put.corpus;
    self.deriver.worker = self.worker;
    self.deriver.run = self.put.run;
    bool opened = status == MS_OK;
    keep_memory();
    if (opened)
        status = read_all(&self, &why);
    if (status == MS_OK)
        status = judge_run(&self, &why);
    status = end_run(&self, status, &why);
    if (opened) {
        say_end(&self, began_ms);
        if (!cli->common.json)
            print_summary(&self);
    }
    ms_import_lines_release(&self.lines);
    ms_import_put_release(&self.put);
    ms_deriver_close(&self.deriver);
    ms_policy_free(self.policy);
    ms_corpus_close(self.put.corpus);
    ms_worker_stop(self.worker);
    ms_hasher_free(self.input);
    for (size_t i = 0; i < self.paths.count; i++)
        free(self.paths.items[i]);
    free(self.paths.items);
    if (status != MS_OK)
        *err = why;
    return status;
}
