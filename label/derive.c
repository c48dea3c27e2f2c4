/* From the judgements of a sample's scans to its label. */
#include "label/derive.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* ---- the fold over scans ---- */

/* What the scans so far amount to. */
struct fold {
    bool has;
    struct ms_judged held; /* when has */
    struct ms_scan scan;   /* held's */
    enum ms_verdict challenger;
    unsigned agreed; /* scans in a row for the challenger; 0: not contested */
    unsigned scans, unusable;
    struct ms_derived_scan history[MS_DERIVED_SCANS];
    struct ms_flip *flips; /* texts are static */
    size_t flip_count, flip_cap;
};

/* Keeps the memory of the flips. */
static void clear_fold(struct fold *self)
{
    if (self->has)
        ms_judged_release(&self->held);
    *self = (struct fold){.flips = self->flips, .flip_cap = self->flip_cap};
}

/* A class is given to what is malicious or grayware. */
static const char *class_of(const struct ms_judged *judged)
{
    bool bad = judged->verdict == MS_VERDICT_MALICIOUS || judged->verdict == MS_VERDICT_GRAYWARE;
    return bad ? judged->class_ : NULL;
}

/* The next scan's judgement is held in place of one with another verdict. */
static enum ms_status add_flip(struct fold *self, const struct ms_judged *judged,
                               const struct ms_scan *scan, struct ms_error *err)
{
    if (self->flip_count == self->flip_cap) {
        size_t cap = self->flip_cap ? self->flip_cap * 2 : 8;
        struct ms_flip *longer = realloc(self->flips, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->flips = longer;
        self->flip_cap = cap;
    }
    self->flips[self->flip_count++] =
        (struct ms_flip){.before = ms_verdict_name(self->held.verdict),
                         .after = ms_verdict_name(judged->verdict),
                         .class_ = class_of(judged),
                         .as_of_ms = ms_scan_known_ms(scan),
                         .scan = scan->id};
    return MS_OK;
}

/* Takes over a judgement of the next scan, on failure too. */
static enum ms_status fold_scan(struct fold *self, const struct ms_policy *policy,
                                struct ms_judged *judged, const struct ms_scan *scan,
                                struct ms_error *err)
{
    enum ms_status status = MS_OK;
    enum ms_verdict verdict = judged->verdict;
    struct ms_derived_scan *history = self->history;
    if (self->scans >= MS_DERIVED_SCANS)
        memmove(history, history + 1, (MS_DERIVED_SCANS - 1) * sizeof *history);
    history[self->scans < MS_DERIVED_SCANS ? self->scans : MS_DERIVED_SCANS - 1] =
        (struct ms_derived_scan){ms_scan_known_ms(scan), verdict};
    self->scans++;
    if (self->has && verdict != self->held.verdict && ms_verdict_is_decided(self->held.verdict)) {
        self->agreed = self->agreed > 0 && self->challenger == verdict ? self->agreed + 1 : 1;
        self->challenger = verdict;
        if (self->agreed < policy->confirm) {
            ms_judged_release(judged);
            return MS_OK;
        }
    }
    if (self->has && verdict != self->held.verdict)
        status = add_flip(self, judged, scan, err);
    if (self->has)
        ms_judged_release(&self->held);
    self->has = true;
    self->held = *judged;
    self->scan = *scan;
    self->scan.body = (struct ms_span){0};
    self->agreed = 0;
    return status;
}

/* ---- the row ---- */

static enum ms_status put_row(const struct ms_deriver *self, struct ms_label *label,
                              struct ms_derived *out, struct ms_error *err)
{
    const struct ms_policy *policy = self->policy;
    int64_t now = ms_clock_wall_ms();
    if (self->dry)
        return MS_OK;
    label->policy = self->name;
    label->has_policy_digest = label->has_taxonomy = true;
    memcpy(label->policy_digest, policy->digest, sizeof label->policy_digest);
    memcpy(label->taxonomy, self->taxonomy, sizeof label->taxonomy);
    enum ms_status status =
        ms_policy_put(self->corpus, policy->digest, policy->name, policy->text, now, err);
    if (status != MS_OK || !out->unlabelled)
        return status == MS_OK
                   ? ms_label_put(self->corpus, label, now, self->run, &out->changed, err)
                   : status;
    out->changed = true;
    return ms_label_put_first(self->corpus, label, now, self->run, err);
}

/* The label that rests on one judgement. The votes are kept for all. */
static enum ms_status put_judged(const struct ms_deriver *self, const struct ms_judged *judged,
                                 const struct ms_scan *scan, struct ms_derived *out,
                                 struct ms_error *err)
{
    const struct ms_tally *tally = &judged->tally;
    bool bad = judged->verdict == MS_VERDICT_MALICIOUS || judged->verdict == MS_VERDICT_GRAYWARE;
    enum ms_class vt_class = ms_class_of_vt_category(judged->report.category);
    struct ms_label label = {.sample = out->sample,
                             .verdict = ms_verdict_name(judged->verdict),
                             .class_ = class_of(judged),
                             .family = bad && tally->family[0] ? tally->family : NULL,
                             .votes_json = judged->votes,
                             .vt_category = judged->report.category,
                             .vt_class = vt_class != MS_CLASS_NONE ? ms_class_name(vt_class) : NULL,
                             .margin = (int64_t)judged->margin,
                             .positives = (int64_t)tally->positives,
                             .responding = (int64_t)tally->responding,
                             .groups = (int64_t)tally->groups,
                             .family_votes = (int64_t)tally->family_votes,
                             .family_verified = tally->family_verified,
                             .contested = out->contested ? ms_verdict_name(out->newest) : NULL,
                             .as_of_ms = ms_scan_known_ms(scan),
                             .scan = scan->id};
    out->has = true;
    out->verdict = judged->verdict;
    return put_row(self, &label, out, err);
}

static enum ms_status put_not_found(const struct ms_deriver *self, int64_t asked_ms,
                                    struct ms_derived *out, struct ms_error *err)
{
    struct ms_label label = {.sample = out->sample,
                             .verdict = ms_verdict_name(MS_VERDICT_NOT_FOUND),
                             .margin = -1,
                             .positives = -1,
                             .responding = -1,
                             .groups = -1,
                             .family_votes = -1,
                             .family_verified = -1,
                             .as_of_ms = asked_ms};
    out->has = true;
    out->verdict = MS_VERDICT_NOT_FOUND;
    return put_row(self, &label, out, err);
}

/* ---- many samples ---- */

/* A scan to be read, or (id 0) the end of a sample. */
struct item {
    struct ms_scan scan; /* body is unset */
    size_t at, len;      /* of the body in bodies */
};

struct ms_derive_queue {
    const struct ms_deriver *deriver;
    ms_derive_visit visit;
    void *ctx;
    struct item items[2 * MS_LIMIT_SCAN_BATCH];
    size_t count, scans;
    struct ms_buf bodies;
    struct fold fold; /* of the sample whose scans are on their way */
};

enum ms_status ms_derive_queue_new(const struct ms_deriver *deriver, ms_derive_visit visit,
                                   void *ctx, struct ms_derive_queue **out, struct ms_error *err)
{
    struct ms_derive_queue *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->deriver = deriver;
    self->visit = visit;
    self->ctx = ctx;
    ms_buf_init(&self->bodies, MS_LIMIT_SCAN_BATCH_BYTES + MS_LIMIT_SCAN_BYTES);
    *out = self;
    return MS_OK;
}

void ms_derive_queue_free(struct ms_derive_queue *self)
{
    if (!self)
        return;
    clear_fold(&self->fold);
    free(self->fold.flips);
    ms_buf_release(&self->bodies);
    free(self);
}

/* All scans of the sample are in the fold: its label. */
static enum ms_status end_sample(struct ms_derive_queue *self, int64_t sample, struct ms_error *err)
{
    const struct ms_deriver *deriver = self->deriver;
    struct fold *fold = &self->fold;
    struct ms_derived out = {.sample = sample,
                             .contested = fold->agreed > 0,
                             .newest = fold->challenger,
                             .scans = fold->scans,
                             .unusable = fold->unusable};
    struct ms_lookup lookup = {.state = ""};
    bool found = false;
    enum ms_status status = MS_OK;
    memcpy(out.history, fold->history, sizeof out.history);
    if (fold->has)
        status = put_judged(deriver, &fold->held, &fold->scan, &out, err);
    else
        status = ms_lookup_get(deriver->corpus, sample, &found, &lookup, err);
    if (status == MS_OK && found && strcmp(lookup.state, "not_found") == 0 &&
        lookup.asked_ms < deriver->before_ms)
        status = put_not_found(deriver, lookup.asked_ms, &out, err);
    else if (status == MS_OK && !fold->has && !deriver->dry)
        status = ms_label_clear(deriver->corpus, sample, deriver->name, &out.changed, err);
    if (status == MS_OK && !deriver->dry)
        status = ms_flips_put(deriver->corpus, sample, deriver->name, fold->flips, fold->flip_count,
                              err);
    if (status == MS_OK && self->visit)
        status = self->visit(self->ctx, &out, fold->has ? &fold->held : NULL, &fold->scan, err);
    clear_fold(fold);
    return status;
}

static enum ms_status take_item(struct ms_derive_queue *self, const struct item *item,
                                struct ms_vt_reading *reading, struct ms_error *err)
{
    struct ms_judged judged;
    if (!reading)
        return end_sample(self, item->scan.sample, err);
    if (reading->status != MS_OK) {
        ms_log(MS_LOG_WARNING, "scan %lld of the corpus is no report: %s", (long long)item->scan.id,
               reading->why);
        self->fold.unusable++;
        return MS_OK;
    }
    reading->status = MS_REJECT; /* the report is no longer the reading's */
    enum ms_status status = ms_judge_report(self->deriver, &reading->report, &judged, err);
    if (status == MS_OK)
        status = fold_scan(&self->fold, self->deriver->policy, &judged, &item->scan, err);
    return status;
}

enum ms_status ms_derive_queue_flush(struct ms_derive_queue *self, struct ms_error *err)
{
    struct ms_span bodies[MS_LIMIT_SCAN_BATCH] = {{0}};
    struct ms_vt_reading *readings = calloc(MS_LIMIT_SCAN_BATCH, sizeof *readings);
    size_t scans = 0, next = 0;
    if (!readings)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i].scan.id)
            bodies[scans++] = ms_span_of(self->bodies.data + self->items[i].at, self->items[i].len);
    enum ms_status status =
        ms_vtjson_read_many(self->deriver->worker, bodies, scans, readings, err);
    bool read = status == MS_OK;
    for (size_t i = 0; i < self->count && status == MS_OK; i++)
        status = take_item(self, &self->items[i], self->items[i].scan.id ? &readings[next++] : NULL,
                           err);
    for (size_t i = 0; i < scans && read; i++)
        if (readings[i].status == MS_OK)
            ms_vt_report_release(&readings[i].report);
    free(readings);
    self->count = self->scans = 0;
    ms_buf_clear(&self->bodies);
    return status;
}

