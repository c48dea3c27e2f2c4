/* A VirusTotal account in this process, with the service's rules and books of its own: who was
 * charged when, who was refused and which windows were full then. Answers requests of label's
 * transport; sends nothing, keeps no corpus, judges no client: the test that uses it does. */
#ifndef MS_TESTS_VT_ACCOUNT_H
#define MS_TESTS_VT_ACCOUNT_H

#include "base/clock.h"
#include "base/http.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VT_CLIENTS = 2,  /* corpora that share the key */
    VT_DAYS = 64,    /* days an account lives */
    VT_NAMES = 70000 /* numbers of hashes it may be asked about */
};
#define VT_MINUTE_MS ((int64_t)60000)
#define VT_HOUR_MS ((int64_t)3600000)
#define VT_DAY_MS ((int64_t)86400000)

enum vt_window { VT_NONE, VT_MINUTE, VT_HOUR, VT_DAY, VT_MONTH };

/* What the account's books say of one UTC day. */
struct vt_day {
    int64_t allowed;  /* what day and month left when it began */
    int64_t eaten;    /* charged to the other client */
    int64_t used;     /* charged to us */
    int64_t distinct; /* of those: hashes not asked before on that day and answered for good */
    int64_t first;    /* of the distinct ones: never asked before that day either */
    int64_t refused[VT_MONTH + 1]; /* our 429s by the longest window that was full */
    int64_t others_refused;
};

/* What one corpus can know: its own charged requests, and what it was told of the account. */
struct vt_client {
    int64_t told_day, told_month; /* used, as last told; -1 never */
    int64_t told_ms;
    int64_t since_told;
    int64_t day, month; /* charged to it */
    int64_t last[64];   /* when its newest requests were charged, a ring */
    uint64_t count;
};

struct vt_account {
    int64_t allowed_minute, allowed_hour, allowed_day, allowed_month;
    int64_t start_ms; /* UTC midnight of day 0 */
    int64_t used_day, used_month, used_hour;
    int64_t day_start, month_start, hour_start;
    int64_t newest[64]; /* when the last requests of anybody were charged, a ring */
    uint64_t charged;
    int64_t full_until; /* of the minute at our last 429; a second one before is one too many */
    struct vt_client clients[VT_CLIENTS];
    struct vt_day days[VT_DAYS];
    uint8_t last_day[VT_NAMES]; /* 1 + the day a number was last answered for good; 0 never */
    uint64_t faults;            /* answers that were 503, 504, 204, garbage, or none */
    struct ms_rng rng;
    uint64_t faults_of_4000; /* how many of 4000 requests go wrong */
    int64_t minute_ms; /* a minute as the account counts it: 60 s, save in tests of the tests */
    int64_t skew_ms;   /* how far its clock is before ours */
    int64_t hides;     /* used requests it does not tell of: 0, save in tests of the tests */
    char wrong[256];   /* the first breach of what a client could have known; "" when none */
    uint64_t wrongs;
};

static inline void vt_breach(struct vt_account *self, int64_t now, const char *what)
{
    char when[32];
    ms_clock_format(now, when);
    if (self->wrongs++ == 0)
        (void)snprintf(self->wrong, sizeof self->wrong, "%s: %s", when, what);
}

static inline size_t vt_day_of(const struct vt_account *self, int64_t now)
{
    return (size_t)((now - self->start_ms) / VT_DAY_MS) % VT_DAYS;
}

/* Begins new windows; what the day has to give is written down when it begins. */
static inline void vt_turn(struct vt_account *self, int64_t now)
{
    if (now - now % VT_HOUR_MS != self->hour_start) {
        self->hour_start = now - now % VT_HOUR_MS;
        self->used_hour = 0;
    }
    if (ms_clock_month_start(now) != self->month_start) {
        self->month_start = ms_clock_month_start(now);
        self->used_month = 0;
        for (size_t i = 0; i < VT_CLIENTS; i++)
            self->clients[i].month = 0;
    }
    if (ms_clock_day_start(now) != self->day_start) {
        self->day_start = ms_clock_day_start(now);
        self->used_day = 0;
        for (size_t i = 0; i < VT_CLIENTS; i++)
            self->clients[i].day = 0;
        int64_t left = self->allowed_month - self->used_month;
        self->days[vt_day_of(self, now)].allowed =
            left < self->allowed_day ? (left > 0 ? left : 0) : self->allowed_day;
    }
}

/* When a ring's n-th newest entry was made; 0 when there are fewer. */
static inline int64_t vt_nth(const int64_t *ring, uint64_t count, int64_t n)
{
    return count < (uint64_t)n ? 0 : ring[(count - (uint64_t)n) % 64];
}

/* The longest window that is full. */
static inline enum vt_window vt_full(const struct vt_account *self, int64_t now)
{
    int64_t oldest = vt_nth(self->newest, self->charged, self->allowed_minute);
    return self->used_month >= self->allowed_month        ? VT_MONTH
           : self->used_day >= self->allowed_day          ? VT_DAY
           : self->used_hour >= self->allowed_hour        ? VT_HOUR
           : oldest > 0 && now - oldest < self->minute_ms ? VT_MINUTE
                                                          : VT_NONE;
}

