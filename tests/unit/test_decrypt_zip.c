/* Encrypted zip members: the right bytes for the right password, and for everything else an answer
 * that says so; never wrong bytes. */
#define _GNU_SOURCE
#include "base/decrypt.h"
#include "base/file.h"
#include "base/limits.h"
#include "zip_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t half[20000]; /* half of it compressible */
static const char note[] = "a note, a note, a note";

static int file_of(const void *bytes, size_t n)
{
    int fd = -1;
    assert_int_equal(ms_file_memory("zip", &fd, NULL), MS_OK);
    assert_int_equal(ms_file_write_all(fd, bytes, n, NULL), MS_OK);
    return fd;
}

/* ---- reading what was rewritten -------------------------------------------------------------- */

struct read_back {
    size_t members; /* that came out whole */
    size_t damaged;
    char name[64]; /* of the last whole one */
    uint8_t data[sizeof half + 1];
    size_t n;
};

/* As the product reads: a member counts when its data ends well and has the announced length. */
static void read_zip(int fd, bool proven, struct read_back *out)
{
    struct archive_entry *entry;
    struct archive *a = archive_read_new();
    *out = (struct read_back){0};
    assert_int_equal(archive_read_support_format_zip(a), ARCHIVE_OK);
    if (proven)
        assert_int_equal(archive_read_set_options(a, "zip:ignorecrc32"), ARCHIVE_OK);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(archive_read_open_fd(a, fd, 65536), ARCHIVE_OK);
    int rc;
    while ((rc = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
        size_t n = 0;
        la_ssize_t got;
        while (n < sizeof out->data &&
               (got = archive_read_data(a, out->data + n, sizeof out->data - n)) > 0)
            n += (size_t)got;
        if (n < sizeof out->data && got == 0 && archive_entry_size(entry) == (la_int64_t)n) {
            out->members++;
            out->n = n;
            (void)snprintf(out->name, sizeof out->name, "%s", archive_entry_pathname(entry));
        } else {
            out->damaged++;
        }
    }
    (void)archive_read_free(a);
}

struct opened {
    struct ms_decrypt_keys *keys;
    struct ms_decrypt zip;
    enum ms_decrypt_answer answer;
    const char *why;
    int fd;
};

static void open_bytes(const void *bytes, size_t n, struct opened *out)
{
    *out = (struct opened){.keys = ms_decrypt_keys_new(), .why = "", .fd = file_of(bytes, n)};
    assert_non_null(out->keys);
    out->answer = ms_decrypt_open(out->fd, out->keys, &out->zip, &out->why);
}

static void close_opened(struct opened *opened)
{
    if (opened->answer == MS_DECRYPT_DONE)
        ms_decrypt_close(&opened->zip);
    ms_decrypt_keys_free(opened->keys);
    close(opened->fd);
}

static size_t unit_count(const struct opened *opened)
{
    return opened->zip.format->unit_count(opened->zip.state);
}

/* Rewrites one unit and reads it. */
static enum ms_decrypt_answer try_unit(struct opened *opened, size_t unit, const char *password,
                                       struct read_back *out)
{
    uint64_t bytes = 0;
    int fd = file_of("", 0);
    enum ms_decrypt_answer answer =
        opened->zip.format->rewrite(opened->zip.state, unit, ms_span_of(password, strlen(password)),
                                    fd, (uint64_t)1 << 30, &bytes, &opened->why);
    *out = (struct read_back){0};
    if (answer == MS_DECRYPT_DONE || answer == MS_DECRYPT_MAYBE) {
        assert_int_equal(lseek(fd, 0, SEEK_END), bytes);
        read_zip(fd, opened->zip.format->unit_is_proven(opened->zip.state, unit), out);
    }
    close(fd);
    return answer;
}

static struct read_back back;

static void assert_is(const char *name, const void *data, size_t n)
{
    assert_int_equal(back.members, 1);
    assert_int_equal(back.damaged, 0);
    assert_string_equal(back.name, name);
    assert_int_equal(back.n, n);
    assert_memory_equal(back.data, data, n);
}

static struct zw_member bzip2_member(const char *name, int cipher, const char *password)
{
    return (struct zw_member){.name = name,
                              .data = half,
                              .n = sizeof half,
                              .method = 12,
                              .cipher = cipher,
                              .password = password,
                              .ae = 1};
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_methods_and_ciphers(void **state)
{
    static const uint16_t methods[] = {12, 14, 93, 95};
    (void)state;
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++)
        for (int cipher = ZW_CRYPTO; cipher <= ZW_AES256; cipher++)
            for (uint16_t ae = 1; ae <= (cipher == ZW_CRYPTO ? 1 : 2); ae++)
                for (uint16_t flags = 0; flags <= 8; flags = (uint16_t)(flags + 8)) {
                    struct zw_member member = bzip2_member("a.exe", cipher, "infected");
                    struct ms_buf zip;
                    struct opened opened;
                    member.method = methods[m];
                    member.ae = ae;
                    member.flags = flags;
                    zw_write(&zip, "", &member, 1, NULL, 0);
                    open_bytes(zip.data, zip.len, &opened);
                    assert_int_equal(opened.answer, MS_DECRYPT_DONE);
                    assert_false(opened.zip.locked);
                    assert_int_equal(unit_count(&opened), 1);
                    assert_int_equal(try_unit(&opened, 0, "Infected", &back),
                                     MS_DECRYPT_WRONG_PASSWORD);
                    assert_int_equal(back.members, 0);
                    assert_int_equal(try_unit(&opened, 0, "infected", &back),
                                     cipher == ZW_CRYPTO ? MS_DECRYPT_MAYBE : MS_DECRYPT_DONE);
                    assert_is("a.exe", half, sizeof half);
                    close_opened(&opened);
                    ms_buf_release(&zip);
                }
}

/* Stored and deflated members beside such a one are decrypted too; what is not encrypted is one
 * unit; each member has its own password. */
static void test_units(void **state)
{
    struct zw_member members[] = {
        {.name = "plain1", .data = note, .n = sizeof note},
        bzip2_member("b", ZW_AES256, "second"),
        {.name = "s", .data = note, .n = sizeof note, .cipher = ZW_CRYPTO, .password = "first"},
        {.name = "folder/", .data = "", .n = 0, .method = 0},
        {.name = "d",
         .data = half,
         .n = sizeof half,
         .method = 8,
         .cipher = ZW_AES128,
         .password = "third",
         .ae = 2},
        {.name = "empty", .data = "", .n = 0, .cipher = ZW_AES192, .password = "first", .ae = 2},
        {.name = "plain2", .data = half, .n = sizeof half, .method = 8}};
    struct ms_buf zip;
    struct opened opened;
    (void)state;
    zw_write(&zip, "", members, sizeof members / sizeof *members, NULL, 0);
    open_bytes(zip.data, zip.len, &opened);
    assert_int_equal(opened.answer, MS_DECRYPT_DONE);
    assert_int_equal(unit_count(&opened), 5);
    assert_false(opened.zip.format->unit_needs_password(opened.zip.state, 0));
    for (size_t i = 1; i < 5; i++)
        assert_true(opened.zip.format->unit_needs_password(opened.zip.state, i));
    assert_int_equal(try_unit(&opened, 0, "", &back), MS_DECRYPT_DONE);
    assert_int_equal(back.members, 3);
    assert_string_equal(back.name, "plain2");
    assert_memory_equal(back.data, half, sizeof half);
    static const char *const right[] = {"second", "first", "third", "first"};
    static const char *const names[] = {"b", "s", "d", "empty"};
    static const size_t sizes[] = {sizeof half, sizeof note, sizeof half, 0};
    for (size_t i = 0; i < 4; i++) {
        (void)try_unit(&opened, i + 1, "fourth", &back);
        assert_int_equal(back.members, 0);
        enum ms_decrypt_answer answer = try_unit(&opened, i + 1, right[i], &back);
        assert_true(answer == MS_DECRYPT_DONE || answer == MS_DECRYPT_MAYBE);
        assert_is(names[i], sizes[i] == sizeof note ? (const void *)note : half, sizes[i]);
    }
    close_opened(&opened);
    ms_buf_release(&zip);
}

/* What libarchive does itself stays with it, but for small members under the traditional cipher. */
static void test_left_alone(void **state)
{
    struct zw_member stored = {
        .name = "s", .data = note, .n = sizeof note, .cipher = ZW_AES256, .password = "x", .ae = 2};
    struct zw_member deflated = stored;
    struct zw_member plain = bzip2_member("p", ZW_PLAIN, NULL);
    deflated.method = 8;
    deflated.cipher = ZW_CRYPTO;
    struct zw_member all[] = {stored, deflated, plain};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct ms_buf zip;
        struct opened opened;
        zw_write(&zip, "", i < 3 ? &all[i] : all, i < 3 ? 1 : 3, NULL, 0);
        open_bytes(zip.data, zip.len, &opened);
        assert_int_equal(opened.answer, i == 1 ? MS_DECRYPT_DONE : MS_DECRYPT_NOT_ENCRYPTED);
        close_opened(&opened);
        ms_buf_release(&zip);
    }
}