/* What is full goes on its way; the fold waits for the scans that follow. */
static enum ms_status push(struct ms_derive_queue *self, const struct ms_scan *scan,
                           struct ms_error *err)
{
    size_t len = scan->body.len <= MS_LIMIT_SCAN_BYTES ? scan->body.len : 0; /* read as no report */
    enum ms_status status = MS_OK;
    if (self->count == sizeof self->items / sizeof *self->items ||
        (scan->id && self->scans == MS_LIMIT_SCAN_BATCH) ||
        self->bodies.len + len > MS_LIMIT_SCAN_BATCH_BYTES)
        status = ms_derive_queue_flush(self, err);
    if (status != MS_OK)
        return status;
    struct item *item = &self->items[self->count];
    *item = (struct item){.scan = *scan, .at = self->bodies.len, .len = len};
    item->scan.body = (struct ms_span){0};
    if (len > 0 && ms_buf_append(&self->bodies, scan->body.data, len) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "no memory for the stored answers");
    self->count++;
    self->scans += scan->id != 0;
    return MS_OK;
}

static enum ms_status push_scan(void *ctx, const struct ms_scan *scan, struct ms_error *err)
{
    return push(ctx, scan, err);
}

enum ms_status ms_derive_queue_add(struct ms_derive_queue *self, int64_t sample,
                                   struct ms_error *err)
{
    const struct ms_scan end = {.sample = sample};
    enum ms_status status = ms_scan_foreach(self->deriver->corpus, sample, self->deriver->before_ms,
                                            true, push_scan, self, err);
    return status == MS_OK ? push(self, &end, err) : status;
}

