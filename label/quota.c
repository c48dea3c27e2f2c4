/* The ledger's arithmetic. */
#include "label/quota.h"

#include "base/clock.h"
#include "base/http_retry.h"

#include <string.h>

enum { PUBLIC_MINUTE = 4, PUBLIC_DAY = 500, PUBLIC_MONTH = 15500 };
enum { MINUTE_MS = 60000, HOUR_MS = 3600000, MARGIN_MS = 1000 };
enum { REFUSALS_MAX = 8, REFUSED_BASE_MS = 15000, REFUSED_CAP_MS = 600000 };
/* Answers without a refusal between them after which a halved rate doubles again: whoever shares
 * the key is gone, and the night is short. */
enum { CLEAN = 8 };
/* A pause the service asks for that is longer than this is left to a later run. */
enum { PATIENCE_MS = 900000 };
/* How far the clocks of service and machine may be apart when a day begins. */
enum { SKEW_MS = 900000 };
/* The longest sleep at a time, so that a step of the clock is noticed, and what is added to a time
 * at which a window opens. */
enum { SLICE_MS = 600000, OPENING_MS = 2000 };
/* Refusals in a row that are taken from a service that never tells its count. */
enum { REFUSALS_UNTOLD = 3 };

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The service names no limit per minute. Where it names none per hour either, the others say how
 * fast they can be used up. */
static int64_t minute_limit(const struct ms_quota_told *told)
{
    if (told->hour_allowed >= 0)
        return max64(1, told->hour_allowed / 60);
    return max64(PUBLIC_MINUTE, told->day_allowed / 1440);
}

static void set_limits(struct ms_quota *self, const struct ms_quota_told *told)
{
    bool any = told->hour_allowed >= 0 || told->day_allowed >= 0 || told->month_allowed >= 0;
    self->hour = told->hour_allowed;
    self->minute = minute_limit(told);
    self->day = any ? told->day_allowed : PUBLIC_DAY;
    self->month = any ? told->month_allowed : PUBLIC_MONTH;
    self->hour_used = max64(told->hour_used, 0);
    self->day_used = max64(told->day_used, 0);
    self->month_used = max64(told->month_used, 0);
}

enum ms_status ms_quota_open(struct ms_quota *self, struct ms_corpus *corpus, const char *key_print,
                             const struct ms_quota_options *options, struct ms_error *err)
{
    static const char *const names[] = {"hour", "day", "month"};
    struct ms_quota_told told = {-1, -1, -1, -1, -1, -1};
    int64_t *fields[3][2] = {{&told.hour_allowed, &told.hour_used},
                             {&told.day_allowed, &told.day_used},
                             {&told.month_allowed, &told.month_used}};
    *self = (struct ms_quota){.corpus = corpus, .options = *options};
    strncpy(self->key_print, key_print, sizeof self->key_print - 1);
    ms_rng_init(&self->rng, options->seed, 0x71756f74, (uint64_t)ms_clock_wall_ms());
    for (int i = 0; i < 3; i++) {
        struct ms_quota_window window;
        bool found = false;
        enum ms_status status = ms_quota_get(corpus, key_print, names[i], &found, &window, err);
        if (status != MS_OK)
            return status;
        if (!found)
            continue;
        *fields[i][0] = window.allowed;
        *fields[i][1] = window.used;
        self->read_ms = window.read_ms;
    }
    set_limits(self, &told);
    return MS_OK;
}

enum ms_status ms_quota_tell(struct ms_quota *self, const struct ms_quota_told *told,
                             struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms();
    const struct ms_quota_window windows[] = {
        {"hour", told->hour_allowed, told->hour_used, now},
        {"day", told->day_allowed, told->day_used, now},
        {"month", told->month_allowed, told->month_used, now}};
    enum ms_status status = self->read_only ? MS_OK : ms_corpus_begin(self->corpus, err);
    for (int i = 0; i < 3 && status == MS_OK && !self->read_only; i++)
        if (windows[i].allowed >= 0)
            status = ms_quota_put(self->corpus, self->key_print, &windows[i], err);
    if (status == MS_OK && !self->read_only)
        status = ms_corpus_commit(self->corpus, err);
    if (status != MS_OK) {
        ms_corpus_rollback(self->corpus);
        return status;
    }
    ms_quota_tried(self);
    self->read_ms = self->tried_ms = now;
    set_limits(self, told);
    return MS_OK;
}

