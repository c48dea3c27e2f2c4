/* One step of a night: whether it can run, how long it may, and what its end means. */
#include "malseq/nightly.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "base/stop.h"
#include "store/night.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_MS = 200, PATH_BYTES = 4400 };

const char *malseq_step_state_name(enum malseq_step_state state)
{
    static const char *const names[] = {"waiting", "done",    "rejects", "unchanged",
                                        "later",   "stopped", "skipped", "failed"};
    return names[state];
}

static void settle(struct malseq_step *step, enum malseq_step_state state, const char *fmt, ...)
    MS_PRINTF(3, 4);

static void settle(struct malseq_step *step, enum malseq_step_state state, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(step->why, sizeof step->why, fmt, args);
    va_end(args);
    step->state = state;
}

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
}

/* "12 s", "3 min", "2.5 h". */
static void show_time(int64_t ms, char out[32])
{
    if (ms < 120000)
        (void)snprintf(out, 32, "%lld s", (long long)((ms + 500) / 1000));
    else if (ms < 7200000)
        (void)snprintf(out, 32, "%lld min", (long long)(ms / 60000));
    else
        (void)snprintf(out, 32, "%.1f h", (double)ms / 3600000);
}

/* Until when this stage may go on: its share of what is left, so that what earlier ones did not
 * need goes to those behind them. */
static int64_t stage_until(struct malseq_night *night, const struct malseq_step *step)
{
    const struct malseq_plan *plan = night->plan;
    int64_t now = ms_clock_mono_ms(), left = night->end_mono_ms - now;
    if (night->stage == (int)step->stage)
        return night->stage_until_ms;
    uint64_t sum = 0;
    for (int s = (int)step->stage; s < MALSEQ_STAGES; s++)
        sum += plan->off[s] ? 0 : plan->share[s];
    double part = sum ? (double)plan->share[step->stage] / (double)sum : 1;
    night->stage = (int)step->stage;
    night->stage_until_ms = now + (left > 0 ? (int64_t)(part * (double)left) : 0);
    return night->stage_until_ms;
}

/* A corpus is made by these; the others need one. */
static bool makes_corpus(const struct malseq_step *step)
{
    return step->stage == MALSEQ_STAGE_COLLECT ||
           (step->word_count > 1 && strcmp(step->words[1], "import") == 0);
}

/* False with the step's state set when it is not to run at all. */
static bool may_run(struct malseq_night *night, struct malseq_step *step)
{
    struct ms_error err = {.status = MS_OK};
    char text[32];
    int64_t until = stage_until(night, step);
    step->allowed_ms = until - ms_clock_mono_ms();
    if (ms_stop_signal())
        settle(step, MALSEQ_STEP_STOPPED, "not begun: %s asked nightly to end", ms_stop_name());
    else if (!makes_corpus(step) && !is_there(night->corpus, "corpus.db"))
        settle(step, MALSEQ_STEP_SKIPPED,
               "there is no corpus yet, and nothing before this made one");
    else if (step->allowed_ms < LEAST_MS) {
        show_time(night->budget_ms, text);
        settle(step, MALSEQ_STEP_STOPPED, "not begun: the time of its stage was over (%s in all)",
               text);
    } else if (step->kind != MALSEQ_STEP_AUDIT && night->held)
        settle(step, MALSEQ_STEP_LATER, "not begun: %s", night->holder);
    else if (step->kind != MALSEQ_STEP_AUDIT &&
             ms_corpus_await(night->corpus, night->wait_ms, &err) != MS_OK) {
        night->held = true;
        (void)snprintf(night->holder, sizeof night->holder, "%.300s", err.text);
        settle(step, err.status == MS_E_LATER ? MALSEQ_STEP_LATER : MALSEQ_STEP_FAILED,
               "not begun: %.280s", err.text);
        step->code = ms_status_exit_code(err.status);
    }
    return step->state == MALSEQ_STEP_WAITING;
}

