/* Report reading: each layout's events, the outcome states, wrong types, and every cut. */
#include "base/buf.h"
#include "base/limits.h"
#include "extract/report/read.h"
#include "extract/report/when.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct feed {
    const char *data;
    size_t len, at, step;
};

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    (void)err;
    struct feed *feed = ctx;
    *n = feed->len - feed->at;
    if (*n > cap)
        *n = cap;
    if (feed->step && *n > feed->step)
        *n = feed->step;
    if (*n)
        memcpy(buf, feed->data + feed->at, *n);
    feed->at += *n;
    return MS_OK;
}

/* Events as text, one a line. */
static enum ms_status on_process(void *ctx, const struct ms_process_info *p, struct ms_error *err)
{
    (void)err;
    ms_buf_printf(ctx, "process %" PRIu64 " %" PRIu64 " '%.*s' %s", p->pid, p->parent_pid,
                  (int)p->name.len, (const char *)p->name.data, p->tracked ? "" : "untracked ");
    if (p->first_seen_us == MS_TIME_NONE)
        ms_buf_append_text(ctx, "-\n");
    else
        ms_buf_printf(ctx, "%" PRId64 "\n", p->first_seen_us);
    return MS_OK;
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *c, struct ms_error *err)
{
    (void)err;
    ms_buf_printf(ctx, "call '%.*s' '%.*s' tid %" PRIu64 " +%" PRIu64 " ", (int)c->api.len,
                  (const char *)c->api.data, (int)c->category.len, (const char *)c->category.data,
                  c->tid, c->repeated);
    if (c->time_us == MS_TIME_NONE)
        ms_buf_append_text(ctx, "-\n");
    else
        ms_buf_printf(ctx, "%" PRId64 "\n", c->time_us);
    return MS_OK;
}

static enum ms_status on_end(void *ctx, struct ms_error *err)
{
    (void)err;
    ms_buf_append_text(ctx, "end\n");
    return MS_OK;
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *i, struct ms_error *err)
{
    (void)err;
    ms_buf_printf(ctx, "info %.*s '%.*s' '%.*s' '%.*s' '%.*s' %d%d\n", (int)i->sandbox.len,
                  (const char *)i->sandbox.data, (int)i->version.len, (const char *)i->version.data,
                  (int)i->package.len, (const char *)i->package.data, (int)i->target_sha256.len,
                  (const char *)i->target_sha256.data, (int)i->target_name.len,
                  (const char *)i->target_name.data, i->has_behavior, i->has_processes);
    return MS_OK;
}

static enum ms_scanner_check check = MS_SCAN_CHECK_STRUCTURE;

static enum ms_status read_text(const char *text, size_t len, size_t step, struct ms_buf *events,
                                struct ms_report_result *result, struct ms_error *err)
{
    struct feed feed = {text, len, 0, step};
    struct ms_trace_sink sink = {events, on_process, on_call, on_end, on_info, NULL};
    ms_buf_clear(events);
    return ms_report_read(give, &feed, check, &sink, result, err);
}

static void expect(const char *text, enum ms_report_state state, const char *events)
{
    struct ms_buf got;
    ms_buf_init(&got, SIZE_MAX);
    static const size_t steps[] = {0, 1, 7};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct ms_report_result result;
        struct ms_error err = {0};
        enum ms_status status = read_text(text, strlen(text), steps[i], &got, &result, &err);
        assert_string_equal(ms_report_state_name(result.state), ms_report_state_name(state));
        assert_int_equal(status, state == MS_REPORT_INVALID ? MS_REJECT : MS_OK);
        if (state != MS_REPORT_INVALID)
            assert_string_equal(ms_buf_text(&got), events);
        else if (!strstr(err.text, events))
            fail_msg("'%s' instead of '%s'", err.text, events);
        if (state != MS_REPORT_INVALID)
            assert_int_equal(result.bytes, strlen(text));
    }
    ms_buf_release(&got);
}

