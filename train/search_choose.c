/* The inner folds of a search: candidates are scored inside the training rows alone. */
#include "train/learner.h"
#include "train/search.h"

#include <math.h>
#include <stdlib.h>

static const uint64_t INNER_SEED = 0xd1342543de82ef95u; /* apart from the outer fits' seeds */

void ms_search_defaults(struct ms_search_request *request)
{
    enum {
        REC = MS_PART_BIT(MS_PART_RECURRENT),
        HYB = MS_PART_BIT(MS_PART_HYBRID),
        GRU = MS_PART_BIT(MS_PART_GRU_HYBRID),
        POOL = MS_PART_BIT(MS_PART_POOLED),
        POOLHYB = MS_PART_BIT(MS_PART_POOLED_HYBRID),
        LIN = MS_PART_BIT(MS_PART_LINEAR),
        BOOST = MS_PART_BIT(MS_PART_BOOSTED),
    };
    static const uint32_t list[] = {
        REC, HYB, GRU, POOL, POOLHYB, LIN, REC | HYB, HYB | LIN, REC | HYB | LIN, GRU | LIN,
        HYB | GRU | LIN, POOL | POOLHYB, POOLHYB | LIN, POOL | POOLHYB | LIN, HYB | POOLHYB | LIN,
        REC | HYB | POOL | POOLHYB | LIN,
        /* from here on where trees can be grown */
        BOOST, LIN | BOOST, HYB | BOOST, REC | HYB | BOOST, HYB | LIN | BOOST,
        REC | HYB | LIN | BOOST, POOL | POOLHYB | BOOST, REC | HYB | POOL | POOLHYB | BOOST,
        REC | HYB | POOL | POOLHYB | LIN | BOOST};
    bool boosted = ms_learner_check(MS_MODEL_BOOSTED, NULL) == MS_OK;
    request->count = 0;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (boosted || !(list[i] & BOOST))
            request->candidates[request->count++] = list[i];
}

void ms_search_pick(struct ms_search_choice *self, uint32_t count)
{
    self->chosen = 0;
    for (uint32_t c = 1; c < count; c++) {
        uint32_t best = self->chosen;
        if (self->accuracy[c] > self->accuracy[best] ||
            (self->accuracy[c] == self->accuracy[best] && self->log_loss[c] < self->log_loss[best]))
            self->chosen = c;
    }
}

struct choosing {
    struct ms_plan plan; /* of an ensemble of every part of any candidate */
    const struct ms_search_request *request;
    const struct ms_dataset *set;
    const uint32_t *rows;
    size_t count;
    uint32_t *part_of;     /* count */
    uint32_t *picked;      /* count: training rows, then those of the fold */
    double *scores, *mean; /* parts x count x C, and count x C */
    uint64_t right[MS_SEARCH_CANDIDATES_MAX];
    double loss[MS_SEARCH_CANDIDATES_MAX];
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the search");
}

static enum ms_status deal(struct choosing *c, const uint32_t *groups, uint64_t seed,
                           struct ms_error *err)
{
    uint32_t *labels = calloc(c->count + 1, sizeof *labels);
    uint32_t *own = calloc(c->count + 1, sizeof *own);
    uint32_t *number = calloc(c->set->count + 1, sizeof *number), met = 0; /* 0: not met */
    enum ms_status status = labels && own && number ? MS_OK : no_memory(err);
    for (size_t i = 0; status == MS_OK && i < c->count; i++) {
        uint32_t *at = &number[groups[c->rows[i]]];
        *at = *at ? *at : ++met;
        labels[i] = c->set->labels[c->rows[i]];
        own[i] = *at - 1;
    }
    const struct ms_split_rows rows = {c->count, c->set->classes, labels, own};
    if (status == MS_OK)
        status = ms_split_folds(&rows, c->request->inner, seed, c->part_of, err);
    free(labels);
    free(own);
    free(number);
    return status;
}

/* What candidate `k` says of the fold's rows: the mean of its parts. */
static void judge(struct choosing *c, uint32_t k, const struct ms_learner_rows *fold)
{
    uint32_t classes = c->set->classes, parts = c->request->candidates[k], at = 0;
    size_t all = fold->test_count * classes;
    for (size_t i = 0; i < all; i++)
        c->mean[i] = 0;
    for (uint32_t p = 0; p < MS_PARTS; p++) {
        const double *said = c->scores + at * all;
        if (parts & MS_PART_BIT(p))
            for (size_t i = 0; i < all; i++)
                c->mean[i] += said[i] / ms_parts_count(parts);
        at += (c->plan.parts & MS_PART_BIT(p)) != 0;
    }
    for (size_t i = 0; i < fold->test_count; i++) {
        const double *p = c->mean + i * classes;
        uint32_t truth = c->set->labels[fold->test[i]];
        c->right[k] += ms_model_decide(p, classes, c->plan.tuning.threshold) == truth;
        c->loss[k] -= log(fmax(p[truth], 1e-30));
    }
}

static enum ms_status run_fold(struct choosing *c, uint32_t part, uint64_t seed,
                               struct ms_error *err)
{
    struct ms_learner_rows fold = {.set = c->set, .train = c->picked};
    for (size_t i = 0; i < c->count; i++)
        if (c->part_of[i] != part)
            c->picked[fold.train_count++] = c->rows[i];
    fold.test = c->picked + fold.train_count;
    for (size_t i = 0; i < c->count; i++)
        if (c->part_of[i] == part)
            c->picked[fold.train_count + fold.test_count++] = c->rows[i];
    enum ms_status status =
        ms_learner_fit_parts(&c->plan, &fold, seed + part * 1000003u, c->scores, err);
    for (uint32_t k = 0; k < c->request->count && status == MS_OK; k++)
        judge(c, k, &fold);
    return status;
}

enum ms_status ms_search_choose(const struct ms_plan *plan, const struct ms_search_request *request,
                                const struct ms_dataset *set, const uint32_t *rows, size_t count,
                                const uint32_t *groups, uint64_t seed, struct ms_search_choice *out,
                                struct ms_error *err)
{
    struct choosing c = {
        .plan = *plan, .request = request, .set = set, .rows = rows, .count = count};
    uint32_t every = 0;
    for (uint32_t k = 0; k < request->count; k++)
        every |= request->candidates[k];
    ms_plan_take_parts(&c.plan, every);
    *out = (struct ms_search_choice){0};
    c.part_of = calloc(count + 1, sizeof *c.part_of);
    c.picked = calloc(count + 1, sizeof *c.picked);
    c.scores = calloc((count + 1) * set->classes * MS_PARTS, sizeof *c.scores);
    c.mean = calloc((count + 1) * set->classes, sizeof *c.mean);
    enum ms_status status = c.part_of && c.picked && c.scores && c.mean ? MS_OK : no_memory(err);
    if (status == MS_OK)
        status = deal(&c, groups, seed + INNER_SEED, err);
    for (uint32_t part = 0; part < request->inner && status == MS_OK; part++)
        status = run_fold(&c, part, seed + INNER_SEED, err);
    for (uint32_t k = 0; k < request->count && status == MS_OK; k++) {
        out->accuracy[k] = (double)c.right[k] / (double)count;
        out->log_loss[k] = c.loss[k] / (double)count;
    }
    ms_search_pick(out, request->count);
    free(c.part_of);
    free(c.picked);
    free(c.scores);
    free(c.mean);
    return status;
}
