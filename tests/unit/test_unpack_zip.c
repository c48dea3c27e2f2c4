/* Encrypted zip files through the whole walk: many candidates, wrong ones that the ciphers' checks
 * accept among them, damage, nesting, limits, confinement. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/limits.h"
#include "base/unpack.h"
#include "base/worker.h"
#include "zip_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { SEEN_MAX = 32, WRONG = 8 };

static uint8_t half[3000]; /* half of it compressible */

struct seen {
    size_t members, faults;
    struct {
        char chain[64];
        uint8_t data[sizeof half];
        uint64_t n;
        int password;
    } member[SEEN_MAX];
    struct {
        char chain[64];
        enum ms_unpack_fault fault;
        char detail[200];
    } fault[SEEN_MAX];
};

static struct seen seen;

static void keep_text(char *out, size_t cap, struct ms_span text)
{
    (void)snprintf(out, cap, "%.*s", (int)text.len, (const char *)text.data);
}

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    struct seen *to = ctx;
    (void)descend;
    (void)err;
    if (!member->depth || to->members == SEEN_MAX)
        return MS_OK;
    size_t i = to->members++;
    keep_text(to->member[i].chain, sizeof to->member[i].chain, member->chain);
    to->member[i].n = member->size;
    to->member[i].password = member->password_index;
    assert_true(pread(member->fd, to->member[i].data, sizeof to->member[i].data, 0) >= 0);
    return MS_OK;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    struct seen *to = ctx;
    (void)err;
    if (to->faults == SEEN_MAX)
        return MS_OK;
    size_t i = to->faults++;
    keep_text(to->fault[i].chain, sizeof to->fault[i].chain, chain);
    keep_text(to->fault[i].detail, sizeof to->fault[i].detail, detail);
    to->fault[i].fault = fault;
    return MS_OK;
}

static int file_of(const struct ms_buf *bytes)
{
    int fd = -1;
    assert_int_equal(ms_file_memory("zip", &fd, NULL), MS_OK);
    assert_int_equal(ms_file_write_all(fd, bytes->data, bytes->len, NULL), MS_OK);
    return fd;
}

static void walk(const struct ms_buf *zip, const char *const *passwords, size_t count,
                 const struct ms_unpack_limits *limits)
{
    struct ms_span spans[MS_LIMIT_UNPACK_PASSWORDS];
    struct ms_unpack_events events = {&seen, on_member, on_fault};
    assert_true(count <= MS_LIMIT_UNPACK_PASSWORDS);
    for (size_t i = 0; i < count; i++)
        spans[i] = ms_span_of(passwords[i], strlen(passwords[i]));
    memset(&seen, 0, sizeof seen);
    int fd = file_of(zip);
    assert_int_equal(ms_unpack_walk(fd, spans, count, limits, &events, NULL), MS_OK);
    close(fd);
}

static void assert_member(const char *chain, const void *data, size_t n, int password)
{
    for (size_t i = 0; i < seen.members; i++)
        if (strcmp(seen.member[i].chain, chain) == 0) {
            assert_int_equal(seen.member[i].n, n);
            assert_memory_equal(seen.member[i].data, data, n);
            assert_int_equal(seen.member[i].password, password);
            return;
        }
    for (size_t i = 0; i < seen.faults; i++)
        print_error("fault '%s' %s: %s\n", seen.fault[i].chain,
                    ms_unpack_fault_name(seen.fault[i].fault), seen.fault[i].detail);
    fail_msg("no member '%s'", chain);
}

static void assert_fault(size_t at, const char *chain, enum ms_unpack_fault fault,
                         const char *detail)
{
    assert_true(at < seen.faults);
    assert_string_equal(seen.fault[at].chain, chain);
    assert_int_equal(seen.fault[at].fault, fault);
    if (!strstr(seen.fault[at].detail, detail))
        fail_msg("'%s' without '%s'", seen.fault[at].detail, detail);
}

static struct zw_member member_of(const char *name, uint16_t method, int cipher,
                                  const char *password)
{
    return (struct zw_member){.name = name,
                              .data = half,
                              .n = sizeof half,
                              .method = method,
                              .cipher = cipher,
                              .password = password,
                              .ae = 2};
}

