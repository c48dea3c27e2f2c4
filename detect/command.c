/* Finds the reports, has them read, asks the model, prints a line for each. */
#include "detect/command.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "detect/corpus.h"
#include "detect/follow.h"
#include "detect/judge.h"
#include "detect/readers.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct detect {
    const struct ms_cli *cli;
    struct ms_worker *worker;
    struct ms_model_file *file; /* until the model has been read from it */
    struct ms_model *model;
    struct ms_judge judge;
    struct ms_arena arena; /* of the paths */
    const char **paths;    /* reports to read, in order … */
    bool *found;           /* … and which of them were found in a folder, not named by the user */
    const char **hashes;   /* operands that are samples of a corpus */
    size_t path_count, path_cap, hash_count;
    uint64_t reports, malicious, unknown, passed_over;
    enum ms_status path_status; /* trouble with a path; MS_OK none */
};

void ms_detect_defaults(void *options)
{
    *(struct ms_detect_options *)options = (struct ms_detect_options){.threshold = NAN, .top = 5};
}

/* The path, and of an archive's reports the member behind it. */
static enum ms_status name_of(const char *path, struct ms_span member, struct ms_buf *out,
                              struct ms_error *err)
{
    (void)ms_buf_append_text(out, path);
    if (member.len) {
        (void)ms_buf_append_byte(out, '!');
        (void)ms_buf_append(out, member.data, member.len);
    }
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory for a name") : MS_OK;
}

static enum ms_status judge(struct detect *d, const char *path, const struct ms_read_trace *trace,
                            struct ms_error *err)
{
    const struct ms_detect_options *o = d->cli->options;
    const struct ms_judgement_style style = {.json = d->cli->common.json,
                                             .early = o->early || o->explain};
    struct ms_judgement judgement;
    struct ms_buf name;
    ms_buf_init(&name, SIZE_MAX / 2);
    enum ms_status status = name_of(path, trace->member, &name, err);
    if (status == MS_OK)
        status = ms_judge_trace(&d->judge, trace, &judgement, err);
    if (status == MS_OK) {
        d->reports++;
        d->malicious += judgement.verdict.kind == MS_VERDICT_MALICIOUS;
        d->unknown += judgement.verdict.kind == MS_VERDICT_UNKNOWN;
        status = ms_judgement_print(&judgement, trace, ms_span_of(name.data, name.len), &style,
                                    stdout, err);
    }
    ms_buf_release(&name);
    return status;
}

static void note_path(struct detect *d, enum ms_status status, const char *path, const char *why)
{
    char name[1024];
    ms_log(MS_LOG_ERROR, "cannot read '%s': %s", ms_escape_text(path, name, sizeof name), why);
    if (d->path_status != MS_E_IO)
        d->path_status = status;
}

static enum ms_status add_path(struct detect *d, const char *path, bool found, struct ms_error *err)
{
    if (d->path_count == d->path_cap) {
        size_t cap = d->path_cap ? d->path_cap * 2 : 256;
        const char **paths = realloc(d->paths, cap * sizeof *paths);
        if (paths)
            d->paths = paths;
        bool *flags = realloc(d->found, cap * sizeof *flags);
        if (flags)
            d->found = flags;
        if (!paths || !flags)
            return ms_error_set(err, MS_E_NOMEM, "out of memory for the paths");
        d->path_cap = cap;
    }
    const char *copy = ms_arena_copy(&d->arena, path, strlen(path));
    if (!copy)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the paths");
    d->found[d->path_count] = found;
    d->paths[d->path_count++] = copy;
    return MS_OK;
}

static bool is_report_name(const char *path)
{
    static const char *const ends[] = {".json",  ".json.gz",  ".json.zst",
                                       ".jsonl", ".jsonl.gz", ".jsonl.zst"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t k = strlen(ends[i]);
        if (n >= k && strcmp(path + n - k, ends[i]) == 0)
            return true;
    }
    return false;
}

/* Of a folder's files those that are no reports are passed over, as extract import does: JSON of
 * something else, and what is no JSON unless it has a report's name. */
static bool is_passed_over(const struct detect *d, uint64_t index,
                           const struct ms_trace_reading *reading)
{
    enum ms_report_foreign foreign = reading->trace->foreign;
    return d->found[index] && foreign &&
           (foreign == MS_FOREIGN_JSON || !is_report_name(reading->path));
}

