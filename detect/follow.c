/* Answers about a growing log to verdict lines. */
#include "detect/follow.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/stop.h"
#include "detect/command.h"
#include "detect/follow_source.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct follow {
    const struct ms_detect_options *options;
    struct ms_judge *judge;
    struct ms_follow_source *source;
    const char *path;
    struct ms_judgement_style style;
    struct ms_read_trace trace;
    struct ms_judgement judgement;
    bool final;                /* the answer to come is the log's last */
    bool shown;                /* a line of this log was printed … */
    enum ms_verdict_kind kind; /* … with this verdict */
    double score;
    bool malicious; /* a final verdict was */
    bool ended;     /* the present log had its final line, and nothing came since */
};

static bool is_worth_a_line(const struct follow *self)
{
    const struct ms_verdict *v = &self->judgement.verdict;
    if (self->final || self->options->every)
        return true;
    if (!self->shown)
        return v->kind != MS_VERDICT_UNKNOWN;
    return v->kind != self->kind || (isfinite(v->score) && isfinite(self->score) &&
                                     fabs(v->score - self->score) >= MS_FOLLOW_STEP);
}

static enum ms_status print(struct follow *self, struct ms_error *err)
{
    const struct ms_verdict *v = &self->judgement.verdict;
    self->shown = true;
    self->kind = v->kind;
    self->score = v->score;
    self->style.last = &self->final;
    enum ms_status status =
        ms_judgement_print(&self->judgement, &self->trace,
                           ms_span_of(self->path, strlen(self->path)), &self->style, stdout, err);
    if (status == MS_OK && fflush(stdout) != 0)
        status = ms_error_set(err, MS_E_IO, "cannot write a verdict");
    return status;
}

/* Reasons are only looked for where they are printed. */
static enum ms_status judge_answer(struct follow *self, struct ms_error *err)
{
    struct ms_judge *judge = self->judge;
    const size_t top = judge->top;
    const bool early = judge->early;
    judge->top = 0;
    judge->early = false;
    enum ms_status status = ms_judge_trace(judge, &self->trace, &self->judgement, err);
    judge->top = top;
    judge->early = early;
    if (status != MS_OK || !is_worth_a_line(self))
        return status;
    if (top || early)
        status = ms_judge_trace(judge, &self->trace, &self->judgement, err);
    if (status == MS_OK)
        status = print(self, err);
    if (self->final) {
        self->malicious = self->malicious || self->kind == MS_VERDICT_MALICIOUS;
        self->shown = self->final = false;
        self->ended = true;
    }
    return status;
}

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct follow *self = ctx;
    const struct ms_normal_options *view = &ms_model_facts_get(self->judge->model)->view;
    self->ended = false;
    if (type == MS_READER_FINAL && !self->final && !bytes.len) {
        self->final = true;
        return MS_OK;
    }
    enum ms_status status = type == MS_READER_MEMBER
                                ? ms_error_set(err, MS_REJECT, "the worker's answer is malformed")
                                : ms_read_trace_take(&self->trace, view, type, bytes, err);
    if (status != MS_OK || !self->trace.complete)
        return status;
    status = judge_answer(self, err);
    ms_read_trace_reset(&self->trace);
    ms_follow_source_answered(self->source);
    return status;
}

/* The worker ended before the log did: that is how the log ends. */
static enum ms_status end_badly(struct follow *self, const char *why, struct ms_error *err)
{
    ms_read_trace_reset(&self->trace);
    (void)ms_escape_text(why, self->trace.reason, sizeof self->trace.reason);
    self->final = true;
    return judge_answer(self, err);
}

static enum ms_status run_worker(struct follow *self, struct ms_worker *worker,
                                 struct ms_error *err)
{
    char text[MS_NORMAL_TEXT_BYTES], arg[MS_NORMAL_TEXT_BYTES + 24];
    const struct ms_worker_limits limits = {.cpu_s = MS_LIMIT_FOLLOW_CPU_S,
                                            .wall_ms = MS_LIMIT_FOLLOW_WALL_MS,
                                            .output_bytes = UINT64_MAX / 2};
    struct ms_worker_result result = {.end = MS_WORKER_DONE};
    struct ms_error fault = {.status = MS_OK};
    ms_normal_options_text(&ms_model_facts_get(self->judge->model)->view, text);
    int n = snprintf(arg, sizeof arg, "%s\n%" PRIu64, text, self->options->every);
    enum ms_status status =
        ms_worker_run(worker, ms_detect_follow_kind.name, ms_follow_source_fd(self->source),
                      ms_span_of(arg, (size_t)n), &limits, on_frame, self, &result, &fault);
    if (status == MS_OK && (result.end != MS_WORKER_DONE || result.status != MS_OK)) {
        status = MS_REJECT;
        fault = result.error;
    } else if (status == MS_OK && !self->ended) {
        status = ms_error_set(&fault, MS_REJECT, "the worker's answer is malformed");
    }
    if (status == MS_REJECT)
        return end_badly(self, fault.text, err);
    if (status != MS_OK && err)
        *err = fault;
    return status;
}

enum ms_status ms_detect_follow(const struct ms_cli *cli, struct ms_worker *worker,
                                struct ms_judge *judge, struct ms_error *err)
{
    const struct ms_detect_options *o = cli->options;
    struct follow self = {.options = o, .judge = judge};
    if (cli->operand_count > 1)
        return ms_error_set(err, MS_E_USAGE, "--follow takes one log");
    self.path = cli->operand_count ? cli->operands[0] : "-";
    self.style =
        (struct ms_judgement_style){.json = cli->common.json, .early = o->early || o->explain};
    enum ms_status status =
        ms_follow_source_open(self.path, (int64_t)o->until_s * 1000, !o->every, &self.source, err);
    if (status != MS_OK)
        return status;
    ms_read_trace_init(&self.trace);
    ms_stop_watch();
    status = ms_follow_source_start(self.source, err);
    if (status == MS_OK)
        status = run_worker(&self, worker, err);
    struct ms_error fault = {.status = MS_OK};
    enum ms_status ended = ms_follow_source_close(self.source, &fault);
    ms_stop_forget(); /* how following ends; the final line is out */
    ms_read_trace_release(&self.trace);
    if (status == MS_OK && ended != MS_OK) {
        if (err)
            *err = fault;
        return ended;
    }
    return status == MS_OK && self.malicious ? MS_REJECT : status;
}
