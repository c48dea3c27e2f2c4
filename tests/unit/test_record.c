/* label/record: antivirus reports of four formats. Bad input first: cut at each byte, wrong types
 * for each member, endless engines, depth, members that occur twice, NUL in names, long texts. */
#include "base/buf.h"
#include "base/limits.h"
#include "label/record.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ms_record_reader *reader;

static int make_reader(void **state)
{
    (void)state;
    return ms_record_reader_new(&reader, NULL) == MS_OK ? 0 : -1;
}

static int free_reader(void **state)
{
    (void)state;
    ms_record_reader_free(reader);
    return 0;
}

/* Reads a copy that ends where the memory does, so that a look beyond is seen. The copy stays until
 * the next call: the record borrows it. */
static enum ms_status read_bytes(const void *bytes, size_t n, enum ms_record_format format,
                                 struct ms_record *out, struct ms_error *err)
{
    static uint8_t *copy;
    free(copy);
    copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, bytes, n);
    return ms_record_read(reader, ms_span_of(copy, n), format, out, err);
}

static enum ms_status read_text(const char *text, struct ms_record *out)
{
    return read_bytes(text, strlen(text), MS_RECORD_UNKNOWN, out, NULL);
}

static void assert_text(struct ms_record_text text, const char *expected)
{
    assert_int_equal(text.kind, MS_RECORD_STRING);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.at, expected, text.len);
}

#define HASHES "\"md5\":\"0123\",\"sha1\":\"4567\",\"sha256\":\"89ab\""

static const char vt3[] =
    "{\"data\":{\"type\":\"file\",\"id\":\"x\",\"attributes\":{" HASHES
    ",\"size\":12,\"tags\":[\"peexe\",\"\\u0075px\"],\"first_submission_date\":1600000000,"
    "\"last_analysis_date\":1700000000,\"nsrl_info\":{},\"names\":[\"a\\tb\",\"\\ud83d\\ude00\"],"
    "\"popular_threat_classification\":{\"suggested_threat_label\":\"a.b/c\","
    "\"popular_threat_category\":[{\"count\":1,\"value\":\"x\"},{\"count\":5,\"value\":\"y\"}]},"
    "\"last_analysis_results\":{"
    "\"Z\":{\"category\":\"confirmed-timeout\",\"result\":null},"
    "\"A\":{\"category\":\"malicious\",\"result\":\"W\\u00e9\"},"
    "\"H\":{\"category\":\"harmless\",\"result\":\"clean\"},\"Q\":{\"category\":\"new\"},"
    "\"N\":null,\"M\":{\"category\":7,\"result\":{}},\"R\":{\"result\":\"W2\"},"
    "\"S\":{\"result\":null}}}},\"links\":{\"x\":-1.5e3}}";

static const char vt2[] =
    "{" HASHES ",\"response_code\":1,\"scan_date\":\"2015-09-28 01:01:14\",\"size\":7,"
    "\"first_seen\":\"2012-02-29 23:59:59\",\"tags\":[\"peexe\"],\"scans\":{"
    "\"A\":{\"detected\":true,\"version\":\"1\",\"result\":\"Worm\",\"update\":\"20150927\"},"
    "\"B\":{\"detected\":false,\"result\":null},\"C\":{\"detected\":1,\"result\":\"x\"},"
    "\"D\":{\"detected\":0.0,\"result\":\"x\"},\"E\":{\"detected\":\"\",\"result\":\"x\"},"
    "\"F\":{\"detected\":[0],\"result\":\"x\"},\"G\":{\"detected\":{},\"result\":\"x\"},"
    "\"H\":{\"result\":\"x\"},\"I\":{\"detected\":true},\"J\":7}}";

static const char opswat[] =
    "{\"file_info\":{" HASHES ",\"file_size\":5,\"upload_timestamp\":\"2021-01-29T22:53:45.604Z\"},"
    "\"scan_results\":{\"start_time\":\"2021-01-29T22:53:46.823Z\",\"scan_details\":{"
    "\"A\":{\"threat_found\":\"Worm\",\"scan_result_i\":1},"
    "\"B\":{\"threat_found\":\"\",\"scan_result_i\":0},"
    "\"C\":{\"threat_found\":\"x\",\"scan_result_i\":2},"
    "\"D\":{\"threat_found\":null},\"E\":{\"threat_found\":\"x\"},\"F\":{\"scan_result_i\":3},"
    "\"G\":{\"threat_found\":\"\",\"scan_result_i\":10}}}}";

