/* base/http and base/secret: parsing, address classes, back-off, and whole exchanges with a small
 * loopback server that misbehaves on demand. No packet leaves the machine. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/http.h"
#include "base/http_addr.h"
#include "base/http_retry.h"
#include "base/http_url.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

/* ---- the server: one forked process, two ports, one connection at a time ---- */

enum { SEEN_BYTES = 1 << 16, SECRET_LINES = 4 };

struct shared {
    int requests; /* answered so far, both ports */
    int by_port[2];
    char last[2][SEEN_BYTES]; /* the last request's head and body on each port */
    size_t last_bytes[2];
};

static struct shared *shared;
static uint16_t ports[2];
static pid_t server;

static void send_all(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0)
            return;
        p += done;
        n -= (size_t)done;
    }
}

static void send_text(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

static size_t gzip_zeros(size_t plain_bytes, uint8_t *out, size_t cap)
{
    static uint8_t zeros[65536];
    z_stream z = {0};
    (void)deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
    z.next_out = out;
    z.avail_out = (uInt)cap;
    while (plain_bytes > 0) {
        size_t n = plain_bytes < sizeof zeros ? plain_bytes : sizeof zeros;
        z.next_in = zeros;
        z.avail_in = (uInt)n;
        (void)deflate(&z, plain_bytes == n ? Z_FINISH : Z_NO_FLUSH);
        plain_bytes -= n;
    }
    size_t used = cap - z.avail_out;
    (void)deflateEnd(&z);
    return used;
}

static void send_gzip(int fd, size_t plain_bytes, size_t cut)
{
    static uint8_t packed[1 << 20];
    size_t n = gzip_zeros(plain_bytes, packed, sizeof packed) - cut;
    char head[256];
    (void)snprintf(head, sizeof head,
                   "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", n);
    send_text(fd, head);
    send_all(fd, packed, n);
}

static void send_redirect(int fd, int code, const char *where)
{
    char head[512];
    (void)snprintf(head, sizeof head,
                   "HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", code, where);
    send_text(fd, head);
}

static void send_stream(int fd, size_t bytes)
{
    static char block[65536];
    send_text(fd, "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n");
    for (size_t sent = 0; sent < bytes; sent += sizeof block)
        send_all(fd, block, sizeof block);
}

static void answer(int fd, const char *path, int times)
{
    char url[256];
    if (strcmp(path, "/flaky") == 0 && times < 3)
        send_text(fd, "HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad");
    else if (strcmp(path, "/down") == 0)
        send_text(fd, "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    else if (strcmp(path, "/patience") == 0)
        send_text(fd, "HTTP/1.1 503 Busy\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n");
    else if (strcmp(path, "/limited") == 0)
        send_text(fd, "HTTP/1.1 429 Slow\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                      "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\nContent-Length: 0\r\n\r\n");
    else if (strcmp(path, "/hang") == 0)
        usleep(2500 * 1000);
    else if (strcmp(path, "/half") == 0)
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    else if (strcmp(path, "/close") == 0)
        ;
    else if (strcmp(path, "/html") == 0)
        send_text(fd, "HTTP/1.1 404 Not Found\r\nContent-Type: Text/HTML; charset=utf-8\r\n"
                      "X-Note: a\tb\r\nContent-Length: 9\r\n\r\n<h1>?</h1");
    else if (strcmp(path, "/garbage") == 0)
        send_text(fd, "\x01\x02\x03 this is no HTTP at all\r\n\r\n");
    else if (strcmp(path, "/headers") == 0) {
        send_text(fd, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 6000; i++)
            send_text(fd, "X-Padding: 0123456789012345678901234567890123456789012345678901\r\n");
        send_text(fd, "Content-Length: 0\r\n\r\n");
    } else if (strcmp(path, "/big") == 0)
        send_stream(fd, (size_t)4 << 20);
    else if (strcmp(path, "/gzip") == 0)
        send_gzip(fd, 100000, 0);
    else if (strcmp(path, "/bomb") == 0)
        send_gzip(fd, (size_t)256 << 20, 0);
    else if (strcmp(path, "/gzipcut") == 0)
        send_gzip(fd, 100000, 4);
    else if (strcmp(path, "/brotli") == 0)
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nxx");
    else if (strcmp(path, "/to-b") == 0 || strcmp(path, "/to-b-307") == 0) {
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", ports[1]);
        send_redirect(fd, path[5] ? 307 : 302, url);
    } else if (strcmp(path, "/to-metadata") == 0)
        send_redirect(fd, 302, "http://169.254.169.254/latest/meta-data/");
    else if (strcmp(path, "/to-file") == 0)
        send_redirect(fd, 302, "file:///etc/passwd");
    else if (strcmp(path, "/to-self") == 0)
        send_redirect(fd, 301, "ok?again=1");
    else if (strcmp(path, "/loop") == 0)
        send_redirect(fd, 302, "/loop");
    else if (strcmp(path, "/see-other") == 0)
        send_redirect(fd, 303, "/ok");
    else if (strcmp(path, "/old") == 0)
        send_text(fd, "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end");
    else if (strcmp(path, "/empty") == 0)
        send_text(fd, "HTTP/1.1 204 None\r\nContent-Encoding: gzip\r\n\r\n");
    else
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                      "\r\n{}");
}

static size_t body_length(const char *head)
{
    const char *line = strcasestr(head, "\r\ncontent-length:");
    return line ? (size_t)strtoul(line + 17, NULL, 10) : 0;
}

static void serve_one(int fd, int which)
{
    static char request[SEEN_BYTES];
    static int times[64];
    size_t n = 0, need = 0;
    struct timeval limit = {5, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while (n < sizeof request - 1) {
        ssize_t got = recv(fd, request + n, sizeof request - 1 - n, 0);
        if (got <= 0)
            return;
        n += (size_t)got;
        request[n] = '\0';
        char *end = strstr(request, "\r\n\r\n");
        if (end && !need)
            need = (size_t)(end + 4 - request) + body_length(request);
        if (need && n >= need)
            break;
    }
    char path[256] = "";
    (void)sscanf(request, "%*15s %255[^ ?]", path);
    unsigned slot = 0;
    for (const char *p = path; *p; p++)
        slot = (slot * 31 + (unsigned char)*p) % 64;
    memcpy(shared->last[which], request, n + 1);
    shared->last_bytes[which] = n;
    shared->by_port[which]++;
    shared->requests++;
    answer(fd, path, ++times[slot]);
}

static void serve(const int listeners[2])
{
    for (;;) {
        fd_set ready;
        FD_ZERO(&ready);
        FD_SET(listeners[0], &ready);
        FD_SET(listeners[1], &ready);
        int top = listeners[0] > listeners[1] ? listeners[0] : listeners[1];
        if (select(top + 1, &ready, NULL, NULL, NULL) < 0)
            _exit(1);
        for (int i = 0; i < 2; i++) {
            if (!FD_ISSET(listeners[i], &ready))
                continue;
            int fd = accept(listeners[i], NULL, NULL);
            if (fd < 0)
                continue;
            serve_one(fd, i);
            close(fd);
        }
    }
}

static int start_server(void **state)
{
    (void)state;
    int listeners[2];
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -1;
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        socklen_t n = sizeof address;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(listeners[i], (struct sockaddr *)&address, sizeof address) != 0 ||
            listen(listeners[i], 16) != 0 ||
            getsockname(listeners[i], (struct sockaddr *)&address, &n) != 0)
            return -1;
        ports[i] = ntohs(address.sin_port);
    }
    server = fork();
    if (server == 0) {
        alarm(120);
        serve(listeners);
    }
    close(listeners[0]);
    close(listeners[1]);
    return server > 0 ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    munmap(shared, sizeof *shared);
    return 0;
}

/* ---- the clock: sleeps are counted, not slept ---- */

static int64_t slept_ms, sleeps, longest_ms;

static int64_t fake_now(void *ctx)
{
    (void)ctx;
    return 1700000000000 + slept_ms;
}

static void fake_sleep(void *ctx, int64_t ms)
{
    (void)ctx;
    slept_ms += ms;
    sleeps++;
    longest_ms = ms > longest_ms ? ms : longest_ms;
}

static int use_fake_clock(void **state)
{
    static const struct ms_clock clock = {NULL, fake_now, fake_now, fake_sleep};
    (void)state;
    slept_ms = sleeps = longest_ms = 0;
    memset(shared->by_port, 0, sizeof shared->by_port);
    ms_clock_set(&clock);
    return 0;
}

static int use_real_clock(void **state)
{
    (void)state;
    ms_clock_set(NULL);
    return 0;
}

/* ---- helpers ---- */

static struct ms_http *client(bool trust_a, bool trust_b)
{
    struct ms_http *http = NULL;
    struct ms_http_options options = {
        .user_agent = "malseq-test", .stall_timeout_ms = 1000, .total_timeout_ms = 4000, .seed = 5};
    assert_int_equal(ms_http_new(&options, &http, NULL), MS_OK);
    for (int i = 0; i < 2; i++) {
        char url[64];
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", ports[i]);
        if (i == 0 ? trust_a : trust_b)
            assert_int_equal(ms_http_trust(http, url, false, NULL), MS_OK);
    }
    return http;
}

static char url_text[128];

static const char *url_of(int which, const char *path)
{
    (void)snprintf(url_text, sizeof url_text, "http://127.0.0.1:%u%s", ports[which], path);
    return url_text;
}

static enum ms_status get(struct ms_http *http, const char *path, struct ms_http_response *response,
                          struct ms_error *err)
{
    struct ms_http_request request = {.method = "GET",
                                      .url = url_of(0, path),
                                      .idempotent = true,
                                      .follow_redirects = true,
                                      .ask_gzip = true,
                                      .max_body_bytes = 1 << 20};
    return ms_http_perform(http, &request, response, err);
}

/* One GET that must end in `status` after `requests` requests, with `text` in the error. */
static void expect_fault(const char *path, enum ms_status status, int requests, const char *text)
{
    struct ms_http *http = client(true, false);
    struct ms_http_response response;
    struct ms_error err = {0};
    ms_http_response_init(&response);
    assert_int_equal(get(http, path, &response, &err), status);
    assert_int_equal(err.status, status);
    assert_non_null(strstr(err.text, text));
    assert_int_equal(shared->by_port[0], requests);
    assert_int_equal(sleeps, requests - 1);
    ms_http_response_release(&response);
    ms_http_free(http);
}

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
    static const char *const bad[] = {"", "-1", "1.5", "10 s", "soon", "Tomorrow", "0x10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ms_retry_after_ms(bad[i], now), -1);
}

/* ---- exchanges ---- */

static void transient_then_fine(void **state)
{
    struct ms_http *http = client(true, false);
    struct ms_http_response response;
    (void)state;
    ms_http_response_init(&response);
    assert_int_equal(get(http, "/flaky", &response, NULL), MS_OK);
    assert_int_equal(response.status, 200);
    assert_int_equal(response.attempts, 3);
    assert_string_equal(ms_buf_text(&response.body), "{}"); /* nothing of the 500s is left */
    assert_string_equal(response.content_type, "application/json");
    assert_int_equal(shared->by_port[0], 3);
    assert_int_equal(sleeps, 2);
    assert_in_range(slept_ms, 0, 3000);

    /* A request that may not be repeated is not. */
    struct ms_http_request post = {
        .method = "POST", .url = url_of(0, "/down"), .body = "x", .body_bytes = 1};
    assert_int_equal(ms_http_perform(http, &post, &response, NULL), MS_OK);
    assert_int_equal(response.status, 503);
    assert_int_equal(shared->by_port[0], 4);
    ms_http_response_release(&response);
    ms_http_free(http);
}

static void retry_after_is_obeyed(void **state)
{
    struct ms_http *http = client(true, false);
    struct ms_http_response response;
    (void)state;
    ms_http_response_init(&response);
    assert_int_equal(get(http, "/down", &response, NULL), MS_OK);
    assert_int_equal(response.status, 503);
    assert_int_equal(response.retry_after_ms, 7000);
    assert_int_equal(shared->by_port[0], 5);
    assert_int_equal(sleeps, 4);
    assert_true(slept_ms >= 4 * 7000);

    /* More patience than the cap: the caller is told at once. */
    assert_int_equal(get(http, "/patience", &response, NULL), MS_OK);
    assert_int_equal(shared->by_port[0], 6);
    assert_int_equal(response.retry_after_ms, 86400000);

    /* 429 is the caller's affair; the date is read against the server's own clock. */
    assert_int_equal(get(http, "/limited", &response, NULL), MS_OK);
    assert_int_equal(response.status, 429);
    assert_int_equal(response.retry_after_ms, 60000);
    assert_int_equal(shared->by_port[0], 7);
    ms_http_response_release(&response);
    ms_http_free(http);
}

static void faults(void **state)
{
    static const struct {
        const char *path, *text;
        enum ms_status status;
        int requests;
    } cases[] = {
        {"/half", "before the answer was complete", MS_E_REMOTE, 5},
        {"/close", "without an answer", MS_E_REMOTE, 5},
        {"/garbage", "not HTTP", MS_E_REMOTE, 5},
        {"/gzipcut", "ends early", MS_E_REMOTE, 5},
        {"/headers", "bytes of headers", MS_E_REMOTE, 5},
        {"/brotli", "content encoding", MS_E_REMOTE, 5},
        {"/big", "larger than 1048576 bytes", MS_E_LIMIT, 1},
        {"/bomb", "larger than 1048576 bytes", MS_E_LIMIT, 1},
        {"/to-metadata", "link-local address 169.254.169.254", MS_REJECT, 1},
        {"/to-file", "redirected", MS_REJECT, 1},
        {"/loop", "more than 5 redirects", MS_E_REMOTE, 6},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        use_fake_clock(NULL);
        if (strcmp(cases[i].path, "/loop") == 0)
            sleeps = 5; /* six requests of one attempt */
        expect_fault(cases[i].path, cases[i].status, cases[i].requests, cases[i].text);
    }
}

static void hang(void **state)
{
    struct ms_http *http = client(true, false);
    struct ms_http_response response;
    struct ms_error err = {0};
    struct ms_http_request request = {
        .method = "GET", .url = url_of(0, "/hang"), .idempotent = true, .max_attempts = 1};
    (void)state;
    ms_http_response_init(&response);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_E_REMOTE);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(after.tv_sec - before.tv_sec < 4);
    assert_int_equal(shared->by_port[0], 1);
    ms_http_response_release(&response);
    ms_http_free(http);
}

