/* Streams: plain, gzip and zstd give the same bytes; damage, cuts, garbage and caps are told
 * apart. */
#define _GNU_SOURCE
#include "base/rng.h"
#include "base/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { PLAIN_BYTES = 300000, SMALL_BYTES = 700 };

static uint8_t plain[PLAIN_BYTES];

/* Half compressible, half noise. */
static int make_plain(void **state)
{
    (void)state;
    struct ms_rng rng;
    ms_rng_init(&rng, 1, 2, 3);
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i % 2000 < 1000 ? 'a' + i % 7 : ms_rng_u64(&rng) & 255);
    return 0;
}

static size_t gzip(const void *bytes, size_t n, uint8_t *out, size_t cap)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t made = cap - z.avail_out;
    deflateEnd(&z);
    return made;
}

static size_t zstd(const void *bytes, size_t n, uint8_t *out, size_t cap)
{
    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    (void)ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
    size_t made = ZSTD_compress2(ctx, out, cap, bytes, n);
    ZSTD_freeCCtx(ctx);
    assert_false(ZSTD_isError(made));
    return made;
}

static int file_of(const void *bytes, size_t n)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* Reads all in pieces of `step` bytes; returns the last status. */
static enum ms_status drain(int fd, uint64_t max, size_t step, uint8_t *out, size_t *got,
                            enum ms_stream_kind *kind, struct ms_error *err)
{
    struct ms_stream *stream;
    *got = 0;
    enum ms_status status = ms_stream_open(fd, max, &stream, err);
    if (status != MS_OK)
        return status;
    for (;;) {
        size_t n;
        status = ms_stream_read(stream, out + *got, step, &n, err);
        if (status != MS_OK || n == 0)
            break;
        *got += n;
    }
    if (kind)
        *kind = ms_stream_kind_get(stream);
    assert_int_equal(ms_stream_plain_bytes(stream), *got);
    for (int i = 0; i < 2; i++) { /* a dead stream stays dead, the end stays the end */
        size_t n = 1;
        uint8_t more;
        assert_int_equal(ms_stream_read(stream, &more, 1, &n, err), status);
        assert_int_equal(n, 0);
    }
    ms_stream_close(stream);
    return status;
}

static uint8_t packed[2 * PLAIN_BYTES];
static uint8_t unpacked[3 * PLAIN_BYTES];

static void test_round_trip(void **state)
{
    (void)state;
    static const size_t steps[] = {1 << 20 >> 1, 4096, 7};
    for (int form = 0; form < 3; form++)
        for (size_t s = 0; s < 3; s++) {
            size_t n = sizeof plain;
            if (form == 0)
                memcpy(packed, plain, n);
            else
                n = form == 1 ? gzip(plain, n, packed, sizeof packed)
                              : zstd(plain, n, packed, sizeof packed);
            int fd = file_of(packed, n);
            size_t got;
            enum ms_stream_kind kind;
            struct ms_error err;
            assert_int_equal(drain(fd, sizeof plain, steps[s], unpacked, &got, &kind, &err), MS_OK);
            assert_int_equal(got, sizeof plain);
            assert_memory_equal(unpacked, plain, got);
            assert_int_equal(kind, form);
            close(fd);
        }
}

static void test_members_in_a_row(void **state)
{
    (void)state;
    for (int form = 1; form < 3; form++) {
        size_t n = 0;
        for (int i = 0; i < 3; i++) {
            size_t (*pack)(const void *, size_t, uint8_t *, size_t) = form == 1 ? gzip : zstd;
            n += pack(plain + i * SMALL_BYTES, i == 1 ? 0 : SMALL_BYTES, packed + n,
                      sizeof packed - n);
        }
        int fd = file_of(packed, n);
        size_t got;
        struct ms_error err;
        assert_int_equal(drain(fd, UINT64_MAX, 1000, unpacked, &got, NULL, &err), MS_OK);
        assert_int_equal(got, 2 * SMALL_BYTES);
        assert_memory_equal(unpacked, plain, SMALL_BYTES);
        assert_memory_equal(unpacked + SMALL_BYTES, plain + 2 * SMALL_BYTES, SMALL_BYTES);
        close(fd);
        /* Garbage, padding and half a magic behind it. */
        static const char tails[4][8] = {"garbage", "", "\x1f", "\x28\xb5"};
        for (size_t t = 0; t < 4; t++) {
            memcpy(packed + n, tails[t], 4);
            fd = file_of(packed, n + (t < 2 ? 4 : t - 1));
            assert_int_equal(drain(fd, UINT64_MAX, 1000, unpacked, &got, NULL, &err), MS_REJECT);
            assert_non_null(strstr(err.text, "garbage"));
            close(fd);
        }
    }
}

