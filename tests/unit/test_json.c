/* Unit tests of base/json: strings from any bytes, lines, parsing, paths. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void bytes_become(const void *bytes, size_t n, const char *want)
{
    json_t *json = ms_json_bytes(bytes, n);
    assert_non_null(json);
    assert_string_equal(json_string_value(json), want);
    json_decref(json);
}

static void test_bytes(void **state)
{
    (void)state;
    bytes_become("plain", 5, "plain");
    bytes_become("", 0, "");
    bytes_become("a\0b", 3, "a\\x00b");
    bytes_become("\xff\xc3\xa4\xc3", 4, "\\xff\xc3\xa4\\xc3");
    bytes_become("\xc0\x80", 2, "\\xc0\\x80");
    bytes_become("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");
    json_t *null = ms_json_text(NULL);
    assert_true(json_is_null(null));
    json_decref(null);
}

static void test_line(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n = 0;
    struct ms_error err;
    FILE *out = open_memstream(&text, &n);
    json_t *object = json_object();
    json_object_set_new(object, "z", json_integer(1));
    json_object_set_new(object, "a", ms_json_text("\x1b\x7f\xc2\x9b\xe2\x80\xae\"\\\n"));
    json_object_set_new(object, "m", json_real(0.1));
    assert_int_equal(ms_json_line(out, object, &err), MS_OK);
    fclose(out);
    /* Order kept, nothing a terminal could act on. */
    assert_string_equal(text,
                        "{\"z\":1,\"a\":\"\\u001B\\u007f\\u009B\\u202E\\\"\\\\\\n\",\"m\":0.1}\n");
    free(text);
}

static void test_line_fails(void **state)
{
    (void)state;
    struct ms_error err;
    FILE *out = fopen("/dev/full", "w");
    assert_non_null(out);
    setvbuf(out, NULL, _IONBF, 0);
    assert_int_equal(ms_json_line(out, json_object(), &err), MS_E_IO);
    assert_non_null(strstr(err.text, "No space left"));
    fclose(out);
    assert_int_equal(ms_json_line(stdout, NULL, &err), MS_E_NOMEM);
}

static void refuses(const char *text, const char *why)
{
    json_t *json = NULL;
    struct ms_error err;
    assert_int_equal(ms_json_parse(text, strlen(text), &json, &err), MS_E_REMOTE);
    assert_null(json);
    if (!strstr(err.text, why))
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static void test_parse(void **state)
{
    (void)state;
    refuses("", "it is empty");
    refuses("<html>", "line 1, column 1");
    refuses("{\"a\":1", "line 1");
    refuses("{\"a\":1}x", "end of file expected");
    refuses("{\"a\":1,\"a\":2}", "duplicate");
    refuses("{\"a\":\"\xff\"}", "line 1");
    char deep[6001];
    memset(deep, '[', 6000);
    deep[6000] = '\0';
    refuses(deep, "depth");
    json_t *json;
    struct ms_error err;
    assert_int_equal(ms_json_parse("\"a\\u0000b\"", 10, &json, &err), MS_E_REMOTE);
    assert_int_equal(ms_json_parse("[\"a\\u0000b\"]", 12, &json, &err), MS_OK);
    assert_int_equal(json_string_length(json_array_get(json, 0)), 3);
    json_decref(json);
}

static void test_error_text_is_escaped(void **state)
{
    (void)state;
    json_t *json = NULL;
    struct ms_error err;
    const char text[] = "{\"a\":\xe2\x80\xae}";
    assert_int_equal(ms_json_parse(text, sizeof text - 1, &json, &err), MS_E_REMOTE);
    assert_null(strstr(err.text, "\xe2\x80\xae"));
    const char *p;
    for (p = err.text; *p; p++)
        assert_true((unsigned char)*p >= 0x20);
}

static void test_paths(void **state)
{
    (void)state;
    const char text[] = "{\"data\":{\"attributes\":{\"n\":7,\"s\":\"x\",\"l\":[1]}},\"\":3}";
    json_t *json;
    struct ms_error err;
    assert_int_equal(ms_json_parse(text, sizeof text - 1, &json, &err), MS_OK);
    assert_int_equal(ms_json_int_at(json, "data.attributes.n", -1), 7);
    assert_int_equal(ms_json_int_at(json, "data.attributes.s", -1), -1);
    assert_int_equal(ms_json_int_at(json, "data.other.n", -1), -1);
    assert_int_equal(ms_json_int_at(json, "data.attributes.n.deeper", -1), -1);
    assert_string_equal(ms_json_string_at(json, "data.attributes.s", "none"), "x");
    assert_string_equal(ms_json_string_at(json, "data.attributes.n", "none"), "none");
    assert_string_equal(ms_json_string_at(NULL, "data", "none"), "none");
    assert_null(ms_json_at(json, "data.attributes.l.0"));
    assert_non_null(ms_json_at(json, "data.attributes"));
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),      cmocka_unit_test(test_line),
        cmocka_unit_test(test_line_fails), cmocka_unit_test(test_parse),
        cmocka_unit_test(test_paths),      cmocka_unit_test(test_error_text_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
