/* Nested selection: the outer folds. The inner ones are in search_choose.c. */
#include "train/search.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "train/learner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Seeds of what is dealt and fitted apart: multiples of an odd constant lie far from each other. */
static const uint64_t FOLD_SEED = 1000003, ALL_SEED = 0x9e3779b97f4a7c15u;

struct searching {
    struct ms_plan plan; /* its on_step drives the progress line */
    const struct ms_search_request *request;
    const struct ms_dataset *set;
    struct ms_search *out;
    uint32_t *picked; /* N: training rows, then judged ones */
    uint64_t steps;   /* batches so far */
    uint32_t done;    /* outer folds */
    int64_t started_ms;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the search");
}

static double seconds_since(int64_t started_ms)
{
    return (double)(ms_clock_mono_ms() - started_ms) / 1000;
}

static void on_step(void *ctx)
{
    struct searching *s = ctx;
    ms_progress_update(++s->steps);
}

/* Nets of all parts, and of the candidate with most. */
static void count_nets(const struct ms_plan *plan, const struct ms_search_request *request,
                       uint64_t *all, uint64_t *most)
{
    uint32_t every = 0;
    *most = 0;
    for (uint32_t c = 0; c < request->count; c++) {
        uint64_t nets = ms_parts_count(ms_parts_nets(request->candidates[c]));
        every |= request->candidates[c];
        *most = nets > *most ? nets : *most;
    }
    *all = (uint64_t)ms_parts_count(ms_parts_nets(every)) * plan->seeds;
    *most *= plan->seeds;
}

uint64_t ms_search_fits(const struct ms_plan *plan, const struct ms_search_request *request,
                        uint32_t repeats, uint32_t folds)
{
    uint64_t all, most;
    count_nets(plan, request, &all, &most);
    uint64_t parts = folds ? folds : 1;
    return repeats * ((parts + 1) * request->inner * all + parts * most);
}

/* Batches, as if the largest candidate were always chosen. */
static uint64_t count_steps(const struct searching *s)
{
    const struct ms_partition *p = &s->out->partition;
    uint64_t all, most, steps = 0, inner = s->request->inner;
    count_nets(&s->plan, s->request, &all, &most);
    const uint32_t batch = s->plan.fit.batch;
    for (uint32_t repeat = 0; repeat < p->repeats; repeat++)
        for (uint32_t k = 0; k <= ms_partition_fits(p); k++) {
            bool last = k == ms_partition_fits(p);
            uint32_t held = last ? MS_PARTITION_ALL : ms_partition_held(p, k);
            uint64_t rows = 0;
            for (size_t i = 0; i < s->set->count; i++)
                rows += ms_partition_trains(p, repeat, held, i);
            steps += inner * all * ((rows - rows / inner + batch - 1) / batch);
            steps += last ? 0 : most * ((rows + batch - 1) / batch);
        }
    return steps * s->plan.fit.epochs;
}

static struct ms_learner_rows pick(struct searching *s, uint32_t repeat, uint32_t held)
{
    const struct ms_partition *p = &s->out->partition;
    struct ms_learner_rows rows = {.set = s->set, .train = s->picked};
    for (size_t i = 0; i < s->set->count; i++)
        if (ms_partition_trains(p, repeat, held, i))
            s->picked[rows.train_count++] = (uint32_t)i;
    rows.test = s->picked + rows.train_count;
    for (size_t i = 0; i < s->set->count; i++)
        if (ms_partition_judges(p, repeat, held, i))
            s->picked[rows.train_count + rows.test_count++] = (uint32_t)i;
    return rows;
}

static void note_rows(struct searching *s, const struct ms_learner_rows *rows,
                      const struct ms_search_fold *fold)
{
    struct ms_search *o = s->out;
    for (size_t i = 0; i < rows->test_count; i++) {
        size_t at = o->judged_count++;
        uint32_t row = rows->test[i];
        o->truth[at] = s->set->labels[row];
        /* copies are no news to each other, even where a naive split deals them out singly */
        o->groups[at] =
            o->partition.how == MS_PARTITION_NAIVE ? s->set->groups[row] : o->partition.groups[row];
        o->repeat_of[at] = fold->repeat;
        o->fold_of[at] = fold->fold;
    }
}

