/* Unit tests of the ground floor: error, arena, buf, span, clock, rng, hash, escaping. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/span.h"

#include <errno.h>
#include <math.h>

static void test_error(void **state)
{
    (void)state;
    struct ms_error err = {.resume_at_ms = 9};
    assert_int_equal(ms_error_set(&err, MS_E_IO, "file %d", 7), MS_E_IO);
    assert_int_equal(err.status, MS_E_IO);
    assert_string_equal(err.text, "file 7");
    assert_int_equal(err.resume_at_ms, 0);
    ms_error_prepend(&err, "stage %s", "x");
    assert_string_equal(err.text, "stage x: file 7");
    assert_int_equal(ms_error_set_errno(&err, MS_E_STORE, ENOENT, "open"), MS_E_STORE);
    assert_string_equal(err.text, "open: No such file or directory");
    assert_int_equal(ms_error_set(NULL, MS_REJECT, "nobody"), MS_REJECT);
    ms_error_prepend(NULL, "nobody");
    for (int i = 0; i < 100; i++)
        ms_error_prepend(&err, "a long context that is put in front again and again");
    assert_in_range(strlen(err.text), 600, MS_ERROR_TEXT_BYTES - 1);
}

static void test_exit_codes(void **state)
{
    (void)state;
    static const struct {
        enum ms_status status;
        int code;
        const char *name;
    } rows[] = {{MS_OK, 0, "ok"},          {MS_REJECT, 1, "reject"},  {MS_E_USAGE, 2, "usage"},
                {MS_E_INPUT, 3, "input"},  {MS_E_LIMIT, 3, "limit"},  {MS_E_IO, 4, "io"},
                {MS_E_STORE, 4, "store"},  {MS_E_NOMEM, 4, "memory"}, {MS_E_REMOTE, 5, "remote"},
                {MS_E_LATER, 75, "later"}, {MS_E_BUG, 70, "bug"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(ms_status_exit_code(rows[i].status), rows[i].code);
        assert_string_equal(ms_status_name(rows[i].status), rows[i].name);
    }
    assert_int_equal(ms_status_exit_code((enum ms_status)99), 70);
    assert_string_equal(ms_status_name((enum ms_status)99), "bug");
}

static void test_arena(void **state)
{
    (void)state;
    struct ms_arena arena;
    ms_arena_init(&arena, 200000);
    unsigned char *first = ms_arena_alloc(&arena, 3);
    unsigned char *second = ms_arena_alloc(&arena, 0);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    assert_int_equal((uintptr_t)second % _Alignof(max_align_t), 0);
    memset(first, 0xff, 3);
    assert_string_equal(ms_arena_copy(&arena, "abc\0d", 2), "ab");
    unsigned char *large = ms_arena_alloc(&arena, 150000);
    assert_non_null(large);
    assert_int_equal(large[0] | large[149999], 0);
    assert_null(ms_arena_alloc(&arena, 60000));
    assert_null(ms_arena_alloc(&arena, SIZE_MAX));
    assert_null(ms_arena_alloc_array(&arena, SIZE_MAX / 2, 3));
    assert_null(ms_arena_copy(&arena, "", SIZE_MAX));
    ms_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    /* Used again after a reset, memory is zero again. */
    for (int round = 0; round < 3; round++) {
        unsigned char *again = ms_arena_alloc(&arena, 64);
        for (int i = 0; i < 64; i++)
            assert_int_equal(again[i], 0);
        memset(again, 0xaa, 64);
        ms_arena_reset(&arena);
    }
    assert_non_null(ms_arena_alloc(&arena, 200000 - 16));
    ms_arena_release(&arena);
}

