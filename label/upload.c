/* Which files are uploaded, on whose word, and what comes of it. The requests: label/vtsubmit. */
#include "label/upload.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "label/session_private.h"
#include "label/submission.h"
#include "label/vtsubmit.h"
#include "store/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct item {
    int64_t sample;
    int64_t size;
    uint8_t sha256[MS_SHA256_BYTES];
    char hash[MS_HASH_HEX_MAX];
};

struct uploader {
    struct ms_session *session;
    struct item *items;
    size_t count, cap;
    uint64_t bytes;  /* of all items */
    uint64_t barred; /* vaulted and unknown there, but not to be sent */
    uint64_t sent, sent_bytes;
};

enum ms_status ms_upload_check(const struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_label_options *o = cli->options;
    if (o->yes && !o->upload)
        return ms_error_set(err, MS_E_USAGE, "--yes says yes to --upload, which is not there");
    if (!o->upload || o->yes || cli->common.dry_run)
        return MS_OK;
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
        return MS_OK;
    return ms_error_set(err, MS_E_USAGE,
                        "--upload gives files away for good and asks before it does, but there is "
                        "no terminal to ask on; see what it would send with --dry-run, and say "
                        "--yes to send it");
}

const char *ms_upload_bar(const struct ms_upload *upload, int64_t now_ms)
{
    if (upload->private_)
        return "private: never uploaded";
    if (upload->benign)
        return "claimed benign by an origin: never uploaded";
    if (!upload->sighted)
        return "no origin is known of it: never uploaded";
    if (upload->truncated)
        return "cut short: never uploaded";
    if (upload->size <= 0)
        return "empty, or of unknown size: never uploaded";
    if ((uint64_t)upload->size > MS_LIMIT_UPLOAD_BYTES)
        return "larger than the 650 MB that VirusTotal takes";
    if (upload->sent_ms > 0 && now_ms - upload->sent_ms < MS_SUBMISSION_AGAIN_MS)
        return upload->sent_status == 200 || upload->sent_status == 409
                   ? "uploaded less than 30 days ago"
                   : "refused by the service less than 30 days ago";
    return NULL;
}

static enum ms_status show(const struct uploader *self, const struct item *item,
                           const char *outcome, const char *reason, int64_t due_ms,
                           struct ms_error *err)
{
    const struct ms_submission_row row = {.action = "upload",
                                          .outcome = outcome,
                                          .hash = item->hash,
                                          .reason = reason,
                                          .bytes = item->size,
                                          .due_ms = due_ms};
    return ms_submission_show(&row, self->session->cli->common.json, err);
}

/* ---- which ---- */

static enum ms_status keep(struct uploader *self, const struct item *item, struct ms_error *err)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        struct item *longer = realloc(self->items, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->items = longer;
        self->cap = cap;
    }
    self->items[self->count++] = *item;
    self->bytes += (uint64_t)item->size;
    return MS_OK;
}

/* Writes the state of a sample that was sent at sent_ms, or was not: state NULL changes its reason
 * alone. */
