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
                            "boosted: this malseq was built without libxgboost; install "
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

/* What the model is made of, and how many nets of each shape. */
static uint32_t parts_of(const struct learning *l, uint32_t *seeds)
{
    bool many = l->plan->kind == MS_MODEL_ENSEMBLE &&
                (l->kind == MS_MODEL_ENSEMBLE || l->kind == MS_MODEL_POOLED);
    bool wide = l->plan->inputs.wide;
    *seeds = many ? l->plan->seeds : 1;
    if (many && l->kind == MS_MODEL_POOLED)
        return ms_parts_pooled(ms_plan_parts(l->plan));
    if (many || l->kind == MS_MODEL_ENSEMBLE)
        return ms_plan_parts(l->plan);
    if (l->kind == MS_MODEL_POOLED)
        return MS_PART_BIT(wide ? MS_PART_POOLED_HYBRID : MS_PART_POOLED);
    if (l->kind == MS_MODEL_GRU)
        return MS_PART_BIT(wide ? MS_PART_GRU_HYBRID : MS_PART_GRU);
    return MS_PART_BIT(wide ? MS_PART_HYBRID : MS_PART_RECURRENT);
}

static enum ms_status net_options(const struct learning *l, uint32_t member, enum ms_part part,
                                  struct ms_fit_options *out)
{
    const struct ms_dataset *set = l->rows->set;
    const struct ms_plan_shape shape = {
        .vocabulary = ms_vocabulary_size(l->made.vocabulary),
        .ngrams = ms_part_is_wide(part) && l->made.ngrams ? ms_ngrams_size(l->made.ngrams) : 0,
        .gru = ms_part_is_gru(part),
        .pooled = ms_part_is_pooled(part)};
    *out = l->plan->fit;
    out->inputs = l->plan->inputs;
    out->seed = l->seed + member * 0x9e3779b97f4a7c15u;
    enum ms_status status =
        ms_plan_config(l->plan, set->classes, set->binary, &shape, &out->config, l->err);
    for (uint32_t c = 0; l->weights && status == MS_OK && c < set->classes; c++)
        out->config.class_weight[set->binary ? 1 - c : c] = l->weights[c];
    return status;
}

