/* The JSON scanner against a table of documents, against itself at every cut and block size, and
 * against jansson on generated and damaged documents. */
#include "base/buf.h"
#include "base/limits.h"
#include "base/rng.h"
#include "base/scan.h"
#include "tests/unit/json_maker.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct feed {
    const uint8_t *data;
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

/* Builds the value that is due; NULL with *status set when it faults. */
static json_t *build(struct ms_scanner *scan, enum ms_status *status, struct ms_error *err);

static json_t *build_container(struct ms_scanner *scan, bool object, enum ms_status *status,
                               struct ms_error *err)
{
    json_t *out = object ? json_object() : json_array();
    *status = ms_scanner_enter(scan, err);
    while (*status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        *status = object ? ms_scanner_member(scan, &more, &key, err)
                         : ms_scanner_element(scan, &more, err);
        if (*status != MS_OK || !more)
            break;
        char *copy = NULL;
        if (object) {
            copy = calloc(1, key.bytes.len + 1);
            assert_non_null(copy);
            if (key.bytes.len)
                memcpy(copy, key.bytes.data, key.bytes.len);
        }
        json_t *value = build(scan, status, err);
        if (value && object)
            assert_int_equal(json_object_set_new(out, copy, value), 0);
        else if (value)
            assert_int_equal(json_array_append_new(out, value), 0);
        free(copy);
    }
    if (*status == MS_OK)
        return out;
    json_decref(out);
    return NULL;
}

static json_t *build(struct ms_scanner *scan, enum ms_status *status, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    *status = ms_scanner_peek(scan, &kind, err);
    if (*status != MS_OK)
        return NULL;
    if (kind == MS_SCAN_OBJECT || kind == MS_SCAN_ARRAY)
        return build_container(scan, kind == MS_SCAN_OBJECT, status, err);
    struct ms_scanner_text text;
    *status = ms_scanner_text(scan, &text, err);
    if (*status != MS_OK)
        return NULL;
    if (kind == MS_SCAN_STRING)
        return json_stringn((const char *)text.bytes.data, text.bytes.len);
    if (kind == MS_SCAN_NUMBER) {
        char number[512] = {0};
        memcpy(number, text.bytes.data, text.bytes.len < 511 ? text.bytes.len : 511);
        if (strpbrk(number, ".eE"))
            return json_real(strtod(number, NULL));
        return json_integer(strtoll(number, NULL, 10));
    }
    return kind == MS_SCAN_NULL ? json_null() : json_boolean(kind == MS_SCAN_TRUE);
}

/* Reads a whole document by skipping, or building; the fault's text goes to err. */
static enum ms_status scan(const void *data, size_t len, size_t step, size_t block, json_t **built,
                           struct ms_error *err)
{
    struct feed feed = {data, len, 0, step};
    struct ms_scanner *self = NULL;
    assert_int_equal(ms_scanner_new(give, &feed, block, &self, err), MS_OK);
    enum ms_status status = MS_OK;
    json_t *value = NULL;
    if (built)
        value = build(self, &status, err);
    if (status == MS_OK)
        status = ms_scanner_finish(self, err);
    if (status != MS_OK) {
        /* A fault sticks. */
        struct ms_error again = {0};
        assert_int_equal(ms_scanner_skip(self, &again), status);
        assert_string_equal(again.text, err->text);
        json_decref(value);
        value = NULL;
    }
    if (built)
        *built = value;
    ms_scanner_free(self);
    return status;
}

struct document {
    const char *text;
    size_t len; /* 0: strlen */
    bool valid;
};

#define BYTES(text) text, sizeof text - 1

