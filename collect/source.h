/* What sources on the network share: when an origin is asked again, and its row. */
#ifndef MS_COLLECT_SOURCE_H
#define MS_COLLECT_SOURCE_H

#include "collect/session.h"

struct ms_origin;

/* What was not to be had (gone, legal, blocked, replaced) is asked for once a week: samples stay,
 * the host is not hammered. --recheck asks now. */
bool ms_source_is_due(const struct ms_collect *session, const struct ms_origin *origin,
                      const char *name);

/* Finds what the corpus knows of (kind, name, ref) of `row`, brings the row up to date (claim,
 * private, url), and gives it in *out, to be released in any case. *changed: claim or private are
 * not what they were. MS_REJECT: forgotten. Writes nothing in a dry run. */
enum ms_status ms_source_open(struct ms_collect *session, const struct ms_origin *row,
                              struct ms_origin *out, bool *changed,
                              struct ms_error *err) MS_MUST_USE;

/* A name or id that only an answer of the host gave (origin->url, origin->remote_id): when forget
 * removed that one, *forgotten is true, and the origin that led to it is gone and stays out too. */
enum ms_status ms_source_check_forgotten(struct ms_collect *session, const struct ms_origin *origin,
                                         bool *forgotten, struct ms_error *err) MS_MUST_USE;
/* The end of a forgotten origin's turn. */
enum ms_status ms_source_tell_forgotten(struct ms_collect *session, const char *name,
                                        struct ms_error *err) MS_MUST_USE;

/* Writes the origin's row with this state and the present time, in a transaction of its own;
 * nothing in a dry run. */
enum ms_status ms_source_save(struct ms_collect *session, const struct ms_origin *origin,
                              const char *state, const char *reason,
                              struct ms_error *err) MS_MUST_USE;

/* The same for an origin that was asked and is as its row says: only the time is new, and is
 * written together with that of others, by the latest in ms_source_flush. A crash before loses
 * nothing but when it was asked. */
enum ms_status ms_source_save_same(struct ms_collect *session, const struct ms_origin *origin,
                                   struct ms_error *err) MS_MUST_USE;
enum ms_status ms_source_flush(struct ms_collect *session, struct ms_error *err) MS_MUST_USE;

/* Calls `visit` for each line of a list file. MS_E_INPUT when it cannot be read; a status other
 * than MS_OK from visit ends the list. */
typedef enum ms_status (*ms_source_line)(void *ctx, struct ms_span line, uint64_t number,
                                         struct ms_error *err);
enum ms_status ms_source_foreach_line(const char *path, ms_source_line visit, void *ctx,
                                      struct ms_error *err) MS_MUST_USE;

#endif