/* A small member that libarchive could decrypt too, and its neighbour without encryption. */
static void test_traditional_deflated(void **state)
{
    struct zw_member members[] = {bzip2_member("a", ZW_CRYPTO, "infected"),
                                  bzip2_member("b", ZW_PLAIN, NULL)};
    struct ms_buf zip;
    struct opened opened;
    (void)state;
    members[0].method = 8;
    zw_write(&zip, "", members, 2, NULL, 0);
    open_bytes(zip.data, zip.len, &opened);
    assert_int_equal(opened.answer, MS_DECRYPT_DONE);
    assert_int_equal(try_unit(&opened, 0, "", &back), MS_DECRYPT_DONE);
    assert_is("b", half, sizeof half);
    assert_int_equal(try_unit(&opened, 1, "other", &back), MS_DECRYPT_WRONG_PASSWORD);
    assert_int_equal(try_unit(&opened, 1, "infected", &back), MS_DECRYPT_MAYBE);
    assert_is("a", half, sizeof half);
    close_opened(&opened);
    ms_buf_release(&zip);
}

/* One wrong password in 256 passes the traditional cipher's check byte. */
static void test_accepted_wrong_passwords(void **state)
{
    static const uint16_t methods[] = {0, 12, 14, 93, 95};
    (void)state;
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        struct zw_member members[] = {bzip2_member("a", ZW_CRYPTO, "infected"),
                                      bzip2_member("b", ZW_CRYPTO, "infected")};
        struct ms_buf zip;
        struct opened opened;
        unsigned accepted = 0;
        members[0].method = methods[m];
        zw_write(&zip, "", members, 2, NULL, 0);
        open_bytes(zip.data, zip.len, &opened);
        assert_int_equal(opened.answer, MS_DECRYPT_DONE);
        for (unsigned i = 0; accepted < 5 && i < 20000; i++) {
            char password[32];
            (void)snprintf(password, sizeof password, "wrong%u", i);
            enum ms_decrypt_answer answer = try_unit(&opened, 0, password, &back);
            assert_int_equal(back.members, 0);
            if (answer == MS_DECRYPT_MAYBE)
                accepted++;
            else
                assert_int_equal(answer, MS_DECRYPT_WRONG_PASSWORD);
        }
        assert_int_equal(accepted, 5);
        assert_int_equal(try_unit(&opened, 0, "infected", &back), MS_DECRYPT_MAYBE);
        assert_is("a", half, sizeof half);
        close_opened(&opened);
        ms_buf_release(&zip);
    }
}

