/* Loads the corpus as the model wants it, leaves out what trained it, judges the rest, prints. */
#include "train/evaluate_command.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "train/dataset.h"
#include "train/metrics_json.h"
#include "train/model.h"
#include "train/trained.h"
#include "train/tuning_show.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4400, BATCH_ROWS = 256 };

struct evaluating {
    struct ms_model *model;
    struct ms_manifest split;
    struct ms_buf split_bytes;
    struct ms_dataset set;
    uint32_t *class_of; /* by class of the dataset: the model's, or UINT32_MAX */
    uint32_t *judged, *truth, *predicted, *groups;
    double *scores;
    size_t count;
    uint64_t trained_key, trained_sequence, unknown_class;
    struct ms_tuning tuning; /* the model's */
    struct ms_metrics raw;   /* before calibration; rows 0: not calibrated */
    struct ms_metrics metrics;
    struct ms_doubt doubt;
    uint64_t *unknown, *right; /* by true class: no verdict, the right verdict */
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the evaluation");
}

static enum ms_status open_model(struct evaluating *e, const char *folder, unsigned jobs,
                                 struct ms_error *err)
{
    char path[PATH_BYTES], digest[MS_HASH_HEX_MAX];
    uint8_t bytes[MS_SHA256_BYTES];
    enum ms_status status = ms_model_open(folder, jobs, &e->model, err);
    if (status != MS_OK)
        return status;
    (void)snprintf(path, sizeof path, "%s/split.jsonl", folder);
    status = ms_manifest_open(path, &e->split_bytes, &e->split, err);
    if (status == MS_OK && ms_hash_sha256(e->split_bytes.data, e->split_bytes.len, bytes) != MS_OK)
        status = no_memory(err);
    if (status != MS_OK)
        return status;
    ms_hex_encode(bytes, sizeof bytes, digest);
    /* A split from which samples were forgotten says which it was. */
    return strcmp(e->split.redacted_from ? e->split.redacted_from : digest,
                  ms_model_facts_get(e->model)->split_digest) == 0
               ? MS_OK
               : ms_error_set(err, MS_E_INPUT,
                              "split.jsonl is not the split that this model was trained on: what "
                              "trained it cannot be told");
}

static enum ms_status load(struct evaluating *e, struct ms_corpus *corpus, const char *policy,
                           unsigned jobs, struct ms_error *err)
{
    const struct ms_model_facts *facts = ms_model_facts_get(e->model);
    const struct ms_input_options *inputs = &ms_model_parts_get(e->model)->inputs;
    struct ms_dataset_request request = {.target_text = facts->target,
                                         .policy = policy,
                                         .view = facts->view,
                                         .opcodes = facts->opcodes,
                                         .statics = facts->statics,
                                         .min_calls = facts->min_calls,
                                         .one_class = true,
                                         .jobs = jobs,
                                         .want_runs = ms_input_options_runs(inputs),
                                         .want_grams = ms_input_options_grams(inputs)};
    enum ms_status status = ms_target_parse(facts->target, &request.target, err);
    return status == MS_OK ? ms_dataset_load(corpus, &request, &e->set, err) : status;
}

/* The rows to judge, by their numbers, with the model's classes. */
static enum ms_status choose(struct evaluating *e, struct ms_error *err)
{
    const struct ms_model_facts *facts = ms_model_facts_get(e->model);
    const struct ms_dataset *set = &e->set;
    enum ms_trained *trained = calloc(set->count + 1, sizeof *trained);
    e->class_of = calloc(set->classes + 1u, sizeof *e->class_of);
    e->judged = calloc(set->count + 1, sizeof *e->judged);
    e->truth = calloc(set->count + 1, sizeof *e->truth);
    e->groups = calloc(set->count + 1, sizeof *e->groups);
    enum ms_status status = trained && e->class_of && e->judged && e->truth && e->groups
                                ? ms_trained_find(&e->split, set, trained, err)
                                : no_memory(err);
    for (uint32_t c = 0; status == MS_OK && c < set->classes; c++) {
        e->class_of[c] = UINT32_MAX;
        for (uint32_t k = 0; k < facts->classes; k++)
            if (strcmp(set->class_names[c], facts->class_names[k]) == 0)
                e->class_of[c] = k;
    }
    for (size_t i = 0; status == MS_OK && i < set->count; i++) {
        uint32_t class_ = e->class_of[set->labels[i]];
        e->trained_key += trained[i] == MS_TRAINED_KEY;
        e->trained_sequence += trained[i] == MS_TRAINED_SEQUENCE;
        e->unknown_class += trained[i] == MS_TRAINED_NOT && class_ == UINT32_MAX;
        if (trained[i] != MS_TRAINED_NOT || class_ == UINT32_MAX)
            continue;
        e->judged[e->count] = (uint32_t)i;
        e->truth[e->count] = class_;
        e->groups[e->count++] = set->groups[i];
    }
    free(trained);
    if (status == MS_OK && e->count == 0)
        status = ms_error_set(err, MS_E_INPUT,
                              "no trace is left to judge: %llu trained the model, %llu have the "
                              "sequence of one that did, %llu are of classes it does not know",
                              (unsigned long long)e->trained_key,
                              (unsigned long long)e->trained_sequence,
                              (unsigned long long)e->unknown_class);
    return status;
}

