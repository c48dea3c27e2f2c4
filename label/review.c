/* Work on stored answers, without a request: judging them again, and explaining one. */
#include "label/session_private.h"

#include "base/log.h"
#include "base/progress.h"
#include "store/run.h"
#include "store/sample.h"

#include <string.h>

/* ---- relabel ---- */

static enum ms_status relabel_scan(struct ms_session *self, const struct ms_lookup *lookup,
                                   const char *hash, struct ms_asked *asked, struct ms_error *err)
{
    struct ms_scan scan;
    struct ms_judged judged;
    struct ms_buf body;
    ms_buf_init(&body, MS_LIMIT_SCAN_BYTES);
    enum ms_status status = ms_scan_latest(self->corpus, lookup->sample, 0, &scan, &body, err);
    if (status == MS_OK)
        status = ms_judge_body(self->worker, self->policy, scan.body, &judged, err);
    if (status == MS_OK) {
        status = ms_judged_put(&judged, self->corpus, self->policy, lookup->sample, scan.id,
                               scan.fetched_ms, self->run, &asked->changed, err);
        ms_judged_release(&judged);
    } else if (status == MS_REJECT) {
        self->rejected++;
        ms_log(MS_LOG_WARNING, "%s: stored answer: %s", hash, err ? err->text : "unusable");
        if (err)
            *err = (struct ms_error){0};
        status = MS_OK;
    }
    ms_buf_release(&body);
    return status;
}

static enum ms_status visit_relabel(void *ctx, const struct ms_lookup *lookup, const char *hash,
                                    struct ms_error *err)
{
    struct ms_session *self = ctx;
    struct ms_asked asked = {.state = lookup->state, .due_ms = lookup->due_ms};
    enum ms_status status = MS_OK;
    if (strcmp(lookup->state, "labelled") == 0)
        status = relabel_scan(self, lookup, hash, &asked, err);
    else if (strcmp(lookup->state, "not_found") == 0)
        status = ms_not_found_put(self->corpus, self->policy, lookup->sample, lookup->asked_ms,
                                  self->run, &asked.changed, err);
    else
        return MS_OK;
    if (status != MS_OK)
        return status;
    self->asked++;
    self->changed += asked.changed;
    ms_progress_update(self->asked);
    return ms_session_show(self, lookup->sample, hash, &asked, err);
}

static enum ms_status relabel_all(struct ms_session *self, struct ms_error *err)
{
    enum ms_status status = ms_run_begin(self->corpus, "label", self->cli->argc, self->cli->argv,
                                         self->cli->common.seed, &self->run, err);
    if (status == MS_OK)
        status = ms_corpus_begin(self->corpus, err);
    if (status == MS_OK)
        status = ms_lookup_foreach(self->corpus, visit_relabel, self, err);
    if (status == MS_OK && !self->cli->common.dry_run)
        status = ms_corpus_commit(self->corpus, err);
    ms_corpus_rollback(self->corpus);
    ms_progress_end();
    ms_log(MS_LOG_INFO, "judged %llu stored answers again: %llu labels %s",
           (unsigned long long)self->asked, (unsigned long long)self->changed,
           self->cli->common.dry_run ? "would change" : "changed");
    return ms_session_end(self, status, err);
}

enum ms_status ms_label_relabel(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_session self = {.cli = cli, .options = cli->options};
    enum ms_status status = ms_session_find_policy(self.options->policy, &self.policy, err);
    if (status == MS_OK)
        status = ms_session_start_worker(&self, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_WRITE, &self.corpus, err);
    if (status == MS_OK)
        status = relabel_all(&self, err);
    ms_session_close(&self);
    return status;
}

/* ---- explain, quota ---- */

static enum ms_status explain(struct ms_session *self, const char *hash, struct ms_error *err)
{
    struct ms_judged judged;
    struct ms_scan scan;
    struct ms_buf body;
    int64_t sample = 0;
    ms_buf_init(&body, MS_LIMIT_SCAN_BYTES);
    enum ms_status status = ms_sample_find(self->corpus, hash, &sample, err);
    if (status == MS_OK)
        status = ms_scan_latest(self->corpus, sample, 0, &scan, &body, err);
    if (status == MS_OK)
        status = ms_judge_body(self->worker, self->policy, scan.body, &judged, err);
    if (status == MS_OK) {
        status =
            ms_show_explanation(hash, self->policy, &judged, &scan, self->cli->common.json, err);
        ms_judged_release(&judged);
    } else if (status == MS_REJECT) {
        char shown[80];
        ms_error_prepend(err, "%s", ms_escape_text(hash, shown, sizeof shown));
    }
    ms_buf_release(&body);
    return status;
}

enum ms_status ms_label_explain(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_session self = {.cli = cli, .options = cli->options};
    enum ms_status status = ms_session_find_policy(self.options->policy, &self.policy, err);
    if (status == MS_OK)
        status = ms_session_start_worker(&self, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &self.corpus, err);
    for (size_t i = 0; i < cli->operand_count && status == MS_OK; i++)
        status = explain(&self, cli->operands[i], err);
    ms_session_close(&self);
    return status;
}
