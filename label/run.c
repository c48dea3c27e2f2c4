/* The run that looks hashes up. Order and shares: label/plan; one hash: label/lookup. */
#include "label/session_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "base/stop.h"
#include "label/plan.h"
#include "label/submission.h"
#include "label/upload.h"
#include "store/run.h"
#include "store/sample.h"

#include <stdio.h>
#include <string.h>

/* ---- --hashes ---- */

static enum ms_status reject_line(void *ctx, uint64_t line, const char *text, const char *why,
                                  struct ms_error *err)
{
    struct ms_session *self = ctx;
    const struct ms_shown row = {.hash = text, .state = "invalid", .reason = why};
    self->rejected++;
    ms_log(MS_LOG_WARNING, "%s line %llu: '%s': %s", self->options->hashes,
           (unsigned long long)line, text, why);
    return ms_show_hash(&row, self->cli->common.json, err);
}

/* Adds the listed hashes and everything collected since. Inside a transaction. */
static enum ms_status enqueue(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (self->options->hashes)
        status = ms_hashes_read(&self->hashes, self->corpus, self->options->hashes, self->run,
                                reject_line, self, err);
    if (status == MS_OK && self->options->hashes && self->hashes.count == 0 && !self->rejected)
        ms_log(MS_LOG_WARNING, "the list has no hash; nobody is asked");
    if (status == MS_OK)
        status = ms_submission_mend(self->corpus, err);
    return status == MS_OK ? ms_lookup_enqueue_all(self->corpus, err) : status;
}

/* Every line that names the sample, in the words of the list. */
static enum ms_status show_lines(struct ms_session *self, int64_t listed, int64_t sample,
                                 struct ms_asked *asked, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    struct ms_hashes_line *line = ms_hashes_find(&self->hashes, listed);
    for (; line && status == MS_OK; line = ms_hashes_next(&self->hashes, line)) {
        char hash[MS_HASH_HEX_MAX];
        if (line->shown)
            continue;
        line->shown = true;
        ms_hashes_text(line, hash);
        status = ms_session_show(self, sample, hash, asked, err);
        asked->again = true;
    }
    return status;
}

static enum ms_status show_asked(struct ms_session *self, int64_t before, const char *hash,
                                 struct ms_asked *asked, struct ms_error *err)
{
    if (!self->options->hashes)
        return ms_session_show(self, asked->sample, hash, asked, err);
    enum ms_status status = show_lines(self, before, asked->sample, asked, err);
    if (status == MS_OK && asked->sample != before)
        status = show_lines(self, asked->sample, asked->sample, asked, err);
    return status;
}

/* The state of a listed hash that was not asked now: known already, not due, private, or out of
 * quota. Its sample may have become one with another since. */
static enum ms_status show_unasked(struct ms_session *self, struct ms_hashes_line *line,
                                   struct ms_error *err)
{
    struct ms_lookup lookup = {.state = "pending"};
    struct ms_asked asked = {.state = "pending", .again = true};
    struct ms_sample sample;
    struct ms_error why = {0};
    char hash[MS_HASH_HEX_MAX];
    int64_t id = line->sample;
    bool found = false;
    ms_hashes_text(line, hash);
    enum ms_status status = ms_sample_get(self->corpus, id, &sample, &why);
    if (status == MS_REJECT) {
        status = ms_sample_find(self->corpus, hash, &id, &why);
        if (status == MS_OK)
            status = ms_sample_get(self->corpus, id, &sample, &why);
    }
    if (status == MS_OK)
        status = ms_lookup_get(self->corpus, id, &found, &lookup, &why);
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    if (sample.private_)
        (void)snprintf(asked.reason, sizeof asked.reason, "private: never asked");
    asked.state = lookup.state;
    asked.due_ms = lookup.due_ms;
    return ms_session_show(self, id, hash, &asked, err);
}

static enum ms_status show_rest(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->hashes.count && status == MS_OK; i++)
        if (!self->hashes.lines[i].shown)
            status = show_unasked(self, &self->hashes.lines[i], err);
    return status;
}

/* ---- the look-ups ---- */

/* What the corpus says of a planned hash now: an answer may have made it one with another sample,
 * or settled it, since the plan was read. *due false: nothing is to be asked. */