void ms_quota_tried(struct ms_quota *self)
{
    self->tried = true;
    self->tried_ms = ms_clock_wall_ms();
    self->tried_mono_ms = ms_clock_mono_ms();
}

/* Counted requests since start_ms by the ledger. A month's may be a million rows, and each request
 * asks three times: they are counted once, and kept up to date afterwards. Nobody else writes this
 * key's rows while the corpus is ours; one that is only read is counted anew each time. */
static enum ms_status ledger_since(struct ms_quota *self, int64_t start_ms, int64_t *count,
                                   struct ms_error *err)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < sizeof self->counts / sizeof *self->counts && !self->read_only; i++)
        if (self->counts[i].valid && self->counts[i].start_ms == start_ms) {
            *count = self->counts[i].count;
            return MS_OK;
        }
    enum ms_status status =
        ms_request_count(self->corpus, self->key_print, start_ms, INT64_MAX, &rows, err);
    *count = (int64_t)rows;
    size_t slot = self->next_count++ % (sizeof self->counts / sizeof *self->counts);
    if (status == MS_OK)
        self->counts[slot] = (struct ms_quota_count){start_ms, *count, true};
    return status;
}

static void adjust_counts(struct ms_quota *self, int64_t by)
{
    for (size_t i = 0; i < sizeof self->counts / sizeof *self->counts; i++)
        self->counts[i].count += by;
}

/* Requests of the window that began at start_ms: by the ledger, or by the service's count when it
 * was read inside the window plus what was sent since; the larger. */
static enum ms_status used_since(struct ms_quota *self, int64_t start_ms, int64_t service_used,
                                 int64_t *used, struct ms_error *err)
{
    int64_t since = 0;
    enum ms_status status = ledger_since(self, start_ms, used, err);
    if (status != MS_OK || self->read_ms < start_ms)
        return status;
    status = ledger_since(self, self->read_ms, &since, err);
    *used = max64(*used, service_used + since);
    return status;
}

enum ms_status ms_quota_used(struct ms_quota *self, int64_t *day, int64_t *month,
                             struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms();
    enum ms_status status = used_since(self, ms_clock_day_start(now), self->day_used, day, err);
    return status == MS_OK
               ? used_since(self, ms_clock_month_start(now), self->month_used, month, err)
               : status;
}

static void spent(struct ms_quota_advice *out, int64_t resume_at_ms, const char *why)
{
    *out = (struct ms_quota_advice){MS_QUOTA_SPENT, 0, resume_at_ms, why};
}

/* True when a count that was read last says nothing reliable of now any more. */
static bool is_stale(const struct ms_quota *self)
{
    int64_t now = ms_clock_wall_ms();
    return !self->tried || ms_clock_mono_ms() - self->tried_mono_ms >= HOUR_MS ||
           ms_clock_day_start(now) > self->tried_ms || now + MINUTE_MS < self->tried_ms;
}

/* When only the service's count says that a window is spent: read it again before it is believed.
 * False when it was read just now. */
static bool read_first(const struct ms_quota *self, struct ms_quota_advice *out)
{
    if (self->tried && ms_clock_mono_ms() - self->tried_mono_ms < MINUTE_MS)
        return false;
    *out = (struct ms_quota_advice){.word = MS_QUOTA_READ};
    return true;
}

