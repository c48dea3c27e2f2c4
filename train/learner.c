/* From a kind to its members, and what they are trained on. */
#include "train/learner.h"

#include "train/fit_boosted.h"
#include "train/fit_linear.h"
#include "train/fit_members.h"
#include "train/learner_rows.h"

#include <stdlib.h>
#include <string.h>

/* A part of the training rows held back when training may stop early. */
static const double INNER_SHARE = .1;

struct learning {
    const struct ms_plan *plan;
    enum ms_model_kind kind;
    const struct ms_learner_rows *rows;
    uint64_t seed;
    struct ms_fit_epoch *curve;
    struct ms_made_rows made;
    struct ms_model_parts parts;
    double *weights; /* C: of the classes; NULL: none */
    struct ms_error *err;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the training rows");
}

bool ms_learner_has_epochs(enum ms_model_kind kind)
{
    return kind == MS_MODEL_LSTM || kind == MS_MODEL_GRU || kind == MS_MODEL_ENSEMBLE ||
           kind == MS_MODEL_POOLED;
}

enum ms_status ms_learner_check(enum ms_model_kind kind, struct ms_error *err)
{
    if (kind == MS_MODEL_BOOSTED && !ms_boost_is_built())
        return ms_error_set(err, MS_E_INPUT,
                            "--kind boosted: this malseq was built without libxgboost; install "
                            "libxgboost-dev and build again");
    return MS_OK;
}

void ms_learner_inputs(const struct ms_plan *plan, enum ms_model_kind kind,
                       struct ms_input_options *out)
{
    *out = (struct ms_input_options){0};
    if (ms_learner_has_epochs(kind))
        *out = plan->inputs;
    else if (kind == MS_MODEL_LINEAR)
        out->ngrams = plan->linear_ngrams;
    else if (kind == MS_MODEL_BOOSTED)
        out->ngrams = plan->boost_ngrams;
}

static uint32_t label_of(const struct learning *l, uint32_t row)
{
    return l->rows->set->labels[row];
}

/* N / (C n_c) for each class, so that all classes together count alike. */
static enum ms_status weigh_classes(struct learning *l)
{
    uint32_t classes = l->rows->set->classes;
    size_t n = l->rows->train_count;
    l->weights = calloc(classes, sizeof *l->weights);
    if (!l->weights)
        return no_memory(l->err);
    for (size_t i = 0; i < n; i++)
        l->weights[label_of(l, l->rows->train[i])]++;
    for (uint32_t c = 0; c < classes; c++)
        l->weights[c] = l->weights[c] > 0 ? (double)n / ((double)classes * l->weights[c]) : 1;
    return MS_OK;
}

/* ---- nets ---- */

/* Rows of the nets' training as they borrow them. */
struct net_rows {
    const struct ms_input_row **row;
    int32_t *label;
    struct ms_fit_data data;
};

static void net_rows_release(struct net_rows *self)
{
    free((void *)self->row);
    free(self->label);
}

/* Which training rows are held back: those with part[i] MS_SPLIT_TEST. Copies stay together. */
static enum ms_status hold_back(const struct learning *l, uint32_t *part)
{
    const struct ms_dataset *set = l->rows->set;
    size_t n = l->rows->train_count;
    uint32_t *labels = calloc(n + 1, sizeof *labels), *groups = calloc(n + 1, sizeof *groups);
    uint32_t *number = calloc(set->group_count + 1u, sizeof *number), count = 0; /* 0: not met */
    enum ms_status status = labels && groups && number ? MS_OK : no_memory(l->err);
    for (size_t i = 0; status == MS_OK && i < n; i++) {
        uint32_t *at = &number[set->groups[l->rows->train[i]]];
        *at = *at ? *at : ++count;
        labels[i] = label_of(l, l->rows->train[i]);
        groups[i] = *at - 1;
    }
    const struct ms_split_rows rows = {n, set->classes, labels, groups};
    if (status == MS_OK)
        status = ms_split_holdout(&rows, INNER_SHARE, l->seed, part, l->err);
    free(labels);
    free(groups);
    free(number);
    return status;
}

static void take_row(struct net_rows *r, const struct learning *l, size_t at, size_t i)
{
    uint32_t row =
        i < l->rows->train_count ? l->rows->train[i] : l->rows->test[i - l->rows->train_count];
    uint32_t label = label_of(l, row);
    r->row[at] = &l->made.rows[i];
    /* of two classes the first is the net's label 1 */
    r->label[at] = (int32_t)(l->rows->set->binary ? 1 - label : label);
}

