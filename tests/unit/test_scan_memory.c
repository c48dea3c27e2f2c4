/* base/scan on documents in memory: read where they lie, one after the other, whole objects at a
 * time; numbers that are none. */
#include "base/buf.h"
#include "base/limits.h"
#include "base/scan.h"

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

static struct ms_scanner *scan;

static int make_scanner(void **state)
{
    (void)state;
    return ms_scanner_new_memory(&scan, NULL) == MS_OK ? 0 : -1;
}

static int free_scanner(void **state)
{
    (void)state;
    ms_scanner_free(scan);
    return 0;
}

/* A copy that ends where its memory does, so that a look beyond is seen; good until the next. */
static struct ms_span copy_of(const void *bytes, size_t n)
{
    static uint8_t *copy;
    free(copy);
    copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, bytes, n);
    return ms_span_of(copy, n);
}

static void begin(const char *text)
{
    ms_scanner_restart(scan, copy_of(text, strlen(text)));
}

static void assert_bytes(struct ms_span bytes, const char *expected)
{
    assert_int_equal(bytes.len, strlen(expected));
    assert_memory_equal(bytes.data, expected, bytes.len);
}

static void bad_ones(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {{"", "line 1, byte 0: empty"},
                 {"\n\n [", "line 3, byte 4: ends within an array"},
                 {"{\"a\":1,}", "line 1, byte 7: no key where one must be"},
                 {"[NaN]", "line 1, byte 1: not a JSON value"},
                 {"[Infinity]", "line 1, byte 1: not a JSON value"},
                 {"[-Infinity]", "line 1, byte 2: a number without a digit where one must be"}};
    struct ms_error err;
    (void)state;
    /* Nothing was begun yet: the empty document. */
    assert_int_equal(ms_scanner_finish(scan, &err), MS_REJECT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(cases[i].text);
        assert_int_equal(ms_scanner_finish(scan, &err), MS_REJECT);
        assert_string_equal(err.text, cases[i].why);
        /* It sticks, until the next document. */
        assert_int_equal(ms_scanner_finish(scan, NULL), MS_REJECT);
    }
    begin("[1,2]");
    assert_int_equal(ms_scanner_finish(scan, &err), MS_OK);
    /* Left in the middle of it. */
    begin("[[[1");
    assert_int_equal(ms_scanner_enter(scan, NULL), MS_OK);
    begin("7");
    assert_int_equal(ms_scanner_finish(scan, &err), MS_OK);
}

static void not_finite(void **state)
{
    static const char *const bad[] = {"[Nan]",       "[NaN",   "[Inf]", "[-Infinit]",
                                      "[+Infinity]", "[-NaN]", "[-I"};
    static const char *const good[] = {"NaN", "Infinity", "-Infinity"};
    enum ms_scanner_kind kind;
    struct ms_scanner_text text;
    (void)state;
    ms_scanner_allow_non_finite(scan, true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(bad[i]);
        assert_int_equal(ms_scanner_finish(scan, NULL), MS_REJECT);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        begin(good[i]);
        assert_int_equal(ms_scanner_peek(scan, &kind, NULL), MS_OK);
        assert_int_equal(kind, MS_SCAN_NUMBER);
        assert_int_equal(ms_scanner_take(scan, &kind, &text, NULL), MS_OK);
        assert_int_equal(kind, MS_SCAN_NUMBER);
        assert_bytes(text.bytes, good[i]);
        assert_int_equal(ms_scanner_finish(scan, NULL), MS_OK);
    }
    ms_scanner_allow_non_finite(scan, false);
}

/* Texts with and without escapes at every distance from the end, where the bytes that are copied
 * begin; what has no escapes lies in the document. */
