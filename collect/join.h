/* Brings the parts of a set together for intake, and says whether they are one. Opens nothing. */
#ifndef MS_COLLECT_JOIN_H
#define MS_COLLECT_JOIN_H

#include "collect/volumes.h"

/* Does the entry stand for a whole set? */
bool ms_join_is_set(const struct ms_entry *entry);

/* What the entry's name says, into the blob; the text is the arena's. */
void ms_join_name(const struct ms_entry *entry, struct ms_arena *arena,
                  struct ms_intake_blob *blob);

/* What the corpus knows says that the files are no set: `apart` is set then. Wants the intake's
 * lock. */
enum ms_status ms_join_look_up(const struct ms_intake *intake, struct ms_volume_set *set,
                               struct ms_error *err) MS_MUST_USE;

/* Gets the bytes of all parts into blob->fd, one behind the other, and fills in size, parts and
 * part_bytes (the arena's). As ms_crawl_fetch; a part that is not to be had stands for the whole
 * set. When a part does not begin like one, `apart` is set and nothing else is fetched. */
enum ms_status ms_join_fetch(struct ms_crawl *crawl, struct ms_volume_set *set,
                             struct ms_arena *arena, struct ms_intake_blob *blob,
                             const char **outcome, struct ms_error *err) MS_MUST_USE;

/* Takes note of what became of a set (any other entry is passed over). */
void ms_join_judge(const struct ms_entry *entry, const char *outcome);

#endif
