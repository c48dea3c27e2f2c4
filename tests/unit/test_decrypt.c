/* Encrypted 7z archives: right members under the right password, a named fault for everything else,
 * and never a wrong member, whatever is flipped, cut or claimed. */
#define _GNU_SOURCE
#include "base/decrypt.h"
#include "base/limits.h"
#include "base/unpack.h"
#include "encrypted_7z.h"
#include "encrypted_archives.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

enum { START_BYTES = 32, ARCHIVE_BYTES = 4096, SEEN_MAX = 8 };

struct seen {
    size_t members, faults, foreign;
    struct {
        char chain[128];
        uint8_t data[512];
        size_t n;
        int password;
    } member[SEEN_MAX];
    enum ms_unpack_fault fault;
    char detail[256];
};

static struct seen seen;

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    (void)ctx, (void)descend, (void)err;
    if (!member->depth || seen.members == SEEN_MAX)
        return MS_OK;
    size_t at = seen.members++;
    size_t n = member->chain.len < 127 ? member->chain.len : 127;
    memcpy(seen.member[at].chain, member->chain.data, n);
    seen.member[at].chain[n] = '\0';
    seen.member[at].n = (size_t)read(member->fd, seen.member[at].data, 512);
    seen.member[at].password = member->password_index;
    assert_int_equal(seen.member[at].n, member->size);
    return MS_OK;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    (void)ctx, (void)chain, (void)err;
    size_t n = detail.len < 255 ? detail.len : 255;
    seen.faults++;
    seen.fault = fault;
    memcpy(seen.detail, detail.data, n);
    seen.detail[n] = '\0';
    return MS_OK;
}

