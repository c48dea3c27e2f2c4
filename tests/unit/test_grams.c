/* The n-grams of a trace: rules by hand, and a plain re-computation on random sequences. */
#include "base/limits.h"
#include "base/rng.h"
#include "store/trace/encode.h"
#include "store/trace/grams.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint32_t NONE = MS_GRAM_NONE;

/* The set as letters, n-grams apart by blanks. */
static void show(const struct ms_gram_set *set, char *out)
{
    for (size_t i = 0; i < ms_gram_set_count(set); i++) {
        struct ms_gram gram = ms_gram_set_get(set, i);
        if (i)
            *out++ = ' ';
        for (uint32_t k = 0; k < ms_gram_length(gram); k++)
            *out++ = (char)('a' + gram.symbol[k]);
    }
    *out = '\0';
}

/* '|' is a break. */
static void expect(struct ms_gram_set *set, const char *calls, const char *grams)
{
    struct ms_error err = {0};
    char text[512];
    ms_gram_set_clear(set);
    for (; *calls; calls++) {
        if (*calls == '|')
            ms_gram_set_break(set);
        else
            assert_int_equal(ms_gram_set_add(set, (uint32_t)(*calls - 'a'), &err), MS_OK);
    }
    show(set, text);
    assert_string_equal(text, grams);
    assert_false(ms_gram_set_cut(set));
}

static void by_hand(void **state)
{
    (void)state;
    struct ms_gram_set *set = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_gram_set_new(&set, &err), MS_OK);
    expect(set, "", "");
    expect(set, "a", "a");
    expect(set, "aaa", "a");
    expect(set, "abab", "a b ab ba aba bab");
    expect(set, "aabbba", "a b ab ba aba");
    expect(set, "abc", "a b ab c bc abc");
    expect(set, "ab|ba", "a b ab ba");
    expect(set, "a|b|a", "a b");
    expect(set, "a|a", "a");
    /* A trigram whose pair is known, and a pair whose call is known. */
    expect(set, "bc|abc", "b c bc a ab abc");
    /* Calls keep their symbols whatever came before. */
    expect(set, "zyz", "z y zy yz zyz");
    ms_gram_set_free(set);
}

static void lengths(void **state)
{
    (void)state;
    assert_int_equal(ms_gram_length((struct ms_gram){{5, NONE, NONE}}), 1);
    assert_int_equal(ms_gram_length((struct ms_gram){{5, 0, NONE}}), 2);
    assert_int_equal(ms_gram_length((struct ms_gram){{0, 0, 0}}), 3);
    assert_int_equal(ms_gram_length((struct ms_gram){{NONE, NONE, NONE}}), 0);
    assert_int_equal(ms_gram_length((struct ms_gram){{NONE, 1, NONE}}), 0);
    assert_int_equal(ms_gram_length((struct ms_gram){{1, NONE, 1}}), 0);
}

enum { SYMBOLS = 90, MOST = 1 << 19 };

/* All n-grams of a sequence in order, each looked for in one flag an n-gram that can be. */
static size_t recompute(const uint32_t *calls, size_t n, struct ms_gram *out, size_t most,
                        bool *cut)
{
    const size_t base = SYMBOLS + 1;
    bool *seen = calloc(base * base * base, sizeof *seen);
    size_t count = 0, length = 0;
    uint32_t *plain = calloc(n + 1, sizeof *plain);
    assert_non_null(seen);
    assert_non_null(plain);
    for (size_t i = 0; i < n; i++)
        if (length == 0 || plain[length - 1] != calls[i])
            plain[length++] = calls[i];
    *cut = false;
    for (size_t i = 0; i < length; i++)
        for (size_t k = 1; k <= 3 && k <= i + 1; k++) {
            struct ms_gram gram = {{NONE, NONE, NONE}};
            size_t at = 0;
            for (size_t j = 0; j < k; j++) {
                gram.symbol[j] = plain[i + 1 - k + j];
                at = at * base + gram.symbol[j] + 1;
            }
            if (seen[at])
                continue;
            seen[at] = true;
            if (count < most)
                out[count++] = gram;
            else
                *cut = true;
        }
    free(seen);
    free(plain);
    return count;
}

static void check_random(struct ms_gram_set *set, struct ms_rng *rng, size_t n, uint32_t symbols)
{
    struct ms_error err = {0};
    uint32_t *calls = calloc(n + 1, sizeof *calls);
    struct ms_gram *want = calloc(MS_LIMIT_TRACE_GRAMS, sizeof *want);
    bool cut;
    assert_non_null(calls);
    assert_non_null(want);
    for (size_t i = 0; i < n; i++)
        calls[i] = (uint32_t)ms_rng_below(rng, symbols);
    size_t count = recompute(calls, n, want, MS_LIMIT_TRACE_GRAMS, &cut);
    ms_gram_set_clear(set);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ms_gram_set_add(set, calls[i], &err), MS_OK);
    assert_int_equal(ms_gram_set_count(set), count);
    assert_int_equal(ms_gram_set_cut(set), cut);
    for (size_t i = 0; i < count; i++) {
        struct ms_gram gram = ms_gram_set_get(set, i);
        if (memcmp(&gram, &want[i], sizeof gram) != 0)
            fail_msg("n-gram %zu of %zu is another", i, count);
    }
    free(calls);
    free(want);
}

