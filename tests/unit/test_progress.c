/* Unit tests of base/progress and the log: what reaches stderr, and what never does. */
#define _GNU_SOURCE /* posix_openpt, F_SETPIPE_SZ */
#include "base/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

static int64_t now_ms;

static int64_t read_now(void *ctx)
{
    (void)ctx;
    return now_ms;
}

static void no_sleep(void *ctx, int64_t ms)
{
    (void)ctx;
    now_ms += ms;
}

/* Runs `play` with stderr going to a file in memory or a pseudo-terminal; gives what was written.
 */
static const char *capture(bool terminal, void (*play)(void))
{
    static char text[8192];
    const struct ms_clock clock = {NULL, read_now, read_now, no_sleep};
    int other = -1, fd;
    if (terminal) {
        other = posix_openpt(O_RDWR | O_NOCTTY);
        assert_true(other >= 0 && grantpt(other) == 0 && unlockpt(other) == 0);
        fd = open(ptsname(other), O_RDWR | O_NOCTTY);
        struct termios mode;
        assert_int_equal(tcgetattr(fd, &mode), 0);
        mode.c_oflag &= ~(tcflag_t)OPOST;
        assert_int_equal(tcsetattr(fd, TCSANOW, &mode), 0);
    } else {
        fd = memfd_create("stderr", 0);
    }
    assert_true(fd >= 0);
    int saved = dup(STDERR_FILENO);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    now_ms = 1000000;
    ms_clock_set(&clock);
    ms_log_init("tool", MS_LOG_INFO);
    play();
    ms_clock_set(NULL);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    ssize_t n = terminal ? 0 : pread(fd, text, sizeof text - 1, 0);
    close(fd);
    /* The other end gives what was written piece by piece, then EIO. */
    for (ssize_t got = terminal; got > 0; n += got > 0 ? got : 0)
        got = read(other, text + n, sizeof text - 1 - (size_t)n);
    text[n > 0 ? n : 0] = '\0';
    if (other >= 0)
        close(other);
    return text;
}

static void one_line(enum ms_progress_mode mode)
{
    ms_progress_init(mode);
    ms_progress_begin("importing reports", 200, "reports");
    now_ms += 2000;
    ms_progress_note("at \x1b[2J%s", "x");
    ms_progress_update(50);
    now_ms += 10;
    ms_progress_update(51);
    ms_log(MS_LOG_WARNING, "cannot open '%s'", "a\x1b\xe2\x80\xae");
    now_ms += 7990;
    ms_progress_update(200);
    ms_progress_end();
    ms_progress_update(7);
    ms_progress_end();
}

static void play_always(void)
{
    one_line(MS_PROGRESS_ALWAYS);
}

static void play_auto(void)
{
    one_line(MS_PROGRESS_AUTO);
}

static void play_never(void)
{
    one_line(MS_PROGRESS_NEVER);
}

static void play_bytes(void)
{
    ms_progress_init(MS_PROGRESS_ALWAYS);
    ms_progress_begin("reading", 0, "bytes");
    now_ms += 4000;
    ms_progress_update(8000000);
    ms_progress_end();
}

static const char warning[] = "tool: warning: cannot open 'a\\x1b\\u{202e}'\n";

static void test_always_prints_whole_lines_without_a_terminal(void **state)
{
    (void)state;
    const char *text = capture(false, play_always);
    assert_non_null(strstr(text, "tool: importing reports: 50/200 (25%) reports, 25/s, 6s left, at "
                                 "\\x1b[2Jx\n"));
    assert_non_null(strstr(text, warning));
    assert_non_null(strstr(text, "tool: importing reports: 200/200 (100%) reports, 20/s, at"));
    assert_null(strchr(text, '\r'));
    assert_null(strchr(text, '\x1b'));
    assert_null(strstr(text, "51/200"));
}

static void test_auto_and_never_are_silent_without_a_terminal(void **state)
{
    (void)state;
    assert_string_equal(capture(false, play_auto), warning);
    assert_string_equal(capture(false, play_never), warning);
}

