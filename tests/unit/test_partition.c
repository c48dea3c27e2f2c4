/* Partitions: repeats, splits by time, manifests and what they refuse. */
#include "train/partition.h"
#include "train/windows.h"

#include "base/clock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 120 };
static struct ms_row rows[ROWS];
static uint32_t labels[ROWS], groups[ROWS];
static char keys[ROWS][16];
static struct ms_dataset set;
static struct ms_error err;

static int64_t day(const char *text)
{
    return ms_day_parse(text);
}

/* Two classes in turn; rows 2k and 2k+1 of every tenth pair are copies; a row a day from
 * 2020-01-01.
 */
static int make_set(void **state)
{
    (void)state;
    uint32_t group = 0;
    memset(rows, 0, sizeof rows);
    for (uint32_t i = 0; i < ROWS; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "key%04u", i);
        if (!(i % 20 == 1))
            group += i > 0;
        groups[i] = group;
        labels[i] = i % 2;
        rows[i] = (struct ms_row){.key = keys[i],
                                  .label = labels[i],
                                  .first_seen_ms = day("2020-01-01") + (int64_t)i * 86400000,
                                  .sequence = {group, 7}};
    }
    set = (struct ms_dataset){.rows = rows,
                              .count = ROWS,
                              .classes = 2,
                              .binary = true,
                              .labels = labels,
                              .groups = groups,
                              .group_count = group + 1};
    return 0;
}

static void repeats_differ_and_keep_groups(void **state)
{
    (void)state;
    const struct ms_partition_request request = {.folds = 4, .repeats = 3, .seed = 9};
    struct ms_partition p, again;
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_OK);
    assert_string_equal(p.name, "fold4-seed9-x3");
    assert_int_equal(p.leaked, 0);
    assert_int_equal(p.seeds[0], 9);
    size_t same = 0;
    for (uint32_t r = 0; r < 3; r++)
        for (uint32_t i = 0; i < ROWS; i++) {
            uint32_t part = p.part_of[r * ROWS + i];
            assert_true(part < 4);
            if (i > 0 && groups[i] == groups[i - 1])
                assert_int_equal(part, p.part_of[r * ROWS + i - 1]);
            for (uint32_t k = 0; k < 4; k++) {
                assert_int_equal(ms_partition_judges(&p, r, k, i), part == k);
                assert_int_equal(ms_partition_trains(&p, r, k, i), part != k);
            }
            assert_true(ms_partition_trains(&p, r, MS_PARTITION_ALL, i));
            same += r > 0 && part == p.part_of[i];
        }
    assert_true(same < ROWS); /* of 240, a quarter by chance */
    assert_int_equal(ms_partition_make(&set, &request, &again, &err), MS_OK);
    assert_memory_equal(p.digest, again.digest, sizeof p.digest);
    ms_partition_release(&p);
    ms_partition_release(&again);
}

static void naive_leaks(void **state)
{
    (void)state;
    const struct ms_partition_request request = {.how = MS_PARTITION_NAIVE, .folds = 60, .seed = 1};
    struct ms_partition p;
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_OK);
    assert_string_equal(p.name, "naive-fold60-seed1");
    assert_true(p.leaked >= 8 && p.leaked <= 12); /* 6 pairs of copies, hardly ever together */
    ms_partition_release(&p);
}

