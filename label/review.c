/* Work on stored answers, without a request: judging them again, and explaining one. */
#include "label/session_private.h"

#include "base/log.h"
#include "base/progress.h"
#include "store/run.h"
#include "store/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- relabel ---- */

/* One look-up waiting for its batch. */
struct waiting {
    int64_t sample, asked_ms, due_ms;
    const char *state; /* static text */
    char hash[MS_HASH_HEX_MAX];
    struct ms_scan scan; /* of a labelled one */
    struct ms_buf body;
};

/* Look-ups in the order they are to be shown; their stored answers are read by one job. */
struct relabel {
    struct ms_session *session;
    struct waiting items[MS_LIMIT_SCAN_BATCH];
    size_t count;
    uint64_t bytes;
};

static enum ms_status put_reading(struct ms_session *self, const struct waiting *item,
                                  struct ms_vt_reading *reading, bool *changed,
                                  struct ms_error *err)
{
    struct ms_judged judged;
    if (reading->status != MS_OK) {
        self->rejected++;
        ms_log(MS_LOG_WARNING, "%s: the stored answer is unusable: %s", item->hash, reading->why);
        return MS_OK;
    }
    enum ms_status status = ms_judge_report(self->policy, &reading->report, &judged, err);
    reading->status = MS_REJECT; /* the report is no longer ours */
    if (status != MS_OK)
        return status;
    status = ms_judged_put(&judged, self->corpus, self->policy, item->sample, item->scan.id,
                           item->scan.fetched_ms, self->run, changed, err);
    ms_judged_release(&judged);
    return status;
}

static enum ms_status put_item(struct ms_session *self, const struct waiting *item,
                               struct ms_vt_reading *reading, struct ms_error *err)
{
    struct ms_asked asked = {.state = item->state, .due_ms = item->due_ms};
    enum ms_status status = reading
                                ? put_reading(self, item, reading, &asked.changed, err)
                                : ms_not_found_put(self->corpus, self->policy, item->sample,
                                                   item->asked_ms, self->run, &asked.changed, err);
    if (status != MS_OK)
        return status;
    self->asked++;
    self->changed += asked.changed;
    ms_progress_update(self->asked);
    return ms_session_show(self, item->sample, item->hash, &asked, err);
}

/* Reads, judges and writes what waits. */
static enum ms_status flush_batch(struct relabel *self, struct ms_error *err)
{
    struct ms_span bodies[MS_LIMIT_SCAN_BATCH] = {{0}};
    struct ms_vt_reading *readings = calloc(MS_LIMIT_SCAN_BATCH, sizeof *readings);
    size_t scans = 0, next = 0;
    if (!readings)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i].scan.id)
            bodies[scans++] = ms_span_of(self->items[i].body.data, self->items[i].body.len);
    enum ms_status status =
        ms_vtjson_read_many(self->session->worker, bodies, scans, readings, err);
    bool read = status == MS_OK;
    for (size_t i = 0; i < self->count; i++) {
        struct waiting *item = &self->items[i];
        if (status == MS_OK)
            status = put_item(self->session, item, item->scan.id ? &readings[next++] : NULL, err);
        ms_buf_release(&item->body);
    }
    for (size_t i = 0; i < scans && read; i++)
        if (readings[i].status == MS_OK)
            ms_vt_report_release(&readings[i].report);
    free(readings);
    self->count = 0;
    self->bytes = 0;
    return status;
}

static enum ms_status visit_relabel(void *ctx, const struct ms_lookup *lookup, const char *hash,
                                    struct ms_error *err)
{
    struct relabel *self = ctx;
    bool labelled = strcmp(lookup->state, "labelled") == 0;
    struct ms_error why = {0};
    enum ms_status status = MS_OK;
    if (!labelled && strcmp(lookup->state, "not_found") != 0)
        return MS_OK;
    struct waiting *item = &self->items[self->count];
    *item = (struct waiting){.sample = lookup->sample,
                             .asked_ms = lookup->asked_ms,
                             .due_ms = lookup->due_ms,
                             .state = labelled ? "labelled" : "not_found"};
    (void)snprintf(item->hash, sizeof item->hash, "%s", hash);
    ms_buf_init(&item->body, MS_LIMIT_SCAN_BYTES);
    if (labelled)
        status = ms_scan_latest(self->session->corpus, lookup->sample, 0, &item->scan, &item->body,
                                &why);
    if (status == MS_REJECT) { /* labelled by something else than an answer kept here */
        ms_buf_release(&item->body);
        return MS_OK;
    }
    if (status != MS_OK) {
        ms_buf_release(&item->body);
        if (err)
            *err = why;
        return status;
    }
    self->count++;
    self->bytes += item->body.len;
    return self->count == MS_LIMIT_SCAN_BATCH || self->bytes > MS_LIMIT_SCAN_BATCH_BYTES
               ? flush_batch(self, err)
               : MS_OK;
}

static enum ms_status relabel_all(struct ms_session *self, struct ms_error *err)
{
    bool dry = self->cli->common.dry_run;
    struct relabel *relabel = calloc(1, sizeof *relabel);
    if (!relabel)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    relabel->session = self;
    enum ms_status status = MS_OK;
    if (!dry)
        status = ms_run_begin(self->corpus, "label", self->cli->argc, self->cli->argv,
                              self->cli->common.seed, &self->run, err);
    if (status == MS_OK)
        status = ms_corpus_begin(self->corpus, err);
    if (status == MS_OK)
        status = ms_lookup_foreach(self->corpus, visit_relabel, relabel, err);
    if (status == MS_OK)
        status = flush_batch(relabel, err);
    for (size_t i = 0; i < relabel->count; i++)
        ms_buf_release(&relabel->items[i].body);
    free(relabel);
    if (status == MS_OK && !dry)
        status = ms_corpus_commit(self->corpus, err);
    ms_corpus_rollback(self->corpus);
    ms_progress_end();
    ms_log(MS_LOG_INFO, "judged %llu stored answers again: %llu labels %s",
           (unsigned long long)self->asked, (unsigned long long)self->changed,
           dry ? "would change" : "changed");
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
