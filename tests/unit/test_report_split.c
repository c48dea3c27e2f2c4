/* The splitter: layouts, faults and where reading goes on after them; the same pieces whatever the
 * blocks the input comes in. */
#include "base/limits.h"
#include "label/split.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct text {
    const char *bytes;
    size_t len, at, block;
};

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct text *text = ctx;
    size_t left = text->len - text->at;
    (void)err;
    *n = text->block < left ? text->block : left;
    *n = *n < cap ? *n : cap;
    memcpy(buf, text->bytes + text->at, *n);
    text->at += *n;
    return MS_OK;
}

/* What a reader would say: one whole document and nothing behind it. */
static bool is_whole(struct ms_span bytes)
{
    json_t *root = json_loadb((const char *)bytes.data, bytes.len, 0, NULL);
    bool whole = root != NULL;
    json_decref(root);
    return whole;
}

/* "BYTE:LINE:TEXT" or "BYTE:LINE!WHY" a piece, joined by '|'. `trusting`: a broken piece that was
 * cut by lines is not cut again. */
static char *split(const char *bytes, size_t len, size_t block, const struct ms_split_state *from)
{
    struct text text = {bytes + (from ? from->byte : 0), len - (from ? from->byte : 0), 0, block};
    struct ms_splitter *splitter = NULL;
    struct ms_error err = {.status = MS_OK};
    char *out = NULL;
    size_t out_len = 0;
    FILE *to = open_memstream(&out, &out_len);
    assert_int_equal(ms_splitter_new(give, &text, block, from, &splitter, &err), MS_OK);
    for (;;) {
        struct ms_piece piece = {.fault = NULL};
        bool more = false;
        assert_int_equal(ms_splitter_next(splitter, &more, &piece, &err), MS_OK);
        if (!more)
            break;
        if (!piece.fault && !piece.sure && !is_whole(piece.bytes))
            assert_int_equal(ms_splitter_refine(splitter, &piece, &err), MS_OK);
        (void)fprintf(to, "%llu:%llu", (unsigned long long)piece.byte,
                      (unsigned long long)piece.line);
        if (piece.fault)
            (void)fprintf(to, "!%.9s|", piece.fault);
        else
            (void)fprintf(to, ":%.*s|", (int)piece.bytes.len, (const char *)piece.bytes.data);
    }
    assert_int_equal(ms_splitter_state(splitter).byte, len);
    ms_splitter_free(splitter);
    (void)fclose(to);
    return out;
}

static void check(const char *bytes, const char *expected)
{
    static const size_t blocks[] = {1 << 20, 1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 64};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        char *got = split(bytes, strlen(bytes), blocks[i], NULL);
        assert_string_equal(got, expected);
        free(got);
    }
}

static void test_layouts(void **state)
{
    (void)state;
    check("", "");
    check(" \n\t\r\n", "");
    check("{}", "0:1:{}|");
    check("\xEF\xBB\xBF{}\n", "3:1:{}|");
    check("{\"a\":1}\n{\"b\":2}\r\n\n{\"c\":3}", "0:1:{\"a\":1}|8:2:{\"b\":2}|18:4:{\"c\":3}|");
    check("{\"a\":1}{\"b\":{}} {\"c\":3}\n", "0:1:{\"a\":1}|7:1:{\"b\":{}}|16:1:{\"c\":3}|");
    check("{\n  \"a\": {\n  }\n}\n{\n}\n{\"b\":1}",
          "0:1:{\n  \"a\": {\n  }\n}|17:5:{\n}|21:7:{\"b\":1}|");
    check("{ \"a\": \"}\\\"{\\\\\",\n\"b\":[{}, [1,{}]]}{}",
          "0:1:{ \"a\": \"}\\\"{\\\\\",\n\"b\":[{}, "
          "[1,{}]]}|34:2:{}|");
    /* Closing brackets in the first column that are not the last ones. */
    check("{\n\"a\": {\n}\n}\n{\"b\":1}", "0:1:{\n\"a\": {\n}\n}|13:5:{\"b\":1}|");
    check("{\n\"a\": [\n{\n},\n{\n}]}\n{}", "0:1:{\n\"a\": [\n{\n},\n{\n}]}|20:7:{}|");
    /* Arrays at the top, and one a line. */
    check("[]\n[{},{\"a\":[1]}]\n[\n  {\n    \"b\": {\n    }\n  },\n  {\n  }\n]\n{}",
          "4:2:{}|7:2:{\"a\":[1]}|22:4:{\n    \"b\": {\n    }\n  }|48:8:{\n  }|56:11:{}|");
}