static void time_goes_one_way(void **state)
{
    (void)state;
    struct ms_partition_request request = {
        .how = MS_PARTITION_TIME, .test_share = .2, .split_date_ms = day("2020-03-01"), .seed = 1};
    struct ms_partition p;
    rows[3].first_seen_ms = 0;                   /* nobody knows */
    rows[101].first_seen_ms = day("2020-01-05"); /* its copy, row 100, is of April */
    rows[119].first_seen_ms = day("2020-05-07"); /* alone in its month */
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_OK);
    assert_string_equal(p.name, "time-2020-03-01-seed1");
    assert_int_equal(p.undated, 1);
    assert_int_equal(p.moved, 1);
    assert_int_equal(p.one_sided, 1);
    assert_int_equal(p.part_of[100], MS_SPLIT_TRAIN);
    assert_int_equal(p.part_of[3], MS_PARTITION_OUT);
    assert_int_equal(p.part_of[119], MS_PARTITION_OUT);
    assert_int_equal(p.window_count, 2);
    assert_true(p.windows_ms[0] == day("2020-03-01") && p.windows_ms[1] == day("2020-04-01"));
    int64_t last = 0, first = INT64_MAX;
    for (uint32_t i = 0; i < ROWS; i++) {
        int64_t seen = rows[i].first_seen_ms;
        if (p.part_of[i] == MS_SPLIT_TRAIN && i != 100)
            last = seen > last ? seen : last;
        if (p.part_of[i] != MS_SPLIT_TEST) {
            assert_int_equal(p.window_of[i], MS_PARTITION_OUT);
            continue;
        }
        first = seen < first ? seen : first;
        assert_true(p.windows_ms[p.window_of[i]] == ms_clock_month_start(seen));
    }
    assert_true(last < first && first >= day("2020-03-01"));
    assert_int_equal(p.leaked, 0);
    ms_partition_release(&p);

    request.split_date_ms = 0; /* the last fifth of 119 dated rows */
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_OK);
    size_t test = 0;
    for (uint32_t i = 0; i < ROWS; i++)
        test += p.part_of[i] == MS_SPLIT_TEST;
    assert_true(test >= 21 && test <= 25);
    ms_partition_release(&p);

    request.split_date_ms = day("2031-01-01");
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_E_INPUT);
    ms_partition_release(&p);
    request.folds = 2;
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_E_INPUT);
    ms_partition_release(&p);
    (void)make_set(NULL);
}

static void ratio_is_met(void **state)
{
    (void)state;
    const struct ms_partition_request request = {.how = MS_PARTITION_TIME,
                                                 .split_date_ms = day("2020-03-01"),
                                                 .test_ratio = .1,
                                                 .repeats = 2,
                                                 .seed = 4};
    struct ms_partition p;
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_OK);
    uint32_t differ = 0;
    for (uint32_t r = 0; r < 2; r++)
        for (uint32_t w = 0; w < p.window_count; w++) {
            double n[2] = {0, 0};
            for (uint32_t i = 0; i < ROWS; i++)
                if (p.part_of[r * ROWS + i] == MS_SPLIT_TEST && p.window_of[i] == w)
                    n[labels[i]]++;
            assert_true(fabs(n[0] - n[1] / 9) <= .5);
        }
    for (uint32_t i = 0; i < ROWS; i++)
        differ += p.part_of[i] != p.part_of[ROWS + i];
    assert_true(differ > 0);
    ms_partition_release(&p);
}

static void pack(uint32_t ids[][20], size_t n)
{
    struct ms_buf scratch;
    ms_buf_init(&scratch, 1 << 20);
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct ms_row_numbers numbers = {.grams = ids[i], .gram_n = n};
        assert_int_equal(ms_row_pack(&rows[i].pack, &numbers, &scratch, &err), MS_OK);
    }
    ms_buf_release(&scratch);
}

/* Rows of ten calls; 0 and 50 share nine of them and no more pairs than they must (10 + 9 grams, 17
 * common of 21), 60 shares eight (15 of 23). */
