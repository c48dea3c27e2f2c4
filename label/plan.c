/* Shares, turns and intervals. */
#include "label/plan.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define DAY_MS ((int64_t)86400000)

/* Spread out, so that a night that ends early has kept the shares as well. */
static const enum ms_due_share turns[10] = {
    MS_SHARE_NEW, MS_SHARE_NEW,   MS_SHARE_AGAIN, MS_SHARE_NEW, MS_SHARE_NEW,
    MS_SHARE_NEW, MS_SHARE_AGAIN, MS_SHARE_NEW,   MS_SHARE_NEW, MS_SHARE_UNKNOWN};

enum ms_status ms_plan_new(struct ms_corpus *corpus, const char *policy, struct ms_plan **out,
                           struct ms_error *err)
{
    struct ms_plan *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->corpus = corpus;
    self->policy = policy;
    enum ms_status status = ms_request_total(corpus, &self->turn, err);
    if (status == MS_OK)
        *out = self;
    else
        free(self);
    return status;
}

void ms_plan_free(struct ms_plan *self)
{
    free(self);
}

/* *has: the share has a hash at items[next]. */
static enum ms_status fill(struct ms_plan *self, enum ms_due_share which, bool *has,
                           struct ms_error *err)
{
    struct ms_plan_share *share = &self->shares[which];
    enum ms_status status = MS_OK;
    if (share->next == share->count && !share->last) {
        struct ms_due after = {0};
        if (share->count > 0)
            after = share->items[share->count - 1];
        status = ms_due_pull(self->corpus, which, self->policy, ms_clock_wall_ms(),
                             share->begun ? &after : NULL, share->items, MS_PLAN_CHUNK,
                             &share->count, err);
        share->begun = true;
        share->last = status != MS_OK || share->count < MS_PLAN_CHUNK;
        share->next = 0;
    }
    *has = share->next < share->count;
    return status;
}

enum ms_status ms_plan_next(struct ms_plan *self, struct ms_due *out, bool *found,
                            struct ms_error *err)
{
    enum ms_due_share which = turns[self->turn % 10];
    enum ms_status status = fill(self, which, found, err);
    for (unsigned i = 0; i < MS_DUE_SHARES && status == MS_OK && !*found; i++) {
        which = (enum ms_due_share)i;
        status = fill(self, which, found, err);
    }
    if (status != MS_OK || !*found)
        return status;
    *out = self->shares[which].items[self->shares[which].next++];
    self->turn++;
    return MS_OK;
}

const char *ms_plan_why(enum ms_due_class class_)
{
    static const char *const whys[MS_DUE_CLASSES] = {
        "never asked",      "no usable answer yet",   "immature or uncertain",
        "no detection yet", "no class or family yet", "stable",
        "not found so far"};
    return (unsigned)class_ < MS_DUE_CLASSES ? whys[class_] : "due";
}

void ms_plan_deal(const uint64_t due[MS_DUE_CLASSES], uint64_t left, uint64_t turn,
                  uint64_t out[MS_DUE_CLASSES])
{
    uint64_t rest[MS_DUE_SHARES] = {0}, dealt[MS_DUE_SHARES] = {0};
    for (unsigned i = 0; i < MS_DUE_CLASSES; i++)
        rest[ms_due_share_of((enum ms_due_class)i)] += due[i];
    while (left > 0) {
        /* Whole rounds of ten at once while every share can fill its turns: `left` may be huge. */
        uint64_t rounds = left / 10;
        static const uint64_t a_round[MS_DUE_SHARES] = {7, 2, 1};
        for (unsigned i = 0; i < MS_DUE_SHARES; i++)
            rounds = rest[i] / a_round[i] < rounds ? rest[i] / a_round[i] : rounds;
        for (unsigned i = 0; i < MS_DUE_SHARES && rounds > 0; i++) {
            rest[i] -= rounds * a_round[i];
            dealt[i] += rounds * a_round[i];
        }
        left -= rounds * 10;
        enum ms_due_share which = turns[turn++ % 10];
        for (unsigned i = 0; i < MS_DUE_SHARES && rest[which] == 0; i++)
            which = (enum ms_due_share)i;
        if (left == 0 || rest[which] == 0)
            break;
        rest[which]--;
        dealt[which]++;
        left--;
    }
    for (unsigned i = 0; i < MS_DUE_CLASSES; i++) {
        enum ms_due_share which = ms_due_share_of((enum ms_due_class)i);
        out[i] = due[i] < dealt[which] ? due[i] : dealt[which];
        dealt[which] -= out[i];
    }
}

static int64_t stable_days(int64_t unchanged)
{
    static const int64_t days[] = {30, 60, 120, 365};
    return days[unchanged < 0 ? 0 : unchanged > 3 ? 3 : unchanged];
}

int64_t ms_plan_due_ms(const struct ms_label *label, int64_t first_submission_ms,
                       unsigned min_age_days, int64_t unchanged, int64_t now_ms)
{
    static const int64_t ages[] = {30, 90, 180};
    int64_t due = now_ms + stable_days(unchanged) * DAY_MS, first = first_submission_ms;
    if (label->contested) {
        due = ms_plan_not_found_due_ms(unchanged + 1, now_ms);
    } else if (strcmp(label->verdict, "immature") == 0) {
        /* Of age by now, but nobody had it scanned again: as the rest, look in from time to time.
         */
        int64_t of_age = first + (int64_t)min_age_days * DAY_MS;
        if (first > 0 && of_age > now_ms)
            due = of_age;
    } else if (strcmp(label->verdict, "benign") == 0 && label->positives == 0 && first > 0) {
        for (size_t i = sizeof ages / sizeof *ages; i-- > 0;)
            if (first + ages[i] * DAY_MS > now_ms)
                due = first + ages[i] * DAY_MS;
    }
    return due < now_ms + DAY_MS ? now_ms + DAY_MS : due;
}

int64_t ms_plan_not_found_due_ms(int64_t tries, int64_t now_ms)
{
    int64_t days = tries <= 1 ? 7 : tries == 2 ? 14 : tries == 3 ? 28 : 90;
    return now_ms + days * DAY_MS;
}
