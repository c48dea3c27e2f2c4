/* Rows for models: tokens, features and sparse vectors worked out by hand. */
#include "base/limits.h"
#include "train/model_inputs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/gram_rows.h"
#define NONE MS_GRAM_NONE

static struct ms_span text_of(const char *text)
{
    return ms_span_of(text, strlen(text));
}

static bool same(const struct ms_input_options *a, const struct ms_input_options *b)
{
    return a->run_length == b->run_length && a->run_count == b->run_count &&
           a->bigram_buckets == b->bigram_buckets && a->trigram_buckets == b->trigram_buckets &&
           a->wide == b->wide && a->ngrams.max_n == b->ngrams.max_n &&
           a->ngrams.min_df == b->ngrams.min_df && a->ngrams.max_size == b->ngrams.max_size &&
           a->ngrams.idf == b->ngrams.idf && a->ngrams.l2 == b->ngrams.l2;
}

static void options_text(void **state)
{
    (void)state;
    struct ms_error err = {0};
    struct ms_input_options back;
    char text[MS_INPUT_TEXT_BYTES];
    const struct ms_input_options full = {true, false, 4096,
                                          8192, true,  {3, 2, 50000, true, false}};
    ms_input_options_text(&full, text);
    assert_string_equal(text, "inputs-1 run-length=yes run-count=no bigrams=4096 trigrams=8192 "
                              "wide=yes ngrams=3 min-df=2 size=50000 idf=yes l2=no");
    assert_int_equal(ms_input_options_parse(text, &back, &err), MS_OK);
    assert_true(same(&back, &full));
    const struct ms_input_options none = {0};
    ms_input_options_text(&none, text);
    assert_string_equal(
        text, "inputs-1 run-length=no run-count=no bigrams=0 trigrams=0 wide=no ngrams=0");
    assert_int_equal(ms_input_options_parse(text, &back, &err), MS_OK);
    assert_true(same(&back, &none));
    const struct ms_input_options most = {true,     true, 1U << 20,
                                          1U << 20, true, {3, UINT32_MAX, 1U << 20, true, true}};
    ms_input_options_text(&most, text);
    assert_int_equal(ms_input_options_parse(text, &back, &err), MS_OK);
    assert_true(same(&back, &most));
}

static void hostile_text(void **state)
{
    (void)state;
#define HEAD "inputs-1 run-length=no run-count=no "
    static const char *const bad[] = {
        "",
        "inputs-1",
        "inputs-2 run-length=no run-count=no bigrams=0 trigrams=0 wide=no ngrams=0",
        " " HEAD "bigrams=0 trigrams=0 wide=no ngrams=0",
        HEAD "bigrams=0 trigrams=0 wide=no ngrams=0 ",
        HEAD "bigrams=0 trigrams=0 wide=no ngrams=0 more",
        HEAD "bigrams=0 trigrams=0 wide=no ngrams=0 min-df=1 size=1 idf=no l2=no",
        HEAD "bigrams=0  trigrams=0 wide=no ngrams=0",
        HEAD "bigrams=00 trigrams=0 wide=no ngrams=0",
        HEAD "bigrams=-1 trigrams=0 wide=no ngrams=0",
        HEAD "bigrams=+1 trigrams=0 wide=no ngrams=0",
        HEAD "bigrams=0x1 trigrams=0 wide=no ngrams=0",
        HEAD "bigrams= trigrams=0 wide=no ngrams=0",
        HEAD "bigrams=1048577 trigrams=0 wide=no ngrams=0",
        HEAD "bigrams=0 trigrams=1048577 wide=no ngrams=0",
        HEAD "bigrams=4294967296 trigrams=0 wide=no ngrams=0",
        HEAD "bigrams=99999999999999999999 trigrams=0 wide=no ngrams=0",
        HEAD "bigrams=0 trigrams=0 wide=maybe ngrams=0",
        HEAD "bigrams=0 trigrams=0 wide=yes ngrams=0",
        HEAD "bigrams=0 trigrams=0 wide=no ngrams=3",
        HEAD "bigrams=0 trigrams=0 wide=no ngrams=4 min-df=1 size=1 idf=no l2=no",
        HEAD "bigrams=0 trigrams=0 wide=no ngrams=3 min-df=0 size=1 idf=no l2=no",
        HEAD "bigrams=0 trigrams=0 wide=no ngrams=3 min-df=1 size=0 idf=no l2=no",
        HEAD "bigrams=0 trigrams=0 wide=no ngrams=3 min-df=1 size=1048577 idf=no l2=no",
        HEAD "trigrams=0 bigrams=0 wide=no ngrams=0",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ms_error err = {0};
        struct ms_input_options out = {.bigram_buckets = 77};
        if (ms_input_options_parse(bad[i], &out, &err) != MS_E_INPUT || out.bigram_buckets != 77)
            fail_msg("taken: '%s'", bad[i]);
    }
#undef HEAD
}

