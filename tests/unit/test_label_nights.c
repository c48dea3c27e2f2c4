/* Fifteen nights of label on an injected clock against an account with VirusTotal's rules: the real
 * sessions, ledger and table of errors over a transport in this process. What is asserted is
 * counted by the account (vt_account.h), not by label. The time of all runs is one line of events:
 * each run is a thread, only the one that wakes first goes on.
 *
 * ctest: full also-release cost=40 */
#include "store_fixture.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "label/session.h"
#include "label/virustotal.h"
#include "vt_account.h"

#include <pthread.h>

enum { ACTORS = 8, OTHERS = 400 };
/* 24 January 2026, 00:00 UTC: the month's end is within the fifteen days. */
#define START ((int64_t)1769212800000)

static struct vt_account account;
static char folder[128];

/* ---- time ---- */

struct actor {
    pthread_t thread;
    pthread_cond_t turn;
    int64_t wake_ms;
    bool alive;
    /* The run it makes. */
    size_t client;      /* which corpus */
    const char *corpus; /* its folder */
    const char *hashes; /* --hashes */
    uint64_t budget;    /* --budget; 0: none */
    enum ms_status status;
    struct ms_error err;
    uint64_t asked; /* requests for files it sent */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_done = PTHREAD_COND_INITIALIZER;
static struct actor actors[ACTORS];
static size_t actor_count;
static size_t waiting;        /* threads that have started and wait for their first turn */
static struct actor *running; /* NULL: the test itself */
static _Thread_local struct actor *me;
static int64_t now_ms;
static int64_t others[OTHERS]; /* when the other client asks, ascending */
static size_t others_count, others_next;

/* One request of the other client; where only the minute is full, it tries again soon. */
static void other_asks(void)
{
    int64_t at = others[others_next];
    size_t i = others_next;
    if (vt_other(&account, at) != VT_MINUTE) {
        others_next++;
        return;
    }
    at += 2000 + (int64_t)ms_rng_below(&account.rng, 30000);
    for (; i + 1 < others_count && others[i + 1] < at; i++)
        others[i] = others[i + 1];
    others[i] = at;
}

/* Moves time on, and lets the other client ask when its moments come. */
static void advance(int64_t to_ms)
{
    while (others_next < others_count && others[others_next] <= to_ms)
        other_asks();
    now_ms = to_ms > now_ms ? to_ms : now_ms;
}

static struct actor *next_actor(void)
{
    struct actor *first = NULL;
    for (size_t i = 0; i < actor_count; i++)
        if (actors[i].alive && (!first || actors[i].wake_ms < first->wake_ms))
            first = &actors[i];
    return first;
}

/* With the lock held: whoever wakes first goes on. */
static void hand_over(void)
{
    running = next_actor();
    if (running) {
        advance(running->wake_ms);
        pthread_cond_signal(&running->turn);
    } else {
        pthread_cond_broadcast(&all_done);
    }
}

static void sim_sleep(void *ctx, int64_t ms)
{
    (void)ctx;
    if (!me) {
        advance(now_ms + ms);
        return;
    }
    pthread_mutex_lock(&lock);
    me->wake_ms = now_ms + (ms > 0 ? ms : 0);
    hand_over();
    while (running != me)
        pthread_cond_wait(&me->turn, &lock);
    pthread_mutex_unlock(&lock);
}

static int64_t sim_now(void *ctx)
{
    (void)ctx;
    return now_ms;
}

/* ---- the wire ---- */

static enum ms_status perform(void *ctx, const struct ms_http_request *request,
                              struct ms_http_response *response, struct ms_error *err)
{
    (void)ctx;
    me->asked += strstr(request->url, "/files/") != NULL;
    ms_clock_sleep_ms(100 + (int64_t)ms_rng_below(&account.rng, 900));
    enum ms_status status = vt_handle(&account, me->client, request, response, err);
    ms_clock_sleep_ms(100 + (int64_t)ms_rng_below(&account.rng, 1900));
    return status;
}

/* ---- runs ---- */

static enum ms_status run_label(struct actor *self)
{
    struct ms_label_options options = {0};
    char *argv[] = {(char *)"label", NULL};
    struct ms_cli cli = {.common = {.corpus = self->corpus,
                                    .jobs = 1,
                                    .seed = 1,
                                    .json = true,
                                    .quiet = true,
                                    .progress = "never"},
                         .options = &options,
                         .argc = 1,
                         .argv = argv};
    ms_label_defaults(&options);
    options.vt_url = "https://vt.invalid/api/v3";
    options.vt_user = "someone";
    options.hashes = self->hashes;
    options.budget = self->budget;
    return ms_label_run(&cli, &self->err);
}

static void *act(void *ctx)
{
    me = ctx;
    pthread_mutex_lock(&lock);
    waiting++;
    pthread_cond_broadcast(&all_done);
    while (running != me)
        pthread_cond_wait(&me->turn, &lock);
    pthread_mutex_unlock(&lock);
    me->status = run_label(me);
    pthread_mutex_lock(&lock);
    me->alive = false;
    hand_over();
    while (running)
        pthread_cond_wait(&all_done, &lock);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static struct actor *plan(size_t client, int64_t at_ms, uint64_t budget, const char *hashes)
{
    static char corpora[VT_CLIENTS][160];
    struct actor *self = &actors[actor_count++];
    (void)snprintf(corpora[client], sizeof corpora[client], "%s/corpus%zu", folder, client);
    *self = (struct actor){.wake_ms = at_ms,
                           .alive = true,
                           .client = client,
                           .corpus = corpora[client],
                           .budget = budget,
                           .hashes = hashes};
    pthread_cond_init(&self->turn, NULL);
    return self;
}

/* Lets all planned runs happen. A run forks, and the child may allocate: no thread starts or ends
 * meanwhile, for it would hold locks of the sanitizer's allocator that no fork lets go. */
static void happen(void)
{
    waiting = 0;
    for (size_t i = 0; i < actor_count; i++)
        assert_int_equal(pthread_create(&actors[i].thread, NULL, act, &actors[i]), 0);
    pthread_mutex_lock(&lock);
    while (waiting < actor_count)
        pthread_cond_wait(&all_done, &lock);
    hand_over();
    while (running)
        pthread_cond_wait(&all_done, &lock);
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < actor_count; i++) {
        pthread_join(actors[i].thread, NULL);
        pthread_cond_destroy(&actors[i].turn);
    }
}

/* ---- the world ---- */

static void write_list(const char *name, unsigned from, unsigned to, char *path, size_t room)
{
    char digits[65];
    (void)snprintf(path, room, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (unsigned i = from; i < to; i++) {
        vt_name(i, digits);
        fprintf(file, "%.*s\n", i % 5 == 0 ? 32 : i % 5 == 1 ? 40 : 64, digits);
    }
    assert_int_equal(fclose(file), 0);
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* About a tenth of the day's quota at random moments: most of it in the hours in which the nightly
 * run is at work, and on every second day the rest whenever; what comes late finds the day spent.
 */
static void plan_others(size_t day, size_t count)
{
    others_count = count;
    others_next = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t span = day % 2 || i % 4 ? 2 * VT_HOUR_MS : VT_DAY_MS;
        others[i] =
            START + (int64_t)day * VT_DAY_MS + (int64_t)ms_rng_below(&account.rng, (uint64_t)span);
    }
    qsort(others, count, sizeof *others, by_time);
}

static int saved_stdout = -1;

static int set_up(void **state)
{
    static const struct ms_clock clock = {NULL, sim_now, sim_now, sim_sleep};
    static const struct ms_vt_transport transport = {NULL, perform};
    (void)state;
    (void)snprintf(folder, sizeof folder, "%.90s/malseq-nights-XXXXXX", fixture_place());
    if (!mkdtemp(folder) || setenv("XDG_STATE_HOME", folder, 1) != 0 ||
        setenv("VT_API_KEY", "simulated-key", 1) != 0)
        return -1;
    ms_log_init("label", getenv("MALSEQ_NIGHTS_TALK") ? MS_LOG_DEBUG : MS_LOG_ERROR);
    ms_progress_init(MS_PROGRESS_NEVER);
    ms_clock_set(&clock);
    ms_vt_transport_set(&transport);
    now_ms = START;
    account = (struct vt_account){.allowed_minute = 4,
                                  .allowed_hour = 240,
                                  .allowed_day = 500,
                                  .allowed_month = 15500,
                                  .start_ms = START,
                                  .minute_ms = VT_MINUTE_MS,
                                  .faults_of_4000 = 6};
    for (size_t i = 0; i < VT_CLIENTS; i++)
        account.clients[i] = (struct vt_client){.told_day = -1, .told_month = -1, .told_ms = -1};
    ms_rng_init(&account.rng, 7, 0x6e696768, 0);
    /* label prints a line a hash; the table at the end goes where it was. */
    (void)fflush(stdout);
    saved_stdout = dup(1);
    int null = open("/dev/null", O_WRONLY);
    return saved_stdout >= 0 && null >= 0 && dup2(null, 1) == 1 && close(null) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    (void)fflush(stdout);
    (void)dup2(saved_stdout, 1);
    close(saved_stdout);
    ms_clock_set(NULL);
    ms_vt_transport_set(NULL);
    fixture_remove(AT_FDCWD, folder);
    return 0;
}

enum { BESIDE = 1 }; /* does corpus 1 also run while corpus 0 does? */

/* One night: the main run of corpus 0 from 00:05, a second one over the same corpus that must keep
 * out, and a run of corpus 1 with the same key beside it. Every fourth night corpus 1 is first,
 * every fifth the main run leaves a part of the day to whoever comes later. */
static void night(size_t day, const char *list, const char *other_list)
{
    int64_t midnight = START + (int64_t)day * VT_DAY_MS;
    bool turned = day % 4 == 3, part = day % 5 == 4;
    actor_count = 0;
    advance(midnight);
    vt_turn(&account, midnight);
    plan(0, midnight + (turned ? 20 : 5) * VT_MINUTE_MS, part ? 300 : 0, list);
    struct actor *second = plan(0, midnight + 35 * VT_MINUTE_MS, 0, NULL);
    if (BESIDE)
        plan(1, midnight + (turned ? 5 : 25) * VT_MINUTE_MS, turned ? 60 : 0, other_list);
    if (part || day % 7 == 0)
        plan(0, midnight + 5 * VT_HOUR_MS, 0, NULL);
    plan(1, midnight + 6 * VT_HOUR_MS, 0, BESIDE ? NULL : other_list);
    bool held = account.allowed_month > account.used_month;
    happen();
    advance(midnight + VT_DAY_MS - 1);
    for (size_t i = 0; i < actor_count; i++) {
        enum ms_status status = actors[i].status;
        if (status != MS_OK && status != MS_REJECT && status != MS_E_LATER)
            fail_msg("day %zu, run %zu: %s", day, i, actors[i].err.text);
    }
    if (held && !turned) {
        assert_int_equal(second->status, MS_E_LATER);
        assert_int_equal(second->asked, 0);
    }
}

struct sums {
    int64_t allowed, left, used, distinct, first, minutes, days, months;
};

static struct sums print_table(size_t days)
{
    struct sums sums = {0};
    fprintf(stderr, "day         allowed  eaten   used  distinct  429s (minute day month)  left\n");
    for (size_t i = 0; i < days; i++) {
        const struct vt_day *day = &account.days[i];
        char date[32];
        ms_clock_format(START + (int64_t)i * VT_DAY_MS, date);
        int64_t left = day->allowed - day->eaten;
        fprintf(stderr, "%.10s  %7lld %6lld %6lld  %8lld  %13lld %4lld %5lld %5lld\n", date,
                (long long)day->allowed, (long long)day->eaten, (long long)day->used,
                (long long)day->distinct, (long long)day->refused[VT_MINUTE],
                (long long)day->refused[VT_DAY], (long long)day->refused[VT_MONTH],
                (long long)(left - day->used));
        sums.allowed += day->allowed;
        sums.left += left;
        sums.used += day->used;
        sums.distinct += day->distinct;
        sums.first += day->first;
        sums.minutes += day->refused[VT_MINUTE];
        sums.days += day->refused[VT_DAY];
        sums.months += day->refused[VT_MONTH];
    }
    fprintf(stderr,
            "all: %lld allowed, %lld left by others, %lld used, on distinct hashes of the day "
            "%lld (%.2f %%), never asked before %lld; 429s: %lld minute, %lld day, %lld month; "
            "%llu faults; breaches: %llu %s\n",
            (long long)sums.allowed, (long long)sums.left, (long long)sums.used,
            (long long)sums.distinct, 100.0 * (double)sums.distinct / (double)sums.left,
            (long long)sums.first, (long long)sums.minutes, (long long)sums.days,
            (long long)sums.months, (unsigned long long)account.faults,
            (unsigned long long)account.wrongs, account.wrong);
    return sums;
}

#ifdef MS_SLOW
enum { DAYS = 2, QUEUE = 3000 };
#else
enum { DAYS = 15, QUEUE = 22000 };
#endif
enum { SECOND_QUEUE = 2000 };

static void all_nights(void **state)
{
    char list[192], other_list[192];
    (void)state;
    /* Somebody used the first days of the month so well that it will not last to its end. */
    account.month_start = ms_clock_month_start(START);
    account.used_month = account.allowed_month - 3000;
    write_list("list", 0, QUEUE, list, sizeof list);
    write_list("other", QUEUE, QUEUE + SECOND_QUEUE, other_list, sizeof other_list);
    for (size_t day = 0; day < DAYS; day++) {
        plan_others(day, (size_t)account.allowed_day / 9);
        night(day, day == 0 ? list : NULL, day == 0 ? other_list : NULL);
    }
    struct sums sums = print_table(DAYS);
    assert_string_equal(account.wrong, "");
    assert_true(sums.left > 0 && (sums.allowed - sums.left) * 100 >= sums.allowed * 9);
    assert_true(sums.distinct * 100 >= sums.left * 99);
    assert_true(sums.days <= DAYS && sums.months <= 2);
    assert_true(DAYS < 9 || sums.allowed < DAYS * account.allowed_day); /* the month was spent */
}

/* One run over 100 hashes on an account of 40 a day, of which others spent 10. */
static void one_short_night(void)
{
    char list[192];
    account.allowed_day = 40;
    for (int i = 0; i < 10; i++)
        others[i] = START + i * 20000;
    others_count = 10;
    others_next = 0;
    write_list("list", 0, 100, list, sizeof list);
    advance(START);
    vt_turn(&account, START);
    actor_count = 0;
    plan(0, START + 5 * VT_MINUTE_MS, 0, list);
    happen();
}

/* The same against a service that keeps other rules than it tells: the books must show it, or they
 * would show nothing in all those nights either. */
static void sound_account(void **state)
{
    (void)state;
    account.faults_of_4000 = 0;
    one_short_night();
    assert_int_equal(actors[0].status, MS_E_LATER);
    assert_string_equal(account.wrong, "");
    assert_int_equal(account.days[0].eaten, 10);
    assert_int_equal(account.days[0].distinct, 30);
    assert_int_equal(account.days[0].refused[VT_DAY], 0);
}

/* The service's clock is before or behind ours when the day begins, and a run starts just then, or
 * goes on over it: what is left of the old day is used, and all of the new one. */
static void over_midnight(int64_t skew_ms, int64_t start_ms, int64_t old_day)
{
    char list[192];
    account.allowed_day = 40;
    account.faults_of_4000 = 0;
    account.skew_ms = skew_ms;
    now_ms = START + start_ms;
    vt_turn(&account, now_ms + skew_ms);
    account.used_day = account.used_month = account.allowed_day - 6;
    account.days[0].allowed = 6;
    write_list("list", 0, 100, list, sizeof list);
    actor_count = 0;
    others_count = 0;
    plan(0, now_ms, 0, list);
    happen();
    if (now_ms < START + VT_DAY_MS) { /* spent: cron's next run, a moment after our midnight */
        actor_count = 0;
        plan(0, START + VT_DAY_MS + 1000, 0, NULL);
        happen();
    }
    assert_string_equal(account.wrong, "");
    assert_int_equal(account.days[0].distinct, old_day);
    assert_int_equal(account.days[1].distinct, 40);
}

static void clock_before(void **state)
{
    (void)state;
    over_midnight(45000, VT_DAY_MS - 10 * VT_MINUTE_MS, 6);
}

static void clock_behind(void **state)
{
    (void)state;
    over_midnight(-45000, VT_DAY_MS - 10 * VT_MINUTE_MS, 6);
}

static void through_midnight_before(void **state)
{
    (void)state;
    over_midnight(45000, VT_DAY_MS - 80000, 4); /* its day ends in 35 s: a minute's worth */
}

static void through_midnight_behind(void **state)
{
    (void)state;
    over_midnight(-45000, VT_DAY_MS - 80000, 6);
}

static void longer_minute(void **state)
{
    (void)state;
    account.faults_of_4000 = 0;
    account.minute_ms = 75000;
    one_short_night();
    assert_true(account.wrongs > 0);
    assert_non_null(strstr(account.wrong, "minute"));
}

static void hidden_use(void **state)
{
    (void)state;
    account.faults_of_4000 = 0;
    account.hides = 20;
    one_short_night();
    assert_true(account.days[0].refused[VT_DAY] > 1);
    assert_non_null(strstr(account.wrong, "a second 429 for one day"));
}

static void many_faults(void **state)
{
    (void)state;
    account.faults_of_4000 = 600;
    one_short_night();
    assert_true(account.days[0].distinct * 100 < account.days[0].used * 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sound_account, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clock_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clock_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(through_midnight_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(through_midnight_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(longer_minute, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hidden_use, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_nights, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
