/* label quota: what the key may ask, what is used, and what a run would ask now. */
#include "label/session_private.h"

#include "base/clock.h"
#include "base/json.h"
#include "label/plan.h"

#include <stdio.h>

#define DAY_MS ((int64_t)86400000)

/* One window as it is shown; -1: no limit, or unknown. */
struct window {
    const char *name;
    int64_t allowed, used, resets_ms;
};

static int64_t left_of(const struct window *window)
{
    if (window->allowed < 0)
        return -1;
    return window->allowed > window->used ? window->allowed - window->used : 0;
}

static enum ms_status read_windows(struct ms_quota *quota, struct window out[4],
                                   struct ms_error *err)
{
    int64_t now = ms_clock_wall_ms(), minute = 0, hour = 0, day = 0, month = 0;
    enum ms_status status = ms_quota_used_lately(quota, &minute, &hour, err);
    if (status == MS_OK)
        status = ms_quota_used(quota, &day, &month, err);
    if (status != MS_OK)
        return status;
    out[0] = (struct window){"minute", quota->minute, minute, 0};
    out[1] = (struct window){"hour", quota->hour, hour, 0};
    out[2] = (struct window){"day", quota->day, day, ms_clock_day_start(now) + DAY_MS};
    out[3] = (struct window){"month", quota->month, month, ms_clock_next_month(now)};
    return MS_OK;
}

static json_t *count_or_null(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

static enum ms_status print_json(json_t *object, struct ms_error *err)
{
    return object ? ms_json_line(stdout, object, err)
                  : ms_error_set(err, MS_E_NOMEM, "out of memory");
}

static enum ms_status show_window(const struct ms_quota *quota, const struct window *window,
                                  bool told, bool json, struct ms_error *err)
{
    char resets[32] = "-", numbers[3][24];
    const int64_t values[3] = {window->allowed, window->used, left_of(window)};
    if (window->resets_ms > 0)
        ms_clock_format(window->resets_ms, resets);
    if (json)
        return print_json(
            json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:b}", "key", quota->key_print, "window",
                      window->name, "allowed", count_or_null(values[0]), "used",
                      count_or_null(values[1]), "left", count_or_null(values[2]), "resets",
                      window->resets_ms > 0 ? ms_json_text(resets) : json_null(), "told", told),
            err);
    for (int i = 0; i < 3; i++)
        (void)snprintf(numbers[i], sizeof numbers[i], values[i] < 0 ? "-" : "%lld",
                       (long long)values[i]);
    (void)printf("%-8s %10s %10s %10s  %s\n", window->name, numbers[0], numbers[1], numbers[2],
                 window->resets_ms > 0 ? resets : "slides");
    return MS_OK;
}

struct plan {
    uint64_t due[MS_DUE_CLASSES], tonight[MS_DUE_CLASSES];
    uint64_t all_due, all_tonight, minutes;
    int64_t days; /* -1: never */
};

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static enum ms_status make_plan(struct ms_session *self, const struct window windows[4],
                                struct plan *out, struct ms_error *err)
{
    const struct ms_quota *quota = &self->asker.quota;
    uint64_t left = UINT64_MAX, turn = 0;
    *out = (struct plan){.days = -1};
    for (int i = 2; i < 4; i++)
        if (windows[i].allowed >= 0 && (uint64_t)left_of(&windows[i]) < left)
            left = (uint64_t)left_of(&windows[i]);
    if (quota->hour == 0)
        left = 0;
    enum ms_status status =
        ms_due_count(self->corpus, self->policy->name, ms_clock_wall_ms(), out->due, err);
    if (status == MS_OK)
        status = ms_request_total(self->corpus, &turn, err);
    if (status != MS_OK)
        return status;
    ms_plan_deal(out->due, left, turn, out->tonight);
    for (unsigned i = 0; i < MS_DUE_CLASSES; i++) {
        out->all_due += out->due[i];
        out->all_tonight += out->tonight[i];
    }
    out->minutes = divide_up(out->all_tonight, (uint64_t)quota->minute);
    if (quota->hour > 0 && quota->hour < 60 * quota->minute)
        out->minutes = divide_up(out->all_tonight * 60, (uint64_t)quota->hour);
    /* The smaller of the day's and a thirtieth of the month's rules in the long run. */
    uint64_t a_day = quota->day < 0 ? (uint64_t)quota->minute * 1440 : (uint64_t)quota->day;
    if (quota->month >= 0 && divide_up((uint64_t)quota->month, 30) < a_day)
        a_day = divide_up((uint64_t)quota->month, 30);
    if (a_day > 0 && quota->hour != 0)
        out->days = (int64_t)divide_up(out->all_due, a_day);
    return MS_OK;
}

