/* Runs the fits of a plan and judges what they say about rows they did not see. */
#include "train/experiment.h"

#include "base/clock.h"
#include "base/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct runner {
    const struct ms_plan *plan;
    const struct ms_dataset *set;
    struct ms_experiment *out;
    struct ms_tokens *tokens; /* N, by the vocabulary of the current fit */
    uint32_t *rows_with;      /* by symbol: training rows that have the call */
    uint64_t *times;          /* by symbol: its frequency in them */
    struct ms_span *names;    /* calls of one row */
    size_t names_capacity;
    struct ms_tokens *picked; /* borrowed copies of `tokens` for one part */
    int32_t *labels;
    uint32_t *picked_row;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the training rows");
}

static void count_calls(struct runner *r, uint32_t held)
{
    const struct ms_dataset *set = r->set;
    size_t symbols = ms_names_count(set->symbols);
    memset(r->rows_with, 0, symbols * sizeof *r->rows_with);
    memset(r->times, 0, symbols * sizeof *r->times);
    for (size_t i = 0; i < set->count; i++) {
        if (!ms_partition_trains(&r->out->partition, 0, held, i))
            continue;
        const struct ms_row *row = &set->rows[i];
        for (size_t k = 0; k < row->count_n; k++) {
            r->rows_with[row->counts[k].symbol]++;
            if (r->plan->count_whole)
                r->times[row->counts[k].symbol] += row->counts[k].times;
        }
        for (size_t k = 0; !r->plan->count_whole && k < row->n; k++)
            r->times[row->calls[k]]++;
    }
}

/* The vocabulary of the training rows alone. Symbols are numbered by first occurrence over the
 * sorted rows, so that counting in their order is counting in the order of the texts. */
static enum ms_status make_vocabulary(struct runner *r, uint32_t held, struct ms_vocabulary **out,
                                      struct ms_error *err)
{
    const struct ms_plan *plan = r->plan;
    count_calls(r, held);
    struct ms_vocabulary *v;
    enum ms_status status = ms_vocabulary_new(plan->text, plan->unknown, &v, err);
    if (status != MS_OK)
        return status;
    uint32_t symbols = ms_names_count(r->set->symbols);
    for (uint32_t s = 0; s < symbols && status == MS_OK; s++)
        if (r->times[s] > 0 && r->rows_with[s] >= plan->vocabulary_rows)
            status = ms_vocabulary_count(v, ms_names_get(r->set->symbols, s), r->times[s], err);
    if (status == MS_OK)
        status = ms_vocabulary_finish(v, plan->vocabulary_limit, err);
    if (status == MS_OK)
        *out = v;
    else
        ms_vocabulary_free(v);
    return status;
}

static enum ms_status make_tokens(struct runner *r, const struct ms_vocabulary *v,
                                  const struct ms_net_config *config, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < r->set->count && status == MS_OK; i++) {
        const struct ms_row *row = &r->set->rows[i];
        if (row->n > r->names_capacity) {
            struct ms_span *names = realloc(r->names, row->n * sizeof *names);
            if (!names)
                return no_memory(err);
            r->names = names;
            r->names_capacity = row->n;
        }
        for (size_t k = 0; k < row->n; k++)
            r->names[k] = ms_names_get(r->set->symbols, row->calls[k]);
        status = ms_tokens_make(v, config, &r->plan->view, r->names, row->n, &r->tokens[i], err);
    }
    return status;
}

/* The rows of one side into `picked` from `at` on; the net's label of the positive class of two
 * is 1. */
static struct ms_fit_rows pick(struct runner *r, uint32_t held, bool training, size_t at)
{
    const struct ms_partition *p = &r->out->partition;
    size_t n = 0;
    for (size_t i = 0; i < r->set->count; i++)
        if (training ? ms_partition_trains(p, 0, held, i) : ms_partition_judges(p, 0, held, i)) {
            uint32_t label = r->set->labels[i];
            r->picked[at + n] = r->tokens[i];
            r->picked_row[at + n] = (uint32_t)i;
            r->labels[at + n++] = (int32_t)(r->set->binary ? 1 - label : label);
        }
    return (struct ms_fit_rows){r->picked + at, r->labels + at, n};
}