static enum ms_status score(struct evaluating *e, struct ms_error *err)
{
    const uint32_t classes = ms_model_facts_get(e->model)->classes;
    const struct ms_gram_table table = ms_dataset_table(&e->set);
    struct ms_input_recipe recipe;
    struct ms_input_maker *maker = NULL;
    struct ms_input_row rows[BATCH_ROWS] = {0};
    struct ms_row_numbers numbers = {0};
    ms_model_recipe(e->model, &recipe);
    enum ms_status status = ms_input_maker_new(&recipe, &table, &maker, err);
    for (size_t at = 0; at < e->count && status == MS_OK; at += BATCH_ROWS) {
        size_t n = e->count - at < BATCH_ROWS ? e->count - at : BATCH_ROWS;
        for (size_t i = 0; i < n && status == MS_OK; i++) {
            struct ms_input_trace trace;
            status = ms_dataset_trace(&e->set, e->judged[at + i], &numbers, &trace, err);
            if (status == MS_OK)
                status = ms_input_row_make(maker, &trace, &rows[i], err);
        }
        if (status == MS_OK)
            status = ms_model_scores(e->model, rows, n, e->scores + at * classes, err);
    }
    for (size_t i = 0; i < BATCH_ROWS; i++)
        ms_input_row_release(&rows[i]);
    ms_row_numbers_release(&numbers);
    ms_input_maker_free(maker);
    return status;
}

static enum ms_status count_verdicts(struct evaluating *e, struct ms_error *err)
{
    const struct ms_model_facts *facts = ms_model_facts_get(e->model);
    e->unknown = calloc(facts->classes, sizeof *e->unknown);
    e->right = calloc(facts->classes, sizeof *e->right);
    if (!e->unknown || !e->right)
        return no_memory(err);
    for (size_t i = 0; i < e->count; i++) {
        double at = ms_doubt_measure(e->scores + i * facts->classes, facts->classes);
        if (at >= facts->unknown_from && at < facts->unknown_to)
            e->unknown[e->truth[i]]++;
        else
            e->right[e->truth[i]] += e->predicted[i] == e->truth[i];
    }
    return MS_OK;
}

static enum ms_status judge(struct evaluating *e, uint64_t seed, struct ms_error *err)
{
    const struct ms_model_facts *facts = ms_model_facts_get(e->model);
    e->scores = calloc(e->count * facts->classes + 1, sizeof *e->scores);
    e->predicted = calloc(e->count + 1, sizeof *e->predicted);
    e->tuning = (struct ms_tuning){.calibration = facts->calibration,
                                   .threshold = facts->threshold,
                                   .reached = NAN,
                                   .unknown_from = facts->unknown_from,
                                   .unknown_to = facts->unknown_to};
    enum ms_status status = e->scores && e->predicted ? score(e, err) : no_memory(err);
    const struct ms_judged judged = {.classes = facts->classes,
                                     .rows = e->count,
                                     .truth = e->truth,
                                     .predicted = e->predicted,
                                     .scores = e->scores,
                                     .groups = e->groups,
                                     .seed = seed};
    /* once as the model says it, for what calibration is worth; the class is not looked at */
    if (status == MS_OK && facts->calibration.kind != MS_CALIBRATION_NONE)
        status = ms_metrics_make(&judged, &e->raw, err);
    for (size_t i = 0; i < e->count && status == MS_OK; i++)
        e->predicted[i] =
            ms_tuning_apply(&e->tuning, e->scores + i * facts->classes, facts->classes);
    if (status == MS_OK)
        status = ms_metrics_make(&judged, &e->metrics, err);
    if (status == MS_OK)
        ms_doubt_count(e->scores, facts->classes, e->truth, e->predicted, e->count,
                       facts->unknown_from, facts->unknown_to, &e->doubt);
    return status == MS_OK ? count_verdicts(e, err) : status;
}

/* What became of the traces of each class that has any. */
static json_t *classes_json(const struct evaluating *e)
{
    const struct ms_model_facts *facts = ms_model_facts_get(e->model);
    json_t *list = json_array();
    for (uint32_t c = 0; c < facts->classes; c++) {
        const struct ms_class_scores *s = &e->metrics.by_class[c];
        if (s->support == 0)
            continue;
        bool ranged = !isnan(s->recall_range.low);
        json_t *range = ranged ? json_pack("[f, f]", s->recall_range.low, s->recall_range.high)
                               : json_pack("[n, n]");
        (void)json_array_append_new(
            list, json_pack("{s:o, s:I, s:f, s:o, s:I, s:I}", "class",
                            ms_json_text(facts->class_names[c]), "rows", (json_int_t)s->support,
                            "recall", s->recall, "recall_interval", range, "verdict_right",
                            (json_int_t)e->right[c], "verdict_unknown", (json_int_t)e->unknown[c]));
    }
    return list;
}

