/* label/quota over simulated days: a strict account keeps its own books, and no request of ours may
 * ever find a window full. The clock is ours; nothing sleeps. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "label/quota.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY ((int64_t)86400000)
#define MINUTE ((int64_t)60000)
/* 2026-01-30 22:00 UTC: two midnights and a change of month are near. */
#define START ((int64_t)1769810400000)

static int64_t mono, wall_offset;

static int64_t fake_wall(void *ctx)
{
    (void)ctx;
    return mono + wall_offset;
}

static int64_t fake_mono(void *ctx)
{
    (void)ctx;
    return mono;
}

static void fake_sleep(void *ctx, int64_t ms)
{
    (void)ctx;
    mono += ms;
}

/* The service's side: when each request was booked, and how many were refused. */
static int64_t booked[4096];
static size_t booked_count, refusals;
static int64_t allowed_minute, allowed_hour, allowed_day, allowed_month, others_today;
static int64_t others_hour;  /* taken from the hour by somebody else */
static int64_t service_skew; /* its clock against ours */
static bool silent;          /* it does not tell its count */

static int64_t booked_since(int64_t start)
{
    int64_t n = 0;
    for (size_t i = 0; i < booked_count; i++)
        n += booked[i] > start;
    return n;
}

/* The service books by a clock that never steps. */
static bool service_takes(void)
{
    int64_t now = START + mono + service_skew;
    if (booked_since(now - MINUTE) >= allowed_minute ||
        booked_since(now - 60 * MINUTE) + others_hour >= allowed_hour ||
        booked_since(ms_clock_day_start(now) - 1) + others_today >= allowed_day ||
        booked_since(ms_clock_month_start(now) - 1) + others_today >= allowed_month) {
        refusals++;
        return false;
    }
    assert_true(booked_count < sizeof booked / sizeof *booked);
    booked[booked_count++] = now;
    return true;
}

static struct ms_quota_told service_tells(void)
{
    int64_t now = START + mono + service_skew;
    return (struct ms_quota_told){
        .hour_allowed = allowed_hour,
        .hour_used = booked_since(now - 60 * MINUTE) + others_hour,
        .day_allowed = allowed_day,
        .day_used = booked_since(ms_clock_day_start(now) - 1) + others_today,
        .month_allowed = allowed_month,
        .month_used = booked_since(ms_clock_month_start(now) - 1) + others_today};
}

static char folder[64];
static struct ms_corpus *corpus;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st, (void)kind, (void)walk;
    return remove(path);
}