static void test_cut_at_every_length(void **state)
{
    (void)state;
    for (int form = 1; form < 3; form++) {
        size_t n = form == 1 ? gzip(plain, SMALL_BYTES, packed, sizeof packed)
                             : zstd(plain, SMALL_BYTES, packed, sizeof packed);
        for (size_t cut = form == 1 ? 2 : 4; cut < n; cut++) {
            int fd = file_of(packed, cut);
            size_t got;
            struct ms_error err = {MS_OK, 0, ""};
            assert_int_equal(drain(fd, UINT64_MAX, 4096, unpacked, &got, NULL, &err), MS_REJECT);
            assert_non_null(strstr(err.text, "cut short"));
            assert_true(got <= SMALL_BYTES);
            assert_memory_equal(unpacked, plain, got);
            close(fd);
        }
    }
}

/* A changed byte never gives a clean end with other bytes: both formats carry a checksum here. */
static void test_flips(void **state)
{
    (void)state;
    for (int form = 1; form < 3; form++) {
        size_t n = form == 1 ? gzip(plain, SMALL_BYTES, packed, sizeof packed)
                             : zstd(plain, SMALL_BYTES, packed, sizeof packed);
        size_t refused = 0;
        for (size_t at = 4; at < n; at++)
            for (unsigned bit = 0; bit < 8; bit += 3) {
                packed[at] ^= (uint8_t)(1U << bit);
                int fd = file_of(packed, n);
                size_t got;
                struct ms_error err;
                enum ms_status status = drain(fd, 1 << 18, 4096, unpacked, &got, NULL, &err);
                if (status == MS_OK) {
                    assert_int_equal(got, SMALL_BYTES);
                    assert_memory_equal(unpacked, plain, got);
                } else {
                    assert_true(status == MS_REJECT || status == MS_E_LIMIT);
                    refused++;
                }
                close(fd);
                packed[at] ^= (uint8_t)(1U << bit);
            }
        assert_true(refused > n);
    }
}

static void test_cap(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) {
        size_t n = SMALL_BYTES;
        if (form == 0)
            memcpy(packed, plain, n);
        else
            n = form == 1 ? gzip(plain, n, packed, sizeof packed)
                          : zstd(plain, n, packed, sizeof packed);
        for (uint64_t max = SMALL_BYTES - 1; max <= SMALL_BYTES; max++) {
            int fd = file_of(packed, n);
            size_t got;
            struct ms_error err;
            assert_int_equal(drain(fd, max, 64, unpacked, &got, NULL, &err),
                             max < SMALL_BYTES ? MS_E_LIMIT : MS_OK);
            assert_true(got <= max);
            close(fd);
        }
    }
}

static void test_bomb_is_bounded(void **state)
{
    (void)state;
    size_t zeros_bytes = (size_t)64 << 20;
    uint8_t *zeros = calloc(1, zeros_bytes);
    size_t n = zstd(zeros, zeros_bytes, packed, sizeof packed);
    free(zeros);
    int fd = file_of(packed, n);
    size_t got;
    struct ms_error err;
    assert_int_equal(drain(fd, 100000, 4096, unpacked, &got, NULL, &err), MS_E_LIMIT);
    close(fd);
}

static void test_short_inputs(void **state)
{
    (void)state;
    static const char *const inputs[] = {"", "P", "\x1f", "\x28\xb5\x2f", "abcd"};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        int fd = file_of(inputs[i], strlen(inputs[i]));
        size_t got;
        enum ms_stream_kind kind;
        struct ms_error err;
        assert_int_equal(drain(fd, 100, 10, unpacked, &got, &kind, &err), MS_OK);
        assert_int_equal(got, strlen(inputs[i]));
        assert_int_equal(kind, MS_STREAM_PLAIN);
        close(fd);
    }
    size_t got;
    struct ms_error err;
    assert_int_equal(drain(-1, 100, 10, unpacked, &got, NULL, &err), MS_E_IO);
}

static void test_pipe_and_position(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    size_t n = gzip(plain, SMALL_BYTES, packed, sizeof packed);
    assert_int_equal(write(ends[1], packed, 1), 1);
    assert_int_equal(write(ends[1], packed + 1, n - 1), n - 1);
    close(ends[1]);
    size_t got;
    struct ms_error err;
    assert_int_equal(drain(ends[0], 1 << 20, 4096, unpacked, &got, NULL, &err), MS_OK);
    assert_int_equal(got, SMALL_BYTES);
    close(ends[0]);
    int fd = file_of("xxhello", 7);
    assert_int_equal(lseek(fd, 2, SEEK_SET), 2);
    assert_int_equal(drain(fd, 1 << 20, 4096, unpacked, &got, NULL, &err), MS_OK);
    assert_memory_equal(unpacked, "hello", 5);
    assert_int_equal(got, 5);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_members_in_a_row),
        cmocka_unit_test(test_cut_at_every_length),
        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_bomb_is_bounded),
        cmocka_unit_test(test_short_inputs),
        cmocka_unit_test(test_pipe_and_position),
    };
    return cmocka_run_group_tests(tests, make_plain, NULL);
}
