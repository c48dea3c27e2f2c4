/* From options to a plan, and the order of the steps. What the steps do is elsewhere. */
#include "train/command.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "store/run.h"
#include "train/publish.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ms_train_defaults(void *options)
{
    struct ms_train_options *o = options;
    *o =
        (struct ms_train_options){.preset = "default",
                                  .target = "malware",
                                  .checkpoint_every = "auto",
                                  .rate = NAN,
                                  .test_share = NAN,
                                  .test_ratio = NAN,
                                  .cost = NAN,
                                  .target_fpr = NAN}; /* not given; a 0 that was given is refused */
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
    bool dealt = o->split || o->folds || o->repeats || o->split_date || !isnan(o->test_share) ||
                 !isnan(o->test_ratio);
    split->seed = common->seed;
    plan->split_file = o->split_file;
    if (o->split_file && dealt)
        return ms_error_set(err, MS_E_USAGE,
                            "--split-file says all of the split: no other option of it goes with "
                            "it");
    enum ms_status status = o->split ? ms_partition_how_parse(o->split, &split->how, err) : MS_OK;
    split->repeats = (uint32_t)o->repeats;
    split->test_share = !isnan(o->test_share) ? o->test_share : split->test_share;
    split->test_ratio = !isnan(o->test_ratio) ? o->test_ratio : 0;
    if (status == MS_OK && !isnan(o->test_ratio) && !(o->test_ratio > 0 && o->test_ratio < 1))
        status = ms_error_set(err, MS_E_USAGE, "--test-ratio %g: must be over 0 and under 1",
                              o->test_ratio);
    bool timed = split->how == MS_PARTITION_TIME;
    if (o->folds || timed || !isnan(o->test_share)) /* else the preset's; 0 is a hold-out */
        split->folds = (uint32_t)o->folds;
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

static bool is_yes(const char *text)
{
    return text && strcmp(text, "yes") == 0;
}

/* Options of nets alone, given for a kind that is none. */
static enum ms_status check_kind(const struct ms_train_options *o, const struct ms_plan *plan,
                                 struct ms_error *err)
{
    bool ensemble = plan->kind == MS_MODEL_ENSEMBLE;
    if (!ms_learner_has_epochs(plan->kind) && (o->epochs || o->batch || !isnan(o->rate) ||
                                               o->hidden || o->wide || o->patience || o->average))
        return ms_error_set(err, MS_E_USAGE,
                            "--epochs, --batch, --lr, --hidden, --wide, --patience and --average "
                            "are for nets, not for --kind %s",
                            ms_model_kind_name(plan->kind));
    if (o->members && !ensemble)
        return ms_error_set(err, MS_E_USAGE, "--members is for --kind ensemble");
    bool trees = plan->kind == MS_MODEL_BOOSTED || plan->baselines ||
                 (ensemble && (ms_plan_parts(plan) & MS_PART_BIT(MS_PART_BOOSTED)));
    if ((o->rounds || o->depth) && !trees)
        return ms_error_set(err, MS_E_USAGE,
                            "--rounds and --depth are for --kind boosted and ensembles with it");
    if (o->patience && is_yes(o->average))
        return ms_error_set(err, MS_E_USAGE,
                            "--patience takes the best epoch's weights: no --average with it");
    if (ensemble && plan->seeds * ms_parts_count(ms_plan_parts(plan)) > MS_LIMIT_MODEL_MEMBERS)
        return ms_error_set(err, MS_E_USAGE, "--members: at most %d in all",
                            MS_LIMIT_MODEL_MEMBERS);
    return ms_learner_check(plan->kind, err);
}

/* --ensemble says the kind too. */
static enum ms_status take_parts(const struct ms_train_options *o, struct ms_plan *plan,
                                 struct ms_error *err)
{
    uint32_t parts = 0;
    if (o->wide || (o->kind && plan->kind != MS_MODEL_ENSEMBLE))
        return ms_error_set(err, MS_E_USAGE,
                            "--ensemble is for --kind ensemble, and says where --wide belongs");
    enum ms_status status = ms_parts_parse(o->ensemble, &parts, err);
    if (status != MS_OK) {
        ms_error_prepend(err, "--ensemble");
        return status;
    }
    if (ms_parts_nets(parts) == 0)
        return ms_error_set(err, MS_E_USAGE,
                            "--ensemble needs a net; see --kind linear and --kind boosted");
    ms_plan_take_parts(plan, parts);
    plan->stands_in = false; /* what was asked for is trained or refused */
    status = parts & MS_PART_BIT(MS_PART_BOOSTED) ? ms_learner_check(MS_MODEL_BOOSTED, err) : MS_OK;
    if (status != MS_OK)
        ms_error_prepend(err, "--ensemble");
    return status;
}

/* The wide branch: the parts of an ensemble say which have it; a single net has it when asked. */
static enum ms_status make_wide(const struct ms_train_options *o, struct ms_plan *plan,
                                struct ms_error *err)
{
    bool wide = o->wide ? is_yes(o->wide) : plan->kind == MS_MODEL_ENSEMBLE && plan->inputs.wide;
    if (plan->kind != MS_MODEL_ENSEMBLE) {
        ms_plan_take_wide(plan, wide);
        return MS_OK;
    }
    ms_plan_take_parts(plan, wide ? plan->parts : plan->parts & ~ms_parts_wide(plan->parts));
    return ms_parts_nets(plan->parts) && (!wide || ms_parts_wide(plan->parts))
               ? MS_OK
               : ms_error_set(err, MS_E_USAGE,
                              "--wide %s: the ensemble has %s; --ensemble says what it is made of",
                              o->wide, wide ? "no part with that branch" : "no other nets");
}

/* Of what the sequences are, and what goes beside them. Static features take the way of n-grams:
 * a net without a branch for these has no place for them. */
static enum ms_status make_sources(const struct ms_train_options *o, struct ms_plan *plan,
                                   struct ms_error *err)
{
    plan->opcodes = o->sequence && strcmp(o->sequence, "opcode") == 0;
    enum ms_status status =
        o->statics ? ms_static_use_parse(o->statics, &plan->statics, err) : MS_OK;
    if (status == MS_OK && plan->statics == MS_STATIC_ALONE && !o->kind)
        plan->kind =
            ms_learner_check(MS_MODEL_BOOSTED, NULL) == MS_OK ? MS_MODEL_BOOSTED : MS_MODEL_LINEAR;
    return status;
}

static enum ms_status check_statics(const struct ms_plan *plan, struct ms_error *err)
{
    struct ms_input_options inputs;
    ms_learner_inputs(plan, plan->kind, &inputs);
    if (plan->statics == MS_STATIC_ALONE && ms_learner_has_epochs(plan->kind))
        return ms_error_set(err, MS_E_USAGE,
                            "--static alone is for --kind linear and boosted: a net reads calls");
    if (plan->statics == MS_STATIC_JOINED && inputs.ngrams.max_n == 0)
        return ms_error_set(err, MS_E_USAGE,
                            "--static joined needs a branch for it in the net: --wide yes, or "
                            "--kind linear, boosted or ensemble");
    return MS_OK;
}

static enum ms_status make_kind(const struct ms_train_options *o, struct ms_plan *plan,
                                struct ms_error *err)
{
    enum ms_status status = make_sources(o, plan, err);
    if (status == MS_OK && o->kind)
        status = ms_model_kind_parse(o->kind, &plan->kind, err);
    if (status == MS_OK && o->ensemble)
        status = take_parts(o, plan, err);
    else if (status == MS_OK)
        status = make_wide(o, plan, err);
    plan->seeds = o->members ? (uint32_t)o->members : plan->seeds;
    plan->cost = !isnan(o->cost) ? o->cost : plan->cost;
    plan->boost.rounds = o->rounds ? (uint32_t)o->rounds : plan->boost.rounds;
    plan->boost.depth = o->depth ? (uint32_t)o->depth : plan->boost.depth;
    plan->balanced = o->class_weights && strcmp(o->class_weights, "balanced") == 0;
    plan->baselines = o->baselines ? is_yes(o->baselines) : plan->baselines;
    if (status == MS_OK)
        status = check_kind(o, plan, err);
    return status == MS_OK ? check_statics(plan, err) : status;
}

static enum ms_status make_tuning(const struct ms_train_options *o, struct ms_plan *plan,
                                  struct ms_error *err)
{
    struct ms_tuning_request *t = &plan->tuning;
    bool several = strcmp(o->target, "class") == 0;
    enum ms_status status = o->calibrate ? ms_tune_parse(o->calibrate, &t->calibrate, err) : MS_OK;
    if (status == MS_OK && o->unknown_band)
        status = ms_tune_band_parse(o->unknown_band, t, err);
    if (status != MS_OK || isnan(o->target_fpr))
        return status;
    t->fpr = o->target_fpr;
    if (!(t->fpr > 0 && t->fpr < 1))
        return ms_error_set(err, MS_E_USAGE, "--target-fpr %g: must be over 0 and under 1", t->fpr);
    return several ? ms_error_set(err, MS_E_USAGE,
                                  "--target-fpr is for --target malware and class=NAME: several "
                                  "classes have no negatives")
                   : MS_OK;
}

static void make_preset(const struct ms_train_options *o, struct ms_plan *plan)
{
    if (strcmp(o->preset, "article") == 0)
        ms_plan_article(plan);
    else
        ms_plan_default(plan);
}

static enum ms_status make_plan(const struct ms_train_options *o, const struct ms_common *common,
                                struct ms_plan *plan, struct ms_error *err)
{
    make_preset(o, plan);
    struct ms_fit_options *fit = &plan->fit;
    fit->epochs = o->epochs ? (uint32_t)o->epochs : fit->epochs;
    fit->batch = o->batch ? (uint32_t)o->batch : fit->batch;
    fit->rate = !isnan(o->rate) ? o->rate : fit->rate;
    fit->patience = (uint32_t)o->patience;
    fit->average = is_yes(o->average);
    fit->seed = common->seed;
    plan->one_copy = o->copies && strcmp(o->copies, "one") == 0;
    fit->jobs = (unsigned)common->jobs;
    fit->title = "training";
    /* a table of epochs ends the text anyway, and a terminal has the progress line */
    fit->talk = common->verbose || (common->json && !common->quiet);
    for (uint32_t i = 0; o->hidden && i < fit->config.recurrent_count; i++)
        fit->config.recurrent[i].hidden = (uint32_t)o->hidden;
    enum ms_status status = make_split(o, common, plan, err);
    if (status == MS_OK)
        status = make_kind(o, plan, err);
    if (status == MS_OK)
        status = make_tuning(o, plan, err);
    return status == MS_OK ? make_view(o, plan, err) : status;
}

static enum ms_status check(const struct ms_train_options *o, const struct ms_plan *plan,
                            struct ms_error *err)
{
    if (!(plan->fit.rate > 0 && plan->fit.rate <= 10))
        return ms_error_set(err, MS_E_USAGE, "--lr %g: must be over 0 and at most 10", o->rate);
    if (!(plan->cost > 0 && plan->cost <= 1e6))
        return ms_error_set(err, MS_E_USAGE, "--cost %g: must be over 0 and at most 1000000",
                            o->cost);
    if (!(plan->split.test_share > 0 && plan->split.test_share < 1))
        return ms_error_set(err, MS_E_USAGE, "--test-share %g: must be over 0 and under 1",
                            o->test_share);
    if (o->folds && !isnan(o->test_share))
        return ms_error_set(err, MS_E_USAGE, "--folds and --test-share exclude each other");
    return MS_OK;
}

static enum ms_status make_every(const struct ms_train_options *o, int64_t *out,
                                 struct ms_error *err)
{
    const char *text = o->checkpoint_every;
    char *end;
    errno = 0;
    unsigned long long batches = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    *out = strcmp(text, "auto") == 0    ? MS_CHECKPOINT_AUTO
           : strcmp(text, "never") == 0 ? MS_CHECKPOINT_NEVER
           : strcmp(text, "epoch") == 0 ? MS_CHECKPOINT_EPOCH
                                        : (int64_t)batches;
    char shown[80];
    if (*out == 0 && strcmp(text, "auto") != 0)
        return ms_error_set(err, MS_E_USAGE,
                            "--checkpoint-every %.40s: must be auto, epoch, never or a number of "
                            "batches",
                            ms_escape_text(text, shown, sizeof shown));
    if (batches && (*end || errno || batches > INT32_MAX))
        return ms_error_set(err, MS_E_USAGE, "--checkpoint-every: a number of batches up to %d",
                            INT32_MAX);
    if (*out == MS_CHECKPOINT_NEVER && o->resume)
        return ms_error_set(err, MS_E_USAGE, "--resume needs checkpoints");
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

/* How long a trained model waits for another run to leave the corpus. */
enum { PUBLISH_WAIT_MS = 15 * 60 * 1000, PUBLISH_TRY_MS = 250 };

/* What one run of train has in hand. */
struct run {
    struct ms_cli *cli;
    struct ms_outcome *outcome;
    const struct ms_dataset_request *request;
    struct ms_dataset set;
    struct ms_experiment experiment;
    struct ms_findings findings;
    int64_t id; /* of the corpus's run row; 0: none */
    char folder[4096];
};

/* The corpus is held only while its database is written to: training may take hours, in which
 * others go on collecting. */
static enum ms_status begin_run(struct run *r, struct ms_error *err)
{
    const struct ms_cli *cli = r->cli;
    struct ms_corpus *corpus;
    enum ms_status status = ms_corpus_open(cli->common.corpus, MS_CORPUS_WRITE, &corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_run_begin(corpus, "train", cli->argc, cli->argv, cli->common.seed, &r->id, err);
    ms_corpus_close(corpus);
    return status;
}

static enum ms_status open_patiently(const struct run *r, struct ms_corpus **corpus,
                                     struct ms_error *err)
{
    const char *dir = r->cli->common.corpus;
    int64_t until = ms_clock_mono_ms() + PUBLISH_WAIT_MS;
    bool told = false;
    for (;;) {
        enum ms_status status = ms_corpus_open(dir, MS_CORPUS_WRITE, corpus, err);
        if (status != MS_E_LATER || ms_clock_mono_ms() >= until)
            return status;
        if (!told)
            ms_log(MS_LOG_INFO, "waiting for another run to leave the corpus");
        told = true;
        ms_clock_sleep_ms(PUBLISH_TRY_MS);
    }
}

static enum ms_status read_dataset(struct run *r, struct ms_error *err)
{
    struct ms_corpus *corpus;
    enum ms_status status = ms_corpus_open(r->cli->common.corpus, MS_CORPUS_READ, &corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_dataset_load(corpus, r->request, &r->set, err);
    r->outcome->set = &r->set;
    ms_corpus_close(corpus);
    return status;
}

/* Publishes when all went well so far, and ends the run's row in any case. */
static enum ms_status end_run(struct run *r, enum ms_status status, struct ms_error *err)
{
    struct ms_corpus *corpus = NULL;
    struct ms_error ignored = {0};
    char counts[96];
    enum ms_status opened = open_patiently(r, &corpus, status == MS_OK ? err : &ignored);
    if (opened != MS_OK)
        return status == MS_OK ? opened : status;
    if (status == MS_OK)
        status = ms_outcome_publish(corpus, r->outcome, r->id, r->folder, sizeof r->folder, err);
    if (status == MS_OK) {
        ms_checkpoint_end(r->experiment.checkpoint);
        r->experiment.checkpoint = NULL;
    }
    (void)snprintf(counts, sizeof counts, "{\"samples\":%zu,\"judged\":%zu}", r->set.count,
                   r->experiment.judged_count);
    enum ms_status ended =
        ms_run_end(corpus, r->id, ms_status_exit_code(status), counts,
                   status == MS_OK ? r->set.digest : NULL, status == MS_OK ? err : &ignored);
    ms_corpus_close(corpus);
    return status == MS_OK ? ended : status;
}

static enum ms_status carry_out(struct run *r, struct ms_error *err)
{
    bool dry = r->cli->common.dry_run;
    enum ms_status status = dry ? MS_OK : begin_run(r, err);
    if (status != MS_OK)
        return status;
    status = read_dataset(r, err);
    if (status == MS_OK && !dry) {
        status = ms_experiment_run(r->outcome->plan, &r->set, &r->experiment, err);
        r->outcome->experiment = &r->experiment;
        if (status == MS_OK)
            status = ms_findings_make(&r->set, &r->experiment, &r->findings, err);
        r->outcome->findings = &r->findings;
    }
    if (!dry)
        status = end_run(r, status, err);
    return status == MS_OK ? print_result(r->cli, r->outcome, dry ? NULL : r->folder, err) : status;
}

static void name_model(const struct ms_train_options *o, const struct ms_plan *plan,
                       char out[MS_MODEL_NAME_BYTES])
{
    char what[64];
    struct ms_plan preset;
    make_preset(o, &preset);
    bool other = plan->kind != preset.kind;
    (void)snprintf(what, sizeof what, "%s%s%s%s%s%s", plan->preset, other ? "-" : "",
                   other ? ms_model_kind_name(plan->kind) : "", plan->opcodes ? "-opcode" : "",
                   plan->statics ? "-static-" : "",
                   plan->statics ? ms_static_use_name(plan->statics) : "");
    ms_model_name_make(what, o->target, o->shuffle_labels, out);
}

/* What of a trace the model and its baselines look at. */
static void want_inputs(const struct ms_plan *plan, struct ms_dataset_request *request)
{
    struct ms_input_options inputs;
    ms_learner_inputs(plan, plan->kind, &inputs);
    request->want_runs = ms_input_options_runs(&inputs);
    request->want_grams = request->want_grams || plan->baselines || ms_input_options_grams(&inputs);
}

enum ms_status ms_train_run(struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_train_options *o = cli->options;
    struct ms_plan plan;
    enum ms_status status = make_plan(o, &cli->common, &plan, err);
    struct ms_dataset_request request = {.target_text = o->target,
                                         .policy = o->policy,
                                         .view = plan.view,
                                         .opcodes = plan.opcodes,
                                         .statics = plan.statics,
                                         .min_calls = plan.min_calls,
                                         .one_copy = plan.one_copy,
                                         .shuffle_labels = o->shuffle_labels,
                                         .seed = cli->common.seed,
                                         .jobs = plan.fit.jobs,
                                         .want_grams = plan.split.how == MS_PARTITION_NEAR};
    char name[MS_MODEL_NAME_BYTES];
    struct ms_buf command, settings;
    ms_buf_init(&command, 1 << 20);
    ms_buf_init(&settings, 1 << 16);
    command_line(cli, &command);
    name_model(o, &plan, name);
    want_inputs(&plan, &request);
    struct ms_outcome outcome = {.name = o->name ? o->name : name,
                                 .target = o->target,
                                 .shuffled_labels = o->shuffle_labels,
                                 .jobs = plan.fit.jobs,
                                 .made_ms = ms_clock_wall_ms(),
                                 .plan = &plan};
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
    char folder[4096];
    (void)snprintf(folder, sizeof folder, "%s/models/%s/checkpoint", cli->common.corpus,
                   outcome.name);
    struct ms_checkpoint_run keep = {
        .folder = folder, .settings = outcome.settings, .resume = o->resume};
    if (status == MS_OK)
        status = make_every(o, &keep.every, err);
    if (keep.every != MS_CHECKPOINT_NEVER)
        plan.keep = &keep;
    struct run run = {.cli = cli, .outcome = &outcome, .request = &request};
    if (status == MS_OK)
        status = carry_out(&run, err);
    ms_findings_release(&run.findings);
    ms_experiment_release(&run.experiment);
    ms_dataset_release(&run.set);
    ms_buf_release(&command);
    ms_buf_release(&settings);
    return status;
}
