/* What the scanner checks of values that it passes over, and that all of its paths (bytes, AVX2,
 * AVX-512) come to the same verdict, place and texts, wherever in a block something lies. */
#include "base/limits.h"
#include "base/scan.h"
#include "base/scan_kernel.h"
#include "tests/unit/json_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct ms_scanner_kernel *const paths[] = {&ms_scanner_bytes, &ms_scanner_avx2,
                                                        &ms_scanner_avx512};
enum { PATHS = sizeof paths / sizeof *paths, BLOCK = 4096 };

struct feed {
    const uint8_t *data;
    size_t len, step;
};

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct feed *feed = ctx;
    (void)err;
    *n = feed->len < cap ? feed->len : cap;
    if (feed->step && *n > feed->step)
        *n = feed->step;
    if (*n)
        memcpy(buf, feed->data, *n);
    feed->data += *n;
    feed->len -= *n;
    return MS_OK;
}

/* What came of a document: verdict, place and words, and a sum over the texts that were seen. */
struct outcome {
    enum ms_status status;
    uint64_t line, byte;
    uint32_t seen;
    size_t alike;
    struct ms_error err;
};

static void see(struct outcome *out, enum ms_scanner_kind kind, struct ms_span bytes)
{
    out->seen = (out->seen ^ (uint32_t)kind) * 16777619U;
    for (size_t i = 0; i < bytes.len; i++)
        out->seen = (out->seen ^ bytes.data[i]) * 16777619U;
}

static const struct ms_scanner_name names[] = {MS_SCAN_NAME("api"), MS_SCAN_NAME("time"),
                                               MS_SCAN_NAME("flags")};
enum { NAMES = 3 };

/* One element, member by member, as ms_scanner_next_alike would give it. */
static enum ms_status read_element(struct ms_scanner *scan, struct outcome *out)
{
    struct ms_scanner_field fields[NAMES] = {{.found = false}};
    uint8_t held[NAMES][256];
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(scan, &kind, &out->err);
    if (status != MS_OK)
        return status;
    if (kind != MS_SCAN_OBJECT) {
        see(out, kind, ms_span_of("other", 5));
        return ms_scanner_skip(scan, &out->err);
    }
    status = ms_scanner_enter(scan, &out->err);
    while (status == MS_OK) {
        struct ms_scanner_text key, text;
        bool more;
        status = ms_scanner_member(scan, &more, &key, &out->err);
        if (status != MS_OK || !more)
            break;
        size_t i = 0;
        while (i < NAMES &&
               !ms_span_equal(key.bytes, ms_span_of((const uint8_t *)names[i].at, names[i].len)))
            i++;
        if (i == NAMES)
            continue;
        status = ms_scanner_take(scan, &fields[i].kind, &text, &out->err);
        size_t len = text.bytes.len < 256 ? text.bytes.len : 256;
        if (status == MS_OK && len)
            memcpy(held[i], text.bytes.data, len);
        fields[i].text.bytes = ms_span_of(held[i], status == MS_OK ? len : 0);
        fields[i].found = true;
    }
    for (size_t i = 0; status == MS_OK && i < NAMES; i++)
        if (fields[i].found)
            see(out, fields[i].kind, fields[i].text.bytes);
    see(out, MS_SCAN_OBJECT, ms_span_of("end", 3));
    return status;
}

/* An array's elements, alike or not. */
static enum ms_status read_alike(struct ms_scanner *scan, struct outcome *out)
{
    struct ms_scanner_field fields[NAMES];
    struct ms_scanner_form *form = NULL;
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(scan, &kind, &out->err);
    if (status != MS_OK || kind != MS_SCAN_ARRAY)
        return status;
    assert_int_equal(ms_scanner_form_new(names, NAMES, &form, NULL), MS_OK);
    status = ms_scanner_enter(scan, &out->err);
    while (status == MS_OK) {
        uint32_t found;
        bool more;
        if (ms_scanner_next_alike(scan, form, fields, &found)) {
            out->alike++;
            for (size_t i = 0; i < NAMES; i++) {
                if (!(found >> i & 1))
                    continue;
                bool whole = fields[i].kind == MS_SCAN_OBJECT || fields[i].kind == MS_SCAN_ARRAY;
                size_t len = fields[i].text.bytes.len < 256 ? fields[i].text.bytes.len : 256;
                see(out, fields[i].kind, ms_span_of(fields[i].text.bytes.data, whole ? 0 : len));
            }
            see(out, MS_SCAN_OBJECT, ms_span_of("end", 3));
            continue;
        }
        status = ms_scanner_element(scan, &more, &out->err);
        if (status != MS_OK || !more)
            break;
        status = read_element(scan, out);
    }
    ms_scanner_form_free(form);
    return status;
}

enum how { SKIP, ALIKE };

