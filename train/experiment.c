/* Runs the fits of a plan and its baselines and judges what they say about rows they did not see.
 */
#include "train/experiment.h"

#include "base/clock.h"
#include "base/log.h"
#include "train/experiment_tune.h"
#include "train/fit_members.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Scores of all classes up to which differences in AUC are resampled: a second or so a baseline. */
enum { COMPARED_SCORES = 200000 };

struct runner {
    const struct ms_plan *plan;
    const struct ms_dataset *set;
    struct ms_experiment *out;
    uint32_t *picked; /* N: training rows, then judged ones */
    struct ms_fit_epoch *curves;
    uint32_t fits_done; /* whose curves are there */
    bool failed[MS_ENTRIES_MAX];
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the training rows");
}

static double seconds_since(int64_t started_ms)
{
    return (double)(ms_clock_mono_ms() - started_ms) / 1000;
}

static struct ms_learner_rows pick(struct runner *r, uint32_t repeat, uint32_t held)
{
    const struct ms_partition *p = &r->out->partition;
    struct ms_learner_rows rows = {.set = r->set, .train = r->picked};
    for (size_t i = 0; i < r->set->count; i++)
        if (ms_partition_trains(p, repeat, held, i))
            r->picked[rows.train_count++] = (uint32_t)i;
    rows.test = r->picked + rows.train_count;
    for (size_t i = 0; i < r->set->count; i++)
        if (ms_partition_judges(p, repeat, held, i))
            r->picked[rows.train_count + rows.test_count++] = (uint32_t)i;
    return rows;
}

/* What is known of the judged rows, whatever says what of them. */
static void note_rows(struct runner *r, const struct ms_learner_rows *rows, uint32_t repeat,
                      uint32_t fold)
{
    struct ms_experiment *o = r->out;
    for (size_t i = 0; i < rows->test_count; i++) {
        size_t at = o->judged_count++;
        uint32_t row = rows->test[i];
        o->judged[at] = row;
        o->truth[at] = r->set->labels[row];
        /* copies are no news to each other, even where a naive split deals them out singly */
        o->judged_groups[at] =
            o->partition.how == MS_PARTITION_NAIVE ? r->set->groups[row] : o->partition.groups[row];
        o->repeat_of[at] = repeat;
        o->fold_of[at] = fold;
    }
}

/* Trains entry e on one part; its scores go to the rows from `at` on. *kept gets the model. */
static enum ms_status fit_entry(struct runner *r, uint32_t e, const struct ms_learner_rows *rows,
                                uint64_t seed, struct ms_fit_epoch *curve, size_t at,
                                struct ms_model **kept, struct ms_error *err)
{
    struct ms_entry *entry = &r->out->entries[e];
    uint32_t classes = r->set->classes;
    struct ms_plan plan = *r->plan;
    struct ms_model *model = NULL;
    int64_t started = ms_clock_mono_ms();
    if (e > 0) {
        plan.fit.talk = false;
        plan.fit.title = "training baselines";
    }
    double *scores = entry->scores + at * classes;
    enum ms_status status =
        ms_learner_fit(&plan, entry->kind, rows, seed, curve, &model, scores, err);
    for (size_t i = 0; status == MS_OK && i < rows->test_count; i++)
        entry->predicted[at + i] =
            ms_model_decide(scores + i * classes, classes, r->plan->tuning.threshold);
    entry->seconds += seconds_since(started);
    if (status == MS_OK && kept)
        *kept = model;
    else
        ms_model_free(model);
    return status;
}

/* A baseline that these rows do not allow costs itself. */
static enum ms_status fit_baselines(struct runner *r, const struct ms_learner_rows *rows,
                                    uint64_t seed, size_t at, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (uint32_t e = 1; e < r->out->entry_count && status == MS_OK; e++) {
        struct ms_error why = {0};
        if (r->failed[e])
            continue;
        status = fit_entry(r, e, rows, seed, NULL, at, NULL, &why);
        r->failed[e] = status == MS_E_INPUT || status == MS_E_LIMIT;
        if (r->failed[e]) {
            ms_log(MS_LOG_WARNING, "baseline %s left out: %s", r->out->entries[e].name, why.text);
            status = MS_OK;
        } else if (status != MS_OK && err)
            *err = why;
    }
    return status;
}