static void test_faults(void **state)
{
    (void)state;
    check("hello\nworld\n{}\n", "0:1!not a JSO|12:3:{}|");
    check("{} x {}\n{\"a\":1}\n", "0:1:{}|3:1!not a JSO|8:2:{\"a\":1}|");
    check("{\"a\":1\n{\"b\":2}\n", "0:1!not JSON:|7:2:{\"b\":2}|");
    check("{\"a\":\n{\"b\":2}\n{\"c\":3}\n", "0:1!not JSON:|6:2:{\"b\":2}|14:3:{\"c\":3}|");
    check("{\"a\":\"x\n{\"b\":2}\n", "0:1!not JSON:|8:2:{\"b\":2}|");
    check("{\"a\":[1}\n[{\"b\":2}]\n{}", "0:1!not JSON:|10:2:{\"b\":2}|19:3:{}|");
    check("{\"a\":1}\n{\"b\":{\"c\":2}", "0:1:{\"a\":1}|8:2!cut short|");
    check("[{\"a\":1},\n", "1:1:{\"a\":1}|10:2!cut short|");
    check("[{\"a\":1},{\"b\":", "1:1:{\"a\":1}|9:1!cut short|");
    check("[1,\n{}]\n", "1:1!not a JSO|4:2:{}|");
    check("{\n \"a\": {\n \"b\": 1\n{\n \"c\": 2\n}\n", "0:1!not JSON:|18:4:{\n \"c\": 2\n}|");
    check("}\n{}", "0:1!not a JSO|2:2:{}|");
}

static char *repeat(const char *part, size_t times, const char *tail, size_t *len)
{
    size_t n = strlen(part), k = strlen(tail);
    char *out = malloc(n * times + k + 1);
    assert_non_null(out);
    for (size_t i = 0; i < times; i++)
        memcpy(out + i * n, part, n);
    memcpy(out + n * times, tail, k + 1);
    *len = n * times + k;
    return out;
}

static void test_limits(void **state)
{
    size_t len;
    char *bytes = repeat("{\"a\":", 1000, "\n{}", &len), *got = split(bytes, len, 4096, NULL);
    (void)state;
    assert_string_equal(got, "0:1!JSON nest|5001:2:{}|");
    free(got);
    free(bytes);
    /* An object larger than any may be costs itself; what follows is read. */
    bytes = repeat("{\"a\":[0,\n", 1, "", &len);
    free(bytes);
    bytes = repeat("0123456789,\n", MS_LIMIT_SCAN_BYTES / 12 + 2, "]}\n{}\n", &len);
    memcpy(bytes, "{\"a\":[5678", 10);
    got = split(bytes, len, 1 << 20, NULL);
    char expected[64];
    (void)snprintf(expected, sizeof expected, "0:1!larger th|%zu:%zu:{}|", len - 3,
                   (size_t)MS_LIMIT_SCAN_BYTES / 12 + 4);
    assert_string_equal(got, expected);
    free(got);
    free(bytes);
}

/* Any state between two pieces serves another splitter to go on. */
static void test_resume(void **state)
{
    static const char bytes[] = "[{\"a\":1},\n{\"b\":2}]\n{\n}\n{\"c\":\n[{\"d\":4},{}]";
    struct ms_error err;
    (void)state;
    char *whole = split(bytes, strlen(bytes), 7, NULL);
    for (size_t stop = 0; stop < 5; stop++) {
        struct text text = {bytes, strlen(bytes), 0, 5};
        struct ms_splitter *splitter = NULL;
        char *expected = whole;
        assert_int_equal(ms_splitter_new(give, &text, 5, NULL, &splitter, &err), MS_OK);
        for (size_t i = 0; i < stop; i++) {
            struct ms_piece piece;
            bool more;
            assert_int_equal(ms_splitter_next(splitter, &more, &piece, &err), MS_OK);
            if (!piece.fault && !piece.sure && !is_whole(piece.bytes))
                assert_int_equal(ms_splitter_refine(splitter, &piece, &err), MS_OK);
            expected = strchr(expected, '|') + 1;
        }
        struct ms_split_state here = ms_splitter_state(splitter);
        ms_splitter_free(splitter);
        char *rest = split(bytes, strlen(bytes), 3, &here);
        assert_string_equal(rest, expected);
        free(rest);
    }
    free(whole);
}

/* Random documents in random layouts with random damage: blocks change nothing, and every piece
 * lies where it says. */
static void test_random(void **state)
{
    static const char *const parts[] = {
        "{\"a\":1}", "{}",     "{\n  \"a\": [\n    {\n    }\n  ]\n}",
        "[",         "]",      ",",
        "\n",        "\n",     " ",
        "{\"s\":\"", "\"}",    "{",
        "}",         "x",      "\\",
        "\"",        "[{}]\n", "{\"b\":{\"c\":[{}]}}\n"};
    unsigned seed = 1;
    (void)state;
    for (int round = 0; round < 3000; round++) {
        char bytes[512] = "";
        size_t len = 0;
        for (int i = 0; i < 14; i++) {
            seed = seed * 1103515245U + 12345U;
            const char *part = parts[(seed >> 16) % (sizeof parts / sizeof *parts)];
            len += (size_t)snprintf(bytes + len, sizeof bytes - len, "%s", part);
        }
        char *whole = split(bytes, len, 1 << 16, NULL);
        for (size_t block = 1; block < 20; block += 3) {
            char *got = split(bytes, len, block, NULL);
            assert_string_equal(got, whole);
            free(got);
        }
        free(whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layouts),
                                       cmocka_unit_test(test_faults), cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_resume),
                                       cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
