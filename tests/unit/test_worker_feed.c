/* The worker's pair of children, one feeding the other: how each end of either is reported, and
 * that neither is left behind. What a single child may do: test_worker.c. */
#define _GNU_SOURCE
#include "base/worker.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- jobs ----------------------------------------------------------------------------------- */

static enum ms_status abort_at_once(void)
{
    abort();
}

static enum ms_status leave(void)
{
    _exit(3);
}

static enum ms_status wait_for_ever(void)
{
    static int word;
    while (syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0) != 1) /* nobody wakes it */
        ;
    return MS_OK;
}

static enum ms_status spin(void)
{
    for (volatile unsigned n = 1; n; n |= 1)
        ;
    return MS_OK;
}

static enum ms_status flood(struct ms_worker_out *out)
{
    static uint8_t block[65536];
    while (ms_worker_emit(out, 1, block, sizeof block) == MS_OK)
        ;
    return MS_E_IO;
}

/* Past ms_worker_emit, straight into the pipe, and no end behind it. */
static enum ms_status send_raw(const uint8_t *bytes, size_t n)
{
    struct stat st;
    for (int i = 3; i < 16; i++)
        if (fstat(i, &st) == 0 && S_ISFIFO(st.st_mode) && write(i, bytes, n) == (ssize_t)n)
            break;
    _exit(0);
}

/* Eighty blocks by way of the shared memory, which has room for fewer; no two are alike, so that
 * one that is filled anew before it was read shows. */
static enum ms_status feed_blocks(struct ms_worker_out *out)
{
    enum { BLOCKS = 80, BLOCK_BYTES = 50001 };
    for (size_t at = 0; at < (size_t)BLOCKS * BLOCK_BYTES; at += BLOCK_BYTES) {
        uint8_t *room = ms_worker_feed_room();
        for (size_t i = 0; i < BLOCK_BYTES; i++)
            room[i] = (uint8_t)((at + i) % 100000 % 251);
        if (ms_worker_feed_send(out, BLOCK_BYTES) != MS_OK)
            return MS_E_IO;
    }
    return ms_worker_feed_send(out, MS_WORKER_FEED_BYTES + 1) == MS_E_BUG ? MS_OK : MS_E_BUG;
}

/* A frame that says of its block that it has four gigabytes. */
static enum ms_status feed_too_large(struct ms_worker_out *out)
{
    static uint8_t page[4088];
    memset(page, 0xff, sizeof page);
    return ms_worker_emit(out, 65537, page, sizeof page);
}

/* Feeds: how is told by the first byte of the input; one that cannot be read: without end. */
static enum ms_status job_feed(int fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    static uint8_t block[100000];
    uint8_t text[64] = {0};
    ssize_t n = read(fd, text, sizeof text);
    char how = n > 0 ? (char)text[0] : 's';
    if (arg.len)
        return ms_error_set(err, MS_E_BUG, "an argument");
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(i % 251);
    if (how == 'f')
        return flood(out);
    if (how == 'R')
        return feed_blocks(out);
    if (how == 'O')
        return feed_too_large(out);
    for (int i = 0; i < 3 && how != 'z'; i++)
        if (ms_worker_emit(out, 1, block, i == 1 ? 0 : sizeof block) != MS_OK)
            return MS_E_IO;
    switch (how) {
    case 'r':
        return ms_error_set(err, MS_REJECT, "torn");
    case 'l':
        return ms_error_set(err, MS_E_LIMIT, "too much");
    case 'b':
        return ms_error_set(err, MS_E_BUG, "mine");
    case 'c':
        return abort_at_once();
    case 'q':
        return leave();
    case 's':
        return wait_for_ever();
    case 'p':
        return spin();
    case 'x':
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        return MS_OK;
    case 'm':
        return send_raw(text + 1, (size_t)n - 1);
    default:
        return MS_OK;
    }
}

/* Reads what is fed, by pieces that fit no frame, and answers with how much it was; the argument
 * makes it end, die or wait after the first piece. */