/* ---- one sample ---- */

static enum ms_status keep_derived(void *ctx, const struct ms_derived *derived,
                                   const struct ms_judged *held, const struct ms_scan *scan,
                                   struct ms_error *err)
{
    struct ms_derived *out = ctx;
    (void)held;
    (void)scan;
    (void)err;
    *out = *derived;
    return MS_OK;
}

static enum ms_status derive_stored(const struct ms_deriver *self, int64_t sample,
                                    struct ms_derived *out, struct ms_error *err)
{
    struct ms_derive_queue *queue = NULL;
    enum ms_status status = ms_derive_queue_new(self, keep_derived, out, &queue, err);
    if (status == MS_OK)
        status = ms_derive_queue_add(queue, sample, err);
    if (status == MS_OK)
        status = ms_derive_queue_flush(queue, err);
    ms_derive_queue_free(queue);
    return status;
}

/* Which scans count: their number, and one of them. */
struct census {
    unsigned scans;
    int64_t any;
};

static enum ms_status count_scan(void *ctx, const struct ms_scan *scan, struct ms_error *err)
{
    struct census *self = ctx;
    (void)err;
    self->scans++;
    self->any = scan->id;
    return MS_OK;
}

static enum ms_status take_census(const struct ms_deriver *self, int64_t sample, struct census *out,
                                  struct ms_error *err)
{
    *out = (struct census){0};
    return ms_scan_foreach(self->corpus, sample, self->before_ms, false, count_scan, out, err);
}

