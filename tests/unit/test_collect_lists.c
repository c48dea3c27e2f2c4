/* Texts that collect takes apart by itself: pointers of Git LFS, lines of a URL list, and what git
 * servers' branches and tags stand for. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/limits.h"
#include "collect/lfs.h"
#include "collect/list.h"
#include "collect/patience.h"
#include "collect/pkt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define OID "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
#define FIRST "version https://git-lfs.github.com/spec/v1\n"

static struct ms_error err;

static struct ms_span span(const char *text)
{
    return ms_span_of(text, strlen(text));
}

/* ---- pointers -------------------------------------------------------------------------------- */

/* From memory of its exact size, so that a read beyond it is seen. */
static bool parse(const char *text, size_t n, struct ms_lfs_pointer *out)
{
    char *copy = malloc(n ? n : 1);
    memcpy(copy, text, n);
    bool good = ms_lfs_pointer_parse(copy, n, out);
    free(copy);
    return good;
}

static void test_pointers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
    } good[] = {
        {FIRST "oid sha256:" OID "\nsize 12345\n", 12345},
        {FIRST "oid sha256:" OID "\nsize 0\n", 0},
        {FIRST "oid sha256:" OID "\nsize 9223372036854775807\n", INT64_MAX},
        {FIRST "ext-0-foo sha256:" OID "\noid sha256:" OID "\nsize 7\n", 7},
        {FIRST "oid sha256:" OID "\nsize 7\nx-later anything at all\n", 7},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct ms_lfs_pointer pointer;
        char hex[MS_HASH_HEX_MAX];
        size_t n = strlen(good[i].text);
        assert_true(parse(good[i].text, n, &pointer));
        assert_int_equal(pointer.size, good[i].size);
        ms_hex_encode(pointer.oid, MS_SHA256_BYTES, hex);
        assert_string_equal(hex, OID);
        for (size_t cut = 0; cut < n; cut++) { /* a line less may do, half a line may not */
            bool whole_lines = cut && good[i].text[cut - 1] == '\n';
            if (parse(good[i].text, cut, &pointer) && !whole_lines)
                fail_msg("pointer %zu was taken with %zu bytes", i, cut);
        }
    }
}

static void test_texts_that_are_no_pointers(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        FIRST,
        FIRST "oid sha256:" OID "\n",
        FIRST "size 12\n",
        FIRST "oid sha256:" OID "\nsize 12",
        FIRST "oid sha256:" OID "\nsize -12\n",
        FIRST "oid sha256:" OID "\nsize 012\n",
        FIRST "oid sha256:" OID "\nsize 12 \n",
        FIRST "oid sha256:" OID "\nsize \n",
        FIRST "oid sha256:" OID "\nsize 9223372036854775808\n",
        FIRST "oid sha256:" OID "\nsize 99999999999999999999999\n",
        FIRST "oid sha512:" OID "\nsize 12\n",
        FIRST "oid " OID "\nsize 12\n",
        FIRST "oid sha256:" OID "0\nsize 12\n",
        FIRST "oid sha256:x" OID "\nsize 12\n",
        FIRST "oid sha256:" OID "\noid sha256:" OID "\nsize 12\n",
        FIRST "oid sha256:" OID "\nsize 12\nsize 12\n",
        FIRST "oid sha256:" OID "\nsize 12\nnovalue\n",
        FIRST "oid sha256:" OID "\nsize 12\n\n",
        "oid sha256:" OID "\n" FIRST "size 12\n",
        " " FIRST "oid sha256:" OID "\nsize 12\n",
        "version https://git-lfs.github.com/spec/v2\noid sha256:" OID "\nsize 12\n",
        "version https://git-lfs.github.com/spec/v1\r\noid sha256:" OID "\r\nsize 12\r\n",
    };
    struct ms_lfs_pointer pointer;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i], strlen(bad[i]), &pointer))
            fail_msg("text %zu was taken for a pointer", i);
    static const char nul[] = FIRST "oid sha256:" OID "\nsize 1\0\n";
    assert_false(parse(nul, sizeof nul - 1, &pointer));
}