/* ---- wrong passwords that pass --------------------------------------------------------------- */

/* The check byte a password finds in a header that another one encrypted. */
static uint8_t check_found(const char *right, const char *wrong, uint8_t check)
{
    uint8_t head[12] = "0123456789", plain = 0;
    uint32_t keys[3] = {0x12345678, 0x23456789, 0x34567890};
    head[11] = check;
    zw_crypto(right, head, sizeof head);
    for (; *wrong; wrong++)
        zw_feed(keys, (uint8_t)*wrong);
    for (size_t i = 0; i < sizeof head; i++) {
        uint32_t word = (keys[2] | 2) & 0xffff;
        plain = (uint8_t)(head[i] ^ (uint8_t)(word * (word ^ 1) >> 8));
        zw_feed(keys, plain);
    }
    return plain;
}

static void find_wrong(const char *right, char out[WRONG][16])
{
    uint8_t check = (uint8_t)(crc32(0, half, sizeof half) >> 24);
    for (unsigned i = 0, found = 0; found < WRONG; i++) {
        assert_true(i < 100000);
        (void)snprintf(out[found], 16, "wrong%u", i);
        found += check_found(right, out[found], check) == check;
    }
}

static const uint16_t methods[] = {12, 14, 93, 95, 0, 8};

/* Each member under a password of its own, which comes behind eight wrong ones that its check byte
 * accepts. */
static void test_accepted_wrong_passwords(void **state)
{
    static char words[6][WRONG][16];
    static const char *const right[] = {"red", "green", "blue", "cyan", "black", "white"};
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    struct zw_member members[6];
    const char *candidates[6 * (WRONG + 1)];
    struct ms_buf zip;
    size_t count = 0;
    (void)state;
    for (size_t m = 0; m < 6; m++) {
        members[m] = member_of(names[m], methods[m], ZW_CRYPTO, right[m]);
        find_wrong(right[m], words[m]);
        for (size_t i = 0; i < WRONG; i++)
            candidates[count++] = words[m][i];
    }
    zw_write(&zip, "", members, 6, NULL, 0);
    walk(&zip, candidates, count, NULL);
    assert_int_equal(seen.members, 0);
    assert_int_equal(seen.faults, 1);
    assert_fault(0, "", MS_UNPACK_NEED_PASSWORD, "6 encrypted parts, 48 passwords tried");
    for (size_t m = 0; m < 6; m++)
        candidates[count++] = right[m];
    walk(&zip, candidates, count, NULL);
    for (size_t m = 0; m < 6; m++)
        assert_member(names[m], half, sizeof half, (int)(6 * WRONG + m));
    assert_int_equal(seen.members, 6);
    assert_int_equal(seen.faults, 0);
    ms_buf_release(&zip);
}

/* ---- damage and refusal ---------------------------------------------------------------------- */

static void test_damage_costs_its_member(void **state)
{
    static const char *const candidates[] = {"no", "other", "infected"};
    struct zw_member members[] = {
        member_of("a", 12, ZW_AES256, "infected"), member_of("b", 14, ZW_AES128, "infected"),
        member_of("c", 95, ZW_CRYPTO, "infected"), member_of("d", 9, ZW_AES192, "infected"),
        member_of("e", 93, ZW_AES192, "infected"), member_of("f", 12, ZW_CRYPTO, "infected"),
        member_of("p", 0, ZW_PLAIN, NULL)};
    struct ms_buf zip;
    (void)state;
    members[0].verifier_of = "other"; /* accepted, and then not authentic */
    members[4].size_claim = sizeof half + 1;
    members[5].central_differs = true;
    zw_write(&zip, "", members, 7, NULL, 0);
    walk(&zip, candidates, 3, NULL);
    assert_int_equal(seen.members, 3);
    assert_member("p", half, sizeof half, -1);
    assert_member("b", half, sizeof half, 2);
    assert_member("c", half, sizeof half, 2);
    assert_int_equal(seen.faults, 4);
    assert_fault(0, "", MS_UNPACK_CORRUPT, "the authentication code is wrong");
    assert_fault(1, "e", MS_UNPACK_CORRUPT, "data is wrong size");
    assert_fault(2, "", MS_UNPACK_UNSUPPORTED, "1 encrypted members: zip method deflate64");
    assert_fault(3, "", MS_UNPACK_CORRUPT, "1 encrypted members: its header and the directory");
    ms_buf_release(&zip);
}

