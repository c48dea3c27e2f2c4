/* A model for every part that libmalseq-detect can meet, as files of a folder of their own, and
 * calls for it: what the tests of the library share. The numbers are random. */
#ifndef MS_TESTS_DETECT_MODELS_H
#define MS_TESTS_DETECT_MODELS_H

#include <malseq/detect.h>

#include "base/rng.h"
#include "train/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NAMES = 12, CALLS = 60, TRACES = 8 };
static const char *const names[NAMES] = {
    "NtClose",    "NtCreateFile",       "NtReadFile",  "NtWriteFile",
    "LdrLoadDll", "RegOpenKeyExW",      "Sleep",       "WriteProcessMemory",
    "DnsQuery_A", "MessageBoxTimeoutW", "GetTempPath", "NeverSeen"}; /* the last one is unknown */
static const char *const two_classes[] = {"malware", "benign"};
static char folder[] = "/tmp/malseq_library_XXXXXX";

/* ---- models ---- */

static const char *path_of(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline struct ms_vocabulary *make_vocabulary(struct ms_span folded[NAMES])
{
    struct ms_vocabulary *v;
    assert_int_equal(ms_vocabulary_new(MS_VOCABULARY_NAME, true, &v, NULL), MS_OK);
    for (size_t i = 0; i + 1 < NAMES; i++)
        assert_int_equal(ms_vocabulary_count(v, folded[i], i + 1, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_finish(v, 0, NULL), MS_OK);
    return v;
}

/* Lower case, as the view folds. */
static inline void fold_names(char text[NAMES][32], struct ms_span folded[NAMES])
{
    const struct ms_normal_options view = {.fold_case = true};
    for (size_t i = 0; i < NAMES; i++) {
        const size_t n =
            ms_fold_name(&view, ms_span_of(names[i], strlen(names[i])), (uint8_t *)text[i]);
        folded[i] = ms_span_of(text[i], n);
    }
}

/* Every call, and every pair of the first six; the first half of them in both of two rows. */
static inline struct ms_ngrams *make_ngrams(const struct ms_ngram_options *options,
                                            struct ms_span folded[NAMES])
{
    struct ms_gram grams[NAMES + 36];
    uint32_t rows_with[NAMES + 36], n = 0;
    for (uint32_t i = 0; i + 1 < NAMES; i++)
        grams[n++] = (struct ms_gram){{i, MS_GRAM_NONE, MS_GRAM_NONE}};
    for (uint32_t i = 0; i < 36; i++)
        if (i / 6 != i % 6)
            grams[n++] = (struct ms_gram){{i / 6, i % 6, MS_GRAM_NONE}};
    for (uint32_t i = 0; i < n; i++)
        rows_with[i] = i < n / 2 ? 2 : 1;
    const struct ms_gram_table table = {folded, NAMES, grams, n};
    struct ms_ngrams *out;
    assert_int_equal(ms_ngrams_build(options, &table, rows_with, 2, &out, NULL), MS_OK);
    return out;
}

static inline struct ms_member make_net(const struct ms_plan *plan, uint32_t vocabulary,
                                        uint32_t ngrams, bool pooled, uint64_t seed)
{
    const struct ms_plan_shape shape = {
        .vocabulary = vocabulary, .ngrams = ngrams, .pooled = pooled};
    struct ms_net_config config;
    struct ms_member m = {.kind = MS_MEMBER_NET};
    struct ms_rng rng;
    ms_rng_init(&rng, seed, 1, 1);
    assert_int_equal(ms_plan_config(plan, 2, true, &shape, &config, NULL), MS_OK);
    assert_int_equal(ms_net_new(&config, seed, 1, &m.net, NULL), MS_OK);
    for (size_t i = 0; i < ms_net_param_count(m.net); i++)
        ms_net_params(m.net)[i] = (ms_real)(.4 * ms_rng_normal(&rng));
    return m;
}

static inline struct ms_member make_linear(uint32_t ngrams)
{
    struct ms_member m = {.kind = MS_MEMBER_LINEAR, .presence = true, .weight = 2};
    struct ms_rng rng;
    ms_rng_init(&rng, 5, 1, 1);
    assert_int_equal(ms_linear_make(ngrams, 1, &m.linear, NULL), MS_OK);
    for (size_t i = 0; i < ngrams; i++)
        m.linear.kernel[i] = (float)(.5 * ms_rng_normal(&rng));
    m.linear.bias[0] = -.25f;
    return m;
}

static inline struct ms_member make_trees(uint32_t ngrams)
{
    static const int32_t start[2] = {0, 3}, feature[3] = {0, -1, -1}, right[3] = {2, 0, 0},
                         absent[3] = {0, 0, 0};
    static const float value[3] = {.5f, -1, 2};
    struct ms_member m = {.kind = MS_MEMBER_TREES, .presence = true};
    assert_int_equal(ms_trees_make(ngrams, 1, 1, 3, &m.trees, NULL), MS_OK);
    memcpy(m.trees.start, start, sizeof start);
    m.trees.output[0] = 0;
    memcpy(m.trees.feature, feature, sizeof feature);
    memcpy(m.trees.right, right, sizeof right);
    memcpy(m.trees.absent, absent, sizeof absent);
    memcpy(m.trees.value, value, sizeof value);
    return m;
}

/* ensemble: a net, one with a wide branch, one without recurrence, and a linear part; boosted: one
 * tree; linear. */
static inline struct ms_model *make_model(enum ms_model_kind kind, struct ms_plan *plan)
{
    char text[NAMES][32];
    struct ms_span folded[NAMES];
    struct ms_model *model;
    struct ms_error err;
    fold_names(text, folded);
    ms_plan_default(plan);
    plan->fit.config.embedding = 5;
    plan->fit.config.recurrent[0].hidden = 4;
    plan->fit.config.wide.units = 3;
    plan->inputs.ngrams.min_df = 1;
    plan->inputs.bigram_buckets = plan->inputs.trigram_buckets = 16;
    if (kind != MS_MODEL_ENSEMBLE)
        plan->inputs = (struct ms_input_options){
            .ngrams = {.max_n = 2, .min_df = 1, .max_size = 100, .idf = true, .l2 = true}};
    struct ms_model_parts parts = {.kind = kind,
                                   .classes = 2,
                                   .inputs = plan->inputs,
                                   .cut = plan->view.cut,
                                   .vocabulary = make_vocabulary(folded),
                                   .ngrams = make_ngrams(&plan->inputs.ngrams, folded),
                                   .member_count = kind == MS_MODEL_ENSEMBLE ? 4 : 1};
    const uint32_t v = ms_vocabulary_size(parts.vocabulary), n = ms_ngrams_size(parts.ngrams);
    parts.members = calloc(parts.member_count, sizeof *parts.members);
    assert_non_null(parts.members);
    parts.members[0] = kind == MS_MODEL_ENSEMBLE  ? make_net(plan, v, 0, false, 3)
                       : kind == MS_MODEL_BOOSTED ? make_trees(n)
                                                  : make_linear(n);
    if (kind == MS_MODEL_ENSEMBLE) {
        parts.members[1] = make_net(plan, v, n, false, 4);
        parts.members[2] = make_net(plan, v, 0, true, 5);
        parts.members[3] = make_linear(n);
    }
    if (ms_model_new(&parts, &model, &err) != MS_OK)
        fail_msg("%s", err.text);
    return model;
}

static inline struct ms_model_facts make_facts(const struct ms_plan *plan)
{
    return (struct ms_model_facts){
        .target = "malware",
        .class_names = two_classes,
        .classes = 2,
        .view = plan->view,
        .min_calls = 5,
        .threshold = .4375,
        .calibration = {.kind = MS_CALIBRATION_PLATT, .a = 1.5, .b = .25},
        .dataset_digest = "00ff",
        .split_digest = "11ee",
        .settings = "preset=default"};
}

static inline void write_file(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void write_model(const char *name, const struct ms_model_facts *facts,
                               struct ms_model *model)
{
    struct ms_buf bytes;
    ms_buf_init(&bytes, 1 << 24);
    assert_int_equal(ms_model_encode(model, facts, &bytes, NULL), MS_OK);
    write_file(name, bytes.data, bytes.len);
    ms_buf_release(&bytes);
}

static inline int make_files(void **state)
{
    (void)state;
    struct ms_plan plan;
    assert_non_null(mkdtemp(folder));
    struct ms_model *model = make_model(MS_MODEL_ENSEMBLE, &plan);
    struct ms_model_facts facts = make_facts(&plan);
    write_model("model.safetensors", &facts, model);
    facts.unknown_from = 0;
    facts.unknown_to = 1.5;
    write_model("doubt", &facts, model);
    facts = make_facts(&plan);
    facts.opcodes = true;
    write_model("opcodes", &facts, model);
    facts = make_facts(&plan);
    facts.statics = MS_STATIC_JOINED;
    write_model("statics", &facts, model);
    facts = make_facts(&plan);
    facts.view.order = MS_ORDER_TIME;
    write_model("timed", &facts, model);
    ms_model_free(model);
    model = make_model(MS_MODEL_BOOSTED, &plan);
    facts = make_facts(&plan);
    write_model("boosted", &facts, model);
    ms_model_free(model);
    return 0;
}

static inline int remove_files(void **state)
{
    static const char *const made[] = {"model.safetensors", "doubt", "opcodes", "statics", "timed",
                                       "boosted",           "other"};
    (void)state;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        (void)unlink(path_of(made[i]));
    return rmdir(folder);
}

static inline struct malseq_model *open_model(const char *name)
{
    struct malseq_model *model;
    struct malseq_error why;
    if (malseq_model_open(path_of(name), &model, &why) != MALSEQ_OK)
        fail_msg("%s", why.text);
    return model;
}

static inline struct malseq_trace *new_trace(struct malseq_model *model)
{
    struct malseq_trace *trace;
    assert_int_equal(malseq_trace_new(model, &trace, NULL), MALSEQ_OK);
    return trace;
}

/* ---- traces ---- */

/* Random calls in runs, of one process. */
static inline void make_calls(uint64_t seed, uint32_t calls[CALLS])
{
    struct ms_rng rng;
    ms_rng_init(&rng, seed, 2, 3);
    for (size_t i = 0; i < CALLS; i++)
        calls[i] = i > 0 && ms_rng_below(&rng, 3) == 0 ? calls[i - 1]
                                                       : (uint32_t)ms_rng_below(&rng, NAMES);
}

static inline void add(struct malseq_trace *trace, uint64_t pid, const char *name)
{
    assert_int_equal(malseq_trace_add(trace, pid, name, MALSEQ_NO_TIME, NULL), MALSEQ_OK);
}

static inline void add_calls(struct malseq_trace *trace, const uint32_t *calls, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add(trace, 7, names[calls[i]]);
}

static inline struct malseq_verdict verdict_of(struct malseq_trace *trace)
{
    struct malseq_verdict v = MALSEQ_VERDICT_INIT;
    struct malseq_error why;
    if (malseq_trace_verdict(trace, &v, &why) != MALSEQ_OK)
        fail_msg("%s", why.text);
    return v;
}

static inline struct malseq_verdict whole_verdict(struct malseq_model *model, const uint32_t *calls,
                                                  size_t n)
{
    struct malseq_trace *trace = new_trace(model);
    add_calls(trace, calls, n);
    const struct malseq_verdict v = verdict_of(trace);
    malseq_trace_free(trace);
    return v;
}

static inline void assert_same(const struct malseq_verdict *a, const struct malseq_verdict *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_memory_equal(&a->score, &b->score, sizeof a->score);
    assert_int_equal(a->calls, b->calls);
    assert_int_equal(a->tokens, b->tokens);
    assert_string_equal(a->reason, b->reason);
    assert_string_equal(a->label ? a->label : "", b->label ? b->label : "");
}

#endif
