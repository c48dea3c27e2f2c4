/* `extract import PATH…`: reports in files, folders, archives, standard input, or the vault, into
 * the corpus. */
#include "base/cli.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "extract/import_readers.h"
#include "extract/intake.h"
#include "extract/verbs.h"
#include "store/run.h"
#include "store/sample.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct import_options {
    uint64_t min_calls;
    bool strict;
    bool discard_reports, from_vault, all;
    const char *source, *licence;
};

/* How a run stands. */
struct import {
    const struct ms_cli *cli;
    const struct import_options *options;
    struct ms_ingest ingest;
    uint64_t reports, ok, known, rejected, passed_over;
    enum ms_status path_status; /* worst trouble with a path; MS_OK none */
    bool head_printed;
    struct ms_import_list list; /* what is to be read, in order */
    struct ms_import_wanted wanted;
    const char *origin_name; /* of the origin opened last … */
    int64_t origin;          /* … and its id */
    const char *archive;     /* the path of the archive that is open */
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
    json_object_set_new(line, "line",
                        out->line ? json_integer((json_int_t)out->line) : json_null());
    json_object_set_new(line, "byte",
                        out->line ? json_integer((json_int_t)out->byte) : json_null());
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
static void note_path(void *ctx, const char *path, int errnum)
{
    struct import *self = ctx;
    char name[512];
    ms_log(MS_LOG_ERROR, "cannot read '%s': %s", ms_escape_text(path, name, sizeof name),
           strerror(errnum));
    if (self->path_status != MS_E_IO)
        self->path_status = errnum == ENOENT ? MS_E_INPUT : MS_E_IO;
}

/* Where reports are from: what the user says, else their folder. */
static enum ms_status open_origin(struct import *self, const struct ms_import_item *item,
                                  struct ms_error *err)
{
    const char *name = self->options->source ? self->options->source : item->origin;
    if (!self->ingest.corpus || item->again ||
        (self->origin_name && strcmp(self->origin_name, name) == 0))
        return MS_OK;
    bool is_url = strncmp(name, "https://", 8) == 0 || strncmp(name, "http://", 7) == 0;
    struct ms_origin origin = {.kind = "reports",
                               .name = strcmp(name, "-") == 0 ? "stdin" : name,
                               .ref = "",
                               .url = is_url ? name : NULL,
                               .licence = self->options->licence,
                               .state = "ok"};
    enum ms_status status = ms_corpus_begin(self->ingest.corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_origin_open(self->ingest.corpus, &origin, &self->origin, err);
    if (status == MS_OK)
        status = ms_origin_checked(self->ingest.corpus, self->origin, ms_clock_wall_ms(), err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->ingest.corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(self->ingest.corpus);
    self->origin_name = status == MS_OK ? name : NULL;
    return status;
}

static enum ms_status store_and_tell(struct import *self, const char *path,
                                     struct ms_intake *intake, struct ms_error *err)
{
    struct ms_ingest_outcome out;
    if (ms_intake_outcome(intake)->passed_over) {
        self->passed_over++;
        return MS_OK;
    }
    ms_intake_set_origin(intake, self->origin);
    enum ms_status status = ms_intake_store(intake, 0, &out, err);
    return status == MS_OK ? tell(self, path, &out, err) : status;
}

static enum ms_status visit_member(void *ctx, struct ms_span chain, struct ms_intake *intake,
                                   struct ms_error *err)
{
    struct import *self = ctx;
    size_t n = strlen(self->archive);
    char *path = malloc(n + chain.len + 2);
    if (!path)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a path");
    (void)snprintf(path, n + chain.len + 2, "%s%s%.*s", self->archive, chain.len ? "!" : "",
                   (int)chain.len, chain.len ? (const char *)chain.data : "");
    enum ms_status status = store_and_tell(self, path, intake, err);
    free(path);
    return status;
}

/* What was read of one item. */
static enum ms_status import_item(struct import *self, struct ms_read_report *report,
                                  struct ms_error *err)
{
    self->archive = report->item->path;
    if (report->archive_fd >= 0)
        return ms_archive_read(&self->ingest, report->archive_fd, visit_member, self, err);
    return store_and_tell(self, report->item->path, report->intake, err);
}

static enum ms_status import_one(struct import *self, struct ms_read_report *report,
                                 struct ms_error *err)
{
    const char *path = report->item->path;
    char name[512];
    if (report->open_errnum) {
        note_path(self, path, report->open_errnum);
        return MS_OK;
    }
    if (report->status == MS_OK)
        report->status = open_origin(self, report->item, &report->error);
    if (report->status == MS_OK)
        report->status = import_item(self, report, &report->error);
    if (report->status == MS_OK)
        return MS_OK;
    ms_escape_text(path, name, sizeof name);
    bool damaged = report->item->again && report->status == MS_E_STORE && !report->intake;
    if (report->status == MS_E_IO || damaged) {
        ms_log(MS_LOG_ERROR, "'%s': %s", name, report->error.text);
        self->path_status = report->status;
        return MS_OK;
    }
    ms_error_prepend(&report->error, "'%s'", name);
    if (err)
        *err = report->error;
    return report->status;
}

static enum ms_status list_items(struct import *self, struct ms_error *err)
{
    const struct ms_cli *cli = self->cli;
    enum ms_status status = MS_OK;
    if (self->options->from_vault && !cli->operand_count)
        return ms_import_list_add_vault(&self->list, self->ingest.corpus, NULL, &self->wanted, err);
    for (size_t i = 0; status == MS_OK && i < cli->operand_count; i++)
        status = self->options->from_vault
                     ? ms_import_list_add_vault(&self->list, self->ingest.corpus, cli->operands[i],
                                                &self->wanted, err)
                     : ms_import_list_add(&self->list, cli->operands[i], note_path, self, err);
    return status;
}

static void sum_up(const struct import *self)
{
    ms_log(MS_LOG_INFO,
           "%" PRIu64 " reports: %" PRIu64 " with calls, %" PRIu64 " without, %" PRIu64
           " rejected; %" PRIu64 " were known",
           self->reports, self->ok, self->reports - self->ok - self->rejected, self->rejected,
           self->known);
    if (self->passed_over)
        ms_log(MS_LOG_INFO, "%" PRIu64 " other files were passed over", self->passed_over);
    if (self->wanted.passed_over)
        ms_log(MS_LOG_INFO, "%" PRIu64 " reports were read by this reader before; --all reads them",
               self->wanted.passed_over);
}

static enum ms_status import_all(struct import *self, struct ms_error *err)
{
    struct ms_import_readers *readers = NULL;
    struct ms_read_report *report;
    enum ms_status status = list_items(self, err);
    if (status == MS_OK)
        status = ms_import_readers_start(&self->ingest, &self->list, self->cli->common.jobs,
                                         &readers, err);
    if (status != MS_OK)
        return status;
    ms_progress_begin("importing reports", self->list.count, "reports");
    for (size_t i = 1; status == MS_OK && (report = ms_import_readers_next(readers)); i++) {
        status = import_one(self, report, err);
        ms_progress_update(i);
    }
    ms_progress_end();
    ms_import_readers_stop(readers);
    if (status != MS_OK)
        return status;
    sum_up(self);
    if (self->path_status != MS_OK)
        return ms_error_set(err, self->path_status, "not every path could be read; see above");
    return self->rejected ? MS_REJECT : MS_OK;
}

static enum ms_status import_into_corpus(struct import *self, struct ms_error *err)
{
    const struct ms_common *common = &self->cli->common;
    char counts[160];
    enum ms_corpus_mode how = self->options->from_vault ? MS_CORPUS_WRITE : MS_CORPUS_CREATE;
    enum ms_status status = ms_corpus_open(common->corpus, how, &self->ingest.corpus, err);
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

static enum ms_status check_options(const struct ms_cli *cli, const struct import_options *options,
                                    struct ms_error *err)
{
    if (!options->from_vault && !cli->operand_count)
        return ms_error_set(err, MS_E_USAGE, "import what? Give files, folders, or - for stdin");
    if (options->from_vault && (options->discard_reports || options->source || options->licence))
        return ms_error_set(err, MS_E_USAGE,
                            "--from-vault reads what is kept, with the source it has: it goes with "
                            "none of --discard-reports, --source, --licence");
    if (options->all && (!options->from_vault || cli->operand_count))
        return ms_error_set(err, MS_E_USAGE, "--all goes with --from-vault, and without a HASH");
    if (options->from_vault && cli->common.dry_run)
        return ms_error_set(err, MS_E_USAGE, "--from-vault does not go with --dry-run");
    return MS_OK;
}

static enum ms_status run_import(struct ms_cli *cli, struct ms_error *err)
{
    const struct import_options *options = cli->options;
    struct import self = {.cli = cli,
                          .options = options,
                          .ingest = {.min_calls = options->min_calls,
                                     .discard_reports = options->discard_reports,
                                     .strict = options->strict},
                          .wanted = {.all = options->all, .strict = options->strict}};
    enum ms_status status = check_options(cli, options, err);
    if (status != MS_OK)
        return status;
    struct ms_worker_options worker = {.kinds = ms_extract_kinds,
                                       .kind_count = ms_extract_kind_count,
                                       .no_confine = cli->common.no_confine};
    status = ms_worker_start(&worker, &self.ingest.worker, err);
    if (status != MS_OK)
        return status;
    if (cli->common.dry_run)
        status = import_all(&self, err);
    else
        status = import_into_corpus(&self, err);
    ms_corpus_close(self.ingest.corpus);
    ms_worker_stop(self.ingest.worker);
    ms_import_list_release(&self.list);
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
    {.name = "source",
     .kind = MS_OPT_TEXT,
     .arg = "NAME",
     .help = "where the reports are from, a name or a URL (default: their folder)",
     .offset = offsetof(struct import_options, source)},
    {.name = "licence",
     .kind = MS_OPT_TEXT,
     .arg = "TEXT",
     .help = "the licence the reports are under, as SPDX names it",
     .offset = offsetof(struct import_options, licence)},
    {.name = "discard-reports",
     .kind = MS_OPT_FLAG,
     .help = "keep the calls alone, not the reports",
     .offset = offsetof(struct import_options, discard_reports)},
    {.name = "from-vault",
     .kind = MS_OPT_FLAG,
     .help = "read the corpus's own reports again: what an older reader made (with --strict: or a "
             "less strict one), or those of HASH (a report's or a sample's)",
     .offset = offsetof(struct import_options, from_vault)},
    {.name = "all",
     .kind = MS_OPT_FLAG,
     .help = "with --from-vault: all of them",
     .offset = offsetof(struct import_options, all)},
};

const struct ms_verb ms_extract_import_verb = {
    .name = "import",
    .synopsis = "PATH… | --from-vault [HASH…]",
    .summary = "read reports in files, folders, archives or - (stdin) into the corpus",
    .options = import_table,
    .option_count = sizeof import_table / sizeof *import_table,
    .options_bytes = sizeof(struct import_options),
    .min_operands = 0,
    .max_operands = SIZE_MAX,
    .run = run_import,
};
