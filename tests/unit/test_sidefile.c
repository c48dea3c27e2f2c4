/* Files of digests: every form people write, and what is none. */
#include "base/hash.h"
#include "collect/sidefile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MD5 "d41d8cd98f00b204e9800998ecf8427e"
#define SHA1 "da39a3ee5e6b4b0d3255bfef95601890afd80709"
#define SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void parse(const void *text, size_t n, struct ms_side_digests *out)
{
    /* An exact copy, so that a byte read behind it is found. */
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, text, n);
    memset(out, 0, sizeof *out);
    ms_side_parse(out, ms_span_of(copy, n));
    free(copy);
}

static void expect(const char *text, const char *hex, const char *name)
{
    struct ms_side_digests digests;
    char got[MS_HASH_HEX_MAX];
    parse(text, strlen(text), &digests);
    if (digests.count != (hex ? 1U : 0U))
        fail_msg("%zu digests in '%s'", digests.count, text);
    if (!hex)
        return;
    ms_hex_encode(digests.items[0].bytes, digests.items[0].n, got);
    assert_string_equal(got, hex);
    assert_string_equal(digests.items[0].name, name);
}

static void test_forms(void **state)
{
    (void)state;
    expect(MD5, MD5, "");
    expect(MD5 "\r\n", MD5, "");
    expect("  \t" SHA1 " \t\n", SHA1, "");
    expect("E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", SHA256, "");
    expect(MD5 "  x.zip\n", MD5, "x.zip");
    expect(MD5 " *x.zip\n", MD5, "x.zip");
    expect(SHA256 "  ./a b/x y.zip\r", SHA256, "x y.zip");
    expect(SHA256 " *C:\\tmp\\x.zip", SHA256, "x.zip");
    expect("MD5 (x.zip) = " MD5, MD5, "x.zip");
    expect("SHA256(a(1).zip)= " SHA256, SHA256, "a(1).zip");
    expect("md5: " MD5, MD5, "");
    expect("MD5=" MD5, MD5, "");
    /* A name that is a digest itself is none. */
    expect(MD5 "  " SHA256 ".zip", MD5, SHA256 ".zip");
    expect("MD5 (" SHA256 ".zip) = " MD5, MD5, SHA256 ".zip");
    expect("\xef\xbb\xbf" MD5, MD5, "");
}

static void test_what_is_none(void **state)
{
    (void)state;
    expect("", NULL, NULL);
    expect("\n\r\n \n", NULL, NULL);
    expect("no digest here", NULL, NULL);
    expect("d41d8cd98f00b204e9800998ecf8427", NULL, NULL); /* a digit short */
    expect(MD5 "0", NULL, NULL);                           /* one too many */
    expect("x" MD5, NULL, NULL);
    expect("g41d8cd98f00b204e9800998ecf8427e", NULL, NULL);
    expect("MD5 (x) = ", NULL, NULL);
    expect("(((((", NULL, NULL);
    expect(")=(=(=", NULL, NULL);
    expect("=", NULL, NULL);
    /* Too long a name is not kept, the digest is. */
    char line[400] = MD5 "  ";
    memset(line + strlen(MD5 "  "), 'n', 200);
    expect(line, MD5, "");
}

static void test_wide_text(void **state)
{
    struct ms_side_digests digests;
    char got[MS_HASH_HEX_MAX];
    (void)state;
    for (int big = 0; big < 2; big++) {
        uint8_t wide[2 + 2 * sizeof MD5 + 8] = {big ? 0xfe : 0xff, big ? 0xff : 0xfe};
        size_t n = 2;
        for (const char *c = MD5 "\r\n"; *c; c++, n += 2)
            wide[n + (big ? 1 : 0)] = (uint8_t)*c;
        for (size_t cut = 0; cut <= n; cut++)
            parse(wide, cut, &digests);
        assert_int_equal(digests.count, 1);
        ms_hex_encode(digests.items[0].bytes, digests.items[0].n, got);
        assert_string_equal(got, MD5);
    }
}

static void test_bounds(void **state)
{
    enum { LINES = 3 * MS_SIDE_DIGESTS };
    struct ms_side_digests digests;
    size_t n = strlen(MD5 "\n");
    char *text = malloc(LINES * n + 1);
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < LINES; i++)
        memcpy(text + i * n, MD5 "\n", n);
    parse(text, LINES * n, &digests);
    assert_int_equal(digests.count, MS_SIDE_DIGESTS);
    free(text);
    /* Any bytes at all. */
    uint32_t seed = 1;
    for (unsigned round = 0; round < 20000; round++) {
        static const char alphabet[] = "0123456789abcdefABCDEF()=* \t\r\n\\/.\xff\xfe\xef\xbb\xbf";
        uint8_t bytes[96];
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[i] = (uint8_t)alphabet[(seed >> 16) % (sizeof alphabet)];
        }
        parse(bytes, (seed >> 8) % sizeof bytes, &digests);
    }
}

static void test_names(void **state)
{
    static const char *const yes[] = {"x.md5", "a/x.zip.SHA256", "x.sha", "x.shasum", "x.md5sum"};
    static const char *const no[] = {"x.zip", "md5", ".md5", "x.md5.txt", ""};
    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(ms_side_is(ms_span_of(yes[i], strlen(yes[i]))));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(ms_side_is(ms_span_of(no[i], strlen(no[i]))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),     cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_wide_text), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