static void nobody_listens(void **state)
{
    struct ms_http *http = client(false, false);
    struct ms_http_response response;
    struct ms_error err = {0};
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t n = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    char url[64];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", ntohs(address.sin_port));
    /* Nothing goes out, so even a POST may be tried again. */
    struct ms_http_request request = {.method = "POST",
                                      .url = url,
                                      .body = "x",
                                      .body_bytes = 1,
                                      .peer = MS_HTTP_PEER_NAMED,
                                      .max_attempts = 3};
    ms_http_response_init(&response);
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_E_REMOTE);
    assert_int_equal(response.attempts, 3);
    assert_int_equal(sleeps, 2);
    close(fd);
    ms_http_response_release(&response);
    ms_http_free(http);
}

static void bodies(void **state)
{
    struct ms_http *http = client(true, false);
    struct ms_http_response response;
    char value[32];
    (void)state;
    ms_http_response_init(&response);
    assert_int_equal(get(http, "/html", &response, NULL), MS_OK);
    assert_int_equal(response.status, 404);
    assert_string_equal(response.content_type, "text/html");
    assert_true(ms_http_header(&response, "x-note", value, sizeof value));
    assert_string_equal(value, "a b");
    assert_false(ms_http_header(&response, "x-not", value, sizeof value));
    assert_int_equal(response.body.len, 9);
    assert_non_null(strstr(shared->last[0], "Accept-Encoding: gzip\r\n"));
    assert_null(strcasestr(shared->last[0], "expect:"));

    assert_int_equal(get(http, "/gzip", &response, NULL), MS_OK);
    assert_int_equal(response.body.len, 100000);
    assert_int_equal(get(http, "/old", &response, NULL), MS_OK);
    assert_string_equal(ms_buf_text(&response.body), "until the end");
    assert_int_equal(get(http, "/empty", &response, NULL), MS_OK);
    assert_int_equal(response.status, 204);
    assert_int_equal(response.body.len, 0);

    /* To a file: what an earlier attempt left there is gone. */
    int fd = -1;
    assert_int_equal(ms_file_memory("sink", &fd, NULL), MS_OK);
    assert_int_equal(write(fd, "leftover", 8), 8);
    struct ms_http_request request = {.method = "GET",
                                      .url = url_of(0, "/big"),
                                      .idempotent = true,
                                      .sink_fd = fd,
                                      .max_body_bytes = 1 << 30};
    assert_int_equal(ms_http_perform(http, &request, &response, NULL), MS_OK);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 4 << 20);
    assert_int_equal(response.body_bytes, 4 << 20);
    assert_int_equal(response.body.len, 0);
    /* An error's body goes to memory. */
    request.url = url_of(0, "/html");
    assert_int_equal(ms_http_perform(http, &request, &response, NULL), MS_OK);
    assert_int_equal(response.body.len, 9);
    close(fd);
    ms_http_response_release(&response);
    ms_http_free(http);
}

