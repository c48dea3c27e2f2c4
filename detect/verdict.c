/* From calls to a verdict. */
#include "detect/verdict.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *ms_verdict_name(enum ms_verdict_kind kind)
{
    static const char *const names[] = {"unknown", "malicious", "benign", "other", "classified"};
    return names[kind];
}

/* Weights may all be finite and still overflow; a score that is no number would pass for "benign".
 */
static bool all_finite(const double *scores, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!isfinite(scores[i]))
            return false;
    return true;
}

static void decide(const struct ms_model_facts *facts, const double *scores, double threshold,
                   struct ms_verdict *out)
{
    uint32_t best = ms_model_decide(scores, facts->classes, threshold);
    out->class_ = facts->class_names[best];
    out->sure = ms_doubt_measure(scores, facts->classes);
    if (strcmp(facts->target, "class") == 0) {
        out->kind = MS_VERDICT_CLASSIFIED;
        out->score = scores[best];
        return;
    }
    out->score = scores[0];
    out->kind = best == 0                               ? MS_VERDICT_MALICIOUS
                : strcmp(facts->target, "malware") == 0 ? MS_VERDICT_BENIGN
                                                        : MS_VERDICT_OTHER;
}

static enum ms_status make_row(const struct ms_model *model, const struct ms_gram_table *table,
                               const struct ms_input_trace *trace, struct ms_input_row *row,
                               struct ms_error *err)
{
    struct ms_input_recipe recipe;
    struct ms_input_maker *maker = NULL;
    ms_model_recipe(model, &recipe);
    enum ms_status status = ms_input_maker_new(&recipe, table, &maker, err);
    if (status == MS_OK)
        status = ms_input_row_make(maker, trace, row, err);
    ms_input_maker_free(maker);
    return status;
}

enum ms_status ms_verdict_make(struct ms_model *model, const struct ms_gram_table *table,
                               const struct ms_input_trace *trace, uint64_t whole_length,
                               uint64_t min_calls, double threshold, struct ms_input_row *row,
                               struct ms_verdict *out, struct ms_error *err)
{
    const struct ms_model_facts *facts = ms_model_facts_get(model);
    *out = (struct ms_verdict){
        .kind = MS_VERDICT_UNKNOWN, .score = NAN, .sure = NAN, .calls = whole_length};
    if (whole_length < min_calls || trace->n == 0) {
        (void)snprintf(out->reason, sizeof out->reason,
                       "%" PRIu64 " calls: the model needs at least %" PRIu64, whole_length,
                       min_calls > 0 ? min_calls : 1);
        return MS_OK;
    }
    enum ms_status status = make_row(model, table, trace, row, err);
    if (status != MS_OK)
        return status;
    out->tokens = row->n;
    /* A trace of which it knows no name is another world's. The n-grams have names of their own. */
    if (row->known == 0 && row->count == 0) {
        (void)snprintf(out->reason, sizeof out->reason,
                       "none of the calls is in the model's vocabulary");
        return MS_OK;
    }
    double *scores = calloc(facts->classes, sizeof *scores);
    if (!scores)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for scores");
    status = ms_model_calibrated(model, row, 1, scores, err);
    if (status == MS_OK && all_finite(scores, facts->classes))
        decide(facts, scores, threshold, out);
    else if (status == MS_OK)
        (void)snprintf(out->reason, sizeof out->reason, "the model's score is not a finite number");
    free(scores);
    return status;
}
