/* Programs larger than a member may be: their size and SHA-256 are told in every form, and nothing
 * of them is held or handed out. */
#define _GNU_SOURCE
#include "base/hash.h"
#include "base/rng.h"
#include "base/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { LARGE = 300000, ENTRY = 100000, SEEN_MAX = 8 };

static char members[SEEN_MAX][64], fault_chain[SEEN_MAX][64], fault_text[SEEN_MAX][256];
static enum ms_unpack_fault fault_seen[SEEN_MAX];
static size_t member_count, fault_count;
static uint8_t large[LARGE];
static uint8_t space[4 * LARGE];

static void fill(const char *head)
{
    struct ms_rng rng;
    ms_rng_init(&rng, 7, 0, 0);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (uint8_t)ms_rng_u64(&rng);
    memset(large + LARGE / 2, 0, 40000); /* held as a hole, or a zero block of its own */
    memcpy(large, head, strlen(head));
}

static void copy(char *out, size_t cap, struct ms_span span)
{
    assert_true(span.len < cap);
    memcpy(out, span.data, span.len);
    out[span.len] = '\0';
}

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    (void)ctx;
    (void)descend;
    (void)err;
    assert_true(member_count < SEEN_MAX);
    copy(members[member_count++], sizeof members[0], member->chain);
    return MS_OK;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    (void)ctx;
    (void)err;
    if (fault == MS_UNPACK_NOT_ARCHIVE)
        return MS_OK;
    assert_true(fault_count < SEEN_MAX);
    copy(fault_chain[fault_count], sizeof fault_chain[0], chain);
    copy(fault_text[fault_count], sizeof fault_text[0], detail);
    fault_seen[fault_count++] = fault;
    return MS_OK;
}

static void walk(const uint8_t *bytes, size_t n, const struct ms_unpack_limits *limits,
                 const char *password)
{
    const struct ms_unpack_events events = {NULL, on_member, on_fault};
    struct ms_span candidates[2] = {ms_span_of("wrong", 5),
                                    ms_span_of(password, password ? strlen(password) : 0)};
    struct ms_error err;
    int fd = memfd_create("blob", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, n), n);
    member_count = fault_count = 0;
    assert_int_equal(ms_unpack_walk(fd, candidates, password ? 2 : 0, limits, &events, &err),
                     MS_OK);
    close(fd);
}

static const struct ms_unpack_limits small = {.wanted = "MZ", .entry_bytes = ENTRY};

static void put(struct archive *a, const char *name, const void *data, size_t n, size_t hole)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)n);
    if (hole) /* from there to the end */
        archive_entry_sparse_add_entry(entry, 0, (la_int64_t)hole);
    assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(a, data, n), n);
    archive_entry_free(entry);
}

/* `large` between two small files; alone in a compressed stream. */
static size_t make(int format, int filter, const char *options, const char *password, size_t hole)
{
    size_t used = 0;
    struct archive *a = archive_write_new();
    assert_int_equal(archive_write_set_format(a, format), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
    if (options)
        assert_int_equal(archive_write_set_options(a, options), ARCHIVE_OK);
    if (password)
        assert_int_equal(archive_write_set_passphrase(a, password), ARCHIVE_OK);
    archive_write_set_bytes_in_last_block(a, 1);
    assert_int_equal(archive_write_open_memory(a, space, sizeof space, &used), ARCHIVE_OK);
    if (format != ARCHIVE_FORMAT_RAW)
        put(a, "before", "MZ before", 9, 0);
    put(a, "large", large, LARGE, hole);
    if (format != ARCHIVE_FORMAT_RAW)
        put(a, "after", "MZ after", 8, 0);
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    return used;
}

static void expected_text(char out[256])
{
    uint8_t sha256[MS_SHA256_BYTES];
    char hex[MS_HASH_HEX_MAX];
    assert_int_equal(ms_hash_sha256(large, LARGE, sha256), MS_OK);
    ms_hex_encode(sha256, sizeof sha256, hex);
    (void)snprintf(out, 256, "larger than a member may be: %d bytes, sha256 %s", LARGE, hex);
}

static void assert_told(const char *chain)
{
    char text[256];
    expected_text(text);
    assert_int_equal(fault_count, 1);
    assert_int_equal(fault_seen[0], MS_UNPACK_LIMIT_ENTRY);
    assert_string_equal(fault_chain[0], chain);
    assert_string_equal(fault_text[0], text);
    for (size_t i = 0; i < member_count; i++)
        assert_string_not_equal(members[i], chain[0] ? chain : "large");
}

static const struct {
    int format, filter;
    const char *options, *password;
} forms[] = {
    {ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, NULL, NULL},
    {ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, "zip:compression=store", NULL},
    {ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, "zip:encryption=zipcrypt", "right"},
    {ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, "zip:encryption=aes256", "right"},
    {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_NONE, NULL, NULL},
    {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP, NULL, NULL},
    {ARCHIVE_FORMAT_7ZIP, ARCHIVE_FILTER_NONE, NULL, NULL},
    {ARCHIVE_FORMAT_CPIO_SVR4_NOCRC, ARCHIVE_FILTER_NONE, NULL, NULL},
    {ARCHIVE_FORMAT_ISO9660, ARCHIVE_FILTER_NONE, NULL, NULL},
};

static void test_size_and_digest(void **state)
{
    (void)state;
    fill("MZ");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t n = make(forms[i].format, forms[i].filter, forms[i].options, forms[i].password, 0);
        walk(space, n, &small, forms[i].password);
        assert_told("large");
        assert_int_equal(member_count, 3); /* the blob, and both neighbours */
    }
}

