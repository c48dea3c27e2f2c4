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
    static const struct ms_span names[2] = {{(const uint8_t *)"ntclose", 7},
                                            {(const uint8_t *)"unheardof", 9}};
    static const struct ms_gram grams[3] = {{{0, MS_GRAM_NONE, MS_GRAM_NONE}},
                                            {{1, MS_GRAM_NONE, MS_GRAM_NONE}},
                                            {{0, 1, MS_GRAM_NONE}}};
    static const uint32_t calls[2] = {0, 1}, runs[2] = {1, 300}, all[3] = {0, 1, 2};
    const struct ms_gram_table table = {names, 2, grams, 3};
    const struct ms_input_trace trace = {
        .calls = calls, .n = 2, .run_lengths = runs, .run_counts = runs, .grams = {all, 3}};
    struct ms_model *model;
    struct ms_error err;
    struct ms_input_recipe recipe;
    struct ms_input_maker *maker = NULL;
    struct ms_input_row row = {0};
    if (ms_model_decode(ms_span_of(data, size), 1, &model, &err) != MS_OK)
        return 0;
    const struct ms_model_facts *facts = ms_model_facts_get(model);
    const struct ms_model_parts *parts = ms_model_parts_get(model);
    for (uint32_t i = 0; i < parts->member_count; i++)
        if (parts->members[i].net)
            predict(parts->members[i].net);
    double *scores = calloc(facts->classes, sizeof *scores);
    ms_model_recipe(model, &recipe);
    if (scores && ms_input_maker_new(&recipe, &table, &maker, &err) == MS_OK &&
        ms_input_row_make(maker, &trace, &row, &err) == MS_OK &&
        ms_model_scores(model, &row, 1, scores, &err) == MS_OK &&
        ms_model_decide(scores, facts->classes, facts->threshold) >= facts->classes)
        abort();
    ms_input_row_release(&row);
    ms_input_maker_free(maker);
    free(scores);
    ms_model_free(model);
    return 0;
}