static enum ms_status visit(void *ctx, const char *path, const struct stat *st, int errnum,
                            struct ms_error *err)
{
    struct detect *d = ctx;
    if (!st) {
        note_path(d, MS_E_IO, path, strerror(errnum));
        return MS_OK;
    }
    return add_path(d, path, true, err);
}

/* A hash that no file is called. */
static bool is_hash(const char *text)
{
    size_t n = strlen(text);
    struct stat st;
    return (n == 64 || n == 40 || n == 32) && strspn(text, "0123456789abcdefABCDEF") == n &&
           stat(text, &st) != 0;
}

static enum ms_status find_paths(struct detect *d, struct ms_error *err)
{
    enum ms_status status = d->cli->operand_count ? MS_OK : add_path(d, "-", false, err);
    d->hashes = calloc(d->cli->operand_count + 1, sizeof *d->hashes);
    if (!d->hashes)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the paths");
    for (size_t i = 0; i < d->cli->operand_count && status == MS_OK; i++) {
        const char *path = d->cli->operands[i];
        struct stat st;
        if (is_hash(path))
            d->hashes[d->hash_count++] = path;
        else if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            status = ms_file_walk(path, visit, d, err);
        else
            status = add_path(d, path, false, err);
    }
    return status;
}

static enum ms_status judge_stored(void *ctx, const char *name, const struct ms_read_trace *trace,
                                   struct ms_error *err)
{
    return judge(ctx, name, trace, err);
}

/* The samples of a corpus, after the files. */
static enum ms_status judge_hashes(struct detect *d, struct ms_error *err)
{
    struct ms_corpus_traces *traces = NULL;
    enum ms_status status = d->hash_count
                                ? ms_corpus_traces_open(d->cli->common.corpus,
                                                        ms_model_facts_get(d->model), &traces, err)
                                : MS_OK;
    for (size_t i = 0; i < d->hash_count && status == MS_OK; i++) {
        struct ms_error fault = {.status = MS_OK};
        status = ms_corpus_traces_read(traces, d->hashes[i], judge_stored, d, &fault);
        if (status == MS_REJECT) {
            note_path(d, MS_E_INPUT, d->hashes[i], fault.text);
            status = MS_OK;
        } else if (status != MS_OK && err) {
            *err = fault;
        }
    }
    ms_corpus_traces_close(traces);
    return status;
}

static enum ms_status judge_all(struct detect *d, struct ms_trace_readers *readers,
                                struct ms_error *err)
{
    const struct ms_trace_reading *reading;
    enum ms_status status = MS_OK;
    uint64_t done = 0; /* paths */
    ms_progress_begin("reading reports", d->path_count, "reports");
    while (status == MS_OK && (reading = ms_trace_readers_next(readers)) != NULL) {
        if (reading->open_errno)
            note_path(d, reading->open_errno == ENOENT ? MS_E_INPUT : MS_E_IO, reading->path,
                      strerror(reading->open_errno));
        else if (reading->status == MS_E_IO)
            note_path(d, MS_E_IO, reading->path, reading->error.text);
        else if (reading->status == MS_OK && is_passed_over(d, done, reading))
            d->passed_over++;
        else if (reading->status == MS_OK)
            status = judge(d, reading->path, reading->trace, err);
        else
            status = ms_error_set(err, reading->status, "%s", reading->error.text);
        done += reading->last;
        ms_progress_update(done);
    }
    ms_progress_end();
    return status;
}

/* The model's band of doubt, unless the user has another. */
static enum ms_status parse_unknown(const char *text, struct ms_judge *out, struct ms_error *err)
{
    const struct ms_model_facts *facts = ms_model_facts_get(out->model);
    out->unknown_from = facts->unknown_from;
    out->unknown_to = facts->unknown_to;
    if (!text)
        return MS_OK;
    out->unknown_from = out->unknown_to = 0;
    if (strcmp(text, "none") == 0 || ms_doubt_parse(text, &out->unknown_from, &out->unknown_to))
        return MS_OK;
    return ms_error_set(err, MS_E_USAGE,
                        "--unknown takes none or two scores, FROM:TO, the first below the second");
}