/* What its end means. */
static void judge(struct malseq_step *step, const struct malseq_ran *ran)
{
    char allowed[32];
    step->code = ran->code;
    step->ran_ms += ran->ran_ms;
    step->warnings += ran->warnings;
    (void)snprintf(step->resume_at, sizeof step->resume_at, "%s", ran->resume_at);
    show_time(step->allowed_ms, allowed);
    if (ran->code == 0)
        settle(step, MALSEQ_STEP_DONE, "%s", "");
    else if (ran->code == 1)
        settle(step, MALSEQ_STEP_REJECTS, "%s", "");
    else if (ran->stopped && ms_stop_signal())
        settle(step, MALSEQ_STEP_STOPPED, "%s asked nightly to end; the next run goes on",
               ms_stop_name());
    else if (ran->stopped)
        settle(step, MALSEQ_STEP_STOPPED, "its time was over (%s)%s; the next run goes on", allowed,
               ran->killed ? ", and it had to be killed" : "");
    else if (ran->code == 75)
        settle(step, MALSEQ_STEP_LATER, "%s", ran->error);
    else if (ran->code > 128 && ran->code < 192 && !*ran->error)
        settle(step, MALSEQ_STEP_FAILED, "it was ended by signal %d%s", ran->code - 128,
               ran->code == 128 + SIGKILL ? " (out of memory?)" : "");
    else if ((ran->code == 126 || ran->code == 127) && !*ran->error)
        settle(step, MALSEQ_STEP_FAILED, "it cannot be run (is it being installed anew?)");
    else if (*ran->error)
        settle(step, MALSEQ_STEP_FAILED, "%s", ran->error);
    else
        settle(step, MALSEQ_STEP_FAILED, "it ended with %d and gave no reason", ran->code);
}

struct names {
    char log[PATH_BYTES], output[PATH_BYTES];
};

/* NN-stage[-more].log and .json of the night. */
static void name_files(const struct malseq_night *night, const struct malseq_step *step,
                       size_t number, const char *more, struct names *out)
{
    const char *stage = malseq_stage_name(step->stage);
    (void)snprintf(out->log, sizeof out->log, "%s/%02zu-%s%s.log", night->folder, number, stage,
                   more);
    (void)snprintf(out->output, sizeof out->output, "%s/%02zu-%s%s.json", night->folder, number,
                   stage, more);
}

static enum ms_status run_words(struct malseq_night *night, struct malseq_step *step,
                                const char *const *words, const struct names *names,
                                bool keep_output, struct malseq_ran *ran, struct ms_error *err)
{
    const struct malseq_running how = {.until_mono_ms = night->stage_until_ms,
                                       .grace_ms = night->grace_ms,
                                       .log = names->log,
                                       .output = keep_output ? names->output : NULL,
                                       .echo = night->echo};
    ms_step("nightly.step.begin");
    enum ms_status status = malseq_run_tool(step->tool, words, &how, ran, err);
    ms_step("nightly.step.end");
    return status;
}

int64_t malseq_night_newest_run(const char *dir)
{
    struct ms_corpus *corpus = NULL;
    struct ms_error err;
    int64_t run = 0;
    if (ms_corpus_open(dir, MS_CORPUS_READ, &corpus, &err) != MS_OK ||
        ms_night_newest_run(corpus, &run, &err) != MS_OK)
        run = 0;
    ms_corpus_close(corpus);
    return run;
}

static void read_counts(const char *dir, struct malseq_step *step, int64_t after)
{
    struct ms_corpus *corpus = NULL;
    struct ms_error err;
    char text[4096] = "";
    if (ms_corpus_open(dir, MS_CORPUS_READ, &corpus, &err) == MS_OK &&
        ms_night_run_counts(corpus, step->tool, after, text, sizeof text, &err) == MS_OK && *text &&
        ms_json_parse(text, strlen(text), &step->counts, &err) != MS_OK)
        step->counts = NULL;
    ms_corpus_close(corpus);
}

/* A JSON object of a file that a tool of ours wrote; NULL when there is none. */
static json_t *read_object(const char *path)
{
    struct ms_buf text;
    struct ms_error err;
    json_t *object = NULL;
    ms_buf_init(&text, (size_t)MS_LIMIT_NIGHT_OUTPUT_BYTES);
    if (ms_file_read(path, &text, &err) == MS_OK &&
        ms_json_parse(text.data, text.len, &object, &err) != MS_OK)
        object = NULL;
    ms_buf_release(&text);
    return object;
}

/* The figures of the model as the corpus has them now; NULL: there is none. */
static json_t *read_model(const char *dir, const char *name)
{
    struct ms_corpus *corpus = NULL;
    struct ms_error err;
    struct ms_buf text;
    json_t *object = NULL;
    ms_buf_init(&text, (size_t)MS_LIMIT_NIGHT_OUTPUT_BYTES);
    if (ms_corpus_open(dir, MS_CORPUS_READ, &corpus, &err) == MS_OK &&
        ms_night_model(corpus, name, &text, &err) == MS_OK && text.len &&
        ms_json_parse(text.data, text.len, &object, &err) != MS_OK)
        object = NULL;
    ms_corpus_close(corpus);
    ms_buf_release(&text);
    return object;
}

