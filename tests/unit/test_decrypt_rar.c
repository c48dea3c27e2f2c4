/* Encrypted RAR archives: right members under the right password, a named fault for everything
 * else, and never a wrong member, whatever is flipped or cut. */
#define _GNU_SOURCE
#include "base/decrypt_rar.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/unpack.h"
#include "rar_archives.h"

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

enum { SEEN_MAX = 8, TEXT_BYTES = sizeof rar_text - 1 };

struct seen {
    size_t members, faults, foreign; /* foreign: members that are not the text */
    char names[64];
    int password;
    enum ms_unpack_fault fault[SEEN_MAX];
    char detail[SEEN_MAX][128];
};

static struct seen seen;

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    uint8_t data[256];
    (void)ctx, (void)descend, (void)err;
    if (!member->depth)
        return MS_OK;
    size_t used = strlen(seen.names), n = member->chain.len;
    if (n < sizeof seen.names - used - 1)
        memcpy(seen.names + used, member->chain.data, n);
    ssize_t got = read(member->fd, data, sizeof data);
    seen.members++;
    seen.foreign += got != TEXT_BYTES || memcmp(data, rar_text, TEXT_BYTES) != 0;
    seen.password = member->password_index;
    return MS_OK;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    (void)ctx, (void)chain, (void)err;
    if (seen.faults < SEEN_MAX) {
        size_t n = detail.len < 127 ? detail.len : 127;
        seen.fault[seen.faults] = fault;
        memcpy(seen.detail[seen.faults], detail.data, n);
    }
    seen.faults++;
    return MS_OK;
}

