/* Groups of rows that share a sequence, so that a split can keep them together, and what they do to
 * a classifier. Pure; near duplicates are looked for in store/trace/near.h. */
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

/* Sets of rows that are joined one by one: parent[] has an entry a row, at first the row itself.
 * The smallest row of a set stands for it. */
uint32_t ms_union_find(uint32_t *parent, uint32_t row);
void ms_union_join(uint32_t *parent, uint32_t x, uint32_t y);
/* Numbers the sets from 0 in order of their first rows; returns how many there are. */
uint32_t ms_union_number(uint32_t *parent, size_t rows, uint32_t *groups);

/* What copies do to a classifier. Two rows are copies when their group is the same. */
struct ms_copies {
    uint64_t rows, distinct; /* groups */
    uint64_t largest;        /* rows of the largest group */
    uint64_t mixed;          /* groups with more than one class */
    uint64_t contradicting;  /* rows in these */
    uint64_t unavoidable; /* errors that any function of the group makes: rows outside their group's
                             most frequent class */
    double ceiling;       /* 1 - unavoidable / rows */
};
/* labels below `classes`, groups below `count`, of which any may be empty; `rows` of each.
 * MS_E_NOMEM. */
enum ms_status ms_groups_copies(const uint32_t *labels, uint32_t classes, const uint32_t *groups,
                                uint32_t count, size_t rows, struct ms_copies *out,
                                struct ms_error *err) MS_MUST_USE;

#endif
