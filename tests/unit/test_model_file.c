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
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/gram_rows.h"
static const char *const names[] = {"ntclose", "dnsquery_a", "ldrloaddll", "\xc3\xa9t\xc3\xa9"};
static const char *const class_names[] = {"Worms <b>\"&", "Virus", "Trojan"};

static struct ms_span text(const char *s)
{
    return ms_span_of(s, strlen(s));
}

static struct ms_vocabulary *make_vocabulary(void)
{
    struct ms_vocabulary *v;
    assert_int_equal(ms_vocabulary_new(MS_VOCABULARY_NAME, true, &v, NULL), MS_OK);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ms_vocabulary_count(v, text(names[i]), 1 + i, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_finish(v, 0, NULL), MS_OK);
    return v;
}

static const struct ms_gram grams[3] = {
    {{0, MS_GRAM_NONE, MS_GRAM_NONE}}, {{1, MS_GRAM_NONE, MS_GRAM_NONE}}, {{0, 1, MS_GRAM_NONE}}};

/* Three n-grams of the first two names. */
static struct ms_gram_table make_table(struct ms_span spans[4])
{
    for (size_t i = 0; i < 4; i++)
        spans[i] = text(names[i]);
    return (struct ms_gram_table){spans, 4, grams, 3};
}

static struct ms_ngrams *make_ngrams(const struct ms_ngram_options *options)
{
    struct ms_span spans[4];
    const struct ms_gram_table table = make_table(spans);
    static const uint32_t all[3] = {0, 1, 2};
    const struct ms_gram_row rows[2] = {{all, 3}, {all, 1}};
    struct ms_ngrams *n;
    assert_int_equal(ms_ngrams_build(options, &table, gram_rows_count(rows, 2), 2, &n, NULL),
                     MS_OK);
    assert_int_equal(ms_ngrams_size(n), 3);
    return n;
}

static struct ms_member make_net(const struct ms_plan *plan, const struct ms_plan_shape *shape,
                                 uint64_t seed)
{
    struct ms_net_config config;
    struct ms_member m = {.kind = MS_MEMBER_NET};
    assert_int_equal(ms_plan_config(plan, 3, false, shape, &config, NULL), MS_OK);
    assert_int_equal(ms_net_new(&config, seed, 1, &m.net, NULL), MS_OK);
    for (size_t i = 0; i < ms_net_param_count(m.net); i += 3)
        ms_net_params(m.net)[i] += (float)(i % 64) / 64; /* biases too are not all alike */
    return m;
}

static struct ms_member make_linear(void)
{
    struct ms_member m = {.kind = MS_MEMBER_LINEAR};
    assert_int_equal(ms_linear_make(3, 3, &m.linear, NULL), MS_OK);
    for (size_t i = 0; i < 9; i++)
        m.linear.kernel[i] = (float)i / 4 - 1;
    m.linear.bias[1] = .5f;
    return m;
}

static struct ms_member make_trees(void)
{
    static const int32_t start[3] = {0, 3, 4}, output[2] = {0, 2}, feature[4] = {2, -1, -1, -1},
                         right[4] = {2, 0, 0, 0}, absent[4] = {1, 0, 0, 0};
    static const float value[4] = {.5f, -1, 2, .25f};
    struct ms_member m = {.kind = MS_MEMBER_TREES};
    assert_int_equal(ms_trees_make(3, 3, 2, 4, &m.trees, NULL), MS_OK);
    memcpy(m.trees.start, start, sizeof start);
    memcpy(m.trees.output, output, sizeof output);
    memcpy(m.trees.feature, feature, sizeof feature);
    memcpy(m.trees.right, right, sizeof right);
    memcpy(m.trees.absent, absent, sizeof absent);
    memcpy(m.trees.value, value, sizeof value);
    return m;
}

