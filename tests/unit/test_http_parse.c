/* What base/http and base/secret decide without a connection: URLs, address classes, back-off,
 * Retry-After, encoding, where a secret may come from. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/http.h"
#include "base/http_addr.h"
#include "base/http_retry.h"
#include "base/http_url.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- parsing ---- */

static void urls(void **state)
{
    static const struct {
        const char *text, *origin;
        bool loopback;
    } good[] = {
        {"https://www.VirusTotal.com/api/v3", "https://www.virustotal.com:443", false},
        {"HTTP://localhost:8090/x?y#z", "http://localhost:8090", true},
        {"http://127.1/", "http://127.0.0.1:80", true},
        {"http://0x7f000001:81/", "http://127.0.0.1:81", true},
        {"http://[::1]:8000/a", "http://[::1]:8000", true},
        {"https://example.org:443/../a/./b", "https://example.org:443", false},
        {"https://127.0.0.1.example.org/", "https://127.0.0.1.example.org:443", false},
    };
    static const char *const bad[] = {"",
                                      "example.org",
                                      "ftp://example.org/",
                                      "file:///etc/passwd",
                                      "https://",
                                      "https://user@example.org/",
                                      "https://u:p@example.org/",
                                      "http://a b/",
                                      "http://x/\ny",
                                      "http://x:0/",
                                      "http://x:70000/",
                                      "http://[fe80::1%25eth0]/",
                                      "//example.org/x",
                                      "gopher://127.0.0.1/"};
    (void)state;
    struct ms_url url;
    struct ms_error err;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(ms_url_parse(good[i].text, &url, &err), MS_OK);
        assert_string_equal(url.origin, good[i].origin);
        assert_int_equal(url.loopback, good[i].loopback);
        assert_null(strchr(url.text, '#'));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ms_url_parse(bad[i], &url, &err) != MS_E_USAGE)
            fail_msg("'%s' was accepted as %s", bad[i], url.text);
    /* What is refused for its password must not be quoted with it. */
    assert_int_equal(ms_url_parse("https://u:hunter2@example.org/", &url, &err), MS_E_USAGE);
    assert_null(strstr(err.text, "hunter2"));
    char *endless = malloc(10000);
    memset(endless, 'a', 9999);
    memcpy(endless, "https://x/", 10);
    endless[9999] = '\0';
    assert_int_equal(ms_url_parse(endless, &url, &err), MS_E_USAGE);
    free(endless);
}

static void locations(void **state)
{
    static const struct {
        const char *location, *text;
    } cases[] = {
        {"/x", "https://a.example/x"},
        {"y?z=1", "https://a.example/b/y?z=1"},
        {"//c.example/d", "https://c.example/d"},
        {"http://d.example", "http://d.example/"},
        {"a b", "https://a.example/b/a%20b"},
    };
    struct ms_url base, url;
    (void)state;
    assert_int_equal(ms_url_parse("https://a.example/b/c", &base, NULL), MS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ms_url_resolve(&base, cases[i].location, &url, NULL), MS_OK);
        assert_string_equal(url.text, cases[i].text);
    }
    assert_int_equal(ms_url_resolve(&base, "file:///etc/passwd", &url, NULL), MS_E_USAGE);
    assert_int_equal(ms_url_resolve(&base, "https://u:p@x/", &url, NULL), MS_E_USAGE);
}

