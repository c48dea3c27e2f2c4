/* The verdict on one trace, and its lines. */
#include "detect/judge.h"

#include "base/json.h"
#include "base/log.h"
#include "detect/trace_input.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void ms_judge_release(struct ms_judge *self)
{
    ms_input_row_release(&self->row);
}

/* The class whose score the verdict gives. */
static uint32_t class_of(const struct ms_model_facts *facts, const struct ms_verdict *verdict)
{
    if (verdict->kind != MS_VERDICT_CLASSIFIED)
        return 0;
    for (uint32_t i = 0; i < facts->classes; i++)
        if (facts->class_names[i] == verdict->class_)
            return i;
    return 0;
}

static bool in_band(const struct ms_judge *self, const struct ms_verdict *verdict)
{
    return verdict->kind != MS_VERDICT_UNKNOWN && verdict->sure >= self->unknown_from &&
           verdict->sure < self->unknown_to;
}

enum ms_lack ms_judge_lack(const struct ms_model_facts *facts, bool opcodes, bool statics)
{
    if (facts->opcodes != opcodes)
        return facts->opcodes ? MS_LACK_OPCODES : MS_LACK_CALLS;
    return facts->statics && !statics ? MS_LACK_STATICS : MS_LACK_NOTHING;
}

static const char *const lack_texts[] = {
    [MS_LACK_CALLS] = "the model reads calls, not opcodes",
    [MS_LACK_OPCODES] = "the model reads opcodes: give the hash of a sample that extract opcodes "
                        "has seen, and --corpus",
    [MS_LACK_STATICS] = "needs the sample's static features: give the hash of a sample that "
                        "collect has seen, and --corpus"};

enum ms_status ms_judge_trace(struct ms_judge *self, const struct ms_read_trace *trace,
                              struct ms_judgement *out, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    struct ms_verdict *v = &out->verdict;
    *out =
        (struct ms_judgement){.verdict = {.kind = MS_VERDICT_UNKNOWN, .score = NAN, .sure = NAN}};
    if (trace->state != MS_REPORT_OK) {
        (void)snprintf(v->reason, sizeof v->reason, "%s%s%.120s",
                       ms_report_state_name(trace->state), trace->reason[0] ? ": " : "",
                       trace->reason);
        return MS_OK;
    }
    const enum ms_lack lack =
        ms_judge_lack(ms_model_facts_get(self->model), trace->opcodes, trace->statics);
    if (lack != MS_LACK_NOTHING) {
        (void)snprintf(v->reason, sizeof v->reason, "%s", lack_texts[lack]);
        return MS_OK;
    }
    const struct ms_gram_table table = ms_read_trace_table(trace);
    const struct ms_input_trace input = ms_read_trace_input(trace);
    status = ms_verdict_make(self->model, &table, &input, trace->whole_length, self->min_calls,
                             self->threshold, &self->row, v, err);
    if (status != MS_OK || v->kind == MS_VERDICT_UNKNOWN)
        return status;
    if (self->top)
        status = ms_explain(self->model, trace, class_of(ms_model_facts_get(self->model), v),
                            out->why, self->top, &out->why_count, err);
    if (in_band(self, v)) {
        v->kind = MS_VERDICT_UNKNOWN;
        (void)snprintf(v->reason, sizeof v->reason, "%.4f: a score from %.4f to %.4f is no verdict",
                       v->sure, self->unknown_from, self->unknown_to);
    }
    if (status == MS_OK && self->early && v->kind == MS_VERDICT_MALICIOUS)
        status = ms_decided_at(self->model, trace, self->threshold, &out->decided, err);
    return status;
}

/* ---- lines ---- */

/* Where a call of the view is: its name, process and number there. */
static json_t *place_of(const struct ms_read_trace *trace, size_t at)
{
    const struct ms_call_origin *origin = &trace->origins[at];
    const struct ms_read_process *process = &trace->processes[origin->process];
    json_t *o = json_object();
    (void)json_object_set_new(o, "call",
                              ms_json_bytes(trace->calls[at].data, trace->calls[at].len));
    (void)json_object_set_new(
        o, "process",
        process->name.len ? ms_json_bytes(process->name.data, process->name.len) : json_null());
    (void)json_object_set_new(o, "pid", json_integer((json_int_t)process->pid));
    (void)json_object_set_new(o, "index", json_integer(origin->entry));
    (void)json_object_set_new(o, "position", json_integer((json_int_t)at));
    return o;
}