#define CUCKOO2                                                                                   \
    "{\"info\": {\"version\": \"2.0.7\", \"package\": \"exe\", \"id\": 3}, \"behavior\": "        \
    "{\"generic\": [{\"pid\": 9, \"calls\": [{\"api\": \"no\"}]}], \"processes\": [\n"            \
    "{\"pid\": 460, \"ppid\": 372, \"process_name\": \"lsass.exe\", \"track\": false, "           \
    "\"first_seen\": 1692455124.875, \"calls\": []},\n"                                           \
    "{\"pid\": 660, \"ppid\": 2160, \"process_name\": \"a\\u0000b.exe\", \"track\": true, "       \
    "\"first_seen\": 1692455125, \"modules\": [{\"calls\": [1]}], \"calls\": [\n"                 \
    "{\"category\": \"file\", \"api\": \"NtCreateFile\", \"status\": 1, \"return_value\": -1, "   \
    "\"arguments\": {\"api\": \"x\", \"n\": [1, {}]}, \"time\": 1692455124.890625, \"tid\": 12, " \
    "\"flags\": {}},\n"                                                                           \
    "{\"category\": \"__notification__\", \"api\": \"__exception__\", \"arguments\": {}, "        \
    "\"time\": 1692455124.9, \"tid\": 4294967295}]}],\n"                                          \
    "\"processtree\": [{\"pid\": 1}]},\n"                                                         \
    "\"target\": {\"category\": \"file\", \"file\": {\"name\": \"x.bin\", \"sha256\": \"ab\"}}}\n"

static const char cuckoo2_events[] = "process 460 372 'lsass.exe' untracked 1692455124875000\nend\n"
                                     "process 660 2160 'a";

static void test_cuckoo2(void **state)
{
    (void)state;
    struct ms_buf got;
    struct ms_report_result result;
    struct ms_error err = {0};
    ms_buf_init(&got, SIZE_MAX);
    assert_int_equal(read_text(CUCKOO2, strlen(CUCKOO2), 0, &got, &result, &err), MS_OK);
    assert_memory_equal(got.data, cuckoo2_events, strlen(cuckoo2_events));
    const char *rest = strstr(ms_buf_text(&got), "call ");
    assert_non_null(rest);
    assert_string_equal(rest, "call 'NtCreateFile' 'file' tid 12 +0 1692455124890625\n"
                              "call '__exception__' '__notification__' tid 4294967295 +0 "
                              "1692455124900000\nend\n"
                              "info cuckoo2 '2.0.7' 'exe' 'ab' 'x.bin' 11\n");
    assert_int_equal(result.state, MS_REPORT_OK);
    assert_int_equal(result.processes, 2);
    assert_int_equal(result.calls, 2);
    assert_int_equal(result.calls_expanded, 2);
    ms_buf_release(&got);
}

#define CAPE                                                                                    \
    "{\"statistics\": {}, \"target\": {\"file\": {\"name\": \"s.exe\", \"md5\": \"m\"}}, "      \
    "\"CAPE\": {}, \"info\": {\"version\": \"2.4-CAPE\", \"package\": \"dll\"}, "               \
    "\"behavior\": {\"processes\": [{\"process_id\": 5, \"process_name\": \"r\xc3\xa9.exe\", "  \
    "\"parent_id\": 4, \"first_seen\": \"2023-06-02 18:12:53,486\", \"calls\": ["               \
    "{\"timestamp\": \"2023-06-02 18:12:53,500\", \"thread_id\": \"77\", \"caller\": \"0x1\", " \
    "\"category\": \"filesystem\", \"api\": \"NtReadFile\", \"status\": true, "                 \
    "\"arguments\": [{\"name\": \"api\", \"value\": \"y\"}], \"repeated\": 4, \"id\": 0}], "    \
    "\"threads\": [\"77\"]}], \"anomaly\": [], \"encryptedbuffers\": []}}"

static void test_cape(void **state)
{
    (void)state;
    expect(CAPE, MS_REPORT_OK,
           "process 5 4 'r\xc3\xa9.exe' 1685729573486000\n"
           "call 'NtReadFile' 'filesystem' tid 77 +4 1685729573500000\nend\n"
           "info cape '2.4-CAPE' 'dll' '' 's.exe' 11\n");
}