/* The check value of two bytes is right, the code over the data is not. */
static void test_authentication(void **state)
{
    struct zw_member member = bzip2_member("a", ZW_AES256, "infected");
    struct ms_buf zip;
    struct opened opened;
    (void)state;
    member.ae = 2;
    member.verifier_of = "other";
    zw_write(&zip, "", &member, 1, NULL, 0);
    open_bytes(zip.data, zip.len, &opened);
    assert_int_equal(try_unit(&opened, 0, "infected", &back), MS_DECRYPT_WRONG_PASSWORD);
    assert_int_equal(try_unit(&opened, 0, "other", &back), MS_DECRYPT_DAMAGED);
    assert_string_equal(opened.why, "the authentication code is wrong");
    close_opened(&opened);
    ms_buf_release(&zip);
    member.verifier_of = NULL;
    for (size_t back_from_end = 0; back_from_end < 12; back_from_end += 11) {
        zw_write(&zip, "", &member, 1, NULL, 0);
        /* In front of the directory (46 bytes, a name of 1, a field of 11) and the end's 22. */
        zip.data[zip.len - 22 - 58 - 1 - back_from_end] ^= 1;
        open_bytes(zip.data, zip.len, &opened);
        assert_int_equal(try_unit(&opened, 0, "infected", &back), MS_DECRYPT_DAMAGED);
        close_opened(&opened);
        ms_buf_release(&zip);
    }
}