static void test_buf_limits(void **state)
{
    (void)state;
    struct ms_buf buf;
    ms_buf_init(&buf, 10);
    assert_string_equal(ms_buf_text(&buf), "");
    assert_int_equal(ms_buf_append_text(&buf, "12345"), MS_OK);
    assert_int_equal(ms_buf_printf(&buf, "%d", 67890), MS_OK);
    assert_string_equal(ms_buf_text(&buf), "1234567890");
    assert_false(buf.failed);
    assert_int_equal(ms_buf_append_byte(&buf, 'x'), MS_E_LIMIT);
    assert_true(buf.failed);
    assert_string_equal(ms_buf_text(&buf), "1234567890");
    ms_buf_clear(&buf);
    assert_int_equal(ms_buf_append_text(&buf, "12345678"), MS_OK);
    assert_int_equal(ms_buf_append_text(&buf, "abc"), MS_E_LIMIT);
    /* Once it failed nothing more goes in, or a piece would be missing in the middle. */
    assert_int_not_equal(ms_buf_append_text(&buf, "a"), MS_OK);
    assert_string_equal(ms_buf_text(&buf), "12345678");
    ms_buf_clear(&buf);
    assert_int_equal(ms_buf_append(&buf, "", 0), MS_OK);
    assert_int_equal(ms_buf_reserve(&buf, SIZE_MAX), MS_E_LIMIT);
    ms_buf_release(&buf);
    ms_buf_init(&buf, 0);
    assert_int_equal(ms_buf_append_byte(&buf, 1), MS_E_LIMIT);
    ms_buf_release(&buf);
    ms_buf_init(&buf, SIZE_MAX);
    assert_int_not_equal(ms_buf_reserve(&buf, SIZE_MAX - 1), MS_OK);
    ms_buf_clear(&buf);
    for (int i = 0; i < 100000; i++)
        (void)ms_buf_append_byte(&buf, (uint8_t)i);
    assert_int_equal(buf.len, 100000);
    assert_int_equal(buf.data[99999], (uint8_t)99999);
    size_t len;
    uint8_t *taken = ms_buf_take(&buf, &len);
    assert_int_equal(len, 100000);
    assert_null(buf.data);
    free(taken);
    assert_null(ms_buf_take(&buf, &len));
}

static void test_varint(void **state)
{
    (void)state;
    static const uint64_t values[] = {
        0, 1, 127, 128, 300, 16383, 16384, UINT32_MAX, (uint64_t)1 << 63, UINT64_MAX};
    struct ms_buf buf;
    ms_buf_init(&buf, 1000);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_int_equal(ms_buf_append_varint(&buf, values[i]), MS_OK);
    struct ms_span span = ms_span_of(buf.data, buf.len);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint64_t got = 1;
        assert_true(ms_span_take_varint(&span, &got));
        assert_true(got == values[i]);
    }
    assert_int_equal(span.len, 0);
    uint64_t got = 77;
    assert_false(ms_span_take_varint(&span, &got));
    const uint8_t cut[] = {0x80, 0x80};
    const uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0};
    const struct ms_span bad[] = {{cut, 2}, {over, 10}, {endless, 11}};
    for (size_t i = 0; i < 3; i++) {
        span = bad[i];
        assert_false(ms_span_take_varint(&span, &got));
        assert_int_equal(span.len, bad[i].len);
    }
    assert_int_equal(got, 77);
    ms_buf_release(&buf);
}

