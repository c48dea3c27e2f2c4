/* Finds the reports, has them read, asks the model, prints a line for each. */
#include "detect/command.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "detect/readers.h"
#include "detect/verdict.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct detect {
    const struct ms_cli *cli;
    struct ms_worker *worker;
    struct ms_model *model;
    uint64_t min_calls;
    double threshold;
    struct ms_arena arena; /* of the paths */
    const char **paths;    /* reports to read, in order … */
    bool *found;           /* … and which of them were found in a folder, not named by the user */
    size_t path_count, path_cap;
    struct ms_tokens tokens;
    uint64_t reports, malicious, unknown, passed_over;
    enum ms_status path_status; /* trouble with a path; MS_OK none */
};

void ms_detect_defaults(void *options)
{
    *(struct ms_detect_options *)options = (struct ms_detect_options){.threshold = NAN};
}

/* The path, and of an archive's reports the member behind it. */
static enum ms_status name_of(const struct ms_trace_reading *reading, struct ms_buf *out,
                              struct ms_error *err)
{
    const struct ms_span member = reading->trace->member;
    (void)ms_buf_append_text(out, reading->path);
    if (member.len) {
        (void)ms_buf_append_byte(out, '!');
        (void)ms_buf_append(out, member.data, member.len);
    }
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory for a name") : MS_OK;
}

static enum ms_status print_json(const struct ms_buf *name, const struct ms_trace_reading *reading,
                                 const struct ms_verdict *v, struct ms_error *err)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "file", ms_json_bytes(name->data, name->len));
    (void)json_object_set_new(o, "verdict", json_string(ms_verdict_name(v->kind)));
    (void)json_object_set_new(o, "score", isfinite(v->score) ? json_real(v->score) : json_null());
    (void)json_object_set_new(o, "class", ms_json_text(v->class_));
    (void)json_object_set_new(o, "calls", json_integer((json_int_t)v->calls));
    (void)json_object_set_new(o, "tokens", json_integer((json_int_t)v->tokens));
    (void)json_object_set_new(o, "state", json_string(ms_report_state_name(reading->trace->state)));
    (void)json_object_set_new(o, "reason", ms_json_text(v->reason[0] ? v->reason : NULL));
    return ms_json_line(stdout, o, err);
}

static enum ms_status print_line(const struct detect *d, const struct ms_trace_reading *reading,
                                 const struct ms_verdict *v, struct ms_error *err)
{
    char shown[4096], class_[256];
    struct ms_buf name;
    ms_buf_init(&name, SIZE_MAX / 2);
    enum ms_status status = name_of(reading, &name, err);
    if (status == MS_OK && d->cli->common.json)
        status = print_json(&name, reading, v, err);
    else if (status == MS_OK)
        (void)printf("%s\t%s\t", ms_escape_bytes(name.data, name.len, shown, sizeof shown),
                     ms_verdict_name(v->kind));
    ms_buf_release(&name);
    if (status != MS_OK || d->cli->common.json)
        return status;
    if (v->kind == MS_VERDICT_UNKNOWN)
        (void)printf("-\t%s\n", v->reason);
    else if (v->kind == MS_VERDICT_CLASSIFIED)
        (void)printf("%.4f\t%s %.4f\n", v->score, ms_escape_text(v->class_, class_, sizeof class_),
                     v->score);
    else
        (void)printf("%.4f\n", v->score);
    return MS_OK;
}

static enum ms_status judge(struct detect *d, const struct ms_trace_reading *reading,
                            struct ms_error *err)
{
    const struct ms_read_trace *trace = reading->trace;
    struct ms_verdict v = {.kind = MS_VERDICT_UNKNOWN, .score = NAN};
    enum ms_status status = MS_OK;
    if (trace->state == MS_REPORT_OK)
        status = ms_verdict_make(d->model, trace->calls, trace->n, trace->whole_length,
                                 d->min_calls, d->threshold, &d->tokens, &v, err);
    else
        (void)snprintf(v.reason, sizeof v.reason, "%s%s%.120s", ms_report_state_name(trace->state),
                       trace->reason[0] ? ": " : "", trace->reason);
    if (status != MS_OK)
        return status;
    d->reports++;
    d->malicious += v.kind == MS_VERDICT_MALICIOUS;
    d->unknown += v.kind == MS_VERDICT_UNKNOWN;
    return print_line(d, reading, &v, err);
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

static enum ms_status find_paths(struct detect *d, struct ms_error *err)
{
    enum ms_status status = d->cli->operand_count ? MS_OK : add_path(d, "-", false, err);
    for (size_t i = 0; i < d->cli->operand_count && status == MS_OK; i++) {
        const char *path = d->cli->operands[i];
        struct stat st;
        if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            status = ms_file_walk(path, visit, d, err);
        else
            status = add_path(d, path, false, err);
    }
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
            status = judge(d, reading, err);
        else
            status = ms_error_set(err, reading->status, "%s", reading->error.text);
        done += reading->last;
        ms_progress_update(done);
    }
    ms_progress_end();
    return status;
}

static enum ms_status detect_all(struct detect *d, struct ms_error *err)
{
    struct ms_trace_readers *readers = NULL;
    enum ms_status status = find_paths(d, err);
    if (status == MS_OK)
        status = ms_trace_readers_new(d->worker, &ms_model_facts_get(d->model)->view,
                                      (const char *const *)d->paths, d->path_count,
                                      (unsigned)d->cli->common.jobs, &readers, err);
    if (status == MS_OK)
        status = judge_all(d, readers, err);
    ms_trace_readers_free(readers);
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
    const struct ms_worker_options worker = {
        .kinds = &ms_detect_kind, .kind_count = 1, .no_confine = d->cli->common.no_confine};
    enum ms_status status = ms_worker_start(&worker, &d->worker, err);
    if (status == MS_OK)
        status = ms_model_open(o->model, 1, &d->model, err);
    if (status != MS_OK)
        return status;
    const struct ms_model_facts *facts = ms_model_facts_get(d->model);
    d->min_calls = o->min_calls ? o->min_calls : facts->min_calls;
    d->threshold = isnan(o->threshold) ? facts->threshold : o->threshold;
    if (!isnan(o->threshold) && strcmp(facts->target, "class") == 0)
        return ms_error_set(err, MS_E_USAGE,
                            "--threshold does not apply: this model tells %u classes apart",
                            facts->classes);
    if (strcmp(facts->target, "class") == 0)
        ms_log(MS_LOG_WARNING, "this model tells classes of malware apart and knows nothing of "
                               "benign programs: its verdicts are no detections");
    return MS_OK;
}

enum ms_status ms_detect_run(struct ms_cli *cli, struct ms_error *err)
{
    struct detect d = {.cli = cli};
    ms_arena_init(&d.arena, SIZE_MAX / 2);
    enum ms_status status = prepare(&d, err);
    if (status == MS_OK)
        status = detect_all(&d, err);
    ms_arena_release(&d.arena);
    free(d.paths);
    free(d.found);
    ms_tokens_release(&d.tokens);
    ms_model_free(d.model);
    ms_worker_stop(d.worker);
    return status;
}