static void walk(const uint8_t *bytes, size_t n, const char *const *passwords, size_t count)
{
    struct ms_span spans[64];
    struct ms_unpack_events events = {NULL, on_member, on_fault};
    memset(&seen, 0, sizeof seen);
    for (size_t i = 0; i < count; i++)
        spans[i] = ms_span_of(passwords[i], strlen(passwords[i]));
    int fd = memfd_create("blob", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(ms_unpack_walk(fd, spans, count, NULL, &events, NULL), MS_OK);
    close(fd);
}

static void walk_one(const uint8_t *bytes, size_t n, const char *password)
{
    walk(bytes, n, &password, password ? 1 : 0);
}

static void expect_fault(enum ms_unpack_fault fault)
{
    if (seen.faults != 1 || seen.fault != fault)
        print_error("%zu members, %zu faults, %s: %s\n", seen.members, seen.faults,
                    ms_unpack_fault_name(seen.fault), seen.detail);
    assert_int_equal(seen.faults, 1);
    assert_int_equal(seen.fault, fault);
}

static void expect_member(const void *data, size_t n, int password)
{
    if (seen.faults)
        print_error("%s: %s\n", ms_unpack_fault_name(seen.fault), seen.detail);
    assert_int_equal(seen.faults, 0);
    assert_true(seen.members > 0);
    assert_int_equal(seen.member[0].n, n);
    assert_memory_equal(seen.member[0].data, data, n);
    assert_int_equal(seen.member[0].password, password);
}

/* ---- archives by 7-Zip ----------------------------------------------------------------------- */

static const struct {
    const uint8_t *data;
    size_t n;
} made[] = {{sevenzip_data, sizeof sevenzip_data}, {sevenzip_header, sizeof sevenzip_header}};

static void test_7zip(void **state)
{
    (void)state;
    static const char *const several[] = {"wrong", "", "infected", "other"};
    static const char *const wrong[] = {"wrong", "Infected", "infected "};
    for (size_t i = 0; i < 2; i++) {
        walk(made[i].data, made[i].n, several, 4);
        assert_int_equal(seen.faults, 0);
        assert_int_equal(seen.members, 1);
        assert_int_equal(seen.member[0].password, 2);
        assert_non_null(strstr((const char *)seen.member[0].data, "harmless"));
        walk(made[i].data, made[i].n, wrong, 3);
        assert_int_equal(seen.members, 0);
        expect_fault(MS_UNPACK_NEED_PASSWORD);
        assert_non_null(strstr(seen.detail, "3 passwords tried"));
        walk_one(made[i].data, made[i].n, NULL);
        assert_int_equal(seen.members, 0);
        expect_fault(MS_UNPACK_NEED_PASSWORD);
    }
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Archives of quick_text and an empty file, with one round of key derivation, so that thousands can
 * be tried. */
static const struct {
    const uint8_t *data;
    size_t n;
} quick[] = {{quick_lzma, sizeof quick_lzma},
             {quick_lzma2_hidden, sizeof quick_lzma2_hidden},
             {quick_copy, sizeof quick_copy}};

static uint32_t crc_of(const uint8_t *bytes, size_t n)
{
    return (uint32_t)crc32_z(0, bytes, n);
}

static void put_u32(uint8_t *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static size_t header_at(const uint8_t *bytes)
{
    return START_BYTES + bytes[12] + ((size_t)bytes[13] << 8);
}

/* Makes both checksums right again for a header that was changed, or ends earlier. */
static void mend(uint8_t *bytes, size_t n)
{
    size_t at = header_at(bytes);
    for (unsigned i = 0; i < 8; i++)
        bytes[20 + i] = (uint8_t)((uint64_t)(n - at) >> (8 * i));
    put_u32(bytes + 28, crc_of(bytes + at, n - at));
    put_u32(bytes + 8, crc_of(bytes + 12, 20));
}

static void expect_nothing_foreign(const char *what, size_t archive, size_t at)
{
    for (size_t i = 0; i < seen.members; i++) {
        bool good = seen.member[i].n == 0 ||
                    (seen.member[i].n == sizeof quick_text - 1 &&
                     memcmp(seen.member[i].data, quick_text, sizeof quick_text - 1) == 0);
        if (!good)
            fail_msg("%s at %zu of archive %zu gives a member of %zu bytes", what, at, archive,
                     seen.member[i].n);
    }
}

static void test_quick(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        walk_one(quick[i].data, quick[i].n, "infected");
        expect_member(quick_text, sizeof quick_text - 1, 0);
        assert_int_equal(seen.members, 2);
        assert_string_equal(seen.member[0].chain, "dir/text");
        assert_string_equal(seen.member[1].chain, "empty");
        assert_int_equal(seen.member[1].n, 0);
    }
}

static void test_every_cut(void **state)
{
    (void)state;
    uint8_t bytes[ARCHIVE_BYTES];
    for (size_t i = 0; i < 3; i++) {
        size_t whole = 0;
        for (size_t n = 2; n < quick[i].n; n++) {
            walk_one(quick[i].data, n, "infected");
            expect_nothing_foreign("cut", i, n);
            assert_int_equal(seen.members, 0);
            assert_int_equal(seen.faults, 1);
        }
        for (size_t n = header_at(quick[i].data) + 1; n < quick[i].n; n++) {
            memcpy(bytes, quick[i].data, n);
            mend(bytes, n);
            walk_one(bytes, n, "infected");
            expect_nothing_foreign("mended cut", i, n);
            whole += seen.faults == 0;
        }
        /* A header without its last bytes can be read, but not many of them. */
        assert_true(whole <= 2);
    }
}

static void test_every_flip(void **state)
{
    (void)state;
    uint8_t bytes[ARCHIVE_BYTES];
    for (size_t i = 0; i < 3; i++) {
        size_t header = header_at(quick[i].data), told = 0, tried = 0;
        for (size_t at = START_BYTES; at < quick[i].n; at++)
            for (unsigned bit = 0; bit < 8; bit += 1) {
                memcpy(bytes, quick[i].data, quick[i].n);
                bytes[at] ^= (uint8_t)(1u << bit);
                if (at >= header)
                    mend(bytes, quick[i].n);
                walk_one(bytes, quick[i].n, "infected");
                expect_nothing_foreign("flip", i, at);
                told += seen.faults > 0;
                tried++;
                assert_true(seen.faults > 0 || seen.members > 0);
            }
        /* What is flipped unnoticed lies in names, attributes and padding. */
        assert_true(told * 2 > tried);
    }
}

/* ---- claims ---------------------------------------------------------------------------------- */

/* The place of a coder's id in the header. */
static size_t find(const uint8_t *bytes, size_t n, const void *what, size_t what_n)
{
    const uint8_t *at = memmem(bytes + header_at(bytes), n - header_at(bytes), what, what_n);
    assert_non_null(at);
    return (size_t)(at - bytes);
}

/* The empty file needs no password, where its name is to be seen. */
static void expect_empty_at_most(void)
{
    assert_true(seen.members <= 1);
    assert_int_equal(seen.member[0].n, 0);
}

static void test_dictionary_claims(void **state)
{
    (void)state;
    uint8_t bytes[ARCHIVE_BYTES];
    size_t n = sizeof quick_lzma;
    memcpy(bytes, quick_lzma, n);
    size_t id = find(bytes, n, "\x03\x01\x01\x05\x5d", 5);
    put_u32(bytes + id + 5, UINT32_MAX);
    mend(bytes, n);
    walk_one(bytes, n, "infected"); /* more than the member needs is never allocated */
    expect_member(quick_text, sizeof quick_text - 1, 0);
    bytes[id + 1] = 4; /* PPMd: the memory is part of the method */
    mend(bytes, n);
    walk_one(bytes, n, "infected");
    expect_empty_at_most();
    expect_fault(MS_UNPACK_LIMIT_MEMORY);
}

static void test_rounds(void **state)
{
    (void)state;
    uint8_t bytes[ARCHIVE_BYTES];
    for (size_t i = 0; i < 3; i++) {
        size_t n = quick[i].n;
        memcpy(bytes, quick[i].data, n);
        size_t power = find(bytes, n, "\x06\xf1\x07\x01", 4) + 5;
        assert_int_equal(bytes[power] & 0x3f, 0);
        for (unsigned claimed = MS_LIMIT_DECRYPT_KDF_POWER + 1; claimed < 0x3f; claimed++) {
            bytes[power] = (uint8_t)((bytes[power] & 0xc0) | claimed);
            mend(bytes, n);
            walk_one(bytes, n, "infected");
            expect_empty_at_most();
            expect_fault(MS_UNPACK_LIMIT_WORK);
        }
        bytes[power] |= 0x3f; /* no derivation: another key */
        mend(bytes, n);
        walk_one(bytes, n, "infected");
        expect_empty_at_most();
        expect_fault(MS_UNPACK_NEED_PASSWORD);
    }
}

/* ---- stored members under a raw key ---------------------------------------------------------- */

struct recipe {
    const char *password;
    const void *data;
    uint8_t n;
    uint8_t claimed; /* the size in the header; n when 0 */
    bool no_crc;
};

/* One member of at most 64 bytes: AES alone, the password itself as the key (power 0x3f), a zero
 * start vector. Returns the size. */
static size_t build(const struct recipe *recipe, uint8_t out[ARCHIVE_BYTES])
{
    uint8_t key[32] = {0}, iv[16] = {0}, plain[64] = {0};
    uint8_t padded = (uint8_t)((recipe->n + 15) / 16 * 16);
    int used = 0;
    memset(out, 0, ARCHIVE_BYTES);
    memcpy(out, "7z\xbc\xaf\x27\x1c\0\4", 8);
    for (size_t i = 0; recipe->password[i] && i < 16; i++)
        key[2 * i] = (uint8_t)recipe->password[i];
    memcpy(plain, recipe->data, recipe->n);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, iv), 1);
    assert_int_equal(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out + START_BYTES, &used, plain, padded), 1);
    EVP_CIPHER_CTX_free(ctx);
    out[12] = padded;
    uint8_t *to = out + START_BYTES + padded;
    const uint8_t head[] = {1,      4,
                            6,      0,
                            1,      9,
                            padded, 0,
                            7,      0x0b,
                            1,      0,
                            1,      0x24,
                            0x06,   0xf1,
                            0x07,   0x01,
                            1,      0x3f,
                            0x0c,   recipe->claimed ? recipe->claimed : recipe->n};
    memcpy(to, head, sizeof head);
    to += sizeof head;
    if (!recipe->no_crc) {
        *to++ = 0x0a;
        *to++ = 1;
        put_u32(to, crc_of(recipe->data, recipe->n));
        to += 4;
    }
    static const uint8_t tail[] = {0, 0, 5, 1, 0x11, 5, 0, 'x', 0, 0, 0, 0, 0};
    memcpy(to, tail, sizeof tail);
    to += sizeof tail;
    mend(out, (size_t)(to - out));
    return (size_t)(to - out);
}

