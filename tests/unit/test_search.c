/* Nested selection on rows of which the right choice is known; parts of ensembles, and mixed ones
 * as model files. */
#include "train/default_ensemble.h"
#include "train/learner.h"
#include "train/outcome.h"
#include "train/search.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROWS = 96, STEPS = 6, SYMBOLS = 8 };
static struct ms_row rows[ROWS];
static uint32_t labels[ROWS], groups[ROWS];
static uint32_t ones[STEPS] = {1, 1, 1, 1, 1, 1};
static char keys[ROWS][16];
static struct ms_gram table[SYMBOLS];
static struct ms_span names[SYMBOLS];
static char texts[SYMBOLS][4];
static struct ms_dataset set;
static struct ms_error err;

static int make_names(void **state)
{
    (void)state;
    assert_int_equal(ms_names_new(100, &set.symbols, &err), MS_OK);
    for (uint32_t s = 0; s < SYMBOLS; s++) {
        uint32_t id;
        texts[s][0] = (char)('a' + s);
        names[s] = ms_span_of(texts[s], 1);
        assert_int_equal(ms_names_intern(set.symbols, names[s], &id, &err), MS_OK);
        table[s] = (struct ms_gram){{s, UINT32_MAX, UINT32_MAX}};
    }
    return 0;
}

static int free_names(void **state)
{
    (void)state;
    ms_names_free(set.symbols);
    for (uint32_t i = 0; i < ROWS; i++)
        ms_row_pack_release(&rows[i].pack);
    return 0;
}

/* Two classes in turn, every row with other noise around what tells them apart. by_order: all rows
 * have the same calls, and class 0 has a before b; else class 0 has a and class 1 has b. The
 * n-grams are single calls, so that they know nothing of order. */
static void make_set(bool by_order)
{
    struct ms_rng rng;
    struct ms_buf scratch;
    ms_buf_init(&scratch, 1 << 20);
    ms_rng_init(&rng, 11, 12, by_order);
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t c[STEPS];
        labels[i] = i % 2;
        groups[i] = i;
        for (uint32_t k = 0; k < STEPS; k++)
            c[k] = k + 2;
        ms_rng_shuffle(&rng, c, STEPS);
        uint32_t first = (uint32_t)(ms_rng_unit(&rng) * (STEPS - 1));
        if (by_order) {
            for (uint32_t k = 0; k < STEPS; k++) /* 6 and 7 make room: all have 2 to 5 */
                c[k] = c[k] == 6 ? labels[i] : c[k] == 7 ? 1 - labels[i] : c[k];
            uint32_t at[2] = {0, 0};
            for (uint32_t k = 0; k < STEPS; k++)
                if (c[k] < 2)
                    at[c[k]] = k;
            if ((at[0] < at[1]) != (labels[i] == 0)) {
                c[at[0]] = 1;
                c[at[1]] = 0;
            }
        } else
            c[first] = labels[i];
        struct ms_row_count counts[STEPS];
        for (uint32_t k = 0; k < STEPS; k++)
            counts[k] = (struct ms_row_count){c[k], 1};
        const struct ms_row_numbers numbers = {.calls = c,
                                               .n = STEPS,
                                               .run_lengths = ones,
                                               .run_counts = ones,
                                               .counts = counts,
                                               .count_n = STEPS,
                                               .grams = c,
                                               .gram_n = STEPS};
        assert_int_equal(ms_row_pack(&rows[i].pack, &numbers, &scratch, &err), MS_OK);
        (void)snprintf(keys[i], sizeof keys[i], "key%04u", i);
        rows[i] = (struct ms_row){
            .key = keys[i], .label = labels[i], .pack = rows[i].pack, .sequence = {i, 7}};
    }
    ms_buf_release(&scratch);
    struct ms_names *symbols = set.symbols;
    set = (struct ms_dataset){.rows = rows,
                              .count = ROWS,
                              .classes = 2,
                              .binary = true,
                              .symbols = symbols,
                              .names = names,
                              .grams = table,
                              .gram_count = SYMBOLS,
                              .labels = labels,
                              .groups = groups,
                              .group_count = ROWS};
}

