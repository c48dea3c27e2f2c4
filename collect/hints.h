/* Files of an origin that may name a password: those beside an archive and READMEs. Each is fetched
 * once, whether as a hint or in its own turn. Guesses nothing itself: see collect/password.h. */
#ifndef MS_COLLECT_HINTS_H
#define MS_COLLECT_HINTS_H

#include "collect/crawl.h"
#include "collect/password.h"

/* Hints that are considered for one file. */
enum { MS_HINTS_A_FILE = 12 };

struct ms_hint;

/* Memory is the arena's; crawl and entries are borrowed. */
struct ms_hints {
    struct ms_crawl *crawl;
    struct ms_arena *arena;
    struct ms_hint *items;
    size_t count;
};

/* Finds the hints among the entries. */
enum ms_status ms_hints_init(struct ms_hints *self, struct ms_crawl *crawl,
                             const struct ms_entries *entries, struct ms_arena *arena,
                             struct ms_error *err) MS_MUST_USE;

/* The git ids of the files that may name a password for `entry`: they are what its set of passwords
 * depends on. Returns how many. */
size_t ms_hints_ids(const struct ms_hints *self, const struct ms_entry *entry,
                    uint8_t ids[MS_HINTS_A_FILE][MS_SHA1_BYTES]);

/* Adds what the hints for `entry` say, which are fetched where that was not done yet. A hint that
 * cannot be had adds nothing: its own turn reports it. */
enum ms_status ms_hints_add(struct ms_hints *self, const struct ms_entry *entry,
                            struct ms_passwords *out, struct ms_error *err) MS_MUST_USE;

/* ms_crawl_fetch through what was fetched as a hint. */
enum ms_status ms_hints_fetch(struct ms_hints *self, const struct ms_entry *entry, int *fd,
                              uint64_t *size, const char **outcome,
                              struct ms_error *err) MS_MUST_USE;

#endif
