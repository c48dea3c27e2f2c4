/* Which samples are sent for a new analysis, and what comes of it. The request itself:
 * label/vtsubmit. */
#include "label/rescan.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "base/stop.h"
#include "label/list.h"
#include "label/options.h"
#include "label/session_private.h"
#include "label/submission.h"
#include "label/vtsubmit.h"
#include "store/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS ((int64_t)86400000)
/* An uncertain verdict on a scan younger than this is left alone: engines need time, too. */
enum { OLD_SCAN_DAYS = 30 };

struct rescan {
    struct ms_session session;
    int64_t *samples;
    size_t count, cap;
    uint64_t taken; /* new analyses that were granted */
};

const struct ms_option ms_rescan_options[MS_RESCAN_OPTIONS] = {
    KEY_OPTION,
    URL_OPTION,
    USER_OPTION,
    {.name = "hashes",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = FIELD(hashes),
     .help = "ask for these samples of the corpus and no others, whatever their label, even when "
             "they were asked for within 30 days"},
    {.name = "budget",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = FIELD(budget),
     .min = 1,
     .help = "send at most N requests in this run (default: 20); each new analysis costs one now, "
             "and one for the look-up later"},
    UNTIL_OPTION,
    POLICY_OPTION,
};

void ms_rescan_defaults(void *options)
{
    struct ms_label_options *o = options;
    ms_label_defaults(options);
    o->budget = MS_RESCAN_BUDGET;
}

static enum ms_status show(struct rescan *self, const char *hash, const char *outcome,
                           const char *reason, int64_t due_ms, struct ms_error *err)
{
    const struct ms_submission_row row = {.action = "rescan",
                                          .outcome = outcome,
                                          .hash = hash,
                                          .reason = reason,
                                          .bytes = -1,
                                          .due_ms = due_ms};
    return ms_submission_show(&row, self->session.cli->common.json, err);
}

/* ---- which ---- */

static enum ms_status keep(void *ctx, int64_t sample, struct ms_error *err)
{
    struct rescan *self = ctx;
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        int64_t *longer = realloc(self->samples, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->samples = longer;
        self->cap = cap;
    }
    self->samples[self->count++] = sample;
    return MS_OK;
}

static enum ms_status refuse(struct rescan *self, const char *hash, const char *why,
                             struct ms_error *err)
{
    self->session.rejected++;
    return show(self, hash, "refused", why, 0, err);
}