static void test_raw_key(void **state)
{
    (void)state;
    uint8_t bytes[ARCHIVE_BYTES];
    struct recipe recipe = {.password = "key", .data = "seventeen letters", .n = 17};
    size_t n = build(&recipe, bytes);
    walk_one(bytes, n, "key");
    expect_member("seventeen letters", 17, 0);
    walk_one(bytes, n, "yek");
    assert_int_equal(seen.members, 0);
    expect_fault(MS_UNPACK_NEED_PASSWORD);
    recipe.claimed = 33; /* more than there is */
    n = build(&recipe, bytes);
    walk_one(bytes, n, "key");
    assert_int_equal(seen.members, 0);
    expect_fault(MS_UNPACK_CORRUPT);
}

/* A stored member without a checksum would be "right" under every password. */
static void test_no_checksum(void **state)
{
    (void)state;
    uint8_t bytes[ARCHIVE_BYTES];
    struct recipe recipe = {
        .password = "key", .data = "seventeen letters", .n = 17, .no_crc = true};
    size_t n = build(&recipe, bytes);
    static const char *const passwords[] = {"key", "yek"};
    for (size_t i = 0; i < 2; i++) {
        walk_one(bytes, n, passwords[i]);
        assert_int_equal(seen.members, 0);
        expect_fault(MS_UNPACK_UNSUPPORTED);
        assert_non_null(strstr(seen.detail, "checksum"));
    }
}

