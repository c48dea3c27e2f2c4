/* Gathers scores of rows that a model did not see, and applies what they teach to the judged ones:
 * to a baseline's no less than to the model's, for a moved threshold is a difference of its own.
 */
#include "train/experiment_tune.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { INNER_PARTS = 5 };

/* Scores to tune on. */
struct held {
    double *scores;
    uint32_t *truth;
    size_t rows;
};

struct tuner {
    const struct ms_plan *plan;
    const struct ms_dataset *set;
    struct ms_experiment *e;
    struct ms_entry *entry; /* whose scores they are */
    struct held held;
    uint32_t *rows, *labels, *groups, *number, *part, *picked; /* of the training rows */
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the calibration");
}

static enum ms_status fit(struct tuner *t, struct ms_tuning *out, struct ms_error *err)
{
    const struct ms_held held = {t->set->classes, t->held.rows, t->held.scores, t->held.truth};
    struct ms_tuning_request request = t->plan->tuning;
    if (t->entry != t->e->entries) { /* a band of doubt is the model's alone */
        request.doubt_auto = false;
        request.unknown_from = request.unknown_to = 0;
    }
    return ms_tuning_fit(&request, &held, out, err);
}

static void apply(struct tuner *t, const struct ms_tuning *tuning, uint32_t repeat, uint32_t fold,
                  double *tuned)
{
    const struct ms_experiment *e = t->e;
    uint32_t classes = t->set->classes;
    for (size_t i = 0; i < e->judged_count; i++)
        if (e->repeat_of[i] == repeat && e->fold_of[i] == fold) {
            t->entry->predicted[i] = ms_tuning_apply(tuning, tuned + i * classes, classes);
            if (t->entry != e->entries)
                continue;
            e->in_doubt[i] =
                ms_doubt_measure(tuned + i * classes, classes) >= tuning->unknown_from &&
                ms_doubt_measure(tuned + i * classes, classes) < tuning->unknown_to;
        }
}

/* ---- folds ----------------------------------------------------------------------------------- */

/* The judged rows of the other folds of a repeat; of all folds and repeats when `all`. */
static void gather(struct tuner *t, uint32_t repeat, uint32_t fold, bool all)
{
    const struct ms_experiment *e = t->e;
    uint32_t classes = t->set->classes;
    t->held.rows = 0;
    for (size_t i = 0; i < e->judged_count; i++)
        if (all || (e->repeat_of[i] == repeat && e->fold_of[i] != fold)) {
            memcpy(t->held.scores + t->held.rows * classes, t->entry->scores + i * classes,
                   classes * sizeof *t->held.scores);
            t->held.truth[t->held.rows++] = e->truth[i];
        }
}

static enum ms_status tune_folds(struct tuner *t, double *tuned, struct ms_error *err)
{
    const struct ms_partition *p = &t->e->partition;
    enum ms_status status = MS_OK;
    for (uint32_t repeat = 0; repeat < p->repeats && status == MS_OK; repeat++)
        for (uint32_t fold = 0; fold < p->folds && status == MS_OK; fold++) {
            struct ms_tuning tuning;
            gather(t, repeat, fold, false);
            status = fit(t, &tuning, err);
            if (status == MS_OK)
                apply(t, &tuning, repeat, fold, tuned);
        }
    if (status != MS_OK || t->entry != t->e->entries)
        return status;
    gather(t, 0, 0, true);
    return fit(t, &t->e->tuning, err);
}

/* ---- hold-out -------------------------------------------------------------------------------- */