/* A small default without hashes, which would tell nets without recurrence of order. */
static void make_plan(uint32_t epochs, struct ms_plan *plan)
{
    ms_plan_default(plan);
    plan->fit.epochs = epochs;
    plan->fit.batch = 8;
    plan->fit.rate = .02;
    plan->fit.config.embedding = 8;
    plan->fit.config.spatial_dropout = plan->fit.config.pool_dropout = 0;
    plan->fit.token_dropout = 0;
    plan->fit.config.recurrent[0].hidden = 8;
    plan->inputs.bigram_buckets = plan->inputs.trigram_buckets = 0;
    plan->seeds = 1;
    plan->fit.seed = plan->split.seed = 5;
    plan->split.folds = 2;
}

static const struct ms_search_request REQUEST = {.candidates = {MS_PART_BIT(MS_PART_RECURRENT),
                                                                MS_PART_BIT(MS_PART_POOLED),
                                                                MS_PART_BIT(MS_PART_LINEAR)},
                                                 .count = 3,
                                                 .inner = 2};

static void order_is_seen_by_recurrence_alone(void **state)
{
    (void)state;
    struct ms_plan plan;
    struct ms_search s;
    make_set(true);
    make_plan(25, &plan);
    assert_int_equal(ms_search_run(&plan, &REQUEST, &set, &s, &err), MS_OK);
    assert_int_equal(s.judged_count, ROWS);
    assert_int_equal(s.fold_count, 2);
    for (uint32_t f = 0; f < 2; f++)
        assert_int_equal(s.folds[f].choice.chosen, 0);
    assert_int_equal(s.all.chosen, 0);
    assert_true(s.all.accuracy[0] > .85);
    assert_true(s.all.accuracy[1] < .7 && s.all.accuracy[2] < .7);
    assert_true(s.metrics[0].accuracy > .8);
    assert_true(s.metrics[1].accuracy < .7);
    assert_true(s.difference.accuracy.low > 0);
    ms_search_release(&s);
}

static void presence_is_enough_for_the_linear(void **state)
{
    (void)state;
    struct ms_plan plan;
    struct ms_search s;
    make_set(false);
    make_plan(1, &plan); /* too short for a net */
    assert_int_equal(ms_search_run(&plan, &REQUEST, &set, &s, &err), MS_OK);
    for (uint32_t f = 0; f < 2; f++)
        assert_int_equal(s.folds[f].choice.chosen, 2);
    assert_int_equal(s.all.chosen, 2);
    assert_true(s.metrics[0].accuracy > .95);
    ms_search_release(&s);
}

static void keep_split(const struct ms_search *s, char path[32])
{
    (void)snprintf(path, 32, "/tmp/search-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, s->partition.manifest, s->partition.manifest_bytes),
                     s->partition.manifest_bytes);
    (void)close(fd);
}

/* The labels of the rows that fold 0 judges are turned round: what is chosen for it, and by which
 * figures, must stay as it was to the last bit; for fold 1 they are rows to choose by. */
static void judged_rows_have_no_say(void **state)
{
    (void)state;
    struct ms_plan plan;
    struct ms_search s, turned;
    char path[32];
    make_set(false);
    make_plan(2, &plan);
    assert_int_equal(ms_search_run(&plan, &REQUEST, &set, &s, &err), MS_OK);
    keep_split(&s, path);
    for (uint32_t i = 0; i < ROWS; i++)
        if (ms_partition_judges(&s.partition, 0, 0, i))
            labels[i] = rows[i].label = 1 - labels[i];
    plan.split_file = path;
    assert_int_equal(ms_search_run(&plan, &REQUEST, &set, &turned, &err), MS_OK);
    (void)unlink(path);
    assert_memory_equal(&s.folds[0].choice, &turned.folds[0].choice, sizeof s.folds[0].choice);
    assert_memory_not_equal(&s.folds[1].choice, &turned.folds[1].choice, sizeof s.folds[1].choice);
    size_t n = s.folds[0].rows * set.classes;
    assert_memory_equal(s.scores[0], turned.scores[0], n * sizeof *s.scores[0]);
    assert_true(s.folds[0].accuracy[0] + turned.folds[0].accuracy[0] == 1);
    ms_search_release(&s);
    ms_search_release(&turned);
}