static void measure_folds(struct ms_experiment *o)
{
    for (uint32_t f = 0; o->fold_accuracy && f < o->partition.repeats * o->partition.folds; f++) {
        size_t right = 0, rows = 0;
        for (size_t i = 0; i < o->judged_count; i++)
            if (o->repeat_of[i] * o->partition.folds + o->fold_of[i] == f) {
                right += o->truth[i] == o->entries[0].predicted[i];
                rows++;
            }
        o->fold_accuracy[f] = rows ? (double)right / (double)rows : NAN;
    }
}

static void talk_part(const struct runner *r, uint32_t repeat, uint32_t k)
{
    const struct ms_partition *p = &r->out->partition;
    if (r->plan->fit.talk && p->repeats > 1)
        ms_log(MS_LOG_INFO, "repeat %u of %u, part %u of %u", repeat + 1, p->repeats, k + 1,
               ms_partition_fits(p));
    else if (r->plan->fit.talk && p->folds)
        ms_log(MS_LOG_INFO, "fold %u of %u", k + 1, p->folds);
}

static enum ms_status run_part(struct runner *r, uint32_t repeat, uint32_t k, struct ms_error *err)
{
    struct ms_experiment *o = r->out;
    bool keeps = !o->partition.folds && repeat == 0;
    uint64_t seed = o->partition.seeds[repeat] + k * 1000003u;
    const struct ms_learner_rows rows = pick(r, repeat, ms_partition_held(&o->partition, k));
    struct ms_fit_epoch *curve = o->epochs ? r->curves + (size_t)r->fits_done * o->epochs : NULL;
    size_t at = o->judged_count;
    talk_part(r, repeat, k);
    note_rows(r, &rows, repeat, k);
    enum ms_status status = fit_entry(r, 0, &rows, seed, curve, at, keeps ? &o->model : NULL, err);
    if (status == MS_OK && keeps)
        o->train_rows = rows.train_count;
    r->fits_done++;
    return status == MS_OK ? fit_baselines(r, &rows, seed, at, err) : status;
}

/* The model itself, where none that was judged can be it. */
static enum ms_status run_final(struct runner *r, struct ms_error *err)
{
    struct ms_experiment *o = r->out;
    const struct ms_learner_rows rows = pick(r, 0, MS_PARTITION_ALL);
    int64_t started = ms_clock_mono_ms();
    if (r->plan->fit.talk)
        ms_log(MS_LOG_INFO, "the model itself: trained on all rows");
    o->train_rows = rows.train_count;
    enum ms_status status = ms_learner_fit(r->plan, r->plan->kind, &rows,
                                           o->partition.seeds[0] + o->partition.folds * 1000003u,
                                           NULL, &o->model, NULL, err);
    o->entries[0].seconds += seconds_since(started);
    return status;
}

static void entry_release(struct ms_entry *entry)
{
    free(entry->predicted);
    free(entry->scores);
    ms_metrics_release(&entry->metrics);
    ms_comparison_release(&entry->comparison);
}

static void drop_failed(struct runner *r)
{
    struct ms_experiment *o = r->out;
    uint32_t kept = 0;
    for (uint32_t e = 0; e < o->entry_count; e++)
        if (r->failed[e])
            entry_release(&o->entries[e]);
        else
            o->entries[kept++] = o->entries[e];
    o->entry_count = kept;
}

