/* Groups of rows whose sets are nearly the same: MinHash finds pairs that may be, and each is
 * checked against the sets themselves. */
#ifndef MS_STORE_TRACE_NEAR_H
#define MS_STORE_TRACE_NEAR_H

#include "base/error.h"
#include "store/trace/grams.h"
#include "store/trace/groups.h"

#include <stddef.h>
#include <stdint.h>

/* Distinct elements in rising order; borrowed until the next call for the same `side` (0 or 1). */
typedef const uint64_t *(*ms_near_get)(void *ctx, size_t row, int side, size_t *n);

enum { MS_NEAR_HASHES = 128, MS_NEAR_TRIES = 1000 };

/* What was done. */
struct ms_near_report {
    uint32_t bands, band_hashes; /* a pair is looked at when all hashes of one band agree */
    double missed;       /* the share of pairs at exactly the threshold that is not looked at */
    uint64_t distinct;   /* sets */
    uint64_t compared;   /* pairs of distinct sets */
    uint64_t near;       /* of these, those that are near */
    uint64_t not_looked; /* pairs beyond MS_NEAR_TRIES others of one bucket, left alone */
};

/* Rows whose sets have a Jaccard index of `threshold` (over 0, at most 1) or more share a group,
 * and so does who is near to any of them (single linkage). Empty sets are one group. groups[row]
 * gets a number from 0 in order of the first member, *count how many there are.
 *
 * Broder's MinHash (1997) with at most MS_NEAR_HASHES functions drawn from `seed`, in bands of as
 * many as leave a pair at the threshold unseen in at most one of a thousand cases: the pairs that
 * are found are exact, a pair that is near may be missed. Memory: 4 bytes a hash and row. The same
 * seed gives the same groups. MS_E_NOMEM. */
enum ms_status ms_near_groups(ms_near_get get, void *ctx, size_t rows, double threshold,
                              uint64_t seed, uint32_t *groups, uint32_t *count,
                              struct ms_near_report *report, struct ms_error *err) MS_MUST_USE;

/* The set by which traces are compared, wherever near ones are looked for: of the n-grams of a
 * trace the single calls and the neighbouring pairs, as numbers in rising order. items holds n; the
 * number of them. The n-grams are distinct. */
size_t ms_near_items(const struct ms_gram *grams, size_t n, uint64_t *items);

/* |x ∩ y| / |x ∪ y| of two such sets; 1 for two empty ones. */
double ms_jaccard(const uint64_t *x, size_t x_n, const uint64_t *y, size_t y_n);

#endif
