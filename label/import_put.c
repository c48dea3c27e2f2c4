/* Storing imported reports. Judging them: label/derive. */
#include "label/import_put.h"

#include "base/clock.h"
#include "base/step.h"
#include "label/lookup.h"
#include "label/plan.h"
#include "store/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *ms_import_result_name(enum ms_import_result result)
{
    static const char *const names[MS_IMPORT_RESULTS] = {"imported", "known",     "older",
                                                         "absent",   "forgotten", "rejected"};
    return (unsigned)result < MS_IMPORT_RESULTS ? names[result] : "rejected";
}

const char *ms_import_hash(const struct ms_vt_report *report)
{
    return report->sha256[0] ? report->sha256 : report->sha1[0] ? report->sha1 : report->md5;
}

static struct ms_sample sample_of(const struct ms_vt_report *report)
{
    struct ms_sample sample = {.size = report->size, .machine = -1};
    sample.has_sha256 = ms_hex_decode(report->sha256, MS_SHA256_BYTES, sample.digests.sha256);
    sample.has_sha1 = ms_hex_decode(report->sha1, MS_SHA1_BYTES, sample.digests.sha1);
    sample.has_md5 = ms_hex_decode(report->md5, MS_MD5_BYTES, sample.digests.md5);
    return sample;
}

static bool differs(bool one, const uint8_t *a, bool other, const uint8_t *b, size_t n)
{
    return one && other && memcmp(a, b, n) != 0;
}

/* A report that gives a known file other weak hashes than it has is about no file there is. */
static enum ms_status contradicts(const struct ms_import_put *self,
                                  const struct ms_vt_report *report, const struct ms_sample *sample,
                                  bool *out, struct ms_error *err)
{
    struct ms_sample known;
    int64_t id = 0;
    *out = false;
    if (!sample->has_sha256 || (!sample->has_sha1 && !sample->has_md5))
        return MS_OK; /* found by a weak hash: upsert compares the others */
    enum ms_status status = ms_sample_find(self->corpus, report->sha256, &id, NULL);
    if (status == MS_OK)
        status = ms_sample_get(self->corpus, id, &known, err);
    if (status == MS_REJECT)
        return MS_OK;
    if (status == MS_OK)
        *out = differs(known.has_sha1, known.digests.sha1, sample->has_sha1, sample->digests.sha1,
                       MS_SHA1_BYTES) ||
               differs(known.has_md5, known.digests.md5, sample->has_md5, sample->digests.md5,
                       MS_MD5_BYTES);
    return status;
}

/* Finds or makes the sample; *id 0 when it is not to be had, and *result says why. What the report
 * says of the file's other names makes rows that are one file one row; *merged: how many came in.
 */
static enum ms_status open_sample(const struct ms_import_put *self, struct ms_import_item *item,
                                  enum ms_import_result *result, int64_t *id, bool *fresh,
                                  uint64_t *merged, struct ms_error *err)
{
    const struct ms_vt_report *report = ms_import_item_report(item);
    struct ms_sample sample = sample_of(report);
    struct ms_error why = {.status = MS_OK};
    bool bad = false;
    *id = 0;
    enum ms_status status = contradicts(self, report, &sample, &bad, err);
    if (status != MS_OK)
        return status;
    if (bad) {
        *result = MS_IMPORT_REJECTED;
        (void)snprintf(item->why, sizeof item->why,
                       "its hashes contradict those that the corpus has of this file");
        return MS_OK;
    }
    status = ms_sample_upsert(self->corpus, &sample, self->run, id, fresh, &why);
    if (status == MS_OK && !*fresh)
        status = ms_sample_unite(self->corpus, *id, merged, &why);
    if (status == MS_REJECT) {
        *result = MS_IMPORT_FORGOTTEN;
        (void)snprintf(item->why, sizeof item->why, "%s", why.text);
        *id = 0;
        return MS_OK;
    }
    if (status != MS_OK && err)
        *err = why;
    return status;
}