static void near_joins_the_nearly_same(void **state)
{
    (void)state;
    enum { CALLS = 10 };
    static struct ms_gram grams[ROWS * CALLS * 2];
    static uint32_t ids[ROWS][CALLS * 2];
    uint32_t n = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        for (uint32_t k = 0; k < CALLS * 2; k++) { /* calls, pairs, and one of three at the end */
            ids[i][k] = n;
            grams[n] = (struct ms_gram){
                {n, k < CALLS ? MS_GRAM_NONE : n, k < CALLS * 2 - 1 ? MS_GRAM_NONE : n}};
            n++;
        }
    }
    for (uint32_t k = 0; k < 17; k++)
        ids[50][k] = ids[0][k];
    for (uint32_t k = 0; k < 15; k++)
        ids[60][k] = ids[0][k];
    ids[61][CALLS * 2 - 1] = ids[0][CALLS * 2 - 1];
    pack(ids, CALLS * 2);
    set.grams = grams;
    set.gram_count = n;
    const struct ms_partition_request request = {
        .how = MS_PARTITION_NEAR, .folds = 5, .repeats = 4, .seed = 2};
    struct ms_partition p;
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_OK);
    assert_string_equal(p.name, "near-fold5-seed2-x4");
    assert_int_equal(p.groups[0], p.groups[50]);
    assert_int_not_equal(p.groups[0], p.groups[60]);
    assert_int_equal(p.near_groups, set.group_count - 1);
    for (uint32_t i = 1; i < ROWS; i++) /* identical ones stay together */
        assert_int_equal(p.groups[i] == p.groups[i - 1], groups[i] == groups[i - 1]);
    for (uint32_t r = 0; r < 4; r++)
        assert_int_equal(p.part_of[r * ROWS], p.part_of[r * ROWS + 50]);
    ms_partition_release(&p);
    set.grams = NULL;
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_E_BUG);
    ms_partition_release(&p);
    for (uint32_t i = 0; i < ROWS; i++)
        ms_row_pack_release(&rows[i].pack);
}

static void copy_manifest(const struct ms_partition *p, struct ms_buf *out)
{
    ms_buf_clear(out);
    assert_int_equal(ms_buf_append(out, p->manifest, p->manifest_bytes), MS_OK);
}

static void manifest_comes_back(void **state)
{
    (void)state;
    struct ms_partition_request request = {.test_share = .3, .repeats = 2, .seed = 5};
    struct ms_partition p, q;
    struct ms_buf bytes;
    ms_buf_init(&bytes, 1 << 20);
    for (int timed = 0; timed < 2; timed++) {
        request.how = timed ? MS_PARTITION_TIME : MS_PARTITION_GROUPED;
        request.test_ratio = timed ? .3 : 0;
        assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_OK);
        copy_manifest(&p, &bytes);
        assert_int_equal(ms_partition_adopt(&set, &bytes, 77, &q, &err), MS_OK);
        assert_memory_equal(p.digest, q.digest, sizeof p.digest);
        assert_memory_equal(p.part_of, q.part_of, 2 * ROWS * sizeof *p.part_of);
        assert_memory_equal(p.groups, q.groups, ROWS * sizeof *p.groups);
        assert_string_equal(p.name, q.name);
        assert_int_equal(p.thinned, q.thinned);
        assert_int_equal(q.seeds[0], 77);
        if (timed)
            assert_memory_equal(p.window_of, q.window_of, ROWS * sizeof *p.window_of);
        ms_partition_release(&p);
        ms_partition_release(&q);
        ms_buf_release(&bytes);
        ms_buf_init(&bytes, 1 << 20);
    }
}

static void expect_refusal(struct ms_buf *bytes, const char *why)
{
    struct ms_partition q;
    struct ms_error wrong = {0};
    assert_int_equal(ms_partition_adopt(&set, bytes, 1, &q, &wrong), MS_E_INPUT);
    if (!strstr(wrong.text, why))
        fail_msg("'%s' does not say '%s'", wrong.text, why);
    ms_partition_release(&q);
}

static void manifest_refuses(void **state)
{
    (void)state;
    const struct ms_partition_request request = {.test_share = .3, .seed = 5};
    struct ms_partition p;
    struct ms_buf bytes;
    ms_buf_init(&bytes, 1 << 20);
    assert_int_equal(ms_partition_make(&set, &request, &p, &err), MS_OK);
    copy_manifest(&p, &bytes);
    bytes.data[bytes.len - 4] ^= 1; /* a part of the last row, 0 for 1 or the other way round */
    expect_refusal(&bytes, "not those the header");
    copy_manifest(&p, &bytes);
    (void)strcpy(keys[7], "key0006z");
    expect_refusal(&bytes, "1 of its are not in this dataset, and 1 of the dataset's");
    (void)strcpy(keys[7], "key0007");
    set.count--;
    expect_refusal(&bytes, "1 of its are not in this dataset, and 0");
    set.count++;
    /* copies that the manifest knows nothing of */
    uint32_t train = 0, test = 0;
    while (p.part_of[train] != MS_SPLIT_TRAIN)
        train++;
    while (p.part_of[test] != MS_SPLIT_TEST)
        test++;
    uint32_t saved = groups[test];
    groups[test] = groups[train];
    expect_refusal(&bytes, "tears copies apart");
    groups[test] = saved;
    ms_partition_release(&p);
    ms_buf_release(&bytes);
}