/* Every offset around every bound, on a heap copy so that the sanitiser sees a byte too far. */
static void test_span_bounds(void **state)
{
    (void)state;
    const uint8_t pattern[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (size_t len = 0; len <= 9; len++) {
        uint8_t *heap = malloc(len ? len : 1);
        assert_non_null(heap);
        memcpy(heap, pattern, len);
        struct ms_span span = ms_span_of(heap, len), part;
        for (uint64_t at = 0; at <= 10; at++) {
            uint8_t u8 = 0;
            uint16_t u16 = 0;
            uint32_t u32 = 0;
            uint64_t u64 = 0;
            assert_int_equal(ms_span_u8(span, at, &u8), at + 1 <= len);
            assert_int_equal(ms_span_u16le(span, at, &u16), at + 2 <= len);
            assert_int_equal(ms_span_u32le(span, at, &u32), at + 4 <= len);
            assert_int_equal(ms_span_u32be(span, at, &u32), at + 4 <= len);
            assert_int_equal(ms_span_u64le(span, at, &u64), at + 8 <= len);
            for (uint64_t n = 0; n <= 10; n++)
                assert_int_equal(ms_span_sub(span, at, n, &part), at + n <= len);
        }
        assert_false(ms_span_sub(span, UINT64_MAX, 1, &part));
        assert_false(ms_span_sub(span, 1, UINT64_MAX, &part));
        assert_false(ms_span_sub(span, UINT64_MAX, UINT64_MAX, &part));
        free(heap);
    }
}

static void test_span_values(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x01, 0x82, 0x03, 0x84, 0x05, 0x86, 0x07, 0x88, 0x09};
    struct ms_span span = ms_span_of(bytes, sizeof bytes), part;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    assert_true(ms_span_u16le(span, 0, &u16) && u16 == 0x8201);
    assert_true(ms_span_u32le(span, 1, &u32) && u32 == 0x05840382);
    assert_true(ms_span_u32be(span, 0, &u32) && u32 == 0x01820384);
    assert_true(ms_span_u64le(span, 0, &u64) && u64 == 0x8807860584038201u);
    assert_true(ms_span_take_u8(&span, &u8) && u8 == 1 && span.len == 8);
    assert_true(ms_span_take_u64le(&span, &u64) && span.len == 0);
    assert_false(ms_span_take_u8(&span, &u8));
    span = ms_span_of(bytes, 5);
    assert_false(ms_span_take_u64le(&span, &u64));
    assert_int_equal(span.len, 5);
    assert_true(ms_span_take_u32le(&span, &u32) && u32 == 0x84038201 && span.len == 1);
    assert_false(ms_span_take(&span, 2, &part));
    assert_true(ms_span_take(&span, 1, &part) && part.len == 1 && part.data[0] == 5);
    span = ms_span_of(NULL, 0);
    assert_true(ms_span_take(&span, 0, &part));
    assert_true(ms_span_equal(span, part));
    assert_true(ms_span_equal_text(ms_span_of("ab", 2), "ab"));
    assert_false(ms_span_equal_text(ms_span_of("ab", 2), "abc"));
    assert_true(ms_add_u64(1, 2, &u64) && u64 == 3);
    assert_false(ms_add_u64(UINT64_MAX, 1, &u64));
    assert_false(ms_mul_u64(UINT64_MAX / 2, 3, &u64));
}

struct fake_time {
    int64_t wall, mono;
};

static int64_t fake_wall(void *ctx)
{
    return ((struct fake_time *)ctx)->wall;
}

static int64_t fake_mono(void *ctx)
{
    return ((struct fake_time *)ctx)->mono;
}

static void fake_sleep(void *ctx, int64_t ms)
{
    struct fake_time *now = ctx;
    now->wall += ms;
    now->mono += ms;
}

static void test_clock(void **state)
{
    (void)state;
    char text[32];
    struct fake_time now = {1769860800123, 5};
    const struct ms_clock clock = {&now, fake_wall, fake_mono, fake_sleep};
    ms_clock_set(&clock);
    ms_clock_sleep_ms(1000);
    assert_int_equal(ms_clock_mono_ms(), 1005);
    ms_clock_format(ms_clock_wall_ms(), text);
    assert_string_equal(text, "2026-01-31T12:00:01Z");
    assert_int_equal(ms_clock_day_start(now.wall), 1769817600000);
    ms_clock_format(ms_clock_month_start(now.wall), text);
    assert_string_equal(text, "2026-01-01T00:00:00Z");
    ms_clock_format(ms_clock_next_month(now.wall), text);
    assert_string_equal(text, "2026-02-01T00:00:00Z");
    ms_clock_format(ms_clock_next_month(1798718400000), text); /* 31 December */
    assert_string_equal(text, "2027-01-01T00:00:00Z");
    assert_int_equal(ms_clock_day_start(-1), -86400000);
    ms_clock_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59Z");
    ms_clock_format(INT64_MAX, text);
    assert_true(strlen(text) < 32);
    ms_clock_set(NULL);
    assert_true(ms_clock_wall_ms() > 1700000000000);
    int64_t before = ms_clock_mono_ms();
    ms_clock_sleep_ms(-5);
    assert_true(ms_clock_mono_ms() >= before);
}

