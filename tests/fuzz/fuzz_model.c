/* Fuzz target: model files. What opens must score a sequence without trouble. */
#include "train/model.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two steps and two sparse ids through whatever layers the file describes. */
static void predict(struct ms_net *net)
{
    const struct ms_net_config *c = ms_net_config_get(net);
    const int32_t tokens[2] = {1, 0};
    const int32_t *rows[1] = {tokens};
    const uint32_t length = 2;
    int32_t ids[2 * MS_LIMIT_NET_FEATURES];
    for (uint32_t i = 0; i < 2 * c->feature_count; i++)
        ids[i] = i < c->feature_count ? (int32_t)c->feature[i].size - 1 : -1;
    const int32_t *features[1] = {ids};
    const uint32_t wide_ids[2] = {0, c->wide.size - 1};
    const float values[2] = {1, -2};
    const struct ms_net_sparse wide = {wide_ids, values, c->wide.size > 1 ? 2 : 0};
    const struct ms_net_batch batch = {
        .rows = 1, .tokens = rows, .lengths = &length, .features = features, .wide = &wide};
    ms_real *outputs = calloc(c->outputs, sizeof *outputs);
    struct ms_error err;
    if (outputs && ms_net_predict(net, &batch, outputs, &err) != MS_OK &&
        (c->mask_padding || c->pad_length >= 2))
        abort();
    free(outputs);
}

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
    predict(net);
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
