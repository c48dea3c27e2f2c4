/* Fuzz target: model files. What opens must score a sequence without trouble. */
#include "train/model.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ms_span calls[] = {{(const uint8_t *)"ntclose", 7},
                                    {(const uint8_t *)"unheardof", 9}};
    struct ms_model *model;
    struct ms_error err;
    struct ms_tokens tokens = {0};
    if (ms_model_decode(ms_span_of(data, size), 1, &model, &err) != MS_OK)
        return 0;
    const struct ms_model_facts *facts = ms_model_facts_get(model);
    double *scores = calloc(facts->classes, sizeof *scores);
    struct ms_net *net = ms_model_net(model);
    if (scores &&
        ms_tokens_make(ms_model_vocabulary(model), ms_net_config_get(net), &facts->view, calls, 2,
                       &tokens, &err) == MS_OK &&
        ms_model_scores(net, facts->classes, &tokens, 1, scores, &err) == MS_OK &&
        ms_model_decide(scores, facts->classes, facts->threshold) >= facts->classes)
        abort();
    ms_tokens_release(&tokens);
    free(scores);
    ms_model_free(model);
    return 0;
}