static enum ms_status job_gather(int fd, struct ms_span arg, struct ms_worker_out *out,
                                 struct ms_error *err)
{
    static uint8_t piece[33333];
    struct ms_worker_feed feed;
    uint64_t total = 0;
    size_t n = 1;
    enum ms_status status = MS_OK;
    ms_worker_feed_init(&feed, fd, (uint64_t)4 << 20);
    while (status == MS_OK && n) {
        status = ms_worker_feed_read(&feed, piece, sizeof piece, &n, err);
        for (size_t i = 0; i < n; i++)
            if (piece[i] != (total + i) % 100000 % 251 && !arg.len)
                return ms_error_set(err, MS_E_BUG, "other bytes than were fed");
        total += n;
        if (arg.len && arg.data[0] == 'e')
            break;
        if (arg.len && arg.data[0] == 'w') {
            uintptr_t page = (uintptr_t)feed.block & ~(uintptr_t)4095;
            bool writable = mprotect((void *)page, 4096, PROT_READ | PROT_WRITE) == 0;
            *(volatile uint8_t *)page = 1; /* kills */
            return ms_error_set(err, MS_E_BUG, "the feeder's blocks are writable (%d)", writable);
        }
        if (arg.len && arg.data[0] == 'c')
            return abort_at_once();
        if (arg.len && arg.data[0] == 's')
            return wait_for_ever();
    }
    enum ms_status again = status == MS_OK ? MS_OK : ms_worker_feed_read(&feed, piece, 1, &n, err);
    if (again != status)
        return ms_error_set(err, MS_E_BUG, "it failed only once");
    return ms_worker_emit(out, 3, &total, sizeof total) == MS_OK ? status : MS_E_IO;
}

static enum ms_status job_echo(int fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    (void)fd, (void)err;
    return ms_worker_emit(out, 1, arg.data, arg.len);
}

static const struct ms_worker_kind kinds[] = {
    {"feed", job_feed, NULL}, {"gather", job_gather, NULL}, {"echo", job_echo, NULL}};

/* ---- harness -------------------------------------------------------------------------------- */

static struct ms_worker *worker;

static int start(void **state)
{
    (void)state;
    static const struct ms_worker_options options = {kinds, sizeof kinds / sizeof *kinds, false};
    struct ms_error err;
    if (ms_worker_start(&options, &worker, &err) == MS_OK)
        return 0;
    print_error("%s\n", err.text);
    return 1;
}

static int stop(void **state)
{
    (void)state;
    ms_worker_stop(worker);
    return 0;
}

struct seen {
    size_t count;
    char text[64];
};

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)type, (void)err;
    seen->count++;
    memcpy(seen->text, bytes.data, bytes.len < sizeof seen->text ? bytes.len : sizeof seen->text);
    return MS_OK;
}

static int64_t clock_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void assert_alive(void)
{
    struct seen seen = {0};
    struct ms_worker_result result;
    assert_int_equal(ms_worker_run(worker, "echo", -1, ms_span_of("hello", 5), NULL, on_frame,
                                   &seen, &result, NULL),
                     MS_OK);
    assert_int_equal(result.end, MS_WORKER_DONE);
    assert_string_equal(seen.text, "hello");
}

/* ---- tests ---------------------------------------------------------------------------------- */

