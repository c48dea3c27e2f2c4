/* `extract import PATH…`: report files, folders of them, or standard input into the corpus. */
#include "base/cli.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "extract/import_readers.h"
#include "extract/verbs.h"
#include "store/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct import_options {
    uint64_t min_calls;
    bool strict;
};

/* How a run stands. */
struct import {
    const struct ms_cli *cli;
    struct ms_ingest ingest;
    uint64_t reports, ok, known, rejected;
    enum ms_status path_status; /* worst trouble with a path; MS_OK none */
    bool head_printed;
    char **paths; /* what is to be read, in order */
    size_t path_count, path_cap;
};

static void print_row(struct import *self, const char *path, const struct ms_ingest_outcome *out)
{
    char name[1024];
    if (!self->head_printed)
        printf("%-14s %-8s %9s %10s %10s  %s\n", "status", "sandbox", "processes", "calls",
               "expanded", "file");
    self->head_printed = true;
    printf("%-14s %-8s %9" PRIu64 " %10" PRIu64 " %10" PRIu64 "  %s%s\n", out->state, out->sandbox,
           out->processes, out->calls, out->calls_expanded, ms_escape_text(path, name, sizeof name),
           out->known ? " (known)" : "");
}

static enum ms_status print_json(const char *path, const struct ms_ingest_outcome *out,
                                 struct ms_error *err)
{
    json_t *line = json_object();
    json_object_set_new(line, "file", ms_json_bytes(path, strlen(path)));
    json_object_set_new(line, "status", ms_json_text(out->state));
    json_object_set_new(line, "sandbox", ms_json_text(out->sandbox));
    json_object_set_new(line, "processes", json_integer((json_int_t)out->processes));
    json_object_set_new(line, "calls", json_integer((json_int_t)out->calls));
    json_object_set_new(line, "calls_expanded", json_integer((json_int_t)out->calls_expanded));
    json_object_set_new(line, "reason", ms_json_text(out->reason[0] ? out->reason : NULL));
    json_object_set_new(line, "sample", ms_json_text(out->sample[0] ? out->sample : NULL));
    json_object_set_new(line, "analysis",
                        out->analysis ? json_integer(out->analysis) : json_null());
    json_object_set_new(line, "known", json_boolean(out->known));
    return ms_json_line(stdout, line, err);
}

/* A report without calls is a sound report of a run in which nothing happened: only what could not
 * be taken at all is a finding. */
static bool is_rejected(const char *state)
{
    return strcmp(state, "report_invalid") == 0 || strcmp(state, "refused") == 0;
}

static enum ms_status tell(struct import *self, const char *path,
                           const struct ms_ingest_outcome *out, struct ms_error *err)
{
    char name[512];
    self->reports++;
    self->known += out->known;
    self->ok += strcmp(out->state, "ok") == 0;
    self->rejected += is_rejected(out->state);
    if (out->reason[0])
        ms_log(MS_LOG_WARNING, "'%s': %s: %s", ms_escape_text(path, name, sizeof name), out->state,
               out->reason);
    if (self->cli->common.json)
        return print_json(path, out, err);
    print_row(self, path, out);
    return MS_OK;
}

/* Trouble with a path itself: said, kept for the exit code, and the rest goes on. */
static void note_path(struct import *self, enum ms_status status, const char *path, int errnum)
{
    char name[512];
    ms_log(MS_LOG_ERROR, "cannot read '%s': %s", ms_escape_text(path, name, sizeof name),
           strerror(errnum));
    if (self->path_status != MS_E_IO)
        self->path_status = status;
}

static enum ms_status import_one(struct import *self, struct ms_read_report *report,
                                 struct ms_error *err)
{
    struct ms_ingest_outcome out;
    char name[512];
    if (report->open_errnum) {
        note_path(self, report->open_errnum == ENOENT ? MS_E_INPUT : MS_E_IO, report->path,
                  report->open_errnum);
        return MS_OK;
    }
    if (report->status == MS_OK)
        report->status = ms_intake_store(report->intake, 0, &out, &report->error);
    if (report->status == MS_OK)
        return tell(self, report->path, &out, err);
    ms_escape_text(report->path, name, sizeof name);
    if (report->status == MS_E_IO) {
        ms_log(MS_LOG_ERROR, "'%s': %s", name, report->error.text);
        self->path_status = MS_E_IO;
        return MS_OK;
    }
    ms_error_prepend(&report->error, "'%s'", name);
    if (err)
        *err = report->error;
    return report->status;
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), k = strlen(suffix);
    return n >= k && strcmp(text + n - k, suffix) == 0;
}

static enum ms_status add_path(struct import *self, const char *path, struct ms_error *err)
{
    if (self->path_count == self->path_cap) {
        size_t cap = self->path_cap ? self->path_cap * 2 : 64;
        char **paths = realloc(self->paths, cap * sizeof *paths);
        if (!paths)
            return ms_error_set(err, MS_E_NOMEM, "no memory for the list of reports");
        self->paths = paths;
        self->path_cap = cap;
    }
    char *copy = strdup(path);
    if (!copy)
        return ms_error_set(err, MS_E_NOMEM, "no memory for the list of reports");
    self->paths[self->path_count++] = copy;
    return MS_OK;
}

