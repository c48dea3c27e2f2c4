/* The vocabulary of n-grams: numbers and weights worked out by hand, and hostile files. */
#include "base/limits.h"
#include "train/ngrams.h"

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

/* Names c, a, b by symbol 0, 1, 2, so that the order of symbols is not that of the texts. Rows:
 *   0: a b ab        1: a b ab ba aba        2: b c bc        3: a
 * df: a 3, b 3, ab 2, ba 1, aba 1, c 1, bc 1. */
enum { A = 1, B = 2, C = 0 };
static const struct ms_gram GRAMS[] = {
    {{A, B, A}},    {{A, NONE, NONE}}, {{B, NONE, NONE}}, {{A, B, NONE}},
    {{B, A, NONE}}, {{C, NONE, NONE}}, {{B, C, NONE}},
};
static const uint32_t ROW0[] = {1, 2, 3}, ROW1[] = {1, 2, 3, 4, 0}, ROW2[] = {2, 5, 6},
                      ROW3[] = {1};
static const struct ms_gram_row ROWS[] = {{ROW0, 3}, {ROW1, 5}, {ROW2, 3}, {ROW3, 1}};

static struct ms_ngrams *build(struct ms_ngram_options options)
{
    const struct ms_span names[] = {text_of("c"), text_of("a"), text_of("b")};
    const struct ms_gram_table table = {names, 3, GRAMS, 7};
    struct ms_ngrams *ngrams = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_ngrams_build(&options, &table, gram_rows_count(ROWS, 4), 4, &ngrams, &err),
                     MS_OK);
    return ngrams;
}

static void expect(struct ms_ngrams *ngrams, const char *want)
{
    char all[512] = "", one[64];
    for (uint32_t i = 0; i < ms_ngrams_size(ngrams); i++) {
        ms_ngrams_text(ngrams, i, one, sizeof one);
        (void)strcat(strcat(all, i ? ", " : ""), one);
    }
    assert_string_equal(all, want);
    ms_ngrams_free(ngrams);
}

static void numbers(void **state)
{
    (void)state;
    expect(build((struct ms_ngram_options){3, 1, 100, false, false}),
           "a, b, a > b, c, b > a, b > c, a > b > a");
    expect(build((struct ms_ngram_options){3, 2, 100, false, false}), "a, b, a > b");
    expect(build((struct ms_ngram_options){1, 1, 100, false, false}), "a, b, c");
    expect(build((struct ms_ngram_options){2, 1, 5, false, false}), "a, b, a > b, c, b > a");
    expect(build((struct ms_ngram_options){3, 4, 100, false, false}), "");
    expect(build((struct ms_ngram_options){.max_n = 0}), "");
}

static void weights(void **state)
{
    (void)state;
    struct ms_ngrams *n = build((struct ms_ngram_options){3, 1, 100, true, false});
    /* ln(5 / 4) + 1, ln(5 / 3) + 1, ln(5 / 2) + 1 */
    static const double want[] = {1.2231435513, 1.2231435513, 1.5108256238, 1.9162907319,
                                  1.9162907319, 1.9162907319, 1.9162907319};
    assert_int_equal(ms_ngrams_size(n), 7);
    for (size_t i = 0; i < 7; i++)
        assert_true(fabs((double)ms_ngrams_weights(n)[i] - want[i]) < 1e-6);
    ms_ngrams_free(n);
    n = build((struct ms_ngram_options){3, 1, 100, false, false});
    for (size_t i = 0; i < 7; i++)
        assert_true(ms_ngrams_weights(n)[i] == 1.0F);
    ms_ngrams_free(n);
}