static const struct document documents[] = {
    {"{}", 0, true},
    {"[]", 0, true},
    {" \t\r\n[ ] \n", 0, true},
    {"0", 0, true},
    {"-0", 0, true},
    {"-0.5e-10", 0, true},
    {"12345678901234567890123456789012345678901234567890", 0, true},
    {"1E+400", 0, true},
    {"true", 0, true},
    {"false", 0, true},
    {"null", 0, true},
    {"\"\"", 0, true},
    {"\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"", 0, true},
    {"\"\\u0000\"", 0, true},
    {"\"\\ud83d\\ude00\"", 0, true},
    {"\"\\ud83d\"", 0, true},
    {"\"\\ude00x\"", 0, true},
    {"\"\\ud83d\\ud83d\\ude00\\n\"", 0, true},
    {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf\"", 0, true},
    {"\xef\xbb\xbf{\"a\":1}", 0, true},
    {"{\"a\":1,\"a\":[1,2,{\"b\":null}],\"\":{}}", 0, true},
    {"[1,[2,[3,[]]],{\"x\":[{}]}]", 0, true},
    {"{\"key\" : \"value\" , \"other\"\n:\t[ true , false ] }", 0, true},
    {"\"0123456789abcdef0123456789abcdef0123456789abcdef\x7f\"", 0, true},

    {"", 0, false},
    {" ", 0, false},
    {"{", 0, false},
    {"[", 0, false},
    {"}", 0, false},
    {"]", 0, false},
    {"[}", 0, false},
    {"{]", 0, false},
    {"[1,]", 0, false},
    {"[,1]", 0, false},
    {"[1 2]", 0, false},
    {"{\"a\"}", 0, false},
    {"{\"a\":}", 0, false},
    {"{\"a\":1,}", 0, false},
    {"{,\"a\":1}", 0, false},
    {"{a:1}", 0, false},
    {"{\"a\":1 \"b\":2}", 0, false},
    {"{1:2}", 0, false},
    {"[1]x", 0, false},
    {"[] []", 0, false},
    {"01", 0, false},
    {"-", 0, false},
    {"+1", 0, false},
    {".5", 0, false},
    {"1.", 0, false},
    {"1.e5", 0, false},
    {"1e", 0, false},
    {"1e+", 0, false},
    {"0x10", 0, false},
    {"1a", 0, false},
    {"NaN", 0, false},
    {"Infinity", 0, false},
    {"-Infinity", 0, false},
    {"nul", 0, false},
    {"nulll", 0, false},
    {"True", 0, false},
    {"'a'", 0, false},
    {"\"a", 0, false},
    {"\"\\", 0, false},
    {"\"\\x41\"", 0, false},
    {"\"\\u12\"", 0, false},
    {"\"\\u12g4\"", 0, false},
    {"\"a\nb\"", 0, false},
    {"\"a\tb\"", 0, false},
    {BYTES("\"a\0b\""), false},
    {BYTES("[1]\0"), false},
    {"\"\x80\"", 0, false},
    {"\"\xc0\x80\"", 0, false},
    {"\"\xc1\xbf\"", 0, false},
    {"\"\xc3\"", 0, false},
    {"\"\xc3(\"", 0, false},
    {"\"\xe0\x9f\xbf\"", 0, false},
    {"\"\xed\xa0\x80\"", 0, false},
    {"\"\xe2\x82\"", 0, false},
    {"\"\xf0\x8f\xbf\xbf\"", 0, false},
    {"\"\xf4\x90\x80\x80\"", 0, false},
    {"\"\xf5\x80\x80\x80\"", 0, false},
    {"\"\xff\"", 0, false},
    {"[\xc3\xa9]", 0, false},
    {"\xef\xbb{}", 0, false},
    {"{}\xef\xbb\xbf", 0, false},
    {"/* */1", 0, false},
    {"\v1", 0, false},
    {"\xc2\xa0"
     "1",
     0, false},
};

static size_t length_of(const struct document *document)
{
    return document->len ? document->len : strlen(document->text);
}

/* All ways to read one text must agree; the verdict and the fault's place come back. */
static enum ms_status agree(const void *data, size_t len, struct ms_error *first)
{
    static const size_t steps[][2] = {{0, 0}, {1, 0}, {0, 1}, {3, 7}, {0, 16}};
    enum ms_status verdict = scan(data, len, 0, 0, NULL, first);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct ms_error err = {0};
        json_t *built = NULL;
        assert_int_equal(scan(data, len, steps[i][0], steps[i][1], NULL, &err), verdict);
        assert_string_equal(err.text, first->text);
        assert_int_equal(scan(data, len, steps[i][0], steps[i][1], &built, &err), verdict);
        assert_string_equal(err.text, first->text);
        json_decref(built);
    }
    return verdict;
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        struct ms_error err = {0};
        enum ms_status verdict = agree(documents[i].text, length_of(&documents[i]), &err);
        if (verdict != (documents[i].valid ? MS_OK : MS_REJECT))
            fail_msg("document %zu (%s): %s", i, documents[i].text, err.text);
        if (!documents[i].valid && !strstr(err.text, "line "))
            fail_msg("document %zu: no place in '%s'", i, err.text);
    }
}

