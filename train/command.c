/* From options to a plan, and the order of the steps. What the steps do is elsewhere. */
#include "train/command.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "store/run.h"
#include "train/publish.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void ms_train_defaults(void *options)
{
    struct ms_train_options *o = options;
    *o =
        (struct ms_train_options){.preset = "default",
                                  .target = "malware",
                                  .kind = "lstm",
                                  .rate = NAN,
                                  .test_share = NAN,
                                  .test_ratio = NAN}; /* not given; a 0 that was given is refused */
    ms_normal_request_init(&o->normal);
}

/* What the command line changes in the preset's view; a net has a largest number of steps. */
static enum ms_status make_view(const struct ms_train_options *o, struct ms_plan *plan,
                                struct ms_error *err)
{
    enum ms_status status = ms_normal_request_apply(&o->normal, &plan->view, &plan->min_calls, err);
    if (status == MS_OK && (plan->view.length == 0 || plan->view.length > MS_LIMIT_NET_STEPS))
        return ms_error_set(err, MS_E_USAGE, "--max-calls %llu: must be from 1 to %d",
                            (unsigned long long)plan->view.length, MS_LIMIT_NET_STEPS);
    if (o->normal.max_calls != MS_NORMAL_UNSET)
        plan->fit.config.pad_length = plan->view.length;
    return status;
}

static enum ms_status make_split(const struct ms_train_options *o, const struct ms_common *common,
                                 struct ms_plan *plan, struct ms_error *err)
{
    struct ms_partition_request *split = &plan->split;
    bool dealt =
        o->split || o->folds || o->split_date || !isnan(o->test_share) || !isnan(o->test_ratio);
    split->seed = common->seed;
    plan->split_file = o->split_file;
    if (o->split_file && dealt)
        return ms_error_set(err, MS_E_USAGE,
                            "--split-file says all of the split: no other option of it goes with "
                            "it");
    enum ms_status status = o->split ? ms_partition_how_parse(o->split, &split->how, err) : MS_OK;
    split->folds = (uint32_t)o->folds;
    split->test_share = !isnan(o->test_share) ? o->test_share : split->test_share;
    split->test_ratio = !isnan(o->test_ratio) ? o->test_ratio : 0;
    if (status == MS_OK && !isnan(o->test_ratio) && !(o->test_ratio > 0 && o->test_ratio < 1))
        status = ms_error_set(err, MS_E_USAGE, "--test-ratio %g: must be over 0 and under 1",
                              o->test_ratio);
    bool timed = split->how == MS_PARTITION_TIME;
    if (status == MS_OK && !timed && (o->split_date || !isnan(o->test_ratio)))
        status = ms_error_set(err, MS_E_USAGE, "--split-date and --test-ratio need --split time");
    if (status == MS_OK && timed && o->folds)
        status = ms_error_set(err, MS_E_USAGE, "--split time has no --folds");
    if (status == MS_OK && o->split_date && !isnan(o->test_share))
        status = ms_error_set(err, MS_E_USAGE, "--split-date and --test-share exclude each other");
    if (status == MS_OK && o->split_date &&
        (split->split_date_ms = ms_day_parse(o->split_date)) <= 0)
        status = ms_error_set(err, MS_E_USAGE, "--split-date wants a day, YYYY-MM-DD");
    return status;
}

static enum ms_status make_plan(const struct ms_train_options *o, const struct ms_common *common,
                                struct ms_plan *plan, struct ms_error *err)
{
    if (strcmp(o->preset, "article") == 0)
        ms_plan_article(plan);
    else
        ms_plan_default(plan);
    struct ms_fit_options *fit = &plan->fit;
    fit->epochs = o->epochs ? (uint32_t)o->epochs : fit->epochs;
    fit->batch = o->batch ? (uint32_t)o->batch : fit->batch;
    fit->rate = !isnan(o->rate) ? o->rate : fit->rate;
    fit->seed = common->seed;
    fit->jobs = (unsigned)common->jobs;
    fit->title = "training";
    /* a table of epochs ends the text anyway, and a terminal has the progress line */
    fit->talk = common->verbose || (common->json && !common->quiet);
    for (uint32_t i = 0; o->hidden && i < fit->config.recurrent_count; i++)
        fit->config.recurrent[i].hidden = (uint32_t)o->hidden;
    enum ms_status status = make_split(o, common, plan, err);
    return status == MS_OK ? make_view(o, plan, err) : status;
}

static enum ms_status check(const struct ms_train_options *o, const struct ms_plan *plan,
                            struct ms_error *err)
{
    if (!(plan->fit.rate > 0 && plan->fit.rate <= 10))
        return ms_error_set(err, MS_E_USAGE, "--lr %g: must be over 0 and at most 10", o->rate);
    if (!(plan->split.test_share > 0 && plan->split.test_share < 1))
        return ms_error_set(err, MS_E_USAGE, "--test-share %g: must be over 0 and under 1",
                            o->test_share);
    if (o->folds && !isnan(o->test_share))
        return ms_error_set(err, MS_E_USAGE, "--folds and --test-share exclude each other");
    return MS_OK;
}