static void uploads(void **state)
{
    struct ms_http *http = client(true, true);
    struct ms_http_response response;
    struct ms_error err = {0};
    int fd = -1;
    (void)state;
    ms_http_response_init(&response);
    assert_int_equal(ms_file_memory("sample", &fd, NULL), MS_OK);
    assert_int_equal(write(fd, "MZ\0sample", 9), 9);
    struct ms_http_part parts[] = {{.name = "timeout", .value = "60"},
                                   {.name = "file", .fd = fd, .fd_bytes = 9, .filename = "s.exe"}};
    struct ms_http_request request = {.method = "POST",
                                      .url = url_of(0, "/ok"),
                                      .parts = parts,
                                      .part_count = 2,
                                      .follow_redirects = true};
    assert_int_equal(ms_http_perform(http, &request, &response, NULL), MS_OK);
    const char *seen = shared->last[0];
    assert_non_null(memmem(seen, shared->last_bytes[0], "MZ\0sample\r\n", 11));
    assert_non_null(strstr(seen, "filename=\"s.exe\""));
    assert_non_null(strstr(seen, "Content-Type: application/octet-stream"));
    /* A file shorter than it was said to be is never sent as if it were whole. */
    parts[1].fd_bytes = 20;
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_E_IO);
    parts[1].fd_bytes = 9;
    /* A sample goes to no other server, even a trusted one, because the first one says so. */
    request.url = url_of(0, "/to-b-307");
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_REJECT);
    assert_int_equal(shared->by_port[1], 0);
    /* 302 on a POST is the caller's; 303 becomes GET. */
    request.url = url_of(0, "/to-b");
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_OK);
    assert_int_equal(response.status, 302);
    request.url = url_of(0, "/see-other");
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_OK);
    assert_int_equal(response.status, 200);
    assert_int_equal(strncmp(shared->last[0], "GET /ok ", 8), 0);
    close(fd);
    ms_http_response_release(&response);
    ms_http_free(http);
}