static bool same_text(const json_t *a, const json_t *b, const char *key)
{
    const char *x = ms_json_string_at(a, key, NULL), *y = ms_json_string_at(b, key, NULL);
    return x && y && strcmp(x, y) == 0;
}

/* Is the model there the one that this training would make? Its rows are, for they are written
 * last. */
static bool is_made(const struct malseq_night *night, const struct malseq_step *step,
                    const json_t *planned, const json_t *model)
{
    char file[PATH_BYTES];
    (void)snprintf(file, sizeof file, "models/%s/model.safetensors", step->model);
    return model && same_text(planned, model, "dataset") && same_text(planned, model, "settings") &&
           same_text(planned, model, "version") && is_there(night->corpus, file);
}

/* ---- what need not be run again ---- */

/* Digest of all that train and audit rest on: the command line, the version, the corpus' counts. */
static void take_basis(const struct malseq_night *night, struct malseq_step *step)
{
    struct ms_corpus *corpus = NULL;
    struct ms_error err;
    struct ms_buf text;
    uint8_t digest[MS_SHA256_BYTES];
    char hex[MS_HASH_HEX_MAX];
    ms_buf_init(&text, (size_t)MS_LIMIT_NIGHT_OUTPUT_BYTES);
    (void)ms_buf_printf(&text, "%s\n", MS_VERSION);
    for (size_t i = 1; i < step->word_count; i++) /* wherever the corpus lies */
        if (strcmp(step->words[i - 1], "--corpus") != 0)
            (void)ms_buf_printf(&text, "%s\n", step->words[i]);
    if (ms_corpus_open(night->corpus, MS_CORPUS_READ, &corpus, &err) == MS_OK &&
        ms_night_state(corpus, &text, &err) == MS_OK && !text.failed &&
        ms_hash_sha256(text.data, text.len, digest) == MS_OK) {
        ms_hex_encode(digest, sizeof digest, hex);
        memcpy(step->basis, hex, sizeof step->basis);
    }
    ms_corpus_close(corpus);
    ms_buf_release(&text);
}

/* Static features may be read anew without a count that shows it. */
static bool is_countable(const struct malseq_step *step)
{
    for (size_t i = 0; i < step->word_count; i++)
        if (strcmp(step->words[i], "--static") == 0)
            return false;
    return true;
}

/* The same step of the last night, where nothing that it rests on has changed and nobody else has
 * run a tool since; NULL otherwise. */
static const json_t *same_before(const struct malseq_night *night, const struct malseq_step *step)
{
    json_t *before;
    size_t i;
    if (!night->last || ms_json_int_at(night->last, "last_run", -1) != night->first_run)
        return NULL;
    json_array_foreach(json_object_get(night->last, "steps"), i, before)
    {
        if (strcmp(ms_json_string_at(before, "step", ""), step->name) == 0 &&
            strcmp(ms_json_string_at(before, "basis", ""), step->basis) == 0)
            return before;
    }
    return NULL;
}

/* True with the step's state and figures set when the last night's stand. */
static bool stands(const struct malseq_night *night, struct malseq_step *step)
{
    take_basis(night, step);
    const json_t *before = *step->basis && is_countable(step) ? same_before(night, step) : NULL;
    const char *state = ms_json_string_at(before, "state", "");
    if (strcmp(state, "skipped") == 0) {
        settle(step, MALSEQ_STEP_SKIPPED, "%s", ms_json_string_at(before, "why", ""));
        return true;
    }
    if (strcmp(state, "done") != 0 && strcmp(state, "rejects") != 0 &&
        strcmp(state, "unchanged") != 0)
        return false;
    if (step->kind == MALSEQ_STEP_AUDIT)
        step->figures = json_incref(json_object_get(night->last, "audit"));
    else
        step->figures = read_model(night->corpus, step->model);
    char file[PATH_BYTES] = "corpus.db";
    if (step->kind == MALSEQ_STEP_TRAIN)
        (void)snprintf(file, sizeof file, "models/%s/model.safetensors", step->model);
    if (!json_is_object(step->figures) || !is_there(night->corpus, file)) {
        json_decref(step->figures);
        step->figures = NULL;
        return false;
    }
    settle(step, MALSEQ_STEP_UNCHANGED, "nothing that it rests on changed since night %lld",
           (long long)ms_json_int_at(night->last, "night", 0));
    return true;
}

