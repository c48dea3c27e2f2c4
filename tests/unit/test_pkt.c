/* pkt-lines and the answers of git's protocol: hostile ones first. */
#include "collect/pkt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef01234567"
#define ID2 "1123456789abcdef0123456789abcdef01234567"

static struct ms_error err;

static struct ms_span span(const char *text)
{
    return ms_span_of(text, strlen(text));
}

/* Lines as packets, "-" a flush and "|" a delimiter. */
static struct ms_buf packets(const char *const *lines)
{
    struct ms_buf out;
    ms_buf_init(&out, 1 << 16);
    for (; *lines; lines++) {
        if (strcmp(*lines, "-") == 0)
            ms_pkt_add_flush(&out);
        else if (strcmp(*lines, "|") == 0)
            ms_pkt_add_delim(&out);
        else
            ms_pkt_add(&out, "%s", *lines);
    }
    assert_false(out.failed);
    return out;
}

static void test_bad_lengths(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",    "000",   "0003", "000g",  "00 5a",
                                      "0005", "fffff", "-004", "0x05a", "0008abc"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ms_span in = span(bad[i]);
        struct ms_pkt pkt;
        if (ms_pkt_take(&in, &pkt, &err) != MS_REJECT)
            fail_msg("'%s' was taken", bad[i]);
    }
    struct ms_span in = span("0004000000010002000eERR \x1b[2Jbad");
    struct ms_pkt pkt;
    const enum ms_pkt_kind kinds[] = {MS_PKT_DATA, MS_PKT_FLUSH, MS_PKT_DELIM, MS_PKT_END};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ms_pkt_take(&in, &pkt, &err), MS_OK);
        assert_int_equal(pkt.kind, kinds[i]);
    }
    assert_int_equal(ms_pkt_take(&in, &pkt, &err), MS_REJECT);
    assert_non_null(strstr(err.text, "the server says: \\x1b[2J"));
    in = span("");
    assert_int_equal(ms_pkt_take(&in, &pkt, &err), MS_OK);
    assert_int_equal(pkt.kind, MS_PKT_NONE);
}

