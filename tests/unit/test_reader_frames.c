/* What a worker may say to detect: a good answer, and every kind of one that is refused. */
#include "base/limits.h"
#include "detect/reader_frames.h"
#include "detect/trace_input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct ms_normal_options VIEW = {.collapse = 1, .length = 3};

static enum ms_status take(struct ms_read_trace *trace, enum ms_reader_frame type,
                           const void *bytes, size_t n)
{
    /* On the heap and of the exact size, so that a byte read too far shows. */
    uint8_t *copy = malloc(n ? n : 1);
    struct ms_error err = {0};
    assert_non_null(copy);
    if (n)
        memcpy(copy, bytes, n);
    enum ms_status status =
        ms_read_trace_take(trace, &VIEW, (uint32_t)type, ms_span_of(copy, n), &err);
    free(copy);
    return status;
}

#define TAKE(trace, type, text) take(trace, type, text, sizeof(text) - 1)

/* Names open, close, read; the view: open close open. */
static void begin(struct ms_read_trace *trace)
{
    ms_read_trace_reset(trace);
    assert_int_equal(TAKE(trace, MS_READER_NAMES, "\4open\5close"), MS_OK);
    assert_int_equal(TAKE(trace, MS_READER_NAMES, "\4read"), MS_OK);
    assert_int_equal(TAKE(trace, MS_READER_CALLS, "\0\1\0"), MS_OK);
}

static void go_on(struct ms_read_trace *trace)
{
    /* 5, 300, 2^32 - 1 */
    assert_int_equal(TAKE(trace, MS_READER_LENGTHS, "\5\254\2\377\377\377\377\17"), MS_OK);
    assert_int_equal(TAKE(trace, MS_READER_COUNTS, "\2"), MS_OK);
    assert_int_equal(TAKE(trace, MS_READER_COUNTS, "\1\2"), MS_OK);
    assert_int_equal(TAKE(trace, MS_READER_PROCESSES, "\7\3a.b"), MS_OK);
    assert_int_equal(TAKE(trace, MS_READER_ORIGINS, "\0\0\0\1\0\2"), MS_OK);
}

static const char RESULT[] = "\0\0\11"; /* OK, not foreign, 9 calls */

static void good(void **state)
{
    (void)state;
    struct ms_read_trace t;
    ms_read_trace_init(&t);
    for (int i = 0; i < 2; i++) { /* the second time in the memory of the first */
        begin(&t);
        go_on(&t);
        assert_int_equal(TAKE(&t, MS_READER_GRAMS, "\1\0\1\1\2\0\1"), MS_OK);
        assert_int_equal(TAKE(&t, MS_READER_GRAMS, "\3\0\1\2"), MS_OK);
        if (i == 1)
            assert_int_equal(TAKE(&t, MS_READER_GRAMS, "\0"), MS_OK);
        assert_int_equal(TAKE(&t, MS_READER_RESULT, RESULT), MS_OK);
        assert_true(t.complete);
        assert_int_equal(t.n, 3);
        assert_memory_equal(t.calls[1].data, "close", 5);
        assert_int_equal(t.run_lengths[0], 5);
        assert_int_equal(t.run_lengths[1], 300);
        assert_true(t.run_lengths[2] == UINT32_MAX);
        assert_int_equal(t.run_counts[0], 2);
        assert_int_equal(t.run_counts[1], 1);
        assert_int_equal(t.gram_count, 4);
        assert_int_equal(t.grams_cut, i == 1);
        static const struct ms_gram want[] = {{{0, MS_GRAM_NONE, MS_GRAM_NONE}},
                                              {{1, MS_GRAM_NONE, MS_GRAM_NONE}},
                                              {{0, 1, MS_GRAM_NONE}},
                                              {{0, 1, 2}}};
        assert_memory_equal(t.grams, want, sizeof want);
        struct ms_gram_table table = ms_read_trace_table(&t);
        struct ms_input_trace input = ms_read_trace_input(&t);
        assert_int_equal(table.name_count, 3);
        assert_memory_equal(table.names[2].data, "read", 4);
        assert_int_equal(table.gram_count, 4);
        assert_int_equal(input.n, 3);
        assert_int_equal(input.calls[1], 1);
        assert_int_equal(input.grams.n, 4);
    }
    ms_read_trace_release(&t);
}

