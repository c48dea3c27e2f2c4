/* Compressed archives that are read twice instead of held: the same members as when held, and none
 * before the compressed stream was right to its very end. */
#define _GNU_SOURCE
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
#include <zlib.h>

#include <cmocka.h>

enum {
    MEMBER = 50000,
    MEMBERS = 5,
    HELD = 64 << 10,
    SPACE = 1 << 20,
    SEEN_MAX = 32,
    COMING = 16 << 10,
    BLOCK = 64 << 10 /* what libarchive is given at once, and inflates */
};

struct seen {
    char text[SEEN_MAX][128]; /* chain, size and checksum of the members */
    size_t members, faults;
    enum ms_unpack_fault fault;
    char chain[64];
    char open[128]; /* the member that was read as it came; "" none */
    size_t begun;
};

static struct seen now, held;
static uint8_t noise[MEMBERS][MEMBER];
static uint8_t plain[SPACE], packed[2 * SPACE], outer[2 * SPACE];

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    static uint8_t bytes[2 * SPACE];
    struct seen *seen = ctx;
    (void)descend;
    (void)err;
    assert_true(seen->members < SEEN_MAX && member->size <= sizeof bytes);
    if (member->is_streamed) {
        assert_true(seen->open[0] && member->is_dropped && !member->is_container);
        (void)snprintf(seen->text[seen->members++], sizeof seen->text[0], "%s", seen->open);
        seen->open[0] = '\0';
        return MS_OK;
    }
    assert_string_equal(seen->open, "");
    assert_int_equal(pread(member->fd, bytes, sizeof bytes, 0), member->size);
    (void)snprintf(seen->text[seen->members++], sizeof seen->text[0], "%.*s %llu %lx %u",
                   (int)member->chain.len, (const char *)member->chain.data,
                   (unsigned long long)member->size, crc32(0, bytes, (uInt)member->size),
                   member->depth);
    return MS_OK;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)detail;
    (void)err;
    seen->faults++;
    seen->open[0] = '\0';
    seen->fault = fault;
    (void)snprintf(seen->chain, sizeof seen->chain, "%.*s", (int)chain.len,
                   (const char *)chain.data);
    return MS_OK;
}

static void walk(const uint8_t *bytes, size_t n, const struct ms_unpack_limits *limits,
                 struct seen *seen)
{
    const struct ms_unpack_events events = {seen, on_member, on_fault};
    struct ms_error err;
    int fd = memfd_create("blob", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, n), n);
    memset(seen, 0, sizeof *seen);
    assert_int_equal(ms_unpack_walk(fd, NULL, 0, limits, &events, &err), MS_OK);
    close(fd);
}

/* How members are read as they come. */
static struct {
    bool refuse;
    size_t most; /* bytes of a member */
} taking;

static enum ms_status on_begin(void *ctx, const struct ms_unpack_member *member,
                               struct ms_unpack_reading *reading, bool *taken, struct ms_error *err)
{
    uint8_t piece[7001];
    size_t n = 1, size = 0;
    uLong crc = 0;
    (void)ctx;
    now.begun++;
    assert_true(pread(member->fd, piece, 16, 0) == 16 && member->size >= COMING);
    if (taking.refuse)
        return MS_OK;
    *taken = true;
    enum ms_status status = MS_OK;
    while (status == MS_OK && n && size < taking.most) {
        status = ms_unpack_read(reading, piece, sizeof piece, &n, err);
        crc = crc32(crc, piece, (uInt)n);
        size += n;
    }
    assert_true(status == MS_OK || status == MS_REJECT);
    (void)snprintf(now.open, sizeof now.open, "%.*s %zu %lx %u", (int)member->chain.len,
                   (const char *)member->chain.data, size, crc, member->depth);
    return MS_OK;
}

static const struct ms_unpack_streaming on_coming = {NULL, on_begin};
static const struct ms_unpack_limits as_they_come = {.undecided_bytes = COMING,
                                                     .streaming = &on_coming};

static const struct ms_unpack_limits streamed = {.stream_bytes = HELD};

