/* Files first, rows last: a crash in between leaves files that the next run of that name replaces.
 */
#include "train/publish.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "store/dataset.h"
#include "store/forget_models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 100, PATH_BYTES = 4400 };

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

enum ms_status ms_model_name_check(const char *name, struct ms_error *err)
{
    size_t n = strlen(name);
    bool good = n > 0 && n <= NAME_MAX_BYTES && name[0] != '.' && name[0] != '-';
    for (size_t i = 0; i < n; i++)
        good = good && is_name_byte(name[i]);
    char shown[160];
    return good ? MS_OK
                : ms_error_set(err, MS_E_USAGE,
                               "--name '%s': letters, digits, '.', '_' and '-', at most %d, not "
                               "beginning with '.' or '-'",
                               ms_escape_text(name, shown, sizeof shown), NAME_MAX_BYTES);
}

void ms_model_name_make(const char *preset, const char *target, bool shuffled,
                        char out[MS_MODEL_NAME_BYTES])
{
    (void)snprintf(out, NAME_MAX_BYTES - 9, "%s-%s", preset, target);
    for (char *c = out; *c; c++)
        if (!is_name_byte(*c))
            *c = '-';
    if (shuffled)
        (void)strcat(out, "-shuffled");
}

static enum ms_status encode_model(struct ms_outcome *o, struct ms_buf *out, struct ms_error *err)
{
    char dataset[MS_HASH_HEX_MAX], split[MS_HASH_HEX_MAX];
    ms_hex_encode(o->set->digest, MS_SHA256_BYTES, dataset);
    ms_hex_encode(o->experiment->partition.digest, MS_SHA256_BYTES, split);
    const struct ms_model_facts facts = {
        .target = o->target,
        .class_names = (const char *const *)o->set->class_names,
        .classes = o->set->classes,
        .view = o->plan->view,
        .opcodes = o->plan->opcodes,
        .statics = o->plan->statics,
        .min_calls = o->plan->min_calls,
        .threshold = o->experiment->tuning.threshold,
        .calibration = o->experiment->tuning.calibration,
        .unknown_from = o->experiment->tuning.unknown_from,
        .unknown_to = o->experiment->tuning.unknown_to,
        .dataset_digest = dataset,
        .split_digest = split,
        .settings = o->settings,
        .seed = o->plan->fit.seed,
    };
    enum ms_status status = ms_model_encode(o->experiment->model, &facts, out, err);
    if (status == MS_OK && ms_hash_sha256(out->data, out->len, o->model_digest) != MS_OK)
        status = ms_error_set(err, MS_E_NOMEM, "cannot hash the model");
    return status;
}

static enum ms_status write_file(const char *folder, const char *name, const void *bytes, size_t n,
                                 struct ms_error *err)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return ms_file_write_atomic(path, bytes, n, 0600, err);
}

/* The rows of one repeat; those that take no part have none. */
static enum ms_status put_split(struct ms_corpus *corpus, int64_t dataset,
                                const struct ms_partition *split, uint32_t repeat,
                                const struct ms_dataset *set, struct ms_error *err)
{
    const uint32_t *part_of = split->part_of + repeat * split->rows;
    char name[MS_PARTITION_NAME_BYTES + 16];
    if (repeat)
        (void)snprintf(name, sizeof name, "%s#%u", split->name, repeat + 1);
    else
        (void)snprintf(name, sizeof name, "%s", split->name);
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < set->count && status == MS_OK; i++)
        if (part_of[i] != MS_PARTITION_OUT)
            status = ms_split_put(corpus, dataset, name, split->digest, set->rows[i].analysis,
                                  (int)part_of[i], split->groups[i], err);
    return status;
}

static enum ms_status put_rows(struct ms_corpus *corpus, const struct ms_outcome *o, int64_t run,
                               const char *metrics, struct ms_error *err)
{
    const struct ms_partition *split = &o->experiment->partition;
    char path[MS_MODEL_NAME_BYTES + 32];
    struct ms_dataset_row row = {.target = o->target,
                                 .policy = o->set->policies,
                                 .normalisation = o->set->normalisation,
                                 .samples = (int64_t)o->set->count,
                                 .vocabulary =
                                     ms_vocabulary_size(ms_model_vocabulary(o->experiment->model))};
    memcpy(row.digest, o->set->digest, sizeof row.digest);
    (void)snprintf(path, sizeof path, "models/%s/model.safetensors", o->name);
    int64_t dataset;
    enum ms_status status = ms_dataset_put(corpus, &row, o->made_ms, run, &dataset, err);
    for (uint32_t r = 0; r < split->repeats && status == MS_OK; r++)
        status = put_split(corpus, dataset, split, r, o->set, err);
    if (status == MS_OK)
        status = ms_model_put(corpus, o->name, dataset, split->name, o->model_digest, path, metrics,
                              o->made_ms, run, err);
    return status == MS_OK ? ms_dataset_prune(corpus, err) : status;
}

