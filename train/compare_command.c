/* Finds the two, lays their rows side by side, prints. The figures are made in compare.c. */
#include "train/compare_command.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "train/compare.h"
#include "train/compare_json.h"
#include "train/manifest.h"
#include "train/predictions.h"
#include "train/publish.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4400 };

/* Where a row is. */
struct place {
    const char *key;
    uint32_t repeat, row;
};

struct side {
    char name[MS_MODEL_NAME_BYTES];
    uint32_t entry;
    struct ms_predictions predictions;
    struct place *sorted; /* rows by repeat and key */
};

struct comparing {
    struct side sides[2];
    uint32_t *truth, *groups, *repeat, *fold, *predicted[2];
    double *scores[2];
    struct ms_comparison result;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the comparison");
}

static enum ms_status open_side(struct side *side, const char *corpus, const char *operand,
                                struct ms_error *err)
{
    const char *colon = strchr(operand, ':');
    size_t n = colon ? (size_t)(colon - operand) : strlen(operand);
    char path[PATH_BYTES], shown[128];
    (void)snprintf(side->name, sizeof side->name, "%.*s", (int)(n < 4096 ? n : 4096), operand);
    enum ms_status status = ms_model_name_check(side->name, err);
    if (status != MS_OK || n >= sizeof side->name)
        return status != MS_OK ? status : ms_error_set(err, MS_E_USAGE, "a name is too long");
    (void)snprintf(path, sizeof path, "%s/models/%s/predictions.jsonl", corpus, side->name);
    status = ms_predictions_open(path, &side->predictions, err);
    if (status != MS_OK || !colon)
        return status;
    for (uint32_t e = 0; e < side->predictions.entries; e++)
        if (strcmp(side->predictions.entry_names[e], colon + 1) == 0) {
            side->entry = e;
            return MS_OK;
        }
    return ms_error_set(err, MS_E_INPUT, "model %s was not judged beside a '%s'", side->name,
                        ms_escape_text(colon + 1, shown, sizeof shown));
}

/* ---- the same rows --------------------------------------------------------------------------- */

static int by_repeat_and_key(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->repeat != y->repeat ? (x->repeat < y->repeat ? -1 : 1) : strcmp(x->key, y->key);
}

static enum ms_status sort_rows(struct side *side, struct ms_error *err)
{
    const struct ms_predictions *p = &side->predictions;
    side->sorted = calloc(p->count + 1, sizeof *side->sorted);
    if (!side->sorted)
        return no_memory(err);
    for (size_t i = 0; i < p->count; i++)
        side->sorted[i] = (struct place){p->keys[i], p->repeat[i], (uint32_t)i};
    qsort(side->sorted, p->count, sizeof *side->sorted, by_repeat_and_key);
    return MS_OK;
}

static enum ms_status check_same(const struct side *a, const struct side *b, struct ms_error *err)
{
    const struct ms_predictions *p = &a->predictions, *q = &b->predictions;
    if (memcmp(p->split, q->split, sizeof p->split) != 0)
        return ms_error_set(err, MS_E_INPUT,
                            "%s and %s were not judged on the same split: train one again with "
                            "--split-file models/%s/split.jsonl",
                            a->name, b->name, a->name);
    bool same = p->count == q->count && p->classes == q->classes && p->repeats == q->repeats &&
                p->folds == q->folds;
    for (uint32_t c = 0; same && c < p->classes; c++)
        same = strcmp(p->class_names[c], q->class_names[c]) == 0;
    for (size_t i = 0; same && i < p->count; i++) {
        uint32_t x = a->sorted[i].row, y = b->sorted[i].row;
        same = p->repeat[x] == q->repeat[y] && p->truth[x] == q->truth[y] &&
               p->fold[x] == q->fold[y] && strcmp(p->keys[x], q->keys[y]) == 0;
    }
    return same ? MS_OK
                : ms_error_set(err, MS_E_INPUT,
                               "%s and %s were judged on the same split, but not with the same "
                               "classes or labels: train both again",
                               a->name, b->name);
}

