/* Runs of label: what is opened in which order, which hashes are due, what is printed and recorded.
 */
#include "label/session_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "label/list.h"
#include "label/submission.h"
#include "store/run.h"
#include "store/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VT_URL "https://www.virustotal.com/api/v3"

void ms_label_defaults(void *options)
{
    struct ms_label_options *o = options;
    o->vt_url = VT_URL;
    o->policy = "ember2024";
}

enum ms_status ms_session_find_policy(const char *name, const struct ms_policy **out,
                                      struct ms_error *err)
{
    char shown[64];
    *out = ms_policy_find(name);
    return *out
               ? MS_OK
               : ms_error_set(err, MS_E_USAGE,
                              "no policy '%s'; there are ember2024, sophos-1-5, ember2017, ratio30",
                              ms_escape_text(name, shown, sizeof shown));
}

enum ms_status ms_session_parse_until(const char *text, int64_t *out, struct ms_error *err)
{
    unsigned hour, minute;
    char rest;
    *out = 0;
    if (!text)
        return MS_OK;
    if (strlen(text) > 5 || strspn(text, "0123456789:") != strlen(text) ||
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
    enum ms_status status =
        ms_vt_new(o->vt_url, self->secret, user && user[0] ? user : NULL, &self->vt, err);
    if (status == MS_OK)
        status = ms_session_parse_until(o->until, &limits.until_ms, err);
    if (status != MS_OK)
        return status;
    if (!user || !user[0])
        ms_log(MS_LOG_INFO,
               "taking it that the key has a public key's quota; name the account with "
               "--vt-user or in VT_USER to use its own");
    ms_secret_fingerprint(self->secret, print);
    self->asker = (struct ms_asker){
        .corpus = self->corpus, .worker = self->worker, .policy = self->policy, .vt = self->vt};
    ms_rng_init(&self->asker.rng, self->cli->common.seed, 0x6c6f6f6b, 0);
    return ms_quota_open(&self->asker.quota, self->corpus, print, &limits, err);
}

void ms_session_close(struct ms_session *self)
{
    ms_vt_free(self->vt);
    ms_secret_free(self->secret);
    ms_corpus_close(self->corpus);
    ms_worker_stop(self->worker);
    free(self->wanted);
    free(self->answered);
}

/* ---- --hashes ---- */

static enum ms_status want(struct ms_session *self, int64_t sample, struct ms_error *err)
{
    if (self->wanted_count == self->wanted_cap) {
        size_t cap = self->wanted_cap ? self->wanted_cap * 2 : 256;
        int64_t *longer = realloc(self->wanted, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->wanted = longer;
        self->wanted_cap = cap;
    }
    self->wanted[self->wanted_count++] = sample;
    return MS_OK;
}

static enum ms_status reject_line(struct ms_session *self, uint64_t line, const char *text,
                                  const char *why, struct ms_error *err)
{
    const struct ms_shown row = {.hash = text, .state = "invalid", .reason = why};
    self->rejected++;
    ms_log(MS_LOG_WARNING, "%s line %llu: '%s': %s", self->options->hashes,
           (unsigned long long)line, text, why);
    return ms_show_hash(&row, self->cli->common.json, err);
}

static enum ms_status take_line(void *ctx, uint64_t line, const char *hash, const char *text,
                                struct ms_error *err)
{
    struct ms_session *self = ctx;
    struct ms_sample sample = {.size = -1, .machine = -1};
    struct ms_error why = {0};
    int64_t id = 0;
    bool inserted = false;
    if (!hash)
        return reject_line(self, line, text, "not an MD5, SHA-1 or SHA-256", err);
    if (ms_is_empty_file(hash))
        return reject_line(self, line, text, "the empty file is never asked", err);
    size_t n = strlen(hash);
    sample.has_md5 = n == 32 && ms_hex_decode(hash, MS_MD5_BYTES, sample.digests.md5);
    sample.has_sha1 = n == 40 && ms_hex_decode(hash, MS_SHA1_BYTES, sample.digests.sha1);
    sample.has_sha256 = n == 64 && ms_hex_decode(hash, MS_SHA256_BYTES, sample.digests.sha256);
    enum ms_status status =
        ms_sample_upsert(self->corpus, &sample, self->run, &id, &inserted, &why);
    if (status == MS_REJECT)
        return reject_line(self, line, text, why.text, err);
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    return want(self, id, err);
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts the samples wanted, each once. */
static enum ms_status sort_wanted(struct ms_session *self, struct ms_error *err)
{
    size_t kept = 0;
    qsort(self->wanted, self->wanted_count, sizeof *self->wanted, compare_ids);
    for (size_t i = 0; i < self->wanted_count; i++)
        if (kept == 0 || self->wanted[kept - 1] != self->wanted[i])
            self->wanted[kept++] = self->wanted[i];
    self->wanted_count = kept;
    self->answered = calloc(kept + 1, sizeof *self->answered);
    return self->answered ? MS_OK : ms_error_set(err, MS_E_NOMEM, "out of memory");
}

/* Adds the listed hashes and everything collected since. Inside a transaction. */
static enum ms_status enqueue(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (self->options->hashes) {
        status = want(self, 0, err); /* a list without good lines wants nothing, not everything */
        if (status == MS_OK)
            status = ms_list_read(self->options->hashes, take_line, self, err);
        if (status == MS_OK)
            status = sort_wanted(self, err);
    }
    if (status == MS_OK)
        status = ms_submission_mend(self->corpus, err);
    return status == MS_OK ? ms_lookup_enqueue_all(self->corpus, err) : status;
}

/* The place of a sample among those wanted, or wanted_count. */
static size_t find_wanted(const struct ms_session *self, int64_t sample)
{
    const int64_t *at = self->wanted ? bsearch(&sample, self->wanted, self->wanted_count,
                                               sizeof sample, compare_ids)
                                     : NULL;
    return at ? (size_t)(at - self->wanted) : self->wanted_count;
}

bool ms_session_is_wanted(const struct ms_session *self, int64_t sample)
{
    return !self->options->hashes || find_wanted(self, sample) < self->wanted_count;
}

/* ---- the look-ups ---- */

enum ms_status ms_session_show(struct ms_session *self, int64_t sample, const char *hash,
                               const struct ms_asked *asked, struct ms_error *err)
{
    struct ms_label label;
    struct ms_error why = {0};
    enum ms_status status = ms_label_get(self->corpus, sample, self->policy->name, &label, &why);
    bool has = status == MS_OK;
    if (status != MS_OK && status != MS_REJECT) {
        if (err)
            *err = why;
        return status;
    }
    for (unsigned i = 0; has && i < 5; i++)
        if (strcmp(label.verdict, ms_verdict_name((enum ms_verdict)i)) == 0)
            self->verdicts[i]++;
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

static enum ms_status visit_due(void *ctx, const struct ms_lookup *lookup, const char *hash,
                                struct ms_error *err)
{
    struct ms_session *self = ctx;
    struct ms_asked asked;
    if (!ms_session_is_wanted(self, lookup->sample) || self->asker.done)
        return MS_OK;
    if (self->counting) {
        self->due++;
        return MS_OK;
    }
    if (self->cli->common.dry_run) {
        const struct ms_shown row = {.hash = hash, .state = lookup->state, .would_ask = true};
        if (self->options->budget && self->asked >= self->options->budget)
            return MS_OK;
        self->asked++;
        return ms_show_hash(&row, self->cli->common.json, err);
    }
    enum ms_status status = ms_asker_ask(&self->asker, lookup, hash, &asked, err);
    /* The hash whose failure ends the run has its state all the same. */
    bool last = status == MS_E_REMOTE && strcmp(asked.state, "error") == 0;
    if ((status != MS_OK && !last) || self->asker.done)
        return status;
    self->asked++;
    if (find_wanted(self, lookup->sample) < self->wanted_count)
        self->answered[find_wanted(self, lookup->sample)] = true;
    self->changed += asked.changed;
    if (strcmp(asked.state, "error") == 0 || strcmp(asked.state, "invalid") == 0)
        self->rejected++;
    ms_progress_update(self->asked);
    struct ms_error fault = {0};
    enum ms_status shown = ms_session_show(self, lookup->sample, hash, &asked, last ? &fault : err);
    return last ? status : shown;
}

/* The listed hashes that were not asked now: known already, not due, private, or out of quota. */
static enum ms_status show_rest(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->wanted_count && status == MS_OK; i++) {
        struct ms_lookup lookup = {.state = "pending"};
        struct ms_asked asked = {.state = "pending"};
        struct ms_sample sample;
        char hash[MS_HASH_HEX_MAX];
        bool found = false;
        if (self->answered[i] || self->wanted[i] == 0)
            continue;
        status = ms_sample_get(self->corpus, self->wanted[i], &sample, err);
        if (status == MS_OK)
            status = ms_lookup_get(self->corpus, self->wanted[i], &found, &lookup, err);
        if (status != MS_OK)
            break;
        if (sample.private_)
            (void)snprintf(asked.reason, sizeof asked.reason, "private: never asked");
        asked.state = lookup.state;
        asked.due_ms = lookup.due_ms;
        const struct ms_digests *d = &sample.digests;
        ms_hex_encode(sample.has_sha256 ? d->sha256
                      : sample.has_sha1 ? d->sha1
                                        : d->md5,
                      sample.has_sha256 ? MS_SHA256_BYTES
                      : sample.has_sha1 ? MS_SHA1_BYTES
                                        : MS_MD5_BYTES,
                      hash);
        status = ms_session_show(self, self->wanted[i], hash, &asked, err);
    }
    return status;
}

static enum ms_status count_due(struct ms_session *self, struct ms_error *err)
{
    self->counting = true;
    enum ms_status status =
        ms_lookup_foreach_due(self->corpus, ms_clock_wall_ms(), UINT64_MAX, visit_due, self, err);
    self->counting = false;
    return status;
}

static enum ms_status visit_all_due(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = count_due(self, err);
    if (status != MS_OK)
        return status;
    if (!self->cli->common.dry_run)
        ms_progress_begin("looking up hashes", self->due, "hashes");
    status =
        ms_lookup_foreach_due(self->corpus, ms_clock_wall_ms(), UINT64_MAX, visit_due, self, err);
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
    ms_corpus_rollback(self->corpus);
    return status;
}

static void say_end(const struct ms_session *self)
{
    struct ms_lookup_counts counts = {0};
    if (ms_lookup_count(self->corpus, &counts, NULL) != MS_OK)
        return;
    ms_log(
        MS_LOG_INFO,
        "asked %llu hashes with %llu requests: %llu malicious, %llu benign, %llu uncertain, %llu "
        "immature, %llu not found, %llu rejected%s%s",
        (unsigned long long)self->asked, (unsigned long long)self->asker.requests,
        (unsigned long long)self->verdicts[0], (unsigned long long)self->verdicts[1],
        (unsigned long long)self->verdicts[2], (unsigned long long)self->verdicts[3],
        (unsigned long long)self->verdicts[4], (unsigned long long)self->rejected,
        self->asker.done ? "; stopped: " : "", self->asker.done ? self->asker.done : "");
    ms_log(
        MS_LOG_INFO,
        "the corpus: %llu labelled, %llu not found, %llu pending, %llu invalid, %llu to be tried "
        "again after errors",
        (unsigned long long)counts.labelled, (unsigned long long)counts.not_found,
        (unsigned long long)counts.pending, (unsigned long long)counts.invalid,
        (unsigned long long)counts.error);
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
        stored = ms_run_end(self->corpus, self->run, ms_status_exit_code(status), counts, NULL,
                            status == MS_OK || status == MS_REJECT ? err : NULL);
    return (status == MS_OK || status == MS_REJECT) && stored != MS_OK ? stored : status;
}

static enum ms_status ask_all(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = ms_session_open_service(self, err);
    if (status == MS_OK)
        status = ms_run_begin(self->corpus, "label", self->cli->argc, self->cli->argv,
                              self->cli->common.seed, &self->run, err);
    self->asker.run = self->run;
    if (status == MS_OK)
        status = ms_corpus_begin(self->corpus, err);
    if (status == MS_OK)
        status = enqueue(self, err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(self->corpus);
    if (status == MS_OK)
        status = ms_asker_read_quota(&self->asker, err);
    if (status == MS_OK)
        status = visit_all_due(self, err);
    if (self->run)
        say_end(self);
    if (status == MS_OK)
        status = show_rest(self, err);
    else if (status == MS_E_LATER)
        (void)show_rest(self, NULL); /* why the run ends stays in err */
    return ms_session_end(self, status, err);
}

enum ms_status ms_label_run(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_session self = {.cli = cli, .options = cli->options};
    bool dry = cli->common.dry_run;
    int64_t until;
    enum ms_status status = ms_session_find_policy(self.options->policy, &self.policy, err);
    if (status == MS_OK)
        status = ms_session_parse_until(self.options->until, &until, err);
    /* The key first: reading it wipes it from argv, and its page reads as zeros in what is forked;
     * connections only after. */
    if (status == MS_OK && !dry)
        status = ms_session_read_key(&self, err);
    if (status == MS_OK && !dry)
        status = ms_session_start_worker(&self, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, dry ? MS_CORPUS_WRITE : MS_CORPUS_CREATE,
                                &self.corpus, err);
    if (status == MS_OK)
        status = dry ? dry_run(&self, err) : ask_all(&self, err);
    ms_session_close(&self);
    return status;
}

/* ---- quota ---- */

enum ms_status ms_label_quota(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_session self = {.cli = cli, .options = cli->options};
    enum ms_status status = ms_session_read_key(&self, err);
    bool busy = false;
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_CREATE, &self.corpus, err);
    /* While a run holds the corpus, people still want to know how far it is. */
    if (status == MS_E_LATER) {
        busy = true;
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &self.corpus, err);
    }
    if (status == MS_OK)
        status = ms_session_open_service(&self, err);
    self.asker.quota.read_only = busy;
    if (status == MS_OK)
        status = ms_asker_read_quota(&self.asker, err);
    if (status == MS_OK)
        status = ms_show_quota(&self.asker.quota, cli->common.json, err);
    ms_session_close(&self);
    return status;
}
