/* A night as one JSON object (schemas/nightly.schema.json), and its exit code. */
#include "malseq/nightly.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "malseq/disk.h"
#include "store/night.h"

#include <stdio.h>
#include <string.h>

enum { FAILURES_MOST = 12, REASON_BYTES = 300 };

static void set(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

static json_t *time_of(int64_t wall_ms)
{
    char text[32];
    ms_clock_format(wall_ms, text);
    return ms_json_text(text);
}

static json_t *text_or_null(const char *text)
{
    return ms_json_text(text && *text ? text : NULL);
}

static json_t *seconds(int64_t ms)
{
    return json_real((double)ms / 1000);
}

/* ---- steps ---- */

static json_t *step_json(const struct malseq_step *step)
{
    struct ms_buf command;
    json_t *o = json_object();
    ms_buf_init(&command, 1 << 20);
    malseq_step_show(step, &command);
    set(o, "stage", ms_json_text(malseq_stage_name(step->stage)));
    set(o, "step", ms_json_text(step->name));
    set(o, "command", ms_json_text(ms_buf_text(&command)));
    set(o, "state", ms_json_text(malseq_step_state_name(step->state)));
    set(o, "exit", step->code < 0 ? json_null() : json_integer(step->code));
    set(o, "why", text_or_null(step->why));
    set(o, "resume_at", text_or_null(step->resume_at));
    set(o, "seconds", seconds(step->ran_ms));
    set(o, "allowed_seconds", seconds(step->allowed_ms > 0 ? step->allowed_ms : 0));
    set(o, "warnings", json_integer((json_int_t)step->warnings));
    set(o, "basis", text_or_null(step->basis));
    (void)json_object_set(o, "counts", step->counts ? step->counts : json_null());
    ms_buf_release(&command);
    return o;
}

static json_t *stages_json(const struct malseq_plan *plan)
{
    json_t *list = json_array();
    for (int s = 0; s < MALSEQ_STAGES; s++)
        if (plan->off[s])
            (void)json_array_append_new(list,
                                        ms_json_text(malseq_stage_name((enum malseq_stage)s)));
    return list;
}

/* ---- what is new ---- */

/* after - before, of what changed; before NULL: all. */
static json_t *difference(const json_t *before, json_t *after)
{
    json_t *out = json_object(), *part, *count;
    const char *section, *name;
    json_object_foreach(after, section, part)
    {
        json_t *old = json_object_get(before, section), *changed = json_object();
        json_object_foreach(part, name, count)
        {
            json_int_t d =
                json_integer_value(count) - json_integer_value(json_object_get(old, name));
            if (d)
                set(changed, name, json_integer(d));
        }
        json_object_foreach(old, name,
                            count) if (!json_object_get(part, name) && json_integer_value(count))
            set(changed, name, json_integer(-json_integer_value(count)));
        if (json_object_size(changed))
            (void)json_object_set(out, section, changed);
        json_decref(changed);
    }
    return out;
}

/* ---- failures ---- */

static enum ms_status on_failure(void *ctx, const char *what, const char *state, const char *reason,
                                 int64_t count, struct ms_error *err)
{
    char shown[REASON_BYTES];
    json_t *o = json_object();
    (void)err;
    set(o, "what", ms_json_text(what));
    set(o, "state", ms_json_text(state));
    set(o, "reason", text_or_null(ms_escape_text(reason, shown, sizeof shown)));
    set(o, "count", json_integer(count));
    (void)json_array_append_new(ctx, o);
    return MS_OK;
}

/* As many as can be read: a damaged page of the database does not keep the summary from who waits
 * for it. */
static json_t *failures_json(const struct malseq_night *night)
{
    struct ms_corpus *corpus = NULL;
    struct ms_error err = {.status = MS_OK};
    json_t *out = json_array();
    if (!night->after) /* there is none, or it cannot be read */
        return out;
    enum ms_status status = ms_corpus_open(night->corpus, MS_CORPUS_READ, &corpus, &err);
    if (status == MS_OK)
        status = ms_night_failures(corpus, night->first_run, night->started_ms, FAILURES_MOST,
                                   on_failure, out, &err);
    if (status != MS_OK)
        ms_log(MS_LOG_WARNING, "what failed cannot be read: %s", err.text);
    ms_corpus_close(corpus);
    return out;
}

/* ---- quota, disk, models ---- */

static json_t *quota_json(const json_t *census)
{
    json_t *list = json_array(), *count;
    json_t *used = json_object_get(census, "requests today");
    json_t *allowed = json_object_get(census, "requests allowed a day");
    const char *key;
    json_object_foreach(used, key, count)
    {
        json_t *o = json_object(), *limit = json_object_get(allowed, key);
        set(o, "key", ms_json_text(key));
        (void)json_object_set(o, "used_today", count);
        (void)json_object_set(o, "allowed_a_day", limit ? limit : json_null());
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *disk_json(const char *corpus)
{
    struct malseq_disk disk = {0};
    struct ms_error err;
    json_t *o = json_object();
    if (malseq_disk_measure(corpus, false, &disk, &err) != MS_OK)
        ms_log(MS_LOG_WARNING, "%s", err.text);
    const struct {
        const char *key;
        uint64_t bytes;
    } rows[] = {{"database_bytes", disk.database}, {"samples_bytes", disk.samples},
                {"reports_bytes", disk.reports},   {"models_bytes", disk.models},
                {"other_bytes", disk.other},       {"free_bytes", disk.free},
                {"total_bytes", disk.size}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        set(o, rows[i].key, json_integer((json_int_t)rows[i].bytes));
    return o;
}

static json_t *number_at(const json_t *figures, const char *path)
{
    json_t *value = ms_json_at(figures, path);
    return json_is_number(value) ? json_incref(value) : json_null();
}

static json_t *model_json(const struct malseq_step *step)
{
    static const char *const texts[] = {"target", "kind", "dataset", "made"};
    static const struct {
        const char *key, *path;
    } numbers[] = {{"samples", "samples"},
                   {"judged", "judged"},
                   {"accuracy", "accuracy"},
                   {"accuracy_low", "accuracy_interval.low"},
                   {"accuracy_high", "accuracy_interval.high"},
                   {"majority_accuracy", "majority_accuracy"},
                   {"balanced_accuracy", "balanced_accuracy"},
                   {"macro_f1", "macro_f1"},
                   {"auc", "auc"}};
    json_t *o = json_object();
    set(o, "model", ms_json_text(step->model));
    set(o, "trained",
        json_boolean(step->state == MALSEQ_STEP_DONE || step->state == MALSEQ_STEP_REJECTS));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        set(o, texts[i], ms_json_text(ms_json_string_at(step->figures, texts[i], NULL)));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        set(o, numbers[i].key, number_at(step->figures, numbers[i].path));
    return o;
}

static void add_models(const struct malseq_night *night, json_t *record)
{
    json_t *models = json_array(), *audit = NULL;
    for (size_t i = 0; i < night->plan->count; i++) {
        const struct malseq_step *step = &night->plan->steps[i];
        if (step->kind == MALSEQ_STEP_TRAIN && step->figures)
            (void)json_array_append_new(models, model_json(step));
        else if (step->kind == MALSEQ_STEP_AUDIT && step->figures)
            audit = step->figures;
    }
    set(record, "models", models);
    (void)json_object_set(record, "audit", audit ? audit : json_null());
}

/* ---- the end of a night ---- */

/* What a step's end asks the exit code to be: an error says more than "later". */
static int rank(const struct malseq_step *step)
{
    return step->state == MALSEQ_STEP_FAILED                                        ? 2
           : step->state == MALSEQ_STEP_LATER || step->state == MALSEQ_STEP_STOPPED ? 1
                                                                                    : 0;
}

/* No tool of ours ends with 126 or 127, and SIGHUP, SIGINT, SIGKILL and SIGTERM come from
 * elsewhere: that is the machine's doing, and no bug. */
static enum ms_status status_of_code(int code)
{
    static const struct {
        int code;
        enum ms_status status;
    } rows[] = {{2, MS_E_USAGE}, {3, MS_E_INPUT}, {4, MS_E_STORE}, {5, MS_E_REMOTE},
                {126, MS_E_IO},  {127, MS_E_IO},  {129, MS_E_IO},  {130, MS_E_IO},
                {137, MS_E_IO},  {143, MS_E_IO}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code)
            return rows[i].status;
    return MS_E_BUG;
}

/* The latest of the times named, for before it something would be asked in vain. */
static const char *resume_at(const struct malseq_plan *plan)
{
    const char *latest = "";
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->steps[i].resume_at, latest) > 0)
            latest = plan->steps[i].resume_at;
    return latest;
}

enum ms_status malseq_night_verdict(const struct malseq_night *night, struct ms_error *err)
{
    const struct malseq_step *worst = NULL;
    for (size_t i = 0; i < night->plan->count; i++) {
        const struct malseq_step *step = &night->plan->steps[i];
        if (rank(step) > (worst ? rank(worst) : 0))
            worst = step;
    }
    if (!worst)
        return MS_OK;
    const char *until = resume_at(night->plan);
    const char *colon = *worst->why ? ": " : "";
    if (rank(worst) == 2)
        return ms_error_set(err, worst->code < 0 ? MS_E_IO : status_of_code(worst->code),
                            "%s failed%s%s", worst->name, colon, worst->why);
    return ms_error_set(err, MS_E_LATER, "%s %s%s%s%s%s", worst->name,
                        worst->state == MALSEQ_STEP_STOPPED ? "was stopped" : "is to go on later",
                        colon, worst->why, *until ? "; try again at " : "", until);
}

enum ms_status malseq_night_record(struct malseq_night *night, const json_t *history,
                                   struct ms_error *err)
{
    struct ms_error end = {.status = MS_OK};
    json_t *record = json_object(), *steps = json_array(), *base = NULL;
    enum ms_status status = malseq_nights_base(night, history, &base, err);
    enum ms_status verdict = malseq_night_verdict(night, &end);
    for (size_t i = 0; i < night->plan->count; i++)
        (void)json_array_append_new(steps, step_json(&night->plan->steps[i]));
    set(record, "night", json_integer((json_int_t)night->number));
    set(record, "version", ms_json_text(MS_VERSION));
    set(record, "corpus", ms_json_text(night->corpus));
    set(record, "config", ms_json_text(night->config->path));
    set(record, "started", time_of(night->started_ms));
    set(record, "ended", time_of(night->ended_ms));
    set(record, "seconds", seconds(ms_clock_mono_ms() - night->started_mono_ms));
    set(record, "budget_seconds", seconds(night->budget_ms));
    set(record, "exit", json_integer(ms_status_exit_code(verdict)));
    set(record, "why", text_or_null(end.text));
    set(record, "resume_at", text_or_null(resume_at(night->plan)));
    set(record, "last_run", json_integer(night->last_run));
    set(record, "steps", steps);
    set(record, "off", stages_json(night->plan));
    set(record, "new", difference(base, night->after));
    (void)json_object_set(record, "census", night->after ? night->after : json_null());
    set(record, "failures", failures_json(night));
    set(record, "quota", quota_json(night->after));
    set(record, "disk", disk_json(night->corpus));
    add_models(night, record);
    json_decref(base);
    night->record = record;
    return status;
}