static const char simple[] =
    "{" HASHES ",\"scan_date\":\"2013-12-19 22:51:10\",\"first_seen\":\"2013-12-18 00:00:00\","
    "\"av_labels\":[[\"A\",\"Worm\"],[\"A\",\"Worm\"],[\"B\",null],[\"C\"],7,[\"D\",\"\",1],"
    "[1,\"x\"]]}";

static const char *const sound[] = {vt3, vt2, opswat, simple};

/* ---- what is bad ---- */

static void cut_at_each_byte(void **state)
{
    struct ms_record record;
    struct ms_error err = {0};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (size_t n = 0; n < strlen(sound[i]); n++) {
            assert_int_equal(read_bytes(sound[i], n, MS_RECORD_UNKNOWN, &record, &err), MS_REJECT);
            assert_false(ms_record_sound(reader));
            assert_memory_equal(err.text, "line 1, byte ", 13);
        }
    /* The same with the end far from the beginning: what lies in front is read in place. */
    for (size_t pad = 0; pad < 200; pad++) {
        struct ms_buf body;
        ms_buf_init(&body, 1 << 16);
        for (size_t i = 0; i < pad; i++)
            (void)ms_buf_append_byte(&body, i % 7 ? ' ' : '\n');
        (void)ms_buf_append_text(&body, vt2);
        assert_int_equal(read_bytes(body.data, body.len, MS_RECORD_UNKNOWN, &record, &err), MS_OK);
        assert_text(record.md5, "0123");
        assert_int_equal(record.engine_count, 10);
        assert_int_equal(read_bytes(body.data, body.len - 1, MS_RECORD_UNKNOWN, &record, &err),
                         MS_REJECT);
        char place[64];
        (void)snprintf(place, sizeof place, "line %zu, byte %zu: ends", (pad + 6) / 7 + 1,
                       body.len - 1);
        assert_memory_equal(err.text, place, strlen(place));
        ms_buf_release(&body);
    }
}

static void no_reports(void **state)
{
    static const struct {
        const char *text, *why;
        bool sound;
    } cases[] = {
        {"", "empty", false},
        {"nul", "true, false or null", false},
        {"<html>quota</html>", "not a JSON value", false},
        {"{} x", "behind the document's end", false},
        {"{\"md5\":\"\xff\"}", "not UTF-8", false},
        {"{\"md5\":\"\x01\"}", "control character", false},
        {"{\"data\":{\"attributes\":{}}", "ends within an object", false},
        {"null", "no report of a known format", true},
        {"[]", "no report of a known format", true},
        {"{}", "no report of a known format", true},
        {"{\"error\":{\"code\":\"NotFoundError\"}}", "no report of a known format", true},
        {"{\"data\":[]}", "no report of a known format", true},
        {"{\"data\":{\"attributes\":[]}}", "no report of a known format", true},
        {"{\"data\":1,\"attributes\":{}}", "no report of a known format", true},
        {"{\"scan_results\":[]}", "no report of a known format", true},
        {"{" HASHES "}", "no report of a known format", true},
    };
    struct ms_record record;
    struct ms_error err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            read_bytes(cases[i].text, strlen(cases[i].text), MS_RECORD_UNKNOWN, &record, &err),
            MS_REJECT);
        assert_non_null(strstr(err.text, cases[i].why));
        assert_int_equal(ms_record_sound(reader), cases[i].sound);
    }
    for (int i = MS_RECORD_VT3; i <= MS_RECORD_SIMPLE; i++) {
        enum ms_record_format other = i == MS_RECORD_VT3 ? MS_RECORD_VT2 : MS_RECORD_VT3;
        assert_int_equal(read_bytes(sound[i - 1], strlen(sound[i - 1]), other, &record, &err),
                         MS_REJECT);
        assert_non_null(strstr(err.text, other == MS_RECORD_VT3 ? "\"attributes\"" : "\"scans\""));
        assert_true(ms_record_sound(reader));
    }
}

