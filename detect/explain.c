/* Chooses what to leave out, and reads the differences. */
#include "detect/explain.h"

#include "base/limits.h"
#include "detect/variants.h"

#include <math.h>
#include <stdlib.h>

enum { EXACT_ROWS = 64 };

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory to explain a verdict");
}

/* A distinct call of the view. */
struct candidate {
    uint32_t symbol;
    size_t first, count, at;
    double delta;
};

struct explainer {
    struct ms_model *model;
    struct ms_variant_view view;
    uint32_t class_;
    double score; /* of the view as it is */
    struct ms_variant *variants;
    size_t most;            /* variants a round */
    struct candidate *list; /* by first occurrence */
    size_t count;
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The larger change first; what is no number last. */
static int by_change(double a, double b)
{
    double x = isnan(a) ? -1 : fabs(a), y = isnan(b) ? -1 : fabs(b);
    return (x < y) - (x > y);
}

static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    int order = by_change(a->delta, b->delta);
    return order ? order : (a->first > b->first) - (a->first < b->first);
}

static enum ms_status ask(struct explainer *self, size_t count, struct ms_error *err)
{
    return ms_variants_score(self->model, &self->view, self->class_, self->variants, count, err);
}

static enum ms_status list_calls(struct explainer *self, struct ms_error *err)
{
    const uint32_t *symbols = self->view.trace->symbols + self->view.from;
    size_t *place = calloc(self->view.trace->symbol_count + 1, sizeof *place); /* + 1; 0: none */
    self->list =
        calloc(smaller(self->view.n, self->view.trace->symbol_count) + 1, sizeof *self->list);
    if (!place || !self->list) {
        free(place);
        return no_memory(err);
    }
    for (size_t i = 0; i < self->view.n; i++) {
        size_t *at = &place[symbols[i]];
        if (!*at) {
            self->list[self->count] = (struct candidate){symbols[i], i, 0, i, NAN};
            *at = ++self->count;
        }
        self->list[*at - 1].count++;
    }
    free(place);
    return MS_OK;
}

static int compare_windows(const void *left, const void *right)
{
    const struct ms_variant *a = left, *b = right; /* score: the change */
    int order = by_change(a->score, b->score);
    return order ? order : (a->from > b->from) - (a->from < b->from);
}

/* Leaves the candidates that occur in the windows that matter, as many as may be tried. */
static enum ms_status choose(struct explainer *self, struct ms_error *err)
{
    const size_t n = self->view.n, windows = smaller(self->most, n);
    for (size_t i = 0; i < windows; i++)
        self->variants[i] = (struct ms_variant){
            .kind = MS_VARIANT_WITHOUT_RANGE, .from = n * i / windows, .to = n * (i + 1) / windows};
    enum ms_status status = ask(self, windows, err);
    bool *in = calloc(self->view.trace->symbol_count + 1, sizeof *in);
    if (!in)
        status = status == MS_OK ? no_memory(err) : status;
    if (status == MS_OK) {
        for (size_t i = 0; i < windows; i++)
            self->variants[i].score = self->score - self->variants[i].score;
        qsort(self->variants, windows, sizeof *self->variants, compare_windows);
        size_t left = self->most, kept = 0;
        for (size_t i = 0; i < windows; i++)
            for (size_t k = self->variants[i].from; k < self->variants[i].to && left; k++) {
                bool *seen = &in[self->view.trace->symbols[self->view.from + k]];
                left -= !*seen;
                *seen = true;
            }
        for (size_t i = 0; i < self->count; i++)
            if (in[self->list[i].symbol])
                self->list[kept++] = self->list[i];
        self->count = kept;
    }
    free(in);
    return status;
}

static enum ms_status weigh(struct explainer *self, struct ms_error *err)
{
    for (size_t i = 0; i < self->count; i++)
        self->variants[i] =
            (struct ms_variant){.kind = MS_VARIANT_WITHOUT_CALL, .symbol = self->list[i].symbol};
    enum ms_status status = ask(self, self->count, err);
    for (size_t i = 0; i < self->count && status == MS_OK; i++)
        self->list[i].delta = self->score - self->variants[i].score;
    if (status == MS_OK)
        qsort(self->list, self->count, sizeof *self->list, compare_candidates);
    return status;
}

/* Of one name's occurrences, up to `most` and evenly spread, as variants from `at` on. */
static size_t add_occurrences(struct explainer *self, const struct candidate *call, size_t at,
                              size_t most)
{
    const uint32_t *symbols = self->view.trace->symbols + self->view.from;
    size_t seen = 0, added = 0, wanted = smaller(most, call->count);
    for (size_t i = call->first; i < self->view.n && added < wanted; i++) {
        if (symbols[i] != call->symbol)
            continue;
        if (seen++ != call->count * added / wanted)
            continue;
        self->variants[at + added++] = (struct ms_variant){
            .kind = MS_VARIANT_WITHOUT_RANGE, .symbol = call->symbol, .from = i, .to = i + 1};
    }
    return added;
}

