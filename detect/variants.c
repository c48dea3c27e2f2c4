/* Changed views to rows, rows to scores. */
#include "detect/variants.h"

#include "base/limits.h"

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
    struct ms_span *calls; /* of one variant */
    struct ms_tokens rows[SLICE];
    double *scores;
};

static enum ms_status make_row(struct slice *s, const struct ms_variant_view *view,
                               const struct ms_variant *variant, struct ms_tokens *row,
                               struct ms_error *err)
{
    const struct ms_span *calls = view->trace->calls + view->from;
    const uint32_t *symbols = view->trace->symbols + view->from;
    size_t n = 0;
    for (size_t i = 0; i < view->n; i++)
        if (is_kept(variant, symbols[i], i))
            s->calls[n++] = calls[i];
    return ms_tokens_make(ms_model_vocabulary(s->model), ms_net_config_get(ms_model_net(s->model)),
                          &ms_model_facts_get(s->model)->view, s->calls, n, row, err);
}

static bool knows(const struct slice *s, const struct ms_tokens *row)
{
    bool unknown = ms_vocabulary_unknown(ms_model_vocabulary(s->model));
    for (size_t i = 0; i < row->n; i++)
        if (!unknown || row->ids[i] != MS_TOKEN_UNKNOWN)
            return true;
    return false;
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
        if (status == MS_OK && knows(s, &s->rows[rows]))
            asked[rows++] = i;
    }
    if (status == MS_OK && rows)
        status = ms_model_scores(ms_model_net(s->model), classes, s->rows, rows, s->scores, err);
    for (size_t i = 0; i < rows && status == MS_OK; i++) {
        double score = s->scores[i * classes + class_];
        variants[asked[i]].score = isfinite(score) ? score : NAN;
    }
    return status;
}

enum ms_status ms_variants_score(struct ms_model *model, const struct ms_variant_view *view,
                                 uint32_t class_, struct ms_variant *variants, size_t count,
                                 struct ms_error *err)
{
    struct slice *s = calloc(1, sizeof *s);
    const uint32_t classes = ms_model_facts_get(model)->classes;
    enum ms_status status = MS_OK;
    if (s) {
        s->model = model;
        s->calls = calloc(view->n + 1, sizeof *s->calls);
        s->scores = calloc((size_t)SLICE * classes, sizeof *s->scores);
    }
    if (!s || !s->calls || !s->scores)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory to explain a verdict");
    /* Of long views fewer rows at once: a row's activations are kept for all its steps. */
    size_t most = MS_LIMIT_EXPLAINED_STEPS / 8 / (view->n ? view->n : 1);
    most = most < 1 ? 1 : most > SLICE ? SLICE : most;
    for (size_t at = 0; at < count && status == MS_OK; at += most)
        status =
            score_slice(s, view, class_, variants + at, count - at < most ? count - at : most, err);
    for (size_t i = 0; s && i < SLICE; i++)
        ms_tokens_release(&s->rows[i]);
    if (s) {
        free(s->calls);
        free(s->scores);
    }
    free(s);
    return status;
}
