/* Walks the operands, reads each report in the worker, asks the model, prints a line. */
#include "detect/command.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "detect/reader.h"
#include "detect/verdict.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct detect {
    const struct ms_cli *cli;
    struct ms_worker *worker;
    struct ms_model *model;
    uint64_t min_calls;
    double threshold;
    struct ms_read_trace trace;
    struct ms_tokens tokens;
    uint64_t reports, malicious, unknown;
    enum ms_status path_status; /* trouble with a path; MS_OK none */
};

void ms_detect_defaults(void *options)
{
    *(struct ms_detect_options *)options = (struct ms_detect_options){.threshold = NAN};
}

static enum ms_status print_json(const struct detect *d, const char *path,
                                 const struct ms_verdict *v, struct ms_error *err)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "file", ms_json_text(path));
    (void)json_object_set_new(o, "verdict", json_string(ms_verdict_name(v->kind)));
    (void)json_object_set_new(o, "score", isfinite(v->score) ? json_real(v->score) : json_null());
    (void)json_object_set_new(o, "class", ms_json_text(v->class_));
    (void)json_object_set_new(o, "calls", json_integer((json_int_t)v->calls));
    (void)json_object_set_new(o, "tokens", json_integer((json_int_t)v->tokens));
    (void)json_object_set_new(o, "state", json_string(ms_report_state_name(d->trace.state)));
    (void)json_object_set_new(o, "reason", ms_json_text(v->reason[0] ? v->reason : NULL));
    return ms_json_line(stdout, o, err);
}

static enum ms_status print_line(const struct detect *d, const char *path,
                                 const struct ms_verdict *v, struct ms_error *err)
{
    char name[4096], class_[256];
    if (d->cli->common.json)
        return print_json(d, path, v, err);
    (void)printf("%s\t%s\t", ms_escape_text(path, name, sizeof name), ms_verdict_name(v->kind));
    if (v->kind == MS_VERDICT_UNKNOWN)
        (void)printf("-\t%s\n", v->reason);
    else if (v->kind == MS_VERDICT_CLASSIFIED)
        (void)printf("%.4f\t%s %.4f\n", v->score, ms_escape_text(v->class_, class_, sizeof class_),
                     v->score);
    else
        (void)printf("%.4f\n", v->score);
    return MS_OK;
}

static enum ms_status judge(struct detect *d, const char *path, int fd, struct ms_error *err)
{
    const struct ms_model_facts *facts = ms_model_facts_get(d->model);
    struct ms_verdict v = {.kind = MS_VERDICT_UNKNOWN, .score = NAN};
    enum ms_status status = ms_read_trace_get(d->worker, fd, &facts->view, &d->trace, err);
    if (status != MS_OK)
        return status;
    if (d->trace.state == MS_REPORT_OK)
        status = ms_verdict_make(d->model, d->trace.calls, d->trace.n, d->trace.whole_length,
                                 d->min_calls, d->threshold, &d->tokens, &v, err);
    else
        (void)snprintf(v.reason, sizeof v.reason, "%s%s%.120s",
                       ms_report_state_name(d->trace.state), d->trace.reason[0] ? ": " : "",
                       d->trace.reason);
    if (status != MS_OK)
        return status;
    d->reports++;
    d->malicious += v.kind == MS_VERDICT_MALICIOUS;
    d->unknown += v.kind == MS_VERDICT_UNKNOWN;
    return print_line(d, path, &v, err);
}

static void note_path(struct detect *d, enum ms_status status, const char *path, const char *why)
{
    char name[1024];
    ms_log(MS_LOG_ERROR, "cannot read '%s': %s", ms_escape_text(path, name, sizeof name), why);
    if (d->path_status != MS_E_IO)
        d->path_status = status;
}

static enum ms_status detect_file(struct detect *d, const char *path, struct ms_error *err)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        note_path(d, errno == ENOENT ? MS_E_INPUT : MS_E_IO, path, strerror(errno));
        return MS_OK;
    }
    struct ms_error fault = {0};
    enum ms_status status = judge(d, path, fd, &fault);
    if (!standard)
        (void)close(fd);
    if (status == MS_E_IO && !ferror(stdout)) {
        note_path(d, MS_E_IO, path, fault.text);
        status = MS_OK;
    } else if (status != MS_OK && err) {
        *err = fault;
    }
    ms_progress_update(d->reports);
    return status;
}

static bool is_report_name(const char *path)
{
    static const char *const ends[] = {".json", ".gz", ".zst"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t k = strlen(ends[i]);
        if (n >= k && strcmp(path + n - k, ends[i]) == 0)
            return true;
    }
    return false;
}

/* Inside folders only what is named like a report is read, as extract import does. */
static enum ms_status visit(void *ctx, const char *path, const struct stat *st, int errnum,
                            struct ms_error *err)
{
    struct detect *d = ctx;
    if (!st) {
        note_path(d, MS_E_IO, path, strerror(errnum));
        return MS_OK;
    }
    return is_report_name(path) ? detect_file(d, path, err) : MS_OK;
}

static enum ms_status detect_path(struct detect *d, const char *path, struct ms_error *err)
{
    struct stat st;
    if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return ms_file_walk(path, visit, d, err);
    return detect_file(d, path, err);
}

static enum ms_status detect_all(struct detect *d, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    static const char *const standard[] = {"-"};
    size_t count = d->cli->operand_count ? d->cli->operand_count : 1;
    const char *const *paths =
        d->cli->operand_count ? (const char *const *)d->cli->operands : standard;
    ms_progress_begin("reading reports", 0, "reports");
    for (size_t i = 0; i < count && status == MS_OK; i++)
        status = detect_path(d, paths[i], err);
    ms_progress_end();
    if (status != MS_OK)
        return status;
    ms_log(MS_LOG_INFO, "%llu reports: %llu malicious, %llu unknown",
           (unsigned long long)d->reports, (unsigned long long)d->malicious,
           (unsigned long long)d->unknown);
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
    ms_read_trace_init(&d.trace);
    enum ms_status status = prepare(&d, err);
    if (status == MS_OK)
        status = detect_all(&d, err);
    ms_read_trace_release(&d.trace);
    ms_tokens_release(&d.tokens);
    ms_model_free(d.model);
    ms_worker_stop(d.worker);
    return status;
}