/* Every member in turn with a value of each type in its place: nothing but MS_OK and MS_REJECT, and
 * MS_OK only with numbers in range. */
static void wrong_types(void **state)
{
    static const char *const values[] = {"null",      "true",
                                         "0",         "-1",
                                         "1e999",     "99999999999999999999",
                                         "\"\"",      "\"x\"",
                                         "[]",        "{}",
                                         "[[]]",      "[{}]",
                                         "[1,2]",     "NaN",
                                         "-Infinity", "{\"a\":{\"b\":[]}}",
                                         "[[1,2,3]]"};
    struct ms_record record;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const char *text = sound[i];
        for (const char *colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
            if (colon[-1] != '"' || colon[1] == '/')
                continue;
            /* The value's end: the comma or bracket at its own depth. */
            const char *end = colon + 1;
            bool in_text = false;
            for (int depth = 0;; end++) {
                if (*end == '"')
                    in_text = !in_text;
                if (in_text)
                    continue;
                if (depth == 0 && (*end == ',' || *end == '}' || *end == ']'))
                    break;
                depth += (*end == '{' || *end == '[') - (*end == '}' || *end == ']');
            }
            for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                char odd[2048];
                int n = snprintf(odd, sizeof odd, "%.*s%s%s", (int)(colon + 1 - text), text,
                                 values[v], end);
                enum ms_status status =
                    read_bytes(odd, (size_t)n, MS_RECORD_UNKNOWN, &record, NULL);
                assert_true(ms_record_sound(reader));
                if (status == MS_REJECT)
                    continue;
                assert_int_equal(status, MS_OK);
                assert_true(record.size >= -1 && record.first_submission_ms >= 0);
                assert_true(record.last_analysis_ms >= 0);
                assert_true(record.engine_count <= 10 && record.tag_count <= 3);
            }
        }
    }
}

static void odd_hashes(void **state)
{
    struct ms_record record;
    (void)state;
    assert_int_equal(
        read_text("{\"md5\":null,\"sha1\":12,\"sha256\":\"\",\"av_labels\":null}", &record), MS_OK);
    assert_int_equal(record.format, MS_RECORD_SIMPLE);
    assert_null(record.missing);
    assert_int_equal(record.md5.kind, MS_RECORD_NULL);
    assert_int_equal(record.sha1.kind, MS_RECORD_NUMBER);
    assert_null(record.sha1.at);
    assert_text(record.sha256, "");
    assert_int_equal(record.engines_kind, MS_RECORD_NULL);
    assert_int_equal(
        read_text("{\"attributes\":{\"last_analysis_results\":{},\"md5\":1}}", &record), MS_OK);
    assert_string_equal(record.missing, "sha1");
    assert_int_equal(record.engines_kind, MS_RECORD_OBJECT);
    assert_int_equal(read_text("{\"attributes\":{}}", &record), MS_OK);
    assert_string_equal(record.missing, "last_analysis_results");
    assert_int_equal(record.engines_kind, MS_RECORD_ABSENT);
    assert_int_equal(read_text("{\"response_code\":0,\"resource\":\"x\"}", &record), MS_OK);
    assert_int_equal(record.format, MS_RECORD_VT2);
    assert_string_equal(record.missing, "scans");
    assert_int_equal(record.response_code, 0);
}