/* Trains side 0 or 1 on the outer training rows; what it says of the judged ones goes to `at`. */
static enum ms_status fit_side(struct searching *s, uint32_t side, uint32_t parts,
                               const struct ms_learner_rows *rows, uint64_t seed, size_t at,
                               double *accuracy, struct ms_error *err)
{
    struct ms_search *o = s->out;
    struct ms_plan plan = s->plan;
    struct ms_model *model = NULL;
    uint32_t classes = s->set->classes;
    double *scores = o->scores[side] + at * classes;
    size_t right = 0;
    if (side == 0)
        ms_plan_take_parts(&plan, parts);
    enum ms_status status = ms_learner_fit(&plan, side == 0 ? MS_MODEL_ENSEMBLE : MS_MODEL_LINEAR,
                                           rows, seed, NULL, &model, scores, err);
    for (size_t i = 0; status == MS_OK && i < rows->test_count; i++) {
        uint32_t said = ms_model_decide(scores + i * classes, classes, plan.tuning.threshold);
        o->predicted[side][at + i] = said;
        right += said == o->truth[at + i];
    }
    *accuracy = rows->test_count ? (double)right / (double)rows->test_count : NAN;
    ms_model_free(model);
    return status;
}

static void talk(const struct searching *s, const struct ms_search_fold *fold)
{
    const struct ms_partition *p = &s->out->partition;
    char name[MS_PARTS_TEXT_BYTES];
    double spent = seconds_since(s->started_ms), all = (double)s->out->fold_count;
    ms_parts_text(s->request->candidates[fold->choice.chosen], name);
    ms_log(MS_LOG_INFO,
           "repeat %u of %u, fold %u of %u: %s (inside %.3f), judged %.3f, linear %.3f; %.0f s, "
           "about %.0f s left",
           fold->repeat + 1, p->repeats, fold->fold + 1, ms_partition_fits(p), name,
           fold->choice.accuracy[fold->choice.chosen], fold->accuracy[0], fold->accuracy[1], spent,
           spent / s->done * (all + (double)p->repeats - s->done));
}

static enum ms_status run_fold(struct searching *s, uint32_t repeat, uint32_t k,
                               struct ms_error *err)
{
    struct ms_search *o = s->out;
    struct ms_search_fold *fold = &o->folds[s->done];
    const struct ms_learner_rows rows = pick(s, repeat, ms_partition_held(&o->partition, k));
    uint64_t seed = o->partition.seeds[repeat] + k * FOLD_SEED;
    size_t at = o->judged_count;
    *fold = (struct ms_search_fold){
        .repeat = repeat, .fold = k, .train_rows = rows.train_count, .rows = rows.test_count};
    ms_progress_note("repeat %u/%u fold %u/%u", repeat + 1, o->partition.repeats, k + 1,
                     ms_partition_fits(&o->partition));
    note_rows(s, &rows, fold);
    enum ms_status status =
        ms_search_choose(&s->plan, s->request, s->set, rows.train, rows.train_count,
                         o->partition.groups, seed, &fold->choice, err);
    uint32_t parts = s->request->candidates[fold->choice.chosen];
    for (uint32_t side = 0; side < 2 && status == MS_OK; side++)
        status = fit_side(s, side, parts, &rows, seed, at, &fold->accuracy[side], err);
    s->done++;
    if (status == MS_OK)
        talk(s, fold);
    return status;
}

/* Chooses in all rows, once a repeat, and takes the mean. */
static enum ms_status choose_in_all(struct searching *s, struct ms_error *err)
{
    const struct ms_partition *p = &s->out->partition;
    struct ms_search_choice *all = &s->out->all, one;
    enum ms_status status = MS_OK;
    for (uint32_t repeat = 0; repeat < p->repeats && status == MS_OK; repeat++) {
        const struct ms_learner_rows rows = pick(s, repeat, MS_PARTITION_ALL);
        ms_progress_note("choosing in all rows, %u/%u", repeat + 1, p->repeats);
        status = ms_search_choose(&s->plan, s->request, s->set, rows.train, rows.train_count,
                                  p->groups, p->seeds[repeat] + ALL_SEED, &one, err);
        for (uint32_t c = 0; status == MS_OK && c < s->request->count; c++) {
            all->accuracy[c] += one.accuracy[c] / p->repeats;
            all->log_loss[c] += one.log_loss[c] / p->repeats;
        }
    }
    ms_search_pick(all, s->request->count);
    return status;
}