static enum ms_status look_again(struct ms_session *self, int64_t sample, struct ms_lookup *lookup,
                                 char hash[MS_HASH_HEX_MAX], bool *due, struct ms_error *err)
{
    struct ms_sample known;
    struct ms_error why = {0};
    bool found = false;
    *due = false;
    enum ms_status status = ms_sample_get(self->corpus, sample, &known, &why);
    if (status == MS_REJECT)
        return MS_OK;
    if (status == MS_OK)
        status = ms_lookup_get(self->corpus, sample, &found, lookup, &why);
    if (status != MS_OK && err)
        *err = why;
    *due = status == MS_OK && found && strcmp(lookup->state, "invalid") != 0 &&
           lookup->due_ms <= ms_clock_wall_ms() && !known.private_ &&
           ms_submission_hash(&known, hash);
    return status;
}

static enum ms_status ask(struct ms_session *self, const struct ms_lookup *lookup, const char *hash,
                          struct ms_error *err)
{
    struct ms_asked asked;
    enum ms_status status = ms_asker_ask(&self->asker, lookup, hash, &asked, err);
    /* The hash whose failure ends the run has its state all the same. */
    bool last = status == MS_E_REMOTE && strcmp(asked.state, "error") == 0;
    if ((status != MS_OK && !last) || self->asker.done)
        return status;
    self->asked++;
    self->changed += asked.changed;
    if (strcmp(asked.state, "error") == 0 || strcmp(asked.state, "invalid") == 0)
        self->rejected++;
    ms_progress_update(self->asked);
    struct ms_error fault = {0};
    enum ms_status shown = show_asked(self, lookup->sample, hash, &asked, last ? &fault : err);
    return last ? status : shown;
}

static enum ms_status visit_sample(struct ms_session *self, int64_t sample, const char *why,
                                   struct ms_error *err)
{
    struct ms_lookup lookup;
    char hash[MS_HASH_HEX_MAX];
    bool due = false;
    enum ms_status status = look_again(self, sample, &lookup, hash, &due, err);
    if (status != MS_OK || !due)
        return status;
    if (!self->cli->common.dry_run)
        return ask(self, &lookup, hash, err);
    const struct ms_shown row = {
        .hash = hash, .state = lookup.state, .reason = why, .would_ask = true};
    self->asked++;
    return ms_show_hash(&row, self->cli->common.json, err);
}

static bool is_over(const struct ms_session *self)
{
    return self->asker.done || (self->cli->common.dry_run && self->options->budget &&
                                self->asked >= self->options->budget);
}

/* What the user listed, in that order. */
static enum ms_status visit_listed(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->hashes.count && status == MS_OK && !is_over(self); i++) {
        const struct ms_hashes_line *line = &self->hashes.lines[i];
        if (ms_hashes_find(&self->hashes, line->sample) == line)
            status = visit_sample(self, line->sample, "listed", err);
    }
    return status;
}

static enum ms_status visit_planned(struct ms_session *self, struct ms_error *err)
{
    struct ms_plan *plan = NULL;
    bool found = true;
    enum ms_status status = ms_plan_new(self->corpus, self->policy->name, &plan, err);
    while (status == MS_OK && found && !is_over(self)) {
        struct ms_due due;
        status = ms_plan_next(plan, &due, &found, err);
        if (status == MS_OK && found)
            status = visit_sample(self, due.lookup.sample, ms_plan_why(due.class_), err);
    }
    ms_plan_free(plan);
    return status;
}

static enum ms_status visit_all_due(struct ms_session *self, struct ms_error *err)
{
    uint64_t counts[MS_DUE_CLASSES], total = self->hashes.sample_count;
    enum ms_status status = MS_OK;
    if (!self->options->hashes) {
        status = ms_due_count(self->corpus, self->policy->name, ms_clock_wall_ms(), counts, err);
        for (unsigned i = 0; i < MS_DUE_CLASSES && status == MS_OK; i++)
            total += counts[i];
    }
    if (status != MS_OK)
        return status;
    if (!self->cli->common.dry_run)
        ms_progress_begin("looking up hashes", total, "hashes");
    status = self->options->hashes ? visit_listed(self, err) : visit_planned(self, err);
    ms_progress_end();
    return status;
}

/* Everything as a real run would see it, undone at the end. */
static enum ms_status dry_run(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = ms_corpus_begin(self->corpus, err);
    if (status == MS_OK)
        status = enqueue(self, err);
    if (status == MS_OK)
        status = visit_all_due(self, err);
    if (status == MS_OK && self->options->upload)
        status = ms_upload_run(self, err);
    ms_corpus_rollback(self->corpus);
    return status;
}