/* Inside folders only what is named like a report is taken. */
static enum ms_status visit(void *ctx, const char *path, const struct stat *st, int errnum,
                            struct ms_error *err)
{
    struct import *self = ctx;
    if (!st) {
        note_path(self, MS_E_IO, path, errnum);
        return MS_OK;
    }
    if (!ends_with(path, ".json") && !ends_with(path, ".gz") && !ends_with(path, ".zst"))
        return MS_OK;
    return add_path(self, path, err);
}

static enum ms_status list_paths(struct import *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; status == MS_OK && i < self->cli->operand_count; i++) {
        const char *path = self->cli->operands[i];
        struct stat st;
        if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            status = ms_file_walk(path, visit, self, err);
        else
            status = add_path(self, path, err);
    }
    return status;
}

static enum ms_status import_all(struct import *self, struct ms_error *err)
{
    struct ms_import_readers *readers = NULL;
    struct ms_read_report *report;
    enum ms_status status = list_paths(self, err);
    if (status == MS_OK)
        status = ms_import_readers_start(&self->ingest, (const char *const *)self->paths,
                                         self->path_count, self->cli->common.jobs, &readers, err);
    if (status != MS_OK)
        return status;
    ms_progress_begin("importing reports", self->path_count, "reports");
    for (size_t i = 1; status == MS_OK && (report = ms_import_readers_next(readers)); i++) {
        status = import_one(self, report, err);
        ms_progress_update(i);
    }
    ms_progress_end();
    ms_import_readers_stop(readers);
    if (status != MS_OK)
        return status;
    ms_log(MS_LOG_INFO,
           "%" PRIu64 " reports: %" PRIu64 " with calls, %" PRIu64 " without, %" PRIu64
           " rejected; %" PRIu64 " were known",
           self->reports, self->ok, self->reports - self->ok - self->rejected, self->rejected,
           self->known);
    if (self->path_status != MS_OK)
        return ms_error_set(err, self->path_status, "not every path could be read; see above");
    return self->rejected ? MS_REJECT : MS_OK;
}

static enum ms_status import_into_corpus(struct import *self, struct ms_error *err)
{
    const struct ms_common *common = &self->cli->common;
    char counts[160];
    enum ms_status status =
        ms_corpus_open(common->corpus, MS_CORPUS_CREATE, &self->ingest.corpus, err);
    if (status == MS_OK)
        status = ms_corpus_limit_cache(self->ingest.corpus, MS_INGEST_CACHE_BYTES, err);
    if (status == MS_OK)
        status = ms_run_begin(self->ingest.corpus, "extract", self->cli->argc, self->cli->argv,
                              common->seed, &self->ingest.run, err);
    if (status != MS_OK)
        return status;
    ms_step("extract.import.started");
    status = import_all(self, err);
    (void)snprintf(counts, sizeof counts,
                   "{\"reports\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"rejected\":%" PRIu64
                   ",\"known\":%" PRIu64 "}",
                   self->reports, self->ok, self->rejected, self->known);
    struct ms_error ignored = {.status = MS_OK};
    enum ms_status ended =
        ms_run_end(self->ingest.corpus, self->ingest.run, ms_status_exit_code(status), counts, NULL,
                   status == MS_OK || status == MS_REJECT ? err : &ignored);
    return (status == MS_OK || status == MS_REJECT) && ended != MS_OK ? ended : status;
}

static enum ms_status run_import(struct ms_cli *cli, struct ms_error *err)
{
    const struct import_options *options = cli->options;
    struct import self = {.cli = cli,
                          .ingest = {.min_calls = options->min_calls, .strict = options->strict}};
    struct ms_worker_options worker = {.kinds = ms_extract_kinds,
                                       .kind_count = ms_extract_kind_count,
                                       .no_confine = cli->common.no_confine};
    enum ms_status status = ms_worker_start(&worker, &self.ingest.worker, err);
    if (status != MS_OK)
        return status;
    if (cli->common.dry_run)
        status = import_all(&self, err);
    else
        status = import_into_corpus(&self, err);
    ms_corpus_close(self.ingest.corpus);
    ms_worker_stop(self.ingest.worker);
    for (size_t i = 0; i < self.path_count; i++)
        free(self.paths[i]);
    free(self.paths);
    return status;
}

static const struct ms_option import_table[] = {
    {.name = "min-calls",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .help = "record reports with fewer calls as too_few_calls",
     .offset = offsetof(struct import_options, min_calls)},
    {.name = "strict",
     .kind = MS_OPT_FLAG,
     .help = "check the JSON grammar also of what is not read, at a third of the speed",
     .offset = offsetof(struct import_options, strict)},
};

const struct ms_verb ms_extract_import_verb = {
    .name = "import",
    .synopsis = "PATH…",
    .summary = "read report files (.json, .gz, .zst), folders of them, or - into the corpus",
    .options = import_table,
    .option_count = sizeof import_table / sizeof *import_table,
    .options_bytes = sizeof(struct import_options),
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run_import,
};