static enum ms_status run_parts(struct runner *r, struct ms_error *err)
{
    struct ms_experiment *o = r->out;
    uint32_t fits = ms_partition_fits(&o->partition);
    enum ms_status status = MS_OK;
    for (uint32_t repeat = 0; repeat < o->partition.repeats && status == MS_OK; repeat++)
        for (uint32_t k = 0; k < fits && status == MS_OK; k++)
            status = run_part(r, repeat, k, err);
    if (status == MS_OK && o->epochs)
        ms_fit_mean_curve(r->curves, r->fits_done, o->epochs, o->curve);
    if (status == MS_OK && o->partition.folds)
        status = run_final(r, err);
    drop_failed(r);
    if (status == MS_OK)
        status = ms_experiment_tune(r->plan, r->set, o, err);
    measure_folds(o);
    return status;
}

static void add_entry(struct ms_experiment *o, enum ms_model_kind kind)
{
    if (o->entry_count == 0 || kind != o->entries[0].kind)
        o->entries[o->entry_count++] =
            (struct ms_entry){.name = ms_model_kind_name(kind), .kind = kind};
}

static void choose_entries(const struct ms_plan *plan, struct ms_experiment *o)
{
    add_entry(o, plan->kind);
    if (!plan->baselines)
        return;
    add_entry(o, MS_MODEL_MAJORITY);
    add_entry(o, MS_MODEL_LINEAR);
    if (ms_learner_check(MS_MODEL_BOOSTED, NULL) == MS_OK)
        add_entry(o, MS_MODEL_BOOSTED);
    bool recurs = plan->kind != MS_MODEL_ENSEMBLE ||
                  ms_parts_pooled(ms_plan_parts(plan)) != ms_plan_parts(plan);
    if (ms_learner_has_epochs(plan->kind) && recurs)
        add_entry(o, MS_MODEL_POOLED);
}

static enum ms_status runner_make(struct runner *r, struct ms_error *err)
{
    struct ms_experiment *o = r->out;
    const struct ms_partition *p = &o->partition;
    size_t rows = r->set->count * p->repeats + 1, fits = (size_t)ms_partition_fits(p) * p->repeats;
    choose_entries(r->plan, o);
    o->epochs = ms_learner_has_epochs(r->plan->kind) ? r->plan->fit.epochs : 0;
    o->curve = calloc(o->epochs + 1u, sizeof *o->curve);
    o->judged = calloc(rows, sizeof *o->judged);
    o->truth = calloc(rows, sizeof *o->truth);
    o->judged_groups = calloc(rows, sizeof *o->judged_groups);
    o->repeat_of = calloc(rows, sizeof *o->repeat_of);
    o->fold_of = calloc(rows, sizeof *o->fold_of);
    o->in_doubt = calloc(rows, sizeof *o->in_doubt);
    o->fold_accuracy = p->folds ? calloc(fits, sizeof *o->fold_accuracy) : NULL;
    r->picked = calloc(r->set->count + 1, sizeof *r->picked);
    r->curves = calloc(fits * o->epochs + 1, sizeof *r->curves);
    bool good = o->curve && o->judged && o->truth && o->judged_groups && o->repeat_of &&
                o->fold_of && o->in_doubt && (o->fold_accuracy || !p->folds) && r->picked &&
                r->curves;
    for (uint32_t e = 0; e < o->entry_count; e++) {
        o->entries[e].predicted = calloc(rows, sizeof *o->entries[e].predicted);
        o->entries[e].scores = calloc(rows * r->set->classes, sizeof *o->entries[e].scores);
        good = good && o->entries[e].predicted && o->entries[e].scores;
    }
    return good ? MS_OK : no_memory(err);
}

/* Rows judged over rows trained on, of one fit. */
static double test_over_train(const struct ms_experiment *o)
{
    const struct ms_partition *p = &o->partition;
    double judged = (double)o->judged_count / p->repeats, train = (double)o->train_rows;
    return p->folds ? 1 / (double)(p->folds - 1) : judged / (train > 0 ? train : 1);
}

