/* Numbers of a dataset's row come back from their pack as they went in, of every size and order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "train/dataset_row.h"

#define MOST UINT32_MAX

static struct ms_buf scratch;
static struct ms_error err;

static void same(const struct ms_row_numbers *want, struct ms_row_pack *pack)
{
    struct ms_row_numbers got = {0};
    const size_t grams = want->gram_n + want->static_n;
    assert_int_equal(ms_row_pack(pack, want, &scratch, &err), MS_OK);
    assert_int_equal(ms_row_unpack(pack, &got, &err), MS_OK);
    assert_int_equal(got.n, want->n);
    assert_int_equal(got.count_n, want->count_n);
    assert_int_equal(got.gram_n, want->gram_n);
    assert_int_equal(got.static_n, want->static_n);
    assert_int_equal(got.run_lengths != NULL, want->run_lengths != NULL);
    assert_int_equal(got.run_counts != NULL, want->run_counts != NULL);
    assert_int_equal(got.grams != NULL, want->grams != NULL);
    for (size_t i = 0; i < want->n; i++) {
        assert_int_equal(got.calls[i], want->calls[i]);
        if (want->run_lengths) {
            assert_int_equal(got.run_lengths[i], want->run_lengths[i]);
            assert_int_equal(got.run_counts[i], want->run_counts[i]);
        }
    }
    for (size_t i = 0; i < want->count_n; i++) {
        assert_int_equal(got.counts[i].symbol, want->counts[i].symbol);
        assert_true(got.counts[i].times == want->counts[i].times);
    }
    for (size_t i = 0; i < grams; i++)
        assert_int_equal(got.grams[i], want->grams[i]);
    ms_row_numbers_release(&got);
}

static void comes_back(void **state)
{
    (void)state;
    uint32_t calls[] = {0, 127, 128, 70000, MOST}, lengths[] = {1, MOST, 2, 300, 5},
             counts_of[] = {9, 1, 16384, MOST, 1}, grams[] = {5, 6, 7, 0, MOST, MOST - 1, 3, 3};
    struct ms_row_count whole[] = {{4, 1}, {MOST, UINT64_MAX}, {0, UINT64_C(1) << 40}},
                        like[] = {{0, 1}, {127, 2}, {128, 3}, {70000, 4}, {MOST, UINT64_MAX}};
    struct ms_row_pack pack = {0};
    const struct ms_row_numbers all = {.calls = calls,
                                       .n = 5,
                                       .run_lengths = lengths,
                                       .run_counts = counts_of,
                                       .counts = whole,
                                       .count_n = 3,
                                       .grams = grams,
                                       .gram_n = 6,
                                       .static_n = 2};
    struct ms_row_numbers some = all;
    same(&all, &pack);
    assert_false(pack.counts_like_calls);
    some.counts = like;
    some.count_n = 5;
    const size_t before = pack.len;
    same(&some, &pack);
    assert_true(pack.counts_like_calls && pack.len < before);
    some.run_lengths = some.run_counts = NULL;
    same(&some, &pack);
    some.grams = NULL;
    some.gram_n = some.static_n = 0;
    same(&some, &pack);
    some.n = some.count_n = 0;
    same(&some, &pack);
    ms_row_pack_release(&pack);
    same(&(struct ms_row_numbers){0}, &pack);
    ms_row_pack_release(&pack);
}

/* n-grams in the order in which they were met take a byte each, however large their numbers. */
static void neighbours_are_short(void **state)
{
    (void)state;
    uint32_t grams[1000];
    struct ms_row_pack pack = {0};
    for (uint32_t i = 0; i < 1000; i++)
        grams[i] = 200000000 + i;
    same(&(struct ms_row_numbers){.grams = grams, .gram_n = 1000}, &pack);
    assert_in_range(pack.len, 1000, 1005);
    ms_row_pack_release(&pack);
}

/* Without room nothing is lost; bytes that are cut short or too many are found. */
static void what_cannot_be(void **state)
{
    (void)state;
    uint32_t calls[] = {1, 2, 300};
    struct ms_row_pack pack = {0};
    struct ms_row_numbers numbers = {.calls = calls, .n = 3}, got = {0};
    struct ms_buf narrow;
    same(&numbers, &pack);
    ms_buf_init(&narrow, 2);
    calls[0] = 9;
    assert_int_equal(ms_row_pack(&pack, &numbers, &narrow, &err), MS_E_NOMEM);
    ms_buf_release(&narrow);
    calls[0] = 1;
    assert_int_equal(ms_row_unpack(&pack, &got, &err), MS_OK);
    assert_memory_equal(got.calls, calls, sizeof calls);
    pack.len--;
    assert_int_equal(ms_row_unpack(&pack, &got, &err), MS_E_BUG);
    pack.len++;
    pack.n--;
    assert_int_equal(ms_row_unpack(&pack, &got, &err), MS_E_BUG);
    ms_row_numbers_release(&got);
    ms_row_pack_release(&pack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(neighbours_are_short),
        cmocka_unit_test(what_cannot_be),
    };
    ms_buf_init(&scratch, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ms_buf_release(&scratch);
    return failed;
}
