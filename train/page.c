/* A finished run as one HTML page. Everything that is not ours goes through ms_html_text. */
#include "train/page.h"
#include "train/chart.h"

#include <math.h>
#include <stdio.h>

/* A matrix of so few classes has the rates beside it. */
enum { NARROW_MATRIX = 3 };

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"referrer\" content=\"no-referrer\">\n<style>\n"
    ":root{--ink:#1c2430;--soft:#5b6675;--line:#d9dee6;--paper:#fff;--back:#f4f6f9;--a:#2f6fb7;"
    "--b:#c2561f;--c:#1f7a4d;--d:#8a4fb0;--e:#7d6a00;--cell:47,111,183}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b6;--line:#354052;"
    "--paper:#1b222d;--back:#12171f;--a:#6aa9ec;--b:#f08a55;--c:#63c795;--d:#c99be6;--e:#d8c34a;--"
    "cell:106,"
    "169,236}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);"
    "font:15px/1.5 system-ui,sans-serif}\n"
    "main{max-width:1120px;margin:0 auto;padding:24px 20px 48px}h1{font-size:1.5rem;margin:0;"
    "overflow-wrap:anywhere}h2{font-size:1.05rem;margin:0 0 10px}.sub{color:var(--soft);margin:2px "
    "0 "
    "18px;overflow-wrap:anywhere}\n"
    "section{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:16px "
    "18px;margin:0 0 16px;min-width:0}.two{display:grid;grid-template-columns:repeat(auto-fit,"
    "minmax(min(100%,430px),1fr));gap:16px}.two>section{margin:0}.two{margin-bottom:16px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:"
    "0 "
    "0 16px}.card{background:var(--paper);border:1px solid "
    "var(--line);border-radius:8px;padding:10px "
    "14px}.card b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}.card "
    "span{color:var(--soft);font-size:.85rem}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:4px "
    "10px;text-align:right;white-space:nowrap}th{font-weight:600;white-space:normal}"
    "th:first-child,td:first-child{text-align:left}thead th{border-bottom:1px solid var(--line)}\n"
    ".wide{width:100%}.two .wide th,.two .wide td{padding:4px 7px}.two .wide "
    "td:first-child{white-space:normal}.wide tbody "
    "tr:nth-child(even){background:var(--back)}"
    ".matrix td{border:1px solid var(--line);text-align:center;min-width:58px}.matrix "
    "th:first-child,.matrix thead tr:last-child "
    "th:first-child{position:sticky;left:0;background:var(--paper);z-index:1}.matrix "
    "td.hit{outline:2px solid var(--a);outline-offset:-2px}.matrix small{display:block;"
    "opacity:.75}.matrix th{font-weight:500}.matrix thead th{text-align:center;border:0}"
    ".axis-name{color:var(--soft);font-weight:400!important;font-size:.85rem}\n"
    ".bar{display:inline-block;height:12px;border-radius:2px;background:var(--a);"
    "vertical-align:middle}.bars td:last-child{width:55%;text-align:left}\n"
    ".facts td{text-align:left;white-space:normal;overflow-wrap:anywhere;vertical-align:top}"
    ".facts td:first-child{color:var(--soft);white-space:nowrap}code{font:.85em "
    "ui-monospace,monospace}p.note{color:var(--soft);margin:8px 0 0;font-size:.9rem}"
    ".warn{border-left:4px solid var(--b)}\n";
static const char more_style[] =
    "td small{display:block;color:var(--soft);font-size:.8em}.matrix td small{color:inherit}"
    "h3{font-size:.95rem;margin:14px 0 6px;overflow-wrap:anywhere}.first td{font-weight:600}"
    ".first td small{font-weight:400}.better{color:var(--c)}.worse{color:var(--b)}"
    ".errors td,.errors th{text-align:left}.errors "
    "code{white-space:nowrap}body{overflow-wrap:anywhere}table{overflow-wrap:normal}.card{min-"
    "width:0}.axis-name[colspan]{text-align:left!important}"
    "ul{margin:0;padding-left:20px}li{margin:2px 0;overflow-wrap:anywhere}li.bad{font-weight:600}"
    ".side{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,7fr);gap:16px;margin:0 0 16px}"
    ".side>section{margin:0}.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(min("
    "100%,"
    "250px),1fr));gap:14px}.two>div,.small>div{min-width:0}.legend{margin:0 0 "
    "6px;display:flex;flex-wrap:"
    "wrap;gap:4px "
    "18px;font-size:.9rem}.key{display:inline-block;width:20px;height:3px;margin-right:6px;"
    "vertical-align:middle}\n"
    ".key.a{background:var(--a)}.key.b{background:var(--b)}.key.c{background:var(--c)}"
    ".key.d{background:var(--d)}.key.e{background:var(--e)}.line.c{stroke:var(--c)}"
    ".line.d{stroke:var(--d)}.line.e{stroke:var(--e)}.dot.a{fill:var(--a)}.dot.b{fill:var(--b)}\n"
    "svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font:11px "
    "system-ui,sans-serif}svg text.label{fill:var(--ink);font-size:12px}.grid{stroke:var(--line)}"
    ".axis{stroke:var(--soft)}.level{stroke:var(--soft);stroke-dasharray:5 4}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.line.a{stroke:var(--a)}"
    ".line.b{stroke:var(--b)}\n"
    "@media (max-width:560px){main{padding:14px 10px 32px}section{padding:12px}th,td{padding:3px "
    "6px}.side{grid-template-columns:minmax(0,1fr)}svg text{font-size:17px}svg "
    "text.label{font-size:"
    "18px}}.small svg text{font-size:17px}.small svg text.label{font-size:18px}\n"
    "</style>\n";

void ms_page_put(struct ms_buf *out, const char *text)
{
    (void)ms_buf_append_text(out, text);
}

void ms_page_real(struct ms_buf *out, double x)
{
    if (isnan(x))
        ms_page_put(out, "&ndash;");
    else
        (void)ms_buf_printf(out, "%.3f", x);
}

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
    ms_page_put(out, head);
    ms_page_put(out, more_style);
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