static void many_engines(void **state)
{
    struct ms_record record;
    struct ms_error err;
    struct ms_buf body;
    (void)state;
    ms_buf_init(&body, 16 << 20);
    for (size_t count = 100000; count <= 200000; count += 100000) {
        ms_buf_clear(&body);
        (void)ms_buf_append_text(&body, "{\"attributes\":{\"last_analysis_results\":{");
        for (size_t i = 0; i < count; i++)
            (void)ms_buf_printf(&body, "%s\"e%zu\":{\"result\":\"r%zu\"}", i ? "," : "", i, i);
        /* Each name once more, in the opposite order: the last value counts, at the first place. */
        for (size_t i = count; i-- > 0;)
            (void)ms_buf_printf(&body, ",\"e%zu\":{\"result\":\"s%zu\"}", i, i);
        (void)ms_buf_append_text(&body, "}}}");
        enum ms_status status = read_bytes(body.data, body.len, MS_RECORD_UNKNOWN, &record, &err);
        if (count > MS_LIMIT_RECORD_ENGINES) {
            assert_int_equal(status, MS_REJECT);
            assert_non_null(strstr(err.text, "engines"));
            continue;
        }
        assert_int_equal(status, MS_OK);
        assert_int_equal(record.engine_count, count);
        for (size_t i = 0; i < count; i += 997) {
            char name[32];
            (void)snprintf(name, sizeof name, "e%zu", i);
            assert_text(record.engines[i].name, name);
            name[0] = 's';
            assert_text(record.engines[i].label, name);
        }
    }
    /* The reader is as good as new. */
    assert_int_equal(read_text(vt3, &record), MS_OK);
    assert_int_equal(record.engine_count, 8);
    ms_buf_release(&body);
}

static void deep_and_long(void **state)
{
    struct ms_record record;
    struct ms_error err;
    size_t n = (size_t)15 << 20;
    char *text = malloc(n + 64);
    (void)state;
    assert_non_null(text);
    memset(text, '[', n);
    assert_int_equal(read_bytes(text, n, MS_RECORD_UNKNOWN, &record, &err), MS_REJECT);
    assert_non_null(strstr(err.text, "nested too deeply"));
    for (size_t i = 0; i < n; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    assert_int_equal(read_bytes(text, n, MS_RECORD_UNKNOWN, &record, &err), MS_REJECT);
    assert_non_null(strstr(err.text, "nested too deeply"));
    /* A long text, passed over and kept. */
    memset(text, 'x', n);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + n, "\",\"av_labels\":[]}", 18);
    assert_int_equal(read_bytes(text, n + 17, MS_RECORD_UNKNOWN, &record, &err), MS_OK);
    memcpy(text, "{\"md5\":\"", 8);
    assert_int_equal(read_bytes(text, n + 17, MS_RECORD_UNKNOWN, &record, &err), MS_OK);
    assert_true(record.md5.len <= MS_LIMIT_JSON_STRING_BYTES);
    assert_true(record.md5.len > MS_LIMIT_JSON_STRING_BYTES - 4);
    free(text);
    char *large = calloc(1, MS_LIMIT_SCAN_BYTES + 1);
    assert_non_null(large);
    assert_int_equal(read_bytes(large, MS_LIMIT_SCAN_BYTES + 1, MS_RECORD_UNKNOWN, &record, &err),
                     MS_REJECT);
    assert_non_null(strstr(err.text, "larger than"));
    free(large);
}

