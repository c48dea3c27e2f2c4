/* libmalseq-detect: models, traces and verdicts behind a C interface that stays. Judges nothing by
 * itself: calls take the way that a followed log's take, without a worker. */
#include "malseq/detect.h"

#include "base/log.h"
#include "detect/collector.h"
#include "detect/judge.h"
#include "extract/report/interleave.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What the first header of soname 0 knows of: up to the end of `reason`. */
enum {
    VERDICT_LEAST_BYTES =
        offsetof(struct malseq_verdict, reason) + sizeof(((struct malseq_verdict *)0)->reason)
};

struct malseq_model {
    struct ms_model *model;
    pthread_mutex_t turn; /* a model keeps what it computes with */
    locale_t plain;       /* in which numbers of model files and reasons are written */
};

struct malseq_trace {
    struct malseq_model *model; /* borrowed */
    struct ms_interleave *calls;
    struct ms_read_trace view;
    struct ms_judge judge;
};

/* ---- errors ---- */

static int code_of(enum ms_status status)
{
    switch (status) {
    case MS_OK:
        return MALSEQ_OK;
    case MS_E_USAGE:
        return MALSEQ_E_USAGE;
    case MS_E_INPUT:
    case MS_E_IO:
        return MALSEQ_E_MODEL;
    case MS_E_NOMEM:
        return MALSEQ_E_MEMORY;
    case MS_REJECT:
    case MS_E_LIMIT:
        return MALSEQ_E_LIMIT;
    default:
        return MALSEQ_E_BUG;
    }
}

static int fail(struct malseq_error *err, enum ms_status status, const char *text)
{
    if (err) {
        size_t n = strnlen(text, sizeof err->text - 1);
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80) /* within a letter */
            n--;
        err->code = code_of(status);
        memcpy(err->text, text, n);
        err->text[n] = '\0';
    }
    return code_of(status);
}

static int wrong(struct malseq_error *err, const char *text)
{
    return fail(err, MS_E_USAGE, text);
}

const char *malseq_detect_version(void)
{
    return MS_VERSION;
}

/* ---- models ---- */

static enum ms_status load(const char *path, struct ms_model **out, struct ms_error *err)
{
    struct ms_model_file *file;
    enum ms_status status = ms_model_file_open(path, &file, err);
    if (status != MS_OK)
        return status;
    const enum ms_lack lack = ms_judge_lack(ms_model_file_facts(file), false, false);
    if (lack == MS_LACK_NOTHING)
        return ms_model_file_finish(file, 1, out, err);
    ms_model_file_close(file);
    return ms_error_set(err, MS_E_INPUT, "%s",
                        lack == MS_LACK_OPCODES
                            ? "the model reads opcodes, not calls"
                            : "the model also reads static features of files, which calls do not "
                              "have");
}

/* A host may write its numbers with a comma; that is its own thread's business. */
static struct malseq_model *new_model(void)
{
    struct malseq_model *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (self->plain && pthread_mutex_init(&self->turn, NULL) == 0)
        return self;
    if (self->plain)
        freelocale(self->plain);
    free(self);
    return NULL;
}

int malseq_model_open(const char *path, struct malseq_model **out, struct malseq_error *err)
{
    struct ms_error why = {.status = MS_OK};
    if (!path || !out)
        return wrong(err, "malseq_model_open: no path, or no place for the model");
    struct malseq_model *self = new_model();
    if (!self)
        return fail(err, MS_E_NOMEM, "out of memory for a model");
    const locale_t host = uselocale(self->plain);
    enum ms_status status = load(path, &self->model, &why);
    (void)uselocale(host);
    if (status == MS_OK)
        *out = self;
    else
        malseq_model_close(self);
    return status == MS_OK ? MALSEQ_OK : fail(err, status, why.text);
}

void malseq_model_close(struct malseq_model *self)
{
    if (!self)
        return;
    ms_model_free(self->model);
    (void)pthread_mutex_destroy(&self->turn);
    freelocale(self->plain);
    free(self);
}

static const struct ms_model_facts *facts_of(const struct malseq_model *self)
{
    return ms_model_facts_get(self->model);
}

const char *malseq_model_target(const struct malseq_model *self)
{
    return facts_of(self)->target;
}

uint32_t malseq_model_class_count(const struct malseq_model *self)
{
    return facts_of(self)->classes;
}

const char *malseq_model_class_name(const struct malseq_model *self, uint32_t at)
{
    return at < facts_of(self)->classes ? facts_of(self)->class_names[at] : NULL;
}

double malseq_model_threshold(const struct malseq_model *self)
{
    return facts_of(self)->threshold;
}

uint64_t malseq_model_min_calls(const struct malseq_model *self)
{
    return facts_of(self)->min_calls;
}

/* ---- traces ---- */

int malseq_trace_new(struct malseq_model *model, struct malseq_trace **out,
                     struct malseq_error *err)
{
    struct ms_error why = {.status = MS_OK};
    if (!model || !out)
        return wrong(err, "malseq_trace_new: no model, or no place for the trace");
    struct malseq_trace *self = calloc(1, sizeof *self);
    if (!self)
        return fail(err, MS_E_NOMEM, "out of memory for a trace");
    const struct ms_model_facts *facts = facts_of(model);
    ms_read_trace_init(&self->view);
    self->model = model;
    self->judge = (struct ms_judge){.model = model->model,
                                    .min_calls = facts->min_calls,
                                    .threshold = facts->threshold,
                                    .unknown_from = facts->unknown_from,
                                    .unknown_to = facts->unknown_to};
    enum ms_status status = ms_interleave_new(&self->calls, &why);
    if (status != MS_OK) {
        malseq_trace_free(self);
        return fail(err, status, why.text);
    }
    *out = self;
    return MALSEQ_OK;
}