static void test_rng_known_vectors(void **state)
{
    (void)state;
    /* The first outputs of xoshiro256** from state 1, 2, 3, 4, as the authors' code gives them. */
    struct ms_rng rng = {{1, 2, 3, 4}};
    static const uint64_t want[] = {11520u, 0u, 1509978240u, 1215971899390074240u,
                                    1216172134540287360u};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_true(ms_rng_u64(&rng) == want[i]);
    struct ms_rng a, b;
    ms_rng_init(&a, 1, 2, 3);
    ms_rng_init(&b, 1, 2, 3);
    assert_true(ms_rng_u64(&a) == ms_rng_u64(&b));
    const uint64_t others[][3] = {{2, 2, 3}, {1, 3, 3}, {1, 2, 4}, {2, 1, 3}, {3, 2, 1}};
    for (size_t i = 0; i < 5; i++) {
        ms_rng_init(&a, 1, 2, 3);
        ms_rng_init(&b, others[i][0], others[i][1], others[i][2]);
        assert_true(ms_rng_u64(&a) != ms_rng_u64(&b));
    }
}

static void test_rng_is_unbiased(void **state)
{
    (void)state;
    enum { N = 300000 };
    struct ms_rng rng;
    ms_rng_init(&rng, 7, 0, 0);
    assert_int_equal(ms_rng_below(&rng, 0), 0);
    assert_int_equal(ms_rng_below(&rng, 1), 0);
    /* With a bound of 3/4 of the range, x % bound would fall in the lower third half the time. */
    const uint64_t bound = (uint64_t)3 << 62;
    unsigned low = 0;
    for (int i = 0; i < N; i++) {
        uint64_t x = ms_rng_below(&rng, bound);
        assert_true(x < bound);
        low += x < bound / 3;
    }
    assert_in_range(low, N / 3 - 2000, N / 3 + 2000);
    double sum = 0, square = 0;
    for (int i = 0; i < N; i++) {
        double x = ms_rng_normal(&rng);
        assert_true(isfinite(x));
        sum += x;
        square += x * x;
    }
    assert_true(fabs(sum / N) < 0.01);
    assert_true(fabs(square / N - 1) < 0.02);
    for (int i = 0; i < N; i++) {
        double x = ms_rng_unit(&rng);
        assert_true(x >= 0 && x < 1);
    }
    /* Each of the 6 orders of 3 things about as often. */
    unsigned orders[27] = {0};
    for (int i = 0; i < 60000; i++) {
        uint32_t items[3] = {0, 1, 2};
        ms_rng_shuffle(&rng, items, 3);
        orders[items[0] * 9 + items[1] * 3 + items[2]]++;
    }
    unsigned seen = 0;
    for (int i = 0; i < 27; i++)
        if (orders[i]) {
            seen++;
            assert_in_range(orders[i], 9500, 10500);
        }
    assert_int_equal(seen, 6);
}

static void assert_hex(const uint8_t *bytes, size_t n, const char *want)
{
    char text[MS_HASH_HEX_MAX];
    ms_hex_encode(bytes, n, text);
    assert_string_equal(text, want);
}