static void test_cuckoo1(void **state)
{
    (void)state;
    expect("{\"info\": {\"version\": \"0.4.2\"}, \"behavior\": {\"processes\": [{"
           "\"parent_id\": \"1\", \"process_name\": \"o.exe\", \"process_id\": \"22\", "
           "\"first_seen\": \"20120101000000.1\", \"calls\": [{\"category\": \"system\", "
           "\"status\": \"SUCCESS\", \"return\": \"0x0\", \"timestamp\": "
           "\"2012-01-02 03:04:05,006\", \"thread_id\": \"8\", \"repeated\": 2, "
           "\"api\": \"LdrLoadDll\", \"arguments\": []}]}]}}",
           MS_REPORT_OK,
           "process 22 1 'o.exe' 1325376000100000\ncall 'LdrLoadDll' 'system' tid 8 +2 "
           "1325473445006000\nend\ninfo cuckoo1 '0.4.2' '' '' '' 11\n");
    expect("{\"info\": {\"version\": \"1.3-NG\"}, \"behavior\": {\"processes\": [{"
           "\"process_id\": 1, \"calls\": [{\"api\": \"a\", \"caller\": \"0x1\", "
           "\"timestamp\": \"\", \"arguments\": []}]}], \"encryptedbuffers\": []}}",
           MS_REPORT_OK,
           "process 1 0 '' -\ncall 'a' '' tid 0 +0 -\nend\ninfo cuckoo1 '1.3-NG' '' '' '' 11\n");
}

/* Members come in any order; what follows the calls completes the process. */
static void test_order(void **state)
{
    (void)state;
    expect("{\"behavior\": {\"processes\": [{\"calls\": [{\"tid\": \"5\", \"time\": \"1.5\", "
           "\"arguments\": {}, \"api\": \"a\"}], \"track\": false, \"process_name\": \"late\", "
           "\"pid\": 7}, {\"pid\": 8}, {\"calls\": [], \"pid\": 9}]}}",
           MS_REPORT_NO_CALLS,
           "process 0 0 '' -\ncall 'a' '' tid 5 +0 1500000\n"
           "process 7 0 'late' untracked -\nend\n"
           "process 8 0 '' -\nend\nprocess 0 0 '' -\nprocess 9 0 '' -\nend\n"
           "info cuckoo2 '' '' '' '' 11\n");
}

static void test_states(void **state)
{
    (void)state;
    expect("{\"info\": {\"version\": \"2.0.7\"}}", MS_REPORT_NO_BEHAVIOR,
           "info cuckoo2 '2.0.7' '' '' '' 00\n");
    expect("{\"info\": {}, \"behavior\": null}", MS_REPORT_NO_BEHAVIOR,
           "info unknown '' '' '' '' 00\n");
    expect("{\"behavior\": {}}", MS_REPORT_NO_BEHAVIOR, "info unknown '' '' '' '' 10\n");
    expect("{\"behavior\": [ ]}", MS_REPORT_NO_BEHAVIOR, "info unknown '' '' '' '' 00\n");
    expect("{\"behavior\": {\"apistats\": {}, \"processes\": null}}", MS_REPORT_NO_BEHAVIOR,
           "info cuckoo2 '' '' '' '' 10\n");
    expect("{\"CAPE\": [], \"behavior\": {\"processes\": []}}", MS_REPORT_NO_CALLS,
           "info cape '' '' '' '' 11\n");
    expect("{\"behavior\": {\"processes\": [{\"pid\": 1, \"calls\": [{\"api\": \"__x__\"}, "
           "{\"api\": \"\"}, {\"category\": \"c\"}]}]}}",
           MS_REPORT_NO_CALLS,
           "process 1 0 '' -\ncall '__x__' '' tid 0 +0 -\ncall '' '' tid 0 +0 -\n"
           "call '' 'c' tid 0 +0 -\nend\ninfo cuckoo2 '' '' '' '' 11\n");
}