/* Other symbols for the same texts, and the rows in another order, with what no row has. */
static void any_order(void **state)
{
    (void)state;
    const struct ms_span names[] = {text_of("a"), text_of("b"), text_of("c"), text_of("d")};
    static const struct ms_gram grams[] = {
        {{1, 2, NONE}},    {{2, NONE, NONE}}, {{1, NONE, NONE}}, {{0, 1, 0}},
        {{3, NONE, NONE}}, {{1, 0, NONE}},    {{0, 1, NONE}},    {{0, NONE, NONE}},
    };
    static const uint32_t r0[] = {7}, r1[] = {0, 1, 2}, r2[] = {3, 5, 6, 2, 7}, r3[] = {6, 7, 2};
    const struct ms_gram_row rows[] = {{r0, 1}, {r1, 3}, {r2, 5}, {r3, 3}};
    const struct ms_gram_table table = {names, 4, grams, 8};
    const struct ms_ngram_options options = {3, 1, 100, true, true};
    struct ms_ngrams *other = NULL, *first = build(options);
    struct ms_error err = {0};
    assert_int_equal(ms_ngrams_build(&options, &table, gram_rows_count(rows, 4), 4, &other, &err),
                     MS_OK);
    assert_int_equal(ms_ngrams_size(first), ms_ngrams_size(other));
    assert_int_equal(ms_ngrams_name_count(first), ms_ngrams_name_count(other));
    assert_memory_equal(ms_ngrams_places(first), ms_ngrams_places(other), 7 * 3 * sizeof(int32_t));
    assert_memory_equal(ms_ngrams_weights(first), ms_ngrams_weights(other), 7 * sizeof(float));
    ms_ngrams_free(first);
    expect(other, "a, b, a > b, c, b > a, b > c, a > b > a");
}

static void mapping(void **state)
{
    (void)state;
    struct ms_ngrams *n = build((struct ms_ngram_options){3, 2, 100, false, false}); /* a, b, ab */
    const struct ms_span names[] = {text_of("x"), text_of("b"), text_of("a"), text_of("c")};
    static const struct ms_gram grams[] = {{{2, 1, NONE}},    {{1, 2, NONE}},    {{0, NONE, NONE}},
                                           {{1, NONE, NONE}}, {{2, NONE, NONE}}, {{2, 1, 2}},
                                           {{2, 0, NONE}},    {{3, NONE, NONE}}};
    const struct ms_gram_table table = {names, 4, grams, 8};
    static const uint32_t want[] = {2, NONE, NONE, 1, 0, NONE, NONE, NONE};
    uint32_t ids[8];
    struct ms_error err = {0};
    assert_int_equal(ms_ngrams_map(n, &table, ids, &err), MS_OK);
    assert_memory_equal(ids, want, sizeof want);
    ms_ngrams_free(n);
}

/* ---- files ---- */

struct made {
    struct ms_ngrams_file file;
    struct ms_span names[4];
    int32_t places[4 * MS_GRAM_MOST];
    float weights[4];
};

static struct made make_file(void)
{
    return (struct made){.file = {.options = {3, 2, 4, true, false}, .name_count = 2, .size = 3},
                         .names = {text_of("a"), text_of("b")},
                         .places = {0, -1, -1, 1, -1, -1, 0, 1, 0},
                         .weights = {1, 1.5F, 2}};
}

static enum ms_status load(struct made *made, struct ms_ngrams **out)
{
    struct ms_error err = {0};
    made->file.names = made->names;
    made->file.places = made->places;
    made->file.weights = made->weights;
    enum ms_status status = ms_ngrams_load(&made->file, out, &err);
    if (status != MS_OK)
        assert_true(err.text[0] != '\0');
    return status;
}

static void round_trip(void **state)
{
    (void)state;
    struct ms_ngrams *first = build((struct ms_ngram_options){3, 1, 100, true, true}),
                     *again = NULL;
    struct ms_span names[3];
    struct ms_error err = {0};
    assert_int_equal(ms_ngrams_name_count(first), 3);
    for (uint32_t i = 0; i < 3; i++)
        names[i] = ms_ngrams_name(first, i);
    const struct ms_ngrams_file file = {
        *ms_ngrams_options(first), names, 3, ms_ngrams_places(first), ms_ngrams_weights(first),
        ms_ngrams_size(first)};
    assert_int_equal(ms_ngrams_load(&file, &again, &err), MS_OK);
    const struct ms_ngram_options *o = ms_ngrams_options(again);
    assert_true(o->max_n == 3 && o->min_df == 1 && o->max_size == 100 && o->idf && o->l2);
    assert_memory_equal(ms_ngrams_weights(first), ms_ngrams_weights(again), 7 * sizeof(float));
    ms_ngrams_free(first);
    expect(again, "a, b, a > b, c, b > a, b > c, a > b > a");

    struct made made = make_file();
    assert_int_equal(load(&made, &again), MS_OK);
    expect(again, "a, b, a > b > a");
    made = make_file();
    made.file.name_count = made.file.size = 0;
    assert_int_equal(load(&made, &again), MS_OK);
    expect(again, "");
}