/* A document that ends early is no document, unless it is a number or only white space is gone. */
static void test_cuts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        const struct document *document = &documents[i];
        size_t len = length_of(document);
        if (!document->valid || strchr("-0123456789", document->text[0]))
            continue;
        while (len && strchr(" \n", document->text[len - 1]))
            len--;
        for (size_t cut = 0; cut < len; cut++) {
            struct ms_error err = {0};
            uint8_t *copy = malloc(cut + 1); /* exact: the sanitizer sees any read behind it */
            assert_non_null(copy);
            memcpy(copy, document->text, cut);
            assert_int_equal(agree(copy, cut, &err), MS_REJECT);
            free(copy);
        }
    }
}

static void expect_place(const char *text, const char *place)
{
    struct ms_error err = {0};
    assert_int_equal(agree(text, strlen(text), &err), MS_REJECT);
    if (strncmp(err.text, place, strlen(place)) != 0)
        fail_msg("'%s' instead of '%s'", err.text, place);
}

static void test_place(void **state)
{
    (void)state;
    expect_place("x", "line 1, byte 0: ");
    expect_place("{\n  \"a\": 1,\n  \"b\" 2\n}", "line 3, byte 18: ");
    expect_place("[1,\n2,\n\n3", "line 4, byte 9: ");
    expect_place("[\n\"\\q\"]", "line 2, byte 4: ");
    expect_place("[true]\n\n]", "line 3, byte 8: ");
    /* More line feeds than the counters of a vector hold, and odd bytes around them. */
    static char long_text[20010];
    memset(long_text, '\n', 20000);
    memcpy(long_text + 7, " \r\t", 3);
    memcpy(long_text + 20000, " x", 3);
    expect_place(long_text, "line 19998, byte 20001: ");
}

static void test_depth(void **state)
{
    (void)state;
    size_t deepest = MS_LIMIT_JSON_DEPTH;
    char *text = malloc(4 * deepest + 16);
    assert_non_null(text);
    for (size_t depth = deepest; depth <= deepest + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        struct ms_error err = {0};
        assert_int_equal(agree(text, 2 * depth, &err), depth == deepest ? MS_OK : MS_REJECT);
    }
    free(text);
}

static void test_long_strings(void **state)
{
    (void)state;
    size_t cap = MS_LIMIT_JSON_STRING_BYTES;
    static const char *const fillers[] = {"a", "\xe2\x82\xac", "\\u20ac", "\\ud83d\\ude00"};
    for (size_t f = 0; f < sizeof fillers / sizeof *fillers; f++) {
        for (size_t block = 0; block <= 61; block += 61) {
            struct ms_buf text;
            ms_buf_init(&text, SIZE_MAX);
            ms_buf_append_text(&text, "[\"");
            while (text.len < 13 * cap / 2)
                ms_buf_append_text(&text, fillers[f]);
            ms_buf_append_text(&text, "\",7]");
            struct feed feed = {text.data, text.len, 0, 0};
            struct ms_scanner *self = NULL;
            struct ms_error err = {0};
            struct ms_scanner_text got;
            bool more = false;
            assert_int_equal(ms_scanner_new(give, &feed, block, &self, &err), MS_OK);
            assert_int_equal(ms_scanner_enter(self, &err), MS_OK);
            assert_int_equal(ms_scanner_element(self, &more, &err), MS_OK);
            assert_int_equal(ms_scanner_text(self, &got, &err), MS_OK);
            assert_true(got.cut);
            assert_true(got.bytes.len <= cap && got.bytes.len > cap - 8);
            json_t *whole = json_stringn((const char *)got.bytes.data, got.bytes.len);
            assert_non_null(whole); /* no character was split */
            json_decref(whole);
            assert_int_equal(ms_scanner_element(self, &more, &err), MS_OK);
            assert_int_equal(ms_scanner_text(self, &got, &err), MS_OK);
            assert_true(ms_span_equal_text(got.bytes, "7") && !got.cut);
            assert_int_equal(ms_scanner_element(self, &more, &err), MS_OK);
            assert_false(more);
            assert_int_equal(ms_scanner_finish(self, &err), MS_OK);
            ms_scanner_free(self);
            ms_buf_release(&text);
        }
    }
}