static void test_invalid(void **state)
{
    (void)state;
    expect("", MS_REPORT_INVALID, "line 1, byte 0: empty");
    expect("<html>", MS_REPORT_INVALID, "line 1, byte 0: ");
    expect("[]", MS_REPORT_INVALID, "no sandbox report");
    expect("{\"a\": 1}", MS_REPORT_INVALID, "no sandbox report");
    expect("{\"behavior\": [1]}", MS_REPORT_INVALID, "behavior is no object");
    expect("{\"behavior\": {\"processes\": {}}}", MS_REPORT_INVALID, "is no array");
    expect("{\"behavior\": {\"processes\": [3]}}", MS_REPORT_INVALID, "is no object");
    expect("{\"behavior\": {\"processes\": [{\"calls\": {}}]}}", MS_REPORT_INVALID, "no array");
    expect("{\"behavior\": {\"processes\": [{\"calls\": [\"5f0\"]}]}}", MS_REPORT_INVALID,
           "an entry of a process's calls is no object");
    expect("{\"behavior\": {\"processes\": [{\"calls\": [], \"calls\": []}]}}", MS_REPORT_INVALID,
           "two lists of calls");
    expect("{\"behavior\": {\"processes\": [], \"processes\": []}}", MS_REPORT_INVALID,
           "two lists of processes");
    expect("{\"behavior\": {}, \"behavior\": {}}", MS_REPORT_INVALID, "twice");
    expect("{\"behavior\": {\"processes\": []}}]", MS_REPORT_INVALID, "behind");
    expect("{\"behavior\": {\"processes\": []},\n\"debug\": {\"log\": [\"a\" {]}}",
           MS_REPORT_INVALID, "line 2, byte 55: ");
    const char *outside = "{\"behavior\": {\"processes\": []},\n\"debug\": {\"log\": [\"a\" 1]}}";
    expect(outside, MS_REPORT_NO_CALLS, "info unknown '' '' '' '' 11\n");
    check = MS_SCAN_CHECK_GRAMMAR;
    expect(outside, MS_REPORT_INVALID, "line 2, byte 54: neither a comma");
    check = MS_SCAN_CHECK_STRUCTURE;
}

/* A time like the one before is not parsed again; one that is too long to remember is no trap. */
static void test_same_times(void **state)
{
    (void)state;
    char text[2048], digits[400];
    memset(digits, '0', sizeof digits - 1);
    digits[sizeof digits - 1] = '\0';
    (void)snprintf(text, sizeof text,
                   "{\"behavior\": {\"processes\": [{\"pid\": 1, \"calls\": [{\"time\": \"\"}, "
                   "{\"time\": 1.5}, {\"time\": 1.5}, {\"time\": 2.5}, {\"time\": 1.%s}, "
                   "{\"time\": \"\"}, {\"time\": 1.5}, {\"api\": \"a\"}]}]}}",
                   digits);
    expect(text, MS_REPORT_OK,
           "process 1 0 '' -\ncall '' '' tid 0 +0 -\ncall '' '' tid 0 +0 1500000\n"
           "call '' '' tid 0 +0 1500000\ncall '' '' tid 0 +0 2500000\n"
           "call '' '' tid 0 +0 1000000\ncall '' '' tid 0 +0 -\n"
           "call '' '' tid 0 +0 1500000\ncall 'a' '' tid 0 +0 -\nend\n"
           "info cuckoo2 '' '' '' '' 11\n");
}

/* Fields of the wrong type count as absent. */
static void test_wrong_types(void **state)
{
    (void)state;
    expect("{\"info\": [], \"target\": {\"file\": [\"x\"]}, \"behavior\": {\"processes\": [{"
           "\"pid\": {}, \"ppid\": -4, \"process_name\": 7, \"first_seen\": [1], \"track\": 0, "
           "\"calls\": [{\"api\": 12, \"category\": {\"a\": []}, \"tid\": 1.5, \"time\": true, "
           "\"repeated\": \"x\", \"arguments\": 3}, {\"api\": \"b\", \"repeated\": -1, "
           "\"tid\": 99999999999999999999, \"time\": 1e300}, {\"api\": \"c\", \"api\": \"d\", "
           "\"repeated\": 18446744073709551615}]}]}}",
           MS_REPORT_OK,
           "process 0 0 '' -\ncall '' '' tid 0 +0 -\ncall 'b' '' tid 0 +0 -\n"
           "call 'd' '' tid 0 +4294967296 -\nend\ninfo cuckoo2 '' '' '' '' 11\n");
}

