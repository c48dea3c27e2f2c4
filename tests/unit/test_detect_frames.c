/* Unit tests: answers of a reading worker that lies are refused, whatever came before. */
#include "detect/reader_frames.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct ms_normal_options view = {.length = 4};

static enum ms_status give(struct ms_read_trace *t, enum ms_reader_frame type, const void *bytes,
                           size_t n)
{
    struct ms_error err = {.status = MS_OK};
    return ms_read_trace_take(t, &view, (uint32_t)type, ms_span_of(bytes, n), &err);
}
#define GIVE(t, type, text) give(t, type, text, sizeof text - 1)

/* Two names, three calls, two processes. */
static void begin(struct ms_read_trace *t)
{
    ms_read_trace_init(t);
    assert_int_equal(GIVE(t, MS_READER_NAMES, "\x03one\x03two"), MS_OK);
    assert_int_equal(GIVE(t, MS_READER_CALLS, "\0\x01\0"), MS_OK);
    assert_int_equal(GIVE(t, MS_READER_PROCESSES, "\x07\x02py\x09\0"), MS_OK);
}

static void runs(struct ms_read_trace *t)
{
    assert_int_equal(GIVE(t, MS_READER_LENGTHS, "\x01\x01\x01"), MS_OK);
    assert_int_equal(GIVE(t, MS_READER_COUNTS, "\x01\x01\x01"), MS_OK);
}

static void test_whole(void **state)
{
    struct ms_read_trace t;
    (void)state;
    begin(&t);
    runs(&t);
    assert_int_equal(GIVE(&t, MS_READER_ORIGINS, "\0\x05\x01\0\0\x06"), MS_OK);
    assert_int_equal(GIVE(&t, MS_READER_RESULT, "\0\0\x09"), MS_OK);
    assert_true(t.complete);
    assert_int_equal(t.n, 3);
    assert_true(ms_span_equal_text(t.calls[1], "two"));
    assert_int_equal(t.origins[2].entry, 6);
    assert_int_equal(t.processes[t.origins[1].process].pid, 9);
    assert_true(ms_span_equal_text(t.processes[0].name, "py"));
    assert_int_equal(t.whole_length, 9);
    /* Nothing comes behind a result until it was taken. */
    assert_int_equal(GIVE(&t, MS_READER_NAMES, "\x01z"), MS_REJECT);
    ms_read_trace_reset(&t);
    assert_int_equal(GIVE(&t, MS_READER_CALLS, "\0"), MS_REJECT);
    ms_read_trace_release(&t);
}

static void refuse(enum ms_reader_frame type, const void *bytes, size_t n)
{
    struct ms_read_trace t;
    begin(&t);
    assert_int_equal(give(&t, type, bytes, n), MS_REJECT);
    assert_false(t.complete);
    ms_read_trace_release(&t);
}
#define REFUSE(type, text) refuse(type, text, sizeof text - 1)

static void test_lies(void **state)
{
    char name[MS_LIMIT_PROCESS_NAME_BYTES + 8] = "\x01\x81\x02"; /* pid 1, 257 bytes */
    (void)state;
    REFUSE(MS_READER_CALLS, "\x02");                 /* a name that was not sent */
    REFUSE(MS_READER_CALLS, "\0\0");                 /* more calls than the view lets through */
    REFUSE(MS_READER_CALLS, "\x80");                 /* a number without end */
    REFUSE(MS_READER_NAMES, "\x05one");              /* a name longer than its frame */
    REFUSE(MS_READER_PROCESSES, "\x01\x09py");       /* likewise */
    REFUSE(MS_READER_PROCESSES, "\x01");             /* half a process */
    refuse(MS_READER_PROCESSES, name, 3 + 257);      /* a name that is too long */
    REFUSE(MS_READER_ORIGINS, "\x02\0");             /* a process that was not sent */
    REFUSE(MS_READER_ORIGINS, "\0\x80\x80\x80\x20"); /* an entry beyond any trace */
    REFUSE(MS_READER_ORIGINS, "\0\0\0\0\0\0\0\0");   /* more than calls */
    REFUSE(MS_READER_GRAMS, "\x02\0\x02");           /* a name that was not sent */
    REFUSE(MS_READER_GRAMS, "\x04\0\0\0\0");         /* longer than any */
    REFUSE(MS_READER_MEMBER, "");                    /* no name */
    REFUSE(MS_READER_RESULT, "\0\0\x09");            /* calls without origins */
    REFUSE(MS_READER_RESULT, "\x04\0\0");            /* no state */
    REFUSE(MS_READER_RESULT, "\x03\x09\0");          /* no kind of foreign */
    REFUSE(MS_READER_FINAL, "");                     /* no log is followed here */
    refuse((enum ms_reader_frame)99, "", 0);
}

static void test_missing_runs(void **state)
{
    struct ms_read_trace t;
    (void)state;
    begin(&t);
    assert_int_equal(GIVE(&t, MS_READER_ORIGINS, "\0\x05\x01\0\0\x06"), MS_OK);
    assert_int_equal(GIVE(&t, MS_READER_RESULT, "\0\0\x09"), MS_REJECT);
    ms_read_trace_release(&t);
}

/* More names of processes than are kept cost the report, not the memory. */
static void test_too_many(void **state)
{
    struct ms_read_trace t;
    enum ms_status status = MS_OK;
    size_t sent = 0;
    (void)state;
    begin(&t);
    while (status == MS_OK && sent <= MS_LIMIT_PROCESSES) {
        status = GIVE(&t, MS_READER_PROCESSES, "\x01\0");
        sent += status == MS_OK;
    }
    assert_int_equal(status, MS_REJECT);
    assert_int_equal(sent, MS_LIMIT_PROCESSES - 2);
    ms_read_trace_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_missing_runs),
        cmocka_unit_test(test_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
