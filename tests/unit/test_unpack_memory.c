/* What the unpacker holds of large members: programs and containers whole, holes as holes, and of
 * what nobody can use nothing, though its checksum counts. */
#define _GNU_SOURCE
#include "base/rng.h"
#include "base/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LARGE = 1 << 20, UNDECIDED = 64 << 10, SEEN_MAX = 8 };

struct seen {
    char chain[256];
    uint64_t size, held_bytes;
    bool dropped, container, same;
};

static struct seen seen[SEEN_MAX];
static size_t members, faults;
static enum ms_unpack_fault fault_seen;
static uint8_t large[LARGE];

static void fill(const char *head)
{
    struct ms_rng rng;
    ms_rng_init(&rng, 7, 0, 0);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (uint8_t)ms_rng_u64(&rng);
    memcpy(large, head, strlen(head));
}

static void add(struct archive *a, const char *name, const void *data, size_t n)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_size(entry, (la_int64_t)n);
    assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(a, data, n), n);
    archive_entry_free(entry);
}

/* An archive of `large` and of a short text behind it. */
static size_t make(int format, int filter, uint8_t *out, size_t cap)
{
    size_t used = 0;
    struct archive *a = archive_write_new();
    assert_int_equal(archive_write_set_format(a, format), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
    archive_write_set_bytes_in_last_block(a, 1);
    assert_int_equal(archive_write_open_memory(a, out, cap, &used), ARCHIVE_OK);
    add(a, "large", large, LARGE);
    if (format != ARCHIVE_FORMAT_RAW)
        add(a, "small", "text", 4);
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    return used;
}

static bool is_large(int fd)
{
    static uint8_t back[LARGE];
    return pread(fd, back, LARGE, 0) == LARGE && memcmp(back, large, LARGE) == 0;
}

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    struct stat st;
    (void)ctx;
    (void)descend;
    (void)err;
    assert_true(members < SEEN_MAX);
    assert_int_equal(fstat(member->fd, &st), 0);
    struct seen *to = &seen[members++];
    *to = (struct seen){.size = member->size,
                        .held_bytes = (uint64_t)st.st_blocks * 512,
                        .dropped = member->is_dropped,
                        .container = member->is_container};
    memcpy(to->chain, member->chain.data, member->chain.len);
    if (!member->is_dropped)
        assert_int_equal(st.st_size, member->size);
    to->same = member->size == LARGE && is_large(member->fd);
    return MS_OK;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    (void)ctx;
    (void)chain;
    (void)detail;
    (void)err;
    faults++;
    fault_seen = fault;
    return MS_OK;
}

static void walk(const uint8_t *bytes, size_t n, const char *wanted)
{
    const struct ms_unpack_limits limits = {.wanted = wanted, .undecided_bytes = UNDECIDED};
    const struct ms_unpack_events events = {NULL, on_member, on_fault};
    struct ms_error err;
    int fd = memfd_create("blob", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, n), n);
    members = faults = 0;
    memset(seen, 0, sizeof seen);
    assert_int_equal(ms_unpack_walk(fd, NULL, 0, &limits, &events, &err), MS_OK);
    close(fd);
}

static uint8_t space[4 * LARGE];

static const struct {
    int format, filter;
} forms[] = {{ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE},
             {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_NONE},
             {ARCHIVE_FORMAT_7ZIP, ARCHIVE_FILTER_NONE},
             {ARCHIVE_FORMAT_RAW, ARCHIVE_FILTER_GZIP},
             {ARCHIVE_FORMAT_RAW, ARCHIVE_FILTER_XZ}};

/* In every form: what is unwanted is not held, and without such a word, or with the right first
 * bytes, everything is. */
static void test_unwanted_is_not_held(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        bool raw = forms[i].format == ARCHIVE_FORMAT_RAW;
        fill("text");
        size_t n = make(forms[i].format, forms[i].filter, space, sizeof space);
        walk(space, n, "MZ");
        assert_int_equal(faults, 0);
        assert_int_equal(members, raw ? 2 : 3);
        assert_true(seen[1].dropped);
        assert_int_equal(seen[1].size, LARGE);
        assert_int_equal(seen[1].held_bytes, 0);
        assert_true(raw || (!seen[2].dropped && seen[2].size == 4));
        walk(space, n, NULL);
        assert_false(seen[1].dropped);
        assert_true(seen[1].same);
        fill("MZ");
        n = make(forms[i].format, forms[i].filter, space, sizeof space);
        walk(space, n, "MZ");
        assert_int_equal(faults, 0);
        assert_false(seen[1].dropped);
        assert_true(seen[1].same);
    }
}

/* Not being held is no excuse: a damaged member is a fault, and is not handed out. */
static void test_checksum_counts(void **state)
{
    (void)state;
    fill("text");
    size_t n = make(ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, space, sizeof space);
    space[n / 2] ^= 1;
    walk(space, n, "MZ");
    assert_int_equal(faults, 1);
    assert_int_equal(fault_seen, MS_UNPACK_CORRUPT);
    for (size_t i = 0; i < members; i++)
        assert_string_not_equal(seen[i].chain, "large");
}

/* A container larger than that is held, and gone into. */
static void test_containers_are_held(void **state)
{
    static uint8_t outer[4 * LARGE];
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        fill("MZ");
        size_t inner = make(forms[i].format, forms[i].filter, space, sizeof space), used = 0;
        assert_true(inner > UNDECIDED);
        struct archive *a = archive_write_new();
        assert_int_equal(archive_write_set_format_zip(a), ARCHIVE_OK);
        assert_int_equal(archive_write_open_memory(a, outer, sizeof outer, &used), ARCHIVE_OK);
        add(a, "inner", space, inner);
        assert_int_equal(archive_write_close(a), ARCHIVE_OK);
        archive_write_free(a);
        walk(outer, used, "MZ");
        assert_int_equal(faults, 0);
        assert_true(seen[1].container && !seen[1].dropped);
        assert_true(seen[2].same && !seen[2].dropped);
    }
}

/* What cannot be told from the first bytes is at least said. */
static void test_zip_behind_data(void **state)
{
    (void)state;
    fill("text");
    memcpy(large + LARGE - 22, "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
    size_t n = make(ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_NONE, space, sizeof space);
    walk(space, n, "MZ");
    assert_int_equal(faults, 1);
    assert_int_equal(fault_seen, MS_UNPACK_LIMIT_MEMORY);
    assert_int_equal(members, 3);
}

/* Pages of zeros, in the middle and at the end, take no memory and are read as what they are. */
static void test_zeros_are_holes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        fill("MZ");
        memset(large + 5000, 0, LARGE / 2);
        memset(large + LARGE / 2 + 9000, 0, LARGE / 2 - 9000);
        size_t n = make(forms[i].format, forms[i].filter, space, sizeof space);
        walk(space, n, "MZ");
        assert_int_equal(faults, 0);
        assert_true(seen[1].same);
        assert_in_range(seen[1].held_bytes, 4096, LARGE / 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unwanted_is_not_held), cmocka_unit_test(test_checksum_counts),
        cmocka_unit_test(test_containers_are_held),  cmocka_unit_test(test_zip_behind_data),
        cmocka_unit_test(test_zeros_are_holes),
    };
    ms_unpack_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