/* Every cut of a real shape is refused, with a place, whatever was read before. */
static void test_cuts(void **state)
{
    (void)state;
    static const char *const texts[] = {CUCKOO2, CAPE};
    struct ms_buf got;
    ms_buf_init(&got, SIZE_MAX);
    for (size_t t = 0; t < 2; t++) {
        size_t len = strlen(texts[t]);
        while (texts[t][len - 1] == '\n')
            len--;
        for (size_t cut = 0; cut < len; cut++) {
            char *exact = malloc(cut + 1);
            assert_non_null(exact);
            memcpy(exact, texts[t], cut);
            struct ms_report_result result;
            struct ms_error err = {0};
            assert_int_equal(read_text(exact, cut, cut % 5, &got, &result, &err), MS_REJECT);
            assert_int_equal(result.state, MS_REPORT_INVALID);
            assert_int_equal(result.byte, cut);
            assert_int_equal(strncmp(err.text, "line ", 5), 0);
            assert_null(strstr(ms_buf_text(&got), "info "));
            free(exact);
        }
    }
    ms_buf_release(&got);
}

static enum ms_status refuse(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    (void)ctx, (void)call;
    return ms_error_set(err, MS_E_STORE, "full");
}

static void test_sink_stops(void **state)
{
    (void)state;
    struct ms_buf got;
    ms_buf_init(&got, SIZE_MAX);
    struct feed feed = {CAPE, strlen(CAPE), 0, 0};
    struct ms_trace_sink sink = {&got, on_process, refuse, on_end, on_info, NULL};
    struct ms_report_result result;
    struct ms_error err = {0};
    assert_int_equal(ms_report_read(give, &feed, check, &sink, &result, &err), MS_E_STORE);
    assert_string_equal(err.text, "full");
    ms_buf_release(&got);
}

static void expect_time(const char *text, int64_t expected)
{
    int64_t got = ms_when_parse(ms_span_of(text, strlen(text)));
    if (got != expected)
        fail_msg("%s: %" PRId64 " instead of %" PRId64, text, got, expected);
}

