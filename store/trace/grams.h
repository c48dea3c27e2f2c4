/* The distinct n-grams of the calls of a whole trace, for n of 1 to 3: which calls a program makes,
 * and which directly after which. Counts nothing and knows no names. */
#ifndef MS_STORE_TRACE_GRAMS_H
#define MS_STORE_TRACE_GRAMS_H

#include "store/trace/normalise.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Raised whenever the same trace gives another set or another order. */
enum { MS_GRAM_VERSION = 1 };

enum { MS_GRAM_MOST = 3 };
#define MS_GRAM_NONE UINT32_MAX

/* One to three calls in the order they were made; MS_GRAM_NONE behind them. */
struct ms_gram {
    uint32_t symbol[MS_GRAM_MOST];
};
/* The number of calls, 1 to 3; 0 when it is none (nothing, a hole, or a call behind a hole). */
uint32_t ms_gram_length(struct ms_gram gram);

/* A set of them in the order in which they ended for the first time; of those that ended together
 * the shorter ones come first. */
struct ms_gram_set;

enum ms_status ms_gram_set_new(struct ms_gram_set **out, struct ms_error *err) MS_MUST_USE;
void ms_gram_set_free(struct ms_gram_set *self);
/* Empties it; its memory is kept for the next trace. */
void ms_gram_set_clear(struct ms_gram_set *self);

/* The next call has none before it. */
void ms_gram_set_break(struct ms_gram_set *self);
/* The next call. One that equals the call before it changes nothing: a run counts once. `symbol` is
 * not MS_GRAM_NONE; memory grows with the largest one (4 bytes each). At most MS_LIMIT_TRACE_GRAMS
 * are kept, the first ones. MS_E_NOMEM. */
enum ms_status ms_gram_set_add(struct ms_gram_set *self, uint32_t symbol,
                               struct ms_error *err) MS_MUST_USE;

size_t ms_gram_set_count(const struct ms_gram_set *self);
/* Whether one was left out. */
bool ms_gram_set_cut(const struct ms_gram_set *self);
/* at < count. */
struct ms_gram ms_gram_set_get(const struct ms_gram_set *self, size_t at);

/* Empties `out` and fills it with the set of a trace: of each tracked process, in the order of step
 * 1 of ms_normalise, the calls that are no pseudo-calls, as their representatives in `apis` (whose
 * `fold` and `pseudo` come from the options of the view). No n-gram crosses from one process to the
 * next, for which of them runs first says little; nothing else of a view's options matters: entries
 * are taken in the report's order, their repetitions and times are not looked at, loops stay, and
 * nothing is cut. `processes` is sorted in place. Time is linear in the number of entries.
 * MS_REJECT as ms_normalise (but a length is never too much), MS_E_NOMEM. */
enum ms_status ms_grams_read(struct ms_normal_process *processes, size_t count,
                             const struct ms_normal_apis *apis, struct ms_gram_set *out,
                             struct ms_error *err) MS_MUST_USE;

#endif