/* A pointer is shorter than 1 KiB; a longer file is a file, whatever it begins with. */
static void test_pointers_in_files(void **state)
{
    (void)state;
    static const char text[] = FIRST "oid sha256:" OID "\nsize 5\nx ";
    for (size_t n = 1022; n <= 1025; n++) {
        struct ms_lfs_pointer pointer;
        char bytes[1100];
        int fd = -1;
        memset(bytes, 'x', sizeof bytes);
        memcpy(bytes, text, sizeof text - 1);
        bytes[n - 1] = '\n';
        assert_int_equal(ms_file_memory("pointer", &fd, &err), MS_OK);
        assert_int_equal(ms_file_write_all(fd, bytes, n, &err), MS_OK);
        assert_int_equal(ms_lfs_pointer_read(fd, n, &pointer), n < 1024);
        assert_false(ms_lfs_pointer_read(fd, n - 1, &pointer)); /* the size must be the file's */
        assert_int_equal(close(fd), 0);
    }
}

/* ---- lines of a URL list --------------------------------------------------------------------- */

static void test_url_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *url, *claim;
        bool private_;
    } good[] = {
        {"https://example.org/a.zip", "https://example.org/a.zip", NULL, false},
        {"  https://Example.ORG/A.zip?x=1#part \r", "https://example.org/A.zip?x=1", NULL, false},
        {"https://example.org", "https://example.org/", NULL, false},
        {"https://example.org/a claim=malware private # why", "https://example.org/a", "malware",
         true},
        {"https://example.org/a\tprivate\tclaim=benign", "https://example.org/a", "benign", true},
        {"http://127.0.0.1:8080/a", "http://127.0.0.1:8080/a", NULL, false},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct ms_list_url line;
        bool empty = true;
        enum ms_status status = ms_list_url_parse(span(good[i].line), &line, &empty, &err);
        if (status != MS_OK)
            fail_msg("line %zu: %s", i, err.text);
        assert_false(empty);
        assert_string_equal(line.url.text, good[i].url);
        assert_int_equal(line.private_, good[i].private_);
        assert_int_equal(line.claim != NULL, good[i].claim != NULL);
        if (line.claim)
            assert_string_equal(line.claim, good[i].claim);
    }
    static const char *const blank[] = {"", "   ", "# https://example.org/a", "\t\r", " #"};
    for (size_t i = 0; i < sizeof blank / sizeof *blank; i++) {
        struct ms_list_url line;
        bool empty = false;
        assert_int_equal(ms_list_url_parse(span(blank[i]), &line, &empty, &err), MS_OK);
        assert_true(empty);
    }
}

static void test_bad_url_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *why;
    } bad[] = {
        {"http://example.org/a", "not https"},
        {"http://192.168.1.1/a", "not https"},
        {"ftp://example.org/a", ""},
        {"file:///etc/passwd", ""},
        {"example.org/a", ""},
        {"https://user:word@example.org/a", ""},
        {"https://", ""},
        {"https://example.org/a claim=evil", "claim"},
        {"https://example.org/a claim=", "claim"},
        {"https://example.org/a Private", "private"},
        {"https://example.org/a https://example.org/b", "claim"},
    };
    struct ms_list_url line;
    bool empty;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = '\0';
        if (ms_list_url_parse(span(bad[i].line), &line, &empty, &err) != MS_REJECT ||
            !strstr(err.text, bad[i].why))
            fail_msg("line %zu was taken, or refused for '%s'", i, err.text);
    }
    assert_int_equal(
        ms_list_url_parse(ms_span_of("https://example.org/\0a", 22), &line, &empty, &err),
        MS_REJECT);
    char *endless = malloc(MS_LIMIT_URL_BYTES + 32);
    memset(endless, 'a', MS_LIMIT_URL_BYTES + 32);
    memcpy(endless, "https://example.org/", 20);
    assert_int_equal(
        ms_list_url_parse(ms_span_of(endless, MS_LIMIT_URL_BYTES + 32), &line, &empty, &err),
        MS_REJECT);
    free(endless);
    /* What is printed of a bad line cannot steer a terminal. */
    assert_int_equal(ms_list_url_parse(span("https://example.org/a \x1b[31m"), &line, &empty, &err),
                     MS_REJECT);
    assert_null(strchr(err.text, '\x1b'));
}

/* ---- tips ------------------------------------------------------------------------------------ */

static void add_ref(struct ms_buf *body, unsigned id, const char *name)
{
    ms_pkt_add(body, "%040x %s\n", id, name);
}

