/* Time of day, monotonic time and sleep, replaceable as a whole so that tests can run months in a
 * moment. */
#ifndef MS_BASE_CLOCK_H
#define MS_BASE_CLOCK_H

#include <stdint.h>

struct ms_clock {
    void *ctx;
    int64_t (*wall_ms)(void *ctx);           /* UTC, ms since 1970; may step */
    int64_t (*mono_ms)(void *ctx);           /* never steps back */
    void (*sleep_ms)(void *ctx, int64_t ms); /* returns early on a signal */
};

/* Replaces the clock of the process (NULL: back to the system's). Call it before threads start. */
void ms_clock_set(const struct ms_clock *clock);

int64_t ms_clock_wall_ms(void);
int64_t ms_clock_mono_ms(void);
void ms_clock_sleep_ms(int64_t ms);

/* "2026-01-31T12:00:00Z" for a UTC time in ms; `out` holds 32 bytes. */
void ms_clock_format(int64_t wall_ms, char out[32]);

/* "YYYY-MM-DD" as UTC midnight in ms; -1 when it is no day from 1970 to 9999. */
int64_t ms_day_parse(const char *text);

/* UTC midnight at or before t, and the first of the month at or before t, both in ms. */
int64_t ms_clock_day_start(int64_t wall_ms);
int64_t ms_clock_month_start(int64_t wall_ms);
/* The first of the month after t. */
int64_t ms_clock_next_month(int64_t wall_ms);

#endif