static void say_end(const struct ms_session *self)
{
    struct ms_lookup_counts counts = {0};
    if (ms_lookup_count(self->corpus, &counts, NULL) != MS_OK)
        return;
    const uint64_t *verdicts = self->verdicts;
    ms_log(MS_LOG_INFO,
           "asked %llu hashes with %llu requests: %llu malicious, %llu grayware, %llu benign, %llu "
           "uncertain, %llu immature, %llu not found, %llu rejected%s%s",
           (unsigned long long)self->asked, (unsigned long long)self->asker.requests,
           (unsigned long long)verdicts[MS_VERDICT_MALICIOUS],
           (unsigned long long)verdicts[MS_VERDICT_GRAYWARE],
           (unsigned long long)verdicts[MS_VERDICT_BENIGN],
           (unsigned long long)verdicts[MS_VERDICT_UNCERTAIN],
           (unsigned long long)verdicts[MS_VERDICT_IMMATURE],
           (unsigned long long)verdicts[MS_VERDICT_NOT_FOUND], (unsigned long long)self->rejected,
           self->asker.done ? "; stopped: " : "", self->asker.done ? self->asker.done : "");
    ms_session_say_agreement(self);
    if (self->asker.merged > 0)
        ms_log(MS_LOG_INFO, "%llu hashes turned out to name a file known already: one sample now",
               (unsigned long long)self->asker.merged);
    ms_log(
        MS_LOG_INFO,
        "the corpus: %llu labelled, %llu not found, %llu pending, %llu invalid, %llu to be tried "
        "again after errors",
        (unsigned long long)counts.labelled, (unsigned long long)counts.not_found,
        (unsigned long long)counts.pending, (unsigned long long)counts.invalid,
        (unsigned long long)counts.error);
}

static enum ms_status ask_all(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = ms_session_open_service(self, err);
    if (status == MS_OK)
        status = ms_session_lock_key(self, err);
    if (status == MS_OK)
        status = ms_run_begin(self->corpus, "label", self->cli->argc, self->cli->argv,
                              self->cli->common.seed, &self->run, err);
    self->asker.run = self->run;
    if (status == MS_OK) {
        ms_step("label.run.begun");
        status = ms_corpus_begin(self->corpus, err);
    }
    if (status == MS_OK)
        status = enqueue(self, err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    bool queued = status == MS_OK;
    if (queued)
        ms_step("label.run.queued");
    else
        ms_corpus_rollback(self->corpus);
    ms_stop_watch();
    if (status == MS_OK)
        status = ms_asker_read_quota(&self->asker, err);
    if (status == MS_OK)
        status = visit_all_due(self, err);
    ms_stop_unwatch();
    if (queued)
        say_end(self);
    if (status == MS_OK && self->options->upload && !ms_stop_signal())
        status = ms_upload_run(self, err);
    if (status == MS_OK)
        status = show_rest(self, err);
    else if (status == MS_E_LATER && !ms_stop_signal())
        (void)show_rest(self, NULL); /* why the run ends stays in err */
    ms_step("label.run.shown");
    return ms_session_end(self, status, err);
}

enum ms_status ms_label_run(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_session self = {.cli = cli, .options = cli->options};
    bool dry = cli->common.dry_run;
    int64_t until;
    enum ms_status status = ms_policy_open(self.options->policy, &self.policy, err);
    if (status == MS_OK)
        status = ms_session_parse_until(self.options->until, &until, err);
    if (status == MS_OK)
        status = ms_upload_check(cli, err);
    /* The key first: reading it wipes it from argv, and its page reads as zeros in what is forked;
     * connections only after. */
    if (status == MS_OK && !dry)
        status = ms_session_read_key(&self, err);
    if (status == MS_OK && !dry)
        status = ms_session_start_worker(&self, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus,
                                !dry                   ? MS_CORPUS_CREATE
                                : self.options->hashes ? MS_CORPUS_TRY
                                                       : MS_CORPUS_WRITE,
                                &self.corpus, err);
    if (status == MS_OK)
        status = dry ? dry_run(&self, err) : ask_all(&self, err);
    ms_session_close(&self);
    return status;
}
