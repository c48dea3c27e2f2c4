/* Which antivirus engines share one detection engine, and since when: engines that license each
 * other's detection give one vote. Union-find over dated memberships; knows nothing of labels. */
#ifndef MS_LABEL_GROUPS_H
#define MS_LABEL_GROUPS_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of a key, its NUL included: an engine's name as compared, letters and digits alone in lower
 * case. Longer ones are cut. */
enum { MS_ENGINE_KEY_BYTES = 40 };

/* Engines that are one from `from` until (not including) `until`, days as "YYYY-MM-DD"; NULL:
 * always, and still. */
struct ms_group_row {
    const char *engines; /* separated by blanks or, where names hold blanks, by '|' */
    const char *from, *until;
};

struct ms_groups;

/* The table that comes with the program; lives as long as the process. Thread-safe. */
const struct ms_groups *ms_groups_builtin(void);

/* A table of one's own; the rows may go afterwards. MS_E_INPUT for a day that is none, a row that
 * ends before it begins, or more than MS_LIMIT_GROUP_ENGINES names or MS_LIMIT_GROUP_DAYS days. */
enum ms_status ms_groups_new(const struct ms_group_row *rows, size_t count, struct ms_groups **out,
                             struct ms_error *err) MS_MUST_USE;
void ms_groups_free(struct ms_groups *self);

/* The memberships in force at a time (UTC ms; 0: unknown, which is taken for today), as a number
 * for ms_groups_find. */
unsigned ms_groups_at(const struct ms_groups *self, int64_t when_ms);

/* The key of an engine's name and a hash of it. */
uint32_t ms_engine_key(const char *name, char key[MS_ENGINE_KEY_BYTES]);

/* The group of the engine with that key: its number (below ms_groups_size) and in *leader the name
 * of the member the table names first; -1 when it is in none, which makes it a group of its own.
 * Groups are the transitive closure of the memberships in force, so that neither the order of rows
 * nor that of engines in a report matters. */
int ms_groups_find(const struct ms_groups *self, unsigned at, const char *key, uint32_t hash,
                   const char **leader);
size_t ms_groups_size(const struct ms_groups *self);

/* The group's leader by the engine's name, `engine` itself when it is in no group. */
const char *ms_engine_group_at(const struct ms_groups *self, const char *engine, int64_t when_ms);

/* Appends the rows as text, for digests. */
void ms_groups_describe(const struct ms_groups *self, struct ms_buf *out);

#endif
