/* Every allocation between a trace's calls and a model's input fails once: each failure is reported
 * as one, nothing is leaked, and what was made before still works. The allocator is replaced, so
 * not under ASan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/failing_allocator.h"
#include "tests/unit/gram_rows.h"
#include "train/dataset_grams.h"
#include "train/model_inputs.h"

enum { SYMBOLS = 40, CALLS = 6000 };
static struct ms_span names[SYMBOLS];
static char letters[SYMBOLS][2];

/* What is made on the way. */
struct chain {
    struct ms_gram_set *set;
    struct ms_gram_index *index;
    uint32_t *ids;
    struct ms_gram *grams;
    struct ms_ngrams *built, *loaded;
    struct ms_span *file_names;
    struct ms_vocabulary *vocabulary;
    struct ms_input_maker *maker;
    struct ms_input_row row;
};

static void release(struct chain *c)
{
    ms_gram_set_free(c->set);
    ms_gram_index_free(c->index);
    free(c->ids);
    free(c->grams);
    ms_ngrams_free(c->built);
    ms_ngrams_free(c->loaded);
    free(c->file_names);
    ms_vocabulary_free(c->vocabulary);
    ms_input_maker_free(c->maker);
    ms_input_row_release(&c->row);
    *c = (struct chain){0};
}

static enum ms_status gather(struct chain *c, struct ms_error *err)
{
    enum ms_status status = ms_gram_set_new(&c->set, err);
    uint64_t x = 1;
    for (int i = 0; i < CALLS && status == MS_OK; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        status = ms_gram_set_add(c->set, (uint32_t)(x >> 40) % SYMBOLS, err);
    }
    if (status == MS_OK)
        status = ms_gram_index_new(&c->index, err);
    if (status != MS_OK)
        return status;
    size_t n = ms_gram_set_count(c->set);
    c->ids = calloc(n, sizeof *c->ids);
    c->grams = calloc(n, sizeof *c->grams);
    if (!c->ids || !c->grams)
        return ms_error_set(err, MS_E_NOMEM, "the test's own");
    return ms_gram_index_add(c->index, c->set, c->ids, err);
}

static enum ms_status number(struct chain *c, const struct ms_gram_table *table,
                             struct ms_error *err)
{
    const struct ms_gram_row rows[] = {{c->ids, table->gram_count}, {c->ids, 5}};
    const struct ms_ngram_options options = {3, 1, 3000, true, true};
    enum ms_status status =
        ms_ngrams_build(&options, table, gram_rows_count(rows, 2), 2, &c->built, err);
    if (status != MS_OK)
        return status;
    uint32_t count = ms_ngrams_name_count(c->built);
    c->file_names = calloc(count, sizeof *c->file_names);
    if (!c->file_names)
        return ms_error_set(err, MS_E_NOMEM, "the test's own");
    for (uint32_t i = 0; i < count; i++)
        c->file_names[i] = ms_ngrams_name(c->built, i);
    const struct ms_ngrams_file file = {options,
                                        c->file_names,
                                        count,
                                        ms_ngrams_places(c->built),
                                        ms_ngrams_weights(c->built),
                                        ms_ngrams_size(c->built)};
    return ms_ngrams_load(&file, &c->loaded, err);
}

static enum ms_status learn_names(struct chain *c, struct ms_error *err)
{
    enum ms_status status = ms_vocabulary_new(MS_VOCABULARY_NAME, true, &c->vocabulary, err);
    for (int i = 0; i < SYMBOLS && status == MS_OK; i++)
        status = ms_vocabulary_count(c->vocabulary, names[i], (uint64_t)i + 1, err);
    return status == MS_OK ? ms_vocabulary_finish(c->vocabulary, 0, err) : status;
}

static enum ms_status run(struct chain *c, struct ms_error *err)
{
    static const uint32_t calls[] = {0, 5, 7, 5}, runs[] = {1, 1, 1, 1};
    enum ms_status status = gather(c, err);
    if (status != MS_OK)
        return status;
    uint32_t n = ms_gram_index_count(c->index);
    for (uint32_t i = 0; i < n; i++)
        c->grams[i] = ms_gram_index_get(c->index, i);
    const struct ms_gram_table table = {names, SYMBOLS, c->grams, n};
    status = number(c, &table, err);
    if (status == MS_OK)
        status = learn_names(c, err);
    const struct ms_input_recipe recipe = {
        c->vocabulary, c->loaded, {true, true, 8, 8, true, {3, 1, 3000, true, true}}, 0, 100};
    if (status == MS_OK)
        status = ms_input_maker_new(&recipe, &table, &c->maker, err);
    const struct ms_input_trace trace = {calls, 4, runs, runs, {c->ids, n}};
    return status == MS_OK ? ms_input_row_make(c->maker, &trace, &c->row, err) : status;
}

static void each_allocation(void **state)
{
    (void)state;
    if (!REPLACED)
        skip();
    struct ms_error err;
    struct chain c = {0};
    long steps = 0, without = 0;
    for (;; steps++) {
        const long before = atomic_load(&live);
        atomic_store(&failed, 0);
        atomic_store(&countdown, steps);
        enum ms_status status = run(&c, &err);
        atomic_store(&countdown, -1);
        const bool hit = atomic_load(&failed) > 0;
        /* qsort does without its buffer: then all is as it should be. */
        without += hit && status == MS_OK;
        if (status == MS_OK) {
            assert_int_equal(c.row.n, 4);
            assert_true(c.row.count > 1000);
        } else if (!hit || status != MS_E_NOMEM) {
            fail_msg("step %ld: status %d", steps, (int)status);
        }
        release(&c);
        assert_int_equal(atomic_load(&live), before);
        if (!hit)
            break;
    }
    assert_true(steps > 40);
    assert_true(without <= 2);
}

/* A set that could not grow goes on when it can. */
static void a_set_goes_on(void **state)
{
    (void)state;
    if (!REPLACED)
        skip();
    struct ms_gram_set *set = NULL, *other = NULL;
    struct ms_error err;
    long faults = 0;
    assert_int_equal(ms_gram_set_new(&set, &err), MS_OK);
    assert_int_equal(ms_gram_set_new(&other, &err), MS_OK);
    for (uint32_t i = 0; i < 5000; i++) {
        ms_gram_set_break(set);
        ms_gram_set_break(other);
        atomic_store(&countdown, 0); /* the next one fails, if there is one */
        enum ms_status status = ms_gram_set_add(set, i, &err);
        atomic_store(&countdown, -1);
        if (status != MS_OK) {
            faults++;
            ms_gram_set_break(set);
            assert_int_equal(ms_gram_set_add(set, i, &err), MS_OK);
        }
        assert_int_equal(ms_gram_set_add(other, i, &err), MS_OK);
        assert_int_equal(ms_gram_set_count(set), i + 1);
    }
    assert_true(faults > 5);
    for (uint32_t i = 0; i < 5000; i++) {
        struct ms_gram a = ms_gram_set_get(set, i), b = ms_gram_set_get(other, i);
        assert_memory_equal(&a, &b, sizeof a);
    }
    ms_gram_set_free(set);
    ms_gram_set_free(other);
}

int main(void)
{
    for (int i = 0; i < SYMBOLS; i++) {
        (void)snprintf(letters[i], sizeof letters[i], "%c", '0' + i);
        names[i] = ms_span_of(letters[i], 1);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation),
        cmocka_unit_test(a_set_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
