/* Asking about one hash, and storing what came. */
#include "label/lookup.h"

#include "base/clock.h"
#include "base/http_retry.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "base/stop.h"
#include "label/plan.h"
#include "store/sample.h"

#include <stdio.h>
#include <string.h>

/* Requests that got no answer at all may have been charged, and each costs a time-out: fewer tries.
 * An answer that is no use was charged, and what made it will hardly be gone in seconds. A refusal
 * in the service's own words, whatever they mean, will be the same. */
enum {
    TRIES = 5,
    TRIES_UNANSWERED = 3,
    TRIES_USELESS = 2,
    TRIES_DECLINED = 1,
    BACKOFF_BASE_MS = 1000,
    BACKOFF_CAP_MS = 120000,
    FAILURES_MAX = 3
};
#define HOUR_MS ((int64_t)3600000)
#define DAY_MS (24 * HOUR_MS)

bool ms_is_empty_file(const char *hash)
{
    static const char *const empty[] = {
        "d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        if (strcmp(hash, empty[i]) == 0)
            return true;
    return false;
}

enum ms_status ms_asker_read_quota(struct ms_asker *self, struct ms_error *err)
{
    struct ms_quota_told told;
    if (self->untold) {
        ms_quota_tried(&self->quota);
        return MS_OK;
    }
    enum ms_status status = ms_vt_quotas(self->vt, &told, &self->untold, err);
    ms_quota_tried(&self->quota);
    if (status != MS_OK)
        return status;
    if (told.hour_allowed < 0 && told.day_allowed < 0 && told.month_allowed < 0) {
        if (self->named)
            ms_log(MS_LOG_WARNING,
                   "the service does not tell the quota of the account in --vt-user or VT_USER; is "
                   "that its id? Until it does, what it told last holds, or the limits of a public "
                   "key");
        self->named = false; /* once is enough */
        return MS_OK;
    }
    status = ms_quota_tell(&self->quota, &told, err);
    if (status == MS_OK)
        ms_step("label.quota.told");
    return status;
}

static enum ms_status spent(const struct ms_quota_advice *advice, struct ms_error *err)
{
    if (advice->word == MS_QUOTA_BARRED)
        return ms_error_set(err, MS_E_REMOTE,
                            "the service allows this account no requests at all (a limit of 0); "
                            "look at the API key page of the account");
    enum ms_status status =
        ms_error_set(err, MS_E_LATER, "%s; everything so far is kept", advice->why);
    if (err)
        err->resume_at_ms = advice->resume_at_ms;
    return status;
}

/* Keeping to the quota is everyday talk; waiting for a service in trouble is told to everybody. */
static void pause_for(enum ms_log_level level, int64_t ms, const char *why)
{
    char until[32];
    ms_clock_format(ms_clock_wall_ms() + ms, until);
    ms_progress_note("waiting until %s: %s", until + 11, why);
    ms_log(level, "%s%s; waiting %.1f s", level == MS_LOG_DEBUG ? "" : "a look-up failed: ", why,
           (double)ms / 1000.0);
    ms_clock_sleep_ms(ms);
    ms_progress_note("%s", "");
}

/* A wait for another day is told once, not with each of its parts. */
static void say_long_wait(struct ms_asker *self, const struct ms_quota_advice *advice)
{
    char until[32];
    if (advice->resume_at_ms == 0 || advice->resume_at_ms == self->waiting_for_ms)
        return;
    self->waiting_for_ms = advice->resume_at_ms;
    ms_clock_format(advice->resume_at_ms, until);
    ms_log(MS_LOG_INFO, "%s; waiting until %s, because --until is later", advice->why, until);
}

/* Waits until a request may go, or sets self->done. A signal that asks for an end is heard here:
 * between two requests. */
static enum ms_status wait_for_slot(struct ms_asker *self, struct ms_error *err)
{
    struct ms_quota_advice advice;
    for (;;) {
        if (ms_stop_signal())
            return ms_error_set(
                err, MS_E_LATER,
                "stopped by %s; everything so far is kept, the same command goes on",
                ms_stop_name());
        enum ms_status status = ms_quota_advise(&self->quota, &advice, err);
        if (status != MS_OK)
            return status;
        switch (advice.word) {
        case MS_QUOTA_GO:
            return MS_OK;
        case MS_QUOTA_DONE:
            self->done = advice.why;
            return MS_OK;
        case MS_QUOTA_SPENT:
        case MS_QUOTA_BARRED:
            return spent(&advice, err);
        case MS_QUOTA_READ:
            status = ms_asker_read_quota(self, err);
            if (status != MS_OK)
                return status;
            break;
        case MS_QUOTA_WAIT:
            say_long_wait(self, &advice);
            pause_for(MS_LOG_DEBUG, advice.wait_ms, advice.why);
        }
    }
}

/* Reserve, send, settle. */
static enum ms_status exchange(struct ms_asker *self, const struct ms_call *call,
                               struct ms_vt_answer *answer, struct ms_error *err)
{
    int64_t id = 0;
    enum ms_status status = ms_quota_reserve(&self->quota, call->endpoint, call->subject, &id, err);
    if (status != MS_OK)
        return status;
    ms_step(call->step_reserved);
    self->requests++;
    status = call->send(call->ctx, answer, err);
    if (status != MS_OK)
        return status;
    ms_step(call->step_answered);
    return ms_quota_settle(&self->quota, id, answer->unsent ? MS_QUOTA_UNSENT : answer->status,
                           answer->code[0] ? answer->code : NULL, err);
}

/* After a 429: asks which quota it was, and waits or ends. */
static enum ms_status refused(struct ms_asker *self, const struct ms_vt_answer *answer,
                              struct ms_error *err)
{
    struct ms_quota_advice advice;
    enum ms_status status = ms_asker_read_quota(self, err);
    if (status == MS_OK)
        status = ms_quota_refused(&self->quota, answer->retry_after_ms, &advice, err);
    if (status != MS_OK)
        return status;
    if (advice.word == MS_QUOTA_SPENT || advice.word == MS_QUOTA_BARRED)
        return spent(&advice, err);
    if (advice.word == MS_QUOTA_WAIT) {
        self->done = ms_quota_bound(&self->quota, advice.wait_ms);
        if (!self->done)
            pause_for(MS_LOG_INFO, advice.wait_ms, advice.why);
    }
    return MS_OK;
}

/* How many answers like this one are taken for a subject in a run. */
static unsigned tries_for(const struct ms_vt_answer *answer)
{
    int status = answer->status;
    if (answer->begun || status / 100 == 2 || status == 409)
        return TRIES_USELESS;
    if (status == 0)
        return TRIES_UNANSWERED;
    if (status / 100 != 4 || status == 424 || status == 408)
        return TRIES;
    return answer->code[0] ? TRIES_DECLINED : TRIES_USELESS;
}

enum ms_status ms_asker_call(struct ms_asker *self, const struct ms_call *call,
                             struct ms_vt_answer *answer, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (unsigned failed = 0; status == MS_OK;) {
        status = wait_for_slot(self, err);
        if (status != MS_OK || self->done)
            return status;
        status = exchange(self, call, answer, err);
        if (status == MS_OK && answer->outcome == MS_VT_FOUND && call->take)
            status = call->take(call->ctx, answer, err);
        if (status != MS_OK)
            return status;
        if (answer->outcome == MS_VT_REFUSED) {
            status = refused(self, answer, err);
            if (self->done)
                return status;
            continue;
        }
        if (answer->outcome != MS_VT_TRANSIENT) {
            self->failures = 0;
            return MS_OK;
        }
        if (++failed >= (call->tries ? call->tries : tries_for(answer)))
            return MS_OK;
        int64_t wait = ms_retry_backoff_ms(&self->rng, BACKOFF_BASE_MS, BACKOFF_CAP_MS, failed);
        if (wait < answer->retry_after_ms)
            wait =
                answer->retry_after_ms < BACKOFF_CAP_MS ? answer->retry_after_ms : BACKOFF_CAP_MS;
        if (ms_quota_bound(&self->quota, wait))
            return MS_OK; /* this try was the last one */
        pause_for(MS_LOG_INFO, wait, answer->why);
    }
    return status;
}

enum ms_status ms_asker_failed(struct ms_asker *self, const struct ms_vt_answer *answer,
                               struct ms_error *err)
{
    if (++self->failures < FAILURES_MAX)
        return MS_OK;
    return ms_error_set(err, MS_E_REMOTE,
                        "no usable answer for %u hashes in a row (last: %s); what came before is "
                        "kept, run label again later",
                        self->failures, answer->why);
}

enum ms_status ms_asker_barred(const struct ms_vt_answer *answer, const char *what,
                               struct ms_error *err)
{
    return answer->outcome == MS_VT_BAD_KEY
               ? ms_error_set(err, MS_E_REMOTE,
                              "the service refuses the key (%s); check VT_API_KEY or --vt-key",
                              answer->why)
               : ms_error_set(err, MS_E_REMOTE, "the key may not %s (%s)", what, answer->why);
}

static int64_t tries_in_state(const struct ms_lookup *before, const char *state)
{
    return strcmp(before->state, state) == 0 ? before->tries + 1 : 1;
}

/* Writes the lookup row of a hash. Inside a transaction. */
static enum ms_status put_state(struct ms_asker *self, const struct ms_lookup *before,
                                int64_t now_ms, int64_t unchanged, struct ms_asked *out,
                                struct ms_error *err)
{
    const struct ms_lookup after = {.sample = out->sample,
                                    .state = out->state,
                                    .reason = out->reason[0] ? out->reason : NULL,
                                    .tries = tries_in_state(before, out->state),
                                    .asked_ms = now_ms,
                                    .due_ms = out->due_ms,
                                    .unchanged = unchanged};
    return ms_lookup_put(self->corpus, &after, err);
}

/* The transaction of an answer that is no report. */
static enum ms_status store_state(struct ms_asker *self, const struct ms_lookup *before,
                                  struct ms_asked *out, struct ms_error *err)
{
    /* One time for label and look-up: relabel dates the label by the look-up, and must find it
     * unchanged. */
    int64_t now_ms = ms_clock_wall_ms();
    struct ms_derived derived = {.changed = false};
    enum ms_status status = ms_corpus_begin(self->corpus, err);
    self->deriver->run = self->run;
    if (status == MS_OK && strcmp(out->state, "not_found") == 0)
        status = ms_derive_not_found(self->deriver, before->sample, now_ms, &derived, err);
    out->changed = derived.changed;
    if (status == MS_OK)
        status = put_state(self, before, now_ms, before->unchanged, out, err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(self->corpus);
    else
        ms_step("label.lookup.stored");
    return status;
}

/* What the answer knows of the file's other names completes the sample's row, and other rows that
 * are the same file become one with it. *forgotten: the file was removed by forget under a hash
 * this row did not know. */
static enum ms_status learn_hashes(struct ms_asker *self, const struct ms_vt_report *report,
                                   struct ms_asked *out, bool *forgotten, struct ms_error *err)
{
    struct ms_sample sample = {.size = report->size, .machine = -1};
    struct ms_error why = {0};
    int64_t id = 0;
    bool inserted = false;
    uint64_t merged = 0;
    sample.has_sha256 = ms_hex_decode(report->sha256, MS_SHA256_BYTES, sample.digests.sha256);
    sample.has_sha1 = ms_hex_decode(report->sha1, MS_SHA1_BYTES, sample.digests.sha1);
    sample.has_md5 = ms_hex_decode(report->md5, MS_MD5_BYTES, sample.digests.md5);
    enum ms_status status =
        ms_sample_upsert(self->corpus, &sample, self->run, &id, &inserted, &why);
    if (status == MS_OK)
        status = ms_sample_unite(self->corpus, id, &merged, &why);
    if (status == MS_REJECT) {
        *forgotten = true;
        return MS_OK;
    }
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    self->merged += merged;
    /* The row asked about is gone when it was merged; it stays when its hash is two files'. */
    status = ms_sample_get(self->corpus, out->sample, &sample, &why);
    if (status == MS_REJECT) {
        out->sample = id;
        return MS_OK;
    }
    if (status != MS_OK && err)
        *err = why;
    return status;
}

/* The scan row to rest the label on: one of this analysis that is there already, by a look-up or an
 * import, else a new one. */
static enum ms_status keep_scan(struct ms_asker *self, int64_t sample, const char *hash,
                                struct ms_span body, const struct ms_vt_report *report,
                                struct ms_scan *scan, bool *unchanged, struct ms_error *err)
{
    struct ms_buf old;
    struct ms_error why = {0};
    ms_buf_init(&old, MS_LIMIT_SCAN_BYTES);
    enum ms_status status =
        ms_scan_latest(self->corpus, sample, report->last_analysis_ms, scan, &old, &why);
    ms_buf_release(&old);
    *unchanged = status == MS_OK && scan->last_analysis_ms == report->last_analysis_ms &&
                 report->last_analysis_ms > 0;
    if (*unchanged)
        return MS_OK;
    if (status != MS_OK && status != MS_REJECT) {
        if (err)
            *err = why;
        return status;
    }
    *scan = (struct ms_scan){.sample = sample,
                             .source = "virustotal",
                             .asked = hash,
                             .fetched_ms = ms_clock_wall_ms(),
                             .last_analysis_ms = report->last_analysis_ms,
                             .first_submission_ms = report->first_submission_ms,
                             .body = body};
    return ms_scan_insert(self->corpus, scan, self->run, &scan->id, err);
}

/* A new analysis was asked for today and this answer does not know of it yet: one more look
 * tomorrow, instead of in weeks. */
static int64_t sooner(const struct ms_lookup *before, int64_t last_analysis_ms, int64_t now_ms,
                      int64_t due_ms)
{
    bool waiting = before->rescan_ms > last_analysis_ms && now_ms - before->rescan_ms < DAY_MS;
    return waiting && due_ms > now_ms + DAY_MS ? now_ms + DAY_MS : due_ms;
}

/* By the label that stands after this answer. */
static enum ms_status set_due(struct ms_asker *self, const struct ms_lookup *before,
                              const struct ms_vt_report *report, int64_t unchanged, int64_t now_ms,
                              struct ms_asked *out, struct ms_error *err)
{
    struct ms_label label;
    enum ms_status status =
        ms_label_get(self->corpus, out->sample, self->policy->name, &label, err);
    if (status != MS_OK)
        return status;
    out->due_ms = ms_plan_due_ms(&label, report->first_submission_ms, self->policy->min_age_days,
                                 unchanged, now_ms);
    out->due_ms = sooner(before, report->last_analysis_ms, now_ms, out->due_ms);
    ms_label_release(&label);
    return MS_OK;
}

/* The rows of one report, inside a transaction. */
static enum ms_status put_found(struct ms_asker *self, const struct ms_lookup *before,
                                const char *hash, struct ms_span body,
                                const struct ms_judged *judged, struct ms_asked *out,
                                struct ms_error *err)
{
    struct ms_scan scan = {0};
    struct ms_derived derived = {.changed = false};
    bool forgotten = false, unchanged = false;
    int64_t now_ms = ms_clock_wall_ms(); /* of asking and of what is due from then on */
    self->deriver->run = self->run;
    enum ms_status status = learn_hashes(self, &judged->report, out, &forgotten, err);
    if (status == MS_OK && forgotten) {
        out->state = "invalid";
        (void)snprintf(out->reason, sizeof out->reason,
                       "a name of a sample that was removed by forget");
        return put_state(self, before, now_ms, 0, out, err);
    }
    if (status == MS_OK)
        status = keep_scan(self, out->sample, hash, body, &judged->report, &scan, &unchanged, err);
    if (status == MS_OK)
        status = ms_derive_fresh(self->deriver, out->sample, judged, &scan, &derived, err);
    out->changed = derived.changed;
    int64_t count = unchanged && before->asked_ms > 0 ? before->unchanged + 1 : 0;
    if (status == MS_OK)
        status = set_due(self, before, &judged->report, count, now_ms, out, err);
    return status == MS_OK ? put_state(self, before, now_ms, count, out, err) : status;
}

static enum ms_status store_found(struct ms_asker *self, const struct ms_lookup *before,
                                  const char *hash, struct ms_span body,
                                  const struct ms_judged *judged, struct ms_asked *out,
                                  struct ms_error *err)
{
    out->state = "labelled";
    enum ms_status status = ms_corpus_begin(self->corpus, err);
    if (status == MS_OK)
        status = put_found(self, before, hash, body, judged, out, err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(self->corpus);
    else
        ms_step("label.lookup.stored");
    return status;
}

/* A body that is no file object, or one about another file, turns the answer into a transient
 * fault. */
static enum ms_status take_report(struct ms_asker *self, const struct ms_lookup *before,
                                  const char *hash, struct ms_vt_answer *answer,
                                  struct ms_asked *out, struct ms_error *err)
{
    struct ms_judged judged;
    struct ms_error fault = {0};
    enum ms_status status = ms_judge_body(self->deriver, answer->body, &judged, &fault);
    if (status == MS_REJECT) {
        answer->outcome = MS_VT_TRANSIENT;
        (void)snprintf(answer->why, sizeof answer->why, "the answer is unusable: %.200s",
                       fault.text);
        return MS_OK;
    }
    if (status != MS_OK) {
        if (err)
            *err = fault;
        return status;
    }
    ms_step("label.lookup.judged");
    if (judged.report.format != MS_RECORD_VT3) { /* what import takes is not what the API answers */
        answer->outcome = MS_VT_TRANSIENT;
        (void)snprintf(answer->why, sizeof answer->why,
                       "the answer is unusable: no file object of version 3");
    } else if (!ms_judged_is_about(&judged, hash)) {
        answer->outcome = MS_VT_TRANSIENT;
        (void)snprintf(answer->why, sizeof answer->why, "the answer is about another file");
    } else {
        status = store_found(self, before, hash, answer->body, &judged, out, err);
    }
    ms_judged_release(&judged);
    return status;
}

/* After the last try: the hash is put off, for a day at least where tries are charged, and three
 * such hashes in a row end the run. */
static enum ms_status give_up(struct ms_asker *self, const struct ms_lookup *before,
                              const struct ms_vt_answer *answer, struct ms_asked *out,
                              struct ms_error *err)
{
    int64_t tries = tries_in_state(before, "error");
    bool charged = tries_for(answer) <= TRIES_USELESS;
    int64_t first = charged ? DAY_MS : HOUR_MS, most = charged ? 16 * DAY_MS : DAY_MS;
    int64_t pause = first << (tries < 6 ? tries - 1 : 5);
    out->state = "error";
    (void)snprintf(out->reason, sizeof out->reason, "%s", answer->why);
    out->due_ms = ms_clock_wall_ms() + (pause < most ? pause : most);
    enum ms_status status = store_state(self, before, out, err);
    return status == MS_OK ? ms_asker_failed(self, answer, err) : status;
}

enum ms_status ms_asker_end(struct ms_asker *self, const struct ms_lookup *before,
                            const struct ms_vt_answer *answer, struct ms_asked *out,
                            struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms();
    out->sample = before->sample;
    switch (answer->outcome) {
    case MS_VT_NOT_FOUND:
        out->state = "not_found";
        out->due_ms = ms_plan_not_found_due_ms(tries_in_state(before, "not_found"), now);
        out->due_ms = sooner(before, 0, now, out->due_ms);
        break;
    case MS_VT_BAD_HASH:
        out->state = "invalid";
        (void)snprintf(out->reason, sizeof out->reason, "%s", answer->why);
        break;
    case MS_VT_NOT_YET:
        out->state = "pending";
        out->due_ms = now + HOUR_MS;
        break;
    default:
        return ms_asker_barred(answer, "look files up", err);
    }
    return store_state(self, before, out, err);
}

/* One look-up on its way through ms_asker_call. */
struct looking {
    struct ms_asker *asker;
    const struct ms_lookup *before;
    const char *hash;
    struct ms_asked *out;
};

static enum ms_status send_lookup(void *ctx, struct ms_vt_answer *answer, struct ms_error *err)
{
    struct looking *self = ctx;
    return ms_vt_file(self->asker->vt, self->hash, answer, err);
}

static enum ms_status take_lookup(void *ctx, struct ms_vt_answer *answer, struct ms_error *err)
{
    struct looking *self = ctx;
    return take_report(self->asker, self->before, self->hash, answer, self->out, err);
}

enum ms_status ms_asker_ask(struct ms_asker *self, const struct ms_lookup *lookup, const char *hash,
                            struct ms_asked *out, struct ms_error *err)
{
    struct looking looking = {self, lookup, hash, out};
    const struct ms_call call = {.endpoint = "files",
                                 .subject = hash,
                                 .step_reserved = "label.lookup.reserved",
                                 .step_answered = "label.lookup.answered",
                                 .send = send_lookup,
                                 .take = take_lookup,
                                 .ctx = &looking};
    struct ms_vt_answer answer;
    *out = (struct ms_asked){.state = "pending", .sample = lookup->sample};
    if (ms_is_empty_file(hash)) {
        out->state = "invalid";
        (void)snprintf(out->reason, sizeof out->reason, "the empty file");
        return store_state(self, lookup, out, err);
    }
    enum ms_status status = ms_asker_call(self, &call, &answer, err);
    if (status != MS_OK || self->done || answer.outcome == MS_VT_FOUND)
        return status;
    if (answer.outcome == MS_VT_TRANSIENT)
        return give_up(self, lookup, &answer, out, err);
    return ms_asker_end(self, lookup, &answer, out, err);
}