static void test_compressed_alone(void **state)
{
    static const int filters[] = {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD, ARCHIVE_FILTER_XZ,
                                  ARCHIVE_FILTER_BZIP2};
    (void)state;
    fill("MZ");
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        size_t n = make(ARCHIVE_FORMAT_RAW, filters[i], NULL, NULL, 0);
        walk(space, n, &small, NULL);
        assert_told("data");
        assert_int_equal(member_count, 1);
    }
}

static void test_blob_itself(void **state)
{
    (void)state;
    fill("MZ");
    walk(large, LARGE, &small, NULL);
    assert_told("");
    assert_int_equal(member_count, 0);
    walk(large, ENTRY, &small, NULL);
    assert_int_equal(fault_count, 0);
    assert_int_equal(member_count, 1);
}

/* The hole is where the limit is passed, and what it holds is zeros. */
static void test_hole_at_the_end(void **state)
{
    (void)state;
    fill("MZ");
    memset(large + 4096, 0, LARGE - 4096);
    size_t n = make(ARCHIVE_FORMAT_TAR_PAX_RESTRICTED, ARCHIVE_FILTER_NONE, NULL, NULL, 4096);
    assert_true(n < LARGE / 2);
    walk(space, n, &small, NULL);
    assert_told("large");
    assert_int_equal(member_count, 3);
}

/* Other files end at the limit, unread; so do all when the caller wants nothing. */
static void test_unwanted_ends_at_the_limit(void **state)
{
    const struct ms_unpack_limits any = {.entry_bytes = ENTRY};
    (void)state;
    for (int wanted = 0; wanted < 2; wanted++) {
        fill(wanted ? "text" : "MZ");
        size_t n = make(ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, NULL, NULL, 0);
        walk(space, n, wanted ? &small : &any, NULL);
        assert_int_equal(fault_count, 1);
        assert_int_equal(fault_seen[0], MS_UNPACK_LIMIT_ENTRY);
        assert_string_equal(fault_text[0], "larger than a member may be");
        assert_int_equal(member_count, 3);
    }
}

/* A digest of damaged bytes is none. */
static void test_damage_is_told_instead(void **state)
{
    (void)state;
    fill("MZ");
    size_t n = make(ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, "zip:compression=store", NULL, 0);
    space[2 * (n / 3)] ^= 1;
    walk(space, n, &small, NULL);
    assert_int_equal(fault_count, 1);
    assert_int_equal(fault_seen[0], MS_UNPACK_CORRUPT);
}

/* What is read on counts. */
static void test_total_ends_it(void **state)
{
    struct ms_unpack_limits limits = small;
    (void)state;
    fill("MZ");
    size_t n = make(ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, NULL, NULL, 0);
    limits.total_bytes = LARGE + 9 + 8;
    walk(space, n, &limits, NULL);
    assert_told("large");
    assert_int_equal(member_count, 3);
    limits.total_bytes = LARGE + 8;
    walk(space, n, &limits, NULL);
    assert_int_equal(fault_count, 1);
    assert_int_equal(fault_seen[0], MS_UNPACK_LIMIT_TOTAL);
    assert_string_equal(fault_chain[0], "large");
    assert_int_equal(member_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_and_digest),
        cmocka_unit_test(test_compressed_alone),
        cmocka_unit_test(test_blob_itself),
        cmocka_unit_test(test_hole_at_the_end),
        cmocka_unit_test(test_unwanted_ends_at_the_limit),
        cmocka_unit_test(test_damage_is_told_instead),
        cmocka_unit_test(test_total_ends_it),
    };
    ms_unpack_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
