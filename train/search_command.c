/* From the options of train search to what is searched. */
#include "train/search_command.h"

#include "base/json.h"
#include "base/log.h"
#include "train/learner.h"
#include "train/search_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void ms_search_option_defaults(void *options)
{
    struct ms_search_options *o = options;
    *o = (struct ms_search_options){.target = "class", .inner = 4};
}

/* "recurrent,recurrent+hybrid,…" */
static enum ms_status parse_candidates(const char *text, struct ms_search_request *out,
                                       struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (const char *at = text; status == MS_OK; at++) {
        char one[MS_PARTS_TEXT_BYTES];
        size_t n = strcspn(at, ",");
        uint32_t parts = 0;
        (void)snprintf(one, sizeof one, "%.*s", (int)(n < sizeof one ? n : sizeof one), at);
        status = ms_parts_parse(one, &parts, err);
        for (uint32_t c = 0; status == MS_OK && c < out->count; c++)
            if (out->candidates[c] == parts)
                status = ms_error_set(err, MS_E_USAGE, "'%s' comes twice", one);
        if (status == MS_OK && out->count == MS_SEARCH_CANDIDATES_MAX)
            status = ms_error_set(err, MS_E_USAGE, "more than %d", MS_SEARCH_CANDIDATES_MAX);
        if (status == MS_OK && (parts & MS_PART_BIT(MS_PART_BOOSTED)))
            status = ms_learner_check(MS_MODEL_BOOSTED, err);
        if (status == MS_OK)
            out->candidates[out->count++] = parts;
        at += n;
        if (!*at)
            break;
    }
    if (status != MS_OK)
        ms_error_prepend(err, "--candidates");
    return status;
}

static enum ms_status make_request(const struct ms_search_options *o, struct ms_search_request *out,
                                   struct ms_error *err)
{
    *out = (struct ms_search_request){.inner = (uint32_t)o->inner};
    if (o->candidates)
        return parse_candidates(o->candidates, out, err);
    ms_search_defaults(out);
    return MS_OK;
}

static enum ms_status make_plan(const struct ms_search_options *o, const struct ms_common *common,
                                const struct ms_search_request *request, struct ms_plan *plan,
                                struct ms_error *err)
{
    enum ms_status status = MS_OK;
    uint32_t every = 0;
    ms_plan_default(plan);
    plan->split.seed = plan->fit.seed = common->seed;
    plan->fit.jobs = (unsigned)common->jobs;
    plan->fit.epochs = o->epochs ? (uint32_t)o->epochs : plan->fit.epochs;
    plan->seeds = o->seeds ? (uint32_t)o->seeds : plan->seeds;
    plan->split_file = o->split_file;
    plan->split.folds = o->folds ? (uint32_t)o->folds : plan->split.folds;
    plan->split.repeats = (uint32_t)o->repeats;
    if (o->split_file && (o->split || o->folds || o->repeats))
        return ms_error_set(err, MS_E_USAGE, "--split-file says all of the split");
    if (o->split)
        status = ms_partition_how_parse(o->split, &plan->split.how, err);
    for (uint32_t c = 0; c < request->count; c++)
        every |= request->candidates[c];
    if (status == MS_OK && plan->seeds * ms_parts_count(every) > MS_LIMIT_MODEL_MEMBERS)
        status = ms_error_set(err, MS_E_USAGE, "--seeds: at most %d members of all parts together",
                              MS_LIMIT_MODEL_MEMBERS);
    ms_plan_take_parts(plan, every);
    return status;
}

static enum ms_status read_dataset(const struct ms_cli *cli, const struct ms_search_options *o,
                                   const struct ms_plan *plan, struct ms_dataset *out,
                                   struct ms_error *err)
{
    struct ms_dataset_request request = {.target_text = o->target,
                                         .policy = o->policy,
                                         .view = plan->view,
                                         .min_calls = plan->min_calls,
                                         .one_copy = o->copies && strcmp(o->copies, "one") == 0,
                                         .seed = cli->common.seed,
                                         .jobs = plan->fit.jobs,
                                         .want_runs = true,
                                         .want_grams = true};
    struct ms_corpus *corpus;
    enum ms_status status = ms_target_parse(o->target, &request.target, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_dataset_load(corpus, &request, out, err);
    ms_corpus_close(corpus);
    return status;
}

static enum ms_status print_plan(const struct ms_cli *cli, const struct ms_search_report *r,
                                 struct ms_error *err)
{
    const struct ms_partition_request *split = &r->plan->split;
    uint64_t fits =
        ms_search_fits(r->plan, r->request, split->repeats ? split->repeats : 1, split->folds);
    if (cli->common.json)
        return ms_json_line(stdout,
                            json_pack("{s:I, s:I, s:I}", "rows", (json_int_t)r->set->count,
                                      "candidates", (json_int_t)r->request->count, "fits",
                                      (json_int_t)fits),
                            err);
    (void)printf("%zu traces, %u candidates: at most %" PRIu64 " nets would be trained\n",
                 r->set->count, r->request->count, fits);
    return MS_OK;
}

enum ms_status ms_search_command(struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_search_options *o = cli->options;
    struct ms_search_request request;
    struct ms_plan plan;
    struct ms_dataset set = {0};
    struct ms_search search = {0};
    struct ms_buf settings;
    ms_buf_init(&settings, 1 << 16);
    enum ms_status status = make_request(o, &request, err);
    if (status == MS_OK)
        status = make_plan(o, &cli->common, &request, &plan, err);
    if (status == MS_OK && ms_plan_text(&plan, o->target, false, &settings) != MS_OK)
        status = ms_error_set(err, MS_E_USAGE, "--target is too long");
    if (status == MS_OK)
        status = read_dataset(cli, o, &plan, &set, err);
    const struct ms_search_report report = {.plan = &plan,
                                            .request = &request,
                                            .set = &set,
                                            .search = &search,
                                            .target = o->target,
                                            .settings = ms_buf_text(&settings)};
    if (status == MS_OK && cli->common.dry_run)
        status = print_plan(cli, &report, err);
    else if (status == MS_OK) {
        status = ms_search_run(&plan, &request, &set, &search, err);
        if (status == MS_OK && cli->common.json)
            status = ms_json_line(stdout, ms_search_json(&report), err);
        else if (status == MS_OK)
            ms_search_show(&report);
    }
    ms_search_release(&search);
    ms_dataset_release(&set);
    ms_buf_release(&settings);
    return status;
}