/* Both children over an input that says how to feed; what was gathered is *total. */
static struct ms_worker_result run_fed(const char *how, size_t n, const char *arg,
                                       const struct ms_worker_limits *limits, uint64_t *total)
{
    struct ms_worker_result result;
    struct ms_error err = {MS_OK, 0, ""};
    struct seen seen = {0};
    int fd = memfd_create("input", MFD_CLOEXEC);
    assert_int_equal(write(fd, how, n), (ssize_t)n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    enum ms_status status =
        ms_worker_run_fed(worker, "gather", "feed", fd, ms_span_of(arg, strlen(arg)), limits,
                          on_frame, &seen, &result, &err);
    if (status != MS_OK)
        print_error("%s\n", err.text);
    assert_int_equal(status, MS_OK);
    *total = 0;
    if (seen.count)
        memcpy(total, seen.text, sizeof *total);
    close(fd);
    return result;
}

static void test_feeder_ends(void **state)
{
    (void)state;
    static const struct {
        char how[12];
        size_t n;
        enum ms_status status;
        const char *text;
        uint64_t total;
    } cases[] = {
        {"o", 1, MS_OK, "", 200000},
        {"z", 1, MS_OK, "", 0},
        {"R", 1, MS_OK, "", 4000080},
        {"O", 1, MS_REJECT, "the feeding process sent a malformed frame", 0},
        {"m\1\0\1\0\4\0\0\0x", 10, MS_REJECT, "the feeding process sent a malformed frame", 200000},
        {"r", 1, MS_REJECT, "torn", 200000},
        {"l", 1, MS_E_LIMIT, "too much", 200000},
        {"b", 1, MS_REJECT, "mine", 200000}, /* a bug of what was fed is no bug of the reader */
        {"q", 1, MS_REJECT, "the feeding process broke off", 200000},
        {"m\1\0\2\0\1\0\0\0x", 10, MS_REJECT, "the feeding process sent a malformed frame", 200000},
        {"m\1\0\0\0\xff\xff\xff\xff", 9, MS_REJECT, "the feeding process sent a malformed frame",
         200000},
        {"m\0\0\1\0\1\0\0\0x", 10, MS_REJECT, "the feeding process sent a malformed end", 200000},
        {"m\0\0\1\0\0\0\1\0x", 10, MS_REJECT, "the feeding process sent a malformed end", 200000},
        {"f", 1, MS_E_LIMIT, "more than 4194304 bytes", (uint64_t)4 << 20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t total;
        struct ms_worker_result result =
            run_fed(cases[i].how, cases[i].n, cases[i].how[0] == 'f' ? "f" : "", NULL, &total);
        assert_string_equal(result.error.text, cases[i].text);
        assert_int_equal(result.end, MS_WORKER_DONE);
        assert_int_equal(result.status, cases[i].status);
        assert_int_equal(total, cases[i].total);
    }
    assert_alive();
}

static void test_feeder_deaths(void **state)
{
    (void)state;
    const struct ms_worker_limits limits = {.cpu_s = 1};
    uint64_t total;
    struct ms_worker_result result = run_fed("c", 1, "", NULL, &total);
    assert_int_equal(result.end, MS_WORKER_CRASHED);
    assert_int_equal(result.signal, SIGABRT);
    assert_string_equal(result.error.text, "worker: feeder: killed by signal 6 (SIGABRT)");
    result = run_fed("x", 1, "", NULL, &total);
    assert_int_equal(result.end, MS_WORKER_CRASHED);
    assert_int_equal(result.signal, SIGSYS);
    result = run_fed("p", 1, "", &limits, &total);
    assert_int_equal(result.end, MS_WORKER_CPU);
    assert_non_null(strstr(result.error.text, "feeder: more than 1 s"));
    result = run_fed("o", 1, "c", NULL, &total);
    assert_int_equal(result.end, MS_WORKER_CRASHED);
    assert_string_equal(result.error.text, "worker: killed by signal 6 (SIGABRT)");
    result = run_fed("R", 1, "w", NULL, &total);
    assert_int_equal(result.end, MS_WORKER_CRASHED);
    assert_alive();
}

/* A reader that needs no more, and time-outs of each: both children are gone soon after. */
static void test_feeder_is_not_left_behind(void **state)
{
    (void)state;
    static const struct {
        const char *arg;
        uint32_t wall_ms;
        enum ms_worker_end end;
        bool floods; /* else it waits for ever */
    } cases[] = {{"e", 0, MS_WORKER_DONE, true},
                 {"e", 0, MS_WORKER_DONE, false},
                 {"s", 300, MS_WORKER_TIMEOUT, true},
                 {"s", 300, MS_WORKER_TIMEOUT, false},
                 {"", 300, MS_WORKER_TIMEOUT, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct ms_worker_limits limits = {.wall_ms = cases[i].wall_ms};
        struct ms_worker_result result;
        struct ms_error err;
        struct seen seen = {0};
        int held[2];
        char byte;
        /* A socket is held as long as a child has it, and can say how to feed. */
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, held), 0);
        assert_int_equal(write(held[0], cases[i].floods ? "f" : "s", 1), 1);
        int64_t before = clock_ms();
        assert_int_equal(ms_worker_run_fed(worker, "gather", "feed", held[1],
                                           ms_span_of(cases[i].arg, strlen(cases[i].arg)), &limits,
                                           on_frame, &seen, &result, &err),
                         MS_OK);
        assert_int_equal(result.end, cases[i].end);
        close(held[1]);
        assert_int_equal(read(held[0], &byte, 1), 0);
        assert_in_range(clock_ms() - before, 0, cases[i].floods || cases[i].wall_ms ? 1900 : 6000);
        close(held[0]);
    }
    assert_alive();
}

static void test_unknown_jobs(void **state)
{
    (void)state;
    struct ms_worker_result result;
    struct ms_error err;
    static const char *const pairs[][2] = {{"gather", "nope"}, {"nope", "feed"}};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(ms_worker_run_fed(worker, pairs[i][0], pairs[i][1], 0, ms_span_of("", 0),
                                           NULL, NULL, NULL, &result, &err),
                         MS_E_BUG);
        assert_string_equal(err.text, "unknown worker job 'nope'");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feeder_ends), cmocka_unit_test(test_feeder_deaths),
        cmocka_unit_test(test_feeder_is_not_left_behind), cmocka_unit_test(test_unknown_jobs)};
    return cmocka_run_group_tests(tests, start, stop);
}