static enum ms_status commit_rows(struct ms_corpus *corpus, const struct ms_outcome *o, int64_t run,
                                  const char *metrics, struct ms_error *err)
{
    enum ms_status status = ms_corpus_begin(corpus, err);
    if (status == MS_OK)
        status = put_rows(corpus, o, run, metrics, err);
    if (status == MS_OK)
        status = ms_corpus_commit(corpus, err);
    ms_step("train.publish.rows");
    if (status != MS_OK)
        ms_corpus_rollback(corpus);
    return status;
}

static enum ms_status write_files(struct ms_outcome *o, const char *folder, const char *metrics,
                                  const struct ms_buf *model, struct ms_error *err)
{
    const struct ms_partition *split = &o->experiment->partition;
    struct ms_buf page, predictions;
    ms_buf_init(&page, MS_LIMIT_REPORT_PAGE_BYTES);
    ms_buf_init(&predictions, MS_LIMIT_PREDICTIONS_BYTES);
    enum ms_status status = ms_outcome_page(o, &page, err);
    if (status == MS_OK)
        status = ms_outcome_predictions(o, &predictions, err);
    if (status == MS_OK)
        status = ms_file_make_dirs(folder, err);
    if (status == MS_OK)
        status = write_file(folder, "model.safetensors", model->data, model->len, err);
    ms_step("train.publish.model");
    if (status == MS_OK)
        status = write_file(folder, "split.jsonl", split->manifest, split->manifest_bytes, err);
    if (status == MS_OK)
        status = write_file(folder, "predictions.jsonl", predictions.data, predictions.len, err);
    if (status == MS_OK)
        status = write_file(folder, "metrics.json", metrics, strlen(metrics), err);
    if (status == MS_OK)
        status = write_file(folder, "report.html", page.data, page.len, err);
    ms_step("train.publish.files");
    ms_buf_release(&page);
    ms_buf_release(&predictions);
    return status;
}

/* What was forgotten while the model was trained. */
static enum ms_status forget_gone(struct ms_corpus *corpus, const struct ms_outcome *o,
                                  const char *folder, struct ms_error *err)
{
    const char **keys = calloc(o->set->count + 1, sizeof *keys);
    size_t gone = 0;
    enum ms_status status =
        keys ? MS_OK : ms_error_set(err, MS_E_NOMEM, "out of memory for the split");
    for (size_t i = 0; i < o->set->count && status == MS_OK; i++) {
        bool there = false;
        status = ms_analysis_is_there(corpus, o->set->rows[i].analysis, &there, err);
        if (!there)
            keys[gone++] = o->set->rows[i].key;
    }
    if (status == MS_OK)
        status = ms_models_forget(corpus, folder, keys, gone, err);
    free(keys);
    return status;
}

enum ms_status ms_outcome_publish(struct ms_corpus *corpus, struct ms_outcome *outcome, int64_t run,
                                  char *folder, size_t folder_bytes, struct ms_error *err)
{
    struct ms_buf model;
    ms_buf_init(&model, MS_LIMIT_MODEL_BYTES);
    char *metrics = NULL, *stored = NULL;
    (void)snprintf(folder, folder_bytes, "%s/models/%s", ms_corpus_dir(corpus), outcome->name);
    enum ms_status status = encode_model(outcome, &model, err);
    if (status == MS_OK) {
        json_t *json = ms_outcome_json(outcome);
        metrics = json ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) : NULL;
        /* the database names samples by its own rows alone: what is forgotten goes with them */
        (void)json_object_del(json, "errors");
        stored = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
        json_decref(json);
        if (!metrics || !stored)
            status = ms_error_set(err, MS_E_NOMEM, "out of memory for the metrics");
    }
    if (status == MS_OK)
        status = write_files(outcome, folder, metrics, &model, err);
    if (status == MS_OK)
        status = forget_gone(corpus, outcome, folder, err);
    if (status == MS_OK)
        status = commit_rows(corpus, outcome, run, stored, err);
    free(metrics);
    free(stored);
    ms_buf_release(&model);
    return status;
}