/* A small plan of the default preset over the four names. */
static void make_plan(enum ms_model_kind kind, struct ms_plan *plan)
{
    ms_plan_default(plan);
    plan->kind = kind;
    plan->fit.config.embedding = 5;
    plan->fit.config.recurrent[0].hidden = 3;
    plan->fit.config.wide.units = 2;
    plan->inputs.ngrams.min_df = 1;
    plan->inputs.bigram_buckets = 8;
    plan->inputs.trigram_buckets = 0;
    plan->inputs.wide = kind == MS_MODEL_ENSEMBLE;
    if (kind == MS_MODEL_LINEAR || kind == MS_MODEL_BOOSTED) {
        plan->inputs = (struct ms_input_options){0};
        plan->inputs.ngrams = (struct ms_ngram_options){.max_n = 2, .min_df = 1, .max_size = 10};
    } else if (kind != MS_MODEL_ENSEMBLE)
        plan->inputs.ngrams = (struct ms_ngram_options){0};
}

/* A model of any kind that has a file; attention and a GRU's two rows of biases are in gru. */
static struct ms_model *make_model(enum ms_model_kind kind)
{
    struct ms_plan plan;
    make_plan(kind, &plan);
    struct ms_model_parts parts = {.kind = kind,
                                   .classes = 3,
                                   .inputs = plan.inputs,
                                   .cut = plan.view.cut,
                                   .vocabulary = make_vocabulary(),
                                   .member_count = kind == MS_MODEL_ENSEMBLE ? 2 : 1};
    struct ms_plan_shape shape = {.vocabulary = ms_vocabulary_size(parts.vocabulary)};
    parts.ngrams = plan.inputs.ngrams.max_n ? make_ngrams(&plan.inputs.ngrams) : NULL;
    parts.members = calloc(parts.member_count, sizeof *parts.members);
    assert_non_null(parts.members);
    shape.gru = kind == MS_MODEL_GRU;
    shape.pooled = kind == MS_MODEL_POOLED;
    if (kind == MS_MODEL_GRU) {
        plan.fit.config.pooling = MS_NET_POOL_ATTENTION;
        plan.fit.config.attention = 4;
    }
    parts.members[0] = kind == MS_MODEL_LINEAR    ? make_linear()
                       : kind == MS_MODEL_BOOSTED ? make_trees()
                                                  : make_net(&plan, &shape, 7);
    shape.ngrams = 3;
    if (kind == MS_MODEL_ENSEMBLE)
        parts.members[1] = make_net(&plan, &shape, 8);
    struct ms_model *model;
    struct ms_error err;
    if (ms_model_new(&parts, &model, &err) != MS_OK)
        fail_msg("%s", err.text);
    return model;
}

static struct ms_model_facts make_facts(void)
{
    struct ms_plan plan;
    ms_plan_default(&plan);
    return (struct ms_model_facts){.target = "class",
                                   .class_names = class_names,
                                   .classes = 3,
                                   .view = plan.view,
                                   .min_calls = 5,
                                   .threshold = .1,
                                   .calibration = {.kind = MS_CALIBRATION_TEMPERATURE, .t = 1.7},
                                   .unknown_to = .4,
                                   .dataset_digest = "00ff",
                                   .split_digest = "11ee",
                                   .settings = "preset=default \"quoted\"",
                                   .seed = UINT64_MAX};
}

static struct ms_buf encoded_as(enum ms_model_kind kind)
{
    struct ms_model *model = make_model(kind);
    const struct ms_model_facts facts = make_facts();
    struct ms_buf out;
    ms_buf_init(&out, 1 << 24);
    assert_int_equal(ms_model_encode(model, &facts, &out, NULL), MS_OK);
    ms_model_free(model);
    return out;
}

static struct ms_buf encoded(void)
{
    return encoded_as(MS_MODEL_LSTM);
}