static void members_twice(void **state)
{
    struct ms_record record;
    (void)state;
    assert_int_equal(
        read_text("{\"attributes\":{\"md5\":\"a\",\"md5\":\"b\",\"size\":1,\"size\":null,"
                  "\"last_analysis_results\":{\"Old\":{\"result\":\"x\"}},"
                  "\"last_analysis_results\":{\"A\":{\"result\":\"1\",\"result\":null,"
                  "\"category\":\"failure\"},\"B\":{\"result\":\"2\"},"
                  "\"A\":{\"result\":\"4\",\"result\":\"3\"}},"
                  "\"tags\":[\"a\",\"b\"],\"tags\":[\"c\"],"
                  "\"trusted_verdict\":{\"verdict\":\"goodware\"},\"trusted_verdict\":{},"
                  "\"popular_threat_classification\":{\"suggested_threat_label\":\"x\"},"
                  "\"popular_threat_classification\":{}}}",
                  &record),
        MS_OK);
    assert_text(record.md5, "b");
    assert_int_equal(record.size, -1);
    assert_int_equal(record.engine_count, 2);
    assert_text(record.engines[0].name, "A");
    assert_text(record.engines[0].label, "3");
    assert_int_equal(record.engines[0].category, MS_VT_MALICIOUS); /* the first row is forgotten */
    assert_text(record.engines[1].label, "2");
    assert_int_equal(record.tag_count, 1);
    assert_false(record.trusted);
    assert_null(record.suggested.at);
    /* Whole objects too, and the envelope. */
    assert_int_equal(
        read_text("{\"attributes\":{\"md5\":\"a\",\"last_analysis_results\":{\"A\":{}}},"
                  "\"attributes\":{\"sha1\":\"b\"}}",
                  &record),
        MS_OK);
    assert_int_equal(record.md5.kind, MS_RECORD_ABSENT);
    assert_int_equal(record.engine_count, 0);
    assert_int_equal(record.engines_kind, MS_RECORD_ABSENT);
    assert_int_equal(read_text("{\"attributes\":{\"md5\":\"a\"},\"data\":{\"id\":\"i\","
                               "\"attributes\":{\"md5\":\"b\"}},\"attributes\":{\"md5\":\"c\"}}",
                               &record),
                     MS_OK);
    assert_text(record.md5, "b");
    assert_text(record.id, "i");
    assert_int_equal(read_text("{\"data\":{\"attributes\":{\"md5\":\"a\"}},\"data\":{}}", &record),
                     MS_REJECT);
    assert_int_equal(read_text("{\"scans\":{\"A\":{\"detected\":true,\"result\":\"x\"}},"
                               "\"scans\":{\"B\":{\"detected\":true,\"detected\":false}}}",
                               &record),
                     MS_OK);
    assert_int_equal(record.engine_count, 1);
    assert_false(record.engines[0].counts);
}

static void odd_texts(void **state)
{
    struct ms_record record;
    (void)state;
    assert_int_equal(
        read_text("{\"attributes\":{\"last_analysis_results\":{\"A\\u0000B\":{\"result\":"
                  "\"W\\u0000x\\ud800y\"},\"A\\u0000C\":{\"result\":\"\"},"
                  "\"\":{\"result\":\"\\ud83d\\ude00\"}}}}",
                  &record),
        MS_OK);
    assert_int_equal(record.engine_count, 3);
    assert_int_equal(record.engines[0].name.len, 3);
    assert_memory_equal(record.engines[0].name.at, "A\0B", 3);
    assert_int_equal(record.engines[0].label.len, 7);
    assert_memory_equal(record.engines[0].label.at, "W\0x\xef\xbf\xbdy", 7);
    assert_text(record.engines[1].label, "");
    assert_text(record.engines[2].name, "");
    assert_text(record.engines[2].label, "\xf0\x9f\x98\x80");
}

/* ---- what is good ---- */

static void a_vt3_answer(void **state)
{
    struct ms_record record;
    (void)state;
    assert_int_equal(read_text(vt3, &record), MS_OK);
    assert_int_equal(record.format, MS_RECORD_VT3);
    assert_null(record.missing);
    assert_text(record.md5, "0123");
    assert_text(record.sha1, "4567");
    assert_text(record.sha256, "89ab");
    assert_text(record.id, "x");
    assert_text(record.type, "file");
    assert_int_equal(record.size, 12);
    assert_int_equal(record.first_submission_ms, 1600000000000);
    assert_int_equal(record.last_analysis_ms, 1700000000000);
    assert_true(record.trusted);
    assert_text(record.category, "y");
    assert_text(record.suggested, "a.b/c");
    assert_int_equal(record.tag_count, 2);
    assert_text(record.tags[1], "upx");
    assert_true(record.response_code == MS_RECORD_NO_RESPONSE);
    static const struct {
        const char *name;
        enum ms_vt_category category;
        enum ms_record_kind label;
        bool counts, malformed;
    } rows[] = {{"Z", MS_VT_TIMEOUT, MS_RECORD_NULL, false, false},
                {"A", MS_VT_MALICIOUS, MS_RECORD_STRING, true, false},
                {"H", MS_VT_HARMLESS, MS_RECORD_STRING, true, false},
                {"Q", MS_VT_OTHER, MS_RECORD_ABSENT, false, true},
                {"N", MS_VT_OTHER, MS_RECORD_ABSENT, false, true},
                {"M", MS_VT_OTHER, MS_RECORD_OBJECT, true, false},
                {"R", MS_VT_MALICIOUS, MS_RECORD_STRING, true, false},
                {"S", MS_VT_UNDETECTED, MS_RECORD_NULL, false, false}};
    assert_int_equal(record.engine_count, sizeof rows / sizeof *rows);
    for (size_t i = 0; i < record.engine_count; i++) {
        assert_text(record.engines[i].name, rows[i].name);
        assert_int_equal(record.engines[i].category, rows[i].category);
        assert_int_equal(record.engines[i].label.kind, rows[i].label);
        assert_int_equal(record.engines[i].counts, rows[i].counts);
        assert_int_equal(record.engines[i].malformed, rows[i].malformed);
    }
    assert_text(record.engines[1].label, "W\xc3\xa9");
}