static void test_no_password(void **state)
{
    struct zw_member members[] = {member_of("a", 12, ZW_AES256, "infected"),
                                  member_of("b", 14, ZW_CRYPTO, "infected"),
                                  member_of("p", 8, ZW_PLAIN, NULL)};
    static const char *const candidates[] = {"", "wrong"};
    struct ms_buf zip;
    (void)state;
    zw_write(&zip, "", members, 3, NULL, 0);
    for (size_t count = 0; count < 3; count++) {
        walk(&zip, candidates, count, NULL);
        assert_int_equal(seen.members, 1);
        assert_member("p", half, sizeof half, -1);
        assert_int_equal(seen.faults, 1);
        assert_fault(0, "", MS_UNPACK_NEED_PASSWORD, "2 encrypted parts");
    }
    ms_buf_release(&zip);
}

/* Members that share bytes: nothing of the file is read, its plain members neither. */
static void test_overlap(void **state)
{
    static const char *const candidates[] = {"infected"};
    struct zw_member members[] = {member_of("p", 0, ZW_PLAIN, NULL),
                                  member_of("a", 12, ZW_CRYPTO, "infected"),
                                  member_of("b", 12, ZW_CRYPTO, "infected")};
    struct ms_buf zip;
    (void)state;
    zw_write(&zip, "", members, 3, NULL, 0);
    /* The last directory record's offset becomes the one before's. */
    memcpy(zip.data + zip.len - 22 - 5, zip.data + zip.len - 22 - 47 - 5, 4);
    walk(&zip, candidates, 1, NULL);
    assert_int_equal(seen.members, 0);
    assert_int_equal(seen.faults, 1);
    assert_fault(0, "", MS_UNPACK_CORRUPT, "overlap");
    ms_buf_release(&zip);
}

/* ---- more than one end ------------------------------------------------------------------------
 */

static void put_end(struct ms_buf *out, const struct ms_buf *directory, uint64_t at, size_t comment)
{
    size_t n = directory ? directory->len : 0;
    (void)ms_buf_append(out, "PK\5\6\0\0\0\0", 8);
    zw_put(out, n != 0, 2);
    zw_put(out, n != 0, 2);
    zw_put(out, n, 4);
    zw_put(out, at, 4);
    zw_put(out, comment, 2);
}

/* A file whose last end record lists nothing, or another thing than the one before, is no empty
 * archive without a fault; what is listed last is handed out. */