static struct ms_secret *secret_for(int which)
{
    struct ms_secret *secret = NULL;
    setenv("MALSEQ_TEST_SECRET", "hunter2hunter2", 1);
    assert_int_equal(ms_secret_read(NULL, NULL, "MALSEQ_TEST_SECRET", "test key", &secret, NULL),
                     MS_OK);
    assert_int_equal(ms_secret_bind(secret, url_of(which, "/"), NULL), MS_OK);
    return secret;
}

static void secrets_stay_home(void **state)
{
    struct ms_http *http = client(true, true);
    struct ms_http_response response;
    struct ms_secret *secret = secret_for(0);
    static const char *const headers[] = {"Accept: text/plain", "X-Private: diary",
                                          "Authorization: RemoteAuth abc"};
    struct ms_http_request request = {.method = "GET",
                                      .url = url_of(0, "/to-b"),
                                      .headers = headers,
                                      .header_count = 3,
                                      .secret = secret,
                                      .secret_header = "Authorization: Bearer ",
                                      .follow_redirects = true,
                                      .idempotent = true};
    (void)state;
    ms_http_response_init(&response);
    assert_int_equal(ms_http_perform(http, &request, &response, NULL), MS_OK);
    assert_true(response.redirected);
    assert_non_null(strstr(shared->last[0], "Authorization: Bearer hunter2hunter2\r\n"));
    assert_non_null(strstr(shared->last[0], "X-Private: diary\r\n"));
    assert_non_null(strstr(shared->last[1], "GET /ok "));
    assert_non_null(strstr(shared->last[1], "Accept: text/plain\r\n"));
    assert_null(strstr(shared->last[1], "hunter2"));
    assert_null(strstr(shared->last[1], "diary"));
    assert_null(strcasestr(shared->last[1], "authorization"));
    char expected[64];
    (void)snprintf(expected, sizeof expected, "http://127.0.0.1:%u/ok", ports[1]);
    assert_string_equal(response.final_url, expected);

    /* Straight to another origin: not sent either. */
    request.header_count = 0;
    request.url = url_of(1, "/ok");
    assert_int_equal(ms_http_perform(http, &request, &response, NULL), MS_OK);
    assert_null(strstr(shared->last[1], "hunter2"));
    /* On the same origin it follows. */
    request.url = url_of(0, "/to-self");
    assert_int_equal(ms_http_perform(http, &request, &response, NULL), MS_OK);
    assert_non_null(strstr(shared->last[0], "GET /ok?again=1 "));
    assert_non_null(strstr(shared->last[0], "hunter2hunter2"));
    ms_http_response_release(&response);
    ms_secret_free(secret);
    ms_http_free(http);
}