/* The first members, and what is trained at the same time. */
static enum ms_status learn_nets(struct learning *l, uint32_t nets, uint32_t seeds,
                                 const struct ms_fit_beside *beside)
{
    uint32_t count = seeds * ms_parts_count(nets), made = 0;
    struct ms_fit_options *options = calloc(count, sizeof *options);
    struct ms_net **list = (void *)calloc(count, sizeof *list);
    struct net_rows rows = {0};
    enum ms_status status = options && list ? MS_OK : no_memory(l->err);
    if (status == MS_OK)
        status = net_rows_make(l, &rows);
    if (!l->curve)
        rows.data.test.count = 0; /* nobody looks at them */
    for (uint32_t p = 0; p < MS_PARTS; p++)
        for (uint32_t i = 0; i < seeds && (nets & MS_PART_BIT(p)); i++, made++)
            if (status == MS_OK)
                status = net_options(l, made, (enum ms_part)p, &options[made]);
    if (status == MS_OK)
        status = ms_fit_members(options, count, l->plan->fit.jobs, &rows.data, beside, l->curve,
                                list, l->err);
    for (uint32_t i = 0; status == MS_OK && i < count; i++)
        l->parts.members[i] = (struct ms_member){.kind = MS_MEMBER_NET, .net = list[i]};
    net_rows_release(&rows);
    free(options);
    free((void *)list);
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

/* Of the n-grams that trees look at: the most frequent, which have the lowest numbers. */
static uint32_t cut_ngrams(const struct ms_input_row *row, uint32_t most)
{
    uint32_t n = row->count;
    while (n && row->ids[n - 1] >= most)
        n--;
    return n;
}

/* presence: whatever the values of the rows are, for they are made for others too. */
static enum ms_status learn_sparse(const struct learning *l, enum ms_model_kind kind, bool presence,
                                   struct ms_member *out)
{
    const struct ms_dataset *set = l->rows->set;
    size_t n = l->rows->train_count;
    uint32_t size = ms_ngrams_size(l->made.ngrams);
    if (size == 0)
        return ms_error_set(l->err, MS_E_INPUT, "no n-gram occurs in %u of %zu training rows",
                            ms_ngrams_options(l->made.ngrams)->min_df, n);
    struct ms_net_sparse *rows = calloc(n + 1, sizeof *rows);
    uint32_t *labels = calloc(n + 1, sizeof *labels);
    float *ones = presence ? calloc((size_t)size + 1, sizeof *ones) : NULL;
    enum ms_status status = rows && labels && (ones || !presence) ? MS_OK : no_memory(l->err);
    for (uint32_t k = 0; ones && k < size; k++)
        ones[k] = 1;
    for (size_t i = 0; status == MS_OK && i < n; i++) {
        const struct ms_input_row *row = &l->made.rows[i];
        uint32_t count = presence && kind == MS_MODEL_BOOSTED
                             ? cut_ngrams(row, l->plan->boost_ngrams.max_size)
                             : row->count;
        rows[i] = (struct ms_net_sparse){row->ids, ones ? ones : row->values, count};
        labels[i] = label_of(l, l->rows->train[i]);
    }
    out->presence = presence;
    if (status == MS_OK && kind == MS_MODEL_LINEAR) {
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
    free(ones);
    free(rows);
    free(labels);
    return status;
}

/* The members of an ensemble that are no nets, behind those that are. */
struct besides {
    const struct learning *l;
    enum ms_model_kind kind[MS_PARTS];
    struct ms_member *first;
};

static enum ms_status learn_beside(void *ctx, uint32_t task, struct ms_error *err)
{
    struct besides *b = ctx;
    struct learning own = *b->l; /* with an error of its own: others run at the same time */
    own.err = err;
    return learn_sparse(&own, b->kind[task], true, b->first + task);
}

static enum ms_status learn_parts(struct learning *l)
{
    uint32_t seeds, parts = parts_of(l, &seeds), nets = ms_parts_nets(parts);
    uint32_t count = seeds * ms_parts_count(nets);
    enum ms_status status = MS_OK;
    l->parts.members = calloc((size_t)seeds * MS_PARTS, sizeof *l->parts.members);
    if (!l->parts.members)
        return no_memory(l->err);
    struct besides b = {.l = l, .first = l->parts.members + count};
    struct ms_fit_beside beside = {.run = learn_beside, .ctx = &b};
    for (uint32_t p = MS_PART_LINEAR; p < MS_PARTS; p++)
        if (parts & MS_PART_BIT(p)) {
            b.kind[beside.count] = p == MS_PART_LINEAR ? MS_MODEL_LINEAR : MS_MODEL_BOOSTED;
            b.first[beside.count++].weight = nets ? seeds : 1;
        }
    l->parts.member_count = count + beside.count; /* those that are not made yet are zero */
    if (nets)
        return learn_nets(l, nets, seeds, &beside);
    for (uint32_t i = 0; i < beside.count && status == MS_OK; i++)
        status = learn_beside(&b, i, l->err);
    return status;
}

static enum ms_status learn_one(struct learning *l)
{
    l->parts.members = calloc(1, sizeof *l->parts.members);
    if (!l->parts.members)
        return no_memory(l->err);
    l->parts.member_count = 1;
    return l->kind == MS_MODEL_MAJORITY ? learn_shares(l, l->parts.members)
                                        : learn_sparse(l, l->kind, false, l->parts.members);
}

/* The parts become a model. */
static enum ms_status finish(struct learning *l, struct ms_model **out)
{
    l->parts.vocabulary = l->made.vocabulary;
    l->parts.ngrams = l->made.ngrams;
    l->made.vocabulary = NULL;
    l->made.ngrams = NULL;
    return ms_model_new(&l->parts, out, l->err);
}

static enum ms_status check_parts(const struct ms_plan *plan, enum ms_model_kind kind,
                                  struct ms_error *err)
{
    uint32_t parts = kind == MS_MODEL_ENSEMBLE ? ms_plan_parts(plan) : 0;
    if (kind == MS_MODEL_ENSEMBLE && parts == 0)
        return ms_error_set(err, MS_E_INPUT, "nothing to train: an ensemble without parts");
    if (plan->seeds > MS_LIMIT_MODEL_MEMBERS ||
        plan->seeds * ms_parts_count(parts) > MS_LIMIT_MODEL_MEMBERS)
        return ms_error_set(err, MS_E_INPUT, "an ensemble of more than %d members",
                            MS_LIMIT_MODEL_MEMBERS);
    return parts & MS_PART_BIT(MS_PART_BOOSTED) ? ms_learner_check(MS_MODEL_BOOSTED, err) : MS_OK;
}

static enum ms_status learn(struct learning *l, struct ms_model **out)
{
    const struct ms_plan *plan = l->plan;
    l->parts = (struct ms_model_parts){
        .kind = l->kind, .classes = l->rows->set->classes, .cut = plan->view.cut};
    ms_learner_inputs(plan, l->kind, &l->parts.inputs);
    enum ms_status status = ms_learner_check(l->kind, l->err);
    if (status == MS_OK)
        status = check_parts(plan, l->kind, l->err);
    if (status == MS_OK && l->rows->train_count == 0)
        status = ms_error_set(l->err, MS_E_INPUT, "nothing to train: no rows");
    if (status == MS_OK)
        status = ms_made_rows_make(plan, &l->parts.inputs, ms_input_steps(&plan->fit.config),
                                   l->rows, &l->made, l->err);
    if (status == MS_OK && plan->balanced)
        status = weigh_classes(l);
    if (status == MS_OK)
        status = ms_learner_has_epochs(l->kind) ? learn_parts(l) : learn_one(l);
    return status == MS_OK ? finish(l, out) : status;
}

static void learning_release(struct learning *l)
{
    ms_model_parts_release(&l->parts);
    ms_made_rows_release(&l->made);
    free(l->weights);
}

enum ms_status ms_learner_fit(const struct ms_plan *plan, enum ms_model_kind kind,
                              const struct ms_learner_rows *rows, uint64_t seed,
                              struct ms_fit_epoch *curve, struct ms_model **out, double *scores,
                              struct ms_error *err)
{
    struct learning l = {
        .plan = plan, .kind = kind, .rows = rows, .seed = seed, .curve = curve, .err = err};
    struct ms_model *model = NULL;
    enum ms_status status = learn(&l, &model);
    if (status == MS_OK && rows->test_count > 0)
        status =
            ms_model_scores(model, l.made.rows + rows->train_count, rows->test_count, scores, err);
    if (status == MS_OK)
        *out = model;
    else
        ms_model_free(model);
    learning_release(&l);
    return status;
}

/* The mean over `count` members from `first` on. */
static enum ms_status mean_scores(struct learning *l, struct ms_member *first, uint32_t count,
                                  double *one, double *out)
{
    const struct ms_learner_rows *rows = l->rows;
    size_t all = rows->test_count * rows->set->classes;
    enum ms_status status = MS_OK;
    memset(out, 0, all * sizeof *out);
    for (uint32_t m = 0; m < count && status == MS_OK; m++) {
        status = ms_member_scores(first + m, rows->set->classes, l->made.rows + rows->train_count,
                                  rows->test_count, one, l->err);
        for (size_t i = 0; status == MS_OK && i < all; i++)
            out[i] += one[i] / count;
    }
    return status;
}

enum ms_status ms_learner_fit_parts(const struct ms_plan *plan, const struct ms_learner_rows *rows,
                                    uint64_t seed, double *scores, struct ms_error *err)
{
    struct learning l = {
        .plan = plan, .kind = MS_MODEL_ENSEMBLE, .rows = rows, .seed = seed, .err = err};
    struct ms_model *model = NULL;
    size_t all = rows->test_count * rows->set->classes;
    uint32_t seeds, parts = parts_of(&l, &seeds);
    double *one = calloc(all + 1, sizeof *one);
    enum ms_status status = one ? learn(&l, &model) : no_memory(err);
    struct ms_member *member = status == MS_OK ? ms_model_parts_get(model)->members : NULL;
    for (uint32_t p = 0; p < MS_PARTS && status == MS_OK; p++) {
        if (!(parts & MS_PART_BIT(p)))
            continue;
        uint32_t count = ms_part_is_net((enum ms_part)p) ? seeds : 1;
        status = mean_scores(&l, member, count, one, scores);
        member += count;
        scores += all;
    }
    free(one);
    ms_model_free(model);
    learning_release(&l);
    return status;
}
