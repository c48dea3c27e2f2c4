/* The tables of an audit: copies, groups, lengths, calls, and what one call alone tells. */
#include "malseq/audit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the audit");
}

static const uint64_t *get_shingles(void *ctx, size_t row, int side, size_t *n)
{
    (void)side; /* both lie in the mapped spool */
    return malseq_audit_shingles(ctx, row, n);
}

static enum ms_status find_copies(struct audit *self, struct ms_error *err)
{
    struct ms_sequence_hash *keys = calloc(self->count, sizeof *keys);
    enum ms_status status = keys ? MS_OK : no_memory(err);
    for (int kind = 0; kind < AUDIT_KINDS && status == MS_OK; kind++) {
        for (size_t i = 0; i < self->count; i++)
            keys[i] = self->rows[i].keys[kind];
        self->groups[kind] = calloc(self->count, sizeof **self->groups);
        status = self->groups[kind] ? ms_groups_make(keys, self->count, 1, self->groups[kind],
                                                     &self->group_counts[kind], err)
                                    : no_memory(err);
        if (status == MS_OK)
            status = ms_groups_copies(self->label_of, malseq_tally_count(&self->labels),
                                      self->groups[kind], self->group_counts[kind], self->count,
                                      &self->copies[kind], err);
    }
    free(keys);
    return status;
}

static enum ms_status find_near(struct audit *self, struct ms_error *err)
{
    self->near_groups = calloc(self->count, sizeof *self->near_groups);
    if (!self->near_groups)
        return no_memory(err);
    enum ms_status status =
        ms_near_groups(get_shingles, self, self->count, self->options->near, self->seed,
                       self->near_groups, &self->near_count, &self->near, err);
    return status == MS_OK ? ms_groups_copies(self->label_of, malseq_tally_count(&self->labels),
                                              self->near_groups, self->near_count, self->count,
                                              &self->near_copies, err)
                           : status;
}

static int by_number(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

/* Between two values the value is linear in the rank, cut to a whole number. */
static void quantiles(uint64_t *values, size_t n, uint64_t out[6])
{
    static const double at[6] = {0, .25, .5, .75, .95, 1};
    qsort(values, n, sizeof *values, by_number);
    for (size_t q = 0; q < 6; q++) {
        double place = at[q] * (double)(n - 1);
        size_t low = (size_t)place, high = low + 1 < n ? low + 1 : low;
        out[q] =
            values[low] + (uint64_t)((place - (double)low) * (double)(values[high] - values[low]));
    }
}

static enum ms_status find_lengths(struct audit *self, struct ms_error *err)
{
    uint32_t labels = malseq_tally_count(&self->labels);
    uint64_t *values = calloc(self->count, sizeof *values);
    self->lengths = calloc(labels, sizeof *self->lengths);
    if (!values || !self->lengths) {
        free(values);
        return no_memory(err);
    }
    for (uint32_t place = 0; place < labels; place++) {
        struct audit_lengths *lengths = &self->lengths[place];
        for (int collapsed = 0; collapsed < 2; collapsed++) {
            size_t n = 0;
            for (size_t i = 0; i < self->count; i++)
                if (self->label_of[i] == place)
                    values[n++] =
                        collapsed ? self->rows[i].collapsed_length : self->rows[i].whole_length;
            lengths->rows = n;
            if (n)
                quantiles(values, n, collapsed ? lengths->collapsed : lengths->recorded);
        }
    }
    free(values);
    return MS_OK;
}

static enum ms_status count_calls(struct audit *self, struct ms_error *err)
{
    size_t labels = malseq_tally_count(&self->labels);
    if (self->symbols > ((size_t)1 << 28) / labels)
        return ms_error_set(err, MS_E_LIMIT, "%zu calls by %zu labels are too many for a table",
                            self->symbols, labels);
    self->symbol_labels = calloc(self->symbols * labels + 1, sizeof *self->symbol_labels);
    if (!self->symbol_labels)
        return no_memory(err);
    for (size_t i = 0; i < self->count; i++) {
        const uint32_t *set = malseq_audit_set(self, i);
        for (uint32_t k = 0; k < self->rows[i].set_n; k++)
            self->symbol_labels[set[k] * labels + self->label_of[i]]++;
    }
    for (size_t s = 0; s < self->symbols; s++)
        self->hapaxes += self->symbol_rows[s] == 1;
    return MS_OK;
}

/* The rule "has it: the label most frequent there; has it not: the one most frequent elsewhere",
 * for the call that makes it best. */
static void find_best_call(struct audit *self)
{
    size_t labels = malseq_tally_count(&self->labels);
    for (size_t s = 0; s < self->symbols; s++) {
        uint64_t with = 0, without = 0;
        for (size_t l = 0; l < labels; l++) {
            uint64_t in = self->symbol_labels[s * labels + l];
            uint64_t out = self->lengths[l].rows - in;
            with = in > with ? in : with;
            without = out > without ? out : without;
        }
        if (self->symbol_rows[s] && with + without > self->best_call.right) {
            self->best_call.right = with + without;
            self->best_symbol = (uint32_t)s;
        }
    }
    for (size_t l = 0; l < labels; l++)
        if (self->lengths[l].rows > self->best_call.majority)
            self->best_call.majority = self->lengths[l].rows;
    self->best_call.n = self->count;
}

static double stands_out(const struct audit_mark *mark)
{
    return mark->inside - mark->outside;
}

size_t malseq_audit_marks(const struct audit *self, uint32_t label, struct audit_mark *out,
                          size_t n)
{
    size_t labels = malseq_tally_count(&self->labels), found = 0;
    uint64_t inside = self->lengths[label].rows, outside = self->count - inside;
    for (size_t s = 0; s < self->symbols; s++) {
        uint64_t in = self->symbol_labels[s * labels + label];
        struct audit_mark mark = {(uint32_t)s, (double)in / (double)(inside ? inside : 1),
                                  (double)(self->symbol_rows[s] - in) /
                                      (double)(outside ? outside : 1)};
        if (in == 0)
            continue;
        size_t at = found < n ? found++ : n;
        for (; at > 0 && stands_out(&mark) > stands_out(&out[at - 1]); at--)
            if (at < n)
                out[at] = out[at - 1];
        if (at < n)
            out[at] = mark;
    }
    return found;
}

enum ms_status malseq_audit_find(struct audit *self, struct ms_error *err)
{
    self->label_of = calloc(self->count, sizeof *self->label_of);
    self->source_of = calloc(self->count, sizeof *self->source_of);
    if (!self->label_of || !self->source_of)
        return no_memory(err);
    for (size_t i = 0; i < self->count; i++) {
        self->label_of[i] = self->labels.rank[self->rows[i].label];
        self->source_of[i] = self->sources.rank[self->rows[i].source];
    }
    enum ms_status status = find_copies(self, err);
    if (status == MS_OK)
        status = find_near(self, err);
    if (status == MS_OK)
        status = find_lengths(self, err);
    if (status == MS_OK)
        status = count_calls(self, err);
    if (status == MS_OK)
        find_best_call(self);
    return status;
}