static void test_terminal_is_redrawn_around_messages(void **state)
{
    (void)state;
    (void)setenv("TERM", "xterm", 1);
    const char *text = capture(true, play_auto);
    assert_non_null(strstr(text, "\rimporting reports: 50/200 (25%) reports, 25/s, 6s left"));
    /* The line is wiped, the message stands alone, the line comes back. */
    const char *message = strstr(text, warning);
    assert_non_null(message);
    assert_memory_equal(message - 4, "\r\x1b[K", 4);
    assert_memory_equal(message + sizeof warning - 1, "\rimporting", 10);
    assert_int_equal(text[strlen(text) - 1], '\n');
    (void)setenv("TERM", "dumb", 1);
    assert_string_equal(capture(true, play_auto), warning);
    (void)setenv("TERM", "xterm", 1);
    assert_string_equal(capture(true, play_never), warning);
}

static void test_bytes_are_megabytes(void **state)
{
    (void)state;
    assert_non_null(strstr(capture(false, play_bytes), "tool: reading: 8.0 MB, 2.0/s\n"));
}

static void play_levels(void)
{
    ms_log_init("tool", MS_LOG_WARNING);
    ms_log(MS_LOG_INFO, "info");
    ms_log(MS_LOG_DEBUG, "debug");
    ms_log(MS_LOG_ERROR, "%s", "two\nlines");
    ms_log_init("tool", MS_LOG_DEBUG);
    ms_log(MS_LOG_INFO, "info");
    ms_log(MS_LOG_DEBUG, "debug");
}

static void test_levels(void **state)
{
    (void)state;
    assert_string_equal(capture(false, play_levels),
                        "tool: error: two\\nlines\ntool: info\ntool: debug: debug\n");
}

enum { THREADS = 4 };

static pthread_barrier_t together;

static void *ask_the_time(void *out)
{
    (void)pthread_barrier_wait(&together);
    *(int64_t *)out = ms_clock_wall_ms();
    return NULL;
}

/* Run first: nobody has read the clock yet. */
static void test_threads_that_read_the_clock_first_agree(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    int64_t times[THREADS];
    assert_int_equal(pthread_barrier_init(&together, NULL, THREADS), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_the_time, &times[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    int64_t now = ms_clock_wall_ms();
    for (size_t i = 0; i < THREADS; i++)
        assert_in_range(times[i], now - 60000, now);
    (void)pthread_barrier_destroy(&together);
}

static void *log_much(void *ctx)
{
    char text[2001];
    memset(text, 1, sizeof text - 1); /* each is four bytes as it is printed */
    text[sizeof text - 1] = '\0';
    ms_log(MS_LOG_WARNING, "%s", text);
    return ctx;
}

static void *update(void *ctx)
{
    ms_progress_update(1);
    atomic_store((atomic_bool *)ctx, true);
    return NULL;
}

/* stderr is a pipe with too little room: while the message is on its way nobody else draws. */
static void test_messages_stand_alone_beside_a_thread_that_draws(void **state)
{
    (void)state;
    char text[16384];
    int ends[2], waiting = 0, saved = dup(STDERR_FILENO);
    pthread_t logs, updates;
    atomic_bool updated = false;
    assert_int_equal(pipe(ends), 0);
    assert_true(fcntl(ends[0], F_SETPIPE_SZ, 4096) >= 4096 && dup2(ends[1], STDERR_FILENO) >= 0);
    ms_log_init("tool", MS_LOG_INFO);
    ms_progress_init(MS_PROGRESS_ALWAYS);
    ms_progress_begin("at work", 0, "rows");
    assert_int_equal(pthread_create(&logs, NULL, log_much, NULL), 0);
    while (waiting == 0)
        assert_true(usleep(1000) == 0 && ioctl(ends[0], FIONREAD, &waiting) == 0);
    assert_int_equal(pthread_create(&updates, NULL, update, &updated), 0);
    (void)usleep(50000);
    bool early = atomic_load(&updated);
    size_t got = 0;
    while (got < 8000)
        got += (size_t)read(ends[0], text + got, sizeof text - got);
    assert_int_equal(pthread_join(logs, NULL), 0);
    assert_int_equal(pthread_join(updates, NULL), 0);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    assert_true(close(saved) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
    ms_progress_init(MS_PROGRESS_NEVER);
    ms_progress_end();
    assert_false(early);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_that_read_the_clock_first_agree),
        cmocka_unit_test(test_always_prints_whole_lines_without_a_terminal),
        cmocka_unit_test(test_auto_and_never_are_silent_without_a_terminal),
        cmocka_unit_test(test_terminal_is_redrawn_around_messages),
        cmocka_unit_test(test_bytes_are_megabytes),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_messages_stand_alone_beside_a_thread_that_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