static enum ms_status lay_out(struct comparing *c, struct ms_error *err)
{
    const struct ms_predictions *first = &c->sides[0].predictions;
    size_t n = first->count, classes = first->classes;
    c->truth = calloc(n, sizeof *c->truth);
    c->groups = calloc(n, sizeof *c->groups);
    c->repeat = calloc(n, sizeof *c->repeat);
    c->fold = calloc(n, sizeof *c->fold);
    if (!c->truth || !c->groups || !c->repeat || !c->fold)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        uint32_t row = c->sides[0].sorted[i].row;
        c->truth[i] = first->truth[row];
        c->groups[i] = first->groups[row];
        c->repeat[i] = first->repeat[row];
        c->fold[i] = first->fold[row];
    }
    for (int s = 0; s < 2; s++) {
        const struct side *side = &c->sides[s];
        const struct ms_predictions *p = &side->predictions;
        c->predicted[s] = calloc(n, sizeof *c->predicted[s]);
        c->scores[s] = calloc(n * classes, sizeof *c->scores[s]);
        if (!c->predicted[s] || !c->scores[s])
            return no_memory(err);
        for (size_t i = 0; i < n; i++) {
            size_t at = side->entry * n + side->sorted[i].row;
            c->predicted[s][i] = p->predicted[at];
            memcpy(c->scores[s] + i * classes, p->scores + at * classes,
                   classes * sizeof *c->scores[s]);
        }
    }
    return MS_OK;
}

/* Rows judged over rows trained on, of one fit: by the folds, or counted in the split's file. */
static enum ms_status find_shares(const struct comparing *c, const char *corpus, double *out,
                                  struct ms_error *err)
{
    const struct ms_predictions *p = &c->sides[0].predictions;
    *out = p->folds ? 1 / (double)(p->folds - 1) : NAN;
    if (p->folds || p->repeats < 2)
        return MS_OK;
    struct ms_manifest manifest;
    struct ms_buf bytes;
    char path[PATH_BYTES];
    ms_buf_init(&bytes, MS_LIMIT_SPLIT_BYTES);
    (void)snprintf(path, sizeof path, "%s/models/%s/split.jsonl", corpus, c->sides[0].name);
    enum ms_status status = ms_manifest_open(path, &bytes, &manifest, err);
    double train = 0, test = 0;
    for (size_t i = 0; status == MS_OK && i < manifest.rows; i++) {
        train += manifest.part_of[i] == MS_SPLIT_TRAIN;
        test += manifest.part_of[i] == MS_SPLIT_TEST;
    }
    *out = train > 0 ? test / train : NAN;
    ms_manifest_release(&manifest);
    ms_buf_release(&bytes);
    return status;
}

/* ---- what is printed ------------------------------------------------------------------------- */

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *repeat_json(const struct ms_pair_repeat *r)
{
    return json_pack("{s:I, s:[o,o], s:[o,o], s:[o,o], s:I, s:I, s:o, s:o}", "rows",
                     (json_int_t)r->rows, "accuracy", real(r->accuracy[0]), real(r->accuracy[1]),
                     "macro_f1", real(r->macro_f1[0]), real(r->macro_f1[1]), "auc", real(r->auc[0]),
                     real(r->auc[1]), "only_a_right", (json_int_t)r->mcnemar.only_a, "only_b_right",
                     (json_int_t)r->mcnemar.only_b, "mcnemar_exact_p", real(r->mcnemar.exact),
                     "mcnemar_corrected_p", real(r->mcnemar.corrected));
}

static json_t *result_json(const struct comparing *c)
{
    const struct ms_comparison *r = &c->result;
    char split[MS_HASH_HEX_MAX];
    json_t *o = json_object(), *list = json_array();
    ms_hex_encode(c->sides[0].predictions.split, MS_SHA256_BYTES, split);
    for (int s = 0; s < 2; s++) {
        const struct side *side = &c->sides[s];
        (void)json_object_set_new(
            o, s ? "b" : "a",
            json_pack("{s:s, s:o}", "model", side->name, "entry",
                      ms_json_text(side->predictions.entry_names[side->entry])));
    }
    for (uint32_t i = 0; i < r->repeats; i++)
        (void)json_array_append_new(list, repeat_json(&r->by_repeat[i]));
    (void)json_object_set_new(o, "split", json_string(split));
    (void)json_object_set_new(o, "accuracy", ms_difference_json(&r->accuracy));
    (void)json_object_set_new(o, "macro_f1", ms_difference_json(&r->macro_f1));
    (void)json_object_set_new(o, "f1", ms_difference_json(&r->f1));
    (void)json_object_set_new(o, "auc", ms_difference_json(&r->auc));
    (void)json_object_set_new(o, "average_precision", ms_difference_json(&r->average_precision));
    (void)json_object_set_new(o, "repeats", list);
    (void)json_object_set_new(o, "t_test", ms_t_test_json(r));
    return o;
}

