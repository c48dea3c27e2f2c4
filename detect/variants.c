/* Changed views to rows, rows to scores. */
#include "detect/variants.h"

#include "base/limits.h"
#include "detect/trace_input.h"

#include <math.h>
#include <stdlib.h>

enum { SLICE = 128 };

struct ms_variant_view ms_variant_view_of(const struct ms_model *model,
                                          const struct ms_read_trace *trace)
{
    const struct ms_normal_options *view = &ms_model_facts_get(model)->view;
    struct ms_variant_view self = {trace, 0, trace->n};
    if (self.n > MS_LIMIT_EXPLAINED_CALLS) {
        self.from = view->cut == MS_CUT_TAIL ? self.n - MS_LIMIT_EXPLAINED_CALLS : 0;
        self.n = MS_LIMIT_EXPLAINED_CALLS;
    }
    return self;
}

size_t ms_variants_most(size_t n)
{
    size_t most = MS_LIMIT_EXPLAINED_STEPS / (n ? n : 1);
    return most < 8 ? 8 : most > MS_LIMIT_EXPLAINED_VARIANTS ? MS_LIMIT_EXPLAINED_VARIANTS : most;
}

static bool is_kept(const struct ms_variant *variant, uint32_t symbol, size_t at)
{
    switch (variant->kind) {
    case MS_VARIANT_PREFIX:
        return at < variant->to;
    case MS_VARIANT_WITHOUT_CALL:
        return symbol != variant->symbol;
    case MS_VARIANT_WITHOUT_RANGE:
        break;
    }
    return at < variant->from || at >= variant->to;
}

/* The rows of a slice and what is needed to make them. */
struct slice {
    struct ms_model *model;
    struct ms_gram_table table; /* which the maker borrows */
    struct ms_input_maker *maker;
    uint32_t *calls, *run_lengths, *run_counts; /* of one variant */
    uint32_t *grams;
    bool *in_view, *in_variant; /* by symbol */
    struct ms_input_row rows[SLICE];
    double *scores;
};

/* What is left of the n-grams of the whole trace: those without a call that the variant has lost.
 * That new neighbours would make new ones is not known, for the trace between is gone. */
static size_t keep_grams(const struct slice *s, const struct ms_read_trace *trace)
{
    size_t n = 0;
    for (size_t g = 0; g < trace->gram_count; g++) {
        bool lost = false;
        for (uint32_t k = 0; k < ms_gram_length(trace->grams[g]); k++) {
            uint32_t symbol = trace->grams[g].symbol[k];
            lost = lost || (s->in_view[symbol] && !s->in_variant[symbol]);
        }
        if (!lost)
            s->grams[n++] = (uint32_t)g;
    }
    return n;
}

static enum ms_status make_row(struct slice *s, const struct ms_variant_view *view,
                               const struct ms_variant *variant, struct ms_input_row *row,
                               struct ms_error *err)
{
    const struct ms_read_trace *trace = view->trace;
    size_t n = 0;
    for (size_t i = 0; i < trace->symbol_count; i++)
        s->in_variant[i] = false;
    for (size_t i = 0; i < view->n; i++) {
        size_t at = view->from + i;
        if (!is_kept(variant, trace->symbols[at], i))
            continue;
        s->calls[n] = trace->symbols[at];
        s->run_lengths[n] = trace->run_lengths[at];
        s->run_counts[n++] = trace->run_counts[at];
        s->in_variant[trace->symbols[at]] = true;
    }
    const struct ms_input_trace input = {
        .calls = s->calls,
        .n = n,
        .run_lengths = s->run_lengths,
        .run_counts = s->run_counts,
        .grams = {s->grams, s->grams ? keep_grams(s, trace) : 0},
    };
    return ms_input_row_make(s->maker, &input, row, err);
}

/* A row without anything known is none for the model: such rows are left out of what it is asked.
 */
static enum ms_status score_slice(struct slice *s, const struct ms_variant_view *view,
                                  uint32_t class_, struct ms_variant *variants, size_t count,
                                  struct ms_error *err)
{
    const uint32_t classes = ms_model_facts_get(s->model)->classes;
    size_t asked[SLICE], rows = 0;
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        variants[i].score = NAN;
        status = make_row(s, view, &variants[i], &s->rows[rows], err);
        if (status == MS_OK && (s->rows[rows].known > 0 || s->rows[rows].count > 0))
            asked[rows++] = i;
    }
    if (status == MS_OK && rows)
        status = ms_model_calibrated(s->model, s->rows, rows, s->scores, err);
    for (size_t i = 0; i < rows && status == MS_OK; i++) {
        double score = s->scores[i * classes + class_];
        variants[asked[i]].score = isfinite(score) ? score : NAN;
    }
    return status;
}

static void slice_free(struct slice *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < SLICE; i++)
        ms_input_row_release(&s->rows[i]);
    ms_input_maker_free(s->maker);
    free(s->calls);
    free(s->run_lengths);
    free(s->run_counts);
    free(s->grams);
    free(s->in_view);
    free(s->in_variant);
    free(s->scores);
    free(s);
}

static enum ms_status slice_new(struct ms_model *model, const struct ms_variant_view *view,
                                struct slice **out, struct ms_error *err)
{
    const struct ms_read_trace *trace = view->trace;
    struct ms_input_recipe recipe;
    struct slice *s = calloc(1, sizeof *s);
    *out = s;
    if (!s)
        return ms_error_set(err, MS_E_NOMEM, "out of memory to explain a verdict");
    ms_model_recipe(model, &recipe);
    bool grams = ms_input_options_grams(&recipe.options);
    s->model = model;
    s->table = ms_read_trace_table(trace);
    s->calls = calloc(view->n + 1, sizeof *s->calls);
    s->run_lengths = calloc(view->n + 1, sizeof *s->run_lengths);
    s->run_counts = calloc(view->n + 1, sizeof *s->run_counts);
    s->grams = grams ? calloc(trace->gram_count + 1, sizeof *s->grams) : NULL;
    s->in_view = calloc(trace->symbol_count + 1, sizeof *s->in_view);
    s->in_variant = calloc(trace->symbol_count + 1, sizeof *s->in_variant);
    s->scores = calloc((size_t)SLICE * ms_model_facts_get(model)->classes, sizeof *s->scores);
    if (!s->calls || !s->run_lengths || !s->run_counts || (grams && !s->grams) || !s->in_view ||
        !s->in_variant || !s->scores)
        return ms_error_set(err, MS_E_NOMEM, "out of memory to explain a verdict");
    for (size_t i = 0; i < view->n; i++)
        s->in_view[trace->symbols[view->from + i]] = true;
    return ms_input_maker_new(&recipe, &s->table, &s->maker, err);
}

enum ms_status ms_variants_score(struct ms_model *model, const struct ms_variant_view *view,
                                 uint32_t class_, struct ms_variant *variants, size_t count,
                                 struct ms_error *err)
{
    struct slice *s;
    enum ms_status status = slice_new(model, view, &s, err);
    /* Of long views fewer rows at once: a row's activations are kept for all its steps. */
    size_t most = MS_LIMIT_EXPLAINED_STEPS / 8 / (view->n ? view->n : 1);
    most = most < 1 ? 1 : most > SLICE ? SLICE : most;
    for (size_t at = 0; at < count && status == MS_OK; at += most)
        status =
            score_slice(s, view, class_, variants + at, count - at < most ? count - at : most, err);
    slice_free(s);
    return status;
}