/* Sets *out when a window that began at start_ms is spent; leaves it alone otherwise. */
static enum ms_status check_window(struct ms_quota *self, int64_t start_ms, int64_t end_ms,
                                   int64_t allowed, int64_t service_used, const char *why,
                                   struct ms_quota_advice *out, struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms(), used = 0, ledger = 0;
    if (allowed < 0 || out->word != MS_QUOTA_GO)
        return MS_OK;
    if (allowed == 0) {
        *out = (struct ms_quota_advice){MS_QUOTA_BARRED, 0, 0, why};
        return MS_OK;
    }
    enum ms_status status = ledger_since(self, start_ms, &ledger, err);
    if (status == MS_OK)
        status = used_since(self, start_ms, service_used, &used, err);
    if (status != MS_OK || used < allowed)
        return status;
    if (ledger >= allowed)
        spent(out, end_ms, why);
    else if (!read_first(self, out) && now - start_ms < SKEW_MS)
        *out = (struct ms_quota_advice){
            MS_QUOTA_WAIT, self->tried_mono_ms + MINUTE_MS + MARGIN_MS - ms_clock_mono_ms(), 0,
            "the service may still count the day before"};
    else if (out->word == MS_QUOTA_GO)
        spent(out, end_ms, why);
    return MS_OK;
}

/* Sets *out when the month or the day is spent. */
static enum ms_status check_long_windows(struct ms_quota *self, struct ms_quota_advice *out,
                                         struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms(), day = ms_clock_day_start(now);
    enum ms_status status =
        check_window(self, ms_clock_month_start(now), ms_clock_next_month(now), self->month,
                     self->month_used, "the monthly quota is spent", out, err);
    return status == MS_OK ? check_window(self, day, day + 24 * (int64_t)HOUR_MS, self->day,
                                          self->day_used, "the daily quota is spent", out, err)
                           : status;
}

/* Requests the service counted in the hour when it was read, and those sent since; 0 when that was
 * too long ago to matter. */
static enum ms_status service_hour(struct ms_quota *self, int64_t *used, struct ms_error *err)
{
    int64_t since = 0, age = ms_clock_wall_ms() - self->read_ms;
    *used = 0;
    if (self->read_ms == 0 || age < 0 || age >= HOUR_MS)
        return MS_OK;
    enum ms_status status = ledger_since(self, self->read_ms, &since, err);
    *used = self->hour_used + since;
    return status;
}

/* Others may have spent the hour. When theirs leave it nobody says: the count is read again every
 * minute, which costs nothing. */
static enum ms_status check_hour(struct ms_quota *self, struct ms_quota_advice *out,
                                 struct ms_error *err)
{
    int64_t used = 0;
    if (self->hour < 0 || out->word != MS_QUOTA_GO)
        return MS_OK;
    if (self->hour == 0) {
        *out = (struct ms_quota_advice){MS_QUOTA_BARRED, 0, 0, "the hourly quota is spent"};
        return MS_OK;
    }
    enum ms_status status = service_hour(self, &used, err);
    if (status == MS_OK && used >= self->hour && !read_first(self, out))
        *out = (struct ms_quota_advice){
            MS_QUOTA_WAIT, self->tried_mono_ms + MINUTE_MS + MARGIN_MS - ms_clock_mono_ms(), 0,
            "the hour's quota is spent"};
    return status;
}

enum ms_status ms_quota_used_lately(struct ms_quota *self, int64_t *minute, int64_t *hour,
                                    struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms(), service = 0;
    uint64_t counts[2] = {0, 0};
    enum ms_status status = ms_request_count(self->corpus, self->key_print, now - MINUTE_MS,
                                             INT64_MAX, &counts[0], err);
    if (status == MS_OK)
        status = ms_request_count(self->corpus, self->key_print, now - HOUR_MS, INT64_MAX,
                                  &counts[1], err);
    if (status == MS_OK)
        status = service_hour(self, &service, err);
    *minute = (int64_t)counts[0];
    *hour = max64((int64_t)counts[1], service);
    return status;
}

