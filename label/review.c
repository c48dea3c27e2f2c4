/* Work on stored answers, without a request: judging them again, and explaining one label. */
#include "label/session_private.h"

#include "base/log.h"
#include "base/progress.h"
#include "store/run.h"
#include "store/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum ms_status open_stored(struct ms_session *self, struct ms_cli *cli,
                                  enum ms_corpus_mode mode, struct ms_error *err)
{
    *self = (struct ms_session){.cli = cli, .options = cli->options};
    enum ms_status status = ms_policy_open(self->options->policy, &self->policy, err);
    if (status == MS_OK)
        status = ms_session_start_worker(self, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, mode, &self->corpus, err);
    return status == MS_OK ? ms_session_open_deriver(self, err) : status;
}

/* ---- relabel ---- */

/* A sample on its way through the queue, which keeps the order. */
struct waiting {
    int64_t due_ms;
    const char *state; /* static text */
    char hash[MS_HASH_HEX_MAX];
};

enum { WAITING = 4 * MS_LIMIT_SCAN_BATCH }; /* more than the queue holds */

struct relabel {
    struct ms_session *session;
    struct ms_derive_queue *queue;
    struct waiting items[WAITING];
    uint64_t added, done;
};

static enum ms_status show_relabelled(void *ctx, const struct ms_derived *derived,
                                      const struct ms_judged *held, const struct ms_scan *scan,
                                      struct ms_error *err)
{
    struct relabel *self = ctx;
    struct ms_session *session = self->session;
    const struct waiting *item = &self->items[self->done++ % WAITING];
    const struct ms_asked asked = {.sample = derived->sample,
                                   .state = item->state,
                                   .due_ms = item->due_ms,
                                   .changed = derived->changed};
    (void)held;
    (void)scan;
    session->asked++;
    session->changed += derived->changed;
    session->rejected += derived->unusable;
    ms_progress_update(session->asked);
    return ms_session_show(session, derived->sample, item->hash, &asked, err);
}

static enum ms_status visit_relabel(void *ctx, const struct ms_lookup *lookup, const char *hash,
                                    struct ms_error *err)
{
    struct relabel *self = ctx;
    struct waiting *item = &self->items[self->added++ % WAITING];
    *item = (struct waiting){.due_ms = lookup->due_ms,
                             .state = strcmp(lookup->state, "not_found") == 0 ? "not_found"
                                                                              : "labelled"};
    (void)snprintf(item->hash, sizeof item->hash, "%s", hash);
    return ms_derive_queue_add(self->queue, lookup->sample, err);
}

static enum ms_status derive_all(struct ms_session *session, struct ms_error *err)
{
    struct relabel *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->session = session;
    enum ms_status status =
        ms_derive_queue_new(&session->deriver, show_relabelled, self, &self->queue, err);
    if (status == MS_OK)
        status = ms_lookup_foreach_answered(session->corpus, visit_relabel, self, err);
    if (status == MS_OK)
        status = ms_derive_queue_flush(self->queue, err);
    ms_derive_queue_free(self->queue);
    free(self);
    return status;
}

static enum ms_status relabel_all(struct ms_session *self, struct ms_error *err)
{
    bool dry = self->cli->common.dry_run;
    enum ms_status status = MS_OK;
    if (!dry)
        status = ms_run_begin(self->corpus, "label", self->cli->argc, self->cli->argv,
                              self->cli->common.seed, &self->run, err);
    self->deriver.run = self->run;
    if (status == MS_OK)
        status = ms_corpus_begin(self->corpus, err);
    if (status == MS_OK)
        status = derive_all(self, err);
    if (status == MS_OK && !dry)
        status = ms_corpus_commit(self->corpus, err);
    if (status == MS_OK)
        ms_session_say_agreement(self);
    ms_corpus_rollback(self->corpus);
    ms_progress_end();
    ms_log(MS_LOG_INFO, "judged the stored answers of %llu samples again: %llu labels %s",
           (unsigned long long)self->asked, (unsigned long long)self->changed,
           dry ? "would change" : "changed");
    return ms_session_end(self, status, err);
}

enum ms_status ms_label_relabel(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_session self;
    enum ms_status status = open_stored(&self, cli, MS_CORPUS_WRITE, err);
    if (status == MS_OK)
        status = relabel_all(&self, err);
    ms_session_close(&self);
    return status;
}

/* ---- explain ---- */

struct explain {
    struct ms_session *session;
    const char *hash; /* as the user gave it */
};

static enum ms_status show_explained(void *ctx, const struct ms_derived *derived,
                                     const struct ms_judged *held, const struct ms_scan *scan,
                                     struct ms_error *err)
{
    const struct explain *self = ctx;
    const struct ms_explained explained = {.hash = self->hash,
                                           .deriver = &self->session->deriver,
                                           .derived = derived,
                                           .judged = held,
                                           .scan = scan};
    char shown[80];
    if (!derived->has)
        return ms_error_set(err, MS_REJECT, "%s: no answer of the corpus says anything of it%s",
                            ms_escape_text(self->hash, shown, sizeof shown),
                            self->session->options->as_of ? " up to that day" : "");
    return ms_show_explanation(&explained, self->session->cli->common.json, err);
}

static enum ms_status explain(struct ms_session *self, const char *hash, struct ms_error *err)
{
    struct explain ctx = {.session = self, .hash = hash};
    struct ms_derive_queue *queue = NULL;
    int64_t sample = 0;
    enum ms_status status = ms_sample_find(self->corpus, hash, &sample, err);
    if (status == MS_REJECT) {
        char shown[80];
        ms_error_prepend(err, "%s", ms_escape_text(hash, shown, sizeof shown));
    }
    if (status == MS_OK)
        status = ms_derive_queue_new(&self->deriver, show_explained, &ctx, &queue, err);
    if (status == MS_OK)
        status = ms_derive_queue_add(queue, sample, err);
    if (status == MS_OK)
        status = ms_derive_queue_flush(queue, err);
    ms_derive_queue_free(queue);
    return status;
}

enum ms_status ms_label_explain(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_session self;
    enum ms_status status = open_stored(&self, cli, MS_CORPUS_READ, err);
    self.deriver.dry = true;
    for (size_t i = 0; i < cli->operand_count && status == MS_OK; i++)
        status = explain(&self, cli->operands[i], err);
    ms_session_close(&self);
    return status;
}