/* One byte: a wrong password in 256 gives the same one. It comes out once, and right. */
static void test_tiny_member(void **state)
{
    (void)state;
    uint8_t bytes[ARCHIVE_BYTES];
    struct recipe recipe = {.password = "key", .data = "k", .n = 1};
    size_t n = build(&recipe, bytes), fooled = 0;
    char words[64][16];
    const char *candidates[64];
    for (unsigned batch = 0; batch < 20; batch++) {
        for (unsigned i = 0; i < 64; i++) {
            (void)snprintf(words[i], sizeof words[i], "w%u", batch * 64 + i);
            candidates[i] = words[i];
        }
        walk(bytes, n, candidates, 64);
        assert_true(seen.members <= 1);
        fooled += seen.members;
        if (seen.members)
            expect_member("k", 1, seen.member[0].password);
        else
            expect_fault(MS_UNPACK_NEED_PASSWORD);
    }
    assert_true(fooled > 0); /* else nothing was tested */
}

/* ---- numbers from nowhere -------------------------------------------------------------------- */

/* Every byte of the header replaced by a huge number. The id of a property may be one: what is not
 * known is passed over. */
static void test_huge_numbers(void **state)
{
    (void)state;
    static const uint8_t huge[9] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    uint8_t bytes[ARCHIVE_BYTES];
    for (size_t i = 0; i < 3; i++) {
        size_t harmless = 0;
        for (size_t at = header_at(quick[i].data); at < quick[i].n; at++) {
            size_t n = quick[i].n + 8;
            memcpy(bytes, quick[i].data, at);
            memcpy(bytes + at, huge, 9);
            memcpy(bytes + at + 9, quick[i].data + at + 1, quick[i].n - at - 1);
            mend(bytes, n);
            walk_one(bytes, n, "infected");
            expect_nothing_foreign("huge number", i, at);
            harmless += seen.faults == 0;
        }
        assert_true(harmless <= 3);
    }
}

/* ---- keys and passwords ---------------------------------------------------------------------- */

static void test_keys(void **state)
{
    (void)state;
    struct ms_decrypt_keys *keys = ms_decrypt_keys_new();
    uint8_t id[MS_DECRYPT_ID_BYTES] = {0}, key[32], got[32];
    for (unsigned i = 0; i < 200; i++) {
        memset(key, (int)i, sizeof key);
        id[0] = (uint8_t)i;
        assert_false(ms_decrypt_keys_find(keys, id, got, sizeof got));
        ms_decrypt_keys_keep(keys, id, key, sizeof key);
        assert_true(ms_decrypt_keys_find(keys, id, got, sizeof got));
        assert_memory_equal(got, key, sizeof key);
    }
    id[0] = 0;
    assert_false(ms_decrypt_keys_find(keys, id, got, sizeof got)); /* made room */
    assert_true(ms_decrypt_keys_spend(keys, MS_LIMIT_DECRYPT_KDF_BYTES - 1));
    assert_false(ms_decrypt_keys_spend(keys, 2));
    assert_true(ms_decrypt_keys_spend(keys, 1));
    assert_false(ms_decrypt_keys_spend(keys, 1));
    ms_decrypt_keys_free(keys);
}

static void test_utf16(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *wide;
        size_t n;
    } cases[] = {{"ab", "a\0b\0", 4},
                 {"\xd0\xbf\xe5\xaf\x86", "\x3f\x04\xc6\x5b", 4},
                 {"\xf0\x9f\x98\x80", "\x3d\xd8\x00\xde", 4},
                 {"\xe9z", "\xe9\0z\0", 4},
                 {"", "", 0}};
    uint8_t out[16];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_span text = ms_span_of(cases[i].text, strlen(cases[i].text));
        assert_int_equal(ms_decrypt_utf16(text, out, sizeof out), cases[i].n);
        assert_memory_equal(out, cases[i].wide, cases[i].n);
        assert_int_equal(ms_decrypt_utf16(text, out, 3), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_checksum),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_flip),
        cmocka_unit_test(test_huge_numbers),
        cmocka_unit_test(test_dictionary_claims),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_tiny_member),
        cmocka_unit_test(test_raw_key),
        cmocka_unit_test(test_quick),
        cmocka_unit_test(test_7zip),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_utf16),
    };
    ms_unpack_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