static void texts_near_the_end(void **state)
{
    (void)state;
    for (size_t pad = 0; pad < 200; pad++) {
        char body[512];
        struct ms_scanner_text key, text;
        bool more;
        int n = snprintf(body, sizeof body,
                         "{\"plain-key\":\"plain-value-\xc3\xa9\","
                         "\"esc\\u0061ped\":\"\\ud83d\\ude00x\",\"n\":-12.5e3}%*s",
                         (int)pad, "");
        struct ms_span document = copy_of(body, (size_t)n);
        ms_scanner_restart(scan, document);
        assert_int_equal(ms_scanner_enter(scan, NULL), MS_OK);
        assert_int_equal(ms_scanner_member(scan, &more, &key, NULL), MS_OK);
        assert_int_equal(ms_scanner_text(scan, &text, NULL), MS_OK);
        assert_ptr_equal(key.bytes.data, document.data + 2);
        assert_ptr_equal(text.bytes.data, document.data + 14);
        assert_bytes(key.bytes, "plain-key");
        assert_bytes(text.bytes, "plain-value-\xc3\xa9");
        assert_int_equal(ms_scanner_member(scan, &more, &key, NULL), MS_OK);
        assert_bytes(key.bytes, "escaped");
        assert_int_equal(ms_scanner_text(scan, &text, NULL), MS_OK);
        assert_bytes(text.bytes, "\xf0\x9f\x98\x80x");
        assert_int_equal(ms_scanner_member(scan, &more, &key, NULL), MS_OK);
        assert_int_equal(ms_scanner_text(scan, &text, NULL), MS_OK);
        assert_bytes(text.bytes, "-12.5e3");
        assert_int_equal(ms_scanner_member(scan, &more, &key, NULL), MS_OK);
        assert_false(more);
        assert_int_equal(ms_scanner_finish(scan, NULL), MS_OK);
        assert_int_equal(ms_scanner_byte(scan), n);
    }
}

static const struct ms_scanner_name names[] = {MS_SCAN_NAME("a"), MS_SCAN_NAME("bb"),
                                               MS_SCAN_NAME("gone")};

static void whole_objects(void **state)
{
    struct ms_scanner_field fields[3];
    bool more;
    (void)state;
    for (size_t pad = 0; pad < 150; pad++) {
        char body[512];
        (void)snprintf(
            body, sizeof body,
            "[{\"x\":[1,{}],\"a\":\"\\n1\",\"c\":\"\\t\",\"bb\": { \"a\":[] } ,\"y\":null,"
            "\"\\u0061\":\"\\r2\",\"bbb\":-0.5,\"b\":true},{}%*s]",
            (int)pad, "");
        begin(body);
        assert_int_equal(ms_scanner_enter(scan, NULL), MS_OK);
        assert_int_equal(ms_scanner_element(scan, &more, NULL), MS_OK);
        assert_int_equal(ms_scanner_fields(scan, names, 3, fields, NULL), MS_OK);
        assert_true(fields[0].found && fields[1].found && !fields[2].found);
        assert_int_equal(fields[0].kind, MS_SCAN_STRING);
        assert_bytes(fields[0].text.bytes, "\r2"); /* the last one, its key escaped */
        assert_int_equal(fields[1].kind, MS_SCAN_OBJECT);
        assert_bytes(fields[1].text.bytes, "{ \"a\":[] }");
        assert_int_equal(ms_scanner_element(scan, &more, NULL), MS_OK);
        assert_true(more);
        assert_int_equal(ms_scanner_fields(scan, names, 3, fields, NULL), MS_OK);
        assert_false(fields[0].found || fields[1].found);
        assert_int_equal(ms_scanner_element(scan, &more, NULL), MS_OK);
        assert_false(more);
        assert_int_equal(ms_scanner_finish(scan, NULL), MS_OK);
    }
    /* Two texts with escapes at once, neither overwriting the other. */
    begin("{\"a\":\"\\u0041\\u0041\",\"bb\":\"\\u0042\"}");
    assert_int_equal(ms_scanner_fields(scan, names, 3, fields, NULL), MS_OK);
    assert_bytes(fields[0].text.bytes, "AA");
    assert_bytes(fields[1].text.bytes, "B");
}