static struct outcome read_by(const struct ms_scanner_kernel *path, struct ms_span document,
                              size_t step, enum ms_scanner_check check, enum how how)
{
    struct feed feed = {document.data, document.len, step};
    struct ms_scanner *scan = NULL;
    struct outcome out = {.status = MS_OK};
    ms_scanner_kernel_force(path);
    assert_int_equal(ms_scanner_new(give, &feed, BLOCK, &scan, NULL), MS_OK);
    ms_scanner_check_skipped(scan, check);
    if (how == ALIKE)
        out.status = read_alike(scan, &out);
    if (out.status == MS_OK)
        out.status = ms_scanner_finish(scan, &out.err);
    out.line = ms_scanner_line(scan);
    out.byte = ms_scanner_byte(scan);
    ms_scanner_free(scan);
    ms_scanner_kernel_force(NULL);
    return out;
}

static void assert_same(const struct outcome *a, const struct outcome *b, struct ms_span document)
{
    if (a->status != b->status || strcmp(a->err.text, b->err.text) != 0 || a->line != b->line ||
        a->byte != b->byte || (a->status == MS_OK && a->seen != b->seen))
        fail_msg("'%s' and '%s', %08x and %08x: %.*s", a->err.text, b->err.text, a->seen, b->seen,
                 (int)document.len, (const char *)document.data);
}

/* All paths and several ways to be cut up; what bytes say comes back. The memory is exact, so that
 * the sanitizer sees any read beyond it. */
static struct outcome all_paths(struct ms_span document, enum how how)
{
    static const size_t steps[] = {0, 64, 63, 1, 100};
    struct outcome first = read_by(&ms_scanner_bytes, document, 0, MS_SCAN_CHECK_STRUCTURE, how);
    for (size_t i = 0; i < PATHS; i++)
        for (size_t k = 0; ms_scanner_kernel_can(paths[i]) && k < sizeof steps / sizeof *steps;
             k++) {
            struct outcome out =
                read_by(paths[i], document, steps[k], MS_SCAN_CHECK_STRUCTURE, how);
            assert_same(&first, &out, document);
        }
    return first;
}

static void test_the_paths_there_are(void **state)
{
    (void)state;
    assert_true(ms_scanner_kernel_can(&ms_scanner_bytes));
    for (size_t i = 0; i < PATHS; i++)
        print_message("%s: %s\n", paths[i]->name,
                      ms_scanner_kernel_can(paths[i]) ? "tested" : "not on this processor");
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul"))
        assert_true(ms_scanner_kernel_can(&ms_scanner_avx2));
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        assert_true(ms_scanner_kernel_can(&ms_scanner_avx512));
#endif
}

/* Documents whole and damaged, pushed along by `shift` bytes of white space. */
static void generated(enum how how, int count, size_t *refused, size_t *alike)
{
    struct ms_rng rng;
    ms_rng_init(&rng, 21, 1, (uint64_t)how);
    for (int i = 0; i < count; i++) {
        struct ms_buf text;
        ms_buf_init(&text, SIZE_MAX);
        for (size_t shift = (size_t)i % 64; shift; shift--)
            ms_buf_append_byte(&text, shift % 7 ? ' ' : '\n');
        if (how == ALIKE) {
            make_alike(&rng, &text);
        } else {
            ms_buf_append_byte(&text, '[');
            make_value(&rng, 0, &text);
            ms_buf_append_byte(&text, ',');
            make_value(&rng, 0, &text);
            ms_buf_append_byte(&text, ']');
        }
        if (i / 64 % 4)
            make_damage(&rng, &text);
        uint8_t *exact = malloc(text.len + 1);
        assert_non_null(exact);
        memcpy(exact, text.data, text.len);
        struct ms_span document = ms_span_of(exact, text.len);
        struct outcome loose = all_paths(document, how);
        struct outcome strict = read_by(&ms_scanner_bytes, document, 0, MS_SCAN_CHECK_GRAMMAR, how);
        /* Structure is a part of the grammar: it refuses nothing else, and nothing sooner. */
        if (strict.status == MS_OK)
            assert_same(&strict, &loose, document);
        else if (loose.status != MS_OK)
            assert_true(loose.byte >= strict.byte);
        *refused += loose.status != MS_OK;
        struct outcome best = read_by(NULL, document, 0, MS_SCAN_CHECK_STRUCTURE, how);
        *alike += best.alike;
        free(exact);
        ms_buf_release(&text);
    }
}

static void test_skipped(void **state)
{
    size_t refused = 0, alike = 0;
    (void)state;
    generated(SKIP, 6400, &refused, &alike);
    assert_true(refused > 1000 && refused < 4800);
}

static void test_alike(void **state)
{
    size_t refused = 0, alike = 0;
    (void)state;
    generated(ALIKE, 6400, &refused, &alike);
    assert_true(refused > 1000 && refused < 6000);
    if (ms_scanner_kernel_best()->take)
        assert_true(alike > 10000);
}