static enum ms_status show_plan_json(const struct ms_quota *quota, const struct plan *plan,
                                     struct ms_error *err)
{
    json_t *classes = json_array();
    for (unsigned i = 0; classes && i < MS_DUE_CLASSES; i++)
        (void)json_array_append_new(
            classes, json_pack("{s:s,s:I,s:I}", "class", ms_plan_why((enum ms_due_class)i), "due",
                               (json_int_t)plan->due[i], "tonight", (json_int_t)plan->tonight[i]));
    return print_json(json_pack("{s:s,s:o,s:I,s:I,s:I,s:o}", "key", quota->key_print, "plan",
                                classes, "due", (json_int_t)plan->all_due, "tonight",
                                (json_int_t)plan->all_tonight, "minutes", (json_int_t)plan->minutes,
                                "days", count_or_null(plan->days)),
                      err);
}

static void show_plan_text(const struct ms_quota *quota, const struct plan *plan)
{
    (void)printf("\n%-24s %10s %10s\n", "A RUN NOW WOULD ASK", "DUE", "ASKED");
    for (unsigned i = 0; i < MS_DUE_CLASSES; i++)
        (void)printf("%-24s %10llu %10llu\n", ms_plan_why((enum ms_due_class)i),
                     (unsigned long long)plan->due[i], (unsigned long long)plan->tonight[i]);
    (void)printf("%-24s %10llu %10llu  in about %llu h %02llu min at %lld a minute\n", "all",
                 (unsigned long long)plan->all_due, (unsigned long long)plan->all_tonight,
                 (unsigned long long)plan->minutes / 60, (unsigned long long)plan->minutes % 60,
                 (long long)quota->minute);
    if (plan->all_due > plan->all_tonight && plan->days > 0)
        (void)printf("all that is due now takes about %lld days\n", (long long)plan->days);
}

static enum ms_status show(struct ms_session *self, struct ms_error *err)
{
    struct ms_quota *quota = &self->asker.quota;
    bool json = self->cli->common.json;
    struct window windows[4];
    struct plan plan;
    enum ms_status status = read_windows(quota, windows, err);
    if (status == MS_OK)
        status = make_plan(self, windows, &plan, err);
    if (status == MS_OK && !json)
        (void)printf("key %s, %s\n%-8s %10s %10s %10s  %s\n", quota->key_print,
                     quota->read_ms > 0 ? "limits as the service says"
                                        : "limits of a public key (the service does not say)",
                     "WINDOW", "ALLOWED", "USED", "LEFT", "RESETS");
    for (int i = 0; i < 4 && status == MS_OK; i++)
        status = show_window(quota, &windows[i], self->asker.named, json, err);
    if (status == MS_OK && json)
        status = show_plan_json(quota, &plan, err);
    else if (status == MS_OK)
        show_plan_text(quota, &plan);
    return status;
}

/* *reads as given: holds nobody up, writes nothing, migrates nothing. While a run holds the corpus,
 * people still want to know how far it is: then so, too. */
static enum ms_status open_corpus(const char *dir, bool *reads, struct ms_corpus **out,
                                  struct ms_error *err)
{
    enum ms_status status = ms_corpus_open(dir, *reads ? MS_CORPUS_READ : MS_CORPUS_TRY, out, err);
    if (status == MS_E_LATER && !*reads) {
        *reads = true;
        return ms_corpus_open(dir, MS_CORPUS_READ, out, err);
    }
    if (status == MS_E_INPUT && *reads) /* there is none, and none is made */
        return ms_corpus_open(dir, MS_CORPUS_TRY, out, err);
    return status;
}

enum ms_status ms_label_quota(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_session self = {.cli = cli, .options = cli->options};
    enum ms_status status = ms_policy_open(self.options->policy, &self.policy, err);
    bool reads = cli->common.dry_run;
    if (status == MS_OK)
        status = ms_session_read_key(&self, err);
    if (status == MS_OK)
        status = open_corpus(cli->common.corpus, &reads, &self.corpus, err);
    if (status == MS_OK)
        status = ms_session_open_service(&self, err);
    self.asker.quota.read_only = reads;
    if (status == MS_OK)
        status = ms_asker_read_quota(&self.asker, err);
    if (status == MS_OK)
        status = show(&self, err);
    ms_session_close(&self);
    return status;
}
