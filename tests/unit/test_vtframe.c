/* label/vtframe: records as frames, and frames that no honest worker would send. */
#include "base/limits.h"
#include "label/vtjson.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

static const char document[] =
    "{\"attributes\":{\"md5\":\"0123456789ABCDEF0123456789abcdef\",\"sha1\":\"no\",\"size\":0,"
    "\"first_submission_date\":1600000000,\"last_analysis_date\":1700000000,\"nsrl_info\":{},"
    "\"popular_threat_classification\":{\"suggested_threat_label\":\"a.\\u00e9/c\"},"
    "\"last_analysis_results\":{\"A\\u0000B\":{\"category\":\"malicious\",\"result\":\"W\\u0000x\"}"
    ","
    "\"B\":{\"category\":\"timeout\",\"result\":null}}}}";

static void encode(struct ms_buf *frame)
{
    struct ms_record_reader *reader = NULL;
    struct ms_record record;
    ms_buf_init(frame, MS_LIMIT_FRAME_BYTES);
    assert_int_equal(ms_record_reader_new(&reader, NULL), MS_OK);
    assert_int_equal(ms_record_read(reader, ms_span_of(document, sizeof document - 1),
                                    MS_RECORD_UNKNOWN, &record, NULL),
                     MS_OK);
    assert_int_equal(ms_vt_report_encode(&record, frame, NULL), MS_OK);
    ms_record_reader_free(reader);
}

/* Decodes a copy that ends where the memory does. */
static enum ms_status decode(const uint8_t *bytes, size_t n, struct ms_vt_report *out)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    enum ms_status status = ms_vt_report_decode(ms_span_of(copy, n), out, NULL);
    free(copy);
    return status;
}

static void cut_and_changed(void **state)
{
    struct ms_vt_report report;
    struct ms_buf frame;
    (void)state;
    encode(&frame);
    for (size_t n = 0; n < frame.len; n++)
        assert_int_equal(decode(frame.data, n, &report), MS_REJECT);
    assert_int_equal(ms_buf_append_byte(&frame, 0), MS_OK);
    assert_int_equal(decode(frame.data, frame.len, &report), MS_REJECT);
    frame.len--;
    /* Any byte changed to any other: rejected, or within the limits all the same. */
    for (size_t at = 0; at < frame.len; at++) {
        uint8_t kept = frame.data[at];
        for (unsigned value = 0; value < 256; value++) {
            frame.data[at] = (uint8_t)value;
            if (decode(frame.data, frame.len, &report) != MS_OK)
                continue;
            assert_true(report.engine_count <= MS_LIMIT_ENGINES && report.size >= -1);
            assert_true(report.first_submission_ms >= 0 && report.last_analysis_ms >= 0);
            assert_true(report.format >= MS_RECORD_VT3 && report.format <= MS_RECORD_SIMPLE);
            for (size_t i = 0; i < report.engine_count; i++) {
                assert_true(report.engines[i].category <= MS_VT_OTHER);
                assert_true(strlen(report.engines[i].name) <= MS_LIMIT_ENGINE_NAME_BYTES);
            }
            ms_vt_report_release(&report);
        }
        frame.data[at] = kept;
    }
    ms_buf_release(&frame);
}

static void there_and_back(void **state)
{
    struct ms_vt_report report;
    struct ms_buf frame;
    (void)state;
    encode(&frame);
    assert_int_equal(decode(frame.data, frame.len, &report), MS_OK);
    assert_int_equal(report.format, MS_RECORD_VT3);
    assert_true(report.response_code == MS_RECORD_NO_RESPONSE);
    assert_true(report.has_results && report.trusted);
    assert_string_equal(report.md5, "0123456789abcdef0123456789abcdef");
    assert_string_equal(report.sha1, "");
    assert_string_equal(report.sha256, "");
    assert_int_equal(report.size, 0);
    assert_int_equal(report.first_submission_ms, 1600000000000);
    assert_int_equal(report.last_analysis_ms, 1700000000000);
    assert_null(report.category);
    assert_string_equal(report.suggested, "a.?"
                                          "?/c"); /* words are plain ASCII */
    assert_int_equal(report.engine_count, 2);
    assert_string_equal(report.engines[0].name, "A");
    assert_string_equal(report.engines[0].result, "W");
    assert_int_equal(report.engines[1].category, MS_VT_TIMEOUT);
    assert_null(report.engines[1].result);
    ms_vt_report_release(&report);
    ms_buf_release(&frame);
}

/* A record of `count` engines without labels, as the worker would send it if it had no limit. */
static void encode_many(size_t count, struct ms_buf *frame)
{
    static struct ms_record_engine engines[MS_LIMIT_ENGINES + 1];
    const struct ms_record record = {.format = MS_RECORD_VT2,
                                     .engines_kind = MS_RECORD_OBJECT,
                                     .size = -1,
                                     .response_code = 1,
                                     .engines = engines,
                                     .engine_count = MS_LIMIT_ENGINES};
    ms_buf_init(frame, MS_LIMIT_FRAME_BYTES);
    assert_int_equal(ms_vt_report_encode(&record, frame, NULL), MS_OK);
    /* The count (two bytes) stands before rows of four bytes each. */
    size_t rows = 4 * (size_t)MS_LIMIT_ENGINES, at = frame->len - rows - 2;
    frame->len = at;
    assert_int_equal(ms_buf_append_varint(frame, count), MS_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ms_buf_append(frame, "\0\0\0", 4), MS_OK);
}

/* As many engines as there may be, and one more: the parent refuses, whatever the worker says. */
static void at_the_limit(void **state)
{
    struct ms_vt_report report;
    struct ms_buf frame;
    (void)state;
    encode_many(MS_LIMIT_ENGINES, &frame);
    assert_int_equal(decode(frame.data, frame.len, &report), MS_OK);
    assert_int_equal(report.engine_count, MS_LIMIT_ENGINES);
    ms_vt_report_release(&report);
    ms_buf_release(&frame);
    encode_many(MS_LIMIT_ENGINES + 1, &frame);
    assert_int_equal(decode(frame.data, frame.len, &report), MS_REJECT);
    ms_buf_release(&frame);
    static struct ms_record_engine engines[MS_LIMIT_ENGINES + 1];
    const struct ms_record record = {
        .format = MS_RECORD_VT2, .engines = engines, .engine_count = MS_LIMIT_ENGINES + 1};
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    assert_int_equal(ms_vt_report_encode(&record, &frame, NULL), MS_REJECT);
    ms_buf_release(&frame);
}

static void other_reports(void **state)
{
    struct ms_vt_report report;
    static const char missing[] = "{\"response_code\":-2,\"resource\":\"x\"}";
    static const char empty[] = "{\"scans\":{},\"response_code\":1}";
    (void)state;
    assert_int_equal(ms_vtjson_parse(ms_span_of(missing, sizeof missing - 1), &report, NULL),
                     MS_OK);
    assert_int_equal(report.format, MS_RECORD_VT2);
    assert_int_equal(report.response_code, -2);
    assert_false(report.has_results);
    ms_vt_report_release(&report);
    assert_int_equal(ms_vtjson_parse(ms_span_of(empty, sizeof empty - 1), &report, NULL), MS_OK);
    assert_true(report.has_results);
    assert_int_equal(report.engine_count, 0);
    ms_vt_report_release(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_and_changed),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(at_the_limit),
        cmocka_unit_test(other_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