/* Which occurrence of each of the first `top` calls it is. */
static enum ms_status locate(struct explainer *self, size_t top, struct ms_error *err)
{
    size_t rows = 0, at = 0;
    for (size_t i = 0; i < top; i++)
        if (self->list[i].count > 1)
            rows += add_occurrences(self, &self->list[i], rows, self->most / top);
    enum ms_status status = rows ? ask(self, rows, err) : MS_OK;
    for (size_t i = 0; i < top && status == MS_OK; i++) {
        double best = -1;
        for (; at < rows && self->variants[at].symbol == self->list[i].symbol; at++) {
            double change = fabs(self->score - self->variants[at].score);
            if (change > best) {
                best = change;
                self->list[i].at = self->variants[at].from;
            }
        }
    }
    return status;
}

static enum ms_status explain(struct explainer *self, size_t *top, struct ms_error *err)
{
    self->variants[0] = (struct ms_variant){.kind = MS_VARIANT_PREFIX, .to = self->view.n};
    enum ms_status status = ask(self, 1, err);
    self->score = self->variants[0].score;
    if (status == MS_OK)
        status = list_calls(self, err);
    if (status == MS_OK && self->count > self->most)
        status = choose(self, err);
    if (status == MS_OK)
        status = weigh(self, err);
    size_t moving = 0;
    while (status == MS_OK && moving < smaller(*top, self->count) &&
           fabs(self->list[moving].delta) > 0)
        moving++;
    *top = moving;
    return status == MS_OK && moving ? locate(self, moving, err) : status;
}

enum ms_status ms_explain(struct ms_model *model, const struct ms_read_trace *trace,
                          uint32_t class_, struct ms_why *out, size_t most, size_t *count,
                          struct ms_error *err)
{
    struct explainer self = {
        .model = model, .view = ms_variant_view_of(model, trace), .class_ = class_};
    *count = 0;
    if (!self.view.n || !most)
        return MS_OK;
    self.most = ms_variants_most(self.view.n);
    most = smaller(most, self.most);
    self.variants = calloc(self.most, sizeof *self.variants);
    enum ms_status status = self.variants ? explain(&self, &most, err) : no_memory(err);
    for (size_t i = 0; status == MS_OK && i < most; i++) {
        const struct candidate *c = &self.list[i];
        out[i] =
            (struct ms_why){self.view.from + c->at, self.view.from + c->first, c->count, c->delta};
    }
    if (status == MS_OK)
        *count = most;
    free(self.variants);
    free(self.list);
    return status;
}

/* ---- the early verdict ---- */

/* Beginnings of low < length <= high, every `step`-th from the end; high itself is known to pass.
 * Narrows the two to the last that fails and the one behind it. */
static enum ms_status narrow(struct explainer *self, double threshold, size_t step, size_t *low,
                             size_t *high, struct ms_decision *out, struct ms_error *err)
{
    size_t rows = 0;
    for (size_t length = *high; length > *low + step && rows < self->most;) {
        length -= step;
        out->steps += length;
        self->variants[rows++] = (struct ms_variant){.kind = MS_VARIANT_PREFIX, .to = length};
    }
    enum ms_status status = ask(self, rows, err);
    for (size_t i = 0; i < rows && status == MS_OK; i++) {
        if (!(self->variants[i].score >= threshold)) { /* also where nothing is known */
            *low = self->variants[i].to;
            break;
        }
        *high = self->variants[i].to;
    }
    out->checked += rows;
    return status;
}

enum ms_status ms_decided_at(struct ms_model *model, const struct ms_read_trace *trace,
                             double threshold, struct ms_decision *out, struct ms_error *err)
{
    struct explainer self = {.model = model, .view = ms_variant_view_of(model, trace)};
    const size_t n = self.view.n;
    *out = (struct ms_decision){.exact = n <= MS_LIMIT_EXPLAINED_PREFIXES};
    if (!n)
        return MS_OK;
    /* From the end on, in pieces: what lies before the last beginning below the threshold does not
     * matter. */
    self.most = smaller(n, out->exact ? EXACT_ROWS : 2 * ms_variants_most(n));
    self.variants = calloc(self.most, sizeof *self.variants);
    if (!self.variants)
        return no_memory(err);
    self.variants[0] = (struct ms_variant){.kind = MS_VARIANT_PREFIX, .to = n};
    size_t low = 0, high = n;
    enum ms_status status = ask(&self, 1, err);
    out->checked = 1;
    out->found = status == MS_OK && self.variants[0].score >= threshold;
    while (status == MS_OK && out->found && high - low > 1 &&
           out->steps <= 2 * MS_LIMIT_EXPLAINED_STEPS) {
        size_t step = out->exact ? 1 : (high - low + self.most - 1) / self.most;
        status = narrow(&self, threshold, step, &low, &high, out, err);
    }
    out->at = self.view.from + high - 1;
    free(self.variants);
    return status;
}