static void tables(void **state)
{
    (void)state;
    uint32_t sizes[MS_LIMIT_NET_FEATURES] = {0};
    struct ms_input_options o = {true, true, 4096, 512, false, {0}};
    assert_int_equal(ms_input_options_tables(&o, sizes), 4);
    assert_true(sizes[0] == 16 && sizes[1] == 16 && sizes[2] == 4096 && sizes[3] == 512);
    o.run_length = false;
    o.bigram_buckets = 0;
    assert_int_equal(ms_input_options_tables(&o, sizes), 2);
    assert_true(sizes[0] == 16 && sizes[1] == 512);
    assert_true(ms_input_options_runs(&o));
    assert_false(ms_input_options_grams(&o));
    o = (struct ms_input_options){.ngrams = {1, 1, 1, false, false}};
    assert_int_equal(ms_input_options_tables(&o, sizes), 0);
    assert_false(ms_input_options_runs(&o));
    assert_true(ms_input_options_grams(&o));
}

/* Worked out with a program of other words; model files depend on them. */
static void hashes(void **state)
{
    (void)state;
    static const int32_t a[] = {2, 3}, b[] = {3, 2}, c[] = {2, 3, 4}, d[] = {1000000, 5, 0};
    assert_int_equal(ms_input_hash(a, 2, 1024), 632);
    assert_int_equal(ms_input_hash(b, 2, 1024), 718);
    assert_int_equal(ms_input_hash(c, 3, 4096), 2172);
    assert_int_equal(ms_input_hash(d, 3, 1 << 20), 741656);
    assert_int_equal(ms_input_hash(c, 3, 1), 0);
}

/* Names by symbol: open, close, "read_a", odd. The vocabulary knows the first three as 3, 2, 4 or,
 * by Keras's rules, open 2, close 1, read 3, a 4. */
enum { OPEN, CLOSE, READ, ODD, SYMBOLS };
static struct ms_span names[SYMBOLS];
static const struct ms_gram GRAMS[] = {{{OPEN, NONE, NONE}},
                                       {{OPEN, CLOSE, NONE}},
                                       {{ODD, NONE, NONE}},
                                       {{OPEN, CLOSE, OPEN}},
                                       {{CLOSE, NONE, NONE}}};
static struct ms_gram_table table;

static struct ms_vocabulary *vocabulary(enum ms_vocabulary_text text, bool unknown)
{
    struct ms_vocabulary *v = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_vocabulary_new(text, unknown, &v, &err), MS_OK);
    assert_int_equal(ms_vocabulary_count(v, names[CLOSE], 9, &err), MS_OK);
    assert_int_equal(ms_vocabulary_count(v, names[OPEN], 5, &err), MS_OK);
    assert_int_equal(ms_vocabulary_count(v, names[READ], 2, &err), MS_OK);
    assert_int_equal(ms_vocabulary_finish(v, 0, &err), MS_OK);
    return v;
}

static int set_up(void **state)
{
    (void)state;
    names[OPEN] = text_of("open");
    names[CLOSE] = text_of("close");
    names[READ] = text_of("read_a");
    names[ODD] = text_of("odd");
    table = (struct ms_gram_table){names, SYMBOLS, GRAMS, 5};
    return 0;
}

static const uint32_t CALLS[] = {OPEN, CLOSE, ODD, READ, CLOSE},
                      LENGTHS[] = {1, 2, 7, 65536, UINT32_MAX}, COUNTS[] = {3, 4, 1, 0, 32767};

static void make(const struct ms_input_recipe *recipe, const struct ms_input_trace *trace,
                 struct ms_input_row *row)
{
    struct ms_input_maker *maker = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_input_maker_new(recipe, &table, &maker, &err), MS_OK);
    /* Twice: nothing may be left of the first time. */
    for (int i = 0; i < 2; i++)
        assert_int_equal(ms_input_row_make(maker, trace, row, &err), MS_OK);
    ms_input_maker_free(maker);
}

static void expect_numbers(const int32_t *got, size_t n, const int32_t *want, size_t want_n)
{
    assert_int_equal(n, want_n);
    assert_memory_equal(got, want, n * sizeof *want);
}

static int32_t pair(int32_t a, int32_t b, uint32_t buckets)
{
    const int32_t both[] = {a, b};
    return (int32_t)ms_input_hash(both, 2, buckets);
}