static void test_not_supported(void **state)
{
    static const struct {
        uint16_t method;
        uint16_t flags;
        const char *why;
    } cases[] = {{9, 0, "1 encrypted members: zip method deflate64 is not supported"},
                 {77, 0, "1 encrypted members: an unknown zip method"},
                 {12, 64, "1 encrypted members: PKWARE's strong encryption is not supported"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct zw_member members[] = {bzip2_member("a", ZW_CRYPTO, "infected"),
                                      bzip2_member("b", ZW_AES256, "infected")};
        struct ms_buf zip;
        struct opened opened;
        members[0].method = cases[i].method;
        members[0].flags = cases[i].flags;
        zw_write(&zip, "", members, 2, NULL, 0);
        open_bytes(zip.data, zip.len, &opened);
        assert_int_equal(opened.answer, MS_DECRYPT_DONE);
        assert_int_equal(unit_count(&opened), 2);
        assert_false(opened.zip.format->unit_needs_password(opened.zip.state, 1));
        assert_int_equal(try_unit(&opened, 1, "", &back), MS_DECRYPT_UNSUPPORTED);
        assert_string_equal(opened.why, cases[i].why);
        assert_int_equal(try_unit(&opened, 0, "infected", &back), MS_DECRYPT_DONE);
        assert_is("b", half, sizeof half);
        close_opened(&opened);
        ms_buf_release(&zip);
    }
}

/* Only the member whose headers disagree is lost. */
static void test_headers_disagree(void **state)
{
    struct zw_member members[] = {bzip2_member("a", ZW_AES256, "infected"),
                                  bzip2_member("b", ZW_CRYPTO, "infected"),
                                  bzip2_member("c", ZW_CRYPTO, "infected")};
    struct ms_buf zip;
    struct opened opened;
    (void)state;
    members[1].central_differs = true;
    zw_write(&zip, "", members, 3, NULL, 0);
    open_bytes(zip.data, zip.len, &opened);
    assert_int_equal(opened.answer, MS_DECRYPT_DONE);
    assert_int_equal(try_unit(&opened, 0, "infected", &back), MS_DECRYPT_DONE);
    assert_int_equal(try_unit(&opened, 2, "", &back), MS_DECRYPT_CORRUPT);
    assert_string_equal(opened.why, "1 encrypted members: its header and the directory disagree");
    assert_int_equal(try_unit(&opened, 1, "infected", &back), MS_DECRYPT_MAYBE);
    assert_is("c", half, sizeof half);
    close_opened(&opened);
    ms_buf_release(&zip);
}

/* Two members that share their data, as a bomb's do. */
static void test_overlap(void **state)
{
    struct zw_member members[] = {bzip2_member("a", ZW_CRYPTO, "infected"),
                                  bzip2_member("b", ZW_CRYPTO, "infected")};
    struct ms_buf zip;
    struct opened opened;
    (void)state;
    zw_write(&zip, "", members, 2, NULL, 0);
    /* The second directory record's offset becomes the first's: 0. */
    memset(zip.data + zip.len - 22 - 1 - 4, 0, 4);
    open_bytes(zip.data, zip.len, &opened);
    assert_int_equal(opened.answer, MS_DECRYPT_CORRUPT);
    assert_string_equal(opened.why, "members overlap, as a bomb's do");
    close_opened(&opened);
    ms_buf_release(&zip);
}

/* A marker of splitting that was not used, a comment that looks like an end record, ZIP64 sizes. */
static void test_odd_but_right(void **state)
{
    static const char comment[] = "PK\5\6\0\0\0\0\1\0\1\0\7\0\0\0\7\0\0\0\1\0PK\5\6";
    static const char *const heads[] = {"", "PK00", "PK\7\10"};
    (void)state;
    for (size_t h = 0; h < 3; h++)
        for (int zip64 = 0; zip64 < 2; zip64++) {
            struct zw_member member = bzip2_member("a", ZW_AES128, "infected");
            struct ms_buf zip;
            struct opened opened;
            member.zip64 = zip64;
            zw_write(&zip, heads[h], &member, 1, comment, sizeof comment - 1);
            open_bytes(zip.data, zip.len, &opened);
            assert_int_equal(opened.answer, MS_DECRYPT_DONE);
            assert_int_equal(try_unit(&opened, 0, "infected", &back), MS_DECRYPT_DONE);
            assert_is("a", half, sizeof half);
            close_opened(&opened);
            ms_buf_release(&zip);
        }
}

/* Announced sizes are passed on, so that the reader's limits see them, and are held against the
 * bytes that come. */
static void test_false_sizes(void **state)
{
    static const uint64_t claims[] = {sizeof half - 1, sizeof half + 1, (uint64_t)5 << 30};
    (void)state;
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        struct zw_member member = bzip2_member("a", ZW_AES256, "infected");
        struct ms_buf zip;
        struct opened opened;
        member.ae = 2;
        member.zip64 = claims[i] > UINT32_MAX;
        member.size_claim = claims[i];
        zw_write(&zip, "", &member, 1, NULL, 0);
        open_bytes(zip.data, zip.len, &opened);
        assert_int_equal(opened.answer, MS_DECRYPT_DONE);
        assert_int_equal(try_unit(&opened, 0, "infected", &back), MS_DECRYPT_DONE);
        assert_int_equal(back.members, 0);
        assert_int_equal(back.damaged, 1);
        close_opened(&opened);
        ms_buf_release(&zip);
    }
}

