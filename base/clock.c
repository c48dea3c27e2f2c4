/* The process clock. For tests, MALSEQ_TEST_EPOCH_MS in the environment sets where the wall clock
 * starts, MALSEQ_TEST_ORIGIN_MS the time of the world at which it started (else: when it is first
 * read, which is later than whoever set it thinks), and MALSEQ_TEST_SPEED how many times faster
 * time runs; MALSEQ_TEST_TURN_MS is what the wall clock jumps by at the world's time
 * MALSEQ_TEST_TURN_AT_MS. None moves a secret. */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t system_read(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A whole number from the environment, `fallback` when the variable is not set. */
static int64_t test_number(const char *name, int64_t fallback)
{
    const char *text = getenv(name);
    return text ? strtoll(text, NULL, 10) : fallback;
}

/* How many times faster than the world's our time runs; sleeps are shorter by as much. Threads that
 * ask first at once all find the same. */
static int64_t speed(void)
{
    static _Atomic int64_t known;
    int64_t found = atomic_load(&known);
    if (found == 0) {
        found = test_number("MALSEQ_TEST_SPEED", 1);
        if (found < 1 || found > 100000)
            found = 1;
        atomic_store(&known, found);
    }
    return found;
}

/* By how much somebody has set the clock since: nothing before that moment. */
static int64_t turned(int64_t real)
{
    static _Atomic int64_t known = INT64_MIN;
    int64_t at = atomic_load(&known);
    if (at == INT64_MIN) {
        at = test_number("MALSEQ_TEST_TURN_AT_MS", INT64_MAX);
        atomic_store(&known, at);
    }
    return real < at ? 0 : test_number("MALSEQ_TEST_TURN_MS", 0);
}

/* Our time is the world's times its speed, and this; the first thread that asks decides it. */
static int64_t system_wall(void *ctx)
{
    static _Atomic int64_t ahead = INT64_MIN;
    (void)ctx;
    int64_t real = system_read(CLOCK_REALTIME), by = atomic_load(&ahead);
    if (by == INT64_MIN) {
        int64_t origin = test_number("MALSEQ_TEST_ORIGIN_MS", real);
        int64_t mine = test_number("MALSEQ_TEST_EPOCH_MS", real) - origin * speed();
        if (atomic_compare_exchange_strong(&ahead, &by, mine))
            by = mine;
    }
    return real * speed() + by + turned(real);
}

static int64_t system_mono(void *ctx)
{
    (void)ctx;
    return system_read(CLOCK_MONOTONIC) * speed();
}

static void system_sleep(void *ctx, int64_t ms)
{
    (void)ctx;
    if (ms <= 0)
        return;
    ms = (ms + speed() - 1) / speed();
    struct timespec wait = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};
    nanosleep(&wait, NULL);
}

static const struct ms_clock system_clock = {NULL, system_wall, system_mono, system_sleep};
static struct ms_clock current = {NULL, system_wall, system_mono, system_sleep};

void ms_clock_set(const struct ms_clock *clock)
{
    current = clock ? *clock : system_clock;
}

int64_t ms_clock_wall_ms(void)
{
    return current.wall_ms(current.ctx);
}

int64_t ms_clock_mono_ms(void)
{
    return current.mono_ms(current.ctx);
}

void ms_clock_sleep_ms(int64_t ms)
{
    current.sleep_ms(current.ctx, ms);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return a % b < 0 ? q - 1 : q;
}

void ms_clock_format(int64_t wall_ms, char out[32])
{
    time_t seconds = (time_t)floor_div(wall_ms, 1000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        (void)snprintf(out, 32, "?");
}

int64_t ms_clock_day_start(int64_t wall_ms)
{
    const int64_t day = 86400000;
    return floor_div(wall_ms, day) * day;
}

int64_t ms_clock_month_start(int64_t wall_ms)
{
    time_t seconds = (time_t)floor_div(wall_ms, 1000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm))
        return ms_clock_day_start(wall_ms);
    return ms_clock_day_start(wall_ms) - (int64_t)(tm.tm_mday - 1) * 86400000;
}

int64_t ms_clock_next_month(int64_t wall_ms)
{
    return ms_clock_month_start(ms_clock_month_start(wall_ms) + (int64_t)32 * 86400000);
}

static int number(const char *text, size_t n)
{
    int value = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/* Days since 1970-01-01 in the Gregorian calendar: years begin in March, so that the leap day is
 * the last one. */
static int64_t civil_days(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y % 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int64_t ms_day_parse(const char *text)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!text || strlen(text) != 10 || text[4] != '-' || text[7] != '-')
        return -1;
    int year = number(text, 4), month = number(text + 5, 2), day = number(text + 8, 2);
    if (year < 1970 || month < 1 || month > 12 || day < 1)
        return -1;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > lengths[month - 1] + (month == 2 && leap))
        return -1;
    return civil_days(year, month, day) * 86400000;
}
