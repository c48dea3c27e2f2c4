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

/* Tokens of names the model knows: a trace of which it knows none is another world's. */
static size_t known(const struct ms_vocabulary *vocabulary, const struct ms_tokens *tokens)
{
    size_t n = 0;
    for (size_t i = 0; i < tokens->n; i++)
        n += !(ms_vocabulary_unknown(vocabulary) && tokens->ids[i] == MS_TOKEN_UNKNOWN);
    return n;
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

enum ms_status ms_verdict_make(struct ms_model *model, const struct ms_span *calls, size_t n,
                               uint64_t whole_length, uint64_t min_calls, double threshold,
                               struct ms_tokens *tokens, struct ms_verdict *out,
                               struct ms_error *err)
{
    const struct ms_model_facts *facts = ms_model_facts_get(model);
    const struct ms_vocabulary *vocabulary = ms_model_vocabulary(model);
    struct ms_net *net = ms_model_net(model);
    *out = (struct ms_verdict){.kind = MS_VERDICT_UNKNOWN, .score = NAN, .calls = whole_length};
    if (whole_length < min_calls || n == 0) {
        (void)snprintf(out->reason, sizeof out->reason,
                       "%" PRIu64 " calls: the model needs at least %" PRIu64, whole_length,
                       min_calls > 0 ? min_calls : 1);
        return MS_OK;
    }
    enum ms_status status =
        ms_tokens_make(vocabulary, ms_net_config_get(net), &facts->view, calls, n, tokens, err);
    if (status != MS_OK)
        return status;
    out->tokens = tokens->n;
    if (known(vocabulary, tokens) == 0) {
        (void)snprintf(out->reason, sizeof out->reason,
                       "none of the calls is in the model's vocabulary");
        return MS_OK;
    }
    double *scores = calloc(facts->classes, sizeof *scores);
    if (!scores)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for scores");
    status = ms_model_scores(net, facts->classes, tokens, 1, scores, err);
    if (status == MS_OK && all_finite(scores, facts->classes))
        decide(facts, scores, threshold, out);
    else if (status == MS_OK)
        (void)snprintf(out->reason, sizeof out->reason, "the model's score is not a finite number");
    free(scores);
    return status;
}