static void test_decoded(void **state)
{
    (void)state;
    const char *text = "[\"\\ud83d\\ude00|\\ud83d|\\ude00|\\ud83d\\u0041|\\ud83d\\n|a\\u0000b\"]";
    const char expected[] = "\xf0\x9f\x98\x80|\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd"
                            "A|\xef\xbf\xbd\n|a\0b";
    for (size_t block = 1; block < 70; block++) {
        struct feed feed = {(const uint8_t *)text, strlen(text), 0, 0};
        struct ms_scanner *self = NULL;
        struct ms_error err = {0};
        struct ms_scanner_text got;
        bool more = false;
        assert_int_equal(ms_scanner_new(give, &feed, block, &self, &err), MS_OK);
        assert_int_equal(ms_scanner_enter(self, &err), MS_OK);
        assert_int_equal(ms_scanner_element(self, &more, &err), MS_OK);
        assert_int_equal(ms_scanner_text(self, &got, &err), MS_OK);
        assert_int_equal(got.bytes.len, sizeof expected - 1);
        assert_memory_equal(got.bytes.data, expected, sizeof expected - 1);
        ms_scanner_free(self);
    }
}

/* Values that are not asked for are skipped; asking wrongly is a bug, not a crash. */
static void test_pull(void **state)
{
    (void)state;
    const char *text = "{\"a\": {\"x\": [1, 2]}, \"b\": [3, [4], 5], \"c\": \"end\"}";
    struct feed feed = {(const uint8_t *)text, strlen(text), 0, 0};
    struct ms_scanner *self = NULL;
    struct ms_error err = {0};
    struct ms_scanner_text got;
    bool more = false;
    assert_int_equal(ms_scanner_new(give, &feed, 0, &self, &err), MS_OK);
    assert_int_equal(ms_scanner_enter(self, &err), MS_OK);
    assert_int_equal(ms_scanner_member(self, &more, &got, &err), MS_OK);
    assert_true(more && ms_span_equal_text(got.bytes, "a"));
    assert_int_equal(ms_scanner_member(self, &more, &got, &err), MS_OK);
    assert_true(more && ms_span_equal_text(got.bytes, "b"));
    assert_int_equal(ms_scanner_enter(self, &err), MS_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ms_scanner_element(self, &more, &err), MS_OK);
        assert_true(more);
    }
    assert_int_equal(ms_scanner_element(self, &more, &err), MS_OK);
    assert_false(more);
    assert_int_equal(ms_scanner_member(self, &more, &got, &err), MS_OK);
    assert_true(more && ms_span_equal_text(got.bytes, "c"));
    assert_int_equal(ms_scanner_element(self, &more, &err), MS_E_BUG);
    assert_int_equal(ms_scanner_finish(self, &err), MS_E_BUG);
    ms_scanner_free(self);
}

static enum ms_status broken(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    int *calls = ctx;
    if ((*calls)++)
        return ms_error_set(err, MS_E_IO, "the disk is gone");
    assert_true(cap >= 4);
    memcpy(buf, "[1, ", 4);
    *n = 4;
    return MS_OK;
}

static void test_source_error(void **state)
{
    (void)state;
    int calls = 0;
    struct ms_scanner *self = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_scanner_new(broken, &calls, 0, &self, &err), MS_OK);
    assert_int_equal(ms_scanner_finish(self, &err), MS_E_IO);
    assert_string_equal(err.text, "the disk is gone");
    ms_scanner_free(self);
}

/* --- generated documents, whole and damaged, against jansson --- */