/* The training rows of a repeat, dealt into parts. */
static enum ms_status deal(struct tuner *t, uint32_t repeat, size_t *count, struct ms_error *err)
{
    const struct ms_partition *p = &t->e->partition;
    const uint32_t *groups = p->how == MS_PARTITION_NAIVE ? t->set->groups : p->groups;
    uint32_t known = 0;
    *count = 0;
    memset(t->number, 0, (t->set->count + 1) * sizeof *t->number);
    for (size_t i = 0; i < t->set->count; i++) {
        if (!ms_partition_trains(p, repeat, MS_SPLIT_TEST, i))
            continue;
        uint32_t *number = &t->number[groups[i]];
        *number = *number ? *number : ++known;
        t->rows[*count] = (uint32_t)i;
        t->labels[*count] = t->set->labels[i];
        t->groups[(*count)++] = *number - 1;
    }
    const struct ms_split_rows rows = {*count, t->set->classes, t->labels, t->groups};
    return ms_split_folds(&rows, INNER_PARTS, p->seeds[repeat], t->part, err);
}

static enum ms_status score_part(struct tuner *t, uint32_t part, size_t count, uint64_t seed,
                                 struct ms_error *err)
{
    struct ms_plan plan = *t->plan;
    struct ms_model *model = NULL;
    struct ms_learner_rows rows = {.set = t->set, .train = t->picked};
    plan.fit.talk = false;
    plan.fit.title = "training for the calibration";
    for (size_t i = 0; i < count; i++)
        if (t->part[i] != part)
            t->picked[rows.train_count++] = t->rows[i];
    rows.test = t->picked + rows.train_count;
    for (size_t i = 0; i < count; i++)
        if (t->part[i] == part) {
            t->picked[rows.train_count + rows.test_count++] = t->rows[i];
            t->held.truth[t->held.rows + rows.test_count - 1] = t->labels[i];
        }
    enum ms_status status = ms_learner_fit(&plan, t->entry->kind, &rows, seed, NULL, &model,
                                           t->held.scores + t->held.rows * t->set->classes, err);
    t->held.rows += rows.test_count;
    ms_model_free(model);
    return status;
}

static enum ms_status tune_holdout(struct tuner *t, double *tuned, struct ms_error *err)
{
    const struct ms_partition *p = &t->e->partition;
    uint32_t fits = ms_learner_has_epochs(t->entry->kind) ? 1 : INNER_PARTS;
    enum ms_status status = MS_OK;
    for (uint32_t repeat = 0; repeat < p->repeats && status == MS_OK; repeat++) {
        struct ms_tuning tuning;
        size_t count = 0;
        t->held.rows = 0;
        if (ms_tuning_needs_scores(&t->plan->tuning))
            status = deal(t, repeat, &count, err);
        for (uint32_t part = 0; part < fits && count > 0 && status == MS_OK; part++)
            status = score_part(t, part, count, p->seeds[repeat] + part * 1000003u, err);
        if (status == MS_OK)
            status = fit(t, &tuning, err);
        if (status == MS_OK)
            apply(t, &tuning, repeat, 0, tuned);
        if (status == MS_OK && repeat == 0 && t->entry == t->e->entries)
            t->e->tuning = tuning;
    }
    return status;
}

/* ---- together -------------------------------------------------------------------------------- */

static enum ms_status allocate(struct tuner *t, struct ms_error *err)
{
    size_t n = t->set->count + 1, most = n > t->e->judged_count ? n : t->e->judged_count;
    t->held.scores = calloc(most * t->set->classes, sizeof *t->held.scores);
    t->held.truth = calloc(most, sizeof *t->held.truth);
    t->rows = calloc(n, sizeof *t->rows);
    t->labels = calloc(n, sizeof *t->labels);
    t->groups = calloc(n, sizeof *t->groups);
    t->number = calloc(n, sizeof *t->number);
    t->part = calloc(n, sizeof *t->part);
    t->picked = calloc(n, sizeof *t->picked);
    return t->held.scores && t->held.truth && t->rows && t->labels && t->groups && t->number &&
                   t->part && t->picked
               ? MS_OK
               : no_memory(err);
}

static void release(struct tuner *t)
{
    free(t->held.scores);
    free(t->held.truth);
    free(t->rows);
    free(t->labels);
    free(t->groups);
    free(t->number);
    free(t->part);
    free(t->picked);
}