static enum ms_status judge(struct runner *r, struct ms_net *net, const struct ms_fit_rows *rows,
                            const uint32_t *row_numbers, double *accuracy, struct ms_error *err)
{
    struct ms_experiment *o = r->out;
    uint32_t classes = r->set->classes;
    double *scores = o->scores + o->judged_count * classes;
    enum ms_status status = ms_model_scores(net, classes, rows->tokens, rows->count, scores, err);
    size_t right = 0;
    for (size_t i = 0; status == MS_OK && i < rows->count; i++) {
        uint32_t row = row_numbers[i];
        size_t at = o->judged_count++;
        o->judged[at] = row;
        o->truth[at] = r->set->labels[row];
        o->predicted[at] = ms_model_decide(scores + i * classes, classes, r->plan->threshold);
        o->judged_groups[at] = r->set->groups[row];
        right += o->truth[at] == o->predicted[at];
    }
    *accuracy = rows->count ? (double)right / (double)rows->count : NAN;
    return status;
}

/* Trains on everything but part `held` (MS_PARTITION_ALL: on everything) and judges that part. */
static enum ms_status fit_part(struct runner *r, uint32_t held, uint64_t stream,
                               struct ms_fit_epoch *curve, double *accuracy, struct ms_net **net,
                               struct ms_vocabulary **vocabulary, struct ms_error *err)
{
    struct ms_fit_options options = r->plan->fit;
    options.seed = r->plan->fit.seed + stream * 1000003u;
    enum ms_status status = make_vocabulary(r, held, vocabulary, err);
    if (status != MS_OK)
        return status;
    status = ms_plan_config(r->plan, r->set->classes, r->set->binary,
                            ms_vocabulary_size(*vocabulary), &options.config, err);
    if (status == MS_OK)
        status = make_tokens(r, *vocabulary, &options.config, err);
    if (status == MS_OK) {
        struct ms_fit_rows train = pick(r, held, true, 0);
        struct ms_fit_rows test = pick(r, held, false, train.count);
        status = ms_fit(&options, &train, &test, curve, net, err);
        if (status == MS_OK)
            status = judge(r, *net, &test, r->picked_row + train.count, accuracy, err);
        r->out->train_rows = train.count;
    }
    return status;
}

static enum ms_status run_holdout(struct runner *r, struct ms_error *err)
{
    double ignored;
    return fit_part(r, MS_SPLIT_TEST, 0, r->out->curve, &ignored, &r->out->net, &r->out->vocabulary,
                    err);
}

static void add_curve(struct ms_fit_epoch *sum, const struct ms_fit_epoch *one, uint32_t epochs,
                      double weight)
{
    for (uint32_t e = 0; e < epochs; e++) {
        sum[e].loss += one[e].loss * weight;
        sum[e].accuracy += one[e].accuracy * weight;
        sum[e].test_loss += one[e].test_loss * weight;
        sum[e].test_accuracy += one[e].test_accuracy * weight;
        sum[e].rate = one[e].rate;
        sum[e].seconds += one[e].seconds;
    }
}

static enum ms_status run_folds(struct runner *r, struct ms_error *err)
{
    struct ms_experiment *o = r->out;
    uint32_t folds = o->partition.folds;
    struct ms_fit_epoch *curve = calloc(o->epochs, sizeof *curve);
    o->fold_accuracy = calloc(folds, sizeof *o->fold_accuracy);
    enum ms_status status = curve && o->fold_accuracy ? MS_OK : no_memory(err);
    for (uint32_t k = 0; k < folds && status == MS_OK; k++) {
        struct ms_net *net = NULL;
        struct ms_vocabulary *vocabulary = NULL;
        if (r->plan->fit.talk)
            ms_log(MS_LOG_INFO, "fold %u of %u", k + 1, folds);
        status = fit_part(r, k, k, curve, &o->fold_accuracy[k], &net, &vocabulary, err);
        if (status == MS_OK)
            add_curve(o->curve, curve, o->epochs, 1.0 / folds);
        ms_net_free(net);
        ms_vocabulary_free(vocabulary);
    }
    double ignored;
    if (status == MS_OK && r->plan->fit.talk)
        ms_log(MS_LOG_INFO, "the model itself: trained on all rows");
    if (status == MS_OK)
        status =
            fit_part(r, MS_PARTITION_ALL, folds, curve, &ignored, &o->net, &o->vocabulary, err);
    free(curve);
    return status;
}