static enum ms_addr_class class_of(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return ms_addr_classify((struct sockaddr *)&v4, sizeof v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return ms_addr_classify((struct sockaddr *)&v6, sizeof v6);
}

static void addresses(void **state)
{
    static const struct {
        const char *text;
        enum ms_addr_class kind;
    } cases[] = {
        {"140.82.121.3", MS_ADDR_PUBLIC},
        {"8.8.8.8", MS_ADDR_PUBLIC},
        {"9.255.255.255", MS_ADDR_PUBLIC},
        {"10.0.0.1", MS_ADDR_PRIVATE},
        {"11.0.0.0", MS_ADDR_PUBLIC},
        {"100.63.255.255", MS_ADDR_PUBLIC},
        {"100.64.0.1", MS_ADDR_PRIVATE},
        {"100.127.255.255", MS_ADDR_PRIVATE},
        {"100.128.0.0", MS_ADDR_PUBLIC},
        {"127.0.0.1", MS_ADDR_LOOPBACK},
        {"127.255.255.255", MS_ADDR_LOOPBACK},
        {"169.254.169.254", MS_ADDR_LINK_LOCAL},
        {"172.15.255.255", MS_ADDR_PUBLIC},
        {"172.16.0.0", MS_ADDR_PRIVATE},
        {"172.31.255.255", MS_ADDR_PRIVATE},
        {"172.32.0.0", MS_ADDR_PUBLIC},
        {"192.168.56.1", MS_ADDR_PRIVATE},
        {"192.0.2.1", MS_ADDR_RESERVED},
        {"198.18.0.1", MS_ADDR_RESERVED},
        {"198.19.255.255", MS_ADDR_RESERVED},
        {"198.20.0.0", MS_ADDR_PUBLIC},
        {"203.0.113.9", MS_ADDR_RESERVED},
        {"224.0.0.1", MS_ADDR_MULTICAST},
        {"255.255.255.255", MS_ADDR_RESERVED},
        {"0.0.0.0", MS_ADDR_RESERVED},
        {"2606:50c0:8000::153", MS_ADDR_PUBLIC},
        {"2a00:1450:4001::1", MS_ADDR_PUBLIC},
        {"::1", MS_ADDR_LOOPBACK},
        {"::", MS_ADDR_RESERVED},
        {"::7f00:1", MS_ADDR_RESERVED},
        {"fe80::1", MS_ADDR_LINK_LOCAL},
        {"febf::1", MS_ADDR_LINK_LOCAL},
        {"fec0::1", MS_ADDR_PRIVATE},
        {"fc00::1", MS_ADDR_PRIVATE},
        {"fd12:3456::1", MS_ADDR_PRIVATE},
        {"ff02::1", MS_ADDR_MULTICAST},
        {"2001:db8::1", MS_ADDR_RESERVED},
        {"2001:0:1234::1", MS_ADDR_RESERVED},
        {"2001:200::1", MS_ADDR_PUBLIC},
        {"3fff::1", MS_ADDR_RESERVED},
        {"4000::1", MS_ADDR_RESERVED},
        {"::ffff:127.0.0.1", MS_ADDR_LOOPBACK},
        {"::ffff:10.1.2.3", MS_ADDR_PRIVATE},
        {"::ffff:8.8.8.8", MS_ADDR_PUBLIC},
        {"64:ff9b::a00:1", MS_ADDR_PRIVATE},
        {"64:ff9b::808:808", MS_ADDR_PUBLIC},
        {"64:ff9b:1::808:808", MS_ADDR_RESERVED},
        {"2002:7f00:1::1", MS_ADDR_LOOPBACK},
        {"2002:c0a8:101::1", MS_ADDR_PRIVATE},
        {"2002:808:808::1", MS_ADDR_PUBLIC},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (class_of(cases[i].text) != cases[i].kind)
            fail_msg("%s is %s, not %s", cases[i].text, ms_addr_class_name(cases[i].kind),
                     ms_addr_class_name(class_of(cases[i].text)));
    struct sockaddr local = {.sa_family = AF_UNIX};
    assert_int_equal(ms_addr_classify(&local, sizeof local), MS_ADDR_RESERVED);
    struct sockaddr_in cut = {.sin_family = AF_INET, .sin_addr = {htonl(0x08080808)}};
    assert_int_equal(ms_addr_classify((struct sockaddr *)&cut, 4), MS_ADDR_RESERVED);
}

static void encoding(void **state)
{
    struct ms_buf out;
    (void)state;
    ms_buf_init(&out, 64);
    assert_int_equal(ms_http_encode(&out, "a/b c%\xc3\xa9~-._", false), MS_OK);
    assert_string_equal(ms_buf_text(&out), "a%2Fb%20c%25%C3%A9~-._");
    ms_buf_clear(&out);
    assert_int_equal(ms_http_encode(&out, "a/b?#", true), MS_OK);
    assert_string_equal(ms_buf_text(&out), "a/b%3F%23");
    ms_buf_clear(&out);
    assert_int_equal(ms_http_encode(&out, "????????????????????????????????", false), MS_E_LIMIT);
    ms_buf_release(&out);
}

static void backoff(void **state)
{
    struct ms_rng rng;
    int64_t most = 0;
    (void)state;
    ms_rng_init(&rng, 1, 2, 3);
    for (int i = 0; i < 2000; i++) {
        int64_t first = ms_retry_backoff_ms(&rng, 1000, 120000, 1);
        int64_t third = ms_retry_backoff_ms(&rng, 1000, 120000, 3);
        int64_t late = ms_retry_backoff_ms(&rng, 1000, 120000, 4000000000u);
        assert_in_range(first, 0, 1000);
        assert_in_range(third, 0, 4000);
        assert_in_range(late, 0, 120000);
        most = third > most ? third : most;
    }
    assert_in_range(most, 3500, 4000); /* the range is used to its end */
    assert_int_equal(ms_retry_backoff_ms(&rng, 0, 120000, 9), 0);
}

static void retry_after(void **state)
{
    const int64_t now = 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */
    (void)state;
    assert_int_equal(ms_retry_after_ms("0", now), 0);
    assert_int_equal(ms_retry_after_ms("37", now), 37000);
    assert_int_equal(ms_retry_after_ms("99999999999999999999999", now), 31LL * 86400000);
    assert_int_equal(ms_retry_after_ms("Sun, 06 Nov 1994 08:49:57 GMT", now), 20000);
    assert_int_equal(ms_retry_after_ms("Sun, 06 Nov 1994 08:00:00 GMT", now), 0);
    assert_int_equal(ms_retry_after_ms("Sun, 06 Nov 2094 08:00:00 GMT", now), 31LL * 86400000);
    /* A year that libcurl's parser takes and no clock has. */
    assert_int_equal(ms_retry_after_ms("Sun888888886 Nov 4T", now), -1);
    static const char *const bad[] = {"", "-1", "1.5", "10 s", "soon", "Tomorrow", "0x10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ms_retry_after_ms(bad[i], now), -1);
}

/* ---- secrets ---- */

static void expect_secret(const char *spec, enum ms_status status, const char *text)
{
    struct ms_secret *secret = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_secret_read(spec, NULL, "MALSEQ_TEST_UNSET", "test key", &secret, &err),
                     status);
    if (status == MS_OK)
        assert_string_equal(ms_secret_value(secret), text);
    else
        assert_non_null(strstr(err.text, text));
    ms_secret_free(secret);
}

static void write_key(const char *path, const char *text, size_t n, unsigned mode)
{
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void secret_sources(void **state)
{
    char folder[] = "/tmp/malseq-secret-XXXXXX", path[64], spec[65];
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/key", folder);
    (void)snprintf(spec, sizeof spec, "@%s", path);
    write_key(path, "abc123\n", 7, 0600);
    expect_secret(spec, MS_OK, "abc123");
    write_key(path, "abc123\r\n", 8, 0400);
    expect_secret(spec, MS_OK, "abc123");
    write_key(path, "abc123\n", 7, 0644);
    expect_secret(spec, MS_E_USAGE, "chmod 600");
    write_key(path, "abc123\n", 7, 0620);
    expect_secret(spec, MS_E_USAGE, "open to others");
    write_key(path, "abc 123\n", 8, 0600);
    expect_secret(spec, MS_E_USAGE, "blank");
    write_key(path, "abc\0def", 7, 0600);
    expect_secret(spec, MS_E_USAGE, "NUL");
    write_key(path, "\n", 1, 0600);
    expect_secret(spec, MS_E_USAGE, "is empty");
    static char huge[5000];
    memset(huge, 'k', sizeof huge);
    write_key(path, huge, sizeof huge, 0600);
    expect_secret(spec, MS_E_USAGE, "too long");
    (void)unlink(path);
    expect_secret(spec, MS_E_USAGE, "cannot open");
    (void)snprintf(spec, sizeof spec, "@%s", folder);
    expect_secret(spec, MS_E_USAGE, "regular file");
    (void)rmdir(folder);

    unsetenv("MALSEQ_TEST_UNSET");
    expect_secret(NULL, MS_E_USAGE, "MALSEQ_TEST_UNSET is not set");
    setenv("MALSEQ_TEST_SECRET", "fromenv", 1);
    expect_secret("env:MALSEQ_TEST_SECRET", MS_OK, "fromenv");
    setenv("MALSEQ_TEST_SECRET", "", 1);
    expect_secret("env:MALSEQ_TEST_SECRET", MS_E_USAGE, "is empty");
}

static void secret_literals(void **state)
{
    char typed[] = "typedkey";
    struct ms_secret *secret = NULL;
    char print[9];
    (void)state;
    assert_int_equal(ms_secret_read(typed, typed, "NONE", "test key", &secret, NULL), MS_OK);
    assert_string_equal(typed, "********");
    assert_string_equal(ms_secret_value(secret), "typedkey");
    assert_string_equal(ms_secret_origin(secret), "");
    assert_int_equal(ms_secret_bind(secret, "https://www.virustotal.com/api/v3", NULL), MS_OK);
    assert_string_equal(ms_secret_origin(secret), "https://www.virustotal.com:443");
    ms_secret_fingerprint(secret, print); /* printf typedkey | sha256sum */
    assert_string_equal(print, "abdcc113");
    ms_secret_free(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),           cmocka_unit_test(locations),
        cmocka_unit_test(addresses),      cmocka_unit_test(encoding),
        cmocka_unit_test(backoff),        cmocka_unit_test(retry_after),
        cmocka_unit_test(secret_sources), cmocka_unit_test(secret_literals),
    };
    ms_log_init("test", MS_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