/* A day or month that is over before the run's end time is waited for. */
static void be_patient(struct ms_quota *self, struct ms_quota_advice *out)
{
    int64_t now = ms_clock_wall_ms(), until = self->options.until_ms;
    int64_t opens = out->resume_at_ms + OPENING_MS;
    if (out->word != MS_QUOTA_SPENT || opens >= until)
        return;
    out->word = MS_QUOTA_WAIT;
    out->wait_ms = opens - now < SLICE_MS ? max64(1, opens - now) : SLICE_MS;
}

static int64_t rate(const struct ms_quota *self)
{
    int64_t minute = self->minute;
    for (unsigned i = 0; i < self->halved && minute > 1; i++)
        minute /= 2;
    return minute;
}

/* Ms until a sliding window of window_ms, with room for `allowed`, has room again. The service
 * books a request when it arrives there, which is before its answer came: a slot is free one window
 * after that answer. */
static enum ms_status slot_wait(struct ms_quota *self, int64_t allowed, int64_t window_ms,
                                int64_t *wait, struct ms_error *err)
{
    int64_t sent = 0, now = ms_clock_wall_ms(), n = allowed > 0 ? allowed : 1;
    *wait = 0;
    if (n <= MS_QUOTA_RECENT && self->settled_count >= (uint64_t)n) {
        int64_t at = self->settled_ms[(self->settled_count - (uint64_t)n) % MS_QUOTA_RECENT];
        *wait = max64(0, at + window_ms + MARGIN_MS - ms_clock_mono_ms());
        return MS_OK;
    }
    enum ms_status status =
        ms_request_nth_newest(self->corpus, self->key_print, (uint64_t)n, &sent, err);
    if (status == MS_OK && sent > 0) {
        /* A time in the future means the wall clock was set back: wait the window out once. */
        int64_t left = sent > now ? window_ms : sent + window_ms - now;
        *wait = left > 0 ? left + MARGIN_MS : 0;
    }
    return status;
}

static enum ms_status check_short_windows(struct ms_quota *self, struct ms_quota_advice *out,
                                          struct ms_error *err)
{
    int64_t minute = 0, hour = 0, mono = ms_clock_mono_ms();
    enum ms_status status = slot_wait(self, rate(self), MINUTE_MS, &minute, err);
    if (status == MS_OK && self->hour >= 0)
        status = slot_wait(self, self->hour, HOUR_MS, &hour, err);
    if (status != MS_OK)
        return status;
    int64_t wait = max64(minute, hour);
    if (wait == 0 || (self->minute_free_ms != 0 && mono >= self->minute_free_ms))
        return MS_OK;
    if (self->minute_free_ms == 0 || self->minute_free_ms > mono + wait)
        self->minute_free_ms = mono + wait;
    *out = (struct ms_quota_advice){MS_QUOTA_WAIT, self->minute_free_ms - mono, 0,
                                    hour > minute ? "the hour's quota is spent"
                                                  : "the minute's quota is spent"};
    return MS_OK;
}

const char *ms_quota_bound(const struct ms_quota *self, int64_t wait_ms)
{
    if (self->options.budget == 0)
        return "the run's budget is used up";
    return self->options.until_ms > 0 && ms_clock_wall_ms() + wait_ms >= self->options.until_ms
               ? "the run's end time is reached"
               : NULL;
}

enum ms_status ms_quota_advise(struct ms_quota *self, struct ms_quota_advice *out,
                               struct ms_error *err)
{
    const char *bound = ms_quota_bound(self, 0);
    *out = (struct ms_quota_advice){bound ? MS_QUOTA_DONE : MS_QUOTA_GO, 0, 0, bound};
    if (bound)
        return MS_OK;
    if (is_stale(self)) {
        *out = (struct ms_quota_advice){.word = MS_QUOTA_READ};
        return MS_OK;
    }
    enum ms_status status = check_long_windows(self, out, err);
    if (status == MS_OK)
        status = check_hour(self, out, err);
    if (status == MS_OK && out->word == MS_QUOTA_GO)
        status = check_short_windows(self, out, err);
    be_patient(self, out);
    bound = ms_quota_bound(self, out->wait_ms);
    if (status == MS_OK && out->word == MS_QUOTA_WAIT && bound)
        *out = (struct ms_quota_advice){MS_QUOTA_DONE, 0, 0, bound};
    return status;
}

