/* Near groups against all pairs, their determinism, and copies by group. */
#include "base/rng.h"
#include "store/trace/near.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 700, MOST = 60 };

struct sets {
    uint64_t items[ROWS][MOST];
    size_t n[ROWS];
};

static const uint64_t *get(void *ctx, size_t row, int side, size_t *n)
{
    const struct sets *sets = ctx;
    (void)side;
    *n = sets->n[row];
    return sets->items[row];
}

static int by_number(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static void set_sort(struct sets *sets, size_t row)
{
    size_t kept = 0;
    qsort(sets->items[row], sets->n[row], sizeof **sets->items, by_number);
    for (size_t i = 0; i < sets->n[row]; i++)
        if (i == 0 || sets->items[row][i] != sets->items[row][kept - 1])
            sets->items[row][kept++] = sets->items[row][i];
    sets->n[row] = kept;
}

/* New ones, copies, and others a little changed. */
static void make(struct sets *sets, struct ms_rng *rng)
{
    for (size_t row = 0; row < ROWS; row++) {
        uint64_t draw = ms_rng_below(rng, 10);
        if (row && draw < 7) {
            size_t old = ms_rng_below(rng, row);
            memcpy(sets->items[row], sets->items[old], sizeof *sets->items);
            sets->n[row] = sets->n[old];
            for (uint64_t i = 0; draw < 5 && sets->n[row] && i < draw; i++)
                sets->items[row][ms_rng_below(rng, sets->n[row])] = ms_rng_u64(rng) | 1;
        } else {
            sets->n[row] = ms_rng_below(rng, MOST + 1);
            for (size_t i = 0; i < sets->n[row]; i++)
                sets->items[row][i] = ms_rng_u64(rng) | 1;
        }
        set_sort(sets, row);
    }
}

static void all_pairs(void **state)
{
    (void)state;
    struct sets *sets = calloc(1, sizeof *sets);
    struct ms_rng rng;
    assert_non_null(sets);
    ms_rng_init(&rng, 2, 2, 2);
    static const double thresholds[] = {.5, .8, .9, 1};
    for (size_t t = 0; t < sizeof thresholds / sizeof *thresholds; t++) {
        uint32_t parent[ROWS], expected[ROWS], got[ROWS], again[ROWS], n = 0, n_again = 0;
        struct ms_near_report report;
        make(sets, &rng);
        for (uint32_t i = 0; i < ROWS; i++)
            parent[i] = i;
        for (uint32_t i = 0; i < ROWS; i++)
            for (uint32_t k = 0; k < i; k++)
                if (ms_jaccard(sets->items[i], sets->n[i], sets->items[k], sets->n[k]) >=
                    thresholds[t])
                    ms_union_join(parent, i, k);
        uint32_t count = ms_union_number(parent, ROWS, expected);
        assert_int_equal(ms_near_groups(get, sets, ROWS, thresholds[t], 1, got, &n, &report, NULL),
                         MS_OK);
        assert_int_equal(n, count);
        assert_memory_equal(got, expected, sizeof got);
        assert_true(count < ROWS && report.missed <= .001);
        assert_true(report.bands * report.band_hashes <= MS_NEAR_HASHES);
        assert_true(report.distinct <= ROWS && report.near <= report.compared);
        assert_int_equal(
            ms_near_groups(get, sets, ROWS, thresholds[t], 1, again, &n_again, &report, NULL),
            MS_OK);
        assert_memory_equal(got, again, sizeof got);
    }
    free(sets);
}

static void jaccard(void **state)
{
    (void)state;
    const uint64_t x[] = {1, 2, 3, 4}, y[] = {3, 4, 5};
    assert_true(ms_jaccard(x, 4, y, 3) == 2.0 / 5);
    assert_true(ms_jaccard(x, 4, x, 4) == 1);
    assert_true(ms_jaccard(x, 4, NULL, 0) == 0);
    assert_true(ms_jaccard(NULL, 0, NULL, 0) == 1);
}

static void no_rows(void **state)
{
    (void)state;
    struct ms_near_report report;
    uint32_t groups[1], count = 7;
    assert_int_equal(ms_near_groups(get, NULL, 0, .8, 1, groups, &count, &report, NULL), MS_OK);
    assert_int_equal(count, 0);
}

static void copies(void **state)
{
    (void)state;
    const uint32_t labels[8] = {0, 0, 1, 1, 1, 0, 2, 2}, groups[8] = {4, 4, 4, 1, 1, 2, 3, 2};
    struct ms_copies c;
    assert_int_equal(ms_groups_copies(labels, 3, groups, 5, 8, &c, NULL), MS_OK);
    assert_int_equal(c.rows, 8);
    assert_int_equal(c.distinct, 4); /* group 0 is empty */
    assert_int_equal(c.largest, 3);
    assert_int_equal(c.mixed, 2);
    assert_int_equal(c.contradicting, 5);
    assert_int_equal(c.unavoidable, 2);
    assert_true(c.ceiling == .75);
}

/* Calls and pairs, in rising order; what is longer or none is left out. */
static void items_of_n_grams(void **state)
{
    (void)state;
    const struct ms_gram grams[] = {{{7, 2, MS_GRAM_NONE}},
                                    {{7, MS_GRAM_NONE, MS_GRAM_NONE}},
                                    {{7, 2, 7}},
                                    {{2, MS_GRAM_NONE, MS_GRAM_NONE}},
                                    {{MS_GRAM_NONE, MS_GRAM_NONE, MS_GRAM_NONE}},
                                    {{7, 0, MS_GRAM_NONE}}};
    uint64_t items[6];
    assert_int_equal(ms_near_items(grams, 6, items), 4);
    for (size_t i = 1; i < 4; i++)
        assert_true(items[i] > items[i - 1]);
    assert_int_equal(ms_near_items(grams, 0, items), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(items_of_n_grams),
                                       cmocka_unit_test(all_pairs), cmocka_unit_test(jaccard),
                                       cmocka_unit_test(no_rows), cmocka_unit_test(copies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
