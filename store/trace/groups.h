/* Groups of rows that share a sequence, so that a split can keep them together. Pure; near
 * duplicates are not looked for. */
#ifndef MS_STORE_TRACE_GROUPS_H
#define MS_STORE_TRACE_GROUPS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* A 128-bit digest of a sequence, fed symbol by symbol. Two independent multiply-and-mix lanes, not
 * a cryptographic hash: whoever can choose both sequences can make two groups one, which costs
 * nobody a leak. */
struct ms_sequence_hash {
    uint64_t a, b, count;
};
void ms_sequence_hash_init(struct ms_sequence_hash *self);
void ms_sequence_hash_add(struct ms_sequence_hash *self, uint32_t symbol);

/* Rows with an equal key in any of the `kinds` columns share a group (transitively). keys holds
 * rows x kinds digests, row by row. groups[row] gets a number from 0 in order of the first member;
 * *count how many there are. MS_E_NOMEM. */
enum ms_status ms_groups_make(const struct ms_sequence_hash *keys, size_t rows, size_t kinds,
                              uint32_t *groups, uint32_t *count, struct ms_error *err) MS_MUST_USE;

#endif