static enum ms_status runner_make(struct runner *r, struct ms_error *err)
{
    struct ms_experiment *o = r->out;
    size_t n = r->set->count, symbols = ms_names_count(r->set->symbols) + 1u;
    o->epochs = r->plan->fit.epochs;
    o->curve = calloc(o->epochs, sizeof *o->curve);
    o->judged = calloc(n, sizeof *o->judged);
    o->truth = calloc(n, sizeof *o->truth);
    o->predicted = calloc(n, sizeof *o->predicted);
    o->judged_groups = calloc(n, sizeof *o->judged_groups);
    o->scores = calloc(n * r->set->classes, sizeof *o->scores);
    r->tokens = calloc(n, sizeof *r->tokens);
    r->picked = calloc(n, sizeof *r->picked);
    r->picked_row = calloc(n, sizeof *r->picked_row);
    r->labels = calloc(n, sizeof *r->labels);
    r->rows_with = calloc(symbols, sizeof *r->rows_with);
    r->times = calloc(symbols, sizeof *r->times);
    bool good = o->curve && o->judged && o->truth && o->predicted && o->judged_groups &&
                o->scores && r->tokens && r->picked && r->picked_row && r->labels && r->rows_with &&
                r->times;
    return good ? MS_OK : no_memory(err);
}

static void runner_release(struct runner *r)
{
    for (size_t i = 0; r->tokens && i < r->set->count; i++)
        ms_tokens_release(&r->tokens[i]);
    free(r->tokens);
    free(r->picked);
    free(r->picked_row);
    free(r->labels);
    free(r->rows_with);
    free(r->times);
    free(r->names);
}

enum ms_status ms_experiment_run(const struct ms_plan *plan, const struct ms_dataset *set,
                                 struct ms_experiment *out, struct ms_error *err)
{
    *out = (struct ms_experiment){0};
    struct runner r = {.plan = plan, .set = set, .out = out};
    int64_t started = ms_clock_mono_ms();
    enum ms_status status = runner_make(&r, err);
    if (status == MS_OK)
        status = plan->split_file ? ms_partition_read(set, plan->split_file, plan->split.seed,
                                                      &out->partition, err)
                                  : ms_partition_make(set, &plan->split, &out->partition, err);
    if (status == MS_OK)
        status = out->partition.folds ? run_folds(&r, err) : run_holdout(&r, err);
    out->seconds = (double)(ms_clock_mono_ms() - started) / 1000;
    if (status == MS_OK) {
        const struct ms_judged judged = {.classes = set->classes,
                                         .rows = out->judged_count,
                                         .truth = out->truth,
                                         .predicted = out->predicted,
                                         .scores = out->scores,
                                         .groups = out->judged_groups,
                                         .seed = plan->fit.seed};
        status = ms_metrics_make(&judged, &out->metrics, err);
    }
    runner_release(&r);
    return status;
}

void ms_experiment_release(struct ms_experiment *self)
{
    ms_partition_release(&self->partition);
    free(self->judged);
    free(self->truth);
    free(self->predicted);
    free(self->judged_groups);
    free(self->scores);
    free(self->fold_accuracy);
    free(self->curve);
    ms_metrics_release(&self->metrics);
    ms_net_free(self->net);
    ms_vocabulary_free(self->vocabulary);
    *self = (struct ms_experiment){0};
}