static void test_two_ends(void **state)
{
    struct zw_member member = member_of("shown.bin", 8, ZW_PLAIN, NULL);
    struct zw_member other = member_of("hidden.bin", 8, ZW_PLAIN, NULL);
    struct ms_buf zip, both, directory, comment;
    (void)state;

    /* An empty one behind a whole file: two files in one, of which the last is read. */
    zw_write(&zip, "", &member, 1, NULL, 0);
    put_end(&zip, NULL, zip.len, 0);
    walk(&zip, NULL, 0, NULL);
    assert_int_equal(seen.members, 0);
    assert_int_equal(seen.faults, 1);
    assert_fault(0, "", MS_UNPACK_CORRUPT, "no member by the last end record");
    ms_buf_release(&zip);

    /* An empty one as the comment of the other. */
    ms_buf_init(&comment, 1024);
    put_end(&comment, NULL, 0, 0);
    zw_write(&zip, "", &member, 1, (const char *)comment.data, comment.len);
    walk(&zip, NULL, 0, NULL);
    assert_int_equal(seen.members, 0);
    assert_int_equal(seen.faults, 2);
    assert_fault(0, "", MS_UNPACK_CORRUPT, "two end records");
    ms_buf_release(&zip);
    ms_buf_release(&comment);

    /* A comment with a directory of its own, which lists the second member alone. */
    ms_buf_init(&both, (size_t)1 << 20);
    ms_buf_init(&directory, 1024);
    ms_buf_init(&comment, 1024);
    zw_add(&both, &comment, &member);
    zw_add(&both, &directory, &other);
    uint64_t first_at = both.len;
    (void)ms_buf_append(&both, comment.data, comment.len);
    put_end(&both, &comment, first_at, directory.len + 22);
    uint64_t second_at = both.len;
    (void)ms_buf_append(&both, directory.data, directory.len);
    put_end(&both, &directory, second_at, 0);
    walk(&both, NULL, 0, NULL);
    assert_member("hidden.bin", half, sizeof half, -1);
    assert_int_equal(seen.members, 1);
    assert_int_equal(seen.faults, 1);
    assert_fault(0, "", MS_UNPACK_CORRUPT, "two end records");
    ms_buf_release(&both);
    ms_buf_release(&directory);
    ms_buf_release(&comment);

    /* Four bytes of a comment are no second end, and an empty file is empty. */
    zw_write(&zip, "", &member, 1, "see PK\5\6 there, and many more words", 36);
    walk(&zip, NULL, 0, NULL);
    assert_int_equal(seen.members, 1);
    assert_int_equal(seen.faults, 0);
    ms_buf_release(&zip);
    zw_write(&zip, "", NULL, 0, NULL, 0);
    walk(&zip, NULL, 0, NULL);
    assert_int_equal(seen.members + seen.faults, 0);
    ms_buf_release(&zip);
}

/* ---- nesting, limits, confinement ------------------------------------------------------------ */

static struct ms_buf nested(void)
{
    struct zw_member inner = member_of("x.exe", 14, ZW_AES256, "second");
    struct ms_buf within, zip;
    zw_write(&within, "", &inner, 1, NULL, 0);
    struct zw_member outer = {.name = "in.zip",
                              .data = within.data,
                              .n = within.len,
                              .method = 12,
                              .cipher = ZW_CRYPTO,
                              .password = "first"};
    zw_write(&zip, "", &outer, 1, NULL, 0);
    ms_buf_release(&within);
    return zip;
}

static void test_nested(void **state)
{
    static const char *const candidates[] = {"second", "first"};
    struct ms_buf zip = nested();
    (void)state;
    walk(&zip, candidates, 2, NULL);
    assert_int_equal(seen.members, 2);
    assert_int_equal(seen.faults, 0);
    assert_int_equal(seen.member[0].password, 1);
    assert_member("in.zip!x.exe", half, sizeof half, 0);
    walk(&zip, candidates + 1, 1, NULL);
    assert_int_equal(seen.members, 1);
    assert_int_equal(seen.faults, 1);
    assert_fault(0, "in.zip", MS_UNPACK_NEED_PASSWORD, "1 encrypted parts, 1 passwords tried");
    ms_buf_release(&zip);
}

static void test_limits(void **state)
{
    static const char *const candidates[] = {"infected"};
    static const struct ms_unpack_limits small = {.entry_bytes = sizeof half - 1};
    static const struct ms_unpack_limits few = {.entries = 1};
    struct zw_member members[] = {member_of("a", 12, ZW_AES256, "infected"),
                                  member_of("b", 14, ZW_CRYPTO, "infected")};
    struct ms_buf zip;
    (void)state;
    zw_write(&zip, "", members, 2, NULL, 0);
    walk(&zip, candidates, 1, &small);
    assert_int_equal(seen.members, 0);
    assert_int_equal(seen.faults, 2);
    assert_fault(0, "a", MS_UNPACK_LIMIT_ENTRY, "larger");
    assert_fault(1, "b", MS_UNPACK_LIMIT_ENTRY, "larger");
    walk(&zip, candidates, 1, &few);
    assert_int_equal(seen.members, 1);
    assert_int_equal(seen.faults, 1);
    assert_fault(0, "", MS_UNPACK_LIMIT_ENTRIES, "more members");
    ms_buf_release(&zip);
}