static void command_line(const struct ms_cli *cli, struct ms_buf *out)
{
    for (int i = 0; i < cli->argc; i++)
        (void)ms_buf_printf(out, "%s%s", i ? " " : "", cli->argv[i]);
}

static enum ms_status print_result(const struct ms_cli *cli, const struct ms_outcome *outcome,
                                   const char *folder, struct ms_error *err)
{
    if (cli->common.json) {
        json_t *json = ms_outcome_json(outcome);
        (void)json_object_set_new(json, "folder", ms_json_text(folder));
        return ms_json_line(stdout, json, err);
    }
    ms_outcome_show(outcome, stdout);
    if (folder)
        (void)printf("\nmodel   %s/model.safetensors\nreport  %s/report.html\n", folder, folder);
    return MS_OK;
}

static enum ms_status carry_out(struct ms_cli *cli, struct ms_corpus *corpus,
                                struct ms_outcome *outcome,
                                const struct ms_dataset_request *request, int64_t run,
                                struct ms_error *err)
{
    struct ms_dataset set;
    struct ms_experiment experiment = {0};
    char folder[4096];
    enum ms_status status = ms_dataset_load(corpus, request, &set, err);
    outcome->set = &set;
    if (status == MS_OK && cli->common.dry_run)
        status = print_result(cli, outcome, NULL, err);
    else if (status == MS_OK) {
        status = ms_experiment_run(outcome->plan, &set, &experiment, err);
        outcome->experiment = &experiment;
        if (status == MS_OK)
            status = ms_outcome_publish(corpus, outcome, run, folder, sizeof folder, err);
        if (status == MS_OK)
            status = print_result(cli, outcome, folder, err);
    }
    if (run) {
        char counts[96];
        struct ms_error ignored;
        (void)snprintf(counts, sizeof counts, "{\"samples\":%zu,\"judged\":%zu}", set.count,
                       experiment.judged_count);
        enum ms_status ended =
            ms_run_end(corpus, run, ms_status_exit_code(status), counts,
                       status == MS_OK ? set.digest : NULL, status == MS_OK ? err : &ignored);
        status = status == MS_OK ? ended : status;
    }
    ms_experiment_release(&experiment);
    ms_dataset_release(&set);
    return status;
}

enum ms_status ms_train_run(struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_train_options *o = cli->options;
    struct ms_plan plan;
    enum ms_status status = make_plan(o, &cli->common, &plan, err);
    struct ms_dataset_request request = {.target_text = o->target,
                                         .policy = o->policy,
                                         .view = plan.view,
                                         .min_calls = plan.min_calls,
                                         .shuffle_labels = o->shuffle_labels,
                                         .seed = cli->common.seed,
                                         .jobs = plan.fit.jobs,
                                         .want_grams = plan.split.how == MS_PARTITION_NEAR};
    char name[MS_MODEL_NAME_BYTES];
    ms_model_name_make(plan.preset, o->target, o->shuffle_labels, name);
    struct ms_buf command, settings;
    ms_buf_init(&command, 1 << 20);
    ms_buf_init(&settings, 1 << 16);
    command_line(cli, &command);
    struct ms_outcome outcome = {.name = o->name ? o->name : name,
                                 .target = o->target,
                                 .shuffled_labels = o->shuffle_labels,
                                 .jobs = plan.fit.jobs,
                                 .made_ms = ms_clock_wall_ms(),
                                 .plan = &plan};
    struct ms_corpus *corpus = NULL;
    int64_t run = 0;
    if (status == MS_OK)
        status = check(o, &plan, err);
    if (status == MS_OK)
        status = ms_target_parse(o->target, &request.target, err);
    if (status == MS_OK)
        status = ms_model_name_check(outcome.name, err);
    if (status == MS_OK && ms_plan_text(&plan, o->target, o->shuffle_labels, &settings) != MS_OK)
        status = ms_error_set(err, MS_E_USAGE, "--target is too long");
    outcome.settings = ms_buf_text(&settings);
    outcome.command = ms_buf_text(&command);
    if (status == MS_OK)
        status =
            ms_corpus_open(cli->common.corpus,
                           cli->common.dry_run ? MS_CORPUS_READ : MS_CORPUS_WRITE, &corpus, err);
    if (status == MS_OK && !cli->common.dry_run)
        status = ms_run_begin(corpus, "train", cli->argc, cli->argv, cli->common.seed, &run, err);
    if (status == MS_OK)
        status = carry_out(cli, corpus, &outcome, &request, run, err);
    ms_corpus_close(corpus);
    ms_buf_release(&command);
    ms_buf_release(&settings);
    return status;
}
