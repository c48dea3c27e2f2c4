/* The model file: what goes in comes out bit by bit, and nothing hostile gets in. */
#include "train/model.h"

#include "base/rng.h"
#include "train/plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[] = {"ntclose", "dnsquery_a", "ldrloaddll", "\xc3\xa9t\xc3\xa9"};
static const char *const class_names[] = {"Worms <b>\"&", "Virus", "Trojan"};

static struct ms_span text(const char *s)
{
    return ms_span_of(s, strlen(s));
}

/* A small net of the default preset's kind over the four names. */
static void build(struct ms_net **net, struct ms_vocabulary **vocabulary,
                  struct ms_model_facts *facts)
{
    struct ms_plan plan;
    struct ms_net_config config;
    ms_plan_default(&plan);
    plan.fit.config.embedding = 5;
    plan.fit.config.recurrent[0].hidden = 3;
    assert_int_equal(ms_vocabulary_new(MS_VOCABULARY_NAME, true, vocabulary, NULL), MS_OK);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ms_vocabulary_count(*vocabulary, text(names[i]), 1 + i, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_finish(*vocabulary, 0, NULL), MS_OK);
    assert_int_equal(
        ms_plan_config(&plan, 3, false, ms_vocabulary_size(*vocabulary), &config, NULL), MS_OK);
    assert_int_equal(ms_net_new(&config, 7, 1, net, NULL), MS_OK);
    *facts = (struct ms_model_facts){.target = "class",
                                     .class_names = class_names,
                                     .classes = 3,
                                     .view = plan.view,
                                     .min_calls = 5,
                                     .threshold = .1,
                                     .dataset_digest = "00ff",
                                     .split_digest = "11ee",
                                     .settings = "preset=default \"quoted\"",
                                     .seed = UINT64_MAX};
}

static struct ms_buf encoded(void)
{
    struct ms_net *net;
    struct ms_vocabulary *vocabulary;
    struct ms_model_facts facts;
    struct ms_buf out;
    build(&net, &vocabulary, &facts);
    ms_buf_init(&out, 1 << 24);
    assert_int_equal(ms_model_encode(net, vocabulary, &facts, &out, NULL), MS_OK);
    ms_net_free(net);
    ms_vocabulary_free(vocabulary);
    return out;
}

static void round_trip(void **state)
{
    (void)state;
    struct ms_net *net;
    struct ms_vocabulary *vocabulary;
    struct ms_model_facts facts;
    build(&net, &vocabulary, &facts);
    struct ms_buf bytes = encoded(), again;
    struct ms_model *m;
    struct ms_error err;
    if (ms_model_decode(ms_span_of(bytes.data, bytes.len), 1, &m, &err) != MS_OK)
        fail_msg("%s", err.text);
    const struct ms_model_facts *f = ms_model_facts_get(m);
    assert_int_equal(f->classes, 3);
    assert_string_equal(f->class_names[0], class_names[0]);
    assert_string_equal(f->settings, facts.settings);
    assert_true(f->threshold == .1);
    assert_true(f->seed == UINT64_MAX);
    assert_memory_equal(&f->view, &facts.view, sizeof f->view);
    assert_memory_equal(ms_net_params(ms_model_net(m)), ms_net_params(net),
                        ms_net_param_count(net) * sizeof(float));
    for (uint32_t t = 0; t < ms_vocabulary_size(vocabulary); t++)
        assert_true(ms_span_equal(ms_vocabulary_text_of(vocabulary, t),
                                  ms_vocabulary_text_of(ms_model_vocabulary(m), t)));
    ms_buf_init(&again, 1 << 24);
    assert_int_equal(ms_model_encode(ms_model_net(m), ms_model_vocabulary(m), f, &again, NULL),
                     MS_OK);
    assert_int_equal(again.len, bytes.len);
    assert_memory_equal(again.data, bytes.data, bytes.len);

    const struct ms_span calls[4] = {text("ntclose"), text("never seen"), text("dnsquery_a"),
                                     text("ldrloaddll")};
    struct ms_tokens a = {0}, b = {0};
    double x[3], y[3];
    assert_int_equal(
        ms_tokens_make(vocabulary, ms_net_config_get(net), &facts.view, calls, 4, &a, NULL), MS_OK);
    assert_int_equal(ms_tokens_make(ms_model_vocabulary(m), ms_net_config_get(ms_model_net(m)),
                                    &f->view, calls, 4, &b, NULL),
                     MS_OK);
    assert_int_equal(a.n, 4);
    assert_int_equal(a.ids[1], MS_TOKEN_UNKNOWN);
    assert_int_equal(ms_model_scores(net, 3, &a, 1, x, NULL), MS_OK);
    assert_int_equal(ms_model_scores(ms_model_net(m), 3, &b, 1, y, NULL), MS_OK);
    assert_memory_equal(x, y, sizeof x);
    assert_true(fabs(x[0] + x[1] + x[2] - 1) < 1e-5);
    ms_tokens_release(&a);
    ms_tokens_release(&b);
    ms_model_free(m);
    ms_net_free(net);
    ms_vocabulary_free(vocabulary);
    ms_buf_release(&bytes);
    ms_buf_release(&again);
}

