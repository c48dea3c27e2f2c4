/* The progress line. It writes to stderr alone and only where it may. */
#include "base/progress.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { REDRAW_MS = 100, LINE_EVERY_MS = 1000, WIDTH_DEFAULT = 80, NOTE_BYTES = 96 };

static struct {
    pthread_mutex_t lock;
    bool shown;    /* output is wanted at all */
    bool terminal; /* redraw in place; otherwise whole lines, fewer of them */
    bool active;   /* between begin and end */
    bool drawn;    /* a line stands on the terminal now */
    const char *what;
    const char *unit;
    uint64_t done, total;
    int64_t begun_ms, drawn_ms;
    char note[NOTE_BYTES];
} line = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void put(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void wipe_locked(void)
{
    if (line.drawn)
        put("\r\033[K");
    line.drawn = false;
}

static size_t terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20)
        return size.ws_col;
    return WIDTH_DEFAULT;
}

static void format_span(int64_t ms, char *out, size_t n)
{
    int64_t s = (ms + 999) / 1000;
    if (s < 60)
        (void)snprintf(out, n, "%llds", (long long)s);
    else if (s < 3600)
        (void)snprintf(out, n, "%lldm%02llds", (long long)(s / 60), (long long)(s % 60));
    else
        (void)snprintf(out, n, "%lldh%02lldm", (long long)(s / 3600), (long long)(s / 60 % 60));
}

static void format_locked(int64_t now, char *out, size_t n)
{
    bool bytes = strcmp(line.unit, "bytes") == 0;
    double scale = bytes ? 1e-6 : 1;
    const char *unit = bytes ? "MB" : line.unit;
    int digits = bytes ? 1 : 0;
    double seconds = (double)(now - line.begun_ms) / 1000;
    double rate = seconds > 0 ? (double)line.done / seconds : 0;
    char left[32] = "", total[48] = "";
    if (line.total) {
        (void)snprintf(total, sizeof total, "/%.*f (%u%%)", digits, (double)line.total * scale,
                       (unsigned)(100.0 * (double)line.done / (double)line.total));
        if (rate > 0 && line.done < line.total && seconds > 1) {
            char span[24];
            format_span((int64_t)((double)(line.total - line.done) / rate * 1000), span,
                        sizeof span);
            (void)snprintf(left, sizeof left, ", %s left", span);
        }
    }
    (void)snprintf(out, n, "%s: %.*f%s %s, %.*f/s%s%s%s", line.what, digits,
                   (double)line.done * scale, total, unit, rate * scale < 10 ? 1 : 0, rate * scale,
                   left, line.note[0] ? ", " : "", line.note);
}

static void draw_locked(int64_t now)
{
    char text[512], out[600];
    format_locked(now, text, sizeof text);
    if (line.terminal) {
        size_t width = terminal_width() - 1;
        if (strlen(text) > width)
            text[width] = '\0';
        (void)snprintf(out, sizeof out, "\r%s\033[K", text);
        line.drawn = true;
    } else {
        (void)snprintf(out, sizeof out, "%s: %s\n", ms_log_tool(), text);
    }
    put(out);
    line.drawn_ms = now;
}

/* Between the two nobody draws: the message has its line to itself. */
static void hook_before(void)
{
    pthread_mutex_lock(&line.lock);
    wipe_locked();
}

static void hook_after(void)
{
    if (line.active && line.shown && line.terminal)
        draw_locked(ms_clock_mono_ms());
    pthread_mutex_unlock(&line.lock);
}

void ms_progress_init(enum ms_progress_mode mode)
{
    const char *term = getenv("TERM");
    pthread_mutex_lock(&line.lock);
    line.terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    line.shown = mode == MS_PROGRESS_ALWAYS || (mode == MS_PROGRESS_AUTO && line.terminal);
    pthread_mutex_unlock(&line.lock);
    ms_log_set_hooks(hook_before, hook_after);
}

void ms_progress_begin(const char *what, uint64_t total, const char *unit)
{
    pthread_mutex_lock(&line.lock);
    wipe_locked();
    line.active = true;
    line.what = what;
    line.unit = unit;
    line.total = total;
    line.done = 0;
    line.note[0] = '\0';
    line.begun_ms = ms_clock_mono_ms();
    line.drawn_ms = line.begun_ms;
    pthread_mutex_unlock(&line.lock);
}

void ms_progress_update(uint64_t done)
{
    pthread_mutex_lock(&line.lock);
    line.done = done;
    if (line.active && line.shown) {
        int64_t now = ms_clock_mono_ms();
        if (now - line.drawn_ms >= (line.terminal ? REDRAW_MS : LINE_EVERY_MS))
            draw_locked(now);
    }
    pthread_mutex_unlock(&line.lock);
}

void ms_progress_note(const char *fmt, ...)
{
    char text[NOTE_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    pthread_mutex_lock(&line.lock);
    (void)ms_escape_text(text, line.note, sizeof line.note);
    pthread_mutex_unlock(&line.lock);
}

void ms_progress_end(void)
{
    pthread_mutex_lock(&line.lock);
    if (line.active && line.shown) {
        draw_locked(ms_clock_mono_ms());
        if (line.terminal)
            put("\n");
        line.drawn = false;
    }
    line.active = false;
    pthread_mutex_unlock(&line.lock);
}