static void test_hash_known_vectors(void **state)
{
    (void)state;
    struct ms_hasher *hasher;
    struct ms_digests digests;
    struct ms_error err;
    assert_int_equal(ms_hasher_new(MS_HASH_MD5 | MS_HASH_SHA1 | MS_HASH_SHA256, &hasher, &err),
                     MS_OK);
    for (int round = 0; round < 2; round++) { /* ready for the next stream after finish */
        ms_hasher_update(hasher, "a", 1);
        ms_hasher_update(hasher, "bc", 2);
        assert_int_equal(ms_hasher_finish(hasher, &digests, &err), MS_OK);
        assert_hex(digests.md5, 16, "900150983cd24fb0d6963f7d28e17f72");
        assert_hex(digests.sha1, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_hex(digests.sha256, 32,
                   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    ms_hasher_free(hasher);
    ms_hasher_free(NULL);
    uint8_t sha256[32], blob[20];
    assert_int_equal(ms_hash_sha256("", 0, sha256), MS_OK);
    assert_hex(sha256, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(ms_hash_git_blob("", 0, blob), MS_OK);
    assert_hex(blob, 20, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_int_equal(ms_hash_git_blob("hello\n", 6, blob), MS_OK);
    assert_hex(blob, 20, "ce013625030ba8dba906f756967f9e9ca394464a");
}

static void test_hex(void **state)
{
    (void)state;
    uint8_t out[2];
    assert_true(ms_hex_decode("aBf0", 2, out) && out[0] == 0xab && out[1] == 0xf0);
    assert_false(ms_hex_decode("abf", 2, out));
    assert_false(ms_hex_decode("abf00", 2, out));
    assert_false(ms_hex_decode("abg0", 2, out));
    assert_false(ms_hex_decode("", 2, out));
    assert_true(ms_hex_decode("", 0, out));
}

static void escapes(const char *bytes, size_t n, const char *want)
{
    struct ms_buf buf;
    ms_buf_init(&buf, 1000);
    assert_int_equal(ms_escape(&buf, bytes, n), MS_OK);
    assert_string_equal(ms_buf_text(&buf), want);
    ms_buf_release(&buf);
}

static void test_escape_table(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *want;
    } rows[] = {
        {"plain text", 10, "plain text"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\n\t\r", 3, "\\n\\t\\r"},
        {"\0\x01\x1b[2J\x7f", 7, "\\x00\\x01\\x1b[2J\\x7f"},
        {"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", 8, "\\u{80}\\u{9b}\\u{9f}\xc2\xa0"},
        {"\xe2\x80\xae\xe2\x80\x8b\xe2\x81\xa6\xd8\x9c", 11, "\\u{202e}\\u{200b}\\u{2066}\\u{61c}"},
        {"\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf", 9, "\\u{2028}\\u{2029}\\u{feff}"},
        {"\xf3\xa0\x81\x81", 4, "\\u{e0041}"},
        {"\x9b\xff\xfe", 3, "\\x9b\\xff\\xfe"},
        {"\xc0\xaf\xc1\xbf", 4, "\\xc0\\xaf\\xc1\\xbf"},          /* overlong, 2 bytes */
        {"\xe0\x80\xaf", 3, "\\xe0\\x80\\xaf"},                   /* overlong, 3 bytes */
        {"\xf0\x80\x80\x9b", 4, "\\xf0\\x80\\x80\\x9b"},          /* overlong, 4 bytes */
        {"\xed\xa0\x80", 3, "\\xed\\xa0\\x80"},                   /* surrogate */
        {"\xf4\x90\x80\x80\xf5", 5, "\\xf4\\x90\\x80\\x80\\xf5"}, /* past U+10FFFF */
        {"\xe2\x82", 2, "\\xe2\\x82"},                            /* cut short */
        {"\xe2"
         "A",
         2,
         "\\xe2"
         "A"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        escapes(rows[i].bytes, rows[i].n, rows[i].want);
    for (int c = 0; c < 0x20; c++) {
        char byte = (char)c;
        struct ms_buf buf;
        ms_buf_init(&buf, 100);
        (void)ms_escape(&buf, &byte, 1);
        assert_int_equal(buf.data[0], '\\');
        ms_buf_release(&buf);
    }
}

static void test_escape_cuts(void **state)
{
    (void)state;
    char out[8];
    assert_string_equal(ms_escape_text("1234567", out, sizeof out), "1234567");
    assert_string_equal(ms_escape_text("12345678", out, sizeof out), "1234...");
    assert_string_equal(ms_escape_text("abc\xe2\x82\xac\xe2\x82\xac", out, sizeof out), "abc...");
    assert_string_equal(ms_escape_bytes("a\0b", 3, out, sizeof out), "a\\x00b");
    assert_string_equal(ms_escape_text("\x1b\x1b", out, sizeof out), "\\x1b...");
    assert_string_equal(ms_escape_text("", out, 1), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_buf_limits),
        cmocka_unit_test(test_varint),
        cmocka_unit_test(test_span_bounds),
        cmocka_unit_test(test_span_values),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_rng_known_vectors),
        cmocka_unit_test(test_rng_is_unbiased),
        cmocka_unit_test(test_hash_known_vectors),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_escape_table),
        cmocka_unit_test(test_escape_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