/* A report without calls has nothing of all this. */
static void nothing(void **state)
{
    (void)state;
    struct ms_read_trace t;
    ms_read_trace_init(&t);
    assert_int_equal(TAKE(&t, MS_READER_RESULT, "\1\0\0"), MS_OK);
    assert_int_equal(t.n + t.symbol_count + t.gram_count, 0);
    ms_read_trace_release(&t);
}

static void refused(enum ms_reader_frame type, const char *bytes, size_t n)
{
    struct ms_read_trace t;
    ms_read_trace_init(&t);
    begin(&t);
    if (take(&t, type, bytes, n) != MS_REJECT)
        fail_msg("frame %d of %zu bytes, beginning with %d, was taken", (int)type, n, bytes[0]);
    assert_false(t.complete);
    ms_read_trace_release(&t);
}
#define REFUSED(type, text) refused(type, text, sizeof(text) - 1)

static void bad_numbers(void **state)
{
    (void)state;
    REFUSED(MS_READER_NAMES, "\6short");
    REFUSED(MS_READER_CALLS, "\0"); /* more than the view lets through */
    REFUSED(MS_READER_LENGTHS, "\1\1\1\1");
    REFUSED(MS_READER_COUNTS, "\1\1\1\1");
    REFUSED(MS_READER_LENGTHS, "\200\200\200\200\20"); /* 2^32 */
    REFUSED(MS_READER_COUNTS, "\377\377\377\377\377\377\377\377\377\1");
    REFUSED(MS_READER_COUNTS, "\200"); /* no end */
    REFUSED(MS_READER_GRAMS, "\1\3");  /* no such name */
    REFUSED(MS_READER_GRAMS, "\3\0\1\3");
    REFUSED(MS_READER_GRAMS, "\1\377\377\377\377\17");
    REFUSED(MS_READER_GRAMS, "\1\200\200\200\200\20"); /* 2^32, which is no 0 */
    REFUSED(MS_READER_GRAMS, "\4\0\1\0\1");
    REFUSED(MS_READER_GRAMS, "\377\377\377\377\377\377\377\377\377\1");
    REFUSED(MS_READER_GRAMS, "\2\0");   /* cut short */
    REFUSED(MS_READER_GRAMS, "\0\1\0"); /* one behind the last */
    REFUSED((enum ms_reader_frame)99, "");
    REFUSED(MS_READER_RESULT, "\0\0\11"); /* calls without runs and origins */
}

/* Each of the lists must have a number for every call. */
static void lists_too_short(void **state)
{
    (void)state;
    static const enum ms_reader_frame all[] = {MS_READER_LENGTHS, MS_READER_COUNTS,
                                               MS_READER_ORIGINS};
    for (size_t without = 0; without < 3; without++) {
        struct ms_read_trace t;
        ms_read_trace_init(&t);
        begin(&t);
        assert_int_equal(TAKE(&t, MS_READER_PROCESSES, "\7\0"), MS_OK);
        for (size_t i = 0; i < 3; i++) {
            const size_t n = all[i] == MS_READER_ORIGINS ? 6 : 3;
            assert_int_equal(take(&t, all[i], "\0\0\0\0\0\0", i == without ? n - n / 3 : n), MS_OK);
        }
        assert_int_equal(TAKE(&t, MS_READER_RESULT, RESULT), MS_REJECT);
        ms_read_trace_release(&t);
    }
}

/* As many n-grams as the limit are taken, and no more; the same one may come again and again. */
static void too_many_grams(void **state)
{
    (void)state;
    struct ms_read_trace t;
    char frame[2 << 10];
    ms_read_trace_init(&t);
    begin(&t);
    for (size_t i = 0; i < sizeof frame; i += 2) {
        frame[i] = 1;
        frame[i + 1] = 2;
    }
    for (size_t i = 0; i < MS_LIMIT_TRACE_GRAMS; i += sizeof frame / 2)
        assert_int_equal(take(&t, MS_READER_GRAMS, frame, sizeof frame), MS_OK);
    assert_int_equal(t.gram_count, MS_LIMIT_TRACE_GRAMS);
    assert_int_equal(take(&t, MS_READER_GRAMS, frame, 2), MS_REJECT);
    ms_read_trace_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),           cmocka_unit_test(nothing),
        cmocka_unit_test(bad_numbers),    cmocka_unit_test(lists_too_short),
        cmocka_unit_test(too_many_grams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