void malseq_trace_free(struct malseq_trace *self)
{
    if (!self)
        return;
    ms_interleave_free(self->calls);
    ms_read_trace_release(&self->view);
    ms_judge_release(&self->judge);
    free(self);
}

int malseq_trace_clear(struct malseq_trace *self, struct malseq_error *err)
{
    struct ms_error why = {.status = MS_OK};
    if (!self)
        return wrong(err, "malseq_trace_clear: no trace");
    enum ms_status status = ms_interleave_clear(self->calls, &why);
    return status == MS_OK ? MALSEQ_OK : fail(err, status, why.text);
}

int malseq_trace_add(struct malseq_trace *self, uint64_t pid, const char *name, int64_t time_us,
                     struct malseq_error *err)
{
    struct ms_error why = {.status = MS_OK};
    if (!self || !name)
        return wrong(err, "malseq_trace_add: no trace, or no name");
    const struct ms_process_info process = {.pid = pid, .first_seen_us = time_us, .tracked = true};
    const struct ms_call_info call = {.api = ms_span_of(name, strlen(name)),
                                      .space = MS_API_CALL,
                                      .tid = MS_TID_NONE,
                                      .time_us = time_us};
    enum ms_status status = ms_interleave_add(self->calls, &process, &call, &why);
    return status == MS_OK ? MALSEQ_OK : fail(err, status, why.text);
}

uint64_t malseq_trace_calls(const struct malseq_trace *self)
{
    return ms_interleave_calls(self->calls);
}

/* ---- verdicts ---- */

static enum ms_status take_frame(void *ctx, enum ms_reader_frame type, struct ms_span bytes,
                                 struct ms_error *err)
{
    struct malseq_trace *self = ctx;
    return ms_read_trace_take(&self->view, &facts_of(self->model)->view, (uint32_t)type, bytes,
                              err);
}

static enum ms_status send_calls(struct malseq_trace *self, struct ms_error *err)
{
    struct ms_collector *collector = NULL;
    enum ms_status status = ms_collector_new(&facts_of(self->model)->view, false, &collector, err);
    if (status == MS_OK) {
        const struct ms_trace_sink sink = ms_collector_sink(collector);
        status = ms_interleave_emit(self->calls, MS_API_CALL, &sink, err);
    }
    if (status == MS_OK)
        status = ms_collector_send(collector, take_frame, self, err);
    ms_collector_free(collector);
    return status;
}

/* Calls that make no sequence are no error: the verdict says so, as on a report of them. */
static enum ms_status make_view(struct malseq_trace *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    ms_read_trace_reset(&self->view);
    if (ms_interleave_calls(self->calls) == 0)
        return ms_frames_send_result(MS_REPORT_NO_CALLS, MS_FOREIGN_NO, 0, "", take_frame, self,
                                     err);
    status = send_calls(self, err);
    if (status != MS_REJECT && status != MS_E_LIMIT)
        return status;
    ms_read_trace_reset(&self->view);
    return ms_frames_send_result(MS_REPORT_INVALID, MS_FOREIGN_NO, 0, err->text, take_frame, self,
                                 err);
}

/* The enums are the same but for their names. */
_Static_assert((int)MALSEQ_UNKNOWN == (int)MS_VERDICT_UNKNOWN &&
                   (int)MALSEQ_MALICIOUS == (int)MS_VERDICT_MALICIOUS &&
                   (int)MALSEQ_BENIGN == (int)MS_VERDICT_BENIGN &&
                   (int)MALSEQ_OTHER == (int)MS_VERDICT_OTHER &&
                   (int)MALSEQ_CLASSIFIED == (int)MS_VERDICT_CLASSIFIED,
               "a verdict's kind is given out as it is");

const char *malseq_verdict_name(int32_t kind)
{
    return kind >= MALSEQ_UNKNOWN && kind <= MALSEQ_CLASSIFIED
               ? ms_verdict_name((enum ms_verdict_kind)kind)
               : NULL;
}

/* As much of it as the caller knows of. */
static void give(const struct ms_verdict *verdict, struct malseq_verdict *out)
{
    const size_t size = out->size;
    struct malseq_verdict whole;
    memset(&whole, 0, sizeof whole);
    whole.size = size;
    whole.kind = (int32_t)verdict->kind;
    whole.score = verdict->score;
    whole.label = verdict->class_;
    whole.calls = verdict->calls;
    whole.tokens = verdict->tokens;
    (void)snprintf(whole.reason, sizeof whole.reason, "%s", verdict->reason);
    memcpy(out, &whole, size < sizeof whole ? size : sizeof whole);
}

int malseq_trace_verdict(struct malseq_trace *self, struct malseq_verdict *out,
                         struct malseq_error *err)
{
    struct ms_error why = {.status = MS_OK};
    struct ms_judgement judgement;
    if (!self || !out || out->size < VERDICT_LEAST_BYTES)
        return wrong(err, "malseq_trace_verdict: no trace, or no MALSEQ_VERDICT_INIT");
    const locale_t host = uselocale(self->model->plain);
    enum ms_status status = make_view(self, &why);
    if (status == MS_OK) {
        (void)pthread_mutex_lock(&self->model->turn);
        status = ms_judge_trace(&self->judge, &self->view, &judgement, &why);
        (void)pthread_mutex_unlock(&self->model->turn);
    }
    (void)uselocale(host);
    if (status != MS_OK)
        return fail(err, status, why.text);
    give(&judgement.verdict, out);
    return MALSEQ_OK;
}