static void features(void **state)
{
    (void)state;
    struct ms_vocabulary *v = vocabulary(MS_VOCABULARY_NAME, true);
    const struct ms_input_trace trace = {CALLS, 5, LENGTHS, COUNTS, {NULL, 0}};
    struct ms_input_recipe recipe = {v, NULL, {true, true, 16, 32, false, {0}}, MS_CUT_HEAD, 100};
    struct ms_input_row row = {0};
    make(&recipe, &trace, &row);
    static const int32_t tokens[] = {3, 2, 1, 4, 2};
    expect_numbers(row.tokens, row.n, tokens, 5);
    assert_int_equal(row.known, 4);
    assert_int_equal(row.count, 0);
    static const int32_t three[] = {3, 2, 1}, next[] = {2, 1, 4}, last[] = {1, 4, 2};
    const int32_t want[] = {
        0,
        1,
        -1,
        -1,
        1,
        2,
        pair(3, 2, 16),
        -1,
        2,
        0,
        pair(2, 1, 16),
        (int32_t)ms_input_hash(three, 3, 32),
        15,
        0,
        pair(1, 4, 16),
        (int32_t)ms_input_hash(next, 3, 32),
        15,
        14,
        pair(4, 2, 16),
        (int32_t)ms_input_hash(last, 3, 32),
    };
    expect_numbers(row.features, 20, want, 20);
    /* Only some tables, in the same order. */
    recipe.options = (struct ms_input_options){.run_count = true, .trigram_buckets = 32};
    make(&recipe, &trace, &row);
    const int32_t fewer[] = {1, -1, 2, -1, 0, want[11], 0, want[15], 14, want[19]};
    expect_numbers(row.features, 10, fewer, 10);
    /* None. */
    recipe.options = (struct ms_input_options){0};
    make(&recipe, &trace, &row);
    expect_numbers(row.tokens, row.n, tokens, 5);
    ms_input_row_release(&row);
    ms_vocabulary_free(v);
}

static void too_long(void **state)
{
    (void)state;
    struct ms_vocabulary *v = vocabulary(MS_VOCABULARY_NAME, true);
    const struct ms_input_trace trace = {CALLS, 5, LENGTHS, COUNTS, {NULL, 0}};
    struct ms_input_recipe recipe = {
        v, NULL, {.run_length = true, .bigram_buckets = 16}, MS_CUT_HEAD, 3};
    struct ms_input_row row = {0};
    make(&recipe, &trace, &row);
    static const int32_t head[] = {3, 2, 1}, tail[] = {1, 4, 2};
    expect_numbers(row.tokens, row.n, head, 3);
    const int32_t at_head[] = {0, -1, 1, pair(3, 2, 16), 2, pair(2, 1, 16)};
    expect_numbers(row.features, 6, at_head, 6);
    recipe.cut = MS_CUT_TAIL;
    make(&recipe, &trace, &row);
    expect_numbers(row.tokens, row.n, tail, 3);
    /* The first that is left has nothing before it. */
    const int32_t at_tail[] = {2, -1, 15, pair(1, 4, 16), 15, pair(4, 2, 16)};
    expect_numbers(row.features, 6, at_tail, 6);
    recipe.steps = 0;
    make(&recipe, &trace, &row);
    assert_int_equal(row.n, 0);
    ms_input_row_release(&row);
    ms_vocabulary_free(v);
}

static void names_of_several_tokens(void **state)
{
    (void)state;
    struct ms_vocabulary *v = vocabulary(MS_VOCABULARY_KERAS, false);
    const struct ms_input_trace trace = {CALLS, 5, LENGTHS, COUNTS, {NULL, 0}};
    struct ms_input_recipe recipe = {v, NULL, {.run_length = true}, MS_CUT_HEAD, 100};
    struct ms_input_row row = {0};
    make(&recipe, &trace, &row);
    static const int32_t tokens[] = {2, 1, 3, 4, 1}, lengths[] = {0, 1, 15, 15, 15};
    expect_numbers(row.tokens, row.n, tokens, 5); /* odd has none */
    expect_numbers(row.features, 5, lengths, 5);
    assert_int_equal(row.known, 5);
    recipe.cut = MS_CUT_TAIL; /* in the middle of a name */
    recipe.steps = 2;
    make(&recipe, &trace, &row);
    expect_numbers(row.tokens, row.n, tokens + 3, 2);
    ms_input_row_release(&row);
    ms_vocabulary_free(v);
}

static void rehash(void **state)
{
    (void)state;
    const struct ms_input_options o = {.run_length = true, .bigram_buckets = 16};
    static const int32_t tokens[] = {3, 5, 2};
    int32_t f[] = {9, 0, 8, 0, 7, 0};
    ms_input_rehash(&o, tokens, 3, f);
    const int32_t want[] = {9, -1, 8, 5, 7, 7}; /* of (3, 5) and (5, 2), worked out elsewhere */
    assert_memory_equal(f, want, sizeof want);
}