static void walk(const uint8_t *bytes, size_t n, const char *const *passwords, size_t count)
{
    struct ms_span spans[MS_LIMIT_UNPACK_PASSWORDS];
    struct ms_unpack_events events = {NULL, on_member, on_fault};
    memset(&seen, 0, sizeof seen);
    for (size_t i = 0; i < count; i++)
        spans[i] = ms_span_of(passwords[i], strlen(passwords[i]));
    int fd = memfd_create("blob", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(ms_unpack_walk(fd, spans, count, NULL, &events, NULL), MS_OK);
    close(fd);
}

static size_t find(const char *name)
{
    for (size_t i = 0; i < sizeof rar_archives / sizeof *rar_archives; i++)
        if (strcmp(rar_archives[i].name, name) == 0)
            return i;
    fail_msg("no archive '%s'", name);
    return 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void assert_hex(const uint8_t *bytes, size_t n, const char *hex)
{
    char text[2 * 64 + 1];
    ms_hex_encode(bytes, n, text);
    assert_string_equal(text, hex);
}

static void test_keys5(void **state)
{
    (void)state;
    struct ms_decrypt_keys *cache = ms_decrypt_keys_new();
    struct ms_rar5_keys keys;
    const char *why;
    for (size_t i = 0; i < sizeof rar5_keys / sizeof *rar5_keys; i++) {
        uint8_t salt[MS_RAR5_SALT_BYTES];
        struct ms_span password = ms_span_of(rar5_keys[i].password, strlen(rar5_keys[i].password));
        assert_true(ms_hex_decode(rar5_keys[i].salt, sizeof salt, salt));
        for (unsigned again = 0; again < 2; again++) { /* the second time out of the cache */
            memset(&keys, 0, sizeof keys);
            assert_int_equal(
                ms_rar5_derive(cache, password, salt, rar5_keys[i].rounds_log, &keys, &why),
                MS_DECRYPT_DONE);
            assert_hex(keys.key, sizeof keys.key, rar5_keys[i].key);
            assert_hex(keys.mac, sizeof keys.mac, rar5_keys[i].mac);
            assert_hex(keys.check, sizeof keys.check, rar5_keys[i].check);
        }
    }
    ms_decrypt_keys_free(cache);
}

static void test_keys4(void **state)
{
    (void)state;
    struct ms_decrypt_keys *cache = ms_decrypt_keys_new();
    struct ms_rar4_keys keys;
    const char *why, *long_one = "12345678901234567890123456789";
    for (size_t i = 0; i < sizeof rar4_keys / sizeof *rar4_keys; i++) {
        uint8_t salt[MS_RAR4_SALT_BYTES];
        size_t n = strlen(rar4_keys[i].salt) / 2;
        struct ms_span password = ms_span_of(rar4_keys[i].password, strlen(rar4_keys[i].password));
        assert_true(ms_hex_decode(rar4_keys[i].salt, n, salt));
        for (unsigned again = 0; again < 2; again++) {
            memset(&keys, 0, sizeof keys);
            assert_int_equal(ms_rar4_derive(cache, password, ms_span_of(salt, n), &keys, &why),
                             MS_DECRYPT_DONE);
            assert_hex(keys.key, sizeof keys.key, rar4_keys[i].key);
            assert_hex(keys.iv, sizeof keys.iv, rar4_keys[i].iv);
        }
    }
    assert_int_equal(ms_rar4_derive(cache, ms_span_of(long_one, strlen(long_one)),
                                    ms_span_of("12345678", 8), &keys, &why),
                     MS_DECRYPT_WRONG_PASSWORD);
    ms_decrypt_keys_free(cache);
}

/* Published pairs of password and archive, which RAR itself made: the check value of a RAR 5
 * archive, and the end block of a RAR 3 archive with hidden names. */
static void test_published(void **state)
{
    (void)state;
    struct ms_decrypt_keys *cache = ms_decrypt_keys_new();
    struct ms_span password = ms_span_of("hashcat", 7);
    struct ms_rar5_keys five;
    struct ms_rar4_keys three;
    const char *why;
    uint8_t salt[16], block[16];
    assert_true(ms_hex_decode("74575567518807622265582327032280", 16, salt));
    assert_int_equal(ms_rar5_derive(cache, password, salt, 15, &five, &why), MS_DECRYPT_DONE);
    assert_hex(five.check, sizeof five.check, "9843834ed0f7c754");
    assert_true(ms_hex_decode("45109af8ab5f297a", 8, salt));
    assert_true(ms_hex_decode("adbf6c5385d7a40373e8f77d7b89d317", 16, block));
    assert_int_equal(ms_rar4_derive(cache, password, ms_span_of(salt, 8), &three, &why),
                     MS_DECRYPT_DONE);
    assert_true(ms_rar_decrypt(three.key, sizeof three.key, three.iv, block, sizeof block));
    assert_hex(block, sizeof block, "c43d7b00400700000000000000000000");
    ms_decrypt_keys_free(cache);
}

static void test_budget(void **state)
{
    (void)state;
    struct ms_decrypt_keys *cache = ms_decrypt_keys_new();
    struct ms_rar5_keys five;
    struct ms_rar4_keys four;
    const char *why = NULL;
    const uint8_t salt[MS_RAR5_SALT_BYTES] = {0};
    struct ms_span first = ms_span_of("first", 5), second = ms_span_of("second", 6);
    assert_int_equal(ms_rar5_derive(cache, first, salt, 4, &five, &why), MS_DECRYPT_DONE);
    assert_true(ms_decrypt_keys_spend(cache, MS_LIMIT_DECRYPT_KDF_BYTES - (1 << 16)));
    assert_int_equal(ms_rar5_derive(cache, first, salt, 4, &five, &why), MS_DECRYPT_DONE);
    assert_int_equal(ms_rar5_derive(cache, second, salt, 15, &five, &why), MS_DECRYPT_LIMIT_WORK);
    assert_non_null(why);
    assert_int_equal(
        ms_rar5_derive(cache, second, salt, MS_LIMIT_DECRYPT_KDF_POWER + 1, &five, &why),
        MS_DECRYPT_LIMIT_WORK);
    assert_int_equal(ms_rar4_derive(cache, second, ms_span_of(salt, 8), &four, &why),
                     MS_DECRYPT_LIMIT_WORK);
    ms_decrypt_keys_free(cache);
}

/* ---- archives -------------------------------------------------------------------------------- */

struct expectation {
    const char *archive;
    const char *names; /* of the members that come out, one behind the other */
    size_t faults;
    enum ms_unpack_fault fault; /* the last */
    const char *detail;         /* a part of its text */
};

static void expect(const struct expectation *e, const char *const *passwords, size_t count)
{
    size_t i = find(e->archive);
    walk(rar_archives[i].data, rar_archives[i].n, passwords, count);
    if (strcmp(seen.names, e->names) != 0 || seen.faults != e->faults)
        print_error("%s: members '%s', fault %s: %s\n", e->archive, seen.names,
                    ms_unpack_fault_name(seen.fault[0]), seen.detail[0]);
    assert_int_equal(seen.foreign, 0);
    assert_string_equal(seen.names, e->names);
    assert_int_equal(seen.faults, e->faults);
    if (!e->faults)
        return;
    if (!strstr(seen.detail[e->faults - 1], e->detail))
        print_error("%s: %s: %s\n", e->archive, ms_unpack_fault_name(seen.fault[e->faults - 1]),
                    seen.detail[e->faults - 1]);
    assert_non_null(strstr(seen.detail[e->faults - 1], e->detail));
    assert_int_equal(seen.fault[e->faults - 1], e->fault);
}

static void test_wrong_passwords(void **state)
{
    (void)state;
    static const char *const wrong[] = {"Infected", "infected ", "", "x"};
    static const char *const locked[] = {
        "r5_stored",          "r5_coded",  "r5_blocks", "r5_hidden", "r5_hidden_no_check",
        "r5_no_check",        "r5_solid",  "r4_stored", "r4_coded",  "r4_large",
        "r5_stored_no_check", "r4_hidden", "r4_no_salt"};
    for (size_t i = 0; i < sizeof locked / sizeof *locked; i++) {
        struct expectation e = {locked[i], "", 1, MS_UNPACK_NEED_PASSWORD, "passwords tried"};
        expect(&e, wrong, 4);
        expect(&e, NULL, 0);
    }
}

/* Without a check value the data itself has to tell: nothing may come out, whatever the key. */
static void test_many_wrong_passwords(void **state)
{
    (void)state;
    static const char *const archives[] = {"r5_no_check", "r5_stored_no_check",
                                           "r5_tweaked_no_check", "r5_hidden_no_check"};
    char text[MS_LIMIT_UNPACK_PASSWORDS][16];
    const char *words[MS_LIMIT_UNPACK_PASSWORDS];
    for (size_t i = 0; i < 4; i++) {
        size_t at = find(archives[i]);
        for (unsigned round = 0; round < 10; round++) {
            for (unsigned word = 0; word < MS_LIMIT_UNPACK_PASSWORDS; word++) {
                (void)snprintf(text[word], sizeof text[word], "%u-%u", round, word);
                words[word] = text[word];
            }
            walk(rar_archives[at].data, rar_archives[at].n, words, MS_LIMIT_UNPACK_PASSWORDS);
            assert_int_equal(seen.members, 0);
            assert_int_equal(seen.faults, 1);
            assert_int_equal(seen.fault[0], MS_UNPACK_NEED_PASSWORD);
        }
    }
}

static void test_right_password(void **state)
{
    (void)state;
    static const char *const several[] = {"wrong", "infected", "other"};
    static const struct expectation table[] = {
        {"r5_stored", "d/a", 0, MS_UNPACK_OK, ""},
        {"r5_coded", "a", 0, MS_UNPACK_OK, ""},
        {"r5_blocks", "a", 0, MS_UNPACK_OK, ""},
        {"r5_hidden", "a", 0, MS_UNPACK_OK, ""},
        {"r5_hidden_no_check", "a", 0, MS_UNPACK_OK, ""},
        {"r5_no_check", "a", 0, MS_UNPACK_OK, ""},
        {"r5_stored_no_check", "a", 0, MS_UNPACK_OK, ""},
        {"r5_tweaked_no_check", "a", 0, MS_UNPACK_OK, ""},
        {"r5_solid", "abcd", 0, MS_UNPACK_OK, ""},
        {"r4_stored", "d/a", 0, MS_UNPACK_OK, ""},
        {"r4_coded", "a", 0, MS_UNPACK_OK, ""},
        {"r4_large", "a", 0, MS_UNPACK_OK, ""},
        {"r4_no_salt", "a", 0, MS_UNPACK_OK, ""},
        {"r4_hidden", "a", 0, MS_UNPACK_OK, ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        expect(&table[i], several, 3);
        assert_int_equal(seen.password, 1);
    }
}

static void test_states(void **state)
{
    (void)state;
    static const char *const several[] = {"wrong", "infected"};
    static const struct expectation table[] = {
        {"r5_nothing_tells", "", 1, MS_UNPACK_UNSUPPORTED, "neither a password check"},
        {"r5_orphan", "b", 1, MS_UNPACK_UNSUPPORTED, "solid RAR 5"},
        {"r5_beside_plain", "ap", 0, MS_UNPACK_OK, ""},
        {"r5_two_passwords", "a", 1, MS_UNPACK_NEED_PASSWORD, "1 encrypted parts"},
        {"r5_volume", "a", 1, MS_UNPACK_INCOMPLETE, "one volume of several"},
        {"r5_plain_volume", "a", 1, MS_UNPACK_INCOMPLETE, "one volume of several"},
        {"r5_wrong_crc", "", 1, MS_UNPACK_CORRUPT, "checksum"},
        {"r5_bad_data", "", 1, MS_UNPACK_CORRUPT, "the checksum is wrong"},
        {"r5_bad_data_no_tweak", "", 1, MS_UNPACK_CORRUPT, "Checksum error"},
        {"r5_plain_wrong_crc", "b", 1, MS_UNPACK_CORRUPT, "wrong checksum"},
        {"r5_costly", "", 1, MS_UNPACK_LIMIT_WORK, "too long"},
        {"r5_costly_hidden", "", 1, MS_UNPACK_LIMIT_WORK, "too long"},
        {"r5_unknown", "", 1, MS_UNPACK_UNSUPPORTED, "unknown version"},
        {"r4_hidden_bad", "", 1, MS_UNPACK_CORRUPT, "wrong checksum"},
        {"r4_solid", "a", 1, MS_UNPACK_UNSUPPORTED, "solid RAR 4"},
        {"r4_beside_plain", "ap", 0, MS_UNPACK_OK, ""},
        {"r4_volume", "a", 1, MS_UNPACK_INCOMPLETE, "one volume of several"},
        {"r4_plain_volume", "a", 1, MS_UNPACK_INCOMPLETE, "one volume of several"},
        {"r4_old_cipher", "", 1, MS_UNPACK_UNSUPPORTED, "RAR 2"},
        {"r4_plain_wrong_crc", "b", 1, MS_UNPACK_CORRUPT, "wrong checksum"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        expect(&table[i], several, 2);
}

static void test_two_passwords(void **state)
{
    (void)state;
    static const char *const both[] = {"second", "infected"};
    static const struct expectation all = {"r5_two_passwords", "ab", 0, MS_UNPACK_OK, ""};
    static const struct expectation plain = {"r5_beside_plain", "p", 1, MS_UNPACK_NEED_PASSWORD,
                                             "1 encrypted parts"};
    expect(&all, both, 2);
    expect(&plain, both, 1);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void assert_nothing_foreign(const char *name, size_t at)
{
    if (seen.foreign)
        print_error("%s, byte %zu: '%s'\n", name, at, seen.names);
    assert_int_equal(seen.foreign, 0);
}

/* Deriving a key of RAR 4 takes a hundredth of a second: only some bytes there. */
static void test_flips_and_cuts(void **state)
{
    (void)state;
    static const struct {
        const char *archive;
        size_t step;
    } cases[] = {{"r5_stored", 1},           {"r5_coded", 1},           {"r5_blocks", 1},
                 {"r5_hidden", 1},           {"r5_hidden_no_check", 1}, {"r5_no_check", 1},
                 {"r5_tweaked_no_check", 1}, {"r5_solid", 1},           {"r5_volume", 1},
                 {"r5_beside_plain", 1},     {"r4_stored", 9},          {"r4_coded", 9},
                 {"r4_hidden", 9},           {"r4_beside_plain", 9}};
    static const char *const password[] = {"infected"};
    static uint8_t changed[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t archive = find(cases[i].archive), n = rar_archives[archive].n;
        assert_true(n <= sizeof changed);
        for (size_t at = 0; at < n; at += cases[i].step) {
            memcpy(changed, rar_archives[archive].data, n);
            changed[at] ^= (uint8_t)(1u << (at % 8));
            walk(changed, n, password, 1);
            assert_nothing_foreign(cases[i].archive, at);
            walk(rar_archives[archive].data, at, password, 1);
            assert_nothing_foreign(cases[i].archive, at);
        }
    }
}

static void test_room(void **state)
{
    (void)state;
    static const char *const archives[] = {"r5_coded", "r5_beside_plain", "r4_stored"};
    for (size_t i = 0; i < 3; i++) {
        size_t archive = find(archives[i]);
        struct ms_decrypt_keys *cache = ms_decrypt_keys_new();
        struct ms_decrypt decrypt;
        const char *why = NULL;
        uint64_t needed, bytes;
        int fd = memfd_create("blob", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
        assert_int_equal(write(fd, rar_archives[archive].data, rar_archives[archive].n),
                         rar_archives[archive].n);
        assert_int_equal(ms_decrypt_open(fd, cache, &decrypt, &why), MS_DECRYPT_DONE);
        assert_false(decrypt.locked);
        enum ms_decrypt_answer answer = decrypt.format->rewrite(
            decrypt.state, 0, ms_span_of("infected", 8), out, 1 << 20, &needed, &why);
        assert_int_equal(answer, MS_DECRYPT_DONE);
        for (uint64_t room = 0; room < needed; room++) {
            why = NULL;
            assert_int_equal(ftruncate(out, 0), 0);
            assert_int_equal(decrypt.format->rewrite(decrypt.state, 0, ms_span_of("infected", 8),
                                                     out, room, &bytes, &why),
                             MS_DECRYPT_LIMIT_MEMORY);
            assert_non_null(why);
            assert_true(bytes <= room && lseek(out, 0, SEEK_END) <= (off_t)room);
        }
        ms_decrypt_close(&decrypt);
        ms_decrypt_keys_free(cache);
        close(fd);
        close(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_passwords),
        cmocka_unit_test(test_many_wrong_passwords),
        cmocka_unit_test(test_keys5),
        cmocka_unit_test(test_keys4),
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_right_password),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_two_passwords),
        cmocka_unit_test(test_flips_and_cuts),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