/* Members that nobody wants and that are the same in each object are compared at once: in one of
 * the objects each of their bytes is another. */
static void test_stretches(void **state)
{
    static const char others[] = "\"},:\\ 0e\x01\xc3";
    static const char members[] = "\"a\":{},\"b\":0,\"c\":[],\"d\":\"x\",\"e\":null,";
    (void)state;
    for (size_t at = 0; at < sizeof members - 1; at++)
        for (size_t i = 0; i < sizeof others - 1; i++) {
            char text[1024], changed[sizeof members];
            memcpy(changed, members, sizeof members);
            changed[at] = others[i];
            int n = snprintf(text, sizeof text, "[0");
            for (int k = 0; k < 6; k++)
                n += snprintf(text + n, sizeof text - (size_t)n,
                              ",{\"api\":\"f%d\",%s\"time\":%d,\"n\":%d}", k,
                              k == 4 ? changed : members, k, k / 3);
            n += snprintf(text + n, sizeof text - (size_t)n, "]");
            struct ms_span document = ms_span_of((const uint8_t *)text, (size_t)n);
            (void)all_paths(document, ALIKE);
            struct outcome best = read_by(NULL, document, 0, MS_SCAN_CHECK_STRUCTURE, ALIKE);
            if (ms_scanner_kernel_best()->take)
                assert_true(best.alike >= 3);
        }
}

/* Every place in a block for each fault and for each end, the verdict and place as counted here. */
static void test_places(void **state)
{
    static const struct {
        const char *text, *why; /* of what stands in an array that is skipped; NULL: sound */
        size_t at;              /* where in it the fault is */
    } cases[] = {
        {"{\"a\" 1 2, ,:}", NULL, 0},
        {"nul, 01, .5, 'x'", NULL, 0},
        {"\"\\q\\u12\"", NULL, 0},
        {"\"\\\\\\\\\\\"]}\\\\\"", NULL, 0},
        {"{\"}]\":[{}]}", NULL, 0},
        {"\"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9\"", NULL, 0},
        {"\"a\nb\"", "a raw control character in a string", 2},
        {"\"\\\nb\"", "a raw control character in a string", 2},
        {"\"\x80\"", "a string is not UTF-8", 1},
        {"\"\xc3\"", "a string is not UTF-8", 2},
        {"\"\xe2\x82\"", "a string is not UTF-8", 3},
        {"\"\xed\xa0\x80\"", "a string is not UTF-8", 2},
        {"\"\xf0\x9f\x98x\"", "a string is not UTF-8", 4},
        {"\xc3\xa9", "not a JSON value", 0},
        {"\\\"", "a backslash outside a string", 0},
        {"[}", "a } that closes a [", 1},
        {"{]", "a ] that closes a {", 1},
        {"{\"a\":[{\"b\":[]}}]", "a } that closes a [", 14},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t shift = 0; shift < 130; shift++) {
            char text[512], why[128];
            int n =
                snprintf(text, sizeof text, "[\n[%*s%s%70s]\n]", (int)shift, "", cases[i].text, "");
            struct outcome out = all_paths(ms_span_of((uint8_t *)text, (size_t)n), SKIP);
            (void)snprintf(why, sizeof why, "line 2, byte %zu: %s", 3 + shift + cases[i].at,
                           cases[i].why ? cases[i].why : "");
            assert_int_equal(out.status, cases[i].why ? MS_REJECT : MS_OK);
            if (cases[i].why)
                assert_string_equal(out.err.text, why);
            else
                assert_true(out.byte == (uint64_t)n && out.line == 3);
        }
}

/* A number may fill the 64 bytes that are looked at together, and more. */
static void test_long_numbers(void **state)
{
    (void)state;
    for (size_t digits = 1; digits < 200; digits++) {
        char number[200], text[1024];
        memset(number, '3', digits);
        number[digits] = '\0';
        int n = snprintf(text, sizeof text, "[{\"other\":1},{\"other\":%s},{\"other\":-%s},%64s1]",
                         number, number, "");
        struct outcome out = all_paths(ms_span_of((uint8_t *)text, (size_t)n), ALIKE);
        assert_int_equal(out.status, MS_OK);
        assert_true(out.byte == (uint64_t)n);
    }
}

/* Each document cut at each byte ends too soon. */
static void test_cut(void **state)
{
    const char text[] = "[{\"key\":[\"value \\\\\\\" \xe2\x82\xac\",{\"x\":[[],{}]}]},"
                        "\"0123456789012345678901234567890123456789012345678901234567890\"]";
    (void)state;
    for (size_t n = 1; n < sizeof text - 1; n++) {
        uint8_t *exact = malloc(n);
        assert_non_null(exact);
        memcpy(exact, text, n);
        struct outcome out = all_paths(ms_span_of(exact, n), SKIP);
        assert_int_equal(out.status, MS_REJECT);
        assert_non_null(strstr(out.err.text, ": ends within a"));
        assert_int_equal(out.byte, n);
        free(exact);
    }
}