static enum ms_status put_scan(const struct ms_import_put *self, const struct ms_import_item *item,
                               int64_t sample, struct ms_scan *scan, struct ms_error *err)
{
    const struct ms_vt_report *report = ms_import_item_report(item);
    struct ms_scan_packed packed = {.frame = ms_span_of(item->packed.data, item->packed.len)};
    memcpy(packed.sha256, item->sha256, sizeof packed.sha256);
    *scan = (struct ms_scan){.sample = sample,
                             .source = "import",
                             .asked = ms_import_hash(report),
                             .format = ms_record_format_name(item->format),
                             .fetched_ms = ms_clock_wall_ms(),
                             .last_analysis_ms = report->last_analysis_ms,
                             .first_submission_ms = report->first_submission_ms};
    return ms_scan_insert_packed(self->corpus, scan, &packed, self->run, &scan->id, err);
}

/* The sample has a report: it need not be asked for before the policy wants another. label: what
 * the plan reads of it. */
static enum ms_status put_labelled(const struct ms_import_put *self, int64_t sample,
                                   const struct ms_label *label, int64_t first_submission_ms,
                                   bool fresh, struct ms_error *err)
{
    struct ms_lookup before = {.state = "pending"};
    bool found = false;
    enum ms_status status = MS_OK;
    int64_t due = ms_plan_due_ms(label, first_submission_ms, self->deriver->policy->min_age_days, 0,
                                 ms_clock_wall_ms());
    if (!fresh)
        status = ms_lookup_get(self->corpus, sample, &found, &before, err);
    if (status != MS_OK)
        return status;
    bool again = found && strcmp(before.state, "labelled") == 0;
    const struct ms_lookup after = {.sample = sample,
                                    .state = "labelled",
                                    .tries = again ? before.tries : 1,
                                    .asked_ms = found ? before.asked_ms : 0,
                                    .due_ms = due};
    return ms_lookup_put(self->corpus, &after, err);
}

