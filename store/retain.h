/* Retention: which reports and programs have had their time, and giving them up. Rows, traces and
 * labels stay; what goes are the objects. */
#ifndef MS_STORE_RETAIN_H
#define MS_STORE_RETAIN_H

#include "store/corpus.h"
#include "store/vault.h"

#include <stdint.h>

enum ms_retain_rule {
    MS_RETAIN_REPORTS,   /* reports whose traces are stored (state ok), by when they were read */
    MS_RETAIN_BENIGN,    /* programs with a current label that is benign, and none that is
                            malicious, grayware or uncertain, by when their bytes came
                            in */
    MS_RETAIN_UNLABELLED /* programs without any current label but not_found and immature, by the
                            same; not those that are private or whose look-up has not ended */
};

/* One that a rule takes: the object, its digest, and the plain bytes by its row (-1 unknown). */
typedef enum ms_status (*ms_retain_visit)(void *ctx, enum ms_vault_kind kind,
                                          const uint8_t sha256[32], int64_t bytes,
                                          struct ms_error *err);

/* To be asked before anything is given up. MS_E_INPUT where the clock is likely wrong: the last run
 * of a week ago or longer lies more than 90 days before now_ms, or one lies ahead of it and none
 * that is a week old came after. Without such a run there is nothing to compare. */
enum ms_status ms_retain_check_clock(struct ms_corpus *corpus, int64_t now_ms,
                                     struct ms_error *err) MS_MUST_USE;
/* Visits what the rule takes of before_ms, oldest first. Programs with a task at a sandbox that has
 * not ended are left out. Reads alone. */
enum ms_status ms_retain_foreach(struct ms_corpus *corpus, enum ms_retain_rule rule,
                                 int64_t before_ms, ms_retain_visit visit, void *ctx,
                                 struct ms_error *err) MS_MUST_USE;
/* Gives them up: the rows of a few hundred say so and are committed, then their objects are removed
 * and visited. A death between the two leaves objects that fsck --repair removes; nothing is left
 * that names an object which is not there. Ends in order when the process is asked to stop. */
enum ms_status ms_retain_run(struct ms_corpus *corpus, enum ms_retain_rule rule, int64_t before_ms,
                             int64_t now_ms, ms_retain_visit visit, void *ctx,
                             struct ms_error *err) MS_MUST_USE;

#endif
