/* Features for samples that an older version of collect took in: their bytes are in the vault, so
 * nothing is fetched or unpacked again. Runs before a run's own work; once they are there, it costs
 * one look at an index. */
#define _GNU_SOURCE
#include "collect/refresh.h"

#include "base/log.h"
#include "collect/job.h"
#include "collect/pe_features.h"
#include "store/sample.h"
#include "store/vault.h"

#include <unistd.h>

enum { BATCH = 256 }; /* samples a transaction: what a kill may cost */

struct refresh {
    struct ms_collect *collect;
    uint64_t *total;
    uint64_t seen, failed;
    unsigned pending; /* written in the open transaction */
    struct ms_buf json;
    bool answered, nonsense;
};

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct refresh *self = ctx;
    struct ms_pe_features features;
    self->nonsense =
        self->answered || type != MS_JOB_FEATURES || !ms_pe_features_unpack(bytes, &features);
    if (self->nonsense)
        return ms_error_set(err, MS_REJECT, "the worker's answer makes no sense");
    self->answered = true;
    return ms_pe_features_json(&features, &self->json, err);
}

/* The worker's answer, or why there is none: a file that kills it is not tried every night. */
static enum ms_status read_features(struct refresh *self, int fd, struct ms_error *err)
{
    static const char *const ends[] = {"error", "crash", "timeout", "timeout", "limit"};
    struct ms_worker_result end = {.end = MS_WORKER_DONE};
    struct ms_error why = {0};
    ms_buf_clear(&self->json);
    self->answered = self->nonsense = false;
    enum ms_status status =
        ms_worker_run(self->collect->worker, ms_job_kinds[MS_JOB_FEATURES_OF].name, fd,
                      ms_span_of("", 0), NULL, on_frame, self, &end, &why);
    if (status != MS_OK && !self->nonsense) {
        *err = why;
        return status;
    }
    if (self->nonsense || end.end != MS_WORKER_DONE || end.status != MS_OK || !self->answered) {
        self->failed++;
        ms_buf_clear(&self->json);
        (void)ms_buf_printf(&self->json, "{\"version\":%d,\"error\":\"%s\"}",
                            MS_PE_FEATURES_VERSION, self->nonsense ? "crash" : ends[end.end]);
    }
    return self->json.failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

static enum ms_status commit(struct refresh *self, struct ms_error *err)
{
    if (!self->pending)
        return MS_OK;
    self->pending = 0;
    return ms_corpus_commit(self->collect->corpus, err);
}

static enum ms_status put(struct refresh *self, int64_t id, struct ms_error *err)
{
    struct ms_corpus *corpus = self->collect->corpus;
    enum ms_status status = self->pending ? MS_OK : ms_corpus_begin(corpus, err);
    if (status != MS_OK)
        return status;
    self->pending++;
    status = ms_sample_features_put(corpus, id, ms_buf_text(&self->json), err);
    return status == MS_OK && self->pending == BATCH ? commit(self, err) : status;
}

static enum ms_status visit(void *ctx, int64_t id, struct ms_error *err)
{
    struct refresh *self = ctx;
    struct ms_corpus *corpus = self->collect->corpus;
    struct ms_error why = {0};
    struct ms_sample sample;
    uint64_t size;
    int fd;
    if (self->seen++ == 0)
        ms_log(MS_LOG_INFO, "reading the features of %llu samples that have none yet",
               (unsigned long long)*self->total);
    enum ms_status status = ms_sample_get(corpus, id, &sample, err);
    if (status != MS_OK)
        return status;
    status = ms_vault_read_fd(corpus, MS_VAULT_SAMPLE, sample.digests.sha256, &fd, &size, &why);
    if (status != MS_OK) { /* absent or damaged: fsck's business; it stays without features */
        ms_log(MS_LOG_WARNING, "a sample is left without features: %s", why.text);
        self->failed++;
        return MS_OK;
    }
    status = read_features(self, fd, err);
    (void)close(fd);
    return status == MS_OK ? put(self, id, err) : status;
}

enum ms_status ms_collect_refresh(struct ms_collect *collect, struct ms_error *err)
{
    uint64_t total = 0;
    struct refresh self = {.collect = collect, .total = &total};
    ms_buf_init(&self.json, MS_LIMIT_FRAME_BYTES);
    enum ms_status status =
        ms_sample_foreach_featureless(collect->corpus, visit, &self, &total, err);
    if (status == MS_OK)
        status = commit(&self, err);
    if (status != MS_OK && self.pending)
        ms_corpus_rollback(collect->corpus);
    if (status == MS_OK && self.failed)
        ms_log(MS_LOG_WARNING, "features of %llu samples could not be read",
               (unsigned long long)self.failed);
    ms_buf_release(&self.json);
    return status;
}