static enum ms_status net_rows_make(const struct learning *l, struct net_rows *r)
{
    size_t n = l->rows->train_count, all = l->made.count, at = 0, inner = 0;
    uint32_t *part = calloc(n + 1, sizeof *part);
    r->row = (void *)calloc(all + 1, sizeof *r->row);
    r->label = calloc(all + 1, sizeof *r->label);
    enum ms_status status = part && r->row && r->label ? MS_OK : no_memory(l->err);
    if (status == MS_OK && l->plan->fit.patience)
        status = hold_back(l, part);
    for (uint32_t side = 0; status == MS_OK && side < 2; side++)
        for (size_t i = 0; i < n; i++)
            if ((part[i] == MS_SPLIT_TEST) == (side == 1)) {
                take_row(r, l, at++, i);
                inner += side;
            }
    for (size_t i = n; status == MS_OK && i < all; i++)
        take_row(r, l, at++, i);
    if (status == MS_OK)
        r->data = (struct ms_fit_data){
            .train = {r->row, r->label, n - inner},
            .inner = {r->row + (n - inner), r->label + (n - inner), inner},
            .test = {r->row + n, r->label + n, all - n},
        };
    free(part);
    return status;
}

/* Nets of each shape, and whether there are shapes with the wide branch and without. */
struct shapes {
    uint32_t nets;
    bool plain, wide;
};

static struct shapes shapes_of(const struct learning *l)
{
    bool many = l->plan->kind == MS_MODEL_ENSEMBLE &&
                (l->kind == MS_MODEL_ENSEMBLE || l->kind == MS_MODEL_POOLED);
    bool wide = l->plan->inputs.wide;
    return (struct shapes){many ? l->plan->seeds : 1, many || !wide, wide};
}

static enum ms_status net_options(const struct learning *l, uint32_t member, bool wide,
                                  struct ms_fit_options *out)
{
    const struct ms_dataset *set = l->rows->set;
    const struct ms_plan_shape shape = {
        .vocabulary = ms_vocabulary_size(l->made.vocabulary),
        .ngrams = wide && l->made.ngrams ? ms_ngrams_size(l->made.ngrams) : 0,
        .gru = l->kind == MS_MODEL_GRU,
        .pooled = l->kind == MS_MODEL_POOLED};
    *out = l->plan->fit;
    out->inputs = l->plan->inputs;
    out->seed = l->seed + member * 0x9e3779b97f4a7c15u;
    enum ms_status status =
        ms_plan_config(l->plan, set->classes, set->binary, &shape, &out->config, l->err);
    for (uint32_t c = 0; l->weights && status == MS_OK && c < set->classes; c++)
        out->config.class_weight[set->binary ? 1 - c : c] = l->weights[c];
    return status;
}

static enum ms_status learn_nets(struct learning *l)
{
    const struct shapes shapes = shapes_of(l);
    uint32_t count = shapes.nets * ((uint32_t)shapes.plain + (uint32_t)shapes.wide), made = 0;
    struct ms_fit_options *options = calloc(count, sizeof *options);
    struct ms_net **nets = (void *)calloc(count, sizeof *nets);
    struct net_rows rows = {0};
    l->parts.members = calloc(count, sizeof *l->parts.members);
    enum ms_status status = options && nets && l->parts.members ? MS_OK : no_memory(l->err);
    if (status == MS_OK)
        status = net_rows_make(l, &rows);
    for (uint32_t wide = 0; wide < 2; wide++)
        for (uint32_t i = 0; i < shapes.nets && (wide ? shapes.wide : shapes.plain); i++, made++)
            if (status == MS_OK)
                status = net_options(l, made, wide, &options[made]);
    if (status == MS_OK)
        status =
            ms_fit_members(options, count, l->plan->fit.jobs, &rows.data, l->curve, nets, l->err);
    for (uint32_t i = 0; status == MS_OK && i < count; i++)
        l->parts.members[i] = (struct ms_member){.kind = MS_MEMBER_NET, .net = nets[i]};
    l->parts.member_count = status == MS_OK ? count : 0;
    net_rows_release(&rows);
    free(options);
    free((void *)nets);
    return status;
}

/* ---- the others ---- */