static void test_tips(void **state)
{
    (void)state;
    struct ms_git_tips tips;
    struct ms_buf body;
    uint8_t id[MS_SHA1_BYTES] = {0};
    ms_buf_init(&body, (size_t)8 << 20);
    add_ref(&body, 3, "HEAD symref-target:refs/heads/main");
    add_ref(&body, 9, "refs/heads/b");
    add_ref(&body, 3, "refs/heads/main");
    add_ref(&body, 4, "refs/pull/1/head");
    add_ref(&body, 5, "refs/headsup");
    ms_pkt_add(&body, "%040x refs/tags/v1 peeled:%040x\n", 6, 7);
    ms_pkt_add_flush(&body);
    assert_int_equal(ms_git_tips_read(ms_span_of(body.data, body.len), &tips, &err), MS_OK);
    assert_int_equal(tips.count, 3);
    assert_false(tips.cut);
    for (unsigned i = 0; i < 12; i++) {
        id[MS_SHA1_BYTES - 1] = (uint8_t)i;
        assert_int_equal(ms_git_tips_has(&tips, id), i == 3 || i == 7 || i == 9);
    }
    ms_git_tips_release(&tips);
    assert_false(ms_git_tips_has(&tips, id));
    /* Cut short; and a tag whose commit is none. */
    assert_int_equal(ms_git_tips_read(ms_span_of(body.data, body.len - 4), &tips, &err), MS_REJECT);
    ms_git_tips_release(&tips);
    ms_buf_clear(&body);
    ms_pkt_add(&body, "%040x refs/tags/v1 peeled:7\n", 6);
    ms_pkt_add_flush(&body);
    assert_int_equal(ms_git_tips_read(ms_span_of(body.data, body.len), &tips, &err), MS_REJECT);
    ms_git_tips_release(&tips);
    /* As many as there may be, and one more. */
    for (unsigned more = 0; more < 2; more++) {
        ms_buf_clear(&body);
        for (unsigned i = 0; i < MS_LIMIT_GIT_REFS + more; i++)
            add_ref(&body, i + 1, "refs/heads/x");
        ms_pkt_add_flush(&body);
        assert_int_equal(ms_git_tips_read(ms_span_of(body.data, body.len), &tips, &err), MS_OK);
        assert_int_equal(tips.count, MS_LIMIT_GIT_REFS);
        assert_int_equal(tips.cut, more == 1);
        ms_git_tips_release(&tips);
    }
    ms_buf_release(&body);
}

/* ---- servers that ask to wait ---------------------------------------------------------------- */

static void test_patience(void **state)
{
    (void)state;
    struct ms_patience patience = {.count = 0};
    struct ms_error limited;
    char name[64];
    assert_int_equal(ms_patience_end(&patience, "x", &err), MS_OK);
    (void)ms_error_set(&limited, MS_E_LATER, "no room");
    assert_int_equal(ms_patience_add(&patience, "https://a:443", &limited), MS_E_LATER);
    assert_false(ms_patience_waits(&patience, "https://a:443"));
    limited.resume_at_ms = INT64_MAX - 1;
    assert_int_equal(ms_patience_add(&patience, "https://a:443", &limited), MS_OK);
    assert_true(ms_patience_waits(&patience, "https://a:443"));
    assert_false(ms_patience_waits(&patience, "https://b:443"));
    limited.resume_at_ms = 1000; /* long past: it may be asked again */
    assert_int_equal(ms_patience_add(&patience, "https://b:443", &limited), MS_OK);
    assert_false(ms_patience_waits(&patience, "https://b:443"));
    limited.resume_at_ms = INT64_MAX - 1;
    for (unsigned i = 2; i < MS_PATIENCE_SERVERS; i++) {
        (void)snprintf(name, sizeof name, "https://s%u:443", i);
        assert_int_equal(ms_patience_add(&patience, name, &limited), MS_OK);
    }
    assert_int_equal(ms_patience_add(&patience, "https://more:443", &limited), MS_E_LATER);
    assert_int_equal(ms_patience_add(&patience, "https://a:443", &limited), MS_OK);
    assert_int_equal(ms_patience_end(&patience, "a server", &err), MS_E_LATER);
    assert_int_equal(err.resume_at_ms, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointers),          cmocka_unit_test(test_texts_that_are_no_pointers),
        cmocka_unit_test(test_pointers_in_files), cmocka_unit_test(test_url_lines),
        cmocka_unit_test(test_bad_url_lines),     cmocka_unit_test(test_tips),
        cmocka_unit_test(test_patience),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