static void put(struct archive *a, const char *name, const void *data, size_t n)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)n);
    assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(a, data, n), n);
    archive_entry_free(entry);
}

static struct archive *begin(int format, int filter, uint8_t *out, size_t cap, size_t *used)
{
    struct archive *a = archive_write_new();
    if (format == ARCHIVE_FORMAT_AR_BSD) /* which the other call does not know */
        assert_int_equal(archive_write_set_format_ar_bsd(a), ARCHIVE_OK);
    else
        assert_int_equal(archive_write_set_format(a, format), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
    archive_write_set_bytes_in_last_block(a, 1);
    assert_int_equal(archive_write_open_memory(a, out, cap, used), ARCHIVE_OK);
    return a;
}

static size_t make(int format, int filter, uint8_t *out, size_t cap)
{
    size_t used = 0;
    char name[32];
    struct archive *a = begin(format, filter, out, cap, &used);
    for (int i = 0; i < MEMBERS; i++) {
        (void)snprintf(name, sizeof name, "m%d.bin", i);
        put(a, name, noise[i], MEMBER);
    }
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    return used;
}

static size_t squeeze(int filter, const uint8_t *bytes, size_t n, uint8_t *out, size_t cap)
{
    size_t used = 0;
    struct archive *a = begin(ARCHIVE_FORMAT_RAW, filter, out, cap, &used);
    put(a, "x", bytes, n);
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    return used;
}

static const int formats[] = {ARCHIVE_FORMAT_TAR_USTAR,  ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE,
                              ARCHIVE_FORMAT_CPIO_POSIX, ARCHIVE_FORMAT_CPIO_SVR4_NOCRC,
                              ARCHIVE_FORMAT_AR_BSD,     ARCHIVE_FORMAT_ZIP,
                              ARCHIVE_FORMAT_7ZIP};
enum { SEQUENTIAL = 5 };
static const int filters[] = {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD, ARCHIVE_FILTER_XZ,
                              ARCHIVE_FILTER_BZIP2};

/* The limit on bytes shows which way was taken: what is held counts with its members, what is read
 * twice beside them. */
static void test_same_members_as_held(void **state)
{
    const struct ms_unpack_limits tight = {.stream_bytes = HELD,
                                           .total_bytes = MEMBERS * MEMBER + 20000};
    (void)state;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
            size_t n = make(formats[f], filters[i], packed, sizeof packed);
            walk(packed, n, NULL, &held);
            assert_int_equal(held.faults, 0);
            assert_int_equal(held.members, 1 + MEMBERS);
            walk(packed, n, &streamed, &now);
            assert_memory_equal(&now, &held, sizeof now);
            walk(packed, n, &tight, &now);
            assert_int_equal(now.faults, f < SEQUENTIAL ? 0 : 1);
            assert_true(f < SEQUENTIAL || now.fault == MS_UNPACK_LIMIT_TOTAL);
        }
}

static void assert_corrupt(size_t n)
{
    walk(packed, n, &streamed, &now);
    assert_int_equal(now.faults, 1);
    assert_int_equal(now.fault, MS_UNPACK_CORRUPT);
    assert_int_equal(now.members, 1);
}

static void test_nothing_before_the_end_is_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        size_t n = make(ARCHIVE_FORMAT_TAR_USTAR, filters[i], packed, sizeof packed);
        assert_corrupt(n - 3);
        if (filters[i] != ARCHIVE_FILTER_BZIP2) /* one block: nothing would come out */
            assert_corrupt(n - n / 3);
    }
    /* The checksum, the length behind it, and a byte more. */
    size_t n = make(ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP, packed, sizeof packed);
    for (size_t back = 1; back <= 8; back += 7) {
        packed[n - back] ^= 1;
        assert_corrupt(n);
        packed[n - back] ^= 1;
    }
    packed[n] = 'x';
    assert_corrupt(n + 1);
    walk(packed, n, &streamed, &now);
    assert_int_equal(now.faults, 0);
    n = make(ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_ZSTD, packed, sizeof packed);
    memset(packed + n, 'x', 8);
    assert_corrupt(n + 8);
}