static void test_times(void **state)
{
    (void)state;
    expect_time("1692455124.875", 1692455124875000);
    expect_time("1692455124", 1692455124000000);
    expect_time("1692455124.8906251999", 1692455124890625);
    expect_time("1.692455124875E9", 1692455124875000);
    expect_time("1692455124875e-3", 1692455124875000);
    expect_time("-1.5", -1500000);
    expect_time("0", 0);
    expect_time("0.0000001", 0);
    expect_time("999999999999.9999999", 999999999999999999);
    expect_time("1000000000000", 1000000000000000000);
    expect_time("1000000000000.5", 1000000000000500000);
    expect_time("1700000000.015625", 1700000000015625);
    expect_time("7.", 7000000);
    expect_time(".5", 500000);
    expect_time("9223372036854.775807", INT64_MAX);
    expect_time("9223372036854.775808", MS_TIME_NONE);
    expect_time("1970-01-01 00:00:00", 0);
    expect_time("2000-02-29T12:00:00.5Z", 951825600500000);
    expect_time("2023-06-02 18:12:53,486", 1685729573486000);
    expect_time("1969-12-31 23:59:59,999999", -1);
    expect_time("2023/06/02 18:12:53", 1685729573000000);
    expect_time("20230602181253.486", 1685729573486000);
    expect_time("20230602181253", 1685729573000000);
    expect_time("20231302181253", MS_TIME_NONE);
    static const char *const bad[] = {"",
                                      "-",
                                      ".",
                                      "x",
                                      "1x",
                                      "1.2.3",
                                      "1.1234567x",
                                      "1000000000000..5",
                                      "1e",
                                      "1e99",
                                      "0x10",
                                      " 1",
                                      "+1",
                                      "nan",
                                      "2023-13-01 00:00:00",
                                      "2023-06-02 24:00:00",
                                      "2023-06-02 18:12:53,",
                                      "2023-06-02 18:12:53 x",
                                      "2023-06-02 18:12:5",
                                      "2023-0a-02 18:12:53"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_time(bad[i], MS_TIME_NONE);
}

static void test_speakeasy(void **state)
{
    (void)state;
    /* Version 1: the list alone, a list of calls an entry point. */
    expect("[{\"ep_type\": \"module_entry\", \"start_addr\": \"0x1\", \"apis\": [{\"pc\": \"0x2\", "
           "\"api_name\": \"KERNEL32.ExitProcess\", \"args\": [\"0x0\"], \"ret_val\": null}, "
           "{\"api_name\": \"MSVCRT.__set_app_type\"}, {\"api_name\": null}], \"error\": {}}, "
           "{\"apis\": null, \"ep_type\": 5}, {}]",
           MS_REPORT_OK,
           "process 0 0 'module_entry' -\ncall 'KERNEL32.ExitProcess' 'KERNEL32' tid 0 +0 -\n"
           "call 'MSVCRT.__set_app_type' 'MSVCRT' tid 0 +0 -\ncall '' '' tid 0 +0 -\nend\n"
           "process 0 0 '' -\nend\nprocess 0 0 '' -\nend\ninfo speakeasy '' '' '' '' 11\n");
    expect("[{}]", MS_REPORT_NO_CALLS, "process 0 0 '' -\nend\ninfo speakeasy '' '' '' '' 11\n");
    /* Version 1 whole, the type behind the calls. */
    expect("{\"path\": \"C:\\\\x\\\\a.exe\", \"sha256\": \"ab\", \"emu_version\": \"1.5\", "
           "\"report_version\": \"1.1\", \"entry_points\": [{\"apis\": [{\"api_name\": \"a.b\"}], "
           "\"ep_type\": \"thread\"}]}",
           MS_REPORT_OK,
           "process 0 0 '' -\ncall 'a.b' 'a' tid 0 +0 -\nprocess 0 0 'thread' -\nend\n"
           "info speakeasy '1.5' '' 'ab' 'a.exe' 11\n");
    /* Version 2: events of many kinds, with who ran them. */
    expect("{\"report_version\": \"2.0.0\", \"emulation_total_runtime\": 1.5, \"filepath\": "
           "\"/s/b\", \"entry_points\": [{\"ep_type\": \"x\", \"events\": [{\"event\": "
           "\"file_open\", \"api_name\": \"no\"}, {\"pos\": {\"tick\": 1, \"tid\": 7, \"pid\": 9}, "
           "\"event\": \"api\", \"api_name\": \"a.b\"}, {\"api_name\": \"no\"}]}]}",
           MS_REPORT_OK,
           "process 0 0 'x' -\ncall 'a.b' 'a' tid 7 +0 -\nprocess 9 0 'x' -\nend\n"
           "info speakeasy '2.0.0' '' '' 'b' 11\n");
    expect("{\"emu_version\": \"1\", \"entry_points\": null}", MS_REPORT_NO_BEHAVIOR,
           "info speakeasy '1' '' '' '' 00\n");
    expect("[]", MS_REPORT_INVALID, "not of entry points");
    expect("[{\"a\": 1}]", MS_REPORT_INVALID, "not of entry points");
    expect("[{\"apis\": [1]}]", MS_REPORT_INVALID, "line 1, byte 11: an entry");
    expect("[{\"apis\": [], \"events\": []}]", MS_REPORT_INVALID, "two lists of calls");
    expect("[{\"apis\": {}}]", MS_REPORT_INVALID, "no array");
    expect("{\"entry_points\": [], \"entry_points\": []}", MS_REPORT_INVALID, "occurs twice");
    expect("{\"entry_points\": [], \"behavior\": {}}", MS_REPORT_INVALID, "both behavior");
}

#define API_LINE(pid, method)                                          \
    "{\"Plugin\": \"apimon\", \"TimeStamp\": \"17.25\", \"PID\": " pid \
    ", \"PPID\": 1, \"TID\": 3, "                                      \
    "\"ProcessName\": \"a.exe\", \"Method\": \"" method "\", \"Event\": \"api_called\"}\n"
#define SYSTEM_LINE(method)                                                               \
    "{\"Plugin\": \"syscall\", \"TimeStamp\": 1e1, \"PID\": \"8\", \"Method\": \"" method \
    "\", \"Module\": \"nt\", \"Event\": \"0x0\"}\r\n"

static void test_drakvuf(void **state)
{
    (void)state;
    /* Processes take turns; a number that is given again to another program is another process. */
    expect(SYSTEM_LINE("NtClose") API_LINE("7", "A") API_LINE("5", "B") "\n" API_LINE("7", "C")
               SYSTEM_LINE("NtOpenKey") "{\"Plugin\": \"apimon\", \"Event\": \"dll_loaded\"}\n"
                                        "{\"Plugin\": \"procmon\", \"Method\": \"no\"}\n"
                                        "{\"Plugin\":\"apimon\",\"Method\":\"D\",\"PID\":7,"
                                        "\"ProcessName\":null,\"TID\":-1,\"TimeStamp\":\"x\"}",
           MS_REPORT_OK,
           "process 7 1 'a.exe' 17250000\ncall 'A' '' tid 3 +0 17250000\n"
           "call 'C' '' tid 3 +0 17250000\nend\nprocess 5 1 'a.exe' 17250000\n"
           "call 'B' '' tid 3 +0 17250000\nend\nprocess 7 0 '' -\ncall 'D' '' tid 0 +0 -\nend\n"
           "info drakvuf '' '' '' '' 11\n");
    /* System calls alone. */
    expect(SYSTEM_LINE("NtClose") SYSTEM_LINE("NtOpenKey"), MS_REPORT_OK,
           "process 8 0 '' 10000000\ncall 'NtClose' 'nt' tid 0 +0 10000000\n"
           "call 'NtOpenKey' 'nt' tid 0 +0 10000000\nend\ninfo drakvuf '' '' '' '' 11\n");
    expect("{\"Plugin\": \"procmon\"}", MS_REPORT_NO_CALLS, "info drakvuf '' '' '' '' 11\n");
    /* A bad line costs itself. */
    expect("cut\": 1}\n" API_LINE("7", "A") "{\"Plugin\": \"apimon\", \"Event\": \"api_called\"}\n"
                                            "{\"a\": 1} x\n[]\n\xff\n" API_LINE("7", "B") "{\"Plug",
           MS_REPORT_OK,
           "process 7 1 'a.exe' 17250000\ncall 'A' '' tid 3 +0 17250000\n"
           "call 'B' '' tid 3 +0 17250000\nend\ninfo drakvuf '' '' '' '' 11\n");
    expect("{\"a\": 1}\n{\"a\": 2}\n", MS_REPORT_INVALID, "line 2, byte 9: something behind");
}

static void test_drakvuf_remarks(void **state)
{
    (void)state;
    static const char text[] = API_LINE("7", "A") SYSTEM_LINE("B") "{]\n" API_LINE("7", "C") "{";
    struct ms_report_result result;
    struct ms_error err = {0};
    struct ms_buf events;
    ms_buf_init(&events, SIZE_MAX);
    assert_int_equal(read_text(text, sizeof text - 1, 0, &events, &result, &err), MS_OK);
    assert_int_equal(result.calls, 2);
    assert_non_null(strstr(result.remark, "2 of 5 lines were passed over; the first is line 3, "));
    assert_non_null(strstr(result.remark, "; 1 system calls beside"));
    ms_buf_release(&events);
}

static void test_foreign(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ms_report_foreign foreign;
    } cases[] = {{"plain text", MS_FOREIGN_TEXT},
                 {"{\"a\": 1}", MS_FOREIGN_JSON},
                 {"{\"a\": 1}\n{}", MS_FOREIGN_JSON},
                 {"[1]", MS_FOREIGN_JSON},
                 {"{\"behavior\": 1}", MS_FOREIGN_NO},
                 {"{\"info\": {}", MS_FOREIGN_NO},
                 {"", MS_FOREIGN_EMPTY},
                 {" ", MS_FOREIGN_NO},
                 {"{\"a\": ", MS_FOREIGN_NO}};
    struct ms_buf events;
    ms_buf_init(&events, SIZE_MAX);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_report_result result;
        struct ms_error err = {0};
        assert_int_equal(read_text(cases[i].text, strlen(cases[i].text), 0, &events, &result, &err),
                         MS_REJECT);
        if (result.foreign != cases[i].foreign)
            fail_msg("%s", cases[i].text);
    }
    ms_buf_release(&events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cuckoo2),
                                       cmocka_unit_test(test_cape),
                                       cmocka_unit_test(test_speakeasy),
                                       cmocka_unit_test(test_drakvuf),
                                       cmocka_unit_test(test_drakvuf_remarks),
                                       cmocka_unit_test(test_foreign),
                                       cmocka_unit_test(test_cuckoo1),
                                       cmocka_unit_test(test_order),
                                       cmocka_unit_test(test_states),
                                       cmocka_unit_test(test_invalid),
                                       cmocka_unit_test(test_wrong_types),
                                       cmocka_unit_test(test_same_times),
                                       cmocka_unit_test(test_cuts),
                                       cmocka_unit_test(test_sink_stops),
                                       cmocka_unit_test(test_times)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