static void assert_rows(const struct ms_record *record, const char *counts, const char *malformed)
{
    assert_int_equal(record->engine_count, strlen(counts));
    for (size_t i = 0; i < record->engine_count; i++) {
        assert_int_equal(record->engines[i].counts, counts[i] == '1');
        assert_int_equal(record->engines[i].malformed, malformed[i] == '1');
    }
}

static void other_formats(void **state)
{
    struct ms_record record;
    (void)state;
    assert_int_equal(read_text(vt2, &record), MS_OK);
    assert_int_equal(record.format, MS_RECORD_VT2);
    assert_null(record.missing);
    assert_int_equal(record.response_code, 1);
    assert_int_equal(record.last_analysis_ms, 1443402074000);
    assert_int_equal(record.first_submission_ms, 1330559999000);
    assert_int_equal(record.size, 7);
    assert_int_equal(record.tag_count, 1);
    assert_rows(&record, "1010010010", "0000000111");
    assert_int_equal(record.engines[0].category, MS_VT_MALICIOUS);
    assert_int_equal(record.engines[1].category, MS_VT_UNDETECTED);

    assert_int_equal(read_text(opswat, &record), MS_OK);
    assert_int_equal(record.format, MS_RECORD_OPSWAT);
    assert_null(record.missing);
    assert_text(record.md5, "0123");
    assert_int_equal(record.size, 5);
    assert_int_equal(record.last_analysis_ms, 1611960826000);
    assert_int_equal(record.first_submission_ms, 0);
    assert_rows(&record, "1000000", "0000110");
    assert_int_equal(record.engines[1].category, MS_VT_UNDETECTED);
    assert_int_equal(record.engines[2].category, MS_VT_SUSPICIOUS);
    assert_int_equal(record.engines[5].category, MS_VT_FAILURE);
    assert_int_equal(record.engines[6].category, MS_VT_UNSUPPORTED);

    assert_int_equal(read_text(simple, &record), MS_OK);
    assert_int_equal(record.format, MS_RECORD_SIMPLE);
    assert_null(record.missing);
    assert_int_equal(record.last_analysis_ms, 1387493470000);
    assert_rows(&record, "1111111", "0001110");
    assert_text(record.engines[1].label, "Worm");
    assert_int_equal(record.engines[1].category, MS_VT_MALICIOUS);
    assert_int_equal(record.engines[2].label.kind, MS_RECORD_NULL);
    assert_int_equal(record.engines[2].category, MS_VT_OTHER);
    assert_int_equal(record.engines[6].name.kind, MS_RECORD_NUMBER);
}

/* The order in which formats are tried, and what is only begun comes after what is whole. */
static void the_order_of_formats(void **state)
{
    struct ms_record record;
    (void)state;
    assert_int_equal(read_text("{\"av_labels\":[]," HASHES ",\"scans\":{}}", &record), MS_OK);
    assert_int_equal(record.format, MS_RECORD_VT2);
    assert_int_equal(read_text("{\"av_labels\":[]," HASHES ",\"attributes\":{}}", &record), MS_OK);
    assert_int_equal(record.format, MS_RECORD_SIMPLE);
    assert_int_equal(read_text("{\"av_labels\":[],\"attributes\":{}}", &record), MS_OK);
    assert_int_equal(record.format, MS_RECORD_VT3);
    for (int i = MS_RECORD_VT3; i <= MS_RECORD_SIMPLE; i++) {
        assert_int_equal(
            read_bytes(sound[i - 1], strlen(sound[i - 1]), (enum ms_record_format)i, &record, NULL),
            MS_OK);
        assert_int_equal(record.format, i);
        assert_null(record.missing);
    }
}