/* One set for long and short sequences in turn; the longest one has more than are kept. */
static void random_sequences(void **state)
{
    (void)state;
    struct ms_gram_set *set = NULL;
    struct ms_error err = {0};
    struct ms_rng rng;
    ms_rng_init(&rng, 1, 2, 3);
    assert_int_equal(ms_gram_set_new(&set, &err), MS_OK);
    for (uint32_t round = 0; round < 40; round++)
        check_random(set, &rng, (size_t)ms_rng_below(&rng, 3000),
                     1 + (uint32_t)ms_rng_below(&rng, SYMBOLS));
    check_random(set, &rng, MOST, SYMBOLS);
    assert_true(ms_gram_set_cut(set));
    assert_int_equal(ms_gram_set_count(set), MS_LIMIT_TRACE_GRAMS);
    check_random(set, &rng, 500, 7);
    ms_gram_set_free(set);
}

/* A new call where nothing more is kept is left out with what it would begin. */
static void full_of_calls(void **state)
{
    (void)state;
    struct ms_gram_set *set = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_gram_set_new(&set, &err), MS_OK);
    const uint32_t most = MS_LIMIT_TRACE_GRAMS;
    for (uint32_t i = 0; i < most; i++) {
        ms_gram_set_break(set);
        assert_int_equal(ms_gram_set_add(set, i, &err), MS_OK);
    }
    assert_false(ms_gram_set_cut(set));
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(ms_gram_set_add(set, most + i, &err), MS_OK);
    assert_true(ms_gram_set_cut(set));
    assert_int_equal(ms_gram_set_count(set), most);
    assert_int_equal(ms_gram_set_get(set, most - 1).symbol[0], most - 1);
    ms_gram_set_free(set);
}

/* ---- traces ---- */

struct plain {
    int64_t first_seen_us;
    bool tracked;
    const char *calls; /* '_' is a pseudo-call; upper case folds to lower */
    struct ms_buf blob;
};

static const uint32_t FOLD[54] = {
    [0] = 0,  [1] = 1,  [2] = 2,  [3] = 3,  [4] = 4,  [5] = 5,  [26] = 26,
    [27] = 0, [28] = 1, [29] = 2, [30] = 3, [31] = 4, [32] = 5,
};

static uint32_t id_of(char c)
{
    return c == '_' ? 26 : c >= 'a' ? (uint32_t)(c - 'a') : (uint32_t)(c - 'A') + 27;
}

static void encode(struct plain *p)
{
    struct ms_trace_encoder *encoder = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    for (const char *c = p->calls; *c; c++) {
        struct ms_trace_call call = {.api = id_of(*c), .time_us = 5, .repeated = 3};
        assert_int_equal(ms_trace_encoder_add(encoder, &call, &err), MS_OK);
    }
    ms_buf_init(&p->blob, SIZE_MAX);
    assert_int_equal(ms_trace_encoder_finish(encoder, &p->blob, &err), MS_OK);
    ms_trace_encoder_free(encoder);
}

static enum ms_status read_grams(struct plain *processes, size_t count, size_t apis,
                                 struct ms_gram_set *set)
{
    bool pseudo[54] = {[26] = true};
    const struct ms_normal_apis known = {apis, FOLD, pseudo};
    struct ms_normal_process rows[4];
    struct ms_error err = {0};
    for (size_t i = 0; i < count; i++)
        rows[i] =
            (struct ms_normal_process){processes[i].first_seen_us, (int64_t)i, processes[i].tracked,
                                       ms_span_of(processes[i].blob.data, processes[i].blob.len)};
    return ms_grams_read(rows, count, &known, set, &err);
}

static void traces(void **state)
{
    (void)state;
    struct plain p[4] = {{20, true, "bB_b", {0}},
                         {10, true, "a_bA", {0}},
                         {5, false, "fdfdfd", {0}},
                         {MS_TIME_NONE, true, "__ea", {0}}};
    struct ms_gram_set *set = NULL;
    struct ms_error err = {0};
    char text[256];
    assert_int_equal(ms_gram_set_new(&set, &err), MS_OK);
    for (size_t i = 0; i < 4; i++)
        encode(&p[i]);
    /* By first seen: aba, then b, then ea; untracked df is not there, and no process goes on. */
    assert_int_equal(read_grams(p, 4, 54, set), MS_OK);
    show(set, text);
    assert_string_equal(text, "a b ab ba aba e ea");
    /* What is read replaces what was there. */
    assert_int_equal(read_grams(p, 1, 54, set), MS_OK);
    show(set, text);
    assert_string_equal(text, "b");
    /* An id that no table has, and a damaged block. */
    assert_int_equal(read_grams(p, 4, 27, set), MS_REJECT);
    p[1].blob.data[p[1].blob.len - 1] ^= 1;
    assert_int_equal(read_grams(p, 4, 54, set), MS_REJECT);
    for (size_t i = 0; i < 4; i++)
        ms_buf_release(&p[i].blob);
    ms_gram_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),          cmocka_unit_test(lengths),
        cmocka_unit_test(random_sequences), cmocka_unit_test(full_of_calls),
        cmocka_unit_test(traces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