static int setup(void **state)
{
    static const struct ms_clock clock = {NULL, fake_wall, fake_mono, fake_sleep};
    (void)state;
    ms_clock_set(&clock);
    mono = 0;
    wall_offset = START;
    booked_count = refusals = 0;
    others_today = others_hour = service_skew = 0;
    silent = false;
    allowed_minute = 4;
    allowed_hour = 240;
    allowed_day = 500;
    allowed_month = 15500;
    strcpy(folder, "/tmp/malseq-quota-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    struct ms_error err;
    return ms_corpus_open(folder, MS_CORPUS_CREATE, &corpus, &err) == MS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    ms_corpus_close(corpus);
    ms_clock_set(NULL);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void open_quota(struct ms_quota *quota, uint64_t budget, int64_t until_ms)
{
    const struct ms_quota_options options = {budget, until_ms, 3};
    assert_int_equal(ms_quota_open(quota, corpus, "0123abcd", &options, NULL), MS_OK);
}

/* As the asker: reads the service's count whenever the advice is to. */
static void advise(struct ms_quota *quota, struct ms_quota_advice *advice)
{
    for (int reads = 0;; reads++) {
        assert_int_equal(ms_quota_advise(quota, advice, NULL), MS_OK);
        if (advice->word != MS_QUOTA_READ)
            return;
        assert_true(reads < 2); /* never again at once */
        struct ms_quota_told told = service_tells();
        ms_quota_tried(quota);
        if (!silent)
            assert_int_equal(ms_quota_tell(quota, &told, NULL), MS_OK);
    }
}

/* Sends until the advice is to stop, or `most` requests went out; returns how many did. A request
 * takes `latency` ms to arrive and as long to be answered. */
static size_t drive(struct ms_quota *quota, size_t most, int64_t latency,
                    struct ms_quota_advice *advice)
{
    size_t sent = 0;
    while (sent < most) {
        int64_t id;
        advise(quota, advice);
        if (advice->word == MS_QUOTA_WAIT) {
            assert_in_range(advice->wait_ms, 1, 3700000);
            ms_clock_sleep_ms(advice->wait_ms);
            continue;
        }
        if (advice->word != MS_QUOTA_GO)
            break;
        assert_int_equal(ms_quota_reserve(quota, "files", "hash", &id, NULL), MS_OK);
        mono += latency;
        bool taken = service_takes();
        mono += latency;
        assert_int_equal(ms_quota_settle(quota, id, taken ? 200 : 429, NULL, NULL), MS_OK);
        sent++;
        latency = latency * 7 % 4001; /* requests do not all take the same time */
    }
    return sent;
}

static void three_days(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    size_t sent = 0, nights = 0;
    (void)state;
    allowed_day = 150; /* fewer than the public 500: each request is two commits to a disk */
    while (mono < 3 * DAY) {
        /* A run a time, as cron would start them; each knows only what the corpus holds. */
        open_quota(&quota, UINT64_MAX, 0);
        struct ms_quota_told told = service_tells();
        assert_int_equal(ms_quota_tell(&quota, &told, NULL), MS_OK);
        sent += drive(&quota, SIZE_MAX, 1500, &advice);
        assert_int_equal(advice.word, MS_QUOTA_SPENT);
        assert_int_equal(advice.resume_at_ms, ms_clock_day_start(fake_wall(NULL)) + DAY);
        /* Counts that were kept up equal those of a run that begins. */
        struct ms_quota fresh;
        int64_t kept[2], anew[2];
        open_quota(&fresh, UINT64_MAX, 0);
        assert_int_equal(ms_quota_used(&quota, &kept[0], &kept[1], NULL), MS_OK);
        assert_int_equal(ms_quota_used(&fresh, &anew[0], &anew[1], NULL), MS_OK);
        assert_memory_equal(kept, anew, sizeof kept);
        mono = advice.resume_at_ms - wall_offset;
        nights++;
    }
    assert_int_equal(refusals, 0);
    assert_int_equal(nights, 4); /* the evening of the start, and three whole days */
    assert_int_equal(sent, 4 * 150);
    assert_int_equal(sent, booked_count);
}

static void month_ends_first(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    (void)state;
    allowed_month = 31;
    allowed_day = 100;
    open_quota(&quota, UINT64_MAX, 0);
    struct ms_quota_told told = service_tells();
    assert_int_equal(ms_quota_tell(&quota, &told, NULL), MS_OK);
    assert_int_equal(drive(&quota, SIZE_MAX, 100, &advice), 31);
    assert_int_equal(advice.word, MS_QUOTA_SPENT);
    assert_int_equal(advice.resume_at_ms, ms_clock_next_month(START));
    assert_non_null(strstr(advice.why, "monthly"));
    assert_int_equal(refusals, 0);
}

static void others_spend_the_key(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    (void)state;
    others_today = 490;
    open_quota(&quota, UINT64_MAX, 0);
    struct ms_quota_told told = service_tells();
    assert_int_equal(ms_quota_tell(&quota, &told, NULL), MS_OK);
    assert_int_equal(drive(&quota, SIZE_MAX, 100, &advice), 10);
    assert_int_equal(refusals, 0);

    /* They spend more behind our back: a 429 comes, the service is asked, the day is over. */
    others_today = 0;
    mono += 2 * DAY;
    open_quota(&quota, UINT64_MAX, 0);
    told = service_tells();
    assert_int_equal(ms_quota_tell(&quota, &told, NULL), MS_OK);
    assert_int_equal(drive(&quota, 3, 100, &advice), 3);
    others_today = 497;
    (void)drive(&quota, 1, 100, &advice);
    assert_int_equal(refusals, 1);
    told = service_tells();
    assert_int_equal(ms_quota_tell(&quota, &told, NULL), MS_OK);
    assert_int_equal(ms_quota_refused(&quota, -1, &advice, NULL), MS_OK);
    assert_int_equal(advice.word, MS_QUOTA_SPENT);
    assert_non_null(strstr(advice.why, "daily"));
}

static void refusals_with_quota_left(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    int64_t id;
    (void)state;
    open_quota(&quota, UINT64_MAX, 0);
    struct ms_quota_told told = service_tells();
    assert_int_equal(ms_quota_tell(&quota, &told, NULL), MS_OK);
    for (int i = 1; i <= 8; i++) {
        assert_int_equal(ms_quota_reserve(&quota, "files", "hash", &id, NULL), MS_OK);
        assert_int_equal(ms_quota_settle(&quota, id, 429, "QuotaExceededError", NULL), MS_OK);
        assert_int_equal(ms_quota_refused(&quota, i == 3 ? 300000 : -1, &advice, NULL), MS_OK);
        if (i == 8)
            break;
        assert_int_equal(advice.word, MS_QUOTA_WAIT);
        if (i == 1)
            assert_true(advice.wait_ms >= MINUTE); /* whoever spent it: the minute must pass */
        if (i == 3)
            assert_true(advice.wait_ms >= 300000); /* Retry-After */
        assert_in_range(advice.wait_ms, 0, 600000);
    }
    assert_int_equal(advice.word, MS_QUOTA_SPENT); /* not to be evaded */
    /* What was refused was not charged, and the rate is down. */
    uint64_t count;
    assert_int_equal(ms_request_count(corpus, "0123abcd", 0, INT64_MAX, &count, NULL), MS_OK);
    assert_int_equal(count, 0);
    assert_true(quota.halved >= 2);
}

static void own_bounds(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    (void)state;
    open_quota(&quota, 3, 0);
    assert_int_equal(drive(&quota, SIZE_MAX, 100, &advice), 3);
    assert_int_equal(advice.word, MS_QUOTA_DONE);
    /* The end time also ends a wait that would lead past it. */
    mono += 10 * MINUTE;
    open_quota(&quota, UINT64_MAX, fake_wall(NULL) + 30000);
    assert_int_equal(drive(&quota, SIZE_MAX, 100, &advice), 4);
    assert_int_equal(advice.word, MS_QUOTA_DONE);
    assert_non_null(strstr(advice.why, "end time"));
}

static void defaults_and_memory(void **state)
{
    struct ms_quota quota;
    (void)state;
    open_quota(&quota, UINT64_MAX, 0);
    assert_int_equal(quota.minute, 4);
    assert_int_equal(quota.day, 500);
    assert_int_equal(quota.month, 15500);
    const struct ms_quota_told told = {60, 0, 1, 0, -1, -1};
    assert_int_equal(ms_quota_tell(&quota, &told, NULL), MS_OK);
    open_quota(&quota, UINT64_MAX, 0);
    assert_int_equal(quota.minute, 1);
    assert_int_equal(quota.day, 1);
    assert_int_equal(quota.month, -1); /* what an account that tells its limits does not name */
}

/* A refusal a service gives without ever telling its count: not tried eight times. */
static void untold_refusals(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice = {0};
    int64_t id;
    int refused = 0;
    (void)state;
    open_quota(&quota, UINT64_MAX, 0);
    while (advice.word != MS_QUOTA_SPENT) {
        assert_int_equal(ms_quota_reserve(&quota, "files", "hash", &id, NULL), MS_OK);
        assert_int_equal(ms_quota_settle(&quota, id, 429, "QuotaExceededError", NULL), MS_OK);
        assert_int_equal(ms_quota_refused(&quota, -1, &advice, NULL), MS_OK);
        assert_true(++refused < 8);
    }
    assert_int_equal(refused, 3);
}

/* One a minute, one a day, 31 a month: an account like that was reported. */
static void the_smallest_account(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    size_t sent = 0;
    (void)state;
    allowed_minute = allowed_day = 1;
    allowed_hour = 60;
    allowed_month = 31;
    for (int day = 0; day < 40; day++) {
        open_quota(&quota, UINT64_MAX, 0);
        sent += drive(&quota, SIZE_MAX, 300, &advice);
        assert_int_equal(advice.word, MS_QUOTA_SPENT);
        mono += DAY;
    }
    assert_int_equal(sent, 40);
    assert_int_equal(refusals, 0);
    allowed_hour = 1; /* one an hour is waited for, not given up */
    allowed_day = 20;
    allowed_month = 1000;
    open_quota(&quota, UINT64_MAX, 0);
    mono = DAY * 50 - 22 * 60 * MINUTE; /* midnight */
    assert_int_equal(drive(&quota, SIZE_MAX, 300, &advice), 20);
    assert_int_equal(advice.word, MS_QUOTA_SPENT);
    assert_int_equal(refusals, 0);
}

static void limits_of_zero_and_none(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    (void)state;
    const struct ms_quota_told zeros[] = {
        {0, 0, 500, 0, 15500, 0}, {240, 0, 0, 0, 15500, 0}, {240, 0, 500, 0, 0, 0}};
    for (size_t i = 0; i < 3; i++) {
        open_quota(&quota, UINT64_MAX, fake_wall(NULL) + DAY);
        assert_int_equal(ms_quota_tell(&quota, &zeros[i], NULL), MS_OK);
        assert_int_equal(ms_quota_advise(&quota, &advice, NULL), MS_OK);
        assert_int_equal(advice.word, MS_QUOTA_BARRED);
    }
    /* A day without an hour, a month or a minute; enough for a thousand a minute. */
    const struct ms_quota_told premium = {-1, -1, 1440000, 5, -1, -1};
    open_quota(&quota, UINT64_MAX, 0);
    assert_int_equal(ms_quota_tell(&quota, &premium, NULL), MS_OK);
    assert_int_equal(quota.minute, 1000);
    assert_int_equal(quota.month, -1);
    assert_int_equal(ms_quota_advise(&quota, &advice, NULL), MS_OK);
    assert_int_equal(advice.word, MS_QUOTA_GO);
}

/* Somebody else spends the hour: the count is read again, once a minute, until there is room. */
static void others_spend_the_hour(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    (void)state;
    others_hour = 239;
    open_quota(&quota, UINT64_MAX, 0);
    assert_int_equal(drive(&quota, 1, 100, &advice), 1);
    int64_t start = mono;
    for (;;) {
        advise(&quota, &advice);
        if (advice.word == MS_QUOTA_GO)
            break;
        assert_int_equal(advice.word, MS_QUOTA_WAIT);
        assert_in_range(advice.wait_ms, 1, MINUTE + 5000);
        mono += advice.wait_ms;
        if (mono - start > 10 * MINUTE)
            others_hour = 100;
        assert_true(mono - start < 20 * MINUTE);
    }
    assert_true(mono - start > 10 * MINUTE);
    assert_int_equal(drive(&quota, 20, 100, &advice), 20);
    assert_int_equal(refusals, 0);
}

/* The clocks of service and machine never agree. A new day of ours in which the service still
 * counts yesterday must not be taken for a day that is spent. */
static void midnight_by_two_clocks(void **state)
{
    static const int64_t skews[] = {-5 * 60000, -2000, 2000, 300000};
    (void)state;
    allowed_day = 40;
    for (size_t i = 0; i < sizeof skews / sizeof *skews; i++) {
        struct ms_quota quota;
        struct ms_quota_advice advice;
        mono += 3 * DAY;
        service_skew = skews[i];
        int64_t midnight = ms_clock_day_start(fake_wall(NULL)) + DAY;
        mono = midnight - wall_offset - 15 * MINUTE;
        refusals = 0;
        /* One run over midnight, and a second at 00:00:01. */
        open_quota(&quota, UINT64_MAX, midnight + 10 * 60 * MINUTE);
        size_t before = drive(&quota, 40, 700, &advice);
        assert_int_equal(before, 40);
        mono = midnight + 1000 - wall_offset;
        open_quota(&quota, UINT64_MAX, midnight + 10 * 60 * MINUTE);
        (void)drive(&quota, SIZE_MAX, 700, &advice);
        assert_int_equal(advice.word, MS_QUOTA_SPENT); /* the end time lies before another day */
        int64_t today = booked_since(midnight - 1);
        assert_true(today >= 39 && today <= 40);
        assert_true(refusals <= 1);
    }
}

/* Spent at ten in the evening, with an end time at five: the day that begins is used. */
static void waits_through_midnight(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    (void)state;
    allowed_day = 10;
    open_quota(&quota, UINT64_MAX, START + 7 * 60 * MINUTE);
    assert_int_equal(drive(&quota, SIZE_MAX, 100, &advice), 20);
    assert_int_equal(advice.word, MS_QUOTA_SPENT);
    assert_int_equal(refusals, 0);
    /* Without one it is left to the next run. */
    mono += DAY;
    open_quota(&quota, UINT64_MAX, 0);
    assert_int_equal(drive(&quota, SIZE_MAX, 100, &advice), 10);
    assert_int_equal(advice.word, MS_QUOTA_SPENT);
    assert_int_equal(advice.resume_at_ms, ms_clock_day_start(fake_wall(NULL)) + DAY);
}

/* On its way at midnight: the service books it on the new day, and so must we. */
static void refusals_are_not_of_the_budget(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    int64_t id;
    (void)state;
    open_quota(&quota, 1, START + 50000);
    assert_null(ms_quota_bound(&quota, 0));
    assert_null(ms_quota_bound(&quota, 49999));
    assert_string_equal(ms_quota_bound(&quota, 50000), "the run's end time is reached");
    advise(&quota, &advice);
    assert_int_equal(ms_quota_reserve(&quota, "files", "hash", &id, NULL), MS_OK);
    assert_string_equal(ms_quota_bound(&quota, 0), "the run's budget is used up");
    assert_int_equal(ms_quota_settle(&quota, id, 429, NULL, NULL), MS_OK); /* not charged */
    assert_null(ms_quota_bound(&quota, 0));
    assert_int_equal(ms_quota_reserve(&quota, "files", "hash", &id, NULL), MS_OK);
    assert_int_equal(ms_quota_settle(&quota, id, 0, NULL, NULL), MS_OK); /* may have been */
    advise(&quota, &advice);
    assert_int_equal(advice.word, MS_QUOTA_DONE);
}

static void in_flight_at_midnight(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    int64_t id, day, month;
    (void)state;
    allowed_day = 10;
    silent = true;
    mono = 2 * 60 * MINUTE - 1000;
    open_quota(&quota, UINT64_MAX, 0);
    struct ms_quota_told told = service_tells();
    assert_int_equal(ms_quota_tell(&quota, &told, NULL), MS_OK);
    assert_int_equal(ms_quota_reserve(&quota, "files", "hash", &id, NULL), MS_OK);
    mono += 3000;
    assert_true(service_takes());
    mono += 500;
    assert_int_equal(ms_quota_settle(&quota, id, 200, NULL, NULL), MS_OK);
    assert_int_equal(ms_quota_used(&quota, &day, &month, NULL), MS_OK);
    assert_int_equal(day, 1);
    assert_int_equal(drive(&quota, SIZE_MAX, 100, &advice), 9);
    assert_int_equal(advice.word, MS_QUOTA_SPENT);
    assert_int_equal(refusals, 0);
}

/* A crash between reserve and settle leaves the request booked. */
static void crash_over_counts(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    int64_t id, day = 0, month = 0;
    (void)state;
    open_quota(&quota, UINT64_MAX, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ms_quota_reserve(&quota, "files", "hash", &id, NULL), MS_OK);
    open_quota(&quota, UINT64_MAX, 0);
    assert_int_equal(ms_quota_used(&quota, &day, &month, NULL), MS_OK);
    assert_int_equal(day, 4);
    assert_int_equal(month, 4);
    silent = true;
    advise(&quota, &advice);
    assert_int_equal(advice.word, MS_QUOTA_WAIT);
    assert_in_range(advice.wait_ms, MINUTE, MINUTE + 5000);
}

/* Steps of the wall clock neither stall a run nor let it exceed the minute. */
static void clock_steps(void **state)
{
    struct ms_quota quota;
    struct ms_quota_advice advice;
    (void)state;
    static const int64_t steps[] = {-40 * 86400000LL, -3600000, 7200000, 0};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        open_quota(&quota, UINT64_MAX, 0);
        assert_int_equal(drive(&quota, 6, 100, &advice), 6);
        wall_offset += steps[i];
        int64_t before = mono;
        assert_int_equal(drive(&quota, 6, 100, &advice), 6);
        assert_true(mono - before < 5 * MINUTE);
        open_quota(&quota, UINT64_MAX, 0); /* a new run, whose ledger lies in the future */
        before = mono;
        assert_int_equal(drive(&quota, 6, 100, &advice), 6);
        assert_true(mono - before < 5 * MINUTE);
    }
    assert_int_equal(refusals, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(three_days, setup, teardown),
        cmocka_unit_test_setup_teardown(month_ends_first, setup, teardown),
        cmocka_unit_test_setup_teardown(others_spend_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_with_quota_left, setup, teardown),
        cmocka_unit_test_setup_teardown(own_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(defaults_and_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(crash_over_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(clock_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(untold_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(the_smallest_account, setup, teardown),
        cmocka_unit_test_setup_teardown(limits_of_zero_and_none, setup, teardown),
        cmocka_unit_test_setup_teardown(others_spend_the_hour, setup, teardown),
        cmocka_unit_test_setup_teardown(midnight_by_two_clocks, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_through_midnight, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_are_not_of_the_budget, setup, teardown),
        cmocka_unit_test_setup_teardown(in_flight_at_midnight, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