/* What the user wants to know, of the command line. */
static enum ms_status make_judge(const struct ms_cli *cli, struct ms_model *model,
                                 struct ms_judge *out, struct ms_error *err)
{
    const struct ms_detect_options *o = cli->options;
    const struct ms_model_facts *facts = ms_model_facts_get(model);
    const bool kinds = strcmp(facts->target, "class") == 0;
    *out = (struct ms_judge){.model = model,
                             .min_calls = o->min_calls ? o->min_calls : facts->min_calls,
                             .threshold = isnan(o->threshold) ? facts->threshold : o->threshold,
                             .early = (cli->common.json && !o->fast) || o->early || o->explain};
    if ((cli->common.json && !o->fast) || o->explain)
        out->top = (size_t)o->top;
    if (kinds && !isnan(o->threshold))
        return ms_error_set(err, MS_E_USAGE,
                            "--threshold does not apply: this model tells %u classes apart",
                            facts->classes);
    if (kinds)
        ms_log(MS_LOG_WARNING, "this model tells classes of malware apart and knows nothing of "
                               "benign programs: its verdicts are no detections");
    return parse_unknown(o->unknown, out, err);
}

/* Behind the header, and what the user wants to know of it. */
static enum ms_status read_model(struct detect *d, struct ms_error *err)
{
    struct ms_model_file *file = d->file;
    d->file = NULL;
    enum ms_status status = ms_model_file_finish(file, 1, &d->model, err);
    return status == MS_OK ? make_judge(d->cli, d->model, &d->judge, err) : status;
}

/* The reports are read while the model is: of that, they need but the normalisation, which is in
 * its header. */
static enum ms_status judge_files(struct detect *d, struct ms_error *err)
{
    struct ms_trace_readers *readers = NULL;
    enum ms_status status = MS_OK;
    const struct ms_normal_options view = ms_model_file_facts(d->file)->view;
    if (d->path_count)
        status = ms_trace_readers_new(d->worker, &view, (const char *const *)d->paths,
                                      d->path_count, (unsigned)d->cli->common.jobs, &readers, err);
    if (status == MS_OK)
        status = read_model(d, err);
    if (status != MS_OK && readers)
        ms_worker_kill(d->worker); /* nobody waits for reports that will not be judged */
    if (status == MS_OK && readers)
        status = judge_all(d, readers, err);
    ms_trace_readers_free(readers);
    return status;
}

static enum ms_status detect_all(struct detect *d, struct ms_error *err)
{
    enum ms_status status = find_paths(d, err);
    if (status == MS_OK)
        status = judge_files(d, err);
    if (status == MS_OK)
        status = judge_hashes(d, err);
    if (status != MS_OK)
        return status;
    ms_log(MS_LOG_INFO, "%llu reports: %llu malicious, %llu unknown",
           (unsigned long long)d->reports, (unsigned long long)d->malicious,
           (unsigned long long)d->unknown);
    if (d->passed_over)
        ms_log(MS_LOG_INFO, "%llu other files were passed over",
               (unsigned long long)d->passed_over);
    if (d->malicious)
        return MS_REJECT;
    if (d->path_status != MS_OK)
        return ms_error_set(err, d->path_status, "not every path could be read; see above");
    return MS_OK;
}

static enum ms_status prepare(struct detect *d, struct ms_error *err)
{
    const struct ms_detect_options *o = d->cli->options;
    if (!o->model)
        return ms_error_set(err, MS_E_USAGE, "--model PATH is needed: a model file or its folder");
    if (o->fast && (o->explain || o->early))
        return ms_error_set(err, MS_E_USAGE, "--fast leaves out what --explain and --early tell");
    static struct ms_worker_kind kinds[3]; /* outlives the worker */
    kinds[0] = ms_detect_kind;
    kinds[1] = ms_detect_plain_kind;
    kinds[2] = ms_detect_follow_kind;
    const struct ms_worker_options worker = {
        .kinds = kinds, .kind_count = 3, .no_confine = d->cli->common.no_confine};
    enum ms_status status = ms_worker_start(&worker, &d->worker, err);
    return status == MS_OK ? ms_model_file_open(o->model, &d->file, err) : status;
}

enum ms_status ms_detect_run(struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_detect_options *o = cli->options;
    struct detect d = {.cli = cli};
    ms_arena_init(&d.arena, SIZE_MAX / 2);
    enum ms_status status = prepare(&d, err);
    if (status == MS_OK && o->follow) {
        status = read_model(&d, err);
        if (status == MS_OK)
            status = ms_detect_follow(cli, d.worker, &d.judge, err);
    } else if (status == MS_OK) {
        status = detect_all(&d, err);
    }
    ms_arena_release(&d.arena);
    free(d.paths);
    free(d.found);
    free(d.hashes);
    ms_judge_release(&d.judge);
    ms_model_file_close(d.file);
    ms_model_free(d.model);
    ms_worker_stop(d.worker);
    return status;
}