static void jobs_change_nothing(void **state)
{
    (void)state;
    struct ms_plan plan;
    struct ms_search one, three;
    make_set(true);
    make_plan(2, &plan);
    plan.seeds = 2;
    plan.split.repeats = 2;
    struct ms_search_request request = {.inner = 3};
    assert_int_equal(ms_parts_parse("gru-hybrid,pooled,linear", &request.candidates[0], &err),
                     MS_OK);
    assert_int_equal(ms_parts_parse("gru-hybrid", &request.candidates[1], &err), MS_OK);
    request.count = 2;
    assert_int_equal(ms_search_run(&plan, &request, &set, &one, &err), MS_OK);
    plan.fit.jobs = 3;
    assert_int_equal(ms_search_run(&plan, &request, &set, &three, &err), MS_OK);
    assert_int_equal(one.judged_count, 2 * ROWS);
    assert_memory_equal(one.scores[0], three.scores[0],
                        one.judged_count * set.classes * sizeof *one.scores[0]);
    assert_memory_equal(&one.all, &three.all, sizeof one.all);
    for (uint32_t f = 0; f < one.fold_count; f++)
        assert_memory_equal(&one.folds[f], &three.folds[f], sizeof one.folds[f]);
    ms_search_release(&one);
    ms_search_release(&three);
}

static struct ms_learner_rows halves(uint32_t at[ROWS])
{
    for (uint32_t i = 0; i < ROWS; i++)
        at[i] = i;
    return (struct ms_learner_rows){&set, at, at + ROWS / 2, ROWS / 2, ROWS / 2};
}

/* The mean of the parts, each with the same weight however many nets it has; and the file says the
 * same, presence and weights included. */
static void a_mixed_ensemble_is_the_mean_of_its_parts(void **state)
{
    (void)state;
    static double parts[3 * ROWS * 2], whole[ROWS * 2], said[2];
    static const char *const class_names[] = {"yes", "no"};
    struct ms_plan plan;
    uint32_t at[ROWS];
    make_set(false);
    make_plan(2, &plan);
    plan.seeds = 2;
    ms_plan_take_parts(&plan, MS_PART_BIT(MS_PART_HYBRID) | MS_PART_BIT(MS_PART_POOLED) |
                                  MS_PART_BIT(MS_PART_LINEAR));
    const struct ms_learner_rows half = halves(at);
    struct ms_model *model = NULL, *again = NULL;
    assert_int_equal(ms_learner_fit_parts(&plan, &half, 3, parts, &err), MS_OK);
    assert_int_equal(ms_learner_fit(&plan, MS_MODEL_ENSEMBLE, &half, 3, NULL, &model, whole, &err),
                     MS_OK);
    size_t all = ROWS / 2 * 2;
    for (size_t i = 0; i < all; i++)
        assert_true(fabs(whole[i] - (parts[i] + parts[all + i] + parts[2 * all + i]) / 3) < 1e-12);
    const struct ms_model_parts *p = ms_model_parts_get(model);
    assert_int_equal(p->member_count, 5);
    assert_true(p->members[4].presence && p->members[4].weight == 2);
    const struct ms_model_facts facts = {.target = "malware",
                                         .class_names = class_names,
                                         .classes = 2,
                                         .view = plan.view,
                                         .threshold = .5,
                                         .dataset_digest = "00",
                                         .split_digest = "00",
                                         .settings = "test"};
    struct ms_buf file;
    ms_buf_init(&file, MS_LIMIT_MODEL_BYTES);
    assert_int_equal(ms_model_encode(model, &facts, &file, &err), MS_OK);
    if (ms_model_decode(ms_span_of(file.data, file.len), 1, &again, &err) != MS_OK)
        fail_msg("%s", err.text);
    struct ms_input_recipe recipe;
    struct ms_input_maker *maker = NULL;
    struct ms_input_row row = {0};
    struct ms_row_numbers numbers = {0};
    const struct ms_gram_table table_of = {names, SYMBOLS, table, SYMBOLS};
    ms_model_recipe(again, &recipe);
    assert_int_equal(ms_input_maker_new(&recipe, &table_of, &maker, &err), MS_OK);
    for (uint32_t i = 0; i < ROWS / 2; i++) {
        struct ms_input_trace trace;
        assert_int_equal(ms_dataset_trace(&set, half.test[i], &numbers, &trace, &err), MS_OK);
        assert_int_equal(ms_input_row_make(maker, &trace, &row, &err), MS_OK);
        assert_int_equal(ms_model_scores(again, &row, 1, said, &err), MS_OK);
        assert_true(fabs(said[0] - whole[2 * i]) < 1e-6);
    }
    ms_input_row_release(&row);
    ms_row_numbers_release(&numbers);
    ms_input_maker_free(maker);
    ms_buf_release(&file);
    ms_model_free(model);
    ms_model_free(again);
}