enum ms_status ms_derive_first(const struct ms_deriver *self, int64_t sample, bool unlabelled,
                               const struct ms_judged *judged, const struct ms_scan *scan,
                               struct ms_derived *out, struct ms_error *err)
{
    *out = (struct ms_derived){.sample = sample, .scans = 1, .unlabelled = unlabelled};
    return put_judged(self, judged, scan, out, err);
}

enum ms_status ms_derive_is_alone(const struct ms_deriver *self, int64_t sample, int64_t scan,
                                  bool *alone, struct ms_error *err)
{
    struct census census;
    enum ms_status status = take_census(self, sample, &census, err);
    *alone = census.scans == 1 && census.any == scan;
    return status;
}

enum ms_status ms_derive_fresh(const struct ms_deriver *self, int64_t sample,
                               const struct ms_judged *judged, const struct ms_scan *scan,
                               struct ms_derived *out, struct ms_error *err)
{
    bool alone = false;
    enum ms_status status = ms_derive_is_alone(self, sample, scan->id, &alone, err);
    if (status != MS_OK)
        return status;
    if (!alone)
        return derive_stored(self, sample, out, err);
    return ms_derive_first(self, sample, false, judged, scan, out, err);
}

enum ms_status ms_derive_not_found(const struct ms_deriver *self, int64_t sample, int64_t asked_ms,
                                   struct ms_derived *out, struct ms_error *err)
{
    struct census census;
    enum ms_status status = take_census(self, sample, &census, err);
    *out = (struct ms_derived){.sample = sample, .scans = census.scans};
    if (status != MS_OK || census.scans > 0)
        return status;
    return put_not_found(self, asked_ms, out, err);
}
