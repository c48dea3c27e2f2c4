/* In which order hashes are asked, and when each is asked again. Reads the corpus; asks nobody. */
#ifndef MS_LABEL_PLAN_H
#define MS_LABEL_PLAN_H

#include "store/label.h"

enum { MS_PLAN_CHUNK = 1024 };

/* Of every ten look-ups seven go to hashes never asked, two to those due again, one to those not
 * found so far; a share with nothing due leaves its turn to the others, in that order. The turns go
 * on where the last run left off, by the number of requests the ledger holds, so that even a quota
 * of one a day starves none. Rows are read in chunks: a queue of millions costs no memory. */
struct ms_plan {
    struct ms_corpus *corpus;
    const char *policy; /* borrowed */
    uint64_t turn;
    struct ms_plan_share {
        struct ms_due items[MS_PLAN_CHUNK];
        size_t count, next;
        bool begun, last; /* last: nothing is due behind items */
    } shares[MS_DUE_SHARES];
};

/* Heap: a plan is too large for the stack. */
enum ms_status ms_plan_new(struct ms_corpus *corpus, const char *policy, struct ms_plan **out,
                           struct ms_error *err) MS_MUST_USE;
void ms_plan_free(struct ms_plan *self);

/* The next hash, or *found false when nothing more is due. Each sample comes once a plan. The row
 * was read up to a chunk ago: look it up again before asking. */
enum ms_status ms_plan_next(struct ms_plan *self, struct ms_due *out, bool *found,
                            struct ms_error *err) MS_MUST_USE;

/* Why a hash of this class is asked: "never asked", "no class or family". Static text. */
const char *ms_plan_why(enum ms_due_class class_);

/* How many of each class will be asked when `left` requests are left: `due` dealt out in turns as
 * above, from turn `turn`. */
void ms_plan_deal(const uint64_t due[MS_DUE_CLASSES], uint64_t left, uint64_t turn,
                  uint64_t out[MS_DUE_CLASSES]);

/* When a sample is worth asking about again, UTC ms, after an answer at now_ms. label: the current
 * one, whose verdict decides. Immature: when it comes of age (min_age_days after first submission,
 * 0 unknown). Without any detection: at ages of 30, 90 and 180 days, where missed malware shows.
 * Contested by its newest scan: after 7, 14, 28, then 90 days, for a second scan settles it.
 * Everything else, and those beyond: after 30, 60, 120, then 365 days; `unchanged` counts the
 * answers in a row that brought nothing new, this one included. Never earlier than a day. */
int64_t ms_plan_due_ms(const struct ms_label *label, int64_t first_submission_ms,
                       unsigned min_age_days, int64_t unchanged, int64_t now_ms);
/* The same for a hash not found `tries` times in a row: 7, 14, 28, then 90 days. */
int64_t ms_plan_not_found_due_ms(int64_t tries, int64_t now_ms);

#endif