/* ---- several ---- */

struct seen {
    size_t good, bad, stop_at;
    char elements[256];
};

static enum ms_status see(void *ctx, struct ms_span element, enum ms_status status,
                          const struct ms_record *record, const struct ms_error *why,
                          struct ms_error *err)
{
    struct seen *seen = ctx;
    size_t used = strlen(seen->elements);
    if (status == MS_OK) {
        assert_non_null(record);
        seen->good++;
    } else {
        assert_null(record);
        assert_non_null(strstr(why->text, "no report of a known format"));
        seen->bad++;
    }
    (void)snprintf(seen->elements + used, sizeof seen->elements - used, "%.*s|", (int)element.len,
                   (const char *)element.data);
    return seen->good + seen->bad == seen->stop_at ? ms_error_set(err, MS_E_IO, "full") : MS_OK;
}

static struct seen see_all(const char *text, size_t stop_at, enum ms_status expected,
                           struct ms_error *err)
{
    struct seen seen = {.stop_at = stop_at};
    assert_int_equal(
        ms_record_each(reader, ms_span_of(text, strlen(text)), MS_RECORD_UNKNOWN, see, &seen, err),
        expected);
    return seen;
}

static void several(void **state)
{
    struct ms_error err = {0};
    (void)state;
    struct seen seen = see_all(" [ {\"av_labels\":[]} ,7, {\"scans\" : {}}\n]", 0, MS_OK, &err);
    assert_int_equal(seen.good, 2);
    assert_int_equal(seen.bad, 1);
    assert_string_equal(seen.elements, "{\"av_labels\":[]}|7|{\"scans\" : {}}|");
    seen = see_all("{\"data\": [{\"attributes\":{}},{}],\"meta\":{}}", 0, MS_OK, &err);
    assert_string_equal(seen.elements, "{\"attributes\":{}}|{}|");
    seen = see_all(" {\"scans\":{}} ", 0, MS_OK, &err);
    assert_string_equal(seen.elements, "{\"scans\":{}}|");
    /* "data" in a report of another format is no list. */
    seen = see_all("{\"data\":[1,2],\"scans\":{}}", 0, MS_OK, &err);
    assert_string_equal(seen.elements, "{\"data\":[1,2],\"scans\":{}}|");
    assert_int_equal(see_all("[]", 0, MS_OK, &err).good, 0);
    assert_int_equal(see_all("{}", 0, MS_OK, &err).bad, 1);
    seen = see_all("[{\"scans\":{}},{\"scans\":{}},{\"scans\":{}}]", 2, MS_E_IO, &err);
    assert_int_equal(seen.good, 2);
    seen = see_all("[{\"scans\":{}},\n{\"scans\":{]}]", 0, MS_REJECT, &err);
    assert_int_equal(seen.good, 1);
    assert_memory_equal(err.text, "line 2, byte 25: ", 17);
    seen = see_all("[{\"scans\":{}}", 0, MS_REJECT, &err);
    assert_int_equal(seen.good, 1);
    assert_int_equal(see_all("", 0, MS_REJECT, &err).good, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_at_each_byte),     cmocka_unit_test(no_reports),
        cmocka_unit_test(wrong_types),          cmocka_unit_test(odd_hashes),
        cmocka_unit_test(many_engines),         cmocka_unit_test(deep_and_long),
        cmocka_unit_test(members_twice),        cmocka_unit_test(odd_texts),
        cmocka_unit_test(a_vt3_answer),         cmocka_unit_test(other_formats),
        cmocka_unit_test(the_order_of_formats), cmocka_unit_test(several),
    };
    return cmocka_run_group_tests(tests, make_reader, free_reader);
}