/* gzip members and zstd frames one behind the other, cut inside a tar member. */
static void test_several_pieces(void **state)
{
    (void)state;
    size_t n = make(ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_NONE, plain, sizeof plain);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        size_t third = n / 3, used = 0;
        for (size_t at = 0; at < n; at += third) {
            size_t part = n - at < third ? n - at : third;
            used += squeeze(filters[i], plain + at, part, packed + used, sizeof packed - used);
        }
        walk(packed, used, &streamed, &now);
        assert_int_equal(now.faults, 0);
        assert_int_equal(now.members, 1 + MEMBERS);
    }
}

/* A tar.gz among the members of a tar.gz, and a tar that ends too early in one that does not. */
static void test_nested(void **state)
{
    struct ms_unpack_limits limits = streamed;
    size_t used = 0;
    (void)state;
    size_t n = make(ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP, packed, sizeof packed);
    struct archive *a =
        begin(ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP, outer, sizeof outer, &used);
    put(a, "first", noise[0], MEMBER);
    put(a, "in.tar.gz", packed, n);
    put(a, "last", noise[1], MEMBER);
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    walk(outer, used, NULL, &held);
    assert_int_equal(held.members, 4 + MEMBERS);
    walk(outer, used, &streamed, &now);
    assert_memory_equal(&now, &held, sizeof now);
    limits.depth = 2;
    walk(outer, used, &limits, &now);
    assert_int_equal(now.faults, 1);
    assert_int_equal(now.fault, MS_UNPACK_LIMIT_DEPTH);
    assert_string_equal(now.chain, "in.tar.gz");
    assert_int_equal(now.members, 4);
}

static void test_cut_inside(void **state)
{
    (void)state;
    size_t n = make(ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_NONE, plain, sizeof plain);
    assert_true(n > 4 * MEMBER);
    size_t used = squeeze(ARCHIVE_FILTER_GZIP, plain, 3 * MEMBER, packed, sizeof packed);
    walk(packed, used, NULL, &held);
    walk(packed, used, &streamed, &now);
    assert_memory_equal(&now, &held, sizeof now);
    assert_int_equal(now.fault, MS_UNPACK_CORRUPT);
    assert_int_equal(now.members, 3);
}

/* Of the first reading, of the members, of their number. */
static void test_limits(void **state)
{
    struct ms_unpack_limits limits = streamed;
    (void)state;
    size_t n = make(ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP, packed, sizeof packed);
    limits.total_bytes = MEMBERS * MEMBER - 1;
    walk(packed, n, &limits, &now);
    assert_int_equal(now.faults, 1);
    assert_int_equal(now.fault, MS_UNPACK_LIMIT_TOTAL);
    assert_int_equal(now.members, 1);
    limits = streamed;
    limits.entry_bytes = MEMBER - 1;
    walk(packed, n, &limits, &now);
    assert_int_equal(now.faults, MEMBERS);
    assert_int_equal(now.fault, MS_UNPACK_LIMIT_ENTRY);
    limits = streamed;
    limits.entries = 3; /* the stream counts as one */
    walk(packed, n, &limits, &now);
    assert_int_equal(now.faults, 1);
    assert_int_equal(now.fault, MS_UNPACK_LIMIT_ENTRIES);
    assert_int_equal(now.members, 3);
}

/* The same bytes of the same members, whatever the format; also of a compressed file alone. */
static void test_members_as_they_come(void **state)
{
    (void)state;
    taking.most = SIZE_MAX;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        size_t n = make(formats[f], ARCHIVE_FILTER_NONE, packed, sizeof packed);
        walk(packed, n, NULL, &held);
        assert_int_equal(held.members, 1 + MEMBERS);
        walk(packed, n, &as_they_come, &now);
        assert_int_equal(now.begun, MEMBERS);
        assert_memory_equal(now.text, held.text, sizeof now.text);
        taking.refuse = true;
        walk(packed, n, &as_they_come, &now);
        taking.refuse = false;
        assert_int_equal(now.begun, MEMBERS);
        assert_memory_equal(now.text, held.text, sizeof now.text);
    }
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        size_t n = squeeze(filters[i], noise[0], MEMBER, packed, sizeof packed);
        walk(packed, n, NULL, &held);
        walk(packed, n, &as_they_come, &now);
        assert_int_equal(now.begun, 1);
        assert_memory_equal(now.text, held.text, sizeof now.text);
        assert_int_equal(now.faults, 0);
    }
}