static enum ms_status put_waiting(struct ms_import_put *self, int64_t sample, struct ms_error *err)
{
    if (self->waiting_count == self->waiting_cap) {
        size_t cap = self->waiting_cap ? self->waiting_cap * 2 : 256;
        int64_t *longer = realloc(self->waiting, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->waiting = longer;
        self->waiting_cap = cap;
    }
    self->waiting[self->waiting_count++] = sample;
    return MS_OK;
}

/* What the sample's scans say now, this one among them. */
static enum ms_status put_label(struct ms_import_put *self, const struct ms_import_item *item,
                                const struct ms_scan *scan, bool fresh,
                                enum ms_import_result *result, struct ms_error *err)
{
    int64_t newest = scan->id;
    struct ms_derived derived;
    const struct ms_label label = {.verdict = ms_verdict_name(item->judged.verdict),
                                   .positives = (int64_t)item->judged.tally.positives};
    bool alone = true;
    enum ms_status status =
        fresh ? MS_OK : ms_scan_newest(self->corpus, scan->sample, &newest, err);
    *result = newest == scan->id ? MS_IMPORTED : MS_IMPORT_OLDER;
    if (status == MS_OK && !fresh)
        status = ms_derive_is_alone(self->deriver, scan->sample, scan->id, &alone, err);
    if (status != MS_OK || !alone)
        return status == MS_OK ? put_waiting(self, scan->sample, err) : status;
    status =
        ms_derive_first(self->deriver, scan->sample, fresh, &item->judged, scan, &derived, err);
    return status == MS_OK ? put_labelled(self, scan->sample, &label,
                                          item->judged.report.first_submission_ms, fresh, err)
                           : status;
}

static enum ms_status settle_one(void *ctx, const struct ms_derived *derived,
                                 const struct ms_judged *held, const struct ms_scan *scan,
                                 struct ms_error *err)
{
    const struct ms_import_put *self = ctx;
    struct ms_label label;
    (void)scan;
    if (!derived->has)
        return MS_OK;
    enum ms_status status =
        ms_label_get(self->corpus, derived->sample, self->deriver->name, &label, err);
    if (status != MS_OK)
        return status;
    status = put_labelled(self, derived->sample, &label,
                          held ? held->report.first_submission_ms : 0, false, err);
    ms_label_release(&label);
    return status;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

enum ms_status ms_import_put_settle(struct ms_import_put *self, struct ms_error *err)
{
    struct ms_derive_queue *queue = NULL;
    if (self->waiting_count == 0)
        return MS_OK;
    qsort(self->waiting, self->waiting_count, sizeof *self->waiting, compare_ids);
    enum ms_status status = ms_derive_queue_new(self->deriver, settle_one, self, &queue, err);
    for (size_t i = 0; i < self->waiting_count && status == MS_OK; i++)
        if (i == 0 || self->waiting[i] != self->waiting[i - 1])
            status = ms_derive_queue_add(queue, self->waiting[i], err);
    if (status == MS_OK)
        status = ms_derive_queue_flush(queue, err);
    ms_derive_queue_free(queue);
    self->waiting_count = 0;
    return status;
}

void ms_import_put_release(struct ms_import_put *self)
{
    free(self->waiting);
    self->waiting = NULL;
}

/* A record that stores no scan, and yet made two samples one: the label is of both one's scans. */
static enum ms_status put_merged(struct ms_import_put *self, int64_t sample, struct ms_error *err)
{
    int64_t newest = 0;
    enum ms_status status = ms_scan_newest(self->corpus, sample, &newest, err);
    return status == MS_OK && newest ? put_waiting(self, sample, err) : status;
}

/* v2's word for a file that is not known there, or not looked at yet: a state for those of which
 * nothing is known, and nothing for others. */
static enum ms_status put_absent(const struct ms_import_put *self,
                                 const struct ms_import_item *item, int64_t sample,
                                 struct ms_error *err)
{
    struct ms_lookup before = {.state = "pending"};
    struct ms_derived derived;
    bool found = false;
    int64_t now = ms_clock_wall_ms(), newest = 0;
    enum ms_status status = ms_lookup_get(self->corpus, sample, &found, &before, err);
    if (status == MS_OK)
        status = ms_scan_newest(self->corpus, sample, &newest, err);
    bool better = newest || (found && (item->queued || strcmp(before.state, "labelled") == 0 ||
                                       strcmp(before.state, "not_found") == 0));
    if (status != MS_OK || better)
        return status;
    const struct ms_lookup after = {.sample = sample,
                                    .state = item->queued ? "pending" : "not_found",
                                    .tries = 1,
                                    /* The label is dated by it. */
                                    .asked_ms = item->queued ? before.asked_ms : now,
                                    .due_ms =
                                        item->queued ? now : ms_plan_not_found_due_ms(1, now)};
    if (!item->queued)
        status = ms_derive_not_found(self->deriver, sample, now, &derived, err);
    return status == MS_OK ? ms_lookup_put(self->corpus, &after, err) : status;
}

enum ms_status ms_import_put_record(struct ms_import_put *self, struct ms_import_item *item,
                                    enum ms_import_result *result, int64_t *sample,
                                    struct ms_error *err)
{
    struct ms_scan scan;
    int64_t same = 0;
    uint64_t merged = 0;
    bool fresh = false; /* nothing is known of the sample: no need to look */
    enum ms_status status = open_sample(self, item, result, sample, &fresh, &merged, err);
    if (status != MS_OK || *sample == 0)
        return status;
    if (item->absent && merged)
        status = put_merged(self, *sample, err);
    if (status != MS_OK)
        return status;
    if (item->absent) {
        *result = MS_IMPORT_ABSENT;
        return put_absent(self, item, *sample, err);
    }
    if (!fresh)
        status = ms_scan_find_body(self->corpus, *sample, item->sha256, &same, err);
    if (status != MS_OK)
        return status;
    if (same) {
        *result = MS_IMPORT_KNOWN;
        return merged ? put_merged(self, *sample, err) : MS_OK;
    }
    /* The same bytes, read as a report on another sample. */
    if (status == MS_OK && item->known)
        status = ms_import_feed_finish(self->feed, item, err);
    if (status == MS_REJECT) {
        *result = MS_IMPORT_REJECTED;
        (void)snprintf(item->why, sizeof item->why, "the file changes while it is read");
        return MS_OK;
    }
    if (status == MS_OK)
        status = put_scan(self, item, *sample, &scan, err);
    if (status == MS_OK)
        ms_step("label.import.scan");
    return status == MS_OK ? put_label(self, item, &scan, fresh, result, err) : status;
}