static json_t *why_list(const struct ms_judgement *self, const struct ms_read_trace *trace)
{
    json_t *list = json_array();
    for (size_t i = 0; i < self->why_count; i++) {
        const struct ms_why *why = &self->why[i];
        json_t *o = place_of(trace, why->at);
        (void)json_object_set_new(o, "first", json_integer((json_int_t)why->first));
        (void)json_object_set_new(o, "count", json_integer((json_int_t)why->count));
        (void)json_object_set_new(o, "delta", json_real(why->delta));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *decision(const struct ms_judgement *self, const struct ms_read_trace *trace)
{
    if (!self->decided.found)
        return json_null();
    json_t *o = place_of(trace, self->decided.at);
    (void)json_object_set_new(o, "checked", json_integer((json_int_t)self->decided.checked));
    (void)json_object_set_new(o, "exact", json_boolean(self->decided.exact));
    return o;
}

static enum ms_status print_json(const struct ms_judgement *self, const struct ms_read_trace *trace,
                                 struct ms_span name, const struct ms_judgement_style *style,
                                 FILE *out, struct ms_error *err)
{
    const struct ms_verdict *v = &self->verdict;
    json_t *o = json_object();
    (void)json_object_set_new(o, "file", ms_json_bytes(name.data, name.len));
    (void)json_object_set_new(o, "verdict", json_string(ms_verdict_name(v->kind)));
    (void)json_object_set_new(o, "score", isfinite(v->score) ? json_real(v->score) : json_null());
    (void)json_object_set_new(o, "class", ms_json_text(v->class_));
    (void)json_object_set_new(o, "calls", json_integer((json_int_t)v->calls));
    (void)json_object_set_new(o, "tokens", json_integer((json_int_t)v->tokens));
    (void)json_object_set_new(o, "state", json_string(ms_report_state_name(trace->state)));
    (void)json_object_set_new(o, "reason", ms_json_text(v->reason[0] ? v->reason : NULL));
    (void)json_object_set_new(o, "why", why_list(self, trace));
    (void)json_object_set_new(o, "decided_at", decision(self, trace));
    if (style->last)
        (void)json_object_set_new(o, "final", json_boolean(*style->last));
    return ms_json_line(out, o, err);
}

static void print_place(const struct ms_read_trace *trace, size_t at, FILE *out)
{
    const struct ms_call_origin *origin = &trace->origins[at];
    const struct ms_read_process *process = &trace->processes[origin->process];
    char name[256], call[512];
    const void *bytes = process->name.len ? (const void *)process->name.data : "?";
    (void)ms_escape_bytes(bytes, process->name.len ? process->name.len : 1, name, sizeof name);
    (void)ms_escape_bytes(trace->calls[at].len ? (const void *)trace->calls[at].data : "",
                          trace->calls[at].len, call, sizeof call);
    (void)fprintf(out, "%s, %s (%" PRIu64 ") call %" PRIu32, call, name, process->pid,
                  origin->entry);
}

static void print_text(const struct ms_judgement *self, const struct ms_read_trace *trace,
                       struct ms_span name, const struct ms_judgement_style *style, FILE *out)
{
    char shown[4096], class_[256];
    const struct ms_verdict *v = &self->verdict;
    (void)fprintf(out, "%s\t%s\t", ms_escape_bytes(name.data, name.len, shown, sizeof shown),
                  ms_verdict_name(v->kind));
    if (isfinite(v->score))
        (void)fprintf(out, "%.4f", v->score);
    else
        (void)fprintf(out, "-");
    if (v->kind == MS_VERDICT_UNKNOWN)
        (void)fprintf(out, "\t%s", v->reason);
    else if (v->kind == MS_VERDICT_CLASSIFIED)
        (void)fprintf(out, "\t%s %.4f", ms_escape_text(v->class_, class_, sizeof class_), v->score);
    if (style->early && self->decided.found) {
        (void)fprintf(out, "\tsince %zu of %zu: ", self->decided.at + 1, trace->n);
        print_place(trace, self->decided.at, out);
    }
    (void)fputs(style->last && *style->last ? "\tfinal\n" : "\n", out);
    for (size_t i = 0; i < self->why_count; i++) {
        (void)fprintf(out, "\twhy\t%+.4f\t", self->why[i].delta);
        print_place(trace, self->why[i].at, out);
        if (self->why[i].count > 1)
            (void)fprintf(out, ", one of %zu", self->why[i].count);
        (void)fputc('\n', out);
    }
}

enum ms_status ms_judgement_print(const struct ms_judgement *self,
                                  const struct ms_read_trace *trace, struct ms_span name,
                                  const struct ms_judgement_style *style, FILE *out,
                                  struct ms_error *err)
{
    if (style->json)
        return print_json(self, trace, name, style, out, err);
    print_text(self, trace, name, style, out);
    return MS_OK;
}