static enum ms_status keep_line(void *ctx, uint64_t line, const char *hash, const char *text,
                                struct ms_error *err)
{
    struct rescan *self = ctx;
    struct ms_error why = {0};
    int64_t sample = 0;
    (void)line;
    if (!hash)
        return refuse(self, text, "not an MD5, SHA-1 or SHA-256", err);
    if (ms_is_empty_file(hash))
        return refuse(self, text, "the empty file is never asked about", err);
    enum ms_status status = ms_sample_find(self->session.corpus, hash, &sample, &why);
    if (status == MS_REJECT)
        return refuse(self, text, "not in the corpus: look it up first", err);
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    return keep(self, sample, err);
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Those of the list, each once: one file may stand there under several names. */
static enum ms_status choose_listed(struct rescan *self, struct ms_error *err)
{
    size_t kept = 0;
    enum ms_status status = ms_list_read(self->session.options->hashes, keep_line, self, err);
    if (self->count > 0)
        qsort(self->samples, self->count, sizeof *self->samples, compare_ids);
    for (size_t i = 0; i < self->count; i++)
        if (kept == 0 || self->samples[kept - 1] != self->samples[i])
            self->samples[kept++] = self->samples[i];
    self->count = kept;
    return status;
}

static enum ms_status choose(struct rescan *self, struct ms_error *err)
{
    const struct ms_session *session = &self->session;
    int64_t now = ms_clock_wall_ms();
    if (session->options->hashes)
        return choose_listed(self, err);
    const struct ms_rescan_terms terms = {.policy = session->policy->name,
                                          .submitted_before_ms =
                                              now - (int64_t)session->policy->min_age_days * DAY_MS,
                                          .analysed_before_ms = now - OLD_SCAN_DAYS * DAY_MS,
                                          .rescanned_before_ms = now - MS_SUBMISSION_AGAIN_MS};
    return ms_rescan_foreach(session->corpus, &terms, keep, self, err);
}

/* ---- one sample ---- */

struct asking {
    struct ms_vt *vt;
    const char *hash;
};

static enum ms_status send_rescan(void *ctx, struct ms_vt_answer *answer, struct ms_error *err)
{
    const struct asking *self = ctx;
    return ms_vt_analyse(self->vt, self->hash, answer, err);
}

/* Writes down that a new analysis was asked for now, and when to look at it. */
static enum ms_status expect(struct rescan *self, int64_t sample, int64_t now_ms, int64_t due_ms,
                             struct ms_error *err)
{
    struct ms_corpus *corpus = self->session.corpus;
    enum ms_status status = ms_corpus_begin(corpus, err);
    if (status == MS_OK)
        status = ms_lookup_expect(corpus, sample, NULL, NULL, now_ms, due_ms, err);
    if (status == MS_OK)
        status = ms_corpus_commit(corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(corpus);
    else
        ms_step("label.rescan.stored");
    return status;
}

static enum ms_status take(struct rescan *self, const struct ms_lookup *lookup, const char *hash,
                           const struct ms_vt_answer *answer, struct ms_error *err)
{
    struct ms_session *session = &self->session;
    struct ms_asked asked = {.state = lookup->state};
    int64_t now = ms_clock_wall_ms(), due = now + MS_SUBMISSION_WAIT_MS;
    enum ms_status status;
    switch (answer->outcome) {
    case MS_VT_FOUND:
        self->taken++;
        status = expect(self, lookup->sample, now, due, err);
        return status == MS_OK ? show(self, hash, "asked", NULL, due, err) : status;
    case MS_VT_NOT_FOUND:
        status = ms_asker_end(&session->asker, lookup, answer, &asked, err);
        session->changed += asked.changed;
        return status == MS_OK ? show(self, hash, "not_found", NULL, asked.due_ms, err) : status;
    case MS_VT_BAD_HASH: /* it would say the same tomorrow */
        status = expect(self, lookup->sample, now, lookup->due_ms, err);
        return status == MS_OK ? refuse(self, hash, answer->why, err) : status;
    case MS_VT_NOT_YET:
        return show(self, hash, "skipped", answer->why, 0, err);
    case MS_VT_TRANSIENT:
        session->rejected++;
        status = show(self, hash, "failed", answer->why, 0, err);
        return status == MS_OK ? ms_asker_failed(&session->asker, answer, err) : status;
    default:
        return ms_asker_barred(answer, "ask for new analyses", err);
    }
}

static enum ms_status rescan_one(struct rescan *self, int64_t id, struct ms_error *err)
{
    struct ms_session *session = &self->session;
    struct ms_lookup lookup = {.sample = id, .state = "pending"};
    struct ms_sample sample;
    struct ms_vt_answer answer;
    char hash[MS_HASH_HEX_MAX];
    bool found = false;
    enum ms_status status = ms_sample_get(session->corpus, id, &sample, err);
    if (status == MS_OK)
        status = ms_lookup_get(session->corpus, id, &found, &lookup, err);
    if (status != MS_OK || !ms_submission_hash(&sample, hash))
        return status;
    if (sample.private_)
        return show(self, hash, "skipped", "private: never asked", 0, err);
    if (ms_is_empty_file(hash))
        return show(self, hash, "skipped", "the empty file is never asked about", 0, err);
    if (session->cli->common.dry_run) {
        if (session->options->budget && session->asked >= session->options->budget)
            return MS_OK;
        session->asked++;
        return show(self, hash, "would_ask", NULL, 0, err);
    }
    struct asking asking = {session->vt, hash};
    const struct ms_call call = {.endpoint = MS_ENDPOINT_ANALYSE,
                                 .subject = hash,
                                 .step_reserved = "label.rescan.reserved",
                                 .step_answered = "label.rescan.answered",
                                 .send = send_rescan,
                                 .ctx = &asking};
    status = ms_asker_call(&session->asker, &call, &answer, err);
    if (status != MS_OK || session->asker.done)
        return status;
    session->asked++;
    ms_progress_update(session->asked);
    return take(self, &lookup, hash, &answer, err);
}

/* ---- the run ---- */

static enum ms_status rescan_all(struct rescan *self, struct ms_error *err)
{
    enum ms_status status = choose(self, err);
    if (!self->session.cli->common.dry_run)
        ms_progress_begin("asking for new analyses", self->count, "samples");
    for (size_t i = 0; i < self->count && status == MS_OK && !self->session.asker.done; i++)
        status = rescan_one(self, self->samples[i], err);
    ms_progress_end();
    return status;
}

static void say_end(const struct rescan *self)
{
    const struct ms_asker *asker = &self->session.asker;
    char due[32];
    ms_clock_format(ms_clock_wall_ms() + MS_SUBMISSION_WAIT_MS, due);
    ms_log(MS_LOG_INFO,
           "%zu samples want a new analysis; %llu were granted with %llu requests, %llu "
           "rejected%s%s",
           self->count, (unsigned long long)self->taken, (unsigned long long)asker->requests,
           (unsigned long long)self->session.rejected, asker->done ? "; stopped: " : "",
           asker->done ? asker->done : "");
    if (self->taken > 0)
        ms_log(MS_LOG_INFO, "run label after %s to look at what they say", due);
}

static enum ms_status ask(struct rescan *self, struct ms_error *err)
{
    struct ms_session *session = &self->session;
    const struct ms_cli *cli = session->cli;
    enum ms_status status = ms_session_open_service(session, err);
    if (status == MS_OK)
        status = ms_session_lock_key(session, err);
    if (status == MS_OK)
        status = ms_run_begin(session->corpus, "label", cli->argc, cli->argv, cli->common.seed,
                              &session->run, err);
    session->asker.run = session->run;
    if (status == MS_OK)
        status = ms_corpus_begin(session->corpus, err);
    if (status == MS_OK)
        status = ms_submission_mend(session->corpus, err);
    if (status == MS_OK)
        status = ms_corpus_commit(session->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(session->corpus);
    ms_stop_watch();
    if (status == MS_OK)
        status = ms_asker_read_quota(&session->asker, err);
    if (status == MS_OK)
        status = rescan_all(self, err);
    ms_stop_unwatch();
    if (session->run && status != MS_E_INPUT) /* a list that cannot be read: nothing was done */
        say_end(self);
    return ms_session_end(session, status, err);
}

enum ms_status ms_label_rescan(struct ms_cli *cli, struct ms_error *err)
{
    struct rescan self = {.session = {.cli = cli, .options = cli->options}};
    struct ms_session *session = &self.session;
    bool dry = cli->common.dry_run;
    int64_t until;
    enum ms_status status = ms_policy_open(session->options->policy, &session->policy, err);
    if (status == MS_OK)
        status = ms_session_parse_until(session->options->until, &until, err);
    if (status == MS_OK && !dry)
        status = ms_session_read_key(session, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, dry ? MS_CORPUS_READ : MS_CORPUS_WRITE,
                                &session->corpus, err);
    if (status == MS_OK)
        status = dry ? rescan_all(&self, err) : ask(&self, err);
    if (dry && status == MS_OK && session->rejected > 0)
        status = MS_REJECT;
    free(self.samples);
    ms_session_close(session);
    return status;
}