enum ms_status ms_quota_reserve(struct ms_quota *self, const char *endpoint, const char *subject,
                                int64_t *id, struct ms_error *err)
{
    enum ms_status status = ms_request_reserve(self->corpus, self->key_print, endpoint, subject,
                                               ms_clock_wall_ms(), true, id, err);
    if (status != MS_OK)
        return status;
    if (self->options.budget != UINT64_MAX)
        self->options.budget--;
    self->minute_free_ms = 0;
    adjust_counts(self, 1);
    return MS_OK;
}

enum ms_status ms_quota_settle(struct ms_quota *self, int64_t id, int status, const char *code,
                               struct ms_error *err)
{
    bool counted = status != 401 && status != 429 && status != MS_QUOTA_UNSENT;
    if (counted)
        self->settled_ms[self->settled_count++ % MS_QUOTA_RECENT] = ms_clock_mono_ms();
    if (status != 429)
        self->refused = 0;
    if (counted && self->halved > 0 && ++self->clean >= CLEAN) {
        self->halved--;
        self->clean = 0;
    }
    if (!counted)
        adjust_counts(self, -1);
    if (!counted && self->options.budget != UINT64_MAX)
        self->options.budget++;
    return ms_request_settle(self->corpus, id, ms_clock_wall_ms(),
                             status == MS_QUOTA_UNSENT ? 0 : status, code, counted, err);
}

/* Day, month and hour have some left: what a refusal can mean, as far as it is known. */
static const char *which_window(const struct ms_quota *self)
{
    if (self->refused > 1)
        return "the service refused again, although it has quota left for this account";
    return self->tried && self->read_ms >= self->tried_ms
               ? "the service refused the request: the minute's quota, as hour, day and month have "
                 "some left"
               : "the service refused the request, and does not tell which quota is spent";
}

enum ms_status ms_quota_refused(struct ms_quota *self, int64_t retry_after_ms,
                                struct ms_quota_advice *out, struct ms_error *err)
{
    int64_t minute = 0;
    *out = (struct ms_quota_advice){.word = MS_QUOTA_GO};
    self->refused++;
    enum ms_status status = check_long_windows(self, out, err);
    if (status == MS_OK)
        status = check_hour(self, out, err);
    be_patient(self, out);
    if (status == MS_OK && out->word == MS_QUOTA_GO)
        status = slot_wait(self, rate(self), MINUTE_MS, &minute, err);
    if (status != MS_OK || out->word != MS_QUOTA_GO)
        return status;
    if (self->refused >= (self->read_ms > 0 ? REFUSALS_MAX : REFUSALS_UNTOLD)) {
        spent(out, ms_clock_wall_ms() + HOUR_MS,
              "the service refuses although quota is left; it may limit this network");
        return MS_OK;
    }
    /* Another program may have spent the minute: the whole of it must pass, each time again. */
    int64_t wait = max64(minute, MINUTE_MS) + MARGIN_MS + (int64_t)ms_rng_below(&self->rng, 2000);
    self->clean = 0;
    if (self->refused > 1) {
        self->halved++;
        wait = max64(wait, ms_retry_backoff_ms(&self->rng, REFUSED_BASE_MS, REFUSED_CAP_MS,
                                               self->refused - 1));
    }
    wait = max64(wait, retry_after_ms);
    if (wait > PATIENCE_MS) {
        spent(out, ms_clock_wall_ms() + wait, "the service asks for a longer pause");
        return MS_OK;
    }
    *out = (struct ms_quota_advice){MS_QUOTA_WAIT, wait, 0, which_window(self)};
    return MS_OK;
}
