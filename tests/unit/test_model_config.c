/* A net's shape as JSON and back: every member, and what is refused. The file around it is tested
 * in test_model_file.c. */
#include "train/model_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Every member another value than its zero. */
static struct ms_net_config full(void)
{
    struct ms_net_config c;
    memset(&c, 0, sizeof c); /* the unused entries are compared too */
    c.vocabulary = 30;
    c.embedding = 7;
    c.embedding_init = MS_NET_EMBEDDING_NORMAL;
    c.embedding_scale = .3;
    c.feature_count = 2;
    c.feature[0].size = 5;
    c.feature[0].scale = .2;
    c.feature[1].size = 4096;
    c.feature[1].scale = .05;
    c.spatial_dropout = .1;
    c.recurrent_count = 2;
    c.recurrent[0].hidden = 9;
    c.recurrent[0].activation = MS_NET_TANH;
    c.recurrent[0].input_dropout = .1;
    c.recurrent[0].recurrent_dropout = .2;
    c.recurrent[0].bidirectional = true;
    c.recurrent[0].cell = MS_NET_GRU;
    c.recurrent[1].hidden = 4;
    c.recurrent[1].activation = MS_NET_SOFTSIGN;
    c.mask_padding = true;
    c.pad_length = 3;
    c.pooling = MS_NET_POOL_ATTENTION;
    c.attention = 6;
    c.pool_dropout = .25;
    c.wide.size = 60000;
    c.wide.units = 16;
    c.wide.activation = MS_NET_RELU;
    c.wide.input_dropout = .3;
    c.wide.dropout = .4;
    c.dense_count = 1;
    c.dense[0].units = 8;
    c.dense[0].activation = MS_NET_LINEAR;
    c.dense[0].dropout = .5;
    c.outputs = 4;
    c.head = MS_NET_HEAD_SOFTMAX;
    c.label_smoothing = .1;
    for (int i = 0; i < 4; i++)
        c.class_weight[i] = 1 + i;
    return c;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct ms_net_config c = full(), again;
    struct ms_error err;
    for (int i = 0; i < 3; i++) {
        if (i == 1) {
            c.pooling = MS_NET_POOL_LAST;
            c.attention = 0;
            c.wide.size = 0;
            c.feature_count = 0;
            memset(c.feature, 0, sizeof c.feature);
        }
        if (i == 2) {
            c.recurrent_count = 0;
            memset(c.recurrent, 0, sizeof c.recurrent);
        }
        json_t *json = ms_model_config_write(&c);
        assert_non_null(json);
        memset(&again, 0xff, sizeof again);
        if (ms_model_config_read(json, &again, &err) != MS_OK)
            fail_msg("%s", err.text);
        json_t *second = ms_model_config_write(&again);
        assert_true(json_equal(json, second));
        assert_int_equal(again.recurrent[0].cell, c.recurrent[0].cell);
        assert_int_equal(again.attention, c.attention);
        assert_int_equal(again.feature_count, c.feature_count);
        assert_true(again.feature[1].scale == c.feature[1].scale);
        assert_int_equal(again.wide.size, c.wide.size);
        assert_true(again.wide.input_dropout == c.wide.input_dropout &&
                    again.wide.dropout == c.wide.dropout);
        assert_int_equal(again.wide.activation, c.wide.activation);
        assert_int_equal(ms_net_config_parameters(&again), ms_net_config_parameters(&c));
        json_decref(json);
        json_decref(second);
    }
}

/* The text with `from` replaced by `to`. */
static void refused_with(const char *from, const char *to, const char *reason)
{
    const struct ms_net_config c = full();
    struct ms_net_config out;
    struct ms_error err = {0};
    char changed[4096];
    json_t *json = ms_model_config_write(&c);
    char *text = json_dumps(json, JSON_COMPACT);
    assert_non_null(text);
    char *at = strstr(text, from);
    if (!at)
        fail_msg("'%s' is not in %s", from, text);
    int n = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to,
                     at + strlen(from));
    assert_in_range(n, 1, sizeof changed - 1);
    json_decref(json);
    free(text);
    json = json_loads(changed, 0, NULL);
    assert_non_null(json);
    assert_int_equal(ms_model_config_read(json, &out, &err), MS_E_INPUT);
    if (!strstr(err.text, reason))
        fail_msg("'%s' does not say '%s'", err.text, reason);
    json_decref(json);
}

static void test_refusals(void **state)
{
    (void)state;
    refused_with("\"cell\":\"gru\"", "\"cell\":\"rnn\"", "recurrent.cell");
    refused_with("\"cell\":\"gru\",", "", "recurrent.cell is missing");
    refused_with("\"recurrent\":[", "\"lstm\":[", "recurrent is missing");
    refused_with("\"features\":[", "\"features\":[{\"size\":0,\"scale\":0.1},", "of 0 rows");
    refused_with("\"features\":[", "\"features\":[7,", "features is not an object");
    refused_with("\"size\":4096", "\"size\":-1", "features.size");
    refused_with("\"size\":4096", "\"size\":4294967295", "feature table 1");
    refused_with("\"size\":60000", "\"size\":4000000000", "wide branch over");
    refused_with("\"size\":60000", "\"size\":1e3", "wide.size");
    refused_with("\"units\":16", "\"units\":16,\"more\":1", "wide has members");
    refused_with("\"wide\":{", "\"wide\":0,\"wade\":{", "wide is not an object");
    refused_with("\"attention\":6", "\"attention\":0", "attention of 0");
    refused_with("\"attention\":6", "\"attention\":6.5", "attention");
    refused_with("\"pooling\":\"attention\"", "\"pooling\":\"mean\"", "another pooling");
    refused_with("\"pooling\":\"attention\"", "\"pooling\":\"mad\"", "pooling");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
