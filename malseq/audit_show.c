/* An audit for people and as JSON. */
#include "malseq/audit.h"

#include "base/json.h"
#include "base/log.h"

#include <inttypes.h>

static const char *const kind_names[AUDIT_KINDS] = {"raw", "collapsed", "set", "view"};
static const char *const kind_texts[AUDIT_KINDS] = {"as recorded", "runs collapsed",
                                                    "sets of calls", "normalised"};
enum { MARKS_MOST = 100 };

static const char *shown(struct ms_span name, char out[64])
{
    return ms_escape_bytes(name.data, name.len, out, 64);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static struct ms_span symbol(const struct audit *self, uint32_t number)
{
    return ms_names_get(ms_trace_reader_symbols(self->reader), number);
}

/* ---- for people ------------------------------------------------------------------------------ */

static void show_copies_row(const char *what, const struct ms_copies *c, FILE *out)
{
    (void)fprintf(out,
                  "  %-17s %9" PRIu64 "  %5.1f %%  %8" PRIu64 "  %8" PRIu64 "  %8" PRIu64
                  "   %6.2f %%\n",
                  what, c->distinct, percent(c->rows - c->distinct, c->rows), c->largest,
                  c->contradicting, c->unavoidable, 100 * c->ceiling);
}

static void show_copies(const struct audit *self, FILE *out)
{
    char text[MS_NORMAL_TEXT_BYTES];
    ms_normal_options_text(&self->view, text);
    (void)fprintf(out, "\nCopies               distinct  copies     largest  contrad.  errors     "
                       "ceiling\n");
    for (int kind = 0; kind < AUDIT_KINDS; kind++)
        show_copies_row(kind_texts[kind], &self->copies[kind], out);
    show_copies_row("nearly the same", &self->near_copies, out);
    (void)fprintf(
        out,
        "  contrad.: traces that are copies of one with another label. errors: those that any "
        "rule\n"
        "  makes that sees no more than this, even on the traces it was made of; ceiling: the\n"
        "  accuracy that is left. Of near copies it says nothing about rules that tell them "
        "apart.\n"
        "  normalised: %s\n"
        "  nearly the same: Jaccard >= %g of calls and pairs of neighbours, runs collapsed, "
        "joined\n"
        "  one by one. MinHash, %u bands of %u: %.2g of the pairs just at the threshold are "
        "missed.\n"
        "  %" PRIu64 " pairs of %" PRIu64 " sets compared, %" PRIu64 " near%s\n",
        text, self->options->near, self->near.bands, self->near.band_hashes, self->near.missed,
        self->near.compared, self->near.distinct, self->near.near,
        self->near.not_looked ? "; some were too many to compare" : "");
}

static void show_lengths(const struct audit *self, FILE *out)
{
    char name[64];
    (void)fprintf(out,
                  "\nLengths              traces     least       25 %%    median       75 %%   "
                  "    95 %%       most\n");
    for (uint32_t l = 0; l < malseq_tally_count(&self->labels); l++) {
        const struct audit_lengths *lengths = &self->lengths[l];
        const uint64_t *r = lengths->recorded, *c = lengths->collapsed;
        (void)fprintf(out, "  %-17s %7" PRIu64,
                      shown(malseq_tally_at(&self->labels, l, NULL), name), lengths->rows);
        for (int q = 0; q < 6; q++)
            (void)fprintf(out, " %10" PRIu64, r[q]);
        (void)fprintf(out, "\n  %-17s %7s", "  runs collapsed", "");
        for (int q = 0; q < 6; q++)
            (void)fprintf(out, " %10" PRIu64, c[q]);
        (void)fprintf(out, "\n");
    }
}

static void show_calls(const struct audit *self, FILE *out)
{
    char name[64];
    uint64_t all = 0, distinct = 0;
    uint32_t most = 0;
    struct audit_mark marks[MARKS_MOST];
    for (uint32_t s = 0; s < self->symbols; s++) {
        all += self->symbol_calls[s];
        distinct += self->symbol_rows[s] > 0;
        most = self->symbol_calls[s] > self->symbol_calls[most] ? s : most;
    }
    (void)fprintf(out,
                  "\nCalls\n  %" PRIu64 " calls of %" PRIu64 " names; %" PRIu64
                  " names are in one trace only; %s is %.1f %% of all calls\n",
                  all, distinct, self->hapaxes, shown(symbol(self, most), name),
                  percent(self->symbol_calls[most], all));
    (void)fprintf(out,
                  "  whether %s is there tells the label of %.1f %%, the most frequent label "
                  "that of %.1f %%\n",
                  shown(symbol(self, self->best_symbol), name), 100 * self->best_call.accuracy,
                  100 * self->best_call.baseline);
    for (uint32_t l = 0; l < malseq_tally_count(&self->labels); l++) {
        size_t n = malseq_audit_marks(self, l, marks, (size_t)self->options->top);
        (void)fprintf(out, "  %s\n", shown(malseq_tally_at(&self->labels, l, NULL), name));
        for (size_t i = 0; i < n; i++)
            (void)fprintf(out, "    %-36s in %5.1f %% of them, %5.1f %% of the others\n",
                          shown(symbol(self, marks[i].symbol), name), 100 * marks[i].inside,
                          100 * marks[i].outside);
    }
}

static void show_sources(const struct audit *self, FILE *out)
{
    char name[64];
    uint32_t n = malseq_tally_count(&self->sources);
    (void)fprintf(out, "\nSources\n");
    for (uint32_t s = 0; s < n; s++) {
        uint64_t count;
        struct ms_span source = malseq_tally_at(&self->sources, s, &count);
        (void)fprintf(out, "  %-36s %9" PRIu64 " traces\n", shown(source, name), count);
    }
    if (n < 2) {
        (void)fprintf(out, "  all traces have one source: it cannot leak, and what is learnt from "
                           "it may not hold for another\n");
        return;
    }
    (void)fprintf(out,
                  "  the source alone tells the label of %.1f %%, the most frequent label that of "
                  "%.1f %%\n",
                  100 * self->by_source.accuracy, 100 * self->by_source.baseline);
    (void)fprintf(out,
                  "  the calls that are there tell the source of %.1f %% [%.1f, %.1f] of %" PRIu64
                  " traces that were held\n  out (naive Bayes, 5 folds, one trace of each group of "
                  "near copies); the most frequent\n  source is that of %.1f %%\n",
                  100 * self->source.accuracy, 100 * self->source.low, 100 * self->source.high,
                  self->source.n, 100 * self->source.baseline);
    if (self->by_source.accuracy > self->by_source.baseline &&
        self->source.low > self->source.baseline)
        (void)fprintf(out, "  Both are above: a classifier can tell labels by telling sandboxes. "
                           "Compare within one source.\n");
}

void malseq_audit_show(const struct audit *self, FILE *out)
{
    (void)fprintf(out,
                  "%zu labelled traces; left out: %" PRIu64 " too short, %" PRIu64 " damaged\n",
                  self->count, self->left.too_short, self->left.damaged);
    show_copies(self, out);
    show_lengths(self, out);
    show_calls(self, out);
    show_sources(self, out);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *copies_json(const struct ms_copies *c)
{
    json_t *object = json_object();
    (void)json_object_set_new(object, "distinct", number(c->distinct));
    (void)json_object_set_new(object, "largest", number(c->largest));
    (void)json_object_set_new(object, "contradicting_groups", number(c->mixed));
    (void)json_object_set_new(object, "contradicting", number(c->contradicting));
    (void)json_object_set_new(object, "unavoidable_errors", number(c->unavoidable));
    (void)json_object_set_new(object, "ceiling", json_real(c->ceiling));
    return object;
}

static json_t *near_json(const struct audit *self)
{
    json_t *object = copies_json(&self->near_copies);
    (void)json_object_set_new(object, "threshold", json_real(self->options->near));
    (void)json_object_set_new(object, "seed", number(self->seed));
    (void)json_object_set_new(object, "bands", json_integer(self->near.bands));
    (void)json_object_set_new(object, "band_hashes", json_integer(self->near.band_hashes));
    (void)json_object_set_new(object, "missed_at_threshold", json_real(self->near.missed));
    (void)json_object_set_new(object, "distinct_sets", number(self->near.distinct));
    (void)json_object_set_new(object, "pairs_compared", number(self->near.compared));
    (void)json_object_set_new(object, "pairs_near", number(self->near.near));
    (void)json_object_set_new(object, "pairs_not_looked_at", number(self->near.not_looked));
    return object;
}

static json_t *six(const uint64_t values[6])
{
    json_t *list = json_array();
    for (int q = 0; q < 6; q++)
        (void)json_array_append_new(list, number(values[q]));
    return list;
}

static json_t *labels_json(const struct audit *self)
{
    json_t *list = json_array();
    struct audit_mark marks[MARKS_MOST];
    for (uint32_t l = 0; l < malseq_tally_count(&self->labels); l++) {
        json_t *label = json_object(), *calls = json_array();
        struct ms_span name = malseq_tally_at(&self->labels, l, NULL);
        (void)json_object_set_new(label, "label", ms_json_bytes(name.data, name.len));
        (void)json_object_set_new(label, "traces", number(self->lengths[l].rows));
        (void)json_object_set_new(label, "lengths", six(self->lengths[l].recorded));
        (void)json_object_set_new(label, "lengths_collapsed", six(self->lengths[l].collapsed));
        size_t n = malseq_audit_marks(self, l, marks, (size_t)self->options->top);
        for (size_t i = 0; i < n; i++) {
            json_t *call = json_object();
            name = symbol(self, marks[i].symbol);
            (void)json_object_set_new(call, "call", ms_json_bytes(name.data, name.len));
            (void)json_object_set_new(call, "inside", json_real(marks[i].inside));
            (void)json_object_set_new(call, "outside", json_real(marks[i].outside));
            (void)json_array_append_new(calls, call);
        }
        (void)json_object_set_new(label, "calls", calls);
        (void)json_array_append_new(list, label);
    }
    return list;
}

static json_t *told_json(const struct audit_told *told)
{
    if (told->n == 0)
        return json_null();
    json_t *object = json_object();
    (void)json_object_set_new(object, "traces", number(told->n));
    (void)json_object_set_new(object, "accuracy", json_real(told->accuracy));
    (void)json_object_set_new(object, "low", json_real(told->low));
    (void)json_object_set_new(object, "high", json_real(told->high));
    (void)json_object_set_new(object, "majority", json_real(told->baseline));
    return object;
}

static json_t *calls_json(const struct audit *self)
{
    json_t *object = json_object();
    uint64_t all = 0, distinct = 0;
    for (uint32_t s = 0; s < self->symbols; s++) {
        all += self->symbol_calls[s];
        distinct += self->symbol_rows[s] > 0;
    }
    struct ms_span name = symbol(self, self->best_symbol);
    (void)json_object_set_new(object, "calls", number(all));
    (void)json_object_set_new(object, "distinct", number(distinct));
    (void)json_object_set_new(object, "in_one_trace", number(self->hapaxes));
    (void)json_object_set_new(object, "best", ms_json_bytes(name.data, name.len));
    (void)json_object_set_new(object, "label_by_best", told_json(&self->best_call));
    return object;
}

json_t *malseq_audit_json(const struct audit *self)
{
    char text[MS_NORMAL_TEXT_BYTES];
    json_t *object = json_object(), *copies = json_object(), *sources = json_object();
    ms_normal_options_text(&self->view, text);
    (void)json_object_set_new(object, "traces", number(self->count));
    (void)json_object_set_new(object, "left_out_short", number(self->left.too_short));
    (void)json_object_set_new(object, "left_out_damaged", number(self->left.damaged));
    (void)json_object_set_new(object, "normalisation", json_string(text));
    (void)json_object_set_new(object, "min_calls", number(self->min_calls));
    for (int kind = 0; kind < AUDIT_KINDS; kind++)
        (void)json_object_set_new(copies, kind_names[kind], copies_json(&self->copies[kind]));
    (void)json_object_set_new(object, "copies", copies);
    (void)json_object_set_new(object, "near", near_json(self));
    (void)json_object_set_new(object, "labels", labels_json(self));
    (void)json_object_set_new(object, "calls", calls_json(self));
    (void)json_object_set_new(sources, "traces", malseq_tally_json(&self->sources));
    (void)json_object_set_new(sources, "label_by_source", told_json(&self->by_source));
    (void)json_object_set_new(sources, "source_by_calls", told_json(&self->source));
    (void)json_object_set_new(object, "sources", sources);
    return object;
}