/* The model against baseline e, row by row. */
static enum ms_status compare_with(struct runner *r, uint32_t e, struct ms_error *err)
{
    struct ms_experiment *o = r->out;
    bool ranked = o->judged_count * r->set->classes <= COMPARED_SCORES;
    const struct ms_pair pair = {
        .classes = r->set->classes,
        .rows = o->judged_count,
        .truth = o->truth,
        .groups = o->judged_groups,
        .repeat = o->repeat_of,
        .fold = o->fold_of,
        .repeats = o->partition.repeats,
        .folds = o->partition.folds,
        .test_over_train = test_over_train(o),
        .predicted = {o->entries[0].predicted, o->entries[e].predicted},
        .scores = {ranked ? o->entries[0].scores : NULL, ranked ? o->entries[e].scores : NULL},
        .seed = r->plan->fit.seed};
    return ms_compare(&pair, &o->entries[e].comparison, err);
}

static enum ms_status judge_entries(struct runner *r, struct ms_error *err)
{
    struct ms_experiment *o = r->out;
    enum ms_status status = MS_OK;
    for (uint32_t e = 0; e < o->entry_count && status == MS_OK; e++) {
        const struct ms_judged judged = {.classes = r->set->classes,
                                         .rows = o->judged_count,
                                         .truth = o->truth,
                                         .predicted = o->entries[e].predicted,
                                         .scores = o->entries[e].scores,
                                         .groups = o->judged_groups,
                                         .seed = r->plan->fit.seed};
        status = ms_metrics_make(&judged, &o->entries[e].metrics, err);
        if (status == MS_OK && e > 0)
            status = compare_with(r, e, err);
    }
    return status;
}

/* A plan of one's own that has the checkpoints. */
static enum ms_status keep_states(struct runner *r, struct ms_plan *plan, struct ms_error *err)
{
    char dataset[MS_HASH_HEX_MAX], split[MS_HASH_HEX_MAX];
    *plan = *r->plan;
    r->plan = plan;
    if (!plan->keep)
        return MS_OK;
    ms_hex_encode(r->set->digest, MS_SHA256_BYTES, dataset);
    ms_hex_encode(r->out->partition.digest, MS_SHA256_BYTES, split);
    struct ms_checkpoint_run run = *plan->keep;
    run.dataset = dataset;
    run.split = split;
    enum ms_status status = ms_checkpoint_open(&run, &r->out->checkpoint, err);
    plan->fit.checkpoint = r->out->checkpoint;
    return status;
}

enum ms_status ms_experiment_run(const struct ms_plan *plan, const struct ms_dataset *set,
                                 struct ms_experiment *out, struct ms_error *err)
{
    *out = (struct ms_experiment){0};
    struct ms_plan kept;
    struct runner r = {.plan = plan, .set = set, .out = out};
    int64_t started = ms_clock_mono_ms();
    enum ms_status status = ms_learner_check(plan->kind, err);
    if (status == MS_OK)
        status = plan->split_file ? ms_partition_read(set, plan->split_file, plan->split.seed,
                                                      &out->partition, err)
                                  : ms_partition_make(set, &plan->split, &out->partition, err);
    if (status == MS_OK)
        status = runner_make(&r, err);
    if (status == MS_OK)
        status = keep_states(&r, &kept, err);
    if (status == MS_OK)
        status = run_parts(&r, err);
    if (status == MS_OK)
        status = judge_entries(&r, err);
    out->seconds = seconds_since(started);
    free(r.picked);
    free(r.curves);
    return status;
}

void ms_experiment_release(struct ms_experiment *self)
{
    ms_partition_release(&self->partition);
    free(self->judged);
    free(self->truth);
    free(self->judged_groups);
    free(self->repeat_of);
    free(self->fold_of);
    free(self->in_doubt);
    ms_metrics_release(&self->raw);
    free(self->fold_accuracy);
    free(self->curve);
    for (uint32_t e = 0; e < self->entry_count; e++)
        entry_release(&self->entries[e]);
    ms_model_free(self->model);
    ms_checkpoint_close(self->checkpoint);
    *self = (struct ms_experiment){0};
}