static enum ms_status make_room(struct searching *s, struct ms_error *err)
{
    struct ms_search *o = s->out;
    size_t rows = s->set->count * o->partition.repeats + 1;
    o->fold_count = o->partition.repeats * ms_partition_fits(&o->partition);
    o->folds = calloc(o->fold_count + 1u, sizeof *o->folds);
    o->truth = calloc(rows, sizeof *o->truth);
    o->groups = calloc(rows, sizeof *o->groups);
    o->repeat_of = calloc(rows, sizeof *o->repeat_of);
    o->fold_of = calloc(rows, sizeof *o->fold_of);
    s->picked = calloc(s->set->count + 1, sizeof *s->picked);
    bool good = o->folds && o->truth && o->groups && o->repeat_of && o->fold_of && s->picked;
    for (int side = 0; side < 2; side++) {
        o->predicted[side] = calloc(rows, sizeof *o->predicted[side]);
        o->scores[side] = calloc(rows * s->set->classes, sizeof *o->scores[side]);
        good = good && o->predicted[side] && o->scores[side];
    }
    return good ? MS_OK : no_memory(err);
}

static enum ms_status run_folds(struct searching *s, struct ms_error *err)
{
    const struct ms_partition *p = &s->out->partition;
    enum ms_status status = MS_OK;
    s->started_ms = ms_clock_mono_ms();
    ms_progress_begin("searching", count_steps(s), "batches");
    for (uint32_t repeat = 0; repeat < p->repeats && status == MS_OK; repeat++)
        for (uint32_t k = 0; k < ms_partition_fits(p) && status == MS_OK; k++)
            status = run_fold(s, repeat, k, err);
    if (status == MS_OK)
        status = choose_in_all(s, err);
    ms_progress_end();
    return status;
}

static enum ms_status judge(const struct searching *s, struct ms_error *err)
{
    struct ms_search *o = s->out;
    const struct ms_partition *p = &o->partition;
    enum ms_status status = MS_OK;
    double train = 0, test = 0;
    for (uint32_t f = 0; f < o->fold_count; f++) {
        train += (double)o->folds[f].train_rows;
        test += (double)o->folds[f].rows;
    }
    for (int side = 0; side < 2 && status == MS_OK; side++) {
        const struct ms_judged judged = {.classes = s->set->classes,
                                         .rows = o->judged_count,
                                         .truth = o->truth,
                                         .predicted = o->predicted[side],
                                         .scores = o->scores[side],
                                         .groups = o->groups,
                                         .seed = s->plan.fit.seed};
        status = ms_metrics_make(&judged, &o->metrics[side], err);
    }
    const struct ms_pair pair = {.classes = s->set->classes,
                                 .rows = o->judged_count,
                                 .truth = o->truth,
                                 .groups = o->groups,
                                 .repeat = o->repeat_of,
                                 .fold = o->fold_of,
                                 .repeats = p->repeats,
                                 .folds = p->folds,
                                 .test_over_train = train > 0 ? test / train : NAN,
                                 .predicted = {o->predicted[0], o->predicted[1]},
                                 .scores = {o->scores[0], o->scores[1]},
                                 .seed = s->plan.fit.seed};
    return status == MS_OK ? ms_compare(&pair, &o->difference, err) : status;
}

enum ms_status ms_search_run(const struct ms_plan *plan, const struct ms_search_request *request,
                             const struct ms_dataset *set, struct ms_search *out,
                             struct ms_error *err)
{
    *out = (struct ms_search){0};
    struct searching s = {.plan = *plan, .request = request, .set = set, .out = out};
    int64_t started = ms_clock_mono_ms();
    s.plan.fit.on_step = on_step;
    s.plan.fit.step_ctx = &s;
    s.plan.fit.title = NULL;
    s.plan.fit.talk = false;
    enum ms_status status =
        plan->split_file
            ? ms_partition_read(set, plan->split_file, plan->split.seed, &out->partition, err)
            : ms_partition_make(set, &plan->split, &out->partition, err);
    if (status == MS_OK)
        status = make_room(&s, err);
    if (status == MS_OK)
        status = run_folds(&s, err);
    if (status == MS_OK)
        status = judge(&s, err);
    out->seconds = seconds_since(started);
    free(s.picked);
    return status;
}

void ms_search_release(struct ms_search *self)
{
    ms_partition_release(&self->partition);
    free(self->folds);
    free(self->truth);
    free(self->groups);
    free(self->repeat_of);
    free(self->fold_of);
    for (int side = 0; side < 2; side++) {
        free(self->predicted[side]);
        free(self->scores[side]);
        ms_metrics_release(&self->metrics[side]);
    }
    ms_comparison_release(&self->difference);
    *self = (struct ms_search){0};
}