static void whole_arrays(void **state)
{
    struct ms_scanner_field fields[2];
    size_t count;
    (void)state;
    begin("[ \"\\u0041\" , 12 , [\"x\\n\"], {}, null]");
    assert_int_equal(ms_scanner_items(scan, 2, fields, &count, NULL), MS_OK);
    assert_int_equal(count, 5);
    assert_bytes(fields[0].text.bytes, "A");
    assert_int_equal(fields[1].kind, MS_SCAN_NUMBER);
    assert_bytes(fields[1].text.bytes, "12");
    assert_int_equal(ms_scanner_finish(scan, NULL), MS_OK);
    begin("[]");
    assert_int_equal(ms_scanner_items(scan, 2, fields, &count, NULL), MS_OK);
    assert_int_equal(count, 0);
}

/* Cut at each byte: the same fault as when it is passed over. */
static void whole_and_cut(void **state)
{
    static const char *const texts[] = {
        "{\"a\":\"\\u0041\",\"x\":[{\"y\":\"z\"},true],\"bb\":-1.5e+2,\"n\":null}",
        "[\"\\u0041\",\"\xc3\xa9\",{\"x\":[]},-10,false]"};
    struct ms_scanner_field fields[3];
    struct ms_error first, err;
    size_t count;
    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (size_t n = 1; n < strlen(texts[i]); n++) {
            struct ms_span document = copy_of(texts[i], n);
            ms_scanner_restart(scan, document);
            assert_int_equal(ms_scanner_finish(scan, &first), MS_REJECT);
            ms_scanner_restart(scan, document);
            assert_int_equal(i == 0 ? ms_scanner_fields(scan, names, 3, fields, &err)
                                    : ms_scanner_items(scan, 2, fields, &count, &err),
                             MS_REJECT);
            assert_string_equal(first.text, err.text);
        }
}

static enum ms_status nothing(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    (void)ctx;
    (void)cap;
    (void)err;
    *n = 0;
    memset(buf, 0, 1);
    return MS_OK;
}

static void misuse(void **state)
{
    struct ms_scanner_field fields[3];
    struct ms_scanner *source;
    size_t count;
    (void)state;
    begin("[]");
    assert_int_equal(ms_scanner_fields(scan, names, 3, fields, NULL), MS_E_BUG);
    begin("{}");
    assert_int_equal(ms_scanner_items(scan, 3, fields, &count, NULL), MS_E_BUG);
    /* What is wrong with the document comes first. */
    assert_int_equal(ms_scanner_new(nothing, NULL, 0, &source, NULL), MS_OK);
    assert_int_equal(ms_scanner_fields(source, names, 3, fields, NULL), MS_REJECT);
    ms_scanner_free(source);
}

/* Texts with escapes that no honest row has: refused, not held without end. */
static void endless_texts(void **state)
{
    struct ms_scanner_field fields[3];
    struct ms_error err;
    struct ms_buf body;
    (void)state;
    ms_buf_init(&body, 4 << 20);
    (void)ms_buf_append_text(&body, "{");
    for (int i = 0; i < 20; i++) {
        (void)ms_buf_append_text(&body, i ? ",\"a\":\"\\n" : "\"a\":\"\\n");
        for (size_t n = 0; n < MS_LIMIT_JSON_STRING_BYTES; n++)
            (void)ms_buf_append_byte(&body, 'x');
        (void)ms_buf_append_text(&body, "\"");
    }
    (void)ms_buf_append_text(&body, "}");
    ms_scanner_restart(scan, copy_of(body.data, body.len));
    assert_int_equal(ms_scanner_fields(scan, names, 3, fields, &err), MS_REJECT);
    assert_non_null(strstr(err.text, "too long together"));
    ms_buf_release(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_ones),      cmocka_unit_test(not_finite),
        cmocka_unit_test(whole_and_cut), cmocka_unit_test(misuse),
        cmocka_unit_test(endless_texts), cmocka_unit_test(texts_near_the_end),
        cmocka_unit_test(whole_objects), cmocka_unit_test(whole_arrays),
    };
    return cmocka_run_group_tests(tests, make_scanner, free_scanner);
}