static void show_difference(const char *name, const struct ms_difference *d)
{
    if (isnan(d->difference))
        return;
    (void)printf("  %-10s %8.3f %8.3f %+9.3f", name, d->a, d->b, d->difference);
    if (!isnan(d->low))
        (void)printf("   [%+.3f, %+.3f]", d->low, d->high);
    (void)putchar('\n');
}

static void show_verdict(const struct comparing *c)
{
    const struct ms_difference *d = &c->result.accuracy;
    const char *better = d->low > 0 ? "A" : d->high < 0 ? "B" : NULL;
    if (better)
        (void)printf("\n%s is better: the interval of the difference in accuracy is away from 0.\n",
                     better);
    else
        (void)printf("\nNeither is better as far as these rows can tell: 0 lies in the interval of "
                     "the difference.\n");
}

static void show(const struct comparing *c)
{
    const struct ms_comparison *r = &c->result;
    char entry[64];
    for (int s = 0; s < 2; s++)
        (void)printf("%c  %s, %s\n", 'A' + s, c->sides[s].name,
                     ms_escape_text(c->sides[s].predictions.entry_names[c->sides[s].entry], entry,
                                    sizeof entry));
    (void)printf("\n  %-10s %8s %8s %9s   95 %% (cluster bootstrap)\n", "", "A", "B", "A - B");
    show_difference("accuracy", &r->accuracy);
    show_difference("macro-F1", &r->macro_f1);
    show_difference("F1", &r->f1); /* of the positive class */
    show_difference("AUC", &r->auc);
    show_difference("avg.prec.", &r->average_precision);
    (void)printf("\n  %-7s %7s %8s %8s %12s %12s %9s %9s\n", "repeat", "rows", "A", "B",
                 "only A right", "only B right", "McNemar", "corrected");
    for (uint32_t i = 0; i < r->repeats; i++) {
        const struct ms_pair_repeat *p = &r->by_repeat[i];
        (void)printf("  %-7u %7" PRIu64 " %8.3f %8.3f %12" PRIu64 " %12" PRIu64 " %9.3g %9.3g\n",
                     i + 1, p->rows, p->accuracy[0], p->accuracy[1], p->mcnemar.only_a,
                     p->mcnemar.only_b, p->mcnemar.exact, p->mcnemar.corrected);
    }
    if (!isnan(r->p))
        (void)printf("\n  corrected resampled t-test over %u fits: t %.3f, p %.3g\n", r->fits, r->t,
                     r->p);
    show_verdict(c);
}

static void release(struct comparing *c)
{
    for (int s = 0; s < 2; s++) {
        ms_predictions_release(&c->sides[s].predictions);
        free(c->sides[s].sorted);
        free(c->predicted[s]);
        free(c->scores[s]);
    }
    free(c->truth);
    free(c->groups);
    free(c->repeat);
    free(c->fold);
    ms_comparison_release(&c->result);
}

enum ms_status ms_compare_run(struct ms_cli *cli, struct ms_error *err)
{
    struct comparing c = {0};
    double shares = NAN;
    enum ms_status status = MS_OK;
    for (int s = 0; s < 2 && status == MS_OK; s++) {
        status = open_side(&c.sides[s], cli->common.corpus, cli->operands[s], err);
        if (status == MS_OK)
            status = sort_rows(&c.sides[s], err);
    }
    if (status == MS_OK)
        status = check_same(&c.sides[0], &c.sides[1], err);
    if (status == MS_OK)
        status = lay_out(&c, err);
    if (status == MS_OK)
        status = find_shares(&c, cli->common.corpus, &shares, err);
    if (status == MS_OK) {
        const struct ms_predictions *p = &c.sides[0].predictions;
        const struct ms_pair pair = {.classes = p->classes,
                                     .rows = p->count,
                                     .truth = c.truth,
                                     .groups = c.groups,
                                     .repeat = c.repeat,
                                     .fold = c.fold,
                                     .repeats = p->repeats,
                                     .folds = p->folds,
                                     .test_over_train = shares,
                                     .predicted = {c.predicted[0], c.predicted[1]},
                                     .scores = {c.scores[0], c.scores[1]},
                                     .seed = cli->common.seed};
        status = ms_compare(&pair, &c.result, err);
    }
    if (status == MS_OK && cli->common.json)
        status = ms_json_line(stdout, result_json(&c), err);
    else if (status == MS_OK)
        show(&c);
    release(&c);
    return status;
}