/* The figures before, and what the band of doubt does. */
static enum ms_status measure(struct tuner *t, double *raw, struct ms_error *err)
{
    struct ms_experiment *e = t->e;
    const struct ms_judged judged = {.classes = t->set->classes,
                                     .rows = e->judged_count,
                                     .truth = e->truth,
                                     .predicted = e->entries[0].predicted,
                                     .scores = raw,
                                     .groups = e->judged_groups,
                                     .seed = t->plan->fit.seed};
    uint64_t right = 0;
    e->doubt = (struct ms_doubt){.rows = e->judged_count};
    for (size_t i = 0; i < e->judged_count; i++) {
        e->doubt.unknown += e->in_doubt[i];
        right += !e->in_doubt[i] && e->truth[i] == e->entries[0].predicted[i];
    }
    ms_doubt_rates(&e->doubt, right);
    return e->tuning.calibration.kind == MS_CALIBRATION_NONE
               ? MS_OK
               : ms_metrics_make(&judged, &e->raw, err);
}

/* Its scores stay as they were when that goes wrong; raw (judged rows x C) gets them. */
static enum ms_status tune_entry(struct tuner *t, uint32_t entry, double *raw, double *tuned,
                                 struct ms_error *err)
{
    size_t bytes = t->e->judged_count * t->set->classes * sizeof *tuned;
    int64_t started = ms_clock_mono_ms();
    t->entry = &t->e->entries[entry];
    memcpy(raw, t->entry->scores, bytes);
    memcpy(tuned, t->entry->scores, bytes);
    enum ms_status status =
        t->e->partition.folds ? tune_folds(t, tuned, err) : tune_holdout(t, tuned, err);
    if (status == MS_OK)
        memcpy(t->entry->scores, tuned, bytes);
    t->entry->seconds += (double)(ms_clock_mono_ms() - started) / 1000;
    return status;
}

/* The majority class has nothing to tune; a baseline that cannot be is judged as it is. */
static enum ms_status tune_baselines(struct tuner *t, double *raw, double *tuned,
                                     struct ms_error *err)
{
    const struct ms_tuning_request *request = &t->plan->tuning;
    if (request->calibrate == MS_TUNE_NONE && !(request->fpr > 0))
        return MS_OK;
    enum ms_status status = MS_OK;
    for (uint32_t k = 1; k < t->e->entry_count && status == MS_OK; k++) {
        struct ms_error why = {0};
        if (t->e->entries[k].kind == MS_MODEL_MAJORITY)
            continue;
        status = tune_entry(t, k, raw, tuned, &why);
        if (status == MS_E_INPUT || status == MS_E_LIMIT) {
            ms_log(MS_LOG_WARNING, "baseline %s keeps its threshold: %s", t->entry->name, why.text);
            for (size_t i = 0; i < t->e->judged_count; i++)
                t->entry->predicted[i] = ms_model_decide(t->entry->scores + i * t->set->classes,
                                                         t->set->classes, request->threshold);
            status = MS_OK;
        } else if (status != MS_OK && err)
            *err = why;
    }
    return status;
}

enum ms_status ms_experiment_tune(const struct ms_plan *plan, const struct ms_dataset *set,
                                  struct ms_experiment *e, struct ms_error *err)
{
    struct tuner t = {.plan = plan, .set = set, .e = e};
    size_t all = e->judged_count * set->classes;
    double *tuned = calloc(all + 1, sizeof *tuned), *raw = calloc(all + 1, sizeof *raw);
    enum ms_status status = tuned && raw ? allocate(&t, err) : no_memory(err);
    if (status == MS_OK)
        status = tune_entry(&t, 0, raw, tuned, err);
    if (status == MS_OK)
        status = measure(&t, raw, err);
    if (status == MS_OK)
        status = tune_baselines(&t, raw, tuned, err);
    free(tuned);
    free(raw);
    release(&t);
    return status;
}
