/* A finished run as one HTML page. Everything that is not ours goes through ms_html_text. */
#include "train/page.h"

#include "base/chart.h"

#include <math.h>
#include <stdio.h>

/* A matrix of so few classes has the rates beside it. */
enum { NARROW_MATRIX = 3 };

void ms_page_ranged(struct ms_buf *out, double x, struct ms_range range)
{
    ms_page_put(out, "<td>");
    ms_page_real(out, x);
    if (!isnan(x) && !isnan(range.low))
        (void)ms_buf_printf(out, "<small>%.3f&hairsp;&ndash;&hairsp;%.3f</small>", range.low,
                            range.high);
    ms_page_put(out, "</td>");
}

void ms_page_difference(struct ms_buf *out, const struct ms_difference *d)
{
    if (isnan(d->difference)) {
        ms_page_put(out, "<td>&ndash;</td>");
        return;
    }
    (void)ms_buf_printf(out, "<td%s>%+.3f",
                        d->low > 0    ? " class=\"better\""
                        : d->high < 0 ? " class=\"worse\""
                                      : "",
                        d->difference);
    if (!isnan(d->low))
        (void)ms_buf_printf(out, "<small>%+.3f to %+.3f</small>", d->low, d->high);
    ms_page_put(out, "</td>");
}

void ms_page_class(const struct ms_outcome *o, uint32_t class_, struct ms_buf *out)
{
    ms_html_text(o->set->class_names[class_], out);
}

static void card(struct ms_buf *out, const char *name, double value, struct ms_range range,
                 const char *note)
{
    ms_page_put(out, "<div class=\"card\"><span>");
    ms_page_put(out, name);
    ms_page_put(out, "</span><b>");
    ms_page_real(out, value);
    ms_page_put(out, "</b><span>");
    if (!isnan(value) && !isnan(range.low))
        (void)ms_buf_printf(out, "%.3f to %.3f", range.low, range.high);
    else
        ms_html_text(note, out);
    ms_page_put(out, "</span></div>\n");
}

static void put_cards(const struct ms_outcome *o, struct ms_buf *out)
{
    const struct ms_metrics *m = &o->experiment->entries[0].metrics;
    const struct ms_range accuracy = {m->accuracy_low, m->accuracy_high}, none = {NAN, NAN};
    char note[256];
    ms_page_put(out, "<div class=\"cards\">\n");
    card(out, "Accuracy", m->accuracy, accuracy, "");
    (void)snprintf(note, sizeof note, "always \"%.100s\"", o->set->class_names[m->majority_class]);
    card(out, "Majority class", m->majority, none, note);
    card(out, "Balanced accuracy", m->balanced_accuracy, m->balanced_accuracy_range, "mean recall");
    card(out, "Macro-F1", m->macro_f1, m->macro_f1_range, "mean over classes");
    card(out, "AUC", m->auc, m->auc_range,
         o->set->classes == 2 ? "of the positive class" : "one against the rest");
    card(out, "Average precision", m->average_precision, m->average_precision_range,
         o->set->classes == 2 ? "of the positive class" : "one against the rest");
    ms_page_put(out, "</div>\n");
}

static void put_sentences(const struct ms_outcome *o, struct ms_buf *out)
{
    struct ms_sentence list[MS_SENTENCES_MAX];
    size_t n = ms_outcome_sentences(o, list);
    bool bad = false;
    for (size_t i = 0; i < n; i++)
        bad = bad || list[i].warning;
    ms_page_put(out, bad ? "<section class=\"warn\">" : "<section>");
    ms_page_put(out, "<h2>What this says</h2><ul>\n");
    for (size_t i = 0; i < n; i++) {
        ms_page_put(out, list[i].warning ? "<li class=\"bad\">" : "<li>");
        ms_html_text(list[i].text, out);
        ms_page_put(out, "</li>\n");
    }
    ms_page_put(out, "</ul></section>\n");
}

enum ms_status ms_outcome_page(const struct ms_outcome *self, struct ms_buf *out,
                               struct ms_error *err)
{
    ms_page_head(out);
    ms_page_put(out, "<title>");
    ms_html_text(self->name, out);
    ms_page_put(out, " - malseq training report</title></head><body><main>\n<h1>");
    ms_html_text(self->name, out);
    ms_page_put(out, "</h1><p class=\"sub\">");
    ms_page_put(out, ms_model_kind_name(self->plan->kind));
    ms_page_put(out, " &middot; preset ");
    ms_html_text(self->plan->preset, out);
    ms_page_put(out, " &middot; target ");
    ms_html_text(self->target, out);
    (void)ms_buf_printf(out, " &middot; %zu traces, %llu judgements</p>\n", self->set->count,
                        (unsigned long long)self->experiment->entries[0].metrics.rows);
    put_cards(self, out);
    put_sentences(self, out);
    ms_page_entries(self, out);
    ms_page_repeats(self, out);
    ms_page_learning(self, out);
    bool narrow = self->set->classes <= NARROW_MATRIX;
    ms_page_put(out, narrow ? "<div class=\"side\">\n" : "");
    ms_page_matrix(self, out);
    ms_page_rates(self, out);
    ms_page_put(out, narrow ? "</div>\n" : "");
    ms_page_ranking(self, out);
    ms_page_calibration(self, out);
    ms_page_thresholds(self, out);
    ms_page_errors(self, out);
    ms_page_data(self, out);
    ms_page_split(self, out);
    ms_page_provenance(self, out);
    ms_page_put(out, "</main></body></html>\n");
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "the report does not fit into memory")
                       : MS_OK;
}