#define REFUSED(change)                                \
    do {                                               \
        struct made m = make_file();                   \
        struct ms_ngrams *none = NULL;                 \
        change;                                        \
        assert_int_equal(load(&m, &none), MS_E_INPUT); \
        assert_null(none);                             \
    } while (0)

static void hostile_files(void **state)
{
    (void)state;
    static char endless[MS_LIMIT_NAME_BYTES + 1];
    REFUSED(m.file.options.max_n = 4);
    REFUSED(m.file.options.max_n = 2); /* the third has three */
    REFUSED(m.file.options.max_n = 0); /* none is allowed */
    REFUSED(m.file.options.min_df = 0);
    REFUSED(m.file.options.max_size = 2);
    REFUSED(m.file.options.max_size = 0);
    REFUSED(m.file.options.max_size = MS_LIMIT_NGRAMS_KEPT + 1);
    REFUSED(m.file.size = MS_LIMIT_NGRAMS_KEPT + 1);
    REFUSED(m.file.size = SIZE_MAX);
    REFUSED(m.file.name_count = SIZE_MAX);
    REFUSED(m.file.name_count = 10);                           /* more than three n-grams can use */
    REFUSED(m.file.name_count = 1);                            /* a place outside of the list */
    REFUSED(m.names[2] = text_of("c"); m.file.name_count = 3); /* used by none */
    REFUSED(m.names[1] = text_of("a"));
    REFUSED(m.names[1] = ms_span_of(endless, sizeof endless));
    REFUSED(m.places[3] = 2);
    REFUSED(m.places[3] = INT32_MAX);
    REFUSED(m.places[3] = INT32_MIN);
    REFUSED(m.places[3] = -1);                  /* empty */
    REFUSED(m.places[3] = -1; m.places[4] = 1); /* a hole in front */
    REFUSED(m.places[7] = -1);                  /* in the middle */
    REFUSED(m.places[2] = -2);
    REFUSED(m.places[3] = 0); /* the first again */
    REFUSED(m.weights[1] = NAN);
    REFUSED(m.weights[1] = INFINITY);
    REFUSED(m.weights[1] = 0);
    REFUSED(m.weights[1] = -1);
}

static void options(void **state)
{
    (void)state;
    struct ms_error err = {0};
    const struct ms_ngram_options good = {3, 1, MS_LIMIT_NGRAMS_KEPT, false, false}, none = {0},
                                  bad[] = {{4, 1, 1, false, false},
                                           {1, 0, 1, false, false},
                                           {1, 1, 0, false, false},
                                           {1, 1, MS_LIMIT_NGRAMS_KEPT + 1, false, false}};
    assert_int_equal(ms_ngram_options_check(&good, &err), MS_OK);
    assert_int_equal(ms_ngram_options_check(&none, &err), MS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ms_ngram_options_check(&bad[i], &err), MS_E_INPUT);
}

static void text_for_people(void **state)
{
    (void)state;
    struct made made = make_file();
    made.names[1] = ms_span_of("b\033\xff", 3);
    struct ms_ngrams *n = NULL;
    char text[64], little[4];
    assert_int_equal(load(&made, &n), MS_OK);
    ms_ngrams_text(n, 1, text, sizeof text);
    for (const char *c = text; *c; c++)
        assert_true(*c >= ' ' && *c <= '~');
    ms_ngrams_text(n, 2, little, sizeof little);
    assert_string_equal(little, "a >");
    ms_ngrams_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),    cmocka_unit_test(weights),
        cmocka_unit_test(any_order),  cmocka_unit_test(mapping),
        cmocka_unit_test(round_trip), cmocka_unit_test(hostile_files),
        cmocka_unit_test(options),    cmocka_unit_test(text_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