/* Asks train what it would learn from. False with the step's state set when it is not to train. */
static enum ms_status look_before_training(struct malseq_night *night, struct malseq_step *step,
                                           size_t number, bool *go, struct ms_error *err)
{
    const char *words[MALSEQ_STEP_WORDS + 1];
    struct malseq_ran ran;
    struct names names;
    *go = false;
    memcpy(words, step->words, step->word_count * sizeof *words);
    words[step->word_count] = "--dry-run";
    words[step->word_count + 1] = NULL;
    name_files(night, step, number, "-look", &names);
    enum ms_status status = run_words(night, step, words, &names, true, &ran, err);
    if (status != MS_OK)
        return status;
    json_t *planned = ran.code == 0 || ran.code == 1 ? read_object(names.output) : NULL;
    json_t *model = read_model(night->corpus, step->model);
    int64_t samples = ms_json_int_at(planned, "samples", 0);
    judge(step, &ran);
    if (ran.code == 3) /* a corpus may be too young to learn from */
        step->state = MALSEQ_STEP_SKIPPED;
    else if (!planned && (ran.code == 0 || ran.code == 1))
        settle(step, MALSEQ_STEP_FAILED, "it did not say what it would learn from");
    else if (planned && samples >= 0 && (uint64_t)samples < step->min_samples)
        settle(step, MALSEQ_STEP_SKIPPED, "%lld labelled traces, and min-samples = %llu",
               (long long)samples, (unsigned long long)step->min_samples);
    else if (planned && is_made(night, step, planned, model))
        settle(step, MALSEQ_STEP_UNCHANGED,
               "the same dataset, settings and version as the model '%.60s' has", step->model);
    else
        *go = planned != NULL;
    if (step->state != MALSEQ_STEP_SKIPPED && step->state != MALSEQ_STEP_UNCHANGED && !*go)
        step->basis[0] = '\0';
    json_decref(planned);
    json_decref(model);
    return MS_OK;
}

/* Goes on with a training that was cut short, where that is of the same dataset and settings; else
 * begins anew. */
static enum ms_status train(struct malseq_night *night, struct malseq_step *step, size_t number,
                            struct ms_error *err)
{
    const char *words[MALSEQ_STEP_WORDS + 1];
    char folder[PATH_BYTES];
    struct malseq_ran ran = {.code = 3};
    struct names names;
    enum ms_status status = MS_OK;
    (void)snprintf(folder, sizeof folder, "models/%s/checkpoint", step->model);
    if (is_there(night->corpus, folder)) {
        memcpy(words, step->words, step->word_count * sizeof *words);
        words[step->word_count] = "--resume";
        words[step->word_count + 1] = NULL;
        name_files(night, step, number, "-resume", &names);
        status = run_words(night, step, words, &names, false, &ran, err);
    }
    name_files(night, step, number, "", &names);
    if (status == MS_OK && ran.code == 3)
        status = run_words(night, step, step->words, &names, false, &ran, err);
    if (status == MS_OK)
        judge(step, &ran);
    return status;
}

static enum ms_status run_train(struct malseq_night *night, struct malseq_step *step, size_t number,
                                struct ms_error *err)
{
    bool go = false;
    enum ms_status status = look_before_training(night, step, number, &go, err);
    if (status == MS_OK && go)
        status = train(night, step, number, err);
    if (status == MS_OK)
        step->figures = read_model(night->corpus, step->model);
    return status;
}

enum ms_status malseq_step_run(struct malseq_night *night, struct malseq_step *step, size_t number,
                               struct ms_error *err)
{
    struct malseq_ran ran;
    struct names names;
    if (!may_run(night, step))
        return MS_OK;
    int64_t before = malseq_night_newest_run(night->corpus);
    if (step->kind != MALSEQ_STEP_PLAIN && stands(night, step))
        return MS_OK;
    if (step->kind == MALSEQ_STEP_TRAIN) {
        enum ms_status status = run_train(night, step, number, err);
        if (status == MS_OK)
            read_counts(night->corpus, step, before);
        return status;
    }
    name_files(night, step, number, "", &names);
    bool audit = step->kind == MALSEQ_STEP_AUDIT;
    enum ms_status status = run_words(night, step, step->words, &names, audit, &ran, err);
    if (status != MS_OK)
        return status;
    judge(step, &ran);
    if (audit && ran.code == 3) /* a corpus may be too young to say anything of */
        step->state = MALSEQ_STEP_SKIPPED;
    if (audit && (ran.code == 0 || ran.code == 1))
        step->figures = read_object(names.output);
    else if (!audit)
        read_counts(night->corpus, step, before);
    return MS_OK;
}