static struct ms_ngrams *ngrams(bool idf, bool l2)
{
    static const uint32_t r0[] = {0, 1, 3, 4}, r1[] = {0, 4}, r2[] = {0};
    const struct ms_gram_row rows[] = {{r0, 4}, {r1, 2}, {r2, 1}};
    const struct ms_ngram_options options = {3, 1, 100, idf, l2};
    struct ms_ngrams *n = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_ngrams_build(&options, &table, gram_rows_count(rows, 3), 3, &n, &err),
                     MS_OK);
    assert_int_equal(ms_ngrams_size(n), 4); /* open, close, open > close, open > close > open */
    return n;
}

static void expect_sparse(const struct ms_input_row *row, const uint32_t *ids, const double *values,
                          uint32_t count)
{
    assert_int_equal(row->count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(row->ids[i], ids[i]);
        assert_true(fabs((double)row->values[i] - values[i]) < 1e-6);
    }
}

static void sparse(void **state)
{
    (void)state;
    /* open > close > open, nothing known, open, open again */
    static const uint32_t grams[] = {3, 2, 0, 0}, ids[] = {0, 3};
    const struct ms_input_trace trace = {CALLS, 5, NULL, NULL, {grams, 4}};
    struct ms_input_recipe recipe = {NULL, NULL, {.ngrams = {3, 1, 100, false, false}}, 0, 100};
    struct ms_input_row row = {0};
    struct ms_ngrams *n = ngrams(false, false);
    recipe.ngrams = n;
    make(&recipe, &trace, &row);
    assert_int_equal(row.n, 0);
    expect_sparse(&row, ids, (double[]){1, 1}, 2);
    ms_ngrams_free(n);
    /* idf of open: ln(4 / 4) + 1; of the trigram: ln(4 / 2) + 1 */
    recipe.ngrams = n = ngrams(true, false);
    make(&recipe, &trace, &row);
    expect_sparse(&row, ids, (double[]){1, 1.6931471806}, 2);
    ms_ngrams_free(n);
    /* … over sqrt(1 + 1.6931^2) */
    recipe.ngrams = n = ngrams(true, true);
    make(&recipe, &trace, &row);
    expect_sparse(&row, ids, (double[]){0.5085423, 0.8610369}, 2);
    /* The whole list of the table. */
    const struct ms_input_trace whole = {CALLS, 5, NULL, NULL, {NULL, 5}};
    make(&recipe, &whole, &row);
    assert_int_equal(row.count, 4);
    /* None that is known: no division by zero. */
    const struct ms_input_trace none = {CALLS, 5, NULL, NULL, {grams + 1, 1}};
    make(&recipe, &none, &row);
    assert_int_equal(row.count, 0);
    ms_ngrams_free(n);
    ms_input_row_release(&row);
}

/* What a table has not is a fault of the program, and nothing is read behind its end. */
static void outside(void **state)
{
    (void)state;
    struct ms_vocabulary *v = vocabulary(MS_VOCABULARY_NAME, true);
    struct ms_ngrams *n = ngrams(false, false);
    const struct ms_input_recipe recipe = {
        v, n, {.ngrams = {3, 1, 100, false, false}}, MS_CUT_HEAD, 100};
    struct ms_input_maker *maker = NULL;
    struct ms_input_row row = {0};
    struct ms_error err = {0};
    static const uint32_t call = SYMBOLS, gram = 5;
    const struct ms_input_trace calls = {&call, 1, NULL, NULL, {NULL, 0}},
                                grams = {CALLS, 5, NULL, NULL, {&gram, 1}},
                                many = {CALLS, 5, NULL, NULL, {NULL, 6}};
    assert_int_equal(ms_input_maker_new(&recipe, &table, &maker, &err), MS_OK);
    assert_int_equal(ms_input_row_make(maker, &calls, &row, &err), MS_E_BUG);
    assert_int_equal(ms_input_row_make(maker, &grams, &row, &err), MS_E_BUG);
    assert_int_equal(ms_input_row_make(maker, &many, &row, &err), MS_E_BUG);
    ms_input_maker_free(maker);
    ms_input_row_release(&row);
    ms_ngrams_free(n);
    ms_vocabulary_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_text), cmocka_unit_test(hostile_text),
        cmocka_unit_test(tables),       cmocka_unit_test(hashes),
        cmocka_unit_test(features),     cmocka_unit_test(too_long),
        cmocka_unit_test(rehash),       cmocka_unit_test(names_of_several_tokens),
        cmocka_unit_test(sparse),       cmocka_unit_test(outside),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