/* Every kind of layer: a GRU's bias has two rows. */
static void round_trip_layers(void **state)
{
    (void)state;
    struct ms_net *net, *full;
    struct ms_vocabulary *vocabulary;
    struct ms_model_facts facts;
    struct ms_buf bytes;
    struct ms_model *m;
    struct ms_error err;
    build(&net, &vocabulary, &facts);
    struct ms_net_config c = *ms_net_config_get(net);
    c.feature_count = 1;
    c.feature[0] = (struct ms_net_feature){6, .1};
    c.recurrent[0].cell = MS_NET_GRU;
    c.pooling = MS_NET_POOL_ATTENTION;
    c.attention = 4;
    c.wide = (struct ms_net_wide){9, 2, MS_NET_RELU, .1, .1};
    assert_int_equal(ms_net_new(&c, 7, 1, &full, NULL), MS_OK);
    for (size_t i = 0; i < ms_net_param_count(full); i++)
        ms_net_params(full)[i] = (float)i / 64;
    ms_buf_init(&bytes, 1 << 24);
    assert_int_equal(ms_model_encode(full, vocabulary, &facts, &bytes, NULL), MS_OK);
    if (ms_model_decode(ms_span_of(bytes.data, bytes.len), 1, &m, &err) != MS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(ms_net_param_count(ms_model_net(m)), ms_net_param_count(full));
    assert_memory_equal(ms_net_params(ms_model_net(m)), ms_net_params(full),
                        ms_net_param_count(full) * sizeof(float));
    assert_int_equal(ms_net_config_get(ms_model_net(m))->recurrent[0].cell, MS_NET_GRU);
    ms_model_free(m);
    ms_net_free(full);
    ms_net_free(net);
    ms_vocabulary_free(vocabulary);
    ms_buf_release(&bytes);
}

static void refused(const uint8_t *bytes, size_t n, const char *reason)
{
    struct ms_model *m;
    struct ms_error err = {0};
    uint8_t *exact = malloc(n ? n : 1); /* so that AddressSanitizer sees a read beyond the end */
    assert_non_null(exact);
    memcpy(exact, bytes, n);
    enum ms_status status = ms_model_decode(ms_span_of(exact, n), 1, &m, &err);
    free(exact);
    if (status != MS_E_INPUT || !strstr(err.text, reason))
        fail_msg("status %d, '%s' where '%s' was due", (int)status, err.text, reason);
}

/* The file with `from` in its header replaced by `to`, the length brought in line. */
static void refused_with(const char *from, const char *to, const char *reason)
{
    struct ms_buf bytes = encoded(), out;
    uint64_t length;
    assert_true(ms_span_u64le(ms_span_of(bytes.data, bytes.len), 0, &length));
    char *header = strndup((const char *)bytes.data + 8, (size_t)length);
    char *at = strstr(header, from);
    if (!at)
        fail_msg("'%s' is not in the header", from);
    ms_buf_init(&out, 1 << 24);
    uint64_t changed = length - strlen(from) + strlen(to);
    for (int i = 0; i < 8; i++)
        (void)ms_buf_append_byte(&out, (uint8_t)(changed >> (8 * i)));
    (void)ms_buf_append(&out, header, (size_t)(at - header));
    (void)ms_buf_append_text(&out, to);
    (void)ms_buf_append_text(&out, at + strlen(from));
    (void)ms_buf_append(&out, bytes.data + 8 + length, bytes.len - 8 - (size_t)length);
    assert_false(out.failed);
    refused(out.data, out.len, reason);
    free(header);
    ms_buf_release(&bytes);
    ms_buf_release(&out);
}

static void refuses_headers(void **state)
{
    (void)state;
    refused_with("\"dtype\":\"F32\"", "\"dtype\":\"F16\"", "not F32");
    refused_with("malseq-model-1", "malseq-model-2", "format");
    refused_with("\"format\"", "\"formal\"", "no model of malseq");
    refused_with("\"__metadata__\"", "\"__metadato__\"", "no model of malseq");
    refused_with("\"output.bias\":{", "\"output.bios\":{", "output.bias is missing");
    refused_with("\"output.bias\":{", "\"output.kernel\":{", "not JSON"); /* a name twice */
    refused_with("{\"__metadata__\"", "{\"more\":{},\"__metadata__\"", "tensors where");
    refused_with("\"data_offsets\":[0,", "\"data_offsets\":[4,", "where it should");
    refused_with("\"data_offsets\":[0,", "\"data_offsets\":[-1,", "where it should");
    refused_with("\"shape\":[3]", "\"shape\":[1,3]", "shape");
    refused_with("\\\"hidden\\\":3", "\\\"hidden\\\":4", "bytes of tensors");
    refused_with("\\\"hidden\\\":3", "\\\"hidden\\\":-3", "hidden");
    refused_with("\\\"hidden\\\":3", "\\\"hidden\\\":4000000000", "recurrent layer");
    refused_with("\\\"hidden\\\":3", "\\\"hidden\\\":3.5", "hidden");
    refused_with("\\\"hidden\\\":3", "\\\"hidden\\\":3,\\\"x\\\":1", "unknown");
    refused_with("\\\"tanh\\\"", "\\\"sinh\\\"", "activation");
    refused_with("\\\"embedding\\\":5", "\\\"embedding\\\":1e999", "not JSON");
    refused_with("\\\"Virus\\\",", "", "classes");
    refused_with("\\\"ntclose\\\"", "\\\"ldrloaddll\\\"", "repeats");
    refused_with("\\\"ntclose\\\"", "7", "no text");
    refused_with("normalise-1", "normalise-9", "version");
    refused_with("\"threshold\":\"0.1", "\"threshold\":\"nan", "threshold");
    refused_with("\"min_calls\":\"5\"", "\"min_calls\":\"-5\"", "min_calls");
    refused_with("\"min_calls\":\"5\"", "\"min_calls\":5", "no text");
    refused_with("\"target\":\"class\"", "\"target\":\"glass\"", "target");
}

static void refuses_damage(void **state)
{
    (void)state;
    struct ms_buf bytes = encoded();
    refused(bytes.data, 0, "shorter than a header");
    refused(bytes.data, 7, "shorter than a header");
    refused(bytes.data, 100, "cut short");
    refused(bytes.data, bytes.len - 1, "bytes of tensors");
    uint8_t *p = bytes.data;
    p[bytes.len - 1] = 0x7f; /* the last weight becomes NaN */
    p[bytes.len - 2] = 0xff;
    refused(p, bytes.len, "not finite");
    memset(p, 0xff, 8);
    refused(p, bytes.len, "a header of 18446744073709551615 bytes");
    memset(p, 0, 8);
    refused(p, bytes.len, "begin with");
    ms_buf_release(&bytes);
}

/* Any one byte of the header set to anything: refused, or read without a fault. */
static void survives_every_byte(void **state)
{
    (void)state;
    struct ms_buf bytes = encoded();
    struct ms_rng rng;
    ms_rng_init(&rng, 1, 2, 3);
    uint64_t header;
    assert_true(ms_span_u64le(ms_span_of(bytes.data, bytes.len), 0, &header));
    unsigned refusals = 0;
    for (size_t i = 0; i < header + 8; i++) {
        uint8_t was = bytes.data[i];
        bytes.data[i] = (uint8_t)ms_rng_u64(&rng);
        struct ms_model *m;
        struct ms_error err = {0};
        enum ms_status status = ms_model_decode(ms_span_of(bytes.data, bytes.len), 1, &m, &err);
        if (status == MS_OK)
            ms_model_free(m);
        else
            assert_true(err.text[0] != '\0');
        refusals += status != MS_OK;
        bytes.data[i] = was;
    }
    assert_true(refusals > header / 3);
    ms_buf_release(&bytes);
}

static void tokens_for_the_article(void **state)
{
    (void)state;
    struct ms_plan plan;
    struct ms_net_config config;
    ms_plan_article(&plan);
    struct ms_vocabulary *v;
    assert_int_equal(ms_vocabulary_new(plan.text, plan.unknown, &v, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_count(v, text("dnsquery_a"), 3, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_count(v, text("ntclose"), 1, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_finish(v, plan.vocabulary_limit, NULL), MS_OK);
    assert_int_equal(ms_plan_config(&plan, 2, true, ms_vocabulary_size(v), &config, NULL), MS_OK);
    assert_int_equal(ms_net_config_parameters(&config), 369537); /* the article's figure */
    struct ms_span calls[100];
    for (size_t i = 0; i < 100; i++)
        calls[i] = text(i < 99 ? "dnsquery_a" : "ntclose");
    struct ms_tokens t = {0};
    assert_int_equal(ms_tokens_make(v, &config, &plan.view, calls, 100, &t, NULL), MS_OK);
    assert_int_equal(t.n, 100); /* the last 100 of 199: truncating='pre' */
    assert_int_equal(t.ids[99], 3);
    assert_int_equal(t.ids[98], 2);
    assert_int_equal(t.ids[0], 2);
    assert_int_equal(t.ids[1], 1);
    ms_tokens_release(&t);
    ms_vocabulary_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),          cmocka_unit_test(round_trip_layers),
        cmocka_unit_test(refuses_headers),     cmocka_unit_test(refuses_damage),
        cmocka_unit_test(survives_every_byte), cmocka_unit_test(tokens_for_the_article),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