static inline void vt_charge(struct vt_account *self, int64_t now)
{
    self->newest[self->charged++ % 64] = now;
    self->used_hour++;
    self->used_day++;
    self->used_month++;
}

/* The other client: one look-up, refused like anybody's. */
static inline enum vt_window vt_other(struct vt_account *self, int64_t now)
{
    vt_turn(self, now);
    struct vt_day *day = &self->days[vt_day_of(self, now)];
    enum vt_window full = vt_full(self, now);
    if (full == VT_NONE) {
        vt_charge(self, now);
        day->eaten++;
    } else {
        day->others_refused++;
    }
    return full;
}

/* Refused: was it the first time for that window, and could the client not have known? */
static inline void vt_refuse(struct vt_account *self, const struct vt_client *client, int64_t now,
                             enum vt_window full)
{
    struct vt_day *day = &self->days[vt_day_of(self, now)];
    day->refused[full]++;
    if (full == VT_DAY && day->refused[VT_DAY] > 1)
        vt_breach(self, now, "a second 429 for one day");
    int64_t month = 0;
    for (size_t i = 0; i <= vt_day_of(self, now); i++)
        if (self->start_ms + (int64_t)i * VT_DAY_MS >= self->month_start)
            month += self->days[i].refused[VT_MONTH];
    if (full == VT_MONTH && month > 1)
        vt_breach(self, now, "a second 429 for one month");
    if (full == VT_MINUTE && now < self->full_until)
        vt_breach(self, now, "a second 429 before the minute had room again");
    int64_t oldest = vt_nth(client->last, client->count, self->allowed_minute);
    if (full == VT_MINUTE && oldest > 0 && now - oldest < self->minute_ms)
        vt_breach(self, now, "a 429 for a minute the client itself had filled");
    if (full == VT_MINUTE)
        self->full_until =
            vt_nth(self->newest, self->charged, self->allowed_minute) + self->minute_ms;
}

/* Whatever the answer: a request that the ledger, or what was told, says cannot be had. */
static inline void vt_check_known(struct vt_account *self, const struct vt_client *client,
                                  int64_t now)
{
    if (client->day >= self->allowed_day || client->month >= self->allowed_month)
        vt_breach(self, now, "sent although its own requests had spent the quota");
    if (client->told_ms >= self->day_start &&
        client->told_day + client->since_told >= self->allowed_day)
        vt_breach(self, now, "sent although it was told that the day is spent");
    if (client->told_ms >= self->month_start &&
        client->told_month + client->since_told >= self->allowed_month)
        vt_breach(self, now, "sent although it was told that the month is spent");
}

/* ---- answers ---- */

static inline enum ms_status vt_answer(struct ms_http_response *response, int status,
                                       const char *body)
{
    response->status = status;
    ms_buf_clear(&response->body);
    response->retry_after_ms = -1;
    response->redirected = response->may_pass = false;
    response->attempts = 1;
    (void)snprintf(response->content_type, sizeof response->content_type, "application/json");
    enum ms_status stored = ms_buf_append_text(&response->body, body);
    response->body_bytes = response->body.len;
    return stored;
}

static inline enum ms_status vt_problem(struct ms_http_response *response, int status,
                                        const char *code)
{
    char body[160];
    (void)snprintf(body, sizeof body, "{\"error\": {\"message\": \"%s\", \"code\": \"%s\"}}", code,
                   code);
    return vt_answer(response, status, body);
}

/* The 64 digits of a number; its MD5 and SHA-1 are their beginnings. */
static inline void vt_name(unsigned number, char out[65])
{
    for (unsigned i = 0; i < 8; i++)
        (void)snprintf(out + 8 * i, 9, "%08x", number * (i == 0 ? 1u : 2654435761u * i) ^ i);
}

/* A file that `engines` of eight engines call malicious. */
static inline enum ms_status vt_file_object(struct ms_http_response *response, unsigned number,
                                            unsigned engines)
{
    static const char *const names[] = {"BitDefender", "Microsoft", "Kaspersky",    "ESET-NOD32",
                                        "Avast",       "DrWeb",     "Malwarebytes", "ClamAV"};
    char name[65];
    vt_name(number, name);
    (void)vt_answer(response, 200, "");
    (void)ms_buf_printf(
        &response->body,
        "{\"data\": {\"id\": \"%s\", \"type\": \"file\", \"attributes\": {\"sha256\": \"%s\", "
        "\"sha1\": \"%.40s\", \"md5\": \"%.32s\", \"size\": 4096, "
        "\"first_submission_date\": 1600000000, \"last_analysis_date\": 1700000000, "
        "\"last_analysis_stats\": {\"malicious\": %u, \"undetected\": %u}, "
        "\"last_analysis_results\": {",
        name, name, name, name, engines, 8 - engines);
    for (unsigned i = 0; i < 8; i++)
        (void)ms_buf_printf(
            &response->body,
            "%s\"%s\": {\"category\": \"%s\", \"engine_name\": \"%s\", \"engine_version\": \"1\", "
            "\"engine_update\": \"20260101\", \"method\": \"blacklist\", \"result\": %s}",
            i ? ", " : "", names[i], i < engines ? "malicious" : "undetected", names[i],
            i < engines ? "\"Trojan.Zelphira.A\"" : "null");
    enum ms_status status = ms_buf_append_text(&response->body, "}}}}");
    response->body_bytes = response->body.len;
    return status;
}