static enum ms_status store(const struct uploader *self, int64_t sample, const char *state,
                            const char *reason, int64_t sent_ms, struct ms_error *err)
{
    struct ms_corpus *corpus = self->session->corpus;
    bool nested = self->session->cli->common.dry_run;
    enum ms_status status = nested ? MS_OK : ms_corpus_begin(corpus, err);
    if (status == MS_OK)
        status = state ? ms_lookup_expect(corpus, sample, state, reason, sent_ms,
                                          sent_ms + MS_SUBMISSION_WAIT_MS, err)
                       : ms_lookup_explain(corpus, sample, reason, err);
    if (status == MS_OK && !nested)
        status = ms_corpus_commit(corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(corpus);
    else
        ms_step("label.upload.stored");
    return status;
}

/* A file that stays here although somebody may wonder: shown, with the reason in its row. */
static enum ms_status refuse(struct uploader *self, const struct item *item, const char *outcome,
                             const char *why, struct ms_error *err)
{
    self->session->rejected++;
    enum ms_status status = store(self, item->sample, NULL, why, 0, err);
    return status == MS_OK ? show(self, item, outcome, why, 0, err) : status;
}

static enum ms_status visit(void *ctx, const struct ms_upload *upload, struct ms_error *err)
{
    struct uploader *self = ctx;
    struct item item = {.sample = upload->sample, .size = upload->size};
    if (!ms_session_is_wanted(self->session, upload->sample))
        return MS_OK;
    memcpy(item.sha256, upload->sha256, sizeof item.sha256);
    ms_hex_encode(item.sha256, sizeof item.sha256, item.hash);
    const char *bar = ms_upload_bar(upload, ms_clock_wall_ms());
    if (!bar && ms_is_empty_file(item.hash))
        bar = "the empty file: never uploaded";
    if (!bar)
        return keep(self, &item, err);
    self->barred++;
    ms_log(MS_LOG_DEBUG, "%s: %s", item.hash, bar);
    /* What is too large is nobody's choice. */
    bool large = upload->size > 0 && (uint64_t)upload->size > MS_LIMIT_UPLOAD_BYTES;
    return large && !upload->private_ && !upload->benign ? refuse(self, &item, "refused", bar, err)
                                                         : MS_OK;
}

/* ---- the question ---- */

static void megabytes(uint64_t bytes, char out[32])
{
    if (bytes < 100000)
        (void)snprintf(out, 32, "%llu bytes", (unsigned long long)bytes);
    else
        (void)snprintf(out, 32, "%.1f MB", (double)bytes / 1e6);
}

/* Nothing but the word itself is a yes. */
static bool confirm(const struct uploader *self)
{
    char answer[16] = "", size[32];
    megabytes(self->bytes, size);
    (void)fflush(stdout);
    (void)fprintf(stderr,
                  "label: %zu file%s of the vault, %s, unknown to %s, would be uploaded there.\n"
                  "This makes their content available to VirusTotal's partners and customers, and "
                  "cannot be taken back.\n"
                  "Upload them? Type \"yes\" to do so [no]: ",
                  self->count, self->count == 1 ? "" : "s", size, ms_vt_base(self->session->vt));
    (void)fflush(stderr);
    if (!fgets(answer, sizeof answer, stdin)) {
        (void)fputc('\n', stderr);
        return false;
    }
    answer[strcspn(answer, "\r\n")] = '\0';
    return strcmp(answer, "yes") == 0;
}

/* ---- one file ---- */

struct sending {
    struct ms_vt *vt;
    const struct item *item;
    struct ms_url *url; /* NULL: POST /files */
    int fd;
    uint64_t bytes;
};

static enum ms_status send_url(void *ctx, struct ms_vt_answer *answer, struct ms_error *err)
{
    const struct sending *self = ctx;
    return ms_vt_upload_url(self->vt, self->url, answer, err);
}

static enum ms_status send_file(void *ctx, struct ms_vt_answer *answer, struct ms_error *err)
{
    const struct sending *self = ctx;
    return ms_vt_upload(self->vt, self->url, self->fd, self->bytes, self->item->hash, answer, err);
}

/* An answer that leaves the file here. */
static enum ms_status take_fault(struct uploader *self, const struct item *item,
                                 const struct ms_vt_answer *answer, struct ms_error *err)
{
    if (answer->outcome == MS_VT_BAD_KEY || answer->outcome == MS_VT_FORBIDDEN)
        return ms_asker_barred(answer, "upload files", err);
    enum ms_status status = refuse(self, item, "failed", answer->why, err);
    return status == MS_OK ? ms_asker_failed(&self->session->asker, answer, err) : status;
}

static enum ms_status take(struct uploader *self, const struct item *item,
                           const struct ms_vt_answer *answer, struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms(), due = now + MS_SUBMISSION_WAIT_MS;
    char why[320];
    enum ms_status status;
    switch (answer->outcome) {
    case MS_VT_FOUND:
        self->sent++;
        self->sent_bytes += (uint64_t)item->size;
        status = store(self, item->sample, "pending", "uploaded", now, err);
        return status == MS_OK ? show(self, item, "uploaded", NULL, due, err) : status;
    case MS_VT_BAD_HASH: /* it would say the same tomorrow */
        return refuse(self, item, "refused", answer->why, err);
    case MS_VT_TRANSIENT: /* it may have arrived all the same */
        (void)snprintf(why, sizeof why, "uploaded, but: %s", answer->why);
        self->session->rejected++;
        status = store(self, item->sample, "pending", why, now, err);
        if (status == MS_OK)
            status = show(self, item, "failed", answer->why, due, err);
        return status == MS_OK ? ms_asker_failed(&self->session->asker, answer, err) : status;
    default:
        return take_fault(self, item, answer, err);
    }
}

/* Gets the one-time URL of a large file. *go false: the file stays here, or the run is over. */
static enum ms_status get_url(struct uploader *self, const struct item *item,
                              struct sending *sending, bool *go, struct ms_error *err)
{
    struct ms_asker *asker = &self->session->asker;
    const struct ms_call call = {.endpoint = MS_ENDPOINT_UPLOAD_URL,
                                 .subject = item->hash,
                                 .step_reserved = "label.upload_url.reserved",
                                 .step_answered = "label.upload_url.answered",
                                 .send = send_url,
                                 .ctx = sending};
    struct ms_vt_answer answer;
    *go = false;
    if (asker->quota.options.budget < 2) { /* the URL alone would be a request for nothing */
        asker->done = "the run's budget is used up";
        return MS_OK;
    }
    enum ms_status status = ms_asker_call(asker, &call, &answer, err);
    if (status != MS_OK || asker->done)
        return status;
    *go = answer.outcome == MS_VT_FOUND;
    if (*go)
        return MS_OK;
    status = take_fault(self, item, &answer, err);
    /* A service that sends files elsewhere is not the one the user meant. */
    return status == MS_OK && answer.outcome == MS_VT_BAD_HASH
               ? ms_error_set(err, MS_E_REMOTE, "%s; nothing more is uploaded", answer.why)
               : status;
}

/* The file is open in memory, its digest verified. */
static enum ms_status send_item(struct uploader *self, const struct item *item, int fd,
                                uint64_t bytes, struct ms_error *err)
{
    struct ms_asker *asker = &self->session->asker;
    struct ms_url url;
    bool go = true;
    struct sending sending = {self->session->vt, item,
                              bytes > MS_LIMIT_UPLOAD_DIRECT_BYTES ? &url : NULL, fd, bytes};
    const struct ms_call call = {.endpoint = MS_ENDPOINT_UPLOAD,
                                 .subject = item->hash,
                                 .step_reserved = "label.upload.reserved",
                                 .step_answered = "label.upload.answered",
                                 .tries = 1, /* it may have arrived: a look-up tells, cheaper */
                                 .send = send_file,
                                 .ctx = &sending};
    struct ms_vt_answer answer;
    enum ms_status status = sending.url ? get_url(self, item, &sending, &go, err) : MS_OK;
    if (status != MS_OK || !go)
        return status;
    status = ms_asker_call(asker, &call, &answer, err);
    if (status != MS_OK || asker->done)
        return status;
    return take(self, item, &answer, err);
}

static enum ms_status upload_one(struct uploader *self, const struct item *item,
                                 struct ms_error *err)
{
    struct ms_error why = {0};
    uint64_t bytes = 0;
    int fd = -1;
    enum ms_status status =
        ms_vault_read_fd(self->session->corpus, MS_VAULT_SAMPLE, item->sha256, &fd, &bytes, &why);
    if (status == MS_OK) {
        if (bytes != (uint64_t)item->size)
            status = ms_error_set(&why, MS_REJECT, "the vault holds another number of bytes");
        else
            status = send_item(self, item, fd, bytes, &why);
        close(fd);
    } else if (status == MS_E_STORE) { /* one damaged object; what it holds goes nowhere */
        status = MS_REJECT;
    }
    if (status == MS_REJECT)
        return refuse(self, item, "failed", why.text, err);
    if (status != MS_OK && err)
        *err = why;
    return status;
}

/* ---- the run ---- */

static enum ms_status upload_all(struct uploader *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    bool dry = self->session->cli->common.dry_run;
    if (!dry)
        ms_progress_begin("uploading", self->count, "files");
    for (size_t i = 0; i < self->count && status == MS_OK && !self->session->asker.done; i++) {
        const struct item *item = &self->items[i];
        status = dry ? show(self, item, "would_upload", NULL, 0, err) : upload_one(self, item, err);
        ms_progress_update(i + 1);
    }
    ms_progress_end();
    return status;
}

static void say_end(const struct uploader *self)
{
    const char *done = self->session->asker.done;
    char size[32];
    megabytes(self->sent_bytes, size);
    ms_log(MS_LOG_INFO,
           "uploaded %llu of %zu files, %s; %llu more are unknown there and not to be sent%s%s",
           (unsigned long long)self->sent, self->count, size, (unsigned long long)self->barred,
           done ? "; stopped: " : "", done ? done : "");
}

/* Nobody is asked for what cannot be done now. */
static enum ms_status check_quota(const struct uploader *self, struct ms_error *err)
{
    struct ms_quota_advice advice;
    enum ms_status status = ms_quota_advise(&self->session->asker.quota, &advice, err);
    if (status != MS_OK || advice.word != MS_QUOTA_SPENT)
        return status;
    status = ms_error_set(err, MS_E_LATER, "%s; nothing uploaded", advice.why);
    if (err)
        err->resume_at_ms = advice.resume_at_ms;
    return status;
}

enum ms_status ms_upload_run(struct ms_session *session, struct ms_error *err)
{
    struct uploader self = {.session = session};
    bool dry = session->cli->common.dry_run;
    if (session->asker.done) {
        ms_log(MS_LOG_INFO, "nothing uploaded: %s", session->asker.done);
        return MS_OK;
    }
    enum ms_status status = ms_upload_foreach(session->corpus, visit, &self, err);
    bool ask = status == MS_OK && self.count > 0 && !dry && !session->options->yes;
    if (ask)
        status = check_quota(&self, err);
    if (ask && status == MS_OK && !confirm(&self)) {
        ms_log(MS_LOG_WARNING, "nothing uploaded");
    } else if (status == MS_OK) {
        status = upload_all(&self, err);
        if (!dry)
            say_end(&self);
    }
    free(self.items);
    return status;
}
