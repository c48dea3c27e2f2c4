/* What the runs of label have in common: what is opened in which order, what is printed and
 * recorded of a hash. Which hashes: label/run. */
#include "label/session_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "label/keylock.h"
#include "store/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VT_URL "https://www.virustotal.com/api/v3"

void ms_label_defaults(void *options)
{
    struct ms_label_options *o = options;
    o->vt_url = VT_URL;
    o->policy = "ember2024";
}

enum ms_status ms_session_open_deriver(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = ms_deriver_open(&self->deriver, self->policy, self->cli->common.corpus,
                                            self->options->avclass_data, self->options->as_of, err);
    self->deriver.corpus = self->corpus;
    self->deriver.worker = self->worker;
    return status;
}

enum ms_status ms_session_parse_until(const char *text, int64_t *out, struct ms_error *err)
{
    unsigned hour, minute;
    char rest;
    *out = 0;
    if (!text)
        return MS_OK;
    if (strlen(text) > 5 || strspn(text, "0123456789:") != strlen(text) ||
        /* NOLINTNEXTLINE(cert-err34-c): two digits convert */
        sscanf(text, "%2u:%2u%c", &hour, &minute, &rest) != 2 || hour > 23 || minute > 59)
        return ms_error_set(err, MS_E_USAGE, "--until wants HH:MM, a time of day in UTC");
    int64_t now = ms_clock_wall_ms();
    *out = ms_clock_day_start(now) + (int64_t)(hour * 60 + minute) * 60000;
    if (*out <= now)
        *out += 86400000;
    return MS_OK;
}

enum ms_status ms_session_start_worker(struct ms_session *self, struct ms_error *err)
{
    const struct ms_worker_options options = {&ms_vtjson_kind, 1, self->cli->common.no_confine};
    return ms_worker_start(&options, &self->worker, err);
}

enum ms_status ms_session_read_key(struct ms_session *self, struct ms_error *err)
{
    const struct ms_cli_secret *key = &self->options->vt_key;
    enum ms_status status = ms_secret_read(key->given ? key->spec : NULL, key->wipe, "VT_API_KEY",
                                           "VirusTotal key", &self->secret, err);
    if (status == MS_OK && strpbrk(ms_secret_value(self->secret), ",;:|"))
        return ms_error_set(err, MS_E_USAGE,
                            "one key a run: VirusTotal does not allow several accounts to be used "
                            "to get round its limits");
    return status;
}

enum ms_status ms_session_open_service(struct ms_session *self, struct ms_error *err)
{
    const struct ms_label_options *o = self->options;
    const char *user = o->vt_user ? o->vt_user : getenv("VT_USER");
    struct ms_quota_options limits = {.budget = o->budget ? o->budget : UINT64_MAX,
                                      .seed = self->cli->common.seed};
    char print[9];
    /* The service would take the key for an id; it would stand in the URL, and in proxies' logs. */
    if (user && strstr(user, ms_secret_value(self->secret)))
        return ms_error_set(err, MS_E_USAGE,
                            "--vt-user (or VT_USER) is the account's id, not its key: it goes into "
                            "a URL, where no key belongs");
    enum ms_status status =
        ms_vt_new(o->vt_url, self->secret, user && user[0] ? user : NULL, &self->vt, err);
    if (status == MS_OK)
        status = ms_session_parse_until(o->until, &limits.until_ms, err);
    if (status == MS_OK && self->policy)
        status = ms_session_open_deriver(self, err);
    if (status != MS_OK)
        return status;
    if (!user || !user[0])
        ms_log(MS_LOG_INFO,
               "taking it that the key has a public key's quota; name the account with "
               "--vt-user or in VT_USER to use its own");
    ms_secret_fingerprint(self->secret, print);
    self->asker = (struct ms_asker){.corpus = self->corpus,
                                    .worker = self->worker,
                                    .policy = self->policy,
                                    .deriver = &self->deriver,
                                    .vt = self->vt,
                                    .named = user && user[0]};
    ms_rng_init(&self->asker.rng, self->cli->common.seed, 0x6c6f6f6b, 0);
    return ms_quota_open(&self->asker.quota, self->corpus, print, &limits, err);
}

bool ms_session_is_wanted(const struct ms_session *self, int64_t sample)
{
    return !self->options->hashes || ms_hashes_find(&self->hashes, sample);
}

enum ms_status ms_session_lock_key(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status =
        ms_keylock_take(self->asker.quota.key_print, self->cli->common.corpus, &self->key_fd, err);
    self->key_locked = status == MS_OK;
    return status;
}

void ms_session_close(struct ms_session *self)
{
    ms_deriver_close(&self->deriver);
    ms_policy_free(self->policy);
    ms_vt_free(self->vt);
    ms_secret_free(self->secret);
    ms_corpus_close(self->corpus);
    ms_worker_stop(self->worker);
    ms_hashes_release(&self->hashes);
    if (self->key_locked)
        close(self->key_fd); /* gives the key's lock back */
}

/* ---- what every run says and writes ---- */

enum ms_status ms_session_show(struct ms_session *self, int64_t sample, const char *hash,
                               const struct ms_asked *asked, struct ms_error *err)
{
    struct ms_label label;
    struct ms_error why = {0};
    const char *policy = self->deriver.name[0] ? self->deriver.name : self->policy->name;
    enum ms_status status = ms_label_get(self->corpus, sample, policy, &label, &why);
    bool has = status == MS_OK;
    if (status != MS_OK && status != MS_REJECT) {
        if (err)
            *err = why;
        return status;
    }
    enum ms_verdict verdict = has ? ms_verdict_by_name(label.verdict) : MS_VERDICT_COUNT;
    if (verdict != MS_VERDICT_COUNT && !asked->again)
        self->verdicts[verdict]++;
    const struct ms_shown row = {.hash = hash,
                                 .state = asked->state,
                                 .reason = asked->reason,
                                 .label = has ? &label : NULL,
                                 .due_ms = asked->due_ms};
    status = ms_show_hash(&row, self->cli->common.json, err);
    (void)fflush(stdout); /* four a minute: whoever reads along wants them as they come */
    if (has)
        ms_label_release(&label);
    return status;
}

void ms_session_say_agreement(const struct ms_session *self)
{
    uint64_t both = 0, agree = 0;
    if (ms_label_agreement(self->corpus, self->deriver.name, &both, &agree, NULL) != MS_OK ||
        both == 0)
        return;
    ms_log(MS_LOG_INFO,
           "class: VirusTotal's own category says the same of %llu of the %llu labels under %s "
           "that have both",
           (unsigned long long)agree, (unsigned long long)both, self->deriver.name);
}

enum ms_status ms_session_end(struct ms_session *self, enum ms_status status, struct ms_error *err)
{
    char counts[256];
    if (status == MS_OK && self->rejected > 0) {
        status = MS_REJECT; /* each was named when it came */
        if (err)
            err->text[0] = '\0';
    }
    (void)snprintf(counts, sizeof counts,
                   "{\"asked\":%llu,\"requests\":%llu,\"changed\":%llu,\"rejected\":%llu}",
                   (unsigned long long)self->asked, (unsigned long long)self->asker.requests,
                   (unsigned long long)self->changed, (unsigned long long)self->rejected);
    enum ms_status stored = MS_OK;
    if (self->run)
        stored = ms_run_end(self->corpus, self->run,
                            ms_stop_signal() ? 128 + ms_stop_signal() : ms_status_exit_code(status),
                            counts, NULL, status == MS_OK || status == MS_REJECT ? err : NULL);
    return (status == MS_OK || status == MS_REJECT) && stored != MS_OK ? stored : status;
}
