/* Splits: groups stay together, classes keep their shares, seeds decide; copies and contradictions.
 */
#include "train/dataset_copies.h"
#include "train/split.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 808, CLASSES = 8 };
static uint32_t labels[ROWS], groups[ROWS], part[ROWS], other[ROWS];

/* Rows alone but for some groups of up to 20, a few of mixed classes. */
static struct ms_split_rows make_rows(uint64_t seed)
{
    struct ms_rng rng;
    ms_rng_init(&rng, seed, 1, 0);
    uint32_t group = 0;
    for (uint32_t i = 0; i < ROWS;) {
        uint64_t size = ms_rng_below(&rng, 20) == 0 ? 1 + ms_rng_below(&rng, 20) : 1;
        bool mixed = ms_rng_below(&rng, 4) == 0;
        uint32_t label = (uint32_t)ms_rng_below(&rng, CLASSES);
        for (; size > 0 && i < ROWS; size--, i++) {
            labels[i] = mixed ? (uint32_t)ms_rng_below(&rng, CLASSES) : label;
            groups[i] = group;
        }
        group++;
    }
    return (struct ms_split_rows){ROWS, CLASSES, labels, groups};
}

static void assert_together(const uint32_t *parts)
{
    for (uint32_t i = 1; i < ROWS; i++)
        if (groups[i] == groups[i - 1])
            assert_int_equal(parts[i], parts[i - 1]);
}

static void assert_shares(const uint32_t *parts, uint32_t count, const double *shares, double slack)
{
    for (uint32_t p = 0; p < count; p++)
        for (uint32_t c = 0; c < CLASSES; c++) {
            double have = 0, all = 0;
            for (uint32_t i = 0; i < ROWS; i++) {
                all += labels[i] == c;
                have += labels[i] == c && parts[i] == p;
            }
            if (fabs(have - shares[p] * all) > slack)
                fail_msg("part %u class %u: %g of %g rows, wanted %g", p, c, have, all,
                         shares[p] * all);
        }
}

static void holdout(void **state)
{
    (void)state;
    const double shares[2] = {.85, .15};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct ms_split_rows rows = make_rows(seed);
        assert_int_equal(ms_split_holdout(&rows, .15, seed, part, NULL), MS_OK);
        assert_together(part);
        assert_shares(part, 2, shares, 4);
        rows.groups = NULL; /* alone: exact but for rounding */
        assert_int_equal(ms_split_holdout(&rows, .15, seed, part, NULL), MS_OK);
        assert_shares(part, 2, shares, 1);
    }
}

static void folds(void **state)
{
    (void)state;
    const double shares[5] = {.2, .2, .2, .2, .2};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct ms_split_rows rows = make_rows(seed);
        assert_int_equal(ms_split_folds(&rows, 5, seed, part, NULL), MS_OK);
        assert_together(part);
        assert_shares(part, 5, shares, 6);
    }
}

static void seeds_decide(void **state)
{
    (void)state;
    struct ms_split_rows rows = make_rows(1);
    assert_int_equal(ms_split_holdout(&rows, .2, 7, part, NULL), MS_OK);
    assert_int_equal(ms_split_holdout(&rows, .2, 7, other, NULL), MS_OK);
    assert_memory_equal(part, other, sizeof part);
    assert_int_equal(ms_split_holdout(&rows, .2, 8, other, NULL), MS_OK);
    uint32_t both = 0, test = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        test += part[i];
        both += part[i] && other[i];
    }
    assert_true(both < test * 6 / 10);
}

static void refuses(void **state)
{
    (void)state;
    struct ms_error err;
    struct ms_split_rows rows = make_rows(1);
    memset(groups, 0, sizeof groups); /* one group cannot be divided */
    assert_int_equal(ms_split_holdout(&rows, .2, 7, part, &err), MS_E_INPUT);
    rows.groups = NULL;
    assert_int_equal(ms_split_holdout(&rows, 0, 7, part, &err), MS_E_INPUT);
    assert_int_equal(ms_split_holdout(&rows, NAN, 7, part, &err), MS_E_INPUT);
    assert_int_equal(ms_split_folds(&rows, 1, 7, part, &err), MS_E_INPUT);
    assert_int_equal(ms_split_folds(&rows, 101, 7, part, &err), MS_E_INPUT);
    rows.rows = 0;
    assert_int_equal(ms_split_folds(&rows, 2, 7, part, &err), MS_E_INPUT);
}

static void copies(void **state)
{
    (void)state;
    const uint32_t l[7] = {0, 0, 1, 1, 1, 0, 2}, g[7] = {0, 0, 0, 1, 1, 2, 3};
    const struct ms_split_rows rows = {7, 3, l, g};
    struct ms_copies c;
    assert_int_equal(ms_copies_count(&rows, &c, NULL), MS_OK);
    assert_int_equal(c.distinct, 4);
    assert_int_equal(c.largest, 3);
    assert_int_equal(c.contradicting, 3);
    assert_int_equal(c.unavoidable, 1);
    assert_true(fabs(c.ceiling - 6.0 / 7) < 1e-12);
}

/* Groups: 0 has classes 1 0 1, 1 has 0 1 (undecided), 2 one row, 3 has 2 2. */
static void one_of_each(void **state)
{
    (void)state;
    const uint32_t of[8] = {0, 1, 0, 1, 1, 2, 2, 2}, same[8] = {0, 0, 1, 1, 0, 2, 3, 3};
    const bool want[8] = {false, true, false, false, false, true, true, false};
    const struct ms_split_rows rows = {8, 3, of, same};
    struct ms_error err;
    bool keep[8];
    uint64_t copies, undecided;
    assert_int_equal(ms_copies_thin(&rows, keep, &copies, &undecided, &err), MS_OK);
    assert_memory_equal(keep, want, sizeof want);
    assert_int_equal(copies, 3);
    assert_int_equal(undecided, 2);
    const uint32_t outside[2] = {0, 9};
    const struct ms_split_rows bad = {2, 3, of, outside};
    assert_int_equal(ms_copies_thin(&bad, keep, &copies, &undecided, &err), MS_E_BUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holdout), cmocka_unit_test(folds),  cmocka_unit_test(seeds_decide),
        cmocka_unit_test(refuses), cmocka_unit_test(copies), cmocka_unit_test(one_of_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