static enum ms_status learn_shares(struct learning *l, struct ms_member *out)
{
    out->kind = MS_MEMBER_SHARES;
    out->shares = calloc(l->rows->set->classes, sizeof *out->shares);
    if (!out->shares)
        return no_memory(l->err);
    for (size_t i = 0; i < l->rows->train_count; i++)
        out->shares[label_of(l, l->rows->train[i])] += 1.0 / (double)l->rows->train_count;
    return MS_OK;
}

static enum ms_status learn_sparse(struct learning *l, struct ms_member *out)
{
    const struct ms_dataset *set = l->rows->set;
    size_t n = l->rows->train_count;
    uint32_t size = ms_ngrams_size(l->made.ngrams);
    if (size == 0)
        return ms_error_set(l->err, MS_E_INPUT, "no n-gram occurs in %u of %zu training rows",
                            ms_ngrams_options(l->made.ngrams)->min_df, n);
    struct ms_net_sparse *rows = calloc(n + 1, sizeof *rows);
    uint32_t *labels = calloc(n + 1, sizeof *labels);
    enum ms_status status = rows && labels ? MS_OK : no_memory(l->err);
    for (size_t i = 0; status == MS_OK && i < n; i++) {
        const struct ms_input_row *row = &l->made.rows[i];
        rows[i] = (struct ms_net_sparse){row->ids, row->values, row->count};
        labels[i] = label_of(l, l->rows->train[i]);
    }
    if (status == MS_OK && l->kind == MS_MODEL_LINEAR) {
        out->kind = MS_MEMBER_LINEAR;
        status = ms_fit_linear(rows, labels, n, set->classes, size, l->plan->cost, l->weights,
                               &out->linear, l->err);
    } else if (status == MS_OK) {
        struct ms_boost_options boost = l->plan->boost;
        boost.seed = l->seed;
        out->kind = MS_MEMBER_TREES;
        status = ms_fit_boosted(rows, labels, n, set->classes, size, l->weights, &boost,
                                &out->trees, l->err);
    }
    free(rows);
    free(labels);
    return status;
}

static enum ms_status learn_one(struct learning *l)
{
    l->parts.members = calloc(1, sizeof *l->parts.members);
    if (!l->parts.members)
        return no_memory(l->err);
    l->parts.member_count = 1;
    return l->kind == MS_MODEL_MAJORITY ? learn_shares(l, l->parts.members)
                                        : learn_sparse(l, l->parts.members);
}

/* The parts become a model, which says what it thinks of the test rows. */
static enum ms_status finish(struct learning *l, struct ms_model **out, double *scores)
{
    size_t tests = l->rows->test_count;
    l->parts.vocabulary = l->made.vocabulary;
    l->parts.ngrams = l->made.ngrams;
    l->made.vocabulary = NULL;
    l->made.ngrams = NULL;
    struct ms_model *model = NULL;
    enum ms_status status = ms_model_new(&l->parts, &model, l->err);
    if (status == MS_OK && tests > 0)
        status = ms_model_scores(model, l->made.rows + l->rows->train_count, tests, scores, l->err);
    if (status == MS_OK)
        *out = model;
    else
        ms_model_free(model);
    return status;
}

enum ms_status ms_learner_fit(const struct ms_plan *plan, enum ms_model_kind kind,
                              const struct ms_learner_rows *rows, uint64_t seed,
                              struct ms_fit_epoch *curve, struct ms_model **out, double *scores,
                              struct ms_error *err)
{
    struct learning l = {
        .plan = plan,
        .kind = kind,
        .rows = rows,
        .seed = seed,
        .curve = curve,
        .parts = {.kind = kind, .classes = rows->set->classes, .cut = plan->view.cut},
        .err = err};
    ms_learner_inputs(plan, kind, &l.parts.inputs);
    enum ms_status status = ms_learner_check(kind, err);
    if (status == MS_OK && rows->train_count == 0)
        status = ms_error_set(err, MS_E_INPUT, "nothing to train: no rows");
    if (status == MS_OK)
        status = ms_made_rows_make(plan, &l.parts.inputs, ms_input_steps(&plan->fit.config), rows,
                                   &l.made, err);
    if (status == MS_OK && plan->balanced)
        status = weigh_classes(&l);
    if (status == MS_OK)
        status = ms_learner_has_epochs(kind) ? learn_nets(&l) : learn_one(&l);
    if (status == MS_OK)
        status = finish(&l, out, scores);
    ms_model_parts_release(&l.parts);
    ms_made_rows_release(&l.made);
    free(l.weights);
    return status;
}
