/* Whether the traces give their source away: how well the source alone tells the label, and how
 * well the calls tell the source. */
#include "malseq/audit.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDS = 5 };
static const uint64_t PURPOSE_FOLDS = 0x6c65616b;

/* Wilson's score interval at 95 %. */
static void settle(struct audit_told *told)
{
    const double z = 1.959963984540054;
    if (told->n == 0)
        return;
    double n = (double)told->n, p = (double)told->right / n;
    double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
    double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    told->accuracy = p;
    told->low = middle - half;
    told->high = middle + half;
    told->baseline = (double)told->majority / n;
}

static enum ms_status judge_by_source(struct audit *self, struct ms_error *err)
{
    struct ms_copies copies;
    enum ms_status status =
        ms_groups_copies(self->label_of, malseq_tally_count(&self->labels), self->source_of,
                         malseq_tally_count(&self->sources), self->count, &copies, err);
    if (status != MS_OK)
        return status;
    self->by_source = (struct audit_told){.n = self->count,
                                          .right = self->count - copies.unavoidable,
                                          .majority = self->best_call.majority};
    settle(&self->by_source);
    return MS_OK;
}

/* Naive Bayes over which calls are there: counts of traces by fold and source, and of those that
 * have a call. */
struct bayes {
    const struct audit *audit;
    size_t sources, symbols;
    uint8_t *fold;  /* by row; FOLDS: a near copy of another row, not asked */
    uint32_t *have; /* FOLDS x sources x symbols */
    uint64_t *rows; /* FOLDS x sources */
    double *there;  /* sources x symbols: log odds of a call that is there */
    double *base;   /* sources: log share, and of no call being there */
    bool *seen;     /* sources: in the training folds */
};

/* One row of each group of near copies: otherwise the copies answer for one another. */
static void deal(struct bayes *b)
{
    struct ms_rng rng;
    const struct audit *audit = b->audit;
    uint32_t next = 0;
    ms_rng_init(&rng, audit->seed, PURPOSE_FOLDS, 0);
    for (size_t i = 0; i < audit->count; i++) {
        b->fold[i] = FOLDS;
        if (audit->near_groups[i] != next) /* groups are numbered by their first rows */
            continue;
        next++;
        b->fold[i] = (uint8_t)ms_rng_below(&rng, FOLDS);
        const uint32_t *set = malseq_audit_set(audit, i);
        size_t at = b->fold[i] * b->sources + audit->source_of[i];
        b->rows[at]++;
        for (uint32_t k = 0; k < audit->rows[i].set_n; k++)
            b->have[at * b->symbols + set[k]]++;
    }
}

/* From all folds but one; a trace more with each call and one without, so that nothing is certain.
 */
static void learn(struct bayes *b, size_t fold)
{
    for (size_t s = 0; s < b->sources; s++) {
        uint64_t rows = 0;
        for (size_t f = 0; f < FOLDS; f++)
            rows += f == fold ? 0 : b->rows[f * b->sources + s];
        b->seen[s] = rows > 0;
        b->base[s] = rows ? log((double)rows) : 0;
        for (size_t v = 0; v < b->symbols; v++) {
            uint64_t have = 0;
            for (size_t f = 0; f < FOLDS; f++)
                have += f == fold ? 0 : b->have[(f * b->sources + s) * b->symbols + v];
            double p = ((double)have + 1) / ((double)rows + 2);
            b->there[s * b->symbols + v] = log(p) - log(1 - p);
            b->base[s] += log(1 - p);
        }
    }
}

static size_t guess(const struct bayes *b, size_t row)
{
    const uint32_t *set = malseq_audit_set(b->audit, row);
    size_t best = 0;
    double most = -INFINITY;
    for (size_t s = 0; s < b->sources; s++) {
        double score = b->base[s];
        for (uint32_t k = 0; k < b->audit->rows[row].set_n; k++)
            score += b->there[s * b->symbols + set[k]];
        if (b->seen[s] && score > most) {
            most = score;
            best = s;
        }
    }
    return best;
}

static void judge(struct bayes *b, struct audit_told *told)
{
    for (size_t fold = 0; fold < FOLDS; fold++) {
        learn(b, fold);
        for (size_t i = 0; i < b->audit->count; i++) {
            if (b->fold[i] != fold)
                continue;
            told->n++;
            told->right += guess(b, i) == b->audit->source_of[i];
        }
    }
    for (size_t s = 0; s < b->sources; s++) {
        uint64_t rows = 0;
        for (size_t f = 0; f < FOLDS; f++)
            rows += b->rows[f * b->sources + s];
        told->majority = rows > told->majority ? rows : told->majority;
    }
    settle(told);
}

static enum ms_status judge_sources(struct audit *self, struct ms_error *err)
{
    struct bayes b = {.audit = self,
                      .sources = malseq_tally_count(&self->sources),
                      .symbols = ms_names_count(ms_trace_reader_symbols(self->reader))};
    if (b.sources < 2)
        return MS_OK;
    if (b.symbols > ((size_t)1 << 27) / b.sources)
        return ms_error_set(err, MS_E_LIMIT, "%zu calls by %zu sources are too many for a table",
                            b.symbols, b.sources);
    b.fold = calloc(self->count, sizeof *b.fold);
    b.have = calloc(FOLDS * b.sources * b.symbols, sizeof *b.have);
    b.rows = calloc(FOLDS * b.sources, sizeof *b.rows);
    b.there = calloc(b.sources * b.symbols, sizeof *b.there);
    b.base = calloc(b.sources, sizeof *b.base);
    b.seen = calloc(b.sources, sizeof *b.seen);
    enum ms_status status = MS_OK;
    if (b.fold && b.have && b.rows && b.there && b.base && b.seen) {
        deal(&b);
        judge(&b, &self->source);
    } else {
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for the audit");
    }
    free(b.fold);
    free(b.have);
    free(b.rows);
    free(b.there);
    free(b.base);
    free(b.seen);
    return status;
}

enum ms_status malseq_audit_leaks(struct audit *self, struct ms_error *err)
{
    settle(&self->best_call);
    enum ms_status status = judge_by_source(self, err);
    return status == MS_OK ? judge_sources(self, err) : status;
}