static void test_limits(void **state)
{
    struct zw_member members[] = {bzip2_member("a", ZW_AES256, "infected"),
                                  bzip2_member("b", ZW_CRYPTO, "infected")};
    struct ms_buf zip;
    struct opened opened;
    uint64_t bytes = 0;
    (void)state;
    zw_write(&zip, "", members, 2, NULL, 0);
    open_bytes(zip.data, zip.len, &opened);
    for (uint64_t max = 0; max < 200; max += 50) {
        int fd = file_of("", 0);
        assert_int_equal(opened.zip.format->rewrite(opened.zip.state, 1, ms_span_of("infected", 8),
                                                    fd, max, &bytes, &opened.why),
                         MS_DECRYPT_LIMIT_MEMORY);
        assert_true(bytes <= max);
        assert_true((uint64_t)lseek(fd, 0, SEEK_END) <= max);
        close(fd);
    }
    assert_true(ms_decrypt_keys_spend(opened.keys, MS_LIMIT_DECRYPT_KDF_BYTES));
    assert_int_equal(try_unit(&opened, 0, "infected", &back), MS_DECRYPT_LIMIT_WORK);
    assert_int_equal(try_unit(&opened, 1, "infected", &back), MS_DECRYPT_MAYBE);
    close_opened(&opened);
    ms_buf_release(&zip);
}

static struct ms_buf small_zip(void)
{
    struct zw_member members[] = {{.name = "a",
                                   .data = note,
                                   .n = sizeof note,
                                   .method = 12,
                                   .cipher = ZW_CRYPTO,
                                   .password = "infected"},
                                  {.name = "p", .data = note, .n = sizeof note},
                                  {.name = "b",
                                   .data = note,
                                   .n = sizeof note,
                                   .method = 95,
                                   .cipher = ZW_AES128,
                                   .password = "infected",
                                   .ae = 2}};
    struct ms_buf zip;
    zw_write(&zip, "", members, 3, "comment", 7);
    return zip;
}

/* Cut anywhere, there is no directory, and that is libarchive's business. */
static void test_every_cut(void **state)
{
    struct ms_buf zip = small_zip();
    struct opened opened;
    (void)state;
    for (size_t n = 0; n < zip.len; n++) {
        open_bytes(zip.data, n, &opened);
        assert_int_equal(opened.answer, MS_DECRYPT_NOT_ENCRYPTED);
        close_opened(&opened);
    }
    ms_buf_release(&zip);
}

/* Any byte changed to anything: a member that still comes out whole is the member. */
static void test_every_byte(void **state)
{
    static const uint8_t changes[] = {1, 8, 0x40, 0xff};
    struct ms_buf zip = small_zip();
    struct opened opened;
    size_t whole = 0, lost = 0;
    (void)state;
    for (size_t at = 0; at < zip.len; at++)
        for (size_t c = 0; c < sizeof changes; c++) {
            zip.data[at] ^= changes[c];
            open_bytes(zip.data, zip.len, &opened);
            for (size_t unit = 0; opened.answer == MS_DECRYPT_DONE && unit < unit_count(&opened);
                 unit++) {
                (void)try_unit(&opened, unit, "infected", &back);
                if (back.members != 1) {
                    lost++;
                    continue;
                }
                whole++;
                assert_int_equal(back.n, sizeof note);
                assert_memory_equal(back.data, note, sizeof note);
            }
            close_opened(&opened);
            zip.data[at] ^= changes[c];
        }
    assert_true(whole > 100);
    assert_true(lost > 100);
    ms_buf_release(&zip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods_and_ciphers),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_left_alone),
        cmocka_unit_test(test_traditional_deflated),
        cmocka_unit_test(test_accepted_wrong_passwords),
        cmocka_unit_test(test_authentication),
        cmocka_unit_test(test_not_supported),
        cmocka_unit_test(test_headers_disagree),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_odd_but_right),
        cmocka_unit_test(test_false_sizes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_byte),
    };
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof half; i++) {
        seed = seed * 1664525 + 1013904223;
        half[i] = i % 512 < 256 ? (uint8_t)(seed >> 24) : (uint8_t)'x';
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