static void peers(void **state)
{
    struct ms_http *http = client(false, false);
    struct ms_http_response response;
    struct ms_error err = {0};
    struct ms_http_request request = {
        .method = "GET", .url = url_of(0, "/ok"), .idempotent = true, .follow_redirects = true};
    (void)state;
    ms_http_response_init(&response);
    /* From outside: no. */
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_REJECT);
    assert_non_null(strstr(err.text, "loopback address 127.0.0.1"));
    request.url = "http://localhost.:1/";
    assert_int_equal(ms_http_perform(http, &request, &response, &err) == MS_OK, false);
    assert_int_equal(shared->by_port[0], 0);
    /* Typed by the user: yes; and a connection made that way does not serve the other rule. */
    request.url = url_of(0, "/ok");
    request.peer = MS_HTTP_PEER_NAMED;
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_OK);
    request.peer = MS_HTTP_PEER_PUBLIC;
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_REJECT);
    /* A redirect is from outside even when the first URL was typed. */
    request.peer = MS_HTTP_PEER_NAMED;
    request.url = url_of(0, "/to-b");
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_REJECT);
    assert_int_equal(shared->by_port[1], 0);
    /* A proxy in the environment is not used for loopback, nor for URLs from outside. */
    setenv("http_proxy", url_of(1, "/"), 1);
    request.url = url_of(0, "/ok");
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_OK);
    request.peer = MS_HTTP_PEER_PUBLIC;
    request.url = "http://10.255.255.1:9/";
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_REJECT);
    assert_int_equal(shared->by_port[1], 0);
    /* But it is for a host the user named. */
    request.peer = MS_HTTP_PEER_NAMED;
    request.url = "http://sandbox.example/ok";
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_OK);
    assert_int_equal(strncmp(shared->last[1], "GET http://sandbox.example/ok ", 30), 0);
    unsetenv("http_proxy");
    /* http is trusted on loopback alone. */
    assert_int_equal(ms_http_trust(http, "http://www.virustotal.com", false, &err), MS_E_USAGE);
    assert_int_equal(ms_http_trust(http, "http://sandbox.example", true, &err), MS_OK);
    assert_int_equal(ms_http_trust(http, "https://www.virustotal.com", false, &err), MS_OK);
    /* Malformed: the user's mistake, or a bad record. */
    request.url = "nonsense";
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_E_USAGE);
    request.peer = MS_HTTP_PEER_PUBLIC;
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_REJECT);
    static const char *const split[] = {"X-A: b\r\nX-C: d"};
    request.url = url_of(0, "/ok");
    request.headers = split;
    request.header_count = 1;
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_REJECT);
    ms_http_response_release(&response);
    ms_http_free(http);
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
        cmocka_unit_test(urls),
        cmocka_unit_test(locations),
        cmocka_unit_test(addresses),
        cmocka_unit_test(encoding),
        cmocka_unit_test(backoff),
        cmocka_unit_test(retry_after),
        cmocka_unit_test_setup_teardown(transient_then_fine, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(retry_after_is_obeyed, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(faults, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(hang, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(nobody_listens, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(bodies, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(uploads, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(secrets_stay_home, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(peers, use_fake_clock, use_real_clock),
        cmocka_unit_test(secret_sources),
        cmocka_unit_test(secret_literals),
    };
    ms_log_init("test", MS_LOG_ERROR);
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
