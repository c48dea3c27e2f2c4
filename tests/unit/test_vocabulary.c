/* Vocabulary (Keras's Tokenizer semantics included), table of names, groups of equal sequences. */
#include "store/trace/groups.h"
#include "store/trace/names.h"
#include "store/trace/vocabulary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct ms_span text(const char *s)
{
    return ms_span_of(s, strlen(s));
}

static void count(struct ms_vocabulary *v, const char *name, uint64_t times)
{
    assert_int_equal(ms_vocabulary_count(v, text(name), times, NULL), MS_OK);
}

static void assert_tokens(const struct ms_vocabulary *v, const char *name, size_t n, int32_t a,
                          int32_t b)
{
    int32_t ids[4] = {-1, -1, -1, -1};
    assert_int_equal(ms_vocabulary_tokens(v, text(name), ids, 4), n);
    if (n > 0)
        assert_int_equal(ids[0], a);
    if (n > 1)
        assert_int_equal(ids[1], b);
}

static void keras_splits_and_ranks(void **state)
{
    (void)state;
    struct ms_vocabulary *v;
    assert_int_equal(ms_vocabulary_new(MS_VOCABULARY_KERAS, false, &v, NULL), MS_OK);
    /* tok.fit_on_texts(["dnsquery_a NtClose NtClose __exception__ LdrLoadDll"]) and one more
     * LdrLoadDll: ntclose and ldrloaddll have 2, ntclose was seen first; dnsquery, a, exception
     * have 1 in this order */
    count(v, "dnsquery_a", 1);
    count(v, "NtClose", 2);
    count(v, "__exception__", 1);
    count(v, "LdrLoadDll", 2);
    assert_int_equal(ms_vocabulary_finish(v, 0, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_size(v), 6);
    assert_tokens(v, "ntclose", 1, 1, 0);
    assert_tokens(v, "NTCLOSE", 1, 1, 0);
    assert_tokens(v, "LdrLoadDll", 1, 2, 0);
    assert_tokens(v, "dnsquery_a", 2, 3, 4);
    assert_tokens(v, "DnsQuery", 1, 3, 0);
    assert_tokens(v, "exception", 1, 5, 0);
    assert_tokens(v, "__exception__", 1, 5, 0);
    assert_tokens(v, "never_a", 1, 4, 0); /* the unknown half has no token */
    assert_tokens(v, "__", 0, 0, 0);
    assert_tokens(v, "", 0, 0, 0);
    assert_tokens(v, "a'b", 0, 0, 0); /* the apostrophe is not in the filter: one unknown word */
    assert_memory_equal(ms_vocabulary_text_of(v, 5).data, "exception", 9);
    assert_int_equal(ms_vocabulary_text_of(v, 0).len, 0);
    assert_int_equal(ms_vocabulary_count(v, text("late"), 1, NULL), MS_E_BUG);
    ms_vocabulary_free(v);
}

static void limit_is_num_words(void **state)
{
    (void)state;
    struct ms_vocabulary *v;
    assert_int_equal(ms_vocabulary_new(MS_VOCABULARY_KERAS, false, &v, NULL), MS_OK);
    count(v, "rare", 1);
    count(v, "often", 9);
    count(v, "some", 3);
    assert_int_equal(ms_vocabulary_finish(v, 3, NULL), MS_OK);
    assert_int_equal(ms_vocabulary_size(v), 3); /* ids 1 and 2 are below num_words = 3 */
    assert_tokens(v, "often", 1, 1, 0);
    assert_tokens(v, "some", 1, 2, 0);
    assert_tokens(v, "rare", 0, 0, 0);
    ms_vocabulary_free(v);
}

static void whole_names_with_unknown(void **state)
{
    (void)state;
    struct ms_vocabulary *v;
    assert_int_equal(ms_vocabulary_new(MS_VOCABULARY_NAME, true, &v, NULL), MS_OK);
    count(v, "dnsquery_a", 1);
    count(v, "NtClose", 5);
    assert_int_equal(ms_vocabulary_finish(v, 0, NULL), MS_OK);
    assert_tokens(v, "NtClose", 1, 2, 0);
    assert_tokens(v, "ntclose", 1, MS_TOKEN_UNKNOWN, 0);
    assert_tokens(v, "dnsquery_a", 1, 3, 0);
    assert_int_equal(ms_vocabulary_size(v), 4);
    int32_t none = 7;
    assert_int_equal(ms_vocabulary_tokens(v, text("NtClose"), &none, 0), 1);
    assert_int_equal(none, 7); /* nothing is written beyond cap */
    ms_vocabulary_free(v);
}

static void names_are_dense_and_bounded(void **state)
{
    (void)state;
    struct ms_names *names;
    assert_int_equal(ms_names_new(3000, &names, NULL), MS_OK);
    char name[32];
    uint32_t id;
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 3000; i++) {
            int n = snprintf(name, sizeof name, "name-%u", i);
            assert_int_equal(ms_names_intern(names, ms_span_of(name, (size_t)n), &id, NULL), MS_OK);
            assert_int_equal(id, i);
        }
    assert_int_equal(ms_names_count(names), 3000);
    assert_int_equal(ms_names_intern(names, text("one more"), &id, NULL), MS_E_LIMIT);
    assert_false(ms_names_find(names, text("one more"), &id));
    assert_int_equal(ms_names_intern(names, text("name-2999"), &id, NULL), MS_OK);
    assert_string_equal((const char *)ms_names_get(names, 17).data, "name-17");
    ms_names_free(names);
}

static struct ms_sequence_hash hash_of(const uint32_t *symbols, size_t n)
{
    struct ms_sequence_hash h;
    ms_sequence_hash_init(&h);
    for (size_t i = 0; i < n; i++)
        ms_sequence_hash_add(&h, symbols[i]);
    return h;
}

static void groups_join_over_either_key(void **state)
{
    (void)state;
    const uint32_t a[3] = {1, 1, 2}, b[2] = {1, 2}, c[2] = {2, 1}, d[4] = {0, 0, 0, 0};
    struct ms_sequence_hash keys[5][2] = {
        {hash_of(a, 3), hash_of(b, 2)}, /* 1 1 2, collapsed 1 2 */
        {hash_of(c, 2), hash_of(c, 2)}, /* order matters */
        {hash_of(b, 2), hash_of(b, 2)}, /* collapsed as row 0 */
        {hash_of(d, 3), hash_of(d, 1)}, /* length matters, zeros too */
        {hash_of(d, 4), hash_of(d, 2)},
    };
    uint32_t groups[5], n;
    assert_int_equal(ms_groups_make(&keys[0][0], 5, 2, groups, &n, NULL), MS_OK);
    assert_int_equal(n, 4);
    const uint32_t want[5] = {0, 1, 0, 2, 3};
    assert_memory_equal(groups, want, sizeof want);
    /* transitive: row 4 shares its first key with row 3 and its second with row 1 */
    keys[4][0] = keys[3][0];
    keys[4][1] = keys[1][1];
    assert_int_equal(ms_groups_make(&keys[0][0], 5, 2, groups, &n, NULL), MS_OK);
    const uint32_t joined[5] = {0, 1, 0, 1, 1};
    assert_int_equal(n, 2);
    assert_memory_equal(groups, joined, sizeof joined);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keras_splits_and_ranks),
        cmocka_unit_test(limit_is_num_words),
        cmocka_unit_test(whole_names_with_unknown),
        cmocka_unit_test(names_are_dense_and_bounded),
        cmocka_unit_test(groups_join_over_either_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