static void parts_as_text(void **state)
{
    (void)state;
    uint32_t parts;
    char text[MS_PARTS_TEXT_BYTES];
    assert_int_equal(ms_parts_parse("linear,gru-hybrid+recurrent", &parts, &err), MS_OK);
    ms_parts_text(parts, text);
    assert_string_equal(text, "recurrent+gru-hybrid+linear");
    ms_parts_text(ms_parts_pooled(parts), text);
    assert_string_equal(text, "pooled+pooled-hybrid+linear");
    ms_parts_text((1u << MS_PARTS) - 1, text);
    assert_int_equal(ms_parts_parse(text, &parts, &err), MS_OK);
    assert_int_equal(parts, (1u << MS_PARTS) - 1);
    static const char *const wrong[] = {"",        "recurrent,", ",linear", "lstm", "linear+linear",
                                        "linear ", "Linear",     "+"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(ms_parts_parse(wrong[i], &parts, &err), MS_E_USAGE);
}

/* Ties go to the smaller loss, then to the first. */
static void ties(void **state)
{
    (void)state;
    struct ms_search_choice c = {.accuracy = {.5, .6, .6, .6}, .log_loss = {.1, .9, .8, .8}};
    ms_search_pick(&c, 4);
    assert_int_equal(c.chosen, 2);
    ms_search_pick(&c, 2);
    assert_int_equal(c.chosen, 1);
    struct ms_search_request request;
    ms_search_defaults(&request);
    assert_true(request.count >= 16 && request.count <= MS_SEARCH_CANDIDATES_MAX);
    for (uint32_t a = 0; a < request.count; a++)
        for (uint32_t b = 0; b < a; b++)
            assert_true(request.candidates[a] != request.candidates[b]);
}

static void too_little_is_refused(void **state)
{
    (void)state;
    struct ms_plan plan;
    struct ms_search_choice choice;
    static const uint32_t few[] = {0, 1, 2, 3};
    static const uint32_t together[ROWS] = {0, 0, 0, 0};
    make_set(false);
    make_plan(1, &plan);
    assert_int_equal(ms_search_choose(&plan, &REQUEST, &set, few, 4, together, 1, &choice, &err),
                     MS_E_INPUT);
    plan.seeds = MS_LIMIT_MODEL_MEMBERS;
    assert_int_equal(ms_search_choose(&plan, &REQUEST, &set, few, 4, groups, 1, &choice, &err),
                     MS_E_INPUT);
    assert_non_null(strstr(err.text, "members"));
}

/* The lines that searches' results are written into. */
static void default_can_be_trained(void **state)
{
    (void)state;
    struct ms_plan plan;
    ms_plan_default(&plan);
    for (int boosts = 0; boosts < 2; boosts++) {
        uint32_t parts = ms_plan_default_parts(boosts);
        assert_true(ms_parts_nets(parts) != 0);
        assert_true(boosts || !(parts & MS_PART_BIT(MS_PART_BOOSTED)));
        assert_in_range(plan.seeds * ms_parts_count(parts), 1, MS_LIMIT_MODEL_MEMBERS);
    }
    uint32_t parts = ms_plan_default_parts(ms_boost_is_built());
    assert_int_equal(ms_plan_parts(&plan), parts);
    assert_int_equal(plan.stands_in, parts != ms_plan_default_parts(true));
    assert_int_equal(plan.inputs.ngrams.max_n > 0, ms_parts_sparse(parts) != 0);
    assert_int_equal(plan.inputs.wide, ms_parts_wide(parts) != 0);
}

/* The sentence of `text` in what a run of an ensemble says that loses to a baseline; NULL: none. */
static const struct ms_sentence *said(const struct ms_plan *plan, const char *text)
{
    static struct ms_sentence list[MS_SENTENCES_MAX];
    static char yes[] = "yes", no[] = "no";
    static char *classes[] = {yes, no};
    const struct ms_dataset two = {.classes = 2, .class_names = classes, .binary = true};
    struct ms_experiment *e = calloc(1, sizeof *e);
    const struct ms_findings none = {0};
    struct ms_class_scores rates[2] = {{0}};
    assert_non_null(e);
    e->entry_count = 2;
    e->entries[0].metrics.by_class = rates;
    e->entries[1] = (struct ms_entry){
        .name = "linear",
        .kind = MS_MODEL_LINEAR,
        .comparison.accuracy = {.difference = -.2, .low = -.3, .high = -.1},
    };
    const struct ms_outcome outcome = {
        .plan = plan, .set = &two, .experiment = e, .findings = &none};
    size_t n = ms_outcome_sentences(&outcome, list), at = 0;
    free(e);
    while (at < n && !strstr(list[at].text, text))
        at++;
    return at < n ? &list[at] : NULL;
}

/* A default without trees is another model, and the run says so. */
static void what_stands_in_for_the_default_is_named(void **state)
{
    (void)state;
    struct ms_plan plan;
    ms_plan_default(&plan);
    ms_plan_take_parts(&plan, MS_PART_BIT(MS_PART_HYBRID) | MS_PART_BIT(MS_PART_LINEAR));
    plan.stands_in = false;
    const struct ms_sentence *s = said(&plan, "the mean of hybrid+linear.");
    assert_true(s && !s->warning);
    const struct ms_sentence *loss = said(&plan, "LOSES to the baseline linear");
    assert_true(loss && loss->warning && loss < s); /* what matters more comes first */
    plan.stands_in = true;
    s = said(&plan,
             "the mean of hybrid+linear, which STANDS IN for the default, " MS_DEFAULT_PARTS);
    assert_true(s && s->warning);
    plan.kind = MS_MODEL_LSTM;
    assert_null(said(&plan, "the mean of"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stands_in_for_the_default_is_named),
        cmocka_unit_test(parts_as_text),
        cmocka_unit_test(ties),
        cmocka_unit_test(order_is_seen_by_recurrence_alone),
        cmocka_unit_test(presence_is_enough_for_the_linear),
        cmocka_unit_test(judged_rows_have_no_say),
        cmocka_unit_test(jobs_change_nothing),
        cmocka_unit_test(a_mixed_ensemble_is_the_mean_of_its_parts),
        cmocka_unit_test(too_little_is_refused),
        cmocka_unit_test(default_can_be_trained),
    };
    return cmocka_run_group_tests(tests, make_names, free_names);
}
