/* The normaliser's loops and its merge by time: by hand, against slow re-computations, and that
 * loops once dropped stay so. */
#include "base/rng.h"
#include "store/trace/encode.h"
#include "store/trace/normalise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_CALLS = 6000, MOST_PROCESSES = 4, LETTERS = 26 };

static void encode(const struct ms_trace_call *calls, size_t n, struct ms_buf *blob)
{
    struct ms_trace_encoder *encoder = NULL;
    assert_int_equal(ms_trace_encoder_new(&encoder, NULL), MS_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ms_trace_encoder_add(encoder, &calls[i], NULL), MS_OK);
    ms_buf_init(blob, SIZE_MAX);
    assert_int_equal(ms_trace_encoder_finish(encoder, blob, NULL), MS_OK);
    ms_trace_encoder_free(encoder);
}

/* A process of letters through the normaliser, and the result as letters. */
static void run(const char *letters, const struct ms_normal_options *options, char *out)
{
    static struct ms_trace_call calls[MOST_CALLS];
    struct ms_normal_apis apis = {LETTERS, NULL, NULL};
    struct ms_buf blob;
    struct ms_sequence sequence;
    size_t n = strlen(letters);
    assert_true(n <= MOST_CALLS);
    for (size_t i = 0; i < n; i++)
        calls[i] =
            (struct ms_trace_call){.api = (uint32_t)(letters[i] - 'a'), .time_us = MS_TIME_NONE};
    encode(calls, n, &blob);
    struct ms_normal_process process = {.tracked = true, .trace = ms_span_of(blob.data, blob.len)};
    ms_sequence_init(&sequence);
    assert_int_equal(ms_normalise(&process, 1, &apis, options, &sequence, NULL), MS_OK);
    for (size_t i = 0; i < sequence.n; i++)
        out[i] = (char)('a' + sequence.calls[i]);
    out[sequence.n] = '\0';
    if (!options->length && !options->once && !options->collapse)
        assert_int_equal(sequence.n + sequence.looped_dropped, n);
    ms_sequence_release(&sequence);
    ms_buf_release(&blob);
}

static void expect(uint32_t loops, uint32_t collapse, const char *letters, const char *expected)
{
    struct ms_normal_options options = {.loops = loops, .collapse = collapse};
    char out[MOST_CALLS + 1];
    run(letters, &options, out);
    assert_string_equal(out, expected);
}

static void by_hand(void **state)
{
    (void)state;
    expect(0, 0, "abababab", "abababab");
    expect(1, 0, "abababab", "abababab");
    expect(2, 0, "abababab", "ab");
    expect(2, 0, "ababa", "aba");
    expect(2, 0, "abcabcabcd", "abcabcabcd");
    expect(3, 0, "abcabcabcd", "abcd");
    expect(4, 0, "abcdcdabcd", "abcd");
    expect(3, 0, "abcdcdabcd", "abcdabcd");
    /* Runs are compared as wholes: with their lengths, unless those are collapsed. */
    expect(2, 0, "aabaab", "aab");
    expect(2, 0, "aabab", "aabab");
    expect(2, 1, "aabab", "ab");
    expect(2, 2, "aaabaab", "aab");
    /* A run alone is no loop. */
    expect(8, 0, "aaaaaaaa", "aaaaaaaa");
    expect(8, 1, "aaaaaaaa", "a");
    expect(32, 0, "", "");
}

/* The definition again, on a string: rightmost squares of the least period are dropped. */
static void recompute(const char *letters, uint32_t loops, char *out)
{
    size_t n = 0;
    for (; *letters; letters++) {
        if (n && out[n - 1] == *letters)
            continue; /* collapse 1 */
        out[n++] = *letters;
        for (size_t p = 2; p <= loops && 2 * p <= n; p++)
            if (memcmp(out + n - p, out + n - 2 * p, p) == 0) {
                n -= p;
                break;
            }
    }
    out[n] = '\0';
}