/* Faults as they come: now and then, some of them charged and some not. True when one answered. */
static inline bool vt_fault(struct vt_account *self, struct ms_http_response *response,
                            bool charged, enum ms_status *status, struct ms_error *err)
{
    uint64_t roll = ms_rng_below(&self->rng, 4000);
    if (roll >= (charged ? self->faults_of_4000 : self->faults_of_4000 / 3))
        return false;
    self->faults++;
    roll %= 6;
    if (!charged || roll < 2)
        *status = vt_problem(response, 503, "TransientError");
    else if (roll == 2)
        *status = vt_problem(response, 504, "DeadlineExceededError");
    else if (roll == 3)
        *status = vt_answer(response, 204, "");
    else if (roll == 4)
        *status = vt_answer(response, 200, "{\"data\": {\"id\": \"\xff\xfe\", ,]");
    else {
        ms_clock_sleep_ms(60000);
        (void)vt_answer(response, 0, "");
        response->may_pass = true;
        *status = ms_error_set(err, MS_E_REMOTE, "no answer within 60 s");
    }
    return true;
}

static inline enum ms_status vt_look_up(struct vt_account *self, struct vt_client *client,
                                        const char *hash, struct ms_http_response *response,
                                        struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms() + self->skew_ms;
    vt_turn(self, now);
    struct vt_day *day = &self->days[vt_day_of(self, now)];
    enum ms_status status = MS_OK;
    vt_check_known(self, client, now);
    if (vt_fault(self, response, false, &status, err))
        return status;
    enum vt_window full = vt_full(self, now);
    if (full != VT_NONE) {
        vt_refuse(self, client, now, full);
        return vt_problem(response, 429, "QuotaExceededError");
    }
    vt_charge(self, now);
    client->last[client->count++ % 64] = now;
    client->since_told++;
    client->day++;
    client->month++;
    day->used++;
    if (vt_fault(self, response, true, &status, err))
        return status;
    char digits[9];
    (void)snprintf(digits, sizeof digits, "%.8s", hash);
    unsigned number = (unsigned)strtoul(digits, NULL, 16);
    if (number >= VT_NAMES)
        return vt_problem(response, 400, "BadRequestError");
    uint8_t today = (uint8_t)(vt_day_of(self, now) + 1);
    day->distinct += self->last_day[number] != today;
    day->first += self->last_day[number] == 0;
    self->last_day[number] = today;
    /* A quarter is known, as in a corpus of fresh downloads. */
    unsigned kind = number % 20;
    return kind < 3   ? vt_file_object(response, number, 5 + number % 3)
           : kind < 4 ? vt_file_object(response, number, 0)
           : kind < 5 ? vt_file_object(response, number, 2)
                      : vt_problem(response, 404, "NotFoundError");
}

static inline enum ms_status vt_tell(struct vt_account *self, struct vt_client *client,
                                     struct ms_http_response *response)
{
    int64_t now = ms_clock_wall_ms() + self->skew_ms;
    char body[512];
    vt_turn(self, now);
    client->told_day = self->used_day - self->hides;
    client->told_month = self->used_month - self->hides;
    client->told_ms = now;
    client->since_told = 0;
    (void)snprintf(
        body, sizeof body,
        "{\"data\": {\"api_requests_hourly\": {\"user\": {\"used\": %lld, \"allowed\": %lld}}, "
        "\"api_requests_daily\": {\"user\": {\"used\": %lld, \"allowed\": %lld}}, "
        "\"api_requests_monthly\": {\"user\": {\"used\": %lld, \"allowed\": %lld}}}}",
        (long long)self->used_hour, (long long)self->allowed_hour, (long long)client->told_day,
        (long long)self->allowed_day, (long long)client->told_month,
        (long long)self->allowed_month);
    return vt_answer(response, 200, body);
}

/* One request of a corpus, from the far end of the wire. */
static inline enum ms_status vt_handle(struct vt_account *self, size_t client,
                                       const struct ms_http_request *request,
                                       struct ms_http_response *response, struct ms_error *err)
{
    const char *path = strstr(request->url, "/api/v3/");
    if (!path || strcmp(request->method, "GET") != 0)
        return vt_problem(response, 404, "NotFoundError");
    path += strlen("/api/v3/");
    if (strncmp(path, "files/", 6) == 0)
        return vt_look_up(self, &self->clients[client], path + 6, response, err);
    if (strncmp(path, "users/", 6) == 0 && strstr(path, "/overall_quotas"))
        return vt_tell(self, &self->clients[client], response);
    return vt_problem(response, 404, "NotFoundError");
}

#endif