/* What we accept and jansson refuses: numbers beyond its types, lone surrogates, NUL in keys. */
static bool listed_exception(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
           strstr(error->text, "invalid Unicode") != NULL;
}

static void compare(const struct ms_buf *text)
{
    struct ms_error err = {0};
    json_error_t error;
    uint8_t *exact = malloc(text->len + 1);
    assert_non_null(exact);
    if (text->len)
        memcpy(exact, text->data, text->len);
    json_t *peer =
        json_loadb((const char *)exact, text->len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    json_t *ours = NULL;
    enum ms_status verdict = scan(exact, text->len, 0, 0, &ours, &err);
    struct ms_error skipped = {0};
    assert_int_equal(scan(exact, text->len, 5, 11, NULL, &skipped), verdict);
    assert_string_equal(skipped.text, err.text);
    if (peer && verdict != MS_OK)
        fail_msg("refused, jansson accepts: %.*s: %s", (int)text->len, (char *)exact, err.text);
    if (!peer && verdict == MS_OK && !listed_exception(&error))
        fail_msg("accepted, jansson says %s: %.*s", error.text, (int)text->len, (char *)exact);
    if (peer && ours && !json_equal(peer, ours))
        fail_msg("read differently: %.*s", (int)text->len, (char *)exact);
    json_decref(peer);
    json_decref(ours);
    free(exact);
}

static void test_against_jansson(void **state)
{
    (void)state;
    struct ms_rng rng;
    ms_rng_init(&rng, 20, 1, 0);
    size_t refused = 0, accepted = 0;
    for (int i = 0; i < 12000; i++) {
        struct ms_buf text;
        ms_buf_init(&text, SIZE_MAX);
        make_value(&rng, 0, &text);
        if (i % 4)
            make_damage(&rng, &text);
        compare(&text);
        struct ms_error err = {0};
        if (scan(text.data, text.len, 0, 0, NULL, &err) == MS_OK)
            accepted++;
        else
            refused++;
        ms_buf_release(&text);
    }
    assert_true(accepted > 3000 && refused > 3000);
}

/* Each line of the table in docs/json.md, both ways. */
static void test_listed_differences(void **state)
{
    static const struct {
        const char *text;
        bool ours, theirs;
    } cases[] = {
        {"[18446744073709551616]", true, false},
        {"[-9223372036854775809]", true, false},
        {"[9223372036854775807]", true, true},
        {"[1e400]", true, false},
        {"[1e-400]", true, true},
        {"{\"a\\u0000b\":1}", true, false},
        {"{\"a\":\"\\u0000b\"}", true, true},
        {"[\"\\ud800\"]", true, false},
        {"[\"\\udc00\"]", true, false},
        {"[\"\\ud800\\udc00\"]", true, true},
        {"\xef\xbb\xbf[1]", true, false},
        {"{\"a\":1,\"a\":2}", true, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_error err = {0};
        size_t len = strlen(cases[i].text);
        json_t *theirs = json_loadb(cases[i].text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_int_equal(agree(cases[i].text, len, &err), cases[i].ours ? MS_OK : MS_REJECT);
        assert_int_equal(theirs != NULL, cases[i].theirs);
        json_decref(theirs);
    }
    static char deep[2 * MS_LIMIT_JSON_DEPTH + 2];
    struct ms_error err = {0};
    memset(deep, '[', MS_LIMIT_JSON_DEPTH + 1);
    memset(deep + MS_LIMIT_JSON_DEPTH + 1, ']', MS_LIMIT_JSON_DEPTH + 1);
    json_t *theirs = json_loadb(deep, sizeof deep, JSON_DECODE_ANY, NULL);
    assert_non_null(theirs);
    json_decref(theirs);
    assert_int_equal(agree(deep, sizeof deep, &err), MS_REJECT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_cuts),
                                       cmocka_unit_test(test_place),
                                       cmocka_unit_test(test_depth),
                                       cmocka_unit_test(test_long_strings),
                                       cmocka_unit_test(test_decoded),
                                       cmocka_unit_test(test_pull),
                                       cmocka_unit_test(test_source_error),
                                       cmocka_unit_test(test_against_jansson),
                                       cmocka_unit_test(test_listed_differences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