static void random_loops(void **state)
{
    (void)state;
    struct ms_rng rng;
    static char letters[MOST_CALLS + 1], out[MOST_CALLS + 1], again[MOST_CALLS + 1];
    size_t dropped = 0;
    ms_rng_init(&rng, 7, 7, 7);
    for (int round = 0; round < 400; round++) {
        size_t n = ms_rng_below(&rng, round % 20 ? 300 : MOST_CALLS), at = 0;
        uint64_t used = 2 + ms_rng_below(&rng, 5);
        while (at < n) { /* stretches of noise, and of what was there before */
            size_t len = 1 + ms_rng_below(&rng, 40), back = 1 + ms_rng_below(&rng, 40);
            bool copy = at > back && ms_rng_below(&rng, 2);
            for (size_t i = 0; i < len && at < n; i++, at++)
                letters[at] =
                    copy ? letters[at - back] : (char)('a' + (char)ms_rng_below(&rng, used));
        }
        letters[n] = '\0';
        struct ms_normal_options options = {
            .collapse = 1, .loops = 2 + (uint32_t)ms_rng_below(&rng, MS_NORMAL_LOOP_MOST - 1)};
        run(letters, &options, out);
        recompute(letters, options.loops, again);
        assert_string_equal(out, again);
        dropped += n - strlen(out);
        run(out, &options, again);
        assert_string_equal(out, again);
    }
    assert_true(dropped > 10000);
}

/* --- merge by time --- */

struct plain {
    size_t n;
    struct ms_trace_call calls[200];
};

/* Picks, again and again, the process whose next call has the least time so far. */
static size_t merge(const struct plain *p, size_t count, uint32_t *out, uint32_t *owner)
{
    size_t at[MOST_PROCESSES] = {0}, n = 0;
    int64_t latest[MOST_PROCESSES];
    for (size_t i = 0; i < count; i++)
        latest[i] = p[i].n ? p[i].calls[0].time_us : 0;
    for (;;) {
        size_t best = count;
        for (size_t i = 0; i < count; i++)
            if (at[i] < p[i].n && (best == count || latest[i] < latest[best]))
                best = i;
        if (best == count)
            return n;
        owner[n] = (uint32_t)best;
        out[n++] = p[best].calls[at[best]++].api;
        if (at[best] < p[best].n && p[best].calls[at[best]].time_us > latest[best])
            latest[best] = p[best].calls[at[best]].time_us;
    }
}

static void random_merge(void **state)
{
    (void)state;
    struct ms_rng rng;
    ms_rng_init(&rng, 8, 8, 8);
    struct ms_normal_apis apis = {LETTERS, NULL, NULL};
    struct ms_sequence sequence;
    ms_sequence_init(&sequence);
    for (int round = 0; round < 300; round++) {
        static struct plain p[MOST_PROCESSES];
        struct ms_normal_process processes[MOST_PROCESSES];
        struct ms_buf blobs[MOST_PROCESSES];
        uint32_t expected[MOST_PROCESSES * 200], owner[MOST_PROCESSES * 200];
        size_t count = 1 + ms_rng_below(&rng, MOST_PROCESSES);
        for (size_t i = 0; i < count; i++) {
            int64_t now = (int64_t)ms_rng_below(&rng, 10);
            p[i].n = ms_rng_below(&rng, 200);
            for (size_t k = 0; k < p[i].n; k++) {
                now += (int64_t)ms_rng_below(&rng, 4) - 1; /* now and then back */
                p[i].calls[k] = (struct ms_trace_call){
                    .api = (uint32_t)ms_rng_below(&rng, 3),
                    .time_us = ms_rng_below(&rng, 6) == 0 ? MS_TIME_NONE : now};
            }
            encode(p[i].calls, p[i].n, &blobs[i]);
            /* Given the other way round; position decides, for none has a first_seen. */
            processes[count - 1 - i] = (struct ms_normal_process){
                MS_TIME_NONE, (int64_t)i, true, ms_span_of(blobs[i].data, blobs[i].len)};
        }
        size_t n = merge(p, count, expected, owner), kept = 0;
        struct ms_normal_options options = {.order = MS_ORDER_TIME,
                                            .collapse = (uint32_t)(round & 1)};
        for (size_t i = 0; i < n; i++) /* runs end where another process has its turn */
            if (!options.collapse || i == 0 || expected[i] != expected[i - 1] ||
                owner[i] != owner[i - 1]) {
                expected[kept] = expected[i];
                owner[kept++] = owner[i];
            }
        assert_int_equal(ms_normalise(processes, count, &apis, &options, &sequence, NULL), MS_OK);
        assert_int_equal(sequence.n, kept);
        if (kept)
            assert_memory_equal(sequence.calls, expected, kept * sizeof *expected);
        for (size_t i = 0; i < count; i++)
            ms_buf_release(&blobs[i]);
    }
    ms_sequence_release(&sequence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(random_loops),
                                       cmocka_unit_test(random_merge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