/* What a model says of ntclose, a name nobody knows, dnsquery_a, ldrloaddll. */
static void scores_of(struct ms_model *model, double scores[3])
{
    struct ms_span spans[4];
    struct ms_gram_table table = make_table(spans);
    static const uint32_t calls[4] = {0, 2, 1, 2}, runs[4] = {3, 1, 1, 9}, all[2] = {0, 2};
    spans[3] = text("never seen");
    const struct ms_input_trace trace = {
        .calls = calls, .n = 4, .run_lengths = runs, .run_counts = runs, .grams = {all, 2}};
    struct ms_input_recipe recipe;
    struct ms_input_maker *maker;
    struct ms_input_row row = {0};
    ms_model_recipe(model, &recipe);
    assert_int_equal(ms_input_maker_new(&recipe, &table, &maker, NULL), MS_OK);
    assert_int_equal(ms_input_row_make(maker, &trace, &row, NULL), MS_OK);
    assert_int_equal(row.n, 4);
    assert_int_equal(ms_model_scores(model, &row, 1, scores, NULL), MS_OK);
    assert_true(fabs(scores[0] + scores[1] + scores[2] - 1) < 1e-5);
    ms_input_row_release(&row);
    ms_input_maker_free(maker);
}

static const enum ms_model_kind with_file[] = {MS_MODEL_LSTM,     MS_MODEL_GRU,
                                               MS_MODEL_LINEAR,   MS_MODEL_BOOSTED,
                                               MS_MODEL_ENSEMBLE, MS_MODEL_POOLED};
enum { WITH_FILE = sizeof with_file / sizeof *with_file };

static void round_trip(void **state)
{
    (void)state;
    const struct ms_model_facts facts = make_facts();
    for (size_t k = 0; k < WITH_FILE; k++) {
        struct ms_model *model = make_model(with_file[k]), *m;
        struct ms_buf bytes = encoded_as(with_file[k]), again;
        struct ms_error err;
        double x[3], y[3];
        if (ms_model_decode(ms_span_of(bytes.data, bytes.len), 1, &m, &err) != MS_OK)
            fail_msg("%s: %s", ms_model_kind_name(with_file[k]), err.text);
        const struct ms_model_facts *f = ms_model_facts_get(m);
        assert_int_equal(ms_model_parts_get(m)->kind, with_file[k]);
        assert_int_equal(f->classes, 3);
        assert_string_equal(f->class_names[0], class_names[0]);
        assert_string_equal(f->settings, facts.settings);
        assert_true(f->threshold == .1);
        assert_true(f->calibration.t == 1.7 && f->unknown_from == 0 && f->unknown_to == .4);
        assert_true(f->seed == UINT64_MAX);
        assert_memory_equal(&f->view, &facts.view, sizeof f->view);
        assert_int_equal(ms_model_parameters(m), ms_model_parameters(model));
        const struct ms_vocabulary *v = ms_model_vocabulary(model);
        for (uint32_t t = 0; t < ms_vocabulary_size(v); t++)
            assert_true(ms_span_equal(ms_vocabulary_text_of(v, t),
                                      ms_vocabulary_text_of(ms_model_vocabulary(m), t)));
        ms_buf_init(&again, 1 << 24);
        assert_int_equal(ms_model_encode(m, f, &again, NULL), MS_OK);
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.data, bytes.data, bytes.len);
        scores_of(model, x);
        scores_of(m, y);
        assert_memory_equal(x, y, sizeof x);
        ms_model_free(m);
        ms_model_free(model);
        ms_buf_release(&bytes);
        ms_buf_release(&again);
    }
}

/* The mean of the members' scores, each asked alone. */
static void an_ensemble_is_the_mean(void **state)
{
    (void)state;
    struct ms_model *model = make_model(MS_MODEL_ENSEMBLE);
    const struct ms_model_parts *parts = ms_model_parts_get(model);
    static const int32_t tokens[3] = {2, 3, 4}, features[9] = {0, 1, -1, 2, 0, 5, 1, 1, 7};
    static const uint32_t ids[2] = {0, 2};
    static const float values[2] = {.6f, .8f};
    struct ms_input_row row = {.tokens = (int32_t *)(uintptr_t)tokens,
                               .n = 3,
                               .features = (int32_t *)(uintptr_t)features,
                               .ids = (uint32_t *)(uintptr_t)ids,
                               .values = (float *)(uintptr_t)values,
                               .count = 2};
    double one[3], two[3], both[3];
    assert_int_equal(ms_member_scores(&parts->members[0], 3, &row, 1, one, NULL), MS_OK);
    assert_int_equal(ms_member_scores(&parts->members[1], 3, &row, 1, two, NULL), MS_OK);
    assert_int_equal(ms_model_scores(model, &row, 1, both, NULL), MS_OK);
    for (size_t c = 0; c < 3; c++) {
        assert_true(fabs(one[c] - two[c]) > 1e-6);
        assert_true(fabs(both[c] - (one[c] + two[c]) / 2) < 1e-12);
    }
    ms_model_free(model);
}

