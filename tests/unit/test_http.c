/* base/http: whole exchanges with a small loopback server that misbehaves on demand. No packet
 * leaves the machine. URLs, addresses, back-off and secrets: test_http_parse.c. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/http.h"
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

static uint8_t small_gzip[4096], bomb_gzip[1 << 17];
static size_t small_bytes, bomb_bytes;

static void send_gzip(int fd, const uint8_t *packed, size_t n)
{
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
        usleep(2000 * 1000);
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
        send_gzip(fd, small_gzip, small_bytes);
    else if (strcmp(path, "/bomb") == 0)
        send_gzip(fd, bomb_gzip, bomb_bytes);
    else if (strcmp(path, "/gzipcut") == 0)
        send_gzip(fd, small_gzip, small_bytes - 4);
    else if (strcmp(path, "/brotli") == 0)
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nxx");
    else if (strcmp(path, "/to-b") == 0 || strcmp(path, "/to-b-307") == 0) {
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", ports[1]);
        send_redirect(fd, path[5] ? 307 : 302, url);
    } else if (strcmp(path, "/to-metadata") == 0)
        send_redirect(fd, 302, "http://169.254.169.254/latest/meta-data/");
    else if (strcmp(path, "/to-file") == 0)
        send_redirect(fd, 302, "file:///etc/passwd");
    else if (strcmp(path, "/to-endless") == 0) {
        static char endless[10000];
        memset(endless, 'a', sizeof endless - 1);
        send_text(fd, "HTTP/1.1 302 Moved\r\nContent-Length: 0\r\nLocation: /");
        send_text(fd, endless);
        send_text(fd, "\r\n\r\n");
    } else if (strcmp(path, "/to-self") == 0)
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
    small_bytes = gzip_zeros(100000, small_gzip, sizeof small_gzip);
    bomb_bytes = gzip_zeros((size_t)64 << 20, bomb_gzip, sizeof bomb_gzip);
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
    struct ms_http_options options = {.user_agent = "malseq-test",
                                      .stall_timeout_ms = 20000,
                                      .total_timeout_ms = 40000,
                                      .seed = 5};
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
        {"/to-endless", "too long", MS_REJECT, 1},
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

/* A server that takes the request and says nothing: ended by the attempt's time, or by the stall.
 */
static void hang(void **state)
{
    const struct ms_http_options options = {.user_agent = "malseq-test", .stall_timeout_ms = 1000};
    struct ms_http *http = NULL;
    struct ms_http_response response;
    struct ms_error err = {0};
    struct ms_http_request request = {.method = "GET",
                                      .url = url_of(0, "/hang"),
                                      .peer = MS_HTTP_PEER_NAMED,
                                      .idempotent = true,
                                      .max_attempts = 1,
                                      .total_timeout_ms = 300};
    (void)state;
    ms_http_response_init(&response);
    assert_int_equal(ms_http_new(&options, &http, NULL), MS_OK);
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_E_REMOTE);
    assert_non_null(strstr(err.text, "timed out after ")); /* a busy machine counts on */
    request.total_timeout_ms = 60000;
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_E_REMOTE);
    assert_non_null(strstr(err.text, "too slow"));
    /* A request may ask for more patience than the handle has. */
    request.stall_timeout_ms = 20000;
    request.total_timeout_ms = 2500;
    assert_int_equal(ms_http_perform(http, &request, &response, &err), MS_E_REMOTE);
    assert_non_null(strstr(err.text, "timed out after "));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(transient_then_fine, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(retry_after_is_obeyed, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(faults, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(hang, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(nobody_listens, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(bodies, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(uploads, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(secrets_stay_home, use_fake_clock, use_real_clock),
        cmocka_unit_test_setup_teardown(peers, use_fake_clock, use_real_clock),
    };
    ms_log_init("test", MS_LOG_ERROR);
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