/* However little of a member is read, its checks come, and no member is taken for right before. */
static void test_checks_of_what_came(void **state)
{
    (void)state;
    size_t n = make(ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, packed, sizeof packed);
    taking.most = 1;
    walk(packed, n, &as_they_come, &now);
    assert_int_equal(now.faults, 0);
    assert_int_equal(now.members, 1 + MEMBERS);
    for (unsigned whole = 0; whole < 2; whole++) {
        taking.most = whole ? SIZE_MAX : 1;
        packed[2 * MEMBER + MEMBER / 2] ^= 1; /* in the third member; they are noise */
        walk(packed, n, &as_they_come, &now);
        packed[2 * MEMBER + MEMBER / 2] ^= 1;
        assert_int_equal(now.faults, 1);
        assert_int_equal(now.fault, MS_UNPACK_CORRUPT);
        assert_string_equal(now.chain, "m2.bin");
        assert_int_equal(now.begun, MEMBERS);
        assert_int_equal(now.members, MEMBERS);
    }
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        n = squeeze(filters[i], noise[0], MEMBER, packed, sizeof packed);
        walk(packed, n - 3, NULL, &held);
        walk(packed, n - 3, &as_they_come, &now);
        assert_int_equal(now.begun, i < 2); /* of the others nothing comes out */
        assert_int_equal(now.faults, 1);
        assert_int_equal(now.fault, held.fault);
        assert_int_equal(now.members, 1);
    }
    struct ms_unpack_limits limits = as_they_come;
    n = make(ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_NONE, packed, sizeof packed);
    limits.entry_bytes = MEMBER - 1;
    walk(packed, n, &limits, &now);
    assert_true(now.begun > 0);
    assert_int_equal(now.faults, MEMBERS);
    assert_int_equal(now.fault, MS_UNPACK_LIMIT_ENTRY);
    assert_int_equal(now.members, 1);
}

/* What ends a member is its fault: what lies behind is not decoded for it. */
static void test_nothing_is_read_behind_a_limit(void **state)
{
    struct ms_unpack_limits limits = as_they_come;
    size_t used = 0;
    (void)state;
    for (size_t i = 0; i < SPACE; i++)
        plain[i] = noise[i / MEMBER % MEMBERS][i % MEMBER];
    struct archive *a =
        begin(ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, packed, sizeof packed, &used);
    put(a, "large", plain, SPACE);
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    assert_true(used > SPACE); /* noise: its third block is that of the bytes */
    memset(packed + 2 * BLOCK + BLOCK / 8, 0xff, BLOCK / 2);
    taking.most = SIZE_MAX;
    walk(packed, used, &as_they_come, &now);
    assert_int_equal(now.fault, MS_UNPACK_CORRUPT);
    limits.entry_bytes = BLOCK + BLOCK / 2;
    walk(packed, used, &limits, &now);
    assert_int_equal(now.faults, 1);
    assert_int_equal(now.fault, MS_UNPACK_LIMIT_ENTRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_members_as_held),
        cmocka_unit_test(test_nothing_before_the_end_is_right),
        cmocka_unit_test(test_several_pieces),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_cut_inside),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_members_as_they_come),
        cmocka_unit_test(test_checks_of_what_came),
        cmocka_unit_test(test_nothing_is_read_behind_a_limit),
    };
    struct ms_rng rng;
    ms_rng_init(&rng, 7, 0, 0);
    for (size_t i = 0; i < MEMBERS; i++)
        for (size_t k = 0; k < MEMBER; k++)
            noise[i][k] = (uint8_t)ms_rng_u64(&rng);
    ms_unpack_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