/* Cut anywhere: what comes out whole is what went in. Without the directory that is libarchive's
 * work, which opens stored and deflated members. */
static void test_every_cut(void **state)
{
    static const char *const candidates[] = {"infected"};
    struct zw_member members[] = {member_of("a", 12, ZW_CRYPTO, "infected"),
                                  member_of("b", 8, ZW_AES128, "infected"),
                                  member_of("p", 0, ZW_PLAIN, NULL)};
    struct ms_buf zip;
    size_t whole = 0;
    (void)state;
    for (size_t i = 0; i < 3; i++)
        members[i].n = 60;
    zw_write(&zip, "", members, 3, NULL, 0);
    for (size_t cut = 1; cut < zip.len; cut++) {
        struct ms_buf part = zip;
        part.len -= cut;
        walk(&part, candidates, 1, NULL);
        assert_true(seen.members < 3);
        for (size_t i = 0; i < seen.members; i++, whole++) {
            assert_int_equal(seen.member[i].n, 60);
            assert_memory_equal(seen.member[i].data, half, 60);
        }
    }
    assert_true(whole > 0);
    ms_buf_release(&zip);
}

static enum ms_status emit_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                  struct ms_error *err)
{
    (void)err;
    (void)descend;
    return ms_worker_emit(ctx, 1, member->chain.data, member->chain.len);
}

static enum ms_status emit_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                                 struct ms_span detail, struct ms_error *err)
{
    (void)chain;
    (void)fault;
    (void)err;
    return ms_worker_emit(ctx, 2, detail.data, detail.len);
}

static enum ms_status job_unpack(int fd, struct ms_span arg, struct ms_worker_out *out,
                                 struct ms_error *err)
{
    struct ms_span passwords[2] = {arg, ms_span_of("first", 5)};
    struct ms_unpack_events events = {out, emit_member, emit_fault};
    return ms_unpack_walk(fd, passwords, 2, NULL, &events, err);
}

struct frames {
    unsigned members, faults;
};

static enum ms_status count_frame(void *ctx, uint32_t type, struct ms_span bytes,
                                  struct ms_error *err)
{
    struct frames *frames = ctx;
    (void)err;
    frames->members += type == 1;
    frames->faults += type == 2;
    if (type == 2)
        print_error("fault: %.*s\n", (int)bytes.len, (const char *)bytes.data);
    return MS_OK;
}

static struct ms_worker *worker;

/* Key derivation, ciphers and decoders work behind the system call filter. */
static void test_confined(void **state)
{
    struct ms_buf zip = nested();
    struct frames frames = {0, 0};
    struct ms_worker_result result;
    int fd = file_of(&zip);
    (void)state;
    assert_int_equal(ms_worker_run(worker, "unpack", fd, ms_span_of("second", 6), NULL, count_frame,
                                   &frames, &result, NULL),
                     MS_OK);
    if (result.end != MS_WORKER_DONE)
        print_error("%s\n", result.error.text);
    assert_int_equal(result.end, MS_WORKER_DONE);
    assert_int_equal(result.status, MS_OK);
    assert_int_equal(frames.members, 3);
    assert_int_equal(frames.faults, 0);
    close(fd);
    ms_buf_release(&zip);
}

static int start(void **state)
{
    static const struct ms_worker_kind kinds[] = {{"unpack", job_unpack, ms_unpack_prepare}};
    static const struct ms_worker_options options = {kinds, 1, false};
    uint32_t seed = 1;
    (void)state;
    for (size_t i = 0; i < sizeof half; i++) {
        seed = seed * 1664525 + 1013904223;
        half[i] = i % 512 < 256 ? (uint8_t)(seed >> 24) : (uint8_t)'x';
    }
    return ms_worker_start(&options, &worker, NULL) == MS_OK ? 0 : 1;
}

static int stop(void **state)
{
    (void)state;
    ms_worker_stop(worker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted_wrong_passwords),
        cmocka_unit_test(test_damage_costs_its_member),
        cmocka_unit_test(test_no_password),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_two_ends),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_confined),
    };
    ms_unpack_prepare();
    return cmocka_run_group_tests(tests, start, stop);
}
