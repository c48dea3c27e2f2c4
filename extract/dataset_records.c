/* A record of a dataset of files into the corpus: sample, analysis, processes, label. It reads no
 * file. */
#include "base/clock.h"
#include "base/hash.h"
#include "extract/dataset_files.h"
#include "store/analysis.h"

#include <stdio.h>
#include <string.h>

static enum ms_status find_sample(struct ms_dataset_import *self, const struct ms_dataset_row *row,
                                  int64_t *sample, struct ms_error *err)
{
    struct ms_sample known = {.size = -1, .machine = -1};
    bool inserted;
    if (self->kind->key == MS_DATASET_KEY_ID)
        return ms_sample_by_alias(self->corpus, self->kind->name, row->key, self->run, sample,
                                  &inserted, err);
    if (!ms_dataset_read_key(self->kind->key, row->key, &known))
        return ms_error_set(err, MS_REJECT, "its name is no SHA-256");
    return ms_sample_upsert(self->corpus, &known, self->run, sample, &inserted, err);
}

/* Full and reduced reports are published apart, and a corpus may have both. */
static const char *form_of(const struct ms_dataset_row *row)
{
    if (row->what == MS_DATASET_LISTING)
        return "listing";
    return row->state == MS_REPORT_OK ? "report" : "summary";
}

static enum ms_status check_known(struct ms_dataset_import *self, int64_t id, int64_t calls,
                                  struct ms_error *err)
{
    struct ms_analysis known;
    enum ms_status status = ms_analysis_get(self->corpus, id, &known, err);
    if (status != MS_OK)
        return status;
    bool same = known.calls == calls;
    ms_analysis_release(&known);
    return same ? MS_OK
                : ms_error_set(err, MS_REJECT,
                               "the corpus holds another edition of this record, with another "
                               "number of calls");
}

static enum ms_status put_analysis(struct ms_dataset_import *self, const struct ms_dataset_row *row,
                                   int64_t sample, struct ms_error *err)
{
    char sandbox[64], settings[96];
    struct ms_analysis analysis = {.sample = sample,
                                   .origin = self->origin,
                                   .sandbox = sandbox,
                                   .settings = settings,
                                   .has_settings_digest = true,
                                   .state = ms_report_state_name(row->state),
                                   .opcodes = row->what == MS_DATASET_LISTING,
                                   .processes = (int64_t)self->received.process_count};
    bool known = false;
    (void)snprintf(sandbox, sizeof sandbox, "dataset:%s", self->kind->name);
    (void)snprintf(settings, sizeof settings, "dataset %s %s", self->kind->name, form_of(row));
    for (size_t i = 0; i < self->received.process_count; i++) {
        analysis.calls += (int64_t)self->received.processes[i].calls;
        analysis.calls_expanded += (int64_t)self->received.processes[i].calls_expanded;
    }
    enum ms_status status = ms_hash_sha256(settings, strlen(settings), analysis.settings_digest);
    if (status == MS_OK)
        status = ms_analysis_find_settings(self->corpus, sample, analysis.settings_digest, &known,
                                           &analysis.id, err);
    if (status != MS_OK)
        return status;
    if (known)
        return check_known(self, analysis.id, analysis.calls, err);
    self->fresh++;
    status = ms_analysis_insert(self->corpus, &analysis, ms_clock_wall_ms(), self->run,
                                &analysis.id, err);
    for (size_t i = 0; status == MS_OK && i < self->received.process_count; i++)
        status =
            ms_trace_rows_insert(&self->rows, &self->received, i, analysis.id, (int64_t)i, err);
    return status;
}

enum ms_status ms_dataset_store_record(struct ms_dataset_import *self,
                                       const struct ms_dataset_row *row,
                                       const struct ms_dataset_label *listed, struct ms_error *err)
{
    int64_t sample = 0;
    char policy[64];
    (void)snprintf(policy, sizeof policy, "dataset:%s", self->kind->name);
    enum ms_status status = find_sample(self, row, &sample, err);
    if (status == MS_OK && row->what == MS_DATASET_SIZE)
        status = ms_sample_size_put(self->corpus, sample, (int64_t)row->bytes, err);
    else if (status == MS_OK)
        status = put_analysis(self, row, sample, err);
    const struct ms_label label = {.sample = sample,
                                   .policy = policy,
                                   .verdict = "malicious",
                                   .class_ = listed->class_,
                                   .family = listed->family,
                                   .margin = -1,
                                   .positives = -1,
                                   .responding = -1,
                                   .groups = -1,
                                   .family_votes = -1,
                                   .family_verified = -1,
                                   .as_of_ms =
                                       listed->date_ms ? listed->date_ms : self->kind->as_of_ms};
    return status == MS_OK ? ms_dataset_put_label(self, &label, err) : status;
}