/* Every torn group in a file that is otherwise sound, digest and all. */
static void torn_group_is_refused(void **state)
{
    (void)state;
    const char *names[2] = {"a", "b"};
    uint64_t sequences[2][2] = {{1, 2}, {3, 4}};
    uint32_t together[2] = {0, 0}, parts[2] = {0, 1};
    uint8_t digest[MS_SHA256_BYTES];
    struct ms_manifest m = {.name = "n",
                            .dataset = "0873430086300eb42ac8a96cda978a33e0f40c4ddc3785f3156f5f01"
                                       "84811e3c",
                            .repeats = 1,
                            .rows = 2,
                            .keys = names,
                            .sequences = sequences,
                            .groups = together,
                            .part_of = parts};
    struct ms_manifest back;
    struct ms_buf bytes;
    ms_buf_init(&bytes, 1 << 20);
    assert_int_equal(ms_manifest_encode(&m, &bytes, digest, &err), MS_OK);
    assert_int_equal(ms_manifest_decode(ms_span_of(bytes.data, bytes.len), &back, &err),
                     MS_E_INPUT);
    assert_non_null(strstr(err.text, "torn apart"));
    ms_manifest_release(&back);
    ms_buf_clear(&bytes);
    m.how = MS_PARTITION_NAIVE;
    assert_int_equal(ms_manifest_encode(&m, &bytes, digest, &err), MS_OK);
    assert_int_equal(ms_manifest_decode(ms_span_of(bytes.data, bytes.len), &back, &err), MS_OK);
    assert_int_equal(back.sequences[1][0], 3);
    ms_manifest_release(&back);
    ms_buf_release(&bytes);
}

static void months_and_area(void **state)
{
    (void)state;
    const double values[4] = {.8, .6, NAN, .2};
    assert_true(fabs(ms_aut(values, 4) - (.7 + .4) / 2) < 1e-12);
    assert_true(isnan(ms_aut(values, 1)));
    /* month 0: TP 1 FP 1 FN 0 (F1 2/3); month 1: TP 0 FN 1 TN 1 (F1 0); month 2: none */
    const uint32_t truth[5] = {0, 1, 0, 1, 0}, predicted[5] = {0, 0, 1, 1, 0},
                   window_of[5] = {0, 0, 1, 1, 9};
    const struct ms_judged judged = {
        .classes = 2, .rows = 5, .truth = truth, .predicted = predicted};
    struct ms_window w[3];
    double aut;
    assert_int_equal(ms_windows_make(&judged, window_of, 3, w, &aut, &err), MS_OK);
    assert_true(fabs(w[0].f1 - 2.0 / 3) < 1e-12 && w[1].f1 == 0 && isnan(w[2].f1));
    assert_true(w[0].accuracy == .5 && w[1].positive == 1 && w[2].rows == 0);
    assert_true(fabs(aut - 1.0 / 3) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeats_differ_and_keep_groups),
        cmocka_unit_test(naive_leaks),
        cmocka_unit_test(time_goes_one_way),
        cmocka_unit_test(ratio_is_met),
        cmocka_unit_test(near_joins_the_nearly_same),
        cmocka_unit_test(manifest_comes_back),
        cmocka_unit_test(manifest_refuses),
        cmocka_unit_test(torn_group_is_refused),
        cmocka_unit_test(months_and_area),
    };
    return cmocka_run_group_tests(tests, make_set, NULL);
}