static void test_features(void **state)
{
    (void)state;
    static const struct {
        const char *lines[8];
        const char *why; /* NULL: good */
        bool filter, shallow;
    } cases[] = {
        {{"# service=git-upload-pack\n", "-", "version 2\n", "agent=git/2\n",
          "fetch=shallow wait-for-done filter\n", "object-format=sha1\n", "-"},
         NULL,
         true,
         true},
        {{"version 2\n", "fetch=shallow\n", "-"}, NULL, false, true},
        {{"version 2\n", "fetch\n", "-"}, NULL, false, false},
        {{"version 2\n", "fetch=filterless xshallow\n", "-"}, NULL, false, false},
        {{"# service=git-upload-pack\n", "-", ID " HEAD", "-"}, "version 0", false, false},
        {{"# service=git-upload-pack\n", "-", "version 1\n", "-"}, "version 0", false, false},
        {{"version 2\n", "object-format=sha256\n", "-"}, "SHA-256", false, false},
        {{"# service=git-upload-pack\n", "-"}, "no git repository", false, false},
        {{"ERR go away"}, "go away", false, false},
        {{NULL}, "no git repository", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_buf body = packets(cases[i].lines);
        struct ms_git_features features;
        enum ms_status status =
            ms_git_features_read(ms_span_of(body.data, body.len), &features, &err);
        assert_int_equal(status, cases[i].why ? MS_REJECT : MS_OK);
        if (cases[i].why) {
            assert_non_null(strstr(err.text, cases[i].why));
        } else {
            assert_int_equal(features.filter, cases[i].filter);
            assert_int_equal(features.shallow, cases[i].shallow);
        }
        ms_buf_release(&body);
    }
}

static void test_refs(void **state)
{
    (void)state;
    static const struct {
        const char *lines[6];
        const char *ref, *want; /* NULL: not found */
    } cases[] = {
        {{ID " HEAD symref-target:refs/heads/main\n", "-"}, "", ID},
        {{ID " refs/tags/HEAD\n", "-"}, "", NULL},
        {{ID2 " refs/heads/a\n", ID " refs/heads/main\n", "-"}, "", ID},
        {{ID " refs/heads/a\n", ID2 " refs/heads/b\n", "-"}, "", ID},
        {{ID " HEAD\n", ID2 " refs/heads/main\n", "-"}, "", ID},
        {{"unborn HEAD symref-target:refs/heads/main\n", "-"}, "", NULL},
        {{"-"}, "", NULL},
        {{ID " refs/heads/v1\n", ID2 " refs/tags/v1 peeled:" ID2 "\n", "-"}, "v1", ID},
        {{ID " refs/tags/v1 peeled:" ID2 "\n", "-"}, "v1", ID2},
        {{ID " refs/heads/v10\n", "-"}, "v1", NULL},
        {{ID " refs/changes/1\n", "-"}, "refs/changes/1", ID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_buf body = packets(cases[i].lines);
        uint8_t id[MS_SHA1_BYTES];
        char hex[MS_HASH_HEX_MAX];
        bool found;
        assert_int_equal(
            ms_git_refs_read(ms_span_of(body.data, body.len), cases[i].ref, &found, id, &err),
            MS_OK);
        assert_int_equal(found, cases[i].want != NULL);
        if (found) {
            ms_hex_encode(id, sizeof id, hex);
            assert_string_equal(hex, cases[i].want);
        }
        ms_buf_release(&body);
    }
    static const char *const bad[][3] = {
        {ID " HEAD\n"}, /* no flush */
        {"HEAD\n", "-"},   {"012345 HEAD", "-"}, {ID " HEAD peeled:xyz", "-"},
        {ID " HEAD", "|"}, {"" ID "0 HEAD", "-"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ms_buf body = packets(bad[i]);
        uint8_t id[MS_SHA1_BYTES];
        bool found;
        if (ms_git_refs_read(ms_span_of(body.data, body.len), "", &found, id, &err) != MS_REJECT)
            fail_msg("refs %zu were taken", i);
        ms_buf_release(&body);
    }
}

static void test_pack_answers(void **state)
{
    (void)state;
    static const struct {
        const char *lines[8];
        const char *pack, *why;
    } cases[] = {
        {{"shallow-info\n", "shallow " ID, "|", "packfile\n", "\x01PA", "\x02remote: hi",
          "\x01"
          "CK",
          "-"},
         "PACK",
         NULL},
        {{"packfile\n", "-"}, "", NULL},
        {{"packfile\n", "\x01PA"}, NULL, "cut short"},
        {{"packfile\n", "\x01PA", "|"}, NULL, "cut short"},
        {{"packfile\n", "\x01PA",
          "\x03"
          "broken",
          "-"},
         NULL,
         "broken"},
        {{"packfile\n", "\x04PA", "-"}, NULL, "channel"},
        {{"packfile\n", "", "-"}, NULL, "cut short"},
        {{"acknowledgments\n", "NAK\n", "-"}, NULL, "no pack"},
        {{"ERR upload-pack: not our ref"}, NULL, "not our ref"},
        {{NULL}, NULL, "no pack"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_buf body = packets(cases[i].lines);
        uint8_t *pack = malloc(body.len + 1);
        size_t n;
        enum ms_status status = ms_git_pack_take(ms_span_of(body.data, body.len), pack, &n, &err);
        assert_int_equal(status, cases[i].why ? MS_REJECT : MS_OK);
        if (cases[i].why)
            assert_non_null(strstr(err.text, cases[i].why));
        else
            assert_true(ms_span_equal_text(ms_span_of(pack, n), cases[i].pack));
        free(pack);
        ms_buf_release(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bad_lengths),
                                       cmocka_unit_test(test_features), cmocka_unit_test(test_refs),
                                       cmocka_unit_test(test_pack_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