static void show_classes(const struct evaluating *e)
{
    const struct ms_model_facts *facts = ms_model_facts_get(e->model);
    bool band = facts->unknown_from < facts->unknown_to;
    char shown[128];
    if (facts->classes == 2)
        (void)printf("\n'%s' from the model's threshold %.4g on",
                     ms_escape_text(facts->class_names[0], shown, sizeof shown), facts->threshold);
    (void)printf("\n  %-16s %6s   %-24s%s\n", "true class", "rows", "said so, 95 %",
                 band ? "  with the band: so   unknown   otherwise" : "");
    for (uint32_t c = 0; c < facts->classes; c++) {
        const struct ms_class_scores *s = &e->metrics.by_class[c];
        if (s->support == 0)
            continue;
        double n = (double)s->support, right = (double)e->right[c] / n,
               unknown = (double)e->unknown[c] / n;
        char range[32] = "";
        if (!isnan(s->recall_range.low))
            (void)snprintf(range, sizeof range, "[%.3f, %.3f]", s->recall_range.low,
                           s->recall_range.high);
        (void)printf("  %-16s %6.0f   %.3f   %-16s",
                     ms_escape_text(facts->class_names[c], shown, sizeof shown), n, s->recall,
                     range);
        if (band)
            (void)printf("              %.3f     %.3f       %.3f", right, unknown,
                         1 - right - unknown);
        (void)putchar('\n');
    }
}

static enum ms_status print(const struct evaluating *e, const struct ms_cli *cli,
                            struct ms_error *err)
{
    const struct ms_metrics *m = &e->metrics;
    const struct ms_tuned tuned = {&e->tuning, &e->raw, m, &e->doubt, 0};
    if (cli->common.json)
        return ms_json_line(stdout,
                            json_pack("{s:o, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:o}", "model",
                                      ms_json_text(cli->operands[0]), "judged",
                                      (json_int_t)e->count, "refused_trained",
                                      (json_int_t)e->trained_key, "refused_same_sequence",
                                      (json_int_t)e->trained_sequence, "unknown_class",
                                      (json_int_t)e->unknown_class, "majority_accuracy",
                                      m->majority, "tuning", ms_tuned_json(&tuned), "classes",
                                      classes_json(e), "figures", ms_metrics_json(m)),
                            err);
    (void)printf("Judged %zu traces.\nRefused: %llu that trained the model, %llu with the sequence "
                 "of one that did; %llu of classes it does not know.\n\n",
                 e->count, (unsigned long long)e->trained_key,
                 (unsigned long long)e->trained_sequence, (unsigned long long)e->unknown_class);
    (void)printf(
        "  accuracy            %.3f   [%.3f, %.3f] 95 %%, %s\n  majority class      %.3f\n",
        m->accuracy, m->accuracy_low, m->accuracy_high, m->interval, m->majority);
    (void)printf("  balanced accuracy   %.3f\n  macro-F1            %.3f\n", m->balanced_accuracy,
                 m->macro_f1);
    if (!isnan(m->auc))
        (void)printf("  AUC                 %.3f\n", m->auc);
    if (m->calibrated)
        (void)printf("  Brier score         %.3f\n  log loss            %.3f\n"
                     "  calibration error   %.3f\n",
                     m->brier, m->log_loss, m->ece);
    ms_tuned_show(&tuned, stdout);
    show_classes(e);
    return MS_OK;
}

static void release(struct evaluating *e)
{
    free(e->unknown);
    free(e->right);
    ms_metrics_release(&e->raw);
    ms_metrics_release(&e->metrics);
    ms_dataset_release(&e->set);
    ms_manifest_release(&e->split);
    ms_buf_release(&e->split_bytes);
    ms_model_free(e->model);
    free(e->class_of);
    free(e->judged);
    free(e->truth);
    free(e->predicted);
    free(e->groups);
    free(e->scores);
}

enum ms_status ms_evaluate_run(struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_evaluate_options *o = cli->options;
    struct evaluating e = {0};
    struct ms_corpus *corpus = NULL;
    unsigned jobs = (unsigned)cli->common.jobs;
    ms_buf_init(&e.split_bytes, MS_LIMIT_SPLIT_BYTES);
    enum ms_status status = open_model(&e, cli->operands[0], jobs, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &corpus, err);
    if (status == MS_OK)
        status = load(&e, corpus, o->policy, jobs, err);
    if (status == MS_OK)
        status = choose(&e, err);
    if (status == MS_OK)
        status = judge(&e, cli->common.seed, err);
    if (status == MS_OK)
        status = print(&e, cli, err);
    ms_corpus_close(corpus);
    release(&e);
    return status;
}
