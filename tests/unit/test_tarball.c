/* When one tarball is cheaper than many blobs, and the reading of tar archives on its own: sizes in
 * every form, extended headers, damage, cuts, doubles. The download is
 * services/test_collect_tarball.py's. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/limits.h"
#include "collect/tarball.h"
#include "collect/tarjob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the choice ------------------------------------------------------------------------------ */

#define MIB ((uint64_t)1 << 20)

static void test_choice(void **state)
{
    (void)state;
    static const struct {
        struct ms_tarball_offer offer; /* blobs, their bytes; files, their bytes */
        bool pays, would;
    } rows[] = {
        {{0, 0, 0, 0}, false, false},
        {{10, 10 * MIB, 10, 10 * MIB}, false, false}, /* few */
        {{11, 11 * MIB, 11, 11 * MIB}, true, true},   /* a first crawl: all of it is wanted */
        {{500, 300 * MIB, 500, 300 * MIB}, true, true},
        {{41, MIB / 2, 1000, 100 * MIB}, true, true},   /* 41 requests against 100 MiB */
        {{41, MIB / 2, 1000, 400 * MIB}, false, false}, /* and against 400 */
        {{110, MIB, 1000, 400 * MIB}, true, true},
        {{15, 30 * MIB, 20, 100 * MIB}, false, false}, /* 30 MiB in 15 requests, 100 at once */
        {{30, 30 * MIB, 40, 100 * MIB}, true, true},
        {{1000, 600 * MIB, 1000, 600 * MIB}, false, true}, /* larger than a tarball may be */
        {{600, 512 * MIB, 600, 512 * MIB}, true, true},
        {{1000000, 500 * MIB, 1000000, 500 * MIB}, false, true}, /* plain, with its headers */
        {{UINT64_C(2000000), UINT64_C(200000000000000), UINT64_C(2000000),
          UINT64_C(200000000000000)},
         false,
         true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (ms_tarball_pays(&rows[i].offer) != rows[i].pays ||
            ms_tarball_would_pay(&rows[i].offer) != rows[i].would)
            fail_msg("row %zu", i);
    }
}

/* ---- archives -------------------------------------------------------------------------------- */

enum { BLOCK = 512, ARCHIVE_MAX = 64 << 10, WANTS_MAX = 8 };

struct fixture {
    uint8_t bytes[ARCHIVE_MAX];
    size_t len;
    struct ms_tarjob_want wants[WANTS_MAX];
    size_t want_count;
    /* what came */
    unsigned files, ends;
    size_t data_bytes;
    uint32_t last;
    struct ms_error err;
};

static void seal(uint8_t *block)
{
    unsigned sum = 0;
    memset(block + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += block[i];
    char digits[16];
    (void)snprintf(digits, sizeof digits, "%06o", sum);
    memcpy(block + 148, digits, 7);
}

static uint8_t *add_header(struct fixture *self, char type, uint64_t size)
{
    uint8_t *block = self->bytes + self->len;
    assert_true(self->len + BLOCK <= ARCHIVE_MAX);
    memset(block, 0, BLOCK);
    memcpy(block, "name", 5);
    char digits[32];
    (void)snprintf(digits, sizeof digits, "%011llo", (unsigned long long)size);
    memcpy(block + 124, digits, 11);
    block[156] = (uint8_t)type;
    memcpy(block + 257, "ustar", 6);
    seal(block);
    self->len += BLOCK;
    return block;
}

static void add_bytes(struct fixture *self, const void *bytes, size_t n)
{
    size_t whole = (n + BLOCK - 1) / BLOCK * BLOCK;
    assert_true(self->len + whole <= ARCHIVE_MAX);
    memset(self->bytes + self->len, 0, whole);
    memcpy(self->bytes + self->len, bytes, n);
    self->len += whole;
}

static void add_file(struct fixture *self, const char *text)
{
    (void)add_header(self, '0', strlen(text));
    add_bytes(self, text, strlen(text));
}

static void want(struct fixture *self, const char *text)
{
    struct ms_tarjob_want *item = &self->wants[self->want_count++];
    item->size = strlen(text);
    item->unused = 0;
    assert_int_equal(ms_hash_git_blob(text, strlen(text), item->id), MS_OK);
    qsort(self->wants, self->want_count, sizeof *self->wants, ms_tarjob_compare);
}

static enum ms_status on_frame(void *ctx, uint32_t type, const void *bytes, size_t n,
                               struct ms_error *err)
{
    struct fixture *self = ctx;
    (void)err;
    if (type == MS_TARJOB_FILE) {
        assert_int_equal(n, sizeof self->last);
        memcpy(&self->last, bytes, n);
        assert_true(self->last < self->want_count);
        self->files++;
    } else if (type == MS_TARJOB_DATA) {
        self->data_bytes += n;
    } else {
        assert_int_equal(type, MS_TARJOB_END);
        self->ends++;
    }
    return MS_OK;
}

static enum ms_status run(struct fixture *self)
{
    int fd = -1;
    self->files = self->ends = 0;
    self->data_bytes = 0;
    assert_int_equal(ms_file_memory("tar", &fd, &self->err), MS_OK);
    assert_int_equal(ms_file_write_all(fd, self->bytes, self->len, &self->err), MS_OK);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    enum ms_status status =
        ms_tarjob_run(fd, ms_span_of(self->wants, self->want_count * sizeof *self->wants), on_frame,
                      self, &self->err);
    (void)close(fd);
    assert_int_equal(self->files, self->ends);
    return status;
}

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void test_files_by_their_ids(void **state)
{
    struct fixture *self = *state;
    add_file(self, "one");
    add_file(self, "two");
    add_file(self, "one"); /* sent once */
    add_file(self, "three");
    (void)add_header(self, '5', 0);
    add_file(self, "");
    want(self, "two");
    want(self, "one");
    want(self, "");
    want(self, "ten");                      /* of a size that others have */
    assert_int_equal(run(self), MS_REJECT); /* no end mark, and one was not found */
    assert_non_null(strstr(self->err.text, "cut short"));
    assert_int_equal(self->files, 3);
    assert_int_equal(self->data_bytes, 6);
    memset(self->bytes + self->len, 0, (size_t)2 * BLOCK);
    self->len += (size_t)2 * BLOCK;
    assert_int_equal(run(self), MS_OK);
    assert_int_equal(self->files, 3);
}

static void test_ends_when_all_is_found(void **state)
{
    struct fixture *self = *state;
    add_file(self, "one");
    want(self, "one");
    add_bytes(self, "not a header", 12);
    assert_int_equal(run(self), MS_OK);
    assert_int_equal(self->files, 1);
    want(self, "two");
    assert_int_equal(run(self), MS_REJECT);
    assert_int_equal(self->files, 1);
}

static void test_extended_headers(void **state)
{
    struct fixture *self = *state;
    static const char global[] = "52 comment=0123456789012345678901234567890123456789\n";
    static const char local[] = "18 path=some/name\n11 size=20\n";
    static const char text[] = "twenty bytes of text";
    (void)add_header(self, 'g', sizeof global - 1);
    add_bytes(self, global, sizeof global - 1);
    (void)add_header(self, 'x', sizeof local - 1);
    add_bytes(self, local, sizeof local - 1);
    (void)add_header(self, 'L', 5);
    add_bytes(self, "long\0", 5);
    (void)add_header(self, '0', 3); /* the extended header's size wins */
    add_bytes(self, text, 20);
    add_file(self, "next"); /* and is forgotten then */
    want(self, text);
    want(self, "next");
    assert_int_equal(run(self), MS_OK);
    assert_int_equal(self->files, 2);
}

/* Records that make no sense are passed over, and the size is what the header says. */
static void test_senseless_records(void **state)
{
    struct fixture *self = *state;
    static const char *const texts[] = {
        "size=9\n",    "0 size=9\n", "99 size=9\n",       "10 size=9x\n",  "9 size=9",
        "10 size=\n9", "4 =\n",      "99999999 size=9\n", "11 size=9 9\n", "",
        "3 \n3 \n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        self->len = self->want_count = 0;
        (void)add_header(self, 'x', strlen(texts[i]));
        add_bytes(self, texts[i], strlen(texts[i]));
        add_file(self, "three");
        want(self, "three");
        if (run(self) != MS_OK || self->files != 1)
            fail_msg("row %zu: %s", i, self->err.text);
    }
}

static void test_sizes_in_base_256(void **state)
{
    struct fixture *self = *state;
    uint8_t *block = add_header(self, '0', 0);
    memset(block + 124, 0, 12);
    block[124] = 0x80;
    block[135] = 5;
    seal(block);
    add_bytes(self, "three", 5);
    want(self, "three");
    assert_int_equal(run(self), MS_OK);
    memset(block + 125, 0xff, 11); /* more than 64 bits */
    seal(block);
    assert_int_equal(run(self), MS_REJECT);
    memset(block + 124, 0xff, 12); /* negative */
    seal(block);
    assert_int_equal(run(self), MS_REJECT);
}

static void test_damage(void **state)
{
    struct fixture *self = *state;
    add_file(self, "one");
    size_t second = self->len;
    add_file(self, "two");
    want(self, "one");
    want(self, "two");
    static const size_t places[] = {0, 124, 130, 148, 150, 156, 500};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        uint8_t *byte = &self->bytes[second + places[i]];
        *byte ^= 0x41;
        assert_int_equal(run(self), MS_REJECT);
        assert_int_equal(self->files, 1);
        *byte ^= 0x41;
    }
    assert_int_equal(run(self), MS_OK);
    size_t whole = self->len;
    for (self->len = 0; self->len < whole; self->len += 101)
        assert_int_equal(run(self), self->len >= second + BLOCK + 3 + 509 ? MS_OK : MS_REJECT);
    self->len = whole;
    (void)add_header(self, 'x', UINT64_C(1) << 30);
    want(self, "four");
    assert_int_equal(run(self), MS_REJECT);
    assert_int_equal(self->files, 2);
}

static void test_argument_is_checked(void **state)
{
    struct fixture *self = *state;
    add_file(self, "one");
    assert_int_equal(run(self), MS_E_BUG); /* nothing wanted */
    want(self, "one");
    self->wants[self->want_count++] = self->wants[0];
    assert_int_equal(run(self), MS_E_BUG); /* twice */
    self->want_count = 1;
    self->wants[0].size = MS_LIMIT_GIT_BLOB_BYTES + 1;
    assert_int_equal(run(self), MS_E_BUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test_setup_teardown(test_files_by_their_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends_when_all_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_extended_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_senseless_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sizes_in_base_256, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_argument_is_checked, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