/* Parts that do not fit each other are no model, and a majority model has no file. */
static void refuses_parts(void **state)
{
    (void)state;
    struct ms_model *model;
    struct ms_error err;
    struct ms_model_parts parts = {
        .kind = MS_MODEL_LINEAR, .classes = 4, .vocabulary = make_vocabulary(), .member_count = 1};
    parts.inputs.ngrams = (struct ms_ngram_options){.max_n = 2, .min_df = 1, .max_size = 10};
    parts.ngrams = make_ngrams(&parts.inputs.ngrams);
    parts.members = calloc(1, sizeof *parts.members);
    parts.members[0] = make_linear(); /* of three classes */
    assert_int_equal(ms_model_new(&parts, &model, &err), MS_E_INPUT);
    assert_null(parts.members);
    parts = (struct ms_model_parts){.kind = MS_MODEL_MAJORITY,
                                    .classes = 3,
                                    .vocabulary = make_vocabulary(),
                                    .members = calloc(1, sizeof *parts.members),
                                    .member_count = 1};
    parts.members[0].kind = MS_MEMBER_SHARES;
    parts.members[0].shares = calloc(3, sizeof(double));
    parts.members[0].shares[1] = 1;
    assert_int_equal(ms_model_new(&parts, &model, &err), MS_OK);
    const struct ms_input_row none = {0};
    double scores[3];
    assert_int_equal(ms_model_scores(model, &none, 1, scores, NULL), MS_OK);
    assert_int_equal(ms_model_decide(scores, 3, .5), 1);
    struct ms_buf out;
    const struct ms_model_facts facts = make_facts();
    ms_buf_init(&out, 1 << 20);
    assert_int_equal(ms_model_encode(model, &facts, &out, &err), MS_E_INPUT);
    ms_buf_release(&out);
    ms_model_free(model);
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
static void refused_kind(enum ms_model_kind kind, const char *from, const char *to,
                         const char *reason)
{
    struct ms_buf bytes = encoded_as(kind), out;
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

static void refused_with(const char *from, const char *to, const char *reason)
{
    refused_kind(MS_MODEL_LSTM, from, to, reason);
}

static void refuses_headers(void **state)
{
    (void)state;
    refused_with("\"dtype\":\"F32\"", "\"dtype\":\"F16\"", "not F32");
    refused_with("malseq-model-2", "malseq-model-1", "format");
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
    refused_with("temperature 1.7", "temperature -1", "calibration");
    refused_with("temperature 1.7", "platt 1.7 0 ", "calibration");
    refused_with("\"unknown_band\":\"0:", "\"unknown_band\":\"7:", "doubt");
    refused_with("\"min_calls\":\"5\"", "\"min_calls\":\"-5\"", "min_calls");
    refused_with("\"min_calls\":\"5\"", "\"min_calls\":5", "no text");
    refused_with("\"target\":\"class\"", "\"target\":\"glass\"", "target");
}

/* What the other kinds have besides. */
static void refuses_members(void **state)
{
    (void)state;
    const enum ms_model_kind linear = MS_MODEL_LINEAR, trees = MS_MODEL_BOOSTED,
                             many = MS_MODEL_ENSEMBLE;
    refused_kind(linear, "\"kind\":\"linear\"", "\"kind\":\"lunear\"", "kind");
    refused_kind(linear, "\\\"member\\\":\\\"linear", "\\\"member\\\":\\\"lunear", "unknown kind");
    refused_kind(linear, "\"ngrams\":\"3\"", "\"ngrams\":\"4\"", "bytes of tensors");
    refused_kind(linear, "\"ngrams\":\"3\"", "\"ngrams\":\"9999999999\"", "more than");
    refused_kind(linear, "\"ngrams\":\"3\"", "\"ngrams\":\"0\"", "bytes of tensors");
    refused_kind(linear, "ngrams=2 ", "ngrams=9 ", "");
    refused_kind(linear, "inputs-1 ", "inputs-9 ", "inputs");
    refused_kind(linear, "\\\"ntclose\\\",\\\"dnsquery_a\\\"]\"", "\\\"ntclose\\\"]\"", "");
    refused_kind(linear, "\"linear.kernel\":{\"dtype\":\"F32\"",
                 "\"linear.kernel\":{\"dtype\":\"I32\"", "not F32");
    refused_kind(trees, "\\\"nodes\\\":4", "\\\"nodes\\\":5", "bytes of tensors");
    refused_kind(trees, "\\\"nodes\\\":4", "\\\"nodes\\\":4000000000", "unknown kind or shape");
    refused_kind(trees, "\\\"trees\\\":2", "\\\"trees\\\":-2", "unknown kind or shape");
    refused_kind(trees, "\"trees.right\":{\"dtype\":\"I32\"", "\"trees.right\":{\"dtype\":\"F32\"",
                 "not I32");
    refused_kind(many, "member1.output.bias", "member2.output.bias", "missing");
    refused_kind(many, "\"members\":\"[{", "\"members\":\"[{},{", "unknown kind");
    refused_kind(many, "bigrams=8", "bigrams=9", "does not fit");
}

/* Numbers of trees and n-grams that point outside; each last 4 bytes of a tensor in turn. */
static void refuses_places(void **state)
{
    (void)state;
    struct ms_buf bytes = encoded_as(MS_MODEL_BOOSTED);
    uint64_t header;
    assert_true(ms_span_u64le(ms_span_of(bytes.data, bytes.len), 0, &header));
    uint8_t *data = bytes.data + 8 + header;
    /* start, output, feature, right, absent; the n-grams' first calls */
    static const size_t at[] = {8, 16, 20, 36, 52, 84};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        uint8_t was[4];
        memcpy(was, data + at[i], 4);
        memset(data + at[i], 0x7f, 4);
        refused(bytes.data, bytes.len, "");
        memcpy(data + at[i], was, 4);
    }
    ms_buf_release(&bytes);
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

/* Any one byte of the file set to anything: refused, or read without a fault. Of the header every
 * second one, to be quick. */
static void survives_every_byte(void **state)
{
    (void)state;
    static const enum ms_model_kind kinds[] = {MS_MODEL_LSTM, MS_MODEL_BOOSTED};
    struct ms_rng rng;
    ms_rng_init(&rng, 1, 2, 3);
    for (size_t k = 0; k < 2; k++) {
        struct ms_buf bytes = encoded_as(kinds[k]);
        uint64_t header;
        assert_true(ms_span_u64le(ms_span_of(bytes.data, bytes.len), 0, &header));
        unsigned refusals = 0;
        for (size_t i = 0; i < header + 8 + 100; i += 2) {
            uint8_t was = bytes.data[i];
            bytes.data[i] = (uint8_t)ms_rng_u64(&rng);
            struct ms_model *m;
            struct ms_error err = {0};
            double scores[3];
            if (ms_model_decode(ms_span_of(bytes.data, bytes.len), 1, &m, &err) == MS_OK) {
                if (ms_model_facts_get(m)->classes == 3 && kinds[k] == MS_MODEL_BOOSTED)
                    scores_of(m, scores);
                ms_model_free(m);
            } else {
                assert_true(err.text[0] != '\0');
                refusals++;
            }
            bytes.data[i] = was;
        }
        assert_true(refusals > header / 6);
        ms_buf_release(&bytes);
    }
}

static void tokens_for_the_article(void **state)
{
    (void)state;
    struct ms_plan plan;
    struct ms_net_config config;
    struct ms_vocabulary *v;
    ms_plan_article(&plan);
    assert_int_equal(ms_vocabulary_new(plan.text, plan.unknown, &v, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_count(v, text("dnsquery_a"), 3, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_count(v, text("ntclose"), 1, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_finish(v, plan.vocabulary_limit, NULL), MS_OK);
    const struct ms_plan_shape shape = {.vocabulary = ms_vocabulary_size(v)};
    assert_int_equal(ms_plan_config(&plan, 2, true, &shape, &config, NULL), MS_OK);
    assert_int_equal(ms_net_config_parameters(&config), 369537); /* the article's figure */
    const struct ms_span both[2] = {text("dnsquery_a"), text("ntclose")};
    const struct ms_gram_table table = {both, 2, NULL, 0};
    uint32_t calls[100];
    for (size_t i = 0; i < 100; i++)
        calls[i] = i == 99;
    const struct ms_input_recipe recipe = {
        .vocabulary = v, .cut = plan.view.cut, .steps = ms_input_steps(&config)};
    const struct ms_input_trace trace = {.calls = calls, .n = 100};
    struct ms_input_maker *maker;
    struct ms_input_row t = {0};
    assert_int_equal(ms_input_maker_new(&recipe, &table, &maker, NULL), MS_OK);
    assert_int_equal(ms_input_row_make(maker, &trace, &t, NULL), MS_OK);
    assert_int_equal(t.n, 100); /* the last 100 of 199: truncating='pre' */
    assert_int_equal(t.tokens[99], 3);
    assert_int_equal(t.tokens[98], 2);
    assert_int_equal(t.tokens[0], 2);
    assert_int_equal(t.tokens[1], 1);
    ms_input_row_release(&t);
    ms_input_maker_free(maker);
    ms_vocabulary_free(v);
}

/* What a model file on disk may turn out to be. */
static void opens_files(void **state)
{
    struct ms_buf bytes = encoded_as(MS_MODEL_ENSEMBLE);
    struct ms_model_file *file;
    struct ms_model *m;
    struct ms_error err = {0};
    char path[] = "/tmp/model-XXXXXX";
    double whole[3], again[3];
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.data, bytes.len), (ssize_t)bytes.len);
    assert_int_equal(ms_model_open(path, 1, &m, &err), MS_OK);
    scores_of(m, whole);
    ms_model_free(m);
    /* Its facts are there with the header; what is cut off behind is found missing. */
    const size_t lengths[] = {0, 7, 8, 1000, bytes.len - 100, bytes.len - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(ftruncate(fd, (off_t)lengths[i]), 0);
        assert_int_equal(ms_model_open(path, 1, &m, &err), MS_E_INPUT);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, bytes.data, bytes.len, 0), (ssize_t)bytes.len);
    }
    assert_int_equal(ms_model_file_open(path, &file, &err), MS_OK);
    assert_int_equal(ms_model_file_facts(file)->classes, 3);
    assert_int_equal(ftruncate(fd, (off_t)bytes.len - 1), 0);
    assert_int_equal(ms_model_file_finish(file, 1, &m, &err), MS_E_INPUT);
    assert_non_null(strstr(err.text, "became shorter"));
    /* What was read stays what it was. */
    assert_int_equal(pwrite(fd, bytes.data, bytes.len, 0), (ssize_t)bytes.len);
    assert_int_equal(ms_model_open(path, 1, &m, &err), MS_OK);
    assert_int_equal(ftruncate(fd, 0), 0);
    scores_of(m, again);
    assert_memory_equal(whole, again, sizeof whole);
    ms_model_free(m);
    (void)close(fd);
    (void)unlink(path);
    ms_buf_release(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_files),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(an_ensemble_is_the_mean),
        cmocka_unit_test(refuses_parts),
        cmocka_unit_test(refuses_headers),
        cmocka_unit_test(refuses_members),
        cmocka_unit_test(refuses_places),
        cmocka_unit_test(refuses_damage),
        cmocka_unit_test(survives_every_byte),
        cmocka_unit_test(tokens_for_the_article),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
