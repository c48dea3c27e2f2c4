/* Unit tests of base/progress and the log: what reaches stderr, and what never does. */
#define _GNU_SOURCE /* posix_openpt */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_always_prints_whole_lines_without_a_terminal),
        cmocka_unit_test(test_auto_and_never_are_silent_without_a_terminal),
        cmocka_unit_test(test_terminal_is_redrawn_around_messages),
        cmocka_unit_test(test_bytes_are_megabytes),
        cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
