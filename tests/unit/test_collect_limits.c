/* The limits of a run: defaults, how time follows the others, and the form in which a blob
 * remembers what ended it. */
#include "base/limits.h"
#include "collect/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct ms_collect_limits defaults(void)
{
    const struct ms_collect_limits zeros = {.cpu_s = 0};
    return ms_collect_limits_settle(&zeros);
}

static void test_time_follows(void **state)
{
    (void)state;
    struct ms_collect_limits limits = defaults();
    assert_int_equal(limits.cpu_s, MS_LIMIT_WORKER_CPU_S);
    assert_int_equal(limits.unpack.entries, MS_LIMIT_UNPACK_ENTRIES);
    limits.cpu_s = 0;
    limits.unpack.entries = 131072;
    assert_int_equal(ms_collect_limits_settle(&limits).cpu_s, 7 * MS_LIMIT_WORKER_CPU_S);
    limits.unpack.total_bytes = (uint64_t)40 << 30;
    assert_int_equal(ms_collect_limits_settle(&limits).cpu_s, 10 * MS_LIMIT_WORKER_CPU_S);
    limits.unpack.total_bytes = MS_LIMIT_UNPACK_TOTAL_BYTES_MOST;
    limits.unpack.entries = MS_LIMIT_UNPACK_ENTRIES_MOST;
    assert_true(ms_collect_limits_settle(&limits).cpu_s <= MS_LIMIT_UNPACK_CPU_S_MOST);
    limits.cpu_s = MS_LIMIT_UNPACK_CPU_S_MOST;
    struct ms_worker_limits worker = ms_collect_limits_worker(&limits);
    assert_true(worker.wall_ms / 1000 == MS_LIMIT_UNPACK_CPU_S_MOST * 5U);
    assert_true(worker.output_bytes > limits.unpack.total_bytes);
    limits = defaults();
    assert_true(ms_collect_limits_worker(&limits).address_bytes == MS_LIMIT_WORKER_ADDRESS_BYTES);
    limits.unpack.entry_bytes = (uint64_t)2 << 30;
    assert_true(ms_collect_limits_worker(&limits).address_bytes >
                MS_LIMIT_WORKER_ADDRESS_BYTES + ((uint64_t)1 << 30));
}

/* Every limit alone: not raised when it is the same or lower, or when another one is; raised when
 * it is higher by one. */
static void test_raised_is_what_ended_it(void **state)
{
    (void)state;
    char text[MS_COLLECT_LIMITS_TEXT_BYTES];
    for (unsigned bit = 0; bit < 6; bit++) {
        struct ms_collect_limits then = defaults();
        ms_collect_limits_text(&then, 1U << bit, text);
        assert_false(ms_collect_limits_raised(&then, text));
        for (unsigned other = 0; other < 6; other++) {
            struct ms_collect_limits up = then;
            struct ms_collect_limits down = then;
            up.unpack.entries += other == 0;
            up.unpack.total_bytes += other == 1;
            up.unpack.entry_bytes += other == 2;
            up.unpack.depth += other == 3;
            up.cpu_s += other == 4;
            up.file_bytes += other == 5;
            down.unpack.entries -= other == 0;
            down.unpack.total_bytes -= other == 1;
            down.unpack.entry_bytes -= other == 2;
            down.unpack.depth -= other == 3;
            down.cpu_s -= other == 4;
            down.file_bytes -= other == 5;
            assert_true(ms_collect_limits_raised(&up, text) == (other == bit));
            assert_false(ms_collect_limits_raised(&down, text));
        }
    }
}

static void test_written_form(void **state)
{
    (void)state;
    char text[MS_COLLECT_LIMITS_TEXT_BYTES];
    struct ms_collect_limits limits = defaults();
    ms_collect_limits_text(&limits, 0, text);
    assert_string_equal(text, "");
    ms_collect_limits_text(&limits, MS_COLLECT_MAX_MEMBERS | MS_COLLECT_MAX_TIME, text);
    assert_string_equal(text, "{\"max-members\":20000,\"max-time\":60}");
    /* All at their highest must fit. */
    limits = (struct ms_collect_limits){.unpack = {.depth = UINT32_MAX,
                                                   .entries = UINT64_MAX >> 1,
                                                   .total_bytes = UINT64_MAX >> 1,
                                                   .entry_bytes = UINT64_MAX >> 1},
                                        .file_bytes = UINT64_MAX >> 1,
                                        .cpu_s = UINT32_MAX - 1};
    ms_collect_limits_text(&limits, 63, text);
    assert_true(strlen(text) < sizeof text - 1);
    assert_int_equal(text[strlen(text) - 1], '}');
    assert_false(ms_collect_limits_raised(&limits, text));
    limits.cpu_s++;
    assert_true(ms_collect_limits_raised(&limits, text));
    static const char *const unreadable[] = {
        "", "{", "[]", "{\"max-members\":\"1\"}", "{\"max-members\":-1}", "{\"other\":1}", "7"};
    for (size_t i = 0; i < sizeof unreadable / sizeof *unreadable; i++)
        assert_false(ms_collect_limits_raised(&limits, unreadable[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_follows),
        cmocka_unit_test(test_raised_is_what_ended_it),
        cmocka_unit_test(test_written_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