static void test_depth(void **state)
{
    (void)state;
    for (size_t depth = MS_LIMIT_JSON_DEPTH - 2; depth <= MS_LIMIT_JSON_DEPTH + 2; depth++) {
        char text[2 * MS_LIMIT_JSON_DEPTH + 64];
        size_t n = 0;
        for (size_t i = 0; i < depth; i++)
            text[n++] = i % 3 ? '[' : '{';
        for (size_t i = depth; i; i--)
            text[n++] = (i - 1) % 3 ? ']' : '}';
        struct outcome out = all_paths(ms_span_of((uint8_t *)text, n), SKIP);
        assert_int_equal(out.status, depth <= MS_LIMIT_JSON_DEPTH ? MS_OK : MS_REJECT);
        if (out.status != MS_OK)
            assert_string_equal(out.err.text, "line 1, byte 512: nested too deeply");
    }
}

/* All sequences of four of the bytes at which UTF-8's classes begin and end, and all of two. */
static void test_utf8(void **state)
{
    static const uint8_t edges[] = {0x20, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                    0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
                                    0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF};
    const size_t n = sizeof edges;
    size_t sound = 0;
    (void)state;
    for (size_t i = 0; i < n * n * n * n + 65536; i++) {
        uint8_t text[200];
        uint8_t c[4] = {edges[i % n], edges[i / n % n], edges[i / n / n % n],
                        edges[i / n / n / n % n]};
        if (i >= n * n * n * n) {
            size_t pair = i - n * n * n * n;
            c[0] = (uint8_t)(pair >> 8);
            c[1] = (uint8_t)pair;
            c[2] = c[3] = ' ';
        }
        memset(text, ' ', sizeof text);
        memcpy(text, "[[\"", 3);
        memcpy(text + 59 + i % 8, c, 4); /* on both sides of the second block's begin */
        memcpy(text + 197, "\"]]", 3);
        struct ms_span document = ms_span_of(text, sizeof text);
        struct outcome first =
            read_by(&ms_scanner_bytes, document, 0, MS_SCAN_CHECK_STRUCTURE, SKIP);
        sound += first.status == MS_OK;
        for (size_t k = 1; k < PATHS; k++) {
            if (!ms_scanner_kernel_can(paths[k]))
                continue;
            struct outcome out = read_by(paths[k], document, 0, MS_SCAN_CHECK_STRUCTURE, SKIP);
            assert_same(&first, &out, document);
        }
    }
    assert_true(sound > 1000);
}

/* A table of forms that is full begins anew; nothing is lost by it. */
static void test_many_forms(void **state)
{
    struct ms_buf text;
    (void)state;
    ms_buf_init(&text, SIZE_MAX);
    ms_buf_append_text(&text, "[{\"api\":\"first\"}");
    for (int i = 0; i < 3000; i++)
        ms_buf_printf(&text, ",{\"k%d\":%d,\"api\":\"name%d\",\"time\":%d.5}", i % 101, i, i, i);
    ms_buf_append_text(&text, "]");
    struct ms_span document = ms_span_of(text.data, text.len);
    struct outcome out = all_paths(document, ALIKE);
    assert_int_equal(out.status, MS_OK);
    ms_buf_release(&text);
}

/* Strict is the default, and all there is of a document in memory. */
static void test_strict(void **state)
{
    const char *text = "[[1 2]]";
    struct ms_scanner *scan = NULL;
    struct ms_span document = ms_span_of((const uint8_t *)text, strlen(text));
    struct feed feed = {document.data, document.len, 0};
    (void)state;
    assert_int_equal(ms_scanner_new(give, &feed, 0, &scan, NULL), MS_OK);
    assert_int_equal(ms_scanner_finish(scan, NULL), MS_REJECT);
    ms_scanner_free(scan);
    assert_int_equal(ms_scanner_new_memory(&scan, NULL), MS_OK);
    ms_scanner_check_skipped(scan, MS_SCAN_CHECK_STRUCTURE);
    ms_scanner_restart(scan, document);
    assert_int_equal(ms_scanner_finish(scan, NULL), MS_REJECT);
    ms_scanner_free(scan);
    struct outcome out = read_by(NULL, document, 0, MS_SCAN_CHECK_STRUCTURE, SKIP);
    assert_int_equal(out.status, MS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_paths_there_are),
        cmocka_unit_test(test_skipped),
        cmocka_unit_test(test_alike),
        cmocka_unit_test(test_stretches),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_long_numbers),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_many_forms),
        cmocka_unit_test(test_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
